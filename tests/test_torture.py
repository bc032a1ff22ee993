"""The record that every door of `torture` returns, and the command around it."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from torture import __main__ as command
from torture.verdict import Figure, Verdict, at_most, equal

MET = Figure("crashes", "0", "0", True)
MISSED = Figure("hangs", "0", "2", False)


def test_a_verdict_is_met_when_every_figure_is():
    assert Verdict([MET]).met
    assert not Verdict([MET, MISSED]).met
    assert not Verdict([]).met, "nothing measured is nothing proven"


def test_a_limit_holds_at_itself_and_not_above_and_never_for_nothing_measured():
    assert at_most("drift", 5, 5).met
    assert not at_most("drift", 5.01, 5).met
    assert not at_most("drift", math.nan, 5).met
    assert equal("rows", 3, 3).met
    assert not equal("rows", 2, 3).met


@pytest.mark.parametrize(("figure", "code"), [(MET, 0), (MISSED, 1)])
def test_the_exit_code_says_whether_a_figure_is_missed(figure, code, monkeypatch, capsys):
    class Door:
        SUMMARY = "nothing"

        @staticmethod
        def run(*, long: bool, seed: int) -> Verdict:
            return Verdict([figure], {"long": long, "seed": seed})

    monkeypatch.setitem(command.DOORS, "door", "door")
    monkeypatch.setattr(command.importlib, "import_module", lambda _: Door)
    assert command.main(["door", "--seed", "3", "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert told["met"] is (code == 0)
    assert told["counts"] == {"long": False, "seed": 3}
    assert told["command"] == "scripts/torture door --seed 3"

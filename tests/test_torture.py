"""The record that every door of `torture` returns, and the command around it."""

from __future__ import annotations

import json
import math
import random
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from emogram.recordings import open_recording

sys.path.insert(0, str(Path(__file__).parents[1]))

from torture import __main__ as command
from torture.decode import made
from torture.mutate import CHANGES, mutant
from torture.seeds import write_media
from torture.verdict import Figure, Verdict, at_most, equal
from torture.watch import child

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


def misbehave(*, secret: str):
    """What a child of `torture.watch` is asked to do in the test below."""

    def answer(question: str):
        if question == "crash":
            import os

            os.abort()
        if question == "hang":
            time.sleep(60)
        if question == "eat":
            return len(b"x" * 100 * 2**20)
        if question == "err":
            raise ValueError("no")
        return f"{secret} {question}"

    return answer


def test_the_watch_sees_a_crash_a_hang_a_bug_and_memory_and_goes_on(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    with child(f"{__name__}:misbehave", secret="yes") as one:
        assert one.ask("please", limit_s=60).value == "yes please"
        assert one.ask("crash", limit_s=60).end.startswith("crash (-6")
        assert one.ask("hang", limit_s=0.5).end == "hang"
        assert "ValueError: no" in one.ask("err", limit_s=60).end
        seen = one.ask("eat", limit_s=60)
        assert seen.end is None
        assert 95 < seen.peak_mb < 120
        assert one.ask("again", limit_s=60).peak_mb < 20, "a peak is forgotten before the next question"


def test_a_mutant_is_the_same_for_the_same_seed_and_differs_from_what_it_began_from(tmp_path):
    (tmp_path / "a.wav").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "b.wav").write_bytes(b"RIFF" + bytes(1000))
    assert made(tmp_path, 1, 5) == made(tmp_path, 1, 5)
    assert made(tmp_path, 1, 5) != made(tmp_path, 2, 5)
    content = bytes(range(256)) * 8
    changed = [mutant(content, [content[::-1]], random.Random(n)) for n in range(300)]
    assert sum(each != content for each, _ in changed) > 250
    assert {name for _, how in changed for name in how.split("+")} == set(CHANGES)


@pytest.mark.parametrize("content", [b"", b"a", b"RIFF", b"OggS", bytes(7) + b"ftyp"])
def test_any_file_can_be_mutated(content):
    for n in range(300):
        mutant(content, [content, b"other"], random.Random(n))


def test_sound_that_changes_its_rate_is_damaged_where_it_does(tmp_path):
    pytest.importorskip("av")
    noise = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    for rate in (48000, 32000):
        write_media(tmp_path / f"{rate}.aac", noise, codec="aac", rate=rate, bit_rate=64000)
    path = tmp_path / "both.aac"
    path.write_bytes((tmp_path / "48000.aac").read_bytes() + (tmp_path / "32000.aac").read_bytes())
    with open_recording(path) as recording:
        n_read = sum(len(block) for block in recording.blocks())
    assert n_read >= 48000
    assert recording.incomplete
    assert recording.problem is not None
    assert "its rate or its channels change" in recording.problem

"""Pairing: known answers for the maths, turns that alternate, sides that must agree, peers in their own environment."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import peers  # noqa: E402
from benchmarks.__main__ import BENCHMARKS, NOT_IN_ALL, main, run_all  # noqa: E402
from benchmarks.growth import Growth, draw  # noqa: E402
from benchmarks.paired import Took, alternate, called, figure, must_agree, times_longer  # noqa: E402
from benchmarks.processes import command, on_cores  # noqa: E402
from benchmarks.tables import has_table  # noqa: E402

from emogram.errors import EmogramError  # noqa: E402


def test_ratios_are_those_of_pairs_and_of_medians():
    slow = [Took(wall_s, cpu_s=1.0) for wall_s in (2.0, 8.0, 6.0, 12.0)]
    fast = [Took(wall_s, cpu_s=4.0) for wall_s in (1.0, 2.0, 3.0, 2.0)]
    # Pairs: 2, 4, 2, 6; medians: 7 and 2.
    ratio = times_longer(slow, fast)
    assert (ratio.median, ratio.low, ratio.high, ratio.n) == (3.5, 2.0, 4.5, 4)
    assert str(ratio) == "3.50 (2.00–4.50)"
    assert times_longer(slow, fast, "cpu_s").median == 0.25
    assert times_longer(slow[:1], fast[:1]) == times_longer([Took(2.0, 0.0)], [Took(1.0, 0.0)])
    with pytest.raises(EmogramError, match="too short to be measured"):
        times_longer(slow, [Took(0.0, 0.0)] * 4)
    with pytest.raises(ValueError, match="zip"):
        times_longer(slow, fast[:3])


def test_a_machine_that_slows_down_does_not_change_the_ratio_of_pairs():
    weather = [1.0, 1.5, 4.0, 9.0, 2.0]
    ratio = times_longer([Took(3.0 * w, 0.0) for w in weather], [Took(1.0 * w, 0.0) for w in weather])
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx((3.0, 3.0, 3.0))


def test_sides_take_turns_and_none_is_always_first():
    order = []
    sides = {name: called(lambda name=name: order.append(name) or name) for name in "abc"}
    told = []
    took = alternate(sides, rounds=3, say=told.append)
    assert "".join(order) == "abc" + "abc" + "cba" + "abc"
    assert {name: [one.output for one in runs] for name, runs in took.items()} == {name: [name] * 3 for name in "abc"}
    assert len(told) == 3


def test_working_costs_the_processor_and_waiting_only_the_clock():
    waited = called(lambda: time.sleep(0.05))()
    worked = called(lambda: sum(range(3_000_000)))()
    assert waited.wall_s >= 0.05 and waited.cpu_s < 0.04
    assert worked.cpu_s > 0.01 and math.isnan(worked.peak_mb)
    ran = command([sys.executable, "-S", "-c", "x = b'x' * 60_000_000; print(x[:1], len(x))"])()
    assert ran.output == "b'x' 60000000\n" and 60.0 < ran.peak_mb < 200.0


def test_sides_that_disagree_are_no_comparison():
    assert must_agree("log-mels", 0.004, 0.01) == "log-mels differ by 0.004 at the most."
    for difference in (0.02, math.nan):
        with pytest.raises(EmogramError, match=r"log-mels differ by .*: the sides compute different things"):
            must_agree("log-mels", difference, 0.01)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1234"), (12.345, "12.3"), (0.012345, "0.0123"), (9.0, "9.00"), (0.0, "0"), (math.inf, "inf")],
)
def test_figures_have_three_digits(value, text):
    assert figure(value) == text


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
def test_growth_tells_the_power_with_which_time_grows(power, tmp_path):
    sizes = (1.0, 10.0, 100.0)
    without_start = Growth("sound", "minutes", sizes, tuple(0.5 * size**power for size in sizes), (90.0, 91.0, 92.0))
    assert without_start.exponent() == pytest.approx(power)
    draw([without_start], tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
    assert without_start.rows()[1][0] == "10" and len(without_start.header()) == len(without_start.rows()[0])


def test_what_a_start_costs_is_not_taken_for_slow_growth():
    sizes = (1.0, 10.0, 60.0)
    assert Growth("", "", sizes, tuple(0.8 + 0.2 * size for size in sizes), sizes).exponent() == pytest.approx(1.0)
    assert Growth("", "", sizes, (0.3, 0.3, 0.3), sizes, linear=False).exponent() == 0.0
    with pytest.raises(EmogramError, match="ascending sizes"):
        Growth("", "", (2.0, 1.0), (1.0, 1.0), (1.0, 1.0))


def test_cores_are_given_back():
    import os

    before = os.sched_getaffinity(0)
    with on_cores(1) as said:
        assert said == "on one core" and len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
    with pytest.raises(EmogramError, match="needs 1000 cores"), on_cores(1000):
        pass


def test_a_peer_is_asked_in_its_own_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOGRAM_CACHE", str(tmp_path))
    monkeypatch.setattr(peers, "SCRIPTS", tmp_path)
    (tmp_path / "peer.py").write_text(
        "import json, sys\nrequest = json.load(sys.stdin)\nprint('words')\n"
        "print(json.dumps([request, sys.prefix != sys.base_prefix]))\n"
    )
    (tmp_path / "broken.py").write_text("raise SystemExit('no such feature')")
    (tmp_path / "mute.py").write_text("")
    python = peers.environment("nothing", [])
    assert peers.ask(python, "peer.py", {"a": 1}) == [{"a": 1}, True]
    made = (python.parent.parent / "installed.txt").stat().st_mtime_ns
    assert peers.environment("nothing", []) == python
    assert (python.parent.parent / "installed.txt").stat().st_mtime_ns == made
    with pytest.raises(EmogramError, match=r"broken\.py failed: no such feature"):
        peers.ask(python, "broken.py", None)
    with pytest.raises(EmogramError, match=r"mute\.py answered no JSON"):
        peers.ask(python, "mute.py", None)


def test_all_goes_on_after_one_that_fails_and_takes_up_what_is_missing(tmp_path, monkeypatch, capfd):
    import benchmarks.__main__ as program

    ran = []

    class Finished:
        def __init__(self, code):
            self.returncode = code

    def run(words, **_):
        ran.append(words[3])
        if words[3] == "second" and ran.count("second") == 1:
            return Finished(1)
        page.write_text((page.read_text() if page.is_file() else "") + f"<!-- begin {words[3]} -->\n")
        return Finished(0)

    page = tmp_path / "page.md"
    monkeypatch.setattr(program, "BENCHMARKS", {"first": "", "second": "", "third": ""})
    monkeypatch.setattr(program.subprocess, "run", run)
    assert run_all(["--all", "--into", str(page)]) == 1
    assert ran == ["first", "second", "third"]
    assert "error: 1 of 3 failed: second; again by --missing" in capfd.readouterr().err
    assert main(["--all", "--missing", "--into", str(page)]) == 0
    assert ran[3:] == ["second"] and has_table(page, "second")


@pytest.mark.parametrize("name", sorted(set(BENCHMARKS) - NOT_IN_ALL))
def test_each_benchmark_runs_on_almost_nothing_and_its_sides_agree(name, tmp_path, capsys):
    page = tmp_path / "page.md"
    assert main([name, "--tiny", "--into", str(page)]) == 0, capsys.readouterr().err
    text = page.read_text("utf-8")
    assert has_table(page, name) and f"python -m benchmarks {name} --tiny" in text and "Machine: " in text
    assert text.count("\n| ") >= 3 and str(tmp_path) not in text

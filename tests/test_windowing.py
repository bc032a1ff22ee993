"""Where windows stand, checked against a slow version that sees the whole stream at once."""

from __future__ import annotations

import numpy as np
import pytest

from emogram.config import TimelineConfig
from emogram.errors import SettingsError
from emogram.records import Turn
from emogram.speech import CHUNK_S
from emogram.windowing import Grid, Step, Windowing

GRID = Grid.of(TimelineConfig())


def steps_of(spoken, n=None, grid=GRID, turns=None):
    windowing = Windowing(grid, turns)
    spoken = bytes(spoken)
    steps = []
    for first in range(0, len(spoken), n or max(1, len(spoken))):
        steps += windowing.feed(spoken[first : first + (n or len(spoken))])
    return [*steps, *windowing.finish()]


def windows_of(steps):
    return [step.window for step in steps if step.window is not None]


def parts_of(steps):
    return [(step.part, step.end) for step in steps if step.end is not None]


def runs(*lengths):
    """Silence, speech, silence, ... of so many chunks."""
    return b"".join(bytes([number % 2]) * length for number, length in enumerate(lengths))


@pytest.mark.parametrize(
    ("settings", "grid"),
    [
        ({}, Grid(window=64, hop=16, cell=8, pad=3, max_pause=20, min_speech=8, bridge=94, lag=40)),
        # Two chunks a step; a window of 15.6 cells is one of 16; a pause of 2.8 chunks is at least a step and a margin.
        (
            {"hop_s": 0.064, "window_s": 0.5, "max_pause_s": 0.09, "pad_s": 0.02, "min_speech_s": 0.2, "lag_s": 0.01},
            Grid(window=16, hop=2, cell=1, pad=1, max_pause=3, min_speech=6, bridge=94, lag=1),
        ),
        # A window is two steps at least, and a pause inside a part leaves room for the next window.
        (
            {"hop_s": 0.5, "window_s": 1.0, "max_pause_s": 0.5, "pad_s": 0.0, "bridge_s": 1.0, "lag_s": 1.0},
            Grid(window=32, hop=16, cell=8, pad=0, max_pause=16, min_speech=8, bridge=31, lag=4),
        ),
        # Two margins fit into the longest pause: 0.6 s are 18.75 chunks, 19; twice 0.3 s are 18.
        (
            {"hop_s": 0.2, "window_s": 2.0, "max_pause_s": 0.6, "pad_s": 0.3},
            Grid(window=63, hop=6, cell=3, pad=9, max_pause=19, min_speech=8, bridge=94, lag=107),
        ),
    ],
)
def test_the_grid_rounds_the_settings(settings, grid):
    assert Grid.of(TimelineConfig.from_dict(settings)) == grid


def test_settings_that_leave_gaps_between_windows_are_refused():
    with pytest.raises(SettingsError, match=r"max_pause_s \(0.5\) must lie between hop_s \+ pad_s \(0.608\)"):
        TimelineConfig.from_dict({"max_pause_s": 0.5})


def test_a_part_is_the_speech_with_a_margin_at_both_ends():
    assert parts_of(steps_of(runs(50, 100, 60))) == [(47, 153)]
    assert parts_of(steps_of(runs(1, 100, 60))) == [(0, 104)]
    assert parts_of(steps_of(runs(10, 100, 1))) == [(7, 111)]


def test_a_short_pause_stays_inside_a_part_and_a_long_one_ends_it():
    assert parts_of(steps_of(runs(10, 50, 19, 50, 60))) == [(7, 132)]
    assert parts_of(steps_of(runs(10, 50, 20, 50, 60))) == [(7, 63), (77, 133)]


def test_windows_stand_a_hop_apart_from_the_beginning_of_their_part():
    assert windows_of(steps_of(runs(50, 100, 60))) == [(47, 111), (63, 127), (79, 143), (95, 159)]


def test_a_short_part_is_one_window():
    assert windows_of(steps_of(runs(50, 20, 60))) == [(47, 73)]


def test_too_little_speech_gives_no_window():
    assert windows_of(steps_of(runs(50, 7, 60))) == []
    assert windows_of(steps_of(runs(50, 8, 60))) == [(47, 61)]


def test_a_stream_that_ends_in_the_middle_is_covered_to_its_end():
    assert windows_of(steps_of(runs(0, 100))) == [(0, 64), (16, 80), (32, 96), (48, 100)]


@pytest.mark.parametrize("seed", range(20))
def test_random_streams_are_cut_alike_however_they_come_and_covered(seed):
    rng = np.random.default_rng(seed)
    spoken = runs(*rng.integers(1, rng.integers(3, 90), 60))
    steps = steps_of(spoken)
    for n in (1, 7, 33):
        assert [(s.window, s.end, s.part) for s in steps_of(spoken, n)] == [(s.window, s.end, s.part) for s in steps]
    parts, windows = parts_of(steps), windows_of(steps)
    # Slowly: parts are the speech, joined over pauses that are too short.
    flags = np.frombuffer(spoken, np.uint8)
    expected = []
    for chunk in np.flatnonzero(flags):
        if expected and chunk - expected[-1][1] < GRID.max_pause:
            expected[-1][1] = chunk + 1
        else:
            expected.append([chunk, chunk + 1])
    assert parts == [(max(0, a - GRID.pad), min(b + GRID.pad, len(flags))) for a, b in expected]
    # Each lies within the last window's length of sound when it is known, and holds enough speech.
    for start, end in windows:
        assert end - start <= GRID.window
        assert flags[start:end].sum() >= GRID.min_speech
    covered = np.zeros(len(flags) + GRID.window, bool)
    for start, end in windows:
        covered[start:end] = True
    for start, end in parts:
        if (flags[start:end]).mean() > 0.6 and end - start > GRID.window:
            assert covered[start:end].all()


def overs_of(steps):
    return [(step.part, step.known) for step in steps if step.over]


def test_a_part_is_over_when_the_pause_after_it_is_too_long_to_be_bridged():
    # Its end, with the margin, is at 63; three seconds later it is over. The next begins a margin before its speech.
    assert overs_of(steps_of(runs(10, 50, 200, 50, 10))) == [(7, 63 + 94), (257, 320)]
    # Speech that comes again a chunk before that is bridged to it.
    assert overs_of(steps_of(runs(10, 50, 96, 50, 100, 0))) == [(153, 303)]
    assert overs_of(steps_of(runs(10, 50, 97, 50, 100, 0))) == [(7, 157), (154, 304)]
    unbridged = Grid.of(TimelineConfig(bridge_s=0.0))
    assert overs_of(steps_of(runs(10, 50, 30, 50, 60), grid=unbridged)) == [(7, 80), (87, 160)]


def test_nothing_is_bridged_from_one_turn_to_the_next():
    turns = [Turn(0.0, 3.2, "a"), Turn(4.0, 8.0, "a")]
    steps = steps_of(runs(0, 250), turns=turns)
    assert [step.turn for step in steps if step.over] == turns
    assert [step.over for step in steps if step.turn is turns[0]][-1]
    assert [step.known for step in steps if step.over] == [125, 250], "when the other begins, and at the end"


def test_a_part_that_begins_is_told_at_once_to_those_who_ask_and_nothing_else_changes():
    spoken = runs(5, 30, 60, 25, 200, 40)
    windowing, steps = Windowing(GRID, tell_openings=True), []
    for now in range(len(spoken)):
        steps += [(now, step) for step in windowing.feed(spoken[now : now + 1])]
    steps += [(len(spoken), step) for step in windowing.finish()]
    assert [(now, step) for now, step in steps if step.opens] == [
        (speaks, Step(speaks - 3, None, b"", None, speaks - 3, None, speaks + 1, opens=True)) for speaks in (5, 95, 320)
    ]
    assert [step for _, step in steps if not step.opens] == steps_of(spoken, 1)
    assert not any(step.opens for step in steps_of(spoken, 1))
    turn = Turn(1.0, 3.0, "a")
    opened = [step for step in Windowing(GRID, [turn], tell_openings=True).feed(runs(0, 90)) if step.opens]
    assert opened == [Step(31, turn, b"", None, 31, None, 32, opens=True)]


@pytest.mark.parametrize("seed", range(5))
def test_each_row_of_parts_is_over_once_at_the_same_moment_however_the_stream_comes(seed):
    spoken = runs(*np.random.default_rng(seed).integers(1, 150, 40))
    steps = steps_of(spoken)
    for n in (1, 7, 33):
        assert overs_of(steps_of(spoken, n)) == overs_of(steps)
    ends = [step.end for step in steps if step.end is not None]
    firsts = [part for part, _ in parts_of(steps)]
    # Slowly: parts that lie closer than the bridge are one row.
    last_of_rows = [
        first
        for first, end, following in zip(firsts, ends, [*firsts[1:], 10**9], strict=True)
        if following + GRID.pad - end >= GRID.bridge
    ]
    assert [part for part, _ in overs_of(steps)] == last_of_rows


@pytest.mark.parametrize("seed", range(5))
def test_the_steps_of_a_part_tell_of_each_chunk_once(seed):
    rng = np.random.default_rng(seed)
    spoken = runs(*rng.integers(1, 60, 40))
    told = {}
    for step in steps_of(spoken, 5):
        told[step.part] = told.get(step.part, b"") + step.spoken
    for part, end in parts_of(steps_of(spoken)):
        assert told[part][: end - part] == spoken[part:end]


def test_a_window_is_known_at_its_end():
    windowing = Windowing(GRID)
    spoken = runs(0, 500)
    for now in range(1, 501):
        for step in windowing.feed(spoken[now - 1 : now]):
            assert step.window is None or step.window[1] == now


def test_turns_part_speech_that_goes_on():
    turns = [Turn(0.5, 3.2, "a"), Turn(3.2, 6.0, "a")]
    steps = steps_of(runs(0, 250), turns=turns)
    borders = [(step.seconds(step.part), step.seconds(step.end), step.turn) for step in steps if step.end is not None]
    assert [turn for *_, turn in borders] == turns
    for start_s, end_s, turn in borders:
        assert start_s == pytest.approx(turn.start_s, abs=CHUNK_S / 2 + 1e-9)
        assert end_s == pytest.approx(turn.end_s, abs=CHUNK_S / 2 + 1e-9)
        assert turn.start_s <= start_s < end_s <= turn.end_s


def test_nothing_is_heard_outside_turns():
    steps = steps_of(runs(0, 500), turns=[Turn(4.0, 5.0, "a")])
    assert parts_of(steps) == [(125, 156)]

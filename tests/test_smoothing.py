"""The best path is the best of all paths, and overlapping windows average to what a slow version finds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from emogram.config import TimelineConfig
from emogram.smoothing import BestPath, Smoother, _Cell
from emogram.speech import CHUNK_S
from emogram.windowing import Grid, Windowing

CELL_S = 8 * CHUNK_S
GRID = Grid.of(TimelineConfig())


def cells_of(probabilities):
    logs = np.log(probabilities)
    return [_Cell(8 * index, 8 * index + 8, row, 8) for index, row in enumerate(logs)]


def path_of(probabilities, *, cost, lag=1000):
    path = BestPath(cost, lag)
    found = [label for cell in cells_of(probabilities) for _, label in path.add(cell)]
    return found + [label for _, label in path.finish()]


def earned(labels, probabilities, cost):
    gain = sum(np.log(row[label]) * CELL_S for label, row in zip(labels, probabilities, strict=True))
    return gain - cost * sum(one != other for one, other in itertools.pairwise(labels))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("cost", [0.0, 0.2, 1.0, 50.0])
def test_no_path_earns_more_than_the_best(seed, cost):
    probabilities = np.random.default_rng(seed).dirichlet(np.full(3, 0.5), 7)
    found = path_of(probabilities, cost=cost)
    best = max(earned(labels, probabilities, cost) for labels in itertools.product(range(3), repeat=7))
    assert earned(found, probabilities, cost) == pytest.approx(best, abs=1e-9)


def test_free_changes_give_the_most_probable_labels_and_dear_ones_a_single_label():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), 50)
    assert path_of(probabilities, cost=0.0) == list(probabilities.argmax(axis=1))
    assert set(path_of(probabilities, cost=1e6)) == {int(np.log(probabilities).sum(axis=0).argmax())}


def test_a_blip_is_smoothed_away_and_a_lasting_change_is_not():
    steady, blip = [0.8, 0.2], [0.2, 0.8]
    assert path_of([steady] * 10 + [blip] + [steady] * 10, cost=1.0) == [0] * 21
    assert path_of([steady] * 10 + [blip] * 10, cost=1.0) == [0] * 10 + [1] * 10


def test_a_label_is_settled_after_the_lag_at_the_latest():
    path = BestPath(1.0, 5)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), 30)
    for index, cell in enumerate(cells_of(probabilities)):
        settled = [one.start // 8 for one, _ in path.add(cell)]
        assert settled == ([index - 5] if index >= 5 else [])
    assert [one.start // 8 for one, _ in path.finish()] == [25, 26, 27, 28, 29]


def gapped(probabilities, *, gap_before):
    """As `cells_of`, with a pause before one cell."""
    return [
        _Cell(cell.start + 20 * (index >= gap_before), cell.end + 20 * (index >= gap_before), cell.logs, 8)
        for index, cell in enumerate(cells_of(probabilities))
    ]


@pytest.mark.parametrize("seed", range(10))
def test_a_change_in_a_pause_costs_less_and_the_path_is_still_the_best_of_all(seed):
    probabilities = np.random.default_rng(seed).dirichlet(np.full(3, 0.5), 7)
    path = BestPath(0.6, 1000, pause_cost=0.1)
    found = [label for cell in gapped(probabilities, gap_before=3) for _, label in path.add(cell)]
    found += [label for _, label in path.finish()]

    def gain(labels):
        return earned(labels, probabilities, 0.6) + (0.5 if labels[2] != labels[3] else 0.0)

    best = max(gain(labels) for labels in itertools.product(range(3), repeat=7))
    assert gain(found) == pytest.approx(best, abs=1e-9)


def test_a_doubtful_part_takes_the_label_of_its_neighbours_unless_the_pause_is_long():
    sure, doubtful = np.array([0.9, 0.05, 0.05]), np.array([0.4, 0.55, 0.05])
    for pause, label in ((40, 0), (150, 1)):
        spoken = b"\1" * 100 + b"\0" * pause + b"\1" * 60 + b"\0" * pause + b"\1" * 100
        middle = 100 + pause
        found, _ = stretches_of(
            spoken,
            lambda start, end, middle=middle: doubtful if middle - 10 < start < middle + 70 else sure,
            smooth=True,
            cost=2.0,
        )
        assert [stretch.label for stretch in found] == [0, label, 0]
        # What it says by itself is not hidden.
        assert found[1].scores.argmax() == 1


def stretches_of(spoken, score, *, smooth, cost=1.0, batch=1):
    """Follow one stream; `score(start, end)` judges a window."""
    windowing = Windowing(GRID)
    smoother = Smoother(GRID, n_labels=3, smooth=smooth, switch_cost=cost, pause_cost=cost / 2)
    steps = [*windowing.feed(bytes(spoken)), *windowing.finish()]
    windows = {step.window: score(*step.window) for step in steps if step.window}
    found = [
        each for step in steps for each in smoother.add(step, windows[step.window] if step.window is not None else None)
    ]
    return found, windows


def random_scores(seed):
    rng = np.random.default_rng(seed)
    return lambda start, end: rng.dirichlet(np.ones(3))


@pytest.mark.parametrize("seed", range(10))
def test_smoothed_stretches_are_those_of_a_slow_version(seed):
    rng = np.random.default_rng(seed)
    spoken = b"\0" * 13 + b"\1" * int(rng.integers(10, 300)) + b"\0" * 40
    found, windows = stretches_of(spoken, random_scores(seed), smooth=True, cost=0.3)
    part, end = 10, len(spoken) - 40 + 3
    cells = [(first, min(first + 8, end)) for first in range(part, end, 8)]
    logs = [
        np.mean([np.log(p) for (a, b), p in windows.items() if a < last and b > first], axis=0) for first, last in cells
    ]
    path = BestPath(0.3, GRID.lag)
    labels = []
    for (first, last), row in zip(cells, logs, strict=True):
        labels += [label for _, label in path.add(_Cell(first, last, row, 0))]
    labels += [label for _, label in path.finish()]
    expected = []
    for label, group in itertools.groupby(zip(labels, cells, logs, strict=True), key=lambda each: each[0]):
        members = list(group)
        weights = [last - first for _, (first, last), _ in members]
        mean = np.exp(np.average([row for *_, row in members], axis=0, weights=weights))
        expected.append((label, members[0][1][0], members[-1][1][1], mean / mean.sum()))
    assert len(found) == len(expected)
    for stretch, (label, first, last, scores) in zip(found, expected, strict=True):
        assert stretch.label == label
        assert stretch.start_s == pytest.approx(first * CHUNK_S)
        assert stretch.end_s == pytest.approx(last * CHUNK_S)
        np.testing.assert_allclose(stretch.scores, scores, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_the_label_of_a_stretch_is_its_most_probable(seed):
    found, _ = stretches_of(b"\1" * 600, random_scores(seed), smooth=True, cost=0.5)
    assert len(found) > 1
    for stretch in found:
        assert stretch.label == stretch.scores.argmax()
        assert stretch.scores.sum() == pytest.approx(1.0)


def test_unsmoothed_each_window_answers_for_the_hop_around_its_middle():
    labels = iter([0, 1, 2, 1, 0])
    found, windows = stretches_of(b"\1" * 128, lambda start, end: np.eye(3)[next(labels)] * 0.97 + 0.01, smooth=False)
    middles = sorted((a + b) / 2 for a, b in windows)
    assert middles == [32, 48, 64, 80, 96]
    assert [(each.label, each.start_s / CHUNK_S, each.end_s / CHUNK_S) for each in found] == [
        (0, 0, pytest.approx(40)),
        (1, pytest.approx(40), pytest.approx(56)),
        (2, pytest.approx(56), pytest.approx(72)),
        (1, pytest.approx(72), pytest.approx(88)),
        (0, pytest.approx(88), pytest.approx(128)),
    ]


def test_speech_ratio_is_the_share_of_the_stretch_with_speech():
    spoken = b"\1" * 40 + b"\0" * 10 + b"\1" * 50 + b"\0" * 30
    (found,), _ = stretches_of(spoken, lambda start, end: np.array([0.8, 0.1, 0.1]), smooth=True)
    assert found.speech_ratio == pytest.approx(90 / 103)


def test_parts_do_not_join():
    spoken = b"\1" * 50 + b"\0" * 30 + b"\1" * 50
    found, _ = stretches_of(spoken, lambda start, end: np.array([0.8, 0.1, 0.1]), smooth=True)
    assert [(round(each.start_s / CHUNK_S), round(each.end_s / CHUNK_S)) for each in found] == [(0, 53), (77, 130)]


def test_speech_too_thin_to_be_judged_is_left_out():
    thin = (b"\1" + b"\0" * 15) * 12
    found, windows = stretches_of(
        b"\1" * 64 + thin + b"\1" * 64, lambda start, end: np.array([0.8, 0.1, 0.1]), smooth=True
    )
    assert len(found) == 2
    covered = {chunk for a, b in windows for chunk in range(a, b)}
    assert 128 not in covered
    assert found[0].end_s < 128 * CHUNK_S < found[1].start_s

"""Windows become stretches and a timeline: nothing is lost, nothing overlaps, cuts and order do not matter."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from emogram.config import TimelineConfig
from emogram.live import WindowScore
from emogram.metrics import MIN_PROBABILITY
from emogram.records import Prediction, Segment, Turn
from emogram.smoothing import Smoother
from emogram.speech import CHUNK_S
from emogram.timeline import UNSURE, Collector, summary_of
from emogram.windowing import Grid, Windowing

SOME = settings(max_examples=60, deadline=None)
GRID = Grid.of(TimelineConfig())
N_LABELS = 3
LABELS = ("angry", "calm", "sad")

# Lengths of silence and speech by turns, as short as a chunk and as long as several windows.
streams = st.lists(st.integers(1, 250), min_size=1, max_size=10).map(
    lambda lengths: b"".join(bytes([number % 2]) * length for number, length in enumerate(lengths, start=1))
)
cuts = st.lists(st.integers(0, 2000), max_size=8)
costs = st.sampled_from([0.0, 0.3, 2.0, 50.0])
seeds = st.integers(0, 2**32)


def pieces_of(stream: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(place, len(stream)) for place in at), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


def score_of(seed: int, window: tuple[int, int]):
    """Return probabilities that depend on nothing but the window."""
    return np.random.default_rng([seed, *window]).dirichlet(np.full(N_LABELS, 0.4))


def merged(pieces, seed, *, smooth, cost=0.3, turns=None):
    """Return the stretches of a stream, and its steps."""
    windowing = Windowing(GRID, turns)
    smoother = Smoother(GRID, n_labels=N_LABELS, smooth=smooth, switch_cost=cost, pause_cost=cost / 2)
    steps = [step for piece in pieces for step in windowing.feed(piece)]
    steps += windowing.finish()
    found = [
        each
        for step in steps
        for each in smoother.add(step, None if step.window is None else score_of(seed, step.window))
    ]
    return found, steps


def chunks_of(stretch) -> tuple[int, int]:
    first, last = stretch.start_s / CHUNK_S, stretch.end_s / CHUNK_S
    assert (first, last) == pytest.approx((round(first), round(last)), abs=1e-6), "they begin and end with chunks"
    return round(first), round(last)


def judged_cells(steps) -> list[tuple[int, int, list[tuple[int, int]]]]:
    """Slowly: each cell of each part that a judged window covers, with these windows, in order of time."""
    cells = []
    windows = [(step.part, step.window) for step in steps if step.window is not None]
    for step in steps:
        if step.end is not None:
            for first in range(step.part, step.end, GRID.cell):
                last = min(first + GRID.cell, step.end)
                over = [(a, b) for part, (a, b) in windows if part == step.part and a < last and b > first]
                if over:
                    cells.append((first, last, over))
    return cells


@SOME
@given(streams, seeds, st.booleans(), costs)
def test_stretches_cover_what_was_judged_once_in_order_and_no_time_is_lost(stream, seed, smooth, cost):
    found, steps = merged([stream], seed, smooth=smooth, cost=cost)
    cells = judged_cells(steps)
    covered = [chunk for each in found for chunk in range(*chunks_of(each))]
    assert covered == [chunk for first, last, _ in cells for chunk in range(first, last)]
    speech = sum(each.speech_ratio * (b - a) for each in found for a, b in [chunks_of(each)])
    assert speech == pytest.approx(sum(stream[chunk] for chunk in covered))
    for each in found:
        assert each.start_s < each.end_s
        assert 0.0 <= each.speech_ratio <= 1.0
        assert each.scores.sum() == pytest.approx(1.0)
        assert (each.scores >= 0.0).all()


@SOME
@given(streams, seeds, st.booleans(), costs, cuts)
def test_how_a_stream_is_cut_changes_nothing(stream, seed, smooth, cost, at):
    whole, _ = merged([stream], seed, smooth=smooth, cost=cost)
    cut, _ = merged(pieces_of(stream, at), seed, smooth=smooth, cost=cost)
    for one, other in itertools.zip_longest(whole, cut):
        assert (one.start_s, one.end_s, one.label, one.speech_ratio) == (
            other.start_s, other.end_s, other.label, other.speech_ratio,
        )  # fmt: skip
        np.testing.assert_array_equal(one.scores, other.scores)


@SOME
@given(streams, seeds, st.booleans(), costs)
def test_what_is_merged_has_nothing_left_to_merge(stream, seed, smooth, cost):
    found, steps = merged([stream], seed, smooth=smooth, cost=cost)
    ends = {step.end for step in steps if step.end is not None}
    for one, other in itertools.pairwise(found):
        if one.end_s == other.start_s and chunks_of(one)[1] not in ends:
            assert one.label != other.label


@SOME
@given(streams, seeds)
def test_unsmoothed_a_stretch_has_the_label_of_the_windows_nearest_to_each_of_its_cells(stream, seed):
    found, steps = merged([stream], seed, smooth=False)
    labels = {}
    for first, _, over in judged_cells(steps):
        distances = [abs(first + GRID.cell / 2 - (a + b) / 2) for a, b in over]
        nearest = [window for window, distance in zip(over, distances, strict=True) if distance == min(distances)]
        labels[first] = {int(score_of(seed, window).argmax()) for window in nearest}
    for each in found:
        first, last = chunks_of(each)
        for cell in (cell for cell in labels if first <= cell < last):
            assert each.label in labels[cell]


@SOME
@given(streams, seeds, costs)
@example(bytes([1]) * 100, 335, 0.0)  # of one window a label has less than MIN_PROBABILITY
def test_smoothed_a_stretch_has_a_label_and_scores_that_its_windows_can_give(stream, seed, cost):
    found, steps = merged([stream], seed, smooth=True, cost=cost)
    cells = judged_cells(steps)
    for each in found:
        first, last = chunks_of(each)
        inside = [(a, b, over) for a, b, over in cells if first <= a < last]
        logs = [
            np.mean([np.log(np.maximum(score_of(seed, window), MIN_PROBABILITY)) for window in over], axis=0)
            for *_, over in inside
        ]
        mean = np.exp(np.average(logs, axis=0, weights=[b - a for a, b, _ in inside]))
        np.testing.assert_allclose(each.scores, mean / mean.sum(), atol=1e-6)
        if cost == 0.0:
            assert all(each.label == row.argmax() for row in logs)


@SOME
@given(streams, seeds, st.lists(st.floats(0.0, 40.0), min_size=2, max_size=6, unique=True), st.booleans())
def test_a_stretch_stays_within_one_turn(stream, seed, moments, smooth):
    edges = sorted(moments)
    turns = [Turn(a, b, str(number)) for number, (a, b) in enumerate(zip(edges[::2], edges[1::2], strict=False))]
    found, _ = merged([stream], seed, smooth=smooth, turns=turns)
    for each in found:
        assert any(turn.start_s <= each.start_s < each.end_s <= turn.end_s for turn in turns)
    for one, other in itertools.pairwise(found):
        assert one.end_s <= other.start_s


# ---------------------------------------------------------------- segments -> a timeline


@st.composite
def recordings(draw):
    """Segments as an engine gives them, of two channels or of one, in which order it may be."""
    channels = draw(st.sampled_from([(None,), (0, 1)]))
    segments = []
    for channel in channels:
        edges = sorted(draw(st.lists(st.integers(0, 10**5), min_size=2, max_size=9, unique=True)))
        for start, end in zip(edges[::2], edges[1::2], strict=False):
            scores = np.random.default_rng([start, end]).dirichlet(np.ones(N_LABELS))
            best = int(scores.argmax())
            prediction = Prediction(
                LABELS[best], dict(zip(LABELS, map(float, scores), strict=True)), float(scores[best]),
                draw(st.booleans()),
            )  # fmt: skip
            ratio = draw(st.floats(0.1, 1.0))
            segments.append(Segment(start / 1000, end / 1000, channel, prediction, ratio, draw(st.sampled_from("ab"))))
    return segments


def timeline_of(groups):
    collector = Collector(LABELS)
    for group in groups:
        collector.add(group)
    return collector.timeline(duration_s=100.0, sample_rate=16000, channels=2)


@SOME
@given(recordings(), st.randoms(use_true_random=False), st.integers(1, 5))
def test_a_timeline_does_not_depend_on_how_and_in_which_order_segments_come(segments, shuffle, size):
    whole = timeline_of([segments])
    assert sorted(whole.segments, key=lambda each: (each.start_s, each.channel or 0)) == list(whole.segments)
    assert len(whole.segments) == len(segments)
    mixed = segments.copy()
    shuffle.shuffle(mixed)
    again = timeline_of([mixed[first : first + size] for first in range(0, len(mixed), size)])
    assert again.segments == whole.segments
    assert again.summary["label"] == whole.summary["label"]
    assert again.summary["shares"] == pytest.approx(whole.summary["shares"])


@SOME
@given(recordings())
def test_a_summary_shares_out_all_speech_by_label_channel_and_speaker(segments):
    summary = summary_of(segments, LABELS)
    speech_s = math.fsum((each.end_s - each.start_s) * each.speech_ratio for each in segments)
    assert summary["speech_s"] == pytest.approx(speech_s)
    assert sum(summary["shares"].values()) == pytest.approx(1.0)
    assert sum(summary["scores"].values()) == pytest.approx(1.0)
    assert summary["label"] == max(summary["scores"], key=summary["scores"].get)
    assert summary["confidence"] == max(summary["scores"].values())
    unsure = math.fsum((s.end_s - s.start_s) * s.speech_ratio for s in segments if s.prediction.abstained)
    assert summary["shares"].get(UNSURE, 0.0) * speech_s == pytest.approx(unsure)
    for groups in ("speakers", "channels"):
        if groups in summary:
            assert sum(each["speech_s"] for each in summary[groups].values()) == pytest.approx(speech_s)
    assert set(summary["speakers"]) == {each.speaker for each in segments}


@SOME
@given(st.lists(st.tuples(st.integers(0, 10**4), st.sampled_from([None, 0, 1])), max_size=30), st.integers(1, 7))
def test_windows_are_kept_each_with_its_scores_by_channel_and_time(placed, size):
    said = []
    for start, channel in placed:
        scores = np.random.default_rng([start, 0 if channel is None else channel + 1]).dirichlet(np.ones(N_LABELS))
        prediction = Prediction(LABELS[0], dict(zip(LABELS, scores, strict=True)), float(scores[0]), False)
        said.append(WindowScore(start / 100, start / 100 + 2.0, channel, None, prediction, start / 100 + 2.0))
    windows = timeline_of([said[first : first + size] for first in range(0, len(said), size)]).windows
    expected = sorted(said, key=lambda each: (-1 if each.channel is None else each.channel, each.start_s))
    assert windows.start_s.tolist() == [each.start_s for each in expected]
    assert windows.end_s.tolist() == [each.end_s for each in expected]
    assert windows.channel.tolist() == [-1 if each.channel is None else each.channel for each in expected]
    assert windows.scores.shape == (len(said), N_LABELS)
    for row, each in zip(windows.scores, expected, strict=True):
        np.testing.assert_allclose(row, list(each.prediction.scores.values()), atol=1e-7)

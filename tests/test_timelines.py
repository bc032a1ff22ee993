"""Scores of timelines: drawn by hand, counted again by the millisecond, and unmoved by what must not count."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from emogram import metrics
from emogram.errors import SettingsError
from emogram.metrics import TimelineRules, events_of, pooled, score_speakers, score_timeline, timeline_interval
from emogram.records import Span

LABELS = ("angry", "calm", "happy")


def stretch(start_s, end_s, label, speaker="A", **more):
    return Span(start_s, end_s, label, speaker, **more)


def invented(rng, n, *, gap=True, labels=LABELS):
    """Random stretches that do not overlap, at whole milliseconds."""
    edges = np.sort(rng.choice(np.arange(1, 60_000), 2 * n, replace=False)) / 1000.0
    if not gap:
        edges[2::2] = edges[1:-1:2]
    return [
        stretch(
            float(start),
            float(end),
            str(rng.choice(labels)),
            str(rng.choice(["A", "B"])),
            unsure=bool(rng.random() < 0.3),
        )
        for start, end in edges.reshape(-1, 2)
    ]


TRUTH = [
    stretch(1.0, 3.0, "angry"),
    stretch(3.5, 5.0, "angry"),
    stretch(6.0, 10.0, "happy", "B"),
    stretch(11.0, 13.5, "calm"),
]


def test_figures_drawn_by_hand():
    answer = [
        stretch(1.2, 4.0, "angry"),  # 0.2 s late, and 2.3 s of its 2.8 s are spoken
        stretch(4.0, 6.5, "calm"),  # wrong for 1.0 s of anger and 0.5 s of happiness
        stretch(6.5, 10.0, "happy", unsure=True),  # right and unsure for 3.5 s; its onset is just within the collar
        stretch(11.0, 12.0, "angry"),  # wrong for 1.0 s, though the change is seen in time; 1.5 s have no answer
    ]
    scores = score_timeline(TRUTH, answer, LABELS)
    assert scores.spoken_s == pytest.approx(2.0 + 1.5 + 4.0 + 2.5)
    np.testing.assert_allclose(scores.sure, [[2.3, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.5, 0.0]], atol=1e-12)
    np.testing.assert_allclose(scores.unsure, [[0, 0, 0], [0, 0, 0], [0, 0, 3.5]], atol=1e-12)
    np.testing.assert_allclose(scores.missed, [0.2, 1.5, 0.0], atol=1e-12)
    assert scores.segment_error == pytest.approx((1.0 + 0.5 + 1.0 + 0.2 + 1.5) / 10.0)
    assert scores.answered_error == pytest.approx((1.0 + 0.5 + 1.0) / 4.8)
    assert scores.unsure_share == pytest.approx(0.35)
    assert scores.missed_share == pytest.approx(0.17)
    assert scores.uar == pytest.approx((2.3 / 3.5 + 0.0 + 3.5 / 4.0) / 3)
    # Three true changes, at 1, 6 and 11 s; four answered, at 1.2, 4, 6.5 and 11 s.
    np.testing.assert_allclose(np.sort(scores.boundary_errors_s), [0.0, 0.2, 0.5], atol=1e-12)
    assert (scores.boundary_median_ms, scores.boundary_mean_ms) == (pytest.approx(200.0), pytest.approx(700.0 / 3))
    assert (scores.boundaries_found, scores.boundaries_missed, scores.boundaries_false) == (3, 0, 1)
    # Anger 1-5 s answered as 1.2-4 s: 2.8 of 4 s. Happiness 6-10 as 6.5-10: 3.5 of 4. Calm never.
    assert (scores.onset_hits, scores.overlap_hits, scores.n_true, scores.n_answered) == (2, 2, 3, 4)
    assert scores.onset_f1 == scores.overlap_f1 == pytest.approx(4 / 7)


def test_a_tighter_collar_and_a_higher_overlap_find_less():
    answer = [replace(event, start_s=event.start_s + 0.4) for event in events_of(TRUTH, 3.0)]
    strict = TimelineRules(collar_s=0.3, overlap=0.87)
    assert score_timeline(TRUTH, answer, LABELS).onset_f1 == 1.0
    assert score_timeline(TRUTH, answer, LABELS, rules=strict).onset_f1 == 0.0
    # 3.6 of 4 s of anger and of happiness are enough, 2.1 of 2.5 s of calm are not.
    assert score_timeline(TRUTH, answer, LABELS, rules=strict).overlap_hits == 2


def test_a_perfect_answer_has_no_error():
    truth = invented(np.random.default_rng(0), 20)
    scores = score_timeline(truth, truth, LABELS)
    assert scores.segment_error == pytest.approx(0.0, abs=1e-12)
    assert (scores.uar, scores.onset_f1, scores.overlap_f1) == (pytest.approx(1.0), 1.0, 1.0)
    assert scores.boundary_mean_ms == 0.0
    assert (scores.boundaries_missed, scores.boundaries_false) == (0, 0)


def test_no_answer_is_all_wrong_and_none_of_its_changes_is_false():
    scores = score_timeline(TRUTH, [], LABELS)
    assert (scores.segment_error, scores.missed_share, scores.uar, scores.onset_f1) == (1.0, 1.0, 0.0, 0.0)
    assert (scores.boundaries_found, scores.boundaries_missed, scores.boundaries_false) == (0, 3, 0)
    assert np.isnan(scores.boundary_median_ms) and np.isnan(scores.answered_error)


@pytest.mark.parametrize("shift_s", [0.04, 0.3, 1.2])
def test_an_answer_that_comes_late_by_some_time_has_boundaries_off_by_it(shift_s):
    late = [replace(event, start_s=event.start_s + shift_s, end_s=event.end_s + shift_s) for event in TRUTH]
    scores = score_timeline(TRUTH, late, LABELS)
    np.testing.assert_allclose(scores.boundary_errors_s, [shift_s] * 3)
    assert scores.boundary_median_ms == pytest.approx(1000 * shift_s)
    assert scores.onset_f1 == (1.0 if shift_s <= 0.5 else 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_cutting_an_answer_in_two_of_the_same_label_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    truth, answer = invented(rng, 12), invented(rng, 15)
    cut = []
    for event in answer:
        middle_s = event.start_s + (event.end_s - event.start_s) * rng.uniform(0.1, 0.9)
        cut += [replace(event, end_s=middle_s), replace(event, start_s=middle_s)]
    one, two = score_timeline(truth, answer, LABELS), score_timeline(truth, cut, LABELS)
    assert one.segment_error == pytest.approx(two.segment_error)
    np.testing.assert_allclose(one.sure, two.sure, atol=1e-9)
    np.testing.assert_array_equal(one.boundary_errors_s, two.boundary_errors_s)
    assert (one.onset_hits, one.overlap_hits, one.n_answered) == (two.onset_hits, two.overlap_hits, two.n_answered)


def test_what_is_said_of_pauses_and_the_order_of_stretches_do_not_count():
    answer = [stretch(1.0, 5.5, "angry"), stretch(5.5, 10.0, "happy"), stretch(10.0, 15.0, "calm")]
    tight = [stretch(1.0, 5.0, "angry"), stretch(6.0, 10.0, "happy"), stretch(11.0, 13.5, "calm")]
    assert score_timeline(TRUTH, answer[::-1], LABELS).segment_error == pytest.approx(0.0, abs=1e-12)
    assert score_timeline(TRUTH[::-1], tight, LABELS).segment_error == pytest.approx(0.0, abs=1e-12)


def frame_by_frame(truth, answer):
    """The tables of seconds as one would count them by ear: who says what in the middle of each millisecond."""
    sure, unsure, missed = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros(3)
    for frame in range(60_000):
        time_s = (frame + 0.5) / 1000.0
        true = [event for event in truth if event.start_s <= time_s < event.end_s]
        said = [event for event in answer if event.start_s <= time_s < event.end_s]
        if true and said:
            table = unsure if said[0].unsure else sure
            table[LABELS.index(true[0].label), LABELS.index(said[0].label)] += 0.001
        elif true:
            missed[LABELS.index(true[0].label)] += 0.001
    return sure, unsure, missed


@pytest.mark.parametrize("seed", range(3))
def test_seconds_are_those_counted_millisecond_by_millisecond(seed):
    rng = np.random.default_rng(100 + seed)
    truth, answer = invented(rng, 8), invented(rng, 10, gap=seed != 1)
    scores = score_timeline(truth, answer, LABELS)
    for got, expected in zip((scores.sure, scores.unsure, scores.missed), frame_by_frame(truth, answer), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-9)


def best_of_all_ways(allowed, cost):
    """Try every way to pair true with answered ones, and return the most pairs, and the least cost of that many."""
    n_true, n_said = allowed.shape
    best = (0, 0.0)
    for choice in itertools.product(range(-1, n_said), repeat=n_true):
        used = [j for j in choice if j >= 0]
        if len(set(used)) < len(used) or not all(allowed[i, j] for i, j in enumerate(choice) if j >= 0):
            continue
        best = min(best, (-len(used), sum(cost[i, j] for i, j in enumerate(choice) if j >= 0)))
    return -best[0], best[1]


@pytest.mark.parametrize("seed", range(6))
def test_pairs_are_the_best_of_all_ways_to_pair(seed):
    rng = np.random.default_rng(200 + seed)
    truth = [replace(event, unsure=False) for event in invented(rng, 5, labels=LABELS[:2])]
    answer = invented(rng, 5, labels=LABELS[:2])
    # Seldom within the collar by chance, so it is wide here.
    rules = TimelineRules(gap_s=0.5, window_s=8.0, collar_s=9.0, overlap=0.2)
    scores = score_timeline(truth, answer, LABELS, rules=rules)
    true, said = events_of(truth, 0.5), events_of(answer, 0.5)
    away = np.array([[abs(one.start_s - two.start_s) for two in said] for one in true])
    same = np.array([[one.label == two.label for two in said] for one in true])
    union = [[np.union1d(*map(ticks, (one, two))).size for two in said] for one in true]
    common = [[np.intersect1d(*map(ticks, (one, two))).size for two in said] for one in true]
    # Events touch nothing between them, so the union of ticks is short of the gap where they do not meet; 0 either way.
    iou = np.divide(common, union)
    n_found, cost = best_of_all_ways(away <= 8.0, away)
    assert (scores.boundaries_found, scores.boundary_errors_s.sum()) == (n_found, pytest.approx(cost))
    assert scores.onset_hits == best_of_all_ways(same & (away <= 9.0), 0 * away)[0]
    assert scores.overlap_hits == best_of_all_ways(same & (iou >= 0.2), 0 * away)[0]
    assert (scores.n_true, scores.n_answered) == (len(true), len(said))


def ticks(event):
    return np.arange(round(event.start_s * 1000), round(event.end_s * 1000))


def test_neighbours_of_one_label_are_one_event_unless_the_pause_is_long():
    stretches = [stretch(0, 1, "calm"), stretch(2, 3, "calm", "B"), stretch(7, 8, "calm"), stretch(8, 9, "happy")]
    assert [(event.start_s, event.end_s) for event in events_of(stretches, 3.0)] == [(0, 3), (7, 8), (8, 9)]
    assert [(event.start_s, event.end_s) for event in events_of(stretches, 0.5)] == [(0, 1), (2, 3), (7, 8), (8, 9)]


@pytest.mark.parametrize("seed", range(3))
def test_speakers_add_up_to_the_whole(seed):
    rng = np.random.default_rng(300 + seed)
    truth, answer = invented(rng, 20), invented(rng, 25)
    by_speaker = score_speakers(truth, answer, LABELS)
    assert set(by_speaker) == {"A", "B"}
    for name, scores in by_speaker.items():
        assert scores.spoken_s == pytest.approx(sum(e.end_s - e.start_s for e in truth if e.speaker == name))
    together = score_timeline(truth, answer, LABELS)
    assert together.n_true == len(events_of(truth, 3.0)) and together.n_answered == len(events_of(answer, 3.0))
    assert together.boundaries_found + together.boundaries_missed == together.n_true
    assert together.boundaries_found + together.boundaries_false == together.n_answered
    twice = pooled([together, together])
    assert (twice.segment_error, twice.onset_f1) == (pytest.approx(together.segment_error), together.onset_f1)
    assert twice.spoken_s == pytest.approx(2 * together.spoken_s)


def test_each_speaker_has_its_own_hits_and_the_unknown_one_too():
    truth = [stretch(0, 10, "angry", "A"), stretch(11, 20, "calm", None), stretch(21, 30, "angry", "A")]
    answer = [stretch(0.1, 10, "angry"), stretch(11.2, 20, "happy", unsure=True), stretch(21.1, 30, "angry")]
    scores = score_speakers(truth, answer, LABELS)
    assert list(scores) == ["", "A"]
    known, unknown = scores["A"], scores[""]
    np.testing.assert_allclose(known.boundary_errors_s, [0.1, 0.1])
    np.testing.assert_allclose(unknown.boundary_errors_s, [0.2])
    assert (known.onset_hits, known.overlap_hits, known.n_true, known.n_answered, known.boundaries_false) == (
        2, 2, 2, 2, 0,
    )  # fmt: skip
    assert (unknown.onset_hits, unknown.overlap_hits, unknown.n_true, unknown.n_answered) == (0, 0, 1, 1)
    assert known.labels == unknown.labels == pooled([known, unknown]).labels == LABELS
    assert unknown.unsure_share == pytest.approx(8.8 / 9.0)


def test_what_counts_as_found_counts_up_to_its_limit_and_not_beyond():
    truth = [stretch(0, 4, "calm")]
    for late_s, found in ((0.5, 1), (0.501, 0)):
        scores = score_timeline(truth, [stretch(late_s, 4, "calm")], LABELS, rules=TimelineRules(collar_s=0.5))
        assert scores.onset_hits == found
    for end_s, found in ((2, 1), (1.99, 0)):
        scores = score_timeline(truth, [stretch(0, end_s, "calm")], LABELS, rules=TimelineRules(overlap=0.5))
        assert scores.overlap_hits == found
    for late_s, found in ((1.0, 1), (1.001, 0)):
        scores = score_timeline(truth, [stretch(late_s, 4, "calm")], LABELS, rules=TimelineRules(window_s=1.0))
        assert scores.boundaries_found == found
    assert len(events_of([stretch(0, 1, "calm"), stretch(2, 3, "calm")], 1.0)) == 1
    apart = score_timeline(truth, [stretch(9, 10, "calm")], LABELS)
    assert (apart.overlap_hits, apart.missed_share, apart.boundaries_false) == (0, 1.0, 1)


def test_a_false_event_counts_for_the_speaker_it_interrupts():
    truth = [stretch(0, 10, "angry", "A"), stretch(11, 20, "calm", "B")]
    answer = [stretch(0, 10, "angry"), stretch(11, 14, "calm"), stretch(14, 16, "happy"), stretch(16, 20, "calm")]
    scores = score_speakers(truth, answer, LABELS)
    assert (scores["A"].n_answered, scores["A"].boundaries_false, scores["A"].onset_f1) == (1, 0, 1.0)
    assert (scores["B"].n_answered, scores["B"].boundaries_false) == (3, 2)
    assert scores["B"].onset_f1 == pytest.approx(2 * 1 / (1 + 3))


def test_the_interval_spans_the_speakers():
    good = score_timeline([stretch(0, 10, "angry")], [stretch(0, 9, "angry"), stretch(9, 10, "calm")], LABELS)
    bad = score_timeline([stretch(0, 10, "angry")], [stretch(0, 1, "angry"), stretch(1, 10, "calm")], LABELS)
    low, high = timeline_interval([good, bad], lambda scores: scores.segment_error)
    assert (low, high) == (pytest.approx(0.1), pytest.approx(0.9))
    assert timeline_interval([good], lambda scores: scores.segment_error) == (pytest.approx(0.1), pytest.approx(0.1))
    some = [good, bad, pooled([good, bad])] * 2
    first, again, other = (timeline_interval(some, lambda s: s.boundaries_false, seed=seed) for seed in (0, 0, 5))
    assert first == again == timeline_interval(some, lambda s: s.boundaries_false)
    assert len(other) == 2


@pytest.mark.parametrize(
    ("truth", "answer", "words"),
    [
        ([], [], "the truth holds no speech"),
        ([stretch(0, 2, "angry"), stretch(1, 3, "calm")], [], "the truth has stretches that overlap at 1 s"),
        (TRUTH, [stretch(0, 2, "angry"), stretch(1.5, 3, "angry")], "the answer has stretches that overlap at 1.5 s"),
        (TRUTH, [stretch(0, 2, "bored")], "the answer has labels that are not known: bored"),
        (TRUTH, [stretch(2, 2, "calm")], "the answer has a stretch from 2 s to 2 s"),
    ],
)
def test_what_cannot_be_scored_is_refused(truth, answer, words):
    with pytest.raises(SettingsError, match=words):
        score_timeline(truth, answer, LABELS)


def test_scores_of_other_labels_are_not_added():
    scores = metrics.score_timeline(TRUTH, TRUTH, LABELS)
    with pytest.raises(SettingsError, match="the same labels"):
        pooled([scores, replace(scores, labels=("x", "y", "z"))])
    with pytest.raises(SettingsError, match="at least one"):
        pooled([])

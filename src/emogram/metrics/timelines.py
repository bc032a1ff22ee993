"""How well a timeline tells where which emotion is, against a truth that is known.

All of it is measured on one channel, or on one speaker, where stretches do not overlap, and summed up afterwards:
`score_timeline` gives what adds up, `pooled` adds, and the properties of `TimelineScores` are the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from emogram.errors import SettingsError
from emogram.metrics.resampling import N_RESAMPLES, interval
from emogram.metrics.scores import FloatArray
from emogram.records import Span

_OVERLAP_ALLOWED_S = 1e-6  # rounding


@dataclass(frozen=True)
class TimelineRules:
    """What counts as found.

    Attributes:
        gap_s: Stretches of one emotion with a pause of at most this between them are one event; in truth and answer.
        window_s: A true change of emotion is found by an answered one at most this far away.
        collar_s: An event is found where its onset is at most this far off.
        overlap: An event is also said to be found, in another figure, where intersection over union is at least this.
    """

    gap_s: float = 3.0
    window_s: float = 3.0
    collar_s: float = 0.5
    overlap: float = 0.5


RULES = TimelineRules()


@dataclass(frozen=True)
class TimelineScores:
    """What was right and wrong, in seconds and counts, over one recording or many.

    Attributes:
        labels: Labels in order.
        sure: Seconds of speech by true label (rows) and answered label (columns), where the answer was sure; shape
            (n_labels, n_labels).
        unsure: The same where the answer was unsure; its label counts as it stands.
        missed: Seconds of speech that no answer covers, by true label, shape (n_labels,).
        boundary_errors_s: How far off each true change of emotion is that was found, shape (n_found,).
        boundaries_missed: True changes that none answers.
        boundaries_false: Answered changes that answer none.
        onset_hits: Events of the same label with the onset within the collar.
        overlap_hits: Events of the same label that overlap enough.
        n_true: Events there are.
        n_answered: Events that were answered.
    """

    labels: tuple[str, ...]
    sure: FloatArray
    unsure: FloatArray
    missed: FloatArray
    boundary_errors_s: FloatArray
    boundaries_missed: int
    boundaries_false: int
    onset_hits: int
    overlap_hits: int
    n_true: int
    n_answered: int

    @property
    def spoken_s(self) -> float:
        """Seconds of speech."""
        return float(self.sure.sum() + self.unsure.sum() + self.missed.sum())

    @property
    def segment_error(self) -> float:
        """Share of the spoken time whose answer is wrong or missing; where unsure, its label counts all the same."""
        right = np.trace(self.sure) + np.trace(self.unsure)
        return float(1.0 - right / self.spoken_s)

    @property
    def answered_error(self) -> float:
        """Share of the time with a sure answer in which that is wrong; NaN where none is sure."""
        answered = self.sure.sum()
        return float(1.0 - np.trace(self.sure) / answered) if answered > 0.0 else float("nan")

    @property
    def unsure_share(self) -> float:
        """Share of the spoken time whose answer is "unsure"."""
        return float(self.unsure.sum() / self.spoken_s)

    @property
    def missed_share(self) -> float:
        """Share of the spoken time without an answer."""
        return float(self.missed.sum() / self.spoken_s)

    @property
    def uar(self) -> float:
        """Unweighted average recall over time: the mean over true emotions of the share of their time that is right."""
        spoken = self.sure.sum(axis=1) + self.unsure.sum(axis=1) + self.missed
        right = np.diagonal(self.sure) + np.diagonal(self.unsure)
        return float(np.mean(right[spoken > 0.0] / spoken[spoken > 0.0]))

    @property
    def boundary_median_ms(self) -> float:
        """Median distance of the changes found, in milliseconds; NaN where none was."""
        return float(1000.0 * np.median(self.boundary_errors_s)) if len(self.boundary_errors_s) else float("nan")

    @property
    def boundary_mean_ms(self) -> float:
        """Mean distance of the changes found, in milliseconds; NaN where none was."""
        return float(1000.0 * np.mean(self.boundary_errors_s)) if len(self.boundary_errors_s) else float("nan")

    @property
    def boundaries_found(self) -> int:
        """True changes that an answered one is near."""
        return len(self.boundary_errors_s)

    @property
    def onset_f1(self) -> float:
        """F1 of the events by their onset."""
        return 2.0 * self.onset_hits / (self.n_true + self.n_answered)

    @property
    def overlap_f1(self) -> float:
        """F1 of the events by how much they overlap."""
        return 2.0 * self.overlap_hits / (self.n_true + self.n_answered)


def score_timeline(
    truth: Sequence[Span], answer: Sequence[Span], labels: Sequence[str], *, rules: TimelineRules = RULES
) -> TimelineScores:
    """Compare the answered stretches of one channel, or of one speaker, with the true ones.

    Only spoken time counts, so that it does not matter what is said of pauses. Changes of emotion are the onsets of
    events, and an event is what `events_of` makes of stretches; changes are matched without regard to labels, one to
    one, as many as possible and then as near as possible (as boundaries are in C. Raffel et al., "mir_eval", ISMIR
    2014). Events: event-based metrics on the onset of A. Mesaros, T. Heittola, T. Virtanen, "Metrics for polyphonic
    sound event detection", Applied Sciences 6 (2016), 162, section 4.2, matched one to one; and the same by
    intersection over union, as temporal action localisation has it (F. Caba Heilbron et al., "ActivityNet", CVPR 2015).

    Args:
        truth: What is spoken; must not overlap.
        answer: What was said of it; must not overlap.
        labels: All labels of both.
        rules: What counts as found.

    Raises:
        SettingsError: Nothing is spoken, a label is unknown, or stretches overlap.
    """
    return pooled(list(score_speakers(truth, answer, labels, rules=rules).values()))


def score_speakers(
    truth: Sequence[Span], answer: Sequence[Span], labels: Sequence[str], *, rules: TimelineRules = RULES
) -> dict[str, TimelineScores]:
    """As `score_timeline`, apart for each true speaker; "" is the unknown one.

    An answered change or event that answers none counts for the speaker whose event is nearest to its onset.
    """
    truth, answer = _checked(truth, labels, "truth"), _checked(answer, labels, "answer")
    if not truth:
        raise SettingsError("the truth holds no speech, so there is nothing to score")
    true_events, said_events = events_of(truth, rules.gap_s), events_of(answer, rules.gap_s)
    owner_of_true = [event.speaker or "" for event in true_events]
    owner_of_said = [owner_of_true[_nearest(true_events, event.start_s)] for event in said_events]
    pairs = _matched_onsets(true_events, said_events, rules.window_s)
    hits = {
        "onset": _hits(true_events, said_events, lambda one, two: abs(one.start_s - two.start_s) <= rules.collar_s),
        "overlap": _hits(true_events, said_events, lambda one, two: _overlap(one, two) >= rules.overlap),
    }
    found: dict[str, TimelineScores] = {}
    for name in sorted({event.speaker or "" for event in truth}):
        sure, unsure, missed = _seconds([event for event in truth if (event.speaker or "") == name], answer, labels)
        own = [(i, j) for i, j in pairs if owner_of_true[i] == name]
        n_true, n_said = owner_of_true.count(name), owner_of_said.count(name)
        said_found = sum(owner_of_said[j] == name for _, j in pairs)
        found[name] = TimelineScores(
            labels=tuple(labels),
            sure=sure,
            unsure=unsure,
            missed=missed,
            boundary_errors_s=np.array([abs(true_events[i].start_s - said_events[j].start_s) for i, j in own]),
            boundaries_missed=n_true - len(own),
            boundaries_false=n_said - said_found,
            onset_hits=sum(owner_of_true[i] == name for i, _ in hits["onset"]),
            overlap_hits=sum(owner_of_true[i] == name for i, _ in hits["overlap"]),
            n_true=n_true,
            n_answered=n_said,
        )
    return found


def pooled(scores: Sequence[TimelineScores]) -> TimelineScores:
    """Add up the scores of several speakers, channels or recordings.

    Raises:
        SettingsError: There are none, or their labels differ.
    """
    if not scores or any(one.labels != scores[0].labels for one in scores):
        raise SettingsError("scores are added up where they have the same labels, and there is at least one")
    return TimelineScores(
        scores[0].labels,
        np.sum([one.sure for one in scores], axis=0),
        np.sum([one.unsure for one in scores], axis=0),
        np.sum([one.missed for one in scores], axis=0),
        np.concatenate([one.boundary_errors_s for one in scores]),
        *(
            sum(getattr(one, name) for one in scores)
            for name in (
                "boundaries_missed",
                "boundaries_false",
                "onset_hits",
                "overlap_hits",
                "n_true",
                "n_answered",
            )
        ),
    )


def timeline_interval(
    by_speaker: Sequence[TimelineScores],
    figure: Callable[[TimelineScores], float],
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % interval of a figure from resampling speakers; see `resampling.speaker_bootstrap`.

    Args:
        by_speaker: The scores of each speaker, over all recordings.
        figure: Scores -> figure, such as `lambda scores: scores.uar`.
        n_resamples: Number of resamples, >= 1.
        seed: Of the random numbers.
    """
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(by_speaker), size=(n_resamples, len(by_speaker)))
    return interval(np.array([figure(pooled([by_speaker[place] for place in draw])) for draw in draws]))


def events_of(stretches: Iterable[Span], gap_s: float) -> list[Span]:
    """Join neighbours of the same label with a pause of at most `gap_s` between them, whoever speaks."""
    events: list[Span] = []
    for stretch in sorted(stretches, key=lambda event: event.start_s):
        if events and events[-1].label == stretch.label and stretch.start_s - events[-1].end_s <= gap_s:
            events[-1] = replace(events[-1], end_s=stretch.end_s)
        else:
            events.append(stretch)
    return events


def _checked(events: Sequence[Span], labels: Sequence[str], what: str) -> list[Span]:
    ordered = sorted(events, key=lambda event: event.start_s)
    unknown = sorted({event.label for event in ordered} - set(labels))
    if unknown:
        raise SettingsError(f"the {what} has labels that are not known: {', '.join(unknown)}")
    for event in ordered:
        if not 0.0 <= event.start_s < event.end_s:
            raise SettingsError(f"the {what} has a stretch from {event.start_s:g} s to {event.end_s:g} s")
    for one, other in pairwise(ordered):
        if other.start_s < one.end_s - _OVERLAP_ALLOWED_S:
            raise SettingsError(
                f"the {what} has stretches that overlap at {other.start_s:g} s; score channels and speakers apart"
            )
    return ordered


def _seconds(
    truth: Sequence[Span], answer: Sequence[Span], labels: Sequence[str]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the seconds of `TimelineScores.sure`, `unsure` and `missed`, exactly: between all edges of both."""
    edges = np.unique([edge for event in (*truth, *answer) for edge in (event.start_s, event.end_s)])
    middles, lengths = (edges[:-1] + edges[1:]) / 2.0, np.diff(edges)
    true_at, said_at = _index_at(truth, middles), _index_at(answer, middles)
    place = {label: index for index, label in enumerate(labels)}
    true_label = np.array([place[event.label] for event in truth])
    said_label = np.array([place[event.label] for event in answer] or [0])
    said_unsure = np.array([event.unsure for event in answer] or [False])
    tables = np.zeros((2, len(labels), len(labels)))
    missed = np.zeros(len(labels))
    both = (true_at >= 0) & (said_at >= 0)
    np.add.at(
        tables,
        (said_unsure[said_at[both]].astype(int), true_label[true_at[both]], said_label[said_at[both]]),
        lengths[both],
    )
    alone = (true_at >= 0) & (said_at < 0)
    np.add.at(missed, true_label[true_at[alone]], lengths[alone])
    return tables[0], tables[1], missed


def _index_at(events: Sequence[Span], times_s: FloatArray) -> npt.NDArray[np.intp]:
    """Return which event each time lies in; -1 for none. They are in order and do not overlap."""
    starts = np.array([event.start_s for event in events])
    ends = np.array([event.end_s for event in events])
    index = np.searchsorted(starts, times_s, side="right") - 1
    inside = index >= 0
    inside[inside] = times_s[inside] < ends[index[inside]]
    return np.where(inside, index, -1)


def _nearest(events: Sequence[Span], time_s: float) -> int:
    """Return which event a time lies in or is nearest to."""
    away = [max(event.start_s - time_s, time_s - event.end_s, 0.0) for event in events]
    return int(np.argmin(away))


def _matched_onsets(truth: Sequence[Span], answer: Sequence[Span], window_s: float) -> list[tuple[int, int]]:
    """Return pairs of onsets at most `window_s` apart: as many as possible, and of those ways the nearest."""
    away = np.abs(_onsets(truth)[:, np.newaxis] - _onsets(answer))
    # One pair more is worth more than all distances together.
    gain = np.where(away <= window_s, (len(truth) + 1) * (window_s + 1.0) - away, 0.0)
    return _assigned(gain)


def _hits(truth: Sequence[Span], answer: Sequence[Span], near: Callable[[Span, Span], bool]) -> list[tuple[int, int]]:
    """Return the largest set of pairs that have the same label and are near, each event in one pair at most."""
    return _assigned(np.array([[float(one.label == two.label and near(one, two)) for two in answer] for one in truth]))


def _assigned(gain: FloatArray) -> list[tuple[int, int]]:
    """Return the pairs (row, column) with a gain whose gains sum to the most."""
    from scipy.optimize import linear_sum_assignment

    if gain.size == 0:
        return []
    rows, columns = linear_sum_assignment(gain, maximize=True)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if gain[i, j] > 0.0]


def _onsets(events: Sequence[Span]) -> FloatArray:
    return np.array([event.start_s for event in events])


def _overlap(one: Span, two: Span) -> float:
    """Return intersection over union."""
    common = min(one.end_s, two.end_s) - max(one.start_s, two.start_s)
    return max(0.0, common) / (max(one.end_s, two.end_s) - min(one.start_s, two.start_s))

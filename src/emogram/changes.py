"""What a model said of some clips before and after it was trained further -> whether it became better."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emogram import metrics
from emogram.compare import N_RESAMPLES, difference
from emogram.corpora.corpus import counted
from emogram.crosscorpus import restrict
from emogram.predictions import Predictions, on_shared_clips
from emogram.records import Difference, Report, speakers_of

BEFORE, AFTER = "before", "after"
METRICS = ("uar", "accuracy", "ece")

FEW_SPEAKERS = 5
"""Fewer cannot be resampled: of one voice there is one draw, of two there are three. Their clips are resampled then."""

BETTER, WORSE, UNTOLD = "better", "worse", "cannot tell"


@dataclass(frozen=True)
class Change:
    """A model before and after, on the same clips.

    Attributes:
        before: What it was worth, all its labels allowed.
        narrowed: What it was worth among the labels that the new one has, where it had others as well; else None. That
            alone is gained by asking for fewer labels.
        after: What the new one is worth.
        differences: After less before, or less `narrowed` where there is that; for each of `METRICS`.
        says: What the intervals resample.
    """

    before: Report
    narrowed: Report | None
    after: Report
    differences: tuple[Difference, ...]
    says: str

    @property
    def compared(self) -> Report:
        """The report that `after` is compared with."""
        return self.narrowed or self.before

    @property
    def verdict(self) -> str:
        """`BETTER`, `WORSE` or `UNTOLD`, by the interval of the difference in UAR."""
        uar = self.differences[0]
        return UNTOLD if not uar.told_apart else BETTER if uar.value > 0 else WORSE

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts and lists, ready for JSON."""
        return {
            "verdict": self.verdict,
            "says": self.says,
            "before": self.before.to_dict(),
            "before_among_its_labels": None if self.narrowed is None else self.narrowed.to_dict(),
            "after": self.after.to_dict(),
            "differences": [difference.to_dict() for difference in self.differences],
        }


def compare_before_after(before: Predictions, after: Predictions, *, seed: int = 0) -> Change:
    """Compare what a model said before and after, paired by clip.

    Args:
        before: What it said of some clips. Labels that it did not know have the probability 0, so that all their clips
            are wrong.
        after: What the new one says of the same clips.
        seed: Of the resampling.

    Raises:
        InputError: The two are of no clip in common.
    """
    known = [label for label in after.labels if label in before.labels]
    sets = [before, after]
    if len(known) < len(before.labels) and len(known) > 1:
        sets.append(among(before, known))
    matched, _ = on_shared_clips(sets)
    clips, targets, labels = matched[0].clips, matched[0].targets(), matched[0].labels
    speakers = speakers_of(clips)
    n_speakers = len(set(speakers) - {None})
    few = n_speakers < FEW_SPEAKERS
    drawn = metrics.resample_speakers(
        targets,
        [each.probabilities for each in matched],
        [None] * len(clips) if few else speakers,
        n_resamples=N_RESAMPLES,
        seed=seed,
    )
    says = _says(len(clips), n_speakers) if few else metrics.describe_resampling(speakers)
    reports = [
        dataclasses.replace(
            metrics.judge(
                targets, each.probabilities, labels, clips, protocol=each.protocol, abstained=each.abstained, seed=seed
            ),
            intervals={name: metrics.interval(values) for name, values in draws.items()},
            protocol="; ".join(part for part in (each.protocol, says) if part),
        )
        for each, draws in zip(matched, drawn, strict=True)
    ]
    against = len(sets) - 1 if len(sets) > 2 else 0
    differences = tuple(
        difference(
            metric,
            (AFTER, reports[1].metrics[metric]),
            (BEFORE, reports[against].metrics[metric]),
            drawn[1][metric] - drawn[against][metric],
        )
        for metric in METRICS
    )
    return Change(reports[0], reports[against] if against else None, reports[1], differences, says)


def _says(n_clips: int, n_speakers: int) -> str:
    words = f"95 % intervals resample {counted(n_clips, 'clip')}"
    if not n_speakers:
        return f"{words}, no speakers known"
    return f"{words} of {counted(n_speakers, 'voice')}, and say nothing of others"


def among(said: Predictions, labels: Sequence[str]) -> Predictions:
    """Return predictions among some labels alone: what a softmax over them would have said."""
    probabilities = restrict(said.probabilities, said.labels, labels)
    return dataclasses.replace(said, labels=tuple(labels), probabilities=probabilities)

"""All figures of a set of predictions as a `Report`, by group and over seeds."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from emogram.errors import SettingsError
from emogram.metrics.dimensions import MEAN_CCC, DimensionValues, dimension_metrics, resample_dimensions
from emogram.metrics.resampling import (
    describe_resampling,
    interval,
    mean_of,
    resample_gap,
    resample_speakers,
    speaker_bootstrap,
)
from emogram.metrics.scores import (
    FloatArray,
    IntArray,
    accuracy,
    brier,
    checked,
    confusion_matrix,
    ece,
    nll,
    per_class_scores,
    risk_coverage,
    summarise,
)
from emogram.records import Clip, Report, SeedSummary, speakers_of

_GAP = "uar_gender_gap"


def judge(
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    labels: Sequence[str],
    clips: Sequence[Clip],
    *,
    protocol: str,
    abstained: npt.NDArray[np.bool_] | None = None,
    allowed_leaks: Sequence[str] = (),
    values: DimensionValues | None = None,
    seed: int = 0,
) -> Report:
    """Judge a set of predictions.

    Args:
        targets: Class indices, shape (n_clips,).
        probabilities: Shape (n_clips, n_labels).
        labels: Names of the classes, in order; none where dimensions only were told.
        clips: The clip of each row; speakers, genders and intensities are taken from it where known.
        protocol: The protocol's name and what must be said with it; what the intervals resample is added.
        abstained: Where the model said "unsure", shape (n_clips,); None where it has no threshold.
        allowed_leaks: Names of the leaks that the reader must know of.
        values: The dimensions of each clip, and what was said of them; None where none were told.
        seed: Of the bootstrap.

    Returns:
        The report. Beside the metrics that `Report` names there is "uar_gender_gap" where two genders or more are
        known: the highest UAR of a gender less the lowest, whose interval resamples the speakers of each gender and
        reaches below 0 where it may as well be the other way round; and "unsure_share" and "answered_error", the share
        of wrong answers among the others, where a clip was called unsure and another was not. Groups are kept for
        "speaker", "gender" and "intensity" where known, and for "corpus" where there is more than one.

    Raises:
        SettingsError: The arrays are empty or do not fit together.
    """
    speakers = speakers_of(clips)
    protocol = "; ".join(part for part in (protocol, describe_resampling(speakers)) if part)
    report = (
        _judge_classes(targets, probabilities, labels, clips, abstained=abstained, seed=seed)
        if labels
        else Report((), {"n_clips": len(clips)}, {}, {}, (), {}, "")
    )
    report = replace(report, protocol=protocol, allowed_leaks=tuple(allowed_leaks))
    return report if values is None else _with_dimensions(report, values, clips, seed=seed)


def _judge_classes(
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    labels: Sequence[str],
    clips: Sequence[Clip],
    *,
    abstained: npt.NDArray[np.bool_] | None,
    seed: int,
) -> Report:
    truth, scores = checked(targets, probabilities)
    if scores.shape[1] != len(labels) or len(clips) != len(truth):
        raise SettingsError(
            f"{len(labels)} labels and {len(clips)} clips for probabilities of shape {scores.shape}; "
            "expected a label for each column and a clip for each row"
        )
    counts = confusion_matrix(truth, scores)
    speakers = speakers_of(clips)
    groups = {
        kind: {name: _group_scores(truth, scores, places) for name, places in members.items()}
        for kind, members in _members(clips, speakers).items()
    }
    metrics = {name: float(value) for name, value in summarise(counts).items()}
    metrics |= {"ece": ece(scores, truth), "nll": nll(scores, truth), "brier": brier(scores, truth)}
    metrics |= {"aurc": risk_coverage(scores, truth).area, "n_clips": len(truth)}
    if abstained is not None and abstained.any() and not abstained.all():
        metrics["unsure_share"] = float(abstained.mean())
        metrics["answered_error"] = 1.0 - accuracy(truth[~abstained], scores[~abstained])
    by_gender = [values["uar"] for values in groups.get("gender", {}).values()]
    intervals = speaker_bootstrap(truth, scores, speakers, seed=seed)
    if len(by_gender) > 1:
        metrics[_GAP] = max(by_gender) - min(by_gender)
        intervals[_GAP] = interval(resample_gap(truth, [scores], speakers, _genders(clips), seed=seed))
    return Report(
        labels=tuple(labels),
        metrics=metrics,
        per_class=per_class_scores(truth, scores, labels),
        per_group=groups,
        confusion=tuple(tuple(row) for row in counts.tolist()),
        intervals=intervals,
        protocol="",
    )


def _with_dimensions(report: Report, values: DimensionValues, clips: Sequence[Clip], *, seed: int) -> Report:
    """Add to a report how well dimensions were told."""
    if len(values.truth) != len(clips):
        raise SettingsError(f"{len(values.truth)} rows of dimensions for {len(clips)} clips; expected one for each")
    speakers = speakers_of(clips)
    groups = {}
    for kind, members in _members(clips, speakers).items():
        known = report.per_group.get(kind, {})
        groups[kind] = {
            name: {**known.get(name, {"n_clips": len(places)}), MEAN_CCC: _mean_ccc(values, places)}
            for name, places in members.items()
        }
    (drawn,) = resample_dimensions(values.truth, [values.said], values.names, speakers, seed=seed)
    return replace(
        report,
        metrics={**report.metrics, **dimension_metrics(values)},
        intervals={**report.intervals, **{name: interval(found) for name, found in drawn.items()}},
        per_group=groups,
        dimensions=values.names,
    )


def _mean_ccc(values: DimensionValues, places: Sequence[int]) -> float:
    return dimension_metrics(values.rows(np.asarray(places, dtype=np.intp)))[MEAN_CCC]


def over_seeds(
    reports: Sequence[Report],
    targets: npt.ArrayLike,
    probabilities: Sequence[npt.ArrayLike],
    clips: Sequence[Clip],
    *,
    values: Sequence[DimensionValues] = (),
    seed: int = 0,
) -> SeedSummary:
    """Sum up what several seeds gave on the same clips.

    Args:
        reports: One for each seed.
        targets: Class indices, shape (n_clips,).
        probabilities: Of each seed, shape (n_clips, n_labels).
        clips: The clip of each row; speakers and genders are taken from it where known.
        values: Of each seed, the dimensions that were told; empty where none were.
        seed: Of the bootstrap.

    Returns:
        Mean and standard deviation of every metric that all seeds have; intervals are of the mean, speakers resampled.

    Raises:
        SettingsError: The arrays are empty or do not fit together.
    """
    shared = [name for name in reports[0].metrics if all(name in report.metrics for report in reports)]
    figures = {name: [report.metrics[name] for report in reports] for name in shared if not name.endswith("n_clips")}
    speakers = speakers_of(clips)
    resampled = [resample_speakers(targets, probabilities, speakers, seed=seed)] if reports[0].labels else []
    if values:
        said = [each.said for each in values]
        resampled.append(resample_dimensions(values[0].truth, said, values[0].names, speakers, seed=seed))
    intervals = {name: interval(mean_of(drawn, name)) for drawn in resampled for name in drawn[0]}
    if _GAP in shared:
        intervals[_GAP] = interval(resample_gap(targets, probabilities, speakers, _genders(clips), seed=seed))
    return SeedSummary(
        n_seeds=len(reports),
        mean={name: statistics.fmean(found) for name, found in figures.items()},
        std={name: statistics.stdev(found) if len(found) > 1 else 0.0 for name, found in figures.items()},
        intervals=intervals,
    )


def speaker_genders(clips: Sequence[Clip]) -> dict[str, str]:
    """Return the gender of each speaker where known, by the names of `speakers_of`."""
    return {
        name: clip.extra["gender"]
        for name, clip in zip(speakers_of(clips), clips, strict=True)
        if name is not None and clip.extra.get("gender")
    }


def _genders(clips: Sequence[Clip]) -> list[str | None]:
    return [clip.extra.get("gender") for clip in clips]


def _members(clips: Sequence[Clip], speakers: Sequence[str | None]) -> dict[str, dict[str, list[int]]]:
    """Return group kind -> group -> places of its clips, for the kinds that are known."""
    kinds: dict[str, Sequence[str | None]] = {
        "speaker": speakers,
        "gender": _genders(clips),
        "intensity": [clip.extra.get("intensity") for clip in clips],
    }
    if len({clip.corpus for clip in clips}) > 1:
        kinds["corpus"] = [clip.corpus or None for clip in clips]
    groups = {}
    for kind, names in kinds.items():
        members: dict[str, list[int]] = {}
        for place, name in enumerate(names):
            if name:
                members.setdefault(name, []).append(place)
        if members:
            groups[kind] = {name: members[name] for name in sorted(members, key=_natural)}
    return groups


def _group_scores(targets: IntArray, probabilities: FloatArray, members: Sequence[int]) -> dict[str, float]:
    summary = summarise(confusion_matrix(targets[members], probabilities[members]))
    return {
        "uar": float(summary["uar"]),
        "accuracy": float(summary["accuracy"]),
        "n_clips": len(members),
    }


def _natural(name: str) -> list[str | int]:
    """Sort key that puts speaker 2 before speaker 10."""
    return [int(part) if index % 2 else part for index, part in enumerate(re.split(r"(\d+)", name))]

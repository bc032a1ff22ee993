"""Stored predictions of several models for the same clips -> whether one is better than another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from emogram import metrics, plots
from emogram.corpora.corpus import counted
from emogram.errors import InputError, SettingsError
from emogram.files import write_json
from emogram.predictions import UNKNOWN_PROTOCOL, Predictions, in_one_order, on_shared_clips, read_predictions
from emogram.records import Difference, speakers_of
from emogram.writers import write_differences

METRICS = ("uar", "accuracy")

# More than for the intervals of a report, since here a probability is told to the tenth of a percent.
N_RESAMPLES = 10_000

FEW_SPEAKERS = 10
"""With fewer, resampling them gives intervals that are too narrow."""


@dataclass(frozen=True)
class Compared:
    """One model of a comparison.

    Attributes:
        name: As short as tells it from the others.
        n_seeds: Number of its seeds; figures are means over them.
        n_left_out: Number of its clips that another model did not judge.
        uar: On the clips that all judged.
        uar_interval: 95 %, resampling speakers.
        accuracy: Likewise.
        accuracy_interval: Likewise.
        protocol: What stands beside its own figures.
    """

    name: str
    n_seeds: int
    n_left_out: int
    uar: float
    uar_interval: tuple[float, float]
    accuracy: float
    accuracy_interval: tuple[float, float]
    protocol: str


@dataclass(frozen=True)
class Comparison:
    """What a comparison gave.

    Attributes:
        models: In the order given.
        differences: For each pair of models and metric.
        n_clips: Number of clips that all judged.
        says: What must stand beside the figures.
        warnings: What the reader should know.
        files: What was written.
    """

    models: tuple[Compared, ...]
    differences: tuple[Difference, ...]
    n_clips: int
    says: str
    warnings: tuple[str, ...]
    files: tuple[Path, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts and lists, ready for JSON."""
        return {
            "says": self.says,
            "n_clips": self.n_clips,
            "models": [asdict(model) for model in self.models],
            "differences": [difference.to_dict() for difference in self.differences],
            "warnings": list(self.warnings),
        }


def compare(runs: Sequence[Path], out: Path, *, seed: int = 0) -> Comparison:
    """Say whether one model is better than another, paired by clip and resampled by speaker.

    Each resample of speakers judges all models, so that what makes a voice easy or hard for all of them does not blur
    their differences. Of several seeds the mean of their figures counts. Writes `comparison.json`, `comparison.csv`,
    `differences.png` and `per_speaker.png`, the last where speakers are known.

    Args:
        runs: At least two folders of runs or cross-validations that hold `predictions.csv`, or such files.
        out: Folder for the results.
        seed: Of the resampling.

    Raises:
        SettingsError: Fewer than two runs were given, or one twice.
        InputError: A file is missing or holds no predictions, no clip was judged by all, all are of one speaker, or a
            clip has different true labels.
    """
    if len(runs) < 2:
        raise SettingsError(f"{len(runs)} run; a comparison needs at least two")
    names = _short_names(runs)
    # The seeds of one run judge the same clips; those of different runs may not.
    by_run = [in_one_order(read_predictions([run])) for run in runs]
    matched, left_out = on_shared_clips([each for seeds in by_run for each in seeds])
    seeds_of: list[list[Predictions]] = []
    n_left_out = []
    for seeds in by_run:
        start = sum(map(len, seeds_of))
        seeds_of.append(matched[start : start + len(seeds)])
        n_left_out.append(left_out[start])
    clips, targets = matched[0].clips, matched[0].targets()
    if not matched[0].labels:
        raise InputError(
            "these runs tell dimensions and no classes, and models are compared by their classes; put the intervals of "
            "`emogram evaluate --predictions` side by side"
        )
    speakers = speakers_of(clips)
    if len(set(speakers)) == 1 and speakers[0] is not None:
        raise InputError(f"all {len(clips)} clips are of the speaker {speakers[0]}; one voice tells nothing of others")

    resampled = metrics.resample_speakers(
        targets, [each.probabilities for each in matched], speakers, n_resamples=N_RESAMPLES, seed=seed
    )
    models: list[Compared] = []
    draws: list[dict[str, metrics.FloatArray]] = []
    for name, seeds, missing in zip(names, seeds_of, n_left_out, strict=True):
        start = sum(model.n_seeds for model in models)
        own = {metric: metrics.mean_of(resampled[start : start + len(seeds)], metric) for metric in METRICS}
        draws.append(own)
        models.append(
            Compared(
                name=name,
                n_seeds=len(seeds),
                n_left_out=missing,
                uar=float(np.mean([metrics.uar(targets, each.probabilities) for each in seeds])),
                uar_interval=metrics.interval(own["uar"]),
                accuracy=float(np.mean([metrics.accuracy(targets, each.probabilities) for each in seeds])),
                accuracy_interval=metrics.interval(own["accuracy"]),
                protocol=seeds[0].protocol,
            )
        )
    differences = tuple(
        difference(
            metric,
            (models[one].name, getattr(models[one], metric)),
            (models[other].name, getattr(models[other], metric)),
            draws[one][metric] - draws[other][metric],
        )
        for one, other in combinations(range(len(models)), 2)
        for metric in METRICS
    )
    says = f"{counted(len(clips), 'clip')} that all models judged; {metrics.describe_resampling(speakers)}"
    drawn = _draw(out, differences, dict(zip(names, seeds_of, strict=True)), says)
    comparison = Comparison(
        models=tuple(models),
        differences=differences,
        n_clips=len(clips),
        says=says,
        warnings=tuple(_warnings(models, speakers)),
        files=(out / "comparison.json", out / "comparison.csv", *drawn),
    )
    write_json(out / "comparison.json", comparison.to_dict())
    write_differences(out / "comparison.csv", differences)
    return comparison


def difference(
    metric: str, first: tuple[str, float], second: tuple[str, float], drawn: metrics.FloatArray
) -> Difference:
    """Return by how much one model is better than another.

    Args:
        metric: Which figure of theirs.
        first: Name of the one, and its figure.
        second: Of the other.
        drawn: The first less the second in each resample.
    """
    low, high = metrics.interval(drawn)
    return Difference(
        metric=metric,
        first=first[0],
        second=second[0],
        value=first[1] - second[1],
        low=low,
        high=high,
        probability=float(np.mean(drawn > 0.0) + np.mean(drawn == 0.0) / 2.0),
    )


def _warnings(models: Sequence[Compared], speakers: Sequence[str | None]) -> list[str]:
    warnings = [
        f"{counted(model.n_left_out, 'clip')} of {model.name} left out, which not all models judged"
        for model in models
        if model.n_left_out
    ]
    # What stands before the first semicolon names the protocol; folds, seeds and the like come behind it.
    known = {model.protocol.split(";")[0]: model.name for model in models if model.protocol != UNKNOWN_PROTOCOL}
    if len(known) > 1:
        said = " and ".join(f"{name} under '{protocol}'" for protocol, name in known.items())
        warnings.append(f"different protocols: {said}; one may have had more to learn from, or easier clips")
    n_speakers = len(set(speakers) - {None})
    if n_speakers < FEW_SPEAKERS:
        found = counted(n_speakers, "speaker") if n_speakers else "no speakers known"
        warnings.append(f"{found}: the intervals are too narrow to tell of other voices")
    return warnings


def _short_names(runs: Sequence[Path]) -> list[str]:
    """Return the ends of the paths, as long as it takes to tell them apart."""
    parts = [(run.resolve().parent if run.name == "predictions.csv" else run.resolve()).parts for run in runs]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(path[-depth:]) for path in parts]
        if len(set(names)) == len(names):
            return names
    raise SettingsError(f"one of {', '.join(map(str, runs))} is given twice; expected different runs")


def _draw(
    out: Path, differences: Sequence[Difference], seeds_of: dict[str, list[Predictions]], says: str
) -> list[Path]:
    plots.differences(differences, out / "differences.png", title=says)
    drawn = [out / "differences.png"]
    per_speaker = {name: _uar_per_speaker(seeds) for name, seeds in seeds_of.items()}
    first = next(iter(seeds_of.values()))[0]
    if per_speaker and all(per_speaker.values()):
        genders = metrics.speaker_genders(first.clips)
        plots.speaker_scatter(per_speaker, out / "per_speaker.png", title=says, genders=genders)
        drawn.append(out / "per_speaker.png")
    return drawn


def _uar_per_speaker(seeds: Sequence[Predictions]) -> dict[str, float]:
    """Return the mean UAR over the seeds of each known speaker."""
    speakers = speakers_of(seeds[0].clips)
    targets = seeds[0].targets()
    found = {}
    for name in dict.fromkeys(speaker for speaker in speakers if speaker is not None):
        own = np.asarray([speaker == name for speaker in speakers])
        found[name] = float(np.mean([metrics.uar(targets[own], each.probabilities[own]) for each in seeds]))
    return found

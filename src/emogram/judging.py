"""A sealed model and a part of a dataset -> probabilities, report, tables and plots.

Training, evaluation and cross-validation all judge here, on the ONNX model that ships and not on the one that trained.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emogram import metrics, plots
from emogram.calibration import soften
from emogram.classifier import Answers, Classifier, Probabilities, as_prediction
from emogram.dataset import Dataset, Indices
from emogram.errors import InputError
from emogram.familiar import Embeddings
from emogram.predictions import Predictions, read_file
from emogram.progress import SILENT, Progress
from emogram.records import Clip, Prediction, Report, SeedSummary
from emogram.writers import METRICS_FILE, PREDICTIONS_FILE, write_groups, write_metrics, write_predictions_csv

GROUPS_FILE = "groups.csv"
PLOTS_FOLDER = "plots"


@dataclass(frozen=True)
class Judgement:
    """What a model, or each of several seeds, says of some clips, and how good that is.

    Attributes:
        report: The figures; of several seeds those of the first.
        clips: The clips.
        probabilities: Calibrated, shape (n_clips, n_labels), in the order of `clips` and `report.labels`; likewise.
        plots: Files drawn; likewise.
        per_seed: The report of each seed, by name.
        over_seeds: Mean, spread and intervals over the seeds.
    """

    report: Report
    clips: tuple[Clip, ...]
    probabilities: Probabilities
    plots: tuple[Path, ...]
    per_seed: Mapping[str, Report]
    over_seeds: SeedSummary


def clip_probabilities(
    classifier: Classifier, dataset: Dataset, indices: Indices, *, progress: Progress = SILENT
) -> Probabilities:
    """Return what a model says of some clips, each at its own length.

    Returns:
        Calibrated, shape (len(indices), n_labels), in the order of the model's labels.
    """
    return clip_answers(classifier, dataset, indices, progress=progress).probabilities


def clip_answers(classifier: Classifier, dataset: Dataset, indices: Indices, *, progress: Progress = SILENT) -> Answers:
    """Return what `clip_probabilities` does, and the dimensions, in one run of the network for each clip."""
    answers = Answers(
        np.zeros((len(indices), len(classifier.labels))), np.zeros((len(indices), len(classifier.dimensions)))
    )
    with progress.task("judging", len(indices)) as task:
        for positions in dataset.same_length_groups(indices, most=16):
            found = classifier.answers_to(dataset.inputs(indices[positions]))
            answers.probabilities[positions] = found.probabilities
            answers.values[positions] = found.values
            task.advance(len(positions))
    return answers


def clip_embeddings(classifier: Classifier, dataset: Dataset, indices: Indices) -> Embeddings:
    """Return the embeddings of some clips, each at its own length, shape (len(indices), n_values)."""
    embeddings: dict[int, Embeddings] = {}
    for positions in dataset.same_length_groups(indices, most=16):
        found = classifier.embeddings(dataset.inputs(indices[positions]))
        embeddings |= dict(zip(positions.tolist(), found, strict=True))
    return np.stack([embeddings[position] for position in range(len(indices))])


def judge_clips(
    clips: Sequence[Clip],
    probabilities: Probabilities,
    labels: Sequence[str],
    out: Path,
    *,
    protocol: str,
    history: Mapping[str, Sequence[float]] | None = None,
    temperature: float = 1.0,
    threshold: float = 0.0,
    allowed_leaks: Sequence[str] = (),
    values: metrics.DimensionValues | None = None,
) -> Judgement:
    """Judge what one model says; see `judge_seeds` for what is written.

    Args:
        clips: Clips; the label of each is the truth.
        probabilities: Calibrated, shape (n_clips, n_labels).
        labels: Labels in order; none where dimensions only were told.
        out: Folder for the results.
        protocol: What must stand beside the figures.
        history: The training's, for its curves.
        temperature: By which the probabilities were softened, for the picture of what that did; 1: they were not.
        threshold: Confidence below which a prediction counts as unsure.
        allowed_leaks: Leaks that were found and allowed, in words.
        values: The dimensions, true and told; None where none were told.
    """
    said = Predictions(
        name="model",
        clips=tuple(clips),
        labels=tuple(labels),
        probabilities=probabilities,
        abstained=probabilities.max(axis=1, initial=0.0) < threshold,
        protocol=protocol,
        allowed_leaks=tuple(allowed_leaks),
        values=values,
    )
    return judge_seeds([said], out, history=history, temperature=temperature)


def judge_seeds(
    said: Sequence[Predictions],
    out: Path,
    *,
    history: Mapping[str, Sequence[float]] | None = None,
    temperature: float = 1.0,
    also: Mapping[str, Any] = types.MappingProxyType({}),
) -> Judgement:
    """Judge what each of several seeds says of the same clips.

    Writes into `out`: `metrics.json`, `groups.csv` and `plots/` of the first seed, the first with the mean over all
    seeds where there are several or their names are known, and `predictions.csv` of all.

    Args:
        said: For each seed; the same clips and labels in the same order.
        out: Folder for the results.
        history: A training's, for its curves.
        temperature: By which the probabilities were softened, for the picture of what that did; 1: they were not.
        also: Further facts for `metrics.json`.
    """
    reports = {}
    targets = said[0].targets()
    for each in said:
        reports[each.name] = metrics.judge(
            targets,
            each.probabilities,
            each.labels,
            each.clips,
            protocol=each.protocol if each.seed is None else f"{each.protocol}; seed {each.seed}",
            abstained=each.abstained,
            allowed_leaks=each.allowed_leaks,
            values=each.values,
        )
    told = [each.values for each in said if each.values is not None]
    summary = metrics.over_seeds(
        list(reports.values()), targets, [each.probabilities for each in said], said[0].clips, values=told
    )
    first, report = said[0], reports[said[0].name]
    seeds = {"over_seeds": summary.to_dict(), "per_seed": {name: dict(one.metrics) for name, one in reports.items()}}
    write_metrics(out / METRICS_FILE, report, also={**(seeds if len(said) > 1 or first.seed else {}), **also})
    write_groups(out / GROUPS_FILE, report)
    rows = [row for each in said for row in _rows(each)]
    truth = {name: np.concatenate([each.truth[:, i] for each in told]) for i, name in enumerate(report.dimensions)}
    write_predictions_csv(out / PREDICTIONS_FILE, rows, labels=first.labels, truth=truth)
    drawn = plots.save_all(
        report,
        targets,
        soften(first.probabilities, 1.0 / temperature) if first.labels else first.probabilities,
        history,
        out / PLOTS_FOLDER,
        clips=first.clips,
        calibrated=first.probabilities if temperature != 1.0 else None,
        abstained=first.abstained,
        values=first.values,
    )
    return Judgement(report, first.clips, first.probabilities, tuple(drawn), reports, summary)


def _rows(said: Predictions) -> list[tuple[Clip, Prediction]]:
    """Return the clips with what was said of each."""
    told = (
        [None] * len(said)
        if said.values is None
        else [dict(zip(said.values.names, row, strict=True)) for row in said.values.said]
    )
    return [
        (clip, dataclasses.replace(as_prediction(row, said.labels, 0.0, dimensions=each), abstained=bool(unsure)))
        for clip, row, unsure, each in zip(said.clips, said.probabilities, said.abstained, told, strict=True)
    ]


def read_probabilities(out: Path, clips: Sequence[Clip], labels: Sequence[str]) -> Probabilities:
    """Read back the probabilities of `read_run`, shape (n_clips, n_labels)."""
    return read_run(out, clips, labels).probabilities


def read_run(out: Path, clips: Sequence[Clip], labels: Sequence[str]) -> Predictions:
    """Read back from a run's `predictions.csv` what was said of some clips.

    Raises:
        InputError: The file is missing, or holds other clips or labels.
    """
    path = out / PREDICTIONS_FILE
    said, *others = read_file(path)
    if others or [str(clip.path) for clip in said.clips] != [str(clip.path) for clip in clips]:
        raise InputError(f"{path}: holds other clips than those asked for; judge them again")
    if said.labels != tuple(labels):
        raise InputError(
            f"{path}: not the predictions of a run with the labels {', '.join(labels)} but {', '.join(said.labels)}; "
            "judge again"
        )
    return dataclasses.replace(said, clips=tuple(clips))

"""A sealed model and a part of a dataset -> probabilities, report, tables and plots.

Training, evaluation and cross-validation all judge here, on the ONNX model that ships and not on the one that trained.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emogram import metrics, plots
from emogram.calibration import soften
from emogram.classifier import Classifier, Probabilities, as_prediction
from emogram.dataset import Dataset, Indices
from emogram.errors import InputError
from emogram.progress import SILENT, Progress
from emogram.records import Clip, Report
from emogram.writers import write_metrics, write_predictions_csv

METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.csv"
PLOTS_FOLDER = "plots"


@dataclass(frozen=True)
class Judgement:
    """What a model says of some clips, and how good that is.

    Attributes:
        report: The figures.
        clips: The clips.
        probabilities: Calibrated, shape (n_clips, n_labels), in the order of `clips` and `report.labels`.
        plots: Files drawn.
    """

    report: Report
    clips: tuple[Clip, ...]
    probabilities: Probabilities
    plots: tuple[Path, ...]


def clip_probabilities(
    classifier: Classifier, dataset: Dataset, indices: Indices, *, progress: Progress = SILENT
) -> Probabilities:
    """Return what a model says of some clips, each at its own length.

    Returns:
        Calibrated, shape (len(indices), n_labels), in the order of the model's labels.
    """
    probabilities = np.zeros((len(indices), len(classifier.labels)))
    with progress.task("judging", len(indices)) as task:
        for positions in dataset.same_length_groups(indices, most=16):
            probabilities[positions] = classifier.probabilities(dataset.inputs(indices[positions]))
            task.advance(len(positions))
    return probabilities


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
) -> Judgement:
    """Judge probabilities and write `metrics.json`, `predictions.csv` and `plots/` into `out`.

    Args:
        clips: Clips; the label of each is the truth.
        probabilities: Calibrated, shape (n_clips, n_labels).
        labels: Labels in order.
        out: Folder for the results.
        protocol: What must stand beside the figures.
        history: The training's, for its curves.
        temperature: By which the probabilities were softened, for the picture of what that did; 1: they were not.
        threshold: Confidence below which a prediction counts as unsure.
    """
    targets = np.asarray([list(labels).index(str(clip.label)) for clip in clips], dtype=np.intp)
    report = metrics.judge(targets, probabilities, labels, clips, protocol=protocol)
    write_metrics(out / METRICS_FILE, report)
    rows = [(clip, as_prediction(row, labels, threshold)) for clip, row in zip(clips, probabilities, strict=True)]
    write_predictions_csv(out / PREDICTIONS_FILE, rows, labels=labels)
    drawn = plots.save_all(
        report,
        targets,
        soften(probabilities, 1.0 / temperature),
        history,
        out / PLOTS_FOLDER,
        clips=clips,
        calibrated=probabilities if temperature != 1.0 else None,
    )
    return Judgement(report, tuple(clips), probabilities, tuple(drawn))


def read_probabilities(out: Path, clips: Sequence[Clip], labels: Sequence[str]) -> Probabilities:
    """Read back from `predictions.csv` what was said of some clips, shape (n_clips, n_labels).

    Raises:
        InputError: The file is missing, or holds other clips or labels.
    """
    path = out / PREDICTIONS_FILE
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if [row["file"] for row in rows] != [str(clip.path) for clip in clips]:
            raise InputError(f"{path}: holds other clips than those asked for; judge them again")
        probabilities = np.asarray([[float(row[label]) for label in labels] for row in rows])
    except (OSError, KeyError, ValueError, TypeError) as error:  # the last for a line cut short
        raise InputError(f"{path}: not the predictions of a run ({error}); judge again") from None
    # Six digits are written; their sum is 1 only to as many.
    normalised: Probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)
    return normalised

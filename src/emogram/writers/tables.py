"""Predictions, reports and histories -> CSV and JSON, in the columns that programs rely on."""

from __future__ import annotations

import csv
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emogram.errors import InputError, SettingsError
from emogram.files import write_json
from emogram.records import Clip, ConditionScore, CorpusPair, Difference, Prediction, Report, Trial
from emogram.writers.text import known_text, number_text, write_csv

METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.csv"

PREDICTION_COLUMNS = ("file", "label", "speaker", "corpus", "predicted", "confidence", "abstained")
TIME_COLUMNS = ("start_s", "end_s")  # where a clip is not a whole file
EXTRA_COLUMNS = ("gender", "intensity", "fold", "seed")  # of `Clip.extra`, where a clip has them
TRUE = "_true"  # behind the name of a dimension: what is true, where its name alone is what the model says


def write_predictions_csv(
    path: Path,
    rows: Iterable[tuple[Clip, Prediction]],
    *,
    labels: Sequence[str],
    truth: Mapping[str, npt.NDArray[np.floating]] = types.MappingProxyType({}),
) -> None:
    """Write clips with what was said of them, one row a clip.

    Columns: `PREDICTION_COLUMNS` (`label` is the true one, `predicted` the model's), those of `TIME_COLUMNS` and
    `EXTRA_COLUMNS` that any clip has a value for, then the probability of each label under its name, then of each
    dimension what the model says under its name, and what is true under "arousal_true" and so on.

    Args:
        path: The CSV file.
        rows: Clips and predictions.
        labels: The model's labels in order.
        truth: The model's dimensions in order -> the true number of each clip; NaN where nobody knows.

    Raises:
        OutputError: The file cannot be written.
    """
    said = list(rows)
    optional = [_optional(clip) for clip, _ in said]
    columns = [name for name in (*TIME_COLUMNS, *EXTRA_COLUMNS) if any(values[name] for values in optional)]
    lines = (
        [
            str(clip.path),
            clip.label or "",
            clip.speaker or "",
            clip.corpus,
            prediction.label,
            known_text(prediction.confidence),
            "true" if prediction.abstained else "false",
            *(values[name] for name in columns),
            *(number_text(prediction.scores[label]) for label in labels),
            *(
                text
                for name in truth
                for text in (number_text((prediction.dimensions or {})[name]), known_text(float(truth[name][place])))
            ),
        ]
        for place, ((clip, prediction), values) in enumerate(zip(said, optional, strict=True))
    )
    dimensions = [column for name in truth for column in (name, f"{name}{TRUE}")]
    write_csv(path, [*PREDICTION_COLUMNS, *columns, *labels, *dimensions], lines)


def _optional(clip: Clip) -> dict[str, str]:
    """Return what not every clip has, by column; "" where it has it not."""
    start_s = f"{clip.start_s}" if clip.start_s or clip.end_s is not None else ""
    end_s = "" if clip.end_s is None else f"{clip.end_s}"
    return {"start_s": start_s, "end_s": end_s} | {name: clip.extra.get(name, "") for name in EXTRA_COLUMNS}


def write_corpus_pairs(path: Path, pairs: Iterable[CorpusPair]) -> None:
    """Write how well each corpus serves for each other, one row a pair; labels stand between spaces.

    Raises:
        OutputError: The file cannot be written.
    """
    header = ["trained", "tested", "uar", "low", "high", "chance", "n_clips", "n_speakers", "labels", "caveat"]
    lines = (
        [
            pair.trained,
            pair.tested,
            *map(number_text, (pair.uar, *pair.interval, pair.chance, pair.n_clips, pair.n_speakers)),
            " ".join(pair.labels),
            pair.caveat,
        ]
        for pair in pairs
    )
    write_csv(path, header, lines)


def write_differences(path: Path, differences: Iterable[Difference]) -> None:
    """Write what `compare` found, one row for each pair of models and metric.

    Raises:
        OutputError: The file cannot be written.
    """
    columns = ("metric", "first", "second", "value", "low", "high", "probability")
    lines = (
        [value if isinstance(value, str) else number_text(value) for value in (getattr(each, name) for name in columns)]
        for each in differences
    )
    write_csv(path, columns, lines)


def write_groups(path: Path, report: Report) -> None:
    """Write the figures of each speaker, gender, intensity and corpus, one row a group.

    Columns: "kind", "group", "uar" and "accuracy" of classes, "n_clips", and "ccc" of dimensions.

    Raises:
        OutputError: The file cannot be written.
    """
    columns = [*(["uar", "accuracy"] if report.labels else []), "n_clips", *(["ccc"] if report.dimensions else [])]
    lines = (
        [kind, group, *(number_text(values[name]) for name in columns)]
        for kind, groups in report.per_group.items()
        for group, values in groups.items()
    )
    write_csv(path, ["kind", "group", *columns], lines)


def write_metrics(path: Path, report: Report, *, also: Mapping[str, Any] = types.MappingProxyType({})) -> None:
    """Write a report as JSON, with further facts beside it; a metric that does not exist (NaN) becomes null.

    Raises:
        OutputError: The file cannot be written.
    """
    write_json(path, {**report.to_dict(), **also})


def write_conditions(path: Path, scores: Sequence[ConditionScore]) -> None:
    """Write what each condition costs, one row a condition; fractions.

    Columns: "condition", "uar", "uar_low", "uar_high", "loss", "loss_low", "loss_high", "accuracy".

    Raises:
        OutputError: The file cannot be written.
    """
    header = ["condition", "uar", "uar_low", "uar_high", "loss", "loss_low", "loss_high", "accuracy"]
    rows = (
        [one.condition]
        + [number_text(value) for value in (one.uar, *one.interval, one.loss, *one.loss_interval, one.accuracy)]
        for one in scores
    )
    write_csv(path, header, rows)


def write_trials(path: Path, trials: Iterable[Trial], *, settings: Sequence[str]) -> None:
    """Write the trials of a study, one row a trial; settings are columns under their names, lists between spaces.

    Columns: "trial", "state", "value", "uar", "accuracy", "loss" (means over the folds), "epochs", "seconds", those of
    `settings`, "uar_fold_0" and so on, "error".

    Raises:
        OutputError: The file cannot be written.
    """
    rows = list(trials)
    folds = sorted({fold.fold for trial in rows for fold in trial.folds})
    metrics = ("uar", "accuracy", "loss")
    header = ["trial", "state", "value", *metrics, "epochs", "seconds", *settings]
    lines = (
        [str(trial.number), trial.state, "" if trial.value is None else number_text(trial.value)]
        + [number_text(trial.mean(metric)) if trial.folds else "" for metric in metrics]
        + [str(trial.n_epochs), number_text(trial.seconds)]
        + [_setting_text(trial.settings.get(name, "")) for name in settings]
        + [next((number_text(fold.uar) for fold in trial.folds if fold.fold == number), "") for number in folds]
        + [trial.error]
        for trial in rows
    )
    write_csv(path, [*header, *(f"uar_fold_{number}" for number in folds), "error"], lines)


def _setting_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)  # in full, so that a row can be trained again
    return " ".join(value) if isinstance(value, list | tuple) else str(value)


def write_history(path: Path, columns: Mapping[str, Sequence[float]]) -> None:
    """Write the course of a training, one row an epoch.

    Args:
        path: The CSV file.
        columns: Name ("epoch", "loss", "val_accuracy", ...) -> one value an epoch.

    Raises:
        OutputError: The file cannot be written.
        SettingsError: The columns differ in length.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise SettingsError(f"the columns of a history must be equally long; found {lengths}")
    write_csv(
        path, list(columns), ([number_text(value) for value in row] for row in zip(*columns.values(), strict=True))
    )


def read_history(path: Path) -> dict[str, list[float]]:
    """Read what `write_history` wrote.

    Raises:
        InputError: The file is missing or is no history.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        return {name: [float(row[index]) for row in rows] for index, name in enumerate(header)}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, IndexError, csv.Error):
        raise InputError(f"{path}: not a history of a training (CSV of numbers); train again") from None

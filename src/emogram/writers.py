"""Records -> JSON and CSV, in the shapes that programs rely on."""

from __future__ import annotations

import csv
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from emogram.bundle import ModelInfo
from emogram.errors import InputError, SettingsError
from emogram.files import write_json, writing
from emogram.live import Event
from emogram.records import Clip, ConditionScore, CorpusPair, Difference, Prediction, Report, Segment, Timeline

RESULT_SCHEMA = "emogram.result/1"

METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.csv"

PREDICTION_COLUMNS = ("file", "label", "speaker", "corpus", "predicted", "confidence", "abstained")
TIME_COLUMNS = ("start_s", "end_s")  # where a clip is not a whole file
EXTRA_COLUMNS = ("gender", "intensity", "fold", "seed")  # of `Clip.extra`, where a clip has them


def result_dict(
    prediction: Prediction,
    *,
    path: str | Path,
    info: ModelInfo,
    sha256: str,
    duration_ms: int | None = None,
    sample_rate: int | None = None,
    channels: int | None = None,
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """Return one prediction in the schema "emogram.result/1", ready for JSON.

    A clip is one segment. Its `channel` is null since channels are averaged; `speech_ratio` is null where nobody
    measured it. Of a picture, `audio` and the times are null.

    Args:
        prediction: What the model said.
        path: The file it said it of.
        info: The model's `Classifier.info`.
        sha256: The model's `Classifier.sha256`.
        duration_ms: Length of the sound in milliseconds.
        sample_rate: The file's own rate in Hz.
        channels: The file's own number of channels.
        warnings: What the reader should know about this result, beside `prediction.warnings`.
    """
    sound = {"duration_ms": duration_ms, "sample_rate": sample_rate, "channels": channels}
    segment = {
        "start_ms": None if duration_ms is None else 0,
        "end_ms": duration_ms,
        "channel": None,
        **_answer_dict(prediction, speech_ratio=prediction.speech_share),
    }
    return {
        **_head(path, info, sha256),
        "audio": sound if any(value is not None for value in sound.values()) else None,
        "segments": [segment],
        "summary": {"label": prediction.label, "confidence": _rounded(prediction.confidence)},
        "warnings": [*prediction.warnings, *warnings],
    }


def timeline_dict(timeline: Timeline, *, path: str | Path, info: ModelInfo, sha256: str) -> dict[str, Any]:
    """Return a recording's timeline in the schema "emogram.result/1", ready for JSON.

    Beside what `result_dict` gives: many segments, "partial", and of the summary all that `Timeline.summary` holds.

    Args:
        timeline: What was found.
        path: The file it was found in.
        info: The model's `Classifier.info`.
        sha256: The model's `Classifier.sha256`.
    """
    return {
        **_head(path, info, sha256),
        "audio": {
            "duration_ms": round(1000 * timeline.duration_s),
            "sample_rate": timeline.sample_rate,
            "channels": timeline.channels,
        },
        "segments": [segment_dict(segment) for segment in timeline.segments],
        "summary": _all_rounded(timeline.summary),
        "warnings": list(timeline.warnings),
        "partial": timeline.partial,
    }


def segment_dict(segment: Segment) -> dict[str, Any]:
    """Return one segment of a recording as it stands in "emogram.result/1"; `speaker` is there where one is known."""
    times = {"start_ms": round(1000 * segment.start_s), "end_ms": round(1000 * segment.end_s)}
    speaker = {} if segment.speaker is None else {"speaker": segment.speaker}
    answer = _answer_dict(segment.prediction, speech_ratio=segment.speech_ratio)
    return {**times, "channel": segment.channel, **speaker, **answer}


def event_dict(event: Event) -> dict[str, Any]:
    """Return what live sound gave, ready for JSON: "type" is "window" or "segment", the rest as in a segment."""
    if isinstance(event, Segment):
        return {"type": "segment", **segment_dict(event)}
    window = segment_dict(Segment(event.start_s, event.end_s, event.channel, event.prediction, 1.0, event.speaker))
    del window["speech_ratio"]  # nobody asked
    return {"type": "window", **window}


def _head(path: str | Path, info: ModelInfo, sha256: str) -> dict[str, Any]:
    model = {"id": info.model_id, "sha256": sha256, "labels": list(info.labels), "calibrated": info.calibrated}
    return {"schema": RESULT_SCHEMA, "file": str(path), "model": model}


def _answer_dict(prediction: Prediction, *, speech_ratio: float | None) -> dict[str, Any]:
    return {
        "label": prediction.label,
        "confidence": _rounded(prediction.confidence),
        "scores": [{"label": label, "score": _rounded(score)} for label, score in prediction.scores.items()],
        "speech_ratio": None if speech_ratio is None else _rounded(speech_ratio),
        "abstained": prediction.abstained,
    }


def _all_rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _all_rounded(each) for name, each in value.items()}
    return _rounded(value) if isinstance(value, float) else value


def write_predictions_csv(path: Path, rows: Iterable[tuple[Clip, Prediction]], *, labels: Sequence[str]) -> None:
    """Write clips with what was said of them, one row a clip.

    Columns: `PREDICTION_COLUMNS` (`label` is the true one, `predicted` the model's), those of `TIME_COLUMNS` and
    `EXTRA_COLUMNS` that any clip has a value for, then the probability of each label under its name.

    Args:
        path: The CSV file.
        rows: Clips and predictions.
        labels: The model's labels in order.

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
            _text(prediction.confidence),
            "true" if prediction.abstained else "false",
            *(values[name] for name in columns),
            *(_text(prediction.scores[label]) for label in labels),
        ]
        for (clip, prediction), values in zip(said, optional, strict=True)
    )
    _write_csv(path, [*PREDICTION_COLUMNS, *columns, *labels], lines)


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
            *map(_text, (pair.uar, *pair.interval, pair.chance, pair.n_clips, pair.n_speakers)),
            " ".join(pair.labels),
            pair.caveat,
        ]
        for pair in pairs
    )
    _write_csv(path, header, lines)


def write_differences(path: Path, differences: Iterable[Difference]) -> None:
    """Write what `compare` found, one row for each pair of models and metric.

    Raises:
        OutputError: The file cannot be written.
    """
    columns = ("metric", "first", "second", "value", "low", "high", "probability")
    lines = (
        [value if isinstance(value, str) else _text(value) for value in (getattr(each, name) for name in columns)]
        for each in differences
    )
    _write_csv(path, columns, lines)


def write_groups(path: Path, report: Report) -> None:
    """Write the figures of each speaker, gender, intensity and corpus, one row a group.

    Raises:
        OutputError: The file cannot be written.
    """
    lines = (
        [kind, group, _text(values["uar"]), _text(values["accuracy"]), _text(values["n_clips"])]
        for kind, groups in report.per_group.items()
        for group, values in groups.items()
    )
    _write_csv(path, ["kind", "group", "uar", "accuracy", "n_clips"], lines)


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
        + [_text(value) for value in (one.uar, *one.interval, one.loss, *one.loss_interval, one.accuracy)]
        for one in scores
    )
    _write_csv(path, header, rows)


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
    _write_csv(path, list(columns), ([_text(value) for value in row] for row in zip(*columns.values(), strict=True)))


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


def _write_csv(path: Path, header: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    with writing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(lines)


def _text(value: float) -> str:
    """Write a number in six significant digits, a whole one without a point and in full."""
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _rounded(value: float) -> float:
    return float(_text(value))

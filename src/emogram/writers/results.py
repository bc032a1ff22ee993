"""Results in the schema "emogram.result/1", which the command line, files and HTTP share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emogram.bundle import ModelInfo
from emogram.classifier import Classifier
from emogram.live import Event, UtteranceStart, WindowScore
from emogram.records import Prediction, Segment, Timeline
from emogram.timeline import rate_warnings
from emogram.writers.text import known, rounded, to_milliseconds

RESULT_SCHEMA = "emogram.result/1"


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
    measured it. Of a picture, `audio` and the times are null. Where a model tells dimensions, segment and summary have
    "dimensions", name -> value; where it tells nothing else, label and confidence are null and there are no scores.

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
        "summary": {
            "label": prediction.label or None,
            "confidence": known(prediction.confidence),
            **_dimensions_dict(prediction),
        },
        "warnings": [*prediction.warnings, *warnings],
    }


def clip_dict(
    prediction: Prediction,
    classifier: Classifier,
    *,
    path: str | Path,
    duration_ms: int | None,
    sample_rate: int,
    channels: int,
) -> dict[str, Any]:
    """Return what a model said of one sound file, with what its rate makes of the answer; see `result_dict`."""
    return result_dict(
        prediction,
        path=path,
        info=classifier.info,
        sha256=classifier.sha256,
        duration_ms=duration_ms,
        sample_rate=sample_rate,
        channels=channels,
        warnings=rate_warnings(sample_rate, classifier),
    )


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
            "duration_ms": to_milliseconds(timeline.duration_s),
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
    times = {"start_ms": to_milliseconds(segment.start_s), "end_ms": to_milliseconds(segment.end_s)}
    speaker = {} if segment.speaker is None else {"speaker": segment.speaker}
    answer = _answer_dict(segment.prediction, speech_ratio=segment.speech_ratio)
    return {**times, "channel": segment.channel, **speaker, **answer}


def event_dict(event: Event) -> dict[str, Any]:
    """Return what live sound gave, ready for JSON; the rest is as in a segment.

    "type" is "window", "segment", "utterance.start" or "utterance.end"; of an utterance with too little speech to be
    judged, label and confidence are null and there are no scores.
    """
    if isinstance(event, Segment):
        return {"type": "segment", **segment_dict(event)}
    speaker = {} if event.speaker is None else {"speaker": event.speaker}
    start = {"start_ms": to_milliseconds(event.start_s)}
    who = {"channel": event.channel, **speaker}
    if isinstance(event, UtteranceStart):
        return {"type": "utterance.start", **start, **who}
    place = {**start, "end_ms": to_milliseconds(event.end_s), **who}
    if isinstance(event, WindowScore):
        answer = _answer_dict(event.prediction, speech_ratio=None)
        del answer["speech_ratio"]  # nobody asked
        return {"type": "window", **place, **answer}
    if event.prediction is None:
        ratio = rounded(event.speech_ratio)
        answer = {"label": None, "confidence": None, "scores": [], "speech_ratio": ratio, "abstained": True}
    else:
        answer = _answer_dict(event.prediction, speech_ratio=event.speech_ratio)
    segments = [segment_dict(each) for each in event.segments]
    return {"type": "utterance.end", **place, **answer, "segments": segments}


def _head(path: str | Path, info: ModelInfo, sha256: str) -> dict[str, Any]:
    return {"schema": RESULT_SCHEMA, "file": str(path), "model": model_dict(info, sha256)}


def model_dict(info: ModelInfo, sha256: str) -> dict[str, Any]:
    """Return what a result says of its model; "dimensions" is there where it tells some, with their scales."""
    dimensions = [dimension.to_dict() for dimension in info.dimensions]
    return {
        "id": info.model_id,
        "sha256": sha256,
        "labels": list(info.labels),
        **({"dimensions": dimensions} if dimensions else {}),
        "calibrated": info.calibrated,
    }


def _answer_dict(prediction: Prediction, *, speech_ratio: float | None) -> dict[str, Any]:
    return {
        "label": prediction.label or None,
        "confidence": known(prediction.confidence),
        "scores": [{"label": label, "score": rounded(score)} for label, score in prediction.scores.items()],
        **_dimensions_dict(prediction),
        "speech_ratio": None if speech_ratio is None else rounded(speech_ratio),
        "abstained": prediction.abstained,
    }


def _dimensions_dict(prediction: Prediction) -> dict[str, dict[str, float]]:
    """Return "dimensions", name -> value; nothing where the model tells none."""
    if prediction.dimensions is None:
        return {}
    return {"dimensions": {name: rounded(value) for name, value in prediction.dimensions.items()}}


def _all_rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _all_rounded(each) for name, each in value.items()}
    return rounded(value) if isinstance(value, float) else value

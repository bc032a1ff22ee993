"""What a service says in JSON -> the records of this package, and sound -> what a service takes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emogram.errors import AudioError, EmogramError, InputError, ServerError, SettingsError
from emogram.live import Event, Utterance, UtteranceStart, WindowScore
from emogram.records import Prediction, Segment, Timeline, Windows

SAMPLE_BYTES = 2
SCHEMA = "emogram.result/1"

# The sound is at fault, and not the request or the service.
_STATUS_OF_INPUT = (413, 422)
_SETTINGS = "bad_parameter"


@dataclass(frozen=True)
class StreamEnd:
    """The last event of a stream.

    Attributes:
        duration_s: Seconds that were heard.
        summary: As `Timeline.summary`.
        warnings: What the reader should know.
    """

    duration_s: float
    summary: Mapping[str, Any]
    warnings: tuple[str, ...]


StreamEvent = Event | StreamEnd


def prediction_of(result: Mapping[str, Any]) -> Prediction:
    """Return the record of a clip's result; its warnings are all that the result holds.

    Raises:
        ServerError: It is no result of a clip.
    """
    try:
        (segment,) = result["segments"]
        return _prediction(segment, warnings=tuple(result["warnings"]))
    except (KeyError, TypeError, ValueError):
        raise not_understood(SCHEMA) from None


def timeline_of(result: Mapping[str, Any], windows: Mapping[str, Any]) -> Timeline:
    """Return the record of a recording's result and its windows.

    Raises:
        ServerError: They are none.
    """
    try:
        audio = result["audio"]
        channels = [-1 if each is None else each for each in windows["channel"]]
        labels = tuple(windows["labels"])
        scores = np.asarray(windows["scores"], np.float32).reshape(len(channels), len(labels))
        return Timeline(
            segments=tuple(_segment(each) for each in result["segments"]),
            windows=Windows(
                labels,
                np.asarray(windows["start_ms"], np.float64) / 1000,
                np.asarray(windows["end_ms"], np.float64) / 1000,
                np.asarray(channels, np.int64),
                scores,
                {name: np.asarray(each, np.float32) for name, each in windows.get("dimensions", {}).items()},
            ),
            duration_s=audio["duration_ms"] / 1000,
            sample_rate=audio["sample_rate"],
            channels=audio["channels"],
            summary=result["summary"],
            warnings=tuple(result["warnings"]),
            partial=result["partial"],
        )
    except (KeyError, TypeError, ValueError):
        raise not_understood(SCHEMA) from None


def event_of(message: Mapping[str, Any]) -> StreamEvent | None:
    """Return the record of a message of a stream; None where there is none for it.

    A window is known when the service tells of it: `known_s` is its end, the earliest that this can be.

    Raises:
        ServerError: The message lacks something.
    """
    try:
        kind = message["type"]
        if kind == "session.closed":
            return StreamEnd(message["duration_ms"] / 1000, message["summary"], tuple(message["warnings"]))
        if kind == "segment.result":
            return _segment(message)
        if kind not in ("measurement.result", "utterance.start", "utterance.end"):
            return None
        start_s, channel, speaker = message["start_ms"] / 1000, message.get("channel"), message.get("speaker")
        if kind == "utterance.start":
            return UtteranceStart(start_s, channel, speaker)
        end_s = message["end_ms"] / 1000
        if kind == "measurement.result":
            return WindowScore(start_s, end_s, channel, speaker, _prediction(message), end_s)
        said = None if message["label"] is None else _prediction(message)
        segments = tuple(_segment(each) for each in message["segments"])
        return Utterance(start_s, end_s, channel, speaker, said, message["speech_ratio"], segments)
    except (KeyError, TypeError, ValueError):
        raise not_understood("a message of a stream") from None


def error_of(code: str, message: str, status: int | None = None) -> EmogramError:
    """Return what an error of a service is here: `InputError` where the sound is at fault, else `ServerError`."""
    if code == _SETTINGS:
        return SettingsError(message)
    if status in _STATUS_OF_INPUT:
        return InputError(message, code=code)
    return ServerError(message, code=code, status=status)


def not_understood(what: str) -> ServerError:
    """Return the error of an answer that is not as expected."""
    return ServerError(f"the service did not answer with {what}; is it one of emogram, and of this version?")


def wave_of(samples: npt.ArrayLike, sample_rate: int | None) -> bytes:
    """Return samples, as `Classifier.predict` takes them, as a WAV file of the same values.

    Raises:
        AudioError: They are not samples, or nobody said their rate.
    """
    import soundfile

    array = np.asarray(samples)
    if sample_rate is None:
        raise AudioError("samples without a rate; say sample_rate=", code="bad_rate")
    if array.dtype.kind not in "fiu" or array.ndim not in (1, 2) or array.size == 0:
        raise AudioError(f"samples of type {array.dtype} and shape {array.shape}; expected (n,) or (n, channels)")
    if array.dtype.kind != "f":
        info = np.iinfo(array.dtype)
        half = (int(info.max) - int(info.min) + 1) / 2
        array = (array.astype(np.float64) - (half if info.min == 0 else 0.0)) / half
    file = io.BytesIO()
    soundfile.write(file, array.astype(np.float32), sample_rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def pcm_of(chunk: bytes | npt.ArrayLike) -> bytes:
    """Return a chunk of sound as a stream takes it: bytes as they are, samples as s16le with their channels averaged.

    Args:
        chunk: s16le, or samples of shape (n,) or (n, channels), int16 or floats with full scale at +-1.
    """
    if isinstance(chunk, bytes | bytearray | memoryview):
        return bytes(chunk)
    array = np.asarray(chunk)
    scale = 1.0 if array.dtype == np.int16 else 32768.0
    mono = (array.astype(np.float64) if array.ndim == 1 else array.mean(axis=1, dtype=np.float64)) * scale
    return bytes(np.clip(np.round(mono), -32768, 32767).astype("<i2").tobytes())


def name_of(audio: object) -> str:
    """Return what sound is called in messages."""
    return Path(audio).name if isinstance(audio, str | Path) else "audio"


def _prediction(answer: Mapping[str, Any], warnings: tuple[str, ...] = ()) -> Prediction:
    scores = {each["label"]: float(each["score"]) for each in answer["scores"]}
    share = answer.get("speech_ratio")
    dimensions = answer.get("dimensions")
    sure = float(answer["confidence"])
    return Prediction(answer["label"], scores, sure, answer["abstained"], share, warnings, dimensions)


def _segment(answer: Mapping[str, Any]) -> Segment:
    start_s, end_s = answer["start_ms"] / 1000, answer["end_ms"] / 1000
    ratio = answer["speech_ratio"]
    return Segment(start_s, end_s, answer["channel"], _prediction(answer), ratio, answer.get("speaker"))

"""One input -> what is said of it. Nothing that a file holds can end more than its own row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emogram.archive.inputs import Input
from emogram.archive.places import text_of
from emogram.archive.rows import error_row
from emogram.audio import probe
from emogram.classifier import Classifier
from emogram.config import ArchiveConfig
from emogram.errors import EmogramError
from emogram.records import Clip, Timeline, Turn
from emogram.spectrogram import PICTURE_SUFFIXES
from emogram.timeline import analyze, rate_warnings
from emogram.writers.rows import answer_row, segment_rows
from emogram.writers.text import to_milliseconds

_FAR_S = 1e7  # later than any recording ends

Answer = dict[str, Any]


def score_input(classifier: Classifier, each: Input, at_hand: Path | EmogramError, config: ArchiveConfig) -> Answer:
    """Say of one input what the model says of it.

    Args:
        classifier: The model.
        each: The input.
        at_hand: A file of this machine that holds it, or why there is none.
        config: What is said.

    Returns:
        "rows", at least one, "sound_s" (seconds of sound), "failed" (the code of what went wrong, or None) and
        "partial".
    """
    if isinstance(at_hand, EmogramError):
        return failed(each, at_hand.code, str(at_hand))
    try:
        return (_segments if config.rows == "segments" else _clip)(classifier, each, at_hand, config)
    except EmogramError as error:
        # A copy has a name that means nothing to anybody.
        return failed(each, error.code, str(error).replace(str(at_hand), each.path))
    except MemoryError:
        return failed(each, "memory", "not enough memory for this file")
    except Exception as error:  # one file that a library chokes on must not take a thousand others with it
        return failed(each, "unexpected", f"{type(error).__name__}: {error}")


def failed(each: Input, code: str, message: str) -> Answer:
    """Return the answer of an input of which nothing can be said."""
    rows = [error_row(_file(each), code, text_of(message))]
    return {"rows": rows, "sound_s": 0.0, "failed": code, "partial": False}


def _clip(classifier: Classifier, each: Input, path: Path, config: ArchiveConfig) -> Answer:
    prediction = classifier.predict_clip(Clip(path, start_s=each.start_s, end_s=each.end_s), check=config.check)
    row = {
        "file": _file(each),
        "start_s": None,
        "end_s": None,
        "channel": None,
        "speaker": each.speaker,
        **answer_row(prediction, speech_ratio=prediction.speech_share),
        "partial": False,
        "warnings": list(prediction.warnings),
    }
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return {"rows": [row], "sound_s": 0.0, "failed": None, "partial": False}
    duration_s, sample_rate, channels = probe(path)
    end_s = each.end_s if duration_s is None else min(duration_s, each.end_s or duration_s)
    row |= {
        "start_s": to_milliseconds(each.start_s) / 1000,
        "end_s": None if end_s is None else to_milliseconds(end_s) / 1000,
        "duration_s": None if duration_s is None else to_milliseconds(duration_s) / 1000,
        "sample_rate": sample_rate,
        "channels": channels,
        "warnings": [*prediction.warnings, *rate_warnings(sample_rate, classifier)],
    }
    sound_s = 0.0 if end_s is None else end_s - each.start_s
    return {"rows": [row], "sound_s": sound_s, "failed": None, "partial": False}


def _segments(classifier: Classifier, each: Input, path: Path, config: ArchiveConfig) -> Answer:
    end_s = _FAR_S if each.end_s is None else each.end_s
    turns = None if each.whole else [Turn(each.start_s, end_s, each.speaker or "")]
    timeline = analyze(path, model=classifier, channels=config.channels, turns=turns, config=config.timeline)
    about = _about(each, timeline)
    rows = [{**about, **row, "speaker": each.speaker} for row in segment_rows(timeline)]
    nothing = {
        **about,
        "start_s": to_milliseconds(each.start_s) / 1000,
        "end_s": about["duration_s"],
        "speech_ratio": 0.0,
    }
    sound_s = max(0.0, min(timeline.duration_s, end_s) - each.start_s)
    return {"rows": rows or [nothing], "sound_s": sound_s, "failed": None, "partial": timeline.partial}


def _about(each: Input, timeline: Timeline) -> dict[str, Any]:
    return {
        "file": _file(each),
        "speaker": each.speaker,
        "duration_s": to_milliseconds(timeline.duration_s) / 1000,
        "sample_rate": timeline.sample_rate,
        "channels": timeline.channels,
        "partial": timeline.partial,
        "warnings": list(timeline.warnings),
    }


def _file(each: Input) -> str:
    return text_of(each.path)

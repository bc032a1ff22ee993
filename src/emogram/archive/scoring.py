"""One input -> what is said of it. Nothing that a file holds can end more than its own row."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emogram.archive.inputs import Input
from emogram.archive.places import is_remote, open_store, patiently
from emogram.archive.rows import error_row
from emogram.audio import probe
from emogram.classifier import Classifier
from emogram.config import ArchiveConfig
from emogram.errors import EmogramError, InputError
from emogram.records import Clip, Timeline, Turn
from emogram.spectrogram import PICTURE_SUFFIXES
from emogram.timeline import analyze, rate_warnings
from emogram.writers.rows import answer_row, segment_rows
from emogram.writers.text import to_milliseconds

MAX_COPY_BYTES = 32 << 30  # of a remote file; 24 hours of four channels at 48 kHz and 24 bits are 50 GB, of one 12
_BLOCK = 1 << 22
_FAR_S = 1e7  # later than any recording ends

Answer = dict[str, Any]


def score_input(classifier: Classifier, each: Input, config: ArchiveConfig) -> Answer:
    """Say of one input what the model says of it.

    Args:
        classifier: The model.
        each: The input.
        config: What is said.

    Returns:
        "rows", at least one, "sound_s" (seconds of sound), "failed" (the code of what went wrong, or None) and
        "partial".
    """
    name = each.path.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="backslashreplace")
    try:
        with at_hand(each.path) as path:
            try:
                return (
                    _segments(classifier, each, path, config)
                    if config.rows == "segments"
                    else _clip(classifier, each, path, config)
                )
            except EmogramError as error:
                # A copy has a name that means nothing to anybody.
                return failed(name, error.code, str(error).replace(str(path), name))
    except EmogramError as error:
        return failed(name, error.code, str(error))
    except MemoryError:
        return failed(name, "memory", "not enough memory for this file")
    except Exception as error:  # one file that a library chokes on must not take a thousand others with it
        return failed(name, "unexpected", f"{type(error).__name__}: {error}")


def failed(name: str, code: str, message: str) -> Answer:
    """Return the answer of an input of which nothing can be said."""
    return {"rows": [error_row(name, code, message)], "sound_s": 0.0, "failed": code, "partial": False}


@contextlib.contextmanager
def at_hand(name: str) -> Iterator[Path]:
    """Give a file of this machine with what an input holds: itself, or for that time a copy in the temporary folder.

    Raises:
        InputError: It is not there, its store cannot be reached, or it is larger than `MAX_COPY_BYTES`.
    """
    if not is_remote(name):
        yield Path(name)
        return
    with tempfile.TemporaryDirectory(prefix="emogram-") as folder:
        copy = Path(folder) / f"copy{Path(name.partition('?')[0]).suffix}"
        try:
            store, path = open_store(name)
            patiently(lambda: _copy(store, path, copy))
        except FileNotFoundError:
            raise InputError(f"{name}: no such file", code="missing") from None
        except EmogramError:
            raise
        except Exception as error:  # stores raise what their libraries do
            raise InputError(
                f"{name}: cannot be fetched ({' '.join(f'{type(error).__name__}: {error}'.split())[:300]})",
                code="remote",
            ) from None
        yield copy


def _copy(store: Any, path: str, copy: Path) -> None:
    with store.open(path, "rb", cache_type="none", block_size=_BLOCK) as source, copy.open("wb") as target:
        n_bytes = 0
        while block := source.read(_BLOCK):
            n_bytes += len(block)
            if n_bytes > MAX_COPY_BYTES:
                raise InputError(f"{path}: larger than {MAX_COPY_BYTES >> 30} GiB; cut it first", code="too_long")
            target.write(block)


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
    return os.fsencode(each.path).decode("utf-8", errors="backslashreplace")

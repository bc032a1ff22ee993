"""What the processes that decode do for jobs: formats of a result, and looks at its sound, written as files.

Each writes the file "out" among its values, whose folder must be there: of a job that was just deleted there is none,
and nothing is made anew.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emogram import audio
from emogram.errors import AudioError, InputError
from emogram.files import json_line
from emogram.recordings import open_recording
from emogram.serve.tasks import ModelsAtHand
from emogram.watched import Answer

EXACT_S = 60.0  # up to here a spectrogram is what the model sees
MAX_WIDTH = 2400
DIGITS = 3
MAX_NAME_BYTES = 200


def write_format(models: ModelsAtHand, values: dict[str, Any]) -> Answer:
    """Write a result in a format of `writers.FORMATS`.

    Args:
        models: The models.
        values: "folder" (of the job), "path", "name", "format" and "out".
    """
    from emogram.serve.jobs.kept import kept
    from emogram.writers import save_timeline

    timeline, model = kept(Path(values["folder"]))
    with tempfile.TemporaryDirectory() as folder:
        # Under the name that the client knows, which the formats tell, and within what a folder can hold.
        recording = Path(folder) / "recording" / _short(values["name"])
        recording.parent.mkdir()
        recording.symlink_to(values["path"])
        written = save_timeline(
            Path(folder) / "result", timeline, values["format"], recording=recording, model=model
        ).read_bytes()
        # ELAN files name the recording by its address, which here means nothing: beside the file is where it may be.
        address = recording.absolute().as_uri()
        written = written.replace(address.encode(), f"./{address.rpartition('/')[2]}".encode())
    _write(Path(values["out"]), lambda path: path.write_bytes(written))
    return Answer({})


def waveform(models: ModelsAtHand, values: dict[str, Any]) -> Answer:
    """Write the lowest and highest sample of each channel and column as JSON.

    Args:
        models: The models.
        values: "path", "name", "points", "duration_s" (null: what the header says) and "out".
    """
    from emogram.overview import overview

    duration_s = _duration_s(values)
    seen = overview(values["path"], duration_s=duration_s, n_columns=values["points"])
    content = {
        "duration_ms": round(1000 * duration_s),
        "edges_ms": [round(1000 * each, 1) for each in seen.edges_s.tolist()],
        "channels": [{"low": _list(low), "high": _list(high)} for low, high in zip(seen.low, seen.high, strict=True)],
    }
    _write_text(values, json_line(content))
    return Answer({})


def spectrogram(models: ModelsAtHand, values: dict[str, Any]) -> Answer:
    """Draw a stretch as a grey PNG, one pixel a band high, time from left to right.

    Args:
        models: The models.
        values: "path", "name", "model", "start_s", "end_s" (null: where the recording ends), "duration_s" and "out".
    """
    from PIL import Image

    start_s = values["start_s"]
    end_s = min(_duration_s(values), values["end_s"] or np.inf)
    if not start_s < end_s:
        raise _outside(values, start_s, values["end_s"])
    is_short = end_s - start_s <= EXACT_S
    levels = _seen(models, values, start_s, end_s) if is_short else _from_afar(values, start_s, end_s)
    pixels = np.rint(255.0 * levels.T[::-1]).astype(np.uint8)
    _write(Path(values["out"]), lambda path: Image.fromarray(pixels).save(path, "PNG"))
    return Answer({})


def explanation(models: ModelsAtHand, values: dict[str, Any]) -> Answer:
    """Write what spoke for a label in a stretch as JSON.

    Args:
        models: The models.
        values: "path", "name", "model", "start_s", "end_s", "label" (null: the most probable) and "out".
    """
    from emogram.explanations import explain

    classifier = models.classifier(values["model"])
    label, start_s = values["label"], values["start_s"]
    config = models.config(values["model"])
    samples = _stretch(values, start_s, values["end_s"], config.sample_rate)
    told = explain(
        classifier,
        samples,
        sample_rate=config.sample_rate,
        top_k=1 if label is None else len(classifier.labels),
        method="occlusion",
    )
    place = 0 if label is None else told.labels.index(label)
    said = told.prediction
    content = {
        "label": told.labels[place],
        "method": told.method,
        "prediction": {
            "label": said.label,
            "confidence": round(said.confidence, DIGITS),
            "scores": [{"label": name, "score": round(score, DIGITS)} for name, score in said.scores.items()],
            "abstained": said.abstained,
        },
        "times_ms": [round(1000 * (start_s + each)) for each in told.times_s.tolist()],
        "frequencies_hz": [round(each, 1) for each in told.frequencies_hz.tolist()],
        "map": _rows(told.maps[place]),
        "mark_level": round(told.mark_level(place), DIGITS),
        "spectrogram": _rows(told.spectrogram),
    }
    _write_text(values, json_line(content))
    return Answer({})


def _seen(models: ModelsAtHand, values: dict[str, Any], start_s: float, end_s: float) -> npt.NDArray[np.float32]:
    """Return what the model sees, without the trimming that would move the time axis, shape (n_frames, n_mels)."""
    from emogram.spectrogram import scaled_bands

    config = models.config(values["model"])
    whole = config.model_copy(update={"trim_db": 0.0, "periodicity_bands": 0})
    try:
        levels = scaled_bands(_stretch(values, start_s, end_s, config.sample_rate), whole)
    except AudioError as error:
        if error.code != "silent":
            raise
        n_frames = 1 + int((end_s - start_s) * config.sample_rate) // config.hop_length
        levels = np.zeros((n_frames, config.n_mels), np.float32)
    step = -(-len(levels) // MAX_WIDTH)
    if step > 1:
        firsts = np.arange(0, len(levels), step)
        counts = np.diff(np.append(firsts, len(levels)))[:, np.newaxis]
        levels = (np.add.reduceat(levels, firsts, axis=0) / counts).astype(np.float32)
    return levels


def _from_afar(values: dict[str, Any], start_s: float, end_s: float) -> npt.NDArray[np.float32]:
    from emogram.overview import overview
    from emogram.writers.page import RANGE_DB

    seen = overview(values["path"], start_s=start_s, duration_s=end_s - start_s, n_columns=MAX_WIDTH)
    levels: npt.NDArray[np.float32] = np.nan_to_num(np.clip(1.0 + seen.decibels / RANGE_DB, 0.0, 1.0))
    return levels


def _stretch(values: dict[str, Any], start_s: float, end_s: float, rate: int) -> audio.Waveform:
    """Load a stretch as `audio.load_audio` does, also of files that only the extra `media` reads."""
    path = Path(values["path"])
    try:
        return audio.load_audio(path, sample_rate=rate, start_s=start_s, end_s=end_s)
    except AudioError as error:
        if error.code != "unreadable":
            raise
    with open_recording(path) as recording:
        first, last = round(start_s * recording.sample_rate), round(end_s * recording.sample_rate)
        parts, position = [], 0
        for block in recording.blocks():
            parts.append(block[max(0, first - position) : max(0, last - position)])
            position += len(block)
            if position >= last:
                break
        samples = np.concatenate(parts) if parts else np.empty((0, recording.channels), np.float32)
        if not len(samples):
            raise _outside(values, start_s, end_s)
        return audio.prepare(samples, recording.sample_rate, sample_rate=rate, name=values["name"])


def _duration_s(values: dict[str, Any]) -> float:
    duration_s = values["duration_s"]
    if duration_s is None:
        with open_recording(values["path"]) as recording:
            duration_s = recording.duration_s
    if duration_s is None:
        raise InputError(f"{values['name']}: its length is not known before it is analysed", code="not_ready")
    if duration_s <= 0.0:
        raise InputError(f"{values['name']}: no samples in it", code="empty")
    return float(duration_s)


def _outside(values: dict[str, Any], start_s: float, end_s: float | None) -> InputError:
    end = "the end" if end_s is None else f"{end_s:g} s"
    return InputError(f"{values['name']}: no sound from {start_s:g} s to {end}", code="bad_stretch")


def _list(values: npt.NDArray[np.float32]) -> list[float | None]:
    return [None if np.isnan(each) else round(each, DIGITS) for each in values.tolist()]


def _rows(values: npt.NDArray[np.float32]) -> list[list[float]]:
    return [[round(each, DIGITS) for each in row] for row in values.tolist()]


def _short(name: str) -> str:
    """Cut a name to what every file system takes, and keep its end, where the suffix stands."""
    return name.encode()[-MAX_NAME_BYTES:].decode(errors="ignore")


def _write_text(values: dict[str, Any], text: str) -> None:
    _write(Path(values["out"]), lambda path: path.write_text(text + "\n", encoding="utf-8"))


def _write(out: Path, write: Callable[[Path], Any]) -> None:
    """Write a file all or nothing; not as `files.writing`, which makes folders that are not there."""
    temporary = out.with_name(f".{secrets.token_hex(8)}{out.suffix}")
    try:
        write(temporary)
        os.replace(temporary, out)  # noqa: PTH105
    except FileNotFoundError:
        raise InputError("this job was deleted", code="gone") from None
    finally:
        temporary.unlink(missing_ok=True)

"""A timeline in files, from which every format can be written later without analysing again: exact, and no pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from emogram.classifier import Classifier
from emogram.files import json_line, write_text, writing
from emogram.records import Prediction, Segment, Timeline, Windows
from emogram.serve.jobs.place import RESULT, WINDOWS
from emogram.writers import timeline_dict
from emogram.writers.text import rounded, to_milliseconds

TIMELINE = "timeline.json"
ARRAYS = "windows.npz"
DIMENSION = "dimension "  # before the name of each in the arrays


def keep(folder: Path, timeline: Timeline, *, name: str, classifier: Classifier) -> None:
    """Write a timeline.

    Args:
        folder: The folder of the job.
        timeline: As `analyze` returns it.
        name: What the client calls the recording.
        classifier: The model that it is of.

    Raises:
        OutputError: A file cannot be written.
    """
    windows = timeline.windows
    arrays: dict[str, Any] = {name: getattr(windows, name) for name in ("start_s", "end_s", "channel", "scores")}
    arrays |= {f"{DIMENSION}{name}": values for name, values in windows.dimensions.items()}
    with writing(folder / ARRAYS) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
    model = f"{classifier.info.model_id} {classifier.sha256[:12]}"
    write_text(folder / TIMELINE, json.dumps({"model": model, **_plain(timeline)}) + "\n")
    write_text(folder / WINDOWS, json_line(windows_dict(windows)) + "\n")
    result = timeline_dict(timeline, path=name, info=classifier.info, sha256=classifier.sha256)
    write_text(folder / RESULT, json_line(result) + "\n")


def kept(folder: Path) -> tuple[Timeline, str]:
    """Read what `keep` wrote: the timeline, equal in every number, and the model in words."""
    values = json.loads((folder / TIMELINE).read_text(encoding="utf-8"))
    with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
        told = {name: arrays[name] for name in arrays.files}
        dimensions = {name.removeprefix(DIMENSION): told.pop(name) for name in list(told) if name.startswith(DIMENSION)}
        windows = Windows(tuple(values["labels"]), **told, dimensions=dimensions)
    timeline = Timeline(
        segments=tuple(_segment(each) for each in values["segments"]),
        windows=windows,
        duration_s=values["duration_s"],
        sample_rate=values["sample_rate"],
        channels=values["channels"],
        summary=values["summary"],
        warnings=tuple(values["warnings"]),
        partial=values["partial"],
    )
    return timeline, values["model"]


def windows_dict(windows: Windows) -> dict[str, Any]:
    """Return the windows ready for JSON; the channel is null where channels are averaged."""
    dimensions = {name: [rounded(each) for each in values.tolist()] for name, values in windows.dimensions.items()}
    return {
        "labels": list(windows.labels),
        "start_ms": [to_milliseconds(each) for each in windows.start_s.tolist()],
        "end_ms": [to_milliseconds(each) for each in windows.end_s.tolist()],
        "channel": [None if each < 0 else each for each in windows.channel.tolist()],
        "scores": [[rounded(score) for score in row] for row in windows.scores.tolist()],
        **({"dimensions": dimensions} if dimensions else {}),
    }


def _plain(timeline: Timeline) -> dict[str, Any]:
    return {
        "labels": list(timeline.windows.labels),
        "segments": [
            {
                "start_s": each.start_s,
                "end_s": each.end_s,
                "channel": each.channel,
                "speech_ratio": each.speech_ratio,
                "label": each.prediction.label,
                "scores": dict(each.prediction.scores),
                "confidence": each.prediction.confidence,
                "abstained": each.prediction.abstained,
                "dimensions": None if each.prediction.dimensions is None else dict(each.prediction.dimensions),
            }
            for each in timeline.segments
        ],
        "duration_s": timeline.duration_s,
        "sample_rate": timeline.sample_rate,
        "channels": timeline.channels,
        "summary": timeline.summary,
        "warnings": list(timeline.warnings),
        "partial": timeline.partial,
    }


def _segment(values: dict[str, Any]) -> Segment:
    said = Prediction(
        values["label"],
        values["scores"],
        values["confidence"],
        values["abstained"],
        dimensions=values.get("dimensions"),  # jobs of older versions have none
    )
    return Segment(values["start_s"], values["end_s"], values["channel"], said, values["speech_ratio"])

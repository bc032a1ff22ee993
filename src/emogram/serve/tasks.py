"""What the processes that decode can be asked for: sound in, numbers out. A new one is a function and a line in TASKS.

A task takes the models at hand and plain values, and returns an `Answer`. It raises `EmogramError` where the sound
cannot be used; of "path" and "name" among its values, the error names the file by the latter.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from emogram.classifier import Classifier, hear
from emogram.config import SpectrogramConfig
from emogram.errors import ModelError
from emogram.serve.problems import Problem
from emogram.watched import Answer

# Task -> module and function, which is imported when it is first asked for: what decodes clips need not load the rest.
TASKS = {
    "clip": "emogram.serve.tasks:clip",
    "timeline": "emogram.serve.tasks:timeline",
    "job_format": "emogram.serve.jobs.tasks:write_format",
    "job_waveform": "emogram.serve.jobs.tasks:waveform",
    "job_spectrogram": "emogram.serve.jobs.tasks:spectrogram",
    "job_explanation": "emogram.serve.jobs.tasks:explanation",
}


class ModelsAtHand:
    """The models of the service, as its processes see them: loaded when they are first needed."""

    def __init__(self, described: Mapping[str, Mapping[str, Any]]) -> None:
        """Take what `describe` said of each, by its id."""
        self._described = described
        self._loaded: dict[str, Classifier] = {}

    def config(self, model_id: str) -> SpectrogramConfig:
        """Return how a model hears; needs it not loaded."""
        return SpectrogramConfig.from_dict(self._described[model_id]["spectrogram"])

    def classifier(self, model_id: str) -> Classifier:
        """Return a model.

        Raises:
            ModelError: It is not there any more as it was when the service began.
        """
        if model_id not in self._loaded:
            described = self._described[model_id]
            loaded = Classifier.load(described["folder"], shifts=described["shifts"])
            if loaded.sha256 != described["sha256"]:
                raise ModelError(f"{described['folder']}: changed since the service began; start it again")
            self._loaded[model_id] = loaded
        return self._loaded[model_id]


def describe(classifier: Classifier) -> dict[str, Any]:
    """Return what a process must know of a model to load it."""
    assert classifier.info.spectrogram is not None, "`Models` takes models of sound"
    return {
        "folder": str(classifier.bundle.folder),
        "sha256": classifier.sha256,
        "shifts": classifier.shifts,
        "spectrogram": classifier.info.spectrogram.to_dict(),
    }


# Samples x channels of a clip: a minute of stereo at 192 kHz, or of eight channels at 48 kHz. A hundred kilobytes of
# FLAC can hold many times more, and would keep a process busy for seconds.
MAX_VALUES = 24_000_000

Task = Callable[[ModelsAtHand, dict[str, Any]], Answer]


def task_named(name: str) -> Task:
    """Return the function of a task."""
    module, function = TASKS[name].split(":")
    return cast(Task, getattr(importlib.import_module(module), function))


def clip(models: ModelsAtHand, values: dict[str, Any]) -> Answer:
    """Hear a clip.

    Args:
        models: The models.
        values: "path", "model", "check", and "max_s", the longest that a clip may last in seconds.

    Returns:
        "speech_share", "duration_ms" (null where the header does not tell), "heard_s", "sample_rate" and "channels",
        and the inputs of the model as arrays.
    """
    from emogram import audio

    path, config = Path(values["path"]), models.config(values["model"])
    duration_s, sample_rate, channels = _probed(path, values["max_s"])
    waveform = audio.load_audio(path, sample_rate=config.sample_rate)
    _check_length(path, waveform.size / config.sample_rate, values["max_s"])  # of a file whose header does not tell
    heard = hear(waveform, config, check=values["check"])
    head = {
        "speech_share": heard.speech_share,
        "heard_s": waveform.size / config.sample_rate,
        "duration_ms": None if duration_s is None else round(1000 * duration_s),
        "sample_rate": sample_rate,
        "channels": channels,
    }
    return Answer(head, dict(heard.inputs))


def timeline(models: ModelsAtHand, values: dict[str, Any]) -> Answer:
    """Find where in a clip which emotion is, as `emogram analyze` does.

    Args:
        models: The models.
        values: "path", "name", "model", "max_s", and "format", "json" or a name of `writers.FORMATS`.

    Returns:
        "result", the timeline in that format: plain values of JSON, or text.
    """
    import tempfile

    from emogram.timeline import analyze
    from emogram.writers import save_timeline, timeline_dict

    path, name, classifier = Path(values["path"]), values["name"], models.classifier(values["model"])
    _probed(path, values["max_s"])
    found = analyze(path, model=classifier)
    _check_length(path, found.duration_s, values["max_s"])
    if values["format"] == "json":
        return Answer({"result": timeline_dict(found, path=name, info=classifier.info, sha256=classifier.sha256)})
    with tempfile.TemporaryDirectory() as folder:
        written = save_timeline(
            Path(folder) / "result", found, values["format"], recording=name, model=classifier.info.model_id
        )
        return Answer({"result": written.read_text(encoding="utf-8")})


def _probed(path: Path, max_s: float) -> tuple[float | None, int, int]:
    """Return what the header of a clip says, and refuse what is too long by it."""
    from emogram import audio

    duration_s, sample_rate, channels = audio.probe(path)
    _check_length(path, duration_s, max_s)
    n_values = round((duration_s or 0.0) * sample_rate) * channels
    if n_values > MAX_VALUES:
        raise Problem(
            "too_long",
            f"{path}: {n_values} values in {channels} channels at {sample_rate} Hz; a clip may hold {MAX_VALUES}, make "
            "it mono or send it to POST /v1/jobs",
        )
    return duration_s, sample_rate, channels


def _check_length(path: Path, duration_s: float | None, max_s: float) -> None:
    if duration_s is not None and duration_s > max_s:
        raise Problem(
            "too_long", f"{path}: {duration_s:.0f} s long; a clip may last {max_s:g} s, send it to POST /v1/jobs"
        )

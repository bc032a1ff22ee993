"""A model and a stretch of sound -> `Explanation`."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emogram import audio as sounds
from emogram.bundle import KERAS_FILE
from emogram.classifier import Classifier
from emogram.errors import MissingExtraError, ModelError, SettingsError
from emogram.explanations.gradcam import grad_cam
from emogram.explanations.heard import Heard, hear
from emogram.explanations.occlusion import PATCH_HZ, PATCH_S, SHORTEST_PATCH_S, occlusion
from emogram.nearby import unknown
from emogram.progress import SILENT, Progress
from emogram.records import Explanation
from emogram.spectrogram import FloatArray, band_centres_hz

STRETCH_S = 10.0  # what is explained of a longer recording, unless somebody says more
MAX_STRETCH_S = 60.0  # hiding patches costs the square of the length: a minute of sound takes minutes
METHODS = ("auto", "grad-cam", "occlusion")


def explain(
    model: Classifier | str | Path,
    audio: str | Path | npt.ArrayLike,
    *,
    sample_rate: int | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
    top_k: int = 3,
    method: str = "auto",
    patch_s: float = PATCH_S,
    patch_hz: float = PATCH_HZ,
    progress: Progress = SILENT,
) -> Explanation:
    """Tell which times and frequencies spoke for the most probable labels.

    Args:
        model: A loaded model, or what `Classifier.load` takes.
        audio: A sound file, or samples as `Classifier.predict` takes them.
        sample_rate: Rate of the samples in Hz.
        start_s: Start of the stretch to explain in seconds.
        end_s: Its end, at most `MAX_STRETCH_S` later; by default `STRETCH_S` later, or where the sound ends.
        top_k: Labels to explain, the most probable first.
        method: "grad-cam" looks into the Keras network; "occlusion" hides patches and asks the ONNX model; "auto" is
            "grad-cam" where the model holds a Keras network without bands of periodicity, and Keras is installed.
        patch_s: Length of a hidden patch in seconds.
        patch_hz: Its height in Hz at 1 kHz.
        progress: Is told of each patch.

    Raises:
        InputError: The sound is missing, unreadable, empty, silent or too short.
        ModelError: The model takes pictures made elsewhere, or holds no Keras network and "grad-cam" was asked for.
        SettingsError: An argument is out of range.
        MissingExtraError: "grad-cam" was asked for and Keras is not installed.
    """
    classifier = model if isinstance(model, Classifier) else Classifier.load(model)
    config = classifier.info.spectrogram
    if config is None:
        raise ModelError(
            "this model takes pictures made elsewhere, whose seconds and hertz nobody knows; explain a model of sound"
        )
    classifier.require_labels("explained")
    _check_arguments(start_s, end_s, top_k, patch_s, patch_hz)
    method = _method(classifier, method)
    waveform = _waveform(audio, sample_rate, start_s, end_s, wanted_rate=config.sample_rate)
    heard = hear(waveform, config)
    probabilities = classifier.probabilities(heard.inputs(heard.scaled[np.newaxis]))[0]
    labels = np.argsort(-probabilities, kind="stable")[:top_k].tolist()
    return Explanation(
        prediction=classifier.prediction_from(probabilities),
        labels=tuple(classifier.labels[place] for place in labels),
        maps=maps_of(classifier, heard, labels, method=method, patch_s=patch_s, patch_hz=patch_hz, progress=progress),
        times_s=start_s + heard.times_s(),
        frequencies_hz=band_centres_hz(config),
        spectrogram=heard.scaled,
        waveform=waveform,
        sample_rate=config.sample_rate,
        start_s=start_s,
        method=method,
    )


def maps_of(
    classifier: Classifier,
    heard: Heard,
    labels: list[int],
    *,
    method: str,
    patch_s: float = PATCH_S,
    patch_hz: float = PATCH_HZ,
    progress: Progress = SILENT,
) -> FloatArray:
    """Return the map of each label, shape (n_labels, n_frames, n_mels); `method` is "grad-cam" or "occlusion"."""
    if method == "grad-cam":
        return grad_cam(classifier.bundle, heard, labels)
    return occlusion(classifier, heard, labels, patch_s=patch_s, patch_hz=patch_hz, progress=progress)


def _method(classifier: Classifier, method: str) -> str:
    if method not in METHODS:
        raise SettingsError(unknown("method", method, METHODS))
    melody = classifier.info.spectrogram is not None and classifier.info.spectrogram.periodicity_bands > 0
    has_keras = importlib.util.find_spec("keras") is not None
    if method == "auto":
        return "grad-cam" if has_keras and not melody and KERAS_FILE in classifier.bundle.hashes else "occlusion"
    if method == "grad-cam":
        if melody:
            raise ModelError("this model hears the melody beside the sound, which Grad-CAM cannot part; take occlusion")
        if not has_keras:
            raise MissingExtraError("Grad-CAM", "train")
        classifier.bundle.file(KERAS_FILE)
    return method


def _check_arguments(start_s: float, end_s: float | None, top_k: int, patch_s: float, patch_hz: float) -> None:
    # Each written so that NaN is refused too.
    if not 0.0 <= start_s < math.inf:
        raise SettingsError(f"start is {start_s:g} s; expected 0 or more")
    if end_s is not None and not start_s < end_s <= start_s + MAX_STRETCH_S:
        raise SettingsError(
            f"the stretch {start_s:g} s to {end_s:g} s; it must end after it starts and may last {MAX_STRETCH_S:g} s"
        )
    if top_k < 1:
        raise SettingsError(f"top_k is {top_k}; expected at least 1")
    if not SHORTEST_PATCH_S <= patch_s <= MAX_STRETCH_S:
        raise SettingsError(f"patch_s is {patch_s:g}; expected {SHORTEST_PATCH_S:g} to {MAX_STRETCH_S:g} seconds")
    if not 0.0 < patch_hz < math.inf:
        raise SettingsError(f"patch_hz is {patch_hz:g}; expected more than 0 Hz")


def _waveform(
    audio: str | Path | npt.ArrayLike,
    sample_rate: int | None,
    start_s: float,
    end_s: float | None,
    *,
    wanted_rate: int,
) -> sounds.Waveform:
    end_s = start_s + STRETCH_S if end_s is None else end_s
    if isinstance(audio, str | Path):
        return sounds.load_audio(audio, sample_rate=wanted_rate, start_s=start_s, end_s=end_s)
    if sample_rate is None:
        raise SettingsError("samples were given without sample_rate; say explain(model, samples, sample_rate=16000)")
    samples = np.asarray(audio)
    return sounds.prepare(
        samples[round(start_s * sample_rate) : round(end_s * sample_rate)], sample_rate, sample_rate=wanted_rate
    )

"""The door of numbers: the same sound by other ways gives the same answer."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emogram import voices
from emogram.classifier import Classifier
from torture.verdict import Figure, Verdict, at_most, equal

SUMMARY = "Keras, ONNX and int8; mono and stereo, 16 and 48 kHz, louder, softer, a sample later: the same answers"

RATE = 16000
FP32, INT8, CHANGED = 1e-4, 0.02, 0.01
SHORT, LONG = 16, 400
NETWORK_CLIPS = 8

Samples = npt.NDArray[np.float32]


def run(*, long: bool, seed: int) -> Verdict:
    """Compare what the shipped model says of synthetic voices, and a fresh network in Keras, ONNX and int8."""
    clips = spoken(LONG if long else SHORT, seed)
    classifier = Classifier.load()
    figures: list[Figure] = []
    notes: list[str] = []
    plain = [scores(classifier, clip) for clip in clips]
    for name, change in CHANGES.items():
        changed = [scores(classifier, *change(clip)) for clip in clips]
        limit = FP32 if name == "duplicated stereo" else CHANGED
        differences = np.abs(np.subtract(plain, changed)).max(axis=1)
        others = np.argmax(plain, axis=1) != np.argmax(changed, axis=1)
        tied = np.diff(np.sort(plain, axis=1)[:, -2:]).ravel() <= CHANGED
        figures += [
            at_most(f"{name}: greatest difference of a probability", float(differences.max()), limit),
            equal(f"{name}: other labels, where the two best are not within {CHANGED}", int((others & ~tied).sum()), 0),
        ]
        beyond = int((differences > limit).sum())
        if others.any() or beyond:
            notes.append(
                f"{name}: {int(others.sum())} of {len(clips)} with another label, {beyond} beyond {limit}; "
                f"median {np.median(differences):.4f}"
            )
    figures += _networks(clips[:NETWORK_CLIPS], seed)
    return Verdict(figures, {"clips": len(clips)}, notes)


CHANGES: dict[str, Any] = {
    "duplicated stereo": lambda clip: (np.stack([clip, clip], axis=1), RATE),
    "resampled to 48 kHz": lambda clip: (_resampled(clip), 48000),
    "20 dB louder": lambda clip: (clip * np.float32(10), RATE),
    "20 dB softer": lambda clip: (clip * np.float32(0.1), RATE),
    "one sample later": lambda clip: (np.concatenate([np.zeros(1, np.float32), clip]), RATE),
}


def spoken(n: int, seed: int) -> list[Samples]:
    """Return clips of synthetic voices in all emotions; at most -26 dBFS, so that 20 dB more do not clip."""
    speakers = voices.voices(6, seed=seed)
    labels = ("angry", "calm", "disgust", "fearful", "happy", "neutral", "sad", "surprised")
    clips = [
        voices.speak(labels[number % len(labels)], speaker=speakers[number % 6], seed=seed + number)
        for number in range(n)
    ]
    return [(0.05 * clip / np.abs(clip).max()).astype(np.float32) for clip in clips]


def scores(classifier: Classifier, clip: Samples, rate: int = RATE) -> list[float]:
    """Return the probabilities of a clip, by way of a file of floats."""
    import soundfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.wav"
        soundfile.write(path, clip, rate, subtype="FLOAT")
        return list(classifier.predict(path).scores.values())


def _resampled(clip: Samples) -> Samples:
    import soxr

    resampled: Samples = soxr.resample(clip, RATE, 48000, quality="VHQ")
    return resampled


def _networks(clips: list[Samples], seed: int) -> list[Figure]:
    """Return how far Keras, ONNX and int8 lie apart, of a network of the shipped model's kind with random weights."""
    from emogram.backend import keras
    from emogram.bundle import open_bundle
    from emogram.config import NetworkConfig
    from emogram.export import export_onnx, greatest_difference, quantised, run_network
    from emogram.features import model_inputs
    from emogram.network import InputShapes, build_network
    from emogram.runtime import onnxruntime

    info = open_bundle("shipped").info
    assert info.spectrogram is not None
    shape: Any = info.input_shape
    keras.utils.set_random_seed(seed)
    network = build_network(
        InputShapes(shape, n_periodicity=info.spectrogram.periodicity_bands), len(info.labels), NetworkConfig()
    )
    batches = [
        {name: value[np.newaxis] for name, value in model_inputs(clip, info.spectrogram).items()} for clip in clips
    ]
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(network, Path(folder) / "model.onnx", samples=batches)
        content = (Path(folder) / "model.onnx").read_bytes()
    small = quantised(content, samples=batches)
    session = onnxruntime.InferenceSession(small, providers=["CPUExecutionProvider"])
    keras_says = [run_network(network, batch) for batch in batches]
    int8_says = [session.run(["probabilities"], batch)[0] for batch in batches]
    # A network that has learnt nothing finds all labels nearly equally probable.
    others = sum(
        int(a.argmax() != b.argmax() and np.diff(np.sort(a.ravel())[-2:])[0] > INT8)
        for a, b in zip(keras_says, int8_says, strict=True)
    )
    return [
        at_most("Keras and ONNX: greatest difference", greatest_difference(network, content, batches), FP32),
        at_most("Keras and int8: greatest difference", float(np.abs(np.subtract(keras_says, int8_says)).max()), INT8),
        equal(f"Keras and int8: other labels, where the two best are not within {INT8}", others, 0),
    ]

"""Waveform in, probabilities out: one clip of three seconds, and 64 at once, on one core."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import soundfile

from benchmarks import peers
from benchmarks.paired import Took, alternate, figure, median, must_agree, times_longer
from benchmarks.processes import on_cores
from benchmarks.tables import Table
from benchmarks.training_step import single_thread
from emogram.classifier import Classifier
from emogram.config import NetworkConfig, SpectrogramConfig
from emogram.errors import EmogramError
from emogram.features import model_inputs
from emogram.voices import speak, voices

SUMMARY = "One clip of 3 s and 64 at once, waveform to probabilities, against wav2vec2, HuBERT, openSMILE and Keras."
ROUNDS = 5
PACKAGES = ("keras", "torch", "onnx")

RATE, CLIP_S = 16000, 3.0
OURS = "the model that ships"
LABELS = ("angry", "calm", "disgust", "fearful", "happy", "neutral", "sad", "surprised")
MOST_DIFFERENCE = 1e-4
HEADER = ("Way", "One clip, p50 ms", "the same, times the first", "64 clips, clips/s", "the first is faster, times")

FloatArray = npt.NDArray[np.float32]
Answer = Callable[[FloatArray], Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the benchmark takes."""
    parser.add_argument("--calls", type=int, default=20, help="Answers to one clip in each run; large models give one.")
    parser.add_argument("--large", action="store_true", help="HuBERT-large too: 1.3 GB, and minutes.")


def run(arguments: argparse.Namespace) -> Table:
    """Answer by turns."""
    n_clips = 2 if arguments.tiny else 64
    clips = spoken(n_clips, 1.0 if arguments.tiny else CLIP_S)
    notes: list[str] = []
    calls = 1 if arguments.tiny else arguments.calls
    with on_cores(1) as core, single_thread(), tempfile.TemporaryDirectory(prefix="emogram-benchmark-") as scratch:
        quick, slow = ways(Path(scratch), clips, notes), large_ways(Path(scratch), clips, arguments, notes)
        singly = {label: each(answer, clips[:1], calls) for label, answer in quick.items()}
        singly |= {label: each(answer, clips[:1], 1) for label, answer in slow.items()}
        some = 1 if arguments.tiny else 8  # of the 64, since on one core no more clips a second come of more of them
        at_once = {label: each(answer, clips, 1) for label, answer in quick.items()}
        at_once |= {label: each(answer, clips[:some], 1, n_clips / some) for label, answer in slow.items()}
        if arguments.peers and not arguments.tiny:
            add_opensmile(Path(scratch), clips, calls, singly, at_once, notes)
        one, many = (alternate(sides, rounds=arguments.rounds) for sides in (singly, at_once))
        notes.append(stages(clips[0]))
    rows = [
        (
            label,
            figure(1e3 * statistics.median(run.output for run in one[label])),
            "1" if label == OURS else str(times_longer(one[label], one[OURS], "cpu_s")),
            figure(n_clips / median(many[label])),
            "1" if label == OURS else str(times_longer(many[label], many[OURS], "cpu_s")),
        )
        for label in one
    ]
    notes.append(
        f"Clips of {clips.shape[1] / RATE:g} s at {RATE // 1000} kHz, {core}, one thread; medians of "
        f"{arguments.rounds} runs by turns, ratios with their quartiles by processor time. wav2vec2 and HuBERT have "
        "their shapes and random weights, in single precision in ONNX Runtime; of the "
        f"{n_clips} clips they are given {some}."
    )
    return Table("one-clip", HEADER, tuple(rows), tuple(notes))


def spoken(n_clips: int, seconds: float) -> FloatArray:
    """Return clips of synthetic speech, shape (n_clips, n_samples)."""
    speakers = voices(4)
    size = round(seconds * RATE)
    made = [speak(LABELS[k % 8], speaker=speakers[k % 4], seed=k, sample_rate=RATE) for k in range(min(n_clips, 8))]
    cut = np.stack([np.resize(one, size) for one in made]).astype(np.float32)
    return np.resize(cut, (n_clips, size))


def each(answer: Answer, clips: FloatArray, calls: int, times: float = 1.0) -> Callable[[], Took]:
    """Return a side that answers `calls` times: seconds for one, times `times`; its output is the middle one (p50)."""

    def run() -> Took:
        seconds = []
        cpu_s = time.process_time()
        for _ in range(calls):
            began = time.perf_counter()
            answer(clips)
            seconds.append(time.perf_counter() - began)
        cpu_s = time.process_time() - cpu_s
        return Took(times * sum(seconds) / calls, times * cpu_s / calls, output=times * statistics.median(seconds))

    return run


def ways(folder: Path, clips: FloatArray, notes: list[str]) -> dict[str, Answer]:
    """Return the ways of the house: the model that ships; untrained networks in each precision; Keras itself."""
    shipped = Classifier.load()
    config = shipped.info.spectrogram
    assert config is not None, "the model that ships listens to sound"
    answers: dict[str, Answer] = {OURS: lambda clips, known=config: shipped.probabilities(inputs_of(clips, known))}
    for title, bands in (("", 0), (" with melody", 48)):
        config = SpectrogramConfig(periodicity_bands=bands)
        network, single, small = exported(config, folder / f"{bands}.onnx", inputs_of(clips[:8], config))
        by_keras, by_onnx, by_int8 = (
            keras_answer(network, config),
            *(onnx_answer(one, config) for one in (single, small)),
        )
        agreed = np.abs(by_keras(clips[:2]) - by_onnx(clips[:2])).max()
        notes.append(f"`emonet`{title}: " + must_agree("probabilities of Keras and ONNX", agreed, MOST_DIFFERENCE))
        answers[f"emonet{title}, int8"] = by_int8
        answers[f"emonet{title}, float32"] = by_onnx
        answers[f"emonet{title}, Keras itself"] = by_keras
    return answers


def inputs_of(clips: FloatArray, config: SpectrogramConfig) -> dict[str, FloatArray]:
    """Return what a network takes of clips of one length, stacked; shorter ones are padded with silence."""
    found = [model_inputs(clip, config)["spectrogram"] for clip in clips]
    longest = max(len(one) for one in found)
    return {"spectrogram": np.stack([np.pad(one, ((0, longest - len(one)), (0, 0), (0, 0))) for one in found])}


def exported(config: SpectrogramConfig, path: Path, samples: dict[str, FloatArray]) -> tuple[Any, bytes, bytes]:
    """Return an untrained `emonet` in Keras, and as ONNX in float32 and in int8."""
    from emogram.backend import keras
    from emogram.export import export_onnx, quantised
    from emogram.network import InputShapes, build_network

    keras.utils.set_random_seed(0)
    shapes = InputShapes(config.input_shape(), n_periodicity=config.periodicity_bands)
    network = build_network(shapes, len(LABELS), NetworkConfig())
    export_onnx(network, path, samples=[samples])
    content = path.read_bytes()
    return network, content, quantised(content, samples=[samples])


def keras_answer(network: Any, config: SpectrogramConfig) -> Answer:
    """Return a way that asks the Keras network."""
    return lambda clips: np.asarray(network.predict_on_batch(inputs_of(clips, config)["spectrogram"]))


def onnx_answer(content: bytes, config: SpectrogramConfig) -> Answer:
    """Return a way that asks ONNX Runtime."""
    asked = session(content)
    return lambda clips: asked.run(["probabilities"], inputs_of(clips, config))[0]


def session(model: bytes | str) -> onnxruntime.InferenceSession:
    """Load a model to run on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def large_ways(folder: Path, clips: FloatArray, arguments: argparse.Namespace, notes: list[str]) -> dict[str, Answer]:
    """Return the self-supervised models; in `--tiny` one small one of the same kind."""
    import torch

    from benchmarks.speech_models import SHAPES, Shape, n_parameters, write_onnx

    shapes = {
        "wav2vec2-base": SHAPES["wav2vec2-base"],
        **({"HuBERT-large": SHAPES["HuBERT-large"]} if arguments.large else {}),
    }
    if arguments.tiny:
        shapes = {"wav2vec2-base, small": Shape(32, 64, 1, 2, large=False, n_channels=16)}
    answers: dict[str, Answer] = {}
    for label, shape in shapes.items():
        path = folder / f"{label}.onnx"
        network = write_onnx(shape, len(LABELS), path, n_samples=clips.shape[1])
        asked = session(str(path))
        with torch.no_grad():
            wanted = network(torch.from_numpy(normalised(clips[:1]))).numpy()
        told = asked.run(None, {"waveforms": normalised(clips[:1])})[0]
        notes.append(
            f"{label}, {n_parameters(shape) / 1e6:.1f} M parameters: "
            + must_agree("probabilities of PyTorch and ONNX", np.abs(told - wanted).max(), MOST_DIFFERENCE)
        )
        answers[label] = lambda clips, asked=asked: asked.run(None, {"waveforms": normalised(clips)})[0]
    return answers


def normalised(clips: FloatArray) -> FloatArray:
    """Return clips of mean 0 and variance 1, as these models take them."""
    centred = clips - clips.mean(axis=1, keepdims=True)
    return centred / np.sqrt(centred.var(axis=1, keepdims=True) + 1e-7)


def add_opensmile(
    folder: Path,
    clips: FloatArray,
    calls: int,
    singly: dict[str, Callable[[], Took]],
    at_once: dict[str, Callable[[], Took]],
    notes: list[str],
) -> None:
    """Add eGeMAPS and a support vector machine, in an environment of their own; a failure becomes a note."""
    try:
        python = peers.environment("opensmile", ["opensmile", "scikit-learn"])
        soundfile.write(folder / "clips.wav", clips.ravel(), RATE, subtype="FLOAT")
        request = {"file": str(folder / "clips.wav"), "n_samples": clips.shape[1], "n_labels": len(LABELS)}
        peers.ask(python, "opensmile_svm.py", {**request, "calls": 1, "n_clips": 1})
    except EmogramError as error:
        notes.append(f"openSMILE: left out: {error}")
        return
    for sides, n_clips, n_calls in ((singly, 1, calls), (at_once, len(clips), 1)):

        def side(n_clips: int = n_clips, n_calls: int = n_calls) -> Took:
            answer = peers.ask(python, "opensmile_svm.py", {**request, "calls": n_calls, "n_clips": n_clips})
            return Took(answer["wall_s"], answer["cpu_s"], output=answer["p50_s"])

        sides["openSMILE eGeMAPS and SVM"] = side


def stages(clip: FloatArray, n: int = 20) -> str:
    """Return a note of what the parts of an answer take, with the melody and without."""
    parts = []
    for title, bands in (("", 0), (" with melody", 48)):
        config = SpectrogramConfig(periodicity_bands=bands)
        took = each(lambda clips, config=config: inputs_of(clips, config), clip[np.newaxis], n)()
        parts.append(f"the spectrogram{title} takes {figure(1e3 * took.cpu_s)} ms")
    return "Of one clip, " + " and ".join(parts) + " of processor time; the network takes the rest."

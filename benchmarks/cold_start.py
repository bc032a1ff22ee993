"""A cold `emogram predict` of one clip, the whole process, against what importing a peer alone takes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from benchmarks.corpus import chosen, copies, sound
from benchmarks.paired import Took, alternate, figure, median, must_agree, times_longer
from benchmarks.processes import command, emogram, on_cores, timed
from benchmarks.tables import Table
from emogram.classifier import Classifier

SUMMARY = "A cold `emogram predict`, whole process, against `import librosa` and the Keras path."
ROUNDS = 7
PACKAGES = ("librosa", "keras", "torch")
HEADER = (
    "Process", "Seconds", "CPU seconds", "Peak memory MB", "emogram predict is faster (quartiles of pairs)",
)  # fmt: skip
# Python then keeps what it compiled, as it does for everybody who has not forbidden it.
ENVIRONMENT = {"PYTHONDONTWRITEBYTECODE": "", "KERAS_BACKEND": "torch"}

# The import alone loads next to nothing: librosa waits until its functions are used.
_LIBROSA = """
import sys
import librosa
waveform, rate = librosa.load(sys.argv[1], sr=None)
print(librosa.power_to_db(librosa.feature.melspectrogram(y=waveform, sr=rate)).shape)
"""
# The network that ships, with random weights: its `.keras` file is not shipped.
_SAVE = """
import sys
from emogram.backend import keras
from emogram.bundle import open_bundle
from emogram.config import NetworkConfig
from emogram.network import InputShapes, build_network
info = open_bundle("shipped").info
known = {name: value for name, value in info.network.items() if name in NetworkConfig.model_fields}
network_config = NetworkConfig(**known)
shapes = InputShapes(info.input_shape, 0, info.spectrogram.periodicity_bands)
network = build_network(shapes, len(info.labels), network_config)
network.save(sys.argv[1])
"""
# What one does with it without ONNX Runtime.
_KERAS = """
import sys
import keras, numpy, soundfile
from emogram.bundle import open_bundle
from emogram.spectrogram import model_input
network = keras.saving.load_model(sys.argv[1], compile=False)
waveform, rate = soundfile.read(sys.argv[2], dtype="float32")
probabilities = network.predict(model_input(waveform, open_bundle("shipped").info.spectrogram)[None], verbose=0)
print(probabilities[0].tolist())
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take nothing of its own."""


def run(arguments: argparse.Namespace) -> Table:
    """Start each process anew, by turns."""
    with sound(arguments.corpus, tiny=arguments.tiny) as (corpus, scratch), on_cores(1) as core:
        (clip,) = copies(chosen(corpus.clips, 1), scratch / "clip", sample_rate=16000)
        python = [sys.executable, "-c"]
        sides = {
            "emogram predict CLIP": command(emogram("predict", clip, "--json"), environment=ENVIRONMENT),
            'python -c "import librosa"': command([*python, "import librosa"], environment=ENVIRONMENT),
            "the clip's mel spectrogram by librosa": command([*python, _LIBROSA, clip], environment=ENVIRONMENT),
        }
        if not arguments.tiny:  # Keras alone takes seconds
            network = scratch / "network.keras"
            timed([*python, _SAVE, network], environment=ENVIRONMENT)
            sides["the same network by Keras on PyTorch"] = command(
                [*python, _KERAS, network, clip], environment=ENVIRONMENT
            )
        took = alternate(sides, rounds=arguments.rounds)
        ours = took["emogram predict CLIP"]
        (segment,) = json.loads(ours[0].output)["segments"]
        said = Classifier.load().predict(clip)
        by_label = {score["label"]: score["score"] for score in segment["scores"]}
        apart = max(abs(by_label[label] - score) for label, score in said.scores.items())
        note = must_agree("Probabilities by the command line and by Python", apart, 1e-5)
    return Table(
        "cold-start",
        HEADER,
        tuple(row(name, runs, ours) for name, runs in took.items()),
        (
            f"One clip, {core}, medians of {arguments.rounds} processes of each, started by turns; files in memory. "
            "To reach: under 0.6 s and 200 MB.",
            note,
        ),
    )


def row(name: str, runs: Sequence[Took], ours: Sequence[Took]) -> tuple[str, ...]:
    """Return the cells of one line."""
    ratio = "" if runs is ours else str(times_longer(runs, ours, "cpu_s")) + " by CPU"
    return (
        f"`{name}`" if " -c " in name or name.startswith("emogram") else name,
        figure(median(runs)),
        figure(median(runs, "cpu_s")),
        f"{median(runs, 'peak_mb'):.0f}",
        ratio,
    )

"""How the cost of training and answering grows with clips, classes and loaded models; each size in its own process."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.growth import Growth
from benchmarks.paired import figure
from benchmarks.processes import on_cores, timed
from benchmarks.tables import Table

SUMMARY = "Cost over the number of clips (100 to a million), classes (2 to 100) and loaded models (1 to 50)."
PACKAGES = ("keras", "torch")
HEADER = ("What", "Size", "Processor seconds", "ms for each", "Peak memory MB", "Grows with the power")

N_DIFFERENT = 64  # spectrograms; beyond them, clips share theirs, since a million of them take 20 GB
N_STEPS, N_ANSWERS = 10, 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the benchmark takes."""
    parser.add_argument("--repeats", type=int, default=3, help="Of each size; the least counts.")


def run(arguments: argparse.Namespace) -> Table:
    """Measure each size of each kind."""
    growths = []
    with on_cores(1) as core:
        for kind, (what, unit, sizes, linear, _) in KINDS.items():
            seconds, memory = [], []
            for size in sizes[:2] if arguments.tiny else sizes:
                runs = []
                for _ in range(1 if arguments.tiny or size >= 100_000 else arguments.repeats):
                    runs.append(here(kind, size) if arguments.tiny else in_a_process(kind, size))
                seconds.append(min(one for one, _ in runs))
                memory.append(max(peak for _, peak in runs))
                print(f"{what}, {size} {unit}: {figure(seconds[-1])} s, {memory[-1]:.0f} MB", file=sys.stderr)
            used = tuple(map(float, sizes[: len(seconds)]))
            growths.append(Growth(what, unit, used, tuple(seconds), tuple(memory), linear=linear))
    rows = tuple(
        (growth.what, f"{row[0]} {growth.unit}", *row[1:], f"{growth.exponent():.2f}" if last else "")
        for growth in growths
        for row, last in zip(growth.rows(), [False] * (len(growth.sizes) - 1) + [True], strict=True)
    )
    notes = (
        "The power is that of the two largest sizes: 1 is linear, 0 flat.",
        f"All {core}, one thread, without the start of Python and the loading of libraries, which the memory holds. "
        f"Clips beyond {N_DIFFERENT} share their spectrograms, so that the memory is that of everything else about "
        "them; their own take 20 kB each.",
    )
    return Table("cost-growth", HEADER, rows, notes, tuple(growths))


def in_a_process(kind: str, size: int) -> tuple[float, float]:
    """Return processor seconds and peak MB of one size of one kind, in a process of its own."""
    took = timed([sys.executable, "-m", "benchmarks.cost_growth", kind, str(size)])
    return json.loads(took.output.splitlines()[-1]), took.peak_mb


def here(kind: str, size: int) -> tuple[float, float]:
    """Return the same of this process, whose memory is that of all sizes so far."""
    return seconds_of(kind, size), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def seconds_of(kind: str, size: int) -> float:
    """Return processor seconds of one size of one kind, what it needs made ready before."""
    work = KINDS[kind][4](size)
    began = time.process_time()
    work()
    return time.process_time() - began


def readied(n_clips: int) -> Callable[[], object]:
    """Part clips, look for leaks, and make the weights and the first batches of an epoch."""
    from emogram.batches import TrainingBatches
    from emogram.config import AugmentConfig, SplitConfig, TrainConfig
    from emogram.splits import make_split

    dataset = repeated(n_clips, n_labels=8)

    def work() -> object:
        split = make_split(dataset, SplitConfig())
        batches = TrainingBatches(dataset, split.train, train=TrainConfig(), augmentation=AugmentConfig())
        return [batches[step] for step in range(min(2, len(batches)))], dataset.content_hash(split.train)

    return work


def drawn(n_clips: int) -> Callable[[], object]:
    """Make some batches in the middle of an epoch."""
    from emogram.batches import TrainingBatches
    from emogram.config import AugmentConfig, TrainConfig

    dataset = repeated(n_clips, n_labels=8)
    batches = TrainingBatches(dataset, np.arange(n_clips), train=TrainConfig(), augmentation=AugmentConfig())
    batches[0]  # draws the order of the epoch
    return lambda: [batches[step % len(batches)] for step in range(N_STEPS)]


def judged(n_clips: int) -> Callable[[], object]:
    """Compute every figure of a report."""
    from emogram.metrics import judge

    dataset = repeated(n_clips, n_labels=8)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(8), n_clips)
    return lambda: judge(dataset.targets, probabilities, dataset.labels, dataset.clips, protocol="made up")


def trained(n_labels: int) -> Callable[[], object]:
    """Take steps of training."""
    import torch

    from benchmarks.training_step import batches_of, compiled, keras_side, settings
    from emogram.backend import keras
    from emogram.fused import faster
    from emogram.network import build_network
    from emogram.train import input_shapes

    torch.set_num_threads(1)
    dataset = repeated(32, n_labels=n_labels)
    config = settings(dataset, "emonet", 32)
    keras.utils.set_random_seed(0)
    network = faster(build_network(input_shapes(config.spectrogram), n_labels, config.network))
    side = keras_side(compiled(network, config), batches_of(dataset, config))
    side()
    return lambda: [side() for _ in range(3)]


def answered(n_models: int) -> Callable[[], object]:
    """Ask loaded models in turn."""
    from emogram.classifier import Classifier

    models = [Classifier.load() for _ in range(n_models)]
    waveform = np.random.default_rng(0).normal(0, 0.1, 48000).astype(np.float32)
    models[0].predict(waveform, sample_rate=16000)
    return lambda: [models[k % n_models].predict(waveform, sample_rate=16000) for k in range(N_ANSWERS)]


def loaded(n_models: int) -> Callable[[], object]:
    """Load models."""
    from emogram.classifier import Classifier

    Classifier.load()
    return lambda: [Classifier.load() for _ in range(n_models)]


def repeated(n_clips: int, *, n_labels: int) -> "Dataset":  # noqa: F821, UP037
    """Return a dataset of that many clips, by a hundredth as many speakers, at least 24."""
    from benchmarks.training_step import made_up
    from emogram.records import Clip

    few = made_up("emonet", min(n_clips, N_DIFFERENT), tiny=False)
    labels = tuple(f"label {number}" for number in range(n_labels))
    n_speakers = max(24, n_clips // 100)
    return replace(
        few,
        labels=labels,
        targets=np.arange(n_clips) % n_labels,
        clips=tuple(
            Clip(Path(f"{number}.wav"), labels[number % n_labels], str(number // 8 % n_speakers), "made up")
            for number in range(n_clips)
        ),
        samples=tuple(replace(few.samples[number % len(few)], content=str(number)) for number in range(n_clips)),
    )


KINDS = {
    "readied": (
        "clips parted and made ready to train",
        "clips",
        (100, 1000, 10_000, 100_000, 1_000_000),
        True,
        readied,
    ),
    "drawn": (f"{N_STEPS} batches drawn of an epoch", "clips", (100, 1000, 10_000, 100_000, 1_000_000), False, drawn),
    "judged": ("answers judged, with intervals", "clips", (100, 1000, 10_000, 100_000), True, judged),
    "trained": ("three steps of training", "classes", (2, 8, 32, 100), False, trained),
    "answered": (f"{N_ANSWERS} answers in turn", "models loaded", (1, 5, 20, 50), False, answered),
    "loaded": ("models loaded", "models", (1, 5, 20, 50), True, loaded),
}

if __name__ == "__main__":
    print(json.dumps(seconds_of(sys.argv[1], int(sys.argv[2]))))

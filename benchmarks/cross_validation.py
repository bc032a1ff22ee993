"""A cross-validation under RAVDESS-SI5: the recipe here against the origin's, in minutes; and training's memory."""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.corpus import sound
from benchmarks.paired import alternate, called, figure, median, times_longer
from benchmarks.processes import emogram, on_cores, timed
from benchmarks.tables import Table, percent
from benchmarks.training_step import compiled, keras_network, keras_side, made_up, origin, settings, single_thread
from emogram.batches import TrainingBatches
from emogram.config import TrainConfig
from emogram.errors import SettingsError
from emogram.fused import faster
from emogram.metrics import uar
from emogram.predictions import read_predictions

SUMMARY = "Minutes of a whole RAVDESS-SI5 cross-validation against the origin's recipe, and the memory of a training."
ROUNDS = 5
PACKAGES = ("keras", "torch", "pillow")

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "melody.toml"
ANSWERS = ROOT / "results" / "ravdess-si5" / "emonet-melody.csv"
N_FOLDS, N_CORES = 5, 2
N_CLIPS = 1020  # of 17 of the 24 actors of RAVDESS, which train a fold
OURS, ORIGIN = "`recipes/melody.toml`", "the origin's recipe"
HEADER = ("Recipe", "Epochs", "Samples/s", "Minutes on two cores", "Times longer", "Accuracy on voices never heard")


@dataclass(frozen=True)
class Recipe:
    """A way to train: seconds of a step do not depend on which fold it is."""

    epochs: int
    n_samples: int
    accuracy: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the benchmark takes."""
    parser.add_argument("--steps", type=int, default=4, help="Steps of 32 samples in each run.")
    parser.add_argument("--full", action="store_true", help="Run our cross-validation whole; CORPUS must be RAVDESS.")


def run(arguments: argparse.Namespace) -> Table:
    """Measure steps of both by turns, and a training's memory; then all of it if asked."""
    if arguments.full and arguments.corpus is None:
        raise SettingsError("--full runs RAVDESS-SI5; name the folder of RAVDESS as CORPUS")
    batch_size, n_steps = (4, 1) if arguments.tiny else (32, arguments.steps)
    n = batch_size * n_steps
    recipes = {OURS: Recipe(36, n, ours_accuracy()), ORIGIN: Recipe(30, n, "not measured; 58.0 % on voices it knows")}
    with tempfile.TemporaryDirectory(prefix="emogram-benchmark-") as scratch, on_cores(1), single_thread():
        dataset = made_up("emonet", n, tiny=arguments.tiny, periodicity_bands=48)
        config = settings(dataset, "emonet", batch_size)
        train = TrainConfig(batch_size=batch_size, train_frames=config.train.train_frames)
        network = compiled(
            faster(keras_network("emonet", config, "bfloat16")), config.model_copy(update={"train": train})
        )
        batches = TrainingBatches(dataset, np.arange(n), train=train, augmentation=config.augment)
        pictures = made_up("baseline", n, tiny=arguments.tiny)
        theirs = origin(pictures, settings(pictures, "baseline", batch_size), Path(scratch))
        fit = keras_side(network, batches)
        took = alternate({OURS: called(fit), ORIGIN: called(theirs)}, rounds=arguments.rounds)
    steps = -(-N_CLIPS // 32)
    minutes = {
        name: median(took[name], "cpu_s") / n_steps * steps * recipe.epochs * N_FOLDS / N_CORES / 60.0
        for name, recipe in recipes.items()
    }
    faster_by = times_longer(took[ORIGIN], took[OURS], "cpu_s").median * recipes[ORIGIN].epochs / recipes[OURS].epochs
    rows = [
        (
            name,
            str(recipe.epochs),
            figure(n / median(took[name], "cpu_s")),
            figure(minutes[name]),
            "1" if name == OURS else figure(faster_by),
            recipe.accuracy,
        )
        for name, recipe in recipes.items()
    ]
    notes = [
        f"Extrapolated: {n_steps} steps of each are measured, and taken times {steps} steps, the epochs, and five "
        "folds, two at a time. Steps alone: reading, degraded copies, validation and judging are left out on both "
        f"sides. Medians of {arguments.rounds} runs by turns on one core, by processor time.",
        "The origin's recipe was measured on a random split with the same voices on both sides only (LOG.md), which "
        "flatters; ours is from results/ravdess-si5.",
        memory(arguments),
    ]
    if arguments.full:
        notes.append(whole(arguments.corpus))
    return Table("cross-validation", HEADER, tuple(rows), tuple(notes))


def ours_accuracy() -> str:
    """Return the mean UAR of the seeds, from the answers that are kept."""
    found = [uar(said.targets(), said.probabilities) for said in read_predictions([ANSWERS])]
    return f"{percent(float(np.mean(found)))} % UAR, mean of {len(found)} seeds"


def memory(arguments: argparse.Namespace) -> str:
    """Return a note of the most memory that a real training holds, reading to judging."""
    with sound(arguments.corpus, tiny=arguments.tiny) as (corpus, scratch):
        short = ["--epochs", "1", "--out", str(scratch / "run"), *(["--width", "0.25"] if arguments.tiny else [])]
        ran = timed(emogram("train", corpus.root, *short), environment={"EMOGRAM_CACHE": str(scratch / "cache")})
    return (
        f"`emogram train` with the defaults on {len(corpus.clips)} clips, one epoch, reading to judging: at most "
        f"{ran.peak_mb:.0f} MB."
    )


def whole(corpus: Path) -> str:
    """Run our cross-validation, two folds at a time, and return a note of its minutes."""
    with tempfile.TemporaryDirectory(prefix="emogram-benchmark-") as scratch:
        command = emogram("crossval", corpus, "--protocol", "ravdess-si5", "--config", RECIPE, "--out", scratch)
        print("the whole cross-validation ...", file=sys.stderr)
        ran = timed([*command, "--jobs", str(N_CORES)])
    minutes, cpu_minutes = ran.wall_s / 60.0, ran.cpu_s / 60.0
    return f"The whole of ours, reading to judging: {minutes:.1f} minutes, {cpu_minutes:.1f} of processor time."

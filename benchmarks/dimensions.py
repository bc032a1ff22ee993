"""Arousal and valence of synthetic voices, learnt alone and next to classes, told of voices that were never heard.

It proves that the machinery learns what a corpus tells, and says nothing about people: what arousal does to these
voices is written in `emogram.voices`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.tables import Table, percent
from emogram.config import RunConfig, run_config
from emogram.corpora import find_corpus
from emogram.records import Report
from emogram.train import train
from emogram.voices import make_dimension_corpus

SUMMARY = "CCC of arousal and valence on synthetic voices never heard, learnt alone and next to classes."
PACKAGES = ("keras", "torch")
HEADER = ("`--targets`", "arousal CCC", "valence CCC", "mean CCC", "UAR of four classes")
TARGETS = ("classes", "dimensions", "both")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the benchmark takes."""
    parser.add_argument("--epochs", type=int, default=20, help="Times that the training clips are seen.")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="Keep the voices and the runs here, to try more.")


def run(arguments: argparse.Namespace) -> Table:
    """Make the voices, train three networks, and judge them."""
    n_speakers, n_utterances = (4, 6) if arguments.tiny else (12, 24)
    epochs = 1 if arguments.tiny else arguments.epochs
    with tempfile.TemporaryDirectory(prefix="emogram-benchmark-") as scratch:
        folder = arguments.keep or Path(scratch)
        corpus = find_corpus(
            arguments.corpus
            or make_dimension_corpus(folder / "voices", n_speakers=n_speakers, n_utterances=n_utterances)
        )
        reports = {targets: train(corpus, settings(targets, epochs), folder / targets).report for targets in TARGETS}
    first = next(iter(reports.values()))
    notes = (
        f"{len(corpus.clips)} clips, {epochs} epochs; {first.metrics['n_clips']:.0f} clips judge: {first.protocol}.",
        "With 95 % intervals over speakers. The voices are synthetic, and say nothing about people.",
    )
    return Table("dimensions", HEADER, tuple(row(targets, report) for targets, report in reports.items()), notes)


def settings(targets: str, epochs: int) -> RunConfig:
    """Return the settings of one training: a small network, since the voices are few."""
    known = {"targets": targets, "dimension_scale": (1.0, 7.0), "epochs": epochs, "batch_size": 16, "train_frames": 96}
    return run_config({"network": {"width": 0.25}, "train": known})


def row(targets: str, report: Report) -> tuple[str, ...]:
    """Return the figures of one network, a cell each."""
    cells = []
    for name in ("arousal_ccc", "valence_ccc", "ccc"):
        if name in report.metrics:
            low, high = report.intervals[name]
            cells.append(f"{report.metrics[name]:.2f} ({low:.2f}–{high:.2f})")
        else:
            cells.append("–")
    return (targets, *cells, f"{percent(report.metrics['uar'])} %" if "uar" in report.metrics else "–")

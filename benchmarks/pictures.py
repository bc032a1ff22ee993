"""A corpus -> a folder of spectrogram pictures, against librosa and matplotlib as one finds it in notebooks."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.corpus import chosen, copies, sound
from benchmarks.paired import Took, alternate, figure, median, must_agree, times_longer
from benchmarks.processes import emogram, on_cores, timed
from benchmarks.tables import Table

SUMMARY = "`emogram spectrograms`, against librosa and matplotlib's savefig."
ROUNDS = 3
PACKAGES = ("librosa", "matplotlib", "pillow")

# Load, mel spectrogram, decibels, specshow, savefig: one figure a clip, as the origin of this project draws them.
_NOTEBOOK = """
import sys
from pathlib import Path
import librosa, librosa.display, matplotlib, numpy
matplotlib.use("Agg")
import matplotlib.pyplot as plt
out, *paths = sys.argv[1:]
for path in paths:
    samples, rate = librosa.load(path)
    decibels = librosa.power_to_db(librosa.feature.melspectrogram(y=samples, sr=rate), ref=numpy.max)
    plt.figure(figsize=(10, 4))
    librosa.display.specshow(decibels, sr=rate, x_axis="time", y_axis="mel")
    plt.colorbar(format="%+2.0f dB")
    plt.title("Mel spectrogram")
    plt.tight_layout()
    plt.savefig(Path(out) / (Path(path).stem + ".png"))
    plt.close()
"""
ENVIRONMENT = {"PYTHONDONTWRITEBYTECODE": ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the benchmark takes."""
    parser.add_argument("--clips", type=int, default=720, help="How many `emogram` draws; by default 720.")
    parser.add_argument("--drawn", type=int, default=24, help="How many matplotlib draws, in each of its processes.")


def run(arguments: argparse.Namespace) -> Table:
    """Draw by turns; both with as many processes as there are cores, two at the most."""
    if arguments.tiny:
        arguments.clips, arguments.drawn = 4, 1
    n_cores = min(2, len(os.sched_getaffinity(0)))
    with sound(arguments.corpus, tiny=arguments.tiny) as (corpus, scratch), on_cores(n_cores) as cores:
        clips = chosen(corpus.clips, arguments.clips)
        paths = copies(clips, scratch / "sound", sample_rate=16000)
        manifest = scratch / "sound" / "manifest.csv"
        lines = [f"{path.name},{clip.label}" for path, clip in zip(paths, clips, strict=True)]
        manifest.write_text("\n".join(["path,label", *lines]) + "\n", encoding="utf-8")
        few = paths[: arguments.drawn]
        folders = iter(range(1000))

        def ours(workers: int = n_cores) -> Took:
            out = scratch / f"ours-{next(folders)}"
            words = emogram(
                "spectrograms", manifest, out, "--workers", str(workers), "--trim-db", "0", "--top-db", "80", "--json"
            )
            return per_picture(timed(words, environment=ENVIRONMENT), out, len(clips))

        def theirs() -> Took:
            # One process: two of them draw twice as much at the best, which is taken for granted below.
            out = scratch / f"theirs-{next(folders)}"
            out.mkdir()
            return per_picture(
                timed([sys.executable, "-c", _NOTEBOOK, out, *few], environment=ENVIRONMENT), out, len(few)
            )

        sides = {"librosa and matplotlib": theirs, "emogram spectrograms": ours, "one process": lambda: ours(1)}
        took = alternate(sides, rounds=arguments.rounds)
        note = must_agree("Loudness over time in both pictures, 1 less its correlation,", apart(scratch, few[0]), 0.25)
    rivals = [replace(one, wall_s=one.wall_s / n_cores) for one in took["librosa and matplotlib"]]
    mine = took["emogram spectrograms"]
    apiece = times_longer(took["librosa and matplotlib"], took["one process"], "cpu_s")
    return Table(
        "pictures",
        ("Pictures by", "Pictures a second", "Seconds, whole process"),
        (
            *(
                (name, figure(1.0 / median(runs)), figure(n * median(runs)))
                for name, runs, n in (
                    ("librosa and matplotlib", rivals, len(few)),
                    ("`emogram spectrograms`", mine, len(clips)),
                )
            ),
            ("times as many (quartiles of pairs)", str(times_longer(rivals, mine)), ""),
            ("times as many by processor time, one process each", str(apiece), ""),
        ),
        (
            f"{len(clips)} clips for `emogram spectrograms` {cores}, {len(few)} for a process with librosa and "
            f"matplotlib, whose rate counts {n_cores} times, as if so many of them ran at full speed; each with its "
            "start, by the clock. To reach: 50 times as many.",
            note,
        ),
    )


def per_picture(took: Took, out: Path, n_pictures: int) -> Took:
    """Return what one picture took; all must be there."""
    n_found = len(list(out.rglob("*.png")))
    must_agree(f"{out.name}: pictures asked for and found", abs(n_found - n_pictures), 0)
    return replace(took, wall_s=took.wall_s / n_pictures, cpu_s=took.cpu_s / n_pictures)


def apart(scratch: Path, path: Path) -> float:
    """Return how little the loudness over time looks alike in both pictures of a clip."""
    (ours, *_) = sorted(scratch.glob(f"ours-*/**/{path.stem}.png"))
    (theirs, *_) = sorted(scratch.glob(f"theirs-*/{path.stem}.png"))
    lines = []
    for picture, box in ((ours, None), (theirs, (81, 38, 804, 340))):  # without the axes and the bar
        image = Image.open(picture).convert("L")
        line = np.asarray(image.crop(box) if box else image, np.float64).mean(axis=0)
        lines.append(np.interp(np.linspace(0, 1, 64), np.linspace(0, 1, len(line)), line))
    return float(1.0 - np.corrcoef(lines)[0, 1])

"""How time and memory grow with the length of a recording that is analysed, and how soon a live answer comes."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from benchmarks.corpus import sound
from benchmarks.growth import Growth
from benchmarks.paired import Took, load, median
from benchmarks.processes import emogram, on_cores, timed
from benchmarks.tables import Table
from emogram.bundle import SHIPPED
from emogram.errors import EmogramError
from emogram.joined import JoinConfig, Joined, join

SUMMARY = "Speed and peak memory of `emogram analyze` on long files, and the delay of `emogram listen`."
ROUNDS = 3

ONCE_ABOVE_MINUTES = 120.0
HEADER = (
    "Recording", "Speech", "Seconds", "Times real time", "CPU seconds", "Times real time by CPU", "Peak memory MB",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the benchmark takes."""
    parser.add_argument("--model", default=SHIPPED)
    parser.add_argument(
        "--minutes", default="1,10,60", metavar="N,...", help="Lengths of the recordings; a day has 1440."
    )
    parser.add_argument("--listen-minutes", type=float, default=1.0, help="How long to listen, at the pace of sound.")


def run(arguments: argparse.Namespace) -> Table:
    """Make recordings, analyse each by the command line in a process of its own, and listen to one."""
    if arguments.tiny:
        arguments.minutes, arguments.listen_minutes = "0.25,0.5", 0.07
    rows, loads, lengths, taken = [], [], [], []
    with sound(arguments.corpus, tiny=arguments.tiny) as (corpus, folder), on_cores(1) as core:
        for minutes in map(float, arguments.minutes.split(",")):
            joined = join(corpus.clips, folder / "long.flac", JoinConfig(minutes=minutes))
            runs = []
            for _ in range(1 if minutes > ONCE_ABOVE_MINUTES else arguments.rounds):
                loads.append(load())
                runs.append(timed(emogram("analyze", joined.path, "--model", arguments.model, "--json")))
                print(f"{minutes:g} min: {runs[-1].wall_s:.1f} s, {runs[-1].peak_mb:.0f} MB", file=sys.stderr)
            rows.append(row(joined, runs))
            lengths.append(joined.duration_s / 60.0)
            taken.append(runs)
            joined.path.unlink()
        talk = join(corpus.clips, folder / "talk.wav", JoinConfig(minutes=arguments.listen_minutes))
        loads.append(load())
        p50, p99, n_windows = delays_ms(
            timed(emogram("listen", "--from", talk.path, "--model", arguments.model, "--json"))
        )
    growth = Growth(
        "a recording analysed",
        "minutes",
        tuple(lengths),
        tuple(median(runs, "cpu_s") for runs in taken),
        tuple(median(runs, "peak_mb") for runs in taken),
    )
    return Table(
        "long-files",
        HEADER,
        tuple(rows),
        (
            f"Time grows with the length to the power of {growth.exponent():.2f} (1 is linear), the start taken off.",
            f"Live, at the pace of sound, {arguments.listen_minutes:g} minutes: a window's answer is told {p50:.0f} ms "
            f"after its end in the middle (p50) and {p99:.0f} ms at p99, over {n_windows} windows.",
            f"{core.capitalize()}; seconds count from the start of the command to its end, with Python's start and the "
            f"model's loading, medians of {arguments.rounds} runs (one run above two hours). The machine's load was "
            f"{min(loads):.1f} to {max(loads):.1f} on {os.cpu_count()} cores when the runs began: with others at work, "
            "the time by CPU says more than the time by the clock.",
        ),
        (growth,),
    )


def row(joined: Joined, runs: Sequence[Took]) -> tuple[str, ...]:
    """Return the cells of one line."""
    minutes = joined.duration_s / 60.0
    spoken = sum(span.end_s - span.start_s for span in joined.truth) / joined.duration_s
    wall_s, cpu_s = median(runs), median(runs, "cpu_s")
    return (
        f"{minutes:g} min" if minutes < 60 else f"{minutes / 60:g} h",
        f"{100 * spoken:.0f} %",
        f"{wall_s:.1f}",
        f"{joined.duration_s / wall_s:.0f}",
        f"{cpu_s:.1f}",
        f"{joined.duration_s / cpu_s:.0f}",
        f"{median(runs, 'peak_mb'):.0f}",
    )


def delays_ms(listened: Took) -> tuple[float, float, int]:
    """Return what `emogram listen --json` says of its own delays: p50, p99, and over how many windows.

    Raises:
        EmogramError: It heard no window.
    """
    lines = [json.loads(line) for line in listened.output.splitlines()]
    n_windows = sum(line.get("type") == "window" for line in lines)
    if not n_windows:
        raise EmogramError("listening gave no window; listen longer")
    delay = lines[-1]["delay_ms"]
    return delay["p50"], delay["p99"], n_windows

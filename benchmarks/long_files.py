"""How fast, and in how much memory, hours are analysed, and how soon a live answer comes; on one core."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tables import Table
from emogram.bundle import SHIPPED
from emogram.corpora import find_corpus
from emogram.errors import EmogramError
from emogram.joined import JoinConfig, Joined, join

SUMMARY = "Speed and peak memory of `emogram analyze` on long files, and the delay of `emogram listen`."

ONCE_ABOVE_MINUTES = 120.0
HEADER = (
    "Recording", "Speech", "Seconds", "Times real time", "CPU seconds", "Times real time by CPU", "Peak memory MB",
)  # fmt: skip

# A process begins with the peak memory of the one that started it, so that one is made to be small.
_LAUNCHER = """
import json, os, sys, time
began = time.monotonic()
process = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(process, 0)
with open(sys.argv[1], "w") as file:
    json.dump([time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss], file)
sys.exit(os.waitstatus_to_exitcode(status) and 1)
"""


@dataclass(frozen=True)
class Run:
    """What one run of a command took.

    Attributes:
        wall_s: Seconds from its start to its end, with that of Python and the loading of the model.
        cpu_s: Seconds that the processor worked for it.
        peak_mb: The most memory it held, resident.
        output: What it wrote to stdout.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    output: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the benchmark takes."""
    parser.add_argument("corpus", type=Path, metavar="CORPUS", help="Labelled clips of known speakers to join.")
    parser.add_argument("--model", default=SHIPPED)
    parser.add_argument("--minutes", default="10,60,1440", metavar="N,...", help="Lengths of the recordings.")
    parser.add_argument(
        "--repeats", type=int, default=3, help="Runs whose median counts; of more than two hours one counts."
    )
    parser.add_argument("--listen-minutes", type=float, default=2.0, help="How long to listen, at the pace of sound.")
    parser.add_argument("--scratch", type=Path, help="Folder for the recordings; by default a temporary one.")


def run(arguments: argparse.Namespace) -> Table:
    """Make recordings, analyse each by the command line in a process of its own, and listen to one."""
    clips = find_corpus(arguments.corpus).clips
    rows = []
    loads = []
    with tempfile.TemporaryDirectory(prefix="emogram-benchmark-", dir=arguments.scratch) as folder, one_core() as core:
        for minutes in map(float, arguments.minutes.split(",")):
            joined = join(clips, Path(folder) / "long.flac", JoinConfig(minutes=minutes))
            command = ["analyze", str(joined.path), "--model", str(arguments.model), "--json"]
            runs = []
            for _ in range(1 if minutes > ONCE_ABOVE_MINUTES else arguments.repeats):
                loads.append(load())
                runs.append(timed(command))
                print(f"{minutes:g} min: {runs[-1].wall_s:.1f} s, {runs[-1].peak_mb:.0f} MB", file=sys.stderr)
            rows.append(row(joined, runs))
            joined.path.unlink()
        talk = join(clips, Path(folder) / "talk.wav", JoinConfig(minutes=arguments.listen_minutes))
        loads.append(load())
        p50, p99, n_windows = delays_ms(
            timed(["listen", "--from", str(talk.path), "--model", str(arguments.model), "--json"])
        )
    return Table(
        "long-files",
        HEADER,
        tuple(rows),
        (
            f"Live, at the pace of sound, {arguments.listen_minutes:g} minutes: a window's answer is told {p50:.0f} ms "
            f"after its end in the middle (p50) and {p99:.0f} ms at p99, over {n_windows} windows.",
            f"{core}; seconds count from the start of the command to its end, with Python's start and the model's "
            f"loading, medians of {arguments.repeats} runs (one run above two hours). The machine's load was "
            f"{min(loads):.1f} to {max(loads):.1f} on {os.cpu_count()} cores when the runs began: with others at work, "
            "the time by CPU says more than the time by the clock.",
        ),
    )


def row(joined: Joined, runs: Sequence[Run]) -> tuple[str, ...]:
    """Return the cells of one line."""
    minutes = joined.duration_s / 60.0
    spoken = sum(span.end_s - span.start_s for span in joined.truth) / joined.duration_s
    wall_s, cpu_s = statistics.median(one.wall_s for one in runs), statistics.median(one.cpu_s for one in runs)
    return (
        f"{minutes:g} min" if minutes < 60 else f"{minutes / 60:g} h",
        f"{100 * spoken:.0f} %",
        f"{wall_s:.1f}",
        f"{joined.duration_s / wall_s:.0f}",
        f"{cpu_s:.1f}",
        f"{joined.duration_s / cpu_s:.0f}",
        f"{statistics.median(one.peak_mb for one in runs):.0f}",
    )


def timed(command: Sequence[str]) -> Run:
    """Run an `emogram` command in a process of its own.

    Raises:
        EmogramError: It failed.
    """
    with tempfile.TemporaryDirectory(prefix="emogram-benchmark-") as folder:
        took = Path(folder) / "took.json"
        launched = subprocess.run(
            [sys.executable, "-S", "-c", _LAUNCHER, str(took), sys.executable, "-m", "emogram", *command],
            capture_output=True,
            text=True,
            check=False,
        )
        if launched.returncode:
            raise EmogramError(f"`emogram {' '.join(command)}` failed: {launched.stderr.strip()[-300:]}")
        # Linux counts in KiB, macOS in bytes.
        wall_s, cpu_s, peak = json.loads(took.read_text(encoding="utf-8"))
        return Run(wall_s, cpu_s, peak / (1024.0 if sys.platform != "darwin" else 1024.0**2), launched.stdout)


def delays_ms(listened: Run) -> tuple[float, float, int]:
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


@contextlib.contextmanager
def one_core() -> Iterator[str]:
    """Keep this process and those it starts on one core where the system can, and say so."""
    if not hasattr(os, "sched_setaffinity"):
        yield "On all cores, with one thread"
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield "On one core"
    finally:
        os.sched_setaffinity(0, before)


def load() -> float:
    """Return how many processes wanted to run in the last minute; 0 where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0

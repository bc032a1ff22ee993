"""The service under load: clips a second beside `emogram predict`, and how long clips wait, idle, busy and overrun."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.clients import Load
from benchmarks.corpus import chosen, copies, sound
from benchmarks.paired import Took, alternate, figure, times_longer
from benchmarks.processes import emogram, timed
from benchmarks.tables import Table
from emogram.bundle import SHIPPED
from emogram.classifier import Classifier
from emogram.errors import EmogramError
from emogram.parallel import child_environment
from emogram.records import Clip

SUMMARY = "The service: 64 clients at once beside `emogram predict`, one client alone, and four times too many clips."
PACKAGES = ("fastapi", "uvicorn", "starlette")
ROUNDS = 3
HEADER = ("What", "Clips/s", "p50 ms", "p99 ms", "Answered", "Turned away", "Failed", "Wrong")
START_S = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the benchmark takes."""
    parser.add_argument("--model", default=SHIPPED)
    parser.add_argument("--clips", type=int, default=1200, help="Clips that are sent each time; by default 1,200.")
    parser.add_argument("--clients", type=int, default=64, help="Clients at once; by default 64.")
    parser.add_argument("--overrun-s", type=float, default=20.0, help="Length of the overrun in seconds.")
    parser.add_argument("--max-queue", type=int, help="As of `emogram serve`.")


@dataclass(frozen=True)
class Sound:
    """Clips as files, with what the model says of each."""

    paths: tuple[Path, ...]
    scores: tuple[dict[str, float], ...]


def run(arguments: argparse.Namespace) -> Table:
    """Serve the clips to many clients and predict the same clips, by turns; then one client, then too many."""
    n_clips, n_clients, overrun_s = arguments.clips, arguments.clients, arguments.overrun_s
    if arguments.tiny:
        n_clips, n_clients, overrun_s = 24, 8, 0.5
    with sound(arguments.corpus, tiny=arguments.tiny) as (corpus, scratch):
        paths = copies(chosen(corpus.clips, min(240, n_clips)), scratch / "clips", sample_rate=16000)
        answers = Classifier.load(arguments.model).predict_many([Clip(path) for path in paths], check=True)
        clips = Sound(tuple(paths), tuple(_scores(answer) for _, answer in answers))
        # As many files for `predict` as requests for the service.
        names = scratch / "names.txt"
        names.write_text("".join(f"{paths[number % len(paths)]}\n" for number in range(n_clips)), encoding="utf-8")
        queue = ["--max-queue", str(arguments.max_queue)] if arguments.max_queue else []
        with serving("--model", arguments.model, *queue) as service:
            loads: list[Load] = []

            def serve() -> Took:
                before = service.cpu_s()
                loads.append(service.load(clips, scratch, "closed", n_clients, n_clips))
                return Took(loads[-1].wall_s, service.cpu_s() - before)

            took = alternate(
                {"service": serve, "predict": lambda: predicted(names, arguments.model)}, rounds=arguments.rounds
            )
            busy = loads[-arguments.rounds :]
            pace = max(len(load.seconds) / load.wall_s for load in busy)
            alone = service.load(clips, scratch, "closed", 1, min(n_clips, 300))
            overrun = service.load(clips, scratch, "open", 4 * pace, overrun_s)
            peak_mb = service.peak_mb()
    ratio = times_longer(took["predict"], took["service"])
    rows = (
        ("`emogram predict`, warm", *_pace_only(took["predict"], n_clips)),
        *((f"{n_clients} clients, run {number}", *_row(load)) for number, load in enumerate(busy, 1)),
        ("one client", *_row(alone)),
        (f"{4 * pace:.0f} clips/s sent for {overrun_s:g} s", *_row(overrun)),
    )
    slower = overrun.quantile_ms(0.99) / alone.quantile_ms(0.99)
    notes = (
        f"The service answers {ratio} times the clips a second that `emogram predict` does, model loaded, on the same "
        f"cores, which the clients share (to reach: 0.8); a clip takes {_cpu_ms(took['service'], n_clips)} ms of "
        f"processor time in the service, {1000 * busy[-1].client_cpu_s / n_clips:.1f} in the client and "
        f"{_cpu_ms(took['predict'], n_clips)} in `predict`.",
        f"Clips that were let in while overrun took at their p99 {figure(slower)} times as long as those of one client "
        f"alone. {overrun.unhelpful} were turned away without Retry-After. The processes of the service held at most "
        f"{peak_mb:.0f} MB together.",
    )
    return Table("service", HEADER, rows, notes)


@dataclass(frozen=True)
class Running:
    """A service that runs.

    Attributes:
        port: Where on 127.0.0.1.
        pid: Its process.
    """

    port: int
    pid: int

    def load(self, clips: Sound, scratch: Path, way: str, *values: float) -> Load:
        """Let clients send clips, in a process of their own, and return what they saw."""
        asked = scratch / "asked.json"
        listed = [[str(path), scores] for path, scores in zip(clips.paths, clips.scores, strict=True)]
        asked.write_text(json.dumps({"port": self.port, "clips": listed, "way": way, "values": values}))
        took = timed([sys.executable, "-m", "benchmarks.clients", asked])
        seen: dict[str, Any] = json.loads(took.output)
        return Load(**{**seen, "statuses": {int(status): count for status, count in seen["statuses"].items()}})

    def cpu_s(self) -> float:
        """Return the processor seconds of its processes that run."""
        ticks = [int(part) for pid in self._pids() for part in _stat(pid)[11:13]]
        return sum(ticks) / os.sysconf("SC_CLK_TCK")

    def peak_mb(self) -> float:
        """Return the most memory that its processes held, each at its own time."""
        return sum(
            int(line.split()[1]) / 1024
            for pid in self._pids()
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if line.startswith("VmHWM")
        )

    def _pids(self) -> list[int]:
        children = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/stat") if _parent(path) == self.pid]
        return [self.pid, *children]


@contextlib.contextmanager
def serving(*options: str) -> Iterator[Running]:
    """Give a service in a process of its own, and end it."""
    process = subprocess.Popen(
        emogram("serve", "--port", "0", "--json", *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=child_environment(OMP_NUM_THREADS="1"),
    )
    assert process.stdout is not None, "it was opened"
    try:
        line = process.stdout.readline()
        if not line:
            raise EmogramError(f"`emogram serve` ended with exit code {process.wait(START_S)}")
        yield Running(urlsplit(json.loads(line)["url"]).port or 80, process.pid)
    finally:
        process.terminate()
        process.wait(START_S)
        process.stdout.close()


def predicted(names: Path, model: str) -> Took:
    """Return what predicting takes once the model is loaded, by as many threads as there are processors."""
    words = [sys.executable, "-m", "benchmarks.predicting", names, model]
    return Took(*json.loads(timed(words, environment={"OMP_NUM_THREADS": "1"}).output))


def _scores(answer: Any) -> dict[str, float]:
    if isinstance(answer, EmogramError):
        raise answer
    return dict(answer.scores)


def _row(load: Load) -> tuple[str, ...]:
    n_away = load.statuses.get(429, 0) + load.statuses.get(503, 0)
    n_failed = sum(count for status, count in load.statuses.items() if status not in (200, 429, 503))
    answered = len(load.seconds)
    waits = (f"{load.quantile_ms(0.5):.1f}", f"{load.quantile_ms(0.99):.1f}")
    return (f"{answered / load.wall_s:.0f}", *waits, f"{answered:,}", f"{n_away:,}", str(n_failed), str(load.wrong))


def _pace_only(runs: Sequence[Took], n_clips: int) -> tuple[str, ...]:
    return (f"{n_clips / min(run.wall_s for run in runs):.0f}", "", "", f"{n_clips:,}", "", "", "")


def _cpu_ms(runs: Sequence[Took], n_clips: int) -> str:
    return figure(1000 * sorted(run.cpu_s for run in runs)[len(runs) // 2] / n_clips)


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name, which may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _parent(path: Path) -> int:
    with contextlib.suppress(OSError):
        return int(_stat(int(path.parent.name))[1])
    return -1

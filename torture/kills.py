"""The door of kills: kill -9 at random moments, then the same command again, and nothing shows of it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from emogram.parallel import child_environment
from torture.disk import OLD, commands, emptied, state
from torture.verdict import Figure, Verdict, equal

SUMMARY = "analyze, spectrograms and score killed at random moments and run again: the output of an uninterrupted run"

KILLED = ("analyze", "spectrograms", "score")
SHORT, LONG = 1, 30  # kills of each command, at least
MOST_IN_A_ROW = 3


def run(*, long: bool, seed: int) -> Verdict:
    """Kill each command with all its processes one to three times in a row, then let it finish, and compare."""
    rng = random.Random(seed)
    faults, n_kills, early = [], 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for command, arguments in commands(folder).items():
            if command not in KILLED:
                continue
            work = emptied(folder / command)
            took_s = _finished(arguments)
            wanted = content(work)
            done = 0
            while done < (LONG if long else SHORT):
                emptied(work)
                for _ in range(rng.randint(1, MOST_IN_A_ROW)):
                    hit = _killed(arguments, after_s=took_s * rng.uniform(0.3, 1.0))
                    early += not hit
                    n_kills += hit
                    done += 1
                    if half := _half(work, wanted):
                        faults.append(f"{command}: half a file after a kill: {half}")
                _finished(arguments)
                if content(work) != wanted:
                    other = [name for name in {*wanted, *content(work)} if wanted.get(name) != content(work).get(name)]
                    faults.append(f"{command}: differs from an uninterrupted run: {other}")
    return Verdict(
        [
            equal("outputs that differ, and half files under a final name", len(faults), 0),
            Figure("kills", f"at least {SHORT}", str(n_kills), n_kills >= SHORT),
        ],
        {"came too late to kill": early},
        faults[:20],
    )


def content(work: Path) -> dict[str, object]:
    """Return what stands under final names, and of tables their rows in order; not what only tells of a run."""
    found: dict[str, object] = {}
    for name, there in state(work).items():
        path = Path(name)
        if any(part.startswith((".", "_")) for part in path.parts):
            continue
        found[name] = _rows(work / name) if path.suffix == ".parquet" else there
    return found


def _rows(path: Path) -> object:
    from pyarrow import parquet

    return parquet.read_table(path).to_pylist()


def _half(work: Path, wanted: dict[str, object]) -> list[str]:
    """Return the files under final names that are neither whole nor what stood there before."""
    before = {name for name, there in state(work).items() if there == OLD.encode()}
    return [name for name, there in content(work).items() if name not in before and there != wanted.get(name)]


def _start(arguments: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "emogram", *arguments],
        env=child_environment(OMP_NUM_THREADS="1", MPLBACKEND="Agg"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _finished(arguments: list[str]) -> float:
    began = time.monotonic()
    code = _start(arguments).wait()
    if code != 0:
        raise RuntimeError(f"{' '.join(arguments)} ends with {code}")
    return time.monotonic() - began


def _killed(arguments: list[str], *, after_s: float) -> bool:
    """Start a command, kill its whole session after a while, and return whether it still ran."""
    process = _start(arguments)
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False

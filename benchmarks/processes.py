"""Whole commands, each in a process of its own: time, memory, and on which cores."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.paired import Side, Took
from emogram.errors import EmogramError

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


def timed(command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None) -> Took:
    """Run a command and return what it took, with what it wrote to stdout.

    Args:
        command: A program by its full path, and its arguments.
        environment: Variables to set beside those of this process.

    Raises:
        EmogramError: It failed.
    """
    words = [str(word) for word in command]
    with tempfile.TemporaryDirectory(prefix="emogram-benchmark-") as folder:
        took = Path(folder) / "took.json"
        launched = subprocess.run(
            [sys.executable, "-S", "-c", _LAUNCHER, str(took), *words],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **(environment or {})},
        )
        if launched.returncode:
            shown = " ".join(["emogram", *words[3:]] if words[1:3] == ["-m", "emogram"] else words)
            raise EmogramError(f"`{shown}` failed: {launched.stderr.strip()[-300:]}")
        # Linux counts in KiB, macOS in bytes.
        wall_s, cpu_s, peak = json.loads(took.read_text(encoding="utf-8"))
        return Took(wall_s, cpu_s, peak / (1024.0 if sys.platform != "darwin" else 1024.0**2), launched.stdout)


def command(words: Sequence[str | Path], *, environment: Mapping[str, str] | None = None) -> Side:
    """Return a side that runs a command; see `timed`."""
    return lambda: timed(words, environment=environment)


def emogram(*arguments: str | Path) -> list[str]:
    """Return the words that run `emogram` with this Python."""
    return [sys.executable, "-m", "emogram", *map(str, arguments)]


@contextlib.contextmanager
def on_cores(n_cores: int) -> Iterator[str]:
    """Keep this process and those it starts on some of its cores where the system can, and say so."""
    said = {1: "on one core", 2: "on two cores"}.get(n_cores, f"on {n_cores} cores")
    if not hasattr(os, "sched_setaffinity"):
        yield f"on all {os.cpu_count()} cores"
        return
    before = os.sched_getaffinity(0)
    if len(before) < n_cores:
        raise EmogramError(f"needs {n_cores} cores, and this process may use {len(before)}")
    # The last ones: systems like to do their own work on the first.
    os.sched_setaffinity(0, sorted(before)[-n_cores:])
    try:
        yield said
    finally:
        os.sched_setaffinity(0, before)

"""Run a function in a child process that may crash, hang or eat memory, and see which of these it did.

The child is `python -m torture.watch MODULE:FUNCTION JSON`: the function is called with what the JSON says and gives
another, which is called with each question, a JSON line on stdin, and whose answer is a JSON line on stdout.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import select
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from emogram.parallel import child_environment

ROOT = Path(__file__).parents[1]
MB = 2**20


@dataclass(frozen=True)
class Seen:
    """What became of one question.

    Attributes:
        value: What the function answered; None where it did not.
        seconds: How long it took; up to the kill, where it hung.
        peak_mb: The most memory that it had resident, above what it had before the first question.
        end: None, "hang", "crash" with the exit code, or "bug" with what was raised, and where.
    """

    value: Any
    seconds: float
    peak_mb: float
    end: str | None = None


class Child:
    """A child process that answers questions; started anew after a crash or a hang. To be used by one thread."""

    def __init__(self, function: str, *, limit_mb: int | None = None, **settings: Any) -> None:
        """Name the function of the child.

        Args:
            function: MODULE:FUNCTION.
            limit_mb: Address space that it may take beyond what it has when it begins; a wall for what runs away.
            settings: What that function is called with.
        """
        self._command = [sys.executable, "-m", "torture.watch", function, json.dumps(settings), str(limit_mb or 0)]
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, question: object, *, limit_s: float) -> Seen:
        """Ask, and wait for the answer no longer than that; the time that a child needs to start does not count."""
        process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        began = time.monotonic()
        process.stdin.write(json.dumps(question).encode() + b"\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], limit_s)[0]:
            self.close()
            return Seen(None, time.monotonic() - began, 0.0, "hang")
        line = process.stdout.readline()
        if not line:
            code = process.wait()
            self.close()
            return Seen(None, time.monotonic() - began, 0.0, f"crash ({code})")
        answer = json.loads(line)
        return Seen(answer.get("value"), time.monotonic() - began, answer["peak_mb"], answer.get("bug"))

    def close(self) -> None:
        """End the child, by force."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                assert stream is not None
                with contextlib.suppress(OSError):
                    stream.close()
            self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=child_environment(OMP_NUM_THREADS="1"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("EMOGRAM_DEBUG") else subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError(f"{' '.join(self._command)} does not start; EMOGRAM_DEBUG=1 shows why")
        return self._process


@contextlib.contextmanager
def child(function: str, **settings: Any) -> Iterator[Child]:
    """Give a `Child`, and end it in the end."""
    one = Child(function, **settings)
    try:
        yield one
    finally:
        one.close()


def resident_mb(key: str = "VmRSS") -> float:
    """Return the resident memory of this process; "VmHWM" the most that it was since `forget_peak`."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024
    raise KeyError(key)


def forget_peak() -> None:
    """Begin to measure the peak anew."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _main(function: str, settings: str, limit_mb: str) -> None:
    # What a C library prints must not stand between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    module, name = function.split(":")
    answer = getattr(importlib.import_module(module), name)(**json.loads(settings))
    gc.collect()
    if int(limit_mb):
        has = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (has + int(limit_mb) * MB,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    before = resident_mb()
    _say(answers, {})
    for line in sys.stdin.buffer:
        forget_peak()
        told: dict[str, Any] = {}
        try:
            told["value"] = answer(json.loads(line))
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            told["bug"] = f"bug ({type(error).__name__}: {error}, {Path(where.filename).name}:{where.lineno})"
        _say(answers, {**told, "peak_mb": round(resident_mb("VmHWM") - before, 1)})


def _say(answers: IO[bytes], value: dict[str, Any]) -> None:
    answers.write(json.dumps(value).encode("ascii") + b"\n")
    answers.flush()


if __name__ == "__main__":
    _main(*sys.argv[1:])

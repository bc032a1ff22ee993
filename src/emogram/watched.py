"""A child process for what may crash, hang or eat all memory, and the parent that watches it.

Requests go to the child's stdin, a line of JSON each. Each answer comes from its stdout: a line of JSON, and then the
bytes of the arrays that this line names. Nothing that a child says is ever unpickled, since what it reads may have
taken it over.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from emogram.parallel import child_environment

Array = npt.NDArray[np.float32] | npt.NDArray[np.float64]

MAX_BYTES = 2**28  # of the line of an answer, and of all its arrays
_TYPES: dict[str, np.dtype[Any]] = {"f4": np.dtype("<f4"), "f8": np.dtype("<f8")}
_LOOK_S = 0.25


class Died(Exception):  # noqa: N818 (for the parent to deal with, and nobody else to see)
    """The child is gone, or says what is no answer."""


class Late(Exception):  # noqa: N818
    """The child did not answer in time."""


class Stopped(Exception):  # noqa: N818
    """The parent does not want the answer any more."""


@dataclass(frozen=True)
class Answer:
    """What a child says.

    Attributes:
        head: Plain values.
        arrays: Name -> array of float32 or float64.
    """

    head: dict[str, Any]
    arrays: dict[str, Array] = field(default_factory=dict)


class Child:
    """The child as its parent sees it; for one thread, but `end` may be called from any."""

    def __init__(self, module: str) -> None:
        """Start `python -m module`, whose `main` makes a `Parent`."""
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `end`)
        # Made when there is something to put there, and deleted here, since the child may not live to do so.
        name = f"{module.replace('.', '-').replace('_', '-')}-{secrets.token_hex(8)}"
        self._folder = os.path.join(tempfile.gettempdir(), name)  # noqa: PTH118
        # One numerical thread, unless the user says otherwise: the children fill the processors by themselves.
        environment = child_environment(OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1"))
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, self._folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the one who started it; when that one goes, so does this
        )
        self._answers: queue.Queue[Answer | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True, name=f"emogram-child-{self._process.pid}").start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def ask(self, value: Any) -> None:
        """Send a request; plain values."""
        stdin = self._process.stdin
        assert stdin is not None, "it was opened"
        with contextlib.suppress(OSError, ValueError):  # whoever waits for the answer sees why
            stdin.write(json.dumps(value).encode("ascii") + b"\n")
            stdin.flush()

    def answer(self, limit_s: float, should_stop: Callable[[], bool] = lambda: False) -> Answer:
        """Wait for the next answer.

        Args:
            limit_s: Longest to wait in seconds.
            should_stop: Is asked several times a second.

        Raises:
            Died: There will be none; the message says why.
            Late: It took too long.
            Stopped: `should_stop` said so.
        """
        until = time.monotonic() + limit_s
        while True:
            try:
                answer = self._answers.get(timeout=max(0.0, min(_LOOK_S, until - time.monotonic())))
            except queue.Empty:
                if should_stop():
                    raise Stopped from None
                if time.monotonic() >= until:
                    raise Late from None
                continue
            if should_stop():
                raise Stopped
            if answer is None:
                raise Died(self._why())
            return answer

    def end(self) -> None:
        """End it, whatever it is doing."""
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
        for stream in (self._process.stdin, self._process.stdout, self._complaints):
            with contextlib.suppress(OSError):
                assert stream is not None, "it was opened"
                stream.close()

    def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None, "it was opened"
        # Closed, cut off in the middle, or no answer at all: it is done with in any case.
        with contextlib.suppress(OSError, ValueError, TypeError, RecursionError, MemoryError):
            while (answer := _read_answer(stdout)) is not None:
                self._answers.put(answer)
        self._answers.put(None)

    def _why(self) -> str:
        try:
            code = self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            return "it closed its output"
        self._complaints.seek(0)
        lines = self._complaints.read().decode("utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"{how}: {last[:200]}" if last else how


class Parent:
    """The parent as its child sees it. Once it is gone, so is the child, even in the middle of a decoder.

    Unless the child is patient: then it does what it was still asked, and `hear` says when that is all.

    Attributes:
        folder: A place for files, which is deleted when the child ends; the child makes it.
    """

    folder: Path

    def __init__(self, *, patient: bool = False) -> None:
        """Take over stdin and stdout; what else would write to stdout goes to stderr."""
        self._patient = patient
        self.folder = Path(sys.argv[1])
        self._answers = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)  # what a C library prints must not stand between the answers
        self._requests: queue.Queue[bytes | None] = queue.Queue()
        threading.Thread(target=self._listen, args=(sys.stdin.buffer,), daemon=True).start()

    def hear(self) -> Any:
        """Wait for the next request and return it.

        Raises:
            EOFError: The parent is gone, and the child is patient.
        """
        line = self._requests.get()
        if line is None:
            raise EOFError("the parent is gone")
        return json.loads(line)

    def say(self, head: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]] | None = None) -> None:
        """Answer with plain values and arrays of float32 or float64."""
        parts = {name: np.ascontiguousarray(values) for name, values in (arrays or {}).items()}
        about = [[name, values.dtype.str[1:], list(values.shape)] for name, values in parts.items()]
        try:
            self._answers.write(json.dumps([head, about]).encode("ascii") + b"\n")
            for values in parts.values():
                self._answers.write(values.tobytes())
            self._answers.flush()
        except BrokenPipeError:
            if not self._patient:
                os._exit(1)

    def _listen(self, stdin: BinaryIO) -> None:
        for line in stdin:
            self._requests.put(line)
        if self._patient:
            self._requests.put(None)
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        os._exit(0)


def _read_answer(stream: Any) -> Answer | None:
    """Read one answer; None where the stream ends before it does."""
    line = stream.readline(MAX_BYTES)
    if not line.endswith(b"\n"):
        return None
    head, about = json.loads(line)
    if not isinstance(head, dict):
        return None
    arrays: dict[str, Array] = {}
    left = MAX_BYTES
    for name, kind, shape in about:
        n_bytes = _TYPES[kind].itemsize if kind in _TYPES else 0
        for length in shape:
            n_bytes *= length if isinstance(length, int) and length >= 0 else 0
        left -= n_bytes
        content = stream.read(n_bytes) if left >= 0 else b""
        if kind not in _TYPES or len(content) != n_bytes:
            return None
        arrays[str(name)] = np.frombuffer(content, _TYPES[kind]).reshape(shape)
    return Answer(head, arrays)

"""A process that scores, watched: it is ended when a file takes too long, and replaced when it dies."""

from __future__ import annotations

import contextlib
import dataclasses
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from emogram.archive.inputs import Input
from emogram.archive.scoring import Answer, failed
from emogram.config import ArchiveConfig
from emogram.errors import EmogramError, ModelError
from emogram.parallel import child_environment

TRIES = (
    2  # a file at which the process dies so often has an error; once may be another's fault, as when memory is short
)
STARTS = 3  # that often a process may die before it has begun
START_S = 300.0  # a first import from a slow disk takes half a minute
_LOOK_S = 0.25


@dataclass(frozen=True)
class Job:
    """What every shard of a run has in common; small, and made of plain values, so that it can be sent anywhere.

    Attributes:
        out: Where the results stand.
        plan: Digest of the plan.
        model: The model as `emogram.load` takes it; must be reachable from every machine that scores.
        model_sha256: Hash of the model, which is checked wherever it is loaded.
        labels: The model's labels in order.
        config: What is said of each input.
        time_limit_s: Longest that one input may take, in seconds.
    """

    out: str
    plan: str
    model: str
    model_sha256: str
    labels: tuple[str, ...]
    config: ArchiveConfig
    time_limit_s: float


class Stopped(Exception):  # noqa: N818 (not an error)
    """Scoring was asked to stop."""


class Scorer:
    """Scores inputs in a process of its own, which it starts when there is work; for one thread."""

    def __init__(self, job: Job, *, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Prepare to score for a job; `should_stop` is asked several times a second."""
        self._job = job
        self._should_stop = should_stop
        self._process: _Process | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def answers(self, inputs: Sequence[Input]) -> Iterator[Answer]:
        """Yield an answer for each input, in order, as `score_input` gives it.

        An input that takes too long, or at which the process dies again and again, has an error as its answer.

        Raises:
            Stopped: `should_stop` said so.
            ModelError: The model is refused, or is another than that of the plan.
            EmogramError: The process does not start.
        """
        place = n_deaths = 0
        while place < len(inputs):
            try:
                process = self._begin(inputs[place:])
                while place < len(inputs):
                    answer = process.answer(self._job.time_limit_s, self._should_stop)
                    n_deaths = 0
                    place += 1
                    yield answer
            except _Late:
                self.close()
                each, limit_s = inputs[place], self._job.time_limit_s
                yield failed(each, "timeout", f"{each.path}: took longer than {limit_s:g} s; see --time-limit")
                place, n_deaths = place + 1, 0
            except _Died as error:
                self.close()
                n_deaths += 1
                if n_deaths == TRIES:
                    each = inputs[place]
                    yield failed(each, "crashed", f"{each.path}: the process that read it died {TRIES} times ({error})")
                    place, n_deaths = place + 1, 0
            except BaseException:
                self.close()  # what it is still working on is not wanted
                raise

    def _begin(self, inputs: Sequence[Input]) -> _Process:
        if self._process is None:
            self._process = self._started()
        self._process.ask([dataclasses.asdict(each) for each in inputs])
        return self._process

    def _started(self) -> _Process:
        """Return a process that has loaded the model and is known to work."""
        for attempt in range(STARTS):
            process = _Process(self._job)
            try:
                first = process.answer(START_S, self._should_stop)
            except (_Died, _Late) as error:
                process.end()
                if attempt == STARTS - 1:
                    why = str(error) or f"no word from it in {START_S:g} s"
                    raise EmogramError(
                        f"the process that scores does not start ({why}); `emogram doctor` may tell more"
                    ) from None
                continue
            except BaseException:
                process.end()
                raise
            if first.get("sha256") == self._job.model_sha256:
                return process
            process.end()
            if "refused" in first:
                raise ModelError(first["refused"])
            raise ModelError(
                f"{self._job.model}: the model here is {first['sha256'][:12]} and the plan was made for "
                f"{self._job.model_sha256[:12]}; give every machine the same model"
            )
        raise AssertionError("the last attempt returned or raised")


class _Died(Exception):  # noqa: N818
    """The process is gone."""


class _Late(Exception):  # noqa: N818
    """The process did not answer in time."""


class _Process:
    def __init__(self, job: Job) -> None:
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `end`)
        # Made when there is something to copy, and deleted here, since the process may not live to do so.
        self._folder = os.path.join(tempfile.gettempdir(), f"emogram-score-{secrets.token_hex(8)}")  # noqa: PTH118
        # One numerical thread, unless the user says otherwise: the processes fill the processors by themselves.
        environment = child_environment(OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1"))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "emogram.archive.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the one who started it; when that one goes, so does this
        )
        self._answers: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.ask({"model": job.model, "settings": job.config.to_dict(), "folder": self._folder})

    def ask(self, value: Any) -> None:
        stdin = self._process.stdin
        assert stdin is not None, "it was opened"
        try:
            stdin.write(json.dumps(value).encode("ascii") + b"\n")
            stdin.flush()
        except OSError:  # whoever waits for the answer sees why
            pass

    def answer(self, limit_s: float, should_stop: Callable[[], bool]) -> dict[str, Any]:
        until = time.monotonic() + limit_s
        while True:
            try:
                line = self._answers.get(timeout=_LOOK_S)
            except queue.Empty:
                if should_stop():
                    raise Stopped from None
                if time.monotonic() > until:
                    raise _Late from None
                continue
            if should_stop():
                raise Stopped
            if not line.endswith(b"\n"):  # "" at the end, or an answer that was cut off
                raise _Died(self._why())
            value: dict[str, Any] = json.loads(line)
            return value

    def end(self) -> None:
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
        with contextlib.suppress(OSError, ValueError):  # closed
            for line in stdout:
                self._answers.put(line)
        self._answers.put(b"")

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

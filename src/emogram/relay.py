"""What jobs elsewhere report, passed on to the reader here."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any, Protocol

from emogram.progress import Progress, Task

STOP_S = 10.0  # for what is still on its way when the jobs are over


class Messages(Protocol):
    """A queue that can be sent to where the jobs are done."""

    def put(self, message: tuple[Any, ...]) -> None:
        """Add a message."""

    def get(self) -> tuple[Any, ...]:
        """Wait for the next message and return it."""
        ...


class Relay(Progress):
    """Sends what a job reports through a queue."""

    def __init__(self, messages: Messages, job: int = 0) -> None:
        """Report as `job`, by which jobs that do the same are told apart."""
        self._messages = messages
        self._job = job

    def of(self, job: int) -> Relay:
        """Return the relay of another job."""
        return Relay(self._messages, job)

    @contextlib.contextmanager
    def task(self, what: str, total: int, *, unit: str = "clips") -> Iterator[Task]:
        """Announce a piece of work of the job."""
        key = (self._job, what)
        self._messages.put(("begin", key, total, unit))
        task = _RelayedTask(self._messages, key)
        try:
            yield task
        finally:
            task.flush()
            self._messages.put(("end", key))

    def say(self, line: str) -> None:
        """Pass on one line."""
        self._messages.put(("say", line))

    def measured(self, name: str, step: int, value: float) -> None:
        """Pass on a figure."""
        self._messages.put(("measured", name, step, value))


class _RelayedTask(Task):
    EVERY_S = 0.5

    def __init__(self, messages: Messages, key: tuple[int, str]) -> None:
        self._messages = messages
        self._key = key
        self._held = 0
        self._sent = 0.0

    def advance(self, steps: int = 1, *, note: str = "") -> None:
        self._held += steps
        if time.monotonic() - self._sent >= self.EVERY_S:
            self.flush(note)

    def flush(self, note: str = "") -> None:
        self._messages.put(("advance", self._key, self._held, note))
        self._held, self._sent = 0, time.monotonic()


@contextlib.contextmanager
def relaying(progress: Progress, messages: Messages) -> Iterator[Relay]:
    """Give a `Progress` that can be sent to where the jobs are done, and passes on to `progress` here."""
    thread = threading.Thread(target=_pass_on, args=(messages, progress), daemon=True)
    thread.start()
    try:
        yield Relay(messages)
    finally:
        messages.put(("stop",))
        thread.join(timeout=STOP_S)


def _pass_on(messages: Messages, progress: Progress) -> None:
    """Replay messages until told to stop; each task of each job is one here."""
    with contextlib.ExitStack() as open_tasks:
        tasks: dict[Any, tuple[contextlib.ExitStack, Task]] = {}
        while (message := messages.get())[0] != "stop":
            kind, *rest = message
            if kind == "say":
                progress.say(rest[0])
            elif kind == "measured":
                progress.measured(*rest)
            elif kind == "begin":
                key, total, unit = rest
                if key in tasks:  # the job died in the middle of it, and is done again
                    tasks.pop(key)[0].close()
                stack = open_tasks.enter_context(contextlib.ExitStack())
                tasks[key] = (stack, stack.enter_context(progress.task(key[1], total, unit=unit)))
            elif kind == "advance" and rest[0] in tasks:
                tasks[rest[0]][1].advance(rest[1], note=rest[2])
            elif kind == "end" and rest[0] in tasks:
                tasks.pop(rest[0])[0].close()

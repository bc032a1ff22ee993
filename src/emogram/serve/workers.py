"""The processes that decode for a service, watched: one that is late, dies or eats too much is ended and replaced."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from emogram.classifier import Classifier
from emogram.config import ServeConfig
from emogram.errors import EmogramError, InputError
from emogram.parallel import worker_count
from emogram.serve.problems import Problem
from emogram.serve.tasks import describe
from emogram.watched import Answer, Child, Died, Late, Stopped

START_S = 300.0  # a first import from a slow disk takes half a minute
STARTS = 3  # that often a process may die before it has begun
COMING_S = 1.0  # so long a place is kept for a clip that is on its way: longer, and slow clients could take them all
OVERRUN_SHARE = 0.5  # turned away, of what could be done: more than that is no burst, and waiting gets nobody anywhere
OVERRUN_S = 1.0  # of which time
MAX_IDLE_SHARE = 1 / 6  # overrun, processes may wait so much of their time for a clip, so that no clip waits for them
GRACE_S = 1.0  # what nobody waits for any more is let finish so long: a new process costs half a second

_LOG = logging.getLogger("emogram.serve")

Lane = Literal["clip", "view"]


class Workers:
    """Two sets of processes, so that a look at a long recording never stands in the way of a clip.

    Attributes:
        counts: How often which end came: "timeout", "crashed", "memory", "abandoned".
    """

    counts: Counter[str]

    def __init__(self, models: Sequence[Classifier], config: ServeConfig) -> None:
        """Prepare; `start` starts the first processes."""
        self.counts = Counter()
        job = {
            "memory_mb": config.worker_memory_mb,
            "models": {each.info.model_id: describe(each) for each in models},
        }
        n_clips = worker_count(config.workers)
        self._lanes: dict[Lane, _Lane] = {
            "clip": _Lane("clip", n_clips, job, config, self.counts),
            "view": _Lane("view", max(1, n_clips // 2), job, config, self.counts),
        }

    async def start(self) -> None:
        """Start the processes for clips; those for views start with the first of them.

        Raises:
            EmogramError: They do not start.
        """
        await self._lanes["clip"].start()

    async def stop(self) -> None:
        """End all processes, whatever they are doing."""
        await asyncio.gather(*(asyncio.to_thread(lane.stop) for lane in self._lanes.values()))

    async def call(self, task: str, values: dict[str, Any], *, limit_s: float, lane: Lane = "clip") -> Answer:
        """Have a task done.

        Cancelled, it leaves the process what it does for another `GRACE_S`, and then ends it.

        Args:
            task: A name of `tasks.TASKS`.
            values: Plain values for it.
            limit_s: Longest that it may take in seconds, once a process begins with it.
            lane: Whose processes do it.

        Raises:
            Problem: Too many wait already ("busy").
            InputError: It took too long ("timeout"), the process died ("crashed") or ran out of memory ("memory").
            EmogramError: What the task itself raised, with its code.
        """
        return await self._lanes[lane].call(task, values, limit_s)

    def check_room(self, lane: Lane = "clip") -> None:
        """See whether a call would be taken now.

        Raises:
            Problem: Too many wait already ("busy").
        """
        self._lanes[lane].check_room()

    @contextlib.contextmanager
    def coming(self) -> Iterator[None]:
        """Keep a place for a clip that is on its way; one that takes long loses it, and may find none."""
        with self._lanes["clip"].coming():
            yield

    def n_waiting(self, lane: Lane = "clip") -> int:
        """Return how many calls wait for a process."""
        return self._lanes[lane].n_waiting

    def n_bytes(self) -> int:
        """Return how much memory the processes hold; 0 where the system does not tell."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError, IndexError, ValueError):
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return total

    def pids(self) -> list[int]:
        """Return the ids of the processes that run."""
        return [pid for lane in self._lanes.values() for pid in lane.pids()]


class _Lane:
    """So many processes, and a thread for each that waits for its answers."""

    def __init__(self, name: str, n: int, job: dict[str, Any], config: ServeConfig, counts: Counter[str]) -> None:
        self._n = n
        self._max_waiting, self._max_wait_s = config.max_queue, config.max_queue_s
        self._n_inside = 0  # waiting or being done
        self._n_coming = 0
        self._mean_s = 0.1  # of late; for those who are told to come again
        self._refusals = Fading(OVERRUN_S)
        self._slots = [_Slot(job, counts) for _ in range(n)]
        self._idle: queue.SimpleQueue[_Slot] = queue.SimpleQueue()
        for slot in self._slots:
            self._idle.put(slot)
        self._pool = ThreadPoolExecutor(n, thread_name_prefix=f"emogram-{name}")

    async def start(self) -> None:
        await asyncio.gather(*(asyncio.to_thread(slot.start) for slot in self._slots))

    def stop(self) -> None:
        for slot in self._slots:
            slot.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for slot in self._slots:
            slot.end()

    @property
    def n_waiting(self) -> int:
        return max(0, self._n_inside - self._n)

    def check_room(self) -> None:
        wait_s = self._mean_s * (self._n_inside + self._n_coming) / self._n
        n_waiting = self._n_inside + self._n_coming - self._n
        most = self._max_waiting
        refused = self._refusals.per_second() * self._mean_s / self._n  # of what could be done
        if refused > OVERRUN_SHARE:
            # A process that is done gets its next clip from those who ask anyway, after this share of a clip's time.
            idle_share = 1 / (self._n * (1 + refused))
            most = min(most, max(1, self._n // 2) if idle_share > MAX_IDLE_SHARE else 0)
        # However long it takes, one may wait: else a slow file would keep out those that would show it was the file.
        if n_waiting >= most or (n_waiting > 0 and wait_s > self._max_wait_s):
            self._refusals.add()
            raise Problem("busy", "too much is asked at once; come again", retry_after_s=wait_s)

    @contextlib.contextmanager
    def coming(self) -> Iterator[None]:
        is_counted = True
        self._n_coming += 1

        def leave() -> None:
            nonlocal is_counted
            self._n_coming -= is_counted
            is_counted = False

        timer = asyncio.get_running_loop().call_later(COMING_S, leave)
        try:
            yield
        finally:
            timer.cancel()
            leave()

    def pids(self) -> list[int]:
        return [slot.child.pid for slot in self._slots if slot.child is not None]

    async def call(self, task: str, values: dict[str, Any], limit_s: float) -> Answer:
        self.check_room()
        given_up = threading.Event()
        future = self._pool.submit(self._do, task, values, limit_s, given_up)
        self._n_inside += 1
        loop = asyncio.get_running_loop()

        def leave(_: Future[Answer]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._leave)

        future.add_done_callback(leave)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            given_up.set()
            raise

    def _leave(self) -> None:
        self._n_inside -= 1

    def _do(self, task: str, values: dict[str, Any], limit_s: float, given_up: threading.Event) -> Answer:
        slot = self._idle.get()  # there are as many as threads
        begun = time.monotonic()
        try:
            return slot.do(task, values, limit_s, given_up)
        finally:
            self._mean_s += 0.1 * (time.monotonic() - begun - self._mean_s)
            self._idle.put(slot)


class Fading:
    """Counts what happens, and forgets it: after each `span_s` seconds, 37 % of it are left."""

    def __init__(self, span_s: float) -> None:
        """Begin with nothing."""
        self._span_s = span_s
        self._n = 0.0
        self._at = time.monotonic()

    def add(self) -> None:
        """Count one more."""
        self._n = self._left() + 1.0

    def per_second(self) -> float:
        """Return how many there were each second of late."""
        return self._left() / self._span_s

    def _left(self) -> float:
        now = time.monotonic()
        self._n *= math.exp((self._at - now) / self._span_s)
        self._at = now
        return self._n


class _Slot:
    """One process at a time; for one thread at a time, but `stop` and `end` may be called from any."""

    def __init__(self, job: dict[str, Any], counts: Counter[str]) -> None:
        self._job = job
        self._counts = counts
        self._stopped = threading.Event()
        self.child: Child | None = None

    def start(self) -> Child:
        """Return a process that is known to work."""
        if self.child is not None and self.child.is_alive:
            return self.child
        self.end()  # the system may have ended it while it had nothing to do, which is no fault of the next file
        for attempt in range(STARTS):
            child = Child("emogram.serve.child")
            try:
                child.ask(self._job)
                child.answer(START_S, self._stopped.is_set)
            except (Died, Late) as error:
                child.end()
                if attempt == STARTS - 1:
                    why = str(error) or f"no word from it in {START_S:g} s"
                    raise EmogramError(f"a process that decodes does not start ({why})") from None
            except BaseException:
                child.end()
                raise
            else:
                self.child = child
                return child
        raise AssertionError("the last attempt returned or raised")

    def do(self, task: str, values: dict[str, Any], limit_s: float, given_up: threading.Event) -> Answer:
        """Have a task done; see `Workers.call`."""
        name = values.get("name", task)
        seen_at: list[float] = []

        def is_unwanted() -> bool:
            if given_up.is_set():
                seen_at.append(time.monotonic())
            return self._stopped.is_set() or bool(seen_at and seen_at[-1] - seen_at[0] > GRACE_S)

        try:
            child = self.start()
            child.ask({"task": task, "values": values})
            answer = child.answer(limit_s, is_unwanted)
        except Stopped:
            self._ended("abandoned")
            raise Problem("draining", "the service ended before this was done", retry_after_s=5.0) from None
        except Late:
            self._ended("timeout")
            raise InputError(f"{name}: took longer than {limit_s:g} s", code="timeout") from None
        except Died as error:
            self._ended("crashed")
            _LOG.warning("task %s: the process died (%s)", task, error)  # its last words are not for strangers
            raise InputError(f"{name}: the process that read it died", code="crashed") from None
        if "error" not in answer.head:
            return Answer(answer.head["answer"], answer.arrays)
        code, message = answer.head["error"]["code"], answer.head["error"]["message"]
        if code == "memory":
            self._ended("memory")  # what is left of it is in pieces
            raise InputError(f"{name}: {message}", code=code)
        if code == "unexpected":  # a library choked on this file, or there is a bug of ours
            _LOG.warning("task %s: %s", task, message)
            message = f"{name}: cannot be read"
        raise Problem(code, message)

    def stop(self) -> None:
        """Let whoever waits for the process wait no longer."""
        self._stopped.set()

    def end(self) -> None:
        """End the process."""
        child, self.child = self.child, None
        if child is not None:
            child.end()

    def _ended(self, how: str) -> None:
        self._counts[how] += 1
        self.end()

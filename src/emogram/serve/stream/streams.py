"""All live streams of a service: how many there are, and the threads that they share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from emogram.config import ServeConfig
from emogram.parallel import worker_count
from emogram.serve.problems import Problem

Result = TypeVar("Result")


class Streams:
    """Lets streams take turns: each has at most one piece of its sound in a queue that all share.

    So a stream that sends faster than real time gets what the others leave, and clips keep half of the processors.

    Attributes:
        n_open: Streams that are open.
    """

    n_open: int

    def __init__(self, config: ServeConfig) -> None:
        """Prepare; `start` starts the threads."""
        self.n_open = 0
        self._max_open = config.max_streams
        self._pool: ThreadPoolExecutor | None = None

    async def start(self) -> None:
        """Start the threads."""
        self._pool = ThreadPoolExecutor(max(1, worker_count() // 2), thread_name_prefix="emogram-stream")

    async def stop(self) -> None:
        """End the threads once they have done what they are at."""
        if self._pool is not None:
            await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for a stream.

        Raises:
            Problem: All are taken ("busy").
        """
        if self.n_open >= self._max_open:
            raise Problem("busy", f"all {self._max_open} live streams are in use; come again", retry_after_s=5.0)
        self.n_open += 1
        try:
            yield
        finally:
            self.n_open -= 1

    async def turn(self, work: Callable[[], Result]) -> Result:
        """Do a piece of work when it is this stream's turn."""
        assert self._pool is not None, "start comes first"
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

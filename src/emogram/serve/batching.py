"""Clips that arrive together are scored together, in one run of the network where they are of one length.

Measured with the shipped model on two cores: the network takes 0.8 ms for a clip by itself and 0.65 ms in a run of four
or more of one length; reading, the spectrogram and looking for speech take 5 to 6 ms. So waiting for others pays little
here, and by default no clip waits while a thread is free; those that find none free form the next run. Networks that
are larger, or run where a call costs more, gain more from `max_wait_ms`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from emogram.classifier import Classifier, Heard
from emogram.config import ServeConfig
from emogram.parallel import worker_count
from emogram.records import Prediction


@dataclass(frozen=True)
class _Waiting:
    classifier: Classifier
    clip: Heard
    answer: asyncio.Future[Prediction]

    @property
    def kind(self) -> tuple[object, ...]:
        """What clips must have in common to be scored in one run."""
        return (id(self.classifier), *((name, values.shape) for name, values in self.clip.inputs.items()))


class Batcher:
    """Scores the clips of all requests, with a thread for each processor."""

    def __init__(self, config: ServeConfig, *, told: Callable[[int], None] = lambda n_clips: None) -> None:
        """Prepare; `told` is called with the number of clips of each run."""
        self._max_batch, self._max_wait_s = config.max_batch, config.max_wait_ms / 1000
        self._told = told
        self._n_threads = worker_count(config.workers)
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._free = asyncio.Semaphore(self._n_threads)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to score."""
        self._pool = ThreadPoolExecutor(self._n_threads, thread_name_prefix="emogram-score")
        self._task = asyncio.create_task(self._collect())

    async def stop(self) -> None:
        """End; what waits is given up."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    @property
    def n_waiting(self) -> int:
        """Number of clips that no thread has taken yet."""
        return self._waiting.qsize()

    async def answer(self, classifier: Classifier, clip: Heard) -> Prediction:
        """Tell the emotion of a clip, as `Classifier.answers` does.

        Raises:
            ModelError: The model gives no probabilities.
        """
        future: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait(_Waiting(classifier, clip, future))
        return await future

    async def _collect(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._free.acquire()
            batch = [await self._waiting.get()]
            until = loop.time() + self._max_wait_s
            while len(batch) < self._max_batch:
                if self._waiting.empty():
                    try:
                        async with asyncio.timeout_at(until):
                            batch.append(await self._waiting.get())
                    except TimeoutError:
                        break
                else:
                    batch.append(self._waiting.get_nowait())
            wanted = [each for each in batch if not each.answer.cancelled()]  # whoever asked may be gone
            loop.run_in_executor(self._pool, self._score, wanted, loop)

    def _score(self, batch: Sequence[_Waiting], loop: asyncio.AbstractEventLoop) -> None:
        groups: dict[tuple[object, ...], list[_Waiting]] = {}
        for each in batch:
            groups.setdefault(each.kind, []).append(each)
        outcomes: list[tuple[_Waiting, Prediction | Exception]] = []
        for group in groups.values():
            outcomes += _outcomes(group)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._tell, outcomes, [len(group) for group in groups.values()])

    def _tell(self, outcomes: Sequence[tuple[_Waiting, Prediction | Exception]], sizes: Sequence[int]) -> None:
        self._free.release()
        for size in sizes:
            self._told(size)
        for each, outcome in outcomes:
            if each.answer.done():
                continue
            if isinstance(outcome, Exception):
                each.answer.set_exception(outcome)
            else:
                each.answer.set_result(outcome)


def _outcomes(group: Sequence[_Waiting]) -> list[tuple[_Waiting, Prediction | Exception]]:
    try:
        answers = group[0].classifier.answers([each.clip for each in group])
    except Exception as error:  # not even a bug may leave anybody waiting
        return [(each, error) for each in group]
    return list(zip(group, answers, strict=True))

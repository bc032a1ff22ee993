"""The engine of one machine: a few processes that score, each watched by a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Sequence

from emogram.archive.plan import Plan
from emogram.archive.scorer import Job, Scorer
from emogram.archive.shards import ShardDone, score_shard
from emogram.parallel import worker_count
from emogram.watched import Stopped

_LOOK_S = 0.25  # an interrupt must not wait for a shard


def run_shards(
    job: Job,
    plan: Plan,
    todo: Sequence[int],
    *,
    workers: int | None = None,
    tell: Callable[[float], None] = lambda sound_s: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Generator[ShardDone, None, None]:
    """Score shards and yield each as soon as it is committed, in any order. To be closed, which ends what still runs.

    Args:
        job: What they are a part of.
        plan: Has the shards.
        todo: Numbers of those to score.
        workers: Number of processes; by default one for each processor.
        tell: Is told of each input that is done, with the seconds of sound in it; called from several threads.
        should_stop: Is asked several times a second; once it says yes, no more is yielded.

    Raises:
        EmogramError: What `score_shard` raises, the first of all.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for index in todo:
        waiting.put(index)
    ended = threading.Event()
    outcomes: queue.SimpleQueue[ShardDone | BaseException | None] = queue.SimpleQueue()

    def work() -> None:
        try:
            with Scorer(job, should_stop=lambda: ended.is_set() or should_stop()) as scorer:
                while not ended.is_set():
                    try:
                        index = waiting.get_nowait()
                    except queue.Empty:
                        break
                    outcomes.put(score_shard(job, plan.shard(index), scorer=scorer, tell=tell))
        except Stopped:
            pass
        except BaseException as error:  # raised again by whoever waits for the outcomes
            outcomes.put(error)
        outcomes.put(None)

    threads = [
        threading.Thread(target=work, name=f"emogram-score-{number}", daemon=True)
        for number in range(min(worker_count(workers), len(todo)))
    ]
    try:
        for thread in threads:
            thread.start()
        n_working = len(threads)
        while n_working:
            try:
                outcome = outcomes.get(timeout=_LOOK_S)
            except queue.Empty:
                continue
            if isinstance(outcome, ShardDone):
                yield outcome
            elif outcome is None:
                n_working -= 1
            else:
                raise outcome
    finally:
        ended.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()

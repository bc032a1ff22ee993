"""The engine of a cluster: a task of Ray for each shard, and one process that scores kept by each of Ray's workers.

Plain tasks, not Ray Data: what has to be done exactly once is a shard, and its marker in OUT says so whatever becomes
of tasks, workers and drivers. Rows go from the worker straight to OUT; through the cluster go names and a few numbers.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator, Sequence

from emogram.archive.plan import Plan, Shard
from emogram.archive.scorer import Job, Scorer
from emogram.archive.shards import ShardDone, score_shard
from emogram.cluster import map_on_cluster
from emogram.errors import EmogramError
from emogram.progress import SILENT, Progress


def run_shards(
    job: Job,
    plan: Plan,
    todo: Sequence[int],
    *,
    address: str | None = None,
    workers: int | None = None,
    tell: Callable[[float], None] = lambda sound_s: None,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Progress = SILENT,
) -> Generator[ShardDone, None, None]:
    """Score shards and yield each after it is committed, in any order. To be closed, which ends what still runs.

    Args:
        job: What they are a part of; its model and its results must be reachable from every machine.
        plan: Has the shards.
        todo: Numbers of those to score.
        address: Of the cluster; see `cluster.connected`.
        workers: Most shards at once; by default as many as the cluster has processors.
        tell: Is told of each input of a committed shard, with its share of the seconds of sound.
        should_stop: Is asked several times a second; once it says yes, no more is yielded.
        progress: Is told of workers that were lost.

    Raises:
        MissingExtraError: Ray is not installed.
        SettingsError: There is no such cluster.
        EmogramError: What `score_shard` raises, the first of all; or a worker was lost again and again.
    """
    shards = (plan.shard(index) for index in todo)
    outcomes = map_on_cluster(
        functools.partial(_score, job),
        shards,
        address=address,
        workers=workers,
        should_stop=should_stop,
        progress=progress,
    )
    with contextlib.closing(outcomes):
        for _, outcome in outcomes:
            if isinstance(outcome, EmogramError):
                raise outcome
            for _ in range(outcome.n_inputs):
                tell(outcome.sound_s / outcome.n_inputs)
            yield outcome


def _score(job: Job, shard: Shard) -> ShardDone:
    return score_shard(job, shard, scorer=_scorer(job))


@functools.lru_cache(maxsize=1)
def _scorer(job: Job) -> Scorer:
    """Return the process that scores of this worker, which ends with it; it has loaded the model once."""
    return Scorer(job)

"""Where trainings and other jobs of minutes are done: in processes of this machine, or on a Ray cluster.

An engine is one function, which takes what `local` takes.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

from emogram.cluster import AHEAD, cluster_messages, connected, map_on_cluster
from emogram.errors import SettingsError
from emogram.nearby import unknown
from emogram.parallel import map_parallel, worker_count
from emogram.progress import Progress
from emogram.relay import Relay, relaying

ENGINES = ("local", "ray")
FEW_JOBS = 2  # fewer than this run in this process

Outcomes = Generator[tuple[int, Any], None, None]


class Engine(Protocol):
    """Does jobs, and yields the place of each with its result, or the `EmogramError` that it raised."""

    def __call__(
        self, function: Callable[[Progress, Any], Any], todo: Iterable[Any], *, jobs: int | None, progress: Progress
    ) -> Outcomes:
        """Yield what comes of each job, in any order; see `local`."""
        ...


def check_engine(name: str, address: str | None = None) -> None:
    """Refuse an engine that there is not, and an address for one that has none.

    Raises:
        SettingsError: That is so.
    """
    if name not in ENGINES:
        raise SettingsError(unknown("engine", name, ENGINES))
    if address is not None and name != "ray":
        raise SettingsError("an address is that of a Ray cluster; say --engine ray as well")


def engine_named(name: str, address: str | None = None) -> Engine:
    """Return the engine of a name; `address` is that of a Ray cluster.

    Raises:
        SettingsError: There is no such engine, or it has no address.
    """
    check_engine(name, address)
    return partial(on_ray, address=address) if name == "ray" else local


def local(
    function: Callable[[Progress, Any], Any], todo: Iterable[Any], *, jobs: int | None, progress: Progress
) -> Outcomes:
    """Do jobs in processes of this machine. To be closed, which ends what still runs.

    Args:
        function: Does a job, and tells the `Progress` it is given; importable.
        todo: The jobs; those that are no sequence, which may depend on what came of others, are taken one by one as
            there is room for them.
        jobs: Number of jobs at once; by default one for each processor.
        progress: Is told what each job tells.
    """
    with contextlib.ExitStack() as stack:
        if worker_count(jobs) == 1 or (isinstance(todo, Sequence) and len(todo) < FEW_JOBS):
            each: Callable[[tuple[int, Any]], Any] = partial(_do, function, progress)
        else:
            manager = stack.enter_context(multiprocessing.get_context("spawn").Manager())
            each = partial(_do, function, stack.enter_context(relaying(progress, manager.Queue())))
        numbered = list(enumerate(todo)) if isinstance(todo, Sequence) else enumerate(todo)
        mapped = map_parallel(each, numbered, workers=jobs, few=FEW_JOBS, patient=False)
        yield from stack.enter_context(contextlib.closing(mapped))


def on_ray(
    function: Callable[[Progress, Any], Any],
    todo: Iterable[Any],
    *,
    jobs: int | None,
    progress: Progress,
    address: str | None = None,
) -> Outcomes:
    """Do jobs on a Ray cluster, and again where a worker was lost; otherwise as `local`.

    Args:
        function: Does a job, and tells the `Progress` it is given; fit to be begun anew.
        todo: The jobs.
        jobs: Most jobs at once; by default as the cluster has processors.
        progress: Is told what each job tells.
        address: Of the cluster; see `cluster.connected`.
    """
    with (
        connected(address) as ray,
        cluster_messages(ray) as messages,
        relaying(progress, messages) as relay,
        contextlib.closing(
            map_on_cluster(
                partial(_do, function, relay),
                enumerate(todo),
                workers=jobs,
                ahead=AHEAD if isinstance(todo, Sequence) else 1,
                progress=progress,
            )
        ) as outcomes,
    ):
        yield from outcomes


def _do(function: Callable[[Progress, Any], Any], progress: Progress, numbered: tuple[int, Any]) -> Any:
    number, job = numbered
    return function(progress.of(number) if isinstance(progress, Relay) else progress, job)

"""The same function over many items in several processes, with errors kept apart from results."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeVar

from emogram.errors import EmogramError

Item = TypeVar("Item")
Result = TypeVar("Result")

# Starting processes costs about as much as this many clips, so fewer are done in this process.
FEW = 32
_AHEAD = 4  # bunches that lie ready for each process
# Items that travel together: what a process sends for each costs its parent 0.4 ms, a fifth of what a clip takes.
_MOST_IN_BUNCH = 8


def worker_count(workers: int | None = None) -> int:
    """Return how many processes to use: `workers`, or the processors that this process may run on."""
    if workers is not None:
        return max(1, workers)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def child_environment(**variables: str) -> dict[str, str]:
    """Return the environment for a Python process that is to import this package, whatever its folder.

    Args:
        variables: What it is to have besides, and before what stands here.
    """
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, **variables, "PYTHONPATH": os.pathsep.join(paths)}


def map_parallel(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int | None = None,
    few: int = FEW,
    patient: bool = True,
) -> Generator[tuple[int, Result | EmogramError], None, None]:
    """Yield `(index, function(items[index]))` as they become ready, in any order.

    An `EmogramError` raised for an item is yielded in place of its result; any other exception is a bug and is raised.
    `function` must be importable (defined at the top of a module, or a `functools.partial` of such).

    Args:
        function: What to do with each item.
        items: The items. Of those that are no sequence, which may depend on the results before, no more are taken than
            are worked on at once.
        workers: Number of processes; by default one for each processor.
        few: A sequence of fewer items than this is done in this process.
        patient: Whether to wait, when the caller stops early, for the items that are being worked on. False for work
            of minutes: its processes are ended.

    Raises:
        EmogramError: A worker process was killed.
    """
    n_items = len(items) if isinstance(items, Sequence) else None
    n_workers = worker_count(workers) if n_items is None else min(worker_count(workers), n_items)
    ahead = 1 if n_items is None else _AHEAD
    if n_workers <= 1 or (n_items is not None and n_items < few):
        for index, item in enumerate(items):
            yield index, _guarded(function, item)
        return
    # Not fork: the parent may hold threads of numerical libraries.
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    n_together = 1
    if n_items is not None and patient:
        n_together = min(_MOST_IN_BUNCH, max(1, n_items // (4 * _AHEAD * n_workers)))
        # What is loaded once and then forked; heeded by the first that starts workers.
        context.set_forkserver_preload(["__main__", getattr(function, "func", function).__module__])
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(n_workers, mp_context=context, initializer=_ignore_interrupt)
    finished = False
    try:
        waiting: dict[Future[list[Result | EmogramError]], int] = {}
        bunches = _bunches(items, n_together)
        n_taken = 0
        exhausted = False
        while waiting or not exhausted:
            while not exhausted and len(waiting) < ahead * n_workers:
                bunch = next(bunches, None)
                if bunch is None:
                    exhausted = True
                    break
                with _for_workers():
                    waiting[pool.submit(_guarded_all, function, bunch)] = n_taken
                n_taken += len(bunch)
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield from enumerate(future.result(), waiting.pop(future))
        finished = True
    except BrokenProcessPool:
        raise EmogramError(
            "a worker process ended unexpectedly, perhaps for want of memory; use fewer workers, or one to see why "
            "(in a script of your own, call this below `if __name__ == '__main__':`)"
        ) from None
    finally:
        if not finished and not patient:
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


def _guarded(function: Callable[[Item], Result], item: Item) -> Result | EmogramError:
    try:
        return function(item)
    except EmogramError as error:
        return error


def _guarded_all(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result | EmogramError]:
    return [_guarded(function, item) for item in items]


def _bunches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    taken = iter(items)
    while bunch := list(itertools.islice(taken, size)):
        yield bunch


@contextlib.contextmanager
def _for_workers() -> Iterator[None]:
    """Set what processes inherit when they start, and take it back.

    One numerical thread each, unless the user says otherwise: the workers fill the processors by themselves, and the
    threads that a BLAS adds only wait for each other (the log-mel of a clip costs twice the processor time). And no
    interrupt before `_ignore_interrupt` is there to ignore it.
    """
    chosen = "OMP_NUM_THREADS" in os.environ
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if os.name == "posix" else None
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        yield
    finally:
        if not chosen:
            del os.environ["OMP_NUM_THREADS"]
        if blocked is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _ignore_interrupt() -> None:
    # Ctrl-C reaches the whole process group; the parent alone decides what to do with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

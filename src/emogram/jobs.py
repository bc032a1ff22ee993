"""Several trainings side by side, none done twice: what cross-validation and the corpora's matrix share."""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from emogram.bundle import open_bundle
from emogram.config import RunConfig, read_toml
from emogram.corpora import Corpus
from emogram.dataset import Dataset
from emogram.errors import EmogramError
from emogram.judging import read_probabilities
from emogram.lineage import Lineage
from emogram.parallel import map_parallel, worker_count
from emogram.progress import Progress, Task
from emogram.records import Clip
from emogram.splits import Split
from emogram.train import CONFIG_FILE, TrainResult, describe_model, train

FEW_JOBS = 2  # fewer trainings than this run in this process

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_jobs(
    function: Callable[[Progress, Job], Result],
    todo: Sequence[Job],
    *,
    what: str,
    unit: str,
    jobs: int | None,
    progress: Progress,
) -> Generator[tuple[Job, Result], None, None]:
    """Yield each job with its result as it becomes ready, in any order. To be closed, which ends what still runs.

    Args:
        function: Does a job of minutes, such as a training, and tells the `Progress` it is given; importable.
        todo: The jobs.
        what: What is being done, for the reader.
        unit: What the jobs are.
        jobs: Number of jobs at once, each on one processor thread; by default one for each processor.
        progress: Is told how far all of it is, and each job.

    Raises:
        EmogramError: The first that a job raised.
    """
    alone = worker_count(jobs) == 1 or len(todo) < FEW_JOBS
    with (
        progress.task(what, len(todo), unit=unit) as task,
        contextlib.nullcontext(progress) if alone else relaying(progress) as relay,
        contextlib.closing(
            map_parallel(partial(function, relay), todo, workers=jobs, few=FEW_JOBS, patient=False)
        ) as outcomes,
    ):
        for index, outcome in outcomes:
            if isinstance(outcome, EmogramError):
                raise outcome
            task.advance()
            yield todo[index], outcome


def train_whole(corpus: Corpus, config: RunConfig, out: Path, *, cache: Path | None, progress: Progress) -> TrainResult:
    """Train in this process; one that Ctrl-C ended early does not count as done, and the interrupt goes on."""
    result = train(corpus, config, out, cache=cache, workers=1, progress=progress)
    if result.interrupted:
        (out / CONFIG_FILE).unlink(missing_ok=True)
        raise KeyboardInterrupt
    return result


def is_trained(
    out: Path, corpus: Corpus, dataset: Dataset, split: Split, config: RunConfig, *, lineage: Lineage
) -> bool:
    """Tell whether a run folder holds this training, finished and judged, of the same settings on the same clips."""
    try:
        if RunConfig.from_dict(read_toml(out / CONFIG_FILE)) != config:
            return False
        info = open_bundle(out).info
        read_probabilities(out, judged_clips(dataset, split), dataset.labels)
    except EmogramError:
        return False
    now = describe_model(corpus, dataset, split, config, lineage=lineage)
    # Metrics are written into the bundle last of all.
    return bool(info.metrics) and all(
        getattr(info, name) == getattr(now, name) for name in ("trained_on", "init", "teachers", "split")
    )


def judged_clips(dataset: Dataset, split: Split) -> list[Clip]:
    """Return the clips that a training is judged on, in the order of its `predictions.csv`."""
    return [dataset.clips[index] for index in split.judging()[1]]


class _Relay(Progress):
    """Sends what a job in another process reports to this one, through a queue."""

    def __init__(self, messages: Any) -> None:
        self._messages = messages

    @contextlib.contextmanager
    def task(self, what: str, total: int, *, unit: str = "clips") -> Iterator[Task]:
        key = (multiprocessing.current_process().name, what)
        self._messages.put(("begin", key, total, unit))
        task = _RelayedTask(self._messages, key)
        try:
            yield task
        finally:
            task.flush()
            self._messages.put(("end", key))

    def say(self, line: str) -> None:
        self._messages.put(("say", line))


class _RelayedTask(Task):
    EVERY_S = 0.5

    def __init__(self, messages: Any, key: tuple[str, str]) -> None:
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
def relaying(progress: Progress) -> Iterator[Progress]:
    """Give a `Progress` that can be sent to other processes and passes on to `progress` in this one."""
    with multiprocessing.get_context("spawn").Manager() as manager:
        messages = manager.Queue()
        thread = threading.Thread(target=_pass_on, args=(messages, progress), daemon=True)
        thread.start()
        try:
            yield _Relay(messages)
        finally:
            messages.put(("stop",))
            thread.join(timeout=10)


def _pass_on(messages: queue.Queue[tuple[Any, ...]], progress: Progress) -> None:
    """Replay messages until told to stop; each task of each process is one here."""
    with contextlib.ExitStack() as open_tasks:
        tasks: dict[Any, tuple[contextlib.ExitStack, Task]] = {}
        while (message := messages.get())[0] != "stop":
            kind, *rest = message
            if kind == "say":
                progress.say(rest[0])
            elif kind == "begin":
                key, total, unit = rest
                stack = open_tasks.enter_context(contextlib.ExitStack())
                tasks[key] = (stack, stack.enter_context(progress.task(key[1], total, unit=unit)))
            elif kind == "advance" and rest[0] in tasks:
                tasks[rest[0]][1].advance(rest[1], note=rest[2])
            elif kind == "end" and rest[0] in tasks:
                tasks.pop(rest[0])[0].close()

"""All folds of a protocol, pooled: the figure that counts."""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from emogram.bundle import open_bundle
from emogram.config import RunConfig, read_toml
from emogram.corpora import Corpus
from emogram.dataset import Dataset, load_dataset
from emogram.errors import EmogramError
from emogram.files import write_json
from emogram.judging import METRICS_FILE, judge_clips, read_probabilities
from emogram.parallel import map_parallel, worker_count
from emogram.progress import SILENT, Progress, Task
from emogram.protocols import Protocol, find_protocol
from emogram.records import Clip, Report
from emogram.splits import Split, make_split, says_training_only
from emogram.train import CONFIG_FILE, describe_model, fit_to_corpus, train

FEW_JOBS = 2  # fewer trainings than this run in this process


@dataclass(frozen=True)
class CrossvalResult:
    """What a cross-validation gave.

    Attributes:
        report: All test folds pooled, of the first seed.
        per_seed: The pooled report of each seed.
        mean_uar: Mean over seeds of the pooled UAR.
        std_uar: Standard deviation over seeds (n - 1), 0 for one seed.
        out: Folder: `metrics.json`, `predictions.csv`, `plots/` and a run folder for each seed and fold.
        failed: Clips that could not be used, and why.
        warnings: What the reader should know.
        seconds: How long it took.
    """

    report: Report
    per_seed: tuple[Report, ...]
    mean_uar: float
    std_uar: float
    out: Path
    failed: tuple[tuple[Clip, str], ...]
    warnings: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class _Job:
    """One training: a seed and a fold."""

    seed: int
    fold: int

    @property
    def name(self) -> str:
        return f"seed-{self.seed}/fold-{self.fold}"

    def settings(self, config: RunConfig, protocol: Protocol) -> RunConfig:
        split = config.split.model_copy(update={"protocol": protocol.name, "fold": self.fold})
        train = config.train.model_copy(update={"seed": self.seed})
        return config.model_copy(update={"split": split, "train": train})


def crossval(
    corpus: Corpus,
    config: RunConfig,
    out: Path,
    *,
    protocol: str,
    seeds: Sequence[int] = (0,),
    jobs: int | None = None,
    cache: Path | None = None,
    progress: Progress = SILENT,
) -> CrossvalResult:
    """Train and judge every fold of a protocol, once for each seed, and pool the folds.

    Interrupted, the same call goes on: folds that were finished with the same settings and clips are not done again.

    Args:
        corpus: The protocol's corpus, whole.
        config: All settings; protocol, fold and seed are set here.
        out: Folder for the results.
        protocol: Name of the protocol.
        seeds: Seeds of the trainings, at least one.
        jobs: Number of folds to train at once, each on one processor thread; by default one for each processor.
        cache: Folder that keeps model inputs; None keeps none.
        progress: Is told how far it is.

    Raises:
        SettingsError: The protocol is unknown or for another corpus.
        CorpusError: The corpus cannot be used.
        EmogramError: A fold failed; those that are done keep their run folders.
    """
    started = time.monotonic()
    chosen = find_protocol(protocol)
    config = fit_to_corpus(config, corpus)
    # Read once before the jobs start, so that what is wrong is said at once and the cache is full.
    dataset = load_dataset(corpus, config.spectrogram, cache=cache, progress=progress)
    plan = [_Job(seed, fold) for seed in seeds for fold in range(max(1, len(chosen.folds)))]
    splits = {job: make_split(dataset, job.settings(config, chosen).split) for job in plan}
    todo = [job for job in plan if not _is_done(job, corpus, dataset, splits[job], config, chosen, out)]
    if len(todo) < len(plan):
        progress.say(f"{len(plan) - len(todo)} of {len(plan)} folds are done already, with the same settings and clips")
    alone = worker_count(jobs) == 1 or len(todo) < FEW_JOBS
    with (
        progress.task("cross-validating", len(todo), unit="folds") as task,
        contextlib.nullcontext(progress) if alone else relaying(progress) as relay,
    ):
        run = partial(_run, corpus, config, out, chosen, cache, relay)
        with contextlib.closing(map_parallel(run, todo, workers=jobs, few=FEW_JOBS, patient=False)) as outcomes:
            for index, outcome in outcomes:
                if isinstance(outcome, EmogramError):
                    raise outcome
                task.advance()
                progress.say(f"{todo[index].name}  UAR {outcome:.1%}")
    reports = []
    for seed in reversed(seeds):  # the first seed is judged last, so that its plots and tables stand
        folds = {job: split for job, split in splits.items() if job.seed == seed}
        reports.append(_pool(folds, dataset, out, protocol=chosen, seed=seed))
    reports.reverse()
    scores = [report.metrics["uar"] for report in reports]
    result = CrossvalResult(
        report=reports[0],
        per_seed=tuple(reports),
        mean_uar=statistics.fmean(scores),
        std_uar=statistics.stdev(scores) if len(scores) > 1 else 0.0,
        out=out,
        failed=dataset.failed,
        warnings=tuple(dict.fromkeys([*corpus.warnings, *(w for split in splits.values() for w in split.warnings)])),
        seconds=time.monotonic() - started,
    )
    summary = {
        **result.report.to_dict(),
        "mean_uar": result.mean_uar,
        "std_uar": result.std_uar,
        "per_seed": {str(seed): dict(one.metrics) for seed, one in zip(seeds, result.per_seed, strict=True)},
        "per_fold": {job.name: dict(open_bundle(out / job.name).info.metrics) for job in plan},
    }
    write_json(out / METRICS_FILE, summary)
    return result


def _run(
    corpus: Corpus, config: RunConfig, out: Path, protocol: Protocol, cache: Path | None, relay: Progress, job: _Job
) -> float:
    """Train one fold and return its UAR."""
    result = train(corpus, job.settings(config, protocol), out / job.name, cache=cache, workers=1, progress=relay)
    if result.interrupted:
        (out / job.name / CONFIG_FILE).unlink(missing_ok=True)  # so that the fold does not count as done
        raise KeyboardInterrupt
    return result.report.metrics["uar"]


def _is_done(
    job: _Job, corpus: Corpus, dataset: Dataset, split: Split, config: RunConfig, protocol: Protocol, out: Path
) -> bool:
    """Tell whether a fold was trained and judged with the same settings on the same clips."""
    settings = job.settings(config, protocol)
    try:
        if RunConfig.from_dict(read_toml(out / job.name / CONFIG_FILE)) != settings:
            return False
        info = open_bundle(out / job.name).info
        read_probabilities(out / job.name, _judged(dataset, split), dataset.labels)
    except EmogramError:
        return False
    now = describe_model(corpus, dataset, split, settings)
    # Metrics are written into the bundle last of all.
    return bool(info.metrics) and (info.trained_on, info.split) == (now.trained_on, now.split)


def _judged(dataset: Dataset, split: Split) -> list[Clip]:
    return [dataset.clips[index] for index in split.judging()[1]]


def _pool(folds: dict[_Job, Split], dataset: Dataset, out: Path, *, protocol: Protocol, seed: int) -> Report:
    clips = [clip for split in folds.values() for clip in _judged(dataset, split)]
    probabilities = np.concatenate(
        [read_probabilities(out / job.name, _judged(dataset, split), dataset.labels) for job, split in folds.items()]
    )
    says = f"{protocol.says}; pooled over {len(folds)} folds; seed {seed}" if protocol.folds else protocol.says
    says += says_training_only(dataset)
    return judge_clips(clips, probabilities, dataset.labels, out, protocol=says).report


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

"""All folds of a protocol, pooled: the figure that counts."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from emogram.bundle import open_bundle
from emogram.config import RunConfig
from emogram.corpora import Corpus
from emogram.dataset import Dataset, load_dataset
from emogram.files import write_json
from emogram.jobs import is_trained, judged_clips, run_jobs, train_whole
from emogram.judging import METRICS_FILE, judge_clips, read_probabilities
from emogram.pretraining import open_start, says_start
from emogram.progress import SILENT, Progress
from emogram.protocols import Protocol, find_protocol
from emogram.records import Clip, Report
from emogram.splits import Split, make_split, says_training_only
from emogram.train import fit_to_corpus


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
        ModelError: The model to start from was refused.
        EmogramError: A fold failed; those that are done keep their run folders.
    """
    started = time.monotonic()
    chosen = find_protocol(protocol)
    config = fit_to_corpus(config, corpus)
    # Read once before the jobs start, so that what is wrong is said at once and the cache is full.
    dataset = load_dataset(corpus, config.spectrogram, cache=cache, progress=progress)
    plan = [_Job(seed, fold) for seed in seeds for fold in range(max(1, len(chosen.folds)))]
    splits = {job: make_split(dataset, job.settings(config, chosen).split) for job in plan}
    starts = {job: open_start(job.settings(config, chosen), dataset, splits[job]) for job in plan}
    todo = [
        job
        for job in plan
        if not is_trained(out / job.name, corpus, dataset, splits[job], job.settings(config, chosen), start=starts[job])
    ]
    if len(todo) < len(plan):
        progress.say(f"{len(plan) - len(todo)} of {len(plan)} folds are done already, with the same settings and clips")
    run = partial(_run, corpus, config, out, chosen, cache)
    running = run_jobs(run, todo, what="cross-validating", unit="folds", jobs=jobs, progress=progress)
    with contextlib.closing(running):
        for job, uar in running:
            progress.say(f"{job.name}  UAR {uar:.1%}")
    reports = []
    for seed in reversed(seeds):  # the first seed is judged last, so that its plots and tables stand
        folds = {job: split for job, split in splits.items() if job.seed == seed}
        also = says_training_only(dataset) + says_start(starts[plan[0]])
        reports.append(_pool(folds, dataset, out, protocol=chosen, seed=seed, also=also))
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
    corpus: Corpus, config: RunConfig, out: Path, protocol: Protocol, cache: Path | None, progress: Progress, job: _Job
) -> float:
    """Train one fold and return its UAR."""
    settings = job.settings(config, protocol)
    return train_whole(corpus, settings, out / job.name, cache=cache, progress=progress).report.metrics["uar"]


def _pool(folds: dict[_Job, Split], dataset: Dataset, out: Path, *, protocol: Protocol, seed: int, also: str) -> Report:
    clips = [clip for split in folds.values() for clip in judged_clips(dataset, split)]
    probabilities = np.concatenate(
        [
            read_probabilities(out / job.name, judged_clips(dataset, split), dataset.labels)
            for job, split in folds.items()
        ]
    )
    says = f"{protocol.says}; pooled over {len(folds)} folds; seed {seed}" if protocol.folds else protocol.says
    return judge_clips(clips, probabilities, dataset.labels, out, protocol=says + also).report

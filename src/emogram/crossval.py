"""All folds of a protocol, pooled: the figure that counts."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from emogram import leaks
from emogram.bundle import open_bundle
from emogram.config import RunConfig
from emogram.corpora import Corpus
from emogram.dataset import Dataset
from emogram.engines import Engine, local
from emogram.jobs import is_trained, judged_clips, run_jobs, train_whole
from emogram.judging import Judgement, judge_seeds, read_run
from emogram.lineage import open_lineage, says_lineage
from emogram.predictions import Predictions, joined_values
from emogram.progress import SILENT, Progress
from emogram.protocols import Protocol, find_protocol
from emogram.records import Clip, Report, SeedSummary
from emogram.splits import Split, make_split, says_training_only
from emogram.trackers import Trackers, follow_group
from emogram.train import ONLY_TENSORBOARD, fit_to_corpus, load_training


@dataclass(frozen=True)
class CrossvalResult:
    """What a cross-validation gave.

    Attributes:
        judgement: All test folds pooled, for each seed.
        out: Folder: `metrics.json`, `predictions.csv`, `plots/` and a run folder for each seed and fold.
        failed: Clips that could not be used, and why.
        warnings: What the reader should know.
        seconds: How long it took.
    """

    judgement: Judgement
    out: Path
    failed: tuple[tuple[Clip, str], ...]
    warnings: tuple[str, ...]
    seconds: float

    @property
    def report(self) -> Report:
        """The pooled report of the first seed."""
        return self.judgement.report

    @property
    def per_seed(self) -> tuple[Report, ...]:
        """The pooled report of each seed."""
        return tuple(self.judgement.per_seed.values())

    @property
    def over_seeds(self) -> SeedSummary:
        """Mean, spread and intervals of all figures over the seeds."""
        return self.judgement.over_seeds


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
    engine: Engine = local,
    cache: Path | None = None,
    trackers: Trackers = ONLY_TENSORBOARD,
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
        engine: Where they are trained: processes of this machine, or `engines.engine_named("ray", ADDRESS)`.
        cache: Folder that keeps model inputs; None keeps none.
        trackers: What else is told of the trainings, each a run of its own, and of the pooled result.
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
    dataset = load_training(corpus, config, cache=cache, progress=progress)
    plan = [_Job(seed, fold) for seed in seeds for fold in range(max(1, len(chosen.folds)))]
    splits = {job: make_split(dataset, job.settings(config, chosen).split) for job in plan}
    lineages = {job: open_lineage(job.settings(config, chosen), dataset, splits[job]) for job in plan}
    todo = [
        job
        for job in plan
        if not is_trained(
            out / job.name, corpus, dataset, splits[job], job.settings(config, chosen), lineage=lineages[job]
        )
    ]
    if len(todo) < len(plan):
        progress.say(f"{len(plan) - len(todo)} of {len(plan)} folds are done already, with the same settings and clips")
    trackers = trackers.inside(out)
    run = partial(_run, corpus, config, out, chosen, cache, trackers)
    with follow_group(trackers, config, dataset, progress=progress) as following:
        running = run_jobs(
            run, todo, what="cross-validating", unit="folds", jobs=jobs, progress=progress, engine=engine
        )
        with contextlib.closing(running):
            for job, figures in running:
                progress.say(f"{job.name}  {figures}")
        also = says_training_only(dataset) + says_lineage(lineages[plan[0]])
        pooled = [_pool(corpus, dataset, splits, out, protocol=chosen, seed=seed, also=also) for seed in seeds]
        per_fold = {job.name: dict(open_bundle(out / job.name).info.metrics) for job in plan}
        judgement = judge_seeds(pooled, out, also={"per_fold": per_fold})
        following.judged(judgement.report, judgement.plots, part=splits[plan[0]].judging()[0])
    return CrossvalResult(
        judgement=judgement,
        out=out,
        failed=dataset.failed,
        warnings=tuple(dict.fromkeys([*corpus.warnings, *(w for split in splits.values() for w in split.warnings)])),
        seconds=time.monotonic() - started,
    )


def _run(
    corpus: Corpus,
    config: RunConfig,
    out: Path,
    protocol: Protocol,
    cache: Path | None,
    trackers: Trackers,
    progress: Progress,
    job: _Job,
) -> str:
    """Train one fold and return its UAR and CCC, as far as they apply, in words."""
    settings = job.settings(config, protocol)
    result = train_whole(corpus, settings, out / job.name, cache=cache, trackers=trackers, progress=progress)
    found = result.report.metrics
    words = {"UAR": f"{found['uar']:.1%}"} if "uar" in found else {}
    words |= {"CCC": f"{found['ccc']:.3f}"} if "ccc" in found else {}
    return "  ".join(f"{name} {figure}" for name, figure in words.items())


def _pool(
    corpus: Corpus,
    dataset: Dataset,
    splits: Mapping[_Job, Split],
    out: Path,
    *,
    protocol: Protocol,
    seed: int,
    also: str,
) -> Predictions:
    """Return what the models of one seed said, each of the part that judged it."""
    folds = {job: split for job, split in splits.items() if job.seed == seed}
    said = [read_run(out / job.name, judged_clips(dataset, split), dataset.labels) for job, split in folds.items()]
    clips = [
        _placed(clip, corpus.root, seed=seed, fold=job.fold if protocol.folds else None)
        for job, each in zip(folds, said, strict=True)
        for clip in each.clips
    ]
    says = f"{protocol.says}; pooled over {len(folds)} folds" if protocol.folds else protocol.says
    if any(split.judging()[0] == "validation" for split in folds.values()):
        says += f"; judged on validation clips: {leaks.CHOSEN_ON_JUDGES}"
    allowed = tuple(dict.fromkeys(leak for split in folds.values() for leak in split.allowed_leaks))
    return Predictions(
        name=f"seed {seed}",
        clips=tuple(clips),
        labels=dataset.labels,
        probabilities=np.concatenate([each.probabilities for each in said]),
        abstained=np.concatenate([each.abstained for each in said]),
        values=joined_values([each.values for each in said]),
        protocol=leaks.with_allowed(says + also, allowed),
        allowed_leaks=allowed,
    )


def _placed(clip: Clip, root: Path, *, seed: int, fold: int | None) -> Clip:
    """Return a clip that knows its seed and fold, named within its corpus: not every machine keeps corpora alike."""
    folder = root.parent if root.is_file() else root
    path = clip.path.relative_to(folder) if clip.path.is_relative_to(folder) else clip.path
    placed = {"seed": str(seed)} | ({} if fold is None else {"fold": str(fold)})
    return dataclasses.replace(clip, path=path, extra={**clip.extra, **placed})

"""Settings that do well on validation speakers: tried one after another or side by side, on this machine or on Ray."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from emogram.config import RunConfig
from emogram.corpora import Corpus
from emogram.dataset import Dataset, load_dataset
from emogram.devices import device_count
from emogram.engines import Engine, local
from emogram.errors import EmogramError, OutputError, SettingsError
from emogram.files import output_error
from emogram.lineage import open_lineage
from emogram.network import NETWORKS
from emogram.progress import SILENT, Progress, Task
from emogram.records import Clip, Trial
from emogram.resuming import AnotherTrainingError, describe_training, differences, refuse_another
from emogram.splits import make_split
from emogram.train import computed_in, fit_to_corpus
from emogram.tuning.folds import Fold, folds_of
from emogram.tuning.report import TuningResult, figure_text, says_judged, write_report, write_so_far
from emogram.tuning.space import SearchSpace, read_space
from emogram.tuning.study import OBJECTIVES, PRUNERS, STUDY_FILE, Plan, Study, opened
from emogram.tuning.trials import TRIALS_FOLDER, Job, run_trial, stop_trial

MOST_FAILURES = 3  # one after another, before any trial came to its end: something else than the settings is wrong


@dataclass(frozen=True)
class _Material:
    """What all trials share, as it was read before the first.

    Attributes:
        folds: What trials are judged on.
        labels: The labels.
        n_validation: Number of validation clips of all folds.
        failed: Clips that could not be used, and why.
        about: What each fold is of, as a checkpoint keeps it.
        warnings: What the reader should know.
    """

    folds: tuple[Fold, ...]
    labels: tuple[str, ...]
    n_validation: int
    failed: tuple[tuple[Clip, str], ...]
    about: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]


def tune(
    corpus: Corpus,
    config: RunConfig,
    out: Path,
    *,
    space: SearchSpace | None = None,
    trials: int = 20,
    timeout_s: float | None = None,
    folds: Sequence[int] | None = None,
    objective: str = "uar",
    pruner: str = "median",
    jobs: int | None = None,
    engine: Engine = local,
    overwrite: bool = False,
    cache: Path | None = None,
    progress: Progress = SILENT,
) -> TuningResult:
    """Search settings that do well on validation speakers; speakers who judge are not even read.

    Interrupted, in whatever way, the same call goes on: trials that are done stand, and those that ran go on from their
    last checkpoint. With one job, one machine, one number of threads and the same seed (`config.train.seed`) the trials
    are the same to the bit, however often the study was interrupted (with the pruner "hyperband": if it was not).

    Args:
        corpus: All clips.
        config: The settings that the search begins with, and keeps where it does not search; tried first.
        out: Folder for study and report.
        space: What is searched; by default what ships.
        trials: How many settings to try, those that were tried before included.
        timeout_s: Seconds after which no further trial is begun.
        folds: Folds of the protocol that trials are judged on, one after another; by default all.
        objective: "uar" or "accuracy", to be made high, or "loss", low: of the epoch that a training keeps, mean over
            the folds.
        pruner: "median", "hyperband" or "none": when bad trials are stopped, by their validation loss after each epoch.
        jobs: Trials at once, each on one processor thread; by default one for each processor.
        engine: Where they are done: processes of this machine, or `engines.engine_named("ray", ADDRESS)`.
        overwrite: Begin anew, where the folder holds another study.
        cache: Folder that keeps model inputs; None keeps none.
        progress: Is told how far it is.

    Raises:
        MissingExtraError: Optuna is not installed.
        SettingsError: Settings, space or folds contradict one another or the corpus, or the folder holds a study of
            others.
        CorpusError: The corpus cannot be used or parted as asked.
        OutputError: Something could not be written; what is done stands. Or another process tunes in `out`.
        EmogramError: No trial came to its end.
        KeyboardInterrupt: Ctrl-C; the same call goes on.
    """
    started = time.monotonic()
    for name, value, known in (("objective", objective, OBJECTIVES), ("pruner", pruner, PRUNERS)):
        if value not in known:
            raise SettingsError(f"unknown {name} '{value}'; expected one of {', '.join(known)}")
    if config.train.targets != "classes":
        raise SettingsError(f"targets is {config.train.targets}; settings are searched for classes only")
    space = space or read_space()
    config = fit_to_corpus(config, corpus)
    _check_space(space, config, corpus)
    material = _read(corpus, config, folds, cache=cache, progress=progress)
    plan = Plan(
        objective=objective,
        pruner=pruner,
        seed=config.train.seed,
        n_folds=len(material.folds),
        most_epochs=int(space.most("train.epochs", config.train.epochs)),
        n_labels=len(material.labels),
    )
    if overwrite:
        _clear(out)
    with opened(out, plan, space, config) as study:
        _begin(study, out, plan, space, config, material, progress=progress)
        run = partial(run_trial, material.folds, plan.most_epochs, out, cache)
        until = None if timeout_s is None else started + timeout_s
        searching = _search(study, run, out, trials, until=until, jobs=jobs, engine=engine, progress=progress)
        with contextlib.closing(searching):
            for _ in searching:
                write_so_far(study, out, space, says=says_judged(material.folds))
        result = write_report(
            study,
            out,
            space,
            config,
            objective=objective,
            folds=material.folds,
            n_validation=material.n_validation,
            failed=material.failed,
            warnings=(*corpus.warnings, *material.warnings),
            started=started,
        )
    return result


def _check_space(space: SearchSpace, config: RunConfig, corpus: Corpus) -> None:
    """Refuse what no trial could take.

    Raises:
        SettingsError: That is so.
    """
    if corpus.kind == "picture":
        drawn = [name for name in space.dimensions if name.startswith("spectrogram.")]
        if drawn:
            raise SettingsError(
                f"{drawn[0]} cannot be searched on pictures, which are drawn already; search it on sound"
            )
    names = space.dimensions.get("network.network")
    for name in getattr(names, "values", (config.network.network,)):
        if name not in NETWORKS:
            raise SettingsError(f"unknown network '{name}'; expected one of {', '.join(NETWORKS)}")


def _read(
    corpus: Corpus, config: RunConfig, numbers: Sequence[int] | None, *, cache: Path | None, progress: Progress
) -> _Material:
    """Read what trials train on and are judged by, so that what is wrong is said at once, and the cache is full."""
    folds = folds_of(corpus, config.split, numbers)
    about, warnings, failed = [], list[str](), dict[Path, tuple[Clip, str]]()
    n_validation = 0
    dataset: Dataset | None = None
    for fold in folds:
        settings = fold.settings(config)
        dataset = load_dataset(fold.corpus, config.spectrogram, cache=cache, progress=progress)
        split = make_split(dataset, fold.split)
        lineage = open_lineage(settings, dataset, split)
        n_devices = device_count(config.train.devices)
        precision = computed_in(config.train.precision)
        about.append(describe_training(dataset, split, settings, lineage, precision=precision, n_devices=n_devices))
        n_validation += len(split.validation)
        # Without test speakers a split lacks what is said of them, and the epoch is chosen where trials are judged: so
        # it is meant here, and told in the report.
        warnings += [warning for warning in split.warnings if not fold.set_aside]
        failed |= {clip.path: (clip, why) for clip, why in dataset.failed}
    assert dataset is not None, "there is at least one fold"
    return _Material(
        folds, dataset.labels, n_validation, tuple(failed.values()), tuple(about), tuple(dict.fromkeys(warnings))
    )


def _clear(out: Path) -> None:
    try:
        (out / STUDY_FILE).unlink(missing_ok=True)
        if (out / TRIALS_FOLDER).exists():
            shutil.rmtree(out / TRIALS_FOLDER)
    except OSError as error:
        raise output_error(out, error) from error


def _begin(
    study: Study,
    out: Path,
    plan: Plan,
    space: SearchSpace,
    config: RunConfig,
    material: _Material,
    *,
    progress: Progress,
) -> None:
    """Begin a study, or see that the one that is there is the same, and take up what it left."""
    searched = {
        "objective": plan.objective,
        "pruner": plan.pruner,
        "folds": ", ".join(str(fold.number) for fold in material.folds),
        "settings": config.to_dict(),
        "space": space.to_dict(),
    }
    before = study.about()
    if before is None:
        outside = study.begin({"searched": searched, "folds": list(material.about)})
        if outside:
            progress.say(
                f"the settings given lie outside the space ({', '.join(outside)}), so they are not tried first"
            )
        return
    differing = differences(before["searched"], searched)
    if differing:
        raise AnotherTrainingError(
            f"{out}: holds a study that was begun otherwise: {'; '.join(differing)}; say the same again, choose "
            "another folder, or begin anew with --overwrite"
        )
    for then, now in zip(before["folds"], material.about, strict=True):
        refuse_another(out, then, now, progress=progress)
    again = study.take_up()
    done = [trial for trial in study.trials() if trial.state != "running"]
    if done:
        progress.say(f"{out}: goes on after {len(done)} trials")
    if again:
        progress.say(f"trial {', '.join(map(str, again))} was interrupted, is marked as failed and tried again")


def _search(
    study: Study,
    run: partial[Any],
    out: Path,
    most: int,
    *,
    until: float | None,
    jobs: int | None,
    engine: Engine,
    progress: Progress,
) -> Generator[Trial, None, None]:
    """Do trials until there are `most`, and yield each that ended. To be closed, which ends what still runs."""
    n_left = study.n_left(most)
    if not n_left:
        return
    asked: list[int] = []
    watch = _Watch(progress, study, out)
    failures = 0
    with (
        progress.task("tuning", n_left, unit="trials") as task,
        contextlib.closing(
            engine(
                run,
                _jobs(study, asked, most, until, progress, task),
                jobs=jobs if n_left > 1 else 1,
                progress=watch,
            )
        ) as outcomes,
    ):
        for place, outcome in outcomes:
            if isinstance(outcome, OutputError):
                raise outcome  # no fault of the trial, which goes on when there is space
            trial = study.tell(asked[place], outcome)
            best = study.best()
            failures = failures + 1 if isinstance(outcome, EmogramError) else 0
            if best is None and failures == MOST_FAILURES:
                raise outcome
            task.advance(note="" if best is None else f"best so far: {figure_text(study.objective, best)}")
            progress.say(_line(study.objective, trial, most, best))
            yield trial


def _jobs(
    study: Study, asked: list[int], most: int, until: float | None, progress: Progress, task: Task
) -> Iterator[Job]:
    """Ask for trials, each only when it can be begun; the number of each is added to `asked`."""
    while study.n_left(most):
        if until is not None and time.monotonic() >= until:
            progress.say("the time is over; no further trial is begun")
            return
        try:
            job = study.ask()
        except SettingsError as error:
            task.advance()
            progress.say(f"refused: {error}")
            continue
        asked.append(job.number)
        yield job


class _Watch(Progress):
    """Hears of running trials what a person is told, and their losses, by which bad ones are stopped."""

    def __init__(self, progress: Progress, study: Study, out: Path) -> None:
        self._progress = progress
        self._study = study
        self._out = out

    @contextlib.contextmanager
    def task(self, what: str, total: int, *, unit: str = "clips") -> Iterator[Task]:
        with self._progress.task(what, total, unit=unit) as task:
            yield task

    def say(self, line: str) -> None:
        self._progress.say(line)

    def measured(self, name: str, step: int, value: float) -> None:
        if self._study.measured(int(name), step, value):
            stop_trial(self._out, int(name))


def _line(objective: str, trial: Trial, most: int, best: Trial | None) -> str:
    """Return what came of a trial in one line."""
    settings = "  ".join(f"{name.partition('.')[2]} {_short(value)}" for name, value in trial.settings.items())
    head = f"trial {trial.number} of {max(most, trial.number)}"
    if trial.value is None:
        came = trial.state + (f" after {trial.n_epochs} epochs" if trial.n_epochs else "")
        came += f": {trial.error}" if trial.error else ""
    else:
        came = figure_text(objective, trial, with_number=False)
    star = "  * best so far" if best is not None and best.number == trial.number else ""
    return f"{head}: {came}{star}  |  {settings}"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)

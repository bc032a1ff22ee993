"""One trial: settings -> how good they are on the validation speakers of each fold, one fold after another."""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from emogram.backend import keras
from emogram.balance import drawn_apart
from emogram.checkpoints import is_unfinished, mark_finished, unfinished
from emogram.config import RunConfig, read_toml
from emogram.copies import with_degraded_copies
from emogram.dataset import load_dataset
from emogram.errors import EmogramError
from emogram.files import write_text
from emogram.lineage import open_lineage
from emogram.plots import best_epoch
from emogram.progress import Progress, Task
from emogram.records import FoldFigures
from emogram.resuming import AnotherTrainingError, reopen
from emogram.splits import make_split
from emogram.train import CONFIG_FILE, MODEL_FOLDER, DivergedError, fit
from emogram.tuning.folds import Fold
from emogram.writers import read_history

TRIALS_FOLDER = "trials"
_HISTORY = "history.csv"
_STOP = "stop"


@dataclass(frozen=True)
class Job:
    """A trial to be done.

    Attributes:
        number: Of the trial, from 1.
        config: Its settings.
    """

    number: int
    config: RunConfig


@dataclass(frozen=True)
class Outcome:
    """What a trial came to.

    Attributes:
        folds: The figures of each fold that was trained, the last one perhaps not to its end.
        pruned: It was stopped since it was no good.
        diverged: Its loss became infinite.
        seconds: How long it took, since it was begun or gone on with.
    """

    folds: tuple[FoldFigures, ...]
    pruned: bool
    diverged: bool
    seconds: float


def trial_folder(out: Path, number: int) -> Path:
    """Return the folder of a trial."""
    return out / TRIALS_FOLDER / f"{number:04d}"


def stop_trial(out: Path, number: int) -> None:
    """Have a trial end after the epoch that it is at, wherever it runs: all machines see its folder."""
    with contextlib.suppress(FileNotFoundError):  # it has ended
        (trial_folder(out, number) / _STOP).touch()


def run_trial(
    folds: Sequence[Fold], most_epochs: int, out: Path, cache: Path | None, progress: Progress, job: Job
) -> Outcome:
    """Train on each fold and tell the validation loss of each epoch, by `Progress.measured`, until told to stop.

    What a trial that was interrupted had done is not done again. Of each fold the history is kept, and no model.

    Args:
        folds: What to train on and be judged by.
        most_epochs: The most that a trial of the study may take; epoch e of the fold at place i is told as step
            i * most_epochs + e, from 1.
        out: Folder of the study.
        cache: Folder that keeps model inputs; None keeps none.
        progress: Is told how far it is.
        job: The trial.

    Raises:
        EmogramError: It cannot be trained.
        KeyboardInterrupt: Ctrl-C; the same trial goes on from there.
    """
    started = time.monotonic()
    folder = trial_folder(out, job.number)
    stop = folder / _STOP
    stop.unlink(missing_ok=True)  # of a process that was killed before it was obeyed
    done: list[FoldFigures] = []
    pruned = diverged = False
    for place, fold in enumerate(folds):

        def tell(epoch: int, loss: float, place: int = place) -> bool:
            progress.measured(str(job.number), place * most_epochs + epoch, loss)
            return stop.exists()

        try:
            figures, pruned = _train(fold, job.config, folder / f"fold-{fold.number}", cache, progress, tell)
        except DivergedError:
            diverged = True
            break
        done.append(figures)
        pruned = pruned or (stop.exists() and len(done) < len(folds))
        if pruned:
            break
    return Outcome(tuple(done), pruned, diverged, time.monotonic() - started)


def _train(
    fold: Fold,
    config: RunConfig,
    out: Path,
    cache: Path | None,
    progress: Progress,
    tell: Callable[[int, float], bool],
) -> tuple[FoldFigures, bool]:
    """Train on one fold, or read what came of it, or go on; tell its figures, and whether it was stopped."""
    config = fold.settings(config)
    history = _finished(out, config)
    if history is not None:
        for epoch, loss in enumerate(history["val_loss"], start=1):
            tell(epoch, loss)
        return _figures(fold, history), False
    quiet = _Quiet(progress)
    told = _Tell(tell)
    with unfinished(out):
        begun = None
        with contextlib.suppress(AnotherTrainingError):
            begun = reopen(out, config, progress=quiet)
        dataset = load_dataset(fold.corpus, config.spectrogram, cache=cache, workers=1, progress=quiet)
        split = make_split(dataset, config.split)
        lineage = open_lineage(config, dataset, split)
        in_every_epoch, _ = drawn_apart(dataset, split.train, config.train)
        dataset = with_degraded_copies(dataset, in_every_epoch, config.augment, cache=cache, workers=1, progress=quiet)
        history, interrupted = fit(
            dataset, split, config, out, begun=begun, lineage=lineage, also=[told], progress=quiet
        )
        if interrupted:
            raise KeyboardInterrupt
        shutil.rmtree(out / MODEL_FOLDER, ignore_errors=True)  # those of a hundred trials would fill the disk
        if not told.stopped:
            write_text(out / CONFIG_FILE, tomli_w.dumps(config.to_dict()))
        mark_finished(out)
    return _figures(fold, history), told.stopped


def _finished(out: Path, config: RunConfig) -> dict[str, list[float]] | None:
    """Return the history of a training with these settings that has come to its end, None where there is none."""
    if is_unfinished(out):
        return None
    try:
        same = RunConfig.from_dict(read_toml(out / CONFIG_FILE)) == config
        return read_history(out / _HISTORY) if same else None
    except EmogramError:
        return None


def _figures(fold: Fold, history: dict[str, list[float]]) -> FoldFigures:
    best = best_epoch(history)
    assert best is not None, "a training without a good epoch has raised"
    return FoldFigures(
        fold=fold.number,
        epoch=best + 1,
        loss=history["val_loss"][best],
        uar=history["val_uar"][best],
        accuracy=history["val_accuracy"][best],
        losses=tuple(history["val_loss"]),
    )


class _Tell(keras.callbacks.Callback):  # type: ignore[misc]
    """Tell each epoch's validation loss, those too that a checkpoint holds, and end the training when asked to."""

    def __init__(self, tell: Callable[[int, float], bool]) -> None:
        super().__init__()
        self._tell = tell
        self._losses: list[float] = []
        self.stopped = False

    def state(self) -> dict[str, Any]:
        return {"losses": self._losses}

    def restore(self, state: dict[str, Any]) -> None:
        self._losses = list(state["losses"])
        for epoch, loss in enumerate(self._losses, start=1):
            self._tell(epoch, loss)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is not None, "Keras gives logs"
        loss = float(logs["val_loss"])
        self._losses.append(loss if math.isfinite(loss) else math.inf)
        if self._tell(len(self._losses), self._losses[-1]):
            self.stopped = self.model.stop_training = True


class _Quiet(Progress):
    """Passes on how far a training is, and not each of its epochs, of which a study has thousands."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    @contextlib.contextmanager
    def task(self, what: str, total: int, *, unit: str = "clips") -> Iterator[Task]:
        with self._progress.task(what, total, unit=unit) as task:
            yield task

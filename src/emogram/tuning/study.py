"""The study: which settings were tried, how good they were, what to try next. Optuna's, in a file of SQLite.

Only the process that holds the study looks at the file; where trials are done, nothing is known of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emogram.config import RunConfig
from emogram.errors import EmogramError, MissingExtraError, OutputError, SettingsError
from emogram.files import lock, output_error
from emogram.records import FoldFigures, Trial
from emogram.tuning.space import SearchSpace
from emogram.tuning.trials import Job, Outcome

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy
    from optuna import Trial as OptunaTrial
    from optuna.trial import FrozenTrial

STUDY_FILE = "study.db"
OBJECTIVES = ("uar", "accuracy", "loss")
PRUNERS = ("median", "hyperband", "none")
TRIES = 5  # a trial whose process dies so often without coming further is given up

_NAME = "emogram"  # of the study within the file
_LOCK_FILE = "lock"
_ABOUT, _NUMBER, _TRIES, _REACHED = "about", "trial", "tries", "reached"
_STATE, _FOLDS, _SECONDS, _ERROR = "state", "folds", "seconds", "error"
_STARTUP_TRIALS = 5  # that come to their end before any is pruned
_WARMUP_SHARE = 0.25  # of the first fold's epochs, within which none is pruned


@dataclass(frozen=True)
class Plan:
    """How a study searches.

    Attributes:
        objective: "uar" or "accuracy" to be made high, "loss" to be made low.
        pruner: "median": a trial ends whose loss so far lies above the median of the others' at the same epoch;
            "hyperband"; "none".
        seed: Of what is drawn.
        n_folds: Number of folds of each trial.
        most_epochs: The most epochs that a trial may take on one fold.
        n_labels: Number of labels, whose logarithm is the loss of guessing.
    """

    objective: str
    pruner: str
    seed: int
    n_folds: int
    most_epochs: int
    n_labels: int


def rank(trials: Sequence[Trial], objective: str) -> tuple[Trial, ...]:
    """Return the trials that came to their end, the best first; of equals that with less loss, then the earlier."""
    sign = 1.0 if objective == "loss" else -1.0
    complete = [
        (sign * trial.value, trial.mean("loss"), trial.number, trial) for trial in trials if trial.value is not None
    ]
    return tuple(trial for *_, trial in sorted(complete, key=lambda each: each[:3]))


class Study:
    """A study that is open; see `opened`."""

    def __init__(self, inner: OptunaStudy, plan: Plan, space: SearchSpace, base: RunConfig) -> None:
        """Take what `opened` has opened."""
        self._inner = inner
        self._plan = plan
        self._space = space
        self._base = base
        self._running: dict[int, _Running] = {}
        self._lock = threading.RLock()  # figures of trials elsewhere come through a thread of their own

    @property
    def objective(self) -> str:
        """What is made best."""
        return self._plan.objective

    # ------------------------------------------------------------ before the first trial

    def about(self) -> Mapping[str, Any] | None:
        """Return what was kept by `begin`; None where the study has not begun."""
        found: Mapping[str, Any] | None = self._inner.user_attrs.get(_ABOUT)
        return found

    def begin(self, about: Mapping[str, Any]) -> list[str]:
        """Keep what the study is of, and have the settings that it begins with tried first.

        Returns:
            The settings that lie outside the space, for which they are not tried.
        """
        values, outside = self._space.values_of(self._base)
        if not outside and not self._inner.get_trials(deepcopy=False):
            self._inner.enqueue_trial(self._space.stored(values), user_attrs={_NUMBER: 1})
        self._inner.set_user_attr(_ABOUT, dict(about))
        return outside

    def take_up(self) -> list[int]:
        """Mark the trials as failed that a killed process left running, and have each tried again with its settings.

        Returns:
            Their numbers.
        """
        from optuna.trial import TrialState

        again = []
        waiting = {trial.user_attrs.get(_NUMBER) for trial in self._frozen(TrialState.WAITING)}
        for trial in self._frozen(TrialState.RUNNING):
            number = trial.user_attrs.get(_NUMBER)
            # One without settings died while they were drawn; its number is given to the next.
            if number is not None and trial.params.keys() == self._space.dimensions.keys():
                reached = trial.last_step or 0
                further = reached > trial.user_attrs.get(_REACHED, 0)
                tries = 1 if further else trial.user_attrs.get(_TRIES, 1) + 1
                if tries <= TRIES and number not in waiting:
                    attributes = {_NUMBER: number, _TRIES: tries, _REACHED: reached}
                    self._inner.enqueue_trial(trial.params, user_attrs=attributes)
                    again.append(number)
            self._inner.tell(trial.number, state=TrialState.FAIL)
        return again

    # ------------------------------------------------------------ trials

    def n_left(self, most: int) -> int:
        """Return how many trials are to be asked for until there are `most`."""
        from optuna.trial import TrialState

        begun = {trial.user_attrs.get(_NUMBER) for trial in self._frozen()} - {None}
        return max(0, most - len(begun)) + len(self._frozen(TrialState.WAITING))

    def ask(self) -> Job:
        """Return the next trial, told as running.

        What is drawn depends on the seed, on the trial's number and on what those before came to, and not on how often
        the study was interrupted.

        Raises:
            SettingsError: Its settings contradict one another; it is told as refused.
        """
        from optuna.samplers import TPESampler

        with self._lock:
            number = 1 + max((int(t.user_attrs.get(_NUMBER, 0)) for t in self._frozen()), default=0)
            seed = np.random.SeedSequence([self._plan.seed, number]).generate_state(1)[0]
            self._inner.sampler = TPESampler(seed=int(seed))
            trial = self._inner.ask(self._space.distributions())
            number = trial.user_attrs.get(_NUMBER, number)
            trial.set_user_attr(_NUMBER, number)
            try:
                config = self._space.settings(self._base, self._space.meant(trial.params))
            except SettingsError as error:
                self._refuse(trial, str(error))
                raise
            self._running[number] = _Running(trial, config.train.epochs, {})
            return Job(number, config)

    def measured(self, number: int, step: int, loss: float) -> bool:
        """Keep the validation loss of a running trial after an epoch, and tell whether to stop it.

        Args:
            number: Of the trial.
            step: As `trials.run_trial` counts them.
            loss: Validation loss; may be infinite.
        """
        with self._lock:
            running = self._running.get(number)
            if running is None or not self._keep(running, step, loss):
                return False
            last = (self._plan.n_folds - 1) * self._plan.most_epochs + running.n_epochs
            return step < last and running.trial.should_prune()

    def tell(self, number: int, outcome: Outcome | EmogramError) -> Trial:
        """Keep what a trial came to, and return it."""
        from optuna.trial import TrialState

        with self._lock:
            running = self._running.pop(number)
            trial = running.trial
            if isinstance(outcome, EmogramError):
                trial.set_user_attr(_ERROR, str(outcome))
                self._inner.tell(trial, state=TrialState.FAIL)
                return self._told(trial)
            for place, fold in enumerate(outcome.folds):  # what was still on its way when the trial ended
                for epoch, loss in enumerate(fold.losses, start=1):
                    self._keep(running, place * self._plan.most_epochs + epoch, loss)
            trial.set_user_attr(_FOLDS, [dataclasses.asdict(fold) for fold in outcome.folds])
            trial.set_user_attr(_SECONDS, outcome.seconds)
            if outcome.diverged or outcome.pruned:
                # Those that diverge count as the worst, so that the search goes elsewhere: Optuna forgets failed ones.
                trial.set_user_attr(_STATE, "diverged" if outcome.diverged else "pruned")
                self._inner.tell(trial, state=TrialState.PRUNED)
            else:
                values = [getattr(fold, self._plan.objective) for fold in outcome.folds]
                self._inner.tell(trial, float(np.mean(values)))
            return self._told(trial)

    def trials(self) -> tuple[Trial, ...]:
        """Return all trials by number, one that was tried again as it went the last time."""
        found = {
            trial.user_attrs[_NUMBER]: self._trial(trial) for trial in self._frozen() if _NUMBER in trial.user_attrs
        }
        return tuple(found[number] for number in sorted(found) if found[number].state != "waiting")

    def best(self) -> Trial | None:
        """Return the best of those that came to their end, of equals the one with less loss; None if none did."""
        ranked = rank(self.trials(), self._plan.objective)
        return ranked[0] if ranked else None

    def settings_of(self, trial: Trial) -> RunConfig:
        """Return all settings of a trial."""
        return self._space.settings(self._base, trial.settings)

    def importances(self) -> dict[str, float]:
        """Return how much each setting decides whether a trial is among the best tenth, as shares of 1, by PED-ANOVA.

        S. Watanabe et al., "PED-ANOVA: Efficiently quantifying hyperparameter importance in arbitrary subspaces",
        IJCAI 2023. Of the trials that came to their end; empty where these are fewer than two.
        """
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

        if sum(trial.value is not None for trial in self.trials()) < 2:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that trials are too few or too alike, which the report says in its words
            return dict(get_param_importances(self._inner, evaluator=PedAnovaImportanceEvaluator()))

    # ------------------------------------------------------------ within

    def _frozen(self, *states: Any) -> list[FrozenTrial]:
        return self._inner.get_trials(deepcopy=False, states=states or None)

    def _refuse(self, trial: OptunaTrial, why: str) -> None:
        from optuna.trial import TrialState

        trial.set_user_attr(_STATE, "refused")
        trial.set_user_attr(_ERROR, why)
        self._inner.tell(trial, state=TrialState.PRUNED)

    def _keep(self, running: _Running, step: int, loss: float) -> bool:
        """Report a loss unless it was reported; tell whether it was new."""
        if step in running.losses:
            return False
        running.losses[step] = loss
        trial = running.trial
        progress = self._so_far(running.losses)
        trial.report(progress if self._plan.objective == "loss" else -progress, step)
        return True

    def _so_far(self, losses: Mapping[int, float]) -> float:
        """Return the least loss of each fold so far, mean over the folds, with guessing on those to come.

        It only ever falls, and at a step all trials have seen as much, so that they can be compared within any fold.
        """
        guessing = math.log(self._plan.n_labels)
        least = [guessing] * self._plan.n_folds
        for step, loss in losses.items():
            fold = (step - 1) // self._plan.most_epochs
            least[fold] = min(least[fold], loss)
        return float(np.mean(least))

    def _told(self, trial: OptunaTrial) -> Trial:
        return self._trial(next(each for each in self._frozen() if each.number == trial.number))

    def _trial(self, frozen: FrozenTrial) -> Trial:
        attributes = frozen.user_attrs
        states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}
        return Trial(
            number=attributes[_NUMBER],
            state=attributes.get(_STATE) or states.get(frozen.state.name, "waiting"),
            value=frozen.value if frozen.state.name == "COMPLETE" else None,
            settings=self._space.meant(frozen.params),
            folds=tuple(
                FoldFigures(**{**fold, "losses": tuple(fold["losses"])}) for fold in attributes.get(_FOLDS, [])
            ),
            seconds=attributes.get(_SECONDS, 0.0),
            error=attributes.get(_ERROR) or ("its process died" if frozen.state.name == "FAIL" else ""),
        )


@dataclass(frozen=True)
class _Running:
    """A trial that is being done.

    Attributes:
        trial: Optuna's.
        n_epochs: Of each fold.
        losses: Step -> validation loss.
    """

    trial: OptunaTrial
    n_epochs: int
    losses: dict[int, float]


@contextlib.contextmanager
def opened(folder: Path, plan: Plan, space: SearchSpace, base: RunConfig) -> Iterator[Study]:
    """Open the study in a folder, or begin one, and keep other processes from it.

    Raises:
        MissingExtraError: Optuna is not installed.
        OutputError: Another process tunes there, or the file cannot be written or is damaged.
    """
    try:
        import optuna
        from sqlalchemy import URL
        from sqlalchemy.exc import DatabaseError
    except ImportError:
        raise MissingExtraError("tuning", "tune") from None
    path = folder / STUDY_FILE
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with _locked(folder):
            inner = optuna.create_study(
                storage=optuna.storages.RDBStorage(
                    URL.create("sqlite", database=str(path.absolute())).render_as_string(hide_password=False)
                ),
                study_name=_NAME,
                load_if_exists=True,
                direction="minimize" if plan.objective == "loss" else "maximize",
                pruner=_pruner(plan),
            )
            yield Study(inner, plan, space, base)
    except (optuna.exceptions.StorageInternalError, DatabaseError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise OutputError(
            f"{path}: cannot be used ({reason}); see that the disk has space and the folder can be written, or begin "
            "anew with --overwrite"
        ) from error
    finally:
        optuna.logging.set_verbosity(verbosity)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / _LOCK_FILE).open("ab")
    except OSError as error:
        raise output_error(folder, error) from error
    with file:
        if not lock(file):
            raise OutputError(f"{folder}: another process is tuning there; wait for it, or choose another folder")
        yield


def _pruner(plan: Plan) -> Any:
    from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

    if plan.pruner == "none":
        return NopPruner()
    least = math.ceil(_WARMUP_SHARE * plan.most_epochs)
    if plan.pruner == "hyperband":
        return HyperbandPruner(min_resource=least, max_resource=plan.n_folds * plan.most_epochs)
    return MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=least)

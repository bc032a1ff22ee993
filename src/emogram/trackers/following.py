"""What a training tells, handed to every tracker; none of them can stop it or change what comes out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

from emogram.config import RunConfig
from emogram.dataset import Dataset
from emogram.errors import MissingExtraError
from emogram.progress import SILENT, Progress
from emogram.records import Report
from emogram.trackers.about import About, describe_run
from emogram.trackers.apart import Apart
from emogram.trackers.mlflow import whole_uri
from emogram.trackers.tensorboard import TensorBoard
from emogram.trackers.tracker import Status, Tracker, warn

PICTURES = (
    "confusion_matrix",
    "per_class_accuracy",
    "reliability",
    "dimensions",
)  # others draw what trackers draw themselves
BEGIN_S = 120.0  # for a group, which has to be there before its folds; a new SQLite database takes 8 s


@dataclass(frozen=True)
class Trackers:
    """Which trackers a training tells.

    Attributes:
        tensorboard: Event files in the run folder.
        mlflow: Address of an MLflow store, as `mlflow.whole_uri` gives it; None: no MLflow.
        wandb: Weights & Biases.
        group: The folder of the cross-validation that trainings are part of.
    """

    tensorboard: bool = True
    mlflow: str | None = None
    wandb: bool = False
    group: Path | None = None

    def inside(self, group: Path) -> Trackers:
        """Return the same for trainings that are part of a cross-validation in that folder."""
        return replace(self, group=group)


NO_TRACKERS = Trackers(tensorboard=False)


def choose_trackers(*, tensorboard: bool = True, mlflow: bool | str = False, wandb: bool = False) -> Trackers:
    """Return trackers that can be used here.

    Args:
        tensorboard: Whether to write event files.
        mlflow: True, or the address of a store: a server, `sqlite:///FILE` or a folder.
        wandb: Whether to tell Weights & Biases.

    Raises:
        MissingExtraError: One of them is not installed.
    """
    if mlflow and find_spec("mlflow") is None:
        raise MissingExtraError("MLflow", "mlflow")
    if wandb and find_spec("wandb") is None:
        raise MissingExtraError("Weights & Biases", "wandb")
    return Trackers(tensorboard, whole_uri(mlflow if isinstance(mlflow, str) else None) if mlflow else None, wandb)


@dataclass
class Following:
    """The trackers of one run that still work.

    Attributes:
        trackers: By the name that a reader knows them by.
        out: The run folder.
        progress: Is told, once, that a tracker failed.
        interrupted: Whether the run ended early, by Ctrl-C.
    """

    trackers: dict[str, Tracker] = field(default_factory=dict)
    out: Path = Path()
    progress: Progress = SILENT
    interrupted: bool = False

    def epochs(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Tell the results of epochs, see `Tracker.epochs`."""
        self._each(lambda tracker: tracker.epochs(rows))

    def picture(self, name: str, path: Path) -> None:
        """Tell of a PNG file."""
        self._each(lambda tracker: tracker.picture(name, str(path.absolute())))

    def judged(self, report: Report, plots: Sequence[Path], *, part: str, model: Path | None = None) -> None:
        """Tell how good a model is: figures such as "test/uar" and "test/recall/angry", `PICTURES`, and the model.

        Args:
            report: The figures.
            plots: What was drawn of them.
            part: Of the split, that judged.
            model: Its folder, finished; None where several were judged together.
        """
        recalls = {f"recall/{label}": scores["recall"] for label, scores in report.per_class.items()}
        metrics = {f"{part}/{name}": float(value) for name, value in {**report.metrics, **recalls}.items()}
        self.result(metrics, [path for path in plots if path.stem in PICTURES], model=model)

    def result(self, metrics: Mapping[str, float], plots: Sequence[Path], *, model: Path | None = None) -> None:
        """Tell figures by their full names, plots, and a finished model."""
        for path in plots:
            self.picture(f"plots/{path.stem}", path)
        self._each(lambda tracker: tracker.result(metrics, None if model is None else str(model.absolute())))

    def settle(self) -> None:
        """Wait until trackers in other processes have begun."""
        for tracker in list(self.trackers.values()):
            if isinstance(tracker, Apart):
                tracker.settle(BEGIN_S)

    def end(self, status: Status) -> None:
        """Close all of them."""
        self._each(lambda tracker: tracker.end(status))

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self.trackers.items()):
            try:
                call(tracker)
            except (
                Exception
            ) as error:  # of foreign code, over a network: anything, and nothing that may stop a training
                del self.trackers[name]
                words = str(error).strip() or type(error).__name__
                warn(self.progress, name, words, self.out, then="and leaves it out")
                if isinstance(tracker, Apart):
                    tracker.drop()


@contextlib.contextmanager
def follow(trackers: Trackers, about: About, *, progress: Progress = SILENT) -> Iterator[Following]:
    """Give the trackers of a run, begun, and close them with how it ended.

    Raises:
        MissingExtraError: Event files are asked for, and tensorboardX is not installed.
    """
    found: dict[str, Tracker] = {}
    if trackers.tensorboard:
        found["TensorBoard"] = TensorBoard(about)
    if trackers.mlflow is not None:
        found["MLflow"] = Apart("MLflow", about, uri=trackers.mlflow, progress=progress)
    if trackers.wandb:
        found["W&B"] = Apart("W&B", about, progress=progress)
    following = Following(found, about.folder, progress)
    following._each(lambda tracker: tracker.begin())
    try:
        yield following
    except KeyboardInterrupt:
        following.end("interrupted")
        raise
    except BaseException:
        following.end("failed")
        raise
    following.end("interrupted" if following.interrupted else "finished")


@contextlib.contextmanager
def follow_group(
    trackers: Trackers, config: RunConfig, dataset: Dataset, *, progress: Progress = SILENT
) -> Iterator[Following]:
    """Give the trackers of a cross-validation as a whole, ready for its trainings; see `follow`."""
    assert trackers.group is not None, "it is that of the trainings"
    # Always "resumed": the same command again goes on.
    about = describe_run(trackers.group, config, dataset, group=trackers.group, resumed=True)
    with follow(trackers, about, progress=progress) as following:
        following.settle()
        yield following

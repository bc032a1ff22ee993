"""What happens between the epochs of a training: validation, the best model, the history, the reader's screen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emogram import metrics
from emogram.apart import narrowed
from emogram.backend import keras
from emogram.batches import TrainingBatches
from emogram.dataset import Dataset, Indices
from emogram.devices import alone
from emogram.export import run_network, run_outputs
from emogram.files import writing
from emogram.network import CLASSES, DIMENSIONS
from emogram.progress import Progress, Task
from emogram.trackers import Following
from emogram.writers import write_history

Logs = dict[str, Any]
History = dict[str, list[float]]


class Validate(keras.callbacks.Callback):  # type: ignore[misc]
    """Judge the network on the validation part after each epoch; must stand before all that read its results.

    The judged network is `twin`, in single precision, with the weights of the trained one or their running average:
    it is the one that is kept, so what is measured is what ships. Adds "val_loss" (negative log-likelihood),
    "val_accuracy", "val_uar" and "val_recall_<label>" to the epoch's logs, and "learning_rate". Of dimensions it adds
    "val_ccc" and "val_ccc_<dimension>", and 1 - CCC to the loss.
    """

    def __init__(
        self,
        twin: keras.Model,
        dataset: Dataset,
        indices: Indices,
        *,
        weight_average: float,
        values: npt.NDArray[np.float32] | None = None,
        dimension_weight: float = 1.0,
    ) -> None:
        """Take the single-precision twin and the validation part; of all clips the dimensions, as `batches` does."""
        super().__init__()
        self._twin = twin
        self._dataset = dataset
        self._indices = indices
        self._values = values
        self._weight = dimension_weight if dataset.labels else 1.0
        self._memory = weight_average
        self._average: list[npt.NDArray[np.float32]] | None = None
        self._steps = 0

    def state(self) -> dict[str, Any]:
        """Return the running average of the weights."""
        return {"average": self._average, "steps": self._steps}

    def restore(self, state: dict[str, Any]) -> None:
        """Put the running average back."""
        self._average, self._steps = state["average"], state["steps"]

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Move the running average of the weights."""
        if not self._memory:
            return
        weights = self.model.get_weights()
        # A short memory at the start, so that the random first weights are soon forgotten.
        self._steps += 1
        memory = min(self._memory, self._steps / (self._steps + 10))
        if self._average is None:
            self._average = weights
            return
        for average, current in zip(self._average, weights, strict=True):
            if np.issubdtype(average.dtype, np.floating):
                average += (1 - memory) * (current - average)
            else:
                average[...] = current

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Judge, and put the results into `logs`."""
        assert logs is not None, "Keras gives logs"
        with alone():
            weights = self.model.get_weights() if self._average is None else self._average
            self._twin.set_weights(narrowed(weights, self._twin))
            answers = (
                {CLASSES: network_probabilities(self._twin, self._dataset, self._indices)}
                if self._values is None
                else network_answers(self._twin, self._dataset, self._indices)
            )
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        if not all(np.isfinite(each).all() for each in answers.values()):
            # Not 0, which would be better than nothing: such a network must never become the best one.
            names = {CLASSES: ("val_accuracy", "val_uar"), DIMENSIONS: ("val_ccc",)}
            logs.update(val_loss=math.inf, **{name: math.nan for each in answers for name in names[each]})
            return
        logs["val_loss"] = 0.0
        if CLASSES in answers:
            self._judge_classes(answers[CLASSES], logs)
        if DIMENSIONS in answers:
            self._judge_dimensions(answers[DIMENSIONS], logs)

    def _judge_classes(self, probabilities: npt.NDArray[np.float32], logs: Logs) -> None:
        targets = self._dataset.targets[self._indices]
        logs["val_loss"] += metrics.nll(probabilities, targets)
        logs["val_accuracy"] = metrics.accuracy(targets, probabilities)
        logs["val_uar"] = metrics.uar(targets, probabilities)
        for label, scores in metrics.per_class_scores(targets, probabilities, self._dataset.labels).items():
            logs[f"val_recall_{label}"] = scores["recall"]

    def _judge_dimensions(self, told: npt.NDArray[np.float32], logs: Logs) -> None:
        assert self._values is not None, "a network that tells dimensions is judged by them"
        scores = metrics.dimension_scores(
            metrics.DimensionValues(self._dataset.dimensions, self._values[self._indices], told)
        )
        found = [each["ccc"] for each in scores.values() if each["n_clips"]]
        logs["val_ccc"] = float(np.mean(found)) if found else math.nan
        logs["val_loss"] += self._weight * (1.0 - logs["val_ccc"])
        for name, each in scores.items():
            logs[f"val_ccc_{name}"] = each["ccc"]


class KeepBest(keras.callbacks.Callback):  # type: ignore[misc]
    """Save the network whenever it is better than all before, never half-written, and mark the epoch as "best"."""

    def __init__(self, twin: keras.Model, path: Path, *, monitor: str) -> None:
        """Save `twin` to `path` when the log `monitor` improves: falls for a loss, rises otherwise."""
        super().__init__()
        self._twin = twin
        self._path = path
        self._monitor = monitor
        self.best_epoch: int | None = None
        self._best = -math.inf
        self._weights: list[npt.NDArray[Any]] = []

    def state(self) -> dict[str, Any]:
        """Return the best network so far: its weights too, since the file may be of an epoch that was lost."""
        return {"best": self._best, "best_epoch": self.best_epoch, "weights": self._weights}

    def restore(self, state: dict[str, Any]) -> None:
        """Put the best network back, on disk as well."""
        self._best, self.best_epoch, self._weights = state["best"], state["best_epoch"], state["weights"]
        if self.best_epoch is not None:
            with alone():
                self._twin.set_weights(self._weights)
            self._write()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save if better."""
        value = float((logs or {})[self._monitor])
        score = -value if self._monitor.endswith("loss") else value
        better = math.isfinite(score) and score > self._best
        if logs is not None:
            logs["best"] = float(better)
        if better:
            self._write()
            self._best, self.best_epoch, self._weights = score, epoch, self._twin.get_weights()

    def _write(self) -> None:
        with writing(self._path) as temporary:
            self._twin.save(temporary)


class EmphasizeHard(keras.callbacks.Callback):  # type: ignore[misc]
    """Augment those classes more strongly whose validation recall lies below the mean."""

    def __init__(self, batches: TrainingBatches, labels: tuple[str, ...], *, strength: float) -> None:
        """Set the strengths of `batches` after each epoch."""
        super().__init__()
        self._batches = batches
        self._labels = labels
        self._strength = strength

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Find the hard classes anew."""
        recalls = np.asarray([(logs or {}).get(f"val_recall_{label}", np.nan) for label in self._labels])
        if np.isnan(recalls).all():  # the loss is infinite, and nothing was judged
            return
        hard = recalls < np.nanmean(recalls)
        self._batches.strength_of_label = np.where(hard, self._strength, 1.0).astype(np.float32)


class Record(keras.callbacks.Callback):  # type: ignore[misc]
    """Keep the history, on disk after every epoch in `history.csv`, and tell the trackers of each."""

    def __init__(self, file: Path, following: Following | None = None) -> None:
        """Write the history to `file`."""
        super().__init__()
        self._file = file
        self._following = following or Following()
        self.history: History = {"epoch": []}

    def state(self) -> dict[str, Any]:
        """Return the history."""
        return {"history": self.history}

    def restore(self, state: dict[str, Any]) -> None:
        """Put the history back, on disk as well; a tracker may have missed some of it."""
        self.history = state["history"]
        write_history(self._file, self.history)
        n_epochs = len(self.history["epoch"])
        self._following.epochs([{name: values[i] for name, values in self.history.items()} for i in range(n_epochs)])

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Add one row."""
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        for name, value in row.items():
            self.history.setdefault(name, [math.nan] * (len(self.history["epoch"]) - (name != "epoch"))).append(value)
        width = len(self.history["epoch"])
        for values in self.history.values():
            values.extend([math.nan] * (width - len(values)))
        write_history(self._file, self.history)
        self._following.epochs([row])


class Tell(keras.callbacks.Callback):  # type: ignore[misc]
    """Tell the reader how far the training is; must stand last."""

    def __init__(
        self,
        task: Task,
        progress: Progress,
        *,
        batches: TrainingBatches,
        n_epochs: int,
        keep: KeepBest,
    ) -> None:
        """Report clips to `task` and a line for each epoch to `progress`."""
        super().__init__()
        self._batches = batches
        self._task = task
        self._progress = progress
        self._n_epochs = n_epochs
        self._keep = keep
        self._told = 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Begin where the epoch begins."""
        self._told = self._batches.clips_of(self._batches.first_step)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Advance by the clips of one step."""
        done = self._batches.clips_of(self._batches.first_step + batch + 1)
        note = " ".join(f"{name} {float(value):.3f}" for name, value in (logs or {}).items())
        self._task.advance(done - self._told, note=note)
        self._told = done

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Say the results of the epoch in one line, the recall of each class among them."""
        best = "  * best so far" if self._keep.best_epoch == epoch else ""
        self._progress.say(f"epoch {epoch + 1:>3}/{self._n_epochs}  {epoch_line(logs or {})}{best}")


def epoch_line(logs: Mapping[str, float]) -> str:
    """Return the results of an epoch in one line."""
    trained, judged = f"loss {logs.get('loss', math.nan):.3f}", f"validation loss {logs['val_loss']:.3f}"
    if "val_uar" in logs:
        trained += f"  accuracy {logs.get('accuracy', math.nan):6.1%}"
        judged += f"  accuracy {logs['val_accuracy']:6.1%}  UAR {logs['val_uar']:6.1%}"
    if "val_ccc" in logs:
        trained += f"  CCC {logs.get('ccc', math.nan):.3f}"
        judged += f"  CCC {logs['val_ccc']:.3f}"
    single = [
        f"{name.removeprefix(before)[:5]} {value:{form}}"
        for before, form in (("val_recall_", "3.0%"), ("val_ccc_", ".2f"))
        for name, value in logs.items()
        if name.startswith(before)
    ]
    return f"{trained}  |  {judged}  |  {' '.join(single)}"


def network_probabilities(network: keras.Model, dataset: Dataset, indices: Indices) -> npt.NDArray[np.float32]:
    """Return what a Keras network says of some clips, each at its own length; shape (len(indices), n_labels)."""
    probabilities = np.zeros((len(indices), len(dataset.labels)), dtype=np.float32)
    for positions in dataset.same_length_groups(indices):
        probabilities[positions] = run_network(network, dataset.inputs(indices[positions]))
    return probabilities


def network_answers(network: keras.Model, dataset: Dataset, indices: Indices) -> dict[str, npt.NDArray[np.float32]]:
    """Return each output of a Keras network by its name, likewise; shape (len(indices), n_values)."""
    answers: dict[str, npt.NDArray[np.float32]] = {}
    for positions in dataset.same_length_groups(indices):
        for name, values in run_outputs(network, dataset.inputs(indices[positions])).items():
            answers.setdefault(name, np.zeros((len(indices), values.shape[1]), np.float32))[positions] = values
    return answers

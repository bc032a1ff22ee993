"""All that a training knows -> a checkpoint, and back: what goes on comes to the same numbers as if never stopped.

That holds on one machine with as many threads. On a graphics card two trainings of one seed need not come to the same
numbers anyway, and the one that goes on is no further from them.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import random
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from emogram import __version__
from emogram.backend import keras
from emogram.batches import TrainingBatches
from emogram.checkpoints import CHECKPOINTS_FOLDER, Checkpoint, Checkpoints, State
from emogram.config import RunConfig, flat_settings
from emogram.copies import DEGRADE
from emogram.dataset import FRONT_END, Dataset
from emogram.errors import SettingsError
from emogram.lineage import Lineage, describe_origins
from emogram.progress import Progress
from emogram.splits import Split

# A checkpoint is written after an epoch unless that would take more than this share of the time since the last one ...
SHARE_OF_TIME = 0.01
# ... and within an epoch when this much would be lost otherwise: an epoch of the recipes here takes a minute, but one
# on a hundred hours of speech may take as long as all of their training.
WITHIN_S = 300.0


class AnotherTrainingError(SettingsError):
    """What a run folder holds is not the training that is to go on."""


class Remembers(Protocol):
    """Something whose state belongs into a checkpoint."""

    def state(self) -> State:
        """Return all that has to be put back."""
        ...

    def restore(self, state: State) -> None:
        """Put it back."""
        ...


class Attributes:
    """The state of something of Keras that keeps it in attributes."""

    KEPT: Mapping[type, Sequence[str]] = {
        keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
        keras.callbacks.EarlyStopping: ("wait", "best", "best_epoch", "stopped_epoch"),
    }

    def __init__(self, owner: object) -> None:
        """Keep the attributes of a callback that `KEPT` names."""
        self._owner = owner

    def state(self) -> State:
        """Return the attributes."""
        return {name: getattr(self._owner, name) for name in self.KEPT[type(self._owner)]}

    def restore(self, state: State) -> None:
        """Set the attributes."""
        for name, value in state.items():
            setattr(self._owner, name, value)


class Save(keras.callbacks.Callback):  # type: ignore[misc]
    """Write checkpoints, and put the state of one back when training begins; must stand after all it remembers."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        about: Mapping[str, Any],
        batches: TrainingBatches,
        callbacks: Sequence[keras.callbacks.Callback],
        *,
        begun: Checkpoint | None,
    ) -> None:
        """Take all that has a state.

        Args:
            checkpoints: Where they are written.
            about: What the training is; see `describe_training`.
            batches: What is trained on.
            callbacks: Those before this one.
            begun: Where to go on; None: at the beginning.
        """
        super().__init__()
        self._checkpoints = checkpoints
        self._about = about
        self._parts: dict[str, Remembers] = {"batches": batches}
        for callback in callbacks:
            if type(callback) in Attributes.KEPT:
                self._parts[type(callback).__name__] = Attributes(callback)
            elif hasattr(callback, "restore"):
                self._parts[type(callback).__name__] = callback
        self._state = None if begun is None else begun.state
        self._batches = batches
        self._epoch = 0
        self._saved = 0.0
        self._cost_s = 0.0

    def place(self) -> tuple[int, int, bool]:
        """Return where training goes on: epochs that are done, steps of the next one that are, and if it had ended."""
        if self._state is None:
            return 0, 0, False
        return self._state["epoch"], self._state["step"], self._state["stopped"]

    def on_train_begin(self, logs: State | None = None) -> None:
        """Put everything back, after the other callbacks have begun with nothing."""
        self._saved = time.monotonic()
        if self._state is None:
            return
        for name, part in self._parts.items():
            part.restore(self._state["parts"][name])
        _put_back(_variables(self.model), self._state["network"])
        _restore_random(self._state["random"])

    def on_epoch_begin(self, epoch: int, logs: State | None = None) -> None:
        """Put back what an epoch that is half done has measured, since Keras has just forgotten it."""
        self._epoch = epoch
        if self._state is not None and self._batches.first_step:
            _put_back(self.model.metrics_variables, self._state["measured"])

    def on_train_batch_begin(self, batch: int, logs: State | None = None) -> None:
        """Put the generators back as they were within an epoch: its beginning, done again, has just drawn from them."""
        if self._state is not None and self._batches.first_step:
            _restore_random(self._state["random"])
        self._state = None

    def on_train_batch_end(self, batch: int, logs: State | None = None) -> None:
        """Save within an epoch that is long."""
        step = self._batches.first_step + batch + 1
        if time.monotonic() - self._saved >= WITHIN_S and step < self._batches.n_steps:
            if hasattr(self.model, "jax_state_sync"):  # on JAX the weights lie elsewhere during an epoch
                self.model.jax_state_sync()
            self._save(self._epoch, step)

    def on_epoch_end(self, epoch: int, logs: State | None = None) -> None:
        """Save, or only remember, if an epoch is over so soon that saving would slow the training down."""
        if time.monotonic() - self._saved >= self._cost_s / SHARE_OF_TIME:
            self._save(epoch + 1, 0)

    def remember(self, epoch: int) -> None:
        """Take the state as it is now for the next time that training begins, with so many epochs done."""
        self._state = self._now(epoch, 0)

    def _save(self, epoch: int, step: int) -> None:
        began = time.monotonic()
        self._checkpoints.write(Checkpoint(self._about, self._now(epoch, step)))
        self._saved = time.monotonic()
        self._cost_s = self._saved - began

    def _now(self, epoch: int, step: int) -> State:
        return {
            "epoch": epoch,
            "step": step,
            "stopped": bool(self.model.stop_training),
            "parts": {name: part.state() for name, part in self._parts.items()},
            "network": [keras.ops.convert_to_numpy(one.value) for one in _variables(self.model)],
            "measured": [keras.ops.convert_to_numpy(one.value) for one in self.model.metrics_variables],
            "random": _random_state(),
        }


def fit_on(
    network: keras.Model, batches: TrainingBatches, callbacks: Sequence[keras.callbacks.Callback], *, epochs: int
) -> None:
    """Train from where the callback `Save` says until all epochs are done, or a callback ends it.

    To Keras all epochs of a call are of one length, so that one that is half done is ended in a call of its own.
    """
    (save,) = (callback for callback in callbacks if isinstance(callback, Save))
    epoch, step, stopped = save.place()
    fit = partial(network.fit, batches, shuffle=False, callbacks=list(callbacks), verbose=0)
    if step and not stopped:
        batches.first_step = step
        fit(initial_epoch=epoch, epochs=epoch + 1)
        batches.first_step = 0
        save.remember(epoch + 1)
        epoch, step, stopped = save.place()
    # Where nothing is left, this puts the state back and trains nothing.
    fit(initial_epoch=epochs if stopped else epoch, epochs=epochs)


def fit_at_once(
    network: keras.Model,
    batches: TrainingBatches,
    callbacks: Sequence[keras.callbacks.Callback],
    *,
    logs: Mapping[str, float],
) -> None:
    """Tell the callbacks of the one epoch of a network that was solved; `logs` are its loss and accuracy."""
    all_of_them = keras.callbacks.CallbackList(list(callbacks), model=network)
    all_of_them.on_train_begin()
    all_of_them.on_epoch_begin(0)
    all_of_them.on_train_batch_end(batches.n_steps - 1, dict(logs))
    all_of_them.on_epoch_end(0, dict(logs))
    all_of_them.on_train_end()


def reopen(run: Path, config: RunConfig, *, progress: Progress) -> Checkpoint | None:
    """Return where the training in a run folder stands; None, where nothing was saved yet.

    Raises:
        AnotherTrainingError: It was begun with other settings.
        ModelError: It was begun by a version of emogram that writes checkpoints otherwise.
    """
    found, problems = Checkpoints(run / CHECKPOINTS_FOLDER).newest()
    for problem in problems:
        progress.say(f"{problem}; {'going on from the one before' if found else 'it is left out'}")
    if found is None:
        progress.say(f"{run}: nothing was saved yet; training begins at the beginning")
        return None
    refuse_other_settings(run, found.about["settings"], config)
    return found


def is_begun(run: Path, config: RunConfig) -> bool:
    """Tell whether a run folder holds the checkpoint of a training with these settings: it was interrupted.

    Raises:
        ModelError: It was written by a version of emogram that writes checkpoints otherwise.
    """
    found, _ = Checkpoints(run / CHECKPOINTS_FOLDER).newest()
    return found is not None and _with_defaults(found.about["settings"]) == _plain(config.to_dict())


def refuse_other_settings(run: Path, settings: Mapping[str, Any], config: RunConfig) -> None:
    """See that a training in `run` that was begun with some settings goes on with the same ones.

    Raises:
        AnotherTrainingError: They differ; they are named.
    """
    differing = differences(_with_defaults(settings), _plain(config.to_dict()))
    if differing:
        raise AnotherTrainingError(
            f"{run}: was begun with other settings: {'; '.join(differing)}; go on with the same ones, or begin anew "
            "with --overwrite"
        )


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in words which settings, nested by section, were others before than they are now."""
    before, after = flat_settings(then), flat_settings(now)
    return [
        f"{name} was {before.get(name, 'not set')} and is {after.get(name, 'not set')}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def describe_training(
    dataset: Dataset, split: Split, config: RunConfig, lineage: Lineage, *, precision: str, n_devices: int
) -> dict[str, Any]:
    """Return all that decides what comes out of a training, as a checkpoint keeps it."""
    versions = {"emogram": __version__}
    for name in ("keras", "numpy", keras.backend.backend()):
        versions[name] = importlib.metadata.version(name)
    return {
        "settings": _plain(config.to_dict()),
        "data": _hash_of(dataset, split, lineage),
        "n_clips": len(dataset.clips),
        "back_end": keras.backend.backend(),
        "devices": n_devices,
        "precision": precision,
        "versions": versions,
    }


def refuse_another(run: Path, begun: Mapping[str, Any], now: Mapping[str, Any], *, progress: Progress) -> None:
    """See that what goes on is what was begun; the reader is told of other versions.

    Raises:
        AnotherTrainingError: The clips, the back end or the number of devices are others.
    """
    advice = "or begin anew with --overwrite"
    if begun["back_end"] != now["back_end"]:
        raise AnotherTrainingError(
            f"{run}: was begun on {begun['back_end']} and this is {now['back_end']}; set "
            f"KERAS_BACKEND={begun['back_end']}, {advice}"
        )
    if begun["devices"] != now["devices"]:
        raise AnotherTrainingError(
            f"{run}: was begun on {begun['devices']} devices and this is on {now['devices']}; give it as many, {advice}"
        )
    if begun["data"] != now["data"]:
        raise AnotherTrainingError(
            f"{run}: was begun on other clips ({begun['n_clips']} of them; here are {now['n_clips']}), on the same in "
            f"another order, or from other models; give it the same, {advice}"
        )
    other = [
        f"{name} {version} and not {now['versions'].get(name)}"
        for name, version in begun["versions"].items()
        if now["versions"].get(name) != version
    ]
    if other:
        progress.say(f"{run}: was begun with {', '.join(other)}: the numbers may differ from an uninterrupted training")


def _hash_of(dataset: Dataset, split: Split, lineage: Lineage) -> str:
    """Return a hash over all clips in their order, their parts, and the models that training learns from."""
    digest = hashlib.sha256(f"{FRONT_END} {DEGRADE} {' '.join(dataset.labels)}\n".encode())
    for clip, sample in zip(dataset.clips, dataset.samples, strict=True):
        words = [sample.content, clip.label, clip.speaker, clip.corpus, len(sample.variants)]
        words += [clip.extra.get(name) for name in dataset.dimensions]
        digest.update(json.dumps(words).encode() + b"\n")
    for name, indices in split.parts.items():
        digest.update(f"{name} {indices.tolist()}\n".encode())
    origins = describe_origins(lineage)
    models = [origin.model_dump(mode="json") for origin in (origins["init"], *origins["teachers"]) if origin]
    digest.update(json.dumps(models).encode())
    return digest.hexdigest()


def _with_defaults(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return settings with the defaults of those that did not exist when they were written."""
    try:
        filled: Mapping[str, Any] = _plain(RunConfig.from_dict(settings).to_dict())
    except SettingsError:  # one that is known no longer: whoever compares them names it
        return settings
    return filled


def _plain(value: Any) -> Any:
    """Return a value as JSON gives it back."""
    return json.loads(json.dumps(value))


def _variables(network: keras.Model) -> list[Any]:
    """Return all variables that a step of training changes: weights, seeds of dropout, the optimizer's."""
    found = {id(one): one for one in [*network.variables, *network.optimizer.variables]}
    return list(found.values())


def _put_back(variables: Sequence[Any], values: Sequence[Any]) -> None:
    if [tuple(one.shape) for one in variables] != [value.shape for value in values]:
        raise AnotherTrainingError(
            "the checkpoint is of a network that this version builds otherwise; begin anew with --overwrite"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _random_state() -> State:
    """Return the state of every generator of the process: of Python, of NumPy, and of PyTorch where it computes."""
    version, numbers, rest = random.getstate()
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # which libraries draw from
    state: State = {
        "python": [version, np.asarray(numbers, np.uint32), rest],
        "numpy": [kind, np.asarray(keys), position, has_gauss, gauss],
    }
    if keras.backend.backend() == "torch":
        import torch

        state["torch"] = torch.get_rng_state().numpy()
        state["cuda"] = [one.numpy() for one in torch.cuda.get_rng_state_all()] if torch.cuda.is_available() else []
    return state


def _restore_random(state: State) -> None:
    version, numbers, rest = state["python"]
    random.setstate((version, tuple(numbers.tolist()), rest))
    np.random.set_state(tuple(state["numpy"]))
    if "torch" in state:
        import torch

        torch.set_rng_state(torch.from_numpy(state["torch"].copy()))
        for device, one in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(torch.from_numpy(one.copy()), device)

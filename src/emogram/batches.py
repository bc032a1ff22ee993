"""Training clips -> augmented batches, the same ones for the same seed, epoch and step."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from emogram.augment import LOG_MEL_AXES, PICTURE_AXES, augment, cutmix, mixup
from emogram.backend import keras
from emogram.balance import clip_weights, drawn_apart, possible_labels
from emogram.config import AugmentConfig, TrainConfig
from emogram.dataset import Dataset, HalfArray, Indices
from emogram.errors import SettingsError
from emogram.losses import IMPOSSIBLE

FloatArray = npt.NDArray[np.float32]
Teach = Callable[[FloatArray], FloatArray]
Batch = tuple[dict[str, FloatArray] | FloatArray, FloatArray, FloatArray]


class TrainingBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """What `keras.Model.fit` trains on: every epoch in a new order, every clip changed anew.

    All randomness of a batch comes from (seed, epoch, step), so that it does not depend on how it was reached. In which
    order an epoch takes its steps is drawn when it begins; `fit` is to be called with `shuffle=False`.
    """

    def __init__(
        self,
        dataset: Dataset,
        indices: Indices,
        *,
        train: TrainConfig,
        augmentation: AugmentConfig,
        values: FloatArray | None = None,
        teach: Teach | None = None,
        n_taught: int | None = None,
        n_devices: int = 1,
    ) -> None:
        """Take the training part of a dataset.

        Args:
            dataset: All clips.
            indices: Those that train.
            train: Batch size, length, seed, how much clips count, how many of `training_only` corpora an epoch has.
            augmentation: How clips are changed.
            values: Of each clip its dimensions from 0 to 1, shape (n_clips, n_dimensions), NaN where it has none; where
                they are given, targets are as `heads.Heads` has them.
            teach: Tells of a batch of spectrograms what others say of it, `train.teacher_share` of the targets.
            n_taught: How many labels, the first ones, these others know; None: all. See `apart`.
            n_devices: Devices that share each batch evenly; the few clips that are left over in an epoch wait for the
                next, which has another order.

        Raises:
            SettingsError: A device would have no clip of a batch.
        """
        own, also = drawn_apart(dataset, indices, train)
        n_clips = len(own) + min(train.also_clips, len(also))
        if min(train.batch_size, n_clips) < n_devices:
            raise SettingsError(
                f"{n_devices} devices, and {min(train.batch_size, n_clips)} clips a batch; raise --batch-size, or use "
                "fewer devices"
            )
        super().__init__(workers=1)
        self._dataset = dataset
        self._own, self._also = own, also
        self._train = train
        self._augmentation = augmentation
        self._teach = teach
        self._n_taught = len(dataset.labels) if n_taught is None else n_taught
        self._n_devices = n_devices
        self.n_clips = n_clips - n_clips % n_devices  # of an epoch
        self._axes, self._log_mel = PICTURE_AXES, dataset.samples[0].spectrogram.shape[-1] == 1
        if self._log_mel:
            settings = dataset.spectrogram  # None where the spectrograms were made elsewhere
            self._axes = replace(LOG_MEL_AXES, n_periodicity=settings.periodicity_bands if settings else 0)
        one_hot: npt.NDArray[Any] = np.zeros((len(dataset), 0), np.float32)
        possible: npt.NDArray[Any] = one_hot
        if dataset.labels:
            one_hot = np.eye(len(dataset.labels), dtype=np.float32)[dataset.targets]
            possible = possible_labels(dataset, indices) if train.mask_missing_labels else np.ones_like(one_hot)
        weights = clip_weights(dataset, indices, train)[:, np.newaxis]
        numbers = [] if values is None else _weighed_numbers(values, dataset, indices, train)
        # Side by side, since all of them are mixed when clips are.
        self._answers = np.concatenate([one_hot, possible, *numbers, weights], axis=1, dtype=np.float32)
        self._ends = np.cumsum([part.shape[1] for part in (one_hot, possible, *numbers)])
        self.strength_of_label = np.ones(max(1, len(dataset.labels)), dtype=np.float32)
        self.epoch = 0
        self.first_step = 0  # of the epoch: an epoch that was interrupted goes on at a later one
        self._drawn: tuple[int, Indices] | None = None
        self._steps: list[int] = []  # in the order in which they are taken; empty: as they are numbered

    @property
    def n_steps(self) -> int:
        """The number of steps of a whole epoch."""
        return -(-self.n_clips // self._train.batch_size)

    def clips_of(self, n_steps: int) -> int:
        """Return how many of the clips of an epoch so many of its steps come to."""
        return round(n_steps * self.n_clips / self.n_steps)

    def __len__(self) -> int:
        """Return the number of steps that are left of an epoch."""
        return self.n_steps - self.first_step

    def state(self) -> dict[str, Any]:
        """Return what the next batches depend on beside the seed and the step."""
        return {"epoch": self.epoch, "steps": self._steps, "strength_of_label": self.strength_of_label}

    def restore(self, state: dict[str, Any]) -> None:
        """Put a state back."""
        self.epoch, self._steps, self.strength_of_label = state["epoch"], state["steps"], state["strength_of_label"]

    def on_epoch_begin(self) -> None:
        """Draw the order of the steps, unless an epoch goes on that was interrupted; Keras calls it."""
        if not self.first_step:
            self._steps = list(range(self.n_steps))
            random.shuffle(self._steps)  # as Keras would do itself, but known here

    def on_epoch_end(self) -> None:
        """Turn to the next epoch; Keras calls it."""
        self.epoch += 1

    def __getitem__(self, step: int) -> Batch:
        """Return inputs, targets and sample weights of one step, the first of those that are left being 0."""
        step += self.first_step
        if self._steps:
            step = self._steps[step]
        # Parts of nearly equal size: a last batch of one clip would upset batch normalisation.
        shares = self._order_of(self.epoch)[: self.n_clips].reshape(-1, self._n_devices)
        size, n_larger = divmod(len(shares), self.n_steps)
        first = step * size + min(step, n_larger)
        chosen = shares[first : first + size + (step < n_larger)].ravel()
        rng = np.random.default_rng((self._train.seed, self.epoch, step))
        return self._weighed(*self._mixed(*self._changed(chosen, rng), rng))

    def examples(self, indices: Indices) -> tuple[FloatArray, FloatArray]:
        """Return some clips as training would be given them, had they been drawn together, and what they stand for.

        Returns:
            Spectrograms, shape (n, n_times, n_bands, 1) or of pictures, and the share of each label, (n, n_labels).
        """
        rng = np.random.default_rng((self._train.seed, 0, self.n_steps))  # a step that no epoch has
        batch, answers, _ = self._mixed(*self._changed(indices, rng), rng)
        return batch, answers[:, : len(self._dataset.labels)]

    def _changed(self, chosen: Indices, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, FloatArray | None]:
        """Return clips cut and augmented, their answers and their features."""
        samples = [self._dataset.sample_of(index, rng, self._augmentation.degraded_share) for index in chosen.tolist()]
        spectrograms = [sample.spectrogram for sample in samples]
        n_frames = self._train.train_frames or max(len(one) for one in spectrograms)
        batch = (
            np.stack([cut_or_pad(one, n_frames, rng) for one in spectrograms])
            if self._log_mel
            else np.stack(spectrograms)
        ).astype(np.float32)
        labels = self._dataset.targets[chosen]
        batch = augment(batch, self._augmentation, self._axes, rng, strength=self.strength_of_label[labels])
        found = [sample.features for sample in samples]
        features = None if found[0] is None else np.stack([one for one in found if one is not None])
        return batch, self._answers[chosen], features

    def _order_of(self, epoch: int) -> Indices:
        """Return the clips in the order of an epoch, drawn once for all its steps: of a million, it takes long."""
        if self._drawn is None or self._drawn[0] != epoch:
            rng = np.random.default_rng((self._train.seed, epoch))
            clips = self._own
            if len(self._also):
                some = rng.choice(self._also, min(self._train.also_clips, len(self._also)), replace=False)
                clips = np.concatenate([clips, some])
            self._drawn = epoch, rng.permutation(clips)
        return self._drawn[1]

    def _mixed(
        self, batch: FloatArray, answers: FloatArray, features: FloatArray | None, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray, FloatArray | None]:
        config = self._augmentation
        ways = [way for way, alpha in (("mixup", config.mixup_alpha), ("cutmix", config.cutmix_alpha)) if alpha > 0]
        if not ways or rng.random() >= config.mix_probability:
            return batch, answers, features
        if ways[rng.integers(len(ways))] == "mixup":
            batch, answers, partner, share = mixup(batch, answers, config.mixup_alpha, rng)
        else:
            batch, answers, partner, share = cutmix(batch, answers, config.cutmix_alpha, self._axes, rng)
        if features is not None:
            features = features * share[:, np.newaxis] + features[partner] * (1 - share[:, np.newaxis])
        return batch, answers, features

    def _weighed(self, batch: FloatArray, answers: FloatArray, features: FloatArray | None) -> Batch:
        shares, possible, *numbers, weights = np.split(answers, self._ends, axis=1)
        if self._teach is not None:
            shares = self._taught(batch, shares, possible > 0, self._teach)
        # A label is possible where it is for either of two clips that were mixed.
        targets = np.where(possible > 0, shares, np.float32(IMPOSSIBLE))
        if numbers:
            # Where clips were mixed of which one has no number, that of the other stands for both.
            weighed, counts = numbers
            told = np.divide(weighed, counts, out=np.zeros_like(weighed), where=counts > 0)
            targets = np.concatenate([targets, told, counts], axis=1)
        inputs: Any = batch if features is None else {"spectrogram": batch, "features": features}
        return inputs, targets, weights[:, 0]

    def _taught(
        self, batch: FloatArray, shares: FloatArray, possible: npt.NDArray[np.bool_], teach: Teach
    ) -> FloatArray:
        known = possible[:, : self._n_taught].any(axis=1)  # the others have labels that are learnt apart
        said = shares.copy()
        if known.any():
            said[known] = 0.0
            said[known, : self._n_taught] = teach(batch[known])
        unsaid = ~possible.all(axis=1)
        said[unsaid] *= possible[unsaid]
        said[unsaid] /= np.maximum(said[unsaid].sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
        share = self._train.teacher_share
        mixed: FloatArray = np.float32(1 - share) * shares + np.float32(share) * said
        return mixed


def cut_or_pad(spectrogram: HalfArray, n_frames: int, rng: np.random.Generator) -> HalfArray:
    """Return a random stretch of `n_frames`, or the whole somewhere in silence, shape (n_frames, n_bands, 1)."""
    spare = len(spectrogram) - n_frames
    if spare >= 0:
        start = int(rng.integers(spare + 1))
        return spectrogram[start : start + n_frames]
    before = int(rng.integers(-spare + 1))
    return np.pad(spectrogram, ((before, -spare - before), (0, 0), (0, 0)))


def _weighed_numbers(values: FloatArray, dataset: Dataset, indices: Indices, train: TrainConfig) -> list[FloatArray]:
    """Return each number times how much it counts, and how much it counts, which is 0 where a clip has none."""
    # Classes that are rare weigh no more here: the numbers are to be told as they lie.
    weights = clip_weights(dataset, indices, train.model_copy(update={"class_weights": False}))
    counts = np.isfinite(values) * weights[:, np.newaxis]
    return [np.nan_to_num(values) * counts, counts]

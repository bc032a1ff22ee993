"""Changing spectrograms while training, in whole batches with NumPy, so that a network never sees the same one twice.

Every function takes and returns a batch of model inputs, float32 in [0, 1], shape (n, n_frames, n_bands, 1) for
log-mels or (n, height, width, 3) for pictures; an `Axes` says which axis is time and which is frequency. None of them
changes its argument. `strength`, shape (n,), scales the change of each sample: 1 is the configured one, 0 none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emogram.config import AugmentConfig

FloatArray = npt.NDArray[np.float32]
Rng = np.random.Generator


@dataclass(frozen=True)
class Axes:
    """Which axes of a batch are time and frequency.

    Attributes:
        time: Axis of time.
        frequency: Axis of the bands.
        n_periodicity: How many of the bands, the last ones, show periodicity and not sound.
    """

    time: int
    frequency: int
    n_periodicity: int = 0


LOG_MEL_AXES = Axes(time=1, frequency=2)
PICTURE_AXES = Axes(time=2, frequency=1)


def augment(batch: FloatArray, config: AugmentConfig, axes: Axes, rng: Rng, *, strength: FloatArray) -> FloatArray:
    """Apply every change that `config` asks for, in the order voice, channel, picture, masks.

    Args:
        batch: Model inputs, in [0, 1].
        config: How far each change may go; 0 switches it off.
        axes: `LOG_MEL_AXES` or `PICTURE_AXES`.
        rng: Source of all randomness.
        strength: Shape (n,), >= 0.
    """
    if axes.n_periodicity:
        return _augment_with_periodicity(batch, config, axes, rng, strength=strength)
    if config.time_stretch > 0 or config.frequency_warp > 0 or config.frequency_shift > 0:
        batch = warp(batch, config, axes, rng, strength=strength)
    if config.band_gain > 0:
        batch = band_gain(batch, config.band_gain, axes, rng, strength=strength)
    if config.noise_floor > 0:
        batch = noise_floor(batch, config.noise_floor, axes, rng, strength=strength)
    if config.contrast > 0:
        batch = contrast(batch, config.contrast, rng, strength=strength)
    if config.brightness > 0:
        batch = brightness(batch, config.brightness, rng, strength=strength)
    for _ in range(config.time_masks):
        batch = mask(batch, config.time_mask_width, axes.time, rng, strength=strength)
    for _ in range(config.frequency_masks):
        batch = mask(batch, config.frequency_mask_width, axes.frequency, rng, strength=strength)
    return batch


def _augment_with_periodicity(
    batch: FloatArray, config: AugmentConfig, axes: Axes, rng: Rng, *, strength: FloatArray
) -> FloatArray:
    """Change both kinds of bands alike in time; in frequency each in its own way."""
    n_mels = batch.shape[axes.frequency] - axes.n_periodicity
    if config.time_stretch > 0:
        batch = _stretched(batch, config.time_stretch, axes, rng, strength=strength)
    still = config.model_copy(update={"time_stretch": 0.0, "time_masks": 0})
    mel, melody = np.split(batch, [n_mels], axis=axes.frequency)
    mel = augment(mel, still, Axes(axes.time, axes.frequency), rng, strength=strength)
    if config.periodicity_shift > 0:
        shift = rng.uniform(-1, 1, len(batch)) * strength * config.periodicity_shift * axes.n_periodicity
        melody = _resample(melody, np.arange(axes.n_periodicity) - shift[:, np.newaxis], axes.frequency)
    batch = np.concatenate([mel, melody], axis=axes.frequency)
    for _ in range(config.time_masks):
        batch = mask(batch, config.time_mask_width, axes.time, rng, strength=strength)
    return batch


def brightness(batch: FloatArray, limit: float, rng: Rng, *, strength: FloatArray) -> FloatArray:
    """Add one number from [-limit, limit] to all of a sample: on a log-mel, a change of level."""
    return _clip(batch + _per_sample(rng.uniform(-limit, limit, len(batch)) * strength, batch))


def contrast(batch: FloatArray, limit: float, rng: Rng, *, strength: FloatArray) -> FloatArray:
    """Stretch each sample about its mean by a factor from [1 - limit, 1 + limit]."""
    mean = batch.mean(axis=(1, 2, 3), keepdims=True)
    factor = 1.0 + rng.uniform(-limit, limit, len(batch)) * strength
    return _clip((batch - mean) * _per_sample(np.maximum(factor, 0.0), batch) + mean)


def mask(batch: FloatArray, width: int, axis: int, rng: Rng, *, strength: FloatArray) -> FloatArray:
    """Hide a stripe of up to `width` rows or columns, a new one for each sample, behind the sample's mean.

    SpecAugment: Park et al., Interspeech 2019, arXiv:1904.08779.
    """
    size = batch.shape[axis]
    widths = np.minimum(rng.uniform(0, 1, len(batch)) * (width * strength + 1), size * 0.5).astype(int)
    starts = (rng.uniform(0, 1, len(batch)) * (size - widths + 1)).astype(int)
    masked = batch.copy()
    stripes = np.moveaxis(masked, axis, 1)
    for stripe, start, extent, mean in zip(stripes, starts, widths, batch.mean(axis=(1, 2)), strict=True):
        stripe[start : start + extent] = mean
    return masked


def warp(batch: FloatArray, config: AugmentConfig, axes: Axes, rng: Rng, *, strength: FloatArray) -> FloatArray:
    """Speak faster or slower, with a longer or shorter vocal tract, higher or lower: resample both axes linearly.

    The time axis is stretched about its middle; the frequency axis about its low end (vocal tract length perturbation,
    Jaitly and Hinton, ICML 2013 workshop, here on the mel axis) and shifted. What comes in from outside is the edge.
    """
    n = len(batch)
    batch = _stretched(batch, config.time_stretch, axes, rng, strength=strength)
    scale = np.exp(rng.uniform(-1, 1, n) * strength * np.log1p(config.frequency_warp))
    shift = rng.uniform(-1, 1, n) * strength * config.frequency_shift * batch.shape[axes.frequency]
    n_bands = batch.shape[axes.frequency]
    bands = np.arange(n_bands) / scale[:, np.newaxis] - shift[:, np.newaxis]
    if axes.frequency == 1:  # pictures: row 0 is the highest band
        bands = n_bands - 1 - bands[:, ::-1]
    return _resample(batch, bands, axes.frequency)


def _stretched(batch: FloatArray, limit: float, axes: Axes, rng: Rng, *, strength: FloatArray) -> FloatArray:
    stretch = np.exp(rng.uniform(-1, 1, len(batch)) * strength * np.log1p(limit))
    if limit == 0:  # drawn all the same, so that what is drawn later does not depend on it
        return batch
    n_times = batch.shape[axes.time]
    middle = (n_times - 1) / 2
    return _resample(batch, (np.arange(n_times) - middle) / stretch[:, np.newaxis] + middle, axes.time)


def band_gain(batch: FloatArray, limit: float, axes: Axes, rng: Rng, *, strength: FloatArray) -> FloatArray:
    """Add a smooth random curve over frequency, as another microphone or room would.

    FilterAugment: Nam, Kim and Park, ICASSP 2022, arXiv:2110.03282 (its linear form, with four corner points).
    """
    n_bands = batch.shape[axes.frequency]
    corners = rng.uniform(-limit, limit, (len(batch), 4)) * strength[:, np.newaxis]
    place = np.linspace(0, 3, n_bands)
    left = np.minimum(place.astype(int), 2)
    curve = corners[:, left] + (corners[:, left + 1] - corners[:, left]) * (place - left)
    shape = [len(batch), 1, 1, 1]
    shape[axes.frequency] = n_bands
    return _clip(batch + curve.reshape(shape).astype(np.float32) * (batch > 0))


def noise_floor(batch: FloatArray, limit: float, axes: Axes, rng: Rng, *, strength: FloatArray) -> FloatArray:
    """Fill everything below a random level, up to `limit`, with noise of a random tilt: a noisier recording.

    In decibels the sum of speech and noise is close to the louder of the two.
    """
    n_bands = batch.shape[axes.frequency]
    level = rng.uniform(0, limit, len(batch)) * strength
    tilt = rng.uniform(-0.5, 0.5, len(batch)) * level
    shape = [len(batch), 1, 1, 1]
    shape[axes.frequency] = n_bands
    slope = np.linspace(-1, 1, n_bands)
    floor = (level[:, np.newaxis] + tilt[:, np.newaxis] * slope).reshape(shape)
    flicker = rng.standard_normal((*batch.shape[:3], 1), dtype=np.float32) * np.float32(0.03)
    noise = np.where(_per_sample(level, batch) > 0, floor.astype(np.float32) + flicker, np.float32(0.0))
    return _clip(np.maximum(batch, noise))


def mixup(
    batch: FloatArray, targets: FloatArray, alpha: float, rng: Rng
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.intp], FloatArray]:
    """Blend each sample and its target with those of another, in a proportion drawn from Beta(alpha, alpha).

    Zhang et al., ICLR 2018, arXiv:1710.09412.

    Returns:
        Batch, targets, the partner of each sample, and the share that each sample keeps, shape (n,).
    """
    partner = rng.permutation(len(batch))
    share = rng.beta(alpha, alpha, len(batch)).astype(np.float32)
    share = np.maximum(share, 1 - share)  # the larger part stays, so that per-sample settings remain meaningful
    mixed = batch * _per_sample(share, batch) + batch[partner] * _per_sample(1 - share, batch)
    return mixed, _mix_targets(targets, partner, share), partner, share


def cutmix(
    batch: FloatArray, targets: FloatArray, alpha: float, axes: Axes, rng: Rng
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.intp], FloatArray]:
    """Replace a stretch of time of each sample by the same stretch of another; targets in proportion.

    Yun et al., ICCV 2019, arXiv:1905.04899; whole columns rather than boxes, since a moment of speech is one.

    Returns:
        As `mixup`.
    """
    n_times = batch.shape[axes.time]
    partner = rng.permutation(len(batch))
    share = rng.beta(alpha, alpha, len(batch))
    widths = np.rint(np.minimum(share, 1 - share) * n_times).astype(int)
    starts = (rng.uniform(0, 1, len(batch)) * (n_times - widths + 1)).astype(int)
    position = np.arange(n_times)
    taken = (position >= starts[:, np.newaxis]) & (position < (starts + widths)[:, np.newaxis])
    shape = [len(batch), 1, 1, 1]
    shape[axes.time] = n_times
    kept = (1 - widths / n_times).astype(np.float32)
    mixed = np.where(taken.reshape(shape), batch[partner], batch)
    return mixed, _mix_targets(targets, partner, kept), partner, kept


def _mix_targets(targets: FloatArray, partner: npt.NDArray[np.intp], share: FloatArray) -> FloatArray:
    return targets * share[:, np.newaxis] + targets[partner] * (1 - share[:, np.newaxis])


def _resample(batch: FloatArray, positions: npt.NDArray[np.float64], axis: int) -> FloatArray:
    """Read `batch` along `axis` at fractional `positions`, shape (n, size), edges repeated."""
    size = batch.shape[axis]
    positions = np.clip(positions, 0, size - 1)
    left = np.minimum(positions.astype(np.intp), size - 2)
    fraction = (positions - left).astype(np.float32)
    samples = np.arange(len(batch))[:, np.newaxis]
    moved = np.moveaxis(batch, axis, 1)
    low, high = moved[samples, left], moved[samples, left + 1]
    high -= low
    high *= fraction[:, :, np.newaxis, np.newaxis]
    high += low
    return np.moveaxis(high, 1, axis)


def _per_sample(values: npt.ArrayLike, batch: FloatArray) -> FloatArray:
    return np.asarray(values, dtype=np.float32).reshape((len(batch),) + (1,) * (batch.ndim - 1))


def _clip(batch: FloatArray) -> FloatArray:
    clipped: FloatArray = np.clip(batch, np.float32(0.0), np.float32(1.0), dtype=np.float32)
    return clipped

"""Each change does what it says where it says so, and nothing else."""

import numpy as np
import pytest

from emogram.augment import (
    LOG_MEL_AXES,
    PICTURE_AXES,
    Axes,
    augment,
    band_gain,
    brightness,
    contrast,
    cutmix,
    mask,
    mixup,
    noise_floor,
    warp,
)
from emogram.config import AugmentConfig

OFF = {
    "brightness": 0, "contrast": 0, "time_masks": 0, "frequency_masks": 0, "time_stretch": 0, "frequency_warp": 0,
    "frequency_shift": 0, "periodicity_shift": 0, "band_gain": 0, "noise_floor": 0,
}  # fmt: skip
EVERYTHING = AugmentConfig(brightness=0.2, contrast=0.3, noise_floor=0.3)
KINDS = {"log-mel": LOG_MEL_AXES, "picture": PICTURE_AXES}


def rng(seed=0):
    return np.random.default_rng(seed)


def ones(n):
    return np.ones(n, np.float32)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def axes(kind):
    return KINDS[kind]


@pytest.fixture
def batch(kind):
    """Forty samples, every value another, exact in half precision as model inputs are."""
    shape = (40, 50, 20, 1) if kind == "log-mel" else (40, 24, 24, 3)
    return rng(1).uniform(0.2, 0.8, shape).astype(np.float16).astype(np.float32)


# ---------------------------------------------------------------- all together


def test_nothing_asked_for_nothing_changed(batch, axes):
    changed = augment(batch, AugmentConfig(**OFF), axes, rng(), strength=ones(40) * 2)
    np.testing.assert_array_equal(changed, batch)


@pytest.mark.parametrize(
    "change",
    [
        {"brightness": 0.2}, {"contrast": 0.2}, {"time_masks": 1}, {"frequency_masks": 1}, {"time_stretch": 0.2},
        {"frequency_warp": 0.2}, {"frequency_shift": 0.1}, {"band_gain": 0.2}, {"noise_floor": 0.9},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_each_setting_alone_changes_most_samples_and_strength_0_none(batch, axes, change):
    config = AugmentConfig(**{**OFF, **change})
    strength = ones(40)
    strength[:10] = 0
    changed = augment(batch, config, axes, rng(), strength=strength)
    differs = (changed != batch).any(axis=(1, 2, 3))
    assert not differs[:10].any()
    assert differs[10:].mean() > 0.7
    assert changed.shape == batch.shape and changed.dtype == np.float32


def test_widths_of_0_hide_nothing_however_strong(batch, axes):
    """Masks of no width for hard classes used to hide a row now and then."""
    config = AugmentConfig(**{**OFF, "time_masks": 5, "time_mask_width": 0, "frequency_masks": 5,
                              "frequency_mask_width": 0})  # fmt: skip
    np.testing.assert_array_equal(augment(batch, config, axes, rng(), strength=ones(40) * 10), batch)


def test_values_stay_in_range_and_arguments_as_they_were(batch, axes):
    extreme = AugmentConfig(brightness=1, contrast=1, band_gain=1, noise_floor=1, time_stretch=1, frequency_warp=0.5)
    before, strength = batch.copy(), ones(40) * 3
    for seed in range(5):
        changed = augment(batch, extreme, axes, rng(seed), strength=strength)
        assert changed.min() >= 0 and changed.max() <= 1
    np.testing.assert_array_equal(batch, before)
    np.testing.assert_array_equal(strength, ones(40) * 3)


def test_one_seed_one_change_and_another_seed_another(batch, axes):
    one, again, other = (augment(batch, EVERYTHING, axes, rng(seed), strength=ones(40)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize(
    "change",
    [
        {"brightness": 0.1}, {"contrast": 0.2}, {"time_masks": 2, "time_mask_width": 4},
        {"frequency_masks": 2, "frequency_mask_width": 4}, {"band_gain": 0.1}, {"noise_floor": 0.4},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_stronger_is_more(batch, axes, change):
    config = AugmentConfig(**{**OFF, **change})
    weak, normal, strong = (
        np.abs(augment(batch, config, axes, rng(2), strength=ones(40) * strength) - batch).mean()
        for strength in (0.5, 1, 1.5)
    )
    assert weak < normal < strong


def test_a_stronger_warp_moves_a_pulse_farther(axes):
    def distance(strength):
        batch = np.zeros((60, 64, 64, 1), np.float32)
        batch[:, 12, 12] = 1
        config = AugmentConfig(**{**OFF, "time_stretch": 0.3, "frequency_warp": 0.2, "frequency_shift": 0.05})
        changed = warp(batch, config, axes, rng(3), strength=ones(60) * strength)
        rows, columns = np.mgrid[:64, :64]
        weight = changed[..., 0] / changed.sum(axis=(1, 2, 3))[:, None, None]
        centre = np.stack([(weight * rows).sum((1, 2)), (weight * columns).sum((1, 2))])
        return np.abs(centre - 12).mean()

    assert distance(0.3) < distance(0.6) < distance(1)


# ---------------------------------------------------------------- masks


@pytest.mark.parametrize("which", ["time", "frequency"])
def test_a_mask_hides_one_whole_stripe_of_its_own_axis_behind_the_mean(batch, axes, which):
    axis, width = getattr(axes, which), 7
    changed = mask(batch, width, axis, rng(), strength=ones(40))
    differs = np.moveaxis(changed != batch, axis, 1).reshape(40, batch.shape[axis], -1)
    hidden = differs.any(axis=2)
    np.testing.assert_array_equal(differs.all(axis=2), hidden)  # all of a row or none
    widths = hidden.sum(axis=1)
    assert widths.max() == width and widths.min() == 0 and len(set(widths)) > 4
    starts = [np.flatnonzero(row)[0] for row in hidden if row.any()]
    assert min(starts) < 0.3 * batch.shape[axis] and max(starts) > 0.5 * batch.shape[axis]
    assert (np.abs(np.diff(hidden.astype(int), axis=1)).sum(axis=1) <= 2).all()  # in one piece
    mean = np.broadcast_to(batch.mean(axis=(1, 2), keepdims=True), batch.shape)
    np.testing.assert_allclose(changed[changed != batch], mean[changed != batch], atol=1e-5)


def test_every_width_up_to_the_limit_is_as_likely():
    batch = np.zeros((6000, 40, 1, 1), np.float32)
    batch[:, ::2] = 1  # the mean, 0.5, differs from all
    widths = (mask(batch, 5, 1, rng(), strength=ones(6000)) != batch).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(np.bincount(widths, minlength=6) / 6000, 1 / 6, atol=0.02)


@pytest.mark.parametrize(("strength", "limit"), [(0.5, 5), (1.0, 10), (1.5, 15), (9.0, 20)])
def test_strength_scales_the_widest_mask_up_to_half_of_all(strength, limit):
    batch = rng().uniform(0, 1, (3000, 40, 2, 1)).astype(np.float32)
    hidden = (mask(batch, 10, 1, rng(), strength=ones(3000) * strength) != batch).any(axis=(2, 3)).sum(axis=1)
    assert hidden.max() == limit


def test_configured_masks_are_counted_and_lie_along_the_right_axis(batch, axes):
    config = AugmentConfig(**{**OFF, "time_masks": 3, "time_mask_width": 2})
    changed = augment(batch, config, axes, rng(), strength=ones(40))
    hidden = np.moveaxis(changed != batch, axes.time, 1).all(axis=(2, 3)).sum(axis=1)
    touched = np.moveaxis(changed != batch, axes.time, 1).any(axis=(2, 3)).sum(axis=1)
    np.testing.assert_array_equal(hidden, touched)
    assert 4 < hidden.max() <= 6


# ---------------------------------------------------------------- brightness, contrast, channel


def test_brightness_adds_the_same_number_everywhere(batch):
    numbers = rng(9).uniform(-0.15, 0.15, 40)
    changed = brightness(batch, 0.15, rng(9), strength=ones(40) * 2)
    for i in range(40):
        np.testing.assert_allclose(changed[i], np.clip(batch[i] + 2 * numbers[i], 0, 1), atol=1e-6)


def test_contrast_against_a_slow_loop(batch):
    numbers = rng(9).uniform(-0.5, 0.5, 40)
    changed = contrast(batch, 0.5, rng(9), strength=ones(40))
    for i in range(40):
        mean = float(np.mean(batch[i], dtype=np.float64))
        for value, found in zip(batch[i].ravel()[::37], changed[i].ravel()[::37], strict=True):
            assert found == pytest.approx(min(1, max(0, mean + (value - mean) * (1 + numbers[i]))), abs=1e-5)


def test_contrast_never_turns_a_picture_into_its_negative(batch):
    changed = contrast(batch, 1.0, rng(), strength=ones(40) * 9)
    order = np.argsort(batch.reshape(40, -1), axis=1)
    assert (np.diff(np.take_along_axis(changed.reshape(40, -1), order, axis=1), axis=1) >= -1e-6).all()


def test_band_gain_is_one_smooth_curve_over_frequency_and_leaves_silence(batch, axes):
    batch = batch.copy()
    batch[:, 3, 5] = 0
    changed = band_gain(batch, 0.1, axes, rng(), strength=ones(40))
    assert (changed[:, 3, 5] == 0).all()
    batch[:, 3, 5] = changed[:, 3, 5] = np.nan
    gain = np.moveaxis(changed - batch, axes.frequency, 1).reshape(40, batch.shape[axes.frequency], -1)
    np.testing.assert_allclose(np.nanmin(gain, axis=2), np.nanmax(gain, axis=2), atol=1e-5)
    curve = np.nanmean(gain, axis=2)
    assert np.abs(curve).max() <= 0.1 + 1e-6
    assert np.abs(np.diff(curve, axis=1)).max() <= 0.2 * 3 / (curve.shape[1] - 1) + 1e-6
    # Straight between four corners: the second difference is zero but at the two inner ones.
    assert ((np.abs(np.diff(curve, n=2, axis=1)) > 1e-5).sum(axis=1) <= 4).all()


def test_noise_floor_raises_what_is_soft_and_leaves_what_is_loud():
    batch = np.zeros((50, 40, 16, 1), np.float32)
    batch[:, 10:20] = 0.9
    changed = noise_floor(batch, 0.5, LOG_MEL_AXES, rng(), strength=ones(50))
    assert (changed >= batch).all()
    np.testing.assert_array_equal(changed[:, 10:20], batch[:, 10:20])
    floors = changed[:, :10].mean(axis=(1, 2, 3))
    assert floors.max() <= 0.55 and floors.max() > 0.4 and floors.min() < 0.1


# ---------------------------------------------------------------- warp


def pulse(row, column, axes, n=200, size=65):
    """A batch with one bright point, at a time and a band (from the lowest)."""
    batch = np.zeros((n, size, size, 1), np.float32)
    if axes == PICTURE_AXES:
        batch[:, size - 1 - column, row] = 1
    else:
        batch[:, row, column] = 1
    return batch


def places(batch, axes):
    """The mean time and band (from the lowest) of what is bright."""
    size = batch.shape[1]
    level = batch[..., 0] / batch.sum(axis=(1, 2, 3))[:, None, None]
    time = (level.sum(axis=3 - axes.time) * np.arange(size)).sum(axis=1)
    band = (level.sum(axis=3 - axes.frequency) * np.arange(size)).sum(axis=1)
    return time, size - 1 - band if axes == PICTURE_AXES else band


def test_a_warp_of_nothing_is_the_identity(batch, axes):
    config = AugmentConfig(**OFF)
    np.testing.assert_array_equal(warp(batch, config, axes, rng(), strength=ones(40)), batch)


def test_stretching_moves_a_pulse_along_time_about_the_middle(axes):
    config = AugmentConfig(**{**OFF, "time_stretch": 0.4})
    stretch = np.exp(rng(4).uniform(-1, 1, 200) * np.log(1.4))
    time, band = places(warp(pulse(42, 20, axes), config, axes, rng(4), strength=ones(200)), axes)
    # The middle of 65 frames is 32, and the pulse stood 10 after it. A pulse of one frame is found to half a frame.
    np.testing.assert_allclose(time, 32 + 10 * stretch, atol=0.51)
    np.testing.assert_allclose(band, 20, atol=1e-4)
    assert stretch.min() < 0.75 and stretch.max() > 1.35
    time, _ = places(warp(pulse(32, 20, axes), config, axes, rng(4), strength=ones(200)), axes)
    np.testing.assert_allclose(time, 32, atol=1e-4)


def test_a_shift_moves_all_bands_up_or_down_alike(axes):
    config = AugmentConfig(**{**OFF, "frequency_shift": 0.1})
    random = rng(4)
    random.uniform(-1, 1, 400)  # stretch and scale
    shift = random.uniform(-1, 1, 200) * 0.1 * 65
    for start in (20, 40):
        time, band = places(warp(pulse(12, start, axes), config, axes, rng(4), strength=ones(200)), axes)
        np.testing.assert_allclose(band, start + shift, atol=1e-3)
        np.testing.assert_allclose(time, 12, atol=1e-4)


def test_in_a_picture_up_is_a_smaller_row():
    config = AugmentConfig(**{**OFF, "frequency_shift": 0.1})
    changed = warp(pulse(12, 30, PICTURE_AXES), config, PICTURE_AXES, rng(4), strength=ones(200))
    random = rng(4)
    random.uniform(-1, 1, 400)
    rows = (changed[..., 0].sum(axis=2) * np.arange(65)).sum(axis=1)
    moved_up = random.uniform(-1, 1, 200) > 0
    assert (rows[moved_up] < 34).all() and (rows[~moved_up] > 34).all()


def test_a_shorter_vocal_tract_scales_bands_about_the_lowest(axes):
    config = AugmentConfig(**{**OFF, "frequency_warp": 0.2})
    random = rng(4)
    random.uniform(-1, 1, 200)  # stretch
    scale = np.exp(random.uniform(-1, 1, 200) * np.log(1.2))
    _, band = places(warp(pulse(12, 40, axes), config, axes, rng(4), strength=ones(200)), axes)
    np.testing.assert_allclose(band, 40 * scale, atol=0.51)
    _, band = places(warp(pulse(12, 0, axes), config, axes, rng(4), strength=ones(200)), axes)
    np.testing.assert_allclose(band, 0, atol=0.51)


def test_log_mels_and_pictures_are_warped_alike():
    """The same spectrogram, once as a log-mel and once turned into a picture, gives the same after warping."""
    log_mel = rng(1).uniform(0, 1, (30, 33, 33, 1)).astype(np.float32)
    config = AugmentConfig(**{**OFF, "time_stretch": 0.3, "frequency_warp": 0.2, "frequency_shift": 0.1})

    def turned(batch):
        return batch.transpose(0, 2, 1, 3)[:, ::-1]

    one = turned(warp(log_mel, config, LOG_MEL_AXES, rng(3), strength=ones(30)))
    other = warp(turned(log_mel), config, PICTURE_AXES, rng(3), strength=ones(30))
    np.testing.assert_allclose(one, other, atol=1e-5)


# ---------------------------------------------------------------- mixing


@pytest.fixture
def flat():
    """Forty flat samples, each with a level of its own and a class of its own, so that the mixture tells who is in."""
    levels = np.linspace(0.1, 0.9, 40, dtype=np.float32)
    return np.broadcast_to(levels[:, None, None, None], (40, 50, 20, 1)).copy(), np.eye(40, dtype=np.float32)


def test_mixup_blends_targets_as_it_blends_pictures(flat):
    batch, targets = flat
    mixed, mixed_targets, partner, share = mixup(batch, targets, 0.5, rng())
    np.testing.assert_allclose(mixed_targets.sum(axis=1), 1, atol=1e-6)
    assert share.min() >= 0.5 and share.max() <= 1
    levels = batch[:, 0, 0, 0]
    np.testing.assert_allclose(mixed[:, 7, 7, 0], mixed_targets @ levels, atol=1e-6)
    np.testing.assert_allclose(mixed_targets[np.arange(40), np.arange(40)][partner != np.arange(40)],
                               share[partner != np.arange(40)], atol=1e-6)  # fmt: skip
    assert (mixed == mixed[:, :1, :1]).all()  # the same share everywhere
    assert len(set(share.tolist())) > 30


def test_cutmix_swaps_whole_moments_and_counts_them_in_the_targets(flat, axes):
    batch, targets = flat
    if axes == PICTURE_AXES:
        batch = batch.transpose(0, 2, 1, 3).copy()
    mixed, mixed_targets, partner, kept = cutmix(batch, targets, 1.0, axes, rng())
    np.testing.assert_allclose(mixed_targets.sum(axis=1), 1, atol=1e-6)
    columns = np.moveaxis(mixed[..., 0], axes.time, 1)
    assert (columns == columns[:, :, :1]).all()  # whole columns
    for i in np.flatnonzero(partner != np.arange(40)):
        taken = columns[i, :, 0] == batch[partner[i], 0, 0, 0]
        assert (columns[i, ~taken, 0] == batch[i, 0, 0, 0]).all()
        assert 1 - taken.mean() == pytest.approx(kept[i], abs=1e-6)
        assert mixed_targets[i, i] == pytest.approx(kept[i], abs=1e-6)
        assert mixed_targets[i, partner[i]] == pytest.approx(taken.mean(), abs=1e-6)
        assert np.abs(np.diff(taken.astype(int))).sum() <= 2  # in one stretch
        assert taken.mean() <= 0.5


@pytest.mark.parametrize(("alpha", "expected"), [(0.5, 0.5 + 1 / np.pi), (1.0, 0.75), (2.0, 0.6875)])
def test_alpha_says_how_even_the_blend_is(alpha, expected):
    """The mean of max(x, 1 - x) for x of Beta(alpha, alpha), integrated by hand."""
    share = mixup(np.zeros((20000, 1, 1, 1), np.float32), np.zeros((20000, 2), np.float32), alpha, rng())[3]
    assert share.mean() == pytest.approx(expected, abs=0.004)


def test_mixing_leaves_its_arguments(flat):
    batch, targets = (part.copy() for part in flat)
    mixup(batch, targets, 1.0, rng())
    cutmix(batch, targets, 1.0, LOG_MEL_AXES, rng())
    np.testing.assert_array_equal(batch, flat[0])
    np.testing.assert_array_equal(targets, flat[1])


# ---------------------------------------------------------------- bands of periodicity beside those of sound

BESIDE = Axes(time=1, frequency=2, n_periodicity=12)


def two_kinds():
    """A click at one moment in a band of each kind."""
    batch = np.zeros((30, 41, 32, 1), np.float32)
    batch[:, 30, 10] = batch[:, 30, 26] = 1.0
    return batch


def test_time_is_stretched_alike_for_both_kinds_of_bands():
    config = AugmentConfig(**OFF | {"time_stretch": 0.4})
    changed = augment(two_kinds(), config, BESIDE, rng(), strength=ones(30))
    np.testing.assert_array_equal(changed[:, :, 10], changed[:, :, 26])
    assert len({int(moment) for moment in changed[:, :, 10, 0].argmax(axis=1)}) > 5


def test_a_hidden_moment_is_hidden_in_both_kinds_of_bands():
    config = AugmentConfig(**OFF | {"time_masks": 1, "time_mask_width": 8})
    batch = rng(1).uniform(0.1, 0.9, (30, 41, 32, 1)).astype(np.float32)
    touched = augment(batch, config, BESIDE, rng(), strength=ones(30)) != batch
    np.testing.assert_array_equal(touched.any(axis=2), touched.all(axis=2))
    assert touched.any()


def test_what_changes_sound_leaves_the_melody():
    config = EVERYTHING.model_copy(update={"time_stretch": 0.0, "time_masks": 0, "periodicity_shift": 0.0})
    batch = rng(1).uniform(0.2, 0.8, (30, 41, 32, 1)).astype(np.float32)
    changed = augment(batch, config, BESIDE, rng(), strength=ones(30))
    np.testing.assert_array_equal(changed[:, :, 20:], batch[:, :, 20:])
    assert (changed[:, :, :20] != batch[:, :, :20]).any(axis=(1, 2, 3)).all()


def test_a_melody_moves_up_or_down_and_takes_no_sound_with_it():
    config = AugmentConfig(**OFF | {"periodicity_shift": 0.25})
    changed = augment(two_kinds(), config, BESIDE, rng(), strength=ones(30))
    np.testing.assert_array_equal(changed[:, :, :20], two_kinds()[:, :, :20])
    bands = changed[:, 30, 20:, 0].argmax(axis=1)
    assert bands.min() < 5 and bands.max() > 7 and np.abs(bands - 6).max() <= 3

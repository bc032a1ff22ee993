"""Teachers: what they say of a batch, and how much of a target it makes."""

from dataclasses import replace

import numpy as np
import pytest

from emogram.balance import possible_labels
from emogram.batches import TrainingBatches
from emogram.bundle import open_bundle
from emogram.classifier import Classifier
from emogram.config import AugmentConfig, TrainConfig
from emogram.distillation import Teachers
from emogram.losses import IMPOSSIBLE
from emogram.testing import tiny_bundle


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teachers")
    return [open_bundle(tiny_bundle(folder / str(seed), seed=seed)) for seed in (0, 1)]


def a_batch(bundle, *, more_bands=0):
    rng = np.random.default_rng(0)
    return rng.random((5, 64, bundle.info.input_shape[1] + more_bands, 1), dtype=np.float32)


def test_teachers_say_the_mean_of_what_each_says_uncalibrated(bundles):
    batch = a_batch(bundles[0])
    each = [Classifier(bundle).raw_probabilities({"spectrogram": batch}) for bundle in bundles]
    assert np.abs(each[0] - each[1]).max() > 1e-3
    np.testing.assert_allclose(Teachers(bundles).answer(batch), (each[0] + each[1]) / 2, atol=1e-7)
    np.testing.assert_allclose(Teachers(bundles).answer(batch).sum(axis=1), 1.0, atol=1e-5)


def test_bands_that_follow_those_of_mel_are_not_shown_to_who_does_not_take_them(bundles):
    wide = a_batch(bundles[0], more_bands=8)
    n_bands = bundles[0].info.input_shape[1]
    teachers = Teachers(bundles)
    np.testing.assert_array_equal(teachers.answer(wide), teachers.answer(wide[:, :, :n_bands]))


def batches_of(dataset, teach, **settings):
    train = TrainConfig(batch_size=8, train_frames=0, class_weights=False, **settings)
    quiet = AugmentConfig(contrast=0, time_masks=0, frequency_masks=0, time_stretch=0, frequency_warp=0,
                          frequency_shift=0, band_gain=0)  # fmt: skip
    return TrainingBatches(dataset, np.arange(len(dataset)), train=train, augmentation=quiet, teach=teach)


def test_a_target_is_the_label_and_what_teachers_say_of_the_clip_as_it_is_shown(make_dataset):
    dataset = make_dataset([0, 1, 2, 3] * 2)
    shown = []

    def teach(batch):
        shown.append(batch.copy())
        return np.tile(np.float32([0.4, 0.3, 0.2, 0.1]), (len(batch), 1))

    plain, taught = batches_of(dataset, None), batches_of(dataset, teach, teacher_share=0.25)
    inputs, labels, _ = plain[0]
    same_inputs, targets, _ = taught[0]
    np.testing.assert_array_equal(inputs, same_inputs)
    np.testing.assert_array_equal(shown[0], inputs)
    np.testing.assert_allclose(targets, 0.75 * labels + 0.25 * np.float32([0.4, 0.3, 0.2, 0.1]), atol=1e-6)


def test_what_teachers_say_of_a_label_that_a_clip_cannot_have_is_shared_among_the_others(make_dataset):
    """Half of the clips are of a corpus without "sad", the last label."""
    dataset = make_dataset([0, 1, 2, 0, 0, 1, 2, 3])
    clips = tuple(replace(clip, corpus="a" if i < 4 else "b") for i, clip in enumerate(dataset.clips))
    dataset = replace(dataset, clips=clips)
    assert not possible_labels(dataset, np.arange(8))[0, 3] and possible_labels(dataset, np.arange(8))[7, 3]

    def teach(batch):
        return np.tile(np.float32([0.1, 0.2, 0.3, 0.4]), (len(batch), 1))

    _, targets, _ = batches_of(dataset, teach, teacher_share=1.0)[0]
    without = np.isclose(targets[:, 3], IMPOSSIBLE)
    assert without.sum() == 4
    np.testing.assert_allclose(targets[without, :3], np.tile([1 / 6, 2 / 6, 3 / 6], (4, 1)), atol=1e-6)
    np.testing.assert_allclose(targets[~without], np.tile([0.1, 0.2, 0.3, 0.4], (4, 1)), atol=1e-6)

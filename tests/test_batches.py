"""What `fit` sees: every training clip once an epoch, changed anew, with its own target and weight."""

import dataclasses

import numpy as np
import pytest

from emogram.augment import LOG_MEL_AXES, augment
from emogram.batches import TrainingBatches, cut_or_pad
from emogram.config import AugmentConfig, TrainConfig
from emogram.losses import IMPOSSIBLE

PLAIN = AugmentConfig(
    contrast=0, time_masks=0, frequency_masks=0, time_stretch=0, frequency_warp=0, frequency_shift=0, band_gain=0
)


def rng(seed=0):
    return np.random.default_rng(seed)


def batches_of(dataset, indices=None, augmentation=PLAIN, **train):
    settings = TrainConfig.from_dict({"batch_size": 4, "train_frames": 0, **train})
    indices = np.arange(len(dataset)) if indices is None else np.asarray(indices)
    return TrainingBatches(dataset, indices, train=settings, augmentation=augmentation)


def who(batch, n):
    """Which clips of an invented dataset of `n` stand in a batch: their values lie around (i + 1) / (n + 1)."""
    return np.rint(batch.mean(axis=(1, 2, 3)) * (n + 1) - 1).astype(int).tolist()


def epoch_of(batches):
    return [batches[step] for step in range(len(batches))]


# ---------------------------------------------------------------- order and targets


def test_an_epoch_holds_every_training_clip_once_with_its_own_target(make_dataset):
    dataset = make_dataset([i % 3 for i in range(11)], labels=("angry", "calm", "sad"))
    trained = [0, 1, 3, 4, 5, 6, 7, 8, 10]
    batches = batches_of(dataset, trained, class_weights=False)
    seen = []
    for inputs, targets, weights in epoch_of(batches):
        clips = who(inputs, 11)
        seen += clips
        np.testing.assert_array_equal(targets, np.eye(3, dtype=np.float32)[dataset.targets[clips]])
        np.testing.assert_array_equal(weights, np.ones(len(clips)))
    assert sorted(seen) == trained


def test_every_epoch_has_another_order_and_the_same_seed_the_same(make_dataset):
    dataset = make_dataset([i % 4 for i in range(12)])

    def orders(**train):
        batches = batches_of(dataset, **train)
        found = []
        for _ in range(3):
            found.append([clip for inputs, _, _ in epoch_of(batches) for clip in who(inputs, 12)])
            batches.on_epoch_end()
        return found

    first = orders(seed=1)
    assert orders(seed=1) == first
    assert first[0] != first[1] != first[2]
    assert orders(seed=2) != first


def test_a_batch_does_not_depend_on_how_it_was_reached(make_dataset):
    dataset = make_dataset([i % 4 for i in range(12)])
    config = AugmentConfig(mixup_alpha=0.5, cutmix_alpha=0.5)
    one, other = (batches_of(dataset, augmentation=config) for _ in range(2))
    last = one[2]
    for _ in range(2):
        epoch_of(other)
    for part, again in zip(last, other[2], strict=True):
        np.testing.assert_array_equal(part, again)


def test_of_corpora_that_may_but_train_each_epoch_has_others(make_dataset):
    dataset = make_dataset([i % 4 for i in range(12)])
    clips = [dataclasses.replace(clip, corpus="more") if i >= 5 else clip for i, clip in enumerate(dataset.clips)]
    dataset = dataclasses.replace(dataset, clips=tuple(clips), training_only=frozenset({"more"}))

    def epochs(also_clips, n=30):
        batches = batches_of(dataset, range(1, 12), also_clips=also_clips)
        found = []
        for _ in range(n):
            found.append([clip for inputs, _, _ in epoch_of(batches) for clip in who(inputs, 12)])
            batches.on_epoch_end()
            assert batches.n_clips == len(found[-1]) == batches.clips_of(batches.n_steps)
        return found

    drawn = [set(epoch) - {1, 2, 3, 4} for epoch in epochs(3)]
    assert all(len(epoch) == 7 and set(epoch) >= {1, 2, 3, 4} for epoch in epochs(3))
    assert [len(each) for each in drawn] == [3] * 30 and set().union(*drawn) == set(range(5, 12))
    assert drawn[0] != drawn[1] and epochs(3) == epochs(3)
    for also_clips in (0, 7, 100):
        assert all(sorted(epoch) == list(range(1, 12)) for epoch in epochs(also_clips, n=2))
    assert epochs(0, n=3) == [
        np.random.default_rng((0, epoch)).permutation(np.arange(1, 12)).tolist() for epoch in range(3)
    ]


@pytest.mark.parametrize(("n", "batch_size", "sizes"), [(17, 16, [9, 8]), (16, 16, [16]), (33, 16, [11, 11, 11]),
                                                        (3, 2, [2, 1]), (2, 16, [2])])  # fmt: skip
def test_steps_are_nearly_equally_large(make_dataset, n, batch_size, sizes):
    batches = batches_of(make_dataset([i % 2 for i in range(n)]), batch_size=batch_size)
    assert [len(targets) for _, targets, _ in epoch_of(batches)] == sizes


# ---------------------------------------------------------------- lengths


def test_long_clips_are_cut_at_random_and_short_ones_laid_into_silence():
    ramp = np.arange(1, 101, dtype=np.float16)[:, None, None] * np.ones((1, 2, 1), np.float16)
    starts = set()
    for seed in range(200):
        cut = cut_or_pad(ramp, 40, rng(seed))
        start = int(cut[0, 0, 0])
        np.testing.assert_array_equal(cut, ramp[start - 1 : start + 39])
        starts.add(start)
    assert min(starts) == 1 and max(starts) == 61 and len(starts) > 50

    befores = set()
    for seed in range(200):
        padded = cut_or_pad(ramp, 110, rng(seed))
        before = int(np.argmax(padded[:, 0, 0] > 0))
        np.testing.assert_array_equal(padded[before : before + 100], ramp)
        assert padded[:before].sum() == padded[before + 100 :].sum() == 0 and padded.shape == (110, 2, 1)
        befores.add(before)
    assert befores == set(range(11))
    np.testing.assert_array_equal(cut_or_pad(ramp, 100, rng()), ramp)


def test_batches_are_as_long_as_asked_or_as_their_longest(make_dataset):
    dataset = make_dataset([0, 1, 2, 3], n_frames=[32, 48, 64, 80])
    assert batches_of(dataset, train_frames=56)[0][0].shape == (4, 56, 64, 1)
    assert batches_of(dataset, train_frames=0)[0][0].shape == (4, 80, 64, 1)


def test_pictures_keep_their_size_whatever_the_frames(make_dataset):
    dataset = make_dataset([0, 1, 2, 3], shape=(32, 32, 3))
    inputs = batches_of(dataset, train_frames=16)[0][0]
    assert inputs.shape == (4, 32, 32, 3) and inputs.dtype == np.float32
    for clip, picture in zip(who(inputs, 4), inputs, strict=True):
        np.testing.assert_array_equal(picture, dataset.samples[clip].spectrogram)


@pytest.mark.parametrize(("shape", "axis"), [((32, 40, 1), 0), ((32, 32, 3), 1)], ids=["log-mel", "picture"])
def test_a_time_mask_lies_along_time_in_either_kind(make_dataset, shape, axis):
    dataset = make_dataset([0, 1, 2, 3], shape=shape)
    config = PLAIN.model_copy(update={"time_masks": 1, "time_mask_width": 9})
    changed = np.concatenate([inputs for inputs, _, _ in epoch_of(batches_of(dataset, augmentation=config))])
    for picture in changed:
        flat = np.ptp(np.moveaxis(picture, axis, 0), axis=1).max(axis=1) < 1e-6
        assert flat.sum() <= 9
        other = np.ptp(np.moveaxis(picture, 1 - axis, 0), axis=1).max(axis=1) < 1e-6
        assert not other.any()
    assert any((np.ptp(np.moveaxis(picture, axis, 0), axis=1).max(axis=1) < 1e-6).any() for picture in changed)


# ---------------------------------------------------------------- augmentation and hard classes


def test_batches_are_changed_as_configured_and_anew_in_each_epoch(make_dataset):
    dataset = make_dataset([0, 1, 2, 3])
    batches = batches_of(dataset, augmentation=AugmentConfig())
    first, _, _ = batches[0]
    order = rng((0, 0)).permutation(4)
    random = rng((0, 0, 0))
    plain = np.stack([cut_or_pad(dataset.samples[i].spectrogram, 32, random) for i in order]).astype(np.float32)
    expected = augment(plain, AugmentConfig(), LOG_MEL_AXES, random, strength=np.ones(4, np.float32))
    np.testing.assert_array_equal(first, expected)
    batches.on_epoch_end()
    second, _, _ = batches[0]
    originals = [sample.spectrogram.astype(np.float32) for sample in dataset.samples]
    assert all((abs(second[i] - first[j]) > 1e-3).any() for i in range(4) for j in range(4))
    assert all((dataset.samples[i].spectrogram == originals[i]).all() for i in range(4))


def test_only_hard_classes_are_changed_more(make_dataset):
    dataset = make_dataset([0, 1] * 8, labels=("angry", "sad"))
    batches = batches_of(dataset, augmentation=PLAIN.model_copy(update={"brightness": 0.01}), batch_size=16)
    normal, targets, _ = batches[0]
    batches.strength_of_label = np.asarray([1.0, 3.0], np.float32)
    stronger, _, _ = batches[0]
    order = rng((0, 0)).permutation(16)
    plain = np.stack([dataset.samples[i].spectrogram for i in order]).astype(np.float32)
    inside = (plain > 0.05) & (plain < 0.95)  # away from the ends of the range
    hard = targets[:, 1] == 1
    change, stronger_change = (np.where(inside, batch - plain, 0) for batch in (normal, stronger))
    np.testing.assert_allclose(stronger_change[~hard], change[~hard], atol=1e-6)
    np.testing.assert_allclose(stronger_change[hard], 3 * change[hard], atol=1e-6)
    assert np.abs(change[hard]).max() > 0.003


# ---------------------------------------------------------------- what counts, and what was possible


def test_clips_count_as_their_shares_of_the_training_part_alone_say(make_dataset):
    trained = [0, 1, 2, 3, 4, 5]
    one = batches_of(make_dataset([0, 0, 0, 0, 1, 1, 0, 0, 0, 0]), trained)
    other = batches_of(make_dataset([0, 0, 0, 0, 1, 1, 1, 2, 3, 3]), trained, mask_missing_labels=False)
    for (inputs, targets, weights), (others, other_targets, other_weights) in zip(
        epoch_of(one), epoch_of(other), strict=True
    ):
        np.testing.assert_array_equal(weights, np.asarray([0.75, 1.5, 0, 0])[targets.argmax(axis=1)])
        np.testing.assert_array_equal(inputs, others)
        np.testing.assert_array_equal(np.maximum(targets, 0), other_targets)
        np.testing.assert_array_equal(weights, other_weights)


def test_class_weights_can_be_switched_off(make_dataset):
    _, _, weights = batches_of(make_dataset([0, 0, 0, 1]), class_weights=False)[0]
    np.testing.assert_array_equal(weights, np.ones(4))


def of_two_corpora(make_dataset):
    """Clips 0 to 3 are of a corpus of all four labels, 4 and 5 of one of the first and last alone."""
    dataset = make_dataset([0, 1, 2, 3, 0, 3])
    clips = [dataclasses.replace(clip, corpus="all" if i < 4 else "two") for i, clip in enumerate(dataset.clips)]
    return dataclasses.replace(dataset, clips=tuple(clips))


def test_labels_that_a_corpus_lacks_are_marked_in_the_targets_of_its_clips(make_dataset):
    dataset = of_two_corpora(make_dataset)
    for masked in (True, False):
        seen = {}
        for inputs, targets, _ in epoch_of(batches_of(dataset, mask_missing_labels=masked)):
            seen.update(zip(who(inputs, 6), targets.tolist(), strict=True))
        lacking = IMPOSSIBLE if masked else 0
        assert [seen[i] for i in range(4)] == np.eye(4).tolist()
        assert seen[4] == [1, lacking, lacking, 0] and seen[5] == [0, lacking, lacking, 1]


@pytest.mark.parametrize("way", ["mixup_alpha", "cutmix_alpha"])
def test_what_was_possible_for_either_of_two_mixed_clips_is_possible(make_dataset, way):
    dataset = of_two_corpora(make_dataset)
    mixing = PLAIN.model_copy(update={way: 1.0, "mix_probability": 1.0})
    batches = batches_of(dataset, augmentation=mixing, batch_size=6)
    kinds = set()
    for _ in range(20):
        _, targets, _ = batches[0]
        np.testing.assert_allclose(np.maximum(targets, 0).sum(axis=1), 1, rtol=1e-6)
        for row in targets:
            lacks = row == IMPOSSIBLE
            assert lacks.tolist() in ([False] * 4, [False, True, True, False])
            kinds.add((bool(lacks.any()), int((row > 0).sum())))
        batches.on_epoch_end()
    assert {(False, 1), (False, 2), (True, 2)} <= kinds


# ---------------------------------------------------------------- mixing


@pytest.mark.parametrize("way", ["mixup", "cutmix"])
def test_mixed_batches_have_mixed_targets_and_weights_in_the_same_proportion(make_dataset, way):
    dataset = make_dataset([0, 1, 1, 1] * 4, labels=("angry", "sad"))
    config = PLAIN.model_copy(update={f"{way}_alpha": 1.0, "mix_probability": 1.0})
    for inputs, targets, weights in epoch_of(batches_of(dataset, augmentation=config, batch_size=8)):
        np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(weights, targets @ np.asarray([2.0, 2 / 3], np.float32), rtol=1e-5)
        assert len(inputs) == 8
    assert ((targets > 0) & (targets < 1)).any()


def test_mix_probability_is_the_share_of_batches_mixed(make_dataset):
    dataset = make_dataset([0, 1] * 2, labels=("angry", "sad"), n_frames=4)

    def share_mixed(**update):
        batches = batches_of(dataset, augmentation=PLAIN.model_copy(update=update))
        mixed = 0
        for _ in range(300):
            mixed += not set(who(batches[0][0], 4)) >= {0, 1, 2, 3} or bool(
                np.isin(batches[0][1], [0, 1], invert=True).any()
            )
            batches.on_epoch_end()
        return mixed / 300

    assert share_mixed(mixup_alpha=1.0, mix_probability=0.0) == 0
    # A permutation of four often leaves a sample to itself or to its own class; never can more be mixed than asked.
    assert 0.15 < share_mixed(mixup_alpha=1.0, mix_probability=0.5) <= 0.6
    assert share_mixed(mixup_alpha=0.0, cutmix_alpha=0.0, mix_probability=1.0) == 0


def test_both_ways_of_mixing_take_turns(make_dataset):
    dataset = make_dataset([0, 1, 2, 3])
    config = PLAIN.model_copy(update={"mixup_alpha": 1.0, "cutmix_alpha": 1.0, "mix_probability": 1.0})
    batches = batches_of(dataset, augmentation=config)
    swapped = 0
    originals = np.stack([sample.spectrogram for sample in dataset.samples]).astype(np.float32)
    for _ in range(100):
        inputs, _, _ = batches[0]
        # Under CutMix every frame is one of some clip's; under mixup hardly any is.
        swapped += all((np.abs(originals[:, 0] - picture[0]).max(axis=(1, 2)) < 1e-6).any() for picture in inputs)
        batches.on_epoch_end()
    assert 35 < swapped < 70


def test_features_travel_with_their_clip_and_mix_with_it(make_dataset):
    dataset = make_dataset([0, 1, 2, 3], n_features=5)
    originals = np.stack([sample.features for sample in dataset.samples])
    inputs, targets, _ = batches_of(dataset)[0]
    np.testing.assert_array_equal(inputs["features"], originals[targets.argmax(axis=1)])
    config = PLAIN.model_copy(update={"mixup_alpha": 1.0, "mix_probability": 1.0})
    inputs, targets, _ = batches_of(dataset, augmentation=config)[0]
    np.testing.assert_allclose(inputs["features"], targets @ originals, atol=1e-5)
    assert np.isin(targets, [0, 1], invert=True).any()


def test_degraded_copies_take_the_place_of_clips_as_often_as_asked(make_dataset):
    dataset = make_dataset([0, 1] * 8)
    copies = [
        dataclasses.replace(clean, spectrogram=np.full_like(clean.spectrogram, 0.999)) for clean in dataset.samples
    ]
    samples = zip(dataset.samples, copies, strict=True)
    dataset = dataclasses.replace(
        dataset, samples=tuple(dataclasses.replace(clean, variants=(copy,)) for clean, copy in samples)
    )
    for share, low, high in ((0.0, 0, 0), (0.25, 0.15, 0.35), (1.0, 1, 1)):
        batches = batches_of(dataset, augmentation=PLAIN.model_copy(update={"degraded_share": share}))
        taken = []
        for _ in range(20):
            taken += [(inputs.min(axis=(1, 2, 3)) > 0.99).mean() for inputs, _, _ in epoch_of(batches)]
            batches.on_epoch_end()
        assert low <= np.mean(taken) <= high

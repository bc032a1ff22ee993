"""How much clips count, and what they could have been."""

import dataclasses

import numpy as np
import pytest

from emogram.balance import balanced_weights, clip_weights, drawn_apart, possible_labels
from emogram.config import TrainConfig


def test_balanced_weights_by_hand():
    # 6, 3 and 1 clips of 10: 10 / (3 * 6), 10 / (3 * 3), 10 / (3 * 1)
    weights = balanced_weights(np.asarray([0] * 6 + [1] * 3 + [2]), 3)
    np.testing.assert_allclose(weights, [0.5555556, 1.1111111, 3.3333333], rtol=1e-6)


def test_balanced_weights_as_scikit_learn_has_them():
    from sklearn.utils.class_weight import compute_class_weight

    targets = np.random.default_rng(0).choice(5, 300, p=[0.5, 0.2, 0.15, 0.1, 0.05])
    expected = compute_class_weight("balanced", classes=np.arange(5), y=targets)
    np.testing.assert_allclose(balanced_weights(targets, 5), expected, rtol=1e-6)


def test_every_class_weighs_the_same_in_all_and_absent_ones_nothing():
    targets = np.asarray([0] * 7 + [2] * 2)
    weights = balanced_weights(targets, 4)
    np.testing.assert_allclose(weights * np.bincount(targets, minlength=4), [4.5, 0, 4.5, 0], rtol=1e-6)
    assert weights[targets].sum() == pytest.approx(9)


def test_clips_that_are_drawn_are_those_of_corpora_that_may_but_train(two_corpora):
    dataset, trained = two_corpora
    assert [part.tolist() for part in drawn_apart(dataset, trained, TrainConfig())] == [list(range(10)), []]
    assert [part.tolist() for part in drawn_apart(dataset, trained, TrainConfig(also_clips=1))] == [
        list(range(8)),
        [8, 9],
    ]


@pytest.fixture
def two_corpora(make_dataset):
    """The corpus "big" has 6 angry and 2 calm clips, "small" 1 angry and 1 sad; the last two do not train."""
    dataset = make_dataset([0] * 6 + [1] * 2 + [0, 3, 2, 1])
    corpora = ["big"] * 8 + ["small"] * 2 + ["big", "small"]
    clips = [dataclasses.replace(clip, corpus=name) for clip, name in zip(dataset.clips, corpora, strict=True)]
    return dataclasses.replace(dataset, clips=tuple(clips), training_only=frozenset({"small"})), np.arange(10)


def test_labels_weigh_the_same_over_all_corpora_or_within_each(two_corpora):
    dataset, trained = two_corpora
    by_label = clip_weights(dataset, trained, TrainConfig(balance="label"))
    sums = np.bincount(dataset.targets[trained], weights=by_label[trained], minlength=4)
    np.testing.assert_allclose(sums, [10 / 3, 10 / 3, 0, 10 / 3], rtol=1e-6)
    assert by_label[0] == by_label[8], "one label, one weight, whatever the corpus"
    by_both = clip_weights(dataset, trained, TrainConfig(balance="corpus_label"))
    np.testing.assert_allclose(by_both[:10], [2.5 / 6] * 6 + [2.5 / 2] * 2 + [2.5, 2.5], rtol=1e-6)
    assert by_both[10] == by_both[11] == 0, "no training clip of that label in that corpus"


def test_one_corpus_is_balanced_by_label_either_way(make_dataset):
    dataset = make_dataset([0, 0, 0, 1, 2, 2])
    one, other = (clip_weights(dataset, np.arange(6), TrainConfig(balance=how)) for how in ("label", "corpus_label"))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("class_weights", [True, False])
def test_corpora_that_may_but_train_weigh_as_asked_and_the_mean_stays_one(two_corpora, class_weights):
    dataset, trained = two_corpora
    plain, lighter = (
        clip_weights(dataset, trained, TrainConfig(class_weights=class_weights, also_weight=weight))
        for weight in (1.0, 0.25)
    )
    assert plain[trained].mean() == pytest.approx(1, rel=1e-6) and lighter[trained].mean() == pytest.approx(1, rel=1e-6)
    np.testing.assert_allclose(lighter[8:10] / lighter[0], 0.25 * plain[8:10] / plain[0], rtol=1e-6)
    np.testing.assert_allclose(lighter[:8] / lighter[0], plain[:8] / plain[0], rtol=1e-6)


def test_what_a_clip_could_be_is_what_its_corpus_has_in_training_and_what_it_is(two_corpora):
    dataset, trained = two_corpora
    possible = possible_labels(dataset, trained)
    assert possible[:8].tolist() == [[True, True, False, False]] * 8
    assert possible[8:10].tolist() == [[True, False, False, True]] * 2
    assert possible[10].tolist() == [True, True, True, False]
    assert possible[11].tolist() == [True, True, False, True]

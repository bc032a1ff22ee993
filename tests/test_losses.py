"""The loss, against a slow version and against Keras' own."""

import math

import numpy as np
import pytest

from emogram.backend import keras
from emogram.losses import IMPOSSIBLE, PossibleCrossentropy


def loss(targets, probabilities, *, label_smoothing=0.0, weights=None):
    found = PossibleCrossentropy(label_smoothing=label_smoothing)(
        np.asarray(targets, np.float32), np.asarray(probabilities, np.float32), sample_weight=weights
    )
    return float(keras.ops.convert_to_numpy(found))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
def test_where_all_is_possible_it_is_the_cross_entropy_of_keras(label_smoothing):
    rng = np.random.default_rng(0)
    targets, probabilities = rng.dirichlet(np.ones(5), (2, 7)).astype(np.float32)
    weights = rng.uniform(0.2, 3, 7).astype(np.float32)
    theirs = keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)
    expected = float(keras.ops.convert_to_numpy(theirs(targets, probabilities, sample_weight=weights)))
    assert loss(targets, probabilities, label_smoothing=label_smoothing, weights=weights) == pytest.approx(expected)


def test_by_hand_with_a_label_that_could_not_be():
    """0.4 and 0.1 become 0.8 and 0.2; of the smoothing of 0.2 each of two labels gets 0.1."""
    targets, probabilities = [[1, 0, IMPOSSIBLE]], [[0.4, 0.1, 0.5]]
    assert loss(targets, probabilities) == pytest.approx(-math.log(0.8), rel=1e-5)
    expected = -(0.9 * math.log(0.8) + 0.1 * math.log(0.2))
    assert loss(targets, probabilities, label_smoothing=0.2) == pytest.approx(expected, rel=1e-5)


def test_it_is_the_softmax_over_the_possible_labels_whatever_the_others_say():
    logits = np.asarray([[1.0, -2.0, 0.5, 9.0]])
    few = np.exp(logits[:, :3]) / np.exp(logits[:, :3]).sum()
    for other in (-5.0, 0.0, 5.0):
        logits[0, 3] = other
        probabilities = np.exp(logits) / np.exp(logits).sum()
        found = loss([[0.7, 0, 0.3, IMPOSSIBLE]], probabilities, label_smoothing=0.1)
        assert found == pytest.approx(loss([[0.7, 0, 0.3]], few, label_smoothing=0.1), rel=1e-4)


def test_it_stays_finite_where_all_probability_lies_on_what_cannot_be():
    assert math.isfinite(loss([[1, 0, IMPOSSIBLE]], [[0.0, 0.0, 1.0]], label_smoothing=0.1))

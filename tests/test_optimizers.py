"""The optimizers and their learning rates."""

import math

import numpy as np
import pytest

from emogram.backend import keras
from emogram.config import TrainConfig
from emogram.optimizers import Muon, make_optimizer


def test_warm_up_and_cosine_by_hand():
    settings = TrainConfig(epochs=10, warmup_epochs=2, learning_rate=0.1, schedule="cosine")
    rate = make_optimizer(settings, steps_per_epoch=5)._learning_rate
    for step in range(51):
        if step < 10:  # from a hundredth to the whole, in ten steps
            expected = 0.001 + (0.1 - 0.001) * step / 10
        else:  # half a cosine, down to a hundredth, in the remaining forty
            cosine = 0.5 * (1 + math.cos(math.pi * (step - 10) / 40))
            expected = 0.1 * (0.01 + 0.99 * cosine)
        assert float(rate(step)) == pytest.approx(expected, rel=1e-4)


def test_a_cosine_without_warm_up_begins_at_the_top():
    rate = make_optimizer(TrainConfig(epochs=4, warmup_epochs=0, learning_rate=0.1), steps_per_epoch=5)._learning_rate
    assert [float(rate(step)) for step in (0, 10, 20)] == pytest.approx([0.1, 0.0505, 0.001], rel=1e-4)


def test_a_warm_up_longer_than_the_training_takes_half_of_it():
    rate = make_optimizer(TrainConfig(epochs=2, warmup_epochs=9, learning_rate=0.1), steps_per_epoch=5)._learning_rate
    assert float(rate(5)) == pytest.approx(0.1) and float(rate(2)) == pytest.approx(0.0406) and float(rate(9)) < 0.02


@pytest.mark.parametrize(("name", "kind"), [("adam", "Adam"), ("adamw", "AdamW"), ("muon", "Muon"), ("sgd", "SGD")])
def test_optimizers_are_those_named(name, kind):
    optimizer = make_optimizer(TrainConfig(optimizer=name, weight_decay=0.3), steps_per_epoch=1)
    assert type(optimizer).__name__ == kind
    assert optimizer.weight_decay == (0.3 if name in ("adamw", "muon") else None)


def one_step(optimizer, start, gradient):
    variable = keras.Variable(start)
    optimizer.build([variable])
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    return keras.ops.convert_to_numpy(variable)


@pytest.mark.parametrize("shape", [(3, 3, 4, 6), (1, 1, 16, 8), (12, 8)])
def test_muon_steps_along_the_nearest_orthogonal_matrix(shape):
    """Against the singular value decomposition: U V^T of the gradient, seen as a matrix, times rate and scale."""
    gradient = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    matrix = gradient.reshape(-1, shape[-1])
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    expected = -0.1 * 0.2 * math.sqrt(max(matrix.shape)) * (left @ right)
    step = one_step(Muon(0.1, weight_decay=0.0), np.zeros(shape, np.float32), gradient).reshape(matrix.shape)
    # Five Newton-Schulz steps bring the singular values to between 0.7 and 1.2, not to 1.
    assert np.sum(step * expected) / np.linalg.norm(step) / np.linalg.norm(expected) > 0.97
    values = np.linalg.svd(step, compute_uv=False) / (0.1 * 0.2 * math.sqrt(max(matrix.shape)))
    assert values.min() > 0.6 and values.max() < 1.3


def test_muon_leaves_vectors_and_first_filters_to_adam():
    """Adam's first step is the sign of the gradient times the rate, whatever the size of the gradient."""
    for shape in ((5,), (3, 3, 1, 4)):
        gradient = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        step = one_step(Muon(0.1, weight_decay=0.0, adam_weight_decay=0.0), np.zeros(shape, np.float32), gradient)
        np.testing.assert_allclose(step, -0.1 * np.sign(gradient), rtol=1e-3)


@pytest.mark.parametrize(("precision", "at_most"), [("float32", 2e-6), ("bfloat16", 2e-3)])
def test_muon_takes_the_steps_that_keras_takes_variable_by_variable(precision, at_most):
    class OneByOne(Muon):
        _apply_weight_decay = keras.optimizers.Muon._apply_weight_decay
        _backend_update_step = keras.optimizers.Muon._backend_update_step

    shapes = [(7, 5, 1, 4), (3, 3, 4, 6), (1, 1, 24, 8), (8, 5), (5, 8), (6,), (5,)]
    random = np.random.default_rng(0)
    starts = [random.normal(size=shape).astype(np.float32) for shape in shapes]
    rate = keras.optimizers.schedules.CosineDecay(0.01, 6, warmup_target=0.05, warmup_steps=2)
    found = []
    for kind in (Muon, OneByOne):
        optimizer = kind(rate, weight_decay=0.3, adam_weight_decay=0.2, precision=precision)
        variables = [keras.Variable(start) for start in starts]
        optimizer.build(variables)
        random = np.random.default_rng(1)
        for _ in range(5):
            gradients = [keras.ops.convert_to_tensor(random.normal(size=shape).astype(np.float32)) for shape in shapes]
            optimizer.apply(gradients, variables)
        found.append([keras.ops.convert_to_numpy(one) for one in variables])
        assert int(optimizer.iterations) == 5
    for one, other, start in zip(*found, starts, strict=True):
        np.testing.assert_allclose(one, other, atol=at_most)
        assert np.abs(one - start).max() > 0.02


@pytest.mark.parametrize("name", ["adam", "adamw", "muon", "sgd"])
def test_the_trunk_takes_steps_of_its_share_and_the_last_layer_whole_ones(name):
    """Also where the length of a gradient says nothing of that of the step."""

    def steps(trunk_rate):
        settings = TrainConfig(optimizer=name, weight_decay=0.0, trunk_rate=trunk_rate, schedule="constant")
        optimizer = make_optimizer(settings, steps_per_epoch=1)
        rng = np.random.default_rng(0)
        layers = [keras.layers.Dense(3, name="hidden"), keras.layers.Dense(2, name="probabilities")]
        keras.Sequential([keras.Input((4,)), *layers])
        variables = [weight for layer in layers for weight in layer.weights]
        for one in variables:
            one.assign(np.zeros(one.shape, np.float32))
        optimizer.build(variables)
        for _ in range(3):
            gradients = [rng.normal(size=one.shape).astype(np.float32) for one in variables]
            optimizer.apply([keras.ops.convert_to_tensor(one) for one in gradients], variables)
        return [keras.ops.convert_to_numpy(one) for one in variables]

    whole, tenth = steps(1.0), steps(0.1)
    for place in (0, 1):
        np.testing.assert_allclose(tenth[place], 0.1 * whole[place], rtol=1e-4, atol=1e-7)
    for place in (2, 3):
        np.testing.assert_allclose(tenth[place], whole[place], rtol=1e-6)
        assert np.abs(whole[place]).max() > 0

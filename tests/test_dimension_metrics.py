"""Concordance and its like, against slow versions, and the loss against both."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from emogram import metrics
from emogram.backend import keras
from emogram.errors import SettingsError
from emogram.heads import BothLoss, Concordance, Heads, training_loss, training_metrics
from emogram.losses import PossibleCrossentropy, concordance_loss
from emogram.metrics import DimensionValues, ccc, pearson, rmse
from emogram.records import Clip

ops = keras.ops


def slow_ccc(x, y):
    """Lin (1989), equation by equation, without NumPy."""
    n = len(x)
    mean_x, mean_y = sum(x) / n, sum(y) / n
    var_x = sum((a - mean_x) ** 2 for a in x) / n
    var_y = sum((b - mean_y) ** 2 for b in y) / n
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / n
    return 2 * covariance / (var_x + var_y + (mean_x - mean_y) ** 2)


@pytest.fixture
def pair():
    rng = np.random.default_rng(3)
    x = rng.uniform(1, 7, 40)
    return x, 0.5 * x + rng.normal(1.0, 0.8, 40)


def test_ccc_is_the_formula_of_lin(pair):
    x, y = pair
    assert ccc(x, y) == pytest.approx(slow_ccc(x.tolist(), y.tolist()), abs=1e-12)
    assert ccc([1, 2, 3], [2, 3, 4]) == pytest.approx(2 * (2 / 3) / (2 / 3 + 2 / 3 + 1))
    assert ccc([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)


def test_ccc_is_one_for_equal_numbers_and_nought_for_constant_ones(pair):
    x, y = pair
    assert ccc(x, x) == pytest.approx(1.0, abs=1e-12)
    assert ccc(x, np.full(40, 4.0)) == ccc(np.full(40, 4.0), y) == ccc([2.0, 2.0], [2.0, 2.0]) == 0.0
    # A constant that no float holds exactly leaves a trace of a variance.
    assert ccc(np.full(40, 0.1) + 1e9, y) == pearson(np.full(40, 1 / 3), y) == 0.0


def test_ccc_is_symmetric_and_a_common_shift_or_scale_changes_nothing(pair):
    x, y = pair
    assert ccc(y, x) == pytest.approx(ccc(x, y), abs=1e-12)
    assert ccc(3.7 * x - 100, 3.7 * y - 100) == pytest.approx(ccc(x, y), abs=1e-10)
    assert ccc(1e6 + x, 1e6 + y) == pytest.approx(ccc(x, y), abs=1e-6)
    # A shift of one of them does, which a correlation does not see.
    assert ccc(x, y + 5.0) < ccc(x, y)
    assert pearson(x, y + 5.0) == pytest.approx(pearson(x, y))


def test_correlation_and_error_are_those_of_numpy(pair):
    x, y = pair
    assert pearson(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert rmse(x, y) == pytest.approx(math.sqrt(np.mean((x - y) ** 2)))


def test_clips_without_a_number_are_left_out(pair):
    x, y = pair
    gaps = x.copy()
    gaps[::3] = np.nan
    kept = ~np.isnan(gaps)
    for figure in (ccc, pearson, rmse):
        assert figure(gaps, y) == pytest.approx(figure(x[kept], y[kept]), abs=1e-12)
    assert math.isnan(ccc([np.nan, np.nan], [1.0, 2.0]))


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(SettingsError, match="expected as many of each"):
        ccc([1.0, 2.0], [1.0])
    with pytest.raises(SettingsError, match="not finite"):
        ccc([1.0, 2.0], [1.0, np.inf])


def values_of(pair):
    x, y = pair
    truth = np.column_stack([x, 8.0 - x])
    truth[:5, 1] = np.nan
    return DimensionValues(("arousal", "valence"), truth, np.column_stack([y, 8.0 - 0.5 * y]))


def test_speakers_are_resampled_and_not_clips(pair):
    """A slow bootstrap over three speakers and one clip that nobody knows the speaker of, on the same draws."""
    values = values_of(pair)
    speakers = [None, *("abc"[place % 3] for place in range(39))]
    (found,) = metrics.resample_dimensions(values.truth, [values.said], values.names, speakers, n_resamples=50, seed=4)
    units = [[0], *([place for place, name in enumerate(speakers) if name == each] for each in "abc")]
    draws = np.random.default_rng(4).multinomial(4, [0.25] * 4, size=50)
    for draw, counts in enumerate(draws):
        chosen = [place for unit, count in zip(units, counts, strict=True) for place in unit * count]
        one = metrics.dimension_metrics(values.rows(np.asarray(chosen)))
        for name in ("ccc", "arousal_pearson", "valence_ccc", "valence_rmse"):
            assert found[name][draw] == pytest.approx(one[name], abs=1e-9)


def test_a_report_tells_classes_and_dimensions_beside_each_other(pair):
    values = values_of(pair)
    clips = [Clip(Path(f"{place}.wav"), "ab"[place % 2], f"s{place % 4}", "x") for place in range(40)]
    targets = np.asarray([place % 2 for place in range(40)])
    probabilities = np.tile([0.6, 0.4], (40, 1))
    both = metrics.judge(targets, probabilities, ["a", "b"], clips, protocol="p", values=values)
    alone = metrics.judge(targets, np.zeros((40, 0)), [], clips, protocol="p", values=values)
    classes = metrics.judge(targets, probabilities, ["a", "b"], clips, protocol="p")
    assert both.metrics == {**classes.metrics, **alone.metrics}
    assert both.intervals == {**classes.intervals, **alone.intervals}
    assert both.metrics["valence_n_clips"] == 35
    assert both.metrics["ccc"] == pytest.approx((both.metrics["arousal_ccc"] + both.metrics["valence_ccc"]) / 2)
    low, high = both.intervals["arousal_ccc"]
    assert low < both.metrics["arousal_ccc"] < high
    assert set(both.per_group["speaker"]["s1"]) == {"uar", "accuracy", "n_clips", "ccc"}
    assert alone.labels == alone.confusion == () and alone.dimensions == ("arousal", "valence")
    # The JSON of who judges classes alone has no word of dimensions.
    assert both.to_dict().keys() - classes.to_dict().keys() == {"dimensions"}


# ---------------------------------------------------------------- the loss


def loss_of(numbers, answers, weights=None):
    arrays = [ops.convert_to_tensor(np.asarray(each, np.float32)) for each in (numbers, answers)]
    weights = ops.convert_to_tensor(np.asarray(np.ones_like(numbers) if weights is None else weights, np.float32))
    return float(ops.convert_to_numpy(concordance_loss(*arrays, weights)))


def test_the_loss_is_one_less_the_mean_ccc():
    numbers, answers = np.random.default_rng(0).uniform(0, 1, (2, 12, 3))
    expected = np.mean([1.0 - ccc(numbers[:, place], answers[:, place]) for place in range(3)])
    assert loss_of(numbers, answers) == pytest.approx(expected, abs=1e-4)
    assert loss_of(numbers, numbers) == pytest.approx(0.0, abs=1e-4)


def test_the_loss_of_masked_clips_is_that_of_the_others():
    rng = np.random.default_rng(1)
    numbers, answers = rng.uniform(0, 1, (2, 12, 1))
    known = rng.random((12, 1)) < 0.6
    whatever = np.where(known, numbers, 123.0)
    rows = known[:, 0]
    assert loss_of(whatever, answers, known) == pytest.approx(loss_of(numbers[rows], answers[rows]), abs=1e-5)


def test_a_weight_of_two_counts_as_two_clips():
    numbers, answers = np.random.default_rng(2).uniform(0, 1, (2, 6, 2))
    weights = np.ones((6, 2))
    weights[2] = 2.0
    doubled = (np.concatenate([each, each[2:3]]) for each in (numbers, answers))
    assert loss_of(numbers, answers, weights) == pytest.approx(loss_of(*doubled), abs=1e-5)


def test_dimensions_that_a_batch_does_not_tell_of_are_left_out():
    numbers, answers = np.random.default_rng(3).uniform(0, 1, (2, 8, 3))
    numbers[:, 1] = 0.4  # all have the same
    weights = np.ones((8, 3))
    weights[1:, 2] = 0.0  # a single clip has one
    assert loss_of(numbers, answers, weights) == pytest.approx(loss_of(numbers[:, :1], answers[:, :1]), abs=1e-5)
    assert loss_of(numbers[:1], answers[:1]) == loss_of(numbers, answers, np.zeros((8, 3))) == 0.0


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="takes gradients by PyTorch")
@pytest.mark.parametrize("case", ["random", "masked", "constant truth", "constant answers", "nothing known"])
def test_the_gradient_is_that_of_small_steps_and_always_finite(case):
    import torch

    rng = np.random.default_rng(5)
    numbers, answers = rng.uniform(0, 1, (2, 7, 2))
    weights = np.ones((7, 2))
    if case == "masked":
        weights[rng.random((7, 2)) < 0.4] = 0.0
    if case == "constant truth":
        numbers[:] = 0.5
    if case == "constant answers":
        answers[:] = 0.3
    if case == "nothing known":
        weights[:] = 0.0
    given = [torch.tensor(each, dtype=torch.float64) for each in (numbers, weights)]

    def loss(x):
        return concordance_loss(given[0], x, given[1])

    at = torch.tensor(answers, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(at), at)
    assert torch.isfinite(gradient).all()
    for place in np.ndindex(answers.shape):
        step = np.zeros_like(answers)
        step[place] = 1e-6
        up, down = (float(loss(torch.tensor(answers + sign * step))) for sign in (1, -1))
        assert float(gradient[place]) == pytest.approx((up - down) / 2e-6, abs=1e-6)
    if case in ("constant truth", "nothing known"):
        assert not gradient.any()


def test_classes_and_dimensions_are_added_and_weighed():
    rng = np.random.default_rng(6)
    heads = Heads(3, 2)
    wanted, probabilities = np.eye(3)[[0, 1, 2, 0, 1]], rng.dirichlet(np.ones(3), 5)
    numbers, answers = rng.uniform(0, 1, (2, 5, 2))
    known, weights = np.ones((5, 2)), rng.uniform(0.5, 2.0, 5).astype(np.float32)
    targets = np.concatenate([wanted, numbers, known], axis=1).astype(np.float32)
    said = np.concatenate([probabilities, answers], axis=1).astype(np.float32)
    loss = training_loss(heads, label_smoothing=0.1, dimension_weight=0.7)
    classes = PossibleCrossentropy(label_smoothing=0.1)
    alone = float(ops.convert_to_numpy(classes(targets[:, :3], said[:, :3], sample_weight=weights)))
    found = float(ops.convert_to_numpy(loss(targets, said, sample_weight=weights)))
    assert found == pytest.approx(alone + 0.7 * loss_of(numbers, answers), rel=1e-5)
    only = BothLoss(Heads(0, 2), classes, 0.7)
    assert float(ops.convert_to_numpy(only(targets[:, 3:], said[:, 3:], sample_weight=weights))) == pytest.approx(
        loss_of(numbers, answers), rel=1e-5
    )
    assert type(training_loss(Heads(3, 0), label_smoothing=0.1, dimension_weight=1.0)) is PossibleCrossentropy


def test_the_ccc_of_an_epoch_is_that_of_all_its_clips_and_not_the_mean_over_batches():
    rng = np.random.default_rng(7)
    numbers = rng.uniform(0, 1, (30, 2))
    answers = np.clip(numbers + rng.normal(0, 0.2, (30, 2)), 0, 1)
    known = (rng.random((30, 2)) < 0.7).astype(np.float64)
    metric = Concordance(Heads(0, 2))
    for rows in np.split(np.arange(30), 5):
        metric.update_state(np.concatenate([numbers[rows], known[rows]], axis=1), answers[rows])
    truth = np.where(known > 0, numbers, np.nan)
    expected = np.mean([ccc(truth[:, place], answers[:, place]) for place in range(2)])
    assert float(ops.convert_to_numpy(metric.result())) == pytest.approx(expected, abs=1e-4)
    metric.reset_state()
    assert float(ops.convert_to_numpy(metric.result())) == 0.0
    assert [each.name for each in training_metrics(Heads(4, 2))] == ["accuracy", "ccc"]

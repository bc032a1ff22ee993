from __future__ import annotations

import numpy as np
import pytest

from emogram import calibration, metrics
from emogram.errors import SettingsError


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def calibrated_answers(n_clips=4000, n_labels=4, seed=0):
    """Logits whose softmax is the true distribution of the targets."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=1.5, size=(n_clips, n_labels))
    targets = (softmax(logits).cumsum(axis=1) < rng.random((n_clips, 1))).sum(axis=1)
    return logits, targets


def test_soften_is_softmax_of_logits_over_temperature():
    logits, _ = calibrated_answers(50)
    for temperature in (0.3, 1.0, 4.0):
        assert calibration.soften(softmax(logits), temperature) == pytest.approx(softmax(logits / temperature))


def test_soften_by_hand():
    # At T = 2 probabilities become proportional to their square roots: 3 : 1 from 0.9 : 0.1.
    assert calibration.soften([0.9, 0.1], 2.0) == pytest.approx([0.75, 0.25])


def test_soften_keeps_the_answer_and_the_sum_even_with_zeros_and_extreme_temperatures():
    probabilities = np.array([[1.0, 0.0, 0.0], [0.5, 0.4, 0.1]])
    for temperature in (calibration.MIN_TEMPERATURE, calibration.MAX_TEMPERATURE):
        softened = calibration.soften(probabilities, temperature)
        assert softened.sum(axis=1) == pytest.approx(1.0)
        assert softened.argmax(axis=1).tolist() == [0, 0]


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan, np.inf])
def test_soften_refuses_temperatures_that_are_none(temperature):
    with pytest.raises(SettingsError, match="expected a number above 0"):
        calibration.soften([0.5, 0.5], temperature)


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_fitting_finds_the_factor_by_which_logits_were_stretched(factor):
    logits, targets = calibrated_answers()
    assert calibration.fit_temperature(softmax(factor * logits), targets) == pytest.approx(factor, rel=0.07)


def test_the_fitted_temperature_is_the_best_of_a_fine_grid():
    logits, targets = calibrated_answers(300)
    probabilities = softmax(2.5 * logits)
    grid = np.geomspace(calibration.MIN_TEMPERATURE, calibration.MAX_TEMPERATURE, 2000)
    losses = [metrics.nll(calibration.soften(probabilities, t), targets) for t in grid]
    fitted = calibration.fit_temperature(probabilities, targets)
    assert fitted == pytest.approx(grid[np.argmin(losses)], rel=0.005)
    assert metrics.nll(calibration.soften(probabilities, fitted), targets) <= min(losses) + 1e-9


def test_fitting_lowers_the_calibration_error_of_an_overconfident_model():
    logits, targets = calibrated_answers()
    overconfident = softmax(3 * logits)
    calibrated = calibration.soften(overconfident, calibration.fit_temperature(overconfident, targets))
    assert metrics.ece(overconfident, targets) > 0.1
    assert metrics.ece(calibrated, targets) < 0.03


def test_temperature_stays_within_bounds_where_answers_are_always_sure_and_wrong():
    probabilities = np.tile([0.999, 0.001], (20, 1))
    assert calibration.fit_temperature(probabilities, np.ones(20, dtype=int)) == pytest.approx(20.0, rel=0.01)


@pytest.mark.parametrize(
    ("probabilities", "targets"),
    [
        (np.zeros((0, 3)), np.zeros(0, dtype=int)),
        ([[0.2, 0.8]], [0]),
        ([[0.2, 0.8], [0.7, 0.3]], [1, 0]),
        ([[1.0], [1.0]], [0, 0]),
    ],
    ids=["no clips", "one clip", "nothing wrong", "one label"],
)
def test_temperature_is_one_where_there_is_nothing_to_learn_from(probabilities, targets):
    assert calibration.fit_temperature(probabilities, targets) == 1.0


# Answers among five labels, so that the largest probability may lie below one half.
def spread(confidences, right):
    confidences = np.asarray(confidences, dtype=float)
    probabilities = np.repeat((1 - confidences)[:, np.newaxis] / 4, 5, axis=1)
    probabilities[:, 0] = confidences
    return probabilities, np.where(right, 0, 1)


def test_threshold_by_hand():
    # Of twenty clips the two least sure are wrong; a tenth may be unsure, so the third confidence parts them.
    confidences = [0.30, 0.35, 0.40, *np.linspace(0.45, 0.95, 17)]
    right = [False, False, *[True] * 18]
    assert calibration.choose_threshold(*spread(confidences, right)) == pytest.approx(0.40)


def test_threshold_never_exceeds_one_half():
    confidences = [0.45, *np.linspace(0.6, 0.9, 19)]
    assert calibration.choose_threshold(*spread(confidences, [False, *[True] * 19])) == 0.5


def test_at_most_a_tenth_is_unsure_and_those_are_right_less_often():
    logits, targets = calibrated_answers(500)
    probabilities = softmax(logits)
    threshold = calibration.choose_threshold(probabilities, targets)
    unsure = probabilities.max(axis=1) < threshold
    right = probabilities.argmax(axis=1) == targets
    assert 0 < unsure.mean() <= 0.1
    assert right[unsure].mean() < right[~unsure].mean()


@pytest.mark.parametrize(
    ("confidences", "right"),
    [
        ([], []),
        ([0.3] * 9, [False] * 9),
        ([0.4] * 50, [True, False] * 25),
        (np.linspace(0.3, 0.9, 20), [True] * 2 + [False] * 18),
        (np.linspace(0.6, 0.9, 20), [False] * 2 + [True] * 18),
    ],
    ids=["no clips", "too few", "all alike", "confidence misleads", "always sure"],
)
def test_no_threshold_where_none_helps(confidences, right):
    assert calibration.choose_threshold(*spread(confidences, np.array(right, dtype=bool))) == 0.0

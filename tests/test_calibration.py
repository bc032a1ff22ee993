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


@pytest.mark.parametrize(("n_speakers", "trust"), [(1, 0.2), (4, 0.5), (36, 0.9)])
def test_few_voices_move_the_temperature_less(n_speakers, trust):
    """log T is drawn towards 0 by n / (n + 4); where no speaker is known, it is taken as fitted."""
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(720, 4))
    probabilities, targets = softmax(logits), np.asarray([rng.choice(4, p=row) for row in softmax(logits / 2)])
    whole = calibration.fit_temperature(probabilities, targets)
    speakers = [f"voice {index % n_speakers}" for index in range(720)]
    drawn = calibration.fit_temperature(probabilities, targets, speakers=speakers)
    assert np.log(drawn) == pytest.approx(trust * np.log(whole), rel=1e-3)
    assert calibration.fit_temperature(probabilities, targets, speakers=[None] * 720) == whole


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


def choose(confidences, right, target_error=0.25):
    return calibration.choose_threshold(*spread(confidences, np.asarray(right, dtype=bool)), target_error=target_error)


def test_threshold_by_hand():
    # Of ten clips the three least sure are wrong. 0.3 wrong in all, 2/9 without the least sure, 1/8 without two.
    confidences, right = [0.30, 0.35, 0.40, *np.linspace(0.5, 0.9, 7)], [False] * 3 + [True] * 7
    assert choose(confidences, right, 0.25) == calibration.Abstention(pytest.approx(0.325), pytest.approx(2 / 9), 0.1)
    assert choose(confidences, right, 0.2) == calibration.Abstention(pytest.approx(0.375), pytest.approx(1 / 8), 0.2)
    assert choose(confidences, right, 0.01) == calibration.Abstention(pytest.approx(0.45), 0.0, 0.3)


def test_a_model_that_errs_seldom_enough_is_never_unsure():
    found = choose(np.linspace(0.3, 0.9, 20), [False] * 5 + [True] * 15)
    assert found == calibration.Abstention(0.0, 0.25, 0.0)


def test_an_error_out_of_reach_is_approached_and_told():
    # Wrong: the five least sure and every other of the rest. Nothing below a half can be had.
    right = [False] * 6 + [True, False] * 7
    found = choose(np.linspace(0.3, 0.9, 20), right)
    assert found.unsure_share <= calibration.MAX_UNSURE_SHARE
    assert 0.25 < found.error < 13 / 20
    n_unsure = round(20 * found.unsure_share)
    assert found.error == pytest.approx(1 - np.mean(right[n_unsure:]))
    assert found.error == min(1 - np.mean(right[n:]) for n in range(9))


@pytest.mark.parametrize("target_error", [0.1, 0.2, 0.3, 0.4])
def test_the_threshold_is_that_of_a_slow_search(target_error):
    logits, targets = calibrated_answers(200)
    probabilities = softmax(logits)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    fits = [
        threshold
        for threshold in [0.0, *np.sort(confidence)]
        if np.mean(confidence < threshold) <= calibration.MAX_UNSURE_SHARE
        and 1 - right[confidence >= threshold].mean() <= target_error
    ]
    found = calibration.choose_threshold(probabilities, targets, target_error=target_error)
    if fits:
        assert (confidence < found.threshold).tolist() == (confidence < min(fits)).tolist()
    assert found.unsure_share == np.mean(confidence < found.threshold) <= calibration.MAX_UNSURE_SHARE
    assert found.error == pytest.approx(1 - right[confidence >= found.threshold].mean())
    assert bool(fits) == (found.error <= target_error)


@pytest.mark.parametrize(
    ("confidences", "right"),
    [
        ([0.3] * 9, [False] * 9),
        ([0.4] * 50, [True, False] * 25),
        (np.linspace(0.3, 0.9, 20), [True] * 2 + [False] * 18),
    ],
    ids=["too few", "all alike", "confidence misleads"],
)
def test_no_threshold_where_none_helps(confidences, right):
    found = choose(confidences, right)
    assert (found.threshold, found.unsure_share) == (0.0, 0.0)
    assert found.error == pytest.approx(1 - np.mean(right))


def test_no_clips_no_threshold_and_no_error():
    found = choose([], [])
    assert (found.threshold, found.unsure_share) == (0.0, 0.0) and np.isnan(found.error)

"""Probabilities that mean what they say: temperature scaling, and the confidence below which a model is unsure.

Both are learnt on validation clips, never on test clips, and travel with the bundle.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from emogram.errors import SettingsError
from emogram.metrics import MIN_PROBABILITY, checked, nll

FloatArray = npt.NDArray[np.float64]

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0

MAX_THRESHOLD = 0.5  # an answer more likely right than wrong is worth giving
MAX_UNSURE_SHARE = 0.1  # a model that keeps silent more often than this is of little use


def soften(probabilities: npt.ArrayLike, temperature: float) -> FloatArray:
    """Return softmax(log p / T): flatter for T > 1, sharper for T < 1, the same for T = 1.

    The logarithm gives the logits back up to a constant for each clip, which softmax ignores, so that this is
    temperature scaling of the logits. The order of the labels, and so the answer, never changes.

    Args:
        probabilities: Shape (..., n_labels); those below `MIN_PROBABILITY` count as that.
        temperature: T, > 0.

    Returns:
        Same shape, float64, each row sums to 1.

    Raises:
        SettingsError: The temperature is not a positive number.
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise SettingsError(f"temperature is {temperature}; expected a number above 0")
    logits = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), MIN_PROBABILITY)) / temperature
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    softened: FloatArray = powers / powers.sum(axis=-1, keepdims=True)
    return softened


def fit_temperature(probabilities: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Return the temperature that makes the validation clips most likely (least negative log-likelihood).

    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017, section 4.2.
    The likelihood is concave in 1 / T, so that a search in one dimension finds the one best T.

    Args:
        probabilities: Of validation clips, before calibration, shape (n_clips, n_labels).
        targets: Class indices, shape (n_clips,).

    Returns:
        T in [`MIN_TEMPERATURE`, `MAX_TEMPERATURE`]; 1.0 where there is nothing to learn from: fewer than two clips, a
        single label, or no clip answered wrongly (then ever more confidence looks ever better, and no T is best).

    Raises:
        SettingsError: The arrays do not fit together.
    """
    if len(np.asarray(targets)) < 2:
        return 1.0
    truth, scores = checked(targets, probabilities)
    if scores.shape[1] < 2 or np.array_equal(scores.argmax(axis=1), truth):
        return 1.0
    from scipy.optimize import minimize_scalar

    # In log T, since half and double the confidence are equally far from 1.
    found = minimize_scalar(
        lambda log_temperature: nll(soften(scores, float(np.exp(log_temperature))), truth),
        bounds=(np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(np.clip(np.exp(found.x), MIN_TEMPERATURE, MAX_TEMPERATURE))


def choose_threshold(probabilities: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Return the confidence below which the model should say "unsure", chosen on validation clips.

    The highest t <= `MAX_THRESHOLD` such that (1) some, but at most `MAX_UNSURE_SHARE` of the validation clips have a
    confidence below t, and (2) those are right less often than the others. So an abstention is rare, and it is worth
    more than a guess; a model whose confidence says nothing about being right never abstains. This is selection by the
    largest probability (Y. Geifman, R. El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017)
    with the coverage given.

    Args:
        probabilities: Of validation clips, after calibration, shape (n_clips, n_labels).
        targets: Class indices, shape (n_clips,).

    Returns:
        t in [0, `MAX_THRESHOLD`]; 0.0, never unsure, where no such t exists, as with fewer than ten clips.

    Raises:
        SettingsError: The arrays do not fit together.
    """
    if len(np.asarray(targets)) == 0:
        return 0.0
    truth, scores = checked(targets, probabilities)
    order = np.argsort(scores.max(axis=1), kind="stable")
    confidence = scores.max(axis=1)[order]
    right = np.concatenate([[0], np.cumsum((scores.argmax(axis=1) == truth)[order])])
    # Between two neighbouring confidences every t parts the clips alike, so only these need be tried.
    for threshold in np.unique(np.append(confidence[confidence <= MAX_THRESHOLD], MAX_THRESHOLD))[::-1]:
        n_below = int(np.searchsorted(confidence, threshold, side="left"))
        n_above = len(truth) - n_below
        if not 0 < n_below <= MAX_UNSURE_SHARE * len(truth):
            continue
        if right[n_below] / n_below < (right[-1] - right[n_below]) / n_above:
            return float(threshold)
    return 0.0

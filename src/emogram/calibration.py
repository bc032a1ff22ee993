"""Probabilities that mean what they say: temperature scaling, and the confidence below which a model is unsure.

Both are learnt on validation clips, never on test clips, and travel with the bundle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emogram.config import Dimension
from emogram.errors import SettingsError
from emogram.metrics import MIN_PROBABILITY, checked, nll

FloatArray = npt.NDArray[np.float64]

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0

# On RAVDESS, fitted on one validation speaker and tried on another, ten of them: negative log-likelihood 0.918 and
# calibration error 0.063 as fitted, 0.839 and 0.034 with log T cut to a quarter, 0.832 and 0.035 without any.
SPEAKER_PRIOR = 4.0

MAX_UNSURE_SHARE = 0.4  # a model must answer clearly more often than not, or it is of little use
MIN_CLIPS = 10  # fewer tell nothing about how often the sure answers are wrong


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


def on_scale(values: npt.ArrayLike, dimensions: Sequence[Dimension]) -> FloatArray:
    """Bring dimensions as a network tells them, from 0 to 1, shape (n, n_dimensions), to their scales."""
    low, high = (np.asarray([getattr(each, end) for each in dimensions]) for end in ("low", "high"))
    scaled: FloatArray = low + np.asarray(values, dtype=np.float64) * (high - low)
    return scaled


def fit_temperature(
    probabilities: npt.ArrayLike, targets: npt.ArrayLike, *, speakers: Sequence[str | None] = ()
) -> float:
    """Return the temperature that makes the validation clips most likely (least negative log-likelihood).

    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017, section 4.2.
    The likelihood is concave in 1 / T, so that a search in one dimension finds the one best T.

    A few voices say little about the next one, however many clips they spoke: with n known speakers, log T is drawn
    towards 0, by n / (n + `SPEAKER_PRIOR`).

    Args:
        probabilities: Of validation clips, before calibration, shape (n_clips, n_labels).
        targets: Class indices, shape (n_clips,).
        speakers: Who spoke each clip, where that is known.

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
    n_speakers = len({speaker for speaker in speakers if speaker is not None})
    trust = n_speakers / (n_speakers + SPEAKER_PRIOR) if n_speakers else 1.0
    return float(np.clip(np.exp(trust * found.x), MIN_TEMPERATURE, MAX_TEMPERATURE))


@dataclass(frozen=True)
class Abstention:
    """When a model says "unsure", and what that gave on the validation clips.

    Attributes:
        threshold: Confidence below which an answer is unsure; 0: never.
        error: Share of wrong answers among those not unsure, on validation clips.
        unsure_share: Share of validation clips whose answer is unsure.
    """

    threshold: float
    error: float
    unsure_share: float


def choose_threshold(probabilities: npt.ArrayLike, targets: npt.ArrayLike, *, target_error: float) -> Abstention:
    """Return the confidence below which the model should say "unsure", chosen on validation clips.

    The lowest threshold with which at most `target_error` of the remaining answers are wrong, and at most
    `MAX_UNSURE_SHARE` of the clips unsure; where there is none, that of the fewest wrong answers, the lowest of equals:
    the model then gets as near as it can, and `error` tells how near. This is selection by the largest probability for
    a given risk (Y. Geifman, R. El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017) without
    their bound: the error is that of the validation clips, and on other voices it may be higher.

    Args:
        probabilities: Of validation clips, after calibration, shape (n_clips, n_labels).
        targets: Class indices, shape (n_clips,).
        target_error: Share of wrong answers to reach, between 0 and 1.

    Returns:
        The threshold in [0, 1], 0 where fewer than `MIN_CLIPS` clips are given, and what it gives. NaN is the error of
        no clips at all.

    Raises:
        SettingsError: The arrays do not fit together.
    """
    if len(np.asarray(targets)) == 0:
        return Abstention(0.0, float("nan"), 0.0)
    truth, scores = checked(targets, probabilities)
    order = np.argsort(scores.max(axis=1), kind="stable")
    confidence = scores.max(axis=1)[order]
    n_clips = len(truth)
    # Wrong answers among the clips from each one on: of the surest clip, of the two surest, ...
    wrong_from = np.cumsum((scores.argmax(axis=1) != truth)[order][::-1])[::-1]
    best = Abstention(0.0, float(wrong_from[0]) / n_clips, 0.0)
    if n_clips < MIN_CLIPS:
        return best
    # Between two neighbouring confidences every threshold parts the clips alike, so only the middles need be tried.
    for n_unsure in np.flatnonzero(np.diff(confidence) > 0.0) + 1:
        if best.error <= target_error or n_unsure > MAX_UNSURE_SHARE * n_clips:
            break
        error = float(wrong_from[n_unsure]) / float(n_clips - n_unsure)
        if error < best.error:
            middle = float(confidence[n_unsure - 1] + confidence[n_unsure]) / 2.0
            best = Abstention(middle, error, float(n_unsure) / n_clips)
    return best

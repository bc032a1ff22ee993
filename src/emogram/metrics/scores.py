"""Numbers from arrays: recall, accuracy, calibration, risk and coverage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emogram.errors import SettingsError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MIN_PROBABILITY = 1e-12  # a probability of exactly 0 would make one wrong clip cost infinitely much

N_RELIABILITY_BINS = 15  # as in Guo et al. 2017, so that figures can be compared

# Float16 and int8 models round; logits and percentages are off by far more.
SUM_TOLERANCE = 0.02


def uar(targets: npt.ArrayLike, predictions: npt.ArrayLike) -> float:
    """Return the unweighted average recall (balanced accuracy): the mean recall of the classes present in `targets`.

    B. Schuller, S. Steidl, A. Batliner, "The INTERSPEECH 2009 Emotion Challenge", Interspeech 2009, 312-315.

    Raises:
        SettingsError: The arrays are empty or do not fit together.
    """
    return float(summarise(confusion_matrix(targets, predictions))["uar"])


def accuracy(targets: npt.ArrayLike, predictions: npt.ArrayLike) -> float:
    """Return the share of clips that are right (weighted accuracy, WA, in the emotion literature).

    Raises:
        SettingsError: The arrays are empty or do not fit together.
    """
    return float(summarise(confusion_matrix(targets, predictions))["accuracy"])


def macro_f1(targets: npt.ArrayLike, predictions: npt.ArrayLike) -> float:
    """Return the mean F1 of the classes that occur in the targets or in the predictions, as scikit-learn does.

    The mean of the classes' F1, not the F1 of mean precision and recall: J. Opitz, S. Burst, "Macro F1 and Macro F1",
    arXiv:1911.03347 (2019).

    Raises:
        SettingsError: The arrays are empty or do not fit together.
    """
    return float(summarise(confusion_matrix(targets, predictions))["macro_f1"])


def confusion_matrix(
    targets: npt.ArrayLike, predictions: npt.ArrayLike, *, n_labels: int | None = None
) -> npt.NDArray[np.int64]:
    """Count how often each class was taken for each other.

    Args:
        targets: Class indices, shape (n_clips,).
        predictions: Class indices, shape (n_clips,), or probabilities, shape (n_clips, n_labels).
        n_labels: Number of classes; unset, the columns of the probabilities, or the highest index plus one.

    Returns:
        Counts, shape (n_labels, n_labels): row = true class, column = predicted class.

    Raises:
        SettingsError: The arrays are empty or do not fit together.
    """
    truth, predicted, found = classes(targets, predictions)
    size = found if n_labels is None else n_labels
    if max(truth.max(), predicted.max()) >= size:
        raise SettingsError(f"class index {max(truth.max(), predicted.max())} found; expected 0 to {size - 1}")
    return np.bincount(truth * size + predicted, minlength=size * size).reshape(size, size)


def per_class_scores(
    targets: npt.ArrayLike, predictions: npt.ArrayLike, labels: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return label -> {"precision", "recall", "f1", "support"}.

    A ratio without a denominator (the recall of a class with no clips, the precision of one never predicted) is 0, as
    scikit-learn has it; "support", the number of clips, tells the cases apart.

    Raises:
        SettingsError: The arrays are empty or do not fit together.
    """
    counts = confusion_matrix(targets, predictions, n_labels=len(labels))
    hits, support, predicted = np.diagonal(counts), counts.sum(axis=1), counts.sum(axis=0)
    precision, recall = _ratio(hits, predicted), _ratio(hits, support)
    f1 = _ratio(2 * hits, support + predicted)
    return {
        label: {
            "precision": float(precision[index]),
            "recall": float(recall[index]),
            "f1": float(f1[index]),
            "support": int(support[index]),
        }
        for index, label in enumerate(labels)
    }


@dataclass(frozen=True)
class ReliabilityBins:
    """Confidence against truth, by bins of equal width.

    Attributes:
        edges: Bin m covers (edges[m], edges[m + 1]], shape (n_bins + 1,), from 0 to 1.
        counts: Number of clips in each bin, shape (n_bins,).
        confidence: Mean confidence in each bin, shape (n_bins,); NaN where it is empty.
        accuracy: Share of right answers in each bin, shape (n_bins,); NaN where it is empty.
    """

    edges: FloatArray
    counts: IntArray
    confidence: FloatArray
    accuracy: FloatArray

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean distance of confidence and accuracy, weighted by clips."""
        filled = self.counts > 0
        gaps = np.abs(self.confidence[filled] - self.accuracy[filled])
        return float(np.sum(gaps * self.counts[filled]) / self.counts.sum())


def reliability_bins(
    probabilities: npt.ArrayLike, targets: npt.ArrayLike, *, n_bins: int = N_RELIABILITY_BINS
) -> ReliabilityBins:
    """Sort the clips into bins of equal width by the largest probability of each.

    A. Niculescu-Mizil, R. Caruana, "Predicting good probabilities with supervised learning", ICML 2005; bins open
    below and closed above as in C. Guo et al., "On calibration of modern neural networks", ICML 2017, section 2.

    Raises:
        SettingsError: The arrays are empty or do not fit together, or `n_bins` < 1.
    """
    truth, scores = checked(targets, probabilities)
    if n_bins < 1:
        raise SettingsError(f"n_bins is {n_bins}; expected at least 1")
    confidence = np.minimum(scores.max(axis=1), 1.0)
    right = scores.argmax(axis=1) == truth
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    index = bins_of(confidence, edges)
    counts = np.bincount(index, minlength=n_bins)
    with np.errstate(invalid="ignore"):
        return ReliabilityBins(
            edges=edges,
            counts=counts,
            confidence=np.bincount(index, weights=confidence, minlength=n_bins) / counts,
            accuracy=np.bincount(index, weights=right, minlength=n_bins) / counts,
        )


def ece(probabilities: npt.ArrayLike, targets: npt.ArrayLike, *, n_bins: int = N_RELIABILITY_BINS) -> float:
    """Return the expected calibration error of the largest probability, in [0, 1]; 0 is best.

    Equation 3 of C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017,
    with `n_bins` bins of equal width.

    Raises:
        SettingsError: The arrays are empty or do not fit together, or `n_bins` < 1.
    """
    return reliability_bins(probabilities, targets, n_bins=n_bins).ece


def nll(probabilities: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Return the mean negative log-likelihood of the true class in nats, >= 0 (the logarithmic score).

    I. J. Good, "Rational decisions", Journal of the Royal Statistical Society B 14 (1952), 107-114. Probabilities
    below `MIN_PROBABILITY` count as that.

    Raises:
        SettingsError: The arrays are empty or do not fit together.
    """
    truth, scores = checked(targets, probabilities)
    of_truth = scores[np.arange(len(truth)), truth]
    return float(np.mean(-np.log(np.clip(of_truth, MIN_PROBABILITY, 1.0))))


def brier(probabilities: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Return the Brier score in its original multi-class form, summed over classes, in [0, 2]; 0 is best.

    mean_i sum_k (p_ik - [k = target_i])^2: G. W. Brier, "Verification of forecasts expressed in terms of probability",
    Monthly Weather Review 78 (1950), 1-3. For two classes it is twice the figure that only looks at one of them.

    Raises:
        SettingsError: The arrays are empty or do not fit together.
    """
    truth, scores = checked(targets, probabilities)
    wanted = np.eye(scores.shape[1])[truth]
    return float(np.mean(np.sum((scores - wanted) ** 2, axis=1)))


@dataclass(frozen=True)
class RiskCoverage:
    """How often a model errs when it answers only the clips that it is surest of.

    Attributes:
        coverage: Share of clips answered, shape (n_clips,): 1 / n_clips to 1.
        risk: Share of wrong answers among them, shape (n_clips,).
    """

    coverage: FloatArray
    risk: FloatArray

    @property
    def area(self) -> float:
        """The area under the curve (AURC): the mean risk over all coverages, 0 is best."""
        return float(self.risk.mean())


def risk_coverage(probabilities: npt.ArrayLike, targets: npt.ArrayLike) -> RiskCoverage:
    """Return the risk-coverage curve of the largest probability.

    R. El-Yaniv, Y. Wiener, "On the foundations of noise-free selective classification", JMLR 11 (2010), 1605-1641; Y.
    Geifman, R. El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017. Among clips of the same
    confidence the risk is that of drawing them by lot, so that their order does not matter.

    Args:
        probabilities: Shape (n_clips, n_labels).
        targets: Class indices, shape (n_clips,).

    Raises:
        SettingsError: The arrays are empty or do not fit together.
    """
    truth, scores = checked(targets, probabilities)
    _, level = np.unique(-scores.max(axis=1), return_inverse=True)  # 0 for the surest
    n_at = np.bincount(level)
    wrong_at = np.bincount(level, weights=scores.argmax(axis=1) != truth)
    n_answered = np.arange(1, len(truth) + 1)
    n_wrong = np.cumsum(np.repeat(wrong_at / n_at, n_at))
    return RiskCoverage(coverage=n_answered / len(truth), risk=n_wrong / n_answered)


def checked(targets: npt.ArrayLike, probabilities: npt.ArrayLike) -> tuple[IntArray, FloatArray]:
    """Return targets and probabilities as arrays that fit together.

    Returns:
        Class indices, shape (n_clips,), int64, and probabilities, shape (n_clips, n_labels), float64.

    Raises:
        SettingsError: They are empty, do not fit together, or are no classes and probabilities; the message says which.
    """
    scores = np.asarray(probabilities)
    if scores.ndim != 2 or scores.dtype.kind != "f":
        raise SettingsError(
            f"probabilities of shape {scores.shape} and type {scores.dtype}; expected floats of shape "
            "(n_clips, n_labels)"
        )
    truth, _, _ = classes(targets, scores)
    return truth, scores.astype(np.float64)


def classes(targets: npt.ArrayLike, predictions: npt.ArrayLike) -> tuple[IntArray, IntArray, int]:
    """Return true and predicted classes, and how many classes there are at least."""
    truth = _indices(targets, "targets")
    answers = np.asarray(predictions)
    if len(answers) != len(truth):
        raise SettingsError(f"{len(truth)} targets for {len(answers)} predictions; expected as many of each")
    if answers.ndim != 2:
        predicted = _indices(answers, "predictions")
        return truth, predicted, int(max(truth.max(), predicted.max())) + 1
    if not np.isfinite(answers).all():
        raise SettingsError(
            "probabilities that are not finite (NaN or infinity); the model has diverged, train it anew"
        )
    if answers.min() < 0 or np.abs(answers.sum(axis=1, dtype=np.float64) - 1.0).max() > SUM_TOLERANCE:
        raise SettingsError("rows of probabilities that do not sum to 1; expected probabilities, not logits or percent")
    n_labels = answers.shape[1]
    if truth.max() >= n_labels:
        raise SettingsError(f"target {truth.max()} found for {n_labels} labels; expected 0 to {n_labels - 1}")
    return truth, answers.argmax(axis=1), n_labels


def _indices(values: npt.ArrayLike, what: str) -> IntArray:
    array = np.asarray(values)
    if array.size == 0:
        raise SettingsError(f"no {what}; at least one clip is needed to judge a model")
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise SettingsError(
            f"{what} of shape {array.shape} and type {array.dtype}; expected integers of shape (n_clips,)"
        )
    if array.min() < 0:
        raise SettingsError(f"class index {array.min()} in {what}; expected 0 or more")
    return array.astype(np.int64)


def bins_of(confidence: FloatArray, edges: FloatArray) -> IntArray:
    """Return the index of the bin (edges[m], edges[m + 1]] of each confidence in (0, 1]."""
    return np.searchsorted(edges, confidence, side="left") - 1


def summarise(counts: npt.NDArray[np.generic]) -> dict[str, FloatArray]:
    """Return "uar", "accuracy" and "macro_f1" of one or many confusion matrices, shape (..., n_labels, n_labels)."""
    counts = counts.astype(np.float64)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    support, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    return {
        "uar": _ratio(hits, support).sum(axis=-1) / np.count_nonzero(support, axis=-1),
        "accuracy": hits.sum(axis=-1) / support.sum(axis=-1),
        "macro_f1": _ratio(2 * hits, support + predicted).sum(axis=-1) / np.count_nonzero(support + predicted, axis=-1),
    }


def _ratio(part: npt.NDArray[np.generic], whole: npt.NDArray[np.generic]) -> FloatArray:
    """Divide, with 0 where there is nothing to divide by."""
    ratio: FloatArray = np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole != 0)
    return ratio

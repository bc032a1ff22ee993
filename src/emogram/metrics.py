"""How good a set of predictions is: numbers from arrays, and the `Report` made of them.

Targets are class indices, shape (n_clips,), in [0, n_labels). Probabilities have shape (n_clips, n_labels), rows sum
to 1. Where a function takes `predictions`, either the predicted class indices, shape (n_clips,), or the probabilities
may be given; of probabilities the largest counts. Every result is a fraction, never percent.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emogram.errors import SettingsError
from emogram.records import Clip, Report, SeedSummary

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MIN_PROBABILITY = 1e-12  # a probability of exactly 0 would make one wrong clip cost infinitely much

N_RELIABILITY_BINS = 15  # as in Guo et al. 2017, so that figures can be compared

N_RESAMPLES = 1000  # of the intervals in reports

# Float16 and int8 models round; logits and percentages are off by far more.
SUM_TOLERANCE = 0.02


def uar(targets: npt.ArrayLike, predictions: npt.ArrayLike) -> float:
    """Return the unweighted average recall (balanced accuracy): the mean recall of the classes present in `targets`.

    B. Schuller, S. Steidl, A. Batliner, "The INTERSPEECH 2009 Emotion Challenge", Interspeech 2009, 312-315.

    Raises:
        SettingsError: The arrays are empty or do not fit together.
    """
    return float(_summarise(confusion_matrix(targets, predictions))["uar"])


def accuracy(targets: npt.ArrayLike, predictions: npt.ArrayLike) -> float:
    """Return the share of clips that are right (weighted accuracy, WA, in the emotion literature).

    Raises:
        SettingsError: The arrays are empty or do not fit together.
    """
    return float(_summarise(confusion_matrix(targets, predictions))["accuracy"])


def macro_f1(targets: npt.ArrayLike, predictions: npt.ArrayLike) -> float:
    """Return the mean F1 of the classes that occur in the targets or in the predictions, as scikit-learn does.

    The mean of the classes' F1, not the F1 of mean precision and recall: J. Opitz, S. Burst, "Macro F1 and Macro F1",
    arXiv:1911.03347 (2019).

    Raises:
        SettingsError: The arrays are empty or do not fit together.
    """
    return float(_summarise(confusion_matrix(targets, predictions))["macro_f1"])


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
    truth, predicted, found = _classes(targets, predictions)
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
    index = _bins_of(confidence, edges)
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


def speaker_bootstrap(
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    speakers: Sequence[str | None],
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Return 95 % percentile intervals of "uar", "accuracy", "macro_f1" and "ece" from resampling speakers.

    The percentile method: B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13. See
    `resample_speakers` for arguments and errors; "ece" is there only where probabilities are given.

    Returns:
        Metric -> (low, high). With a single speaker both are the point estimate: one voice tells no spread.
    """
    (resampled,) = resample_speakers(targets, [probabilities], speakers, n_resamples=n_resamples, seed=seed)
    return {name: interval(values) for name, values in resampled.items()}


def interval(values: FloatArray) -> tuple[float, float]:
    """Return the middle 95 % of resampled values."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def resample_speakers(
    targets: npt.ArrayLike,
    predictions: Sequence[npt.ArrayLike],
    speakers: Sequence[str | None],
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> list[dict[str, FloatArray]]:
    """Resample speakers with replacement and return the metrics of each set of predictions on the same draws.

    The clips of one voice are alike, so that resampling clips makes intervals too narrow. The cluster bootstrap: A. C.
    Davison, D. V. Hinkley, "Bootstrap Methods and their Application", Cambridge 1997, section 3.8. Since all sets see
    the same draws, their differences are paired. A clip whose speaker is unknown is drawn by itself, so that where no
    speaker is known this is the plain bootstrap over clips; `describe_resampling` says which.

    Args:
        targets: Class indices, shape (n_clips,).
        predictions: Sets of predictions for these clips: probabilities, shape (n_clips, n_labels), or predicted class
            indices, shape (n_clips,).
        speakers: The speaker of each clip; None where unknown.
        n_resamples: Number of resamples, >= 1.
        seed: Of the random numbers; one seed, one result.

    Returns:
        For each set: "uar", "accuracy", "macro_f1", and "ece" where probabilities were given, shape (n_resamples,).

    Raises:
        SettingsError: The arrays are empty or do not fit together.
    """
    answers = [_Answers.of(targets, each) for each in predictions]
    if len(speakers) != len(answers[0].cells):
        raise SettingsError(f"{len(speakers)} speakers for {len(answers[0].cells)} clips; expected one for each clip")
    if n_resamples < 1:
        raise SettingsError(f"n_resamples is {n_resamples}; expected at least 1")
    # Clips drawn by themselves differ only in where they stand in the tables of each set: those that stand alike are
    # one unit that stands for many, which keeps the draws few however many clips there are. Only the confidence then
    # is the mean of many, within one bin.
    places = zip(*(answer.places() for answer in answers), strict=True)
    units = [(0, str(place)) if name is None else (1, name) for place, name in zip(places, speakers, strict=True)]
    order = {unit: index for index, unit in enumerate(sorted(set(units)))}
    unit_of_clip = np.array([order[unit] for unit in units])
    n_clips_of = np.bincount(unit_of_clip, minlength=len(order))
    stands_for = np.where([kind == 0 for kind, _ in order], n_clips_of, 1)

    n_units = int(stands_for.sum())
    draws = np.random.default_rng(seed).multinomial(n_units, stands_for / n_units, size=n_resamples)
    return [answer.resampled(draws / stands_for, unit_of_clip) for answer in answers]


@dataclass(frozen=True)
class _Answers:
    """Where each clip stands in the confusion matrix and in the reliability diagram of one set of predictions."""

    n_labels: int
    cells: IntArray
    bins: IntArray | None
    gaps: FloatArray | None  # confidence, less 1 where the answer is right

    @staticmethod
    def of(targets: npt.ArrayLike, predictions: npt.ArrayLike) -> _Answers:
        truth, predicted, n_labels = _classes(targets, predictions)
        cells = truth * n_labels + predicted
        scores = np.asarray(predictions)
        if scores.ndim != 2:
            return _Answers(n_labels, cells, None, None)
        confidence = np.minimum(scores.max(axis=1).astype(np.float64), 1.0)
        bins = _bins_of(confidence, np.linspace(0.0, 1.0, N_RELIABILITY_BINS + 1))
        return _Answers(n_labels, cells, bins, confidence - (predicted == truth))

    def places(self) -> list[tuple[int, int]]:
        """Return the cell and the bin of each clip."""
        bins = np.zeros_like(self.cells) if self.bins is None else self.bins
        return list(zip(self.cells.tolist(), bins.tolist(), strict=True))

    def resampled(self, weights: FloatArray, unit_of_clip: IntArray) -> dict[str, FloatArray]:
        """Return the metrics under weights of the units, shape (n_resamples, n_units)."""
        n_units, n_cells = weights.shape[1], self.n_labels**2
        counts = np.bincount(unit_of_clip * n_cells + self.cells, minlength=n_units * n_cells)
        resampled = weights @ counts.reshape(n_units, n_cells)
        found = _summarise(resampled.reshape(-1, self.n_labels, self.n_labels))
        if self.bins is not None:
            place = unit_of_clip * N_RELIABILITY_BINS + self.bins
            gaps = np.bincount(place, weights=self.gaps, minlength=n_units * N_RELIABILITY_BINS)
            by_bin = weights @ gaps.reshape(n_units, N_RELIABILITY_BINS)
            found["ece"] = np.abs(by_bin).sum(axis=1) / resampled.sum(axis=1)
        return found


def describe_resampling(speakers: Sequence[str | None]) -> str:
    """Say in words what `speaker_bootstrap` resamples: speakers, clips, or both."""
    n_speakers = len({speaker for speaker in speakers if speaker is not None})
    n_single = sum(speaker is None for speaker in speakers)
    if not n_speakers:
        return "95 % intervals resample clips, no speakers known (too narrow)"
    words = f"95 % intervals resample {n_speakers} speaker{'s' if n_speakers > 1 else ''}"
    return f"{words} and {n_single} clips of unknown speakers" if n_single else words


def judge(
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    labels: Sequence[str],
    clips: Sequence[Clip],
    *,
    protocol: str,
    abstained: npt.NDArray[np.bool_] | None = None,
    allowed_leaks: Sequence[str] = (),
    seed: int = 0,
) -> Report:
    """Judge a set of predictions.

    Args:
        targets: Class indices, shape (n_clips,).
        probabilities: Shape (n_clips, n_labels).
        labels: Names of the classes, in order.
        clips: The clip of each row; speakers, genders and intensities are taken from it where known.
        protocol: The protocol's name and what must be said with it; what the intervals resample is added.
        abstained: Where the model said "unsure", shape (n_clips,); None where it has no threshold.
        allowed_leaks: Names of the leaks that the reader must know of.
        seed: Of the bootstrap.

    Returns:
        The report. Beside the metrics that `Report` names there is "uar_gender_gap" where two genders or more are
        known: the highest UAR of a gender less the lowest; and "unsure_share" and "answered_error", the share of wrong
        answers among the others, where a clip was called unsure and another was not. Groups are kept for "speaker",
        "gender" and "intensity" where known, and for "corpus" where there is more than one.

    Raises:
        SettingsError: The arrays are empty or do not fit together.
    """
    truth, scores = checked(targets, probabilities)
    if scores.shape[1] != len(labels) or len(clips) != len(truth):
        raise SettingsError(
            f"{len(labels)} labels and {len(clips)} clips for probabilities of shape {scores.shape}; "
            "expected a label for each column and a clip for each row"
        )
    counts = confusion_matrix(truth, scores)
    speakers = speaker_names(clips)
    groups = _per_group(truth, scores, clips, speakers)
    metrics = {name: float(value) for name, value in _summarise(counts).items()}
    metrics |= {"ece": ece(scores, truth), "nll": nll(scores, truth), "brier": brier(scores, truth)}
    metrics |= {"aurc": risk_coverage(scores, truth).area, "n_clips": len(truth)}
    if abstained is not None and abstained.any() and not abstained.all():
        metrics["unsure_share"] = float(abstained.mean())
        metrics["answered_error"] = 1.0 - accuracy(truth[~abstained], scores[~abstained])
    by_gender = [values["uar"] for values in groups.get("gender", {}).values()]
    if len(by_gender) > 1:
        metrics["uar_gender_gap"] = max(by_gender) - min(by_gender)
    return Report(
        labels=tuple(labels),
        metrics=metrics,
        per_class=per_class_scores(truth, scores, labels),
        per_group=groups,
        confusion=tuple(tuple(row) for row in counts.tolist()),
        intervals=speaker_bootstrap(truth, scores, speakers, seed=seed),
        protocol="; ".join(part for part in (protocol, describe_resampling(speakers)) if part),
        allowed_leaks=tuple(allowed_leaks),
    )


def over_seeds(
    reports: Sequence[Report],
    targets: npt.ArrayLike,
    probabilities: Sequence[npt.ArrayLike],
    speakers: Sequence[str | None],
    *,
    seed: int = 0,
) -> SeedSummary:
    """Sum up what several seeds gave on the same clips.

    Args:
        reports: One for each seed.
        targets: Class indices, shape (n_clips,).
        probabilities: Of each seed, shape (n_clips, n_labels).
        speakers: The speaker of each clip; None where unknown.
        seed: Of the bootstrap.

    Returns:
        Mean and standard deviation of every metric that all seeds have; intervals are of the mean, speakers resampled.

    Raises:
        SettingsError: The arrays are empty or do not fit together.
    """
    shared = [name for name in reports[0].metrics if all(name in report.metrics for report in reports)]
    values = {name: [report.metrics[name] for report in reports] for name in shared if name != "n_clips"}
    resampled = resample_speakers(targets, probabilities, speakers, seed=seed)
    return SeedSummary(
        n_seeds=len(reports),
        mean={name: statistics.fmean(found) for name, found in values.items()},
        std={name: statistics.stdev(found) if len(found) > 1 else 0.0 for name, found in values.items()},
        intervals={name: interval(mean_of(resampled, name)) for name in resampled[0]},
    )


def mean_of(resampled: Sequence[Mapping[str, FloatArray]], name: str) -> FloatArray:
    """Return the mean of one metric over sets of predictions that `resample_speakers` resampled together."""
    mean: FloatArray = np.mean([each[name] for each in resampled], axis=0)
    return mean


def speaker_names(clips: Sequence[Clip]) -> list[str | None]:
    """Return the speaker of each clip, with the corpus before it ("tess/OAF") where there is more than one corpus.

    Speaker ids are unique within a corpus only.
    """
    several = len({clip.corpus for clip in clips}) > 1
    return [f"{clip.corpus}/{clip.speaker}" if several and clip.speaker else clip.speaker for clip in clips]


def speaker_genders(clips: Sequence[Clip]) -> dict[str, str]:
    """Return the gender of each speaker where known, by the names of `speaker_names`."""
    return {
        name: clip.extra["gender"]
        for name, clip in zip(speaker_names(clips), clips, strict=True)
        if name is not None and clip.extra.get("gender")
    }


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
    truth, _, _ = _classes(targets, scores)
    return truth, scores.astype(np.float64)


def _classes(targets: npt.ArrayLike, predictions: npt.ArrayLike) -> tuple[IntArray, IntArray, int]:
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


def _bins_of(confidence: FloatArray, edges: FloatArray) -> IntArray:
    """Return the index of the bin (edges[m], edges[m + 1]] of each confidence in (0, 1]."""
    return np.searchsorted(edges, confidence, side="left") - 1


def _summarise(counts: npt.NDArray[np.generic]) -> dict[str, FloatArray]:
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


def _per_group(
    targets: IntArray, probabilities: FloatArray, clips: Sequence[Clip], speakers: Sequence[str | None]
) -> dict[str, dict[str, dict[str, float]]]:
    kinds: dict[str, Sequence[str | None]] = {
        "speaker": speakers,
        "gender": [clip.extra.get("gender") for clip in clips],
        "intensity": [clip.extra.get("intensity") for clip in clips],
    }
    if len({clip.corpus for clip in clips}) > 1:
        kinds["corpus"] = [clip.corpus or None for clip in clips]
    groups = {}
    for kind, names in kinds.items():
        found = sorted({name for name in names if name}, key=_natural)
        if found:
            groups[kind] = {name: _group_scores(targets, probabilities, names, name) for name in found}
    return groups


def _group_scores(
    targets: IntArray, probabilities: FloatArray, names: Sequence[str | None], name: str
) -> dict[str, float]:
    members = np.array([other == name for other in names])
    summary = _summarise(confusion_matrix(targets[members], probabilities[members]))
    return {
        "uar": float(summary["uar"]),
        "accuracy": float(summary["accuracy"]),
        "n_clips": int(members.sum()),
    }


def _natural(name: str) -> list[str | int]:
    """Sort key that puts speaker 2 before speaker 10."""
    return [int(part) if index % 2 else part for index, part in enumerate(re.split(r"(\d+)", name))]

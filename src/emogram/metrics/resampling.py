"""How far figures could be off: intervals from resampling speakers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emogram.errors import SettingsError
from emogram.metrics.scores import N_RELIABILITY_BINS, FloatArray, IntArray, bins_of, classes, summarise, uar

N_RESAMPLES = 1000  # of the intervals in reports


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


def resample_gap(
    targets: npt.ArrayLike,
    predictions: Sequence[npt.ArrayLike],
    speakers: Sequence[str | None],
    groups: Sequence[str | None],
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> FloatArray:
    """Resample the speakers of each group by themselves and return the UAR of the best group less that of the worst.

    Which are the best and the worst is said by all clips, before any resampling: an interval that reaches below 0 says
    that it may as well be the other way round. Several samples, each resampled by itself: A. C. Davison, D. V. Hinkley,
    "Bootstrap Methods and their Application", Cambridge 1997, section 3.2.

    Args:
        targets: Class indices, shape (n_clips,).
        predictions: Sets of predictions for these clips, as `resample_speakers` takes them.
        speakers: The speaker of each clip; None where unknown.
        groups: The group of each clip, such as the gender of who speaks; None where unknown. At least two are known.
        n_resamples: Number of resamples, >= 1.
        seed: Of the random numbers; one seed, one result.

    Returns:
        The mean over the sets of predictions, shape (n_resamples,).

    Raises:
        SettingsError: The arrays are empty or do not fit together.
    """
    truth, sets = np.asarray(targets), [np.asarray(each) for each in predictions]
    names = np.asarray([name or "" for name in groups])
    known = sorted(set(names) - {""})
    drawn, uars = [], []
    for name, its_seed in zip(known, np.random.SeedSequence(seed).generate_state(len(known)).tolist(), strict=True):
        places = np.flatnonzero(names == name)
        said = [each[places] for each in sets]
        of_group = [speakers[place] for place in places.tolist()]
        drawn.append(
            mean_of(resample_speakers(truth[places], said, of_group, n_resamples=n_resamples, seed=its_seed), "uar")
        )
        uars.append(np.mean([uar(truth[places], each) for each in said]))
    gap: FloatArray = drawn[int(np.argmax(uars))] - drawn[int(np.argmin(uars))]
    return gap


@dataclass(frozen=True)
class _Answers:
    """Where each clip stands in the confusion matrix and in the reliability diagram of one set of predictions."""

    n_labels: int
    cells: IntArray
    bins: IntArray | None
    gaps: FloatArray | None  # confidence, less 1 where the answer is right

    @staticmethod
    def of(targets: npt.ArrayLike, predictions: npt.ArrayLike) -> _Answers:
        truth, predicted, n_labels = classes(targets, predictions)
        cells = truth * n_labels + predicted
        scores = np.asarray(predictions)
        if scores.ndim != 2:
            return _Answers(n_labels, cells, None, None)
        confidence = np.minimum(scores.max(axis=1).astype(np.float64), 1.0)
        bins = bins_of(confidence, np.linspace(0.0, 1.0, N_RELIABILITY_BINS + 1))
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
        found = summarise(resampled.reshape(-1, self.n_labels, self.n_labels))
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


def mean_of(resampled: Sequence[Mapping[str, FloatArray]], name: str) -> FloatArray:
    """Return the mean of one metric over sets of predictions that `resample_speakers` resampled together."""
    mean: FloatArray = np.mean([each[name] for each in resampled], axis=0)
    return mean

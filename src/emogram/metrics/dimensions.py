"""How good numbers such as arousal are told: concordance, correlation, error, and how far these could be off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from emogram.errors import SettingsError
from emogram.metrics.resampling import N_RESAMPLES
from emogram.metrics.scores import FloatArray

MEAN_CCC = "ccc"

_MAX_DRAWN = 1 << 23  # weights of units at once


@dataclass(frozen=True, eq=False)
class DimensionValues:
    """What is true of some clips, and what was said of them, on one scale. Row i of everything belongs to clip i.

    Attributes:
        names: Names of the dimensions.
        truth: Shape (n_clips, n_dimensions); NaN where nobody knows.
        said: Likewise, without NaN.
    """

    names: tuple[str, ...]
    truth: npt.NDArray[np.floating]
    said: npt.NDArray[np.floating]

    def rows(self, chosen: npt.NDArray[np.intp]) -> DimensionValues:
        """Return some of the clips, in the order given."""
        return replace(self, truth=self.truth[chosen], said=self.said[chosen])


def ccc(truth: npt.ArrayLike, said: npt.ArrayLike) -> float:
    """Return the concordance correlation coefficient, in [-1, 1]: how near pairs of numbers are to being equal.

    2 cov(x, y) / (var(x) + var(y) + (mean(x) - mean(y))^2), with variances that divide by n: L. I-K. Lin, "A
    concordance correlation coefficient to evaluate reproducibility", Biometrics 45 (1989), 255-268. A correlation that
    a wrong level or spread lowers too. 0 where either is constant.

    Args:
        truth: Shape (n,); clips where it is NaN are left out.
        said: Shape (n,).

    Raises:
        SettingsError: They do not fit together, or are not finite.
    """
    return float(_of_sums(_sums(truth, said).sum(axis=0))["ccc"])


def pearson(truth: npt.ArrayLike, said: npt.ArrayLike) -> float:
    """Return Pearson's correlation coefficient, in [-1, 1]; 0 where either is constant. See `ccc`."""
    return float(_of_sums(_sums(truth, said).sum(axis=0))["pearson"])


def rmse(truth: npt.ArrayLike, said: npt.ArrayLike) -> float:
    """Return the root of the mean squared error, on the scale of the numbers; NaN of no clips. See `ccc`."""
    return float(_of_sums(_sums(truth, said).sum(axis=0))["rmse"])


def dimension_scores(values: DimensionValues) -> dict[str, dict[str, float]]:
    """Return dimension -> {"ccc", "pearson", "rmse", "n_clips"}; of clips without a number nothing is counted.

    Raises:
        SettingsError: The arrays do not fit together, or are not finite.
    """
    scores = {}
    for place, name in enumerate(values.names):
        sums = _sums(values.truth[:, place], values.said[:, place]).sum(axis=0)
        found = {metric: float(value) for metric, value in _of_sums(sums).items()}
        scores[name] = {**found, "n_clips": int(sums[0])}
    return scores


def dimension_metrics(values: DimensionValues) -> dict[str, float]:
    """Return the figures as `Report.metrics` has them: "ccc", the mean over the dimensions, and "arousal_ccc", ..."""
    scores = dimension_scores(values)
    found = {f"{name}_{metric}": value for name, each in scores.items() for metric, value in each.items()}
    told = [each["ccc"] for each in scores.values() if each["n_clips"]]
    return {MEAN_CCC: float(np.mean(told)) if told else float("nan"), **found}


def resample_dimensions(
    truth: npt.ArrayLike,
    said: Sequence[npt.ArrayLike],
    names: Sequence[str],
    speakers: Sequence[str | None],
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> list[dict[str, FloatArray]]:
    """Resample speakers with replacement and return the figures of each set of answers on the same draws.

    As `resample_speakers`: a clip whose speaker is unknown is drawn by itself.

    Args:
        truth: Shape (n_clips, n_dimensions); NaN where nobody knows.
        said: Sets of answers, each of that shape.
        names: Names of the dimensions.
        speakers: The speaker of each clip; None where unknown.
        n_resamples: Number of resamples, >= 1.
        seed: Of the random numbers; one seed, one result.

    Returns:
        For each set: "ccc" and of each dimension "arousal_ccc", "arousal_pearson" and "arousal_rmse", shape
        (n_resamples,).

    Raises:
        SettingsError: The arrays do not fit together, or are not finite.
    """
    wanted = np.asarray(truth, dtype=np.float64)
    if len(speakers) != len(wanted):
        raise SettingsError(f"{len(speakers)} speakers for {len(wanted)} clips; expected one for each clip")
    units = [(0, str(place)) if name is None else (1, name) for place, name in enumerate(speakers)]
    order = {unit: index for index, unit in enumerate(sorted(set(units)))}
    unit_of_clip = np.asarray([order[unit] for unit in units])
    # What the figures take of each unit; those of a resample are sums of these.
    by_unit = [
        [
            np.stack([np.bincount(unit_of_clip, weights=part, minlength=len(order)) for part in _sums(*pair).T], axis=1)
            for pair in zip(wanted.T, np.asarray(each, dtype=np.float64).T, strict=True)
        ]
        for each in said
    ]
    rng = np.random.default_rng(seed)
    share = np.full(len(order), 1.0 / len(order))
    at_once = max(1, _MAX_DRAWN // len(order))
    drawn: list[list[list[FloatArray]]] = [[[] for _ in names] for _ in said]
    for first in range(0, n_resamples, at_once):
        weights = rng.multinomial(len(order), share, size=min(at_once, n_resamples - first)).astype(np.float64)
        for place, of_set in enumerate(by_unit):
            for dimension, sums in enumerate(of_set):
                drawn[place][dimension].append(weights @ sums)
    return [_named([np.concatenate(parts) for parts in of_set], names) for of_set in drawn]


def _named(sums: Sequence[FloatArray], names: Sequence[str]) -> dict[str, FloatArray]:
    figures = [_of_sums(each) for each in sums]
    found = {
        f"{name}_{metric}": values for name, each in zip(names, figures, strict=True) for metric, values in each.items()
    }
    return {MEAN_CCC: np.mean([each["ccc"] for each in figures], axis=0), **found}


def _sums(truth: npt.ArrayLike, said: npt.ArrayLike) -> FloatArray:
    """Return of each clip what the figures are sums of, shape (n_clips, 6): 1, x, y, x^2, y^2, x y; 0 where unknown."""
    x, y = np.asarray(truth, dtype=np.float64), np.asarray(said, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise SettingsError(f"numbers of shape {x.shape} and answers of shape {y.shape}; expected as many of each")
    known = ~np.isnan(x)
    if not (np.isfinite(x[known]).all() and np.isfinite(y[known]).all()):
        raise SettingsError("numbers that are not finite (NaN or infinity); the model has diverged, train it anew")
    # Around their middle, since squares of numbers far from 0 lose the digits that tell them apart.
    middle = x[known].mean() if known.any() else 0.0
    x, y = np.where(known, x - middle, 0.0), np.where(known, y - middle, 0.0)
    return np.stack([known.astype(np.float64), x, y, x * x, y * y, x * y], axis=1)


def _of_sums(sums: FloatArray) -> dict[str, FloatArray]:
    """Return the figures of one or many sums, shape (..., 6)."""
    n, x, y, xx, yy, xy = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    n = np.where(n > 0, n, np.nan)
    mean_x, mean_y = x / n, y / n
    covariance = xy / n - mean_x * mean_y
    # Rounding may leave a trace of a variance that is none.
    var_x, var_y = (_variance(square / n, mean) for square, mean in ((xx, mean_x), (yy, mean_y)))
    constant = (var_x == 0.0) | (var_y == 0.0)
    spread = var_x + var_y + (mean_x - mean_y) ** 2
    return {
        "ccc": _ratio(2.0 * covariance, spread, constant),
        "pearson": _ratio(covariance, np.sqrt(var_x * var_y), constant),
        "rmse": np.sqrt(np.maximum(xx - 2.0 * xy + yy, 0.0) / n),
    }


def _variance(mean_square: FloatArray, mean: FloatArray) -> FloatArray:
    variance = mean_square - mean**2
    found: FloatArray = np.where(variance > 1e-12 * mean_square, variance, 0.0)
    return found


def _ratio(part: FloatArray, whole: FloatArray, constant: npt.NDArray[np.bool_]) -> FloatArray:
    """Divide; 0 where something is constant, NaN where there are no clips."""
    ratio: FloatArray = np.divide(
        part, whole, out=np.where(np.isnan(whole), np.nan, 0.0), where=~constant & (whole > 0)
    )
    return ratio

"""Plots of how sure a model is against how often it is right: reliability, risk and coverage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from emogram import metrics
from emogram.metrics import FloatArray, ReliabilityBins, reliability_bins
from emogram.plots.style import (
    BLUE,
    GREY,
    INK,
    VERMILION,
    add_legend,
    new_figure,
    percent,
    percent_formatter,
    save,
    style_axes,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def reliability(
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    path: Path,
    *,
    title: str,
    calibrated: npt.ArrayLike | None = None,
) -> None:
    """Write `draw_reliability` as PNG."""
    save(draw_reliability(targets, probabilities, title=title, calibrated=calibrated), path)


def draw_reliability(
    targets: npt.ArrayLike, probabilities: npt.ArrayLike, *, title: str, calibrated: npt.ArrayLike | None = None
) -> Figure:
    """Draw how often the model is right against how sure it is, and below it how sure it is how often.

    Args:
        targets: Class indices, shape (n_clips,).
        probabilities: Shape (n_clips, n_labels).
        title: Model and protocol.
        calibrated: The same clips after calibration; drawn beside the first where given.
    """
    series = [("model" if calibrated is None else "before calibration", BLUE, "o", probabilities)]
    if calibrated is not None:
        series.append(("after calibration", VERMILION, "s", calibrated))
    figure = new_figure(4.8, 5.6, "Reliability", title)
    axes, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3.0, 1.0]})
    axes.plot([0, 1], [0, 1], color=INK, ls=":", lw=1.2, label="as sure as right")
    for index, (name, colour, marker, values) in enumerate(series):
        bins = reliability_bins(values, targets)
        filled = bins.counts > 0
        low, high = _wilson(bins)
        # A bin of one clip is right or wrong by chance: the whisker says how little it tells.
        axes.vlines(bins.confidence[filled], low[filled], high[filled], color=colour, alpha=0.35, lw=1.6)
        axes.plot(
            bins.confidence[filled],
            bins.accuracy[filled],
            marker=marker,
            ms=4.5,
            lw=1.4,
            color=colour,
            zorder=3,
            label=f"{name}: ECE {bins.ece:.3f}",
        )
        share = bins.counts / bins.counts.sum()
        below.stairs(share, bins.edges, fill=index == 0, color=colour, alpha=0.45 if index == 0 else 1.0, lw=1.4)
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(0.0, 1.0)
    axes.set_ylabel("share of right answers")
    below.set_ylabel("share of clips")
    below.set_xlabel("confidence (probability of the answer)")
    for panel in (axes, below):
        panel.xaxis.set_major_formatter(percent_formatter())
        panel.yaxis.set_major_formatter(percent_formatter())
        style_axes(panel, grid="both")
    add_legend(figure, axes)
    return figure


def _wilson(bins: ReliabilityBins) -> tuple[FloatArray, FloatArray]:
    """Return 95 % intervals of each bin's accuracy.

    The score interval of E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22 (1927), 209-212.
    """
    z = 1.96
    counts = np.maximum(bins.counts, 1)
    middle = (bins.accuracy + z**2 / (2 * counts)) / (1 + z**2 / counts)
    spread = bins.accuracy * (1 - bins.accuracy) / counts + z**2 / (4 * counts**2)
    half = z / (1 + z**2 / counts) * np.sqrt(spread)
    return middle - half, middle + half


def risk_coverage(
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    path: Path,
    *,
    title: str,
    abstained: npt.NDArray[np.bool_] | None = None,
) -> None:
    """Write `draw_risk_coverage` as PNG."""
    save(draw_risk_coverage(targets, probabilities, title=title, abstained=abstained), path)


def draw_risk_coverage(
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    title: str,
    abstained: npt.NDArray[np.bool_] | None = None,
) -> Figure:
    """Draw how often the model errs when it answers only the clips that it is surest of.

    Beside the curve stand the best there could be with as many errors, and the error without any choice.

    Args:
        targets: Class indices, shape (n_clips,).
        probabilities: Shape (n_clips, n_labels).
        title: Model and protocol.
        abstained: Where the model says "unsure", shape (n_clips,), to be marked.
    """
    curve = metrics.risk_coverage(probabilities, targets)
    error = float(curve.risk[-1])
    figure = new_figure(4.8, 3.9, "Risk and coverage", title)
    axes = figure.add_subplot()
    axes.axhline(error, color=INK, ls=":", lw=1.2, zorder=1, label=f"all answered: {percent(error)} wrong")
    # Were all wrong answers less sure than all right ones, only they would be left to add.
    best = np.maximum(0.0, curve.coverage - (1.0 - error)) / curve.coverage
    axes.plot(curve.coverage, best, color=GREY, ls="--", lw=1.2, zorder=2, label="best possible order")
    axes.plot(curve.coverage, curve.risk, color=BLUE, lw=1.6, zorder=3, label=f"surest first: area {curve.area:.3f}")
    if abstained is not None and abstained.any() and not abstained.all():
        wrong = np.asarray(probabilities).argmax(axis=1) != np.asarray(targets)
        answered, risk = float(1.0 - abstained.mean()), float(wrong[~abstained].mean())
        label = f"unsure left out: {percent(answered)} answered, {percent(risk)} wrong"
        axes.plot(answered, risk, "D", ms=6, color=VERMILION, zorder=4, label=label)
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(0.0, min(1.0, 1.15 * max(error, float(curve.risk[len(curve.risk) // 20 :].max()), 0.05)))
    axes.set_xlabel("share of clips answered (coverage)")
    axes.set_ylabel("share of wrong answers (risk)")
    axes.xaxis.set_major_formatter(percent_formatter())
    axes.yaxis.set_major_formatter(percent_formatter())
    style_axes(axes, grid="both")
    add_legend(figure, axes)
    return figure

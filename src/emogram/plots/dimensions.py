"""Plots of dimensions: what was said against what is true, and their concordance while training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emogram.metrics import DimensionValues
from emogram.plots.style import (
    BLUE,
    GREY,
    INK,
    SMALL_SIZE,
    VERMILION,
    add_legend,
    new_figure,
    plain,
    save,
    style_axes,
)
from emogram.plots.training import History, best_epoch, draw_curves, epochs_of, mark_epoch
from emogram.records import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL_WIDTH, _PANEL_HEIGHT = 3.1, 3.6  # inches


def dimensions(report: Report, values: DimensionValues, path: Path) -> None:
    """Write `draw_dimensions` as PNG."""
    save(draw_dimensions(report, values), path)


def draw_dimensions(report: Report, values: DimensionValues) -> Figure:
    """Draw what was said of each clip against what is true, a panel for each dimension.

    The diagonal is where both are equal, which the CCC measures; the other line is the best straight one, which the
    correlation measures.

    Args:
        report: The figures.
        values: What they were made of.
    """
    n = len(values.names)
    title = f"CCC {report.metrics['ccc']:.3f}, the mean over {n} dimensions. " if n > 1 else ""
    figure = new_figure(max(4.4, _PANEL_WIDTH * n), _PANEL_HEIGHT, "Said against true", title + report.protocol)
    for place, axes in enumerate(np.atleast_1d(figure.subplots(1, n))):
        _draw_panel(axes, report, values, place)
    return figure


def _draw_panel(axes: Axes, report: Report, values: DimensionValues, place: int) -> None:
    name = values.names[place]
    known = np.isfinite(values.truth[:, place])
    truth, said = values.truth[known, place], values.said[known, place]
    figures = report.metrics
    low, high = report.intervals.get(f"{name}_ccc", (np.nan, np.nan))
    between = f" ({low:.2f} to {high:.2f})" if low < high else ""
    axes.set_title(
        plain(f"{name}: CCC {figures[f'{name}_ccc']:.3f}{between}\n")
        + f"r {figures[f'{name}_pearson']:.3f}, RMSE {figures[f'{name}_rmse']:.3g}, {len(truth):,} clips",
        fontsize=SMALL_SIZE,
        color=INK,
        loc="left",
    )
    if len(truth):
        ends = np.asarray([min(truth.min(), said.min()), max(truth.max(), said.max())])
        ends = ends + np.asarray([-0.04, 0.04]) * max(float(ends[1] - ends[0]), 1e-9)
        axes.plot(ends, ends, color=GREY, ls="--", lw=1.0, zorder=1)
        # Many dots lie over one another: the more there are, the less each covers.
        opacity = float(np.clip(60.0 / len(truth), 0.05, 0.7))
        axes.plot(truth, said, "o", ms=3.5, mew=0, color=BLUE, alpha=opacity, zorder=2, rasterized=True)
        if np.ptp(truth) > 0:
            slope, start = np.polyfit(truth, said, 1)
            axes.plot(ends, start + slope * ends, color=VERMILION, lw=1.4, zorder=3)
        axes.set_xlim(ends[0], ends[1])
        axes.set_ylim(ends[0], ends[1])
    axes.set_box_aspect(1)  # both have the same ends
    axes.set_xlabel("true")
    axes.set_ylabel("said")
    style_axes(axes, grid="both")


def train_val_ccc(history: History, path: Path, *, title: str) -> None:
    """Write `draw_train_val_ccc` as PNG."""
    save(draw_train_val_ccc(history, title=title), path)


def draw_train_val_ccc(history: History, *, title: str) -> Figure:
    """Draw training and validation CCC over the epochs, of each dimension as well, the best epoch marked.

    Args:
        history: Columns "epoch", "ccc", "val_ccc", "val_ccc_arousal", ...; NaN where a value is missing.
        title: What was trained, and how it was split.
    """
    figure = new_figure(6.0, 3.9, "Concordance while training", title)
    axes = figure.add_subplot()
    single = [name for name in history if name.startswith("val_ccc_")]
    styles = (":", "-.", "--")
    curves = {
        "ccc": ("training CCC", GREY, "-"),
        "val_ccc": ("validation CCC", BLUE, "-"),
        # Of one dimension the mean is the same curve.
        **{
            name: (name.removeprefix("val_ccc_"), VERMILION, styles[place % len(styles)])
            for place, name in enumerate(single if len(single) > 1 else [])
        },
    }
    draw_curves(axes, history, curves)
    axes.set_ylabel("CCC")
    axes.set_xlabel("epoch")
    axes.set_ylim(top=1.0)
    best = best_epoch(history)
    if best is not None:
        value = history["val_ccc"][best]
        mark_epoch(axes, epochs_of(history)[best], f"best epoch {epochs_of(history)[best]:g}: {value:.3f}")
    add_legend(figure, axes)
    return figure

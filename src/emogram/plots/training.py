"""Plots of a history: accuracy, loss and learning rate over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emogram.errors import SettingsError
from emogram.metrics import FloatArray
from emogram.plots.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    VERMILION,
    add_legend,
    new_figure,
    percent,
    percent_formatter,
    save,
    style_axes,
    whole_numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

History = Mapping[str, Sequence[float]]


def train_val_accuracy(history: History, path: Path, *, title: str) -> None:
    """Write `draw_train_val_accuracy` as PNG."""
    save(draw_train_val_accuracy(history, title=title), path)


def draw_train_val_accuracy(history: History, *, title: str) -> Figure:
    """Draw training and validation accuracy and validation UAR over the epochs, the best epoch marked.

    Args:
        history: Columns "epoch", "accuracy", "val_accuracy", "val_uar", ...; NaN where a value is missing.
        title: What was trained, and how it was split.
    """
    figure = new_figure(6.0, 3.9, "Accuracy while training", title)
    axes = figure.add_subplot()
    draw_curves(
        axes,
        history,
        {
            "accuracy": ("training accuracy", GREY, "-"),
            "val_accuracy": ("validation accuracy", BLUE, "-"),
            "val_uar": ("validation UAR", VERMILION, "--"),
        },
    )
    axes.set_ylim(0.0, 1.0)
    axes.set_ylabel("accuracy")
    axes.set_xlabel("epoch")
    axes.yaxis.set_major_formatter(percent_formatter())
    best = best_epoch(history)
    if best is not None:
        column = "val_uar" if _has(history, "val_uar") else "val_accuracy"
        value = _column(history, column)[best]
        mark_epoch(axes, epochs_of(history)[best], f"best epoch {epochs_of(history)[best]:g}: {percent(value)}")
        axes.plot(epochs_of(history)[best], value, "o", ms=5, color=INK, zorder=5)
    add_legend(figure, axes)
    return figure


def loss(history: History, path: Path, *, title: str) -> None:
    """Write `draw_loss` as PNG."""
    save(draw_loss(history, title=title), path)


def draw_loss(history: History, *, title: str) -> Figure:
    """Draw training and validation loss over the epochs, and the learning rate below where it is known.

    Args:
        history: Columns "epoch", "loss", "val_loss", "learning_rate", ...; NaN where a value is missing.
        title: What was trained, and how it was split.
    """
    with_rate = _has(history, "learning_rate")
    figure = new_figure(6.0, 4.6 if with_rate else 3.9, "Loss while training", title)
    if with_rate:
        axes, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3.4, 1.0]})
        draw_curves(below, history, {"learning_rate": ("learning rate", GREEN, "-")}, steps=True)
        rates = _column(history, "learning_rate")
        if np.nanmin(rates) > 0:
            below.set_yscale("log")
        below.set_ylabel("learning rate")
        below.set_xlabel("epoch")
    else:
        axes = figure.add_subplot()
        axes.set_xlabel("epoch")
    draw_curves(axes, history, {"loss": ("training loss", GREY, "-"), "val_loss": ("validation loss", BLUE, "-")})
    axes.set_ylabel("loss")
    best = best_epoch(history)
    if best is not None:
        mark_epoch(axes, epochs_of(history)[best], f"best epoch {epochs_of(history)[best]:g}")
    add_legend(figure, axes)
    return figure


def best_epoch(history: History) -> int | None:
    """Return the index of the epoch whose weights a training keeps, None if none.

    The last that "best" marks; in a history without it, the highest validation UAR, else accuracy, the first of equals.
    """
    if _has(history, "best") and np.nanmax(_column(history, "best")) > 0:
        return int(np.flatnonzero(_column(history, "best") > 0)[-1])
    for name in ("val_uar", "val_accuracy"):
        if _has(history, name):
            return int(np.nanargmax(_column(history, name)))
    return None


def _column(history: History, name: str) -> FloatArray:
    return np.asarray(history[name], dtype=np.float64)


def _has(history: History, name: str) -> bool:
    return name in history and bool(np.isfinite(_column(history, name)).any())


def epochs_of(history: History) -> FloatArray:
    """Return the numbers of the epochs, from 1 where the history has none."""
    if "epoch" in history:
        return _column(history, "epoch")
    return np.arange(1.0, 1.0 + max((len(column) for column in history.values()), default=0))


def draw_curves(
    axes: Axes, history: History, columns: Mapping[str, tuple[str, str, str]], *, steps: bool = False
) -> None:
    """Draw the columns that are there: name -> (label, colour, line style)."""
    epochs = epochs_of(history)
    if len(epochs) == 0:
        raise SettingsError("a history without epochs; train for one epoch at least")
    for name, (label, colour, line) in columns.items():
        if _has(history, name):
            marker = "o" if len(epochs) == 1 else None  # a line of one point is invisible
            (drawn,) = axes.plot(
                epochs, _column(history, name), color=colour, ls=line, lw=1.6, marker=marker, label=label
            )
            drawn.set_drawstyle("steps-mid" if steps else "default")
    axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    axes.xaxis.set_major_locator(whole_numbers())
    style_axes(axes, grid="y")


def mark_epoch(axes: Axes, epoch: float, label: str) -> None:
    """Draw a line at an epoch."""
    axes.axvline(epoch, color=INK, ls=":", lw=1.2, zorder=1, label=label)

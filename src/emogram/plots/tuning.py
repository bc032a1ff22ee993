"""Plots of a study: how good each trial was, how it went, and what its settings had to do with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emogram.metrics import FloatArray
from emogram.plots.style import (
    BLUE,
    GREY,
    INK,
    PALE,
    SMALL_SIZE,
    TEXT_SIZE,
    VERMILION,
    add_legend,
    new_figure,
    percent,
    percent_formatter,
    plain,
    save,
    shorten,
    style_axes,
    whole_numbers,
)
from emogram.records import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAMES = {"uar": "validation UAR", "accuracy": "validation accuracy", "loss": "validation loss"}


def tuning_history(trials: Sequence[Trial], path: Path, *, objective: str, title: str) -> None:
    """Write `draw_tuning_history` as PNG."""
    save(draw_tuning_history(trials, objective=objective, title=title), path)


def draw_tuning_history(trials: Sequence[Trial], *, objective: str, title: str) -> Figure:
    """Draw what each trial came to, the best so far as a line, and where trials were stopped early.

    Args:
        trials: All trials by number, one at least complete.
        objective: "uar", "accuracy" or "loss".
        title: What was tuned, and how it was judged.
    """
    figure = new_figure(6.4, 3.9, "Trials", title)
    axes = figure.add_subplot()
    numbers, values = _values(trials)
    best = np.minimum.accumulate(values) if objective == "loss" else np.maximum.accumulate(values)
    last = max(trial.number for trial in trials)
    axes.step([*numbers, last], [*best, best[-1]], where="post", color=VERMILION, lw=1.6, label="best so far")
    axes.plot(numbers, values, "o", ms=5, color=BLUE, label="trial")
    _value_axis(axes, objective)
    early = [trial.number for trial in trials if trial.value is None]
    if early:
        bottom = axes.get_ylim()[0]
        axes.plot(early, [bottom] * len(early), "x", ms=5, color=GREY, clip_on=False, label="stopped early")
        axes.set_ylim(bottom=bottom)
    axes.set_xlim(0.5, last + 0.5)
    axes.xaxis.set_major_locator(whole_numbers())
    axes.set_xlabel("trial")
    style_axes(axes, grid="y")
    add_legend(figure, axes)
    return figure


def tuning_curves(trials: Sequence[Trial], path: Path, *, title: str) -> None:
    """Write `draw_tuning_curves` as PNG."""
    save(draw_tuning_curves(trials, title=title), path)


def draw_tuning_curves(trials: Sequence[Trial], *, title: str) -> Figure:
    """Draw the validation loss of each trial over the epochs, one panel for each fold."""
    folds = sorted({fold.fold for trial in trials for fold in trial.folds})
    n_columns = min(3, len(folds))
    n_rows = -(-len(folds) // n_columns)
    figure = new_figure(max(6.4, 3.0 * n_columns), 3.2 * n_rows + 0.4, "Validation loss while training", title)
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True).ravel().tolist()
    looks = {True: (BLUE, "complete"), False: (GREY, "stopped early")}
    for axes, number in zip(grid, folds, strict=False):
        named = set()
        for trial in trials:
            complete = trial.value is not None
            for losses in (fold.losses for fold in trial.folds if fold.fold == number):
                colour, name = looks[complete]
                epochs = np.arange(1, len(losses) + 1)
                axes.plot(
                    epochs,
                    np.where(np.isfinite(losses), losses, np.nan),
                    color=colour,
                    lw=1.0,
                    alpha=0.7,
                    marker="o" if len(losses) == 1 else None,
                    ms=3,
                    label=None if name in named else name,
                )
                named.add(name)
        axes.xaxis.set_major_locator(whole_numbers())
        axes.set_xlabel("epoch" if len(folds) == 1 else f"epoch, fold {number}")
        style_axes(axes, grid="y")
    for axes in grid[len(folds) :]:
        axes.set_axis_off()
    grid[0].set_ylabel("validation loss")
    add_legend(figure, grid[0])
    return figure


def tuning_importances(importances: Mapping[str, float], path: Path, *, title: str) -> None:
    """Write `draw_tuning_importances` as PNG."""
    save(draw_tuning_importances(importances, title=title), path)


def draw_tuning_importances(importances: Mapping[str, float], *, title: str) -> Figure:
    """Draw how much each setting decides, the greatest on top.

    Args:
        importances: Setting -> share of 1; at least one.
        title: How they were found, and how trials were judged.
    """
    ordered = sorted(importances.items(), key=lambda pair: pair[1])
    letters = max(map(len, importances))
    figure = new_figure(4.6 + 0.07 * letters, 0.32 * len(ordered) + 1.0, "What decided", title)
    axes = figure.add_subplot()
    bars = axes.barh([plain(name) for name, _ in ordered], [share for _, share in ordered], color=BLUE, height=0.7)
    axes.bar_label(bars, [percent(share) for _, share in ordered], padding=3, size=SMALL_SIZE, color=INK)
    axes.set_xlim(0.0, 1.15 * max(max(importances.values()), 1e-9))
    axes.set_xlabel("importance")
    axes.xaxis.set_major_formatter(percent_formatter())
    style_axes(axes, grid="x")
    axes.tick_params(axis="y", length=0)
    return figure


def tuning_slices(
    trials: Sequence[Trial], best: Trial, path: Path, *, objective: str, logarithmic: Collection[str], title: str
) -> None:
    """Write `draw_tuning_slices` as PNG."""
    save(draw_tuning_slices(trials, best, objective=objective, logarithmic=logarithmic, title=title), path)


def draw_tuning_slices(
    trials: Sequence[Trial], best: Trial, *, objective: str, logarithmic: Collection[str], title: str
) -> Figure:
    """Draw what trials came to over each setting, one panel for each; the later a trial, the darker.

    Args:
        trials: All trials by number.
        best: The best of them, which is complete.
        objective: "uar", "accuracy" or "loss".
        logarithmic: Settings to be drawn over orders of magnitude.
        title: What was tuned, and how it was judged.
    """
    names = list(trials[0].settings)
    n_columns = min(3, len(names))
    n_rows = -(-len(names) // n_columns)
    figure = new_figure(max(4.6, 2.9 * n_columns), 2.5 * n_rows + 0.2, "Settings one by one", title)
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True).ravel().tolist()
    complete = [trial for trial in trials if trial.value is not None]
    _, values = _values(trials)
    shades = _shades(len(complete))
    place_of_best = complete.index(best)
    for place, (axes, name) in enumerate(zip(grid, names, strict=False)):
        found, ticks = _numbers([trial.settings[name] for trial in complete])
        axes.scatter(found, values, c=shades, s=22, edgecolors=INK, linewidths=0.3, zorder=2)
        axes.plot(
            found[place_of_best],
            values[place_of_best],
            "o",
            ms=9,
            mfc="none",
            mec=VERMILION,
            mew=1.6,
            zorder=3,
            label="best",
        )
        _setting_axis(axes, name, ticks, log=name in logarithmic)
        if place % n_columns == 0:
            _value_axis(axes, objective)
        style_axes(axes, grid="y")
    for axes in grid[len(names) :]:
        axes.set_axis_off()
    add_legend(figure, grid[0])
    return figure


def tuning_parallel(
    trials: Sequence[Trial], best: Trial, path: Path, *, objective: str, logarithmic: Collection[str], title: str
) -> None:
    """Write `draw_tuning_parallel` as PNG."""
    save(draw_tuning_parallel(trials, best, objective=objective, logarithmic=logarithmic, title=title), path)


def draw_tuning_parallel(
    trials: Sequence[Trial], best: Trial, *, objective: str, logarithmic: Collection[str], title: str
) -> Figure:
    """Draw each complete trial as a line through its settings, in colour by what it came to (parallel coordinates).

    Args:
        trials: All trials by number.
        best: The best of them, which is complete.
        objective: "uar", "accuracy" or "loss".
        logarithmic: Settings to be drawn over orders of magnitude.
        title: What was tuned, and how it was judged.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    names = list(trials[0].settings)
    complete = [trial for trial in trials if trial.value is not None]
    _, values = _values(trials)
    figure = new_figure(max(6.4, 1.25 * len(names) + 1.6), 4.2, "Settings side by side", title)
    axes = figure.add_subplot()
    norm = Normalize(float(values.min()), float(values.max()) + 1e-9)
    colours = colormaps["cividis_r" if objective == "loss" else "cividis"]
    heights = np.zeros((len(complete), len(names)))
    for column, name in enumerate(names):
        found, ticks = _numbers([trial.settings[name] for trial in complete])
        scaled = np.log10(found) if name in logarithmic else found
        low, reach = float(scaled.min()), float(np.ptp(scaled)) or 1.0
        heights[:, column] = (scaled - low) / reach if np.ptp(scaled) else 0.5
        marks = ticks or {float(value): f"{value:.3g}" for value in (found.min(), found.max())}
        for value, text in marks.items():
            height = ((np.log10(value) if name in logarithmic else value) - low) / reach if np.ptp(scaled) else 0.5
            axes.annotate(
                plain(shorten(text, 14)),
                (column, height),
                xytext=(3, 0),
                textcoords="offset points",
                size=SMALL_SIZE,
                color=INK,
                va="center",
                zorder=4,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.6},
            )
        axes.axvline(column, color=PALE, lw=1.0, zorder=0)
    order = np.argsort(values if objective != "loss" else -values)  # the best on top
    for index in order:
        axes.plot(range(len(names)), heights[index], color=colours(norm(values[index])), lw=1.4, alpha=0.85, zorder=2)
    axes.plot(range(len(names)), heights[complete.index(best)], color=VERMILION, lw=2.2, zorder=3, label="best")
    axes.set_xticks(range(len(names)), [plain(name.replace(".", "\n")) for name in names])
    axes.set_xlim(-0.1, len(names) - 0.5)
    axes.set_ylim(-0.05, 1.05)
    axes.set_yticks([])
    style_axes(axes, grid=None)
    axes.tick_params(axis="x", length=0, labelsize=SMALL_SIZE)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes, fraction=0.03, pad=0.02)
    bar.set_label(_NAMES[objective], size=TEXT_SIZE, color=INK)
    if objective != "loss":
        bar.ax.yaxis.set_major_formatter(percent_formatter())
    bar.ax.tick_params(labelsize=SMALL_SIZE, colors=INK)
    bar.outline.set_visible(False)
    add_legend(figure, axes)
    return figure


def _values(trials: Sequence[Trial]) -> tuple[list[int], FloatArray]:
    """Return numbers and values of the complete trials."""
    complete = [(trial.number, trial.value) for trial in trials if trial.value is not None]
    return [number for number, _ in complete], np.asarray([value for _, value in complete], dtype=np.float64)


def _numbers(values: Sequence[Any]) -> tuple[FloatArray, dict[float, str]]:
    """Return values as numbers to be drawn, and names for them where they are none."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return np.asarray(values, dtype=np.float64), {}
    texts = [" ".join(value) if isinstance(value, list | tuple) else str(value) for value in values]
    known = sorted(set(texts))
    return np.asarray([known.index(text) for text in texts], dtype=np.float64), dict(enumerate(known))


def _shades(count: int) -> Any:
    from matplotlib import colormaps

    return colormaps["Blues"](np.linspace(0.25, 1.0, count))


def _setting_axis(axes: Axes, name: str, ticks: Mapping[float, str], *, log: bool) -> None:
    if log:
        axes.set_xscale("log")
    if ticks:
        axes.set_xticks(list(ticks), [plain(shorten(text, 16)) for text in ticks.values()])
        axes.set_xlim(min(ticks) - 0.5, max(ticks) + 0.5)
    axes.set_xlabel(plain(name))


def _value_axis(axes: Axes, objective: str) -> None:
    axes.set_ylabel(_NAMES[objective])
    if objective != "loss":
        axes.yaxis.set_major_formatter(percent_formatter(decimals=None))

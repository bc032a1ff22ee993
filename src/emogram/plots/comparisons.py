"""Plots of several judgements: models against each other, conditions, corpus to corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emogram.plots.style import (
    BLUE,
    GREEN,
    GREY,
    GROUP_COLOURS,
    INK,
    PALE,
    SMALL_SIZE,
    VERMILION,
    add_legend,
    new_figure,
    percent,
    percent_formatter,
    plain,
    save,
    shorten,
    style_axes,
    style_table,
    text_colour,
)
from emogram.records import ConditionScore, CorpusPair, Difference

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NOISES = {"babble": (BLUE, "o"), "white": (VERMILION, "s")}  # colour and marker of its line


def conditions(scores: Sequence[ConditionScore], path: Path, *, title: str) -> None:
    """Write `draw_conditions` as PNG."""
    save(draw_conditions(scores, title=title), path)


def draw_conditions(scores: Sequence[ConditionScore], *, title: str) -> Figure:
    """Draw the UAR under each condition with its interval: noise over its level on the left, the rest on the right.

    Args:
        scores: The first is the clean one; the name of noise ends in "-" and its signal-to-noise ratio in dB.
        title: What was judged, and how.
    """
    clean, *others = scores
    noise: dict[str, list[tuple[float, ConditionScore]]] = {}
    rest = []
    for score in others:
        kind, _, level = score.condition.partition("-")
        if kind in _NOISES and level.isdigit():
            noise.setdefault(kind, []).append((float(level), score))
        else:
            rest.append(score)
    figure = new_figure(7.4, 3.9, "Accuracy under degraded sound", title)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes in (left, right):
        axes.axhspan(*clean.interval, color=PALE, alpha=0.6, lw=0, zorder=0)
        axes.axhline(clean.uar, color=INK, ls="--", lw=1.2, zorder=1, label=f"clean {percent(clean.uar)}")
        style_axes(axes, grid="y")
    for kind, of_kind in noise.items():
        colour, marker = _NOISES[kind]
        levels = [level for level, _ in of_kind]
        values = np.asarray([score.uar for _, score in of_kind])
        reach = np.abs(np.asarray([score.interval for _, score in of_kind]).T - values)
        left.errorbar(levels, values, yerr=reach, color=colour, marker=marker, ms=5, lw=1.6, capsize=3, label=kind)
    left.set_xlabel("signal-to-noise ratio (dB)")
    left.set_ylabel("UAR")
    left.invert_xaxis()
    left.yaxis.set_major_formatter(percent_formatter())
    values = np.asarray([score.uar for score in rest])
    reach = np.abs(np.asarray([score.interval for score in rest]).reshape(-1, 2).T - values)
    right.errorbar(range(len(rest)), values, yerr=reach, color=GREEN, marker="D", ms=5, ls="none", capsize=3)
    right.set_xticks(range(len(rest)), [score.condition for score in rest], rotation=50, ha="right")
    right.set_xlim(-0.6, max(len(rest), 1) - 0.4)
    left.set_ylim(0.0, min(1.0, 0.05 + max(score.interval[1] for score in scores)))
    add_legend(figure, left)
    return figure


def differences(found: Sequence[Difference], path: Path, *, title: str) -> None:
    """Write `draw_differences` as PNG."""
    save(draw_differences(found, title=title), path)


def draw_differences(found: Sequence[Difference], *, title: str) -> Figure:
    """Draw paired differences between models with their intervals, one line each (a forest plot).

    Args:
        found: As `compare` returns them, at least one.
        title: What was compared, and on what.
    """
    letters = max(len(each.first) + len(each.second) for each in found)
    figure = new_figure(4.6 + 0.07 * letters, 0.42 * len(found) + 1.3, "Differences, paired by clip", title)
    axes = figure.add_subplot()
    axes.axvline(0.0, color=INK, ls="--", lw=1.2, zorder=1)
    looks = {"uar": ("UAR", BLUE, "o"), "accuracy": ("accuracy", VERMILION, "s")}
    for metric, (name, colour, marker) in looks.items():
        rows = [row for row, each in enumerate(found) if each.metric == metric]
        axes.hlines(rows, [found[i].low for i in rows], [found[i].high for i in rows], color=colour, lw=2.0, zorder=2)
        axes.plot([found[i].value for i in rows], rows, marker, ms=6, color=colour, zorder=3, label=name, ls="none")
    for row, each in enumerate(found):
        axes.annotate(
            f"{100 * each.value:+.1f}",
            (each.value, row),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            size=SMALL_SIZE,
            color=INK,
        )
    axes.set_yticks(range(len(found)), [plain(f"{each.first} less {each.second}") for each in found])
    axes.set_ylim(len(found) - 0.3, -0.8)
    widest = 1.15 * max(max(abs(each.low), abs(each.high)) for each in found) or 0.01
    axes.set_xlim(-widest, widest)
    axes.set_xlabel("difference, with its 95 % interval; right of the line the first is better")
    axes.xaxis.set_major_formatter(percent_formatter(decimals=None))
    style_axes(axes, grid="x")
    axes.tick_params(axis="y", length=0)
    add_legend(figure, axes)
    return figure


def speaker_scatter(
    per_speaker: Mapping[str, Mapping[str, float]], path: Path, *, title: str, genders: Mapping[str, str] | None = None
) -> None:
    """Write `draw_speaker_scatter` as PNG."""
    save(draw_speaker_scatter(per_speaker, title=title, genders=genders), path)


def draw_speaker_scatter(
    per_speaker: Mapping[str, Mapping[str, float]], *, title: str, genders: Mapping[str, str] | None = None
) -> Figure:
    """Draw the UAR of each speaker under one model against that under another, one panel for each pair of models.

    Args:
        per_speaker: Model -> speaker -> UAR; at least two models, with the same speakers.
        title: What was compared, and on what.
        genders: Speaker -> gender, which then gives the dots colour and form.
    """
    pairs = list(combinations(per_speaker, 2))
    n_columns = min(3, len(pairs))
    n_rows = -(-len(pairs) // n_columns)
    figure = new_figure(max(4.2, 3.2 * n_columns), 3.4 * n_rows + 0.3, "UAR of each speaker", title)
    grid = figure.subplots(n_rows, n_columns, squeeze=False).ravel().tolist()
    known = sorted(set((genders or {}).values()))
    for axes, (one, other) in zip(grid, pairs, strict=False):
        axes.plot([0, 1], [0, 1], color=INK, ls=":", lw=1.2)
        for index, gender in enumerate([*known, None]):
            names = [name for name in per_speaker[one] if (genders or {}).get(name) == gender]
            if not names:
                continue
            colour = GREY if gender is None and known else GROUP_COLOURS[index % len(GROUP_COLOURS)]
            axes.plot(
                [per_speaker[one][name] for name in names],
                [per_speaker[other][name] for name in names],
                "os^D"[index % 4],
                ms=5,
                color=colour,
                alpha=0.8,
                label=plain(gender) if gender else None,
            )
        axes.set_xlim(0.0, 1.0)
        axes.set_ylim(0.0, 1.0)
        axes.set_aspect("equal")
        axes.set_xlabel(plain(shorten(one, 40)))
        axes.set_ylabel(plain(shorten(other, 40)))
        axes.xaxis.set_major_formatter(percent_formatter())
        axes.yaxis.set_major_formatter(percent_formatter())
        style_axes(axes, grid="both")
    for axes in grid[len(pairs) :]:
        axes.set_axis_off()
    add_legend(figure, grid[0])
    return figure


def corpus_pairs(pairs: Sequence[CorpusPair], path: Path, *, title: str) -> None:
    """Write `draw_corpus_pairs` as PNG."""
    save(draw_corpus_pairs(pairs, title=title), path)


def draw_corpus_pairs(pairs: Sequence[CorpusPair], *, title: str) -> Figure:
    """Draw the UAR of each corpus that trained (rows) on each that judged (columns), in colour by how far above chance.

    Colour counts from chance, 0, to all right, 1, since pairs of fewer labels are easier. Each cell shows UAR, its 95 %
    interval and the number of labels that both corpora have; one corpus judged on itself has a frame.
    """
    names = list(dict.fromkeys([*(pair.trained for pair in pairs), *(pair.tested for pair in pairs)]))
    gains = np.full((len(names), len(names)), np.nan)
    for pair in pairs:
        gains[names.index(pair.trained), names.index(pair.tested)] = (pair.uar - pair.chance) / (1 - pair.chance)
    letters = max(map(len, names))
    figure = new_figure(
        1.25 * len(names) + 1.9 + 0.06 * letters, 0.85 * len(names) + 1.1, "From corpus to corpus", title
    )
    axes = figure.add_subplot()
    image = axes.imshow(gains, cmap="cividis", vmin=0.0, vmax=1.0, aspect="auto")
    for pair in pairs:
        row, column = names.index(pair.trained), names.index(pair.tested)
        low, high = (100 * bound for bound in pair.interval)
        axes.text(
            column,
            row,
            f"{percent(pair.uar)}{'*' if pair.caveat else ''}\n{low:.1f} to {high:.1f}\n{len(pair.labels)} labels",
            ha="center",
            va="center",
            size=SMALL_SIZE,
            linespacing=1.3,
            color=text_colour(image.cmap(image.norm(gains[row, column]))),
        )
        if pair.within:
            axes.add_patch(_frame(row, column))
    axes.set_xticks(range(len(names)), [plain(name) for name in names])
    axes.set_yticks(range(len(names)), [plain(name) for name in names])
    caveats = dict.fromkeys(pair.caveat for pair in pairs if pair.caveat)
    axes.set_xlabel("\n".join(["judged on", *(f"* {caveat}" for caveat in caveats)]))
    axes.set_ylabel("trained on" if any(pair.within for pair in pairs) else "labels of (all others trained)")
    style_table(figure, axes, image, "UAR, from chance to all right")
    return figure


def _frame(row: int, column: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.47, row - 0.46), 0.94, 0.92, fill=False, edgecolor=VERMILION, lw=1.6)

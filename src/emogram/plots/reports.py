"""Plots of one report: confusion matrix, accuracy by emotion, UAR by group; and all plots of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from emogram.errors import SettingsError
from emogram.metrics import DimensionValues, FloatArray, speaker_genders
from emogram.plots.confidence import draw_reliability, draw_risk_coverage
from emogram.plots.dimensions import draw_dimensions, draw_train_val_ccc
from emogram.plots.style import (
    BLUE,
    GREY,
    GROUP_COLOURS,
    INK,
    PALE,
    SMALL_SIZE,
    TEXT_SIZE,
    VERMILION,
    add_legend,
    new_figure,
    outline,
    percent,
    percent_formatter,
    plain,
    save,
    style_axes,
    style_table,
    text_colour,
)
from emogram.plots.training import History, draw_loss, draw_train_val_accuracy, epochs_of
from emogram.records import Clip, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_NAMED_GROUPS = 120  # more names than this cannot be read on one page


def confusion_matrix(report: Report, path: Path) -> None:
    """Write `draw_confusion_matrix` as PNG."""
    save(draw_confusion_matrix(report), path)


def draw_confusion_matrix(report: Report) -> Figure:
    """Draw the confusion matrix, normalised by row: of the clips of each true class, which share was taken for what.

    Each cell shows percent and count; a class without clips is left blank.
    """
    n_labels = len(report.labels)
    side = n_labels * min(0.62 if n_labels > 5 else 0.9, max(0.36, 9.0 / n_labels))
    # The cells are squares, so the room for names and colour bar is reckoned here: else one side would be cut off.
    letters = max(len(label) for label in report.labels)
    width, height = 1.07 * side + 1.7 + 0.06 * letters, side + 0.55 + 0.05 * letters
    figure = new_figure(max(4.4, width), height, "Confusion matrix", _summary(report))
    axes = figure.add_subplot()
    image = _draw_matrix(axes, report)
    style_table(figure, axes, image, "share of the true emotion")
    return figure


def _draw_matrix(axes: Axes, report: Report, *, most: float | None = None) -> Any:
    """Draw the cells of a confusion matrix, in colours up to the share `most`, by default the highest there is."""
    counts, shares = _row_shares(report)
    image = axes.imshow(shares, cmap="cividis", vmin=0.0, vmax=most or np.nanmax(shares), aspect="equal")
    _write_cells(axes, np.asarray(image.cmap(image.norm(np.nan_to_num(shares)))), shares, counts)
    names = [plain(label) for label in report.labels]
    rows = [f"{name} ({n})" for name, n in zip(names, counts.sum(axis=1), strict=True)]
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), rows)
    axes.set_xlabel("predicted emotion")
    axes.set_ylabel("true emotion (clips)")
    return image


def _row_shares(report: Report) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Return the counts of a confusion matrix, and the shares of each row; NaN where a class has no clips."""
    counts = np.asarray(report.confusion)
    support = counts.sum(axis=1, keepdims=True)
    return counts, np.divide(counts, support, out=np.full(counts.shape, np.nan), where=support > 0)


def before_after(before: Report, after: Report, path: Path, *, title: str) -> None:
    """Write `draw_before_after` as PNG."""
    save(draw_before_after(before, after, title=title), path)


def draw_before_after(before: Report, after: Report, *, title: str) -> Figure:
    """Draw the confusion matrices of one model before and after it was trained further, side by side.

    Labels that no clip has and that neither says are left out.

    Args:
        before: On some clips.
        after: On the same clips, with the same labels.
        title: What became better or worse.
    """
    counts = np.asarray(before.confusion) + np.asarray(after.confusion)
    used = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    before, after = _of_labels(before, used), _of_labels(after, used)
    n_labels = len(used)
    side = n_labels * min(0.62 if n_labels > 5 else 0.9, max(0.36, 9.0 / n_labels))
    letters = max(len(label) for label in before.labels)
    width, height = 2.1 * side + 2.9 + 0.12 * letters, side + 0.9 + 0.05 * letters
    figure = new_figure(max(7.4, width), height, "Before and after", title)
    left, right = figure.subplots(1, 2, sharey=True)
    most = max(float(np.nanmax(_row_shares(report)[1])) for report in (before, after))
    for axes, report, words in ((left, before, "before"), (right, after, "after")):
        image = _draw_matrix(axes, report, most=most)
        style_axes(axes, grid=None)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_title(f"{words}: UAR {percent(report.metrics['uar'])}", size=TEXT_SIZE, color=INK)
    right.set_ylabel("")
    style_table(figure, right, image, "share of the true emotion")
    return figure


def _of_labels(report: Report, places: npt.NDArray[np.intp]) -> Report:
    """Return a report whose confusion matrix has some of the labels alone; its figures stay."""
    counts = np.asarray(report.confusion)[np.ix_(places, places)]
    return replace(report, labels=tuple(report.labels[place] for place in places), confusion=tuple(map(tuple, counts)))


def _write_cells(axes: Axes, colours: FloatArray, shares: FloatArray, counts: npt.NDArray[np.int64]) -> None:
    n_labels = len(counts)
    size = SMALL_SIZE if n_labels <= 14 else SMALL_SIZE * 14 / n_labels
    for row in range(n_labels):
        for column in range(n_labels):
            if np.isnan(shares[row, column]):
                continue
            axes.text(
                column,
                row,
                f"{100 * shares[row, column]:.1f} %\n{counts[row, column]}",
                ha="center",
                va="center",
                size=size,
                linespacing=1.3,
                weight="bold" if row == column else "normal",
                color=text_colour(colours[row, column]),
            )


def per_class_accuracy(report: Report, path: Path) -> None:
    """Write `draw_per_class_accuracy` as PNG."""
    save(draw_per_class_accuracy(report), path)


def draw_per_class_accuracy(report: Report) -> Figure:
    """Draw the recall of each class as bars in label order, with their mean (UAR), its interval, and chance."""
    n_labels = len(report.labels)
    recalls = [report.per_class[label]["recall"] for label in report.labels]
    support = [int(report.per_class[label]["support"]) for label in report.labels]
    figure = new_figure(max(4.8, 0.72 * n_labels + 1.2), 3.9, "Accuracy by emotion", _summary(report))
    axes = figure.add_subplot()
    bars = axes.bar(range(n_labels), recalls, width=0.72, color=BLUE, zorder=2)
    values = [percent(value) if n else "no clips" for value, n in zip(recalls, support, strict=True)]
    axes.bar_label(bars, values, padding=2, size=TEXT_SIZE, color=INK, zorder=5, path_effects=outline())
    low, high = report.intervals.get("uar", (np.nan, np.nan))
    if low < high:
        axes.axhspan(low, high, color=VERMILION, alpha=0.14, lw=0, zorder=1, label="95 % interval of UAR")
    average, chance = report.metrics["uar"], 1.0 / n_labels
    axes.axhline(average, color=VERMILION, ls="--", lw=1.4, zorder=3, label=f"UAR {percent(average)}")
    axes.axhline(chance, color=INK, ls=":", lw=1.4, zorder=3, label=f"chance {percent(chance)}")
    names = [f"{plain(label)}\n({n})" for label, n in zip(report.labels, support, strict=True)]
    crowded = n_labels > 14 or max(len(label) for label in report.labels) > 11
    axes.set_xticks(range(n_labels), names, rotation=90 if crowded else 0)
    axes.set_ylabel("share recognised (recall)")
    axes.set_xlabel("true emotion (clips)")
    axes.set_ylim(0.0, 1.08)  # room for the figure above a bar of 100 %
    axes.set_yticks(np.linspace(0.0, 1.0, 6))
    axes.set_xlim(-0.6, n_labels - 0.4)
    axes.yaxis.set_major_formatter(percent_formatter())
    style_axes(axes, grid="y")
    add_legend(figure, axes)
    return figure


def per_group(report: Report, kind: str, path: Path, *, genders: Mapping[str, str] | None = None) -> None:
    """Write `draw_per_group` as PNG."""
    save(draw_per_group(report, kind, genders=genders), path)


def draw_per_group(report: Report, kind: str, *, genders: Mapping[str, str] | None = None) -> Figure:
    """Draw the UAR of each group, worst at the bottom, against the UAR of all.

    Args:
        report: The report.
        kind: "speaker", "gender", "intensity" or "corpus".
        genders: Group -> gender, which then colours the dots; `metrics.speaker_genders` makes it for speakers.

    Raises:
        SettingsError: The report has no groups of this kind.
    """
    groups = report.per_group.get(kind)
    if not groups:
        raise SettingsError(f"the report has no groups by {kind}; found {', '.join(report.per_group) or 'none'}")
    names = sorted(groups, key=lambda name: groups[name]["uar"])
    values = np.array([groups[name]["uar"] for name in names])
    known = {name: (genders or {}).get(name, "") for name in names}
    inches = min(0.21 * len(names) if len(names) > 6 else 0.34 * len(names), 20.0) + 1.5
    figure = new_figure(5.6, max(2.4, inches), f"UAR by {kind}", _summary(report))
    axes = figure.add_subplot()
    average = report.metrics["uar"]
    axes.axvline(average, color=INK, ls="--", lw=1.2, zorder=1, label=f"UAR of all {percent(average)}")
    axes.hlines(range(len(names)), average, values, color=PALE, lw=2.0, zorder=2)
    colours = dict(zip(sorted(set(known.values()) - {""}), GROUP_COLOURS, strict=False))
    for gender in sorted(set(known.values())):
        rows = [row for row, name in enumerate(names) if known[name] == gender]
        colour = colours.get(gender, BLUE if not colours else GREY)
        named = plain(gender) or "gender unknown"
        label = f"{named}, mean {percent(float(values[rows].mean()))}" if colours else None
        axes.plot(values[rows], rows, "o", ms=6, color=colour, zorder=3, label=label)
    if len(names) <= MAX_NAMED_GROUPS:
        for row, value in enumerate(values):
            side = 1 if value >= average else -1
            axes.annotate(
                f"{100 * value:.0f}",
                (value, row),
                xytext=(7 * side, 0),
                textcoords="offset points",
                ha="left" if side > 0 else "right",
                va="center",
                size=SMALL_SIZE,
                color=INK,
            )
        axes.set_yticks(range(len(names)), [f"{plain(name)} ({groups[name]['n_clips']:g})" for name in names])
        axes.set_ylabel(f"{kind} (clips)")
    else:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(names)} {kind}s, sorted")
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.set_xlim(0.0, 1.0)
    axes.set_xlabel("UAR")
    axes.xaxis.set_major_formatter(percent_formatter())
    style_axes(axes, grid="x")
    axes.tick_params(axis="y", length=0)
    add_legend(figure, axes)
    return figure


def save_all(
    report: Report,
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    history: History | None,
    folder: Path,
    *,
    clips: Sequence[Clip] = (),
    calibrated: npt.ArrayLike | None = None,
    abstained: npt.NDArray[np.bool_] | None = None,
    values: DimensionValues | None = None,
) -> list[Path]:
    """Write every plot that applies into a run's `plots/` folder.

    Args:
        report: As `metrics.judge` returns it.
        targets: Class indices, shape (n_clips,).
        probabilities: Shape (n_clips, n_labels).
        history: Columns by epoch, as `train_val_accuracy` takes them; None where nothing was trained.
        folder: Made where missing.
        clips: The clips judged, whose genders colour the plot of speakers.
        calibrated: Probabilities after calibration, where `probabilities` are those before.
        abstained: Where the model says "unsure", shape (n_clips,).
        values: The dimensions, true and told.

    Returns:
        The files written: confusion_matrix.png, per_class_accuracy.png, train_val_accuracy.png, loss.png,
        reliability.png, risk_coverage.png, per_speaker.png, per_gender.png, per_intensity.png, per_corpus.png,
        dimensions.png and train_val_ccc.png, as far as they apply.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: A file could not be written.
    """
    trained = history if history is not None and len(epochs_of(history)) else None
    figures: dict[str, Figure] = {}
    if report.labels:
        figures["confusion_matrix"] = draw_confusion_matrix(report)
        figures["per_class_accuracy"] = draw_per_class_accuracy(report)
    if trained is not None and report.labels:
        figures["train_val_accuracy"] = draw_train_val_accuracy(trained, title=report.protocol)
    if trained is not None:
        figures["loss"] = draw_loss(trained, title=report.protocol)
    if report.labels:
        figures["reliability"] = draw_reliability(targets, probabilities, title=report.protocol, calibrated=calibrated)
        answers = probabilities if calibrated is None else calibrated
        figures["risk_coverage"] = draw_risk_coverage(targets, answers, title=report.protocol, abstained=abstained)
        genders = speaker_genders(clips)
        for kind in report.per_group:
            figures[f"per_{kind}"] = draw_per_group(report, kind, genders=genders if kind == "speaker" else None)
    if values is not None:
        figures["dimensions"] = draw_dimensions(report, values)
        if trained is not None:
            figures["train_val_ccc"] = draw_train_val_ccc(trained, title=report.protocol)
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        save(figure, paths[-1])
    return paths


def _summary(report: Report) -> str:
    """Return the figures that no plot should go without: UAR with its interval, accuracy, clips, and the protocol."""
    low, high = report.intervals.get("uar", (np.nan, np.nan))
    interval = f" (95 % interval {100 * low:.1f} to {100 * high:.1f})" if low < high else ""
    return (
        f"UAR {percent(report.metrics['uar'])}{interval}, accuracy {percent(report.metrics['accuracy'])}, "
        f"{report.metrics['n_clips']:,.0f} clips. {report.protocol}"
    )

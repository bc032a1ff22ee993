"""Reports, histories and spectrograms -> pictures fit for a paper (PNG, 200 dots per inch).

Each `draw_*` function returns a matplotlib `Figure`; the function without `draw_` writes it to a file. Figures are made
without pyplot, so that nothing here changes global state and threads do not meet. Colours are those of M. Okabe and
K. Ito, "Color Universal Design" (2008), and the maps cividis and magma: all can be told apart by colour-blind
readers and in grey print.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from emogram import files, metrics
from emogram.config import SpectrogramConfig
from emogram.errors import MissingExtraError, SettingsError
from emogram.metrics import ReliabilityBins, reliability_bins, speaker_genders
from emogram.records import Clip, ConditionScore, CorpusPair, Difference, Prediction, Report
from emogram.spectrogram import band_centres_hz

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
History = Mapping[str, Sequence[float]]

DOTS_PER_INCH = 200

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
INK, GREY, PALE = "#222222", "#666666", "#D9D9D9"
_NOISES = {"babble": (BLUE, "o"), "white": (VERMILION, "s")}  # colour and marker of its line
GROUP_COLOURS = (PURPLE, BLUE, GREEN, VERMILION)

TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 11.0, 9.0, 7.5  # points, readable when printed at column width

MAX_NAMED_GROUPS = 120  # more names than this cannot be read on one page

TICKS_KHZ = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


def confusion_matrix(report: Report, path: Path) -> None:
    """Write `draw_confusion_matrix` as PNG."""
    _save(draw_confusion_matrix(report), path)


def draw_confusion_matrix(report: Report) -> Figure:
    """Draw the confusion matrix, normalised by row: of the clips of each true class, which share was taken for what.

    Each cell shows percent and count; a class without clips is left blank.
    """
    counts = np.asarray(report.confusion)
    support = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, support, out=np.full(counts.shape, np.nan), where=support > 0)
    n_labels = len(report.labels)
    side = n_labels * min(0.62 if n_labels > 5 else 0.9, max(0.36, 9.0 / n_labels))
    # The cells are squares, so the room for names and colour bar is reckoned here: else one side would be cut off.
    letters = max(len(label) for label in report.labels)
    width, height = 1.07 * side + 1.7 + 0.06 * letters, side + 0.55 + 0.05 * letters
    figure = _figure(max(4.4, width), height, "Confusion matrix", _summary(report))
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="cividis", vmin=0.0, vmax=np.nanmax(shares), aspect="equal")
    _write_cells(axes, np.asarray(image.cmap(image.norm(np.nan_to_num(shares)))), shares, counts)
    names = [_plain(label) for label in report.labels]
    rows = [f"{name} ({n})" for name, n in zip(names, support[:, 0], strict=True)]
    axes.set_xticks(range(n_labels), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(n_labels), rows)
    axes.set_xlabel("predicted emotion")
    axes.set_ylabel("true emotion (clips)")
    _style(axes, grid=None)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(image, ax=axes, fraction=0.045, pad=0.02)
    bar.set_label("share of the true emotion", size=TEXT_SIZE, color=INK)
    bar.ax.yaxis.set_major_formatter(_percent_formatter())
    bar.ax.tick_params(labelsize=SMALL_SIZE, colors=INK)
    bar.outline.set_visible(False)
    return figure


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


def text_colour(background: npt.ArrayLike) -> str:
    """Return black or white, whichever stands out more from an RGB(A) colour in [0, 1].

    By the contrast ratio of WCAG 2.1 (W3C Recommendation, 2018), which is even at a relative luminance of 0.179.
    """
    rgb = np.asarray(background, dtype=np.float64)[:3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return "black" if float(linear @ [0.2126, 0.7152, 0.0722]) > 0.179 else "white"


def per_class_accuracy(report: Report, path: Path) -> None:
    """Write `draw_per_class_accuracy` as PNG."""
    _save(draw_per_class_accuracy(report), path)


def draw_per_class_accuracy(report: Report) -> Figure:
    """Draw the recall of each class as bars in label order, with their mean (UAR), its interval, and chance."""
    n_labels = len(report.labels)
    recalls = [report.per_class[label]["recall"] for label in report.labels]
    support = [int(report.per_class[label]["support"]) for label in report.labels]
    figure = _figure(max(4.8, 0.72 * n_labels + 1.2), 3.9, "Accuracy by emotion", _summary(report))
    axes = figure.add_subplot()
    bars = axes.bar(range(n_labels), recalls, width=0.72, color=BLUE, zorder=2)
    values = [_percent(value) if n else "no clips" for value, n in zip(recalls, support, strict=True)]
    axes.bar_label(bars, values, padding=2, size=TEXT_SIZE, color=INK, zorder=5, path_effects=_outline())
    low, high = report.intervals.get("uar", (np.nan, np.nan))
    if low < high:
        axes.axhspan(low, high, color=VERMILION, alpha=0.14, lw=0, zorder=1, label="95 % interval of UAR")
    average, chance = report.metrics["uar"], 1.0 / n_labels
    axes.axhline(average, color=VERMILION, ls="--", lw=1.4, zorder=3, label=f"UAR {_percent(average)}")
    axes.axhline(chance, color=INK, ls=":", lw=1.4, zorder=3, label=f"chance {_percent(chance)}")
    names = [f"{_plain(label)}\n({n})" for label, n in zip(report.labels, support, strict=True)]
    crowded = n_labels > 14 or max(len(label) for label in report.labels) > 11
    axes.set_xticks(range(n_labels), names, rotation=90 if crowded else 0)
    axes.set_ylabel("share recognised (recall)")
    axes.set_xlabel("true emotion (clips)")
    axes.set_ylim(0.0, 1.08)  # room for the figure above a bar of 100 %
    axes.set_yticks(np.linspace(0.0, 1.0, 6))
    axes.set_xlim(-0.6, n_labels - 0.4)
    axes.yaxis.set_major_formatter(_percent_formatter())
    _style(axes, grid="y")
    _legend(figure, axes)
    return figure


def conditions(scores: Sequence[ConditionScore], path: Path, *, title: str) -> None:
    """Write `draw_conditions` as PNG."""
    _save(draw_conditions(scores, title=title), path)


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
    figure = _figure(7.4, 3.9, "Accuracy under degraded sound", title)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes in (left, right):
        axes.axhspan(*clean.interval, color=PALE, alpha=0.6, lw=0, zorder=0)
        axes.axhline(clean.uar, color=INK, ls="--", lw=1.2, zorder=1, label=f"clean {_percent(clean.uar)}")
        _style(axes, grid="y")
    for kind, of_kind in noise.items():
        colour, marker = _NOISES[kind]
        levels = [level for level, _ in of_kind]
        values = np.asarray([score.uar for _, score in of_kind])
        reach = np.abs(np.asarray([score.interval for _, score in of_kind]).T - values)
        left.errorbar(levels, values, yerr=reach, color=colour, marker=marker, ms=5, lw=1.6, capsize=3, label=kind)
    left.set_xlabel("signal-to-noise ratio (dB)")
    left.set_ylabel("UAR")
    left.invert_xaxis()
    left.yaxis.set_major_formatter(_percent_formatter())
    values = np.asarray([score.uar for score in rest])
    reach = np.abs(np.asarray([score.interval for score in rest]).reshape(-1, 2).T - values)
    right.errorbar(range(len(rest)), values, yerr=reach, color=GREEN, marker="D", ms=5, ls="none", capsize=3)
    right.set_xticks(range(len(rest)), [score.condition for score in rest], rotation=50, ha="right")
    right.set_xlim(-0.6, max(len(rest), 1) - 0.4)
    left.set_ylim(0.0, min(1.0, 0.05 + max(score.interval[1] for score in scores)))
    _legend(figure, left)
    return figure


def train_val_accuracy(history: History, path: Path, *, title: str) -> None:
    """Write `draw_train_val_accuracy` as PNG."""
    _save(draw_train_val_accuracy(history, title=title), path)


def draw_train_val_accuracy(history: History, *, title: str) -> Figure:
    """Draw training and validation accuracy and validation UAR over the epochs, the best epoch marked.

    Args:
        history: Columns "epoch", "accuracy", "val_accuracy", "val_uar", ...; NaN where a value is missing.
        title: What was trained, and how it was split.
    """
    figure = _figure(6.0, 3.9, "Accuracy while training", title)
    axes = figure.add_subplot()
    _curves(
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
    axes.yaxis.set_major_formatter(_percent_formatter())
    best = best_epoch(history)
    if best is not None:
        column = "val_uar" if _has(history, "val_uar") else "val_accuracy"
        value = _column(history, column)[best]
        _mark_epoch(axes, _epochs(history)[best], f"best epoch {_epochs(history)[best]:g}: {_percent(value)}")
        axes.plot(_epochs(history)[best], value, "o", ms=5, color=INK, zorder=5)
    _legend(figure, axes)
    return figure


def loss(history: History, path: Path, *, title: str) -> None:
    """Write `draw_loss` as PNG."""
    _save(draw_loss(history, title=title), path)


def draw_loss(history: History, *, title: str) -> Figure:
    """Draw training and validation loss over the epochs, and the learning rate below where it is known.

    Args:
        history: Columns "epoch", "loss", "val_loss", "learning_rate", ...; NaN where a value is missing.
        title: What was trained, and how it was split.
    """
    with_rate = _has(history, "learning_rate")
    figure = _figure(6.0, 4.6 if with_rate else 3.9, "Loss while training", title)
    if with_rate:
        axes, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3.4, 1.0]})
        _curves(below, history, {"learning_rate": ("learning rate", GREEN, "-")}, steps=True)
        rates = _column(history, "learning_rate")
        if np.nanmin(rates) > 0:
            below.set_yscale("log")
        below.set_ylabel("learning rate")
        below.set_xlabel("epoch")
    else:
        axes = figure.add_subplot()
        axes.set_xlabel("epoch")
    _curves(axes, history, {"loss": ("training loss", GREY, "-"), "val_loss": ("validation loss", BLUE, "-")})
    axes.set_ylabel("loss")
    best = best_epoch(history)
    if best is not None:
        _mark_epoch(axes, _epochs(history)[best], f"best epoch {_epochs(history)[best]:g}")
    _legend(figure, axes)
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


def reliability(
    targets: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    path: Path,
    *,
    title: str,
    calibrated: npt.ArrayLike | None = None,
) -> None:
    """Write `draw_reliability` as PNG."""
    _save(draw_reliability(targets, probabilities, title=title, calibrated=calibrated), path)


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
    figure = _figure(4.8, 5.6, "Reliability", title)
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
        panel.xaxis.set_major_formatter(_percent_formatter())
        panel.yaxis.set_major_formatter(_percent_formatter())
        _style(panel, grid="both")
    _legend(figure, axes)
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
    _save(draw_risk_coverage(targets, probabilities, title=title, abstained=abstained), path)


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
    figure = _figure(4.8, 3.9, "Risk and coverage", title)
    axes = figure.add_subplot()
    axes.axhline(error, color=INK, ls=":", lw=1.2, zorder=1, label=f"all answered: {_percent(error)} wrong")
    # Were all wrong answers less sure than all right ones, only they would be left to add.
    best = np.maximum(0.0, curve.coverage - (1.0 - error)) / curve.coverage
    axes.plot(curve.coverage, best, color=GREY, ls="--", lw=1.2, zorder=2, label="best possible order")
    axes.plot(curve.coverage, curve.risk, color=BLUE, lw=1.6, zorder=3, label=f"surest first: area {curve.area:.3f}")
    if abstained is not None and abstained.any() and not abstained.all():
        wrong = np.asarray(probabilities).argmax(axis=1) != np.asarray(targets)
        answered, risk = float(1.0 - abstained.mean()), float(wrong[~abstained].mean())
        label = f"unsure left out: {_percent(answered)} answered, {_percent(risk)} wrong"
        axes.plot(answered, risk, "D", ms=6, color=VERMILION, zorder=4, label=label)
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(0.0, min(1.0, 1.15 * max(error, float(curve.risk[len(curve.risk) // 20 :].max()), 0.05)))
    axes.set_xlabel("share of clips answered (coverage)")
    axes.set_ylabel("share of wrong answers (risk)")
    axes.xaxis.set_major_formatter(_percent_formatter())
    axes.yaxis.set_major_formatter(_percent_formatter())
    _style(axes, grid="both")
    _legend(figure, axes)
    return figure


def per_group(report: Report, kind: str, path: Path, *, genders: Mapping[str, str] | None = None) -> None:
    """Write `draw_per_group` as PNG."""
    _save(draw_per_group(report, kind, genders=genders), path)


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
    figure = _figure(5.6, max(2.4, inches), f"UAR by {kind}", _summary(report))
    axes = figure.add_subplot()
    average = report.metrics["uar"]
    axes.axvline(average, color=INK, ls="--", lw=1.2, zorder=1, label=f"UAR of all {_percent(average)}")
    axes.hlines(range(len(names)), average, values, color=PALE, lw=2.0, zorder=2)
    colours = dict(zip(sorted(set(known.values()) - {""}), GROUP_COLOURS, strict=False))
    for gender in sorted(set(known.values())):
        rows = [row for row, name in enumerate(names) if known[name] == gender]
        colour = colours.get(gender, BLUE if not colours else GREY)
        named = _plain(gender) or "gender unknown"
        label = f"{named}, mean {_percent(float(values[rows].mean()))}" if colours else None
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
        axes.set_yticks(range(len(names)), [f"{_plain(name)} ({groups[name]['n_clips']:g})" for name in names])
        axes.set_ylabel(f"{kind} (clips)")
    else:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(names)} {kind}s, sorted")
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.set_xlim(0.0, 1.0)
    axes.set_xlabel("UAR")
    axes.xaxis.set_major_formatter(_percent_formatter())
    _style(axes, grid="x")
    axes.tick_params(axis="y", length=0)
    _legend(figure, axes)
    return figure


def differences(found: Sequence[Difference], path: Path, *, title: str) -> None:
    """Write `draw_differences` as PNG."""
    _save(draw_differences(found, title=title), path)


def draw_differences(found: Sequence[Difference], *, title: str) -> Figure:
    """Draw paired differences between models with their intervals, one line each (a forest plot).

    Args:
        found: As `compare` returns them, at least one.
        title: What was compared, and on what.
    """
    letters = max(len(each.first) + len(each.second) for each in found)
    figure = _figure(4.6 + 0.07 * letters, 0.42 * len(found) + 1.3, "Differences, paired by clip", title)
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
    axes.set_yticks(range(len(found)), [_plain(f"{each.first} less {each.second}") for each in found])
    axes.set_ylim(len(found) - 0.3, -0.8)
    widest = 1.15 * max(max(abs(each.low), abs(each.high)) for each in found) or 0.01
    axes.set_xlim(-widest, widest)
    axes.set_xlabel("difference, with its 95 % interval; right of the line the first is better")
    axes.xaxis.set_major_formatter(_percent_formatter(decimals=None))
    _style(axes, grid="x")
    axes.tick_params(axis="y", length=0)
    _legend(figure, axes)
    return figure


def speaker_scatter(
    per_speaker: Mapping[str, Mapping[str, float]], path: Path, *, title: str, genders: Mapping[str, str] | None = None
) -> None:
    """Write `draw_speaker_scatter` as PNG."""
    _save(draw_speaker_scatter(per_speaker, title=title, genders=genders), path)


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
    figure = _figure(max(4.2, 3.2 * n_columns), 3.4 * n_rows + 0.3, "UAR of each speaker", title)
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
                label=_plain(gender) if gender else None,
            )
        axes.set_xlim(0.0, 1.0)
        axes.set_ylim(0.0, 1.0)
        axes.set_aspect("equal")
        axes.set_xlabel(_plain(_shorten(one, 40)))
        axes.set_ylabel(_plain(_shorten(other, 40)))
        axes.xaxis.set_major_formatter(_percent_formatter())
        axes.yaxis.set_major_formatter(_percent_formatter())
        _style(axes, grid="both")
    for axes in grid[len(pairs) :]:
        axes.set_axis_off()
    _legend(figure, grid[0])
    return figure


def class_balance(counts: Mapping[str, int], path: Path, *, title: str) -> None:
    """Write `draw_class_balance` as PNG."""
    _save(draw_class_balance(counts, title=title), path)


def draw_class_balance(counts: Mapping[str, int], *, title: str) -> Figure:
    """Draw how many clips each class has, in the order given, with the even share dashed."""
    total = sum(counts.values())
    figure = _figure(5.6, max(2.2, 0.3 * len(counts) + 1.4), "Clips by emotion", title)
    axes = figure.add_subplot()
    bars = axes.barh(range(len(counts)), list(counts.values()), height=0.72, color=BLUE, zorder=2)
    texts = [f"{n:,} ({_percent(n / max(total, 1))})" for n in counts.values()]
    axes.bar_label(bars, texts, padding=3, size=TEXT_SIZE, color=INK, zorder=5, path_effects=_outline())
    even = total / max(len(counts), 1)
    axes.axvline(even, color=VERMILION, ls="--", lw=1.4, zorder=3, label=f"even share {even:,.0f}")
    axes.set_yticks(range(len(counts)), [_plain(label) for label in counts])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * max([*counts.values(), 1]))
    axes.set_xlabel(f"clips ({total:,} in all)")
    axes.xaxis.set_major_locator(_whole_numbers())
    _style(axes, grid="x")
    axes.tick_params(axis="y", length=0)
    _legend(figure, axes)
    return figure


def spectrogram_sheet(
    examples: Mapping[str, Sequence[tuple[str, npt.NDArray[Any]]]],
    path: Path,
    *,
    title: str,
    config: SpectrogramConfig | None = None,
) -> None:
    """Write `draw_spectrogram_sheet` as PNG."""
    _save(draw_spectrogram_sheet(examples, title=title, config=config), path)


def draw_spectrogram_sheet(
    examples: Mapping[str, Sequence[tuple[str, npt.NDArray[Any]]]],
    *,
    title: str,
    config: SpectrogramConfig | None = None,
) -> Figure:
    """Draw example spectrograms, one row for each class.

    Args:
        examples: Label -> (name, spectrogram) pairs: log-mels in dB, shape (n_frames, n_mels), as
            `spectrogram.log_mel` returns them, or RGB pictures, shape (height, width, 3). Log-mels share one time
            scale, so that long and short clips can be told apart.
        title: What is shown.
        config: How log-mels were made; needed for them.

    Raises:
        SettingsError: There are no examples, or log-mels without `config`.
    """
    n_columns = max((len(row) for row in examples.values()), default=0)
    if n_columns == 0:
        raise SettingsError("no example spectrograms to draw; expected at least one")
    arrays = [array for row in examples.values() for _, array in row]
    log_mels = any(array.ndim == 2 for array in arrays)
    width, height = (2.5, 1.35) if log_mels else (1.45, 1.55)
    figure = _figure(width * n_columns + 1.4, height * len(examples) + 0.5, "Example spectrograms", title)
    grid = figure.subplots(len(examples), n_columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    images = {}
    for row, (label, pairs) in enumerate(examples.items()):
        for column, (name, array) in enumerate(pairs):
            axes = grid[row, column]
            axes.set_axis_on()
            image = _show_spectrogram(axes, array, config)
            if array.ndim == 2:
                images[axes] = image
            last = row == len(examples) - 1 or column >= len(list(examples.values())[row + 1])
            axes.tick_params(labelleft=column == 0, labelbottom=last)
            axes.set(xlabel="", ylabel="")
            axes.set_title(_plain(_shorten(name, 34)), size=SMALL_SIZE, color=GREY, pad=3)
            if column == 0:
                axes.set_ylabel(_plain(label), size=TEXT_SIZE + 1, weight="bold", color=INK)
    if images:
        for axes in images:
            axes.set_xlim(0.0, max(image.get_extent()[1] for image in images.values()))
        figure.supxlabel("time (s)", size=TEXT_SIZE, color=INK)
        figure.supylabel("frequency (kHz)", size=TEXT_SIZE, color=INK)
        _decibel_bar(figure, next(iter(images.values())), grid.ravel().tolist())
    return figure


def prediction(
    spectrogram: npt.NDArray[Any], config: SpectrogramConfig, prediction: Prediction, path: Path, *, title: str
) -> None:
    """Write `draw_prediction` as PNG."""
    _save(draw_prediction(spectrogram, config, prediction, title=title), path)


def draw_prediction(
    spectrogram: npt.NDArray[Any], config: SpectrogramConfig, prediction: Prediction, *, title: str
) -> Figure:
    """Draw what a model heard beside what it answered.

    Args:
        spectrogram: Log-mel in dB, shape (n_frames, n_mels), as `spectrogram.log_mel` returns it, or an RGB picture,
            shape (height, width, 3).
        config: How it was made.
        prediction: The answer.
        title: The clip's name.
    """
    sure = _percent(prediction.confidence)
    answer = (
        f"unsure (most likely {prediction.label}, {sure})" if prediction.abstained else f"{prediction.label}, {sure}"
    )
    figure = _figure(8.4, max(3.2, 0.26 * len(prediction.scores) + 1.3), answer, title)
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.9 if spectrogram.ndim == 2 else 1.1, 1.0]})
    image = _show_spectrogram(left, spectrogram, config)
    if spectrogram.ndim == 2:
        _decibel_bar(figure, image, [left])
    labels, scores = list(prediction.scores), list(prediction.scores.values())
    chosen = GREY if prediction.abstained else VERMILION
    colours = [chosen if label == prediction.label else BLUE for label in labels]
    bars = right.barh(range(len(labels)), scores, height=0.72, color=colours, zorder=2)
    right.bar_label(bars, [_percent(score) for score in scores], padding=3, size=TEXT_SIZE, color=INK)
    right.set_yticks(range(len(labels)), [_plain(label) for label in labels])
    for tick, label in zip(right.get_yticklabels(), labels, strict=True):
        tick.set_fontweight("bold" if label == prediction.label else "normal")
    right.invert_yaxis()
    right.set_xlim(0.0, 1.28)  # room for the figures beside the bars
    right.set_xticks([0.0, 0.5, 1.0])
    right.xaxis.set_major_formatter(_percent_formatter())
    right.set_xlabel("probability")
    _style(right, grid="x")
    right.tick_params(axis="y", length=0)
    return figure


def corpus_pairs(pairs: Sequence[CorpusPair], path: Path, *, title: str) -> None:
    """Write `draw_corpus_pairs` as PNG."""
    _save(draw_corpus_pairs(pairs, title=title), path)


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
    figure = _figure(1.25 * len(names) + 1.9 + 0.06 * letters, 0.85 * len(names) + 1.1, "From corpus to corpus", title)
    axes = figure.add_subplot()
    image = axes.imshow(gains, cmap="cividis", vmin=0.0, vmax=1.0, aspect="auto")
    for pair in pairs:
        row, column = names.index(pair.trained), names.index(pair.tested)
        low, high = (100 * bound for bound in pair.interval)
        axes.text(
            column,
            row,
            f"{_percent(pair.uar)}{'*' if pair.caveat else ''}\n{low:.1f} to {high:.1f}\n{len(pair.labels)} labels",
            ha="center",
            va="center",
            size=SMALL_SIZE,
            linespacing=1.3,
            color=text_colour(image.cmap(image.norm(gains[row, column]))),
        )
        if pair.within:
            axes.add_patch(_frame(row, column))
    axes.set_xticks(range(len(names)), [_plain(name) for name in names])
    axes.set_yticks(range(len(names)), [_plain(name) for name in names])
    caveats = dict.fromkeys(pair.caveat for pair in pairs if pair.caveat)
    axes.set_xlabel("\n".join(["judged on", *(f"* {caveat}" for caveat in caveats)]))
    axes.set_ylabel("trained on" if any(pair.within for pair in pairs) else "labels of (all others trained)")
    _style(axes, grid=None)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(image, ax=axes, fraction=0.045, pad=0.02)
    bar.set_label("UAR, from chance to all right", size=TEXT_SIZE, color=INK)
    bar.ax.yaxis.set_major_formatter(_percent_formatter())
    bar.ax.tick_params(labelsize=SMALL_SIZE, colors=INK)
    bar.outline.set_visible(False)
    return figure


def _frame(row: int, column: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.47, row - 0.46), 0.94, 0.92, fill=False, edgecolor=VERMILION, lw=1.6)


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

    Returns:
        The files written: confusion_matrix.png, per_class_accuracy.png, train_val_accuracy.png, loss.png,
        reliability.png, risk_coverage.png, per_speaker.png, per_gender.png, per_intensity.png and per_corpus.png, as
        far as they apply.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: A file could not be written.
    """
    figures = {
        "confusion_matrix": draw_confusion_matrix(report),
        "per_class_accuracy": draw_per_class_accuracy(report),
    }
    if history is not None and len(_epochs(history)):
        figures["train_val_accuracy"] = draw_train_val_accuracy(history, title=report.protocol)
        figures["loss"] = draw_loss(history, title=report.protocol)
    figures["reliability"] = draw_reliability(targets, probabilities, title=report.protocol, calibrated=calibrated)
    answers = probabilities if calibrated is None else calibrated
    figures["risk_coverage"] = draw_risk_coverage(targets, answers, title=report.protocol, abstained=abstained)
    genders = speaker_genders(clips)
    for kind in report.per_group:
        figures[f"per_{kind}"] = draw_per_group(report, kind, genders=genders if kind == "speaker" else None)
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        _save(figure, paths[-1])
    return paths


def _figure(width: float, height: float, title: str, subtitle: str) -> Figure:
    """Return a figure with a bold title and a smaller subtitle at the top left; sizes in inches.

    The head is added to the height, so that a long protocol makes the figure taller and never the plot smaller.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("drawing plots", "train") from None
    lines = textwrap.wrap(subtitle, width=int(width * 17))  # about 17 letters of the small size fit in an inch
    head = 0.34 + 0.15 * len(lines)
    figure = Figure(figsize=(width, height + head), dpi=DOTS_PER_INCH, facecolor="white")
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", rect=(0.0, 0.0, 1.0, 1.0 - head / (height + head)))
    top = 1.0 - 0.1 / (height + head)
    figure.text(0.1 / width, top, _plain(title), size=TITLE_SIZE, weight="bold", color=INK, va="top")
    below = 1.0 - 0.32 / (height + head)
    figure.text(0.1 / width, below, _plain("\n".join(lines)), size=SMALL_SIZE, color=GREY, va="top", linespacing=1.3)
    return figure


def _style(axes: Axes, *, grid: str | None) -> None:
    """Give axes the look that all plots share; `grid` is "x", "y", "both" or None."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
    axes.tick_params(labelsize=TEXT_SIZE, colors=INK, color=GREY)
    axes.xaxis.label.set(size=TEXT_SIZE, color=INK)
    axes.yaxis.label.set(size=TEXT_SIZE, color=INK)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=PALE, lw=0.6)  # type: ignore[arg-type]  # a Literal


def _legend(figure: Figure, axes: Axes) -> None:
    """Put the legend above the plot, where it never hides data, in as many columns as fit."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    column_inches = 0.5 + 0.062 * max(len(label) for label in labels)  # handle and gap, then letters of SMALL_SIZE
    legend = axes.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=min(len(labels), max(1, int((figure.get_figwidth() - 0.9) / column_inches))),
        frameon=False,
        fontsize=SMALL_SIZE,
        labelcolor=INK,
        borderaxespad=0.2,
        handlelength=1.8,
        columnspacing=1.4,
    )
    legend.set_zorder(6)


def _save(figure: Figure, path: Path) -> None:
    with files.writing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DOTS_PER_INCH)


def _summary(report: Report) -> str:
    """Return the figures that no plot should go without: UAR with its interval, accuracy, clips, and the protocol."""
    low, high = report.intervals.get("uar", (np.nan, np.nan))
    interval = f" (95 % interval {100 * low:.1f} to {100 * high:.1f})" if low < high else ""
    return (
        f"UAR {_percent(report.metrics['uar'])}{interval}, accuracy {_percent(report.metrics['accuracy'])}, "
        f"{report.metrics['n_clips']:,.0f} clips. {report.protocol}"
    )


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _percent_formatter(*, decimals: int | None = 0) -> Any:
    from matplotlib.ticker import PercentFormatter

    return PercentFormatter(1.0, decimals=decimals, symbol=" %")


def _whole_numbers() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(integer=True, min_n_ticks=1)


def _outline() -> list[Any]:
    """Return a white rim for texts, so that lines may run behind them."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.5, foreground="white")]


def _plain(text: str) -> str:
    """Keep matplotlib from reading dollar signs in names as formulas."""
    return text.replace("$", r"\$")


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _column(history: History, name: str) -> FloatArray:
    return np.asarray(history[name], dtype=np.float64)


def _has(history: History, name: str) -> bool:
    return name in history and bool(np.isfinite(_column(history, name)).any())


def _epochs(history: History) -> FloatArray:
    if "epoch" in history:
        return _column(history, "epoch")
    return np.arange(1.0, 1.0 + max((len(column) for column in history.values()), default=0))


def _curves(axes: Axes, history: History, columns: Mapping[str, tuple[str, str, str]], *, steps: bool = False) -> None:
    """Draw the columns that are there: name -> (label, colour, line style)."""
    epochs = _epochs(history)
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
    axes.xaxis.set_major_locator(_whole_numbers())
    _style(axes, grid="y")


def _mark_epoch(axes: Axes, epoch: float, label: str) -> None:
    axes.axvline(epoch, color=INK, ls=":", lw=1.2, zorder=1, label=label)


def _show_spectrogram(axes: Axes, array: npt.NDArray[Any], config: SpectrogramConfig | None) -> Any:
    """Draw a log-mel with axes in seconds and kHz, or an RGB picture without axes."""
    if array.ndim == 3:
        axes.set_xticks([])
        axes.set_yticks([])
        return axes.imshow(array)
    if config is None:
        raise SettingsError("log-mel spectrograms without their config; give the config that they were made with")
    step_s = config.hop_length / config.sample_rate
    image = axes.imshow(
        array.T - array.max(),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap="magma",
        vmin=-config.top_db,
        vmax=0.0,
        # Frame k is centred on k steps, band b on b.
        extent=(-0.5 * step_s, (len(array) - 0.5) * step_s, -0.5, array.shape[1] - 0.5),
    )
    axes.set_xlim(left=0.0)
    centres = band_centres_hz(config)
    ticks = [khz for khz in TICKS_KHZ if centres[0] <= 1000 * khz <= centres[-1]]
    axes.set_yticks(np.interp([1000 * khz for khz in ticks], centres, np.arange(len(centres))).tolist())
    axes.set_yticklabels([f"{khz:g}" for khz in ticks])
    axes.set_ylabel("frequency (kHz)")
    axes.set_xlabel("time (s)")
    _style(axes, grid=None)
    axes.tick_params(labelsize=SMALL_SIZE)
    return image


def _decibel_bar(figure: Figure, image: Any, axes: list[Axes]) -> None:
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    bar.set_label("dB re the clip's loudest point", size=SMALL_SIZE, color=INK)
    bar.ax.tick_params(labelsize=SMALL_SIZE, colors=INK)
    bar.outline.set_visible(False)

"""What all plots share: colours, sizes, head, legend, numbers in words, and saving."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from emogram import files
from emogram.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 200
TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000, 16000)
SECONDS_UP_TO = 120.0  # longer time axes count minutes

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
LIGHT_BLUE = "#8FC3E8"
INK, GREY, PALE = "#222222", "#666666", "#D9D9D9"
GROUP_COLOURS = (PURPLE, BLUE, GREEN, VERMILION)

# The eight of Okabe and Ito, with a grey in place of black, each where most people expect it.
EMOTION_COLOURS = {
    "angry": VERMILION,
    "calm": "#56B4E9",
    "disgust": GREEN,
    "fearful": PURPLE,
    "happy": "#F0E442",
    "neutral": "#999999",
    "sad": BLUE,
    "surprised": "#E69F00",
}

TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 11.0, 9.0, 7.5  # points, readable when printed at column width


def new_figure(width: float, height: float, title: str, subtitle: str) -> Figure:
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
    figure.text(0.1 / width, top, plain(title), size=TITLE_SIZE, weight="bold", color=INK, va="top")
    below = 1.0 - 0.32 / (height + head)
    figure.text(0.1 / width, below, plain("\n".join(lines)), size=SMALL_SIZE, color=GREY, va="top", linespacing=1.3)
    return figure


def style_axes(axes: Axes, *, grid: str | None) -> None:
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


def style_frequencies(axes: Axes, centres_hz: npt.NDArray[np.float64], *, hertz: bool = False) -> None:
    """Write kHz, or Hz, along mel bands that lie at 0, 1, 2, ... of the y axis."""
    ticks = [tick for tick in TICKS_HZ if centres_hz[0] <= tick <= centres_hz[-1]]
    axes.set_yticks(np.interp(ticks, centres_hz, np.arange(len(centres_hz))).tolist())
    axes.set_yticklabels([f"{tick:,}" if hertz else f"{tick / 1000:g}" for tick in ticks])
    axes.set_ylabel("frequency (Hz)" if hertz else "frequency (kHz)")


def style_times(axes: Axes, start_s: float, end_s: float) -> None:
    """Let the x axis run from start to end, with seconds, or minutes where it is long."""
    ticks = time_ticks(start_s, end_s, most=11)
    axes.set_xlim(start_s, end_s)
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set_xlabel("time (s)" if end_s <= SECONDS_UP_TO else "time")


def draw_envelope(
    axes: Axes,
    edges_s: npt.NDArray[np.float64],
    low: npt.NDArray[np.float32],
    high: npt.NDArray[np.float32],
    rms: npt.NDArray[np.float32],
) -> None:
    """Draw a waveform: the band between its lowest and highest samples, and how loud it is within.

    Args:
        axes: Where.
        edges_s: Borders of the columns, shape (n_columns + 1,).
        low: Lowest sample of each, shape (n_columns,); NaN where there is none.
        high: Highest sample.
        rms: Root of the mean square.
    """
    axes.stairs(high, edges_s, baseline=low, fill=True, color=LIGHT_BLUE, lw=0.3, ec=LIGHT_BLUE)
    axes.stairs(np.minimum(rms, high), edges_s, baseline=np.maximum(-rms, low), fill=True, color=BLUE, lw=0.0)
    peak = max(float(np.nanmax(np.abs([low, high]), initial=0.0)), 1e-9)
    axes.set_ylim(-1.05 * peak, 1.05 * peak)
    axes.set_yticks([])
    style_axes(axes, grid=None)
    axes.spines["left"].set_visible(False)


def style_table(figure: Figure, axes: Axes, image: Any, label: str) -> None:
    """Give a table of coloured cells its look, with a bar beside it that tells what share each colour is."""
    style_axes(axes, grid=None)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(image, ax=axes, fraction=0.045, pad=0.02)
    bar.set_label(label, size=TEXT_SIZE, color=INK)
    bar.ax.yaxis.set_major_formatter(percent_formatter())
    bar.ax.tick_params(labelsize=SMALL_SIZE, colors=INK)
    bar.outline.set_visible(False)


def text_colour(background: npt.ArrayLike) -> str:
    """Return black or white, whichever stands out more from an RGB(A) colour in [0, 1].

    By the contrast ratio of WCAG 2.1 (W3C Recommendation, 2018), which is even at a relative luminance of 0.179.
    """
    rgb = np.asarray(background, dtype=np.float64)[:3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return "black" if float(linear @ [0.2126, 0.7152, 0.0722]) > 0.179 else "white"


def label_colours(labels: Sequence[str]) -> dict[str, str]:
    """Return the colour of each label: its own where it is one of the eight, else one that is free.

    Past eight labels colours come again, so a label must stand beside its colour.
    """
    free = [colour for label, colour in EMOTION_COLOURS.items() if label not in labels] or list(
        EMOTION_COLOURS.values()
    )
    others = [label for label in labels if label not in EMOTION_COLOURS]
    given = {label: free[place % len(free)] for place, label in enumerate(others)}
    return {label: EMOTION_COLOURS.get(label) or given[label] for label in labels}


def time_ticks(start_s: float, end_s: float, *, most: int) -> dict[float, str]:
    """Return round times within a stretch, at most so many, and how they are written: "2.5", "0:30" or "1:15:00".

    Seconds where the stretch ends within two minutes, else minutes and seconds.
    """
    steps = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800)
    step = next((step for step in (*steps, 21600) if (end_s - start_s) / step < most), 86400.0)
    first, last = int(np.ceil(start_s / step - 1e-9)), int(np.floor(end_s / step + 1e-9))
    return {count * step: time_text(count * step, seconds=end_s <= SECONDS_UP_TO) for count in range(first, last + 1)}


def time_text(seconds_s: float, *, seconds: bool = False) -> str:
    """Return a time such as "75:00:05", "1:15" or, with `seconds`, "75"; to the hundredth where it is not whole."""
    if seconds:
        return f"{round(seconds_s, 2):g}"
    hundredths = round(100 * seconds_s)
    minutes, rest = divmod(hundredths, 6000)
    text = f"{rest // 100:02d}" + (f".{rest % 100:02d}" if rest % 100 else "")
    return f"{minutes // 60}:{minutes % 60:02d}:{text}" if minutes >= 60 else f"{minutes}:{text}"


def length_text(seconds: float) -> str:
    """Return a length such as "1:15:00", "0:48" or, below ten seconds, "3.2 s"."""
    return f"{seconds:.1f} s" if seconds < 9.95 else time_text(round(seconds))


def add_legend(figure: Figure, axes: Axes) -> None:
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


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with files.writing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DOTS_PER_INCH)


def percent(fraction: float) -> str:
    """Return a fraction in percent, such as "12.5 %"."""
    return f"{100 * fraction:.1f} %"


def percent_formatter(*, decimals: int | None = 0) -> Any:
    """Return what writes the fractions of an axis in percent; the decimals follow the range where None."""
    from matplotlib.ticker import PercentFormatter

    return PercentFormatter(1.0, decimals=decimals, symbol=" %")


def whole_numbers() -> Any:
    """Return what puts the ticks of an axis at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(integer=True, min_n_ticks=1)


def outline() -> list[Any]:
    """Return a white rim for texts, so that lines may run behind them."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.5, foreground="white")]


def plain(text: str) -> str:
    """Keep matplotlib from reading dollar signs in names as formulas."""
    return text.replace("$", r"\$")


def shorten(text: str, length: int) -> str:
    """Return text of that many letters at the most."""
    return text if len(text) <= length else text[: length - 1] + "…"

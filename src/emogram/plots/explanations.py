"""The plot of an explanation: the waveform, what the model heard, and what in it spoke for each emotion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emogram.plots.style import (
    GREY,
    INK,
    SMALL_SIZE,
    TEXT_SIZE,
    draw_envelope,
    new_figure,
    percent,
    plain,
    save,
    style_axes,
    style_frequencies,
    style_times,
)
from emogram.records import Explanation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METHOD_WORDS = {
    "grad-cam": "Grad-CAM: where the convolutions saw what speaks for the emotion",
    "occlusion": "Occlusion: where hiding a patch makes the emotion less likely",
}
N_COLUMNS = 800  # of the waveform
FULL_COLOUR = 0.995  # share of the maps below the strongest colour


def explanation(explanation: Explanation, path: Path, *, title: str) -> None:
    """Write `draw_explanation` as PNG."""
    save(draw_explanation(explanation, title=title), path)


def draw_explanation(explanation: Explanation, *, title: str) -> Figure:
    """Draw the map of each label over the spectrogram, the waveform above; seconds and hertz on the axes.

    Orange spoke for the label and blue against it, the stronger the colour the more; the colours of all maps mean the
    same.

    Args:
        explanation: As `explain` returns it.
        title: The sound's name.
    """
    said = explanation.prediction
    answer = f"unsure, most likely {said.label}" if said.abstained else said.label
    figure = new_figure(
        8.4,
        0.7 + 1.75 * len(explanation.labels) + 0.5,
        f"Why {answer}, {percent(said.confidence)}",
        f"{title}. {METHOD_WORDS[explanation.method]}. Grey: what the model heard, darker is louder; silence that it "
        "does not hear is left out at both ends.",
    )
    panels = figure.subplots(
        1 + len(explanation.labels),
        1,
        sharex=True,
        squeeze=False,
        gridspec_kw={"height_ratios": [0.6] + [1.75] * len(explanation.labels)},
    )[:, 0]
    end_s = explanation.start_s + len(explanation.waveform) / explanation.sample_rate
    _draw_waveform(panels[0], explanation)
    # Not the greatest of all, or one hot spot would leave the rest of the maps white.
    limit = max(float(np.quantile(np.abs(explanation.maps), FULL_COLOUR)), 1e-12)
    image: Any = None
    for place, label in enumerate(explanation.labels):
        axes = panels[1 + place]
        image = _draw_map(axes, explanation, place, limit)
        axes.set_title(
            plain(f"{label}, {percent(said.scores[label])}"),
            size=TEXT_SIZE,
            weight="bold",
            color=INK,
            loc="left",
            pad=3,
        )
    for axes in panels:
        style_times(axes, explanation.start_s, end_s)
        axes.tick_params(labelsize=SMALL_SIZE, labelbottom=axes is panels[-1])
        if axes is not panels[-1]:
            axes.set_xlabel("")
    bar = figure.colorbar(image, ax=list(panels[1:]), fraction=0.03, pad=0.015)
    bar.set_ticks([-limit, 0.0, limit], labels=["spoke\nagainst", "no say", "spoke\nfor"])
    bar.ax.tick_params(labelsize=SMALL_SIZE, colors=INK, length=0)
    bar.outline.set_visible(False)
    return figure


def _draw_waveform(axes: Axes, explanation: Explanation) -> None:
    n_samples = len(explanation.waveform)
    borders = np.unique(np.linspace(0, n_samples, min(N_COLUMNS, n_samples) + 1).astype(int))
    low = np.minimum.reduceat(explanation.waveform, borders[:-1])
    high = np.maximum.reduceat(explanation.waveform, borders[:-1])
    squares = np.add.reduceat(np.square(explanation.waveform), borders[:-1])
    rms = np.sqrt(squares / np.diff(borders)).astype(np.float32)
    draw_envelope(axes, explanation.start_s + borders / explanation.sample_rate, low, high, rms)
    axes.set_ylabel("waveform", size=SMALL_SIZE)


def _draw_map(axes: Axes, explanation: Explanation, place: int, limit: float) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    step_s = float(np.diff(explanation.times_s).mean()) if len(explanation.times_s) > 1 else 0.01
    n_mels = len(explanation.frequencies_hz)
    look: dict[str, Any] = {
        "origin": "lower",
        "aspect": "auto",
        "extent": (explanation.times_s[0] - step_s / 2, explanation.times_s[-1] + step_s / 2, -0.5, n_mels - 0.5),
    }
    axes.imshow(explanation.spectrogram.T, cmap="Greys", vmin=0.0, vmax=1.25, interpolation="nearest", **look)
    map_ = explanation.maps[place].T
    # Clear where the map says nothing, so that the sound shows through.
    colours = LinearSegmentedColormap.from_list(
        "for and against",
        [(0.0, (0.0, 0.35, 0.7, 0.85)), (0.5, (1.0, 1.0, 1.0, 0.0)), (1.0, (0.9, 0.4, 0.0, 0.85))],
    )
    image = axes.imshow(map_, cmap=colours, vmin=-limit, vmax=limit, interpolation="bilinear", **look)
    if map_.max() > 0.4 * limit:  # a line around what speaks most, for eyes that do not tell the colours apart
        axes.contour(
            explanation.times_s,
            np.arange(n_mels),
            map_,
            levels=[explanation.mark_level(place)],
            colors=[INK],
            linewidths=0.9,
        )
    style_frequencies(axes, explanation.frequencies_hz, hertz=True)
    axes.set_ylim(-0.5, n_mels - 0.5)
    style_axes(axes, grid=None)
    axes.spines["left"].set_color(GREY)
    axes.yaxis.label.set_fontsize(SMALL_SIZE)
    return image

"""Plot of what a network is trained on: clips as they were recorded, and as training changed them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from emogram.config import SpectrogramConfig
from emogram.errors import SettingsError
from emogram.plots.style import (
    GREY,
    INK,
    SMALL_SIZE,
    TEXT_SIZE,
    new_figure,
    plain,
    shorten,
    style_axes,
    style_frequencies,
)
from emogram.spectrogram import band_centres_hz

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Example:
    """A clip before and after augmentation.

    Attributes:
        label: What was meant.
        name: The clip's name.
        before: Model input, shape (n_frames, n_bands, 1) or (height, width, 3), in [0, 1].
        after: The same, cut and changed.
        says: What the changed one stands for, such as "angry 70 %, sad 30 %".
    """

    label: str
    name: str
    before: npt.NDArray[Any]
    after: npt.NDArray[Any]
    says: str


def draw_examples(examples: Sequence[Example], config: SpectrogramConfig | None, *, title: str) -> Figure:
    """Draw a row for each example: as recorded on the left, as trained on, on the right.

    Args:
        examples: All log-mels, or all pictures.
        config: How log-mels were made; of bands that follow the mel bands nothing is drawn.
        title: What is shown.

    Raises:
        SettingsError: There are no examples.
    """
    if not examples:
        raise SettingsError("no examples to draw; expected at least one")
    log_mels = examples[0].before.shape[-1] == 1
    width, height = (3.0, 1.2) if log_mels else (1.6, 1.7)
    figure = new_figure(2 * width + 0.9, height * len(examples) + 0.4, "As recorded, and as trained on", title)
    grid = figure.subplots(len(examples), 2, squeeze=False)
    step_s = config.hop_length / config.sample_rate if config is not None and log_mels else 1.0
    longest = max(len(array) for example in examples for array in (example.before, example.after))
    for place, (row, example) in enumerate(zip(grid, examples, strict=True)):
        for axes, array, words in zip(row, (example.before, example.after), (example.name, example.says), strict=True):
            if log_mels:
                _show_log_mel(axes, array, config, step_s)
                axes.set_xlim(0.0, longest * step_s)
                axes.tick_params(labelleft=axes is row[0], labelbottom=place == len(examples) - 1)
            else:
                axes.imshow(array, vmin=0.0, vmax=1.0)
                axes.set_xticks([])
                axes.set_yticks([])
            axes.set_title(plain(shorten(words, 44 if log_mels else 26)), size=SMALL_SIZE, color=GREY, pad=3)
        row[0].set_ylabel(plain(example.label), size=TEXT_SIZE + 1, weight="bold", color=INK)
    if log_mels:
        figure.supxlabel("time (s)" if config is not None else "frames", size=TEXT_SIZE, color=INK)
        figure.supylabel("frequency (kHz)" if config is not None else "bands", size=TEXT_SIZE, color=INK)
    return figure


def _show_log_mel(axes: Axes, array: npt.NDArray[Any], config: SpectrogramConfig | None, step_s: float) -> None:
    bands = array[:, : config.n_mels if config is not None else None, 0]
    axes.imshow(
        bands.T,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap="magma",
        vmin=0.0,
        vmax=1.0,
        extent=(0.0, len(bands) * step_s, -0.5, bands.shape[1] - 0.5),
    )
    style_axes(axes, grid=None)
    if config is not None:
        style_frequencies(axes, band_centres_hz(config))
    axes.set_ylabel("")
    axes.tick_params(labelsize=SMALL_SIZE)

"""Plots of clips: how many of each emotion, example spectrograms, what a model heard and what it answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from emogram.config import SpectrogramConfig
from emogram.errors import SettingsError
from emogram.plots.style import (
    BLUE,
    GREY,
    INK,
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
    shorten,
    style_axes,
    style_frequencies,
    whole_numbers,
)
from emogram.records import Prediction
from emogram.spectrogram import band_centres_hz

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def class_balance(counts: Mapping[str, int], path: Path, *, title: str) -> None:
    """Write `draw_class_balance` as PNG."""
    save(draw_class_balance(counts, title=title), path)


def draw_class_balance(counts: Mapping[str, int], *, title: str) -> Figure:
    """Draw how many clips each class has, in the order given, with the even share dashed."""
    total = sum(counts.values())
    figure = new_figure(5.6, max(2.2, 0.3 * len(counts) + 1.4), "Clips by emotion", title)
    axes = figure.add_subplot()
    bars = axes.barh(range(len(counts)), list(counts.values()), height=0.72, color=BLUE, zorder=2)
    texts = [f"{n:,} ({percent(n / max(total, 1))})" for n in counts.values()]
    axes.bar_label(bars, texts, padding=3, size=TEXT_SIZE, color=INK, zorder=5, path_effects=outline())
    even = total / max(len(counts), 1)
    axes.axvline(even, color=VERMILION, ls="--", lw=1.4, zorder=3, label=f"even share {even:,.0f}")
    axes.set_yticks(range(len(counts)), [plain(label) for label in counts])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * max([*counts.values(), 1]))
    axes.set_xlabel(f"clips ({total:,} in all)")
    axes.xaxis.set_major_locator(whole_numbers())
    style_axes(axes, grid="x")
    axes.tick_params(axis="y", length=0)
    add_legend(figure, axes)
    return figure


def spectrogram_sheet(
    examples: Mapping[str, Sequence[tuple[str, npt.NDArray[Any]]]],
    path: Path,
    *,
    title: str,
    config: SpectrogramConfig | None = None,
) -> None:
    """Write `draw_spectrogram_sheet` as PNG."""
    save(draw_spectrogram_sheet(examples, title=title, config=config), path)


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
    figure = new_figure(width * n_columns + 1.4, height * len(examples) + 0.5, "Example spectrograms", title)
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
            axes.set_title(plain(shorten(name, 34)), size=SMALL_SIZE, color=GREY, pad=3)
            if column == 0:
                axes.set_ylabel(plain(label), size=TEXT_SIZE + 1, weight="bold", color=INK)
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
    save(draw_prediction(spectrogram, config, prediction, title=title), path)


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
    sure = percent(prediction.confidence)
    answer = (
        f"unsure (most likely {prediction.label}, {sure})" if prediction.abstained else f"{prediction.label}, {sure}"
    )
    told = ", ".join(f"{name} {value:.3g}" for name, value in (prediction.dimensions or {}).items())
    if not prediction.scores:
        figure = new_figure(6.4, 3.2, told, title)
        _draw_heard(figure, figure.add_subplot(), spectrogram, config)
        return figure
    answer += f"; {told}" if told else ""
    figure = new_figure(8.4, max(3.2, 0.26 * len(prediction.scores) + 1.3), answer, title)
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.9 if spectrogram.ndim == 2 else 1.1, 1.0]})
    _draw_heard(figure, left, spectrogram, config)
    labels, scores = list(prediction.scores), list(prediction.scores.values())
    chosen = GREY if prediction.abstained else VERMILION
    colours = [chosen if label == prediction.label else BLUE for label in labels]
    bars = right.barh(range(len(labels)), scores, height=0.72, color=colours, zorder=2)
    right.bar_label(bars, [percent(score) for score in scores], padding=3, size=TEXT_SIZE, color=INK)
    right.set_yticks(range(len(labels)), [plain(label) for label in labels])
    for tick, label in zip(right.get_yticklabels(), labels, strict=True):
        tick.set_fontweight("bold" if label == prediction.label else "normal")
    right.invert_yaxis()
    right.set_xlim(0.0, 1.28)  # room for the figures beside the bars
    right.set_xticks([0.0, 0.5, 1.0])
    right.xaxis.set_major_formatter(percent_formatter())
    right.set_xlabel("probability")
    style_axes(right, grid="x")
    right.tick_params(axis="y", length=0)
    return figure


def _draw_heard(figure: Figure, axes: Axes, spectrogram: npt.NDArray[Any], config: SpectrogramConfig | None) -> None:
    image = _show_spectrogram(axes, spectrogram, config)
    if spectrogram.ndim == 2:
        _decibel_bar(figure, image, [axes])


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
    style_frequencies(axes, band_centres_hz(config))
    axes.set_xlabel("time (s)")
    style_axes(axes, grid=None)
    axes.tick_params(labelsize=SMALL_SIZE)
    return image


def _decibel_bar(figure: Figure, image: Any, axes: list[Axes]) -> None:
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    bar.set_label("dB re the clip's loudest point", size=SMALL_SIZE, color=INK)
    bar.ax.tick_params(labelsize=SMALL_SIZE, colors=INK)
    bar.outline.set_visible(False)

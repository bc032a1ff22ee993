"""The plot of a timeline: waveform, spectrogram, probabilities and segments over one time axis."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from emogram.overview import N_SCORE_COLUMNS, Overview, dimension_over_time, overview, scores_over_time
from emogram.plots.style import (
    BLUE,
    GREY,
    INK,
    PALE,
    SMALL_SIZE,
    TEXT_SIZE,
    draw_envelope,
    label_colours,
    length_text,
    new_figure,
    percent_formatter,
    plain,
    save,
    shorten,
    style_axes,
    style_frequencies,
    style_times,
    text_colour,
)
from emogram.records import Segment, Timeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RANGE_DB = 70.0  # of the spectrogram, below the loudest
MAX_CHANNELS = 4  # drawn; more would make a poster
WIDTH = 10.0  # inches

_WAVE, _SPECTROGRAM, _DIMENSION, _STACK, _STRIP = 0.55, 1.25, 0.8, 1.2, 0.3  # heights in inches


def timeline(timeline: Timeline, recording: Path, path: Path, *, title: str) -> None:
    """Write `draw_timeline` as PNG."""
    save(draw_timeline(timeline, recording, title=title), path)


def draw_timeline(timeline: Timeline, recording: Path, *, title: str) -> Figure:
    """Draw a timeline, of seconds or of a day.

    Args:
        timeline: As `analyze` returns it. Of more than `MAX_CHANNELS` channels the first are drawn.
        recording: The sound file, read once for waveform and spectrogram.
        title: Its name.

    Raises:
        AudioError: The recording cannot be read.
    """
    sound = overview(recording, duration_s=timeline.duration_s)
    apart = sorted({*timeline.windows.channel.tolist(), *(_channel_of(segment) for segment in timeline.segments)})
    channels = apart[:MAX_CHANNELS] or [-1]
    speakers = {channel: _speakers(timeline, channel) for channel in channels}
    heights = [_SPECTROGRAM]
    for channel in channels:
        heights += [_WAVE, *[_DIMENSION] * len(timeline.windows.dimensions)]
        heights += [_STACK, *[_STRIP] * len(speakers[channel])] if timeline.windows.labels else []
    left_out = f" The first {MAX_CHANNELS} of {len(apart)} channels." if len(apart) > MAX_CHANNELS else ""
    figure = new_figure(WIDTH, sum(heights) + 1.1, shorten(title, 90), _subtitle(timeline) + left_out)
    panels = iter(
        figure.subplots(len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    )
    colours = label_colours(timeline.windows.labels)
    edges = np.linspace(0.0, timeline.duration_s, N_SCORE_COLUMNS + 1)
    _draw_spectrogram(axes := next(panels), sound)
    for channel in channels:
        name = "" if channel < 0 else f"channel {channel}"
        _draw_waveform(axes := next(panels), sound, channel, name)
        for dimension in timeline.windows.dimensions:
            values = dimension_over_time(timeline.windows, dimension, channel, edges)
            _draw_dimension(axes := next(panels), values, edges, dimension)
        if not timeline.windows.labels:
            continue
        _draw_stack(next(panels), timeline, channel, colours)
        for speaker in speakers[channel]:
            chosen = [s for s in timeline.segments if _channel_of(s) == channel and s.speaker == speaker]
            _draw_strip(axes := next(panels), chosen, speaker or "segments", colours, timeline.duration_s)
    for each in figure.axes:
        style_times(each, 0.0, timeline.duration_s)
        each.tick_params(labelbottom=each is axes, length=3 if each is axes else 0, axis="x")
        if each is not axes:
            each.set_xlabel("")
    if colours:
        _add_label_legend(figure, colours)
    return figure


def _subtitle(timeline: Timeline) -> str:
    partial = "Partial: the analysis ended before the recording did. " if timeline.partial else ""
    if not timeline.segments:
        return f"{partial}{length_text(timeline.duration_s)}, no segments"
    summary = timeline.summary
    shares = sorted(((share, label) for label, share in summary["shares"].items() if share > 0), reverse=True)
    means = [f"mean {name} {value:.3g}" for name, value in summary.get("dimensions", {}).items()]
    parts = ", ".join([*(f"{label} {100 * share:.0f} %" for share, label in shares), *means])
    spoken = f"{length_text(summary['speech_s'])} of speech in {length_text(timeline.duration_s)}"
    return f"{partial}{spoken}; of it {parts}"


def _channel_of(segment: Segment) -> int:
    return -1 if segment.channel is None else segment.channel


def _speakers(timeline: Timeline, channel: int) -> list[str | None]:
    """Return who speaks on a channel, None for whom nobody named, in order of appearance; at least one."""
    return list(dict.fromkeys(s.speaker for s in timeline.segments if _channel_of(s) == channel)) or [None]


def _draw_spectrogram(axes: Axes, sound: Overview) -> None:
    axes.imshow(
        np.nan_to_num(sound.decibels.T, nan=-RANGE_DB),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap="magma",
        vmin=-RANGE_DB,
        vmax=0.0,
        extent=(sound.edges_s[0], sound.edges_s[-1], -0.5, len(sound.frequencies_hz) - 0.5),
    )
    style_frequencies(axes, sound.frequencies_hz)
    style_axes(axes, grid=None)
    axes.tick_params(labelsize=SMALL_SIZE)
    axes.yaxis.label.set_fontsize(SMALL_SIZE)


def _draw_waveform(axes: Axes, sound: Overview, channel: int, name: str) -> None:
    chosen = slice(None) if channel < 0 else slice(channel, channel + 1)
    low, high = np.fmin.reduce(sound.low[chosen], axis=0), np.fmax.reduce(sound.high[chosen], axis=0)
    rms = np.sqrt(np.mean(np.square(sound.rms[chosen]), axis=0))
    draw_envelope(axes, sound.edges_s, low, high, rms)
    axes.set_ylabel(name or "waveform", size=SMALL_SIZE)


def _draw_dimension(axes: Axes, values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64], name: str) -> None:
    """Draw the mean of a dimension over each moment as a line; nothing where nobody speaks."""
    axes.stairs(values, edges, color=BLUE, lw=1.2, baseline=None)
    axes.set_facecolor("#F2F2F2")
    axes.set_ylabel(plain(shorten(name, 14)), size=SMALL_SIZE)
    style_axes(axes, grid=None)
    axes.tick_params(labelsize=SMALL_SIZE)
    axes.yaxis.label.set_fontsize(SMALL_SIZE)


def _draw_stack(axes: Axes, timeline: Timeline, channel: int, colours: dict[str, str]) -> None:
    """Draw the mean of the windows over each moment, stacked; grey where nobody speaks."""
    edges = np.linspace(0.0, timeline.duration_s, N_SCORE_COLUMNS + 1)
    tops = np.cumsum(scores_over_time(timeline.windows, channel, edges), axis=1)
    bottom: npt.NDArray[np.float64] = np.where(np.isnan(tops[:, 0]), np.nan, 0.0)
    axes.set_facecolor("#F2F2F2")
    for place, colour in enumerate(colours.values()):
        axes.stairs(tops[:, place], edges, baseline=bottom, fill=True, color=colour, lw=0)
        bottom = tops[:, place]
    axes.set_ylim(0.0, 1.0)
    axes.set_yticks([0.0, 0.5, 1.0])
    axes.yaxis.set_major_formatter(percent_formatter())
    axes.set_ylabel("probability", size=SMALL_SIZE)
    style_axes(axes, grid=None)
    axes.tick_params(labelsize=SMALL_SIZE)
    axes.yaxis.label.set_fontsize(SMALL_SIZE)


def _draw_strip(axes: Axes, segments: list[Segment], name: str, colours: dict[str, str], duration_s: float) -> None:
    """Draw segments as coloured bars, hatched where unsure, with the label in those wide enough for it."""
    from matplotlib.colors import to_rgb

    for segment in segments:
        said = segment.prediction
        width = segment.end_s - segment.start_s
        inches = width / duration_s * WIDTH
        axes.broken_barh(
            [(segment.start_s, width)],
            (0.0, 1.0),
            facecolor=colours[said.label],
            edgecolor="white",
            lw=0.4 if inches > 0.05 else 0.0,  # narrow ones would be all edge
            hatch="////" if said.abstained else None,
        )
        if inches * 14 > len(said.label):  # about 14 letters fit in an inch
            axes.text(
                segment.start_s + width / 2,
                0.47,
                plain(said.label),
                ha="center",
                va="center",
                size=SMALL_SIZE,
                color=INK if said.abstained else text_colour(to_rgb(colours[said.label])),
                bbox={"facecolor": "white", "lw": 0, "pad": 1.0, "alpha": 0.85} if said.abstained else None,
                clip_on=True,
            )
    axes.set_facecolor("#F2F2F2")
    axes.set_ylim(0.0, 1.0)
    axes.set_yticks([])
    style_axes(axes, grid=None)
    axes.spines["left"].set_visible(False)
    axes.set_ylabel(plain(shorten(name, 14)), size=SMALL_SIZE, rotation=0, ha="right", va="center")


def _add_label_legend(figure: Figure, colours: dict[str, str]) -> None:
    """Name the colours below all panels, with that of an unsure segment."""
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=colour, edgecolor=PALE, label=plain(label)) for label, colour in colours.items()]
    handles.append(Patch(facecolor="white", edgecolor=GREY, hatch="////", label="unsure"))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(len(handles), 9),
        frameon=False,
        fontsize=TEXT_SIZE - 0.5,
        labelcolor=INK,
        handlelength=1.2,
        columnspacing=1.3,
    )

"""Timeline -> one HTML page to look at: no script, nothing from a network, light and dark, from phone to wall."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emogram import __version__, spectrogram
from emogram.errors import AudioError
from emogram.files import write_text
from emogram.overview import N_SCORE_COLUMNS, Overview, dimension_over_time, overview, scores_over_time
from emogram.plots.style import TICKS_HZ, label_colours, length_text, text_colour, time_text, time_ticks
from emogram.records import Segment, Timeline
from emogram.spectrogram import FloatArray
from emogram.writers.annotation import segment_text, track_name, tracks
from emogram.writers.source import Source
from emogram.writers.text import one_line

RANGE_DB = 70.0  # of the spectrogram, below the loudest
MAX_TICKS = 9
UNSURE = "unsure"

_STYLE = Path(__file__).with_name("page.css")


def write_html(path: Path, timeline: Timeline, source: Source) -> None:
    """Write a page with summary, waveform, spectrogram, probabilities and segments over one time axis, and a table.

    The recording is read for its waveform and spectrogram; where it cannot be, the page says so and goes without.
    Nothing in the page can load or run anything: its own policy forbids it.
    """
    write_text(path, "\n".join(_page(timeline, source)) + "\n")


def _page(timeline: Timeline, source: Source) -> Iterator[str]:
    colours = label_colours(timeline.windows.labels)
    name = escape(source.name)
    yield "<!DOCTYPE html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield f"<title>Emotions in {name}</title>"
    yield f"<style>\n{_STYLE.read_text(encoding='utf-8')}</style></head><body>"
    yield f"<header><h1>{name}</h1>{_facts(timeline)}</header><main>"
    if timeline.partial:
        yield '<p class="warning" role="note">Partial: the analysis ended before the recording did.</p>'
    for warning in timeline.warnings:
        yield f'<p class="warning" role="note">{escape(warning)}</p>'
    yield "<h2>Summary</h2>"
    yield from _summary(timeline, colours)
    yield "<h2>Over time</h2>"
    yield from _charts(timeline, source, colours)
    yield "<h2>Segments</h2>"
    yield from _table(timeline, colours)
    yield "</main>"
    made = f"emogram {__version__}" + (f", model {escape(source.model)}" if source.model else "")
    yield f"<footer>Made by {made}. What a model says of a voice is a guess from its sound alone.</footer>"
    yield "</body></html>"


def _facts(timeline: Timeline) -> str:
    channels = "1 channel" if timeline.channels == 1 else f"{timeline.channels} channels"
    facts = (length_text(timeline.duration_s), f"{timeline.sample_rate:,} Hz", channels)
    return f'<p class="soft">{", ".join(facts)}</p>'


def _summary(timeline: Timeline, colours: dict[str, str]) -> Iterator[str]:
    summary = timeline.summary
    if not timeline.segments:
        yield "<p>No segments: nothing to tell an emotion from was found.</p>"
        return
    over = f"Over {length_text(summary['speech_s'])} of speech"
    means = ", ".join(f"{escape(name)} {value:.3g}" for name, value in summary.get("dimensions", {}).items())
    if means:
        yield f"<p>{over}, on average: {means}.</p>"
    if summary["label"] is None:
        return
    yield (
        f"<p>{over}: <strong>{escape(str(summary['label']))}</strong>, "
        f"{_percent(summary['confidence'])}. Shares of the spoken time:</p>"
    )
    shares = {label: share for label, share in summary["shares"].items() if share > 0}
    bars = "".join(
        f'<div style="width:{100 * share:.2f}%;background:{colours.get(label, "var(--line)")}"></div>'
        for label, share in shares.items()
    )
    yield f'<div class="shares" aria-hidden="true">{bars}</div>'
    yield _legend({label: f"{escape(label)} {_percent(share)}" for label, share in shares.items()}, colours)
    for kind in ("speakers", "channels"):
        if summary.get(kind):
            yield from _groups(kind, summary[kind], colours)


def _groups(kind: str, groups: Mapping[str, Mapping[str, Any]], colours: dict[str, str]) -> Iterator[str]:
    yield f'<div class="table" tabindex="0" role="region" aria-label="Summary by {kind}"><table>'
    yield f"<caption>By {kind[:-1]}</caption><thead><tr>"
    yield f'<th scope="col">{kind[:-1]}</th><th scope="col" class="number">speech</th><th scope="col">emotion</th>'
    yield '<th scope="col" class="number">confidence</th></tr></thead><tbody>'
    for name, values in groups.items():
        label = values["label"]
        spoken, confidence = length_text(values["speech_s"]), _percent(values["confidence"])
        yield (
            f'<tr><th scope="row">{escape(str(name))}</th><td class="number">{spoken}</td>'
            f"<td>{_swatch(colours.get(label))}{escape(label)}</td>"
            f'<td class="number">{confidence}</td></tr>'
        )
    yield "</tbody></table></div>"


def _charts(timeline: Timeline, source: Source, colours: dict[str, str]) -> Iterator[str]:
    if timeline.duration_s <= 0.0:
        yield '<p class="soft">No sound was read.</p>'
        return
    sound: Overview | None = None
    try:
        sound = overview(source.recording, duration_s=timeline.duration_s)
    except AudioError as error:
        yield f'<p class="soft">Without waveform and spectrogram: {escape(one_line(str(error)))}</p>'
    edges = np.linspace(0.0, timeline.duration_s, N_SCORE_COLUMNS + 1)
    yield '<fieldset class="zoom"><legend>Zoom</legend>'
    for zoom in (1, 4, 16):
        checked = " checked" if zoom == 1 else ""
        yield f'<label><input type="radio" name="zoom" id="zoom{zoom}"{checked}> {zoom}×</label>'
    yield "</fieldset>"
    yield _legend({label: escape(label) for label in colours} | {UNSURE: "hatched: unsure"}, colours)
    yield '<div class="charts" tabindex="0" role="region" aria-label="Charts over time"><div class="sheet">'
    if sound is not None:
        yield from _spectrogram(sound)
    for channel in sorted(set(timeline.windows.channel.tolist())) or [-1]:
        of = "" if channel < 0 else f" of channel {channel}"
        if sound is not None:
            yield from _waveform(sound, channel, of)
        for dimension in timeline.windows.dimensions:
            yield from _line(dimension_over_time(timeline.windows, dimension, channel, edges), dimension, of)
        if colours:
            yield from _stack(scores_over_time(timeline.windows, channel, edges), list(colours.items()), of)
    for name, segments in tracks(timeline).items() if colours else ():
        yield from _strip(segments, timeline.duration_s, f"Segments{f' of {name}' if name else ''}", colours)
    yield '<div class="times" aria-hidden="true">'
    ticks = time_ticks(0.0, timeline.duration_s, most=MAX_TICKS)
    for time_s, text in ticks.items():
        if time_s <= 0.97 * timeline.duration_s:  # else it would stick out
            unit = " s" if time_s == 0.0 and ":" not in text else ""
            yield f'<span style="left:{100 * time_s / timeline.duration_s:.3f}%">{text}{unit}</span>'
    yield "</div></div></div>"


def _waveform(sound: Overview, channel: int, of: str) -> Iterator[str]:
    if channel < 0:
        low, high = np.fmin.reduce(sound.low, axis=0), np.fmax.reduce(sound.high, axis=0)
    else:
        low, high = sound.low[channel], sound.high[channel]
    peak = max(float(np.nanmax(np.abs([low, high]), initial=0.0)), 1e-9)
    rms = np.sqrt(np.mean(np.square(sound.rms if channel < 0 else sound.rms[[channel]]), axis=0))
    bands = (("peak", low / peak, high / peak), ("loud", -rms / peak, rms / peak))
    paths = [f'<path class="{name}" d="{_bars(bottom, top)}"/>' for name, bottom, top in bands]
    yield f"<h3>Waveform{of}</h3>"
    svg = _svg(len(low), 100, f"Waveform{of}", "".join(paths))
    yield f'<div class="panel wave">{svg}</div>'


def _bars(low: FloatArray, high: FloatArray) -> str:
    """Return a path of one bar for each column, between -1 and 1 of a height of 100."""
    return "".join(
        f"M{x} {50 - 48 * top - 0.4:.1f}h1V{50 - 48 * bottom + 0.4:.1f}h-1z"
        for x, (bottom, top) in enumerate(zip(low, high, strict=True))
        if not np.isnan(top)
    )


def _spectrogram(sound: Overview) -> Iterator[str]:
    picture = base64.b64encode(spectrogram_png(sound)).decode("ascii")
    yield "<h3>Spectrogram</h3>"
    yield f'<div class="panel spectrogram"><img alt="Spectrogram" src="data:image/png;base64,{picture}">'
    places = np.arange(len(sound.frequencies_hz))
    for tick in TICKS_HZ[1:]:  # the first two would overlap
        if sound.frequencies_hz[0] <= tick <= sound.frequencies_hz[-1]:
            height = (np.interp(tick, sound.frequencies_hz, places) + 0.5) / len(places)
            yield f'<span style="bottom:{100 * height:.1f}%">{tick / 1000:g} kHz</span>'
    yield "</div>"


def spectrogram_png(sound: Overview) -> bytes:
    """Return the spectrogram as a PNG of one pixel for each column and band, low frequencies at the bottom."""
    from PIL import Image

    levels = np.nan_to_num(np.clip(1.0 + sound.decibels / RANGE_DB, 0.0, 1.0))
    pixels = spectrogram.colour_map()[np.rint(255 * levels.T[::-1]).astype(np.uint8)]
    content = io.BytesIO()
    Image.fromarray(pixels).quantize(128).save(content, "PNG", optimize=True)
    return content.getvalue()


def _line(values: npt.NDArray[np.float64], name: str, of: str) -> Iterator[str]:
    """Draw a dimension as a line of steps between its least and its greatest value; nothing where nobody speaks."""
    there = ~np.isnan(values)
    low, high = (float(end(values[there])) for end in (np.min, np.max)) if there.any() else (0.0, 0.0)
    heights = 95.0 - 90.0 * (values - low) / max(high - low, 1e-9)
    path = "".join(
        f"M{first} {heights[first]:.1f}" + "".join(f"V{y:.1f}H{first + x}" for y, x in _steps(heights[first:last]))
        for first, last in _runs(there)
    )
    yield f"<h3>{escape(name)}{of}, {low:.3g} to {high:.3g}</h3>"
    drawn = (
        f'<path d="{path}" fill="none" stroke="currentColor" stroke-width="1.5" vector-effect="non-scaling-stroke"/>'
    )
    yield f'<div class="panel wave">{_svg(len(values), 100, f"{name} over time{of}", drawn)}</div>'


def _stack(scores: npt.NDArray[np.float64], labels: Sequence[tuple[str, str]], of: str) -> Iterator[str]:
    """Draw the probabilities above each other, one path for each label; nothing where nobody speaks."""
    tops = np.cumsum(scores, axis=1)
    bottoms = tops - scores
    paths = []
    for place, (label, colour) in enumerate(labels):
        shape = "".join(
            _ribbon(first, tops[first:last, place], bottoms[first:last, place])
            for first, last in _runs(~np.isnan(scores[:, 0]))
        )
        paths.append(f'<path fill="{colour}" d="{shape}"><title>{escape(label)}</title></path>')
    yield f"<h3>Probabilities{of}</h3>"
    svg = _svg(len(scores), 1, f"Probability of each emotion over time{of}", "".join(paths))
    yield f'<div class="panel stack">{svg}</div>'


def _ribbon(first: int, top: npt.NDArray[np.float64], bottom: npt.NDArray[np.float64]) -> str:
    """Return a path of steps, one for each column, and back along the bottom; equal neighbours are one step."""
    there = "".join(f"V{1 - y:.3f}H{first + x}" for y, x in _steps(top))
    back = "".join(f"V{1 - y:.3f}H{first + len(bottom) - x}" for y, x in _steps(bottom[::-1]))
    return f"M{first} {1 - top[0]:.3f}{there}{back}z"


def _steps(values: npt.NDArray[np.float64]) -> Iterator[tuple[float, int]]:
    """Yield each value and the place after its last neighbour that is equal to it."""
    rounded = np.round(values, 3)
    ends = [*(np.flatnonzero(np.diff(rounded)) + 1).tolist(), len(values)]
    for end in ends:
        yield float(rounded[end - 1]), end


def _runs(there: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield first and end of each run of True."""
    change = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]]).astype(np.int8)))
    yield from zip(change[::2].tolist(), change[1::2].tolist(), strict=True)


def _strip(segments: Sequence[Segment], duration_s: float, title: str, colours: dict[str, str]) -> Iterator[str]:
    count = "1 segment" if len(segments) == 1 else f"{len(segments)} segments"
    yield f"<h3>{escape(title)}</h3>"
    yield f'<div class="panel strip" role="img" aria-label="{escape(title)}: {count}; the table below lists them">'
    for segment in segments:
        colour = colours[segment.prediction.label]
        left, width = 100 * segment.start_s / duration_s, 100 * (segment.end_s - segment.start_s) / duration_s
        text = escape(segment_text(segment))
        times = f"{time_text(segment.start_s)} to {time_text(segment.end_s)}"
        classes = ' class="unsure"' if segment.prediction.abstained else ""
        yield (
            f'<div{classes} style="left:{left:.3f}%;width:{width:.3f}%;background-color:{colour};color:'
            f'{_text_on(colour)}" title="{text} {_percent(segment.prediction.confidence)}, {times}"><span>'
            f"{escape(segment.prediction.label)}</span></div>"
        )
    yield "</div>"


def _table(timeline: Timeline, colours: dict[str, str]) -> Iterator[str]:
    told_apart = any(track_name(segment) for segment in timeline.segments)
    dimensions = {f"dimension {place}": name for place, name in enumerate(timeline.windows.dimensions)}
    classes = ["emotion", "confidence", "next"] if colours else []
    columns = ["start", "end", *(["who"] if told_apart else []), *classes, *dimensions, "speech"]
    yield '<div class="table" tabindex="0" role="region" aria-label="Table of segments"><table>'
    count = len(timeline.segments)
    yield f"<caption>{count:,} {'segment' if count == 1 else 'segments'}</caption><thead><tr>"
    for column in columns:
        yield f'<th scope="col"{_numeric(column)}>{escape(dimensions.get(column, column))}</th>'
    yield "</tr></thead><tbody>"
    for segment in timeline.segments:
        said = segment.prediction
        others = sorted((score, label) for label, score in said.scores.items() if label != said.label)
        after = f"{escape(others[-1][1])} {_percent(others[-1][0])}" if others else ""
        cells = {
            "start": time_text(segment.start_s),
            "end": time_text(segment.end_s),
            "who": escape(track_name(segment)),
            "emotion": _swatch(colours.get(said.label)) + escape(segment_text(segment)),
            "confidence": _percent(said.confidence) if said.scores else "",
            "next": after,
            **{column: f"{(said.dimensions or {})[name]:.3g}" for column, name in dimensions.items()},
            "speech": _percent(segment.speech_ratio),
        }
        row = "".join(f"<td{_numeric(name)}>{cells[name]}</td>" for name in columns)
        yield f"<tr>{row}</tr>"
    yield "</tbody></table></div>"


def _numeric(column: str) -> str:
    numeric = column in ("start", "end", "confidence", "speech") or column.startswith("dimension ")
    return ' class="number"' if numeric else ""


def _legend(texts: dict[str, str], colours: dict[str, str]) -> str:
    """Name colours; what has none of its own gets that of "unsure"."""
    items = "".join(f"<li>{_swatch(colours.get(label))}{text}</li>" for label, text in texts.items())
    return f'<ul class="legend">{items}</ul>'


def _swatch(colour: str | None) -> str:
    return f'<span class="swatch" style="background:{colour or "var(--line)"}"></span>'


def _svg(width: int, height: int, name: str, content: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" aria-label="{escape(name)}">'
        f"{content}</svg>"
    )


def _text_on(colour: str) -> str:
    return text_colour([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"

"""Timeline -> what annotation tools open: Praat, ELAN, Audacity, video players, and RTTM.

Whoever overlaps gets a tier of its own, see `tracks`. Times are whole milliseconds. Where the model is unsure, the text
is "unsure (sad)" in place of "sad".
"""

from __future__ import annotations

import mimetypes
from pathlib import Path

from emogram.files import write_text, writing
from emogram.records import Segment, Timeline
from emogram.writers.source import Source
from emogram.writers.text import known_text, one_line, to_milliseconds

EMOTION, CONFIDENCE = "emotion", "confidence"  # the tiers of a track


def tracks(timeline: Timeline) -> dict[str, list[Segment]]:
    """Return the segments of each channel and speaker, which do not overlap.

    The name is "" where there is one track for all, else such as "channel 0", "Anna" or "channel 0 Anna"; channels
    count from 0, as in JSON.
    """
    found: dict[str, list[Segment]] = {}
    for segment in timeline.segments:
        found.setdefault(track_name(segment), []).append(segment)
    return dict(sorted(found.items()))


def track_name(segment: Segment) -> str:
    """Return the name of a segment's track, see `tracks`."""
    channel = None if segment.channel is None else f"channel {segment.channel}"
    return " ".join(one_line(word) for word in (channel, segment.speaker) if word)


def segment_text(segment: Segment) -> str:
    """Return what is written at a segment: its label, or "unsure (label)"; without labels, its dimensions."""
    if not segment.prediction.scores:
        return ", ".join(f"{one_line(name)} {text}" for name, text in _dimension_texts(segment).items())
    label = one_line(segment.prediction.label)
    return f"unsure ({label})" if segment.prediction.abstained else label


def write_textgrid(path: Path, timeline: Timeline, source: Source) -> None:
    """Write a TextGrid for Praat: for each track a tier with the emotions, one with the confidences, and dimensions."""
    from praatio import textgrid

    end_s = to_milliseconds(timeline.duration_s) / 1000
    grid = textgrid.Textgrid(0.0, end_s)
    for name, intervals in _tiers(timeline).items():
        entries = [(start / 1000, end / 1000, text) for start, end, text in intervals]
        grid.addTier(textgrid.IntervalTier(name, entries, 0.0, end_s))
    with writing(path) as temporary:
        grid.save(str(temporary), "long_textgrid", includeBlankSpaces=True)


def write_eaf(path: Path, timeline: Timeline, source: Source) -> None:
    """Write an ELAN file with the tiers of the TextGrid, linked to the recording; speakers are its participants."""
    from pympi import Elan

    document = Elan.Eaf(author="emogram")
    document.remove_tier("default")
    document.add_linked_file(
        source.recording.absolute().as_uri(),
        relpath=f"./{source.name}",
        mimetype=mimetypes.guess_type(source.recording.name)[0] or "audio/x-wav",
    )
    participants = {track: segments[0].speaker for track, segments in tracks(timeline).items()}
    for name, intervals in _tiers(timeline).items():
        track = name.partition(" ")[2]
        document.add_tier(name, part=participants.get(track))
        for start, end, text in intervals:
            document.add_annotation(name, start, end, text)
    if timeline.partial:
        document.add_property("partial", "true")
    write_text(path, '<?xml version="1.0" encoding="UTF-8"?>\n' + Elan.to_string(document))


def write_audacity(path: Path, timeline: Timeline, source: Source) -> None:
    """Write a label track for Audacity: start, end and text between tabs; "channel 0 Anna: sad" where told apart."""
    lines = []
    for segment in timeline.segments:
        track = track_name(segment)
        text = f"{track}: {segment_text(segment)}" if track else segment_text(segment)
        lines.append(f"{_seconds(segment.start_s)}\t{_seconds(segment.end_s)}\t{text}\n")
    write_text(path, "".join(lines))


def write_vtt(path: Path, timeline: Timeline, source: Source) -> None:
    """Write captions that a video player shows, such as "sad 82 %"; who speaks stands in the voice of the cue."""
    blocks = ["WEBVTT"]
    if timeline.partial:
        blocks.append("NOTE The analysis ended before the recording did.")
    for segment in timeline.segments:
        track = track_name(segment)
        voice = f"<v {_vtt(track)}>" if track else ""
        sure = f" {100 * segment.prediction.confidence:.0f} %" if segment.prediction.scores else ""
        text = f"{voice}{_vtt(segment_text(segment))}{sure}"
        blocks.append(f"{_clock(segment.start_s)} --> {_clock(segment.end_s)}\n{text}")
    write_text(path, "\n\n".join(blocks) + "\n")


def write_rttm(path: Path, timeline: Timeline, source: Source) -> None:
    """Write rich transcription time marks, one segment a line, in the ten fields of NIST's RT-09 plan.

    "SPEAKER", the recording's name, channel (from 1, as RTTM has it), start, duration, speaker, "unsure" or "<NA>",
    label, confidence, "<NA>". The label stands where programs that read RTTM look for names, and the speaker in the
    field that is free elsewhere. Fields are parted by spaces, so a space in a name becomes "_".
    """
    lines = []
    for segment in timeline.segments:
        start, end = to_milliseconds(segment.start_s), to_milliseconds(segment.end_s)
        fields = (
            "SPEAKER",
            _word(source.stem),
            f"{(segment.channel or 0) + 1}",
            f"{start / 1000:.3f}",
            f"{(end - start) / 1000:.3f}",
            _word(segment.speaker or "<NA>"),
            "unsure" if segment.prediction.abstained else "<NA>",
            _word(segment.prediction.label or segment_text(segment)),
            known_text(float(segment.prediction.confidence)) or "<NA>",
            "<NA>",
        )
        lines.append(" ".join(fields) + "\n")
    write_text(path, "".join(lines))


def _tiers(timeline: Timeline) -> dict[str, list[tuple[int, int, str]]]:
    """Return tier -> (start, end, text) in milliseconds; without any segment, the tiers of one track, empty."""
    found = {}
    for track, segments in (tracks(timeline) or {"": []}).items():
        times = [(to_milliseconds(segment.start_s), to_milliseconds(segment.end_s)) for segment in segments]
        texts: dict[str, list[str]] = {}
        if not timeline.windows.dimensions or timeline.windows.labels:
            texts[EMOTION] = [segment_text(segment) for segment in segments]
            texts[CONFIDENCE] = [f"{segment.prediction.confidence:.3f}" for segment in segments]
        for name in timeline.windows.dimensions:
            texts[one_line(name)] = [_dimension_texts(segment)[name] for segment in segments]
        for kind, column in texts.items():
            found[f"{kind} {track}".strip()] = [(*time, text) for time, text in zip(times, column, strict=True)]
    return found


def _dimension_texts(segment: Segment) -> dict[str, str]:
    return {name: f"{value:.3g}" for name, value in (segment.prediction.dimensions or {}).items()}


def _word(text: str) -> str:
    return one_line(text).replace(" ", "_") or "<NA>"


def _vtt(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _seconds(seconds: float) -> str:
    return f"{to_milliseconds(seconds) / 1000:.3f}"


def _clock(seconds: float) -> str:
    """Return HH:MM:SS.mmm; hours may have more than two digits."""
    minutes, milliseconds = divmod(to_milliseconds(seconds), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"

"""Timeline -> rows: JSON lines, CSV, Parquet and pandas."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emogram.errors import MissingExtraError
from emogram.files import json_line, writing
from emogram.records import Prediction, Segment, Timeline
from emogram.writers.results import segment_dict
from emogram.writers.source import Source
from emogram.writers.text import known, number_text, rounded, to_milliseconds, write_csv

if TYPE_CHECKING:
    import pandas
    import pyarrow

SEGMENT_COLUMNS = ("start_s", "end_s", "channel", "speaker", "label", "confidence", "abstained", "speech_ratio")


def write_jsonl(path: Path, timeline: Timeline, source: Source) -> None:
    """Write one segment a line, as it stands in the schema "emogram.result/1"."""
    with writing(path) as temporary, temporary.open("w", newline="\n", encoding="utf-8") as file:
        file.writelines(json_line(segment_dict(segment)) + "\n" for segment in timeline.segments)


def write_timeline_csv(path: Path, timeline: Timeline, source: Source) -> None:
    """Write `SEGMENT_COLUMNS`, the probability of each label and each dimension, one row a segment."""
    rows = segment_rows(timeline)
    header = segment_columns(timeline)
    write_csv(path, header, ([_cell(name, row[name]) for name in header] for row in rows))


def write_parquet(path: Path, timeline: Timeline, source: Source) -> None:
    """Write the columns of the CSV with their types; what holds for all of the recording stands in the metadata.

    Metadata: "recording", "model", "labels" (one a line), "duration_s", "sample_rate", "channels", "partial", and
    "warnings" (one a line).
    """
    import pyarrow
    from pyarrow import parquet

    header = segment_columns(timeline)
    metadata = {
        "recording": source.name,
        "model": source.model,
        "labels": "\n".join(timeline.windows.labels),
        "duration_s": f"{timeline.duration_s}",
        "sample_rate": f"{timeline.sample_rate}",
        "channels": f"{timeline.channels}",
        "partial": "true" if timeline.partial else "false",
        "warnings": "\n".join(timeline.warnings),
    }
    rows = segment_rows(timeline)
    table = pyarrow.Table.from_pydict(
        {name: [row[name] for row in rows] for name in header},
        schema=pyarrow.schema(segment_fields(header[len(SEGMENT_COLUMNS) :]), metadata=metadata),
    )
    with writing(path) as temporary:
        parquet.write_table(table, temporary)


def to_dataframe(timeline: Timeline, *, windows: bool = False) -> pandas.DataFrame:
    """Turn a timeline into a pandas DataFrame.

    Args:
        timeline: As `analyze` returns it.
        windows: One row for each scored window, before smoothing, in place of one for each segment.

    Returns:
        Columns of a segment: those of the CSV, `SEGMENT_COLUMNS`, each label's probability and each dimension. Of a
        window: "start_s", "end_s", "channel", and likewise. `channel` is <NA> where channels are averaged. `attrs`
        holds "duration_s", "sample_rate", "channels", "partial" and "warnings".

    Raises:
        MissingExtraError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise MissingExtraError("making a DataFrame", "formats") from None

    scored = timeline.windows
    if windows:
        columns: dict[str, Any] = {"start_s": scored.start_s, "end_s": scored.end_s, "channel": scored.channel}
        columns |= {label: scored.scores[:, place] for place, label in enumerate(scored.labels)}
        columns |= scored.dimensions
        frame = pandas.DataFrame(columns)
        frame["channel"] = frame["channel"].astype("Int64").mask(frame["channel"] < 0)
    else:
        header = segment_columns(timeline)
        frame = pandas.DataFrame(segment_rows(timeline), columns=header)
        told = header[len(SEGMENT_COLUMNS) :]
        numbers = dict.fromkeys(("start_s", "end_s", "confidence", "speech_ratio", *told), "float64")
        frame = frame.astype(numbers | {"channel": "Int64", "abstained": "bool"})
    about = ("duration_s", "sample_rate", "channels", "partial", "warnings")
    frame.attrs = {name: getattr(timeline, name) for name in about}
    return frame


def segment_columns(timeline: Timeline) -> list[str]:
    """Return `SEGMENT_COLUMNS`, the labels and the dimensions."""
    return [*SEGMENT_COLUMNS, *timeline.windows.labels, *timeline.windows.dimensions]


def segment_rows(timeline: Timeline) -> list[dict[str, Any]]:
    """Return `segment_columns`, one dict a segment; None where unknown."""
    return [segment_row(segment) for segment in timeline.segments]


def segment_row(segment: Segment) -> dict[str, Any]:
    """Return `SEGMENT_COLUMNS`, the probability of each label and each dimension; None where unknown."""
    said = segment.prediction
    return {
        "start_s": to_milliseconds(segment.start_s) / 1000,
        "end_s": to_milliseconds(segment.end_s) / 1000,
        "channel": segment.channel,
        "speaker": segment.speaker,
        **answer_row(said, speech_ratio=segment.speech_ratio),
    }


def answer_row(said: Prediction, *, speech_ratio: float | None) -> dict[str, Any]:
    """Return the columns of `segment_row` that tell the answer; the ratio is None where nobody measured it."""
    return {
        "label": said.label or None,
        "confidence": known(said.confidence),
        "abstained": said.abstained,
        "speech_ratio": None if speech_ratio is None else rounded(speech_ratio),
        **{name: rounded(number) for name, number in {**said.scores, **(said.dimensions or {})}.items()},
    }


def segment_fields(told: Sequence[str]) -> list[pyarrow.Field]:
    """Return the names and types of `SEGMENT_COLUMNS` and of each label and dimension, `told`, in Parquet."""
    import pyarrow

    types = {
        "channel": pyarrow.int32(),
        "speaker": pyarrow.string(),
        "label": pyarrow.string(),
        "abstained": pyarrow.bool_(),
    }
    return [pyarrow.field(name, types.get(name, pyarrow.float64())) for name in (*SEGMENT_COLUMNS, *told)]


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    return f"{value:.3f}" if name in ("start_s", "end_s") else number_text(value)

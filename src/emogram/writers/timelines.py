"""The files that a timeline is written as. A new format is one function and one line in `FORMATS`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emogram.errors import MissingExtraError, SettingsError
from emogram.nearby import unknown
from emogram.records import Timeline
from emogram.writers import annotation, page, rows
from emogram.writers.source import Source


@dataclass(frozen=True)
class Format:
    """One kind of file.

    Attributes:
        write: Writes a timeline.
        suffix: What its names end in; tells the formats apart.
        needs: The module of the extra `formats` that it cannot do without; "" where it needs none.
    """

    write: Callable[[Path, Timeline, Source], None]
    suffix: str
    needs: str = ""


FORMATS = {
    "jsonl": Format(rows.write_jsonl, ".jsonl"),
    "csv": Format(rows.write_timeline_csv, ".csv"),
    "parquet": Format(rows.write_parquet, ".parquet", "pyarrow"),
    "textgrid": Format(annotation.write_textgrid, ".TextGrid"),
    "eaf": Format(annotation.write_eaf, ".eaf"),
    "audacity": Format(annotation.write_audacity, ".txt"),
    "vtt": Format(annotation.write_vtt, ".vtt"),
    "rttm": Format(annotation.write_rttm, ".rttm"),
    "html": Format(page.write_html, ".html"),
}


def save_timeline(
    path: str | Path, timeline: Timeline, format: str | None = None, *, recording: str | Path, model: str = ""
) -> Path:
    """Write a timeline as a file.

    Args:
        path: The file.
        timeline: As `analyze` returns it.
        format: A name of `FORMATS`; by default the suffix of `path` tells.
        recording: The sound file that was analysed: named in some formats, and drawn in the HTML page if it is there.
        model: Which model it was, in words.

    Returns:
        The file, which is `path`; of a partial timeline with ".partial" before its suffix, so that nobody takes it for
        the whole.

    Raises:
        SettingsError: There is no such format.
        MissingExtraError: The format needs the extra `formats`.
        OutputError: The file cannot be written.
    """
    path = Path(path)
    name = check_format(format if format is not None else format_of(path))
    if timeline.partial:
        path = path.with_name(f"{path.stem}.partial{path.suffix}")
    FORMATS[name].write(path, timeline, Source(Path(recording), model))
    return path


def check_format(name: str) -> str:
    """Return the name of a format that can be written here.

    Raises:
        SettingsError: There is no such format.
        MissingExtraError: It needs the extra `formats`.
    """
    if name not in FORMATS:
        raise SettingsError(unknown("format", name, FORMATS))
    needs = FORMATS[name].needs
    if needs and importlib.util.find_spec(needs) is None:
        raise MissingExtraError(f"writing {name}", "formats")
    return name


def format_of(path: Path) -> str:
    """Return the format that the suffix of a file stands for.

    Raises:
        SettingsError: It stands for none.
    """
    for name, each in FORMATS.items():
        if path.suffix.lower() == each.suffix.lower():
            return name
    suffixes = ", ".join(each.suffix for each in FORMATS.values())
    raise SettingsError(f"{path}: the name tells no format; end it in one of {suffixes}, or say the format")

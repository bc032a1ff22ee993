"""Manifests: a CSV or JSONL file with a line for each clip."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emogram.corpora.corpus import Corpus, Kind, counted, first_names, make_corpus
from emogram.corpora.labels import unify_labels
from emogram.corpora.named import known_licences
from emogram.errors import CorpusError
from emogram.records import Clip
from emogram.spectrogram import PICTURE_SUFFIXES

# As pandas writes times, and programs that use it: "0 days 00:00:01.500000".
_CLOCK = re.compile(r"(?:(\d+) days? )?(\d+):(\d\d):(\d\d(?:\.\d+)?)")

MANIFEST_SUFFIXES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson"})

# The first that is there is used; any other column goes to `Clip.extra`.
COLUMNS: Mapping[str, Sequence[str]] = {
    "path": ("path", "file", "file_name", "filename", "audio"),
    "label": ("label", "emotion"),
    "speaker": ("speaker", "speaker_id"),
    "corpus": ("corpus",),
    "start": ("start", "start_s"),
    "end": ("end", "end_s"),
}


@dataclass(frozen=True)
class Row:
    """One line of a manifest, its values stripped; "" where there is none.

    Attributes:
        line: Number of the line in the file, from 1.
        path: As written.
        label: As written.
        speaker: As written.
        corpus: As written.
        start_s: Start in seconds, >= 0.
        end_s: End in seconds, > `start_s`, or None.
        extra: The other columns that have a value.
    """

    line: int
    path: str
    label: str
    speaker: str
    corpus: str
    start_s: float
    end_s: float | None
    extra: Mapping[str, str]


def read_manifest(path: Path, *, unlabelled: bool = False) -> Corpus:
    """Read a CSV (comma, semicolon or tab) or JSONL file with the columns path and label.

    Further columns: speaker, corpus, start and end in seconds; any other goes to `Clip.extra`. "file", "file_name",
    "filename" or "audio" may stand for path, "emotion" for label. Paths are relative to the manifest. Lines whose file
    is missing or whose label is empty are left out with a warning, and so is a second line for the same clip.

    Args:
        path: The file.
        unlabelled: Also take lines without a label; the column for it may then be missing.

    Raises:
        CorpusError: Not readable as UTF-8, CSV or JSON; a column is missing; a time is no number; no line is left.
    """
    rows = read_rows(path, needs=("path",) if unlabelled else ("path", "label"))
    warnings: list[str] = []
    labelled = [row for row in rows if row.label or unlabelled]
    if len(labelled) < len(rows):
        warnings.append(f"{counted(len(rows) - len(labelled), 'line')} without a label left out")
    there = {name: _is_file(path.parent / name) for name in {row.path for row in labelled}}
    present = [row for row in labelled if there[row.path]]
    missing = list(dict.fromkeys(row.path or "(no path)" for row in labelled if not there[row.path]))
    if not present:
        raise CorpusError(f"{path}: {_why_nothing(rows, labelled, missing)}")
    if missing:
        warnings.append(f"{counted(len(missing), 'file')} that the manifest names not found: {first_names(missing)}")
    clips = _clips(present, path, warnings)
    pictures = sum(clip.path.suffix.lower() in PICTURE_SUFFIXES for clip in clips)
    if 0 < pictures < len(clips):
        raise CorpusError(
            f"{path}: names {counted(pictures, 'picture')} and {counted(len(clips) - pictures, 'sound file')}; "
            "expected one kind, make a manifest for each"
        )
    kind: Kind = "picture" if pictures else "audio"
    name = path.resolve().parent.name
    return make_corpus(clips, name=name, kind=kind, root=path, licences=known_licences(), warnings=warnings)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name too long for the file system
        return False


def read_rows(path: Path, *, needs: Sequence[str] = ("path", "label")) -> list[Row]:
    """Read all lines of a manifest, without a look at the files it names; `needs` as for `rows_of`.

    Raises:
        CorpusError: Not readable as UTF-8, CSV or JSON; the columns for path or label are missing; a time is no number.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from None
    return rows_of(content, name=str(path), needs=needs)


def rows_of(
    content: bytes,
    *,
    name: str,
    needs: Sequence[str] = ("path", "label"),
    aliases: Mapping[str, Sequence[str]] = COLUMNS,
) -> list[Row]:
    """Read all lines of what a manifest holds.

    Args:
        content: What the file holds.
        name: What the file is called; its suffix tells a table from JSON lines.
        needs: Columns that must be there.
        aliases: Which columns may stand for each of those of `COLUMNS`, the first that is there is used.

    Raises:
        CorpusError: Not readable as UTF-8, CSV or JSON; a column that is needed is missing; a time is no number.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{name}: not UTF-8 text (byte {error.start}); save it again with encoding UTF-8") from None
    lines = _csv_lines(name, text) if name.lower().endswith((".csv", ".tsv")) else _json_lines(name, text)
    # A JSON line may lack what others have; a table has the same columns throughout.
    records = list(lines)
    names = list(dict.fromkeys(name for _, record in records for name in record))
    columns = {field: next((each for each in aliases[field] if each in names), "") for field in COLUMNS}
    if not records:
        raise CorpusError(
            f"{name}: no lines in it; expected a line for each clip, with the columns {' and '.join(needs)}"
        )
    for field in needs:
        if not columns[field]:
            raise CorpusError(
                f"{name}: no column for the {field}; expected one of {', '.join(aliases[field])}, found "
                f"{', '.join(names) or 'none'}"
            )
    return [_row(name, line, record, columns) for line, record in records]


def _row(path: str, line: int, record: Mapping[str, str], columns: Mapping[str, str]) -> Row:
    def value(field: str) -> str:
        return record.get(columns[field], "")

    start_s = _seconds(path, line, columns["start"], value("start")) or 0.0
    end_s = _seconds(path, line, columns["end"], value("end"))
    if end_s is not None and end_s <= start_s:
        raise CorpusError(f"{path}, line {line}: ends at {end_s:g} s and starts at {start_s:g} s; expected end > start")
    used = set(columns.values())
    extra = {name: text for name, text in record.items() if text and name not in used}
    return Row(line, value("path"), value("label"), value("speaker"), value("corpus"), start_s, end_s, extra)


def _seconds(path: str, line: int, column: str, text: str) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        clock = _CLOCK.fullmatch(text)
        days, hours, minutes = (int(part or 0) for part in clock.groups()[:3]) if clock else (0, 0, 0)
        seconds = 86400 * days + 3600 * hours + 60 * minutes + float(clock[4]) if clock else math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise CorpusError(f"{path}, line {line}: {column} is {text!r}; expected seconds, a number of at least 0")
    return seconds


def _csv_lines(path: str, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    header = text.lstrip("\r\n").split("\n", 1)[0]
    # Spreadsheets write semicolons where the comma is the decimal sign.
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    names: list[str] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not names:
                names = [cell.strip().lower() for cell in cells]
                continue
            yield reader.line_num, {name: cell.strip() for name, cell in zip(names, cells, strict=False) if name}
    except csv.Error as error:
        raise CorpusError(f"{path}, line {reader.line_num}: not readable as CSV ({error})") from None


def _json_lines(path: str, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    for line, content in enumerate(text.splitlines(), start=1):
        if not content.strip():
            continue
        try:
            record = json.loads(content)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise CorpusError(f"{path}, line {line}: no JSON object; expected one on each line, {_JSON_EXAMPLE}")
        yield line, {key.strip().lower(): _text(value) for key, value in record.items()}


_JSON_EXAMPLE = '{"path": "a.wav", "label": "happy"}'


def _text(value: object) -> str:
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _clips(rows: list[Row], manifest: Path, warnings: list[str]) -> list[Clip]:
    labels = unify_labels(row.label for row in rows if row.label)
    corpus = manifest.resolve().parent.name
    clips: dict[tuple[Path, float, float | None], Clip] = {}
    repeated, contradicted = [], []
    for row in rows:
        clip = Clip(
            path=manifest.parent / row.path,
            label=labels[row.label] if row.label else None,
            speaker=row.speaker or None,
            corpus=row.corpus or corpus,
            start_s=row.start_s,
            end_s=row.end_s,
            extra=row.extra,
        )
        first = clips.setdefault((clip.path, clip.start_s, clip.end_s), clip)
        if first.label != clip.label:
            contradicted.append(row.path)
        elif first is not clip:
            repeated.append(row.path)
    if contradicted:
        warnings.append(
            f"{counted(len(contradicted), 'line')} with another label than an earlier line for the same clip left out: "
            f"{first_names(contradicted)}"
        )
    if repeated:
        warnings.append(f"{counted(len(repeated), 'line')} given twice, used once: {first_names(repeated)}")
    return list(clips.values())


def _why_nothing(rows: list[Row], labelled: list[Row], missing: list[str]) -> str:
    if not labelled:
        return f"none of its {counted(len(rows), 'line')} has a label; fill in the column for the label"
    return (
        f"none of the {counted(len(missing), 'file')} it names is there ({first_names(missing)}); paths are relative "
        "to the folder of the manifest"
    )

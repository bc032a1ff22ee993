"""Rows of a table in the form of another project -> a corpus, or a refusal that names the table and the row.

A manifest of one's own is forgiven a missing file or a double line; what another program has written is whole or
damaged.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from emogram.corpora.corpus import Corpus, counted, make_corpus
from emogram.corpora.labels import unify_labels
from emogram.corpora.manifest import COLUMNS, Row, rows_of
from emogram.corpora.named import known_licences
from emogram.errors import CorpusError
from emogram.records import DIMENSION_NAMES, Clip

_FAR_ENOUGH = 6  # folders above a table in which paths may begin: downloads/ lies four above EmoBox's folds

_FIRST = 10  # of which some may be missing
_HEAD_BYTES = 2**16


@dataclass(frozen=True)
class Line:
    """One row, its values as a corpus wants them; "" where there is none.

    Attributes:
        where: Table and row, for messages: "data/metadata.csv, line 3".
        path: The sound file.
        label: As written.
        speaker: As written.
        corpus: As written.
        start_s: Start in seconds, >= 0.
        end_s: End in seconds, or None.
        extra: What else it tells.
    """

    where: str
    path: Path
    label: str
    speaker: str = ""
    corpus: str = ""
    start_s: float = 0.0
    end_s: float | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


def read_table(path: Path, aliases: Mapping[str, Sequence[str]], *, unlabelled: bool = False) -> list[Row]:
    """Read the rows of a CSV or JSONL file; see `manifest.rows_of`.

    Args:
        path: The file.
        aliases: Names of the columns of `manifest.COLUMNS`; those that are left out keep theirs.
        unlabelled: Whether the column for the label may be missing.

    Raises:
        CorpusError: Not readable, or not such a table; the message names file and row.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from None
    needs = ("path",) if unlabelled else ("path", "label")
    return rows_of(content, name=str(path), needs=needs, aliases={**COLUMNS, **aliases})


def peek(path: Path, aliases: Mapping[str, Sequence[str]]) -> list[Row]:
    """Return the first row of a table that has these columns; none of any other file. What follows may be damaged."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES).lstrip().splitlines(keepends=True)
        needed = head[:2] if path.suffix.lower() == ".csv" else head[:1]
        return rows_of(b"".join(needed), name=str(path), aliases={**COLUMNS, **aliases})
    except (OSError, CorpusError):
        return []


def line_of(row: Row, table: Path, path: Path, *, drop: Sequence[str] = (), **extra: str) -> Line:
    """Return a row of a table as a line.

    Args:
        row: The row.
        table: Its table.
        path: The sound file that it means.
        drop: Columns that say nothing about the clip.
        extra: What else is known of it; columns of the row count before that.
    """
    told = {name: value for name, value in row.extra.items() if name not in drop}
    return Line(where(row, table), path, row.label, row.speaker, row.corpus, row.start_s, row.end_s, {**extra, **told})


def where(row: Row, table: Path) -> str:
    """Return what to call a row in messages."""
    return f"{table}, line {row.line}"


def inside(base: Path, name: str, place: str) -> Path:
    """Return the path of a file that a table names, which must lie below the folder that its paths begin in.

    Args:
        base: That folder.
        name: As the table has it.
        place: Table and row, for the message.

    Raises:
        CorpusError: There is none, or it leads out of the folder.
    """
    if not name:
        raise CorpusError(f"{place}: names no sound file")
    parts = PurePosixPath(name).parts
    if Path(name).is_absolute() or ".." in parts or "://" in name or "\0" in name:
        raise CorpusError(f"{place}: '{name}' leads out of the folder; expected a path below {base}")
    return base / name


def base_of(folder: Path, names: Sequence[str]) -> Path:
    """Return the folder in which relative paths begin: the nearest around a table that holds files which it names.

    Programs that are run from a fixed folder write paths relative to that one, and not to the table.

    Args:
        folder: Of the table; the answer where no folder around it holds any of the first.
        names: As the table has them.
    """
    first = [name for name in names[:_FIRST] if name and not Path(name).is_absolute()]
    above = () if folder.is_absolute() else Path.cwd().parents
    around = [folder, *folder.parents, *above][:_FAR_ENOUGH]
    return next((base for base in around if any(is_file(base / name) for name in first)), folder)


def is_file(path: Path) -> bool:
    """Return whether a file is there; not where no file could have such a name."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long for the file system, or with a null in it
        return False


def corpus_of(
    lines: Sequence[Line], *, root: Path, name: str, warnings: Sequence[str] = (), unlabelled: bool = False
) -> Corpus:
    """Make a corpus of the rows of one or several tables; those without a label are left out with a warning.

    Args:
        lines: The rows.
        root: The folder or file they were read from.
        name: What the corpus is called, unless its clips say.
        warnings: What is to be said already.
        unlabelled: Take those without a label as well.

    Raises:
        CorpusError: A file is missing, two rows are of the same clip, or no row has a label.
    """
    labelled = [line for line in lines if line.label or unlabelled]
    if not labelled:
        raise CorpusError(f"{root}: none of its {counted(len(lines), 'row')} has an emotion")
    _refuse_absent(labelled)
    labels = unify_labels(line.label for line in labelled if line.label)
    first: dict[tuple[Path, float, float | None], Line] = {}
    clips = []
    for line in labelled:
        key = (line.path, line.start_s, line.end_s)
        if key in first:
            raise CorpusError(f"{line.where}: the same clip as {first[key].where} ({line.path}); expected it once")
        first[key] = line
        extra = {
            name: _number(value) if name in DIMENSION_NAMES else value for name, value in line.extra.items() if value
        }
        label, speaker, corpus = labels.get(line.label), line.speaker or None, line.corpus or name
        clips.append(Clip(line.path, label, speaker, corpus, line.start_s, line.end_s, extra))
    notes = list(warnings)
    if len(labelled) < len(lines):
        notes.append(f"{counted(len(lines) - len(labelled), 'row')} without an emotion left out")
    return make_corpus(clips, name=name, kind="audio", root=root, licences=known_licences(), warnings=notes)


def _refuse_absent(lines: Sequence[Line]) -> None:
    there = {path: is_file(path) for path in {line.path for line in lines}}
    absent = [line for line in lines if not there[line.path]]
    if absent:
        others = len({line.path for line in absent}) - 1
        more = f", and neither {'is' if others == 1 else 'are'} {counted(others, 'other file')}" if others else ""
        raise CorpusError(f"{absent[0].where}: the file {absent[0].path} is not there{more}")


def _number(text: str) -> str:
    """Return a number as the shortest text: 3 for "3.0", so that it is the same whichever way it went."""
    value = math.nan
    with contextlib.suppress(ValueError):
        value = float(text)
    return text if not math.isfinite(value) else repr(value).removesuffix(".0")

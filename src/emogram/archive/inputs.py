"""What is to be scored: trees, files, patterns, manifests and stores -> one table, sorted, nothing in it twice."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emogram.archive.places import absolute, is_remote, one_line_of, open_store, patiently
from emogram.audio import AUDIO_SUFFIXES
from emogram.bundle import ModelInfo
from emogram.config import ArchiveConfig
from emogram.corpora.manifest import MANIFEST_SUFFIXES, rows_of
from emogram.corpora.scan import walk
from emogram.errors import InputError
from emogram.nearby import beside
from emogram.progress import SILENT, Progress
from emogram.recordings import RECORDING_SUFFIXES
from emogram.spectrogram import PICTURE_SUFFIXES

if TYPE_CHECKING:
    import pyarrow

LIST_SUFFIXES = frozenset({*MANIFEST_SUFFIXES, ".txt"})

_ROWS_AT_ONCE = 65536
_TOLD = 100_000  # so often one says how far listing is
_STRETCH_BYTES_PER_S = 32000  # what a stretch of a file is taken to weigh: 16 kHz, 16 bits
_WEB = frozenset({"http", "https"})


@dataclass(frozen=True)
class Input:
    """One thing to score.

    Attributes:
        path: An absolute path of this machine, or a URL.
        start_s: Start within the file in seconds; 0 for its beginning.
        end_s: End within the file in seconds; None for its end.
        speaker: Who speaks, where a manifest tells.
        size: Bytes to read; 0 where unknown.
    """

    path: str
    start_s: float = 0.0
    end_s: float | None = None
    speaker: str | None = None
    size: int = 0

    @property
    def whole(self) -> bool:
        """Whether it is all of the file."""
        return self.start_s == 0.0 and self.end_s is None


@dataclass(frozen=True)
class Listing:
    """All inputs.

    Attributes:
        table: Columns "path" (bytes, as the file system has them), "start_s", "end_s", "speaker" and "size", in order
            of path and start; no stretch of a file is in it twice.
        manifests: Manifest -> SHA-256 of what it held.
    """

    table: pyarrow.Table
    manifests: Mapping[str, str]


def suffixes_for(info: ModelInfo, config: ArchiveConfig) -> frozenset[str]:
    """Return the suffixes of the files that are taken from a tree."""
    if info.spectrogram is None:
        return PICTURE_SUFFIXES
    return RECORDING_SUFFIXES if config.rows == "segments" else AUDIO_SUFFIXES


def names_of(given: Iterable[str | Path]) -> tuple[str, ...]:
    """Return what was given in a form that is the same from every folder, sorted, each once."""
    return tuple(sorted({absolute(os.fspath(name)) for name in given}))


def list_inputs(names: Sequence[str], *, suffixes: frozenset[str], progress: Progress = SILENT) -> Listing:
    """List all inputs, in an order that depends on nothing but their names.

    Args:
        names: Folders, files, patterns, manifests (.csv, .tsv, .jsonl, .ndjson; .txt with a path a line) and URLs of
            all these, as `names_of` gives them.
        suffixes: Of the files that count in a folder.
        progress: Is told how many were found.

    Raises:
        InputError: A name stands for nothing, or a manifest cannot be read.
    """
    table = _Table()
    manifests: dict[str, str] = {}
    n_listed = 0
    for name in names:
        for each in _inputs_of(name, suffixes, manifests):
            table.add(each)
            n_listed += 1
            if n_listed % _TOLD == 0:
                progress.say(f"listing: {n_listed:,} inputs so far")
    return Listing(table.sorted(), manifests)


def digest_of(manifest: str) -> str:
    """Return the SHA-256 of what a manifest holds now.

    Raises:
        InputError: It cannot be read.
    """
    return hashlib.sha256(_content_of(manifest)).hexdigest()


def _inputs_of(name: str, suffixes: frozenset[str], manifests: dict[str, str]) -> Iterator[Input]:
    remote = is_remote(name)
    if _suffix(name) in LIST_SUFFIXES and (remote or not os.path.isdir(name)):  # noqa: PTH112
        content = _content_of(name)
        manifests[name] = hashlib.sha256(content).hexdigest()
        yield from _of_manifest(name, content)
        return
    n_found = 0
    for each in _of_store(name, suffixes) if remote else _of_disk(name, suffixes):
        n_found += 1
        yield each
    if n_found == 0:
        raise InputError(f"{name}: no sound file in it or of that name; expected one of {', '.join(sorted(suffixes))}")


def _of_disk(name: str, suffixes: frozenset[str]) -> Iterator[Input]:
    if os.path.isdir(name):  # noqa: PTH112 (a Path for each of millions of files would take most of the time)
        refused: list[Path] = []
        for folder, _, files in walk(Path(name), refused.append):
            for file in files:
                if _suffix(file) in suffixes:
                    path = os.path.join(folder, file)  # noqa: PTH118
                    yield Input(path, size=_size(path))
        if refused:
            raise InputError(
                f"{refused[0]}: cannot be looked into; change its permissions, or name the folders that can"
            )
    elif os.path.exists(name) or not glob.has_magic(name):  # noqa: PTH110
        if not os.path.isfile(name):  # noqa: PTH113
            raise InputError(f"{name}: no such file or folder{beside(Path(name))}", code="missing")
        yield Input(name, size=_size(name))
    else:
        for match in sorted(glob.glob(name, recursive=True)):  # noqa: PTH207 (absolute patterns)
            if os.path.isdir(match) or _suffix(match) in suffixes:  # noqa: PTH112
                yield from _of_disk(match, suffixes)


def _of_store(url: str, suffixes: frozenset[str]) -> Iterator[Input]:
    store, path = open_store(url)
    web = url.partition("://")[0].lower() in _WEB
    try:
        if not web and glob.has_magic(path):
            found = patiently(lambda: store.glob(path, detail=True))
        elif url.endswith("/") if web else patiently(lambda: store.isdir(path)):
            found = patiently(lambda: store.find(path, detail=True))
        else:
            found = None
            info = {} if web else patiently(lambda: store.info(path))
    except FileNotFoundError:
        raise InputError(f"{url}: nothing of that name there", code="missing") from None
    except Exception as error:  # stores raise what their libraries do
        raise InputError(f"{url}: cannot be listed ({one_line_of(error)})", code="remote") from None
    if found is None:
        yield Input(url, size=int(info.get("size") or 0))
        return
    for name, about in found.items():
        if about["type"] == "file" and _suffix(name) in suffixes and not name.rpartition("/")[2].startswith("."):
            yield Input(name if web else store.unstrip_protocol(name), size=int(about.get("size") or 0))


def _of_manifest(name: str, content: bytes) -> Iterator[Input]:
    if _suffix(name) == ".txt":
        for line in content.splitlines():
            if line.strip():
                path = _beside(name, os.fsdecode(line.strip()))
                yield Input(path, size=_size(path))
        return
    for row in rows_of(content, name=name, needs=("path",)):
        if not row.path:
            raise InputError(f"{name}, line {row.line}: no path; name a file on each line")
        path = _beside(name, row.path)
        if row.end_s is not None:
            size = round(_STRETCH_BYTES_PER_S * (row.end_s - row.start_s))
        else:
            told = row.extra.get("size", "")
            size = int(told) if told.isdecimal() else _size(path)
        yield Input(path, row.start_s, row.end_s, row.speaker or None, size)


def _beside(manifest: str, path: str) -> str:
    """Return a path that a manifest names, which is relative to the folder of the manifest."""
    if is_remote(path):
        return path
    if is_remote(manifest):
        return f"{manifest.rpartition('/')[0]}/{path}"
    return absolute(os.path.join(os.path.dirname(manifest), path))  # noqa: PTH118, PTH120


def _content_of(name: str) -> bytes:
    try:
        if is_remote(name):
            store, path = open_store(name)
            content: bytes = patiently(lambda: store.cat_file(path))
            return content
        return Path(name).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{name}: no such manifest", code="missing") from None
    except Exception as error:  # stores raise what their libraries do
        raise InputError(f"{name}: the manifest cannot be read ({one_line_of(error)})") from None


def _size(path: str) -> int:
    """Return the size of a file; 0 where it is not there, which is told when it is to be read, or stands elsewhere."""
    try:
        return 0 if is_remote(path) else os.stat(path).st_size  # noqa: PTH116
    except (OSError, ValueError):
        return 0


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122


class _Table:
    """Gathers inputs as columns, since a million objects of Python would fill the memory."""

    def __init__(self) -> None:
        import pyarrow

        self._schema = pyarrow.schema(
            [
                ("path", pyarrow.large_binary()),
                ("start_s", pyarrow.float64()),
                ("end_s", pyarrow.float64()),
                ("speaker", pyarrow.string()),
                ("size", pyarrow.int64()),
            ]
        )
        self._batches: list[Any] = []
        self._rows: list[Input] = []

    def add(self, row: Input) -> None:
        self._rows.append(row)
        if len(self._rows) == _ROWS_AT_ONCE:
            self._pack()

    def sorted(self) -> Any:
        """Return the table in order, and of those that are the same stretch the first."""
        import numpy as np
        import pyarrow
        from pyarrow import compute

        self._pack()
        table = pyarrow.Table.from_batches(self._batches, self._schema).combine_chunks()
        # No speaker sorts last, so that what tells more is kept.
        table = table.sort_by([(name, "ascending") for name in ("path", "start_s", "end_s", "speaker")])
        if len(table) < 2:
            return table
        same = np.ones(len(table) - 1, bool)
        for name in ("path", "start_s", "end_s"):
            column = table[name] if name == "path" else compute.fill_null(table[name], -1.0)
            same &= compute.equal(column[1:].combine_chunks(), column[:-1].combine_chunks()).to_numpy(
                zero_copy_only=False
            )
        return table.filter(pyarrow.array(np.concatenate([[True], ~same]))).combine_chunks()

    def _pack(self) -> None:
        import pyarrow

        columns = [
            [os.fsencode(row.path) for row in self._rows],
            [row.start_s for row in self._rows],
            [row.end_s for row in self._rows],
            [row.speaker for row in self._rows],
            [row.size for row in self._rows],
        ]
        self._batches.append(
            pyarrow.RecordBatch.from_arrays(
                [pyarrow.array(values, field.type) for values, field in zip(columns, self._schema, strict=True)],
                schema=self._schema,
            )
        )
        self._rows = []

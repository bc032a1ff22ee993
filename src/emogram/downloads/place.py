"""Where a corpus goes, and where it is put together before: a folder is a whole corpus, or is not there.

Everything happens in `.NAME-download` beside the folder, on the same disk. Its name begins with a dot, so that no
search for corpora looks into it; what is finished is renamed, at once, to the folder's name. A file in it tells what
was downloaded.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from emogram import __version__
from emogram.errors import DownloadError, OutputError
from emogram.files import lock, output_error, write_json

MARKER = ".emogram-download.json"


@dataclass(frozen=True)
class Receipt:
    """What was downloaded into a folder.

    Attributes:
        corpus: Name of the corpus.
        licence: Under which it was accepted.
        page: Where its authors tell of it.
        sources: Address or file -> checksum that it was checked against, or None.
        n_clips: Clips of use in it.
        n_files: Files in the folder, without this one.
        n_bytes: Their bytes.
        version: Of emogram.
    """

    corpus: str
    licence: str
    page: str
    sources: dict[str, str | None]
    n_clips: int
    n_files: int
    n_bytes: int
    version: str = __version__


def look(folder: Path, corpus: str) -> Receipt | None:
    """Return what was downloaded into a folder; None where there is nothing yet.

    Only names and sizes are looked at, which is quick.

    Raises:
        OutputError: Something else is there.
        DownloadError: Files are missing or changed in size.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    receipt = _receipt(folder / MARKER)
    if receipt is None or receipt.corpus != corpus:
        held = "other things than a download" if receipt is None else f"the corpus {receipt.corpus}"
        raise OutputError(f"{folder}: holds {held} already; name another folder")
    n_files, n_bytes = measured(folder)
    if (n_files, n_bytes) != (receipt.n_files, receipt.n_bytes):
        raise DownloadError(
            f"{folder}: holds {n_files:,} files of {n_bytes:,} bytes, and {receipt.n_files:,} of {receipt.n_bytes:,} "
            "were downloaded; remove it and download again, or name another folder",
            code="incomplete",
        )
    return receipt


def _receipt(path: Path) -> Receipt | None:
    try:
        return Receipt(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def measured(folder: Path) -> tuple[int, int]:
    """Return the number of files below a folder and their bytes, without what tells of the download."""
    sizes = [
        (here / name).lstat().st_size
        for here, _, names in _walk(folder)
        for name in names
        if (here, name) != (folder, MARKER)
    ]
    return len(sizes), sum(sizes)


def _walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    for here, below, names in os.walk(folder):
        yield Path(here), below, names


@contextlib.contextmanager
def working(folder: Path) -> Iterator[Path]:
    """Give the place where a corpus is put together, to nobody else at the same time.

    What is there when it ends stays for the next time, unless `put` has moved it on.

    Raises:
        DownloadError: Another process is at it.
        OutputError: It cannot be written.
    """
    work = _work(folder)
    try:
        work.mkdir(parents=True, exist_ok=True)
        handle = (work / "lock").open("ab")
    except OSError as error:
        raise output_error(work, error) from error
    with handle:
        if not lock(handle):
            raise DownloadError(f"{folder}: another process downloads into it; wait for that", code="busy")
        yield work


def put(made: Path, folder: Path, receipt: Receipt) -> None:
    """Move a finished corpus into its place, and remove what was only needed to make it.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        write_json(made / MARKER, asdict(receipt))
        if hasattr(os, "sync"):
            os.sync()  # all at once: a flush for each of thousands of files would take minutes
        made.replace(folder)  # in the place of an empty folder, if there is one
    except OSError as error:
        raise output_error(folder, error) from error
    clear(folder)


def clear(folder: Path) -> None:
    """Remove what was only needed to make a corpus that is in its place."""
    shutil.rmtree(_work(folder), ignore_errors=True)


def _work(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}-download")


def emptied(folder: Path) -> Path:
    """Return a folder that is there and empty, whatever an interrupted run has left in it."""
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as error:
        raise output_error(folder, error) from error
    return folder

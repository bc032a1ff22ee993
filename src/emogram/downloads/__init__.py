"""Download a corpus: its licence accepted, checked, unpacked safely, and in its place as a whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emogram.corpora import CORPORA, find_corpus
from emogram.corpora.corpus import Naming
from emogram.corpora.origin import ByHand, Download, RemoteFile
from emogram.downloads.place import Receipt, clear, emptied, look, measured, put, working
from emogram.downloads.pointers import replace_pointers
from emogram.downloads.resuming import Resuming
from emogram.downloads.unpacking import unpack
from emogram.errors import CorpusError, DownloadError, MissingExtraError, SettingsError
from emogram.files import require_space
from emogram.nearby import unknown
from emogram.progress import SILENT, Progress

__all__ = ["Downloaded", "download", "offer", "present"]

# A corpus that lacks more than this was not handed out whole; a few clips more or less are told of.
LEAST_SHARE = 0.95

_ADDRESS = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True)
class Downloaded:
    """A corpus in its folder.

    Attributes:
        folder: Where it is.
        receipt: What was downloaded.
        was_there: Whether it was there before.
        warnings: One line each.
    """

    folder: Path
    receipt: Receipt
    was_there: bool = False
    warnings: tuple[str, ...] = ()


def offer(name: str) -> tuple[Naming, Download]:
    """Return what is known of a corpus, and where it can be downloaded.

    Raises:
        SettingsError: The name is unknown.
        DownloadError: It cannot be downloaded by a program; the message says how to come by it.
    """
    naming = CORPORA.get(name)
    if naming is None:
        raise SettingsError(unknown("corpus", name, CORPORA))
    if isinstance(naming.origin, ByHand):
        raise DownloadError(
            f"{name} ({naming.licence}) cannot be downloaded by a program: at {naming.origin.page}, "
            f"{naming.origin.how}; then `emogram corpora describe FOLDER` tells whether all is there",
            code="by_hand",
        )
    return naming, naming.origin


def present(name: str, folder: str | Path | None = None) -> Downloaded | None:
    """Return what `download` would find there already, which it does not take long to see; None where it has to do it.

    Raises:
        SettingsError, DownloadError, OutputError: As `download`.
    """
    offer(name)
    place = _place(name, folder)
    receipt = look(place, name)
    return None if receipt is None else Downloaded(place, receipt, was_there=True)


def _place(name: str, folder: str | Path | None) -> Path:
    return Path(folder if folder is not None else name).expanduser().absolute()


def download(
    name: str,
    folder: str | Path | None = None,
    *,
    accept_licence: bool = False,
    places: Sequence[str] = (),
    progress: Progress = SILENT,
) -> Downloaded:
    """Download a corpus into a folder. Where it was stopped, by whatever, the same call goes on.

    Args:
        name: One of `CORPORA`.
        folder: Where to; by default a folder of that name here.
        accept_licence: That you have read its licence and accept it.
        places: Where its archives are, in the order of `Download.archives`: files, or other addresses. Empty: where its
            authors have them.
        progress: Told of each step.

    Raises:
        SettingsError: The name is unknown, the licence was not accepted, or `places` are of another number.
        DownloadError: It cannot be had, or is not what it should be.
        MissingExtraError: pooch is not installed.
        OutputError: It does not fit on the disk, or something else is in its place.
    """
    naming, origin = offer(name)
    folder = _place(name, folder)
    if there := present(name, folder):
        clear(folder)  # what a kill at the very end has left
        return there
    if not accept_licence:
        raise SettingsError(
            f"{name} is under the licence: {naming.licence} ({origin.page}); read it, and say that you accept it "
            "(--accept-licence)"
        )
    if places and len(places) != len(origin.archives):
        wanted = ", ".join(archive.name for archive in origin.archives)
        raise SettingsError(
            f"{len(places)} places for {len(origin.archives)} archives; expected one for each: {wanted}"
        )
    if importlib.util.find_spec("pooch") is None:
        raise MissingExtraError("downloading corpora", "download")
    archives = [_at(archive, place) for archive, place in zip(origin.archives, places, strict=False)] or origin.archives
    with working(folder) as work:
        if there := present(name, folder):  # another process was quicker
            return there
        whole = work / "whole"
        if not whole.exists():
            known = sum(archive.size or 0 for archive in archives) + (origin.pointers.size if origin.pointers else 0)
            require_space(folder, known - _kept_bytes(work), what=f"the download of {name}")
            _unpacked(archives, origin, work, progress).replace(whole)
        if origin.pointers:
            with _quiet() as retrieve:
                replace_pointers(
                    whole,
                    work / "files",
                    origin.pointers.url,
                    page=origin.page,
                    retrieve=retrieve,
                    progress=progress,
                )
        try:
            n_clips, warnings = _counted(naming, whole, origin.page)
        except DownloadError:
            shutil.rmtree(whole, ignore_errors=True)  # else the next attempt would find the same
            raise
        n_files, n_bytes = measured(whole)
        receipt = Receipt(
            corpus=name,
            licence=naming.licence,
            page=origin.page,
            sources={archive.url: archive.checksum for archive in archives},
            n_clips=n_clips,
            n_files=n_files,
            n_bytes=n_bytes,
        )
        put(whole, folder, receipt)
    return Downloaded(folder, receipt, warnings=warnings)


def _at(archive: RemoteFile, place: str) -> RemoteFile:
    return replace(archive, url=place)


def _kept_bytes(work: Path) -> int:
    """Return how much of a download is there already."""
    return sum(path.stat().st_size for path in work.rglob("*") if path.is_file())


def _unpacked(archives: Sequence[RemoteFile], origin: Download, work: Path, progress: Progress) -> Path:
    """Fetch all archives and unpack them into one folder; returns it."""
    fetched = [_fetched(archive, work / "archives", origin.page, progress) for archive in archives]
    unpacking = emptied(work / "unpacking")
    for archive, path in zip(archives, fetched, strict=True):
        try:
            into = unpacking if len(archives) == 1 else emptied(unpacking / Path(archive.name).stem)
            unpack(path, into, keep=origin.keep, progress=progress)
        except DownloadError:
            if path.is_relative_to(work):
                path.unlink(missing_ok=True)  # else the next attempt would find the same
            raise
    for path in fetched:
        if path.is_relative_to(work):
            path.unlink()
    return unpacking


def _fetched(archive: RemoteFile, folder: Path, page: str, progress: Progress) -> Path:
    """Return an archive on this disk, checked: fetched, or the user's own file."""
    if not _ADDRESS.match(archive.url):
        return _own_file(archive)
    part = folder / f"{archive.name}.part"
    getting = Resuming(part, page=page, checked=archive.checksum is not None, size=archive.size, progress=progress)
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            with _quiet() as retrieve:
                retrieve(archive.url, archive.checksum, fname=archive.name, path=folder, downloader=getting)
            return folder / archive.name
        except ValueError as error:
            # What an earlier run had kept may be what is wrong; only a file that came in one piece is believed.
            if getting.resumed:
                progress.say(f"{archive.name}: not what its checksum says, although gone on with; downloading it anew")
                getting.forget()
                continue
            raise DownloadError(
                f"{archive.url}: is not what its checksum says ({archive.checksum}): damaged on the way, or changed at "
                f"the source; nothing of it was kept. Try again, or look at {page}: {_one_line(error)}",
                code="checksum",
            ) from None


def _own_file(archive: RemoteFile) -> Path:
    path = Path(archive.url).expanduser()
    if not path.is_file():
        raise SettingsError(
            f"{path}: no such file, and no address; expected the archive {archive.name}, or where it is"
        )
    if archive.checksum is not None:
        kind, _, wanted = archive.checksum.partition(":")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, kind).hexdigest()
        if found != wanted:
            raise DownloadError(f"{path}: {kind} {found}, and its source publishes {wanted}", code="checksum")
    return path


@contextlib.contextmanager
def _quiet() -> Iterator[Any]:
    """Give `pooch.retrieve`, which else tells on stderr what it does."""
    import pooch

    logger = pooch.get_logger()
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield pooch.retrieve
    finally:
        logger.setLevel(before)


def _counted(naming: Naming, folder: Path, page: str) -> tuple[int, tuple[str, ...]]:
    """Return how many clips there are, and what is odd about it.

    Raises:
        DownloadError: So many are missing that this is not the corpus.
    """
    try:
        n_clips = len(find_corpus(folder, name=naming.name).clips)
    except CorpusError as error:
        raise DownloadError(f"what came is not {naming.name}: {error}; look at {page}", code="incomplete") from None
    if n_clips < LEAST_SHARE * naming.n_clips:
        raise DownloadError(
            f"what came of {naming.name} holds {n_clips:,} clips of {naming.n_clips:,}: its source has changed, or "
            f"hands out a part only; look at {page}",
            code="incomplete",
        )
    if n_clips != naming.n_clips:
        return n_clips, (f"{n_clips:,} clips, and its authors tell of {naming.n_clips:,}",)
    return n_clips, ()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())

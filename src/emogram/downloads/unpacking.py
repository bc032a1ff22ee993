"""Unpack archives from strangers: everything in them is looked at before the first byte is written.

An archive is refused as a whole when anything in it is not a plain file or folder with a plain name below the target:
paths that are absolute or lead upwards, links of both kinds, devices, pipes and sockets, sparse and encrypted files,
two names that are one (or one where the disk does not tell upper from lower case, or one way to write an accent from
another), a file where a folder is, names that no file system has, more entries or more bytes than an archive of its
size can honestly hold.
"""

from __future__ import annotations

import contextlib
import fnmatch
import gzip
import os
import re
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from emogram.errors import DownloadError
from emogram.files import output_error, require_space
from emogram.progress import SILENT, Progress

MAX_ENTRIES = 50_000
MAX_TAR_ENTRIES = 10_000  # has no list of contents: to look at so many headers takes the better part of a second
# Speech is compressed to a half or third; a folder of pointers or tables to a tenth.
MAX_GROWTH = 20
SMALL = 64 * 2**20  # what any archive may unpack to
MAX_DIRECTORY = 16 * 2**20  # bytes of a list of contents
MAX_READ = 16 * 2**20  # that a header may ask for at once
MAX_DEPTH = 32
MAX_NAME = 255  # bytes, as on common file systems
CHUNK = 2**20

_BAD_NAME = re.compile(r"[\x00-\x1f\x7f\\:]")
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    OverflowError,
    NotImplementedError,
    RuntimeError,  # RecursionError, and what zipfile raises for a missing password
    OSError,  # gzip's, and offsets that lead nowhere
)


@dataclass(frozen=True)
class _Entry:
    """One plain file or folder of an archive."""

    parts: tuple[str, ...]
    size: int
    folder: bool
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, folder: Path, *, keep: Sequence[str] = ("*",), progress: Progress = SILENT) -> int:
    """Unpack a zip, tar or tar.gz into a folder that is there and empty.

    Args:
        archive: The file; its first bytes tell its kind.
        folder: Where to; nothing is written anywhere else.
        keep: Patterns (`fnmatch`) of the paths that are written; the others are looked at too.
        progress: Told after each file.

    Returns:
        Number of files written.

    Raises:
        DownloadError: It is no archive, is damaged, or holds what is refused. Of a damaged one the files before the
            damage may have been written, and of what is refused nothing.
        OutputError: It does not fit on the disk.
    """
    try:
        with _opened(archive) as entries:
            wanted = [each for each in _checked(*entries, archive) if _kept(each, keep)]
            files = [each for each in wanted if not each.folder]
            require_space(folder, sum(each.size for each in files), what="what is unpacked")
            with progress.task(f"Unpacking {archive.name}", len(files), unit="files") as task:
                for entry in files:
                    _write(entry, folder)
                    task.advance()
            return len(files)
    except _BROKEN as error:
        raise _refused(archive, f"damaged ({' '.join(str(error).split()) or type(error).__name__})") from None


def _refused(archive: Path, why: str) -> DownloadError:
    return DownloadError(f"{archive.name}: not unpacked, {why}; nothing in it was used", code="archive")


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[tuple[Iterator[_Entry], int]]:
    """Give what is in an archive, and how many entries one of its kind may have."""
    with archive.open("rb") as file:
        start = file.read(262)
        file.seek(0)
        if start.startswith(b"PK"):
            _refuse_large_directory(file, archive)
            with zipfile.ZipFile(file) as opened:
                yield _in_zip(opened, archive), MAX_ENTRIES
        elif start.startswith(b"\x1f\x8b"):
            with gzip.GzipFile(fileobj=file) as unzipped, _tar(unzipped, archive) as tar:
                yield _in_tar(tar, archive), MAX_TAR_ENTRIES
        elif start[257:262] == b"ustar":
            with _tar(file, archive) as tar:
                yield _in_tar(tar, archive), MAX_TAR_ENTRIES
        else:
            page = start.lstrip().startswith(b"<")
            raise _refused(archive, "a web page in place of the archive" if page else "no zip, tar or tar.gz")


# ---------------------------------------------------------------- zip


def _in_zip(opened: zipfile.ZipFile, archive: Path) -> Iterator[_Entry]:
    for info in opened.infolist():
        if not info.filename:  # with which zipfile itself does not reckon
            raise _refused(archive, "it holds a file without a name")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(archive, f"'{_shown(info.filename)}' is a link or a device")
        if info.flag_bits & 0x1:
            raise _refused(archive, f"'{_shown(info.filename)}' is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _refused(archive, f"'{_shown(info.filename)}' is compressed in an unusual way")
        folder = info.is_dir()
        if kind == stat.S_IFDIR and not folder:
            raise _refused(archive, f"'{_shown(info.filename)}' is a file and a folder at once")
        # Its name as it stands in the file: zipfile cuts names at a zero byte.
        name = info.orig_filename
        yield _Entry(_parts(name, archive), info.file_size, folder, lambda info=info: opened.open(info))  # type: ignore[misc]


def _refuse_large_directory(file: IO[bytes], archive: Path) -> None:
    """Refuse before zipfile makes an object of each of millions of entries.

    The numbers are at the end of the file: APPNOTE.TXT of PKWARE, 4.3.16 and, for large archives, 4.3.14.
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 2**16 - 22 - 20))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise _refused(archive, "damaged or cut off (it has no end)")
    (size,) = struct.unpack_from("<I", tail, at + 12)
    locator = tail[at - 20 : at] if at >= 20 else b""
    if locator.startswith(b"PK\x06\x07"):
        file.seek(min(struct.unpack_from("<Q", locator, 8)[0], end))
        record = file.read(56)
        if not record.startswith(b"PK\x06\x06") or len(record) < 56:
            raise _refused(archive, "damaged (its end leads nowhere)")
        (size,) = struct.unpack_from("<Q", record, 40)
        at -= 20 + 56
    if size > MAX_DIRECTORY:
        raise _refused(archive, f"its list of contents has {size:,} bytes")
    # How many there are is counted, since the number that the end tells is believed by nobody.
    file.seek(max(0, end - len(tail) + at - size))
    if file.read(size).count(b"PK\x01\x02") > MAX_ENTRIES:
        raise _refused(archive, f"it holds more than {MAX_ENTRIES:,} entries")
    file.seek(0)


# ---------------------------------------------------------------- tar


class _Bounded:
    """A file that a tar is read from, which gives no more at once than a header or a chunk has, and ends."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile, end: int, archive: Path) -> None:
        self._file, self._end, self._archive = file, end, archive

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_READ:
            raise _refused(self._archive, f"a header in it asks for {size:,} bytes")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence != os.SEEK_SET or not 0 <= offset <= self._end:
            raise _refused(self._archive, "it unpacks to more than an archive of its size can hold")
        return self._file.seek(offset)

    def tell(self) -> int:
        return self._file.tell()


def _limit(archive: Path) -> int:
    return max(SMALL, MAX_GROWTH * archive.stat().st_size)


def _tar(file: IO[bytes] | gzip.GzipFile, archive: Path) -> tarfile.TarFile:
    # Headers and padding come on top of what is written.
    bounded: Any = _Bounded(file, _limit(archive) + 2048 * MAX_TAR_ENTRIES, archive)
    return tarfile.TarFile.taropen("", fileobj=bounded)


def _in_tar(tar: tarfile.TarFile, archive: Path) -> Iterator[_Entry]:
    for info in tar:
        name = info.name
        if info.size < 0:
            raise _refused(archive, f"'{_shown(name)}' has a size below zero")
        if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
            raise _refused(archive, f"'{_shown(name)}' is a link, a device or of an unusual kind")
        if info.issparse():
            raise _refused(archive, f"'{_shown(name)}' is sparse")
        yield _Entry(_parts(name, archive), info.size, info.isdir(), lambda info=info: _from_tar(tar, info))  # type: ignore[misc]


def _from_tar(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(info)
    assert file is not None, "it is a regular file"
    return file


# ---------------------------------------------------------------- what holds for both


def _parts(name: str, archive: Path) -> tuple[str, ...]:
    """Return the parts of a path below the target."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    try:
        longest = max((len(part.encode("utf-8")) for part in parts), default=0)
    except UnicodeEncodeError:
        longest = MAX_NAME + 1
    if name.startswith("/") or ".." in parts:
        raise _refused(archive, f"'{_shown(name)}' leads out of the folder")
    if _BAD_NAME.search(name) or longest > MAX_NAME or len(parts) > MAX_DEPTH:
        raise _refused(archive, f"'{_shown(name)}' is a name that not every disk can hold")
    return tuple(parts)


def _shown(name: str) -> str:
    """Return a name as it may be shown: short, and without what a terminal would obey."""
    return ascii(name)[1:-1][:80]


def _checked(entries: Iterator[_Entry], most: int, archive: Path) -> list[_Entry]:
    """Return all entries once each has been looked at, and how they go together."""
    limit = _limit(archive)
    found: list[_Entry] = []
    files: set[tuple[str, ...]] = set()
    folders: set[tuple[str, ...]] = set()
    total = 0
    for entry in entries:
        found.append(entry)
        total += entry.size
        if len(found) > most:
            raise _refused(archive, f"it holds more than {most:,} entries")
        if total > limit:
            raise _refused(archive, "it unpacks to more than an archive of its size can hold")
        if not entry.parts and not entry.folder:
            raise _refused(archive, "it holds a file without a name")
        key = tuple(_same(part) for part in entry.parts)
        above = {key[:depth] for depth in range(1, len(key) + entry.folder)}
        if above & files or (not entry.folder and (key in files or key in folders)):
            raise _refused(archive, f"'{_shown('/'.join(entry.parts))}' is there twice")
        folders |= above
        if not entry.folder:
            files.add(key)
    return found


def _same(part: str) -> str:
    """Return what a name is on disks that tell neither upper from lower case nor two ways to write an accent apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", part).casefold()).rstrip(". ")


def _kept(entry: _Entry, keep: Sequence[str]) -> bool:
    if "__MACOSX" in entry.parts:  # what the Finder of macOS adds
        return False
    return any(fnmatch.fnmatchcase("/".join(entry.parts), pattern) for pattern in keep)


def _write(entry: _Entry, folder: Path) -> None:
    target = folder.joinpath(*entry.parts)
    n_written = 0
    with entry.open() as source:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as out:
                for chunk in _chunks(source):
                    n_written += len(chunk)
                    if n_written > entry.size:
                        break
                    out.write(chunk)
        except OSError as error:
            raise output_error(target, error) from error
    if n_written != entry.size:
        raise ValueError(f"'{_shown(entry.parts[-1])}' is longer or shorter than it says")


def _chunks(source: IO[bytes]) -> Iterator[bytes]:
    """Yield what an entry holds; what goes wrong in reading is no error of the disk that is written to."""
    try:
        while chunk := source.read(CHUNK):
            yield chunk
    except OSError as error:
        raise ValueError(str(error)) from error

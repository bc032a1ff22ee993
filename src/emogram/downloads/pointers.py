"""Git LFS: archives of a repository hold pointers, and the files themselves are elsewhere, each at its own address.

A pointer is a text of three lines with the SHA-256 and the size of its file:
https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md.
"""

from __future__ import annotations

import re
import threading
import urllib.parse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from emogram.downloads.resuming import Resuming
from emogram.errors import DownloadError
from emogram.files import output_error, require_space
from emogram.progress import Progress

AT_ONCE = 8

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:.*\n)*?oid sha256:([0-9a-f]{64})\nsize (\d+)\n?"
)
_LONGEST = 1024  # bytes, by the specification

Retrieve = Callable[..., str]


def pointed_to(path: Path) -> tuple[str, int] | None:
    """Return the SHA-256 and the size of the file that a pointer stands for; None where it is none."""
    if path.stat().st_size > _LONGEST:
        return None
    match = _POINTER.fullmatch(path.read_bytes())
    return None if match is None else (match[1].decode(), int(match[2]))


def replace_pointers(folder: Path, work: Path, url: str, *, page: str, retrieve: Retrieve, progress: Progress) -> None:
    """Put the file in the place of each pointer below a folder; those that are files already stay.

    Args:
        folder: What an archive was unpacked to: one folder, and in that the paths of the repository.
        work: Where files are kept until they are whole.
        url: Address below which they are.
        page: Where a person can look when they are not.
        retrieve: `pooch.retrieve`.
        progress: Told after each file.

    Raises:
        DownloadError: One could not be had, or is not what its pointer says.
        OutputError: They do not fit on the disk.
    """
    pointers = {path: told for path in sorted(folder.rglob("*")) if path.is_file() and (told := pointed_to(path))}
    require_space(work, sum(size for _, size in pointers.values()), what="the download")
    sessions = threading.local()
    stop = threading.Event()

    def get(path: Path) -> None:
        if stop.is_set():
            return
        if not hasattr(sessions, "session"):
            sessions.session = _session()
        checksum, size = pointers[path]
        inside = Path(*path.relative_to(folder).parts[1:])
        name = "-".join(inside.parts)
        one = Resuming(work / f"{name}.part", page=page, checked=True, size=size, session=sessions.session)
        try:
            whole = retrieve(
                urllib.parse.urljoin(url, urllib.parse.quote(inside.as_posix())),
                f"sha256:{checksum}",
                fname=name,
                path=work,
                downloader=one,
            )
        except ValueError:
            raise DownloadError(
                f"{inside}: is not what its checksum says; the same command tries again", code="checksum"
            ) from None
        try:
            Path(whole).replace(path)
        except OSError as error:
            raise output_error(path, error) from error

    with (
        progress.task("Downloading", len(pointers), unit="files") as task,
        ThreadPoolExecutor(AT_ONCE, thread_name_prefix="download") as pool,
    ):
        try:
            for _ in pool.map(get, pointers):
                task.advance()
        except BaseException:
            stop.set()  # Ctrl-C, or one that failed: the others that wait are not begun
            raise


def _session() -> Any:
    import requests

    return requests.Session()

"""Writing files so that no half-written one ever stands under its final name."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from emogram.errors import OutputError


@contextlib.contextmanager
def writing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success flush it to disk and rename it into place.

    The temporary name keeps the suffix of `path`, since some writers choose the format by it.

    Args:
        path: The final name.
        durable: Wait until the disk holds the file, so that it survives a power cut. False only for what can be made
            again and is checked when read, and comes in thousands: on a slow disk each flush takes many milliseconds.

    Raises:
        OutputError: The disk is full, the folder cannot be written, or a file stands where a folder should be.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Cut, since the random part must not make a name too long that fits by itself.
        temporary = path.with_name(f".{path.stem[:40]}-{secrets.token_hex(4)}{path.suffix}")
        temporary.touch(mode=0o666, exist_ok=False)  # as the umask says, unlike tempfile, which keeps to its owner
        yield temporary
        if durable:
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def remove_half_written(folder: Path) -> None:
    """Remove what `writing` left in a folder when its process was killed; nobody else may be writing there."""
    for path in folder.glob(".*"):
        if re.fullmatch(r"\..{1,40}-[0-9a-f]{8}(\.[^.]*)?", path.name) and path.is_file():
            path.unlink(missing_ok=True)


def output_error(path: Path, error: OSError) -> OutputError:
    """Return the error to raise for a failed write to `path`, saying what to do."""
    if error.errno == errno.ENOSPC:
        advice = "the disk is full; free some space and run the same command again"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        advice = "the folder cannot be written to; choose another or change its permissions"
    elif error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        advice = "a file stands where a folder should be, or the other way round; choose another name"
    else:
        advice = error.strerror or str(error)
    return OutputError(f"cannot write {path}: {advice}")


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, all or nothing."""
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, all or nothing; NaN and infinities, which JSON has not, become null."""
    write_text(path, json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def json_line(value: Any) -> str:
    """Return `value` as JSON on one line, with nulls as `write_json`.

    In ASCII, so that it passes any terminal or pipe, even with a file name in it that is not valid text.
    """
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:  # to look first at what is almost never there would take longer than all the rest
        return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def lock(file: IO[bytes]) -> bool:
    """Lock a file until it is closed, or its process ends in whatever way; False where another has done so.

    On a file system that knows no locks, as some of a network, nobody is kept out.
    """
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the second on Windows
        return False
    except OSError:
        return True
    return True


def sync_folder(folder: Path, *, must: bool = True) -> None:
    """See that the names in a folder survive a power cut, where the system can.

    Args:
        folder: The folder.
        must: Whether to fail where the file system cannot, as some of a network cannot.

    Raises:
        OSError: It could not be done.
    """
    if os.name != "posix":  # folders cannot be opened there, and names are kept without it
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if must:
            raise
    finally:
        os.close(descriptor)


def require_space(folder: Path, n_bytes: int, *, what: str) -> None:
    """Refuse what would not fit, before it is begun.

    Args:
        folder: Where it goes; need not be there yet.
        n_bytes: How much it takes.
        what: What it is, for the message.

    Raises:
        OutputError: Less is free on its disk.
    """
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    if free < n_bytes:
        raise OutputError(
            f"{folder}: {what} takes {n_bytes / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free on its disk; free some "
            "space, or choose a folder on another disk"
        )


def default_cache() -> Path:
    """Return the folder for what can be made or fetched again: `EMOGRAM_CACHE`, else the user's cache folder."""
    named = os.environ.get("EMOGRAM_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "emogram"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

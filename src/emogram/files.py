"""Writing files so that no half-written one ever stands under its final name."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emogram.errors import OutputError


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success flush it to disk and rename it into place.

    The temporary name keeps the suffix of `path`, since some writers choose the format by it.

    Raises:
        OutputError: The disk is full, the folder cannot be written, or a file stands where a folder should be.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o644)  # mkstemp makes 0600; results are meant to be shared
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


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Where the results stand: a folder of this machine, or one of a store that fsspec reaches.

Both offer the same few operations, and each of them is all or nothing: who looks sees a whole file or none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

from emogram.errors import EmogramError, MissingExtraError, OutputError, SettingsError
from emogram.files import output_error, sha256_of, sync_folder, writing

EXTRA = "archive"

HIDDEN = "_emogram"
"""Folder of the plan, the markers and what is being written, which no pattern such as OUT/*.parquet looks into."""

_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_EXTRA_OF = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "http": EXTRA, "https": EXTRA}
# Where an object that is written appears whole, or not at all, and nothing can be renamed.
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci", "r2", "memory"})
_TRIES = 4
_FIRST_WAIT_S = 0.5
_OLD_S = 3600.0  # no writer takes so long
_AT_ONCE = 500  # small files asked for at once

Result = TypeVar("Result")


class Place(Protocol):
    """A folder for results. Names in it are relative, with "/" between folders."""

    url: str

    def read(self, name: str) -> bytes | None:
        """Return what a file holds; None where there is none."""

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return what files hold, by name; those that are not there are left out."""

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Return the size in bytes of each file that stands directly in a folder, by its last name."""

    def writing(self, name: str) -> contextlib.AbstractContextManager[Path]:
        """Give a path of this machine; what is written there stands under `name` once the block has ended well.

        It is then safe from a power cut, as far as the place can promise that. No half-written file is ever seen, nor
        one that ends like `name`.
        """

    def create(self, name: str, content: bytes) -> bool:
        """Write a file where none of that name stands, and tell whether it did; of two at once only one does."""

    def remove(self, name: str) -> None:
        """Take a file away; nothing happens where it is not there."""

    def sha256(self, name: str) -> str | None:
        """Return the SHA-256 of a file as hexadecimal digits; None where there is none."""

    def tidy(self) -> None:
        """Delete what writers that were killed left behind, once nobody can be writing it any more."""


def is_remote(name: str) -> bool:
    """Tell whether a name is that of another machine's file: it begins with a protocol other than file://."""
    return _REMOTE.match(name) is not None and not name.startswith("file://")


def absolute(name: str) -> str:
    """Return a name that means the same from every folder."""
    if is_remote(name):
        return name
    return os.path.abspath(os.path.expanduser(name.removeprefix("file://")))  # noqa: PTH100, PTH111 (names of any bytes)


def text_of(name: str) -> str:
    """Return a name that may hold bytes that are no text in a form that files and people can read."""
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")


def open_place(name: str) -> Place:
    """Return a folder for results, which need not be there yet.

    Raises:
        MissingExtraError: The package that reaches it is not installed.
        SettingsError: fsspec knows no such protocol.
    """
    return _RemotePlace(name.rstrip("/")) if is_remote(name) else _LocalPlace(Path(absolute(name)))


def open_store(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL, and what it calls the URL.

    Raises:
        MissingExtraError: The package that reaches it is not installed.
        SettingsError: fsspec knows no such protocol.
    """
    protocol = url.partition("://")[0].lower()
    try:
        import fsspec.core

        # Listings that are remembered would hide what other machines write.
        store, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        if protocol in _EXTRA_OF:
            raise MissingExtraError(f"reaching {protocol}://", _EXTRA_OF[protocol]) from None
        raise EmogramError(f"reaching {protocol}:// needs a package that is not installed: {error}") from None
    except ValueError as error:
        raise SettingsError(
            f"{url}: {' '.join(str(error).split())}; expected a path, s3://, gs:// or http://"
        ) from None
    return store, str(path)


def patiently(function: Callable[[], Result]) -> Result:
    """Ask a store, and again after a while where it fails for what may pass.

    Raises:
        EmogramError, FileNotFoundError, PermissionError, ...: At once, since they do not pass.
        Exception: What the last of `_TRIES` tries raised.
    """
    for attempt in range(_TRIES - 1):
        try:
            return function()
        except (EmogramError, FileNotFoundError, PermissionError, FileExistsError, NotImplementedError, TypeError):
            raise
        except Exception:  # stores raise what their libraries do
            time.sleep(_FIRST_WAIT_S * 4**attempt)
    return function()


def one_line_of(error: Exception) -> str:
    """Return what a library says of an error, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


class _LocalPlace:
    def __init__(self, folder: Path) -> None:
        self.url = str(folder)
        self._folder = folder

    def read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise OutputError(f"{self._folder / name}: cannot be read ({error.strerror})") from None

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        found = ((name, self.read(name)) for name in names)
        return {name: content for name, content in found if content is not None}

    def sizes(self, folder: str = "") -> dict[str, int]:
        sizes = {}
        try:
            with os.scandir(self._folder / folder) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):  # replaced at this moment
                        if entry.is_file():
                            sizes[entry.name] = entry.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return {}
        return sizes

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        target = self._folder / name
        waiting = self._folder / HIDDEN / f"waiting-{secrets.token_hex(6)}"
        try:
            with writing(waiting) as temporary:
                yield temporary
            target.parent.mkdir(parents=True, exist_ok=True)
            waiting.replace(target)
            sync_folder(target.parent, must=False)
        except OSError as error:
            with contextlib.suppress(
                OSError
            ):  # on a disk that has just become read-only; what went wrong first is told
                waiting.unlink(missing_ok=True)
            raise output_error(target, error) from error

    def create(self, name: str, content: bytes) -> bool:
        target = self._folder / name
        waiting = target.with_name(f"waiting-{secrets.token_hex(6)}")
        try:
            with writing(waiting) as temporary:
                temporary.write_bytes(content)
            try:
                os.link(waiting, target)  # unlike a rename, it fails where something stands
            except FileExistsError:
                return False
            except OSError:  # a file system without links
                if target.exists():
                    return False
                waiting.replace(target)
            finally:
                waiting.unlink(missing_ok=True)
            sync_folder(target.parent, must=False)
        except OSError as error:
            raise output_error(target, error) from error
        return True

    def remove(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    def tidy(self) -> None:
        for left in (self._folder / HIDDEN).glob("*waiting-*"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > _OLD_S:
                    left.unlink()

    def sha256(self, name: str) -> str | None:
        try:
            return sha256_of(self._folder / name)
        except FileNotFoundError:
            return None


class _RemotePlace:
    def __init__(self, url: str) -> None:
        self.url = url
        self._store, self._root = open_store(url)
        self._root = self._root.rstrip("/")
        protocols = self._store.protocol if isinstance(self._store.protocol, tuple) else (self._store.protocol,)
        self._renames = not _OBJECT_STORES.intersection(protocols)

    def read(self, name: str) -> bytes | None:
        try:
            content: bytes = self._ask(lambda: self._store.cat_file(self._at(name)), name)
        except FileNotFoundError:
            return None
        return content

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        wanted = {self._at(name): name for name in names}
        paths = list(wanted)
        contents: dict[str, bytes] = {}
        for first in range(0, len(paths), _AT_ONCE):
            some = paths[first : first + _AT_ONCE]
            contents |= self._ask(lambda some=some: self._store.cat(some, on_error="omit"), "")  # type: ignore[misc]
        return {wanted[path]: content for path, content in contents.items() if path in wanted}

    def sizes(self, folder: str = "") -> dict[str, int]:
        where = self._at(folder).rstrip("/")
        try:
            found = self._ask(lambda: self._store.ls(where, detail=True), folder)
        except FileNotFoundError:
            return {}
        return {
            str(each["name"]).rpartition("/")[2]: int(each["size"] or 0) for each in found if each["type"] == "file"
        }

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="emogram-") as folder:
            temporary = Path(folder) / Path(name).name
            yield temporary
            path = self._at(name)
            if not self._renames:
                self._write(lambda: self._store.put_file(str(temporary), path), name)
                return
            waiting = self._at(f"{HIDDEN}/waiting-{secrets.token_hex(6)}")
            for each in (waiting, path):
                self._make_folder(each, name)
            self._write(lambda: self._store.put_file(str(temporary), waiting), name)
            self._write(lambda: self._store.mv(waiting, path), name)

    def create(self, name: str, content: bytes) -> bool:
        path = self._at(name)
        self._make_folder(path, name)
        try:
            self._write(lambda: self._store.pipe_file(path, content, mode="create"), name)
        except FileExistsError:
            return False
        except (NotImplementedError, TypeError):  # a store or a version that cannot do that in one step
            if self.read(name) is not None:
                return False
            self._write(lambda: self._store.pipe_file(path, content), name)
        return True

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._ask(lambda: self._store.rm_file(self._at(name)), name)

    def tidy(self) -> None:
        """An object that was not written whole does not exist."""

    def sha256(self, name: str) -> str | None:
        def digest() -> str:
            sha256 = hashlib.sha256()
            with self._store.open(self._at(name), "rb") as file:
                while block := file.read(1 << 22):
                    sha256.update(block)
            return sha256.hexdigest()

        try:
            return self._ask(digest, name)
        except FileNotFoundError:
            return None

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _make_folder(self, path: str, name: str) -> None:
        if self._renames:
            self._write(lambda: self._store.makedirs(path.rpartition("/")[0], exist_ok=True), name)

    def _write(self, function: Callable[[], Any], name: str) -> None:
        try:
            self._ask(function, name)
        except FileNotFoundError as error:
            raise OutputError(f"cannot write {self.url}/{name}: {error}; make the bucket or folder first") from error

    def _ask(self, function: Callable[[], Result], name: str) -> Result:
        try:
            return patiently(function)
        except (FileNotFoundError, FileExistsError, NotImplementedError, TypeError):
            raise
        except Exception as error:
            raise OutputError(
                f"{self.url}/{name}: the store refuses or cannot be reached ({one_line_of(error)})"
            ) from error

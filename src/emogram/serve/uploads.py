"""The body of a request -> a file at hand, counted and timed as it arrives, and never whole in memory.

What clients call a file is kept as a word to show, and is never a path.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from starlette.requests import Request

from emogram.recordings import RECORDING_SUFFIXES
from emogram.serve.problems import Problem

RAW_TYPES = ("audio/", "video/", "application/octet-stream", "application/ogg")
FORM_TYPE = "multipart/form-data"
FILE_FIELD = "file"

IDLE_S = 30.0  # longest that a client may send nothing
HEAD_START_S = 10.0  # after which it must keep up with:
MIN_BYTES_PER_S = 8192  # slower than speech on the telephone
FORM_OVERHEAD = 2**16  # boundaries, headers and text around a file
MAX_FIELDS = 32
MAX_FIELD_BYTES = 4096
MAX_NAME = 200  # characters


@dataclass(frozen=True)
class Upload:
    """What a client sent.

    Attributes:
        path: The file, of a random name; whoever received it removes it.
        name: What the client calls it, made safe to show; its base name only.
        fields: The parameters of the address, and over them the text fields of a form; those left empty are not there.
    """

    path: Path
    name: str
    fields: Mapping[str, str]


class UploadFolder:
    """Where uploads lie while they are worked on: a private folder that goes with the service.

    Attributes:
        path: The folder, once the service began.
    """

    path: Path

    def __init__(self, most: int) -> None:
        """Prepare for so many uploads at once."""
        self._most = most
        self._n_inside = 0

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Take a place among those whose uploads are on their way.

        Raises:
            Problem: There is none ("busy").
        """
        if self._n_inside >= self._most:
            raise Problem("busy", "too many uploads at once; come again", retry_after_s=1.0)
        self._n_inside += 1
        try:
            yield
        finally:
            self._n_inside -= 1

    async def start(self) -> None:
        """Make the folder."""
        self._folder = tempfile.TemporaryDirectory(prefix="emogram-serve-")
        self.path = Path(self._folder.name)

    async def stop(self) -> None:
        """Remove the folder and all that is in it."""
        if hasattr(self, "_folder"):
            await asyncio.to_thread(self._folder.cleanup)


async def receive(request: Request, folder: Path, max_bytes: float) -> Upload:
    """Take in the body of a request: a form with one file in the field "file", or the sound itself.

    Nothing is left behind where it raises. A raw body is named by the parameter `name`.

    Args:
        request: The request, of which nothing was read.
        folder: Where the file goes.
        max_bytes: Largest file.

    Raises:
        Problem: "too_large", "slow_upload", "wrong_content_type", "bad_request" (cut off, no file, several files, not
            a form), "disk_full".
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_form = kind == FORM_TYPE
    if not is_form and not kind.startswith(RAW_TYPES):
        raise Problem(
            "wrong_content_type",
            f"content type {kind[:100] or 'missing'}; send {FORM_TYPE} with the field '{FILE_FIELD}', or the sound "
            "itself as audio/* or application/octet-stream",
        )
    most = int(max_bytes) + (FORM_OVERHEAD if is_form else 0)
    _check_stated(request, most)
    name = safe_name(request.query_params.get("name", ""))
    part = folder / f"{secrets.token_hex(16)}.part"
    body = _Body(request, most)
    try:
        with _full_disk_said(), part.open("xb") as file:
            if is_form:
                form = _Form(request.headers["content-type"], file)
                async for chunk in body:
                    form.feed(chunk)
                form.finish()
                name, fields = form.name, {**request.query_params, **form.fields}
            else:
                async for chunk in body:
                    file.write(chunk)
                fields = dict(request.query_params)
            n_bytes = file.tell()
        if n_bytes == 0:
            raise Problem("bad_request", f"{name}: the file is empty (0 bytes)")
        # Some decoders go by the suffix.
        suffix = Path(name).suffix.lower()
        path = part.with_suffix(suffix if suffix in RECORDING_SUFFIXES else ".bin")
        part.rename(path)
        return Upload(path, name, filled(fields))
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _full_disk_said() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise Problem("disk_full", "no room for this file; come again later", retry_after_s=60.0) from None


def filled(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the fields that are not empty: a form of a page sends them all."""
    return {name: value for name, value in fields.items() if value}


def safe_name(text: str) -> str:
    """Return the base name of what a client calls a file, without what could harm whoever shows or stores it."""
    base = re.split(r"[/\\]", text)[-1]
    clean = "".join(character if character.isprintable() else "_" for character in base).strip().strip(".")
    return clean[-MAX_NAME:] or "audio"


def _check_stated(request: Request, most: int) -> None:
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated[:20]) > most:
        raise _too_large(most)


def _too_large(most: int) -> Problem:
    return Problem("too_large", f"more than the {most / 1e6:.3g} MB that may be sent here")


class _Body:
    """The body of a request as it comes, counted and timed."""

    def __init__(self, request: Request, most: int) -> None:
        self._receive, self._most = request.receive, most
        self._begun = time.monotonic()
        self._n_bytes = 0
        self._is_whole = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while not self._is_whole:
            left_s = self._begun + HEAD_START_S + self._n_bytes / MIN_BYTES_PER_S - time.monotonic()
            try:
                async with asyncio.timeout(max(0.0, min(IDLE_S, left_s))):
                    message = await self._receive()
            except TimeoutError:
                raise Problem("slow_upload", f"the body came too slowly ({self._n_bytes} bytes of it)") from None
            if message["type"] != "http.request":
                self._is_whole = True
                raise Problem("bad_request", f"the body was cut off after {self._n_bytes} bytes")
            chunk: bytes = message.get("body", b"")
            self._is_whole = not message.get("more_body", False)
            self._n_bytes += len(chunk)
            if self._n_bytes > self._most:
                raise _too_large(self._most)
            yield chunk


@dataclass
class _Part:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    name: str = ""
    is_file: bool = False
    text: bytearray = field(default_factory=bytearray)


class _Form:
    """Takes a form apart as it arrives: the file goes to disk, text fields are kept."""

    def __init__(self, content_type: str, file: BinaryIO) -> None:
        from python_multipart.exceptions import FormParserError
        from python_multipart.multipart import MultipartParser, parse_options_header

        self.name = "audio"
        self.fields: dict[str, str] = {}
        self._file = file
        self._errors = FormParserError
        self._options = parse_options_header
        self._has_file = self._ended = False
        self._part = _Part()
        self._header, self._value = bytearray(), bytearray()
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise Problem("bad_request", "the content type of the form names no boundary")
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._take,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise Problem("bad_request", f"not a form: {error}") from None

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except self._errors as error:
            raise Problem("bad_request", f"not a form: {error}") from None

    def finish(self) -> None:
        if not self._ended:
            raise Problem("bad_request", "the form was cut off: its last boundary is missing")
        if not self._has_file:
            raise Problem("bad_request", f"no file in the form; send it as the field '{FILE_FIELD}'")

    def _begin_part(self) -> None:
        self._part = _Part()

    def _end_header(self) -> None:
        self._part.headers[bytes(self._header).lower()] = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _end_headers(self) -> None:
        _, options = self._options(self._part.headers.get(b"content-disposition", b""))
        part = self._part
        part.name = options.get(b"name", b"").decode("utf-8", "replace")
        part.is_file = b"filename" in options or part.name == FILE_FIELD
        if not part.is_file:
            if len(self.fields) >= MAX_FIELDS:
                raise Problem("bad_request", f"more than {MAX_FIELDS} fields in the form")
            return
        if part.name != FILE_FIELD:
            raise Problem("bad_request", f"a file in the field '{safe_name(part.name)}'; send it as '{FILE_FIELD}'")
        if self._has_file:
            raise Problem("bad_request", "several files in the form; send each by itself")
        self._has_file = True
        self.name = safe_name(options.get(b"filename", b"").decode("utf-8", "replace"))

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._part.is_file:
            self._file.write(memoryview(data)[start:end])
            return
        if len(self._part.text) + end - start > MAX_FIELD_BYTES:
            raise Problem("bad_request", f"the field '{safe_name(self._part.name)}' is too long")
        self._part.text += data[start:end]

    def _end_part(self) -> None:
        if not self._part.is_file:
            self.fields[self._part.name] = bytes(self._part.text).decode("utf-8", "replace")

    def _end(self) -> None:
        self._ended = True

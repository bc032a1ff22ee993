"""Inputs -> files of this machine: those of a store are copied, a few ahead, so that nobody waits for the network."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from emogram.archive.inputs import Input
from emogram.archive.places import is_remote, one_line_of, open_store, patiently
from emogram.errors import EmogramError, InputError

MAX_COPY_BYTES = 32 << 30  # of one file; 24 hours at 48 kHz and 24 bits are 12 GB a channel
AHEAD_FILES = 8
AHEAD_BYTES = (
    256 << 20
)  # more than this is not copied ahead, so that the temporary folder need not hold many large files
_UNKNOWN_BYTES = 32 << 20


def fetch(inputs: Sequence[Input], folder: Path) -> Iterator[tuple[Input, Path | EmogramError]]:
    """Yield each input with its file, in order; the copy of one is deleted when the next is asked for.

    Args:
        inputs: The inputs.
        folder: Where copies go; made when there is one.

    Yields:
        The input, and its file: of this machine itself, of a store a copy with the same suffix; or why there is none.
    """
    with ThreadPoolExecutor(AHEAD_FILES, thread_name_prefix="emogram-fetch") as pool:
        copies: deque[Future[Path]] = deque()
        ahead = 0  # next input to be looked at
        n_bytes = 0
        for place, each in enumerate(inputs):
            while ahead < len(inputs) and (ahead <= place or (ahead < place + AHEAD_FILES and n_bytes < AHEAD_BYTES)):
                if is_remote(inputs[ahead].path):
                    copies.append(pool.submit(_copy, inputs[ahead].path, folder))
                    n_bytes += _weight(inputs[ahead])
                ahead += 1
            if not is_remote(each.path):
                yield each, Path(each.path)
                continue
            try:
                copy = copies.popleft().result()
            except EmogramError as error:
                yield each, error
            else:
                yield each, copy
                copy.unlink(missing_ok=True)
            n_bytes -= _weight(each)


def _weight(each: Input) -> int:
    return each.size or _UNKNOWN_BYTES


def _copy(url: str, folder: Path) -> Path:
    """Copy a file of a store, in blocks.

    Raises:
        InputError: It is not there, its store cannot be reached, or it is larger than `MAX_COPY_BYTES`.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, suffix=Path(url.partition("?")[0]).suffix, delete=False) as file:
        copy = Path(file.name)
    try:
        store, path = open_store(url)
        patiently(lambda: store.get_file(path, str(copy), callback=_bound(url)))
    except Exception as error:  # stores raise what their libraries do
        copy.unlink(missing_ok=True)
        if isinstance(error, EmogramError):
            raise
        if isinstance(error, FileNotFoundError):
            raise InputError(f"{url}: no such file", code="missing") from None
        raise InputError(f"{url}: cannot be fetched ({one_line_of(error)})", code="remote") from None
    return copy


def _bound(url: str) -> Any:
    """Return what fsspec tells of each block, and what ends the copy of a file that is too large."""
    from fsspec.callbacks import Callback

    class Bound(Callback):  # type: ignore[misc]
        n_bytes = 0

        def relative_update(self, inc: int = 1) -> None:
            self.n_bytes += inc
            if self.n_bytes > MAX_COPY_BYTES:
                raise InputError(f"{url}: larger than {MAX_COPY_BYTES >> 30} GiB; cut it first", code="too_long")

    return Bound()

"""A downloader for pooch that goes on where an earlier one was stopped.

pooch asks for a file, and checks and files what it gets; its own downloader begins anew each time. This one keeps what
has come in a file of its own, `NAME.part`, with a note of what it is part of, and asks for the rest only (RFC 9110,
range requests). A server that does not do that, or whose file has changed, sends the whole, and then the whole is
taken.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emogram import __version__
from emogram.errors import DownloadError
from emogram.files import output_error, require_space
from emogram.progress import SILENT, Progress, Task

# Seconds until the next attempt; after that many in a row without a single byte it is given up.
WAITS_S = (1.0, 3.0, 9.0)
LONGEST_WAIT_S = 60.0  # that a server may ask for
TIMEOUTS_S = (30.0, 60.0)  # until connected, and between bytes
CHUNK = 2**16
MEGABYTE = 10**6

_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)")
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_GONE = frozenset({404, 410})


class _CutError(Exception):
    """It did not come to the end this time, and may do so the next."""

    def __init__(self, words: str, *, wait_s: float = 0.0) -> None:
        super().__init__(words)
        self.wait_s = wait_s


class Resuming:
    """Downloads one file, as pooch calls it; with attempts one after the other while they bring something.

    Attributes:
        resumed: Whether what was there already was gone on with.
    """

    def __init__(
        self,
        part: Path,
        *,
        page: str,
        checked: bool,
        size: int | None = None,
        progress: Progress = SILENT,
        session: Any = None,
    ) -> None:
        """Prepare.

        Args:
            part: Where to keep what has come; a note of what it is part of stands beside it.
            page: Where a person can look when the file is not where it was.
            checked: Whether a checksum will tell if parts of two different files were joined. If not, a part is only
                gone on with where the server names its version of the file.
            size: Bytes that the file must have; None where that is not known.
            progress: Told in megabytes.
            session: A `requests.Session` to use; None opens one for each attempt.
        """
        self.resumed = False
        self._part = part
        self._note = part.with_suffix(part.suffix + ".json")
        self._page, self._checked, self._size = page, checked, size
        self._session = session
        self._shown = _Shown(progress, part.stem)

    def __call__(self, url: str, output_file: str, pooch: object, check_only: bool = False) -> None:
        """Download `url` and give it to pooch as `output_file`.

        Raises:
            DownloadError: It is not there, was refused, or could not be had after several attempts.
            OutputError: It does not fit on the disk, or cannot be written.
        """
        with contextlib.closing(self._shown):
            self._complete(url)
            self._shown.finish()
        try:
            self._part.replace(output_file)
            self._note.unlink(missing_ok=True)
        except OSError as error:
            raise output_error(self._part, error) from error

    def forget(self) -> None:
        """Remove what was kept, so that the next attempt begins anew."""
        self._part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
        self.resumed = False

    def _complete(self, url: str) -> None:
        in_vain = 0
        while True:
            before = self._kept(url)
            try:
                self._attempt(url, before)
                return
            except _CutError as cut:
                in_vain = 0 if self._kept(url) > before else in_vain + 1
                if in_vain > len(WAITS_S):
                    kept = ", and goes on from what has come" if self._kept(url) else ""
                    raise DownloadError(
                        f"{url}: {cut}, {in_vain} times in a row; the same command tries again{kept}",
                        code="unreachable",
                    ) from None
                time.sleep(max(cut.wait_s, WAITS_S[max(0, in_vain - 1)]))

    def _kept(self, url: str) -> int:
        """Return how many bytes there are that can be gone on with."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            same = note["url"] == url and (self._checked or note["version"])
            return self._part.stat().st_size if same else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def _attempt(self, url: str, have: int) -> None:
        import requests
        import urllib3

        # Without it some servers compress what they send, and the bytes would be counted in another measure.
        headers = {"User-Agent": f"emogram/{__version__}", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        get = requests.get if self._session is None else self._session.get
        try:
            with get(url, headers=headers, stream=True, timeout=TIMEOUTS_S) as response:
                self._take(url, response, have)
        except (requests.exceptions.SSLError, requests.exceptions.TooManyRedirects, ValueError) as error:
            # `requests` counts what is no address at all among the errors of value.
            raise DownloadError(f"{url}: {_one_line(error)}; look at {self._page}", code="unreachable") from None
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
            raise _CutError(_one_line(error)) from None

    def _take(self, url: str, response: Any, have: int) -> None:
        """Write what one answer brings behind what is there, or in its place."""
        status = response.status_code
        _refuse_downgrade(url, response.url)
        spans = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if status == 416 and have:
            if spans and int(spans[3]) == have:
                return  # it was cut after the last byte
            self.forget()
            raise _CutError("the file at the source has changed")
        if status in _PASSING:
            raise _CutError(f"the server answers {status}", wait_s=_asked_wait(response))
        if status in _GONE:
            raise DownloadError(
                f"{url}: no longer there ({status}); look at {self._page} for where it is now, and give that "
                "with --from",
                code="not_found",
            )
        if status not in (200, 206):
            raise DownloadError(
                f"{url}: the server answers {status}; look at {self._page}, and give what you get there with --from",
                code="refused",
            )
        version = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if status == 206:
            known = json.loads(self._note.read_text(encoding="utf-8"))
            if not spans or spans[1] is None or int(spans[1]) != have or known["version"] != version:
                self.forget()
                raise _CutError("the file at the source has changed")
            total: int | None = int(spans[3])
        else:
            have = 0
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdigit() else None
        if total is not None and self._size is not None and total != self._size:
            raise DownloadError(
                f"{url}: has {total:,} bytes, and its source publishes {self._size:,}; look at {self._page}",
                code="checksum",
            )
        self.resumed = have > 0
        require_space(self._part.parent, (total or 0) - have, what="the download")
        try:
            self._note.write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")
            with self._part.open("ab" if have else "wb") as file:
                self._shown.begin(have, total)
                for chunk in _chunks(response):
                    file.write(chunk)
                    have += len(chunk)
                    self._shown.reached(have)
        except OSError as error:
            raise output_error(self._part, error) from error
        if total is not None and have < total:  # urllib3 before 2 takes that for the end
            raise _CutError(f"the connection ended after {have:,} of {total:,} bytes")


class _Shown:
    """Progress over several attempts: in megabytes where the whole is known, else as one file with its size."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress, self._name = progress, name
        self._task: Task | None = None
        self._open = contextlib.ExitStack()
        self._total: int | None = None
        self._shown = 0

    def begin(self, have: int, total: int | None) -> None:
        if self._task is None:
            self._total = None if total is None else math.ceil(total / MEGABYTE)
            steps, unit = (1, "files") if self._total is None else (self._total, "MB")
            self._task = self._open.enter_context(self._progress.task(f"Downloading {self._name}", steps, unit=unit))
        self.reached(have)

    def reached(self, have: int) -> None:
        megabytes = have // MEGABYTE
        if self._task is None or megabytes <= self._shown:
            return
        if self._total is None:
            self._task.advance(0, note=f"{megabytes:,} MB")
        else:
            self._task.advance(megabytes - self._shown)
        self._shown = megabytes

    def finish(self) -> None:
        if self._task is not None:
            self._task.advance(1 if self._total is None else self._total - self._shown)

    def close(self) -> None:
        self._open.close()


def _chunks(response: Any) -> Iterator[bytes]:
    """Yield what an answer brings; what goes wrong on the way is no error of the disk that is written to."""
    import urllib3

    try:
        yield from response.raw.stream(CHUNK, decode_content=False)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _CutError(_one_line(error)) from None


def _refuse_downgrade(url: str, reached: str) -> None:
    if url.startswith("https:") and not reached.startswith("https:"):
        raise DownloadError(f"{url}: leads to {reached}, which is not encrypted; not taken", code="refused")


def _asked_wait(response: Any) -> float:
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), LONGEST_WAIT_S) if asked.isdigit() else 0.0


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__

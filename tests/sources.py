"""A source of corpora on this machine: an HTTP server that cuts connections, lies and moves things, as it is told."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHUNK = 2**14


@dataclass
class Source:
    """What is served, and how; changed by a test while it runs.

    Attributes:
        files: Path -> bytes.
        cuts: After how many bytes of the body each next answer breaks off, in order; None: not.
        statuses: What each next answer is instead of the file, in order; None: the file.
        moved: Path -> where it is now.
        ranges: Whether a part may be asked for.
        etag: Version that is told; None: none.
        length: Whether the length is told.
        pause_s: Between chunks.
        asked: Path and Range of each request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int | None] = field(default_factory=list)
    statuses: list[int | None] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    etag: str | None = '"one"'
    length: bool = True
    pause_s: float = 0.0
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    @property
    def spans(self) -> list[str | None]:
        """The Range of each request."""
        return [span for _, span in self.asked]


class _Handler(BaseHTTPRequestHandler):
    source: Source

    def do_GET(self) -> None:
        source, path = self.source, self.path.split("?")[0]
        span = self.headers.get("Range")
        source.asked.append((path, span))
        status = source.statuses.pop(0) if source.statuses else None
        if path in source.moved:
            self.answer(302, b"", {"Location": source.moved[path]})
        elif status is not None:
            self.answer(status, b"no", {"Retry-After": "0"})
        elif path not in source.files:
            self.answer(404, b"not here", {})
        else:
            self.send(source.files[path], span)

    def send(self, content: bytes, span: str | None) -> None:
        source = self.source
        headers = {"ETag": source.etag} if source.etag else {}
        start = int(re.fullmatch(r"bytes=(\d+)-", span)[1]) if span and source.ranges else 0
        if start >= len(content) > 0 and span and source.ranges:
            self.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        elif start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.answer(206, content[start:], headers, cut=source.cuts.pop(0) if source.cuts else None)
        else:
            self.answer(200, content, headers, cut=source.cuts.pop(0) if source.cuts else None)

    def answer(self, status: int, body: bytes, headers: dict[str, str], *, cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.source.length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # whoever asked may have been killed
            for at in range(0, len(body) if cut is None else cut, CHUNK):
                self.wfile.write(body[at : at + CHUNK if cut is None else min(at + CHUNK, cut)])
                time.sleep(self.source.pause_s)
            self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving() -> Iterator[Source]:
    """Serve until the end of the context."""
    source = Source()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"source": source}))
    source.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield source
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

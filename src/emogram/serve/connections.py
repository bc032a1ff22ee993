"""HTTP connections as uvicorn keeps them, with the bounds that it lacks: in time and number, and in our words."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from emogram.files import json_line
from emogram.serve.problems import error_dict, status_of

HEADER_S = 10.0  # longest that the head of a request may take
LINGER_S = 5.0  # how long a body is taken in, and thrown away, after its answer was given
STALL_S = 60.0  # longest that a client may take nothing of an answer that is ready
MAX_CONNECTIONS = 2048


class BoundedProtocol(H11Protocol):
    """One connection. Whoever sends or takes nothing is let go."""

    _timer: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse("overloaded", "too many connections; come again", "Retry-After: 1\r\n")
        else:
            self._give(HEADER_S)

    def data_received(self, data: bytes) -> None:
        """Take in what came; the time for a head runs from its first byte."""
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self.conn.their_state is not h11.IDLE:
            if not self._is_past_answer():
                self._take_back()
        elif self._timer is None:
            self._give(HEADER_S)

    def on_response_complete(self) -> None:
        """Go on to the next request; a body that nobody wants any more is not awaited for ever."""
        super().on_response_complete()
        if not self.transport.is_closing() and self._is_past_answer():
            self._give(LINGER_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        super().connection_lost(exc)
        self._take_back()
        self.resume_writing()

    def pause_writing(self) -> None:
        """The client does not take its answer as fast as it comes."""
        super().pause_writing()
        self._stall = self.loop.call_later(STALL_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The client took it."""
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, or has too long a head."""
        self._refuse("bad_request", msg)

    def _is_past_answer(self) -> bool:
        return self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY

    def _give(self, seconds: float) -> None:
        self._take_back()
        self._timer = self.loop.call_later(seconds, self._late)

    def _take_back(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if self.conn.our_state is h11.IDLE and self.conn.trailing_data[0]:
            self._refuse("slow_upload", f"the head of the request took longer than {HEADER_S:g} s")
        # What the client does not take would keep the connection open.
        self.transport.abort() if self._is_past_answer() else self.transport.close()

    def _refuse(self, code: str, message: str, headers: str = "") -> None:
        """Answer without asking anybody, and close."""
        body = json_line(error_dict(code, message, ""))
        head = f"HTTP/1.1 {status_of(code)} \r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.transport.write(f"{head}{headers}Connection: close\r\n\r\n{body}".encode("ascii"))
        self.transport.close()


def options() -> dict[str, Any]:
    """Return what `uvicorn.Config` is told of connections."""
    return {
        "http": BoundedProtocol,
        "ws": "websockets-sansio",
        "ws_max_size": 2**20,
        "ws_per_message_deflate": False,  # a small message must not unpack into a large one
        "h11_max_incomplete_event_size": 2**14,
        "timeout_keep_alive": 15,
        "timeout_graceful_shutdown": 2,  # for what did not end while the service drained
        "server_header": False,
        "access_log": False,
        "log_config": None,
        "log_level": "error",
    }

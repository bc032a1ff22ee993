"""Connections as uvicorn keeps them, with the bounds that it lacks: in time and number, and in our words."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from emogram.files import json_line
from emogram.serve.problems import Problem, error_dict, retry_headers, status_of
from emogram.serve.service import Service

HEADER_S = 10.0  # longest that the head of a request may take
MAX_HEAD_BYTES = 2**14
CLIPS_PATH = "/v1/audio/emotions"
CLIPS = f"POST {CLIPS_PATH}".encode()
LINGER_S = 5.0  # how long a body is taken in, and thrown away, after its answer was given
LINGER_BYTES = 2**23  # and how much of it: whoever is cut off while he sends may not see the answer
STALL_S = 60.0  # after so long, a client must have taken of what is ready for it all, or
STALL_BYTES = 2**16
PING_S = 90.0  # to answer a ping, which is read only when the sound before it is scored
MAX_CONNECTIONS = 2048
MAX_MESSAGE_BYTES = 2**20 + 2**10  # a little more than a frame may have, so that its sender is told in our words
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *([0-9]{1,8})(?=\r|$)")
# Lengths of another kind, a body that is sent only when asked for, an end of the connection or another protocol on it,
# and lines that are none or go on.
_UNPLAIN = re.compile(rb"transfer-encoding|^expect|^connection:(?! *keep-alive$)|^upgrade|[\r\n]|^\s")
READ_BYTES = 2**14  # of a WebSocket at once: thousands of tiny frames must not keep all others waiting


class _Stall:
    """Ends a connection whose other side takes nothing of what is ready for it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        # From the first byte that is not taken, or a closed connection would wait for ever for the last ones.
        transport.set_write_buffer_limits(high=0)
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        self._waits = self._transport.get_write_buffer_size()
        self._timer = asyncio.get_running_loop().call_later(STALL_S, self._look)

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        if self._transport.get_write_buffer_size() > self._waits - STALL_BYTES:
            self._transport.abort()
        else:
            self.begin()


class _Watched(asyncio.Protocol):
    """What both kinds of connection do about a client that does not take its answers."""

    _stall: _Stall

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self._stall = _Stall(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        super().connection_lost(exc)
        self._stall.end()

    def pause_writing(self) -> None:
        """The client does not take what is ready as fast as it comes."""
        super().pause_writing()
        self._stall.begin()

    def resume_writing(self) -> None:
        """The client took it."""
        super().resume_writing()
        self._stall.end()


class BoundedProtocol(_Watched, H11Protocol):
    """One connection. Whoever sends or takes nothing is let go."""

    _timer: asyncio.TimerHandle | None = None
    _unwanted = 0  # bytes that came after the answer
    _is_refused = False
    _left = 0  # bytes of a refused request on a connection that is kept

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            busy = Problem("overloaded", "too many connections; come again", retry_after_s=1.0)
            self._refuse(busy.code, str(busy), retry_headers(busy))
        else:
            self._give(HEADER_S)

    def data_received(self, data: bytes) -> None:
        """Take in what came; the time for a head runs from its first byte."""
        if self._is_refused:
            self._pass_over(data)
            return
        while data and (self._left or self._is_one_too_many(data)):
            passed, data = data[: self._left], data[self._left :]
            self._left -= len(passed)
            self._give(LINGER_S if self._left or self._is_refused else HEADER_S)
        if not data:
            return
        if self.conn.their_state is h11.IDLE and len(data) > MAX_HEAD_BYTES:
            # h11 bounds a head only as long as it is not whole.
            super().data_received(data[: MAX_HEAD_BYTES + 1])
            data = data[MAX_HEAD_BYTES + 1 :]
            if self.transport.is_closing():
                return
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self.conn.their_state is not h11.IDLE:
            if not self._is_past_answer():
                self._take_back()
                return
            self._pass_over(data)
        elif self._timer is None:
            self._give(HEADER_S)

    def on_response_complete(self) -> None:
        """Go on to the next request; a body that nobody wants any more is not awaited for ever."""
        super().on_response_complete()
        if not self.transport.is_closing() and self._is_past_answer():
            self._unwanted = 0
            self._give(LINGER_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        super().connection_lost(exc)
        self._take_back()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Go on as a WebSocket, if it is asked for as one is."""
        headers = dict(self.headers)
        if (
            event.method != b"GET"
            or event.http_version != b"1.1"
            or headers.get(b"sec-websocket-version") != b"13"
            or re.fullmatch(rb"[\w+/]{22}==", headers.get(b"sec-websocket-key", b"")) is None
            or b"content-length" in headers
            or b"transfer-encoding" in headers
        ):
            self._refuse("bad_request", "a WebSocket is opened by GET of HTTP/1.1 with a key, version 13 and no body")
            return
        self._stall.end()
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, or has too long a head."""
        self._refuse("bad_request", msg)

    def _is_one_too_many(self, data: bytes) -> bool:
        """Refuse a clip that there is no room for, before anybody looks at it.

        Overrun, the service must not spend on those whom it turns away what those need whom it let in: through all of
        uvicorn and the guard, a refusal takes four times as much. The connection is kept where it is plain how long the
        request is, since to make another one takes both sides more than all the rest.
        """
        if not data.startswith(CLIPS) or self.conn.their_state is not h11.IDLE or self.conn.trailing_data[0]:
            return False
        service: Service = self.config.app.state.service  # type: ignore[union-attr]
        try:
            service.workers.check_room()
        except Problem as busy:
            service.metrics.answered(CLIPS_PATH, "POST", status_of(busy.code), 0.0)
            self._unset_keepalive_if_required()
            self._left = _plain_length(data)
            self._say(busy.code, str(busy), retry_headers(busy), is_last=not self._left)
            if not self._left:
                self._is_refused = True
                self._left = len(data)
                # Closed at once, the sound that is on its way could make the client miss the answer.
                self.transport.write_eof()
            return True
        return False

    def _pass_over(self, data: bytes) -> None:
        self._unwanted += len(data)
        if self._unwanted > LINGER_BYTES:
            self.transport.abort()

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

    def _refuse(self, code: str, message: str, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        """Answer without asking anybody, and close."""
        self._say(code, message, headers)
        self.transport.close()

    def _say(self, code: str, message: str, headers: Mapping[str, str], *, is_last: bool = True) -> None:
        body = json_line(error_dict(code, message, ""))
        every = {"Content-Type": "application/json", "Content-Length": len(body), **headers}
        if is_last:
            every["Connection"] = "close"
        lines = [f"HTTP/1.1 {status_of(code)} ", *(f"{name}: {value}" for name, value in every.items())]
        self.transport.write("\r\n".join([*lines, "", body]).encode("ascii"))


def _plain_length(data: bytes) -> int:
    """Return the length of a request by its first bytes; 0 where that takes more than a look, or it is too long.

    Of two that read a head in different ways, one could take what follows for another request than the other does, so
    that only a head is believed which leaves no room for that.
    """
    head, end, _ = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    told = _LENGTH.findall(head)
    is_plain = (
        end
        and len(head) <= MAX_HEAD_BYTES
        and lines[0].endswith(b" http/1.1")
        and len(told) == sum(b"content-length" in line for line in lines) == 1
        and not any(_UNPLAIN.search(line) for line in lines[1:])
    )
    return len(head) + len(end) + int(told[0]) if is_plain and int(told[0]) <= LINGER_BYTES else 0


class BoundedWebSocket(_Watched, WebSocketsSansIOProtocol):
    """One WebSocket. Whoever takes nothing is let go, and is not answered meanwhile."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        with contextlib.suppress(AttributeError):  # of asyncio's own loop, which says so nowhere
            transport.max_size = READ_BYTES  # type: ignore[attr-defined]

    def handle_ping(self) -> None:
        """Answer, unless answers wait already: a client that only pings and never reads would fill the memory."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()


def options() -> dict[str, Any]:
    """Return what `uvicorn.Config` is told of connections."""
    return {
        "http": BoundedProtocol,
        "ws": BoundedWebSocket,
        "ws_max_size": MAX_MESSAGE_BYTES,
        "ws_ping_timeout": PING_S,
        "ws_per_message_deflate": False,  # a small message must not unpack into a large one
        "h11_max_incomplete_event_size": MAX_HEAD_BYTES,
        "timeout_keep_alive": 15,
        "timeout_graceful_shutdown": 2,  # for what did not end while the service drained
        "server_header": False,
        "access_log": False,
        "log_config": None,
        "log_level": "critical",  # clients cause all else that it says, as much of it as they like
    }

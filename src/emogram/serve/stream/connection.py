"""The WebSocket of one live stream: no more is read than can be worked off, no more is sent than the client reads."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from emogram.config import ServeConfig
from emogram.serve.problems import Problem, error_dict
from emogram.serve.stream.session import MAX_FRAME_BYTES, SAMPLE_BYTES

# Close codes: those of RFC 6455, and of the private range those that sound like the HTTP status.
DONE = 1000
GOING_AWAY = 1001
ODD_BYTES = 1007
TOO_LARGE = 1009
FAILED = 1011
NOT_READING = 1013
BAD_MESSAGES = 4400
IDLE = 4408
TOO_LONG = 4413
BUSY = 4429

MAX_WAITING_BYTES = 2**17  # four seconds of sound at 16 kHz; then the socket is read no further
MAX_WAITING = 1000  # messages, which may be empty
MAX_UNSENT = 256  # messages
UNREAD_S = 10.0  # that long a client may read nothing while its results wait
CLOSE_S = 2.0  # that long it may take to say goodbye


class Ended(Exception):  # noqa: N818 (an end is no error)
    """The stream ends for a reason that lies outside of its sound.

    Attributes:
        close_code: What the socket is closed with.
        problem: What the client is told before; None where nothing is wrong.
    """

    def __init__(self, close_code: int, problem: Problem | None = None) -> None:
        """Say how it ends."""
        super().__init__(close_code)
        self.close_code = close_code
        self.problem = problem


class Gone(Exception):  # noqa: N818
    """The client went away, or reads no more: nobody is left to be told anything."""


class Connection:
    """What a stream's client says, in order, and what it is told.

    Frames of sound that wait are joined, so that thousands of tiny ones cost little more than one large one.
    """

    def __init__(
        self, websocket: WebSocket, config: ServeConfig, ending: asyncio.Event, *, join_frames: bool = True
    ) -> None:
        """Prepare; used inside of `open`.

        Args:
            websocket: Accepted.
            config: The bounds.
            ending: Set once the service is told to end.
            join_frames: Whether frames of sound that wait become one.
        """
        self.request_id: str = websocket.scope.get("state", {}).get("request_id", "")
        self._websocket = websocket
        self._config = config
        self._ending = ending
        self._join = join_frames
        self._waiting: deque[str | bytearray | Exception] = deque()
        self._n_bytes = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._unsent: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(MAX_UNSENT)
        self._sending: asyncio.Task[None]

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Read and send while in use."""
        self._sending = asyncio.create_task(self._send())
        tasks = [self._sending, asyncio.create_task(self._read()), asyncio.create_task(self._end())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def take(self, until: float) -> str | bytes:
        """Return what the client says next: words, or sound.

        Args:
            until: When the stream becomes too long, in seconds of the loop's clock.

        Raises:
            Ended: It said something that ends the stream, or nothing for too long; or the service ends.
            Gone: It went away.
        """
        try:
            async with asyncio.timeout_at(until):
                while not self._waiting:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise too_long(self._config) from None
        said = self._waiting[0]
        if isinstance(said, Exception):
            raise said  # and again, should it be asked again
        self._waiting.popleft()
        self._n_bytes -= len(said)
        self._room.set()
        return said if isinstance(said, str) else bytes(said)

    async def tell(self, messages: Iterable[dict[str, Any]]) -> None:
        """Send messages, as fast as the client reads them.

        Raises:
            Gone: It reads nothing, or went away.
        """
        for message in messages:
            await self._put(message)

    async def tell_problem(self, code: str, message: str) -> None:
        """Send an error."""
        await self._put(error_dict(code, message, self.request_id))

    async def close(self, code: int) -> None:
        """Send what waits and close; a client that reads nothing is left alone."""
        with contextlib.suppress(Gone, TimeoutError, WebSocketDisconnect, RuntimeError):
            await self._put(None)
            async with asyncio.timeout(UNREAD_S):
                await asyncio.shield(self._sending)
        await self.drop(code)

    async def drop(self, code: int) -> None:
        """Close without waiting for what the client has not read."""
        self._sending.cancel()
        with contextlib.suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
            async with asyncio.timeout(CLOSE_S):
                await self._websocket.close(code)

    async def _put(self, message: dict[str, Any] | None) -> None:
        if self._sending.done():
            raise Gone
        try:
            async with asyncio.timeout(UNREAD_S):
                await self._unsent.put(message)
        except TimeoutError:
            raise Gone from None

    async def _send(self) -> None:
        while (message := await self._unsent.get()) is not None:
            await self._websocket.send_text(json.dumps(message, ensure_ascii=False))

    async def _end(self) -> None:
        await self._ending.wait()
        self._add(Ended(GOING_AWAY))

    async def _read(self) -> None:
        while True:
            while self._n_bytes > MAX_WAITING_BYTES or len(self._waiting) > MAX_WAITING:
                self._room.clear()
                await self._room.wait()
            try:
                async with asyncio.timeout(self._config.idle_s):
                    message = await self._websocket.receive()
            except TimeoutError:
                idle = Problem("idle", f"nothing was said for {self._config.idle_s:g} s")
                self._add(Ended(IDLE, idle))
                return
            if message["type"] == "websocket.disconnect":
                self._waiting.clear()
                self._add(Gone())
                return
            try:
                self._hear(message.get("bytes"), message.get("text"))
            except Ended as end:
                self._add(end)
                return

    def _hear(self, frame: bytes | None, text: str | None) -> None:
        size = len(frame if frame is not None else text or "")
        if size > MAX_FRAME_BYTES:
            problem = Problem("too_large", f"a frame of {size} bytes; expected {MAX_FRAME_BYTES} at most")
            raise Ended(TOO_LARGE, problem)
        if frame is None:
            self._add(text or "")
            return
        if size % SAMPLE_BYTES:
            problem = Problem("odd_bytes", f"a frame of {size} bytes; expected whole samples of two bytes (s16le)")
            raise Ended(ODD_BYTES, problem)
        if self._join and self._waiting and isinstance(self._waiting[-1], bytearray):
            self._waiting[-1] += frame
            self._n_bytes += size
        elif size or not self._join:
            self._add(bytearray(frame))

    def _add(self, said: str | bytearray | Exception) -> None:
        self._n_bytes += len(said) if isinstance(said, str | bytearray) else 0
        self._waiting.append(said)
        self._news.set()


def too_long(config: ServeConfig) -> Ended:
    """Return the end of a stream that has lasted as long as it may."""
    problem = Problem("too_long", f"a stream may last {config.max_stream_s:g} s; open another session")
    return Ended(TOO_LONG, problem)

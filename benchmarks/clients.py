"""Many clients of the service at once, in one process: light, so that what is measured is the service.

Each keeps its connection open and sends a clip as the body of `POST /v1/audio/emotions`; every answer is compared with
what the model says of the clip that was sent, so that one lost or swapped is seen.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

MAX_DIFFERENCE = 1e-5  # the service rounds to 6 decimals
READ_S = 60.0
KEEP_S = 2.0  # a connection that is idle for longer may be closed by the service just when it is used again


@dataclass
class Load:
    """What clients saw.

    Attributes:
        wall_s: From the first request to the last answer.
        statuses: HTTP status -> number of answers; 0 where the connection broke or nothing came in `READ_S`.
        seconds: What each answer of status 200 took, from the first byte sent to the last one received.
        wrong: Answers of status 200 that are not those of the clip that was sent.
        unhelpful: Answers of status 429 or 503 without Retry-After.
        client_cpu_s: Processor seconds of the clients themselves.
    """

    wall_s: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    wrong: int = 0
    unhelpful: int = 0
    client_cpu_s: float = 0.0

    def quantile_ms(self, share: float) -> float:
        """Return within how many milliseconds this share of the clips was answered; NaN where none was."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


class Clients:
    """Sends clips to one service and counts what comes back."""

    def __init__(self, port: int, clips: Sequence[tuple[bytes, Mapping[str, float]]]) -> None:
        """Take the port on 127.0.0.1, and of each clip its file and the probabilities it must be answered with."""
        self._port = port
        self._requests = [_request(content) for content, _ in clips]
        self._expected = [scores for _, scores in clips]
        self._load = Load()
        self._statuses: Counter[int] = Counter()

    async def closed(self, n_clients: int, n_requests: int) -> Load:
        """Each client sends its next clip as soon as it has the answer to the last."""
        numbers = itertools.islice(itertools.count(), n_requests)

        async def client() -> None:
            connection = _Connection(self._port)
            for number in numbers:
                await self._send(connection, number)
            connection.close()

        return await self._counted(*(client() for _ in range(n_clients)))

    async def open(self, per_second: float, seconds: float) -> Load:
        """Clips are sent at this pace whatever comes back; a connection each, kept where one is free."""
        idle: list[_Connection] = []

        async def once(number: int) -> None:
            await asyncio.sleep(number / per_second)
            connection = idle.pop() if idle else _Connection(self._port)
            await self._send(connection, number)
            idle.append(connection)

        load = await self._counted(*(once(number) for number in range(int(per_second * seconds))))
        for connection in idle:
            connection.close()
        return load

    async def _counted(self, *clients: Any) -> Load:
        self._load, self._statuses = Load(), Counter()
        began, cpu_s = time.perf_counter(), time.process_time()
        await asyncio.gather(*clients)
        self._load.wall_s = time.perf_counter() - began
        self._load.client_cpu_s = time.process_time() - cpu_s
        self._load.statuses = dict(sorted(self._statuses.items()))
        return self._load

    async def _send(self, connection: _Connection, number: int) -> None:
        index = number % len(self._requests)
        began = time.perf_counter()
        try:
            async with asyncio.timeout(READ_S):
                status, headers, body = await connection.ask(self._requests[index])
        except (OSError, EOFError, TimeoutError):
            connection.close()
            self._statuses[0] += 1
            return
        self._statuses[status] += 1
        if status == 200:
            self._load.seconds.append(time.perf_counter() - began)
            self._load.wrong += not _agrees(body, self._expected[index])
        elif status in (429, 503):
            self._load.unhelpful += b"\nretry-after:" not in headers.lower()


class _Connection:
    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._used_at = 0.0

    async def ask(self, request: bytes) -> tuple[int, bytes, bytes]:
        if time.monotonic() - self._used_at > KEEP_S:
            self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        headers = await reader.readuntil(b"\r\n\r\n")
        lower = headers.lower()
        length = int(lower.partition(b"\ncontent-length:")[2].split(b"\r", 1)[0])
        body = await reader.readexactly(length)
        self._used_at = time.monotonic()
        if b"\nconnection: close" in lower:
            self.close()
        return int(headers.split(b" ", 2)[1]), headers, body

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def _request(content: bytes) -> bytes:
    head = (
        "POST /v1/audio/emotions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def _agrees(body: bytes, expected: Mapping[str, float]) -> bool:
    (segment,) = json.loads(body)["segments"]
    said = {each["label"]: each["score"] for each in segment["scores"]}
    return said.keys() == expected.keys() and all(
        abs(said[label] - score) <= MAX_DIFFERENCE for label, score in expected.items()
    )


def main(arguments: Sequence[str]) -> None:
    """Send what the file says that is named first, and print what was seen: `python -m benchmarks.clients FILE`."""
    asked = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    clips = [(Path(path).read_bytes(), scores) for path, scores in asked["clips"]]
    clients = Clients(asked["port"], clips)
    way = clients.closed if asked["way"] == "closed" else clients.open
    print(json.dumps(asdict(asyncio.run(way(*asked["values"])))))


if __name__ == "__main__":
    main(sys.argv[1:])

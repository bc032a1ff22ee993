"""`AsyncClient`: what `Client` does, for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy.typing as npt

from emogram.client import calls
from emogram.client.address import TIMEOUT_S, URL, Address, lost, require_client
from emogram.client.blocking import AT_ONCE, CLOSE_S
from emogram.client.calls import Call, Lost, Reply, Request, Wait
from emogram.client.records import StreamEvent, prediction_of
from emogram.client.streaming import CLOSE, Frames, Reader, refused, update_message
from emogram.errors import EmogramError
from emogram.files import writing
from emogram.progress import SILENT, Progress
from emogram.records import Prediction, Timeline

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

Result = TypeVar("Result")

BLOCK_BYTES = 2**18


class AsyncClient:
    """A service; each method is that of `Client` of the same name, awaited, and raises the same errors."""

    def __init__(self, url: str = URL, token: str | None = None, *, timeout_s: float = TIMEOUT_S) -> None:
        """Prepare; see `Client`."""
        require_client()
        import httpx

        self._address = Address.of(url, token, timeout_s)
        self._http = httpx.AsyncClient(**self._address.http())

    async def __aenter__(self) -> Self:
        """Use it as a context."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def predict(
        self,
        audio: str | Path | bytes | npt.ArrayLike,
        *,
        sample_rate: int | None = None,
        model: str | None = None,
        check: bool = False,
    ) -> Prediction:
        """Tell the emotion of one utterance; see `Client.predict`."""
        return prediction_of(await self.result(audio, sample_rate=sample_rate, model=model, check=check))

    async def result(
        self,
        audio: str | Path | bytes | npt.ArrayLike,
        *,
        sample_rate: int | None = None,
        model: str | None = None,
        check: bool = True,
    ) -> dict[str, Any]:
        """Return what `predict` is made of; see `Client.result`."""
        return await self._do(calls.result(audio, sample_rate, model, check=check))

    async def predict_many(
        self,
        files: Iterable[str | Path | bytes],
        *,
        model: str | None = None,
        check: bool = False,
        at_once: int = AT_ONCE,
    ) -> AsyncIterator[tuple[str | Path | bytes, Prediction | EmogramError]]:
        """Yield each file with its prediction, or with the error that came instead; see `Client.predict_many`."""

        async def outcome(file: str | Path | bytes) -> Prediction | EmogramError:
            try:
                return await self.predict(file, model=model, check=check)
            except EmogramError as error:
                return error

        waiting: deque[tuple[str | Path | bytes, asyncio.Task[Prediction | EmogramError]]] = deque()
        try:
            for file in files:
                waiting.append((file, asyncio.create_task(outcome(file))))
                if len(waiting) >= at_once:
                    first, task = waiting.popleft()
                    yield first, await task
            while waiting:
                first, task = waiting.popleft()
                yield first, await task
        finally:
            for _, task in waiting:
                task.cancel()

    async def analyze(
        self,
        path: str | Path,
        *,
        model: str | None = None,
        channels: str = "mix",
        raw: bool = False,
        find_speech: bool = True,
        progress: Progress = SILENT,
        keep: bool = False,
    ) -> Timeline:
        """Find where in a recording which emotion is; see `Client.analyze`."""
        job = await self.send_job(path, model=model, channels=channels, raw=raw, find_speech=find_speech)
        try:
            return await self.wait(job["id"], progress=progress)
        finally:
            if not keep:
                with contextlib.suppress(EmogramError):
                    await self.delete(job["id"])

    async def send_job(
        self,
        path: str | Path,
        *,
        model: str | None = None,
        channels: str = "mix",
        raw: bool = False,
        find_speech: bool = True,
    ) -> dict[str, Any]:
        """Send a recording and return its job; see `Client.send_job`."""
        return await self._do(calls.send_job(path, model, channels=channels, raw=raw, find_speech=find_speech))

    async def wait(self, job_id: str, *, progress: Progress = SILENT) -> Timeline:
        """Wait until a job is finished and return what it found."""
        return await self._do(calls.found(job_id, progress))

    async def jobs(self, *, limit: int = 100) -> list[dict[str, Any]]:
        """Return the jobs of the service, the newest first."""
        return await self._do(calls.listed(calls.jobs_request(limit), "jobs"))

    async def job(self, job_id: str) -> dict[str, Any]:
        """Return a job: its status and how far it is."""
        return await self._do(calls.as_json(calls.job_request(job_id)))

    async def cancel(self, job_id: str) -> dict[str, Any]:
        """End a job and return it; of a finished one nothing changes."""
        return await self._do(calls.as_json(calls.cancel_request(job_id)))

    async def delete(self, job_id: str) -> None:
        """Delete a job and all that belongs to it."""
        await self._do(calls.done(calls.delete_request(job_id)))

    async def save_result(self, job_id: str, path: str | Path, response_format: str) -> Path:
        """Write what a finished job found as a file; see `Client.save_result`."""
        content = await self._do(calls.result_file(job_id, response_format))
        with writing(Path(path)) as temporary:
            temporary.write_bytes(content)
        return Path(path)

    async def models(self) -> list[dict[str, Any]]:
        """Return the models of the service, the one that answers by default first."""
        return await self._do(calls.listed(calls.MODELS, "models"))

    async def health(self) -> dict[str, Any]:
        """Return {"healthy", "ready"}: whether the service lives, and whether it takes work; asked once."""
        return await self._do(calls.health())

    async def stream(
        self,
        chunks: Iterable[bytes | npt.ArrayLike] | AsyncIterable[bytes | npt.ArrayLike],
        *,
        sample_rate: int = 16000,
        model: str | None = None,
        find_speech: bool = True,
        smooth: bool = True,
    ) -> AsyncGenerator[StreamEvent]:
        """Send live sound and yield what is heard; see `Client.stream`. The chunks may come asynchronously too."""
        from websockets.asyncio.client import connect
        from websockets.exceptions import WebSocketException

        async with contextlib.AsyncExitStack() as stack:
            try:
                socket = await stack.enter_async_context(connect(**self._address.websocket()))
            except (OSError, WebSocketException) as error:
                raise refused(error, self._address) from None
            settings = update_message(sample_rate, model, find_speech=find_speech, smooth=smooth)
            async with contextlib.aclosing(_heard(socket, chunks, settings)) as events:
                async for event in events:
                    yield event

    async def _do(self, call: Call[Result]) -> Result:
        reply: Reply | Lost | None = None
        while True:
            try:
                step = call.send(reply)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            if isinstance(step, Wait):
                reply = None
                await asyncio.sleep(step.seconds)
            else:
                reply = await self._sent(step)

    async def _sent(self, request: Request) -> Reply | Lost:
        import httpx

        content, headers = request.content, dict(request.headers)
        if isinstance(content, Path):
            headers["Content-Length"] = str(content.stat().st_size)
        try:
            answer = await self._http.request(
                request.method,
                request.path,
                params=dict(request.params),
                content=_blocks(content) if isinstance(content, Path) else content,
                headers=headers,
            )
        except httpx.TransportError as error:
            return lost(error, self._address)
        return Reply(answer.status_code, answer.headers, answer.content)


async def _heard(
    socket: ClientConnection,
    chunks: Iterable[bytes | npt.ArrayLike] | AsyncIterable[bytes | npt.ArrayLike],
    settings: str,
) -> AsyncGenerator[StreamEvent]:
    """Send sound in a task of its own, and yield what comes back."""
    from websockets.exceptions import ConnectionClosed

    async def speak() -> None:
        frames = Frames()
        try:
            async for chunk in _each(chunks):
                for frame in frames.of(chunk):
                    await socket.send(frame)
            await socket.send(CLOSE)
        except ConnectionClosed:  # whoever reads is told why
            pass
        except BaseException:  # the reader's to raise
            await socket.close()
            raise

    reader = Reader()
    speaker: asyncio.Task[None] | None = None
    try:
        with contextlib.suppress(ConnectionClosed):
            await socket.send(settings)
            speaker = asyncio.create_task(speak())
            while True:
                event = reader.read(await socket.recv())
                if event is not None:
                    yield event
        if speaker is not None:
            await speaker
        reader.end(socket.close_code, socket.close_reason or "")
    finally:
        socket.close_timeout = CLOSE_S
        if speaker is not None:
            speaker.cancel()
            await asyncio.gather(speaker, return_exceptions=True)


async def _blocks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while block := await asyncio.to_thread(file.read, BLOCK_BYTES):
            yield block


async def _each(
    chunks: Iterable[bytes | npt.ArrayLike] | AsyncIterable[bytes | npt.ArrayLike],
) -> AsyncIterator[bytes | npt.ArrayLike]:
    if isinstance(chunks, AsyncIterable):
        async for chunk in chunks:
            yield chunk
        return
    for chunk in chunks:
        yield chunk
        await asyncio.sleep(0)

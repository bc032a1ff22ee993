"""`Client`: a service, asked and waited for."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy.typing as npt

from emogram.client import calls
from emogram.client.address import TIMEOUT_S, URL, Address, lost, require_client
from emogram.client.calls import Call, Lost, Reply, Request, Wait
from emogram.client.records import StreamEvent, prediction_of
from emogram.client.streaming import CLOSE, Frames, Reader, refused, update_message
from emogram.errors import EmogramError
from emogram.files import writing
from emogram.progress import SILENT, Progress
from emogram.records import Prediction, Timeline

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

Result = TypeVar("Result")

AT_ONCE = 8
CLOSE_S = 1.0  # that long a service may take to say goodbye to whoever leaves a stream


class Client:
    """A service. Many threads may share one client; close it, or use it as a context.

    What cannot be read raises `InputError` with the code that the service gave, wrong parameters raise `SettingsError`,
    and all else `ServerError`. A service that is busy or ending is asked again, up to four times, after as long as it
    says; what got lost on the way likewise, except where it might then be done twice.
    """

    def __init__(self, url: str = URL, token: str | None = None, *, timeout_s: float = TIMEOUT_S) -> None:
        """Prepare; nothing is sent yet.

        Args:
            url: Address of the service.
            token: Its secret; None where it has none.
            timeout_s: Longest that a part of an answer may be waited for.

        Raises:
            MissingExtraError: The extra `client` is not installed.
            SettingsError: The address is none.
        """
        require_client()
        import httpx

        self._address = Address.of(url, token, timeout_s)
        self._http = httpx.Client(**self._address.http())

    def __enter__(self) -> Self:
        """Use it as a context."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def predict(
        self,
        audio: str | Path | bytes | npt.ArrayLike,
        *,
        sample_rate: int | None = None,
        model: str | None = None,
        check: bool = False,
    ) -> Prediction:
        """Tell the emotion of one utterance, as `Classifier.predict` does.

        Args:
            audio: A sound file; the bytes of one; or samples, shape (n_samples,) or (n_samples, n_channels).
            sample_rate: Rate of the samples in Hz; not used for files.
            model: Id of a model of the service; None for its first.
            check: Also look whether it is speech and fill in `speech_share` and `warnings`.

        Raises:
            EmogramError: See `Client`.
        """
        return prediction_of(self.result(audio, sample_rate=sample_rate, model=model, check=check))

    def result(
        self,
        audio: str | Path | bytes | npt.ArrayLike,
        *,
        sample_rate: int | None = None,
        model: str | None = None,
        check: bool = True,
    ) -> dict[str, Any]:
        """Return what `predict` is made of: the result of a clip in the schema "emogram.result/1"."""
        return self._do(calls.result(audio, sample_rate, model, check=check))

    def predict_many(
        self,
        files: Iterable[str | Path | bytes],
        *,
        model: str | None = None,
        check: bool = False,
        at_once: int = AT_ONCE,
    ) -> Iterator[tuple[str | Path | bytes, Prediction | EmogramError]]:
        """Yield each file with its prediction, or with the error that came instead, in the order of the files.

        Args:
            files: Sound files, or their bytes; taken as they are needed.
            model: Id of a model of the service; None for its first.
            check: As for `predict`.
            at_once: How many are on their way at once, >= 1.
        """
        for file, said in self.results_many(files, model=model, check=check, at_once=at_once):
            yield file, said if isinstance(said, EmogramError) else prediction_of(said)

    def results_many(
        self,
        files: Iterable[str | Path | bytes],
        *,
        model: str | None = None,
        check: bool = True,
        at_once: int = AT_ONCE,
    ) -> Iterator[tuple[str | Path | bytes, dict[str, Any] | EmogramError]]:
        """Yield what `predict_many` is made of; see there."""

        def outcome(file: str | Path | bytes) -> dict[str, Any] | EmogramError:
            try:
                return self.result(file, model=model, check=check)
            except EmogramError as error:
                return error

        waiting: deque[tuple[str | Path | bytes, Future[dict[str, Any] | EmogramError]]] = deque()
        pool = ThreadPoolExecutor(at_once, thread_name_prefix="emogram-client")
        try:
            for file in files:
                waiting.append((file, pool.submit(outcome, file)))
                if len(waiting) >= 2 * at_once:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def analyze(
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
        """Find where in a recording which emotion is, as `emogram.analyze` does: send it as a job and wait for it.

        Args:
            path: A sound file of any length that the service takes.
            model: Id of a model of the service; None for its first.
            channels: "mix" averages the channels; "split" analyses each by itself.
            raw: Do not smooth.
            find_speech: Look where somebody speaks.
            progress: Is told of the seconds done.
            keep: Leave the job with the service, as `jobs` shows it; otherwise it is deleted, whatever happens.

        Raises:
            EmogramError: See `Client`; the recording could not be analysed.
        """
        job = self.send_job(path, model=model, channels=channels, raw=raw, find_speech=find_speech)
        try:
            return self.wait(job["id"], progress=progress)
        finally:
            if not keep:
                with contextlib.suppress(EmogramError):
                    self.delete(job["id"])

    def send_job(
        self,
        path: str | Path,
        *,
        model: str | None = None,
        channels: str = "mix",
        raw: bool = False,
        find_speech: bool = True,
    ) -> dict[str, Any]:
        """Send a recording and return its job, without waiting for it; see `analyze`."""
        return self._do(calls.send_job(path, model, channels=channels, raw=raw, find_speech=find_speech))

    def wait(self, job_id: str, *, progress: Progress = SILENT) -> Timeline:
        """Wait until a job is finished and return what it found."""
        return self._do(calls.found(job_id, progress))

    def jobs(self, *, limit: int = 100) -> list[dict[str, Any]]:
        """Return the jobs of the service, the newest first."""
        return self._do(calls.listed(calls.jobs_request(limit), "jobs"))

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job: its status and how far it is."""
        return self._do(calls.as_json(calls.job_request(job_id)))

    def cancel(self, job_id: str) -> dict[str, Any]:
        """End a job and return it; of a finished one nothing changes."""
        return self._do(calls.as_json(calls.cancel_request(job_id)))

    def delete(self, job_id: str) -> None:
        """Delete a job and all that belongs to it."""
        self._do(calls.done(calls.delete_request(job_id)))

    def save_result(self, job_id: str, path: str | Path, response_format: str) -> Path:
        """Write what a finished job found as a file: json, or a format of `emogram analyze`.

        Raises:
            OutputError: The file cannot be written.
            EmogramError: See `Client`.
        """
        content = self._do(calls.result_file(job_id, response_format))
        with writing(Path(path)) as temporary:
            temporary.write_bytes(content)
        return Path(path)

    def models(self) -> list[dict[str, Any]]:
        """Return the models of the service, the one that answers by default first."""
        return self._do(calls.listed(calls.MODELS, "models"))

    def health(self) -> dict[str, Any]:
        """Return {"healthy", "ready"}: whether the service lives, and whether it takes work; asked once."""
        return self._do(calls.health())

    def stream(
        self,
        chunks: Iterable[bytes | npt.ArrayLike],
        *,
        sample_rate: int = 16000,
        model: str | None = None,
        find_speech: bool = True,
        smooth: bool = True,
    ) -> Generator[StreamEvent]:
        """Send live sound and yield what is heard as it is known: the records of `live`, and at last a `StreamEnd`.

        Args:
            chunks: Sound as it comes, read in a thread of its own: s16le as bytes, or samples of shape (n,) or (n,
                channels), int16 or floats with full scale at +-1. Its end ends the stream.
            sample_rate: In Hz.
            model: Id of a model of the service; None for its first.
            find_speech: Look where somebody speaks.
            smooth: Average windows over one another, and pay for each change of label.

        Raises:
            EmogramError: See `Client`; the stream was refused or cut off.
        """
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect

        with contextlib.ExitStack() as stack:
            try:
                socket = stack.enter_context(connect(**self._address.websocket()))
            except (OSError, WebSocketException) as error:
                raise refused(error, self._address) from None
            yield from _heard(
                socket, chunks, update_message(sample_rate, model, find_speech=find_speech, smooth=smooth)
            )

    def _do(self, call: Call[Result]) -> Result:
        reply: Reply | Lost | None = None
        while True:
            try:
                step = call.send(reply)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            if isinstance(step, Wait):
                reply = None
                time.sleep(step.seconds)
            else:
                reply = self._sent(step)

    def _sent(self, request: Request) -> Reply | Lost:
        import httpx

        with contextlib.ExitStack() as stack:
            content = request.content
            body = stack.enter_context(content.open("rb")) if isinstance(content, Path) else content
            try:
                answer = self._http.request(
                    request.method,
                    request.path,
                    params=dict(request.params),
                    content=body,
                    headers=dict(request.headers),
                )
            except httpx.TransportError as error:
                return lost(error, self._address)
        return Reply(answer.status_code, answer.headers, answer.content)


def _heard(socket: ClientConnection, chunks: Iterable[bytes | npt.ArrayLike], settings: str) -> Generator[StreamEvent]:
    """Send sound in a thread of its own, and yield what comes back."""
    from websockets.exceptions import ConnectionClosed

    failure: list[BaseException] = []
    stopped = threading.Event()

    def speak() -> None:
        frames = Frames()
        try:
            for chunk in chunks:
                for frame in frames.of(chunk):
                    if stopped.is_set():
                        return
                    socket.send(frame)
            socket.send(CLOSE)
        except ConnectionClosed:  # whoever reads is told why
            pass
        except BaseException as error:  # the reader's to raise
            failure.append(error)
            socket.close()

    reader = Reader()
    try:
        with contextlib.suppress(ConnectionClosed):
            socket.send(settings)
            threading.Thread(target=speak, name="emogram-client-stream", daemon=True).start()
            while True:
                event = reader.read(socket.recv())
                if event is not None:
                    yield event
        if failure:
            raise failure[0]
        reader.end(socket.close_code, socket.close_reason or "")
    finally:
        stopped.set()
        socket.close_timeout = CLOSE_S

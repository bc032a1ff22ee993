"""What is asked of a service, step by step, without a network: each call yields requests and waits, and gets replies.

So the blocking client and that of asyncio share all but how a request is sent and how one waits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from emogram.audio import not_a_file
from emogram.client.records import error_of, name_of, not_understood, timeline_of, wave_of
from emogram.errors import EmogramError, InputError, ServerError
from emogram.progress import Progress, Task
from emogram.records import Timeline

Result = TypeVar("Result")

RETRIES = 4
FIRST_WAIT_S = 0.2  # doubled each time
MAX_WAIT_S = 30.0  # a service that asks for more is not waited for
POLL_S = (0.2, 2.0)  # shortly after the beginning, and later
BUSY = (429, 503)
BODY = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True)
class Request:
    """What is sent.

    Attributes:
        method: Of HTTP.
        path: Below the address of the service.
        params: Of the address.
        content: The body, or the file that holds it.
        repeatable: Whether it may be sent again when nobody knows whether it arrived.
    """

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    content: bytes | Path | None = None
    repeatable: bool = True

    @property
    def headers(self) -> Mapping[str, str]:
        """What goes with the body."""
        return {} if self.content is None else BODY


@dataclass(frozen=True)
class Wait:
    """A pause of so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Lost:
    """Nothing came back.

    Attributes:
        reason: In words.
        arrived: Whether the request may have arrived.
        late: Whether it was waited for as long as may be.
    """

    reason: str
    arrived: bool
    late: bool = False


Call = Generator[Request | Wait, Reply | Lost | None, Result]


def answered(request: Request) -> Call[Reply]:
    """Send a request, again where that is safe and may help, and return the reply.

    Raises:
        EmogramError: The service refuses it, or is not there.
    """
    attempt = 0
    while True:
        reply = yield request
        assert reply is not None, "a request is answered"
        wait_s = _wait_s(request, reply, attempt)
        if wait_s is None:
            break
        yield Wait(wait_s)
        attempt += 1
    if isinstance(reply, Lost):
        raise ServerError(reply.reason, code="unreachable")
    if reply.status >= 400:
        raise refusal_of(reply.status, reply.body)
    return reply


def _wait_s(request: Request, reply: Reply | Lost, attempt: int) -> float | None:
    """Return how long to wait before the next attempt; None where there is none."""
    own_s = FIRST_WAIT_S * 2**attempt
    if attempt == RETRIES:
        return None
    if isinstance(reply, Lost):
        return own_s if not reply.late and (request.repeatable or not reply.arrived) else None
    if reply.status not in BUSY:
        return None
    try:
        asked_s = float(reply.headers.get("retry-after", own_s))
    except ValueError:  # a date: of proxies
        asked_s = own_s
    return max(own_s, asked_s) if math.isfinite(asked_s) and asked_s <= MAX_WAIT_S else None


def refusal_of(status: int, body: bytes) -> EmogramError:
    """Return the error that a reply tells of."""
    try:
        told = json.loads(body)
        return error_of(str(told["code"]), str(told["message"]), status)
    except (ValueError, KeyError, TypeError):
        return ServerError(f"the service answered with status {status}", status=status)


def as_json(request: Request) -> Call[Any]:
    """Send a request and return the JSON that comes back."""
    reply = yield from answered(request)
    try:
        return json.loads(reply.body)
    except ValueError:
        raise not_understood("JSON") from None


def result(audio: Any, sample_rate: int | None, model: str | None, *, check: bool) -> Call[dict[str, Any]]:
    """Ask for the result of a clip."""
    if isinstance(audio, str | Path):
        content: bytes | Path = _file(audio)
    elif isinstance(audio, bytes | bytearray | memoryview):
        content = bytes(audio)
    else:
        content = wave_of(audio, sample_rate)
    params = {"name": name_of(audio), "check": str(check).lower(), **_named(model)}
    said: dict[str, Any] = yield from as_json(Request("POST", "/v1/audio/emotions", params, content))
    return said


def send_job(path: str | Path, model: str | None, **options: object) -> Call[dict[str, Any]]:
    """Send a recording; it is not sent again where it may have arrived."""
    texts = {name: str(value).lower() for name, value in options.items()}
    params = {"name": name_of(path), **texts, **_named(model)}
    job: dict[str, Any] = yield from as_json(Request("POST", "/v1/jobs", params, _file(path), repeatable=False))
    return job


def found(job_id: str, progress: Progress) -> Call[Timeline]:
    """Wait until a job is finished, and fetch what it found.

    Raises:
        EmogramError: It failed, or was cancelled.
    """
    wait_s, most_s = POLL_S
    job = yield from as_json(job_request(job_id))
    total_s = job["progress"]["total_s"] or 0
    with progress.task(f"analysing {job['file']}", round(total_s), unit="s") as task:
        told = 0
        while job["status"] in ("queued", "running"):
            yield Wait(wait_s)
            wait_s = min(most_s, 1.3 * wait_s)
            job = yield from as_json(job_request(job_id))
            told = _advance(task, job, told)
    if job["status"] == "failed":
        raise InputError(job["error"]["message"], code=job["error"]["code"])
    if job["status"] != "done":
        raise ServerError(f"the job of {job['file']} was {job['status']}", code=job["status"])
    said = yield from as_json(Request("GET", f"/v1/jobs/{job_id}/result"))
    windows = yield from as_json(Request("GET", f"/v1/jobs/{job_id}/windows"))
    return timeline_of(said, windows)


def result_file(job_id: str, response_format: str) -> Call[bytes]:
    """Fetch what a job found as a file."""
    params = {"response_format": response_format}
    reply = yield from answered(Request("GET", f"/v1/jobs/{job_id}/result", params))
    return reply.body


def job_request(job_id: str) -> Request:
    """Ask for a job."""
    return Request("GET", f"/v1/jobs/{job_id}")


def jobs_request(limit: int) -> Request:
    """Ask for the newest jobs."""
    return Request("GET", "/v1/jobs", {"limit": str(limit)})


def cancel_request(job_id: str) -> Request:
    """End a job."""
    return Request("POST", f"/v1/jobs/{job_id}/cancel")


def delete_request(job_id: str) -> Request:
    """Delete a job; the second time there would be none."""
    return Request("DELETE", f"/v1/jobs/{job_id}", repeatable=False)


MODELS = Request("GET", "/v1/models")


def done(request: Request) -> Call[None]:
    """Send a request whose reply says nothing."""
    yield from answered(request)


def listed(request: Request, name: str) -> Call[list[dict[str, Any]]]:
    """Ask for a list."""
    said = yield from as_json(request)
    try:
        return list(said[name])
    except (KeyError, TypeError):
        raise not_understood(f"a list of {name}") from None


def health() -> Call[dict[str, Any]]:
    """Ask whether it lives and takes work, once."""
    said = {}
    for name, path in (("healthy", "/healthz"), ("ready", "/readyz")):
        reply = yield Request("GET", path)
        if isinstance(reply, Lost):
            raise ServerError(reply.reason, code="unreachable")
        assert reply is not None, "a request is answered"
        said[name] = reply.status == 200
    return said


def _advance(task: Task, job: Mapping[str, Any], told: int) -> int:
    seconds = max(told, int(job["progress"]["done_s"] or 0))
    task.advance(seconds - told)
    return seconds


def _named(model: str | None) -> dict[str, str]:
    return {} if model is None else {"model": model}


def _file(path: str | Path) -> Path:
    if not Path(path).is_file():
        raise not_a_file(Path(path))
    return Path(path)

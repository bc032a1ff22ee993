"""Sends to a service of the tests what a curl command of the documentation would send."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from emogram.client import Client

WRITTEN_URL = "http://127.0.0.1:8000"


@dataclass
class RunningService:
    """A service that runs: its address, the routes that it has, and the last job that was sent to it."""

    url: str
    paths: dict[str, dict[str, object]]  # of its OpenAPI description: path -> method -> what it does
    job: str = "ID"

    def in_place(self, text: str) -> str:
        """Return a text of a page with this service in the place of the one that it names."""
        return text.replace(WRITTEN_URL, self.url).replace("/jobs/ID", f"/jobs/{self.job}")


@dataclass
class Request:
    """What a curl command sends."""

    url: str = ""
    method: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    body: str | None = None

    @property
    def path(self) -> str:
        return re.sub(r"^https?://[^/]+", "", self.url).split("?")[0]


def request_of(arguments: Iterable[str]) -> Request:
    """Read the arguments of curl."""
    request = Request()
    words = iter(arguments)
    for word in words:
        if word == "-F":
            name, _, value = next(words).partition("=")
            request.fields[name] = value
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            request.headers[name] = value
        elif word == "-X":
            request.method = next(words)
        elif word == "--data-binary":
            request.body = next(words).removeprefix("@")
        elif word != "-OJ":
            assert not word.startswith("-") and not request.url, f"curl {word} is not understood here"
            request.url = word
    request.method = request.method or ("POST" if request.fields or request.body else "GET")
    return request


def assert_known(request: Request, paths: dict[str, dict[str, object]]) -> None:
    """Look whether the service has such a route."""
    for path, methods in paths.items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), request.path) and request.method.lower() in methods:
            return
    raise AssertionError(f"the service has no {request.method} {request.path}")


def send(request: Request, service: RunningService, folder: Path) -> None:
    """Send a request, whose files lie in a folder; a job is waited for."""
    import httpx

    with contextlib.ExitStack() as stack:
        files = {
            name: stack.enter_context((folder / value[1:]).open("rb"))
            for name, value in request.fields.items()
            if value.startswith("@")
        }
        answer = httpx.request(
            request.method,
            service.in_place(request.url),
            headers=request.headers,
            files=files or None,
            data={name: value for name, value in request.fields.items() if name not in files} or None,
            content=None if request.body is None else (folder / request.body).read_bytes(),
            timeout=60.0,
        )
    assert answer.status_code < 400, f"{request.method} {request.path}: {answer.status_code} {answer.text[:300]}"
    if (request.method, request.path) == ("POST", "/v1/jobs"):
        service.job = answer.json()["id"]
        with Client(service.url) as client:
            client.wait(service.job)

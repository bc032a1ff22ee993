"""Who is let in, and what everybody is told alike."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from serving import running
from starlette.requests import HTTPConnection

import emogram
from emogram.config import ServeConfig
from emogram.serve.app import create_app
from emogram.serve.guard import host_fits, origin_fits, token_fits
from emogram.serve.models import Models
from emogram.serve.service import Service
from emogram.testing import tiny_bundle


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return emogram.load(tiny_bundle(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def service(model):
    def make(**settings: Any) -> Service:
        return Service(Models([model]), ServeConfig.from_dict({"workers": 1, **settings}))

    return make


def connection(kind: str = "http", *, subprotocols: tuple[str, ...] = (), **headers: str) -> HTTPConnection:
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return HTTPConnection({"type": kind, "headers": raw, "subprotocols": list(subprotocols)})


def test_without_a_token_nobody_is_asked_for_one(service):
    assert token_fits(service(), connection())


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        (connection(), False),
        (connection(authorization="Bearer 12345678"), True),
        (connection(authorization="bearer  12345678 "), True),
        (connection(authorization="Bearer 1234567"), False),
        (connection(authorization="Bearer 123456789"), False),
        (connection(authorization="Basic 12345678"), False),
        (connection(authorization="Bearer \xe9\xff"), False),
        (connection(subprotocols=("bearer.12345678",)), False),
        (connection("websocket", subprotocols=("emogram.v1", "bearer.12345678")), True),
        (connection("websocket", subprotocols=("emogram.v1", "bearer.wrong")), False),
        (connection("websocket", authorization="Bearer 12345678"), True),
    ],
)
def test_the_token_stands_in_a_header_or_among_subprotocols(service, given, fits):
    assert token_fits(service(token="12345678"), given) is fits


@pytest.mark.parametrize(
    ("host", "fits"),
    [
        ("127.0.0.1:8000", True),
        ("localhost", True),
        ("[::1]:8000", True),
        ("10.1.2.3", True),
        ("emotions.example.org", True),
        ("evil.example.org", False),
        ("localhost.evil.org", False),
        ("127.0.0.1.evil.org", False),
        ("", False),
        ("[::1", False),
    ],
)
def test_a_name_that_is_not_its_own_is_refused(service, host, fits):
    assert host_fits(service(hosts=["emotions.example.org"]), connection(host=host)) is fits


@pytest.mark.parametrize(
    ("headers", "fits"),
    [
        ({}, True),
        ({"origin": "http://localhost:8000"}, True),
        ({"origin": "https://friend.org"}, True),
        ({"origin": "http://localhost:9000"}, False),
        ({"origin": "https://evil.org"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://[::1"}, False),
        ({"sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}, False),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, True),
    ],
)
def test_pages_of_other_sites_are_refused(service, headers, fits):
    given = connection(host="localhost:8000", **headers)
    assert origin_fits(service(origins=["https://friend.org"]), given) is fits


def test_a_running_service_tells_its_health_and_its_models(model):
    with running(create_app([model], ServeConfig(workers=1))) as url:
        assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}
        assert httpx.get(f"{url}/readyz").json() == {"status": "ready"}
        (said,) = httpx.get(f"{url}/v1/models").json()["models"]
        assert said["sha256"] == model.sha256

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
        ({"origin": "https://localhost:8000"}, True),
        ({"origin": "http://localhost:9000"}, False),
        ({"origin": "http://localhost"}, False),
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


# ---------------------------------------------------------------- a running service


@pytest.fixture(scope="module")
def url(model):
    """A service with a token, one friend and one name."""
    settings = ServeConfig(
        workers=1, token="12345678", origins=("https://friend.org",), hosts=("emotions.example.org",)
    )
    app = create_app([model], settings)

    @app.get("/v1/broken")
    async def broken() -> None:
        raise RuntimeError("the secret of the house")

    with running(app) as address:
        yield address


TOKEN = {"authorization": "Bearer 12345678"}


def refused(response: httpx.Response, status: int, code: str) -> dict:
    said = response.json()
    assert (response.status_code, said["type"], said["code"]) == (status, "error", code), said
    assert set(said) == {"type", "code", "message", "request_id"}
    assert said["request_id"] == response.headers["x-request-id"] != ""
    return said


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs", "/openapi.json"])
def test_some_doors_need_no_token(url, path):
    assert httpx.get(f"{url}{path}").status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/v1/audio/emotions", "/v2", "/page"])
def test_all_others_do(url, path):
    answer = httpx.get(f"{url}{path}")
    refused(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    refused(httpx.get(f"{url}{path}", headers={"authorization": "Bearer 12345679"}), 401, "unauthorized")
    refused(httpx.get(f"{url}{path}", params={"token": "12345678"}), 401, "unauthorized")
    assert httpx.get(f"{url}{path}", headers=TOKEN).status_code != 401


def test_every_refusal_has_one_shape(url):
    refused(httpx.get(f"{url}/v2/nothing", headers=TOKEN), 404, "not_found")
    answer = httpx.get(f"{url}/v1/audio/emotions", headers=TOKEN)
    refused(answer, 405, "wrong_method")
    assert answer.headers["allow"] == "POST"
    refused(httpx.get(f"{url}/v1/models", headers={**TOKEN, "host": "evil.org"}), 403, "forbidden")
    refused(httpx.get(f"{url}/v1/models/", headers=TOKEN), 404, "not_found")


def test_an_error_of_ours_tells_nothing_and_is_logged_with_its_id(url, caplog):
    answer = httpx.get(f"{url}/v1/broken", headers={**TOKEN, "x-request-id": "abc-1"})
    said = refused(answer, 500, "internal")
    assert said["request_id"] == "abc-1"
    assert "secret" not in answer.text
    (record,) = [record for record in caplog.records if record.name == "emogram.serve"]
    assert "abc-1" in record.getMessage() and "the secret of the house" in str(record.exc_info)
    assert httpx.get(f"{url}/healthz").status_code == 200


@pytest.mark.parametrize(("given", "kept"), [("abc-1", True), ("a b", False), ("x" * 65, False), ("<script>", False)])
def test_a_sane_request_id_is_kept(url, given, kept):
    said = httpx.get(f"{url}/healthz", headers={"x-request-id": given}).headers["x-request-id"]
    assert (said == given) is kept and said


def test_security_headers_stand_on_every_answer(url):
    for path in ("/healthz", "/v1/models", "/v2", "/docs"):
        headers = httpx.get(f"{url}{path}").headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert httpx.get(f"{url}/v1/models").headers["cache-control"] == "no-store"


def test_cross_origin_requests(url):
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    answer = httpx.options(f"{url}/v1/audio/emotions", headers={"origin": "https://friend.org", **asked})
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "https://friend.org"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "Authorization" in answer.headers["access-control-allow-headers"]
    refused(
        httpx.options(f"{url}/v1/audio/emotions", headers={"origin": "https://evil.org", **asked}), 403, "forbidden"
    )
    for method in ("GET", "POST"):
        given = {**TOKEN, "origin": "https://evil.org"}
        answer = httpx.request(method, f"{url}/v1/models", headers=given)
        refused(answer, 403, "forbidden")
        assert "access-control-allow-origin" not in answer.headers
    answer = httpx.get(f"{url}/v1/models", headers={**TOKEN, "origin": "https://friend.org"})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://friend.org"
    assert answer.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in answer.headers
    plain = httpx.get(f"{url}/v1/models", headers=TOKEN)
    assert "access-control-allow-origin" not in plain.headers


def test_without_allowed_origins_there_is_no_cors(model):
    with running(create_app([model], ServeConfig(workers=1))) as address:
        refused(
            httpx.options(
                f"{address}/v1/models", headers={"origin": "https://friend.org", "access-control-request-method": "GET"}
            ),
            403,
            "forbidden",
        )
        assert httpx.get(f"{address}/v1/models", headers={"origin": address}).status_code == 200
        refused(httpx.options(f"{address}/v1/models"), 405, "wrong_method")


def test_websockets_are_refused_before_they_are_accepted(url):
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    address = url.replace("http", "ws") + "/v1/nothing"
    for headers, status in (
        ({}, 401),
        ({"Authorization": "Bearer wrong-one"}, 401),
        ({"Authorization": "Bearer 12345678", "Origin": "https://evil.org"}, 403),
    ):
        with pytest.raises(InvalidStatus) as caught:
            connect(address, additional_headers=headers)
        assert caught.value.response.status_code == status


def test_while_ending_no_new_work_is_taken(model):
    app = create_app([model], ServeConfig(workers=1))
    with running(app) as address:
        app.state.service.ending.set()
        for answer in (httpx.get(f"{address}/readyz"), httpx.post(f"{address}/v1/audio/emotions")):
            refused(answer, 503, "draining")
            assert answer.headers["retry-after"] == "5"
        assert httpx.get(f"{address}/healthz").status_code == 200
        assert httpx.get(f"{address}/v1/models").status_code == 200


def test_too_many_at_once_are_told_to_come_again(model, monkeypatch):
    monkeypatch.setattr("emogram.serve.guard.MAX_OPEN", 0)
    with running(create_app([model], ServeConfig(workers=1))) as address:
        answer = httpx.get(f"{address}/v1/models")
        refused(answer, 503, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
        assert httpx.get(f"{address}/healthz").status_code == 200


def test_the_description_tells_each_error_and_needs_no_script(url):
    description = httpx.get(f"{url}/openapi.json").json()
    assert description["openapi"].startswith("3.")
    for path, methods in description["paths"].items():
        for operation in methods.values():
            assert operation["summary"] and operation["responses"], path
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    content = response["content"]["application/json"]
                    assert content["schema"]["required"] == ["type", "code", "message", "request_id"]
                    assert all(each["value"]["code"] for each in content["examples"].values())
    page = httpx.get(f"{url}/docs").text
    assert "/v1/audio/emotions" in page
    assert not any(word in page for word in ("<script", "src=", "<link", "@import", "url("))


def test_metrics_count_what_was_asked(model):
    with running(create_app([model], ServeConfig(workers=1))) as address:
        httpx.get(f"{address}/v1/models")
        httpx.get(f"{address}/secret/{'x' * 50}")
        said = httpx.get(f"{address}/metrics").text
    assert 'emogram_requests_total{method="GET",route="/v1/models",status="200"} 1.0' in said
    assert 'emogram_requests_total{method="GET",route="other",status="404"} 1.0' in said
    assert "xxxx" not in said
    for name in (
        "emogram_request_seconds_bucket", "emogram_batch_clips_bucket", "emogram_queue_clips 0.0",
        "emogram_model_info", "emogram_worker_bytes", "process_resident_memory_bytes",
    ):  # fmt: skip
        assert name in said

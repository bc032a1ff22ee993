"""What clients send, and what they send to do harm: a file at hand, or a refusal that says why, and nothing left."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from emogram.serve import uploads
from emogram.serve.problems import Problem
from emogram.serve.uploads import receive, safe_name

FORM = {"content-type": "multipart/form-data; boundary=xx"}
RAW = {"content-type": "audio/wav"}


def request(body: Iterable[bytes], headers: dict[str, str], *, query: str = "", pause_s: float = 0.0) -> Request:
    """A request whose body comes in these pieces; None among them is a client that goes away."""
    pieces = iter([*body, b""])

    async def get() -> dict[str, Any]:
        await asyncio.sleep(pause_s)
        piece = next(pieces, b"")
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": piece != b""}

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "headers": raw, "query_string": query.encode(), "path": "/"}
    return Request(scope, get)


def form(*parts: tuple[str, bytes]) -> bytes:
    """Each part is what follows `form-data; ` and its content."""
    lines = [b"--xx\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + body for head, body in parts]
    return b"\r\n".join([*lines, b"--xx--\r\n"])


FILE = ('name="file"; filename="a.wav"', b"0123456789")


def sent(folder: Path, body: Iterable[bytes], headers: dict[str, str], most: int = 10**6, **options: Any) -> Any:
    async def main() -> Any:
        return await receive(request(body, headers, **options), folder, most)

    return asyncio.run(main())


@pytest.mark.parametrize("size", [1, 7, 10**6])
def test_a_form_is_taken_apart_however_it_arrives(tmp_path, size):
    body = form(('name="model"', b"tiny"), FILE, ('name="check"', b"false"))
    pieces = [body[first : first + size] for first in range(0, len(body), size)]
    upload = sent(tmp_path, pieces, FORM, query="model=other&top=1")
    assert upload.path.read_bytes() == b"0123456789"
    assert upload.path.parent == tmp_path and upload.path.suffix == ".wav"
    assert upload.name == "a.wav"
    assert upload.fields == {"model": "tiny", "check": "false", "top": "1"}


def test_a_raw_body_is_the_sound(tmp_path):
    upload = sent(tmp_path, [b"01234", b"56789"], RAW, query="name=b.flac&check=true")
    assert upload.path.read_bytes() == b"0123456789"
    assert (upload.name, upload.path.suffix) == ("b.flac", ".flac")
    assert upload.fields == {"name": "b.flac", "check": "true"}


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        ([b"x" * 2000], RAW, "too_large"),
        ([b"x" * 600] * 3, RAW, "too_large"),
        ([], {**RAW, "content-length": "2000"}, "too_large"),
        ([], {**RAW, "content-length": "9" * 50}, "too_large"),
        ([form(("name=file; filename=a", b"x" * 70_000))], FORM, "too_large"),
        ([b""], RAW, "bad_request"),
        ([b"abc", None], RAW, "bad_request"),
        ([b"abc"], {}, "wrong_content_type"),
        ([b"abc"], {"content-type": "application/json"}, "wrong_content_type"),
        ([b"abc"], {"content-type": "multipart/form-data"}, "bad_request"),
        ([b"abc"], {"content-type": "multipart/form-data; boundary=" + "x" * 1000}, "bad_request"),
        ([b"no form at all"], FORM, "bad_request"),
        ([form()], FORM, "bad_request"),
        ([form(('name="model"', b"tiny"))], FORM, "bad_request"),
        ([form(FILE, FILE)], FORM, "bad_request"),
        ([form(('name="sound"; filename="a.wav"', b"123"))], FORM, "bad_request"),
        ([form(('name="file"; filename="a.wav"', b""))], FORM, "bad_request"),
        ([form(FILE)[:-4]], FORM, "bad_request"),
        ([form(FILE)[:70]], FORM, "bad_request"),
        ([form(('name="note"', b"x" * 5000), FILE)], FORM, "bad_request"),
        ([form(*[(f'name="n{number}"', b"x") for number in range(40)], FILE)], FORM, "bad_request"),
        ([form((f'name="{"n" * 100_000}"', b"x"), FILE)], FORM, "too_large"),
        ([form((f'name="{"n" * 50_000}"', b"x"), FILE)], FORM, "bad_request"),
    ],
)
def test_what_cannot_be_used_is_refused_and_leaves_nothing(tmp_path, body, headers, code):
    with pytest.raises(Problem) as caught:
        sent(tmp_path, body, headers, 1000)
    assert caught.value.code == code
    assert list(tmp_path.iterdir()) == []


def test_a_slow_client_is_let_go(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "HEAD_START_S", 0.3)
    with pytest.raises(Problem) as caught:
        sent(tmp_path, [b"x"] * 100, RAW, pause_s=0.02)
    assert caught.value.code == "slow_upload"
    monkeypatch.setattr(uploads, "HEAD_START_S", 60.0)
    monkeypatch.setattr(uploads, "IDLE_S", 0.1)
    with pytest.raises(Problem) as caught:
        sent(tmp_path, [b"x"], RAW, pause_s=0.5)
    assert caught.value.code == "slow_upload"
    assert list(tmp_path.iterdir()) == []


def test_a_request_that_is_given_up_leaves_nothing(tmp_path):
    async def main():
        task = asyncio.create_task(receive(request([b"x"] * 100, RAW, pause_s=0.05), tmp_path, 1000))
        await asyncio.sleep(0.2)
        assert len(list(tmp_path.iterdir())) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\sounds\\talk.wav", "talk.wav"),
        ("..", "audio"),
        ("", "audio"),
        ("a\x00b\r\nc.wav", "a_b__c.wav"),
        ("\u202egnp.exe", "_gnp.exe"),
        ("Gespräch 1.wav", "Gespräch 1.wav"),
        ("x" * 500 + ".wav", "x" * 196 + ".wav"),
    ],
)
def test_names_are_words_and_never_paths(given, name):
    assert safe_name(given) == name


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    """A limit on the size of files stands in for the end of the disk."""
    import resource
    import signal

    monkeypatch.setattr(uploads, "MIN_BYTES_PER_S", 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(Problem) as caught:
            sent(tmp_path, [b"x" * 65536] * 4, RAW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.code == "disk_full"
    assert caught.value.retry_after_s is not None
    assert list(tmp_path.iterdir()) == []

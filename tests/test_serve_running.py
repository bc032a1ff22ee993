"""The command `emogram serve`: where it listens, whom it lets in, and how it ends; and connections that do harm."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from serving import running

import emogram
from emogram import cli
from emogram.config import ServeConfig
from emogram.installing import install_line
from emogram.serve import connections
from emogram.serve.app import create_app
from emogram.serve.problems import Problem
from emogram.serve.workers import Workers
from emogram.testing import tiny_bundle

SLOW_DECODER = """
import sys, time
if sys.argv[:1] == ["-m"]:
    import soundfile
    opened = soundfile.SoundFile.__init__

    def __init__(self, *arguments, **options):
        time.sleep(1.5)
        opened(self, *arguments, **options)

    soundfile.SoundFile.__init__ = __init__
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0.0, 0.1, 32000), 16000)
    return path


@contextlib.contextmanager
def command(folder: Path, *arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen, dict[str, Any]]]:
    """Run `emogram serve` on a free port, and give the process and what it said."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "emogram", "serve", "--model", str(folder), "--port", "0", "--workers", "1", "--json",
            *arguments,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate()


def children(pid: int) -> list[int]:
    return [int(each) for path in Path(f"/proc/{pid}/task").glob("*/children") for each in path.read_text().split()]


def is_running(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


# ---------------------------------------------------------------- beginning and ending


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_ends_with_zero(folder, clip, number):
    with command(folder) as (process, said):
        assert said["models"] == [emogram.load(folder).info.model_id]
        answer = httpx.post(f"{said['url']}/v1/audio/emotions", files={"file": clip.read_bytes()})
        assert answer.status_code == 200
        inside = children(process.pid)
        assert inside
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "", "")
        assert not any(map(is_running, inside))


def test_told_to_end_it_finishes_what_is_in_flight_and_takes_nothing_new(folder, clip, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(SLOW_DECODER.replace("1.5", "5"))
    with command(folder, PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}") as (process, said):
        url = said["url"]
        answers: list[httpx.Response] = []
        sender = threading.Thread(
            target=lambda: answers.append(
                httpx.post(f"{url}/v1/audio/emotions", files={"file": clip.read_bytes()}, timeout=30.0)
            )
        )
        sender.start()
        time.sleep(1.5)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        ready = httpx.get(f"{url}/readyz")
        assert (ready.status_code, ready.json()["code"]) == (503, "draining")
        assert ready.headers["retry-after"]
        refused = httpx.post(f"{url}/v1/audio/emotions", files={"file": clip.read_bytes()})
        assert (refused.status_code, refused.json()["code"]) == (503, "draining")
        assert httpx.get(f"{url}/healthz").status_code == 200
        sender.join()
        assert answers[0].status_code == 200
        process.communicate(timeout=20)
        assert process.returncode == 0


def test_what_does_not_end_in_time_is_cut_off_and_a_second_signal_ends_at_once(folder, clip, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(SLOW_DECODER.replace("1.5", "30"))
    for arguments, signals, most_s in ((("--drain-s", "0.3"), 1, 12.0), ((), 2, 5.0)):
        with command(folder, *arguments, PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}") as (
            process,
            said,
        ):
            inside = children(process.pid)

            def send(url: str = said["url"]) -> None:
                with contextlib.suppress(httpx.HTTPError):
                    httpx.post(f"{url}/v1/audio/emotions", files={"file": clip.read_bytes()}, timeout=30.0)

            sender = threading.Thread(target=send)
            sender.start()
            time.sleep(0.7)
            begun = time.monotonic()
            for _ in range(signals):
                process.send_signal(signal.SIGTERM)
                time.sleep(0.3)
            process.communicate(timeout=20)
            assert time.monotonic() - begun < most_s
            assert process.returncode == 143
            sender.join()
            until = time.monotonic() + 5.0
            while any(map(is_running, inside)) and time.monotonic() < until:
                time.sleep(0.05)
            assert not any(map(is_running, inside))


def test_a_token_comes_from_a_file_or_the_environment(folder, tmp_path):
    (tmp_path / "token").write_text("of-the-file\n")
    for arguments, environment, token in (
        (("--token-file", str(tmp_path / "token")), {"EMOGRAM_TOKEN": "of-the-environment"}, "of-the-file"),
        ((), {"EMOGRAM_TOKEN": "of-the-environment"}, "of-the-environment"),
    ):
        with command(folder, *arguments, **environment) as (_, said):
            assert httpx.get(f"{said['url']}/v1/models").status_code == 401
            answer = httpx.get(f"{said['url']}/v1/models", headers={"authorization": f"Bearer {token}"})
            assert answer.status_code == 200


def test_settings_come_from_flags_the_environment_and_a_file(folder, tmp_path, clip):
    (tmp_path / "serve.toml").write_text('max_clip_s = 1.0\nmax_clip_mb = 0.001\norigins = ["https://friend.org"]\n')
    with command(folder, "--config", str(tmp_path / "serve.toml"), EMOGRAM_MAX_CLIP_MB="32") as (_, said):
        answer = httpx.post(f"{said['url']}/v1/audio/emotions", files={"file": clip.read_bytes()})
        assert (answer.status_code, answer.json()["code"]) == (413, "too_long")
        answer = httpx.get(f"{said['url']}/v1/models", headers={"origin": "https://friend.org"})
        assert answer.headers["access-control-allow-origin"] == "https://friend.org"


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "message"),
    [
        (["--host", "0.0.0.0"], {}, 2, "there is no token"),
        (["--host", "192.0.2.1", "--no-token"], {}, 1, "not an address of this machine"),
        ([], {"EMOGRAM_TOKEN": "short"}, 2, "at least 8"),
        (["--token-file", "nothing"], {}, 2, "cannot be read"),
        (["--model", "nothing"], {}, 5, "nothing"),
        (["--max-queue", "0"], {}, 2, "max_queue"),
        (["--token", "12345678"], {}, 2, "No such option"),
    ],
)
def test_what_cannot_be_served_is_one_line(capsys, monkeypatch, arguments, environment, code, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cli.run(["serve", "--port", "0", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == "" and message in err
    assert environment.get("EMOGRAM_TOKEN", "?") not in err.replace("token_file", "")


def test_a_port_that_is_taken_is_said(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert cli.run(["serve", "--port", str(taken.getsockname()[1])]) == 1
    assert "the port is taken; choose another" in capsys.readouterr().err.replace("\n", " ")


# ---------------------------------------------------------------- connections that do harm


@pytest.fixture(scope="module")
def served(folder):
    """A service whose times are short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "HEADER_S", 0.5)
        patch.setattr(connections, "LINGER_S", 0.5)
        with running(create_app([emogram.load(folder)], ServeConfig(workers=1, max_clip_mb=1.0))) as url:
            yield url


def talk(url: str, *pieces: bytes, pause_s: float = 0.0, most_s: float = 10.0) -> bytes:
    """Send pieces and return all that comes back until the other side closes."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=most_s) as client:
        got = b""
        try:
            for piece in pieces:
                client.sendall(piece)
                time.sleep(pause_s)
            while part := client.recv(65536):
                got += part
        except (BrokenPipeError, ConnectionResetError):
            pass
        return got


def problem(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["code"]


def test_a_head_that_does_not_end_is_refused_in_time(served):
    begun = time.monotonic()
    answer = talk(served, b"GET / HTTP/1.1\r\n", *[b"X-A: b\r\n"] * 3, pause_s=0.1)
    assert problem(answer) == (408, "slow_upload")
    assert talk(served) == b"", "whoever says nothing is let go"
    assert time.monotonic() - begun < 8.0
    assert httpx.get(f"{served}/healthz").status_code == 200


def test_what_is_no_http_or_has_too_long_a_head_is_refused_in_our_shape(served):
    assert problem(talk(served, b"\x16\x03\x01 hello\r\n\r\n")) == (400, "bad_request")
    assert problem(talk(served, b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000)) == (400, "bad_request")


def test_a_body_that_does_not_end_is_counted_and_cut_off(served):
    head = b"POST /v1/audio/emotions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: audio/wav\r\n"
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    begun = time.monotonic()
    answer = talk(served, head + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 40, pause_s=0.01)
    assert problem(answer) == (413, "too_large")
    stated = talk(served, head + b"Content-Length: 99999999\r\n\r\n", b"x" * 1000)
    assert problem(stated) == (413, "too_large")
    expecting = talk(served, head + b"Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n")
    assert expecting.startswith(b"HTTP/1.1 413"), "nothing is asked for that will not be taken"
    assert time.monotonic() - begun < 15.0


def test_a_body_for_a_door_that_takes_none_is_not_awaited(served):
    head = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999\r\n\r\n"
    begun = time.monotonic()
    assert talk(served, head, *[b"x" * 10] * 5, pause_s=0.05).startswith(b"HTTP/1.1 200")
    assert time.monotonic() - begun < 5.0


def test_connections_are_kept_for_the_next_request(served):
    with httpx.Client() as client:
        for _ in range(3):
            assert client.get(f"{served}/healthz").status_code == 200
            time.sleep(0.7)
    head = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    both = talk(served, head + b"\r\n" + head + b"Connection: close\r\n\r\n")
    assert both.count(b"HTTP/1.1 200") == 2


@pytest.fixture
def full(monkeypatch):
    """There is no room for clips."""

    def refuse(_: Workers) -> None:
        raise Problem("busy", "too much is asked at once; come again", retry_after_s=1.0)

    monkeypatch.setattr(Workers, "check_room", refuse)


CLIP = b"POST /v1/audio/emotions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: audio/wav\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
STATUS = re.compile(rb"HTTP/1\.1 (\d+) ")


@pytest.mark.parametrize("way", ["at once", "in pieces", "byte by byte"])
def test_a_clip_too_many_keeps_its_connection(served, full, way):
    """What its body holds is no request, and what follows it is one."""
    body = LAST * 3
    clip = CLIP + f"Connection: keep-alive\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    sent = clip * 2 + LAST
    n_whole = len(clip) - len(body)  # a head in pieces is none that one look tells
    pieces = {
        "at once": [sent],
        "in pieces": [sent[:n_whole], sent[n_whole : len(clip) - 7], sent[len(clip) - 7 :]],
        "byte by byte": [sent[:n_whole], *(bytes([byte]) for byte in body), clip + LAST],
    }
    answer = talk(served, *pieces[way], pause_s=0.001 if way == "byte by byte" else 0.05)
    assert STATUS.findall(answer) == [b"429", b"429", b"200"]
    assert answer.lower().count(b"retry-after") == 2


@pytest.mark.parametrize(
    "head",
    [
        CLIP + b"Transfer-Encoding: chunked\r\n",
        CLIP + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        CLIP + b"Content-Length: 4\r\nContent-Length: 4\r\n",
        CLIP + b"Content-Length: 4\r\nX: content-length: 4\r\n",
        CLIP + b"Content-Length : 4\r\n",
        CLIP + b"Content-Length: +4\r\n",
        CLIP + b"Content-Length: 4, 4\r\n",
        CLIP + b"X: a\r\n Content-Length: 4\r\n",
        CLIP + b"Content-Length: 4\nX: a\r\n",
        CLIP + b"Content-Length: 4\r\nX: a\rb\r\n",
        CLIP + b"Content-Length: 4\r\nX: a\n\nb\r\n",
        CLIP + b"Content-Length: 99999999\r\n",
        CLIP + b"Content-Length: 4\r\nExpect: 100-continue\r\n",
        CLIP + b"Content-Length: 4\r\nConnection: close\r\n",
        CLIP + b"Content-Length: 4\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
        CLIP.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Content-Length: 4\r\n",
        CLIP,
    ],
)
def test_a_clip_too_many_of_unclear_length_loses_its_connection(served, full, head):
    answer = talk(served, head + b"\r\nbody" + LAST)
    assert STATUS.findall(answer) == [b"429"]
    assert b"connection: close" in answer.lower()


def test_a_refused_clip_that_never_comes_is_not_awaited(served, full):
    begun = time.monotonic()
    answer = talk(served, CLIP + b"Content-Length: 1000\r\n\r\n")
    assert problem(answer) == (429, "busy")
    assert time.monotonic() - begun < 8.0


def test_too_many_connections_are_told_so(served, monkeypatch):
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 0)
    answer = talk(served)
    assert problem(answer) == (503, "overloaded")
    assert b"Retry-After" in answer


def test_a_client_that_does_not_read_is_let_go(folder, monkeypatch):
    monkeypatch.setattr(connections, "STALL_S", 0.5)
    app = create_app([emogram.load(folder)], ServeConfig(workers=1))

    lost = threading.Event()
    lose = connections.BoundedProtocol.connection_lost
    monkeypatch.setattr(
        connections.BoundedProtocol, "connection_lost", lambda self, exc: (lose(self, exc), lost.set())[0]
    )

    @app.get("/large")
    def large() -> str:
        return "x" * 50_000_000

    with running(app) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"GET /large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert lost.wait(30.0), "the connection is kept"
            client.settimeout(10.0)
            n_bytes = 0
            with contextlib.suppress(ConnectionResetError):
                while part := client.recv(2**20):
                    n_bytes += len(part)
        assert n_bytes < 50_000_000
        assert app.state.service.n_open == 0


@pytest.mark.parametrize("name", ["fastapi", "uvicorn", "prometheus_client"])
def test_without_the_extra_it_says_what_to_install(name):
    code = f"import sys; sys.modules[{name!r}] = None; from emogram import cli; sys.exit(cli.run(['serve']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert install_line("serve") in " ".join(done.stderr.split())

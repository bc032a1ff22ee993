"""What is sent to do harm, against a real `emogram serve`: each is refused in words or by a close code, within bounds,
while a well-behaved client goes on getting right answers.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from emogram.testing import tiny_bundle
from emogram.voices import speak, voices

SECRET = "a-secret-token"
TOKEN = {"Authorization": f"Bearer {SECRET}"}
CLIPS = "/v1/audio/emotions"
MAX_CLIP_BYTES = 2_000_000
PATIENCE_S = 8.0  # longest that an answer to the well-behaved may take here, on a machine that has other work


@pytest.fixture(scope="module")
def clips() -> list[bytes]:
    """Two clips whose answers differ."""
    made = []
    for number, emotion in enumerate(("happy", "sad")):
        content = io.BytesIO()
        samples = speak(emotion, speaker=voices(2)[number], seed=number)[: 16000 * (number + 1)]
        soundfile.write(content, samples, 16000, format="WAV")
        made.append(content.getvalue())
    return made


class Server:
    """A running `emogram serve`."""

    def __init__(self, folder: Path, *options: str) -> None:
        words = [sys.executable, "-m", "emogram", "serve", "--model", str(tiny_bundle(folder / "model")), "--json"]
        settings = ["--port", "0", "--workers", "2", "--data", str(folder / "jobs"), *options]
        environment = {**os.environ, "EMOGRAM_TOKEN": SECRET, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)}
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*words, *settings], stdout=subprocess.PIPE, stderr=log, text=True, env=environment
            )
        assert self.process.stdout is not None
        self.url = json.loads(self.process.stdout.readline())["url"]
        self.port = int(self.url.rpartition(":")[2])

    def socket(self, receive_buffer: int | None = None) -> socket.socket:
        one = socket.socket()
        if receive_buffer:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        one.settimeout(20.0)
        one.connect(("127.0.0.1", self.port))
        return one

    def talk(self, *pieces: bytes) -> bytes:
        """Send pieces and return all that comes back until the other side closes."""
        got = b""
        with self.socket() as one:
            with contextlib.suppress(ConnectionError):  # it need not hear us out
                for piece in pieces:
                    one.sendall(piece)
            with contextlib.suppress(ConnectionError):
                while part := one.recv(65536):
                    got += part
        return got

    def stream(self, **options: Any) -> Any:
        headers = options.pop("additional_headers", TOKEN)
        path = options.pop("path", "/v1/stream")
        url = f"ws://127.0.0.1:{self.port}{path}"
        return connect(url, additional_headers=headers, compression=None, **options)

    def children(self) -> list[int]:
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(each) for path in tasks for each in path.read_text().split()]

    def resident_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    def n_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))  # noqa: PTH208

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    # A test holds hundreds of connections, and each is a file.
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, limits[1]), limits[1]))
    one = Server(tmp_path_factory.mktemp("serve"), "--max-clip-mb", "2", "--max-job-mb", "8", "--max-streams", "8")
    yield one
    one.end()
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert one.log.read_text() == "", "whoever does harm cannot fill the log either"


@pytest.fixture(scope="module")
def right(server, clips) -> list[list[dict[str, Any]]]:
    """What the service says of the clips while nothing else happens."""
    return [scores(httpx.post(server.url + CLIPS, headers=TOKEN, files={"file": clip}, timeout=60)) for clip in clips]


def scores(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    (segment,) = answer.json()["segments"]
    return segment["scores"]


@pytest.fixture(autouse=True)
def others_go_on(server, clips, right) -> Iterator[None]:
    """A well-behaved client throughout each test: right answers, each to its own clip, within bounds."""
    stop = threading.Event()
    faults: list[str] = []
    seconds: list[float] = []

    def client() -> None:
        with httpx.Client(headers=TOKEN, timeout=PATIENCE_S) as behaved:
            while not stop.is_set() or not seconds:
                number = len(seconds) % len(clips)
                begun = time.monotonic()
                try:
                    answer = behaved.post(
                        server.url + CLIPS, content=clips[number], headers={"content-type": "audio/wav"}
                    )
                    if scores(answer) != right[number]:
                        faults.append(f"swapped or wrong: {answer.text}")
                except (httpx.HTTPError, AssertionError) as error:
                    faults.append(repr(error))
                seconds.append(time.monotonic() - begun)
                stop.wait(0.05)

    thread = threading.Thread(target=client)
    thread.start()
    yield
    stop.set()
    thread.join()
    assert not faults, faults[:3]
    assert max(seconds) < PATIENCE_S


def head(path: str = CLIPS, *lines: str, method: str = "POST", kind: str = "audio/wav") -> bytes:
    first = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {SECRET}", f"Content-Type: {kind}"]
    return "\r\n".join([*first, *lines, "", ""]).encode("latin-1")


def problem(answer: bytes) -> tuple[int, str]:
    top, _, body = answer.partition(b"\r\n\r\n")
    said = json.loads(body)
    assert said["type"] == "error" and said.keys() == {"type", "code", "message", "request_id"}
    return int(top.split()[1]), said["code"]


def refused(answer: httpx.Response, status: int, code: str) -> str:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    return answer.json()["message"]


def sound(samples: np.ndarray, *, rate: int = 16000, kind: str = "FLAC", subtype: str | None = None) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, rate, format=kind, subtype=subtype)
    return content.getvalue()


# ---------------------------------------------------------------- bytes that are no request, or several


CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    "sent",
    [
        # Of two lengths a proxy may believe the other one, and take what follows for a request of its own.
        head(CLIPS, "Content-Length: 5", CHUNKED) + b"0\r\n\r\nGET /v1/models HTTP/1.1\r\n\r\n",
        head(CLIPS, CHUNKED, "Content-Length: 5") + b"0\r\n\r\nGET /v1/models HTTP/1.1\r\n\r\n",
        head(CLIPS, "Content-Length: 5", "Content-Length: 6") + b"01234",
        head(CLIPS, "Content-Length: +5") + b"01234",
        head(CLIPS, "Content-Length: 0x5") + b"01234",
        head(CLIPS, "Content-Length : 5") + b"01234",
        head(CLIPS, "Transfer-Encoding: xchunked") + b"0\r\n\r\n",
        head(CLIPS, "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
        head(CLIPS, CHUNKED) + b"fffffffffffffffffffff\r\n",
        head(CLIPS, CHUNKED) + b"-1\r\nx\r\n",
        head(CLIPS, CHUNKED) + b"5;" + b"x" * 70_000,
        head(CLIPS, CHUNKED) + b"5\r\n012345678\r\n",
        head(CLIPS, CHUNKED) + b"zz\r\n",
        head("/v1/models", *["X: y"] * 5000, method="GET"),
        head("/v1/models", "X: " + "y" * 100_000, method="GET"),
        head("/" + "x" * 100_000, method="GET"),
        head("/v1/models\x00", method="GET"),
        head("/v1/models", "X: a\x00b", method="GET"),
        b"GET /v1/models HTTP/1.1\r\n" + f"Authorization: Bearer {SECRET}\r\n\r\n".encode(),
        head("/v1/models", "Host: evil.org", method="GET"),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(30),
        b"GET /v1/models HTTP/9.9\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        bytes(5000),
        b"\r\n" * 20_000,
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_and_begins_no_second_one(server, sent):
    begun = time.monotonic()
    answer = server.talk(sent)
    assert answer.count(b"HTTP/1.1 ") == 1, answer
    assert problem(answer) == (400, "bad_request")
    assert time.monotonic() - begun < PATIENCE_S


def upgrade(
    path: str, *lines: str, method: str = "GET", key: str = "MTIzNDU2Nzg5MDEyMzQ1Ng==", version: str = "13"
) -> bytes:
    lines = (
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        f"Sec-WebSocket-Version: {version}",
        *lines,
    )
    return head(path, *lines, method=method)


@pytest.mark.parametrize(
    ("sent", "refusal"),
    [
        (upgrade("/v1/models"), (404, "not_found")),
        (upgrade(CLIPS), (404, "not_found")),
        (upgrade("/v1/stream", method="POST"), (400, "bad_request")),
        (upgrade("/v1/stream", "Content-Length: 5") + b"01234", (400, "bad_request")),
        (upgrade("/v1/stream", key="short"), (400, "bad_request")),
        (upgrade("/v1/stream", version="8"), (400, "bad_request")),
        (upgrade("/v1/stream", "Origin: https://evil.org"), (403, "forbidden")),
        (upgrade("/v1/stream").replace(SECRET.encode(), b"wrong-token"), (401, "unauthorized")),
        (upgrade("/v1/stream").replace(b"Host: 127.0.0.1", b"Host: evil.org"), (403, "forbidden")),
        (head("/v1/stream", "Connection: close", method="GET"), (404, "not_found")),
        (head("/v1/vosk", "Connection: close"), (404, "not_found")),
    ],
)  # fmt: skip
def test_a_websocket_where_none_is_and_http_where_a_websocket_is(server, sent, refusal):
    assert problem(server.talk(sent)) == refusal


def test_requests_that_come_together_are_answered_in_order_and_expectations_met(server, clips, right):
    body = clips[0]
    one = head(CLIPS, f"Content-Length: {len(body)}") + body
    other = head("/v1/models", method="GET")
    last = head(CLIPS, f"Content-Length: {len(clips[1])}", "Connection: close") + clips[1]
    answers = server.talk(one + other + one + last).split(b"HTTP/1.1 200 OK")[1:]
    said = [json.loads(answer.partition(b"\r\n\r\n")[2]) for answer in answers]
    assert [each["segments"][0]["scores"] for each in (said[0], *said[2:])] == [right[0], right[0], right[1]]
    assert said[1]["models"]
    with server.socket() as client:
        client.sendall(head(CLIPS, f"Content-Length: {len(body)}", "Expect: 100-continue", "Connection: close"))
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["segments"][0]["scores"] == right[0]


# ---------------------------------------------------------------- who may come in


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "unauthorized"),
        ({"Authorization": "Bearer"}, 401, "unauthorized"),
        ({"Authorization": f"Bearer {SECRET}x"}, 401, "unauthorized"),
        ({"Authorization": f"Basic {base64.b64encode(SECRET.encode()).decode()}"}, 401, "unauthorized"),
        ({"Authorization": "Bearer " + "x" * 8000}, 401, "unauthorized"),
        ({**TOKEN, "Host": "evil.org"}, 403, "forbidden"),
        ({**TOKEN, "Host": "127.0.0.1.evil.org"}, 403, "forbidden"),
        ({**TOKEN, "Host": "evil.org@127.0.0.1"}, 403, "forbidden"),
        ({**TOKEN, "Origin": "https://evil.org"}, 403, "forbidden"),
        ({**TOKEN, "Origin": "null"}, 403, "forbidden"),
        ({**TOKEN, "Sec-Fetch-Site": "cross-site"}, 403, "forbidden"),
    ],
)
def test_strangers_and_pages_of_other_sites_stay_outside(server, clips, headers, status, code):
    for method, path in (("POST", CLIPS), ("POST", "/v1/jobs"), ("GET", "/v1/jobs"), ("GET", "/metrics")):
        content = clips[0] if method == "POST" else None
        answer = httpx.request(
            method, server.url + path, headers={"content-type": "audio/wav", **headers}, content=content
        )
        if "Host" in headers and "@" in headers["Host"]:
            assert answer.status_code in (400, 403)
        else:
            refused(answer, status, code)


# ---------------------------------------------------------------- bodies


@pytest.mark.parametrize("door", [CLIPS, "/v1/jobs"])
def test_uploads_that_are_too_large_or_do_not_end_are_cut_off(server, door):
    before = server.resident_mb()
    stated = server.talk(head(door, "Content-Length: 99999999999999999999", "Connection: close"), b"x" * 10_000)
    assert problem(stated) == (413, "too_large")
    chunk = b"40000\r\n" + b"x" * 0x40000 + b"\r\n"
    endless = server.talk(head(door, CHUNKED), *[chunk] * 400)
    assert problem(endless) == (413, "too_large")
    assert server.resident_mb() < before + 40, "what is sent is never held in memory"


def multipart(*parts: bytes, end: bytes = b"--xx--\r\n") -> bytes:
    return b"".join(b"--xx\r\n" + part + b"\r\n" for part in parts) + end


FIELD = b'Content-Disposition: form-data; name="a"\r\n\r\n'
FILE = b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("multipart/form-data; boundary=xx", multipart(FILE + b"123", end=b""), 400),
        ("multipart/form-data; boundary=xx", multipart(FILE + b"123")[:60], 400),
        ("multipart/form-data; boundary=xx", b"--xx", 400),
        ("multipart/form-data; boundary=xx", multipart(b"x: " + b"y" * 200_000 + b"\r\n\r\n"), 400),
        ("multipart/form-data; boundary=xx", b"--xx\r\n" * 20_000, 400),
        ("multipart/form-data; boundary=xx", multipart(*[FILE + b"1"] * 500), 400),
        ("multipart/form-data; boundary=xx", multipart(*[FIELD] * 500), 400),
        ("multipart/form-data; boundary=\xff", multipart(FILE + b"123"), 400),
        ("multipart/form-data", multipart(FILE + b"123"), 400),
        ("multipart/mixed; boundary=xx", multipart(FILE + b"123"), 415),
        ("application/json", b"{}", 415),
        ("text/html", b"<script>", 415),
        ("application/zip", b"PK", 415),
        ("audio/wav", b"", 400),
    ],
)  # fmt: skip
def test_bodies_that_are_none_are_refused(server, kind, body, status):
    for door in (CLIPS, "/v1/jobs"):
        answer = httpx.post(server.url + door, headers={**TOKEN, "content-type": kind.encode("latin-1")}, content=body)
        assert answer.status_code == status, answer.text
        assert answer.json()["type"] == "error"


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/passwd", "/etc/passwd", "..\\..\\boot.ini", "a\x00.wav", "%2e%2e%2fx", "CON", "x" * 4000,
        "<script>alert(1)</script>.wav", "$(reboot).wav", "-rf.wav", "\u202evaw.exe",
    ],
)  # fmt: skip
def test_names_of_files_are_never_paths(server, clips, right, name):
    answer = httpx.post(
        server.url + CLIPS, headers=TOKEN, files={"file": (name, clips[0])}, params={"name": name[:900]}
    )
    assert scores(answer) == right[0]
    assert not re.search(r"[/\\\x00]", answer.json()["file"])
    assert len(answer.json()["file"]) <= 200


# ---------------------------------------------------------------- bombs


def silence_bomb() -> bytes:
    """Hours of silence in a few hundred kilobytes of FLAC."""
    content = io.BytesIO()
    with soundfile.SoundFile(content, "w", 8000, 1, format="FLAC", subtype="PCM_16") as file:
        block = np.zeros(8000 * 600, np.int16)
        for _ in range(12):
            file.write(block)
    return content.getvalue()


def zip_bomb() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.wav", bytes(30_000_000))
    return content.getvalue()


def lying_wav(**says: int) -> bytes:
    rate, channels, size = says.get("rate", 16000), says.get("channels", 1), says.get("size", 2**32 - 1)
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2 & 0xFFFFFFFF, channels * 2 & 0xFFFF, 16)
    return (
        b"RIFF\xff\xff\xff\xffWAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", size)
        + bytes(20_000)
    )


def test_bombs_are_refused_as_clips_and_end_as_jobs_within_bounds(server):
    bombs = {
        "silence.flac": (silence_bomb(), {"too_long"}),
        "channels.flac": (sound(np.zeros((600_000, 8), np.int16), rate=96000), {"too_long", "silent"}),
        "zip.wav": (zip_bomb(), {"unreadable"}),
        "rate.wav": (lying_wav(rate=2**32 - 1), {"bad_rate", "too_long", "unreadable"}),
        "channels.wav": (lying_wav(channels=65535), {"unreadable", "too_long", "bad_rate", "empty", "too_short"}),
        "size.wav": (lying_wav(), {"too_long", "silent", "unreadable"}),
    }
    jobs = {}
    for name, (content, codes) in bombs.items():
        assert len(content) < MAX_CLIP_BYTES, name
        begun = time.monotonic()
        answer = httpx.post(server.url + CLIPS, headers=TOKEN, files={"file": (name, content)}, timeout=30)
        assert answer.status_code in (413, 422) and answer.json()["code"] in codes, (name, answer.text)
        assert time.monotonic() - begun < PATIENCE_S
        job = httpx.post(server.url + "/v1/jobs", headers=TOKEN, files={"file": (name, content)}, timeout=30)
        jobs[name] = job.json()["links"]["self"]
    until = time.monotonic() + 60.0
    for name, place in jobs.items():
        while (job := httpx.get(server.url + place, headers=TOKEN).json())["status"] in ("queued", "running"):
            if name == "silence.flac":
                break  # hours are analysed as any hours are; the job can be ended at any time
            assert time.monotonic() < until, job
            time.sleep(0.1)
        assert httpx.delete(server.url + place, headers=TOKEN, timeout=20).status_code == 204
    for child in server.children():
        with contextlib.suppress(OSError):
            assert int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{child}/status").read_text())[1]) < 700_000  # type: ignore[index]


# ---------------------------------------------------------------- slow, silent, and deaf


def test_hundreds_who_say_nothing_and_slow_ones_keep_nobody_out(server, clips):
    """Heads and bodies that come a byte at a time are cut off by the clock; meanwhile others are answered."""
    silent = [server.socket() for _ in range(500)]
    slow_heads = [server.socket() for _ in range(50)]
    slow_bodies = [server.socket() for _ in range(50)]
    for one in slow_bodies:
        one.sendall(head(CLIPS, "Content-Length: 100000"))
    begun = time.monotonic()
    while time.monotonic() - begun < 11.0:
        for one, byte in (*((each, b"G") for each in slow_heads), *((each, b"x") for each in slow_bodies)):
            with contextlib.suppress(OSError):
                one.sendall(byte)
        time.sleep(0.5)
    for one in slow_heads:
        with contextlib.suppress(ConnectionError):
            assert one.recv(1000).startswith(b"HTTP/1.1 4")
    for one in slow_bodies:
        with contextlib.suppress(ConnectionError):
            assert problem(one.recv(10_000))[1] == "slow_upload"
    for one in silent:
        assert one.recv(10) == b"", "let go"
    for one in (*silent, *slow_heads, *slow_bodies):
        one.close()
    assert eventually(lambda: server.n_files() < 100)


def eventually(fact: Any) -> bool:
    until = time.monotonic() + 20.0
    while not fact() and time.monotonic() < until:
        time.sleep(0.05)
    return fact()


def frame(opcode: int, content: bytes = b"") -> bytes:
    length = bytes([0x80 | len(content)]) if len(content) < 126 else b"\xfe" + struct.pack(">H", len(content))
    return bytes([0x80 | opcode]) + length + bytes(4) + content


def test_who_pings_and_never_reads_fills_no_memory(server):
    """An answer to each ping would wait in memory for ever."""
    before = server.resident_mb()
    with server.socket(receive_buffer=4096) as deaf:
        deaf.sendall(upgrade("/v1/stream"))
        time.sleep(0.3)
        deaf.settimeout(0.5)
        flood = frame(9, b"x" * 125) * 2000
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - begun < 4.0:
                deaf.sendall(flood)
        assert server.resident_mb() < before + 30
    requests = head("/v1/models", method="GET") * 500
    with server.socket(receive_buffer=4096) as deaf, contextlib.suppress(OSError):
        deaf.settimeout(0.5)
        for _ in range(100):
            deaf.sendall(requests)
    assert server.resident_mb() < before + 30


def test_a_frame_of_any_kind_ends_its_own_stream_alone(server):
    for sent, code in (
        (frame(3), 1002), (b"\x82\x05hello", 1002), (frame(1, b"\xff\xfe"), 1007), (frame(9, b"x" * 200), 1002),
        (frame(2, b"\0" * 3), 1007), (frame(8, b"\x03\xe7"), 1002), (frame(0, b"x"), 1002),
        (b"\x82\xff" + struct.pack(">Q", 2**62) + bytes(4), 1009), (b"\xc2\x80" + bytes(4), 1002),
    ):  # fmt: skip
        with server.socket() as client:
            client.sendall(upgrade("/v1/stream"))
            assert client.recv(4096).startswith(b"HTTP/1.1 101")
            client.sendall(sent)
            got = b""
            with contextlib.suppress(ConnectionError):
                while struct.pack(">H", code) not in got and (part := client.recv(65536)):
                    got += part
        assert struct.pack(">H", code) in got[-200:], (sent[:20], code, got[-100:])


def test_ten_thousand_tiny_frames_and_endless_pieces_of_one_keep_nobody_waiting(server):
    with server.stream() as flood:
        flood.recv(timeout=10)
        raw = flood.socket
        for _ in range(4):
            raw.sendall(frame(2, b"\0\0") * 10_000)
        raw.sendall(bytes([0x02, 0x80]) + bytes(4) + (bytes([0x00, 0x80]) + bytes(4)) * 50_000 + frame(0))
        flood.send('{"type": "session.close"}')
        said = [json.loads(each) for each in flood]
    assert said[-1]["type"] == "session.closed" and said[-1]["duration_ms"] == 2500


def test_a_frame_that_is_too_large_is_told_so_and_more_streams_than_there_are_places(server):
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(server.stream()) for _ in range(8)]
        for each in streams:
            assert json.loads(each.recv(timeout=10))["type"] == "session.created"
        with server.stream() as one_more:
            assert json.loads(one_more.recv(timeout=10))["code"] == "busy"
            with pytest.raises(ConnectionClosed) as closed:
                one_more.recv(timeout=10)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 4429
        streams[0].send(bytes(2**20 + 2))
        assert json.loads(streams[0].recv(timeout=10))["code"] == "too_large"
    with pytest.raises(InvalidStatus), server.stream(additional_headers={}):
        pass


def test_ten_minutes_of_silence_at_once(server):
    with server.stream() as stream:
        for _ in range(600):
            stream.send(bytes(32_000))
        stream.send('{"type": "session.close"}')
        said = [json.loads(each) for each in stream]
    assert said[-1]["duration_ms"] == 600_000 and said[-1]["warnings"] == ["no speech found"]
    silent = httpx.post(server.url + CLIPS, headers=TOKEN, files={"file": sound(np.zeros(16000 * 30, np.int16))})
    refused(silent, 422, "silent")


# ---------------------------------------------------------------- its own processes, and its end


def test_a_process_that_is_killed_while_it_decodes_costs_at_most_its_own_clip(tmp_path, clips, right):
    """And afterwards there are as many as before."""
    one = Server(tmp_path)
    stop = threading.Event()
    seen: list[httpx.Response] = []

    def client() -> None:
        with httpx.Client(headers=TOKEN, timeout=60.0) as behaved:
            while not stop.is_set():
                seen.append(behaved.post(one.url + CLIPS, content=clips[0], headers={"content-type": "audio/wav"}))

    threads = [threading.Thread(target=client) for _ in range(4)]
    try:
        for thread in threads:
            thread.start()
        for _ in range(3):
            time.sleep(0.8)
            os.kill(one.children()[0], signal.SIGKILL)
        time.sleep(1.0)
        stop.set()
        for thread in threads:
            thread.join()
        failed = [answer for answer in seen if answer.status_code != 200]
        assert len(failed) <= 3
        for answer in failed:
            refused(answer, 422, "crashed")
        assert all(scores(answer) == right[0] for answer in seen if answer.status_code == 200)
        assert eventually(lambda: len(one.children()) == 2)
    finally:
        stop.set()
        one.end()


def test_told_to_end_under_load_nothing_is_lost(tmp_path, clips, right):
    """Whatever was taken is answered, whatever comes later is told so, and the exit code is 0."""
    one = Server(tmp_path)
    outcomes: list[str] = []

    def client(number: int) -> None:
        with httpx.Client(headers=TOKEN, timeout=60.0) as behaved:
            while True:
                try:
                    answer = behaved.post(
                        one.url + CLIPS, content=clips[number % 2], headers={"content-type": "audio/wav"}
                    )
                except httpx.ConnectError:
                    return  # nobody listens any more
                except httpx.HTTPError as error:
                    outcomes.append(f"lost: {error!r}")
                    return
                if answer.status_code == 503:
                    refused(answer, 503, "draining")
                    assert answer.headers["retry-after"]
                    return
                outcomes.append("right" if scores(answer) == right[number % 2] else f"wrong: {answer.text}")

    threads = [threading.Thread(target=client, args=(number,)) for number in range(12)]
    try:
        for thread in threads:
            thread.start()
        time.sleep(2.0)
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(30.0) == 0
        for thread in threads:
            thread.join()
        assert set(outcomes) == {"right"}
        assert one.log.read_text() == ""
    finally:
        one.end()

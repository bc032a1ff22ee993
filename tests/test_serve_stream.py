"""Live sound over WebSocket: the numbers of `analyze`, bounds that hold, and clients that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
import soxr
from serving import running
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

import emogram
from emogram import voices
from emogram.classifier import Classifier
from emogram.config import ServeConfig, TimelineConfig
from emogram.live import Engine, Utterance, UtteranceStart, WindowScore
from emogram.records import Segment
from emogram.serve.app import create_app
from emogram.serve.models import Models
from emogram.serve.stream.session import Session
from emogram.testing import tiny_bundle
from emogram.writers import event_dict, timeline_dict

RATE = 16000


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Classifier:
    return Classifier.load(tiny_bundle(tmp_path_factory.mktemp("model"), abstain_threshold=0.2))


@pytest.fixture(scope="module")
def pcm() -> bytes:
    """Two voices with two emotions, pauses between, s16le at 16 kHz."""
    rng = np.random.default_rng(0)
    parts = []
    for number, label in enumerate(("happy", "sad", "angry")):
        parts += [voices.speak(label, speaker=voices.voices(2)[number % 2], seed=number), np.zeros(16000, np.float32)]
    sound = np.concatenate(parts)
    sound += 1e-4 * rng.standard_normal(len(sound)).astype(np.float32)
    return (np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes()


@contextlib.contextmanager
def served(model: Classifier, **settings: Any) -> Iterator[str]:
    app = create_app([model], ServeConfig(workers=1, **settings))

    @app.post("/end")
    async def end() -> None:
        app.state.service.ending.set()

    with running(app, ws_max_size=2**21) as url:  # so that what is too large is refused by the stream itself
        yield url


@pytest.fixture(scope="module")
def url(model) -> Iterator[str]:
    with served(model, idle_s=3.0) as url:
        yield url


def opened(url: str, path: str = "/v1/stream", **options: Any) -> ClientConnection:
    return connect(url.replace("http", "ws") + path, compression=None, **options)


def rest_of(socket: ClientConnection) -> tuple[list[dict[str, Any]], int]:
    """Read to the end: what was said, and the close code."""
    messages = []
    while True:
        try:
            messages.append(json.loads(socket.recv(timeout=30)))
        except ConnectionClosed as closed:
            return messages, 1006 if closed.rcvd is None else closed.rcvd.code


def streamed(url: str, sound: bytes, cut: Any, update: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    with opened(url) as socket:
        if update is not None:
            socket.send(json.dumps({"type": "session.update", **update}))
        first = 0
        while first < len(sound):
            n = 2 * (cut if isinstance(cut, int) else int(cut.integers(0, 9000)))
            socket.send(sound[first : first + n])
            first += n
        socket.send('{"type": "session.close"}')
        messages, code = rest_of(socket)
    assert code == 1000
    return messages


def of_type(messages: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [message for message in messages if message["type"] == name]


def assert_alike(one: Any, other: Any) -> None:
    """Compare all that is in two results: numbers to a millionth."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_alike(one[name], other[name])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_alike(a, b)
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=1e-6)
    else:
        assert one == other


def expected(model: Classifier, path: Path, **settings: Any) -> tuple[dict[str, Any], emogram.records.Timeline]:
    timeline = emogram.analyze(path, model=model, config=TimelineConfig(**settings))
    return timeline_dict(timeline, path="", info=model.info, sha256=model.sha256), timeline


@pytest.mark.parametrize(
    ("rate", "cut", "settings"),
    [
        (16000, 320, {}),
        (16000, 7777, {"smooth": False}),
        (16000, 500_000, {}),
        (8000, np.random.default_rng(3), {}),
        (44100, 1024, {"find_speech": False}),
    ],
)
def test_a_stream_says_what_analyze_says_however_it_is_cut(url, model, pcm, tmp_path, rate, cut, settings):
    samples = np.frombuffer(pcm, "<i2")
    if rate != RATE:
        samples = np.round(soxr.resample(samples.astype(np.float32), RATE, rate)).clip(-32768, 32767).astype("<i2")
    soundfile.write(tmp_path / "sound.wav", samples, rate, subtype="PCM_16")
    result, timeline = expected(model, tmp_path / "sound.wav", **settings)
    messages = streamed(url, samples.tobytes(), cut, {"sample_rate": rate, **settings})
    assert messages[0]["type"] == "session.created" and messages[1]["type"] == "session.updated"
    assert messages[1]["audio"] == {"encoding": "pcm_s16le", "sample_rate": rate, "channels": 1}
    segments = [{k: v for k, v in each.items() if k != "type"} for each in of_type(messages, "segment.result")]
    assert_alike(segments, result["segments"])
    assert segments
    windows = of_type(messages, "measurement.result")
    assert [each["start_ms"] for each in windows] == [round(1000 * s) for s in timeline.windows.start_s]
    scores = [[score["score"] for score in each["scores"]] for each in windows]
    assert np.array(scores) == pytest.approx(timeline.windows.scores, abs=1e-6)
    closed = messages[-1]
    assert_alike(closed["summary"], result["summary"])
    assert (closed["type"], closed["duration_ms"]) == ("session.closed", result["audio"]["duration_ms"])
    assert closed["warnings"] == result["warnings"]


def utterances(model, pcm, **settings):
    engine = Engine(model, sample_rate=RATE, utterances=True, config=TimelineConfig(**settings))
    return [*engine.feed(np.frombuffer(pcm, "<i2") / 32768.0), *engine.finish()]


def test_an_utterance_is_what_a_timeline_without_bridges_says_of_its_part(model, pcm):
    events = utterances(model, pcm)
    parts = [event for event in events if isinstance(event, Utterance)]
    assert len(parts) == 3
    alone = [event for event in utterances(model, pcm, bridge_s=0.0) if isinstance(event, Segment)]
    assert [segment for part in parts for segment in part.segments] == alone
    assert [event.start_s for event in events if isinstance(event, UtteranceStart)] == [p.start_s for p in parts]
    for part in parts:
        lengths = np.array([each.end_s - each.start_s for each in part.segments])
        logs = np.log([list(each.prediction.scores.values()) for each in part.segments])
        product = np.exp(lengths @ logs / lengths.sum())
        assert list(part.prediction.scores.values()) == pytest.approx(product / product.sum(), abs=1e-9)
        assert part.prediction.label == max(part.prediction.scores, key=part.prediction.scores.get)
        assert part.start_s <= part.segments[0].start_s and part.segments[-1].end_s <= part.end_s
        spoken = sum((each.end_s - each.start_s) * each.speech_ratio for each in part.segments)
        assert part.speech_ratio * (part.end_s - part.start_s) == pytest.approx(spoken, abs=0.1)


def test_asking_for_utterances_changes_no_other_event_and_each_is_told_in_time(model, pcm):
    samples = np.frombuffer(pcm, "<i2") / 32768.0
    plain = Engine(model, sample_rate=RATE)
    told = [event for event in utterances(model, pcm) if isinstance(event, WindowScore | Segment)]
    assert told == [*plain.feed(samples), *plain.finish()]
    engine = Engine(model, sample_rate=RATE, utterances=True)
    for first in range(0, len(samples), 512):
        for event in engine.feed(samples[first : first + 512]):
            late_s = engine.duration_s - (event.end_s if isinstance(event, Utterance) else event.start_s)
            if isinstance(event, UtteranceStart):
                assert late_s < 0.2
            elif isinstance(event, Utterance):
                assert late_s < 0.64 + 0.1


def test_a_stream_tells_where_utterances_begin_and_end(url, model, pcm):
    messages = streamed(url, pcm, 1600)
    told = [each for each in messages if each["type"].startswith("utterance")]
    assert [each["type"] for each in told] == ["utterance.start", "utterance.end"] * 3
    assert_alike(told, [event_dict(e) for e in utterances(model, pcm) if isinstance(e, UtteranceStart | Utterance)])
    speech = [each["probability"] for each in of_type(messages, "speech")]
    assert speech and all(0.0 <= each <= 1.0 for each in speech)


def test_a_cough_is_an_utterance_without_an_answer(model):
    rng = np.random.default_rng(0)
    sound = np.zeros(3 * RATE, np.float32)
    sound[RATE : RATE + 2000] = 0.3 * rng.standard_normal(2000)
    events = utterances(model, (sound * 32767).astype("<i2").tobytes(), find_speech=False)
    assert [type(event) for event in events] == [UtteranceStart, Utterance]
    assert events[1].prediction is None and events[1].segments == ()
    assert event_dict(events[1])["label"] is None


def test_the_first_message_states_model_and_bounds(url, model):
    with opened(url) as socket:
        created = json.loads(socket.recv(timeout=10))
    assert created["type"] == "session.created"
    assert created["model"] == {
        "id": model.info.model_id, "sha256": model.sha256, "labels": list(model.labels), "calibrated": False
    }  # fmt: skip
    assert created["limits"] == {"max_frame_bytes": 2**20, "max_stream_s": 14400.0, "idle_s": 3.0}
    assert (created["window_ms"], created["interval_ms"]) == (2048, 512)


def test_settings_come_before_the_first_sound_and_errors_let_the_session_go_on(url, pcm):
    with opened(url) as socket:
        socket.send('{"type": "session.update", "sample_rate": 4000}')
        socket.send('{"type": "session.update", "model": "another"}')
        socket.send('{"type": "session.update", "colour": 1}')
        socket.send('{"type": "hello"}')
        socket.send("not json")
        socket.send("[1]")
        socket.send(pcm[:64000])
        socket.send('{"type": "session.update", "sample_rate": 8000}')
        socket.send('{"type": "session.close"}')
        messages, code = rest_of(socket)
    errors = of_type(messages, "error")
    names = ["bad_parameter"] * 3 + ["bad_message"] * 3 + ["late_update"]
    assert [each["code"] for each in errors] == names
    assert all(each.keys() == {"type", "code", "message", "request_id"} and each["request_id"] for each in errors)
    assert messages[-1]["type"] == "session.closed" and messages[-1]["duration_ms"] == 2000
    assert code == 1000


@pytest.mark.parametrize(
    ("sent", "error", "close_code"),
    [
        ([b"\0" * 3], "odd_bytes", 1007),
        ([b"\0" * (2**20 + 2)], "too_large", 1009),
        (["{}"] * 10, "bad_message", 4400),
        ([], "idle", 4408),
    ],
)
def test_each_bound_has_its_error_and_its_close_code(url, sent, error, close_code):
    with opened(url) as socket:
        for each in sent:
            socket.send(each)
        messages, code = rest_of(socket)
    assert of_type(messages, "error")[-1]["code"] == error
    assert messages[-1]["type"] == "session.closed"
    assert code == close_code


def test_a_stream_ends_when_it_is_too_long_and_no_more_than_so_many_are_open(model, pcm):
    with served(model, max_stream_s=2.0, max_streams=1) as url:
        with opened(url) as socket:
            socket.recv(timeout=10)
            with opened(url) as other:
                messages, code = rest_of(other)
            assert (messages[-1]["code"], code) == ("busy", 4429)
            socket.send(pcm[: 3 * 32000])
            messages, code = rest_of(socket)
        assert (of_type(messages, "error")[0]["code"], code) == ("too_long", 4413)
        assert messages[-1]["type"] == "session.closed"
        with opened(url) as socket:  # who says little is not let stay for ever either
            assert rest_of(socket)[1] == 4413


def test_the_token_opens_a_stream_by_header_or_subprotocol(model):
    with served(model, token="a-secret-token") as url:
        for options in ({}, {"additional_headers": {"Authorization": "Bearer wrong"}}):
            with pytest.raises(InvalidStatus) as refused, opened(url, **options):
                pass
            assert refused.value.response.status_code == 401
        with opened(url, additional_headers={"Authorization": "Bearer a-secret-token"}) as socket:
            assert json.loads(socket.recv(timeout=10))["type"] == "session.created"
        with opened(url, subprotocols=["emogram.v1", "bearer.a-secret-token"]) as socket:
            assert socket.subprotocol == "emogram.v1"
        with pytest.raises(InvalidStatus) as refused, opened(url, origin="https://elsewhere.example"):
            pass
        assert refused.value.response.status_code == 403


def test_minutes_of_silence_sent_at_once_are_heard_and_say_nothing(url):
    messages = streamed(url, b"\0" * (600 * RATE * 2), 2**19)
    assert messages[-1]["duration_ms"] == 600_000
    assert messages[-1]["warnings"] == ["no speech found"]
    assert not of_type(messages, "measurement.result")


def test_ten_thousand_tiny_frames_are_heard_while_others_go_on(url, model, pcm):
    with opened(url) as flood, opened(url) as other:
        begun = time.monotonic()
        for number in range(10_000):
            flood.send(pcm[64000 + 2 * number : 64002 + 2 * number])
        flood.send('{"type": "session.close"}')
        other.send(pcm[:128000])
        other.send('{"type": "session.close"}')
        assert of_type(rest_of(other)[0], "measurement.result")
        messages, code = rest_of(flood)
        assert code == 1000 and messages[-1]["duration_ms"] == 625
        assert time.monotonic() - begun < 10.0


def test_one_that_sends_as_fast_as_it_can_does_not_starve_another(url, pcm):
    with opened(url, close_timeout=0.1) as greedy, opened(url) as modest:
        modest.recv(timeout=10)
        greedy.send('{"type": "session.update", "find_speech": false}')
        for _ in range(3):
            greedy.send(pcm)
        begun = time.monotonic()
        modest.send(pcm[:96000])
        messages = []
        while not of_type(messages, "measurement.result"):
            messages.append(json.loads(modest.recv(timeout=10)))
        assert time.monotonic() - begun < 3.0


def sent(to: socket.socket, frames: bytes) -> None:
    with contextlib.suppress(OSError):  # nobody reads them all
        to.sendall(frames)


def eventually(fact: Callable[[], bool]) -> bool:
    until = time.monotonic() + 15.0
    while not fact() and time.monotonic() < until:
        time.sleep(0.01)
    return fact()


def test_a_client_that_never_reads_is_let_go_while_others_go_on(model, pcm, monkeypatch):
    monkeypatch.setattr("emogram.serve.stream.connection.UNREAD_S", 0.3)
    monkeypatch.setattr("emogram.serve.stream.connection.MAX_UNSENT", 4)
    app = create_app([model], ServeConfig(workers=1))
    streams = app.state.service.streams
    with running(app) as url, contextlib.closing(socket.socket()) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", int(url.rsplit(":", 1)[1])))
        head = "GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        deaf.sendall(f"{head}Sec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Ng==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        assert deaf.recv(12) == b"HTTP/1.1 101"  # all that it ever reads
        assert eventually(lambda: streams.n_open == 1)
        asked = b'{"type": "session.update"}'  # answered by twenty times as much
        frames = 20_000 * (bytes([0x81, 0x80 | len(asked)]) + b"\0\0\0\0" + asked)
        threading.Thread(target=sent, args=(deaf, frames), daemon=True).start()
        assert eventually(lambda: streams.n_open == 0)
        assert of_type(streamed(url, pcm, 16000), "measurement.result")


def test_the_end_of_the_service_gives_the_rest_and_says_so(model, pcm):
    with served(model) as url, opened(url) as socket:
        socket.send(pcm[:128000])
        while json.loads(socket.recv(timeout=10))["type"] != "measurement.result":
            pass
        httpx.post(f"{url}/end")
        messages, code = rest_of(socket)
        assert (messages[-1]["type"], code) == ("session.closed", 1001)
        with pytest.raises(InvalidStatus), opened(url):
            pass


def vosk_client(url: str, sound: bytes, rate: int | None, frame: int) -> tuple[list[dict[str, Any]], int | None]:
    """What a client of vosk-server does: the config, a frame, an answer, and at last eof and an answer."""

    async def speak() -> tuple[list[dict[str, Any]], int | None]:
        from websockets.asyncio.client import connect

        answers = []
        async with connect(url.replace("http", "ws") + "/v1/vosk") as socket:
            if rate is not None:
                await socket.send(f'{{ "config" : {{ "sample_rate" : {rate} }} }}')
            for first in range(0, len(sound), 2 * frame):
                await socket.send(sound[first : first + 2 * frame])
                answers.append(json.loads(await socket.recv()))
            await socket.send('{"eof" : 1}')
            answers.append(json.loads(await socket.recv()))
            await socket.wait_closed()
        return answers, socket.close_code

    return asyncio.run(speak())


@pytest.mark.parametrize("rate", [16000, None])
def test_a_vosk_client_hears_emotions_in_the_place_of_words(url, model, pcm, rate):
    sound = pcm[: len(pcm) - 24000]  # the last utterance is ended by eof
    answers, code = vosk_client(url, sound, rate, 3200)
    assert code == 1000
    assert len(answers) == -(-len(sound) // 6400) + 1
    assert answers[0] == {"partial": "", "emotion": None}
    results = [answer for answer in answers if answer.get("text")]
    parts = [event_dict(e) for e in utterances(model, sound) if isinstance(e, Utterance)]
    assert [answer["text"] for answer in results] == [part["label"] for part in parts]
    assert_alike([answer["emotion"]["scores"] for answer in results], [part["scores"] for part in parts])
    words = [word for answer in results for word in answer["result"]]
    assert [(word["word"], word["start"], word["end"]) for word in words] == [
        (s["label"], s["start_ms"] / 1000, s["end_ms"] / 1000) for part in parts for s in part["segments"]
    ]
    assert {answer["partial"] for answer in answers if "partial" in answer} - {""}
    assert "summary" in answers[-1]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"\0", 1007),
        ("hello", 4400),
        ('{"config": {"sample_rate": 1}}', 4400),
        ('{"config": {"sample_rate": []}}', 4400),
    ],
)
def test_what_vosk_clients_should_not_say_ends_their_stream(url, said, code):
    with opened(url, "/v1/vosk") as socket:
        socket.send('{"config": {"sample_rate": 16000.0, "words": true, "phrase_list": ["a"], "max_alternatives": 3}}')
        socket.send(said)
        messages, found = rest_of(socket)
    assert messages[0]["type"] == "error" and found == code


def test_a_session_without_a_socket_says_all_in_order(model, pcm):
    session = Session(Models([model]), ServeConfig(), "name")
    assert session.created()["session_id"] == "name"
    assert session.update({"sample_rate": 16000})["type"] == "session.updated"
    messages = [m for first in range(0, len(pcm), 8000) for m in session.feed(pcm[first : first + 8000])]
    messages += session.finish()
    kinds = [each["type"] for each in messages if each["type"] != "speech"]
    assert kinds[0] == "utterance.start" and kinds[-1] == "session.closed"
    for number, kind in enumerate(kinds):
        if kind == "utterance.end":
            assert kinds[:number].count("utterance.start") == kinds[: number + 1].count("utterance.end")
    with pytest.raises(emogram.EmogramError, match="too late"):
        session.update({})

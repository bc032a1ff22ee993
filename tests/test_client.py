"""The client: the records of a local model by another road, errors that are typed, and retries that are bounded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from serving import running

import emogram
from emogram import AsyncClient, Client, cli, voices
from emogram.classifier import Classifier
from emogram.client.records import StreamEnd, error_of, pcm_of, wave_of
from emogram.config import ServeConfig
from emogram.errors import AudioError, InputError, ServerError, SettingsError
from emogram.live import Engine, Utterance, UtteranceStart, WindowScore
from emogram.records import Prediction, Segment, Timeline
from emogram.serve.app import create_app
from emogram.testing import tiny_bundle

RATE = 16000
TOKEN = "a-secret-token"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("model") / "tiny", abstain_threshold=0.2)


@pytest.fixture(scope="module")
def model(bundle) -> Classifier:
    return Classifier.load(bundle)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """a.wav, b.flac, c.wav: a sentence each; talk.wav: all of them with pauses; short.wav: too short."""
    root = tmp_path_factory.mktemp("sounds")
    people = voices.voices(3)
    said = [voices.speak(label, speaker=people[k], seed=k) for k, label in enumerate(("angry", "happy", "sad"))]
    for name, sound in zip(("a.wav", "b.flac", "c.wav"), said, strict=True):
        soundfile.write(root / name, sound, RATE)
    pause = np.zeros(16000, np.float32)
    soundfile.write(root / "talk.wav", np.concatenate([part for each in said for part in (each, pause)]), RATE)
    soundfile.write(root / "short.wav", said[0][:500], RATE)
    return root


@pytest.fixture(scope="module")
def url(model, tmp_path_factory) -> Iterator[str]:
    config = ServeConfig(workers=1, token=TOKEN, data=tmp_path_factory.mktemp("jobs"))
    with running(create_app([model], config)) as url:
        yield url


@pytest.fixture
def client(url) -> Iterator[Client]:
    with Client(url, TOKEN) as client:
        yield client


def assert_same(one: Prediction, other: Prediction) -> None:
    assert (one.label, one.abstained, one.warnings) == (other.label, other.abstained, other.warnings)
    assert one.scores == pytest.approx(other.scores, abs=1e-6)
    assert list(one.scores) == list(other.scores)
    assert one.confidence == pytest.approx(other.confidence, abs=1e-6)
    assert one.speech_share == pytest.approx(other.speech_share, abs=1e-6)


def test_a_clip_is_answered_as_by_the_model_itself_by_path_bytes_or_samples(client, model, folder):
    for name in ("a.wav", "b.flac"):
        for check in (False, True):
            said = model.predict(folder / name, check=check)
            assert_same(client.predict(folder / name, check=check), said)
            assert_same(client.predict((folder / name).read_bytes(), check=check), said)
    samples, rate = soundfile.read(folder / "c.wav", dtype="int16")
    stereo = np.stack([samples, samples[::-1]], axis=1)
    for sound in (samples, samples / 32768.0, stereo):
        assert_same(client.predict(sound, sample_rate=rate), model.predict(sound, sample_rate=rate))


def test_asyncio_gets_the_same(url, client, folder):
    async def ask() -> tuple[Any, ...]:
        async with AsyncClient(url, TOKEN) as other:
            many = [
                pair async for pair in other.predict_many([folder / "a.wav", folder / "none.wav", folder / "c.wav"])
            ]
            return (
                await other.predict(folder / "b.flac", check=True),
                many,
                await other.analyze(folder / "talk.wav"),
                await other.models(),
                await other.health(),
                await other.jobs(),
            )

    one, many, timeline, models, health, jobs = asyncio.run(ask())
    assert_same(one, client.predict(folder / "b.flac", check=True))
    assert [path.name for path, _ in many] == ["a.wav", "none.wav", "c.wav"]
    assert isinstance(many[1][1], InputError) and many[1][1].code == "missing"
    assert_same(many[2][1], client.predict(folder / "c.wav"))
    assert timeline.segments == client.analyze(folder / "talk.wav").segments
    assert models == client.models() and health == {"healthy": True, "ready": True} and jobs == []


def test_many_files_come_in_order_with_their_errors(client, model, folder):
    names = ["a.wav", "short.wav", "b.flac", "c.wav"] * 5
    told = list(client.predict_many([folder / name for name in names], at_once=3))
    assert [path.name for path, _ in told] == names
    for path, said in told:
        if path.name == "short.wav":
            assert isinstance(said, InputError) and said.code == "too_short"
        else:
            assert_same(said, model.predict(path))


def test_a_recording_is_analysed_as_at_home(client, model, folder):
    class Seen(emogram.progress.Progress):
        def __init__(self) -> None:
            self.tasks: list[str] = []

        @contextlib.contextmanager
        def task(self, what: str, total: int, *, unit: str = "clips") -> Iterator[Any]:
            self.tasks.append(f"{what} {unit}")
            yield emogram.progress.Task()

    seen = Seen()
    found, own = client.analyze(folder / "talk.wav", progress=seen), emogram.analyze(folder / "talk.wav", model=model)
    assert isinstance(found, Timeline) and seen.tasks == ["analysing talk.wav s"]
    assert len(found.segments) == len(own.segments) > 0
    for one, other in zip(found.segments, own.segments, strict=True):
        assert (one.start_s, one.end_s) == pytest.approx((other.start_s, other.end_s), abs=6e-4)
        assert (one.channel, one.speech_ratio) == (other.channel, pytest.approx(other.speech_ratio, abs=1e-6))
        assert one.prediction.scores == pytest.approx(other.prediction.scores, abs=1e-6)
    assert found.windows.scores == pytest.approx(own.windows.scores, abs=1e-6)
    assert found.windows.channel.tolist() == own.windows.channel.tolist()
    assert found.summary["scores"] == pytest.approx(own.summary["scores"], abs=1e-6)
    assert (found.warnings, found.partial, found.channels) == (own.warnings, own.partial, own.channels)
    assert client.jobs() == []  # it is not left behind


def test_jobs_can_be_kept_looked_at_written_and_deleted(client, folder, tmp_path):
    job = client.send_job(folder / "talk.wav", raw=True)
    client.wait(job["id"])
    assert client.job(job["id"])["status"] == "done" and [each["id"] for each in client.jobs()] == [job["id"]]
    assert client.save_result(job["id"], tmp_path / "talk.vtt", "vtt").read_text().startswith("WEBVTT")
    assert client.cancel(job["id"])["status"] == "done"
    client.delete(job["id"])
    with pytest.raises(ServerError, match="no ") as gone:
        client.job(job["id"])
    assert (gone.value.code, gone.value.status) == ("not_found", 404)


def test_a_recording_that_cannot_be_analysed_says_why(client, tmp_path):
    (tmp_path / "noise.wav").write_bytes(b"RIFF" + bytes(range(256)) * 40)
    with pytest.raises(InputError):
        client.analyze(tmp_path / "noise.wav")
    with pytest.raises(SettingsError, match="channels"):
        client.analyze(__file__, channels="none")
    assert client.jobs() == []


def test_errors_are_typed(client, url, folder, tmp_path):
    with pytest.raises(InputError, match="no such file") as missing:
        client.predict(tmp_path / "none.wav")
    assert missing.value.code == "missing"
    with pytest.raises(InputError) as unreadable:
        client.predict(b"no sound at all")
    assert unreadable.value.exit_code == 4
    with pytest.raises(SettingsError, match="no model 'other'"):
        client.predict(folder / "a.wav", model="other")
    with Client(url, "not-the-token") as stranger, pytest.raises(ServerError, match="token") as refused:
        stranger.predict(folder / "a.wav")
    assert (refused.value.code, refused.value.status) == ("unauthorized", 401)
    with pytest.raises(AudioError, match="rate"):
        client.predict(np.zeros(16000))
    for address in ("127.0.0.1:8000", "ftp://x", "http://", "http://x:y"):
        with pytest.raises(SettingsError, match="no address"):
            Client(address)


def test_errors_survive_the_way_between_processes():
    import pickle

    error = pickle.loads(pickle.dumps(ServerError("words", code="busy", status=429)))
    assert (str(error), error.code, error.status, error.exit_code) == ("words", "busy", 429, 1)
    assert isinstance(error_of("timeout", "slow", 422), InputError)


# ---------------------------------------------------------------------------------------------------- live sound


def sound_of(folder: Path) -> np.ndarray:
    return soundfile.read(folder / "talk.wav", dtype="int16")[0]


def chunked(samples: np.ndarray, n: int) -> Iterator[np.ndarray]:
    yield from (samples[first : first + n] for first in range(0, len(samples), n))


def expected_events(model: Classifier, samples: np.ndarray) -> list[Any]:
    engine = Engine(model, sample_rate=RATE, utterances=True)
    return [*engine.feed(samples / 32768.0), *engine.finish()]


def assert_same_events(found: Sequence[Any], own: Sequence[Any]) -> None:
    assert [type(each) for each in found] == [type(each) for each in own]
    for one, other in zip(found, own, strict=True):
        assert one.start_s == pytest.approx(other.start_s, abs=6e-4)
        if not isinstance(one, UtteranceStart):
            assert one.end_s == pytest.approx(other.end_s, abs=6e-4)
            assert one.prediction.scores == pytest.approx(other.prediction.scores, abs=1e-6)


def test_live_sound_gives_the_records_of_the_engine(client, url, model, folder):
    samples = sound_of(folder)
    own = expected_events(model, samples)
    assert {type(each) for each in own} == {WindowScore, Segment, UtteranceStart, Utterance}
    *found, end = client.stream(chunked(samples, 1000))
    assert_same_events(found, own)
    assert isinstance(end, StreamEnd) and end.duration_s == pytest.approx(len(samples) / RATE, abs=1e-3)
    odd = samples.tobytes()
    *found, _ = client.stream(odd[first : first + 3333] for first in range(0, len(odd), 3333))
    assert_same_events(found, own)

    async def ask(chunks: Any) -> list[Any]:
        async with AsyncClient(url, TOKEN) as other:
            return [event async for event in other.stream(chunks)]

    async def coming() -> Any:
        for chunk in chunked(samples, 5000):
            yield chunk / 32768.0

    assert_same_events(asyncio.run(ask(coming()))[:-1], own)
    assert_same_events(asyncio.run(ask(chunked(samples, 5000)))[:-1], own)


def test_a_stream_may_be_left_and_what_goes_wrong_in_it_is_raised(client, url, folder):
    def for_ever() -> Iterator[np.ndarray]:
        while True:
            yield from chunked(sound_of(folder), 8000)

    for event in client.stream(for_ever()):
        if isinstance(event, WindowScore):
            break

    def broken() -> Iterator[bytes]:
        yield bytes(32000)
        raise OSError("the microphone is gone")

    with pytest.raises(OSError, match="microphone"):
        list(client.stream(broken()))
    with pytest.raises(SettingsError, match="sample_rate"):
        list(client.stream([bytes(3200)], sample_rate=1000))
    with Client(url) as stranger, pytest.raises(ServerError, match="token") as refused:
        list(stranger.stream([]))
    assert refused.value.code == "unauthorized"

    async def ask() -> None:
        async with AsyncClient(url, TOKEN) as other:
            with pytest.raises(OSError, match="microphone"):
                async for _ in other.stream(broken()):
                    pass
            async with contextlib.aclosing(other.stream(for_ever())) as events:
                async for event in events:
                    if isinstance(event, WindowScore):
                        break

    asyncio.run(ask())


def test_sound_is_sent_as_it_is():
    assert pcm_of(np.array([0.0, 1.0, -1.0, 0.5])) == np.array([0, 32767, -32768, 16384], "<i2").tobytes()
    assert pcm_of(np.array([[1, 3], [-5, -7]], np.int16)) == np.array([2, -6], "<i2").tobytes()
    assert pcm_of(b"\1\2") == b"\1\2"
    with pytest.raises(AudioError):
        wave_of(["a"], 16000)


# ------------------------------------------------------------------------------------------------ who is not there


Answer = tuple[int, dict[str, str], bytes] | None


@contextlib.contextmanager
def answering(answer: Callable[[int], Answer]) -> Iterator[tuple[str, list[str]]]:
    """A server of nothing but `answer(number of the request)`; None drops the connection. Gives what was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path.partition('?')[0]}")
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            said = answer(len(asked) - 1)
            if said is None:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            status, headers, body = said
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def error(status: int, code: str, **headers: str) -> Answer:
    body = {"type": "error", "code": code, "message": f"it is {code}", "request_id": "1"}
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(body).encode()


MODELS = (200, {}, b'{"models": [{"id": "one"}]}')


@pytest.fixture
def quick(monkeypatch) -> list[float]:
    """Waits take no time, and are kept."""
    waited: list[float] = []
    monkeypatch.setattr("emogram.client.blocking.time.sleep", waited.append)
    return waited


def test_a_busy_service_is_asked_again_after_as_long_as_it_says(quick):
    busy = error(429, "busy", Retry_After="3")
    with answering(lambda n: busy if n < 2 else MODELS) as (url, asked), Client(url) as client:
        assert client.models() == [{"id": "one"}]
    assert (len(asked), quick) == (3, [3.0, 3.0])


def test_retries_are_bounded_in_number_and_in_time(quick):
    with answering(lambda n: error(503, "draining")) as (url, asked):
        with Client(url) as client, pytest.raises(ServerError, match="draining") as given_up:
            client.models()
        assert (given_up.value.code, given_up.value.status) == ("draining", 503)
    assert len(asked) == 5 and quick == [0.2, 0.4, 0.8, 1.6]
    quick.clear()
    busy = error(429, "busy", Retry_After="3600")
    with answering(lambda n: busy) as (url, asked), Client(url) as client, pytest.raises(ServerError):
        client.models()
    assert (len(asked), quick) == (1, [])


def test_what_got_lost_is_sent_again_only_where_that_is_safe(quick, folder):
    with answering(lambda n: None if n < 2 else MODELS) as (url, asked), Client(url) as client:
        assert client.models()
    assert len(asked) == 3
    for ask in (lambda c: c.send_job(folder / "a.wav"), lambda c: c.delete("1")):
        no_answer = pytest.raises(ServerError, match="no answer")
        with answering(lambda n: None) as (url, asked), Client(url) as client, no_answer as lost:
            ask(client)
        assert (len(asked), lost.value.code, lost.value.status) == (1, "unreachable", None)
    with (
        answering(lambda n: error(429, "busy") if n == 0 else (202, {}, b'{"id": "1"}')) as (url, asked),
        Client(url) as client,
    ):
        assert client.send_job(folder / "a.wav") == {"id": "1"}  # nothing was begun the first time
    assert asked == ["POST /v1/jobs"] * 2


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}"])
def test_an_answer_of_something_else_is_named_so(body, folder):
    with answering(lambda n: (200, {}, body)) as (url, _), Client(url) as client:
        for ask in (lambda c: c.models(), lambda c: c.predict(folder / "a.wav")):
            with pytest.raises(ServerError, match="is it one of emogram"):
                ask(client)
    status = pytest.raises(ServerError, match="status 502")
    with answering(lambda n: (502, {}, body)) as (url, _), Client(url) as client, status:
        client.models()


def test_who_waits_too_long_is_told_and_does_not_ask_again():
    def late(n: int) -> Answer:
        time.sleep(0.6)
        return MODELS

    no_answer = pytest.raises(ServerError, match="no answer")
    with answering(late) as (url, asked), Client(url, timeout_s=0.2) as client, no_answer:
        client.models()
    assert len(asked) == 1


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_where_nothing_answers_it_says_how_to_start_it(quick):
    with Client(f"http://127.0.0.1:{free_port()}") as client:
        for ask in (client.models, client.health, lambda: list(client.stream([]))):
            with pytest.raises(ServerError, match="start one with 'emogram serve'") as refused:
                ask()
            assert refused.value.code == "unreachable"


# ------------------------------------------------------------------------------------------------ the command line


def ran(capsys, *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = cli.run([str(each) for each in arguments])
    said = capsys.readouterr()
    # How long it took stands on a line of its own.
    return code, said.out, "\n".join(line for line in said.err.splitlines() if not line.startswith("predicting"))


def both(capsys, monkeypatch, bundle, url, *arguments: object) -> list[tuple[int, str, str]]:
    monkeypatch.setenv("EMOGRAM_TOKEN", TOKEN)
    return [
        ran(capsys, "predict", *arguments, "--model", bundle),
        ran(capsys, "predict", *arguments, "--server", url),
    ]


def test_the_command_line_says_the_same_by_both_roads(capsys, monkeypatch, bundle, url, folder, tmp_path):
    sounds = [folder / "a.wav", folder / "b.flac", folder / "c.wav"]
    for arguments in ([sounds[0]], sounds, [*sounds, folder / "short.wav"], [folder / "short.wav"]):
        here, there = both(capsys, monkeypatch, bundle, url, *arguments)
        assert here == there
    assert there[0] == 4 and str(folder / "short.wav") in there[2]
    assert both(capsys, monkeypatch, bundle, url, *sounds, folder / "short.wav")[1][0] == 3
    assert both(capsys, monkeypatch, bundle, url, folder / "none.wav")[1][0] == 4


def test_json_and_tables_are_the_same_too(capsys, monkeypatch, bundle, url, folder, tmp_path):
    here, there = both(capsys, monkeypatch, bundle, url, folder / "a.wav", folder / "b.flac", "--json")
    lines = [[json.loads(line) for line in out.splitlines()] for _, out, _ in (here, there)]
    assert len(lines[0]) == 2
    for one, other in zip(*lines, strict=True):
        scores = [[s.pop("score") for s in each["segments"][0]["scores"]] for each in (one, other)]
        confidence = [
            (each["segments"][0].pop("confidence"), each["summary"].pop("confidence")) for each in (one, other)
        ]
        assert scores[0] == pytest.approx(scores[1], abs=1e-6)
        assert confidence[0] == pytest.approx(confidence[1], abs=1e-6)
        assert one == other
    tables = []
    for name, options in (("here", ["--model", bundle]), ("there", ["--server", url])):
        assert ran(capsys, "predict", folder / "a.wav", *options, "--csv", tmp_path / f"{name}.csv")[0] == 0
        tables.append((tmp_path / f"{name}.csv").read_text())
    assert tables[0].splitlines()[0] == tables[1].splitlines()[0]
    assert len(tables[0].splitlines()) == len(tables[1].splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--adapt"], "--adapt is not done by a service"),
        (["--picture", "x.png"], "--picture is not done by a service"),
        (["--shifts", "3"], "--shifts is not done by a service"),
        (["--model", "other"], "is the id of one of its models"),
    ],
)
def test_what_a_service_does_not_do_is_wrong_usage(capsys, monkeypatch, url, folder, options, words):
    monkeypatch.setenv("EMOGRAM_TOKEN", TOKEN)
    code, out, err = ran(capsys, "predict", folder / "a.wav", "--server", url, *options)
    assert (code, out) == (2, "") and words in " ".join(err.split())


def test_a_service_that_is_not_there_or_lets_nobody_in_fails_at_once(capsys, monkeypatch, url, folder, quick):
    monkeypatch.delenv("EMOGRAM_TOKEN", raising=False)
    code, out, err = ran(capsys, "predict", folder / "a.wav", "--server", url)
    assert (code, out) == (1, "") and "token" in err
    code, out, err = ran(capsys, "predict", folder / "a.wav", "--server", f"http://127.0.0.1:{free_port()}")
    assert (code, out) == (1, "") and "emogram serve" in " ".join(err.split())


def test_records_are_plain(client, folder):
    assert set(asdict(client.predict(folder / "a.wav"))) == set(Prediction.__dataclass_fields__)

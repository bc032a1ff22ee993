"""Clips over HTTP: what comes back is what Python and the command line say, and everything else is a typed refusal."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from serving import running

import emogram
from emogram import cli, voices
from emogram.config import ServeConfig
from emogram.serve.app import create_app
from emogram.testing import tiny_bundle
from emogram.timeline import analyze
from emogram.writers import save_timeline, timeline_dict

LABELS = ("angry", "calm", "happy", "sad")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Clips of several lengths, rates, channels and formats, named a.wav, b.flac ..."""
    root = tmp_path_factory.mktemp("clips")
    people = voices.voices(4)
    sounds = [voices.speak(label, speaker=people[n], seed=n) for n, label in enumerate(LABELS)]
    soundfile.write(root / "a.wav", sounds[0], 16000)
    soundfile.write(root / "b.flac", np.stack([sounds[1], 0.5 * sounds[1]], axis=1), 16000)
    soundfile.write(root / "c.ogg", np.repeat(sounds[2], 3), 48000)
    soundfile.write(root / "d.wav", sounds[3][::2], 8000)
    soundfile.write(root / "noise.wav", np.random.default_rng(0).normal(0.0, 0.05, 16000), 16000)
    pause = np.zeros(16000, np.float32)
    soundfile.write(root / "talk.wav", np.concatenate([part for sound in sounds for part in (sound, pause)]), 16000)
    return root


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("model") / "tiny", abstain_threshold=0.2)


@pytest.fixture(scope="module")
def url(tiny):
    """A service with the shipped model and a tiny one."""
    settings = ServeConfig(workers=2, max_clip_mb=1.0, max_clip_s=20.0)
    with running(create_app([emogram.load(), emogram.load(tiny)], settings)) as address:
        yield f"{address}/v1/audio/emotions"


def post(url: str, path: Path, **fields: str) -> httpx.Response:
    return httpx.post(url, files={"file": (path.name, path.read_bytes())}, data=fields, timeout=30.0)


def refused(response: httpx.Response, status: int, code: str) -> str:
    """Check the shape of a refusal, and return its message."""
    said = response.json()
    assert (response.status_code, said["type"], said["code"]) == (status, "error", code), said
    assert set(said) == {"type", "code", "message", "request_id"}
    return said["message"]


# ---------------------------------------------------------------- two roads, one answer


@pytest.mark.parametrize("name", ["a.wav", "b.flac", "c.ogg", "d.wav", "noise.wav"])
@pytest.mark.parametrize("check", [True, False])
def test_the_answer_is_that_of_the_command_line(url, folder, capsys, name, check):
    switch = "--check" if check else "--no-check"
    assert cli.run(["predict", str(folder / name), "--json", switch]) == 0
    wanted = json.loads(capsys.readouterr().out)
    said = post(url, folder / name, check=str(check).lower()).json()
    assert same(said, {**wanted, "file": name})


def same(said, wanted) -> bool:
    """Whether two JSON values agree, numbers to 1e-5, as the last of the digits that are written may differ."""
    if isinstance(wanted, dict):
        return said.keys() == wanted.keys() and all(same(said[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list):
        return len(said) == len(wanted) and all(map(same, said, wanted))
    return said == pytest.approx(wanted, abs=1e-5) if isinstance(wanted, float) else said == wanted


def test_a_raw_body_is_answered_as_a_form(url, folder):
    wanted = post(url, folder / "a.wav").json()
    content = (folder / "a.wav").read_bytes()
    for kind in ("audio/wav", "audio/x-anything", "application/octet-stream"):
        said = httpx.post(url, params={"name": "a.wav"}, content=content, headers={"content-type": kind})
        assert said.json() == wanted
    chunked = httpx.post(url, content=iter([content[:100], content[100:]]), headers={"content-type": "audio/wav"})
    assert chunked.json() == {**wanted, "file": "audio"}


@pytest.mark.parametrize("place", ["params", "data"])
def test_a_model_is_chosen_by_its_id(url, folder, tiny, place):
    other = emogram.load(tiny)
    content = (folder / "a.wav").read_bytes()
    said = httpx.post(url, files={"file": content}, **{place: {"model": other.info.model_id}}).json()
    assert said["model"]["sha256"] == other.sha256
    wanted = other.predict(folder / "a.wav")
    assert {each["label"]: each["score"] for each in said["segments"][0]["scores"]} == pytest.approx(
        dict(wanted.scores), abs=1e-5
    )


def test_a_timeline_is_that_of_analyze(url, folder, tmp_path):
    model = emogram.load()
    found = analyze(folder / "talk.wav", model=model)
    said = post(url, folder / "talk.wav", granularity="timeline").json()
    assert same(said, timeline_dict(found, path="talk.wav", info=model.info, sha256=model.sha256))
    for name in ("csv", "vtt", "textgrid"):
        path = save_timeline(
            tmp_path / "x", found, name, recording=folder / "talk.wav", model=model.info.model_id
        )  # fmt: skip
        assert post(url, folder / "talk.wav", granularity="timeline", response_format=name).text == path.read_text()


def test_a_clip_comes_back_as_a_table_captions_and_a_textgrid(url, folder):
    wanted = post(url, folder / "a.wav").json()["segments"][0]
    answers = {name: post(url, folder / "a.wav", response_format=name) for name in ("csv", "vtt", "textgrid")}
    header, row = (line.split(",") for line in answers["csv"].text.split())
    table = dict(zip(header, row, strict=True))
    assert (table["label"], float(table["end_s"])) == (wanted["label"], wanted["end_ms"] / 1000)
    assert float(table["speech_ratio"]) == pytest.approx(wanted["speech_ratio"], abs=1e-5)
    assert {each["label"]: float(table[each["label"]]) for each in wanted["scores"]} == pytest.approx(
        {each["label"]: each["score"] for each in wanted["scores"]}, abs=1e-5
    )
    said = f"unsure ({wanted['label']})" if wanted["abstained"] else wanted["label"]
    assert f"{said} {100 * wanted['confidence']:.0f} %" in answers["vtt"].text
    assert wanted["label"] in answers["textgrid"].text
    kinds = {name: answer.headers["content-type"].partition(";")[0] for name, answer in answers.items()}
    assert kinds == {"csv": "text/csv", "vtt": "text/vtt", "textgrid": "text/plain"}


def test_many_at_once_are_each_answered_with_their_own(url, folder):
    names = ["a.wav", "b.flac", "c.ogg", "d.wav", "noise.wav"]
    wanted = {name: post(url, folder / name).json() for name in names}
    with ThreadPoolExecutor(16) as pool:
        for name, answer in zip(names * 12, pool.map(lambda name: post(url, folder / name), names * 12), strict=True):
            assert answer.status_code == 200
            assert same(answer.json(), wanted[name])


# ---------------------------------------------------------------- refusals


def sound(seconds: float, *, rate: int = 16000, format: str = "WAV", level: float = 0.1) -> bytes:
    content = io.BytesIO()
    samples = level * np.sin(np.arange(round(seconds * rate)))
    soundfile.write(content, samples, rate, format=format)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"no sound at all", 422, "unreadable"),
        (b"", 400, "bad_request"),
        (sound(0.05), 422, "too_short"),
        (sound(1.0, level=0.0), 422, "silent"),
        (sound(1.0, rate=2000), 422, "bad_rate"),
        (sound(30.0, format="FLAC"), 413, "too_long"),
        (sound(40.0), 413, "too_large"),
        (sound(1.0)[:30], 422, "unreadable"),
    ],
)
def test_sound_that_cannot_be_used(url, content, status, code):
    message = refused(httpx.post(url, files={"file": ("../x.wav", content)}), status, code)
    assert "/tmp" not in message and ".." not in message
    if code == "too_long":
        assert "POST /v1/jobs" in message


@pytest.mark.parametrize("place", ["params", "data"])
@pytest.mark.parametrize(
    "fields", [{"model": "nobody"}, {"granularity": "words"}, {"response_format": "xml"}, {"modle": "x"}]
)
def test_wrong_parameters_are_named(url, place, fields):
    message = refused(httpx.post(url, files={"file": sound(1.0)}, **{place: fields}), 422, "bad_parameter")
    assert any(word in message for word in (*fields, *fields.values()))


@pytest.mark.parametrize("place", ["params", "data"])
def test_settings_left_empty_are_as_if_not_sent_and_described_as_such(url, folder, tiny, place):
    """A form of a page sends all its fields."""
    form = create_app([emogram.load(tiny)]).openapi()["paths"]["/v1/audio/emotions"]["post"]["requestBody"]["content"]
    settings = dict(form["multipart/form-data"]["schema"]["properties"])
    assert settings.pop("file")["format"] == "binary" and "granularity" in settings
    for schema in settings.values():
        assert any(each.get("type") == "string" and "enum" not in each for each in schema.get("anyOf", [schema]))
    content = (folder / "a.wav").read_bytes()
    said = httpx.post(url, files={"file": ("a.wav", content)}, **{place: dict.fromkeys(settings, "")})
    assert said.json() == post(url, folder / "a.wav").json()


def test_wrong_bodies(url):
    refused(httpx.post(url, json={}), 415, "wrong_content_type")
    refused(httpx.post(url, data={"model": "x"}), 415, "wrong_content_type")
    refused(httpx.post(url, files={"sound": sound(1.0)}), 400, "bad_request")
    refused(httpx.post(url, files=[("file", sound(1.0)), ("file", sound(1.0))]), 400, "bad_request")


def test_a_client_that_goes_away_is_forgotten(tiny, folder, monkeypatch, tmp_path):
    """What it sent is removed, and what it asked for is dropped."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    app = create_app([emogram.load(tiny)], ServeConfig(workers=1))
    with running(app) as address:
        host, port = address.removeprefix("http://").split(":")
        uploads = app.state.service.uploads.path
        body = (folder / "talk.wav").read_bytes()
        head = (
            f"POST /v1/audio/emotions HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nContent-Length: {len(body)}\r\n"
        )
        for part in (body[:1000], body):
            for _ in range(5):
                with socket.create_connection((host, int(port))) as client:
                    client.sendall(head.encode() + b"\r\n" + part)
                    time.sleep(0.02)
        until = time.monotonic() + 10.0
        while list(uploads.iterdir()) and time.monotonic() < until:
            time.sleep(0.02)
        assert list(uploads.iterdir()) == []
        assert post(f"{address}/v1/audio/emotions", folder / "a.wav").status_code == 200


def test_past_its_bounds_it_says_when_to_come_again(tiny, folder):
    settings = ServeConfig(workers=1, max_queue=1)
    with running(create_app([emogram.load(tiny)], settings)) as address:
        start = threading.Barrier(12)

        def send(_: int) -> httpx.Response:
            start.wait()
            return post(f"{address}/v1/audio/emotions", folder / "talk.wav", granularity="timeline")

        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(send, range(12)))
    codes = {answer.status_code for answer in answers}
    assert codes == {200, 429}
    for answer in answers:
        if answer.status_code == 429:
            refused(answer, 429, "busy")
            assert int(answer.headers["retry-after"]) >= 1

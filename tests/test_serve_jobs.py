"""Long recordings as jobs: the result is that of `emogram analyze`, and nothing that was accepted is ever lost."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from PIL import Image
from serving import running

import emogram
from emogram import audio, cli, voices
from emogram.config import ServeConfig
from emogram.errors import EmogramError, SettingsError
from emogram.explanations import explain
from emogram.overview import overview
from emogram.parallel import child_environment
from emogram.serve.app import create_app
from emogram.serve.jobs.place import Place
from emogram.serve.jobs.store import Job, Store
from emogram.serve.jobs.views import sound_type
from emogram.spectrogram import scaled_bands
from emogram.testing import tiny_bundle
from emogram.timeline import analyze
from emogram.writers import FORMATS, save_timeline

LABELS = ("angry", "calm", "happy", "sad")
WAV = {"Content-Type": "audio/wav"}
OPEN = ("queued", "running")


def talk(n: int = 4) -> np.ndarray:
    people = voices.voices(4)
    pause = np.zeros(8000, np.float32)
    sounds = [voices.speak(LABELS[k % 4], speaker=people[k % 4], seed=k) for k in range(n)]
    return np.concatenate([part for sound in sounds for part in (sound, pause)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Recordings: talk.wav, call.flac with two channels, and long.wav, which takes some seconds to analyse."""
    root = tmp_path_factory.mktemp("recordings")
    sound = talk()
    soundfile.write(root / "talk.wav", sound, 16000)
    soundfile.write(root / "call.flac", np.stack([sound, np.roll(sound, 30000)], axis=1), 16000)
    soundfile.write(root / "long.wav", np.tile(sound, 25), 16000)
    return root


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("model") / "tiny", abstain_threshold=0.2)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data") / "serve"


@pytest.fixture(scope="module")
def url(tiny, data) -> Iterator[str]:
    """A service with the shipped model and a tiny one."""
    settings = ServeConfig(workers=1, data=data, max_job_mb=40.0)
    with running(create_app([emogram.load(), emogram.load(tiny)], settings)) as address:
        yield f"{address}/v1/jobs"


@contextmanager
def service(tiny: Path, data: Path, **settings: object) -> Iterator[str]:
    config = ServeConfig.from_dict({"workers": 1, "data": str(data), **settings})
    with running(create_app([emogram.load(tiny)], config)) as address:
        yield f"{address}/v1/jobs"


def send(url: str, path: Path, **fields: str) -> httpx.Response:
    return httpx.post(url, files={"file": (path.name, path.read_bytes())}, data=fields, timeout=30.0)


def accepted(url: str, path: Path, **fields: str) -> str:
    """Send a recording, and return the address of its job."""
    response = send(url, path, **fields)
    assert response.status_code == 202, response.text
    assert response.headers["location"] == f"/v1/jobs/{response.json()['id']}"
    return f"{url}/{response.json()['id']}"


def until(url: str, fits: Callable[[dict], bool], *, seconds: float = 60.0, **options: object) -> dict:
    """Ask for a job until it is as wanted."""
    end = time.monotonic() + seconds
    while not fits(job := httpx.get(url, **options).json()):
        assert time.monotonic() < end, job
        time.sleep(0.05)
    return job


def finished(url: str, **options: object) -> dict:
    return until(url, lambda job: job["status"] not in OPEN, **options)


def refused(response: httpx.Response, status: int, code: str) -> str:
    """Check the shape of a refusal, and return its message."""
    said = response.json()
    assert (response.status_code, said["type"], said["code"]) == (status, "error", code), said
    assert set(said) == {"type", "code", "message", "request_id"}
    return said["message"]


@pytest.fixture(scope="module")
def job(url, folder) -> str:
    """The address of a finished job on talk.wav."""
    address = accepted(url, folder / "talk.wav")
    assert finished(address)["status"] == "done"
    return address


def test_the_result_is_that_of_the_command_line_to_the_byte(url, folder, job, tiny, capfd, monkeypatch):
    monkeypatch.chdir(folder)
    assert cli.run(["analyze", "talk.wav", "--json"]) == 0
    assert httpx.get(f"{job}/result").text == capfd.readouterr().out
    options = ["--model", str(tiny), "--channels", "split", "--raw", "--no-find-speech"]
    assert cli.run(["analyze", "call.flac", "--json", *options]) == 0
    model = emogram.load(tiny).info.model_id
    sent = accepted(url, folder / "call.flac", model=model, channels="split", raw="true", find_speech="false")
    assert finished(sent)["status"] == "done"
    assert httpx.get(f"{sent}/result").text == capfd.readouterr().out


def test_a_job_tells_what_it_is(url, job):
    said = httpx.get(job).json()
    assert said["status"] == "done" and said["file"] == "talk.wav" and said["error"] is None
    assert said["model"] == emogram.load().info.model_id
    assert said["created"] <= said["started"] <= said["finished"] < said["expires"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", said["expires"])
    seconds = said["progress"]["done_s"]
    assert said["progress"] == {"done_s": seconds, "total_s": seconds, "share": 1.0, "left_s": 0.0}
    for name, link in said["links"].items():
        if name not in ("cancel", "explanation"):
            assert httpx.get(url.removesuffix("/v1/jobs") + link, timeout=30.0).status_code == 200, name
    assert said in httpx.get(url).json()["jobs"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_what_python_writes(name, folder, job, tmp_path):
    classifier = emogram.load()
    timeline = analyze(folder / "talk.wav", model=classifier)
    words = f"{classifier.info.model_id} {classifier.sha256[:12]}"
    wanted = save_timeline(tmp_path / "x", timeline, name, recording=folder / "talk.wav", model=words).read_bytes()
    response = httpx.get(f"{job}/result", params={"response_format": name}, timeout=60.0)
    assert response.status_code == 200
    assert response.headers["content-disposition"] == f'attachment; filename="talk{FORMATS[name].suffix}"'
    assert response.headers["x-content-type-options"] == "nosniff"
    got = response.content
    if name == "eaf":  # it names the recording by its address, and says when it was made
        wanted = wanted.replace((folder / "talk.wav").as_uri().encode(), b"./talk.wav")
        wanted, got = (re.sub(rb' DATE="[^"]*"', b"", each) for each in (wanted, got))
        got = re.sub(rb"urn:nl-mpi-tools-elan-eaf:[-0-9a-f]+", b"", got)
        wanted = re.sub(rb"urn:nl-mpi-tools-elan-eaf:[-0-9a-f]+", b"", wanted)
    assert got == wanted


def test_windows_are_those_before_smoothing(folder, job):
    windows = analyze(folder / "talk.wav").windows
    said = httpx.get(f"{job}/windows").json()
    assert said["labels"] == list(windows.labels)
    assert said["start_ms"] == [round(1000 * each) for each in windows.start_s]
    assert said["end_ms"] == [round(1000 * each) for each in windows.end_s]
    assert set(said["channel"]) == {None}
    np.testing.assert_allclose(said["scores"], windows.scores, atol=1e-4)


def test_the_waveform_is_its_envelope(folder, job):
    sound, _ = soundfile.read(folder / "talk.wav", dtype="float32")
    said = httpx.get(f"{job}/waveform", params={"points": 100}).json()
    (channel,) = said["channels"]
    assert len(channel["low"]) == len(channel["high"]) == len(said["edges_ms"]) - 1 == 100
    assert said["duration_ms"] == round(len(sound) / 16)
    assert max(channel["high"]) == pytest.approx(sound.max(), abs=1e-3)
    assert min(channel["low"]) == pytest.approx(sound.min(), abs=1e-3)


def test_the_spectrogram_of_a_stretch_is_what_the_model_sees(folder, job):
    config = emogram.load().info.spectrogram
    wave = audio.load_audio(folder / "talk.wav", sample_rate=config.sample_rate, start_s=1.0, end_s=3.0)
    levels = scaled_bands(wave, config.model_copy(update={"trim_db": 0.0, "periodicity_bands": 0}))
    response = httpx.get(f"{job}/spectrogram", params={"start_ms": 1000, "end_ms": 3000})
    assert response.headers["content-type"] == "image/png"
    picture = Image.open(io.BytesIO(response.content))
    assert picture.mode == "L"
    pixels = np.asarray(picture)
    assert pixels.shape == (config.n_mels, len(levels))
    np.testing.assert_array_equal(pixels, np.rint(255.0 * levels.T[::-1]))


def test_the_spectrogram_of_a_long_stretch_is_an_overview(url, folder, tiny):
    job = accepted(url, folder / "long.wav")
    path = f"{job}/spectrogram"
    pixels = np.asarray(Image.open(io.BytesIO(httpx.get(path, timeout=60.0).content)))
    assert pixels.shape == (80, 2400)
    part = httpx.get(path, params={"start_ms": 60_000, "end_ms": 180_000}, timeout=60.0)
    whole = overview(folder / "long.wav", duration_s=180.0, n_columns=3600).decibels[1200:]
    pixels = np.asarray(Image.open(io.BytesIO(part.content)))
    assert pixels.shape == (80, 2400)
    seen = 70.0 * (pixels[::-1].T / 255.0 - 1.0)
    again = overview(folder / "long.wav", start_s=60.0, duration_s=120.0, n_columns=2400)
    assert again.edges_s[0] == 60.0 and again.edges_s[-1] == 180.0
    np.testing.assert_allclose(seen, np.clip(again.decibels, -70.0, 0.0), atol=0.15)
    # Other frames of the same sound: alike where it is loud.
    halves = whole[: 2400 - 2400 % 2].reshape(-1, 2, 80).mean(axis=1)
    others = again.decibels.reshape(-1, 2, 80).mean(axis=1)
    assert np.corrcoef(halves.mean(axis=1), others.mean(axis=1))[0, 1] > 0.9
    assert httpx.delete(job).status_code == 204


def test_an_explanation_is_that_of_python(folder, job):
    told = explain(emogram.load(), folder / "talk.wav", start_s=1.0, end_s=2.5, top_k=8, method="occlusion")
    params = {"start_ms": 1000, "end_ms": 2500}
    said = httpx.get(f"{job}/explanation", params=params, timeout=60.0).json()
    assert said["label"] == said["prediction"]["label"] == told.labels[0]
    assert said["method"] == "occlusion"
    np.testing.assert_allclose(said["map"], told.maps[0], atol=2e-3)
    np.testing.assert_allclose(said["spectrogram"], told.spectrogram, atol=1e-3)
    np.testing.assert_allclose(said["times_ms"], 1000 * told.times_s, atol=1.0)
    assert len(said["frequencies_hz"]) == len(said["map"][0])
    other = httpx.get(f"{job}/explanation", params={**params, "label": told.labels[3]}, timeout=60.0).json()
    assert other["label"] == told.labels[3]
    np.testing.assert_allclose(other["map"], told.maps[3], atol=2e-3)


def test_the_sound_comes_back_whole_and_in_ranges(folder, job):
    content = (folder / "talk.wav").read_bytes()
    whole = httpx.get(f"{job}/audio")
    assert whole.content == content
    assert whole.headers["content-type"] == "audio/wav"
    assert whole.headers["x-content-type-options"] == "nosniff"
    part = httpx.get(f"{job}/audio", headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, content[100:200])
    tail = httpx.get(f"{job}/audio", headers={"Range": "bytes=-10"})
    assert (tail.status_code, tail.content) == (206, content[-10:])
    for odd in ("bytes=abc", "lines=1-2", "bytes=9-3", "bytes=0-1,5-6", f"bytes={'9' * 5000}-"):
        assert httpx.get(f"{job}/audio", headers={"Range": odd}).content == content
    beyond = httpx.get(f"{job}/audio", headers={"Range": f"bytes={len(content)}-"})
    refused(beyond, 416, "bad_range")


def test_no_file_is_called_what_a_browser_would_run(tmp_path):
    for content in (b"<html><script>", b"%PDF-1.4", b"<svg xmlns", b"", b"\xff"):
        (tmp_path / "x.wav").write_bytes(content)
        assert sound_type(tmp_path / "x.wav") == "application/octet-stream"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("waveform?points=0", 422, "bad_parameter"),
        ("waveform?points=10000", 422, "bad_parameter"),
        ("spectrogram?start_ms=5&end_ms=5", 422, "bad_parameter"),
        ("spectrogram?start_ms=-1", 422, "bad_parameter"),
        ("spectrogram?start_ms=100000000", 422, "bad_stretch"),
        ("explanation", 422, "bad_parameter"),
        ("explanation?start_ms=0&end_ms=20000", 422, "bad_parameter"),
        ("explanation?start_ms=0&end_ms=2000&label=grumpy", 422, "bad_parameter"),
        ("explanation?start_ms=9000000&end_ms=9002000", 422, "bad_stretch"),
        ("result?response_format=docx", 422, "bad_parameter"),
    ],
)
def test_what_cannot_be_shown_is_refused(job, path, status, code):
    message = refused(httpx.get(f"{job}/{path}", timeout=60.0), status, code)
    assert "/jobs/" not in message


@pytest.mark.parametrize("name", ["x", "0" * 32, "..%2f..%2flock", "%00", "a" * 5000])
def test_there_is_no_job_of_any_other_name(url, name):
    for address in (f"{url}/{name}", f"{url}/{name}/result"):
        refused(httpx.get(address), 404, "not_found")


@pytest.mark.parametrize("name", ["../../etc/..\\passwd.wav", "a\x00b.wav", "é" * 300 + ".wav"])
def test_names_of_files_are_words_and_no_paths(url, folder, data, name):
    before = set(data.parent.rglob("*"))
    response = httpx.post(url, params={"name": name}, content=(folder / "talk.wav").read_bytes(), headers=WAV)
    assert response.status_code == 202
    job = response.json()
    assert not set("/\\\0") & set(job["file"])
    address = f"{url}/{job['id']}"
    assert finished(address)["status"] == "done"
    assert httpx.get(f"{address}/result").json()["file"] == job["file"]
    for kind in ("html", "rttm"):
        assert httpx.get(f"{address}/result?response_format={kind}", timeout=60.0).status_code == 200
    assert httpx.get(f"{address}/audio").status_code == 200
    assert httpx.delete(address).status_code == 204
    assert set(data.parent.rglob("*")) <= before


@pytest.mark.parametrize(
    ("params", "body", "headers", "status", "code"),
    [
        ({"model": "other"}, b"x", WAV, 422, "bad_parameter"),
        ({"channels": "left"}, b"x", WAV, 422, "bad_parameter"),
        ({"colour": "red"}, b"x", WAV, 422, "bad_parameter"),
        ({}, b"", WAV, 400, "bad_request"),
        ({}, b"x", {"Content-Type": "text/plain"}, 415, "wrong_content_type"),
        ({}, b"x" * 41_000_000, WAV, 413, "too_large"),
    ],
)
def test_what_cannot_be_a_job_is_refused_and_leaves_nothing(url, data, params, body, headers, status, code):
    before = set(data.rglob("*"))
    refused(httpx.post(url, params=params, content=body, headers=headers, timeout=30.0), status, code)
    assert set(data.rglob("*")) <= before


def test_a_client_gone_in_the_middle_leaves_nothing(url, data):
    before = set(data.rglob("*"))
    place = httpx.URL(url)
    with socket.create_connection((place.host, place.port)) as client:
        head = f"POST {place.path} HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nContent-Length: 1000000\r\n\r\n"
        client.sendall(head.replace("Host: x", f"Host: {place.host}").encode() + b"x" * 300_000)
        end = time.monotonic() + 10.0
        while set(data.rglob("*")) <= before and time.monotonic() < end:
            time.sleep(0.02)
        assert set((data / "incoming").iterdir())
    end = time.monotonic() + 10.0
    while not set(data.rglob("*")) <= before:
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("content", [b"no sound at all", b"fLaC" + bytes(500)])
def test_a_file_that_is_no_sound_fails_with_words(url, content):
    response = httpx.post(url, params={"name": "x.wav"}, content=content, headers=WAV)
    address = f"{url}/{response.json()['id']}"
    job = finished(address)
    assert job["status"] == "failed"
    assert job["error"]["code"] in ("unreadable", "empty", "bad_rate"), job["error"]
    assert job["error"]["message"].startswith("x.wav: ")
    refused(httpx.get(f"{address}/result"), 409, "not_ready")
    assert httpx.delete(address).status_code == 204


def test_a_recording_without_a_sample_is_no_accident(url, tmp_path):
    soundfile.write(tmp_path / "none.wav", np.zeros(0, np.float32), 16000)
    address = accepted(url, tmp_path / "none.wav")
    assert finished(address)["status"] == "done"
    assert httpx.get(f"{address}/result").json()["segments"] == []
    assert "No sound was read." in httpx.get(f"{address}/result?response_format=html", timeout=30.0).text
    for view in ("waveform", "spectrogram", "explanation?start_ms=0&end_ms=2000"):
        refused(httpx.get(f"{address}/{view}", timeout=30.0), 422, "empty")
    assert httpx.delete(address).status_code == 204


def test_a_bomb_of_silence_stays_within_bounds(tiny, tmp_path):
    hours = tmp_path / "silence.flac"
    with soundfile.SoundFile(hours, "w", 4000, 1) as file:  # a night takes some seconds, and a minute nothing
        for _ in range(80):
            file.write(np.zeros(4000 * 600, np.int16))
    assert hours.stat().st_size < 2_000_000
    minute = tmp_path / "minute.flac"
    soundfile.write(minute, np.zeros(8000 * 60, np.int16), 8000)
    with service(tiny, tmp_path / "data", job_time_limit_s=2.0) as url:
        address, other = accepted(url, hours), accepted(url, minute)
        job = finished(address)
        assert job["status"] == "failed" and job["error"]["code"] == "timeout"
        assert finished(other)["status"] == "done"
        assert httpx.get(f"{other}/result").json()["segments"] == []
        assert httpx.get(f"{other}/spectrogram").status_code == 200
        assert httpx.get(url).elapsed.total_seconds() < 1.0


def test_progress_moves_and_cancel_ends_at_once(url, folder):
    address = accepted(url, folder / "long.wav")
    first = until(address, lambda job: job["progress"]["share"])["progress"]
    assert first["done_s"] > 0 and first["left_s"] > 0 and 0 < first["share"] < 1
    refused(httpx.get(f"{address}/result"), 409, "not_ready")
    until(address, lambda job: job["progress"]["done_s"] > first["done_s"])
    begun = time.monotonic()
    job = httpx.post(f"{address}/cancel").json()
    assert job["status"] == "cancelled" and job["finished"] and job["error"] is None
    assert time.monotonic() - begun < 1.0
    assert httpx.post(f"{address}/cancel").json() == job
    assert httpx.delete(address).status_code == 204


def test_jobs_wait_for_their_turn_and_too_many_are_refused(tiny, folder, tmp_path):
    with service(tiny, tmp_path, max_jobs=3) as url:
        first, second, third = [accepted(url, folder / name) for name in ("long.wav", "talk.wav", "call.flac")]
        busy = send(url, folder / "talk.wav")
        refused(busy, 429, "busy")
        assert int(busy.headers["retry-after"]) > 0
        assert httpx.get(second).json()["status"] == "queued"
        assert httpx.post(f"{second}/cancel").json()["status"] == "cancelled"
        assert [job["id"] for job in httpx.get(url, params={"limit": 2}).json()["jobs"]] == [
            address.rsplit("/", 1)[1] for address in (third, second)
        ]
        until(first, lambda job: job["status"] == "running")
        assert httpx.delete(first).status_code == 204
        refused(httpx.get(first), 404, "not_found")
        assert finished(third)["status"] == "done"


def test_jobs_take_no_more_of_the_disk_than_they_may(tiny, folder, tmp_path):
    with service(tiny, tmp_path, max_stored_mb=0.6, max_job_mb=0.5) as url:
        assert (folder / "talk.wav").stat().st_size < 500_000
        address = accepted(url, folder / "talk.wav")
        finished(address)
        refused(send(url, folder / "talk.wav"), 507, "disk_full")
        assert httpx.delete(address).status_code == 204
        accepted(url, folder / "talk.wav")


def test_a_full_disk_is_said_and_leaves_nothing(url, folder, data, monkeypatch):
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    before = set(data.rglob("*"))
    monkeypatch.setattr("emogram.serve.jobs.place.os.fsync", full)
    response = send(url, folder / "talk.wav")
    monkeypatch.undo()
    refused(response, 507, "disk_full")
    assert set(data.rglob("*")) <= before


def test_a_deleted_job_leaves_no_file_and_no_name(tiny, folder, tmp_path):
    with service(tiny, tmp_path) as url:
        address = accepted(url, folder / "talk.wav")
        job = finished(address)
        for part in ("waveform", "spectrogram?end_ms=3000", "result?response_format=html"):
            assert httpx.get(f"{address}/{part}", timeout=60.0).status_code == 200
        assert httpx.delete(address).status_code == 204
        refused(httpx.delete(address), 404, "not_found")
        left = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert {path.name for path in left} <= {"lock", "jobs.sqlite3", "jobs.sqlite3-wal", "jobs.sqlite3-shm"}
        assert not any(job["id"] in str(path) for path in tmp_path.rglob("*"))


def test_finished_jobs_are_kept_as_long_as_was_said(tiny, folder, tmp_path):
    with service(tiny, tmp_path, keep_hours=1.0 / 3600.0) as url:
        address = accepted(url, folder / "talk.wav")
        until(address, lambda job: job.get("code") == "not_found", seconds=20.0)
        assert not list((tmp_path / "jobs").iterdir())


def children_of(pid: int) -> list[int]:
    """The processes that analyse for a service, by what they run."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == pid and b"emogram.serve.jobs.analysing" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except (OSError, ValueError):
            continue
    return found


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")


@linux
def test_a_job_whose_process_dies_is_tried_again_and_then_fails(tiny, folder, tmp_path):
    with service(tiny, tmp_path) as url:
        address = accepted(url, folder / "long.wav")
        killed: set[int] = set()
        end = time.monotonic() + 60.0
        while httpx.get(address).json()["status"] in OPEN and time.monotonic() < end:
            for pid in set(children_of(os.getpid())) - killed:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            time.sleep(0.05)
        job = httpx.get(address).json()
        assert job["status"] == "failed" and len(killed) == 2
        assert job["error"]["code"] == "crashed" and "SIGKILL" in job["error"]["message"]
        once = accepted(url, folder / "talk.wav")
        assert finished(once)["status"] == "done"


@contextmanager
def process(tiny: Path, data: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A service in a process of its own, and its address."""
    options = ["--port", "0", "--workers", "1", "--model", str(tiny), "--data", str(data)]
    command = [sys.executable, "-m", "emogram", "serve", *options]
    environment = child_environment(EMOGRAM_TOKEN="12345678")
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert child.stdout is not None
        yield child, f"{child.stdout.readline().strip()}/v1/jobs"
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


@linux
def test_kill_9_of_the_service_loses_no_job(tiny, folder, tmp_path):
    allowed = {"Authorization": "Bearer 12345678"}
    names = ("long.wav", "long.wav", "long.wav", "talk.wav")  # more than can be analysed before the kill

    def put(url: str, name: str) -> str:
        body = (folder / name).read_bytes()
        response = httpx.post(url, params={"name": name}, content=body, headers={**allowed, **WAV}, timeout=30.0)
        assert response.status_code == 202, response.text
        return response.json()["id"]

    with process(tiny, tmp_path) as (child, url):
        assert httpx.get(url).status_code == 401
        ids = [put(url, name) for name in names]
        until(f"{url}/{ids[0]}", lambda job: job["progress"]["done_s"] > 0, headers=allowed)
        end = time.monotonic() + 30.0
        while not (workers := children_of(child.pid)):  # none for a moment between two jobs
            assert time.monotonic() < end, "nothing is analysed"
        child.kill()
        child.wait()
    end = time.monotonic() + 5.0
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < end, "the analysing process outlives its service"
        time.sleep(0.05)
    with process(tiny, tmp_path) as (_child, url):
        for name, job_id in zip(names, ids, strict=True):
            assert finished(f"{url}/{job_id}", headers=allowed)["status"] == "done"
            said = httpx.get(f"{url}/{job_id}/result", headers=allowed).json()
            assert said["file"] == name and not said["partial"]
        assert said["audio"]["duration_ms"] == round(1000 * analyze(folder / "talk.wav", model=tiny).duration_s)


def test_a_service_that_ends_puts_its_job_back(tiny, folder, tmp_path):
    with service(tiny, tmp_path) as url:
        address = accepted(url, folder / "long.wav")
        until(address, lambda job: job["status"] == "running")
    store = Store(tmp_path / "jobs.sqlite3")
    (job,) = store.newest(9)
    store.close()
    assert job.status == "queued" and job.deaths == 0
    with service(tiny, tmp_path) as url:
        until(f"{url}/{job.id}", lambda job: job["progress"]["done_s"] > 0)


def test_two_services_never_share_a_folder(tiny, tmp_path):
    place = Place(tmp_path)
    with pytest.raises(SettingsError, match="another service keeps its jobs there"):
        Place(tmp_path)

    async def begun() -> None:
        app = create_app([emogram.load(tiny)], ServeConfig(workers=1, data=tmp_path))
        async with app.router.lifespan_context(app):
            pass

    with pytest.raises(SettingsError, match="another service keeps its jobs there"):
        asyncio.run(begun())
    place.close()
    Place(tmp_path).close()


def test_what_was_left_in_the_middle_is_cleared_away(tiny, tmp_path):
    for name in ("incoming/x.part", "trash/x/sound.wav", "jobs/0123/sound.wav"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"x")
    with service(tiny, tmp_path):
        assert not [path for path in tmp_path.rglob("*") if path.name in ("x.part", "sound.wav")]


def test_a_database_that_cannot_be_used_is_refused_with_words(tmp_path):
    path = tmp_path / "jobs.sqlite3"
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(EmogramError, match=r"cannot be used .* move it away"):
        Store(path)
    path.unlink()
    Store(path).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(EmogramError, match="made by a newer version of emogram"):
        Store(path)
    path.unlink()
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE jobs (id TEXT)")
    database.close()
    with pytest.raises(EmogramError, match="move it away"):
        Store(path)


def test_the_store_hands_out_jobs_in_their_order_once_each(tmp_path):
    store = Store(tmp_path / "jobs.sqlite3")
    for name in "abc":
        store.add(Job(name, f"{name}.wav", ".wav", "m", "mix", False, True, 10, 1.0))
    assert [store.claim(2.0).id for _ in range(2)] == ["a", "b"]
    store.requeue("a", deaths=1)
    assert store.claim(3.0) == Job("a", "a.wav", ".wav", "m", "mix", False, True, 10, 1.0, "running", 3.0, deaths=1)
    store.finish("b", "failed", 4.0, code="x", message="y")
    store.finish("b", "done", 5.0)  # it is closed already
    assert store.get("b").status == "failed" and store.get("b").finished_s == 4.0
    assert (store.n_open(), store.n_bytes()) == (2, 30)
    store.close()
    again = Store(tmp_path / "jobs.sqlite3")
    again.requeue_all()
    assert [job.status for job in again.newest(3)] == ["queued", "failed", "queued"]
    assert again.claim(6.0).id == "a"
    again.close()


def test_openapi_shows_every_route_by_an_example(tiny):
    paths = create_app([emogram.load(tiny)]).openapi()["paths"]
    found = {path: value for path, value in paths.items() if path.startswith("/v1/jobs")}
    assert len(found) == 9
    assert json.dumps(found).count('"example"') >= 8

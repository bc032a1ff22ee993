"""Live sound from a pipe, a file or a microphone, and the commands analyze and listen."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from emogram import cli, listening, voices
from emogram.classifier import Classifier
from emogram.errors import EmogramError, InputError, MissingExtraError
from emogram.listening import from_file, from_microphone, from_pipe, listen
from emogram.live import WindowScore
from emogram.testing import tiny_bundle
from emogram.timeline import analyze

RATE = 16000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, and a recording of two voices."""
    folder = tmp_path_factory.mktemp("listening")
    tiny_bundle(folder / "model")
    one, other = (voices.speak(label, speaker=voices.voices(2)[i], seed=i) for i, label in enumerate(("happy", "sad")))
    sound = np.concatenate([one, np.zeros(16000, np.float32), other, one])
    soundfile.write(folder / "spoken.wav", sound, RATE, subtype="PCM_16")
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return Classifier.load(folder / "model")


@pytest.fixture(scope="module")
def samples(folder):
    return soundfile.read(folder / "spoken.wav", dtype="int16")[0]


def assert_same(some, others):
    assert len(some) == len(others) > 0
    for one, other in zip(some, others, strict=True):
        assert (one.start_s, one.end_s) == pytest.approx((other.start_s, other.end_s), abs=1e-4)
        assert one.prediction.scores == pytest.approx(other.prediction.scores, abs=1e-4)


def test_a_pipe_gives_what_the_file_gives(model, folder, samples):
    events = []
    with from_pipe(io.BytesIO(samples.tobytes() + b"\0"), sample_rate=RATE) as source:  # half a sample too many
        heard = listen(source, model, events.append)
    expected = analyze(folder / "spoken.wav", model=model)
    assert_same(heard.timeline.segments, expected.segments)
    assert [event for event in events if not isinstance(event, WindowScore)] == list(heard.timeline.segments)
    assert len(heard.delays_s) == len(expected.windows.start_s)
    assert not heard.timeline.partial


def test_a_pipe_that_says_nothing_can_be_stopped(model):
    reader, writer = os.pipe()
    asked = itertools.count()
    with open(reader, "rb") as pipe, from_pipe(pipe, sample_rate=RATE) as source:  # noqa: PTH123
        begun = time.monotonic()
        heard = listen(source, model, lambda event: None, should_stop=lambda: next(asked) >= 2)
        os.close(writer)
    assert time.monotonic() - begun < 5.0
    assert heard.timeline.warnings[0] == "stopped after 0.0 s"
    assert heard.timeline.partial
    assert heard.delay_ms(50) is None


def test_a_file_is_heard_at_its_own_pace(model, folder, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(listening.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    with from_file(folder / "spoken.wav", clock=lambda: now[0]) as source:
        heard = listen(source, model, lambda event: None)
    assert now[0] - 100.0 == pytest.approx(heard.timeline.duration_s)
    assert_same(heard.timeline.segments, analyze(folder / "spoken.wav", model=model).segments)


def test_delays_are_counted_from_the_moment_a_window_was_whole(model, folder, monkeypatch):
    """On a clock that stands still but while an event is told, a delay is that telling and the wait for the chunk."""
    now = [0.0]
    monkeypatch.setattr(listening.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(listening.time, "monotonic", lambda: now[0])

    def tell(event):
        if isinstance(event, WindowScore):
            now[0] += 0.01

    with from_file(folder / "spoken.wav", clock=lambda: now[0]) as source:
        heard = listen(source, model, tell)
    assert heard.delays_s.min() >= 0.01
    assert heard.delays_s.max() < 0.01 + 2 * listening.CHUNK_S + 0.032


# ---------------------------------------------------------------- the microphone


class PortAudioError(Exception):
    pass


def fake_sounddevice(samples, *, rates=(16000,), unplugged_after=None, devices=1):
    """A microphone that gives `samples`, and is gone after so many chunks."""

    class InputStream:
        def __init__(self, *, device, samplerate, channels, dtype, blocksize, latency, callback):
            if samplerate not in rates:
                raise PortAudioError("Invalid sample rate")
            self.samplerate, self.active, self._callback, self._size = samplerate, True, callback, blocksize

        def start(self):
            threading.Thread(target=self._run, daemon=True).start()

        def _run(self):
            sound = (samples.astype(np.float32) / 32768)[:, np.newaxis]
            for number, first in enumerate(range(0, len(sound), self._size)):
                if number == unplugged_after:
                    break
                self._callback(sound[first : first + self._size], self._size, None, None)
                time.sleep(0.0005)
            self.active = False

        def close(self):
            raise PortAudioError("the device is gone")

    def query_devices(device, kind):
        if not devices:
            raise PortAudioError("Error querying device -1")
        return {"name": "Fake microphone", "default_samplerate": 48000.0}

    return SimpleNamespace(InputStream=InputStream, query_devices=query_devices, PortAudioError=PortAudioError)


def test_the_microphone_gives_what_the_file_gives_until_it_is_unplugged(model, folder, samples, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", fake_sounddevice(samples))
    with from_microphone() as source:
        heard = listen(source, model, lambda event: None)
    expected = analyze(folder / "spoken.wav", model=model)
    assert_same(heard.timeline.segments, expected.segments)
    assert heard.timeline.partial
    assert heard.timeline.warnings[0] == ("the microphone 'Fake microphone' stopped giving sound; was it unplugged?")


def test_a_device_unplugged_in_mid_stream_keeps_what_was_heard(model, samples, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", fake_sounddevice(samples, unplugged_after=200))
    with from_microphone() as source:
        heard = listen(source, model, lambda event: None)
    assert heard.timeline.duration_s == pytest.approx(4.0)
    assert heard.timeline.segments
    assert "was it unplugged?" in heard.timeline.warnings[0]


def test_a_microphone_that_knows_only_its_own_rate_is_resampled(model, samples, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", fake_sounddevice(samples, rates=(48000,)))
    with from_microphone() as source:
        assert source.sample_rate == 48000


def test_a_missing_device_library_or_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", fake_sounddevice(np.zeros(1), devices=0))
    with pytest.raises(InputError, match=r"no microphone to listen to .*--from"), from_microphone():
        pass
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[mic\]'"), from_microphone():
        pass
    monkeypatch.delitem(sys.modules, "sounddevice")

    class NoPortAudio:
        def find_spec(self, name, path=None, target=None):
            if name == "sounddevice":
                raise OSError("PortAudio library not found")

    monkeypatch.setattr(sys, "meta_path", [NoPortAudio(), *sys.meta_path])
    with (
        pytest.raises(EmogramError, match=r"needs the library PortAudio.*apt install libportaudio2"),
        from_microphone(),
    ):
        pass


# ---------------------------------------------------------------- the commands


@pytest.fixture
def run(capsys, monkeypatch, folder):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EMOGRAM_MODEL", str(folder / "model"))

    def run(*arguments):
        capsys.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return SimpleNamespace(code=code, out=captured.out, err=captured.err)

    return run


def test_analyze_prints_what_python_returns(run, model, folder):
    ran = run("analyze", "spoken.wav", "--json")
    (result,) = [json.loads(line) for line in ran.out.splitlines()]
    timeline = analyze(folder / "spoken.wav", model=model)
    assert ran.code == 0
    assert result["schema"] == "emogram.result/1"
    assert result["file"] == "spoken.wav"
    assert result["audio"] == {
        "duration_ms": round(1000 * timeline.duration_s),
        "sample_rate": 16000,
        "channels": 1,
    }
    assert result["partial"] is False
    for segment, expected in zip(result["segments"], timeline.segments, strict=True):
        assert segment["start_ms"] == round(1000 * expected.start_s)
        assert segment["label"] == expected.prediction.label
        assert {each["label"]: each["score"] for each in segment["scores"]} == pytest.approx(
            expected.prediction.scores, abs=1e-5
        )
    assert result["summary"]["shares"] == pytest.approx(timeline.summary["shares"], rel=1e-4)


def test_analyze_shows_a_table_with_what_it_comes_to(run):
    ran = run("analyze", "spoken.wav")
    assert ran.code == 0
    assert "emotion" in ran.out and "in all:" in ran.out
    assert "analysing spoken.wav" in ran.err


def test_turns_name_the_speakers_in_table_and_json(run, folder, tmp_path):
    (tmp_path / "spoken.rttm").write_text("SPEAKER spoken 1 0 2 <NA> <NA> ann\nSPEAKER spoken 1 2 9 <NA> <NA> bob\n")
    for turns in (tmp_path / "spoken.rttm", tmp_path):
        ran = run("analyze", "spoken.wav", "--turns", turns)
        assert "speaker ann:" in ran.out and "speaker bob:" in ran.out
    result = json.loads(run("analyze", "spoken.wav", "--turns", tmp_path, "--json").out)
    assert {segment["speaker"] for segment in result["segments"]} == {"ann", "bob"}
    (folder / "other.wav").write_bytes((folder / "spoken.wav").read_bytes())
    ran = run("analyze", "other.wav", "--turns", tmp_path)
    assert (ran.code, "holds neither other.rttm nor other.TextGrid" in ran.err) == (4, True)
    (folder / "other.wav").unlink()


def test_bad_recordings_are_named_and_the_others_done(run, folder):
    (folder / "bad.wav").write_bytes(b"no sound")
    ran = run("analyze", "spoken.wav", "bad.wav", "missing.wav", "--json")
    assert ran.code == 3
    assert len(ran.out.splitlines()) == 1
    assert "bad.wav: not a readable sound file" in ran.err
    assert "missing.wav: no such file" in ran.err
    assert run("analyze", "bad.wav").code == 4
    (folder / "bad.wav").unlink()


def test_usage_that_contradicts_itself_is_refused(run):
    assert run("analyze", "spoken.wav", "--channels", "left").code == 2
    assert "only - (raw samples on stdin)" in run("listen", "spoken.wav").err
    assert "give one of -, --from and --device" in run("listen", "-", "--from", "spoken.wav").err
    assert "say - as well" in run("listen", "--rate", "8000").err


def started(folder, *arguments, **options):
    environment = {**os.environ, "EMOGRAM_MODEL": str(folder / "model")}
    return subprocess.Popen(
        [sys.executable, "-m", "emogram", *map(str, arguments)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_ends_listening_with_a_summary(folder, number, code):
    process = started(folder, "listen", "--from", "spoken.wav", "--json")
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    last = json.loads(out.splitlines()[-1])
    assert process.returncode == code, err
    assert first["type"] == "window"
    assert last["type"] == "result" and last["partial"] is True
    assert last["audio"]["duration_ms"] < 8000
    assert "stopped after" in err


def test_ctrl_c_in_the_middle_of_a_recording_writes_what_was_done(folder, tmp_path):
    sound, rate = soundfile.read(folder / "spoken.wav", dtype="int16")
    with soundfile.SoundFile(tmp_path / "long.wav", "w", rate, 1) as file:
        for _ in range(400):
            file.write(sound)
    process = started(folder, "analyze", tmp_path / "long.wav", "spoken.wav", "--json")
    assert process.stderr is not None
    process.stderr.readline()  # it has begun
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    (result,) = [json.loads(line) for line in out.splitlines()]
    assert result["partial"] is True
    assert 0 < result["audio"]["duration_ms"] < 1000 * 400 * len(sound) / rate
    assert any(warning.startswith("stopped after") for warning in result["warnings"])


def test_raw_samples_on_stdin_are_heard(folder, samples, model, tmp_path):
    (tmp_path / "samples.raw").write_bytes(samples.tobytes())
    with (tmp_path / "samples.raw").open("rb") as stdin:
        out, err = started(folder, "listen", "-", stdin=stdin).communicate(timeout=100)
    segments = analyze(folder / "spoken.wav", model=model).segments
    assert out.count("–") == len(segments)
    assert "after their end (p50)" in err

"""Each example runs as its words say, and answers as the package does."""

import functools
import importlib.util
import json
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile

import emogram
from emogram import voices
from emogram.deploy import deploy
from emogram.parallel import child_environment

EXAMPLES = Path(__file__).parents[1] / "examples"
MODULES = EXAMPLES / "web" / "node_modules"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    deploy("shipped", "onnx-waveform", folder / "model.onnx")
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    soundfile.write(path, voices.speak("angry", speaker=voices.voices(1)[0], seed=3), 16000, subtype="FLOAT")
    return path


@pytest.fixture(scope="module")
def expected(clip):
    """What the package says: label -> probability."""
    return emogram.load().predict(clip).scores


def printed(*command):
    done = subprocess.run(
        [sys.executable, "-W", "error", *map(str, command)],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {label: float(score) for label, score in (line.split("\t") for line in done.stdout.splitlines())}


def test_python_without_emogram(exported, clip, expected):
    assert "import emogram" not in (EXAMPLES / "waveform.py").read_text()
    scores = printed(EXAMPLES / "waveform.py", exported / "model.onnx", clip)
    assert list(scores) == sorted(expected, key=lambda label: -expected[label])
    assert scores == pytest.approx(expected, abs=0.01)


def test_another_rate_is_refused_in_words(exported, tmp_path):
    soundfile.write(tmp_path / "clip.wav", np.zeros(8000), 8000)
    done = subprocess.run(
        [sys.executable, EXAMPLES / "waveform.py", exported / "model.onnx", tmp_path / "clip.wav"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "8000 Hz; resample it to 16000 Hz" in done.stderr


def test_litert(tiny_run, clip, tmp_path):
    if missing := [name for name in ("tensorflow", "ai_edge_litert") if importlib.util.find_spec(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)} (extra litert, in an environment of its own)")
    deploy(tiny_run.run, "litert", tmp_path / "model.tflite", clips=[clip])
    scores = printed(EXAMPLES / "litert_model.py", tmp_path / "model.tflite", clip)
    assert scores == pytest.approx(emogram.load(tiny_run.run).predict(clip).scores, abs=1e-3)


# ---------------------------------------------------------------- WebAssembly


@pytest.fixture
def web(exported, tmp_path):
    """The folder of the page with the model in it."""
    if not (MODULES / "onnxruntime-web").is_dir():
        pytest.skip("no onnxruntime-web: run `npm install` in examples/web")
    folder = tmp_path / "web"
    shutil.copytree(EXAMPLES / "web", folder, ignore=shutil.ignore_patterns("node_modules"))
    (folder / "node_modules").symlink_to(MODULES.resolve())
    for name in ("model.onnx", "model.onnx.json"):
        shutil.copy(exported / name, folder)
    return folder


def test_node(web, clip, expected):
    if shutil.which("node") is None:
        pytest.skip("no Node here")
    samples, _ = soundfile.read(clip, dtype="float32")
    samples.tofile(web / "clip.f32")
    done = subprocess.run(
        ["node", "node.mjs", "clip.f32"], cwd=web, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    scores = {row["label"]: row["score"] for row in json.loads(done.stdout)}
    assert scores == pytest.approx(expected, abs=0.01)
    assert list(scores) == sorted(expected, key=lambda label: -expected[label])


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments):
        pass


def test_a_browser(web, clip, expected):
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None or importlib.util.find_spec("playwright") is None:
        pytest.skip("no Chromium or no Playwright here: scripts/browser")
    from playwright.sync_api import sync_playwright

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=web))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page()
            asked, faults = [], []
            page.on("request", lambda request: asked.append(request.url))
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.goto(f"http://127.0.0.1:{server.server_port}/")
            page.get_by_text("Ready.").wait_for(timeout=60_000)
            page.set_input_files("input", clip)
            page.get_by_text("Heard").wait_for(timeout=60_000)
            rows = page.locator("li").all_inner_texts()
            page.set_input_files("input", web / "model.onnx.json")
            page.get_by_text("cannot be heard").wait_for(timeout=60_000)
            browser.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert not faults
    # Nothing from elsewhere; "data:" is the empty icon.
    assert all(url.startswith((f"http://127.0.0.1:{server.server_port}/", "data:")) for url in asked)
    scores = {label: float(percent) / 100 for label, percent, _ in map(str.split, rows)}
    assert scores == pytest.approx(expected, abs=0.02)

"""No part of predicting and analysing speaks to any network, starts a program or writes where nobody asked it to."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from emogram import voices
from emogram.parallel import child_environment

# An audit hook sees what Python does for all modules, those in C that go through it too, and cannot be taken off again.
WATCHED = """
import json, os, sys

done = []
def hook(event, arguments):
    programs = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")
    if event.startswith("socket.") or event in programs:
        done.append([event, repr(arguments)[:200]])
        raise PermissionError(event)
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        done.append([event, str(arguments[0])])
sys.addaudithook(hook)
from emogram.cli import run
code = run(sys.argv[1:])
print(json.dumps([code, done]), file=sys.__stderr__)
"""


def watched(*arguments: object) -> tuple[int, list[list[str]]]:
    command = [sys.executable, "-B", "-c", WATCHED, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=child_environment())
    assert done.returncode == 0, done.stderr
    code, seen = json.loads(done.stderr.splitlines()[-1])
    return code, seen


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "clip.wav"
    soundfile.write(path, voices.speak("happy", speaker=voices.voices(1)[0], seed=3), 16000)
    return path


@pytest.mark.parametrize("arguments", [("predict",), ("predict", "--json"), ("analyze", "--json")])
def test_predict_and_analyze_open_no_socket_start_nothing_and_write_nothing(clip, arguments):
    code, seen = watched(arguments[0], clip, *arguments[1:])
    assert code == 0
    assert [each for each in seen if each[1] != "/dev/null"] == []


def test_analyze_writes_what_it_is_asked_to_and_nothing_else(clip, tmp_path):
    code, seen = watched("analyze", clip, "--format", "csv", "--out", tmp_path / "out")
    assert code == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip.csv"]
    assert {each[0] for each in seen} == {"open"}
    assert {str(Path(each[1]).parent) for each in seen} == {str(tmp_path / "out")}


def test_libraries_in_c_write_nothing_either(clip, tmp_path):
    """ONNX Runtime 1.32 keeps an id and what it ran in the user's cache, and sends them, unless it is told not to."""
    surroundings = {**child_environment(), "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-B", "-m", "emogram", "predict", str(clip), "--json"]
    subprocess.run(command, env=surroundings, capture_output=True, check=True)
    assert sorted(tmp_path.rglob("*")) == []


def test_onnx_runtime_is_had_from_one_place_which_tells_it_to_be_silent():
    source = Path(voices.__file__).parent
    loading = re.compile(r"^\s*(?:import onnxruntime|from onnxruntime)", re.MULTILINE)
    found = [path.name for path in source.rglob("*.py") if loading.search(path.read_text(encoding="utf-8"))]
    assert found == ["runtime.py"]


def test_the_watch_would_see_a_socket(clip):
    code = WATCHED.replace("code = run(sys.argv[1:])", "import socket\ncode = socket.socket() and 0")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "PermissionError: socket.__new__" in done.stderr

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
from emogram.silenced import VARIABLES, silence

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


LOADED_BY = {
    "onnxruntime": {"runtime.py"},
    "ray": {"cluster.py"},
    "mlflow": {"trackers/mlflow.py"},
    "wandb": {"trackers/wandb.py"},
    "huggingface_hub": {"remote.py"},
    "datasets": {"corpora/formats/datasets.py"},
}


@pytest.mark.parametrize("library", VARIABLES)
def test_what_reports_is_loaded_in_one_place_which_silences_it_before(library):
    source = Path(voices.__file__).parent
    loading = re.compile(rf"^\s*(?:import {library}\b|from {library}\b.* import)", re.MULTILINE)
    texts = {path: path.read_text(encoding="utf-8") for path in source.rglob("*.py")}
    found = {path for path, text in texts.items() if loading.search(text)}
    assert {path.relative_to(source).as_posix() for path in found} == LOADED_BY[library]
    assert all(f'silence("{library}")' in texts[path] for path in found)


def test_what_is_set_already_stays(monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    monkeypatch.delenv("WANDB_ERROR_REPORTING", raising=False)
    silence("mlflow")
    silence("wandb")
    assert (os.environ["MLFLOW_DISABLE_TELEMETRY"], os.environ["WANDB_ERROR_REPORTING"]) == ("false", "false")


# Run as by somebody who has set nothing: what each library itself says of it, once it is loaded by us.
ASKED = {
    "ray": """
import contextlib
from emogram.cluster import connected
from emogram.errors import SettingsError
with contextlib.suppress(SettingsError), connected("127.0.0.1:1"):
    pass
from ray._common.usage.usage_lib import usage_stats_enabled
print(not usage_stats_enabled())
""",
    "huggingface_hub": """
import contextlib
from emogram.errors import ServerError
from emogram.remote import Address, download
from pathlib import Path
with contextlib.suppress(ServerError):
    download(Address.parse("nobody/nothing"), Path("nowhere"), names=(), check=print)
from huggingface_hub import constants
print(constants.HF_HUB_DISABLE_TELEMETRY)
""",
    "datasets": """
from emogram.corpora.formats import datasets
library = datasets._library("this")
from huggingface_hub import constants
print(constants.HF_HUB_DISABLE_TELEMETRY and not library.config.HF_UPDATE_DOWNLOAD_COUNTS)
""",
    "mlflow": """
from emogram.silenced import silence
silence("mlflow")
from mlflow.telemetry.utils import is_telemetry_disabled
print(is_telemetry_disabled())
""",
    "wandb": """
from emogram.silenced import silence
silence("wandb")
from wandb.env import error_reporting_enabled
print(not error_reporting_enabled())
""",
}


@pytest.mark.long
@pytest.mark.parametrize("library", ASKED)
def test_a_library_loaded_by_emogram_says_itself_that_it_reports_nothing(library, tmp_path):
    pytest.importorskip(library)
    said = {name for variables in VARIABLES.values() for name in variables}
    surroundings = {name: value for name, value in child_environment().items() if name not in said}
    surroundings |= {"HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:1"}
    command = [sys.executable, "-c", ASKED[library]]
    done = subprocess.run(command, env=surroundings, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["True"], done.stderr


def test_the_watch_would_see_a_socket(clip):
    code = WATCHED.replace("code = run(sys.argv[1:])", "import socket\ncode = socket.socket() and 0")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "PermissionError: socket.__new__" in done.stderr

"""What the doctor finds, and the versions that a bug report needs."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import emogram
from emogram import doctor, installing, versions
from emogram.classifier import Classifier
from emogram.errors import MissingExtraError
from emogram.extras import EXTRAS, Extra

ROOT = Path(__file__).parents[1]


def test_the_shipped_model_answers_what_the_doctor_expects():
    shipped = Classifier.load()
    said = shipped.predict(doctor.known_voice(), sample_rate=16000)
    here = {shipped.sha256[:12]: (said.label, round(said.confidence, 3))}
    assert here == doctor.KNOWN_ANSWERS, f"another model ships: write KNOWN_ANSWERS = {here} in doctor.py"


def test_another_answer_of_the_shipped_model_is_noticed(monkeypatch):
    ((sha, (label, confidence)),) = doctor.KNOWN_ANSWERS.items()
    monkeypatch.setitem(doctor.KNOWN_ANSWERS, sha, ("calm", 0.5))
    check = doctor._attempt("shipped model", doctor._shipped, "do this")
    assert not check.ok
    assert f"says {label} {100 * confidence:.1f} % of a voice that is calm 50.0 %" in check.found


def test_extras_are_those_of_the_package_and_their_modules_those_it_asks_for():
    offered = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert [extra.name for extra in EXTRAS] == [name for name in offered if name != "all"]
    assert all(extra.gives and extra.modules for extra in EXTRAS)


def test_an_extra_that_is_not_there_is_told_with_its_exact_line(monkeypatch):
    absent = Extra("telepathy", "hearing what was not said", ("json", "no_such_module"))
    monkeypatch.setattr(doctor, "EXTRAS", (absent,))
    (check,) = doctor._extras()
    assert check.ok, "nobody must have it"
    assert check.found == "not installed; gives hearing what was not said"
    assert check.advice == f"pip install -e '{ROOT}[telepathy]'"
    assert str(MissingExtraError("it", "mic")).endswith(f"not installed: pip install -e '{ROOT}[mic]'")
    monkeypatch.setattr(installing, "checkout", lambda: None)
    assert installing.install_line("mic") == "pip install 'emogram[mic]'"
    assert str(MissingExtraError("it", "mic")).endswith("not installed: pip install 'emogram[mic]'")


def test_sound_of_telephones_is_written_and_read_where_pyav_is(monkeypatch):
    if importlib.util.find_spec("av") is not None:
        check = doctor._media()
        assert check.ok, check.found
        assert check.found.startswith("written, read")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check = doctor._media()
    assert check.ok
    assert check.advice.endswith("[media]'")


def test_a_codec_that_is_missing_is_no_reason_to_stop(monkeypatch):
    def cannot(*_: object, **__: object) -> None:
        raise RuntimeError("no encoder")

    monkeypatch.setattr("soundfile.write", cannot)
    checks = list(doctor._sound())
    assert [check.name for check in checks][:2] == ["sound .wav", "sound .flac"]
    assert not any(check.ok for check in checks)
    assert all("RuntimeError: no encoder" in check.found for check in checks)


def test_variables_of_the_service_are_known_and_the_token_is_not_shown(monkeypatch):
    for name in [name for name in os.environ if name.startswith("EMOGRAM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EMOGRAM_PORT", "8001")
    monkeypatch.setenv("EMOGRAM_PROT", "8001")
    monkeypatch.setenv("EMOGRAM_TOKEN", "a secret")
    port, misspelt, token = doctor._variables()
    assert (port.ok, port.found) == (True, "8001")
    assert (misspelt.ok, misspelt.advice) == (False, "unset it; did you mean EMOGRAM_PORT?")
    assert (token.ok, token.found) == (True, "set")


# ---------------------------------------------------------------- versions


def test_the_version_tells_what_a_bug_report_needs(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    lines = versions.version_lines()
    assert lines[0].startswith(f"emogram {emogram.__version__}")
    assert lines[1].startswith(f"Python {sys.version.split()[0]} ")
    assert lines[2].startswith("keras ")
    assert " on jax " in lines[2]
    assert lines[3].startswith("onnxruntime ")
    assert "libsndfile " in lines[4]
    assert "libsoxr " in lines[4]


def test_a_sound_library_that_does_not_load_is_told_and_no_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    assert "soundfile " in versions._sound_versions()
    assert "(import of soundfile halted" in versions._sound_versions()


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_of_a_checkout_is_told_with_a_mark_where_it_was_changed(monkeypatch, tmp_path):
    package = tmp_path / "src" / "emogram"
    package.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("first")
    monkeypatch.setattr(installing, "_HERE", package)
    assert installing.checkout() == tmp_path
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert versions.commit() is None, "no repository, as in an unpacked sdist"
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    head = git(tmp_path, "rev-parse", "--short=12", "HEAD")
    assert versions.commit() == head
    (tmp_path / "pyproject.toml").write_text("second")
    assert versions.commit() == f"{head}+"


def test_the_commit_of_a_package_installed_from_a_repository_is_told(monkeypatch, tmp_path):
    class Installed:
        def read_text(self, name: str) -> str:
            return json.dumps({"url": "https://example.org/emogram", "vcs_info": {"commit_id": "0123456789abcdef"}})

    monkeypatch.setattr(installing, "_HERE", tmp_path)
    monkeypatch.setattr(versions.importlib.metadata, "distribution", lambda name: Installed())
    assert versions.commit() == "0123456789ab"

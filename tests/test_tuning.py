"""The whole search on a tiny corpus: who judges, what is refused, and that it goes on."""

from __future__ import annotations

import json

import pytest
import soundfile

from emogram import cli, voices
from emogram.config import read_toml

pytest.importorskip("optuna")

SPACE = "[train]\nlearning_rate = [1e-9, 1e-2]\n"
FLAGS = (
    "--epochs",
    "4",
    "--width",
    "0.25",
    "--batch-size",
    "8",
    "--jobs",
    "1",
    "--objective",
    "loss",
    "--seed",
    "1",
    "--no-cache",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("tuning")
    rows = ["path,label,speaker"]
    for voice in voices.voices(5, seed=3):
        for label in ("angry", "sad"):
            for take in range(2):
                name = f"{voice.name}-{label}-{take}.wav"
                soundfile.write(root / name, voices.speak(label, speaker=voice, seed=take), 16000)
                rows.append(f"{name},{label},{voice.name}")
    (root / "manifest.csv").write_text("\n".join(rows))
    (root / "space.toml").write_text(SPACE)
    return root


def tune(folder, out, *more):
    corpus, space = str(folder / "manifest.csv"), str(folder / "space.toml")
    return cli.run(["tune", corpus, "--space", space, "--out", str(out), *FLAGS, *more, "--json"])


@pytest.fixture(scope="module")
def searched(folder):
    out = folder / "study"
    assert tune(folder, out, "--trials", "3") == 0
    return out


def test_the_setting_that_learns_beats_the_one_that_cannot(searched):
    best = read_toml(searched / "best.toml")
    assert best["train"]["learning_rate"] == 1e-2
    assert {path.name for path in (searched / "plots").iterdir()} >= {"history.png", "slices.png", "parallel.png"}
    assert "test speakers" in (searched / "report.md").read_text()


def test_the_same_command_goes_on_and_does_nothing_twice(folder, searched, capsys):
    rows = (searched / "trials.csv").read_text().splitlines()
    assert tune(folder, searched, "--trials", "4") == 0
    assert json.loads(capsys.readouterr().out)["trials"]
    again = (searched / "trials.csv").read_text().splitlines()
    assert len(again) == len(rows) + 1


def test_another_study_in_the_folder_is_refused_by_what_differs(folder, searched, capsys):
    assert tune(folder, searched, "--trials", "4", "--dropout", "0.11") != 0
    assert "network.dropout" in capsys.readouterr().err.replace("\n", " ")


def test_numbers_are_not_searched_for(folder, tmp_path, capsys):
    assert tune(folder, tmp_path / "study", "--targets", "dimensions") == 2
    assert "classes only" in " ".join(capsys.readouterr().err.split())

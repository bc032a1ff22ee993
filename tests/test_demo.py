"""The whole road on synthetic voices, made short."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import emogram
from emogram import cli
from emogram.corpora import find_corpus
from emogram.demo import CAVEAT, DemoResult, demo_settings, run_demo
from emogram.errors import SettingsError
from emogram.progress import Progress, Task
from emogram.voices import PROFILES

N_SPEAKERS, N_UTTERANCES = 3, 2


class Heard(Progress):
    """Keeps the names of the tasks it was told of."""

    def __init__(self) -> None:
        self.tasks: list[str] = []

    @contextmanager
    def task(self, what: str, total: int, *, unit: str = "clips") -> Iterator[Task]:
        self.tasks.append(what)
        yield Task()


@pytest.fixture(scope="module")
def heard() -> Heard:
    return Heard()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, heard: Heard) -> DemoResult:
    out = tmp_path_factory.mktemp("demo") / "out"
    return run_demo(out, n_speakers=N_SPEAKERS, n_utterances=N_UTTERANCES, epochs=1, workers=1, progress=heard)


@pytest.mark.slow
def test_the_whole_road_is_gone_in_order(demo: DemoResult, heard: Heard) -> None:
    assert heard.tasks[:4] == ["Synthesising voices", "spectrograms", "reading", "training"]
    assert demo.n_clips == N_SPEAKERS * N_UTTERANCES * len(PROFILES)
    assert len(list(demo.voices.glob("*/*.wav"))) == demo.n_clips
    assert len(list(demo.pictures.glob("*/*.png"))) == demo.n_clips
    assert {path.name for path in demo.plots} >= {"confusion_matrix.png", "loss.png"}
    assert all(path.is_file() for path in demo.plots)
    assert (demo.failed, demo.interrupted) == ((), False)
    assert CAVEAT in demo.warnings


@pytest.mark.slow
def test_unseen_voices_judge(demo: DemoResult) -> None:
    split = json.loads((demo.run / "model" / "model.json").read_text(encoding="utf-8"))["split"]
    parts = [set(split[f"{part}_speakers"]) for part in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [1, 1, 1]
    assert len(set.union(*parts)) == N_SPEAKERS
    assert demo.report.metrics["n_clips"] == N_UTTERANCES * len(PROFILES)
    assert set(demo.report.per_group["speaker"]) == parts[2]
    assert demo.clip.speaker in parts[2]


@pytest.mark.slow
def test_the_prediction_is_that_of_the_saved_model(demo: DemoResult) -> None:
    again = emogram.load(demo.run).predict(demo.clip.path)
    assert again.scores == demo.prediction.scores
    with (demo.run / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = {Path(row["file"]): row for row in csv.DictReader(file)}
    row = rows[demo.clip.path]
    assert row["predicted"] == demo.prediction.label
    assert float(row["confidence"]) == pytest.approx(demo.prediction.confidence, abs=1e-3)


@pytest.mark.slow
def test_the_pictures_are_a_corpus_of_their_own(demo: DemoResult) -> None:
    corpus = find_corpus(demo.pictures)
    assert (corpus.kind, len(corpus.clips)) == ("picture", demo.n_clips)
    assert set(corpus.labels) == set(PROFILES)


@pytest.mark.slow
def test_the_command_says_where_everything_lies_and_what_it_proves(
    demo: DemoResult, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("emogram.demo.run_demo", lambda out, **_: demo)
    assert cli.run(["demo", "--out", str(demo.out)]) == 0
    words = capsys.readouterr()
    assert f"note: {CAVEAT}\n" in words.err
    for folder in (demo.voices, demo.pictures, demo.run / "plots", demo.run / "model"):
        assert f"{folder}\n" in words.err
    assert "emogram crossval RAVDESS --protocol ravdess-si5\n" in words.err
    assert f"{demo.clip.path} (meant to be {demo.clip.label}): {demo.prediction.label} " in words.out
    assert cli.run(["demo", "--out", str(demo.out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["report"] == demo.report.to_dict()
    assert result["prediction"]["label"] == demo.prediction.label


def test_a_third_of_the_voices_judges_and_a_sixth_chooses() -> None:
    split = demo_settings(n_speakers=12, epochs=1, seed=0).split
    assert split.test_speakers == ("synthetic09", "synthetic10", "synthetic11", "synthetic12")
    assert split.validation_speakers == ("synthetic07", "synthetic08")


def test_two_voices_are_too_few(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="2 voices; at least 3 are needed"):
        run_demo(tmp_path, n_speakers=2)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(SettingsError, match="holds something else than an earlier demo; name a new folder"):
        run_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

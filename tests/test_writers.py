from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

from emogram.bundle import ModelInfo
from emogram.config import SpectrogramConfig
from emogram.errors import InputError, OutputError, SettingsError
from emogram.records import Clip, CorpusPair, Prediction, Report
from emogram.writers import (
    read_history,
    result_dict,
    write_corpus_pairs,
    write_history,
    write_metrics,
    write_predictions_csv,
)

INFO = ModelInfo(
    labels=("happy", "sad"),
    spectrogram=SpectrogramConfig(),
    network={"name": "compact"},
    input_shape=(None, 64, 1),
    temperature=1.5,
)
SURE = Prediction("sad", {"happy": 0.1 + 0.2, "sad": 0.7}, 0.7)
UNSURE = Prediction("happy", {"happy": 2 / 3, "sad": 1 / 3}, 2 / 3, abstained=True)


def test_result_of_a_sound_is_the_published_schema():
    result = result_dict(
        SURE, path=Path("a/b.wav"), info=INFO, sha256="f" * 64, duration_ms=1500, sample_rate=44100, channels=2,
        warnings=["clipped"],
    )  # fmt: skip
    assert result == {
        "schema": "emogram.result/1",
        "file": str(Path("a/b.wav")),
        "model": {"id": "emogram-compact", "sha256": "f" * 64, "labels": ["happy", "sad"], "calibrated": True},
        "audio": {"duration_ms": 1500, "sample_rate": 44100, "channels": 2},
        "segments": [
            {
                "start_ms": 0,
                "end_ms": 1500,
                "channel": None,
                "label": "sad",
                "confidence": 0.7,
                "scores": [{"label": "happy", "score": 0.3}, {"label": "sad", "score": 0.7}],
                "speech_ratio": None,
                "abstained": False,
            }
        ],
        "summary": {"label": "sad", "confidence": 0.7},
        "warnings": ["clipped"],
    }
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_result_of_a_picture_has_no_sound_and_no_times():
    result = result_dict(UNSURE, path="x.png", info=INFO, sha256="0")
    assert result["audio"] is None
    assert (result["segments"][0]["start_ms"], result["segments"][0]["end_ms"]) == (None, None)
    assert result["segments"][0]["abstained"] is True
    assert result["summary"] == {"label": "happy", "confidence": 0.666667}


def test_predictions_csv_to_the_letter(tmp_path):
    path = tmp_path / "predictions.csv"
    rows = [
        (Clip(Path("a, b.wav"), label="sad", speaker="07", corpus="ravdess"), SURE),
        (Clip(Path("ü.wav")), UNSURE),
    ]
    write_predictions_csv(path, iter(rows), labels=INFO.labels)
    assert path.read_text(encoding="utf-8") == (
        "file,label,speaker,corpus,predicted,confidence,abstained,happy,sad\n"
        '"a, b.wav",sad,07,ravdess,sad,0.7,false,0.3,0.7\n'
        "ü.wav,,,,happy,0.666667,true,0.666667,0.333333\n"
    )


def test_score_columns_follow_the_labels_not_the_prediction(tmp_path):
    path = tmp_path / "predictions.csv"
    write_predictions_csv(path, [(Clip(Path("a.wav")), SURE)], labels=("sad", "happy"))
    with path.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["sad"], row["happy"]) == ("0.7", "0.3")


def test_failed_row_leaves_the_old_file(tmp_path):
    path = tmp_path / "predictions.csv"
    write_predictions_csv(path, [], labels=("sad",))
    before = path.read_text()

    def rows():
        yield Clip(Path("a.wav")), SURE
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_predictions_csv(path, rows(), labels=INFO.labels)
    assert path.read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["predictions.csv"]


def test_metrics_are_strict_json_even_where_a_metric_is_undefined(tmp_path):
    report = Report(("a", "b"), {"uar": math.nan, "n_clips": 2}, {}, {}, ((1, 0), (0, 1)), {"uar": (0.1, 0.9)}, "P2")
    write_metrics(tmp_path / "metrics.json", report)

    def refuse(constant: str) -> float:
        raise AssertionError(constant)

    read = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=refuse)
    assert read["metrics"] == {"uar": None, "n_clips": 2}
    assert read["intervals"] == {"uar": [0.1, 0.9]}
    assert read["confusion"] == [[1, 0], [0, 1]]


def test_history_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "history.csv"
    write_history(path, {"epoch": [1, 2], "loss": [2.0794415, 0.1], "learning_rate": [1e-3, 3.3333333e-9]})
    assert path.read_text() == "epoch,loss,learning_rate\n1,2.07944,0.001\n2,0.1,3.33333e-09\n"
    assert read_history(path) == {"epoch": [1, 2], "loss": [2.07944, 0.1], "learning_rate": [0.001, 3.33333e-9]}


def test_history_keeps_what_is_not_a_number(tmp_path):
    path = tmp_path / "history.csv"
    write_history(path, {"loss": [math.nan, math.inf]})
    (nan, infinity) = read_history(path)["loss"]
    assert math.isnan(nan)
    assert infinity == math.inf


def test_history_of_no_epochs_keeps_its_columns(tmp_path):
    write_history(tmp_path / "history.csv", {"epoch": [], "loss": []})
    assert read_history(tmp_path / "history.csv") == {"epoch": [], "loss": []}


def test_history_of_uneven_columns_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"equally long; found {'epoch': 2, 'loss': 1}"):
        write_history(tmp_path / "history.csv", {"epoch": [1, 2], "loss": [0.5]})


@pytest.mark.parametrize("text", ["epoch,loss\n1,low\n", "epoch,loss\n1\n"])
def test_file_that_is_no_history_is_refused(tmp_path, text):
    (tmp_path / "history.csv").write_text(text)
    with pytest.raises(InputError, match="not a history of a training"):
        read_history(tmp_path / "history.csv")


def test_missing_history_is_named(tmp_path):
    with pytest.raises(InputError, match=r"history\.csv: cannot be read \(No such file"):
        read_history(tmp_path / "history.csv")


def test_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="a file stands where a folder should be"):
        write_predictions_csv(tmp_path / "taken" / "predictions.csv", [], labels=("sad",))


def test_pairs_of_corpora_are_a_row_each(tmp_path):
    pairs = [
        CorpusPair("nemo", "tess", ("angry", "sad"), 2 / 3, (0.5, 0.75), (0.6, 0.8), 1400, 2),
        CorpusPair("tess", "tess", ("angry", "sad"), 1.0, (1.0, 1.0), (1.0,), 350, 1, "chosen, too"),
    ]
    write_corpus_pairs(tmp_path / "pairs.csv", pairs)
    assert (tmp_path / "pairs.csv").read_text().splitlines() == [
        "trained,tested,uar,low,high,chance,n_clips,n_speakers,labels,caveat",
        "nemo,tess,0.666667,0.5,0.75,0.5,1400,2,angry sad,",
        'tess,tess,1,1,1,0.5,350,1,angry sad,"chosen, too"',
    ]


def test_what_only_some_clips_have_gets_columns_where_any_has_it(tmp_path):
    path = tmp_path / "predictions.csv"
    rows = [
        (Clip(Path("a.wav"), label="sad", extra={"gender": "female", "seed": "1", "take": "2"}), SURE),
        (Clip(Path("b.wav"), start_s=1.5, end_s=2.0), UNSURE),
    ]
    write_predictions_csv(path, rows, labels=INFO.labels)
    assert path.read_text(encoding="utf-8") == (
        "file,label,speaker,corpus,predicted,confidence,abstained,start_s,end_s,gender,seed,happy,sad\n"
        "a.wav,sad,,,sad,0.7,false,,,female,1,0.3,0.7\n"
        "b.wav,,,,happy,0.666667,true,1.5,2.0,,,0.666667,0.333333\n"
    )

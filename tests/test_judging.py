"""Probabilities -> tables and plots, and back."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from emogram import metrics
from emogram.calibration import soften
from emogram.classifier import Classifier
from emogram.errors import InputError
from emogram.judging import as_prediction, clip_probabilities, judge_clips, judge_seeds, read_run
from emogram.predictions import Predictions
from emogram.progress import Progress, Task
from emogram.testing import tiny_bundle

LABELS = ("angry", "calm", "happy", "sad")


@pytest.fixture(scope="module")
def judged(make_dataset, tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("judged")
    dataset = make_dataset([i % 4 for i in range(20)])
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), 20)
    return dataset, probabilities, judge_clips(
        dataset.clips, probabilities, LABELS, tmp_path, protocol="own protocol", temperature=2.0, threshold=0.5
    ), tmp_path  # fmt: skip


def test_the_report_is_what_the_metrics_say_and_what_is_written(judged):
    dataset, probabilities, judgement, out = judged
    unsure = probabilities.max(axis=1) < 0.5
    expected = metrics.judge(
        dataset.targets, probabilities, LABELS, dataset.clips, protocol="own protocol", abstained=unsure
    )
    assert judgement.report == expected
    assert judgement.report.metrics["unsure_share"] == unsure.mean()
    assert json.loads((out / "metrics.json").read_text()) == json.loads(json.dumps(expected.to_dict()))
    assert judgement.clips == dataset.clips


def test_predictions_name_each_clip_with_its_truth_and_answer(judged):
    dataset, probabilities, _, out = judged
    with (out / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    for row, clip, scores in zip(rows, dataset.clips, probabilities, strict=True):
        assert (row["file"], row["label"], row["speaker"]) == (str(clip.path), clip.label, clip.speaker)
        assert row["predicted"] == LABELS[scores.argmax()]
        assert row["abstained"] == ("true" if scores.max() < 0.5 else "false")
        np.testing.assert_allclose([float(row[label]) for label in LABELS], scores, rtol=1e-5)
    assert len({row["abstained"] for row in rows}) == 2


def test_predictions_read_back_are_those_written(judged):
    dataset, probabilities, _, out = judged
    again = read_run(out, dataset.clips, LABELS)
    np.testing.assert_allclose(again.probabilities, probabilities, rtol=1e-5)
    np.testing.assert_allclose(again.probabilities.sum(axis=1), 1, atol=1e-12)
    assert again.abstained.tolist() == (probabilities.max(axis=1) < 0.5).tolist()
    assert again.protocol == "own protocol"


def test_predictions_of_other_clips_or_labels_are_refused(judged, tmp_path):
    dataset, _, _, out = judged
    for clips in (dataset.clips[1:], dataset.clips[::-1], ()):
        with pytest.raises(InputError, match="holds other clips than those asked for; judge them again"):
            read_run(out, clips, LABELS)
    with pytest.raises(InputError, match=r"not the predictions of a run with the labels .*proud but angry"):
        read_run(out, dataset.clips, (*LABELS, "proud"))
    with pytest.raises(InputError, match=r"not the predictions of a run .No such file"):
        read_run(tmp_path, dataset.clips, LABELS)


@pytest.mark.parametrize("damage", ["", "file,angry\n", "\x00", "cut", "cut within the last line"])
def test_damaged_predictions_are_refused(judged, tmp_path, damage):
    dataset, _, _, out = judged
    text = (out / "predictions.csv").read_text()
    if damage == "cut":
        damage = text[: len(text) * 2 // 3]
    elif damage.startswith("cut"):
        damage = text.rstrip().rsplit(",", 1)[0]
    (tmp_path / "predictions.csv").write_text(damage)
    with pytest.raises(InputError, match=r"predictions\.csv: (holds other clips|not the predictions)"):
        read_run(tmp_path, dataset.clips, LABELS)


def test_the_plots_are_those_that_apply(judged):
    _, _, judgement, out = judged
    names = {path.name for path in judgement.plots}
    assert names == {
        "confusion_matrix.png", "per_class_accuracy.png", "reliability.png", "risk_coverage.png", "per_speaker.png",
    }  # fmt: skip
    for path in judgement.plots:
        assert path.parent == out / "plots" and path.read_bytes().startswith(b"\x89PNG")


def test_a_history_adds_its_curves(make_dataset, tmp_path):
    dataset = make_dataset([0, 1, 2, 3])
    history = {"epoch": [1, 2], "loss": [2.0, 1.0], "val_loss": [2.0, np.inf], "accuracy": [0.2, 0.4],
               "val_accuracy": [0.1, np.nan], "val_uar": [0.1, np.nan]}  # fmt: skip
    judgement = judge_clips(dataset.clips, np.full((4, 4), 0.25), LABELS, tmp_path, protocol="", history=history)
    assert {"train_val_accuracy.png", "loss.png"} <= {path.name for path in judgement.plots}


def test_the_table_of_groups_is_that_of_the_report(judged):
    _, _, judgement, out = judged
    with (out / "groups.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["group"] for row in rows] == list(judgement.report.per_group["speaker"])
    for row in rows:
        values = judgement.report.per_group[row["kind"]][row["group"]]
        assert (float(row["uar"]), float(row["accuracy"]), int(row["n_clips"])) == pytest.approx(tuple(values.values()))


@pytest.mark.usefixtures("without_plots")
def test_seeds_are_judged_one_by_one_and_summed_up(make_dataset, tmp_path):
    dataset = make_dataset([i % 4 for i in range(20)])
    rows = [np.random.default_rng(seed).dirichlet(np.ones(4), 20) for seed in (0, 1, 2)]
    said = [
        Predictions(
            name=f"seed {seed}",
            clips=tuple(dataclasses.replace(clip, extra={"seed": str(seed)}) for clip in dataset.clips),
            labels=LABELS,
            probabilities=probabilities,
            abstained=np.zeros(20, dtype=bool),
            protocol="own protocol",
        )
        for seed, probabilities in enumerate(rows)
    ]
    judgement = judge_seeds(said, tmp_path, also={"more": 1})
    scores = [metrics.uar(dataset.targets, probabilities) for probabilities in rows]
    assert [report.metrics["uar"] for report in judgement.per_seed.values()] == scores
    assert judgement.over_seeds.mean["uar"] == pytest.approx(np.mean(scores))
    assert judgement.over_seeds.std["uar"] == pytest.approx(np.std(scores, ddof=1))
    assert judgement.report.protocol.startswith("own protocol; seed 0; 95 %")
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["metrics"] == dict(judgement.report.metrics) and written["more"] == 1
    assert written["over_seeds"]["n_seeds"] == 3
    assert set(written["per_seed"]) == {"seed 0", "seed 1", "seed 2"}
    assert (tmp_path / "predictions.csv").read_text().count("\n") == 61


def test_a_prediction_below_the_threshold_is_unsure():
    sure, unsure = (as_prediction(np.asarray([0.1, 0.6, 0.3]), ("a", "b", "c"), threshold) for threshold in (0.6, 0.61))
    assert (sure.label, sure.confidence, sure.abstained) == ("b", 0.6, False)
    assert unsure.abstained
    assert sure.scores == {"a": 0.1, "b": 0.6, "c": 0.3}


def test_clips_keep_their_answers_through_groups_and_progress_counts_them(make_dataset, tmp_path):
    dataset = make_dataset([i % 4 for i in range(40)], n_frames=[32, 48, 64, 80] * 10)
    classifier = Classifier.load(tiny_bundle(tmp_path, labels=LABELS, temperature=1.7))
    counted = []

    class Count(Progress, Task):
        def advance(self, steps=1, *, note=""):
            counted.append(steps)

        def task(self, what, total, *, unit="clips"):
            assert total == 30
            return super().task(what, total, unit=unit)

    indices = np.random.default_rng(0).permutation(40)[:30]
    probabilities = clip_probabilities(classifier, dataset, indices, progress=Count())
    for row, index in zip(probabilities, indices, strict=True):
        inputs = {"spectrogram": dataset.samples[index].spectrogram[np.newaxis].astype(np.float32)}
        np.testing.assert_allclose(row, classifier.probabilities(inputs)[0], atol=1e-6)


def test_temperature_only_changes_the_reliability_diagram(make_dataset, tmp_path):
    """The probabilities given are calibrated already; the report must not soften them once more."""
    dataset = make_dataset([i % 4 for i in range(20)])
    raw = np.random.default_rng(0).dirichlet(np.ones(4), 20)
    calibrated = soften(raw, 3.0)
    one = judge_clips(dataset.clips, calibrated, LABELS, tmp_path / "one", protocol="", temperature=3.0)
    other = judge_clips(dataset.clips, calibrated, LABELS, tmp_path / "other", protocol="", temperature=1.0)
    assert one.report == other.report
    reliability = [(tmp_path / name / "plots" / "reliability.png").read_bytes() for name in ("one", "other")]
    assert reliability[0] != reliability[1]

"""Each model is judged on voices it never heard, degraded; and what a condition costs is what it says."""

from __future__ import annotations

import csv
import hashlib
import json

import numpy as np
import pytest

from emogram import audio, cli, metrics, plots
from emogram.bundle import TrainingCorpus, open_bundle, seal
from emogram.classifier import Classifier
from emogram.degrade import CONDITIONS, degrade, rng_of
from emogram.errors import SettingsError
from emogram.records import ConditionScore
from emogram.robustness import find_models, robustness, score_conditions
from emogram.testing import tiny_bundle

LABELS = ("angry", "calm", "happy", "sad")
FOLDS = (("synthetic01", "synthetic02"), ("synthetic03", "synthetic04"))


def model(folder, *, test_speakers=(), seed=0, trained_on="synthetic-voices", **options):
    """A tiny model that says it set some speakers aside."""
    tiny_bundle(folder / "model", labels=LABELS, seed=seed, **options)
    info = open_bundle(folder).info.model_copy(
        update={
            "trained_on": (TrainingCorpus(corpus=trained_on, n_clips=1, content_hash=""),),
            "split": {"test_speakers": list(test_speakers), "train_speakers": ["nobody"]} if test_speakers else {},
            "protocol": "two folds",
        }
    )
    seal(folder / "model", info, "")
    return folder


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """Two seeds of two folds."""
    root = tmp_path_factory.mktemp("crossval")
    for seed in (0, 3):
        for fold, speakers in enumerate(FOLDS):
            model(root / f"seed-{seed}" / f"fold-{fold}", test_speakers=speakers, seed=10 * seed + fold)
    return root


def judged(models, corpus, out, **options):
    return robustness(models, corpus, out, workers=1, **options)


def test_a_path_stands_for_itself_or_for_the_models_of_a_cross_validation(folds, tmp_path):
    assert find_models(tmp_path) == {str(tmp_path): (0, tmp_path)}
    found = find_models(folds)
    assert list(found) == ["seed-0/fold-0", "seed-0/fold-1", "seed-3/fold-0", "seed-3/fold-1"]
    assert [seed for seed, _ in found.values()] == [0, 0, 3, 3]


def test_each_fold_is_judged_on_its_own_speakers_as_prediction_would(folds, voices_corpus, tmp_path):
    names = ("telephone", "white-5")
    result = judged(folds, voices_corpus, tmp_path, conditions=names)
    assert (result.n_models, result.n_clips, result.warnings) == (4, 32, ())
    truth = [LABELS.index(clip.label) for clip in voices_corpus.clips]
    waveforms = [audio.load_clip(clip, sample_rate=16000) for clip in voices_corpus.clips]
    contents = [hashlib.sha256(waveform.tobytes()).hexdigest()[:32] for waveform in waveforms]
    models = {path: Classifier.load(path) for _, path in find_models(folds).values()}
    for score in result.scores:
        change = CONDITIONS.get(score.condition)
        expected = []
        for seed in (0, 3):
            said = []
            for clip, waveform, content in zip(voices_corpus.clips, waveforms, contents, strict=True):
                fold = [clip.speaker in speakers for speakers in FOLDS].index(True)
                heard = waveform if change is None else degrade(waveform, 16000, change, rng_of(content, change.kind))
                answer = models[folds / f"seed-{seed}" / f"fold-{fold}"].predict(heard, sample_rate=16000)
                said.append(LABELS.index(answer.label))
            expected.append(metrics.uar(truth, said))
        assert score.per_seed == pytest.approx(expected)
        assert score.uar == pytest.approx(np.mean(expected))
        assert score.loss == pytest.approx(result.scores[0].uar - score.uar)
    assert [score.condition for score in result.scores] == ["clean", *names]


def test_results_are_written_and_the_cache_changes_nothing(folds, voices_corpus, tmp_path):
    names = ("babble-0", "gain+6", "cut-end")
    first, again = (
        judged(folds, voices_corpus, tmp_path / out, conditions=names, cache=tmp_path / "cache") for out in ("a", "b")
    )
    assert first.scores == again.scores
    with (tmp_path / "a" / "robustness.csv").open(encoding="utf-8") as file:
        rows = {row["condition"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["clean", *names]
    for score in first.scores:
        assert float(rows[score.condition]["uar"]) == pytest.approx(score.uar, abs=1e-5)
        assert float(rows[score.condition]["loss_high"]) == pytest.approx(score.loss_interval[1], abs=1e-5)
    written = json.loads((tmp_path / "a" / "robustness.json").read_text())
    assert [one["condition"] for one in written["conditions"]] == ["clean", *names]
    assert "2 folds pooled; mean of 2 seeds" in written["protocol"]
    assert (tmp_path / "a" / "robustness.png").stat().st_size > 10_000
    # The front end measures loudness against the clip's own peak.
    assert first.scores[2].loss == 0


def test_one_speaker_makes_no_babble_and_that_is_said(voices_corpus, tmp_path):
    one = model(tmp_path / "run", test_speakers=["synthetic02"])
    result = judged(one, voices_corpus, tmp_path / "out", conditions=("babble-10", "gain-6"))
    assert [score.condition for score in result.scores] == ["clean", "gain-6"]
    assert result.n_clips == 8
    assert any("no babble" in warning for warning in result.warnings)


def test_a_corpus_never_seen_is_judged_whole_and_one_that_trained_is_warned_of(voices_corpus, tmp_path):
    stranger = model(tmp_path / "stranger", trained_on="elsewhere", test_speakers=["synthetic02"])
    result = judged(stranger, voices_corpus, tmp_path / "a", conditions=("gain-6",))
    assert (result.n_clips, result.warnings) == (32, ())
    own = model(tmp_path / "own")
    result = judged(own, voices_corpus, tmp_path / "b", conditions=("gain-6",))
    assert result.n_clips == 32
    assert any("some of which it was trained on; the figures are inflated" in w for w in result.warnings)
    assert "some of which it was trained on" in result.protocol


def test_models_that_do_not_go_together_are_refused(voices_corpus, tmp_path):
    root = tmp_path / "folds"
    model(root / "seed-0" / "fold-0", test_speakers=FOLDS[0])
    model(root / "seed-0" / "fold-1", test_speakers=("synthetic02", "synthetic03"))
    with pytest.raises(SettingsError, match="judged by models of two folds"):
        judged(root, voices_corpus, tmp_path / "out")
    model(root / "seed-1" / "fold-0", test_speakers=FOLDS[0])
    with pytest.raises(SettingsError, match="not every seed has a model of every fold"):
        judged(root, voices_corpus, tmp_path / "out")


def test_unknown_conditions_are_refused(folds, voices_corpus, tmp_path):
    with pytest.raises(SettingsError, match=r"unknown condition 'rain' .*; expected one of babble-20"):
        judged(folds, voices_corpus, tmp_path, conditions=("rain",))


# ---------------------------------------------------------------- scores


def certain(answers, n_labels=4):
    return np.eye(n_labels)[answers]


def test_scores_compare_the_same_speakers_drawn():
    truth = np.tile(np.arange(4), 6)
    speakers = [f"speaker {index // 4}" for index in range(24)]
    worse = truth.copy()
    worse[:12:4] = 3  # half of the speakers lose their first clip
    clean, degraded = score_conditions(truth, [{"clean": certain(truth), "noise": certain(worse)}], speakers)
    assert (clean.uar, clean.loss, clean.interval, clean.loss_interval) == (1.0, 0.0, (1.0, 1.0), (0.0, 0.0))
    assert degraded.uar == pytest.approx(1 - 3 / 24)
    assert degraded.loss == pytest.approx(3 / 24)
    assert degraded.interval == pytest.approx(metrics.speaker_bootstrap(truth, worse, speakers)["uar"])
    assert degraded.loss_interval == pytest.approx(tuple(1 - bound for bound in degraded.interval[::-1]))


def test_a_loss_that_all_speakers_share_is_certain():
    truth = np.tile(np.arange(4), 5)
    speakers = [str(index // 4) for index in range(20)]
    clean_answers, worse = truth.copy(), truth.copy()
    clean_answers[:4] = 0  # one speaker is hard to tell from the first
    worse[:4], worse[1::4] = 0, 0
    clean_answers[1] = 1
    clean, degraded = score_conditions(truth, [{"clean": certain(clean_answers), "x": certain(worse)}], speakers)
    assert clean.interval[0] < clean.interval[1]
    assert degraded.loss_interval == pytest.approx((0.25, 0.25))


def test_seeds_are_averaged():
    truth = np.arange(4)
    wrong = (truth + 1) % 4
    seeds = [{"clean": certain(truth)}, {"clean": certain(wrong)}]
    (score,) = score_conditions(truth, seeds, [None] * 4)
    assert (score.uar, score.per_seed, score.accuracy) == (0.5, (1.0, 0.0), 0.5)


# ---------------------------------------------------------------- what is shown


def test_noise_is_drawn_over_its_level_and_the_rest_beside_it():
    scores = [
        ConditionScore(name, uar, (uar - 0.05, uar + 0.02), 0.0, (0.0, 0.0), uar, (uar,))
        for name, uar in (("clean", 0.7), ("babble-20", 0.6), ("babble-0", 0.3), ("white-0", 0.2), ("telephone", 0.5))
    ]
    left, right = plots.draw_conditions(scores, title="x").axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in left.containers for line in [line.lines[0]]}
    assert [bar.get_label() for bar in left.containers] == ["babble", "white"]
    assert left.containers[0].lines[0].get_xydata().tolist() == [[20, 0.6], [0, 0.3]]
    assert drawn
    assert [text.get_text() for text in right.get_xticklabels()] == ["telephone"]


def test_the_command_line_shows_the_table_or_one_object(folds, voices_folder, tmp_path, capsys):
    command = ["robustness", str(folds), str(voices_folder / "manifest.csv"), "--no-cache", "--workers", "1"]
    options = ["--conditions", "gain-6,cut-start", "--out"]
    assert cli.run([*command, *options, str(tmp_path / "a"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [one["condition"] for one in shown["conditions"]] == ["clean", "gain-6", "cut-start"]
    assert cli.run([*command, *options, str(tmp_path / "b")]) == 0
    table = capsys.readouterr().out
    assert "cut-start" in table and "loss" in table
    assert cli.run([*command, *options, str(tmp_path / "b")]) == SettingsError.exit_code

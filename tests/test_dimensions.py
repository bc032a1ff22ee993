"""Arousal and its like from the manifest to the answer: scales, training, bundle, files, and what is refused."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from undrawn import draw_no_examples

from emogram import analyze, metrics, plots, resuming, to_dataframe, voices
from emogram.backend import keras
from emogram.batches import TrainingBatches
from emogram.bundle import FORMAT_VERSION, INFO_FILE, KERAS_FILE, ModelInfo, open_bundle
from emogram.checkpoints import Checkpoints
from emogram.classifier import Classifier
from emogram.client.records import timeline_of
from emogram.config import AugmentConfig, Dimension, RunConfig, TrainConfig
from emogram.corpora import find_corpus
from emogram.deploy import deploy
from emogram.dimensions import find_dimensions, learn_scales, numbers_of, scales_of
from emogram.errors import CorpusError, ModelError, SettingsError
from emogram.evaluate import evaluate, evaluate_predictions
from emogram.export import run_outputs
from emogram.finetune import finetune
from emogram.losses import IMPOSSIBLE
from emogram.network import build_network
from emogram.predictions import averaged, read_predictions
from emogram.records import Clip
from emogram.saved_network import load_network
from emogram.serve.jobs.kept import keep, kept, windows_dict
from emogram.testing import tiny_bundle
from emogram.train import input_shapes, load_training, train
from emogram.writers import FORMATS, result_dict, save_timeline, timeline_dict

SCALE = (1.0, 7.0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Eight voices, 20 clips each, with arousal and valence from 1 to 7."""
    folder = tmp_path_factory.mktemp("dimensions")
    return find_corpus(voices.make_dimension_corpus(folder, n_speakers=8, n_utterances=20, workers=1))


@pytest.fixture(scope="module")
def few(corpus, tmp_path_factory):
    """Four voices, eight clips each; of every fourth clip the valence is not known."""
    kept = [clip for clip in corpus.clips if clip.speaker <= "synthetic04" and int(clip.path.stem[-3:]) <= 8]
    clips = [
        dataclasses.replace(clip, extra={k: v for k, v in clip.extra.items() if place % 4 or k != "valence"})
        for place, clip in enumerate(kept)
    ]
    return dataclasses.replace(corpus, clips=tuple(clips))


def tiny(settings_of, targets, **train):
    return settings_of(train={"targets": targets, "dimension_scale": SCALE, **train})


@pytest.fixture(scope="module")
def runs(few, settings_of, tmp_path_factory):
    """A run of dimensions alone and one next to classes, three epochs each; their answers mean little."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        draw_no_examples(patch)
        return {
            targets: train(few, tiny(settings_of, targets), folder / targets, workers=1)
            for targets in ("dimensions", "both")
        }


def invented(make_dataset, rows, corpora=None):
    """A dataset whose clips tell these numbers; None where a clip has none."""
    dataset = make_dataset([place % 2 for place in range(len(rows))], labels=("a", "b"))
    clips = [
        dataclasses.replace(
            clip,
            corpus=corpora[place] if corpora else clip.corpus,
            extra={
                name: str(value) for name, value in zip(("arousal", "valence"), row, strict=False) if value is not None
            },
        )
        for place, (clip, row) in enumerate(zip(dataset.clips, rows, strict=True))
    ]
    return dataclasses.replace(dataset, clips=tuple(clips), dimensions=("arousal", "valence")[: len(rows[0])])


# ---------------------------------------------------------------- numbers and scales


def test_numbers_are_read_and_what_is_none_is_told(make_dataset):
    dataset = invented(make_dataset, [(2.5, None), ("NaN", 3), ("", "-1e0"), ("n/a", 0)])
    numbers = numbers_of(dataset.clips, dataset.dimensions)
    np.testing.assert_array_equal(numbers, [[2.5, np.nan], [np.nan, 3], [np.nan, -1], [np.nan, 0]])
    for text in ("high", "inf"):
        wrong = invented(make_dataset, [(text, 1.0)])
        with pytest.raises(CorpusError, match=rf"clip-0.wav: arousal is '{text}'; expected a number"):
            numbers_of(wrong.clips, wrong.dimensions)


def test_the_dimensions_that_there_are_are_found_or_named(make_dataset):
    clips = invented(make_dataset, [(1, None), (None, None)]).clips
    assert find_dimensions(clips) == ("arousal",)
    with pytest.raises(CorpusError, match="no clip has a number for pleasure; a manifest"):
        find_dimensions(clips, ["arousal", "pleasure"])
    with pytest.raises(CorpusError, match="arousal or valence or dominance"):
        find_dimensions([Clip(Path("a.wav"))])


def test_a_scale_is_the_corpus_own_or_the_one_given_or_that_of_the_training_clips(make_dataset):
    known = invented(make_dataset, [(3,), (4.5,)], corpora=["msppodcast"] * 2)
    scales = learn_scales(known, np.arange(2))
    assert scales.told == (Dimension(name="arousal", low=1, high=7),) and not scales.warnings
    np.testing.assert_allclose(scales.unit(known)[:, 0], [1 / 3, 3.5 / 6])

    dataset = invented(make_dataset, [(2,), (4,), (9,), (3,)])
    scales = learn_scales(dataset, np.arange(2))  # of clips that do not train nothing is known beforehand
    assert (scales.told[0].low, scales.told[0].high) == (2, 4)
    assert "taken from the training clips, 2 to 4" in scales.warnings[0]
    np.testing.assert_allclose(scales.unit(dataset)[:, 0], [0, 1, 3.5, 0.5])
    np.testing.assert_allclose(scales.as_told(dataset)[:, 0], [2, 4, 9, 3])

    scales = learn_scales(dataset, np.arange(2), given=(1, 9))
    np.testing.assert_allclose(scales.unit(dataset)[:, 0], [1 / 8, 3 / 8, 1, 2 / 8])


def test_corpora_of_several_scales_are_told_from_nought_to_one(make_dataset):
    dataset = invented(make_dataset, [(3,), (3,), (5,)], corpora=["iemocap", "msppodcast", "iemocap"])
    scales = learn_scales(dataset, np.arange(3))
    assert scales.told == (Dimension(name="arousal", low=0, high=1),)
    np.testing.assert_allclose(scales.as_told(dataset)[:, 0], [0.5, 1 / 3, 1])


def test_a_corpus_is_judged_on_the_scale_of_the_model(make_dataset):
    model = (Dimension(name="arousal", low=1, high=7),)
    dataset = invented(make_dataset, [(5,), (3,)], corpora=["iemocap", "mine"])
    np.testing.assert_allclose(scales_of(dataset, model).as_told(dataset)[:, 0], [7, 3])
    scales = scales_of(dataset, model, given=(-3, 3))
    np.testing.assert_allclose(scales.as_told(dataset)[:, 0], [7, 7])
    far = invented(make_dataset, [(80,)])
    assert "if the corpus has another, say --dimension-scale" in scales_of(far, model).warnings[0]


def test_scales_that_cannot_be_are_refused(make_dataset):
    with pytest.raises(SettingsError, match=r"clip-1.wav: arousal is 8, and the scale goes from 1 to 7"):
        learn_scales(invented(make_dataset, [(3,), (8,)]), np.arange(1), given=SCALE)
    with pytest.raises(CorpusError, match="arousal is 3 in all training clips"):
        learn_scales(invented(make_dataset, [(3,), (3,), (4,)]), np.arange(2))
    with pytest.raises(CorpusError, match="no training clip has a number for valence"):
        learn_scales(invented(make_dataset, [(3, None), (4, None), (5, 1)]), np.arange(2))
    for scale in ((7.0, 1.0), (1.0,), (1.0, 2.0, 3.0)):
        with pytest.raises(SettingsError, match="expected its two ends"):
            TrainConfig.from_dict({"dimension_scale": scale})
    with pytest.raises(SettingsError, match="expected low < high"):
        Dimension.from_dict({"name": "x", "low": 1, "high": 1})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"monitor": "val_ccc"}, "no dimensions are learnt"),
        ({"targets": "dimensions", "monitor": "val_uar"}, "no classes are learnt; set it to val_ccc"),
        ({"targets": "dimensions", "teachers": ["a"]}, "teachers tell of labels"),
    ],
)
def test_settings_that_contradict_what_is_learnt_are_refused(settings, message):
    with pytest.raises(SettingsError, match=message):
        TrainConfig.from_dict(settings)


def test_a_dimension_must_not_be_called_as_a_label_or_column(corpus, settings_of):
    for name in ("happy", "gender"):
        clips = [dataclasses.replace(clip, extra={**clip.extra, name: "1"}) for clip in corpus.clips[:4]]
        named = dataclasses.replace(corpus, clips=tuple(clips))
        with pytest.raises(SettingsError, match=f"dimension '{name}' has the name of a label or of a column"):
            load_training(named, tiny(settings_of, "both", dimensions=[name]), workers=1)


# ---------------------------------------------------------------- corpora


def test_lines_without_a_label_count_where_only_numbers_are_learnt(few, tmp_path):
    lines = ["path,speaker,arousal", *(f"{clip.path},{clip.speaker},3.5" for clip in few.clips[:3])]
    (tmp_path / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    corpus = find_corpus(tmp_path / "manifest.csv", unlabelled=True)
    assert [clip.label for clip in corpus.clips] == [None] * 3 and corpus.labels == ()
    assert corpus.clips[0].extra == {"arousal": "3.5"}
    with pytest.raises(CorpusError, match="no column for the label"):
        find_corpus(tmp_path / "manifest.csv")


def test_turns_without_agreement_on_an_emotion_still_tell_numbers(tmp_path):
    (tmp_path / "Labels").mkdir()
    (tmp_path / "Labels" / "labels_consensus.csv").write_text(
        "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"
        "MSP-PODCAST_0001_0001.wav,X,4.2,3.0,5.0,7,Male,Train\n"
        "MSP-PODCAST_0001_0002.wav,H,5.5,6.0,5.0,7,Male,Train\n"
        "MSP-PODCAST_0001_0003.wav,,,,,7,Male,Test3\n",
        encoding="utf-8",
    )
    for number in (1, 2, 3):
        (tmp_path / f"MSP-PODCAST_0001_000{number}.wav").touch()
    (labelled,) = find_corpus(tmp_path).clips
    assert labelled.label == "happy"
    clips = find_corpus(tmp_path, unlabelled=True).clips
    assert [(clip.label, clip.extra["arousal"]) for clip in clips] == [(None, "4.2"), ("happy", "5.5")]


# ---------------------------------------------------------------- batches


def batches_of(dataset, values, **augmentation):
    plain = {name: 0 for name, value in AugmentConfig().to_dict().items() if isinstance(value, int | float)}
    augment = AugmentConfig.from_dict({**plain, "mix_probability": 1.0, **augmentation})
    return TrainingBatches(
        dataset,
        np.arange(len(dataset)),
        train=TrainConfig(batch_size=len(dataset)),
        augmentation=augment,
        values=values,
    )


def test_targets_hold_each_clips_numbers_and_a_weight_of_nought_where_there_are_none(make_dataset):
    dataset = invented(make_dataset, [(0.1, 0.5), (0.2, None), (None, 0.7), (0.4, 0.8)])
    values = numbers_of(dataset.clips, dataset.dimensions).astype(np.float32)
    _, targets, weights = batches_of(dataset, values)[0]
    assert targets.shape == (4, 2 + 4) and weights.shape == (4,)
    rows = {tuple(np.round(row, 3)) for row in targets.tolist()}
    assert rows == {(1, 0, 0.1, 0.5, 1, 1), (0, 1, 0.2, 0, 1, 0), (1, 0, 0, 0.7, 0, 1), (0, 1, 0.4, 0.8, 1, 1)}
    alone = dataclasses.replace(dataset, labels=(), targets=np.zeros(4, np.intp))
    _, targets, _ = batches_of(alone, values)[0]
    assert {tuple(np.round(row, 3)) for row in targets.tolist()} == {row[2:] for row in rows}


def test_of_two_clips_that_are_mixed_the_one_that_has_a_number_tells_it(make_dataset):
    dataset = invented(make_dataset, [(0.2,), (None,), (0.6,), (None,)])
    values = numbers_of(dataset.clips, dataset.dimensions).astype(np.float32)
    found = []
    batches = batches_of(dataset, values, mixup_alpha=1.0)
    for _ in range(20):
        _, targets, _ = batches[0]
        batches.on_epoch_end()
        found += targets[:, 2:].tolist()
        assert not (targets[:, :2] == IMPOSSIBLE).any()
    told = np.asarray([value for value, weight in found if weight > 0])
    assert all(value == 0 for value, weight in found if weight == 0)
    assert told.min() == pytest.approx(0.2, abs=1e-6) and told.max() == pytest.approx(0.6, abs=1e-6)
    assert ((told > 0.21) & (told < 0.59)).any()  # both had one
    assert {0 < weight < 1 for _, weight in found} == {True, False}


# ---------------------------------------------------------------- training


def test_arousal_is_learnt_for_voices_that_were_never_heard(corpus, settings_of, tmp_path, without_plots):
    config = settings_of(
        spectrogram={"level": "absolute"},  # of which loudness can be seen
        train={"targets": "dimensions", "dimension_scale": SCALE, "epochs": 20, "batch_size": 8, "train_frames": 96},
        split={"validation_speakers": ["synthetic05", "synthetic06"], "test_speakers": ["synthetic07", "synthetic08"]},
    )
    result = train(corpus, config, tmp_path / "run", workers=1)
    assert result.report.metrics["arousal_ccc"] > 0.5
    assert result.report.metrics["n_clips"] == 40 and not result.report.labels
    # What was measured is what the model says to whoever asks it.
    model = Classifier.load(tmp_path / "run")
    judged = [clip for clip in corpus.clips if clip.speaker in ("synthetic07", "synthetic08")]
    said = [outcome.dimensions["arousal"] for _, outcome in model.predict_many(judged, workers=1)]
    truth = numbers_of(judged, ["arousal"])[:, 0]
    assert metrics.ccc(truth, said) == pytest.approx(result.report.metrics["arousal_ccc"], abs=1e-4)
    assert min(said) >= 1.0 and max(said) <= 7.0


@pytest.mark.parametrize("targets", ["dimensions", "both"])
def test_a_run_holds_figures_plots_and_a_card(runs, targets):
    run = runs[targets].run
    report = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert report["dimensions"] == ["arousal", "valence"]
    assert report["metrics"]["valence_n_clips"] < report["metrics"]["arousal_n_clips"] == report["metrics"]["n_clips"]
    assert ("uar" in report["metrics"]) == (targets == "both")
    drawn = {path.name for path in (run / "plots").iterdir()}
    assert {"dimensions.png", "train_val_ccc.png", "loss.png"} <= drawn
    assert ("confusion_matrix.png" in drawn) == (targets == "both")
    with (run / "history.csv").open(encoding="utf-8") as file:
        header = next(csv.reader(file))
    assert {"ccc", "val_ccc", "val_ccc_arousal", "val_ccc_valence"} <= set(header)
    assert ("val_uar" in header) == (targets == "both")
    card = (run / "model" / "README.md").read_text(encoding="utf-8")
    assert "| arousal | 1 | 7 |" in card and "- concordance" in card
    assert ("## Labels" in card) == ("calibrated" in card) == (targets == "both")


def test_the_epoch_is_chosen_on_the_dimensions_too(runs):
    for targets, terms in (("dimensions", 0), ("both", 1)):
        with (runs[targets].run / "history.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            rest = float(row["val_loss"]) - (1.0 - float(row["val_ccc"]))
            assert rest == pytest.approx(0.0, abs=1e-5) if not terms else rest > 0.1
        losses = [float(row["val_loss"]) for row in rows]
        best = [place for place, row in enumerate(rows) if float(row["best"])]
        assert best[-1] == int(np.argmin(losses))


@pytest.mark.parametrize("targets", ["dimensions", "both"])
def test_keras_and_onnx_say_the_same(runs, few, targets):
    bundle = open_bundle(runs[targets].run)
    model, network = Classifier(bundle), load_network(bundle)
    rng = np.random.default_rng(0)
    inputs = {"spectrogram": rng.uniform(0, 1, (3, 96, 64, 1)).astype(np.float32)}
    said, expected = model.answers_to(inputs), run_outputs(network, inputs)
    assert list(expected) == (["dimensions"] if targets == "dimensions" else ["probabilities", "dimensions"])
    np.testing.assert_allclose((said.values - 1.0) / 6.0, expected["dimensions"], atol=1e-4)
    if targets == "both":
        np.testing.assert_allclose(model.raw_probabilities(inputs), expected["probabilities"], atol=1e-4)
    assert model.embeddings(inputs).shape[0] == 3


@pytest.mark.parametrize("targets", ["dimensions", "both"])
def test_what_a_model_says_can_be_read_back_and_judged_again(runs, few, targets, tmp_path, without_plots):
    run, report = runs[targets].run, runs[targets].report
    (said,) = read_predictions([run])
    assert said.values.names == ("arousal", "valence") and said.labels == report.labels
    assert np.isnan(said.values.truth[:, 1]).sum() == 2 and not np.isnan(said.values.truth[:, 0]).any()
    again = evaluate_predictions([run], tmp_path / "again")
    assert again.report.metrics == pytest.approx(report.metrics, abs=1e-4, nan_ok=True)
    both = averaged([said, said])
    np.testing.assert_allclose(both.values.said, said.values.said)
    other = dataclasses.replace(said, values=dataclasses.replace(said.values, truth=said.values.truth * 2))
    with pytest.raises(Exception, match="different true numbers for the same clips"):
        averaged([said, other])
    result = evaluate(run, few, tmp_path / "out", part="test", workers=1)
    assert result.report.metrics == pytest.approx(report.metrics, abs=1e-4, nan_ok=True)


def test_a_model_of_both_is_judged_by_its_classes_where_there_are_no_numbers(
    runs, voices_corpus, tmp_path, without_plots
):
    result = evaluate(runs["both"].run, voices_corpus, tmp_path / "both", workers=1, allow_leaks=True)
    assert result.report.dimensions == () and "uar" in result.report.metrics
    with pytest.raises(CorpusError, match="has no number for arousal or valence, which is all that this model tells"):
        evaluate(runs["dimensions"].run, voices_corpus, tmp_path / "alone", workers=1)


@pytest.mark.parametrize("targets", ["dimensions", "both"])
def test_a_training_that_died_goes_on_to_the_bit(runs, few, settings_of, targets, tmp_path, monkeypatch):
    monkeypatch.setattr(resuming, "SHARE_OF_TIME", float("inf"))
    whole, real = runs[targets].run, Checkpoints.write

    class Killed(BaseException):
        pass

    def write_and_die(checkpoints, checkpoint):
        real(checkpoints, checkpoint)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Checkpoints, "write", write_and_die)
        train(few, tiny(settings_of, targets), tmp_path / "run", workers=1)
    with pytest.raises(SettingsError, match=r"train.dimension_weight was 1.0 and is 2.0"):
        train(few, tiny(settings_of, targets, dimension_weight=2.0), tmp_path / "run", resume=True, workers=1)
    train(few, tiny(settings_of, targets), tmp_path / "run", resume=True, workers=1)
    for name in ("history.csv", "predictions.csv", "model/model.onnx"):
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_training_that_an_older_version_began_goes_on_since_new_settings_have_their_defaults():
    settings = RunConfig().to_dict()
    for name in ("targets", "dimensions", "dimension_scale", "dimension_weight"):
        del settings["train"][name]
    resuming.refuse_other_settings(Path("run"), settings, RunConfig())
    with pytest.raises(resuming.AnotherTrainingError, match=r"train.targets was classes and is both"):
        resuming.refuse_other_settings(Path("run"), settings, RunConfig.from_dict({"train": {"targets": "both"}}))


def test_training_starts_from_a_model_that_told_classes_only(runs, few, settings_of, tmp_path):
    from emogram.pretraining import take_over

    config = settings_of()
    old = load_network(open_bundle(runs["both"].run))
    keras.utils.set_random_seed(1)
    new = build_network(input_shapes(config.spectrogram), 5, config.network, n_dimensions=2)
    untouched = new.get_layer("dimensions").get_weights()[0][:, 0].copy()
    take_over(
        open_bundle(runs["both"].run), new, ("angry", "calm", "happy", "sad", "surprised"), ("dominance", "valence")
    )
    body = [layer for layer in new.layers if layer.name not in ("probabilities", "dimensions")]
    for mine, theirs in zip(body, old.layers, strict=False):
        for one, two in zip(mine.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)
    kernel = new.get_layer("dimensions").get_weights()[0]
    np.testing.assert_array_equal(kernel[:, 1], old.get_layer("dimensions").get_weights()[0][:, 1])
    np.testing.assert_array_equal(kernel[:, 0], untouched)
    np.testing.assert_array_equal(
        new.get_layer("probabilities").get_weights()[0][:, :4], old.get_layer("probabilities").get_weights()[0]
    )


# ---------------------------------------------------------------- bundle and answers


def test_fine_tuning_compares_labels_and_says_where_numbers_are_trained_further(runs, few, settings_of, tmp_path):
    with pytest.raises(SettingsError, match=r"targets is dimensions, .*`emogram train CORPUS --init .*both --tar"):
        finetune(runs["both"].run, few, tmp_path / "out", config=tiny(settings_of, "dimensions"), workers=1)
    with pytest.raises(SettingsError, match=r"tells dimensions only, and fine-tuning compares what is said of labels"):
        finetune(runs["dimensions"].run, few, tmp_path / "out", workers=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_a_model_of_both_is_fine_tuned_in_both(runs, few, settings_of, tmp_path, without_plots):
    """On other recordings of other voices."""
    clips = []
    for clip in few.clips:
        waveform, sample_rate = soundfile.read(clip.path)
        soundfile.write(tmp_path / clip.path.name, 0.5 * waveform, sample_rate)
        clips.append(dataclasses.replace(clip, corpus="others", path=tmp_path / clip.path.name))
    others = dataclasses.replace(few, name="others", clips=tuple(clips))
    config = tiny(settings_of, "both", epochs=1)
    result = finetune(runs["both"].run, others, tmp_path / "out", config=config, workers=1)
    assert result.change is not None and result.change.after.labels == ("angry", "calm", "happy", "sad")
    info = open_bundle(tmp_path / "out").info
    assert [(each.name, each.low, each.high) for each in info.dimensions] == [("arousal", *SCALE), ("valence", *SCALE)]
    assert {"uar", "ccc", "arousal_ccc"} <= info.metrics.keys()


def test_only_models_that_tell_dimensions_are_of_the_new_format(runs, tiny_run):
    old = json.loads((tiny_run.run / "model" / INFO_FILE).read_text(encoding="utf-8"))
    assert old["format_version"] == 1 and "dimensions" not in old
    assert open_bundle(tiny_run.run).info.dimensions == ()
    new = json.loads((runs["both"].run / "model" / INFO_FILE).read_text(encoding="utf-8"))
    assert new["format_version"] == FORMAT_VERSION == 2
    assert new["dimensions"][0] == {"name": "arousal", "low": 1.0, "high": 7.0}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": ()}, "expected at least 2, or dimensions and none"),
        ({"labels": ("a", "arousal")}, None),
        ({"labels": ("a", "b"), "dimensions": [{"name": "a", "low": 0, "high": 1}]}, "not be called as a label is"),
        ({"labels": ("a",), "dimensions": [{"name": "x", "low": 0, "high": 1}]}, "1 labels"),
    ],
)
def test_a_bundle_tells_labels_or_dimensions(changed, message):
    values = {
        "labels": ("a", "b"), "network": {"name": "x"}, "input_shape": (16, 16, 3), **changed,
    }  # fmt: skip
    if message is None:
        assert ModelInfo.from_dict(values).dimensions == ()
        return
    with pytest.raises(SettingsError, match=message):
        ModelInfo.from_dict(values)


DIMENSIONS = (Dimension(name="arousal", low=-2, high=2), Dimension(name="valence", low=1, high=7))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        "both": Classifier.load(tiny_bundle(folder / "both", dimensions=DIMENSIONS)),
        "dimensions": Classifier.load(tiny_bundle(folder / "alone", labels=(), dimensions=DIMENSIONS)),
        "classes": Classifier.load(tiny_bundle(folder / "classes")),
    }


def test_answers_have_dimensions_where_the_model_tells_them(models, tone):
    both, alone, classes = (models[name].predict(tone, sample_rate=16000) for name in ("both", "dimensions", "classes"))
    assert both.scores == classes.scores and classes.dimensions is None
    assert list(both.dimensions) == ["arousal", "valence"]
    assert -2 <= both.dimensions["arousal"] <= 2 and 1 <= both.dimensions["valence"] <= 7
    assert alone.label == "" and alone.scores == {} and math.isnan(alone.confidence) and not alone.abstained
    checked = models["dimensions"].predict(tone, sample_rate=16000, check=True)
    assert checked.dimensions == pytest.approx(alone.dimensions) and checked.speech_share is not None


def test_the_json_of_models_of_classes_is_as_it_was_and_others_tell_more(models, tone):
    said = {name: models[name].predict(tone, sample_rate=16000) for name in models}
    found = {
        name: result_dict(said[name], path="a.wav", info=models[name].info, sha256=models[name].sha256)
        for name in models
    }
    old = found["classes"]
    assert list(old["model"]) == ["id", "sha256", "labels", "calibrated"]
    assert list(old["segments"][0]) == [
        "start_ms", "end_ms", "channel", "label", "confidence", "scores", "speech_ratio", "abstained",
    ]  # fmt: skip
    assert list(old["summary"]) == ["label", "confidence"]
    assert found["both"]["model"]["dimensions"] == [each.to_dict() for each in DIMENSIONS]
    assert found["both"]["segments"][0]["dimensions"] == pytest.approx(said["both"].dimensions, abs=1e-4)
    alone = json.loads(json.dumps(found["dimensions"], allow_nan=False))
    segment = alone["segments"][0]
    assert segment["label"] is segment["confidence"] is alone["summary"]["label"] is None and segment["scores"] == []


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Eight seconds in which a voice speaks three times."""
    voice, pause = voices.voices(1)[0], np.zeros(12000, np.float32)
    spoken = [voices.speak(emotion, speaker=voice, seed=1) for emotion in ("angry", "sad", "happy")]
    path = tmp_path_factory.mktemp("recording") / "talk.wav"
    soundfile.write(path, np.concatenate([part for each in spoken for part in (each, pause)]), 16000)
    return path


def test_a_timeline_tells_dimensions_of_windows_segments_and_the_whole(models, recording):
    both, alone, classes = (analyze(recording, model=models[name]) for name in ("both", "dimensions", "classes"))
    assert classes.windows.dimensions == {} and "dimensions" not in classes.summary
    assert [each.prediction.scores for each in both.segments] == [each.prediction.scores for each in classes.segments]
    for timeline in (both, alone):
        windows = timeline.windows
        assert list(windows.dimensions) == ["arousal", "valence"] and len(windows.start_s) > 0
        for segment in timeline.segments:
            inside = (windows.start_s < segment.end_s) & (windows.end_s > segment.start_s)
            for name, values in windows.dimensions.items():
                low, high = values[inside].min(), values[inside].max()
                assert low - 1e-6 <= segment.prediction.dimensions[name] <= high + 1e-6
        spoken = np.array([(each.end_s - each.start_s) * each.speech_ratio for each in timeline.segments])
        for name, mean in timeline.summary["dimensions"].items():
            told = np.array([each.prediction.dimensions[name] for each in timeline.segments])
            assert mean == pytest.approx(spoken @ told / spoken.sum())
    assert {each.prediction.label for each in alone.segments} == {""} and alone.summary["label"] is None
    assert alone.summary["speech_s"] == pytest.approx(both.summary["speech_s"])


@pytest.mark.parametrize("name", ["both", "dimensions"])
def test_every_file_of_a_timeline_holds_the_dimensions(models, recording, name, tmp_path):
    timeline = analyze(recording, model=models[name])
    first = timeline.segments[0].prediction.dimensions["arousal"]
    for form, each in FORMATS.items():
        path = save_timeline(tmp_path / f"talk{each.suffix}", timeline, form, recording=recording)
        content = path.read_bytes()
        if form in ("vtt", "audacity", "rttm") and name == "both":
            continue  # one text for each segment, which is the label
        assert b"arousal" in content, form
        if form in ("textgrid", "eaf", "html"):
            assert f"{first:.3g}".encode() in content, form
    with (tmp_path / "talk.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["arousal"]) == pytest.approx(first, rel=1e-5)
    frame = to_dataframe(timeline)
    assert frame["arousal"].tolist() == pytest.approx([float(row["arousal"]) for row in rows])
    assert to_dataframe(timeline, windows=True)["valence"].tolist() == timeline.windows.dimensions["valence"].tolist()
    json.dumps(timeline_dict(timeline, path="talk.wav", info=models[name].info, sha256=""), allow_nan=False)
    plots.timeline(timeline, recording, tmp_path / "talk.png", title="talk")
    assert (tmp_path / "talk.png").stat().st_size > 10_000


def test_a_service_keeps_and_a_client_reads_the_dimensions(models, recording, tmp_path):
    timeline = analyze(recording, model=models["both"])
    keep(tmp_path, timeline, name="talk.wav", classifier=models["both"])
    again, _ = kept(tmp_path)
    for mine, theirs in zip(timeline.segments, again.segments, strict=True):
        assert theirs.prediction.dimensions == mine.prediction.dimensions
    assert again.summary == timeline.summary
    np.testing.assert_array_equal(again.windows.dimensions["arousal"], timeline.windows.dimensions["arousal"])
    result = timeline_dict(timeline, path="talk.wav", info=models["both"].info, sha256="")
    there = timeline_of(result, windows_dict(timeline.windows))
    np.testing.assert_allclose(
        there.windows.dimensions["valence"], timeline.windows.dimensions["valence"], rtol=1e-5, atol=1e-6
    )
    for mine, theirs in zip(timeline.segments, there.segments, strict=True):
        assert theirs.prediction.dimensions == pytest.approx(mine.prediction.dimensions, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", ["both", "dimensions"])
def test_exported_files_tell_dimensions_on_their_scale(models, recording, name, tmp_path):
    import onnxruntime

    sound, _ = soundfile.read(recording, dtype="float32", frames=32000)
    soundfile.write(tmp_path / "clip.wav", sound, 16000)
    done = deploy(models[name].bundle.folder, "onnx-waveform", tmp_path / "model.onnx", clips=[tmp_path / "clip.wav"])
    assert json.loads(done.metadata["emogram.dimensions"])[1] == {"name": "valence", "low": 1.0, "high": 7.0}
    assert (done.parity.same_label is None) == (name == "dimensions")
    session = onnxruntime.InferenceSession(done.file.read_bytes(), providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_outputs()]
    assert names == (["probabilities", "dimensions"] if name == "both" else ["dimensions"])
    heard, _ = soundfile.read(tmp_path / "clip.wav", dtype="float32")
    (told,) = session.run(["dimensions"], {"waveform": heard})
    expected = models[name].predict(tmp_path / "clip.wav").dimensions
    np.testing.assert_allclose(told, list(expected.values()), atol=1e-4)


def test_what_needs_classes_is_refused_in_one_line(models, tone):
    from emogram.explanations import explain
    from emogram.serve.models import Models

    with pytest.raises(ModelError, match="tells arousal, valence and no classes, so it cannot be explained"):
        explain(models["dimensions"], tone, sample_rate=16000)
    with pytest.raises(ModelError, match="cannot be adapted to a voice"):
        models["dimensions"].reference()
    with pytest.raises(SettingsError, match="tells dimensions only; serve a model of classes"):
        Models([models["dimensions"]])


def test_a_network_that_gives_something_else_is_refused(tmp_path):
    folder = tiny_bundle(tmp_path / "model", dimensions=DIMENSIONS)
    info = json.loads((folder / INFO_FILE).read_text(encoding="utf-8"))
    from emogram.bundle import seal

    fewer = ModelInfo.from_dict({**info, "dimensions": info["dimensions"][:1]})
    seal(folder, fewer, "card")
    with pytest.raises(
        ModelError, match=r"gives 3 output.s., the first of 8 and 2 values; expected one of 8 and one of 1"
    ):
        Classifier.load(folder)
    assert KERAS_FILE not in open_bundle(folder).hashes

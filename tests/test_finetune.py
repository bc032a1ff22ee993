"""A model that is trained further: what stays, who judges, what is told before and after, what is refused."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import soundfile
from undrawn import draw_nothing

from emogram import voices
from emogram.backend import keras
from emogram.bundle import CLIP_DIGITS, KERAS_FILE, open_bundle, seal
from emogram.changes import UNTOLD, compare_before_after
from emogram.checkpoints import Checkpoints
from emogram.classifier import Classifier
from emogram.cli import run
from emogram.config import FINETUNE, SpectrogramConfig, run_config
from emogram.corpora import find_corpus, join_corpora
from emogram.dataset import load_dataset
from emogram.errors import CorpusError, ModelError, SettingsError
from emogram.evaluate import evaluate
from emogram.finetune import finetune, only_speakers, settings_for
from emogram.judging import read_run
from emogram.splits import make_split
from emogram.train import train

LABELS = ("angry", "happy", "bored")  # of which the model knows two, and two of its own are missing
N_CLIPS = 6


def settings(*, split=None, augment=None, **training):
    quick = {"epochs": 2, "batch_size": 8, "train_frames": 64}
    sections = {"train": {**FINETUNE["train"], **quick, **training}, "split": {**FINETUNE["split"], **(split or {})}}
    return run_config({**sections, "augment": augment or {}})


@pytest.fixture(scope="module", autouse=True)
def undrawn():
    """Nothing here looks at pictures but one test, which draws by itself."""
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch)
        yield


@pytest.fixture(scope="module")
def new_voices(tmp_path_factory):
    """Two voices that the model never heard say six sentences in each of three moods."""
    folder = tmp_path_factory.mktemp("new")
    lines = ["path,label,speaker,corpus"]
    for voice in voices.voices(6)[4:]:
        for label in LABELS:
            for number in range(N_CLIPS):
                name = f"{voice.name}_{label}_{number}.wav"
                said = voices.speak("sad" if label == "bored" else label, speaker=voice, seed=100 + number)
                soundfile.write(folder / name, said, 16000)
                lines.append(f"{name},{label},{voice.name},new")
    (folder / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def new_corpus(new_voices):
    return find_corpus(new_voices)


@pytest.fixture(scope="module")
def one_voice(new_corpus):
    return only_speakers(new_corpus, ["synthetic05"])


@pytest.fixture(scope="module")
def frozen(tiny_run, one_voice, voices_corpus, tmp_path_factory):
    """A run on one voice whose trunk is frozen, with the model's own corpus to be kept."""
    out = tmp_path_factory.mktemp("finetuned") / "frozen"
    config = settings(trunk_rate=0.0, learning_rate=0.05)
    return finetune(tiny_run.run, one_voice, out, config=config, keep=voices_corpus, workers=1)


def network_of(run):
    return keras.saving.load_model(run / "model" / KERAS_FILE, compile=False)


def contents_of(corpus, indices=None):
    dataset = load_dataset(corpus, SpectrogramConfig(), workers=1)
    return {sample.content[:CLIP_DIGITS] for sample in dataset.samples}


# ---------------------------------------------------------------- what is learnt, and what stays


def test_a_frozen_trunk_stays_as_it_was_to_the_bit_and_the_last_layer_does_not(frozen, tiny_run):
    old, new = network_of(tiny_run.run), network_of(frozen.run)
    for before, after in zip(old.layers[:-1], new.layers[:-1], strict=True):
        for one, other in zip(before.get_weights(), after.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    assert (old.layers[-1].get_weights()[0][:, 0] != new.layers[-1].get_weights()[0][:, 0]).any()


def test_the_result_is_a_model_like_any_other_that_names_where_it_came_from(frozen, tiny_run, one_voice):
    model = Classifier.load(frozen.run)
    assert model.predict_clip(one_voice.clips[0]).label in LABELS == LABELS
    base = open_bundle(tiny_run.run)
    info = model.info
    assert info.init.sha256 == base.sha256 and info.network == base.info.network
    assert (
        f"Fine-tuned from `{base.info.model_id}` (sha256 {base.sha256})" in (frozen.run / "model/README.md").read_text()
    )
    assert {corpus.corpus: corpus.pretraining for corpus in info.trained_on} == {"new": False, "synthetic-voices": True}
    assert {"new/synthetic05", "synthetic-voices/synthetic01"} <= info.heard("train")


# ---------------------------------------------------------------- who judges


def test_clips_that_judge_neither_train_nor_choose(frozen, one_voice):
    """By the hashes of their samples, as the model itself lists what it knows."""
    said = read_run(frozen.run, held_out(frozen, one_voice), open_bundle(frozen.run).info.labels)
    judges = contents_of(dataclasses.replace(one_voice, clips=said.clips))
    known = open_bundle(frozen.run).known_clips()
    everything = contents_of(one_voice)
    assert not judges & (known["train"] | known["validation"])
    assert not known["train"] & known["validation"]
    assert judges | known["train"] | known["validation"] >= everything and len(judges) == 3


def held_out(result, corpus):
    known = open_bundle(result.run).known_clips()
    dataset = load_dataset(corpus, SpectrogramConfig(), workers=1)
    used = known["train"] | known["validation"]
    return [clip for clip, s in zip(dataset.clips, dataset.samples, strict=True) if s.content[:CLIP_DIGITS] not in used]


def test_one_voice_is_parted_by_clip_and_that_is_said(frozen):
    info = open_bundle(frozen.run).info
    assert info.protocol.startswith("split by clip (seed 0): same voices in all parts; started from a model trained on")
    assert any("the same voice on both sides, which is the point" in warning for warning in frozen.warnings)
    assert info.split["train_speakers"] == info.split["test_speakers"] == ["synthetic05"]
    assert frozen.change.says == "95 % intervals resample 3 clips of 1 voice, and say nothing of others"


def test_of_two_voices_one_judges_and_of_more_one_also_chooses(tiny_run, new_corpus):
    def parted(corpus):
        config = settings_for(open_bundle(tiny_run.run), tiny_run.run, corpus, settings())
        dataset = load_dataset(corpus, config.spectrogram, workers=1)
        split = make_split(dataset, config.split)
        assert sorted(np.concatenate(list(split.parts.values()))) == list(range(len(dataset)))
        return [{dataset.clips[index].speaker for index in indices} for indices in split.parts.values()], split

    (trains, chooses, judges), split = parted(new_corpus)
    assert trains == chooses and len(trains) == len(judges) == 1 and trains != judges
    assert any("chosen on clips of voices that train" in warning for warning in split.warnings)
    for n_voices in (3, 4):
        clips = [
            dataclasses.replace(clip, speaker=f"voice {n % n_voices}") for n, clip in enumerate(new_corpus.clips)
        ]  # fmt: skip
        several, _ = parted(dataclasses.replace(new_corpus, clips=tuple(clips)))
        assert all(several) and sum(map(len, several)) == n_voices == len(set.union(*several))


# ---------------------------------------------------------------- before and after


def test_before_is_what_evaluate_says_and_a_learning_rate_of_nothing_changes_nothing(tiny_run, new_corpus, tmp_path):
    """On other clips of a voice that the model has heard, which is said, and on two of the labels that it knows."""
    heard = [
        dataclasses.replace(clip, corpus=voices.CORPUS_NAME, speaker="synthetic01")
        for clip in new_corpus.clips
        if clip.label != "bored"
    ]
    corpus = dataclasses.replace(new_corpus, clips=tuple(heard), labels=("angry", "happy"))
    config = settings(epochs=1, learning_rate=1e-20)
    result = finetune(tiny_run.run, corpus, tmp_path / "run", config=config, workers=1)
    judges = dataclasses.replace(corpus, clips=tuple(held_out(result, corpus)))
    n = len(judges.clips)
    assert f"{n} of {n} clips are of speakers that this model was trained on" in " ".join(result.warnings)

    alone = evaluate(tiny_run.run, judges, tmp_path / "alone", workers=1).report
    assert result.change.before.labels == alone.labels == ("angry", "calm", "happy", "sad")
    assert result.change.before.confusion == alone.confusion
    assert result.change.before.metrics == pytest.approx(alone.metrics)
    stored, again = (read_run(tmp_path / name, judges.clips, alone.labels) for name in ("run/before", "alone"))
    np.testing.assert_array_equal(stored.probabilities, again.probabilities)

    assert result.change.after.confusion == result.change.narrowed.confusion and result.change.verdict == UNTOLD
    assert result.report.metrics["uar"] == open_bundle(result.run).info.metrics["uar"]
    old, new = (network_of(run).layers[-1].get_weights() for run in (tiny_run.run, result.run))
    for label, place in (("angry", 0), ("happy", 2)):
        for one, other in zip(old, new, strict=True):
            np.testing.assert_array_equal(one[..., place], other[..., result.change.narrowed.labels.index(label) // 2])


def test_all_of_it_is_in_one_file(frozen):
    told = json.loads((frozen.run / "finetune.json").read_text())
    assert told == json.loads(json.dumps(frozen.to_dict()))
    assert told["change"]["verdict"] == frozen.change.verdict and told["keep"]["before"]["metrics"]["n_clips"] == 4
    assert told["lost_labels"] == ["calm", "sad"] and told["base"] == "emogram-emonet-synthetic-voices"
    assert [path.name for path in frozen.files] == ["before_after.png", "keep_before_after.png"]


def test_what_is_to_be_kept_is_judged_on_speakers_who_were_set_aside(frozen, tiny_run, voices_corpus, tmp_path):
    """Speaker 04, of whose labels both know angry and happy; the model before says what it says to `evaluate`."""
    said = read_run(
        frozen.run / "keep/before",
        [c for c in voices_corpus.clips if c.speaker == "synthetic04" and c.label in ("angry", "happy")],
        ("angry", "happy"),
    )
    evaluate(tiny_run.run, voices_corpus, tmp_path, part="test", workers=1)
    alone = read_run(tmp_path, [c for c in voices_corpus.clips if c.speaker == "synthetic04"], tiny_run.report.labels)
    rows = [place for place, clip in enumerate(alone.clips) if clip.label in ("angry", "happy")]
    two = alone.probabilities[rows][:, [0, 2]]
    np.testing.assert_allclose(said.probabilities, two / two.sum(axis=1, keepdims=True), atol=1e-6)
    assert frozen.kept.before.protocol.startswith("test clips of synthetic-voices, which is not to be forgotten")
    assert "synthetic-voices: 4 clips of labels that the new model does not know are left out" in frozen.warnings


def test_a_model_without_keras_file_learns_labels_of_which_it_knows_none(tiny_run, one_voice, tmp_path):
    """Its frozen trunk is found again in its ONNX file, so that what the last layer looks at stays the same."""
    bare = tmp_path / "bare"
    shutil.copytree(tiny_run.run / "model", bare)
    (bare / KERAS_FILE).unlink()
    seal(bare, open_bundle(tiny_run.run).info, "card")
    clips = [dataclasses.replace(c, label="bored" if c.label == "bored" else "engaged") for c in one_voice.clips]
    corpus = dataclasses.replace(one_voice, clips=tuple(clips), labels=("bored", "engaged"))
    with pytest.raises(ModelError, match="say --freeze-normalization"):
        finetune(bare, corpus, tmp_path / "x", config=settings(freeze_normalization=False), workers=1)
    result = finetune(bare, corpus, tmp_path / "run", config=settings(epochs=1, trunk_rate=0.0), workers=1)

    assert result.change is None and not (tmp_path / "run/before").exists()
    assert any("knew none of the labels here" in warning for warning in result.warnings)
    model = Classifier.load(tmp_path / "run")
    assert set(model.labels) == set(result.new_labels) == {"bored", "engaged"} == set(result.report.labels)
    dataset = load_dataset(corpus, SpectrogramConfig(), workers=1)
    inputs = dataset.inputs(dataset.same_length_groups(np.arange(6))[0])
    np.testing.assert_allclose(model.embeddings(inputs), Classifier.load(bare).embeddings(inputs), atol=1e-4)


# ---------------------------------------------------------------- going on


class Killed(BaseException):
    """Ends a training as nothing in it expects."""


def test_what_was_killed_goes_on_to_the_same_model(tiny_run, one_voice, tmp_path, monkeypatch):
    config = settings(epochs=3)
    whole = finetune(tiny_run.run, one_voice, tmp_path / "whole", config=config, workers=1)
    real = Checkpoints.write

    def write_and_die(self, checkpoint):
        real(self, checkpoint)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Checkpoints, "write", write_and_die)
        finetune(tiny_run.run, one_voice, tmp_path / "killed", config=config, workers=1)
    on = finetune(tiny_run.run, one_voice, tmp_path / "killed", config=config, resume=True, workers=1)
    assert on.change.to_dict() == whole.change.to_dict()
    for one, other in zip(network_of(whole.run).get_weights(), network_of(on.run).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    for before, after in zip(network_of(tiny_run.run).layers, network_of(on.run).layers, strict=True):
        same = [np.array_equal(*pair) for pair in zip(before.get_weights(), after.get_weights(), strict=True)]
        if isinstance(before, keras.layers.BatchNormalization):
            assert all(same), "normalisation stays"
        elif isinstance(before, keras.layers.Conv2D):
            assert not any(same), "the rest of the trunk learns"
    # And what was killed after the training only compares.
    (on.run / "finetune.json").unlink()
    monkeypatch.setattr("emogram.finetune.train", None)
    again = finetune(tiny_run.run, one_voice, on.run, config=config, resume=True, workers=1)
    assert again.change == on.change and (on.run / "finetune.json").is_file()


# ---------------------------------------------------------------- refusals


def test_too_few_clips_of_a_label_are_refused(tiny_run, one_voice, tmp_path):
    few = [clip for n, clip in enumerate(one_voice.clips) if clip.label != "happy" or n % 3 == 0]
    corpus = dataclasses.replace(one_voice, clips=tuple(few))
    with pytest.raises(CorpusError, match=r"too few clips of happy \(2\); each label needs at least 5: 3 to train"):
        finetune(tiny_run.run, corpus, tmp_path, config=settings(), workers=1)
    with pytest.raises(
        CorpusError,
        match=r"of angry \(6\), happy \(6\), bored \(6\); clips_per_label is 6, which must be at least 4 and leave",
    ):
        finetune(tiny_run.run, one_voice, tmp_path, config=settings(split={"clips_per_label": 6}), workers=1)


def test_recordings_that_the_model_knows_do_not_judge_under_another_name(tiny_run, voices_corpus, tmp_path):
    clips = [dataclasses.replace(clip, corpus="mine", speaker="me") for clip in voices_corpus.clips]
    corpus = dataclasses.replace(voices_corpus, name="mine", clips=tuple(clips))
    with pytest.raises(CorpusError, match=r"of the validation part, . of . clips were trained on .*leave them out"):
        finetune(tiny_run.run, corpus, tmp_path, config=settings(), workers=1)


def test_voices_that_the_model_heard_do_not_judge_by_speaker(tiny_run, voices_corpus, tmp_path):
    split = {"validation_speakers": ["synthetic04"], "test_speakers": ["synthetic01"]}
    with pytest.raises(CorpusError, match="of the test part, 8 of 8 clips were trained on"):
        finetune(tiny_run.run, voices_corpus, tmp_path, config=settings(split=split), workers=1)


def test_what_is_trained_on_does_not_tell_what_was_forgotten(tiny_run, one_voice, tmp_path):
    with pytest.raises(CorpusError, match="just now, so they cannot tell what was forgotten"):
        finetune(tiny_run.run, one_voice, tmp_path, config=settings(), keep=one_voice, workers=1)
    assert not (tmp_path / "model").exists(), "before any training"


def test_somebody_must_judge(tiny_run, one_voice, tmp_path):
    with pytest.raises(SettingsError, match="nothing is held out to judge by; raise --test-share"):
        finetune(tiny_run.run, one_voice, tmp_path, config=settings(split={"test_share": 0.0}), workers=1)


def test_holding_back_needs_a_model_to_start_from(voices_corpus, settings_of, tmp_path):
    with pytest.raises(SettingsError, match="name the model with --init"):
        train(voices_corpus, settings_of(train={"trunk_rate": 0.1}), tmp_path, workers=1)


def test_speakers_who_are_not_there_are_named_with_those_who_are(new_corpus):
    with pytest.raises(SettingsError, match=r"unknown speaker 'SYNTHETIC5' \(did you mean 'synthetic05'\?\); expected"):
        only_speakers(new_corpus, ["synthetic06", "SYNTHETIC5"])


def test_choosing_a_speaker_leaves_corpora_that_only_train(new_corpus, voices_corpus):
    joined = join_corpora([new_corpus], also=[voices_corpus])
    chosen = only_speakers(joined, ["synthetic06"])
    assert [c for c in chosen.clips if c.corpus != "new"] == list(voices_corpus.clips)
    assert {c.speaker for c in chosen.clips if c.corpus == "new"} == {"synthetic06"}


# ---------------------------------------------------------------- the command


def test_the_command_tells_before_and_after(tiny_run, new_voices, voices_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("EMOGRAM_CACHE", str(tmp_path / "cache"))
    quick = ["--epochs", "1", "--batch-size", "8", "--train-frames", "64"]
    where = ["--from", str(tiny_run.run), "--out", str(tmp_path / "run"), "--workers", "1"]
    given = [str(new_voices), "--speaker", "synthetic06", "--keep", str(voices_folder / "manifest.csv")]
    assert run(["finetune", *given, *where, *quick]) == 0
    shown = capsys.readouterr()
    assert "On clips that were held out" in shown.out and "On what is to be kept" in shown.out
    assert "before, of these labels" in shown.out and "recall of happy (1 clips)" in shown.out
    assert "no longer known: calm, sad" in shown.err and "before_after.png" in shown.err
    assert (tmp_path / "run/plots/before_after.png").stat().st_size > 10_000
    assert run(["finetune", *given, *where, *quick]) == 2, "the folder holds results"
    assert run(["finetune", *given, *where, *quick, "--resume", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["change"]["after"]["metrics"]["n_clips"] == 3 and told["failed"] == []
    assert told["change"]["verdict"] in ("better", "worse", "cannot tell")


def test_the_comparison_is_of_what_is_stored(frozen, one_voice):
    clips = held_out(frozen, one_voice)
    labels = ("angry", "calm", "happy", "sad", "bored")
    before = read_run(frozen.run / "before", clips, labels)
    after = read_run(frozen.run, clips, open_bundle(frozen.run).info.labels)
    again = compare_before_after(dataclasses.replace(before), after)
    assert again.differences[0].value == pytest.approx(frozen.change.differences[0].value)

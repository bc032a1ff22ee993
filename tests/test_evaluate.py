"""A sealed model on a corpus: the same figures as its training, warnings where they flatter, refusals in words."""

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest
import soundfile
from PIL import Image

from emogram import metrics, voices
from emogram.adapt import adapt_voices
from emogram.bundle import open_bundle, seal
from emogram.config import SpectrogramConfig
from emogram.corpora import find_corpus
from emogram.errors import CorpusError, ModelError, SettingsError
from emogram.evaluate import evaluate
from emogram.judging import read_probabilities
from emogram.pictures import write_pictures
from emogram.testing import tiny_bundle

pytestmark = pytest.mark.usefixtures("without_plots")

LABELS = ("angry", "calm", "happy", "sad")


def judged(model, corpus, out, **arguments):
    return evaluate(model, corpus, out, workers=1, **arguments)


def test_the_test_part_gives_the_figures_of_the_training(tiny_run, voices_corpus, tmp_path):
    result = judged(tiny_run.run, voices_corpus, tmp_path, part="test")
    assert result.report.confusion == tiny_run.report.confusion
    assert result.report.protocol == tiny_run.report.protocol
    for name, value in tiny_run.report.metrics.items():
        assert result.report.metrics[name] == pytest.approx(value, abs=1e-6)
    for name, interval in tiny_run.report.intervals.items():
        assert result.report.intervals[name] == pytest.approx(interval, abs=1e-6)
    assert result.warnings == () and result.failed == ()
    assert (tmp_path / "predictions.csv").read_text() == (tiny_run.run / "predictions.csv").read_text()


def test_all_clips_are_judged_with_a_warning_of_the_voices_heard(tiny_run, voices_corpus, tmp_path):
    with pytest.raises(CorpusError, match=r"leak 'recording heard in training': 16 of 32 clips were trained on"):
        judged(tiny_run.run / "model", voices_corpus, tmp_path)
    assert not (tmp_path / "metrics.json").exists()
    result = judged(tiny_run.run / "model", voices_corpus, tmp_path, allow_leaks=True)
    assert result.report.metrics["n_clips"] == 32
    heard, trained_on, chose = result.warnings
    names = "synthetic-voices/synthetic01, synthetic-voices/synthetic02"
    says = f"16 of 32 clips are of speakers that this model was trained on ({names}), so the figure is inflated"
    assert f"leak 'speaker heard in training': {says}" in heard
    assert "leak 'recording heard in training': 16 of 32 clips were trained on" in trained_on
    assert "8 of 32 clips chose the epoch and the calibration of this model" in chose
    assert says in result.report.protocol
    assert "ALLOWED leak 'recording heard in training'" in result.report.protocol
    assert len(result.report.allowed_leaks) == 1
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["protocol"] == result.report.protocol
    assert written["allowed_leaks"] == list(result.report.allowed_leaks)
    assert set(written["per_group"]["speaker"]) == {f"synthetic0{i}" for i in (1, 2, 3, 4)}


def test_new_recordings_of_voices_heard_are_judged_with_a_warning(tiny_run, voices_corpus, tmp_path):
    sound = tmp_path / "new.wav"
    soundfile.write(sound, voices.speak("sad", speaker=voices.voices(4)[0], seed=99), 16000)
    clips = (dataclasses.replace(voices_corpus.clips[0], path=sound, label="sad"), *voices_corpus.clips[-8:])
    result = judged(tiny_run.run, dataclasses.replace(voices_corpus, clips=clips), tmp_path / "out")
    (warning,) = result.warnings
    assert "1 of 9 clips are of speakers that this model was trained on (synthetic-voices/synthetic01)" in warning
    assert result.report.allowed_leaks == ()


def test_a_model_that_does_not_list_its_clips_says_so(tiny_run, voices_corpus, tmp_path):
    shutil.copytree(tiny_run.run / "model", tmp_path / "model")
    (tmp_path / "model" / "training_clips.txt").unlink()
    seal(tmp_path / "model", open_bundle(tiny_run.run).info, "card")
    result = judged(tmp_path / "model", voices_corpus, tmp_path / "out", part="test")
    assert result.warnings == (
        "the model does not list its training clips, so that whether it knows these cannot be told",
    )


def test_the_validation_part_is_its_speakers(tiny_run, voices_corpus, tmp_path):
    result = judged(tiny_run.run, voices_corpus, tmp_path, part="validation")
    assert set(result.report.per_group["speaker"]) == {"synthetic03"}
    assert "validation clips" in result.report.protocol
    (warning,) = result.warnings
    assert "leak 'epoch chosen on the clips that judge': 8 of 8 clips chose the epoch" in warning


def test_shifts_and_adapting_stand_beside_the_figure(tiny_run, voices_corpus, tmp_path):
    plain = judged(tiny_run.run, voices_corpus, tmp_path / "plain", part="test").report
    report = judged(tiny_run.run, voices_corpus, tmp_path / "both", part="test", shifts=2, adapt=True).report
    assert (
        "averaged over 2 shifts in time; adapted to the voice: uses a statistic of the test speaker" in report.protocol
    )
    assert "shifts" not in plain.protocol and "adapted" not in plain.protocol
    assert report.metrics["nll"] != plain.metrics["nll"]


def test_adapting_is_what_the_stored_predictions_give(tiny_run, voices_corpus, tmp_path):
    """Two roads: by the model, and afterwards from the probabilities and what the bundle says."""
    report = judged(tiny_run.run, voices_corpus, tmp_path / "adapted", part="test", adapt=True).report
    clips = [clip for clip in voices_corpus.clips if clip.speaker == "synthetic04"]
    stored = read_probabilities(tiny_run.run, clips, LABELS)
    reference = open_bundle(tiny_run.run).info.mean_log_probabilities
    adapted = adapt_voices(stored, [str(clip.speaker) for clip in clips], reference)
    targets = [LABELS.index(clip.label) for clip in clips]
    assert report.metrics["nll"] == pytest.approx(metrics.nll(adapted, targets), abs=1e-4)


def test_unknown_voices_cannot_be_adapted_to(tiny_run, voices_corpus, tmp_path):
    clips = tuple(dataclasses.replace(clip, speaker=None) for clip in voices_corpus.clips)
    with pytest.raises(SettingsError, match="speakers of some clips are unknown, so answers cannot be adapted"):
        judged(tiny_run.run, dataclasses.replace(voices_corpus, clips=clips), tmp_path, adapt=True, allow_leaks=True)


def test_new_voices_need_no_warning_and_speakers_of_another_corpus_are_other_people(tiny_run, voices_corpus, tmp_path):
    clips = []
    for number, clip in enumerate(voices_corpus.clips):
        other = tmp_path / clip.path.name
        samples, rate = soundfile.read(clip.path)
        soundfile.write(other, 0.5 * samples[number:], rate)
        clips.append(dataclasses.replace(clip, path=other, corpus="elsewhere"))
    renamed = dataclasses.replace(voices_corpus, name="elsewhere", clips=tuple(clips))
    result = judged(tiny_run.run, renamed, tmp_path / "out")
    assert result.warnings == ()
    assert "all clips of elsewhere" in result.report.protocol and "heard in training" not in result.report.protocol


def test_warnings_of_the_corpus_are_passed_on(tiny_run, voices_corpus, tmp_path):
    corpus = dataclasses.replace(voices_corpus, clips=voices_corpus.clips[-8:], warnings=("3 files look odd",))
    assert "3 files look odd" in judged(tiny_run.run, corpus, tmp_path).warnings


def test_labels_unknown_to_the_model_and_bad_files_are_named_and_the_rest_judged(tiny_run, voices_corpus, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"")
    odd = [dataclasses.replace(clip, label="proud") for clip in voices_corpus.clips[:3]]
    bad = dataclasses.replace(voices_corpus.clips[3], path=tmp_path / "bad.wav")
    corpus = dataclasses.replace(voices_corpus, clips=(*odd, bad, *voices_corpus.clips[4:]), labels=(*LABELS, "proud"))
    result = judged(tiny_run.run, corpus, tmp_path / "out", allow_leaks=True)
    assert result.report.metrics["n_clips"] == 28
    reasons = {clip: reason for clip, reason in ((clip.path.name, reason) for clip, reason in result.failed)}
    assert len(result.failed) == 4
    assert sum("label 'proud' is not one of angry, calm, happy, sad" in reason for reason in reasons.values()) == 3
    assert "0 bytes" in reasons["bad.wav"]


def test_a_corpus_with_some_of_the_labels_is_judged_on_those(tiny_run, voices_corpus, tmp_path):
    corpus = dataclasses.replace(
        voices_corpus, clips=tuple(clip for clip in voices_corpus.clips if clip.label in ("happy", "sad"))
    )
    result = judged(tiny_run.run, corpus, tmp_path, allow_leaks=True)
    assert result.report.labels == LABELS
    assert np.asarray(result.report.confusion).sum(axis=1).tolist() == [0, 0, 8, 8]
    recalls = [result.report.per_class[label]["recall"] for label in ("happy", "sad")]
    assert result.report.metrics["uar"] == pytest.approx(np.mean(recalls))


def test_nothing_that_the_model_knows_is_refused(tiny_run, voices_corpus, tmp_path):
    clips = tuple(dataclasses.replace(clip, label="proud") for clip in voices_corpus.clips)
    with pytest.raises(CorpusError, match=r"none of its 32 clips can be used; the first: .*label 'proud'"):
        judged(tiny_run.run, dataclasses.replace(voices_corpus, clips=clips), tmp_path)


def test_an_unknown_part_is_refused(tiny_run, voices_corpus, tmp_path):
    with pytest.raises(SettingsError, match="part 'train'; expected one of all, test, validation"):
        judged(tiny_run.run, voices_corpus, tmp_path, part="train")


def test_the_test_part_of_other_speakers_is_refused(tiny_run, voices_corpus, tmp_path):
    heard = tuple(clip for clip in voices_corpus.clips if clip.speaker != "synthetic04")
    with pytest.raises(CorpusError, match="no clips of the model's test speakers synthetic04 in this corpus"):
        judged(tiny_run.run, dataclasses.replace(voices_corpus, clips=heard), tmp_path, part="test")


def test_a_model_of_a_random_split_has_no_test_part(tiny_run, voices_corpus, tmp_path):
    shutil.copytree(tiny_run.run / "model", tmp_path / "model")
    info = open_bundle(tiny_run.run).info
    everyone = [f"synthetic0{i}" for i in (1, 2, 3, 4)]
    split = {"train_speakers": everyone, "validation_speakers": everyone, "test_speakers": []}
    seal(tmp_path / "model", info.model_copy(update={"split": split}), "card")
    for part in ("test", "validation"):
        with pytest.raises(SettingsError, match=f"split set no {part} speakers aside; judge it on all clips of a new"):
            judged(tmp_path / "model", voices_corpus, tmp_path / "out", part=part)
    warnings = judged(tmp_path / "model", voices_corpus, tmp_path / "out", allow_leaks=True).warnings
    assert "32 of 32 clips are of speakers" in warnings[0]


# ---------------------------------------------------------------- kinds of corpora


@pytest.fixture(scope="module")
def drawn(voices_corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    write_pictures(voices_corpus, folder, SpectrogramConfig(kind="picture", picture_size=32), workers=1)
    return folder


def test_a_model_that_listens_refuses_pictures(tiny_run, drawn, tmp_path):
    with pytest.raises(
        ModelError, match="listens to sound, and the corpus is of pictures; give it the corpus of sound"
    ):
        judged(tiny_run.run, find_corpus(drawn), tmp_path)


def test_a_model_of_pictures_made_elsewhere_refuses_sound(voices_corpus, tmp_path):
    model = tiny_bundle(tmp_path / "model", labels=LABELS, spectrogram=None, picture_size=32)
    with pytest.raises(ModelError, match="trained on pictures made elsewhere and cannot turn sound into them"):
        judged(model, voices_corpus, tmp_path / "out")


def test_a_model_of_two_inputs_refuses_pictures(drawn, tmp_path):
    config = SpectrogramConfig(kind="picture", picture_size=32, utterance_features=True)
    model = tiny_bundle(tmp_path / "model", labels=LABELS, spectrogram=config)
    with pytest.raises(ModelError, match="listens to sound, and the corpus is of pictures"):
        judged(model, find_corpus(drawn), tmp_path / "out")


def test_a_model_of_pictures_judges_the_sound_and_its_pictures_alike(voices_corpus, drawn, tmp_path):
    model = tiny_bundle(
        tmp_path / "model", labels=LABELS, spectrogram=SpectrogramConfig(kind="picture", picture_size=32)
    )
    by_ear = judged(model, voices_corpus, tmp_path / "ear").report
    by_eye = judged(model, find_corpus(drawn), tmp_path / "eye").report
    assert by_ear.confusion == by_eye.confusion
    assert by_ear.metrics["nll"] == pytest.approx(by_eye.metrics["nll"], abs=1e-6)


def test_a_model_of_pictures_made_elsewhere_resizes_those_it_is_given(tmp_path):
    rng = np.random.default_rng(0)
    for label in ("happy", "sad"):
        (tmp_path / "corpus" / label).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 255, (90, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "corpus" / label / f"{i}.png")
    model = tiny_bundle(tmp_path / "model", labels=("happy", "sad"), spectrogram=None, picture_size=32)
    result = judged(model, find_corpus(tmp_path / "corpus"), tmp_path / "out")
    assert result.report.metrics["n_clips"] == 6
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    from emogram.classifier import Classifier

    for row in rows:
        assert Classifier.load(model).predict(row["file"]).label == row["predicted"]


def test_a_damaged_model_is_refused(tiny_run, voices_corpus, tmp_path):
    shutil.copytree(tiny_run.run / "model", tmp_path / "model")
    with (tmp_path / "model" / "model.onnx").open("r+b") as file:
        file.seek(100)
        file.write(b"X")
    with pytest.raises(ModelError, match=r"model\.onnx is not the file that was sealed"):
        judged(tmp_path / "model", voices_corpus, tmp_path / "out")
    assert not (tmp_path / "out").exists()

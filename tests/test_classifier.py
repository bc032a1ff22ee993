from __future__ import annotations

import contextlib
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from onnx import numpy_helper
from PIL import Image

import emogram
from emogram import features, spectrogram, voices
from emogram.adapt import adapt_voice
from emogram.audio import load_audio
from emogram.bundle import FAMILIAR_FILE, open_bundle, seal
from emogram.classifier import Classifier
from emogram.config import SpectrogramConfig
from emogram.errors import AudioError, ModelError, PictureError, SettingsError
from emogram.familiar import Familiar
from emogram.progress import Progress, Task
from emogram.records import Clip, Prediction
from emogram.speech import speech_share
from emogram.testing import LABELS, tiny_bundle

RATE = 16000


def noise(seconds: float, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.3, 0.3, round(seconds * RATE)).astype(np.float32)


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


def scores_of(prediction: Prediction) -> np.ndarray:
    return np.array(list(prediction.scores.values()))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def weights_of(folder: Path) -> np.ndarray:
    (weights,) = onnx.load(folder / "model.onnx").graph.initializer
    return numpy_helper.to_array(weights).astype(np.float64)


@contextlib.contextmanager
def changing(folder: Path):
    """Change the network of a bundle and seal it again, as a training gone wrong would."""
    info = open_bundle(folder).info
    model = onnx.load(folder / "model.onnx")
    yield model
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    seal(folder, info, "card")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def model(tiny) -> Classifier:
    return Classifier.load(tiny)


def test_scores_are_the_softmax_of_the_networks_weights_over_the_log_mel(tiny, model, tone):
    log_mel = spectrogram.model_input(tone, SpectrogramConfig())[:, :, 0].astype(np.float64)
    statistics = np.concatenate([log_mel.mean(axis=0), np.square(log_mel).mean(axis=0)])
    expected = softmax(statistics @ weights_of(tiny))
    prediction = model.predict(tone, sample_rate=RATE)
    assert tuple(prediction.scores) == LABELS == model.labels
    np.testing.assert_allclose(scores_of(prediction), expected, atol=1e-6)
    assert prediction.label == LABELS[int(expected.argmax())]
    assert prediction.confidence == prediction.scores[prediction.label] == max(prediction.scores.values())
    assert sum(prediction.scores.values()) == pytest.approx(1.0, abs=1e-12)


def test_different_sounds_get_different_answers_and_the_same_sound_the_same(model, tone):
    first = model.predict(tone, sample_rate=RATE)
    assert model.predict(noise(1.0), sample_rate=RATE) != first
    assert model.predict(tone, sample_rate=RATE) == first


def test_path_string_clip_and_samples_lead_to_one_answer(model, tone, tmp_path):
    path = write_wav(tmp_path / "tone.wav", tone)
    expected = model.predict(tone, sample_rate=RATE)
    assert model.predict(path) == expected
    assert model.predict(str(path)) == expected
    assert model.predict_clip(Clip(path, label="sad")) == expected
    assert model.predict((tone * 2**31).astype(np.int32), sample_rate=RATE).label == expected.label


def test_rate_of_a_file_is_its_own(model, tone, tmp_path):
    path = write_wav(tmp_path / "tone.wav", tone, rate=22050)
    assert model.predict(path, sample_rate=8000) == model.predict(tone, sample_rate=22050)
    assert model.predict(path) != model.predict(tone, sample_rate=RATE)


def test_channels_are_averaged(model):
    left, right = noise(1.0, seed=1), noise(1.0, seed=2)
    stereo = model.predict(np.stack([left, right], axis=1), sample_rate=RATE)
    np.testing.assert_allclose(
        scores_of(stereo), scores_of(model.predict((left + right) / 2, sample_rate=RATE)), atol=1e-6
    )


def test_clip_names_its_stretch_of_the_file(model, tone, tmp_path):
    path = write_wav(tmp_path / "long.wav", np.concatenate([noise(1.0), tone, noise(1.0, seed=5)]))
    assert model.predict_clip(Clip(path, start_s=1.0, end_s=2.0)) == model.predict(tone, sample_rate=RATE)


def test_batch_of_any_length_equals_clips_one_by_one(model):
    config = SpectrogramConfig()
    inputs = [features.model_inputs(noise(1.5, seed=seed), config)["spectrogram"] for seed in range(3)]
    batch = model.probabilities({"spectrogram": np.stack(inputs)})
    assert batch.shape == (3, 8)
    for values, one in zip(batch, inputs, strict=True):
        np.testing.assert_allclose(values, model.probabilities({"spectrogram": one[np.newaxis]})[0], atol=1e-6)
    assert model.probabilities({"spectrogram": np.empty((0, 96, 64, 1))}).shape == (0, 8)


def test_temperature_is_applied_to_the_logits(tiny, model, tmp_path, tone):
    softer = Classifier.load(tiny_bundle(tmp_path / "softer", temperature=2.5))
    logits = np.log(scores_of(model.predict(tone, sample_rate=RATE)))
    softened = softer.predict(tone, sample_rate=RATE)
    np.testing.assert_allclose(scores_of(softened), softmax(logits / 2.5), atol=1e-6)
    assert softened.confidence < model.predict(tone, sample_rate=RATE).confidence


def test_answers_below_the_threshold_are_abstentions(tmp_path):
    unsure = Classifier.load(tiny_bundle(tmp_path / "unsure", labels=("a", "b"), abstain_threshold=0.6))
    assert unsure.prediction_from([0.41, 0.59]) == Prediction("b", {"a": 0.41, "b": 0.59}, 0.59, abstained=True)
    assert unsure.prediction_from([0.6, 0.4]) == Prediction("a", {"a": 0.6, "b": 0.4}, 0.6, abstained=False)


def test_two_input_model_is_given_the_features(tmp_path, tone):
    config = SpectrogramConfig(utterance_features=True)
    folder = tiny_bundle(tmp_path / "two", spectrogram=config)
    inputs = features.model_inputs(tone, config)
    values = inputs["spectrogram"][:, :, 0].astype(np.float64)
    statistics = np.concatenate([values.mean(axis=0), np.square(values).mean(axis=0), inputs["features"]])
    prediction = Classifier.load(folder).predict(tone, sample_rate=RATE)
    np.testing.assert_allclose(scores_of(prediction), softmax(statistics @ weights_of(folder)), atol=1e-5)


def test_many_clips_come_back_in_order_with_their_own_answers(model, tmp_path):
    clips = [Clip(write_wav(tmp_path / f"{k}.wav", noise(0.3 + 0.1 * (k % 5), seed=k))) for k in range(20)]
    answers = list(model.predict_many(clips, workers=3))
    assert [clip for clip, _ in answers] == clips
    assert [answer for _, answer in answers] == [model.predict_clip(clip) for clip in clips]
    assert list(model.predict_many(clips, workers=1)) == answers
    assert list(model.predict_many([])) == []


class Counting(Progress):
    def __init__(self) -> None:
        self.announced: list[tuple[str, int]] = []
        self.done = 0

    @contextlib.contextmanager
    def task(self, what, total, *, unit="clips"):
        self.announced.append((what, total))
        counting = self

        class Counter(Task):
            def advance(self, steps=1, *, note=""):
                counting.done += steps

        yield Counter()


def test_bad_clip_yields_its_error_and_the_others_go_on(model, tone, tmp_path):
    good = Clip(write_wav(tmp_path / "good.wav", tone))
    (tmp_path / "text.wav").write_text("not sound")
    silent = Clip(write_wav(tmp_path / "silent.wav", np.zeros(RATE, np.float32)))
    short = Clip(write_wav(tmp_path / "short.wav", tone[:1600]))
    clips = [good, Clip(tmp_path / "text.wav"), silent, short, Clip(tmp_path / "none.wav"), good]
    progress = Counting()
    answers = [answer for _, answer in model.predict_many(clips, progress=progress, workers=2)]
    assert answers[0] == answers[-1] == model.predict(tone, sample_rate=RATE)
    assert [type(answer) for answer in answers[1:-1]] == [AudioError] * 4
    for answer, words in zip(answers[1:-1], ["not a readable", "silent", "0.10 s long", "no such file"], strict=True):
        assert words in str(answer)
    assert progress.announced == [("predicting", 6)]
    assert progress.done == 6


def test_giving_up_early_stops_the_work(model, tone, tmp_path):
    before = threading.active_count()
    clip = Clip(write_wav(tmp_path / "good.wav", tone))
    answers = model.predict_many([clip] * 1000, workers=2)
    assert next(answers)[0] == clip
    answers.close()
    assert threading.active_count() == before


def test_one_model_serves_many_threads(model):
    sounds = [noise(0.5 + 0.05 * k, seed=k) for k in range(16)]
    expected = [model.predict(sound, sample_rate=RATE) for sound in sounds]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda sound: model.predict(sound, sample_rate=RATE), sounds * 4))
    assert found == expected * 4


def test_number_of_threads_changes_nothing(tiny, model, tone):
    assert Classifier.load(tiny, threads=2).predict(tone, sample_rate=RATE) == model.predict(tone, sample_rate=RATE)
    with pytest.raises(SettingsError, match="threads is 0; expected a whole number of at least 1"):
        Classifier.load(tiny, threads=0)


def test_samples_without_a_rate_are_refused_with_the_way_to_say_it(model, tone):
    with pytest.raises(SettingsError, match=r"without sample_rate; say predict\(samples, sample_rate=16000\)"):
        model.predict(tone)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(RATE, np.float32), "silent"),
        (np.full(RATE, np.nan, np.float32), "not finite"),
        (np.zeros(0, np.float32), "no samples"),
        (noise(601.0), "601 s long; a clip may last 600 s"),
        (np.array(["a"] * RATE), "samples of type"),
        (np.zeros((2, RATE), np.float32), "transpose it"),
    ],
)
def test_samples_that_hold_no_speech_are_refused(model, samples, message):
    with pytest.raises(AudioError, match=message):
        model.predict(samples, sample_rate=RATE)


def picture_of(sound: np.ndarray, path: Path, config: SpectrogramConfig) -> Path:
    Image.fromarray(spectrogram.picture(sound, config)).save(path)
    return path


def test_picture_model_gives_sound_and_its_saved_picture_one_answer(tmp_path, tone):
    config = SpectrogramConfig(kind="picture", picture_size=32)
    model = Classifier.load(tiny_bundle(tmp_path / "model", spectrogram=config))
    path = picture_of(tone, tmp_path / "tone.PNG", config)
    assert model.predict(path) == model.predict(tone, sample_rate=RATE)


def test_model_of_foreign_pictures_resizes_pictures_and_refuses_sound(tmp_path, tone):
    model = Classifier.load(tiny_bundle(tmp_path / "model", spectrogram=None, picture_size=48))
    path = picture_of(tone, tmp_path / "tone.png", SpectrogramConfig(kind="picture", picture_size=64))
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB").resize((48, 48), Image.Resampling.BILINEAR))
    batch = spectrogram.from_picture(pixels)[np.newaxis]
    np.testing.assert_array_equal(scores_of(model.predict(path)), model.probabilities({"spectrogram": batch})[0])
    with pytest.raises(ModelError, match=r"samples: this model was trained on pictures made elsewhere"):
        model.predict(tone, sample_rate=RATE)
    with pytest.raises(ModelError, match=r"tone\.wav: this model was trained on pictures made elsewhere"):
        model.predict(write_wav(tmp_path / "tone.wav", tone))
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(PictureError, match=r"text\.png"):
        model.predict(tmp_path / "text.png")


def test_model_of_sound_refuses_a_picture(model, tmp_path, tone):
    path = picture_of(tone, tmp_path / "tone.png", SpectrogramConfig())
    with pytest.raises(ModelError, match=r"tone\.png: a picture, and this model listens to sound"):
        model.predict(path)


def test_inputs_that_do_not_fit_are_refused(model):
    with pytest.raises(ModelError, match="takes spectrogram; given sound"):
        model.probabilities({"sound": np.zeros((1, 96, 64, 1))})
    with pytest.raises(ModelError, match=r"failed on input of spectrogram \(1, 96, 80, 1\): .*Expected: 64"):
        model.probabilities({"spectrogram": np.zeros((1, 96, 80, 1))})


def test_labels_that_the_network_does_not_have_are_refused_at_load(tmp_path):
    folder = tiny_bundle(tmp_path / "model")
    info = open_bundle(folder).info
    seal(folder, info.model_copy(update={"labels": info.labels[:7]}), "card")
    with pytest.raises(ModelError, match=r"gives 2 output\(s\), the first of 8 values; expected one of 7"):
        Classifier.load(folder)


def test_network_of_other_inputs_is_refused_at_load(tmp_path):
    folder = tiny_bundle(tmp_path / "model")
    with changing(folder) as network:
        network.graph.input[0].name = "x"
        for node in network.graph.node:
            node.input[:] = ["x" if name == "spectrogram" else name for name in node.input]
    with pytest.raises(ModelError, match=r"takes \('x',\), and model\.json says \('spectrogram',\)"):
        Classifier.load(folder)


def test_network_gone_astray_is_refused_not_believed(tmp_path, tone):
    folder = tiny_bundle(tmp_path / "model")
    with changing(folder) as network:
        weights = numpy_helper.to_array(network.graph.initializer[0]).copy()
        weights[0, 0] = np.nan
        network.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "weights"))
    with pytest.raises(ModelError, match=r"values that are not finite"):
        Classifier.load(folder).predict(tone, sample_rate=RATE)


def test_logits_are_not_taken_for_probabilities(tmp_path, tone):
    folder = tiny_bundle(tmp_path / "model")
    with changing(folder) as network:
        network.graph.node[-1].op_type = "Identity"
        del network.graph.node[-1].attribute[:]
    with pytest.raises(ModelError, match=r"gives no probabilities; end the network with a softmax"):
        Classifier.load(folder).predict(tone, sample_rate=RATE)


def test_network_that_is_no_onnx_is_refused(tmp_path):
    folder = tiny_bundle(tmp_path / "model")
    info = open_bundle(folder).info
    (folder / "model.onnx").write_bytes(b"import os")
    seal(folder, info, "card")
    with pytest.raises(ModelError, match=r"model\.onnx cannot be loaded: .*protobuf"):
        Classifier.load(folder)


def test_embeddings_that_swell_are_refused(tmp_path):
    folder = tiny_bundle(tmp_path / "model")
    info = open_bundle(folder).info
    np.savez_compressed(folder / "familiar.npz", embeddings=np.zeros((2**20, 64), np.float16), threshold=1.0)
    assert (folder / "familiar.npz").stat().st_size < 200_000
    seal(folder, info, "card")
    with pytest.raises(ModelError, match=r"not the embeddings of training clips \(\d+ bytes, unpacked\)"):
        Classifier.load(folder)


def test_weights_outside_the_seal_are_never_read(tmp_path, monkeypatch):
    folder = tiny_bundle(tmp_path / "model")
    info = open_bundle(folder).info
    onnx.save(
        onnx.load(folder / "model.onnx"), folder / "model.onnx", save_as_external_data=True, location="outside.bin",
        size_threshold=0,
    )  # fmt: skip
    seal(folder, info, "card")
    monkeypatch.chdir(folder)  # where ONNX Runtime would look for them
    assert (folder / "outside.bin").stat().st_size == 4 * 128 * 8
    with pytest.raises(ModelError, match=r"model\.onnx cannot be loaded: .*[Ee]xternal"):
        Classifier.load(folder)


def test_tiny_bundle_is_the_same_each_time_and_another_for_another_seed(tiny, tmp_path):
    again = (tiny_bundle(tmp_path / "again") / "model.onnx").read_bytes()
    assert again == (tiny / "model.onnx").read_bytes()
    assert (tiny_bundle(tmp_path / "other", seed=1) / "model.onnx").read_bytes() != again


def test_lines_of_the_card_run_as_they_stand(tiny, tmp_path, tone, monkeypatch, capsys):
    code = re.search(r"```python\n(.*?)```", (tiny / "README.md").read_text(), re.DOTALL)[1]
    write_wav(tmp_path / "clip.wav", tone)
    monkeypatch.chdir(tmp_path)
    exec(code.replace("path/to/this/folder", str(tiny)), {})
    assert capsys.readouterr().out.strip() == emogram.load(tiny).predict(tone, sample_rate=RATE).label


@pytest.mark.corpora
def test_real_speech_is_read_and_scored(model, corpora_root):
    path = min((corpora_root / "ravdess").rglob("03-01-05-*.flac"))
    prediction = model.predict(path)
    waveform = load_audio(path, sample_rate=RATE)
    assert prediction == model.predict(waveform, sample_rate=RATE)
    assert sum(prediction.scores.values()) == pytest.approx(1.0)


# ---------------------------------------------------------------- shifts and voices


@pytest.mark.parametrize(("n_frames", "first_frames", "n_left"), [(40, (0, 2, 4, 6, 8), 32), (16, (0, 1, 2, 3, 4), 12)])
def test_shifts_average_the_answers_on_cuts_of_one_length(tmp_path, n_frames, first_frames, n_left):
    folder = tiny_bundle(tmp_path / "model", temperature=1.5)
    batch = np.random.default_rng(0).uniform(0, 1, (3, n_frames, 64, 1)).astype(np.float32)
    single = Classifier.load(tiny_bundle(tmp_path / "raw"))
    answers = [single.probabilities({"spectrogram": batch[:, first : first + n_left]}) for first in first_frames]
    logits = np.log(np.mean(answers, axis=0)) / 1.5
    shifted = Classifier.load(folder, shifts=5).probabilities({"spectrogram": batch})
    np.testing.assert_allclose(shifted, softmax(logits), atol=1e-6)


def test_shifts_that_cannot_be_are_refused(tmp_path):
    folder = tiny_bundle(tmp_path / "model")
    for shifts in (0, 10):
        with pytest.raises(SettingsError, match=f"shifts is {shifts}; expected a whole number from 1 to 9"):
            Classifier.load(folder, shifts=shifts)
    looking = tiny_bundle(tmp_path / "looking", spectrogram=SpectrogramConfig(kind="picture"))
    with pytest.raises(SettingsError, match="looks at whole pictures, which have no room for shifts"):
        Classifier.load(looking, shifts=2)


def test_adapting_keeps_order_and_errors_and_equals_the_arrays(tmp_path):
    folder = tiny_bundle(tmp_path / "model")
    reference = tuple(np.linspace(-1, 1, 8) - 0.0)
    seal(folder, open_bundle(folder).info.model_copy(update={"mean_log_probabilities": reference}), "card")
    model = Classifier.load(folder)
    clips = [Clip(write_wav(tmp_path / f"{n}.wav", noise(0.6, seed=n))) for n in range(4)]
    clips.insert(2, Clip(tmp_path / "none.wav"))
    plain = list(model.predict_many(clips))
    adapted = list(model.adapt(iter(plain), voice_of=lambda clip: "one" if clip.path.stem in "01" else "two"))
    assert [clip for clip, _ in adapted] == clips
    assert isinstance(adapted[2][1], AudioError)
    for some in ((0, 1), (3, 4)):
        expected = adapt_voice([scores_of(plain[i][1]) for i in some], reference)
        np.testing.assert_allclose([scores_of(adapted[i][1]) for i in some], expected, atol=1e-12)


def test_a_model_that_does_not_tell_its_mean_answer_cannot_be_adapted(tmp_path):
    model = Classifier.load(tiny_bundle(tmp_path / "model"))
    with pytest.raises(ModelError, match="does not say what it answers on average, so it cannot be adapted"):
        list(model.adapt([], voice_of=lambda clip: ""))


# ---------------------------------------------------------------- is it speech, and does the model know it


@pytest.fixture(scope="module")
def spoken() -> np.ndarray:
    return voices.speak("happy", speaker=voices.voices(2)[0], seed=1)


@pytest.fixture(scope="module")
def knowing(tmp_path_factory, spoken) -> Path:
    """A tiny model that knows one voice, and warns of all else."""
    folder = tiny_bundle(tmp_path_factory.mktemp("knowing") / "model")
    embeddings = Classifier.load(folder).embeddings(batch_of(spoken))
    (folder / FAMILIAR_FILE).write_bytes(Familiar(embeddings / np.linalg.norm(embeddings), 0.05).to_bytes())
    seal(folder, open_bundle(folder).info, "card")
    return folder


def batch_of(waveform: np.ndarray) -> dict[str, np.ndarray]:
    inputs = features.model_inputs(waveform, SpectrogramConfig())
    return {name: values[np.newaxis] for name, values in inputs.items()}


def test_an_embedding_is_what_the_weights_are_multiplied_with(tiny, model, tone):
    (embedding,) = model.embeddings(batch_of(tone))
    (expected,) = model.probabilities(batch_of(tone))
    np.testing.assert_allclose(softmax(embedding.astype(np.float64) @ weights_of(tiny)), expected, atol=1e-6)


def test_nobody_looks_unless_asked_to(knowing, tone):
    prediction = Classifier.load(knowing).predict(tone, sample_rate=RATE)
    assert (prediction.speech_share, prediction.warnings) == (None, ())


def test_a_check_warns_of_what_is_no_speech_and_of_what_is_unknown_and_changes_no_answer(knowing, tone, spoken):
    model = Classifier.load(knowing)
    known = model.predict(spoken, sample_rate=RATE, check=True)
    assert known.warnings == ()
    assert known.speech_share == speech_share(spoken, RATE)
    odd = model.predict(tone, sample_rate=RATE, check=True)
    assert odd.warnings[0] == "no speech found (in 0% of the clip)"
    assert odd.warnings[1].startswith("does not sound like the training data (distance ")
    assert odd.speech_share == 0.0
    assert odd.scores == model.predict(tone, sample_rate=RATE).scores


def test_a_model_without_embeddings_of_its_training_clips_warns_of_silence_only(model, tone):
    assert model.predict(tone, sample_rate=RATE, check=True).warnings == ("no speech found (in 0% of the clip)",)


def test_a_model_of_one_output_still_answers(tmp_path, model, tone):
    folder = tiny_bundle(tmp_path / "model")
    with changing(folder) as network:
        del network.graph.output[1]
    old = Classifier.load(folder)
    assert old.predict(tone, sample_rate=RATE, check=True) == model.predict(tone, sample_rate=RATE, check=True)
    with pytest.raises(ModelError, match="gives no embedding; train the model again"):
        old.embeddings(batch_of(tone))


def test_embeddings_of_training_clips_are_sealed(knowing, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(knowing, folder)
    (folder / FAMILIAR_FILE).write_bytes(Familiar(np.ones((1, 128), np.float32), 2.0).to_bytes())
    with pytest.raises(ModelError, match=r"familiar.npz is not the file that was sealed"):
        Classifier.load(folder)


def test_a_check_of_many_is_that_of_each(knowing, tone, spoken, tmp_path):
    paths = [write_wav(tmp_path / f"{n}.wav", sound) for n, sound in enumerate([tone, spoken] * 4)]
    model = Classifier.load(knowing)
    found = [prediction for _, prediction in model.predict_many([Clip(path) for path in paths], check=True, workers=4)]
    assert found == [model.predict(path, check=True) for path in paths]
    assert [len(prediction.warnings) for prediction in found] == [2, 0] * 4


def test_adapting_to_a_voice_keeps_what_a_check_found(tmp_path, tone):
    folder = tiny_bundle(tmp_path / "model")
    seal(folder, open_bundle(folder).info.model_copy(update={"mean_log_probabilities": (0.0,) * 8}), "card")
    model = Classifier.load(folder)
    checked = model.predict(tone, sample_rate=RATE, check=True)
    ((_, adapted),) = model.adapt([(Clip(tmp_path / "x.wav"), checked)], voice_of=lambda clip: "one")
    assert (adapted.warnings, adapted.speech_share) == (checked.warnings, checked.speech_share)
    assert adapted.warnings

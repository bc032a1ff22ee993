"""A waveform in an ONNX file becomes the same model input as in the package."""

import numpy as np
import onnx
import onnxruntime
import pytest

from emogram import voices
from emogram.bundle import ONNX_FILE
from emogram.calibration import soften
from emogram.classifier import Classifier
from emogram.config import SpectrogramConfig
from emogram.errors import ModelError
from emogram.features import model_inputs
from emogram.onnx_front_end import INPUT, calibrated, with_front_end
from emogram.testing import tiny_bundle

RATE = 16000
SETTINGS = [
    {},
    {"trim_db": 0.0},
    {"trim_db": 10.0},
    {"level": "absolute"},
    {"top_db": 80.0},
    {"band_normalization": "clip"},
    {"periodicity_bands": 48},
    {"periodicity_bands": 48, "band_normalization": "clip", "trim_db": 0.0},
    {"mel_scale": "htk", "f_min_hz": 300.0, "f_max_hz": 4000.0, "n_mels": 40},
    {"frame_multiple": 1, "min_frames": 1},
    {"min_frames": 400},
    {"n_fft": 513, "win_length": 401, "hop_length": 160},
    {"n_fft": 1024, "win_length": 1024, "hop_length": 100},
    {"sample_rate": 8000, "f_max_hz": 4000.0},
]


def spoken(rate=RATE):
    """Sentences with silence around them, which is what trimming is for, and noise of several lengths."""
    woman, man = voices.voices(2)
    for voice, emotion in ((woman, "angry"), (man, "sad"), (woman, "calm")):
        said = voices.speak(emotion, speaker=voice, seed=1, sample_rate=rate)
        yield np.pad(said, (rate // 3, rate // 2)) + np.float32(1e-4) * noise(len(said) + rate // 3 + rate // 2)
    for n_samples in (rate // 5, 12345, 12346, 2 * rate):
        yield 0.1 * noise(n_samples)


def noise(n_samples):
    return np.random.default_rng(n_samples).standard_normal(n_samples).astype(np.float32)


def waveform_session(model, config):
    """The file, with the model input that it makes as a second output."""
    content = with_front_end(calibrated(model.bundle.read(ONNX_FILE), model.info.temperature), config, name="model")
    graph = onnx.load_from_string(content)
    graph.graph.output.append(onnx.helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, None))
    return onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: ",".join(settings) or "default")
def test_the_model_input_and_the_answer_are_those_of_the_package(tmp_path, settings):
    config = SpectrogramConfig(**settings)
    model = Classifier.load(tiny_bundle(tmp_path, spectrogram=config, temperature=1.7))
    session = waveform_session(model, config)
    assert [(node.name, node.shape) for node in session.get_inputs()] == [("waveform", ["n_samples"])]
    for waveform in spoken(config.sample_rate):
        expected = model_inputs(waveform, config)["spectrogram"]
        answer, made = session.run(None, {"waveform": waveform})
        assert made.shape == (1, *expected.shape)
        # One step of half precision near 1, in which both are exact, where the last digit of single precision decides.
        np.testing.assert_allclose(made[0], expected, atol=0.0005)
        assert np.mean(made[0] != expected) < 0.02
        np.testing.assert_allclose(answer, model.probabilities({INPUT: expected[np.newaxis]})[0], atol=1e-4)
        assert answer.sum() == pytest.approx(1, abs=1e-6)


def test_silence_is_answered_and_not_with_nan(tmp_path):
    config = SpectrogramConfig()
    model = Classifier.load(tiny_bundle(tmp_path, spectrogram=config))
    answer, _ = waveform_session(model, config).run(None, {"waveform": np.zeros(RATE, np.float32)})
    assert np.isfinite(answer).all()


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_probabilities_are_softened_in_the_file(tmp_path, temperature):
    model = Classifier.load(tiny_bundle(tmp_path, temperature=temperature))
    content = calibrated(model.bundle.read(ONNX_FILE), temperature)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert [node.name for node in session.get_outputs()] == ["probabilities"]
    batch = np.random.default_rng(0).random((3, 48, 64, 1), dtype=np.float32)
    (rows,) = session.run(None, {INPUT: batch})
    np.testing.assert_allclose(rows, soften(model.raw_probabilities({INPUT: batch}), temperature), atol=1e-6)


def test_pictures_and_features_are_refused_in_words(tmp_path):
    for number, config in enumerate((SpectrogramConfig(kind="picture"), SpectrogramConfig(utterance_features=True))):
        model = Classifier.load(tiny_bundle(tmp_path / str(number), spectrogram=config))
        with pytest.raises(ModelError, match="has no operators for; export it with --to onnx"):
            with_front_end(model.bundle.read(ONNX_FILE), config, name="model")

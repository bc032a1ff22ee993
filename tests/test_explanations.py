from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

import emogram
from emogram import explanations
from emogram.bundle import ModelInfo, open_bundle, seal
from emogram.classifier import Classifier
from emogram.config import SpectrogramConfig
from emogram.errors import AudioError, ModelError, SettingsError
from emogram.explanations import check, explain, regions
from emogram.explanations.checks import deletion_curve, shuffled
from emogram.explanations.heard import hear
from emogram.explanations.occlusion import bands_of, log_odds
from emogram.testing import tiny_bundle
from emogram.writers import write_explanation

RATE = 16000
CONFIG = SpectrogramConfig(trim_db=0.0)
CORNER_S, CORNER_HZ = (0.9, 1.3), (2000.0, 3600.0)


def noise(seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def corner(config: SpectrogramConfig) -> tuple[slice, slice]:
    """Return the frames and bands of the corner that `corner_bundle` listens to."""
    from emogram.spectrogram import band_centres_hz

    per_s = config.sample_rate / config.hop_length
    centres = band_centres_hz(config)
    bands = np.flatnonzero((centres >= CORNER_HZ[0]) & (centres <= CORNER_HZ[1]))
    return slice(round(CORNER_S[0] * per_s), round(CORNER_S[1] * per_s)), slice(bands[0], bands[-1] + 1)


def corner_bundle(folder: Path, *, config: SpectrogramConfig = CONFIG, gain: float = 8.0) -> Path:
    """Write a model whose first label is the likelier the louder one corner of two seconds is, and nothing else."""
    from onnx import TensorProto, helper, numpy_helper

    info = ModelInfo(
        labels=("loud", "soft"), spectrogram=config, network={"name": "corner"}, input_shape=config.input_shape()
    )
    n_frames = 1 + 2 * RATE // config.hop_length
    n_frames += -n_frames % config.frame_multiple
    before = (n_frames - (1 + 2 * RATE // config.hop_length)) // 2
    weights = np.zeros((n_frames, config.n_mels, 1), np.float32)
    frames, bands = corner(config)
    weights[before + frames.start : before + frames.stop, bands] = 1.0
    weights /= weights.sum()
    nodes = [
        helper.make_node("Mul", ["spectrogram", "weights"], ["weighted"]),
        helper.make_node("Flatten", ["weighted"], ["flat"], axis=1),
        helper.make_node("ReduceSum", ["flat", "axes"], ["level"], keepdims=1),
        helper.make_node("MatMul", ["level", "answer"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "corner",
        [helper.make_tensor_value_info("spectrogram", TensorProto.FLOAT, ["n", "n_frames", config.n_mels, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([1]), "axes"),
            numpy_helper.from_array(np.float32([[gain, -gain]]), "answer"),
        ],
    )
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    seal(folder, info, "A model for tests.")
    return folder


def loud_corner(seed: int = 0) -> np.ndarray:
    """Noise of two seconds, loud where `corner_bundle` listens."""
    import scipy.signal

    wave = 0.01 * noise(seed=seed)
    band = scipy.signal.sosfilt(scipy.signal.butter(6, CORNER_HZ, "bandpass", fs=RATE, output="sos"), noise(seed=9))
    stretch = slice(round(CORNER_S[0] * RATE), round(CORNER_S[1] * RATE))
    wave[stretch] += band[stretch].astype(np.float32)
    return wave


def share_inside(map_: np.ndarray) -> float:
    """Return what of all that spoke for a label lies in the corner, or so near that a patch touches it."""
    frames, bands = corner(CONFIG)
    inside = map_[max(0, frames.start - 16) : frames.stop + 16, max(0, bands.start - 8) : bands.stop + 8]
    return float(np.maximum(inside, 0).sum() / np.maximum(map_, 0).sum())


def test_occlusion_finds_the_one_corner_that_a_model_listens_to(tmp_path):
    explanation = explain(corner_bundle(tmp_path / "model"), loud_corner(), sample_rate=RATE, top_k=2)
    assert (explanation.labels, explanation.method) == (("loud", "soft"), "occlusion")
    assert share_inside(explanation.maps[0]) > 0.99
    frames, bands = corner(CONFIG)
    peak = np.unravel_index(explanation.maps[0].argmax(), explanation.maps[0].shape)
    assert frames.start <= peak[0] < frames.stop
    assert bands.start <= peak[1] < bands.stop
    assert CORNER_S[0] < explanation.times_s[peak[0]] < CORNER_S[1]
    assert CORNER_HZ[0] < explanation.frequencies_hz[peak[1]] < CORNER_HZ[1]
    # What speaks for one of two labels speaks against the other, by the same log odds.
    np.testing.assert_allclose(explanation.maps[0], -explanation.maps[1], atol=1e-3)


def test_a_patch_is_worth_what_the_answer_loses_without_it(tmp_path):
    classifier = Classifier.load(corner_bundle(tmp_path / "model", gain=2.0))
    wave = loud_corner()
    # A patch that covers all leaves nothing but the mean, so its fall is that of the mean everywhere.
    explanation = explain(classifier, wave, sample_rate=RATE, top_k=1, patch_s=10.0, patch_hz=1e6)
    heard = hear(wave, CONFIG)
    blank = np.full_like(heard.scaled, heard.fill)
    ends = classifier.probabilities(heard.inputs(np.stack([heard.scaled, blank])))[:, 0]
    odds = np.log(ends / (1 - ends))
    middle = explanation.maps[0][len(heard.scaled) // 2, CONFIG.n_mels // 2]
    assert middle <= odds[0] - odds[1] + 1e-5
    assert explanation.maps[0].max() == pytest.approx(odds[0] - odds[1], rel=0.02)


def test_an_indifferent_model_gives_a_flat_map(tmp_path):
    explanation = explain(corner_bundle(tmp_path / "model", gain=0.0), loud_corner(), sample_rate=RATE)
    assert np.abs(explanation.maps).max() < 1e-6
    assert regions(explanation, 0) == []


def test_the_weightiest_region_is_the_corner(tmp_path):
    explanation = explain(corner_bundle(tmp_path / "model"), loud_corner(), sample_rate=RATE)
    (first, *_) = regions(explanation, 0)
    assert first.start_s == pytest.approx(CORNER_S[0], abs=0.15)
    assert first.end_s == pytest.approx(CORNER_S[1], abs=0.15)
    assert CORNER_HZ[0] - 400 < first.low_hz < first.high_hz < CORNER_HZ[1] + 800
    assert first.share > 0.5


def test_times_count_from_the_start_of_the_file_and_leave_out_silence(tmp_path):
    config = SpectrogramConfig()
    wave = np.concatenate([np.zeros(RATE), noise(1.0), np.zeros(RATE)]).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, RATE)
    folder = tiny_bundle(tmp_path / "model", spectrogram=config)
    whole = explain(folder, tmp_path / "a.wav")
    assert whole.times_s[0] == pytest.approx(1.0, abs=0.03)
    assert whole.times_s[-1] == pytest.approx(2.0, abs=0.03)
    later = explain(folder, tmp_path / "a.wav", start_s=0.5, end_s=2.5)
    assert later.times_s[0] == pytest.approx(1.0, abs=0.03)
    assert len(later.waveform) == 2 * RATE
    assert whole.maps.shape == (3, len(whole.times_s), config.n_mels)


def test_the_answer_is_that_of_predict(tmp_path):
    classifier = Classifier.load(tiny_bundle(tmp_path / "model"))
    said = classifier.predict(noise(), sample_rate=RATE)
    explanation = explain(classifier, noise(), sample_rate=RATE)
    assert explanation.prediction == said
    assert list(explanation.labels) == sorted(said.scores, key=lambda label: -said.scores[label])[:3]


@pytest.mark.parametrize(
    "config",
    [
        SpectrogramConfig(kind="picture", sample_rate=8000, f_max_hz=4000.0),
        SpectrogramConfig(utterance_features=True),
    ],
    ids=["picture", "features"],
)
def test_models_of_pictures_and_of_features_are_explained_in_time_and_frequency_too(tmp_path, config):
    explanation = explain(tiny_bundle(tmp_path / "model", spectrogram=config), noise(0.6), sample_rate=RATE, top_k=1)
    assert explanation.maps.shape == (1, len(explanation.times_s), config.n_mels)
    assert np.ptp(explanation.maps) > 0


def test_a_patch_is_as_high_in_mel_everywhere_and_in_hertz_at_one_kilohertz():
    config = SpectrogramConfig()
    from emogram.spectrogram import band_centres_hz

    near = np.sum(np.abs(band_centres_hz(config) - 1000) <= 200)
    assert abs(bands_of(400.0, config) - near) <= 1
    assert bands_of(0.001, config) == 1


def test_log_odds_keep_their_digits_where_a_model_is_sure():
    logits = np.array([[0.0, -20.0, -22.0], [0.0, -21.0, -22.0]])
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -np.log(np.exp(logits[:, 1]) + np.exp(logits[:, 2]))
    np.testing.assert_allclose(log_odds(probabilities)[:, 0], expected, rtol=1e-9)
    np.testing.assert_allclose(log_odds(np.array([[0.25, 0.75]])), [[-np.log(3), np.log(3)]])


# ------------------------------------------------------------------------------------------------- Grad-CAM


def keras_corner(folder: Path) -> Path:
    """Add to a `corner_bundle` a Keras network of the same meaning: a convolution, then a dense layer on the corner."""
    from emogram.backend import keras

    corner_bundle(folder)
    info = open_bundle(folder).info
    n_frames = 176
    spectrogram = keras.Input((n_frames, CONFIG.n_mels, 1), name="spectrogram")
    x = keras.layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones")(spectrogram)
    x = keras.layers.AveragePooling2D((4, 4))(x)
    answer = keras.layers.Dense(2, activation="softmax", name="probabilities")
    network = keras.Model(spectrogram, answer(keras.layers.Flatten()(x)))
    frames, bands = corner(CONFIG)
    before = (n_frames - (1 + 2 * RATE // CONFIG.hop_length)) // 2
    weights = np.zeros((n_frames // 4, CONFIG.n_mels // 4))
    weights[(before + frames.start) // 4 : (before + frames.stop) // 4, bands.start // 4 : bands.stop // 4] = 1.0
    answer.set_weights([np.stack([weights.ravel(), -weights.ravel()], axis=1), np.zeros(2)])
    network.save(folder / "best.keras")
    seal(folder, info, "A model for tests.")
    return folder


def test_grad_cam_finds_the_same_corner(tmp_path):
    folder = keras_corner(tmp_path / "model")
    by_gradient = explain(folder, loud_corner(), sample_rate=RATE, top_k=2)
    by_hiding = explain(folder, loud_corner(), sample_rate=RATE, top_k=2, method="occlusion")
    assert (by_gradient.method, by_hiding.method) == ("grad-cam", "occlusion")
    assert share_inside(by_gradient.maps[0]) > 0.99
    assert by_gradient.maps.shape == by_hiding.maps.shape
    assert np.corrcoef(by_gradient.maps[0].ravel(), by_hiding.maps[0].ravel())[0, 1] > 0.6
    np.testing.assert_allclose(by_gradient.maps[0], -by_gradient.maps[1], atol=1e-5)


def test_grad_cam_looks_past_random_kernels(tmp_path):
    """Of a network beside kernels it draws what it draws of the network alone."""
    from emogram.backend import keras
    from emogram.config import NetworkConfig
    from emogram.network import CLASSES, with_kernels

    folder = keras_corner(tmp_path / "model")
    info = open_bundle(folder).info
    alone = explain(folder, loud_corner(), sample_rate=RATE, top_k=2)
    network = keras.saving.load_model(folder / "best.keras")
    kernel, bias = network.get_layer(CLASSES).get_weights()
    joined = with_kernels(network, 0, NetworkConfig(kernel_bands=8, max_dilation=1))
    shares, _ = joined.get_layer(CLASSES).get_weights()
    shares[: len(kernel)] = kernel
    joined.get_layer(CLASSES).set_weights([shares, bias])
    joined.save(folder / "best.keras")
    seal(folder, info, "A model for tests.")
    beside = explain(folder, loud_corner(), sample_rate=RATE, top_k=2)
    np.testing.assert_allclose(beside.maps, alone.maps, atol=1e-6)


def test_grad_cam_turns_pictures_the_right_way_round(tmp_path):
    from emogram.explanations.gradcam import _to_frames

    config = SpectrogramConfig(kind="picture", sample_rate=8000, f_max_hz=4000.0)
    heard = hear(noise(1.0)[::2].copy(), config)
    high_and_late = np.zeros((8, 8), np.float32)
    high_and_late[0, 7] = 1.0  # of a picture: the top row, the last column
    for turned in (False, True):
        map_ = _to_frames(high_and_late.T if turned else high_and_late, heard, turned=turned)
        frame, band = np.unravel_index(map_.argmax(), map_.shape)
        assert frame > 0.85 * len(heard.scaled)
        assert band > 0.85 * config.n_mels


@pytest.mark.slow
def test_both_roads_agree_on_a_trained_network(tiny_run, voices_corpus):
    clip = voices_corpus.clips[0].path
    maps = {method: explain(tiny_run.run, clip, method=method, top_k=1).maps[0] for method in ("grad-cam", "occlusion")}
    assert np.corrcoef(maps["grad-cam"].ravel(), maps["occlusion"].ravel())[0, 1] > 0.1


# ---------------------------------------------------------------------------------------------------- checks


def test_deletion_falls_at_once_where_the_map_is_right_and_not_before_the_end_where_it_is_wrong(tmp_path):
    classifier = Classifier.load(corner_bundle(tmp_path / "model"))
    heard = hear(loud_corner(), CONFIG)
    frames, bands = corner(CONFIG)
    truth = np.zeros_like(heard.scaled)
    truth[frames, bands] = 1.0
    right, wrong = (deletion_curve(classifier, heard, 0, order) for order in (truth, -truth))
    assert right[0] == wrong[0] == pytest.approx(classifier.probabilities(heard.inputs(heard.scaled[None]))[0, 0])
    assert right[-1] == pytest.approx(wrong[-1])
    area = truth.mean()
    assert abs(right[int(np.ceil(20 * area))] - right[-1]) < 1e-3
    assert wrong[int(20 * (1 - area)) - 1] == pytest.approx(wrong[0], abs=1e-3)


def test_what_a_right_map_marks_costs_more_than_anything_else_and_a_wrong_map_fails(tmp_path):
    classifier = Classifier.load(corner_bundle(tmp_path / "model"))
    explanation = explain(classifier, loud_corner(), sample_rate=RATE, top_k=1)
    right = check(classifier, explanation)
    assert right.area < min(right.random_areas)
    # Shuffled, this model listens to all places alike, so its map is that of loudness, which the corner has too.
    assert len(right.correlations) == 3
    assert max(right.correlations) < 0.7
    wrong = check(classifier, replace(explanation, maps=-explanation.maps))
    assert wrong.area > np.mean(wrong.random_areas)
    assert not wrong.passed
    assert json.loads(json.dumps(wrong.to_dict()))["passed"] is False


def test_a_map_that_does_not_depend_on_what_was_learnt_fails(tmp_path, monkeypatch):
    classifier = Classifier.load(corner_bundle(tmp_path / "model"))
    explanation = explain(classifier, loud_corner(), sample_rate=RATE, top_k=1)
    monkeypatch.setattr("emogram.explanations.checks.maps_of", lambda *_, **__: explanation.maps)
    result = check(classifier, explanation)
    assert result.correlations == pytest.approx([1.0] * 3)
    assert not result.passed


def test_shuffled_models_hold_the_same_numbers_in_other_places(tmp_path):
    import onnx

    bundle = open_bundle(tiny_bundle(tmp_path / "model"))
    other = shuffled(bundle, tmp_path / "other", seed=1)
    ours, theirs = (
        onnx.numpy_helper.to_array(onnx.load_from_string(each.read("model.onnx")).graph.initializer[0])
        for each in (bundle, other)
    )
    assert not np.array_equal(ours, theirs)
    np.testing.assert_array_equal(np.sort(ours.ravel()), np.sort(theirs.ravel()))
    again = shuffled(bundle, tmp_path / "again", seed=1)
    assert again.hashes["model.onnx"] == other.hashes["model.onnx"]


def test_without_onnx_only_the_shuffling_is_left_out(tmp_path, monkeypatch):
    classifier = Classifier.load(corner_bundle(tmp_path / "model"))
    explanation = explain(classifier, loud_corner(), sample_rate=RATE, top_k=1)
    monkeypatch.setattr("emogram.explanations.checks.importlib.util.find_spec", lambda name: None)
    result = check(classifier, explanation)
    assert result.correlations == ()
    assert result.passed


@pytest.mark.corpora
def test_the_shipped_model_passes_on_real_speech(corpora_root):
    path = corpora_root / "ravdess" / "03-01-05-02-01-01-03.flac"
    classifier = Classifier.load()
    explanation = explain(classifier, path, top_k=1)
    result = check(classifier, explanation)
    assert result.passed
    assert result.area < 0.7 * np.mean(result.random_areas)


# --------------------------------------------------------------------------------------------- arrays, refusals


def test_arrays_come_back_as_they_were(tmp_path):
    explanation = explain(tiny_bundle(tmp_path / "model"), noise(0.5), sample_rate=RATE)
    write_explanation(tmp_path / "out.npz", explanation)
    with np.load(tmp_path / "out.npz") as read:
        np.testing.assert_array_equal(read["maps"], explanation.maps)
        np.testing.assert_array_equal(read["times_s"], explanation.times_s)
        np.testing.assert_array_equal(read["frequencies_hz"], explanation.frequencies_hz)
        assert tuple(read["labels"]) == explanation.labels
        assert str(read["method"]) == "occlusion"


def test_what_cannot_be_explained_is_refused(tmp_path):
    folder = tiny_bundle(tmp_path / "model")
    soundfile.write(tmp_path / "a.wav", noise(1.0), RATE)
    for arguments, message in (
        ({"method": "magic"}, "unknown method 'magic'; expected one of auto, grad-cam, occlusion"),
        ({"start_s": -1.0}, "start is -1 s"),
        ({"start_s": float("nan")}, "start is nan s"),
        ({"end_s": 61.0}, "may last 60 s"),
        ({"start_s": 0.5, "end_s": 0.5}, "must end after it starts"),
        ({"top_k": 0}, "top_k is 0"),
        ({"patch_s": 0.0}, "patch_s is 0"),
        ({"patch_hz": 0.0}, "patch_hz is 0"),
    ):
        with pytest.raises(SettingsError, match=message):
            explain(folder, tmp_path / "a.wav", **arguments)
    with pytest.raises(SettingsError, match="without sample_rate"):
        explain(folder, noise())
    with pytest.raises(AudioError, match="lies outside the file"):
        explain(folder, tmp_path / "a.wav", start_s=2.0)
    with pytest.raises(ModelError, match=r"holds no best\.keras"):
        explain(folder, tmp_path / "a.wav", method="grad-cam")
    with pytest.raises(ModelError, match="pictures made elsewhere"):
        explain(tiny_bundle(tmp_path / "pictures", spectrogram=None), tmp_path / "a.wav")


def test_a_model_without_convolutions_is_refused_for_grad_cam(tmp_path):
    from emogram.backend import keras

    folder = corner_bundle(tmp_path / "model")
    spectrogram = keras.Input((176, CONFIG.n_mels, 1), name="spectrogram")
    answer = keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(spectrogram))
    keras.Model(spectrogram, answer).save(folder / "best.keras")
    seal(folder, open_bundle(folder).info, "")
    with pytest.raises(ModelError, match="no convolution to look into; say --method occlusion"):
        explain(folder, loud_corner(), sample_rate=RATE)


def test_the_package_offers_it():
    assert emogram.explain is explanations.explain

"""What is exported answers as the model did, says what it is, and is refused where it does not."""

import importlib.util
import json
import shutil
import sys
import zipfile

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile

from emogram import cli, deploy, voices
from emogram.audio import load_audio
from emogram.bundle import open_bundle, seal
from emogram.classifier import Classifier
from emogram.errors import MissingExtraError, ModelError, SettingsError
from emogram.litert import Interpreter
from emogram.spectrogram import model_input
from emogram.testing import tiny_bundle


def properties(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).get_modelmeta().custom_metadata_map


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    voice = voices.voices(1)[0]
    paths = [folder / f"{number}.wav" for number in range(6)]
    for number, path in enumerate(paths):
        soundfile.write(path, voices.speak("happy", speaker=voice, seed=number), 16000)
    return paths


@pytest.mark.parametrize("target", ["onnx", "onnx-waveform", "onnx-int8"])
def test_a_trained_model_answers_the_same_from_its_file(tiny_run, tmp_path, clips, target):
    done = deploy.deploy(tiny_run.run, target, tmp_path / "model.onnx", clips=clips)
    model = Classifier.load(tiny_run.run)
    assert done.parity.n_clips + done.parity.n_calibration == len(clips)
    assert done.parity.n_calibration == (3 if target == "onnx-int8" else 0)
    assert 0 < done.parity.mean_difference <= done.parity.max_difference < (0.05 if target == "onnx-int8" else 1e-4)
    session = onnxruntime.InferenceSession(done.file, providers=["CPUExecutionProvider"])
    waveform = load_audio(clips[0], sample_rate=16000)
    expected = list(model.predict(waveform, sample_rate=16000).scores.values())
    given = (
        {"waveform": waveform}
        if target == "onnx-waveform"
        else {"spectrogram": model_input(waveform, model.info.spectrogram)[np.newaxis]}
    )
    (answer,) = session.run(["probabilities"], given)
    np.testing.assert_allclose(answer.ravel(), expected, atol=done.parity.max_difference + 1e-7)


def test_int8_is_smaller_and_keeps_the_network_in_int8(tiny_run, tmp_path, clips):
    whole = deploy.deploy(tiny_run.run, "onnx", tmp_path / "whole.onnx", clips=clips)
    small = deploy.deploy(tiny_run.run, "onnx-int8", tmp_path / "small.onnx", clips=clips)
    assert small.n_bytes < 0.7 * whole.n_bytes
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(small.file).graph.node}


def test_the_file_says_what_it_is(tiny_run, tmp_path, clips):
    done = deploy.deploy(tiny_run.run, "onnx-waveform", tmp_path / "model.onnx", clips=clips)
    said, info = properties(done.file), Classifier.load(tiny_run.run).info
    assert json.loads(said["emogram.labels"]) == list(info.labels)
    assert json.loads(said["emogram.spectrogram"]) == info.spectrogram.model_dump(mode="json")
    assert float(said["emogram.temperature"]) == info.temperature
    assert said["emogram.model_sha256"] == Classifier.load(tiny_run.run).sha256
    assert [corpus["corpus"] for corpus in json.loads(said["emogram.trained_on"])] == [voices.CORPUS_NAME]
    report = json.loads(done.report.read_text())
    assert done.report.name == "model.onnx.json"
    assert report["metadata"] == said
    assert report["parity"]["max_difference"] == done.parity.max_difference
    assert report["file"] == "model.onnx"


def test_the_shipped_model_is_exported_with_its_front_end(tmp_path):
    done = deploy.deploy("shipped", "onnx-waveform", tmp_path / "model.onnx")
    assert done.parity.clips == "synthetic voices"
    assert done.metadata["emogram.licence"] == "CC-BY-NC-SA-4.0"
    assert done.parity.n_clips == 64
    assert done.parity.max_difference < 0.02  # its network is in int8
    assert done.parity.same_label == 1.0


def test_real_speech_is_answered_the_same(corpora_root, tiny_run, tmp_path):
    clips = sorted((corpora_root / "ravdess").rglob("*.flac"))[::60]
    done = deploy.deploy(tiny_run.run, "onnx-waveform", tmp_path / "model.onnx", clips=clips)
    assert done.parity.n_clips >= 20
    assert done.parity.max_difference < 1e-4


# ---------------------------------------------------------------- refusals


def test_a_file_that_answers_otherwise_is_refused_and_not_written(tiny_run, tmp_path, clips, monkeypatch):
    monkeypatch.setattr(deploy, "calibrated", lambda content, temperature, *_, **__: real(content, 2.0 * temperature))
    from emogram.onnx_front_end import calibrated as real

    with pytest.raises(ModelError, match=r"as onnx it differs by 0\.\d+ in an answer, more than 0\.001"):
        deploy.deploy(tiny_run.run, "onnx", tmp_path / "model.onnx", clips=clips)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_stays(tmp_path, clips):
    (tmp_path / "model.onnx").write_text("the old one")
    model = tiny_bundle(tmp_path / "model")
    with pytest.raises(SettingsError, match="is there already"):
        deploy.deploy(model, "onnx", tmp_path / "model.onnx", clips=clips)
    assert (tmp_path / "model.onnx").read_text() == "the old one"
    deploy.deploy(model, "onnx", tmp_path / "model.onnx", clips=clips, overwrite=True)
    assert properties(tmp_path / "model.onnx")["emogram.target"] == "onnx"


def test_what_is_in_int8_already_is_not_quantised_again(tiny_run, tmp_path, clips):
    small = deploy.deploy(tiny_run.run, "onnx-int8", tmp_path / "small.onnx", clips=clips)
    folder = tmp_path / "model"
    folder.mkdir()
    shutil.copy(small.file, folder / "model.onnx")
    seal(folder, open_bundle(tiny_run.run).info, "# A model in int8\n")
    with pytest.raises(ModelError, match="computes in int8 already"):
        deploy.deploy(folder, "onnx-int8", tmp_path / "model.onnx", clips=clips)


def test_int8_wants_two_clips_and_a_form_must_be_known(tiny_run, tmp_path, clips):
    with pytest.raises(SettingsError, match="give two clips or more"):
        deploy.deploy(tiny_run.run, "onnx-int8", tmp_path / "model.onnx", clips=clips[:1])
    with pytest.raises(SettingsError, match="tflite: no such form; choose one of onnx, onnx-waveform"):
        deploy.deploy(tiny_run.run, "tflite", tmp_path / "model.onnx", clips=clips)


def test_pictures_made_elsewhere_take_no_sound(tmp_path):
    model = tiny_bundle(tmp_path / "model", spectrogram=None)
    assert deploy.deploy(model, "onnx", tmp_path / "model.onnx").parity.max_difference < 1e-5
    with pytest.raises(ModelError, match="cannot turn sound into them"):
        deploy.deploy(model, "onnx-waveform", tmp_path / "sound.onnx")


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    model = tiny_bundle(tmp_path / "model")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name in ("onnx", "tensorflow") else find(name, *rest)
    )
    with pytest.raises(MissingExtraError, match=r"pip install .*\[export\]'"):
        deploy.deploy(model, "onnx", tmp_path / "model.onnx")
    with pytest.raises(MissingExtraError, match=r"pip install .*\[litert\]'"):
        deploy.deploy(model, "litert", tmp_path / "model.tflite")


# ---------------------------------------------------------------- LiteRT


@pytest.fixture
def _litert():
    if missing := [name for name in ("tensorflow", "ai_edge_litert") if importlib.util.find_spec(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)} (extra litert, in an environment of its own)")


@pytest.mark.usefixtures("_litert")
@pytest.mark.filterwarnings("ignore")
def test_litert_answers_the_same_at_any_length(tiny_run, tmp_path, clips):
    done = deploy.deploy(tiny_run.run, "litert", tmp_path / "model.tflite", clips=clips)
    assert 0 < done.parity.max_difference < 1e-4
    model = Classifier.load(tiny_run.run)
    run = Interpreter(done.file.read_bytes())
    for n_frames in (32, 160, 96):
        batch = {"spectrogram": np.random.default_rng(0).random((1, n_frames, 64, 1), dtype=np.float32)}
        np.testing.assert_allclose(run(batch), model.probabilities(batch), atol=1e-5)
    with zipfile.ZipFile(done.file) as files:
        assert files.read("labels.txt").decode().split() == list(model.labels)
        assert json.loads(files.read("emogram.json")) == done.metadata


@pytest.mark.usefixtures("_litert")
def test_litert_needs_the_network_that_was_trained(tmp_path, clips):
    with pytest.raises(ModelError, match=r"holds no best\.keras"):
        deploy.deploy("shipped", "litert", tmp_path / "model.tflite", clips=clips)


# ---------------------------------------------------------------- the command


def test_the_command_writes_and_tells(tmp_path, clips, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = tiny_bundle(tmp_path / "model")
    assert cli.run(["export", str(model), str(clips[0].parent), "--json"]) == 0
    told = capsys.readouterr()
    said = json.loads(told.out)
    assert said["target"] == "onnx-waveform"
    assert said["parity"]["n_clips"] == 6
    assert said["file"] == "emogram-tiny-nothing-waveform.onnx"
    assert (tmp_path / said["file"]).stat().st_size == said["n_bytes"]
    assert "written" in told.err
    assert cli.run(["export", str(model), "--to", "onnx"]) == 0
    assert "greatest difference of a probability" in capsys.readouterr().out
    assert cli.run(["export", str(model), "--to", "onnx"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert "onnx" in sys.modules

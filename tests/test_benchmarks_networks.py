"""The benchmarks of networks: shapes of the peers, the native twins, what is extrapolated and what grows."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import cost_growth, cross_validation, one_clip, training_step  # noqa: E402
from benchmarks.paired import Took  # noqa: E402

from emogram.backend import keras  # noqa: E402
from emogram.errors import EmogramError, SettingsError  # noqa: E402

if keras.backend.backend() != "torch":
    pytest.skip("compares with PyTorch itself", allow_module_level=True)

from benchmarks.speech_models import SHAPES, Shape, n_parameters, write_onnx  # noqa: E402


@pytest.mark.parametrize(("name", "millions"), [("wav2vec2-base", 94.37), ("HuBERT-large", 315.4)])
def test_speech_models_have_as_many_parameters_as_those_they_stand_for(name, millions):
    """As published: 95 M and 317 M with what only pretraining needs (wav2vec 2.0, table 1; HuBERT, table 1)."""
    assert n_parameters(SHAPES[name]) / 1e6 == pytest.approx(millions, rel=2e-3)


@pytest.mark.parametrize("large", [False, True])
def test_a_speech_model_answers_the_same_in_onnx(large, tmp_path):
    import torch

    network = write_onnx(Shape(32, 64, 2, 2, large=large, n_channels=16), 5, tmp_path / "model.onnx", n_samples=8000)
    clips = one_clip.normalised(np.random.default_rng(0).normal(3, 2, (3, 8000)).astype(np.float32))
    np.testing.assert_allclose(clips.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(clips.std(axis=1), 1, atol=1e-4)
    with torch.no_grad():
        wanted = network(torch.from_numpy(clips)).numpy()
    told = one_clip.session(str(tmp_path / "model.onnx")).run(None, {"waveforms": clips})[0]
    assert told.shape == (3, 5)
    np.testing.assert_allclose(told, wanted, atol=1e-5)
    np.testing.assert_allclose(told.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", training_step.NETWORKS)
def test_native_networks_compute_what_keras_computes_and_a_difference_is_seen(name, monkeypatch):
    dataset = training_step.made_up(name, 4, tiny=True)
    config = training_step.settings(dataset, name, 4)
    (batch,) = training_step.batches_of(dataset, config)
    assert training_step.agreement(name, config, batch).startswith("probabilities and losses of all ways in float32")
    native = training_step.native_network

    def spoilt(*arguments, **changes):
        network = native(*arguments, **changes)
        next(network.parameters()).data.mul_(1.1)
        return network

    monkeypatch.setattr(training_step, "native_network", spoilt)
    with pytest.raises(EmogramError, match="the sides compute different things"):
        training_step.agreement(name, config, batch)


def test_pictures_of_the_origin_are_changed_as_its_recipe_says(tmp_path):
    from PIL import Image

    Image.fromarray(np.full((128, 128, 3), 128, np.uint8)).save(tmp_path / "grey.png")
    seen = [training_step.changed_picture(tmp_path / "grey.png") for _ in range(20)]
    for picture in seen:
        assert picture.shape == (128, 128, 3) and picture.dtype == np.float32
        hidden = picture[..., 0] == 0
        assert hidden.all(axis=1).sum() <= 16 and hidden.all(axis=0).sum() <= 16
        assert 0.4 <= picture.max() <= 0.61
    assert len({float(picture.max()) for picture in seen}) > 10


def test_a_way_is_told_by_the_time_of_one_answer():
    calls = []
    took = one_clip.each(lambda clips: calls.append(len(clips)), np.zeros((2, 3), np.float32), 4, times=8.0)()
    assert calls == [2, 2, 2, 2]
    assert isinstance(took, Took) and took.wall_s < 8.0 and took.output > 0.0


def test_repeated_clips_are_all_different_recordings_of_their_own_labels():
    dataset = cost_growth.repeated(500, n_labels=3)
    assert len(dataset) == 500 and len({sample.content for sample in dataset.samples}) == 500
    assert all(
        clip.label == dataset.labels[target] for clip, target in zip(dataset.clips, dataset.targets, strict=True)
    )
    assert len({id(sample.spectrogram) for sample in dataset.samples}) == cost_growth.N_DIFFERENT


def test_batches_do_not_depend_on_what_was_drawn_before():
    from emogram.batches import TrainingBatches
    from emogram.config import AugmentConfig, TrainConfig

    dataset = replace(cost_growth.repeated(70, n_labels=4))
    made = [TrainingBatches(dataset, np.arange(70), train=TrainConfig(), augmentation=AugmentConfig()) for _ in "ab"]
    for epoch in (0, 1):
        for step in (2, 0, 1):
            made[0][step]
        for step in range(3):
            np.testing.assert_array_equal(made[0][step][0], made[1][step][0])
        for one in made:
            one.on_epoch_end()
        assert made[0].epoch == epoch + 1


def test_the_accuracy_that_is_told_is_that_of_the_answers_kept():
    assert cross_validation.ours_accuracy() == "65.6 % UAR, mean of 3 seeds"  # as README.md has it
    with pytest.raises(SettingsError, match="name the folder of RAVDESS"):
        import argparse

        cross_validation.run(argparse.Namespace(full=True, corpus=None))

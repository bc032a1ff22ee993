"""Training anew on the clips that chose, too: what it learns from, what it keeps, and what it refuses."""

import dataclasses

import numpy as np
import pytest

from emogram import train as training
from emogram.backend import keras
from emogram.bundle import open_bundle
from emogram.callbacks import KeepBest, network_probabilities
from emogram.classifier import Classifier
from emogram.config import RunConfig, read_toml
from emogram.dataset import load_dataset
from emogram.errors import SettingsError
from emogram.jobs import is_trained
from emogram.judging import clip_probabilities
from emogram.progress import Progress
from emogram.splits import make_split
from emogram.train import fit, train

EPOCHS = 2
TRAIN = {"epochs": EPOCHS, "refit": True}


@pytest.fixture(scope="module")
def refitted(voices_corpus, settings_of, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("emogram.plots.save_all", lambda *_, **__: [])
        return train(voices_corpus, settings_of(train=TRAIN), tmp_path_factory.mktemp("refit") / "run", workers=1)


@pytest.fixture(scope="module")
def chosen(voices_corpus, settings_of, tmp_path_factory):
    """The same training without it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("emogram.plots.save_all", lambda *_, **__: [])
        config = settings_of(train={**TRAIN, "refit": False})
        return train(voices_corpus, config, tmp_path_factory.mktemp("chosen") / "run", workers=1)


def test_the_bundle_says_that_the_clips_that_chose_train_too(refitted, voices_dataset):
    bundle = open_bundle(refitted.run)
    heard = [clip.speaker in ("synthetic01", "synthetic02", "synthetic03") for clip in voices_dataset.clips]
    indices = np.flatnonzero(heard)
    assert bundle.known_clips() == {"train": {voices_dataset.samples[i].content[:12] for i in indices}}
    (corpus,) = bundle.info.trained_on
    assert (corpus.n_clips, corpus.n_speakers) == (24, 3)
    assert corpus.content_hash == voices_dataset.content_hash(indices)
    assert f"then trained anew for {EPOCHS} epochs on the training and validation parts" in bundle.info.protocol
    assert bundle.info.protocol in refitted.report.protocol


def test_the_calibration_is_that_of_the_network_that_was_chosen(refitted, chosen):
    anew, before = open_bundle(refitted.run).info, open_bundle(chosen.run).info
    kept = ("temperature", "abstain_threshold", "answered_error", "unsure_share", "mean_log_probabilities")
    assert {name: getattr(anew, name) for name in kept} == {name: getattr(before, name) for name in kept}
    assert anew.temperature != 1.0
    assert (refitted.run / "history.csv").read_text() == (chosen.run / "history.csv").read_text()


def test_the_network_is_the_last_epoch_of_a_training_on_both_parts(
    refitted, chosen, voices_dataset, settings_of, tmp_path, monkeypatch
):
    """Two roads: a plain training on those clips, whose every epoch is called the best so far."""
    config = settings_of(
        train={"epochs": EPOCHS}, split={"validation_speakers": ["synthetic04"], "test_speakers": ["synthetic03"]}
    )
    split = make_split(voices_dataset, config.split)
    train_part = np.flatnonzero([clip.speaker != "synthetic04" for clip in voices_dataset.clips])
    better = iter([0.4, 0.7])

    def better_and_better(_, dataset, indices):
        right = next(better)
        rows = np.full((len(indices), 4), (1 - right) / 3)
        rows[range(len(indices)), dataset.targets[indices]] = right
        return rows

    monkeypatch.setattr("emogram.callbacks.network_probabilities", better_and_better)
    fit(voices_dataset, dataclasses.replace(split, train=train_part), config, tmp_path)
    monkeypatch.undo()
    networks = [
        keras.saving.load_model(folder / "model" / "best.keras", compile=False)
        for folder in (refitted.run, tmp_path, chosen.run)
    ]
    everything = np.arange(len(voices_dataset))
    anew, plain, before = (network_probabilities(network, voices_dataset, everything) for network in networks)
    np.testing.assert_array_equal(anew, plain)
    assert np.abs(anew - before).max() > 1e-3
    shipped = Classifier.load(refitted.run)
    said = clip_probabilities(shipped, voices_dataset, everything)
    assert (said.argmax(axis=1) == anew.argmax(axis=1)).all(), "the ONNX file is of the same network"


def test_it_is_done_once(refitted, voices_corpus, settings_of):
    config = settings_of(train=TRAIN)
    dataset = load_dataset(voices_corpus, config.spectrogram, workers=1)
    split = make_split(dataset, config.split)
    assert RunConfig.from_dict(read_toml(refitted.run / "config.toml")) == config
    assert is_trained(refitted.run, voices_corpus, dataset, split, config, start=None)
    other = settings_of(train={**TRAIN, "refit": False})
    assert not is_trained(refitted.run, voices_corpus, dataset, split, other, start=None)
    assert sorted(path.name for path in (refitted.run / "refit").iterdir()) == ["history.csv", "tensorboard"]


class InterruptAnew(Progress):
    """Ctrl-C at the end of an epoch of the second training."""

    def __init__(self, epoch):
        self.epoch, self.anew = epoch, False

    def say(self, line):
        self.anew |= line.startswith("training anew")
        if self.anew and line.startswith(f"epoch {self.epoch:>3}/"):
            raise KeyboardInterrupt


@pytest.mark.usefixtures("without_plots")
def test_ctrl_c_leaves_the_network_that_was_chosen(voices_corpus, settings_of, chosen, tmp_path):
    run = tmp_path / "run"
    result = train(voices_corpus, settings_of(train=TRAIN), run, workers=1, progress=InterruptAnew(1))
    assert result.interrupted
    assert (run / "predictions.csv").read_text() == (chosen.run / "predictions.csv").read_text()
    assert open_bundle(run).info.trained_on == open_bundle(chosen.run).info.trained_on
    assert RunConfig.from_dict(read_toml(run / "config.toml")) == settings_of(train={**TRAIN, "refit": False})
    assert not (run / "refit").exists()


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"split": {"judge_on": "validation"}}, "trains on the validation part too, which is also to judge"),
        ({"train": {**TRAIN, "schedule": "plateau"}}, "no validation part to lower the learning rate"),
        ({"train": {**TRAIN, "early_stop_patience": 2}}, "no validation part to lower the learning rate or to stop by"),
    ],
)
def test_what_needs_a_validation_part_is_refused_before_training(voices_corpus, settings_of, tmp_path, sections, says):
    with pytest.raises(SettingsError, match=says):
        train(voices_corpus, settings_of(**{"train": TRAIN, **sections}), tmp_path / "run", workers=1)
    assert not (tmp_path / "run").exists()


def test_without_a_monitor_the_last_epoch_with_a_finite_loss_is_kept(tmp_path):
    class Saved:
        def save(self, path):
            path.write_text(str(epoch))

    keep = KeepBest(Saved(), tmp_path / "best.keras", monitor=None)
    for epoch, loss in enumerate([2.0, 1.0, 1.5, float("nan")]):
        logs = {"loss": loss}
        keep.on_epoch_end(epoch, logs)
        assert logs == {"loss": loss} or np.isnan(loss)
    assert ((tmp_path / "best.keras").read_text(), keep.best_epoch) == ("2", 2)


def test_nothing_else_of_a_training_changes(chosen):
    assert not (chosen.run / training.REFIT_FOLDER).exists()

"""From a corpus to a run folder, and every setting of a training with its effect."""

import contextlib
import csv
import dataclasses
import errno
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from emogram import callbacks, metrics
from emogram import train as training
from emogram.backend import keras
from emogram.batches import TrainingBatches
from emogram.bundle import open_bundle
from emogram.calibration import choose_threshold, fit_temperature, soften
from emogram.callbacks import EmphasizeHard, network_probabilities
from emogram.classifier import Classifier
from emogram.config import RunConfig, SpectrogramConfig, TrainConfig, read_toml
from emogram.corpora import find_corpus
from emogram.errors import EmogramError, ModelError, OutputError, SettingsError
from emogram.familiar import Familiar
from emogram.judging import clip_embeddings
from emogram.network import InputShapes
from emogram.pictures import write_pictures
from emogram.progress import Progress, Task
from emogram.splits import make_split
from emogram.train import fit, schedule_callbacks, train
from emogram.writers import read_history

LABELS = ("angry", "calm", "happy", "sad")
NO_CHANGE = {
    "contrast": 0, "time_masks": 0, "frequency_masks": 0, "time_stretch": 0, "frequency_warp": 0,
    "frequency_shift": 0, "band_gain": 0,
}  # fmt: skip


@pytest.fixture
def fitted(voices_dataset, settings_of, tmp_path):
    """Train on the voices without judging: settings -> history."""

    def run(out="run", *, dataset=voices_dataset, progress=None, **sections):
        config = settings_of(**sections)
        split = make_split(dataset, config.split)
        history, _ = fit(dataset, split, config, tmp_path / out, progress=progress or Progress())
        return history

    return run


@pytest.fixture
def never_better(monkeypatch):
    """Whatever is learnt, the network is judged to say the same."""
    monkeypatch.setattr(callbacks, "network_probabilities", lambda _, __, indices: np.full((len(indices), 4), 0.25))


class Interrupt(Progress, Task):
    """Ctrl-C at the end of an epoch, or at a step."""

    def __init__(self, *, epoch=None, step=None):
        self.epoch, self.steps_left, self.lines = epoch, step, []

    def say(self, line):
        self.lines.append(line)
        if self.epoch is not None and line.startswith(f"epoch {self.epoch:>3}/"):
            raise KeyboardInterrupt

    def task(self, what, total, *, unit="clips"):
        self.what = what
        return super().task(what, total, unit=unit) if what != "training" else self._own()

    @contextlib.contextmanager
    def _own(self):
        yield self

    def advance(self, steps=1, *, note=""):
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left == 0:
                raise KeyboardInterrupt


# ---------------------------------------------------------------- the run folder


def test_a_run_holds_the_files_of_the_design(tiny_run):
    found = {str(path.relative_to(tiny_run.run)) for path in tiny_run.run.rglob("*") if path.is_file()}
    events = {name for name in found if name.startswith("tensorboard/events.out.tfevents.")}
    assert len(events) == 1
    assert found - events == {
        "model/best.keras", "model/model.onnx", "model/model.json", "model/README.md", "model/SHA256SUMS",
        "model/training_clips.txt", "model/familiar.npz",
        "plots/confusion_matrix.png", "plots/per_class_accuracy.png", "plots/train_val_accuracy.png",
        "plots/loss.png", "plots/reliability.png", "plots/risk_coverage.png", "plots/per_speaker.png",
        "plots/per_gender.png", "plots/examples.png",
        "metrics.json", "groups.csv", "predictions.csv", "history.csv", "config.toml", "environment.json",
    }  # fmt: skip
    assert {str(path.relative_to(tiny_run.run)) for path in tiny_run.plots} == {
        name for name in found if name.startswith("plots/")} - {"plots/examples.png"}  # fmt: skip
    assert all((tiny_run.run / name).stat().st_size > 50 for name in events | found)


def test_the_settings_of_a_run_make_the_same_run_again(tiny_run, settings_of):
    assert RunConfig.from_dict(read_toml(tiny_run.run / "config.toml")) == settings_of()


def test_the_environment_names_versions_and_back_end(tiny_run):
    environment = json.loads((tiny_run.run / "environment.json").read_text())
    assert environment["keras_backend"] == "torch"
    assert environment["packages"]["numpy"] == np.__version__
    assert environment["packages"]["keras"] == keras.__version__


def test_the_bundle_says_what_it_was_trained_on(tiny_run, voices_dataset):
    info = open_bundle(tiny_run.run).info
    assert info.labels == LABELS
    assert info.spectrogram == SpectrogramConfig() and info.input_shape == (None, 64, 1)
    assert info.network["name"] == "emonet" and info.network["width"] == 0.25
    (corpus,) = info.trained_on
    assert (corpus.corpus, corpus.n_clips, corpus.n_speakers) == ("synthetic-voices", 16, 2)
    trained = np.flatnonzero([clip.speaker in ("synthetic01", "synthetic02") for clip in voices_dataset.clips])
    assert corpus.content_hash == voices_dataset.content_hash(trained)
    assert info.split["train_speakers"] == ["synthetic01", "synthetic02"]
    assert info.split["test_speakers"] == ["synthetic04"] and info.split["n_test"] == 8
    assert "test synthetic04, never heard" in info.protocol
    assert tiny_run.report.protocol == f"{info.protocol}; 95 % intervals resample 1 speaker"
    assert dict(info.metrics) == dict(tiny_run.report.metrics)
    assert (tiny_run.judged_on, tiny_run.interrupted, tiny_run.failed) == ("test", False, ())


def test_the_bundle_lists_the_recordings_that_trained_and_chose(tiny_run, voices_dataset):
    known = open_bundle(tiny_run.run).known_clips()
    for part, speakers in (("train", ("synthetic01", "synthetic02")), ("validation", ("synthetic03",))):
        own = [clip.speaker in speakers for clip in voices_dataset.clips]
        assert known[part] == {voices_dataset.samples[i].content[:12] for i in np.flatnonzero(own)}
    assert set(known) == {"train", "validation"}


def test_the_scaler_sees_the_clips_that_train_and_no_others(settings_of, make_dataset, tmp_path, monkeypatch):
    dataset = make_dataset([i % 4 for i in range(32)], speakers=[f"v{i // 8}" for i in range(32)], n_features=3)
    config = settings_of(train={"epochs": 1}, split={"validation_speakers": ["v2"], "test_speakers": ["v3"]})
    seen = []

    class SeenError(Exception):
        pass

    def spy(network, features):
        seen.append(features)
        raise SeenError

    monkeypatch.setattr(training, "adapt_features", spy)
    monkeypatch.setattr(training, "input_shapes", lambda config: InputShapes(config.input_shape(), 3))
    monkeypatch.setattr(
        training, "build_network", lambda *_, **__: keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    )
    monkeypatch.setattr(training, "faster", lambda network: network)
    split = make_split(dataset, config.split)
    with pytest.raises(SeenError):
        training.fit(dataset, split, config, tmp_path)
    assert {row.tobytes() for row in seen[0]} == {dataset.samples[i].features.tobytes() for i in range(16)}


def predictions(run):
    with (run / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def scores_of(rows, labels=LABELS):
    return np.asarray([[float(row[label]) for label in labels] for row in rows])


def test_prediction_from_the_file_is_what_the_training_wrote(tiny_run, voices_corpus):
    """Two roads: the dataset's inputs in batches, and each clip alone from its sound."""
    model = Classifier.load(tiny_run.run)
    rows = predictions(tiny_run.run)
    tested = [clip for clip in voices_corpus.clips if clip.speaker == "synthetic04"]
    assert [row["file"] for row in rows] == [str(clip.path) for clip in tested]
    for row, clip in zip(rows, tested, strict=True):
        predicted = model.predict(clip.path)
        assert (row["predicted"], row["label"]) == (predicted.label, clip.label)
        assert row["abstained"] == str(predicted.abstained).lower()
        np.testing.assert_allclose([float(row[label]) for label in LABELS], [*predicted.scores.values()], atol=2e-6)
        samples, rate = soundfile.read(clip.path)
        assert model.predict(samples, sample_rate=rate).label == predicted.label


def test_the_metrics_are_those_of_the_predictions(tiny_run, voices_corpus):
    written = json.loads((tiny_run.run / "metrics.json").read_text())
    rows = predictions(tiny_run.run)
    scores = scores_of(rows)
    targets = np.asarray([LABELS.index(row["label"]) for row in rows])
    clips = [clip for clip in voices_corpus.clips if clip.speaker == "synthetic04"]
    again = metrics.judge(targets, scores / scores.sum(axis=1, keepdims=True), LABELS, clips, protocol="")
    assert written["confusion"] == [list(row) for row in again.confusion]
    for name, value in again.metrics.items():
        assert written["metrics"][name] == pytest.approx(value, abs=1e-5)
    assert written["metrics"]["accuracy"] == np.mean([row["label"] == row["predicted"] for row in rows])
    assert written["metrics"]["n_clips"] == 8


def test_the_history_has_every_epoch_and_the_recall_of_each_class(tiny_run):
    history = read_history(tiny_run.run / "history.csv")
    assert history["epoch"] == [1, 2, 3]
    wanted = {"loss", "accuracy", "learning_rate", "val_loss", "val_accuracy", "val_uar", "best"}
    assert wanted | {f"val_recall_{label}" for label in LABELS} | {"epoch"} == history.keys()
    recalls = np.asarray([history[f"val_recall_{label}"] for label in LABELS])
    np.testing.assert_allclose(recalls.mean(axis=0), history["val_uar"], atol=1e-5)
    best_so_far = np.minimum.accumulate(history["val_loss"])
    np.testing.assert_array_equal(history["best"], np.r_[True, np.diff(best_so_far) < 0])


def test_the_model_kept_is_that_of_the_best_epoch(tiny_run, voices_dataset):
    best = keras.saving.load_model(tiny_run.run / "model" / "best.keras", compile=False)
    indices = np.flatnonzero([clip.speaker == "synthetic03" for clip in voices_dataset.clips])
    probabilities = network_probabilities(best, voices_dataset, indices)
    history = read_history(tiny_run.run / "history.csv")
    found = metrics.nll(probabilities, voices_dataset.targets[indices])
    assert found == pytest.approx(min(history["val_loss"]), rel=1e-4)


def test_calibration_is_learnt_on_the_validation_part_alone(tiny_run, voices_dataset):
    best = keras.saving.load_model(tiny_run.run / "model" / "best.keras", compile=False)
    indices = np.flatnonzero([clip.speaker == "synthetic03" for clip in voices_dataset.clips])
    raw, targets = network_probabilities(best, voices_dataset, indices), voices_dataset.targets[indices]
    info = open_bundle(tiny_run.run).info
    fitted = fit_temperature(raw, targets, speakers=["synthetic03"] * len(indices))
    assert info.temperature == pytest.approx(fitted, rel=1e-2)
    found = choose_threshold(soften(raw, info.temperature), targets, target_error=0.25)
    assert info.abstain_threshold == pytest.approx(found.threshold, abs=1e-3)
    assert (info.target_error, info.answered_error, info.unsure_share) == (0.25, found.error, found.unsure_share)


@pytest.mark.parametrize(("chosen", "found"), [({}, "torch"), ({"KERAS_BACKEND": "jax"}, "jax")])
def test_training_from_python_needs_no_word_to_keras(tmp_path, chosen, found):
    """Keras' own default, TensorFlow, is not installed with the extra `train`. A stand-in for Keras tells."""
    (tmp_path / "keras.py").write_text("import os; chosen = os.environ['KERAS_BACKEND']")
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    command = [sys.executable, "-c", "from emogram.backend import keras; print(keras.chosen)"]
    run = subprocess.run(
        command, capture_output=True, text=True, env={**environment, "PYTHONPATH": str(tmp_path), **chosen}, check=False
    )
    assert (run.returncode, run.stdout.strip()) == (0, found), run.stderr


# ---------------------------------------------------------------- one seed, the same numbers


def test_one_seed_gives_the_same_numbers_twice_and_another_seed_others(fitted, tmp_path):
    first, again, other = (
        fitted(out, train={"seed": seed, "epochs": 2}) for out, seed in zip("abc", (3, 3, 4), strict=True)
    )
    assert first == again
    assert first["loss"] != other["loss"] and first["val_loss"] != other["val_loss"]
    one, two, three = (
        keras.saving.load_model(tmp_path / out / "model" / "best.keras", compile=False).get_weights() for out in "abc"
    )
    for weight, same in zip(one, two, strict=True):
        np.testing.assert_array_equal(weight, same)
    assert any((weight != changed).any() for weight, changed in zip(one, three, strict=True))


# ---------------------------------------------------------------- every setting has its effect


def first_loss(fitted, out, **sections):
    """The loss of one epoch of one batch, before anything was learnt."""
    sections.setdefault("augment", NO_CHANGE)
    sections["train"] = {"epochs": 1, "batch_size": 64, "learning_rate": 1e-12, "precision": "float32",
                         "train_frames": 0, "label_smoothing": 0, **sections.get("train", {})}  # fmt: skip
    return fitted(out, **sections)["loss"][0]


def test_l2_adds_its_penalty_to_the_loss(fitted, tmp_path):
    plain, held = (
        first_loss(fitted, f"{l2}", network={"l2": l2, "dropout": 0, "block_dropout": 0}) for l2 in (0, 0.01)
    )
    network = keras.saving.load_model(tmp_path / "0.01" / "model" / "best.keras", compile=False)
    penalty = sum(float(keras.ops.convert_to_numpy(loss)) for loss in network.losses)
    assert penalty > 1
    assert held - plain == pytest.approx(penalty, rel=1e-3)


def test_label_smoothing_by_hand(fitted, monkeypatch):
    """Of 0.2 over four labels each gets 0.05: -(0.85 ln 0.7 + 3 x 0.05 ln 0.1) = 0.6486."""
    compiled = []

    class StopError(Exception):
        pass

    def spy(self, **arguments):
        compiled.append(arguments)
        raise StopError

    monkeypatch.setattr(keras.Model, "compile", spy)
    for smoothing in (0.0, 0.2):
        with pytest.raises(StopError):
            fitted(train={"label_smoothing": smoothing})
    plain, smooth = (
        float(arguments["loss"](np.asarray([[1.0, 0, 0, 0]]), np.asarray([[0.7, 0.1, 0.1, 0.1]])))
        for arguments in compiled
    )
    assert plain == pytest.approx(-math.log(0.7), abs=1e-5)
    assert smooth == pytest.approx(-(0.85 * math.log(0.7) + 0.15 * math.log(0.1)), abs=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"train": {"label_smoothing": 0.3}}, {"network": {"dropout": 0.7}}, {"network": {"block_dropout": 0.5}},
        {"augment": {**NO_CHANGE, "brightness": 0.5}}, {"augment": {**NO_CHANGE, "time_masks": 3}},
        {"augment": {**NO_CHANGE, "mixup_alpha": 1.0, "mix_probability": 1.0}},
        {"augment": {**NO_CHANGE, "cutmix_alpha": 1.0, "mix_probability": 1.0}},
        {"augment": {**NO_CHANGE, "brightness": 0.5, "hard_classes": ["happy"], "hard_class_strength": 3.0}},
    ],
    ids=lambda change: " ".join(f"{name}" for section in change.values() for name in [*section][-1:]),
)  # fmt: skip
def test_a_setting_changes_the_very_first_loss(fitted, change):
    plain = {"augment": {**NO_CHANGE, "brightness": 0.5}} if "hard_classes" in str(change) else {}
    assert first_loss(fitted, "changed", **change) != first_loss(fitted, "plain", **plain)


def test_class_weights_weigh_the_loss_of_an_unbalanced_corpus(fitted, voices_dataset):
    kept = [i for i, clip in enumerate(voices_dataset.clips) if clip.label != "angry" or "01.wav" in clip.path.name]
    unbalanced = dataclasses.replace(
        voices_dataset,
        clips=tuple(voices_dataset.clips[i] for i in kept),
        targets=voices_dataset.targets[kept],
        samples=tuple(voices_dataset.samples[i] for i in kept),
    )
    weighed, plain = (
        first_loss(fitted, f"{on}", dataset=unbalanced, train={"class_weights": on}) for on in (True, False)
    )
    assert weighed != plain


def test_the_learning_rate_falls_when_the_validation_loss_stagnates(fitted, never_better):
    settings = {"schedule": "plateau", "plateau_factor": 0.5, "plateau_patience": 2, "epochs": 7, "optimizer": "adam",
                "learning_rate": 0.004}  # fmt: skip
    history = fitted(train=settings)
    # The first epoch is the best; two more pass in vain before each fall, which shows in the epoch after it.
    np.testing.assert_allclose(history["learning_rate"], [0.004, 0.004, 0.004, 0.002, 0.002, 0.001, 0.001])
    assert history["best"] == [1, 0, 0, 0, 0, 0, 0]


def test_a_constant_rate_stays(fitted, never_better):
    history = fitted(train={"schedule": "constant", "epochs": 4, "learning_rate": 0.004})
    np.testing.assert_allclose(history["learning_rate"], 0.004)


def test_the_history_of_the_rate_is_that_of_the_schedule(tiny_run):
    """Three epochs of two steps, one epoch of warm-up: after 2, 4 and 6 steps."""
    expected = [5e-3, 5e-3 * (0.01 + 0.99 * 0.5), 5e-5]
    np.testing.assert_allclose(read_history(tiny_run.run / "history.csv")["learning_rate"], expected, rtol=1e-4)


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy", "val_uar"])
def test_training_stops_early_when_nothing_gets_better(fitted, never_better, monitor):
    history = fitted(train={"epochs": 9, "early_stop_patience": 2, "monitor": monitor})
    assert history["epoch"] == [1, 2, 3]


def test_early_stopping_looks_the_right_way():
    """A rising accuracy and a falling loss are better."""
    for monitor, values in (("val_uar", [0.1, 0.2, 0.3, 0.3, 0.3]), ("val_loss", [3.0, 2.0, 1.0, 1.0, 1.0])):
        (stop,) = schedule_callbacks(TrainConfig(schedule="constant", early_stop_patience=2, monitor=monitor))
        model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
        model.stop_training = False
        stop.set_model(model)
        stop.on_train_begin()
        stopped = []
        for epoch, value in enumerate(values):
            stop.on_epoch_end(epoch, {monitor: value})
            stopped.append(model.stop_training)
        assert stopped == [False, False, False, False, True]


def test_hard_classes_are_named_or_found(voices_dataset, settings_of):
    def prepared(*names):
        config = settings_of(augment={"hard_classes": names, "hard_class_strength": 2.5})
        batches = TrainingBatches(voices_dataset, np.arange(8), train=config.train, augmentation=config.augment)
        return batches, training.hard_class_callbacks(batches, LABELS, config)

    batches, found = prepared("sad", "happy", "surprised")
    assert found == [] and batches.strength_of_label.tolist() == [1, 1, 2.5, 2.5]
    batches, found = prepared("auto")
    assert [type(callback) for callback in found] == [EmphasizeHard]
    found[0].on_epoch_end(0, {f"val_recall_{label}": value for label, value in zip(LABELS, (1, 1, 0, 1), strict=True)})
    assert batches.strength_of_label.tolist() == [1, 1, 2.5, 1]
    batches, found = prepared()
    assert found == [] and batches.strength_of_label.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(("precision", "computes"), [("float32", "float32"), ("bfloat16", "bfloat16")])
def test_layers_compute_as_asked_and_the_policy_is_given_back(precision, computes):
    with pytest.raises(RuntimeError), training.computing_in(precision):
        assert keras.layers.Dense(1).compute_dtype == computes
        raise RuntimeError
    assert keras.layers.Dense(1).compute_dtype == "float32"
    with training.computing_in("auto"):
        assert keras.layers.Dense(1).compute_dtype == training.fast_precision()


@pytest.mark.parametrize(
    ("processor", "faster"),
    [
        ("vendor_id : AuthenticAMD\nflags : fpu avx512f avx512_bf16 avx512_vnni", "bfloat16"),
        ("vendor_id : AuthenticAMD\nflags : fpu avx2", "float32"),
        ("vendor_id : GenuineIntel\nflags : fpu avx512f avx512_bf16 amx_bf16 amx_tile", "bfloat16"),
        ("vendor_id : GenuineIntel\nflags : fpu avx512f avx512_bf16 avx512_fp16", "float32"),
        ("", "float32"),
    ],
)
def test_half_precision_is_chosen_only_where_it_is_faster(processor, faster):
    assert training.faster_of(processor) == faster


def test_an_average_of_the_weights_is_another_model(fitted):
    plain = fitted("plain", train={"epochs": 2})
    averaged = fitted("averaged", train={"epochs": 2, "weight_average": 0.9})
    assert averaged["loss"] == plain["loss"], "what is trained is the same"
    assert averaged["val_loss"] != plain["val_loss"], "what is judged is not"


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.usefixtures("without_plots")
def test_ctrl_c_after_an_epoch_leaves_a_sealed_and_judged_model(voices_corpus, settings_of, tmp_path):
    progress = Interrupt(epoch=2)
    config = settings_of(train={"epochs": 9})
    result = train(voices_corpus, config, tmp_path / "run", workers=1, progress=progress)
    assert result.interrupted
    assert "stopped by Ctrl-C; the best model so far is being sealed and judged" in progress.lines
    assert read_history(tmp_path / "run" / "history.csv")["epoch"] == [1, 2]
    info = open_bundle(tmp_path / "run").info
    assert dict(info.metrics) == dict(result.report.metrics) and info.metrics["n_clips"] == 8
    assert len(predictions(tmp_path / "run")) == 8


def test_ctrl_c_before_there_is_a_model_is_an_interrupt(fitted, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fitted(progress=Interrupt(step=1))
    assert not list((tmp_path / "run").rglob("*.keras"))


def test_a_disk_that_fills_up_at_the_second_save_leaves_the_first_model_whole(fitted, monkeypatch, tmp_path):
    save = keras.Model.save
    saved = []

    def fills_up(self, path, **arguments):
        if saved:
            path.write_bytes(b"half of a network")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, path, **arguments)
        saved.append(path)

    monkeypatch.setattr(keras.Model, "save", fills_up)
    values = iter([0.4, 0.7, 0.9])  # each better than the one before

    def better_and_better(_, dataset, indices):
        right = next(values)
        rows = np.full((len(indices), 4), (1 - right) / 3)
        rows[range(len(indices)), dataset.targets[indices]] = right
        return rows

    monkeypatch.setattr(callbacks, "network_probabilities", better_and_better)
    with pytest.raises(OutputError, match=r"best\.keras: the disk is full; free some space and run the same command"):
        fitted()
    monkeypatch.undo()
    folder = tmp_path / "run" / "model"
    assert [path.name for path in folder.iterdir()] == ["best.keras"]
    assert keras.saving.load_model(folder / "best.keras", compile=False).output_shape == (None, 4)


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy", "val_uar"])
def test_a_network_that_diverged_from_the_start_is_told_plainly(fitted, voices_dataset, tmp_path, monitor):
    nan = np.full_like(voices_dataset.samples[0].spectrogram, np.nan)
    broken = (dataclasses.replace(voices_dataset.samples[0], spectrogram=nan), *voices_dataset.samples[1:])
    with pytest.raises(EmogramError, match="the loss became infinite before any epoch was good; lower the learning"):
        fitted(dataset=dataclasses.replace(voices_dataset, samples=broken), train={"monitor": monitor, "epochs": 3})
    assert not list((tmp_path / "run").rglob("*.keras"))
    # Keras ends the training at once; what it came to is on record.
    assert read_history(tmp_path / "run" / "history.csv")["val_loss"] == [math.inf]


def test_a_learning_rate_far_too_high_is_survived_or_told(fitted):
    settings = {"optimizer": "sgd", "learning_rate": 10.0, "schedule": "constant", "epochs": 2}
    try:
        history = fitted(train=settings)
    except EmogramError as error:
        assert "lower the learning rate" in str(error)
    else:
        assert any(history["best"])


def test_a_run_that_dies_does_not_belie_the_model_that_stands_in_its_folder(
    voices_corpus, settings_of, tmp_path, monkeypatch
):
    """`config.toml` tells how the model was made; cross-validation relies on it."""
    out = tmp_path / "run"
    out.mkdir()
    (out / "config.toml").write_text("# of an earlier run\n")

    def dies(*_arguments, **_named):
        raise EmogramError("died")

    monkeypatch.setattr(training, "fit", dies)
    with pytest.raises(EmogramError, match="died"):
        train(voices_corpus, settings_of(), out, workers=1)
    assert (out / "config.toml").read_text() == "# of an earlier run\n"


def test_a_run_folder_that_cannot_be_written_is_told_before_training(voices_corpus, settings_of, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "fit", None)
    (tmp_path / "run").write_text("a file")
    with pytest.raises(OutputError, match="a file stands where a folder should be"):
        train(voices_corpus, settings_of(), tmp_path / "run", workers=1)


# ---------------------------------------------------------------- pictures, and two inputs


@pytest.fixture(scope="module")
def picture_folder(voices_corpus, tmp_path_factory):
    """All clips as pictures of 32 x 32; one file more that is no picture."""
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(voices_corpus, folder, SpectrogramConfig(kind="picture", picture_size=32), workers=1)
    (folder / "Happy" / "broken.png").write_text("no picture")
    return folder


def pictures_settings(settings_of, network, size):
    return settings_of(
        network={"network": network, "width": 0.25},
        spectrogram={"picture_size": size},
        train={"epochs": 2, "batch_size": 8},
    )


@pytest.mark.usefixtures("without_plots")
def test_a_model_trained_on_pictures_hears_sound_as_it_sees_pictures(
    picture_folder, voices_corpus, settings_of, tmp_path
):
    config = pictures_settings(settings_of, "baseline", 32)
    result = train(find_corpus(picture_folder), config, tmp_path / "run", workers=1)
    assert [clip.path.name for clip, _ in result.failed] == ["broken.png"]
    info = open_bundle(tmp_path / "run").info
    assert info.spectrogram == SpectrogramConfig(kind="picture", picture_size=32)
    assert info.input_shape == (32, 32, 3) and info.network["name"] == "baseline"
    model = Classifier.load(tmp_path / "run")
    sounds = {clip.path.stem: clip.path for clip in voices_corpus.clips}
    rows = predictions(tmp_path / "run")
    assert len(rows) == 8
    for row in rows:
        picture = Path(row["file"])
        seen, heard = model.predict(picture), model.predict(sounds[picture.stem])
        assert seen == heard
        np.testing.assert_allclose([*seen.scores.values()], scores_of([row])[0], atol=2e-6)
    assert RunConfig.from_dict(read_toml(tmp_path / "run" / "config.toml")).spectrogram == info.spectrogram


@pytest.mark.usefixtures("without_plots")
def test_resized_pictures_train_a_model_that_takes_pictures_only(picture_folder, voices_corpus, settings_of, tmp_path):
    """Pictures of another size than asked for used to end in a fault after the whole training."""
    result = train(
        find_corpus(picture_folder), pictures_settings(settings_of, "emonet", 24), tmp_path / "run", workers=1
    )
    info = open_bundle(tmp_path / "run").info
    assert info.spectrogram is None and info.input_shape == (24, 24, 3)
    model = Classifier.load(tmp_path / "run")
    assert model.predict(result.judgement.clips[0].path).label == predictions(tmp_path / "run")[0]["predicted"]
    with pytest.raises(ModelError, match="trained on pictures made elsewhere and cannot turn sound into them"):
        model.predict(voices_corpus.clips[0].path)


def test_a_network_of_two_inputs_is_refused_for_pictures(picture_folder, settings_of, tmp_path):
    config = pictures_settings(settings_of, "baseline-features", 32)
    with pytest.raises(SettingsError, match="'baseline-features' takes utterance features, which pictures do not have"):
        train(find_corpus(picture_folder), config, tmp_path / "run", workers=1)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("without_plots")
def test_the_network_of_two_inputs_trains_and_its_features_matter(voices_corpus, settings_of, tmp_path):
    config = pictures_settings(settings_of, "baseline-features", 24)
    result = train(voices_corpus, config, tmp_path / "run", workers=1)
    model = Classifier.load(tmp_path / "run")
    assert model.info.inputs == ("spectrogram", "features")
    for row, clip in zip(predictions(tmp_path / "run"), result.judgement.clips, strict=True):
        np.testing.assert_allclose([*model.predict(clip.path).scores.values()], scores_of([row])[0], atol=1e-5)
    dataset = training.load_dataset(voices_corpus, config.spectrogram, workers=1)
    inputs = dataset.inputs(np.arange(8))
    others = {**inputs, "features": inputs["features"][::-1]}
    assert np.abs(model.probabilities(others) - model.probabilities(inputs)).max() > 1e-4
    assert model.info.network["name"] == "baseline-features"


# ---------------------------------------------------------------- other splits


@pytest.mark.usefixtures("without_plots")
def test_a_model_judged_where_it_was_chosen_says_so(voices_corpus, settings_of, tmp_path):
    config = settings_of(
        train={"epochs": 1}, split={"validation_speakers": [], "test_speakers": [], "protocol": "random80"}
    )
    result = train(voices_corpus, config, tmp_path / "run", workers=1)
    assert result.judged_on == "validation"
    assert "random split, speakers shared" in result.report.protocol
    assert "judged on the validation part, which also chose the epoch" in result.report.protocol
    assert any("random split, speakers shared" in warning for warning in result.warnings)
    assert result.report.metrics["n_clips"] == 6  # a fifth of 32


# ---------------------------------------------------------------- what the model knows


def test_a_model_knows_its_training_clips_and_warns_of_no_validation_clip(tiny_run, voices_dataset):
    bundle = open_bundle(tiny_run.run)
    familiar = Familiar.from_bytes(bundle.read("familiar.npz"))
    classifier = Classifier(bundle)
    by_speaker = {
        name: np.flatnonzero([clip.speaker == name for clip in voices_dataset.clips])
        for name in ("synthetic01", "synthetic02", "synthetic03")
    }
    assert len(familiar.embeddings) == 16
    for name in ("synthetic01", "synthetic02"):
        for embedding in clip_embeddings(classifier, voices_dataset, by_speaker[name]):
            unit = embedding / np.linalg.norm(embedding)
            assert np.abs(familiar.embeddings - unit).max(axis=1).min() < 2e-3
    assert not any(map(familiar.warning, clip_embeddings(classifier, voices_dataset, by_speaker["synthetic03"])))


def test_degraded_copies_are_made_of_training_clips_alone(voices_corpus, settings_of, tmp_path, monkeypatch):
    asked = []

    def listen(dataset, indices, config, **_):
        asked.append((sorted({dataset.clips[index].speaker for index in indices}), config.degraded_copies))
        return dataset

    monkeypatch.setattr("emogram.train.with_degraded_copies", listen)
    monkeypatch.setattr("emogram.train.fit", lambda *_, **__: ({}, False))
    monkeypatch.setattr("emogram.train.finish", lambda *_, **__: SimpleNamespace(report=None, plots=()))
    monkeypatch.setattr("emogram.trackers.Following.judged", lambda *_, **__: None)
    train(voices_corpus, settings_of(augment={"degraded_copies": 2}), tmp_path, workers=1)
    assert asked == [(["synthetic01", "synthetic02"], 2)]

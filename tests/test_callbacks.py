"""Between the epochs: judging, keeping the best, the history, hard classes, and what the reader sees."""

import errno
import math
import types

import numpy as np
import pytest

from emogram import callbacks, files, metrics
from emogram.backend import keras
from emogram.batches import TrainingBatches
from emogram.callbacks import (
    EmphasizeHard,
    KeepBest,
    Record,
    Tell,
    Validate,
    epoch_line,
    network_probabilities,
)
from emogram.config import AugmentConfig, NetworkConfig, TrainConfig
from emogram.errors import OutputError
from emogram.network import InputShapes, build_network
from emogram.progress import Progress, Task
from emogram.writers import read_history

LABELS = ("angry", "calm", "happy", "sad")


class Fake:
    """Weights that are set by hand, in place of a network."""

    def __init__(self, *weights):
        self.weights = [np.asarray(weight) for weight in weights]
        self.optimizer = types.SimpleNamespace(learning_rate=0.25)

    def get_weights(self):
        return [weight.copy() for weight in self.weights]

    def set_weights(self, weights):
        self.weights = [weight.copy() for weight in weights]


@pytest.fixture
def says(monkeypatch):
    """What the judged network says, set by the test."""
    answers = {}
    monkeypatch.setattr(callbacks, "network_probabilities", lambda *_: answers["probabilities"])
    return answers


@pytest.fixture
def dataset(make_dataset):
    return make_dataset([0, 1, 2, 3, 0, 1, 2, 3])


def validate(dataset, model, twin=None, *, indices=range(8), weight_average=0.0):
    callback = Validate(twin or Fake(0.0), dataset, np.asarray(indices), weight_average=weight_average)
    callback.set_model(model)
    return callback


# ---------------------------------------------------------------- Validate


def test_validation_reports_what_the_metrics_say_of_its_own_clips(dataset, says):
    indices = [1, 2, 3, 6, 7]
    says["probabilities"] = probabilities = np.random.default_rng(0).dirichlet(np.ones(4), 5).astype(np.float32)
    logs = {"loss": 1.0}
    validate(dataset, Fake(1.0), indices=indices).on_epoch_end(0, logs)
    targets = dataset.targets[indices]
    assert logs["val_loss"] == metrics.nll(probabilities, targets)
    assert logs["val_loss"] == pytest.approx(-np.log(probabilities[range(5), targets]).mean())
    assert logs["val_accuracy"] == pytest.approx((probabilities.argmax(axis=1) == targets).mean())
    assert logs["val_uar"] == metrics.uar(targets, probabilities)
    assert logs["learning_rate"] == 0.25
    assert logs["loss"] == 1.0
    for label, name in enumerate(LABELS):
        hits = probabilities.argmax(axis=1)[targets == label] == label
        assert logs[f"val_recall_{name}"] == (hits.mean() if len(hits) else 0)


def test_the_judged_twin_has_the_weights_of_the_trained_network(dataset, says):
    says["probabilities"] = np.full((8, 4), 0.25, np.float32)
    model, twin = Fake(3.0, [1.0, 2.0]), Fake(0.0, [0.0, 0.0])
    validate(dataset, model, twin).on_epoch_end(0, {})
    assert twin.weights[0] == 3.0 and twin.weights[1].tolist() == [1.0, 2.0]


def test_the_average_of_the_weights_by_hand(dataset, says):
    """Memory after step k is min(0.5, k / (k + 10)): 2/12, 3/13, ...; whole numbers are taken as they are."""
    says["probabilities"] = np.full((8, 4), 0.25, np.float32)
    model, twin = Fake(0.0, 7), Fake(0.0, 0)
    callback = validate(dataset, model, twin, weight_average=0.5)
    expected = None
    for step, value in enumerate([10.0, 20.0, -5.0, 8.0], start=1):
        model.weights = [np.asarray(value), np.asarray(step)]
        callback.on_train_batch_end(step)
        memory = min(0.5, step / (step + 10))
        expected = value if expected is None else memory * expected + (1 - memory) * value
    callback.on_epoch_end(0, {})
    assert float(twin.weights[0]) == pytest.approx(expected)
    assert twin.weights[1] == 4
    assert model.weights[0] == 8.0, "the trained weights stay as they are"


def test_without_a_memory_nothing_is_averaged(dataset, says):
    says["probabilities"] = np.full((8, 4), 0.25, np.float32)
    model, twin = Fake(1.0), Fake(0.0)
    callback = validate(dataset, model, twin)
    callback.on_train_batch_end(0)
    model.weights = [np.asarray(5.0)]
    callback.on_epoch_end(0, {})
    assert twin.weights[0] == 5.0


def test_the_average_does_not_reach_into_a_real_network(dataset):
    """Where the arrays of `get_weights` shared memory with the network, averaging would train it."""
    network = build_network(InputShapes((22, 22, 3)), 4, NetworkConfig(network="baseline", width=0.1))
    callback = validate(dataset, network, network, weight_average=0.9)
    callback.on_train_batch_end(0)
    before = network.get_weights()
    network.set_weights([weight + 1 for weight in before])
    callback.on_train_batch_end(1)
    for weight, old in zip(network.get_weights(), before, strict=True):
        np.testing.assert_allclose(weight, old + 1, atol=1e-6)


def test_answers_that_are_no_numbers_are_infinitely_bad_by_every_measure(dataset, says):
    says["probabilities"] = np.full((8, 4), np.nan, np.float32)
    logs = {}
    validate(dataset, Fake(1.0)).on_epoch_end(0, logs)
    assert logs["val_loss"] == math.inf
    assert math.isnan(logs["val_accuracy"]) and math.isnan(logs["val_uar"])


def test_each_clip_keeps_its_answer_through_groups_of_equal_length(make_dataset):
    dataset = make_dataset([i % 4 for i in range(10)], n_frames=[32, 64, 48, 32, 80, 64, 32, 48, 32, 96])
    network = build_network(InputShapes((None, 64, 1)), 4, NetworkConfig(width=0.25))
    indices = np.asarray([7, 0, 9, 4, 3, 1, 8])
    together = network_probabilities(network, dataset, indices)
    for row, index in zip(together, indices, strict=True):
        alone = network.predict_on_batch(dataset.samples[index].spectrogram[np.newaxis].astype(np.float32))
        np.testing.assert_allclose(row, alone[0], atol=1e-6)


# ---------------------------------------------------------------- KeepBest


class Saved:
    """Writes what it holds, in place of a network."""

    content = "first"

    def save(self, path):
        path.write_text(self.content)

    def get_weights(self):
        return []


@pytest.mark.parametrize(
    ("monitor", "values", "saved"),
    [
        ("val_loss", [2.0, 1.5, 1.7, 1.5, 1.2], [0, 1, 4]),
        ("val_accuracy", [0.2, 0.5, 0.5, 0.4, 0.6], [0, 1, 4]),
        ("val_uar", [0.0, 0.1, math.nan, 0.2], [0, 1, 3]),
        ("val_loss", [math.inf, math.nan, 3.0], [2]),
    ],
)
def test_only_better_networks_are_saved_and_the_epoch_marked(tmp_path, monitor, values, saved):
    twin, path = Saved(), tmp_path / "model" / "best.keras"
    keep = KeepBest(twin, path, monitor=monitor)
    marked = []
    for epoch, value in enumerate(values):
        twin.content = f"epoch {epoch}"
        logs = {monitor: value}
        keep.on_epoch_end(epoch, logs)
        if logs["best"]:
            marked.append(epoch)
            assert path.read_text() == f"epoch {epoch}"
    assert marked == saved
    assert keep.best_epoch == saved[-1]
    assert path.read_text() == f"epoch {saved[-1]}"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy", "val_uar"])
def test_a_network_that_answers_nan_is_never_the_best(dataset, says, tmp_path, monitor):
    says["probabilities"] = np.full((8, 4), np.nan, np.float32)
    logs = {}
    validate(dataset, Fake(1.0)).on_epoch_end(0, logs)
    keep = KeepBest(Saved(), tmp_path / "best.keras", monitor=monitor)
    keep.on_epoch_end(0, logs)
    assert keep.best_epoch is None and not list(tmp_path.iterdir())


def test_a_failing_save_leaves_the_old_network_whole_and_no_litter(tmp_path):
    class FullDisk(Saved):
        def save(self, path):
            path.write_text("half of")
            raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "best.keras"
    keep = KeepBest(Saved(), path, monitor="val_loss")
    keep.on_epoch_end(0, {"val_loss": 2.0})
    keep._twin = FullDisk()
    with pytest.raises(OutputError, match=r"best\.keras: the disk is full; free some space"):
        keep.on_epoch_end(1, {"val_loss": 1.0})
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]
    assert keep.best_epoch == 0


def test_an_interrupt_while_saving_leaves_the_old_network_whole(tmp_path):
    class Interrupted(Saved):
        def save(self, path):
            path.write_text("half of")
            raise KeyboardInterrupt

    path = tmp_path / "best.keras"
    keep = KeepBest(Saved(), path, monitor="val_loss")
    keep.on_epoch_end(0, {"val_loss": 2.0})
    keep._twin = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        keep.on_epoch_end(1, {"val_loss": 1.0})
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]


# ---------------------------------------------------------------- hard classes


@pytest.fixture
def batches(dataset):
    return TrainingBatches(dataset, np.arange(8), train=TrainConfig(), augmentation=AugmentConfig())


def recalls(*values):
    return {f"val_recall_{label}": value for label, value in zip(LABELS, values, strict=True)}


def test_classes_below_the_mean_recall_are_found_anew_each_epoch(batches):
    emphasize = EmphasizeHard(batches, LABELS, strength=1.5)
    emphasize.on_epoch_end(0, recalls(0.9, 0.2, 0.5, 0.6))  # mean 0.55
    assert batches.strength_of_label.tolist() == [1.0, 1.5, 1.5, 1.0]
    emphasize.on_epoch_end(1, recalls(0.1, 0.9, 0.9, 0.9))
    assert batches.strength_of_label.tolist() == [1.5, 1.0, 1.0, 1.0]
    emphasize.on_epoch_end(2, recalls(0.5, 0.5, 0.5, 0.5))
    assert batches.strength_of_label.tolist() == [1.0, 1.0, 1.0, 1.0]


def test_an_epoch_that_judged_nothing_leaves_hard_classes_as_they_were(batches):
    emphasize = EmphasizeHard(batches, LABELS, strength=2.0)
    emphasize.on_epoch_end(0, recalls(0.9, 0.2, 0.9, 0.9))
    emphasize.on_epoch_end(1, {"val_loss": math.inf})
    assert batches.strength_of_label.tolist() == [1.0, 2.0, 1.0, 1.0]


# ---------------------------------------------------------------- Record


def test_the_history_is_on_disk_after_every_epoch(tmp_path):
    record = Record(tmp_path / "history.csv")
    rows = [{"loss": 2.5, "val_loss": 2.0}, {"loss": 1.5, "val_loss": math.inf, "val_uar": 0.5},
            {"loss": 1.25, "val_uar": 0.75}]  # fmt: skip
    for epoch, row in enumerate(rows):
        record.on_epoch_end(epoch, row)
        assert len(read_history(tmp_path / "history.csv")["epoch"]) == epoch + 1
    found = read_history(tmp_path / "history.csv")
    assert found["epoch"] == [1, 2, 3]
    assert found["loss"] == [2.5, 1.5, 1.25]
    np.testing.assert_array_equal(found["val_loss"], [2.0, math.inf, math.nan])
    np.testing.assert_array_equal(found["val_uar"], [math.nan, 0.5, 0.75])
    assert record.history.keys() == found.keys()


def test_a_full_disk_leaves_the_history_of_the_epochs_before(tmp_path, monkeypatch):
    record = Record(tmp_path / "history.csv")
    record.on_epoch_end(0, {"loss": 2.0})

    def full(*_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OutputError, match=r"history\.csv: the disk is full"):
        record.on_epoch_end(1, {"loss": 1.0})
    monkeypatch.undo()
    assert read_history(tmp_path / "history.csv")["loss"] == [2.0]


# ---------------------------------------------------------------- what the reader sees


class Listener(Progress, Task):
    def __init__(self):
        self.lines, self.steps, self.notes = [], [], []

    def say(self, line):
        self.lines.append(line)

    def advance(self, steps=1, *, note=""):
        self.steps.append(steps)
        self.notes.append(note)


LOGS = {"loss": 1.5, "accuracy": 0.5, "val_loss": 1.25, "val_accuracy": 0.625, "val_uar": 0.6, **recalls(1, 0.5, 0, 1)}


def test_steps_add_up_to_the_clips_of_each_epoch(make_dataset):
    listener = Listener()
    keep = types.SimpleNamespace(best_epoch=1)
    config = TrainConfig(batch_size=7)
    batches = TrainingBatches(make_dataset([0, 1] * 10), np.arange(19), train=config, augmentation=AugmentConfig())
    tell = Tell(listener, listener, batches=batches, n_epochs=12, keep=keep)
    for epoch in range(2):
        tell.on_epoch_begin(epoch)
        for step in range(3):
            tell.on_train_batch_end(step, {"loss": 1.5})
        tell.on_epoch_end(epoch, LOGS)
    assert listener.steps == [6, 7, 6, 6, 7, 6]
    assert sum(listener.steps) == 2 * 19
    assert listener.notes[0] == "loss 1.500"
    assert listener.lines[0].startswith("epoch   1/12  loss 1.500")
    assert "best" not in listener.lines[0] and listener.lines[1].endswith("* best so far")


def test_a_line_tells_the_recall_of_each_class():
    line = epoch_line(LOGS)
    assert "accuracy  50.0%" in line and "validation loss 1.250  accuracy  62.5%  UAR  60.0%" in line
    assert line.endswith("angry 100% calm 50% happy  0% sad 100%")


def test_a_line_of_an_epoch_that_diverged_is_still_a_line():
    line = epoch_line({"loss": math.nan, "val_loss": math.inf, "val_accuracy": math.nan, "val_uar": math.nan})
    assert "loss nan" in line and "validation loss inf" in line


def test_keras_shows_what_validation_found_to_its_own_callbacks_and_every_step_of_every_epoch(dataset):
    keras.utils.set_random_seed(0)
    network = build_network(InputShapes((None, 64, 1)), 4, NetworkConfig(width=0.25))
    network.compile(optimizer=keras.optimizers.SGD(0.5), loss="categorical_crossentropy", jit_compile=False)
    seen, taken = {}, []

    class See(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.update(logs)

    class Batches(TrainingBatches):
        def __getitem__(self, step):
            taken.append((self.epoch, step))
            return super().__getitem__(step)

    validate = Validate(network, dataset, np.arange(8), weight_average=0.0)
    batches = Batches(dataset, np.arange(8), train=TrainConfig(batch_size=4), augmentation=AugmentConfig())
    network.fit(batches, epochs=3, callbacks=[validate, See()], verbose=0)
    assert {"loss", "val_loss", "val_uar", "learning_rate", "val_recall_sad"} <= seen.keys()
    # Keras looks at one batch before it begins.
    epochs = [taken[-6:][start : start + 2] for start in (0, 2, 4)]
    assert [{step for _, step in epoch} for epoch in epochs] == [{0, 1}] * 3
    assert len({epoch for epoch, _ in taken[-6:]}) == 3

"""A training that was interrupted and goes on comes to the same numbers as one that never was."""

import contextlib
import csv
import dataclasses
import random
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from emogram import resuming
from emogram.backend import keras
from emogram.bundle import open_bundle
from emogram.checkpoints import CHECKPOINTS_FOLDER, Checkpoints, is_unfinished
from emogram.errors import OutputError, SettingsError
from emogram.features import N_FEATURES
from emogram.progress import Progress, Task
from emogram.resuming import Attributes
from emogram.splits import make_split
from emogram.train import fit, is_finished, schedule_callbacks, train

pytestmark = pytest.mark.usefixtures("without_plots")

# Every callback that has a state, and every kind of randomness.
ALL = {
    "augment": {"mixup_alpha": 0.4, "hard_classes": ["auto"]},
    "network": {"width": 0.25, "dropout": 0.3, "block_dropout": 0.2},
    "train": {
        "epochs": 6, "schedule": "plateau", "plateau_patience": 1, "early_stop_patience": 4, "weight_average": 0.9,
        "learning_rate": 0.02,
    },
}  # fmt: skip


class Killed(BaseException):
    """Ends a training as nothing in it expects."""


class KillAt:
    """A place of `Checkpoints.write` that dies after some writes, or in the midst of one."""

    def __init__(self, monkeypatch, n_writes, *, tear=False):
        self.left, self.tear, self.real = n_writes, tear, Checkpoints.write
        monkeypatch.setattr(Checkpoints, "write", lambda *given: self(*given))

    def __call__(self, checkpoints, checkpoint):
        self.left -= 1
        self.real(checkpoints, checkpoint)
        if self.left == 0:
            if self.tear:
                newest = checkpoints._whole[-1]
                newest.write_bytes(newest.read_bytes()[:-100])
            raise Killed


class Words(Progress):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


@pytest.fixture(scope="module")
def whole_run(voices_corpus, settings_of, tmp_path_factory):
    """An uninterrupted training, of these tests alone: others may have left the process in another state."""
    return train(voices_corpus, settings_of(), tmp_path_factory.mktemp("runs") / "whole", workers=1)


@pytest.fixture
def each_epoch(monkeypatch):
    """Save after every epoch, however soon it is over."""
    monkeypatch.setattr(resuming, "SHARE_OF_TIME", float("inf"))


@pytest.fixture
def each_step(monkeypatch, each_epoch):
    """Save after every step."""
    monkeypatch.setattr(resuming, "WITHIN_S", 0.0)


def result_of(run: Path) -> dict[str, object]:
    """All numbers that a training comes to, and, where it was judged, a judgement."""
    network = keras.saving.load_model(run / "model" / "best.keras", compile=False)
    found: dict[str, object] = {"weights": [weights.tobytes() for weights in network.get_weights()]}
    for name in ("history.csv", "predictions.csv", "metrics.json", "model/model.onnx", "model/training_clips.txt"):
        if (run / name).is_file():
            found[name] = (run / name).read_bytes()
    return found


@pytest.fixture
def trains(voices_dataset, settings_of, tmp_path):
    """Train, but for the judging; goes on if asked to, and dies if something makes it die."""

    def run(out="run", *, dataset=voices_dataset, resume=False, progress=None, **sections):
        config = settings_of(**sections)
        progress = progress or Progress()
        begun = resuming.reopen(tmp_path / out, config, progress=progress) if resume else None
        fit(dataset, make_split(dataset, config.split), config, tmp_path / out, begun=begun, progress=progress)
        return result_of(tmp_path / out)

    return run


@pytest.fixture
def killed(trains, monkeypatch):
    """As `trains`, but die after so many checkpoints."""

    def run(n_writes, *, tear=False, **given):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            KillAt(patch, n_writes, tear=tear)
            trains(**given)

    return run


@pytest.fixture(scope="module")
def whole(voices_dataset, settings_of, tmp_path_factory):
    """What an uninterrupted training comes to, by its settings."""
    known = {}

    def result(*, dataset=voices_dataset, **sections):
        key = repr(sections)
        if key not in known:
            out, config = tmp_path_factory.mktemp("whole"), settings_of(**sections)
            fit(dataset, make_split(dataset, config.split), config, out)
            known[key] = result_of(out)
        return known[key]

    return result


# ---------------------------------------------------------------- the same numbers


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "sgd", "adam"])
def test_a_training_killed_after_each_of_two_epochs_comes_to_the_same_bits(
    trains, killed, each_epoch, whole, optimizer
):
    sections = {**ALL, "train": {**ALL["train"], "optimizer": optimizer}}
    killed(2, **sections)
    killed(2, **sections, resume=True)
    assert trains(**sections, resume=True) == whole(**sections)


@pytest.mark.parametrize("n_writes", [1, 4, 7])
def test_a_training_killed_within_an_epoch_comes_to_the_same_bits(trains, killed, each_step, whole, n_writes):
    sections = {**ALL, "train": {**ALL["train"], "batch_size": 4}}
    words = Words()
    killed(n_writes, **sections)
    assert trains(**sections, resume=True, progress=words) == whole(**sections)
    done, step = divmod(n_writes, 4)
    assert words.lines[0] == f"going on after epoch {done} of 6" + (f" and step {step} of 4" if step else "")


def test_what_is_left_is_what_the_reader_is_told_of(trains, killed, each_step):
    """The bar begins with the rest of the training."""

    class Counts(Words, Task):
        def __init__(self):
            super().__init__()
            self.steps, self.totals = [], []

        @contextlib.contextmanager
        def task(self, what, total, *, unit="clips"):
            self.totals.append(total)
            yield self

        def advance(self, steps=1, *, note=""):
            self.steps.append(steps)

    sections = {"train": {"epochs": 3, "batch_size": 4}}  # of 16 clips
    killed(6, **sections)
    counts = Counts()
    trains(**sections, resume=True, progress=counts)
    assert counts.totals == [24] and counts.steps == [4] * 6


def test_a_training_goes_on_in_the_precision_it_began_with(trains, killed, each_epoch, whole, monkeypatch):
    sections = {"network": {"width": 0.25, "dropout": 0.3}}
    monkeypatch.setattr("emogram.train.fast_precision", lambda: "bfloat16")
    expected = whole(**sections)
    killed(2, **sections)
    monkeypatch.setattr("emogram.train.fast_precision", lambda: "float32")  # as on an older machine
    assert trains(**sections, resume=True) == expected
    assert trains("other", **sections) != expected


def test_utterance_features_go_on_to_the_same_bits(trains, killed, each_epoch, whole, make_dataset):
    dataset = make_dataset(
        [i % 4 for i in range(32)], speakers=[f"v{i // 8}" for i in range(32)], n_features=N_FEATURES, shape=(32, 32, 3)
    )
    sections = {
        "network": {"network": "baseline-features"},
        "spectrogram": {"kind": "picture", "picture_size": 32, "utterance_features": True},
        "split": {"validation_speakers": ["v2"], "test_speakers": ["v3"]},
    }
    killed(2, dataset=dataset, **sections)
    assert trains(dataset=dataset, **sections, resume=True) == whole(dataset=dataset, **sections)


def test_saving_changes_nothing(trains, each_step, whole):
    assert trains(**ALL) == whole(**ALL)


def test_a_damaged_newest_checkpoint_is_told_and_the_one_before_goes_on(trains, killed, each_epoch, whole):
    words = Words()
    killed(3, tear=True, **ALL)
    assert trains(**ALL, resume=True, progress=words) == whole(**ALL)
    assert words.lines[0].endswith("00000003.checkpoint: is damaged; going on from the one before")
    assert words.lines[1] == "going on after epoch 2 of 6"


def test_with_all_checkpoints_damaged_training_begins_at_the_beginning(trains, killed, each_epoch, whole, tmp_path):
    words = Words()
    killed(2, **ALL)
    for path in (tmp_path / "run" / CHECKPOINTS_FOLDER).glob("*.checkpoint"):
        path.write_bytes(b"")
    assert trains(**ALL, resume=True, progress=words) == whole(**ALL)
    assert words.lines[2] == f"{tmp_path / 'run'}: nothing was saved yet; training begins at the beginning"


def test_a_run_that_died_while_it_was_judged_is_only_judged(
    voices_corpus, settings_of, tmp_path, monkeypatch, each_epoch, whole_run
):
    config, out = settings_of(), tmp_path / "run"

    def dies(*_, **__):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("emogram.train.judge_clips", dies)
        train(voices_corpus, config, out, workers=1)
    (out / "model" / "best.keras").write_bytes(b"torn")
    words = Words()
    train(voices_corpus, config, out, resume=True, workers=1, progress=words)
    assert not [line for line in words.lines if line.startswith("epoch")]
    assert result_of(out) == result_of(whole_run.run)
    assert not is_unfinished(out)


def test_a_model_of_an_epoch_that_was_lost_does_not_stay_the_best(
    voices_dataset, settings_of, tmp_path, monkeypatch, each_epoch
):
    config = settings_of(train={"epochs": 2})
    split = make_split(voices_dataset, config.split)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        KillAt(patch, 1)
        fit(voices_dataset, split, config, tmp_path)
    wanted = keras.saving.load_model(tmp_path / "model" / "best.keras", compile=False).get_weights()
    begun, _ = Checkpoints(tmp_path / CHECKPOINTS_FOLDER).newest()
    other = keras.saving.load_model(tmp_path / "model" / "best.keras", compile=False)
    other.set_weights([weights + 1 for weights in wanted])
    other.save(tmp_path / "model" / "best.keras")
    # As on another machine, where the second epoch comes out otherwise and is no better.
    monkeypatch.setattr(
        "emogram.callbacks.network_probabilities", lambda *_: np.asarray([[0.97, 0.01, 0.01, 0.01]] * 8)
    )
    fit(voices_dataset, split, config, tmp_path, begun=begun)
    found = keras.saving.load_model(tmp_path / "model" / "best.keras", compile=False).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


# ---------------------------------------------------------------- what is remembered


def test_every_callback_of_keras_that_is_used_has_its_state_kept(settings_of):
    """A callback that counts and is not listed would begin anew after an interruption."""
    settings = settings_of(train={"schedule": "plateau", "early_stop_patience": 2}).train
    for callback in schedule_callbacks(settings):
        callback.set_model(keras.Sequential([keras.layers.Dense(1)]))
        callback.model.compile()
        before = dict(vars(callback))
        callback.on_train_begin()
        callback.on_epoch_end(0, {"val_loss": 1.0})
        callback.on_epoch_end(1, {"val_loss": 2.0})
        changed = {name for name, value in vars(callback).items() if before.get(name, "new") != value}
        # How values are compared is found out anew.
        assert changed - {"monitor_op", "min_delta"} <= set(Attributes.KEPT[type(callback)])


def test_generators_go_on_where_they_were():
    state = resuming._random_state()
    drawn = [random.random(), np.random.rand(), np.random.standard_normal()]
    resuming._restore_random(state)
    assert [random.random(), np.random.rand(), np.random.standard_normal()] == drawn


def test_a_checkpoint_that_would_cost_more_than_its_share_waits_for_a_later_epoch(trains, monkeypatch):
    written = []
    monkeypatch.setattr(Checkpoints, "write", lambda _, checkpoint: written.append(checkpoint.state["epoch"]))
    clock = iter(range(10**6))  # each look at it takes a second: to save takes one, an epoch of two steps three
    monkeypatch.setattr(resuming, "time", types.SimpleNamespace(monotonic=lambda: float(next(clock))))
    monkeypatch.setattr(resuming, "SHARE_OF_TIME", 0.15)
    trains(train={"epochs": 8})
    assert written == [1, 4, 7]


# ---------------------------------------------------------------- what may go on


@pytest.fixture
def begun(killed, tmp_path, each_epoch):
    """A run that was killed after an epoch."""
    killed(1)
    return tmp_path / "run"


def test_other_settings_are_refused_by_name(voices_corpus, settings_of, begun):
    config = settings_of(train={"epochs": 9, "teachers": []}, augment={"time_masks": 0})
    with pytest.raises(SettingsError, match=r"begun with other settings: augment\.time_masks was") as refused:
        train(voices_corpus, config, begun, resume=True, workers=1)
    assert "train.epochs was 3 and is 9; go on with the same ones, or begin anew with --overwrite" in str(refused.value)


def test_other_clips_are_refused(voices_corpus, settings_of, begun):
    fewer = dataclasses.replace(voices_corpus, clips=voices_corpus.clips[:-1])
    with pytest.raises(SettingsError, match=r"on other clips \(32 of them; here are 31\)"):
        train(fewer, settings_of(), begun, resume=True, workers=1)
    swapped = [dataclasses.replace(voices_corpus.clips[0], label="sad"), *voices_corpus.clips[1:]]
    with pytest.raises(SettingsError, match=r"on other clips \(32 of them; here are 32\)"):
        train(dataclasses.replace(voices_corpus, clips=tuple(swapped)), settings_of(), begun, resume=True, workers=1)


@pytest.mark.parametrize(("name", "value", "says"), [
    ("back_end", "jax", "begun on jax and this is torch; set KERAS_BACKEND=jax"),
    ("devices", 4, "begun on 4 devices and this is on 1"),
])  # fmt: skip
def test_another_back_end_is_refused(begun, name, value, says):
    found, _ = Checkpoints(begun / CHECKPOINTS_FOLDER).newest()
    with pytest.raises(SettingsError, match=says):
        resuming.refuse_another(begun, {**found.about, name: value}, found.about, progress=Progress())


def test_another_version_is_told_and_goes_on(begun):
    found, _ = Checkpoints(begun / CHECKPOINTS_FOLDER).newest()
    words = Words()
    versions = {**found.about["versions"], "keras": "3.0"}
    resuming.refuse_another(begun, {**found.about, "versions": versions}, found.about, progress=words)
    assert words.lines == [
        f"{begun}: was begun with keras 3.0 and not {keras.__version__}: the numbers may differ from an uninterrupted "
        "training"
    ]


def test_a_network_of_other_shapes_is_refused(voices_corpus, settings_of, begun, monkeypatch):
    monkeypatch.setattr(resuming, "_variables", lambda network: network.variables)
    with pytest.raises(SettingsError, match="the checkpoint is of a network that this version builds otherwise"):
        train(voices_corpus, settings_of(), begun, resume=True, workers=1)


def test_training_anew_leaves_nothing_of_the_one_before(voices_corpus, settings_of, begun, whole_run):
    train(voices_corpus, settings_of(), begun, workers=1)
    assert (begun / "history.csv").read_bytes() == (whole_run.run / "history.csv").read_bytes()
    assert not is_unfinished(begun)


def test_a_folder_with_nothing_in_it_is_begun(voices_corpus, settings_of, tmp_path, whole_run):
    train(voices_corpus, settings_of(), tmp_path / "run", resume=True, workers=1)
    assert (tmp_path / "run" / "history.csv").read_bytes() == (whole_run.run / "history.csv").read_bytes()


def test_a_finished_training_is_known_by_its_settings(voices_corpus, settings_of, whole_run, tmp_path):
    assert is_finished(whole_run.run, voices_corpus, settings_of())
    assert not is_finished(tmp_path, voices_corpus, settings_of())
    with pytest.raises(SettingsError, match=r"train\.epochs was 3 and is 4"):
        is_finished(whole_run.run, voices_corpus, settings_of(train={"epochs": 4}))


def test_ctrl_c_leaves_a_model_and_what_is_needed_to_go_on(voices_corpus, settings_of, tmp_path, each_epoch, whole_run):
    class Interrupt(Words):
        def say(self, line):
            super().say(line)
            if line.startswith("epoch   2/3"):
                raise KeyboardInterrupt

    out = tmp_path / "run"
    stopped = train(voices_corpus, settings_of(), out, workers=1, progress=Interrupt())
    assert stopped.interrupted and is_unfinished(out)
    assert open_bundle(out).info.metrics
    with (out / "history.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2
    train(voices_corpus, settings_of(), out, resume=True, workers=1)
    assert result_of(out) == result_of(whole_run.run)


def test_two_processes_do_not_train_in_one_folder(voices_corpus, settings_of, tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from emogram.checkpoints import unfinished\n"
        "with unfinished(Path(sys.argv[1])): print('in', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "in\n"
        with pytest.raises(OutputError, match="another process is training there"):
            train(voices_corpus, settings_of(), tmp_path, resume=True, workers=1)
        other.kill()
    assert is_unfinished(tmp_path)

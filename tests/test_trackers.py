"""What TensorBoard, MLflow and W&B are told of a training, read back by each one's own reader or from its files."""

import dataclasses
import errno
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from listeners import Listener
from PIL import Image

from emogram import __version__
from emogram.batches import TrainingBatches
from emogram.config import flat_settings
from emogram.errors import MissingExtraError, OutputError
from emogram.plots.examples import Example, draw_examples
from emogram.splits import make_split
from emogram.trackers import (
    NO_TRACKERS,
    About,
    Following,
    Trackers,
    apart,
    child,
    choose_trackers,
    describe_run,
    follow,
    following,
)
from emogram.trackers.examples import tell_examples
from emogram.trackers.mlflow import MLflow, whole_uri
from emogram.trackers.tensorboard import TensorBoard
from emogram.train import fit, train
from emogram.watched import Answer
from emogram.writers import read_history

# MLflow, W&B and TensorBoard's reader warn of their own parts.
pytestmark = pytest.mark.filterwarnings("ignore")

ROWS = [{"epoch": n, "loss": 2.0 / n, "val_uar": 0.25 * n, "learning_rate": 0.01} for n in (1, 2, 3)]
SETTINGS = {"train": {"epochs": 3, "learning_rate": 0.01}, "split": {"test_speakers": ["a", "b"]}}
TAGS = {"emogram": "1.0", "corpus": "voices", "corpus_hash": "abc", "seed": "7"}


def about(out, **changed):
    return About("run", str(out), settings=SETTINGS, tags=TAGS, **changed)


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    return str(tmp_path / "red.png")


@pytest.fixture(autouse=True)
def no_word_to_anybody(monkeypatch, tmp_path):
    """What these tools read from the environment, and set in it, is that of the test alone."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_PROJECT", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("WANDB_MODE", "offline")


# ---------------------------------------------------------------- TensorBoard


def board(folder):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    accumulator = accumulators.EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    accumulator.Reload()
    return accumulator


def scalars(accumulator, name):
    return [(event.step, event.value) for event in accumulator.Scalars(name)]


def test_tensorboard_shows_what_it_was_told(tmp_path, picture):
    tracker = TensorBoard(about(tmp_path))
    tracker.begin()
    tracker.picture("examples", picture)
    for row in ROWS:
        tracker.epochs([row])
    # On disk at once, and not when it ends.
    assert scalars(board(tmp_path), "loss") == [(1, 2.0), (2, 1.0), (3, pytest.approx(2 / 3))]
    tracker.picture("plots/confusion_matrix", picture)
    tracker.result({"test/uar": 0.5, "test/recall/angry": 0.75}, "model")
    tracker.end("finished")
    found = board(tmp_path)
    assert scalars(found, "val_uar") == [(1, 0.25), (2, 0.5), (3, 0.75)]
    assert scalars(found, "test/recall/angry") == [(3, 0.75)]
    assert "epoch" not in found.Tags()["scalars"]
    (examples,) = found.Images("examples")
    (confusion,) = found.Images("plots/confusion_matrix")
    assert (examples.step, confusion.step) == (0, 3)
    assert (examples.width, examples.height) == (40, 30)
    assert examples.encoded_image_string == (tmp_path / "red.png").read_bytes()
    text = {name: found.Tensors(f"{name}/text_summary")[0].tensor_proto.string_val[0] for name in ("settings", "tags")}
    assert b"| train.epochs | 3 |" in text["settings"] and b"| corpus_hash | abc |" in text["tags"]
    hparams = pytest.importorskip("tensorboard.plugins.hparams.metadata")
    started = hparams.parse_session_start_info_plugin_data(
        found.SummaryMetadata(hparams.SESSION_START_INFO_TAG).plugin_data.content
    )
    assert started.hparams["train.learning_rate"].number_value == 0.01
    assert started.hparams["split.test_speakers"].string_value == "['a', 'b']"


def test_tensorboard_shows_an_epoch_that_was_done_again_once(tmp_path):
    first = TensorBoard(about(tmp_path))
    first.begin()
    first.epochs(ROWS)  # and then the process is killed, after the checkpoint of the first epoch
    again = TensorBoard(about(tmp_path, is_resumed=True, n_done=1))
    again.begin()
    again.epochs(ROWS[:1])  # the history up to there, which it has
    for row in ({**row, "loss": 9.0} for row in ROWS[1:]):
        again.epochs([row])
    again.end("finished")
    assert scalars(board(tmp_path), "loss") == [(1, 2.0), (2, 9.0), (3, 9.0)]


def test_tensorboard_gets_the_epochs_before_where_it_was_not_told_of_them(tmp_path):
    tracker = TensorBoard(about(tmp_path, is_resumed=True, n_done=2))
    tracker.begin()
    tracker.epochs(ROWS[:2])
    tracker.epochs(ROWS[2:])
    tracker.end("finished")
    assert [step for step, _ in scalars(board(tmp_path), "loss")] == [1, 2, 3]


def test_a_run_that_begins_anew_shows_nothing_of_the_one_before(tmp_path):
    for rows in (ROWS, ROWS[:1]):
        tracker = TensorBoard(about(tmp_path))
        tracker.begin()
        tracker.epochs(rows)
        tracker.end("finished")
    assert scalars(board(tmp_path), "loss") == [(1, 2.0)]


# ---------------------------------------------------------------- MLflow


@pytest.fixture(scope="module")
def client():
    """A client of MLflow for the address of a store."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        mlflow = pytest.importorskip("mlflow")
        yield lambda uri: mlflow.MlflowClient(tracking_uri=uri)


def runs(client, uri):
    """All runs of a store, by name."""
    found = client(uri)
    experiment = found.get_experiment_by_name("emogram")
    return {run.info.run_name: run for run in found.search_runs([experiment.experiment_id])}


def history(client, uri, run, name):
    return sorted((one.step, one.value) for one in client(uri).get_metric_history(run.info.run_id, name))


def artifacts(client, uri, run, folder=None):
    found = client(uri).list_artifacts(run.info.run_id, folder)
    return {path for one in found for path in (artifacts(client, uri, run, one.path) if one.is_dir else {one.path})}


@pytest.mark.parametrize("kind", ["folder", "sqlite"])
def test_mlflow_has_what_it_was_told(tmp_path, picture, client, kind):
    uri = whole_uri(str(tmp_path / "runs") if kind == "folder" else f"sqlite:///{tmp_path / 'db' / 'runs.db'}")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text("{}")
    tracker = MLflow(about(tmp_path / "run"), uri)
    tracker.begin()
    assert runs(client, uri)["run"].info.status == "RUNNING"
    tracker.picture("examples", picture)
    for row in ROWS:
        tracker.epochs([row])
    tracker.epochs([{"epoch": 4, "loss": float("nan"), "val_recall_böse (x)": 1.0}])
    tracker.result({"test/uar": 0.5, "test/recall/angry": 0.75}, str(tmp_path / "model"))
    tracker.end("finished")
    run = runs(client, uri)["run"]
    assert run.info.status == "FINISHED"
    assert run.data.params == {name: str(value) for name, value in flat_settings(SETTINGS).items()}
    tags = {name: value for name, value in run.data.tags.items() if name.startswith("emogram.")}
    assert tags == {
        "emogram.version": "1.0", "emogram.corpus": "voices", "emogram.corpus_hash": "abc", "emogram.seed": "7",
        "emogram.folder": str(tmp_path / "run"),
    }  # fmt: skip
    assert history(client, uri, run, "loss")[:3] == [(1, 2.0), (2, 1.0), (3, 2 / 3)]
    assert np.isnan(history(client, uri, run, "loss")[3][1])
    assert history(client, uri, run, "val_recall_böse _x_") == [(4, 1.0)]
    assert history(client, uri, run, "test/recall/angry") == [(4, 0.75)]
    assert artifacts(client, uri, run) == {"plots/red.png", "model/model.json"}
    if kind == "sqlite":  # its files lie beside it, and not where the process worked
        assert run.info.artifact_uri.startswith(str(tmp_path / "db" / "mlartifacts"))


def mlflow_run(out, uri, rows, status=None, **changed):
    tracker = MLflow(about(out, **changed), uri)
    tracker.begin()
    for row in rows:
        tracker.epochs([row])
    if status:
        tracker.end(status)
    return tracker


def test_mlflow_goes_on_in_the_same_run_without_a_step_twice(tmp_path, client):
    uri = str(tmp_path / "runs")
    mlflow_run(tmp_path / "run", uri, ROWS[:2], "killed")
    assert runs(client, uri)["run"].info.status == "KILLED"
    # The second epoch was lost and is done again; the history before it is told once more.
    again = mlflow_run(tmp_path / "run", uri, [], is_resumed=True, n_done=1)
    assert runs(client, uri)["run"].info.status == "RUNNING"
    again.epochs(ROWS[:1])
    again.epochs(ROWS[1:2])
    again.epochs(ROWS[2:])
    again.end("finished")
    (run,) = runs(client, uri).values()
    assert history(client, uri, run, "loss") == [(1, 2.0), (2, 1.0), (3, 2 / 3)]
    assert run.info.status == "FINISHED"


def test_mlflow_begins_another_run_where_it_is_another(tmp_path, client):
    uri = str(tmp_path / "runs")
    first = mlflow_run(tmp_path / "run", uri, ROWS, "finished")
    anew = mlflow_run(tmp_path / "run", uri, ROWS[:1], "finished")
    assert first._run_id != anew._run_id
    # Deleted by somebody, or with other settings: not the run that is noted.
    client(uri).delete_run(anew._run_id)
    third = mlflow_run(tmp_path / "run", uri, ROWS[:1], "finished", is_resumed=True)
    other = MLflow(
        dataclasses.replace(about(tmp_path / "run", is_resumed=True), settings={"train": {"epochs": 9}}), uri
    )
    other.begin()
    assert len({first._run_id, anew._run_id, third._run_id, other._run_id}) == 4


def test_folds_lie_below_the_run_of_their_group(tmp_path, client):
    uri, group = str(tmp_path / "runs"), str(tmp_path / "crossval")
    whole = mlflow_run(tmp_path / "crossval", uri, [], group=group, is_group=True, is_resumed=True)
    fold = mlflow_run(tmp_path / "crossval" / "seed-0" / "fold-1", uri, ROWS, "finished", group=group)
    whole.result({"test/uar": 0.5}, None)
    whole.end("finished")
    found = client(uri)
    assert found.get_run(fold._run_id).data.tags["mlflow.parentRunId"] == whole._run_id
    assert "mlflow.parentRunId" not in found.get_run(whole._run_id).data.tags
    # The same command with one more seed: the pooled figure is another, and the run the same.
    again = mlflow_run(tmp_path / "crossval", uri, [], group=group, is_group=True, is_resumed=True)
    again.result({"test/uar": 0.625}, None)
    again.result({"test/uar": 0.625}, None)
    assert again._run_id == whole._run_id
    run = found.get_run(whole._run_id)
    assert run.data.metrics == {"test/uar": 0.625}
    assert history(client, uri, run, "test/uar") == [(0, 0.5), (0, 0.625)]


def test_an_address_means_the_same_in_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert whole_uri(None) == f"sqlite:///{tmp_path}/mlflow.db"
    assert whole_uri("sqlite:///a/b.db") == f"sqlite:///{tmp_path}/a/b.db"
    assert whole_uri("sqlite:////a/b.db") == "sqlite:////a/b.db"
    assert whole_uri("mlruns") == f"{tmp_path}/mlruns"
    for uri in ("http://host:5000", "databricks", "databricks://profile", "file:///a", "postgresql://u@host/db"):
        assert whole_uri(uri) == uri
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    assert whole_uri(None) == "http://host:5000"


# ---------------------------------------------------------------- W&B


def wandb_records(folder):
    """The records of offline runs, each the name of its kind and it. Blocks of 32 kB hold parts, as LevelDB's log."""
    messages = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        content = path.read_bytes()
        place, part = 7, b""
        while place + 7 <= len(content):
            if (left := -place % 32768) and left < 7:
                place += left
                continue
            _, length, kind = struct.unpack("<IHB", content[place : place + 7])
            part += content[place + 7 : place + 7 + length]
            place += 7 + length
            if kind in (1, 4):  # whole, or the last part
                record = messages.Record.FromString(part)
                part = b""
                name = record.WhichOneof("record_type")
                yield name, getattr(record, name)


def items(record):
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record}


def wandb_epochs(folder):
    rows = [items(record.item) for name, record in wandb_records(folder) if name == "history"]
    return [(row["epoch"], row["loss"]) for row in rows if "loss" in row]


def test_wandb_goes_on_in_the_same_run_without_an_epoch_twice(tmp_path):
    pytest.importorskip("wandb")
    progress = Listener()
    tracked = Trackers(tensorboard=False, wandb=True, group=tmp_path / "crossval")
    fold = about(tmp_path / "crossval" / "fold-0", group=str(tmp_path / "crossval"))
    with pytest.raises(KeyboardInterrupt), follow(tracked, fold, progress=progress) as told:
        told.epochs(ROWS[:2])
        raise KeyboardInterrupt
    time.sleep(1.1)  # its folders are named by the second
    with follow(tracked, dataclasses.replace(fold, is_resumed=True, n_done=1), progress=progress) as told:
        told.epochs(ROWS[:1])
        told.epochs(ROWS[1:2])
        told.epochs(ROWS[2:])
        told.result({"test/uar": 0.5}, [])
    assert not [line for line in progress.lines if "warning" in line]
    folder = tmp_path / "crossval" / "fold-0"
    assert wandb_epochs(folder) == [(1, 2.0), (2, 1.0), (3, pytest.approx(2 / 3))]
    begun = [record for name, record in wandb_records(folder) if name == "run"]
    assert {(run.run_id, run.run_group, run.job_type, run.project) for run in begun} == {
        (begun[0].run_id, "crossval", "training", "emogram")
    }
    config = {item.key: json.loads(item.value_json) for item in begun[0].config.update}
    assert config["train"] == SETTINGS["train"] and config["run"] == TAGS
    said = [items(record.update) for name, record in wandb_records(folder) if name == "summary"]
    assert [one["status"] for one in said if "status" in one] == ["interrupted", "finished"]
    assert {one["test/uar"] for one in said if "test/uar" in one} == {0.5}
    assert [record.exit_code for name, record in wandb_records(folder) if name == "exit"] == [1, 0]


# ---------------------------------------------------------------- a whole training


@pytest.fixture(scope="module")
def tracked(voices_corpus, settings_of, tmp_path_factory):
    """The training of `tiny_run`, told to all trackers that are installed; and what was said."""
    root = tmp_path_factory.mktemp("tracked")
    progress = Listener()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.delenv("WANDB_DIR", raising=False)
        here = {name: bool(following.find_spec(name)) for name in ("mlflow", "wandb")}
        trackers = choose_trackers(mlflow=here["mlflow"] and str(root / "runs"), wandb=here["wandb"])
        train(voices_corpus, settings_of(), root / "run", workers=1, trackers=trackers, progress=progress)
    return SimpleNamespace(root=root, run=root / "run", uri=str(root / "runs"), lines=progress.lines)


def weights(run):
    with zipfile.ZipFile(run / "model" / "best.keras") as archive:
        return archive.read("model.weights.h5")


def test_a_training_comes_to_the_same_bits_with_trackers_and_without(
    tracked, tiny_run, voices_dataset, settings_of, tmp_path
):
    for name in ("history.csv", "predictions.csv", "metrics.json", "model/model.onnx"):
        assert (tracked.run / name).read_bytes() == (tiny_run.run / name).read_bytes(), name
    config = settings_of()
    fit(voices_dataset, make_split(voices_dataset, config.split), config, tmp_path)  # nobody is told
    assert weights(tmp_path) == weights(tracked.run) == weights(tiny_run.run)
    assert (tmp_path / "history.csv").read_bytes() == (tracked.run / "history.csv").read_bytes()
    assert not (tmp_path / "tensorboard").exists() and not (tmp_path / "plots").exists()


def test_all_trackers_have_the_history_the_figures_and_the_pictures_of_a_training(tracked, client):
    epochs = read_history(tracked.run / "history.csv")
    report = json.loads((tracked.run / "metrics.json").read_text())
    pictures = {"examples", "plots/confusion_matrix", "plots/per_class_accuracy", "plots/reliability"}
    shown = board(tracked.run)
    assert set(shown.Tags()["images"]) == pictures
    (run,) = runs(client, tracked.uri).values()
    for name in ("loss", "accuracy", "val_loss", "val_accuracy", "val_uar", "learning_rate", "val_recall_sad"):
        expected = list(zip(epochs["epoch"], epochs[name], strict=True))
        np.testing.assert_allclose(scalars(shown, name), expected, rtol=1e-5)  # a table has six digits
        np.testing.assert_allclose(history(client, tracked.uri, run, name), expected, rtol=1e-5)
    judged = {"test/uar": report["metrics"]["uar"], "test/ece": report["metrics"]["ece"]}
    judged |= {f"test/recall/{label}": report["per_class"][label]["recall"] for label in report["labels"]}
    for name, value in judged.items():
        assert run.data.metrics[name] == value
        assert scalars(shown, name) == [(3, pytest.approx(value))]
    files = artifacts(client, tracked.uri, run)
    assert {f"plots/{name.removeprefix('plots/')}.png" for name in pictures} < files
    assert {name.removeprefix("model/") for name in files if name.startswith("model/")} == {
        path.name for path in (tracked.run / "model").iterdir()
    }
    assert run.info.status == "FINISHED" and not [line for line in tracked.lines if "warning" in line]
    if (tracked.run / "wandb").is_dir():
        expected = list(zip(epochs["epoch"], epochs["loss"], strict=True))
        np.testing.assert_allclose(wandb_epochs(tracked.run), expected, rtol=1e-5)
        kinds = dict(wandb_records(tracked.run))
        assert {content.path for content in kinds["artifact"].manifest.contents} == {
            path.name for path in (tracked.run / "model").iterdir()
        }
        rows = [items(record.item) for name, record in wandb_records(tracked.run) if name == "history"]
        assert pictures == {name.removesuffix("/sha256") for row in rows for name in row if name.endswith("/sha256")}


def test_a_run_says_its_settings_its_code_its_clips_and_its_seed(tracked, client, voices_dataset, settings_of):
    (run,) = runs(client, tracked.uri).values()
    assert run.data.params == {name: str(value) for name, value in flat_settings(settings_of().to_dict()).items()}
    described = describe_run(tracked.run, settings_of(), voices_dataset, group=None)
    assert described.tags["corpus_hash"] == voices_dataset.content_hash(np.arange(len(voices_dataset)))
    assert described.tags["corpus"] == "synthetic-voices" and described.tags["seed"] == "0"
    assert described.tags["emogram"].split("+")[0] == __version__
    for name, value in described.tags.items():
        assert run.data.tags["emogram.version" if name == "emogram" else f"emogram.{name}"] == value


def test_folds_are_named_after_their_group(voices_dataset, settings_of, tmp_path):
    def describe(out):
        return describe_run(tmp_path / out, settings_of(), voices_dataset, group=tmp_path / "crossval")

    fold, whole = describe("crossval/seed-0/fold-1"), describe("crossval")
    assert (fold.name, fold.is_group, fold.group_name) == ("crossval/seed-0/fold-1", False, "crossval")
    assert (whole.name, whole.is_group, whole.group_name) == ("crossval", True, "crossval")
    assert fold.group_note("mlflow") == whole.note("mlflow")


# ---------------------------------------------------------------- trackers that fail, and trainings that do


class Failing:
    """A tracker that fails at one call, and counts what it is asked."""

    def __init__(self, at):
        self.at, self.calls = at, []

    def __getattr__(self, name):
        def call(*_):
            self.calls.append(name)
            if name == self.at:
                raise OSError(errno.ENOSPC, "No space left on device")

        return call


@pytest.mark.parametrize("at", ["epochs", "picture", "result", "end"])
def test_a_tracker_that_fails_is_told_of_once_and_left_out_and_others_go_on(tmp_path, at):
    failing, working, progress = Failing(at), Failing(None), Listener()
    told = Following({"TensorBoard": failing, "MLflow": working}, tmp_path, progress)
    for row in ROWS:
        told.epochs([row])
    told.result({"test/uar": 0.5}, [tmp_path / "a.png"])
    told.end("finished")
    (line,) = progress.lines
    assert line.startswith("warning: TensorBoard: ") and "No space left" in line and "--no-tensorboard" in line
    assert str(tmp_path) in line and failing.calls.count(at) == 1
    assert working.calls == ["epochs", "epochs", "epochs", "picture", "result", "end"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
def test_a_disk_that_is_full_under_the_events_stops_no_training(tmp_path):
    progress = Listener()
    with follow(Trackers(), about(tmp_path), progress=progress) as told:
        writer = told.trackers["TensorBoard"]._writer._py_recordio_writer
        writer._writer = open("/dev/full", "wb")  # noqa: PTH123, SIM115
        for row in ROWS * 9:  # tensorboardX's own writer would wait for ever here
            told.epochs([row])
        writer._writer.raw.close()
    (line,) = progress.lines
    assert "tensorboard: the disk is full; free some space" in line


def test_a_file_where_the_events_should_go_stops_no_training(tmp_path):
    (tmp_path / "tensorboard").write_text("a file")
    progress = Listener()
    with follow(Trackers(), about(tmp_path), progress=progress) as told:
        told.epochs(ROWS)
    (line,) = progress.lines
    assert "tensorboard: a file stands where a folder should be" in line


def test_a_server_that_is_gone_is_told_of_once(tmp_path):
    pytest.importorskip("mlflow")
    with socket.socket() as taken:  # bound and not listening: whoever connects is refused
        taken.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{taken.getsockname()[1]}"
        progress = Listener()
        with follow(Trackers(tensorboard=False, mlflow=uri), about(tmp_path), progress=progress) as told:
            told.epochs(ROWS)
    line, *_, last = (line for line in progress.lines if "still taking" not in line)
    assert line.startswith("warning: MLflow: ") and "127.0.0.1" in line and "--mlflow-uri" in line
    assert last == "MLflow lacks a part of this run in the end" and len(progress.lines) <= 3


class Unsteady:
    """A tracker whose server is away for some calls."""

    def __init__(self):
        self.done, self.is_away = [], False

    def __getattr__(self, name):
        def call(**values):
            if self.is_away:
                raise ConnectionError("nobody there\nand more words")
            self.done.append((name, values))

        return call


def test_what_a_tracker_misses_is_told_again_in_order_and_not_at_every_call(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(child.time, "monotonic", lambda: now[0])
    tracker = Unsteady()
    work = child.Work(tracker)
    assert work.take({"do": "begin"}) == {}
    tracker.is_away = True
    assert work.take({"do": "epochs", "rows": [1]}) == {"failed": "nobody there"}
    tracker.is_away = False
    assert work.take({"do": "epochs", "rows": [2]}) == {"failed": "it failed a moment ago"}
    assert tracker.done == [("begin", {})]
    now[0] += child.RETRY_S
    assert work.take({"do": "epochs", "rows": [3]}) == {}
    tracker.is_away = True
    assert "failed" in work.take({"do": "epochs", "rows": [4]})
    tracker.is_away = False
    assert work.take({"do": "end", "status": "finished"}) == {}  # the last chance comes at once
    assert [values["rows"] for name, values in tracker.done if name == "epochs"] == [[1], [2], [3], [4]]
    assert tracker.done[-1] == ("end", {"status": "finished"})


class Answers:
    """A child that answers each call as it is told to."""

    def __init__(self, *answers):
        self.answers, self.asked, self.is_ended = [*answers], [], False

    def ask(self, call):
        self.asked.append(call)

    def answer(self, limit_s):
        return Answer(self.answers.pop(0))

    def end(self):
        self.is_ended = True


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [([{}, {"failed": "gone"}, {"failed": "gone"}, {}], "has all"), ([{}, {}, {}, {"failed": "gone"}], "lacks a part")],
)
def test_a_failure_elsewhere_is_told_once_and_so_is_how_it_ended(tmp_path, monkeypatch, answers, outcome):
    process, progress = Answers(*answers), Listener()
    monkeypatch.setattr(apart, "Child", lambda _: process)
    tracker = apart.Apart("W&B", about(tmp_path), progress=progress)
    tracker.begin()
    tracker.epochs(ROWS[:1])
    tracker.epochs(ROWS[1:])
    tracker.end("finished")
    warning, end = progress.lines
    assert warning.startswith("warning: W&B: gone. ") and "wandb login" in warning and "told again" in warning
    assert end == f"W&B {outcome} of this run in the end" and process.is_ended


TRAINING = """
import os, signal, sys
from emogram.trackers import About, Trackers, follow
run, uri = sys.argv[1:]
with follow(Trackers(tensorboard=False, mlflow=uri), About("run", run)) as told:
    told.epochs([{"epoch": 1, "loss": 2.0}])
    told.settle()
    told.epochs([{"epoch": 2, "loss": 1.0}])
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_that_was_killed_is_marked_so_and_lacks_nothing_that_was_told(tmp_path, client):
    uri = str(tmp_path / "runs")
    killed = subprocess.run([sys.executable, "-c", TRAINING, tmp_path / "run", uri], check=False)
    assert killed.returncode == -signal.SIGKILL
    until = time.monotonic() + 60
    while (run := runs(client, uri)["run"]).info.status == "RUNNING" and time.monotonic() < until:
        time.sleep(0.05)
    assert run.info.status == "KILLED"
    assert history(client, uri, run, "loss") == [(1, 2.0), (2, 1.0)]


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "interrupted"), (ValueError, "failed")])
def test_how_a_run_ended_is_told(tmp_path, monkeypatch, error, status):
    ended = []
    monkeypatch.setattr(TensorBoard, "end", lambda _, status: ended.append(status))
    with pytest.raises(error), follow(Trackers(), about(tmp_path)):
        raise error
    with follow(Trackers(), about(tmp_path)):
        pass
    with follow(Trackers(), about(tmp_path)) as told:
        told.interrupted = True
    assert ended == [status, "finished", "interrupted"]


@pytest.mark.parametrize(("asked", "extra"), [({"mlflow": True}, "mlflow"), ({"wandb": True}, "wandb")])
def test_what_is_not_installed_is_said_before_anything_begins(monkeypatch, asked, extra):
    monkeypatch.setattr(following, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=rf"pip install .*\[{extra}\]'"):
        choose_trackers(**asked)


# ---------------------------------------------------------------- examples


@pytest.fixture
def batches(voices_dataset, settings_of):
    def make(**augment):
        config = settings_of(augment=augment)
        split = make_split(voices_dataset, config.split)
        return split, TrainingBatches(voices_dataset, split.train, train=config.train, augmentation=config.augment)

    return make


def test_examples_are_what_training_is_given_and_change_nothing_in_it(batches, voices_dataset):
    split, taken = batches(mixup_alpha=0.4, mix_probability=1.0)
    before = [taken[step] for step in range(2)]
    chosen = split.train[[0, 2, 4, 6]]
    shown, shares = taken.examples(chosen)
    again, _ = taken.examples(chosen)
    assert shown.shape == (4, 64, 64, 1) and np.array_equal(shown, again)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-6)
    # The larger part of a mixture is the clip itself.
    assert np.array_equal(shares.argmax(axis=1), voices_dataset.targets[chosen])
    for (inputs, targets, _), step in zip(before, range(2), strict=True):
        assert np.array_equal(inputs, taken[step][0]) and np.array_equal(targets, taken[step][1])


def test_without_augmentation_an_example_is_a_stretch_of_its_clip(batches, voices_dataset):
    off = {name: 0 for name in ("brightness", "contrast", "time_masks", "frequency_masks", "time_stretch",
           "frequency_warp", "frequency_shift", "band_gain", "noise_floor", "mixup_alpha", "cutmix_alpha")}  # fmt: skip
    split, taken = batches(**off)
    shown, _ = taken.examples(split.train[:1])
    clip = np.asarray(voices_dataset.samples[split.train[0]].spectrogram, np.float32)
    assert any(np.array_equal(shown[0], clip[start : start + 64]) for start in range(len(clip) - 63))


def test_the_picture_shows_each_label_before_and_after(batches, voices_dataset, tmp_path):
    split, taken = batches(mixup_alpha=0.4, mix_probability=1.0)
    tracker = SimpleNamespace(picture=lambda name, path: seen.append((name, path)))
    seen = []
    tell_examples(Following({"TensorBoard": tracker}), taken, voices_dataset, split.train, tmp_path / "plots")
    assert seen == [("examples", str(tmp_path / "plots" / "examples.png"))]
    with Image.open(seen[0][1]) as opened:
        assert opened.size[0] > 600
    tell_examples(Following(), taken, voices_dataset, split.train, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_picture_that_cannot_be_written_leaves_none_of_an_earlier_training(
    batches, voices_dataset, tmp_path, monkeypatch
):
    def fail(figure, path):
        raise OutputError(f"cannot write {path}: the disk is full")

    monkeypatch.setattr("emogram.plots.style.save", fail)
    (tmp_path / "examples.png").write_bytes(b"of an earlier training")
    split, taken = batches()
    told = []
    following = Following({"TensorBoard": SimpleNamespace()}, progress=SimpleNamespace(say=told.append))
    tell_examples(following, taken, voices_dataset, split.train, tmp_path)
    assert not (tmp_path / "examples.png").exists()
    (tmp_path / "examples.png").write_bytes(b"of an earlier training")
    tell_examples(Following(), taken, voices_dataset, split.train, tmp_path)
    assert not (tmp_path / "examples.png").exists(), "no tracker is left to draw it for"
    assert len(told) == 1 and "the disk is full; this run goes on without example spectrograms" in told[0]


def test_a_row_names_the_clip_and_what_the_changed_one_stands_for():
    clip = np.zeros((30, 64, 1), np.float32)
    examples = [
        Example("angry", "a.wav", clip, clip[:10] + 0.5, "angry 70%, sad 30%"),
        Example("sad", "b.wav", clip, clip, "sad"),
    ]
    figure = draw_examples(examples, None, title="two")
    left, right, *_ = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["a.wav", "angry 70%, sad 30%", "b.wav", "sad"]
    assert left.get_ylabel() == "angry" and left.get_xlim() == right.get_xlim() == (0.0, 30.0)
    assert right.images[0].get_array().shape == (64, 10) and float(right.images[0].get_array().max()) == 0.5
    pictures = [Example("sad", "a.png", np.zeros((8, 8, 3)), np.ones((8, 8, 3)), "sad")]
    assert draw_examples(pictures, None, title="one").axes[1].images[0].get_array().shape == (8, 8, 3)


def test_no_trackers_are_no_files(tmp_path):
    with follow(NO_TRACKERS, about(tmp_path)) as told:
        told.epochs(ROWS)
    assert list(tmp_path.iterdir()) == []

"""Many items on a Ray cluster of two nodes: the same results, whatever is killed, and a clean end."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from listeners import Listener

from emogram import archive, engines
from emogram.cluster import TRIES, connected, map_on_cluster
from emogram.config import ArchiveConfig
from emogram.crossval import crossval
from emogram.errors import AudioError, EmogramError, MissingExtraError, SettingsError
from emogram.jobs import run_jobs
from emogram.progress import Progress, Task
from emogram.testing import tiny_bundle

# Read by Ray when it is imported: everything on 127.0.0.1, and nothing told to its makers.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'emogram[cluster]'"
    ),
    # Ray leaves sockets and files of its own to the end of the process.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one processor each; the second may be taken away."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80 << 20}
    started = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        yield started, started.add_node(**node)
    finally:
        started.shutdown()


@pytest.fixture(scope="module")
def address(cluster):
    return cluster[0].address


# ---------------------------------------------------------------- what needs no cluster


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(MissingExtraError, match=r"the engine 'ray' needs .*\[cluster\]"),
        connected("127.0.0.1:1"),
    ):
        pass


def test_engines_are_named_and_an_address_is_for_ray_alone():
    assert engines.engine_named("local") is engines.local
    assert engines.engine_named("ray", "127.0.0.1:1").keywords == {"address": "127.0.0.1:1"}
    with pytest.raises(SettingsError, match="unknown engine 'slurm'; expected one of local, ray"):
        engines.engine_named("slurm")
    with pytest.raises(SettingsError, match="say --engine ray as well"):
        engines.engine_named("local", "127.0.0.1:1")


def test_where_no_cluster_runs_the_reader_is_told_how_to_start_one(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with (
        pytest.raises(SettingsError, match=r"no connection to a Ray cluster at 'auto' .* `ray start --head --dis"),
        connected(),
    ):
        pass


def test_where_nobody_listens_that_is_said_at_once():
    with (
        pytest.raises(SettingsError, match=r"no connection to a Ray cluster at '127\.0\.0\.1:1' .*refused"),
        connected("127.0.0.1:1"),
    ):
        pass


# ---------------------------------------------------------------- results


def test_results_are_those_of_a_loop_with_errors_in_their_places_and_things_around_as_here(
    address, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMOGRAM_CACHE", "somewhere")

    def work(item):
        if item == 3:
            raise AudioError(f"item {item}: odd", code="odd")
        return item * item, str(Path.cwd()), os.environ["EMOGRAM_CACHE"], os.environ["OMP_NUM_THREADS"]

    before = signal.getsignal(signal.SIGTERM)
    found = dict(map_on_cluster(work, iter(range(6)), address=address))
    assert signal.getsignal(signal.SIGTERM) is before
    error = found.pop(3)
    assert isinstance(error, AudioError)
    assert (str(error), error.code) == ("item 3: odd", "odd")
    assert found == {i: (i * i, str(tmp_path), "somewhere", "1") for i in (0, 1, 2, 4, 5)}


def test_a_bug_is_raised_as_what_it_is(address):
    with pytest.raises(ZeroDivisionError):
        list(map_on_cluster(lambda item: 1 // item, [0], address=address))


def test_items_are_taken_only_a_few_ahead_of_what_is_done(address):
    taken = []

    def items():
        for item in range(100):
            taken.append(item)
            yield item

    with contextlib.closing(map_on_cluster(lambda item: item, items(), address=address)) as outcomes:
        next(outcomes)
        assert len(taken) <= 2 * 2 + 1


def test_work_of_killed_workers_is_done_again_and_said_and_not_without_end(address, tmp_path):
    def dies_once(item):
        mark = tmp_path / str(item)
        if item % 2 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    progress = Listener()
    assert sorted(map_on_cluster(dies_once, range(4), address=address, progress=progress)) == [(i, i) for i in range(4)]
    assert len(progress.lines) == 2
    assert all(line.startswith("a worker was lost (") for line in progress.lines)

    def dies(item):
        with (tmp_path / "tries").open("a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)

    ((_, lost),) = map_on_cluster(dies, [0], address=address)
    assert isinstance(lost, EmogramError)
    assert f"a worker was lost {TRIES} times at the same piece of work" in str(lost)
    assert len((tmp_path / "tries").read_text()) == TRIES


def test_once_told_to_stop_nothing_more_is_yielded_and_what_runs_is_ended(address, tmp_path):
    def slow(item):
        (tmp_path / str(os.getpid())).touch()
        time.sleep(60)

    begun = time.monotonic()
    assert list(map_on_cluster(slow, range(4), address=address, should_stop=lambda: any(tmp_path.iterdir()))) == []
    assert time.monotonic() - begun < 50
    for process in tmp_path.iterdir():
        _wait_until_gone(int(process.name))


def _wait_until_gone(process: int) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and Path(f"/proc/{process}").exists():
        time.sleep(0.05)
    assert not Path(f"/proc/{process}").exists()


INTERRUPTED = """
import sys, time, os
from emogram.cluster import map_on_cluster
def work(item):
    if item:
        open(told, "w").write(str(os.getpid()))
        time.sleep(60)
told = sys.argv[2]
try:
    for _ in map_on_cluster(work, [0, 1], address=sys.argv[1], workers=1):
        print("ready", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(130)
"""


def test_ctrl_c_ends_the_work_on_the_cluster_without_a_word_of_ray(address, tmp_path):
    told = tmp_path / "process"
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, address, str(told)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        until = time.monotonic() + 30
        while not (told.exists() and told.read_text()):
            assert time.monotonic() < until
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert (out, err, process.returncode) == ("interrupted\n", "", 130)
    _wait_until_gone(int(told.read_text()))


# ---------------------------------------------------------------- what stands on it


def test_jobs_on_the_cluster_tell_what_they_do(address):
    def double(progress, job):
        with progress.task(f"doubling {job % 2}", 10) as task:
            for _ in range(10):
                task.advance()
        progress.say(f"job {job}")
        return 2 * job

    progress = Listener()
    engine = engines.engine_named("ray", address)
    done = run_jobs(double, [1, 2, 3], what="doubling", unit="jobs", jobs=None, progress=progress, engine=engine)
    assert dict(done) == {1: 2, 2: 4, 3: 6}
    assert sorted(progress.lines) == ["job 1", "job 2", "job 3"]
    assert progress.steps == {"doubling": 3, "doubling 0": 10, "doubling 1": 20}


@pytest.mark.usefixtures("without_plots")
def test_cross_validation_on_the_cluster_gives_what_this_machine_gives(
    address, voices_folder, settings_of, tmp_path, monkeypatch
):
    """By a corpus named from the working folder, as people do."""
    import torch

    from emogram.corpora import find_corpus

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.chdir(voices_folder)
    corpus = find_corpus(Path("manifest.csv"))
    config = settings_of(train={"epochs": 1}, split={"validation_speakers": [], "test_speakers": []})
    common = {"protocol": "random80", "jobs": 1}
    try:
        here = crossval(corpus, config, tmp_path / "here", **common)
    finally:
        torch.set_num_threads(threads)
    there = crossval(
        corpus, config, tmp_path / "there", **common, engine=engines.engine_named("ray", address), progress=Listener()
    )
    assert there.report == here.report
    for file in ("predictions.csv", "seed-0/fold-0/predictions.csv", "seed-0/fold-0/config.toml"):
        assert (tmp_path / "there" / file).read_bytes() == (tmp_path / "here" / file).read_bytes()


@pytest.mark.long
def test_a_search_on_the_cluster_tries_what_this_machine_tries_and_comes_to_the_same(
    address, voices_folder, settings_of, tmp_path, monkeypatch
):
    """With one job at a time; what is drawn depends on what the trials before came to."""
    pytest.importorskip("optuna")
    import torch

    from emogram.corpora import find_corpus
    from emogram.tuning import Range, SearchSpace, tune

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.chdir(voices_folder)
    corpus = find_corpus(Path("manifest.csv"))
    space = SearchSpace({"train.learning_rate": Range(1e-4, 1e-2, log=True, step=None, whole=False)})
    common = {"space": space, "trials": 3, "pruner": "none", "jobs": 1}
    try:
        here = tune(corpus, settings_of(), tmp_path / "here", **common)
    finally:
        torch.set_num_threads(threads)
    progress = Listener()
    engine = engines.engine_named("ray", address)
    there = tune(corpus, settings_of(), tmp_path / "there", **common, engine=engine, progress=progress)
    assert [trial.state for trial in here.trials] == ["complete"] * 3
    assert len({trial.value for trial in here.trials}) > 1
    assert [replace(trial, seconds=0.0) for trial in there.trials] == [
        replace(trial, seconds=0.0) for trial in here.trials
    ]
    assert there.config == here.config
    assert progress.steps["tuning"] == 3
    assert (tmp_path / "there" / "best.toml").read_bytes() == (tmp_path / "here" / "best.toml").read_bytes()


def test_an_archive_on_the_cluster_has_the_rows_of_this_machine_though_a_node_goes(cluster, tmp_path, capfd):
    started, second = cluster
    model = tiny_bundle(tmp_path / "model")
    (tmp_path / "in").mkdir()
    for number in range(24):
        noise = np.random.default_rng(number).normal(0, 0.1, 16000 + 100 * number)
        soundfile.write(tmp_path / "in" / f"{number:02d}.wav", noise, 16000)
    (tmp_path / "in" / "no-sound.wav").write_bytes(b"RIFF and no more")
    common = {"model": model, "config": ArchiveConfig(shard_files=2, check=False)}
    here = archive.score(tmp_path / "in", tmp_path / "here", **common, workers=1)

    removed = []

    class Removes(Progress):
        """Takes a node away once the first shard is committed."""

        @contextlib.contextmanager
        def task(self, what, total, *, unit="clips"):
            class Count(Task):
                def advance(self, steps=1, *, note=""):
                    if what == "scoring" and not removed:
                        removed.append(started.remove_node(second, allow_graceful=False))

            yield Count()

    there = archive.score(
        tmp_path / "in", tmp_path / "there", **common, engine="ray", address=started.address, progress=Removes()
    )
    assert len(removed) == 1
    assert capfd.readouterr().out == "", "data stand on stdout, and nothing that Ray says of the node"
    assert there.complete
    assert (there.n_rows, dict(there.failed)) == (here.n_rows, dict(here.failed)) == (25, {"unreadable": 1})
    parts = sorted(path.name for path in (tmp_path / "here").glob("*.parquet"))
    assert len(parts) == 13
    for part in parts:
        assert (tmp_path / "there" / part).read_bytes() == (tmp_path / "here" / part).read_bytes()

"""Archives that stand elsewhere: S3 (by a server of this machine), HTTP, and fsspec's memory."""

from __future__ import annotations

import functools
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from emogram.archive import fetching, places, score, status
from emogram.archive.fetching import fetch
from emogram.archive.inputs import Input, list_inputs
from emogram.archive.places import open_place
from emogram.config import ArchiveConfig
from emogram.errors import InputError, MissingExtraError, OutputError, SettingsError
from emogram.testing import tiny_bundle

fsspec = pytest.importorskip("fsspec")


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def tree(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for number in range(6):
        path = root / f"day{number % 2}" / f"clip {number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, np.random.default_rng(number).normal(0.0, 0.1, 8000), 16000)
    (root / "day0" / "notes.md").write_text("no sound")
    (root / "day0" / "broken.flac").write_bytes(b"fLaC")
    return root


@pytest.fixture(scope="session")
def said(tree, model, tmp_path_factory) -> dict[str, dict]:
    """What is said of the tree where it stands on this machine, by the end of the path."""
    out = tmp_path_factory.mktemp("said") / "out"
    score(tree, out, model=model, workers=1)
    return by_name([row for part in out.glob("*.parquet") for row in pq.read_table(part).to_pylist()])


def by_name(rows: list[dict]) -> dict[str, dict]:
    """Rows without what depends on where the files stand."""
    found = {"/".join(row["file"].replace("%20", " ").rsplit("/", 2)[1:]): row for row in rows}
    assert len(found) == len(rows)
    return {
        name: {column: value for column, value in row.items() if column not in ("file", "message")}
        for name, row in found.items()
    }


# ---------------------------------------------------------------- S3


@pytest.fixture(scope="session")
def s3(tmp_path_factory) -> Iterator[None]:
    """An S3 of this machine, empty but for the bucket "archive"; found by the variables that every client reads."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    patch = pytest.MonkeyPatch()
    home = tmp_path_factory.mktemp("aws")
    for name, value in {
        "AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port()),
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(home / "config"), "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        patch.setenv(name, value)
    fsspec.filesystem("s3").mkdir("archive")
    yield
    patch.undo()
    server.stop()


def test_s3_to_s3_gives_the_same_rows_and_goes_on(tree, model, said, s3):
    store = fsspec.filesystem("s3")
    store.put(str(tree), "archive/in", recursive=True)
    config = ArchiveConfig(shard_files=3)
    reached = score("s3://archive/in", "s3://archive/out", model=model, config=config, workers=1)
    assert (reached.n_shards, reached.n_rows, reached.failed) == (3, 7, {"unreadable": 1})
    names = sorted(path.rpartition("/")[2] for path in store.ls("archive/out", refresh=True))
    assert names == ["_SUCCESS", "_emogram", *(f"part-{number:05d}.parquet" for number in range(3))]
    rows = [row for path in store.glob("archive/out/*.parquet") for row in pq.read_table(store.open(path)).to_pylist()]
    assert by_name(rows) == said
    assert {row["file"].startswith("s3://archive/in/day") for row in rows} == {True}
    (message,) = (row["message"] for row in rows if row["error"])
    assert message.startswith("s3://archive/in/day0/broken.flac: ")  # and nothing of the copy that was read
    # A shard that was damaged, and one whose marker never came.
    store.pipe("archive/out/part-00001.parquet", b"something else")
    store.rm("archive/out/_emogram/committed/00002.json")
    assert status("s3://archive/out").n_committed == 1
    again = score("s3://archive/in", "s3://archive/out", model=model, config=config, workers=1)
    assert (again.complete, again.n_now) == (True, 4)
    assert status("s3://archive/out").complete


def test_of_two_plans_at_once_one_counts_on_s3(s3):
    first, second = open_place("s3://archive/race"), open_place("s3://archive/race")
    assert (first.create("plan", b"first"), second.create("plan", b"second")) == (True, False)
    assert second.read("plan") == b"first"


def test_what_is_not_on_s3_is_said_in_words(tree, model, tmp_path, s3):
    with pytest.raises(InputError, match="s3://archive/nothing: nothing of that name there"):
        score("s3://archive/nothing", tmp_path / "out", model=model)
    (tmp_path / "list.txt").write_text(f"s3://archive/gone.wav\n{tree}/day0/clip 0.wav\ns3://nobucket/a.wav\n")
    reached = score(tmp_path / "list.txt", tmp_path / "out", model=model, workers=1)
    assert reached.failed == {"missing": 2}
    with pytest.raises(OutputError, match=r"cannot write s3://nobucket/out/.*; make the bucket or folder first"):
        score(tree, "s3://nobucket/out", model=model, workers=1)


@pytest.mark.slow
def test_two_commands_share_s3(tree, model, said, s3):
    command = [sys.executable, "-m", "emogram", "score", str(tree), "--out", "s3://archive/shared", "--json"]
    command += ["--model", str(model), "--shard-files", "2", "--workers", "1", "--shard"]
    jobs = [subprocess.Popen([*command, part], stdout=subprocess.PIPE, text=True) for part in ("1/2", "2/2")]
    told = [json.loads(job.communicate(timeout=120)[0]) for job in jobs]
    assert sorted(each["n_now"] for each in told) == [3, 4]
    store = fsspec.filesystem("s3")
    store.invalidate_cache()
    paths = store.glob("archive/shared/*.parquet")
    assert by_name([row for path in paths for row in pq.read_table(store.open(path)).to_pylist()]) == said
    assert store.exists("archive/shared/_SUCCESS")


# ---------------------------------------------------------------- HTTP


@pytest.fixture
def web(tree) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tree)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_tree_on_the_web_and_single_files_of_it(web, model, said, tmp_path):
    pytest.importorskip("aiohttp")
    score(f"{web}/", tmp_path / "out", model=model, workers=1)
    assert by_name(pq.read_table(tmp_path / "out" / "part-00000.parquet").to_pylist()) == said
    given = [f"{web}/day0/clip%200.wav", f"{web}/day0/never.wav"]
    reached = score(given, tmp_path / "two", model=model, workers=1)
    assert (reached.n_rows, reached.failed) == (2, {"missing": 1})


# ---------------------------------------------------------------- any store


@pytest.fixture
def memory() -> Iterator[str]:
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield "memory://"
    store.store.clear()


def test_patterns_and_manifests_of_a_store(memory, tree):
    store = fsspec.filesystem("memory")
    store.put(str(tree), "/in", recursive=True)
    store.pipe("/in/list.csv", b"path,start,end\nday1/clip 1.wav,0,0.25\n../other.wav,,\n")

    def paths(name: str) -> list[str]:
        table = list_inputs([name], suffixes=frozenset({".wav"})).table
        return [path.decode() for path in table["path"].to_pylist()]

    assert paths("memory://in/day0/*.wav") == [f"memory:///in/day0/clip {number}.wav" for number in (0, 2, 4)]
    assert paths("memory:///in") == [f"memory:///in/day{n % 2}/clip {n}.wav" for n in (0, 2, 4, 1, 3, 5)]
    store.pipe("/in/sizes.jsonl", b'{"path": "a.wav", "size": 7}\n{"path": "b.wav", "start": 1, "end": 3}')
    table = list_inputs(["memory://in/sizes.jsonl"], suffixes=frozenset()).table
    assert table["size"].to_pylist() == [7, 64000]  # what it tells, and what a stretch of two seconds weighs
    assert paths("memory://in/list.csv") == ["memory://in/../other.wav", "memory://in/day1/clip 1.wav"]


def test_copies_come_in_order_and_few_stand_at_once(memory, tmp_path):
    store = fsspec.filesystem("memory")
    inputs = []
    for number in range(40):
        if number % 7:
            store.pipe(f"/in/{number}.wav", bytes([number]))
        inputs.append(Input(f"memory://in/{number}.wav", size=1))
    inputs.insert(5, Input(str(tmp_path / "local.wav")))
    most = 0
    for place, (each, at_hand) in enumerate(fetch(inputs, tmp_path)):
        assert each is inputs[place]
        most = max(most, len(list(tmp_path.iterdir())))
        number = Path(each.path).stem
        if number == "local":
            assert at_hand == tmp_path / "local.wav"
        elif int(number) % 7:
            assert isinstance(at_hand, Path) and at_hand.suffix == ".wav"
            assert at_hand.read_bytes() == bytes([int(number)])
        else:
            assert isinstance(at_hand, InputError) and at_hand.code == "missing"
    assert 1 < most <= fetching.AHEAD_FILES + 1


def test_large_files_are_not_copied_ahead_and_too_large_ones_not_at_all(memory, tmp_path, monkeypatch):
    store = fsspec.filesystem("memory")
    for number in range(4):
        store.pipe(f"/in/{number}.wav", bytes(1000))
    monkeypatch.setattr(fetching, "AHEAD_BYTES", 1500)
    inputs = [Input(f"memory://in/{number}.wav", size=1000) for number in range(4)]
    for _, at_hand in fetch(inputs, tmp_path):
        assert isinstance(at_hand, Path)
        assert len(list(tmp_path.iterdir())) <= 2
    monkeypatch.setattr(fetching, "MAX_COPY_BYTES", 999)
    ((_, refused),) = fetch(inputs[:1], tmp_path)
    assert isinstance(refused, InputError) and refused.code == "too_long"
    assert not list(tmp_path.iterdir())


def test_a_store_that_stumbles_is_asked_again_and_one_that_refuses_is_not(monkeypatch):
    monkeypatch.setattr(places, "_FIRST_WAIT_S", 0.0)
    calls = []

    def stumbles() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise OSError("connection reset")
        return "done"

    assert places.patiently(stumbles) == "done"

    def refuses() -> None:
        calls.append(1)
        raise PermissionError

    with pytest.raises(PermissionError):
        places.patiently(refuses)
    assert len(calls) == 4


def test_a_missing_package_is_named_with_its_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(MissingExtraError, match=r"gs:// needs the extra 'gs', .* pip install .*\[gs\]'"):
        places.open_store("gs://bucket/x")
    with pytest.raises(SettingsError, match="expected a path, s3://, gs:// or http://"):
        places.open_store("nonsense://x")

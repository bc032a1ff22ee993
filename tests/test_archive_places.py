"""Where results stand, when disks and stores fail: a typed error, what was there stays, nothing half-written stays."""

from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path

import pytest

from emogram.archive import places
from emogram.archive.places import open_place, open_store
from emogram.errors import EmogramError, OutputError

fsspec = pytest.importorskip("fsspec")
LocalFileSystem = pytest.importorskip("fsspec.implementations.local").LocalFileSystem


def refuses(error: BaseException):
    def call(*_, **__):
        raise error

    return call


def system(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def shared(monkeypatch) -> None:
    """A store that renames, as those of SFTP, SMB and HDFS do: "shared://" and the path of a folder here."""

    class Shared(LocalFileSystem):
        protocol = "shared"

        @classmethod
        def _strip_protocol(cls, path, **settings):
            return super()._strip_protocol(str(path).removeprefix("shared://"), **settings)

    fsspec.register_implementation("shared", Shared, clobber=True)
    monkeypatch.setattr(places, "_FIRST_WAIT_S", 0.0)


@pytest.fixture(params=["local", "shared"])
def place(request, shared, tmp_path):
    return open_place(str(tmp_path / "out") if request.param == "local" else f"shared://{tmp_path}/out")


def test_every_place_does_the_same(place, tmp_path):
    assert place.read("a/b") is None and place.sha256("a/b") is None and place.sizes("a") == {}
    assert place.create("a/b", b"first")
    assert not place.create("a/b", b"second")
    assert place.read("a/b") == b"first"
    with place.writing("a/c.parquet") as temporary:
        temporary.write_bytes(b"rows")
        assert place.read("a/c.parquet") is None
    assert place.sizes("a") == {"b": 5, "c.parquet": 4}
    assert place.read_many(["a/b", "a/c.parquet", "a/none"]) == {"a/b": b"first", "a/c.parquet": b"rows"}
    assert place.sha256("a/b") == "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e"
    place.remove("a/b")
    place.remove("a/b")
    assert names(tmp_path) == ["out/a/c.parquet"]


def test_who_fails_while_writing_leaves_what_was_there(place, tmp_path):
    with place.writing("rows") as temporary:
        temporary.write_bytes(b"old")
    with pytest.raises(KeyError), place.writing("rows") as temporary:
        temporary.write_bytes(b"half of the n")
        raise KeyError
    assert place.read("rows") == b"old"
    assert names(tmp_path) == ["out/rows"]


# ---------------------------------------------------------------- disks


@pytest.mark.parametrize("after", [False, True])
def test_a_disk_that_fails_as_a_file_is_put_in_place_is_told(tmp_path, monkeypatch, after):
    """`after`: for good, so that what was written so far cannot be removed either."""
    place = open_place(str(tmp_path))
    assert place.create("rows", b"old")
    replace = Path.replace

    def fails(self, target):
        if Path(target).name == "rows":
            if after:
                monkeypatch.setattr(Path, "unlink", refuses(system(errno.EROFS)))
            raise system(errno.EROFS)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(OutputError, match="rows: the folder cannot be written to"), place.writing("rows") as temporary:
        temporary.write_bytes(b"new")
    assert place.read("rows") == b"old"


def test_a_file_system_without_links_is_written_to_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", refuses(system(errno.EPERM)))
    place = open_place(str(tmp_path))
    assert place.create("plan", b"first")
    assert not place.create("plan", b"second")
    assert place.read("plan") == b"first"
    assert names(tmp_path) == ["plan"]


def test_a_disk_that_cannot_be_read_or_created_on_is_told(tmp_path, monkeypatch):
    place = open_place(str(tmp_path))
    assert place.create("rows", b"old")
    with monkeypatch.context() as patch, pytest.raises(OutputError, match="rows: cannot be read"):
        patch.setattr(Path, "read_bytes", refuses(system(errno.EIO)))
        place.read("rows")
    monkeypatch.setattr(places, "sync_folder", refuses(system(errno.EIO)))
    with pytest.raises(OutputError, match="other: Input/output error"):
        place.create("other", b"x")


def test_what_killed_writers_left_is_removed_once_it_is_old(tmp_path):
    hidden = tmp_path / places.HIDDEN
    hidden.mkdir()
    for name, age_s in (("waiting-aa", 7200.0), (".waiting-bb-0123abcd", 7200.0), ("waiting-cc", 60.0), ("x", 7200.0)):
        (hidden / name).touch()
        os.utime(hidden / name, (0.0, time.time() - age_s))
    open_place(str(tmp_path)).tidy()
    assert sorted(path.name for path in hidden.iterdir()) == ["waiting-cc", "x"]


# ---------------------------------------------------------------- stores


def test_a_store_that_refuses_is_named_with_what_it_says(shared, tmp_path, monkeypatch):
    place = open_place(f"shared://{tmp_path}/out")
    for method in ("makedirs", "put_file", "mv"):
        with (
            monkeypatch.context() as patch,
            pytest.raises(OutputError, match=r"rows: the store refuses or cannot be reached \(RuntimeError: quota\)"),
            place.writing("rows") as temporary,
        ):
            patch.setattr(LocalFileSystem, method, refuses(RuntimeError("quota")))
            temporary.touch()
    monkeypatch.setattr(LocalFileSystem, "cat_file", refuses(RuntimeError("quota")))
    with pytest.raises(OutputError, match=r"rows: the store refuses .*quota"):
        place.read("rows")


def test_a_bucket_that_is_not_there_is_to_be_made_first(shared, tmp_path, monkeypatch):
    place = open_place(f"shared://{tmp_path}/out")
    monkeypatch.setattr(LocalFileSystem, "pipe_file", refuses(FileNotFoundError("no such bucket")))
    with pytest.raises(OutputError, match="no such bucket; make the bucket or folder first"):
        place.create("plan", b"x")


def test_a_store_that_cannot_create_in_one_step_does_in_two(shared, tmp_path, monkeypatch):
    pipe = LocalFileSystem.pipe_file

    def without_mode(self, path, value, **settings):
        if settings:
            raise NotImplementedError("mode")
        pipe(self, path, value)

    monkeypatch.setattr(LocalFileSystem, "pipe_file", without_mode)
    place = open_place(f"shared://{tmp_path}/out")
    assert place.create("plan", b"first")
    assert not place.create("plan", b"second")
    assert place.read("plan") == b"first"


def test_a_protocol_whose_package_is_missing_is_told_by_the_words_of_fsspec(monkeypatch):
    monkeypatch.setitem(sys.modules, "paramiko", None)
    with pytest.raises(EmogramError, match=r"reaching sftp:// needs a package that is not installed: .*paramiko"):
        open_store("sftp://host/x")


def test_after_the_last_try_what_went_wrong_is_told(monkeypatch):
    monkeypatch.setattr(places, "_FIRST_WAIT_S", 0.0)
    calls = []

    def stumbles():
        calls.append(1)
        raise ConnectionError(f"try {len(calls)}")

    with pytest.raises(ConnectionError, match="try 4"):
        places.patiently(stumbles)
    assert places.one_line_of(ValueError("a\n  b" + "c" * 500)) == ("ValueError: a b" + "c" * 500)[:300]

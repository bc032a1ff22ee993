"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from emogram.errors import OutputError
from emogram.files import (
    default_cache,
    json_line,
    lock,
    remove_half_written,
    sha256_of,
    sync_folder,
    write_json,
    write_text,
    writing,
)


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_appears_under_its_name_only_when_it_is_whole(tmp_path: Path, durable: bool) -> None:
    target = tmp_path / "new" / "folder" / "result.csv"
    with writing(target, durable=durable) as temporary:
        assert temporary.suffix == ".csv"
        assert temporary.parent == target.parent
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert _names(target.parent) == ["result.csv"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "result.txt"
    write_text(target, "old")
    with pytest.raises(error), writing(target) as temporary:
        temporary.write_text("half of the n")
        raise error
    assert target.read_text() == "old"
    assert _names(tmp_path) == ["result.txt"]


def test_a_full_disk_is_told_and_the_old_file_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "result.txt"
    write_text(target, "old")

    def full(_file: int) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"cannot write .*result\.txt: the disk is full; free some space"):
        write_text(target, "new")
    assert target.read_text() == "old"
    assert _names(tmp_path) == ["result.txt"]


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EROFS, "cannot be written to"),
        (errno.EACCES, "change its permissions"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_other_failures_of_the_system_say_what_to_do(tmp_path: Path, number: int, message: str) -> None:
    with pytest.raises(OutputError, match=message), writing(tmp_path / "result.txt"):
        raise OSError(number, os.strerror(number))


def test_a_file_where_a_folder_should_be_and_the_other_way_round(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a file stands where a folder should be"):
        write_text(tmp_path / "file" / "result.txt", "")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="or the other way round"):
        write_text(tmp_path / "folder", "")
    assert _names(tmp_path) == ["file", "folder"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.usefixtures("usual_umask")
def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    write_text(tmp_path / "public.txt", "")
    assert stat.S_IMODE((tmp_path / "public.txt").stat().st_mode) == 0o644
    os.umask(0o077)
    write_text(tmp_path / "private.txt", "")
    assert stat.S_IMODE((tmp_path / "private.txt").stat().st_mode) == 0o600


def test_the_longest_name_that_the_disk_takes_can_be_written(tmp_path: Path) -> None:
    target = tmp_path / ("x" * 251 + ".txt")
    write_text(target, "content")
    assert target.read_text() == "content"


def test_text_is_utf_8_with_the_same_line_ends_everywhere(tmp_path: Path) -> None:
    write_text(tmp_path / "text.txt", "müde\nfroh\n")
    assert (tmp_path / "text.txt").read_bytes() == "müde\nfroh\n".encode()


def test_json_is_readable_by_any_reader(tmp_path: Path) -> None:
    write_json(tmp_path / "value.json", {"wütend": [1, 0.5, float("nan")], "nested": {"inf": float("-inf")}})
    text = (tmp_path / "value.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"wütend": [1, 0.5, None], "nested": {"inf": None}}
    assert "NaN" not in text
    assert text.endswith("}\n")


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"abc" * 100_000)
    assert sha256_of(tmp_path / "bytes") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    with pytest.raises(KeyboardInterrupt), writing(tmp_path / "history.csv") as left:
        named = left.with_name(left.name)
        raise KeyboardInterrupt
    for name in (named.name, ".hidden", ".gitignore", "a-0123abcd.csv", ".env-12345"):
        (tmp_path / name).write_text("x")
    remove_half_written(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".hidden", ".gitignore", "a-0123abcd.csv", ".env-12345"}


def test_a_line_of_json_has_nulls_for_what_json_has_not_and_is_ascii():
    assert json_line({"müde": [1.5, float("nan")]}) == '{"m\\u00fcde": [1.5, null]}'
    assert json_line([1, "a"]) == '[1, "a"]'


def test_a_lock_keeps_others_out_until_the_file_is_closed(tmp_path, monkeypatch):
    import fcntl

    with (tmp_path / "lock").open("ab") as one, (tmp_path / "lock").open("ab") as other:
        assert lock(one)
        assert not lock(other)
        one.close()
        assert lock(other)

    def unknown(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unknown)
    with (tmp_path / "lock").open("ab") as one:
        assert lock(one), "where there are no locks nobody is kept out"


def test_names_are_flushed_where_the_file_system_can(tmp_path, monkeypatch):
    synced = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(descriptor), sync(descriptor)))
    sync_folder(tmp_path)
    assert len(synced) == 1

    def cannot(_: int) -> NoReturn:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", cannot)
    sync_folder(tmp_path, must=False)
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        sync_folder(tmp_path)
    monkeypatch.setattr(os, "name", "nt")
    sync_folder(tmp_path)


def test_the_cache_is_where_the_variables_say(tmp_path, monkeypatch):
    monkeypatch.delenv("EMOGRAM_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert default_cache() == Path("/caches/emogram")
    monkeypatch.setenv("EMOGRAM_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.delenv("EMOGRAM_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == Path.home() / ".cache" / "emogram"

"""Archives are looked at as a whole before anything of them is written."""

from __future__ import annotations

import io
import random
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from emogram.downloads import unpacking
from emogram.downloads.unpacking import unpack
from emogram.errors import DownloadError, OutputError

sys.path.insert(0, str(Path(__file__).parents[1]))

from torture import archives, hostile_archives

FILES = {"d/a.wav": b"sound" * 5000, "d/e/b.wav": b"", "README": b"words"}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def held(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_an_honest_archive_is_unpacked_whole(tmp_path, target, kind):
    archive = tmp_path / f"honest.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as file:
            for name, content in FILES.items():
                file.writestr(name, content)
    else:
        with tarfile.open(archive, "w:gz" if kind == "tar.gz" else "w") as file:
            for name, content in FILES.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    assert unpack(archive, target) == 3
    assert held(target) == FILES


def test_only_what_is_wanted_is_written_and_all_is_looked_at(tmp_path, target):
    names = ["top/AudioWAV/a.wav", "top/AudioMP3/a.mp3", "top/LICENSE.txt", "__MACOSX/top/AudioWAV/._a.wav"]
    archive = written(tmp_path / "a.zip", hostile_archives.zip_of([(name, b"x") for name in names]))
    assert unpack(archive, target, keep=("*/AudioWAV/*.wav", "*/LICENSE*")) == 2
    assert sorted(held(target)) == ["top/AudioWAV/a.wav", "top/LICENSE.txt"]
    bad = written(tmp_path / "b.zip", hostile_archives.zip_of([("a.wav", b"x"), ("../b.mp3", b"x")]))
    with pytest.raises(DownloadError, match="leads out of the folder"):
        unpack(bad, target, keep=("*.wav",))


def test_one_bad_name_among_many_good_ones_refuses_all(tmp_path, target):
    entries = [(f"{number}.wav", b"x") for number in range(100)]
    archive = written(tmp_path / "a.zip", hostile_archives.zip_of([*entries, ("../b.wav", b"x")]))
    with pytest.raises(DownloadError, match=r"^a\.zip: not unpacked, '\.\./b\.wav' leads out of the folder") as caught:
        unpack(archive, target)
    assert caught.value.code == "archive"
    assert held(target) == {}


def test_a_name_is_shown_without_what_a_terminal_obeys(tmp_path, target):
    archive = written(tmp_path / "a.zip", hostile_archives.zip_of([("\x1b[2J" + "n" * 500, b"x")]))
    with pytest.raises(DownloadError) as caught:
        unpack(archive, target)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("n", [4, 6])
def test_what_unpacks_to_another_size_than_it_says_is_refused(tmp_path, target, n):
    packed = hostile_archives.zip_of([("a.wav", b"12345")], compression=zipfile.ZIP_STORED)
    at = packed.index(b"PK\x01\x02") + 24
    archive = written(tmp_path / "a.zip", packed[:at] + bytes([n, 0, 0, 0]) + packed[at + 4 :])
    with pytest.raises(DownloadError, match="damaged"):
        unpack(archive, target)


def test_a_file_without_a_name_is_refused(tmp_path, target):
    packed = hostile_archives.zip_of([("ab", b"x")])
    nameless = bytearray(packed)
    at = packed.index(b"PK\x01\x02")
    nameless[at + 28 : at + 32] = bytes([0, 0, 2, 0])  # its name counts as an extra field
    archive = written(tmp_path / "a.zip", bytes(nameless))
    with pytest.raises(DownloadError, match="a file without a name"):
        unpack(archive, target)


def test_more_than_the_disk_has_is_not_begun(tmp_path, target, monkeypatch):
    archive = written(tmp_path / "a.zip", hostile_archives.zip_of([("a.wav", b"x" * 1000)]))
    monkeypatch.setattr("emogram.files.shutil.disk_usage", lambda _: type("Usage", (), {"free": 999}))
    with pytest.raises(OutputError, match="free some space, or choose a folder on another disk"):
        unpack(archive, target)
    assert held(target) == {}


def test_a_bomb_is_told_from_what_is_packed_well(tmp_path, target, monkeypatch):
    monkeypatch.setattr(unpacking, "SMALL", 0)
    noise = np.random.default_rng(0).integers(0, 4, 20_000, dtype=np.uint8).tobytes()
    packed = written(tmp_path / "a.zip", hostile_archives.zip_of([("a.wav", noise)]))
    assert packed.stat().st_size < len(noise) / 3
    assert unpack(packed, target) == 1
    bomb = written(tmp_path / "b.zip", hostile_archives.zip_of([("b.wav", bytes(10**6))]))
    with pytest.raises(DownloadError, match="more than an archive of its size can hold"):
        unpack(bomb, target)


def test_a_large_list_of_contents_is_refused_before_it_is_read(tmp_path, target, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 10)  # more need the end record of large archives
    large = written(tmp_path / "a.zip", hostile_archives.zip_of([(f"{number}.wav", b"x") for number in range(100)]))
    assert b"PK\x06\x07" in large.read_bytes()
    assert unpack(large, target) == 100
    monkeypatch.setattr(unpacking, "MAX_ENTRIES", 99)
    monkeypatch.setattr(zipfile, "ZipFile", None)  # it would make an object of each
    with pytest.raises(DownloadError, match="holds more than 99 entries"):
        unpack(large, target)


def some(absolute: Path, *, n: int, rng: object) -> list[hostile_archives.Case]:
    """A few of every family, for the tests of the door itself."""
    names, links = list(hostile_archives._names(absolute)), list(hostile_archives._links(absolute))
    return [*hostile_archives._honest(), *names[:12], *names[-24:], *links[:40]]


@pytest.mark.parametrize("naive", [False, True])
def test_the_door_notices_who_trusts_archives(naive, monkeypatch):
    monkeypatch.setattr(hostile_archives, "cases", some)
    verdict = archives.run(long=False, seed=7, naive=naive)
    measured = {figure.name: figure.measured for figure in verdict.figures}
    assert verdict.met is not naive
    assert (int(measured["bytes outside the target"]) > 0) is naive
    assert (int(measured["links, devices and pipes inside it"]) > 0) is naive


def test_there_are_as_many_cases_as_were_asked_for_and_always_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(hostile_archives, "_bombs", list)  # take seconds to make
    first = hostile_archives.cases(tmp_path, n=220, rng=random.Random(7))
    again = hostile_archives.cases(tmp_path, n=220, rng=random.Random(7))
    assert len(first) == 220
    assert [case.title for case in first] == [case.title for case in again]
    assert sum(case.refused for case in first) > 150

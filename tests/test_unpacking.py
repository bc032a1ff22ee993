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


def tar_of(*entries: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as file:
        for info, content in entries:
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def tar_member(name: str, **values: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for attribute, value in values.items():
        setattr(info, attribute, value)
    return info


def zip_with(change: dict[int, bytes], *entries: tuple[str, bytes], attributes: int = 0, how: int = 0) -> bytes:
    """A zip with bytes of the last entry of its list of contents changed."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression=how) as file:
        for name, content in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = attributes, how
            file.writestr(info, content)
    content = bytearray(packed.getvalue())
    at = content.rindex(b"PK\x01\x02")
    for offset, value in change.items():
        content[at + offset : at + offset + len(value)] = value
    return bytes(content)


SPARSE = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a", "GNU.sparse.realsize": "10"}
NEGATIVE = bytearray(tar_of((tar_member("a.wav"), b"")))
NEGATIVE[124:136] = b"\xff" * 12  # a size in binary, below zero
NEGATIVE[148:156] = b"%06o\0 " % (sum(NEGATIVE[:148]) + 8 * 32 + sum(NEGATIVE[156:512]))


@pytest.mark.parametrize(("content", "message"), [
    (b"\n <!doctype html><title>moved</title>", "a web page in place of the archive"),
    (b"RIFF" + bytes(400), r"no zip, tar or tar\.gz"),
    (zip_with({}, ("a", b"b"), attributes=0o120777 << 16), "'a' is a link or a device"),
    (zip_with({}, ("a", b"b"), attributes=0o020666 << 16), "'a' is a link or a device"),
    (zip_with({8: b"\x01"}, ("a", b"b")), "'a' is encrypted"),
    (zip_with({}, ("a", b"b" * 99), how=zipfile.ZIP_BZIP2), "'a' is compressed in an unusual way"),
    (zip_with({}, ("a", b"b"), attributes=0o040755 << 16), "'a' is a file and a folder at once"),
    (zip_with({}, ("./", b""), ("./a", b""), ("x/../a", b"")), r"'x/\.\./a' leads out of the folder"),
    (zip_with({}, ("a", b""), ("A", b"")), "'A' is there twice"),
    (zip_with({}, ("a", b""), ("a/b", b"")), "'a/b' is there twice"),
    (zip_with({}, ("n" * 300, b"")), "is a name that not every disk can hold"),
    (zip_with({}, ("a", b"b"))[:60], r"damaged or cut off \(it has no end\)"),
    (tar_of((tar_member("a", type=tarfile.SYMTYPE, linkname="/etc/passwd"), b"")), "'a' is a link, a device or of an"),
    (tar_of((tar_member("a", type=tarfile.FIFOTYPE), b"")), "'a' is a link, a device or of an unusual kind"),
    (tar_of((tar_member("a", pax_headers=SPARSE), b"1\n0\n10\n".ljust(512, b"\0") + b"0123456789")), "'a' is sparse"),
    (tar_of((tar_member("."), b"x")), "it holds a file without a name"),
    (tar_of((tar_member("\udcff" * 3), b"x")), "is a name that not every disk can hold"),
    (bytes(NEGATIVE), "damaged|a size below zero"),
    (zip_with({20: b"\xff" * 3 + b"\0", 24: b"\xff" * 4}, ("a", b"x")), "more than an archive of its size can hold"),
])  # fmt: skip
def test_each_kind_of_trick_is_refused_by_its_name_and_nothing_is_written(content, message, tmp_path, target):
    with pytest.raises(DownloadError, match=message) as caught:
        unpack(written(tmp_path / "a.zip", content), target)
    assert caught.value.code == "archive"
    assert held(target) == {}


def test_a_disk_that_fails_is_no_fault_of_the_archive(tmp_path, target):
    archive = written(tmp_path / "a.zip", hostile_archives.zip_of([("a.wav", b"x")]))
    (target / "a.wav").mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*a\.wav: a file stands where a folder should be"):
        unpack(archive, target)


def test_a_tar_may_not_ask_for_more_than_a_header_has_nor_hold_more_entries_than_may_be(tmp_path, target, monkeypatch):
    many = written(tmp_path / "a.tar", tar_of(*((tar_member(f"{number}"), b"") for number in range(5))))
    monkeypatch.setattr(unpacking, "MAX_TAR_ENTRIES", 4)
    with pytest.raises(DownloadError, match="holds more than 4 entries"):
        unpack(many, target)
    monkeypatch.undo()
    long = written(tmp_path / "b.tar", tar_of((tar_member("n" * 200_000), b"")))
    monkeypatch.setattr(unpacking, "MAX_READ", 100_000)
    with pytest.raises(DownloadError, match="a header in it asks for 2"):
        unpack(long, target)


def test_a_list_of_contents_that_leads_nowhere_or_is_too_long_is_refused(tmp_path, target, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    packed = hostile_archives.zip_of([("a", b"x"), ("b", b"x")])
    at = packed.index(b"PK\x06\x07") + 8
    with pytest.raises(DownloadError, match="its end leads nowhere"):
        unpack(written(tmp_path / "a.zip", packed[:at] + b"\xff" * 8 + packed[at + 8 :]), target)
    monkeypatch.setattr(unpacking, "MAX_DIRECTORY", 10)
    with pytest.raises(DownloadError, match="its list of contents has"):
        unpack(written(tmp_path / "b.zip", packed), target)

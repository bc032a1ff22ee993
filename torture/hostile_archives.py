"""Archives that mean harm, and some that do not: each with what should become of it."""

from __future__ import annotations

import gzip
import io
import random
import stat
import struct
import tarfile
import unicodedata
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torture.mutate import mutant

HARM = b"harm"
Content = list[tuple[str, bytes]]


@dataclass(frozen=True)
class Case:
    """One archive.

    Attributes:
        title: What is wrong with it.
        file: What it is called.
        content: Its bytes.
        refused: Whether it must be refused before anything is written.
        honest: What it must unpack to, where nothing is wrong with it.
    """

    title: str
    file: str
    content: bytes
    refused: bool = True
    honest: Mapping[str, bytes] | None = None


def cases(absolute: Path, *, n: int, rng: random.Random) -> list[Case]:
    """Return `n` cases: every kind of attack in every kind of archive, honest ones, and damaged ones up to that number.

    Args:
        absolute: A folder outside, for paths that name it absolutely.
        n: How many; at least as many as there are attacks.
        rng: For the damage.
    """
    found = [*_honest(), *_names(absolute), *_links(absolute), *_zips(), *_tars(), *_bombs()]
    honest = [case for case in found if case.honest is not None]
    whole = [case for case in found if len(case.content) < 100_000]
    while len(found) < n:
        case = rng.choice(whole)
        damaged, how = mutant(case.content, [each.content for each in honest], rng)
        found.append(Case(f"{case.title}, damaged by {how}", case.file, damaged, refused=False))
    return found


# ---------------------------------------------------------------- making archives


def zip_of(entries: Content, *, mode: int = 0, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip with these names as they stand, whatever they are; a mode makes all of them links or devices."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", compression) as archive:
        warnings.simplefilter("ignore")  # that a name is there twice
        for name, content in entries:
            info = zipfile.ZipInfo("x")
            info.filename = name
            info.create_system = 3
            info.external_attr = (mode or stat.S_IFREG | 0o644) << 16
            info.compress_type = compression
            archive.writestr(info, content)
    return stream.getvalue()


def tar_of(entries: Content, *, kind: bytes = tarfile.REGTYPE, link: str = "", form: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar with these names as they stand; a kind makes all of them links or devices."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            info.size = len(content) if kind in (tarfile.REGTYPE, tarfile.CONTTYPE) else 0
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def _both(title: str, entries: Content, *, refused: bool = True) -> Iterator[Case]:
    """Yield the same entries as zip, tar and tar.gz."""
    if all("\x00" not in name for name, _ in entries):
        tar = tar_of(entries)
        yield Case(title, "case.tar", tar, refused)
        yield Case(title, "case.tar.gz", gzip.compress(tar, mtime=0), refused)
    yield Case(title, "case.zip", zip_of(entries), refused)


# ---------------------------------------------------------------- attacks


def _honest() -> Iterator[Case]:
    """Yield archives that must be unpacked: names with accents and spaces, folders, empty files, stored, deflated."""
    noise = random.Random(0).randbytes(200_000)
    files = {
        "Actor_01/03-01-01-01-01-01-01.wav": noise,
        "Actor_01/leer/a b (1).wav": b"",
        "müsli/Ünïcode.txt": "ä".encode(),
        "CREMA-D-master/.gitattributes": b"*.wav filter=lfs\n" * 400,
        ".../...dots": b"dots are no way up",
    }
    entries = list(files.items())
    for name, content in (
        ("case.zip", zip_of(entries)),
        ("case.zip", zip_of(entries, compression=zipfile.ZIP_STORED)),
        ("case.zip", zip_of([("Actor_01/", b""), *entries])),
        ("case.tar", tar_of(entries)),
        ("case.tar", tar_of(entries, form=tarfile.GNU_FORMAT)),
        ("case.tar.gz", gzip.compress(tar_of([(f"./{path}", held) for path, held in entries]), mtime=0)),
    ):
        yield Case("honest", name, content, refused=False, honest=files)


def _names(absolute: Path) -> Iterator[Case]:
    good = ("good.wav", b"sound")
    for name in (
        "../secret.txt",
        "../../secret.txt",
        "../../../secret.txt",
        "a/../../secret.txt",
        "a/b/../../../new.txt",
        "./../secret.txt",
        "..",
        "a/..",
        "../corpus-other/new.txt",
        f"{absolute}/secret.txt",
        f"{absolute}/new.txt",
        f"//{absolute}/new.txt",
        "/new.txt",
    ):
        yield from _both(f"path {'out of the folder' if '..' in name else 'absolute'}", [good, (name, HARM)])
    for title, name in (
        ("path of Windows", "..\\..\\secret.txt"),
        ("path of Windows", "C:\\secret.txt"),
        ("path of Windows", "C:/secret.txt"),
        ("stream of Windows", "good.wav:hidden"),
        ("control characters", "a\x1b[2Jb.wav"),
        ("line break", "a\nb.wav"),
        ("name too long", "n" * 300 + ".wav"),
        ("path too deep", "/".join("d" * 40) + "/x.wav"),
    ):
        yield from _both(title, [good, (name, HARM)])
    yield Case("zero byte in a name", "case.zip", zip_of([good, ("a\x00../../secret.txt", HARM)]))
    yield Case("name that is no text", "case.tar", tar_of([good, ("a\udcff.wav", HARM)]))
    for title, pair in (
        ("duplicate name", ("a.wav", "a.wav")),
        ("duplicate name", ("d/a.wav", "./d//a.wav")),
        ("upper and lower case", ("Actor/A.wav", "actor/a.WAV")),
        ("upper and lower case", ("straße.wav", "STRASSE.WAV")),
        ("two ways to write an accent", ("\u00e4.wav", unicodedata.normalize("NFD", "\u00e4.wav"))),
        ("a dot at the end, which Windows drops", ("a.wav", "a.wav.")),
        ("a file and a folder", ("a", "a/b.wav")),
        ("a folder and a file", ("a/b.wav", "A")),
    ):
        yield from _both(title, [(pair[0], b"first"), (pair[1], HARM)])


def _links(absolute: Path) -> Iterator[Case]:
    outside = ("../secret.txt", "../../secret.txt", f"{absolute}/secret.txt", "good.wav", "/etc/passwd")
    for link in outside:
        yield Case("symbolic link", "case.zip", zip_of([("link", link.encode())], mode=stat.S_IFLNK | 0o777))
        for title, kind in (("symbolic link", tarfile.SYMTYPE), ("hard link", tarfile.LNKTYPE)):
            for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
                tar = tar_of([("link", b"")], kind=kind, link=link, form=form)
                yield Case(title, "case.tar", tar)
            yield Case(title, "case.tar.gz", gzip.compress(tar, mtime=0))
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        for link in ("..", "../..", str(absolute)):
            # A folder that is a link, and then a file through it.
            first = tar_of([("d", b"")], kind=kind, link=link)
            yield Case("a file through a link", "case.tar", _joined(first, tar_of([("d/secret.txt", HARM)])))
    for title, kind in (
        ("character device", tarfile.CHRTYPE),
        ("block device", tarfile.BLKTYPE),
        ("pipe", tarfile.FIFOTYPE),
        ("contiguous file", tarfile.CONTTYPE),
        ("kind that is unknown", b"Z"),
    ):
        yield Case(title, "case.tar", tar_of([("device", b"")], kind=kind))
    for title, mode in (("character device", stat.S_IFCHR), ("block device", stat.S_IFBLK), ("pipe", stat.S_IFIFO),
                        ("socket", stat.S_IFSOCK)):  # fmt: skip
        yield Case(title, "case.zip", zip_of([("device", b"")], mode=mode | 0o644))
    yield Case("a link that calls itself a folder", "case.zip", zip_of([("d/", b"..")], mode=stat.S_IFLNK | 0o777))
    yield Case("a folder that calls itself a file", "case.zip", zip_of([("d", HARM)], mode=stat.S_IFDIR | 0o755))


def _joined(*tars: bytes) -> bytes:
    return b"".join(tar.rstrip(b"\0").ljust(-(-len(tar.rstrip(b"\0")) // 512) * 512, b"\0") for tar in tars) + bytes(
        1024
    )


def _zips() -> Iterator[Case]:
    good = zip_of([("good.wav", b"sound" * 1000)])
    central, end = good.index(b"PK\x01\x02"), good.index(b"PK\x05\x06")

    def patched(at: int, form: str, *values: int) -> bytes:
        content = bytearray(good)
        struct.pack_into(form, content, at, *values)
        return bytes(content)

    for title, content in (
        ("encrypted", patched(central + 8, "<H", 1)),
        ("unusual compression", patched(central + 10, "<H", 97)),
        ("unusual compression", zip_of([("a", b"a" * 100)], compression=zipfile.ZIP_BZIP2)),
        ("unusual compression", zip_of([("a", b"a" * 100)], compression=zipfile.ZIP_LZMA)),
        ("list of contents of 4 GB", patched(end + 12, "<I", 2**32 - 16)),
        ("no end", good[:end]),
        ("no archive", b"PK" + bytes(1000)),
        ("a web page", b"<!DOCTYPE html><html>Please log in</html>"),
        ("nothing", b""),
    ):
        yield Case(title, "case.zip", content)
    name = bytearray(good)
    name[30:38] = b"evil.wav"
    damaged = {
        "another name before the file than in the list": bytes(name),
        "a size that is too small": patched(central + 24, "<I", 10),
        "a size that is too large": patched(central + 24, "<I", 10_000),
        "a wrong checksum": patched(central + 16, "<I", 1),
        "cut off": good[: central // 2] + good[central:],
    }
    yield from (Case(title, "case.zip", content, refused=False) for title, content in damaged.items())


def _header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.type = kind
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    number = size.to_bytes(12, "big", signed=True) if size < 0 or size >= 8**11 else f"{size:011o}\0".encode()
    header[124:136] = bytes([number[0] | 0x80]) + number[1:] if size >= 8**11 else number
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return bytes(header)


def _pax(records: Mapping[str, str], kind: bytes = tarfile.XHDTYPE) -> bytes:
    text = b""
    for key, value in records.items():
        line = f" {key}={value}\n".encode()
        length = len(line) + 1
        while length != len(str(length)) + len(line):
            length = len(str(length)) + len(line)
        text += str(length).encode() + line
    return _header("pax", len(text), kind) + text.ljust(-(-len(text) // 512) * 512, b"\0")


def _tars() -> Iterator[Case]:
    end = bytes(1024)
    body = HARM.ljust(512, b"\0")
    plain = _header("good.wav", 4)
    for title, content in (
        ("path out of the folder, in a pax header", _pax({"path": "../../secret.txt"}) + plain + body),
        ("path out of it, in a global pax header", _pax({"path": "../secret.txt"}, tarfile.XGLTYPE) + plain + body),
        ("path out of it, as a GNU long name",
         _header("././@LongLink", 17, tarfile.GNUTYPE_LONGNAME) + b"../../secret.txt".ljust(512, b"\0") + plain + body),
        ("size below zero", _header("a.wav", -512) + body),
        ("size below zero, in a pax header", _pax({"size": "-512"}) + plain + body),
        ("size of 2^60", _header("a.wav", 2**60) + body),
        ("size of 2^60, in a pax header", _pax({"size": str(2**60)}) + plain + body),
        ("a pax header of 4 GB", _header("pax", 2**32, tarfile.XHDTYPE) + body),
        ("a GNU long name of 4 GB", _header("././@LongLink", 2**32, tarfile.GNUTYPE_LONGNAME) + body),
        ("a thousand long names in a row",
         (_header("././@LongLink", 4, tarfile.GNUTYPE_LONGNAME) + body) * 5_000 + plain + body),
        ("sparse", _header("a.wav", 4, tarfile.GNUTYPE_SPARSE) + body),
        ("sparse, in a pax header",
         _pax({"GNU.sparse.map": "0,4", "GNU.sparse.size": str(2**40), "GNU.sparse.numblocks": "1"}) + plain + body),
    ):  # fmt: skip
        yield Case(title, "case.tar", content + end)
        yield Case(title, "case.tar.gz", gzip.compress(content + end, mtime=0))
    whole = gzip.compress(tar_of([("a.wav", random.Random(1).randbytes(50_000))]), mtime=0)
    yield Case("cut off", "case.tar.gz", whole[: len(whole) // 2], refused=False)
    yield Case("a wrong checksum", "case.tar.gz", whole[:-8] + bytes(8), refused=False)
    yield Case("another kind of compression", "case.tar.xz", b"\xfd7zXZ\0" + bytes(600))


def _bombs() -> Iterator[Case]:
    gigabyte = _deflated_zeros(1024)
    yield Case("1 GB of zeros", "case.zip", _zip_by_hand("zeros.wav", gigabyte, 2**30))
    yield Case("1 GB of zeros that says 4 bytes", "case.zip", _zip_by_hand("zeros.wav", gigabyte, 4), refused=False)
    header = _header("zeros.wav", 2**30)
    yield Case("1 GB of zeros", "case.tar.gz", _gzip_by_hand(header, 1024))
    yield Case("1 GB of nothing but zeros", "case.tar.gz", _gzip_by_hand(b"", 1024), refused=False)
    yield Case("a pax header of 1 GB", "case.tar.gz", _gzip_by_hand(_header("pax", 2**30, tarfile.XHDTYPE), 1024))
    folders = _header("d/", 0, tarfile.DIRTYPE) * 60_000
    yield Case("60,000 entries", "case.tar.gz", gzip.compress(folders, 1, mtime=0))
    yield Case("60,000 entries", "case.zip", _overlapping(60_000, b"", 0))
    inner = zip_of([("zeros.wav", bytes(2**20))])
    yield Case("zip of zips", "case.zip", zip_of([(f"{number}.zip", inner) for number in range(20)]), refused=False)
    yield Case("overlapping entries", "case.zip", _overlapping(2_000, _deflated_zeros(1), 2**20))


def _deflated_zeros(megabytes: int) -> bytes:
    """Return zeros as a raw deflate stream, from one megabyte that is packed by itself and repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return packed * megabytes + packer.flush()


def _gzip_by_hand(start: bytes, megabytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH) + _deflated_zeros(megabytes)
    checksum = zlib.crc32(start)
    for _ in range(megabytes):
        checksum = zlib.crc32(bytes(2**20), checksum)
    size = (len(start) + megabytes * 2**20) & 0xFFFFFFFF
    return b"\x1f\x8b\x08" + bytes(7) + packed + struct.pack("<II", checksum, size)


def _zip_by_hand(name: str, packed: bytes, size: int) -> bytes:
    return _overlapping(1, packed, size, name=lambda _: name)


def _overlapping(n: int, packed: bytes, size: int, *, name: Callable[[int], str] = "{:06d}.wav".format) -> bytes:
    """Return a zip whose list of contents has many entries for the same bytes."""
    fields = struct.pack("<HHHHHIII", 20, 0, 8, 0, 33, 0, len(packed), size)
    first = name(0).encode()
    content = b"PK\x03\x04" + fields + struct.pack("<HH", len(first), 0) + first + packed
    listed = b"".join(
        b"PK\x01\x02" + struct.pack("<H", 20) + fields + struct.pack("<HHHHHII", len(name(i)), 0, 0, 0, 0, 0, 0)
        + name(i).encode()
        for i in range(n)
    )  # fmt: skip
    return content + listed + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, n, n, len(listed), len(content), 0)

"""The door of the disk: full, read-only or broken, at each write that a command makes."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from torture.verdict import Figure, Verdict, equal

SUMMARY = "each write site fails by turns (full, read-only, I/O error): a typed error, and what was there stays"

ERRORS = (errno.ENOSPC, errno.EROFS, errno.EIO)
SIZES = (0, 100, 1000, 4096, 20_000)  # bytes at which a file may grow no more, by the kernel's own limit
SHORT_SITES = 3  # of a command, evenly over all that it has
LISTING = "metadata.csv"  # names the pictures that are there, also after some failed
BUG = "this is a bug"
BROKEN = 99  # exit code of a fork that ended by an exception
SITES = "write sites: "


def run(*, long: bool, seed: int) -> Verdict:
    """Let every site of every command fail once, with each error in turn; in the short form some sites only.

    Three kinds of failure: the k-th opening, renaming, making or removing of a path below the folder of the case; the
    k-th flush to the disk; and writing beyond some number of bytes, which the kernel refuses.
    """
    faults: list[str] = []
    sites: Counter[str] = Counter()
    tried = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for command, arguments in commands(folder).items():
            work = folder / command
            before = state(emptied(work))
            code, _, told = _attempt(arguments, None)
            complete = state(work)
            if code != 0 or complete == before:
                faults.append(f"{command}: does not run at all: {told[-300:]}")
            n_sites = _sites(arguments, emptied(work))
            sites[command] = n_sites
            chosen = (
                range(n_sites)
                if long
                else sorted({round(n * (n_sites - 1) / (SHORT_SITES - 1)) for n in range(SHORT_SITES)})
            )
            failures: list[_Fail | int] = [_Fail(work, site, ERRORS[site % len(ERRORS)]) for site in chosen]
            for failure in [*failures, *(SIZES if long else SIZES[2:3])]:
                before = state(emptied(work))
                code, _, told = _attempt(arguments, failure)
                tried += 1
                if reason := _wrong(code, told, before, state(work), complete):
                    faults.append(f"{command}, {failure}: {reason}")
    return Verdict(
        [
            equal("failures without a typed error, or that harmed what was there", len(faults), 0),
            Figure("write sites found", "in each command", str(dict(sites)), min(sites.values()) > 0),
        ],
        {"failures tried": tried},
        faults[:30],
    )


def commands(folder: Path) -> dict[str, list[str]]:
    """Make what the commands read, and return their arguments; all write below a folder of the command's name."""
    import numpy as np
    import soundfile

    from emogram import voices

    clips = folder / "clips"
    clips.mkdir()
    for number, voice in enumerate(voices.voices(2)):
        for label in ("angry", "sad"):
            spoken = voices.speak(label, speaker=voice, seed=number)
            soundfile.write(clips / f"{voice.name}_{label}.wav", spoken, 16000)
    rows = [f"{path.name},{path.stem.split('_')[1]},{path.stem.split('_')[0]}" for path in sorted(clips.glob("*.wav"))]
    (clips / "manifest.csv").write_text("\n".join(["path,label,speaker", *rows]), encoding="utf-8")
    long = np.concatenate([soundfile.read(path, dtype="float32")[0] for path in sorted(clips.glob("*.wav"))])
    soundfile.write(folder / "long.wav", long, 16000)
    sound = [str(path) for path in sorted(clips.glob("*.wav"))]
    formats = [word for name in ("jsonl", "csv", "textgrid", "vtt", "html") for word in ("--format", name)]
    return {
        "predict": ["predict", *sound, "--csv", str(folder / "predict" / "answers.csv"), "--no-check"],
        "analyze": ["analyze", str(folder / "long.wav"), *formats, "--out", str(folder / "analyze"), "--overwrite",
                    "--plot", str(folder / "analyze" / "plot.png")],
        "spectrograms": ["spectrograms", str(clips / "manifest.csv"), str(folder / "spectrograms"), "--workers", "1"],
        "score": ["score", str(clips), "--out", str(folder / "score"), "--workers", "1", "--shard-files", "2"],
    }  # fmt: skip


OLD = "what was there before"


def emptied(work: Path) -> Path:
    """Empty the folder of a command, and put files of an earlier run into it that the command replaces."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    if work.name == "predict":
        (work / "answers.csv").write_text(OLD, encoding="utf-8")
    if work.name == "analyze":
        for name in ("plot.png", "long.csv", "long.jsonl"):
            (work / name).write_text(OLD, encoding="utf-8")
    return work


def state(work: Path) -> dict[str, bytes]:
    return {str(path.relative_to(work)): path.read_bytes() for path in sorted(work.rglob("*")) if path.is_file()}


def _wrong(code: int, told: str, before: dict[str, bytes], after: dict[str, bytes], complete: dict[str, bytes]) -> str:
    """Return what is wrong after a failure, or nothing."""
    if code < 0 or code == BROKEN:
        return f"ended by signal {-code}" if code < 0 else f"ended by an exception: {told[-300:]}"
    if code == 0 and any(after.get(name) != content for name, content in complete.items() if _stable(name)):
        return "says that all went well, and not all is there"
    if BUG in told or "Traceback" in told:
        return f"no typed error: {told[-300:]}"
    if code != 0 and "error:" not in told and "failed" not in told:
        return f"exit code {code} without a word: {told[-200:]}"
    if gone := [name for name in before if name not in after]:
        return f"lost {gone}"
    half = [
        name
        for name, content in after.items()
        if content != before.get(name)
        and _stable(name)
        and content != complete.get(name)
        and not (code != 0 and name == LISTING and _rows(content) < _rows(complete[name]))
    ]
    if half:
        return f"half a file, or a left one: {half}"
    return ""


def _rows(content: bytes) -> set[bytes]:
    return set(content.split(b"\n"))


def _stable(name: str) -> bool:
    """Whether a file holds the same bytes after every run: not what names times."""
    return not name.endswith((".json", ".parquet"))


class _Fail:
    """An audit hook of Python that lets one write site fail, and counts them all."""

    def __init__(self, below: Path, site: int, number: int) -> None:
        self.below, self.site, self.number = str(below), site, number
        self.seen = 0

    def __str__(self) -> str:
        return f"{errno.errorcode[self.number]} at site {self.site}"

    def __call__(self, event: str, arguments: Sequence[object]) -> None:
        if event == "open":
            path, _, flags = (*arguments, None, None)[:3]
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        elif event in ("os.rename", "os.mkdir", "os.remove"):
            path, writes = arguments[0], True
        else:
            return
        if writes and isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith(self.below):
            self.count(os.fsdecode(path))

    def count(self, path: str) -> None:
        self.seen += 1
        if self.seen - 1 == self.site:
            raise OSError(self.number, os.strerror(self.number), path)

    def fsync(self, descriptor: int) -> None:
        self.count(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        _fsync(descriptor)


_fsync = os.fsync


def _attempt(arguments: list[str], failure: _Fail | int | None) -> tuple[int, int, str]:
    """Run a command in a fork of this process with a failure; returns its exit code, sites and what it told."""
    from emogram.cli import run as command_line

    reader, writer = os.pipe()  # not a file, which the failure would hit too
    pid = os.fork()
    if pid == 0:
        code = BROKEN
        try:
            for number in (1, 2):
                os.dup2(writer, number)
            sys.stdout, sys.stderr = (io.TextIOWrapper(open(n, "wb", closefd=False)) for n in (1, 2))  # noqa: SIM115
            code = _run_failing(command_line, arguments, failure)
            if isinstance(failure, _Fail):
                print(f"\n{SITES}{failure.seen}")
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
    os.close(writer)
    with open(reader, "rb") as pipe:  # noqa: PTH123 (no path)
        told, _, seen = pipe.read().decode(errors="replace").partition(SITES)
    status = os.waitpid(pid, 0)[1]
    return os.waitstatus_to_exitcode(status), int(seen.split()[0]) if seen else 0, told


def _sites(arguments: list[str], work: Path) -> int:
    """Return how many write sites a command has."""
    return _attempt(arguments, _Fail(work, -1, 0))[1]


def _run_failing(command_line: object, arguments: list[str], failure: _Fail | int | None) -> int:
    assert callable(command_line)
    if isinstance(failure, _Fail):
        sys.addaudithook(failure)
        os.fsync = failure.fsync  # type: ignore[assignment]
    elif failure is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with _growing_no_more(failure):
            return int(command_line(arguments))
    return int(command_line(arguments))


@contextlib.contextmanager
def _growing_no_more(n_bytes: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

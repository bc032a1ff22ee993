"""A command whose disk fails: at one of its write sites, from one on, or beyond some size of a file."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ERRORS = (errno.ENOSPC, errno.EROFS, errno.EIO)
BUG = "this is a bug"
BROKEN = 99  # exit code of a fork that ended by an exception
LIMIT_S = 300  # a command that waits for ever ends by the signal of an alarm
_SITES = "write sites: "
_REMOVALS = ("os.remove", "os.rmdir")
_EVENTS = ("os.rename", "os.mkdir", *_REMOVALS)


class Fail:
    """An audit hook of Python that lets write sites below a folder fail, and counts them all.

    A site is an opening to write, a renaming, making or removing of a path, or a flush to the disk. On a full disk
    files can be removed all the same.
    """

    def __init__(self, below: Path, site: int, number: int, *, lasting: bool = False) -> None:
        """Let the site of this number fail with an error, or all from there on."""
        self.below, self.site, self.number, self.lasting = str(below), site, number, lasting
        self.seen = 0

    @classmethod
    def nth(cls, below: Path, site: int) -> Fail:
        """Return a failure of a site, with the errors by turns, every other one for good."""
        return cls(below, site, ERRORS[site % len(ERRORS)], lasting=site % 2 == 1)

    @property
    def keeps_from_tidying(self) -> bool:
        """Whether what was half-written cannot be removed either."""
        return self.lasting and self.number != errno.ENOSPC

    def __str__(self) -> str:
        return f"{errno.errorcode[self.number]} {'from site' if self.lasting else 'at site'} {self.site}"

    def __call__(self, event: str, arguments: Sequence[object]) -> None:
        if event == "open":
            path, _, flags = (*arguments, None, None)[:3]
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        elif event in _EVENTS:
            path, writes = arguments[0], True
        else:
            return
        if writes and isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith(self.below):
            self.count(os.fsdecode(path), removes=event in _REMOVALS)

    def count(self, path: str, *, removes: bool = False) -> None:
        self.seen += 1
        site = self.seen - 1
        if removes and self.number == errno.ENOSPC:
            return
        if site == self.site or (self.lasting and site > self.site):
            raise OSError(self.number, os.strerror(self.number), path)

    def fsync(self, descriptor: int) -> None:
        self.count(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        _fsync(descriptor)


_fsync = os.fsync


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative: the signal), the write sites it came to, and all it told."""

    code: int
    n_sites: int
    told: str

    @property
    def untyped(self) -> str:
        """What is wrong with how it ended, or nothing: a signal, an exception, a bug, or failing without a word."""
        if self.code == -signal.SIGALRM:
            return f"hangs: {self.told[-300:]}"
        if self.code < 0 or self.code == BROKEN:
            return f"ended by {f'signal {-self.code}' if self.code < 0 else 'an exception'}: {self.told[-300:]}"
        if BUG in self.told or "Traceback" in self.told:
            return f"no typed error: {self.told[-900:]}"
        if self.code != 0 and "error:" not in self.told and "failed" not in self.told:
            return f"exit code {self.code} without a word: {self.told[-200:]}"
        return ""


def attempt(
    arguments: Sequence[str], failure: Fail | int | None, *, prepare: Callable[[], None] = lambda: None
) -> Ended:
    """Run a command of emogram in a fork of this process.

    Args:
        arguments: The command line.
        failure: What fails; a number is the size in bytes beyond which the kernel lets no file grow.
        prepare: Is called in the fork first.
    """
    from emogram.cli import run as command_line

    reader, writer = os.pipe()  # not a file, which the failure would hit too
    pid = os.fork()
    if pid == 0:
        code = BROKEN
        try:
            signal.alarm(LIMIT_S)
            for number in (1, 2):
                os.dup2(writer, number)
            sys.stdout, sys.stderr = (io.TextIOWrapper(open(n, "wb", closefd=False)) for n in (1, 2))  # noqa: SIM115
            prepare()
            code = _run_failing(command_line, arguments, failure)
            if isinstance(failure, Fail):
                print(f"\n{_SITES}{failure.seen}")
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
    os.close(writer)
    with open(reader, "rb") as pipe:  # noqa: PTH123 (no path)
        told, _, seen = pipe.read().decode(errors="replace").partition(_SITES)
    status = os.waitpid(pid, 0)[1]
    return Ended(os.waitstatus_to_exitcode(status), int(seen.split()[0]) if seen else 0, told)


def may_be_left(name: str, failure: Fail | int) -> bool:
    """Tell whether a file is one that was half-written under another name, and could not be removed either."""
    hidden = name.rpartition("/")[2].startswith(".") or "waiting-" in name
    return hidden and isinstance(failure, Fail) and failure.keeps_from_tidying


def count_sites(arguments: Sequence[str], work: Path, *, prepare: Callable[[], None] = lambda: None) -> int:
    """Return how many write sites a command has."""
    return attempt(arguments, Fail(work, -1, 0), prepare=prepare).n_sites


def found(faults: list[str], fault: str) -> None:
    """Keep a fault, and tell of it at once: a long form takes an hour, and may not come to its end."""
    faults.append(fault)
    print(fault, file=sys.stderr, flush=True)


def some(n_sites: int, most: int) -> list[int]:
    """Return at most so many sites, evenly over all."""
    return sorted({round(n * (n_sites - 1) / (most - 1)) for n in range(most)})


def _run_failing(
    command_line: Callable[[Sequence[str]], int], arguments: Sequence[str], failure: Fail | int | None
) -> int:
    if isinstance(failure, Fail):
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

"""The door of archives: what comes from downloads and wants to be somewhere else, or more, than it says."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torture import hostile_archives
from torture.verdict import Verdict, at_most, equal
from torture.watch import child

SUMMARY = "zip and tar that lead out of their folder, link, collide, lie about sizes or are damaged: not a byte outside"

CASES, LONG_CASES = 200, 5_000
TIME_S, MEMORY_MB = 1.0, 100.0
HANG_S = 60.0
WALL_MB = 2048


def run(*, long: bool, seed: int, naive: bool = False) -> Verdict:
    """Unpack each archive into a folder of its own, and look what became of everything around it.

    Around it are files that paths and links may hit: a file beside the target, one two folders above, and a folder that
    is named absolutely. After each case all of it must be as before, and the target may hold plain files and folders
    only. Archives that are made to be refused must be, before anything is written; each refusal must be a typed error
    that names the archive. Honest archives must be unpacked whole, or a door that is shut for all would pass.

    Args:
        long: Whether to try `LONG_CASES`, most of them damaged at random, in place of `CASES`.
        seed: Of everything random.
        naive: Unpack as the standard library does when asked to trust, to see that this is noticed.
    """
    outside, links, wrong, faults = 0, 0, [], []
    slow, large = 0.0, 0.0
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        cases = hostile_archives.cases(root / "absolute", n=LONG_CASES if long else CASES, rng=random.Random(seed))
        with child("torture.archives:unpacker", limit_mb=WALL_MB, naive=naive) as one:
            for case in cases:
                target = _prepare(root)
                archive = root / "archives" / case.file
                archive.write_bytes(case.content)
                before = _everything(root, target)
                seen = one.ask([str(archive), str(target)], limit_s=HANG_S)
                after = _everything(root, target)
                changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
                outside += sum(max(1, after.get(path, (0, ""))[0]) for path in changed)
                links += _links(target)
                said = seen.value if seen.end is None else {"outcome": seen.end, "seconds": seen.seconds}
                told = f"{case.title} ({case.file}): {said['outcome']}, {said['seconds']:.2f} s, {seen.peak_mb:.0f} MB"
                if seen.end is not None or changed or said["seconds"] > TIME_S or seen.peak_mb > MEMORY_MB:
                    faults.append(f"{told}{', changed ' + ', '.join(map(str, changed)) if changed else ''}")
                refused = said["outcome"] != "unpacked"
                held = sum(path.is_file() for path in target.rglob("*"))
                if case.honest is not None:
                    if refused or _contents(target) != case.honest:
                        wrong.append(f"honest, and {told}")
                elif case.refused and (not refused or held):
                    wrong.append(f"hostile, and {told}, {held} files written")
                slow, large = max(slow, said["seconds"]), max(large, seen.peak_mb)
    n_honest = sum(case.honest is not None for case in cases)
    return Verdict(
        [
            equal("bytes outside the target", outside, 0),
            equal("links, devices and pipes inside it", links, 0),
            equal("crashes, hangs, bugs, more than a second or than 100 MB", len(faults), 0),
            equal("hostile ones unpacked, or refused after a file was written; honest ones refused", len(wrong), 0),
            at_most("longest, in time of the processor", slow, TIME_S, unit=" s"),
            at_most("most memory", large, MEMORY_MB, unit=" MB"),
        ],
        {
            "archives": len(cases),
            "kinds of attack": len({case.title for case in cases if case.refused}),
            "damaged at random": sum(not case.refused and case.honest is None for case in cases),
            "honest": n_honest,
        },
        [*faults, *wrong],
    )


def _prepare(root: Path) -> Path:
    """Make everything anew: the target, and what is around it; returns the target."""
    for child_of_root in root.iterdir():
        shutil.rmtree(child_of_root) if child_of_root.is_dir() else child_of_root.unlink()
    target = root / "home" / "downloads" / "corpus"
    target.mkdir(parents=True)
    for folder in ("archives", "absolute"):
        (root / folder).mkdir()
    for path in ("secret.txt", "home/secret.txt", "home/downloads/secret.txt", "absolute/secret.txt"):
        (root / path).write_text("as it was")
    return target


def _everything(root: Path, target: Path) -> dict[str, tuple[int, str]]:
    """Return path -> size, and what it is and holds, of all that is below the root and not in the target."""
    found = {}
    for where, folders, names in os.walk(root):
        if Path(where) == target.parent:
            folders.remove(target.name)
        for name in [*folders, *names]:
            path = Path(where) / name
            status = path.lstat()
            plain = path.is_file() and not path.is_symlink()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if plain else ""
            size = status.st_size if plain else 0
            found[str(path.relative_to(root))] = (
                size,
                f"{status.st_mode:o} {status.st_nlink if plain else 0} {content}",
            )
    return found


def _links(target: Path) -> int:
    return sum(
        not (path.is_dir() or path.is_file()) or path.is_symlink() or (path.is_file() and path.stat().st_nlink > 1)
        for path in target.rglob("*")
    )


def _contents(target: Path) -> dict[str, bytes]:
    return {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}


def unpacker(*, naive: bool) -> Callable[[list[str]], dict[str, Any]]:
    """In the child: return the function that unpacks one archive into a folder."""
    from emogram.downloads.unpacking import unpack
    from emogram.errors import EmogramError

    def one(question: list[str]) -> dict[str, Any]:
        archive, target = map(Path, question)
        began = time.process_time()
        try:
            outcome = "unpacked"
            _trusting(archive, target) if naive else unpack(archive, target)
        except EmogramError as error:
            if archive.name not in str(error):
                raise
            outcome = str(error).removeprefix(f"{archive.name}: ")[:100]
        return {"outcome": outcome, "seconds": time.process_time() - began}

    return one


def _trusting(archive: Path, target: Path) -> None:
    """Unpack as one did before anybody thought of harm; what it cannot read is passed over."""
    import contextlib
    import tarfile
    import zipfile

    with contextlib.suppress(Exception):
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as opened:
                for info in opened.infolist():
                    path = target / info.filename
                    path.parent.mkdir(parents=True, exist_ok=True)
                    if info.external_attr >> 16 & 0o170000 == 0o120000:
                        path.symlink_to(opened.read(info).decode())
                    else:
                        path.write_bytes(opened.read(info)[:10_000])
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(target, filter="fully_trusted")

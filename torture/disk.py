"""The door of the disk: full, read-only or broken, at each write that a command makes."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path

from torture import disk_training
from torture.failing import Ended, Fail, attempt, count_sites, found, may_be_left, some
from torture.verdict import Figure, Verdict, equal

SUMMARY = "each write site fails by turns (full, read-only, I/O error): a typed error, and what was there stays"

SIZES = (0, 100, 1000, 4096, 20_000)  # bytes at which a file may grow no more, by the kernel's own limit
SHORT_SITES = 3  # of a command, evenly over all that it has
LISTING = "metadata.csv"  # names the pictures that are there, also after some failed


def run(*, long: bool, seed: int) -> Verdict:
    """Let every site of every command fail once, with each error in turn; in the short form some sites only.

    Three kinds of failure: the k-th write site; all from the k-th on; and writing beyond some number of bytes, which
    the kernel refuses.
    """
    faults: list[str] = []
    sites: Counter[str] = Counter()
    tried = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for command, arguments in commands(folder).items():
            work = folder / command
            before = state(emptied(work))
            ended = attempt(arguments, None)
            complete = state(work)
            if ended.code != 0 or complete == before:
                faults.append(f"{command}: does not run at all: {ended.told[-300:]}")
            n_sites = count_sites(arguments, emptied(work))
            sites[command] = n_sites
            chosen = range(n_sites) if long else some(n_sites, SHORT_SITES)
            failures: list[Fail | int] = [Fail.nth(work, site) for site in chosen]
            for failure in [*failures, *(SIZES if long else SIZES[2:3])]:
                before = state(emptied(work))
                ended = attempt(arguments, failure)
                tried += 1
                if reason := _wrong(ended, failure, before, state(work), complete):
                    found(faults, f"{command}, {failure}: {reason}")
        trained = disk_training.failures(folder, long=long)
        sites["train"] = trained.n_sites
        faults += trained.faults
        tried += trained.tried
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


def _wrong(
    ended: Ended,
    failure: Fail | int,
    before: dict[str, bytes],
    after: dict[str, bytes],
    complete: dict[str, bytes],
) -> str:
    """Return what is wrong after a failure, or nothing."""
    if ended.untyped:
        return ended.untyped
    if ended.code == 0 and any(after.get(name) != content for name, content in complete.items() if _stable(name)):
        return "says that all went well, and not all is there"
    if gone := [name for name in before if name not in after]:
        return f"lost {gone}"
    half = [
        name
        for name, content in after.items()
        if content != before.get(name)
        and _stable(name)
        and content != complete.get(name)
        and not may_be_left(name, failure)
        and not (ended.code != 0 and name == LISTING and _rows(content) < _rows(complete[name]))
    ]
    if half:
        return f"half a file, or a left one: {half}"
    return ""


def _rows(content: bytes) -> set[bytes]:
    return set(content.split(b"\n"))


def _stable(name: str) -> bool:
    """Whether a file holds the same bytes after every run: not what names times."""
    return not name.endswith((".json", ".parquet"))

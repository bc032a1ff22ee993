"""The disk fails while it trains, in a folder that holds an earlier training: what stands is whole, and it goes on."""

from __future__ import annotations

import functools
import math
import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from torture import training
from torture.failing import Fail, attempt, count_sites, found, may_be_left, some

# More than any file of such a training, but a checkpoint, has; the kernel lets none grow further.
SIZES = (0, 100, 1000, 4096, 20_000, 100_000, 1_000_000)
SHORT_SITES = 3
N_NOT_CACHED = 2  # clips
LOCK = "checkpoints/lock"
EXAMPLES = "plots/examples.png"  # for trackers: a training that cannot write for them says so and goes on without
SUMS = "model/SHA256SUMS"  # is removed before a model is sealed anew, so that no half of one is taken for it


@dataclass(frozen=True)
class Tried:
    """What came of it: how many write sites a training has, how many failures were tried, and what was wrong."""

    n_sites: int
    tried: int
    faults: list[str]


def failures(folder: Path, *, long: bool) -> Tried:
    """Let each write site of a training fail (in the short form some), and files grow no more; then go on each time.

    A failure ends in a typed error, or harms nothing, as where the cache cannot be written. Every file in the run
    folder is then that of the earlier training or one that the training writes when nothing fails, whole. `--resume`
    (the same command, where nothing was begun) comes to the files of a training that nothing happened to.
    """
    work = folder / "train"
    run, cache = work / "run", work / "cache"
    make = folder / "train-voices"
    training.make_voices(make)
    training.load(draws=long)
    settings = folder / "train.toml"
    settings.write_text(
        tomli_w.dumps({**training.SETTINGS, "train": {**training.SETTINGS["train"], "epochs": 2}}), encoding="utf-8"
    )
    command = ["train", str(make / "manifest.csv"), "--config", str(settings), "--out", str(run)]
    command += ["--cache", str(cache), "--workers", "1"]
    begin, go_on = [*command, "--overwrite"], [*command, "--resume"]

    work.mkdir()
    faults: list[str] = []
    first = attempt([*begin, "--seed", "5", "--epochs", "1"], None, prepare=_save_at_every_step)
    if first.code:
        return Tried(0, 0, [f"train: does not run at all: {first.told[-300:]}"])
    for path in sorted(cache.rglob("*.sample"))[:N_NOT_CACHED]:
        path.unlink()
    earlier = folder / "train-earlier"
    work.rename(earlier)
    before = training.files(earlier / "run")

    kept = folder / "train-written"
    _put_back(earlier, work)
    attempt(begin, None, prepare=functools.partial(_keep_what_is_written, run, kept))
    wanted = training.files(run)
    cached = training.files(cache)
    written = defaultdict(set)
    for path in (path for path in kept.rglob("*") if path.is_file()):
        name = path.parent.relative_to(kept).as_posix()
        written[name].add(training.steady(name, path.read_bytes()))

    def wrong(failure: Fail | int) -> str:
        """Return what is wrong with what a failure leaves and with what comes of it, or nothing."""
        ended = attempt(begin, failure, prepare=_save_at_every_step)
        if ended.untyped:
            return ended.untyped
        after = training.files(run)
        told = {EXAMPLES} if "run goes on" in " ".join(ended.told.split()) else set()
        if gone := before.keys() - after.keys() - {SUMS} - told:
            return f"lost {sorted(gone)}"
        # A temporary file has another name: it too is told here, unless it could not be removed.
        half = [
            name
            for name, content in after.items()
            if content != before.get(name)
            and content not in written[name]
            and name != LOCK
            and not may_be_left(name, failure)
        ]
        if half:
            return f"half a file, or a left one: {half}"
        if ended.code == 0 and (differing := set(_differing(after, wanted)) - (told - after.keys())):
            return f"says that all went well, and these are not as they should be: {sorted(differing)}"
        again = attempt(go_on if (run / "checkpoints").is_dir() else begin, None, prepare=_save_at_every_step)
        if again.code:
            return f"does not go on: {again.told[-300:]}"
        finished = training.files(run)
        if other := set(_differing(finished, wanted)) - (told - finished.keys()):
            return f"comes to other files when it goes on: {sorted(other)}"
        if differing := [name for name in _differing(training.files(cache), cached) if not may_be_left(name, failure)]:
            return f"leaves another cache: {differing}"
        return ""

    _put_back(earlier, work)
    n_sites = count_sites(begin, work, prepare=_save_at_every_step)
    sites = range(n_sites) if long else some(n_sites, SHORT_SITES)
    tried: list[Fail | int] = [*(Fail.nth(work, site) for site in sites), *(SIZES if long else SIZES[-2:-1])]
    for failure in tried:
        _put_back(earlier, work)
        if reason := wrong(failure):
            found(faults, f"train, {failure}: {reason}")
    return Tried(n_sites, len(tried), faults)


def _put_back(earlier: Path, work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(earlier, work)


def _differing(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def _save_at_every_step() -> None:
    from emogram import resuming

    resuming.SHARE_OF_TIME, resuming.WITHIN_S = math.inf, 0.0


def _keep_what_is_written(run: Path, kept: Path) -> None:
    """Copy each file that is renamed into place below `run` to `kept/NAME/NUMBER`, in this process."""
    _save_at_every_step()
    replace = Path.replace

    def keeping(self: Path, target: Path) -> Path:
        if target.is_relative_to(run):
            copies = kept / target.relative_to(run)
            copies.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self, copies / str(len(list(copies.iterdir()))))
        return replace(self, target)

    Path.replace = keeping  # type: ignore[method-assign, assignment]

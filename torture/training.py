"""kill -9 while it trains: at random moments and in the midst of writes, with torn files, until it has finished."""

from __future__ import annotations

import io
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from torture.verdict import Figure, Verdict, at_most, equal

SUMMARY = "kill -9 while training; what goes on comes to the same bits"
SHORT, LONG = 4, 200

# All that has a state: every kind of randomness, a running average, plateau, early stopping, hard classes.
SETTINGS = {
    "augment": {"mixup_alpha": 0.4, "hard_classes": ["auto"]},
    "network": {"width": 0.25, "dropout": 0.3, "block_dropout": 0.2},
    "train": {
        "epochs": 5,
        "batch_size": 8,
        "train_frames": 64,
        "schedule": "plateau",
        "plateau_patience": 1,
        "early_stop_patience": 4,
        "weight_average": 0.9,
        "learning_rate": 0.02,
    },
    "split": {"validation_speakers": ["synthetic03"], "test_speakers": ["synthetic04"]},
}
TEAR_EVERY = 3  # kills
N_SITES = 60  # about as many as a training flushes and renames files


@dataclass
class Count:
    """What happened so far."""

    by_clock: int = 0
    within_writes: int = 0
    torn: int = 0
    wholly_torn: int = 0
    finished: int = 0
    other: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """All of them."""
        return self.by_clock + self.within_writes


def run(*, long: bool, seed: int) -> Verdict:
    """Train over and over until there were enough kills; compare each training that came to its end."""
    rng = np.random.default_rng(seed)
    n_kills = LONG if long else SHORT
    count = Count()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_voices(folder / "voices")
        load(draws=long)
        began = time.monotonic()
        _in_child(folder, folder / "whole", _Never())
        whole_s = time.monotonic() - began
        wanted = files(folder / "whole")
        while count.kills < n_kills:
            out = folder / f"run{count.finished}"
            ended = False
            while count.kills < n_kills and not ended:
                ended = _one_kill(folder, out, rng, count, whole_s=whole_s)
                if not ended and count.kills % TEAR_EVERY == 0:
                    _tear(out, rng, count)
            if not ended:
                if long and not count.finished:
                    _by_command(folder, out)
                else:
                    _in_child(folder, out, _Never())
            count.finished += 1
            found = files(out)
            count.other += [
                f"run {count.finished}: {name}"
                for name in sorted({*found, *wanted})
                if found.get(name) != wanted.get(name)
            ]
    figures = [
        at_most("files that are not as if never killed", len(count.other), 0),
        equal("kills", count.kills, n_kills),
        Figure("kills in the midst of a write", "at least 1", str(count.within_writes), count.within_writes > 0),
    ]
    counts = {
        "trainings that were killed and went on": count.finished,
        "kills at a random moment": count.by_clock,
        "files compared of each": len(wanted),
        "newest checkpoint torn": count.torn,
        "all checkpoints torn": count.wholly_torn,
    }
    return Verdict(figures, counts, count.other[:10])


def _one_kill(folder: Path, out: Path, rng: np.random.Generator, count: Count, *, whole_s: float) -> bool:
    """Start or go on, and kill; tells whether the training came to its end before."""
    if count.kills % 2:
        # Soon more often than late, so that one training is killed several times.
        killed = _in_child(
            folder, out, _AtWrite(int(rng.integers(1, N_SITES) * rng.random()) + 1, bool(rng.random() < 0.5))
        )
        count.within_writes += killed
    else:
        killed = _in_child(folder, out, _Never(), after_s=whole_s * rng.uniform(0.0, 0.8))
        count.by_clock += killed
    return not killed


def _tear(out: Path, rng: np.random.Generator, count: Count) -> None:
    """Damage the newest checkpoint, now and then all: cut short, with a byte changed, or emptied."""
    checkpoints = sorted((out / "checkpoints").glob("[0-9]*.checkpoint"))
    found = [path for path in checkpoints if path.stat().st_size]
    everything = rng.random() < 0.2
    for path in found if everything else found[-1:]:
        content = bytearray(path.read_bytes())
        way = rng.integers(3)
        if way == 0:
            content = content[: int(rng.integers(len(content)))]
        elif way == 1:
            content[int(rng.integers(len(content)))] ^= 0xFF
        else:
            content.clear()
        path.write_bytes(content)
    if found:
        count.torn += 1
        count.wholly_torn += everything


class _Never:
    """Do nothing in the process that trains."""

    def __call__(self) -> None:
        return


@dataclass
class _AtWrite:
    """Kill the process at one of its flushes or renames: before it, or right after."""

    site: int
    after: bool

    def __call__(self) -> None:
        left = self.site

        def dying(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **settings: Any) -> Any:
                nonlocal left
                left -= 1
                if left == 0 and not self.after:
                    os.kill(os.getpid(), signal.SIGKILL)
                result = real(*arguments, **settings)
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return result

            return call

        os.fsync = dying(os.fsync)  # type: ignore[assignment]
        Path.replace = dying(Path.replace)  # type: ignore[method-assign]


def _in_child(folder: Path, out: Path, prepare: Callable[[], None], *, after_s: float = math.inf) -> bool:
    """Train in a process of its own, a fork that need not load Keras again; tells whether it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            prepare()
            _train(folder, out)
            code = 0
        finally:
            os._exit(code)
    began = time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() - began >= after_s:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(0.002)
    killed = os.WIFSIGNALED(status)
    if not killed and os.WEXITSTATUS(status) != 0:
        raise RuntimeError("a training failed; its traceback stands above")
    return killed


def load(*, draws: bool) -> None:
    """Load all that a training loads, once for all; to draw takes half of the time, so that CI does without."""
    import matplotlib.pyplot  # noqa: F401
    import onnxruntime  # noqa: F401
    import sklearn.metrics  # noqa: F401

    import emogram.plots
    import emogram.train

    if not draws:
        emogram.plots.save_all = lambda *_, **__: []


def _train(folder: Path, out: Path) -> None:
    from emogram import resuming
    from emogram.config import run_config
    from emogram.corpora import find_corpus
    from emogram.train import train

    # After every step, so that most moments lie near a save.
    resuming.SHARE_OF_TIME, resuming.WITHIN_S = math.inf, 0.0
    train(find_corpus(folder / "voices" / "manifest.csv"), run_config(SETTINGS), out, resume=True, workers=1)


def _by_command(folder: Path, out: Path) -> None:
    """Go on as a user does."""
    import tomli_w

    settings = folder / "settings.toml"
    settings.write_text(tomli_w.dumps(SETTINGS), encoding="utf-8")
    subprocess.run(
        [
            *(sys.executable, "-m", "emogram", "train", folder / "voices" / "manifest.csv", "--config", settings),
            *("--out", out, "--no-cache", "--workers", "1", "--resume"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def files(run: Path) -> dict[str, bytes]:
    """Return all files of a run by name, and their bytes without those that differ from run to run."""
    return {
        name: steady(name, path.read_bytes())
        for path in sorted(run.rglob("*"))
        if path.is_file() and not (name := path.relative_to(run).as_posix()).startswith("tensorboard/")
    }


def steady(name: str, content: bytes) -> bytes:
    """Return what does not differ from run to run of a file of this name."""
    if name.endswith("best.keras"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.read("model.weights.h5")  # its words hold the time, and addresses of memory
    if name.endswith("SHA256SUMS"):
        return b"".join(line for line in content.splitlines(True) if b"best.keras" not in line)
    return content


def make_voices(folder: Path) -> None:
    """Write the sound of four synthetic voices."""
    import soundfile

    from emogram import voices

    folder.mkdir()
    lines = ["path,label,speaker,gender,corpus"]
    for voice in voices.voices(4):
        for label in ("angry", "calm", "happy", "sad"):
            for number in (1, 2):
                name = f"{voice.name}_{label}_{number}.wav"
                soundfile.write(folder / name, voices.speak(label, speaker=voice, seed=number), 16000)
                lines.append(f"{name},{label},{voice.name},{voice.gender},{voices.CORPUS_NAME}")
    (folder / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")

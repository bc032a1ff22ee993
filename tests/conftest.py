"""What all tests share."""

from __future__ import annotations

import functools
import gc
import os
import signal
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("MPLBACKEND", "Agg")
# Before PyTorch and NumPy are loaded, as `emogram train` does: threads of two processes that share the tests wait for
# each other, and a training of seconds took five minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import soundfile
from undrawn import draw_nothing

from emogram import voices
from emogram.audio import Waveform
from emogram.config import RunConfig, SpectrogramConfig, run_config
from emogram.corpora import Corpus, find_corpus
from emogram.dataset import Dataset, Sample, load_dataset
from emogram.records import Clip

if TYPE_CHECKING:
    from emogram.train import TrainResult


def pytest_collection_finish() -> None:
    """What is loaded by now stays: Keras looks through all that is not frozen whenever it forgets a network."""
    gc.collect()
    gc.freeze()


def _corpora() -> Path:
    named = os.environ.get("EMOGRAM_CORPORA")
    return Path(named) if named else Path(__file__).parents[2] / "shared" / "corpora"


@pytest.fixture(scope="session")
def corpora_root() -> Path:
    """The folder of real corpora; skips, saying so, where there is none."""
    root = _corpora()
    if not (root / "ravdess").is_dir():
        pytest.skip(f"no real corpora at {root}; set EMOGRAM_CORPORA to the folder that holds ravdess/, tess/, ...")
    return root


@pytest.fixture(scope="session", autouse=True)
def no_terminal() -> Iterator[None]:
    """Print as into a file, also in the processes that share the tests, which are told a width."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLUMNS", raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """What a shell starts in the background is deaf to Ctrl-C, and so would be every command that a test interrupts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def one_tls_context() -> Iterator[None]:
    """Each `httpx.get` reads all certificates anew, which takes longer than a service of this machine to answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where services that are started by tests keep their jobs, and not where the user's own keep theirs."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder


@pytest.fixture
def tone() -> Waveform:
    """One second of a 440 Hz tone with two overtones at 16 kHz, peak 0.5."""
    seconds = np.arange(16000) / 16000
    wave = sum(np.sin(2 * np.pi * 440 * k * seconds) / k for k in (1, 2, 3))
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


# ---------------------------------------------------------------- a tiny corpus, and one training on it, shared by all

FOUR_LABELS = ("angry", "calm", "happy", "sad")


def tiny_settings(**sections: Mapping[str, Any]) -> RunConfig:
    """Settings of a training of seconds on the `voices_corpus`, with whatever a test wants otherwise."""
    base: dict[str, dict[str, Any]] = {
        "network": {"width": 0.25},
        "train": {"epochs": 3, "batch_size": 8, "train_frames": 64, "warmup_epochs": 1.0},
        "split": {"validation_speakers": ["synthetic03"], "test_speakers": ["synthetic04"]},
    }
    return run_config({name: {**base.get(name, {}), **sections.get(name, {})} for name in {*base, *sections}})


@pytest.fixture(scope="session")
def settings_of() -> Callable[..., RunConfig]:
    """The function `tiny_settings`: sections as keywords, such as `settings_of(train={"epochs": 1})`."""
    return tiny_settings


@pytest.fixture(scope="session")
def voices_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two women and two men who do not exist say two sentences in each of four emotions; `manifest.csv` names them."""
    folder = tmp_path_factory.mktemp("voices")
    lines = ["path,label,speaker,gender,corpus"]
    for voice in voices.voices(4):
        for label in FOUR_LABELS:
            for number in (1, 2):
                name = f"{voice.name}_{label}_{number:02d}.wav"
                soundfile.write(folder / name, voices.speak(label, speaker=voice, seed=number), 16000)
                lines.append(f"{name},{label},{voice.name},{voice.gender},{voices.CORPUS_NAME}")
    (folder / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def voices_corpus(voices_folder: Path) -> Corpus:
    """32 clips: 4 speakers, "synthetic01" to "synthetic04", x 4 labels x 2 sentences."""
    return find_corpus(voices_folder / "manifest.csv")


@pytest.fixture(scope="session")
def voices_dataset(voices_corpus: Corpus) -> Dataset:
    """The `voices_corpus` as model input under default settings."""
    return load_dataset(voices_corpus, SpectrogramConfig(), workers=1)


@pytest.fixture(scope="session")
def tiny_run(voices_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """A finished training of three epochs on the `voices_corpus` with `tiny_settings`. To be looked at only."""
    from emogram.train import train

    return train(voices_corpus, tiny_settings(), tmp_path_factory.mktemp("runs") / "tiny", workers=1)


@pytest.fixture
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train and judge without drawing."""
    draw_nothing(monkeypatch)


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., Dataset]:
    """The function `invented_dataset`."""
    return invented_dataset


def invented_dataset(
    targets: Sequence[int],
    *,
    speakers: Sequence[str | None] | None = None,
    contents: Sequence[str] | None = None,
    labels: Sequence[str] = FOUR_LABELS,
    corpus: str = "invented",
    n_frames: Sequence[int] | int = 32,
    shape: tuple[int, int, int] | None = None,
    n_features: int = 0,
    seed: int = 0,
) -> Dataset:
    """A dataset of noise: clip i is "clip-i.wav", has targets[i], and its values lie around (i + 1) / (n + 1)."""
    rng = np.random.default_rng(seed)
    n = len(targets)
    lengths = [n_frames] * n if isinstance(n_frames, int) else n_frames
    samples = [
        Sample(
            np.clip((i + 1) / (n + 1) + rng.normal(0, 0.05, shape or (lengths[i], 64, 1)), 0, 1).astype(np.float16),
            rng.normal(0, 1, n_features).astype(np.float32) if n_features else None,
            contents[i] if contents else f"content {i}",
        )
        for i in range(n)
    ]
    clips = [
        Clip(Path(f"clip-{i}.wav"), labels[target], speakers[i] if speakers else f"speaker{i % 4}", corpus)
        for i, target in enumerate(targets)
    ]
    return Dataset(tuple(clips), tuple(labels), np.asarray(targets, np.intp), tuple(samples), SpectrogramConfig(), ())

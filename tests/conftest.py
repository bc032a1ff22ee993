"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pytest

from emogram.audio import Waveform


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


@pytest.fixture
def tone() -> Waveform:
    """One second of a 440 Hz tone with two overtones at 16 kHz, peak 0.5."""
    seconds = np.arange(16000) / 16000
    wave = sum(np.sin(2 * np.pi * 440 * k * seconds) / k for k in (1, 2, 3))
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)

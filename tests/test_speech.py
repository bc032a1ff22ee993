"""Voices are speech; tones, noise and silence are not, at any level and rate."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soxr

from emogram import voices
from emogram.audio import load_audio
from emogram.speech import CHUNK_S, MIN_SHARE, speech_probabilities, speech_share

RATE = 16000


@pytest.fixture(scope="module")
def spoken():
    return voices.speak("happy", speaker=voices.voices(2)[0], seed=1)


def not_speech():
    seconds = np.arange(2 * RATE) / RATE
    rng = np.random.default_rng(0)
    chord = sum(np.sin(2 * np.pi * hertz * seconds) / 3 for hertz in (220, 277, 330))
    return {
        "chord": chord,
        "white noise": 0.1 * rng.standard_normal(2 * RATE),
        "hum in silence": 1e-3 * np.sin(2 * np.pi * 50 * seconds) + 1e-5 * rng.standard_normal(2 * RATE),
    }


def test_a_voice_is_speech(spoken):
    assert speech_share(spoken, RATE) > 0.4


@pytest.mark.parametrize("name", not_speech())
def test_what_nobody_says_is_none(name):
    assert speech_share(not_speech()[name].astype(np.float32), RATE) < MIN_SHARE


def test_pauses_lower_the_share(spoken):
    padded = np.pad(spoken, len(spoken) // 2)
    assert speech_share(padded, RATE) == pytest.approx(speech_share(spoken, RATE) / 2, abs=0.1)


def test_level_and_rate_do_not_matter(spoken):
    share = speech_share(spoken, RATE)
    assert speech_share(spoken * np.float32(1e-3), RATE) == pytest.approx(share, abs=0.01)
    assert speech_share(soxr.resample(spoken, RATE, 44100), 44100) == pytest.approx(share, abs=0.05)


def test_there_is_one_probability_for_each_stretch_begun(spoken):
    found = speech_probabilities(spoken[: 10 * 512 + 1], RATE)
    assert round(CHUNK_S * RATE) == 512
    assert found.shape == (11,)
    assert found.min() >= 0 and found.max() <= 1


def test_clips_do_not_hear_one_another(spoken):
    clips = [spoken, not_speech()["chord"].astype(np.float32)] * 4
    alone = [speech_share(clip, RATE) for clip in clips]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda clip: speech_share(clip, RATE), clips)) == alone


@pytest.mark.corpora
def test_the_quietest_speech_is_speech(corpora_root):
    # Active level -52 dB, with a second of silence at both ends.
    clip = load_audio(corpora_root / "ravdess" / "03-01-01-01-02-02-05.flac", sample_rate=RATE)
    assert 0.2 < speech_share(clip, RATE) < 0.8

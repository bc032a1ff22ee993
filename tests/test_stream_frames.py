"""Windows that overlap share their frames, and are judged as if each were a clip by itself."""

from __future__ import annotations

import numpy as np
import pytest

import emogram
from emogram import features, stream_frames, voices
from emogram.config import SpectrogramConfig
from emogram.errors import AudioError
from emogram.stream_frames import StreamFrames

WINDOW, HOP = 32768, 8192  # as `emogram analyze` has them, and no multiple of a frame's step

CONFIGS = {
    "plain": {},
    "periodicity": {"periodicity_bands": 48},
    "periodicity, long frames": {"periodicity_bands": 12, "n_fft": 2048, "win_length": 2048, "hop_length": 512},
    "odd transform": {"n_fft": 401, "n_mels": 32},
    "odd transform, periodicity": {"n_fft": 1001, "win_length": 1000, "n_mels": 32, "periodicity_bands": 8},
    "frames apart": {"hop_length": 1000},
    "against full scale, bands even, uncut": {"level": "absolute", "band_normalization": "clip", "trim_db": 0.0},
    "picture": {"kind": "picture", "n_mels": 128, "n_fft": 1024, "win_length": 1024, "hop_length": 256},
    "features": {"utterance_features": True},
}


@pytest.fixture(scope="module")
def spoken():
    """Six seconds of two voices, each word as loud as it comes, and a pause."""
    parts = [voices.speak(label, speaker=voices.voices(2)[n % 2], seed=n) for n, label in enumerate(("angry", "calm"))]
    return np.concatenate([parts[0], np.zeros(9000, np.float32), 0.1 * parts[1], parts[0]]).astype(np.float32)[:96000]


def starts(sound):
    return range(0, len(sound) - WINDOW, HOP)


def judged(sound, start, end, config):
    """The sound from the first frame's centre in a window to the last's, for `n_fft` that is odd as for others."""
    hop = config.hop_length
    odd = config.n_fft % 2 if config.n_fft > 768 or not config.periodicity_bands else 0
    first = next(sample for sample in range(start, end) if sample % hop == 0)
    last = next(sample for sample in range(end - odd, start, -1) if sample % hop == 0)
    return sound[first : last + odd]


@pytest.mark.parametrize("settings", CONFIGS.values(), ids=CONFIGS)
def test_a_window_is_what_its_sound_alone_would_be(spoken, settings):
    config = SpectrogramConfig(**settings)
    stream = StreamFrames(config)
    for start in starts(spoken):
        stream.add(spoken[stream.end : start + WINDOW])
        stream.forget(start)
        found = stream.model_inputs([(start, start + WINDOW)])[0]
        expected = features.model_inputs(judged(spoken, start, start + WINDOW, config), config)
        assert set(found) == set(expected)
        # Sums in another order move a value by a millionth, and then it may be rounded to the next of float16.
        np.testing.assert_allclose(found["spectrogram"], expected["spectrogram"], atol=2**-11)
        assert np.mean(found["spectrogram"] != expected["spectrogram"]) < 0.02
        if "features" in expected:
            np.testing.assert_array_equal(found["features"], expected["features"])


def test_the_model_that_ships_says_the_same_of_a_window_and_of_its_sound(spoken):
    classifier = emogram.load("shipped")
    config = classifier.info.spectrogram
    stream = StreamFrames(config)
    stream.add(spoken)
    for start in starts(spoken):
        inputs = stream.model_inputs([(start, start + WINDOW)])[0]
        said = classifier.probabilities({name: values[np.newaxis] for name, values in inputs.items()})[0]
        alone = classifier.predict(judged(spoken, start, start + WINDOW, config), sample_rate=16000)
        assert list(alone.scores.values()) == pytest.approx(said, abs=1e-4)


def test_a_frame_is_computed_once_but_for_those_that_silence_reaches_into(spoken, monkeypatch):
    config = SpectrogramConfig(periodicity_bands=48)
    computed = []
    whole = stream_frames.frames_of
    monkeypatch.setattr(stream_frames, "frames_of", lambda cut, config: computed.append(len(cut)) or whole(cut, config))
    stream = StreamFrames(config)
    stream.add(spoken)
    for start in starts(spoken):
        stream.model_inputs([(start, start + WINDOW)])
    n_windows, n_frames = len(starts(spoken)), (starts(spoken)[-1] + WINDOW) // config.hop_length + 1
    # Around a frame 768 samples count: silence reaches into two at each end, the centres of which lie 192 apart.
    assert computed[0] == WINDOW // 192 + 1
    assert n_frames <= sum(computed) <= n_frames + 4 * n_windows


def test_windows_may_come_in_any_order(spoken):
    """As those of two speakers do who talk at the same time."""
    config = SpectrogramConfig(periodicity_bands=48)
    stream = StreamFrames(config)
    stream.add(spoken)
    for start, n in (
        (40000, WINDOW),
        (20000, 9000),
        (9000, WINDOW),
        (9000, WINDOW - 5000),
        (70000, 9000),
        (20000, WINDOW),
    ):
        found = stream.model_inputs([(start, start + n)])[0]["spectrogram"]
        expected = features.model_inputs(judged(spoken, start, start + n, config), config)["spectrogram"]
        np.testing.assert_allclose(found, expected, atol=2**-11)


@pytest.mark.parametrize("settings", [CONFIGS["periodicity"], CONFIGS["odd transform"]], ids=["even", "odd"])
def test_windows_given_together_are_what_each_is_by_itself(spoken, settings):
    """Those of two speakers and one too short to share among them, in any order and any company."""
    config = SpectrogramConfig(**settings)
    random = np.random.default_rng(0)
    alone, together = StreamFrames(config), StreamFrames(config)
    for stream in (alone, together):
        stream.add(spoken)
    for n in (1, 2, 7, 0, 4):
        windows = [(int(start), int(start) + int(random.choice([450, 9000, WINDOW]))) for start in
                   random.integers(0, len(spoken) - WINDOW, n)]  # fmt: skip
        found = together.model_inputs(windows)
        assert len(found) == n
        for inputs, window in zip(found, windows, strict=True):
            expected = alone.model_inputs([window])[0]["spectrogram"]
            np.testing.assert_allclose(inputs["spectrogram"], expected, atol=2**-11)


def test_a_window_so_short_that_none_shares_its_frames_is_taken_whole(spoken):
    config = SpectrogramConfig(hop_length=4000)
    stream = StreamFrames(config)
    stream.add(spoken)
    found = stream.model_inputs([(4500, 11900)])[0]["spectrogram"]
    np.testing.assert_array_equal(found, features.model_inputs(spoken[4500:11900], config)["spectrogram"])
    with pytest.raises(AudioError, match="at least 400"):
        stream.model_inputs([(4500, 4800)])


def test_what_was_forgotten_or_not_yet_heard_is_left_out(spoken):
    config = SpectrogramConfig()
    stream = StreamFrames(config)
    stream.add(spoken[:50000])
    stream.forget(30000)
    stream.forget(10000)  # long gone
    assert len(stream._sound) == 20000
    found = stream.model_inputs([(20000, 60000)])[0]["spectrogram"]
    expected = features.model_inputs(judged(spoken, 30000, 50000, config), config)["spectrogram"]
    np.testing.assert_allclose(found, expected, atol=2**-11)

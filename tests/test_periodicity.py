"""The melody of a voice stands where its fundamental is, and nowhere else."""

import numpy as np
import pytest

from emogram.config import SpectrogramConfig
from emogram.periodicity import HIGH_HZ, HIGHEST_HARMONIC_HZ, LOW_HZ, WINDOW_S, band_centres_hz, relative
from emogram.spectrogram import cut_frames, frames_of, log_mel, model_input

RATE = 16000
BANDS = 48
CONFIG = SpectrogramConfig(periodicity_bands=BANDS)


def voice(hertz, seconds=0.6, first_harmonic=1):
    """All harmonics up to 4 kHz, as loud as one another, in phases that do not peak."""
    time = np.arange(round(seconds * RATE)) / RATE
    numbers = np.arange(first_harmonic, int(4000 // hertz) + 1)
    return sum(np.cos(2 * np.pi * hertz * n * time + n**2) for n in numbers).astype(np.float32) * np.float32(0.01)


def periodicity(waveform, config):
    """The bands of all frames of a sound, low to high, as a model is given them before any are trimmed."""
    return relative(frames_of(cut_frames(waveform, config), config).repeats)


def middle(waveform):
    return periodicity(waveform, CONFIG)[20:-20]


def noise(seed=0, seconds=1.0):
    return np.random.default_rng(seed).standard_normal(round(seconds * RATE)).astype(np.float32) * np.float32(0.1)


def melody_of(frames):
    """The highest of the bright lines in each frame, in Hz."""
    bright = frames >= 0.75 * frames.max(axis=1, keepdims=True)
    return band_centres_hz(BANDS)[BANDS - 1 - bright[:, ::-1].argmax(axis=1)]


# A band and a half.
NEAR = 1.5 * np.log(HIGH_HZ / LOW_HZ) / (BANDS - 1)


@pytest.mark.parametrize("hertz", [75.0, 98.0, 131.0, 150.0, 180.0, 262.0, 380.0, 600.0])
def test_the_highest_bright_line_is_the_fundamental(hertz):
    frames = middle(voice(hertz))
    assert np.abs(np.log(melody_of(frames) / hertz)).max() < NEAR
    assert frames.max(axis=1).min() > 0.8


def test_a_fundamental_that_is_not_sounded_is_found_all_the_same():
    # As on the telephone, which lets nothing below 300 Hz pass.
    assert np.abs(np.log(melody_of(middle(voice(120.0, first_harmonic=3))) / 120.0)).max() < NEAR


def test_lines_stand_at_the_fundamental_and_its_fractions_and_nowhere_between():
    frames, centres = middle(voice(400.0)).mean(axis=0), band_centres_hz(BANDS)
    near = np.zeros(BANDS, bool)
    for divisor in range(1, 7):
        near |= np.abs(np.log(centres * divisor / 400.0)) < NEAR
    for divisor in range(1, 5):
        assert frames[np.abs(centres - 400.0 / divisor).argmin()] > 0.7
    assert frames[~near & (centres > 110)].max() < 0.5


def test_a_melody_is_followed():
    time = np.arange(RATE) / RATE
    hertz = 120.0 * 2.0**time  # an octave up in a second
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    rising = sum(np.cos(n * phase + n**2) for n in range(1, 9)).astype(np.float32)
    frames = periodicity(rising, CONFIG)
    at = np.arange(len(frames)) * CONFIG.hop_length / RATE
    inside = (at > 0.05) & (at < 0.95)
    assert np.abs(np.log(melody_of(frames[inside]) / (120.0 * 2.0 ** at[inside]))).max() < NEAR


def test_noise_and_silence_repeat_nothing():
    assert middle(noise()).mean() < 0.2 * middle(voice(150.0)).max(axis=1).min()
    assert not periodicity(np.zeros(RATE, np.float32), CONFIG).any()


def test_level_does_not_count():
    wave = voice(140.0) + noise(1, 0.6)
    np.testing.assert_allclose(periodicity(wave * np.float32(0.01), CONFIG), periodicity(wave, CONFIG), atol=1e-4)


def test_silence_beside_speech_stays_dark():
    hum = np.concatenate([voice(150.0, 0.4), voice(150.0, 0.4) * np.float32(1e-5)])
    n_frames = len(periodicity(hum, CONFIG))
    assert periodicity(hum, CONFIG)[n_frames // 2 + 5 :].max() < 0.01


def test_frames_agree_with_a_sum_over_lags():
    """Frame by frame in double precision: window, band-limit, correlate by hand, divide, look all over each band."""
    wave = voice(170.0, 0.5) + noise(2, 0.5)
    found = periodicity(wave, CONFIG)
    size = round(WINDOW_S * RATE)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    padded = np.pad(wave.astype(np.float64), size // 2)
    step = np.log(HIGH_HZ / LOW_HZ) / (BANDS - 1)
    hertz_of_bands = [centre * np.exp(np.linspace(-0.5, 0.5, 41) * step) for centre in band_centres_hz(BANDS)]
    expected = []
    for start in range(0, len(wave) + 1, CONFIG.hop_length):
        spectrum = np.fft.rfft(padded[start : start + size] * window, 2 * size)
        hertz = np.fft.rfftfreq(2 * size, 1 / RATE)
        spectrum[(hertz > HIGHEST_HARMONIC_HZ) | (hertz < 40.0)] = 0.0
        frame = np.fft.irfft(spectrum)
        lags = np.arange(size // 2)
        correlation = np.array([frame @ np.roll(frame, -lag) for lag in lags])
        own = np.array([window[: size - lag] @ window[lag:] for lag in lags])
        relative = correlation / correlation[0] / (own / own[0])
        expected.append([np.interp(RATE / hertz, lags, relative).max().clip(0, 1) for hertz in hertz_of_bands])
    assert found.shape == np.shape(expected)
    # What differs is the upper edge of the spectrum, a bin to either side, and how closely each band is looked at.
    apart = np.abs(found - expected)
    assert np.quantile(apart, 0.98) < 0.1
    assert apart.mean() < 0.02


@pytest.mark.parametrize("n_samples", [600, 4000, 4001, 16191])
def test_there_are_as_many_frames_as_in_the_log_mel(n_samples):
    wave = np.resize(noise(), n_samples)
    assert len(periodicity(wave, CONFIG)) == len(log_mel(wave, CONFIG))


def test_a_model_is_given_the_bands_beside_the_mel_bands_and_in_step_with_them():
    # Silence before and after is trimmed from both.
    wave = np.concatenate([np.zeros(4000, np.float32), voice(200.0), np.zeros(6000, np.float32)])
    both = model_input(wave, CONFIG)[:, :, 0]
    alone = model_input(wave, SpectrogramConfig())[:, :, 0]
    np.testing.assert_array_equal(both[:, : CONFIG.n_mels], alone)
    assert both.shape == (len(alone), CONFIG.n_mels + BANDS)
    loud = alone.mean(axis=1) > 0.5 * alone.mean(axis=1).max()
    assert np.median(np.abs(np.log(melody_of(both[loud, CONFIG.n_mels :]) / 200.0))) < NEAR


def test_pictures_show_none():
    with pytest.raises(ValueError, match="pictures show no periodicity"):
        SpectrogramConfig(kind="picture", periodicity_bands=48)

"""Utterance features: against librosa, against slow versions, and what they must not depend on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from emogram import features
from emogram.config import SpectrogramConfig
from emogram.errors import AudioError
from emogram.features import FEATURE_NAMES, N_FEATURES, frame_measures, model_inputs, utterance_features
from emogram.spectrogram import FloatArray, model_input

SHORT = SpectrogramConfig(n_fft=512, win_length=400, hop_length=256, n_mels=64, f_min_hz=50.0, f_max_hz=8000.0)
LONG = SHORT.model_copy(update={"n_fft": 2048, "win_length": 2048})


@pytest.fixture
def speech() -> FloatArray:
    """Two seconds at 16 kHz: a gliding pulse train through two resonances, noise, and pauses at both ends."""
    rng = np.random.default_rng(7)
    seconds = np.arange(32000) / 16000
    pitch = 120 + 60 * np.sin(2 * np.pi * 1.5 * seconds)
    phase = 2 * np.pi * np.cumsum(pitch) / 16000
    voice = sum(np.cos(k * phase) / (1 + abs(k * 150 - 600) / 300) for k in range(1, 30))
    wave = (voice + 0.3 * rng.normal(size=32000) * (np.sin(2 * np.pi * 3 * seconds) > 0.5)) * (
        np.abs(seconds - 1.0) < 0.7
    )
    speech: FloatArray = (0.2 * wave / np.abs(wave).max() + 1e-5 * rng.normal(size=32000)).astype(np.float32)
    return speech


def _power(waveform: FloatArray, config: SpectrogramConfig) -> FloatArray:
    librosa = pytest.importorskip("librosa")
    spectrum = librosa.stft(
        waveform / np.abs(waveform).max(),
        n_fft=config.n_fft, hop_length=config.hop_length, win_length=config.win_length, pad_mode="constant",
    )  # fmt: skip
    power = np.square(np.abs(spectrum))
    relative: FloatArray = np.maximum(power / power.max(), 1e-8).astype(np.float32)
    return relative


def test_there_are_181_features_with_different_names() -> None:
    assert N_FEATURES == len(FEATURE_NAMES) == len(set(FEATURE_NAMES)) == 181


def test_features_have_the_order_of_their_names(speech: FloatArray) -> None:
    named = dict(zip(FEATURE_NAMES, utterance_features(speech, 16000), strict=True))
    measures = frame_measures(speech, 16000)
    spoken = measures["loudness_db"][:, 0] >= -40
    assert named["mfcc_3_std"] == pytest.approx(measures["mfcc"][spoken, 3].std(), rel=1e-4)
    assert named["mfcc_delta_39_std"] == pytest.approx(measures["mfcc_delta"][spoken, 39].std(), rel=1e-4)
    assert named["chroma_11_mean"] == pytest.approx(measures["chroma"][spoken, 11].mean(), rel=1e-4)
    assert named["flatness_mean"] == pytest.approx(measures["flatness"][spoken].mean(), rel=1e-4)
    assert named["loudness_db_p10"] == pytest.approx(np.percentile(measures["loudness_db"][spoken], 10), rel=1e-4)
    assert named["speech_share"] == pytest.approx(spoken.mean())
    assert named["speech_share"] == pytest.approx(0.7, abs=0.03)  # 1.4 s of 2 s


def test_cepstrum_and_its_slope_agree_with_librosa(speech: FloatArray) -> None:
    librosa = pytest.importorskip("librosa")
    mel = librosa.feature.melspectrogram(S=_power(speech, SHORT), sr=16000, n_mels=64, fmin=50, fmax=8000)
    mfcc = librosa.feature.mfcc(S=librosa.power_to_db(mel, amin=1e-20, top_db=None), n_mfcc=40)
    measures = frame_measures(speech, 16000)
    np.testing.assert_allclose(measures["mfcc"], mfcc.T, atol=0.01)
    slope = librosa.feature.delta(mfcc, width=5, mode="nearest")
    np.testing.assert_allclose(measures["mfcc_delta"], slope.T, atol=0.01)


def test_chroma_agrees_with_librosa(speech: FloatArray) -> None:
    librosa = pytest.importorskip("librosa")
    np.testing.assert_allclose(
        features._chroma_filters(16000, 2048).T, librosa.filters.chroma(sr=16000, n_fft=2048), atol=1e-6
    )
    expected = librosa.feature.chroma_stft(S=_power(speech, LONG), sr=16000, n_fft=2048, tuning=0.0)
    np.testing.assert_allclose(frame_measures(speech, 16000)["chroma"], expected.T, atol=1e-3)


def test_spectral_shape_agrees_with_librosa(speech: FloatArray) -> None:
    librosa = pytest.importorskip("librosa")
    power = _power(speech, SHORT)
    measures = frame_measures(speech, 16000)
    shape = librosa.feature
    expected = {
        "centroid_hz": shape.spectral_centroid(S=power, sr=16000),
        "bandwidth_hz": shape.spectral_bandwidth(S=power, sr=16000),
        "rolloff_hz": shape.spectral_rolloff(S=power, sr=16000, roll_percent=0.85),
        "flatness": shape.spectral_flatness(S=power, power=1.0, amin=1e-12),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(measures[name][:, 0], values[0], rtol=2e-3, err_msg=name)


def test_zero_crossings_agree_with_librosa_away_from_the_ends(speech: FloatArray) -> None:
    librosa = pytest.importorskip("librosa")
    centred = speech - speech.mean()
    expected = librosa.feature.zero_crossing_rate(centred, frame_length=512, hop_length=256, threshold=0.0)[0]
    # librosa also counts the first sample of a frame as a crossing where it is not positive
    found = features.zero_crossing_rate(speech, SHORT)
    np.testing.assert_allclose(found[2:-2], expected[2:-2], atol=1 / 512)


def test_zero_crossings_of_a_tone_are_twice_its_frequency() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000 + 0.1).astype(np.float32)
    assert features.zero_crossing_rate(tone, SHORT)[10] == pytest.approx(2 * 1000 / 16000, abs=1 / 512)


def test_contrast_agrees_with_a_slow_version(speech: FloatArray) -> None:
    power = _power(speech, LONG).T
    hertz = np.arange(1025) * 7.8125
    edges = [0, 100, 200, 400, 800, 1600, 3200, 8001]
    found = frame_measures(speech, 16000)["contrast_db"]
    for frame in range(0, len(power), 17):
        for band in range(7):
            values = sorted(p for p, f in zip(power[frame], hertz, strict=True) if edges[band] <= f < edges[band + 1])
            n_bins = max(1, round(0.02 * len(values)))
            peak, valley = sum(values[-n_bins:]) / n_bins, sum(values[:n_bins]) / n_bins
            assert found[frame, band] == pytest.approx(10 * math.log10(peak / valley), abs=0.02)


def test_voice_quality_of_a_hand_made_spectrum() -> None:
    hertz = np.arange(0, 8001, 250, dtype=np.float32)
    decibels = -0.012 * hertz  # 12 dB per kHz down everywhere
    power = (10.0 ** (decibels / 10))[np.newaxis].astype(np.float32)
    below, above = features.spectral_slopes(power, hertz)
    assert below[0] == pytest.approx(-12, abs=1e-3)
    assert above[0] == pytest.approx(-12, abs=1e-3)
    assert features.hammarberg_index(power, hertz)[0] == pytest.approx(24, abs=1e-3)  # 0 Hz against 2 kHz
    low = sum(10 ** (-0.0012 * f) for f in (250, 500, 750))
    high = sum(10 ** (-0.0012 * f) for f in range(1000, 5001, 250))
    assert features.alpha_ratio(power, hertz)[0] == pytest.approx(10 * math.log10(low / high), abs=1e-3)


def test_flux_is_nothing_between_equal_spectra_and_the_root_of_two_between_disjoint_ones() -> None:
    power = np.array([[4, 0, 0], [8, 0, 0], [0, 1, 0]], np.float32)
    np.testing.assert_allclose(features.flux(power), [0, 0, math.sqrt(2)], atol=1e-6)


def test_delta_of_a_ramp_is_its_slope_inside() -> None:
    ramp = np.arange(10, dtype=np.float32)[:, np.newaxis] * 3
    np.testing.assert_allclose(features.delta(ramp)[2:-2], 3)


@pytest.mark.parametrize("gain", [1e-3, 0.1, 3.0])
def test_no_feature_depends_on_the_level(speech: FloatArray, gain: float) -> None:
    np.testing.assert_allclose(
        utterance_features(speech * np.float32(gain), 16000), utterance_features(speech, 16000), rtol=1e-3, atol=1e-3
    )


def test_longer_pauses_change_only_the_share_of_speech_and_the_edges(speech: FloatArray) -> None:
    rng = np.random.default_rng(1)
    pause = (1e-5 * rng.normal(size=25600)).astype(np.float32)
    short, long = utterance_features(speech, 16000), utterance_features(np.concatenate([speech, pause]), 16000)
    assert long[-1] < 0.65 * short[-1]
    cepstrum = slice(1, 40)
    np.testing.assert_allclose(long[cepstrum], short[cepstrum], atol=0.05)


@pytest.mark.parametrize(
    "waveform",
    [
        np.zeros(16000, np.float32),
        np.full(16000, 0.5, np.float32),
        np.eye(1, 16000, 8000, dtype=np.float32)[0],
        np.full(16000, 1e-42, np.float32),
        np.where(np.arange(16000) % 2, 3e38, -3e38).astype(np.float32),
        np.random.default_rng(0).normal(size=2048).astype(np.float32),
    ],
    ids=["silence", "constant", "click", "denormal", "full float range", "as short as allowed"],
)
def test_features_are_finite_for_any_finite_sound(waveform: FloatArray) -> None:
    found = utterance_features(waveform, 16000)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


@pytest.mark.parametrize("sample_rate", [4000, 8000, 22050, 44100, 48000, 192000])
def test_features_are_finite_at_any_rate(sample_rate: int) -> None:
    noise = np.random.default_rng(0).normal(size=sample_rate).astype(np.float32)
    assert np.isfinite(utterance_features(noise, sample_rate)).all()


def test_the_rate_hardly_matters(speech: FloatArray) -> None:
    soxr = pytest.importorskip("soxr")
    named = dict(zip(FEATURE_NAMES, utterance_features(speech, 16000), strict=True))
    faster = dict(zip(FEATURE_NAMES, utterance_features(soxr.resample(speech, 16000, 48000), 48000), strict=True))
    for name in ("centroid_hz_mean", "alpha_ratio_db_mean", "speech_share", "slope_0_500_db_per_khz_mean"):
        assert faster[name] == pytest.approx(named[name], rel=0.06), name


def test_too_short_a_sound_is_refused() -> None:
    with pytest.raises(AudioError, match="at least 2048"):
        utterance_features(np.zeros(2047, np.float32), 16000)


def test_model_inputs_hold_what_the_config_asks(speech: FloatArray) -> None:
    plain, both = SpectrogramConfig(), SpectrogramConfig(utterance_features=True)
    assert list(model_inputs(speech, plain)) == ["spectrogram"]
    inputs = model_inputs(speech, both)
    np.testing.assert_array_equal(inputs["spectrogram"], model_input(speech, both))
    np.testing.assert_array_equal(inputs["features"], utterance_features(speech, 16000))

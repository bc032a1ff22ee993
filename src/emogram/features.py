"""Acoustic features of a whole utterance, for the two-input networks, and the door that all models' inputs pass.

181 numbers: what `frame_measures` finds in each frame, pooled over the frames in which somebody speaks. Powers are
taken relative to the utterance's strongest spectral bin and floored `RANGE_DB` below it, so that no feature depends on
the recording level.

- Mel cepstrum, 40 coefficients: S. Davis and P. Mermelstein, "Comparison of parametric representations for monosyllabic
  word recognition in continuously spoken sentences", IEEE Trans. ASSP 28 (1980), 357-366; its slope over five frames:
  S. Furui, "Speaker-independent isolated word recognition using dynamic features of speech spectrum", IEEE Trans. ASSP
  34 (1986), 52-59, as the HTK Book 3.4 writes it, section 5.9.
- Chroma, 12 pitch classes: D. Ellis, "Chroma feature analysis and synthesis", Columbia University (2007).
- Spectral contrast, 7 octave bands: D.-N. Jiang et al., "Music type classification by spectral contrast feature", ICME
  (2002), 113-116.
- Centroid, bandwidth, roll-off, flatness, flux, zero crossings: G. Peeters, "A large set of audio features for sound
  description", IRCAM (2004).
- Alpha ratio, Hammarberg index, spectral slopes: F. Eyben et al., "The Geneva minimalistic acoustic parameter set
  (GeMAPS) for voice research and affective computing", IEEE Trans. Affective Computing 7 (2016), 190-202.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np

from emogram.config import SpectrogramConfig
from emogram.spectrogram import FloatArray, Frames, mel_filters, model_input, power_spectrum, sum_bands

N_MFCC = 40
N_CHROMA = 12
N_CONTRAST = 7
RANGE_DB = 80.0  # what a 16-bit recording with some headroom resolves
SPEECH_DB = (
    40.0  # frames this far below the loudest are pauses; RAVDESS clips begin and end with about a second of them
)
ROLLOFF_SHARE = 0.85
CONTRAST_SHARE = 0.02  # of a band's bins, the loudest and the softest, as Jiang et al. chose
DELTA_REACH = 2  # frames on each side

_POOLING: dict[str, Callable[..., Any]] = {
    "mean": np.mean,
    "std": np.std,
    "p10": partial(np.percentile, q=10),
    "p50": partial(np.percentile, q=50),
    "p90": partial(np.percentile, q=90),
}

# Measure of a frame, how many numbers it has, how it is pooled.
_MEASURES: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("mfcc", N_MFCC, ("mean", "std")),
    ("mfcc_delta", N_MFCC, ("std",)),  # its mean is only the difference between the ends
    ("chroma", N_CHROMA, ("mean", "std")),
    ("contrast_db", N_CONTRAST, ("mean", "std")),
    ("centroid_hz", 1, ("mean", "std")),
    ("bandwidth_hz", 1, ("mean", "std")),
    ("rolloff_hz", 1, ("mean", "std")),
    ("flatness", 1, ("mean", "std")),
    ("flux", 1, ("mean", "std")),
    ("zero_crossing_rate", 1, ("mean", "std")),
    ("alpha_ratio_db", 1, ("mean", "std")),
    ("hammarberg_index_db", 1, ("mean", "std")),
    ("slope_0_500_db_per_khz", 1, ("mean",)),
    ("slope_500_1500_db_per_khz", 1, ("mean",)),
    ("loudness_db", 1, ("std", "p10", "p50", "p90")),
)

FEATURE_NAMES: tuple[str, ...] = (
    *(
        f"{name}_{how}" if width == 1 else f"{name}_{k}_{how}"
        for name, width, pooling in _MEASURES
        for how in pooling
        for k in range(width)
    ),
    "speech_share",
)
N_FEATURES = len(FEATURE_NAMES)


def model_inputs(
    waveform: FloatArray, config: SpectrogramConfig, *, frames: Frames | None = None
) -> dict[str, FloatArray]:
    """Turn a waveform into all that a model takes; training, evaluation and prediction pass here.

    Args:
        waveform: Shape (n_samples,), float32, at `config.sample_rate`, as `audio.load_audio` returns it.
        config: How.
        frames: Its frames, where they are known, since it overlaps with another.

    Returns:
        "spectrogram": see `spectrogram.model_input`. With `config.utterance_features` also "features": see
        `utterance_features`; float32, and not exact in half precision as the spectrogram is: some are thousands of Hz.

    Raises:
        AudioError: The waveform is too short.
    """
    inputs = {"spectrogram": model_input(waveform, config, frames=frames)}
    if config.utterance_features:
        inputs["features"] = utterance_features(waveform, config.sample_rate)
    return inputs


def utterance_features(waveform: FloatArray, sample_rate: int) -> FloatArray:
    """Measure an utterance.

    Args:
        waveform: Shape (n_samples,), float32, finite, at least 128 ms.
        sample_rate: In Hz, 4000 to 192000.

    Returns:
        Shape (N_FEATURES,), float32, finite, in the order of `FEATURE_NAMES`; not standardised.

    Raises:
        AudioError: The waveform is shorter than 128 ms.
    """
    measures = frame_measures(waveform, sample_rate)
    speech = measures["loudness_db"][:, 0] >= -SPEECH_DB
    pooled = [_POOLING[how](measures[name][speech], axis=0) for name, _width, pooling in _MEASURES for how in pooling]
    features: FloatArray = np.concatenate([*pooled, [speech.mean()]]).astype(np.float32)
    return features


def frame_measures(waveform: FloatArray, sample_rate: int) -> dict[str, FloatArray]:
    """Measure each frame of an utterance.

    Frames are 25 ms long (128 ms for chroma and contrast, which must tell the harmonics apart) and 16 ms apart.

    Args:
        waveform: As in `utterance_features`.
        sample_rate: In Hz.

    Returns:
        Name of the measure -> shape (n_frames, how many numbers it has), float32. "loudness_db" is relative to the
        loudest frame; slopes are in dB per kHz; "chroma" is relative to the frame's strongest pitch class, from C;
        "zero_crossing_rate" is per sample; "flux" lies between 0 and the root of 2.

    Raises:
        AudioError: The waveform is shorter than 128 ms.
    """
    config, long_config = _frame_config(sample_rate, 0.025), _frame_config(sample_rate, 0.128)
    waveform = waveform / max(float(np.abs(waveform).max(initial=0.0)), float(np.finfo(np.float32).tiny))
    power, long_power = _relative_power(waveform, config), _relative_power(waveform, long_config)
    hertz = _bin_frequencies(config)
    loudness = _decibels(power.mean(axis=1))
    cepstrum = mfcc(power, config)
    slopes = spectral_slopes(power, hertz)
    columns = {
        "centroid_hz": centroid(power, hertz),
        "bandwidth_hz": bandwidth(power, hertz),
        "rolloff_hz": rolloff(power, hertz),
        "flatness": np.exp(np.log(power).mean(axis=1)) / power.mean(axis=1),
        "flux": flux(power),
        "zero_crossing_rate": zero_crossing_rate(waveform, config),
        "alpha_ratio_db": alpha_ratio(power, hertz),
        "hammarberg_index_db": hammarberg_index(power, hertz),
        "slope_0_500_db_per_khz": slopes[0],
        "slope_500_1500_db_per_khz": slopes[1],
        "loudness_db": loudness - loudness.max(),
    }
    return {
        "mfcc": cepstrum,
        "mfcc_delta": delta(cepstrum),
        "chroma": chroma(long_power, long_config),
        "contrast_db": contrast(long_power, _bin_frequencies(long_config)),
        **{name: column[:, np.newaxis] for name, column in columns.items()},
    }


def mfcc(power: FloatArray, config: SpectrogramConfig) -> FloatArray:
    """Return the mel cepstrum: the orthonormal DCT-II of the log-mel in dB, shape (n_frames, N_MFCC)."""
    import scipy.fft

    cepstrum: FloatArray = scipy.fft.dct(_decibels(sum_bands(power, mel_filters(config))), type=2, norm="ortho", axis=1)
    return cepstrum[:, :N_MFCC]


def delta(values: FloatArray) -> FloatArray:
    """Return the slope of each column per frame by regression over +-`DELTA_REACH` frames; the ends are repeated."""
    padded = np.pad(values, ((DELTA_REACH, DELTA_REACH), (0, 0)), mode="edge")
    n_frames = len(values)
    slope = np.zeros_like(values)
    for step in range(1, DELTA_REACH + 1):
        later, earlier = DELTA_REACH + step, DELTA_REACH - step
        slope += step * (padded[later : later + n_frames] - padded[earlier : earlier + n_frames])
    slope /= 2 * sum(step * step for step in range(1, DELTA_REACH + 1))
    return slope


def chroma(power: FloatArray, config: SpectrogramConfig) -> FloatArray:
    """Return the strength of each pitch class from C, relative to the strongest, shape (n_frames, N_CHROMA)."""
    strengths = sum_bands(power, _chroma_filters(config.sample_rate, config.n_fft))
    strengths /= strengths.max(axis=1, keepdims=True)
    return strengths


def contrast(power: FloatArray, hertz: FloatArray) -> FloatArray:
    """Return the distance in dB from the softest to the loudest bins of each octave band, shape (n_frames, N_CONTRAST).

    The top band begins at 2/5 of the highest frequency (3200 Hz at 16 kHz), each band below at half of the one above
    it, the lowest at 0.
    """
    edges = hertz[-1] * 0.4 * 2.0 ** np.arange(-(N_CONTRAST - 2), 1)
    bands = np.split(power, np.searchsorted(hertz, edges), axis=1)
    return np.column_stack([_band_contrast(band) for band in bands])


def _band_contrast(band: FloatArray) -> FloatArray:
    ordered = np.sort(band, axis=1)
    n_bins = max(1, round(CONTRAST_SHARE * band.shape[1]))
    return _ratio_db(ordered[:, -n_bins:].mean(axis=1), ordered[:, :n_bins].mean(axis=1))


def centroid(power: FloatArray, hertz: FloatArray) -> FloatArray:
    """Return the mean frequency of each frame, weighted with power, in Hz, shape (n_frames,)."""
    mean: FloatArray = (power @ hertz) / power.sum(axis=1)
    return mean


def bandwidth(power: FloatArray, hertz: FloatArray) -> FloatArray:
    """Return the standard deviation of frequency in each frame, weighted with power, in Hz, shape (n_frames,)."""
    distance = hertz - centroid(power, hertz)[:, np.newaxis]
    deviation: FloatArray = np.sqrt((power * np.square(distance)).sum(axis=1) / power.sum(axis=1))
    return deviation


def rolloff(power: FloatArray, hertz: FloatArray) -> FloatArray:
    """Return the lowest frequency with `ROLLOFF_SHARE` of a frame's power at or below it, in Hz, shape (n_frames,)."""
    below = np.cumsum(power, axis=1)
    first: FloatArray = hertz[np.argmax(below >= ROLLOFF_SHARE * below[:, -1:], axis=1)]
    return first


def flux(power: FloatArray) -> FloatArray:
    """Return the distance between the amplitude spectra, each of length 1, of a frame and the one before it.

    Shape (n_frames,); 0 for the first frame, at most the root of 2.
    """
    amplitude = np.sqrt(power)
    amplitude /= np.linalg.norm(amplitude, axis=1, keepdims=True)
    distance: FloatArray = np.linalg.norm(np.diff(amplitude, axis=0, prepend=amplitude[:1]), axis=1)
    return distance


def zero_crossing_rate(waveform: FloatArray, config: SpectrogramConfig) -> FloatArray:
    """Return the share of a frame's `n_fft` samples that differ in sign from the one before, shape (n_frames,)."""
    negative = np.signbit(waveform - waveform.mean())
    crossings = np.concatenate([[0, 0], np.cumsum(negative[1:] != negative[:-1])])
    first = np.arange(0, waveform.size + 1, config.hop_length) - config.n_fft // 2
    counts = crossings[np.minimum(first + config.n_fft, waveform.size)] - crossings[np.maximum(first, 0)]
    share: FloatArray = (counts / config.n_fft).astype(np.float32)
    return share


def alpha_ratio(power: FloatArray, hertz: FloatArray) -> FloatArray:
    """Return the power from 50 to 1000 Hz over that from 1 to 5 kHz in dB, shape (n_frames,)."""
    low, high = (hertz >= 50) & (hertz < 1000), (hertz >= 1000) & (hertz <= 5000)
    return _ratio_db(power[:, low].sum(axis=1), power[:, high].sum(axis=1))


def hammarberg_index(power: FloatArray, hertz: FloatArray) -> FloatArray:
    """Return the strongest bin below 2 kHz over the strongest from 2 to 5 kHz in dB, shape (n_frames,)."""
    low, high = hertz < 2000, (hertz >= 2000) & (hertz <= 5000)
    return _ratio_db(power[:, low].max(axis=1), power[:, high].max(axis=1))


def spectral_slopes(power: FloatArray, hertz: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the slopes of the regression lines from 0 to 500 and from 500 to 1500 Hz, dB per kHz, each (n_frames,)."""
    return _slope(power, hertz, 0, 500), _slope(power, hertz, 500, 1500)


def _slope(power: FloatArray, hertz: FloatArray, low_hz: float, high_hz: float) -> FloatArray:
    inside = (hertz >= low_hz) & (hertz <= high_hz)
    kilohertz = hertz[inside] / np.float32(1000)
    distance = kilohertz - kilohertz.mean()
    slope: FloatArray = _decibels(power[:, inside]) @ (distance / np.square(distance).sum())
    return slope


def _frame_config(sample_rate: int, window_s: float) -> SpectrogramConfig:
    win_length = round(window_s * sample_rate)
    return SpectrogramConfig(
        sample_rate=sample_rate,
        n_fft=1 << (win_length - 1).bit_length(),
        win_length=win_length,
        hop_length=round(0.016 * sample_rate),
        n_mels=64,
        f_min_hz=50.0,
        f_max_hz=min(8000.0, sample_rate / 2),
    )


def _relative_power(waveform: FloatArray, config: SpectrogramConfig) -> FloatArray:
    power = power_spectrum(waveform, config)
    floor = np.float32(10.0 ** (-RANGE_DB / 10.0))
    # Digital silence has no strongest bin: it lies at the floor throughout.
    relative: FloatArray = np.maximum(power / max(power.max(), np.finfo(np.float32).tiny), floor)
    return relative


def _decibels(power: FloatArray) -> FloatArray:
    # Filters between two bins are empty at low sample rates; their power is 0.
    decibels: FloatArray = np.float32(10.0) * np.log10(np.maximum(power, np.float32(1e-20)))
    return decibels


def _ratio_db(above: FloatArray, below: FloatArray) -> FloatArray:
    ratio: FloatArray = _decibels(above) - _decibels(below)
    return ratio


def _bin_frequencies(config: SpectrogramConfig) -> FloatArray:
    return (np.arange(config.n_fft // 2 + 1) * (config.sample_rate / config.n_fft)).astype(np.float32)


@lru_cache(maxsize=4)
def _chroma_filters(sample_rate: int, n_fft: int) -> FloatArray:
    """Return how much each bin belongs to each pitch class, shape (n_fft // 2 + 1, N_CHROMA).

    As Ellis: a Gaussian around each pitch class (A4 = 440 Hz), as wide as a bin or a semitone, the greater; each bin's
    weights have length 1 and fade two octaves from 880 Hz.
    """
    hertz = np.arange(1, n_fft // 2 + 2) * (sample_rate / n_fft)
    semitones = N_CHROMA * np.log2(hertz / 27.5)
    # The constant bin has no pitch; it is put an octave and a half below the first.
    semitones = np.concatenate([[semitones[0] - 1.5 * N_CHROMA], semitones])
    width = np.maximum(np.diff(semitones), 1.0)[:, np.newaxis]
    semitones = semitones[:-1, np.newaxis]
    half = N_CHROMA // 2
    distance = np.mod(semitones - np.arange(N_CHROMA) + half, N_CHROMA) - half
    weights = np.exp(-0.5 * np.square(2.0 * distance / width))
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    weights *= np.exp(-0.5 * np.square((semitones / N_CHROMA - 5.0) / 2.0))
    from_c: FloatArray = np.roll(weights, -3, axis=1).astype(np.float32)
    return from_c

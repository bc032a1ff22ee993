"""The sound of a stream -> model input of windows that overlap in it, each frame computed once.

A window is judged as a clip by itself: with silence around it, and measured against its own loudest point. Silence
reaches into the first frames of a clip and into the last. All others are the same in every window that holds them, if
windows begin and end at multiples of `hop_length`; and what depends on the whole window comes after them.
"""

from __future__ import annotations

import numpy as np

from emogram import features
from emogram.config import SpectrogramConfig
from emogram.spectrogram import FloatArray, Frames, cut_frames, frame_size, frames_of


class StreamFrames:
    """Keeps the end of a stream, and the frames of the last window.

    Attributes:
        end: Number of samples heard so far.
    """

    end: int

    def __init__(self, config: SpectrogramConfig) -> None:
        """Begin at the first sample of a stream at `config.sample_rate`."""
        self.end = 0
        self._config = config
        self._size = frame_size(config)
        self._edge = -(-(self._size // 2) // config.hop_length)  # frames at each end into which silence reaches
        self._sound = np.empty(0, np.float32)
        self._inner: Frames | None = None  # of the last window, all but those
        self._first = 0  # number of the first of them in the stream

    def add(self, samples: FloatArray) -> None:
        """Take the stream's next samples, shape (n,), float32."""
        self._sound = np.concatenate([self._sound, samples])
        self.end += len(samples)

    def forget(self, before: int) -> None:
        """Forget the samples before this one, which no window will need."""
        self._sound = self._sound[max(0, before - self._kept_from()) :]

    def model_inputs(self, start: int, end: int) -> dict[str, FloatArray]:
        """Return what `features.model_inputs` does of the sound of a window.

        The sound begins at the first multiple of `hop_length` in the window and ends at the last (of an odd `n_fft`, a
        sample later), so that less than a hop is left out at either end. Of a window of so few frames that no other
        could share any, nothing is left out.

        Args:
            start: First sample of the window.
            end: The sample after its last. Neither what is forgotten nor what was not heard belongs to it.

        Raises:
            AudioError: The sound is shorter than the window of a frame.
        """
        hop, odd = self._config.hop_length, self._size % 2
        start, end = max(start, self._kept_from()), min(end, self.end)
        first, last = -(-start // hop), (end - odd) // hop
        if last - first < 2 * self._edge:
            return features.model_inputs(self._between(start, end), self._config)
        sound = self._between(first * hop, last * hop + odd)
        return features.model_inputs(sound, self._config, frames=self._frames(sound, first))

    def _between(self, start: int, end: int) -> FloatArray:
        return self._sound[start - self._kept_from() : end - self._kept_from()]

    def _kept_from(self) -> int:
        return self.end - len(self._sound)

    def _frames(self, sound: FloatArray, first: int) -> Frames:
        cut = cut_frames(sound, self._config)
        inner = first + self._edge
        known = []
        n_known = 0
        if self._inner is not None and inner >= self._first:  # else another speaker's, which began later
            known = [_part(self._inner, slice(inner - self._first, inner - self._first + len(cut) - 2 * self._edge))]
            n_known = len(known[0].loudness)
        found = frames_of(np.concatenate([cut[: self._edge], cut[self._edge + n_known :]]), self._config)
        frames = _joined([_part(found, slice(self._edge)), *known, _part(found, slice(self._edge, None))])
        self._inner, self._first = _part(frames, slice(self._edge, -self._edge)), inner
        return frames


def _part(frames: Frames, rows: slice) -> Frames:
    return Frames(*(values[rows] for values in frames))


def _joined(parts: list[Frames]) -> Frames:
    return Frames(*(np.concatenate(values) for values in zip(*parts, strict=True)))

"""The sound of a stream -> model input of windows that overlap in it, each frame computed once.

A window is judged as a clip by itself: with silence around it, and measured against its own loudest point. Silence
reaches into the first frames of a clip and into the last. All others are the same in every window that holds them, if
windows begin and end at multiples of `hop_length`; and what depends on the whole window comes after them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from emogram import features
from emogram.config import SpectrogramConfig
from emogram.spectrogram import FloatArray, Frames, cut_frames, frame_size, frames_of


class _Window(NamedTuple):
    """A window.

    Attributes:
        sound: From the centre of its first frame to that of its last; all of it, where it shares no frames.
        first: Number in the stream of the first frame into which no silence reaches.
        end: Number of the frame after the last such; not above `first` where it shares no frames.
    """

    sound: FloatArray
    first: int
    end: int

    @property
    def shares(self) -> bool:
        return self.first < self.end


class StreamFrames:
    """Keeps the end of a stream, and the frames of the last windows.

    Attributes:
        end: Number of samples heard so far.
    """

    end: int

    def __init__(self, config: SpectrogramConfig) -> None:
        """Begin at the first sample of a stream at `config.sample_rate`."""
        self.end = 0
        self._config = config
        self._hop = config.hop_length
        self._odd = frame_size(config) % 2
        self._edge = -(-(frame_size(config) // 2) // self._hop)  # frames at each end into which silence reaches
        self._sound = np.empty(0, np.float32)
        self._inner: Frames | None = None  # of the last windows, all but those
        self._first = 0  # number of the first of them in the stream

    def add(self, samples: FloatArray) -> None:
        """Take the stream's next samples, shape (n,), float32."""
        self._sound = np.concatenate([self._sound, samples])
        self.end += len(samples)

    def forget(self, before: int) -> None:
        """Forget the samples before this one, which no window will need."""
        self._sound = self._sound[max(0, before - self._kept_from()) :]

    def model_inputs(self, windows: Sequence[tuple[int, int]]) -> list[dict[str, FloatArray]]:
        """Return what `features.model_inputs` does of the sound of each window; faster of many at once.

        The sound begins at the first multiple of `hop_length` in the window and ends at the last (of an odd `n_fft`, a
        sample later), so that less than a hop is left out at either end. Of a window of so few frames that no other
        could share any, nothing is left out.

        Args:
            windows: The first sample of each, and the sample after its last. Neither what is forgotten nor what was
                not heard belongs to it.

        Raises:
            AudioError: The sound of a window is shorter than that of a frame.
        """
        cut = [self._window(max(start, self._kept_from()), min(end, self.end)) for start, end in windows]
        frames = iter(self._frames([window for window in cut if window.shares]))
        return [
            features.model_inputs(window.sound, self._config, frames=next(frames) if window.shares else None)
            for window in cut
        ]

    def _window(self, start: int, end: int) -> _Window:
        first, last = -(-start // self._hop), (end - self._odd) // self._hop
        inner = first + self._edge, last + 1 - self._edge
        if inner[0] >= inner[1]:
            return _Window(self._between(start, end), *inner)
        return _Window(self._between(first * self._hop, last * self._hop + self._odd), *inner)

    def _between(self, start: int, end: int) -> FloatArray:
        return self._sound[start - self._kept_from() : end - self._kept_from()]

    def _kept_from(self) -> int:
        return self.end - len(self._sound)

    def _frames(self, windows: Sequence[_Window]) -> list[Frames]:
        """Return the frames of windows that share them: those of all that are not known yet, computed at once."""
        if not windows:
            return []
        self._forget_frames(min(window.first for window in windows))
        cut = [edge for window in windows for edge in self._edges(window.sound)]
        cut.append(self._unknown(max(window.end for window in windows)))
        found = frames_of(np.concatenate(cut), self._config)
        edges = [_part(found, slice(at, at + self._edge)) for at in range(0, len(cut[:-1]) * self._edge, self._edge)]
        new = _part(found, slice(len(edges) * self._edge, None))
        inner = self._inner = new if self._inner is None else _joined([self._inner, new])
        return [
            _joined([before, _part(inner, slice(window.first - self._first, window.end - self._first)), after])
            for window, before, after in zip(windows, edges[::2], edges[1::2], strict=True)
        ]

    def _edges(self, sound: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Cut the frames of a window's sound into which silence reaches, at its beginning and at its end."""
        n_samples = 2 * self._edge * self._hop + self._odd
        before, after = cut_frames(sound[:n_samples], self._config), cut_frames(sound[-n_samples:], self._config)
        return before[: self._edge], after[-self._edge :]

    def _forget_frames(self, first: int) -> None:
        """Forget the inner frames before one; all of them, where it comes before them or does not join on."""
        if self._inner is not None and self._first <= first <= self._known_end():
            self._inner = _part(self._inner, slice(first - self._first, None))
        else:  # another speaker's, or after a pause
            self._inner = None
        self._first = first

    def _unknown(self, end: int) -> FloatArray:
        """Cut the inner frames before one that are not known."""
        first = self._known_end()
        if first >= end:
            return np.empty((0, frame_size(self._config)), np.float32)
        around = (first - self._edge) * self._hop, (end - 1 + self._edge) * self._hop + self._odd
        return cut_frames(self._between(*around), self._config)[self._edge : -self._edge]

    def _known_end(self) -> int:
        return self._first + (0 if self._inner is None else len(self._inner.loudness))


def _part(frames: Frames, rows: slice) -> Frames:
    return Frames(*(values[rows] for values in frames))


def _joined(parts: Sequence[Frames]) -> Frames:
    return Frames(*(np.concatenate(values) for values in zip(*parts, strict=True)))

"""A recording at a glance: as many columns as a picture has, whether it lasts seconds or a day."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emogram import spectrogram
from emogram.config import SpectrogramConfig
from emogram.recordings import Recording, open_recording
from emogram.records import Windows
from emogram.spectrogram import FloatArray

N_COLUMNS = 1200
N_SCORE_COLUMNS = 300  # fewer, since colours beside each other must be told apart
MOMENT_S = 0.25
N_BANDS = 80
F_MIN_HZ, F_MAX_HZ = 50.0, 8000.0
MIN_COLUMN_S = 0.005
FRAME_S = 0.032
MAX_FRAMES = 8  # of a column: enough that neighbours look alike, and an hour costs no more than a minute


@dataclass(frozen=True)
class Overview:
    """What a recording looks like.

    Attributes:
        edges_s: Borders of the columns in seconds, shape (n_columns + 1,).
        low: Lowest sample of each channel and column, full scale -1, shape (n_channels, n_columns); NaN where the file
            holds none.
        high: Highest sample, likewise.
        rms: Root of the mean square of each channel and column, likewise.
        decibels: Mean power of each column and mel band over the channels, shape (n_columns, n_bands), dB re the
            loudest; NaN where the file holds none.
        frequencies_hz: Centre of each band, shape (n_bands,).
    """

    edges_s: npt.NDArray[np.float64]
    low: FloatArray
    high: FloatArray
    rms: FloatArray
    decibels: FloatArray
    frequencies_hz: npt.NDArray[np.float64]


def overview(path: str | Path, *, duration_s: float, start_s: float = 0.0, n_columns: int = N_COLUMNS) -> Overview:
    """Look at a recording from afar, in one pass over the file and in constant memory.

    Every sample counts for the envelope; of each column at most `MAX_FRAMES` frames, evenly spread, count for the
    spectrogram.

    Args:
        path: Any file that `open_recording` reads; what is damaged ends it.
        duration_s: Length to look at in seconds, > 0; what the file lacks of it stays NaN.
        start_s: Where in the file to begin in seconds; all before it is read and passed over.
        n_columns: Columns; fewer where they would be shorter than `MIN_COLUMN_S`.

    Raises:
        AudioError: The file is missing or unreadable.
        MissingExtraError: It needs the extra `media`.
    """
    with open_recording(path) as recording:
        return _look(recording, start_s, duration_s, max(1, min(n_columns, int(duration_s / MIN_COLUMN_S))))


def _look(recording: Recording, start_s: float, duration_s: float, n_columns: int) -> Overview:
    rate, n_channels = recording.sample_rate, recording.channels
    borders = np.rint(np.linspace(0.0, duration_s * rate, n_columns + 1)).astype(np.int64)
    low = np.full((n_channels, n_columns), np.nan, np.float32)
    high = np.full((n_channels, n_columns), np.nan, np.float32)
    squares = np.zeros((n_channels, n_columns))
    frames = _Frames(rate, borders)
    n_before = round(start_s * rate)
    first = 0
    for block in recording.blocks():
        n_passed = min(n_before, len(block))
        n_before -= n_passed
        if n_passed and n_passed == len(block):
            continue
        block = block[n_passed:][: max(0, borders[-1] - first)]
        if not len(block):
            break
        start, end = np.searchsorted(borders, (first, first + len(block) - 1), side="right") - 1
        cuts = np.maximum(borders[start : end + 1] - first, 0)
        columns = slice(start, end + 1)
        # fmin and fmax pass over NaN, which stands where nothing was seen yet.
        low[:, columns] = np.fmin(low[:, columns], np.minimum.reduceat(block, cuts, axis=0).T)
        high[:, columns] = np.fmax(high[:, columns], np.maximum.reduceat(block, cuts, axis=0).T)
        squares[:, columns] += np.add.reduceat(np.square(block, dtype=np.float64), cuts, axis=0).T
        frames.take(block)
        first += len(block)
    n_read = np.clip(first - borders[:-1], 0, np.diff(borders))
    rms = np.sqrt(squares / np.where(n_read, n_read, np.nan)).astype(np.float32)
    return Overview(
        start_s + borders / rate, low, high, rms, frames.decibels(), spectrogram.band_centres_hz(frames.config)
    )


class _Frames:
    """Gathers the frames of each column from blocks that follow each other."""

    def __init__(self, rate: int, borders: npt.NDArray[np.int64]) -> None:
        # The settings of a spectrogram end at 192 kHz; beyond it every other sample or fewer do for a picture.
        self._step = -(-rate // 192_000)
        rate //= self._step
        n_fft = 1 << round(np.log2(FRAME_S * rate))
        self.config = SpectrogramConfig(
            sample_rate=rate,
            n_fft=n_fft,
            win_length=n_fft,
            n_mels=N_BANDS,
            f_min_hz=F_MIN_HZ,
            f_max_hz=min(F_MAX_HZ, rate / 2),
        )
        self._length = n_fft * self._step
        longest = int(np.diff(borders).max())
        per_column = max(1, min(MAX_FRAMES, -(-longest // self._length)))
        inside = (np.arange(per_column) + 0.5) / per_column
        centres = (borders[:-1, np.newaxis] + inside * np.diff(borders)[:, np.newaxis]).ravel()
        last = max(0, int(borders[-1]) - self._length)
        self._starts = np.clip(centres.astype(np.int64) - self._length // 2, 0, last)
        self._columns = np.repeat(np.arange(len(borders) - 1), per_column)
        self._sums = np.zeros((len(borders) - 1, N_BANDS), np.float64)
        self._counts = np.zeros(len(borders) - 1, np.int64)
        self._kept: FloatArray | None = None
        self._position = 0  # in the recording, of the first sample kept
        self._next = 0  # frame to take

    def take(self, block: FloatArray) -> None:
        """Take the frames that end in this block, shape (n_samples, n_channels)."""
        kept = block if self._kept is None else np.concatenate([self._kept, block])
        end = int(np.searchsorted(self._starts, self._position + len(kept) - self._length, side="right"))
        for first in range(self._next, end, 256):  # a short recording has all its frames in one block
            chosen = slice(first, min(first + 256, end))
            places = self._starts[chosen, np.newaxis] - self._position + np.arange(0, self._length, self._step)
            self._add(chosen, np.moveaxis(kept[places], 2, 0))
        self._next = max(self._next, end)
        keep = min(len(kept), self._length)
        self._position += len(kept) - keep
        self._kept = kept[len(kept) - keep :]

    def decibels(self) -> FloatArray:
        """Return the mean power of each column, shape (n_columns, n_bands), dB re the loudest."""
        if self._next == 0 and self._kept is not None and len(self._kept):  # shorter than one frame
            self._add(slice(0, len(self._starts)), self._padded(self._kept))
        with np.errstate(invalid="ignore"):
            power = self._sums / self._counts[:, np.newaxis]
        decibels = 10.0 * np.log10(np.maximum(power, spectrogram.MIN_POWER))
        loudest = np.nanmax(decibels, initial=-np.inf)
        return (decibels - loudest if np.isfinite(loudest) else decibels).astype(np.float32)

    def _padded(self, kept: FloatArray) -> FloatArray:
        padded = np.pad(kept, ((0, self._length - len(kept)), (0, 0)))[:: self._step].T
        return np.repeat(padded[:, np.newaxis], len(self._starts), axis=1)

    def _add(self, chosen: slice, frames: FloatArray) -> None:
        """Add frames, shape (n_channels, n_frames, n_fft), to the columns that they belong to."""
        power = spectrogram.frame_power(frames, self.config).mean(axis=0)
        np.add.at(self._sums, self._columns[chosen], spectrogram.sum_bands(power, spectrogram.mel_filters(self.config)))
        np.add.at(self._counts, self._columns[chosen], 1)


def scores_over_time(windows: Windows, channel: int, edges_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean of the windows over each column, shape (n_columns, n_labels); NaN where there is none.

    Arguments as of `_over_time`.
    """
    return _over_time(windows, windows.scores, channel, edges_s)


def dimension_over_time(
    windows: Windows, name: str, channel: int, edges_s: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the mean of a dimension over each column, shape (n_columns,); likewise."""
    return _over_time(windows, windows.dimensions[name][:, np.newaxis], channel, edges_s)[:, 0]


def _over_time(
    windows: Windows, told: npt.NDArray[np.float32], channel: int, edges_s: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the mean over each column of what was told of the windows; NaN where there is none.

    Args:
        windows: The scored windows.
        told: Shape (n_windows, n_values).
        channel: Which channel's; -1 where channels are averaged.
        edges_s: Borders of the columns in seconds, evenly spaced, shape (n_columns + 1,).
    """
    n_columns = len(edges_s) - 1
    # At moments fine enough that no window falls between two of them; then the mean over those where there is any.
    n_moments = max(1, int(np.ceil((edges_s[-1] - edges_s[0]) / n_columns / MOMENT_S)))
    inside = (np.arange(n_moments) + 0.5) / n_moments
    moments = (edges_s[:-1, np.newaxis] + inside * np.diff(edges_s)[:, np.newaxis]).ravel()
    chosen = windows.channel == channel
    counted = np.column_stack([told[chosen].astype(np.float64), np.ones(int(chosen.sum()))])
    change = np.zeros((len(moments) + 1, counted.shape[1]))
    np.add.at(change, np.searchsorted(moments, windows.start_s[chosen]), counted)
    np.add.at(change, np.searchsorted(moments, windows.end_s[chosen]), -counted)
    total = np.cumsum(change, axis=0)[:-1]
    count = np.rint(total[:, -1:])
    means = np.where(count > 0, total[:, :-1] / np.maximum(count, 1), 0.0).reshape(n_columns, n_moments, -1)
    there = (count > 0).reshape(n_columns, n_moments, 1).sum(axis=1)
    return np.where(there > 0, means.sum(axis=1) / np.maximum(there, 1), np.nan)

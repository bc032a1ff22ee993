"""The sound that is measured on: a corpus that is given, or synthetic voices."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr

from emogram.audio import decode
from emogram.corpora import Corpus, find_corpus
from emogram.records import Clip
from emogram.voices import make_corpus


@contextlib.contextmanager
def sound(given: Path | None, *, tiny: bool) -> Iterator[tuple[Corpus, Path]]:
    """Give a corpus, and a folder for files that are thrown away afterwards.

    Synthetic voices where none is given: 2 of them with 16 clips to try a benchmark on, else 8 with 384.
    """
    with tempfile.TemporaryDirectory(prefix="emogram-benchmark-") as scratch:
        if given is None:
            folder = Path(scratch) / "voices"
            sizes = (2, 1) if tiny else (8, 6)
            given = make_corpus(folder, n_speakers=sizes[0], n_utterances=sizes[1], workers=1 if tiny else None)
        yield find_corpus(given), Path(scratch)


def chosen(clips: Sequence[Clip], n_clips: int | None) -> list[Clip]:
    """Return so many clips, spread evenly over the corpus; all where None."""
    if n_clips is None or n_clips >= len(clips):
        return list(clips)
    return [clips[index] for index in np.linspace(0, len(clips) - 1, n_clips).round().astype(int)]


def copies(clips: Sequence[Clip], folder: Path, *, sample_rate: int, suffix: str = ".flac") -> list[Path]:
    """Write clips as 16-bit files of one channel and one rate, and return them in order."""
    folder.mkdir(parents=True)
    paths = []
    for number, clip in enumerate(clips):
        samples, rate = decode(clip.path, start_s=clip.start_s, end_s=clip.end_s)
        paths.append(folder / f"{number:05d}{suffix}")
        resampled = soxr.resample(samples.mean(axis=1), rate, sample_rate)
        soundfile.write(paths[-1], resampled, sample_rate, subtype="PCM_16")
    return paths

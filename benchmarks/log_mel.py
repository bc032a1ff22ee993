"""Sound files -> 128-band log-mel in decibels, against librosa with the same settings, on one core."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from benchmarks.corpus import chosen, copies, sound
from benchmarks.paired import Ratio, Took, alternate, called, figure, median, must_agree, times_longer
from benchmarks.processes import on_cores
from benchmarks.tables import Table
from emogram import audio, spectrogram
from emogram.config import SpectrogramConfig
from emogram.corpora import Corpus
from emogram.dataset import load_dataset
from emogram.parallel import map_parallel
from emogram.records import Clip

SUMMARY = "Sound files to 128-band log-mel, against librosa: load, melspectrogram, power_to_db."
ROUNDS = 5
PACKAGES = ("librosa",)

# librosa's own defaults, but for the rate and its floor of -100 dB, which would hide what lies below.
CONFIG = SpectrogramConfig(n_fft=2048, win_length=2048, hop_length=512, n_mels=128, f_min_hz=0.0, f_max_hz=8000.0)
AGREE_DB = 0.01
HEADER = ("Step", "Against", "Seconds, theirs", "Seconds, ours", "Times faster (quartiles of pairs)", "To reach")

FloatArray = npt.NDArray[np.float32]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the benchmark takes."""
    parser.add_argument("--clips", type=int, default=240, help="How many, spread over the corpus; by default 240.")


def run(arguments: argparse.Namespace) -> Table:
    """Measure each step on the same clips."""
    rows, notes = [], []

    def compare(step: str, reach: str, theirs: Callable[[], Any], ours: Callable[[], Any], by: str = "librosa") -> None:
        took = alternate({by: called(theirs), "emogram": called(ours)}, rounds=arguments.rounds)
        rows.append(row(step, by, took[by], took["emogram"], reach))

    with sound(arguments.corpus, tiny=arguments.tiny) as (corpus, scratch):
        clips = chosen(corpus.clips, 4 if arguments.tiny else arguments.clips)
        rates = {rate: copies(clips, scratch / str(rate), sample_rate=rate) for rate in (16000, 48000)}
        wav = copies(clips, scratch / "wav", sample_rate=48000, suffix=".wav")
        with on_cores(1) as core:
            waveforms = [audio.load_audio(path, sample_rate=16000) for path in rates[16000]]
            farthest = max(
                float(np.abs(librosa_mel(one) - spectrogram.log_mel(one, CONFIG)).max()) for one in waveforms
            )
            most = 2 + max(map(len, waveforms)) // CONFIG.hop_length
            frames = np.random.default_rng(0).standard_normal((most, CONFIG.n_fft), dtype=np.float32)
            notes.append(must_agree("log-mels, in dB,", farthest, AGREE_DB))
            compare(
                "mel alone, from samples in memory",
                "4",
                lambda: [librosa_mel(one) for one in waveforms],
                lambda: [spectrogram.log_mel(one, CONFIG) for one in waveforms],
            )
            for name, reach, paths in (
                ("FLAC, 16 kHz", "2.5", rates[16000]),
                ("FLAC, 48 kHz", "2", rates[48000]),
                ("WAV, 48 kHz", "2", wav),
            ):
                compare(
                    name, reach, lambda paths=paths: through_librosa(paths), lambda paths=paths: through_ours(paths)
                )
                compare(
                    name,
                    "0.95",
                    lambda paths=paths: floor(paths, frames),
                    lambda paths=paths: through_ours(paths),
                    "decode, resample, FFT alone",
                )
            whole = replace(corpus, clips=tuple(map(copied, clips, rates[16000])))
            cache = scratch / "cache"
            load_dataset(whole, CONFIG, cache=cache, workers=1)
            compare(
                "from the feature cache",
                "100",
                lambda: through_librosa(rates[16000]),
                lambda: load_dataset(whole, CONFIG, cache=cache, workers=1),
            )
        rows += two_processes(replace(whole, clips=whole.clips * (1 if arguments.tiny else 10)))
    files = "synthetic voices" if arguments.corpus is None else f"{corpus.name}"
    return Table(
        "log-mel",
        HEADER,
        tuple(rows),
        (
            *notes,
            f"{len(clips)} clips of {files}, {sum(map(len, waveforms)) / 16000 / len(clips):.1f} s on average, "
            f"{core}, brought to 16 kHz of one channel and 16 bits, and to 48 kHz by soxr. n_fft 2048, hop 512, 128 "
            "bands of Slaney's scale to 8 kHz: librosa's defaults.",
            "By processor time, but for the two processes, which are by the clock.",
            "Decode, resample, FFT alone: `soundfile.read`, `soxr.resample` and `scipy.fft.rfft` of frames that lie in "
            "memory; no window, no power, no bands, no logarithm.",
        ),
    )


def row(step: str, against: str, theirs: Sequence[Took], ours: Sequence[Took], reach: str) -> tuple[str, ...]:
    """Return the cells of one line, by processor time: what others on the machine do counts little in it."""
    ratio: Ratio = times_longer(theirs, ours, "cpu_s")
    cells = (figure(median(theirs, "cpu_s")), figure(median(ours, "cpu_s")))
    return (step, against, *cells, str(ratio), reach)


def copied(clip: Clip, path: Path) -> Clip:
    """Return the clip that a copied file is."""
    return replace(clip, path=path, start_s=0.0, end_s=None)


def two_processes(corpus: Corpus) -> list[tuple[str, ...]]:
    """Return the line of two processes against one, by the clock; nothing where there is one core.

    And of arithmetic that waits for nothing, which says what two processes gain here at the most: where two cores are
    two threads of one core, it is far less than twice.
    """
    if len(os.sched_getaffinity(0)) < 2:
        return []
    seeds = range(max(1, len(corpus.clips) // 8))
    works = {
        f"two processes, {len(corpus.clips):,} files": lambda n: load_dataset(corpus, CONFIG, workers=n),
        "two processes, arithmetic alone": lambda n: list(map_parallel(arithmetic, seeds, workers=n)),
    }
    sides = {f"{title}, {n}": called(partial(work, n)) for title, work in works.items() for n in (1, 2)}
    took = alternate(sides, rounds=2, warm_up=False)
    rows = []
    for title in works:
        one, two = (took[f"{title}, {n}"] for n in (1, 2))
        cells = (figure(median(one)), figure(median(two)), str(times_longer(one, two)))
        rows.append((title, "one process", *cells, "1.9" if "files" in title else ""))
    return rows


def arithmetic(seed: int) -> float:
    """Compute for some hundredths of a second on what lies near the processor."""
    random = np.random.default_rng(seed)
    frames, weights = (random.normal(size=shape).astype(np.float32) for shape in ((64, 512), (512, 64)))
    return float(sum((frames @ weights).sum() + np.abs(np.fft.rfft(frames)).sum() for _ in range(40)))


def librosa_mel(waveform: FloatArray) -> FloatArray:
    """Return what librosa makes of a waveform, shape (n_frames, n_mels)."""
    import librosa

    power = librosa.feature.melspectrogram(
        y=waveform,
        sr=CONFIG.sample_rate,
        n_fft=CONFIG.n_fft,
        win_length=CONFIG.win_length,
        hop_length=CONFIG.hop_length,
        n_mels=CONFIG.n_mels,
        fmin=CONFIG.f_min_hz,
        fmax=CONFIG.f_max_hz,
    )
    decibels: FloatArray = librosa.power_to_db(power, amin=spectrogram.MIN_POWER, top_db=None).T
    return decibels


def through_librosa(paths: Sequence[Path]) -> None:
    """Do what users of librosa do."""
    import librosa

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in paths:
            waveform, _ = librosa.load(path, sr=CONFIG.sample_rate)
            librosa_mel(waveform)


def through_ours(paths: Sequence[Path]) -> None:
    """Do what `emogram` does with a clip."""
    for path in paths:
        spectrogram.log_mel(audio.load_audio(path, sample_rate=CONFIG.sample_rate), CONFIG)


def floor(paths: Sequence[Path], frames: FloatArray) -> None:
    """Do what nobody can do without; `frames` lie in memory already."""
    import scipy.fft
    import soxr

    for path in paths:
        waveform, rate = soundfile.read(path, dtype="float32")
        if rate != CONFIG.sample_rate:
            waveform = soxr.resample(waveform, rate, CONFIG.sample_rate)
        scipy.fft.rfft(frames[: 1 + len(waveform) // CONFIG.hop_length])

"""Waveforms of 16 kHz -> 128-band log-mel, against kaldi-native-fbank and torch.stft with the same settings."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.corpus import chosen, sound
from benchmarks.paired import alternate, called, figure, median, must_agree, times_longer
from benchmarks.processes import on_cores
from benchmarks.tables import Table
from emogram import audio
from emogram.config import SpectrogramConfig
from emogram.spectrogram import MIN_POWER, log_mel, mel_filters

SUMMARY = "Waveforms to 128-band log-mel, against kaldi-native-fbank and torch.stft."
ROUNDS = 7
PACKAGES = ("kaldi-native-fbank", "torch")

# Kaldi's frames: 25 ms every 10 ms, to the next power of two.
CONFIG = SpectrogramConfig(n_fft=512, win_length=400, hop_length=160, n_mels=128, f_min_hz=50.0, f_max_hz=8000.0)
AGREE_DB = 0.01
# Kaldi adds 1.2e-7 to the power, so that its quiet bands say something else.
LOUD_DB = -40.0

FloatArray = npt.NDArray[np.float32]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the benchmark takes."""
    parser.add_argument("--clips", type=int, default=240, help="How many, spread over the corpus; by default 240.")


def run(arguments: argparse.Namespace) -> Table:
    """Measure each on the same waveforms."""
    import torch

    torch.set_num_threads(1)
    with sound(arguments.corpus, tiny=arguments.tiny) as (corpus, _), on_cores(1) as core:
        clips = chosen(corpus.clips, 4 if arguments.tiny else arguments.clips)
        waveforms = [audio.load_clip(clip, sample_rate=CONFIG.sample_rate) for clip in clips]
        kaldi, of_torch = Kaldi(), Torch()
        notes = (
            must_agree(
                "torch.stft and ours, in dB,", max(_apart(of_torch(one), _ours(one)) for one in waveforms), AGREE_DB
            ),
            must_agree(
                f"kaldi-native-fbank and ours, in dB, where louder than {LOUD_DB:g} dB,",
                max(_apart_of_kaldi(kaldi(one), one) for one in waveforms),
                AGREE_DB,
            ),
        )
        sides = {"kaldi-native-fbank": kaldi, "torch.stft": of_torch, "emogram": _ours}
        took = alternate(
            {name: called(lambda side=side: [side(one) for one in waveforms]) for name, side in sides.items()},
            rounds=arguments.rounds,
        )
    ours = took.pop("emogram")
    return Table(
        "log-mel-kaldi",
        ("Against", "CPU seconds, theirs", "CPU seconds, ours", "Times faster (quartiles of pairs)", "To reach"),
        tuple(
            (
                name,
                figure(median(runs, "cpu_s")),
                figure(median(ours, "cpu_s")),
                str(times_longer(runs, ours, "cpu_s")),
                "1",
            )
            for name, runs in took.items()
        ),
        (
            *notes,
            f"{len(clips)} clips from samples in memory, {core}; windows of 25 ms every 10 ms, 128 bands. Kaldi takes "
            "its samples as a list, which counts; torch.stft's power meets the same filters by a product of matrices.",
        ),
    )


def _ours(waveform: FloatArray) -> FloatArray:
    return log_mel(waveform, CONFIG)


class Kaldi:
    """kaldi-native-fbank without what we do not do: dither, emphasis of high frequencies, taking off the mean."""

    def __init__(self) -> None:
        import kaldi_native_fbank

        options = kaldi_native_fbank.FbankOptions()
        options.frame_opts.dither = 0.0
        options.frame_opts.preemph_coeff = 0.0
        options.frame_opts.remove_dc_offset = False
        options.frame_opts.window_type = "hann"
        options.frame_opts.snip_edges = True
        options.mel_opts.num_bins = CONFIG.n_mels
        options.mel_opts.low_freq = CONFIG.f_min_hz
        options.mel_opts.high_freq = CONFIG.f_max_hz
        options.mel_opts.is_librosa = True
        self._make, self._options = kaldi_native_fbank.OnlineFbank, options

    def __call__(self, waveform: FloatArray) -> FloatArray:
        """Return natural logarithms, shape (n_frames, n_mels)."""
        bank = self._make(self._options)
        bank.accept_waveform(CONFIG.sample_rate, waveform)
        bank.input_finished()
        return np.stack([bank.get_frame(frame) for frame in range(bank.num_frames_ready)])


class Torch:
    """torch.stft and a product with the filters."""

    def __init__(self) -> None:
        import torch

        self._torch: Any = torch
        self._window = torch.hann_window(CONFIG.win_length)
        self._filters = torch.from_numpy(mel_filters(CONFIG).copy())

    def __call__(self, waveform: FloatArray) -> FloatArray:
        """Return decibels, shape (n_frames, n_mels)."""
        torch = self._torch
        with torch.inference_mode():
            spectrum = torch.stft(
                torch.from_numpy(waveform),
                CONFIG.n_fft,
                CONFIG.hop_length,
                CONFIG.win_length,
                self._window,
                center=True,
                pad_mode="constant",
                return_complex=True,
            )
            power = torch.view_as_real(spectrum).square().sum(dim=-1).T @ self._filters
            decibels: FloatArray = (10.0 * torch.log10(power.clamp(min=MIN_POWER))).numpy()
        return decibels


def _apart(theirs: FloatArray, ours: FloatArray) -> float:
    """Return how far two log-mels lie apart at the most, in dB, where they say more than how sums are rounded."""
    heard = ours > ours.max() - 80.0
    return float(np.abs(theirs - ours)[heard].max())


def _apart_of_kaldi(theirs: FloatArray, waveform: FloatArray) -> float:
    """Return the same for Kaldi's logarithms: its first window begins at the first sample, ours is centred on it."""
    # Frame k of Kaldi's is centred 200 samples after 160 k; so is our frame k + 1, 40 samples later in the waveform.
    # The first of Kaldi's is left out, since the samples before that waveform are part of its window.
    late = CONFIG.win_length // 2 - CONFIG.hop_length
    ours, theirs = log_mel(waveform[late:], CONFIG)[2:], theirs[1:]
    n_frames = min(len(ours), len(theirs))
    ours, decibels = ours[:n_frames], theirs[:n_frames] * np.float32(10.0 / np.log(10.0))
    loud = ours > LOUD_DB
    return float(np.abs(decibels - ours)[loud].max(initial=0.0))

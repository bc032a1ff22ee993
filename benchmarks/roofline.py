"""What each step of a log-mel does for its time: operations, bytes, and the share of what one core can do at most."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.log_mel import CONFIG
from benchmarks.paired import alternate, called, figure, median, must_agree
from benchmarks.processes import on_cores
from benchmarks.tables import Table
from emogram import spectrogram
from emogram.fourier import rfft

SUMMARY = "Operations and bytes of each step of a log-mel, beside what one core can do."
ROUNDS = 9
HEADER = ("Step", "Microseconds a block", "Million operations", "GFLOP/s", "Share of peak %", "MB moved", "GB/s")

SIDE = 512  # of the square matrices whose product tells the peak


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take nothing of its own."""


def run(arguments: argparse.Namespace) -> Table:
    """Measure one block of frames, as `spectrogram.log_mel` works on it, step by step."""
    times = 3 if arguments.tiny else 200
    random = np.random.default_rng(0)
    n_frames, n_fft, n_bins, n_mels = spectrogram._BLOCK_FRAMES, CONFIG.n_fft, CONFIG.n_fft // 2 + 1, CONFIG.n_mels
    waveform = random.standard_normal(n_frames * CONFIG.hop_length, dtype=np.float32)
    frames = spectrogram.cut_frames(waveform, CONFIG)[:n_frames]
    window = spectrogram.analysis_window(CONFIG.win_length, n_fft)
    windowed = frames * window
    spectrum = rfft(windowed)
    parts = spectrum.view(np.float32)
    squares = parts * parts
    blocks = spectrogram._mel_blocks(CONFIG)
    bands = np.empty((n_frames, n_mels), np.float32)
    scratch = np.empty_like(parts)
    matrix = random.standard_normal((SIDE, SIDE), dtype=np.float32)
    large = np.zeros(2**23, np.float32)
    copy = np.empty_like(large)

    def sum_bands() -> None:
        for columns, values, weights in blocks:
            np.matmul(squares[:, values], weights, out=bands[:, columns])

    sum_bands()
    whole = spectrogram.log_mel(waveform, CONFIG)[:n_frames]
    apart = float(np.abs(10.0 * np.log10(np.maximum(bands, spectrogram.MIN_POWER)) - whole).max())
    note = must_agree("The steps one by one and `log_mel`, in dB,", apart, 1e-3)
    logs = np.empty_like(bands)
    weighed = sum(weights.size for _, _, weights in blocks)
    # Name: function, operations, bytes read and written. A real transform: 2.5 n log2 n (FFTW's count, halved).
    steps: dict[str, tuple[Callable[[], Any], float, float]] = {
        "window": (lambda: frames * window, windowed.size, 4.0 * (frames.size + windowed.size)),
        "Fourier transform": (
            lambda: rfft(windowed),
            n_frames * 2.5 * n_fft * math.log2(n_fft),
            4.0 * (windowed.size + parts.size),
        ),
        "squares": (lambda: np.multiply(parts, parts, out=scratch), parts.size, 8.0 * parts.size),
        "bands": (sum_bands, 2.0 * n_frames * weighed, 4.0 * (parts.size + weighed + bands.size)),
        "logarithm": (lambda: np.log(bands, out=logs), bands.size, 8.0 * bands.size),
        "(peak: product of matrices)": (lambda: matrix @ matrix, 2.0 * SIDE**3, 12.0 * SIDE**2),
        "(peak: copy of 32 MB)": (lambda: np.copyto(copy, large), 0.0, 8.0 * large.size),
    }

    def repeat(function: Callable[[], Any]) -> Callable[[], None]:
        def many() -> None:
            for _ in range(times):
                function()

        return many

    with on_cores(1) as core:
        took = alternate(
            {
                name: called(repeat(function) if nbytes < 1e6 * 10 else function)
                for name, (function, _, nbytes) in steps.items()
            },
            rounds=arguments.rounds,
        )
    seconds = {name: median(runs, "cpu_s") / (times if steps[name][2] < 1e6 * 10 else 1) for name, runs in took.items()}
    peak = steps["(peak: product of matrices)"][1] / seconds["(peak: product of matrices)"]
    rows = []
    for name, (_, operations, moved) in steps.items():
        rate = operations / seconds[name]
        rows.append(
            (
                name,
                figure(1e6 * seconds[name]),
                figure(operations / 1e6),
                figure(rate / 1e9),
                f"{100 * rate / peak:.0f}" if operations else "",
                figure(moved / 1e6),
                figure(moved / seconds[name] / 1e9),
            )
        )
    dense = 2.0 * n_frames * n_bins * n_mels
    return Table(
        "roofline",
        HEADER,
        tuple(rows),
        (
            f"One block of {n_frames} frames, n_fft {n_fft}, {n_mels} bands, {core}, processor time. The filters whole "
            f"would take {dense / 1e6:.0f} million operations; in blocks of neighbouring bands they take "
            f"{steps['bands'][1] / 1e6:.1f}.",
            note,
        ),
    )

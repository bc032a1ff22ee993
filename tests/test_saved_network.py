"""A Keras file is looked into before Keras does: nothing in it runs, reads other files or swells."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from torture import hostile

from emogram import saved_network
from emogram.backend import keras
from emogram.bundle import KERAS_FILE, Bundle, open_bundle
from emogram.config import NetworkConfig
from emogram.errors import ModelError
from emogram.network import NETWORKS, InputShapes, build_network
from emogram.saved_network import load_network


def offered(folder: Path, content: bytes) -> Bundle:
    hostile.write_keras_case(folder, content)
    return open_bundle(folder)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_of_ours_comes_back_as_it_was_saved(name, tmp_path):
    shapes = InputShapes((128, 128, 3), n_features=5 * (name == "baseline-features"))
    network = build_network(shapes, 3, NetworkConfig(network=name, width=0.25, l2=0.1))
    network.save(tmp_path / KERAS_FILE)
    loaded = load_network(offered(tmp_path / "model", (tmp_path / KERAS_FILE).read_bytes()))
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in network.layers]
    for mine, theirs in zip(network.get_weights(), loaded.get_weights(), strict=True):
        assert (mine == theirs).all()


def test_melody_of_any_length_comes_back_too(tmp_path):
    network = build_network(InputShapes((None, 112, 1), n_periodicity=48), 8, NetworkConfig(width=0.25))
    network.save(tmp_path / KERAS_FILE)
    assert load_network(offered(tmp_path / "model", (tmp_path / KERAS_FILE).read_bytes())).output_shape == (None, 8)


def test_the_file_that_all_cases_begin_from_is_taken(tmp_path):
    assert load_network(offered(tmp_path / "model", hostile.keras_archive())).output_shape == (None, 2)


@pytest.mark.parametrize("case", hostile.keras_cases(Path(hostile.CANARY)))
def test_what_is_no_plain_network_is_refused_before_keras_sees_it(case, tmp_path, monkeypatch):
    canary = tmp_path / hostile.CANARY
    bundle = offered(tmp_path / "model", hostile.keras_cases(canary)[case])
    monkeypatch.setattr(keras.saving, "load_model", lambda *_, **__: pytest.fail("Keras was asked to load it"))
    with pytest.raises(ModelError, match=r"best\.keras: .*; refused, since loading it could run foreign code"):
        load_network(bundle)
    assert not canary.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_keras_cannot_load_is_refused_too(tmp_path):
    config = hostile.plain_config({"module": "keras.layers", "class_name": "Dense", "config": {"units": -3}})
    with pytest.raises(ModelError, match=r"best\.keras: Keras cannot load it \("):
        load_network(offered(tmp_path / "model", hostile.keras_archive(config)))


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(saved_network, "MAX_KERAS_BYTES", 1000)
    with pytest.raises(ModelError, match="a network of emogram has at most 1000"):
        load_network(offered(tmp_path / "model", hostile.keras_archive()))


def nested(depth: int) -> dict:
    config = hostile.plain_config()
    inner = config["config"]
    for _ in range(depth):
        inner["a"] = {}
        inner = inner["a"]
    return config


@pytest.mark.parametrize(("content", "reason"), [
    (hostile.keras_archive({"class_name": ["Functional"]}), "describes no network"),
    (hostile.keras_archive(nested(saved_network.MAX_DEPTH + 5)), "nested too deeply"),
])  # fmt: skip
def test_a_config_that_is_none_is_refused(content, reason, tmp_path):
    with pytest.raises(ModelError, match=reason):
        load_network(offered(tmp_path / "model", content))


def test_a_config_that_is_too_long_and_weights_that_are_no_hdf5_are_refused(tmp_path, monkeypatch):
    assert "weights are not what Keras writes" in saved_network._hollow(b"no HDF5")
    monkeypatch.setattr(saved_network, "MAX_CONFIG_BYTES", 10)
    with pytest.raises(ModelError, match=r"config\.json has \d+ bytes"):
        load_network(offered(tmp_path / "model", hostile.keras_archive()))

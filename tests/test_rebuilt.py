"""The network of a model that comes as ONNX alone, found again in its file."""

import shutil

import numpy as np
import onnx
import pytest

from emogram.backend import keras
from emogram.bundle import KERAS_FILE, ONNX_FILE, SHIPPED, ModelInfo, open_bundle, seal
from emogram.classifier import Classifier
from emogram.config import run_config
from emogram.errors import ModelError
from emogram.export import export_onnx, quantised, run_network
from emogram.network import build_network
from emogram.pretraining import take_over
from emogram.rebuilt import rebuild_network, without_int8
from emogram.saved_network import load_network
from emogram.testing import tiny_bundle
from emogram.train import input_shapes

LABELS = ("angry", "calm", "happy")
KINDS = {
    "log-mels": {},
    "melody": {"spectrogram": {"periodicity_bands": 16}},
    "kernels": {
        "spectrogram": {"periodicity_bands": 16},
        "network": {"random_kernels": True, "kernel_bands": 16, "max_dilation": 2, "kernel_pooling": 2},
    },
    "pictures": {"spectrogram": {"kind": "picture", "picture_size": 32}},
    "baseline": {"network": {"network": "baseline"}, "spectrogram": {"picture_size": 32}},
}


@pytest.fixture
def bundle_of(tmp_path):
    """A bundle of a random network whose normalisation is as if it had been trained, without `best.keras`."""

    def make(sections, *, int8=False):
        width = {"width": 0.25}
        config = run_config({**sections, "network": {**width, **sections.get("network", {})}})
        shapes = input_shapes(config.spectrogram)
        keras.utils.set_random_seed(3)
        network = build_network(shapes, len(LABELS), config.network, beside_kernels=config.network.random_kernels)
        rng = np.random.default_rng(3)
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                n = len(layer.get_weights()[0])
                layer.set_weights([*(rng.normal(s, 0.3, n) for s in (1, 0, 0)), rng.uniform(0.3, 2, n)])
        size = tuple(length or 80 for length in shapes.spectrogram)
        batches = [{"spectrogram": rng.random((3, *size), dtype=np.float32)} for _ in range(4)]
        export_onnx(network, tmp_path / ONNX_FILE, samples=batches)
        if int8:
            content = (tmp_path / ONNX_FILE).read_bytes()
            (tmp_path / ONNX_FILE).write_bytes(quantised(content, samples=batches))
        values = config.network.to_dict()
        info = ModelInfo(
            labels=LABELS,
            spectrogram=config.spectrogram,
            network={"name": values.pop("network"), **values},
            input_shape=shapes.spectrogram,
        )
        return seal(tmp_path, info, "card"), network, batches

    return make


@pytest.mark.parametrize("sections", KINDS.values(), ids=KINDS)
def test_the_network_found_again_answers_as_the_one_that_was_exported(bundle_of, sections):
    bundle, network, batches = bundle_of(sections)
    rebuilt = rebuild_network(bundle)
    for batch in batches:
        np.testing.assert_allclose(run_network(rebuilt, batch), run_network(network, batch), atol=2e-5)


def test_int8_comes_back_within_its_rounding(bundle_of):
    bundle, network, batches = bundle_of({}, int8=True)
    assert b"QuantizeLinear" in bundle.read(ONNX_FILE)
    rebuilt = rebuild_network(bundle)
    for mine, theirs in zip(rebuilt.layers, network.layers, strict=True):
        if isinstance(mine, keras.layers.Dense):  # these stay in single precision
            for one, other in zip(mine.get_weights(), theirs.get_weights(), strict=True):
                np.testing.assert_array_equal(one, other)
    for batch in batches:
        np.testing.assert_allclose(run_network(rebuilt, batch), run_network(network, batch), atol=0.02)


def test_without_int8_a_file_stays_what_it_computes(bundle_of):
    bundle, _, _ = bundle_of({})
    content = bundle.read(ONNX_FILE)
    before, after = (onnx.load_from_string(each).graph for each in (content, without_int8(content, name="it")))
    assert [node.op_type for node in before.node] == [node.op_type for node in after.node]


def test_the_model_that_ships_can_be_trained_on():
    """Its network answers as its file does."""
    bundle = open_bundle(SHIPPED)
    assert KERAS_FILE not in bundle.hashes
    classifier, rebuilt = Classifier(bundle), rebuild_network(bundle)
    differences = []
    _, n_bands, _ = bundle.info.input_shape
    for n_frames in (40, 96, 250):
        inputs = {"spectrogram": np.random.default_rng(n_frames).random((4, n_frames, n_bands, 1), dtype=np.float32)}
        differences.append(np.abs(run_network(rebuilt, inputs) - classifier.raw_probabilities(inputs)))
    assert np.concatenate(differences).max() < 1e-4


def test_the_file_and_its_network_are_two_roads_to_one_network(tiny_run, tmp_path, voices_dataset):
    bundle = open_bundle(tiny_run.run)
    bare = without_keras(bundle, tmp_path / "bare")
    inputs = voices_dataset.inputs(voices_dataset.same_length_groups(np.arange(8))[0])
    np.testing.assert_allclose(
        run_network(rebuild_network(bare), inputs), run_network(load_network(bundle), inputs), atol=1e-5
    )


def without_keras(bundle, folder):
    shutil.copytree(bundle.folder, folder)
    (folder / KERAS_FILE).unlink()
    return seal(folder, bundle.info, "card")


def test_training_goes_on_only_where_normalisation_is_left_alone(tiny_run, tmp_path, settings_of):
    """Also from what was trained on from a rebuilt network, whose `best.keras` has no statistics either."""
    bundle = open_bundle(tiny_run.run)
    bare = without_keras(bundle, tmp_path / "bare")
    network = build_network(input_shapes(settings_of().spectrogram), 4, settings_of().network)
    with pytest.raises(ModelError, match=r"folded away when it was made to ship.*say --freeze-normalization"):
        take_over(bare, network, bare.info.labels)
    take_over(bare, network, bare.info.labels, normalization_stays=True)
    network.save(bare.folder / KERAS_FILE)
    second = seal(bare.folder, bundle.info, "card")
    with pytest.raises(ModelError, match="folded away"):
        take_over(second, network, bare.info.labels)
    take_over(bundle, network, bundle.info.labels)


def test_another_network_is_refused(tmp_path):
    bundle = open_bundle(tiny_bundle(tmp_path))
    with pytest.raises(ModelError, match="unknown network 'tiny'"):
        rebuild_network(bundle)


def damaged(bundle, change):
    model = onnx.load_from_string(bundle.read(ONNX_FILE))
    change(model.graph)
    (bundle.folder / ONNX_FILE).write_bytes(model.SerializeToString())
    return seal(bundle.folder, bundle.info, "card")


def test_a_graph_that_computes_something_else_with_the_same_weights_is_refused(bundle_of):
    bundle, _, _ = bundle_of({})

    def change(graph):
        next(node for node in graph.node if node.op_type == "Relu").op_type = "Tanh"

    with pytest.raises(ModelError, match=r"cannot be rebuilt from model.onnx \(what was found answers otherwise"):
        rebuild_network(damaged(bundle, change))


def test_weights_of_another_shape_are_refused(bundle_of):
    bundle, _, _ = bundle_of({})
    wider = {**bundle.info.network, "width": 0.5}
    other = seal(bundle.folder, bundle.info.model_copy(update={"network": wider}), "card")
    with pytest.raises(ModelError, match=r"no weights for layer.*start from the folder as its training wrote it"):
        rebuild_network(other)


def test_weights_in_other_files_are_refused(bundle_of):
    """Nobody verified them."""
    bundle, _, _ = bundle_of({})

    def change(graph):
        tensor = graph.initializer[0]
        onnx.external_data_helper.set_external_data(tensor, location="/etc/hostname")
        tensor.ClearField("raw_data")

    with pytest.raises(ModelError, match="has weights in other files; refused"):
        rebuild_network(damaged(bundle, change))

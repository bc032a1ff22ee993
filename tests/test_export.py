"""What ships answers as what was trained."""

import errno

import numpy as np
import onnxruntime
import pytest

from emogram import export, files
from emogram.backend import keras
from emogram.config import NetworkConfig
from emogram.errors import ModelError, OutputError
from emogram.export import MAX_DIFFERENCE, export_onnx, greatest_difference, quantised, run_network, tidied
from emogram.network import InputShapes, adapt_features, build_network

SHAPES = {
    "emonet": InputShapes((None, 64, 1)),
    "baseline": InputShapes((32, 32, 3)),
    "baseline-features": InputShapes((32, 32, 3), 7),
}


def batch_for(name, *, n, n_frames=48):
    shapes = SHAPES[name]
    rng = np.random.default_rng(n * 1000 + n_frames)
    n_times, n_bands, n_colours = shapes.spectrogram
    batch = {"spectrogram": rng.uniform(0, 1, (n, n_times or n_frames, n_bands, n_colours)).astype(np.float32)}
    if shapes.n_features:
        batch["features"] = rng.normal(100, 20, (n, shapes.n_features)).astype(np.float32)
    return batch


@pytest.fixture(scope="module", params=SHAPES)
def exported(request, tmp_path_factory):
    """A network with weights as if trained, and its ONNX file, checked on one short batch only."""
    name = request.param
    keras.utils.set_random_seed(0)
    network = build_network(SHAPES[name], 4, NetworkConfig(network=name, width=0.25))
    rng = np.random.default_rng(0)
    for weight in network.trainable_weights:
        weight.assign(weight + rng.normal(0, 0.1, weight.shape).astype(np.float32))
    if name == "baseline-features":
        adapt_features(network, batch_for(name, n=40)["features"])
    path = tmp_path_factory.mktemp("export") / "deep" / "model.onnx"
    difference = export_onnx(network, path, samples=[batch_for(name, n=2)])
    assert 0 <= difference <= MAX_DIFFERENCE
    return name, network, path


def test_onnx_answers_as_keras_at_any_length_and_batch_size(exported):
    name, network, path = exported
    lengths = (32, 48, 112, 400) if name == "emonet" else (32,)
    samples = [batch_for(name, n=n, n_frames=n_frames) for n_frames in lengths for n in (1, 3, 16)]
    assert greatest_difference(network, path.read_bytes(), samples) <= 1e-5
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in samples:
        (rows,) = session.run(["probabilities"], batch)
        np.testing.assert_allclose(rows, run_network(network, batch), atol=1e-5)
        np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)
    assert np.ptp(rows, axis=0).max() > 1e-4  # and not always the same answer


def test_inputs_keep_their_names_and_the_output_is_called_probabilities(exported):
    name, _, path = exported
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = ["spectrogram", "features"] if name == "baseline-features" else ["spectrogram"]
    assert sorted(node.name for node in session.get_inputs()) == sorted(names)
    assert [node.name for node in session.get_outputs()] == ["probabilities", "embedding"]


def test_the_embedding_is_what_the_last_layer_of_keras_looks_at(exported):
    name, network, path = exported
    dense = network.get_layer("probabilities")
    inside = keras.Model(network.input, dense.input)
    batch = batch_for(name, n=3)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    embedding, answer = session.run(["embedding", "probabilities"], batch)
    np.testing.assert_allclose(embedding, run_network(inside, batch), atol=1e-4, rtol=1e-4)
    logits = embedding @ keras.ops.convert_to_numpy(dense.kernel) + keras.ops.convert_to_numpy(dense.bias)
    np.testing.assert_allclose(answer, keras.ops.convert_to_numpy(keras.ops.softmax(logits)), atol=1e-5)


def test_an_exported_file_passes_onnx_own_check_and_names_its_maker(exported):
    import onnx

    model = onnx.load(exported[2])
    onnx.checker.check_model(model)
    assert model.producer_name == "emogram"
    assert [opset.version for opset in model.opset_import if opset.domain == ""] == [17]


# ---------------------------------------------------------------- refusals


@pytest.fixture(scope="module")
def network():
    return build_network(SHAPES["baseline"], 4, NetworkConfig(network="baseline", width=0.25))


def different(content):
    """Another network of the same inputs and outputs."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(content)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size > 100:
            tensor.CopyFrom(numpy_helper.from_array(values * np.float32(1.5), tensor.name))
    return model.SerializeToString()


def test_a_model_that_differs_is_refused_and_nothing_written(network, tmp_path, monkeypatch):
    original = export._exported
    monkeypatch.setattr(export, "_exported", lambda network: different(original(network)))
    path = tmp_path / "model.onnx"
    path.write_text("the old one")
    with pytest.raises(ModelError, match=r"differs from Keras by 0\.\d+ in an answer, more than 0.0001"):
        export_onnx(network, path, samples=[batch_for("baseline", n=4)])
    assert path.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_nan_in_any_batch_is_a_difference(network, tmp_path):
    bad = batch_for("baseline", n=2)
    bad["spectrogram"][0, 0, 0, 0] = np.nan
    for samples in ([bad, batch_for("baseline", n=2)], [batch_for("baseline", n=2), bad]):
        with pytest.raises(ModelError, match="differs from Keras by nan"):
            export_onnx(network, tmp_path / "model.onnx", samples=samples)
    assert not list(tmp_path.iterdir())


def test_what_was_compared_on_nothing_was_not_compared(network, tmp_path):
    with pytest.raises(ModelError, match="differs from Keras by nan"):
        export_onnx(network, tmp_path / "model.onnx", samples=[])


def test_a_full_disk_leaves_the_old_file_whole(network, tmp_path, monkeypatch):
    def full(*_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "model.onnx"
    path.write_text("the old one")
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OutputError, match=r"model\.onnx: the disk is full"):
        export_onnx(network, path, samples=[batch_for("baseline", n=2)])
    assert path.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_single_input_is_given_as_an_array_and_two_by_name(exported):
    name, network, _ = exported
    batch = batch_for(name, n=2)
    given = batch if name == "baseline-features" else batch["spectrogram"]
    np.testing.assert_array_equal(run_network(network, batch), network.predict_on_batch(given))


# ---------------------------------------------------------------- tidied and quantised


def operators(content):
    import onnx

    return [node.op_type for node in onnx.load_from_string(content).graph.node]


def test_much_of_what_keras_exports_is_gone(exported):
    _, network, path = exported
    before, after = operators(export._exported(network)), operators(path.read_bytes())
    assert "Cast" in before and "Cast" not in after
    assert len(after) < 0.7 * len(before)
    assert after.count("Conv") == before.count("Conv")


def test_tidying_twice_is_tidying_once(exported):
    content = exported[2].read_bytes()
    assert operators(tidied(content)) == operators(content)


def test_scalars_have_as_many_axes_as_what_they_meet_and_give_the_same(monkeypatch):
    keras.utils.set_random_seed(0)
    network = build_network(SHAPES["emonet"], 4, NetworkConfig(width=0.25))
    plain = export._exported(network)
    found = tidied(plain)
    monkeypatch.setattr(export, "_scalars_with_axes", lambda content: content)
    before = tidied(plain)
    assert first_scalar(before).dims == []
    assert first_scalar(found).dims == [1, 1, 1, 1]
    assert operators(found) == operators(before)
    batch = batch_for("emonet", n=3)
    sessions = [
        onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]) for content in (before, found)
    ]
    np.testing.assert_array_equal(*(session.run(None, batch)[0] for session in sessions))


def first_scalar(content):
    """What the input is multiplied by."""
    import onnx

    graph = onnx.load_from_string(content).graph
    return next(tensor for tensor in graph.initializer if tensor.name in graph.node[0].input)


def test_differences_with_constants_become_sums_and_others_stay():
    from onnx import TensorProto, helper, numpy_helper

    def vector(name):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])

    graph = helper.make_graph(
        [
            helper.make_node("Sub", ["x", "three"], ["a"]),
            helper.make_node("Sub", ["three", "a"], ["b"]),
            helper.make_node("Sub", ["b", "x"], ["y"]),
            helper.make_node("Sub", ["y", "three"], ["z"]),
        ],
        "differences",
        [vector("x")],
        [vector("z")],
        [numpy_helper.from_array(np.asarray([3.0, -3.0], np.float32), "three")],
    )
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
    changed = export._sums_for_differences(model.SerializeToString())
    assert operators(changed) == ["Add", "Sub", "Sub", "Add"]
    x = np.asarray([10.0, 20.0], np.float32)
    for content in (model.SerializeToString(), changed):
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (z,) = session.run(None, {"x": x})
        np.testing.assert_array_equal(z, [3 - 2 * 10, -3 - 2 * 20])  # c - 2 x


def test_transpositions_of_axes_of_length_1_become_reshapes_and_others_stay():
    from onnx import TensorProto, helper

    def transposed(shape, order):
        """Return the operators that are left, which do to three clips of seven frames what NumPy does."""
        free = [f"free_{place}" if length is None else length for place, length in enumerate(shape)]
        after = [free[axis] for axis in order]
        graph = helper.make_graph(
            [helper.make_node("Transpose", ["x"], ["y"], perm=order)],
            "transposition",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, free)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, after)],
        )
        model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
        changed = export._with_reshapes(model.SerializeToString())
        session = onnxruntime.InferenceSession(changed, providers=["CPUExecutionProvider"])
        lengths = [length or (7 if place else 3) for place, length in enumerate(shape)]
        x = np.arange(np.prod(lengths), dtype=np.float32).reshape(lengths)
        (y,) = session.run(None, {"x": x})
        np.testing.assert_array_equal(y, x.transpose(order))
        return operators(changed)

    assert transposed((None, 5, 1, None), (0, 2, 1, 3)) == ["Reshape"]
    assert transposed((None, None, 4, 1), (0, 3, 1, 2)) == ["Reshape"]
    assert transposed((2, 1, 4, 1), (0, 2, 3, 1)) == ["Reshape"]
    assert transposed((None, None, 1, 4), (0, 3, 1, 2)) == ["Transpose"]  # frames and channels change places
    assert transposed((None, None, 1, None), (0, 2, 1, 3)) == ["Transpose"]  # a shape may leave one length open
    assert transposed((1, None, 4), (1, 0, 2)) == ["Transpose"]  # the number of clips stays where it is


def test_int8_is_smaller_and_answers_nearly_as_single_precision(exported):
    name, network, path = exported
    samples = [batch_for(name, n=1, n_frames=n_frames) for n_frames in (32, 64)] * 4
    content = quantised(path.read_bytes(), samples=samples)
    assert len(content) < len(path.read_bytes())
    kinds = operators(content)
    assert "QuantizeLinear" in kinds and "DequantizeLinear" in kinds
    difference = greatest_difference(network, content, [batch_for(name, n=4, n_frames=48)])
    assert 0 < difference < 0.05

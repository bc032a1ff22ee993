"""Trained network -> ONNX file that gives the same answers; and one that computes in int8, nearly the same."""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from emogram.bundle import EMBEDDING
from emogram.errors import ModelError
from emogram.files import writing
from emogram.parallel import child_environment

if TYPE_CHECKING:
    import keras
    import onnx

    from emogram.runtime import onnxruntime

MAX_DIFFERENCE = 1e-4  # of any probability or dimension from 0 to 1, between Keras and ONNX Runtime
MAX_EMBEDDING = 1024  # values of an embedding, of which some hundreds are kept with a model
OPSET = 17
EXPORTS = "torch"  # the back end that writes ONNX

# ONNX Runtime's mark for models that need no preparation before they are quantised; without it, it warns.
_PREPARED = ("onnx.quant.pre_process", "onnxruntime.quant")

Inputs = Mapping[str, npt.NDArray[np.float32]]


def export_onnx(network: keras.Model, path: Path, *, samples: Iterable[Inputs]) -> float:
    """Write a network as ONNX and check it against Keras.

    Args:
        network: In single precision; its inputs keep their names, its outputs have those of the layers that make them,
            "probabilities" and "dimensions". What these look at becomes the last output, "embedding".
        path: The file.
        samples: Batches of model inputs to compare on, of several lengths where the length is free.

    Returns:
        The greatest absolute difference of any probability or dimension, at most `MAX_DIFFERENCE`.

    Raises:
        ModelError: The exported model differs; nothing is written then.
        OutputError: The file cannot be written.
    """
    content = with_embedding(as_onnx(network))
    difference = greatest_difference(network, content, samples)
    if not difference <= MAX_DIFFERENCE:
        raise ModelError(
            f"the exported network differs from Keras by {difference:.2g} in an answer, more than "
            f"{MAX_DIFFERENCE:g}; "
            "please report this with the network's settings"
        )
    with writing(path) as temporary:
        temporary.write_bytes(content)
    return difference


def as_onnx(network: keras.Model) -> bytes:
    """Return the ONNX bytes of a network, unchecked; its outputs have the names of the layers that make them."""
    return tidied(_named_outputs(_exported(network), names=output_names(network)))


def session_of(content: bytes) -> onnxruntime.InferenceSession:
    """Return ONNX Runtime on the bytes of a network, on one thread."""
    from emogram.runtime import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def greatest_difference(network: keras.Model, content: bytes, samples: Iterable[Inputs]) -> float:
    """Return the greatest absolute difference of any answer between a network and its ONNX bytes."""
    session = session_of(content)
    names = [node.name for node in session.get_inputs()]
    differences = [
        np.abs(found - expected).max()
        for batch in samples
        for found, expected in zip(
            session.run(None, {name: batch[name] for name in names}), run_outputs(network, batch).values(), strict=False
        )
    ]
    # Not max(), which may overlook NaN; and what was compared on nothing was not compared.
    return float(np.max(differences)) if differences else np.nan


def tidied(content: bytes) -> bytes:
    """Return ONNX bytes that compute the same with less: constants folded, batch normalisation inside convolutions.

    What Keras exports is full of casts and transpositions that undo each other, and its batch normalisation is a
    subtraction, a product and a sum beside each convolution. ONNX Runtime removes these, also when it loads a model,
    but cannot fold the subtraction, so that is written as a sum first. `quantised` then finds bare convolutions. Only
    operators of the ONNX standard are used, and what merely moves axes of length 1 is no transposition.
    """
    return _with_reshapes(_optimised(_scalars_with_axes(_sums_for_differences(_optimised(content)))))


def quantised(content: bytes, *, samples: Iterable[Inputs]) -> bytes:
    """Return ONNX bytes whose convolutions compute in int8: a third of the size, and 1.6 times as fast for `emonet`.

    Static, since the ranges are taken from `samples` once; weights int8 by channel, activations uint8 by tensor, as
    quantise-dequantise pairs. Attention, gates, statistics and the answer stay in single precision: they cost little
    time, and quantising them as well made a network slower that it left less accurate.
    B. Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
    CVPR 2018, arXiv:1712.05877.

    Args:
        content: What `export_onnx` wrote.
        samples: Batches of model inputs, about a hundred clips of the training part, to take the ranges from.
    """
    import onnx

    from emogram.runtime import onnxruntime

    quantization: Any = importlib.import_module(f"{onnxruntime.__name__}.quantization")

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = iter(samples)

        def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
            batch = next(self.batches, None)
            return None if batch is None else dict(batch)

    model = onnx.load_from_string(content)
    onnx.helper.set_model_props(model, dict([_PREPARED]))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        quantization.quantize_static(
            model,
            file,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return file.read_bytes()


def with_embedding(content: bytes) -> bytes:
    """Return ONNX bytes with a last output "embedding": what goes into the last matrix product, shape (n, n_values).

    Of random kernels that would be tens of thousands of values, all much alike: beside a trained network its own values
    are taken, and of kernels alone at most `MAX_EMBEDDING`, in even steps.

    Raises:
        ModelError: The first output does not come from a matrix product.
    """
    import onnx

    model = onnx.load_from_string(content)
    widths = {name: shape[-1] or 0 for name, shape in _shapes(model).items() if shape}
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers.get(model.graph.output[0].name)
    while node is not None and node.op_type not in ("MatMul", "Gemm"):
        node = makers.get(node.input[0])
    if node is None:
        raise ModelError("the network does not end in a dense layer; please report this with the network's settings")
    taken = node.input[0]
    while widths.get(taken, 0) > MAX_EMBEDDING and makers[taken].op_type == "Concat":
        taken = makers[taken].input[0]
    if (width := widths.get(taken, 0)) > MAX_EMBEDDING:
        _append_steps(model, taken, -(-width // MAX_EMBEDDING))
    else:
        for other in model.graph.node:
            other.input[:] = [EMBEDDING if name == taken else name for name in other.input]
            other.output[:] = [EMBEDDING if name == taken else name for name in other.output]
    del model.graph.value_info[:]
    shape = ("n_clips", "n_values")
    model.graph.output.append(onnx.helper.make_tensor_value_info(EMBEDDING, onnx.TensorProto.FLOAT, shape))
    serialised: Any = model.SerializeToString()
    return bytes(serialised)


def _append_steps(model: onnx.ModelProto, name: str, step: int) -> None:
    """Append a node that takes every value of some number, from the first."""
    import onnx

    bounds = {"start": 0, "end": np.iinfo(np.int64).max, "axis": 1, "step": step}
    for what, value in bounds.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([value], np.int64), f"{EMBEDDING}_{what}"))
    inputs = [name, *(f"{EMBEDDING}_{what}" for what in bounds)]
    model.graph.node.append(onnx.helper.make_node("Slice", inputs, [EMBEDDING]))


def run_network(network: keras.Model, inputs: Inputs) -> npt.NDArray[np.float32]:
    """Return the first output of a Keras network, the probabilities of a batch of model inputs, shape (n, n_labels)."""
    return next(iter(run_outputs(network, inputs).values()))


def run_outputs(network: keras.Model, inputs: Inputs) -> dict[str, npt.NDArray[np.float32]]:
    """Return each output of a Keras network by its name for a batch of model inputs, shape (n, n_values)."""
    given = dict(inputs) if len(inputs) > 1 else inputs["spectrogram"]
    answers = network.predict_on_batch(given)
    answers = answers if isinstance(answers, list) else [answers]
    return {name: np.asarray(values, np.float32) for name, values in zip(output_names(network), answers, strict=True)}


def output_names(network: keras.Model) -> list[str]:
    """Return the names of a network's outputs: those of the layers that make them."""
    return [tensor._keras_history.operation.name for tensor in network.outputs]


def _exported(network: keras.Model) -> bytes:
    import keras

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        if keras.backend.backend() == EXPORTS:
            write_plain(network, file)
        else:
            _export_elsewhere(network, file)
        return file.read_bytes()


def write_plain(network: keras.Model, file: Path) -> None:
    """Write a network as Keras exports it on PyTorch, unchecked."""
    # Keras exports only a network that was called once.
    run_network(
        network,
        {
            node.name: np.zeros((1, *(size or 64 for size in node.shape[1:])), dtype=np.float32)
            for node in network.inputs
        },
    )
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer warns of every shape it looks at; the check decides
            network.export(str(file), format="onnx", verbose=False, opset_version=OPSET)
    finally:
        logger.setLevel(level)


def _export_elsewhere(network: keras.Model, file: Path) -> None:
    """Export on PyTorch whatever trained, in a process of its own: a back end is chosen once in each.

    One exporter gives one kind of file, and those of the other back ends want packages that training does not.
    """
    saved = file.with_suffix(".keras")
    network.save(saved)
    code = (
        "import sys, pathlib, keras; from emogram.export import write_plain; "
        "write_plain(keras.saving.load_model(sys.argv[1], compile=False), pathlib.Path(sys.argv[2]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(saved), str(file)],
        env=child_environment(KERAS_BACKEND=EXPORTS),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise ModelError(f"the network could not be exported on {EXPORTS} ({last}); see that {EXPORTS} is installed")


def _optimised(content: bytes) -> bytes:
    from emogram.runtime import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # Beyond basic, ONNX Runtime uses operators of its own that other programs do not know.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        options.optimized_model_filepath = str(file)
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return file.read_bytes()


def _sums_for_differences(content: bytes) -> bytes:
    """Replace each difference with a constant, x - c, by the sum x + (-c)."""
    import onnx

    model = onnx.load_from_string(content)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        constant = constants.get(node.input[1]) if node.op_type == "Sub" else None
        if constant is None or constant.data_type != onnx.TensorProto.FLOAT:
            continue
        node.op_type = "Add"
        node.input[1] = f"{constant.name}_negative"
        if node.input[1] not in constants:
            negative = onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(constant), node.input[1])
            constants[node.input[1]] = negative
            model.graph.initializer.append(negative)
    serialised: Any = model.SerializeToString()
    return bytes(serialised)


def _scalars_with_axes(content: bytes) -> bytes:
    """Give each scalar in a sum or a product as many axes, of length 1, as what it meets has.

    ONNX Runtime takes a scalar beside an array whose last axis has length 1, as that of a spectrogram, to one value at
    a time: bringing the input of `emonet` to its range took more than a third of the network's time.
    """
    import onnx

    model = onnx.load_from_string(content)
    axes = {name: len(shape) for name, shape in _shapes(model).items()}
    scalars = {tensor.name: tensor for tensor in model.graph.initializer if not tensor.dims}
    made = set()
    for node in model.graph.node:
        n_axes = max((axes.get(name, 0) for name in node.input), default=0)
        if node.op_type not in ("Add", "Mul") or not n_axes:
            continue
        for place, name in enumerate(node.input):
            if name not in scalars:
                continue
            node.input[place] = f"{name}_{n_axes}_axes"
            if node.input[place] not in made:
                made.add(node.input[place])
                values = onnx.numpy_helper.to_array(scalars[name]).reshape((1,) * n_axes)
                model.graph.initializer.append(onnx.numpy_helper.from_array(values, node.input[place]))
    serialised: Any = model.SerializeToString()
    return bytes(serialised)


def _named_outputs(content: bytes, *, names: Sequence[str]) -> bytes:
    import onnx

    model = onnx.load_from_string(content)
    new = {output.name: name for output, name in zip(model.graph.output, names, strict=True)}
    for node in model.graph.node:
        node.output[:] = [new.get(name, name) for name in node.output]
    for output in model.graph.output:
        output.name = new[output.name]
    model.producer_name = "emogram"
    serialised: Any = model.SerializeToString()
    return bytes(serialised)


def _with_reshapes(content: bytes) -> bytes:
    """Replace transpositions that move axes of length 1 alone by reshapes, for which ONNX Runtime copies nothing."""
    import onnx

    model = onnx.load_from_string(content)
    shapes = _shapes(model)
    for node in model.graph.node:
        if node.op_type != "Transpose" or node.input[0] not in shapes:
            continue
        shape, order = shapes[node.input[0]], list(node.attribute[0].ints)
        longer = [axis for axis in order if shape[axis] != 1]
        lengths = [shape[axis] for axis in order[1:]]
        if order[0] != 0 or longer != sorted(longer) or lengths.count(None) > 1:
            continue
        # 0: as many clips as came in; -1: what is left.
        wanted = np.array([0, *(-1 if length is None else length for length in lengths)], np.int64)
        name = f"{node.output[0]}_shape"
        model.graph.initializer.append(onnx.numpy_helper.from_array(wanted, name))
        node.CopyFrom(onnx.helper.make_node("Reshape", [node.input[0], name], list(node.output), name=node.name))
    serialised: Any = model.SerializeToString()
    return bytes(serialised)


def _shapes(model: onnx.ModelProto) -> dict[str, list[int | None]]:
    """Return the shape of each input and each value between operators, as far as it is known; None is any length."""
    import onnx

    known = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: [axis.dim_value or None for axis in value.type.tensor_type.shape.dim]
        for value in (*known.input, *known.value_info)
    }

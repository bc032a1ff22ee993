"""The ONNX file of a bundle -> its Keras network, for models that come without `best.keras`, such as the shipped one.

Weights are found by the shape and order in which the graph computes with them. What was folded into a convolution when
it was exported stays in it, so that the batch normalisation behind it does nothing but add: its statistics are gone,
and it must be left as it is in further training. Weights in int8 become numbers in single precision again, of 256
values for each channel. Whether the network answers as the file does is tried before it is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emogram.backend import keras
from emogram.bundle import ONNX_FILE, Bundle
from emogram.errors import ModelError, SettingsError
from emogram.export import MAX_DIFFERENCE, Inputs, greatest_difference
from emogram.features import N_FEATURES
from emogram.lineage import network_of
from emogram.network import InputShapes, build_network

FloatArray = npt.NDArray[np.float32]

_TRIED_FRAMES = (64, 97)  # of what the network is tried on, where any number will do


@dataclass
class _Step:
    """One place where the graph computes with weights.

    Attributes:
        kernel: As Keras has it, (height, width, in, out) or (in, out); empty where each channel is only scaled.
        scale: What each channel is multiplied by afterwards, shape (out,).
        shift: What is then added.
    """

    kernel: FloatArray
    scale: FloatArray
    shift: FloatArray


def rebuild_network(bundle: Bundle) -> keras.Model:
    """Build the Keras network that answers as the ONNX file of a bundle does, its convolutions in single precision.

    Raises:
        ModelError: The network is not known here, its weights are not found in the file, or it answers otherwise.
    """
    info = bundle.info
    bands = info.spectrogram.periodicity_bands if info.spectrogram else 0
    n_features = N_FEATURES if "features" in info.inputs else 0
    height, width, n_channels = info.input_shape
    assert width is not None and n_channels is not None, "only the frames may be of any number"
    content = without_int8(bundle.read(ONNX_FILE), name=str(bundle.folder))
    try:
        config = network_of(bundle)
        network = build_network(
            InputShapes((height, width, n_channels), n_features, bands),
            len(info.labels),
            config,
            beside_kernels=config.random_kernels,
        )
        _give_weights(network, list(_steps(content)))
        difference = greatest_difference(network, content, _tried(info.input_shape, n_features))
    except (SettingsError, ValueError, IndexError, KeyError) as error:
        raise _refused(bundle, " ".join(str(error).split())[:200]) from None
    if not difference <= MAX_DIFFERENCE:
        raise _refused(bundle, f"what was found answers otherwise, by {difference:.2g} in probability")
    return network


def without_int8(content: bytes, *, name: str) -> bytes:
    """Return ONNX bytes with every weight in single precision and no value rounded on its way.

    Args:
        content: The file; one without int8 comes back as it is.
        name: Of the model, for errors.

    Raises:
        ModelError: Weights lie in another file.
    """
    import onnx

    model = onnx.load_from_string(content)
    graph = model.graph
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in graph.initializer):
        raise ModelError(f"{name}: {ONNX_FILE} has weights in other files; refused, what is there was never verified")
    constants = {tensor.name: tensor for tensor in graph.initializer}
    instead: dict[str, str] = {}
    kept = []
    for node in graph.node:
        node.input[:] = [instead.get(name, name) for name in node.input]
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            values = _dequantised([onnx.numpy_helper.to_array(constants[name]) for name in node.input], node)
            graph.initializer.append(onnx.numpy_helper.from_array(values, node.output[0]))
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            instead[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    used = {name for node in kept for name in node.input}
    tensors = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(tensors)
    serialised: Any = model.SerializeToString()
    return bytes(serialised)


def _dequantised(arrays: list[npt.NDArray[Any]], node: Any) -> FloatArray:
    values, scale, *zeros = arrays
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    along = [1] * values.ndim
    if scale.ndim:
        along[axis] = -1
    zero = zeros[0].reshape(along).astype(np.float32) if zeros else np.float32(0)
    floats: FloatArray = (values.astype(np.float32) - zero) * scale.reshape(along).astype(np.float32)
    return floats


def _steps(content: bytes) -> Iterator[_Step]:
    """Yield the places where a graph computes with weights, in the order in which it does, complete when all are."""
    import onnx

    model = onnx.load_from_string(content)
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    of: dict[str, _Step] = {}  # the step whose channels a value has, but for a scale and a shift
    found: list[_Step] = []
    for node in model.graph.node:
        given = [name for name in node.input if name not in constants]
        weights = [constants[name] for name in node.input if name in constants]
        step = of.get(given[0]) if given else None
        if node.op_type in ("Conv", "MatMul", "Gemm") and weights:
            step = _product(node, weights)
            found.append(step)
        elif node.op_type in ("Add", "Mul") and len(weights) == 1 and weights[0].size > 1:
            if step is None:
                step = _Step(np.empty(0, np.float32), np.ones(1, np.float32), np.zeros(1, np.float32))
                found.append(step)
            values = weights[0].astype(np.float32).reshape(-1)
            if node.op_type == "Mul":
                step.scale, step.shift = step.scale * values, step.shift * values
            else:
                step.scale, step.shift = step.scale + np.zeros_like(values), step.shift + values
        elif node.op_type not in ("Transpose", "Reshape"):
            step = None
        if step is not None:
            of[node.output[0]] = step
    yield from found


def _product(node: Any, weights: list[npt.NDArray[Any]]) -> _Step:
    kernel = weights[0].astype(np.float32)
    if node.op_type == "Conv":
        kernel = kernel.transpose(2, 3, 1, 0)
    elif any(attribute.name == "transB" and attribute.i for attribute in node.attribute):
        kernel = kernel.T
    n_out = kernel.shape[-1]
    shift = weights[1].astype(np.float32) if len(weights) > 1 else np.zeros(n_out, np.float32)
    return _Step(kernel, np.ones(n_out, np.float32), shift)


def _give_weights(network: keras.Model, steps: list[_Step]) -> None:
    """Give each layer the weights of the first step that is left and fits.

    Raises:
        ValueError: A layer finds none, or a step is left over.
    """
    layers = keras.layers
    left = list(steps)
    step_of: dict[str, _Step] = {}
    for layer in network.layers:
        if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D | layers.Dense):
            shape = tuple(layer.kernel.shape)
            there = shape
            if isinstance(layer, layers.DepthwiseConv2D):
                there = (*shape[:2], 1, shape[2] * shape[3])
            step = _taken(left, lambda one, shape=there: one.kernel.shape == shape, layer)
            step_of[layer.name] = step
            kernel = (step.kernel * step.scale).reshape(shape)
            layer.set_weights([kernel, *([step.shift] if layer.use_bias else [])])
        elif isinstance(layer, layers.BatchNormalization):
            before = layer.input._keras_history.operation
            alone = getattr(before, "use_bias", True)  # else it is the bias of the layer before it
            step = (
                _taken(left, lambda one, n=layer.gamma.shape[0]: not one.kernel.size and len(one.shift) == n, layer)
                if alone
                else step_of[before.name]
            )
            scale = step.scale if alone else np.ones_like(step.scale)
            nothing = np.zeros_like(step.shift)
            layer.set_weights([scale, step.shift, nothing, nothing + (1.0 - layer.epsilon)])
        elif layer.weights:
            raise ValueError(f"layer {layer.name} keeps numbers that are not looked for")
    if left:
        raise ValueError(f"{len(left)} of {len(steps)} arrays belong to no layer")


def _taken(left: list[_Step], fits: Any, layer: keras.layers.Layer) -> _Step:
    place = next((place for place, step in enumerate(left) if fits(step)), None)
    if place is None:
        raise ValueError(f"no weights for layer {layer.name}")
    return left.pop(place)


def _tried(shape: tuple[int | None, ...], n_features: int) -> Iterator[Inputs]:
    rng = np.random.default_rng(0)
    for n_frames in _TRIED_FRAMES:
        sizes = (2, *(size or n_frames for size in shape))
        batch = {"spectrogram": rng.random(sizes, dtype=np.float32)}
        if n_features:
            batch["features"] = rng.random((2, n_features), dtype=np.float32)
        yield batch


def _refused(bundle: Bundle, why: str) -> ModelError:
    return ModelError(
        f"{bundle.folder}: has no best.keras, and its network cannot be rebuilt from {ONNX_FILE} ({why}); start from "
        "the folder as its training wrote it"
    )

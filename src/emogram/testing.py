"""A small real model without any training, for tests of this package and of whatever is built on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emogram.bundle import ONNX_FILE, ModelInfo, TrainingCorpus, seal
from emogram.card import model_card
from emogram.config import Dimension, SpectrogramConfig
from emogram.errors import MissingExtraError
from emogram.features import N_FEATURES
from emogram.files import writing

LABELS = ("angry", "calm", "disgust", "fearful", "happy", "neutral", "sad", "surprised")

# The oldest ONNX Runtime that pyproject.toml allows, 1.20, reads IR up to 10 and opset up to 21.
IR_VERSION = 9
OPSET = 17


def tiny_bundle(
    folder: str | Path,
    *,
    labels: Sequence[str] = LABELS,
    spectrogram: SpectrogramConfig | None = SpectrogramConfig(),  # noqa: B008 (frozen)
    picture_size: int = 128,
    temperature: float = 1.0,
    abstain_threshold: float = 0.0,
    dimensions: Sequence[Dimension] = (),
    seed: int = 0,
) -> Path:
    """Write a model folder whose network is one seeded random layer over the statistics of the spectrogram.

    Its answers mean nothing, but they differ from sound to sound and are the same each time.

    Args:
        folder: Where to write it; made if missing.
        labels: Labels; none where it is to tell dimensions only.
        spectrogram: How sound becomes input; None for a model of pictures made elsewhere.
        picture_size: Size of those pictures; not used where `spectrogram` is given.
        temperature: The bundle's temperature, > 0.
        abstain_threshold: The bundle's threshold, 0 to 1.
        dimensions: What it tells beside the labels.
        seed: Another seed is another model.

    Returns:
        The folder.

    Raises:
        MissingExtraError: The package onnx is not installed.
        OutputError: The folder cannot be written.
    """
    folder = Path(folder)
    with_features = spectrogram is not None and spectrogram.utterance_features
    info = ModelInfo(
        labels=tuple(labels),
        dimensions=tuple(dimensions),
        spectrogram=spectrogram,
        network={"name": "tiny"},
        input_shape=spectrogram.input_shape() if spectrogram else (picture_size, picture_size, 3),
        inputs=("spectrogram", "features") if with_features else ("spectrogram",),
        trained_on=(TrainingCorpus(corpus="nothing", n_clips=0, n_speakers=0, content_hash="", licence="none"),),
        protocol="untrained",
        temperature=temperature,
        abstain_threshold=abstain_threshold,
        seed=seed,
    )
    with writing(folder / ONNX_FILE) as temporary:
        temporary.write_bytes(tiny_onnx(info).SerializeToString())
    seal(folder, info, model_card(info, notes="An untrained model for tests. Its answers mean nothing."))
    return folder


def tiny_onnx(info: ModelInfo) -> Any:
    """Build the network of `tiny_bundle` as an `onnx.ModelProto`.

    Mean and mean square over the frames of each band (over the rows of each column and colour of a picture), joined
    with the features (the embedding), times a weight matrix, and a softmax; likewise for dimensions, each from 0 to 1.

    Args:
        info: The model; of it the labels, dimensions, inputs, input shape and seed are used.

    Raises:
        MissingExtraError: The package onnx is not installed.
    """
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        raise MissingExtraError("building a model for tests", "train") from None

    _, width, n_channels = info.input_shape
    assert width is not None and n_channels is not None, "only the frames may be of any number"
    n_features = N_FEATURES if "features" in info.inputs else 0
    n_statistics = 2 * width * n_channels + n_features
    rng = np.random.default_rng(info.seed)
    heads = {
        "probabilities": (len(info.labels), "Softmax", ""),
        "dimensions": (len(info.dimensions), "Sigmoid", "dimension_"),
    }
    constants = {}
    inputs = [helper.make_tensor_value_info("spectrogram", TensorProto.FLOAT, ["n_clips", *_axes(info)])]
    statistics = ["means", "powers"]
    if n_features:
        inputs.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n_clips", n_features]))
        statistics.append("features")
    nodes = [
        helper.make_node("ReduceMean", ["spectrogram"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("Flatten", ["mean"], ["means"], axis=1),
        helper.make_node("Mul", ["spectrogram", "spectrogram"], ["square"]),
        helper.make_node("ReduceMean", ["square"], ["power"], axes=[1], keepdims=0),
        helper.make_node("Flatten", ["power"], ["powers"], axis=1),
        helper.make_node("Concat", statistics, ["embedding"], axis=1),
    ]
    outputs = []
    for name, (size, operator, prefix) in heads.items():
        if not size:
            continue
        values = rng.standard_normal((n_statistics, size)) * np.sqrt(8.0 / n_statistics)
        values[n_statistics - n_features :] *= 1e-3  # features in Hz are large
        constants[f"{prefix}weights"] = values
        nodes.append(helper.make_node("MatMul", ["embedding", f"{prefix}weights"], [f"{prefix}logits"]))
        nodes.append(helper.make_node(operator, [f"{prefix}logits"], [name]))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n_clips", size]))
    outputs.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n_clips", n_statistics]))
    weights = [numpy_helper.from_array(values.astype(np.float32), name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, weights)
    return helper.make_model(graph, ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)])


def _axes(info: ModelInfo) -> list[int | str]:
    return ["n_frames" if length is None else length for length in info.input_shape]

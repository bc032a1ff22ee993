"""Trained network -> ONNX file that gives the same probabilities."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from emogram.errors import ModelError
from emogram.files import writing

if TYPE_CHECKING:
    import keras

MAX_DIFFERENCE = 1e-4  # of any probability, between Keras and ONNX Runtime
OPSET = 17

Inputs = Mapping[str, npt.NDArray[np.float32]]


def export_onnx(network: keras.Model, path: Path, *, samples: Iterable[Inputs]) -> float:
    """Write a network as ONNX and check it against Keras.

    Args:
        network: In single precision; its inputs keep their names, its output is called "probabilities".
        path: The file.
        samples: Batches of model inputs to compare on, of several lengths where the length is free.

    Returns:
        The greatest absolute difference of any probability, at most `MAX_DIFFERENCE`.

    Raises:
        ModelError: The exported model differs; nothing is written then.
        OutputError: The file cannot be written.
    """
    content = _named_output(_exported(network))
    difference = greatest_difference(network, content, samples)
    if not difference <= MAX_DIFFERENCE:
        raise ModelError(
            f"the exported network differs from Keras by {difference:.2g} in probability, more than "
            f"{MAX_DIFFERENCE:g}; "
            "please report this with the network's settings"
        )
    with writing(path) as temporary:
        temporary.write_bytes(content)
    return difference


def greatest_difference(network: keras.Model, content: bytes, samples: Iterable[Inputs]) -> float:
    """Return the greatest absolute difference of any probability between a network and its ONNX bytes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    differences = [
        np.abs(session.run(None, {name: batch[name] for name in names})[0] - run_network(network, batch)).max()
        for batch in samples
    ]
    # Not max(), which may overlook NaN; and what was compared on nothing was not compared.
    return float(np.max(differences)) if differences else np.nan


def run_network(network: keras.Model, inputs: Inputs) -> npt.NDArray[np.float32]:
    """Return the probabilities that a Keras network gives for a batch of model inputs, shape (n, n_labels)."""
    given = dict(inputs) if len(inputs) > 1 else inputs["spectrogram"]
    return np.asarray(network.predict_on_batch(given), dtype=np.float32)


def _exported(network: keras.Model) -> bytes:
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
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer warns of every shape it looks at; the check decides
            file = Path(folder) / "model.onnx"
            network.export(str(file), format="onnx", verbose=False, opset_version=OPSET)
            return file.read_bytes()
    finally:
        logger.setLevel(level)


def _named_output(content: bytes) -> bytes:
    import onnx

    model = onnx.load_from_string(content)
    old = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["probabilities" if name == old else name for name in node.output]
    model.graph.output[0].name = "probabilities"
    model.producer_name = "emogram"
    serialised: Any = model.SerializeToString()
    return bytes(serialised)

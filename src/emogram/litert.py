"""A trained network -> a LiteRT file (once called TensorFlow Lite), for telephones and small machines.

Keras writes it on TensorFlow, in a process of its own: a back end is chosen once in each, and TensorFlow takes seconds
to start. It is run by `ai-edge-litert`, which needs no TensorFlow.
"""

from __future__ import annotations

import importlib.util
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from emogram.bundle import KERAS_FILE, Bundle
from emogram.errors import MissingExtraError, ModelError
from emogram.metrics import MIN_PROBABILITY
from emogram.parallel import child_environment

if TYPE_CHECKING:
    import keras

LABELS_FILE, METADATA_FILE = "labels.txt", "emogram.json"

_NEEDED = ("keras", "tensorflow", "ai_edge_litert")
_TIMEOUT_S = 900.0


def require_litert() -> None:
    """Refuse where what writes and runs LiteRT files is not installed.

    Raises:
        MissingExtraError: It is not.
    """
    if any(importlib.util.find_spec(name) is None for name in _NEEDED):
        raise MissingExtraError("exporting to LiteRT", "litert")


def litert(bundle: Bundle) -> bytes:
    """Return a LiteRT file that takes one model input of any length and gives calibrated probabilities.

    Raises:
        MissingExtraError: The extra `litert` is not installed.
        ModelError: The bundle holds no Keras network, or TensorFlow cannot convert it.
    """
    require_litert()
    if KERAS_FILE not in bundle.hashes:
        raise ModelError(
            f"{bundle.folder}: holds no {KERAS_FILE}, of which LiteRT files are made; export the run that it came from"
        )
    with tempfile.TemporaryDirectory() as folder:
        network, file = Path(folder) / KERAS_FILE, Path(folder) / "model.tflite"
        network.write_bytes(bundle.read(KERAS_FILE))
        code = (
            "import sys, pathlib, emogram.network; from emogram.litert import convert; "
            "convert(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), float(sys.argv[3]))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(network), str(file), str(bundle.info.temperature)],
            env=child_environment(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES=""),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0 or not file.is_file():
            last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
            raise ModelError(f"{bundle.folder}: TensorFlow could not convert the network ({last})")
        return file.read_bytes()


def convert(network: Path, file: Path, temperature: float) -> None:
    """Write a saved network as LiteRT, softened by a temperature; for a process whose Keras runs on TensorFlow."""
    import keras

    loaded = keras.saving.load_model(network, compile=False)
    # One clip at a time: of two free axes, LiteRT would have to be told both each time.
    signature = [keras.InputSpec(shape=(1, *node.shape[1:]), dtype="float32", name=node.name) for node in loaded.inputs]
    _softened(loaded, temperature).export(str(file), format="litert", verbose=False, input_signature=signature)


def _softened(network: keras.Model, temperature: float) -> keras.Model:
    """Put `calibration.soften` behind a network."""
    import keras

    if temperature == 1.0:
        return network

    def soften(probabilities: Any) -> Any:
        return keras.ops.softmax(keras.ops.log(keras.ops.maximum(probabilities, MIN_PROBABILITY)) / temperature)

    # As a layer with a name of its own, since those of operations may be taken by some inside the network.
    return keras.Model(network.inputs, keras.layers.Lambda(soften, name="calibrated")(network.output))


def with_metadata(content: bytes, metadata: Mapping[str, str], labels: tuple[str, ...]) -> bytes:
    """Append labels and metadata as a ZIP archive, where programs for LiteRT models look for files that belong to one.

    `unzip -p model.tflite labels.txt` shows them; an interpreter reads the network and does not look behind it.
    """
    whole = io.BytesIO(content)
    # Mode "a" counts from the beginning of the file, as unzip wants it. A fixed date: the same model, the same bytes.
    with zipfile.ZipFile(whole, "a") as files:
        files.writestr(zipfile.ZipInfo(LABELS_FILE), "".join(f"{label}\n" for label in labels))
        files.writestr(zipfile.ZipInfo(METADATA_FILE), json.dumps(metadata, indent=2))
    return whole.getvalue()


class Interpreter:
    """A LiteRT file, run on one thread."""

    def __init__(self, content: bytes) -> None:
        """Load the file."""
        from ai_edge_litert.interpreter import Interpreter as Loaded

        self._loaded = Loaded(model_content=content, num_threads=1)

    def __call__(self, inputs: Mapping[str, npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """Return the probabilities of one clip, shape (1, n_labels), of its model inputs with a batch axis of one."""
        nodes = self._loaded.get_input_details()
        by_rank = {values.ndim: values for values in inputs.values()}  # LiteRT keeps no names, and ranks differ
        for node in nodes:
            self._loaded.resize_tensor_input(node["index"], by_rank[len(node["shape"])].shape)
        self._loaded.allocate_tensors()
        for node in nodes:
            self._loaded.set_tensor(node["index"], by_rank[len(node["shape"])])
        self._loaded.invoke()
        answer: npt.NDArray[np.float32] = self._loaded.get_tensor(self._loaded.get_output_details()[0]["index"])
        return answer

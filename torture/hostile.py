"""Model folders that try to run code, to read other files or to fill the memory; all of them sealed as they should be.

The payloads are harmless: whoever runs one finds a file `canary` beside the folders of the cases, and nothing else.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import tempfile
import zipfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from emogram.bundle import INFO_FILE, KERAS_FILE, ONNX_FILE, SUMS_FILE, ModelInfo, open_bundle, seal
from emogram.files import sha256_of
from emogram.testing import tiny_bundle

CANARY = "canary"


class Touch:
    """Unpickled, it makes the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.canary), "w")


def base(folder: Path) -> Path:
    """Write the model that all cases begin from."""
    folder.mkdir()
    for name, content in _base_files().items():
        (folder / name).write_bytes(content)
    return folder


@lru_cache(maxsize=1)
def _base_files() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as name:
        return {path.name: path.read_bytes() for path in tiny_bundle(name).iterdir()}


def seal_again(folder: Path) -> None:
    """Seal what stands in a folder, whatever it is."""
    names = sorted(path.name for path in folder.iterdir() if path.name != SUMS_FILE)
    sums = "".join(f"{sha256_of(folder / name)}  {name}\n" for name in names)
    (folder / SUMS_FILE).write_text(sums, encoding="utf-8")


# ---------------------------------------------------------------- Keras


def keras_archive(config: Any = None, weights: bytes | None = None, **more: bytes) -> bytes:
    """Return a `.keras` file of one dense layer, with another config, other weights or more members."""
    members = {"metadata.json": b"{}", "config.json": json.dumps(config or plain_config()).encode()}
    members["model.weights.h5"] = plain_weights() if weights is None else weights
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in {**members, **more}.items():
            archive.writestr(name, content)
    return stream.getvalue()


def plain_config(layer: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the config of a network of one layer, as Keras writes it."""
    tensor = {"class_name": "__keras_tensor__", "config": {"shape": [None, 4], "dtype": "float32"}}
    tensor["config"]["keras_history"] = ["x", 0, 0]  # type: ignore[index]
    inputs = {
        "module": "keras.layers", "class_name": "InputLayer", "registered_name": None, "name": "x",
        "config": {"batch_shape": [None, 4], "dtype": "float32", "sparse": False, "name": "x"}, "inbound_nodes": [],
    }  # fmt: skip
    dense = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 2}}
    body = {**(layer or dense), "registered_name": None, "name": "y"}
    body["config"] = {**body["config"], "name": "y"}
    body["inbound_nodes"] = [{"args": [tensor], "kwargs": {}}]
    return {
        "module": "keras.src.models.functional", "class_name": "Functional", "registered_name": "Functional",
        "config": {
            "name": "network", "trainable": True, "layers": [inputs, body],
            "input_layers": [["x", 0, 0]], "output_layers": [["y", 0, 0]],
        },
    }  # fmt: skip


def plain_weights(change: Callable[[Any], None] | None = None) -> bytes:
    """Return the weights of that network, changed."""
    import h5py
    import numpy as np

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        group = file.create_group("layers/dense/vars")
        group["0"] = np.ones((4, 2), np.float32)
        group["1"] = np.ones(2, np.float32)
        if change is not None:
            del group["0"]
            change(group)
    return stream.getvalue()


def function(module: str, name: str) -> dict[str, str]:
    """Return what Keras takes for a function of that name."""
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def lambda_layer(canary: Path) -> dict[str, Any]:
    """Return a Lambda layer whose byte code makes the canary."""
    import keras

    namespace: dict[str, Any] = {}
    exec(f"f = lambda x: (open({str(canary)!r}, 'w'), x)[1]", namespace)  # byte code, as an attacker would store it
    layer = keras.layers.Lambda(namespace["f"], output_shape=(4,))
    told: dict[str, Any] = keras.saving.serialize_keras_object(layer)
    return told


def _layer(module: str | None, name: str, /, **config: Any) -> dict[str, Any]:
    return plain_config({"module": module, "class_name": name, "config": config})


def _calls(module: str, name: str, /, **arguments: Any) -> dict[str, Any]:
    config = {"function": function(module, name), "arguments": arguments, "output_shape": [4]}
    return plain_config({"module": "keras.layers", "class_name": "Lambda", "config": config})


def _enables_then_runs(canary: Path) -> dict[str, Any]:
    config = _calls("keras.config", "enable_unsafe_deserialization")
    second = json.loads(json.dumps(plain_config(lambda_layer(canary))["config"]["layers"][1]))
    config["config"]["layers"].append({**second, "name": "z", "config": {**second["config"], "name": "z"}})
    return config


def _h5_model(canary: Path) -> bytes:
    """Return a whole model in the old HDF5 format, which Keras used to load with no look at its Lambda layers."""
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.attrs["model_config"] = json.dumps(plain_config(lambda_layer(canary)))
        file.create_group("model_weights")
    return stream.getvalue()


def _external(group: Any) -> None:
    group.create_dataset("0", (4, 2), "f4", external=[("/etc/passwd", 0, 32)])


def _virtual(group: Any) -> None:
    import h5py

    layout = h5py.VirtualLayout((4, 2), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4, 2))
    group.create_virtual_dataset("0", layout)


def _linked(link: Callable[..., Any], *arguments: str) -> Callable[[Any], None]:
    def change(group: Any) -> None:
        group["0"] = link(*arguments)

    return change


def _hollow(group: Any) -> None:
    group.create_dataset("0", (2**33, 2), "f4", chunks=(2**20, 2), fillvalue=1.0)


def _many_hollow(group: Any) -> None:
    for number in range(16):  # each below what Keras takes for a bomb
        group.create_dataset(str(number + 2), (2**28 - 1,), "f4", chunks=(2**20,))


def _cycle(group: Any) -> None:
    group["0"] = group.file["layers"]


def _zip_of(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return stream.getvalue()


@lru_cache
def _compressed() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", json.dumps(plain_config()))
        with archive.open("model.weights.h5", "w", force_zip64=True) as member:
            for _ in range(300):
                member.write(bytes(2**20))
    return stream.getvalue()


def _archive_of_config(text: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", text)
        archive.writestr("model.weights.h5", plain_weights())
    return stream.getvalue()


def keras_cases(canary: Path) -> dict[str, bytes]:
    """Return what `best.keras` holds in each case."""
    import h5py

    return {
        "Lambda": keras_archive(plain_config(lambda_layer(canary))),
        "Lambda below another layer": keras_archive(
            _layer("keras.layers", "TimeDistributed", layer=lambda_layer(canary))
        ),
        "TFSMLayer": keras_archive(_layer("keras.layers", "TFSMLayer", filepath=str(canary.parent))),
        "TorchModuleWrapper (a pickle)": keras_archive(
            _layer("keras.layers", "TorchModuleWrapper", module=pickle.dumps(Touch(canary)).hex())
        ),
        "foreign class": keras_archive(_layer("subprocess", "Popen", args=["touch", str(canary)])),
        "foreign class without a module": keras_archive(_layer(None, "Lambda")),
        "CVE-2025-1550: any function as a part of the config": keras_archive(
            _layer("keras.layers", "Dense", units=2, activation=function("builtins", "exec"))
        ),
        "CVE-2025-1550: any class as a layer": keras_archive(_layer("pathlib", "Path", args=[str(canary)])),
        "CVE-2025-8747: a function of Keras that fetches files": keras_archive(
            _calls("keras.utils", "get_file", fname=str(canary), origin="http://127.0.0.1:9/x")
        ),
        "CVE-2025-9905: the old HDF5 format": _h5_model(canary),
        "CVE-2025-9906: unsafe loading allowed by the config": keras_archive(_enables_then_runs(canary)),
        "CVE-2026-0897: HDF5 shape bomb": keras_archive(weights=plain_weights(_hollow)),
        "many HDF5 shape bombs, each small enough": keras_archive(weights=plain_weights(_many_hollow)),
        "CVE-2026-1669: HDF5 array in another file": keras_archive(weights=plain_weights(_external)),
        "CVE-2026-1669: HDF5 virtual array": keras_archive(weights=plain_weights(_virtual)),
        "CVE-2026-1669: HDF5 link to another file": keras_archive(
            weights=plain_weights(_linked(h5py.ExternalLink, "/etc/passwd", "/"))
        ),
        "HDF5 soft link": keras_archive(weights=plain_weights(_linked(h5py.SoftLink, "/layers/dense/vars/1"))),
        "HDF5 group within itself": keras_archive(weights=plain_weights(_cycle)),
        "a layer of 2^31 units": keras_archive(_layer("keras.layers", "Dense", units=2**31)),
        "config nested 100,000 deep": _archive_of_config("[" * 100_000 + "]" * 100_000),
        "config nested 1,000 deep": _archive_of_config(
            '{"class_name": "Functional", "config": ' + "[" * 900 + "]" * 900 + "}"
        ),
        "an asset outside the archive": keras_archive(**{"assets/../../canary": b"x"}),
        "weights as NPZ, which may hold pickles": _zip_of("model.weights.npz", pickle.dumps(Touch(canary))),
        "a pickle": pickle.dumps(Touch(canary)),
        "300 MB of zeros, compressed": _compressed(),
        "ZIP of ZIPs": _zip_of("a.zip", _zip_of("b.zip", _zip_of("c.zip", bytes(10**6)))),
        "nothing": b"",
        "no ZIP": b"PK\3\4" + bytes(1000),
    }


def write_keras_case(folder: Path, content: bytes) -> None:
    """Write a sealed model whose Keras file has that content."""
    base(folder)
    (folder / KERAS_FILE).write_bytes(content)
    seal_again(folder)


# ---------------------------------------------------------------- ONNX, and the folder itself


def _changed_onnx(folder: Path, change: Callable[[Any], None]) -> None:
    import onnx

    model = onnx.load(base(folder) / ONNX_FILE)
    change(model)
    (folder / ONNX_FILE).write_bytes(model.SerializeToString())
    seal_again(folder)


def _external_data(model: Any) -> None:
    import onnx

    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": "../../../../../../etc/passwd", "offset": "0", "length": "64"}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def _custom_op(model: Any) -> None:
    import onnx

    model.opset_import.append(onnx.helper.make_opsetid("ai.evil", 1))
    node = next(node for node in model.graph.node if node.op_type == "Softmax")
    node.domain, node.op_type = "ai.evil", "Touch"


def _declared(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.dims[:] = [2_500_000_000, 8]


def _made(model: Any) -> None:
    """A constant of 10 GB that the network itself makes, and adds to the answer."""
    import numpy as np
    import onnx

    size = onnx.numpy_helper.from_array(np.array([2_500_000_000], np.int64), "size")
    zero = onnx.numpy_helper.from_array(np.zeros(1, np.float32), "zero")
    model.graph.initializer.append(size)
    answer = next(node for node in model.graph.node if node.op_type == "Softmax")
    answer.output[0] = "answer"
    model.graph.node.extend([
        onnx.helper.make_node("ConstantOfShape", ["size"], ["large"], value=zero),
        onnx.helper.make_node("ReduceMax", ["large"], ["small"], keepdims=1),
        onnx.helper.make_node("Add", ["answer", "small"], ["probabilities"]),
    ])  # fmt: skip


def _other_labels(folder: Path) -> None:
    base(folder)
    info = open_bundle(folder).info.model_dump(mode="json")
    seal(folder, ModelInfo.from_dict({**info, "labels": ["angry", "calm"]}), "card")


def _newer(folder: Path) -> None:
    base(folder)
    told = json.loads((folder / INFO_FILE).read_text(encoding="utf-8"))
    (folder / INFO_FILE).write_text(json.dumps({**told, "format_version": 99}), encoding="utf-8")
    seal_again(folder)


def _flipped(folder: Path) -> None:
    content = bytearray((base(folder) / ONNX_FILE).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / ONNX_FILE).write_bytes(bytes(content))


def _replaced(name: str, content: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        base(folder)
        (folder / name).write_bytes(content)
        seal_again(folder)

    return write


def _linked_out(folder: Path) -> None:
    base(folder)
    (folder / ONNX_FILE).rename(folder.parent / "outside.onnx")
    (folder / ONNX_FILE).symlink_to(folder.parent / "outside.onnx")


def _fifo(folder: Path) -> None:
    base(folder)
    (folder / ONNX_FILE).unlink()
    os.mkfifo(folder / ONNX_FILE)


def _device(folder: Path) -> None:
    base(folder)
    (folder / INFO_FILE).unlink()
    (folder / INFO_FILE).symlink_to("/dev/zero")


def _outside(folder: Path) -> None:
    base(folder)
    with (folder / SUMS_FILE).open("a", encoding="utf-8") as file:
        file.write(f"{sha256_of(Path('/etc/passwd'))}  ../../../../../../etc/passwd\n")


def _npz_bomb() -> bytes:
    header = b"\x93NUMPY\x01\x00v\x00" + repr(
        {"descr": "<f4", "fortran_order": False, "shape": (2**32, 64)}
    ).encode().ljust(117) + b"\n"  # fmt: skip
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("embeddings.npy", header)
        archive.writestr("threshold.npy", header)
    return stream.getvalue()


def folder_cases(canary: Path) -> dict[str, Callable[[Path], None]]:
    """Return what writes the model folder of each case."""
    return {
        "ONNX with weights in another file": lambda folder: _changed_onnx(folder, _external_data),
        "ONNX with an operator of its own": lambda folder: _changed_onnx(folder, _custom_op),
        "ONNX that declares a tensor of 80 GB": lambda folder: _changed_onnx(folder, _declared),
        "ONNX that makes a tensor of 10 GB": lambda folder: _changed_onnx(folder, _made),
        "a pickle instead of ONNX": _replaced(ONNX_FILE, pickle.dumps(Touch(canary))),
        "nothing instead of ONNX": _replaced(ONNX_FILE, b""),
        "pickled embeddings": _replaced("familiar.npz", pickle.dumps(Touch(canary))),
        "embeddings that declare a terabyte": _replaced("familiar.npz", _npz_bomb()),
        "model.json nested 100,000 deep": _replaced(INFO_FILE, b"[" * 100_000 + b"]" * 100_000),
        "a changed byte": _flipped,
        "labels that do not fit the output": _other_labels,
        "a newer format": _newer,
        "a link out of the folder": _linked_out,
        "a pipe instead of ONNX": _fifo,
        "a device instead of model.json": _device,
        "a sealed file outside the folder": _outside,
    }

"""The Keras network of a bundle, read only after a look at all that its file would have Keras do.

A `.keras` file is a ZIP archive of JSON, which names the classes and functions to call, and of HDF5. Whoever made it
chose all of these, and a seal says only that nobody changed them since. Keras guards itself, and was wrong about it
more than once (CVE-2025-1550, 2025-8747, 2025-9905, 2025-9906, 2026-0897, 2026-1669). So what is none of plain layers
with plain arrays is refused here before Keras sees it.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emogram.bundle import KERAS_FILE, Bundle
from emogram.errors import ModelError

if TYPE_CHECKING:
    import keras

MAX_KERAS_BYTES = 1 << 30  # as of `MAX_ONNX_BYTES`
MAX_CONFIG_BYTES = 16 << 20
MAX_SIZE = 1 << 16  # of a layer, in any direction; Keras makes room for it before it looks for the weights
MAX_DEPTH = 50  # of JSON in JSON, and of groups in groups

_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
_PLAIN_MODULES = {"keras.layers", "keras.initializers", "keras.regularizers", "keras.src.ops.numpy"}
_PLAIN_CLASSES = {
    ("keras", "DTypePolicy"), ("keras.src.models.functional", "Functional"),
    (None, "__keras_tensor__"), (None, "__slice__"), (None, "__tuple__"), (None, "__ellipsis__"),
}  # fmt: skip
_CODE = {"Lambda", "TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper"}  # layers that run what a file brings
_NO_SIZES = {"seed", "shared_object_id"}


def load_network(bundle: Bundle) -> keras.Model:
    """Load the Keras network of a bundle, not compiled.

    Raises:
        ModelError: The bundle holds none, it has changed, or its file asks for more than plain layers.
    """
    file = bundle.file(KERAS_FILE)
    if (size := file.stat().st_size) > MAX_KERAS_BYTES:
        raise ModelError(f"{file}: {size} bytes; a network of emogram has at most {MAX_KERAS_BYTES}")
    content = bundle.read(KERAS_FILE)
    if reason := _suspicious(content):
        raise ModelError(f"{file}: {reason}; refused, since loading it could run foreign code or fill the memory")
    from emogram.backend import keras

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / KERAS_FILE  # what was looked at, whatever becomes of the file meanwhile
        copy.write_bytes(content)
        try:
            return keras.saving.load_model(copy, compile=False, safe_mode=True)
        except Exception as error:  # whatever a layer makes of settings that are none
            told = " ".join(str(error).split())[:300]
            raise ModelError(f"{file}: Keras cannot load it ({type(error).__name__}: {told})") from None


def _suspicious(content: bytes) -> str | None:
    """Return what in a `.keras` file is none of what `emogram train` writes; None where there is nothing."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if {each.filename for each in members} != _MEMBERS or len(members) != len(_MEMBERS):
                return f"holds {', '.join(sorted(each.filename for each in members))[:200] or 'nothing'}"
            for each in members:
                if each.compress_type != zipfile.ZIP_STORED or each.file_size != each.compress_size:
                    return f"{each.filename} is compressed"
                if each.filename.endswith(".json") and each.file_size > MAX_CONFIG_BYTES:
                    return f"{each.filename} has {each.file_size} bytes"
            config = json.loads(archive.read("config.json"))
            weights = archive.read("model.weights.h5")
    except (zipfile.BadZipFile, ValueError, RecursionError, EOFError, NotImplementedError, OSError) as error:
        return f"is not what Keras writes ({' '.join(str(error).split())[:100]})"
    if not (isinstance(config, dict) and config.get("class_name") == "Functional"):
        return "its config.json describes no network"
    return _foreign(config, "", 0) or _hollow(weights)


def _foreign(value: Any, key: str, depth: int) -> str | None:
    """Return what in a part of the config is no plain layer, or too large for one."""
    if depth > MAX_DEPTH:
        return "its config.json is nested too deeply"
    if isinstance(value, dict):
        if "class_name" in value:
            name, module = value["class_name"], value.get("module")
            plain = module in _PLAIN_MODULES if isinstance(module, str) else False
            if not isinstance(name, str) or name in _CODE or not (plain or (module, name) in _PLAIN_CLASSES):
                return f"its config.json wants {str(module)[:100]}.{str(name)[:100]}"
        found = (_foreign(each, str(name), depth + 1) for name, each in value.items())
        return next((reason for reason in found if reason), None)
    if isinstance(value, list):
        found = (_foreign(each, key, depth + 1) for each in value)
        return next((reason for reason in found if reason), None)
    if isinstance(value, int | float) and key not in _NO_SIZES and abs(value) > MAX_SIZE:
        return f"its config.json has {key} = {value:g}"
    return None


def _hollow(weights: bytes) -> str | None:
    """Return what in HDF5 is no array that lies in it whole, so that it reads other files or swells in memory."""
    import h5py

    try:
        with h5py.File(io.BytesIO(weights), "r") as file:
            return _hollow_group(file, "", 0)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        return f"its weights are not what Keras writes ({' '.join(str(error).split())[:100]})"


def _hollow_group(group: Any, path: str, depth: int) -> str | None:
    import h5py

    if depth > MAX_DEPTH:
        return "its weights are nested too deeply"
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            return f"its weights {path}/{name} lead elsewhere"
        each = group[name]
        if isinstance(each, h5py.Group):
            if reason := _hollow_group(each, f"{path}/{name}", depth + 1):
                return reason
        elif not isinstance(each, h5py.Dataset) or each.external or each.is_virtual:
            return f"its weights {path}/{name} lead elsewhere"
        elif each.size is None or each.size * each.dtype.itemsize != each.id.get_storage_size():
            return f"its weights {path}/{name} of shape {each.shape} are not in the file"
    return None

"""What imports what: light where it must be light, and never upwards in the house."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import emogram
from emogram.testing import tiny_bundle

SOURCE = Path(emogram.__file__).parent

# DESIGN.md, "The house": a module imports only from those that stand before it here.
FLOORS = (
    "installing", "errors", "silenced", "nearby", "config", "records", "files", "checkpoints", "progress", "parallel",
    "relay", "cluster", "engines", "protocols", "watched", "audio", "fourier", "silero", "speech", "recordings",
    "turns", "degrade", "voices", "periodicity", "spectrogram", "features", "corpora", "downloads", "pictures",
    "dataset", "leaks", "splits", "copies", "joined", "balance", "augment", "backend", "devices", "losses", "heads",
    "apart", "network", "fused", "optimizers", "batches", "metrics", "calibration", "dimensions",
    "adapt", "familiar", "overview", "plots", "remote", "bundle", "card", "hub", "runtime", "export", "random_kernels",
    "lineage", "saved_network", "rebuilt", "pretraining", "classifier", "distillation", "stream_frames", "windowing",
    "smoothing", "utterances", "live", "timeline", "listening", "explanations", "writers", "predictions", "testing",
    "onnx_front_end", "litert", "deploy", "archive", "serve", "client", "versions", "trackers", "callbacks", "resuming",
    "judging", "adapted", "train", "evaluate", "robustness", "compare", "jobs", "crossval", "crosscorpus", "changes",
    "finetune", "ship", "demo", "settings", "extras", "doctor", "tuning", "console", "live_view", "cli", "__main__",
)  # fmt: skip

FRAMEWORKS = {"keras", "tensorflow", "torch", "jax"}
KERAS_AT_THE_TOP = {"backend"}
LOADS_KERAS = {
    "devices", "losses", "heads", "apart", "network", "fused", "optimizers", "random_kernels", "rebuilt", "pretraining",
    "batches", "callbacks", "resuming", "train", "jobs", "crossval", "crosscorpus", "changes", "finetune", "tuning",
}  # fmt: skip
HEAVY = FRAMEWORKS | {"matplotlib", "sklearn", "onnx", "librosa", "ray"}


def modules_after(code: str, *arguments: object) -> set[str]:
    """Run code in a fresh Python and return the top-level packages it has loaded."""
    listing = f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-W", "error", "-c", listing, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    return set(json.loads(run.stdout.splitlines()[-1]))


def test_importing_the_package_loads_nothing_else():
    loaded = modules_after("import emogram; emogram.load; emogram.__version__; dir(emogram)")
    assert not loaded & (HEAVY | {"numpy", "pydantic", "onnxruntime", "scipy", "PIL", "soundfile"})
    assert {name for name in loaded if name.startswith("emogram")} == {"emogram"}


@pytest.mark.parametrize("name", emogram.__all__)
def test_each_public_name_is_there_and_light(name):
    loaded = modules_after(f"from emogram import {name}")
    assert not loaded & (HEAVY | {"onnxruntime", "soundfile", "PIL"})


def test_names_that_are_not_there_are_refused_as_always():
    assert set(emogram.__all__) <= set(dir(emogram))
    with pytest.raises(AttributeError, match="module 'emogram' has no attribute 'Clasifier'"):
        emogram.Clasifier  # noqa: B018


def test_predicting_loads_no_training_framework(tmp_path, tone):
    folder = tiny_bundle(tmp_path / "model")
    soundfile.write(tmp_path / "tone.wav", np.repeat(tone[:, np.newaxis], 2, axis=1), 44100)
    loaded = modules_after(
        "import sys, emogram; print(emogram.load(sys.argv[1]).predict(sys.argv[2]).label)",
        folder,
        tmp_path / "tone.wav",
    )
    assert "onnxruntime" in loaded
    assert not loaded & (HEAVY | {"PIL", "rich", "typer"})


def modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if path.name != "__init__.py" or path.parent != SOURCE)


def floor_of(dotted: str) -> str:
    """emogram.corpora.ravdess stands on the floor corpora."""
    return dotted.split(".")[1]


def dotted_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def own_imports(tree: ast.AST) -> set[str]:
    """Return the floors that a module imports, at its top, in functions and for type checkers."""
    floors = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        floors |= {floor_of(name) for name in names if name.startswith("emogram.")}
    return floors - {"__version__"}


def top_imports(body: list[ast.stmt]) -> set[str]:
    """Return the packages that importing a module imports: not those in functions or for type checkers."""
    found = set()
    for node in body:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).split(".")[0])
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            found |= top_imports(node.orelse)
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef):
            found |= top_imports(node.body) | top_imports(getattr(node, "orelse", []))
    return found


@pytest.mark.parametrize("path", modules(), ids=dotted_name)
def test_module_imports_only_from_floors_before_it(path):
    floor = floor_of(dotted_name(path))
    assert floor in FLOORS, f"{floor} has no place in the house: add it to FLOORS here and to DESIGN.md"
    imported = own_imports(ast.parse(path.read_text(encoding="utf-8"))) - {floor}
    assert imported <= set(FLOORS), f"{floor} imports {imported - set(FLOORS)}, which have no place in the house"
    upwards = {name for name in imported if FLOORS.index(name) > FLOORS.index(floor)}
    assert not upwards, f"{floor} imports {upwards}, which come after it"


@pytest.mark.parametrize("path", modules(), ids=dotted_name)
def test_frameworks_are_at_the_top_of_training_modules_only(path):
    heavy = top_imports(ast.parse(path.read_text(encoding="utf-8")).body) & HEAVY
    allowed = FRAMEWORKS if floor_of(dotted_name(path)) in KERAS_AT_THE_TOP else set()
    assert heavy <= allowed, f"import {heavy - allowed} inside the function that needs it"


def own_top_imports(path: Path) -> set[str]:
    """Return the floors that importing a module imports."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    at_the_top = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    return own_imports(ast.Module(at_the_top, type_ignores=[]))


def test_these_floors_and_no_others_load_keras_when_imported():
    imports = {floor: set[str]() for floor in FLOORS}
    for path in modules():
        imports[floor_of(dotted_name(path))] |= own_top_imports(path)
    loads = {"backend"}
    while more := {floor for floor, imported in imports.items() if imported & loads} - loads:
        loads |= more
    assert loads == LOADS_KERAS | {"backend"}


def test_the_reader_of_imports_sees_all_kinds():
    source = """
import keras.layers
from emogram import audio, __version__
from emogram.corpora.ravdess import read
if TYPE_CHECKING:
    import torch
    from emogram.records import Clip
try:
    import jax
except ImportError:
    pass
def function():
    import tensorflow
    import emogram.plots
"""
    assert own_imports(ast.parse(source)) == {"audio", "corpora", "records", "plots"}
    assert top_imports(ast.parse(source).body) == {"keras", "jax", "emogram"}

"""The notebooks run from beginning to end, in their order, and are kept without outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="the notebooks need nbclient and ipykernel")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))

# zmq and Jupyter's client look for an event loop in a way that newer Pythons warn of.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:(jupyter_client|zmq|nbclient|tornado).*")


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.cells[0].cell_type == "markdown"
    for cell in notebook.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None


@pytest.mark.slow
def test_all_run_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run them in one kernel, which takes seconds to start; each begins without the names of the others."""
    monkeypatch.setenv("EMOGRAM_CACHE", str(tmp_path / "cache"))
    together = nbformat.v4.new_notebook()
    for path in NOTEBOOKS:
        together.cells += [*read(path).cells, nbformat.v4.new_code_cell("%reset -f")]
    nbclient.NotebookClient(together, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    pictures = [
        output for cell in together.cells for output in cell.get("outputs", ()) if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 6  # two of the first, one of the second, two of the third, one of the fourth
    assert (tmp_path / "run" / "model" / "model.onnx").is_file()

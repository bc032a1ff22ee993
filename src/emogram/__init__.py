"""Speech emotion recognition from spectrograms: train, judge honestly, and use.

import emogram

model = emogram.load()  # the model inside the package; or a model folder, or a run folder
print(model.predict("clip.wav").label)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "Classifier",
    "Client",
    "Clip",
    "EmogramError",
    "Explanation",
    "Prediction",
    "__version__",
    "analyze",
    "explain",
    "load",
    "score",
    "to_dataframe",
]

# Resolved when first asked for, so that `import emogram` costs nothing.
_HOMES = {
    "AsyncClient": "emogram.client",
    "Client": "emogram.client",
    "Classifier": "emogram.classifier",
    "Clip": "emogram.records",
    "EmogramError": "emogram.errors",
    "Explanation": "emogram.records",
    "Prediction": "emogram.records",
    "analyze": "emogram.timeline",
    "explain": "emogram.explanations",
    "score": "emogram.archive",
    "to_dataframe": "emogram.writers",
}

if TYPE_CHECKING:
    from pathlib import Path

    from emogram.archive import score
    from emogram.classifier import Classifier
    from emogram.client import AsyncClient, Client
    from emogram.errors import EmogramError
    from emogram.explanations import explain
    from emogram.records import Clip, Explanation, Prediction
    from emogram.timeline import analyze
    from emogram.writers import to_dataframe
else:  # hidden from type checkers, for which every misspelt name would otherwise exist

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'emogram' has no attribute '{name}'")
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)


def load(path: str | Path = "shipped", *, threads: int = 1, shifts: int = 1) -> Classifier:
    """Load a model for prediction; see `Classifier.load`.

    Args:
        path: A model folder, a run folder that holds it as `model/`, "shipped", the model inside the package,
            or "hf://owner/name[@revision]", one on the Hugging Face Hub.
        threads: Number of processor threads for one prediction, >= 1.
        shifts: Number of shifts in time that every answer is averaged over, 1 to 9.

    Raises:
        ModelError: The model is missing, damaged, of a newer format, or unusable.
    """
    from emogram.classifier import Classifier

    return Classifier.load(path, threads=threads, shifts=shifts)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})

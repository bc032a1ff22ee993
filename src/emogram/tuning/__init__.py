"""Settings that do well on validation speakers, searched by Optuna: `tune`."""

from __future__ import annotations

from emogram.tuning.folds import Fold, folds_of
from emogram.tuning.report import TuningResult
from emogram.tuning.running import tune
from emogram.tuning.space import DEFAULT_SPACE, Choices, Range, SearchSpace, read_space

__all__ = [
    "DEFAULT_SPACE",
    "Choices",
    "Fold",
    "Range",
    "SearchSpace",
    "TuningResult",
    "folds_of",
    "read_space",
    "tune",
]

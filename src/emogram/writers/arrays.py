"""Explanations -> arrays that NumPy reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emogram.files import writing
from emogram.records import Explanation


def write_explanation(path: Path, explanation: Explanation) -> None:
    """Write an explanation as .npz.

    Arrays: "maps", "labels", "scores" (of these labels), "times_s", "frequencies_hz", "spectrogram" and "method", as
    `Explanation` describes them.

    Raises:
        OutputError: The file cannot be written.
    """
    with writing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            maps=explanation.maps,
            labels=np.array(explanation.labels),
            scores=np.array([explanation.prediction.scores[label] for label in explanation.labels]),
            times_s=explanation.times_s,
            frequencies_hz=explanation.frequencies_hz,
            spectrogram=explanation.spectrogram,
            method=np.array(explanation.method),
        )

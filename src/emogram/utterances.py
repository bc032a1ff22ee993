"""The steps of one spoken part and what was said of its windows -> what the whole of it comes to, the moment it ends.

A timeline waits: a label may yet be changed by what comes seconds later, and lasts over pauses. Who talks with somebody
cannot wait so long. So each spoken part is also smoothed by itself, as if nothing came before it or after.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from emogram.calibration import soften
from emogram.metrics import MIN_PROBABILITY
from emogram.smoothing import Smoother, Stretch
from emogram.windowing import Step


@dataclass(frozen=True)
class SpokenPart:
    """What a spoken part comes to.

    Attributes:
        start_s: Start in the stream in seconds.
        end_s: End in the stream in seconds.
        scores: Mean log-probabilities over its stretches, made to sum to 1, shape (n_labels,); None without stretches.
        speech_ratio: Share of it in which somebody speaks.
        stretches: Its stretches of one label; none where too little was said to be judged.
        values: Mean dimensions over its stretches, shape (n_dimensions,).
    """

    start_s: float
    end_s: float
    scores: npt.NDArray[np.float64] | None
    speech_ratio: float
    stretches: tuple[Stretch, ...]
    values: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


class SpokenParts:
    """Follows the steps of one `Windowing`."""

    def __init__(self, smoother: Smoother) -> None:
        """Begin at the first part, with a smoother of its own."""
        self._smoother = smoother
        self._stretches: list[Stretch] = []
        self._n_spoken = 0  # chunks
        self._n_told = 0

    def add(self, step: Step, probabilities: npt.ArrayLike | None, values: npt.ArrayLike = ()) -> SpokenPart | None:
        """Take a step, as `Smoother.add` does, and return the part that it ends."""
        if step.over:
            return None
        length = len(step.spoken) if step.end is None else step.end - step.part - self._n_told
        self._n_spoken += sum(step.spoken[: max(0, length)])  # beyond the end nobody speaks
        self._n_told += len(step.spoken)
        self._stretches += self._smoother.add(step, probabilities, values)
        if step.end is None:
            return None
        self._stretches += self._smoother.add(replace(step, spoken=b"", window=None, end=None, over=True), None)
        stretches, self._stretches = tuple(self._stretches), []
        ratio = self._n_spoken / (step.end - step.part)
        self._n_spoken = self._n_told = 0
        start_s, end_s = step.seconds(step.part), step.seconds(step.end)
        if not stretches:
            return SpokenPart(start_s, end_s, None, ratio, stretches)
        scores, means = _together(stretches)
        return SpokenPart(start_s, end_s, scores, ratio, stretches, means)


def _together(stretches: tuple[Stretch, ...]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the scores and the dimensions over all of some stretches."""
    lengths = np.array([each.end_s - each.start_s for each in stretches])
    shares = lengths / lengths.sum()
    logs = np.log(np.maximum([each.scores for each in stretches], MIN_PROBABILITY))
    scores = soften(np.exp(lengths @ logs / lengths.sum()), 1.0) if logs.size else np.zeros(0)
    return scores, shares @ np.array([each.values for each in stretches])

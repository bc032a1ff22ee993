"""Overlapping windows with scores -> stretches of one label.

Each part is cut into cells of half a hop. A cell's score is the mean log-probability over all windows that cover it: a
product of experts. Along the cells of a part the best path pays `switch_cost` for each change of label (A. Viterbi,
"Error bounds for convolutional codes and an asymptotically optimum decoding algorithm", IEEE Trans. Information Theory
13 (1967), 260-269) and earns the log-probability of its label, for as many seconds as it stays. It goes on over a pause
of up to `bridge_s`, where a change costs `pause_cost`, since people change their tone between sentences rather than in
one. A label is settled `lag_s` later at the latest, so that a stream and a file get the same answer.

The scores of a segment are the mean log-probabilities over its time, made to sum to 1. Inside one part the label of the
best path is also the most probable by them: were another more probable over the whole segment, the path would earn more
there. Where the parts before and after speak for a label, it may be the most probable of them together only.
Unsmoothed, a cell has the scores of the one window whose middle is nearest, and its most probable label.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from emogram.calibration import soften
from emogram.metrics import MIN_PROBABILITY
from emogram.speech import CHUNK_S
from emogram.windowing import Grid, Step

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Stretch:
    """What a segment will be made of.

    Attributes:
        start_s: Start in the stream in seconds.
        end_s: End in the stream in seconds.
        label: Index of the label.
        scores: Probabilities, shape (n_labels,).
        speech_ratio: Share of the stretch in which somebody speaks.
        values: Dimensions, the mean over the stretch, shape (n_dimensions,).
    """

    start_s: float
    end_s: float
    label: int
    scores: FloatArray
    speech_ratio: float
    values: FloatArray = field(default_factory=lambda: np.zeros(0))


@dataclass
class _Cell:
    """A stretch with one answer: half a hop, or what was joined of such.

    Attributes:
        start: First chunk.
        end: The chunk after the last.
        logs: Mean log-probabilities, shape (n_labels,).
        spoken: Chunks in which somebody speaks.
        values: Mean dimensions, shape (n_dimensions,).
    """

    start: int
    end: int
    logs: FloatArray
    spoken: int
    values: FloatArray = field(default_factory=lambda: np.zeros(0))

    @property
    def length(self) -> int:
        return self.end - self.start

    def join(self, other: _Cell) -> None:
        """Take in the cell that follows."""
        self.logs = (self.logs * self.length + other.logs * other.length) / (self.length + other.length)
        self.values = (self.values * self.length + other.values * other.length) / (self.length + other.length)
        self.end = other.end
        self.spoken += other.spoken


class BestPath:
    """The labels of cells along which a change costs something, each settled after `lag` more cells at the latest."""

    def __init__(self, switch_cost: float, lag: int, *, pause_cost: float = 0.0) -> None:
        self._cost = switch_cost
        self._pause_cost = pause_cost
        self._lag = lag
        self._end: int | None = None  # of the last cell
        self._gain: FloatArray | None = None
        self._cells: deque[tuple[_Cell, list[int]]] = deque()

    def add(self, cell: _Cell) -> Iterator[tuple[_Cell, int]]:
        """Take the next cell and yield those that are settled by it, with their labels."""
        earned = cell.logs * (cell.length * CHUNK_S)
        came_from = np.arange(len(earned))
        if self._gain is not None:
            cost = self._cost if cell.start == self._end else self._pause_cost
            best = int(self._gain.argmax())
            changes = self._gain < self._gain[best] - cost
            came_from[changes] = best
            earned = earned + np.maximum(self._gain, self._gain[best] - cost)
        self._gain = earned - earned.max()  # only differences count, and a sum over hours would lose digits
        self._end = cell.end
        self._cells.append((cell, came_from.tolist()))
        if len(self._cells) > self._lag:
            label = self._path()[0]
            settled, _ = self._cells.popleft()
            yield settled, label

    def finish(self) -> Iterator[tuple[_Cell, int]]:
        """Yield the cells that are left; the path ends."""
        if self._cells:
            for (cell, _), label in zip(self._cells, self._path(), strict=True):
                yield cell, label
        self._cells.clear()
        self._gain = None

    def _path(self) -> list[int]:
        assert self._gain is not None
        path = [int(self._gain.argmax())]
        for index in range(len(self._cells) - 1, 0, -1):
            path.append(self._cells[index][1][path[-1]])
        return path[::-1]


class MostProbable:
    """The most probable label of each cell."""

    def add(self, cell: _Cell) -> Iterator[tuple[_Cell, int]]:
        """Yield the cell with its label."""
        yield cell, int(cell.logs.argmax())

    def finish(self) -> Iterator[tuple[_Cell, int]]:
        """Nothing waits."""
        return iter(())


class Smoother:
    """Takes the steps of one `Windowing` with the scores of their windows, and gives stretches of one label."""

    def __init__(
        self,
        grid: Grid,
        *,
        n_labels: int,
        smooth: bool,
        switch_cost: float,
        pause_cost: float = 0.0,
        n_dimensions: int = 0,
    ) -> None:
        """Begin at the first part.

        Args:
            grid: That of the `Windowing`.
            n_labels: Number of labels. Without any, what is spoken without a pause is one stretch.
            smooth: Average over the windows and find the best path.
            switch_cost: What a change of label costs on it, in nats.
            pause_cost: The same where a pause lies between.
            n_dimensions: Number of dimensions, which are averaged as the log-probabilities are.
        """
        self._grid = grid
        self._n_labels = n_labels
        self._n_tracks = max(1, n_labels)  # without labels all is as if there were one, which is always right
        self._smooth = smooth
        self._path = BestPath(switch_cost, grid.lag, pause_cost=pause_cost) if smooth else MostProbable()
        n_cells = grid.window // grid.cell
        self._sums = np.zeros((n_cells, self._n_tracks + n_dimensions))  # of the cells that a window may yet cover
        self._weights = np.zeros(n_cells)  # by how many windows they are covered, or how near the nearest is
        self._spoken = bytearray()
        self._part: int | None = None
        self._from = 0  # the first of them
        self._joined: tuple[_Cell, int] | None = None  # the stretch that may go on, and its label

    def add(self, step: Step, probabilities: npt.ArrayLike | None, values: npt.ArrayLike = ()) -> Iterator[Stretch]:
        """Take a step, with what was said of its window, and yield what is settled by it.

        Args:
            step: The step.
            probabilities: Shape (n_labels,); None where it has no window.
            values: Dimensions, shape (n_dimensions,).
        """
        if step.over:
            yield from self._break(step)
            return
        if self._part != step.part:
            self._part = self._from = step.part
        self._spoken += step.spoken
        if probabilities is not None:
            assert step.window is not None
            logs = np.log(np.maximum(np.asarray(probabilities, np.float64), MIN_PROBABILITY))
            tracks = logs if self._n_labels else np.zeros(1)
            self._cover(*step.window, np.concatenate([tracks, np.asarray(values, np.float64)]))
        settled = step.next_start if step.end is None else step.end
        while self._from < settled:
            yield from self._settle(min(self._from + self._grid.cell, settled), step)
        if step.end is not None:
            if not self._smooth:
                yield from self._break(step)
            self._spoken.clear()
            self._sums[:], self._weights[:] = 0.0, 0.0
            self._part = None

    def _cover(self, start: int, end: int, logs: FloatArray) -> None:
        cell = self._grid.cell
        covered = slice((start - self._from) // cell, -(-(end - self._from) // cell))
        if self._smooth:
            self._sums[covered] += logs
            self._weights[covered] += 1.0
            return
        middles = self._from + (np.arange(len(self._weights))[covered] + 0.5) * cell
        nearness = 1.0 / (1.0 + np.abs(middles - (start + end) / 2.0))
        nearer = covered.start + np.flatnonzero(nearness > self._weights[covered])
        self._sums[nearer] = logs
        self._weights[nearer] = nearness[nearer - covered.start]

    def _settle(self, end: int, step: Step) -> Iterator[Stretch]:
        """No window to come covers the first cell any more."""
        length = end - self._from
        if self._weights[0] > 0.0:
            means = self._sums[0] / (self._weights[0] if self._smooth else 1.0)
            logs, values = means[: self._n_tracks], means[self._n_tracks :]
            cell = _Cell(self._from, end, logs, sum(self._spoken[:length]), values)
            yield from self._labelled(self._path.add(cell), step)
        else:  # no window with enough speech
            yield from self._break(step)
        self._from = end
        del self._spoken[:length]
        self._sums[:-1], self._weights[:-1] = self._sums[1:].copy(), self._weights[1:].copy()
        self._sums[-1], self._weights[-1] = 0.0, 0.0

    def _labelled(self, cells: Iterator[tuple[_Cell, int]], step: Step) -> Iterator[Stretch]:
        for cell, label in cells:
            if self._joined is not None and self._joined[1] == label and self._joined[0].end == cell.start:
                self._joined[0].join(cell)
                continue
            yield from self._end(step)
            self._joined = (cell, label)

    def _break(self, step: Step) -> Iterator[Stretch]:
        yield from self._labelled(self._path.finish(), step)
        yield from self._end(step)

    def _end(self, step: Step) -> Iterator[Stretch]:
        if self._joined is not None:
            cell, label = self._joined
            self._joined = None
            start_s, end_s = step.seconds(cell.start), step.seconds(cell.end)
            scores = soften(np.exp(cell.logs), 1.0) if self._n_labels else np.zeros(0)
            yield Stretch(start_s, end_s, label, scores, cell.spoken / cell.length, cell.values)

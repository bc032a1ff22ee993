"""How cost grows with what there is to do: time and memory over sizes, as rows and as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.paired import figure
from emogram.errors import EmogramError
from emogram.plots.style import BLUE, GREY, INK, VERMILION, add_legend, new_figure, save, style_axes


@dataclass(frozen=True)
class Growth:
    """What each size of a task took.

    Attributes:
        what: Such as "a recording analysed".
        unit: What the sizes count, such as "minutes".
        sizes: Ascending, > 0.
        seconds: What each took, by the processor or the clock, as `clock` says.
        peak_mb: The most memory each held.
        linear: Time should grow with the size; else it should stay as it is.
        clock: "processor seconds" or "seconds".
    """

    what: str
    unit: str
    sizes: tuple[float, ...]
    seconds: tuple[float, ...]
    peak_mb: tuple[float, ...]
    linear: bool = True
    clock: str = "processor seconds"

    def __post_init__(self) -> None:
        """Refuse what is no curve."""
        lengths = {len(self.sizes), len(self.seconds), len(self.peak_mb)}
        if len(lengths) != 1 or not self.sizes or sorted(self.sizes) != list(self.sizes) or min(self.sizes) <= 0:
            raise EmogramError(f"{self.what}: expected ascending sizes, with a time and a memory for each")

    def exponent(self) -> float:
        """Return p of time = start + b * size**p by the two largest sizes: 1 is linear, 0 is flat; NaN for one size.

        What a start costs is where the line through the two smallest sizes meets size 0. It is taken off where time
        should grow, and there are three sizes or more.
        """
        if len(self.sizes) < 2:
            return math.nan
        start = 0.0
        if self.linear and len(self.sizes) > 2:
            slope = (self.seconds[1] - self.seconds[0]) / (self.sizes[1] - self.sizes[0])
            start = max(0.0, self.seconds[0] - slope * self.sizes[0])
        before, last = (max(second - start, 1e-9) for second in self.seconds[-2:])
        return math.log(last / before) / math.log(self.sizes[-1] / self.sizes[-2])

    def rows(self) -> tuple[tuple[str, ...], ...]:
        """Return the cells of a table: size, seconds, milliseconds for each unit, memory."""
        return tuple(
            (f"{size:,g}", figure(seconds), figure(1e3 * seconds / size), f"{peak:.0f}")
            for size, seconds, peak in zip(self.sizes, self.seconds, self.peak_mb, strict=True)
        )

    def header(self) -> tuple[str, ...]:
        """Return the names of the columns of `rows`."""
        return (self.unit, self.clock, f"ms for each of the {self.unit}", "peak memory MB")


def draw(growths: Sequence[Growth], path: Path) -> None:
    """Write a picture: for each growth the time above, with the slope it should have, and the memory below."""
    whole = new_figure(
        3.3 * max(len(growths), 2),
        4.4,
        "How cost grows",
        "Above: time, and dashed what would be proportional to the size (or constant), through the largest. "
        "Below: the most memory held.",
    )
    grid = whole.subplots(2, len(growths), squeeze=False, sharex="col")
    for (above, below), growth in zip(grid.T, growths, strict=True):
        sizes, seconds = np.asarray(growth.sizes), np.asarray(growth.seconds)
        ideal = seconds[-1] * (sizes / sizes[-1] if growth.linear else np.ones(len(sizes)))
        above.plot(sizes, ideal, "--", color=GREY, lw=1.0, label="proportional" if growth.linear else "constant")
        above.plot(sizes, seconds, "o-", color=BLUE, ms=4, lw=1.5, label="measured")
        above.set_xscale("log")
        above.set_yscale("log")
        above.set_title(growth.what, size=9.0, color=INK, loc="left", pad=18.0)
        above.set_ylabel(growth.clock)
        below.plot(sizes, growth.peak_mb, "o-", color=VERMILION, ms=4, lw=1.5)
        below.set_ylim(0.0, 1.25 * max(growth.peak_mb))
        below.set_ylabel("peak memory (MB)")
        below.set_xlabel(growth.unit)
        style_axes(above, grid="both")
        style_axes(below, grid="both")
        add_legend(whole, above)
    save(whole, path)

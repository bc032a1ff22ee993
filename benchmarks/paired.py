"""Two ways to do one thing, run by turns, and how much faster one is than the other.

A machine that others share is now fast and now slow. What runs alternately meets the same weather, so that the ratio of
two runs that follow each other holds where neither time does.
"""

from __future__ import annotations

import math
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emogram.errors import EmogramError


@dataclass(frozen=True)
class Took:
    """What one run took.

    Attributes:
        wall_s: Seconds from start to end.
        cpu_s: Seconds that processors worked for it, in all its threads and processes.
        peak_mb: The most memory it held, resident; NaN for a function of this process, which shares it with the rest.
        output: What a command wrote to stdout, or what a function returned.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float = math.nan
    output: Any = None


@dataclass(frozen=True)
class Ratio:
    """How many times longer one side takes than the other.

    Attributes:
        median: Ratio of the medians of both.
        low: First quartile of the ratios of pairs.
        high: Third quartile.
        n: How many pairs.
    """

    median: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        """Return such as "4.2 (4.0–4.5)"."""
        return f"{figure(self.median)} ({figure(self.low)}–{figure(self.high)})"


Side = Callable[[], Took]


def called(function: Callable[[], Any]) -> Side:
    """Return a side that calls a function of this process."""

    def run() -> Took:
        cpu_s, wall_s = _cpu_s(), time.perf_counter()
        output = function()
        return Took(time.perf_counter() - wall_s, _cpu_s() - cpu_s, output=output)

    return run


def alternate(
    sides: Mapping[str, Side], *, rounds: int, warm_up: bool = True, say: Callable[[str], None] | None = None
) -> dict[str, list[Took]]:
    """Run the sides by turns, each `rounds` times; every second round backwards, so that none is always first.

    Args:
        sides: What to run, by name; see `called` and `processes.command`.
        rounds: How often each counts.
        warm_up: Run each once before, uncounted: files are then in memory, and what is made once is made.
        say: Is told of each round; by default a line on stderr.

    Returns:
        What each took, in the order of the rounds: runs of the same place belong together.
    """
    say = say or (lambda line: print(line, file=sys.stderr))
    if warm_up and rounds > 1:  # one round only tries
        for side in sides.values():
            side()
    took: dict[str, list[Took]] = {name: [] for name in sides}
    for turn in range(rounds):
        for name in list(sides) if turn % 2 == 0 else reversed(list(sides)):
            took[name].append(sides[name]())
        last = ", ".join(f"{name} {figure(runs[-1].wall_s)} s" for name, runs in took.items())
        say(f"round {turn + 1} of {rounds}: {last}")
    return took


def times_longer(slow: Sequence[Took], fast: Sequence[Took], by: str = "wall_s") -> Ratio:
    """Return how many times longer `slow` took than `fast`, pair by pair; `by` is "wall_s", "cpu_s" or "peak_mb".

    Raises:
        EmogramError: There are no pairs, or a run took no time that can be measured.
    """
    pairs = [(getattr(a, by), getattr(b, by)) for a, b in zip(slow, fast, strict=True)]
    if not pairs or min(b for _, b in pairs) <= 0.0:
        raise EmogramError("too short to be measured; run more at once")
    ratios = [a / b for a, b in pairs]
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return Ratio(statistics.median(a for a, _ in pairs) / statistics.median(b for _, b in pairs), low, high, len(pairs))


def median(runs: Sequence[Took], by: str = "wall_s") -> float:
    """Return the median of what runs took."""
    return statistics.median(getattr(one, by) for one in runs)


def must_agree(what: str, difference: float, at_most: float) -> str:
    """Return a note of how far the sides lie apart.

    Raises:
        EmogramError: Further than `at_most`: they do not compute the same thing, and their times say nothing.
    """
    if not difference <= at_most:  # NaN is no agreement
        raise EmogramError(
            f"{what} differ by {difference:.3g}, more than {at_most:g}: the sides compute different things"
        )
    return f"{what} differ by {difference:.2g} at the most."


def figure(value: float) -> str:
    """Return a number to three digits, without an exponent: "1234", "12.3", "0.0123"."""
    if not math.isfinite(value) or value == 0.0:
        return f"{value:g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def _cpu_s() -> float:
    """Return what this process, and those of its children that have ended, worked."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def load() -> float:
    """Return how many processes wanted to run in the last minute; 0 where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0

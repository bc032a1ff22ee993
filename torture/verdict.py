"""What a door reports: each figure that was asked for, what was measured, and whether it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One figure: its name, the figure asked for and the measured one as they are printed, and whether it is met."""

    name: str
    asked: str
    measured: str
    met: bool


def at_most(name: str, measured: float, limit: float, *, unit: str = "") -> Figure:
    """A figure that must not be above `limit`; NaN, nothing measured, misses it."""
    return Figure(name, f"at most {limit:g}{unit}", f"{measured:.4g}{unit}", measured <= limit)


def equal(name: str, measured: object, wanted: object) -> Figure:
    """A figure that must be exactly this."""
    return Figure(name, str(wanted), str(measured), measured == wanted)


@dataclass(frozen=True)
class Verdict:
    """All figures of a run of a door, what it counted on the way, and sentences about what was found."""

    figures: Sequence[Figure]
    counts: Mapping[str, object] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def met(self) -> bool:
        """Whether there are figures, and all of them hold."""
        return bool(self.figures) and all(figure.met for figure in self.figures)

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "met": self.met,
            "figures": [asdict(figure) for figure in self.figures],
            "counts": dict(self.counts),
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """Return what a person reads."""
        return [
            *(
                f"  {'met   ' if figure.met else 'MISSED'}  {figure.name}: {figure.measured} (asked: {figure.asked})"
                for figure in self.figures
            ),
            *(f"          {name}: {count}" for name, count in self.counts.items()),
            *(f"  note    {note}" for note in self.notes),
        ]

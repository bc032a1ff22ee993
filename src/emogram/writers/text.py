"""What all writers share: how numbers, times and names are written, and CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from emogram.files import writing


def write_csv(path: Path, header: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    """Write a table, all or nothing, in UTF-8.

    Raises:
        OutputError: The file cannot be written.
    """
    with writing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(lines)


def number_text(value: float) -> str:
    """Write a number in six significant digits, a whole one without a point and in full."""
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def known_text(value: float) -> str:
    """Write a number as `number_text`, and nothing where it is not known (NaN)."""
    return "" if math.isnan(value) else number_text(value)


def rounded(value: float) -> float:
    """Return a number as `number_text` writes it."""
    return float(number_text(value))


def known(value: float) -> float | None:
    """Return a number as `number_text` writes it, and None where it is not known (NaN)."""
    return None if math.isnan(value) else rounded(value)


def to_milliseconds(seconds: float) -> int:
    """Return a time as every file of a timeline has it: in whole milliseconds, so that all files agree."""
    return round(1000 * seconds)


def one_line(text: str) -> str:
    """Return text on one line: line breaks, tabs and whatever cannot be printed become spaces."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())

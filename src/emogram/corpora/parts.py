"""The parts into which authors put a corpus, by the many names that they have: train, validation, test."""

from __future__ import annotations

import re
from collections.abc import Iterable

SPLIT = "split"
"""Name in `Clip.extra` of the part that a clip is in, as its authors call it."""

_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "development"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_PART_OF = {name: part for part, names in _NAMES.items() for name in names}


def part_of(split: str) -> str | None:
    """Return which of "train", "validation" and "test" the name of a part means; None where it is another."""
    return _PART_OF.get(split.strip().lower())


def kind_of(split: str) -> str | None:
    """Return the same where the name may have a number behind: "test2" is a test as well."""
    return part_of(re.sub(r"[\W\d_]+$", "", split))


def split_in(folders: Iterable[str]) -> str:
    """Return the first folder that has the name of a part, perhaps with a number behind; "" where none has."""
    return next((name for name in folders if kind_of(name)), "")

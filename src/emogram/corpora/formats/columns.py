"""What formats have to say of a clip beside its sound: columns, numbers among them, and parts of a corpus."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Sequence

from emogram.corpora.parts import SPLIT
from emogram.records import DIMENSION_NAMES, Clip


def by_split(clips: Sequence[Clip], *, without: str) -> dict[str, list[Clip]]:
    """Return the clips of each part, as `Clip.extra` names it, in the order in which parts come first.

    Args:
        clips: The clips.
        without: Name for the clips of no part.
    """
    parts: dict[str, list[Clip]] = {}
    for clip in clips:
        parts.setdefault(clip.extra.get(SPLIT) or without, []).append(clip)
    return parts


def text_columns(clip: Clip, names: Collection[str]) -> dict[str, str]:
    """Return speaker, corpus and those of `Clip.extra` that are named, "" where a clip has none."""
    return {"speaker": clip.speaker or "", "corpus": clip.corpus, **{name: clip.extra.get(name, "") for name in names}}


def extra_names(clips: Sequence[Clip], reserved: Collection[str]) -> tuple[list[str], list[str]]:
    """Return which names of `Clip.extra` become columns, in the order they come, and a line for each that cannot.

    Args:
        clips: The clips.
        reserved: Columns that mean something of their own in a format; without regard to case.
    """
    names = list(dict.fromkeys(name for clip in clips for name in clip.extra))
    taken = {"speaker", "corpus", *reserved}
    lost = [f"the column '{name}': the format has one of that name" for name in names if name.lower() in taken]
    return [name for name in names if name.lower() not in taken], lost


def number_names(clips: Sequence[Clip]) -> list[str]:
    """Return which of `DIMENSION_NAMES` some clips have, and only as numbers."""
    return [
        name
        for name in DIMENSION_NAMES
        if (texts := [clip.extra[name] for clip in clips if clip.extra.get(name)])
        and all(as_number(text) is not None for text in texts)
    ]


def as_number(text: str) -> float | None:
    """Return a finite number; None where the text is none."""
    with contextlib.suppress(ValueError):
        value = float(text)
        if math.isfinite(value):
            return value
    return None

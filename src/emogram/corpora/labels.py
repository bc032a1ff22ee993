"""The names of emotions: eight canonical ones, the many ways to write them, and an order for any set."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

EMOTIONS = ("angry", "calm", "disgust", "fearful", "happy", "neutral", "sad", "surprised")

_VARIANTS = {
    "angry": "anger ang",
    "calm": "calmness",
    "disgust": "disgusted dis",
    "fearful": "fear fearfull scared afraid frightened fea",
    "happy": "happiness joy joyful hap",
    "neutral": "neu",
    "sad": "sadness",
    "surprised": "surprise suprise suprised sur ps pleasantsurprise pleasantsurprised",
}
_CANONICAL = {spelling: label for label, others in _VARIANTS.items() for spelling in (label, *others.split())}

# Words that people put beside the emotion in the name of a folder; OAF and YAF are the speakers in TESS's folders.
_DECORATION = frozenset(
    {"audio", "clip", "clips", "files", "images", "oaf", "samples", "spectrograms", "speech", "voice", "wav", "yaf"}
)


@lru_cache(maxsize=4096)
def canonical_label(name: str) -> str | None:
    """Return which of `EMOTIONS` a name means, or None.

    Case, digits, punctuation and words such as "clips" are ignored: "Fear", "01-angry", "Angry_clips", "ps" and
    "Pleasant Surprise" are understood. "not angry" or "male_angry" is a label of its own, hence None.
    """
    words = [word for word in re.findall(r"[^\W\d_]+", name.casefold()) if word not in _DECORATION]
    return _CANONICAL.get("".join(words))


def unify_labels(names: Iterable[str]) -> dict[str, str]:
    """Map each name to its label: the canonical one, else the name as it stands.

    Names outside the eight that differ by case or spaces only become one label, spelt as the first of them.
    """
    first_spelling: dict[str, str] = {}
    labels = {}
    for name in names:
        tidy = " ".join(name.split())
        labels[name] = canonical_label(tidy) or first_spelling.setdefault(tidy.casefold(), tidy)
    return labels


def order_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct labels: canonical ones in canonical order, then the others alphabetically."""
    distinct = set(labels)
    return (*(label for label in EMOTIONS if label in distinct), *sorted(distinct.difference(EMOTIONS)))

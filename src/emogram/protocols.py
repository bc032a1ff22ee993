"""The named ways to measure accuracy, and what must be said with each figure."""

from __future__ import annotations

from dataclasses import dataclass

from emogram.errors import SettingsError
from emogram.nearby import unknown

RANDOM_WARNING = (
    "random split, speakers shared: the same voices stand in training and validation, so the figure is inflated and "
    "says nothing about voices never heard"
)


@dataclass(frozen=True)
class Fold:
    """Which speakers judge and which choose; the rest trains."""

    test: tuple[str, ...]
    validation: tuple[str, ...]


@dataclass(frozen=True)
class Protocol:
    """A published way to part a corpus.

    Attributes:
        name: What users call it.
        corpus: The corpus it is made for; None for any.
        folds: Speakers of each fold; empty where clips are parted at random.
        random_share: Share of clips that validate, where clips are parted at random.
        says: What must stand beside every figure.
        n_clips: Number of clips of the complete corpus; 0 for any.
    """

    name: str
    corpus: str | None
    folds: tuple[Fold, ...]
    random_share: float
    says: str
    n_clips: int = 0


def _actors(*numbers: int) -> tuple[str, ...]:
    return tuple(f"{number:02d}" for number in numbers)


PROTOCOLS: dict[str, Protocol] = {
    # Test folds: C. Luna-Jimenez et al., "Multimodal emotion recognition on RAVDESS dataset using transfer learning",
    # Sensors 21 (2021), 7665. Validation actors: ours, chosen once.
    "ravdess-si5": Protocol(
        name="ravdess-si5",
        corpus="ravdess",
        folds=(
            Fold(test=_actors(2, 5, 14, 15, 16), validation=_actors(3, 6)),
            Fold(test=_actors(3, 6, 7, 13, 18), validation=_actors(10, 11)),
            Fold(test=_actors(10, 11, 12, 19, 20), validation=_actors(8, 17)),
            Fold(test=_actors(8, 17, 21, 23, 24), validation=_actors(1, 14)),
            Fold(test=_actors(1, 4, 9, 22), validation=_actors(2, 5)),
        ),
        random_share=0.0,
        says="RAVDESS-SI5: five folds by actor, test actors never trained on nor used to choose",
        n_clips=1440,
    ),
    "random80": Protocol(name="random80", corpus=None, folds=(), random_share=0.2, says=f"RANDOM80: {RANDOM_WARNING}"),
}


def find_protocol(name: str) -> Protocol:
    """Return the protocol of that name.

    Raises:
        SettingsError: There is none; the message lists those there are.
    """
    if name not in PROTOCOLS:
        raise SettingsError(unknown("protocol", name, PROTOCOLS))
    return PROTOCOLS[name]

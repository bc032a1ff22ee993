"""Numbers that corpora tell of their clips, such as arousal -> one scale from 0 to 1, which a network learns.

Each corpus has a scale of its own: IEMOCAP asks people for 1 to 5 and MSP-Podcast for 1 to 7. A network learns 0 for
the lower end and 1 for the upper one, and a model tells its answers on the scale that it was trained on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emogram.calibration import on_scale
from emogram.config import Dimension
from emogram.corpora import CORPORA
from emogram.dataset import Dataset, Indices
from emogram.errors import CorpusError, SettingsError
from emogram.records import DIMENSION_NAMES, Clip

FloatArray = npt.NDArray[np.float64]

TOLERANCE = 1e-6  # of a scale: a number written with few digits may lie beyond its end by that


@dataclass(frozen=True)
class Scales:
    """On which scale the numbers stand.

    Attributes:
        told: The dimensions of a model, each with the scale on which it tells them.
        by_corpus: Name of a corpus -> the same dimensions, each with the scale of that corpus.
        warnings: What the reader should know.
    """

    told: tuple[Dimension, ...]
    by_corpus: Mapping[str, tuple[Dimension, ...]]
    warnings: tuple[str, ...] = ()

    def unit(self, dataset: Dataset) -> FloatArray:
        """Return the numbers of all clips, the ends of the scale of each one's corpus being 0 and 1.

        Returns:
            Shape (n_clips, n_dimensions); NaN where a clip has no number.
        """
        low = np.asarray([[each.low for each in self.by_corpus[clip.corpus]] for clip in dataset.clips])
        high = np.asarray([[each.high for each in self.by_corpus[clip.corpus]] for clip in dataset.clips])
        values: FloatArray = (numbers_of(dataset.clips, dataset.dimensions) - low) / (high - low)
        return values

    def as_told(self, dataset: Dataset) -> FloatArray:
        """Return the numbers of all clips on the scale of the model; shape and NaN as of `unit`."""
        return on_scale(self.unit(dataset), self.told)


NO_SCALES = Scales((), {})
"""Where no dimensions are learnt."""


def numbers_of(clips: Sequence[Clip], names: Sequence[str]) -> FloatArray:
    """Return what the corpus tells of each clip, on its own scale.

    Returns:
        Shape (n_clips, n_names); NaN where it tells nothing.

    Raises:
        CorpusError: It tells something else than a number.
    """
    return np.asarray([[_number(clip, name) for name in names] for clip in clips], dtype=np.float64).reshape(
        len(clips), len(names)
    )


def _number(clip: Clip, name: str) -> float:
    text = clip.extra.get(name, "")
    if not text or text.lower() in ("nan", "na", "n/a", "none", "null"):
        return math.nan
    try:
        number = float(text)
    except ValueError:
        number = math.inf
    if not math.isfinite(number):
        raise CorpusError(f"{clip.path}: {name} is {text!r}; expected a number, or nothing where there is none")
    return number


def find_dimensions(clips: Sequence[Clip], wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the dimensions that clips have numbers for.

    Args:
        clips: At least one.
        wanted: Those that must be among them; by default those of `records.DIMENSION_NAMES` that are.

    Raises:
        CorpusError: One that is wanted is not there, or none is.
    """
    names = tuple(dict.fromkeys(wanted)) or DIMENSION_NAMES
    there = np.isfinite(numbers_of(clips, names))
    found = tuple(name for place, name in enumerate(names) if there[:, place].any())
    missing = [name for name in names if name not in found] if wanted else []
    if missing or not found:
        raise CorpusError(
            f"no clip has a number for {' or '.join(missing or names)}; a manifest tells them in columns of these names"
        )
    return found


def learn_scales(dataset: Dataset, indices: Indices, *, given: Sequence[float] = ()) -> Scales:
    """Find out on which scales the numbers of a dataset stand.

    Of a known corpus that is its own; of others that which is given, or else from the least to the greatest number of
    their training clips. A model tells its answers on the scale of what it was trained on, and where corpora of several
    scales trained it from 0 to 1.

    Args:
        dataset: All clips, with `dimensions`.
        indices: Those that train.
        given: Both ends of the scale of corpora that are not known to have one; may be empty.

    Raises:
        CorpusError: No training clip has a number for a dimension, or all have the same.
        SettingsError: A number lies beyond the scale that is given.
    """
    corpora = list(dict.fromkeys(clip.corpus for clip in dataset.clips))
    numbers = numbers_of(dataset.clips, dataset.dimensions)
    of_corpus = np.asarray([clip.corpus for clip in dataset.clips])
    trains = np.zeros(len(dataset), dtype=bool)
    trains[indices] = True
    unknown = np.isin(of_corpus, [name for name in corpora if _known(name) is None])
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in corpora}
    told, warnings = [], []
    for place, dimension in enumerate(dataset.dimensions):
        column = numbers[:, place]
        has = np.isfinite(column)
        if not (trains & has).any():
            raise CorpusError(f"no training clip has a number for {dimension}; train without it, or part otherwise")
        learnt = column[trains & has & unknown]
        other = (float(given[0]), float(given[1])) if given else None
        if other is not None:
            _refuse_beyond(dataset, column, unknown & has, dimension, other)
        elif len(learnt):
            other = float(learnt.min()), float(learnt.max())
            if other[0] == other[1]:
                raise CorpusError(f"{dimension} is {other[0]:g} in all training clips; there is nothing to learn")
            warnings.append(
                f"the scale of {dimension} was taken from the training clips, {other[0]:g} to {other[1]:g}; if it is "
                "another, say --dimension-scale"
            )
        scales = {name: _known(name) or other for name in corpora}
        trained = {scales[name] for name in corpora if (trains & has & (of_corpus == name)).any()}
        one = trained.pop() if len(trained) == 1 else None
        low, high = one or (0.0, 1.0)
        told.append(Dimension(name=dimension, low=low, high=high))
        for name in corpora:
            found[name].append(scales[name] or (low, high))
    by_corpus = {name: _dimensions(dataset.dimensions, ends) for name, ends in found.items()}
    return Scales(tuple(told), by_corpus, tuple(warnings))


def scales_of(dataset: Dataset, dimensions: Sequence[Dimension], *, given: Sequence[float] = ()) -> Scales:
    """Find out on which scales the numbers of a dataset stand that a model is to be judged on.

    Of a known corpus that is its own; of others that which is given, or else that of the model.

    Args:
        dataset: All clips, with the dimensions of the model.
        dimensions: Those of the model.
        given: As for `learn_scales`.

    Raises:
        SettingsError: A number lies beyond the scale that is given.
    """
    corpora = list(dict.fromkeys(clip.corpus for clip in dataset.clips))
    unknown = np.asarray([_known(clip.corpus) is None for clip in dataset.clips])
    ends = [(float(given[0]), float(given[1]))] * len(dimensions) if given else [(d.low, d.high) for d in dimensions]
    numbers = numbers_of(dataset.clips, dataset.dimensions)
    warnings = []
    for place, each in enumerate(dimensions):
        column = numbers[:, place]
        if given:
            _refuse_beyond(dataset, column, unknown & np.isfinite(column), each.name, ends[place])
        elif _beyond(column, unknown & np.isfinite(column), ends[place]) is not None:
            warnings.append(
                f"{each.name} lies beyond {each.low:g} to {each.high:g} in some clips, the scale of the model; if the "
                "corpus has another, say --dimension-scale"
            )
    names = [each.name for each in dimensions]
    by_corpus = {}
    for name in corpora:
        known = _known(name)
        by_corpus[name] = _dimensions(names, [known] * len(names) if known else ends)
    return Scales(tuple(dimensions), by_corpus, tuple(warnings))


def _dimensions(names: Sequence[str], ends: Sequence[tuple[float, float]]) -> tuple[Dimension, ...]:
    return tuple(Dimension(name=name, low=low, high=high) for name, (low, high) in zip(names, ends, strict=True))


def _known(corpus: str) -> tuple[float, float] | None:
    return CORPORA[corpus].scale if corpus in CORPORA else None


def _beyond(column: FloatArray, which: npt.NDArray[np.bool_], ends: tuple[float, float]) -> int | None:
    """Return the first of some clips whose number lies beyond a scale; None where none does."""
    margin = TOLERANCE * (ends[1] - ends[0])
    found = np.flatnonzero(which & ((column < ends[0] - margin) | (column > ends[1] + margin)))
    return int(found[0]) if len(found) else None


def _refuse_beyond(
    dataset: Dataset, column: FloatArray, which: npt.NDArray[np.bool_], dimension: str, ends: tuple[float, float]
) -> None:
    index = _beyond(column, which, ends)
    if index is not None:
        raise SettingsError(
            f"{dataset.clips[index].path}: {dimension} is {column[index]:g}, and the scale goes from {ends[0]:g} to "
            f"{ends[1]:g}; give --dimension-scale both ends of the scale that the corpus has"
        )

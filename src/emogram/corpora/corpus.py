"""What a corpus is, and what a corpus with file names of its own has to tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from emogram.corpora.labels import order_labels
from emogram.corpora.origin import ByHand, Download
from emogram.records import Clip

Kind = Literal["audio", "picture"]

UNKNOWN_LICENCE = "unknown"


@dataclass(frozen=True)
class Corpus:
    """Labelled clips that belong together.

    Attributes:
        name: "ravdess", "tess", ...; for class folders and manifests the name of the folder.
        kind: Whether the clips are sound files or spectrogram pictures.
        root: The folder or manifest it was read from.
        clips: Every clip has a label, unless clips without were asked for; sorted by path, then start.
        labels: Labels in order: canonical ones first, then others alphabetically.
        licences: Name of the corpus that clips say they are of -> its licence as best known, for the card of a model.
        warnings: What was left out or looks odd, one line each.
        training_only: Names of the corpora among `licences` whose clips may train and never choose or judge.
    """

    name: str
    kind: Kind
    root: Path
    clips: tuple[Clip, ...]
    labels: tuple[str, ...]
    licences: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    training_only: frozenset[str] = frozenset()

    @property
    def licence(self) -> str:
        """All its licences in one line; "unknown" where none is known."""
        if len(self.licences) > 1:
            return "; ".join(f"{name}: {licence}" for name, licence in self.licences.items())
        return next(iter(self.licences.values()), UNKNOWN_LICENCE)


@dataclass(frozen=True)
class LeftOut:
    """A file that belongs to a corpus but is of no use here.

    Attributes:
        reason: What such files are, to be counted in a warning: "song (vocal channel 02)".
        clip: The clip, where it lacks nothing but a label, and is of use to who learns no labels.
    """

    reason: str
    clip: Clip | None = None


Complete = Callable[[Clip], Clip | LeftOut]


@dataclass(frozen=True)
class Tables:
    """The tables in which a corpus tells its labels, where the names of its files do not.

    Attributes:
        pattern: Matches the end of a table's path below the root, its folders parted by "/".
        read: Tables -> a function that gives a clip what they tell of it; clips without a label are left out.
        where: What the tables are called, for error messages.
    """

    pattern: re.Pattern[str]
    read: Callable[[Sequence[Path]], Complete]
    where: str


@dataclass(frozen=True)
class Naming:
    """A corpus that is known by the names of its files.

    Attributes:
        name: What users call it.
        licence: As best known.
        example: The name of one file, for error messages.
        parse: Path -> its clip, or `LeftOut`, or None where the name is not of this corpus. Only names count, and not
            the suffix; the file is not opened. Where there are `tables`, the clip has no label yet.
        language: Code of its language, ISO 639-1.
        speech: What kind of speech it holds, for the card of a model: "acted, Polish".
        citation: What to cite, and whom to name where the licence asks for it.
        n_clips: How many clips its authors publish, without those that `parse` leaves out.
        n_speakers: How many speakers they name; None where they give no number.
        origin: Where it can be had.
        tables: Where its labels stand; None where the names of the files tell them.
        scale: Lower and upper end of the scale of its dimensions; None where it tells none.
    """

    name: str
    licence: str
    example: str
    parse: Callable[[Path], Clip | LeftOut | None]
    language: str
    speech: str
    citation: str
    n_clips: int
    n_speakers: int | None
    origin: Download | ByHand
    tables: Tables | None = None
    scale: tuple[float, float] | None = None


def make_corpus(
    clips: Iterable[Clip], *, name: str, kind: Kind, root: Path, licences: Mapping[str, str], warnings: Sequence[str]
) -> Corpus:
    """Put clips in order and add what follows from them: the name they share, their labels and licences.

    Args:
        clips: At least one.
        name: What the corpus is called unless all its clips come from one other.
        kind: Kind of the files.
        root: Where it was read from.
        licences: Licences of known corpora by name.
        warnings: One line each.
    """
    ordered = tuple(sorted(clips, key=lambda clip: (clip.path, clip.start_s)))
    origins = sorted({clip.corpus for clip in ordered})
    if len(origins) == 1:
        name = origins[0]
    known = {origin: licences.get(origin, UNKNOWN_LICENCE) for origin in origins}
    labels = order_labels(clip.label for clip in ordered if clip.label is not None)
    return Corpus(name, kind, root, ordered, labels, known, tuple(warnings))


def counted(count: int, noun: str) -> str:
    """Return "1 file" or "3 files"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def first_names(names: Sequence[Path | str]) -> str:
    """Return the first three names, for a message that must stay one line."""
    return ", ".join(str(name) for name in names[:3]) + (", ..." if len(names) > 3 else "")

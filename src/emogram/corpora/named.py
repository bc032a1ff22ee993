"""Corpora that are known by the names of their files. A new one is a file beside this and a line in `CORPORA`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from emogram.audio import AUDIO_SUFFIXES
from emogram.corpora.corpus import Complete, Corpus, Kind, LeftOut, Naming, counted, first_names, make_corpus
from emogram.corpora.cremad import CREMAD
from emogram.corpora.emodb import EMODB
from emogram.corpora.esd import ESD
from emogram.corpora.iemocap import IEMOCAP
from emogram.corpora.jl import JL
from emogram.corpora.labels import canonical_label
from emogram.corpora.meld import MELD
from emogram.corpora.msppodcast import MSP_PODCAST
from emogram.corpora.nemo import NEMO
from emogram.corpora.ravdess import RAVDESS
from emogram.corpora.savee import SAVEE
from emogram.corpora.scan import Found, walk
from emogram.corpora.shemo import SHEMO
from emogram.corpora.tess import TESS
from emogram.corpora.turev import TUREV
from emogram.corpora.urdu import URDU
from emogram.errors import CorpusError
from emogram.records import Clip
from emogram.spectrogram import PICTURE_SUFFIXES

CORPORA: dict[str, Naming] = {
    "ravdess": RAVDESS,
    "tess": TESS,
    "savee": SAVEE,
    "emodb": EMODB,
    "cremad": CREMAD,
    "nemo": NEMO,
    "turev": TUREV,
    "esd": ESD,
    "jl": JL,
    "shemo": SHEMO,
    "urdu": URDU,
    "iemocap": IEMOCAP,
    "meld": MELD,
    "msppodcast": MSP_PODCAST,
}

# A few files of the user's own among those of a corpus must not hide it; the names of two corpora are never alike.
CLAIM_SHARE = 0.9

_LOSSY_SUFFIXES = frozenset({".mp3", ".ogg", ".opus", ".m4a", ".aac"})


def known_licences() -> dict[str, str]:
    """Return the licences of all known corpora by name."""
    return {name: naming.licence for name, naming in CORPORA.items()}


def named_files(found: Found) -> tuple[Path, ...]:
    """Return the files whose names count: sounds and videos where there are any sounds, else pictures, else videos."""
    return found.pictures if found.pictures and not found.sounds else found.sounds + found.videos


def claims(files: Sequence[Path]) -> dict[str, int]:
    """Return how many of the files each corpus takes for its own, most first; those with none are absent."""
    counts = {name: sum(naming.parse(path) is not None for path in files) for name, naming in CORPORA.items()}
    return {name: count for name, count in sorted(counts.items(), key=lambda item: -item[1]) if count}


def claimant(files: Sequence[Path]) -> Naming | None:
    """Return the corpus whose names at least `CLAIM_SHARE` of the files have, if any."""
    for name, count in claims(files).items():
        if count >= CLAIM_SHARE * len(files):
            return CORPORA[name]
    return None


def clip_by_name(path: Path) -> Clip | None:
    """Return what the name of a single file tells, if it is of a known corpus."""
    for naming in CORPORA.values():
        clip = naming.parse(path)
        if isinstance(clip, Clip):
            return clip
    return None


def tables_in(naming: Naming, found: Found) -> list[Path]:
    """Return the tables of a corpus that tells its labels in such, sorted; none for any other."""
    if naming.tables is None:
        return []
    pattern = re.compile("(?:.*/)?" + naming.tables.pattern.pattern)
    return [
        here / name
        for here, _, names in walk(found.root, lambda _: None)  # what cannot be looked into is told of already
        for name in names
        if pattern.fullmatch((here / name).relative_to(found.root).as_posix())
    ]


def _complete(naming: Naming, found: Found) -> Complete:
    """Return what gives each clip of a corpus its label, where the names do not tell it."""
    if naming.tables is None:
        return lambda clip: clip
    tables = tables_in(naming, found)
    if not tables:
        raise CorpusError(
            f"{found.root}: files of {naming.name} without the tables that tell their labels; expected "
            f"{naming.tables.where} below this folder, give the folder that holds both"
        )
    return naming.tables.read(tables)


def read_named(naming: Naming, found: Found, *, unlabelled: bool = False) -> Corpus:
    """Read a folder whose files carry the names of one corpus, at any depth.

    Args:
        naming: The corpus.
        found: What lies in the folder.
        unlabelled: Also take clips of which its tables tell dimensions and no label.

    Raises:
        CorpusError: No file is named as this corpus names its own, all that are must be left out, or its tables are
            missing.
    """
    files = named_files(found)
    complete = _complete(naming, found)
    warnings = list(found.warnings)
    left_out: Counter[str] = Counter()
    foreign: list[Path] = []
    clips: list[Clip] = []
    for path in files:
        parsed = naming.parse(path)
        if parsed is None:
            foreign.append(path)
        elif isinstance(parsed, LeftOut):
            left_out[parsed.reason] += 1
        elif path.suffix.lower() not in AUDIO_SUFFIXES | PICTURE_SUFFIXES:
            left_out["video"] += 1
        elif isinstance(completed := complete(parsed), LeftOut):
            if unlabelled and completed.clip is not None:
                clips.append(completed.clip)
            else:
                left_out[completed.reason] += 1
        else:
            clips.append(completed)
    reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.most_common())
    if not clips:
        if reasons:
            raise CorpusError(
                f"{found.root}: nothing of {naming.name} but {reasons}; expected files such as {naming.example}"
            )
        raise CorpusError(
            f"{found.root}: no file is named as in {naming.name} (found {first_names(_relative(files, found.root))}; "
            f"expected names such as {naming.example})"
        )
    if reasons:
        warnings.append(f"{counted(left_out.total(), 'file')} of {naming.name} left out: {reasons}")
    if foreign:
        warnings.append(
            f"{counted(len(foreign), 'file')} not named as in {naming.name} left out: "
            f"{first_names(_relative(foreign, found.root))}"
        )
    if found.sounds and found.pictures:
        warnings.append(f"{counted(len(found.pictures), 'picture')} beside the sound files left out")
    clips = _without_copies(clips, found.root, warnings)
    _warn_of_folders(clips, found.root, warnings)
    kind: Kind = "audio" if found.sounds else "picture"
    return make_corpus(
        clips, name=naming.name, kind=kind, root=found.root, licences=known_licences(), warnings=warnings
    )


def _without_copies(clips: list[Clip], root: Path, warnings: list[str]) -> list[Clip]:
    """Keep one file of each name and speaker, in each part where a corpus numbers its files anew in each.

    RAVDESS and TESS are often distributed with the whole corpus a second time in a folder within, and CREMA-D as WAV
    and as MP3; taken twice, every clip would be its own copy in another part of a split.
    """
    best_first = sorted(clips, key=lambda clip: (clip.path.suffix.lower() in _LOSSY_SUFFIXES, clip.path))
    kept: dict[tuple[str | None, str, str | None], Clip] = {}
    copies: list[Path] = []
    for clip in best_first:
        key = (clip.speaker, clip.path.stem.lower(), clip.extra.get("split"))
        if key in kept:
            copies.append(clip.path)
        else:
            kept[key] = clip
    if copies:
        warnings.append(
            f"{counted(len(copies), 'file')} left out for having the name of another, as copies of it: "
            f"{first_names(_relative(copies, root))}"
        )
    return list(kept.values())


def _warn_of_folders(clips: list[Clip], root: Path, warnings: list[str]) -> None:
    astray = []
    for clip in clips:
        folder = canonical_label(clip.path.parent.name) if clip.path.parent != root else None
        if folder is not None and clip.label is not None and folder != clip.label:
            astray.append(clip.path)
    if astray:
        warnings.append(
            f"{counted(len(astray), 'file')} in a folder of another emotion than the name tells; the name was "
            f"believed: {first_names(_relative(astray, root))}"
        )


def _relative(paths: Sequence[Path], root: Path) -> list[Path]:
    return [path.relative_to(root) for path in paths]

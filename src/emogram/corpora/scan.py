"""Which sound, picture and video files lie below a folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from emogram.audio import AUDIO_SUFFIXES
from emogram.corpora.corpus import counted, first_names
from emogram.errors import CorpusError
from emogram.spectrogram import PICTURE_SUFFIXES

# Corpora that were filmed hold such files under names that look like those of their sound files.
VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".avi", ".flv", ".mov", ".mkv", ".webm"})


@dataclass(frozen=True)
class Found:
    """The files below a folder, each kind sorted by path.

    Attributes:
        root: The folder.
        sounds: Files with a suffix of `audio.AUDIO_SUFFIXES`.
        pictures: Files with a suffix of `spectrogram.PICTURE_SUFFIXES`.
        videos: Files with a suffix of `VIDEO_SUFFIXES`.
        others: How many other files there are of each suffix.
        folders: All folders below the root.
        warnings: What could not be looked into.
    """

    root: Path
    sounds: tuple[Path, ...]
    pictures: tuple[Path, ...]
    videos: tuple[Path, ...]
    others: Counter[str]
    folders: tuple[Path, ...]
    warnings: tuple[str, ...]


def scan(root: Path) -> Found:
    """List the files below a folder, through symbolic links; names that begin with a dot are passed over.

    A folder that several links lead to is entered once, so that links in a circle come to an end.

    Raises:
        CorpusError: There is neither a sound nor a picture nor a video; the message says what there is.
    """
    files: dict[str, list[Path]] = {"sound": [], "picture": [], "video": []}
    others: Counter[str] = Counter()
    folders: list[Path] = []
    refused: list[Path] = []
    for here, below, names in walk(root, refused.append):
        folders += [here / name for name in below]
        for name in names:
            kind = _kind(name)
            if kind is None:
                others[Path(name).suffix.lower() or "no suffix"] += 1
            else:
                files[kind].append(here / name)
    warnings: tuple[str, ...] = ()
    if refused:
        warnings = (f"{counted(len(refused), 'folder')} could not be opened: {first_names(refused)}",)
    if not any(files.values()):
        raise CorpusError(f"{root}: {_nothing(others, warnings)}; {EXPECTED}")
    sounds, pictures, videos = (tuple(sorted(found)) for found in files.values())
    return Found(root, sounds, pictures, videos, others, tuple(folders), warnings)


def walk(root: Path, refuse: Callable[[Path], None]) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield each folder from a root on with the names of the folders and of the files in it, both sorted.

    Through symbolic links, but each folder once; names that begin with a dot are passed over.

    Args:
        root: Where to begin.
        refuse: Is given each folder that cannot be looked into.
    """
    entered = {_identity(root)}
    for where, below, names in os.walk(root, followlinks=True, onerror=lambda error: refuse(Path(error.filename))):
        here = Path(where)
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in list(below):
            identity = _identity(here / name)
            if identity in entered:
                below.remove(name)
            entered.add(identity)
        yield here, below, sorted(name for name in names if not name.startswith("."))


EXPECTED = (
    "expected a folder of sound files or spectrogram pictures (PNG, JPEG), one folder for each emotion, a known "
    "corpus, or a manifest (.csv, .jsonl) with the columns path and label"
)


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _kind(name: str) -> str | None:
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 (a Path for each of many files would take most of the time)
    if suffix in AUDIO_SUFFIXES:
        return "sound"
    if suffix in PICTURE_SUFFIXES:
        return "picture"
    return "video" if suffix in VIDEO_SUFFIXES else None


def _nothing(others: Counter[str], warnings: tuple[str, ...]) -> str:
    if warnings:
        return f"no sound or picture file in it, and {warnings[0]}"
    if not others:
        return "the folder is empty"
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(4))
    return f"no sound or picture file in it (found {kinds})"

"""What a format of another project has to tell, and what comes of writing one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from emogram.corpora.corpus import Corpus
from emogram.corpora.formats.sounds import Failed, Sounds
from emogram.progress import Task


@dataclass(frozen=True)
class Written:
    """What became of a corpus.

    Attributes:
        failed: Clips whose sound cannot be had, and why.
        lost: What the format cannot hold, one line each.
        hint: How the project that the format is of takes it.
    """

    failed: Failed
    lost: list[str] = field(default_factory=list)
    hint: str = ""


@dataclass(frozen=True)
class Format:
    """A format that corpora come in and can be written to.

    Attributes:
        name: What users call it.
        title: What it is, for the help.
        sounds: How sound can come into it, the default first.
        recognise: Whether a folder or file is in this format; looks at names and the first lines only.
        read: Reads what was recognised; the second argument is `unlabelled` of `find_corpus`.
        write: Writes a corpus of sound into a folder that is there and empty.
        within: Whether the format holds the sound itself, and not as files.
    """

    name: str
    title: str
    sounds: tuple[Sounds, ...]
    recognise: Callable[[Path], bool]
    read: Callable[[Path, bool], Corpus]
    write: Callable[[Corpus, Path, Sounds, Task], Written]
    within: bool = False

"""The formats of other projects that corpora come in and can be written to. A new one is a file beside this."""

from __future__ import annotations

from pathlib import Path

from emogram.corpora.formats.audformat import AUDFORMAT
from emogram.corpora.formats.audiofolder import AUDIOFOLDER
from emogram.corpora.formats.datasets import DATASETS, corpus_from_datasets, datasets_from_corpus
from emogram.corpora.formats.emobox import EMOBOX
from emogram.corpora.formats.form import Format, Written
from emogram.corpora.formats.nkululeko import NKULULEKO
from emogram.corpora.formats.sounds import Sounds

__all__ = [
    "FORMATS",
    "Format",
    "Sounds",
    "Written",
    "corpus_from_datasets",
    "datasets_from_corpus",
    "recognise",
]

FORMATS: dict[str, Format] = {each.name: each for each in (AUDIOFOLDER, DATASETS, AUDFORMAT, EMOBOX, NKULULEKO)}


def recognise(path: Path) -> Format | None:
    """Return the format of a folder or file, found out by looking at names and first lines; None for any other."""
    return next((each for each in FORMATS.values() if each.recognise(path)), None)

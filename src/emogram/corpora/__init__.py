"""Corpora of emotional speech: any folder or manifest -> labelled clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from emogram.audio import AUDIO_SUFFIXES
from emogram.corpora.class_folders import read_class_folders, read_metadata
from emogram.corpora.convert import Converted, convert
from emogram.corpora.corpus import Corpus, Naming
from emogram.corpora.formats import FORMATS, corpus_from_datasets, datasets_from_corpus, recognise
from emogram.corpora.labels import EMOTIONS, canonical_label, order_labels
from emogram.corpora.manifest import MANIFEST_SUFFIXES, read_manifest
from emogram.corpora.named import CORPORA, claimant, named_files, read_named, tables_in
from emogram.corpora.scan import EXPECTED, Found, scan
from emogram.corpora.union import join_corpora
from emogram.errors import CorpusError, SettingsError
from emogram.nearby import beside, unknown

__all__ = [
    "CORPORA",
    "CORPUS_NAMES",
    "EMOTIONS",
    "FORMATS",
    "Converted",
    "Corpus",
    "canonical_label",
    "convert",
    "corpus_from_datasets",
    "datasets_from_corpus",
    "find_corpora",
    "find_corpus",
    "join_corpora",
    "order_labels",
]

CORPUS_NAMES = (*CORPORA, "folders", "manifest", *FORMATS)
"""What `find_corpus` takes as `name`."""


def find_corpus(path: str | Path, *, name: str | None = None, unlabelled: bool = False) -> Corpus:
    """Find out by looking what a folder or manifest is, and list its clips. No sound or picture is opened.

    A folder or file in one of `FORMATS` is read as that; any other file is a manifest. A folder with a `metadata.csv`
    that tells the labels of its files is read by it; else it is the corpus of `CORPORA` that at least nine in ten file
    names belong to; else its folders tell the emotions.

    Args:
        path: The folder or manifest.
        name: One of `CORPUS_NAMES`, to decide instead of looking.
        unlabelled: Also list clips without a label that have a number for a dimension, which their corpus or a manifest
            tells.

    Raises:
        CorpusError: The path is missing or empty, or cannot be read as a corpus; the message says why.
        SettingsError: `name` is unknown.
    """
    path = Path(path).expanduser()
    if name is not None and name not in CORPUS_NAMES:
        raise SettingsError(unknown("corpus", name, CORPUS_NAMES))
    if not path.exists():
        raise CorpusError(f"{path}: no such folder or file{beside(path)}; {EXPECTED}")
    form = recognise(path) if name is None else FORMATS.get(name)
    if form is not None:
        return form.read(path, unlabelled)
    if not path.is_dir():
        return _from_file(path, name, unlabelled=unlabelled)
    if name == "manifest":
        raise CorpusError(f"{path}: is a folder; expected a manifest, a .csv or .jsonl file")
    found = scan(path)
    if name in CORPORA:
        return read_named(CORPORA[name], found, unlabelled=unlabelled)
    metadata, warnings = read_metadata(found)
    found = replace(found, warnings=(*found.warnings, *warnings))
    naming = None if metadata or name == "folders" else claimant(named_files(found))
    if naming is not None and not (_in_class_folders(found) and _lacks_tables(naming, found)):
        return read_named(naming, found, unlabelled=unlabelled)
    if not found.sounds and not found.pictures:
        raise CorpusError(
            f"{path}: {len(found.videos)} video files and no sound; extract the sound first, as WAV or FLAC"
        )
    return read_class_folders(found, metadata)


def _in_class_folders(found: Found) -> bool:
    """Return whether most files are in folders with the names of emotions."""
    files = named_files(found)
    return 2 * sum(any(map(canonical_label, path.relative_to(found.root).parts[:-1])) for path in files) > len(files)


def _lacks_tables(naming: Naming, found: Found) -> bool:
    """Return whether files of a corpus came without the tables that tell their labels, as when somebody sorted them."""
    return naming.tables is not None and not tables_in(naming, found)


def find_corpora(
    paths: Sequence[str | Path],
    *,
    also: Sequence[str | Path] = (),
    name: str | None = None,
    unlabelled: bool = False,
) -> Corpus:
    """Find one corpus or several, and join them; see `find_corpus` and `join_corpora`.

    Args:
        paths: Folders or manifests, at least one.
        also: Those whose clips may train and never choose or judge.
        name: What the one of `paths` is, instead of finding out by looking.
        unlabelled: As for `find_corpus`.

    Raises:
        CorpusError: One cannot be read as a corpus, or they cannot be joined.
        SettingsError: `name` is unknown, or there are several `paths` that it could be meant for.
    """
    if name is not None and len(paths) > 1:
        raise SettingsError(f"one name, '{name}', for {len(paths)} corpora; name the kind of a single corpus only")
    return join_corpora(
        [find_corpus(path, name=name, unlabelled=unlabelled) for path in paths],
        also=[find_corpus(path, unlabelled=unlabelled) for path in also],
    )


def _from_file(path: Path, name: str | None, *, unlabelled: bool) -> Corpus:
    suffix = path.suffix.lower()
    if suffix in MANIFEST_SUFFIXES and name in (None, "manifest"):
        return read_manifest(path, unlabelled=unlabelled)
    if name not in (None, "manifest"):
        raise CorpusError(f"{path}: is a file; expected a folder for the corpus '{name}'")
    if suffix in AUDIO_SUFFIXES:
        raise CorpusError(f"{path}: is a single sound file; {EXPECTED}")
    raise CorpusError(f"{path}: a file that is no manifest; {EXPECTED}")

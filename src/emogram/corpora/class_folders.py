"""Sound files or spectrogram pictures in class folders: ROOT/<emotion>/<file>."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from emogram.corpora.corpus import Corpus, Kind, counted, first_names, make_corpus
from emogram.corpora.labels import canonical_label, unify_labels
from emogram.corpora.manifest import Row, read_rows
from emogram.corpora.named import claims, clip_by_name, known_licences
from emogram.corpora.parts import SPLIT, split_in
from emogram.corpora.scan import Found
from emogram.errors import CorpusError
from emogram.records import Clip

METADATA = "metadata.csv"

_SPEAKER_FOLDER = re.compile(r"(?:actor|speaker|spk)[ _-]*(\w+)", re.IGNORECASE)


def read_metadata(found: Found) -> tuple[dict[Path, Row], tuple[str, ...]]:
    """Read ROOT/metadata.csv (`emogram spectrograms` writes it, and Hugging Face's AudioFolder) where there is one.

    Returns:
        Path of each listed file that is there -> its line, empty where there is no such table; and warnings.
    """
    path = found.root / METADATA
    if not path.is_file():
        return {}, ()
    try:
        rows = read_rows(path)
    except CorpusError as error:
        return {}, (f"not used: {error}",)  # it may well mean something else
    present = set(found.sounds + found.pictures)
    metadata = {found.root / row.path: row for row in rows if row.label and found.root / row.path in present}
    missing = [row.path for row in rows if found.root / row.path not in present]
    if missing:
        return metadata, (f"{counted(len(missing), 'file')} that {METADATA} names not found: {first_names(missing)}",)
    return metadata, ()


def read_class_folders(found: Found, metadata: Mapping[Path, Row]) -> Corpus:
    """Read a folder whose files are sorted by emotion into folders, or whose `metadata.csv` tells the emotion.

    Where some folders between the root and a file bear the name of an emotion, labels are those of that level;
    otherwise those of the folder right above the files. For files that `metadata` lists, it is believed instead. The
    speaker comes from `metadata`; from the file's name, where it is that of a known corpus and the emotion agrees; or
    from a folder such as "Actor_01". One such as "train" or "test" tells the part (`Clip.extra["split"]`).

    Raises:
        CorpusError: Sounds and pictures are mixed, a class folder has no file, or nothing tells the emotion.
    """
    kind, files = _one_kind(found, metadata)
    warnings = list(found.warnings)
    level = _label_level(found.root, files, metadata)
    folder_names = {path: _folder_at(path, found.root, level) for path in files}
    unlabelled = [path for path in files if path not in metadata and folder_names[path] is None]
    labelled = [path for path in files if path in metadata or folder_names[path] is not None]
    if not labelled:
        raise CorpusError(f"{found.root}: {_no_classes(found, files)}")
    _refuse_other_corpora(found, files, metadata, level)
    _refuse_empty_classes(found, labelled, level)
    labels = unify_labels(metadata[path].label if path in metadata else folder_names[path] or "" for path in labelled)
    clips = [
        _from_metadata(path, metadata[path], labels, found.root)
        if path in metadata
        else _from_folder(path, labels[folder_names[path] or ""], found.root)
        for path in labelled
    ]
    if unlabelled:
        names = first_names([path.relative_to(found.root) for path in unlabelled])
        warnings.append(f"{counted(len(unlabelled), 'file')} in no class folder left out: {names}")
    unlisted = [path for path in labelled if path not in metadata]
    if metadata and unlisted:
        names = first_names([path.relative_to(found.root) for path in unlisted])
        warnings.append(f"{counted(len(unlisted), 'file')} not in {METADATA}, labelled by folder: {names}")
    if level is None and not metadata and any(len(path.relative_to(found.root).parts) > 2 for path in labelled):
        warnings.append("labels are the innermost folders, since no folder bears the name of an emotion")
    name = found.root.resolve().name
    return make_corpus(clips, name=name, kind=kind, root=found.root, licences=known_licences(), warnings=warnings)


def _one_kind(found: Found, metadata: Mapping[Path, Row]) -> tuple[Kind, list[Path]]:
    def in_classes(paths: Sequence[Path]) -> list[Path]:
        return [path for path in paths if path.parent != found.root or path in metadata]

    sounds, pictures = in_classes(found.sounds), in_classes(found.pictures)
    if sounds and pictures:
        raise CorpusError(
            f"{found.root}: {counted(len(sounds), 'sound file')} and {counted(len(pictures), 'picture')} in it; "
            "expected one kind, give the folder that holds only one"
        )
    if pictures or not found.sounds:
        return "picture", list(found.pictures)
    return "audio", list(found.sounds)


def _label_level(root: Path, files: Sequence[Path], metadata: Mapping[Path, Row]) -> int | None:
    """Return how many folders below the root those with the names of emotions lie; None where there are none."""
    votes: Counter[int] = Counter()
    for path in files:
        for level, name in enumerate(path.relative_to(root).parts[:-1]):
            if canonical_label(name) is not None:
                votes[level] += 1
    return max(votes, key=lambda level: (votes[level], level)) if votes else None


def _folder_at(path: Path, root: Path, level: int | None) -> str | None:
    folders = path.relative_to(root).parts[:-1]
    if level is None:
        return folders[-1] if folders else None
    return folders[level] if level < len(folders) else None


def _from_metadata(path: Path, row: Row, labels: Mapping[str, str], root: Path) -> Clip:
    corpus = row.corpus or root.resolve().name
    return Clip(path, labels[row.label], row.speaker or None, corpus, row.start_s, row.end_s, row.extra)


def _from_folder(path: Path, label: str, root: Path) -> Clip:
    folders = path.relative_to(root).parts[:-1]
    split = {SPLIT: name} if (name := split_in(folders)) else {}
    named = clip_by_name(path)
    if named is not None and named.label in (label, None):
        return replace(named, label=label, extra={**split, **named.extra})
    speakers = [match[1] for folder in folders if (match := _SPEAKER_FOLDER.fullmatch(folder))]
    return Clip(path, label, speakers[0] if speakers else None, root.resolve().name, extra=split)


def _refuse_other_corpora(found: Found, files: Sequence[Path], metadata: Mapping[Path, Row], level: int | None) -> None:
    """Refuse a folder of several known corpora, whose folders would otherwise pass for emotions."""
    if metadata or level is not None:
        return
    counts = claims(files)
    if len(counts) > 1 and sum(counts.values()) >= len(files) / 2:
        several = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise CorpusError(f"{found.root}: files of several corpora in it ({several}); give the folder of one of them")


def _refuse_empty_classes(found: Found, labelled: Sequence[Path], level: int | None) -> None:
    if level is None:
        return
    filled = {parent for path in labelled for parent in path.parents}
    for folder in found.folders:
        parts = folder.relative_to(found.root).parts
        if len(parts) == level + 1 and canonical_label(parts[-1]) is not None and folder not in filled:
            raise CorpusError(
                f"{folder}: no usable file in this class folder; expected at least one, add some or remove the folder"
            )


def _no_classes(found: Found, files: Sequence[Path]) -> str:
    manifests = [name for name in ("MANIFEST.csv", "manifest.csv", "manifest.jsonl") if (found.root / name).is_file()]
    if manifests:
        return (
            f"nothing tells the emotion of its {counted(len(files), 'file')}; give the manifest {manifests[0]} itself"
        )
    return (
        f"nothing tells the emotion of its {counted(len(files), 'file')} ("
        f"{first_names([path.relative_to(found.root) for path in files])}); expected one folder for each emotion, "
        "names as in a known corpus, or a manifest (.csv, .jsonl) with the columns path and label"
    )

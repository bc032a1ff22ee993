"""Hugging Face's AudioFolder: sound files with a table `metadata.csv` or `metadata.jsonl` in the folder of each part.

    FOLDER/train/metadata.jsonl      {"file_name": "Angry/a.wav", "label": "angry", "speaker": "03", ...}
    FOLDER/train/Angry/a.wav
    FOLDER/test/...
    FOLDER/README.md                 the card of the data set: licence, and where the parts are

Source: https://huggingface.co/docs/datasets/audio_dataset, and `datasets.packaged_modules.audiofolder`. JSON lines are
written, since of a CSV file that library makes numbers, of the speaker "03" too. Each row is of a whole file, so that
stretches of recordings become files of their own. Numbers stand in all rows with a point and nothing is left out,
because the types of the first rows count for all; hence "" where there is no text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from emogram.audio import AUDIO_SUFFIXES
from emogram.corpora.corpus import Corpus, counted, first_names
from emogram.corpora.file_names import class_file_names, encodable
from emogram.corpora.formats.columns import as_number, by_split, extra_names, number_names, text_columns
from emogram.corpora.formats.form import Format, Written
from emogram.corpora.formats.lines import corpus_of, inside, line_of, peek, read_table, where
from emogram.corpora.formats.sounds import Sounds, kept, lay_clips
from emogram.corpora.labels import order_labels
from emogram.corpora.parts import SPLIT, part_of, split_in
from emogram.corpora.scan import scan
from emogram.errors import CorpusError
from emogram.files import write_text
from emogram.progress import Task
from emogram.records import Clip

_TABLES = ("metadata.csv", "metadata.jsonl")
_ALIASES: Mapping[str, Sequence[str]] = {
    "path": ("file_name",),
    "label": ("label", "emotion", "labels"),
    "start": (),
    "end": (),
}
_CREATIVE_COMMONS = re.compile(r"CC (?:BY(?:-(?:NC|SA|ND))*|0) ?[\d.]+")


def _tables(root: Path) -> list[Path]:
    """Return the tables in a folder and up to two below, where the parts of a corpus are."""
    return sorted(path for name in _TABLES for depth in ("", "*/", "*/*/") for path in root.glob(depth + name))


def _recognise(path: Path) -> bool:
    if not path.is_dir():
        return False
    rows = next((rows for table in _tables(path) if (rows := peek(table, _ALIASES))), [])
    return bool(rows) and Path(rows[0].path).suffix.lower() in AUDIO_SUFFIXES


def _read(root: Path, unlabelled: bool) -> Corpus:
    """Read the tables of all parts. What a folder is called tells the part, unless a column `split` does."""
    tables = _tables(root) if root.is_dir() else []
    if not tables:
        raise CorpusError(f"{root}: no {' or '.join(_TABLES)} in it; expected an AudioFolder with one")
    rows = [
        (row, table, inside(table.parent, row.path, where(row, table)))
        for table in tables
        for row in read_table(table, _ALIASES, unlabelled=unlabelled)
    ]
    splits = [split_in(path.relative_to(root).parts[:-1]) for _, _, path in rows]
    if {part_of(split) for split in splits} == {"train"}:
        splits = [""] * len(splits)  # what is not parted is "train" there
    lines = [
        line_of(row, table, path, **({SPLIT: split} if split else {}))
        for (row, table, path), split in zip(rows, splits, strict=True)
    ]
    found = scan(root)
    warnings = list(found.warnings)
    unlisted = sorted(set(found.sounds) - {line.path for line in lines})
    if unlisted:
        names = first_names([path.relative_to(root) for path in unlisted])
        warnings.append(f"{counted(len(unlisted), 'sound file')} in no metadata left out: {names}")
    return corpus_of(lines, root=root, name=root.resolve().name, warnings=warnings, unlabelled=unlabelled)


def _write(corpus: Corpus, out: Path, sounds: Sounds, task: Task) -> Written:
    folders: dict[str, list[Clip]] = {}
    for split, clips in by_split(corpus.clips, without="").items():
        folders.setdefault(folder_of(split, corpus.clips), []).extend(clips)
    reserved = {
        "file_name",
        "label",
        "audio",
        *(name for clip in corpus.clips for name in clip.extra if _is_file(name)),
    }
    names, lost = extra_names(corpus.clips, reserved)
    parted = set(folders) != {"train"}
    if parted and all(clip.extra.get(SPLIT) in (folder, None) for folder, clips in folders.items() for clip in clips):
        names = [name for name in names if name != SPLIT]  # the folders tell it
    numbers = _numbers(folders)
    failed = []
    for folder, clips in folders.items():
        suffixes = [clip.path.suffix if clip.is_whole else ".wav" for clip in clips]
        files = class_file_names(clips, suffixes)
        gone = lay_clips(clips, [out / folder / file for file in files], how=sounds, task=task)
        failed += gone
        lost_ids = {id(clip) for clip, _ in gone}
        rows = [
            {"file_name": file, "label": clip.label or "", **_columns(clip, names, numbers)}
            for clip, file in zip(clips, files, strict=True)
            if id(clip) not in lost_ids
        ]
        if rows:
            write_text(out / folder / "metadata.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    labels = order_labels(clip.label for clip in kept(corpus.clips, failed) if clip.label)
    write_text(out / "README.md", _card(corpus, list(folders), labels))
    if not all(clip.is_whole for clip in corpus.clips):
        lost.append("where in their recordings clips begin and end: they are files of their own now")
    return Written(failed, lost, 'datasets.load_dataset("audiofolder", data_dir="{out}")')


def folder_of(split: str, clips: Sequence[Clip]) -> str:
    """Return what Hugging Face would call a part of a corpus: the name of a folder, and of a split.

    Args:
        split: As the corpus calls it; "" for clips of no part.
        clips: All clips; where none is of a part, all are "train", as that library has it.
    """
    if not split:
        return "rest" if any(clip.extra.get(SPLIT) for clip in clips) else "train"
    return part_of(split) or re.sub(r"\W+", "_", encodable(split)).strip("_").lower() or "other"


def _is_file(name: str) -> bool:
    """Return whether that library takes the values of a column for the names of sound files."""
    return name.lower().endswith(("_file_name", "file_names"))


def _numbers(folders: Mapping[str, Sequence[Clip]]) -> list[str]:
    """Return which columns are numbers, and known in every part: of one that is all empty, the type cannot be told."""
    each = [number_names(clips) for clips in folders.values()]
    return [name for name in each[0] if all(name in others for others in each)]


def _columns(clip: Clip, names: Sequence[str], numbers: Sequence[str]) -> dict[str, str | float | None]:
    texts = text_columns(clip, names)
    return {encodable(name): as_number(text) if name in numbers else encodable(text) for name, text in texts.items()}


def _card(corpus: Corpus, folders: Sequence[str], labels: Sequence[str]) -> str:
    """Return the card of the data set, as the Hub reads it; the strings in it are JSON, which YAML takes."""
    known = _CREATIVE_COMMONS.fullmatch(corpus.licence)
    licence = corpus.licence.lower().replace(" ", "-") if known else "other"
    configs = [f"      - split: {name}\n        path: {json.dumps(f'{name}/**')}" for name in folders]
    head = [
        f"license: {licence}",
        *([] if known else [f"license_name: {json.dumps(corpus.licence)}"]),
        "task_categories:\n  - audio-classification",
        "tags:\n  - speech-emotion-recognition",
        "configs:\n  - config_name: default\n    data_files:\n" + "\n".join(configs),
    ]
    text = [
        f"# {corpus.name}",
        f"{counted(len(corpus.clips), 'clip')}, emotions: {', '.join(labels)}. Licence: {corpus.licence}.",
    ]
    return "---\n" + "\n".join(head) + "\n---\n\n" + "\n\n".join(text) + "\n"


AUDIOFOLDER = Format(
    "audiofolder", "Hugging Face AudioFolder with metadata", ("copy", "link"), _recognise, _read, _write
)

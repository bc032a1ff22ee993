"""EmoBox: the tables of its benchmark, a folder for each corpus below `data/`, and the sound below `downloads/`.

    FOLDER/data/ravdess/ravdess.jsonl                          a line for each clip
    FOLDER/data/ravdess/ravdess.json                           the same for its SpeechBrain recipe
    FOLDER/data/ravdess/label_map.json                         emotion in the tables -> label
    FOLDER/data/ravdess/fold_1/ravdess_train_fold_1.jsonl      and valid, test, and as .json
    FOLDER/downloads/ravdess/...                               sound files

Source: Z. Ma, M. Chen, H. Zhang, Z. Zheng, W. Chen, X. Li, J. Ye, X. Chen, T. Hain, "EmoBox: Multilingual Multi-corpus
Speech Emotion Recognition Toolkit and Benchmark", Interspeech 2024; https://github.com/emo-box/EmoBox, README,
`EmoBox/EmoDataset.py` and `EmoBox/utils/preprocess_utils.py`. Paths begin in the folder that holds `data/` and
`downloads/`. Its lines have no speaker; `data.seg.wrd.stm` beside them has, in "<id=...,lang=en,spk=18,...>". What it
has no field for is written into fields of our own, which its reader passes over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emogram.audio import probe
from emogram.corpora.corpus import Corpus
from emogram.corpora.file_names import encodable, unused
from emogram.corpora.formats.columns import extra_names, text_columns
from emogram.corpora.formats.form import Format, Written
from emogram.corpora.formats.lines import Line, base_of, corpus_of, inside, line_of, peek, read_table, where
from emogram.corpora.formats.sounds import Failed, Sounds, kept, lay_files, names_of
from emogram.corpora.manifest import Row
from emogram.corpora.parts import SPLIT, kind_of
from emogram.errors import AudioError, CorpusError
from emogram.files import write_json, write_text
from emogram.progress import Task
from emogram.records import Clip

_ALIASES: Mapping[str, Sequence[str]] = {
    "path": ("wav",),
    "label": ("emo",),
    "speaker": ("speaker", "spk"),
    "corpus": ("dataset",),
    "start": ("start_time",),
    "end": ("end_time",),
}
_TECHNICAL = ("key", "type", "sample_rate", "num_frame", "task", "length", "channel")
_RESERVED = {*_TECHNICAL, *(name for names in _ALIASES.values() for name in names)}

_FOLD = re.compile(r".+_(train|valid|test)_fold_\d+\.jsonl")
_SPEAKER = re.compile(r"<id=(?P<key>[^,>]*),lang=(?P<language>[^,>]*),spk=(?P<speaker>[^,>]*),emotion=")
_FOLD_NAMES = {"train": "train", "validation": "valid", "test": "test"}


def _tables(path: Path) -> list[Path]:
    """Return the tables of clips that a file or folder stands for: of each corpus one, or those of a fold."""
    if path.is_file():
        return [path] if path.suffix.lower() == ".jsonl" else []
    folds = sorted(each for each in path.glob("*.jsonl") if _FOLD.fullmatch(each.name))
    if folds:
        return folds
    return sorted(
        table
        for folder in (path, *path.glob("data/*/"))
        if (folder / "label_map.json").is_file()
        for table in folder.glob("*.jsonl")
    )


def _recognise(path: Path) -> bool:
    tables = _tables(path)
    return bool(tables) and bool(peek(tables[0], _ALIASES))


def _read(path: Path, unlabelled: bool) -> Corpus:
    """Read one corpus, several, or one fold; the parts are those of the fold, where there is only one."""
    tables = _tables(path)
    if not tables:
        raise CorpusError(
            f"{path}: no table of EmoBox in it; expected a .jsonl file, the folder data/CORPUS that holds it and "
            "label_map.json, or the one that holds data/"
        )
    lines: list[Line] = []
    warnings: list[str] = []
    for table in tables:
        beside = _Beside.of(table, warnings)
        rows = read_table(table, _ALIASES, unlabelled=unlabelled)
        base = base_of(table.parent, [row.path for row in rows])
        lines += [_line(row, table, base, beside) for row in rows]
    name = path.resolve().parent.name if path.is_file() else path.resolve().name
    return corpus_of(lines, root=path, name=name, warnings=warnings, unlabelled=unlabelled)


@dataclass(frozen=True)
class _Beside:
    """What files beside a table tell of its clips.

    Attributes:
        labels: Emotion in the table -> label; empty where they are the labels.
        source: The file that tells it.
        speakers: Key of a clip -> speaker and language.
        splits: Key of a clip -> part.
    """

    labels: Mapping[str, str]
    source: Path
    speakers: Mapping[str, tuple[str, str]]
    splits: Mapping[str, str]

    @classmethod
    def of(cls, table: Path, warnings: list[str]) -> _Beside:
        """Read them, and add a line to the warnings where parts cannot be told."""
        fold = _FOLD.fullmatch(table.name)
        folder = table.parent.parent if fold else table.parent
        splits = {}
        if fold:
            splits = dict.fromkeys(_keys(table), fold[1])
        else:
            folds = sorted({each.parent for each in folder.glob("fold_*/*.jsonl") if _FOLD.fullmatch(each.name)})
            if len(folds) > 1:
                warnings.append(
                    f"{folder} has {len(folds)} folds, none of which was used; give one of them: {folds[0]}"
                )
            for each in folds[0].glob("*.jsonl") if len(folds) == 1 else ():
                match = _FOLD.fullmatch(each.name)
                splits |= dict.fromkeys(_keys(each), match[1]) if match else {}
        source = folder / "label_map.json"
        return cls(_label_map(source) if source.is_file() else {}, source, _speakers(folder), splits)


def _line(row: Row, table: Path, base: Path, beside: _Beside) -> Line:
    place = where(row, table)
    # A path as a reference, absolute, is meant as it stands.
    path = Path(row.path) if Path(row.path).is_absolute() else inside(base, row.path, place)
    if row.label and beside.labels and row.label not in beside.labels:
        raise CorpusError(f"{place}: the emotion '{row.label}' is not in {beside.source}; add it there")
    key = row.extra.get("key", "")
    speaker, language = beside.speakers.get(key, ("", ""))
    told = {"language": language, SPLIT: beside.splits.get(key, "")}
    line = line_of(row, table, path, drop=_TECHNICAL, **told)
    return Line(
        place,
        path,
        beside.labels.get(row.label, row.label),
        line.speaker or speaker,
        line.corpus,
        line.start_s,
        line.end_s,
        line.extra,
    )


def _keys(table: Path) -> Iterator[str]:
    return (row.extra["key"] for row in read_table(table, _ALIASES, unlabelled=True) if row.extra.get("key"))


def _label_map(path: Path) -> dict[str, str]:
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        labels = None
    if not isinstance(labels, dict) or not all(isinstance(label, str) for label in labels.values()):
        raise CorpusError(f'{path}: not readable; expected a JSON object such as {{"hap": "happy", "exc": "happy"}}')
    return labels


def _speakers(folder: Path) -> dict[str, tuple[str, str]]:
    path = folder / "data.seg.wrd.stm"
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8", errors="replace")
    return {match["key"]: (match["speaker"], match["language"]) for match in _SPEAKER.finditer(text)}


def _write(corpus: Corpus, out: Path, sounds: Sounds, task: Task) -> Written:
    files = names_of(corpus)
    datasets = {clip.path: _dataset(clip) for clip in corpus.clips}
    places = {path: Path("downloads", datasets[path], name) for path, name in files.items()}
    failed = lay_files(corpus.clips, {path: out / place for path, place in places.items()}, how=sounds, task=task)
    names, lost = extra_names(corpus.clips, _RESERVED)
    written: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    used: dict[str, int] = {}
    for clip in kept(corpus.clips, failed):
        wav = str(clip.path.absolute()) if sounds == "reference" else places[clip.path].as_posix()
        fields = _fields(clip, wav, failed)
        if fields:
            key = unused(_key(clip), used)
            columns = {encodable(name): encodable(text) for name, text in text_columns(clip, names).items() if text}
            del columns["corpus"]
            written.setdefault(fields["dataset"], []).append((key, {**fields, **columns}))
    kept(corpus.clips, failed)  # once more: `_fields` may have refused the last of them
    for dataset, rows in written.items():
        _write_corpus(out / "data" / dataset, dataset, rows)
    return Written(failed, lost, "EmoBox is run in {out}, where data/ and downloads/ are")


def _write_corpus(folder: Path, dataset: str, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:
    _write_rows(folder / dataset, rows)
    labels = {row["emo"]: row["emo"] for _, row in rows}
    write_json(folder / "label_map.json", dict(sorted(labels.items())))
    parts = [(kind_of(row.get(SPLIT, "")), pair) for pair in rows for row in pair[1:]]
    if {"train", "test"} <= {part for part, _ in parts}:
        for part, name in _FOLD_NAMES.items():
            chosen = [pair for each, pair in parts if each == part]
            if chosen:
                _write_rows(folder / "fold_1" / f"{dataset}_{name}_fold_1", chosen)


def _write_rows(stem: Path, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:
    lines = (json.dumps({"key": key, **row}, ensure_ascii=False) + "\n" for key, row in rows)
    write_text(stem.with_name(stem.name + ".jsonl"), "".join(lines))
    write_json(stem.with_name(stem.name + ".json"), dict(rows))


def _fields(clip: Clip, wav: str, failed: Failed) -> dict[str, Any]:
    """Return the fields of EmoBox's own; nothing, and a line in `failed`, where the sound does not tell its length."""
    if clip.label is None:
        failed.append((clip, f"{clip.path}: has no emotion, which EmoBox has for every clip"))
        return {}
    try:
        duration_s, sample_rate, channels = probe(clip.path)
        if duration_s is None:
            raise AudioError(f"{clip.path}: its header does not tell its length; save it again as WAV or FLAC")
        if clip.start_s >= duration_s:
            raise AudioError(f"{clip.path}: ends at {duration_s:g} s, before the stretch from {clip.start_s:g} s on")
    except AudioError as error:
        failed.append((clip, str(error)))
        return {}
    end_s = duration_s if clip.end_s is None else min(clip.end_s, duration_s)
    times = {} if clip.is_whole else {"start_time": clip.start_s, "end_time": end_s}
    return {
        "dataset": _dataset(clip),
        "wav": wav,
        "type": "raw",
        "sample_rate": sample_rate,
        "num_frame": round((end_s - clip.start_s) * sample_rate),
        "task": "category",
        "length": end_s - clip.start_s,
        "emo": clip.label,
        "channel": channels,
        **times,
    }


def _dataset(clip: Clip) -> str:
    return re.sub(r"[^\w.+-]+", "-", encodable(clip.corpus)).strip(".-") or "corpus"


def _key(clip: Clip) -> str:
    """Return a key without spaces, which files of EmoBox part fields by."""
    start = "" if clip.is_whole else f"-{round(1000 * clip.start_s)}"
    return re.sub(r"\s+", "_", encodable(f"{_dataset(clip)}-{clip.path.stem}{start}"))


EMOBOX = Format("emobox", "tables of the EmoBox benchmark", ("copy", "link", "reference"), _recognise, _read, _write)

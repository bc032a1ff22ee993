"""nkululeko: a CSV file with the columns file, emotion, speaker, gender, ..., and an INI file that names it.

    FOLDER/ravdess.csv      file,emotion,speaker,gender,...     or file,start,end,... with seconds
    FOLDER/exp.ini          an experiment, to be run as it is

Source: F. Burkhardt, J. Wagner, H. Wierstorf, F. Eyben, B. Schuller, "Nkululeko: A Tool For Rapid Speaker
Characteristics Detection", LREC 2022; https://github.com/felixbur/nkululeko, `nkululeko/data/dataset_csv.py` and
ini_file.md. It reads by `audformat.utils.read_csv`: times are seconds or such as "0 days 00:00:01.5". Paths begin where
it is run, or with `absolute_path = False` in the folder of the CSV file.
"""

from __future__ import annotations

import ast
import configparser
import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from emogram.corpora.corpus import Corpus
from emogram.corpora.file_names import encodable, folder_name
from emogram.corpora.formats.columns import by_split, extra_names, text_columns
from emogram.corpora.formats.form import Format, Written
from emogram.corpora.formats.lines import Line, base_of, corpus_of, inside, line_of, peek, read_table, where
from emogram.corpora.formats.sounds import Sounds, kept, lay_files, names_of
from emogram.corpora.labels import order_labels
from emogram.corpora.parts import SPLIT, kind_of
from emogram.errors import CorpusError
from emogram.files import write_text
from emogram.progress import Task
from emogram.records import Clip

_ALIASES: Mapping[str, Sequence[str]] = {
    "path": ("file",),
    "label": ("emotion", "label"),
    "speaker": ("speaker",),
    "start": ("start",),
    "end": ("end",),
}
_RESERVED = {name for names in _ALIASES.values() for name in names}
_INI = "exp.ini"
_PARTS = {"train": "train", "dev": "validation", "test": "test"}


def _recognise(path: Path) -> bool:
    """Return whether an INI file in the folder names tables; a CSV file alone may be anybody's manifest.

    One that stands for itself is a manifest like others, unless its paths begin elsewhere.
    """
    if path.is_dir():
        return any(peek(table, _ALIASES) for table in _named_tables(path))
    if path.suffix.lower() != ".csv":
        return False
    names = [row.path for row in peek(path, _ALIASES)]
    return bool(names) and base_of(path.parent, names) != path.parent


def _named_tables(folder: Path) -> dict[Path, str]:
    """Return the CSV files that the INI files of a folder name and that are there -> the part that each is, or ""."""
    tables: dict[Path, str] = {}
    for path in sorted(folder.glob("*.ini")):
        settings = configparser.ConfigParser(interpolation=None)
        try:
            settings.read_string(path.read_text(encoding="utf-8", errors="replace"))
            names = ast.literal_eval(settings["DATA"]["databases"])
            data = {str(name): settings["DATA"].get(str(name), "") for name in names}
        except (OSError, KeyError, ValueError, SyntaxError, TypeError, configparser.Error):
            continue  # another program's
        for name, table in data.items():
            place = folder / Path(table).name
            if table.endswith(".csv") and place.is_file():
                tables.setdefault(place, kind_of(settings["DATA"].get(f"{name}.split_strategy", "")) or "")
    return tables


def _read(path: Path, unlabelled: bool) -> Corpus:
    if path.is_dir():
        tables = _named_tables(path) or dict.fromkeys(sorted(path.glob("*.csv")), "")
        tables = {table: part for table, part in tables.items() if peek(table, _ALIASES)}
        if not tables:
            raise CorpusError(f"{path}: no CSV file in it with the columns file and emotion, as nkululeko has them")
    else:
        tables = {path: ""}
    lines = [line for table, part in tables.items() for line in _lines(table, part, unlabelled)]
    name = (path if path.is_dir() else path.parent).resolve().name
    return corpus_of(lines, root=path, name=name, unlabelled=unlabelled)


def _lines(table: Path, part: str, unlabelled: bool) -> list[Line]:
    rows = read_table(table, _ALIASES, unlabelled=unlabelled)
    base = base_of(table.parent, [row.path for row in rows])
    return [
        line_of(
            row,
            table,
            Path(row.path) if Path(row.path).is_absolute() else inside(base, row.path, where(row, table)),
            **({SPLIT: part} if part else {}),
        )
        for row in rows
    ]


def _write(corpus: Corpus, out: Path, sounds: Sounds, task: Task) -> Written:
    files = {path: Path("audio", name) for path, name in names_of(corpus).items()}
    failed = lay_files(corpus.clips, {path: out / file for path, file in files.items()}, how=sounds, task=task)
    clips = kept(corpus.clips, failed)
    names, lost = extra_names(clips, _RESERVED)
    stretches = not all(clip.is_whole for clip in clips)
    text = io.StringIO()
    columns = ["file", *(("start", "end") if stretches else ()), "emotion", "speaker", "corpus", *names]
    writer = csv.DictWriter(text, [encodable(name) for name in columns], lineterminator="\n")
    writer.writeheader()
    for clip in clips:
        file = str(clip.path.absolute()) if sounds == "reference" else files[clip.path].as_posix()
        times = (
            {"start": repr(clip.start_s), "end": "" if clip.end_s is None else repr(clip.end_s)} if stretches else {}
        )
        row = {"file": file, **times, "emotion": clip.label or "", **text_columns(clip, names)}
        writer.writerow({encodable(name): encodable(value) for name, value in row.items()})
    name = re.sub(r"\W+", "_", folder_name(corpus.name)).lower()
    write_text(out / f"{name}.csv", text.getvalue())
    write_text(out / _INI, _experiment(name, clips, relative=sounds != "reference"))
    return Written(failed, lost, f"python -m nkululeko.nkululeko --config {_INI}, in {{out}}")


def _experiment(name: str, clips: Sequence[Clip], *, relative: bool) -> str:
    """Return an experiment on the table: its parts where it has some, else by speaker, where those are known."""
    parts = {
        part: [split for split in by_split(clips, without="") if kind_of(split) == part] for part in _PARTS.values()
    }
    data = {"type": "csv", "absolute_path": str(not relative)}
    if parts["train"] and parts["test"]:
        data |= {"split_strategy": "column", "split_column": SPLIT}
        data |= {f"{key}_vals": str(parts[part]) for key, part in _PARTS.items() if parts[part]}
    else:
        data["split_strategy"] = "speaker_split" if all(clip.speaker for clip in clips) else "random"
    lines = [
        "[EXP]",
        "root = ./",
        f"name = results_{name}",
        *(["traindevtest = True"] if parts["validation"] and "split_column" in data else []),
        "[DATA]",
        f"databases = ['{name}']",
        f"{name} = ./{name}.csv",
        *(f"{name}.{key} = {value}" for key, value in data.items()),
        "target = emotion",
        f"labels = {list(order_labels(clip.label for clip in clips if clip.label))}",
        "[FEATS]",
        "type = ['os']",
        "[MODEL]",
        "type = svm",
    ]
    return "\n".join(lines) + "\n"


NKULULEKO = Format(
    "nkululeko", "CSV and INI file of nkululeko", ("reference", "copy", "link"), _recognise, _read, _write
)

"""audformat: the databases of audEERING's tools; extra `audformat`.

    FOLDER/db.yaml                      schemes (emotion, speaker, ...), parts, tables
    FOLDER/db.emotion.train.csv         a table for each part, or db.emotion.csv
    FOLDER/audio/...                    sound files

Source: https://audeering.github.io/audformat. Gender and language, where a speaker has one each, are told of the
speaker, as there it is the custom. A database of others is read by its scheme `emotion`, and all other schemes go to
`Clip.extra`; the parts are those of its tables. Its reader would run code that a pickled table or a tag in `db.yaml`
holds, so that both are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from emogram.corpora.corpus import UNKNOWN_LICENCE, Corpus
from emogram.corpora.file_names import encodable
from emogram.corpora.formats.columns import as_number, by_split, extra_names, number_names, text_columns
from emogram.corpora.formats.form import Format, Written
from emogram.corpora.formats.lines import Line, corpus_of, inside
from emogram.corpora.formats.sounds import Sounds, kept, lay_files, names_of
from emogram.corpora.labels import order_labels
from emogram.corpora.named import CORPORA
from emogram.corpora.parts import SPLIT, kind_of
from emogram.errors import CorpusError, MissingExtraError
from emogram.files import output_error
from emogram.progress import Task
from emogram.records import DIMENSION_NAMES, Clip

_Key = tuple[str, float, float | None]

_HEADER = "db.yaml"
_EMOTION = "emotion"
_OF_SPEAKERS = ("gender", "language")
_RESERVED = {_EMOTION, "label", "file", "start", "end"}
_TYPES = {"train": "train", "validation": "dev", "test": "test"}


def _recognise(path: Path) -> bool:
    """Return whether it is the folder of a database, its header, or one of its tables."""
    if path.is_dir():
        return (path / _HEADER).is_file()
    return path.name == _HEADER or (_table_of(path) is not None and (path.parent / _HEADER).is_file())


def _table_of(path: Path) -> str | None:
    match = re.fullmatch(r"db\.(.+)\.(?:csv|parquet)", path.name)
    return match[1] if match else None


def _read(path: Path, unlabelled: bool) -> Corpus:
    """Read a database; of a file that is one of its tables, the emotions of that table."""
    folder = path if path.is_dir() else path.parent
    database = _load(folder)
    table = _table_of(path) if path.is_file() else None
    frames = [
        _frame(database, folder, None if table is None else [table], name) for name in _asked(database, unlabelled)
    ]
    splits = _splits(database)
    told = _of_labels(database)
    rows = {_whole(index): values for frame in reversed(frames) for index, values in _rows(frame, told)}
    if not rows:
        found = ", ".join(database.schemes) or "none"
        raise CorpusError(f"{folder / _HEADER}: no labels of a scheme '{_EMOTION}'; found the schemes {found}")
    lines = [_line(key, values, splits, folder) for key, values in rows.items()]
    return corpus_of(lines, root=folder, name=str(database.name), unlabelled=unlabelled)


def _asked(database: Any, unlabelled: bool) -> list[str]:
    """Return the schemes by one of which a row is of use."""
    return [_EMOTION, *(name for name in DIMENSION_NAMES if unlabelled and name in database.schemes)]


def _load(folder: Path) -> Any:
    library = _library("reading audformat databases")
    header = folder / _HEADER
    _refuse_code(folder, header)
    try:
        database = library.Database.load(str(folder))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise CorpusError(f"{header}: no database that audformat {library.__version__} reads ({error})") from None
    for name, table in database.tables.items():
        twice = table.index[table.index.duplicated()]
        if len(twice):
            raise CorpusError(f"{folder / f'db.{name}'}: {_named(_whole(twice[0]))} is in it twice; expected it once")
    return database


def _refuse_code(folder: Path, header: Path) -> None:
    import yaml

    pickled = sorted(folder.glob("db.*.pkl"))
    if pickled:
        raise CorpusError(
            f"{pickled[0]}: a pickled table, which could run any code when it is read; remove it, and save the table "
            "as CSV or Parquet where it has no such file"
        )
    try:
        yaml.safe_load(header.read_text(encoding="utf-8"))
    except OSError as error:
        raise CorpusError(f"{header}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CorpusError(f"{header}: no plain YAML ({str(error).splitlines()[0]})") from None


def _frame(database: Any, folder: Path, tables: Sequence[str] | None, asked: str) -> Any:
    """Return a row for each clip that a scheme tells something of, with what all others tell of it."""
    for name in tables or ():
        if name not in database.tables:
            raise CorpusError(
                f"{folder / _HEADER}: has no table '{name}'; expected one of {', '.join(database.tables)}"
            )
    others = [name for name in database.schemes if name != asked]
    try:
        return database.get(asked, others, tables=tables)
    except (ValueError, TypeError) as error:
        held = ", ".join(name for name in database.tables)
        reason = " ".join(str(error).split())[:200]
        raise CorpusError(
            f"{folder}: its tables contradict each other ({reason}); give the file of one of them: {held}"
        ) from None


def _of_labels(database: Any) -> dict[str, dict[str, dict[str, str]]]:
    """Return what schemes tell of their labels: scheme -> label -> such as {"gender": "male"}.

    Not asked of `Database.get`, which cannot join it over tables where one has only empty values (audformat 1.4).
    """
    told = {}
    for name, scheme in database.schemes.items():
        if isinstance(scheme.labels, dict):
            rows = {label: row for label, row in scheme.labels.items() if isinstance(row, dict)}
        elif isinstance(scheme.labels, str):  # a table of its own tells it
            rows = database[scheme.labels].get().to_dict("index")
        else:
            continue
        told[name] = {str(label): _texts(row) for label, row in rows.items()}
    return told


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    import pandas as pd

    return {name: str(value) for name, value in values.items() if not pd.isna(value)}


def _splits(database: Any) -> dict[_Key, str]:
    """Return the part of each row of the tables that are of one; a file without times stands for the whole of it."""
    return {
        _whole(index): str(table.split_id)
        for table in database.tables.values()
        if table.split_id is not None
        for index in table.index
    }


def _whole(index: Any) -> _Key:
    """Return file, start and end in seconds of a row."""
    import pandas as pd

    if not isinstance(index, tuple):
        return str(index), 0.0, None
    file, start, end = index
    return str(file), start.total_seconds(), None if pd.isna(end) else end.total_seconds()


def _rows(frame: Any, of_labels: Mapping[str, Mapping[str, Mapping[str, str]]]) -> Iterable[tuple[Any, dict[str, str]]]:
    names = list(frame.columns)
    for index, *values in frame.itertuples(name=None):
        row = _texts(dict(zip(names, values, strict=True)))
        more = {
            key: text for name in of_labels if name in row for key, text in of_labels[name].get(row[name], {}).items()
        }
        yield index, {**more, **row}


def _named(key: _Key) -> str:
    file, start_s, end_s = key
    return file if end_s is None and not start_s else f"{file} from {start_s:g} s"


def _line(key: _Key, values: Mapping[str, str], splits: Mapping[_Key, str], folder: Path) -> Line:
    place = f"{folder / _HEADER}, {_named(key)}"
    file, start_s, end_s = key
    extra = {name.lower(): value for name, value in values.items() if name not in (_EMOTION, "speaker", "corpus")}
    return Line(
        place,
        inside(folder, file, place),
        values.get(_EMOTION, ""),
        values.get("speaker", ""),
        values.get("corpus", ""),
        start_s,
        end_s,
        {SPLIT: splits.get(key, ""), **extra},
    )


def _write(corpus: Corpus, out: Path, sounds: Sounds, task: Task) -> Written:
    library = _library("writing audformat databases")
    files = {path: f"audio/{name}" for path, name in names_of(corpus).items()}
    failed = lay_files(corpus.clips, {path: out / name for path, name in files.items()}, how=sounds, task=task)
    clips = kept(corpus.clips, failed)
    names, lost = extra_names(clips, _RESERVED)
    names = [name for name in names if name != SPLIT]  # the tables tell it
    of_speakers = _of_speakers(clips)
    numbers = number_names(clips)
    database = _database(library, corpus)
    told = {id(clip): text_columns(clip, names) for clip in clips}
    labels = order_labels(clip.label for clip in clips if clip.label)
    schemes = {_EMOTION: library.Scheme(labels=list(labels))} if labels else {}
    for name in ("speaker", "corpus", *names):
        if name == "speaker" and any(clip.speaker for clip in clips):
            schemes[name] = library.Scheme(labels=_speakers(clips, of_speakers))
        elif name not in of_speakers and any(row[name] for row in told.values()):
            schemes[name] = library.Scheme("float" if name in numbers else "str")
    for name, scheme in schemes.items():
        database.schemes[_valid(name)] = scheme
    for split, part in by_split(clips, without="").items():
        columns: dict[str, list[Any]] = {_EMOTION: [clip.label for clip in part]} if labels else {}
        for name in [name for name in schemes if name != _EMOTION]:
            texts = [told[id(clip)][name] for clip in part]
            columns[name] = [as_number(text) if name in numbers else encodable(text) or None for text in texts]
        _add_table(library, database, split, _index(library, part, files), columns)
    try:
        database.save(str(out), storage_format="csv", header_only=False, num_workers=1, verbose=False)
    except OSError as error:
        raise output_error(out, error) from error
    return Written(failed, lost, 'audformat.Database.load("{out}")')


def _database(library: Any, corpus: Corpus) -> Any:
    named = [CORPORA[name] for name in corpus.licences if name in CORPORA]
    return library.Database(
        _valid(corpus.name),
        source="; ".join(each.origin.page for each in named),
        usage=library.define.Usage.OTHER,
        languages=sorted({each.language for each in named}),
        license=None if corpus.licence == UNKNOWN_LICENCE else corpus.licence,
    )


def _index(library: Any, clips: Sequence[Clip], files: Mapping[Path, str]) -> Any:
    import pandas as pd

    named = [files[clip.path] for clip in clips]
    if all(clip.is_whole for clip in clips):
        return library.filewise_index(named)
    ends = [pd.NaT if clip.end_s is None else pd.Timedelta(clip.end_s, unit="s") for clip in clips]
    return library.segmented_index(named, [pd.Timedelta(clip.start_s, unit="s") for clip in clips], ends)


def _add_table(library: Any, database: Any, split: str, index: Any, columns: Mapping[str, Sequence[Any]]) -> None:
    if split:
        database.splits[_valid(split)] = library.Split(_TYPES.get(kind_of(split) or "", "other"))
    table = library.Table(index, split_id=_valid(split) if split else None)
    database[f"{_EMOTION}.{_valid(split)}" if split else _EMOTION] = table
    for name, values in columns.items():
        table[_valid(name)] = library.Column(scheme_id=_valid(name))
        table[_valid(name)].set(values)


def _of_speakers(clips: Sequence[Clip]) -> list[str]:
    """Return what is told of the speakers: what each has one of, where every clip has a speaker."""
    told = []
    for name in _OF_SPEAKERS:
        pairs = {(clip.speaker, clip.extra.get(name)) for clip in clips}
        if len(pairs) == len({speaker for speaker, _ in pairs}) and all(map(all, pairs)):
            told.append(name)
    return told


def _speakers(clips: Sequence[Clip], of_speakers: Sequence[str]) -> Any:
    speakers: dict[str, dict[str, str]] = {}
    for clip in clips:
        if clip.speaker:
            speakers[encodable(clip.speaker)] = {name: clip.extra[name] for name in of_speakers}
    return dict(sorted(speakers.items())) if of_speakers else sorted(speakers)


def _valid(name: str) -> str:
    """Return a name that can be part of the name of a file, as those of tables are."""
    return re.sub(r"[^\w.+-]+", "_", encodable(name)).strip(".") or "_"


def _library(what: str) -> Any:
    try:
        import audformat
    except ImportError:
        raise MissingExtraError(what, "audformat") from None
    return audformat


AUDFORMAT = Format("audformat", "database of audEERING's tools", ("copy", "link"), _recognise, _read, _write)

"""Objects of Hugging Face's `datasets`, and the folders that `save_to_disk` makes of them; extra `datasets`.

    FOLDER/dataset_dict.json                        where there are parts
    FOLDER/train/dataset_info.json, state.json, data-00000-of-00001.arrow

Source: https://huggingface.co/docs/datasets. The sound is a column of the type Audio, the emotion one of text or of
ClassLabel. Nothing is decoded by that library, which from version 4 on needs torchcodec for it: what lies within, as
bytes, is written out into a folder, where it is read like any sound file.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emogram.corpora.corpus import Corpus
from emogram.corpora.file_names import encodable, unused
from emogram.corpora.formats.audiofolder import folder_of
from emogram.corpora.formats.columns import as_number, by_split, extra_names, number_names, text_columns
from emogram.corpora.formats.form import Format, Written
from emogram.corpora.formats.lines import Line, corpus_of, is_file
from emogram.corpora.formats.sounds import Sounds, kept, lay_clips
from emogram.corpora.parts import SPLIT
from emogram.errors import CorpusError, MissingExtraError
from emogram.files import default_cache, output_error, writing
from emogram.progress import Task
from emogram.records import Clip
from emogram.silenced import silence

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

_LABELS = ("label", "emotion", "labels")
_SPEAKERS = ("speaker", "speaker_id")
_DICT, _INFO, _STATE = "dataset_dict.json", "dataset_info.json", "state.json"
_SHARD = "500MB"


def corpus_from_datasets(
    data: Dataset | DatasetDict,
    *,
    name: str = "dataset",
    label: str | None = None,
    folder: str | Path | None = None,
    unlabelled: bool = False,
) -> Corpus:
    """Make a corpus of a `datasets.Dataset`, or of a `DatasetDict`, whose parts become `Clip.extra["split"]`.

    Columns: one of the type Audio; label, emotion or labels, text or ClassLabel; speaker or speaker_id; corpus. All
    others of text, numbers or ClassLabel go to `Clip.extra`, as text and under names in lower case.

    Args:
        data: Not one that is streamed.
        name: What the corpus is called, unless a column `corpus` says.
        label: Name of the column that tells the emotion, where it is another.
        folder: Where sound that lies within the data is written to; by default below the cache of emogram, where what
            is there already stays.
        unlabelled: Take rows without an emotion as well; the column for it may then be missing.

    Raises:
        CorpusError: A column is missing, or a row has no sound; the message names part and row.
        OutputError: The sound cannot be written.
        MissingExtraError: The extra `datasets` is not installed.
    """
    library = _library("reading datasets of Hugging Face")
    parts = dict(data) if isinstance(data, library.DatasetDict) else {"": data}
    root = Path(folder) if folder is not None else default_cache() / "datasets" / _fingerprint(parts)
    lines: list[Line] = []
    for split, part in parts.items():
        place = f"{name}, part {split}" if split else name
        columns = _Columns.of(library, part.features, label, place, unlabelled=unlabelled)
        lines += _lines(library, part, columns, split, place, root)
    return corpus_of(lines, root=root, name=name, unlabelled=unlabelled)


def datasets_from_corpus(corpus: Corpus) -> Dataset | DatasetDict:
    """Make a `datasets.Dataset` of a corpus of sound, or a `DatasetDict` where its clips tell their part.

    Columns: audio, label (ClassLabel in the order of `Corpus.labels`), speaker, corpus, and what `Clip.extra` holds, as
    text, but arousal, valence and dominance as numbers where they are such. Sound files are named and not read, until
    they are decoded or `save_to_disk` embeds them; stretches of recordings are cut out, as WAV, into memory.

    Raises:
        CorpusError: The corpus is of pictures, or a stretch cannot be decoded.
        MissingExtraError: The extra `datasets` is not installed.
    """
    if corpus.kind != "audio":
        raise CorpusError(f"{corpus.root}: holds pictures; expected sound")
    library = _library("making datasets of Hugging Face")
    sounds: list[Mapping[str, Any]] = []
    with tempfile.TemporaryDirectory() as work:
        target = Path(work) / "stretch.wav"
        for clip in corpus.clips:
            if clip.is_whole:
                sounds.append({"bytes": None, "path": str(clip.path)})
                continue
            failed = lay_clips([clip], [target], how="copy", task=Task())
            if failed:
                raise CorpusError(failed[0][1])
            sounds.append(
                {"bytes": target.read_bytes(), "path": f"{clip.path.stem}-{round(1000 * clip.start_s)}ms.wav"}
            )
    data, _ = _tables(library, corpus, corpus.clips, sounds)
    return data


def _tables(
    library: Any, corpus: Corpus, clips: Sequence[Clip], sounds: Sequence[Mapping[str, Any]]
) -> tuple[Dataset | DatasetDict, list[str]]:
    """Return clips with their sounds as data, and what is lost."""
    names, lost = extra_names(clips, {"audio", "label"})
    parted = any(clip.extra.get(SPLIT) for clip in clips)
    parts: dict[str, list[int]] = {}
    places = {id(clip): place for place, clip in enumerate(clips)}
    for split, chosen in by_split(clips, without="").items():
        parts.setdefault(folder_of(split, clips), []).extend(places[id(clip)] for clip in chosen)
    if all(
        clip.extra.get(SPLIT, part) == part for part, chosen in parts.items() for clip in map(clips.__getitem__, chosen)
    ):
        names = [each for each in names if each != SPLIT]
    numbers = number_names(clips)
    features = library.Features(
        {"audio": library.Audio(), "label": _labels(library, corpus)}
        | {
            encodable(each): library.Value("float64" if each in numbers else "string")
            for each in ("speaker", "corpus", *names)
        }
    )
    made = {
        part: _dataset(library, features, [clips[place] for place in chosen], [sounds[place] for place in chosen], part)
        for part, chosen in parts.items()
    }
    return (library.DatasetDict(made) if parted else next(iter(made.values()))), lost


def _dataset(
    library: Any, features: Any, clips: Sequence[Clip], sounds: Sequence[Mapping[str, Any]], part: str
) -> Dataset:
    """Return data in Arrow's own form, since that library encodes no sound without torchcodec, not even its path."""
    import pyarrow as pa
    from datasets.table import InMemoryTable

    labels = {name: place for place, name in enumerate(getattr(features["label"], "names", ()))}
    columns: dict[str, list[Any]] = {"audio": list(sounds), "label": [labels.get(clip.label or "") for clip in clips]}
    told = [{encodable(name): text for name, text in text_columns(clip, list(clip.extra)).items()} for clip in clips]
    for name, feature in features.items():
        if name not in columns:
            number = feature.dtype == "float64"
            texts = [row.get(name, "") for row in told]
            columns[name] = [as_number(text) if number else encodable(text) or None for text in texts]
    table = pa.table(columns, schema=features.arrow_schema)
    return library.Dataset(
        InMemoryTable(table), info=library.DatasetInfo(features=features), split=library.NamedSplit(part)
    )


def _labels(library: Any, corpus: Corpus) -> Any:
    """Return the type of the labels; it cannot be ClassLabel where there are none."""
    return library.ClassLabel(names=list(corpus.labels)) if corpus.labels else library.Value("string")


def _recognise(path: Path) -> bool:
    return (path / _DICT).is_file() or ((path / _INFO).is_file() and (path / _STATE).is_file())


def _read(path: Path, unlabelled: bool) -> Corpus:
    """Read what `save_to_disk` has made. The corpus is below the cache, where its sound is written to."""
    library = _library("reading a folder of Hugging Face's datasets")
    if not _recognise(path):
        raise CorpusError(
            f"{path}: expected a folder that `save_to_disk` of datasets has made, with {_DICT} or {_STATE}"
        )
    try:
        data = library.load_from_disk(str(path))
    except (OSError, ValueError, KeyError, TypeError, library.exceptions.DatasetsError) as error:
        raise CorpusError(f"{path}: not readable as a saved dataset ({' '.join(str(error).split())[:200]})") from None
    return corpus_from_datasets(data, name=path.resolve().name, unlabelled=unlabelled)


@dataclass(frozen=True)
class _Columns:
    """What the columns of a dataset are called; "" for one that is not there."""

    audio: str
    label: str
    speaker: str
    corpus: str

    @classmethod
    def of(cls, library: Any, features: Any, label: str | None, place: str, *, unlabelled: bool) -> _Columns:
        """Find them, or say which is missing."""
        if features is None:
            raise CorpusError(f"{place}: tells no columns; load it without streaming=True")
        audio = next((name for name, feature in features.items() if isinstance(feature, library.Audio)), "")
        wanted = (label,) if label else _LABELS
        found = next((name for name in wanted if name in features), "")
        if not audio or not (found or unlabelled):
            missing = f"for the emotion, {' or '.join(wanted)}" if audio else "of the type Audio"
            raise CorpusError(f"{place}: no column {missing}; found {', '.join(map(str, features)) or 'none'}")
        speaker = next((name for name in _SPEAKERS if name in features), "")
        return cls(audio, found, speaker, "corpus" if "corpus" in features else "")


def _lines(library: Any, data: Any, columns: _Columns, split: str, place: str, root: Path) -> Iterator[Line]:
    if not hasattr(data, "num_rows"):
        raise CorpusError(f"{place}: is streamed; expected a Dataset, load it without streaming=True")
    features = data.features
    extra = [name for name in features if name not in (columns.audio, columns.label, columns.speaker, columns.corpus)]
    data = data.with_format(None).cast_column(columns.audio, library.Audio(decode=False))
    used: dict[str, int] = {}
    for number, row in enumerate(data):
        where = f"{place}, row {number}"
        label, speaker, corpus = (
            _text(row[name], features[name]) if name else ""
            for name in (columns.label, columns.speaker, columns.corpus)
        )
        path = _sound(row[columns.audio], where, number, root / encodable(split), used)
        told = {name.lower(): _text(row[name], features[name]) for name in extra}
        yield Line(where, path, label, speaker, corpus, extra={SPLIT: split, **told})


def _text(value: Any, feature: Any) -> str:
    """Return a value of a column as text; "" for lists and the like."""
    if value is None or isinstance(value, list | dict | bytes):
        return ""
    if hasattr(feature, "int2str"):
        return str(feature.int2str(value)) if value >= 0 else ""  # -1 is unlabelled there
    return str(value).strip()


def _sound(value: Mapping[str, Any] | None, place: str, number: int, folder: Path, used: dict[str, int]) -> Path:
    """Return the file of a sound, written into the folder where it lies within the data."""
    sound, path = (value or {}).get("bytes"), (value or {}).get("path")
    if sound is None:
        if not path:
            raise CorpusError(f"{place}: has no sound")
        return Path(path)
    # Only the name: a path would tell of the machine that it was made on, or lead out of the folder.
    own = encodable(Path(path or "").name).lstrip(".") or f"{number:06d}{_suffix(sound)}"
    target = folder / unused(own, used)
    if not (is_file(target) and target.stat().st_size == len(sound) and target.read_bytes() == sound):
        with writing(target, durable=False) as temporary:
            temporary.write_bytes(sound)
    return target


def _suffix(sound: bytes) -> str:
    """Return the suffix of a sound file that begins like this."""
    starts = {b"RIFF": ".wav", b"fLaC": ".flac", b"OggS": ".ogg", b"FORM": ".aiff"}
    return starts.get(sound[:4], ".mp3")


def _fingerprint(parts: Mapping[str, Any]) -> str:
    """Return a name for what that library takes for the same data."""
    text = "\n".join(f"{split} {getattr(part, '_fingerprint', '')}" for split, part in parts.items())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write(corpus: Corpus, out: Path, sounds: Sounds, task: Task) -> Written:
    library = _library("writing datasets of Hugging Face")
    work = out / ".cut"  # a stretch at a time into a file, so that memory does not hold them all
    targets = [
        clip.path if clip.is_whole else work / str(place) / f"{clip.path.stem}-{round(1000 * clip.start_s)}ms.wav"
        for place, clip in enumerate(corpus.clips)
    ]
    failed = lay_clips(corpus.clips, targets, how=sounds, task=task)
    clips = kept(corpus.clips, failed)
    places = {id(clip): target for clip, target in zip(corpus.clips, targets, strict=True)}
    data, lost = _tables(library, corpus, clips, [{"bytes": None, "path": str(places[id(clip)])} for clip in clips])
    try:
        with _quiet(library):
            data.save_to_disk(str(out), max_shard_size=_SHARD)
    except OSError as error:
        raise output_error(out, error) from error
    shutil.rmtree(work, ignore_errors=True)
    if not all(clip.is_whole for clip in corpus.clips):
        lost.append("where in their recordings clips begin and end: they are sounds of their own now")
    return Written(failed, lost, 'datasets.load_from_disk("{out}")')


@contextlib.contextmanager
def _quiet(library: Any) -> Iterator[None]:
    """Keep that library from drawing bars between ours."""
    if library.are_progress_bars_disabled():
        yield
        return
    library.disable_progress_bars()
    try:
        yield
    finally:
        library.enable_progress_bars()


def _library(what: str) -> Any:
    silence("datasets")
    try:
        import datasets
    except ImportError:
        raise MissingExtraError(what, "datasets") from None
    return datasets


DATASETS = Format(
    "datasets", "folder of Hugging Face's datasets", ("reference",), _recognise, _read, _write, within=True
)

"""A corpus of sound -> a folder of spectrogram pictures, one folder for each emotion.

    OUT/Angry/03-01-05-01-01-01-01.png ...    128x128 RGB
    OUT/metadata.csv                          one line for each picture, as Hugging Face's ImageFolder reads it
    OUT/spectrogram.toml                      the settings, so that a model trained on the pictures can take sound

Each picture carries, in a text field of the PNG, the hash of the settings and of the sound it was made from. By it a
second run knows what is done, even after a power cut and without trusting the times of files, which downloading,
unpacking and version control change. Reading all the sound again to hash it costs a tenth of drawing.

Several corpora may share one folder: a run leaves the lines of others alone. A picture whose clip has left the corpus
(or has got another label) loses its line but stays, since nobody asked to delete it; the result names it.
"""

from __future__ import annotations

import contextlib
import csv
import io
import struct
import zlib
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from emogram import spectrogram
from emogram.audio import load_clip
from emogram.config import SpectrogramConfig, read_toml
from emogram.corpora import Corpus
from emogram.corpora.file_names import class_file_names, encodable
from emogram.errors import CorpusError, EmogramError, OutputError
from emogram.files import sha256_of, write_text, writing
from emogram.parallel import map_parallel
from emogram.progress import SILENT, Progress
from emogram.records import Clip

METADATA = "metadata.csv"
SETTINGS = "spectrogram.toml"

Row = dict[str, str]
Job = tuple[Clip, Path]
Outcome = Literal["written", "unchanged"]

_TAG = "emogram"  # keyword of the PNG text field
_PNG_BEGIN, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_HEAD_BYTES = 512  # the text field stands before the pixels
# On RAVDESS 4 takes half as long again and makes pictures 2 % larger; 6 takes three times as long and saves 3 %.
_COMPRESS_LEVEL = 1


@dataclass(frozen=True)
class PicturesResult:
    """What `write_pictures` did.

    Attributes:
        written: How many pictures were drawn.
        unchanged: How many stood there already, made from the same sound with the same settings.
        failed: Each clip that could not be drawn, and why.
        strays: Pictures in the class folders that `metadata.csv` does not list, such as those of clips that have left
            the corpus. Training would take their folder for their label.
    """

    written: int
    unchanged: int
    failed: tuple[tuple[Clip, str], ...]
    strays: tuple[Path, ...]


def write_pictures(
    corpus: Corpus, out: Path, config: SpectrogramConfig, *, workers: int | None = None, progress: Progress = SILENT
) -> PicturesResult:
    """Draw each clip of a corpus, unless it is drawn already.

    Interrupted, or with the disk full, it leaves a `metadata.csv` of what is done; the same call goes on from there.

    Args:
        corpus: Clips of sound.
        out: Folder for the pictures; may hold those of an earlier run or of other corpora.
        config: How; `kind` counts as "picture" whatever it says.
        workers: Processes; None means one for each processor.
        progress: Listens.

    Raises:
        CorpusError: The corpus is one of pictures, or `out` holds pictures of other corpora made with other settings.
        OutputError: `out` cannot be written, or files stand there that were not made by this function.
    """
    if corpus.kind != "audio":
        raise CorpusError(
            f"{corpus.root}: holds {len(corpus.clips)} pictures; expected sound to draw spectrograms of. Train on them "
            "as they are"
        )
    if out.resolve() == corpus.root.resolve():
        raise OutputError(f"{out}: is the folder of the corpus itself; choose another for the pictures")
    config = config.model_copy(update={"kind": "picture", "utterance_features": False})
    config_hash = config.content_hash()
    earlier = _read_metadata(out)
    if earlier is None:
        raise OutputError(
            f"{out / METADATA}: not made by 'emogram spectrograms'; choose another folder for the pictures"
        )
    rows = _rows_of_others(earlier, corpus, config_hash, out)
    names = file_names(corpus.clips, taken=rows)
    rows |= {name: earlier[name] for name in names if name in earlier and (out / name).is_file()}
    jobs = [(clip, out / name) for clip, name in zip(corpus.clips, names, strict=True)]
    _refuse_foreign([target for _, target in jobs])

    write_text(out / SETTINGS, _settings_text(config))
    counts: Counter[Outcome] = Counter()
    failed: dict[int, str] = {}
    try:
        with (
            progress.task("spectrograms", len(jobs)) as task,
            contextlib.closing(_outcomes(jobs, config, workers)) as outcomes,
        ):
            for index, outcome in outcomes:
                if isinstance(outcome, OutputError):
                    raise outcome  # the next picture would meet the same full disk
                if isinstance(outcome, EmogramError):
                    failed[index] = str(outcome)
                    rows.pop(names[index], None)
                else:
                    counts[outcome] += 1
                    rows[names[index]] = _row(names[index], corpus.clips[index], corpus.root, config_hash)
                task.advance()
    finally:
        _write_metadata(out / METADATA, rows.values())
    complaints = tuple((corpus.clips[index], failed[index]) for index in sorted(failed))
    return PicturesResult(counts["written"], counts["unchanged"], complaints, _strays(out, rows))


def read_picture_config(folder: Path) -> SpectrogramConfig | None:
    """Return the settings that the pictures in a folder were made with, or None where they do not tell.

    Raises:
        SettingsError: `spectrogram.toml` is there, but cannot be understood.
        CorpusError: Some pictures were made with other settings, as after an interrupted run with new ones.
    """
    path = folder / SETTINGS
    if not path.is_file():
        return None
    config = SpectrogramConfig.from_dict(read_toml(path))
    hashes = Counter(row["config_hash"] for row in (_read_metadata(folder) or {}).values())
    n_others = hashes.total() - hashes[config.content_hash()]
    if n_others:
        raise CorpusError(
            f"{folder}: {n_others} of {hashes.total()} pictures were made with other settings than {SETTINGS} says; "
            "run 'emogram spectrograms' again to finish them"
        )
    return config


def file_names(clips: Sequence[Clip], *, taken: Iterable[str] = ()) -> list[str]:
    """Return where each clip's picture lies below the folder: `<Label>/<stem>.png`, as `class_file_names` has it."""
    return class_file_names(clips, [".png"] * len(clips), taken=taken)


def _outcomes(
    jobs: Sequence[Job], config: SpectrogramConfig, workers: int | None
) -> Generator[tuple[int, Outcome | EmogramError], None, None]:
    config_hash = config.content_hash()
    todo = []
    for index, (clip, target) in enumerate(jobs):
        if _is_current(clip, target, config_hash):
            yield index, "unchanged"
        else:
            todo.append(index)
    draw = partial(_draw, config=config, config_hash=config_hash)
    with contextlib.closing(map_parallel(draw, [jobs[index] for index in todo], workers=workers)) as results:
        for position, result in results:
            yield todo[position], result


def _draw(job: Job, *, config: SpectrogramConfig, config_hash: str) -> Outcome:
    clip, target = job
    pixels = spectrogram.picture(load_clip(clip, sample_rate=config.sample_rate), config)
    with writing(target, durable=False) as temporary:
        temporary.write_bytes(_png(pixels, _origin(clip, config_hash)))
    return "written"


def _png(pixels: npt.NDArray[np.uint8], origin: str) -> bytes:
    """Return a picture, shape (height, width, 3), as PNG with what it was made from.

    Its rows are packed as they are. Pillow tries five filters on each, which suit photographs: that takes four times as
    long, and makes pictures of 256 colours 10 % larger. W3C, "Portable Network Graphics (PNG) Specification", 2003.
    """
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # before each the number of its filter: none
    rows[:, 1:] = pixels.reshape(height, -1)
    chunks = {
        b"IHDR": struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0),  # 8 bits of red, green and blue
        b"tEXt": f"{_TAG}\0{origin}".encode("latin-1"),
        b"IDAT": zlib.compress(rows.tobytes(), _COMPRESS_LEVEL),
        b"IEND": b"",
    }
    return _PNG_BEGIN + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    )


def _origin(clip: Clip, config_hash: str) -> str:
    """Return what a picture depends on: settings, content of the sound file, and the stretch of it."""
    status = clip.path.stat()
    content = _content_hash(clip.path, status.st_size, status.st_mtime_ns)
    return f"{config_hash} {content} {clip.start_s:g} {'end' if clip.end_s is None else f'{clip.end_s:g}'}"


@lru_cache(maxsize=64)  # many clips may be stretches of one long recording
def _content_hash(path: Path, _size: int, _mtime_ns: int) -> str:
    return sha256_of(path)[:32]


def _is_current(clip: Clip, target: Path, config_hash: str) -> bool:
    try:
        head = _whole_png_head(target)
        return f"{_TAG}\0{_origin(clip, config_hash)}".encode("latin-1") in head
    except OSError:
        return False  # no picture yet; or no sound any more, which drawing will tell


def _whole_png_head(path: Path) -> bytes:
    """Return the beginning of a PNG, or nothing for a file that is not whole."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        file.seek(max(0, path.stat().st_size - len(_PNG_END)))
        whole = head.startswith(_PNG_BEGIN) and file.read() == _PNG_END
    return head if whole else b""


def _refuse_foreign(targets: Sequence[Path]) -> None:
    foreign = []
    for target in targets:
        with contextlib.suppress(OSError):
            head = _whole_png_head(target)
            if head and f"{_TAG}\0".encode("latin-1") not in head:
                foreign.append(target)
    if foreign:
        raise OutputError(
            f"{foreign[0]}: {len(foreign)} pictures that emogram did not make stand where others would be written; "
            "choose another folder"
        )


def _row(name: str, clip: Clip, root: Path, config_hash: str) -> Row:
    source = clip.path.relative_to(root) if clip.path.is_relative_to(root) else Path(clip.path.name)
    row = {
        **clip.extra,
        "file_name": name,
        "label": clip.label or "",
        "speaker": clip.speaker or "",
        "corpus": clip.corpus,
        "gender": clip.extra.get("gender", ""),
        "source": source.as_posix(),
        "config_hash": config_hash,
    }
    return {key: encodable(value) for key, value in row.items()}


def _read_metadata(folder: Path) -> dict[str, Row] | None:
    """Return the lines of `metadata.csv` by file name; None for a file of that name that this module did not write."""
    path = folder / METADATA
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{key: value or "" for key, value in row.items() if key} for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error):
        return None
    if any("file_name" not in row or "config_hash" not in row for row in rows):
        return None
    return {row["file_name"]: row for row in rows}


def _rows_of_others(earlier: Mapping[str, Row], corpus: Corpus, config_hash: str, out: Path) -> dict[str, Row]:
    own = {clip.corpus for clip in corpus.clips}
    others = {name: row for name, row in earlier.items() if row.get("corpus") not in own and (out / name).is_file()}
    for row in others.values():
        if row["config_hash"] != config_hash:
            raise CorpusError(
                f"{out}: holds pictures of the corpus '{row.get('corpus', '')}' made with other settings; use the same "
                "settings, or choose another folder"
            )
    return others


def _write_metadata(path: Path, rows: Iterable[Row]) -> None:
    ordered = sorted(rows, key=lambda row: row["file_name"])
    base = ["file_name", "label", "speaker", "corpus", "gender"]
    last = ["source", "config_hash"]
    shared = set.intersection(*(set(row) for row in ordered)) if ordered else set()
    text = io.StringIO()
    columns = [*base, *sorted(shared - {*base, *last}), *last]
    writer: csv.DictWriter[Any] = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(ordered)
    write_text(path, text.getvalue())


def _settings_text(config: SpectrogramConfig) -> str:
    import tomli_w

    return tomli_w.dumps(config.to_dict())


def _strays(out: Path, rows: Mapping[str, Row]) -> tuple[Path, ...]:
    pictures = (
        path
        for path in out.glob("*/*")
        if path.suffix.lower() in spectrogram.PICTURE_SUFFIXES and not path.name.startswith(".")
    )
    return tuple(sorted(path for path in pictures if path.relative_to(out).as_posix() not in rows))

"""A corpus -> a folder in a format of another project, which is there whole or not at all.

It is made in `.NAME-converting` beside the folder, and renamed when all of it is on the disk.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from emogram.corpora.corpus import Corpus
from emogram.corpora.formats import FORMATS, Sounds
from emogram.errors import CorpusError, OutputError, SettingsError
from emogram.files import lock, output_error
from emogram.nearby import unknown
from emogram.progress import SILENT, Progress
from emogram.records import Clip


@dataclass(frozen=True)
class Converted:
    """What `convert` did.

    Attributes:
        out: The folder.
        format: Name of the format.
        sounds: "copy", "link" or "reference"; "within" where the format holds the sound itself.
        n_clips: How many clips are in it.
        failed: Each clip whose sound cannot be had, and why.
        lost: What the format cannot hold, one line each.
        hint: How the project that the format is of takes it.
    """

    out: Path
    format: str
    sounds: str
    n_clips: int
    failed: tuple[tuple[Clip, str], ...]
    lost: tuple[str, ...]
    hint: str


def convert(
    corpus: Corpus, to: str, out: str | Path, *, sounds: Sounds | None = None, progress: Progress = SILENT
) -> Converted:
    """Write a corpus of sound in a format of another project. Clips whose sound cannot be had are left out and named.

    Args:
        corpus: As `find_corpus` returns it.
        to: One of `FORMATS`.
        out: A new folder, or an empty one.
        sounds: How sound comes into it; by default as the format has it first.
        progress: Told after each clip.

    Raises:
        SettingsError: There is no such format, it cannot have sound in that way, or `out` holds something.
        CorpusError: The corpus is of pictures.
        OutputError: It cannot be written, or another process is at it.
        MissingExtraError: The format needs an extra that is not installed.
    """
    out = Path(out)
    if to not in FORMATS:
        raise SettingsError(unknown("format", to, FORMATS))
    form = FORMATS[to]
    how = sounds or form.sounds[0]
    if how not in form.sounds:
        held = "holds the sound within" if form.within else f"takes {' or '.join(form.sounds)}"
        raise SettingsError(f"--sounds {how}: {to} {held}; leave it out, or choose another format")
    if corpus.kind != "audio":
        raise CorpusError(f"{corpus.root}: holds pictures; expected sound, which is what {to} holds")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise SettingsError(f"{out}: is there already; name a new folder")
    work = out.with_name(f".{out.name}-converting")
    try:
        work.mkdir(parents=True, exist_ok=True)
        with (work / "lock").open("ab") as handle:
            if not lock(handle):
                raise OutputError(f"{out}: another process converts into it; wait for that")
            made = work / "made"
            shutil.rmtree(made, ignore_errors=True)  # what a killed process has left
            made.mkdir()
            with progress.task(f"Converting {corpus.name}", len(corpus.clips)) as task:
                written = form.write(corpus, made, how, task)
            if hasattr(os, "sync"):
                os.sync()  # all at once: a flush for each of thousands of files would take minutes
            made.replace(out)
    except OSError as error:
        raise output_error(out, error) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Converted(
        out,
        to,
        "within" if form.within else how,
        len(corpus.clips) - len(written.failed),
        tuple(written.failed),
        tuple(written.lost),
        written.hint.format(out=out),
    )

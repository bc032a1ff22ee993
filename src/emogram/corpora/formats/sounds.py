"""Sound files into the folder of a format: copied, linked, or only referred to; and stretches of them cut out."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from emogram.audio import decode, openable
from emogram.corpora.corpus import Corpus
from emogram.corpora.file_names import encodable, unused
from emogram.errors import AudioError, EmogramError, OutputError
from emogram.files import output_error, require_space
from emogram.progress import Task
from emogram.records import Clip

Sounds = Literal["copy", "link", "reference"]
"""How sound comes into a format: as a copy, as a hard link, or by the absolute path of the file where it is."""

Failed = list[tuple[Clip, str]]


def names_of(corpus: Corpus) -> dict[Path, str]:
    """Return a name for each sound file of a corpus, with forward slashes: its path below the root, where it is there.

    Names are valid text, and differ by more than case.
    """
    root = corpus.root if corpus.root.is_dir() else corpus.root.parent
    used: dict[str, int] = {}
    names: dict[Path, str] = {}
    for clip in corpus.clips:
        if clip.path not in names:
            below = clip.path.is_relative_to(root) and ".." not in clip.path.relative_to(root).parts
            own = clip.path.relative_to(root).as_posix() if below else f"{clip.corpus}/{clip.path.name}"
            names[clip.path] = unused(encodable(own), used)
    return names


def lay_files(clips: Sequence[Clip], targets: Mapping[Path, Path], *, how: Sounds, task: Task) -> Failed:
    """Copy or link the files of clips, each once, or see only that they are there.

    Args:
        clips: The clips; several may be stretches of one file.
        targets: Sound file -> where it goes.
        how: Copied, linked or left where it is.
        task: Told after each clip.

    Returns:
        The clips whose file cannot be had, and why.

    Raises:
        OutputError: A file cannot be written, or a link cannot be made.
    """
    _require_space(clips, next(iter(targets.values())).parent if targets else None, how)
    failed: Failed = []
    done: dict[Path, str] = {}
    for clip in clips:
        if clip.path not in done:
            done[clip.path] = _lay(clip.path, targets.get(clip.path, clip.path), how)
        if done[clip.path]:
            failed.append((clip, done[clip.path]))
        task.advance()
    return failed


def lay_clips(clips: Sequence[Clip], targets: Sequence[Path], *, how: Sounds, task: Task) -> Failed:
    """Give each clip a file of its own: copied or linked where it is a whole file, else cut out of it.

    Args:
        clips: The clips.
        targets: Where the sound of each goes; what is cut is a WAV file.
        how: Copied or linked.
        task: Told after each clip.

    Returns:
        The clips whose sound cannot be had, and why.

    Raises:
        OutputError: A file cannot be written, or a link cannot be made.
    """
    _require_space([clip for clip in clips if clip.is_whole], targets[0].parent if targets else None, how)
    failed: Failed = []
    for clip, target in zip(clips, targets, strict=True):
        reason = ""
        if clip.is_whole:
            reason = _lay(clip.path, target, how)
        else:
            try:
                _cut(clip, target)
            except AudioError as error:
                reason = str(error)
        if reason:
            failed.append((clip, reason))
        task.advance()
    return failed


def _lay(source: Path, target: Path, how: Sounds) -> str:
    """Lay one file, and return why its sound cannot be had, or ""."""
    if not source.is_file():
        return f"{source}: no such file"
    if not os.access(source, os.R_OK):
        return f"{source}: no permission to read it"
    if how == "reference":
        return ""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if how == "copy":
            shutil.copyfile(source, target)
        else:
            os.link(source.resolve(), target)  # what is linked to must not depend on another link
    except OSError as error:
        if how == "link" and error.errno in (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise OutputError(
                f"cannot link {target} to {source}: not on one disk, or its file system has no hard links; say "
                "--sounds copy"
            ) from error
        raise output_error(target, error) from error
    return ""


def _require_space(clips: Sequence[Clip], folder: Path | None, how: Sounds) -> None:
    if how != "copy" or folder is None:
        return
    sizes = [path.stat().st_size for path in {clip.path for clip in clips} if path.is_file()]
    require_space(folder, sum(sizes), what=f"a copy of {len(sizes):,} sound files (--sounds link takes no space)")


def kept(clips: Sequence[Clip], failed: Failed) -> list[Clip]:
    """Return the clips that are left.

    Raises:
        EmogramError: None is.
    """
    gone = {id(clip) for clip, _ in failed}
    left = [clip for clip in clips if id(clip) not in gone]
    if not left:
        raise EmogramError(f"nothing could be converted; the first of {len(failed):,} clips: {failed[0][1]}")
    return left


def _cut(clip: Clip, target: Path) -> None:
    """Write the stretch of a file that a clip is, at its own rate and with all its channels.

    As 16-bit integers where the file holds such, to the bit; else as single precision.
    """
    import numpy as np
    import soundfile

    samples, rate = decode(clip.path, start_s=clip.start_s, end_s=clip.end_s)
    exact = soundfile.info(openable(clip.path)).subtype == "PCM_16"
    values = np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16) if exact else samples
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(openable(target), values, rate, subtype="PCM_16" if exact else "FLOAT", format="WAV")
    except OSError as error:
        raise output_error(target, error) from error
    except soundfile.LibsndfileError as error:
        raise OutputError(f"cannot write {target}: {error.error_string}") from None

"""Names for files that are made of clips, which any file system takes and which tell label, file and times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from emogram.records import Clip

_FORBIDDEN = str.maketrans(dict.fromkeys('/\\:*?"<>|\0', "_"))


def class_file_names(clips: Sequence[Clip], suffixes: Sequence[str], *, taken: Iterable[str] = ()) -> list[str]:
    """Return where the file of each clip lies below a folder: `<Label>/<stem><suffix>`, with forward slashes.

    A clip that is a stretch of its file has its times in the name. Clips of one label and stem get the name of their
    folder in front; what is still the same, or was taken before, gets a number behind. Case does not tell names apart,
    since some file systems do not.

    Args:
        clips: Their order decides who gets which number.
        suffixes: Of the file of each.
        taken: Names that are in use.
    """
    folders = [folder_name(clip.label or "unlabelled") for clip in clips]
    stems = [_stem(clip) for clip in clips]
    crowd = Counter(f"{folder}/{stem}".casefold() for folder, stem in zip(folders, stems, strict=True))
    used = {name.casefold(): 1 for name in taken}
    names = []
    for clip, folder, stem, suffix in zip(clips, folders, stems, suffixes, strict=True):
        if crowd[f"{folder}/{stem}".casefold()] > 1:
            stem = encodable(f"{clip.path.parent.name}-{stem}")
        names.append(unused(f"{folder}/{stem}{suffix}", used))
    return names


def unused(name: str, used: dict[str, int]) -> str:
    """Return a name, with a number before its suffix where it is in use, and note it down.

    Args:
        name: May have folders in front, with forward slashes.
        used: Each name in use, case folded -> the last number that was given to one like it.
    """
    number = used.setdefault(name.casefold(), 0) + 1
    free = name
    if number > 1:
        stem, dot, suffix = name.rpartition(".") if "." in name.rsplit("/", 1)[-1] else (name, "", "")
        while (free := f"{stem}-{number}{dot}{suffix}").casefold() in used:
            number += 1
        used[free.casefold()] = 1
    used[name.casefold()] = number
    return free


def folder_name(label: str) -> str:
    """Return the name of the folder for a label, which may hold anything; it begins with a capital letter."""
    # A leading dot would hide the folder from every reader.
    name = label.translate(_FORBIDDEN).strip().lstrip(".") or "_"
    return encodable(name[0].upper() + name[1:])


def _stem(clip: Clip) -> str:
    if clip.is_whole:
        return encodable(clip.path.stem)
    end = "end" if clip.end_s is None else f"{round(1000 * clip.end_s)}"
    return encodable(f"{clip.path.stem}-{round(1000 * clip.start_s)}-{end}ms")


def encodable(name: str) -> str:
    """Replace what is not valid text in the name of a file, which some old archives leave behind."""
    return name.encode("utf-8", "replace").decode("utf-8")

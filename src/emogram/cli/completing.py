"""What the shell is told when somebody presses Tab: names that only emogram knows; files the shell knows itself.

Typer writes and installs the scripts for bash, zsh and fish, and completes commands, options and choices. Each function
here gets what stands before the cursor and returns what it may become; where that is nothing, the shell offers files.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

VARIABLE = "_EMOGRAM_COMPLETE"

Completer = Callable[[str], list[str]]


def words_so_far() -> list[str] | None:
    """Return the finished words behind `emogram` on the line that a shell asks about; None where no shell asks."""
    if not os.environ.get(VARIABLE, "").startswith("complete_"):
        return None
    line = os.environ.get("COMP_WORDS")  # of bash, with the number of the word at the cursor
    if line is not None:
        return line.split()[1 : int(os.environ.get("COMP_CWORD", "1"))]
    line = os.environ.get("_TYPER_COMPLETE_ARGS", "")  # of zsh and fish: all before the cursor
    words = line.split()[1:]
    return words if line.endswith(" ") else words[:-1]


def one_of(names: Callable[[], Iterable[str]]) -> Completer:
    """Complete one of some names, which are looked up only then."""
    return lambda incomplete: [name for name in names() if name.startswith(incomplete)]


def some_of(complete: Completer) -> Completer:
    """Complete the last of several values between commas."""

    def complete_last(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        chosen = set(before.split(","))
        return [f"{before}{comma}{name}" for name in complete(last) if name not in chosen]

    return complete_last


def models(incomplete: str) -> list[str]:
    """Complete the name of a model: the one inside the package, and models and runs in reach of what was typed."""
    from emogram.bundle import INFO_FILE, SHIPPED

    typed = Path(incomplete)
    folder, start = (typed, "") if incomplete.endswith(os.sep) else (typed.parent, typed.name)
    here = [folder] if incomplete else [Path(), Path("runs")]
    found = [SHIPPED] if SHIPPED.startswith(incomplete) else []
    for place in here:
        for each in sorted(place.glob(f"{glob.escape(start)}*")):
            if (each / INFO_FILE).is_file() or (each / "model" / INFO_FILE).is_file():
                found.append(str(each))
    return found


def networks() -> Iterable[str]:
    """Return the names of networks, without importing Keras."""
    from emogram.config import NETWORK_NAMES

    return NETWORK_NAMES


def protocols() -> Iterable[str]:
    """Return the names of protocols."""
    from emogram.protocols import PROTOCOLS

    return PROTOCOLS


def labels() -> Iterable[str]:
    """Return the canonical names of emotions."""
    from emogram.corpora.labels import EMOTIONS

    return EMOTIONS


def corpora() -> Iterable[str]:
    """Return what `--as` takes."""
    from emogram.corpora import CORPUS_NAMES

    return CORPUS_NAMES


def downloads() -> Iterable[str]:
    """Return the corpora that can be downloaded by a program."""
    from emogram.corpora.named import CORPORA
    from emogram.corpora.origin import Download

    return [name for name, naming in CORPORA.items() if isinstance(naming.origin, Download)]


def formats() -> Iterable[str]:
    """Return the formats of timelines."""
    from emogram.writers.timelines import FORMATS

    return FORMATS


def conditions() -> Iterable[str]:
    """Return the conditions of `emogram robustness`."""
    from emogram.degrade import CONDITIONS

    return CONDITIONS


SETTINGS: Mapping[str, Completer] = {
    "network": one_of(networks),
    "protocol": one_of(protocols),
    "hard_classes": some_of(one_of(labels)),
    "init": models,
    "teachers": some_of(models),
}
"""Settings whose values emogram knows and Typer does not."""

"""What somebody may have meant who wrote a name that is not there."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

MAX_NEIGHBOURS = 5000  # names in a folder that are looked at


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that looks most like a name, whatever its case, or that holds it; None where none does."""
    import difflib  # takes as long as all of `emogram` that is imported before

    by_fold = {choice.casefold(): choice for choice in choices}
    wanted = name.casefold()
    close = difflib.get_close_matches(wanted, by_fold, n=1)
    holding = [choice for choice in by_fold if len(wanted) >= 2 and wanted in choice]
    found = close or holding
    return by_fold[found[0]] if found else None


def unknown(kind: str, name: str, choices: Iterable[str]) -> str:
    """Return what to say of a name that is none of the choices, such as an unknown network.

    Args:
        kind: What is named: "network".
        name: The name that was given.
        choices: Those there are, in the order in which they are told.
    """
    known = tuple(choices)
    near = nearest(name, known)
    meant = f" (did you mean '{near}'?)" if near else ""
    return f"unknown {kind} '{name}'{meant}; expected one of {', '.join(known)}"


def beside(path: Path) -> str:
    """Return " (did you mean ...?)" for a path that is not there, from what lies beside it, or "".

    Of a path whose folder is missing already, the first part that is missing is told.
    """
    missing = path
    while not missing.parent.is_dir():
        if missing.parent == missing:
            return ""
        missing = missing.parent
    try:
        neighbours = [each.name for each in itertools.islice(missing.parent.iterdir(), MAX_NEIGHBOURS)]
    except OSError:  # may not be looked into
        return ""
    near = nearest(missing.name, neighbours)
    return f" (did you mean {missing.parent / near}?)" if near and near != missing.name else ""

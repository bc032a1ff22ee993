"""How long work tells how far it is, without knowing who listens.

The library calls a `Progress`; the command line passes one that draws bars, tests pass one that records.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class Task:
    """One piece of work with a known number of steps."""

    def advance(self, steps: int = 1, *, note: str = "") -> None:
        """Say that `steps` more are done; `note` is a short word on the state, such as the loss."""


class Progress:
    """Listens to long work and, by default, does nothing with it."""

    @contextlib.contextmanager
    def task(self, what: str, total: int, *, unit: str = "clips") -> Iterator[Task]:
        """Announce a piece of work of `total` steps."""
        yield Task()

    def say(self, line: str) -> None:
        """Pass on one line for the reader: a warning, or a result worth keeping on the screen."""

    def measured(self, name: str, step: int, value: float) -> None:
        """Pass on a figure of work that goes on, for a program that decides by it: `value` of `name` after `step`."""


SILENT = Progress()

"""The process in which one tracker works: it is told, line by line, what a `Tracker` takes, and answers each line.

A process of its own, since a tracker may wait for a server that is gone, draw from the random generators that decide
what a training comes to, and is to say so when the training is killed.
"""

from __future__ import annotations

import time
import warnings
from collections import deque
from typing import Any

from emogram.trackers.about import About
from emogram.trackers.mlflow import MLflow
from emogram.trackers.tracker import Tracker
from emogram.trackers.wandb import WandB
from emogram.watched import Parent

RETRY_S = 30.0
_MOST_LETTERS = 160  # of what a tracker says of its failure; some print a whole request


class Work:
    """What a tracker is told, in order; what it could not take is kept and tried again."""

    def __init__(self, tracker: Tracker) -> None:
        """Nothing is to be done yet."""
        self._tracker = tracker
        self._calls: deque[dict[str, Any]] = deque()
        self._not_before = 0.0

    def take(self, call: dict[str, Any]) -> dict[str, str]:
        """Do a call and those that wait before it.

        Args:
            call: The name of a method of `Tracker` as "do", and its arguments.

        Returns:
            In words under "failed" why some of them still wait; empty where none does.
        """
        self._calls.append(call)
        if time.monotonic() < self._not_before and call["do"] != "end":
            return {"failed": "it failed a moment ago"}
        try:
            while self._calls:
                values = dict(self._calls[0])
                getattr(self._tracker, values.pop("do"))(**values)
                self._calls.popleft()
        except Exception as error:  # of foreign code, over a network: whatever it is, the reader is told
            self._not_before = time.monotonic() + RETRY_S
            return {"failed": _words(error)}
        return {}


def main() -> None:
    """Serve until the run has ended or whoever trains is gone."""
    warnings.simplefilter("ignore")  # those of the tracker's own parts are for its makers
    parent = Parent(patient=True)
    work = Work(_make(**parent.hear()))
    call: dict[str, Any] = {"do": ""}
    while call["do"] != "end":
        try:
            call = parent.hear()
        except EOFError:
            call = {"do": "end", "status": "killed"}
        parent.say(work.take(call))


def _make(tracker: str, about: dict[str, Any], uri: str | None = None) -> Tracker:
    return MLflow(About(**about), str(uri)) if tracker == "MLflow" else WandB(About(**about))


def _words(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}…"


if __name__ == "__main__":
    main()

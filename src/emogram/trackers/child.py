"""The process in which one tracker works: it is told, line by line, what a `Tracker` takes, and answers each line.

A process of its own, since a tracker may wait for a server that is gone, draw from the random generators that decide
what a training comes to, and is to say so when the training is killed.
"""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

from emogram.trackers.about import About
from emogram.trackers.mlflow import MLflow
from emogram.trackers.tracker import Tracker
from emogram.trackers.wandb import WandB
from emogram.watched import Parent


def main() -> None:
    """Serve until the run has ended or whoever trains is gone."""
    warnings.simplefilter("ignore")  # those of the tracker's own parts are for its makers
    parent = Parent(patient=True)
    tracker: Tracker | None = None
    try:
        tracker = _make(**parent.hear())
        while (call := parent.hear()) is not None:
            getattr(tracker, call.pop("do"))(**call)
            parent.say({})
    except EOFError:
        if tracker is not None:
            with contextlib.suppress(Exception):  # there is nobody left to tell
                tracker.end("killed")
    except Exception as error:  # whatever it is, the training goes on, and its reader is told
        parent.say({"failed": _words(error)})


def _make(tracker: str, about: dict[str, Any], uri: str | None = None) -> Tracker:
    return MLflow(About(**about), str(uri)) if tracker == "mlflow" else WandB(About(**about))


def _words(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]}…"


if __name__ == "__main__":
    main()

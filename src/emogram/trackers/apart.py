"""A tracker that works in a process of its own, as whoever trains sees it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from emogram.errors import EmogramError
from emogram.progress import Progress
from emogram.trackers.about import About
from emogram.trackers.tracker import Status
from emogram.watched import Child, Died, Late

_TELL_S = 5.0
END_S = 120.0  # for what is still on its way when the run is over, such as a model to a server far away


class Apart:
    """Passes every call on and waits for nothing but the end; a failure there is raised by a later call here."""

    def __init__(self, tracker: str, about: About, *, progress: Progress, uri: str | None = None) -> None:
        """Start the process; `tracker` is "mlflow", which has a `uri`, or "wandb"."""
        self._name = tracker
        self._progress = progress
        self._child = Child("emogram.trackers.child")
        self._child.ask({"tracker": tracker, "about": asdict(about), "uri": uri})
        self._unanswered = 0

    def begin(self) -> None:
        """See `Tracker`."""
        self._call("begin")

    def epochs(self, rows: Sequence[Mapping[str, float]]) -> None:
        """See `Tracker`."""
        self._call("epochs", rows=[dict(row) for row in rows])

    def picture(self, name: str, path: str) -> None:
        """See `Tracker`."""
        self._call("picture", name=name, path=path)

    def result(self, metrics: Mapping[str, float], model: str | None) -> None:
        """See `Tracker`."""
        self._call("result", metrics=dict(metrics), model=model)

    def end(self, status: Status) -> None:
        """Wait until all of it has arrived, and end the process."""
        try:
            self._call("end", status=status)
            if not self._are_answered(_TELL_S):
                self._progress.say(f"{self._name} is still taking what it was told; waiting up to {END_S:.0f} s for it")
                self.settle(END_S)
        finally:
            self._child.end()

    def settle(self, limit_s: float) -> None:
        """Wait until all that was told has arrived.

        Raises:
            EmogramError: It failed, or takes longer.
        """
        if not self._are_answered(limit_s):
            raise EmogramError(f"it did not answer within {limit_s:.0f} s")

    def drop(self) -> None:
        """End the process without a word."""
        self._child.end()

    def _call(self, do: str, **values: Any) -> None:
        self._child.ask({"do": do, **values})
        self._unanswered += 1
        self._are_answered(0.0)

    def _are_answered(self, limit_s: float) -> bool:
        until = time.monotonic() + limit_s
        while self._unanswered:
            try:
                answer = self._child.answer(max(0.0, until - time.monotonic())).head
            except Late:
                return False
            except Died as error:
                raise EmogramError(f"its process died ({error})") from None
            if "failed" in answer:
                raise EmogramError(answer["failed"])
            self._unanswered -= 1
        return True

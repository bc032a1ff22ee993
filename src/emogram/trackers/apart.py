"""A tracker that works in a process of its own, as whoever trains sees it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from emogram.errors import EmogramError
from emogram.progress import Progress
from emogram.trackers.about import About
from emogram.trackers.tracker import Status, warn
from emogram.watched import Child, Died, Late

_TELL_S = 5.0
END_S = 120.0  # for what is still on its way when the run is over, such as a model to a server far away


class Apart:
    """Passes every call on and waits for nothing but the end. What fails is told once, and tried again there."""

    def __init__(self, name: str, about: About, *, progress: Progress, uri: str | None = None) -> None:
        """Start the process; `name` is "MLflow", which has a `uri`, or "W&B"."""
        self._name = name
        self._progress = progress
        self._out = about.folder
        self._child = Child("emogram.trackers.child")
        self._child.ask({"tracker": name, "about": asdict(about), "uri": uri})
        self._unanswered = 0
        self._has_failed = False
        self._lacks_some = False

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
            if not self.settle(_TELL_S):
                self._progress.say(f"{self._name} is still taking what it was told; waiting up to {END_S:.0f} s for it")
                if not self.settle(END_S):
                    self._take({"failed": f"it did not answer within {END_S:.0f} s"})
        finally:
            self._child.end()
        if self._has_failed:
            has = "lacks a part of this run" if self._lacks_some else "has all of this run"
            self._progress.say(f"{self._name} {has} in the end")

    def settle(self, limit_s: float) -> bool:
        """Wait until all that was told has been dealt with, and tell whether it was."""
        until = time.monotonic() + limit_s
        while self._unanswered:
            try:
                answer = self._child.answer(max(0.0, until - time.monotonic())).head
            except Late:
                return False
            except Died as error:
                raise EmogramError(f"its process died ({error})") from None
            self._unanswered -= 1
            self._take(answer)
        return True

    def drop(self) -> None:
        """End the process without a word."""
        self._child.end()

    def _call(self, do: str, **values: Any) -> None:
        self._child.ask({"do": do, **values})
        self._unanswered += 1
        self.settle(0.0)

    def _take(self, answer: Mapping[str, Any]) -> None:
        self._lacks_some = "failed" in answer
        if self._lacks_some and not self._has_failed:
            self._has_failed = True
            warn(self._progress, self._name, answer["failed"], self._out, then="and what it misses is told again")

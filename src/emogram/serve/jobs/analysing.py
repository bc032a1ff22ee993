"""The process that works on one job: it tells how far it is, writes the result into the job's folder, and ends."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emogram.errors import EmogramError, OutputError
from emogram.progress import Progress, Task
from emogram.serve.child import limit_memory
from emogram.serve.problems import message_of
from emogram.watched import Parent

TELL_S = 0.2  # between two words on how far it is


def main() -> None:
    """Do the job that the parent tells."""
    parent = Parent()
    job = parent.hear()
    limit_memory(job["memory_mb"])
    try:
        answer = {"finished": _analysed(job, Told(parent))}
    except OutputError:  # which tells paths
        answer = {"error": {"code": "disk_full", "message": f"{job['name']}: no room for the result; send it again"}}
    except EmogramError as error:
        answer = {"error": {"code": error.code, "message": _named(message_of(error), job)}}
    except MemoryError:
        answer = {"error": {"code": "memory", "message": f"{job['name']}: not enough memory for this file"}}
    parent.say(answer)
    parent.hear()  # until the parent ends this process


def _analysed(job: dict[str, Any], progress: Progress) -> dict[str, Any]:
    from dataclasses import replace

    from emogram.config import TimelineConfig
    from emogram.serve.jobs.kept import keep
    from emogram.serve.tasks import ModelsAtHand
    from emogram.timeline import analyze

    classifier = ModelsAtHand({"model": job["model"]}).classifier("model")
    timeline = analyze(
        job["path"],
        model=classifier,
        channels=job["channels"],
        raw=job["raw"],
        config=TimelineConfig(find_speech=job["find_speech"]),
        progress=progress,
    )
    timeline = replace(timeline, warnings=tuple(_named(each, job) for each in timeline.warnings))
    keep(Path(job["folder"]), timeline, name=job["name"], classifier=classifier)
    return {"duration_s": timeline.duration_s}


def _named(text: str, job: dict[str, Any]) -> str:
    """Call the recording what the client calls it: the path means nothing to anybody."""
    return text.replace(job["path"], job["name"])


class Told(Progress):
    """Tells the parent how far the analysis is, some times a second."""

    def __init__(self, parent: Parent) -> None:
        """Tell this parent."""
        self._parent = parent

    @contextlib.contextmanager
    def task(self, what: str, total: int, *, unit: str = "clips") -> Iterator[Task]:
        """Tell of a piece of work, counted in seconds of sound."""
        yield _Told(self._parent, total)


class _Told(Task):
    def __init__(self, parent: Parent, total_s: int) -> None:
        self._parent = parent
        self._total_s = total_s or None  # 0 is what the header leaves open
        self._done_s = 0
        self._told_at = 0.0

    def advance(self, steps: int = 1, *, note: str = "") -> None:
        self._done_s += steps
        now = time.monotonic()
        if now - self._told_at >= TELL_S:
            self._told_at = now
            self._parent.say({"done_s": self._done_s, "total_s": self._total_s})


if __name__ == "__main__":
    main()

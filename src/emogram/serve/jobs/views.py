"""Files that are made of a job when they are first asked for, and kept beside it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

from emogram.serve.jobs.place import VIEWS
from emogram.serve.jobs.store import Job
from emogram.serve.service import Service

MAX_VIEWS = 48  # of a job; the oldest go

_MAGIC = (
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "audio/ogg"),
    (0, b"ID3", "audio/mpeg"),
    (4, b"ftyp", "audio/mp4"),
    (0, b"\x1aE\xdf\xa3", "audio/webm"),
    (8, b"WAVE", "audio/wav"),
    (8, b"AIFF", "audio/aiff"),
    (8, b"AIFC", "audio/aiff"),
    (0, b".snd", "audio/basic"),
    (0, b"caff", "audio/x-caf"),
    (0, b"#!AMR", "audio/amr"),
)


async def view(service: Service, job: Job, task: str, suffix: str, values: dict[str, Any], *, limit_s: float) -> Path:
    """Return a file of a job, which a process that decodes makes if it is not there yet.

    Args:
        service: The service.
        job: The job.
        task: A name of `tasks.TASKS`.
        suffix: Of the file.
        values: For the task, beside what it learns of the job here.
        limit_s: Longest that making it may take in seconds.

    Raises:
        EmogramError: As `Workers.call`.
    """
    jobs = service.jobs
    key = hashlib.sha256(json.dumps([task, values], sort_keys=True).encode()).hexdigest()[:24]
    out = jobs.place.of(job.id) / VIEWS / f"{key}{suffix}"
    if not await asyncio.to_thread(out.is_file):
        about = {
            "path": str(jobs.sound(job)),
            "name": job.name,
            "model": job.model,
            "duration_s": job.duration_s,
            "folder": str(jobs.place.of(job.id)),
            "out": str(out),
        }
        await service.workers.call(task, {**values, **about}, limit_s=limit_s, lane="view")
        await asyncio.to_thread(_remove_oldest, out)
        await jobs.do(jobs.weigh, job.id)
    return out


def _remove_oldest(newest: Path) -> None:
    found = sorted((path.stat().st_mtime, path) for path in newest.parent.glob("[!.]*") if path != newest)
    for _, path in found[: max(0, len(found) + 1 - MAX_VIEWS)]:
        path.unlink(missing_ok=True)


def sound_type(path: Path) -> str:
    """Return the content type of a sound file by its first bytes, never one that a browser would run or show."""
    with path.open("rb") as file:
        head = file.read(16)
    for place, magic, kind in _MAGIC:
        if head[place:].startswith(magic):
            return kind
    if head[:1] == b"\xff" and head[1:2] >= b"\xe0":  # an MP3 without tags
        return "audio/mpeg"
    return "application/octet-stream"

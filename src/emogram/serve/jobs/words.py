"""A job as the service words it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from emogram.serve.jobs.runner import Progress
from emogram.serve.jobs.store import Job

_PARTS = ("result", "windows", "waveform", "spectrogram", "explanation", "audio", "cancel")

JOB_EXAMPLE = {
    "id": "0f4c1e8a9b7d4c52a6e3d1f0b2c4d6e8",
    "status": "running",
    "file": "meeting.wav",
    "model": "emogram-1",
    "created": "2026-01-31T09:30:00.120Z",
    "started": "2026-01-31T09:30:00.410Z",
    "finished": None,
    "expires": None,
    "progress": {"done_s": 1210.0, "total_s": 3600.0, "share": 0.3361, "left_s": 38.2},
    "error": None,
    "links": {
        "self": "/v1/jobs/0f4c1e8a9b7d4c52a6e3d1f0b2c4d6e8",
        **{each: f"/v1/jobs/0f4c1e8a9b7d4c52a6e3d1f0b2c4d6e8/{each}" for each in _PARTS},
    },
}


def job_dict(job: Job, progress: Progress, expires_s: float | None) -> dict[str, Any]:
    """Return a job ready for JSON; moments are ISO 8601 in UTC."""
    here = f"/v1/jobs/{job.id}"
    return {
        "id": job.id,
        "status": job.status,
        "file": job.name,
        "model": job.model,
        "created": _moment(job.created_s),
        "started": _moment(job.started_s),
        "finished": _moment(job.finished_s),
        "expires": _moment(expires_s),
        "progress": _progress_dict(progress),
        "error": None if job.code is None else {"code": job.code, "message": job.message},
        "links": {"self": here, **{each: f"{here}/{each}" for each in _PARTS}},
    }


def _progress_dict(progress: Progress) -> dict[str, float | None]:
    done_s, total_s = progress.done_s, progress.total_s
    share = left_s = None
    if total_s:  # a header may promise less than there is
        share = round(min(1.0, done_s / total_s), 4)
        if done_s > 0.0:
            left_s = round(max(0.0, total_s - done_s) / done_s * progress.for_s, 1)
    return {"done_s": done_s, "total_s": total_s, "share": share, "left_s": left_s}


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

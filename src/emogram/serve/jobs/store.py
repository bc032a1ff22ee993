"""The jobs in a database, so that they outlive the service; each change is one transaction, on disk when it returns."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from emogram.errors import EmogramError

VERSION = 1
QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"

_SCHEMA = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    name TEXT NOT NULL,
    suffix TEXT NOT NULL,
    model TEXT NOT NULL,
    channels TEXT NOT NULL,
    raw INTEGER NOT NULL,
    find_speech INTEGER NOT NULL,
    n_bytes INTEGER NOT NULL,
    created_s REAL NOT NULL,
    started_s REAL,
    finished_s REAL,
    duration_s REAL,
    deaths INTEGER NOT NULL DEFAULT 0,
    code TEXT,
    message TEXT
);
CREATE INDEX jobs_by_status ON jobs (status, number);
"""


@dataclass(frozen=True)
class Job:
    """One recording and what is to be done with it. Moments are seconds since 1970.

    Attributes:
        id: Random, and the name of its folder.
        name: What the client calls the file; to show, never a path.
        suffix: Of the file that was sent, from its dot on.
        model: Id of the model.
        channels: "mix" or "split".
        raw: Do not smooth.
        find_speech: Look where somebody speaks.
        n_bytes: What it takes on the disk.
        created_s: When it was accepted.
        status: "queued", "running", "done", "failed" or "cancelled".
        started_s: When work on it began; None before.
        finished_s: When it was done with, in whatever way; None before.
        duration_s: Length of what was analysed in seconds; None unless done.
        deaths: How often the process that worked on it died.
        code: Why it failed, for programs; None unless failed.
        message: The same for people.
    """

    id: str
    name: str
    suffix: str
    model: str
    channels: str
    raw: bool
    find_speech: bool
    n_bytes: int
    created_s: float
    status: str = QUEUED
    started_s: float | None = None
    finished_s: float | None = None
    duration_s: float | None = None
    deaths: int = 0
    code: str | None = None
    message: str | None = None


_COLUMNS = tuple(field.name for field in fields(Job))
_ALL = ", ".join(_COLUMNS)


class Store:
    """All jobs; many threads may share it."""

    def __init__(self, path: Path) -> None:
        """Open a database, which is made if missing.

        Raises:
            EmogramError: It is damaged, or a newer version of emogram made it.
        """
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(path)
        except sqlite3.Error as error:
            self._database.close()
            raise EmogramError(
                f"{path}: the database of the jobs cannot be used ({error}); move it away to begin without its jobs"
            ) from None
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()

    def add(self, job: Job) -> None:
        """Add a job behind all others."""
        values = [getattr(job, column) for column in _COLUMNS]
        self._do(f"INSERT INTO jobs ({_ALL}) VALUES ({', '.join('?' * len(_COLUMNS))})", values)

    def get(self, job_id: str) -> Job | None:
        """Return a job; None where there is none."""
        return next(iter(self._jobs("WHERE id = ?", [job_id])), None)

    def newest(self, limit: int) -> list[Job]:
        """Return the jobs, the newest first."""
        return self._jobs("ORDER BY number DESC LIMIT ?", [limit])

    def ids(self) -> set[str]:
        """Return the ids of all jobs."""
        return {row[0] for row in self._do("SELECT id FROM jobs")}

    def finished_before(self, moment_s: float) -> list[Job]:
        """Return the jobs that were done with before a moment."""
        return self._jobs("WHERE finished_s < ?", [moment_s])

    def n_open(self) -> int:
        """Return how many jobs are queued or running."""
        return int(self._do("SELECT count(*) FROM jobs WHERE status IN (?, ?)", [QUEUED, RUNNING])[0][0])

    def n_bytes(self) -> int:
        """Return what all jobs take on the disk."""
        return int(self._do("SELECT coalesce(sum(n_bytes), 0) FROM jobs")[0][0])

    def claim(self, now_s: float) -> Job | None:
        """Return the job that waited longest, which now runs; None where none waits."""
        rows = self._do(
            "UPDATE jobs SET status = ?, started_s = ? WHERE number = "
            f"(SELECT number FROM jobs WHERE status = ? ORDER BY number LIMIT 1) RETURNING {_ALL}",
            [RUNNING, now_s, QUEUED],
        )
        return _job(rows[0]) if rows else None

    def requeue(self, job_id: str, *, deaths: int = 0) -> None:
        """Let a running job wait again, in its old place; `deaths` more are counted."""
        self._do(
            "UPDATE jobs SET status = ?, started_s = NULL, deaths = deaths + ? WHERE id = ? AND status = ?",
            [QUEUED, deaths, job_id, RUNNING],
        )

    def requeue_all(self, *, but: Collection[str] = ()) -> None:
        """Let all running jobs wait again whose ids are not named, since whoever ran them is gone."""
        for job in self._jobs("WHERE status = ?", [RUNNING]):
            if job.id not in but:
                self.requeue(job.id)

    def finish(
        self,
        job_id: str,
        status: str,
        now_s: float,
        *,
        n_bytes: int | None = None,
        duration_s: float | None = None,
        code: str | None = None,
        message: str | None = None,
    ) -> None:
        """Close a job that is open."""
        self._do(
            "UPDATE jobs SET status = ?, finished_s = ?, n_bytes = coalesce(?, n_bytes), duration_s = ?, code = ?, "
            "message = ? WHERE id = ? AND status IN (?, ?)",
            [status, now_s, n_bytes, duration_s, code, message, job_id, QUEUED, RUNNING],
        )

    def weigh(self, job_id: str, n_bytes: int) -> None:
        """Write down what a job takes on the disk."""
        self._do("UPDATE jobs SET n_bytes = ? WHERE id = ?", [n_bytes, job_id])

    def remove(self, job_id: str) -> None:
        """Forget a job."""
        self._do("DELETE FROM jobs WHERE id = ?", [job_id])

    def _prepare(self, path: Path) -> None:
        self._do("PRAGMA journal_mode = WAL")
        self._do("PRAGMA synchronous = FULL")  # what was accepted is on the disk
        self._do("PRAGMA secure_delete = ON")  # names of files may tell something
        version = self._do("PRAGMA user_version")[0][0]
        if version > VERSION:
            raise EmogramError(
                f"{path}: made by a newer version of emogram (its format is {version}, this one knows {VERSION}); "
                "update emogram, or give this service another folder"
            )
        if (told := self._do("PRAGMA quick_check")[0][0]) != "ok":
            raise sqlite3.DatabaseError(told)
        if version == 0:
            self._database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        self._jobs("LIMIT 1", [])  # another program's database has other tables

    def _jobs(self, rest: str, values: Sequence[Any]) -> list[Job]:
        return [_job(row) for row in self._do(f"SELECT {_ALL} FROM jobs {rest}", values)]

    def _do(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Carry out one statement, which is one transaction."""
        with self._lock:
            return self._database.execute(statement, values).fetchall()


def _job(row: Sequence[Any]) -> Job:
    values = dict(zip(_COLUMNS, row, strict=True))
    return Job(**{**values, "raw": bool(values["raw"]), "find_speech": bool(values["find_speech"])})

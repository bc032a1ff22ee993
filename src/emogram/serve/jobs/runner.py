"""The jobs of a service: taken in, worked on in their order by processes of their own, kept for a while, removed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from emogram.config import ServeConfig
from emogram.errors import EmogramError
from emogram.serve.jobs.place import Place, default_data
from emogram.serve.jobs.store import CANCELLED, DONE, FAILED, QUEUED, Job, Store
from emogram.serve.models import Models
from emogram.serve.problems import Problem
from emogram.serve.tasks import describe
from emogram.watched import Child, Died, Late, Stopped

MAX_DEATHS = 2  # of its processes, after which a recording is taken for the reason
MAX_UPLOADS = 16
AGAIN_S = 5.0  # after what should not have happened
TIDY_S = 30.0  # between two looks for what is kept no longer
END_S = 10.0  # longest to wait for a process that was told to end

_LOG = logging.getLogger("emogram.serve")

Result = TypeVar("Result")


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        done_s: Seconds of sound analysed.
        total_s: Length of the recording; None where its header does not tell.
        for_s: How long that took.
    """

    done_s: float
    total_s: float | None
    for_s: float


@dataclass
class _Running:
    """A job that is worked on now.

    Attributes:
        stop: Set to end its process.
        status: What a job is whose process was ended: "queued", or "cancelled".
        ended: Set when the process is gone and the database knows what came of it.
    """

    status: str = QUEUED
    stop: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    progress: Progress = Progress(0.0, None, 0.0)


class Jobs:
    """All jobs of one service. Methods that may wait for the disk are for threads, see `do`.

    Attributes:
        folder: Where they are kept.
        place: The same, once the service began.
    """

    place: Place

    def __init__(self, models: Models, config: ServeConfig) -> None:
        """Prepare; `start` opens the folder."""
        self._models = models
        self._config = config
        self.folder = config.data or default_data()
        self._lock = threading.RLock()  # whoever looks at what runs and then acts on it
        self._running: dict[str, _Running] = {}
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._reserved = 0  # bytes of uploads that are on their way
        self._n_uploads = 0

    async def start(self) -> None:
        """Open the folder, and go on with what an earlier service left.

        Raises:
            EmogramError: Another service holds the folder, its database cannot be used, or it cannot be written.
        """
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._pool = ThreadPoolExecutor(self._config.job_workers, thread_name_prefix="emogram-job")
        await self.do(self._open)
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._config.job_workers)]
        self._tasks.append(asyncio.create_task(self._keep_tidy()))

    async def stop(self) -> None:
        """End what runs, which waits again for the next service, and let go of the folder."""
        with self._lock:
            self._stopping = True
            for running in self._running.values():
                running.stop.set()
        if self._tasks:
            self._wake.set()
            self._tasks[-1].cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if hasattr(self, "_pool"):
            self._pool.shutdown()
        if hasattr(self, "_store"):
            await self.do(self._store.close)
        if hasattr(self, "place"):
            self.place.close()

    async def do(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call one of the methods below in a thread."""
        return await asyncio.to_thread(function, *arguments)

    def get(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            Problem: There is none ("not_found").
        """
        job = self._store.get(job_id)
        if job is None:
            raise Problem("not_found", f"no job '{job_id[:64]}' here; finished ones are kept for {self._kept_text()}")
        return job

    def newest(self, limit: int) -> list[Job]:
        """Return the jobs, the newest first."""
        return self._store.newest(limit)

    def progress(self, job: Job) -> Progress:
        """Return how far a job is."""
        running = self._running.get(job.id)
        if running is not None:
            return running.progress
        return Progress(job.duration_s or 0.0, job.duration_s, 0.0)

    def expires_s(self, job: Job) -> float | None:
        """Return when a job is removed, in seconds since 1970; None before it is finished."""
        return None if job.finished_s is None else job.finished_s + self._config.keep_hours * 3600.0

    def sound(self, job: Job) -> Path:
        """Return the file that was sent."""
        return self.place.sound(job.id, job.suffix)

    def check_room(self) -> None:
        """Refuse a job that would be one too many.

        Raises:
            Problem: So many wait already ("busy").
        """
        if (n_open := self._store.n_open()) >= self._config.max_jobs:
            raise Problem("busy", f"{n_open} jobs wait already; come again", retry_after_s=60.0)

    @contextlib.contextmanager
    def reserved(self, stated: int | None, stored: int) -> Iterator[float]:
        """Keep room on the disk for an upload while it arrives; for the event loop's thread.

        Args:
            stated: Its size, where the client says it.
            stored: `n_stored`.

        Returns:
            Largest file to take.

        Raises:
            Problem: There is no room ("disk_full"), or too many arrive already ("busy").
        """
        most = int(self._config.max_job_mb * 1e6)
        size = most if stated is None else min(stated, most)
        if self._n_uploads >= MAX_UPLOADS:
            raise Problem("busy", "too many uploads at once; come again", retry_after_s=5.0)
        if stored + self._reserved + size > self._config.max_stored_mb * 1e6:
            raise Problem("disk_full", "no room for another job; delete some, or come again later", retry_after_s=600.0)
        self._reserved += size
        self._n_uploads += 1
        try:
            yield most
        finally:
            self._reserved -= size
            self._n_uploads -= 1

    def n_stored(self) -> int:
        """Return the bytes that all jobs take on the disk."""
        return self._store.n_bytes()

    def n_running(self) -> int:
        """Return how many jobs are worked on."""
        return len(self._running)

    def accept(self, upload: Path, name: str, model: str, channels: str, raw: bool, find_speech: bool) -> Job:
        """Take in what was sent; when it returns, a power cut does not lose it any more.

        Raises:
            Problem: It is one too many ("busy"), or there is no room ("disk_full").
        """
        job = Job(
            id=secrets.token_hex(16),
            name=name,
            suffix=upload.suffix,
            model=model,
            channels=channels,
            raw=raw,
            find_speech=find_speech,
            n_bytes=upload.stat().st_size,
            created_s=time.time(),
        )
        try:
            self.place.take_in(upload, job.id)
            with self._lock:
                self.check_room()
                self._store.add(job)
        except BaseException as error:
            self.place.remove(job.id)
            if not _is_full(error):
                raise
            raise _no_room() from None
        self._loop.call_soon_threadsafe(self._wake.set)
        return job

    def cancel(self, job_id: str) -> Job:
        """End a job that is open; returns once its process is gone.

        Raises:
            Problem: There is none ("not_found").
        """
        with self._lock:
            self.get(job_id)
            running = self._running.get(job_id)
            if running is None:
                self._store.finish(job_id, CANCELLED, time.time())
            else:
                running.status = CANCELLED
                running.stop.set()
        if running is not None:
            running.ended.wait(END_S)
        return self.get(job_id)

    def weigh(self, job_id: str) -> None:
        """Look anew what a job takes on the disk."""
        self._store.weigh(job_id, self.place.n_bytes(job_id))

    def remove(self, job_id: str) -> None:
        """End a job if it runs, and remove it with all its files.

        Raises:
            Problem: There is none ("not_found").
        """
        self.cancel(job_id)
        self._store.remove(job_id)
        self.place.remove(job_id)

    def _open(self) -> None:
        self.place = Place(self.folder)
        self._store = Store(self.place.database)
        self._requeue_lost()
        for lost in set(self.place.ids()) - self._store.ids():  # an upload that was not accepted any more, or removed
            self.place.remove(lost)

    def _requeue_lost(self) -> None:
        """Let the jobs wait again that nobody works on, whatever the database says."""
        with self._lock:
            self._store.requeue_all(but=self._running)

    async def _work(self) -> None:
        """Do one job after the other."""
        while not self._stopping:
            self._wake.clear()  # before looking, so that what comes meanwhile is seen
            try:
                claimed = await self.do(self._claim)
                if claimed is None:
                    await self._wake.wait()
                    continue
                await self._loop.run_in_executor(self._pool, self._finish, *claimed)
            except Exception:  # the disk is full, say; the jobs are still there
                _LOG.exception("the jobs could not go on; trying again")
                await asyncio.sleep(AGAIN_S)
                with contextlib.suppress(Exception):
                    await self.do(self._requeue_lost)

    def _claim(self) -> tuple[Job, _Running] | None:
        with self._lock:
            job = None if self._stopping else self._store.claim(time.time())
            if job is None:
                return None
            running = self._running[job.id] = _Running()
            return job, running

    def _finish(self, job: Job, running: _Running) -> None:
        """Work on a job, and write down what came of it."""
        values: dict[str, Any] = {}
        deaths = 0
        try:
            values["duration_s"] = self._analysed(job, running)
            status = DONE
        except Stopped:
            status = running.status
        except Died as error:
            _LOG.warning("the process of job %s died (%s)", job.id, error)
            deaths, status = 1, running.status
            if job.deaths + deaths >= MAX_DEATHS and status == QUEUED:
                status = FAILED
                values = {"code": "crashed", "message": f"{job.name}: the process that read it died ({error})"}
        except Late:
            status = FAILED
            limit_s = self._config.job_time_limit_s
            values = {"code": "timeout", "message": f"{job.name}: took longer than {limit_s:g} s"}
        except EmogramError as error:
            status = FAILED
            values = {"code": error.code, "message": str(error)}
        except Exception:
            _LOG.exception("job %s failed", job.id)
            status = FAILED
            values = {"code": "internal", "message": "an error of the service itself; its log tells more"}
        with self._lock:
            try:
                if status == running.status == QUEUED:
                    self._store.requeue(job.id, deaths=deaths)
                else:
                    self._store.finish(job.id, status, time.time(), n_bytes=self.place.n_bytes(job.id), **values)
            finally:
                del self._running[job.id]
                running.ended.set()

    def _analysed(self, job: Job, running: _Running) -> float:
        """Have a job done by a process of its own, and return the length of the recording in seconds."""
        begun = time.monotonic()
        until = begun + self._config.job_time_limit_s
        child = Child("emogram.serve.jobs.analysing")
        try:
            child.ask(self._order(job))
            while True:
                said = child.answer(until - time.monotonic(), running.stop.is_set).head
                if "error" in said:
                    raise Problem(str(said["error"]["code"]), str(said["error"]["message"]))
                if "finished" in said:
                    return float(said["finished"]["duration_s"])
                total_s = said["total_s"]
                running.progress = Progress(
                    float(said["done_s"]), None if total_s is None else float(total_s), time.monotonic() - begun
                )
        except (KeyError, TypeError, ValueError):  # what is no answer may come from a process that was taken over
            raise Died("it says what is no answer") from None
        finally:
            child.end()

    def _order(self, job: Job) -> dict[str, Any]:
        return {
            "memory_mb": self._config.worker_memory_mb,
            "model": describe(self._models.named(job.model)),
            "folder": str(self.place.of(job.id)),
            "path": str(self.sound(job)),
            "name": job.name,
            "channels": job.channels,
            "raw": job.raw,
            "find_speech": job.find_speech,
        }

    async def _keep_tidy(self) -> None:
        while True:
            try:
                await self.do(self._remove_old)
            except Exception:
                _LOG.exception("old jobs could not be removed; trying again")
            await asyncio.sleep(min(TIDY_S, self._config.keep_hours * 900.0))

    def _remove_old(self) -> None:
        for job in self._store.finished_before(time.time() - self._config.keep_hours * 3600.0):
            self._store.remove(job.id)
            self.place.remove(job.id)

    def _kept_text(self) -> str:
        hours = self._config.keep_hours
        return f"{hours:g} hours" if hours >= 1.0 else f"{60.0 * hours:.2g} minutes"


def _no_room() -> Problem:
    return Problem("disk_full", "no room for another job; delete some, or come again later", retry_after_s=600.0)


def _is_full(error: BaseException) -> bool:
    """Tell whether the disk is full, or what the user may take of it."""
    if isinstance(error, sqlite3.Error):
        return error.sqlite_errorcode == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

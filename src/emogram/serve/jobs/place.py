"""The folder where a service keeps its jobs: a database, and a folder for each job."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path

from emogram.errors import SettingsError
from emogram.files import lock, output_error, sync_folder

RESULT = "result.json"
WINDOWS = "windows.json"
VIEWS = "views"


def default_data() -> Path:
    """Return the folder for what a service keeps: the user's folder for state."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "emogram" / "serve"


class Place:
    """A data folder, held by one service at a time.

    Attributes:
        folder: The folder itself.
        incoming: Where uploads arrive.
    """

    def __init__(self, folder: Path) -> None:
        """Take hold of a folder, which is made if missing; for its owner only, since it holds speech.

        Raises:
            SettingsError: Another service holds it.
            OutputError: It cannot be written.
        """
        self.folder = folder
        self.incoming = folder / "incoming"
        self._jobs = folder / "jobs"
        self._trash = folder / "trash"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = (folder / "lock").open("ab")
        except OSError as error:
            raise output_error(folder, error) from error
        if not lock(self._lock):
            self._lock.close()
            raise SettingsError(f"{folder}: another service keeps its jobs there; give this one a folder of its own")
        try:
            for each in (self.incoming, self._trash):
                shutil.rmtree(each, ignore_errors=True)  # what an earlier service left in the middle
            for each in (self.incoming, self._trash, self._jobs):
                each.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            self.close()
            raise output_error(folder, error) from error

    @property
    def database(self) -> Path:
        """The file of the database."""
        return self.folder / "jobs.sqlite3"

    def of(self, job_id: str) -> Path:
        """Return the folder of a job."""
        return self._jobs / job_id

    def sound(self, job_id: str, suffix: str) -> Path:
        """Return the file that was sent."""
        return self.of(job_id) / f"sound{suffix}"

    def take_in(self, upload: Path, job_id: str) -> None:
        """Make the folder of a job and move what was sent there, so that a power cut does not lose it."""
        folder = self.of(job_id)
        folder.mkdir(mode=0o700)
        (folder / VIEWS).mkdir(mode=0o700)
        with upload.open("rb+") as file:
            os.fsync(file.fileno())
        upload.replace(self.sound(job_id, upload.suffix))
        for each in (folder, self._jobs):
            sync_folder(each)

    def remove(self, job_id: str) -> None:
        """Remove all files of a job.

        Its folder is first moved away, so that nothing which is just being written there can stay behind.
        """
        moved = self._trash / f"{job_id}-{secrets.token_hex(4)}"
        with contextlib.suppress(FileNotFoundError):
            self.of(job_id).rename(moved)
        shutil.rmtree(moved, ignore_errors=True)

    def ids(self) -> list[str]:
        """Return the jobs that have a folder."""
        return [path.name for path in self._jobs.iterdir()]

    def n_bytes(self, job_id: str) -> int:
        """Return what a job takes on the disk."""
        return sum(path.stat().st_size for path in self.of(job_id).rglob("*") if path.is_file())

    def close(self) -> None:
        """Let go of the folder."""
        self._lock.close()

"""What can go wrong, said to the person who can mend it.

Every error that a user can cause is an `EmogramError`: its message says what was found, what was expected and what to
do. Each class carries the exit code of the command line, and a short code for programs that count what went wrong.
"""

from __future__ import annotations

from pathlib import Path

from emogram.installing import install_line


class EmogramError(Exception):
    """Base of all errors that a user can cause; exit code 1."""

    exit_code = 1
    code = "failed"


class OutputError(EmogramError):
    """A result could not be written: disk full, read-only folder, a file where a folder should be."""


class MissingExtraError(EmogramError):
    """A feature needs an optional part of the installation.

    Attributes:
        lack: What is missing, without what to do, which names a folder of this machine where emogram runs from a clone.
    """

    code = "missing_extra"

    def __init__(self, feature: str, extra: str) -> None:
        """Name the feature and the extra that brings it."""
        self.lack = f"{feature} needs the extra '{extra}', which is not installed"
        super().__init__(f"{self.lack}: {install_line(extra)}")
        self._named = (feature, extra)

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        """Pickle, for the way from one process to another, as it was made."""
        return type(self), self._named


class DownloadError(EmogramError):
    """Something could not be downloaded, or is not what it should be; exit code 1."""

    def __init__(self, message: str, *, code: str) -> None:
        """Say what happened.

        Args:
            message: In words.
            code: Of which kind it is: "unreachable", "not_found", "refused", "checksum", "archive", "incomplete",
                "busy" or "by_hand".
        """
        super().__init__(message)
        self.code = code


class SettingsError(EmogramError):
    """A setting or an argument is wrong; exit code 2."""

    exit_code = 2


class InputError(EmogramError):
    """An input could not be read; exit code 4."""

    exit_code = 4

    def __init__(self, message: str, *, code: str = "unreadable", missing: Path | None = None) -> None:
        """Say what is wrong, and in `code` of which kind it is; `missing` is a file that is not there."""
        super().__init__(message)
        self.code = code
        self.missing = missing


class AudioError(InputError):
    """A sound file is missing, unreadable, empty, silent, too short or too long."""


class PictureError(InputError):
    """A spectrogram picture is missing, unreadable or unreasonably large."""


class CorpusError(InputError):
    """A corpus is missing, empty, or cannot be used as asked."""


class ModelError(EmogramError):
    """A model was refused: missing, damaged, of a newer format, or wrong for the input; exit code 5."""

    exit_code = 5
    code = "model"


class ServerError(EmogramError):
    """A service was not reached, or did not answer as asked; exit code 1."""

    def __init__(self, message: str, *, code: str = "failed", status: int | None = None) -> None:
        """Say what happened.

        Args:
            message: In words.
            code: Of which kind it is, as the service names it; "unreachable" where there was no answer.
            status: The HTTP status of the answer; None where there was none.
        """
        super().__init__(message)
        self.code = code
        self.status = status

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle, for the way from one process to another, as it was made."""
        return _server_error, (str(self), self.code, self.status)


def _server_error(message: str, code: str, status: int | None) -> ServerError:
    return ServerError(message, code=code, status=status)

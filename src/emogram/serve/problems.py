"""What goes wrong in a request, as one shape: {"type": "error", "code", "message", "request_id"}."""

from __future__ import annotations

import math
from typing import Any

from emogram.errors import EmogramError, MissingExtraError

# Of errors that know their kind; every other input that cannot be used is 422.
STATUS = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "wrong_method": 405,
    "slow_upload": 408,
    "not_ready": 409,
    "gone": 410,
    "too_large": 413,
    "too_long": 413,
    "wrong_content_type": 415,
    "bad_range": 416,
    "bad_parameter": 422,
    "busy": 429,
    "internal": 500,
    "failed": 500,  # of errors that say no more than that
    "model": 500,  # a request cannot name a model that is not there
    "draining": 503,
    "overloaded": 503,
    "disk_full": 507,
}
UNUSABLE = 422


class Problem(EmogramError):  # noqa: N818 (not all of them are errors of ours)
    """A request that is not answered as asked.

    Attributes:
        code: One of `STATUS`.
        retry_after_s: When to come again; None where that would not help.
    """

    def __init__(self, code: str, message: str, *, retry_after_s: float | None = None) -> None:
        """Say of which kind it is and what is wrong."""
        super().__init__(message)
        self.code = code
        self.retry_after_s = retry_after_s


def status_of(code: str) -> int:
    """Return the HTTP status of a code, of `STATUS` or of an `EmogramError`."""
    return STATUS.get(code, UNUSABLE)


def message_of(error: EmogramError) -> str:
    """Return what a client is told of an error: nothing of how to install what this machine lacks."""
    return error.lack if isinstance(error, MissingExtraError) else str(error)


def retry_headers(problem: Problem) -> dict[str, str]:
    """Return the header that says when to come again, where that helps."""
    if problem.retry_after_s is None:
        return {}
    return {"Retry-After": str(max(1, math.ceil(problem.retry_after_s)))}


def error_dict(code: str, message: str, request_id: str) -> dict[str, Any]:
    """Return an error as every door of the service words it."""
    return {"type": "error", "code": code, "message": message, "request_id": request_id}

"""What both clients do with a stream: its first message, its sound, and what its messages mean."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy.typing as npt

from emogram.client.address import Address
from emogram.client.calls import refusal_of
from emogram.client.records import SAMPLE_BYTES, StreamEnd, StreamEvent, error_of, event_of, not_understood, pcm_of
from emogram.errors import EmogramError, ServerError

MAX_FRAME_BYTES = 2**16  # less than a service takes
CLOSE = json.dumps({"type": "session.close"})
_NORMAL = 1000


def update_message(sample_rate: int, model: str | None, *, find_speech: bool, smooth: bool) -> str:
    """Return the message that chooses settings."""
    named = {} if model is None else {"model": model}
    values = {"sample_rate": sample_rate, "find_speech": find_speech, "smooth": smooth, **named}
    return json.dumps({"type": "session.update", **values})


class Frames:
    """Turns chunks of sound into frames of whole samples."""

    def __init__(self) -> None:
        """Begin with nothing left over."""
        self._left = b""

    def of(self, chunk: bytes | npt.ArrayLike) -> Iterator[bytes]:
        """Yield the frames of the next chunk; half a sample waits for the next."""
        sound = self._left + pcm_of(chunk)
        whole = len(sound) - len(sound) % SAMPLE_BYTES
        self._left = sound[whole:]
        for first in range(0, whole, MAX_FRAME_BYTES):
            yield sound[first : min(whole, first + MAX_FRAME_BYTES)]


class Reader:
    """Follows what a service says in a stream."""

    def __init__(self) -> None:
        """Begin before the first message."""
        self._error: EmogramError | None = None
        self._has_ended = False

    def read(self, message: str | bytes) -> StreamEvent | None:
        """Return the event of a message; an error is kept for `end`."""
        try:
            said: Mapping[str, Any] = json.loads(message)
            kind = said["type"]
            if kind == "error":
                self._error = self._error or error_of(said["code"], said["message"])
                return None
        except (ValueError, KeyError, TypeError):
            raise not_understood("a message of a stream") from None
        event = event_of(said)
        self._has_ended = self._has_ended or isinstance(event, StreamEnd)
        return event

    def end(self, code: int | None, reason: str) -> None:
        """Take the end of the connection.

        Args:
            code: The code with which the service closed it; None where it did not.
            reason: Its words.

        Raises:
            EmogramError: It is not the end that was asked for.
        """
        if self._error is not None:
            raise self._error
        if code != _NORMAL or not self._has_ended:
            why = "the service is ending" if code == 1001 else f"close code {code} {reason}".strip()
            raise ServerError(f"the stream was cut off ({why})", code="cut_off")


def refused(error: Exception, address: Address) -> EmogramError:
    """Return what it means that a stream could not be opened."""
    response = getattr(error, "response", None)
    if response is not None:
        return refusal_of(response.status_code, response.body or b"")
    return ServerError(address.unreached(str(error) or type(error).__name__), code="unreachable")

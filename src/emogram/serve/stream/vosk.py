"""`WS /v1/vosk`: for clients that speak the protocol of vosk-server; they hear emotions in the place of words.

Such a client may first send `{"config": {"sample_rate": 16000}}`, then sound as binary frames (s16le mono), and reads
one answer for each; `{"eof": 1}` ends it, is answered once more, and the socket closes. Of the config only
`sample_rate` counts, which is 16000 where it is not said; `phrase_list`, `words`, `max_alternatives` and whatever else
it holds is ignored, since there are no words.

An answer is a result where an utterance ended in the frame (`live.Utterance`), and else partial:

    {"partial": "happy", "emotion": {...} | null}
    {"text": "happy", "result": [{"word": "happy", "start": 0.1, "end": 2.3, "conf": 0.8}], "emotion": {...}}

"partial" is what was said last in the utterance that goes on, "" where nobody speaks. "text" is the label of the
utterance, or of several that ended in one frame; "result" has an entry for each of their segments, in seconds.
"emotion" has label, confidence, scores and abstained. The answer to eof has the summary of all besides.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.websockets import WebSocket

from emogram.errors import EmogramError
from emogram.serve.problems import Problem
from emogram.serve.service import Service, service_of
from emogram.serve.stream.connection import BAD_MESSAGES, DONE, Connection, Ended, too_long
from emogram.serve.stream.routes import accepted, guarded, pieces_of
from emogram.serve.stream.session import Session

router = APIRouter()


@router.websocket("/v1/vosk")
async def vosk(websocket: WebSocket, service: Annotated[Service, Depends(service_of)]) -> None:
    """Listen to one stream of a Vosk client."""
    connection = await accepted(websocket, service, join_frames=False)
    session = Session(service.models, service.config, secrets.token_hex(8))
    async with connection.open():
        await guarded(connection, service, _converse(connection, session, service))


async def _converse(connection: Connection, session: Session, service: Service) -> None:
    until = asyncio.get_running_loop().time() + service.config.max_stream_s
    answers = Answers()
    code = DONE
    try:
        while True:
            said = await connection.take(until)
            if isinstance(said, bytes):
                messages: list[dict[str, Any]] = []
                for piece in pieces_of(said, session):
                    messages += await service.streams.turn(lambda piece=piece: session.feed(piece))  # type: ignore[misc]
                await connection.tell([answers.to_frame(messages)])
                if session.duration_s > service.config.max_stream_s:
                    raise too_long(service.config)
            elif _is_end(said, session):
                break
    except Ended as end:
        code = end.close_code
        if end.problem is not None:
            await connection.tell_problem(end.problem.code, str(end.problem))
    await connection.tell([answers.to_end(await service.streams.turn(session.finish))])
    await connection.close(code)


def _is_end(text: str, session: Session) -> bool:
    """Take a text message; tell whether it is the last."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        message = None
    if isinstance(message, dict) and message.get("eof"):
        return True
    config = message.get("config") if isinstance(message, dict) else None
    if not isinstance(config, dict):
        problem = Problem("bad_message", 'expected sound as binary, {"config": {...}} or {"eof": 1}')
        raise Ended(BAD_MESSAGES, problem)
    rate = config.get("sample_rate")
    if rate is not None and not session.has_begun:
        try:
            with contextlib.suppress(TypeError, ValueError, OverflowError):
                rate = round(float(rate))  # clients send 16000.0 too
            session.update({"sample_rate": rate})
        except EmogramError as error:
            raise Ended(BAD_MESSAGES, Problem("bad_parameter", str(error))) from None
    return False


class Answers:
    """Turns what a session says into what a Vosk client reads."""

    def __init__(self) -> None:
        """Begin in silence."""
        self._now: dict[str, Any] | None = None  # what was said last in the utterance that goes on

    def to_frame(self, messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the answer to a frame, from the session's messages on it."""
        ended = self._ended(messages)
        if ended:
            return _result(ended)
        return {"partial": "" if self._now is None else self._now["label"], "emotion": self._now}

    def to_end(self, messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the last answer."""
        return {**_result(self._ended(messages)), "summary": messages[-1]["summary"]}

    def _ended(self, messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        ended = []
        for message in messages:
            if message["type"] == "measurement.result":
                self._now = _emotion(message)
            elif message["type"] == "utterance.end":
                self._now = None
                if message["label"] is not None:
                    ended.append(message)
        return ended


def _result(utterances: Sequence[dict[str, Any]]) -> dict[str, Any]:
    words = [
        {
            "word": segment["label"],
            "start": segment["start_ms"] / 1000,
            "end": segment["end_ms"] / 1000,
            "conf": segment["confidence"],
        }
        for utterance in utterances
        for segment in utterance["segments"]
    ]
    text = " ".join(utterance["label"] for utterance in utterances)
    return {"result": words, "text": text, "emotion": _emotion(utterances[-1]) if utterances else None}


def _emotion(message: dict[str, Any]) -> dict[str, Any]:
    return {name: message[name] for name in ("label", "confidence", "scores", "abstained")}

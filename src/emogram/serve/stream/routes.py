"""`WS /v1/stream`: live sound in, results as they are known. docs/service.md describes the messages."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Coroutine, Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.websockets import WebSocket

from emogram.errors import EmogramError
from emogram.serve.problems import Problem
from emogram.serve.service import Service, service_of
from emogram.serve.stream.connection import (
    BAD_MESSAGES,
    BUSY,
    DONE,
    FAILED,
    NOT_READING,
    Connection,
    Ended,
    Gone,
    too_long,
)
from emogram.serve.stream.session import SAMPLE_BYTES, Session

PROTOCOL = "emogram.v1"  # a browser that sends its token as a subprotocol must be answered with one
PIECE_S = 0.25  # of sound, before it is another stream's turn
MAX_BAD_MESSAGES = 10

router = APIRouter()
_LOG = logging.getLogger("emogram.serve")


@router.websocket("/v1/stream")
async def stream(websocket: WebSocket, service: Annotated[Service, Depends(service_of)]) -> None:
    """Listen to one stream."""
    connection = await accepted(websocket, service)
    session = Session(service.models, service.config, secrets.token_hex(8))
    async with connection.open():
        await guarded(connection, service, _converse(connection, session, service))


async def accepted(websocket: WebSocket, service: Service, *, join_frames: bool = True) -> Connection:
    """Accept a WebSocket, whose client the guard has let through."""
    offered = websocket.scope.get("subprotocols", ())
    await websocket.accept(PROTOCOL if PROTOCOL in offered else None)
    return Connection(websocket, service.config, service.ending, join_frames=join_frames)


async def guarded(connection: Connection, service: Service, conversation: Coroutine[Any, Any, None]) -> None:
    """Hold a conversation if there is a place for it, and close with a code whatever comes."""
    try:
        with service.streams.place():
            await conversation
    except Problem as busy:
        conversation.close()
        await connection.tell_problem(busy.code, str(busy))
        await connection.close(BUSY)
    except Gone:
        await connection.drop(NOT_READING)
    except Exception:
        _LOG.exception("stream %s failed", connection.request_id)
        await connection.drop(FAILED)


async def _converse(connection: Connection, session: Session, service: Service) -> None:
    until = asyncio.get_running_loop().time() + service.config.max_stream_s
    n_bad = 0
    code = DONE
    try:
        await connection.tell([session.created()])
        while True:
            said = await connection.take(until)
            if isinstance(said, bytes):
                await _listen(connection, session, service, said)
                continue
            try:
                message = _parsed(said)
                if message["type"] == "session.close":
                    break
                await connection.tell([_answer(session, message)])
            except EmogramError as error:
                problem = "bad_parameter" if error.code == "failed" else error.code
                await connection.tell_problem(problem, str(error))
                n_bad += 1
                if n_bad >= MAX_BAD_MESSAGES:
                    raise Ended(BAD_MESSAGES) from None
    except Ended as end:
        code = end.close_code
        if end.problem is not None:
            await connection.tell_problem(end.problem.code, str(end.problem))
    await connection.tell(await service.streams.turn(session.finish))
    await connection.close(code)


async def _listen(connection: Connection, session: Session, service: Service, sound: bytes) -> None:
    """Have a session hear sound piece by piece, other streams in between, and tell what it heard.

    Raises:
        Ended: More has been heard than may be.
    """
    for piece in pieces_of(sound, session):
        await connection.tell(await service.streams.turn(lambda piece=piece: session.feed(piece)))  # type: ignore[misc]
        if session.duration_s > service.config.max_stream_s:
            raise too_long(service.config)


def pieces_of(sound: bytes, session: Session) -> Iterator[bytes]:
    """Yield sound in pieces after each of which it is another stream's turn."""
    n_piece = round(PIECE_S * session.sample_rate) * SAMPLE_BYTES
    for first in range(0, len(sound), n_piece):
        yield sound[first : first + n_piece]


def _parsed(text: str) -> dict[str, Any]:
    """Return a control message.

    Raises:
        Problem: It is none ("bad_message").
    """
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise Problem("bad_message", "a text message that is no JSON; sound is sent as binary") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise Problem("bad_message", 'expected an object with a type, as {"type": "session.close"}')
    return message


def _answer(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    values = {name: value for name, value in message.items() if name != "type"}
    if message["type"] != "session.update":
        raise Problem("bad_message", f"'{message['type'][:50]}' is not a message; session.update and session.close are")
    return session.update(values)

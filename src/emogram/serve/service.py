"""What the doors of a service share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol, cast

from starlette.requests import HTTPConnection

from emogram.config import ServeConfig
from emogram.serve.models import Models
from emogram.serve.workers import Workers


class Part(Protocol):
    """What runs as long as the service does."""

    async def start(self) -> None:
        """Begin; raises `EmogramError` where that is not possible."""

    async def stop(self) -> None:
        """End, within seconds."""


@dataclass
class Service:
    """One running service.

    Attributes:
        models: The models that answer.
        config: What it offers, and its bounds.
        workers: The processes that decode.
        ending: Set once it is told to end: nothing new is begun, and what is in flight finishes.
    """

    models: Models
    config: ServeConfig
    workers: Workers = field(init=False)
    ending: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.workers = Workers(list(self.models), self.config)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is started with the service, in this order, and stopped in the opposite one."""
        return (self.workers,)

    @property
    def draining(self) -> bool:
        """Whether it was told to end."""
        return self.ending.is_set()


def service_of(connection: HTTPConnection) -> Service:
    """Return the service that a request or a WebSocket came to; for `Depends`."""
    return cast(Service, connection.app.state.service)

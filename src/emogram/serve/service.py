"""What the doors of a service share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from starlette.requests import HTTPConnection

from emogram.config import ServeConfig
from emogram.serve.models import Models


@dataclass
class Service:
    """One running service.

    Attributes:
        models: The models that answer.
        config: What it offers, and its bounds.
        draining: True once it is told to end: nothing new is begun, and what is in flight finishes.
    """

    models: Models
    config: ServeConfig
    draining: bool = field(default=False)


def service_of(connection: HTTPConnection) -> Service:
    """Return the service that a request or a WebSocket came to; for `Depends`."""
    return cast(Service, connection.app.state.service)

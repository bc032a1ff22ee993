"""Who may use the service: the token, the names under which browsers reach it, and the sites whose pages may."""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from emogram.serve.service import Service

TOKEN_PROTOCOL = "bearer."  # before the token among the subprotocols of a WebSocket, for browsers cannot set headers


def token_fits(service: Service, connection: HTTPConnection) -> bool:
    """Tell whether a request or a WebSocket carries the token, where one is asked for.

    It stands in `Authorization: Bearer TOKEN`, or for a WebSocket as the subprotocol `bearer.TOKEN`.
    """
    if service.config.token is None:
        return True
    wanted = service.config.token.encode()
    kind, _, given = connection.headers.get("authorization", "").partition(" ")
    offered = [given.strip()] if kind.lower() == "bearer" else []
    if connection.scope["type"] == "websocket":
        offered += [
            name.removeprefix(TOKEN_PROTOCOL)
            for name in connection.scope.get("subprotocols", ())
            if name.startswith(TOKEN_PROTOCOL)
        ]
    # Headers come as Latin-1. All are compared, so that the time tells nothing.
    return any([hmac.compare_digest(each.encode("latin-1", "replace"), wanted) for each in offered])


def host_fits(service: Service, connection: HTTPConnection) -> bool:
    """Tell whether the service is called by a name that is its own.

    A page of another site can point a name of its own at this machine and would then be let in as if it were ours (DNS
    rebinding). An address is no such name.
    """
    name = _host_name(connection.headers.get("host", ""))
    if name in {"localhost", service.config.host.lower(), *(each.lower() for each in service.config.hosts)}:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def origin_fits(service: Service, connection: HTTPConnection) -> bool:
    """Tell whether a request comes from a page of ours or of an allowed site, or from no page at all."""
    origin = connection.headers.get("origin")
    if origin is None:
        # Browsers say where pictures, scripts and links of other sites come from. To follow a link is no harm.
        is_foreign = connection.headers.get("sec-fetch-site", "none") in ("cross-site", "same-site")
        return not is_foreign or connection.headers.get("sec-fetch-mode") == "navigate"
    # Not the scheme: behind a proxy that ends TLS it is another here.
    return origin in service.config.origins or _place(origin) == _place(f"//{connection.headers.get('host', '')}")


def _place(url: str) -> tuple[str, int | None] | None:
    try:
        parts = urlsplit(url)
        port = None if parts.port in (80, 443) else parts.port
    except ValueError:
        return None
    return None if parts.hostname is None else (parts.hostname, port)


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""

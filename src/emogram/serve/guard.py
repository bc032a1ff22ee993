"""Who may use the service: the token, the names under which browsers reach it, and the sites whose pages may."""

from __future__ import annotations

import hmac
import ipaddress
import itertools
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emogram.serve.problems import Problem
from emogram.serve.refusals import refusal
from emogram.serve.service import Service

TOKEN_PROTOCOL = "bearer."  # before the token among the subprotocols of a WebSocket, for browsers cannot set headers

MAX_OPEN = 512  # requests and WebSockets at once; each takes a file descriptor, of which a process has 1024
HEALTH = frozenset({"/healthz", "/readyz"})  # for probes, which know neither names nor tokens
# What a browser opens before it could be told a token: the page and what it is made of. None of it tells a secret.
FREE = frozenset({"/", "/card", "/docs", "/openapi.json", "/favicon.ico"})
FREE_FOLDER = "/page/"

# Of answers that do not say otherwise, as the page does.
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",  # what people say is nobody's to keep
}
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Range, X-Request-ID",
    "Access-Control-Max-Age": "600",
}
_START, _NUMBERS = secrets.token_hex(4), itertools.count(1)  # of request ids: one call for random bytes, not thousands
EXPOSED = "Content-Disposition, Location, Retry-After, X-Request-ID"


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
    return origin in service.config.origins or _is_own(origin, connection.headers.get("host", ""))


def _is_own(origin: str, host: str) -> bool:
    try:
        page, own = urlsplit(origin), urlsplit(f"//{host}")
        port = page.port or {"http": 80, "https": 443}.get(page.scheme)
        # The scheme tells nothing: behind a proxy that ends TLS it is another here.
        ports = (80, 443) if own.port is None else (own.port,)
    except ValueError:
        return False
    return page.hostname is not None and page.hostname == own.hostname and port in ports


def _host_name(host: str) -> str:
    try:
        return "" if set("@/\\?#") & set(host) else urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


Answerer = Callable[[Request, Service], Awaitable[Response]]


@dataclass
class Guard:
    """What every request and every WebSocket passes first, and every answer last.

    Attributes:
        app: What is guarded.
        service: The service.
        shortcuts: Method and path -> what answers, of routes that are asked for in numbers: to find them and call them
            takes FastAPI a third of the time that the main thread spends on a clip.
    """

    app: ASGIApp
    service: Service
    shortcuts: Mapping[tuple[str, str], Answerer] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on; count and time; put a request id and headers of security on each answer."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        scope.setdefault("state", {})["request_id"] = _request_id(connection)
        method = scope.get("method", "WEBSOCKET")
        answer = _Answer(self.service, connection, send)
        begun = time.perf_counter()
        counts = scope["path"] not in HEALTH
        self.service.n_open += counts
        try:
            refused = self._refused(connection, method)
            if refused is not None:
                await refused(scope, receive, answer.send)
                return
            shortcut = self.shortcuts.get((method, scope["path"]))
            if shortcut is None:
                await self.app(scope, receive, answer.send)
                return
            response = await shortcut(Request(scope, receive), self.service)
            await response(scope, receive, answer.send)
        except Exception as error:
            response = refusal(error, connection)  # logs it
            if answer.status is None and scope["type"] == "http":
                await response(scope, receive, answer.send)
        finally:
            self.service.n_open -= counts
            is_short = (method, scope["path"]) in self.shortcuts
            route = scope["path"] if is_short else getattr(scope.get("route"), "path", "other")
            self.service.metrics.answered(route, method, answer.status or 499, time.perf_counter() - begun)

    def _refused(self, connection: HTTPConnection, method: str) -> ASGIApp | None:
        """Return the answer to a request that goes no further; None where it may."""
        path = connection.scope["path"]
        wrong = _malformed(connection)
        if wrong is not None:
            response = refusal(Problem("bad_request", wrong), connection)
            response.headers["Connection"] = "close"  # what follows may be meant as another request
            return response
        if path in HEALTH:
            return None
        try:
            self._check(connection, method)
        except Problem as problem:
            return _denial(refusal(problem, connection), connection)
        asked = connection.headers.get("access-control-request-method")
        if method == "OPTIONS" and asked is not None and "origin" in connection.headers:
            return Response(status_code=204, headers=PREFLIGHT)
        if not (path in FREE or path.startswith(FREE_FOLDER) or token_fits(self.service, connection)):
            missing = Problem("unauthorized", "send the token of this service as 'Authorization: Bearer TOKEN'")
            response = refusal(missing, connection)
            response.headers["WWW-Authenticate"] = "Bearer"
            return _denial(response, connection)
        return None

    def _check(self, connection: HTTPConnection, method: str) -> None:
        if not host_fits(self.service, connection):
            host = connection.headers.get("host", "")[:100]
            raise Problem("forbidden", f"the service is not called '{host}'; see its setting 'hosts'")
        if not origin_fits(self.service, connection):
            origin = connection.headers.get("origin", "another site")[:100]
            raise Problem("forbidden", f"pages of {origin} may not use this service; see its setting 'origins'")
        if self.service.draining and method not in ("GET", "HEAD", "OPTIONS"):
            raise Problem("draining", "the service is ending and takes no new work", retry_after_s=5.0)
        if self.service.n_open > MAX_OPEN:
            raise Problem("overloaded", "too many connections at once; come again", retry_after_s=1.0)


def _malformed(connection: HTTPConnection) -> str | None:
    """Return what is wrong with the head of a request that h11 takes and another may read otherwise."""
    if connection.scope["http_version"] not in ("1.0", "1.1"):
        return "not a version of HTTP that is spoken here; 1.1 is"
    if "transfer-encoding" in connection.headers and "content-length" in connection.headers:
        return "both a Content-Length and a Transfer-Encoding; send one"
    return None


class _Answer:
    """Looks at the status of an answer on its way, and completes its headers."""

    def __init__(self, service: Service, connection: HTTPConnection, send: Send) -> None:
        self.status: int | None = None
        self._send = send
        self._connection = connection
        self._headers = {**SECURITY, "X-Request-ID": connection.scope["state"]["request_id"]}
        origin = connection.headers.get("origin")
        if origin is not None and origin in service.config.origins:
            self._headers |= {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": EXPOSED}
        self._varies = bool(service.config.origins)

    async def send(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            self.status = message["status"]
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in self._headers.items():
                headers.setdefault(name, value)
            if self._varies:
                headers.add_vary_header("Origin")
        elif message["type"] == "websocket.accept":
            self.status = 101
        elif message["type"] == "websocket.close" and self.status is None and _has_words(self._connection):
            # No route took it, of which Starlette says nothing.
            missing = Problem("not_found", f"no WebSocket under {self._connection.scope['path'][:200]}")
            await _deny(refusal(missing, self._connection), self.send)
            return
        await self._send(message)


def _denial(response: Response, connection: HTTPConnection) -> ASGIApp:
    """Return what refuses a connection: the response, also before a WebSocket is accepted."""
    if connection.scope["type"] == "http":
        return response

    async def deny(scope: Scope, receive: Receive, send: Send) -> None:
        if _has_words(connection):
            await _deny(response, send)
        else:
            await send({"type": "websocket.close", "code": 4401 if response.status_code == 401 else 4403})

    return deny


def _has_words(connection: HTTPConnection) -> bool:
    """Tell whether a WebSocket can be refused by an answer of HTTP."""
    return "websocket.http.response" in connection.scope.get("extensions", {})


async def _deny(response: Response, send: Send) -> None:
    start = {"status": response.status_code, "headers": response.raw_headers}
    await send({"type": "websocket.http.response.start", **start})
    await send({"type": "websocket.http.response.body", "body": bytes(response.body)})


def _request_id(connection: HTTPConnection) -> str:
    given = connection.headers.get("x-request-id", "")
    return given if re.fullmatch(r"[\w.:-]{1,64}", given, re.ASCII) else f"{_START}{next(_NUMBERS):08x}"

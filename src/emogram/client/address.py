"""Where a service is, and how one is let in."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from emogram.client.calls import Lost
from emogram.errors import MissingExtraError, SettingsError

URL = "http://127.0.0.1:8000"
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Address:
    """A service and what its clients send with each request.

    Attributes:
        url: Without a slash at its end.
        token: The secret; None where there is none.
        timeout_s: Longest that a part of an answer may be waited for.
    """

    url: str
    token: str | None
    timeout_s: float

    @staticmethod
    def of(url: str, token: str | None, timeout_s: float) -> Address:
        """Check them.

        Raises:
            SettingsError: The address is none of HTTP.
        """
        try:
            parts = urlsplit(url)
            fits = parts.scheme in ("http", "https") and parts.hostname is not None and (parts.port or 1) > 0
        except ValueError:
            fits = False
        if not fits:
            raise SettingsError(f"'{url}' is no address of a service; expected one such as {URL}")
        if timeout_s <= 0.0:
            raise SettingsError(f"timeout_s is {timeout_s}; expected more than 0")
        return Address(url.rstrip("/"), token, timeout_s)

    @property
    def headers(self) -> dict[str, str]:
        """What goes with each request."""
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}

    def http(self) -> dict[str, Any]:
        """Return the options of an HTTP client."""
        return {
            "base_url": self.url,
            "headers": self.headers,
            "timeout": self.timeout_s,
            "trust_env": not self._is_near,  # a proxy leads to other machines
        }

    def websocket(self) -> dict[str, Any]:
        """Return the options of a WebSocket client."""
        return {
            "uri": f"ws{self.url.removeprefix('http')}/v1/stream",
            "additional_headers": self.headers,
            "open_timeout": self.timeout_s,
            "compression": None,
            "proxy": None if self._is_near else True,
            "ping_timeout": None,  # a service may read slowly: it reads no faster than it listens
        }

    def unreached(self, reason: object) -> str:
        """Return what to say where nothing answers."""
        return f"{self.url}: no service answers there ({reason}); start one with 'emogram serve', or name another"

    @property
    def _is_near(self) -> bool:
        name = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return name == "localhost"


def lost(error: Exception, address: Address) -> Lost:
    """Return what it means that httpx got no answer."""
    import httpx

    arrived = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    reason = str(error) or type(error).__name__
    words = f"{address.url}: no answer ({reason})" if arrived else address.unreached(reason)
    return Lost(words, arrived, late=isinstance(error, httpx.TimeoutException))


def require_client() -> None:
    """Refuse to go on without the extra "client".

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import httpx  # noqa: F401
        import websockets  # noqa: F401
    except ImportError:
        raise MissingExtraError("asking a service", "client") from None

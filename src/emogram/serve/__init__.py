"""The service: clips, jobs, live sound and a page over HTTP and WebSocket, within bounds that are stated."""

from __future__ import annotations

from emogram.serve.app import create_app

__all__ = ["create_app"]

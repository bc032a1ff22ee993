"""A running service used from Python, in the records of this package: `Client`, and `AsyncClient` for asyncio.

from emogram import Client

with Client("http://127.0.0.1:8000") as client:
    print(client.predict("clip.wav").label)
"""

from __future__ import annotations

from emogram.client.asynchronous import AsyncClient
from emogram.client.blocking import Client

__all__ = ["AsyncClient", "Client"]

"""A running service for tests: a real server on a free port of this machine, in a thread."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from emogram.serve import connections


@contextlib.contextmanager
def running(app: FastAPI, **options: Any) -> Iterator[str]:
    """Run an application and give its address, such as "http://127.0.0.1:40001"; ends it cleanly.

    Args:
        app: As `create_app` makes it; its jobs go into a folder that is removed, unless its settings name one.
        options: Further ones of `uvicorn.Config`.
    """
    with contextlib.ExitStack() as stack:
        service = app.state.service
        if service.config.data is None:
            service.jobs.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        yield stack.enter_context(_running(app, options))


@contextlib.contextmanager
def _running(app: FastAPI, options: dict[str, Any]) -> Iterator[str]:
    settings = {"lifespan": "on", **connections.options(), **options}
    config = uvicorn.Config(app, host="127.0.0.1", port=0, **settings)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until = time.monotonic() + 60.0
        while not server.started:
            assert thread.is_alive() and time.monotonic() < until, "the service did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=30.0)
        assert not thread.is_alive(), "the service did not end"

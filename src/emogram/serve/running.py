"""A service from its start to its end: it listens, says where, and, told to end, finishes what is in flight."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from types import FrameType

import uvicorn
from fastapi import FastAPI

from emogram.classifier import Classifier
from emogram.config import ServeConfig
from emogram.errors import EmogramError, SettingsError
from emogram.serve.app import create_app
from emogram.serve.connections import options
from emogram.serve.service import Service


def serve(
    models: Sequence[Classifier],
    config: ServeConfig | None = None,
    *,
    allow_strangers: bool = False,
    listening: Callable[[str], None] = lambda url: None,
) -> int:
    """Run a service until SIGTERM or Ctrl-C, in the main thread of a process.

    Told to end, it is not ready any more and refuses new work, finishes what is in flight for up to `config.drain_s`
    seconds, and returns. Told a second time, it ends the process at once, with 128 and the signal's number.

    Args:
        models: Loaded models of sound; the first answers by default.
        config: What it offers, and its bounds.
        allow_strangers: Listen to other machines without a token.
        listening: Is told the address once requests are taken.

    Returns:
        0 where everything was finished, else 128 and the number of the signal.

    Raises:
        SettingsError: A model cannot be served, or other machines could come in without a token.
        EmogramError: The port is taken, the address is not of this machine, or the processes do not start.
    """
    config = config or ServeConfig()
    check_strangers(config, allow_strangers=allow_strangers)
    app = create_app(models, config)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of every form that is none
    _raise_file_limit()
    with _listening_socket(config) as listener:
        server = _Server(app, config, lambda: listening(_url(config, listener)))
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(server.run_with_parts(listener))
    return server.exit_code


def check_strangers(config: ServeConfig, *, allow_strangers: bool) -> None:
    """Refuse to let other machines in without a token.

    Raises:
        SettingsError: That is so, and nobody said that it is wanted.
    """
    if config.token is None and not allow_strangers and not _is_loopback(config.host):
        raise SettingsError(
            f"{config.host} lets other machines in, and there is no token; set EMOGRAM_TOKEN or --token-file, or say "
            "--no-token where everybody who reaches it may use it"
        )


class _Server(uvicorn.Server):
    """uvicorn, which drains before it stops listening."""

    def __init__(self, app: FastAPI, config: ServeConfig, started: Callable[[], None]) -> None:
        # The parts are started here and not by uvicorn, which makes a log of what goes wrong and no error.
        super().__init__(uvicorn.Config(app, lifespan="off", **options()))
        self._app = app
        self._service: Service = app.state.service
        self._drain_s = config.drain_s
        self._say = started
        self._signal: int | None = None
        self._until = 0.0
        self.exit_code = 0

    async def run_with_parts(self, listener: socket.socket) -> None:
        async with self._app.router.lifespan_context(self._app):
            await self.serve(sockets=[listener])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._say()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            shutil.rmtree(self._service.uploads.path, ignore_errors=True)
            os._exit(128 + sig)  # threads wait for the processes that decode, which end with this one
        self._signal = sig
        self._until = time.monotonic() + self._drain_s

    async def on_tick(self, counter: int) -> bool:
        if self._signal is not None:
            self._service.ending.set()
            is_late = time.monotonic() >= self._until
            if is_late and self._service.n_open:
                self.exit_code = 128 + self._signal
            self.should_exit = is_late or not self._service.n_open
        return await super().on_tick(counter)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listening_socket(config: ServeConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        listener = socket.create_server((config.host, config.port), family=family, backlog=1024)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            why = "the port is taken; choose another, or 0 for a free one"
        elif error.errno == errno.EACCES:
            why = "ports below 1024 need a privilege; choose another"
        else:
            why = f"not an address of this machine ({error.strerror})"
        raise EmogramError(f"cannot listen at {config.host}, port {config.port}: {why}") from None
    # Connections have it from here. Otherwise each answer waits 40 ms between its head and its body, as the client
    # confirms the one only with the other; asyncio sees to that for the sockets alone that it makes itself.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _url(config: ServeConfig, listener: socket.socket) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def _raise_file_limit() -> None:
    """Let the process open as many files as the system allows: each connection is one."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 16384 if hard == resource.RLIM_INFINITY else min(hard, 16384)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

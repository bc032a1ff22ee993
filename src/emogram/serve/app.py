"""Models -> the application that uvicorn runs; tests call it without a network."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from emogram import __version__
from emogram.classifier import Classifier
from emogram.config import ServeConfig
from emogram.errors import EmogramError
from emogram.serve import health
from emogram.serve.models import Models
from emogram.serve.problems import Problem, error_dict, status_of
from emogram.serve.service import Service


def create_app(models: Sequence[Classifier], config: ServeConfig | None = None) -> FastAPI:
    """Make the application of a service.

    Args:
        models: Loaded models of sound; the first answers where a request names none.
        config: What it offers, and its bounds.

    Raises:
        SettingsError: A model cannot be served.
    """
    app = FastAPI(title="emogram", version=__version__, lifespan=_lifespan)
    app.state.service = Service(Models(models), config or ServeConfig())
    app.include_router(health.router)
    app.add_exception_handler(EmogramError, _answer)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for part in app.state.service.parts:
            stack.push_async_callback(part.stop)  # also where it starts only half
            await part.start()
        yield


async def _answer(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, EmogramError), "it is registered for these"
    headers = {}
    if isinstance(error, Problem) and error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    body = error_dict(error.code, str(error), getattr(request.state, "request_id", ""))
    return JSONResponse(body, status_of(error.code), headers)

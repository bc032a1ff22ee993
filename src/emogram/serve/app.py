"""Models -> the application that uvicorn runs; tests call it without a network."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

from emogram import __version__
from emogram.classifier import Classifier
from emogram.config import ServeConfig
from emogram.errors import EmogramError
from emogram.serve import clips, docs, health, metrics, pages
from emogram.serve.connections import CLIPS_PATH
from emogram.serve.guard import HEALTH, Guard
from emogram.serve.jobs import routes as jobs
from emogram.serve.models import Models
from emogram.serve.refusals import refusal
from emogram.serve.service import Service
from emogram.serve.stream import routes as stream
from emogram.serve.stream import vosk


def create_app(models: Sequence[Classifier], config: ServeConfig | None = None) -> FastAPI:
    """Make the application of a service.

    Args:
        models: Loaded models of sound; the first answers where a request names none.
        config: What it offers, and its bounds.

    Raises:
        SettingsError: A model cannot be served.
    """
    service = Service(Models(models), config or ServeConfig())
    app = FastAPI(
        title="emogram",
        summary="Speech emotion recognition: clips, long recordings and live sound.",
        version=__version__,
        lifespan=_lifespan,
        docs_url=None,  # FastAPI's own pages load scripts from the network
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    app.openapi = partial(_described, app)  # type: ignore[method-assign]
    app.add_middleware(Guard, service=service, shortcuts={("POST", CLIPS_PATH): clips.emotions})
    app.include_router(health.router)
    app.include_router(clips.router)
    app.include_router(jobs.router)
    app.include_router(metrics.router)
    app.include_router(docs.router)
    app.include_router(stream.router)
    app.include_router(vosk.router)
    app.include_router(pages.router)
    for kind in (EmogramError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _answer)
    return app


def _described(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI description, with the token, which the guard asks for and no route."""
    if app.openapi_schema is None:
        app.openapi_schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        scheme = {"type": "http", "scheme": "bearer", "description": "Where the service has a token."}
        app.openapi_schema.setdefault("components", {})["securitySchemes"] = {"token": scheme}
        app.openapi_schema["security"] = [{"token": []}, {}]
        for path in HEALTH:
            app.openapi_schema["paths"][path]["get"]["security"] = []
    return app.openapi_schema


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for part in app.state.service.parts:
            stack.push_async_callback(part.stop)  # also where it starts only half
            await part.start()
        yield


async def _answer(request: Request, error: Exception) -> Response:
    return refusal(error, request)

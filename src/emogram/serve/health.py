"""Whether the service lives, whether it takes work, and which models it has."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from emogram.serve.models import model_dict
from emogram.serve.problems import Problem
from emogram.serve.service import Service, service_of
from emogram.serve.shapes import MODEL_EXAMPLE, example, problems

router = APIRouter()


@router.get("/healthz", summary="Does it live", tags=["service"], responses=example({"status": "ok"}))
async def healthz() -> dict[str, str]:
    """Tell that the process lives."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="Does it take work",
    tags=["service"],
    responses={**example({"status": "ready"}), **problems("draining", common=False)},
)
async def readyz(service: Annotated[Service, Depends(service_of)]) -> dict[str, str]:
    """Tell whether new work is taken."""
    if service.draining:
        raise Problem("draining", "the service is ending and takes no new work", retry_after_s=5.0)
    return {"status": "ready"}


@router.get(
    "/v1/models",
    summary="Which models are there",
    tags=["models"],
    responses={**example({"models": [MODEL_EXAMPLE]}), **problems()},
)
async def models(service: Annotated[Service, Depends(service_of)]) -> dict[str, Any]:
    """List the models, the one that answers by default first."""
    return {"models": [model_dict(each) for each in service.models]}

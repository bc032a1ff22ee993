"""`/`, `/page/...` and `/card`: the page for people, the modules it is made of, and what a model says of itself.

The files lie in `page/` beside this module and are sent as they are: nothing is built, nothing comes from a network.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from emogram.bundle import ModelInfo
from emogram.corpora import CORPORA
from emogram.serve.markdown import to_html
from emogram.serve.models import model_dict
from emogram.serve.problems import Problem
from emogram.serve.service import Service, service_of
from emogram.spectrogram import band_centres_hz

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).with_name("page")
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-cache",  # kept, and asked after each time
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}
Found = Annotated[Service, Depends(service_of)]


@router.get("/")
def page(request: Request) -> Response:
    """Show the page."""
    return _file(request, "index.html")


@router.get("/favicon.ico")
def icon(request: Request) -> Response:
    """Show the picture of the page."""
    return _file(request, "icon.svg")


@router.get("/page/about.json")
def about(service: Found) -> JSONResponse:
    """Tell of each model what stands beside its results. No secret, so it asks for no token."""
    models = []
    for each in service.models:
        assert each.info.spectrogram is not None, "Models takes no others"
        centres = [round(hertz, 1) for hertz in band_centres_hz(each.info.spectrogram).tolist()]
        models.append({**model_dict(each), "frequencies_hz": centres, "limits": limits(each.info)})
    return JSONResponse({"models": models, "keep_hours": service.config.keep_hours})


@router.get("/page/{name}")
def part(name: str, request: Request) -> Response:
    """Show a file that the page is made of."""
    return _file(request, name)


@router.get("/card")
def card(service: Found, request: Request, model: str | None = None) -> Response:
    """Show what a model says of itself, made safe: its text is escaped, and links lead to https alone."""
    classifier = service.models.named(model)
    path = classifier.bundle.folder / "README.md"
    text = path.read_text(encoding="utf-8") if path.is_file() else "This model brings no card with it."
    name = escape(classifier.info.model_id)
    content = (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>{name}: model card</title><script src=/page/theme.js></script>"
        "<link rel=icon href=/page/icon.svg><link rel=stylesheet href=/page/page.css></head>"
        "<body class=card><main><p><a href=/>Back to the page</a></p>"
        f"{to_html(text)}</main></body></html>"
    )
    return _answer(request, content.encode(), KINDS[".html"])


def limits(info: ModelInfo) -> list[str]:
    """Return three sentences about a model: what taught it, how often it is right, and what it is not for."""
    taught = [
        f"{f'{CORPORA[each.corpus].speech} speech' if each.corpus in CORPORA else 'speech'} "
        f"({each.corpus}, {each.n_speakers} speakers)"
        for each in info.trained_on
    ]
    origin = f"It was trained on {' and '.join(taught)}." if taught else "It does not say what it was trained on."
    return [f"{origin} On other voices, languages and microphones it may be wrong and sure of it.", _right(info), _USES]


_USES = (
    "It hears how something is said, not what a person feels: do not use it to decide about people, at work, in "
    "schools, in health, credit or policing, and ask people before you analyse their voices."
)


def _right(info: ModelInfo) -> str:
    accuracy, answered = info.metrics.get("accuracy"), info.answered_error
    if accuracy is None:
        return "How often it is right was not measured."
    says = f"Judged on clips like those it was trained on, it was right in {accuracy:.0%} of them"
    if answered is None or info.unsure_share is None:
        return f"{says}."
    return (
        f"{says}; it said “unsure” of {info.unsure_share:.0%}, and of the rest {1.0 - answered:.0%} were right. "
        "Expect less of everyday recordings."
    )


def _file(request: Request, name: str) -> Response:
    found = _files().get(name)
    if found is None:
        raise Problem("not_found", "the page has no such part")
    return _answer(request, found, KINDS[Path(name).suffix])


@lru_cache
def _files() -> dict[str, bytes]:
    """Read all files once; what is not among them cannot be asked for, whatever a name looks like."""
    return {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.suffix in KINDS}


def _answer(request: Request, content: bytes, kind: str) -> Response:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers: dict[str, Any] = {**HEADERS, "ETag": tag}
    asked = request.headers.get("if-none-match", "")
    if tag in (each.strip().removeprefix("W/") for each in asked.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)

"""`/docs`: what the service can be asked for, as a plain page without any script, made from its OpenAPI description."""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Any

from fastapi import APIRouter, Request, Response

router = APIRouter()

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "pre,code{font:14px/1.4 ui-monospace,monospace}pre{overflow:auto;padding:.5rem;border:1px solid #8886}"
    "h2 code{font-size:1.1rem}td,th{text-align:left;vertical-align:top;padding:.2rem 1rem .2rem 0}"
)
_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


@router.get("/docs", include_in_schema=False)
async def page(request: Request) -> Response:
    """Show the description."""
    content = _page(request.app.openapi())
    return Response(content, media_type="text/html", headers={"Content-Security-Policy": _POLICY})


def _page(description: dict[str, Any]) -> str:
    about = description["info"]
    parts = [
        f"<h1>{escape(about['title'])} {escape(about['version'])}</h1>",
        f"<p>{escape(about.get('summary', ''))} The same for programs: <a href=openapi.json>openapi.json</a>.</p>",
    ]
    for path, methods in description["paths"].items():
        parts += [_operation(path, method, operation) for method, operation in methods.items()]
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>emogram</title><style>{_STYLE}"
    return f"<!doctype html><html lang=en><head>{head}</style></head><body><main>{''.join(parts)}</main></body></html>"


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    body = operation.get("requestBody", {}).get("content", {})
    parts = [
        f"<h2><code>{method.upper()} {escape(path)}</code></h2>",
        f"<p><b>{escape(operation.get('summary', ''))}.</b> {escape(operation.get('description', ''))}</p>",
        f"<p>Body: {', '.join(f'<code>{escape(kind)}</code>' for kind in body)}</p>" if body else "",
        _table(
            [
                (each["name"], each.get("description", ""), json.dumps(each["schema"].get("default")))
                for each in operation.get("parameters", [])
            ]
        ),
        *(_response(status, response) for status, response in operation["responses"].items()),
    ]
    return "".join(parts)


def _table(rows: list[tuple[str, str, str]]) -> str:
    if not rows:
        return ""
    cells = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(text)}</td><td><code>{escape(default)}</code></td></tr>"
        for name, text, default in rows
    )
    return f"<table><tr><th>Parameter</th><th></th><th>Default</th></tr>{cells}</table>"


def _response(status: str, response: dict[str, Any]) -> str:
    examples = []
    for kind, content in response.get("content", {}).items():
        found = [content["example"]] if "example" in content else []
        found += [each["value"] for each in content.get("examples", {}).values()]
        examples += [(kind, each if isinstance(each, str) else json.dumps(each, indent=1)) for each in found]
    shown = "".join(f"<p>{escape(kind)}</p><pre>{escape(text)}</pre>" for kind, text in examples)
    summary = f"<summary>{escape(status)}: {escape(response.get('description', ''))}</summary>"
    return f"<details>{summary}{shown}</details>"

"""Whatever goes wrong -> the one shape in which the service says so. Nothing of its inside is told."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.routing import compile_path

from emogram.errors import EmogramError, SettingsError
from emogram.serve.problems import Problem, error_dict, message_of, retry_headers, status_of

_LOG = logging.getLogger("emogram.serve")

_CODES = {400: "bad_request", 404: "not_found", 405: "wrong_method", 413: "too_large", 415: "wrong_content_type"}


def refusal(error: Exception, connection: HTTPConnection) -> JSONResponse:
    """Return the answer that an error makes; one that nobody foresaw, or that is no fault of the client, is logged."""
    request_id = connection.scope.get("state", {}).get("request_id", "")
    code, message, headers = _told(error, connection)
    status = status_of(code)
    if status == 500:
        _LOG.error("request %s failed", request_id, exc_info=error)
        code, message = "internal", "an error of the service itself; its log tells more under this request_id"
    return JSONResponse(error_dict(code, message, request_id), status, headers)


def _told(error: Exception, connection: HTTPConnection) -> tuple[str, str, Mapping[str, str]]:
    if isinstance(error, Problem):
        return error.code, str(error), retry_headers(error)
    if isinstance(error, SettingsError):
        return "bad_parameter", str(error), {}
    if isinstance(error, EmogramError):
        return error.code, message_of(error), {}
    if isinstance(error, RequestValidationError):
        return "bad_parameter", "; ".join(map(_complaint, error.errors())), {}
    if isinstance(error, HTTPException):
        return _of_http(error, connection)
    return "internal", "", {}


def _of_http(error: HTTPException, connection: HTTPConnection) -> tuple[str, str, Mapping[str, str]]:
    path = connection.scope["path"][:200]
    code = _CODES.get(error.status_code, "internal" if error.status_code >= 500 else "bad_request")
    messages = {
        "not_found": f"nothing here under {path}",
        "wrong_method": f"{connection.scope.get('method', '')[:20]} is not for {path}",
    }
    headers = dict(error.headers or {})
    if code == "wrong_method":
        headers["Allow"] = _allowed(connection) or headers.get("Allow", "")
    return code, messages.get(code, str(error.detail)[:300]), headers


def _allowed(connection: HTTPConnection) -> str:
    """Return every method that a path takes: of several routes of one path, the error knows the first alone."""
    paths: Mapping[str, Mapping[str, object]] = connection.app.openapi()["paths"]
    for template, methods in paths.items():
        if compile_path(template)[0].match(connection.scope["path"]):
            return ", ".join(sorted(map(str.upper, methods)))
    return ""


def _complaint(error: Mapping[str, object]) -> str:
    place = error.get("loc", ())
    names = [str(name) for name in place if name not in ("query", "body", "path", "header")] if place else []  # type: ignore[attr-defined]
    return f"{'.'.join(names)}: {error.get('msg', 'not as expected')}"[:300]

"""What OpenAPI says of the service beside what FastAPI finds out by itself: errors, uploads, examples."""

from __future__ import annotations

from typing import Any

from emogram.config import Settings
from emogram.serve.problems import error_dict, status_of

_SCORES = {
    "angry": 0.01, "calm": 0.01, "disgust": 0.01, "fearful": 0.04, "happy": 0.81, "neutral": 0.02, "sad": 0.02,
    "surprised": 0.08,
}  # fmt: skip

MODEL_EXAMPLE = {"id": "emogram-1", "sha256": "9f2c...", "labels": list(_SCORES), "calibrated": True}

RESULT_EXAMPLE = {
    "schema": "emogram.result/1",
    "file": "clip.wav",
    "model": MODEL_EXAMPLE,
    "audio": {"duration_ms": 3470, "sample_rate": 16000, "channels": 1},
    "segments": [
        {
            "start_ms": 0,
            "end_ms": 3470,
            "channel": None,
            "label": "happy",
            "confidence": 0.81,
            "scores": [{"label": label, "score": score} for label, score in _SCORES.items()],
            "speech_ratio": 0.62,
            "abstained": False,
        }
    ],
    "summary": {"label": "happy", "confidence": 0.81},
    "warnings": [],
}

ERROR_SCHEMA = {
    "type": "object",
    "title": "Error",
    "required": ["type", "code", "message", "request_id"],
    "properties": {
        "type": {"const": "error"},
        "code": {"type": "string", "description": "Of which kind it is; for programs."},
        "message": {"type": "string", "description": "What is wrong and what to do; for people."},
        "request_id": {"type": "string", "description": "Under which the service's log names it."},
    },
}

_MESSAGES = {
    "bad_request": "the form was cut off: its last boundary is missing",
    "unauthorized": "send the token of this service as 'Authorization: Bearer TOKEN'",
    "forbidden": "pages of https://example.org may not use this service",
    "not_found": "nothing here under /v2",
    "wrong_method": "GET is not for /v1/audio/emotions",
    "slow_upload": "the body came too slowly (4096 bytes of it)",
    "not_ready": "the job is still running",
    "gone": "the job's result is kept no longer",
    "too_large": "more than the 32 MB that may be sent here",
    "too_long": "talk.wav: 3600 s long; a clip may last 60 s, send it to POST /v1/jobs",
    "wrong_content_type": "content type text/plain; send multipart/form-data with the field 'file', ...",
    "bad_range": "the file has 111084 bytes, and none of those asked for",
    "bad_parameter": "granularity: Input should be 'clip' or 'timeline'",
    "busy": "too much is asked at once; come again",
    "internal": "an error of the service itself; its log tells more under this request_id",
    "draining": "the service is ending and takes no new work",
    "overloaded": "too many connections; come again",
    "disk_full": "no room for this file; come again later",
    "unreadable": "talk.wav: not a readable sound file; expected WAV, FLAC, OGG, Opus, MP3, AIFF, AU, W64 or CAF",
    "silent": "talk.wav: silent throughout (peak below -80 dBFS); check the recording",
    "timeout": "talk.wav: took longer than 20 s",
}
COMMON = ("unauthorized", "forbidden", "internal", "overloaded")
_SOUND = ("unreadable", "silent", "timeout")  # of what may be wrong with a sound file
_EMPTY = {"type": "string", "maxLength": 0, "description": "Left empty, as forms of pages do: the default."}
_RETRY = {
    "Retry-After": {"description": "Seconds after which to come again.", "schema": {"type": "integer", "minimum": 1}}
}


def example(value: Any) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of an answer in JSON, by an example."""
    return {200: {"description": "As asked.", "content": {"application/json": {"example": value}}}}


def problems(*codes: str, common: bool = True) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of errors of these codes, with an example of each.

    Args:
        codes: Codes of `problems.STATUS`. With "wrong_content_type" go the codes of sound that cannot be used.
        common: Add what any route answers that the guard stands before.
    """
    every = (*COMMON, *codes) if common else codes
    if "wrong_content_type" in codes:
        every = (*every, *_SOUND)
    by_status: dict[int | str, list[str]] = {}
    for code in every:
        by_status.setdefault(status_of(code), []).append(code)
    return {
        status: {
            "description": ", ".join(found),
            "content": {
                "application/json": {
                    "schema": ERROR_SCHEMA,
                    "examples": {
                        code: {"value": error_dict(code, _MESSAGES[code], "5f0c8a31b7d24e96")} for code in found
                    },
                }
            },
            **({"headers": _RETRY} if status in (429, 503) else {}),
        }
        for status, found in by_status.items()
    }


def _properties(options: type[Settings]) -> dict[str, dict[str, Any]]:
    """Return the schema of each setting, which addresses and forms may leave empty; they have no null."""
    found: dict[str, dict[str, Any]] = {}
    for name, told in options.model_json_schema()["properties"].items():
        said = {key: told[key] for key in ("title", "description", "default") if told.get(key) is not None}
        kinds = told.get("anyOf", [{key: value for key, value in told.items() if key not in said}])
        kinds = [each for each in kinds if each.get("type") != "null"]
        is_text = kinds[0].get("type") == "string" and not kinds[0].keys() & {"enum", "const", "minLength", "pattern"}
        found[name] = {**said, **kinds[0]} if is_text else {**said, "anyOf": [*kinds, _EMPTY]}
    return found


def query_of(options: type[Settings]) -> list[dict[str, Any]]:
    """Return settings as parameters of an address, for a route that takes them there or in a form."""
    return [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": schema.pop("description", "")}
        for name, schema in _properties(options).items()
    ]


def upload_body(options: type[Settings]) -> dict[str, Any]:
    """Return the body that `uploads.receive` reads: a form with the sound and settings, or the sound itself."""
    binary = {"type": "string", "format": "binary"}
    form = {"type": "object", "required": ["file"], "properties": {"file": binary, **_properties(options)}}
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": form},
            "audio/*": {"schema": binary},
            "application/octet-stream": {"schema": binary},
        },
    }

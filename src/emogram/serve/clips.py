"""`POST /v1/audio/emotions`: a clip comes, and what `emogram predict` or `emogram analyze` says of it goes back."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from emogram.classifier import Classifier, Heard
from emogram.config import Settings
from emogram.files import json_line
from emogram.records import Prediction, Segment, Timeline, Windows
from emogram.serve.connections import CLIPS_PATH
from emogram.serve.problems import Problem
from emogram.serve.service import Service, service_of
from emogram.serve.shapes import RESULT_EXAMPLE, problems, query_of, upload_body
from emogram.serve.uploads import Upload, filled, receive
from emogram.timeline import rate_warnings, summary_of
from emogram.watched import Answer
from emogram.writers import clip_dict, save_timeline

router = APIRouter()

Result = TypeVar("Result")

MEDIA_TYPES = {"json": "application/json", "csv": "text/csv", "vtt": "text/vtt", "textgrid": "text/plain"}


class ClipOptions(Settings):
    """What can be said of a clip beside its sound, in the address or as fields of the form."""

    model: str | None = Field(None, description="Id of a model of GET /v1/models; by default the first.")
    response_format: Literal["json", "csv", "vtt", "textgrid"] = Field("json", description="What comes back.")
    granularity: Literal["clip", "timeline"] = Field(
        "clip", description="One answer for all of the clip, or where in it which emotion is."
    )
    check: bool = Field(True, description="Of clips in JSON: look for speech, and warn of what is unlike the training.")
    name: str = Field("", max_length=1000, description="What the file is called, where the body is the sound itself.")


_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "What the model says of the clip.",
        "content": {
            "application/json": {"example": RESULT_EXAMPLE},
            "text/csv": {
                "example": "start_s,end_s,channel,speaker,label,confidence,...\n0.000,3.470,,,happy,0.81,...\n"
            },
            "text/vtt": {"example": "WEBVTT\n\n00:00:00.000 --> 00:00:03.470\nhappy 81 %\n"},
            "text/plain": {"example": 'File type = "ooTextFile"\nObject class = "TextGrid"\n...'},
        },
    },
    **problems(
        "bad_request", "slow_upload", "too_large", "too_long", "wrong_content_type", "bad_parameter", "busy", "draining"
    ),
}


@router.post(
    CLIPS_PATH,
    summary="Tell the emotion of a clip",
    tags=["clips"],
    response_class=Response,
    responses=_RESPONSES,
    openapi_extra={"parameters": query_of(ClipOptions), "requestBody": upload_body(ClipOptions)},
)
async def emotions(request: Request, service: Annotated[Service, Depends(service_of)]) -> Response:
    """Send the sound as the field `file` of a form, or as the body itself. Longer sound is a job: `POST /v1/jobs`."""
    config = service.config
    # What can be refused is refused before the sound is on its way.
    service.workers.check_room()
    service.models.named(ClipOptions.from_dict(filled(request.query_params)).model)
    with service.uploads.place(), service.workers.coming():
        upload = await receive(request, service.uploads.path, config.max_clip_mb * 1e6)
    try:
        options = ClipOptions.from_dict(upload.fields)
        return await unless_gone(request, _answer(service, upload, options))
    finally:
        upload.path.unlink(missing_ok=True)


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Do what a client waits for; once it is gone, drop it. The body must have been read."""
    task = asyncio.create_task(work)
    watch = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Problem("bad_request", "the client went away")
    finally:
        watch.cancel()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Problem):
            await task


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _answer(service: Service, upload: Upload, options: ClipOptions) -> Response:
    classifier = service.models.named(options.model)
    config = service.config
    values = {
        "path": str(upload.path),
        "name": upload.name,
        "model": classifier.info.model_id,
        "max_s": config.max_clip_s,
    }
    if options.granularity == "timeline":
        asked = {**values, "format": options.response_format}
        said = (await service.workers.call("timeline", asked, limit_s=config.clip_time_limit_s)).head["result"]
        return _response(json_line(said) if options.response_format == "json" else said, options)
    is_json = options.response_format == "json"
    asked = {**values, "check": options.check or not is_json}  # a table tells how much of the clip is speech
    heard = await service.workers.call("clip", asked, limit_s=config.clip_time_limit_s)
    about = heard.head
    prediction = await service.batcher.answer(classifier, Heard(heard.arrays, about["speech_share"]))
    if not is_json:
        timeline = _one_segment(prediction, classifier, heard)
        text = await asyncio.to_thread(_written, timeline, options.response_format, upload.name, classifier)
        return _response(text, options)
    said = clip_dict(
        prediction,
        classifier,
        path=upload.name,
        duration_ms=about["duration_ms"],
        sample_rate=about["sample_rate"],
        channels=about["channels"],
    )
    return _response(json_line(said), options)


def _response(text: str, options: ClipOptions) -> Response:
    return Response(text.encode(), media_type=MEDIA_TYPES[options.response_format])


def _one_segment(prediction: Prediction, classifier: Classifier, heard: Answer) -> Timeline:
    """Return the answer on a whole clip as a timeline, which is what files are made of."""
    about = heard.head
    duration_s = about["heard_s"] if about["duration_ms"] is None else about["duration_ms"] / 1000
    segments = (Segment(0.0, duration_s, None, prediction, about["speech_share"]),)
    labels = classifier.labels
    none = np.empty(0)
    return Timeline(
        segments=segments,
        windows=Windows(
            labels,
            none,
            none,
            none.astype(np.int64),
            np.empty((0, len(labels)), np.float32),
            {name: none.astype(np.float32) for name in classifier.dimensions},
        ),
        duration_s=duration_s,
        sample_rate=about["sample_rate"],
        channels=about["channels"],
        summary=summary_of(segments, labels),
        warnings=(*prediction.warnings, *rate_warnings(about["sample_rate"], classifier)),
    )


def _written(timeline: Timeline, name: str, recording: str, classifier: Classifier) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = save_timeline(
            Path(folder) / "result", timeline, name, recording=recording, model=classifier.info.model_id
        )
        return path.read_text(encoding="utf-8")

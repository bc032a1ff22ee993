"""`/v1/jobs`: long recordings come in, and what was found in them, with views of it, is fetched when it is ready."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from pydantic import Field

from emogram.config import Settings
from emogram.nearby import unknown
from emogram.serve.clips import unless_gone
from emogram.serve.jobs.place import RESULT, WINDOWS
from emogram.serve.jobs.runner import Jobs
from emogram.serve.jobs.store import DONE, FAILED, Job
from emogram.serve.jobs.views import sound_type, view
from emogram.serve.jobs.words import JOB_EXAMPLE, job_dict
from emogram.serve.problems import Problem
from emogram.serve.service import Service, service_of
from emogram.serve.shapes import RESULT_EXAMPLE, example, problems, query_of, upload_body
from emogram.serve.uploads import Upload, receive
from emogram.writers import FORMATS, check_format

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

VIEW_LIMIT_S = 120.0  # some hours of sound take half a minute to read
EXPLANATION_LIMIT_S = 60.0
MAX_EXPLAINED_S = 10.0
MAX_MS = 10**10

MEDIA_TYPES = {
    "json": "application/json",
    "jsonl": "application/jsonl",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "textgrid": "text/plain",
    "eaf": "application/xml",
    "audacity": "text/plain",
    "vtt": "text/vtt",
    "rttm": "text/plain",
    "html": "text/html",
}


class JobOptions(Settings):
    """What can be said of a recording beside its sound, in the address or as fields of the form."""

    model: str | None = Field(None, description="Id of a model of GET /v1/models; by default the first.")
    channels: Literal["mix", "split"] = Field("mix", description="Average the channels, or analyse each by itself.")
    raw: bool = Field(False, description="Do not smooth.")
    find_speech: bool = Field(True, description="Look where somebody speaks; otherwise all that is not silent counts.")
    name: str = Field("", max_length=1000, description="What the file is called, where the body is the sound itself.")


Found = Annotated[Service, Depends(service_of)]
Milliseconds = Annotated[int, Query(ge=0, le=MAX_MS)]


async def _job(job_id: str, service: Found) -> Job:
    return await service.jobs.do(service.jobs.get, job_id)


async def _done_job(job: Annotated[Job, Depends(_job)]) -> Job:
    if job.status == FAILED:
        raise Problem("not_ready", f"the job failed: {job.message}")
    if job.status != DONE:
        raise Problem("not_ready", f"the job is {job.status}")
    return job


AnyJob = Annotated[Job, Depends(_job)]
DoneJob = Annotated[Job, Depends(_done_job)]


def _as_json(jobs: Jobs, job: Job) -> dict[str, Any]:
    return job_dict(job, jobs.progress(job), jobs.expires_s(job))


@router.post(
    "",
    status_code=202,
    summary="Send a long recording",
    response_class=Response,
    responses={
        202: {
            "description": "It is kept, and will be worked on even if the service is ended in between.",
            "content": {"application/json": {"example": {**JOB_EXAMPLE, "status": "queued", "started": None}}},
            "headers": {"Location": {"description": "Address of the job.", "schema": {"type": "string"}}},
        },
        **problems(
            "bad_request",
            "slow_upload",
            "too_large",
            "wrong_content_type",
            "bad_parameter",
            "busy",
            "draining",
            "disk_full",
        ),
    },
    openapi_extra={"parameters": query_of(JobOptions), "requestBody": upload_body(JobOptions)},
)
async def send(request: Request, service: Found) -> Response:
    """Send the sound as the field `file` of a form, or as the body itself; then ask for the job at its `Location`."""
    jobs = service.jobs
    # What can be refused is refused before the sound is on its way.
    service.models.named(JobOptions.from_dict(request.query_params).model)
    await jobs.do(jobs.check_room)
    stated = request.headers.get("content-length", "")
    with jobs.reserved(
        int(stated) if re.fullmatch(r"\d{1,18}", stated) else None, await jobs.do(jobs.n_stored)
    ) as most:
        upload = await receive(request, jobs.place.incoming, most)
        try:
            job = await _accepted(service, upload)
        finally:
            upload.path.unlink(missing_ok=True)
    content = _as_json(jobs, job)
    return JSONResponse(content, 202, {"Location": content["links"]["self"]})


async def _accepted(service: Service, upload: Upload) -> Job:
    options = JobOptions.from_dict(upload.fields)
    model = service.models.named(options.model).info.model_id
    jobs = service.jobs
    return await jobs.do(
        jobs.accept, upload.path, upload.name, model, options.channels, options.raw, options.find_speech
    )


@router.get(
    "",
    summary="List the jobs",
    responses={**example({"jobs": [JOB_EXAMPLE]}), **problems("bad_parameter")},
)
async def listed(service: Found, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
    """List the jobs, the newest first."""
    jobs = service.jobs
    return {"jobs": [_as_json(jobs, each) for each in await jobs.do(jobs.newest, limit)]}


@router.get(
    "/{job_id}", summary="Ask for a job", responses={**example(JOB_EXAMPLE), **problems("not_found", "bad_parameter")}
)
async def asked(job: AnyJob, service: Found) -> dict[str, Any]:
    """Tell how far a job is."""
    return _as_json(service.jobs, job)


@router.post(
    "/{job_id}/cancel",
    summary="Cancel a job",
    responses={**example(JOB_EXAMPLE), **problems("not_found", "bad_parameter")},
)
async def cancel(job: AnyJob, service: Found) -> dict[str, Any]:
    """End a job that waits or is worked on; of one that is finished nothing changes."""
    return _as_json(service.jobs, await service.jobs.do(service.jobs.cancel, job.id))


@router.delete("/{job_id}", status_code=204, summary="Delete a job", responses=problems("not_found", "bad_parameter"))
async def delete(job: AnyJob, service: Found) -> Response:
    """End a job if it is worked on, and delete its sound and all that was made of it."""
    await service.jobs.do(service.jobs.remove, job.id)
    return Response(status_code=204)


@router.get(
    "/{job_id}/result",
    summary="Fetch the result",
    response_class=Response,
    responses={
        200: {
            "description": "What `emogram analyze` says of the recording.",
            "content": {
                "application/json": {"example": RESULT_EXAMPLE},
                **{kind: {} for kind in sorted(set(MEDIA_TYPES.values()) - {"application/json"})},
            },
        },
        **problems("not_found", "not_ready", "bad_parameter", "busy"),
    },
)
async def result(
    request: Request,
    job: DoneJob,
    service: Found,
    response_format: Literal[
        "json", "jsonl", "csv", "parquet", "textgrid", "eaf", "audacity", "vtt", "rttm", "html"
    ] = "json",
) -> Response:
    """Fetch the result in any format that `emogram analyze --format` writes."""
    kind = MEDIA_TYPES[response_format]
    stem = Path(job.name).stem
    if response_format == "json":
        return await _file(service.jobs.place.of(job.id) / RESULT, kind, f"{stem}.json")
    check_format(response_format)
    suffix = FORMATS[response_format].suffix
    path = await _view(request, service, job, "job_format", suffix, {"format": response_format})
    return await _file(path, kind, f"{stem}{suffix}")


@router.get(
    "/{job_id}/windows",
    summary="Fetch the scored windows",
    response_class=Response,
    responses={
        **example(
            {"labels": ["calm", "happy"], "start_ms": [0], "end_ms": [2048], "channel": [None], "scores": [[0.2, 0.8]]}
        ),
        **problems("not_found", "not_ready", "bad_parameter"),
    },
)
async def windows(job: DoneJob, service: Found) -> Response:
    """Fetch what each window was scored, before smoothing; the channel is null where channels are averaged."""
    return await _file(service.jobs.place.of(job.id) / WINDOWS, "application/json")


@router.get(
    "/{job_id}/waveform",
    summary="Fetch the waveform",
    response_class=Response,
    responses={
        **example({"duration_ms": 3470, "edges_ms": [0.0, 3470.0], "channels": [{"low": [-0.31], "high": [0.28]}]}),
        **problems("not_found", "not_ready", "bad_parameter", "busy"),
    },
)
async def waveform(
    request: Request, job: AnyJob, service: Found, points: Annotated[int, Query(ge=1, le=4800)] = 1200
) -> Response:
    """Fetch the lowest and highest sample of each of so many stretches; null where the file holds none."""
    path = await _view(request, service, job, "job_waveform", ".json", {"points": points})
    return await _file(path, "application/json")


@router.get(
    "/{job_id}/spectrogram",
    summary="Fetch the spectrogram",
    response_class=Response,
    responses={
        200: {"description": "A grey picture.", "content": {"image/png": {}}},
        **problems("not_found", "not_ready", "bad_parameter", "busy"),
    },
)
async def spectrogram(
    request: Request, job: AnyJob, service: Found, start_ms: Milliseconds = 0, end_ms: Milliseconds | None = None
) -> Response:
    """Fetch a stretch, of up to a minute as the model sees it: one pixel a band high, the lowest band at the bottom."""
    if end_ms is not None and end_ms <= start_ms:
        raise Problem("bad_parameter", f"end_ms is {end_ms}; expected more than start_ms, {start_ms}")
    service.models.named(job.model)  # an earlier service may have had others
    values = {"start_s": start_ms / 1000, "end_s": None if end_ms is None else end_ms / 1000}
    return await _file(await _view(request, service, job, "job_spectrogram", ".png", values), "image/png")


@router.get(
    "/{job_id}/explanation",
    summary="Ask what spoke for a label",
    response_class=Response,
    responses={
        **example(
            {
                "label": "happy",
                "method": "occlusion",
                "prediction": {key: RESULT_EXAMPLE["segments"][0][key] for key in ("label", "confidence", "scores")},  # type: ignore[index]
                "times_ms": [1000, 1016],
                "frequencies_hz": [43.1, 86.4],
                "map": [[0.1, 0.0], [0.4, -0.1]],
                "mark_level": 0.24,
                "spectrogram": [[0.5, 0.6], [0.4, 0.7]],
            }
        ),
        **problems("not_found", "bad_parameter", "busy"),
    },
)
async def explanation(
    request: Request,
    job: AnyJob,
    service: Found,
    start_ms: Milliseconds,
    end_ms: Milliseconds,
    label: Annotated[str | None, Query(max_length=100)] = None,
) -> Response:
    """Fetch a map of a stretch of at most ten seconds: above 0 where the sound spoke for the label, by hiding it."""
    if not start_ms < end_ms <= start_ms + 1000 * MAX_EXPLAINED_S:
        raise Problem(
            "bad_parameter", f"{start_ms} to {end_ms} ms; expected a stretch of at most {MAX_EXPLAINED_S:g} s"
        )
    labels = service.models.named(job.model).labels
    if label is not None and label not in labels:
        raise Problem("bad_parameter", unknown("label", label, labels))
    values = {"start_s": start_ms / 1000, "end_s": end_ms / 1000, "label": label}
    path = await _view(request, service, job, "job_explanation", ".json", values, limit_s=EXPLANATION_LIMIT_S)
    return await _file(path, "application/json")


_SOUND: dict[str, Any] = {"audio/*": {}, "application/octet-stream": {}}  # the latter of what is no sound that is known


@router.get(
    "/{job_id}/audio",
    summary="Fetch the sound",
    response_class=Response,
    responses={
        200: {"description": "The file as it was sent.", "content": _SOUND},
        206: {"description": "The bytes that were asked for.", "content": _SOUND},
        **problems("not_found", "bad_range", "bad_parameter"),
    },
)
async def audio(request: Request, job: AnyJob, service: Found) -> Response:
    """Fetch the file that was sent; a range of bytes can be asked for."""
    path = service.jobs.sound(job)
    try:
        kind, size = await asyncio.to_thread(lambda: (sound_type(path), path.stat().st_size))
    except FileNotFoundError:
        raise _gone() from None
    _check_range(request, size)
    return await _file(path, kind, job.name, shown=True)


def _check_range(request: Request, size: int) -> None:
    """Refuse a range that lies outside, and pass over one that is none, as RFC 9110 has it."""
    given = request.headers.get("range")
    if given is None:
        return
    found = re.fullmatch(r"bytes=(\d{1,18})-(\d{0,18})|bytes=-(\d{1,18})", given.strip())
    first, last, tail = found.groups() if found else (None, None, None)
    if found is None or (first and last and int(last) < int(first)):
        request.scope["headers"] = [each for each in request.scope["headers"] if each[0] != b"range"]
    elif (first and int(first) >= size) or (tail and int(tail) == 0):
        raise Problem("bad_range", f"the file has {size} bytes, and none of those asked for")


async def _view(
    request: Request,
    service: Service,
    job: Job,
    task: str,
    suffix: str,
    values: dict[str, Any],
    *,
    limit_s: float = VIEW_LIMIT_S,
) -> Path:
    return await unless_gone(request, view(service, job, task, suffix, values, limit_s=limit_s))


async def _file(path: Path, kind: str, name: str | None = None, *, shown: bool = False) -> Response:
    """Return a file, under a name to save it by; as `shown` for a player, else as one to save."""
    if not await asyncio.to_thread(path.is_file):
        raise _gone()
    return FileResponse(
        path,
        media_type=kind,
        filename=name,
        headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-store"},
        content_disposition_type="inline" if shown else "attachment",
    )


def _gone() -> Problem:
    return Problem("gone", "this job was deleted")

"""What the doors of a service share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol, cast

from starlette.requests import HTTPConnection

from emogram.config import ServeConfig
from emogram.serve.batching import Batcher
from emogram.serve.jobs.runner import Jobs
from emogram.serve.metrics import Metrics
from emogram.serve.models import Models
from emogram.serve.stream.streams import Streams
from emogram.serve.uploads import UploadFolder
from emogram.serve.workers import Workers


class Part(Protocol):
    """What runs as long as the service does."""

    async def start(self) -> None:
        """Begin; raises `EmogramError` where that is not possible."""

    async def stop(self) -> None:
        """End, within seconds."""


@dataclass
class Service:
    """One running service.

    Attributes:
        models: The models that answer.
        config: What it offers, and its bounds.
        uploads: Where what clients send lies while it is worked on.
        workers: The processes that decode.
        batcher: What scores clips.
        streams: The live streams.
        jobs: Long recordings.
        metrics: What is counted, for those who watch the service.
        n_open: Requests and WebSockets that are being answered now, questions of health left out.
        ending: Set once it is told to end: nothing new is begun, and what is in flight finishes.
    """

    models: Models
    config: ServeConfig
    metrics: Metrics = field(init=False)
    uploads: UploadFolder = field(init=False)
    workers: Workers = field(init=False)
    batcher: Batcher = field(init=False)
    streams: Streams = field(init=False)
    jobs: Jobs = field(init=False)
    ending: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    n_open: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.metrics = Metrics(self.models)
        self.uploads = UploadFolder(2 * self.config.max_queue)
        self.workers = Workers(list(self.models), self.config)
        self.batcher = Batcher(self.config, told=self.metrics.batch.observe)
        self.streams = Streams(self.config)
        self.metrics.watch("emogram_streams", "Live streams that are open.", lambda: self.streams.n_open)
        self.jobs = Jobs(self.models, self.config)
        self.metrics.watch("emogram_jobs_running", "Long recordings that are worked on.", self.jobs.n_running)
        self.metrics.watch("emogram_queue_clips", "Clips that wait to be read.", self.workers.n_waiting)
        self.metrics.watch("emogram_queue_scoring", "Clips that wait for the network.", lambda: self.batcher.n_waiting)
        self.metrics.watch(
            "emogram_worker_ends", "Processes that were ended, by why.", lambda: self.workers.counts, label="why"
        )
        self.metrics.watch("emogram_worker_bytes", "Memory of the processes that decode.", self.workers.n_bytes)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is started with the service, in this order, and stopped in the opposite one."""
        return (self.uploads, self.workers, self.batcher, self.streams, self.jobs)

    @property
    def draining(self) -> bool:
        """Whether it was told to end."""
        return self.ending.is_set()


async def service_of(connection: HTTPConnection) -> Service:
    """Return the service that was asked; for `Depends`, which gives what is not async to threads."""
    return cast(Service, connection.app.state.service)

"""What Prometheus asks for at `/metrics`; each application counts by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from emogram.classifier import Classifier
from emogram.serve.shapes import problems

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET"})

Value = int | float


class Metrics:
    """Counters and gauges of one service.

    Attributes:
        batch: Is told the number of clips of each run of the network.
    """

    def __init__(self, models: Iterable[Classifier]) -> None:
        """Begin at zero, and tell which models there are."""
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "emogram_requests", "Requests answered.", ["route", "method", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "emogram_request_seconds",
            "Time from the head of a request to the end of its answer.",
            ["route"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self.batch = Histogram(
            "emogram_batch_clips", "Clips in one run of the network.", buckets=SIZES, registry=self._registry
        )
        about = Info("emogram_model", "A model of the service.", ["id"], registry=self._registry)
        for each in models:
            about.labels(each.info.model_id).info({"sha256": each.sha256, "calibrated": str(each.info.calibrated)})
        ProcessCollector(registry=self._registry)

    def watch(
        self, name: str, text: str, read: Callable[[], Value | Mapping[str, Value]], *, label: str | None = None
    ) -> None:
        """Add a gauge, whose value is asked for when somebody looks.

        Args:
            name: Its name, "emogram_...".
            text: What it is.
            read: Returns the value, or with `label` the value of each.
            label: Name of the label that tells several values apart.
        """
        self._registry.register(_Watched(name, text, read, label))

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(route, method if method in METHODS else "other", str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self._registry)


class _Watched(Collector):
    def __init__(
        self, name: str, text: str, read: Callable[[], Value | Mapping[str, Value]], label: str | None
    ) -> None:
        self._name, self._text, self._read, self._label = name, text, read, label

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(self._name, self._text)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        value = self._read()
        if isinstance(value, Mapping):
            family = GaugeMetricFamily(self._name, self._text, labels=[self._label or "name"])
            for name, each in value.items():
                family.add_metric([name], each)
        else:
            family = GaugeMetricFamily(self._name, self._text, value=value)
        yield family


router = APIRouter()


def _metrics_of(request: Request) -> Metrics:
    metrics: Metrics = request.app.state.service.metrics
    return metrics


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    tags=["service"],
    response_class=Response,
    responses={200: {"description": "In the text format of Prometheus.", "content": {"text/plain": {}}}, **problems()},
)
async def metrics(found: Annotated[Metrics, Depends(_metrics_of)]) -> Response:
    """Tell how much was asked, how long it took, what waits and what went wrong."""
    return Response(found.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

"""One live stream without its socket: settings and sound in, messages out, in the order in which they go to the client.

Numbers are those of `emogram analyze` on the same sound, however it was cut.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from pydantic import Field

from emogram.classifier import Classifier
from emogram.config import ServeConfig, Settings, TimelineConfig
from emogram.live import Engine, Event
from emogram.records import Segment
from emogram.serve.models import Models, model_dict
from emogram.serve.problems import Problem
from emogram.speech import CHUNK_S
from emogram.timeline import Collector, rate_warnings
from emogram.windowing import Grid
from emogram.writers import event_dict, timeline_dict

SAMPLE_RATE = 16000
SAMPLE_BYTES = 2
FULL_SCALE = 32768.0
MAX_FRAME_BYTES = 2**20
SPEECH_EVERY_S = 0.1  # how often a client is told whether somebody is heard

_TYPES = {"window": "measurement.result", "segment": "segment.result"}


class StreamOptions(Settings):
    """What a client may choose before its first sound."""

    sample_rate: int = Field(SAMPLE_RATE, ge=8000, le=48000, description="Rate of the sound in Hz.")
    model: str | None = Field(None, description="Id of a model of GET /v1/models; by default the first.")
    find_speech: bool = Field(True, description="Look where somebody speaks; otherwise all that is not silent counts.")
    smooth: bool = Field(True, description="Average windows over one another, and pay for each change of label.")


class Session:
    """Listens to one stream. Its methods block; one thread at a time may be in it.

    Attributes:
        has_begun: Whether sound has come; from then on nothing is chosen any more.
    """

    has_begun: bool

    def __init__(self, models: Models, config: ServeConfig, session_id: str) -> None:
        """Begin with the settings that hold where a client chooses none."""
        self.has_begun = False
        self._models = models
        self._config = config
        self._id = session_id
        self._told_speech = 0.0
        self._heard: Engine | None = None
        self._choose(StreamOptions())

    @property
    def duration_s(self) -> float:
        """Seconds heard so far."""
        return 0.0 if self._heard is None else self._heard.duration_s

    @property
    def sample_rate(self) -> int:
        """Rate of the sound in Hz."""
        return self._options.sample_rate

    def created(self) -> dict[str, Any]:
        """Return the first message."""
        return {"type": "session.created", **self._state()}

    def update(self, values: dict[str, Any]) -> dict[str, Any]:
        """Choose settings, those of `StreamOptions`, and return the answer.

        Raises:
            Problem: It is too late ("late_update"), or there is no such model.
            SettingsError: They are not as expected.
        """
        if self.has_begun:
            raise Problem("late_update", "session.update comes too late: sound has been heard; open another session")
        self._choose(StreamOptions.from_dict({**self._options.to_dict(), **values}))
        return {"type": "session.updated", **self._state()}

    def feed(self, sound: bytes) -> list[dict[str, Any]]:
        """Take the next sound, s16le mono of whole samples, and return what is heard.

        Raises:
            ModelError: The model gives no probabilities.
        """
        self.has_begun = True
        samples = np.frombuffer(sound, "<i2").astype(np.float32) / np.float32(FULL_SCALE)
        messages = self._messages(self._engine.feed(samples))
        now = time.monotonic()
        if now - self._told_speech >= SPEECH_EVERY_S:
            self._told_speech = now
            messages.append({"type": "speech", "probability": round(self._engine.speech_probability, 3)})
        return messages

    def finish(self) -> list[dict[str, Any]]:
        """End the stream and return the rest, with "session.closed" as the last."""
        messages = self._messages(self._engine.finish())
        timeline = self._collector.timeline(
            duration_s=self._engine.duration_s,
            sample_rate=self.sample_rate,
            channels=1,
            warnings=rate_warnings(self.sample_rate, self._classifier),
        )
        info, sha256 = self._classifier.info, self._classifier.sha256
        result = timeline_dict(timeline, path="", info=info, sha256=sha256)
        closed = {"duration_ms": result["audio"]["duration_ms"], **{name: result[name] for name in _TOLD}}
        return [*messages, {"type": "session.closed", **closed}]

    def _choose(self, options: StreamOptions) -> None:
        classifier: Classifier = self._models.named(options.model)
        timeline = TimelineConfig(find_speech=options.find_speech, smooth=options.smooth)
        self._collector = Collector(classifier.labels, classifier.dimensions)
        self._timeline = timeline
        self._classifier = classifier
        self._options = options
        self._grid = Grid.of(timeline)

    @property
    def _engine(self) -> Engine:
        """Made when it is first needed: a client may choose settings as often as it likes, and nothing comes of it."""
        if self._heard is None:
            self._heard = Engine(self._classifier, sample_rate=self.sample_rate, config=self._timeline, utterances=True)
        return self._heard

    def _state(self) -> dict[str, Any]:
        return {
            "session_id": self._id,
            "model": model_dict(self._classifier),
            "audio": {"encoding": "pcm_s16le", "sample_rate": self.sample_rate, "channels": 1},
            "find_speech": self._options.find_speech,
            "smooth": self._options.smooth,
            "window_ms": round(1000 * self._grid.window * CHUNK_S),
            "interval_ms": round(1000 * self._grid.hop * CHUNK_S),
            "limits": {
                "max_frame_bytes": MAX_FRAME_BYTES,
                "max_stream_s": self._config.max_stream_s,
                "idle_s": self._config.idle_s,
            },
        }

    def _messages(self, events: Iterable[Event]) -> list[dict[str, Any]]:
        messages = []
        for event in events:
            if isinstance(event, Segment):  # of windows, those who want them keep them
                self._collector.add([event])
            message = event_dict(event)
            message["type"] = _TYPES.get(message["type"], message["type"])
            messages.append(message)
        return messages


_TOLD = ("summary", "warnings")

"""A recording of any length -> where in it which emotion is, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emogram.bundle import SHIPPED
from emogram.classifier import Classifier
from emogram.config import TimelineConfig
from emogram.errors import AudioError, SettingsError
from emogram.live import Engine, Event, WindowScore
from emogram.progress import SILENT, Progress
from emogram.recordings import Recording, open_recording
from emogram.records import Segment, Timeline, Turn, Windows
from emogram.turns import read_turns

UNSURE = "unsure"
NO_SPEECH = "no speech found"
STOPPED = "stopped"


def analyze(
    path: str | Path,
    *,
    model: Classifier | str | Path = SHIPPED,
    channels: str = "mix",
    turns: Sequence[Turn] | str | Path | None = None,
    raw: bool = False,
    config: TimelineConfig | None = None,
    progress: Progress = SILENT,
    should_stop: Callable[[], bool] = lambda: False,
) -> Timeline:
    """Find where in a recording which emotion is.

    The file is read block by block and goes through the same engine as live sound, `live.Engine`.

    Args:
        path: A sound file of any length.
        model: A loaded model, or what `emogram.load` takes.
        channels: "mix" averages the channels; "split" analyses each by itself, as a call with one party a channel.
        turns: Who speaks when, or an RTTM or TextGrid file that tells: nothing else is analysed, and nothing crosses
            from one turn into another.
        raw: Do not smooth; the same as `smooth = false` in the settings.
        config: The settings.
        progress: Is told of each second done.
        should_stop: Is asked after each block; once it says yes, what was done so far is returned as partial.

    Returns:
        The timeline. It is `partial`, with a warning that says why, where the file is damaged, cut off or growing, and
        where `should_stop` said so.

    Raises:
        InputError: The file is missing or unreadable from the beginning, or so is that of the turns.
        MissingExtraError: The format needs the extra `media`.
        ModelError: The model is refused, or takes no sound.
        SettingsError: `channels` is neither.
    """
    if channels not in ("mix", "split"):
        raise SettingsError(f"channels is '{channels}'; expected 'mix' or 'split'")
    config = config or TimelineConfig()
    if raw:
        config = config.model_copy(update={"smooth": False})
    classifier = model if isinstance(model, Classifier) else Classifier.load(model)
    told = read_turns(turns) if isinstance(turns, str | Path) else turns
    with open_recording(path) as recording:
        engine = Engine(
            classifier,
            sample_rate=recording.sample_rate,
            channels=recording.channels,
            split=channels == "split",
            turns=told,
            config=config,
            batch_size=config.batch_size,
        )
        collector = Collector(classifier.labels, classifier.dimensions)
        stopped = None
        total_s = 0 if recording.duration_s is None else round(recording.duration_s)
        with progress.task(f"analysing {recording.path.name}", total_s, unit="s") as task:
            n_told = 0
            try:
                for block in recording.blocks():
                    collector.add(engine.feed(block))
                    task.advance(int(engine.duration_s) - n_told)
                    n_told = int(engine.duration_s)
                    if should_stop():
                        stopped = f"{STOPPED} after {engine.duration_s:.1f} s" + _of(recording)
                        break
            except AudioError as error:  # found in the samples
                stopped = str(error)
            collector.add(engine.finish())
    return collector.timeline(
        duration_s=engine.duration_s,
        sample_rate=recording.sample_rate,
        channels=recording.channels,
        warnings=[*filter(None, [stopped, recording.problem]), *rate_warnings(recording.sample_rate, classifier)],
        partial=stopped is not None or recording.incomplete,
    )


def rate_warnings(sample_rate: int, classifier: Classifier) -> list[str]:
    """Return what to say of a recording whose rate holds less than the model listens to."""
    config = classifier.info.spectrogram
    if config is None or sample_rate >= 2 * config.f_max_hz:
        return []
    return [
        f"sampled at {sample_rate} Hz, which holds nothing above {sample_rate / 2:g} Hz, and the model listens up "
        f"to {config.f_max_hz:g} Hz; expect more errors"
    ]


class Collector:
    """Gathers the events of one stream into a timeline; a window takes some tens of bytes."""

    def __init__(self, labels: Sequence[str], dimensions: Sequence[str] = ()) -> None:
        self._labels = tuple(labels)
        self._dimensions = tuple(dimensions)
        self._segments: list[Segment] = []
        self._windows: list[WindowScore] = []
        self._packed: list[Windows] = []

    def add(self, events: Iterable[Event]) -> None:
        """Take events in the order in which the engine gave them."""
        for event in events:
            if isinstance(event, Segment):
                self._segments.append(event)
            elif isinstance(event, WindowScore):
                self._windows.append(event)
        if len(self._windows) >= 1000:
            self._pack()

    def timeline(
        self, *, duration_s: float, sample_rate: int, channels: int, warnings: Sequence[str] = (), partial: bool = False
    ) -> Timeline:
        """Return all that was gathered, in order of time."""
        self._pack()
        windows = _joined(self._packed, self._labels)
        segments = tuple(sorted(self._segments, key=lambda each: (each.start_s, _number(each.channel))))
        nothing = [] if segments else [NO_SPEECH]
        return Timeline(
            segments=segments,
            windows=windows,
            duration_s=duration_s,
            sample_rate=sample_rate,
            channels=channels,
            summary=summary_of(segments, self._labels),
            warnings=(*warnings, *nothing),
            partial=partial,
        )

    def _pack(self) -> None:
        said = self._windows
        self._windows = []
        self._packed.append(
            Windows(
                self._labels,
                np.array([each.start_s for each in said], np.float64),
                np.array([each.end_s for each in said], np.float64),
                np.array([_number(each.channel) for each in said], np.int64),
                np.array([list(each.prediction.scores.values()) for each in said], np.float32).reshape(
                    len(said), len(self._labels)
                ),
                {
                    name: np.array([(each.prediction.dimensions or {})[name] for each in said], np.float32)
                    for name in self._dimensions
                },
            )
        )


def summary_of(segments: Sequence[Segment], labels: Sequence[str]) -> dict[str, Any]:
    """Return what a recording comes to, as `Timeline.summary`.

    Args:
        segments: Of one recording.
        labels: The model's labels in order.
    """
    summary = _summary(segments, labels)
    speakers = sorted({each.speaker for each in segments if each.speaker is not None})
    if speakers:
        summary["speakers"] = {
            name: _summary([each for each in segments if each.speaker == name], labels) for name in speakers
        }
    channels = sorted({each.channel for each in segments if each.channel is not None})
    if channels:
        summary["channels"] = {
            str(number): _summary([each for each in segments if each.channel == number], labels) for number in channels
        }
    return summary


def _summary(segments: Sequence[Segment], labels: Sequence[str]) -> dict[str, Any]:
    speech_s = np.array([(each.end_s - each.start_s) * each.speech_ratio for each in segments])
    total_s = float(speech_s.sum())
    nothing: dict[str, Any] = {"label": None, "confidence": None, "speech_s": total_s, "scores": {}, "shares": {}}
    if total_s <= 0.0:
        return nothing
    dimensions = _mean_dimensions(segments, speech_s / total_s)
    if not labels:
        return {**nothing, **dimensions}
    scores = np.array([[each.prediction.scores[label] for label in labels] for each in segments])
    mean = speech_s @ scores / total_s
    shares: dict[str, float] = {}
    for segment, seconds in zip(segments, speech_s.tolist(), strict=True):
        name = UNSURE if segment.prediction.abstained else segment.prediction.label
        shares[name] = shares.get(name, 0.0) + seconds / total_s
    best = int(mean.argmax())
    return {
        "label": labels[best],
        "confidence": float(mean[best]),
        "speech_s": total_s,
        "scores": dict(zip(labels, map(float, mean), strict=True)),
        "shares": {name: shares[name] for name in (*labels, UNSURE) if name in shares},
        **dimensions,
    }


def _mean_dimensions(segments: Sequence[Segment], shares: npt.NDArray[np.float64]) -> dict[str, dict[str, float]]:
    """Return "dimensions" of a summary; nothing where the model tells none."""
    told = [each.prediction.dimensions or {} for each in segments]
    means = {name: float(shares @ np.array([each[name] for each in told])) for name in told[0]}
    return {"dimensions": means} if means else {}


def _joined(parts: Sequence[Windows], labels: tuple[str, ...]) -> Windows:
    channel = np.concatenate([part.channel for part in parts])
    start_s = np.concatenate([part.start_s for part in parts])
    order = np.lexsort((start_s, channel))
    return Windows(
        labels,
        start_s[order],
        np.concatenate([part.end_s for part in parts])[order],
        channel[order],
        np.concatenate([part.scores for part in parts])[order],
        {name: np.concatenate([part.dimensions[name] for part in parts])[order] for name in parts[0].dimensions},
    )


def _number(channel: int | None) -> int:
    return -1 if channel is None else channel


def _of(recording: Recording) -> str:
    return "" if recording.duration_s is None else f" of {recording.duration_s:.1f} s"

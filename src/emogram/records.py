"""The frozen records that pass between the parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Clip:
    """One labelled piece of speech (or one spectrogram picture of it).

    Attributes:
        path: The audio or picture file.
        label: Emotion, canonical where it could be matched; None where unknown.
        speaker: Speaker id, unique within the corpus; None where unknown.
        corpus: Name of the corpus.
        start_s: Start within the file in seconds, >= 0.
        end_s: End within the file in seconds; None means the end of the file.
        extra: What else the corpus tells: "gender", "intensity", "statement", "repetition", ...
    """

    path: Path
    label: str | None = None
    speaker: str | None = None
    corpus: str = ""
    start_s: float = 0.0
    end_s: float | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Prediction:
    """What a model says about one clip.

    Attributes:
        label: The most probable label.
        scores: Probability of each label, in the order of the bundle; they sum to 1.
        confidence: Probability of `label` after calibration.
        abstained: True where the confidence lies below the bundle's threshold ("unsure").
        speech_share: Share of the clip in which somebody speaks; None where nobody looked.
        warnings: Why the answer may mean little, such as "no speech found"; empty where nobody looked.
    """

    label: str
    scores: Mapping[str, float]
    confidence: float
    abstained: bool = False
    speech_share: float | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Turn:
    """When somebody speaks, as somebody else found out.

    Attributes:
        start_s: Start within the recording in seconds, >= 0.
        end_s: End within the recording in seconds, > `start_s`.
        speaker: Who.
    """

    start_s: float
    end_s: float
    speaker: str


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording with one answer.

    Attributes:
        start_s: Start within the recording in seconds, >= 0.
        end_s: End within the recording in seconds, > `start_s`.
        channel: Which channel, from 0; None where channels are averaged.
        prediction: What was said of it, over the whole stretch.
        speech_ratio: Share of the stretch in which somebody speaks, 0 to 1.
        speaker: Who speaks, where somebody told; None elsewhere.
    """

    start_s: float
    end_s: float
    channel: int | None
    prediction: Prediction
    speech_ratio: float
    speaker: str | None = None


@dataclass(frozen=True)
class Windows:
    """The scored windows of a recording, in order of channel and time, before anything is smoothed.

    Attributes:
        labels: The model's labels in order.
        start_s: Start of each window in seconds, shape (n,), float64.
        end_s: End of each window in seconds, shape (n,), float64.
        channel: Channel of each window, from 0, shape (n,), int; -1 where channels are averaged.
        scores: Probabilities, shape (n, n_labels), float32; rows sum to 1.
    """

    labels: tuple[str, ...]
    start_s: npt.NDArray[np.float64]
    end_s: npt.NDArray[np.float64]
    channel: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Timeline:
    """Where in a recording which emotion is.

    Attributes:
        segments: In order of start, then channel; those of one channel and speaker do not overlap.
        windows: What the segments were made of.
        duration_s: Length of what was analysed in seconds.
        sample_rate: The recording's own rate in Hz.
        channels: The recording's own number of channels.
        summary: "label" and "confidence" (of the mean scores over all spoken time), "speech_s", "scores" (label -> that
            mean), "shares" (label -> share of the spoken time that has it, "unsure" among them), and, where speakers or
            channels are told apart, "speakers" and "channels": name -> the same five.
        warnings: What the reader should know.
        partial: True where the analysis ended before the recording did.
    """

    segments: tuple[Segment, ...]
    windows: Windows
    duration_s: float
    sample_rate: int
    channels: int
    summary: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    partial: bool = False


@dataclass(frozen=True)
class Span:
    """A stretch of a recording, and what emotion somebody knows or says it has.

    Attributes:
        start_s: Start within the recording in seconds, >= 0.
        end_s: End within the recording in seconds, > `start_s`.
        label: The emotion.
        speaker: Who speaks; None where unknown.
        channel: Which channel, from 0; None where channels are averaged.
        unsure: True where who says it would rather not; see `Prediction.abstained`.
    """

    start_s: float
    end_s: float
    label: str
    speaker: str | None = None
    channel: int | None = None
    unsure: bool = False


@dataclass(frozen=True)
class CorpusPair:
    """How well what was learnt on one corpus serves on another, on the labels that both have.

    Attributes:
        trained: Name of the corpus that trained; or whose labels count, where all but the tested one trained.
        tested: Name of the corpus that judged.
        labels: Those that both have; the scores of others were left out and the rest made to sum to 1.
        uar: Unweighted average recall over `labels`, the mean over seeds; a fraction.
        interval: 95 % interval of it, resampling speakers.
        per_seed: The UAR of each seed.
        n_clips: Clips that judged.
        n_speakers: Known speakers among them.
        caveat: What must be said with it; "" where nothing.
    """

    trained: str
    tested: str
    labels: tuple[str, ...]
    uar: float
    interval: tuple[float, float]
    per_seed: tuple[float, ...]
    n_clips: int
    n_speakers: int
    caveat: str = ""

    @property
    def chance(self) -> float:
        """The UAR of guessing."""
        return 1.0 / len(self.labels)

    @property
    def within(self) -> bool:
        """True where one corpus did both, with other speakers."""
        return self.trained == self.tested


@dataclass(frozen=True)
class Report:
    """How good a set of predictions is.

    Attributes:
        labels: Labels in order, shared by all arrays below.
        metrics: "uar", "accuracy", "macro_f1", "ece", "nll", "brier", "aurc" (area under the risk-coverage curve), and
            "n_clips"; fractions, not percent.
        per_class: label -> {"precision", "recall", "f1", "support"}.
        per_group: group kind ("speaker", "gender", ...) -> group -> {"uar", "accuracy", "n_clips"}.
        confusion: Counts, row = true label, column = predicted label.
        intervals: metric -> (low, high), 95 %, resampling speakers.
        protocol: The protocol's name and what must be said with it.
        allowed_leaks: Leaks that were found and allowed, in words; see `leaks`.
    """

    labels: tuple[str, ...]
    metrics: Mapping[str, float]
    per_class: Mapping[str, Mapping[str, float]]
    per_group: Mapping[str, Mapping[str, Mapping[str, float]]]
    confusion: tuple[tuple[int, ...], ...]
    intervals: Mapping[str, tuple[float, float]]
    protocol: str
    allowed_leaks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts and lists, ready for JSON."""
        return {
            "protocol": self.protocol,
            "allowed_leaks": list(self.allowed_leaks),
            "labels": list(self.labels),
            "metrics": dict(self.metrics),
            "intervals": {name: list(interval) for name, interval in self.intervals.items()},
            "per_class": {label: dict(values) for label, values in self.per_class.items()},
            "per_group": {
                kind: {group: dict(values) for group, values in groups.items()}
                for kind, groups in self.per_group.items()
            },
            "confusion": [list(row) for row in self.confusion],
        }


@dataclass(frozen=True)
class Difference:
    """By how much one model is better than another on the same clips.

    Attributes:
        metric: "uar" or "accuracy".
        first: Name of one model.
        second: Name of the other.
        value: Figure of `first` less that of `second`, means over their seeds.
        low: Lower end of its 95 % interval, resampling speakers.
        high: Upper end.
        probability: Share of the resamples in which `first` is better, ties counted half.
    """

    metric: str
    first: str
    second: str
    value: float
    low: float
    high: float
    probability: float

    @property
    def told_apart(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0.0 or self.high < 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return a plain dict, ready for JSON and CSV."""
        return {**asdict(self), "told_apart": self.told_apart}


@dataclass(frozen=True)
class SeedSummary:
    """What several seeds gave on the same clips.

    Attributes:
        n_seeds: Number of seeds.
        mean: Metric -> mean over the seeds.
        std: Metric -> standard deviation over the seeds (n - 1); 0 for one seed.
        intervals: Metric -> (low, high), 95 %, of the mean over the seeds, resampling speakers.
    """

    n_seeds: int
    mean: Mapping[str, float]
    std: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts and lists, ready for JSON."""
        return {
            "n_seeds": self.n_seeds,
            "mean": dict(self.mean),
            "std": dict(self.std),
            "intervals": {name: list(interval) for name, interval in self.intervals.items()},
        }


@dataclass(frozen=True)
class ConditionScore:
    """How good predictions are under one condition, such as noise, beside the clean one.

    Attributes:
        condition: Its name, such as "babble-10".
        uar: Mean over seeds, a fraction.
        interval: Of `uar`, 95 %, resampling speakers.
        loss: UAR on clean sound less `uar`.
        loss_interval: Of `loss`, 95 %, on the same speakers drawn for both.
        accuracy: Mean over seeds.
        per_seed: UAR of each seed.
    """

    condition: str
    uar: float
    interval: tuple[float, float]
    loss: float
    loss_interval: tuple[float, float]
    accuracy: float
    per_seed: tuple[float, ...]

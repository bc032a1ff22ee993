"""The frozen records that pass between the parts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

DIMENSION_NAMES = ("arousal", "valence", "dominance")
"""What of `Clip.extra` is a number, where nobody says otherwise."""


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

    @property
    def is_whole(self) -> bool:
        """Whether it is a whole file, and no stretch of one."""
        return self.start_s == 0.0 and self.end_s is None

    @property
    def voice(self) -> str | None:
        """The speaker after the corpus ("tess/OAF"), which is another one in each corpus; None where unknown."""
        return None if self.speaker is None else f"{self.corpus}/{self.speaker}"


def speakers_of(clips: Sequence[Clip]) -> list[str | None]:
    """Return the speaker of each clip, after its corpus where there are several; None where unknown."""
    several = len({clip.corpus for clip in clips}) > 1
    return [clip.voice if several else clip.speaker for clip in clips]


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
        dimensions: Dimension ("arousal", ...) -> its value, on the scale of the corpus that the model learnt it from;
            None where the model tells none. Of a model that tells nothing else, `label` is "", `scores` are empty, and
            `confidence` is NaN.
    """

    label: str
    scores: Mapping[str, float]
    confidence: float
    abstained: bool = False
    speech_share: float | None = None
    warnings: tuple[str, ...] = ()
    dimensions: Mapping[str, float] | None = None


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
        dimensions: Dimension -> its value in each window, shape (n,), float32; empty where the model tells none.
    """

    labels: tuple[str, ...]
    start_s: npt.NDArray[np.float64]
    end_s: npt.NDArray[np.float64]
    channel: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    dimensions: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)


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
            mean), "shares" (label -> share of the spoken time that has it, "unsure" among them), where the model tells
            dimensions "dimensions" (dimension -> mean over all spoken time), and, where speakers or channels are told
            apart, "speakers" and "channels": name -> the same.
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
class Explanation:
    """Which times and frequencies spoke for the answers of a model.

    Attributes:
        prediction: The answer on the whole stretch.
        labels: What is explained, the most probable first.
        maps: Shape (n_labels, n_frames, n_mels), float32: above 0 where it spoke for the label, below where against.
            Of "occlusion", the fall of the log odds where it is hidden; of "grad-cam", the scale means nothing.
        times_s: Middle of each frame in seconds from the start of the recording, shape (n_frames,). Silence at both
            ends that the model does not hear is left out.
        frequencies_hz: Centre of each mel band, shape (n_mels,).
        spectrogram: What the model heard, shape (n_frames, n_mels), float32, 0 to 1.
        waveform: The whole stretch, shape (n_samples,), float32.
        sample_rate: Its rate in Hz.
        start_s: Where in the recording the stretch starts, in seconds.
        method: "grad-cam" or "occlusion".
    """

    prediction: Prediction
    labels: tuple[str, ...]
    maps: npt.NDArray[np.float32]
    times_s: npt.NDArray[np.float64]
    frequencies_hz: npt.NDArray[np.float64]
    spectrogram: npt.NDArray[np.float32]
    waveform: npt.NDArray[np.float32]
    sample_rate: int
    start_s: float
    method: str

    def mark_level(self, place: int) -> float:
        """Return from where on a map counts as marked: 60 % of its greatest value."""
        return 0.6 * float(self.maps[place].max())


# Of ranks: a map that agrees better with that of a model of shuffled weights does not show what was learnt.
MAX_CORRELATION = 0.5


@dataclass(frozen=True)
class ExplanationCheck:
    """Whether the map of a label can be believed.

    Attributes:
        label: Whose map it is.
        correlations: Rank correlation of the map with that of each model of shuffled weights; empty where none could
            be made.
        deletion: The label's probability as ever more is hidden, most marked first, from nothing to all.
        random_deletions: The same for each of several random orders.
        loudest_deletion: The same, loudest first.
    """

    label: str
    correlations: tuple[float, ...]
    deletion: tuple[float, ...]
    random_deletions: tuple[tuple[float, ...], ...]
    loudest_deletion: tuple[float, ...]

    @property
    def passed(self) -> bool:
        """Whether no shuffled model gives a map half as alike, and the marked parts matter more than random ones."""
        alike = max(self.correlations, default=0.0)
        return alike < MAX_CORRELATION and self.area < float(np.mean(self.random_areas))

    @property
    def area(self) -> float:
        """The mean of the probability over the deletion; the lower, the more the marked parts matter."""
        return float(np.trapezoid(self.deletion) / (len(self.deletion) - 1))

    @property
    def random_areas(self) -> tuple[float, ...]:
        """The same for each random order."""
        return tuple(float(np.trapezoid(each) / (len(each) - 1)) for each in self.random_deletions)

    @property
    def loudest_area(self) -> float:
        """The same, loudest first."""
        return float(np.trapezoid(self.loudest_deletion) / (len(self.loudest_deletion) - 1))

    def to_dict(self) -> dict[str, Any]:
        """Return a plain dict, ready for JSON."""
        areas = self.random_areas
        return {
            "label": self.label,
            "shuffled_weights_correlations": list(self.correlations),
            "deletion_area": self.area,
            "random_deletion_area": float(np.mean(areas)),
            "random_deletion_areas": list(areas),
            "loudest_deletion_area": self.loudest_area,
            "passed": self.passed,
        }


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
            "n_clips"; fractions, not percent. Of dimensions "ccc", the mean over them, and of each "arousal_ccc",
            "arousal_pearson", "arousal_rmse" (on its scale) and "arousal_n_clips".
        per_class: label -> {"precision", "recall", "f1", "support"}.
        per_group: group kind ("speaker", "gender", ...) -> group -> {"uar", "accuracy", "n_clips"}, and "ccc" where
            there are dimensions.
        confusion: Counts, row = true label, column = predicted label.
        intervals: metric -> (low, high), 95 %, resampling speakers.
        protocol: The protocol's name and what must be said with it.
        allowed_leaks: Leaks that were found and allowed, in words; see `leaks`.
        dimensions: Names of the dimensions that were judged, in order. Where nothing else was, there are no labels, and
            what is told of classes is empty.
    """

    labels: tuple[str, ...]
    metrics: Mapping[str, float]
    per_class: Mapping[str, Mapping[str, float]]
    per_group: Mapping[str, Mapping[str, Mapping[str, float]]]
    confusion: tuple[tuple[int, ...], ...]
    intervals: Mapping[str, tuple[float, float]]
    protocol: str
    allowed_leaks: tuple[str, ...] = ()
    dimensions: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts and lists, ready for JSON; "dimensions" is there only where some were judged."""
        return {
            "protocol": self.protocol,
            "allowed_leaks": list(self.allowed_leaks),
            "labels": list(self.labels),
            **({"dimensions": list(self.dimensions)} if self.dimensions else {}),
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


@dataclass(frozen=True)
class FoldFigures:
    """How good the settings of a trial are on the validation speakers of one fold, at the epoch that is kept.

    Attributes:
        fold: Its number.
        epoch: The epoch, from 1.
        loss: Negative log-likelihood, nats.
        uar: A fraction.
        accuracy: A fraction.
        losses: The loss after each epoch that was trained.
    """

    fold: int
    epoch: int
    loss: float
    uar: float
    accuracy: float
    losses: tuple[float, ...]


@dataclass(frozen=True)
class Trial:
    """One set of settings that was tried.

    Attributes:
        number: From 1, in the order in which they were begun.
        state: "complete"; "pruned": stopped early; "diverged": its loss became infinite; "refused": its settings
            contradict one another; "failed"; "running": interrupted, and to be gone on with.
        value: What the study makes best, the mean over the folds; None unless complete.
        settings: What was searched: "train.learning_rate" -> value.
        folds: The figures of each fold, as far as it came.
        seconds: How long it took.
        error: Why it was refused or failed.
    """

    number: int
    state: str
    value: float | None
    settings: Mapping[str, Any]
    folds: tuple[FoldFigures, ...] = ()
    seconds: float = 0.0
    error: str = ""

    @property
    def n_epochs(self) -> int:
        """Epochs that it was trained for, all folds together."""
        return sum(len(fold.losses) for fold in self.folds)

    def mean(self, metric: str) -> float:
        """Return the mean over the folds of "uar", "accuracy" or "loss"; NaN where there is none."""
        values = [float(getattr(fold, metric)) for fold in self.folds]
        return sum(values) / len(values) if values else math.nan

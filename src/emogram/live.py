"""A stream of samples -> what is heard in it, as it comes. Microphone, socket and file share this one engine.

Results do not depend on how the stream is cut: resampling, voice activity and smoothing carry their state from chunk to
chunk, and look ahead by a bounded time only. `timeline.analyze` feeds the same engine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emogram.audio import MAX_PEAK, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, Waveform
from emogram.classifier import Classifier
from emogram.config import SpectrogramConfig, TimelineConfig
from emogram.errors import AudioError, ModelError
from emogram.records import Prediction, Segment, Turn
from emogram.silero import CHUNK, RATE
from emogram.smoothing import Smoother, Stretch
from emogram.spectrogram import FloatArray
from emogram.speech import CHUNK_S, SoundListener, SpeechListener
from emogram.stream_frames import StreamFrames
from emogram.utterances import SpokenPart, SpokenParts
from emogram.windowing import Grid, Step, Windowing

MAX_WAITING = 1000  # steps without a window are small, and a stream of coughs has no others
PIECE_S = 4.0  # what is listened to at once, so that a long chunk needs no more memory than a short one


@dataclass(frozen=True)
class WindowScore:
    """What the model said of one window, before anything is smoothed.

    Attributes:
        start_s: Start in the stream in seconds.
        end_s: End in the stream in seconds.
        channel: Which channel, from 0; None where channels are averaged.
        speaker: Whose turn it is; None where nobody told.
        prediction: What was said.
        known_s: When all was heard that it takes to know the window: its own end, or, where speech ended before it was
            full, the end of the pause that showed it.
    """

    start_s: float
    end_s: float
    channel: int | None
    speaker: str | None
    prediction: Prediction
    known_s: float


@dataclass(frozen=True)
class UtteranceStart:
    """Somebody began to speak.

    Attributes:
        start_s: Start in the stream in seconds, a little before the first sound.
        channel: Which channel, from 0; None where channels are averaged.
        speaker: Whose turn it is; None where nobody told.
    """

    start_s: float
    channel: int | None
    speaker: str | None


@dataclass(frozen=True)
class Utterance:
    """What somebody said without a long pause.

    An utterance is a spoken part: it begins `pad_s` before the first chunk of 32 ms in which somebody speaks, ends
    `pad_s` after the last one, and holds no pause as long as `max_pause_s`, which is how long its end takes to be known
    (all in `TimelineConfig`, and as `windowing.Grid` rounds them). What is said of it depends on its own sound alone:
    its segments are those that the timeline would have with `bridge_s` 0, and its scores are the mean log-probabilities
    over all of their time, made to sum to 1. The timeline's own segments, which may also weigh what was said shortly
    before and after, are told later.

    Attributes:
        start_s: Start in the stream in seconds.
        end_s: End in the stream in seconds.
        channel: Which channel, from 0; None where channels are averaged.
        speaker: Whose turn it is; None where nobody told.
        prediction: What was said of all of it; None where it holds too little speech to be judged, as a cough.
        speech_ratio: Share of it in which somebody speaks, 0 to 1.
        segments: Its stretches with one answer each, in order.
    """

    start_s: float
    end_s: float
    channel: int | None
    speaker: str | None
    prediction: Prediction | None
    speech_ratio: float
    segments: tuple[Segment, ...]


Event = WindowScore | Segment | UtteranceStart | Utterance

_Said = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]  # probabilities and dimensions of a window


@dataclass
class _Track:
    """One speaker in one channel, or whoever speaks there."""

    channel: int | None
    windowing: Windowing
    smoother: Smoother
    parts: SpokenParts | None


@dataclass(frozen=True)
class _Job:
    """A step that waits for its scores; `inputs` are None where it has no window."""

    track: _Track
    step: Step
    inputs: dict[str, FloatArray] | None


class Engine:
    """Listens to one stream. Many may share one classifier, each in a thread of its own.

    It keeps the sound of one window and of the piece in hand, and the windows that wait for the others of their batch.

    Attributes:
        duration_s: Seconds heard so far.
        speech_probability: How likely it is that somebody speaks right now, in any channel.
    """

    duration_s: float
    speech_probability: float

    def __init__(
        self,
        classifier: Classifier,
        *,
        sample_rate: int,
        channels: int = 1,
        split: bool = False,
        turns: Sequence[Turn] | None = None,
        config: TimelineConfig | None = None,
        batch_size: int = 1,
        utterances: bool = False,
    ) -> None:
        """Begin to listen.

        Args:
            classifier: A model of sound.
            sample_rate: Rate of the stream in Hz.
            channels: Channels of the stream.
            split: Listen to each channel by itself, instead of to their mean.
            turns: Who speaks when: only then is listened, and nothing crosses from one turn into another.
            config: The settings.
            batch_size: Windows to judge at once; 1 judges each as soon as its end is heard.
            utterances: Also tell when somebody begins to speak and when an utterance has ended. The other events are
                the same.

        Raises:
            AudioError: The rate is out of range.
            ModelError: The model takes no sound.
        """
        if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
            raise AudioError(
                f"sample rate {sample_rate} Hz; expected {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz, resample it first",
                code="bad_rate",
            )
        if classifier.info.spectrogram is None:
            raise ModelError("this model was trained on pictures made elsewhere and cannot listen; take one of sound")
        self.duration_s = 0.0
        self.speech_probability = 0.0
        self._classifier = classifier
        self._config = config or TimelineConfig()
        self._sample_rate = sample_rate
        self._channels = channels
        self._split = split
        self._n_heard = 0
        self._batch_size = batch_size
        self._utterances = utterances
        self._jobs: list[_Job] = []
        self._events: list[Event] = []  # heard, and not delivered yet
        numbers = list(range(channels)) if split else [None]
        self._ears = [self._ear(number, turns, classifier.info.spectrogram) for number in numbers]

    def feed(self, samples: npt.ArrayLike) -> list[Event]:
        """Take the stream's next samples and return what is heard.

        Args:
            samples: Shape (n,) or (n, channels), floats with full scale at +-1, any n.

        Raises:
            AudioError: They are of another shape, or not finite; what came before in them is heard, and told by what is
                called next.
            ModelError: The model gives no probabilities.
        """
        array = np.asarray(samples, np.float32)
        array = array[:, np.newaxis] if array.ndim == 1 else array
        if array.ndim != 2 or array.shape[1] != self._channels:
            raise AudioError(f"samples of shape {array.shape}; expected (n, {self._channels})")
        n_piece = max(1, round(PIECE_S * self._sample_rate))
        for first in range(0, len(array), n_piece):
            piece = array[first : first + n_piece]
            sound = np.abs(piece) <= MAX_PEAK
            if not sound.all():
                self._take(piece[: int(sound.all(axis=1).argmin())])
                raise AudioError(
                    "holds samples that are not finite (NaN, infinity, or as good as that) at "
                    f"{self.duration_s:.1f} s; export it again",
                    code="not_finite",
                )
            self._take(piece)
        return self._deliver()

    def finish(self) -> list[Event]:
        """End the stream and return what was still waiting, and what was heard before samples that were refused."""
        self._events += self._hear(np.empty((0, self._channels), np.float32), last=True)
        return self._deliver()

    def _take(self, piece: FloatArray) -> None:
        self._n_heard += len(piece)
        self.duration_s = self._n_heard / self._sample_rate
        self._events += self._hear(piece, last=False)

    def _deliver(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _ear(self, channel: int | None, turns: Sequence[Turn] | None, spectrogram: SpectrogramConfig) -> _Ear:
        grid = Grid.of(self._config)
        parted: list[list[Turn] | None] = [None] if turns is None else list(_by_speaker(turns))
        tracks = [
            _Track(
                channel,
                Windowing(grid, each, tell_openings=self._utterances),
                self._smoother(grid),
                SpokenParts(self._smoother(grid)) if self._utterances else None,
            )
            for each in parted
        ]
        return _Ear(self._sample_rate, spectrogram, grid, self._config, tracks)

    def _smoother(self, grid: Grid) -> Smoother:
        return Smoother(
            grid,
            n_labels=len(self._classifier.labels),
            smooth=self._config.smooth,
            switch_cost=self._config.switch_cost,
            pause_cost=self._config.pause_cost,
            n_dimensions=len(self._classifier.dimensions),
        )

    def _hear(self, piece: FloatArray, *, last: bool) -> Iterator[Event]:
        jobs: list[_Job] = []
        for number, ear in enumerate(self._ears):
            mono = piece[:, number] if self._split or self._channels == 1 else piece.mean(axis=1)
            jobs += ear.hear(mono, last=last)
        # Channels and speakers in order of time, so that it does not matter how the stream was cut.
        self._jobs += sorted(jobs, key=lambda job: job.step.known)
        self.speech_probability = max(ear.speech_probability for ear in self._ears)
        n_waiting = sum(job.inputs is not None for job in self._jobs)
        is_time = self._batch_size == 1 or n_waiting >= self._batch_size or len(self._jobs) >= MAX_WAITING
        if self._jobs and (last or is_time):
            jobs, self._jobs = self._jobs, []
            scores = self._scores(jobs)
            for job in jobs:
                yield from self._said(job, next(scores) if job.inputs is not None else None)

    def _scores(self, jobs: Sequence[_Job]) -> Iterator[_Said]:
        """Return the probabilities and the dimensions of each window, those of one shape judged together."""
        inputs = [job.inputs for job in jobs if job.inputs is not None]
        scores = np.empty((len(inputs), len(self._classifier.labels)))
        values = np.empty((len(inputs), len(self._classifier.dimensions)))
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, each in enumerate(inputs):
            by_shape.setdefault(each["spectrogram"].shape, []).append(index)
        for indices in by_shape.values():
            for first in range(0, len(indices), self._config.batch_size):
                some = indices[first : first + self._config.batch_size]
                batch = {name: np.stack([inputs[index][name] for index in some]) for name in inputs[some[0]]}
                answers = self._classifier.answers_to(batch)
                scores[some], values[some] = answers.probabilities, answers.values
        return zip(scores, values, strict=True)

    def _said(self, job: _Job, answer: _Said | None) -> Iterator[Event]:
        step, track = job.step, job.track
        speaker = None if step.turn is None else step.turn.speaker
        if step.opens:
            yield UtteranceStart(step.seconds(step.part), track.channel, speaker)
            return
        scores, values = answer or (None, ())
        if scores is not None:
            assert step.window is not None
            start_s, end_s = (self._within(step.seconds(chunk)) for chunk in step.window)
            said = self._classifier.prediction_from(scores, values)
            known_s = self._within(step.known * CHUNK_S)
            yield WindowScore(start_s, end_s, track.channel, speaker, said, known_s)
        for stretch in track.smoother.add(step, scores, values):
            yield self._segment(stretch, track.channel, speaker)
        part = None if track.parts is None else track.parts.add(step, scores, values)
        if part is not None:
            yield self._utterance(part, track.channel, speaker)

    def _utterance(self, part: SpokenPart, channel: int | None, speaker: str | None) -> Utterance:
        segments = tuple(self._segment(each, channel, speaker) for each in part.stretches)
        said = None
        if part.scores is not None:
            said = self._classifier.prediction_from(part.scores, part.values)
            said = dataclasses.replace(said, speech_share=part.speech_ratio)
        end_s = self._within(part.end_s)
        return Utterance(part.start_s, end_s, channel, speaker, said, part.speech_ratio, segments)

    def _segment(self, stretch: Stretch, channel: int | None, speaker: str | None) -> Segment:
        said = self._classifier.prediction_from(stretch.scores, stretch.values)
        label = self._classifier.labels[stretch.label] if self._classifier.labels else said.label
        if said.label != label:  # where a label was settled before all that speaks for another was heard
            confidence = said.scores[label]
            unsure = confidence < self._classifier.info.abstain_threshold
            said = dataclasses.replace(said, label=label, confidence=confidence, abstained=unsure)
        said = dataclasses.replace(said, speech_share=stretch.speech_ratio)
        end_s = self._within(stretch.end_s)
        return Segment(stretch.start_s, end_s, channel, said, stretch.speech_ratio, speaker)

    def _within(self, moment: float) -> float:
        """The last chunk may be longer than what was heard."""
        return min(moment, self.duration_s)


class _Ear:
    """One channel: resamples it, finds speech in it, and cuts windows from it."""

    def __init__(
        self,
        sample_rate: int,
        spectrogram: SpectrogramConfig,
        grid: Grid,
        config: TimelineConfig,
        tracks: Sequence[_Track],
    ) -> None:
        self.speech_probability = 0.0
        self._spectrogram = spectrogram
        self._grid = grid
        self._threshold = config.speech_probability
        self._tracks = tracks
        self._to_model = _Resampler(sample_rate, spectrogram.sample_rate)
        # What listens for speech has a rate of its own, which mostly is the model's too.
        self._to_speech = None if spectrogram.sample_rate == RATE else _Resampler(sample_rate, RATE)
        self._listener = SpeechListener() if config.find_speech else SoundListener()
        self._sound = StreamFrames(spectrogram)
        self._unheard = np.empty(0, np.float32)  # at `RATE`, less than a chunk
        self._n_chunks = 0

    def hear(self, piece: Waveform, *, last: bool) -> list[_Job]:
        steps: list[tuple[_Track, Step]] = []
        new = self._to_model(piece, last=last)
        self._sound.add(new)
        self._unheard = np.concatenate(
            [self._unheard, new if self._to_speech is None else self._to_speech(piece, last=last)]
        )
        if last:
            self._unheard = np.pad(self._unheard, (0, -len(self._unheard) % CHUNK))
        n_new = len(self._unheard) // CHUNK
        if not last:  # two rates do not come at once
            n_new = max(0, min(n_new, int(self._sound.end / self._per_chunk()) - self._n_chunks))
        if n_new:
            said = self._listener.probabilities(self._unheard[: n_new * CHUNK].reshape(n_new, CHUNK))
            self.speech_probability = float(said[-1])
            self._unheard = self._unheard[n_new * CHUNK :]
            self._n_chunks += n_new
            spoken = (said >= self._threshold).astype(np.uint8).tobytes()
            steps += [(track, step) for track in self._tracks for step in track.windowing.feed(spoken)]
        if last:
            steps += [(track, step) for track in self._tracks for step in track.windowing.finish()]
        jobs = self._jobs(steps)
        self._sound.forget(int((self._n_chunks - self._grid.window) * self._per_chunk()))
        return jobs

    def _per_chunk(self) -> float:
        return CHUNK_S * self._spectrogram.sample_rate

    def _jobs(self, steps: Sequence[tuple[_Track, Step]]) -> list[_Job]:
        rate = self._spectrogram.sample_rate
        windows = [
            (round(step.seconds(step.window[0]) * rate), round(step.seconds(step.window[1]) * rate))
            for _, step in steps
            if step.window is not None
        ]
        inputs = iter(self._sound.model_inputs(windows))
        return [_Job(track, step, None if step.window is None else next(inputs)) for track, step in steps]


class _Resampler:
    """Brings a stream to another rate, the same however it is cut."""

    def __init__(self, source_rate: int, sample_rate: int) -> None:
        self._stream: Any = None
        if source_rate != sample_rate:
            import soxr

            self._stream = soxr.ResampleStream(source_rate, sample_rate, 1, dtype="float32", quality="HQ")

    def __call__(self, samples: Waveform, *, last: bool) -> Waveform:
        samples = np.ascontiguousarray(samples, np.float32)
        if self._stream is None:
            return samples
        resampled: Waveform = self._stream.resample_chunk(samples, last=last)
        return resampled


def _by_speaker(turns: Sequence[Turn]) -> Iterator[list[Turn]]:
    """Yield the turns of each speaker, in order, those that overlap made one."""
    for speaker in dict.fromkeys(turn.speaker for turn in turns):
        own: list[Turn] = []
        for turn in sorted((each for each in turns if each.speaker == speaker), key=lambda each: each.start_s):
            if own and turn.start_s < own[-1].end_s:
                own[-1] = dataclasses.replace(own[-1], end_s=max(own[-1].end_s, turn.end_s))
            else:
                own.append(turn)
        yield own

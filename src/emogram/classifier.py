"""A model folder and clips -> predictions, on ONNX Runtime: no training framework is loaded."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from emogram import audio, features, spectrogram, speech
from emogram.adapt import adapt_voices
from emogram.bundle import EMBEDDING, FAMILIAR_FILE, ONNX_FILE, SHIPPED, Bundle, ModelInfo, open_bundle
from emogram.calibration import on_scale, soften
from emogram.config import SpectrogramConfig
from emogram.errors import AudioError, EmogramError, ModelError, SettingsError
from emogram.familiar import Embeddings, Familiar
from emogram.parallel import worker_count
from emogram.progress import SILENT, Progress
from emogram.records import Clip, Prediction
from emogram.spectrogram import FloatArray

if TYPE_CHECKING:
    from emogram.runtime import onnxruntime

Probabilities = npt.NDArray[np.float64]

# A network that thins time out sees other frames at each shift. Cut off at the ends: as much silence put there instead
# made answers worse (72 to 69 % UAR on six validation actors of RAVDESS, where five cuts gave 73 %).
SHIFT_SPAN_FRAMES = 8

# What random kernels come to of more clips at once leaves the nearest memory of a processor: sixteen windows of 2 s
# took a fifth longer than by fours. A network without kernels takes as long either way.
FEW_CLIPS = 4

# Single-precision softmax over a few labels sums to 1 within 1e-6; whatever is this far off is no softmax.
MAX_SUM_ERROR = 1e-3


@dataclass(frozen=True)
class Heard:
    """All that is asked of a clip before the network answers; made by `hear`, which needs no loaded model.

    Attributes:
        inputs: What `features.model_inputs` gives.
        speech_share: Share of the clip in which somebody speaks, 0 to 1; None where nobody looked.
    """

    inputs: Mapping[str, npt.NDArray[np.floating[Any]]]
    speech_share: float | None


def hear(waveform: audio.Waveform, config: SpectrogramConfig, *, check: bool) -> Heard:
    """Prepare a waveform for a network; raises as `Classifier.predict`.

    Args:
        waveform: Shape (n_samples,), as `audio.load_audio` returns it at `config.sample_rate`.
        config: The model's.
        check: As for `Classifier.predict`.
    """
    inputs = features.model_inputs(waveform, config)
    return Heard(inputs, speech.speech_share(waveform, config.sample_rate) if check else None)


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model says of a batch of clips.

    Attributes:
        probabilities: Calibrated, shape (n_clips, n_labels); rows sum to 1. No columns where it tells dimensions only.
        values: Its dimensions, each on its scale, shape (n_clips, n_dimensions); no columns where it tells none.
    """

    probabilities: Probabilities
    values: Probabilities


class Classifier:
    """A loaded model. It keeps no state between calls, and many threads may share it.

    Attributes:
        labels: Labels in the order of all scores; none where the model tells dimensions only.
        dimensions: Names of the dimensions that it tells, in order; none where it tells labels only.
        info: What the bundle's `model.json` says.
        sha256: Hash of the bundle.
        bundle: The bundle itself, for what prediction does not need.
        shifts: Number of shifts in time that every answer is averaged over; 1: none.
    """

    labels: tuple[str, ...]
    dimensions: tuple[str, ...]
    info: ModelInfo
    sha256: str
    bundle: Bundle
    shifts: int

    def __init__(self, bundle: Bundle, *, threads: int = 1, shifts: int = 1) -> None:
        """Load the ONNX model of a bundle; see `load`."""
        if threads < 1:
            raise SettingsError(f"threads is {threads}; expected a whole number of at least 1")
        if not 1 <= shifts <= SHIFT_SPAN_FRAMES + 1:
            raise SettingsError(f"shifts is {shifts}; expected a whole number from 1 to {SHIFT_SPAN_FRAMES + 1}")
        if shifts > 1 and bundle.info.input_shape[0] is not None:
            raise SettingsError(
                f"{bundle.folder}: looks at whole pictures, which have no room for shifts; use shifts=1"
            )
        self.info = bundle.info
        self.labels = bundle.info.labels
        self.dimensions = tuple(dimension.name for dimension in bundle.info.dimensions)
        self.sha256 = bundle.sha256
        self.bundle = bundle
        self.shifts = shifts
        self._name = str(bundle.folder)
        self._session = _session(bundle, threads)
        # Bundles from before it was kept do not hold it.
        self._familiar = Familiar.from_bytes(bundle.read(FAMILIAR_FILE)) if FAMILIAR_FILE in bundle.hashes else None

    @classmethod
    def load(cls, path: str | Path = SHIPPED, *, threads: int = 1, shifts: int = 1) -> Classifier:
        """Verify and load a model.

        Args:
            path: What `open_bundle` takes.
            threads: Number of processor threads for one prediction, >= 1.
            shifts: Number of shifts in time that every answer is averaged over, 1 to 9: each costs the network's time
                once more; five made answers better.

        Raises:
            ModelError: The model is missing, damaged, of a newer format, or unusable.
            SettingsError: `threads` or `shifts` is out of range, or the model takes pictures and cannot shift them.
        """
        return cls(open_bundle(path), threads=threads, shifts=shifts)

    def predict(
        self, audio: str | Path | npt.ArrayLike, *, sample_rate: int | None = None, check: bool = False
    ) -> Prediction:
        """Tell the emotion of one utterance.

        Args:
            audio: A sound file; a spectrogram picture (PNG or JPEG) where the model takes pictures; or samples, shape
                (n_samples,) or (n_samples, n_channels), floats with full scale at +-1 or integers.
            sample_rate: Rate of the samples in Hz. A file knows its own, and this is then not used.
            check: Also look whether it is speech and fill in `speech_share` and `warnings`; takes about as
                long as the answer again.

        Raises:
            InputError: The sound or picture is missing, unreadable, empty, silent, too short or too long.
            ModelError: The model takes no such input, or it gives no probabilities.
            SettingsError: Samples were given without their rate.
        """
        if isinstance(audio, str | Path):
            return self.predict_clip(Clip(Path(audio)), check=check)
        if sample_rate is None:
            raise SettingsError("samples were given without sample_rate; say predict(samples, sample_rate=16000)")
        return self._predict_sound(self._waveform_of(audio, sample_rate), name="samples", check=check)

    def predict_clip(self, clip: Clip, *, check: bool = False) -> Prediction:
        """Tell the emotion of the stretch of sound, or the picture, that a clip names; raises as `predict`."""
        if clip.path.suffix.lower() in spectrogram.PICTURE_SUFFIXES:
            return self._predict(self._inputs_of_picture(clip.path))
        config = self._sound_config(str(clip.path))
        return self._predict_sound(
            audio.load_clip(clip, sample_rate=config.sample_rate), name=str(clip.path), check=check
        )

    def predict_many(
        self, clips: Sequence[Clip], *, check: bool = False, progress: Progress = SILENT, workers: int | None = None
    ) -> Iterator[tuple[Clip, Prediction | EmogramError]]:
        """Tell the emotions of many clips, in their order; a bad clip yields its error and the others go on.

        Threads share the model: decoding, the spectrogram and the network all run outside Python's lock.

        Args:
            clips: Clips.
            check: As for `predict`.
            progress: Is told of each clip done.
            workers: Number of clips to work on at once; by default one for each processor.
        """
        n_workers = min(worker_count(workers), max(1, len(clips)))
        waiting: deque[tuple[Clip, Future[Prediction | EmogramError]]] = deque()
        pool = ThreadPoolExecutor(n_workers, thread_name_prefix="emogram-predict")
        try:
            with progress.task("predicting", len(clips)) as task:
                for clip in clips:
                    waiting.append((clip, pool.submit(self._guarded, clip, check)))
                    if len(waiting) >= 4 * n_workers:
                        yield _next(waiting)
                        task.advance()
                while waiting:
                    yield _next(waiting)
                    task.advance()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def adapt(
        self, outcomes: Iterable[tuple[Clip, Prediction | EmogramError]], *, voice_of: Callable[[Clip], str]
    ) -> Iterator[tuple[Clip, Prediction | EmogramError]]:
        """Adapt what `predict_many` yields to the voices, once all of it is there; errors pass.

        Args:
            outcomes: Clips and what was said of them.
            voice_of: Names the voice of a clip.

        Raises:
            ModelError: The model does not tell what it answers on average.
        """
        reference = self.reference()
        everything = list(outcomes)
        done = [(clip, outcome) for clip, outcome in everything if isinstance(outcome, Prediction)]
        scores = np.asarray([[prediction.scores[label] for label in self.labels] for _, prediction in done])
        adapted = iter(adapt_voices(scores, [voice_of(clip) for clip, _ in done], reference))
        for clip, outcome in everything:
            if isinstance(outcome, Prediction):
                now = self.prediction_from(next(adapted))
                kept = {name: getattr(outcome, name) for name in ("speech_share", "warnings", "dimensions")}
                outcome = replace(now, **kept)
            yield clip, outcome

    def reference(self) -> tuple[float, ...]:
        """Return what the model answers on average, which adapting to a voice needs.

        Raises:
            ModelError: The bundle does not tell.
        """
        return self.info.reference(source=self._name)

    def probabilities(self, inputs: Mapping[str, npt.NDArray[np.floating[Any]]]) -> Probabilities:
        """Run the network on a batch of model inputs, at each shift, and calibrate what it says on average.

        Args:
            inputs: Input name -> array with a leading batch axis: "spectrogram", shape (n_clips, *info.input_shape),
                and "features", shape (n_clips, n_features), where the model takes them.

        Returns:
            Shape (n_clips, n_labels), each row sums to 1; softened by the temperature of the bundle.

        Raises:
            ModelError: The inputs do not fit the model, or it gives no probabilities.
        """
        return self.answers_to(inputs).probabilities

    def answers_to(self, inputs: Mapping[str, npt.NDArray[np.floating[Any]]]) -> Answers:
        """Return what `probabilities` does, and the dimensions, in one run of the network; raises as it does."""
        return self._answers(self._mean_heads(self._feed(inputs)))

    def raw_probabilities(self, inputs: Mapping[str, npt.NDArray[np.floating[Any]]]) -> FloatArray:
        """Return what `probabilities` does, before calibration."""
        return self._mean_heads(self._feed(inputs))[0]

    def require_labels(self, what: str) -> None:
        """Refuse what only a model of classes can do.

        Args:
            what: What is wanted of it, as "explained".

        Raises:
            ModelError: The model tells dimensions only.
        """
        self.info.require_labels(what, source=self._name)

    def _answers(self, heads: tuple[FloatArray, FloatArray]) -> Answers:
        raw, unit = heads
        probabilities = soften(raw, self.info.temperature) if self.labels else raw.astype(np.float64)
        return Answers(probabilities, on_scale(unit, self.info.dimensions))

    def _mean_heads(self, feed: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
        """Return probabilities before calibration and dimensions from 0 to 1, averaged over the shifts."""
        if self.shifts == 1:
            return self._heads(feed)
        raw, unit = zip(*(self._heads(shifted) for shifted in _shifted(feed, self.shifts)), strict=True)
        return np.mean(raw, axis=0), np.mean(unit, axis=0)

    def embeddings(self, inputs: Mapping[str, npt.NDArray[np.floating[Any]]]) -> Embeddings:
        """Return what the last layer of the network looks at, shape (n_clips, n_values); takes a whole run of it.

        Args:
            inputs: As `probabilities` takes them.

        Raises:
            ModelError: The inputs do not fit the model, or it is from before embeddings were kept.
        """
        if not self._gives_embeddings():
            raise ModelError(f"{self._name}: {ONNX_FILE} gives no embedding; train the model again")
        (embeddings,) = self._run([EMBEDDING], self._feed(inputs))
        return embeddings

    def _feed(self, inputs: Mapping[str, npt.NDArray[np.floating[Any]]]) -> dict[str, FloatArray]:
        if set(inputs) != set(self.info.inputs):
            raise ModelError(
                f"{self._name}: takes {', '.join(self.info.inputs)}; given {', '.join(inputs) or 'nothing'}"
            )
        return {name: np.asarray(values, dtype=np.float32) for name, values in inputs.items()}

    def _heads(self, feed: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
        """Return what the network says: probabilities, shape (n_clips, n_labels), and dimensions from 0 to 1."""
        return self._checked_heads(self._run(self._head_names(), feed), n_clips=len(feed["spectrogram"]))

    def _head_names(self) -> list[str]:
        return [node.name for node in self._session.get_outputs()[: bool(self.labels) + bool(self.dimensions)]]

    def _gives_embeddings(self) -> bool:
        return len(self._session.get_outputs()) > len(self._head_names())

    def _run(self, outputs: Sequence[str], feed: Mapping[str, FloatArray]) -> list[FloatArray]:
        n_clips = len(feed["spectrogram"])
        parts = [
            self._run_few(outputs, {name: values[first : first + FEW_CLIPS] for name, values in feed.items()})
            for first in range(0, max(1, n_clips), FEW_CLIPS)
        ]
        return parts[0] if len(parts) == 1 else [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]

    def _run_few(self, outputs: Sequence[str], feed: Mapping[str, FloatArray]) -> list[FloatArray]:
        try:
            values: list[FloatArray] = self._session.run(outputs, feed)
        except _runtime_errors() as error:
            raise ModelError(f"{self._name}: {ONNX_FILE} failed on input of {_shapes(feed)}: {_line(error)}") from None
        return values

    def prediction_from(self, probabilities: npt.ArrayLike, values: npt.ArrayLike = ()) -> Prediction:
        """Turn what is said of one clip into a `Prediction`.

        Args:
            probabilities: Calibrated, shape (n_labels,).
            values: Its dimensions, each on its scale, shape (n_dimensions,).
        """
        told = np.asarray(values, dtype=np.float64)
        dimensions = dict(zip(self.dimensions, map(float, told), strict=True)) if len(told) else None
        return as_prediction(probabilities, self.labels, self.info.abstain_threshold, dimensions=dimensions)

    def _predict(self, inputs: Mapping[str, FloatArray]) -> Prediction:
        return self._predictions(self.answers_to({k: v[np.newaxis] for k, v in inputs.items()}))[0]

    def _predictions(self, answers: Answers) -> list[Prediction]:
        pairs = zip(answers.probabilities, answers.values, strict=True)
        return [self.prediction_from(probabilities, values) for probabilities, values in pairs]

    def answers(self, clips: Sequence[Heard]) -> list[Prediction]:
        """Tell the emotions of clips of equal length in one run of the network.

        Args:
            clips: At least one; the inputs of all have one shape.

        Raises:
            ModelError: The inputs do not fit the model, or it gives no probabilities.
        """
        batch = self._feed({name: np.stack([clip.inputs[name] for clip in clips]) for name in clips[0].inputs})
        if all(clip.speech_share is None for clip in clips):
            return self._predictions(self._answers(self._mean_heads(batch)))
        answers, embeddings = self._answers_and_embeddings(batch)
        return [
            self._checked(said, clip.speech_share, None if embeddings is None else embeddings[n])
            for n, (clip, said) in enumerate(zip(clips, self._predictions(answers), strict=True))
        ]

    def _predict_sound(self, waveform: audio.Waveform, *, name: str, check: bool) -> Prediction:
        return self.answers([hear(waveform, self._sound_config(name), check=check)])[0]

    def _checked(self, prediction: Prediction, share: float | None, embedding: Embeddings | None) -> Prediction:
        """Fill in what looking at the clip itself told."""
        if share is None:
            return prediction
        warnings = [] if share >= speech.MIN_SHARE else [f"no speech found (in {share:.0%} of the clip)"]
        if self._familiar is not None and embedding is not None:
            warnings += filter(None, [self._familiar.warning(embedding)])
        return replace(prediction, speech_share=share, warnings=tuple(warnings))

    def _answers_and_embeddings(self, batch: Mapping[str, FloatArray]) -> tuple[Answers, Embeddings | None]:
        """Return the answers and, where that is of use, the embeddings, shape (n_clips, n_values)."""
        if self._familiar is None:
            return self._answers(self._mean_heads(batch)), None
        if self.shifts > 1 or not self._gives_embeddings():
            return self._answers(self._mean_heads(batch)), self.embeddings(batch)
        # Both in one run, which takes as long as one of them.
        *heads, embeddings = self._run([*self._head_names(), EMBEDDING], batch)
        return self._answers(self._checked_heads(heads, n_clips=len(batch["spectrogram"]))), embeddings

    def _guarded(self, clip: Clip, check: bool) -> Prediction | EmogramError:
        try:
            return self.predict_clip(clip, check=check)
        except EmogramError as error:
            return error

    def _waveform_of(self, samples: npt.ArrayLike, sample_rate: int) -> audio.Waveform:
        wanted_rate = self._sound_config("samples").sample_rate
        waveform = audio.prepare(samples, sample_rate, sample_rate=wanted_rate)
        if waveform.size > audio.MAX_DURATION_S * wanted_rate:
            raise AudioError(
                f"audio: {waveform.size / wanted_rate:.0f} s long; a clip may last {audio.MAX_DURATION_S:g} s, "
                "cut it into utterances",
                code="too_long",
            )
        return waveform

    def _inputs_of_picture(self, path: Path) -> dict[str, FloatArray]:
        config = self.info.spectrogram
        if config is not None and (config.kind != "picture" or config.utterance_features):
            raise ModelError(f"{path}: a picture, and this model listens to sound; give it the sound file")
        size = self.info.input_shape[0]
        assert size is not None, "a model of pictures has a size; ModelInfo sees to it"
        return {
            "spectrogram": spectrogram.from_picture(spectrogram.resize_picture(spectrogram.open_picture(path), size))
        }

    def _sound_config(self, name: str) -> SpectrogramConfig:
        if self.info.spectrogram is None:
            raise ModelError(
                f"{name}: this model was trained on pictures made elsewhere and cannot turn sound into them; give it "
                "such a picture (PNG or JPEG), or train a model on sound"
            )
        return self.info.spectrogram

    def _checked_heads(self, heads: Sequence[FloatArray], *, n_clips: int) -> tuple[FloatArray, FloatArray]:
        """Return both outputs, the one that the model does not have without columns."""
        found = list(heads)
        none = np.zeros((n_clips, 0), np.float32)
        raw = found.pop(0) if self.labels else none
        unit = found.pop(0) if self.dimensions else none
        for each, n_values, what in (
            (raw, len(self.labels), "probability for each label"),
            (unit, len(self.dimensions), "value for each dimension"),
        ):
            if each.shape != (n_clips, n_values):
                raise ModelError(
                    f"{self._name}: {ONNX_FILE} gives an output of shape {each.shape}; expected ({n_clips}, "
                    f"{n_values}), one {what}"
                )
            if not np.isfinite(each).all():
                raise ModelError(f"{self._name}: {ONNX_FILE} gives values that are not finite; train the model again")
        off = np.abs(raw.sum(axis=1) - 1.0).max(initial=0.0) if self.labels else 0.0
        if raw.min(initial=0.0) < 0.0 or off > MAX_SUM_ERROR:
            raise ModelError(f"{self._name}: {ONNX_FILE} gives no probabilities; end the network with a softmax")
        if unit.min(initial=0.0) < -MAX_SUM_ERROR or unit.max(initial=0.0) > 1.0 + MAX_SUM_ERROR:
            raise ModelError(f"{self._name}: {ONNX_FILE} gives dimensions beyond 0 to 1; train the model again")
        return raw, unit


def _shifted(feed: Mapping[str, FloatArray], shifts: int) -> Iterator[dict[str, FloatArray]]:
    """Yield the inputs without `SHIFT_SPAN_FRAMES` frames (of short clips a quarter), ever more of them the first."""
    n_frames = feed["spectrogram"].shape[1]
    span = min(SHIFT_SPAN_FRAMES, n_frames // 4)
    for shift in range(shifts):
        first = shift * span // (shifts - 1)
        yield {**feed, "spectrogram": feed["spectrogram"][:, first : n_frames - span + first]}


def as_prediction(
    probabilities: npt.ArrayLike,
    labels: Sequence[str],
    threshold: float,
    *,
    dimensions: Mapping[str, float] | None = None,
) -> Prediction:
    """Turn the probabilities of one clip, shape (n_labels,), calibrated, into a `Prediction`.

    Args:
        probabilities: One for each label.
        labels: Labels in order; none where dimensions only are told.
        threshold: Confidence below which the prediction counts as unsure.
        dimensions: What is told beside them.
    """
    values = [float(value) for value in np.asarray(probabilities, dtype=np.float64)]
    if not values:
        return Prediction(label="", scores={}, confidence=math.nan, dimensions=dimensions)
    best = int(np.argmax(values))
    return Prediction(
        label=labels[best],
        scores=dict(zip(labels, values, strict=True)),
        confidence=values[best],
        abstained=values[best] < threshold,
        dimensions=dimensions,
    )


def _session(bundle: Bundle, threads: int) -> onnxruntime.InferenceSession:
    from emogram.runtime import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    # A thread that spins while it waits takes a processor from whoever else works there.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # Weights in files beside the model would escape the hashes. There can be no folder below the null device.
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path",
        os.path.join(os.devnull, "none"),  # noqa: PTH118
    )
    try:
        session = onnxruntime.InferenceSession(bundle.read(ONNX_FILE), options, providers=["CPUExecutionProvider"])
    except _runtime_errors() as error:
        raise ModelError(f"{bundle.folder}: {ONNX_FILE} cannot be loaded: {_line(error)}") from None
    names = tuple(node.name for node in session.get_inputs())
    if set(names) != set(bundle.info.inputs):
        raise ModelError(f"{bundle.folder}: {ONNX_FILE} takes {names}, and model.json says {bundle.info.inputs}")
    outputs = session.get_outputs()
    expected = [n for n in (len(bundle.info.labels), len(bundle.info.dimensions)) if n]
    # A size that is a name or None is not known before the model runs; `_checked_heads` sees to it then.
    sizes = [node.shape[-1] if node.shape else None for node in outputs[: len(expected)]]
    fit = len(sizes) == len(expected) and all(
        not isinstance(size, int) or size == n for size, n in zip(sizes, expected, strict=True)
    )
    others = [node.name for node in outputs[len(expected) :]]
    if not fit or others not in ([], [EMBEDDING]):
        raise ModelError(
            f"{bundle.folder}: {ONNX_FILE} gives {len(outputs)} output(s), the first of "
            f"{' and '.join(map(str, sizes)) or 'no'} values; expected "
            f"{' and '.join(f'one of {n}' for n in expected)}, the number of labels or dimensions in model.json, and "
            f"at most one more, '{EMBEDDING}'"
        )
    return session


def _next(
    waiting: deque[tuple[Clip, Future[Prediction | EmogramError]]],
) -> tuple[Clip, Prediction | EmogramError]:
    clip, future = waiting.popleft()
    return clip, future.result()


def _runtime_errors() -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises; its classes have no base of their own."""
    from emogram.runtime import onnxruntime

    state = onnxruntime.capi.onnxruntime_pybind11_state

    found = [value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception)]
    return (*found, ValueError)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _shapes(feed: Mapping[str, FloatArray]) -> str:
    return ", ".join(f"{name} {values.shape}" for name, values in feed.items())

"""A model folder and clips -> predictions, on ONNX Runtime: no training framework is loaded."""

from __future__ import annotations

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
from emogram.bundle import FAMILIAR_FILE, ONNX_FILE, SHIPPED, Bundle, ModelInfo, open_bundle
from emogram.calibration import soften
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

EMBEDDING = "embedding"  # name of the second ONNX output

# A network that thins time out sees other frames at each shift. Cut off at the ends: as much silence put there instead
# made answers worse (72 to 69 % UAR on six validation actors of RAVDESS, where five cuts gave 73 %).
SHIFT_SPAN_FRAMES = 8

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


class Classifier:
    """A loaded model. It keeps no state between calls, and many threads may share it.

    Attributes:
        labels: Labels in the order of all scores.
        info: What the bundle's `model.json` says.
        sha256: Hash of the bundle.
        bundle: The bundle itself, for what prediction does not need.
        shifts: Number of shifts in time that every answer is averaged over; 1: none.
    """

    labels: tuple[str, ...]
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
                outcome = replace(now, speech_share=outcome.speech_share, warnings=outcome.warnings)
            yield clip, outcome

    def reference(self) -> tuple[float, ...]:
        """Return what the model answers on average, which adapting to a voice needs.

        Raises:
            ModelError: The bundle does not tell.
        """
        if self.info.mean_log_probabilities is None:
            raise ModelError(
                f"{self._name}: does not say what it answers on average, so it cannot be adapted to a voice; train it "
                "again with this version of emogram"
            )
        return self.info.mean_log_probabilities

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
        return soften(self.raw_probabilities(inputs), self.info.temperature)

    def raw_probabilities(self, inputs: Mapping[str, npt.NDArray[np.floating[Any]]]) -> FloatArray:
        """Return what `probabilities` does, before calibration."""
        feed = self._feed(inputs)
        if self.shifts > 1:
            mean: FloatArray = np.mean([self._raw(shifted) for shifted in _shifted(feed, self.shifts)], axis=0)
            return mean
        return self._raw(feed)

    def embeddings(self, inputs: Mapping[str, npt.NDArray[np.floating[Any]]]) -> Embeddings:
        """Return what the last layer of the network looks at, shape (n_clips, n_values); takes a whole run of it.

        Args:
            inputs: As `probabilities` takes them.

        Raises:
            ModelError: The inputs do not fit the model, or it is from before embeddings were kept.
        """
        if len(self._session.get_outputs()) < 2:
            raise ModelError(f"{self._name}: {ONNX_FILE} gives no embedding; train the model again")
        (embeddings,) = self._run([EMBEDDING], self._feed(inputs))
        return embeddings

    def _feed(self, inputs: Mapping[str, npt.NDArray[np.floating[Any]]]) -> dict[str, FloatArray]:
        if set(inputs) != set(self.info.inputs):
            raise ModelError(
                f"{self._name}: takes {', '.join(self.info.inputs)}; given {', '.join(inputs) or 'nothing'}"
            )
        return {name: np.asarray(values, dtype=np.float32) for name, values in inputs.items()}

    def _raw(self, feed: Mapping[str, FloatArray]) -> FloatArray:
        """Return what the network says, before calibration, shape (n_clips, n_labels)."""
        (raw,) = self._run([self._session.get_outputs()[0].name], feed)
        self._check_output(raw, n_clips=len(feed["spectrogram"]))
        return raw

    def _run(self, outputs: Sequence[str], feed: Mapping[str, FloatArray]) -> list[FloatArray]:
        try:
            values: list[FloatArray] = self._session.run(outputs, feed)
        except _runtime_errors() as error:
            raise ModelError(f"{self._name}: {ONNX_FILE} failed on input of {_shapes(feed)}: {_line(error)}") from None
        return values

    def prediction_from(self, probabilities: npt.ArrayLike) -> Prediction:
        """Turn the probabilities of one clip, shape (n_labels,), calibrated, into a `Prediction`."""
        return as_prediction(probabilities, self.labels, self.info.abstain_threshold)

    def _predict(self, inputs: Mapping[str, FloatArray]) -> Prediction:
        return self.prediction_from(self.probabilities({k: v[np.newaxis] for k, v in inputs.items()})[0])

    def answers(self, clips: Sequence[Heard]) -> list[Prediction]:
        """Tell the emotions of clips of equal length in one run of the network.

        Args:
            clips: At least one; the inputs of all have one shape.

        Raises:
            ModelError: The inputs do not fit the model, or it gives no probabilities.
        """
        batch = self._feed({name: np.stack([clip.inputs[name] for clip in clips]) for name in clips[0].inputs})
        if all(clip.speech_share is None for clip in clips):
            return [self.prediction_from(row) for row in self.probabilities(batch)]
        probabilities, embeddings = self._probabilities_and_embeddings(batch)
        return [
            self._checked(self.prediction_from(row), clip.speech_share, None if embeddings is None else embeddings[n])
            for n, (clip, row) in enumerate(zip(clips, probabilities, strict=True))
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

    def _probabilities_and_embeddings(self, batch: Mapping[str, FloatArray]) -> tuple[Probabilities, Embeddings | None]:
        """Return the answers and, where that is of use, the embeddings, shape (n_clips, n_values)."""
        if self._familiar is None:
            return self.probabilities(batch), None
        if self.shifts > 1 or len(self._session.get_outputs()) < 2:
            return self.probabilities(batch), self.embeddings(batch)
        # Both in one run, which takes as long as one of them.
        raw, embeddings = self._run([self._session.get_outputs()[0].name, EMBEDDING], batch)
        self._check_output(raw, n_clips=len(batch["spectrogram"]))
        return soften(raw, self.info.temperature), embeddings

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

    def _check_output(self, raw: FloatArray, *, n_clips: int) -> None:
        if raw.shape != (n_clips, len(self.labels)):
            raise ModelError(
                f"{self._name}: {ONNX_FILE} gives an output of shape {raw.shape}; expected ({n_clips}, "
                f"{len(self.labels)}), one probability for each label"
            )
        if not np.isfinite(raw).all():
            raise ModelError(f"{self._name}: {ONNX_FILE} gives values that are not finite; train the model again")
        if raw.min(initial=0.0) < 0.0 or np.abs(raw.sum(axis=1) - 1.0).max(initial=0.0) > MAX_SUM_ERROR:
            raise ModelError(f"{self._name}: {ONNX_FILE} gives no probabilities; end the network with a softmax")


def _shifted(feed: Mapping[str, FloatArray], shifts: int) -> Iterator[dict[str, FloatArray]]:
    """Yield the inputs without `SHIFT_SPAN_FRAMES` frames (of short clips a quarter), ever more of them the first."""
    n_frames = feed["spectrogram"].shape[1]
    span = min(SHIFT_SPAN_FRAMES, n_frames // 4)
    for shift in range(shifts):
        first = shift * span // (shifts - 1)
        yield {**feed, "spectrogram": feed["spectrogram"][:, first : n_frames - span + first]}


def as_prediction(probabilities: npt.ArrayLike, labels: Sequence[str], threshold: float) -> Prediction:
    """Turn the probabilities of one clip, shape (n_labels,), calibrated, into a `Prediction`.

    Args:
        probabilities: One for each label.
        labels: Labels in order.
        threshold: Confidence below which the prediction counts as unsure.
    """
    values = [float(value) for value in np.asarray(probabilities, dtype=np.float64)]
    best = int(np.argmax(values))
    return Prediction(
        label=labels[best],
        scores=dict(zip(labels, values, strict=True)),
        confidence=values[best],
        abstained=values[best] < threshold,
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
    n_labels = len(bundle.info.labels)
    n_outputs = outputs[0].shape[-1] if outputs and outputs[0].shape else None
    # A size that is a name or None is not known before the model runs; `_check_output` sees to it then.
    others = [node.name for node in outputs[1:]]
    if not outputs or others not in ([], [EMBEDDING]) or (isinstance(n_outputs, int) and n_outputs != n_labels):
        raise ModelError(
            f"{bundle.folder}: {ONNX_FILE} gives {len(outputs)} output(s), the first of {n_outputs} values; expected "
            f"one of {n_labels}, the number of labels in model.json, and at most one more, '{EMBEDDING}'"
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

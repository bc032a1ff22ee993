"""A bundle -> one file that other programs run, its labels inside, and how nearly it answers as the bundle does."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emogram import __version__, voices
from emogram.audio import Waveform, load_audio
from emogram.bundle import LICENCE_FILE, ONNX_FILE, Bundle, ModelInfo
from emogram.classifier import Classifier
from emogram.config import SpectrogramConfig
from emogram.errors import MissingExtraError, ModelError, SettingsError
from emogram.export import quantised, session_of
from emogram.features import model_inputs
from emogram.files import write_json, writing
from emogram.litert import Interpreter, litert, require_litert, with_metadata
from emogram.onnx_front_end import WAVEFORM, calibrated, with_front_end
from emogram.progress import SILENT, Progress

FloatArray = npt.NDArray[np.float32]
Answer = Callable[[Waveform, Mapping[str, FloatArray]], FloatArray]

SUFFIXES = {"onnx": ".onnx", "onnx-waveform": "-waveform.onnx", "onnx-int8": "-int8.onnx", "litert": ".tflite"}

MAX_DIFFERENCE = 1e-3  # of any probability; computed in another order, a network in single precision stays far below
# A network in int8 rounds to 256 steps: where a sum differs in its last place, an activation may fall on the next one.
# On 288 clips of RAVDESS, front ends that agree within one step of half precision moved it by 0.01.
MAX_DIFFERENCE_OF_INT8 = 0.1

_SYNTHETIC_SPEAKERS = 8


@dataclass(frozen=True)
class Parity:
    """How nearly an exported file answers as its bundle, on clips.

    Attributes:
        clips: What they were: "synthetic voices", or "given".
        n_clips: How many were compared.
        n_calibration: How many others told int8 its ranges; 0 for what needs none.
        max_difference: The greatest absolute difference of any probability, or dimension as a share of its scale.
        mean_difference: The mean of all absolute differences.
        same_label: Share of clips with the same most probable label; None where the model tells dimensions only.
    """

    clips: str
    n_clips: int
    n_calibration: int
    max_difference: float
    mean_difference: float
    same_label: float | None


@dataclass(frozen=True)
class Deployed:
    """What was written.

    Attributes:
        file: The model.
        report: JSON with all that stands here and in the metadata, for programs that cannot read the metadata.
        target: Of `SUFFIXES`.
        n_bytes: Size of the model.
        sha256: Its hash.
        metadata: What it says about itself; all values are strings.
        parity: How nearly it answers as the bundle.
    """

    file: Path
    report: Path
    target: str
    n_bytes: int
    sha256: str
    metadata: Mapping[str, str]
    parity: Parity

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, ready for JSON."""
        return {**asdict(self), "file": self.file.name, "report": self.report.name}


def deploy(
    model: str | Path,
    target: str,
    out: Path | None = None,
    *,
    clips: Sequence[Path] = (),
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Deployed:
    """Write a model for another runtime, with the report beside it as NAME.json.

    Args:
        model: A model, as `Classifier.load` takes it.
        target: "onnx" (model input in), "onnx-waveform" (sound in), "onnx-int8" (model input in, convolutions in
            int8) or "litert" (model input in, one clip at a time).
        out: The file; by default the model's name here.
        clips: Sound to compare on, and for int8 to take the ranges from: every second one each. Synthetic voices by
            default, which are good for a comparison and poor for ranges.
        overwrite: Replace a file that is there.
        progress: Is told how far it is.

    Raises:
        SettingsError: The target is not known, or the file is there.
        MissingExtraError: The extra `export`, or `litert`, is not installed.
        ModelError: The model was refused, cannot be exported so, or the file answers otherwise; nothing is written.
        AudioError: A clip cannot be read.
        OutputError: The file cannot be written.
    """
    if target not in SUFFIXES:
        raise SettingsError(f"{target}: no such form; choose one of {', '.join(SUFFIXES)}")
    if target == "litert":
        require_litert()
    elif importlib.util.find_spec("onnx") is None:
        raise MissingExtraError("exporting to ONNX", "export")
    classifier = Classifier.load(model)
    info = classifier.info
    file = out or Path(f"{info.model_id}{SUFFIXES[target]}")
    if file.exists() and not overwrite:
        raise SettingsError(f"{file}: is there already; choose another --out, or say --overwrite")
    config = info.spectrogram or SpectrogramConfig(kind="picture", picture_size=info.input_shape[0] or 128)
    waveforms = [load_audio(path, sample_rate=config.sample_rate) for path in clips] or _synthetic(config.sample_rate)
    heard = [(waveform, _batch_of_one(waveform, config)) for waveform in waveforms]
    calibration = heard[1::2] if target == "onnx-int8" else []
    compared = heard[::2] if target == "onnx-int8" else heard
    if target == "onnx-int8" and not calibration:
        raise SettingsError("int8 takes its ranges from every second clip; give two clips or more, better a hundred")

    progress.say(f"making {target}")
    metadata = _metadata(classifier, target)
    content = _content(classifier, target, [inputs for _, inputs in calibration])
    content = (
        with_metadata(content, metadata, info.labels) if target == "litert" else _with_properties(content, metadata)
    )
    answer = _litert_answer(content) if target == "litert" else _onnx_answer(content, target)
    parity = _parity(
        classifier, answer, compared, clips="given" if clips else "synthetic voices", n_calibration=len(calibration)
    )
    limit = MAX_DIFFERENCE_OF_INT8 if target.startswith("onnx") and _is_quantised(content) else MAX_DIFFERENCE
    if not parity.max_difference <= limit:
        raise ModelError(
            f"{model}: as {target} it differs by {parity.max_difference:.2g} in an answer, more than {limit:g}; "
            "please report this with the model's settings"
        )
    with writing(file) as temporary:
        temporary.write_bytes(content)
    deployed = Deployed(
        file,
        file.with_name(f"{file.name}.json"),
        target,
        len(content),
        hashlib.sha256(content).hexdigest(),
        metadata,
        parity,
    )
    write_json(deployed.report, deployed.to_dict())
    return deployed


def _content(classifier: Classifier, target: str, calibration: Sequence[Mapping[str, FloatArray]]) -> bytes:
    """Return the bytes of the model, without metadata."""
    info, bundle = classifier.info, classifier.bundle
    if target == "litert":
        if info.dimensions:
            raise ModelError(
                f"{bundle.folder}: tells dimensions, for which LiteRT files have no place here; export it to ONNX"
            )
        return litert(bundle)
    network = bundle.read(ONNX_FILE)
    if target == "onnx-int8":
        if _is_quantised(network):
            raise ModelError(f"{bundle.folder}: computes in int8 already; --to onnx gives it as it is")
        network = quantised(network, samples=calibration)
    content = calibrated(network, info.temperature, info.dimensions, classes=bool(info.labels))
    if target == "onnx-waveform":
        content = with_front_end(content, _sound_config(info, bundle.folder), name=str(bundle.folder))
    return content


def _sound_config(info: ModelInfo, folder: Path) -> SpectrogramConfig:
    if info.spectrogram is None:
        raise ModelError(f"{folder}: was trained on pictures made elsewhere, and cannot turn sound into them")
    return info.spectrogram


def _is_quantised(content: bytes) -> bool:
    import onnx

    return any(node.op_type == "QuantizeLinear" for node in onnx.load_from_string(content).graph.node)


def _metadata(classifier: Classifier, target: str) -> dict[str, str]:
    """Return what the file says about itself; ONNX takes strings only, so lists are JSON."""
    info = classifier.info
    config = None if info.spectrogram is None else info.spectrogram.model_dump(mode="json")
    corpora = [{"corpus": corpus.corpus, "licence": corpus.licence} for corpus in info.trained_on]
    return {
        "emogram.version": __version__,
        "emogram.target": target,
        "emogram.model_id": info.model_id,
        "emogram.model_sha256": classifier.sha256,
        "emogram.labels": json.dumps(info.labels),
        **({"emogram.dimensions": json.dumps([each.to_dict() for each in info.dimensions])} if info.dimensions else {}),
        "emogram.spectrogram": json.dumps(config),
        "emogram.temperature": f"{info.temperature!r}",  # for the record: the file's answers are softened already
        "emogram.abstain_threshold": f"{info.abstain_threshold!r}",
        "emogram.trained_on": json.dumps(corpora),
        "emogram.licence": _licence(classifier.bundle),
    }


def _licence(bundle: Bundle) -> str:
    """Return the short name of the model's licence, which its licence file begins with; empty where it has none."""
    if LICENCE_FILE not in bundle.hashes:
        return ""
    first = bundle.read(LICENCE_FILE).decode("utf-8", errors="replace").partition("\n")[0]
    return first.removeprefix("SPDX-License-Identifier:").strip()


def _with_properties(content: bytes, metadata: Mapping[str, str]) -> bytes:
    import onnx

    model = onnx.load_from_string(content)
    onnx.helper.set_model_props(model, dict(metadata))
    model.producer_name, model.producer_version = "emogram", __version__
    serialised: Any = model.SerializeToString()
    return bytes(serialised)


def _synthetic(sample_rate: int) -> list[Waveform]:
    """Return sentences of voices that do not exist, one speaker and one emotion after the other; always the same."""
    speakers = voices.voices(_SYNTHETIC_SPEAKERS)
    return [
        voices.speak(emotion, speaker=speaker, seed=number, sample_rate=sample_rate)
        for number, speaker in enumerate(speakers)
        for emotion in voices.PROFILES
    ]


def _batch_of_one(waveform: Waveform, config: SpectrogramConfig) -> dict[str, FloatArray]:
    return {name: values[np.newaxis] for name, values in model_inputs(waveform, config).items()}


def _onnx_answer(content: bytes, target: str) -> Answer:
    session = session_of(content)

    def answer(waveform: Waveform, inputs: Mapping[str, FloatArray]) -> FloatArray:
        feed = {WAVEFORM: waveform} if target == "onnx-waveform" else dict(inputs)
        answers: FloatArray = np.concatenate([each.ravel() for each in session.run(None, feed)])
        return answers.reshape(1, -1)

    return answer


def _litert_answer(content: bytes) -> Answer:
    interpreter = Interpreter(content)
    return lambda waveform, inputs: interpreter(inputs)


def _parity(
    classifier: Classifier,
    answer: Answer,
    heard: Sequence[tuple[Waveform, Mapping[str, FloatArray]]],
    *,
    clips: str,
    n_calibration: int,
) -> Parity:
    said = [classifier.answers_to(inputs) for _, inputs in heard]
    expected = np.concatenate([np.concatenate([each.probabilities, each.values], axis=1) for each in said])
    given = np.concatenate([answer(waveform, inputs) for waveform, inputs in heard])
    if given.shape != expected.shape:
        raise ModelError(f"the exported model gives answers of shape {given.shape}; expected {expected.shape}")
    n_labels = len(classifier.labels)
    scales = [*[1.0] * n_labels, *(dimension.high - dimension.low for dimension in classifier.info.dimensions)]
    differences = np.abs(given - expected) / np.asarray(scales)
    return Parity(
        clips,
        len(heard),
        n_calibration,
        float(differences.max()),
        float(differences.mean()),
        float(np.mean(given[:, :n_labels].argmax(axis=1) == expected[:, :n_labels].argmax(axis=1)))
        if n_labels
        else None,
    )

"""A finished run -> the model folder that the package ships: licensed, small, in int8 where that costs nothing."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emogram import metrics
from emogram.adapt import mean_log_probabilities
from emogram.bundle import (
    CLIPS_FILE,
    FAMILIAR_FILE,
    LICENCE_FILE,
    ONNX_FILE,
    SUMS_FILE,
    Bundle,
    ModelInfo,
    open_bundle,
    seal,
)
from emogram.calibration import choose_threshold, fit_temperature, soften
from emogram.card import CC_BY_NC_SA, Evidence, forbidding, licence_text, model_card
from emogram.classifier import Classifier
from emogram.config import TrainConfig
from emogram.corpora import Corpus
from emogram.dataset import Dataset, Indices, load_dataset
from emogram.errors import ModelError, OutputError
from emogram.evaluate import part_of
from emogram.export import Inputs, quantised
from emogram.files import output_error, write_text, writing
from emogram.judging import clip_probabilities
from emogram.progress import SILENT, Progress
from emogram.records import Clip, Report, speakers_of

SINGLE, INT8 = "float32", "int8"

MAX_BYTES = 5_000_000  # of the whole folder, since every installation downloads it
MAX_LOSS_OF_UAR = 0.01  # int8 must cost less, on validation clips
CALIBRATION_CLIPS = 100
TIMED_CLIPS = 20


@dataclass(frozen=True)
class Trial:
    """What one form of the model costs and gives.

    Attributes:
        n_bytes: Size of its ONNX file.
        uar: On the validation clips.
        clip_ms: Median processor time of the network for one validation clip on one thread, in milliseconds.
    """

    n_bytes: int
    uar: float
    clip_ms: float


@dataclass(frozen=True)
class ShipResult:
    """What was shipped.

    Attributes:
        bundle: The sealed folder.
        n_bytes: Size of the whole folder.
        report: What the shipped form gives on the part that judges.
        trials: What the forms `SINGLE` and, where asked for, `INT8` cost and give.
        chosen: The form that was kept.
        failed: Clips that could not be used, and why.
    """

    bundle: Bundle
    n_bytes: int
    report: Report
    trials: Mapping[str, Trial]
    chosen: str
    failed: tuple[tuple[Clip, str], ...]


def ship(
    model: Path,
    corpus: Corpus,
    out: Path,
    *,
    int8: bool = True,
    evidence: Evidence | None = None,
    card: Path | None = None,
    cache: Path | None = None,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> ShipResult:
    """Make the folder to ship from a run: choose the form, calibrate it, judge it, license it, seal it.

    Int8 is kept where it is smaller or faster and costs less than `MAX_LOSS_OF_UAR` on the validation clips. The
    network that trains on, `best.keras`, is left out.

    Args:
        model: Run or model folder.
        corpus: What it was trained on, whole.
        out: The folder to write; one that is there already is replaced in one step at the end.
        int8: Try int8.
        evidence: What the card shows beside the report.
        card: Another place for the card, such as MODEL_CARD.md.
        cache: Folder that keeps model inputs; None keeps none.
        workers: Number of processes that read clips.
        progress: Is told how far it is.

    Raises:
        ModelError: The model was refused, was trained on what may not be shared so, or is too large.
        CorpusError: The corpus is not the one it was trained on.
        SettingsError: The model's split set no speakers aside for validation.
        OutputError: The folder cannot be written, or holds something else.
    """
    given = open_bundle(model)
    info = given.info
    if not info.trained_on or forbidding(info):
        raise ModelError(
            f"{given.folder}: trained on {', '.join(forbidding(info)) or 'nobody knows what'}; what ships is under "
            f"{CC_BY_NC_SA}, so train it on corpora under that licence only"
        )
    if out.exists() and not (out / SUMS_FILE).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out}: holds something that is no model; choose another folder")
    if info.dimensions:
        raise ModelError(f"{given.folder}: tells dimensions; what ships tells classes only")
    if info.spectrogram is None:
        raise ModelError(f"{given.folder}: takes pictures made elsewhere; what ships must take sound")
    dataset = load_dataset(
        corpus, info.spectrogram, labels=info.labels, cache=cache, workers=workers, progress=progress
    )
    validation = part_of(dataset, info, "validation")
    work = out.parent / f".{out.name}-{secrets.token_hex(4)}"
    try:
        contents = {SINGLE: given.read(ONNX_FILE)}
        if int8:
            progress.say("taking the ranges of int8 from training clips")
            clips = _calibration(dataset, part_of(dataset, info, "train"))
            contents[INT8] = quantised(contents[SINGLE], samples=clips)
        forms = {name: Classifier(_form(work / name, given, content)) for name, content in contents.items()}
        times = _clip_times(forms, dataset, validation)
        targets = dataset.targets[validation]
        trials = {
            name: Trial(
                len(contents[name]),
                metrics.uar(targets, clip_probabilities(form, dataset, validation, progress=progress)),
                times[name],
            )
            for name, form in forms.items()
        }
        chosen = INT8 if int8 and _worth_it(trials[SINGLE], trials[INT8]) else SINGLE
        info, report = _judged(forms[chosen], info, dataset, validation, progress)
        info = info.model_copy(update={"network": {**info.network, "convolutions": chosen}})
        folder = work / chosen
        text = model_card(info, report=report, evidence=evidence)
        write_text(folder / LICENCE_FILE, licence_text(info))
        seal(folder, info, text)
        n_bytes = sum(file.stat().st_size for file in folder.iterdir())
        if n_bytes > MAX_BYTES:
            raise ModelError(f"{model}: {n_bytes:,} bytes; what ships has at most {MAX_BYTES:,}, train a smaller one")
        _replace(out, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if card is not None:
        write_text(card, text)
    return ShipResult(open_bundle(out), n_bytes, report, trials, chosen, dataset.failed)


def _form(folder: Path, given: Bundle, content: bytes) -> Bundle:
    """Seal one form of the model; what it says without calibration is wanted, so that has no temperature."""
    kept = {name: given.read(name) for name in (CLIPS_FILE, FAMILIAR_FILE) if name in given.hashes}
    kept[ONNX_FILE] = content
    for name, data in kept.items():
        with writing(folder / name) as temporary:
            temporary.write_bytes(data)
    return seal(folder, given.info.model_copy(update={"temperature": 1.0}), "")


def _calibration(dataset: Dataset, train: Indices) -> Iterator[Inputs]:
    rng = np.random.default_rng(0)
    for index in rng.choice(train, min(CALIBRATION_CLIPS, len(train)), replace=False):
        yield dataset.inputs([int(index)])


def _clip_times(forms: Mapping[str, Classifier], dataset: Dataset, validation: Indices) -> dict[str, float]:
    """Return the median milliseconds that each form takes for a clip, the forms by turns on each clip.

    Processor time of this thread, in which ONNX Runtime works, so that other programs do not count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for index in validation[:: max(1, len(validation) // TIMED_CLIPS)]:
        batch = dataset.inputs([int(index)])
        for name, form in forms.items():
            form.probabilities(batch)  # the first of a new length reserves memory
            start = time.thread_time()
            form.probabilities(batch)
            seconds[name].append(time.thread_time() - start)
    return {name: 1000.0 * float(np.median(taken)) for name, taken in seconds.items()}


def _worth_it(single: Trial, int8: Trial) -> bool:
    smaller_or_faster = int8.n_bytes < single.n_bytes or int8.clip_ms < single.clip_ms
    return smaller_or_faster and single.uar - int8.uar < MAX_LOSS_OF_UAR


def _judged(
    classifier: Classifier, info: ModelInfo, dataset: Dataset, validation: Indices, progress: Progress
) -> tuple[ModelInfo, Report]:
    """Calibrate the form that ships on the validation clips, and judge it as its training did."""
    raw = clip_probabilities(classifier, dataset, validation)
    targets = dataset.targets[validation]
    speakers = speakers_of([dataset.clips[index] for index in validation])
    temperature = fit_temperature(raw, targets, speakers=speakers)
    calibrated = soften(raw, temperature)
    target_error = TrainConfig().target_error if info.target_error is None else info.target_error
    abstention = choose_threshold(calibrated, targets, target_error=target_error)
    judged = part_of(dataset, info, "test") if info.split.get("test_speakers") else validation
    probabilities = soften(clip_probabilities(classifier, dataset, judged, progress=progress), temperature)
    report = metrics.judge(
        dataset.targets[judged],
        probabilities,
        info.labels,
        [dataset.clips[index] for index in judged],
        protocol=info.protocol,
        abstained=probabilities.max(axis=1) < abstention.threshold,
    )
    final = info.model_copy(
        update={
            "temperature": temperature,
            "abstain_threshold": abstention.threshold,
            "target_error": target_error,
            "answered_error": abstention.error,
            "unsure_share": abstention.unsure_share,
            "mean_log_probabilities": mean_log_probabilities(calibrated, targets),
            "metrics": dict(report.metrics),
        }
    )
    return final, report


def _replace(out: Path, folder: Path) -> None:
    """Put a finished folder in the place of one that may be there."""
    try:
        if out.exists():
            out.replace(folder.with_name("before"))
        folder.replace(out)
    except OSError as error:
        raise output_error(out, error) from error

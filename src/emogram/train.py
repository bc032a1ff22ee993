"""Corpus and settings -> a run folder with the best model, sealed and judged."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from emogram import __version__
from emogram.adapt import mean_log_probabilities
from emogram.apart import widened, with_labels_apart
from emogram.backend import keras
from emogram.balance import clip_weights, drawn_apart
from emogram.batches import TrainingBatches
from emogram.bundle import (
    FAMILIAR_FILE,
    KERAS_FILE,
    ONNX_FILE,
    ModelInfo,
    TrainingCorpus,
    open_bundle,
    seal,
    write_known_clips,
)
from emogram.calibration import choose_threshold, fit_temperature, soften
from emogram.callbacks import EmphasizeHard, History, KeepBest, Record, Tell, Validate
from emogram.card import model_card
from emogram.checkpoints import CHECKPOINTS_FOLDER, Checkpoint, Checkpoints, is_unfinished, mark_finished, unfinished
from emogram.classifier import Classifier
from emogram.config import SOLVED_NETWORKS, RunConfig, SpectrogramConfig, TrainConfig, read_toml
from emogram.copies import with_degraded_copies
from emogram.corpora import Corpus
from emogram.corpora.corpus import UNKNOWN_LICENCE
from emogram.dataset import Dataset, load_dataset
from emogram.devices import device_count, sharing
from emogram.dimensions import NO_SCALES, Scales, find_dimensions, learn_scales
from emogram.distillation import Teachers
from emogram.errors import EmogramError, SettingsError
from emogram.export import export_onnx
from emogram.familiar import N_KEPT, learn_familiar
from emogram.features import N_FEATURES
from emogram.files import write_json, write_text, writing
from emogram.fused import faster, without_denormals
from emogram.heads import Heads, side_by_side, training_loss, training_metrics
from emogram.judging import PLOTS_FOLDER, Judgement, clip_answers, clip_embeddings, clip_probabilities, judge_clips
from emogram.lineage import Lineage, corpora_before, describe_origins, known_before, open_lineage, says_lineage
from emogram.metrics import DimensionValues
from emogram.network import InputShapes, adapt_features, build_network
from emogram.optimizers import make_optimizer
from emogram.pictures import read_picture_config
from emogram.pretraining import KernelsStay, leave_alone, take_over
from emogram.progress import SILENT, Progress
from emogram.random_kernels import Solution, join_kernels, left_out_groups, solve
from emogram.records import Clip, Report, speakers_of
from emogram.resuming import Save, describe_training, fit_at_once, fit_on, refuse_another, refuse_other_settings, reopen
from emogram.splits import Split, describe_split, make_split
from emogram.trackers import Following, Trackers, describe_run, follow
from emogram.trackers.examples import tell_examples
from emogram.writers import EXTRA_COLUMNS, PREDICTION_COLUMNS, SEGMENT_COLUMNS, TIME_COLUMNS

MODEL_FOLDER = "model"
CONFIG_FILE = "config.toml"
NOTHING_BEFORE = Lineage()
ONLY_TENSORBOARD = Trackers()
AUTO = "auto"  # in place of the names of hard classes


class DivergedError(EmogramError):
    """The loss became infinite before any epoch was good."""


@dataclass(frozen=True)
class TrainResult:
    """What a training gave.

    Attributes:
        run: The run folder.
        judgement: What the best model says of the part that judges.
        judged_on: "test", or "validation" where the split has no test part.
        failed: Clips that could not be used, and why.
        warnings: What the reader should know.
        interrupted: True where Ctrl-C ended it early; the best model until then was sealed and judged, and the training
            can be gone on with.
        seconds: How long it took, reading to plots.
    """

    run: Path
    judgement: Judgement
    judged_on: str
    failed: tuple[tuple[Clip, str], ...]
    warnings: tuple[str, ...]
    interrupted: bool
    seconds: float

    @property
    def report(self) -> Report:
        """The figures."""
        return self.judgement.report

    @property
    def plots(self) -> tuple[Path, ...]:
        """The files drawn."""
        return self.judgement.plots


def train(
    corpus: Corpus,
    config: RunConfig,
    out: Path,
    *,
    resume: bool = False,
    cache: Path | None = None,
    workers: int | None = None,
    trackers: Trackers = ONLY_TENSORBOARD,
    progress: Progress = SILENT,
) -> TrainResult:
    """Train a network, keep its best epoch, export, calibrate and judge it.

    Args:
        corpus: Clips of sound, or pictures of it.
        config: All settings.
        out: The run folder; see DESIGN.md for what is in it.
        resume: Go on from the last checkpoint in the run folder, if there is one; what comes out is the same as if
            training had never been interrupted. False begins anew.
        cache: Folder that keeps model inputs between runs; None keeps none.
        workers: Number of processes that read clips.
        trackers: What else is told of the training; whatever becomes of them, it comes to the same.
        progress: Is told how far it is.

    Raises:
        CorpusError: The corpus cannot be used or parted as asked.
        ModelError: The model to start from was refused.
        SettingsError: Settings contradict one another or the corpus, or the training that is to go on was begun with
            others.
        OutputError: Something could not be written, the best model so far stands; or another process trains in `out`.
        DivergedError: The loss became infinite before any epoch was good.
        KeyboardInterrupt: Ctrl-C before there was a model.
    """
    started = time.monotonic()
    config = fit_to_corpus(config, corpus)
    with unfinished(out):
        begun = reopen(out, config, progress=progress) if resume else None
        dataset = load_training(corpus, config, cache=cache, workers=workers, progress=progress)
        split = make_split(dataset, config.split)
        scales = learn_scales(dataset, split.train, given=config.train.dimension_scale)
        lineage = open_lineage(config, dataset, split)
        write_json(out / "environment.json", describe_environment())
        warnings = [*corpus.warnings, *split.warnings, *scales.warnings]
        in_every_epoch, _ = drawn_apart(dataset, split.train, config.train)
        dataset = with_degraded_copies(
            dataset, in_every_epoch, config.augment, cache=cache, workers=workers, progress=progress
        )
        n_done = begun.state["epoch"] if begun is not None else 0
        about = describe_run(out, config, dataset, group=trackers.group, resumed=resume, n_done=n_done)
        with follow(trackers, about, progress=progress) as following:
            history, following.interrupted = fit(
                dataset,
                split,
                config,
                out,
                scales=scales,
                begun=begun,
                lineage=lineage,
                following=following,
                progress=progress,
            )
            # Not before: where an earlier run stands in this folder and this one dies, the settings must not belie its
            # model.
            write_text(out / CONFIG_FILE, tomli_w.dumps(config.to_dict()))
            judgement = finish(
                corpus, dataset, split, config, out, history, scales=scales, lineage=lineage, progress=progress
            )
            following.judged(judgement.report, judgement.plots, part=split.judging()[0], model=out / MODEL_FOLDER)
        if not following.interrupted:
            mark_finished(out)
    return TrainResult(
        run=out,
        judgement=judgement,
        judged_on=split.judging()[0],
        failed=dataset.failed,
        warnings=tuple(warnings),
        interrupted=following.interrupted,
        seconds=time.monotonic() - started,
    )


def is_finished(run: Path, corpus: Corpus, config: RunConfig) -> bool:
    """Tell whether a run folder holds a training that has come to its end.

    Raises:
        SettingsError: It does, with other settings than these.
    """
    if is_unfinished(run):
        return False
    try:
        settings = read_toml(run / CONFIG_FILE)
        finished = bool(open_bundle(run).info.metrics)
    except EmogramError:
        return False
    if finished:
        refuse_other_settings(run, settings, fit_to_corpus(config, corpus))
    return finished


def fit_to_corpus(config: RunConfig, corpus: Corpus) -> RunConfig:
    """Return the settings with which a corpus of pictures can be trained on; those for sound as they are.

    Raises:
        SettingsError: The network wants what pictures do not have.
    """
    if corpus.kind == "audio":
        return config
    if config.spectrogram.utterance_features:
        raise SettingsError(
            f"network '{config.network.network}' takes utterance features, which pictures do not have; "
            "train it on sound"
        )
    made_with = read_picture_config(corpus.root)
    size = config.spectrogram.picture_size
    if made_with is not None and made_with.picture_size == size:
        return config.model_copy(update={"spectrogram": made_with})
    return config.model_copy(update={"spectrogram": SpectrogramConfig(kind="picture", picture_size=size)})


def load_training(
    corpus: Corpus,
    config: RunConfig,
    *,
    cache: Path | None = None,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Dataset:
    """Load all clips of a corpus that can train what is to be learnt; see `load_dataset`.

    Raises:
        CorpusError: Nothing in the corpus could be used, or it tells none of the dimensions that are to be learnt.
        SettingsError: A dimension has the name of a label or of a column of the tables.
    """
    wanted = config.train
    dimensions = () if wanted.targets == "classes" else find_dimensions(corpus.clips, wanted.dimensions)
    taken = {*corpus.labels, *PREDICTION_COLUMNS, *TIME_COLUMNS, *EXTRA_COLUMNS, *SEGMENT_COLUMNS}.intersection(
        dimensions
    )
    if taken:
        raise SettingsError(
            f"dimension '{min(taken)}' has the name of a label or of a column of the tables; give it another"
        )
    return load_dataset(
        corpus,
        config.spectrogram,
        labels=() if wanted.targets == "dimensions" else None,
        dimensions=dimensions,
        cache=cache,
        workers=workers,
        progress=progress,
    )


def fit(
    dataset: Dataset,
    split: Split,
    config: RunConfig,
    out: Path,
    *,
    scales: Scales = NO_SCALES,
    begun: Checkpoint | None = None,
    lineage: Lineage = NOTHING_BEFORE,
    also: Sequence[keras.callbacks.Callback] = (),
    following: Following | None = None,
    progress: Progress = SILENT,
) -> tuple[History, bool]:
    """Train on one part, choose on another, and leave the best epoch in `out/model/best.keras`.

    Weights are those of the model to start from, see `pretraining.take_over`; without one they are random. What goes on
    from a checkpoint, `begun`, takes all from there. Dimensions are learnt on the `scales` of a dataset that has them.
    Callbacks of `also` are told of each epoch with its validation.

    Returns:
        The history, and whether Ctrl-C ended it early.
    """
    settings = config.train
    n_devices = device_count(settings.devices)
    precision = computed_in(settings.precision)
    if begun is not None:
        precision = begun.about["precision"]  # "auto" may be another on this machine
    about = describe_training(dataset, split, config, lineage, precision=precision, n_devices=n_devices)
    checkpoints = Checkpoints(out / CHECKPOINTS_FOLDER)
    if begun is None:
        checkpoints.clear()
    else:
        refuse_another(out, begun.about, about, progress=progress)
    keras.backend.clear_session()
    keras.utils.set_random_seed(settings.seed)
    shapes = input_shapes(config.spectrogram)
    learnt = with_labels_apart(dataset, settings)
    heads = Heads(len(learnt.labels), len(learnt.dimensions))
    values = scales.unit(dataset).astype(np.float32) if dataset.dimensions else None
    keeps_kernels = config.network.random_kernels and lineage.start is not None
    if config.solves and not keeps_kernels:
        left_out_groups(dataset, split.train, config.network.kernel_left_out)  # refused before anything is trained
    build = partial(
        build_network,
        shapes,
        config=config.network,
        n_dimensions=heads.n_dimensions,
        beside_kernels=keeps_kernels,
    )
    twin = build(n_labels=len(dataset.labels))
    if lineage.start is not None:
        stays = settings.freeze_normalization or settings.trunk_rate == 0.0
        take_over(lineage.start, twin, dataset.labels, dataset.dimensions, normalization_stays=stays)
    batches = TrainingBatches(
        learnt,
        split.train,
        train=settings,
        augmentation=config.augment,
        n_devices=n_devices,
        values=values,
        teach=Teachers(lineage.teachers).answer if lineage.teachers else None,
        n_taught=len(dataset.labels),
    )

    def solve_it(network: keras.Model) -> Solution:
        return solve(
            network,
            dataset,
            split.train,
            weights=clip_weights(dataset, split.train, settings),
            seed=settings.seed,
            left_out=config.network.kernel_left_out,
            share=config.network.kernel_share,
            progress=progress,
        )

    at_once = config.network.network in SOLVED_NETWORKS
    solution = solve_it(twin) if at_once and begun is None else None
    with computing_in(precision), sharing(n_devices):
        network = faster(side_by_side(build(n_labels=heads.n_labels)))
    found = [features for index in split.train if (features := dataset.samples[index].features) is not None]
    if found:
        adapt_features(twin, np.stack(found))
    with sharing(n_devices):
        network.set_weights(widened(twin.get_weights(), network))
        if found:  # the layer keeps a copy of what it learnt, which set_weights does not renew
            adapt_features(network, np.stack(found))
        leave_alone(network, settings)
        network.compile(
            optimizer=make_optimizer(settings, steps_per_epoch=len(batches), precision=precision),
            loss=training_loss(
                heads, label_smoothing=settings.label_smoothing, dimension_weight=settings.dimension_weight
            ),
            metrics=training_metrics(heads),
            # JAX left to itself does one operation at a time; on the others a compiler costs more than it brings.
            jit_compile=keras.backend.backend() == "jax",
        )
    if begun is None and following is not None:
        tell_examples(following, batches, learnt, split.train, out / PLOTS_FOLDER)
    keep = KeepBest(twin, out / MODEL_FOLDER / KERAS_FILE, monitor=settings.monitor)
    interrupted = False
    n_epochs = 1 if at_once else settings.epochs
    n_done, step = 0, 0
    if begun is not None:
        n_done, step = begun.state["epoch"], begun.state["step"]
        within = f" and step {step} of {batches.n_steps}" if step else ""
        progress.say(f"going on after epoch {n_done} of {n_epochs}{within}")
    left = (n_epochs - n_done) * batches.n_clips - batches.clips_of(step)
    record = Record(out / "history.csv", following)
    with progress.task("training", left) as task:
        callbacks = [
            *([KernelsStay()] if keeps_kernels else []),
            Validate(
                twin,
                dataset,
                split.validation,
                weight_average=settings.weight_average,
                values=values,
                dimension_weight=settings.dimension_weight,
            ),
            keep,
            *schedule_callbacks(settings),
            *hard_class_callbacks(batches, learnt.labels, config),
            record,
            keras.callbacks.TerminateOnNaN(),
            *also,
        ]
        save = Save(checkpoints, about, batches, callbacks, begun=begun)
        tell = Tell(task, progress, batches=batches, n_epochs=n_epochs, keep=keep)
        try:
            with without_denormals(), sharing(n_devices):
                if solution is not None:
                    logs = {"loss": solution.nll, "accuracy": solution.accuracy}
                    fit_at_once(network, batches, [*callbacks, save, tell], logs=logs)
                else:
                    fit_on(network, batches, [*callbacks, save, tell], epochs=n_epochs)
        except KeyboardInterrupt:
            if keep.best_epoch is None:
                raise
            interrupted = True
            progress.say("stopped by Ctrl-C; the best model so far is being sealed and judged")
    if keep.best_epoch is None:
        raise DivergedError("the loss became infinite before any epoch was good; lower the learning rate and try again")
    if config.network.random_kernels and not at_once and not keeps_kernels:
        join_kernels(out / MODEL_FOLDER / KERAS_FILE, config.network, shapes.n_periodicity, solve_it)
    return record.history, interrupted


def finish(
    corpus: Corpus,
    dataset: Dataset,
    split: Split,
    config: RunConfig,
    out: Path,
    history: History,
    *,
    scales: Scales = NO_SCALES,
    lineage: Lineage = NOTHING_BEFORE,
    progress: Progress = SILENT,
) -> Judgement:
    """Export the best epoch, calibrate it on the validation part, judge it on the test part, and seal it."""
    folder = out / MODEL_FOLDER
    best = keras.saving.load_model(folder / KERAS_FILE, compile=False)
    groups = dataset.same_length_groups(split.validation, most=4)
    export_onnx(best, folder / ONNX_FILE, samples=[dataset.inputs(split.validation[group]) for group in groups])
    info = describe_model(corpus, dataset, split, config, scales=scales, lineage=lineage)
    write_known_clips(folder, known_clips(dataset, split, lineage))
    classifier = Classifier(seal(folder, info, model_card(info)))
    write_familiar(folder, classifier, dataset, split, seed=config.train.seed)
    calibration = calibrate(classifier, dataset, split, target_error=config.train.target_error)
    part, indices = split.judging()
    answers = clip_answers(classifier, dataset, indices, progress=progress)
    temperature = calibration.get("temperature", 1.0)
    judged = soften(answers.probabilities, temperature) if dataset.labels else answers.probabilities
    values = None
    if dataset.dimensions:
        values = DimensionValues(dataset.dimensions, scales.as_told(dataset)[indices], answers.values)
    protocol = info.protocol
    if part == "validation":
        protocol += "; judged on the validation part, which also chose the epoch and the calibration"
    judgement = judge_clips(
        [dataset.clips[index] for index in indices],
        judged,
        dataset.labels,
        out,
        protocol=protocol,
        history=history,
        temperature=temperature,
        threshold=calibration.get("abstain_threshold", 0.0),
        allowed_leaks=split.allowed_leaks,
        values=values,
    )
    report = judgement.report
    final = info.model_copy(update={**calibration, "protocol": protocol, "metrics": dict(report.metrics)})
    seal(folder, final, model_card(final, report=report))
    return judgement


def calibrate(classifier: Classifier, dataset: Dataset, split: Split, *, target_error: float) -> dict[str, Any]:
    """Return what `model.json` says of how sure a model is, learnt on the validation part; nothing without labels."""
    if not dataset.labels:
        return {}
    raw = clip_probabilities(classifier, dataset, split.validation)
    targets = dataset.targets[split.validation]
    speakers = speakers_of([dataset.clips[index] for index in split.validation])
    temperature = fit_temperature(raw, targets, speakers=speakers)
    abstention = choose_threshold(soften(raw, temperature), targets, target_error=target_error)
    return {
        "temperature": temperature,
        "abstain_threshold": abstention.threshold,
        "target_error": target_error,
        "answered_error": abstention.error,
        "unsure_share": abstention.unsure_share,
        "mean_log_probabilities": mean_log_probabilities(soften(raw, temperature), targets),
    }


def write_familiar(folder: Path, classifier: Classifier, dataset: Dataset, split: Split, *, seed: int) -> None:
    """Write what the model knows into its bundle, which is to be sealed again; see `familiar`."""
    kept = np.random.default_rng(seed).permutation(split.train)[:N_KEPT]
    familiar = learn_familiar(
        clip_embeddings(classifier, dataset, kept), clip_embeddings(classifier, dataset, split.validation)
    )
    with writing(folder / FAMILIAR_FILE) as temporary:
        temporary.write_bytes(familiar.to_bytes())


def known_clips(dataset: Dataset, split: Split, lineage: Lineage) -> dict[str, set[str]]:
    """Return the hashes of the clips that trained and chose a model, and those before it."""
    before = known_before(lineage)
    return {
        name: {dataset.samples[index].content for index in split.parts[name]} | before[name]
        for name in ("train", "validation")
    }


def describe_model(
    corpus: Corpus,
    dataset: Dataset,
    split: Split,
    config: RunConfig,
    *,
    scales: Scales = NO_SCALES,
    lineage: Lineage = NOTHING_BEFORE,
) -> ModelInfo:
    """Return what `model.json` says before the model was calibrated and judged."""
    shapes = input_shapes(config.spectrogram)
    trained_on = []
    for name in sorted({dataset.clips[index].corpus for index in split.train}):
        indices = np.asarray([index for index in split.train if dataset.clips[index].corpus == name])
        speakers = {dataset.clips[index].speaker for index in indices} - {None}
        trained_on.append(
            TrainingCorpus(
                corpus=name or corpus.name,
                n_clips=len(indices),
                n_speakers=len(speakers) or None,
                content_hash=dataset.content_hash(indices),
                licence=corpus.licences.get(name, UNKNOWN_LICENCE),
            )
        )
    network = config.network.to_dict()
    return ModelInfo(
        labels=dataset.labels,
        dimensions=scales.told,
        spectrogram=dataset.spectrogram,
        network={"name": network.pop("network"), **network},
        input_shape=shapes.spectrogram,
        inputs=("spectrogram", "features") if shapes.n_features else ("spectrogram",),
        trained_on=(*trained_on, *corpora_before(lineage, trained_on)),
        **describe_origins(lineage),
        split=describe_split(dataset, split, config.split),
        protocol=split.protocol + says_lineage(lineage),
        seed=config.train.seed,
        created=datetime.datetime.now(datetime.UTC).date().isoformat(),
    )


def input_shapes(config: SpectrogramConfig) -> InputShapes:
    """Return what a network is given under some settings."""
    n_features = N_FEATURES if config.utterance_features else 0
    return InputShapes(config.input_shape(), n_features, config.periodicity_bands)


def schedule_callbacks(settings: TrainConfig) -> list[keras.callbacks.Callback]:
    """Return the callbacks that lower the learning rate or end the training early."""
    callbacks: list[keras.callbacks.Callback] = []
    if settings.schedule == "plateau":
        callbacks.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor="val_loss", factor=settings.plateau_factor, patience=settings.plateau_patience, verbose=0
            )
        )
    if settings.early_stop_patience:
        mode = "min" if settings.monitor.endswith("loss") else "max"
        callbacks.append(
            keras.callbacks.EarlyStopping(
                monitor=settings.monitor, mode=mode, patience=settings.early_stop_patience, verbose=0
            )
        )
    return callbacks


def hard_class_callbacks(
    batches: TrainingBatches, labels: tuple[str, ...], config: RunConfig
) -> list[keras.callbacks.Callback]:
    """Set stronger augmentation for the classes that are named, or return the callback that finds them."""
    names, strength = config.augment.hard_classes, config.augment.hard_class_strength
    if not labels:
        return []
    if AUTO in names:
        return [EmphasizeHard(batches, labels, strength=strength)]
    # A name that the corpus does not have is no fault: recipes name classes of the eight.
    batches.strength_of_label = np.asarray([strength if label in names else 1.0 for label in labels], dtype=np.float32)
    return []


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Build layers that compute in `precision`: "float32", "bfloat16", or "auto", see `fast_precision`."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if computed_in(precision) == "bfloat16" else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def computed_in(precision: str) -> str:
    """Return "float32" or "bfloat16" for a setting that may be "auto"."""
    return fast_precision() if precision == "auto" else precision


def fast_precision() -> str:
    """Return "bfloat16" where this processor is faster in it, else "float32", of which all are capable."""
    try:
        return faster_of(Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace"))
    except OSError:
        return "float32"


def faster_of(processor: str) -> str:
    """Tell by its description in Linux in which precision a processor trains faster.

    AMD multiplies twice as many numbers at once in bfloat16 as in single precision, and Intel's matrix unit more than
    that. Without that unit, Intel is no faster in bfloat16, and turning numbers from one into the other costs time:
    `emonet` then trains 1.35 times as fast in single precision (docs/performance.md).
    """
    has_matrices = "amx_bf16" in processor
    has_products = "avx512_bf16" in processor and "AuthenticAMD" in processor
    return "bfloat16" if has_matrices or has_products else "float32"


def describe_environment() -> dict[str, object]:
    """Return what a run depends on beside its settings: versions, machine, back end."""
    packages = ("numpy", "scipy", "soundfile", "soxr", "onnxruntime", "keras", "torch", "tensorflow", "jax", "onnx")
    versions = {}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "emogram": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "keras_backend": keras.backend.backend(),
        "fast_precision": fast_precision(),
        "packages": versions,
    }

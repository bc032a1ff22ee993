"""A sealed model and a corpus, or stored predictions -> how good the model is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emogram import leaks
from emogram.adapt import ADAPTED, adapt_voices
from emogram.adapted import voices_of
from emogram.bundle import CLIP_DIGITS, ModelInfo, open_bundle
from emogram.classifier import Classifier
from emogram.config import SpectrogramConfig
from emogram.corpora import Corpus
from emogram.dataset import Dataset, Indices, load_dataset
from emogram.dimensions import NO_SCALES, numbers_of, scales_of
from emogram.errors import CorpusError, ModelError, SettingsError
from emogram.judging import Judgement, clip_answers, judge_clips, judge_seeds
from emogram.metrics import DimensionValues
from emogram.nearby import unknown
from emogram.predictions import averaged, in_one_order, read_predictions
from emogram.progress import SILENT, Progress
from emogram.records import Clip, Report, speakers_of

PARTS = ("all", "test", "validation")


@dataclass(frozen=True)
class EvaluateResult:
    """What an evaluation gave.

    Attributes:
        report: The figures.
        out: Folder of `metrics.json`, `predictions.csv` and `plots/`.
        failed: Clips that could not be used, and why.
        warnings: What the reader should know, such as voices that the model was trained on.
        plots: Files drawn.
    """

    report: Report
    out: Path
    failed: tuple[tuple[Clip, str], ...]
    warnings: tuple[str, ...]
    plots: tuple[Path, ...]


def evaluate(
    model: Path,
    corpus: Corpus,
    out: Path,
    *,
    part: str = "all",
    allow_leaks: bool = False,
    shifts: int = 1,
    adapt: bool = False,
    dimension_scale: Sequence[float] = (),
    cache: Path | None = None,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> EvaluateResult:
    """Judge a model on a corpus.

    Args:
        model: Bundle or run folder.
        corpus: Labelled clips. Labels that the model does not know are left out and named.
        out: Folder for the results.
        part: "all" clips, or those of the speakers that the model's own split set aside: "test" or "validation".
        allow_leaks: Judge also on recordings that the model was trained on; the report then says so.
        shifts: Number of shifts in time that every answer is averaged over; see `Classifier.load`.
        adapt: Adapt the answers to each speaker; see adapt.py. The report says so, since the figure is then another.
        dimension_scale: Both ends of the scale of a corpus that is not known to have one, where it is another than that
            of the model, which tells dimensions.
        cache: Folder that keeps model inputs; None keeps none.
        workers: Number of processes that read clips.
        progress: Is told how far it is.

    Raises:
        ModelError: The model was refused, does not take this kind of corpus, or cannot be adapted.
        CorpusError: Nothing in the corpus could be used, or the model was trained on recordings of it and that is not
            allowed.
        SettingsError: `part` is unknown, or the model's split set no such speakers aside; or it is to adapt to
            speakers who are unknown.
    """
    if part not in PARTS:
        raise SettingsError(unknown("part", part, PARTS))
    bundle = open_bundle(model)
    classifier = Classifier(bundle, shifts=shifts)
    info = classifier.info
    config = input_settings(info, corpus)
    dataset = load_dataset(
        corpus,
        config,
        labels=info.labels,
        dimensions=_dimensions_judged(info, corpus),
        cache=cache,
        workers=workers,
        progress=progress,
    )
    scales = scales_of(dataset, info.dimensions, given=dimension_scale) if dataset.dimensions else NO_SCALES
    indices = part_of(dataset, info, part)
    clips = [dataset.clips[index] for index in indices]
    known = bundle.known_clips()
    # Speaker "01" of another corpus is another person.
    heard = leaks.heard_speakers([clip.voice for clip in clips], info.heard("train"))
    contents = [dataset.samples[index].content[:CLIP_DIGITS] for index in indices]
    warnings, allowed = leaks.guard([*heard, *leaks.heard_recordings(clips, contents, known or {})], allow=allow_leaks)
    if known is None and any(corpus.n_clips for corpus in info.trained_on):
        warnings += ("the model does not list its training clips, so that whether it knows these cannot be told",)
    protocol = info.protocol if part == "test" else f"{part} clips of {corpus.name}"
    if heard:
        protocol += f"; {heard[0].found}"
    if adapt and any(clip.speaker is None for clip in clips):
        raise SettingsError(
            "the speakers of some clips are unknown, so answers cannot be adapted to them; leave --adapt"
        )
    if shifts > 1:
        protocol += f"; averaged over {shifts} shifts in time"
    answers = clip_answers(classifier, dataset, indices, progress=progress)
    probabilities = answers.probabilities
    if adapt:
        protocol += f"; {ADAPTED}"
        probabilities = adapt_voices(probabilities, voices_of(clips, corpus.root), classifier.reference())
    judgement = judge_clips(
        clips,
        probabilities,
        info.labels,
        out,
        protocol=leaks.with_allowed(protocol, allowed),
        temperature=info.temperature,
        threshold=info.abstain_threshold,
        allowed_leaks=allowed,
        values=(
            DimensionValues(dataset.dimensions, scales.as_told(dataset)[indices], answers.values)
            if dataset.dimensions
            else None
        ),
    )
    told = (*corpus.warnings, *scales.warnings, *warnings)
    return EvaluateResult(judgement.report, out, dataset.failed, told, judgement.plots)


def _dimensions_judged(info: ModelInfo, corpus: Corpus) -> tuple[str, ...]:
    """Return the dimensions of a model, if the corpus has numbers for any; of a model of nothing else always.

    Raises:
        CorpusError: The model tells nothing else, and the corpus has no number for it.
    """
    names = tuple(dimension.name for dimension in info.dimensions)
    if np.isfinite(numbers_of(corpus.clips, names)).any():
        return names
    if not info.labels:
        raise CorpusError(
            f"{corpus.root}: has no number for {' or '.join(names)}, which is all that this model tells; a manifest "
            "tells them in columns of these names"
        )
    return ()


def evaluate_predictions(paths: Sequence[Path], out: Path, *, ensemble: bool = False) -> Judgement:
    """Judge stored predictions again, without model or corpus.

    Args:
        paths: CSV files, as `predictions.read_predictions` takes them: several seeds, in one file or in several.
        out: Folder for the results.
        ensemble: Judge the mean of the probabilities of all seeds and files for each clip, instead of each seed.

    Raises:
        InputError: A file is missing or holds no predictions of labelled clips, or they are not of the same clips.
    """
    said = read_predictions(paths)
    return judge_seeds([averaged(said)] if ensemble else in_one_order(said), out)


def input_settings(info: ModelInfo, corpus: Corpus) -> SpectrogramConfig:
    """Return how the clips of a corpus become input of a model.

    Raises:
        ModelError: The model does not take this kind of corpus.
    """
    config = info.spectrogram
    if corpus.kind == "audio":
        if config is None:
            raise ModelError(
                "this model was trained on pictures made elsewhere and cannot turn sound into them; give it a corpus "
                "of such pictures"
            )
        return config
    if config is not None and (config.kind != "picture" or config.utterance_features):
        raise ModelError("this model listens to sound, and the corpus is of pictures; give it the corpus of sound")
    return config or SpectrogramConfig(kind="picture", picture_size=int(info.input_shape[0] or 0))


def part_of(dataset: Dataset, info: ModelInfo, part: str) -> Indices:
    """Return all clips, or those of the speakers that the model's own split put into a part.

    Args:
        dataset: The corpus.
        info: The model.
        part: "all", "train", "validation" or "test".

    Raises:
        SettingsError: The model's split set no such speakers aside.
        CorpusError: None of them is in the dataset.
    """
    everything = np.arange(len(dataset))
    if part == "all":
        return everything
    wanted = _speakers_of_part(info, part)
    if not wanted or (part != "train" and wanted & _speakers_of_part(info, "train")):
        raise SettingsError(f"this model's split set no {part} speakers aside; judge it on all clips of a new corpus")
    speakers = _speakers_as_in_split(dataset, info)
    chosen = everything[[speaker in wanted for speaker in speakers]]
    if not len(chosen):
        raise CorpusError(f"no clips of the model's {part} speakers {', '.join(sorted(wanted))} in this corpus")
    return chosen


def _speakers_of_part(info: ModelInfo, part: str) -> set[str]:
    return set(info.split.get(f"{part}_speakers", ()))


def _speakers_as_in_split(dataset: Dataset, info: ModelInfo) -> list[str | None]:
    """Return the speaker of each clip as the model's split names it: after its corpus where that parted several."""
    if len(info.split.get("corpora", ())) < 2:
        return speakers_of(dataset.clips)
    return [clip.voice for clip in dataset.clips]

"""A sealed model and a corpus -> how good the model is on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emogram.bundle import ModelInfo
from emogram.classifier import Classifier
from emogram.config import SpectrogramConfig
from emogram.corpora import Corpus
from emogram.dataset import Dataset, Indices, load_dataset
from emogram.errors import CorpusError, ModelError, SettingsError
from emogram.judging import clip_probabilities, judge_clips
from emogram.progress import SILENT, Progress
from emogram.records import Clip, Report
from emogram.splits import speakers_of

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
        cache: Folder that keeps model inputs; None keeps none.
        workers: Number of processes that read clips.
        progress: Is told how far it is.

    Raises:
        ModelError: The model was refused, or does not take this kind of corpus.
        CorpusError: Nothing in the corpus could be used.
        SettingsError: `part` is unknown, or the model's split set no such speakers aside.
    """
    if part not in PARTS:
        raise SettingsError(f"part '{part}'; expected one of {', '.join(PARTS)}")
    classifier = Classifier.load(model)
    info = classifier.info
    config = input_settings(info, corpus)
    dataset = load_dataset(corpus, config, labels=info.labels, cache=cache, workers=workers, progress=progress)
    indices = part_of(dataset, info, part)
    heard = info.heard("train")
    clips = [dataset.clips[index] for index in indices]
    # Speaker "01" of another corpus is another person.
    n_heard = sum(f"{clip.corpus}/{clip.speaker}" in heard for clip in clips)
    warnings = list(corpus.warnings)
    protocol = info.protocol if part == "test" else f"{part} clips of {corpus.name}"
    if n_heard:
        warnings.append(
            f"{n_heard} of {len(indices)} clips are of speakers that this model was trained on, so the figure is "
            "inflated"
        )
        protocol += f", {n_heard / len(indices):.0%} of them of speakers heard in training"
    judgement = judge_clips(
        clips,
        clip_probabilities(classifier, dataset, indices, progress=progress),
        info.labels,
        out,
        protocol=protocol,
        temperature=info.temperature,
        threshold=info.abstain_threshold,
    )
    return EvaluateResult(judgement.report, out, dataset.failed, tuple(warnings), judgement.plots)


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
    """Return all clips, or those of the speakers that the model's own split set aside; see `evaluate`.

    Raises:
        SettingsError: The model's split set no such speakers aside.
        CorpusError: None of them is in the dataset.
    """
    everything = np.arange(len(dataset))
    if part == "all":
        return everything
    wanted = _speakers_of_part(info, part)
    if not wanted or wanted & _speakers_of_part(info, "train"):
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
    return [f"{clip.corpus}/{clip.speaker}" if clip.speaker else None for clip in dataset.clips]

"""Models and the clips that judge them, degraded -> what each condition costs: PROTOCOLS.md, P5."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emogram import metrics, plots
from emogram.bundle import ModelInfo
from emogram.classifier import Classifier, Probabilities
from emogram.copies import Wanted, degraded_samples
from emogram.corpora import Corpus
from emogram.dataset import Dataset, Indices, Sample, load_dataset
from emogram.degrade import CONDITIONS
from emogram.errors import CorpusError, EmogramError, ModelError, SettingsError
from emogram.evaluate import input_settings, part_of
from emogram.files import write_json
from emogram.judging import clip_probabilities
from emogram.nearby import unknown
from emogram.progress import SILENT, Progress
from emogram.records import Clip, ConditionScore, speakers_of
from emogram.writers import write_conditions

CLEAN = "clean"
TABLE_FILE = "robustness.csv"
FIGURES_FILE = "robustness.json"
PLOT_FILE = "robustness.png"

# Condition -> calibrated probabilities, shape (n_clips, n_labels).
Answers = dict[str, Probabilities]


@dataclass(frozen=True)
class RobustnessResult:
    """What degraded sound costs.

    Attributes:
        scores: Of each condition, the clean one first.
        protocol: What must stand beside the figures.
        n_models: Number of models judged.
        n_clips: Number of clips, each judged once a seed and condition.
        out: Folder: `robustness.csv`, `robustness.json`, `robustness.png`.
        failed: Clips that could not be used, and why.
        warnings: What the reader should know.
        seconds: How long it took.
    """

    scores: tuple[ConditionScore, ...]
    protocol: str
    n_models: int
    n_clips: int
    out: Path
    failed: tuple[tuple[Clip, str], ...]
    warnings: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain dicts and lists, ready for JSON."""
        return {
            "protocol": self.protocol,
            "n_models": self.n_models,
            "n_clips": self.n_clips,
            "conditions": [asdict(score) for score in self.scores],
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class _Group:
    """Models that are judged on the same clips, by seed; `says` what these are to them."""

    says: str
    indices: Indices
    by_seed: Mapping[int, Classifier]


def robustness(
    models: Path,
    corpus: Corpus,
    out: Path,
    *,
    conditions: Sequence[str] = tuple(CONDITIONS),
    cache: Path | None = None,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> RobustnessResult:
    """Judge a model, or all of a cross-validation, on clean and on degraded clips.

    A model is judged on the speakers that its own split set aside for tests, or where there are none on those that
    chose it; on a corpus that it never saw, on all clips. The folds of a cross-validation are pooled, and its seeds
    averaged. Babble is made of the other speakers that judge the same model, so that it knows none of the voices.

    Args:
        models: A bundle, a run folder, or the folder of a cross-validation.
        corpus: Labelled clips of sound.
        out: Folder for the results.
        conditions: Names in `degrade.CONDITIONS`.
        cache: Folder that keeps model inputs, the degraded ones as well; None keeps none.
        workers: Number of processes that degrade clips.
        progress: Is told how far it is.

    Raises:
        SettingsError: A condition is unknown, the models do not go together, or the corpus is of pictures.
        ModelError: A model was refused.
        CorpusError: Nothing in the corpus could be used.
    """
    started = time.monotonic()
    strange = [name for name in conditions if name not in CONDITIONS]
    if strange:
        raise SettingsError(unknown("condition", strange[0], CONDITIONS))
    by_name = {name: (seed, Classifier.load(path)) for name, (seed, path) in find_models(models).items()}
    info = _shared_info(by_name)
    dataset = load_dataset(
        corpus, input_settings(info, corpus), labels=info.labels, cache=cache, workers=workers, progress=progress
    )
    groups, warnings = _groups(dataset, by_name)
    speakers = speakers_of(dataset.clips)
    if any(len({speakers[index] or f"of clip {index}" for index in group.indices}) < 2 for group in groups):
        kept = [name for name in conditions if CONDITIONS[name].kind != "babble"]
        if len(kept) < len(conditions):
            warnings.append("no babble: it is made of other speakers' clips, and there is only one speaker")
        conditions = kept
    answers: dict[int, list[Answers]] = {}
    n_inputs = sum(len(group.indices) for group in groups) * (1 + len(conditions))
    with progress.task("judging degraded clips", n_inputs) as task:
        for group in groups:
            found = _answers(dataset, group, conditions, cache=cache, workers=workers, advance=task.advance)
            for seed, of_seed in found.items():
                answers.setdefault(seed, []).append(of_seed)
    judged = np.concatenate([group.indices for group in groups])
    pooled = [
        {name: np.concatenate([part[name] for part in parts]) for name in (CLEAN, *conditions)}
        for _, parts in sorted(answers.items())
    ]
    result = RobustnessResult(
        scores=tuple(score_conditions(dataset.targets[judged], pooled, [speakers[index] for index in judged])),
        protocol=_says(groups, n_seeds=len(pooled)),
        n_models=len(by_name),
        n_clips=len(judged),
        out=out,
        failed=dataset.failed,
        warnings=(*corpus.warnings, *warnings),
        seconds=time.monotonic() - started,
    )
    write_conditions(out / TABLE_FILE, result.scores)
    write_json(out / FIGURES_FILE, result.to_dict())
    plots.conditions(result.scores, out / PLOT_FILE, title=result.protocol)
    return result


def find_models(path: Path) -> dict[str, tuple[int, Path]]:
    """Return the models that a path stands for: name -> seed and folder.

    Those of a cross-validation (`seed-S/fold-F`), else the path itself under its own name and seed 0.
    """
    folds = sorted(path.glob("seed-*/fold-*"))
    if not folds:
        return {str(path): (0, path)}
    return {
        f"{fold.parent.name}/{fold.name}": (int(fold.parent.name.removeprefix("seed-")), fold)
        for fold in folds
        if fold.is_dir() and fold.parent.name.removeprefix("seed-").isdigit()
    }


def score_conditions(
    targets: npt.ArrayLike, seeds: Sequence[Answers], speakers: Sequence[str | None]
) -> list[ConditionScore]:
    """Judge each condition and compare it with the clean one, on the same speakers drawn.

    Args:
        targets: Class indices, shape (n_clips,).
        seeds: What the models of each seed say; the first condition is the clean one.
        speakers: The speaker of each clip; None where unknown, then the clip is drawn by itself.
    """
    truth = np.asarray(targets)
    names = list(seeds[0])
    resampled = [metrics.resample_speakers(truth, [of[name] for name in names], speakers) for of in seeds]
    drawn = {name: np.mean([of[place]["uar"] for of in resampled], axis=0) for place, name in enumerate(names)}
    by_seed = {name: [metrics.uar(truth, of[name]) for of in seeds] for name in names}
    uars = {name: statistics.fmean(values) for name, values in by_seed.items()}
    clean = names[0]
    return [
        ConditionScore(
            condition=name,
            uar=uars[name],
            interval=metrics.interval(drawn[name]),
            loss=uars[clean] - uars[name],
            loss_interval=metrics.interval(drawn[clean] - drawn[name]),
            accuracy=statistics.fmean(metrics.accuracy(truth, of[name]) for of in seeds),
            per_seed=tuple(by_seed[name]),
        )
        for name in names
    ]


def _shared_info(by_name: Mapping[str, tuple[int, Classifier]]) -> ModelInfo:
    (first, (_, classifier)), *others = by_name.items()
    for name, (_, other) in others:
        if (other.labels, other.info.spectrogram) != (classifier.labels, classifier.info.spectrogram):
            raise SettingsError(
                f"{name} has other labels or another spectrogram than {first}; judge them one at a time"
            )
    classifier.require_labels("judged on degraded clips")
    if classifier.info.spectrogram is None:
        raise ModelError("this model takes pictures made elsewhere, and sound is what can be degraded")
    return classifier.info


def _groups(dataset: Dataset, by_name: Mapping[str, tuple[int, Classifier]]) -> tuple[list[_Group], list[str]]:
    """Put models together that are judged on the same clips, so that these are degraded once."""
    by_clips: dict[tuple[str, tuple[int, ...]], dict[int, Classifier]] = {}
    warnings = []
    for name, (seed, classifier) in by_name.items():
        says, indices, flatters = _judging(dataset, classifier.info)
        if flatters:
            warnings.append(f"{name}: judged on {says}; the figures are inflated")
        by_clips.setdefault((says, tuple(map(int, indices))), {})[seed] = classifier
    groups = [_Group(says, np.asarray(clips), models) for (says, clips), models in sorted(by_clips.items())]
    seeds = {tuple(sorted(group.by_seed)) for group in groups}
    if len(seeds) > 1:
        raise SettingsError("not every seed has a model of every fold; let the cross-validation finish")
    judged = np.concatenate([group.indices for group in groups])
    if len(set(judged.tolist())) < len(judged):
        raise SettingsError("some clips would be judged by models of two folds; these are no folds of one protocol")
    return groups, warnings


def _judging(dataset: Dataset, info: ModelInfo) -> tuple[str, Indices, bool]:
    """Return what clips to judge a model on, in words and as indices, and whether that flatters it."""
    names = sorted({clip.corpus for clip in dataset.clips})
    # Speaker "01" of another corpus is another person.
    if not set(names) & {corpus.corpus for corpus in info.trained_on}:
        return f"all clips of {', '.join(names)}", np.arange(len(dataset)), False
    for part, says in (("test", info.protocol), ("validation", "the validation part, which also chose the epoch")):
        try:
            return says, part_of(dataset, info, part), part == "validation"
        except (SettingsError, CorpusError):
            continue  # it set none aside
    return "all clips, some of which it was trained on", np.arange(len(dataset)), True


def _answers(
    dataset: Dataset,
    group: _Group,
    conditions: Sequence[str],
    *,
    cache: Path | None,
    workers: int | None,
    advance: Callable[[int], None],
) -> dict[int, Answers]:
    """Return what the models of a group say under each condition, by seed."""
    clean = dataset.select(group.indices)
    n_clips = len(clean)
    everything = np.arange(n_clips)

    def judged(copy: Dataset) -> dict[int, Probabilities]:
        advance(n_clips)
        return {seed: clip_probabilities(model, copy, everything) for seed, model in group.by_seed.items()}

    answers: dict[int, Answers] = {seed: {CLEAN: given} for seed, given in judged(clean).items()}
    # Noise is the same at each of its levels, which tells the levels apart better.
    wanted = [Wanted(index, CONDITIONS[name], CONDITIONS[name].kind) for name in conditions for index in range(n_clips)]
    made: dict[str, dict[int, Sample]] = {name: {} for name in conditions}
    for position, outcome in degraded_samples(clean, wanted, voices=everything, cache=cache, workers=workers):
        name = conditions[position // n_clips]
        if isinstance(outcome, EmogramError):
            raise outcome
        made[name][position % n_clips] = outcome
        if len(made[name]) == n_clips:  # judged and forgotten: all conditions at once could fill the memory
            samples = made.pop(name)
            copy = replace(clean, samples=tuple(samples[index] for index in range(n_clips)))
            for seed, given in judged(copy).items():
                answers[seed][name] = given
    return {seed: {name: of_seed[name] for name in (CLEAN, *conditions)} for seed, of_seed in answers.items()}


def _says(groups: Sequence[_Group], *, n_seeds: int) -> str:
    n_clips = sum(len(group.indices) for group in groups)
    parts = [
        f"{n_clips} clips, degraded",
        *dict.fromkeys(group.says.partition("; fold ")[0] for group in groups),
        f"{len(groups)} folds pooled" if len(groups) > 1 else "",
        f"mean of {n_seeds} seeds" if n_seeds > 1 else "",
        "noise measured against the active speech level (ITU-T P.56)",
    ]
    return "; ".join(part for part in parts if part)

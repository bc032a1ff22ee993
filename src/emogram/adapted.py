"""The stored predictions of runs -> the same, adapted to each voice, and judged apart. Nothing is predicted again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emogram.adapt import ADAPTED, adapt_voices
from emogram.bundle import open_bundle
from emogram.errors import InputError
from emogram.judging import Judgement, judge_seeds
from emogram.predictions import Predictions, joined_values, read_file
from emogram.records import Clip
from emogram.writers import PREDICTIONS_FILE


def adapt_runs(folder: Path, out: Path) -> Judgement:
    """Adapt the predictions that a cross-validation or a run stored, each fold by what its own model says.

    Args:
        folder: What `emogram crossval` wrote, seed-N/fold-N below it, or one run folder.
        out: Folder for the results.

    Raises:
        InputError: The folder holds no predictions, or the speaker of a clip is unknown.
        ModelError: A model was refused, or does not say what it answers on average.
        OutputError: The results cannot be written.
    """
    runs = sorted(path.parent for path in folder.glob(f"seed-*/fold-*/{PREDICTIONS_FILE}")) or [folder]
    by_seed: dict[int, list[Predictions]] = {}
    for run in runs:
        seed, said = _adapted(run)
        by_seed.setdefault(seed, []).append(said)
    return judge_seeds([_pooled(by_seed[seed]) for seed in sorted(by_seed)], out)


def voices_of(clips: Sequence[Clip], source: object) -> list[str]:
    """Return a name for the voice of each clip, another one in each corpus.

    Args:
        clips: Of known speakers.
        source: Where they are from, for messages.

    Raises:
        InputError: The speaker of a clip is unknown.
    """
    names = [clip.voice for clip in clips if clip.voice is not None]
    if len(names) < len(clips):
        unknown = next(clip.path.name for clip in clips if clip.voice is None)
        raise InputError(f"{source}: the speaker of {unknown} is unknown, so answers cannot be adapted to voices")
    return names


def _adapted(run: Path) -> tuple[int, Predictions]:
    """Return the seed of a run's model, and what it said, adapted; every clip knows the seed."""
    info = open_bundle(run).info
    reference = info.reference(source=run)
    (said,) = read_file(run / PREDICTIONS_FILE)
    if said.labels != info.labels:
        raise InputError(f"{run / PREDICTIONS_FILE}: holds other labels than the model beside it; judge it again")
    voices = voices_of(said.clips, run / PREDICTIONS_FILE)
    probabilities = adapt_voices(said.probabilities, voices, reference)
    adapted = dataclasses.replace(
        said,
        name=f"seed {info.seed}",
        clips=tuple(dataclasses.replace(c, extra={**c.extra, "seed": str(info.seed)}) for c in said.clips),
        probabilities=probabilities,
        abstained=probabilities.max(axis=1) < info.abstain_threshold,
        protocol=f"{ADAPTED}; {said.protocol or info.protocol}",
    )
    return info.seed, adapted


def _pooled(folds: list[Predictions]) -> Predictions:
    """Return the folds of one seed as one."""
    first = folds[0]
    if len(folds) == 1:
        return first
    return dataclasses.replace(
        first,
        clips=tuple(clip for said in folds for clip in said.clips),
        probabilities=np.concatenate([said.probabilities for said in folds]),
        abstained=np.concatenate([said.abstained for said in folds]),
        values=joined_values([said.values for said in folds]),
        protocol=f"{first.protocol}; that is the first of {len(folds)} folds pooled",
        allowed_leaks=tuple(dict.fromkeys(leak for said in folds for leak in said.allowed_leaks)),
    )

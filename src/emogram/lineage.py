"""The models that a training learns from: one whose weights it starts with, others whose answers it learns.

What they have heard must not be judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emogram import leaks
from emogram.bundle import CLIP_DIGITS, Bundle, Origin, TrainingCorpus, open_bundle
from emogram.config import NetworkConfig, RunConfig, Settings
from emogram.dataset import Dataset, Indices
from emogram.errors import CorpusError, ModelError, SettingsError
from emogram.splits import Split

# What may differ: it holds a network back while it learns, and is no part of what it computes.
FREE_SETTINGS = frozenset({"dropout", "block_dropout", "l2"})


@dataclass(frozen=True)
class Lineage:
    """The models that a training learns from.

    Attributes:
        start: The one whose weights it starts with; None: random weights.
        teachers: Those whose answers it learns beside the labels.
    """

    start: Bundle | None = None
    teachers: tuple[Bundle, ...] = ()

    @property
    def models(self) -> tuple[Bundle, ...]:
        """All of them."""
        return (*((self.start,) if self.start else ()), *self.teachers)


def open_lineage(config: RunConfig, dataset: Dataset, split: Split) -> Lineage:
    """Open the models that `config.train` names, and see that this training may learn from them.

    Raises:
        ModelError: One is missing or damaged, or its labels, network or spectrograms are made otherwise; settings are
            named.
        CorpusError: One was trained on speakers who choose or judge here, or chosen by some who judge, or it cannot be
            told.
    """
    start = None
    judging = {"validation": split.validation, "test": split.test}
    if config.train.init is None and (config.train.trunk_rate != 1.0 or config.train.freeze_normalization):
        raise SettingsError(
            "trunk_rate and freeze_normalization hold back what a model has learnt; name the model with --init"
        )
    if config.train.init is not None:
        start = open_bundle(config.train.init)
        _refuse_other_settings(start, "spectrogram", start.info.spectrogram, dataset.spectrogram)
        _refuse_other_settings(start, "network", network_of(start), config.network)
        _refuse_heard(start, ("train", "validation"), dataset, _of_new_voices(config, start, split))
        refuse_recordings(start, dataset, judging)
    teachers = tuple(
        open_bundle(folder) for path in config.train.teachers for folder in _runs_of(path, fold=config.split.fold)
    )
    for teacher in teachers:
        _refuse_teacher(teacher, dataset)
        # The same speakers may have chosen a teacher and choose its pupil, as in the folds of one protocol.
        for known_in, parts in (("train", judging), ("validation", {"test": split.test})):
            _refuse_heard(teacher, (known_in,), dataset, parts)
            refuse_recordings(teacher, dataset, parts, known_in=(known_in,))
    return Lineage(start, teachers)


def refuse_recordings(
    bundle: Bundle,
    dataset: Dataset,
    parts: Mapping[str, Indices],
    *,
    known_in: Sequence[str] = ("train", "validation"),
) -> None:
    """See that a model knows no recording of parts that choose or judge, by the hash of its samples, whatever its name.

    Args:
        bundle: The model.
        dataset: All clips.
        parts: Name -> indices of clips that it must not know.
        known_in: What it must not know them from: its own training, and the choice of its epoch.

    Raises:
        CorpusError: It does.
    """
    known = {part: clips for part, clips in (bundle.known_clips() or {}).items() if part in known_in}
    for part, indices in parts.items():
        clips = [dataset.clips[index] for index in indices]
        contents = [dataset.samples[index].content[:CLIP_DIGITS] for index in indices]
        for leak in leaks.heard_recordings(clips, contents, known):
            raise CorpusError(
                f"{bundle.folder}: of the {part} part, {leak.found}; leave them out, or learn from a model that does "
                "not know them"
            )


def describe_origins(lineage: Lineage) -> dict[str, Any]:
    """Return what `model.json` says of the models that training learnt from: its fields "init" and "teachers"."""
    origins = [
        Origin(
            model_id=bundle.info.model_id,
            sha256=bundle.sha256,
            heard=tuple(sorted(bundle.info.heard("train", "validation"))),
        )
        for bundle in lineage.models
    ]
    n_starts = int(lineage.start is not None)
    return {"init": origins[0] if n_starts else None, "teachers": tuple(origins[n_starts:])}


def corpora_before(lineage: Lineage, own: Iterable[TrainingCorpus]) -> tuple[TrainingCorpus, ...]:
    """Return the corpora that the models know from which training learnt, those clips left out that train it too."""
    known = {(corpus.corpus, corpus.content_hash) for corpus in own}
    found = [] if lineage.start is None else list(lineage.start.info.trained_on)
    for teacher in lineage.teachers:
        found += [one for one in teacher.info.trained_on if (one.corpus, one.content_hash) not in known]
    before = (corpus.model_copy(update={"pretraining": True}) for corpus in found)
    return tuple({corpus.content_hash: corpus for corpus in before}.values())


def known_before(lineage: Lineage) -> dict[str, frozenset[str]]:
    """Return "train" and "validation" -> beginnings of the hashes of clips that the models before know.

    All that the model knows with whose weights training started counts as training.
    """
    trained: set[str] = set()
    chose: set[str] = set()
    if lineage.start is not None:
        trained = trained.union(*(lineage.start.known_clips() or {}).values())
    for teacher in lineage.teachers:
        known = teacher.known_clips() or {}
        trained |= known.get("train", frozenset())
        chose |= known.get("validation", frozenset())
    return {"train": frozenset(trained), "validation": frozenset(chose)}


def says_lineage(lineage: Lineage) -> str:
    """Return what must stand beside a figure of a model that learnt from others; "" where it did not."""
    says = ""
    if lineage.start is not None:
        says += f"; started from a model trained on {_corpora_of([lineage.start])}"
    if lineage.teachers:
        n = len(lineage.teachers)
        says += f"; taught by {n} model{'s' * (n > 1)} trained on {_corpora_of(lineage.teachers)}"
    return says


def _corpora_of(bundles: Sequence[Bundle]) -> str:
    corpora = dict.fromkeys(corpus.corpus for bundle in bundles for corpus in bundle.info.trained_on)
    return ", ".join(corpora) or "unknown corpora"


def _runs_of(path: Path, *, fold: int) -> list[Path]:
    """Return the model that a path names; of a cross-validation those of one fold, one for each seed."""
    return sorted(path.glob(f"seed-*/fold-{fold}")) or [path]


def _refuse_teacher(teacher: Bundle, dataset: Dataset) -> None:
    if teacher.info.labels != dataset.labels:
        raise ModelError(
            f"{teacher.folder}: knows {', '.join(teacher.info.labels) or 'no labels'}, and the corpus has "
            f"{', '.join(dataset.labels)}; a teacher must know the same labels"
        )
    if len(teacher.info.inputs) > 1:
        raise ModelError(f"{teacher.folder}: takes utterance features; a teacher must take the spectrogram alone")
    theirs, mine = teacher.info.spectrogram, dataset.spectrogram
    if theirs is not None and mine is not None and not theirs.periodicity_bands:
        # Of the bands that a pupil is given, a teacher may take the first ones, which show mel alone.
        mine = mine.model_copy(update={"periodicity_bands": 0})
    _refuse_other_settings(teacher, "spectrogram", theirs, mine, learns="its answers cannot be learnt")


def network_of(bundle: Bundle) -> NetworkConfig:
    """Return the network of a model, with its settings.

    Raises:
        ModelError: This version does not know such a network.
    """
    values = dict(bundle.info.network)
    values.pop("convolutions", None)  # in which numbers they compute, once trained; `ship` writes it
    try:
        return NetworkConfig.from_dict({"network": values.pop("name"), **values})
    except SettingsError as error:
        raise ModelError(f"{bundle.folder}: its network is not known here: {error}") from None


def _refuse_other_settings(
    bundle: Bundle,
    what: str,
    theirs: Settings | None,
    mine: Settings | None,
    *,
    learns: str = "training cannot start from this model",
) -> None:
    there, here = (_values(settings) for settings in (theirs, mine))
    differing = [
        f"{name} is {there.get(name)} there and {here.get(name)} here"
        for name in {**there, **here}
        if name not in FREE_SETTINGS and there.get(name) != here.get(name)
    ]
    if differing:
        raise ModelError(
            f"{bundle.folder}: {learns}, its {what} settings differ: "
            f"{'; '.join(differing)}; use its settings, or train such a model"
        )


def _values(settings: Settings | None) -> dict[str, Any]:
    return {"sound": False} if settings is None else settings.model_dump(mode="json")


def _of_new_voices(config: RunConfig, start: Bundle, split: Split) -> dict[str, Indices]:
    """Return the parts that are to be of voices never heard: by clip, those of speakers who were named, if any.

    Of a model that does not list its recordings, nothing but the voice tells whether it has heard a clip.
    """
    parts = {"validation": split.validation, "test": split.test}
    if config.split.split != "clip" or start.known_clips() is None:
        return parts
    return {"test": split.test} if config.split.test_speakers else {}


def _refuse_heard(bundle: Bundle, heard_in: Sequence[str], dataset: Dataset, parts: Mapping[str, Indices]) -> None:
    heard = bundle.info.heard(*heard_in)
    known = {corpus.corpus for corpus in bundle.info.trained_on}
    for part, indices in parts.items():
        clips = [dataset.clips[index] for index in indices]
        leaking = sorted({clip.voice for clip in clips} & heard)
        if leaking:
            raise CorpusError(
                f"{bundle.folder}: this model has heard {', '.join(leaking)}, and the {part} part is of voices never "
                "heard; learn from a model of other speakers or corpora"
            )
        untold = sorted({clip.corpus for clip in clips if clip.speaker is None} & known)
        if untold:
            raise CorpusError(
                f"{bundle.folder}: this model was trained on {', '.join(untold)}, and the speakers of the {part} part "
                "are not known, so it may have heard them; learn from a model of other corpora"
            )

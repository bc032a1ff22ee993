"""The parts that trials train on and are judged by: those of a split, without the clips that judge a model at last."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emogram.config import RunConfig, SplitConfig
from emogram.corpora import Corpus
from emogram.dataset import Dataset, Sample
from emogram.errors import SettingsError
from emogram.protocols import find_protocol
from emogram.records import speakers_of
from emogram.splits import Split, make_split


@dataclass(frozen=True)
class Fold:
    """One split of a corpus whose test clips are not there.

    Attributes:
        number: Of the protocol's fold; 0 where there is only one split.
        corpus: The clips that train and those that choose; those that judge are left out, and so never read.
        split: Parts them as the split that was asked for does.
        choosing: Speakers that choose.
        set_aside: Speakers that judge, of whom nothing is read.
        says: How the clips were parted, to stand beside every figure.
    """

    number: int
    corpus: Corpus
    split: SplitConfig
    choosing: tuple[str, ...]
    set_aside: tuple[str, ...]
    says: str

    def settings(self, config: RunConfig) -> RunConfig:
        """Return settings of a trial for this fold."""
        return config.model_copy(update={"split": self.split})


def folds_of(corpus: Corpus, split: SplitConfig, numbers: Sequence[int] | None = None) -> tuple[Fold, ...]:
    """Return the folds that trials are judged on.

    Args:
        corpus: All clips.
        split: How to part them.
        numbers: Folds of its protocol; by default all.

    Raises:
        SettingsError: There are no such folds, or the split contradicts itself.
        CorpusError: The corpus cannot be parted so.
    """
    n_folds = len(find_protocol(split.protocol).folds) if split.protocol is not None else 0
    if numbers is not None and not n_folds:
        raise SettingsError("folds are those of a protocol that parts by speaker; name one with --protocol")
    unknown = [number for number in numbers or () if number not in range(n_folds)]
    if unknown:
        raise SettingsError(f"fold {unknown[0]}; protocol {split.protocol} has folds 0 to {n_folds - 1}")
    chosen = range(n_folds or 1) if numbers is None else tuple(dict.fromkeys(numbers))
    unread = _unread(corpus)
    return tuple(_fold(corpus, unread, split.model_copy(update={"fold": number})) for number in chosen)


def _fold(corpus: Corpus, unread: Dataset, config: SplitConfig) -> Fold:
    split = make_split(unread, config.model_copy(update={"judge_on": "test"}))
    judging = set(split.test.tolist())
    if judging:
        left = tuple(clip for index, clip in enumerate(corpus.clips) if index not in judging)
        corpus = dataclasses.replace(corpus, clips=left)
        config = _without_judges(unread, split, config)
    return Fold(
        number=config.fold,
        corpus=corpus,
        split=config,
        choosing=_speakers(unread, split, "validation"),
        set_aside=_speakers(unread, split, "test"),
        says=split.protocol,
    )


def _without_judges(unread: Dataset, split: Split, config: SplitConfig) -> SplitConfig:
    """Return how to part what is left into the same training and validation clips."""
    if config.validation_list is not None:
        return config.model_copy(update={"test_list": None})
    parted = SplitConfig(validation_speakers=_speakers(unread, split, "validation"))
    return parted.model_copy(update={name: getattr(config, name) for name in ("fold", "split_seed", "allow_leaks")})


def _speakers(unread: Dataset, split: Split, part: str) -> tuple[str, ...]:
    """Return the speakers of a part, as the settings of splits name them."""
    free = [index for index, clip in enumerate(unread.clips) if clip.corpus not in unread.training_only]
    names = dict(zip(free, speakers_of([unread.clips[index] for index in free]), strict=True))
    found = {names[int(index)] for index in split.parts[part] if int(index) in names}
    return tuple(sorted(name for name in found if name is not None))


def _unread(corpus: Corpus) -> Dataset:
    """Return the clips as a dataset that can be parted, of which no file was opened; each counts as a recording."""
    nothing = np.zeros((0, 0, 0), np.float16)
    return Dataset(
        clips=corpus.clips,
        labels=corpus.labels,
        targets=np.asarray([corpus.labels.index(str(clip.label)) for clip in corpus.clips], dtype=np.intp),
        samples=tuple(Sample(nothing, None, f"clip {number}") for number in range(len(corpus.clips))),
        spectrogram=None,
        failed=(),
        training_only=corpus.training_only,
    )

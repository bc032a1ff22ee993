"""How much and how often training clips count, and which labels each could have: what corpora lack is not learnt."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from emogram.config import TrainConfig
from emogram.dataset import Dataset, Indices

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


def clip_weights(dataset: Dataset, indices: Indices, config: TrainConfig) -> FloatArray:
    """Return how much each clip counts in the loss; their mean over the training part is 1.

    Args:
        dataset: All clips.
        indices: Those that train, from which the shares are taken.
        config: `class_weights`, `balance` and `also_weight`.

    Returns:
        Shape (n_clips of the dataset,), >= 0; 0 for clips of a label without training clips.
    """
    weights = np.ones(len(dataset), dtype=np.float32)
    if config.class_weights:
        groups, n_groups = dataset.targets, len(dataset.labels)
        if config.balance == "corpus_label":
            corpora = corpus_numbers(dataset)
            groups, n_groups = corpora * n_groups + groups, n_groups * (int(corpora.max()) + 1)
        weights = balanced_weights(groups[indices], n_groups)[groups]
    if config.also_weight != 1.0 and dataset.training_only:
        also = np.asarray([clip.corpus in dataset.training_only for clip in dataset.clips])
        weights[also] *= np.float32(config.also_weight)
        weights /= weights[indices].mean()
    return weights


def drawn_apart(dataset: Dataset, indices: Indices, config: TrainConfig) -> tuple[Indices, Indices]:
    """Part training clips into those that every epoch has, and those of which it draws `config.also_clips`.

    Args:
        dataset: All clips; those of its `training_only` corpora are drawn.
        indices: Those that train.
        config: `also_clips`; where it is 0, every epoch has all.
    """
    if not config.also_clips:
        return indices, indices[:0]
    is_drawn = np.asarray([dataset.clips[index].corpus in dataset.training_only for index in indices], dtype=np.bool_)
    return indices[~is_drawn], indices[is_drawn]


def balanced_weights(groups: npt.NDArray[np.intp], n_groups: int) -> FloatArray:
    """Return a weight for each group, n / (n_groups * count), so that each group weighs the same in all.

    King and Zeng, "Logistic regression in rare events data", Political Analysis 9 (2001), 137-163; scikit-learn's
    "balanced". Groups without clips get 0.

    Args:
        groups: The group of each clip, such as its label, shape (n_clips,), in [0, n_groups).
        n_groups: How many groups there are.
    """
    counts = np.bincount(groups, minlength=n_groups)
    present = int(np.count_nonzero(counts))
    return np.where(counts > 0, len(groups) / (present * np.maximum(counts, 1)), 0.0).astype(np.float32)


def possible_labels(dataset: Dataset, indices: Indices) -> BoolArray:
    """Tell which labels each clip could have had: those of which its corpus has training clips, and its own.

    Args:
        dataset: All clips.
        indices: Those that train.

    Returns:
        Shape (n_clips of the dataset, n_labels).
    """
    corpora = corpus_numbers(dataset)
    has = np.zeros((int(corpora.max()) + 1, len(dataset.labels)), dtype=np.bool_)
    has[corpora[indices], dataset.targets[indices]] = True
    possible = has[corpora]
    possible[np.arange(len(dataset)), dataset.targets] = True
    return possible


def corpus_numbers(dataset: Dataset) -> npt.NDArray[np.intp]:
    """Return a number from 0 on for the corpus of each clip, shape (n_clips,)."""
    names = sorted({clip.corpus for clip in dataset.clips})
    return np.asarray([names.index(clip.corpus) for clip in dataset.clips], dtype=np.intp)

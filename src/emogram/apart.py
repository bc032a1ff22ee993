"""What corpora that may but train call their emotions, learnt by outputs of their own that no model keeps.

An angry voice of another language need not sound like one of the corpus that judges. Learnt as a class of its own, it
still teaches the layers below what voices are like, and says nothing of what anger is here: one trunk, several tasks
(R. Caruana, "Multitask learning", Machine Learning 28 (1997), 41-75).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from emogram.backend import keras
from emogram.config import TrainConfig
from emogram.dataset import Dataset

Weights = list[npt.NDArray[Any]]


def with_labels_apart(dataset: Dataset, config: TrainConfig) -> Dataset:
    """Return the dataset as it is to be learnt: with `also_labels` "own", clips that may but train have other labels.

    Labels of the corpora that judge keep their places, and "corpus:label" follow.
    """
    if config.also_labels == "shared" or not dataset.training_only or not dataset.labels:
        return dataset
    names = [
        f"{clip.corpus}:{dataset.labels[target]}" if clip.corpus in dataset.training_only else dataset.labels[target]
        for clip, target in zip(dataset.clips, dataset.targets, strict=True)
    ]
    labels = (*dataset.labels, *sorted(set(names) - set(dataset.labels)))
    places = {label: place for place, label in enumerate(labels)}
    return replace(dataset, labels=labels, targets=np.asarray([places[name] for name in names], dtype=np.intp))


def narrowed(weights: Sequence[npt.NDArray[Any]], network: keras.Model) -> Weights:
    """Return weights of a network with further labels as one without them has them."""
    return [
        array if array.shape == mine.shape else array[..., : mine.shape[-1]]
        for array, mine in zip(weights, network.weights, strict=True)
    ]


def widened(weights: Sequence[npt.NDArray[Any]], network: keras.Model) -> Weights:
    """Return weights for a network with further labels, whose outputs for these stay as they are."""
    found = []
    for array, mine in zip(weights, network.get_weights(), strict=True):
        if array.shape != mine.shape:
            mine[..., : array.shape[-1]] = array
            array = mine
        found.append(array)
    return found

"""Whether a map can be believed: it must depend on what the model learnt, and what it marks must matter.

J. Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018, arXiv:1810.03292; V. Petsiuk et al., "RISE:
Randomized input sampling for explanation of black-box models", BMVC 2018, arXiv:1806.07421 (deletion).
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emogram.audio import prepare
from emogram.bundle import KERAS_FILE, ONNX_FILE, Bundle, seal
from emogram.classifier import Classifier
from emogram.explanations.heard import Heard, hear
from emogram.explanations.maps import maps_of
from emogram.files import writing
from emogram.progress import SILENT, Progress
from emogram.records import Explanation, ExplanationCheck
from emogram.saved_network import load_network
from emogram.spectrogram import FloatArray

N_RANDOM_MODELS = 3
N_RANDOM_DELETIONS = 10
N_STEPS = 20  # of a deletion curve

Rng = np.random.Generator


def check(
    classifier: Classifier, explanation: Explanation, *, seed: int = 0, progress: Progress = SILENT
) -> ExplanationCheck:
    """Put the map of the most probable label to two tests.

    First, models whose weights are shuffled must give other maps: the rank correlation of theirs with ours is taken.
    Second, hiding what the map marks, most marked first, must lower the label's probability faster than hiding random
    parts. The random parts are the map itself, shifted around in time and frequency at random, so that they are as
    large and as connected. A third order, loudest first, knows the sound and not the model.

    Args:
        classifier: The model that was explained.
        explanation: What `explain` returned for it.
        seed: Of all that is random.
        progress: Is told of each curve and model.
    """
    config = classifier.info.spectrogram
    assert config is not None, "explain refused it"
    heard = hear(prepare(explanation.waveform, explanation.sample_rate, sample_rate=config.sample_rate), config)
    label = classifier.labels.index(explanation.labels[0])
    map_ = explanation.maps[0]
    rng = np.random.default_rng(seed)
    with progress.task("checking", 2 + N_RANDOM_DELETIONS + N_RANDOM_MODELS, unit="steps") as task:
        correlations = []
        can_shuffle = importlib.util.find_spec("onnx") is not None
        for number in range(N_RANDOM_MODELS if can_shuffle else 0):
            correlations.append(
                _rank_correlation(map_, _map_of_shuffled(classifier, explanation, heard, seed + number))
            )
            task.advance()
        curve = deletion_curve(classifier, heard, label, map_)
        loudest = deletion_curve(classifier, heard, label, heard.scaled)
        task.advance(2)
        random = []
        for _ in range(N_RANDOM_DELETIONS):
            random.append(deletion_curve(classifier, heard, label, _shifted(map_, rng)))
            task.advance()
    return ExplanationCheck(
        label=explanation.labels[0],
        correlations=tuple(correlations),
        deletion=tuple(curve.tolist()),
        random_deletions=tuple(tuple(each.tolist()) for each in random),
        loudest_deletion=tuple(loudest.tolist()),
    )


def deletion_curve(
    classifier: Classifier, heard: Heard, label: int, order: npt.NDArray[np.floating[Any]]
) -> npt.NDArray[np.float64]:
    """Return the label's probability as more and more is hidden, shape (N_STEPS + 1,), from nothing to all.

    Args:
        classifier: The model.
        heard: What it hears.
        label: Place of the label.
        order: What is hidden first has the greatest value, shape (n_frames, n_mels).
    """
    places = np.argsort(-order.ravel(), kind="stable")
    versions = np.repeat(heard.scaled[np.newaxis], N_STEPS + 1, axis=0).reshape(N_STEPS + 1, -1)
    for step in range(N_STEPS + 1):
        versions[step, places[: round(step * len(places) / N_STEPS)]] = heard.fill
    probabilities = classifier.probabilities(heard.inputs(versions.reshape(-1, *heard.scaled.shape)))
    chosen: npt.NDArray[np.float64] = probabilities[:, label]
    return chosen


def shuffled(bundle: Bundle, folder: Path, *, seed: int) -> Bundle:
    """Write a model whose weight matrices and kernels hold the same numbers in random places.

    So every layer keeps the range that it had, and nothing that was learnt. Biases and scales stay.

    Args:
        bundle: The model.
        folder: Where to write it.
        seed: Another seed is another model.

    Raises:
        ModelError: The bundle has changed.
        OutputError: The folder cannot be written.
    """
    import onnx

    rng = np.random.default_rng(seed)
    model = onnx.load_from_string(bundle.read(ONNX_FILE))
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.ndim >= 2:
            tensor.CopyFrom(onnx.numpy_helper.from_array(_mixed(values, rng), tensor.name))
    with writing(folder / ONNX_FILE) as temporary:
        temporary.write_bytes(model.SerializeToString())
    if KERAS_FILE in bundle.hashes:
        from emogram.backend import keras

        network = load_network(bundle)
        for weight in network.weights:
            if len(weight.shape) >= 2:
                weight.assign(_mixed(np.asarray(keras.ops.convert_to_numpy(weight)), rng))
        network.save(folder / KERAS_FILE)
    return seal(folder, bundle.info, "Shuffled weights; its answers mean nothing.\n")


def _map_of_shuffled(classifier: Classifier, explanation: Explanation, heard: Heard, seed: int) -> FloatArray:
    with tempfile.TemporaryDirectory() as folder:
        other = Classifier(shuffled(classifier.bundle, Path(folder), seed=seed))
        label = classifier.labels.index(explanation.labels[0])
        map_: FloatArray = maps_of(other, heard, [label], method=explanation.method)[0]
        return map_


def _mixed(values: npt.NDArray[Any], rng: Rng) -> npt.NDArray[Any]:
    return rng.permutation(values.ravel()).reshape(values.shape)


def _shifted(map_: npt.NDArray[np.float32], rng: Rng) -> npt.NDArray[np.float32]:
    """Return the map rolled around at random, and at random turned about in time and in frequency."""
    turned = map_[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
    return np.roll(turned, (int(rng.integers(map_.shape[0])), int(rng.integers(map_.shape[1]))), axis=(0, 1))


def _rank_correlation(first: npt.NDArray[np.floating[Any]], second: npt.NDArray[np.floating[Any]]) -> float:
    """Return Spearman's rank correlation; 0 where one of them is flat."""
    from scipy.stats import rankdata

    ranks = [rankdata(each.ravel()) for each in (first, second)]
    if any(np.ptp(each) == 0 for each in ranks):
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])

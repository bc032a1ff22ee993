"""What an answer loses where a part is hidden; needs nothing but the model's answers.

M. D. Zeiler and R. Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, arXiv:1311.2901.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from emogram.classifier import Classifier, Probabilities
from emogram.config import SpectrogramConfig
from emogram.explanations.heard import Heard
from emogram.metrics import MIN_PROBABILITY
from emogram.progress import SILENT, Progress
from emogram.spectrogram import FloatArray, band_centres_hz, hz_to_mel

PATCH_S = 0.2  # about a syllable
PATCH_HZ = 400.0  # at 1 kHz: about a formant, eight bands of the default 64
SHORTEST_PATCH_S = 0.02

_BATCH = 32


def occlusion(
    classifier: Classifier,
    heard: Heard,
    labels: Sequence[int],
    *,
    patch_s: float = PATCH_S,
    patch_hz: float = PATCH_HZ,
    progress: Progress = SILENT,
) -> FloatArray:
    """Hide patch after patch, each overlapping the next by half, and see what the labels lose.

    Args:
        classifier: The model.
        heard: What it hears.
        labels: Places of the labels to explain.
        patch_s: Length of a patch in seconds.
        patch_hz: Height of a patch in Hz at 1 kHz; elsewhere as high in mel, as hearing is.
        progress: Is told of each patch.

    Returns:
        Shape (n_labels, n_frames, n_mels): by how much the log odds of a label fall where a patch over this point is
        hidden, the mean over the patches. Log odds, since a probability near 1 hardly falls whatever is hidden.
    """
    config = heard.config
    length = max(1, round(patch_s * config.sample_rate / config.hop_length))
    height = bands_of(patch_hz, config)
    shape = heard.scaled.shape
    patches = [
        (frames, bands)
        for frames in _stretches(shape[0], length)
        for bands in _stretches(shape[1], min(height, shape[1]))
    ]
    whole = log_odds(classifier.probabilities(heard.inputs(heard.scaled[np.newaxis])))[0, labels]
    total = np.zeros((len(labels), *shape))
    count = np.zeros(shape)
    fill = heard.fill
    with progress.task("explaining", len(patches), unit="patches") as task:
        for first in range(0, len(patches), _BATCH):
            some = patches[first : first + _BATCH]
            versions = np.repeat(heard.scaled[np.newaxis], len(some), axis=0)
            for version, patch in zip(versions, some, strict=True):
                version[patch] = fill
            falls = whole - log_odds(classifier.probabilities(heard.inputs(versions)))[:, labels]
            for patch, fall in zip(some, falls, strict=True):
                total[:, *patch] += fall[:, np.newaxis, np.newaxis]
                count[patch] += 1
            task.advance(len(some))
    return (total / count).astype(np.float32)


def bands_of(patch_hz: float, config: SpectrogramConfig) -> int:
    """Return how many mel bands a patch of that height in Hz at 1 kHz covers, at least one."""
    low, high = hz_to_mel([max(0.0, 1000 - patch_hz / 2), 1000 + patch_hz / 2], scale=config.mel_scale)
    centres = hz_to_mel(band_centres_hz(config), scale=config.mel_scale)
    return max(1, round(float((high - low) / (centres[1] - centres[0]))))


def log_odds(probabilities: Probabilities) -> npt.NDArray[np.float64]:
    """Return log(p / (1 - p)) of each label, same shape (n, n_labels).

    1 - p is summed from the other labels, which keep their digits where p is so near 1 that it has none left.
    """
    others = probabilities @ (1.0 - np.eye(probabilities.shape[1]))
    return np.log(np.maximum(probabilities, MIN_PROBABILITY)) - np.log(np.maximum(others, MIN_PROBABILITY))


def _stretches(size: int, width: int) -> Iterator[slice]:
    """Yield stretches of that width, half of it apart, cut at both ends, so that each place lies in two or more."""
    step = max(1, width // 2)
    for start in range(step - width, size, step):
        if start + width > 0:
            yield slice(max(0, start), min(size, start + width))

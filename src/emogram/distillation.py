"""The answers of trained models -> what another learns beside the labels.

What several networks say of a clip tells more than its label, so that a pupil learns less by heart: G. Hinton, O.
Vinyals, J. Dean, "Distilling the knowledge in a neural network", 2015, arXiv:1503.02531. Each batch is shown to the
teachers as the pupil sees it, cut, masked and warped: L. Beyer et al., "Knowledge distillation: A good teacher is
patient and consistent", CVPR 2022, arXiv:2106.05237.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from emogram.bundle import Bundle
from emogram.classifier import Classifier

FloatArray = npt.NDArray[np.float32]


class Teachers:
    """Several models that answer together."""

    def __init__(self, bundles: Sequence[Bundle]) -> None:
        """Load the models, at least one, all of the same labels."""
        self._classifiers = [Classifier(bundle) for bundle in bundles]

    def answer(self, batch: FloatArray) -> FloatArray:
        """Return the mean of what they say before calibration, each row sums to 1.

        Args:
            batch: Spectrograms as the pupil takes them, shape (n_clips, n_frames, n_bands, n_channels). A model that
                takes fewer bands is given the first ones: bands of periodicity follow those of mel.

        Returns:
            Shape (n_clips, n_labels).
        """
        total = np.zeros((len(batch), len(self._classifiers[0].labels)), dtype=np.float32)
        for classifier in self._classifiers:
            n_bands = classifier.info.input_shape[1]
            total += classifier.raw_probabilities({"spectrogram": np.ascontiguousarray(batch[:, :, :n_bands])})
        mean: FloatArray = total / np.float32(len(self._classifiers))
        return mean

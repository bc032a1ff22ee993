"""What training minimises."""

from __future__ import annotations

from typing import Any

from emogram.backend import keras

ops = keras.ops

Tensor = Any  # Keras ships no types

IMPOSSIBLE = -1.0
"""In a target: the clip could not have this label, since its corpus has no clips of it."""

MIN_PROBABILITY = 1e-7  # as Keras' own cross-entropy


class PossibleCrossentropy(keras.losses.Loss):  # type: ignore[misc]
    """Cross-entropy over the labels that a clip could have had, smoothed over them.

    Where a corpus has no calm clips, a calm voice in it was called something else, so that it says nothing against
    calm. The probabilities of the other labels are scaled to sum to 1, which is the softmax over them alone, and no
    gradient reaches the rest. Where all labels are possible, this is Keras' `CategoricalCrossentropy`.

    Targets have shape (n, n_labels): shares that sum to 1, and `IMPOSSIBLE` where they cannot be.
    """

    def __init__(self, *, label_smoothing: float) -> None:
        """Spread `label_smoothing`, in [0, 1), of each target over all labels that are possible."""
        super().__init__(name="loss")
        self._smoothing = label_smoothing

    def call(self, targets: Tensor, probabilities: Tensor) -> Tensor:
        """Return the loss of each clip, shape (n,)."""
        targets = ops.cast(targets, probabilities.dtype)
        possible = ops.cast(targets >= 0.0, probabilities.dtype)
        kept = probabilities * possible
        kept = kept / ops.maximum(ops.sum(kept, axis=-1, keepdims=True), MIN_PROBABILITY)
        spread = self._smoothing / ops.sum(possible, axis=-1, keepdims=True)
        wanted = possible * (targets * (1.0 - self._smoothing) + spread)
        return -ops.sum(wanted * ops.log(ops.clip(kept, MIN_PROBABILITY, 1.0 - MIN_PROBABILITY)), axis=-1)

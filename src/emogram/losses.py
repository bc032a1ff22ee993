"""What training minimises."""

from __future__ import annotations

from typing import Any

from emogram.backend import keras

ops = keras.ops

Tensor = Any  # Keras ships no types

IMPOSSIBLE = -1.0
"""In a target: the clip could not have this label, since its corpus has no clips of it."""

MIN_PROBABILITY = 1e-7  # as Keras' own cross-entropy


# A batch whose numbers differ by less than a thousandth of the scale tells nothing of what raises them.
MIN_VARIANCE = 1e-6


def concordance_loss(numbers: Tensor, answers: Tensor, weights: Tensor) -> Tensor:
    """Return 1 - CCC over a batch, the mean over the dimensions that the batch tells of; 0 where it tells of none.

    The concordance correlation coefficient: L. I-K. Lin, "A concordance correlation coefficient to evaluate
    reproducibility", Biometrics 45 (1989), 255-268; as a loss: F. Weninger et al., "Discriminatively trained recurrent
    neural networks for continuous dimensional emotion recognition from audio", IJCAI 2016, 2196-2202. A dimension is
    left out where fewer than two clips have a number for it, or all have the same one.

    Args:
        numbers: What is true, from 0 to 1, shape (n, n_dimensions); any finite number where there is none.
        answers: What the network says, likewise.
        weights: How much each counts, >= 0; 0 where there is no number.
    """
    shares = weights / ops.maximum(ops.sum(weights, axis=0, keepdims=True), MIN_PROBABILITY)
    mean_number = ops.sum(shares * numbers, axis=0)
    mean_answer = ops.sum(shares * answers, axis=0)
    number, answer = numbers - mean_number, answers - mean_answer
    variance = ops.sum(shares * ops.square(number), axis=0)
    spread = variance + ops.sum(shares * ops.square(answer), axis=0) + ops.square(mean_number - mean_answer)
    ccc = 2.0 * ops.sum(shares * number * answer, axis=0) / (spread + MIN_VARIANCE)
    told = ops.cast(variance > MIN_VARIANCE, answers.dtype)
    return ops.sum(told * (1.0 - ccc)) / ops.maximum(ops.sum(told), 1.0)


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

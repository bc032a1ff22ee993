"""A network that tells classes and dimensions, as training sees it: one answer, one target, one loss.

What ships has an output for each. To train, they are put side by side, so that whatever deals with a network of one
output deals with this one too. An answer has the probabilities of the labels, then the dimensions from 0 to 1; a target
has what `PossibleCrossentropy` wants of the labels, then the numbers, then how much each of them counts, 0 where a clip
has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from emogram.backend import keras
from emogram.losses import PossibleCrossentropy, concordance_loss

ops = keras.ops

Tensor = Any  # Keras ships no types


@dataclass(frozen=True)
class Heads:
    """How many values each part of an answer has.

    Attributes:
        n_labels: 0 where no classes are learnt.
        n_dimensions: 0 where no dimensions are.
    """

    n_labels: int
    n_dimensions: int

    def parts(self, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probabilities and the dimensions of answers."""
        return answers[:, : self.n_labels], answers[:, self.n_labels :]

    def target_parts(self, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what targets want of the labels, the numbers, and how much these count."""
        first, second = self.n_labels, self.n_labels + self.n_dimensions
        return targets[:, :first], targets[:, first:second], targets[:, second:]


def side_by_side(network: keras.Model) -> keras.Model:
    """Return a network whose one output is all those of another; its layers and weights are that one's."""
    if len(network.outputs) == 1:
        return network
    return keras.Model(network.input, keras.layers.Concatenate(dtype="float32")(network.outputs), name=network.name)


def training_loss(heads: Heads, *, label_smoothing: float, dimension_weight: float) -> keras.losses.Loss:
    """Return what training minimises."""
    classes = PossibleCrossentropy(label_smoothing=label_smoothing)
    return BothLoss(heads, classes, dimension_weight) if heads.n_dimensions else classes


def training_metrics(heads: Heads) -> list[keras.metrics.Metric]:
    """Return what is measured on the training clips of an epoch: "accuracy" and "ccc", as far as they apply."""
    if not heads.n_dimensions:
        return [keras.metrics.CategoricalAccuracy(name="accuracy")]
    return [*([Accuracy(heads)] if heads.n_labels else []), Concordance(heads)]


class BothLoss(keras.losses.Loss):  # type: ignore[misc]
    """The loss of the classes and that of the dimensions, or the latter alone.

    The weights of samples count for the classes only: those of the dimensions stand in the targets.
    """

    def __init__(self, heads: Heads, classes: keras.losses.Loss, dimension_weight: float) -> None:
        """Take the loss of the classes, and the weight of the dimensions against it."""
        super().__init__(name="loss")
        self._heads = heads
        self._classes = classes
        self._weight = dimension_weight

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> Tensor:
        """Return the loss of a batch, one number."""
        wanted, numbers, weights = self._heads.target_parts(ops.convert_to_tensor(y_true, dtype=self.dtype))
        probabilities, dimensions = self._heads.parts(ops.convert_to_tensor(y_pred, dtype=self.dtype))
        loss = concordance_loss(numbers, dimensions, weights)
        if not self._heads.n_labels:
            return loss
        return self._classes(wanted, probabilities, sample_weight=sample_weight) + self._weight * loss


class Accuracy(keras.metrics.CategoricalAccuracy):  # type: ignore[misc]
    """The share of clips whose most probable label is right."""

    def __init__(self, heads: Heads) -> None:
        """Look at the part of the labels."""
        super().__init__(name="accuracy")
        self._heads = heads

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> None:
        """Count the clips of a batch."""
        super().update_state(self._heads.target_parts(y_true)[0], self._heads.parts(y_pred)[0], sample_weight)


class Concordance(keras.metrics.Metric):  # type: ignore[misc]
    """The CCC over all clips of an epoch, not the mean over its batches; the mean over the dimensions."""

    def __init__(self, heads: Heads) -> None:
        """Look at the part of the dimensions."""
        super().__init__(name="ccc")
        self._heads = heads
        # Of each dimension: weight, the numbers, the answers, their squares, and their product.
        self._sums = self.add_weight(shape=(6, heads.n_dimensions), initializer="zeros", name="sums")

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None) -> None:
        """Add the clips of a batch."""
        _, numbers, weights = self._heads.target_parts(ops.convert_to_tensor(y_true, dtype=self.dtype))
        _, answers = self._heads.parts(ops.convert_to_tensor(y_pred, dtype=self.dtype))
        x, y = numbers - 0.5, answers - 0.5  # nearer to 0, where single precision keeps more digits
        each = [ops.ones_like(x), x, y, x * x, y * y, x * y]
        self._sums.assign_add(ops.stack([ops.sum(weights * one, axis=0) for one in each]))

    def result(self) -> Tensor:
        """Return the CCC so far."""
        n, x, y, xx, yy, xy = (self._sums[place] for place in range(6))
        n = ops.maximum(n, 1e-7)
        spread = (xx + yy) / n - ops.square(x / n) - ops.square(y / n) + ops.square((x - y) / n)
        return ops.mean(2.0 * (xy / n - x * y / (n * n)) / ops.maximum(spread, 1e-7))

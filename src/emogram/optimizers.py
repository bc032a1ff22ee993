"""The optimizers of training, and their learning rates."""

from __future__ import annotations

from typing import Any

from emogram.backend import keras
from emogram.config import TrainConfig

Tensor = Any

CLIP_NORM = 5.0  # far above the usual norm of a gradient; it only tames the odd step


def make_optimizer(
    settings: TrainConfig, *, steps_per_epoch: int, precision: str = "float32"
) -> keras.optimizers.Optimizer:
    """Build the optimizer with its learning rate, or the cosine schedule of it (SGDR without restarts).

    Loshchilov and Hutter, ICLR 2017, arXiv:1608.03983; warm-up: Goyal et al. 2017, arXiv:1706.02677.
    """
    rate: float | keras.optimizers.schedules.LearningRateSchedule = settings.learning_rate
    if settings.schedule == "cosine":
        n_steps = settings.epochs * steps_per_epoch
        n_warmup = min(round(settings.warmup_epochs * steps_per_epoch), n_steps // 2)
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=settings.learning_rate * (0.01 if n_warmup else 1.0),
            decay_steps=max(1, n_steps - n_warmup),
            alpha=0.01,
            warmup_target=settings.learning_rate if n_warmup else None,
            warmup_steps=n_warmup,
        )
    if settings.optimizer == "muon":
        return Muon(
            rate,
            weight_decay=settings.weight_decay,
            adam_weight_decay=settings.weight_decay,
            exclude_layers=["probabilities"],
            precision=precision,
        )
    if settings.optimizer == "adamw":
        return keras.optimizers.AdamW(rate, weight_decay=settings.weight_decay, global_clipnorm=CLIP_NORM)
    if settings.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, global_clipnorm=CLIP_NORM)
    return keras.optimizers.Adam(rate)


class Muon(keras.optimizers.Muon):  # type: ignore[misc]
    """Keras' Muon, with the kernels of convolutions orthogonalised too, as matrices (height * width * in, out).

    K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; steps scaled as in J. Liu et al.,
    2025, arXiv:2502.16982, so that learning rates of AdamW do. Keras leaves kernels of four axes to AdamW.
    """

    def __init__(self, *arguments: Any, precision: str = "float32", **settings: Any) -> None:
        """Take what Keras' Muon takes, and the precision of the orthogonalisation."""
        super().__init__(*arguments, **settings)
        self._precision = precision

    def _should_use_adamw(self, variable: Any) -> bool:
        if len(variable.shape) != 4:
            return bool(super()._should_use_adamw(variable))
        # One input channel: a bank of filters over the spectrogram, no map from features to features.
        return bool(variable.shape[2] == 1)

    def zeropower_via_newtonschulz5(self, x: Tensor, steps: int) -> Tensor:
        """Return the nearest orthogonal matrix, roughly, in the shape of `x`."""
        # Half precision is enough for a direction (Jordan et al. compute in it too).
        matrix = keras.ops.cast(keras.ops.reshape(x, (-1, x.shape[-1])), self._precision)
        turned = keras.ops.cast(super().zeropower_via_newtonschulz5(matrix, steps), x.dtype)
        return keras.ops.reshape(turned, x.shape)

    def lr_adjust(self, x: Tensor) -> Tensor:
        """Scale a step by its shape as a matrix."""
        matrix = keras.ops.reshape(x, (-1, x.shape[-1]))
        return keras.ops.reshape(super().lr_adjust(matrix), x.shape)

"""The optimizers of training, and their learning rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emogram.backend import keras
from emogram.config import TrainConfig
from emogram.network import CLASSES, DIMENSIONS

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
    kind = _KINDS[settings.optimizer] if settings.trunk_rate == 1.0 else _slowed(settings)
    if settings.optimizer == "muon":
        return kind(
            rate,
            weight_decay=settings.weight_decay,
            adam_weight_decay=settings.weight_decay,
            exclude_layers=[CLASSES, DIMENSIONS],
            precision=precision,
        )
    if settings.optimizer == "adamw":
        return kind(rate, weight_decay=settings.weight_decay, global_clipnorm=CLIP_NORM)
    if settings.optimizer == "sgd":
        return kind(rate, momentum=0.9, nesterov=True, global_clipnorm=CLIP_NORM)
    return kind(rate)


class Muon(keras.optimizers.Muon):  # type: ignore[misc]
    """Keras' Muon, with the kernels of convolutions orthogonalised too, as matrices (height * width * in, out).

    K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; steps scaled as in J. Liu et al.,
    2025, arXiv:2502.16982, so that learning rates of AdamW do. Keras leaves kernels of four axes to AdamW.

    On PyTorch the same step is taken with PyTorch's own operations, in a quarter of the time.
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

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        if keras.backend.backend() != "torch":
            super()._apply_weight_decay(variables)
            return
        import torch

        # Keras asks the schedule for the learning rate at every variable, which took a tenth of a step.
        rate = float(self.learning_rate)
        for decay, by_adam in ((self.adam_weight_decay, True), (self.weight_decay, False)):
            chosen = [
                one.value for one in variables if self._use_weight_decay(one) and self._should_use_adamw(one) == by_adam
            ]
            if decay and chosen:
                with torch.no_grad():
                    torch._foreach_mul_(chosen, 1.0 - decay * rate)

    def _backend_update_step(
        self, gradients: Sequence[Tensor], variables: Sequence[Any], learning_rate: Tensor
    ) -> None:
        if keras.backend.backend() != "torch":
            super()._backend_update_step(gradients, variables, learning_rate)
            return
        import torch

        rate = float(learning_rate)
        pairs = list(zip(gradients, variables, strict=True))
        with torch.no_grad():
            self._step_by_adam([pair for pair in pairs if self._should_use_adamw(pair[1])], rate * self.adam_lr_ratio)
            self._step_by_muon([pair for pair in pairs if not self._should_use_adamw(pair[1])], rate)

    def _step_by_adam(self, pairs: Sequence[tuple[Tensor, Any]], rate: float) -> None:
        """Do what Keras' `_adamw_update_step` does, to all variables at once on PyTorch."""
        if not pairs:
            return
        import torch

        gradients, values = [gradient for gradient, _ in pairs], [variable.value for _, variable in pairs]
        places = [self._get_variable_index(variable) for _, variable in pairs]
        means = [self.momentums[place].value for place in places]
        squares = [self.adam_velocities[place].value for place in places]
        n_steps = int(self.iterations) + 1
        scale = rate * (1.0 - self.adam_beta_2**n_steps) ** 0.5 / (1.0 - self.adam_beta_1**n_steps)
        torch._foreach_lerp_(means, gradients, 1.0 - self.adam_beta_1)
        torch._foreach_mul_(squares, self.adam_beta_2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1.0 - self.adam_beta_2)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_add_(roots, self.epsilon)
        torch._foreach_addcdiv_(values, means, roots, -scale)

    def _step_by_muon(self, pairs: Sequence[tuple[Tensor, Any]], rate: float) -> None:
        """Do what Keras' `_muon_update_step` does, with fewer passes over memory on PyTorch."""
        import torch

        for gradient, variable in pairs:
            momentum = self.momentums[self._get_variable_index(variable)].value
            momentum.mul_(self.momentum).add_(gradient)
            ahead = torch.add(gradient, momentum, alpha=self.momentum) if self.nesterov else momentum
            matrix = ahead.reshape(-1, ahead.shape[-1]).to(getattr(torch, self._precision))
            turned = self._orthogonal(matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T)
            turned = turned if matrix.shape[0] <= matrix.shape[1] else turned.T
            scale = 1.0 if self.rms_rate is None else self.rms_rate * float(max(matrix.shape)) ** 0.5
            variable.value.sub_(turned.reshape(ahead.shape).to(ahead.dtype), alpha=rate * scale)

    def _orthogonal(self, x: Tensor) -> Tensor:
        """Return what Keras' `zeropower_via_newtonschulz5` returns of a matrix that is not higher than wide."""
        import torch

        x = x / (torch.linalg.norm(x) + 1e-7)
        for _ in range(self.ns_steps):
            square = x @ x.T
            x = torch.addmm(
                x, torch.addmm(square, square, square, beta=self.muon_b, alpha=self.muon_c), x, beta=self.muon_a
            )
        return x

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


_KINDS: dict[str, Any] = {
    "muon": Muon,
    "adamw": keras.optimizers.AdamW,
    "sgd": keras.optimizers.SGD,
    "adam": keras.optimizers.Adam,
}


def _slowed(settings: TrainConfig) -> Any:
    """Return the kind of optimizer whose steps are `trunk_rate` as long for all but the last layer.

    A smaller gradient would not do, since Adam and Muon take no notice of its length. J. Howard, S. Ruder, "Universal
    language model fine-tuning for text classification", ACL 2018, arXiv:1801.06146, section 3.2.
    """
    kind = _KINDS[settings.optimizer]

    class Slowed(kind):  # type: ignore[misc,valid-type]
        def _backend_update_step(
            self, gradients: Sequence[Tensor], variables: Sequence[Any], learning_rate: Tensor
        ) -> None:
            for share, of_answer in ((1.0, True), (settings.trunk_rate, False)):
                chosen = [
                    pair
                    for pair in zip(gradients, variables, strict=True)
                    if any(layer in pair[1].path for layer in (CLASSES, DIMENSIONS)) == of_answer
                ]
                if chosen:
                    super()._backend_update_step(*zip(*chosen, strict=True), learning_rate * share)

    return Slowed

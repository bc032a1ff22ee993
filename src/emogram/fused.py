"""A network for training that computes the same as a Keras network, with fewer passes over memory on PyTorch.

Keras builds batch normalisation of elementary operations and copies between layouts and precisions at every layer. The
layers here are Keras' own, with the same weights and settings, and call PyTorch's fused operations on channels-last
memory. What is saved stays the plain network; these only train.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from emogram.backend import keras

layers = keras.layers

Tensor = Any


def faster(network: keras.Model) -> keras.Model:
    """Return a network for training that computes the same; weights are not copied.

    On other back ends than PyTorch the network is returned as it is.
    """
    if keras.backend.backend() != "torch":
        return network
    return keras.models.clone_model(network, clone_function=_fused)


@contextlib.contextmanager
def without_denormals() -> Iterator[None]:
    """Let the processor take numbers too small for their format as zero, on PyTorch, which saves a third of a step.

    Gradients and their running moments get that small where a network has learnt, and a processor computes with such
    numbers a hundred times more slowly.
    """
    if keras.backend.backend() != "torch":
        yield
        return
    import torch

    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _fused(layer: keras.layers.Layer) -> keras.layers.Layer:
    kind: Any = FUSED.get(type(layer), type(layer))
    return kind.from_config(layer.get_config())


def _finding_shapes(inputs: Tensor) -> bool:
    return bool(inputs.device.type == "meta")


class _Convolution(keras.layers.Conv2D):  # type: ignore[misc]
    def call(self, inputs: Tensor) -> Tensor:
        plain = self.padding in ("same", "valid") and self.dilation_rate == (1, 1) and self.groups == 1
        if _finding_shapes(inputs) or not plain:
            return super().call(inputs)
        import torch

        kernel = self.kernel.value.permute(3, 2, 0, 1)
        before, after = [0, 0], [0, 0]
        if self.padding == "same":
            for axis in (0, 1):
                size, step, width = inputs.shape[1 + axis], self.strides[axis], self.kernel_size[axis]
                total = max((-(-size // step) - 1) * step + width - size, 0)
                before[axis], after[axis] = total // 2, total - total // 2
        if before != after:
            # Before the axes are turned: padded afterwards, one channel would come out in the other layout, and with it
            # all layers that follow.
            inputs = torch.nn.functional.pad(inputs, (0, 0, before[1], after[1], before[0], after[0]))
            before = [0, 0]
        # NHWC seen as NCHW is PyTorch's channels-last memory: a view, no copy.
        x = inputs.movedim(-1, 1)
        bias = self.bias.value if self.use_bias else None
        y = torch.nn.functional.conv2d(x, kernel, bias, stride=self.strides, padding=before).movedim(1, -1)
        return y if self.activation is None else self.activation(y)


class _BatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    def call(self, inputs: Tensor, training: bool | None = None, mask: Tensor = None) -> Tensor:
        single = inputs.numel() == inputs.shape[-1]  # has no variance, which PyTorch refuses
        if _finding_shapes(inputs) or single:
            return super().call(inputs, training=training, mask=mask)
        import torch

        return torch.nn.functional.batch_norm(
            inputs.movedim(-1, 1),
            self.moving_mean.value,
            self.moving_variance.value,
            self.gamma.value,
            self.beta.value,
            training=bool(training) and self.trainable,
            momentum=1.0 - self.momentum,
            eps=self.epsilon,
        ).movedim(1, -1)


class _ReLU(keras.layers.ReLU):  # type: ignore[misc]
    def call(self, inputs: Tensor) -> Tensor:
        if self.max_value is not None or self.negative_slope or self.threshold:
            return super().call(inputs)
        return inputs.relu()


class _AveragePooling(keras.layers.AveragePooling2D):  # type: ignore[misc]
    def call(self, inputs: Tensor) -> Tensor:
        # Without a rest there is nothing to pad.
        whole = all(size % pool == 0 for size, pool in zip(inputs.shape[1:3], self.pool_size, strict=True))
        if _finding_shapes(inputs) or not whole or self.strides != self.pool_size:
            return super().call(inputs)
        import torch

        return torch.nn.functional.avg_pool2d(inputs.movedim(-1, 1), self.pool_size).movedim(1, -1)


class _MaxPooling(keras.layers.MaxPooling2D):  # type: ignore[misc]
    def call(self, inputs: Tensor) -> Tensor:
        if _finding_shapes(inputs) or self.padding != "valid":
            return super().call(inputs)
        import torch

        return torch.nn.functional.max_pool2d(inputs.movedim(-1, 1), self.pool_size, self.strides).movedim(1, -1)


class _SpatialDropout(keras.layers.SpatialDropout2D):  # type: ignore[misc]
    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if _finding_shapes(inputs) or not training or not self.rate:
            return inputs
        kept = 1.0 - self.rate
        shape = (inputs.shape[0], 1, 1, inputs.shape[-1])
        return inputs * inputs.new_empty(shape).bernoulli_(kept).div_(kept)


FUSED: dict[type, Any] = {
    layers.Conv2D: _Convolution,
    layers.BatchNormalization: _BatchNormalization,
    layers.ReLU: _ReLU,
    layers.AveragePooling2D: _AveragePooling,
    layers.MaxPooling2D: _MaxPooling,
    layers.SpatialDropout2D: _SpatialDropout,
}

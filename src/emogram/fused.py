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

    On other back ends than PyTorch, and where nothing in it learns, the network is returned as it is.
    """
    if keras.backend.backend() != "torch" or not network.trainable_weights:
        return network
    clone = keras.models.clone_model(network, clone_function=_fused)
    return _Straight(clone.inputs if len(clone.inputs) > 1 else clone.inputs[0], clone.outputs[0], name=clone.name)


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


class _Straight(keras.Model):  # type: ignore[misc]
    """A network that calls its layers one after another, without all that Keras looks at before each of them.

    That took a tenth of a step. Of what Keras does there, only the precision that a layer computes in is needed here.
    """

    def call(self, inputs: Tensor, training: bool | None = None, mask: Tensor = None) -> Tensor:
        given = self._standardize_inputs(inputs)
        if _finding_shapes(given[0]):
            return super().call(inputs, training=training, mask=mask)
        values = {id(tensor): value for tensor, value in zip(self.inputs, given, strict=True)}
        for node, dtype, context in self._steps():
            arguments, settings = node.arguments.fill_in(values)
            if dtype is not None:
                arguments = tuple(_in_precision(one, dtype) for one in arguments)
            if context:
                settings["training"] = training
            values[id(node.outputs[0])] = node.operation.call(*arguments, **settings)
        return values[id(self.outputs[0])]

    def _steps(self) -> list[tuple[Any, Any, bool]]:
        """Return the operations in order, each with its precision, and whether it asks if this is training."""
        if getattr(self, "_found_steps", None) is None:
            import torch

            nodes = [
                node for _, level in sorted(self._nodes_by_depth.items(), reverse=True) for node in level
            ]  # fmt: skip
            steps = []
            for node in (node for node in nodes if not node.is_input):
                layer = node.operation if isinstance(node.operation, keras.layers.Layer) else None
                dtype = None if layer is None else getattr(torch, layer.compute_dtype)
                steps.append((node, dtype, layer is not None and layer._call_has_training_arg))
            object.__setattr__(self, "_found_steps", steps)  # past Keras, which would look for layers in it
        found: list[tuple[Any, Any, bool]] = self._found_steps
        return found


def _in_precision(value: Tensor, dtype: Any) -> Tensor:
    if isinstance(value, list | tuple):
        return [_in_precision(one, dtype) for one in value]
    return value.to(dtype) if value.is_floating_point() and value.dtype != dtype else value


def _finding_shapes(inputs: Tensor) -> bool:
    return bool(inputs.device.type == "meta")


class _Convolution(keras.layers.Conv2D):  # type: ignore[misc]
    def call(self, inputs: Tensor) -> Tensor:
        plain = self.padding in ("same", "valid") and self.dilation_rate == (1, 1) and self.groups == 1
        if _finding_shapes(inputs) or not plain:
            return super().call(inputs)
        import torch

        kernel = self.kernel.value.to(inputs.dtype).permute(3, 2, 0, 1)
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
        bias = self.bias.value.to(inputs.dtype) if self.use_bias else None
        y = torch.nn.functional.conv2d(x, kernel, bias, stride=self.strides, padding=before).movedim(1, -1)
        return y if self.activation is None else self.activation(y)


class _Dense(keras.layers.Dense):  # type: ignore[misc]
    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        if _finding_shapes(inputs):
            return super().call(inputs, training=training)
        import torch

        bias = self.bias.value.to(inputs.dtype) if self.use_bias else None
        y = torch.nn.functional.linear(inputs, self.kernel.value.to(inputs.dtype).t(), bias)
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
    layers.Dense: _Dense,
    layers.BatchNormalization: _BatchNormalization,
    layers.ReLU: _ReLU,
    layers.AveragePooling2D: _AveragePooling,
    layers.MaxPooling2D: _MaxPooling,
    layers.SpatialDropout2D: _SpatialDropout,
}

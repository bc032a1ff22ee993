"""The networks of `emogram.network` once more, in plain PyTorch as one would write them there, to compare with.

Weights are copied from the Keras network, so that both compute the same. Memory is channels last, as PyTorch advises.
"""

from __future__ import annotations

from typing import Any

import keras
import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON, MOMENTUM = 1e-3, 0.1  # of batch normalisation, as the Keras networks have them


class ConvNormReLU(nn.Sequential):
    """Convolution padded as TensorFlow's "same" does, batch normalisation, ReLU."""

    def __init__(
        self, n_in: int, n_out: int, kernel: tuple[int, int], size: tuple[int, int], step: tuple[int, int] = (1, 1)
    ):
        spare = [max((-(-s // t) - 1) * t + k - s, 0) for s, k, t in zip(size, kernel, step, strict=True)]
        pads = (spare[1] // 2, spare[1] - spare[1] // 2, spare[0] // 2, spare[0] - spare[0] // 2)
        even = pads[0] == pads[1] and pads[2] == pads[3]
        super().__init__(
            *([] if even else [nn.ZeroPad2d(pads)]),
            nn.Conv2d(n_in, n_out, kernel, step, (pads[2], pads[0]) if even else 0, bias=False),
            nn.BatchNorm2d(n_out, EPSILON, MOMENTUM),
            nn.ReLU(),
        )


class Emonet(nn.Module):
    """`emogram.network.emonet` at width 1 without periodicity, for spectrograms of `n_frames` x `n_bands`."""

    def __init__(self, n_frames: int, n_bands: int, n_labels: int, *, block_dropout: float, dropout: float) -> None:
        super().__init__()
        height, width = -(-n_frames // 4), -(-n_bands // 2)
        blocks: list[nn.Module] = [ConvNormReLU(1, 32, (7, 5), (n_frames, n_bands), (4, 2))]
        for n_in, n_out, pool in ((32, 64, (1, 2)), (64, 128, (2, 2)), (128, 128, (1, 2))):
            height, width = height // pool[0], width // pool[1]
            blocks += [
                nn.AvgPool2d(pool),
                ConvNormReLU(n_in, n_out, (3, 3), (height, width)),
                nn.Dropout2d(block_dropout),
            ]
        self.blocks = nn.Sequential(*blocks)
        self.join = ConvNormReLU(128 * width, 192, (1, 1), (height, 1))
        self.context = ConvNormReLU(192, 192, (3, 1), (height, 1))
        self.hidden, self.attention = nn.Linear(192, 64), nn.Linear(64, 192)
        self.dropout, self.answer = nn.Dropout(dropout), nn.Linear(384, n_labels)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (n, n_labels), of spectrograms of shape (n, 1, n_frames, n_bands)."""
        x = self.blocks(4.0 * x - 2.0)
        # Bands become channels, the band first and the channel second.
        x = self.join(x.permute(0, 3, 1, 2).flatten(1, 2).unsqueeze(-1))
        x = (x + self.context(x)).squeeze(-1).transpose(1, 2)
        weights = self.attention(torch.tanh(self.hidden(x))).softmax(1)
        mean = (weights * x).sum(1)
        spread = ((weights * x.square()).sum(1) - mean.square()).clamp_min(1e-5).sqrt()
        return self.answer(self.dropout(torch.cat([mean, spread], 1)))


class Baseline(nn.Module):
    """`emogram.network.baseline` at width 1, for pictures of three colours."""

    def __init__(self, n_labels: int, *, dropout: float) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for n_in, n_out, share in ((3, 64, 0.5), (64, 128, 0.75), (128, 256, 1.0)):
            blocks += [nn.Conv2d(n_in, n_out, 3), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(n_out, EPSILON, MOMENTUM)]
            blocks += [nn.Dropout(dropout * share)]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            nn.Linear(256, 256), nn.ReLU(), nn.Dropout(dropout * 1.25),
            nn.Linear(256, 128), nn.ReLU(), nn.Dropout(dropout * 0.75), nn.Linear(128, n_labels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (n, n_labels), of pictures of shape (n, 3, height, width)."""
        return self.head(self.blocks(x).mean((2, 3)))


def copy_weights(network: keras.Model, native: nn.Module) -> None:
    """Copy the weights of a Keras network, layer by layer in the order in which they were built."""
    theirs = [layer for layer in network.layers if layer.weights]
    ours = [one for one in native.modules() if isinstance(one, nn.Conv2d | nn.BatchNorm2d | nn.Linear)]
    for source, target in zip(theirs, ours, strict=True):
        values: list[Any] = [torch.tensor(keras.ops.convert_to_numpy(value)) for value in source.get_weights()]
        if isinstance(target, nn.BatchNorm2d):
            places = [target.weight, target.bias, target.running_mean, target.running_var]
        else:
            axes = (3, 2, 0, 1) if isinstance(target, nn.Conv2d) else (1, 0)
            values[0] = values[0].permute(axes)
            places = [target.weight, *([] if target.bias is None else [target.bias])]
        for place, value in zip(places, values, strict=True):
            assert place is not None and place.shape == value.shape, "both networks have the same layers"
            place.data.copy_(value)


def native_step(native: nn.Module, *, precision: str, learning_rate: float = 1e-3) -> Any:
    """Return a function that trains `native` on a batch (inputs NHWC, targets) with Adam, and returns the loss."""
    native.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(native.parameters(), learning_rate, eps=1e-7, foreach=True)

    def step(inputs: Tensor, targets: Tensor) -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            # A view of NHWC with the strides of channels last, also where there is only one channel.
            logits = native(inputs.movedim(-1, 1))
        loss = functional.cross_entropy(logits.float(), targets, label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step

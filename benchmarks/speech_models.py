"""wav2vec2-base and HuBERT-large with random weights: their shapes cost what they cost, whatever they have learnt.

A. Baevski et al., "wav2vec 2.0", NeurIPS 2020, arXiv:2006.11477; W.-N. Hsu et al., "HuBERT", TASLP 2021,
arXiv:2106.07447. With the head that classifies utterances: mean over time, a projection to 256, an answer.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

CONVOLUTIONS = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))  # kernel, stride: 20 ms a frame at 16 kHz
N_GROUPS, POSITION_KERNEL, PROJECTION = 16, 128, 256


@dataclass(frozen=True)
class Shape:
    """Sizes of such a network.

    Attributes:
        width: Of the transformer.
        inner: Of its feed-forward layers.
        n_layers: How many.
        n_heads: Of attention.
        large: Layer norm in every convolution and before each block, as the large models have it; else group norm in
            the first convolution and layer norm after each block.
        n_channels: Of the convolutions.
    """

    width: int
    inner: int
    n_layers: int
    n_heads: int
    large: bool
    n_channels: int = 512


SHAPES = {
    "wav2vec2-base": Shape(768, 3072, 12, 12, large=False),
    "HuBERT-large": Shape(1024, 4096, 24, 16, large=True),
}


class SpeechModel(nn.Module):
    """Waveforms, shape (n, n_samples), mean 0 and variance 1 -> probabilities, shape (n, n_labels)."""

    def __init__(self, shape: Shape, n_labels: int) -> None:
        super().__init__()
        self.shape = shape
        channels = [1] + [shape.n_channels] * len(CONVOLUTIONS)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(n_in, n_out, kernel, stride, bias=shape.large)
            for n_in, n_out, (kernel, stride) in zip(channels, channels[1:], CONVOLUTIONS, strict=False)
        )
        self.norms = nn.ModuleList(
            [nn.LayerNorm(shape.n_channels) for _ in CONVOLUTIONS]
            if shape.large
            else [nn.GroupNorm(shape.n_channels, shape.n_channels)]
        )
        self.input_norm = nn.LayerNorm(shape.n_channels)
        self.input = nn.Linear(shape.n_channels, shape.width)
        self.position = nn.Conv1d(
            shape.width, shape.width, POSITION_KERNEL, padding=POSITION_KERNEL // 2, groups=N_GROUPS
        )
        self.norm = nn.LayerNorm(shape.width)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.n_layers))
        self.projector = nn.Linear(shape.width, PROJECTION)
        self.answer = nn.Linear(PROJECTION, n_labels)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return the probability of each label."""
        x = waveforms.unsqueeze(1)
        for number, convolution in enumerate(self.convolutions):
            x = convolution(x)
            if self.shape.large:
                x = self.norms[number](x.transpose(1, 2)).transpose(1, 2)
            elif number == 0:
                x = self.norms[0](x)
            x = functional.gelu(x)
        x = self.input(self.input_norm(x.transpose(1, 2)))
        x = x + functional.gelu(self.position(x.transpose(1, 2))[:, :, :-1]).transpose(1, 2)
        if not self.shape.large:
            x = self.norm(x)
        for layer in self.layers:
            x = layer(x)
        if self.shape.large:
            x = self.norm(x)
        return self.answer(self.projector(x).mean(1)).softmax(-1)


class Layer(nn.Module):
    """Attention and two dense layers, each with a way around it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.n_heads, self.first = shape.n_heads, shape.large
        self.query, self.key, self.value, self.out = (nn.Linear(shape.width, shape.width) for _ in range(4))
        self.attention_norm, self.dense_norm = nn.LayerNorm(shape.width), nn.LayerNorm(shape.width)
        self.dense = nn.Sequential(nn.Linear(shape.width, shape.inner), nn.GELU(), nn.Linear(shape.inner, shape.width))

    def forward(self, x: Tensor) -> Tensor:
        """Return frames that know of one another, same shape (n, n_frames, width)."""
        if self.first:
            x = x + self._attend(self.attention_norm(x))
            return x + self.dense(self.dense_norm(x))
        x = self.attention_norm(x + self._attend(x))
        return self.dense_norm(x + self.dense(x))

    def _attend(self, x: Tensor) -> Tensor:
        parts = (one(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for one in (self.query, self.key, self.value))
        query, key, value = parts
        weights = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
        return self.out((weights @ value).transpose(1, 2).flatten(2))


def n_parameters(shape: Shape) -> int:
    """Return how many weights there are, without making them; the head not counted."""
    with torch.device("meta"):
        network = SpeechModel(shape, 8)
    head = [*network.projector.parameters(), *network.answer.parameters()]
    return sum(one.numel() for one in network.parameters()) - sum(one.numel() for one in head)


def write_onnx(shape: Shape, n_labels: int, path: Path, *, n_samples: int) -> nn.Module:
    """Write such a network with random weights for any number of clips of one length; returns it."""
    torch.manual_seed(0)
    network = SpeechModel(shape, n_labels).eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer warns of what it takes for constant
        torch.onnx.export(
            network,
            (torch.zeros(1, n_samples),),
            str(path),
            input_names=["waveforms"],
            output_names=["probabilities"],
            dynamic_axes={"waveforms": {0: "n_clips"}, "probabilities": {0: "n_clips"}},
            opset_version=17,
            dynamo=False,
        )
    return network

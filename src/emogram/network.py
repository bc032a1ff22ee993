"""The networks, and the dict that names them. One definition each, for every Keras back end.

A network is a function from the shape of the inputs, the number of labels and a `NetworkConfig` to a `keras.Model`
whose inputs are named "spectrogram" (and "features") and whose output is the probability of each label. Where it tells
dimensions as well, such as arousal, these are its second output, and where it tells no labels its only one. It uses
only what Keras ships, so that its `.keras` file loads anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from emogram.backend import keras
from emogram.config import NetworkConfig
from emogram.errors import SettingsError
from emogram.nearby import unknown

layers, ops, regularizers = keras.layers, keras.ops, keras.regularizers

Tensor = Any  # a symbolic Keras tensor; Keras ships no types

CLASSES, DIMENSIONS = "probabilities", "dimensions"
"""The layers that answer, and the outputs of a model's ONNX file, in this order."""

ROCKET_KERNELS, ROCKET_LENGTH, ROCKET_DILATIONS = 8, 9, (1, 2, 4, 8, 14)
ROCKET_FLOOR = 0.05  # of the range: moments whose loudest band is below have no sound
ROCKET_LOUD = 0.5  # of the range: moments within so much of the loudest count as loud, those near it the more
MIN_COUNT = 1e-6  # where nothing sounds
ROCKET_BANDS, ROCKET_CONVOLUTION, ROCKET_THRESHOLDS, ROCKET_SHARES = "bands", "kernels", "thresholds", "shares"

MIN_BASELINE_SIZE = 22  # three times a convolution without padding and pooling leave one of it


@dataclass(frozen=True)
class InputShapes:
    """What goes into a network.

    Attributes:
        spectrogram: (n_frames or None, n_bands, 1) for log-mels, (height, width, 3) for pictures.
        n_features: Number of utterance features; 0 where there are none.
        n_periodicity: How many of the bands, the last ones, show periodicity; see `periodicity`.
    """

    spectrogram: tuple[int | None, int, int]
    n_features: int = 0
    n_periodicity: int = 0


def build_network(
    shapes: InputShapes,
    n_labels: int,
    config: NetworkConfig,
    *,
    n_dimensions: int = 0,
    beside_kernels: bool = False,
) -> keras.Model:
    """Build the network that `config.network` names, with random weights from Keras' global seed.

    Args:
        shapes: What goes into it.
        n_labels: Number of labels; 0 where it tells dimensions only.
        config: Which network.
        n_dimensions: Number of dimensions, each told from 0 to 1.
        beside_kernels: With random kernels beside it from the beginning, and an answer of both that learns: where
            training goes on from a model that has them.

    Raises:
        SettingsError: There is no such network, or it does not take such inputs.
    """
    if config.network not in NETWORKS:
        raise SettingsError(unknown("network", config.network, NETWORKS))
    wants_features = config.network in TAKES_FEATURES
    if wants_features and not shapes.n_features:
        raise SettingsError(f"network '{config.network}' also takes utterance features, which only sound has")
    if shapes.n_periodicity and config.network not in TAKES_PERIODICITY:
        raise SettingsError(f"network '{config.network}' takes no periodicity bands; set periodicity_bands to 0")
    if shapes.n_features and not wants_features:
        raise SettingsError(f"network '{config.network}' takes no utterance features; set utterance_features to false")
    network = NETWORKS[config.network](shapes, n_labels, config, n_dimensions)
    if beside_kernels:
        network = with_kernels(network, shapes.n_periodicity, config)
        network.get_layer(CLASSES).trainable = True
    return network


def emonet(shapes: InputShapes, n_labels: int, config: NetworkConfig, n_dimensions: int = 0) -> keras.Model:
    """Build the default network: few plain convolutions, every band in its place, then the moments that matter.

    Time is thinned out at once and frequency step by step: the first layers of a spectrogram CNN cost most and say
    least. After four convolutions the bands that are left become channels, since pitch and formants lie somewhere, and
    an average over frequency forgets where. Attentive statistics pooling (Okabe et al., Interspeech 2018,
    arXiv:1803.10963) turns any number of frames into one vector. Pictures are turned so that time is their first axis.
    Bands of periodicity pass through convolutions of their own, and join where bands become channels.
    """
    spectrogram = keras.Input(shapes.spectrogram, name="spectrogram")
    x = layers.Rescaling(4.0, offset=-2.0)(spectrogram)  # [0, 1] -> [-2, 2]
    if shapes.spectrogram[0] is not None:
        x = layers.Permute((2, 1, 3))(x)
    melody = None
    if shapes.n_periodicity:
        melody = _melody(x[:, :, -shapes.n_periodicity :], config)
        x = x[:, :, : -shapes.n_periodicity]
    *widths, n_channels = (max(8, round(width * config.width / 8) * 8) for width in (32, 64, 128, 128, 192))
    x = layers.ReLU()(_convolution(x, widths[0], kernel=(7, 5), strides=(4, 2), l2=config.l2))
    for width, pool in zip(widths[1:], ((1, 2), (2, 2), (1, 2)), strict=True):
        x = layers.AveragePooling2D(pool, padding="same")(x)
        x = layers.ReLU()(_convolution(x, width, kernel=3, l2=config.l2))
        if config.block_dropout:
            x = layers.SpatialDropout2D(config.block_dropout)(x)
    x = _bands_as_channels(x)
    if melody is not None:
        x = layers.Concatenate()([x, melody])
    x = layers.ReLU()(_convolution(x, n_channels, kernel=1, l2=config.l2))
    x = layers.Add()([x, layers.ReLU()(_convolution(x, n_channels, kernel=(3, 1), l2=config.l2))])
    x = _attentive_statistics(layers.Reshape((-1, n_channels))(x))
    x = layers.Dropout(config.dropout)(x)
    return keras.Model(spectrogram, _answer(x, n_labels, n_dimensions, config), name="emonet")


def _melody(x: Tensor, config: NetworkConfig) -> Tensor:
    """Turn bands of periodicity into channels, in as few frames as the other bands come to."""
    first, second = (max(8, round(width * config.width / 8) * 8) for width in (16, 32))
    x = layers.ReLU()(_convolution(x, first, kernel=(7, 5), strides=(4, 2), l2=config.l2))
    x = layers.AveragePooling2D((2, 2), padding="same")(x)
    x = layers.ReLU()(_convolution(x, second, kernel=3, l2=config.l2))
    x = layers.AveragePooling2D((1, 2), padding="same")(x)
    x = layers.ReLU()(_convolution(x, second, kernel=3, l2=config.l2))
    if config.block_dropout:
        x = layers.SpatialDropout2D(config.block_dropout)(x)
    return _bands_as_channels(x)


def _bands_as_channels(x: Tensor) -> Tensor:
    return layers.Reshape((-1, 1, x.shape[2] * x.shape[3]))(x)


def baseline(shapes: InputShapes, n_labels: int, config: NetworkConfig, n_dimensions: int = 0) -> keras.Model:
    """Build the origin's kind of network, for pictures: three plain blocks, global pooling, two dense layers."""
    spectrogram = keras.Input(shapes.spectrogram, name="spectrogram")
    x = _baseline_head(_baseline_body(spectrogram, config), config)
    return keras.Model(spectrogram, _answer(x, n_labels, n_dimensions, config), name="baseline")


def baseline_features(shapes: InputShapes, n_labels: int, config: NetworkConfig, n_dimensions: int = 0) -> keras.Model:
    """Build the origin's second idea: `baseline` beside a dense branch over standardised utterance features.

    The standardisation is a layer of the network, so that it travels with it; `adapt_features` sets it.
    """
    spectrogram = keras.Input(shapes.spectrogram, name="spectrogram")
    features = keras.Input((shapes.n_features,), name="features")
    # Single precision whatever the rest computes in: half of it has no digits to tell 1500 Hz from 1504.
    y = layers.Normalization(name="standardise", dtype="float32")(features)
    for width, share in ((128, 0.75), (64, 0.5)):
        y = layers.Dense(width, activation="relu", kernel_regularizer=_penalty(config.l2))(y)
        y = _normalisation()(y)
        y = layers.Dropout(config.dropout * share)(y)
    x = layers.Concatenate()([_baseline_body(spectrogram, config), y])
    x = _baseline_head(x, config)
    inputs = {"spectrogram": spectrogram, "features": features}
    return keras.Model(inputs, _answer(x, n_labels, n_dimensions, config), name="baseline_features")


def rocket(shapes: InputShapes, n_labels: int, config: NetworkConfig, n_dimensions: int = 0) -> keras.Model:
    """Build a network of random convolutions over time and one dense layer; see `random_kernels`, which solves it."""
    if n_dimensions:
        raise SettingsError("network 'rocket' tells labels only; train another for dimensions")
    spectrogram = keras.Input(shapes.spectrogram, name="spectrogram")
    x = _kernel_shares(spectrogram, shapes.n_periodicity, config)
    return keras.Model(spectrogram, _solved_answer(x, n_labels), name="rocket")


def with_kernels(network: keras.Model, n_periodicity: int, config: NetworkConfig) -> keras.Model:
    """Return a trained network beside `rocket`, with one answer of what both come to, which is to be solved.

    Args:
        network: Of one input, that tells labels only. Its layers are shared, but for the last.
        n_periodicity: How many of its bands are of periodicity.
        config: Of `rocket`.
    """
    spectrogram = network.inputs[0]
    answer = network.get_layer(CLASSES)
    x = layers.Concatenate()([answer.input, _kernel_shares(spectrogram, n_periodicity, config)])
    return keras.Model(spectrogram, _solved_answer(x, answer.units), name=network.name)


def n_shares(network: keras.Model) -> int:
    """Return how many shares of random kernels the answer of a network looks at, after all else; 0 without kernels."""
    return next((layer.output.shape[-1] for layer in network.layers if layer.name == ROCKET_SHARES), 0)


def _kernel_shares(spectrogram: Tensor, n_periodicity: int, config: NetworkConfig) -> Tensor:
    """Return in which share of the time each of thousands of random kernels is above its threshold, see `_moments`.

    A moment is the mean of `config.kernel_pooling` frames, of which the noise is less: half as many cost half as much.
    Bands are joined to `config.kernel_bands` sums of neighbours, each of which passes `ROCKET_KERNELS` short kernels at
    each of `ROCKET_DILATIONS` up to `config.max_dilation`. It does not count how far a kernel is above its threshold,
    so that no single moment can outweigh the rest. Nothing here learns step by step.
    """
    _, n_times, n_bands, n_colours = spectrogram.shape
    x = spectrogram
    if n_times is not None:  # pictures: time is their second axis
        x = layers.Permute((2, 1, 3))(x)
        n_bands = n_times
    if config.kernel_pooling > 1:
        x = layers.AveragePooling2D((config.kernel_pooling, 1), padding="same")(x)
    # Time lies along the width, where ONNX Runtime takes a quarter of the time that it takes along the height.
    x = layers.Reshape((1, -1, n_bands * n_colours))(x)
    loudest = ops.max(x[..., : n_bands * n_colours - n_periodicity], axis=-1, keepdims=True)
    moments = layers.Concatenate()(_moments(loudest, course=config.kernel_course))
    x = layers.Dense(config.kernel_bands, use_bias=False, trainable=False, name=ROCKET_BANDS)(x)
    shares = []
    for dilation in (one for one in ROCKET_DILATIONS if one <= config.max_dilation):
        y = layers.DepthwiseConv2D(
            (1, ROCKET_LENGTH),
            padding="same",
            depth_multiplier=ROCKET_KERNELS,
            dilation_rate=(1, dilation),
            use_bias=False,
            trainable=False,
            name=f"{ROCKET_CONVOLUTION}_{dilation}",
        )(x)
        y = layers.BatchNormalization(epsilon=1e-12, trainable=False, name=f"{ROCKET_THRESHOLDS}_{dilation}")(y)
        # From below its threshold to above it in a straight line, lest the last digit of a sum decide.
        above = ops.transpose(layers.ReLU(max_value=1.0)(y), (0, 1, 3, 2))
        shares.append(layers.Flatten()(ops.matmul(above, moments)))
    return layers.Concatenate(name=ROCKET_SHARES)(shares)


def _moments(loudest: Tensor, *, course: bool) -> list[Tensor]:
    """Return how much each moment counts, in two or three ways, each of shape (n, 1, n_moments, 1) and of sum 1.

    All that sound count alike, and those that are loud by how loud they are: other voices and noise are heard between
    the loud moments of who is nearest.

    Args:
        loudest: The loudest band of each moment, shape (n, 1, n_moments, 1).
        course: Loud moments count twice: the more the earlier they are, and the more the later.
    """
    sounding = ops.sign(layers.ReLU()(loudest - ROCKET_FLOOR))
    peak = ops.max(loudest, axis=2, keepdims=True)
    loud = _shares_of_sum(sounding * layers.ReLU()(loudest - peak + ROCKET_LOUD))
    if not course:
        return [_shares_of_sum(sounding), loud]
    until = ops.cumsum(loud, axis=2)
    return [_shares_of_sum(sounding), _shares_of_sum(loud * (1.0 - until)), _shares_of_sum(loud * until)]


def _shares_of_sum(x: Tensor) -> Tensor:
    return x / ops.maximum(ops.sum(x, axis=2, keepdims=True), MIN_COUNT)


def _solved_answer(x: Tensor, n_labels: int) -> Tensor:
    return layers.Dense(n_labels, activation="softmax", trainable=False, dtype="float32", name=CLASSES)(x)


NETWORKS: dict[str, Callable[[InputShapes, int, NetworkConfig, int], keras.Model]] = {
    "emonet": emonet,
    "baseline": baseline,
    "baseline-features": baseline_features,
    "rocket": rocket,
}
TAKES_FEATURES = frozenset({"baseline-features"})
TAKES_PERIODICITY = frozenset({"emonet", "rocket"})


def adapt_features(network: keras.Model, features: Any) -> None:
    """Set the standardisation of a two-input network from the training clips, features of shape (n, n_features)."""
    network.get_layer("standardise").adapt(features)


def _baseline_body(x: Tensor, config: NetworkConfig) -> Tensor:
    """Three blocks as PROTOCOLS.md, P2, gives them: at `dropout` 0.4 their dropout is 0.2, 0.3 and 0.4."""
    sizes = [size for size in x.shape[1:3] if size is not None]
    if min(sizes) < MIN_BASELINE_SIZE:
        raise SettingsError(
            f"spectrograms of {' x '.join(map(str, sizes))}; the baseline networks take at least {MIN_BASELINE_SIZE} "
            "rows and columns"
        )
    for width, share in ((64, 0.5), (128, 0.75), (256, 1.0)):
        n_filters = max(8, round(width * config.width))
        x = layers.Conv2D(n_filters, 3, activation="relu", kernel_regularizer=_penalty(config.l2))(x)
        x = layers.MaxPooling2D(2)(x)
        x = _normalisation()(x)
        x = layers.Dropout(config.dropout * share)(x)
    return layers.GlobalAveragePooling2D()(x)


def _baseline_head(x: Tensor, config: NetworkConfig) -> Tensor:
    for width, share in ((256, 1.25), (128, 0.75)):
        x = layers.Dense(
            max(8, round(width * config.width)), activation="relu", kernel_regularizer=_penalty(config.l2)
        )(x)
        x = layers.Dropout(min(0.95, config.dropout * share))(x)
    return x


def _answer(x: Tensor, n_labels: int, n_dimensions: int, config: NetworkConfig) -> Tensor:
    # A logistic function, so that no answer lies beyond the ends of its scale.
    heads = {CLASSES: (n_labels, "softmax"), DIMENSIONS: (n_dimensions, "sigmoid")}
    # Single precision whatever the rest computes in: a softmax in half precision loses the small probabilities.
    answers = [
        layers.Dense(size, activation=function, kernel_regularizer=_penalty(config.l2), dtype="float32", name=name)(x)
        for name, (size, function) in heads.items()
        if size
    ]
    return answers[0] if len(answers) == 1 else answers


def _convolution(
    x: Tensor, width: int, *, kernel: int | tuple[int, int], strides: int | tuple[int, int] = 1, l2: float
) -> Tensor:
    x = layers.Conv2D(
        width,
        kernel,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        kernel_regularizer=_penalty(l2),
    )(x)
    return _normalisation()(x)


def _normalisation() -> keras.layers.Layer:
    # Keras' default momentum of 0.99 takes some 500 steps to forget its first guess: on a small corpus that is a dozen
    # epochs in which validation sees noise, and the plateau schedule lowers the learning rate for it.
    return layers.BatchNormalization(momentum=0.9)


def _attentive_statistics(x: Tensor) -> Tensor:
    """Pool (n, n_frames, width) to the weighted mean and standard deviation of each channel, (n, 2 * width)."""
    weights = layers.Dense(x.shape[-1])(layers.Dense(64, activation="tanh")(x))
    weights = layers.Softmax(axis=1)(weights)
    mean = ops.sum(weights * x, axis=1)
    variance = ops.sum(weights * ops.square(x), axis=1) - ops.square(mean)
    return layers.Concatenate()([mean, ops.sqrt(ops.maximum(variance, 1e-5))])


def _penalty(l2: float) -> keras.regularizers.Regularizer | None:
    return regularizers.L2(l2) if l2 else None

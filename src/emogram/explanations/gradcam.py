"""Where the convolutions saw what spoke for an answer; needs the Keras network.

Grad-CAM: R. R. Selvaraju et al., "Grad-CAM: Visual explanations from deep networks via gradient-based localization",
ICCV 2017, arXiv:1610.02391, with two changes. It weighs each channel by the mean of its gradient over all places, which
is true only where the network then averages over all places; `emonet` keeps frequencies apart, so the gradient of each
place weighs that place: R. L. Draelos and L. Carin, "HiResCAM", arXiv:2011.08891. And it looks into the last
convolution, where `emonet` has four bands left; here it is the last one that tells `MIN_BANDS` apart. On eight clips of
RAVDESS, by two actors who did not train the model, the mean probability while ever more is hidden was 0.40 as
published, 0.36 with the first change and 0.17 with both, as with occlusion; 0.25 with the loudest hidden first, 0.45 at
random.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from emogram.bundle import Bundle
from emogram.errors import ModelError
from emogram.explanations.heard import Heard
from emogram.saved_network import load_network
from emogram.spectrogram import FloatArray

if TYPE_CHECKING:
    import keras

Tensor = Any

MIN_BANDS = 16


def grad_cam(bundle: Bundle, heard: Heard, labels: Sequence[int]) -> FloatArray:
    """Return where the convolutions saw what raises the logit of each label.

    Args:
        bundle: The model, with its Keras network.
        heard: What it hears.
        labels: Places of the labels to explain.

    Returns:
        Shape (n_labels, n_frames, n_mels): activation times gradient, summed over channels, as coarse as the
        layer that is looked into and smoothed between its cells; below 0 where it speaks against the label. The scale
        means nothing.

    Raises:
        ModelError: The bundle holds no Keras network, or one without convolutions.
    """
    from emogram.backend import keras
    from emogram.network import CLASSES, n_shares

    network = load_network(bundle)
    layer = _place_layer(network, bundle)
    answer = network.get_layer(CLASSES)
    given = heard.inputs(heard.scaled[np.newaxis])
    seen = keras.Model(network.inputs, layer.output)
    # Random kernels beside the network hear the spectrogram past the layer, and have no part in the map.
    past = n_shares(network) > 0
    beside = [each for each in network.inputs if past or each.name != "spectrogram"]
    rest = keras.Model([layer.output, *beside], answer.input)
    activations = np.asarray(seen.predict_on_batch([given[each.name] for each in network.inputs]))
    others = [given[each.name] for each in beside]

    def logit(label: int) -> Callable[[Tensor], Tensor]:
        def of(x: Tensor) -> Tensor:
            embedding = rest([x, *(keras.ops.convert_to_tensor(each) for each in others)], training=False)
            return keras.ops.sum(keras.ops.matmul(embedding, answer.kernel)[:, label])

        return of

    turned = any(isinstance(each, keras.layers.Permute) for each in network.layers)
    maps = []
    for label in labels:
        map_ = (activations * _gradient(logit(label), activations))[0].sum(axis=-1)
        maps.append(_to_frames(map_, heard, turned=turned))
    return np.stack(maps).astype(np.float32)


def _place_layer(network: keras.Model, bundle: Bundle) -> keras.layers.Layer:
    """Return the last layer, not before the first convolution, that tells `MIN_BANDS` and more apart, or the most."""
    from emogram.backend import keras

    first = next((i for i, layer in enumerate(network.layers) if isinstance(layer, keras.layers.Conv2D)), None)
    if first is None:
        raise ModelError(f"{bundle.folder}: its network has no convolution to look into; say --method occlusion")
    # Those of random kernels are one row high.
    in_place = [
        layer for layer in network.layers[first:] if len(layer.output.shape) == 4 and layer.output.shape[1] != 1
    ]
    wanted = min(MIN_BANDS, max(layer.output.shape[2] for layer in in_place))
    return [layer for layer in in_place if layer.output.shape[2] >= wanted][-1]


def _gradient(function: Callable[[Tensor], Tensor], x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the gradient of a scalar function at x, on whatever back end Keras has."""
    from emogram.backend import keras

    back_end = keras.backend.backend()
    if back_end == "torch":
        import torch

        with torch.enable_grad():
            tensor = keras.ops.convert_to_tensor(x).detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(function(tensor), tensor)
        return np.asarray(gradient.cpu())
    if back_end == "tensorflow":
        import tensorflow

        tensor = tensorflow.convert_to_tensor(x)
        with tensorflow.GradientTape() as tape:
            tape.watch(tensor)
            value = function(tensor)
        return np.asarray(tape.gradient(value, tensor))
    import jax

    return np.asarray(jax.grad(function)(x))


def _to_frames(map_: npt.NDArray[np.float32], heard: Heard, *, turned: bool) -> npt.NDArray[np.float64]:
    """Bring a map of the network's last places to the frames and bands that are heard."""
    n_frames, n_mels = heard.scaled.shape
    if heard.config.kind == "picture":
        # A picture has time along its second axis, unless the network turns it, and high frequencies first.
        in_time = (map_ if turned else map_.T)[:, ::-1]
        return _resized(in_time, n_frames, n_mels)
    n_padded = heard.inputs(heard.scaled[np.newaxis])["spectrogram"].shape[1]
    before = (n_padded - n_frames) // 2
    return _resized(map_, n_padded, n_mels)[before : before + n_frames]


def _resized(values: npt.NDArray[np.float32], n_rows: int, n_columns: int) -> npt.NDArray[np.float64]:
    """Stretch an array to that size, linearly between the middles of its cells."""
    stretched: npt.NDArray[np.float64] = (
        _weights(values.shape[0], n_rows) @ values @ _weights(values.shape[1], n_columns).T
    )
    return stretched


def _weights(size: int, wanted: int) -> npt.NDArray[np.float64]:
    """Return what each of `size` cells gives to each of `wanted`, shape (wanted, size)."""
    places = (np.arange(wanted) + 0.5) * size / wanted - 0.5
    return np.stack([np.interp(places, np.arange(size), row) for row in np.eye(size)], axis=1)

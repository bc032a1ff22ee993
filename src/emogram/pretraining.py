"""The weights of a trained model -> where another training starts."""

from __future__ import annotations

from collections.abc import Sequence

from emogram.backend import keras
from emogram.bundle import Bundle
from emogram.errors import ModelError
from emogram.network import CLASSES, DIMENSIONS
from emogram.saved_network import load_network


def take_over(bundle: Bundle, network: keras.Model, labels: tuple[str, ...], dimensions: tuple[str, ...] = ()) -> None:
    """Give a new network the weights of a trained one; of the last layers those of what both tell.

    Args:
        bundle: The trained one.
        network: The new one.
        labels: Its labels.
        dimensions: Its dimensions.

    Raises:
        ModelError: The model holds no network to train on, or one of another structure.
    """
    trained = load_network(bundle)
    mine, theirs = (_body(each) for each in (network, trained))
    if [_shapes(layer) for layer in mine] != [_shapes(layer) for layer in theirs]:
        raise ModelError(
            f"{bundle.folder}: its network has other layers than this version of emogram builds; train it anew"
        )
    for new, old in zip(mine, theirs, strict=True):
        new.set_weights(old.get_weights())
    known = [dimension.name for dimension in bundle.info.dimensions]
    _take_over_answers(trained, network, CLASSES, bundle.info.labels, labels)
    _take_over_answers(trained, network, DIMENSIONS, known, dimensions)


def _take_over_answers(
    trained: keras.Model, network: keras.Model, layer: str, known: Sequence[str], wanted: Sequence[str]
) -> None:
    """Give a layer that answers the weights of those answers that a trained one knows too."""
    shared = [name for name in wanted if name in known]
    if not shared:
        return
    answer = network.get_layer(layer)
    new = answer.get_weights()
    for mine, theirs in zip(new, trained.get_layer(layer).get_weights(), strict=True):
        mine[..., [wanted.index(name) for name in shared]] = theirs[..., [known.index(name) for name in shared]]
    answer.set_weights(new)


def _body(network: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers before those that answer."""
    return [layer for layer in network.layers if layer.name not in (CLASSES, DIMENSIONS)]


def _shapes(layer: keras.layers.Layer) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]

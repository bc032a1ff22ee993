"""The weights of a trained model -> where another training starts."""

from __future__ import annotations

from emogram.backend import keras
from emogram.bundle import Bundle
from emogram.errors import ModelError
from emogram.saved_network import load_network

ANSWER_LAYER = "probabilities"


def take_over(bundle: Bundle, network: keras.Model, labels: tuple[str, ...]) -> None:
    """Give a new network the weights of a trained one; of the last layer those of labels that both know.

    Raises:
        ModelError: The model holds no network to train on, or one of another structure.
    """
    trained = load_network(bundle)
    pairs = list(zip(network.layers, trained.layers, strict=False))
    if len(network.layers) != len(trained.layers) or any(_shapes(a) != _shapes(b) for a, b in pairs[:-1]):
        raise ModelError(
            f"{bundle.folder}: its network has other layers than this version of emogram builds; train it anew"
        )
    for mine, theirs in pairs:
        if mine.name != ANSWER_LAYER:
            mine.set_weights(theirs.get_weights())
    answer = network.get_layer(ANSWER_LAYER)
    old = trained.get_layer(ANSWER_LAYER).get_weights()
    new = answer.get_weights()
    for place, label in enumerate(labels):
        if label in bundle.info.labels:
            for mine, theirs in zip(new, old, strict=True):
                mine[..., place] = theirs[..., bundle.info.labels.index(label)]
    answer.set_weights(new)


def _shapes(layer: keras.layers.Layer) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]

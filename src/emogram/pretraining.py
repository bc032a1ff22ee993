"""The weights of a trained model -> where another training starts, and which of them it leaves alone."""

from __future__ import annotations

from emogram.backend import keras
from emogram.bundle import KERAS_FILE, Bundle
from emogram.config import TrainConfig
from emogram.errors import ModelError
from emogram.network import ANSWER_LAYER
from emogram.rebuilt import rebuild_network
from emogram.saved_network import load_network


def take_over(
    bundle: Bundle, network: keras.Model, labels: tuple[str, ...], *, normalization_stays: bool = False
) -> None:
    """Give a new network the weights of a trained one; of the last layer those of labels that both know.

    Args:
        bundle: The model. One that comes without `best.keras` is rebuilt from its ONNX file, see `rebuilt`, which keeps
            no statistics of the normalisation.
        network: The network.
        labels: Its labels.
        normalization_stays: Whether training will leave its normalisation as it is, so that nothing lacks these.

    Raises:
        ModelError: The model holds no network to train on, or one of another structure.
    """
    trained = load_network(bundle) if KERAS_FILE in bundle.hashes else rebuild_network(bundle)
    if not normalization_stays and _without_statistics(trained):
        raise ModelError(
            f"{bundle.folder}: the means and variances of its normalisation were folded away when it was made to ship, "
            "so training cannot go on from them; say --freeze-normalization, or start from a folder as `emogram train` "
            "wrote it"
        )
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


def leave_alone(network: keras.Model, settings: TrainConfig) -> None:
    """Take from training what is to stay as the model to start from has it; to be called before `compile`."""
    for layer in network.layers:
        in_trunk = layer.name != ANSWER_LAYER
        if (in_trunk and settings.trunk_rate == 0.0) or (
            settings.freeze_normalization and isinstance(layer, keras.layers.BatchNormalization)
        ):
            layer.trainable = False


def _without_statistics(network: keras.Model) -> bool:
    """Tell whether a network, or one that it was trained on from, was rebuilt: then all means are 0 to the bit."""
    found = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    return bool(found) and all(not keras.ops.convert_to_numpy(layer.moving_mean).any() for layer in found)


def _shapes(layer: keras.layers.Layer) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]

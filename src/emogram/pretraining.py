"""The weights of a trained model -> where another training starts, and which of them it leaves alone."""

from __future__ import annotations

from collections.abc import Sequence

from emogram.backend import keras
from emogram.bundle import KERAS_FILE, Bundle
from emogram.config import TrainConfig
from emogram.errors import ModelError
from emogram.network import CLASSES, DIMENSIONS, n_shares
from emogram.rebuilt import rebuild_network
from emogram.saved_network import load_network


def take_over(
    bundle: Bundle,
    network: keras.Model,
    labels: tuple[str, ...],
    dimensions: tuple[str, ...] = (),
    *,
    normalization_stays: bool = False,
) -> None:
    """Give a new network the weights of a trained one; of the last layers those of what both tell.

    Args:
        bundle: The model. One that comes without `best.keras` is rebuilt from its ONNX file, see `rebuilt`, which keeps
            no statistics of the normalisation.
        network: The network.
        labels: Its labels.
        dimensions: Its dimensions.
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
    new[0][len(new[0]) - n_shares(network) :] = 0.0  # random kernels say nothing of labels that are new
    for mine, theirs in zip(new, trained.get_layer(layer).get_weights(), strict=True):
        mine[..., [wanted.index(name) for name in shared]] = theirs[..., [known.index(name) for name in shared]]
    answer.set_weights(new)


class KernelsStay(keras.callbacks.Callback):  # type: ignore[misc]
    """Holds what random kernels say as the model to start from has it, while the network beside them learns.

    Thousands of shares that are all above 0 would carry every step of an optimiser a hundred times too far.
    """

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Remember the weights."""
        self._kernel = self.model.get_layer(CLASSES).kernel
        self._first = self._kernel.shape[0] - n_shares(self.model)
        self._kept = keras.ops.copy(self._kernel.value[self._first :])

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Put them back."""
        if hasattr(self.model, "jax_state_sync"):  # on JAX the weights lie elsewhere during an epoch
            self.model.jax_state_sync()
        self._kernel.assign(keras.ops.concatenate([self._kernel.value[: self._first], self._kept]))


def leave_alone(network: keras.Model, settings: TrainConfig) -> None:
    """Take from training what is to stay as the model to start from has it; to be called before `compile`."""
    for layer in _body(network):
        if settings.trunk_rate == 0.0 or (
            settings.freeze_normalization and isinstance(layer, keras.layers.BatchNormalization)
        ):
            layer.trainable = False


def _body(network: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers before those that answer."""
    return [layer for layer in network.layers if layer.name not in (CLASSES, DIMENSIONS)]


def _without_statistics(network: keras.Model) -> bool:
    """Tell whether a network, or one that it was trained on from, was rebuilt: then all means are 0 to the bit."""
    found = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    return bool(found) and all(not keras.ops.convert_to_numpy(layer.moving_mean).any() for layer in found)


def _shapes(layer: keras.layers.Layer) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]

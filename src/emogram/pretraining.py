"""A trained model -> where another training starts; what it has heard must not be judged."""

from __future__ import annotations

from typing import Any

from emogram.backend import keras
from emogram.bundle import KERAS_FILE, Bundle, Origin, TrainingCorpus, open_bundle
from emogram.config import NetworkConfig, RunConfig, Settings
from emogram.dataset import Dataset
from emogram.errors import CorpusError, ModelError, SettingsError
from emogram.splits import Split

ANSWER_LAYER = "probabilities"

# What may differ: it holds a network back while it learns, and is no part of what it computes.
FREE_SETTINGS = frozenset({"dropout", "block_dropout", "l2"})


def open_start(config: RunConfig, dataset: Dataset, split: Split) -> Bundle | None:
    """Open the model that `config.train.init` names, and see that this training may start from it.

    Returns:
        The model; None where none is named.

    Raises:
        ModelError: It is missing or damaged, or its network or spectrograms are made otherwise; settings are named.
        CorpusError: It was trained on, or chosen by, speakers who choose or judge here, or it cannot be told.
    """
    if config.train.init is None:
        return None
    bundle = open_bundle(config.train.init)
    _refuse_other_settings(bundle, "spectrogram", bundle.info.spectrogram, dataset.spectrogram)
    _refuse_other_settings(bundle, "network", _network_of(bundle), config.network)
    _refuse_heard(bundle, dataset, split)
    return bundle


def take_over(bundle: Bundle, network: keras.Model, labels: tuple[str, ...]) -> None:
    """Give a new network the weights of a trained one; of the last layer those of labels that both know.

    Raises:
        ModelError: The model holds no network to train on, or one of another structure.
    """
    trained = keras.saving.load_model(bundle.file(KERAS_FILE), compile=False)
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


def describe_start(bundle: Bundle) -> tuple[Origin, tuple[TrainingCorpus, ...]]:
    """Return what `model.json` says of the model that training started from, and of the corpora that it knows."""
    info = bundle.info
    origin = Origin(
        model_id=info.model_id, sha256=bundle.sha256, heard=tuple(sorted(info.heard("train", "validation")))
    )
    return origin, tuple(corpus.model_copy(update={"pretraining": True}) for corpus in info.trained_on)


def says_start(bundle: Bundle | None) -> str:
    """Return what must stand beside a figure of a model that started from another; "" where it did not."""
    if bundle is None:
        return ""
    corpora = dict.fromkeys(corpus.corpus for corpus in bundle.info.trained_on)
    return f"; started from a model trained on {', '.join(corpora) or 'unknown corpora'}"


def _shapes(layer: keras.layers.Layer) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]


def _network_of(bundle: Bundle) -> NetworkConfig:
    values = dict(bundle.info.network)
    try:
        return NetworkConfig.from_dict({"network": values.pop("name"), **values})
    except SettingsError as error:
        raise ModelError(f"{bundle.folder}: its network is not known here: {error}") from None


def _refuse_other_settings(bundle: Bundle, what: str, theirs: Settings | None, mine: Settings | None) -> None:
    there, here = (_values(settings) for settings in (theirs, mine))
    differing = [
        f"{name} is {there.get(name)} there and {here.get(name)} here"
        for name in {**there, **here}
        if name not in FREE_SETTINGS and there.get(name) != here.get(name)
    ]
    if differing:
        raise ModelError(
            f"{bundle.folder}: training cannot start from this model, its {what} settings differ: "
            f"{'; '.join(differing)}; use its settings, or train such a model"
        )


def _values(settings: Settings | None) -> dict[str, Any]:
    return {"sound": False} if settings is None else settings.model_dump(mode="json")


def _refuse_heard(bundle: Bundle, dataset: Dataset, split: Split) -> None:
    heard = bundle.info.heard("train", "validation")
    known = {corpus.corpus for corpus in bundle.info.trained_on}
    for part, indices in (("validation", split.validation), ("test", split.test)):
        clips = [dataset.clips[index] for index in indices]
        leaking = sorted({f"{clip.corpus}/{clip.speaker}" for clip in clips} & heard)
        if leaking:
            raise CorpusError(
                f"{bundle.folder}: this model has heard {', '.join(leaking)}, and the {part} part is of voices never "
                "heard; start from a model of other speakers or corpora"
            )
        untold = sorted({clip.corpus for clip in clips if clip.speaker is None} & known)
        if untold:
            raise CorpusError(
                f"{bundle.folder}: this model was trained on {', '.join(untold)}, and the speakers of the {part} part "
                "are not known, so it may have heard them; start from a model of other corpora"
            )

"""The models that a service offers, loaded once and shared by all requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from emogram.classifier import Classifier
from emogram.errors import SettingsError
from emogram.serve.problems import Problem
from emogram.writers.results import model_dict as result_model_dict


class Models:
    """Models by id; the first is the one that answers where none is named."""

    def __init__(self, classifiers: Sequence[Classifier]) -> None:
        """Take loaded models.

        Raises:
            SettingsError: There is none, two have one id, or one does not take sound.
        """
        if not classifiers:
            raise SettingsError("no model to serve")
        self._by_id: dict[str, Classifier] = {}
        for each in classifiers:
            name = each.info.model_id
            if name in self._by_id:
                raise SettingsError(f"two models are called {name}; serve one of them")
            if each.info.spectrogram is None:
                raise SettingsError(f"{each.bundle.folder}: takes pictures made elsewhere; serve a model of sound")
            if not each.labels:
                raise SettingsError(
                    f"{each.bundle.folder}: tells dimensions only; serve a model of classes, or of both"
                )
            self._by_id[name] = each

    def __iter__(self) -> Iterator[Classifier]:
        return iter(self._by_id.values())

    def named(self, name: str | None) -> Classifier:
        """Return a model by its id, or the first.

        Raises:
            Problem: There is no such model.
        """
        if name is None:
            return next(iter(self))
        if name not in self._by_id:
            raise Problem("bad_parameter", f"no model '{name[:100]}' here; GET /v1/models names them")
        return self._by_id[name]


def model_dict(classifier: Classifier) -> dict[str, Any]:
    """Return what a result says of its model."""
    return result_model_dict(classifier.info, classifier.sha256)

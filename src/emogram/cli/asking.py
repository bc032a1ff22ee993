"""`emogram predict --server`: the same answers, from a service."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emogram.bundle import SHIPPED
from emogram.errors import EmogramError, ServerError, SettingsError

if TYPE_CHECKING:
    from emogram.client import Client
    from emogram.progress import Progress
    from emogram.records import Clip, Prediction

# What no other file would be answered differently.
_FOR_ALL = ("unreachable", "unauthorized", "forbidden")


def refuse_with_server(**options: object) -> None:
    """Refuse what a service does not do, with the options that were given.

    Raises:
        SettingsError: One was.
    """
    for name, value in options.items():
        if value:
            option = f"--{name.replace('_', '-')}"
            raise SettingsError(f"{option} is not done by a service; leave it out, or leave out --server")


class Server:
    """A service that predicts, in place of a classifier; used as a context.

    Attributes:
        labels: Labels of the model that answers.
    """

    labels: tuple[str, ...]

    def __init__(self, url: str, model: Path) -> None:
        """Ask for its models; the token is in the environment, since a command line can be read by others.

        Args:
            url: Its address.
            model: Id of a model; `SHIPPED`, the default, stands for the first.

        Raises:
            EmogramError: It is not there, lets nobody in, or has no such model.
        """
        from emogram.client import Client

        self._client: Client = Client(url, os.environ.get("EMOGRAM_TOKEN") or None)
        self._model = None if str(model) == SHIPPED else str(model)
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._client)
            self.labels = self._labels(url)
            stack.pop_all()

    def __enter__(self) -> Server:
        """Use it as a context."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close its connections."""
        self._client.close()

    def _labels(self, url: str) -> tuple[str, ...]:
        found = self._client.models()
        named = [each for each in found if self._model in (None, each["id"])]
        if not named:
            raise SettingsError(
                f"{url}: has no model '{self._model}'; with --server, --model is the id of one of its models: "
                f"{', '.join(each['id'] for each in found)}"
            )
        return tuple(named[0]["labels"])

    def answers(
        self, clips: Sequence[Clip], *, check: bool, workers: int | None, progress: Progress
    ) -> Iterator[tuple[Clip, tuple[Prediction, dict[str, Any]] | EmogramError]]:
        """Yield each clip with its answer and the line of `--json`, or with the error that came instead.

        Raises:
            ServerError: It would come of every clip.
        """
        from emogram.client.blocking import AT_ONCE
        from emogram.client.records import prediction_of

        with progress.task("predicting", len(clips)) as task:
            outcomes = self._client.results_many(
                [clip.path for clip in clips], model=self._model, check=check, at_once=workers or AT_ONCE
            )
            for clip, (_, said) in zip(clips, outcomes, strict=True):
                task.advance()
                if isinstance(said, ServerError) and said.code in _FOR_ALL:
                    raise said
                if isinstance(said, EmogramError):
                    yield clip, _named(said, clip.path)
                else:
                    # A service is told no more of a file than its last name.
                    yield clip, (prediction_of(said), {**said, "file": str(clip.path)})


def _named(error: EmogramError, path: Path) -> EmogramError:
    words = str(error)
    if words.startswith(f"{path.name}: "):
        error.args = (f"{path}{words.removeprefix(path.name)}",)
    elif not words.startswith(str(path)):
        error.args = (f"{path}: {words}",)
    return error

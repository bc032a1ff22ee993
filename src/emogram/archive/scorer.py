"""A process that scores, watched: it is ended when a file takes too long, and replaced when it dies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from emogram.archive.inputs import Input
from emogram.archive.scoring import Answer, failed
from emogram.config import ArchiveConfig
from emogram.errors import EmogramError, ModelError
from emogram.watched import Child, Died, Late

TRIES = (
    2  # a file at which the process dies so often has an error; once may be another's fault, as when memory is short
)
STARTS = 3  # that often a process may die before it has begun
START_S = 300.0  # a first import from a slow disk takes half a minute


@dataclass(frozen=True)
class Job:
    """What every shard of a run has in common; small, and made of plain values, so that it can be sent anywhere.

    Attributes:
        out: Where the results stand.
        plan: Digest of the plan.
        model: The model as `emogram.load` takes it; must be reachable from every machine that scores.
        model_sha256: Hash of the model, which is checked wherever it is loaded.
        labels: The model's labels in order.
        config: What is said of each input.
        time_limit_s: Longest that one input may take, in seconds.
        dimensions: The dimensions that the model tells, in order.
    """

    out: str
    plan: str
    model: str
    model_sha256: str
    labels: tuple[str, ...]
    config: ArchiveConfig
    time_limit_s: float
    dimensions: tuple[str, ...] = ()


class Scorer:
    """Scores inputs in a process of its own, which it starts when there is work; for one thread."""

    def __init__(self, job: Job, *, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Prepare to score for a job; `should_stop` is asked several times a second."""
        self._job = job
        self._should_stop = should_stop
        self._process: Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def answers(self, inputs: Sequence[Input]) -> Iterator[Answer]:
        """Yield an answer for each input, in order, as `score_input` gives it.

        An input that takes too long, or at which the process dies again and again, has an error as its answer.

        Raises:
            Stopped: `should_stop` said so.
            ModelError: The model is refused, or is another than that of the plan.
            EmogramError: The process does not start.
        """
        place = n_deaths = 0
        while place < len(inputs):
            try:
                process = self._begin(inputs[place:])
                while place < len(inputs):
                    answer = process.answer(self._job.time_limit_s, self._should_stop).head
                    n_deaths = 0
                    place += 1
                    yield answer
            except Late:
                self.close()
                each, limit_s = inputs[place], self._job.time_limit_s
                yield failed(each, "timeout", f"{each.path}: took longer than {limit_s:g} s; see --time-limit")
                place, n_deaths = place + 1, 0
            except Died as error:
                self.close()
                n_deaths += 1
                if n_deaths == TRIES:
                    each = inputs[place]
                    yield failed(each, "crashed", f"{each.path}: the process that read it died {TRIES} times ({error})")
                    place, n_deaths = place + 1, 0
            except BaseException:
                self.close()  # what it is still working on is not wanted
                raise

    def _begin(self, inputs: Sequence[Input]) -> Child:
        if self._process is None:
            self._process = self._started()
        self._process.ask([dataclasses.asdict(each) for each in inputs])
        return self._process

    def _started(self) -> Child:
        """Return a process that has loaded the model and is known to work."""
        why = ""
        for _ in range(STARTS):
            process = Child("emogram.archive.worker")
            process.ask({"model": self._job.model, "settings": self._job.config.to_dict()})
            try:
                first = process.answer(START_S, self._should_stop).head
            except (Died, Late) as error:
                process.end()
                why = str(error) or f"no word from it in {START_S:g} s"
                continue
            except BaseException:
                process.end()
                raise
            if first.get("sha256") == self._job.model_sha256:
                return process
            process.end()
            if "refused" in first:
                raise ModelError(first["refused"])
            raise ModelError(
                f"{self._job.model}: the model here is {first['sha256'][:12]} and the plan was made for "
                f"{self._job.model_sha256[:12]}; give every machine the same model"
            )
        raise EmogramError(f"the process that scores does not start ({why}); `emogram doctor` may tell more")

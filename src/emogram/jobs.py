"""Several trainings side by side, none done twice: what cross-validation and the corpora's matrix share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from emogram.bundle import open_bundle
from emogram.checkpoints import is_unfinished
from emogram.config import RunConfig, read_toml
from emogram.corpora import Corpus
from emogram.dataset import Dataset
from emogram.dimensions import learn_scales
from emogram.engines import Engine, local
from emogram.errors import EmogramError
from emogram.judging import read_probabilities
from emogram.lineage import Lineage
from emogram.progress import Progress
from emogram.records import Clip
from emogram.resuming import AnotherTrainingError, is_begun
from emogram.splits import Split
from emogram.trackers import Trackers
from emogram.train import CONFIG_FILE, TrainResult, describe_model, train

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_jobs(
    function: Callable[[Progress, Job], Result],
    todo: Sequence[Job],
    *,
    what: str,
    unit: str,
    jobs: int | None,
    progress: Progress,
    engine: Engine = local,
) -> Generator[tuple[Job, Result], None, None]:
    """Yield each job with its result as it becomes ready, in any order. To be closed, which ends what still runs.

    Args:
        function: Does a job of minutes, such as a training, and tells the `Progress` it is given; importable.
        todo: The jobs.
        what: What is being done, for the reader.
        unit: What the jobs are.
        jobs: Number of jobs at once, each on one processor thread; by default one for each processor.
        progress: Is told how far all of it is, and each job.
        engine: Where they are done.

    Raises:
        EmogramError: The first that a job raised.
    """
    with (
        progress.task(what, len(todo), unit=unit) as task,
        contextlib.closing(engine(function, todo, jobs=jobs, progress=progress)) as outcomes,
    ):
        for index, outcome in outcomes:
            if isinstance(outcome, EmogramError):
                raise outcome
            task.advance()
            yield todo[index], outcome


def train_whole(
    corpus: Corpus, config: RunConfig, out: Path, *, cache: Path | None, trackers: Trackers, progress: Progress
) -> TrainResult:
    """Train in this process; one that Ctrl-C ended early does not count as done, and the interrupt goes on.

    One that was interrupted before, with the same settings and clips, goes on from its last checkpoint.
    """
    run = partial(train, corpus, config, out, cache=cache, workers=1, trackers=trackers, progress=progress)
    try:
        result = run(resume=is_unfinished(out))
    except AnotherTrainingError as error:
        progress.say(f"{error}; here it begins anew")
        result = run()
    if result.interrupted:
        (out / CONFIG_FILE).unlink(missing_ok=True)
        raise KeyboardInterrupt
    return result


def is_trained(
    out: Path, corpus: Corpus, dataset: Dataset, split: Split, config: RunConfig, *, lineage: Lineage
) -> bool:
    """Tell whether a run folder holds this training, finished and judged, of the same settings on the same clips."""
    try:
        if is_begun(out, config) or RunConfig.from_dict(read_toml(out / CONFIG_FILE)) != config:
            return False
        info = open_bundle(out).info
        read_probabilities(out, judged_clips(dataset, split), dataset.labels)
    except EmogramError:
        return False
    scales = learn_scales(dataset, split.train, given=config.train.dimension_scale)
    now = describe_model(corpus, dataset, split, config, scales=scales, lineage=lineage)
    # Metrics are written into the bundle last of all.
    return bool(info.metrics) and all(
        getattr(info, name) == getattr(now, name) for name in ("dimensions", "trained_on", "init", "teachers", "split")
    )


def judged_clips(dataset: Dataset, split: Split) -> list[Clip]:
    """Return the clips that a training is judged on, in the order of its `predictions.csv`."""
    return [dataset.clips[index] for index in split.judging()[1]]

"""Score an archive: plan it, do what is not committed yet, and say what it comes to."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from emogram.archive.inputs import names_of
from emogram.archive.places import EXTRA, Place, absolute, is_remote, open_place
from emogram.archive.plan import Plan, open_plan, read_plan
from emogram.archive.scorer import Job
from emogram.archive.shards import SUCCESS_FILE, ShardDone, committed, part_name
from emogram.bundle import SHIPPED, open_bundle
from emogram.config import ArchiveConfig
from emogram.engines import check_engine
from emogram.errors import InputError, MissingExtraError, SettingsError
from emogram.progress import SILENT, Progress
from emogram.remote import is_address

TIME_LIMIT_S = 3600.0


@dataclass(frozen=True)
class ArchiveStatus:
    """How far an archive is.

    Attributes:
        out: Where the results stand.
        rows: "clips" or "segments".
        model_id: Name of the model.
        n_shards: Shards that were looked at: all of the plan, or those of one job.
        n_committed: Those of them that are committed.
        n_inputs: Inputs in these shards.
        n_done: Inputs in the committed ones.
        n_rows: Rows written.
        failed: Code of what went wrong -> number of inputs.
        n_partial: Inputs that were damaged or cut off, and scored as far as they go.
        sound_s: Seconds of sound that were scored.
        examples: Messages of some that failed.
        n_now: Inputs scored by this run.
        sound_now_s: Seconds of sound scored by this run.
        seconds: Seconds that this run took.
    """

    out: str
    rows: str
    model_id: str
    n_shards: int
    n_committed: int
    n_inputs: int
    n_done: int
    n_rows: int
    failed: Mapping[str, int] = field(default_factory=dict)
    n_partial: int = 0
    sound_s: float = 0.0
    examples: tuple[str, ...] = ()
    n_now: int = 0
    sound_now_s: float = 0.0
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether all shards that were looked at are committed."""
        return self.n_committed == self.n_shards

    @property
    def n_failed(self) -> int:
        """Inputs of which nothing could be said."""
        return sum(self.failed.values())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {**asdict(self), "examples": list(self.examples), "n_failed": self.n_failed, "complete": self.complete}


def score(
    inputs: Iterable[str | Path] | str | Path,
    out: str | Path,
    *,
    model: str | Path = SHIPPED,
    config: ArchiveConfig | None = None,
    engine: str = "local",
    address: str | None = None,
    workers: int | None = None,
    part: tuple[int, int] = (1, 1),
    time_limit_s: float = TIME_LIMIT_S,
    retry_failed: bool = False,
    verify: bool = True,
    progress: Progress = SILENT,
    should_stop: Callable[[], bool] = lambda: False,
) -> ArchiveStatus:
    """Score very many recordings into Parquet files, which `OUT/*.parquet` names at every moment.

    What is committed in `out` is not done again, so that the same call goes on where it was stopped, by whatever.

    Args:
        inputs: Folders, files, patterns, manifests and URLs of all these (s3://, gs://, http://).
        out: Folder for the results, here or in a store that can be written to.
        model: The model as `emogram.load` takes it.
        config: What is said of each input, and how the work is cut.
        engine: "local" (processes of this machine) or "ray" (a cluster).
        address: Of the Ray cluster.
        workers: Number of processes; by default one for each processor.
        part: Which part of the shards, from 1, and of how many, as jobs of a scheduler share them.
        time_limit_s: Longest that one input may take, in seconds.
        retry_failed: Score those committed shards again in which an input failed.
        verify: Compare committed files with their hashes; else only their sizes.
        progress: Is told of each input done.
        should_stop: Is asked several times a second; once it says yes, what is committed stays.

    Returns:
        How far these shards are.

    Raises:
        SettingsError: `out` holds results of another model, other settings or other inputs; or an argument is wrong.
        InputError: An input stands for nothing.
        ModelError: The model is refused.
        OutputError: `out` cannot be written.
        MissingExtraError: The extra `archive`, or that of a store, is not installed.
    """
    _require_parquet()
    number, of = part
    if not 1 <= number <= of:
        raise SettingsError(f"part {number} of {of}; parts count from 1, so the first of four is 1/4 and the last 4/4")
    check_engine(engine, address)
    if time_limit_s <= 0:
        raise SettingsError(f"time limit of {time_limit_s:g} s; expected more than 0")
    config = config or ArchiveConfig()
    bundle = open_bundle(model)
    if config.rows == "segments" and bundle.info.spectrogram is None:
        raise SettingsError(
            "this model was trained on pictures made elsewhere, which have no segments; use rows = clips"
        )
    names = names_of([inputs] if isinstance(inputs, str | Path) else inputs)
    if not names:
        raise InputError("nothing to score; name folders, files, manifests or URLs")
    where = absolute(str(out))
    place = open_place(where)
    plan = open_plan(place, names, bundle, config, progress=progress)
    shards = range(number - 1, plan.n_shards, of)
    done = committed(place, plan, shards, verify=verify)
    todo = [index for index in shards if index not in done or (retry_failed and done[index].failed)]
    name = str(model)
    job = Job(
        out=where,
        plan=plan.digest,
        model=name if name == SHIPPED or is_address(name) or is_remote(name) else absolute(name),
        model_sha256=bundle.sha256,
        labels=bundle.info.labels,
        config=config,
        time_limit_s=time_limit_s,
        dimensions=tuple(dimension.name for dimension in bundle.info.dimensions),
    )
    begun = time.monotonic()
    meter = _Meter(progress, sum(plan.n_inputs_of(index) for index in todo))
    if todo:
        place.remove(SUCCESS_FILE)
        place.tidy()
        outcomes = _run(engine, job, plan, todo, address, workers, meter.tell, should_stop, progress)
        with meter, contextlib.closing(outcomes):
            for shard in outcomes:
                done[shard.index] = shard
    if len(done) == len(shards):
        _mark_success(place, plan, mine=len(done))
    return replace(
        _status(where, plan, shards, done),
        n_now=meter.n_inputs,
        sound_now_s=meter.sound_s,
        seconds=time.monotonic() - begun,
    )


def status(out: str | Path, *, verify: bool = True) -> ArchiveStatus:
    """Tell how far an archive is, without changing anything.

    Args:
        out: The folder that was given to `score`.
        verify: Compare committed files with their hashes; else only their sizes.

    Raises:
        InputError: There is no plan in it.
        OutputError: Its plan is damaged.
    """
    _require_parquet()
    where = absolute(str(out))
    place = open_place(where)
    found = read_plan(place)
    if found is None:
        raise InputError(f"{where}: nothing was scored into this folder; `emogram score INPUT --out {where}` begins")
    plan = found[0]
    shards = range(plan.n_shards)
    return _status(where, plan, shards, committed(place, plan, shards, verify=verify))


def _run(
    engine: str,
    job: Job,
    plan: Plan,
    todo: Sequence[int],
    address: str | None,
    workers: int | None,
    tell: Callable[[float], None],
    should_stop: Callable[[], bool],
    progress: Progress,
) -> Generator[ShardDone, None, None]:
    if engine == "ray":
        from emogram.archive import on_ray

        return on_ray.run_shards(
            job, plan, todo, address=address, workers=workers, tell=tell, should_stop=should_stop, progress=progress
        )
    from emogram.archive.local import run_shards

    return run_shards(job, plan, todo, workers=workers, tell=tell, should_stop=should_stop)


def _require_parquet() -> None:
    from importlib.util import find_spec

    if find_spec("pyarrow") is None:
        raise MissingExtraError("scoring archives", EXTRA)


def _status(where: str, plan: Plan, shards: Sequence[int], done: Mapping[int, ShardDone]) -> ArchiveStatus:
    counts: Counter[str] = Counter()
    for each in done.values():
        counts.update(each.failed)
    return ArchiveStatus(
        out=where,
        rows=plan.config.rows,
        model_id=plan.model_id,
        n_shards=len(shards),
        n_committed=len(done),
        n_inputs=sum(plan.n_inputs_of(index) for index in shards),
        n_done=sum(each.n_inputs for each in done.values()),
        n_rows=sum(each.n_rows for each in done.values()),
        failed=dict(counts.most_common()),
        n_partial=sum(each.n_partial for each in done.values()),
        sound_s=sum(each.sound_s for each in done.values()),
        examples=tuple(line for index in sorted(done) for line in done[index].examples)[:10],
    )


def _mark_success(place: Place, plan: Plan, *, mine: int) -> None:
    """Write an empty file once all shards are there, those of other jobs too, as other tools of archives do."""
    if mine < plan.n_shards:
        there = place.sizes()
        if any(part_name(index) not in there for index in range(plan.n_shards)):
            return
        if len(committed(place, plan, range(plan.n_shards), verify=False)) < plan.n_shards:
            return
    with place.writing(SUCCESS_FILE) as temporary:
        temporary.touch()


class _Meter:
    """Tells a `Progress` of inputs, and how much sound goes by in a second; threads may share it."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.n_inputs = 0
        self.sound_s = 0.0
        self._lock = threading.Lock()
        self._begun = time.monotonic()
        self._opened = progress.task("scoring", total, unit="files")

    def __enter__(self) -> None:
        self._begun = time.monotonic()
        self._task = self._opened.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._opened.__exit__(*error)

    def tell(self, sound_s: float) -> None:
        with self._lock:
            self.n_inputs += 1
            self.sound_s += sound_s
            speed = self.sound_s / max(1e-9, time.monotonic() - self._begun)
            self._task.advance(note=f"{speed:,.0f} s of sound/s")

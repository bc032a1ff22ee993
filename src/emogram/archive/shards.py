"""One shard: scored, written, and only then marked as committed. The same function on every engine."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from emogram import __version__
from emogram.archive.places import HIDDEN, Place, open_place
from emogram.archive.plan import Plan, Shard
from emogram.archive.rows import archive_schema, write_rows
from emogram.archive.scorer import Job, Scorer

COMMITTED = f"{HIDDEN}/committed"
SUCCESS_FILE = "_SUCCESS"
_EXAMPLES = 3  # of what failed, to be shown; the rows tell all


@dataclass(frozen=True)
class ShardDone:
    """A committed shard.

    Attributes:
        index: Its number.
        n_inputs: Its inputs.
        n_rows: Rows in its file.
        failed: Code of what went wrong -> number of inputs.
        n_partial: Inputs that were damaged or cut off, and scored as far as they go.
        sound_s: Seconds of sound that were scored.
        seconds: Seconds that it took.
        examples: Messages of some that failed.
    """

    index: int
    n_inputs: int
    n_rows: int
    failed: Mapping[str, int] = field(default_factory=dict)
    n_partial: int = 0
    sound_s: float = 0.0
    seconds: float = 0.0
    examples: tuple[str, ...] = ()


def part_name(index: int) -> str:
    """Return the file of a shard's rows."""
    return f"part-{index:05d}.parquet"


def marker_name(index: int) -> str:
    """Return the file that says that a shard is committed."""
    return f"{COMMITTED}/{index:05d}.json"


def score_shard(
    job: Job, shard: Shard, *, scorer: Scorer, tell: Callable[[float], None] = lambda sound_s: None
) -> ShardDone:
    """Score a shard, write its rows and mark it as committed.

    Until it returns nothing of it counts, and it may be done again, here or elsewhere, any number of times: its rows
    take the place of themselves.

    Args:
        job: What it is a part of.
        shard: What to score.
        scorer: The process to do it in.
        tell: Is told of each input that is done, with the seconds of sound in it.

    Raises:
        OutputError: The rows cannot be written.
        ModelError: The model is refused.
        EmogramError: The process that scores does not start.
        Stopped: The scorer was asked to stop.
    """
    begun = time.monotonic()
    rows: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    examples: list[str] = []
    n_partial, sound_s = 0, 0.0
    for answer in scorer.answers(shard.inputs):
        rows += answer["rows"]
        sound_s += answer["sound_s"]
        n_partial += answer["partial"]
        if answer["failed"] is not None:
            counts[answer["failed"]] += 1
            if len(examples) < _EXAMPLES:
                examples.append(str(answer["rows"][0]["message"]))
        tell(answer["sound_s"])
    done = ShardDone(
        index=shard.index,
        n_inputs=len(shard.inputs),
        n_rows=len(rows),
        failed=dict(sorted(counts.items())),
        n_partial=n_partial,
        sound_s=round(sound_s, 3),
        seconds=round(time.monotonic() - begun, 3),
        examples=tuple(examples),
    )
    _commit(job, done, rows)
    return done


def _commit(job: Job, done: ShardDone, rows: list[dict[str, Any]]) -> None:
    """Write the rows under their name, and then the marker that makes them count."""
    place = open_place(job.out)
    metadata = {
        "emogram": __version__,
        "model": job.model_sha256,
        "plan": job.plan,
        "rows": job.config.rows,
        "labels": "\n".join(job.labels),
    }
    with place.writing(part_name(done.index)) as temporary:
        write_rows(temporary, rows, archive_schema([*job.labels, *job.dimensions], metadata))
        content = temporary.read_bytes()
    marker = {
        **_as_dict(done),
        "plan": job.plan,
        "version": __version__,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    with place.writing(marker_name(done.index)) as temporary:
        temporary.write_text(json.dumps(marker) + "\n", encoding="utf-8")


def committed(place: Place, plan: Plan, indices: Iterable[int], *, verify: bool = True) -> dict[int, ShardDone]:
    """Return which shards are committed and whole.

    Args:
        place: Where the results stand.
        plan: Of these results.
        indices: Shards to look at.
        verify: Compare each file of rows with the hash in its marker; else its size only.
    """
    wanted = {marker_name(index): index for index in indices}
    there = place.sizes(COMMITTED)
    sizes = place.sizes()
    found = {}
    names = [name for name in wanted if name.rpartition("/")[2] in there]
    for name, content in place.read_many(names).items():
        index = wanted[name]
        try:
            marker = json.loads(content)
            done = _from_dict(marker)
            whole = (
                marker["plan"] == plan.digest
                and done.index == index
                and sizes.get(part_name(index)) == marker["bytes"]
                and (not verify or place.sha256(part_name(index)) == marker["sha256"])
            )
        except (ValueError, KeyError, TypeError):  # a damaged marker marks nothing
            continue
        if whole:
            found[index] = done
    return found


def _as_dict(done: ShardDone) -> dict[str, Any]:
    return {
        "shard": done.index,
        "inputs": done.n_inputs,
        "rows": done.n_rows,
        "failed": dict(done.failed),
        "partial": done.n_partial,
        "sound_s": done.sound_s,
        "seconds": done.seconds,
        "examples": list(done.examples),
    }


def _from_dict(values: Mapping[str, Any]) -> ShardDone:
    return ShardDone(
        index=values["shard"],
        n_inputs=values["inputs"],
        n_rows=values["rows"],
        failed=dict(values["failed"]),
        n_partial=values["partial"],
        sound_s=values["sound_s"],
        seconds=values["seconds"],
        examples=tuple(values["examples"]),
    )

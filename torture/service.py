"""The door of the service: all that its OpenAPI description allows and forbids, and four times too many clips.

Slow, silent and deaf clients, bytes that are no request, bombs, kills and SIGTERM are in tests/test_serve_hostile.py.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.clients import Load
from benchmarks.service import Running, Sound, serving

from emogram.bundle import SHIPPED
from emogram.classifier import Classifier
from emogram.config import ServeConfig
from emogram.errors import EmogramError
from emogram.records import Clip
from torture.schema import checked, clip, done_job
from torture.verdict import Figure, Verdict, at_most, equal

SUMMARY = "invented requests against the OpenAPI description, and four times too many clips"

N_CLIPS = 24


def run(*, long: bool, seed: int) -> Verdict:
    """Check the description, with 5,000 cases in the long form; then overrun the service, for two minutes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with serving("--data", str(folder / "jobs"), "--max-job-mb", "1") as service:
            url = f"http://127.0.0.1:{service.port}"
            found = checked(
                url, examples=300 if long else 3, seed=seed, job_id=done_job(url, {}), limit_s=3600 if long else 300
            )
        with serving("--data", str(folder / "jobs")) as service:
            # A burst may fill the queue, before it is known for more than one. Of two minutes those are one in 200.
            n_first = 0 if long else ServeConfig().max_queue
            figures, counts = overrun(service, spoken(folder), folder, seconds=120 if long else 5, n_first=n_first)
    n_least = 5000 if long else 300
    return Verdict(
        [
            Figure("invented requests", f"at least {n_least}", str(found.n_cases), found.n_cases >= n_least),
            equal("answers that the description does not say, 5xx among them", len(found.failures), 0),
            *figures,
        ],
        counts,
        found.failures,
    )


def spoken(folder: Path) -> Sound:
    """Write clips of synthetic voices; returns them with what the model says of each."""
    paths = [folder / f"{number}.wav" for number in range(N_CLIPS)]
    for number, path in enumerate(paths):
        path.write_bytes(clip(number))
    scores = []
    for _, answer in Classifier.load(SHIPPED).predict_many([Clip(path) for path in paths], check=True):
        if isinstance(answer, EmogramError):
            raise answer
        scores.append(dict(answer.scores))
    return Sound(tuple(paths), tuple(scores))


def overrun(
    service: Running, clips: Sound, folder: Path, *, seconds: float, n_first: int
) -> tuple[list[Figure], dict[str, object]]:
    """Send four times as many clips as the service can answer, whatever comes back; the first answers wait longer."""
    service.load(clips, folder, "closed", 1, 40)  # the first ones load what is loaded late
    alone = service.load(clips, folder, "closed", 1, 200)
    busy = service.load(clips, folder, "closed", 3, 200)
    pace = 4 * len(busy.seconds) / busy.wall_s
    over = service.load(clips, folder, "open", pace, seconds)
    after = service.load(clips, folder, "closed", 1, 40)
    every = (alone, busy, over, after)
    later = replace(over, seconds=over.seconds[n_first:])
    ratio = later.quantile_ms(0.99) / alone.quantile_ms(0.99)
    figures = [
        equal("answers other than 200, 429 and 503, and none at all", sum(map(_others, every)), 0),
        equal("answers of another clip", sum(load.wrong for load in every), 0),
        equal("turned away without Retry-After", sum(load.unhelpful for load in every), 0),
        equal("refused once the overrun is over", sum(after.statuses.values()) - len(after.seconds), 0),
        at_most("p99 of those let in, of that of one client alone", ratio, 3.0),
    ]
    counts = {
        "sent a second": round(pace),
        "answered": len(over.seconds),
        "turned away": sum(over.statuses.values()) - len(over.seconds),
        "p99 alone": f"{alone.quantile_ms(0.99):.1f} ms",
        "p99 let in": f"{later.quantile_ms(0.99):.1f} ms",
    }
    return figures, counts


def _others(load: Load) -> int:
    return sum(count for status, count in load.statuses.items() if status not in (200, 429, 503))

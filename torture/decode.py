"""The door of sound files: damaged ones of every format, through every road that decodes them."""

from __future__ import annotations

import contextlib
import random
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emogram.parallel import worker_count
from torture import seeds
from torture.mutate import mutant
from torture.verdict import Figure, Verdict, at_most, equal
from torture.watch import Seen, child

SUMMARY = "mutated sound files of every format, through load_audio, open_recording, predict and analyze"

SHORT, LONG = 5_000, 100_000
TIME_S, TIME_PER_DECLARED_S = 2.0, 0.05  # of the processor, so that a busy machine is no fault of a file
MEMORY_MB = 256
HANG_S = 40.0  # more than any of them may take: the longest clip that is read at once lasts 600 s
WALL_MB = 4096  # what runs away meets a wall before it meets the memory of the machine
ANALYZE_EVERY = 25
KEPT = Path("torture-kept")  # files that brought down or hung a child


def run(*, long: bool, seed: int) -> Verdict:
    """Mutate, decode, count; a file that crashes or hangs its child is kept in `torture-kept/`."""
    n = LONG if long else SHORT
    outcomes: Counter[str] = Counter()
    formats: Counter[str] = Counter()
    worst = {"share of the time": 0.0, "MB": 0.0}
    faults: list[str] = []
    lock = threading.Lock()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seeds.make(folder / "seeds")

        def work(first: int) -> None:
            with child("torture.decode:decoder", limit_mb=WALL_MB, folder=name, seed=seed) as one:
                for index in range(first, n, n_workers):
                    seen = one.ask(index, limit_s=HANG_S)
                    with lock:
                        _count(index, seen, folder, seed, outcomes, formats, worst, faults)

        n_workers = worker_count()
        threads = [threading.Thread(target=work, args=(number,)) for number in range(n_workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return Verdict(
        [
            equal("mutants tried", sum(formats.values()), n),
            Figure("formats", "at least 8", str(len(formats)), len(formats) >= 8),
            equal("crashes", outcomes["crash"], 0),
            equal("hangs", outcomes["hang"], 0),
            equal("errors that are not typed or do not name the file", outcomes["bug"], 0),
            at_most("longest, as a share of 2 s + 0.05 x declared duration", worst["share of the time"], 1.0),
            at_most("most memory above the model", worst["MB"], MEMORY_MB, unit=" MB"),
        ],
        dict(outcomes),
        faults[:20],
    )


def _count(
    index: int,
    seen: Seen,
    folder: Path,
    seed: int,
    outcomes: Counter[str],
    formats: Counter[str],
    worst: dict[str, float],
    faults: list[str],
) -> None:
    content, name, how = made(folder / "seeds", seed, index)
    formats[name.split("-")[0].split(".")[0]] += 1
    worst["MB"] = max(worst["MB"], seen.peak_mb)
    told = f"mutant {index} ({name}, {how})"
    if seen.end is not None or seen.value["bugs"]:
        outcomes[seen.end.split()[0] if seen.end else "bug"] += 1
        faults.append(f"{told}: {seen.end or seen.value['bugs']}")
        KEPT.mkdir(exist_ok=True)
        (KEPT / f"{seed}-{index}{Path(name).suffix}").write_bytes(content)
        return
    outcomes.update(seen.value["outcomes"])
    share = seen.value["share"]
    if share > 1 or seen.peak_mb > MEMORY_MB:
        faults.append(f"{told}: {share:.2f} of its time, {seen.peak_mb} MB")
    worst["share of the time"] = max(worst["share of the time"], share)


_CACHE: dict[Path, list[tuple[str, bytes]]] = {}


def made(folder: Path, seed: int, index: int) -> tuple[bytes, str, str]:
    """Return the mutant of that number: its bytes, the name of the seed that it began from, and what was done."""
    if folder not in _CACHE:
        _CACHE[folder] = [(path.name, path.read_bytes()) for path in sorted(folder.iterdir())]
    known = _CACHE[folder]
    rng = random.Random(f"{seed}-{index}")
    name, content = known[index % len(known)]
    changed, how = mutant(content, [other for _, other in known], rng)
    if rng.random() < 0.05:  # a name that says another format than the bytes do
        name = Path(name).stem + Path(rng.choice(known)[0]).suffix
    return changed, name, how


def decoder(*, folder: str, seed: int) -> Callable[[int], dict[str, Any]]:
    """In the child: return the function that makes a mutant and decodes it on every road."""
    import time

    import numpy as np

    from emogram import audio, recordings, timeline
    from emogram.classifier import Classifier
    from emogram.errors import EmogramError

    classifier = Classifier.load()
    for seconds in (1, 20):
        classifier.predict(np.random.default_rng(0).normal(0, 0.1, seconds * 16000), sample_rate=16000)
    made(Path(folder) / "seeds", seed, 0)
    at = Path(tempfile.mkdtemp(dir=folder))

    def blocks(path: Path) -> float | None:
        with recordings.open_recording(path) as recording:
            for block in recording.blocks():
                assert block.ndim == 2 and block.dtype == np.float32 and block.shape[1] == recording.channels
            assert recording.problem is None or isinstance(recording.problem, str)
            return recording.duration_s

    roads: dict[str, Callable[[Path], Any]] = {
        "blocks": blocks,
        "load": lambda path: audio.load_audio(path, sample_rate=16000),
        "predict": classifier.predict,
        "analyze": lambda path: timeline.analyze(path, model=classifier),
    }

    def decode(index: int) -> dict[str, Any]:
        content, name, _ = made(Path(folder) / "seeds", seed, index)
        path = at / f"{index}{Path(name).suffix}"
        path.write_bytes(content)
        outcomes, bugs, share = [], [], 0.0
        declared_s: float = 0.0
        try:
            for road, decode_one in roads.items():
                if road == "analyze" and index % ANALYZE_EVERY:
                    continue
                began = time.process_time()
                try:
                    value = decode_one(path)
                    outcome = "read"
                    if road == "blocks":
                        declared_s = value or 0.0
                except EmogramError as error:
                    outcome = getattr(error, "code", "failed")
                    if path.name not in str(error):
                        bugs.append(f"{road} does not name the file: {error}")
                outcomes.append(f"{road}: {outcome}")
                share = max(
                    share, (time.process_time() - began) / (TIME_S + TIME_PER_DECLARED_S * max(0.0, declared_s))
                )
        finally:
            with contextlib.suppress(OSError):
                path.unlink()
        return {"outcomes": outcomes, "bugs": bugs, "share": share}

    return decode

"""Prove that an archive on a Ray cluster is scored exactly once, whatever dies: python -m benchmarks.cluster_proof.

Three nodes of Ray on this machine. While the command line scores, a worker is killed, a node is taken away, and the
driver is killed and started again; beside it the object store is filled until it spills. The rows must be those of the
local engine, each file once, by hash. Then both engines score again without disturbance, for the time it takes.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

# Read by Ray when it is imported: everything on 127.0.0.1, and nothing told to its makers.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

STORE_BYTES = 80 << 20  # about the least that Ray takes
FILLING_BYTES = 16 << 20
PATIENCE_S = 1800.0


def main(arguments: Sequence[str]) -> int:
    """Parse, prove, print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster_proof", description=__doc__)
    parser.add_argument("corpora", type=Path, nargs="+", metavar="FOLDER", help="Folders of sound.")
    parser.add_argument("--files", type=int, default=10000, help="Files to score, cut from these.")
    parser.add_argument("--seconds", type=float, default=1.0, help="Longest length of each.")
    parser.add_argument("--model", default="shipped")
    parser.add_argument("--workers", type=int, default=2, help="Workers of either engine when their speed is compared.")
    parser.add_argument("--rounds", type=int, default=2, help="Paired runs for the speed; 0: leave that out.")
    parser.add_argument("--speed-files", type=int, default=2000, help="Files of each of these runs.")
    parser.add_argument("--scratch", type=Path, help="Folder to work in; by default a temporary one.")
    parsed = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="emogram-proof-", dir=parsed.scratch) as folder:
        for name, value in prove(
            parsed.corpora,
            Path(folder),
            n_files=parsed.files,
            seconds=parsed.seconds,
            model=parsed.model,
            workers=parsed.workers,
            rounds=parsed.rounds,
            n_speed_files=parsed.speed_files,
        ):
            print(f"{name}: {value}", flush=True)
    return 0


def prove(
    corpora: Sequence[Path],
    folder: Path,
    *,
    n_files: int,
    seconds: float,
    model: str,
    workers: int,
    rounds: int,
    n_speed_files: int,
) -> Iterator[tuple[str, Any]]:
    """Yield the name and value of all that was found; fails where anything is not as it must be."""
    begun = time.monotonic()
    sound = folder / "sound"
    cut(corpora, sound, n_files=n_files, seconds=seconds)
    yield "files", f"{n_files} of at most {seconds:g} s, cut in {time.monotonic() - begun:.0f} s"
    begun = time.monotonic()
    _score(sound, folder / "local", model, "--workers", str(workers)).check()
    yield "local engine", f"{time.monotonic() - begun:.0f} s with {workers} workers"
    expected = rows_of(folder / "local")
    assert len(expected) == n_files, f"{len(expected)} rows of {n_files} files"
    yield "rows of the local engine", digest(expected)
    with cluster(folder / "spilled") as (started, taken):
        yield from _disturbed(started, taken, sound, folder, model=model, n_files=n_files)
    found = rows_of(folder / "ray")
    assert found == expected, "the rows differ"
    yield "rows of the cluster", digest(found)
    if rounds:
        # Of as many processors as the local engine has: with more, a task begins wherever one is free, and each worker
        # that Ray starts costs about two seconds of a processor before its first clip.
        with cluster(folder / "spilled", n_nodes=workers) as (started, _):
            yield from _speeds(
                started, sound, folder, model=model, workers=workers, rounds=rounds, n_files=n_speed_files
            )


def cut(corpora: Sequence[Path], folder: Path, *, n_files: int, seconds: float) -> None:
    """Write short files, cut from those of the corpora again and again, each from another place."""
    import soundfile

    from emogram.audio import AUDIO_SUFFIXES

    sources = sorted(path for root in corpora for path in root.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    for number, source in zip(range(n_files), itertools.cycle(sources), strict=False):
        with soundfile.SoundFile(source) as file:
            n = round(seconds * file.samplerate)
            file.seek(min(number // len(sources) * n // 2, max(0, file.frames - n)))
            samples, rate = file.read(n, dtype="int16"), file.samplerate
        path = folder / f"{number % 100:02d}" / f"{number:06d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, rate)


@contextlib.contextmanager
def cluster(spilled: Path, *, n_nodes: int = 3) -> Iterator[tuple[Any, Any]]:
    """Start nodes of one processor each, with little room for objects; the last is there to be taken away."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": STORE_BYTES}
    spilled.mkdir(parents=True, exist_ok=True)
    started = Cluster(
        initialize_head=True,
        head_node_args={**node, "include_dashboard": False, "object_spilling_directory": str(spilled)},
    )
    try:
        yield started, [started.add_node(**node) for _ in range(n_nodes - 1)][-1]
    finally:
        started.shutdown()


def _disturbed(
    started: Any, taken: Any, sound: Path, folder: Path, *, model: str, n_files: int
) -> Iterator[tuple[str, Any]]:
    import numpy as np
    import ray

    out = folder / "ray"
    markers = out / "_emogram" / "committed"
    begun = time.monotonic()
    ray.init(address=started.address, log_to_driver=False, logging_level="error")
    rng = np.random.default_rng(0)
    fillings = [rng.integers(0, 255, FILLING_BYTES, dtype=np.uint8) for _ in range(3 * STORE_BYTES // FILLING_BYTES)]
    held = [ray.put(filling) for filling in fillings]
    driver = _score(sound, out, model, "--engine", "ray", "--address", started.address)
    n_shards = _wait_for_plan(driver, out)
    _wait(driver, lambda: _count(markers) >= n_shards // 5, "a fifth of the shards")
    victim = _worker()
    os.kill(victim, signal.SIGKILL)
    yield "worker killed", f"process {victim}, after {_count(markers)} of {n_shards} shards"
    _wait(driver, lambda: _count(markers) >= 2 * n_shards // 5, "two fifths of the shards")
    started.remove_node(taken, allow_graceful=False)
    yield "node taken away", f"after {_count(markers)} of {n_shards} shards"
    _wait(driver, lambda: _count(markers) >= 3 * n_shards // 5, "three fifths of the shards")
    driver.process.kill()
    driver.process.wait()
    time.sleep(2.0)  # what it left in the workers ends by itself
    before = {path.name: path.stat().st_mtime_ns for path in markers.iterdir()}
    assert len(before) < n_shards, "it was done before it was killed; score more files"
    yield "driver killed", f"after {len(before)} of {n_shards} shards"
    _score(sound, out, model, "--engine", "ray", "--address", started.address).check()
    again = [name for name, when in before.items() if (markers / name).stat().st_mtime_ns != when]
    yield "driver started again", f"shards that were committed and done again: {len(again)}"
    assert not again, again
    assert all(np.array_equal(ray.get(one), filling) for one, filling in zip(held, fillings, strict=True))
    spilled = sum(path.stat().st_size for path in (folder / "spilled").rglob("*") if path.is_file())
    ray.shutdown()
    assert spilled > 0, "the object store did not spill"
    yield "object store", f"{STORE_BYTES >> 20} MB a node, {spilled >> 20} MB spilled from the first"
    yield "cluster, with all that", f"{time.monotonic() - begun:.0f} s, {n_files} files"


def _speeds(
    started: Any, sound: Path, folder: Path, *, model: str, workers: int, rounds: int, n_files: int
) -> Iterator[tuple[str, Any]]:
    """Yield files a second of both engines, by turns, from the first committed shard to the last."""
    names = folder / "some.txt"
    names.write_text("\n".join(str(path) for path in sorted(sound.rglob("*.wav"))[:n_files]), encoding="utf-8")
    speeds: dict[str, list[float]] = {"local": [], "ray": []}
    for number in range(rounds):
        for engine, found in sorted(speeds.items(), reverse=bool(number % 2)):
            out = folder / f"speed-{engine}-{number}"
            where = ["--address", started.address] if engine == "ray" else ["--workers", str(workers)]
            _score(names, out, model, "--engine", engine, *where, "--shard-files", "200").check()
            markers = [(p.stat().st_mtime, json.loads(p.read_text())) for p in (out / "_emogram/committed").iterdir()]
            markers.sort(key=lambda pair: pair[0])
            # The first shard of each worker begins with the loading of the model.
            first, last = markers[workers - 1][0], markers[-1][0]
            found.append(sum(marker["inputs"] for _, marker in markers[workers:]) / (last - first))
    for engine, found in speeds.items():
        yield f"{engine} engine, files/s with {workers} workers", ", ".join(f"{one:.0f}" for one in found)
    ratios = [ray / local for ray, local in zip(speeds["ray"], speeds["local"], strict=True)]
    yield "ray to local, each pair", ", ".join(f"{one:.2f}" for one in ratios)


class _Command:
    """`emogram score`, running."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the process)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "emogram", *arguments], stdout=subprocess.DEVNULL, stderr=self._complaints
        )

    def check(self) -> None:
        """Wait for its end, which must be a good one; 3 is said where inputs failed, such as a cut that is silent."""
        code = self.process.wait(timeout=PATIENCE_S)
        self._complaints.seek(0)
        assert code in (0, 3), self._complaints.read().decode(errors="replace")[-2000:]


def _score(sound: Path, out: Path, model: str, *options: str) -> _Command:
    return _Command(["score", str(sound), "--out", str(out), "--model", model, *options])


def _wait(driver: _Command, until: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not until():
        if driver.process.poll() is not None:
            driver.check()
            raise AssertionError(f"it ended before {what}; score more files")
        assert time.monotonic() < end, f"no {what} in {PATIENCE_S:g} s"
        time.sleep(0.02)


def _wait_for_plan(driver: _Command, out: Path) -> int:
    plan = out / "_emogram" / "plan.json"
    _wait(driver, plan.is_file, "the plan")
    return len(json.loads(plan.read_text(encoding="utf-8"))["shards"]) - 1


def _count(markers: Path) -> int:
    return len(list(markers.glob("*.json"))) if markers.is_dir() else 0


def _worker() -> int:
    """Return the process of Ray that works on a shard; it names itself after what it does."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdecimal() and (entry / "cmdline").read_bytes().startswith(b"ray::_perform"):
                    return int(entry.name)
        time.sleep(0.02)
    raise AssertionError("no worker of Ray works")


def rows_of(out: Path) -> dict[str, str]:
    """Return the hash of each file's row; fails where a file has two."""
    from pyarrow import parquet

    found: dict[str, str] = {}
    for path in sorted(out.glob("*.parquet")):
        for row in parquet.read_table(path).to_pylist():
            assert row["file"] not in found, f"{row['file']} twice"
            found[row["file"]] = hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
    return found


def digest(rows: dict[str, str]) -> str:
    """Return how many rows there are, and one hash over all of them."""
    together = hashlib.sha256("".join(f"{name} {value}\n" for name, value in sorted(rows.items())).encode())
    return f"{len(rows)}, each file once, SHA-256 {together.hexdigest()[:16]}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

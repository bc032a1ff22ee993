"""Many items in several processes: the same results, errors in place, and a clean end."""

from __future__ import annotations

import contextlib
import math
import operator
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from emogram.errors import AudioError, EmogramError
from emogram.files import sha256_of
from emogram.parallel import FEW, map_parallel, worker_count

MANY = list(range(2 * FEW))


@pytest.mark.parametrize("workers", [1, 2])
def test_results_are_those_of_a_loop(workers: int) -> None:
    found = dict(map_parallel(math.factorial, MANY, workers=workers))
    assert found == {index: math.factorial(item) for index, item in enumerate(MANY)}


def test_many_items_are_done_in_other_processes_and_few_in_this_one() -> None:
    def processes(items: list[int]) -> set[object]:
        return {result for _, result in map_parallel(partial(_process, 0), items, workers=2)}

    assert processes(MANY[: FEW - 1]) == {os.getpid()}
    assert os.getpid() not in processes(MANY)


def _process(_zero: int, _item: int) -> int:
    return os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_of_users_take_the_place_of_their_results(workers: int) -> None:
    results = dict(map_parallel(_odd_ones_fail, MANY, workers=workers))
    assert sorted(results) == MANY
    for index, result in results.items():
        if index % 2:
            assert isinstance(result, AudioError)
            assert str(result) == f"clip {index}: odd"
        else:
            assert result == index


def _odd_ones_fail(item: int) -> int:
    if item % 2:
        raise AudioError(f"clip {item}: odd")
    return item


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bug_is_raised(workers: int) -> None:
    with pytest.raises(ZeroDivisionError):
        list(map_parallel(partial(operator.truediv, 1), MANY, workers=workers))


def test_a_killed_worker_is_told_in_words() -> None:
    with pytest.raises(EmogramError, match=r"a worker process ended unexpectedly, .*use fewer workers"):
        list(map_parallel(os._exit, [1] * FEW, workers=2))


def test_nothing_gives_nothing() -> None:
    assert list(map_parallel(math.factorial, [], workers=4)) == []


def test_closing_early_ends_the_processes() -> None:
    results = map_parallel(partial(_process, 0), MANY, workers=2)
    with contextlib.closing(results):
        _, process = next(results)
    assert isinstance(process, int)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


@pytest.mark.parametrize("chosen", [None, "3"])
def test_workers_use_one_numerical_thread_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, chosen: str | None
) -> None:
    """In a process of its own, since the server that workers are forked from keeps the environment of its start."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if chosen is not None:
        environment["OMP_NUM_THREADS"] = chosen
    code = (
        "import os\n"
        "from emogram.parallel import map_parallel\n"
        "if __name__ == '__main__':\n"
        "    found = {value for _, value in map_parallel(os.getenv, ['OMP_NUM_THREADS'] * 40, workers=2)}\n"
        "    print(found, os.getenv('OMP_NUM_THREADS'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == (f"{{'{chosen}'}} {chosen}" if chosen else "{'1'} None")


def test_the_number_of_workers_is_at_least_one() -> None:
    assert worker_count(0) == 1
    assert worker_count(3) == 3
    assert 1 <= worker_count() <= (os.cpu_count() or 1)


INTERRUPTED = """
import os, sys, time
from emogram.parallel import map_parallel
if __name__ == "__main__":
    try:
        for index, _ in map_parallel(time.sleep, [0.02] * 2000, workers=2):
            if index == 0:
                print("ready", flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.exit(130)
"""


@pytest.mark.skipif(os.name != "posix", reason="process groups of POSIX")
def test_ctrl_c_ends_all_processes_without_a_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
        # Ends only when every process has closed its output; 2000 items would take 20 s.
        out, err = process.communicate(timeout=10)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert (out, err, process.returncode) == ("interrupted\n", "", 130)


def test_functions_of_the_package_cross_processes(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.txt" for number in MANY]
    for number, path in enumerate(paths):
        path.write_text(str(number))
    assert dict(map_parallel(sha256_of, paths, workers=2)) == {i: sha256_of(path) for i, path in enumerate(paths)}

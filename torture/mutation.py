"""Change the code in each small way that mutmut knows, and see whether the tests notice: `scripts/mutation [PART]`.

mutmut runs the tests of each change in a fork that has loaded everything, and only those that reach the changed
function, so that hundreds of changes take minutes. It works in a copy, below the folder that `--work` names.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tomli_w

ROOT = Path(__file__).parents[1]
BAR = 0.85
CHILDREN = 2

# Exit codes of the forks: pytest's for a test that fails and for an error of its own, and of a crash ...
NOTICED = {1, 3, -signal.SIGSEGV, -signal.SIGABRT}
# ... and mutmut's, of what took many times as long as without the change.
ENDLESS = {24, -signal.SIGXCPU, 36, 128 + signal.SIGXCPU, 255}


@dataclass(frozen=True)
class Part:
    """What is changed, and the tests that are to notice; all paths below the root of the repository."""

    sources: tuple[str, ...]
    tests: tuple[str, ...]


PARTS = {
    "metrics": Part(
        ("src/emogram/metrics/*",),
        ("tests/test_metrics.py", "tests/test_timelines.py", "tests/test_dimension_metrics.py"),
    ),
    "splits": Part(("src/emogram/splits.py",), ("tests/test_splits.py",)),
    "timeline": Part(
        tuple(f"src/emogram/{name}.py" for name in ("timeline", "smoothing", "windowing", "turns")),
        tuple(f"tests/test_{name}.py" for name in ("timeline", "smoothing", "windowing", "merging")),
    ),
}


@dataclass(frozen=True)
class Outcome:
    """How many changes there were, how many of them tests noticed, by never ending or otherwise, and the others."""

    n_all: int
    n_killed: int
    n_endless: int
    survivors: tuple[str, ...]

    @property
    def share(self) -> float:
        """Share that was noticed; nothing tried is nothing noticed."""
        return self.n_killed / self.n_all if self.n_all else 0.0


def main(arguments: Sequence[str]) -> int:
    """Parse, run, print; returns 1 where fewer than `BAR` of the changes of a part are noticed."""
    parser = argparse.ArgumentParser(prog="scripts/mutation", description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", choices=PARTS, help="By default all.")
    parser.add_argument("--work", type=Path, help="Folder to work in, which is kept; what it holds is gone on with.")
    parser.add_argument("--show", action="store_true", help="Show each change that no test noticed.")
    parsed = parser.parse_args(arguments)
    code = 0
    with tempfile.TemporaryDirectory() as passing:
        for name in [parsed.part] if parsed.part else PARTS:
            folder = (parsed.work or Path(passing)).absolute() / name
            outcome = mutated(PARTS[name], folder)
            met = outcome.share >= BAR
            code |= not met
            print(
                f"{name}: {outcome.n_killed} of {outcome.n_all} changes noticed, {outcome.share:.1%} "
                f"({'met' if met else 'MISSED'}; asked: {BAR:.0%}); {outcome.n_endless} by never ending",
                flush=True,
            )
            for survivor in outcome.survivors:
                print(_mutmut(folder, "show", survivor).stdout if parsed.show else f"  {survivor}", flush=True)
    return code


def mutated(part: Part, folder: Path) -> Outcome:
    """Change each source of a part in a copy of the repository and return what the tests noticed.

    Raises:
        RuntimeError: mutmut did not come to its end; the tests fail without any change, as a rule.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("src", "tests", "torture"):
        shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    settings = {
        "source_paths": ["src"],
        "only_mutate": list(part.sources),
        "also_copy": ["tests", "torture"],
        "pytest_add_cli_args": ["-p", "no:cacheprovider"],
        "pytest_add_cli_args_test_selection": list(part.tests),
        "use_git_change_detection": False,
    }
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (folder / "pyproject.toml").write_text(
        f"{project}\n{tomli_w.dumps({'tool': {'mutmut': settings}})}", encoding="utf-8"
    )
    done = _mutmut(folder, "run", "--max-children", str(CHILDREN))
    exit_codes: dict[str, int | None] = {}
    for meta in (folder / "mutants").rglob("*.meta"):
        exit_codes |= json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
    if done.returncode or not exit_codes or None in exit_codes.values():
        raise RuntimeError(f"mutmut did not come to its end: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    survivors = sorted(name for name, code in exit_codes.items() if code not in (*NOTICED, *ENDLESS))
    n_endless = sum(code in ENDLESS for code in exit_codes.values())
    return Outcome(len(exit_codes), len(exit_codes) - len(survivors), n_endless, tuple(survivors))


def _mutmut(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # or it is not the copy
    environment["OMP_NUM_THREADS"] = "1"
    return subprocess.run(
        [sys.executable, "-m", "mutmut", *words],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

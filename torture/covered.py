"""How much of the code that reads what others made is reached by its tests, branch by branch: `scripts/coverage`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BAR = 95.0

# What decodes sound, opens models, keeps trainings and scores and unpacks archives, below src/emogram/ ...
FILES = (
    "audio.py", "recordings.py", "bundle.py", "saved_network.py", "checkpoints.py", "resuming.py", "files.py",
    "archive/*.py", "downloads/unpacking.py",
)  # fmt: skip
# ... and the tests of these, below tests/.
TESTS = (
    "audio", "timeline", "torture", "bundle", "saved_network", "checkpoints", "resuming", "files", "archive",
    "archive_places", "archive_stores", "archive_worker", "unpacking",
)  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Run the tests, with options of pytest that are given, and print each file; returns 1 where one is below `BAR`."""
    with tempfile.TemporaryDirectory() as name:
        report = Path(name) / "coverage.json"
        tests = [str(ROOT / "tests" / f"test_{test}.py") for test in TESTS]
        options = ["--cov", f"--cov-config={ROOT / 'pyproject.toml'}", f"--cov-report=json:{report}", "-q"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *tests, *options, *arguments],
            cwd=ROOT, env={**os.environ, "COVERAGE_FILE": str(Path(name) / "data")}, check=False,
        )  # fmt: skip
        if done.returncode or not report.exists():
            return done.returncode or 1
        return judge(json.loads(report.read_text(encoding="utf-8"))["files"])


def judge(files: Mapping[str, Any]) -> int:
    """Print the share of lines and branches of each file that counts, and what is missing; returns the exit code.

    Args:
        files: Path -> what coverage.py says of it, as in its report in JSON.
    """
    code, n_found = 0, 0
    for path, told in sorted(files.items()):
        name = path.replace(os.sep, "/").rpartition("src/emogram/")[2]
        if not any(fnmatch(name, pattern) for pattern in FILES):
            continue
        n_found += 1
        percent = told["summary"]["percent_covered"]
        missed = percent < BAR
        code |= missed
        lines = ", ".join(map(str, told["missing_lines"]))
        print(f"{'MISSED' if missed else 'met   '}  {percent:5.1f} %  {name}{'  lines ' + lines if lines else ''}")
    print(f"          {n_found} files; asked: {BAR:g} % of the lines and branches of each")
    return code if n_found else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

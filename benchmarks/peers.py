"""Peers that are heavy or do not get along with us: each in a virtual environment of its own, made once.

A peer is a script in `peers/`, run with that environment's Python: it reads a request in JSON from stdin and writes its
answer in JSON as the last line of stdout.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emogram.errors import EmogramError
from emogram.files import default_cache, write_text

# Nobody gets another PyTorch than the one the project is tested with.
CONSTRAINTS = ("torch==2.13.0",)
SCRIPTS = Path(__file__).parent / "peer_scripts"
INSTALL_TIMEOUT_S = 900.0


def environment(name: str, requirements: Sequence[str]) -> Path:
    """Return the Python of a virtual environment with some packages; it is made where there is none yet.

    It lies below the user's cache folder (`EMOGRAM_CACHE`), and is made again when the requirements change.

    Raises:
        EmogramError: Something does not install; the message holds the end of what pip said.
    """
    key = hashlib.sha256("\n".join([sys.version, *CONSTRAINTS, *requirements]).encode()).hexdigest()[:8]
    folder = default_cache() / "benchmarks" / f"{name}-{key}"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    done = folder / "installed.txt"
    if done.is_file():
        return python
    print(f"{name}: making a virtual environment with {', '.join(requirements)}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)  # one that was broken off
    _must_work(name, [sys.executable, "-m", "venv", "--without-pip", str(folder)])
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    if requirements:
        write_text(folder / "constraints.txt", "\n".join(CONSTRAINTS) + "\n")
        _must_work(name, [*pip, "install", "--quiet", "-c", str(folder / "constraints.txt"), *requirements])
    write_text(done, _must_work(name, [*pip, "freeze"]))
    return python


def versions(python: Path, packages: Sequence[str]) -> str:
    """Return the versions of packages in an environment made by `environment`, such as "torch 2.13.0"."""
    lines = (python.parent.parent / "installed.txt").read_text(encoding="utf-8").splitlines()
    found = dict(line.split("==", 1) for line in lines if "==" in line)
    lower = {name.lower().replace("_", "-"): value for name, value in found.items()}
    return ", ".join(f"{name} {lower.get(name.lower(), '?')}" for name in packages)


def ask(python: Path, script: str, request: Any, *, timeout_s: float = 600.0) -> Any:
    """Run a script of `peer_scripts/` with a request, and return its answer.

    Raises:
        EmogramError: It failed, took too long, or answered no JSON.
    """
    command = [str(python), str(SCRIPTS / script)]
    try:
        run = subprocess.run(
            command, input=json.dumps(request), capture_output=True, text=True, check=False, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        raise EmogramError(f"{script}: no answer after {timeout_s:g} s") from None
    if run.returncode:
        raise EmogramError(f"{script} failed: {_end(run.stderr)}")
    try:
        return json.loads(run.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise EmogramError(f"{script} answered no JSON: {run.stdout[-200:]!r}") from None


def _must_work(name: str, command: Sequence[str]) -> str:
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise EmogramError(f"{name} was not installed after {INSTALL_TIMEOUT_S:g} s") from None
    if run.returncode:
        raise EmogramError(f"{name} does not install: {_end(run.stderr or run.stdout)}")
    return run.stdout


def _end(text: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][-300:] if lines else "(it said nothing)"

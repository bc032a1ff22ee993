"""Knock at one door, or at all, and tell what they withstood; exit code 1 where a figure is missed."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shlex
import sys
import time
from collections.abc import Sequence

DOORS = {
    "decode": "decode",
    "bombs": "bombs",
    "models": "models",
    "numbers": "numbers",
    "disk": "disk",
    "kills": "kills",
    "memory": "memory",
    "training": "training",
    "archives": "archives",
    "service": "service",
}
NOT_IN_ALL = {"service"}  # takes the machine for itself; CI runs its parts as tests
SEED = 7


def main(arguments: Sequence[str]) -> int:
    """Parse, run, print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m torture", description=__doc__)
    parser.add_argument("door", choices=[*DOORS, "all"], metavar="DOOR", help=", ".join([*DOORS, "all"]))
    parser.add_argument("--long", action="store_true", help="The long form: minutes to hours.")
    parser.add_argument("--seed", type=int, default=SEED, help=f"What everything random comes from; by default {SEED}.")
    parser.add_argument("--json", action="store_true", help="One object a line.")
    parsed = parser.parse_args(arguments)
    names = [name for name in DOORS if name not in NOT_IN_ALL] if parsed.door == "all" else [parsed.door]
    return max(run_one(name, long=parsed.long, seed=parsed.seed, as_json=parsed.json) for name in names)


def run_one(name: str, *, long: bool, seed: int, as_json: bool) -> int:
    """Run a door and print its verdict; returns 0 if all of its figures are met, else 1."""
    door = importlib.import_module(f"torture.{DOORS[name]}")
    command = shlex.join(["scripts/torture", name, *(["--long"] if long else []), "--seed", str(seed)])
    began = time.monotonic()
    verdict = door.run(long=long, seed=seed)
    seconds = round(time.monotonic() - began, 1)
    if as_json:
        print(json.dumps({"door": name, "command": command, "seconds": seconds, **verdict.to_dict()}), flush=True)
    else:
        heading = f"{name}: {'withstood' if verdict.met else 'FAILED'} in {seconds} s ({door.SUMMARY})"
        print(heading, *verdict.lines(), f"          {command}", sep="\n", flush=True)
    return 0 if verdict.met else 1


if __name__ == "__main__":
    # Before NumPy is loaded: the threads of a BLAS would wait for each other, and limits of memory count their stacks.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    sys.exit(main(sys.argv[1:]))

"""Run one benchmark, or all: print its table with the machine and versions, and put it into a page if asked."""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from benchmarks.machine import describe
from benchmarks.tables import command_line, has_table, put_into
from emogram.errors import EmogramError

BENCHMARKS = {
    "timelines": "timelines",
    "log-mel": "log_mel",
    "log-mel-kaldi": "log_mel_kaldi",
    "roofline": "roofline",
    "cold-start": "cold_start",
    "pictures": "pictures",
    "hour": "hour",
    "long-files": "long_files",
    "training-step": "training_step",
    "one-clip": "one_clip",
    "cost-growth": "cost_growth",
    "cross-validation": "cross_validation",
    "service": "service",
    "dimensions": "dimensions",
}
NOT_IN_ALL = {"timelines", "dimensions"}  # measure how right answers are, and have pages of their own

RESULTS = Path(__file__).parent / "RESULTS.md"
ROOT = Path(__file__).parents[1]


def main(arguments: Sequence[str]) -> int:
    """Parse, run, print; returns the exit code."""
    if "--all" in arguments:
        return run_all(arguments)
    modules = {name: importlib.import_module(f"benchmarks.{module}") for name, module in BENCHMARKS.items()}
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, epilog="All of them: python -m benchmarks --all --help"
    )
    commands = parser.add_subparsers(dest="benchmark", required=True, metavar="NAME")
    for name, module in modules.items():
        command = commands.add_parser(name, help=module.SUMMARY, description=module.SUMMARY)
        add_common(command, rounds=getattr(module, "ROUNDS", None))
        module.add_arguments(command)
    parsed = parser.parse_args(arguments)
    try:
        run_one(modules[parsed.benchmark], parsed, arguments)
    except EmogramError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def add_common(parser: argparse.ArgumentParser, *, rounds: int | None = None) -> None:
    """Add what every benchmark takes."""
    parser.add_argument(
        "corpus", type=Path, nargs="?", metavar="CORPUS", help="Sound to measure on; by default synthetic voices."
    )
    parser.add_argument("--tiny", action="store_true", help="Only try it, on almost nothing; the figures say nothing.")
    parser.add_argument("--peers", action="store_true", help="Peers too that need an environment of their own.")
    parser.add_argument("--into", type=Path, metavar="PAGE", help="Put the table into this page.")
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds, help=f"Paired runs, by turns; by default {rounds}.")


def run_one(module: ModuleType, parsed: argparse.Namespace, arguments: Sequence[str]) -> None:
    """Run a benchmark, print its table, and put it into its page."""
    if parsed.tiny and "--rounds" not in arguments:
        parsed.rounds = 1
    table = module.run(parsed)
    into = ["--into", str(parsed.into)] if parsed.into else []
    command = command_line([one for one in arguments if one not in into])
    markdown = table.markdown(command, machine=describe(getattr(module, "PACKAGES", ())))
    print(markdown)
    if parsed.into:
        if table.growths:
            from benchmarks.growth import draw

            draw(table.growths, parsed.into.parent / f"{table.name}.png")
        put_into(parsed.into, table.name, markdown)


def run_all(arguments: Sequence[str]) -> int:
    """Run every benchmark in a process of its own: one that fails is told, and the others go on."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks --all", description="Run every benchmark and put its table into a page."
    )
    parser.add_argument("--all", action="store_true", help="(this)")
    add_common(parser)
    parser.add_argument("--missing", action="store_true", help="Only those whose table the page lacks.")
    parser.add_argument("--only", metavar="NAME,...", help="Only these.")
    parsed = parser.parse_args(arguments)
    page = parsed.into or (None if parsed.tiny else RESULTS)
    names = [name for name in BENCHMARKS if name not in NOT_IN_ALL]
    if parsed.only:
        unknown = [name for name in parsed.only.split(",") if name not in names]
        if unknown:
            parser.error(f"unknown benchmark {', '.join(unknown)}; expected some of {', '.join(names)}")
        names = parsed.only.split(",")
    if parsed.missing and page is not None:
        names = [name for name in names if not has_table(page, name)]
    flags = [f"--{flag}" for flag in ("tiny", "peers") if getattr(parsed, flag)]
    sound = [str(parsed.corpus.resolve())] if parsed.corpus else []
    into = ["--into", str(page.resolve())] if page else []
    failed = []
    for name in names:
        print(f"{name} ...", file=sys.stderr)
        began = time.monotonic()
        command = [sys.executable, "-m", "benchmarks", name, *sound, *flags, *into]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        print(f"{name}: {'done' if code == 0 else 'FAILED'} after {time.monotonic() - began:.0f} s", file=sys.stderr)
        if code:
            failed.append(name)
    if failed:
        print(f"error: {len(failed)} of {len(names)} failed: {', '.join(failed)}; again by --missing", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    # Before NumPy is loaded: the threads of a BLAS would wait for each other on one core, ours and the peers' alike.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main(sys.argv[1:]))

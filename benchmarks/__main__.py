"""Run one benchmark: print its table, and put it into a page if asked."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import long_files, timelines
from benchmarks.tables import command_line, put_into
from emogram.errors import EmogramError

BENCHMARKS = {
    "timelines": timelines,
    "long-files": long_files,
}


def main(arguments: Sequence[str]) -> int:
    """Parse, run, print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="benchmark", required=True, metavar="NAME")
    for name, module in BENCHMARKS.items():
        command = commands.add_parser(name, help=module.SUMMARY, description=module.SUMMARY)
        module.add_arguments(command)
        command.add_argument("--into", type=Path, metavar="PAGE", help="Put the table into this page.")
    parsed = parser.parse_args(arguments)
    try:
        table = BENCHMARKS[parsed.benchmark].run(parsed)
        into = ["--into", str(parsed.into)] if parsed.into else []
        markdown = table.markdown(command_line([one for one in arguments if one not in into]))
        print(markdown)
        if parsed.into:
            put_into(parsed.into, table.name, markdown)
    except EmogramError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

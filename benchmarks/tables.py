"""Figures -> a Markdown table with the command that made it, and its place in a page."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emogram.errors import SettingsError
from emogram.files import write_text

if TYPE_CHECKING:
    from benchmarks.growth import Growth


@dataclass(frozen=True)
class Table:
    """What a benchmark found.

    Attributes:
        name: Tells it from others in a page.
        header: Name of each column.
        rows: Cells, ready to print.
        notes: What must stand below it, a line each.
        growths: What is drawn beside the page, as NAME.png.
    """

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    growths: tuple[Growth, ...] = ()

    def markdown(self, command: str, *, machine: str = "") -> str:
        """Return the table with the command that made it, and the machine where that counts."""
        lines = [self.header, ("---",) * len(self.header), *self.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        drawn = [f"![{self.name}]({self.name}.png)"] if self.growths else []
        below = [*self.notes, *([f"Machine: {machine}."] if machine else []), *drawn]
        return f"<!-- not run: measures -->\n```sh\n{command}\n```\n\n{table}\n" + "".join(
            f"\n{note}\n" for note in below
        )


def command_line(arguments: Sequence[str]) -> str:
    """Return the command in words that mean something elsewhere: of each path its last names."""
    words: list[str] = []
    for argument in arguments:
        path = Path(argument)
        if path.parent.name.startswith("seed-"):
            argument = "RUNS/" + "/".join(path.parts[-2:])
        elif "/" in argument:
            argument = path.name
        words.append(argument)
    return shlex.join(["python", "-m", "benchmarks", *words])


def put_into(page: Path, name: str, markdown: str) -> None:
    """Put a table into its place in a page, between two comments with its name; at the end where it has none.

    Raises:
        SettingsError: There is a beginning and no end.
        OutputError: The page cannot be written.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    block = f"{begin}\n{markdown}\n{end}"
    if begin not in text:
        write_text(page, f"{text}\n{block}\n" if text else f"{block}\n")
        return
    before, _, rest = text.partition(begin)
    if end not in rest:
        raise SettingsError(f"{page}: '{begin}' without '{end}'; write the end where the table is to end")
    write_text(page, before + block + rest.partition(end)[2])


def has_table(page: Path, name: str) -> bool:
    """Tell whether a page holds the table of that name."""
    return page.is_file() and f"<!-- begin {name} -->" in page.read_text(encoding="utf-8")


def percent(value: float) -> str:
    """Return 0.123 as "12.3"; nothing where there is no value."""
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def within(value: float, interval: tuple[float, float]) -> str:
    """Return a fraction in percent with its interval."""
    return f"{percent(value)} ({percent(interval[0])}–{percent(interval[1])})"

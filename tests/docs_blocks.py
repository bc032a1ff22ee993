"""The fenced blocks and the code within lines of a Markdown page, and which of them are marked as not to be run.

A marker stands on the line before its block: `<!-- not run: WHY -->` is said of all of it, and
`<!-- not run "TEXT" "TEXT": WHY -->` of the commands in which one of the texts is found. They are parsed all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

# MODEL_CARD.md is not among them: `emogram ship` writes it, and its tests look at it.
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "examples/README.md",
    "benchmarks/RESULTS.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
)

_MARKER = re.compile(r'<!-- not run((?: "[^"]+")*): (.+) -->')
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        where: Page and line of its first line, "docs/models.md:12".
        language: The word after the fence; "" without one.
        text: What stands in it.
        not_run: Why it is not run; "" where it is.
        only: Texts of the commands that this is said of; empty for all.
    """

    where: str
    language: str
    text: str
    not_run: str = ""
    only: tuple[str, ...] = ()

    def is_run(self, command: str) -> bool:
        """Return whether a command of the block is run, and not only parsed."""
        return not self.not_run or (bool(self.only) and not any(text in command for text in self.only))

    def commands(self) -> list[str]:
        """Return its command lines: all of `sh`, those after "$ " of `console`, joined where a backslash ends them."""
        lines = self.text.splitlines()
        if self.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        joined = "\n".join(lines).replace("\\\n", "\\\0").split("\n")
        return [line.replace("\\\0", "\\\n") for line in joined if line.strip() and not line.lstrip().startswith("#")]


def blocks(page: str) -> list[Block]:
    """Return the blocks of a page, given by its name in the repository."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    return list(blocks_in(lines, page))


def blocks_in(lines: list[str], page: str) -> Iterator[Block]:
    """Yield the blocks in the lines of a page; a block may be indented, as within a list."""
    marker: re.Match[str] | None = None
    numbered = iter(enumerate(lines, 1))
    for number, line in numbered:
        if line.lstrip().startswith("```"):
            indent = len(line) - len(line.lstrip())
            content = []
            for _, inner in numbered:
                if inner.strip() == "```":
                    break
                content.append(inner[indent:])
            language = line.strip().removeprefix("```")
            why, only = (marker[2], tuple(re.findall('"([^"]+)"', marker[1]))) if marker else ("", ())
            yield Block(f"{page}:{number + 1}", language, "\n".join(content) + "\n", why, only)
        marker = _MARKER.fullmatch(line.strip())


def spans(page: str) -> list[tuple[str, str]]:
    """Return (where, text) of the code within lines of a page, such as the commands in its tables."""
    found, fenced = [], False
    for number, line in enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), 1):
        fenced ^= line.lstrip().startswith("```")
        if not fenced:
            found += [(f"{page}:{number}", text) for text in _SPAN.findall(line)]
    return found

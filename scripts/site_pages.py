"""What the site has beside the pages of docs/: pages that lie elsewhere in the repository, and one for each command.

A hook of MkDocs, named in mkdocs.yml. Links between pages are written as they hold in the repository, and turned here.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from emogram.cli import app

ROOT = Path(__file__).parents[1]
DOCS = "docs"

ELSEWHERE = (
    "README.md",
    "MODEL_CARD.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LOG.md",
    "SECURITY.md",
    "LICENSE",
    "CITATION.cff",
    "examples/README.md",
    "notebooks/README.md",
    *(f"notebooks/{path.name}" for path in sorted((ROOT / "notebooks").glob("*.ipynb"))),
    "benchmarks/RESULTS.md",
    "benchmarks/cost-growth.png",
)
"""Files outside docs/ that the site has as well, under the same name but for the front page."""

COMMANDS = "reference/commands/"

_LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the commands, and pages that nobody has placed yet, into the navigation."""
    assert config.nav is not None
    _replace(config.nav, COMMANDS, [COMMANDS + "index.md", *(f"{COMMANDS}{name}.md" for name in _commands())])
    placed = set(_pages_in(config.nav))
    found = (path.relative_to(config.docs_dir).as_posix() for path in sorted(Path(config.docs_dir).rglob("*.md")))
    how_to = next(section["How to"] for section in config.nav if "How to" in section)
    how_to += [page for page in found if page not in placed]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files that lie elsewhere, and the pages of the commands."""
    for name in ELSEWHERE:
        files.append(File.generated(config, _place_in_site(name), abs_src_path=str(ROOT / name)))
    pages = {f"{name}.md": command_page(name) for name in _commands()}
    for name, content in {"index.md": commands_page(), **pages}.items():
        files.append(File.generated(config, COMMANDS + name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links that hold in the repository into those that hold in the site."""
    here = page.file.src_uri
    folder = posixpath.dirname(_place_in_repository(here))

    def turned(link: re.Match[str]) -> str:
        target = link[2]
        if ":" in target or target.startswith("/"):
            return link[0]
        there = posixpath.normpath(posixpath.join(folder, target))
        return link[1] + posixpath.relpath(_place_in_site(there), posixpath.dirname(here) or ".") + link[3]

    return _LINK.sub(turned, markdown)


def _place_in_site(path: str) -> str:
    """Return where the site has a file of the repository."""
    return "index.md" if path == "README.md" else path.removeprefix(f"{DOCS}/")


def _place_in_repository(uri: str) -> str:
    if uri == "index.md":
        return "README.md"
    return uri if uri in ELSEWHERE else f"{DOCS}/{uri}"


def _replace(nav: list[Any], name: str, pages: list[str]) -> None:
    """Put pages in the place of an entry of the navigation, however deep it stands."""
    for entry in nav:
        if isinstance(entry, dict):
            for title, value in entry.items():
                if value == name:
                    entry[title] = pages
                elif isinstance(value, list):
                    _replace(value, name, pages)


def _pages_in(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for value in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from _pages_in(value)


# ---------------------------------------------------------------- the commands, as they say of themselves


def _commands() -> dict[str, Any]:
    """Return name -> command, "corpora list" too, in the order of --help."""
    found: dict[str, Any] = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", None)
        found |= {f"{name}-{each}": inner for each, inner in below.items()} if below else {name: command}
    return found


def commands_page() -> str:
    """Return the page of all commands, as Markdown."""
    rows = [
        f"| [`emogram {name.replace('-', ' ')}`]({name}.md) | {_cell(command.help)} |"
        for name, command in _commands().items()
    ]
    table = "\n".join(["| command | what it does |", "| --- | --- |", *rows])
    return f"# Commands\n\n{table}\n\n{app.info.epilog}\n"


def command_page(name: str) -> str:
    """Return the page of one command, as Markdown: its usage, its arguments and its options by the panels of --help."""
    command = _commands()[name]
    called = f"emogram {name.replace('-', ' ')}"
    context = command.make_context(called, [], resilient_parsing=True)
    panels: dict[str, list[str]] = {}
    for parameter in command.get_params(context):
        told = parameter.get_help_record(context)
        if told is not None:
            kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
            panel = getattr(parameter, "rich_help_panel", None) or kind
            panels.setdefault(panel, []).append(f"| `{_cell(told[0])}` | {_cell(told[1])} |")
    usage = " ".join(command.collect_usage_pieces(context))
    parts = [f"# {called}", command.help, f"```text\n{called} {usage}\n```"]
    for panel, rows in panels.items():
        parts += [f"## {panel}", "\n".join(["| | |", "| --- | --- |", *rows])]
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")

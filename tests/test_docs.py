"""Every command and every block of the documentation is run, or where that cannot be, at least parsed.

A block that cannot be run says why, in a marker before it (`docs_blocks`). Each page has a folder of its own with all
that it names (`docs_world`), and its blocks are run in their order, as a reader would.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docs_blocks import PAGES, Block, blocks
from docs_programs import NotRunError, Shell, parse_emogram, query, run_python
from docs_requests import RunningService
from docs_world import SMALL, make_world
from fakehub import TOKEN
from fakehub import running as running_hub
from serving import running as running_service

import emogram
from emogram.client import AsyncClient, Client
from emogram.config import ServeConfig, run_config
from emogram.serve.app import create_app
from emogram.testing import tiny_bundle


@pytest.fixture(scope="module", autouse=True)
def small_trainings() -> Iterator[None]:
    """Train in seconds, in this process, without the plots, which other tests look at."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("EMOGRAM_")]:
            patch.delenv(name)
        for name, value in SMALL.items():
            patch.setenv(name, value)
        patch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
        patch.setattr("emogram.plots.save_all", lambda *_, **__: [])
        yield


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, small_trainings: None) -> Path:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("service")
    app = create_app([emogram.load(tiny_bundle(folder / "model"))], ServeConfig(workers=1, data=folder / "jobs"))
    with running_service(app) as url:
        yield RunningService(url, app.openapi()["paths"])


@pytest.fixture(scope="module")
def hub() -> Iterator[None]:
    with running_hub() as hub, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", hub.url)
        patch.setenv("HF_TOKEN", TOKEN)
        patch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        yield


@pytest.fixture
def shell(template: Path, service: RunningService, hub: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A folder of what pages name, to run their commands in."""
    folder = tmp_path / "page"
    shutil.copytree(template, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EMOGRAM_CACHE", str(tmp_path / "cache"))
    for client in (Client, AsyncClient):
        monkeypatch.setattr(client.__init__, "__defaults__", (service.url, None))
    return Shell(folder, tmp_path / "programs", service)


# ---------------------------------------------------------------- every block, by its language


def try_commands(block: Block, shell: Shell, names: dict[str, Any]) -> None:
    commands = block.commands()
    unmet = [text for text in block.only if not any(text in command for command in commands)]
    assert not unmet, f"the marker names {unmet}, which no command of the block has"
    assert commands, "no command; name the language of what this is"
    for command in commands:
        shell.do(command, run=block.is_run(command))


def try_python(block: Block, shell: Shell, names: dict[str, Any]) -> None:
    if block.not_run:
        compile(block.text, block.where, "exec")
    else:
        run_python(shell.service.in_place(block.text), names, where=block.where)


def try_toml(block: Block, shell: Shell, names: dict[str, Any]) -> None:
    values = tomllib.loads(block.text)
    if all(isinstance(value, dict) for value in values.values()):
        run_config(values)
    else:
        ServeConfig.from_dict(values)


def try_json(block: Block, shell: Shell, names: dict[str, Any]) -> None:
    if block.not_run:  # shortened
        return
    rest = block.text.strip()
    while rest:
        _, end = json.JSONDecoder().raw_decode(rest)
        rest = rest[end:].strip()


def try_javascript(block: Block, shell: Shell, names: dict[str, Any]) -> None:
    assert block.not_run, "say why it is not run"
    if node := shutil.which("node"):
        subprocess.run([node, "--check", "-"], input=block.text, text=True, check=True, capture_output=True)


def try_sql(block: Block, shell: Shell, names: dict[str, Any]) -> None:
    query(block.text, run=not block.not_run)


def try_ini(block: Block, shell: Shell, names: dict[str, Any]) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(block.text)
    for section in parser.sections():
        for value in parser[section].values():
            if re.match(r"\S*/emogram ", value):
                parse_emogram(shlex.split(value)[1:])


def try_nginx(block: Block, shell: Shell, names: dict[str, Any]) -> None:
    assert block.text.count("{") == block.text.count("}") > 0
    bare = [line.split("#")[0].strip() for line in block.text.splitlines()]
    assert all(line.endswith((";", "{", "}")) for line in bare if line)


def try_text(block: Block, shell: Shell, names: dict[str, Any]) -> None:
    commands = [line for line in block.text.splitlines() if re.match(r"(\$ |emogram [a-z]|python |curl )", line)]
    assert not commands, f"commands in a block that is not said to have any: {commands}"


KINDS: dict[str, Callable[[Block, Shell, dict[str, Any]], None]] = {
    "sh": try_commands,
    "console": try_commands,
    "python": try_python,
    "toml": try_toml,
    "json": try_json,
    "js": try_javascript,
    "sql": try_sql,
    "ini": try_ini,
    "nginx": try_nginx,
    "text": try_text,
}


def try_block(block: Block, shell: Shell, names: dict[str, Any]) -> None:
    """Run or parse a block; what is wrong is told with its place."""
    try:
        assert block.language in KINDS, f"a block in '{block.language}', which is none of {', '.join(KINDS)}"
        KINDS[block.language](block, shell, names)
    except NotRunError as error:
        pytest.fail(f"{block.where}: cannot be run here: {error}; put a marker before it: <!-- not run: WHY -->")
    except Exception as error:
        pytest.fail(f"{block.where}: {type(error).__name__}: {error}")


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)])
def test_every_block_of_a_page_runs(page: str, shell: Shell) -> None:
    names: dict[str, Any] = {"emogram": emogram}
    for block in blocks(page):
        try_block(block, shell, names)

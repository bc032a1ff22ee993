"""Every command and every block of the documentation is run, or where that cannot be, at least parsed.

A block that cannot be run says why, in a marker before it (`docs_blocks`). Each page has a folder of its own with all
that it names (`docs_world`), and its blocks are run in their order, as a reader would.
"""

from __future__ import annotations

import configparser
import csv
import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from docs_blocks import PAGES, ROOT, Block, blocks, blocks_in, spans
from docs_programs import NotRunError, Shell, all_commands, parse_emogram, query, run_python
from docs_requests import RunningService
from docs_world import SMALL, make_world
from fakehub import TOKEN
from fakehub import running as running_hub
from serving import running as running_service
from undrawn import draw_nothing

import emogram
from emogram.client import AsyncClient, Client
from emogram.config import ServeConfig, run_config
from emogram.serve.app import create_app
from emogram.testing import tiny_bundle
from emogram.tuning.space import read_space


@pytest.fixture(scope="module", autouse=True)
def small_trainings() -> Iterator[None]:
    """Train in seconds, in this process, without the plots, which other tests look at."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("EMOGRAM_")]:
            patch.delenv(name)
        for name, value in SMALL.items():
            patch.setenv(name, value)
        patch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
        draw_nothing(patch)
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


OTHERS_OPTIONS = {"--build-arg", "--no-deps", "--volume"}  # of pip and Docker


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
    inner = [inner for value in values.values() if isinstance(value, dict) for inner in value.values()]
    if any(isinstance(value, dict) for value in inner):  # ranges: what `emogram tune` searches
        (shell.folder / "my-space.toml").write_text(block.text, encoding="utf-8")
        read_space(shell.folder / "my-space.toml")
    elif all(isinstance(value, dict) for value in values.values()):
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


def try_csv(block: Block, shell: Shell, names: dict[str, Any]) -> None:
    header, *rows = csv.reader(block.text.splitlines())
    assert {"path", "label"} & set(header) and rows
    assert all(len(row) == len(header) for row in rows)


def try_nginx(block: Block, shell: Shell, names: dict[str, Any]) -> None:
    assert block.text.count("{") == block.text.count("}") > 0
    bare = [line.split("#")[0].strip() for line in block.text.splitlines()]
    assert all(line.endswith((";", "{", "}")) for line in bare if line)


def try_text(block: Block, shell: Shell, names: dict[str, Any]) -> None:
    commands = [line for line in block.text.splitlines() if re.match(r"(\$ |emogram [a-z]|python |curl )", line)]
    assert not commands, f"commands in a block that is not said to have any: {commands}"


LONG_PAGES = (  # that train again and again
    "README.md", "docs/dimensions.md", "docs/explaining.md", "docs/finetuning.md", "docs/training.md",
    "docs/tutorial.md",
)  # fmt: skip

KINDS: dict[str, Callable[[Block, Shell, dict[str, Any]], None]] = {
    "sh": try_commands,
    "console": try_commands,
    "python": try_python,
    "toml": try_toml,
    "json": try_json,
    "js": try_javascript,
    "sql": try_sql,
    "csv": try_csv,
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
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.long) if page in LONG_PAGES else page for page in PAGES if blocks(page)],
)
def test_every_block_of_a_page_runs(page: str, shell: Shell) -> None:
    names: dict[str, Any] = {"emogram": emogram}
    for block in blocks(page):
        try_block(block, shell, names)


@pytest.mark.parametrize("page", LONG_PAGES)
def test_every_block_of_a_long_page_is_at_least_parsed(page: str, shell: Shell) -> None:
    for block in blocks(page):
        try_block(replace(block, not_run="long", only=()), shell, {})


# ---------------------------------------------------------------- commands and options in the text


@functools.cache
def emogram_options() -> set[str]:
    """Return every option of every command."""
    found: set[str] = set()
    waiting: list[Any] = [all_commands()]
    while waiting:
        command = waiting.pop()
        waiting += getattr(command, "commands", {}).values()
        for parameter in command.params:
            found |= {*parameter.opts, *parameter.secondary_opts}
    return found | {"--help", "-h"}


def other_sources() -> str:
    """Return the text in which options of other programs of the repository are made."""
    files = [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "torture").glob("*.py"), ROOT / "src/emogram/cli/entry.py"]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


@pytest.mark.parametrize("page", [*PAGES, "MODEL_CARD.md"])
def test_commands_and_options_in_the_text_are_there(page: str) -> None:
    options, elsewhere = emogram_options(), other_sources()
    wrong = []
    for where, text in spans(page):
        try:
            words = shlex.split(text)
        except ValueError:  # no command line
            continue
        if words[:1] == ["emogram"] and not set(words) & {"...", "|"}:
            try:
                # A capital letter stands for a number.
                parse_emogram(["1" if re.fullmatch("[A-Z]", word) else word for word in words[1:]], whole=False)
            except Exception as error:
                wrong.append(f"{where}: {error}")
        elif text.startswith("--"):
            flag = re.match(r"--[a-z0-9-]*", text)
            if flag and flag[0] not in options and f'"{flag[0]}"' not in elsewhere and flag[0] not in OTHERS_OPTIONS:
                wrong.append(f"{where}: no command has the option {flag[0]}")
    assert not wrong, "\n".join(wrong)


# ---------------------------------------------------------------- what is wrong is noticed

WRONG = {
    "an option": ("```sh\nemogram predict clip.wav --topk 2\n```", "No such option: --topk"),
    "an option of what is not run": ("<!-- not run: why -->\n```sh\nemogram listen --devise 2\n```", "--devise"),
    "a choice": ("<!-- not run: why -->\n```sh\nemogram train x --optimizer sdg\n```", "'sdg' is not one of"),
    "a setting": ("<!-- not run: why -->\n```sh\nemogram train x --epochs 0\n```", "greater than or equal to 1"),
    "a protocol": ("<!-- not run: why -->\n```sh\nemogram crossval x --protocol si6\n```", "si6"),
    "a command": ("<!-- not run: why -->\n```sh\nemogram trian x\n```", "has no command 'trian'"),
    "a file": ("```sh\nemogram predict nothing.wav\n```", "no such file"),
    "a program": ("<!-- not run: why -->\n```sh\nffmpeg -i clip.wav\n```", "ffmpeg: command not found"),
    "a command without a marker": ("```sh\ndocker run emogram\n```", "put a marker before it"),
    "a marker of nothing": (
        '<!-- not run "crossval": why -->\n```sh\nemogram doctor\n```',
        "no command of the block has",
    ),
    "an extra": ("```sh\npip install 'emogram[trian]'\n```", "there is no extra"),
    "a route": ("<!-- not run: why -->\n```sh\ncurl http://127.0.0.1:8000/v2/models\n```", "no GET /v2/models"),
    "an option of a benchmark": ("<!-- not run: why -->\n```sh\npython -m benchmarks one-clip --tyni\n```", "refused"),
    "Python": ('```python\nemogram.load("MODEL").guess("clip.wav")\n```', "no attribute 'guess'"),
    "TOML": ("```toml\n[train]\nepoch = 3\n```", "epoch"),
    "a language": ("```ruby\nputs 1\n```", "a block in 'ruby'"),
    "no language": ("```\nemogram doctor\n```", "a block in ''"),
    "a command in plain text": ("```text\nemogram doctor\n```", "commands in a block that is not said to have any"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_noticed(text: str, message: str, shell: Shell) -> None:
    (block,) = blocks_in(text.splitlines(), "page.md")
    with pytest.raises(pytest.fail.Exception, match=re.escape(message)) as failed:
        try_block(block, shell, {"emogram": emogram})
    assert str(failed.value).startswith("page.md:")


def test_parsing_installs_no_completion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/bin/bash")
    parse_emogram(["--install-completion"])
    assert list(tmp_path.iterdir()) == []

"""Runs or parses the command lines of the documentation.

bash itself reads each line, so that quotes, patterns, braces and variables mean what they mean to a user; but the
programs that it finds only write down how they were called. What was written down is then run within this process, or
parsed by the program's own parser. A program that is unknown here is not found by bash, and the test fails.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import importlib
import importlib.util
import io
import itertools
import os
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer
from docs_blocks import ROOT
from docs_requests import RunningService, assert_known, request_of, send

from emogram import cli
from emogram.protocols import find_protocol
from emogram.settings import SETTINGS, resolve

RECORDER = """#!/bin/bash
printf '%s\\0' $# "${0##*/}" "$@" >> "$RECORD"
"""
OTHER_PROGRAMS = ("docker", "git", "mlflow", "node", "npm", "ray", "sbatch", "tensorboard")
NEVER_RUN = {
    "serve": "does not end",
    "listen": "wants a microphone",
    "crossval": "trains many times",
    "--install-completion": "writes into the settings of the shell",
}
REAL_PROGRAMS = ("cat", "chmod", "mkdir")


class NotRunError(AssertionError):
    """A command that nobody marked cannot be run here."""


class Shell:
    """What one page's commands run in: a folder, with what `cd` and `export` of earlier lines left.

    Args:
        folder: As `make_world` fills it.
        programs: Folder for the programs that bash finds.
        service: A running service, which stands for the one at http://127.0.0.1:8000.
    """

    def __init__(self, folder: Path, programs: Path, service: RunningService) -> None:
        self.folder, self.programs, self.service = folder, programs, service
        self.record = programs / "record"
        self.before: list[str] = []
        for name in ("emogram", "python", "pip", "curl", "duckdb", *OTHER_PROGRAMS):
            _write_program(programs / name)
        for script in (ROOT / "scripts").iterdir():
            if script.is_file() and os.access(script, os.X_OK):
                _write_program(folder / "scripts" / script.name)
        for name in REAL_PROGRAMS:
            (programs / name).symlink_to(Path("/bin") / name)

    def calls(self, line: str, *, run: bool) -> list[list[str]]:
        """Return what a command line calls: programs with their arguments, as bash understands them.

        Where it is not run, it may go into folders that are not there.
        """
        forgiving = [] if run else ['cd() { builtin cd "$@" 2>/dev/null || true; }; source() { :; }']
        self.record.write_bytes(b"")
        done = subprocess.run(
            ["/bin/bash", "-c", "\n".join(["set -e", *forgiving, *self.before, line])],
            env={"PATH": str(self.programs), "RECORD": str(self.record), "SLURM_ARRAY_TASK_ID": "1"},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"bash does not take `{line}`: {done.stderr.strip()}")
        if line.split()[0] in ("cd", "export"):
            self.before.append(line)
        words = self.record.read_bytes().decode().split("\0")[:-1]
        called = []
        while words:
            end = 2 + int(words[0])
            called.append(words[1:end])
            words = words[end:]
        return called

    def do(self, line: str, *, run: bool) -> None:
        """Run a command line, or parse it."""
        for program, *arguments in self.calls(line, run=run):
            kind = PROGRAMS.get(program, _script if (ROOT / "scripts" / program).is_file() else _other)
            kind(self, program, arguments, run)


def _write_program(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(RECORDER, encoding="utf-8")
    path.chmod(0o755)


# ---------------------------------------------------------------- emogram


def _emogram(shell: Shell, program: str, arguments: list[str], run: bool) -> None:
    parse_emogram(arguments)
    if not run:
        return
    if arguments[0] in NEVER_RUN and "--from" not in arguments:
        raise NotRunError(f"`emogram {arguments[0]}`, which {NEVER_RUN[arguments[0]]}")
    arguments = [shell.service.in_place(argument) for argument in arguments]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(arguments)
    if code:
        raise AssertionError(f"exit code {code}: {err.getvalue().strip()[-600:]}")


@functools.cache
def all_commands() -> Any:
    """The commands of emogram, which take a third of a second to make."""
    command: Any = typer.main.get_command(cli.app)
    for parameter in command.params:
        if parameter.name in ("install_completion", "show_completion"):
            parameter.callback = None  # which acts while the parser is still at work
    return command


def parse_emogram(arguments: Sequence[str], *, whole: bool = True) -> None:
    """Let the real parser take a command line, and look at the settings, protocol and files of settings in it.

    Args:
        arguments: What stands behind "emogram".
        whole: False where it may lack arguments, as a command that is only mentioned does.

    Raises:
        AssertionError: It would be refused.
    """
    command, rest, name = all_commands(), list(arguments), "emogram"
    while rest and not rest[0].startswith("-") and hasattr(command, "commands"):
        assert rest[0] in command.commands, f"`{name}` has no command '{rest[0]}'"
        command, name, rest = command.commands[rest[0]], f"{name} {rest[0]}", rest[1:]
    if set(rest) & {"--install-completion", "--show-completion"}:
        return  # they do what they say as soon as they are parsed, in the home folder of whoever runs this
    try:
        context = command.make_context(name, rest)
    except typer.Exit:  # --help
        return
    except typer.TyperException as error:
        if whole or not error.format_message().startswith("Missing argument"):
            raise AssertionError(f"`emogram {' '.join(arguments)}`: {error.format_message()}") from None
        return
    given = {name: value for name, value in context.params.items() if name in SETTINGS}
    file = context.params.get("config_file")
    if given and (file is None or (ROOT / file).is_file()):
        resolve(given, file=file and ROOT / file)
    if context.params.get("protocol"):
        find_protocol(context.params["protocol"])


# ---------------------------------------------------------------- Python, pip, scripts, others


def _python(shell: Shell, program: str, arguments: list[str], run: bool) -> None:
    match arguments:
        case ["-c", code]:
            compile(code, "python -c", "exec")
            if run:
                run_python(code, {})
        case ["-m", module, *rest] if module.split(".")[0] in ("benchmarks", "torture"):
            _parse_module(module, rest)
            if run:
                raise NotRunError(f"`python -m {module}` measures")
        case ["-m", module, *_]:
            assert importlib.util.find_spec(module), f"there is no module {module}"
            if run:
                raise NotRunError(f"`python -m {module}`")
        case [file, *rest]:
            path = ROOT / file
            ast.parse(path.read_text(encoding="utf-8"))
            if run:
                _run_file(path, rest)


class _Parsed(BaseException):
    """The arguments were taken."""


def _parse_module(module: str, arguments: list[str]) -> None:
    """Run the main function of a benchmark until its parser has taken its arguments."""
    parse = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, *given: Any) -> None:
        parse(self, *given)
        raise _Parsed

    name = module if "." in module else f"{module}.__main__"
    main = importlib.import_module(name).main
    argparse.ArgumentParser.parse_args = stop  # type: ignore[method-assign,assignment]
    try:
        with contextlib.suppress(_Parsed):
            main(arguments)
            raise AssertionError(f"`python -m {module}` parses nothing")
    except SystemExit as error:
        raise AssertionError(f"`python -m {module} {' '.join(arguments)}` is refused") from error
    finally:
        argparse.ArgumentParser.parse_args = parse  # type: ignore[method-assign]


def _run_file(path: Path, arguments: list[str]) -> None:
    before = sys.argv
    sys.argv = [str(path), *arguments]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            runpy.run_path(str(path), run_name="__main__")
    finally:
        sys.argv = before


def run_python(code: str, names: dict[str, Any], *, where: str = "python -c") -> None:
    """Run Python, whose names stay in `names`."""
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(code, where, "exec"), names)


def _pip(shell: Shell, program: str, arguments: list[str], run: bool) -> None:
    """Look whether the files and extras are there; what pip does with them, `scripts/environment` tries each day."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert arguments[0] == "install", arguments
    for before, argument in itertools.pairwise(arguments):
        if before == "-r":
            assert (ROOT / argument).is_file(), f"there is no {argument}"
        if asked := re.fullmatch(r"emogram\[(.+)\]", argument):
            unknown = set(asked[1].split(",")) - set(project["optional-dependencies"])
            assert not unknown, f"there is no extra {unknown}"


def _script(shell: Shell, program: str, arguments: list[str], run: bool) -> None:
    done = subprocess.run(["/bin/bash", "-n", ROOT / "scripts" / program], capture_output=True, check=False)
    is_bash = (ROOT / "scripts" / program).read_text(encoding="utf-8").startswith("#!/usr/bin/env bash")
    assert not is_bash or done.returncode == 0, done.stderr
    if run:
        raise NotRunError(f"scripts/{program}")


def _other(shell: Shell, program: str, arguments: list[str], run: bool) -> None:
    for argument in arguments:
        if argument.startswith("--wrap="):
            shell.do(argument.removeprefix("--wrap="), run=False)
    if run:
        raise NotRunError(program)


# ---------------------------------------------------------------- curl and DuckDB


def _curl(shell: Shell, program: str, arguments: list[str], run: bool) -> None:
    request = request_of(arguments)
    assert_known(request, shell.service.paths)
    if run:
        send(request, shell.service, shell.folder)


def _duckdb(shell: Shell, program: str, arguments: list[str], run: bool) -> None:
    assert arguments[0] == "-c", arguments
    query(arguments[1], run=run)


def query(text: str, *, run: bool) -> None:
    """Run the statements of some SQL, or parse them."""
    import duckdb

    statements = duckdb.extract_statements(text)
    assert statements, "no SQL"
    if run:
        with duckdb.connect() as connection:
            for statement in statements:
                connection.execute(statement).fetchall()


PROGRAMS: dict[str, Callable[[Shell, str, list[str], bool], None]] = {
    "emogram": _emogram,
    "python": _python,
    "pip": _pip,
    "curl": _curl,
    "duckdb": _duckdb,
}

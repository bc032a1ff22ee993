"""Entering and leaving: the app, its exit codes, and what becomes of an error."""

from __future__ import annotations

import contextlib
import copy
import errno
import functools
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from emogram import __version__
from emogram.cli.completing import words_so_far
from emogram.errors import EmogramError, SettingsError
from emogram.nearby import beside, nearest

CORPORA = "corpora"  # the group of commands

PARTLY_FAILED = 3
UNREADABLE = 4
INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM

_EXIT_CODES = (
    "Exit codes: 0 fine, 1 failed, 2 wrong usage, 3 some inputs failed (each named, the others done), 4 an input could "
    "not be read, 5 a model was refused, 130 and 143 on Ctrl-C and SIGTERM."
)

app = typer.Typer(
    name="emogram",
    help="Speech emotion recognition from spectrograms: train, judge honestly, and use.",
    epilog=_EXIT_CODES,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
corpora_app = typer.Typer(help="Download corpora of emotional speech, and look into them.", no_args_is_help=False)
app.add_typer(corpora_app, name=CORPORA)


def main() -> NoReturn:
    """Run the command line of this process and exit with its code."""
    signal.signal(signal.SIGTERM, _terminate)
    # Cross-validation that is interrupted ends its workers by force, and the process of Python that then tidies up
    # after them would complain of what they left. It takes its options from here.
    sys.warnoptions.append("ignore::UserWarning:multiprocessing.resource_tracker")
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # a test or a host program may have put something else there
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        words = words_so_far()
        chosen = _app_for(arguments) if words is None else _app_to_complete(words)
        return int(chosen(list(arguments), prog_name="emogram", standalone_mode=False) or 0)
    except typer.TyperException as error:
        message = error.format_message().replace("Value error, ", "").rstrip(".")
        _error(f"{message}{_choice_meant(error)}; `{_command_of(error)} --help` tells more")
        return SettingsError.exit_code
    except KeyboardInterrupt:  # while still starting
        return interrupted_code()


def _app_for(arguments: Sequence[str]) -> typer.Typer:
    """Return the app with only the command that is asked for: all take a tenth of a cold `emogram predict` to build."""
    asked = [command for command in app.registered_commands if arguments and _name_of(command) == arguments[0]]
    if not asked:
        return app
    alone = copy.copy(app)
    alone.registered_commands, alone.registered_groups = asked, []
    return alone


def _app_to_complete(words: Sequence[str]) -> typer.Typer:
    """Return as much of the app as it takes to complete what follows some words, since somebody waits."""
    if words and words[0] == CORPORA:
        return app
    if any(_name_of(command) == word for command in app.registered_commands for word in words[:1]):
        return _app_for(words)
    bare = copy.copy(app)
    bare.registered_commands = [_without_options(command) for command in app.registered_commands]
    return bare


def _without_options(command: Any) -> Any:
    def named() -> None: ...

    named.__doc__ = command.callback.__doc__
    bare = copy.copy(command)
    bare.name, bare.callback = _name_of(command), named
    return bare


def _name_of(command: Any) -> str:
    return str(command.name or command.callback.__name__)


def _command_of(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return "emogram" if context is None else str(context.command_path)


def _choice_meant(error: typer.TyperException) -> str:
    """Return " (did you mean ...?)" for a value that is like one of the choices which Typer's message lists."""
    said = re.search(r"'([^']*)' is not one of (.*)", error.format_message())
    near = nearest(said[1], re.findall(r"'([^']+)'", said[2])) if said else None
    return f" (did you mean '{near}'?)" if near else ""


class _Terminated(KeyboardInterrupt):
    """SIGTERM: what is running ends as on Ctrl-C, and keeps what it can."""

    came = False


def _terminate(number: int, frame: object) -> None:
    _Terminated.came = True  # training answers the interrupt by itself, and the exit code must tell of it later
    raise _Terminated


@contextlib.contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether Ctrl-C or SIGTERM came, for work that then ends and keeps what it has.

    The second of them interrupts as always.
    """
    came: list[int] = []

    def remember(number: int, frame: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)
        _Terminated.came = number == signal.SIGTERM

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupted_code() -> int:
    """Return the exit code of an interrupted command, by the signal that came."""
    return TERMINATED if _Terminated.came else INTERRUPTED


def add_command(to: typer.Typer, function: Callable[..., int], name: str | None = None) -> None:
    """Make a function a command; what goes wrong in it becomes a line on stderr and an exit code."""

    @functools.wraps(function)
    def guarded(**values: Any) -> None:
        raise typer.Exit(_guarded(functools.partial(function, **values)))

    to.command(name)(guarded)


def _guarded(function: Callable[[], int]) -> int:
    try:
        code = function()
        sys.stdout.flush()
        return code
    except EmogramError as error:
        missing = getattr(error, "missing", None)
        _error(f"{error}{beside(missing)}" if missing else str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _error("interrupted; what was finished stands, and the same command goes on from there where it can")
        return interrupted_code()
    except BrokenPipeError:  # whoever read our output, such as `head`, has had enough
        _discard_stdout()
        return EmogramError.exit_code
    except MemoryError:
        _error("not enough memory; try fewer --workers or a smaller --batch-size")
        return EmogramError.exit_code
    except OSError as error:
        from emogram.files import output_error

        where = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else Path("the output")
        _error(str(output_error(where, error)) if error.errno == errno.ENOSPC else f"{where}: {error.strerror}")
        if error.filename is None:
            _discard_stdout()
        return EmogramError.exit_code
    except Exception as error:
        if os.environ.get("EMOGRAM_DEBUG"):
            raise
        _error(
            f"this is a bug in emogram {__version__} ({type(error).__name__}: {error}); please report it, with what "
            "the same command prints under EMOGRAM_DEBUG=1"
        )
        return EmogramError.exit_code


def _error(message: str) -> None:
    from emogram import console

    console.error(message)


def _discard_stdout() -> None:
    """Let what is still in the buffer of stdout go nowhere, or Python would complain of it when it exits."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show what a bug report needs, and exit.")] = False,
) -> None:
    if version:
        from emogram.versions import version_lines

        typer.echo("\n".join(version_lines()))
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())

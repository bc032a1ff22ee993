"""Settings for a command: a flag, else the environment, else a TOML file, else the network's recipe, else the default.

Flags are made from the classes of `config`, so that a new setting needs no line here or in `cli`: of those of a run,
which stand in sections (`takes_settings`), and of those of a service, which do not (`takes_config`).
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic.fields import FieldInfo

from emogram.config import RECIPES, RunConfig, Settings, read_toml, run_config, with_recipe
from emogram.errors import SettingsError
from emogram.nearby import nearest

Values = Mapping[str, Mapping[str, Any]]
Completers = Mapping[str, Callable[[str], list[str]]]

PREFIX = "EMOGRAM_"

# What stands over the flags of a section in --help.
_PANELS = {
    "spectrogram": "Spectrogram",
    "augment": "Augmentation (while training)",
    "network": "Network",
    "train": "Training",
    "split": "Split",
}


@dataclass(frozen=True)
class Setting:
    """One field of one section of `RunConfig`, or of a class without sections.

    Attributes:
        section: "train"; "" where there are none.
        name: "batch_size".
        field: Its type, default and description.
    """

    section: str
    name: str
    field: FieldInfo

    @property
    def flag(self) -> str:
        """The flag, such as "--batch-size"."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable, such as "EMOGRAM_BATCH_SIZE"."""
        return PREFIX + self.name.upper()

    @property
    def takes_list(self) -> bool:
        """Whether values are several words; on the command line they stand between commas."""
        return typing.get_origin(self.field.annotation) is tuple


def _collect() -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for section, section_field in RunConfig.model_fields.items():
        assert section_field.annotation is not None
        for name, field in section_field.annotation.model_fields.items():
            assert name not in found, f"two settings are called {name}, so a flag would mean both"
            found[name] = Setting(section, name, field)
    return found


SETTINGS = _collect()
"""Name -> setting, in the order of `RunConfig`. Names are unique over all sections."""


def takes_settings(
    *sections: str,
    leave_out: tuple[str, ...] = (),
    base: Values = types.MappingProxyType({}),
    complete: Completers = types.MappingProxyType({}),
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a Typer command a flag for each setting, and pass it what they come to.

    The command must have a parameter `config`, which receives a `RunConfig`. In its place the flags appear, after its
    other parameters, grouped by section, with `--config` for a TOML file.

    Args:
        sections: Sections of `RunConfig` that the command uses. Others keep their defaults, whatever a file says.
        leave_out: Settings of these sections that mean nothing to the command.
        base: Settings that stand before the defaults of `RunConfig` for this command.
        complete: Name of a setting -> what the shell completes its values with.
    """
    offered = [
        setting for setting in SETTINGS.values() if setting.section in sections and setting.name not in leave_out
    ]
    before = with_recipe(base)

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(command)
        def with_settings(**values: Any) -> int:
            given = {setting.name: values.pop(setting.name) for setting in offered}
            file = values.pop("config_file")
            return command(**values, config=resolve(given, file=file, sections=sections, base=base))

        flags = [
            _parameter(setting, before.get(setting.section, {}).get(setting.name), complete.get(setting.name))
            for setting in offered
        ]
        return _with_flags(with_settings, command, flags)

    return decorate


def takes_config(
    kind: type[Settings], *, leave_out: tuple[str, ...] = ()
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a Typer command a flag for each setting of a class without sections, and pass it what they come to.

    Otherwise as `takes_settings`; the TOML file has no sections either.

    Args:
        kind: The class, whose settings are of plain types.
        leave_out: Settings that have no flag. They may still stand in the file.
    """
    offered = [Setting("", name, field) for name, field in kind.model_fields.items() if name not in leave_out]

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(command)
        def with_settings(**values: Any) -> int:
            given = {setting: values.pop(setting.name) for setting in offered}
            file = values.pop("config_file")
            merged = read_toml(file) if file else {}
            for setting, value in given.items():
                if value is not None:
                    merged[setting.name] = split_words(value) if setting.takes_list else value
            return command(**values, config=kind.from_dict(merged))

        return _with_flags(with_settings, command, [_parameter(each) for each in offered])

    return decorate


def _with_flags(
    wrapped: Callable[..., int], command: Callable[..., int], flags: Sequence[inspect.Parameter]
) -> Callable[..., int]:
    """Let a wrapper of a command look to Typer as the command with flags in place of its parameter `config`."""
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "config"]
    parameters = [*own, _file_parameter(), *flags]
    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    wrapped.__signature__ = signature.replace(parameters=keyword_only)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in keyword_only}
    return wrapped


def resolve(
    given: Mapping[str, Any],
    *,
    file: Path | None = None,
    sections: tuple[str, ...] = tuple(RunConfig.model_fields),
    base: Values = types.MappingProxyType({}),
) -> RunConfig:
    """Build all settings from those of flags and environment, a file, the network's recipe and the defaults.

    Args:
        given: Name -> value, as flags and environment give them; None means not given. Lists are words between commas.
        file: TOML with sections as in a run's `config.toml`; anything may be left out.
        sections: Sections to use; others keep their defaults.
        base: Settings that stand before the defaults of `RunConfig`.

    Raises:
        SettingsError: A setting is unknown or out of range, or the file cannot be read.
    """
    merged = {section: dict(values) for section, values in base.items()}
    for section, values in (read_settings(file) if file else {}).items():
        merged.setdefault(section, {}).update(values)
    for name, value in given.items():
        if value is not None:
            setting = SETTINGS[name]
            merged.setdefault(setting.section, {})[name] = split_words(value) if setting.takes_list else value
    config = run_config(merged)
    defaults = RunConfig()
    unused = {section: getattr(defaults, section) for section in RunConfig.model_fields if section not in sections}
    return config.model_copy(update=unused)


def read_settings(path: Path) -> dict[str, dict[str, Any]]:
    """Read a TOML file of settings and refuse names that do not exist, each with the name it may stand for.

    Raises:
        SettingsError: The file cannot be read, or a section or setting in it is unknown.
    """
    values = read_toml(path)
    complaints = []
    for section, content in values.items():
        if section not in RunConfig.model_fields:
            complaints.append(f"unknown section [{section}]{_place_for(section)}")
        elif not isinstance(content, dict):
            complaints.append(f"{section} = {content!r} stands where a section [{section}] is expected")
        else:
            complaints += [
                f"unknown setting '{name}' in [{section}]{_place_for(name)}"
                for name in content
                if name not in SETTINGS or SETTINGS[name].section != section
            ]
    if complaints:
        raise SettingsError(f"{path}: {'; '.join(complaints)}")
    return values


def _place_for(name: str) -> str:
    """Return where a name that stands at the wrong place belongs, or what it may have been meant to be."""
    if name in SETTINGS:
        return f", it belongs in [{SETTINGS[name].section}]"
    near = nearest(name, [*SETTINGS, *RunConfig.model_fields])
    if near in SETTINGS:
        return f", did you mean '{near}' in [{SETTINGS[near].section}]?"
    return f", did you mean [{near}]?" if near else f"; expected one of {', '.join(RunConfig.model_fields)}"


def split_words(text: str) -> tuple[str, ...]:
    """Return the words of a list as it stands on the command line, between commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _file_parameter() -> inspect.Parameter:
    option = typer.Option(
        "--config",
        metavar="FILE",
        help=f"TOML file of settings, as a run's config.toml. Flags go first, then variables {PREFIX}<SETTING>.",
        show_default=False,
    )
    return inspect.Parameter(
        "config_file", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[Path | None, option]
    )


def _parameter(
    setting: Setting, default: Any = None, complete: Callable[[str], list[str]] | None = None
) -> inspect.Parameter:
    """Return the parameter of a setting's flag; `default` stands before that of its class, None does not."""
    kind, negation = _option_type(setting)
    if default is None:
        default = setting.field.get_default(call_default_factory=True)
    option = typer.Option(
        setting.flag + negation,
        envvar=setting.variable,
        show_envvar=False,  # the same rule for all, said once by --config
        show_default=False,  # Typer knows only that None means "not given"
        metavar="A,B,..." if setting.takes_list else None,
        help=f"{setting.field.description} ({_default_text(setting, default)})",
        rich_help_panel=_PANELS.get(setting.section),
        autocompletion=complete,
    )
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option]
    )


def _option_type(setting: Setting) -> tuple[Any, str]:
    """Return the type that Typer parses, always with None for "not given", and what follows the flag of a switch."""
    annotation = setting.field.annotation
    members = [member for member in typing.get_args(annotation) if member is not types.NoneType]
    plain: Any = members[0] if isinstance(annotation, types.UnionType) else annotation
    if setting.takes_list:
        return str | None, ""
    if plain is bool:
        return bool | None, f"/--no-{setting.flag.removeprefix('--')}"
    assert plain in (int, float, str, Path) or typing.get_origin(plain) is Literal, f"no flag for {setting.name}"
    return plain | None, ""


def _default_text(setting: Setting, default: Any) -> str:
    recipes: dict[str, list[str]] = {}
    for network, recipe in RECIPES.items():
        value = recipe.get(setting.section, {}).get(setting.name)
        if value is not None and _text(value) != _text(default):
            recipes.setdefault(_text(value), []).append(network)
    others = [f"; {text} for {' and '.join(networks)}" for text, networks in recipes.items()]
    return f"default: {_text(default)}{''.join(others)}"


def _text(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)

"""What is searched: settings of `RunConfig` with ranges or choices, from a TOML file, checked before any training."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import TypeAdapter, ValidationError

from emogram.config import RunConfig
from emogram.errors import SettingsError
from emogram.nearby import nearest
from emogram.settings import SETTINGS, Setting, read_settings

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

DEFAULT_SPACE = Path(__file__).with_name("space.toml")

# Trials that differ in these could not be compared, or would only be lucky.
_NEVER = {
    "seed": "a seed that happens to do well on a few clips does no better on others",
    "target_error": "it changes nothing that trials are judged by",
    "devices": "it changes nothing that trials are judged by",
}
_KEYS = ("low", "high", "log", "step")
_NEAR = 1e-9  # of a step, by which numbers with a point may miss it


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Attributes:
        low: The least.
        high: The greatest.
        log: Whether they are drawn evenly over orders of magnitude.
        step: Only `low` and multiples of this above it; None: any.
        whole: Whether they are whole numbers.
    """

    low: float
    high: float
    log: bool
    step: float | None
    whole: bool

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return self.step is None or _is_multiple(value - self.low, self.step)

    def distribution(self) -> BaseDistribution:
        """Return it as Optuna takes it."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            step = 1 if self.step is None else int(self.step)
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=step)
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def to_dict(self) -> dict[str, Any]:
        """Return it as it stands in the file."""
        found = {"low": self.low, "high": self.high}
        return found | ({"log": True} if self.log else {}) | ({} if self.step is None else {"step": self.step})


@dataclass(frozen=True)
class Choices:
    """Some values, in no order: numbers, words, switches, or lists of words."""

    values: tuple[Any, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def distribution(self) -> BaseDistribution:
        """Return it as Optuna takes it, lists as JSON."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution([_stored(value) for value in self.values])

    def to_dict(self) -> list[Any]:
        """Return it as it stands in the file."""
        return list(self.values)


@dataclass(frozen=True)
class SearchSpace:
    """Settings to search, "section.name" -> range or choices."""

    dimensions: Mapping[str, Range | Choices]

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return it as Optuna takes it."""
        return {name: dimension.distribution() for name, dimension in self.dimensions.items()}

    def stored(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values as Optuna keeps them."""
        return {name: _stored(value) for name, value in values.items()}

    def meant(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return what values that Optuna keeps stand for."""
        found = {}
        for name, value in stored.items():
            dimension = self.dimensions[name]
            choices = dimension.values if isinstance(dimension, Choices) else ()
            found[name] = next((choice for choice in choices if _stored(choice) == value), value)
        return found

    def settings(self, base: RunConfig, values: Mapping[str, Any]) -> RunConfig:
        """Return settings with some values in place of those of `base`.

        Raises:
            SettingsError: They contradict one another.
        """
        merged = base.to_dict()
        for name, value in values.items():
            section, setting = name.split(".")
            merged[section][setting] = value
        return RunConfig.from_dict(merged)

    def values_of(self, config: RunConfig) -> tuple[dict[str, Any], list[str]]:
        """Return what settings have for each that is searched, and the names of those that lie outside the space."""
        plain = config.to_dict()
        found = {name: plain[name.split(".")[0]].get(name.split(".")[1]) for name in self.dimensions}
        return found, [name for name, value in found.items() if value not in self.dimensions[name]]

    def most(self, name: str, base: float) -> float:
        """Return the greatest value that a setting of whole numbers takes; `base` where it is not searched."""
        dimension = self.dimensions.get(name)
        if dimension is None:
            return base
        return dimension.high if isinstance(dimension, Range) else max(dimension.values)

    def to_dict(self) -> dict[str, Any]:
        """Return it as the file has it: section -> setting -> range or choices."""
        found: dict[str, Any] = {}
        for name, dimension in self.dimensions.items():
            section, setting = name.split(".")
            found.setdefault(section, {})[setting] = dimension.to_dict()
        return found


def read_space(path: Path = DEFAULT_SPACE) -> SearchSpace:
    """Read a search space: sections and settings as in a run's `config.toml`, with a range or choices for each.

    Raises:
        SettingsError: The file cannot be read, nothing is searched in it, or a setting is unknown, is not to be
            searched, or has values that it cannot take; each is named.
    """
    dimensions: dict[str, Range | Choices] = {}
    complaints = []
    for section, content in read_settings(path).items():
        for name, value in content.items():
            try:
                dimensions[f"{section}.{name}"] = _dimension(SETTINGS[name], value)
            except SettingsError as error:
                complaints.append(f"[{section}] {name}: {error}")
    if complaints:
        raise SettingsError(f"{path}: {'; '.join(complaints)}")
    if not dimensions:
        raise SettingsError(f"{path}: names no setting to search; expected such as [network] dropout = [0.2, 0.4]")
    return SearchSpace(dimensions)


def _dimension(setting: Setting, given: Any) -> Range | Choices:
    if setting.section == "split":
        raise SettingsError("how clips are parted is not searched, since trials are compared on the same clips")
    if setting.name in _NEVER:
        raise SettingsError(f"is not searched: {_NEVER[setting.name]}")
    if isinstance(given, list):
        return _choices(setting, given)
    if isinstance(given, dict):
        return _range(setting, given)
    raise SettingsError(
        f"{given!r} is one value; expected a list of choices or {{ low = ..., high = ... }} (what is the same in all "
        "trials belongs into --config)"
    )


def _choices(setting: Setting, given: list[Any]) -> Choices:
    values = [_checked(setting, value) for value in given]
    if len({_stored(value) for value in values}) < max(2, len(values)):
        raise SettingsError(f"expected two choices or more, each once, found {given}")
    return Choices(tuple(values))


def _range(setting: Setting, given: dict[str, Any]) -> Range:
    kind = setting.field.annotation
    if kind not in (int, float):
        raise SettingsError("has no range; expected a list of choices")
    for key in given:
        if key not in _KEYS:
            near = nearest(key, _KEYS)
            hint = f"did you mean '{near}'?" if near else f"expected {', '.join(_KEYS)}"
            raise SettingsError(f"unknown '{key}', {hint}")
    missing = [key for key in ("low", "high") if key not in given]
    if missing:
        raise SettingsError(f"'{missing[0]}' is missing; a range has low and high")
    low, high = (_checked(setting, given[key]) for key in ("low", "high"))
    log, step = given.get("log", False), given.get("step")
    if not isinstance(log, bool):
        raise SettingsError(f"log is true or false, found {log!r}")
    if low >= high:
        raise SettingsError(f"low ({low:g}) must lie below high ({high:g})")
    if log and low <= 0:
        raise SettingsError(f"low must be above 0 where log is true, found {low:g}")
    if step is not None:
        _check_step(low, high, step, log=log, whole=kind is int)
    return Range(low, high, log, step, kind is int)


def _check_step(low: float, high: float, step: Any, *, log: bool, whole: bool) -> None:
    if log:
        raise SettingsError("has both log and step; give one of them")
    if isinstance(step, bool) or not isinstance(step, int if whole else int | float) or not 0 < step <= high - low:
        kind = "a whole number" if whole else "a number"
        raise SettingsError(f"step is {kind} above 0 and at most {high - low:g}, found {step!r}")
    if not _is_multiple(high - low, step):
        last = low + step * math.floor((high - low) / step)
        raise SettingsError(f"steps of {step:g} from {low:g} do not come to {high:g}; say high = {last:g}")


def _is_multiple(distance: float, step: float) -> bool:
    return abs(distance / step - round(distance / step)) < _NEAR


def _checked(setting: Setting, value: Any) -> Any:
    """Return a value as the setting takes it, in JSON's types."""
    if isinstance(value, bool) and setting.field.annotation is not bool:
        raise SettingsError(f"found {value!r}")
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[setting.field.annotation, setting.field])  # type: ignore[arg-type]
    try:
        return adapter.dump_python(adapter.validate_python(value), mode="json")
    except ValidationError as error:
        raise SettingsError(f"{error.errors()[0]['msg']}, found {value!r}") from None


def _stored(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | tuple | dict) else value

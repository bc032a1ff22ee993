"""Where a setting comes from, and what is said of one that does not exist."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Annotated

import pytest
import tomli_w
import typer
from typer.testing import CliRunner

from emogram import cli
from emogram.config import RECIPES, RunConfig, ServeConfig, run_config
from emogram.errors import SettingsError
from emogram.settings import SETTINGS, read_settings, resolve, takes_config, takes_settings

NETWORK_OF_THE_ORIGIN = "baseline"


@pytest.fixture
def parse(monkeypatch):
    """Return a function that parses a command line with all settings and returns the `RunConfig` it comes to."""
    for setting in SETTINGS.values():
        monkeypatch.delenv(setting.variable, raising=False)
    seen: list[RunConfig] = []
    app = typer.Typer()

    @app.command()
    @takes_settings(*RunConfig.model_fields)
    def train(config: RunConfig, other: Annotated[int, typer.Option()] = 7) -> int:
        seen.append(config)
        return other

    def parse(*arguments: str) -> RunConfig:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return seen.pop()

    return parse


def toml(path: Path, values: dict[str, object]) -> Path:
    path.write_text(tomli_w.dumps(values), encoding="utf-8")
    return path


def test_nothing_given_is_the_default(parse):
    assert parse() == RunConfig()


def test_each_source_goes_before_the_next(parse, monkeypatch, tmp_path):
    recipe = RECIPES[NETWORK_OF_THE_ORIGIN]["train"]["epochs"]
    default = RunConfig().train.epochs
    assert recipe != default
    named = ("--network", NETWORK_OF_THE_ORIGIN)
    file = toml(tmp_path / "my.toml", {"train": {"epochs": 51}})

    assert parse().train.epochs == default
    assert parse(*named).train.epochs == recipe
    assert parse(*named, "--config", file).train.epochs == 51
    monkeypatch.setenv("EMOGRAM_EPOCHS", "52")
    assert parse(*named, "--config", file).train.epochs == 52
    assert parse(*named, "--config", file, "--epochs", "53").train.epochs == 53


def test_the_recipe_is_that_of_the_network_wherever_it_is_named(parse, monkeypatch, tmp_path):
    wanted = run_config({"network": {"network": NETWORK_OF_THE_ORIGIN}})
    assert parse("--network", NETWORK_OF_THE_ORIGIN) == wanted
    file = toml(tmp_path / "my.toml", {"network": {"network": NETWORK_OF_THE_ORIGIN}})
    assert parse("--config", file) == wanted
    monkeypatch.setenv("EMOGRAM_NETWORK", NETWORK_OF_THE_ORIGIN)
    assert parse() == wanted


@pytest.mark.parametrize("network", ["emonet", *RECIPES])
def test_the_settings_of_a_run_come_back_from_its_file(parse, tmp_path, network):
    config = run_config(
        {
            "network": {"network": network},
            "augment": {"hard_classes": ["sad", "calm"]},
            "split": {"validation_speakers": ["03"], "test_speakers": ["06", "07"]},
        }
    )
    assert parse("--config", toml(tmp_path / "config.toml", config.to_dict())) == config


def examples() -> list[tuple[str, str, object]]:
    """Return for each setting a value that is not its default: name, as text, as the settings hold it."""
    chosen = {
        "kind": ("picture", "picture"),
        "mel_scale": ("htk", "htk"),
        "level": ("absolute", "absolute"),
        "optimizer": ("sgd", "sgd"),
        "schedule": ("plateau", "plateau"),
        "monitor": ("val_uar", "val_uar"),
        "precision": ("float32", "float32"),
        "targets": ("both", "both"),
        "dimension_scale": ("1, 7", (1.0, 7.0)),
        "init": ("runs/before", Path("runs/before")),
        "teachers": ("a, b", (Path("a"), Path("b"))),
        "balance": ("corpus_label", "corpus_label"),
        "also_labels": ("own", "own"),
        "band_normalization": ("clip", "clip"),
        "split": ("random", "random"),
        "judge_on": ("validation", "validation"),
        "network": ("baseline", "baseline"),
        "kernel_left_out": ("corpora", "corpora"),
        "protocol": ("random80", "random80"),
        "win_length": ("256", 256),
        "periodicity_bands": ("48", 48),
        "n_fft": ("1024", 1024),
        "f_max_hz": ("4000", 4000.0),
    }
    found = []
    for name, setting in SETTINGS.items():
        default = getattr(getattr(RunConfig(), setting.section), name)
        if name in chosen:
            found.append((name, *chosen[name]))
        elif setting.takes_list:
            found.append((name, "a, b", ("a", "b")))
        elif name.endswith("_list"):
            found.append((name, "clips.txt", Path("clips.txt")))
        elif isinstance(default, bool):
            found.append((name, str(not default), not default))
        elif isinstance(default, int):
            found.append((name, str(default + 1), default + 1))
        else:
            value = 0.37 if default is None or default <= 1 else default / 2
            found.append((name, str(value), value))
    return found


@pytest.mark.parametrize(("name", "text", "value"), examples(), ids=lambda value: str(value))
def test_every_setting_is_a_flag_and_a_variable(parse, monkeypatch, name, text, value):
    setting = SETTINGS[name]
    flag = [setting.flag, text]
    if isinstance(value, bool):
        flag = [setting.flag if value else setting.flag.replace("--", "--no-")]
    assert getattr(getattr(parse(*flag), setting.section), name) == value
    monkeypatch.setenv(setting.variable, text)
    assert getattr(getattr(parse(), setting.section), name) == value


def test_names_of_settings_do_not_clash_with_other_options_of_training():
    own = set(inspect.signature(cli.train, eval_str=True).parameters)
    named_once = [name for name in own if name in SETTINGS]
    assert sorted(named_once) == sorted(SETTINGS)
    assert not set(SETTINGS) & {"model", "cache", "corpora", "debug"}, "EMOGRAM_MODEL and such mean something else"


def test_help_tells_each_setting_with_its_default_and_those_of_recipes():
    help_text = CliRunner().invoke(cli.app, ["train", "--help"], env={"COLUMNS": "400"}).stdout
    words = re.sub(r"[│\s]+", " ", help_text)
    for setting in SETTINGS.values():
        assert setting.flag in words
        assert setting.field.description in words
    own, recipe = RunConfig().train.epochs, RECIPES["baseline"]["train"]["epochs"]
    assert f"(default: {own}; {recipe} for baseline and baseline-features; 1 for rocket)" in words
    for title in ("Spectrogram", "Augmentation (while training)", "Network", "Training", "Split"):
        assert f"─ {title} ─" in help_text


def test_sections_that_a_command_does_not_use_keep_their_defaults(tmp_path):
    file = toml(tmp_path / "config.toml", {"split": {"protocol": "random80"}, "train": {"epochs": 3}})
    config = resolve({}, file=file, sections=("train",))
    assert config.train.epochs == 3
    assert config.split == RunConfig().split


def test_a_base_stands_before_the_defaults_and_behind_all_else(tmp_path):
    base = {"network": {"network": "baseline"}, "train": {"epochs": 5}}
    assert resolve({}, base=base).train.epochs == 5
    assert resolve({}, base=base).spectrogram.n_mels == 128
    file = toml(tmp_path / "my.toml", {"train": {"epochs": 6}})
    assert resolve({}, base=base, file=file).train.epochs == 6
    assert resolve({"epochs": 7}, base=base, file=file).train.epochs == 7


def test_pictures_are_drawn_as_the_baseline_wants_them(parse):
    shown = CliRunner().invoke(cli.app, ["spectrograms", "--help"], env={"COLUMNS": "400"}).stdout
    words = re.sub(r"[│\s]+", " ", shown)
    assert "Number of mel bands. (default: 128)" in words
    assert "--epochs" not in words
    assert "--kind" not in words


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": {"epoch": 3}}, r"unknown setting 'epoch' in \[train\], did you mean 'epochs' in \[train\]\?"),
        ({"train": {"n_mels": 3}}, r"unknown setting 'n_mels' in \[train\], it belongs in \[spectrogram\]"),
        ({"epochs": 3}, r"unknown section \[epochs\], it belongs in \[train\]"),
        ({"trian": {"epochs": 3}}, r"unknown section \[trian\], did you mean \[train\]\?"),
        ({"zzz": {}}, r"unknown section \[zzz\]; expected one of spectrogram, augment, network, train, split"),
        ({"network": "baseline"}, r"network = 'baseline' stands where a section \[network\] is expected"),
    ],
)
def test_unknown_names_in_a_file_are_refused_with_what_was_meant(tmp_path, content, message):
    with pytest.raises(SettingsError, match=r"my\.toml: " + message + "$"):
        read_settings(toml(tmp_path / "my.toml", content))


def test_all_unknown_names_are_named_at_once(tmp_path):
    with pytest.raises(SettingsError, match=r"'epoch' .*; unknown setting 'lr' "):
        read_settings(toml(tmp_path / "my.toml", {"train": {"epoch": 3, "lr": 0.1}}))


def test_values_out_of_range_are_refused_by_name():
    with pytest.raises(SettingsError, match=r"train\.epochs: .* greater than or equal to 1, found 0"):
        resolve({"epochs": 0})


def test_a_file_that_is_missing_or_no_toml_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"cannot read the settings file .*none\.toml: No such file"):
        resolve({}, file=tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("epochs: 3", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"bad\.toml is not a TOML file"):
        resolve({}, file=tmp_path / "bad.toml")


def test_settings_without_sections_come_from_the_same_places(monkeypatch, tmp_path):
    for name in ServeConfig.model_fields:
        monkeypatch.delenv(f"EMOGRAM_{name.upper()}", raising=False)
    seen: list[ServeConfig] = []
    app = typer.Typer()

    @app.command()
    @takes_config(ServeConfig, leave_out=("token",))
    def serve(config: ServeConfig, other: Annotated[int, typer.Option()] = 7) -> int:
        seen.append(config)
        return other

    def parse(*arguments: str) -> ServeConfig:
        result = CliRunner().invoke(app, list(arguments))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return seen.pop()

    assert parse() == ServeConfig()
    file = ("--config", str(toml(tmp_path / "a.toml", {"port": 1, "max_queue": 2, "hosts": ["a", "b"]})))
    assert (parse(*file).port, parse(*file).max_queue, parse(*file).hosts) == (1, 2, ("a", "b"))
    monkeypatch.setenv("EMOGRAM_PORT", "3")
    monkeypatch.setenv("EMOGRAM_HOSTS", "c, d")
    assert (parse(*file).port, parse(*file).max_queue, parse(*file).hosts) == (3, 2, ("c", "d"))
    assert parse(*file, "--port", "4").port == 4
    with pytest.raises(SettingsError, match="unknown setting 'prot'"):
        parse("--config", str(toml(tmp_path / "b.toml", {"prot": 1})))
    assert CliRunner().invoke(app, ["--token", "12345678"]).exit_code == 2

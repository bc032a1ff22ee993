"""Settings: there and back, refusals by name, and a hash of the content."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from pydantic import ValidationError

from emogram.config import SpectrogramConfig, read_toml
from emogram.errors import SettingsError

# Another valid value for each setting, alone against the defaults.
OTHER: dict[str, Any] = {
    "kind": "picture", "sample_rate": 22050, "n_fft": 1024, "win_length": 320, "hop_length": 160, "n_mels": 80,
    "f_min_hz": 20.0, "f_max_hz": 7600.0, "mel_scale": "htk", "top_db": 80.0, "level": "absolute", "trim_db": 40.0,
    "min_frames": 64, "frame_multiple": 8, "picture_size": 64, "utterance_features": True, "band_normalization": "clip",
    "periodicity_bands": 48,
}  # fmt: skip
TOGETHER = {name: value for name, value in OTHER.items() if name != "kind"}  # pictures show no periodicity


def test_every_setting_is_covered_here() -> None:
    assert set(OTHER) == set(SpectrogramConfig.model_fields)


@pytest.mark.parametrize("values", [{}, TOGETHER, {"kind": "picture"}], ids=["defaults", "all changed", "pictures"])
def test_settings_survive_a_dict_and_a_toml_file(tmp_path: Path, values: dict[str, Any]) -> None:
    config = SpectrogramConfig.from_dict(values)
    assert SpectrogramConfig.from_dict(config.to_dict()) == config
    (tmp_path / "config.toml").write_text(tomli_w.dumps(config.to_dict()))
    assert SpectrogramConfig.from_dict(read_toml(tmp_path / "config.toml")) == config


@pytest.mark.parametrize("name", OTHER)
def test_each_setting_changes_the_hash(name: str) -> None:
    default, changed = SpectrogramConfig(), SpectrogramConfig.from_dict({name: OTHER[name]})
    assert getattr(changed, name) != getattr(default, name)
    assert changed.content_hash() != default.content_hash()


def test_the_hash_does_not_depend_on_order_or_spelling() -> None:
    forward = SpectrogramConfig.from_dict(TOGETHER)
    backward = SpectrogramConfig.from_dict(dict(reversed(TOGETHER.items())))
    assert forward.content_hash() == backward.content_hash()
    assert SpectrogramConfig.from_dict({"f_min_hz": 50}).content_hash() == SpectrogramConfig().content_hash()
    assert len(forward.content_hash()) == 12


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(SettingsError, match="unknown setting 'n_mel'"):
        SpectrogramConfig.from_dict({"n_mel": 64})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sample_rate", 100), ("n_fft", 16), ("win_length", 2), ("hop_length", 0), ("n_mels", 4), ("f_min_hz", -1.0),
        ("f_max_hz", 0.0), ("top_db", 0.0), ("top_db", 500.0), ("trim_db", -3.0), ("min_frames", 0),
        ("frame_multiple", 0), ("picture_size", 8), ("kind", "image"), ("mel_scale", "bark"), ("level", "loud"),
        ("n_mels", 64.5), ("n_mels", "many"), ("f_min_hz", math.nan), ("trim_db", math.inf),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_named_with_what_was_found(name: str, value: Any) -> None:
    with pytest.raises(SettingsError) as refusal:
        SpectrogramConfig.from_dict({name: value})
    message = str(refusal.value)
    assert message.startswith(f"{name}: ")
    assert message.endswith(f"found {value!r}")
    assert "\n" not in message


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(SettingsError, match=r"n_fft: .*; n_mels: .*; unknown setting 'colour'"):
        SpectrogramConfig.from_dict({"n_mels": 1, "n_fft": 1, "colour": "red"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_fft": 256}, r"win_length \(400\) must not exceed n_fft \(256\)"),
        ({"sample_rate": 8000}, r"f_max_hz \(8000\) must not exceed half the sample rate \(4000 Hz\)"),
        ({"f_min_hz": 4000.0, "f_max_hz": 3000.0}, r"f_min_hz \(4000\) must lie below f_max_hz \(3000\)"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        SpectrogramConfig.from_dict(values)


def test_settings_do_not_change_once_made() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SpectrogramConfig().n_mels = 80  # type: ignore[misc]


def test_the_input_shape_follows_the_kind() -> None:
    assert SpectrogramConfig(n_mels=80).input_shape() == (None, 80, 1)
    assert SpectrogramConfig(kind="picture", picture_size=64).input_shape() == (64, 64, 3)


def test_a_settings_file_that_is_missing_or_broken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read the settings file .*none\.toml: No such file"):
        read_toml(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("n_mels = ")
    with pytest.raises(SettingsError, match=r"broken\.toml is not a TOML file"):
        read_toml(broken)
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is not a TOML file"):
        read_toml(broken)
    broken.write_text("n_mels = 80")
    assert read_toml(broken) == tomllib.loads("n_mels = 80")

"""What somebody may have meant: a misspelt name finds its neighbour, a foreign one finds nothing."""

from __future__ import annotations

import pytest

from emogram import nearby
from emogram.audio import load_audio
from emogram.bundle import open_bundle
from emogram.config import NETWORK_NAMES, RunConfig, ServeConfig, read_toml
from emogram.corpora import find_corpus
from emogram.errors import AudioError, CorpusError, ModelError, SettingsError
from emogram.protocols import find_protocol


@pytest.mark.parametrize(
    ("name", "choices", "near"),
    [
        ("hapy", ["angry", "happy"], "happy"),
        ("HAPPY", ["angry", "Happy"], "Happy"),
        ("si5", ["ravdess-si5", "random80"], "ravdess-si5"),
        ("cello", ["angry", "happy"], None),
        ("a", ["angry", "happy"], None),
        ("", ["angry"], None),
    ],
)
def test_the_nearest_name_is_like_it_or_holds_it(name, choices, near):
    assert nearby.nearest(name, choices) == near


def test_an_unknown_name_is_told_with_what_there_is():
    assert nearby.unknown("label", "hapy", ("happy", "sad")) == (
        "unknown label 'hapy' (did you mean 'happy'?); expected one of happy, sad"
    )
    assert nearby.unknown("label", "cello", ("happy", "sad")) == "unknown label 'cello'; expected one of happy, sad"


def test_a_missing_path_finds_its_neighbour_at_the_first_part_that_is_missing(tmp_path):
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "clip.wav").touch()
    assert nearby.beside(tmp_path / "recordings" / "clip.wva") == (
        f" (did you mean {tmp_path / 'recordings' / 'clip.wav'}?)"
    )
    assert nearby.beside(tmp_path / "recording" / "clip.wav") == f" (did you mean {tmp_path / 'recordings'}?)"
    assert nearby.beside(tmp_path / "recordings" / "interview.flac") == ""


def test_each_door_says_what_was_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.toml").touch()
    (tmp_path / "ravdess").mkdir()
    with pytest.raises(SettingsError, match=r"protocol 'ravdes-si5' \(did you mean 'ravdess-si5'\?\); expected one of"):
        find_protocol("ravdes-si5")
    with pytest.raises(SettingsError, match=r"No such file or directory \(did you mean .*settings\.toml\?\)"):
        read_toml(tmp_path / "setings.toml")
    with pytest.raises(SettingsError, match=r"unknown setting 'train\.epoch', did you mean 'epochs'"):
        RunConfig.from_dict({"train": {"epoch": 3}})
    with pytest.raises(SettingsError, match="unknown setting 'prot', did you mean 'port'"):
        ServeConfig.from_dict({"prot": 80})
    with pytest.raises(ModelError, match=r"shiped: no such model folder \(did you mean 'shipped'\?\)"):
        open_bundle("shiped")
    with pytest.raises(ModelError, match=r"ravdes: no such model folder \(did you mean ravdess\?\)"):
        open_bundle("ravdes")
    with pytest.raises(CorpusError, match=r"Ravdess1: no such folder or file \(did you mean ravdess\?\)"):
        find_corpus("Ravdess1")
    with pytest.raises(SettingsError, match=r"unknown corpus 'emo-db' \(did you mean 'emodb'\?\)"):
        find_corpus("ravdess", name="emo-db")


def test_a_missing_sound_file_carries_its_path_for_whoever_tells_a_person(tmp_path):
    with pytest.raises(AudioError, match="no such file") as caught:
        load_audio(tmp_path / "clip.wva", sample_rate=16000)
    assert caught.value.missing == tmp_path / "clip.wva"
    assert "did you mean" not in str(caught.value), "among ten thousand files nobody waits for that"


def test_the_names_of_networks_are_those_that_can_be_built():
    from emogram.network import NETWORKS

    assert tuple(NETWORKS) == NETWORK_NAMES

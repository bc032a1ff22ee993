"""The commands explain, and analyze where it writes files."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
import soundfile

from emogram import cli, voices
from emogram.cli.saving import timeline_files
from emogram.errors import MissingExtraError, SettingsError
from emogram.testing import tiny_bundle
from emogram.writers import FORMATS


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Return a function that runs a command line in an empty folder and returns code, stdout and stderr."""
    for name in [name for name in os.environ if name.startswith("EMOGRAM_")]:
        monkeypatch.delenv(name)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*arguments):
        capsys.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def clip(tmp_path):
    wave = np.concatenate([voices.speak("angry", speaker=voices.voices(1)[0], seed=seed) for seed in range(3)])
    soundfile.write(tmp_path / "talk.wav", wave, 16000)
    return tmp_path / "talk.wav"


def test_explain_writes_picture_and_arrays_and_tells_where(run, model, clip, tmp_path):
    code, out, err = run(
        "explain", clip, "--model", model, "--end", "2", "--out", "why.png", "--arrays", "a/why.npz", "--top-k", 2
    )
    assert code == 0
    assert "what spoke for it most, by occlusion" in out
    assert re.search(r"\d\.\d\d s +\d\.\d\d s +[\d,]+ to [\d,]+ Hz", out)
    assert "written" in err
    assert (tmp_path / "here" / "why.png").read_bytes().startswith(b"\x89PNG")
    with np.load(tmp_path / "here" / "a" / "why.npz") as arrays:
        assert arrays["maps"].shape == (2, len(arrays["times_s"]), 64)


def test_explain_prints_json_that_says_what_python_says(run, model, clip):
    import emogram

    code, out, _ = run("explain", clip, "--model", model, "--json", "--check", "--start", "0.5", "--end", "1.5")
    facts = json.loads(out)
    expected = emogram.explain(model, clip, start_s=0.5, end_s=1.5)
    assert code == 0
    assert [each["label"] for each in facts["labels"]] == list(expected.labels)
    assert facts["label"] == expected.prediction.label
    assert (facts["start_s"], facts["end_s"]) == (0.5, 1.5)
    assert len(facts["check"]["shuffled_weights_correlations"]) == 3
    assert 0 <= facts["check"]["deletion_area"] <= 1
    for each in facts["labels"]:
        for region in each["regions"]:
            assert 0.5 <= region["start_s"] < region["end_s"] <= 1.5


def test_explain_prints_its_check(run, model, clip):
    code, out, _ = run("explain", clip, "--model", model, "--end", "1", "--check")
    assert code == 0
    assert re.search(r"check of the map of \w+: (passed|failed)", out)
    assert re.search(r"\d\.\d{3} most marked first, \d\.\d{3} at random", out)


def test_explain_says_so_where_it_explains_a_part_only(run, model, tmp_path):
    soundfile.write(tmp_path / "long.wav", np.random.default_rng(0).normal(0, 0.1, 16000 * 12), 16000)
    _, _, err = run("explain", tmp_path / "long.wav", "--model", model)
    assert "explained 0 s to 10 s of 12.0 s; choose with --start and --end" in err
    _, _, err = run("explain", tmp_path / "long.wav", "--model", model, "--end", "1")
    assert "explained" not in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--out", "why.jpg"), 2, "--out why.jpg: expected a name that ends in .png"),
        (("--arrays", "why.npy"), 2, "--arrays why.npy: expected a name that ends in .npz"),
        (("--end", "100"), 2, "may last 60 s"),
        (("--start", "100"), 4, "lies outside the file"),
        (("--method", "grad-cam"), 5, "holds no best.keras"),
    ],
)
def test_explain_refuses_in_one_line(run, model, clip, arguments, code, message):
    got, out, err = run("explain", clip, "--model", model, *arguments)
    assert (got, out) == (code, "")
    assert message in err


# ------------------------------------------------------------------------------------------- files of analyze


def test_analyze_writes_every_format_beside_its_table(run, model, clip, tmp_path):
    options = [option for name in FORMATS for option in ("--format", name)]
    code, out, err = run("analyze", clip, "--model", model, *options, "--out", "files", "--plot", "plot.png")
    assert code == 0
    assert "talk.wav" in out
    assert {path.name for path in (tmp_path / "here" / "files").iterdir()} == {
        f"talk{each.suffix}" for each in FORMATS.values()
    }
    assert (tmp_path / "here" / "plot.png").is_file()
    assert "written" in err


def test_analyze_json_and_jsonl_hold_the_same_segments(run, model, clip, tmp_path):
    _, out, _ = run("analyze", clip, "--model", model, "--json", "--out", "talk.jsonl")
    lines = (tmp_path / "here" / "talk.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == json.loads(out)["segments"]
    assert lines


def test_analyze_never_overwrites_unasked(run, model, clip, tmp_path):
    mine = tmp_path / "here" / "talk.TextGrid"
    mine.write_text("made by hand")
    code, _, err = run("analyze", clip, "--model", model, "--format", "textgrid")
    assert code == 2
    assert "is there already; choose another --out, or say --overwrite" in err
    assert mine.read_text() == "made by hand"
    assert run("analyze", clip, "--model", model, "--format", "textgrid", "--overwrite")[0] == 0
    assert mine.read_text() != "made by hand"


def test_an_unknown_format_is_refused_before_any_work(run, model, clip):
    code, out, err = run("analyze", clip, "--model", model, "--format", "xml")
    assert (code, out) == (2, "")
    assert "unknown format 'xml'; expected one of jsonl, csv" in err


def test_help_names_every_format(run):
    _, out, _ = run("analyze", "--help")
    words = set(re.findall(r"\w+", out))
    assert set(FORMATS) <= words


def settled(paths, **options):
    return timeline_files(paths, **({"formats": None, "out": None, "plot": None, "overwrite": False} | options))


def test_files_of_several_recordings_have_names_of_their_own(tmp_path):
    paths = [tmp_path / "a" / "x.wav", tmp_path / "b" / "X.flac", tmp_path / "y.wav"]
    found = settled(paths, formats=["vtt", "csv", "vtt"], out=tmp_path, plot=tmp_path / "plots")
    assert [path.name for pairs in found.files.values() for _, path in pairs] == [
        "x.vtt", "x.csv", "X-2.vtt", "X-2.csv", "y.vtt", "y.csv",
    ]  # fmt: skip
    assert [path.name for path in found.plots.values()] == ["x.png", "X-2.png", "y.png"]
    assert settled(paths).files == {}


def test_the_name_of_a_file_tells_its_format(tmp_path):
    one = [tmp_path / "x.wav"]
    assert settled(one, out=tmp_path / "o.TextGrid").files == {one[0]: [("textgrid", tmp_path / "o.TextGrid")]}
    assert settled(one, out=tmp_path / "o.txt", formats=["rttm"]).files == {one[0]: [("rttm", tmp_path / "o.txt")]}


def test_what_does_not_fit_is_refused(tmp_path, monkeypatch):
    two = [tmp_path / "x.wav", tmp_path / "y.wav"]
    with pytest.raises(SettingsError, match="one file, and several to write"):
        settled(two, out=tmp_path / "o.csv")
    with pytest.raises(SettingsError, match="a folder; say with --format"):
        settled(two, out=tmp_path)
    with pytest.raises(SettingsError, match="one file, and 2 to draw"):
        settled(two, plot=tmp_path / "p.png")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"\[formats\]"):
        settled(two, formats=["parquet"])
    with pytest.raises(MissingExtraError, match=r"\[train\]"):
        settled(two, plot=tmp_path)

"""The command line: what it prints where, and with which code it exits."""

from __future__ import annotations

import contextlib
import csv
import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

import emogram
from emogram import cli, doctor
from emogram.bundle import open_bundle, seal
from emogram.cli.shared import new_folder
from emogram.config import RunConfig, SpectrogramConfig
from emogram.errors import EmogramError
from emogram.installing import install_line
from emogram.records import Clip, CorpusPair, Report, SeedSummary
from emogram.testing import tiny_bundle
from emogram.versions import version_lines
from emogram.writers import RESULT_SCHEMA


@dataclass
class Ran:
    """One run of the command."""

    code: int
    out: str
    err: str

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Return a function that runs a command line within this process, in an empty folder."""
    for name in [name for name in os.environ if name.startswith("EMOGRAM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EMOGRAM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("model"), abstain_threshold=0.01)


def sound(path: Path, seconds: float = 0.6, *, rate: int = 16000, channels: int = 1, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(0.0, 0.1, (round(seconds * rate), channels))
    soundfile.write(path, noise, rate)
    return path


def corpus(folder: Path) -> Path:
    """Two emotions of three speakers."""
    for number, emotion in enumerate(("angry", "sad")):
        for speaker in range(3):
            sound(folder / emotion / f"speaker{speaker}_{emotion}.wav", seed=10 * number + speaker)
    return folder


# ---------------------------------------------------------------- the whole


def test_the_version_and_what_it_stands_on(run):
    ran = run("--version")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == version_lines()
    assert ran.out.startswith(f"emogram {emogram.__version__}")


def test_without_a_command_the_help_is_shown(run):
    ran = run()
    assert ran.code == 0
    assert ran.out == run("--help").out
    for command in (
        "demo",
        "spectrograms",
        "corpora",
        "train",
        "evaluate",
        "crossval",
        "crosscorpus",
        "predict",
        "doctor",
    ):
        assert command in ran.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "a.wav", "--modle", "m"], "error: No such option: --modle (Possible options: --model); "),
        (["trian"], "error: No such command 'trian'. Did you mean 'train'?; `emogram --help` tells more\n"),
        (["train"], "error: Missing argument 'CORPUS...'; `emogram train --help` tells more\n"),
        (["train", "x", "--epochs", "ten"], "error: Invalid value for '--epochs': Input should be a valid integer"),
        (["train", "x", "--optimizer", "x"], "error: Invalid value for '--optimizer': 'x' is not one of 'adam', "),
        (["train", "x", "--epochs", "0"], "error: train.epochs: Input should be greater than or equal to 1, found 0\n"),
        (["train", "x", "--out", "a", "--name", "b"], "error: both --out and --name say where the run goes"),
        (
            ["crossval", "x", "--protocol", "si5"],
            "error: unknown protocol 'si5' (did you mean 'ravdess-si5'?); expected one of ravdess-si5, random80",
        ),
        (["crossval", "x", "--protocol", "random80", "--seeds", "a"], "error: --seeds 'a'; expected whole numbers"),
        (["corpora", "describe", "x", "--as", "ravdes"], "error: unknown corpus 'ravdes' (did you mean 'ravdess'?); "),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(run, arguments, message):
    ran = run(*arguments)
    assert ran.code == 2
    assert ran.err.startswith(message)
    assert ran.err.count("\n") == 1
    assert ran.out == ""


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    code = "import sys; from emogram import cli; cli.run(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    heavy = {"keras", "torch", "tensorflow", "jax", "matplotlib", "scipy", "numpy", "onnxruntime", "PIL", "soundfile"}
    assert not loaded & heavy


def test_the_version_loads_no_framework():
    code = "import sys; from emogram import cli; cli.run(['--version']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    assert not loaded & {"keras", "torch", "tensorflow", "jax", "matplotlib", "scipy", "onnxruntime", "PIL"}


def test_predicting_loads_no_training_framework_and_no_matplotlib(model, tmp_path):
    code = "import sys; from emogram import cli; cli.run(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    arguments = ["predict", sound(tmp_path / "a.wav"), "--model", model]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    assert "onnxruntime" in loaded
    assert not loaded & {"keras", "torch", "tensorflow", "jax", "matplotlib", "onnx", "sklearn"}


# ---------------------------------------------------------------- what goes wrong anywhere


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "error: interrupted; what was finished stands"),
        (MemoryError(), 1, "error: not enough memory; try fewer --workers"),
        (OSError(errno.ENOSPC, "No space left on device", "x.png"), 1, "error: cannot write x.png: the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "x.wav"), 1, "error: x.wav: Permission denied\n"),
        (ZeroDivisionError("oops\nagain"), 1, "error: this is a bug in emogram"),
    ],
)
def test_whatever_goes_wrong_is_one_line_and_a_code(run, monkeypatch, tmp_path, error, code, line):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("emogram.corpora.find_corpus", fail)
    ran = run("spectrograms", tmp_path, tmp_path / "out")
    assert ran.code == code
    assert ran.err.startswith(line)
    assert ran.err.count("\n") == 1


def test_a_bug_shows_its_traceback_where_asked_to(run, monkeypatch, tmp_path):
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("emogram.corpora.find_corpus", fail)
    monkeypatch.setenv("EMOGRAM_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run("spectrograms", tmp_path, tmp_path / "out")


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_a_command_with_their_code(model, number, code):
    command = [sys.executable, "-m", "emogram", "predict", "-", "--model", str(model)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    with process, contextlib.suppress(BrokenPipeError):
        process.stdin.write(b"x\n" * 200_000)  # more than a pipe holds: when this returns, the command is reading
        for _ in range(30):  # Python may miss a signal that comes just before it begins to wait for input
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=2)
                break
        else:
            process.kill()
        words = process.stderr.read().decode()
    assert process.returncode == code
    assert words.startswith("error: interrupted")
    assert words.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_behind_stdout_is_said(model, tmp_path):
    command = [sys.executable, "-m", "emogram", "predict", sound(tmp_path / "a.wav"), "--json", "--model", model]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(list(map(str, command)), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert (
        done.stderr == "error: cannot write the output: the disk is full; free some space and run the same command "
        "again\n"
    )


def test_a_reader_that_has_had_enough_is_no_error_to_speak_of(model, tmp_path):
    command = [sys.executable, "-m", "emogram", "predict", "-", "--json", "--model", str(model)]
    reader, writer = os.pipe()
    os.close(reader)
    names = f"{sound(tmp_path / 'a.wav')}\n" * 3
    done = subprocess.run(command, input=names, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode == 1
    assert "rror" not in done.stderr
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------- predict


def test_json_says_what_python_says(run, model, tmp_path):
    paths = [sound(tmp_path / f"{seed}.wav", 1.0, rate=48000, channels=2, seed=seed) for seed in range(3)]
    ran = run("predict", *paths, "--model", model, "--json")
    assert ran.code == 0
    loaded = emogram.load(model)
    for path, result in zip(paths, ran.objects(), strict=True):
        expected = loaded.predict(path)
        assert result["schema"] == RESULT_SCHEMA
        assert result["file"] == str(path)
        assert result["summary"]["label"] == expected.label
        assert result["summary"]["confidence"] == pytest.approx(expected.confidence, rel=1e-5)
        scores = {item["label"]: item["score"] for item in result["segments"][0]["scores"]}
        assert scores == pytest.approx(dict(expected.scores), rel=1e-5)
        assert result["audio"] == {"duration_ms": 1000, "sample_rate": 48000, "channels": 2}
        assert result["model"]["sha256"] == loaded.sha256


def test_one_file_is_shown_with_every_probability_and_several_in_a_table(run, model, tmp_path):
    first, second = sound(tmp_path / "a.wav"), sound(tmp_path / "b.wav", seed=1)
    alone = run("predict", first, "--model", model)
    label = emogram.load(model).predict(first).label
    assert alone.out.startswith(f"{first}: {label} ")
    assert all(name in alone.out for name in emogram.load(model).labels)
    both = run("predict", first, second, "--model", model, "--no-check")
    assert len([line for line in both.out.splitlines() if line.startswith(str(tmp_path))]) == 2
    assert both.err == "predicting: 2 clips\n" + both.err.splitlines()[1] + "\n"


def test_without_a_name_the_shipped_model_answers(run, model, tmp_path, monkeypatch):
    monkeypatch.setattr("emogram.bundle.SHIPPED_FOLDER", model)
    path = sound(tmp_path / "a.wav")
    (unnamed,) = run("predict", path, "--json").objects()
    assert unnamed["model"]["sha256"] == emogram.load(model).sha256 == emogram.load().sha256
    assert unnamed["model"]["id"] == "emogram-tiny-nothing"
    assert run("predict", path, "--model", "shipped", "--json").objects() == [unnamed]


def test_where_no_model_ships_the_message_says_what_to_do(run, monkeypatch, tmp_path):
    monkeypatch.setattr("emogram.bundle.SHIPPED_FOLDER", tmp_path / "none")
    message = "error: no model ships with this copy of emogram "
    advice = "name one with --model or EMOGRAM_MODEL, train one with `emogram train CORPUS`, or make a small one with"
    for arguments in (["predict", sound(tmp_path / "a.wav")], ["evaluate", "shipped", corpus(tmp_path / "corpus")]):
        ran = run(*arguments)
        assert (ran.code, ran.out) == (5, "")
        assert ran.err.startswith(message) and advice in ran.err and ran.err.count("\n") == 1


def test_adapting_and_shifts_change_the_answers_and_say_so(run, tmp_path):
    folder = tiny_bundle(tmp_path / "model")
    info = open_bundle(folder).info
    seal(folder, info.model_copy(update={"mean_log_probabilities": tuple(range(8))}), "card")
    paths = [sound(tmp_path / name / f"{n}.wav", seed=n) for n, name in enumerate("aab")]

    def scores(*flags: str) -> list[list[float]]:
        results = run("predict", *paths, "--model", folder, "--json", *flags).objects()
        assert all(("adapted" in " ".join(result["warnings"])) == ("--adapt" in flags) for result in results)
        return [[score["score"] for score in result["segments"][0]["scores"]] for result in results]

    plain, together, apart = scores(), scores("--adapt"), scores("--adapt", "--voice-folders")
    assert plain != together != apart
    assert scores("--shifts", "2") != plain
    ran = run("predict", *paths, "--model", folder, "--voice-folders")
    assert (ran.code, ran.out) == (2, "") and "say --adapt as well" in ran.err


def test_the_model_may_come_from_the_environment(run, model, tmp_path, monkeypatch):
    monkeypatch.setenv("EMOGRAM_MODEL", str(model))
    assert run("predict", sound(tmp_path / "a.wav")).code == 0


def test_folders_patterns_and_stdin_name_files(run, model, tmp_path, monkeypatch):
    expected = [str(sound(tmp_path / "clips" / name)) for name in ("a.wav", "b.flac", "deep/c.wav")]

    def files(*names: object) -> list[str]:
        ran = run("predict", *names, "--model", model, "--json")
        assert ran.code == 0
        return [result["file"] for result in ran.objects()]

    assert files(tmp_path / "clips") == expected
    assert files(tmp_path / "clips" / "*.wav") == expected[:1]
    assert files(tmp_path / "clips" / "**" / "*.wav") == [expected[0], expected[2]]
    for separator in ("\n", "\r\n", "\0"):
        lines = SimpleNamespace(buffer=SimpleNamespace(read=lambda s=separator: s.join([*expected, ""]).encode()))
        monkeypatch.setattr(sys, "stdin", lines)
        assert files("-") == expected


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(run, model, tmp_path):
    assert run("predict", sound(tmp_path / "take [1].wav"), "--model", model).code == 0


def write_text(path: Path) -> Path:
    path.write_text("this is no sound", encoding="utf-8")
    return path


def write_silence(path: Path) -> Path:
    soundfile.write(path, np.zeros(16000), 16000)
    return path


def write_nan(path: Path) -> Path:
    soundfile.write(path, np.full(16000, np.nan), 16000, subtype="FLOAT")
    return path


def write_nothing(path: Path) -> Path:
    path.touch()
    return path


BAD = {
    "missing": (lambda path: path, "no such file"),
    "text": (write_text, "not a readable sound file"),
    "silent": (write_silence, "silent throughout"),
    "short": (lambda path: sound(path, 0.1), "0.10 s long; at least 0.2 s of speech is needed"),
    "nan": (write_nan, "holds samples that are not finite"),
    "empty": (write_nothing, "the file is empty (0 bytes)"),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_a_single_bad_file_is_one_line_and_code_4(run, model, tmp_path, make, message):
    path = make(tmp_path / "x.wav")
    ran = run("predict", path, "--model", model)
    assert ran.code == 4
    assert ran.err.startswith(f"error: {path}: {message}")
    assert ran.err.count("\n") == 1
    assert ran.out == ""


@pytest.mark.parametrize(
    ("name", "message"),
    [("none/*.wav", "no file matches this pattern"), ("empty", "the folder is empty")],
)
def test_a_pattern_or_folder_without_files_is_code_4(run, model, tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    ran = run("predict", tmp_path / name, "--model", model)
    assert ran.code == 4
    assert message in ran.err
    assert ran.err.count("\n") == 1


def test_good_files_are_done_and_bad_ones_named_with_code_3(run, model, tmp_path):
    good = [str(sound(tmp_path / "clips" / f"{name}.wav")) for name in "ac"]
    bad = str(write_text(tmp_path / "clips" / "b.wav"))
    ran = run("predict", tmp_path / "clips", "--model", model, "--json", "--csv", tmp_path / "answers.csv")
    assert ran.code == 3
    assert [result["file"] for result in ran.objects()] == good
    lines = ran.err.splitlines()
    assert "1 of 3 clips failed:" in lines
    assert [line for line in lines if line.startswith(f"  {bad}: not a readable sound file")]
    with (tmp_path / "answers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == good
    assert [row["predicted"] for row in rows] == [result["summary"]["label"] for result in ran.objects()]


def test_where_all_of_several_files_are_bad_the_code_is_4(run, model, tmp_path):
    ran = run("predict", tmp_path / "a.wav", tmp_path / "b.wav", "--model", model)
    assert ran.code == 4
    assert "2 of 2 clips failed:" in ran.err


@pytest.mark.parametrize(("rate", "warned"), [(8000, True), (16000, False), (96000, False)])
def test_narrow_sound_is_done_with_a_warning(run, model, tmp_path, rate, warned):
    path = sound(tmp_path / "x.wav", rate=rate, channels=8)
    shown = run("predict", path, "--model", model, "--no-check")
    assert shown.code == 0
    assert shown.err.startswith("note: 1 of 1 files: sampled at 8000 Hz, which holds nothing above 4000 Hz") == warned
    (result,) = run("predict", path, "--model", model, "--json", "--no-check").objects()
    assert result["audio"] == {"duration_ms": 600, "sample_rate": rate, "channels": 8}
    assert bool(result["warnings"]) == warned


@pytest.mark.parametrize("name", ["model.json", "model.onnx"])
def test_a_model_that_was_changed_is_refused_with_code_5(run, tmp_path, name):
    folder = tiny_bundle(tmp_path / "model")
    with (folder / name).open("ab") as file:
        file.write(b" ")
    ran = run("predict", sound(tmp_path / "a.wav"), "--model", folder)
    assert ran.code == 5
    assert ran.err.startswith(f"error: {folder}: {name} is not the file that was sealed")


def test_a_model_that_is_not_there_is_code_5(run, tmp_path):
    ran = run("predict", "a.wav", "--model", tmp_path / "none")
    assert ran.code == 5
    assert "no such model folder" in ran.err


def test_a_picture_for_a_model_that_listens_is_code_5_and_fine_for_one_that_looks(run, model, tmp_path):
    picture = tmp_path / "x.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(picture)
    ran = run("predict", picture, "--model", model)
    assert ran.code == 5
    assert "this model listens to sound" in ran.err
    looking = tiny_bundle(tmp_path / "looking", spectrogram=None)
    (result,) = run("predict", picture, "--model", looking, "--json").objects()
    assert result["audio"] is None
    assert result["summary"]["label"] == emogram.load(looking).predict(picture).label


def test_the_answer_is_drawn_where_asked_for(run, model, tmp_path):
    paths = [sound(tmp_path / folder / "a.wav") for folder in ("one", "two")]
    assert run("predict", paths[0], "--model", model, "--picture", tmp_path / "answer.png").code == 0
    with Image.open(tmp_path / "answer.png") as image:
        assert image.width > 600
    assert run("predict", *paths, "--model", model, "--picture", tmp_path / "answers").code == 0
    assert sorted(path.name for path in (tmp_path / "answers").iterdir()) == ["a-2.png", "a.png"]
    ran = run("predict", *paths, "--model", model, "--picture", tmp_path / "all.png")
    assert ran.code == 2
    assert "one file, and 2 to draw; name a folder" in ran.err


def test_drawing_without_matplotlib_names_what_to_install(run, model, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ran = run("predict", "a.wav", "--model", model, "--picture", tmp_path / "x.png")
    assert ran.code == 1
    assert f"drawing pictures needs the extra 'train', which is not installed: {install_line('train')}" in ran.err


# ---------------------------------------------------------------- spectrograms, corpora


def test_spectrograms_are_drawn_once(run, tmp_path):
    source, out = corpus(tmp_path / "corpus"), tmp_path / "pictures"
    first = run("spectrograms", source, out, "--json")
    assert first.code == 0
    (result,) = first.objects()
    assert (result["written"], result["unchanged"], result["failed"]) == (6, 0, [])
    with Image.open(out / "Angry" / "speaker0_angry.png") as image:
        assert image.size == (128, 128)
    again = run("spectrograms", source, out)
    assert again.out == ""
    assert again.err.splitlines()[-1] == f"0 pictures drawn, 6 were there already: {out}"
    assert run("spectrograms", source, out, "--n-mels", 64, "--json").objects()[0]["written"] == 6


def test_a_bad_clip_fails_alone(run, tmp_path):
    source = corpus(tmp_path / "corpus")
    bad = write_text(source / "sad" / "bad.wav")
    ran = run("spectrograms", source, tmp_path / "out", "--json")
    assert ran.code == 3
    (result,) = ran.objects()
    assert result["written"] == 6
    assert [failure["file"] for failure in result["failed"]] == [str(bad)]
    assert "1 of 7 clips failed:" in ran.err


def test_a_full_disk_is_said_and_what_was_drawn_is_kept(run, tmp_path, monkeypatch):
    source = corpus(tmp_path / "corpus")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    ran = run("spectrograms", source, tmp_path / "out")
    assert ran.code == 1
    assert "the disk is full; free some space and run the same command again" in ran.err
    assert ran.err.count("error: ") == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none", "no such folder or file"),
        (lambda folder: folder, "the folder is empty"),
        (lambda folder: sound(folder / "a.wav"), "is a single sound file"),
        (lambda folder: write_text(folder / "notes.txt").parent, "no sound or picture file in it (found 1 .txt)"),
    ],
)
@pytest.mark.parametrize("command", [["spectrograms"], ["corpora", "describe"], ["train"]])
def test_what_is_no_corpus_is_one_line_and_code_4(run, tmp_path, command, make, message):
    (tmp_path / "folder").mkdir()
    path = make(tmp_path / "folder")
    ran = run(*command, path, *([tmp_path / "out"] if command == ["spectrograms"] else []))
    assert ran.code == 4
    assert ran.err.startswith(f"error: {path}: ")
    assert message in ran.err
    assert ran.err.count("\n") == 1


def test_a_description_is_printed_and_drawn(run, tmp_path):
    source = corpus(tmp_path / "corpus")
    ran = run("corpora", "describe", source, "--json", "--out", tmp_path / "description")
    assert ran.code == 0
    (result,) = ran.objects()
    assert result["by_label"] == {"angry": 3, "sad": 3}
    assert sorted(path.name for path in (tmp_path / "description").iterdir()) == [
        "class_balance.png",
        "description.json",
        "examples.png",
    ]
    assert json.loads((tmp_path / "description" / "description.json").read_text(encoding="utf-8")) == result


def test_a_description_names_unreadable_clips_and_draws_the_others(run, tmp_path):
    source = corpus(tmp_path / "corpus")
    write_text(source / "angry" / "0.wav")
    ran = run("corpora", "describe", source)
    assert ran.code == 3
    assert "unreadable: " in ran.out
    assert (Path("corpus-description") / "examples.png").is_file()


def test_a_description_without_plots_writes_nothing(run, tmp_path):
    assert run("corpora", "describe", corpus(tmp_path / "corpus"), "--no-plots").code == 0
    assert list(Path().iterdir()) == []


def test_known_corpora_are_listed(run):
    names = [row["name"] for row in run("corpora", "list", "--json").objects()]
    assert {"ravdess", "tess", "savee", "emodb", "cremad"} <= set(names)
    assert all(name in run("corpora", "list").out for name in names)


# ---------------------------------------------------------------- train, evaluate, crossval, demo: what the shell adds


def report() -> Report:
    return Report(
        labels=("angry", "sad"),
        metrics={"uar": 0.75, "accuracy": 0.7, "macro_f1": float("nan"), "n_clips": 4},
        per_class={name: {"precision": 0.5, "recall": 0.75, "f1": 0.6, "support": 2} for name in ("angry", "sad")},
        per_group={},
        confusion=((1, 1), (0, 2)),
        intervals={},
        protocol="made up",
    )


def judgement(n_seeds: int) -> SimpleNamespace:
    summary = SeedSummary(n_seeds, {"uar": 0.7}, {"uar": 0.05}, {"uar": (0.6, 0.8)})
    per_seed = {f"seed {seed}": report() for seed in range(n_seeds)}
    return SimpleNamespace(per_seed=per_seed, over_seeds=summary)


class Call:
    """Stands for one function of the library: keeps what it was called with, returns a result."""

    def __init__(self, **result: Any) -> None:
        self.result = SimpleNamespace(
            **{"report": report(), "failed": (), "warnings": ("look here",), "plots": (), "seconds": 61.0} | result
        )
        self.given: dict[str, Any] = {}

    def __call__(self, *positional: Any, **named: Any) -> Any:
        self.given = {"positional": positional, **named}
        self.result.out = self.result.run = positional[2]
        return self.result


@pytest.fixture
def library(monkeypatch):
    """Return a function that puts a `Call` in the place of a function of the library."""
    monkeypatch.setattr(doctor, "missing_for_training", lambda: [])

    def put(module: str, call: Call) -> Call:
        monkeypatch.setitem(sys.modules, f"emogram.{module}", SimpleNamespace(**{module: call}))
        return call

    return put


def trained(**result: Any) -> Call:
    return Call(**{"judged_on": "test", "interrupted": False} | result)


def test_training_is_given_all_that_was_asked_for(run, library, tmp_path):
    call = library("train", trained())
    ran = run("train", corpus(tmp_path / "made-up"), "--name", "x", "--epochs", 3, "--brightness", 0.2, "--workers", 1)
    assert ran.code == 0
    found, config, out = call.given["positional"]
    assert (found.name, len(found.clips), out) == ("made-up", 6, Path("runs/x"))
    assert (config.train.epochs, config.augment.brightness) == (3, 0.2)
    assert config.model_copy(update={"train": RunConfig().train, "augment": RunConfig().augment}) == RunConfig()
    assert call.given["cache"] == tmp_path / "cache"
    assert call.given["workers"] == 1
    assert "note: look here\n" in ran.err
    assert "made up" in ran.out
    assert "75.0 %" in ran.out
    assert f"model: {Path('runs/x/model')} (after 1 min 1 s)\n" in ran.err


@pytest.mark.parametrize("command", [["train"], ["crossval", "--protocol", "random80"]], ids=["train", "crossval"])
def test_several_corpora_are_joined_and_those_added_may_but_train(run, library, tmp_path, command):
    call = library(command[0], trained(judgement=judgement(1)))
    one, two, three, four = (corpus(tmp_path / name) for name in ("one", "two", "three", "four"))
    assert run(*command, one, two, "--also", three, "--also", four).code == 0
    found, _, out = call.given["positional"]
    assert (found.name, len(found.clips), found.training_only) == ("one+two+three+four", 24, {"three", "four"})
    assert out.name.startswith("one-two-three-four-")


def test_a_run_is_named_after_corpus_network_and_time(run, library, tmp_path):
    call = library("train", trained())
    run("train", corpus(tmp_path / "made up!"), "--network", "baseline", "--no-cache")
    out = call.given["positional"][2]
    assert out.parent == Path("runs")
    assert out.name.startswith("made-up-baseline-20")
    assert call.given["cache"] is None


def test_results_are_not_written_over_unless_asked_to(run, library, tmp_path):
    call = library("train", trained())
    source = corpus(tmp_path / "corpus")
    (tmp_path / "run").mkdir()
    write_text(tmp_path / "run" / "history.csv")
    ran = run("train", source, "--out", tmp_path / "run")
    assert ran.code == 2
    assert "holds results already; choose another folder, or say --overwrite" in ran.err
    assert call.given == {}
    assert run("train", source, "--out", tmp_path / "run", "--overwrite").code == 0
    ran = run("train", source, "--out", tmp_path / "run" / "history.csv")
    assert ran.code == 1
    assert "is a file; expected a folder" in ran.err


def test_an_interrupted_training_tells_its_result_and_exits_with_130(run, library, tmp_path):
    library("train", trained(interrupted=True))
    ran = run("train", corpus(tmp_path / "corpus"), "--json")
    assert ran.code == 130
    assert ran.objects()[0]["interrupted"] is True


def test_an_unfinished_training_is_gone_on_with_when_asked_to(run, library, tmp_path):
    call = library("train", trained())
    source, out = corpus(tmp_path / "corpus"), tmp_path / "run"
    (out / "checkpoints").mkdir(parents=True)
    ran = run("train", source, "--out", out)
    assert ran.code == 2
    assert "holds a training that was interrupted; go on with it by --resume, or begin anew by --overwrite" in ran.err
    assert call.given == {}
    assert run("train", source, "--out", out, "--resume").code == 0
    assert call.given["resume"] is True
    assert run("train", source, "--out", out, "--overwrite").code == 0
    assert call.given["resume"] is False


def test_what_resume_is_to_go_on_with_is_named_once(run, library, tmp_path):
    call = library("train", trained())
    source = corpus(tmp_path / "corpus")
    for arguments, says in (
        ([], "--resume goes on with a training that --out or --name names"),
        (["--name", "x", "--overwrite"], "--resume goes on with a training and --overwrite begins anew"),
    ):
        ran = run("train", source, "--resume", *arguments)
        assert (ran.code, says in ran.err) == (2, True)
    assert call.given == {}


def test_a_finished_training_says_so_and_is_left_alone(run, library, tmp_path):
    call = library("train", trained())
    sys.modules["emogram.train"].is_finished = lambda *_: True
    source = corpus(tmp_path / "corpus")
    ran = run("train", source, "--out", tmp_path / "run", "--resume", "--json")
    assert ran.code == 0
    assert "this training is finished, there is nothing to go on with" in ran.err
    assert ran.objects() == [{"run": str(tmp_path / "run"), "finished": True}]
    assert call.given == {}
    sys.modules["emogram.train"].is_finished = lambda *_: False
    assert run("train", source, "--out", tmp_path / "run", "--resume").code == 0
    assert call.given["resume"] is True


def test_a_training_that_left_clips_out_names_them_with_code_3(run, library, tmp_path):
    library("train", trained(failed=((Clip(Path("a.wav")), "a.wav: silent throughout"),)))
    ran = run("train", corpus(tmp_path / "corpus"), "--json")
    assert ran.code == 3
    assert "1 of 6 clips failed:\n  a.wav: silent throughout\n" in ran.err
    (result,) = ran.objects()
    assert result["failed"] == [{"file": "a.wav", "error": "a.wav: silent throughout"}]
    assert result["report"]["metrics"] == {"uar": 0.75, "accuracy": 0.7, "macro_f1": None, "n_clips": 4}
    assert (result["judged_on"], result["warnings"]) == ("test", ["look here"])


@pytest.mark.parametrize(
    ("arguments", "feature"),
    [
        (["train", "x"], "training"),
        (["crossval", "x", "--protocol", "random80"], "cross-validation"),
        (["crosscorpus", "x", "y"], "crosscorpus"),
        (["demo"], "the demo"),
    ],
)
def test_without_the_extra_training_is_refused_before_any_work(run, monkeypatch, arguments, feature):
    monkeypatch.setattr(doctor, "missing_for_training", lambda: ["keras"])
    ran = run(*arguments)
    assert ran.code == 1
    assert ran.err == f"error: {feature} needs the extra 'train', which is not installed: {install_line('train')}\n"


def test_evaluation_is_given_model_corpus_and_part(run, library, model, tmp_path):
    call = library("evaluate", Call())
    ran = run("evaluate", model, corpus(tmp_path / "corpus"), "--part", "test", "--json")
    assert ran.code == 0
    judged, found, out = call.given["positional"]
    assert (judged, found.name, call.given["part"]) == (model, "corpus", "test")
    assert out.name.startswith("evaluate-corpus-20")
    assert ran.objects()[0]["part"] == "test"


STORED = """file,actor,fold,seed,label,angry,sad
a.wav,1,0,0,angry,0.8,0.2
b.wav,2,0,0,sad,0.4,0.6
a.wav,1,0,1,angry,0.4,0.6
b.wav,2,0,1,sad,0.3,0.7
"""


def test_predict_warns_of_what_is_no_speech_in_the_table_and_in_json(run, model, tmp_path):
    noise = [sound(tmp_path / f"{name}.wav", seed=seed) for seed, name in enumerate("ab")]
    ran = run("predict", noise[0], "--model", model)
    assert "note: 1 of 1 files: no speech found (in 0% of the clip)\n" in ran.err
    ran = run("predict", *noise, "--model", model)
    assert "note: 2 of 2 files: no speech found\n" in ran.err
    (result,) = run("predict", noise[0], "--model", model, "--json").objects()
    assert result["warnings"] == ["no speech found (in 0% of the clip)"]
    assert result["segments"][0]["speech_ratio"] == 0.0
    ran = run("predict", noise[0], "--model", model, "--no-check", "--json")
    assert "no speech" not in ran.err
    assert (ran.objects()[0]["warnings"], ran.objects()[0]["segments"][0]["speech_ratio"]) == ([], None)


def test_stored_predictions_are_judged_again_seed_by_seed_or_as_one(run, tmp_path, without_plots):
    path = tmp_path / "stored.csv"
    path.write_text(STORED)
    ran = run("evaluate", "--predictions", path, "--out", tmp_path / "each")
    assert ran.code == 0
    assert "UAR of each: seed 0 100.0 %, seed 1 50.0 %" in ran.out
    (result,) = run("evaluate", "--predictions", path, "--ensemble", "--json", "--out", tmp_path / "one").objects()
    assert result["report"]["metrics"]["uar"] == 1.0
    assert "ensemble of 2: mean of the probabilities of seed 0, seed 1" in result["report"]["protocol"]
    assert (tmp_path / "one" / "predictions.csv").is_file()


def test_results_of_the_same_second_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = set()
    for _ in range(3):
        folder = new_folder(None, "some corpus", overwrite=False)
        folder.mkdir(parents=True)
        folders.add(folder)
    assert len(folders) == 3 and all(folder.name.startswith("some-corpus-") for folder in folders)


def test_two_sets_of_stored_predictions_are_compared(run, tmp_path):
    for seed in (0, 1):
        rows = [line for line in STORED.splitlines()[1:] if line.split(",")[3] == str(seed)]
        (tmp_path / f"{seed}.csv").write_text("\n".join([STORED.splitlines()[0], *rows]))
    ran = run("compare", tmp_path / "0.csv", tmp_path / "1.csv", "--out", tmp_path / "out")
    assert ran.code == 0
    assert "0.csv less 1.csv" in ran.out and "+50.0" in ran.out
    assert "note: 2 speakers: the intervals are too narrow to tell of other voices" in ran.err
    (result,) = run("compare", tmp_path / "0.csv", tmp_path / "1.csv", "--json").objects()
    assert [each["metric"] for each in result["differences"]] == ["uar", "accuracy"]
    ran = run("compare", tmp_path / "0.csv")
    assert (ran.code, ran.err) == (2, "error: 1 run; a comparison needs at least two\n")


def test_leaks_are_allowed_where_asked_for(run, library, model, tmp_path):
    call = library("evaluate", Call())
    run("evaluate", model, corpus(tmp_path / "corpus"), "--allow-leaks")
    assert call.given["allow_leaks"] is True
    for name, arguments in (("train", []), ("crossval", ["--protocol", "random80"])):
        call = library(name, trained(judgement=judgement(1)))
        run(name, tmp_path / "corpus", *arguments, "--allow-leaks", "--out", tmp_path / name)
        assert call.given["positional"][1].split.allow_leaks is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model"], "1 paths without --predictions; expected a model and a corpus"),
        (["model", "corpus", "--ensemble"], "--ensemble without --predictions; expected a model and a corpus"),
    ],
)
def test_evaluation_of_neither_a_model_nor_predictions_is_wrong_usage(run, arguments, message):
    ran = run("evaluate", *arguments)
    assert (ran.code, ran.err) == (2, f"error: {message}\n")


def test_cross_validation_is_given_protocol_seeds_and_jobs_and_goes_on_in_its_folder(run, library, tmp_path):
    call = library("crossval", Call(judgement=judgement(2)))
    arguments = ["crossval", corpus(tmp_path / "corpus"), "--protocol", "random80", "--seeds", "0, 2", "--jobs", 2]
    ran = run(*arguments)
    assert ran.code == 0
    assert call.given["positional"][2] == Path("runs/corpus-random80-emonet")
    assert (call.given["protocol"], call.given["seeds"], call.given["jobs"]) == ("random80", (0, 2), 2)
    assert "Over 2 seeds" in ran.out
    assert "UAR of each: seed 0 75.0 %, seed 1 75.0 %" in ran.out
    assert "Pooled over the folds, seed 0" in ran.out
    Path("runs/corpus-random80-emonet").mkdir(parents=True)
    write_text(Path("runs/corpus-random80-emonet/metrics.json"))
    (result,) = run(*arguments, "--json").objects()
    assert (result["over_seeds"]["mean"]["uar"], len(result["per_seed"])) == (0.7, 2)


def test_the_seed_of_a_cross_validation_is_that_of_training_unless_several_are_named(run, library, tmp_path):
    call = library("crossval", Call(judgement=judgement(1)))
    run("crossval", corpus(tmp_path / "corpus"), "--protocol", "random80", "--seed", 5)
    assert call.given["seeds"] == (5,)


def test_crosscorpus_is_given_each_corpus_and_shows_the_matrix_and_its_mean(run, library, tmp_path):
    pairs = (
        CorpusPair("one", "one", ("angry", "sad"), 0.9, (0.8, 1.0), (0.9, 0.9), 6, 3),
        CorpusPair("one", "two", ("angry", "sad"), 0.625, (0.5, 0.75), (0.615, 0.635), 6, 3),
    )
    facts = {"mean_uar": 0.625, "std_uar": 0.01, "mean_chance": 0.5, "protocol": "made up"}
    adapted = Call(pairs=pairs, **(facts | {"mean_uar": 0.7}), to_dict=lambda: {"mean_uar": 0.7})
    call = library("crosscorpus", Call(pairs=pairs, **facts, to_dict=lambda: facts, adapted=None))
    arguments = ["crosscorpus", corpus(tmp_path / "one"), corpus(tmp_path / "two"), "--leave-one-out", "--seeds", "0,1"]
    ran = run(*arguments)
    assert ran.code == 0
    found, config, out = call.given["positional"]
    assert [each.name for each in found] == ["one", "two"] and config == RunConfig()
    assert out == Path("runs/crosscorpus-all-but-one-emonet")
    assert (call.given["leave_one_out"], call.given["seeds"]) == (True, (0, 1))
    assert "50.0 to 75.0, 2" in ran.out
    mean = "mean UAR between different corpora: 62.5 %, standard deviation over seeds 1.0 %; chance 50.0 %"
    assert mean in ran.out and not call.given["adapt"] and "adapted" not in ran.out
    call.result.adapted = adapted.result
    ran = run(*arguments, "--adapt")
    assert call.given["adapt"] and mean in ran.out and "adapted to each voice" in ran.out
    assert "mean UAR between different corpora: 70.0 %" in ran.out
    assert run(*arguments, "--adapt", "--json").objects()[0]["adapted"] == {"mean_uar": 0.7}
    call.result.adapted = None
    (result,) = run(*arguments, "--json").objects()
    assert (result["mean_uar"], result["seeds"], result["warnings"]) == (0.625, [0, 1], ["look here"])


# ---------------------------------------------------------------- doctor


@pytest.fixture
def quick_doctor(monkeypatch):
    """Spare the import of Keras in a process of its own."""
    monkeypatch.setattr(doctor, "_keras", lambda: "3 on torch")


def test_a_healthy_installation_is_code_0(run, quick_doctor):
    ran = run("doctor", "--json")
    checks = {row["check"]: row for row in ran.objects()}
    assert ran.code == 0, [row for row in checks.values() if not row["ok"]]
    assert {"Python", "libraries", "sound .wav", "sound .flac", "sound .opus", "model", "cache"} <= set(checks)
    assert all(row["ok"] for row in checks.values())


def test_the_shipped_model_is_looked_at(run, quick_doctor, monkeypatch, tmp_path):
    def shipped() -> dict[str, Any]:
        return next(check for check in run("doctor", "--json").objects() if check["check"] == "shipped model")

    monkeypatch.setattr("emogram.bundle.SHIPPED_FOLDER", tmp_path / "shipped")
    assert shipped()["ok"] and shipped()["found"].startswith("none in this copy")
    tiny_bundle(tmp_path / "shipped")
    assert shipped()["ok"] and shipped()["found"].startswith("emogram-tiny-nothing, ")
    (tmp_path / "shipped" / "model.onnx").write_bytes(b"other")
    assert not shipped()["ok"] and "model.onnx is not the file that was sealed" in shipped()["found"]


def test_what_is_broken_is_named_with_what_to_do_and_code_1(run, quick_doctor, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("EMOGRAM_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("EMOGRAM_EPOCH", "3")
    ran = run("doctor")
    assert ran.code == 1
    assert "error: cache: " in ran.err
    assert "set EMOGRAM_CACHE to a folder that can be written to" in ran.err
    assert "error: EMOGRAM_EPOCH: no setting has this name; unset it; did you mean EMOGRAM_EPOCHS?" in ran.err


def test_a_half_installed_extra_is_broken_and_a_missing_one_is_not(monkeypatch):
    everything = ["keras", "onnx", "matplotlib", "tensorboardX", "torch"]
    monkeypatch.setattr(doctor, "missing_for_training", lambda: everything)
    (check,) = doctor._training()
    assert check.ok
    assert "not installed" in check.found
    monkeypatch.setattr(doctor, "missing_for_training", lambda: ["torch"])
    (check,) = doctor._training()
    assert not check.ok
    assert check.found == "torch missing"


def test_sound_that_comes_back_wrong_is_noticed(monkeypatch):
    def write_an_octave_higher(path: Path, tone: np.ndarray) -> None:
        soundfile.write(path, np.tile(tone[::2], 2), 48000)

    with pytest.raises(EmogramError, match=r"a tone of 440 Hz was read as 8\d\d Hz"):
        doctor._round_trip(write_an_octave_higher, ".wav")


def test_the_settings_of_the_doctors_tone_resolve_it():
    from emogram.spectrogram import band_centres_hz

    centres = band_centres_hz(SpectrogramConfig())
    assert np.abs(centres - 440).min() < 60

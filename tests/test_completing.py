"""What the shells get when somebody presses Tab: asked as they ask, and answered without anything heavy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from emogram.bundle import INFO_FILE
from emogram.cli import completing, run
from emogram.config import NETWORK_NAMES
from emogram.parallel import child_environment

HEAVY = {"keras", "torch", "matplotlib", "onnxruntime", "scipy", "soundfile", "PIL"}


@pytest.fixture
def ask(capsys, monkeypatch, tmp_path):
    """Return a function that gives what bash would be answered about a line, the cursor at its end."""
    monkeypatch.chdir(tmp_path)

    def ask(line: str) -> list[str]:
        words = line.split(" ")
        monkeypatch.setenv("_EMOGRAM_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", "\n".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        with pytest.raises(SystemExit) as ended:
            run([])
        assert ended.value.code == 0
        return capsys.readouterr().out.split()

    return ask


def test_commands_are_completed(ask):
    everything = ask("emogram ")
    assert {"predict", "train", "corpora", "doctor", "serve"} <= set(everything)
    assert ask("emogram pre") == ["predict"]
    assert ask("emogram corpora d") == ["describe", "download"]


def test_options_and_their_choices_are_completed(ask):
    assert ask("emogram train x --opt") == ["--optimizer"]
    assert ask("emogram train x --optimizer ada") == ["adam", "adamw"]
    assert ask("emogram analyze a.wav --channels ") == ["mix", "split"]
    assert ask("emogram --vers") == ["--version"]


def test_names_that_only_emogram_knows_are_completed(ask):
    assert ask("emogram train x --network ") == list(NETWORK_NAMES)
    assert ask("emogram crossval x --protocol ra") == ["ravdess-si5", "random80"]
    assert ask("emogram train x --as rav") == ["ravdess"]
    assert ask("emogram analyze a.wav --format t") == ["textgrid"]
    assert "iemocap" not in ask("emogram corpora download "), "it cannot be downloaded by a program"
    assert ask("emogram corpora download em") == ["emodb"]


def test_of_a_list_between_commas_the_last_is_completed_and_none_twice(ask):
    assert ask("emogram train x --hard-classes sad,ha") == ["sad,happy"]
    assert ask("emogram train x --hard-classes sad,s") == ["sad,surprised"]
    assert ask("emogram robustness m c --conditions babble-10,tel") == ["babble-10,telephone"]


def test_models_in_reach_are_completed(ask, tmp_path):
    for folder in ("runs/mine/model", "runs/other/model", "bundle", "runs/empty"):
        (tmp_path / folder).mkdir(parents=True)
    for folder in ("runs/mine/model", "runs/other/model", "bundle"):
        (tmp_path / folder / INFO_FILE).touch()
    assert ask("emogram predict a.wav --model ") == ["shipped", "bundle", "runs/mine", "runs/other"]
    assert ask("emogram predict a.wav --model runs/m") == ["runs/mine"]
    assert ask("emogram export b") == ["bundle"]
    assert ask("emogram train c --teachers runs/mine,runs/o") == ["runs/mine,runs/other"]


def test_where_emogram_knows_nothing_the_shell_offers_files(ask):
    assert ask("emogram predict cl") == []
    assert ask("emogram train ") == []
    assert ask("emogram train x --config rec") == []


def environment(tmp_path: Path) -> dict[str, str]:
    """Return one in which `emogram` is this copy."""
    program = tmp_path / "bin" / "emogram"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m emogram "$@"\n')
    program.chmod(0o755)
    changed = {"PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    return {**os.environ, **child_environment(), **changed}


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here")
def test_bash_itself_completes_names_and_files_after_one_command(tmp_path):
    surroundings = environment(tmp_path)
    (tmp_path / "clip.wav").touch()
    install = [
        "bash",
        "-c",
        "emogram --install-completion; true",
    ]  # not its last command, or bash would make way for it
    done = subprocess.run(install, env=surroundings, capture_output=True, text=True, check=True)
    assert "bash completion installed" in done.stdout, done.stderr
    assert (tmp_path / ".bashrc").is_file()
    script = r"""
        source ~/.bashrc
        complete -p emogram
        tab() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _emogram_completion emogram
                echo "${COMPREPLY[*]}"; }
        tab emogram cross
        tab emogram train --network base
        tab emogram predict cl
    """
    done = subprocess.run(["bash", "-c", script], env=surroundings, capture_output=True, text=True, check=True)
    registered, commands, networks, nothing = done.stdout.splitlines()
    assert "-o default" in registered, "where the answer is empty, bash completes names of files"
    assert commands.split() == ["crossval", "crosscorpus"]
    assert networks.split() == ["baseline", "baseline-features"]
    assert nothing == ""


@pytest.mark.parametrize(
    ("shell", "line", "told", "otherwise"),
    [
        ("zsh", "emogram train --network base", '"baseline"', "_files"),
        ("fish", "emogram train --network base", "baseline\n", ""),
    ],
)
def test_zsh_and_fish_are_answered_in_their_own_words(capsys, monkeypatch, shell, line, told, otherwise):
    monkeypatch.setenv("_EMOGRAM_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    monkeypatch.delenv("COMP_WORDS", raising=False)
    for asked, words in ((line, told), ("emogram predict cl", otherwise)):
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", asked)
        with pytest.raises(SystemExit):
            run([])
        assert words in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_script_of_a_shell_is_one_that_it_can_read(shell):
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not here")
    variables = {**os.environ, **child_environment(), "_EMOGRAM_COMPLETE": f"source_{shell}"}
    command = [sys.executable, "-m", "emogram"]
    script = subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout
    subprocess.run([program, "-n"], input=script, text=True, check=True)


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not here")
def test_fish_itself_completes_names_and_files(tmp_path):
    surroundings = environment(tmp_path)
    (tmp_path / "clip.wav").touch()
    script = """
        _EMOGRAM_COMPLETE=source_fish emogram | source
        complete -C "emogram train --network base"
        complete -C "emogram predict cl"
    """
    command = ["fish", "--no-config", "-c", script]
    done = subprocess.run(command, env=surroundings, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["baseline", "baseline-features", "clip.wav"]


@pytest.mark.parametrize("line", ["emogram ", "emogram train --network ", "emogram predict --model "])
def test_answers_load_nothing_heavy(line):
    """An answer takes a quarter of a second, and most of that is imports: these decide how long somebody waits."""
    code = "import sys; from emogram.cli import run\ntry: run([])\nfinally: print(*sys.modules, file=sys.stderr)"
    variables = {"_EMOGRAM_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    surroundings = {**os.environ, **child_environment(), **variables}
    done = subprocess.run([sys.executable, "-c", code], env=surroundings, capture_output=True, text=True, check=True)
    assert done.stdout.split()
    assert not {name.split(".")[0] for name in done.stderr.split()} & (HEAVY | {"numpy"})


def test_nobody_asks_outside_of_a_completion(monkeypatch):
    monkeypatch.delenv("_EMOGRAM_COMPLETE", raising=False)
    assert completing.words_so_far() is None
    monkeypatch.setenv("_EMOGRAM_COMPLETE", "source_bash")
    assert completing.words_so_far() is None

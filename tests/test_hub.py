"""Models go to a hub and come back as they were; nothing else comes in, and no token goes out."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

import emogram
from emogram import cli, files
from emogram.bundle import SHIPPED_FOLDER, open_bundle
from emogram.errors import MissingExtraError, ModelError, ServerError, SettingsError
from emogram.hub import pull, push
from emogram.parallel import child_environment
from emogram.remote import Address
from emogram.testing import tiny_bundle

pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")

from fakehub import TOKEN, running

REPO = "somebody/a-model"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with running() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")  # for children; its protocol is not spoken here
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # other tests have it loaded so
        monkeypatch.setenv("EMOGRAM_CACHE", str(tmp_path / "cache"))
        yield hub


@pytest.fixture
def model(tmp_path):
    return tiny_bundle(tmp_path / "model", temperature=1.3)


def content_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ---------------------------------------------------------------- there and back


def test_a_model_comes_back_as_it_went(hub, model, tmp_path):
    pushed = push(model, REPO)
    assert pushed.bundle.sha256 == open_bundle(model).sha256
    assert pushed.warnings == ("Warnings while validating metadata in README.md:\n- a word on the card",)
    address, bundle = pull(REPO, tmp_path / "pulled")
    assert address == pushed.address == Address(REPO, hub.commit_of(REPO, "main"))
    assert content_of(tmp_path / "pulled") == content_of(model)  # and neither .gitattributes nor .cache
    assert bundle.sha256 == open_bundle(model).sha256
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "pulled"]


def test_a_push_is_one_commit_that_names_the_model_and_sends_what_is_large_by_lfs(hub, model):
    push(model, REPO)
    (commit,) = hub.commits
    assert commit["summary"].startswith(f"emogram-tiny-nothing {open_bundle(model).sha256[:12]}")
    assert list(hub.lfs.values()) == [(model / "model.onnx").read_bytes()]


def test_the_newest_of_two_pushes_is_pulled_and_the_first_by_its_commit(hub, model, tmp_path):
    first = push(model, REPO)
    second = push(tiny_bundle(tmp_path / "other", seed=1), REPO)
    assert first.address != second.address
    assert pull(REPO, tmp_path / "newest")[1].sha256 == second.bundle.sha256
    for number, name in enumerate((f"{REPO}@{first.address.revision}", str(first.address))):
        assert pull(name, tmp_path / str(number))[1].sha256 == first.bundle.sha256
    assert pull(REPO, tmp_path / "named", revision=first.address.revision)[1].sha256 == first.bundle.sha256


def test_files_of_an_older_model_that_the_new_one_has_not_are_deleted(hub, model, tmp_path):
    hub.commit(REPO, {"best.keras": b"old", "notes.txt": b"mine"})
    push(model, REPO)
    held = hub.repos[REPO]["main"]
    assert "best.keras" not in held
    assert held["notes.txt"] == b"mine"
    pull(REPO, tmp_path / "pulled")
    assert not (tmp_path / "pulled" / "notes.txt").exists()


def test_a_private_repository_opens_to_its_token_only(hub, model, tmp_path, monkeypatch):
    push(model, REPO, private=True)
    assert pull(REPO, tmp_path / "mine")[1].sha256 == open_bundle(model).sha256
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ServerError, match="not found, or not open to nobody, for HF_TOKEN is not set"):
        pull(REPO, tmp_path / "theirs")
    assert not (tmp_path / "theirs").exists()


def test_a_model_is_named_by_its_address_wherever_one_is_named(hub, model, tmp_path):
    pushed = push(model, REPO)
    noise = np.random.default_rng(0).normal(0, 0.1, 16000)
    expected = emogram.load(model).predict(noise, sample_rate=16000)
    for name in (f"hf://{REPO}", Path(f"hf://{REPO}"), f"hf://{REPO}@main", str(pushed.address)):
        assert emogram.load(name).predict(noise, sample_rate=16000) == expected
    gets = [path for method, path in hub.requests if method == "GET" and "/resolve/" in path]
    assert len(gets) == len(set(gets)) == len(content_of(model))  # each file once
    n_requests = len(hub.requests)
    emogram.load(str(pushed.address))
    assert len(hub.requests) == n_requests  # a commit in the cache needs no network


def test_several_that_fetch_one_model_at_once_all_get_it(hub, model):
    push(model, REPO)
    hub.delay_s = 0.1
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(open_bundle, [f"hf://{REPO}"] * 4))
    assert {bundle.sha256 for bundle in found} == {open_bundle(model).sha256}


def test_many_recordings_are_scored_by_a_model_of_the_hub(hub, model, tmp_path):
    pytest.importorskip("pyarrow", reason="the extra archive is not installed")
    push(model, REPO)
    soundfile.write(tmp_path / "clip.wav", np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
    arguments = ["score", str(tmp_path / "clip.wav"), "--out", str(tmp_path / "scored"), "--model", f"hf://{REPO}"]
    assert cli.run([*arguments, "--workers", "1"]) == 0
    assert list((tmp_path / "scored").rglob("*.parquet"))


def test_the_commands(hub, model, tmp_path, capsys):
    assert cli.run(["push", str(model), REPO, "--json"]) == 0
    pushed = json.loads(capsys.readouterr().out)
    assert cli.run(["pull", REPO, "--out", str(tmp_path / "pulled"), "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == {**pushed, "model": str(tmp_path / "pulled")}
    assert f"pulled: emogram-tiny-nothing from hf://{REPO}@{pushed['commit']}" in told.err.replace("\n", " ")
    assert cli.run(["pull", REPO, "--out", str(tmp_path / "pulled")]) == 2
    assert cli.run(["pull", "somebody/else", "--out", str(tmp_path / "else")]) == 1
    assert "hf://somebody/else: not found" in capsys.readouterr().err


# ---------------------------------------------------------------- the card


def test_the_hub_reads_the_card_with_its_figures(hub):
    from huggingface_hub import ModelCard

    push("shipped", REPO)
    (card,) = hub.cards
    data = ModelCard(card, ignore_metadata_errors=False).data
    assert (data.pipeline_tag, data.library_name, data.license) == (
        "audio-classification",
        "emogram",
        "cc-by-nc-sa-4.0",
    )
    assert data.datasets == ["nemo", "ravdess"]
    assert data.language == ["en", "pl"]
    assert data.metrics == ["recall", "accuracy"]
    assert "speech-emotion-recognition" in data.tags
    assert data.model_name == open_bundle("shipped").info.model_id
    assert ("RAVDESS-SI5", "recall", "uar", 0.6968) in [
        (result.dataset_name, result.metric_type, result.metric_name, result.metric_value)
        for result in data.eval_results
    ]


def test_a_model_whose_card_the_hub_cannot_read_stays_at_home(hub, model):
    from emogram.bundle import seal

    seal(model, open_bundle(model).info, "# A model\n")
    with pytest.raises(ModelError, match="says nothing that the Hub reads"):
        push(model, REPO)
    assert not hub.requests


def test_what_the_hub_has_against_a_card_is_told(hub, model):
    hub.card_errors.append({"message": "datasets[0] is no name"})
    with pytest.raises(ServerError, match=r"Invalid metadata in README\.md.*datasets\[0\] is no name"):
        push(model, REPO)
    assert not hub.commits


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("name", ["model.onnx", "model.json", "SHA256SUMS", "README.md"])
def test_what_was_damaged_on_the_way_is_refused_and_leaves_nothing(hub, model, tmp_path, name):
    push(model, REPO)
    hub.spoil[name] = hub.repos[REPO]["main"][name][:-1] + b"\0"
    with pytest.raises(ModelError):
        pull(REPO, tmp_path / "pulled")
    with pytest.raises(ModelError):
        open_bundle(f"hf://{REPO}")
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["model"]
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    hub.spoil.clear()
    assert open_bundle(f"hf://{REPO}").sha256 == open_bundle(model).sha256


def test_what_is_no_model_is_refused(hub, model, tmp_path):
    hub.commit("somebody/words", {"config.json": b"{}", "pytorch_model.bin": b"\x80\x02", "run.py": b"print(1)"})
    with pytest.raises(ModelError, match="holds none of its files; expected a model of emogram"):
        pull("somebody/words", tmp_path / "pulled")
    hub.commit("somebody/half", {"README.md": b"---\n---\n", "model.onnx": b"onnx"})
    with pytest.raises(ModelError, match="has no SHA256SUMS"):
        pull("somebody/half", tmp_path / "pulled")
    fetched = [path for method, path in hub.requests if method == "GET" and "/resolve/" in path]
    assert not [path for path in fetched if path.endswith((".bin", ".py", "config.json"))]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_is_too_large_is_not_fetched(hub, model, tmp_path, monkeypatch):
    push(model, REPO)
    monkeypatch.setattr("emogram.remote.MAX_BYTES", 1000)
    with pytest.raises(ModelError, match="at most 1,000 bytes"):
        pull(REPO, tmp_path / "pulled")
    assert not [path for _, path in hub.requests if "/resolve/" in path]


def test_words_for_what_is_not_there(hub, model, tmp_path, monkeypatch):
    push(model, REPO)
    with pytest.raises(ServerError, match="has no revision elsewhere"):
        pull(REPO, tmp_path / "pulled", revision="elsewhere")
    with pytest.raises(SettingsError, match="is there already"):
        pull(REPO, model)
    for name in ("a-model", "a/b/c", "../../etc", "somebody/..", "https://x/y", f"{REPO}@a@b", ""):
        with pytest.raises(SettingsError, match="expected owner/name"):
            pull(name, tmp_path / "pulled")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ServerError, match=r"127\.0\.0\.1:9 does not answer") as caught:
        pull(REPO, tmp_path / "pulled")
    assert caught.value.code == "unreachable"
    assert not (tmp_path / "pulled").exists()


def test_a_missing_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[hub\]'"):
        pull(REPO, tmp_path / "pulled")


# ---------------------------------------------------------------- the token


def test_without_a_token_nothing_is_written(hub, model, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_text(TOKEN)  # what another program left
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "home" / "token"))
    with pytest.raises(SettingsError, match="as HF_TOKEN"):
        push(model, REPO)
    assert not hub.requests
    hub.commit(REPO, content_of(model))
    pull(REPO, tmp_path / "pulled")
    assert hub.tokens == {None}


def test_a_wrong_token_is_refused_and_never_printed(hub, model, monkeypatch, capfd):
    monkeypatch.setenv("HF_TOKEN", "hf_wrongwrongwrong")
    assert cli.run(["push", str(model), REPO]) == 1
    told = "".join(capfd.readouterr())
    assert "not open to HF_TOKEN" in told.replace("\n", " ")
    assert "hf_wrong" not in told


# ---------------------------------------------------------------- the end of a process


def test_a_pull_that_is_killed_leaves_no_folder_of_the_name(hub, model, tmp_path):
    push(model, REPO)
    hub.delay_s = 0.5
    out = tmp_path / "pulled"
    child = subprocess.Popen(
        [sys.executable, "-m", "emogram", "pull", REPO, "--out", str(out)],
        env=child_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".pulled-*/model.*")):  # some files are there
        assert time.monotonic() < deadline and child.poll() is None
        assert not out.exists()
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not out.exists()
    hub.delay_s = 0.0
    assert pull(REPO, out)[1].sha256 == open_bundle(model).sha256


def test_a_full_disk_is_said_so(hub, model, tmp_path, monkeypatch):
    push(model, REPO)

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("emogram.remote.os.fsync", full)
    with pytest.raises(files.OutputError, match="the disk is full"):
        pull(REPO, tmp_path / "pulled")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_shipped_model_is_pushed_whole(hub, tmp_path):
    push("shipped", REPO)
    pull(REPO, tmp_path / "pulled")
    assert content_of(tmp_path / "pulled") == {
        path.name: path.read_bytes() for path in SHIPPED_FOLDER.iterdir() if path.is_file()
    }

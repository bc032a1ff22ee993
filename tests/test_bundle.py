from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from emogram import bundle as bundle_module
from emogram.bundle import (
    CLIPS_FILE,
    FORMAT_VERSION,
    ModelInfo,
    TrainingCorpus,
    open_bundle,
    seal,
    upgrade,
    write_known_clips,
)
from emogram.config import SpectrogramConfig
from emogram.errors import ModelError, OutputError, SettingsError

LABELS = ("angry", "happy", "sad")


def info_of(**changes) -> ModelInfo:
    values = {
        "labels": LABELS,
        "spectrogram": SpectrogramConfig(n_mels=40),
        "network": {"name": "compact", "width": 32},
        "input_shape": (None, 40, 1),
        "trained_on": (
            {"corpus": "RAVDESS", "n_clips": 1440, "n_speakers": 24, "content_hash": "ab12", "licence": "CC BY-NC-SA"},
        ),
        "split": {"by": "speaker", "fold": 0},
        "protocol": "P1 RAVDESS-SI5",
        "metrics": {"uar": 0.625, "n_clips": 288},
        "temperature": 1.25,
        "abstain_threshold": 0.3,
        "seed": 7,
        "created": "2025-01-31",
    }
    return ModelInfo.from_dict({**values, **changes})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sealed bundle; what is in the networks does not matter to the seal."""
    folder = tmp_path / "run" / "model"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"onnx" * 100)
    (folder / "best.keras").write_bytes(b"keras" * 100)
    seal(folder, info_of(), "the card\n")
    return folder


def write_sums(folder: Path, names: tuple[str, ...] = ("best.keras", "model.onnx", "model.json", "README.md")) -> None:
    """Seal by hand, as somebody who forges a bundle would."""
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(lines))


def change_info(folder: Path, **changes) -> None:
    values = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**values, **changes}))
    write_sums(folder)


def test_what_was_sealed_is_what_is_opened(folder):
    opened = open_bundle(folder)
    assert opened.info == info_of()
    assert opened.folder == folder
    assert opened.sha256 == hashlib.sha256((folder / "SHA256SUMS").read_bytes()).hexdigest()
    assert set(opened.hashes) == {"best.keras", "model.onnx", "model.json", "README.md"}
    assert opened.read("README.md") == b"the card\n"


def test_the_shipped_model_has_a_name_that_means_the_same_everywhere(folder, monkeypatch, tmp_path):
    (tmp_path / "shipped").mkdir()
    monkeypatch.chdir(tmp_path)  # a folder of that name here does not change what the name means
    monkeypatch.setattr(bundle_module, "SHIPPED_FOLDER", folder)
    assert open_bundle("shipped") == open_bundle(Path("shipped")) == open_bundle(folder)
    with pytest.raises(ModelError, match="holds no model"):
        open_bundle(tmp_path / "shipped")
    monkeypatch.setattr(bundle_module, "SHIPPED_FOLDER", tmp_path / "none")
    with pytest.raises(ModelError, match=r"no model ships with this copy .* --model or EMOGRAM_MODEL, train one"):
        open_bundle("shipped")


def test_a_licence_of_its_own_is_sealed_with_the_model(folder):
    (folder / "LICENSE").write_text("CC BY-NC-SA 4.0\n")
    assert "LICENSE" in seal(folder, info_of(), "the card\n").hashes


def test_run_folder_leads_to_its_model(folder):
    assert open_bundle(str(folder.parent)) == open_bundle(folder)


def test_bundle_without_keras_file_opens_and_says_so_when_asked_for_it(folder):
    (folder / "best.keras").unlink()
    seal(folder, info_of(), "the card\n")
    with pytest.raises(ModelError, match=r"holds no best\.keras, only README\.md, model\.json, model\.onnx"):
        open_bundle(folder).file("best.keras")


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs the program sha256sum")
def test_sha256sum_agrees_with_the_seal(folder):
    checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=True)
    assert checked.stdout.splitlines() == ["best.keras: OK", "model.onnx: OK", "model.json: OK", "README.md: OK"]


def test_same_content_gives_the_same_hash_and_other_content_another(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert open_bundle(copy).sha256 == open_bundle(folder).sha256
    assert seal(copy, info_of(seed=8), "the card\n").sha256 != open_bundle(folder).sha256


@pytest.mark.parametrize("name", ["best.keras", "model.onnx", "model.json", "README.md"])
def test_one_flipped_bit_in_any_file_is_refused(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=rf"{re.escape(name)} is not the file that was sealed.*copy it again"):
        open_bundle(folder)


def test_file_changed_after_opening_is_refused_when_read(folder):
    opened = open_bundle(folder)
    (folder / "model.onnx").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"model\.onnx is not the file that was sealed"):
        opened.read("model.onnx")


def test_missing_file_is_named(folder):
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"model\.onnx is listed in SHA256SUMS and is not there"):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["model.onnx", "model.json"])
def test_seal_must_cover_network_and_description(folder, name):
    write_sums(folder, tuple({"model.onnx", "model.json", "README.md"} - {name}))
    with pytest.raises(ModelError, match=rf"does not list {re.escape(name)}"):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "sub/model.onnx", "..", "..\\secret", "C:secret"])
def test_names_that_lead_elsewhere_are_refused(folder, name):
    with (folder / "SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64}  {name}\n")
    with pytest.raises(ModelError, match=r"line 5 names .* outside the model; refused"):
        open_bundle(folder)


def test_link_out_of_the_folder_is_refused_even_to_the_right_bytes(folder, tmp_path):
    (folder / "model.onnx").rename(tmp_path / "elsewhere.onnx")
    (folder / "model.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(ModelError, match=r"link that leads out of the model folder"):
        open_bundle(folder)


def test_sums_that_are_no_sums_are_refused(folder):
    (folder / "SHA256SUMS").write_text("hello\n")
    with pytest.raises(ModelError, match=r"line 1 is not '<sha256>  <name>'"):
        open_bundle(folder)


def test_monstrous_network_is_refused_before_it_is_read(folder, monkeypatch):
    monkeypatch.setattr(bundle_module, "MAX_ONNX_BYTES", 399)
    with pytest.raises(ModelError, match=r"400 bytes; a model of emogram has at most 399"):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("version", "advice"),
    [
        ("9.1.0", r"pip install --upgrade 'emogram>=9\.1\.0'$"),
        ("9'; rm -rf ~; '", r"pip install --upgrade emogram$"),
        (None, r"pip install --upgrade emogram$"),
    ],
)
def test_newer_format_is_refused_with_the_version_to_install(folder, version, advice):
    change_info(folder, format_version=FORMAT_VERSION + 1, package_version=version, novelty=True)
    with pytest.raises(
        ModelError, match=rf"format {FORMAT_VERSION + 1}, and emogram .* reads up to {FORMAT_VERSION}; {advice}"
    ):
        open_bundle(folder)


@pytest.mark.parametrize("version", [None, "1", True, 0, -3, 1.0])
def test_description_without_a_format_is_none_of_ours(folder, version):
    change_info(folder, format_version=version)
    with pytest.raises(ModelError, match=r"says no format_version"):
        open_bundle(folder)


def test_present_format_needs_no_upgrade():
    values = info_of().model_dump(mode="json")
    assert ModelInfo.from_dict(upgrade(values, FORMAT_VERSION)) == info_of()


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000])
def test_description_that_is_no_json_is_refused(folder, content):
    (folder / "model.json").write_bytes(content)
    write_sums(folder)
    with pytest.raises(ModelError, match=r"model\.json: not a JSON file"):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"surprise": 1}, r"unknown setting 'surprise'"),
        ({"temperature": 0}, r"temperature: .*greater than 0"),
        ({"abstain_threshold": 1.5}, r"abstain_threshold"),
        ({"labels": ["sad", "sad"]}, r"labels must be distinct"),
        ({"labels": ["sad"]}, r"labels"),
        ({"network": {"width": 3}}, r"must have a 'name'"),
        ({"input_shape": [None, 64, 1]}, r"input_shape .*64.* does not fit the spectrogram settings, .*40"),
        ({"inputs": ["spectrogram", "features"]}, r"inputs .* do not fit the spectrogram settings"),
        ({"spectrogram": None}, r"must be \(size, size, 3\)"),
    ],
)
def test_inconsistent_description_is_refused(folder, changes, message):
    change_info(folder, **changes)
    with pytest.raises(ModelError, match=message):
        open_bundle(folder)


def test_model_of_foreign_pictures_has_no_spectrogram_settings(folder):
    info = info_of(spectrogram=None, input_shape=(96, 96, 3))
    assert seal(folder, info, "card").info == info
    assert json.loads((folder / "model.json").read_text())["spectrogram"] is None


def test_two_input_model_names_both_inputs():
    spectrogram = SpectrogramConfig(utterance_features=True)
    info = info_of(spectrogram=spectrogram, input_shape=(None, 64, 1), inputs=("spectrogram", "features"))
    assert info.inputs == ("spectrogram", "features")
    with pytest.raises(SettingsError, match="do not fit"):
        info_of(spectrogram=spectrogram, input_shape=(None, 64, 1))


def test_metric_that_does_not_exist_becomes_null(folder):
    seal(folder, info_of(metrics={"uar": float("nan")}), "card")
    assert json.loads((folder / "model.json").read_text())["metrics"] == {"uar": None}
    assert open_bundle(folder).info.metrics == {"uar": None}


def test_unfinished_training_is_told_from_a_wrong_folder(folder, tmp_path):
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(ModelError, match=r"no SHA256SUMS, so it is not finished or not copied whole"):
        open_bundle(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"holds no model .* as `emogram train` writes it"):
        open_bundle(tmp_path / "empty")
    with pytest.raises(ModelError, match=r"nowhere: no such model folder"):
        open_bundle(tmp_path / "nowhere")
    with pytest.raises(ModelError, match=r"model\.onnx: is a file; a model is a folder"):
        open_bundle(folder / "model.onnx")


def test_interrupted_sealing_leaves_an_unfinished_model_not_a_damaged_one(folder, monkeypatch):
    def interrupt(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(bundle_module, "sha256_of", interrupt)
    with pytest.raises(KeyboardInterrupt):
        seal(folder, info_of(seed=8), "new card")
    monkeypatch.undo()
    with pytest.raises(ModelError, match="not finished"):
        open_bundle(folder)


def test_nothing_is_sealed_without_the_onnx_model(tmp_path):
    with pytest.raises(ModelError, match=r"cannot be sealed without model\.onnx"):
        seal(tmp_path, info_of(), "card")
    assert list(tmp_path.iterdir()) == []


def test_model_id_is_made_of_network_and_corpora_and_fit_for_a_name():
    corpora = [
        TrainingCorpus(corpus=name, n_clips=1, content_hash="") for name in ("RAVDESS", "My Corpus/2", "RAVDESS")
    ]
    assert info_of(trained_on=corpora).model_id == "emogram-compact-ravdess-my-corpus-2"


def test_calibrated_means_that_a_temperature_was_fitted():
    assert info_of().calibrated
    assert not info_of(temperature=1.0).calibrated


# ---------------------------------------------------------------- the recordings it knows


def test_known_clips_come_back_by_part_and_are_sealed(folder):
    info = info_of()
    assert open_bundle(folder).known_clips() is None
    write_known_clips(folder, {"train": ["a" * 32, "b" * 32, "a" * 32], "validation": ["c" * 32]})
    bundle = seal(folder, info, "card")
    assert bundle.known_clips() == {"train": {"a" * 12, "b" * 12}, "validation": {"c" * 12}}
    (folder / CLIPS_FILE).write_text("d" * 12 + " train\n")
    with pytest.raises(ModelError, match=r"training_clips\.txt is not the file that was sealed"):
        bundle.known_clips()
    (folder / CLIPS_FILE).write_text("short train\n")
    with pytest.raises(ModelError, match="'short train' is not '<hash> <part>'"):
        seal(folder, info, "card").known_clips()


# ---------------------------------------------------------------- whom it heard


def test_whom_a_model_heard_is_told_with_the_corpus_and_with_those_of_models_before_it():
    split = {"train_speakers": ["01", "02"], "validation_speakers": ["03"], "test_speakers": ["04"]}
    before = {"model_id": "m", "sha256": "ab", "heard": ["TESS/OAF"]}
    assert info_of(split=split).heard("train", "validation") == {"RAVDESS/01", "RAVDESS/02", "RAVDESS/03"}
    assert info_of(split=split, init=before).heard("test") == {"RAVDESS/04", "TESS/OAF"}
    several = {**split, "corpora": ["RAVDESS", "TESS"], "train_speakers": ["RAVDESS/01", "TESS/OAF"]}
    assert info_of(split=several, teachers=[before]).heard("train") == {"RAVDESS/01", "TESS/OAF"}
    pretrained = [{"corpus": name, "n_clips": 1, "content_hash": "", "pretraining": name == "TESS"}
                  for name in ("RAVDESS", "TESS")]  # fmt: skip
    assert info_of(split=split, trained_on=pretrained).heard("train") == {"RAVDESS/01", "RAVDESS/02"}


def test_an_answer_to_adapt_from_has_a_number_for_each_label():
    assert info_of(mean_log_probabilities=(-1.0, -1.0, -1.1)).mean_log_probabilities == (-1.0, -1.0, -1.1)
    with pytest.raises(SettingsError, match="mean_log_probabilities must be 3, one for each label"):
        info_of(mean_log_probabilities=(-1.0,))


# ---------------------------------------------------------------- a disk that fails


def failing_for(name: str, real):
    def call(path: Path, *arguments, **settings):
        if Path(path).name == name:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path, *arguments, **settings)

    return call


def test_a_file_that_cannot_be_read_is_named(folder, monkeypatch):
    sealed = open_bundle(folder)
    with monkeypatch.context() as patch, pytest.raises(ModelError, match=r"model\.json: cannot be read \(Input/output"):
        patch.setattr(Path, "read_bytes", failing_for("model.json", Path.read_bytes))
        sealed.read("model.json")
    with monkeypatch.context() as patch, pytest.raises(ModelError, match=r"model\.onnx: cannot be read \(Input/output"):
        patch.setattr(bundle_module, "sha256_of", failing_for("model.onnx", bundle_module.sha256_of))
        open_bundle(folder)
    with monkeypatch.context() as patch, pytest.raises(ModelError, match=r"SHA256SUMS: cannot be read \(Input/output"):
        patch.setattr(Path, "read_bytes", failing_for("SHA256SUMS", Path.read_bytes))
        open_bundle(folder)


def test_a_monstrous_description_is_refused_before_it_is_read(folder, monkeypatch):
    monkeypatch.setattr(bundle_module, "MAX_INFO_BYTES", 100)
    with pytest.raises(ModelError, match=r"SHA256SUMS: .* bytes; expected at most 100"):
        open_bundle(folder)


def test_where_the_old_seal_cannot_be_broken_nothing_is_written(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(Path, "unlink", failing_for("SHA256SUMS", Path.unlink))
    with pytest.raises(OutputError, match="SHA256SUMS: Input/output error"):
        seal(folder, info_of(seed=8), "new card")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert open_bundle(folder).info == info_of()

"""What ships: licensed, small, calibrated anew, and never worse than it may be."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest

from emogram import ship as ship_module
from emogram.bundle import open_bundle, seal
from emogram.card import CC_BY_NC_SA, Evidence
from emogram.classifier import Classifier
from emogram.errors import ModelError, OutputError, SettingsError
from emogram.evaluate import evaluate
from emogram.ship import INT8, SINGLE, Trial, ship


@pytest.fixture(scope="module")
def licensed(tiny_run, tmp_path_factory):
    """The tiny model, as if its voices were under the licence that lets it ship."""
    folder = tmp_path_factory.mktemp("licensed") / "model"
    shutil.copytree(tiny_run.run / "model", folder)
    info = open_bundle(folder).info
    trained_on = [corpus.model_copy(update={"licence": CC_BY_NC_SA}) for corpus in info.trained_on]
    seal(folder, info.model_copy(update={"trained_on": tuple(trained_on)}), "card")
    return folder


@pytest.fixture(scope="module")
def shipped(licensed, voices_corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shipped")
    card = folder / "MODEL_CARD.md"
    evidence = Evidence(commands=("emogram train VOICES",))
    return ship(licensed, voices_corpus, folder / "out", card=card, evidence=evidence, workers=1), card


def test_the_folder_holds_what_prediction_needs_with_licence_and_card(shipped):
    result, card = shipped
    folder = result.bundle.folder
    names = {"model.onnx", "model.json", "README.md", "training_clips.txt", "familiar.npz", "LICENSE"}
    assert set(result.bundle.hashes) == names
    assert {file.name for file in folder.iterdir()} == names | {"SHA256SUMS"}
    assert result.n_bytes == sum(file.stat().st_size for file in folder.iterdir()) <= 5_000_000
    assert (folder / "README.md").read_text() == card.read_text()
    assert "emogram train VOICES" in card.read_text() and "license: cc-by-nc-sa-4.0" in card.read_text()
    licence = (folder / "LICENSE").read_text()
    assert "SPDX-License-Identifier: CC-BY-NC-SA-4.0" in licence and "licenses/by-nc-sa/4.0/legalcode" in licence
    assert "synthetic-voices" in licence
    assert not list(folder.parent.glob(".out-*"))


def test_what_ships_gives_the_figures_of_its_card(shipped, voices_corpus, tmp_path, without_plots):
    result, _ = shipped
    again = evaluate(result.bundle.folder, voices_corpus, tmp_path, part="test", workers=1).report
    assert again.confusion == result.report.confusion
    assert result.bundle.info.metrics["uar"] == pytest.approx(again.metrics["uar"])
    assert result.bundle.info.metrics["nll"] == pytest.approx(again.metrics["nll"], abs=1e-6)


def test_int8_is_kept_only_where_it_costs_under_a_point(shipped):
    result, _ = shipped
    single, int8 = result.trials[SINGLE], result.trials[INT8]
    assert int8.n_bytes < single.n_bytes
    assert result.chosen == (INT8 if single.uar - int8.uar < 0.01 else SINGLE)
    assert result.bundle.info.network["convolutions"] == result.chosen
    kept = result.bundle.folder / "model.onnx"
    assert kept.stat().st_size == result.trials[result.chosen].n_bytes


@pytest.mark.parametrize(
    ("int8", "worth"),
    [
        (Trial(50, 0.695, 0.5), True),
        (Trial(50, 0.689, 0.5), False),  # 1.1 points
        (Trial(50, 0.700, 1.5), True),  # slower and smaller
        (Trial(150, 0.700, 0.5), True),  # larger and faster
        (Trial(150, 0.800, 1.5), False),
    ],
)
def test_int8_must_be_smaller_or_faster_and_nearly_as_good(int8, worth):
    assert ship_module._worth_it(Trial(100, 0.700, 1.0), int8) is worth


def test_without_int8_the_network_ships_byte_for_byte_and_replaces_the_model_before(licensed, voices_corpus, tmp_path):
    shutil.copytree(licensed, tmp_path / "out")
    result = ship(licensed, voices_corpus, tmp_path / "out", int8=False, workers=1)
    assert (result.chosen, set(result.trials)) == (SINGLE, {SINGLE})
    assert result.bundle.read("model.onnx") == open_bundle(licensed).read("model.onnx")
    assert not (tmp_path / "out" / "best.keras").exists()
    before, after = open_bundle(licensed).info, result.bundle.info
    assert after.temperature == pytest.approx(before.temperature, rel=1e-3)
    np.testing.assert_allclose(after.mean_log_probabilities, before.mean_log_probabilities, atol=1e-2)
    assert Classifier.load(tmp_path / "out").labels == before.labels


def test_what_may_not_be_shared_is_refused_by_name(tiny_run, voices_corpus, tmp_path):
    with pytest.raises(ModelError, match=r"trained on synthetic-voices \(.*\); what ships is under CC BY-NC-SA 4\.0"):
        ship(tiny_run.run, voices_corpus, tmp_path / "out", workers=1)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_not_replaced(licensed, voices_corpus, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="holds something that is no model; choose another folder"):
        ship(licensed, voices_corpus, tmp_path, workers=1)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_model_too_large_leaves_the_one_that_is_there(licensed, voices_corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(ship_module, "MAX_BYTES", 10_000)
    before = open_bundle(shutil.copytree(licensed, tmp_path / "out"))
    with pytest.raises(ModelError, match=r"bytes; what ships has at most 10,000, train a smaller one"):
        ship(licensed, voices_corpus, tmp_path / "out", int8=False, workers=1)
    assert open_bundle(tmp_path / "out") == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_without_validation_speakers_there_is_nothing_to_choose_by(licensed, voices_corpus, tmp_path):
    shutil.copytree(licensed, tmp_path / "model")
    info = open_bundle(licensed).info
    seal(tmp_path / "model", info.model_copy(update={"split": {**info.split, "validation_speakers": []}}), "card")
    with pytest.raises(SettingsError, match="set no validation speakers aside"):
        ship(tmp_path / "model", dataclasses.replace(voices_corpus), tmp_path / "out", workers=1)

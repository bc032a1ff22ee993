"""Adapting afterwards gives what adapting at once gives, and is never mixed with other figures."""

from __future__ import annotations

import json
import shutil

import pytest

from emogram.adapted import adapt_runs
from emogram.bundle import open_bundle, seal
from emogram.errors import InputError, ModelError
from emogram.evaluate import evaluate

pytestmark = pytest.mark.usefixtures("without_plots")


def test_a_run_gives_what_evaluating_with_adapt_gives(tiny_run, voices_corpus, tmp_path):
    at_once = evaluate(tiny_run.run, voices_corpus, tmp_path / "at-once", part="test", adapt=True, workers=1).report
    result = adapt_runs(tiny_run.run, tmp_path / "afterwards")
    for name in ("uar", "nll", "ece"):
        assert result.report.metrics[name] == pytest.approx(at_once.metrics[name], abs=1e-4)
    assert result.report.protocol.startswith("adapted to the voice: uses a statistic of the test speaker; ")


def test_folds_are_pooled_by_seed_and_the_first_stands(tiny_run, tmp_path):
    for seed in (3, 11):  # eleven comes first in the alphabet
        for fold in (0, 1):
            copy = shutil.copytree(tiny_run.run, tmp_path / "runs" / f"seed-{seed}" / f"fold-{fold}")
            seal(copy / "model", open_bundle(copy).info.model_copy(update={"seed": seed}), "card")
    result = adapt_runs(tmp_path / "runs", tmp_path / "out")
    assert list(result.per_seed) == ["seed 3", "seed 11"]
    alone = adapt_runs(tiny_run.run, tmp_path / "alone").report
    for report in result.per_seed.values():
        assert report.metrics["n_clips"] == 2 * alone.metrics["n_clips"]
        assert report.metrics["uar"] == pytest.approx(alone.metrics["uar"])
    assert result.over_seeds.mean["uar"] == pytest.approx(alone.metrics["uar"])
    assert result.over_seeds.std["uar"] == 0.0
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written["protocol"] == result.per_seed["seed 3"].protocol and "seed 3" in written["protocol"]
    assert "the first of 2 folds pooled" in written["protocol"] and written["over_seeds"]["n_seeds"] == 2


def test_what_cannot_be_adapted_is_refused(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run.run, tmp_path / "run")
    lines = (run / "predictions.csv").read_text()
    (run / "predictions.csv").write_text(lines.replace(",synthetic04,", ",,"))
    with pytest.raises(InputError, match=r"the speaker of .* is unknown, so answers cannot be adapted"):
        adapt_runs(run, tmp_path / "out")
    (run / "predictions.csv").unlink()
    with pytest.raises(InputError, match="not the predictions of a run"):
        adapt_runs(run, tmp_path / "out")
    seal(run / "model", open_bundle(run).info.model_copy(update={"mean_log_probabilities": None}), "card")
    with pytest.raises(ModelError, match="does not say what it answers on average"):
        adapt_runs(run, tmp_path / "out")

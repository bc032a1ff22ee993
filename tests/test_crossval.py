"""All folds of a protocol, pooled, gone on with where they stopped, and done again where anything changed."""

import contextlib
import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from listeners import Listener
from undrawn import draw_no_examples

from emogram import crossval as crossvalidation
from emogram import jobs, metrics, protocols, resuming
from emogram import train as training
from emogram.bundle import open_bundle
from emogram.checkpoints import Checkpoints
from emogram.config import RunConfig, read_toml
from emogram.crossval import crossval
from emogram.dataset import load_dataset
from emogram.errors import EmogramError, SettingsError
from emogram.evaluate import evaluate_predictions
from emogram.judging import read_run
from emogram.protocols import Fold, Protocol
from emogram.splits import make_split
from emogram.trackers import NO_TRACKERS
from emogram.train import train
from emogram.writers import read_history

LABELS = ("angry", "calm", "happy", "sad")
OWN = Protocol(
    "own", "synthetic-voices",
    (Fold(test=("synthetic01", "synthetic02"), validation=("synthetic03",)),
     Fold(test=("synthetic03", "synthetic04"), validation=("synthetic02",))),
    0.0, "own protocol: two folds by speaker",
)  # fmt: skip


@pytest.fixture(scope="module")
def own_protocol():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(protocols.PROTOCOLS, "own", OWN)
        yield OWN


@pytest.fixture(scope="module")
def config(settings_of):
    return settings_of(train={"epochs": 1}, split={"validation_speakers": [], "test_speakers": []})


@pytest.fixture(scope="module")
def finished(own_protocol, voices_corpus, config, tmp_path_factory):
    """Both folds of the own protocol, done one after the other."""
    out, progress = tmp_path_factory.mktemp("crossval"), Listener()
    with pytest.MonkeyPatch.context() as patch:
        draw_no_examples(patch)
        return crossval(voices_corpus, config, out, protocol="own", jobs=1, progress=progress), out, progress


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished folder, to be changed."""
    shutil.copytree(finished[1], tmp_path / "copy")
    return tmp_path / "copy"


class TrainedError(EmogramError):
    """Raised in place of a training."""


@pytest.fixture
def trained(monkeypatch, without_plots):
    """Instead of training, keep the folder that would be trained in, and stop."""
    folders = []

    def spy(corpus, config, out, **_):
        folders.append(f"{out.parent.name}/{out.name}")
        raise TrainedError("trained")

    monkeypatch.setattr(jobs, "train", spy)
    return folders


# ---------------------------------------------------------------- what comes out


def test_every_clip_of_the_test_folds_is_judged_once_by_a_model_that_never_heard_it(finished, voices_corpus):
    result, out, _ = finished
    assert result.report.metrics["n_clips"] == 32
    assert set(result.report.per_group["speaker"]) == {f"synthetic0{i}" for i in (1, 2, 3, 4)}
    for fold, parts in enumerate(OWN.folds):
        split = open_bundle(out / "seed-0" / f"fold-{fold}").info.split
        assert tuple(split["test_speakers"]) == parts.test
        assert tuple(split["validation_speakers"]) == parts.validation
        assert not set(split["train_speakers"]) & {*parts.test, *parts.validation}
        settings = RunConfig.from_dict(read_toml(out / "seed-0" / f"fold-{fold}" / "config.toml"))
        assert (settings.split.protocol, settings.split.fold, settings.train.seed) == ("own", fold, 0)


def test_the_pooled_report_is_that_of_all_predictions_together(finished, voices_corpus, config):
    result, out, _ = finished
    dataset = load_dataset(voices_corpus, config.spectrogram, workers=1)
    clips, rows = [], []
    for fold in (0, 1):
        split = make_split(dataset, config.split.model_copy(update={"protocol": "own", "fold": fold}))
        tested = [dataset.clips[i] for i in split.test]
        clips += tested
        rows.append(read_run(out / "seed-0" / f"fold-{fold}", tested, LABELS).probabilities)
    targets = np.asarray([LABELS.index(clip.label) for clip in clips])
    expected = metrics.judge(targets, np.concatenate(rows), LABELS, clips, protocol="")
    assert result.report.confusion == expected.confusion
    for name, value in expected.metrics.items():
        assert result.report.metrics[name] == pytest.approx(value)
    assert result.report.intervals == expected.intervals
    assert "own protocol: two folds by speaker; pooled over 2 folds; seed 0" in result.report.protocol
    assert result.over_seeds.mean["uar"] == pytest.approx(expected.metrics["uar"])
    assert result.over_seeds.std["uar"] == 0
    assert result.per_seed == (result.report,)


def test_the_summary_holds_the_pooled_report_and_each_fold(finished):
    result, out, _ = finished
    written = json.loads((out / "metrics.json").read_text())
    assert written["metrics"] == pytest.approx(dict(result.report.metrics))
    assert written["over_seeds"]["mean"] == pytest.approx(dict(result.over_seeds.mean))
    assert set(written["per_fold"]) == {"seed-0/fold-0", "seed-0/fold-1"}
    assert all(fold["n_clips"] == 16 for fold in written["per_fold"].values())
    assert set(written["per_seed"]) == {"seed 0"}
    assert (out / "predictions.csv").read_text().count("\n") == 33
    assert (out / "plots" / "confusion_matrix.png").is_file()


@pytest.mark.usefixtures("without_plots")
def test_the_pooled_predictions_give_every_figure_again_wherever_they_lie(finished, voices_folder, tmp_path):
    result, out, _ = finished
    with (out / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["seed"] for row in rows} == {"0"} and {row["fold"] for row in rows} == {"0", "1"}
    assert all((voices_folder / row["file"]).is_file() and not Path(row["file"]).is_absolute() for row in rows)
    shutil.copy(out / "predictions.csv", tmp_path / "stored.csv")
    again = evaluate_predictions([tmp_path / "stored.csv"], tmp_path / "again")
    assert again.report.confusion == result.report.confusion
    for name, value in result.report.metrics.items():
        assert again.report.metrics[name] == pytest.approx(value, abs=1e-5)
    assert again.report.intervals["uar"] == pytest.approx(result.report.intervals["uar"])
    assert again.report.per_group == result.report.per_group


def test_progress_counts_folds_and_tells_each(finished):
    _, _, progress = finished
    assert progress.totals["cross-validating"] == progress.steps["cross-validating"] == 2
    assert [line for line in progress.lines if line.startswith("seed-0/fold-0  UAR ")]
    assert sum(line.startswith("epoch   1/1") for line in progress.lines) == 2


# ---------------------------------------------------------------- going on


def test_what_is_done_is_not_done_again_and_gives_the_same_report(finished, voices_corpus, config, trained):
    before, out, _ = finished
    files = sorted((out / "seed-0").rglob("*.keras"))
    times = [file.stat().st_mtime_ns for file in files]
    metrics_before = (out / "metrics.json").read_text()
    progress = Listener()
    after = crossval(voices_corpus, config, out, protocol="own", jobs=1, progress=progress)
    assert trained == []
    assert "2 of 2 folds are done already, with the same settings and clips" in progress.lines
    assert [file.stat().st_mtime_ns for file in files] == times
    assert after.report == before.report
    assert (out / "metrics.json").read_text() == metrics_before


def goes_on_with(voices_corpus, config, out, trained, **arguments):
    """The first fold that is trained when the same call is made again, or None."""
    trained.clear()
    with contextlib.suppress(TrainedError):
        crossval(voices_corpus, config, out, protocol="own", jobs=1, **arguments)
    return trained[0] if trained else None


def test_changed_settings_are_trained_anew(voices_corpus, config, copy, trained):
    changed = config.model_copy(update={"train": config.train.model_copy(update={"label_smoothing": 0.3})})
    assert goes_on_with(voices_corpus, changed, copy, trained) == "seed-0/fold-0"
    assert goes_on_with(voices_corpus, config, copy, trained) is None


def test_another_seed_is_another_training_beside_the_first(voices_corpus, config, copy, trained):
    assert goes_on_with(voices_corpus, config, copy, trained, seeds=(0, 7)) == "seed-7/fold-0"


@pytest.mark.parametrize("file", ["config.toml", "predictions.csv", "model/SHA256SUMS", "model/model.onnx"])
def test_a_fold_that_lacks_a_file_is_done_again(voices_corpus, config, copy, trained, file):
    (copy / "seed-0" / "fold-1" / file).unlink()
    assert goes_on_with(voices_corpus, config, copy, trained) == "seed-0/fold-1"


def test_a_fold_cut_short_in_its_predictions_is_done_again(voices_corpus, config, copy, trained):
    path = copy / "seed-0" / "fold-1" / "predictions.csv"
    path.write_text(path.read_text().rstrip().rsplit(",", 1)[0])
    assert goes_on_with(voices_corpus, config, copy, trained) == "seed-0/fold-1"


@pytest.mark.parametrize("speaker", ["synthetic01", "synthetic03", "synthetic04"])
def test_one_changed_sound_of_any_part_makes_both_folds_anew(
    voices_corpus, config, copy, trained, speaker, monkeypatch
):
    """A clip that is tested in one fold trains in another; either is another training."""
    whole = load_dataset(voices_corpus, config.spectrogram, workers=1)
    place = next(i for i, clip in enumerate(whole.clips) if clip.speaker == speaker)
    samples = list(whole.samples)
    samples[place] = dataclasses.replace(samples[place], content="another sound")
    changed = dataclasses.replace(whole, samples=tuple(samples))
    monkeypatch.setattr(crossvalidation, "load_training", lambda *_, **__: changed)
    progress = Listener()
    assert goes_on_with(voices_corpus, config, copy, trained, progress=progress) == "seed-0/fold-0"
    assert not [line for line in progress.lines if "done already" in line]


def test_fewer_clips_make_the_folds_anew(voices_corpus, config, copy, trained):
    fewer = dataclasses.replace(voices_corpus, clips=voices_corpus.clips[1:])
    assert goes_on_with(fewer, config, copy, trained) == "seed-0/fold-0"


def test_a_training_that_died_does_not_make_the_old_model_pass_for_the_new(
    voices_corpus, config, copy, trained, monkeypatch
):
    """With new settings over finished folds, killed before the first epoch was over."""
    changed = config.model_copy(update={"train": config.train.model_copy(update={"label_smoothing": 0.3})})

    def killed(*_arguments, **_named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "train", train)
        patch.setattr(training, "fit", killed)
        with pytest.raises(KeyboardInterrupt):
            crossval(voices_corpus, changed, copy, protocol="own", jobs=1)
    assert goes_on_with(voices_corpus, changed, copy, trained) == "seed-0/fold-0"
    assert goes_on_with(voices_corpus, config, copy, trained) is None, "what was finished before still is"


def test_an_interrupted_fold_is_not_done(own_protocol, voices_corpus, config, tmp_path, monkeypatch, trained):
    """Ctrl-C leaves a sealed and judged model, of too few epochs to be pooled with others."""
    config = config.model_copy(update={"train": config.train.model_copy(update={"epochs": 5})})
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "train", train)
        with pytest.raises(KeyboardInterrupt):
            crossval(
                voices_corpus, config, tmp_path, protocol="own", jobs=1, progress=Listener(interrupt_at="epoch   1/5")
            )
    assert open_bundle(tmp_path / "seed-0" / "fold-0").info.metrics["n_clips"] == 16
    assert goes_on_with(voices_corpus, config, tmp_path, trained) == "seed-0/fold-0"


def test_an_interrupted_fold_goes_on_and_with_other_settings_begins_anew(
    own_protocol, voices_corpus, config, tmp_path, monkeypatch, trained
):
    monkeypatch.setattr(resuming, "SHARE_OF_TIME", float("inf"))
    config = config.model_copy(update={"train": config.train.model_copy(update={"epochs": 3})})
    fold = tmp_path / "seed-0" / "fold-0"
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "train", train)
        with pytest.raises(KeyboardInterrupt):
            crossval(
                voices_corpus, config, tmp_path, protocol="own", jobs=1, progress=Listener(interrupt_at="epoch   2/3")
            )
    monkeypatch.setattr(jobs, "train", train)
    settings = RunConfig.from_dict(Checkpoints(fold / "checkpoints").newest()[0].about["settings"])
    other = settings.model_copy(update={"train": settings.train.model_copy(update={"epochs": 1})})
    shutil.copytree(fold, tmp_path / "other")
    progress = Listener()
    jobs.train_whole(voices_corpus, settings, fold, cache=None, trackers=NO_TRACKERS, progress=progress)
    assert "going on after epoch 2 of 3" in progress.lines
    assert len(read_history(fold / "history.csv")["epoch"]) == 3
    progress = Listener()
    jobs.train_whole(voices_corpus, other, tmp_path / "other", cache=None, trackers=NO_TRACKERS, progress=progress)
    assert any("train.epochs was 3 and is 1" in line and "begins anew" in line for line in progress.lines)
    assert len(read_history(tmp_path / "other" / "history.csv")["epoch"]) == 1


def test_a_failing_fold_is_said_and_the_finished_ones_are_kept(
    own_protocol, voices_corpus, config, copy, monkeypatch, trained
):
    shutil.rmtree(copy / "seed-0" / "fold-1")
    with pytest.raises(EmogramError, match="trained"):
        crossval(voices_corpus, config, copy, protocol="own", jobs=1)
    assert open_bundle(copy / "seed-0" / "fold-0").info.metrics["n_clips"] == 16


# ---------------------------------------------------------------- refusals


def test_unknown_protocols_are_refused_before_anything_is_read(voices_corpus, config, tmp_path, monkeypatch):
    monkeypatch.setattr(crossvalidation, "load_training", None)
    with pytest.raises(SettingsError, match="unknown protocol 'p9'"):
        crossval(voices_corpus, config, tmp_path, protocol="p9")


def test_a_protocol_for_another_corpus_is_refused_before_training(voices_corpus, config, tmp_path, trained):
    with pytest.raises(SettingsError, match="ravdess-si5 is for the corpus 'ravdess'; this is synthetic-voices"):
        crossval(voices_corpus, config, tmp_path, protocol="ravdess-si5")
    assert trained == [] and list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- several processes


@pytest.fixture
def one_thread():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread", "without_plots")
def test_two_processes_give_what_one_gives_and_seeds_are_summed_up(voices_corpus, config, tmp_path):
    """RANDOM80 is one fold; two seeds are two trainings, side by side."""
    progress = Listener()
    result = crossval(
        voices_corpus, config, tmp_path / "two", protocol="random80", seeds=(4, 5), jobs=2, progress=progress
    )
    settings = config.model_copy(
        update={
            "train": config.train.model_copy(update={"seed": 5}),
            "split": config.split.model_copy(update={"protocol": "random80"}),
        }
    )
    alone = train(voices_corpus, settings, tmp_path / "one", workers=1)
    there, here = (
        (folder / "predictions.csv").read_text()
        for folder in (tmp_path / "two" / "seed-5" / "fold-0", tmp_path / "one")
    )
    assert there == here
    assert result.per_seed[1].confusion == alone.report.confusion
    scores = [report.metrics["uar"] for report in result.per_seed]
    assert result.over_seeds.mean["uar"] == pytest.approx(sum(scores) / 2)
    assert result.over_seeds.std["uar"] == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5)  # n - 1 = 1
    assert result.report == result.per_seed[0]
    assert "random split, speakers shared" in result.report.protocol
    assert any("random split, speakers shared" in warning for warning in result.warnings)
    written = json.loads((tmp_path / "two" / "metrics.json").read_text())
    assert set(written["per_seed"]) == {"seed 4", "seed 5"}
    assert written["metrics"] == pytest.approx(dict(result.per_seed[0].metrics)), "the first seed stands on disk"
    # What happens in the other processes is told in this one.
    assert sum(line.startswith("epoch   1/1") for line in progress.lines) == 2
    assert progress.steps["training"] == 2 * 26
    assert progress.steps["cross-validating"] == 2

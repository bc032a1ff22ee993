"""What may be searched, and what is said of a space that no trial could use; whom a fold never reads."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from emogram.config import RunConfig, SplitConfig
from emogram.dataset import load_dataset
from emogram.errors import SettingsError
from emogram.protocols import PROTOCOLS, Fold, Protocol
from emogram.splits import make_split
from emogram.tuning import Choices, Range, folds_of, read_space

pytest.importorskip("optuna")


@pytest.fixture
def read(tmp_path):
    """Read a space from text."""

    def read(text):
        path = tmp_path / "space.toml"
        path.write_text(text, encoding="utf-8")
        return read_space(path)

    return read


# ---------------------------------------------------------------- what a file means


def test_ranges_and_choices_are_what_the_file_says_and_what_optuna_draws_from(read):
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    space = read(
        "[train]\nlearning_rate = { low = 1e-4, high = 1e-2, log = true }\nepochs = { low = 4, high = 10, step = 3 }\n"
        'optimizer = ["adam", "muon"]\nclass_weights = [true, false]\n'
        "[network]\ndropout = { low = 0, high = 0.5, step = 0.1 }\n"
        '[augment]\nhard_classes = [[], ["sad", "happy"]]\n'
    )
    assert space.dimensions["train.learning_rate"] == Range(1e-4, 1e-2, log=True, step=None, whole=False)
    assert space.dimensions["train.optimizer"] == Choices(("adam", "muon"))
    assert space.distributions() == {
        "train.learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
        "train.epochs": IntDistribution(4, 10, step=3),
        "train.optimizer": CategoricalDistribution(["adam", "muon"]),
        "train.class_weights": CategoricalDistribution([True, False]),
        "network.dropout": FloatDistribution(0.0, 0.5, step=0.1),
        "augment.hard_classes": CategoricalDistribution(["[]", '["sad", "happy"]']),
    }
    assert space.most("train.epochs", 99) == 10
    assert space.most("train.batch_size", 99) == 99
    assert read_dict(space) == {"learning_rate", "epochs", "optimizer", "class_weights"}


def read_dict(space):
    return set(space.to_dict()["train"])


def test_lists_of_words_come_back_as_lists_and_make_settings(read):
    space = read('[augment]\nhard_classes = [[], ["sad", "happy"]]\n[train]\nbatch_size = [8, 16]\n')
    values = {"augment.hard_classes": ["sad", "happy"], "train.batch_size": 8}
    assert space.meant(space.stored(values)) == values
    config = space.settings(RunConfig(), values)
    assert (config.augment.hard_classes, config.train.batch_size) == (("sad", "happy"), 8)
    assert config.network == RunConfig().network


def test_the_space_that_ships_holds_the_defaults_so_that_they_are_tried_first():
    values, outside = read_space().values_of(RunConfig())
    assert outside == []
    assert values["train.learning_rate"] == RunConfig().train.learning_rate


def test_settings_outside_the_space_are_named(read):
    space = read("[network]\ndropout = { low = 0.0, high = 0.3, step = 0.1 }\n[train]\nbatch_size = [8, 32]\n")
    assert space.values_of(RunConfig())[1] == ["network.dropout"]
    near = RunConfig.from_dict({"network": {"dropout": 0.25}})
    assert space.values_of(near)[1] == ["network.dropout"], "between two steps"
    assert space.values_of(RunConfig.from_dict({"network": {"dropout": 0.2}}))[1] == []


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[train]\nlearning_rat = [1, 2]", r"unknown setting 'learning_rat' in \[train\].*'learning_rate'"),
        ("[train]\ndropout = [0.1, 0.2]", r"it belongs in \[network\]"),
        ("[trian]\nepochs = [1, 2]", r"unknown section \[trian\], did you mean \[train\]\?"),
        ("[train]\nlearning_rate = { low = 1e-4, hihg = 1 }", "unknown 'hihg', did you mean 'high'?"),
        ("[train]\nlearning_rate = { low = 1e-4 }", "'high' is missing"),
        ("[train]\nlearning_rate = { low = 0.1, high = 0.01 }", r"low \(0.1\) must lie below high \(0.01\)"),
        ("[network]\ndropout = { low = 0.0, high = 0.5, log = true }", "low must be above 0"),
        ("[network]\ndropout = { low = 0.1, high = 0.5, log = 1 }", "log is true or false"),
        ("[network]\ndropout = { low = 0.1, high = 0.5, log = true, step = 0.1 }", "both log and step"),
        ("[network]\ndropout = { low = 0.1, high = 1.5 }", "less than 1, found 1.5"),
        ("[train]\nepochs = { low = 1, high = 8, step = 3 }", "steps of 3 from 1 do not come to 8; say high = 7"),
        ("[train]\nepochs = { low = 1, high = 8, step = 0.5 }", "step is a whole number above 0"),
        ("[train]\nepochs = { low = 1.5, high = 8 }", "found 1.5"),
        ("[train]\noptimizer = { low = 1, high = 8 }", "has no range; expected a list of choices"),
        ('[train]\noptimizer = ["adam", "adamm"]', "found 'adamm'"),
        ("[train]\nbatch_size = [8, 8]", "two choices or more, each once"),
        ("[train]\nbatch_size = [8]", "two choices or more"),
        ("[train]\nbatch_size = 8", "8 is one value; .* belongs into --config"),
        ("[train]\nbatch_size = [true, 8]", "found True"),
        ("[train]\nseed = [1, 2]", "seed: is not searched: a seed that happens to do well"),
        ("[split]\nvalidation_share = [0.1, 0.2]", "how clips are parted is not searched"),
        ("", "names no setting to search"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused_and_says_where(read, text, says):
    with pytest.raises(SettingsError, match=says):
        read(text)


def test_all_faults_of_a_space_are_named_at_once(read):
    with pytest.raises(SettingsError) as caught:
        read("[train]\nseed = [1, 2]\nbatch_size = 8\n[network]\ndropout = { low = 0.5, high = 0.1 }")
    assert all(name in str(caught.value) for name in ("[train] seed", "[train] batch_size", "[network] dropout"))


# ---------------------------------------------------------------- folds


OWN = Protocol(
    "own", "synthetic-voices",
    (Fold(test=("synthetic01", "synthetic02"), validation=("synthetic03",)),
     Fold(test=("synthetic03", "synthetic04"), validation=("synthetic02",))),
    0.0, "own protocol",
)  # fmt: skip


@pytest.mark.parametrize(
    "asked",
    [
        {"protocol": "own", "fold": 1},
        {"validation_speakers": ("synthetic03",), "test_speakers": ("synthetic04",)},
        {"split": "speaker", "split_seed": 3},
        {"protocol": "random80"},
    ],
)
def test_a_fold_has_the_training_and_validation_clips_of_the_split_and_none_that_judges(
    voices_corpus, voices_dataset, monkeypatch, asked
):
    monkeypatch.setitem(PROTOCOLS, "own", OWN)
    config = SplitConfig(**asked)
    whole = make_split(voices_dataset, config)
    numbers = [config.fold] if config.protocol == "own" else None
    (fold,) = folds_of(voices_corpus, config, numbers)
    dataset = load_dataset(fold.corpus, RunConfig().spectrogram, workers=1)
    split = make_split(dataset, fold.split)
    for part in ("train", "validation"):
        found = [dataset.clips[i].path for i in split.parts[part]]
        assert found == [voices_dataset.clips[i].path for i in whole.parts[part]]
    judging = {voices_dataset.clips[i].path for i in whole.test}
    assert not judging & {clip.path for clip in fold.corpus.clips}
    assert len(fold.corpus.clips) == len(voices_corpus.clips) - len(judging)
    assert set(fold.set_aside) == {voices_dataset.clips[i].speaker for i in whole.test}
    assert not set(fold.set_aside) & set(fold.choosing)
    assert len(split.test) == 0


def test_lists_are_parted_alike(voices_corpus, voices_dataset, tmp_path):
    lists = {}
    for part, speaker in (("validation", "synthetic01"), ("test", "synthetic02")):
        lists[f"{part}_list"] = tmp_path / f"{part}.txt"
        lists[f"{part}_list"].write_text(
            "\n".join(clip.path.name for clip in voices_corpus.clips if clip.speaker == speaker)
        )
    (fold,) = folds_of(voices_corpus, SplitConfig(**lists))
    dataset = load_dataset(fold.corpus, RunConfig().spectrogram, workers=1)
    split = make_split(dataset, fold.split)
    assert {dataset.clips[i].speaker for i in split.validation} == {"synthetic01"}
    assert {dataset.clips[i].speaker for i in split.train} == {"synthetic03", "synthetic04"}
    assert fold.set_aside == ("synthetic02",)


def test_a_corpus_that_only_trains_stays_whole(voices_corpus):
    half = [
        dataclasses.replace(clip, corpus="other" if clip.speaker in ("synthetic01", "synthetic02") else clip.corpus)
        for clip in voices_corpus.clips
    ]
    corpus = dataclasses.replace(voices_corpus, clips=tuple(half), training_only=frozenset({"other"}))
    (fold,) = folds_of(corpus, SplitConfig(validation_speakers=("synthetic03",), test_speakers=("synthetic04",)))
    dataset = load_dataset(fold.corpus, RunConfig().spectrogram, workers=1)
    split = make_split(dataset, fold.split)
    assert {dataset.clips[i].speaker for i in split.train} == {"synthetic01", "synthetic02"}
    assert (fold.choosing, fold.set_aside) == (("synthetic03",), ("synthetic04",))
    assert np.all([clip.speaker != "synthetic04" for clip in fold.corpus.clips])


def test_folds_that_are_not_there_are_refused(voices_corpus, monkeypatch):
    monkeypatch.setitem(PROTOCOLS, "own", OWN)
    assert [fold.number for fold in folds_of(voices_corpus, SplitConfig(protocol="own"))] == [0, 1]
    assert [fold.number for fold in folds_of(voices_corpus, SplitConfig(protocol="own"), [1, 1])] == [1]
    with pytest.raises(SettingsError, match="fold 2; protocol own has folds 0 to 1"):
        folds_of(voices_corpus, SplitConfig(protocol="own"), [0, 2])
    with pytest.raises(SettingsError, match="name one with --protocol"):
        folds_of(voices_corpus, SplitConfig(), [0])

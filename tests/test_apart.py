"""What corpora that may but train call their emotions is learnt beside, and no model keeps it."""

import dataclasses
import json

import numpy as np
import pytest

from emogram.apart import narrowed, widened, with_labels_apart
from emogram.backend import keras
from emogram.batches import TrainingBatches
from emogram.config import AugmentConfig, NetworkConfig, TrainConfig
from emogram.errors import SettingsError
from emogram.losses import IMPOSSIBLE
from emogram.network import InputShapes, build_network
from emogram.train import train

LABELS = ("angry", "calm", "happy", "sad")
OWN = TrainConfig(also_labels="own")


def of_two(dataset, training_only):
    clips = [dataclasses.replace(clip, corpus="main" if i < 4 else "more") for i, clip in enumerate(dataset.clips)]
    return dataclasses.replace(dataset, clips=tuple(clips), training_only=frozenset(training_only))


def test_labels_of_the_corpora_that_judge_keep_their_places_and_others_follow(make_dataset):
    plain = of_two(make_dataset([0, 1, 2, 3, 3, 0, 3, 0], labels=LABELS), {"more"})
    learnt = with_labels_apart(plain, OWN)
    assert learnt.labels == (*LABELS, "more:angry", "more:sad")
    assert learnt.targets.tolist() == [0, 1, 2, 3, 5, 4, 5, 4]
    assert learnt.clips == plain.clips
    assert with_labels_apart(plain, TrainConfig()) is plain
    alone = of_two(plain, ())
    assert with_labels_apart(alone, OWN) is alone


def test_no_clip_is_taught_anything_about_labels_of_another_corpus(make_dataset):
    plain = of_two(make_dataset([0, 1, 2, 3, 3, 0, 3, 0], labels=LABELS), {"more"})
    learnt = with_labels_apart(plain, OWN)
    settings = OWN.model_copy(update={"batch_size": 8, "train_frames": 0, "teacher_share": 0.5})

    def teach(batch):
        assert len(batch) == 4, "nobody is asked about the others"
        return np.tile(np.float32([0.4, 0.3, 0.2, 0.1]), (len(batch), 1))

    def targets(teach):
        batches = TrainingBatches(
            learnt, np.arange(8), train=settings, augmentation=AugmentConfig(), teach=teach, n_taught=4
        )
        return batches[0][1], np.random.default_rng((0, 0)).permutation(8)

    found, order = targets(None)
    taught, _ = targets(teach)
    for row, said, index in zip(found, taught, order, strict=True):
        mine = learnt.targets[index]
        own, other = (slice(0, 4), slice(4, 6)) if index < 4 else (slice(4, 6), slice(0, 4))
        assert (row[other] == IMPOSSIBLE).all() and (said[other] == IMPOSSIBLE).all()
        one_hot = np.eye(6, dtype=np.float32)[mine][own]
        np.testing.assert_array_equal(row[own], one_hot)
        wanted = (one_hot + np.asarray([0.4, 0.3, 0.2, 0.1])) / 2 if index < 4 else one_hot
        np.testing.assert_allclose(said[own], wanted, atol=1e-6)


@pytest.mark.parametrize("name", ["emonet", "baseline"])
def test_without_the_further_labels_the_others_answer_as_among_themselves(name):
    config = NetworkConfig(network=name, width=0.25)
    shapes = InputShapes((32, 64, 1))
    keras.utils.set_random_seed(0)
    wide, narrow = build_network(shapes, 7, config), build_network(shapes, 4, config)
    narrow.set_weights(narrowed(wide.get_weights(), narrow))
    batch = np.random.default_rng(0).random((3, 32, 64, 1), dtype=np.float32)
    both = wide.predict_on_batch(batch)[:, :4]
    among_four = both / both.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(narrow.predict_on_batch(batch), among_four, rtol=1e-4)

    other = build_network(shapes, 7, config)
    before = other.layers[-1].get_weights()[0]
    other.set_weights(widened(narrow.get_weights(), other))
    np.testing.assert_array_equal(other.layers[-1].get_weights()[0][:, 4:], before[:, 4:])
    for mine, theirs in zip(narrowed(other.get_weights(), narrow), narrow.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_labels_apart_need_their_mask():
    with pytest.raises(SettingsError, match="needs mask_missing_labels"):
        TrainConfig.from_dict({"also_labels": "own", "mask_missing_labels": False})


def test_a_model_knows_the_labels_of_its_own_corpus_alone(voices_corpus, settings_of, tmp_path, without_plots):
    """One of four speakers is a corpus of its own here, of two emotions."""
    first = voices_corpus.clips[0].speaker
    clips = [
        dataclasses.replace(clip, corpus="more") if clip.speaker == first else clip
        for clip in voices_corpus.clips
        if clip.speaker != first or clip.label in ("angry", "sad")
    ]
    licences = {**voices_corpus.licences, "more": "mine"}
    corpus = dataclasses.replace(
        voices_corpus, clips=tuple(clips), training_only=frozenset({"more"}), licences=licences
    )
    results = {}
    for name, settings in (("own", {"also_labels": "own", "also_clips": 2}), ("shared", {})):
        config = settings_of(train={"epochs": 2, "weight_average": 0.5, **settings})
        results[name] = train(corpus, config, tmp_path / name, workers=1)
    own, shared = results["own"], results["shared"]
    assert json.loads((own.run / "model" / "model.json").read_text())["labels"] == sorted(voices_corpus.labels)
    for name in ("history.csv", "predictions.csv"):
        header = [(each.run / name).read_text().splitlines()[0] for each in (own, shared)]
        assert header[0] == header[1], "nothing is told of the labels that are learnt beside"
    assert (own.run / "history.csv").read_text() != (shared.run / "history.csv").read_text()

"""Learning from trained models: which weights and answers are taken over, what is refused, what is written down."""

import dataclasses

import numpy as np
import pytest
import soundfile

from emogram.backend import keras
from emogram.bundle import Origin, TrainingCorpus, open_bundle
from emogram.callbacks import network_probabilities
from emogram.config import RunConfig
from emogram.errors import CorpusError, ModelError
from emogram.lineage import Lineage, corpora_before, known_before, open_lineage, says_lineage
from emogram.network import build_network
from emogram.pretraining import take_over
from emogram.splits import make_split
from emogram.train import describe_model, input_shapes, train


def renamed(dataset):
    """The same sounds, as if they were of another corpus."""
    clips = [dataclasses.replace(clip, corpus="other") for clip in dataset.clips]
    return dataclasses.replace(dataset, clips=tuple(clips))


def other_corpus(dataset):
    """Other recordings of another corpus, whose speakers have the same names."""
    samples = [dataclasses.replace(sample, content=f"other {sample.content}") for sample in dataset.samples]
    return dataclasses.replace(renamed(dataset), samples=tuple(samples))


@pytest.fixture
def starting(tiny_run, settings_of, voices_dataset):
    """Settings that start from `tiny_run`, with whatever a test wants otherwise -> the model, opened."""

    def open_it(dataset=None, **sections):
        config = settings_of(**{**sections, "train": {"init": tiny_run.run, **sections.get("train", {})}})
        dataset = dataset or other_corpus(voices_dataset)
        return open_lineage(config, dataset, make_split(dataset, config.split)).start

    return open_it


def test_without_a_model_training_starts_from_nothing(settings_of, voices_dataset):
    config = settings_of()
    assert open_lineage(config, voices_dataset, make_split(voices_dataset, config.split)) == Lineage()
    assert says_lineage(Lineage()) == ""


def test_with_the_same_labels_the_network_says_what_the_model_says(starting, tiny_run, voices_dataset, settings_of):
    keras.utils.set_random_seed(7)
    network = build_network(input_shapes(settings_of().spectrogram), 4, settings_of().network)
    take_over(starting(), network, voices_dataset.labels)
    trained = keras.saving.load_model(tiny_run.run / "model" / "best.keras", compile=False)
    some = np.arange(6)
    np.testing.assert_allclose(
        network_probabilities(network, voices_dataset, some), network_probabilities(trained, voices_dataset, some),
        atol=1e-6,
    )  # fmt: skip


def test_labels_that_both_know_are_taken_over_by_name_and_others_are_new(starting, tiny_run, settings_of):
    """The model knows angry, calm, happy, sad."""
    keras.utils.set_random_seed(7)
    network = build_network(input_shapes(settings_of().spectrogram), 3, settings_of().network)
    before = [weight.copy() for weight in network.get_layer("probabilities").get_weights()]
    take_over(starting(), network, ("calm", "fearful", "angry"))
    trained = keras.saving.load_model(tiny_run.run / "model" / "best.keras", compile=False)
    for new, old, random in zip(
        network.get_layer("probabilities").get_weights(),
        trained.get_layer("probabilities").get_weights(),
        before,
        strict=True,
    ):
        np.testing.assert_array_equal(new[..., 0], old[..., 1])
        np.testing.assert_array_equal(new[..., 1], random[..., 1])
        np.testing.assert_array_equal(new[..., 2], old[..., 0])


def test_what_only_holds_back_may_differ(starting):
    assert starting(network={"dropout": 0.1, "block_dropout": 0.0, "l2": 0.01}) is not None


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"spectrogram": {"n_mels": 48, "top_db": 70.0}},
         "spectrogram settings differ: n_mels is 64 there and 48 here; top_db is 60.0 there and 70.0 here; use its"),
        ({"network": {"width": 0.5}}, "network settings differ: width is 0.25 there and 0.5 here"),
        ({"network": {"network": "baseline"}}, "network is emonet there and baseline here"),
    ],
    ids=["spectrogram", "width", "network"],
)  # fmt: skip
def test_other_settings_are_refused_by_name(starting, voices_dataset, settings_of, sections, message):
    dataset = other_corpus(voices_dataset)
    if "spectrogram" in sections:
        dataset = dataclasses.replace(dataset, spectrogram=settings_of(**sections).spectrogram)
    with pytest.raises(ModelError, match=message):
        starting(dataset, **sections)


def test_speakers_who_were_heard_may_train_and_not_judge_or_choose(starting, voices_dataset):
    """The model was trained on 01 and 02, and chosen by 03."""
    swapped = {"validation_speakers": ["synthetic04"], "test_speakers": ["synthetic01"]}
    with pytest.raises(CorpusError, match="has heard synthetic-voices/synthetic01, and the test part is of voices"):
        starting(voices_dataset, split=swapped)
    with pytest.raises(CorpusError, match="has heard synthetic-voices/synthetic03, and the validation part"):
        starting(voices_dataset)
    judged_alone = {"validation_speakers": ["synthetic04"], "test_speakers": []}
    assert starting(voices_dataset, split=judged_alone) is not None
    assert starting(other_corpus(voices_dataset), split=swapped) is not None, "speaker 01 of another corpus is another"


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({}, r"of the validation part, 8 of 8 clips chose the epoch .*synthetic03_angry_01"),
        ({"validation_speakers": ["synthetic04"], "test_speakers": ["synthetic01"]},
         r"of the test part, 8 of 8 clips were trained on \(synthetic01_angry_01.*learn from a model that does"),
        ({"validation_speakers": [], "test_speakers": [], "split": "random"}, r"clips were trained on"),
    ],
    ids=["chose", "trained", "at random"],
)  # fmt: skip
def test_a_copy_of_what_it_heard_may_not_judge_or_choose_by_another_name(starting, voices_dataset, split, message):
    with pytest.raises(CorpusError, match=message):
        starting(renamed(voices_dataset), **({"split": split} if split else {}))
    judged_alone = {"validation_speakers": ["synthetic04"], "test_speakers": []}
    assert starting(renamed(voices_dataset), split=judged_alone) is not None, "they may train"


def test_unknown_speakers_of_a_corpus_that_was_trained_on_are_refused(starting, voices_dataset):
    clips = tuple(dataclasses.replace(clip, speaker=None) for clip in voices_dataset.clips)
    at_random = {"validation_speakers": [], "test_speakers": [], "split": "random"}
    with pytest.raises(CorpusError, match="was trained on synthetic-voices, and the speakers of the validation part"):
        starting(dataclasses.replace(voices_dataset, clips=clips), split=at_random)


def test_what_the_models_before_heard_is_remembered(starting, tiny_run):
    info = open_bundle(tiny_run.run).info
    assert info.heard("train") == {"synthetic-voices/synthetic01", "synthetic-voices/synthetic02"}
    later = info.model_copy(
        update={"init": Origin(model_id="x", sha256="0", heard=("nemo/EB0",)), "split": {
            "corpora": ["a", "b"], "train_speakers": ["a/1"], "validation_speakers": ["b/1"]}}
    )  # fmt: skip
    assert later.heard("train") == {"a/1", "nemo/EB0"}
    assert later.heard("train", "validation") == {"a/1", "b/1", "nemo/EB0"}


def test_the_bundle_names_the_model_and_corpora_it_started_from(starting, voices_corpus, voices_dataset, settings_of):
    start = starting()
    dataset, config = other_corpus(voices_dataset), settings_of()
    corpus = dataclasses.replace(voices_corpus, name="other", clips=dataset.clips, licences={"other": "free"})
    info = describe_model(corpus, dataset, make_split(dataset, config.split), config, lineage=Lineage(start))
    assert [(one.corpus, one.licence, one.pretraining) for one in info.trained_on] == [
        ("other", "free", False), ("synthetic-voices", "unknown", True)]  # fmt: skip
    assert (info.init.model_id, info.init.sha256) == ("emogram-emonet-synthetic-voices", start.sha256)
    assert info.init.heard == tuple(f"synthetic-voices/synthetic0{i}" for i in (1, 2, 3))
    assert info.protocol.endswith("; started from a model trained on synthetic-voices")
    assert info.heard("train") == {*info.init.heard, "other/synthetic01", "other/synthetic02"}
    assert corpora_before(Lineage(start), ()) == (
        TrainingCorpus.model_validate({**start.info.trained_on[0].model_dump(), "pretraining": True}),)  # fmt: skip


@pytest.mark.usefixtures("without_plots")
def test_training_starts_where_the_model_stopped(tiny_run, voices_corpus, settings_of, tmp_path):
    """At a vanishing learning rate the network stays what it was; batch normalisation alone moves."""
    clips = []
    for number, clip in enumerate(voices_corpus.clips):
        waveform, sample_rate = soundfile.read(clip.path)
        soundfile.write(tmp_path / clip.path.name, 0.5 * waveform[number:], sample_rate)
        clips.append(dataclasses.replace(clip, corpus="other", path=tmp_path / clip.path.name))
    corpus = dataclasses.replace(voices_corpus, name="other", clips=tuple(clips))
    config = settings_of(train={"init": tiny_run.run, "epochs": 1, "learning_rate": 1e-12})
    result = train(corpus, config, tmp_path / "run", workers=1)
    before, after = (
        keras.saving.load_model(run / "model" / "best.keras", compile=False).get_layer("probabilities").get_weights()
        for run in (tiny_run.run, tmp_path / "run")
    )
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert "started from a model trained on synthetic-voices" in result.report.protocol
    assert open_bundle(tmp_path / "run").info.init.sha256 == open_bundle(tiny_run.run).sha256
    assert RunConfig.from_dict(config.to_dict()) == config


# ---------------------------------------------------------------- teachers


@pytest.fixture
def taught(tiny_run, settings_of, voices_dataset):
    """Settings of a pupil of `tiny_run`, with whatever a test wants otherwise -> its lineage."""

    def open_it(dataset=None, **sections):
        config = settings_of(**{**sections, "train": {"teachers": [tiny_run.run], **sections.get("train", {})}})
        dataset = dataset or voices_dataset
        return open_lineage(config, dataset, make_split(dataset, config.split))

    return open_it


def test_a_teacher_of_the_same_split_is_taken_and_remembered(taught, tiny_run, voices_dataset):
    lineage = taught()
    known = open_bundle(tiny_run.run).known_clips()
    assert lineage.start is None and [one.sha256 for one in lineage.models] == [open_bundle(tiny_run.run).sha256]
    assert known_before(lineage) == known
    assert says_lineage(lineage) == "; taught by 1 model trained on synthetic-voices"
    assert corpora_before(lineage, lineage.teachers[0].info.trained_on) == (), "the clips that train the pupil too"
    assert [one.pretraining for one in corpora_before(lineage, ())] == [True]


def test_who_taught_must_not_have_heard_who_judges_or_chooses(taught):
    """The teacher was trained on 01 and 02, and chosen by 03."""
    with pytest.raises(CorpusError, match="has heard synthetic-voices/synthetic03, and the test part is of voices"):
        taught(split={"validation_speakers": ["synthetic04"], "test_speakers": ["synthetic03"]})
    with pytest.raises(CorpusError, match="has heard synthetic-voices/synthetic02, and the validation part is of voic"):
        taught(split={"validation_speakers": ["synthetic02"], "test_speakers": ["synthetic04"]})
    with pytest.raises(CorpusError, match="has heard synthetic-voices/synthetic01, and the test part is of voices"):
        taught(split={"validation_speakers": ["synthetic03"], "test_speakers": ["synthetic01"]})


def test_who_taught_must_not_have_heard_who_judges_by_another_name(taught, voices_dataset):
    copy = renamed(voices_dataset)
    with pytest.raises(CorpusError, match="of the test part, 8 of 8 clips chose the epoch"):
        taught(copy, split={"validation_speakers": ["synthetic04"], "test_speakers": ["synthetic03"]})
    with pytest.raises(CorpusError, match="of the validation part, 8 of 8 clips were trained on"):
        taught(copy, split={"validation_speakers": ["synthetic02"], "test_speakers": ["synthetic04"]})
    assert taught(copy).teachers, "who chose the teacher chooses"


def test_other_labels_or_spectrograms_cannot_be_taught(taught, voices_dataset, settings_of):
    other = dataclasses.replace(voices_dataset, labels=("angry", "calm", "happy", "neutral"))
    with pytest.raises(ModelError, match="knows angry, calm, happy, sad, and the corpus has angry, calm, happy, neut"):
        taught(other)
    settings = {"spectrogram": {"n_mels": 48}}
    dataset = dataclasses.replace(voices_dataset, spectrogram=settings_of(**settings).spectrogram)
    with pytest.raises(ModelError, match="its answers cannot be learnt, its spectrogram settings differ: n_mels is 64"):
        taught(dataset, **settings)


def test_a_pupil_may_be_given_bands_of_periodicity_that_its_teacher_does_not_take(taught, voices_dataset, settings_of):
    more = {"spectrogram": {"periodicity_bands": 16}}
    dataset = dataclasses.replace(voices_dataset, spectrogram=settings_of(**more).spectrogram)
    assert len(taught(dataset, **more).teachers) == 1


def test_of_a_cross_validation_the_models_of_the_same_fold_teach(tiny_run, taught, tmp_path):
    for seed, fold in ((1, 0), (0, 0), (0, 1)):
        folder = tmp_path / f"seed-{seed}"
        folder.mkdir(exist_ok=True)
        (folder / f"fold-{fold}").symlink_to(tiny_run.run)
    lineage = taught(train={"teachers": [tmp_path]})
    folders = [str(one.folder.relative_to(tmp_path)) for one in lineage.teachers]
    assert folders == ["seed-0/fold-0/model", "seed-1/fold-0/model"]


@pytest.mark.usefixtures("without_plots")
def test_a_pupil_that_listens_to_its_teacher_alone_learns_no_label(tiny_run, voices_corpus, settings_of, tmp_path):
    """Two roads: with shuffled labels and nothing but the teacher's answers, the same network comes out."""
    config = settings_of(train={"teachers": [tiny_run.run], "teacher_share": 1.0, "epochs": 1, "class_weights": False})
    first = train(voices_corpus, config, tmp_path / "first", workers=1)
    info = open_bundle(first.run).info
    assert [one.sha256 for one in info.teachers] == [open_bundle(tiny_run.run).sha256]
    assert info.heard("train") == {f"synthetic-voices/synthetic0{i}" for i in (1, 2, 3)}, "who chose a teacher, too"
    assert "taught by 1 model trained on synthetic-voices" in first.report.protocol
    assert info.trained_on == open_bundle(tiny_run.run).info.trained_on
    others = {"angry": "calm", "calm": "happy", "happy": "sad", "sad": "angry"}
    clips = tuple(
        dataclasses.replace(clip, label=others[clip.label]) if clip.speaker in ("synthetic01", "synthetic02") else clip
        for clip in voices_corpus.clips
    )
    second = train(dataclasses.replace(voices_corpus, clips=clips), config, tmp_path / "second", workers=1)
    one, other = (
        keras.saving.load_model(run.run / "model" / "best.keras", compile=False).get_weights()
        for run in (first, second)
    )
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, theirs)

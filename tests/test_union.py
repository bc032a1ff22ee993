"""Several corpora as one: who is who, which labels, whose licence, and who may judge."""

import dataclasses

import numpy as np
import pytest

from emogram import evaluate as evaluation
from emogram.config import SplitConfig
from emogram.corpora import find_corpora, find_corpus, join_corpora
from emogram.errors import CorpusError, SettingsError
from emogram.splits import describe_split, make_split


@pytest.fixture
def folders(tmp_path):
    """Empty files of RAVDESS (angry, calm), nEMO (angry, sad) and a folder of classes (sad, bored)."""
    names = {
        "one": [f"03-01-0{emotion}-01-01-01-{actor:02d}.wav" for emotion in (2, 5) for actor in (1, 2, 3)],
        "two": [f"{who}_{emotion}_1.wav" for who in ("EB0", "IC0") for emotion in ("anger", "sadness")],
        "mine": ["sad/a.wav", "sad/b.wav", "bored/c.wav"],
    }
    for folder, files in names.items():
        for file in files:
            (tmp_path / folder / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / file).touch()
    return tmp_path


def test_a_union_has_all_clips_and_labels_and_each_licence(folders):
    joined = find_corpora([folders / "one", folders / "two", folders / "mine"])
    assert joined.name == "ravdess+nemo+mine"
    assert [clip.corpus for clip in joined.clips] == ["ravdess"] * 6 + ["nemo"] * 4 + ["mine"] * 3
    assert joined.labels == ("angry", "calm", "sad", "bored")
    assert joined.licences == {"ravdess": "CC BY-NC-SA 4.0", "nemo": "CC BY-NC-SA 4.0", "mine": "unknown"}
    assert joined.licence == "ravdess: CC BY-NC-SA 4.0; nemo: CC BY-NC-SA 4.0; mine: unknown"
    assert joined.training_only == frozenset()


def test_one_corpus_is_itself(folders):
    assert find_corpora([folders / "one"]) == find_corpus(folders / "one")


def test_corpora_that_are_added_may_but_train(folders):
    joined = find_corpora([folders / "one"], also=[folders / "two", folders / "mine"])
    assert joined.training_only == {"nemo", "mine"} and len(joined.clips) == 13


def test_what_is_odd_in_a_corpus_is_said_with_its_name(folders):
    (folders / "two" / "note.wav").touch()
    named = find_corpus(folders / "two", name="nemo")
    (warning,) = join_corpora([find_corpus(folders / "one"), named]).warnings
    assert warning.startswith("nemo: 1 file not named as in nemo left out")


def test_two_corpora_of_one_name_are_refused(folders):
    one = find_corpus(folders / "one")
    with pytest.raises(CorpusError, match=r"one and .*one are both called 'ravdess', so their speakers could not be"):
        join_corpora([one], also=[one])


def test_pictures_are_refused(folders):
    pictures = dataclasses.replace(find_corpus(folders / "one"), kind="picture")
    with pytest.raises(CorpusError, match="one: holds pictures, and only corpora of sound can be joined"):
        join_corpora([find_corpus(folders / "two"), pictures])


def test_one_name_for_two_corpora_is_refused(folders):
    with pytest.raises(SettingsError, match="one name, 'ravdess', for 2 corpora"):
        find_corpora([folders / "one", folders / "two"], name="ravdess")


# ---------------------------------------------------------------- splits of a union


@pytest.fixture
def joined(make_dataset):
    """Ten speakers of "main" and three of "more" say four labels twice; "more" may but train. Mixed up."""
    n = 80 + 24
    speakers = [f"{i // 8:02d}" for i in range(80)] + [f"{i // 8:02d}" for i in range(24)]
    dataset = make_dataset([i % 4 for i in range(n)], speakers=speakers, n_frames=1)
    clips = [dataclasses.replace(clip, corpus="main" if i < 80 else "more") for i, clip in enumerate(dataset.clips)]
    dataset = dataclasses.replace(dataset, clips=tuple(clips), training_only=frozenset({"more"}))
    return dataset.select(np.random.default_rng(0).permutation(n))


@pytest.mark.parametrize(
    "asked",
    [{}, {"split": "random"}, {"protocol": "random80"}, {"validation_speakers": ["01"], "test_speakers": ["02", "04"]}],
    ids=["speakers", "random", "protocol", "given"],
)
def test_the_rest_is_parted_as_it_would_be_alone_and_the_added_corpus_trains(joined, asked):
    config = SplitConfig.from_dict(asked)
    split = make_split(joined, config)
    of_main = np.flatnonzero([clip.corpus == "main" for clip in joined.clips])
    alone = make_split(dataclasses.replace(joined.select(of_main), training_only=frozenset()), config)
    np.testing.assert_array_equal(split.validation, of_main[alone.validation])
    np.testing.assert_array_equal(split.test, of_main[alone.test])
    np.testing.assert_array_equal(split.train, sorted({*of_main[alone.train], *range(len(joined))} - {
        *split.validation, *split.test}))  # fmt: skip
    assert split.protocol == f"{alone.protocol}; also trained on more"


def test_the_same_recording_in_an_added_corpus_and_a_judging_part_is_refused(joined):
    place = {corpus: [i for i, c in enumerate(joined.clips) if c.corpus == corpus] for corpus in ("main", "more")}
    tested = next(i for i in place["main"] if joined.clips[i].speaker == "02")
    twin = next(i for i in place["more"] if joined.targets[i] == joined.targets[tested])
    samples = list(joined.samples)
    samples[twin] = samples[tested]
    leaking = dataclasses.replace(joined, samples=tuple(samples))
    with pytest.raises(CorpusError, match="the same recording stands in "):
        make_split(leaking, SplitConfig(validation_speakers=("01",), test_speakers=("02",)))


def test_nothing_to_judge_by_is_refused(joined):
    with pytest.raises(CorpusError, match="only clips of corpora that may but train could be used"):
        make_split(dataclasses.replace(joined, training_only=frozenset({"main", "more"})), SplitConfig())


def test_speakers_of_a_model_of_several_corpora_are_known_again(joined):
    """In the bundle they are named with their corpus; in a corpus by itself they are not."""
    config = SplitConfig(validation_speakers=("01",), test_speakers=("02", "04"))
    described = describe_split(joined, make_split(joined, config), config)
    assert described["corpora"] == ["main", "more"]
    assert described["test_speakers"] == ["main/02", "main/04"]
    assert {"main/00", "more/00", "more/02"} <= set(described["train_speakers"])

    class Info:
        split = described

    main, more = (
        joined.select(np.flatnonzero([clip.corpus == name for clip in joined.clips])) for name in ("main", "more")
    )
    tested = evaluation.part_of(main, Info, "test")
    assert {main.clips[i].speaker for i in tested} == {"02", "04"} and len(tested) == 16
    with pytest.raises(CorpusError, match="no clips of the model's test speakers main/02, main/04"):
        evaluation.part_of(more, Info, "test")

"""No voice and no recording on two sides, and every refusal in words."""

from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from emogram.config import SplitConfig
from emogram.errors import CorpusError, SettingsError
from emogram.protocols import PROTOCOLS, RANDOM_WARNING, Fold, Protocol
from emogram.records import speakers_of
from emogram.splits import CLIP_WARNING, PARTS, SPEAKERS_HINT, describe_split, make_split

ACTORS = [f"{number:02d}" for number in range(1, 25)]


@pytest.fixture
def ravdess(make_dataset):
    """As RAVDESS: 24 actors, 60 clips each; here 4 labels."""
    speakers = [actor for actor in ACTORS for _ in range(60)]
    return make_dataset([i % 4 for i in range(1440)], speakers=speakers, corpus="ravdess", n_frames=1)


@pytest.fixture
def ten_voices(make_dataset):
    """Ten speakers say each of four labels twice."""
    speakers = [f"voice{i // 8}" for i in range(80)]
    return make_dataset([i % 4 for i in range(80)], speakers=speakers, n_frames=1)


def parts(split):
    return dict(zip(PARTS, (split.train, split.validation, split.test), strict=True))


def voices_in(dataset, indices):
    return {dataset.clips[index].speaker for index in indices}


def assert_parted(dataset, split, *, all_clips=True):
    """Every clip is in one part, and no speaker or recording in two."""
    for one, other in combinations(parts(split).values(), 2):
        assert not voices_in(dataset, one) & voices_in(dataset, other)
        assert not {dataset.samples[i].content for i in one} & {dataset.samples[i].content for i in other}
    if all_clips:
        assert sorted(np.concatenate(list(parts(split).values())).tolist()) == list(range(len(dataset)))


# ---------------------------------------------------------------- protocols


def test_judging_on_validation_leaves_the_test_part_alone(ravdess):
    """To choose settings by: the same training and validation clips, and no test clip anywhere."""
    whole = make_split(ravdess, SplitConfig(protocol="ravdess-si5", fold=1))
    split = make_split(ravdess, SplitConfig(protocol="ravdess-si5", fold=1, judge_on="validation"))
    np.testing.assert_array_equal(split.train, whole.train)
    assert split.judging()[0] == "validation"
    np.testing.assert_array_equal(split.judging()[1], whole.validation)
    assert len(split.test) == 0 and "test part not looked at" in split.protocol


@pytest.mark.parametrize("fold", range(5))
def test_a_fold_of_p1_holds_its_actors_and_all_other_actors_train(ravdess, fold):
    split = make_split(ravdess, SplitConfig(protocol="ravdess-si5", fold=fold))
    actors = PROTOCOLS["ravdess-si5"].folds[fold]
    assert voices_in(ravdess, split.test) == set(actors.test)
    assert voices_in(ravdess, split.validation) == set(actors.validation)
    assert voices_in(ravdess, split.train) == set(ACTORS) - set(actors.test) - set(actors.validation)
    assert len(split.test) == 60 * len(actors.test)
    assert_parted(ravdess, split)
    assert split.warnings == ()
    assert split.protocol.startswith("RAVDESS-SI5") and split.protocol.endswith(f"fold {fold}")
    assert split.judging()[0] == "test"


def test_the_five_folds_of_p1_test_every_clip_once(ravdess):
    tested = [make_split(ravdess, SplitConfig(protocol="ravdess-si5", fold=fold)).test for fold in range(5)]
    assert sorted(np.concatenate(tested).tolist()) == list(range(1440))


def test_p1_on_a_part_of_ravdess_says_that_it_cannot_be_compared(make_dataset):
    dataset = make_dataset([i % 2 for i in range(96)], speakers=[actor for actor in ACTORS for _ in range(4)],
                           labels=("angry", "sad"), corpus="ravdess", n_frames=1)  # fmt: skip
    (warning,) = make_split(dataset, SplitConfig(protocol="ravdess-si5")).warnings
    assert "defined on 1440 clips and 96 could be used" in warning
    assert "cannot be compared" in warning


def test_p1_is_refused_for_another_corpus(ten_voices):
    with pytest.raises(SettingsError, match="ravdess-si5 is for the corpus 'ravdess'; this is invented"):
        make_split(ten_voices, SplitConfig(protocol="ravdess-si5"))


def test_p1_is_refused_without_all_actors(make_dataset):
    dataset = make_dataset([0, 1] * 4, speakers=["01", "02", "03", "04"] * 2, corpus="ravdess")
    with pytest.raises(
        (SettingsError, CorpusError), match=r"no clips of speakers .*05.*; the corpus has 01, 02, 03, 04"
    ):
        make_split(dataset, SplitConfig(protocol="ravdess-si5"))


def test_a_fold_that_is_not_there_is_refused(ravdess):
    with pytest.raises(SettingsError, match="fold 5; protocol ravdess-si5 has folds 0 to 4"):
        make_split(ravdess, SplitConfig(protocol="ravdess-si5", fold=5))


def test_an_unknown_protocol_is_refused(ravdess):
    with pytest.raises(SettingsError, match="unknown protocol 'si5'"):
        make_split(ravdess, SplitConfig(protocol="si5"))


def test_a_protocol_whose_fold_tests_a_validation_speaker_gives_them_to_one_part(ten_voices, monkeypatch):
    fold = Fold(test=("voice1",), validation=("voice2",))
    monkeypatch.setitem(PROTOCOLS, "own", Protocol("own", None, (fold,), 0.0, "own protocol"))
    split = make_split(ten_voices, SplitConfig(protocol="own"))
    assert (voices_in(ten_voices, split.test), voices_in(ten_voices, split.validation)) == ({"voice1"}, {"voice2"})
    assert_parted(ten_voices, split)


def test_random80_validates_a_fifth_of_the_clips_and_tests_none(ravdess):
    split = make_split(ravdess, SplitConfig(protocol="random80"))
    assert (len(split.train), len(split.validation), len(split.test)) == (1152, 288, 0)
    assert split.warnings[0] == RANDOM_WARNING
    assert "epoch chosen on the clips that judge" in split.warnings[1]
    assert "random split, speakers shared" in split.protocol
    assert split.judging()[0] == "validation"
    assert set(split.train.tolist()) | set(split.validation.tolist()) == set(range(1440))


# ---------------------------------------------------------------- by speaker


@pytest.mark.parametrize("way", ["auto", "speaker"])
def test_known_speakers_are_kept_apart_by_default(ten_voices, way):
    split = make_split(ten_voices, SplitConfig(split=way))
    assert_parted(ten_voices, split)
    assert [len(voices_in(ten_voices, part)) for part in parts(split).values()] == [7, 1, 2]
    for speaker in voices_in(ten_voices, split.test):
        assert speaker in split.protocol
    assert "never heard in training" in split.protocol


def test_one_seed_one_split_and_another_seed_another(ten_voices):
    first, again = (make_split(ten_voices, SplitConfig(split_seed=3)) for _ in range(2))
    for name in PARTS:
        np.testing.assert_array_equal(parts(first)[name], parts(again)[name])
    tested = {tuple(sorted(voices_in(ten_voices, make_split(ten_voices, SplitConfig(split_seed=seed)).test)))
              for seed in range(8)}  # fmt: skip
    assert len(tested) > 3


def test_shares_are_shares_of_speakers(ten_voices):
    split = make_split(ten_voices, SplitConfig(validation_share=0.3, test_share=0.4))
    assert [len(voices_in(ten_voices, part)) for part in parts(split).values()] == [3, 3, 4]


@pytest.mark.parametrize("n_speakers", [2, 3, 4])
def test_few_speakers_still_train_choose_and_never_overlap(make_dataset, n_speakers):
    speakers = [f"voice{i // 4}" for i in range(4 * n_speakers)]
    dataset = make_dataset([i % 2 for i in range(len(speakers))], speakers=speakers, labels=("angry", "sad"))
    split = make_split(dataset, SplitConfig())
    assert_parted(dataset, split)
    assert len(split.train) and len(split.validation)
    if n_speakers == 2:
        assert len(split.test) == 0
        assert "the validation clips, which choose the epoch and the calibration, also judge" in split.warnings[0]
        assert "validation speakers" in split.protocol


def test_one_speaker_cannot_be_parted_by_speaker_but_at_random(make_dataset):
    dataset = make_dataset([0, 1] * 10, speakers=["only"] * 20, labels=("angry", "sad"))
    with pytest.raises(CorpusError, match=r"only one speaker.*--split random"):
        make_split(dataset, SplitConfig(split="speaker"))
    assert make_split(dataset, SplitConfig()).warnings[0] == RANDOM_WARNING


def test_some_unknown_speakers_are_counted_and_refused(make_dataset):
    speakers = ["a", "b", None, None] * 4
    dataset = make_dataset([i % 2 for i in range(16)], speakers=speakers, labels=("angry", "sad"))
    with pytest.raises(CorpusError, match=r"8 of 16 clips have no known speaker.*--split random"):
        make_split(dataset, SplitConfig())


def test_shares_that_leave_nothing_to_train_on_are_refused(ten_voices):
    with pytest.raises(CorpusError, match=r"no (training|validation) clips are left; give this part more"):
        make_split(ten_voices, SplitConfig(validation_share=0.9, test_share=0.95))


def test_speakers_of_two_corpora_are_not_the_same_person(make_dataset):
    one = make_dataset([0, 1], speakers=["1", None], corpus="here")
    other = make_dataset([0], speakers=["1"], corpus="there")
    assert speakers_of(one.clips) == ["1", None]
    assert speakers_of((*one.clips, *other.clips)) == ["here/1", None, "there/1"]


def of_corpora(make_dataset, *counts):
    """A dataset whose corpora "a", "b", ... have so many speakers each, of four clips of two labels."""
    speakers = [str(number) for count in counts for number in range(count) for _ in range(4)]
    corpora = [chr(97 + place) for place, count in enumerate(counts) for _ in range(4 * count)]
    dataset = make_dataset([i % 2 for i in range(len(speakers))], speakers=speakers, labels=("angry", "sad"))
    clips = [replace(clip, corpus=corpus) for clip, corpus in zip(dataset.clips, corpora, strict=True)]
    return replace(dataset, clips=tuple(clips))


def corpora_of(dataset, indices):
    return Counter(dataset.clips[index].corpus for index in indices)


def test_each_of_several_corpora_has_its_share_in_every_part(make_dataset):
    dataset = of_corpora(make_dataset, 10, 5)
    split = make_split(dataset, SplitConfig(validation_share=0.2, test_share=0.2))
    assert corpora_of(dataset, split.validation) == corpora_of(dataset, split.test) == {"a": 8, "b": 4}
    named = [name for name in split.protocol.partition("test speakers ")[2].split(" never")[0].split(", ")]
    assert sorted({name.partition("/")[0] for name in named}) == ["a", "b"] and len(named) == 3


def test_where_a_corpus_has_one_speaker_shares_are_those_of_all(make_dataset):
    dataset = of_corpora(make_dataset, 9, 1)
    split = make_split(dataset, SplitConfig(validation_share=0.2, test_share=0.2))
    assert [len(part) for part in parts(split).values()] == [24, 8, 8]


def test_corpora_of_two_speakers_each_are_parted_one_by_one(make_dataset):
    dataset = of_corpora(make_dataset, 2, 2)
    split = make_split(dataset, SplitConfig())
    assert corpora_of(dataset, split.train) == corpora_of(dataset, split.validation) == {"a": 4, "b": 4}


def test_of_three_speakers_one_trains_one_chooses_and_one_judges_whatever_the_shares(make_dataset):
    dataset = of_corpora(make_dataset, 3)
    for share in (0.1, 0.9):
        split = make_split(dataset, SplitConfig(validation_share=share, test_share=0.1))
        assert [len(part) for part in parts(split).values()] == [4, 4, 4]


def test_corpora_that_only_train_never_choose_or_judge_and_are_named(make_dataset):
    dataset = replace(of_corpora(make_dataset, 4, 2, 2), training_only=frozenset(("c", "b")))
    split = make_split(dataset, SplitConfig())
    assert corpora_of(dataset, [*split.validation, *split.test]).keys() == {"a"}
    assert corpora_of(dataset, split.train)["b"] == corpora_of(dataset, split.train)["c"] == 8
    assert split.protocol.endswith("never heard in training; also trained on b, c")
    assert split.train.tolist() == sorted(split.train)
    description = describe_split(dataset, split, SplitConfig())
    assert description["corpora"] == ["a", "b", "c"]
    everything = replace(dataset, training_only=frozenset("abc"))
    with pytest.raises(CorpusError, match="only clips of corpora that may but train could be used, so none is left to"):
        make_split(everything, SplitConfig())


def test_speakers_that_nobody_knows_are_not_named_in_the_description(make_dataset):
    dataset = make_dataset([i % 4 for i in range(40)], speakers=[None] * 40)
    split = make_split(dataset, SplitConfig())
    assert describe_split(dataset, split, SplitConfig())["train_speakers"] == []


@pytest.mark.parametrize("settings", [{"split": "random"}, {"protocol": "random80"}])
def test_a_random_split_is_that_of_its_seed(make_dataset, settings):
    dataset = make_dataset([i % 4 for i in range(80)])
    chosen = [make_split(dataset, SplitConfig(split_seed=seed, **settings)).validation.tolist() for seed in (3, 3, 4)]
    assert chosen[0] == chosen[1] != chosen[2]


# ---------------------------------------------------------------- given speakers


def test_given_speakers_judge_and_choose_and_the_rest_trains(ten_voices):
    split = make_split(ten_voices, SplitConfig(validation_speakers=("voice3",), test_speakers=("voice8", "voice9")))
    assert voices_in(ten_voices, split.validation) == {"voice3"}
    assert voices_in(ten_voices, split.test) == {"voice8", "voice9"}
    assert_parted(ten_voices, split)
    assert "voice3" in split.protocol and "voice8, voice9" in split.protocol


def test_a_speaker_in_both_parts_is_refused_by_name(ten_voices):
    config = SplitConfig(validation_speakers=("voice3", "voice4"), test_speakers=("voice4", "voice5"))
    with pytest.raises(SettingsError, match="speakers voice4 stand in both"):
        make_split(ten_voices, config)


def test_an_unknown_speaker_is_refused_with_those_there_are(ten_voices):
    with pytest.raises(SettingsError, match="no clips of speakers nobody; the corpus has voice0, voice1"):
        make_split(ten_voices, SplitConfig(validation_speakers=("voice1", "nobody")))


def test_test_speakers_alone_leave_no_epoch_to_be_chosen(ten_voices):
    with pytest.raises(SettingsError, match="validation_speakers is missing"):
        make_split(ten_voices, SplitConfig(test_speakers=("voice1",)))


def test_speakers_that_leave_no_one_to_train_on_are_refused(make_dataset):
    dataset = make_dataset([0, 1] * 2, speakers=["a", "a", "b", "b"], labels=("angry", "sad"))
    with pytest.raises(CorpusError, match="no training clips are left"):
        make_split(dataset, SplitConfig(validation_speakers=("a",), test_speakers=("b",)))


@pytest.mark.parametrize(
    "both",
    [
        {"protocol": "random80", "validation_speakers": ("voice1",)},
        {"protocol": "random80", "validation_list": "list.txt"},
        {"validation_speakers": ("voice1",), "train_list": "list.txt"},
    ],
)
def test_two_ways_to_part_at_once_are_refused(ten_voices, both):
    with pytest.raises(SettingsError, match="one of a protocol, speakers or lists"):
        make_split(ten_voices, SplitConfig.from_dict(both))


# ---------------------------------------------------------------- lists


def write_list(folder, name, lines):
    (folder / name).write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    return folder / name


def test_lists_name_clips_by_path_name_or_stem(ten_voices, tmp_path):
    validation = write_list(tmp_path, "validation.txt", ["clip-0", "clip-1.wav", " clip-2 ", "clip-3"])
    test = write_list(tmp_path, "test.txt", [f"clip-{i}" for i in range(4, 12)])
    split = make_split(ten_voices, SplitConfig(validation_list=validation, test_list=test))
    assert split.validation.tolist() == [0, 1, 2, 3]
    assert split.test.tolist() == list(range(4, 12))
    assert split.train.tolist() == list(range(12, 80))


def test_lists_that_share_speakers_are_allowed_and_said(ten_voices, tmp_path):
    validation = write_list(tmp_path, "validation.txt", [f"clip-{i}" for i in range(4)])  # half of voice0
    split = make_split(ten_voices, SplitConfig(validation_list=validation))
    assert "leak 'same speaker in two parts': 1 speaker in train and validation (voice0)" in split.warnings[0]
    assert split.protocol == "given lists; speakers shared"


def test_lists_by_speaker_need_no_warning(ten_voices, tmp_path):
    validation = write_list(tmp_path, "validation.txt", [f"clip-{i}" for i in range(8)])
    train = write_list(tmp_path, "train.txt", [f"clip-{i}" for i in range(8, 40)])
    split = make_split(ten_voices, SplitConfig(validation_list=validation, train_list=train))
    assert not [warning for warning in split.warnings if "same speaker" in warning]
    assert split.protocol == "given lists"
    assert split.train.tolist() == list(range(8, 40))
    assert_parted(ten_voices, split, all_clips=False)


@pytest.mark.parametrize(("one", "other"), [*combinations(PARTS, 2)])
def test_a_clip_in_two_lists_is_refused(ten_voices, tmp_path, one, other):
    places = {"train": range(24, 80), "validation": range(8), "test": range(8, 16)}
    lines = {name: [f"clip-{i}" for i in indices] for name, indices in places.items()}
    lines[other].append(lines[one][0])
    config = SplitConfig(**{f"{name}_list": write_list(tmp_path, name, some) for name, some in lines.items()})
    with pytest.raises(SettingsError, match=f"1 clips stand in both the {one} and {other} list, {lines[one][0]}.wav"):
        make_split(ten_voices, config)


def test_a_line_that_names_no_clip_is_refused(ten_voices, tmp_path):
    validation = write_list(tmp_path, "validation.txt", ["clip-0", "clip-99", "clip-100"])
    with pytest.raises(SettingsError, match=r"2 of 3 lines name no clip of the corpus, first clip-99"):
        make_split(ten_voices, SplitConfig(validation_list=validation))


def test_a_missing_list_an_unreadable_and_an_empty_one_are_refused(ten_voices, tmp_path):
    with pytest.raises(SettingsError, match="validation_list is missing"):
        make_split(ten_voices, SplitConfig(train_list=tmp_path / "train.txt"))
    with pytest.raises(SettingsError, match="cannot be read as a list of clips"):
        make_split(ten_voices, SplitConfig(validation_list=tmp_path / "nothing.txt"))
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="cannot be read as a list of clips"):
        make_split(ten_voices, SplitConfig(validation_list=tmp_path / "bytes.txt"))
    with pytest.raises(CorpusError, match="no validation clips are left"):
        make_split(ten_voices, SplitConfig(validation_list=write_list(tmp_path, "empty.txt", [])))


# ---------------------------------------------------------------- at random, and doubles


def test_a_random_split_warns_and_keeps_doubles_on_one_side(make_dataset):
    contents = [f"sound {i // 2}" for i in range(80)]  # every recording under two names
    dataset = make_dataset([i // 2 % 4 for i in range(80)], contents=contents)
    for seed in range(5):
        split = make_split(dataset, SplitConfig(split="random", split_seed=seed, validation_share=0.2))
        sides = [{contents[i] for i in part} for part in (split.train, split.validation)]
        assert not sides[0] & sides[1]
        assert len(split.train) + len(split.validation) == 80
        assert 16 <= len(split.validation) <= 32
        assert split.warnings[0] == RANDOM_WARNING
        assert not [warning for warning in split.warnings if "same speaker" in warning], "it is said already"
        assert split.protocol.startswith("random split: random split, speakers shared")


def test_a_random_split_without_doubles_has_the_share_asked_for(make_dataset):
    dataset = make_dataset([i % 4 for i in range(50)])
    split = make_split(dataset, SplitConfig(split="random", validation_share=0.3))
    assert len(split.validation) == 15


def test_unknown_speakers_throughout_are_parted_at_random(make_dataset):
    dataset = make_dataset([i % 4 for i in range(40)], speakers=[None] * 40)
    assert make_split(dataset, SplitConfig()).warnings[:2] == (RANDOM_WARNING, SPEAKERS_HINT)
    assert SPEAKERS_HINT not in make_split(dataset, SplitConfig(split="random")).warnings, "that was asked for"


def test_the_same_recording_of_two_speakers_on_two_sides_is_refused(make_dataset):
    contents = [f"sound {i}" for i in range(16)]
    contents[15] = contents[0]
    speakers = [f"voice{i // 4}" for i in range(16)]
    dataset = make_dataset([i % 4 for i in range(12)] + [0, 1, 2, 0], speakers=speakers, contents=contents)
    with pytest.raises(CorpusError, match=r"same recording stands in train and test: clip-0\.wav and clip-15\.wav"):
        make_split(dataset, SplitConfig(validation_speakers=("voice2",), test_speakers=("voice3",)))


def test_the_same_recording_with_two_labels_is_refused(make_dataset):
    contents = [f"sound {i}" for i in range(16)]
    contents[1] = contents[0]
    dataset = make_dataset([i % 4 for i in range(16)], speakers=[f"voice{i // 4}" for i in range(16)],
                           contents=contents)  # fmt: skip
    config = SplitConfig(validation_speakers=("voice2",), test_speakers=("voice3",))
    with pytest.raises(CorpusError, match=r"two labels: clip-0\.wav is 'angry' and clip-1\.wav is 'calm'"):
        make_split(dataset, config)


def test_the_same_recording_twice_with_one_label_and_speaker_is_allowed(make_dataset):
    """As in RAVDESS, which holds one byte-identical pair."""
    contents = [f"sound {i}" for i in range(16)]
    contents[4] = contents[0]
    speakers = ["voice0"] * 8 + ["voice1"] * 4 + ["voice2"] * 4
    dataset = make_dataset([i % 4 for i in range(16)], speakers=speakers, contents=contents)
    split = make_split(dataset, SplitConfig(validation_speakers=("voice1",), test_speakers=("voice2",)))
    assert {0, 4} <= set(split.train.tolist())


def test_an_allowed_leak_is_told_in_protocol_warnings_and_description(make_dataset):
    contents = [f"sound {i}" for i in range(16)]
    contents[12] = contents[0]
    dataset = make_dataset([i % 4 for i in range(16)], speakers=[f"voice{i // 4}" for i in range(16)],
                           contents=contents)  # fmt: skip
    config = SplitConfig(validation_speakers=("voice2",), test_speakers=("voice3",), allow_leaks=True)
    split = make_split(dataset, config)
    (leak,) = split.allowed_leaks
    assert leak.startswith("leak 'same recording in two parts': the same recording stands in train and test: clip-0")
    assert split.protocol.endswith(f"; ALLOWED {leak}")
    assert split.warnings == (f"{leak}; allowed, the figure is not honest",)
    assert describe_split(dataset, split, config)["allow_leaks"] is True


# ---------------------------------------------------------------- classes


def test_one_class_only_is_refused(make_dataset):
    with pytest.raises(CorpusError, match="only one class, 'angry'; at least two"):
        make_split(make_dataset([0] * 8, labels=("angry",)), SplitConfig())


@pytest.mark.parametrize("seed", range(6))
def test_a_class_with_one_clip_is_refused_wherever_chance_would_put_it(make_dataset, seed):
    dataset = make_dataset([0] * 10 + [1] * 10 + [2], labels=("angry", "calm", "happy"))
    with pytest.raises(CorpusError, match="only one clip of happy; every class needs at least two"):
        make_split(dataset, SplitConfig(split="random", split_seed=seed))


def test_a_class_whose_only_speaker_does_not_train_is_refused(make_dataset):
    speakers = ["a", "a", "b", "b", "c", "c"]
    dataset = make_dataset([0, 1, 0, 1, 2, 2], labels=("angry", "calm", "happy"), speakers=speakers)
    with pytest.raises(CorpusError, match="no training clip of happy; every class needs clips of at least two"):
        make_split(dataset, SplitConfig(validation_speakers=("b",), test_speakers=("c",)))


# ---------------------------------------------------------------- what the model says of its split


def test_the_description_names_speakers_numbers_and_settings(ten_voices):
    config = SplitConfig(validation_speakers=("voice3",), test_speakers=("voice8", "voice9"))
    description = describe_split(ten_voices, make_split(ten_voices, config), config)
    assert description["test_speakers"] == ["voice8", "voice9"]
    assert description["validation_speakers"] == ["voice3"]
    assert description["train_speakers"] == [f"voice{i}" for i in (0, 1, 2, 4, 5, 6, 7)]
    assert [description[f"n_{name}"] for name in PARTS] == [56, 8, 16]
    assert "train_list" not in description
    assert Counter(type(value) for value in description.values()).keys() <= {str, int, float, list}


def test_the_description_changes_with_the_sound_of_any_part(make_dataset):
    config = SplitConfig(validation_speakers=("voice1",), test_speakers=("voice2",))
    speakers = [f"voice{i // 4}" for i in range(12)]

    def described(changed):
        contents = [f"sound {i}" + " changed" * (i == changed) for i in range(12)]
        dataset = make_dataset([i % 4 for i in range(12)], speakers=speakers, contents=contents)
        return describe_split(dataset, make_split(dataset, config), config)

    before = described(None)
    for clip, part in ((0, "train"), (5, "validation"), (9, "test")):
        after = described(clip)
        assert {name for name in before if before[name] != after[name]} == {f"{part}_content"}


# ---------------------------------------------------------------- by clip


@pytest.fixture
def one_voice(make_dataset):
    """One speaker says each of four labels twenty times."""
    return make_dataset([i % 4 for i in range(80)], speakers=["me"] * 80, n_frames=1)


def counts_of(dataset, indices):
    return Counter(dataset.clips[index].label for index in indices)


def test_by_clip_every_label_has_its_share_in_every_part(one_voice):
    split = make_split(one_voice, SplitConfig(split="clip", test_share=0.25, validation_share=0.2))
    for part, n in (("train", 12), ("validation", 3), ("test", 5)):
        assert counts_of(one_voice, split.parts[part]) == dict.fromkeys(one_voice.labels, n)
    assert sorted(np.concatenate(list(split.parts.values()))) == list(range(80))
    assert split.warnings == (CLIP_WARNING,), "that the speaker is shared is said once"
    assert split.protocol == "split by clip (seed 0): same voices in all parts"
    other = make_split(one_voice, SplitConfig(split="clip", test_share=0.25, validation_share=0.2, split_seed=1))
    assert other.test.tolist() != split.test.tolist()


def test_by_clip_so_many_of_each_label_train_and_choose(one_voice):
    split = make_split(one_voice, SplitConfig(split="clip", clips_per_label=5, validation_share=0.2))
    assert [len(part) for part in split.parts.values()] == [16, 4, 60]
    assert counts_of(one_voice, split.train) == dict.fromkeys(one_voice.labels, 4)


def test_by_clip_a_recording_under_two_names_goes_to_one_side(make_dataset):
    contents = [f"recording {i // 2}" for i in range(80)]
    dataset = make_dataset([i // 2 % 4 for i in range(80)], speakers=["me"] * 80, contents=contents, n_frames=1)
    split = make_split(dataset, SplitConfig(split="clip"))
    sides = [{contents[index] for index in part} for part in split.parts.values()]
    assert all(sides) and sum(map(len, sides)) == 40


def test_by_clip_named_speakers_judge_and_do_nothing_else(ten_voices):
    split = make_split(ten_voices, SplitConfig(split="clip", test_speakers=("voice3", "voice4")))
    assert voices_in(ten_voices, split.test) == {"voice3", "voice4"}
    assert not {"voice3", "voice4"} & voices_in(ten_voices, [*split.train, *split.validation])
    assert len(voices_in(ten_voices, split.train)) == 8
    assert "test voice3, voice4, never heard in training; validation by clip" in split.protocol


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clips_per_label": 3}, "clips_per_label is 3, which must be at least 4 and leave some to judge by"),
        ({"clips_per_label": 20}, r"too few clips of angry \(20\), calm \(20\), happy \(20\), sad \(20\)"),
        ({"test_share": 0.9}, "each label needs at least 5: 3 to train, one to choose the epoch, one to judge"),
    ],
)
def test_by_clip_too_few_clips_are_refused(one_voice, settings, message):
    with pytest.raises(CorpusError, match=message):
        make_split(one_voice, SplitConfig(split="clip", **settings))


def test_by_clip_speakers_cannot_be_named_to_choose(ten_voices):
    with pytest.raises(SettingsError, match="validation_speakers with split clip"):
        make_split(ten_voices, SplitConfig(split="clip", validation_speakers=("voice1",)))


def test_by_clip_corpora_that_only_train_may_have_labels_of_their_own(make_dataset):
    mine = [i % 2 for i in range(40)]
    dataset = make_dataset([*mine, *(i % 4 for i in range(40))], speakers=["me"] * 80, n_frames=1)
    clips = [replace(clip, corpus="other") if i >= 40 else clip for i, clip in enumerate(dataset.clips)]
    dataset = replace(dataset, clips=tuple(clips), training_only=frozenset({"other"}))
    split = make_split(dataset, SplitConfig(split="clip"))
    assert {dataset.clips[index].corpus for index in [*split.validation, *split.test]} == {"invented"}
    assert set(range(40, 80)) <= set(split.train.tolist())

"""Every leak is found, named, and refused or warned of; what only looks like one is not."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from emogram import leaks
from emogram.errors import CorpusError


def parts_of(*sizes):
    ends = np.cumsum(sizes)
    names = ("train", "validation", "test")
    return {name: np.arange(end - size, end) for name, size, end in zip(names, sizes, ends, strict=True)}


@pytest.fixture
def named(make_dataset):
    """Return a function that makes a dataset of clips with given names, one label and one or no speaker."""

    def named(*stems, labels=None, speakers=None):
        dataset = make_dataset(labels or [0] * len(stems), speakers=speakers or [None] * len(stems))
        clips = tuple(
            dataclasses.replace(clip, path=Path(f"{stem}.wav")) for clip, stem in zip(dataset.clips, stems, strict=True)
        )
        return dataclasses.replace(dataset, clips=clips)

    return named


def test_a_leak_is_refused_by_name_with_what_to_do_unless_it_is_allowed():
    refused = leaks.Leak("a name", "x and y", "remove x", refused=True)
    warned = leaks.Leak("another", "z", "look at z", refused=False)
    with pytest.raises(CorpusError, match=r"^leak 'a name': x and y; remove x, or say --allow-leaks"):
        leaks.guard([warned, refused], allow=False)
    with pytest.raises(CorpusError, match=r"^leak 'a name': x and y \(and 1 other leak\); remove x"):
        leaks.guard([refused, refused], allow=False)
    warnings, allowed = leaks.guard([warned, refused], allow=True)
    assert warnings == ("leak 'another': z; look at z", "leak 'a name': x and y; allowed, the figure is not honest")
    assert allowed == ("leak 'a name': x and y",)
    assert leaks.with_allowed("own protocol", allowed) == "own protocol; ALLOWED leak 'a name': x and y"
    assert leaks.guard([warned], allow=False) == (("leak 'another': z; look at z",), ())
    assert leaks.guard([], allow=False) == ((), ())


def test_speakers_in_two_parts_are_named_and_unknown_ones_tell_nothing():
    speakers = ["a", "b", None, "b", None, "a"]
    found = leaks.shared_speakers(speakers, parts_of(3, 1, 2))
    assert [leak.found for leak in found] == [
        "1 speaker in train and validation (b)",
        "1 speaker in train and test (a)",
    ]
    assert not any(leak.refused for leak in found)
    assert leaks.shared_speakers(["a", "b", "c"], parts_of(1, 1, 1)) == []


def test_the_same_sound_in_two_parts_is_refused_and_counted(make_dataset):
    dataset = make_dataset([0] * 6, contents=["x", "y", "x", "z", "y", "z"])
    found = leaks.shared_recordings(dataset, parts_of(2, 2, 2))
    assert [leak.found for leak in found] == [
        "the same recording stands in train and validation: clip-0.wav and clip-2.wav",
        "the same recording stands in train and test: clip-1.wav and clip-4.wav",
        "the same recording stands in validation and test: clip-3.wav and clip-5.wav",
    ]
    assert all(leak.refused for leak in found)
    twice = leaks.shared_recordings(make_dataset([0] * 4, contents=["x", "y", "x", "y"]), parts_of(2, 2, 0))
    assert twice[0].found.endswith("clip-0.wav and clip-2.wav, and 1 more")
    within = make_dataset([0] * 4, contents=["x", "x", "y", "z"])
    assert leaks.shared_recordings(within, parts_of(2, 1, 1)) == [], "as the pair in RAVDESS"


def test_one_sound_with_two_labels_is_refused(make_dataset):
    (leak,) = leaks.contradicting_labels(make_dataset([0, 1, 0], contents=["x", "x", "y"]), parts_of(3, 0, 0))
    assert leak.found.endswith("two labels: clip-0.wav is 'angry' and clip-1.wav is 'calm'") and leak.refused
    assert leaks.contradicting_labels(make_dataset([0, 0, 1], contents=["x", "x", "y"]), parts_of(3, 0, 0)) == []


@pytest.mark.parametrize(
    "copy",
    ["x_noise", "x-aug1", "X_Pitch", "x_pitch+2", "x_pitch-2st", "x_noise_10db", "x_stretch0.9", "x_speed1p1", "x.aug",
     "x_augmented_3", "noisy_x", "aug2-x", "x_noise_pitch", "x-whitenoise", "x_timestretch1.1", "x_reverb"],
)  # fmt: skip
def test_names_of_augmented_copies_tell_their_original(copy):
    assert leaks.original_name(copy) == "x"


@pytest.mark.parametrize(
    "stem", ["03-01-05-01-01-01-02", "noise", "noise1", "aug", "voice_angry_01", "house", "speaker1_pause",
             "OAF_back_ps", "pitcher_01", "x_noisemaker", "shifty", "echo"],
)  # fmt: skip
def test_ordinary_names_are_their_own(stem):
    assert leaks.original_name(stem) == stem.casefold()


def test_an_augmented_copy_of_a_clip_in_another_part_is_refused(named):
    (leak,) = leaks.augmented_copies(named("a", "b_noise", "b"), parts_of(2, 0, 1))
    assert leak.found == "by their names, copies of one clip stand in train and test: b_noise.wav and b.wav"
    assert leak.refused and leak.name == "augmented copy in another part"
    (leak,) = leaks.augmented_copies(named("b_aug1", "b_aug2"), parts_of(1, 0, 1))
    assert "b_aug1.wav and b_aug2.wav" in leak.found, "both of a clip that is not there"


def test_what_only_looks_like_a_copy_is_none(named):
    assert leaks.augmented_copies(named("b", "b_noise", "c"), parts_of(2, 0, 1)) == [], "in one part"
    assert leaks.augmented_copies(named("b", "b"), parts_of(1, 0, 1)) == [], "names that say nothing of augmentation"
    others = named("b", "b_noise", labels=[0, 1])
    assert leaks.augmented_copies(others, parts_of(1, 0, 1)) == [], "of another emotion"
    others = named("b", "b_noise", speakers=["one", "other"])
    assert leaks.augmented_copies(others, parts_of(1, 0, 1)) == [], "of another voice"


def test_a_split_without_a_test_part_judges_on_what_chose_the_epoch():
    (leak,) = leaks.chosen_on_judges(parts_of(2, 1, 0))
    assert leak.name == "epoch chosen on the clips that judge" and not leak.refused
    assert leaks.chosen_on_judges(parts_of(2, 1, 1)) == []


def test_a_model_knows_its_speakers_and_its_recordings(make_dataset):
    (leak,) = leaks.heard_speakers(["x/a", "x/b", "x/a", "y/a"], frozenset({"x/a", "x/c"}))
    assert "2 of 4 clips are of speakers that this model was trained on (x/a)" in leak.found and not leak.refused
    assert leaks.heard_speakers(["x/b", "y/a"], frozenset({"x/a"})) == []
    clips = make_dataset([0, 1, 2]).clips
    parts = {"train": frozenset({"x"}), "validation": frozenset({"y"})}
    trained_on, chose = leaks.heard_recordings(clips, ["x", "y", "z"], parts)
    assert trained_on.found == "1 of 3 clips were trained on (clip-0.wav)" and trained_on.refused
    assert chose.found.startswith("1 of 3 clips chose the epoch") and not chose.refused
    assert leaks.heard_recordings(clips, ["z", "z", "z"], parts) == leaks.heard_recordings(clips, list("xyz"), {}) == []

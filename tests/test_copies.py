"""Degraded copies are of the right clip, the same each time, and made of nobody who must not be heard."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from emogram import audio, copies, features
from emogram.config import AugmentConfig, SpectrogramConfig
from emogram.copies import Wanted, degraded_samples, with_degraded_copies
from emogram.dataset import load_dataset
from emogram.degrade import CONDITIONS, Change, degrade, random_change, rng_of
from emogram.errors import AudioError, CorpusError, SettingsError

EVERYBODY = np.arange(32)


def made(dataset, wanted, *, voices=EVERYBODY, **options):
    found = dict(degraded_samples(dataset, wanted, voices=voices, workers=1, **options))
    return [found[position] for position in range(len(wanted))]


@pytest.fixture
def heard(monkeypatch):
    """The voices that babble was made of, in order."""
    paths = []
    real = copies._voice

    def listen(path, *rest):
        paths.append(path)
        return real(path, *rest)

    monkeypatch.setattr(copies, "_voice", listen)
    return paths


def speaker_of(path):
    return path.name.split("_")[0]


def test_a_copy_is_the_degraded_waveform_through_the_one_door(voices_dataset):
    wanted = [Wanted(5, CONDITIONS["telephone"], "x"), Wanted(2, CONDITIONS["white-5"], "x")]
    for one, sample in zip(wanted, made(voices_dataset, wanted), strict=True):
        waveform = audio.load_clip(voices_dataset.clips[one.index], sample_rate=16000)
        content = voices_dataset.samples[one.index].content
        changed = degrade(waveform, 16000, one.change, rng_of(content, "x"))
        expected = features.model_inputs(changed, SpectrogramConfig())["spectrogram"]
        np.testing.assert_array_equal(sample.spectrogram.astype(np.float32), expected)
        assert sample.content == content


def test_babble_is_of_six_voices_and_never_of_the_speaker(voices_dataset, heard):
    made(voices_dataset, [Wanted(int(index), Change("babble", 10), "x") for index in EVERYBODY])
    assert len(heard) == 6 * 32
    for index in EVERYBODY:
        speakers = [speaker_of(path) for path in heard[6 * index : 6 * index + 6]]
        own = voices_dataset.clips[index].speaker
        assert sorted(speakers) == sorted(2 * [f"synthetic0{n}" for n in range(1, 5) if f"synthetic0{n}" != own])


def test_babble_is_of_the_voices_allowed_alone(voices_dataset, heard):
    wanted = [Wanted(int(index), Change("babble", 10), "x") for index in range(8)]
    made(voices_dataset, wanted, voices=np.arange(8, 16))
    assert {speaker_of(path) for path in heard} == {"synthetic02"}


def test_babble_needs_somebody_else(voices_dataset):
    with pytest.raises(CorpusError, match=r"babble is made of other speakers' clips, and there are none"):
        made(voices_dataset, [Wanted(0, Change("babble", 10), "x")], voices=np.arange(8))


def test_a_clip_of_an_unknown_speaker_is_a_voice_of_its_own(voices_dataset, heard):
    clips = tuple(dataclasses.replace(clip, speaker=None) for clip in voices_dataset.clips)
    unknown = dataclasses.replace(voices_dataset, clips=clips)
    made(unknown, [Wanted(0, Change("babble", 10), "x")])
    assert len(set(heard)) == 6
    assert clips[0].path not in heard


def test_names_and_order_change_nothing(voices_dataset):
    reversed_dataset = dataclasses.replace(
        voices_dataset,
        clips=voices_dataset.clips[::-1],
        targets=voices_dataset.targets[::-1],
        samples=voices_dataset.samples[::-1],
    )
    (one,) = made(voices_dataset, [Wanted(3, Change("babble", 0), "x")])
    (other,) = made(reversed_dataset, [Wanted(28, Change("babble", 0), "x")])
    np.testing.assert_array_equal(one.spectrogram, other.spectrogram)


def test_the_cache_gives_the_same_without_making_it_again(voices_dataset, tmp_path, monkeypatch):
    wanted = [Wanted(3, Change("babble", 5), "x"), Wanted(9, Change("gain", 6), "x")]
    alone = made(voices_dataset, wanted)
    made(voices_dataset, wanted, cache=tmp_path)
    monkeypatch.setattr(copies, "_make", lambda *_: pytest.fail("made again"))
    for kept, sample in zip(made(voices_dataset, wanted, cache=tmp_path), alone, strict=True):
        np.testing.assert_array_equal(kept.spectrogram, sample.spectrogram)
        assert kept.content == sample.content


def test_the_cache_tells_changes_seeds_and_voices_apart(voices_dataset, tmp_path):
    for one in (
        Wanted(0, Change("white", 5), "x"),
        Wanted(0, Change("white", 6), "x"),
        Wanted(0, Change("white", 5), "y"),
    ):
        made(voices_dataset, [one], cache=tmp_path)
    for voices in (np.arange(8, 16), np.arange(16, 24)):
        made(voices_dataset, [Wanted(0, Change("babble", 5), "x")], voices=voices, cache=tmp_path)
    assert len(list(tmp_path.rglob("*.sample"))) == 5


def test_utterance_features_are_those_of_the_copy(voices_corpus):
    few = dataclasses.replace(voices_corpus, clips=voices_corpus.clips[:2])
    dataset = load_dataset(few, SpectrogramConfig(utterance_features=True), workers=1)
    (sample,) = made(dataset, [Wanted(1, Change("telephone"), "x")], voices=np.arange(2))
    assert not np.allclose(sample.features, dataset.samples[1].features)
    waveform = audio.load_clip(dataset.clips[1], sample_rate=16000)
    changed = degrade(waveform, 16000, Change("telephone"), rng_of("any"))
    np.testing.assert_array_equal(sample.features, features.utterance_features(changed, 16000))


def test_pictures_are_refused(make_dataset):
    dataset = dataclasses.replace(make_dataset([0, 1]), spectrogram=None)
    with pytest.raises(SettingsError, match="made of sound, and this corpus is of pictures"):
        made(dataset, [Wanted(0, Change("telephone"), "x")], voices=np.arange(2))


# ---------------------------------------------------------------- copies for training


def test_training_clips_get_copies_and_others_do_not(voices_dataset, heard):
    train = np.arange(0, 16)
    dataset = with_degraded_copies(voices_dataset, train, AugmentConfig(degraded_copies=3), workers=1)
    assert [len(sample.variants) for sample in dataset.samples] == 16 * [3] + 16 * [0]
    assert {speaker_of(path) for path in heard} == {"synthetic01", "synthetic02"}
    for sample, clean in zip(dataset.samples, voices_dataset.samples, strict=True):
        assert {one.content for one in sample.variants} <= {clean.content}
        np.testing.assert_array_equal(sample.spectrogram, clean.spectrogram)
    assert dataset.content_hash(train) == voices_dataset.content_hash(train)
    for number, variant in enumerate(dataset.samples[4].variants):
        content = variant.content
        change = random_change(rng_of(content, f"copy {number}", "change"))
        (expected,) = made(voices_dataset, [Wanted(4, change, f"copy {number}")], voices=train)
        np.testing.assert_array_equal(variant.spectrogram, expected.spectrogram)


def test_copies_are_in_babble_as_often_as_asked_for(voices_dataset, monkeypatch):
    kinds = []
    monkeypatch.setattr(
        copies, "_make", lambda config, work: kinds.append(work.change.kind) or voices_dataset.samples[0]
    )
    for share, expected in ((0.0, 0.25), (0.6, 0.7), (1.0, 1.0)):
        kinds.clear()
        config = AugmentConfig(degraded_copies=12, degraded_babble=share)
        with_degraded_copies(voices_dataset, EVERYBODY, config, workers=1)
        assert len(kinds) == 12 * len(EVERYBODY)
        assert np.mean([kind == "babble" for kind in kinds]) == pytest.approx(expected, abs=0.08)


def test_without_copies_the_dataset_stays_as_it_is(voices_dataset):
    assert with_degraded_copies(voices_dataset, EVERYBODY, AugmentConfig(degraded_copies=0)) is voices_dataset


def test_a_copy_that_cannot_be_made_is_left_out(voices_dataset, monkeypatch):
    def fail(*_):
        raise AudioError("too short")

    monkeypatch.setattr(copies, "_make", fail)
    dataset = with_degraded_copies(voices_dataset, EVERYBODY, AugmentConfig(degraded_copies=1), workers=1)
    assert not any(sample.variants for sample in dataset.samples)


def test_variants_are_drawn_as_often_as_asked_for(voices_dataset):
    clean = voices_dataset.samples[0]
    variants = tuple(dataclasses.replace(clean, content=f"variant {n}") for n in range(3))
    samples = (dataclasses.replace(clean, variants=variants), *voices_dataset.samples[1:])
    dataset = dataclasses.replace(voices_dataset, samples=samples)
    rng = np.random.default_rng(0)
    drawn = [dataset.sample_of(0, rng, 0.6).content for _ in range(3000)]
    assert drawn.count(clean.content) / 3000 == pytest.approx(0.4, abs=0.03)
    for variant in variants:
        assert drawn.count(variant.content) / 3000 == pytest.approx(0.2, abs=0.03)
    assert {dataset.sample_of(0, rng, 0.0).content for _ in range(100)} == {clean.content}


def test_a_clip_without_variants_draws_no_random_numbers(voices_dataset):
    rng = np.random.default_rng(0)
    assert voices_dataset.sample_of(3, rng, 1.0) is voices_dataset.samples[3]
    assert rng.random() == np.random.default_rng(0).random()

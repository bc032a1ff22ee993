"""Clip i keeps its label and its sound on every road, and the cache is only ever a shorter road."""

import dataclasses
import os

import numpy as np
import pytest
import soundfile
from PIL import Image

from emogram import audio, dataset, features
from emogram.config import SpectrogramConfig
from emogram.corpora import find_corpus
from emogram.dataset import load_dataset
from emogram.errors import CorpusError, OutputError, SettingsError
from emogram.files import default_cache
from emogram.pictures import write_pictures

CONFIG = SpectrogramConfig()
WITH_FEATURES = SpectrogramConfig(utterance_features=True)


def load(corpus, config=CONFIG, **arguments):
    return load_dataset(corpus, config, workers=1, **arguments)


def assert_same(one, other):
    assert one.clips == other.clips and one.labels == other.labels
    np.testing.assert_array_equal(one.targets, other.targets)
    for a, b in zip(one.samples, other.samples, strict=True):
        np.testing.assert_array_equal(a.spectrogram, b.spectrogram)
        assert a.spectrogram.dtype == b.spectrogram.dtype
        assert a.content == b.content
        assert (a.features is None) == (b.features is None)
        if a.features is not None:
            np.testing.assert_array_equal(a.features, b.features)


@pytest.fixture
def few(voices_corpus):
    """Eight clips, two of each label."""
    return dataclasses.replace(voices_corpus, clips=voices_corpus.clips[:8])


# ---------------------------------------------------------------- what is loaded


def test_each_clip_has_the_input_that_prediction_would_make(voices_corpus, voices_dataset):
    assert voices_dataset.clips == voices_corpus.clips
    for clip, sample, target in zip(voices_dataset.clips, voices_dataset.samples, voices_dataset.targets, strict=True):
        expected = features.model_inputs(audio.load_clip(clip, sample_rate=16000), CONFIG)["spectrogram"]
        np.testing.assert_array_equal(sample.spectrogram.astype(np.float32), expected)
        assert voices_dataset.labels[target] == clip.label
        assert f"_{clip.label}_" in clip.path.name
    assert voices_dataset.labels == ("angry", "calm", "happy", "sad")
    assert voices_dataset.spectrogram == CONFIG


def test_several_processes_give_the_same(voices_corpus, voices_dataset):
    assert_same(load_dataset(voices_corpus, CONFIG, workers=2), voices_dataset)


def test_features_are_loaded_where_the_settings_ask_for_them(few):
    loaded = load(few, WITH_FEATURES)
    waveform = audio.load_clip(few.clips[3], sample_rate=16000)
    np.testing.assert_array_equal(loaded.samples[3].features, features.utterance_features(waveform, 16000))
    inputs = loaded.inputs(loaded.same_length_groups(np.arange(8))[0])
    assert set(inputs) == {"spectrogram", "features"}
    assert len(inputs["features"]) == len(inputs["spectrogram"])


def test_groups_hold_each_clip_once_and_are_equally_long(voices_dataset):
    indices = np.random.default_rng(0).permutation(32)[:25]
    groups = voices_dataset.same_length_groups(indices, most=3)
    assert sorted(np.concatenate(groups).tolist()) == list(range(25))
    for positions in groups:
        assert 1 <= len(positions) <= 3
        stacked = voices_dataset.inputs(indices[positions])["spectrogram"]
        assert stacked.dtype == np.float32
        for position, spectrogram in zip(positions, stacked, strict=True):
            np.testing.assert_array_equal(spectrogram, voices_dataset.samples[indices[position]].spectrogram)


def test_groups_are_as_few_as_the_lengths_allow(make_dataset):
    dataset = make_dataset([0, 1] * 5, n_frames=[32, 48, 32, 48, 32, 48, 32, 48, 64, 32], labels=("angry", "sad"))
    groups = dataset.same_length_groups(np.arange(10), most=4)
    assert [group.tolist() for group in groups] == [[0, 2, 4, 6], [9], [1, 3, 5, 7], [8]]


def test_contents_do_not_depend_on_order_and_depend_on_sound_and_label(make_dataset):
    dataset = make_dataset([0, 1, 2, 3])
    same = dataset.content_hash(np.asarray([2, 0, 1]))
    assert dataset.content_hash(np.asarray([0, 1, 2])) == same
    assert dataset.content_hash(np.asarray([0, 1, 3])) != same
    other_label = dataclasses.replace(dataset, clips=(dataset.clips[3], *dataset.clips[1:]))
    assert other_label.content_hash(np.asarray([0, 1, 2])) != same


def test_the_same_sound_under_two_names_and_forms_has_one_content(voices_folder, tmp_path):
    (tmp_path / "angry").mkdir()
    samples, rate = soundfile.read(voices_folder / "synthetic01_angry_01.wav", dtype="int16")
    soundfile.write(tmp_path / "angry" / "one.wav", samples, rate)
    soundfile.write(tmp_path / "angry" / "two.flac", samples, rate)
    soundfile.write(tmp_path / "angry" / "other.flac", samples[:-100], rate)
    contents = {clip.path.stem: sample.content for clip, sample in zip_of(load(find_corpus(tmp_path)))}
    assert contents["one"] == contents["two"] != contents["other"]


def zip_of(loaded):
    return zip(loaded.clips, loaded.samples, strict=True)


# ---------------------------------------------------------------- bad clips


def test_bad_clips_are_named_and_good_ones_stay(voices_folder, tmp_path):
    for label in ("angry", "sad"):
        (tmp_path / label).mkdir()
        for number in (1, 2):
            name = f"synthetic01_{label}_{number:02d}.wav"
            (tmp_path / label / name).write_bytes((voices_folder / name).read_bytes())
    bad = {
        "text.wav": (b"this is no sound", "not a readable sound file|no sound|unreadable|not"),
        "zero.wav": (b"", "empty"),
    }
    for name, (content, _) in bad.items():
        (tmp_path / "angry" / name).write_bytes(content)
    soundfile.write(tmp_path / "sad" / "silent.wav", np.zeros(16000), 16000)
    soundfile.write(tmp_path / "sad" / "short.wav", np.ones(1600) * 0.1, 16000)
    soundfile.write(tmp_path / "sad" / "nan.wav", np.full(16000, np.nan, np.float32), 16000, subtype="FLOAT")
    loaded = load(find_corpus(tmp_path), cache=tmp_path / "cache")
    assert len(loaded) == 4
    reasons = {clip.path.name: reason for clip, reason in loaded.failed}
    assert set(reasons) == {"text.wav", "zero.wav", "silent.wav", "short.wav", "nan.wav"}
    for name, words in (("zero.wav", "0 bytes"), ("silent.wav", "silent throughout"), ("short.wav", "0.10 s long"),
                        ("nan.wav", "not finite")):  # fmt: skip
        assert words in reasons[name]
    for clip, target in zip(loaded.clips, loaded.targets, strict=True):
        assert loaded.labels[target] == clip.label == clip.path.parent.name


def test_a_class_whose_clips_are_all_bad_is_no_label(voices_folder, tmp_path):
    (tmp_path / "angry").mkdir()
    (tmp_path / "happy").mkdir()
    (tmp_path / "angry" / "a.wav").write_bytes((voices_folder / "synthetic01_angry_01.wav").read_bytes())
    (tmp_path / "happy" / "b.wav").write_bytes(b"nothing")
    loaded = load(find_corpus(tmp_path))
    assert loaded.labels == ("angry",)
    assert [clip.path.name for clip, _ in loaded.failed] == ["b.wav"]


def test_a_corpus_of_nothing_good_is_refused_with_the_first_reason(tmp_path):
    (tmp_path / "angry").mkdir()
    for name in "ab":
        (tmp_path / "angry" / f"{name}.wav").write_bytes(b"")
    with pytest.raises(CorpusError, match=r"none of its 2 clips can be used; the first: .*a\.wav.*empty"):
        load(find_corpus(tmp_path))


def test_labels_that_a_model_does_not_know_are_named(voices_corpus):
    loaded = load(voices_corpus, labels=("happy", "surprised", "sad"))
    assert loaded.labels == ("happy", "surprised", "sad")
    assert {clip.label for clip in loaded.clips} == {"happy", "sad"}
    assert set(loaded.targets.tolist()) == {0, 2}
    assert len(loaded.failed) == 16
    assert "label 'angry' is not one of happy, surprised, sad" in loaded.failed[0][1]


def test_a_corpus_without_any_known_label_is_refused(few):
    with pytest.raises(CorpusError, match=r"none of its 8 clips can be used; the first: .*label 'angry' is not one of"):
        load(few, labels=("joy", "grief"))


# ---------------------------------------------------------------- the cache


def forbid(*_arguments, **_named):
    raise AssertionError("read again")


@pytest.mark.parametrize("config", [CONFIG, WITH_FEATURES], ids=["log-mel", "features"])
def test_a_full_cache_gives_the_same_without_decoding(few, tmp_path, monkeypatch, config):
    plain = load(few, config)
    assert_same(load(few, config, cache=tmp_path), plain)
    monkeypatch.setattr(audio, "decode", forbid)
    monkeypatch.setattr(features, "model_inputs", forbid)
    assert_same(load(few, config, cache=tmp_path), plain)


def cached_files(folder):
    return sorted(folder.rglob("*.sample"))


def test_damaged_cache_files_are_made_again(few, tmp_path):
    expected = load(few, cache=tmp_path)
    files = cached_files(tmp_path)
    assert len(files) == 8
    whole = files[2].read_bytes()
    files[0].write_bytes(b"")
    files[1].write_bytes(whole[: len(whole) // 2])
    files[2].write_bytes(whole[:-1])
    files[3].write_bytes(whole + b"0")
    files[4].write_bytes(np.random.default_rng(0).bytes(500))
    files[5].write_bytes(b"PK\x03\x04" + b"\0" * 100)
    files[6].unlink()
    files[6].mkdir()
    assert_same(load(few, cache=tmp_path), expected)
    assert_same(load(few, cache=tmp_path), expected)


def test_no_flipped_bit_passes_for_the_sample(few, tmp_path):
    """NumPy's own archive lets some through, such as one that makes an array shorter than its checksum covers."""
    one = dataclasses.replace(few, clips=few.clips[:1])
    expected = load(one, WITH_FEATURES, cache=tmp_path)
    (file,) = cached_files(tmp_path)
    whole = file.read_bytes()
    for place in [*range(0, 250, 7), *range(250, len(whole), len(whole) // 60)]:
        changed = bytearray(whole)
        changed[place] ^= 0x41
        file.write_bytes(changed)
        assert_same(load(one, WITH_FEATURES, cache=tmp_path), expected)
        assert file.read_bytes() == whole


def test_other_settings_and_another_stretch_are_not_served_from_the_cache(few, tmp_path):
    load(few, cache=tmp_path)
    other = SpectrogramConfig(n_mels=40)
    assert_same(load(few, other, cache=tmp_path), load(few, other))
    halves = dataclasses.replace(few, clips=tuple(dataclasses.replace(clip, end_s=0.5) for clip in few.clips))
    assert_same(load(halves, cache=tmp_path), load(halves))
    assert len(cached_files(tmp_path)) == 24


def test_a_changed_file_is_not_served_from_the_cache(voices_folder, tmp_path):
    file = tmp_path / "corpus" / "angry" / "a.wav"
    file.parent.mkdir(parents=True)
    first, second = (voices_folder / f"synthetic01_{label}_01.wav" for label in ("angry", "sad"))
    file.write_bytes(first.read_bytes())
    corpus = find_corpus(tmp_path / "corpus")
    before = load(corpus, cache=tmp_path / "cache")
    soundfile.write(file, soundfile.read(second)[0][: len(soundfile.read(first)[0])], 16000)
    assert file.stat().st_size <= first.stat().st_size
    os.utime(file, ns=(1, 1))  # even if it looks old
    after = load(corpus, cache=tmp_path / "cache")
    assert after.samples[0].content != before.samples[0].content
    assert_same(after, load(corpus))


def test_a_newer_front_end_does_not_use_old_caches(few, tmp_path, monkeypatch):
    load(few, cache=tmp_path)
    monkeypatch.setattr(dataset, "FRONT_END", dataset.FRONT_END + 1)
    load(few, cache=tmp_path)
    assert len(cached_files(tmp_path)) == 16


def test_a_cache_that_cannot_be_written_loses_no_clip(few, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("a file where the folder should be")
    expected = load(few)
    assert_same(load(few, cache=tmp_path / "file"), expected)

    def full(*_arguments, **_named):
        raise OutputError("cannot write: the disk is full")

    monkeypatch.setattr(dataset, "writing", full)
    loaded = load(few, cache=tmp_path / "cache")
    assert loaded.failed == ()
    assert_same(loaded, expected)


def test_a_file_that_has_gone_is_not_served_from_the_cache(voices_folder, tmp_path):
    for name in ("a", "b"):
        file = tmp_path / "corpus" / "angry" / f"{name}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes((voices_folder / "synthetic01_angry_01.wav").read_bytes())
    corpus = find_corpus(tmp_path / "corpus")
    load(corpus, cache=tmp_path / "cache")
    file.unlink()
    loaded = load(corpus, cache=tmp_path / "cache")
    assert [clip.path.name for clip in loaded.clips] == ["a.wav"]
    assert "no such file" in loaded.failed[0][1]


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("EMOGRAM_CACHE", str(tmp_path / "named"))
    assert default_cache() == tmp_path / "named"
    monkeypatch.delenv("EMOGRAM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "emogram"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache() == tmp_path / "home" / ".cache" / "emogram"


# ---------------------------------------------------------------- pictures


def test_pictures_of_any_size_become_the_size_asked_for(tmp_path):
    for label, size, colour in (("happy", (300, 200), (255, 0, 0)), ("sad", (40, 90), (0, 128, 255))):
        (tmp_path / label).mkdir()
        Image.new("RGB", size, colour).save(tmp_path / label / "one.png")
        Image.new("L", size, 51).save(tmp_path / label / "grey.jpg", quality=100)
    loaded = load(find_corpus(tmp_path), SpectrogramConfig(kind="picture", picture_size=32), cache=tmp_path / "cache")
    assert loaded.spectrogram is None
    for clip, sample, target in zip(loaded.clips, loaded.samples, loaded.targets, strict=True):
        assert sample.spectrogram.shape == (32, 32, 3)
        assert loaded.labels[target] == clip.path.parent.name
        colour = {"happy": (255, 0, 0), "sad": (0, 128, 255)}[clip.path.parent.name]
        expected = (51, 51, 51) if clip.path.stem == "grey" else colour
        np.testing.assert_allclose(sample.spectrogram[5, 5], np.asarray(expected) / 255, atol=0.01)


def test_bad_pictures_are_named(tmp_path):
    for label in ("happy", "sad"):
        (tmp_path / label).mkdir()
        Image.new("RGB", (20, 20), "red").save(tmp_path / label / "one.png")
    (tmp_path / "sad" / "text.png").write_text("no picture")
    Image.new("1", (9000, 9000)).save(tmp_path / "sad" / "huge.png")
    loaded = load(find_corpus(tmp_path), SpectrogramConfig(kind="picture", picture_size=32))
    reasons = {clip.path.name: reason for clip, reason in loaded.failed}
    assert set(reasons) == {"text.png", "huge.png"}
    assert "not a PNG or JPEG" in reasons["text.png"]
    assert "9000 x 9000 pixels" in reasons["huge.png"]
    assert len(loaded) == 2


@pytest.fixture(scope="module")
def drawn(voices_corpus, tmp_path_factory):
    """The first eight clips as pictures of 32 x 32, drawn with settings of their own."""
    folder = tmp_path_factory.mktemp("pictures")
    config = SpectrogramConfig(kind="picture", picture_size=32, n_mels=48)
    write_pictures(dataclasses.replace(voices_corpus, clips=voices_corpus.clips[:8]), folder, config, workers=1)
    return folder, config


def test_pictures_tell_with_which_settings_they_were_drawn(drawn):
    folder, config = drawn
    loaded = load(find_corpus(folder), SpectrogramConfig(kind="picture", picture_size=32))
    assert loaded.spectrogram == config
    assert loaded.clips[0].speaker == "synthetic01" and loaded.clips[0].corpus == "synthetic-voices"


def test_a_picture_holds_what_its_sound_would_give(drawn, voices_corpus):
    folder, config = drawn
    loaded = load(find_corpus(folder), config)
    sounds = {clip.path.stem: clip for clip in voices_corpus.clips}
    for clip, sample in zip_of(loaded):
        waveform = audio.load_clip(sounds[clip.path.stem], sample_rate=16000)
        np.testing.assert_array_equal(sample.spectrogram, features.model_inputs(waveform, config)["spectrogram"])


def test_resized_pictures_do_not_pass_for_those_that_sound_would_give(drawn):
    loaded = load(find_corpus(drawn[0]), SpectrogramConfig(kind="picture", picture_size=48))
    assert loaded.spectrogram is None
    assert loaded.samples[0].spectrogram.shape == (48, 48, 3)


def test_settings_of_pictures_that_cannot_be_understood_are_refused(drawn, tmp_path):
    for file in drawn[0].rglob("*"):
        if file.is_file():
            target = tmp_path / file.relative_to(drawn[0])
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(file.read_bytes())
    (tmp_path / "spectrogram.toml").write_text("n_melz = 4\n")
    with pytest.raises(SettingsError, match="unknown setting 'n_melz'"):
        load(find_corpus(tmp_path), SpectrogramConfig(kind="picture", picture_size=32))

"""The engine: the same answers however a stream is cut, no sound kept, one model for many."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soxr

import emogram
from emogram import voices
from emogram.classifier import Classifier
from emogram.config import SpectrogramConfig
from emogram.errors import AudioError, ModelError
from emogram.live import Engine, WindowScore
from emogram.records import Segment, Turn
from emogram.testing import tiny_bundle

RATE = 16000


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Classifier.load(tiny_bundle(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def spoken():
    """Two voices, two emotions, pauses, and speech without one."""
    rng = np.random.default_rng(0)
    parts = []
    for number, label in enumerate(("happy", "sad")):
        parts += [voices.speak(label, speaker=voices.voices(2)[number % 2], seed=number), np.zeros(9000, np.float32)]
    sound = np.concatenate([*parts, parts[0], parts[2]])
    return (sound + 1e-4 * rng.standard_normal(len(sound))).astype(np.float32)


def heard(model, sound, *, rate=RATE, cut=None, **options):
    """Feed a sound in pieces of `cut` samples, or of random lengths where it is a generator."""
    sound = np.asarray(sound)
    channels = 1 if sound.ndim == 1 else sound.shape[1]
    engine = Engine(model, sample_rate=rate, channels=channels, **options)
    events, first = [], 0
    while first < len(sound):
        n = len(sound) if cut is None else cut if isinstance(cut, int) else int(cut.integers(0, 5000))
        events += engine.feed(sound[first : first + n])
        first += n
    return [*events, *engine.finish()]


def segments(events):
    return [event for event in events if isinstance(event, Segment)]


def windows(events):
    return [event for event in events if isinstance(event, WindowScore)]


def assert_same(some, others):
    assert len(some) == len(others) > 0
    for one, other in zip(some, others, strict=True):
        assert (one.start_s, one.end_s) == pytest.approx((other.start_s, other.end_s), abs=1e-4)
        assert (one.channel, one.speaker) == (other.channel, other.speaker)
        assert one.prediction.label == other.prediction.label
        assert one.prediction.scores == pytest.approx(other.prediction.scores, abs=1e-4)


@pytest.mark.parametrize("rate", [16000, 44100, 8000])
def test_answers_do_not_depend_on_how_a_stream_is_cut_or_windows_are_batched(model, spoken, rate):
    sound = soxr.resample(spoken, RATE, rate) if rate != RATE else spoken
    whole = heard(model, sound, rate=rate, batch_size=16)
    for cut, batch_size in ((rate // 50, 1), (rate * 3 + 1, 5), (np.random.default_rng(1), 1)):
        other = heard(model, sound, rate=rate, cut=cut, batch_size=batch_size)
        assert_same(segments(whole), segments(other))
        assert_same(windows(whole), windows(other))


def test_one_sample_at_a_time_is_the_same(model, spoken):
    short = spoken[4000:24000]
    engine = Engine(model, sample_rate=RATE)
    events = [event for sample in short for event in engine.feed(sample[np.newaxis])]
    assert_same(windows(heard(model, short)), windows([*events, *engine.finish()]))


def test_a_window_says_what_predict_says_of_its_sound(model, spoken):
    """Of all of it between the centres of its first frame and its last, which lie 192 samples apart."""
    said = windows(heard(model, spoken))
    for event in said[::5]:
        start, end = -(-round(event.start_s * RATE) // 192) * 192, round(event.end_s * RATE) // 192 * 192
        alone = model.predict(spoken[start:end], sample_rate=RATE)
        assert event.prediction.scores == pytest.approx(alone.scores, abs=1e-5)


def test_a_model_of_another_rate_hears_the_same_times(model, spoken, tmp_path):
    config = SpectrogramConfig(sample_rate=22050, win_length=512)
    other = emogram.load(tiny_bundle(tmp_path / "other", spectrogram=config))
    some, others = windows(heard(other, spoken, cut=777)), windows(heard(model, spoken))
    assert [(event.start_s, event.end_s) for event in some] == [(event.start_s, event.end_s) for event in others]
    assert_same(some, windows(heard(other, spoken)))


def test_segments_are_in_order_and_within_the_stream(model, spoken):
    found = segments(heard(model, spoken, cut=333))
    assert found[0].start_s >= 0
    assert found[-1].end_s <= len(spoken) / RATE
    for one, next_one in itertools.pairwise(found):
        assert one.start_s < one.end_s <= next_one.start_s
    for one in found:
        assert sum(one.prediction.scores.values()) == pytest.approx(1.0)
        assert one.prediction.confidence == one.prediction.scores[one.prediction.label]
        assert 0.0 < one.speech_ratio <= 1.0


def test_no_more_sound_is_kept_than_a_window_and_the_piece_in_hand(model, spoken):
    engine = Engine(model, sample_rate=RATE)
    for _ in range(3):
        engine.feed(spoken)
        for ear in engine._ears:
            assert len(ear._sound._sound) <= 2.048 * RATE + 512
            assert len(ear._unheard) < 512
    assert not engine._jobs


def test_segments_do_not_wait_for_long(model, spoken):
    """A window is told with the chunk that ends it, and a segment at the latest a window and the lag later."""
    engine = Engine(model, sample_rate=RATE)
    for first in range(0, len(spoken), 1600):
        for event in engine.feed(spoken[first : first + 1600]):
            if isinstance(event, WindowScore):
                assert 0 <= engine.duration_s - event.known_s < 0.1 + 0.032
                assert 0 <= event.known_s - event.end_s < 0.64
            else:
                assert engine.duration_s - event.end_s < 2.048 + 10.24 + 0.7


def test_channels_are_heard_apart_or_averaged(model, spoken):
    silent = np.zeros_like(spoken)
    stereo = np.stack([spoken, silent], axis=1)
    apart = heard(model, stereo, split=True)
    assert {event.channel for event in apart} == {0}
    alone = heard(model, spoken)
    assert [event.prediction.scores for event in windows(apart)] == [
        pytest.approx(event.prediction.scores, abs=1e-6) for event in windows(alone)
    ]
    both = heard(model, np.stack([spoken, spoken], axis=1))
    assert_same(both, alone)
    assert {event.channel for event in both} == {None}


def test_thirty_two_channels_are_one_stream(model, spoken):
    short = spoken[:64000]
    assert_same(heard(model, np.repeat(short[:, np.newaxis], 32, axis=1)), heard(model, short))


def test_turns_part_the_stream_and_name_the_speaker(model, spoken):
    turns = [Turn(1.0, 4.0, "ann"), Turn(4.0, 9.0, "bob"), Turn(3.5, 5.0, "cy")]
    events = heard(model, spoken, turns=turns, cut=555)
    assert {event.speaker for event in events} == {"ann", "bob", "cy"}
    for event in events:
        (turn,) = [turn for turn in turns if turn.speaker == event.speaker]
        assert turn.start_s <= event.start_s < event.end_s <= turn.end_s
    assert_same(events, heard(model, spoken, turns=turns))


def test_many_engines_share_one_model(model, spoken):
    sounds = [np.roll(spoken, 1000 * number) for number in range(4)]
    alone = [heard(model, sound, cut=1600) for sound in sounds]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda sound: heard(model, sound, cut=1600), sounds))
    for one, other in zip(alone, together, strict=True):
        assert_same(one, other)


def test_silence_and_music_are_no_speech(model):
    seconds = np.arange(5 * RATE) / RATE
    chord = sum(np.sin(2 * np.pi * hertz * seconds) / 6 for hertz in (220, 277, 330))
    assert heard(model, np.zeros(5 * RATE)) == []
    assert heard(model, chord) == []


def test_unsure_is_as_the_model_says(spoken, tmp_path):
    strict = Classifier.load(tiny_bundle(tmp_path / "model", abstain_threshold=0.99))
    assert all(segment.prediction.abstained for segment in segments(heard(strict, spoken)))


def test_what_is_no_sound_is_refused(model, tmp_path):
    with pytest.raises(AudioError, match="sample rate 100 Hz; expected 4000 to 768000 Hz"):
        Engine(model, sample_rate=100)
    engine = Engine(model, sample_rate=RATE, channels=2)
    with pytest.raises(AudioError, match=r"samples of shape \(10, 1\); expected \(n, 2\)"):
        engine.feed(np.zeros(10))
    with pytest.raises(AudioError, match=r"not finite \(NaN, infinity, or as good as that\) at 0.0 s"):
        engine.feed(np.full((10, 2), np.nan))
    pictures = Classifier.load(tiny_bundle(tmp_path / "pictures", spectrogram=None))
    with pytest.raises(ModelError, match="cannot listen"):
        Engine(pictures, sample_rate=RATE)

"""A joined recording is what its truth says, the same for one seed, and as hard as was asked."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import soundfile

from emogram import audio
from emogram.corpora import find_corpus
from emogram.degrade import active_level
from emogram.errors import CorpusError, InputError, SettingsError
from emogram.joined import LEVEL_DBFS, MARGIN_S, JoinConfig, join, read_truth, silences
from emogram.metrics import events_of
from emogram.records import Clip

RATE = 16000


@pytest.fixture(scope="module")
def long_one(voices_corpus, tmp_path_factory):
    """Three minutes of four speakers, each clip of which is its own voice, clean."""
    path = tmp_path_factory.mktemp("joined") / "talk.wav"
    return join(voices_corpus.clips, path, JoinConfig(minutes=3.0, seed=1))


def samples(joined):
    return soundfile.read(joined.path, dtype="float32", always_2d=True)[0]


def test_it_lasts_as_long_as_asked_and_clips_follow_one_another(long_one):
    sound = samples(long_one)
    assert len(sound) == 3 * 60 * RATE and long_one.duration_s == 180.0
    assert len(long_one.truth) > 30
    for one, other in pairwise(long_one.truth):
        shortest, longest = (0.2, 0.8) if (one.speaker, one.label) == (other.speaker, other.label) else (0.3, 2.0)
        assert shortest - 1e-4 <= other.start_s - one.end_s <= longest + 1e-4


def test_between_clips_is_digital_silence_and_within_them_sound(long_one):
    sound = samples(long_one)[:, 0]
    for start_s, end_s in silences(long_one.truth, 180.0, channel=0):
        first = round((start_s + MARGIN_S) * RATE) if start_s else 0
        assert not sound[first : round((end_s - MARGIN_S) * RATE)].any()
    for event in long_one.truth:
        assert np.abs(sound[round(event.start_s * RATE) : round(event.end_s * RATE)]).max() > 0.003


def test_each_stretch_is_the_clip_that_it_says_it_is(long_one):
    sound = samples(long_one)[:, 0]
    for event, clip in list(zip(long_one.truth, long_one.clips, strict=True))[:12]:
        assert (event.label, event.speaker) == (clip.label, clip.speaker)
        piece = sound[round(event.start_s * RATE) : round(event.end_s * RATE)]
        whole = audio.load_clip(clip, sample_rate=RATE)
        # Where in the clip the piece lies, by correlation: there the two are alike but for a factor and 16 bits.
        place = int(np.argmax(np.correlate(whole, piece, "valid")))
        found = whole[place : place + len(piece)]
        factor = (found @ piece) / (found @ found)
        np.testing.assert_allclose(piece, factor * found, atol=1e-4)
        # What is left out at both ends is soft.
        left_out = np.concatenate([whole[: max(0, place - 800)], whole[place + len(piece) + 800 :]])
        assert not left_out.size or np.sqrt(np.mean(left_out**2)) < 0.5 * np.sqrt(np.mean(found**2))


def test_an_emotion_lasts_some_clips_of_one_speaker_and_then_another_begins(long_one):
    stretches = events_of(long_one.truth, 2.5)
    counts = [
        sum(stretch.start_s <= event.start_s < stretch.end_s for event in long_one.truth) for stretch in stretches
    ]
    assert all(3 <= count <= 8 for count in counts[:-1])
    assert all(one.label != other.label for one, other in pairwise(stretches))
    inside = [
        {event.speaker for event in long_one.truth if stretch.start_s <= event.start_s < stretch.end_s}
        for stretch in stretches
    ]
    assert all(len(speakers) == 1 for speakers in inside)
    goes_on = [one == other for one, other in pairwise(inside)]
    assert any(goes_on) and not all(goes_on)


def test_no_clip_comes_again_before_its_fellows_came(long_one):
    for speaker in {event.speaker for event in long_one.truth}:
        for label in ("angry", "calm", "happy", "sad"):
            said = [
                clip.path
                for event, clip in zip(long_one.truth, long_one.clips, strict=True)
                if (event.speaker, event.label) == (speaker, label)
            ]
            for first in range(0, len(said) - 1, 2):  # there are two
                assert said[first] != said[first + 1]


def test_the_truth_and_the_turns_are_read_back_from_disk(long_one):
    assert read_truth(long_one.path.with_suffix(".jsonl")) == long_one.truth
    lines = [json.loads(line) for line in long_one.path.with_suffix(".jsonl").read_text("utf-8").splitlines()]
    # Speech and silence take turns and fill the recording.
    assert lines[0]["start_s"] == 0.0 and lines[-1]["end_s"] == 180.0
    assert all(one["end_s"] == other["start_s"] for one, other in pairwise(lines))
    assert all((one["label"] is None) != (other["label"] is None) for one, other in pairwise(lines))
    stretches = events_of(long_one.truth, 2.5)
    turns = [line.split() for line in long_one.path.with_suffix(".rttm").read_text("utf-8").splitlines()]
    assert {(turn[0], turn[1], turn[2]) for turn in turns} == {("SPEAKER", "talk", "1")}
    assert len(turns) < len(stretches), "a turn does not tell where the emotion changes"
    assert all(one[7] != other[7] for one, other in pairwise(turns))
    for event in long_one.truth:
        around = [turn for turn in turns if float(turn[3]) - 1e-6 <= event.start_s < float(turn[3]) + float(turn[4])]
        assert [turn[7] for turn in around] == [event.speaker]
        assert event.end_s <= float(around[0][3]) + float(around[0][4]) + 1e-6


def test_one_seed_is_one_recording_and_the_order_of_clips_does_not_count(voices_corpus, tmp_path):
    config = JoinConfig(minutes=0.3, noise="white", level_db=6.0, seed=5)
    one = join(voices_corpus.clips, tmp_path / "one.wav", config)
    two = join(voices_corpus.clips[::-1], tmp_path / "two.wav", config)
    other = join(voices_corpus.clips, tmp_path / "other.wav", JoinConfig(minutes=0.3, seed=6))
    assert one.truth == two.truth != other.truth
    assert one.path.read_bytes() == two.path.read_bytes()


def test_each_speaker_is_as_loud_as_the_others_on_average_and_anger_stays_louder(voices_corpus, long_one):
    sound = samples(long_one)[:, 0]
    factors_db = {}
    for event, clip in zip(long_one.truth, long_one.clips, strict=True):
        piece = sound[round(event.start_s * RATE) : round(event.end_s * RATE)]
        peaks = [np.abs(wave).max() for wave in (piece, audio.load_clip(clip, sample_rate=RATE))]
        factors_db.setdefault(event.speaker, []).append(20.0 * np.log10(peaks[0] / peaks[1]))
    for speaker, own in factors_db.items():
        assert np.ptp(own) < 0.05, "one factor for all emotions"
        waves = [audio.load_clip(clip, sample_rate=RATE) for clip in voices_corpus.clips if clip.speaker == speaker]
        levels_db = [10.0 * np.log10(active_level(wave, RATE)) for wave in waves]
        assert np.mean(levels_db) + np.mean(own) == pytest.approx(LEVEL_DBFS, abs=0.1)


def test_noise_and_level_change_the_sound_and_not_the_truth(voices_corpus, long_one, tmp_path):
    noises = {}
    for name, config in {
        "white": JoinConfig(minutes=3.0, seed=1, noise="white", snr_db=10.0),
        "babble": JoinConfig(minutes=3.0, seed=1, noise="babble", snr_db=5.0),
    }.items():
        noisy = join(voices_corpus.clips, tmp_path / f"{name}.flac", config, babblers=voices_corpus.clips)
        assert noisy.truth == long_one.truth
        noises[name] = samples(noisy)[:, 0] - samples(long_one)[:, 0]
    for name, snr_db in (("white", 10.0), ("babble", 5.0)):
        level_db = 10.0 * np.log10(np.mean(noises[name].astype(float) ** 2))
        assert level_db == pytest.approx(LEVEL_DBFS - snr_db, abs=0.2), name
    clean = samples(long_one)[:, 0]
    # Hiss is never the same; babble is a loop of a minute.
    assert np.abs(np.corrcoef(noises["white"][: 60 * RATE], noises["white"][60 * RATE : 120 * RATE])[0, 1]) < 0.01
    assert np.corrcoef(noises["babble"][: 60 * RATE], noises["babble"][60 * RATE : 120 * RATE])[0, 1] > 0.99

    moved = join(voices_corpus.clips, tmp_path / "moved.wav", JoinConfig(minutes=3.0, seed=1, level_db=6.0))
    assert moved.truth == long_one.truth
    changed = samples(moved)[:, 0]
    factors_db = {}
    for event in long_one.truth:
        part = slice(round(event.start_s * RATE), round(event.end_s * RATE))
        factor = np.linalg.norm(changed[part]) / np.linalg.norm(clean[part])
        stretch = next(s.start_s for s in events_of(long_one.truth, 2.5) if s.start_s <= event.start_s < s.end_s)
        factors_db.setdefault(stretch, []).append(20.0 * np.log10(factor))
    assert all(np.ptp(values) < 0.05 for values in factors_db.values())
    assert all(abs(values[0]) < 6.05 for values in factors_db.values())
    assert np.ptp([values[0] for values in factors_db.values()]) > 4.0


def test_a_call_has_its_speakers_on_two_channels(voices_corpus, tmp_path):
    call = join(voices_corpus.clips, tmp_path / "call.flac", JoinConfig(minutes=1.5, channels=2, seed=3))
    sound = samples(call)
    assert sound.shape == (90 * RATE, 2)
    channels = {event.speaker: event.channel for event in call.truth}
    assert set(channels.values()) == {0, 1} and len(channels) >= 3
    for event in call.truth:
        part = sound[round(event.start_s * RATE) : round(event.end_s * RATE)]
        assert event.channel == channels[event.speaker]
        assert np.abs(part[:, event.channel]).max() > 0.003 and not part[:, 1 - event.channel].any()
    lines = call.path.with_suffix(".rttm").read_text("utf-8").splitlines()
    assert {line.split()[7]: int(line.split()[2]) - 1 for line in lines} == channels
    stretches = [events_of([event for event in call.truth if event.channel == channel], 100.0) for channel in (0, 1)]
    assert all(one.label != two.label for own in stretches for one, two in pairwise(own))


def test_eight_minutes_take_no_more_memory_than_half_a_one(voices_folder, tmp_path):
    code = """
import resource, sys
from pathlib import Path
from emogram.corpora import find_corpus
from emogram.joined import JoinConfig, join
clips = find_corpus(Path(sys.argv[1]) / "manifest.csv").clips
for minutes in (0.5, 8.0):
    join(clips, Path(sys.argv[2]), JoinConfig(minutes=minutes, noise="white"))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    command = [sys.executable, "-c", code, str(voices_folder), str(tmp_path / "long.wav")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    short_kib, long_kib = map(int, run.stdout.split())
    assert (tmp_path / "long.wav").stat().st_size == 44 + 8 * 60 * RATE * 2
    assert long_kib - short_kib < 10_000  # the sound alone, in float32, would be 30,000


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"minutes": 0.0}, "minutes is 0.0"),
        ({"stretch_clips": (4, 3)}, "stretch_clips is"),
        ({"pause_s": (0.1, 1.0)}, "pause_s is 0.1, 1.0; expected the shortest and the longest, from 0.2 up"),
        ({"noise": "rain"}, "unknown noise 'rain'"),
        ({"stay": 1.5}, "stay is 1.5"),
        ({"channels": 3}, "channels is 3"),
    ],
)
def test_settings_that_make_no_recording_are_refused(options, words):
    with pytest.raises(SettingsError, match=words):
        JoinConfig(**options)


def test_what_cannot_be_joined_is_refused_and_leaves_nothing(voices_corpus, tmp_path):
    clips = voices_corpus.clips
    with pytest.raises(SettingsError, match=r"written as \.wav or \.flac"):
        join(clips, tmp_path / "x.mp3", JoinConfig())
    with pytest.raises(SettingsError, match=r"a \.wav holds at most 4 GB"):
        join(clips, tmp_path / "x.wav", JoinConfig(minutes=60 * 48))
    with pytest.raises(SettingsError, match="other speakers' clips"):
        join(clips, tmp_path / "x.wav", JoinConfig(noise="babble"))
    with pytest.raises(CorpusError, match="no speaker with clips of two emotions"):
        join([clip for clip in clips if clip.label == "sad"], tmp_path / "x.wav", JoinConfig())
    with pytest.raises(CorpusError, match="needs two speakers"):
        join([c for c in clips if c.speaker == "synthetic01"], tmp_path / "x.wav", JoinConfig(channels=2))
    with pytest.raises(CorpusError, match="hold not one clip"):
        join(clips, tmp_path / "x.wav", JoinConfig(minutes=0.01))
    with pytest.raises(InputError, match="no such file"):
        join(
            [Clip(tmp_path / "a.wav", "sad", "1"), Clip(tmp_path / "b.wav", "calm", "1")],
            tmp_path / "x.wav",
            JoinConfig(),
        )
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="cannot be read"):
        read_truth(tmp_path / "none.jsonl")
    (tmp_path / "other.jsonl").write_text('{"text": "hello"}\n', encoding="utf-8")
    with pytest.raises(InputError, match="not the truth of a joined recording"):
        read_truth(tmp_path / "other.jsonl")


@pytest.mark.corpora
def test_real_clips_lose_their_long_silence_and_keep_their_speech(corpora_root, tmp_path):
    clips = [clip for clip in find_corpus(corpora_root / "ravdess").clips if clip.speaker in ("02", "05")]
    joined = join(clips, tmp_path / "real.flac", JoinConfig(minutes=2.0))
    assert {event.speaker for event in joined.truth} == {"02", "05"}
    lengths = [event.end_s - event.start_s for event in joined.truth]
    # The clips last 3 to 5 s, and their two sentences of six or seven syllables take 1 to 3 s.
    assert 1.0 < np.median(lengths) < 2.2 and max(lengths) < 4.0

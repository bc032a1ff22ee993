"""The synthetic voices, measured by means that share nothing with the synthesiser."""

from __future__ import annotations

import contextlib
import csv
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from emogram.audio import Waveform, check_waveform
from emogram.errors import OutputError, SettingsError
from emogram.progress import Progress, Task
from emogram.voices import NEUTRAL, PROFILES, Voice, make_corpus, speak, voices

RATE = 16000
LABELS = ["angry", "calm", "disgust", "fearful", "happy", "neutral", "sad", "surprised"]


def f0_of_frames(waveform: Waveform) -> list[float]:
    """F0 in Hz of the clearly voiced frames, in order, by the normalised autocorrelation of each frame of 50 ms."""
    loudest = np.abs(waveform).max()
    found = []
    for start in range(0, len(waveform) - 800, 480):
        frame = waveform[start : start + 800].astype(np.float64)
        if np.abs(frame).max() < 0.1 * loudest:
            continue
        frame = frame - frame.mean()
        lags = range(RATE // 450, RATE // 60)
        likeness = [
            frame[:-lag] @ frame[lag:] / np.sqrt((frame[:-lag] @ frame[:-lag]) * (frame[lag:] @ frame[lag:]))
            for lag in lags
        ]
        best = int(np.argmax(likeness))
        # Multiples of the period are nearly as alike: take the first peak that comes close to the best.
        for index in range(1, best):
            peak = likeness[index - 1] < likeness[index] >= likeness[index + 1]
            if peak and likeness[index] > 0.9 * likeness[best]:
                best = index
                break
        if likeness[best] > 0.8:
            found.append(RATE / lags[best])
    return found


def f0_of(waveform: Waveform) -> float:
    """Geometric mean of F0 in Hz."""
    return float(np.exp(np.mean(np.log(f0_of_frames(waveform)))))


def level_db(waveform: Waveform) -> float:
    return float(10 * np.log10(np.mean(np.square(waveform, dtype=np.float64))))


def high_share_db(waveform: Waveform) -> float:
    """Energy above 1 kHz re all, in dB."""
    power = np.abs(np.fft.rfft(waveform)) ** 2
    return float(10 * np.log10(power[len(waveform) * 1000 // RATE :].sum() / power.sum()))


def takes(emotion: str, speaker: Voice, n: int = 5) -> list[Waveform]:
    return [speak(emotion, speaker=speaker, seed=seed) for seed in range(n)]


@pytest.fixture(scope="module")
def woman() -> Voice:
    return voices(1)[0]


@pytest.fixture(scope="module")
def man() -> Voice:
    return voices(2)[1]


def test_the_voices_know_the_eight_emotions_in_canonical_order_and_neutral_changes_nothing() -> None:
    assert list(PROFILES) == LABELS
    assert PROFILES["neutral"] == NEUTRAL


@pytest.mark.parametrize("emotion", LABELS)
def test_clips_are_sound_that_audio_accepts(emotion: str, woman: Voice, man: Voice) -> None:
    for speaker in (woman, man):
        for waveform in takes(emotion, speaker, 3):
            assert waveform.dtype == np.float32
            assert waveform.ndim == 1
            assert 1.2 <= len(waveform) / RATE <= 3.0
            assert np.isfinite(waveform).all()
            assert np.abs(waveform).max() <= 1.0
            check_waveform(waveform, RATE)


def test_one_seed_gives_the_same_samples_and_another_gives_others(woman: Voice) -> None:
    first = speak("happy", speaker=woman, seed=3)
    np.testing.assert_array_equal(first, speak("happy", speaker=woman, seed=3))
    other = speak("happy", speaker=woman, seed=4)
    assert len(first) != len(other) or not np.array_equal(first, other)


def test_f0_of_neutral_speech_is_that_of_the_voice() -> None:
    for speaker in voices(4):
        measured = np.mean([f0_of(waveform) for waveform in takes("neutral", speaker)])
        assert measured == pytest.approx(speaker.f0_hz, rel=0.08)


@pytest.mark.parametrize("emotion", LABELS)
def test_f0_follows_the_profile(emotion: str, man: Voice) -> None:
    # A voice of mean expressiveness and habits of every kind: only the takes' own deviation is left.
    speakers = [replace(man, expressiveness=1.0, habits_seed=seed) for seed in range(6)]
    ratios = [f0_of(speak(emotion, speaker=speaker, seed=1)) / man.f0_hz for speaker in speakers]
    assert np.exp(np.mean(np.log(ratios))) == pytest.approx(PROFILES[emotion].f0_mean, rel=0.1)


def test_angry_is_louder_faster_and_brighter_than_sad() -> None:
    for speaker in voices(3):
        angry, sad = takes("angry", speaker), takes("sad", speaker)
        assert np.mean([level_db(clip) for clip in angry]) > np.mean([level_db(clip) for clip in sad]) + 8
        # Sentences are of the same number of syllables on average, so faster is shorter.
        assert np.mean([len(clip) for clip in angry]) < 0.8 * np.mean([len(clip) for clip in sad])
        assert np.mean([high_share_db(clip) for clip in angry]) > np.mean([high_share_db(clip) for clip in sad]) + 3


def test_surprise_ends_higher_than_it_began_and_disgust_lower(woman: Voice) -> None:
    def rise_st(waveform: Waveform) -> float:
        frames = np.log2(f0_of_frames(waveform)) * 12
        quarter = len(frames) // 4
        return float(np.median(frames[-quarter:]) - np.median(frames[:quarter]))

    assert np.mean([rise_st(clip) for clip in takes("surprised", woman)]) > 2
    assert np.mean([rise_st(clip) for clip in takes("disgust", woman)]) < -2


def test_no_expressiveness_makes_all_emotions_sound_neutral(woman: Voice) -> None:
    flat = replace(woman, expressiveness=0.0)
    for emotion in ("angry", "fearful", "sad"):
        f0_hz = np.mean([f0_of(clip) for clip in takes(emotion, flat)])
        assert f0_hz == pytest.approx(woman.f0_hz, rel=0.08)


def test_voices_take_turns_in_gender_and_differ() -> None:
    made = voices(6)
    assert [voice.name for voice in made] == [f"synthetic{number:02d}" for number in range(1, 7)]
    assert [voice.gender for voice in made] == ["female", "male"] * 3
    assert min(v.f0_hz for v in made if v.gender == "female") > max(v.f0_hz for v in made if v.gender == "male")
    for attribute in ("f0_hz", "formant_scale", "jitter", "breathiness", "tempo", "habits_seed"):
        assert len({getattr(voice, attribute) for voice in made}) == 6
    clips = [speak("neutral", speaker=voice, seed=0) for voice in made]
    assert all(len(a) != len(b) or not np.array_equal(a, b) for a, b in pairwise(clips))


def test_the_first_voices_do_not_depend_on_how_many_there_are_but_on_the_seed() -> None:
    assert voices(5)[:3] == voices(3)
    assert voices(3, seed=1) != voices(3, seed=0)


def test_higher_sample_rate_keeps_duration_and_content(woman: Voice) -> None:
    plain = speak("calm", speaker=woman, seed=0)
    fine = speak("calm", speaker=woman, seed=0, sample_rate=48000)
    assert len(fine) == 3 * len(plain)
    assert level_db(fine) == pytest.approx(level_db(plain), abs=0.1)
    spectrum = np.abs(np.fft.rfft(fine)) ** 2
    assert spectrum[len(spectrum) * 9 // 24 :].sum() < 1e-5 * spectrum.sum()


def test_unknown_emotion_is_refused_with_the_known_ones(woman: Voice) -> None:
    with pytest.raises(SettingsError, match=r"unknown emotion 'bored'; .* know angry, calm, .*, surprised$"):
        speak("bored", speaker=woman, seed=0)


def test_numbers_out_of_range_are_refused(woman: Voice, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"0 synthetic speakers asked for; expected 1 or more"):
        voices(0)
    with pytest.raises(SettingsError, match=r"seed -1; expected 0 or more"):
        voices(1, seed=-1)
    with pytest.raises(SettingsError, match=r"seed -2; expected 0 or more"):
        speak("sad", speaker=woman, seed=-2)
    with pytest.raises(SettingsError, match=r"sample rate 100 Hz; expected 4000 to 768000 Hz"):
        speak("sad", speaker=woman, seed=0, sample_rate=100)
    with pytest.raises(SettingsError, match=r"0 utterances of each voice and emotion asked for; expected 1 or more"):
        make_corpus(tmp_path, n_utterances=0)
    assert list(tmp_path.iterdir()) == []


def test_manifest_and_files_agree(tmp_path: Path) -> None:
    manifest = make_corpus(tmp_path, n_speakers=2, n_utterances=1)
    assert manifest == tmp_path / "manifest.csv"
    with manifest.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "label", "speaker", "gender", "corpus"]
    assert sorted(row["path"] for row in rows) == sorted(
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.wav")
    )
    assert Counter(row["label"] for row in rows) == dict.fromkeys(LABELS, 2)
    assert {(row["speaker"], row["gender"]) for row in rows} == {("synthetic01", "female"), ("synthetic02", "male")}
    assert {row["corpus"] for row in rows} == {"synthetic-voices"}
    for row in rows:
        assert row["path"] == f"{row['label']}/{row['speaker']}_{row['label']}_01.wav"
        found = soundfile.info(tmp_path / row["path"])
        assert (found.samplerate, found.channels, found.subtype) == (RATE, 1, "PCM_16")
    assert len({hashlib.sha256((tmp_path / row["path"]).read_bytes()).digest() for row in rows}) == 16


def test_a_corpus_holds_what_speak_says(tmp_path: Path, woman: Voice) -> None:
    make_corpus(tmp_path, n_speakers=1, n_utterances=1)
    stored, _ = soundfile.read(tmp_path / "angry" / "synthetic01_angry_01.wav", dtype="float32")
    np.testing.assert_allclose(stored, speak("angry", speaker=woman, seed=1), atol=1 / 32768)


def test_one_seed_gives_the_same_bytes_in_one_process_and_in_several(tmp_path: Path) -> None:
    def contents(folder: Path) -> dict[str, bytes]:
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}

    alone, together, other = tmp_path / "alone", tmp_path / "together", tmp_path / "other"
    make_corpus(alone, n_speakers=2, n_utterances=2, seed=5, workers=1)
    make_corpus(together, n_speakers=2, n_utterances=2, seed=5, workers=2)
    make_corpus(other, n_speakers=2, n_utterances=2, seed=6, workers=1)
    assert contents(alone) == contents(together)
    assert contents(alone).keys() == contents(other).keys()
    assert all(contents(alone)[name] != contents(other)[name] for name in contents(alone) if name.endswith(".wav"))


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "corpus").write_text("not a folder")
    with pytest.raises(OutputError, match=r"corpus/angry/synthetic01_angry_01.wav: a file stands where a folder"):
        make_corpus(tmp_path / "corpus", n_speakers=1, n_utterances=1)


def test_progress_is_told_of_every_clip(tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []

    class Counting(Task):
        def advance(self, steps: int = 1, *, note: str = "") -> None:
            told.append(("advance", steps))

    class Listening(Progress):
        @contextlib.contextmanager
        def task(self, what: str, total: int, *, unit: str = "clips") -> Iterator[Task]:
            told.append(("total", total))
            yield Counting()

    make_corpus(tmp_path, n_speakers=1, n_utterances=1, progress=Listening())
    assert told == [("total", 8)] + [("advance", 1)] * 8

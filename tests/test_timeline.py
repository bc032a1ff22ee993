"""Recordings of any length and any fault -> a timeline, with one clear line on what is wrong."""

from __future__ import annotations

import contextlib
import os
import struct
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

import emogram
from emogram import recordings, voices
from emogram.classifier import Classifier
from emogram.config import TimelineConfig
from emogram.errors import AudioError, InputError, MissingExtraError, SettingsError
from emogram.live import Engine, WindowScore
from emogram.progress import Progress
from emogram.recordings import open_recording, recordings_in
from emogram.records import Prediction, Segment, Turn
from emogram.testing import LABELS, tiny_bundle
from emogram.timeline import NO_SPEECH, Collector, analyze, summary_of
from emogram.turns import read_turns

sys.path.insert(0, str(Path(__file__).parents[1]))

from torture.seeds import write_media

RATE = 16000


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Classifier.load(tiny_bundle(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def spoken():
    """Nine seconds: two voices with a pause between."""
    one, other = (voices.speak(label, speaker=voices.voices(2)[i], seed=i) for i, label in enumerate(("happy", "sad")))
    return np.concatenate([one, np.zeros(16000, np.float32), other, one, other, one])[: 9 * RATE]


@pytest.fixture
def wav(spoken, tmp_path):
    soundfile.write(tmp_path / "spoken.wav", spoken, RATE, subtype="FLOAT")
    return tmp_path / "spoken.wav"


def assert_same(some, others, *, within=1e-4):
    assert len(some) == len(others) > 0
    for one, other in zip(some, others, strict=True):
        assert (one.start_s, one.end_s) == pytest.approx((other.start_s, other.end_s), abs=within)
        assert one.prediction.label == other.prediction.label
        assert one.prediction.scores == pytest.approx(other.prediction.scores, abs=within)


# ---------------------------------------------------------------- one engine


def test_a_file_and_a_stream_give_the_same_segments(model, spoken, wav):
    timeline = analyze(wav, model=model)
    engine, collector = Engine(model, sample_rate=RATE), Collector(model.labels)
    rng = np.random.default_rng(0)
    first = 0
    while first < len(spoken):
        n = int(rng.integers(1, 4000))
        collector.add(engine.feed(spoken[first : first + n]))
        first += n
    collector.add(engine.finish())
    live = collector.timeline(duration_s=engine.duration_s, sample_rate=RATE, channels=1)
    assert_same(timeline.segments, live.segments)
    np.testing.assert_allclose(timeline.windows.scores, live.windows.scores, atol=1e-4)
    np.testing.assert_array_equal(timeline.windows.start_s, live.windows.start_s)
    assert timeline.summary["shares"] == pytest.approx(live.summary["shares"], abs=1e-4)


def test_a_timeline_tells_of_the_recording(model, spoken, wav):
    timeline = emogram.analyze(str(wav), model=model)
    assert timeline.duration_s == pytest.approx(len(spoken) / RATE)
    assert (timeline.sample_rate, timeline.channels, timeline.partial) == (RATE, 1, False)
    assert timeline.warnings == ()
    assert timeline.windows.labels == LABELS
    assert timeline.windows.scores.dtype == np.float32
    np.testing.assert_allclose(timeline.windows.scores.sum(axis=1), 1.0, atol=1e-5)
    assert set(timeline.windows.channel) == {-1}


def test_raw_segments_differ_from_smoothed_ones_and_windows_do_not(model, wav):
    raw, smoothed = analyze(wav, model=model, raw=True), analyze(wav, model=model)
    np.testing.assert_array_equal(raw.windows.scores, smoothed.windows.scores)
    assert raw.segments != smoothed.segments
    assert raw.segments == analyze(wav, model=model, config=TimelineConfig(smooth=False)).segments
    for segment in raw.segments:
        assert segment.prediction.label == max(segment.prediction.scores, key=segment.prediction.scores.__getitem__)


def test_the_two_sides_of_a_call_are_told_apart(model, spoken, tmp_path):
    soundfile.write(tmp_path / "call.wav", np.stack([spoken, np.roll(spoken, 30000)], axis=1), RATE)
    timeline = analyze(tmp_path / "call.wav", model=model, channels="split")
    assert {segment.channel for segment in timeline.segments} == {0, 1}
    assert set(timeline.summary["channels"]) == {"0", "1"}
    order = [(segment.start_s, segment.channel) for segment in timeline.segments]
    assert order == sorted(order)
    windows = timeline.windows
    assert list(zip(windows.channel, windows.start_s, strict=True)) == sorted(
        zip(windows.channel, windows.start_s, strict=True)
    )
    with pytest.raises(SettingsError, match="channels is 'both'; expected 'mix' or 'split'"):
        analyze(tmp_path / "call.wav", model=model, channels="both")


def test_a_hand_made_summary():
    def segment(start_s, end_s, label, confidence, ratio, speaker, unsure=False):
        scores = {"angry": confidence, "sad": 1 - confidence}
        said = Prediction(label, scores, scores[label], unsure)
        return Segment(start_s, end_s, None, said, ratio, speaker)

    summary = summary_of(
        [segment(0, 10, "angry", 0.8, 0.5, "ann"), segment(10, 20, "sad", 0.4, 1.0, "bob", unsure=True)],
        ["angry", "sad"],
    )
    assert summary["speech_s"] == pytest.approx(15.0)
    assert summary["scores"] == pytest.approx({"angry": (5 * 0.8 + 10 * 0.4) / 15, "sad": (5 * 0.2 + 10 * 0.6) / 15})
    assert summary["label"] == "angry"
    assert summary["confidence"] == summary["scores"]["angry"]
    assert summary["shares"] == pytest.approx({"angry": 1 / 3, "unsure": 2 / 3})
    assert summary["speakers"]["ann"]["shares"] == {"angry": 1.0}
    assert "channels" not in summary
    assert summary_of([], ["angry"]) == {"label": None, "confidence": None, "speech_s": 0.0, "scores": {}, "shares": {}}


def test_a_hand_made_summary_of_dimensions_and_of_the_sides_of_a_call():
    def segment(channel, seconds, arousal):
        said = Prediction("angry", {"angry": 1.0}, 1.0, dimensions={"arousal": arousal})
        return Segment(0.0, seconds, channel, said, 0.5)

    segments = [segment(0, 2.0, 0.1), segment(0, 6.0, 0.5), segment(1, 8.0, 0.9)]
    summary = summary_of(segments, ["angry"])
    assert summary["dimensions"] == pytest.approx({"arousal": (0.1 * 2 + 0.5 * 6 + 0.9 * 8) / 16})
    assert set(summary["channels"]) == {"0", "1"}
    assert summary["channels"]["0"]["dimensions"] == pytest.approx({"arousal": (0.1 * 2 + 0.5 * 6) / 8})
    assert summary["channels"]["1"]["scores"] == {"angry": 1.0} and summary["channels"]["1"]["speech_s"] == 4.0
    assert summary_of(segments, [])["dimensions"] == summary["dimensions"], "where no classes are told as well"
    plain = [Segment(0.0, 1.0, None, Prediction("angry", {"angry": 1.0}, 1.0), 1.0)]
    assert "dimensions" not in summary_of(plain, ["angry"])


def test_windows_are_gathered_with_all_that_was_said_of_them_however_many():
    """More than are packed at once, from both sides of a call by turns."""
    n = 2345
    scores = np.random.default_rng(0).dirichlet((1, 1), n)
    said = [
        Prediction("angry", {"angry": float(a), "sad": float(b)}, float(a), dimensions={"arousal": i / n})
        for i, (a, b) in enumerate(scores)
    ]
    collector = Collector(("angry", "sad"), ("arousal",))
    for i, each in enumerate(said):
        collector.add([WindowScore(i * 0.5, i * 0.5 + 2.0, i % 2, None, each, i * 0.5 + 2.0)])
    windows = collector.timeline(duration_s=n / 2, sample_rate=RATE, channels=2).windows
    order = [*range(0, n, 2), *range(1, n, 2)]
    assert windows.labels == ("angry", "sad")
    np.testing.assert_array_equal(windows.start_s, [i * 0.5 for i in order])
    np.testing.assert_array_equal(windows.end_s, [i * 0.5 + 2.0 for i in order])
    np.testing.assert_array_equal(windows.channel, [i % 2 for i in order])
    np.testing.assert_array_equal(windows.scores, scores[order].astype(np.float32))
    np.testing.assert_array_equal(windows.dimensions["arousal"], np.float32([i / n for i in order]))
    kinds = [each.dtype for each in (windows.start_s, windows.end_s, windows.scores, windows.dimensions["arousal"])]
    assert kinds == [np.float64, np.float64, np.float32, np.float32] and windows.channel.dtype == np.int64


def test_whoever_waits_is_told_each_second_that_is_done(model, wav):
    told = []

    class Listener(Progress):
        @contextlib.contextmanager
        def task(self, what, total, *, unit="clips"):
            told.append((what, total, unit))
            yield self

        def advance(self, steps=1, *, note=""):
            told.append(steps)

    analyze(wav, model=model, progress=Listener())
    assert told[0] == ("analysing spoken.wav", 9, "s") and sum(told[1:]) == 9 and min(told[1:]) >= 0


# ---------------------------------------------------------------- turns

RTTM = "SPEAKER spoken 1 0.00 3.00 <NA> <NA> ann <NA> <NA>\nSPEAKER spoken 1 3.0 5.5 <NA> <NA> bob <NA> <NA>\n;; x\n"


def test_turns_part_the_timeline_and_are_summed_up(model, wav, tmp_path):
    (tmp_path / "turns.rttm").write_text(RTTM)
    timeline = analyze(wav, model=model, turns=tmp_path / "turns.rttm")
    borders = {"ann": (0.0, 3.0), "bob": (3.0, 8.5)}
    assert {segment.speaker for segment in timeline.segments} == {"ann", "bob"} == set(timeline.summary["speakers"])
    for segment in timeline.segments:
        low, high = borders[segment.speaker]
        assert low <= segment.start_s < segment.end_s <= high
    speech = [values["speech_s"] for values in timeline.summary["speakers"].values()]
    assert sum(speech) == pytest.approx(timeline.summary["speech_s"])


def test_rttm_and_textgrid_tell_the_same(tmp_path):
    from praatio import textgrid

    (tmp_path / "turns.rttm").write_text(RTTM)
    grid = textgrid.Textgrid()
    grid.addTier(textgrid.IntervalTier("ann", [(0.0, 3.0, "hello")], 0, 10))
    grid.addTier(textgrid.IntervalTier("bob", [(3.0, 8.5, "hello")], 0, 10))
    grid.save(str(tmp_path / "turns.TextGrid"), format="long_textgrid", includeBlankSpaces=True)
    expected = [Turn(0.0, 3.0, "ann"), Turn(3.0, 8.5, "bob")]
    assert read_turns(tmp_path / "turns.rttm") == expected
    assert read_turns(tmp_path / "turns.TextGrid") == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.rttm", "SPEAKER f 1 zero 1 <NA> <NA> ann\n", "line 1 is no turn; expected 'SPEAKER file channel start"),
        ("a.rttm", "SPEAKER f 1 0 -1 <NA> <NA> ann\n", "line 1 is no turn"),
        ("a.rttm", "SPEAKER f 1 0 1\n", "line 1 is no turn"),
        ("a.rttm", "nothing\n", "no turn in it"),
        ("a.rttm", RTTM + RTTM.replace("spoken", "other"), "holds the turns of 2 recordings"),
        ("a.TextGrid", "nothing\n", "not a readable TextGrid|no turn in it"),
    ],
)
def test_turns_that_are_none_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        read_turns(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read"):
        read_turns(tmp_path / "missing.rttm")


@pytest.mark.parametrize(("times", "turn"), [
    ("0 0.5", Turn(0.0, 0.5, "ann")),
    ("2.5 1e1", Turn(2.5, 12.5, "ann")),
    ("0 0", None), ("-1 2", None), ("inf 1", None), ("0 inf", None), ("nan 1", None), ("0 nan", None),
])  # fmt: skip
def test_a_turn_has_a_beginning_and_an_end(tmp_path, times, turn):
    path = tmp_path / "turns.rttm"
    path.write_text(f";; comment\n\nSPEAKER f 1 {times} <NA> <NA> ann\n", encoding="utf-8-sig")
    if turn is not None:
        assert read_turns(path) == [turn]
        return
    with pytest.raises(InputError, match=rf"{path}: line 3 is no turn"):
        read_turns(path)


def test_turns_come_in_order_of_time_and_of_several_recordings_some_are_named(tmp_path):
    path = tmp_path / "turns.rttm"
    lines = [f"SPEAKER {name} 1 {start} 1 <NA> <NA> müde" for name, start in zip("abcd", (3, 1, 2, 0), strict=True)]
    path.write_text("\n".join(line.replace(" b ", " a ").replace(" c ", " a ").replace(" d ", " a ") for line in lines))
    assert [(turn.start_s, turn.speaker) for turn in read_turns(path)] == [
        (0, "müde"),
        (1, "müde"),
        (2, "müde"),
        (3, "müde"),
    ]
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"turns of 4 recordings \(a, b, c, \.\.\.\); give one file for each"):
        read_turns(path)
    path.write_bytes("SPEAKER a 1 0 1 <NA> <NA> müde".encode("latin-1"))
    with pytest.raises(InputError, match="no turn in it"):
        read_turns(path)


def test_of_a_textgrid_only_intervals_with_words_are_turns(tmp_path):
    from praatio import textgrid

    grid = textgrid.Textgrid()
    grid.addTier(textgrid.IntervalTier("ann", [(0.0, 1.0, "hello"), (2.0, 3.0, " "), (4.0, 5.0, "yes")], 0, 10))
    grid.addTier(textgrid.PointTier("marks", [(1.5, "click")], 0, 10))
    grid.save(str(tmp_path / "a.TextGrid"), format="long_textgrid", includeBlankSpaces=True)
    assert read_turns(tmp_path / "a.TextGrid") == [Turn(0.0, 1.0, "ann"), Turn(4.0, 5.0, "ann")]


# ---------------------------------------------------------------- formats


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".ogg", ".opus"])
def test_what_soundfile_reads_is_read_in_blocks(model, spoken, wav, tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(recordings, "BLOCK_VALUES", 20000)
    path = tmp_path / f"sound{suffix}"
    soundfile.write(path, spoken, RATE, **({"format": "OGG", "subtype": "OPUS"} if suffix == ".opus" else {}))
    with open_recording(path) as recording:
        blocks = list(recording.blocks())
    assert len(blocks) > 3
    assert recording.problem is None
    whole, _ = soundfile.read(path, dtype="float32", always_2d=True)
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-6)
    timeline = analyze(path, model=model)
    assert not timeline.partial
    reference = analyze(wav, model=model)
    assert timeline.summary["speech_s"] == pytest.approx(reference.summary["speech_s"], rel=0.15)


@pytest.mark.parametrize(("suffix", "codec"), [(".m4a", "aac"), (".mp4", "aac"), (".webm", "libopus")])
def test_media_files_are_read_with_the_extra(model, spoken, wav, tmp_path, suffix, codec):
    av = pytest.importorskip("av")
    path = tmp_path / f"sound{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=48000, layout="mono")
        loud = np.round(soxr.resample(spoken, RATE, 48000) * 30000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(loud[np.newaxis], format="s16", layout="mono")
        frame.rate = 48000
        resampler = av.AudioResampler(stream.format, stream.layout, 48000, frame_size=stream.frame_size or 1024)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    with open_recording(path) as recording:
        n = sum(len(block) for block in recording.blocks())
    assert (recording.sample_rate, recording.channels) == (48000, 1)
    assert n / 48000 == pytest.approx(len(spoken) / RATE, abs=0.1)
    timeline = analyze(path, model=model)
    assert not timeline.partial, timeline.warnings
    assert timeline.summary["speech_s"] == pytest.approx(analyze(wav, model=model).summary["speech_s"], rel=0.25)


def test_without_the_extra_its_name_is_told(tmp_path, monkeypatch):
    (tmp_path / "sound.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(1000))
    monkeypatch.setitem(sys.modules, "av", None)
    with (
        pytest.raises(MissingExtraError, match=r"reading sound.m4a needs the extra 'media'.*pip install .*\[media"),
        open_recording(tmp_path / "sound.m4a"),
    ):
        pass


def test_a_playlist_does_not_open_what_it_names(wav, tmp_path):
    pytest.importorskip("av")
    playlist = tmp_path / "list.m4a"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\n{wav}\n#EXT-X-ENDLIST\n")
    with pytest.raises(AudioError, match="not a readable sound file"), open_recording(playlist):
        pass


def test_folders_give_their_recordings_in_order(tmp_path):
    (tmp_path / "below").mkdir()
    for name in ("b.wav", "a.flac", "below/c.mp4", ".hidden.wav", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in recordings_in(tmp_path)] == ["a.flac", "b.wav", "c.mp4"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no sound file in it"):
        recordings_in(tmp_path / "empty")


def test_without_the_extra_what_soundfile_cannot_read_is_refused_as_by_it(tmp_path, monkeypatch):
    monkeypatch.setattr(recordings, "_has_av", lambda: False)
    (tmp_path / "words.wav").write_bytes(b"Dear reader")
    with (
        pytest.raises(AudioError, match=r"not a readable sound file .*expected WAV"),
        open_recording(tmp_path / "words.wav"),
    ):
        pass


def test_headerless_samples_are_refused_with_the_way_to_hear_them(tmp_path):
    (tmp_path / "samples.raw").write_bytes(bytes(1000))
    with (
        pytest.raises(AudioError, match=r"headerless samples, .* `emogram listen` on stdin"),
        open_recording(tmp_path / "samples.raw"),
    ):
        pass


def test_a_film_without_sound_says_so(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        container.mux(stream.encode(None))
    with pytest.raises(AudioError, match=r"silent\.mp4: no sound in it") as refused, open_recording(path):
        pass
    assert refused.value.code == "no_sound"


def test_media_that_is_damaged_in_the_middle_is_read_up_to_there(spoken, tmp_path):
    pytest.importorskip("av")
    path = tmp_path / "damaged.m4a"
    write_media(path, spoken, codec="aac", rate=16000, bit_rate=64000)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = np.random.default_rng(0).bytes(3000)
    path.write_bytes(content)
    with open_recording(path) as recording:
        n_read = sum(len(block) for block in recording.blocks())
    assert 2.0 < n_read / 16000 < 9.0
    assert recording.incomplete
    assert recording.problem.startswith(f"damaged after {n_read / 16000:.1f} s (")


# ---------------------------------------------------------------- what is wrong with a recording


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "the file is empty"), (b"not a sound at all" * 100, "not a readable sound file")],
)
def test_what_is_no_sound_is_refused(model, tmp_path, content, message):
    (tmp_path / "sound.wav").write_bytes(content)
    with pytest.raises(AudioError, match=message):
        analyze(tmp_path / "sound.wav", model=model)
    with pytest.raises(AudioError, match="no such file"):
        analyze(tmp_path / "missing.wav", model=model)
    with pytest.raises(AudioError, match="is a folder"):
        analyze(tmp_path, model=model)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_a_truncated_file_gives_what_is_there(model, spoken, wav, tmp_path, suffix):
    path = tmp_path / f"cut{suffix}"
    soundfile.write(path, spoken, RATE)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    timeline = analyze(path, model=model)
    assert timeline.partial
    assert 4.0 < timeline.duration_s < 7.0
    (warning,) = timeline.warnings
    assert "damaged after" in warning or "9.0 s promised" in warning
    whole = analyze(wav, model=model)
    assert timeline.segments[0].start_s == whole.segments[0].start_s
    np.testing.assert_allclose(timeline.windows.scores[0], whole.windows.scores[0], atol=1e-2)  # 16 bits, not float


def test_a_header_that_promises_hours_is_caught(model, wav):
    content = bytearray(wav.read_bytes())
    at = content.index(b"data")
    content[at + 4 : at + 8] = struct.pack("<I", 2**30)
    wav.write_bytes(content)
    timeline = analyze(wav, model=model)
    assert timeline.partial
    assert timeline.duration_s == pytest.approx(9.0, abs=0.01)
    assert timeline.warnings[0].startswith("cut off or wrong in its header: 16777.2 s promised, 9.0 s there")


def test_a_header_that_leaves_the_length_open_promises_nothing(model, wav):
    content = bytearray(wav.read_bytes())
    at = content.index(b"data")
    content[at + 4 : at + 8] = struct.pack("<I", 2**32 - 1)
    wav.write_bytes(content)
    timeline = analyze(wav, model=model)
    assert not timeline.partial
    assert timeline.warnings == ()


def test_a_growing_file_is_read_as_far_as_it_was(model, spoken, wav, monkeypatch):
    feed = Engine.feed

    def growing(self, samples):
        with wav.open("ab") as file:
            file.write(spoken[:100].tobytes())
        return feed(self, samples)

    monkeypatch.setattr(Engine, "feed", growing)
    timeline = analyze(wav, model=model)
    assert timeline.partial
    assert timeline.warnings[0] == "the file is still growing; it held 9.0 s when it was opened"
    assert timeline.segments


@pytest.mark.parametrize("kind", ["silence", "tone", "noise"])
def test_a_recording_without_speech_has_no_segments(model, tmp_path, kind):
    seconds = np.arange(5 * RATE) / RATE
    sound = {
        "silence": np.zeros(5 * RATE),
        "tone": sum(np.sin(2 * np.pi * hertz * seconds) / 6 for hertz in (220, 277, 330)),
        "noise": 0.05 * np.random.default_rng(0).standard_normal(5 * RATE),
    }[kind]
    soundfile.write(tmp_path / "sound.wav", sound, RATE)
    timeline = analyze(tmp_path / "sound.wav", model=model)
    assert timeline.segments == ()
    assert timeline.warnings == (NO_SPEECH,)
    assert timeline.summary["label"] is None
    assert timeline.windows.scores.shape == (0, len(LABELS))


def test_one_second_is_one_window(model, spoken, tmp_path):
    start = int(np.argmax(np.abs(spoken) > 0.2))
    soundfile.write(tmp_path / "short.wav", spoken[start : start + RATE], RATE)
    timeline = analyze(tmp_path / "short.wav", model=model)
    assert len(timeline.windows.start_s) == 1
    assert timeline.segments[-1].end_s <= 1.0


@pytest.mark.parametrize(("rate", "warned"), [(4000, True), (384000, False)])
def test_rates_from_4_khz_to_384_khz(model, spoken, tmp_path, rate, warned):
    soundfile.write(tmp_path / "sound.wav", soxr.resample(spoken[: 5 * RATE], RATE, rate), rate)
    timeline = analyze(tmp_path / "sound.wav", model=model)
    assert timeline.sample_rate == rate
    assert timeline.duration_s == pytest.approx(5.0, abs=0.01)
    assert any("expect more errors" in warning for warning in timeline.warnings) == warned
    if not warned:
        reference = tmp_path / "reference.wav"
        soundfile.write(reference, spoken[: 5 * RATE], RATE)
        expected = analyze(reference, model=model)
        assert timeline.summary["speech_s"] == pytest.approx(expected.summary["speech_s"], abs=0.35)


def test_rates_that_no_speech_has_are_refused(model, tmp_path):
    soundfile.write(tmp_path / "sound.wav", np.zeros(1000), 1000)
    with pytest.raises(AudioError, match="sample rate 1000 Hz; expected 4000 to 768000 Hz"):
        analyze(tmp_path / "sound.wav", model=model)


def test_thirty_two_channels_are_averaged(model, spoken, wav, tmp_path):
    path = tmp_path / "many.wav"
    soundfile.write(path, np.repeat(spoken[:, np.newaxis], 32, axis=1), RATE, subtype="FLOAT")
    timeline = analyze(path, model=model)
    assert timeline.channels == 32
    assert_same(timeline.segments, analyze(wav, model=model).segments)


def test_sound_in_an_unknown_coding_is_refused(spoken, tmp_path):
    path = tmp_path / "sound.wav"
    soundfile.write(path, spoken, RATE)
    content = bytearray(path.read_bytes())
    content[20:22] = b"\xcd\xab"  # the number of the coding
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"sound\.wav: (holds sound in a coding that is not known|not a readable)"):
        analyze(path)


@pytest.mark.parametrize("config", [TimelineConfig(), TimelineConfig(batch_size=1)], ids=["together", "one by one"])
@pytest.mark.parametrize("value", [np.nan, -1e20])
def test_samples_that_are_not_finite_end_the_analysis_with_what_was_done(model, spoken, tmp_path, value, config):
    spoiled = spoken.copy()
    spoiled[6 * RATE] = value
    soundfile.write(tmp_path / "sound.wav", spoiled, RATE, subtype="FLOAT")
    timeline = analyze(tmp_path / "sound.wav", model=model, config=config)
    assert timeline.partial
    assert "not finite" in timeline.warnings[0]
    assert timeline.duration_s == 6.0
    soundfile.write(tmp_path / "sound.wav", spoken[: 6 * RATE], RATE, subtype="FLOAT")
    before = analyze(tmp_path / "sound.wav", model=model, config=config)
    assert timeline.segments == before.segments
    np.testing.assert_array_equal(timeline.windows.end_s, before.windows.end_s)


def test_hours_of_silence_in_a_small_file_take_little_memory_and_time(model, tmp_path):
    path = tmp_path / "bomb.flac"
    with soundfile.SoundFile(path, "w", RATE, 1, format="FLAC") as file:
        for _ in range(30):
            file.write(np.zeros(60 * RATE, np.int16))
    assert path.stat().st_size < 200_000  # for 58 MB
    begun = time.process_time()
    timeline = analyze(path, model=model)
    assert time.process_time() - begun < 10.0
    assert timeline.duration_s == 1800.0
    assert timeline.warnings == (NO_SPEECH,)
    blocks = iter(range(1000))
    tracemalloc.start()
    timeline = analyze(path, model=model, should_stop=lambda: next(blocks) == 10)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert timeline.duration_s > 150.0  # 10 MB
    assert peak < 5e6


def test_memory_does_not_grow_with_the_recording(model, spoken, tmp_path):
    def peak(copies):
        path = tmp_path / f"{copies}.wav"
        with soundfile.SoundFile(path, "w", RATE, 1) as file:
            for _ in range(copies):
                file.write(spoken)
        tracemalloc.start()
        analyze(path, model=model)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)
    assert peak(9) < peak(3) + 1e6  # the minute more is 5 MB of samples


def test_stopping_keeps_what_was_done(model, spoken, wav, monkeypatch):
    monkeypatch.setattr(recordings, "BLOCK_VALUES", 8000)
    blocks = iter(range(100))
    timeline = analyze(wav, model=model, should_stop=lambda: next(blocks) >= 12)
    assert timeline.partial
    assert timeline.duration_s == pytest.approx(6.5)
    assert timeline.warnings == ("stopped after 6.5 s of 9.0 s",)
    whole = analyze(wav, model=model)
    done = [one for one in whole.segments if one.end_s < 4.0]
    assert_same(timeline.segments[: len(done)], done)


def test_paths_that_are_not_valid_text_are_read(model, wav):
    if sys.platform != "linux":
        pytest.skip("file names are bytes on Linux only")
    odd = Path(os.fsdecode(os.fsencode(wav.parent) + b"/\xff.wav"))
    wav.rename(odd)
    assert analyze(odd, model=model).segments


def test_without_looking_for_speech_all_that_sounds_is_judged(model, tmp_path):
    """Hum of 6 s between two silences: nobody speaks in it."""
    hum = 0.1 * np.sin(2 * np.pi * 120.0 * np.arange(6 * 16000) / 16000)
    path = tmp_path / "hum.wav"
    soundfile.write(path, np.concatenate([np.zeros(48000), hum, np.zeros(48000)]), 16000)
    assert analyze(path, model=model).segments == ()
    (segment,) = analyze(path, model=model, config=TimelineConfig(find_speech=False)).segments
    assert (segment.start_s, segment.end_s) == pytest.approx((3.0, 9.0), abs=0.25)
    assert segment.speech_ratio == pytest.approx(1.0, abs=0.05)

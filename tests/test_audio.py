"""Sound in: every format and shape gives the same waveform, or one clear refusal."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from emogram import audio
from emogram.audio import Waveform, decode, load_audio, load_clip, prepare
from emogram.errors import AudioError
from emogram.records import Clip


def _tone(sample_rate: int, *, hertz: float = 440.0, seconds: float = 1.0) -> Waveform:
    wave: Waveform = (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * sample_rate)) / sample_rate)).astype(
        np.float32
    )
    return wave


def _pitch(waveform: Waveform, sample_rate: int) -> float:
    """Return the frequency of the strongest bin in Hz."""
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(waveform.size)))
    return float(np.argmax(spectrum) * sample_rate / waveform.size)


@pytest.mark.parametrize("sample_rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_a_resampled_tone_keeps_its_frequency_level_and_length(tmp_path: Path, sample_rate: int) -> None:
    soundfile.write(tmp_path / "tone.wav", _tone(sample_rate, hertz=1000), sample_rate)
    waveform = load_audio(tmp_path / "tone.wav", sample_rate=16000)
    assert waveform.dtype == np.float32
    assert waveform.size == pytest.approx(16000, abs=1)
    assert _pitch(waveform, 16000) == pytest.approx(1000, abs=1.5)
    assert np.abs(waveform[1000:-1000]).max() == pytest.approx(0.5, abs=0.005)


def test_resampling_removes_what_the_lower_rate_cannot_hold() -> None:
    mixed = _tone(48000, hertz=1000) + _tone(48000, hertz=11000)
    waveform = prepare(mixed, 48000, sample_rate=16000)
    np.testing.assert_allclose(waveform[1000:-1000], _tone(16000, hertz=1000)[1000:-1000], atol=1e-3)


def test_channels_are_averaged(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    eight = (0.1 * rng.normal(size=(16000, 8))).astype(np.float32)
    soundfile.write(tmp_path / "eight.wav", eight, 16000, subtype="FLOAT")
    np.testing.assert_allclose(load_audio(tmp_path / "eight.wav", sample_rate=16000), eight.mean(axis=1), atol=1e-7)
    np.testing.assert_allclose(prepare(eight, 16000, sample_rate=16000), eight.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize(
    ("dtype", "scale", "middle"),
    [
        (np.int16, 2**15, 0), (np.int32, 2**31, 0), (np.uint8, 2**7, 2**7), (np.int8, 2**7, 0),
        (np.uint16, 2**15, 2**15),
    ],
)  # fmt: skip
def test_integers_equal_floats(dtype: Any, scale: int, middle: int) -> None:
    exact = np.round(_tone(16000).astype(np.float64) * 100) / 128  # steps of 1/128 exist in every type
    integers = np.round(exact * scale + middle).astype(dtype)
    np.testing.assert_allclose(prepare(integers, 16000, sample_rate=16000), exact, atol=1e-7)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_are_taken_as_they_are(dtype: Any) -> None:
    np.testing.assert_allclose(prepare(_tone(16000).astype(dtype), 16000, sample_rate=16000), _tone(16000), atol=3e-4)


def test_path_and_array_give_the_same(tmp_path: Path) -> None:
    stereo = np.stack([_tone(44100), _tone(44100, hertz=700)], axis=1)
    soundfile.write(tmp_path / "stereo.wav", stereo, 44100, subtype="FLOAT")
    from_path = load_audio(tmp_path / "stereo.wav", sample_rate=16000)
    np.testing.assert_array_equal(from_path, load_audio(str(tmp_path / "stereo.wav"), sample_rate=16000))
    np.testing.assert_array_equal(from_path, prepare(stereo, 44100, sample_rate=16000))


@pytest.mark.parametrize(
    ("suffix", "subtype", "form", "tolerance"),
    [
        (".wav", "PCM_16", "WAV", 1e-4), (".wav", "PCM_24", "WAV", 1e-6), (".wav", "ULAW", "WAV", 0.02),
        (".flac", "PCM_16", "FLAC", 1e-4), (".aiff", "PCM_16", "AIFF", 1e-4), (".au", "PCM_16", "AU", 1e-4),
        (".w64", "PCM_16", "W64", 1e-4), (".caf", "PCM_16", "CAF", 1e-4), (".ogg", "VORBIS", "OGG", 0.05),
        (".opus", "OPUS", "OGG", 0.05), (".mp3", "MPEG_LAYER_III", "MP3", 0.05),
    ],
)  # fmt: skip
def test_every_format_is_read(tmp_path: Path, suffix: str, subtype: str, form: str, tolerance: float) -> None:
    if form not in soundfile.available_formats() or subtype not in soundfile.available_subtypes(form):
        pytest.skip(f"this libsndfile cannot write {form} {subtype}")
    path = tmp_path / f"tone{suffix}"
    soundfile.write(path, _tone(16000), 16000, format=form, subtype=subtype)
    assert suffix in audio.AUDIO_SUFFIXES
    waveform = load_audio(path, sample_rate=16000)
    assert waveform.size == pytest.approx(16000, abs=1200)  # coders pad
    assert _pitch(waveform, 16000) == pytest.approx(440, abs=2)
    assert np.abs(waveform[4000:12000]).max() == pytest.approx(0.5, abs=tolerance)


@pytest.mark.parametrize(
    ("start_s", "end_s"), [(0.0, 0.5), (0.25, 0.75), (0.5, None), (0.25, 99.0), (0.0, float("inf"))]
)
def test_a_stretch_equals_a_slice(tmp_path: Path, start_s: float, end_s: float | None) -> None:
    noise = (0.1 * np.random.default_rng(0).normal(size=16000)).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", noise, 16000, subtype="FLOAT")
    last = None if end_s is None or end_s > 1 else round(end_s * 16000)
    clip = Clip(tmp_path / "noise.wav", start_s=start_s, end_s=end_s)
    np.testing.assert_array_equal(load_clip(clip, sample_rate=16000), noise[round(start_s * 16000) : last])


@pytest.mark.parametrize(
    ("start_s", "end_s"),
    [(1.0, None), (2.0, 3.0), (0.6, 0.4), (0.5, 0.5), (-0.1, 0.5), (float("nan"), None), (0.0, -1.0)],
)
def test_a_stretch_outside_the_file_is_refused(tmp_path: Path, start_s: float, end_s: float | None) -> None:
    soundfile.write(tmp_path / "tone.wav", _tone(16000), 16000)
    with pytest.raises(AudioError, match=r"tone\.wav: the stretch .* lies outside the file, which lasts 1\.00 s"):
        load_audio(tmp_path / "tone.wav", sample_rate=16000, start_s=start_s, end_s=end_s)


def test_flac_that_does_not_tell_its_length_is_read_whole(tmp_path: Path) -> None:
    """As an encoder leaves it that writes to a pipe: no number of samples, no seek table."""
    path = tmp_path / "streamed.flac"
    soundfile.write(path, _tone(16000), 16000)
    expected = load_audio(path, sample_rate=16000)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # the number of samples: 36 bits at the end of STREAMINFO, before its MD5
    content[22:26] = bytes(4)
    path.write_bytes(content)
    np.testing.assert_array_equal(load_audio(path, sample_rate=16000), expected)
    np.testing.assert_array_equal(load_audio(path, sample_rate=16000, start_s=0.25, end_s=0.75), expected[4000:12000])


def test_wav_that_does_not_tell_its_length_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "streamed.wav"
    soundfile.write(path, _tone(16000), 16000)
    expected = load_audio(path, sample_rate=16000)
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff" * 4
    path.write_bytes(content)
    np.testing.assert_array_equal(load_audio(path, sample_rate=16000), expected)


def test_a_truncated_file_gives_what_is_left_of_it(tmp_path: Path) -> None:
    path = tmp_path / "cut.wav"
    soundfile.write(path, _tone(16000), 16000)
    expected = load_audio(path, sample_rate=16000)
    path.write_bytes(path.read_bytes()[: 44 + 2 * 8000])
    np.testing.assert_array_equal(load_audio(path, sample_rate=16000), expected[:8000])


@pytest.mark.parametrize("name", ["müde.wav", "a b'c.wav", os.fsdecode(b"m\xfcde.wav")])
def test_any_name_is_opened(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / "tone.wav", _tone(16000), 16000)
    try:
        (tmp_path / "tone.wav").rename(tmp_path / name)
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    assert load_audio(tmp_path / name, sample_rate=16000).size == 16000


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_what_is_no_sound_file_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(5000)
    refusals = {
        tmp_path / "missing.wav": "no such file",
        tmp_path: "is a folder, not a sound file",
        _write(tmp_path / "empty.wav", b""): "the file is empty",
        _write(tmp_path / "text.wav", b"Dear reader,\n"): "not a readable sound file .*expected WAV, FLAC",
        _write(tmp_path / "noise.flac", noise): "not a readable sound file",
        _write(tmp_path / "samples.raw", noise): "headerless samples",
    }
    for path, message in refusals.items():
        with pytest.raises(AudioError, match=message) as refusal:
            load_audio(path, sample_rate=16000)
        assert str(refusal.value).startswith(str(path))
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_without_samples_is_refused_by_its_right_name(tmp_path: Path, channels: int) -> None:
    soundfile.write(tmp_path / "none.wav", np.zeros((0, channels)), 16000)
    with pytest.raises(AudioError, match=r"none\.wav: no samples in it"):
        load_audio(tmp_path / "none.wav", sample_rate=16000)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(16000), "silent throughout"),
        (np.full(16000, 5e-5), "silent throughout"),
        (np.full(16000, 0.3), "silent throughout"),  # a constant offset is no sound either
        (np.zeros(0), "no samples"),
        (np.zeros((0, 2)), "no samples"),
        (_tone(16000, seconds=0.1), r"0\.10 s long; at least 0\.2 s"),
        (np.where(np.arange(16000) == 5, np.nan, _tone(16000)), "not finite"),
        (np.where(np.arange(16000) == 5, np.inf, _tone(16000)), "not finite"),
        (np.stack([np.full(16000, np.inf), np.full(16000, -np.inf)], axis=1), "not finite"),
        (_tone(16000).astype(np.float64) * 1e300, "not finite"),
        (_tone(16000) * np.float32(1e20), "not finite"),  # its power is
        (np.stack([_tone(16000)] * 2), r"shape \(2, 16000\); .*transpose it"),
        (np.zeros((4, 4, 4)), "3 dimensions"),
        (np.ones(16000, bool), "type bool"),
        (np.ones(16000, complex), "type complex128"),
        (["a"] * 16000, "expected floats or integers"),
    ],
)
def test_what_no_emotion_can_be_told_from_is_refused(samples: Any, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        prepare(samples, 16000, sample_rate=16000)


def test_a_file_with_nan_is_refused_by_name(tmp_path: Path) -> None:
    samples = _tone(16000)
    samples[7] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"nan\.wav: holds samples that are not finite"):
        load_audio(tmp_path / "nan.wav", sample_rate=8000)


@pytest.mark.parametrize("sample_rate", [1000, 1_000_000])
def test_absurd_rates_are_refused(tmp_path: Path, sample_rate: int) -> None:
    with pytest.raises(AudioError, match=f"sample rate {sample_rate} Hz"):
        prepare(_tone(16000), sample_rate, sample_rate=16000)
    soundfile.write(tmp_path / "odd.wav", _tone(16000), sample_rate)
    with pytest.raises(AudioError, match=rf"odd\.wav: sample rate {sample_rate} Hz"):
        load_audio(tmp_path / "odd.wav", sample_rate=16000)


def test_a_recording_of_hours_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    soundfile.write(path, np.zeros(4000 * 601, np.int16), 4000)
    with pytest.raises(AudioError, match="601 s long; a clip may last 600 s, cut it"):
        load_audio(path, sample_rate=16000)
    with pytest.raises(AudioError, match="silent"):  # a stretch of it may be read
        load_audio(path, sample_rate=16000, start_s=590.0)


def test_a_small_file_that_unpacks_to_gigabytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "MAX_VALUES", 100_000)
    soundfile.write(tmp_path / "many.wav", np.zeros((16000, 8)), 16000)
    with pytest.raises(AudioError, match="128000 values in 8 channels; at most 100000"):
        load_audio(tmp_path / "many.wav", sample_rate=16000)


@pytest.mark.corpora
def test_a_real_clip_is_loaded_in_every_detail(corpora_root: Path) -> None:
    path = corpora_root / "ravdess" / "03-01-01-01-01-01-01.flac"
    waveform = load_audio(path, sample_rate=16000)
    assert waveform.size == soundfile.info(path).frames
    assert waveform.size / 16000 == pytest.approx(3.303, abs=1e-3)


@pytest.mark.parametrize("n_channels", [1, 2, 3, 6])
def test_channels_are_averaged_to_the_last_bit(n_channels):
    samples = np.random.default_rng(0).standard_normal((8000, n_channels)).astype(np.float32)
    found = prepare(samples, 16000, sample_rate=16000)
    np.testing.assert_array_equal(found, samples.mean(axis=1))
    assert found.flags.c_contiguous and found.dtype == np.float32


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_a_stretch_is_what_the_whole_file_holds_there(tmp_path, tone, suffix):
    path = tmp_path / f"tone{suffix}"
    soundfile.write(path, tone, 16000)
    whole, _ = decode(path)
    part, _ = decode(path, start_s=0.25, end_s=0.75)
    np.testing.assert_allclose(part, whole[4000:12000], atol=1e-6)


def test_many_channels_of_a_small_file_take_the_memory_of_one(tmp_path):
    path = tmp_path / "many.flac"
    rng = np.random.default_rng(0)
    minute = np.zeros((60 * 16000, 8), np.int16)
    with soundfile.SoundFile(path, "w", 16000, 8, format="FLAC") as file:
        file.write(rng.integers(-9000, 9000, (16000, 8), np.int16))
        for _ in range(3):
            file.write(minute)
    samples, _ = decode(path)
    tracemalloc.start()
    mixed = load_audio(path, sample_rate=16000)
    assert tracemalloc.get_traced_memory()[1] < 4 * mixed.nbytes < samples.nbytes
    tracemalloc.stop()
    np.testing.assert_array_equal(mixed, prepare(samples, 16000, sample_rate=16000))


def test_a_stereo_flac_that_does_not_tell_its_length_is_averaged(tmp_path: Path) -> None:
    path = tmp_path / "streamed.flac"
    soundfile.write(path, np.stack([_tone(16000), 0.5 * _tone(16000)], axis=1), 16000)
    expected = load_audio(path, sample_rate=16000)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert audio.probe(path) == (None, 16000, 2)
    np.testing.assert_array_equal(load_audio(path, sample_rate=16000), expected)
    np.testing.assert_allclose(expected, 0.75 * _tone(16000), atol=1e-4)


def test_a_header_is_read_without_the_sound_or_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "tone.wav", np.zeros((4000, 2)), 8000)
    assert audio.probe(tmp_path / "tone.wav") == (0.5, 8000, 2)
    with pytest.raises(AudioError, match=r"missing\.wav: no such file"):
        audio.probe(tmp_path / "missing.wav")
    with pytest.raises(AudioError, match=r"words\.wav: not a readable sound file"):
        audio.probe(_write(tmp_path / "words.wav", b"Dear reader,\n"))


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path / "secret.wav", b"RIFF")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read all
    with pytest.raises(AudioError, match=r"secret\.wav: no permission to read it"):
        load_audio(path, sample_rate=16000)


def test_a_waveform_without_samples_is_refused_by_its_name() -> None:
    with pytest.raises(AudioError, match="window 3: no samples in it") as refused:
        audio.check_waveform(np.zeros(0, np.float32), 16000, name="window 3")
    assert refused.value.code == "empty"


def test_a_mixed_file_that_ends_before_its_header_says_gives_what_is_there(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).normal(0.0, 0.1, (200_000, 2)).astype(np.float32)

    class Ends:
        """libsndfile trusts some headers, as of a Vorbis stream that was spliced, and then has no more."""

        def __init__(self) -> None:
            self._place = 0

        def read(self, n: int, **_: Any) -> Any:
            block = sound[self._place : self._place + n]
            self._place += n
            return block

    mixed = audio._read_mixed(Ends(), 10**6)
    np.testing.assert_allclose(mixed[:, 0], sound.mean(axis=1), atol=1e-7)

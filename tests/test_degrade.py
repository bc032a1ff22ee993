"""Noise at the level it says, lines and codecs that do what their standards say, and the same change each time."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
import soundfile

from emogram import degrade, voices
from emogram.audio import load_audio
from emogram.degrade import CONDITIONS, Change
from emogram.degrade import degrade as changed
from emogram.errors import SettingsError

RATE = 16000


@pytest.fixture(scope="module")
def speech():
    spoken = voices.speak("happy", speaker=voices.voices(2)[0], seed=1)
    pause = np.zeros(RATE, np.float32)
    return np.concatenate([pause, spoken, pause]).astype(np.float32)


@pytest.fixture(scope="module")
def babblers():
    return [degrade.voice_of(voices.speak("neutral", speaker=one, seed=2), RATE) for one in voices.voices(8)[2:]]


def noise(n_samples, seed=0):
    return np.random.default_rng(seed).standard_normal(n_samples).astype(np.float32)


def level_db(waveform):
    return 10 * np.log10(np.mean(np.square(waveform, dtype=np.float64)))


def power_between(waveform, rate, low_hz, high_hz):
    power = np.square(np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)))))
    hertz = np.fft.rfftfreq(len(waveform), 1 / rate)
    return power[(hertz >= low_hz) & (hertz < high_hz)].sum()


# ---------------------------------------------------------------- active level


def slow_active_level(waveform, rate):
    """P.56, method B, sample by sample, as the recommendation tells it."""
    keep = np.exp(-1 / (rate * 0.03))
    hangover = round(0.2 * rate)
    thresholds = [2.0**exponent for exponent in range(-15, 0)]
    counts, idle = [0] * len(thresholds), [hangover] * len(thresholds)
    p = q = energy = 0.0
    for sample in waveform.astype(float):
        energy += sample**2
        p = keep * p + (1 - keep) * abs(sample)
        q = keep * q + (1 - keep) * p
        for index, threshold in enumerate(thresholds):
            idle[index] = 0 if q >= threshold else idle[index] + 1
            counts[index] += idle[index] < hangover
    distances = [
        (10 * np.log10(energy / count), 20 * np.log10(threshold))
        for count, threshold in zip(counts, thresholds, strict=True)
        if count
    ]
    for (level, threshold), (next_level, next_threshold) in itertools.pairwise(distances):
        above, next_above = level - threshold, next_level - next_threshold
        if above >= 15.9 >= next_above:
            return level + (next_level - level) * (above - 15.9) / (above - next_above)
    raise AssertionError("no threshold lies 15.9 dB below the level of what is above it")


@pytest.mark.parametrize("gain", [1.0, 0.01])
def test_active_level_is_that_of_the_recommendation_followed_sample_by_sample(speech, gain):
    quieter = speech[: 2 * RATE : 8] * np.float32(gain)
    fast = 10 * np.log10(degrade.active_level(quieter, RATE // 8))
    assert fast == pytest.approx(slow_active_level(quieter, RATE // 8), abs=0.05)


def test_active_level_of_noise_without_pauses_is_its_power():
    assert 10 * np.log10(degrade.active_level(0.1 * noise(RATE), RATE)) == pytest.approx(-20, abs=0.15)


def test_active_level_does_not_fall_with_the_silence_around_the_speech(speech):
    more = np.pad(speech, 4 * RATE)
    assert level_db(more) < level_db(speech) - 3
    assert degrade.active_level(more, RATE) == pytest.approx(degrade.active_level(speech, RATE), rel=0.02)


def test_active_level_of_what_lies_below_all_thresholds_is_its_power():
    assert degrade.active_level(np.full(RATE, 1e-6, np.float32), RATE) == pytest.approx(1e-12, rel=1e-3)


def test_speech_stretch_finds_the_burst_in_the_silence():
    waveform = np.zeros(3 * RATE, np.float32)
    waveform[RATE : 2 * RATE] = 0.1 * noise(RATE)
    first, last = degrade.speech_stretch(waveform, RATE)
    assert first / RATE == pytest.approx(1.0, abs=0.05)
    assert last / RATE == pytest.approx(2.0, abs=0.2)


# ---------------------------------------------------------------- noise and rooms


@pytest.mark.parametrize("name", [name for name, change in CONDITIONS.items() if change.kind in ("babble", "white")])
def test_noise_lies_as_far_below_the_speech_as_the_condition_says(speech, babblers, name):
    snr_db = float(name.rpartition("-")[2])
    added = changed(speech, RATE, CONDITIONS[name], degrade.rng_of(name), voices=babblers) - speech
    assert 10 * np.log10(degrade.active_level(speech, RATE)) - level_db(added) == pytest.approx(snr_db, abs=0.01)


def test_white_noise_is_as_strong_in_low_bands_as_in_high_ones(speech):
    added = changed(speech, RATE, Change("white", 0), degrade.rng_of("x")) - speech
    low, high = (power_between(added, RATE, start, start + 2000) for start in (1000, 5000))
    assert low / high == pytest.approx(1, rel=0.1)


def test_all_voices_of_a_babble_are_equally_loud_whatever_their_recording_level(speech):
    loud, soft = (level_db(degrade.voice_of(speech * np.float32(gain), RATE)) for gain in (1.0, 0.02))
    assert loud == pytest.approx(soft, abs=0.1)
    assert loud == pytest.approx(0, abs=1)


def test_babble_is_the_sum_of_its_voices_each_repeated():
    ones, twos = np.ones(100, np.float32), np.full(70, 2, np.float32)
    np.testing.assert_array_equal(degrade.babble([ones, twos], 1000, degrade.rng_of("x")), np.full(1000, 3))


def test_babble_without_voices_is_refused(speech):
    with pytest.raises(SettingsError, match="voices of other speakers, and none were given"):
        changed(speech, RATE, Change("babble", 10), degrade.rng_of("x"))


@pytest.mark.parametrize("decay_s", [0.3, 0.6])
def test_a_room_decays_by_60_db_in_the_time_it_says(decay_s):
    # Schroeder's backward integral, "New method of measuring reverberation time", JASA 37 (1965), 409-412.
    tail = degrade.room_response(decay_s, RATE, degrade.rng_of("room"))[1:].astype(float)
    left_db = 10 * np.log10(np.cumsum(np.square(tail)[::-1])[::-1] / np.square(tail).sum())
    seconds = [np.argmax(left_db < level) / RATE for level in (-5, -25)]
    assert 3 * (seconds[1] - seconds[0]) == pytest.approx(decay_s, rel=0.07)


def test_a_room_gives_back_as_much_as_it_hears_directly():
    response = degrade.room_response(0.4, RATE, degrade.rng_of("room"))
    assert response[0] == 1
    assert np.square(response[1:]).sum() == pytest.approx(1, rel=1e-4)


def test_reverberation_is_the_convolution_written_out():
    waveform, response = noise(300), noise(40, seed=1)
    expected = [
        sum(response[k] * waveform[n - k] for k in range(min(n + 1, len(response)))) for n in range(len(waveform))
    ]
    np.testing.assert_allclose(degrade.reverberate(waveform, response), expected, atol=1e-4)


# ---------------------------------------------------------------- lines, codecs, levels, cuts


def mu_law(sample):
    """Code and decode one sample as ITU-T G.711 (11/1988), table 2a, tells it: 14 bits, eight segments of sixteen."""
    magnitude = min(round(abs(sample) * 8191.75), 8158) + 33
    segment = magnitude.bit_length() - 6
    step = (magnitude >> (segment + 1)) & 15
    return np.sign(sample) * ((((2 * step + 33) << segment) - 33) / 8192)


def test_the_codec_of_the_telephone_is_that_of_g711():
    samples = np.concatenate([np.linspace(-1, 1, 1001), np.geomspace(1e-3, 1, 500)]).astype(np.float32)
    expected = [mu_law(float(sample)) for sample in samples]
    np.testing.assert_allclose(degrade._through_codec(samples, 8000, "WAV", "ULAW"), expected, atol=1e-6)


def test_the_telephone_passes_its_band_and_nothing_else():
    heard = degrade.telephone(0.2 * noise(4 * RATE), RATE)
    inside = power_between(heard, RATE, 400, 3300) / 2900
    for low, high in ((0, 200), (3500, 3900), (4200, 8000)):
        assert power_between(heard, RATE, low, high) / (high - low) < 1e-3 * inside
    edges = [power_between(heard, RATE, low, low + 100) / 100 / inside for low in (350, 3250)]
    assert edges == pytest.approx([1, 1], abs=0.35)


def test_the_telephone_delays_nothing(speech):
    narrow = degrade.telephone(speech, RATE)
    spectrum = np.fft.rfft(narrow) * np.conj(np.fft.rfft(speech))
    assert np.argmax(np.fft.irfft(spectrum)) == 0


@pytest.mark.parametrize(("rate", "n_samples"), [(16000, 8011), (22050, 9001), (8000, 5001)])
@pytest.mark.parametrize("name", ["telephone", "opus-16", "reverb-0.3", "white-5", "gain+6"])
def test_length_and_rate_stay(rate, n_samples, name):
    waveform = 0.1 * noise(n_samples)
    heard = changed(waveform, rate, CONDITIONS[name], degrade.rng_of(name))
    assert heard.shape == waveform.shape
    assert heard.dtype == np.float32
    assert not np.array_equal(heard, waveform)


def test_opus_spends_about_the_bits_it_is_given(monkeypatch, speech):
    sizes = []
    plain = io.BytesIO

    class Counted(plain):
        def close(self):
            pass

        def seek(self, *where):
            sizes.append(len(self.getvalue()))
            return super().seek(*where)

    monkeypatch.setattr(degrade.io, "BytesIO", Counted)
    talk = np.tile(speech[RATE:-RATE], 3)  # so that the header of the file hardly counts
    spent = {}
    for bits_per_s in (8_000, 16_000):
        sizes.clear()
        heard = degrade.opus(talk, RATE, bits_per_s)
        spent[bits_per_s] = 8 * max(sizes) / (len(talk) / RATE)
        assert np.corrcoef(heard, talk)[0, 1] > 0.5
    assert 1.5 * spent[8_000] < spent[16_000]
    assert spent[16_000] == pytest.approx(16_000, rel=0.3)


def test_opus_delays_nothing(speech):
    spectrum = np.fft.rfft(degrade.opus(speech, RATE, 16_000)) * np.conj(np.fft.rfft(speech))
    assert min(np.argmax(np.fft.irfft(spectrum)), len(speech) - np.argmax(np.fft.irfft(spectrum))) <= 1


def test_gain_is_in_decibels_and_clips_at_full_scale():
    waveform = np.float32([0.1, -0.2, 0.9])
    np.testing.assert_allclose(degrade.gain(waveform, 6), [0.19953, -0.39905, 1.0], rtol=1e-4)
    np.testing.assert_allclose(degrade.gain(waveform, -6), waveform / 1.99526, rtol=1e-4)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_faster_is_shorter_and_higher(factor):
    tone = np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE).astype(np.float32)
    heard = degrade.speed(tone, RATE, factor)
    assert len(heard) == pytest.approx(len(tone) / factor, abs=1)
    peak = np.argmax(np.abs(np.fft.rfft(heard * np.hanning(len(heard))))) * RATE / len(heard)
    assert peak == pytest.approx(1000 * factor, abs=2)


@pytest.mark.parametrize("name", ["cut-start", "cut-end"])
def test_cuts_take_their_share_of_the_speech_and_not_of_the_silence(name):
    waveform = np.zeros(4 * RATE, np.float32)
    waveform[RATE : 3 * RATE] = 0.1 * noise(2 * RATE)
    heard = changed(waveform, RATE, CONDITIONS[name], degrade.rng_of(name))
    lost_s = (len(waveform) - len(heard)) / RATE
    if name == "cut-start":
        np.testing.assert_array_equal(heard, waveform[-len(heard) :])
    else:
        np.testing.assert_array_equal(heard, waveform[: len(heard)])
    assert lost_s - 1 == pytest.approx(0.3 * 2, abs=0.1)


# ---------------------------------------------------------------- the same each time


@pytest.mark.parametrize("name", CONDITIONS)
def test_one_clip_is_changed_alike_each_time(speech, babblers, name):
    before = speech.copy()
    once, again = (
        changed(speech, RATE, CONDITIONS[name], degrade.rng_of("clip", name), voices=babblers) for _ in range(2)
    )
    np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(speech, before)
    assert np.isfinite(once).all()


def test_random_numbers_belong_to_the_clip_and_the_condition():
    drawn = {tuple(degrade.rng_of(*what).random(2)) for what in (("a", "b"), ("a", "c"), ("b", "b"), ("ab", ""))}
    assert len(drawn) == 4


def test_training_hears_all_kinds_that_can_be_heard():
    rng = np.random.default_rng(0)
    kinds = {degrade.random_change(rng).kind for _ in range(200)}
    assert kinds == {"babble", "white", "telephone", "opus", "reverb", "speed"}


def test_a_share_of_what_would_be_something_else_is_babble_and_the_rest_stays_as_it_was():
    def drawn(babble_share):
        rngs = [degrade.rng_of("change", number) for number in range(2000)]
        return [degrade.random_change(rng, babble_share=babble_share) for rng in rngs]

    plain, more = drawn(0.0), drawn(0.4)
    others = [number for number, change in enumerate(plain) if change.kind != "babble"]
    assert len(others) / len(plain) == pytest.approx(0.75, abs=0.03)
    assert all(more[number].kind == "babble" or more[number] == plain[number] for number in range(2000))
    assert np.mean([more[number].kind == "babble" for number in others]) == pytest.approx(0.4, abs=0.04)
    amounts = [change.amount for change in more if change.kind == "babble"]
    assert 0.0 <= min(amounts) < 1.0
    assert 19.0 < max(amounts) <= 20.0
    assert {change.kind for change in drawn(1.0)} == {"babble"}


def test_conditions_are_those_of_the_protocol():
    kinds = {change.kind for change in CONDITIONS.values()}
    assert kinds == {"babble", "white", "telephone", "opus", "gain", "reverb", "cut_start", "cut_end"}
    assert {change.amount for change in CONDITIONS.values() if change.kind == "babble"} == {20, 10, 5, 0}


@pytest.mark.corpora
def test_a_clip_with_long_silence_is_louder_while_somebody_speaks(corpora_root):
    file = next(iter(sorted((corpora_root / "ravdess").rglob("*.flac"))))
    waveform = load_audio(file, sample_rate=RATE)
    assert 2 < 10 * np.log10(degrade.active_level(waveform, RATE)) - level_db(waveform) < 6
    assert soundfile.info(file).duration - np.diff(degrade.speech_stretch(waveform, RATE))[0] / RATE > 1

"""A clean waveform -> what it would be in noise, in a room, on the telephone, through a codec or cut short.

The conditions of PROTOCOLS.md, P5, by name in `CONDITIONS`, and changes drawn at random for training. Everything random
comes from a generator that the caller seeds by the clip (`rng_of`), so that a clip is changed alike each time.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from emogram.audio import Waveform
from emogram.errors import SettingsError

Kind = Literal["babble", "white", "telephone", "opus", "gain", "reverb", "speed", "cut_start", "cut_end"]

N_BABBLERS = 6  # of fewer voices one hears the words, of many more a steady hiss

# ITU-T P.56 (12/2011), method B.
_P56_TIME_CONSTANT_S = 0.03
_P56_HANGOVER_S = 0.2
_P56_MARGIN_DB = 15.9
_P56_THRESHOLDS = 2.0 ** np.arange(-15, 0)
_P56_LEAST_RATE = 694  # Hz, at which the recommendation asks for the envelope to be sampled

TELEPHONE_RATE = 8000
TELEPHONE_BAND_HZ = (300.0, 3400.0)

_OPUS_RATES = frozenset({8000, 12000, 16000, 24000, 48000})
# libsndfile's `compression_level` runs from 256 kbit/s at 0 to 6 kbit/s at 1 (ogg_opus.c).
_OPUS_MOST, _OPUS_LEAST = 256_000.0, 6_000.0


@dataclass(frozen=True)
class Change:
    """One way to change a waveform.

    Attributes:
        kind: What is done.
        amount: How much, in the unit of the kind: signal-to-noise ratio in dB ("babble", "white"), bits a second
            ("opus"), dB ("gain"), seconds that sound takes to fall by 60 dB ("reverb"), times as fast ("speed"), share
            of the speech ("cut_start", "cut_end"); not used by "telephone".
    """

    kind: Kind
    amount: float = 0.0


CONDITIONS: dict[str, Change] = {
    **{f"babble-{snr_db}": Change("babble", snr_db) for snr_db in (20, 10, 5, 0)},
    **{f"white-{snr_db}": Change("white", snr_db) for snr_db in (20, 10, 5, 0)},
    "telephone": Change("telephone"),
    "opus-16": Change("opus", 16_000),
    "gain+6": Change("gain", 6),
    "gain-6": Change("gain", -6),
    "reverb-0.3": Change("reverb", 0.3),
    "reverb-0.6": Change("reverb", 0.6),
    "cut-start": Change("cut_start", 0.3),
    "cut-end": Change("cut_end", 0.3),
}
"""The conditions of PROTOCOLS.md, P5. Reverberation: a living room and a lecture room."""


def rng_of(*what: object) -> np.random.Generator:
    """Return the random numbers that belong to something named by words, such as a clip's content and a condition."""
    digest = hashlib.sha256("\0".join(map(str, what)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def random_change(rng: np.random.Generator, *, babble_share: float = 0.0) -> Change:
    """Draw a change for training: the kinds of P5 at any strength, and speed.

    A quarter of the changes are babble; of the others, `babble_share` are babble too.

    Gain is left out: by default the front end measures loudness against the clip's own peak, and the copy would be the
    clip. So are cuts: batches are cut at random anyway. Speed: T. Ko, V. Peddinti, D. Povey, S. Khudanpur, "Audio
    augmentation for speech recognition", Interspeech 2015, 3586-3589, with its factors 0.9 and 1.1.
    """
    drawn: tuple[Change, ...] = (
        # Twice, since models lose most to other voices and on the telephone.
        *(2 * (Change("babble", float(rng.uniform(0.0, 20.0))), Change("telephone"))),
        Change("white", float(rng.uniform(0.0, 20.0))),
        Change("opus", float(rng.uniform(8_000, 24_000))),
        Change("reverb", float(rng.uniform(0.2, 0.8))),
        Change("speed", (0.9, 1.1)[rng.integers(2)]),
    )
    change = drawn[rng.integers(len(drawn))]
    # Nothing is drawn where it would not count, so that the changes of before stay as they were.
    return drawn[0] if babble_share and rng.random() < babble_share else change


def degrade(
    waveform: Waveform, sample_rate: int, change: Change, rng: np.random.Generator, *, voices: Sequence[Waveform] = ()
) -> Waveform:
    """Change a waveform.

    Args:
        waveform: Shape (n_samples,), float32, full scale at +-1, with speech in it.
        sample_rate: In Hz.
        change: What to do.
        rng: Random numbers; see `rng_of`.
        voices: For "babble", speech of others, as `voice_of` gives it; `N_BABBLERS` of them make the usual babble.

    Returns:
        Float32, and as long as the waveform, but for "speed" and the cuts. Noise and rooms may lead beyond +-1.

    Raises:
        SettingsError: Babble without voices.
    """
    if change.kind == "babble" and not voices:
        raise SettingsError("babble is made from voices of other speakers, and none were given")
    if change.kind == "babble":
        return add_noise(waveform, babble(voices, len(waveform), rng), sample_rate, snr_db=change.amount)
    if change.kind == "white":
        noise = rng.standard_normal(len(waveform), dtype=np.float32)
        return add_noise(waveform, noise, sample_rate, snr_db=change.amount)
    if change.kind == "reverb":
        return reverberate(waveform, room_response(change.amount, sample_rate, rng))
    return _PLAIN[change.kind](waveform, sample_rate, change.amount)


# ---------------------------------------------------------------- where speech is, and how loud


def active_level(waveform: Waveform, sample_rate: int) -> float:
    """Return the active speech level: the power while somebody speaks, mean square, full scale at 1.

    Method B of ITU-T P.56, "Objective measurement of active speech level" (12/2011): pauses longer than 0.2 s do not
    count, so that a signal-to-noise ratio does not depend on how much silence surrounds the speech (in RAVDESS, half of
    the clip). Where no activity is found, as in a clip below -90 dB, the power of the whole.
    """
    energy = float(np.square(waveform, dtype=np.float64).sum())
    held, step = _held_envelope(waveform, sample_rate)
    n_active = np.array([np.count_nonzero(held >= threshold) for threshold in _P56_THRESHOLDS]) * step
    known = n_active > 0
    if not known.any():
        return energy / len(waveform)
    level_db = 10.0 * np.log10(energy / np.minimum(n_active[known], len(waveform)))
    above_db = level_db - 20.0 * np.log10(_P56_THRESHOLDS[known])  # falls as the threshold rises
    # The threshold that lies the margin below the level of what is above it, between two that were tried.
    if above_db[-1] >= _P56_MARGIN_DB:
        return float(10.0 ** (level_db[-1] / 10.0))
    return float(10.0 ** (np.interp(_P56_MARGIN_DB, above_db[::-1], level_db[::-1]) / 10.0))


def speech_stretch(waveform: Waveform, sample_rate: int) -> tuple[int, int]:
    """Return the first sample of speech and the one after its last: where the envelope of P.56 is above its margin."""
    threshold = np.sqrt(active_level(waveform, sample_rate)) * 10.0 ** (-_P56_MARGIN_DB / 20.0)
    loud = np.flatnonzero(_envelope(waveform, sample_rate) >= threshold)
    return (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, len(waveform))


def voice_of(waveform: Waveform, sample_rate: int) -> Waveform:
    """Return the speech of a clip at an active level of 1, to be one voice of a babble."""
    first, last = speech_stretch(waveform, sample_rate)
    voice: Waveform = waveform[first:last] / np.float32(np.sqrt(max(active_level(waveform, sample_rate), 1e-20)))
    return voice


def _envelope(waveform: Waveform, sample_rate: int) -> Waveform:
    from scipy.signal import lfilter

    keep = np.exp(-1.0 / (sample_rate * _P56_TIME_CONSTANT_S))
    numerator, denominator = np.array([1.0 - keep], np.float32), np.array([1.0, -keep], np.float32)
    once = lfilter(numerator, denominator, np.abs(waveform))
    envelope: Waveform = lfilter(numerator, denominator, once)
    return envelope


def _held_envelope(waveform: Waveform, sample_rate: int) -> tuple[Waveform, int]:
    """Return the envelope held at its highest of the last 0.2 s, and how many samples of sound each value is for.

    Holding before comparing gives the activity for all thresholds at once.
    """
    from scipy.ndimage import maximum_filter1d

    step = max(1, sample_rate // _P56_LEAST_RATE)
    envelope = _envelope(waveform, sample_rate)[::step]
    reach = max(1, round(_P56_HANGOVER_S * sample_rate / step))
    held: Waveform = maximum_filter1d(envelope, reach, mode="constant", origin=(reach - 1) // 2)
    return held, step


# ---------------------------------------------------------------- noise and rooms


def add_noise(waveform: Waveform, noise: Waveform, sample_rate: int, *, snr_db: float) -> Waveform:
    """Add noise so that the active speech level lies `snr_db` above the noise's mean power."""
    power = float(np.mean(np.square(noise, dtype=np.float64)))
    wanted = active_level(waveform, sample_rate) / 10.0 ** (snr_db / 10.0)
    mixed: Waveform = waveform + noise * np.float32(np.sqrt(wanted / max(power, 1e-20)))
    return mixed


def babble(voices: Sequence[Waveform], n_samples: int, rng: np.random.Generator) -> Waveform:
    """Return voices that speak at once, each begun somewhere and repeated; at any level."""
    summed = np.zeros(n_samples, np.float32)
    for voice in voices:
        start = int(rng.integers(len(voice)))
        summed += np.resize(np.roll(voice, -start), n_samples)
    return summed


def room_response(decay_s: float, sample_rate: int, rng: np.random.Generator) -> Waveform:
    """Return the impulse response of a room: the direct sound, and noise that dies away.

    J.-D. Polack's statistical model ("La transmission de l'énergie sonore dans les salles", thesis, Le Mans 1988; see
    E. Habets, "Speech dereverberation using statistical reverberation models", 2010): Gaussian noise under an
    exponential that falls by 60 dB in `decay_s`. It holds as much energy as the direct sound, as at the critical
    distance, where a speaker across the table is.

    Args:
        decay_s: Reverberation time T60 in seconds, > 0.
        sample_rate: In Hz.
        rng: Random numbers; each room is another.

    Returns:
        Shape (n_samples,), the first is 1.
    """
    n_samples = max(2, round(decay_s * sample_rate))
    decay = 10.0 ** (-3.0 * np.arange(1, n_samples) / n_samples)
    tail = rng.standard_normal(n_samples - 1) * decay
    tail /= np.sqrt(np.square(tail).sum())
    return np.concatenate([[1.0], tail]).astype(np.float32)


def reverberate(waveform: Waveform, response: Waveform) -> Waveform:
    """Convolve with the response of a room; what sounds on past the end is cut off."""
    from scipy.signal import fftconvolve

    wet: Waveform = fftconvolve(waveform, response)[: len(waveform)].astype(np.float32)
    return wet


# ---------------------------------------------------------------- lines, codecs, levels, cuts


def telephone(waveform: Waveform, sample_rate: int) -> Waveform:
    """Send sound through a telephone line: 300 to 3400 Hz, 8 kHz, mu-law of ITU-T G.711 (libsndfile's)."""
    from scipy.signal import fftconvolve

    narrow = _resampled(waveform, sample_rate, TELEPHONE_RATE)
    coded = _through_codec(fftconvolve(narrow, _telephone_filter(), mode="same"), TELEPHONE_RATE, "WAV", "ULAW")
    return _as_long(_resampled(coded, TELEPHONE_RATE, sample_rate), len(waveform))


def _telephone_filter() -> Waveform:
    from scipy.signal import firwin

    # 255 taps fall by 60 dB within 115 Hz, linear in phase.
    taps: Waveform = firwin(255, TELEPHONE_BAND_HZ, window=("kaiser", 5.65), pass_zero=False, fs=TELEPHONE_RATE).astype(
        np.float32
    )
    return taps


def opus(waveform: Waveform, sample_rate: int, bits_per_s: float) -> Waveform:
    """Code and decode sound with Opus (RFC 6716, libopus in libsndfile), variable rate around `bits_per_s`.

    The rate is what the encoder aims at in speech; it spends less on silence.
    """
    rate = sample_rate if sample_rate in _OPUS_RATES else max(_OPUS_RATES)
    level = (_OPUS_MOST - bits_per_s) / (_OPUS_MOST - _OPUS_LEAST)
    coded = _through_codec(_resampled(waveform, sample_rate, rate), rate, "OGG", "OPUS", compression_level=level)
    return _as_long(_resampled(coded, rate, sample_rate), len(waveform))


def gain(waveform: Waveform, gain_db: float) -> Waveform:
    """Make sound louder or softer, clipped at full scale as a recorder would."""
    louder: Waveform = np.clip(waveform * np.float32(10.0 ** (gain_db / 20.0)), -1.0, 1.0)
    return louder


def speed(waveform: Waveform, sample_rate: int, factor: float) -> Waveform:
    """Play sound `factor` times as fast, which raises the pitch as much."""
    return _resampled(waveform, sample_rate * factor, sample_rate)


def cut(waveform: Waveform, sample_rate: int, share: float, *, start: bool) -> Waveform:
    """Cut off the first (or last) `share` of the speech, with the silence before (or after) it.

    Of the speech, not of the clip: RAVDESS begins and ends with a second of silence, of which the cut would see little
    else.
    """
    first, last = speech_stretch(waveform, sample_rate)
    n_lost = round(share * (last - first))
    return waveform[first + n_lost :] if start else waveform[: last - n_lost]


_PLAIN: dict[str, Callable[[Waveform, int, float], Waveform]] = {
    "telephone": lambda waveform, sample_rate, _: telephone(waveform, sample_rate),
    "opus": opus,
    "gain": lambda waveform, _, amount: gain(waveform, amount),
    "speed": speed,
    "cut_start": partial(cut, start=True),
    "cut_end": partial(cut, start=False),
}
"""What needs no random numbers."""


def _through_codec(
    waveform: Waveform, sample_rate: int, container: str, codec: str, *, compression_level: float | None = None
) -> Waveform:
    import soundfile

    stream = io.BytesIO()
    with soundfile.SoundFile(
        stream, "w", sample_rate, 1, format=container, subtype=codec, compression_level=compression_level
    ) as file:
        file.write(np.clip(waveform, -1.0, 1.0))
    stream.seek(0)
    decoded: Waveform = soundfile.read(stream, dtype="float32")[0]
    return _as_long(decoded, len(waveform))


def _resampled(waveform: Waveform, source_rate: float, sample_rate: float) -> Waveform:
    import soxr

    if source_rate == sample_rate:
        return waveform
    resampled: Waveform = soxr.resample(waveform.astype(np.float32, copy=False), source_rate, sample_rate, quality="HQ")
    return resampled


def _as_long(waveform: Waveform, n_samples: int) -> Waveform:
    """Cut or fill up the few samples by which codecs and resampling change the length."""
    fitted = waveform[:n_samples]
    return np.pad(fitted, (0, n_samples - len(fitted)))

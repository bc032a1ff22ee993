"""Synthetic voices: a source-filter speech synthesiser that acts eight emotions, for the demo and for tests.

What it says is no language and nobody's voice. It proves that the machinery runs from sound to answer, and says nothing
about accuracy on people: a model learns from it the very rules that are written down here, in `PROFILES`.

The synthesiser follows the acoustic theory of speech production. A train of glottal flow pulses (A. E. Rosenberg,
"Effect of glottal pulse shape on the quality of natural vowels", JASA 49 (1971), 583-590) with jitter and shimmer, and
breath noise that the pulses modulate, pass a cascade of formant resonators (D. H. Klatt, "Software for a
cascade/parallel formant synthesizer", JASA 67 (1980), 971-995) that glide between the average vowels of G. E. Peterson
and H. L. Barney, "Control methods used in a study of the vowels", JASA 24 (1952), 175-184. Bands of noise make
fricatives and the bursts of stops. Sentences are random strings of syllables.

What an emotion does to a voice is taken from these; they give directions, the figures in `PROFILES` are ours:

- P. N. Juslin and P. Laukka, "Communication of emotions in vocal expression and music performance: different channels,
  same code?", Psychological Bulletin 129 (2003), 770-814: table 11, the summary of cues for anger, fear, happiness,
  sadness and tenderness. Below: JL.
- I. R. Murray and J. L. Arnott, "Toward the simulation of emotion in synthetic speech: a review of the literature on
  human vocal emotion", JASA 93 (1993), 1097-1108: the table of anger, happiness, sadness, fear and disgust. Below: MA.
- R. Banse and K. R. Scherer, "Acoustic profiles in vocal emotion expression", Journal of Personality and Social
  Psychology 70 (1996), 614-636, which measures fourteen emotions acted by the same people.
- K. R. Scherer, "Vocal communication of emotion: a review of research paradigms", Speech Communication 40 (2003),
  227-256, which sets such findings side by side.
- J. E. Cahn, "The generation of affect in synthesized speech", Journal of the American Voice I/O Society 8 (1990),
  1-19: surprise, which the others leave out. Below: C.
- V. C. Tartter, "Happy talk: perceptual and acoustic effects of smiling on speech", Perception & Psychophysics 27
  (1980), 24-27: smiling raises F0 and formants. Below: T.
"""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from emogram.audio import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, Waveform
from emogram.errors import SettingsError
from emogram.files import write_text, writing
from emogram.parallel import map_parallel
from emogram.progress import SILENT, Progress

FloatArray = npt.NDArray[np.float32]
ComplexArray = npt.NDArray[np.complex64]

CORPUS_NAME = "synthetic-voices"

_RATE = 16000  # everything is synthesised at this rate
_HOP = 80  # 5 ms, the usual step of formant synthesisers: the tracks below have one value for each
_WINDOW = 2 * _HOP  # periodic Hann windows at half overlap sum to one
_N_FFT = 512  # room for 22 ms of a resonator's ringing after the window
_SPEECH_RMS = 0.028  # -31 dBFS while a neutral voice speaks: leaves the angry ones room below full scale
_ROOM_NOISE_DB = (-46.0, -36.0)  # re the speech of a neutral voice, as in a quiet room
_CEILING = 0.97  # of full scale; louder clips are turned down
_MIN_DURATION_S = 1.2
_MAX_DURATION_S = 3.0


@dataclass(frozen=True)
class Profile:
    """What an emotion does to a voice, relative to the same voice speaking neutrally.

    Fields that end in `_db` or `_st` (semitones) are added; all others are factors, and 1 changes nothing.

    Attributes:
        f0_mean: Mean fundamental frequency.
        f0_range: Height of the pitch accents.
        slope_st: Change of pitch from the first to the last syllable, on top of the neutral fall.
        final_st: Change of pitch within the last syllable, on top of the neutral fall.
        rate: Syllables per second.
        intensity_db: Level.
        stress_db: How far stressed syllables stand out.
        tilt_db: High-frequency energy: change of the source's slope, dB per octave above 500 Hz.
        jitter: Irregularity of the periods; shimmer follows it.
        breathiness: Amplitude of the breath noise.
        attack: Time that syllables take to set in.
        pauses: Number and length of pauses.
        articulation: How far vowels keep from the middle of the vowel space; below 1 is slurred.
        formants: Formant frequencies.
    """

    f0_mean: float = 1.0
    f0_range: float = 1.0
    slope_st: float = 0.0
    final_st: float = 0.0
    rate: float = 1.0
    intensity_db: float = 0.0
    stress_db: float = 0.0
    tilt_db: float = 0.0
    jitter: float = 1.0
    breathiness: float = 1.0
    attack: float = 1.0
    pauses: float = 1.0
    articulation: float = 1.0
    formants: float = 1.0


NEUTRAL = Profile()

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        # JL: fast, loud, much variability of intensity, much high-frequency energy, high and variable F0, fast onsets,
        # irregular. MA: abrupt pitch changes on stressed syllables, tense articulation. JL's rising contour is left to
        # happiness: an order falls, and the two would hardly differ.
        "angry": Profile(
            f0_mean=1.3,
            f0_range=1.7,
            slope_st=-1.0,
            final_st=-3.0,
            rate=1.15,
            intensity_db=9.0,
            stress_db=4.5,
            tilt_db=3.0,
            jitter=1.6,
            breathiness=0.4,
            attack=0.35,
            pauses=0.6,
            articulation=1.2,
        ),
        # After JL's tenderness: slow, soft, little high-frequency energy, low and level F0, slow onsets, and regular,
        # which sets it apart from sadness.
        "calm": Profile(
            f0_mean=0.93,
            f0_range=0.65,
            rate=0.82,
            intensity_db=-5.0,
            stress_db=-1.0,
            tilt_db=-1.5,
            jitter=0.6,
            breathiness=1.5,
            attack=2.0,
            pauses=1.3,
        ),
        # MA: very much slower, very much lower F0, slightly wider range, softer, grumbling chest tone, wide downward
        # terminal inflections.
        "disgust": Profile(
            f0_mean=0.8,
            f0_range=1.2,
            slope_st=-1.0,
            final_st=-6.0,
            rate=0.72,
            intensity_db=-2.0,
            stress_db=2.0,
            tilt_db=0.8,
            jitter=2.6,
            attack=1.1,
            pauses=1.6,
            formants=0.97,
        ),
        # JL: fast, high F0 of little variability, rising, little high-frequency energy, very irregular. MA: very much
        # higher, much faster, irregular voicing, precise. (MA report a much wider range; we follow JL.)
        "fearful": Profile(
            f0_mean=1.5,
            f0_range=0.7,
            slope_st=2.5,
            final_st=2.0,
            rate=1.25,
            intensity_db=-1.0,
            stress_db=1.0,
            tilt_db=-0.8,
            jitter=2.8,
            breathiness=2.0,
            attack=0.8,
            pauses=1.5,
            articulation=0.95,
        ),
        # JL: fast, rather loud, some high-frequency energy, high and variable F0, rising, fast onsets, regular.
        # MA: much wider range, smooth upward inflections. T: smiling raises the formants.
        "happy": Profile(
            f0_mean=1.35,
            f0_range=2.0,
            slope_st=2.0,
            final_st=3.0,
            rate=1.12,
            intensity_db=5.0,
            stress_db=1.5,
            tilt_db=1.4,
            jitter=0.7,
            attack=0.6,
            pauses=0.7,
            articulation=1.1,
            formants=1.08,
        ),
        "neutral": NEUTRAL,
        # JL: slow, soft, level, little high-frequency energy, low F0 of little variability, falling, slow onsets,
        # irregular; many pauses. MA: slurred, downward inflections.
        "sad": Profile(
            f0_mean=0.86,
            f0_range=0.4,
            slope_st=-1.5,
            final_st=-2.0,
            rate=0.68,
            intensity_db=-8.0,
            stress_db=-1.5,
            tilt_db=-2.6,
            jitter=1.6,
            breathiness=2.6,
            attack=2.0,
            pauses=3.0,
            articulation=0.75,
        ),
        # C: very wide range, a steeply rising contour, faster and with fewer pauses. Mean F0 and final rise are ours.
        "surprised": Profile(
            f0_mean=1.4,
            f0_range=2.2,
            slope_st=5.0,
            final_st=8.0,
            rate=1.1,
            intensity_db=3.0,
            stress_db=2.0,
            tilt_db=0.3,
            breathiness=1.4,
            attack=0.7,
            pauses=0.5,
            articulation=1.05,
        ),
    }
)

# How much people differ from the textbook: standard deviations, of the logarithm where the field is a factor. Chosen so
# that the emotions of unseen voices can be told apart clearly but not perfectly.
_SPREAD = Profile(
    f0_mean=0.05,
    f0_range=0.18,
    slope_st=0.8,
    final_st=1.0,
    rate=0.06,
    intensity_db=1.5,
    stress_db=0.7,
    tilt_db=0.4,
    jitter=0.2,
    breathiness=0.2,
    attack=0.2,
    pauses=0.3,
    articulation=0.06,
    formants=0.01,
)


@dataclass(frozen=True)
class Voice:
    """A speaker who does not exist.

    Attributes:
        name: Speaker id, such as "synthetic01".
        gender: "female" or "male": which range the pitch and the length of the vocal tract were drawn from.
        f0_hz: Mean fundamental frequency of neutral speech in Hz.
        formant_scale: Formant frequencies relative to the average man; a shorter vocal tract has higher ones.
        jitter: Standard deviation of the length of a period, relative to the period.
        breathiness: Amplitude of the breath noise relative to the voiced source.
        tilt_db: Slope of the source, dB per octave above 500 Hz, besides that of the glottal pulses.
        tempo: Syllables per second of neutral speech.
        expressiveness: How strongly emotions show; 1 is as `PROFILES` says, 0 not at all.
        level_db: Level relative to the other voices: loudness and distance to the microphone.
        habits_seed: Seed of the speaker's own way to express each emotion.
    """

    name: str
    gender: Literal["female", "male"]
    f0_hz: float
    formant_scale: float
    jitter: float
    breathiness: float
    tilt_db: float
    tempo: float
    expressiveness: float
    level_db: float
    habits_seed: int


def voices(n_speakers: int, seed: int = 0) -> tuple[Voice, ...]:
    """Make up speakers, women and men in turn, named "synthetic01", "synthetic02" and so on.

    The first voices of one seed are the same however many are asked for; another seed gives other voices of the same
    names.

    Raises:
        SettingsError: `n_speakers` is below 1 or `seed` below 0.
    """
    _check_seed(seed)
    if n_speakers < 1:
        raise SettingsError(f"{n_speakers} synthetic speakers asked for; expected 1 or more")
    return tuple(_voice(index, seed) for index in range(n_speakers))


def _check_seed(seed: int) -> None:
    if seed < 0:
        raise SettingsError(f"seed {seed}; expected 0 or more")


def _voice(index: int, seed: int) -> Voice:
    random = np.random.default_rng([seed, index])
    female = index % 2 == 0
    low_hz, high_hz = (185.0, 225.0) if female else (100.0, 130.0)
    return Voice(
        name=f"synthetic{index + 1:02d}",
        gender="female" if female else "male",
        f0_hz=random.uniform(low_hz, high_hz),
        # The women of Peterson and Barney have formants 1.17 times as high as their men.
        formant_scale=random.uniform(1.12, 1.21) if female else random.uniform(0.96, 1.05),
        jitter=random.uniform(0.004, 0.010),
        breathiness=random.uniform(0.04, 0.09) * (1.3 if female else 1.0),
        tilt_db=random.uniform(-2.5, -1.5),
        tempo=random.uniform(4.8, 5.5),
        expressiveness=random.uniform(0.85, 1.2),
        level_db=random.normal(0.0, 1.5),
        habits_seed=int(random.integers(2**32)),
    )


def speak(emotion: str, *, speaker: Voice, seed: int, sample_rate: int = _RATE) -> Waveform:
    """Say a random sentence with an emotion.

    Args:
        emotion: One of `PROFILES`.
        speaker: Whose voice.
        seed: At least 0; chooses the words and the take. The same seed gives the same samples.
        sample_rate: In Hz; the sound has no content above 8 kHz.

    Returns:
        Waveform, shape (n_samples,), float32, within +-1, 1.2 to 3 seconds long.

    Raises:
        SettingsError: The emotion is not known, or the seed or the sample rate out of range.
    """
    _check_seed(seed)
    if emotion not in PROFILES:
        raise SettingsError(f"unknown emotion {emotion!r}; the synthetic voices know {', '.join(PROFILES)}")
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise SettingsError(f"sample rate {sample_rate} Hz; expected {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz")
    random = np.random.default_rng([seed, zlib.crc32(emotion.encode()), speaker.habits_seed])
    manner = _performance(emotion, speaker, random)
    sentence = _sentence(speaker, manner, random)
    waveform = _synthesise(sentence, speaker, manner, random)
    if sample_rate != _RATE:
        import soxr

        waveform = soxr.resample(waveform, _RATE, sample_rate, quality="HQ")
    return np.clip(waveform, np.float32(-_CEILING), np.float32(_CEILING))


def speak_manner(arousal: float, valence: float, *, speaker: Voice, seed: int) -> Waveform:
    """Say a random sentence somewhere between the emotions: with so much arousal and valence.

    The four corners are those of J. A. Russell, "A circumplex model of affect", Journal of Personality
    and Social Psychology 39 (1980), 1161-1178: angry (aroused, unpleasant), happy (aroused, pleasant), sad and calm.
    Between them what they do to a voice is blended, factors by their logarithms.

    Args:
        arousal: 0, as sad and calm, to 1, as angry and happy.
        valence: 0, as angry and sad, to 1, as happy and calm.
        speaker: Whose voice.
        seed: At least 0; chooses the words and the take.

    Returns:
        As `speak`, at 16 kHz.

    Raises:
        SettingsError: A number is out of range.
    """
    _check_seed(seed)
    if not (0.0 <= arousal <= 1.0 and 0.0 <= valence <= 1.0):
        raise SettingsError(f"arousal {arousal:g} and valence {valence:g}; expected both from 0 to 1")
    random = np.random.default_rng([seed, zlib.crc32(b"manner"), speaker.habits_seed])
    shares = {
        "angry": arousal * (1.0 - valence),
        "happy": arousal * valence,
        "sad": (1.0 - arousal) * (1.0 - valence),
        "calm": (1.0 - arousal) * valence,
    }
    values = {}
    for field in fields(Profile):
        added = field.name.endswith(("_db", "_st"))
        corners = {emotion: getattr(PROFILES[emotion], field.name) for emotion in shares}
        blend = sum(share * (corners[each] if added else np.log(corners[each])) for each, share in shares.items())
        deviation = 0.7 * getattr(_SPREAD, field.name) * random.standard_normal()
        values[field.name] = float(blend + deviation if added else np.exp(blend + deviation))
    manner = Profile(**values)
    waveform = _synthesise(_sentence(speaker, manner, random), speaker, manner, random)
    return np.clip(waveform, np.float32(-_CEILING), np.float32(_CEILING))


def make_corpus(
    folder: Path,
    *,
    n_speakers: int = 8,
    n_utterances: int = 6,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Write a corpus of synthetic voices: `folder/EMOTION/SPEAKER_EMOTION_NN.wav` (16 bit, 16 kHz) and a manifest.

    Args:
        folder: Where; made if missing. Files of the same names are replaced.
        n_speakers: How many voices.
        n_utterances: Clips of each voice and emotion.
        seed: At least 0; the same seed gives the same bytes.
        workers: Processes to use; None means one for each processor.
        progress: Is told of each clip.

    Returns:
        The manifest, `folder/manifest.csv`, with the columns path (relative to the folder), label, speaker, gender and
        corpus ("synthetic-voices").

    Raises:
        SettingsError: A number is too small.
        OutputError: The folder cannot be written.
    """
    if n_utterances < 1:
        raise SettingsError(f"{n_utterances} utterances of each voice and emotion asked for; expected 1 or more")
    takes = [
        _Take(voice, emotion, number, seed * 1000 + number)
        for voice in voices(n_speakers, seed)
        for emotion in PROFILES
        for number in range(1, n_utterances + 1)
    ]
    _record_all(partial(_record, folder), takes, workers=workers, progress=progress)
    return _write_manifest(folder, [_row(take) for take in takes])


def make_dimension_corpus(
    folder: Path,
    *,
    n_speakers: int = 12,
    n_utterances: int = 32,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Write a corpus whose arousal and valence are known: `folder/SPEAKER_NNN.wav` (16 bit, 16 kHz) and a manifest.

    Both are drawn at random for each clip, see `speak_manner`, and told from 1 to 7. The label is that of the nearest
    corner.

    Args:
        folder: Where; made if missing. Files of the same names are replaced.
        n_speakers: How many voices.
        n_utterances: Clips of each voice.
        seed: At least 0; the same seed gives the same bytes.
        workers: Processes to use; None means one for each processor.
        progress: Is told of each clip.

    Returns:
        The manifest, `folder/manifest.csv`, with the columns path (relative to the folder), label, speaker, gender,
        corpus ("synthetic-voices"), arousal and valence.

    Raises:
        SettingsError: A number is too small.
        OutputError: The folder cannot be written.
    """
    if n_utterances < 1:
        raise SettingsError(f"{n_utterances} utterances of each voice asked for; expected 1 or more")
    takes = [
        _Manner(voice, number, seed * 1000 + number, *np.random.default_rng([seed, place, number]).random(2).tolist())
        for place, voice in enumerate(voices(n_speakers, seed))
        for number in range(1, n_utterances + 1)
    ]
    _record_all(partial(_record_manner, folder), takes, workers=workers, progress=progress)
    told = [{name: f"{1.0 + 6.0 * getattr(take, name):.3f}" for name in ("arousal", "valence")} for take in takes]
    return _write_manifest(folder, [_row(take) | each for take, each in zip(takes, told, strict=True)])


def _record_all(
    record: Callable[[Any], None], takes: Sequence[_Take | _Manner], *, workers: int | None, progress: Progress
) -> None:
    with progress.task("Synthesising voices", len(takes)) as task:
        for _, failure in map_parallel(record, takes, workers=workers):
            if failure is not None:
                raise failure
            task.advance()


def _row(take: _Take | _Manner) -> dict[str, str]:
    speaker = take.speaker
    return {
        "path": take.name,
        "label": take.label,
        "speaker": speaker.name,
        "gender": speaker.gender,
        "corpus": CORPUS_NAME,
    }


def _write_manifest(folder: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    manifest = folder / "manifest.csv"
    write_text(manifest, table.getvalue())
    return manifest


class _Manner(NamedTuple):
    speaker: Voice
    number: int
    seed: int
    arousal: float
    valence: float

    @property
    def name(self) -> str:
        """The file's path within the corpus."""
        return f"{self.speaker.name}_{self.number:03d}.wav"

    @property
    def label(self) -> str:
        """The emotion of the nearest corner."""
        pleasant = self.valence >= 0.5
        if self.arousal >= 0.5:
            return "happy" if pleasant else "angry"
        return "calm" if pleasant else "sad"


def _record_manner(folder: Path, take: _Manner) -> None:
    _save(folder / take.name, speak_manner(take.arousal, take.valence, speaker=take.speaker, seed=take.seed))


class _Take(NamedTuple):
    speaker: Voice
    label: str
    number: int
    seed: int

    @property
    def name(self) -> str:
        """The file's path within the corpus."""
        return f"{self.label}/{self.speaker.name}_{self.label}_{self.number:02d}.wav"


def _record(folder: Path, take: _Take) -> None:
    _save(folder / take.name, speak(take.label, speaker=take.speaker, seed=take.seed))


def _save(path: Path, waveform: Waveform) -> None:
    import soundfile

    with writing(path) as temporary:
        soundfile.write(temporary, waveform, _RATE, subtype="PCM_16", format="WAV")


# ---------------------------------------------------------------- what is to be done: manner and sentence


def _performance(emotion: str, speaker: Voice, random: np.random.Generator) -> Profile:
    """Return the profile as this speaker shows it in this take.

    The textbook profile is weakened or strengthened by the speaker's expressiveness and by the moment, then bent by the
    speaker's habits (the same in every take) and by chance.
    """
    habits = np.random.default_rng([speaker.habits_seed, zlib.crc32(emotion.encode())])
    strength = speaker.expressiveness * random.uniform(0.85, 1.2)
    values = {}
    for field in fields(Profile):
        textbook = getattr(PROFILES[emotion], field.name)
        deviation = getattr(_SPREAD, field.name) * (0.45 * habits.standard_normal() + 0.7 * random.standard_normal())
        if field.name.endswith(("_db", "_st")):
            values[field.name] = float(strength * textbook + deviation)
        else:
            values[field.name] = float(textbook**strength * np.exp(deviation))
    return Profile(**values)


class _Consonant(NamedTuple):
    voicing_db: float  # level of the voiced source re a vowel
    noise_db: float  # level of the noise re a vowel
    noise_hz: float  # where the noise lies, for a vocal tract of scale 1
    noise_bandwidth_hz: float
    stop: bool  # closed first, with the noise as a burst at its end
    locus_hz: tuple[float, float, float]  # where the formants of the neighbouring vowels point to


_OFF_DB = -70.0

# Round figures in the manner of the consonant tables of Klatt (1980), good enough for speech that means nothing.
_CONSONANTS = {
    "p": _Consonant(_OFF_DB, -24.0, 900.0, 1500.0, True, (300.0, 900.0, 2200.0)),
    "t": _Consonant(_OFF_DB, -16.0, 4200.0, 2500.0, True, (300.0, 1700.0, 2700.0)),
    "k": _Consonant(_OFF_DB, -18.0, 2000.0, 1000.0, True, (300.0, 1900.0, 2500.0)),
    "b": _Consonant(-22.0, -30.0, 900.0, 1500.0, True, (250.0, 900.0, 2200.0)),
    "d": _Consonant(-22.0, -24.0, 4200.0, 2500.0, True, (250.0, 1700.0, 2700.0)),
    "g": _Consonant(-22.0, -24.0, 2000.0, 1000.0, True, (250.0, 1900.0, 2500.0)),
    "f": _Consonant(_OFF_DB, -30.0, 6000.0, 5000.0, False, (350.0, 1000.0, 2200.0)),
    "s": _Consonant(_OFF_DB, -17.0, 6000.0, 2200.0, False, (330.0, 1600.0, 2600.0)),
    "sh": _Consonant(_OFF_DB, -15.0, 3200.0, 1600.0, False, (320.0, 1850.0, 2700.0)),
    "z": _Consonant(-14.0, -24.0, 6000.0, 2200.0, False, (280.0, 1600.0, 2600.0)),
    "v": _Consonant(-12.0, -36.0, 6000.0, 5000.0, False, (280.0, 1000.0, 2200.0)),
    "m": _Consonant(-9.0, _OFF_DB, 1000.0, 1000.0, False, (270.0, 1000.0, 2200.0)),
    "n": _Consonant(-9.0, _OFF_DB, 1000.0, 1000.0, False, (270.0, 1600.0, 2600.0)),
    "l": _Consonant(-6.0, _OFF_DB, 1000.0, 1000.0, False, (330.0, 1050.0, 2800.0)),
    "r": _Consonant(-6.0, _OFF_DB, 1000.0, 1000.0, False, (330.0, 1100.0, 1500.0)),
    "w": _Consonant(-7.0, _OFF_DB, 1000.0, 1000.0, False, (290.0, 650.0, 2200.0)),
    "y": _Consonant(-7.0, _OFF_DB, 1000.0, 1000.0, False, (270.0, 2200.0, 2950.0)),
}

# F1, F2, F3 in Hz, averages of 33 men: Peterson and Barney (1952), table II.
_VOWELS_HZ = {
    "heed": (270.0, 2290.0, 3010.0),
    "hid": (390.0, 1990.0, 2550.0),
    "head": (530.0, 1840.0, 2480.0),
    "had": (660.0, 1720.0, 2410.0),
    "hod": (730.0, 1090.0, 2440.0),
    "hawed": (570.0, 840.0, 2410.0),
    "hood": (440.0, 1020.0, 2240.0),
    "who'd": (300.0, 870.0, 2240.0),
    "hud": (640.0, 1190.0, 2390.0),
    "heard": (490.0, 1350.0, 1690.0),
}
_MIDDLE_VOWEL_HZ = np.array([500.0, 1500.0, 2500.0])  # of a uniform tube, where slurred vowels drift to
_BANDWIDTHS_HZ = (70.0, 100.0, 150.0)
# A tube of 17.5 cm resonates at every odd multiple of 500 Hz; those above F3 stay where they are.
_HIGHER_FORMANTS_HZ = ((3500.0, 250.0), (4500.0, 300.0), (5500.0, 350.0), (6500.0, 400.0), (7500.0, 450.0))


class _Syllable(NamedTuple):
    consonant: _Consonant
    vowel_hz: tuple[float, float, float]
    glide_hz: tuple[float, float, float]  # where the vowel ends up: the same vowel, or another (a diphthong)
    start_s: float
    vowel_s: float  # when the consonant gives way to the vowel
    end_s: float
    stressed: bool
    pitch_st: float  # relative to the mean of the sentence
    pause_follows: bool


class _Sentence(NamedTuple):
    syllables: tuple[_Syllable, ...]
    duration_s: float
    final_st: float  # change of pitch within the last syllable


def _sentence(speaker: Voice, manner: Profile, random: np.random.Generator) -> _Sentence:
    """Choose syllables, their timing and their pitch."""
    n_syllables = int(random.integers(6, 9))
    lengths_s = np.exp(0.15 * random.standard_normal(n_syllables)) / (speaker.tempo * manner.rate)
    stressed = (np.arange(n_syllables) + random.integers(2)) % 2 == 0
    lengths_s *= np.where(stressed, 1.15, 0.88)
    lengths_s[-1] *= 1.3  # final lengthening
    pauses_s = _pauses(n_syllables, manner.pauses, random)
    margins_s = random.uniform(0.08, 0.2, size=2)
    lengths_s *= min(1.0, (_MAX_DURATION_S - margins_s.sum() - pauses_s.sum()) / lengths_s.sum())
    shortfall_s = max(0.0, _MIN_DURATION_S - margins_s.sum() - pauses_s.sum() - lengths_s.sum())
    margins_s += shortfall_s / 2 + 1 / _RATE
    starts_s = margins_s[0] + np.concatenate([[0.0], np.cumsum(lengths_s + pauses_s)[:-1]])
    pitch_st = _melody(stressed, manner, random)
    consonants = list(_CONSONANTS.values())
    vowels = list(_VOWELS_HZ.values())
    syllables = []
    for index in range(n_syllables):
        vowel, other = (vowels[choice] for choice in random.integers(len(vowels), size=2))
        consonant_s = min(random.uniform(0.3, 0.42) * lengths_s[index], 0.11)
        syllables.append(
            _Syllable(
                consonant=consonants[random.integers(len(consonants))],
                vowel_hz=vowel,
                glide_hz=other if random.random() < 0.25 else vowel,
                start_s=float(starts_s[index]),
                vowel_s=float(starts_s[index] + consonant_s),
                end_s=float(starts_s[index] + lengths_s[index]),
                stressed=bool(stressed[index]),
                pitch_st=float(pitch_st[index]),
                pause_follows=bool(pauses_s[index] > 0 or index == n_syllables - 1),
            )
        )
    duration_s = min(float(syllables[-1].end_s + margins_s[1]), _MAX_DURATION_S)
    return _Sentence(tuple(syllables), duration_s, final_st=-2.0 + manner.final_st)


def _pauses(n_syllables: int, amount: float, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return the pause after each syllable in seconds, none after the last; at most 0.5 s in all."""
    paused = random.random(n_syllables) < 0.07 * amount
    lengths_s = np.where(paused, random.uniform(0.07, 0.13, n_syllables) * np.sqrt(amount), 0.0)
    lengths_s[-1] = 0.0
    lengths_s *= min(1.0, 0.5 / max(float(lengths_s.sum()), 1e-9))
    return lengths_s


def _melody(stressed: npt.NDArray[np.bool_], manner: Profile, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return the pitch of each syllable in semitones: declination plus accents."""
    position = np.linspace(-0.5, 0.5, len(stressed))
    accents = np.where(stressed, 1.4, -1.0) * random.uniform(0.6, 1.4, len(stressed))
    pitch_st: npt.NDArray[np.float64] = (-2.5 + manner.slope_st) * position + manner.f0_range * accents
    return pitch_st


# ---------------------------------------------------------------- the sound


class _Tracks(NamedTuple):
    """What the synthesiser does at each step of 5 ms; all of shape (n_steps,) but `formants_hz`, (n_steps, 3)."""

    pitch_st: FloatArray
    voicing: FloatArray
    noise: FloatArray
    noise_hz: FloatArray
    noise_bandwidth_hz: FloatArray
    formants_hz: FloatArray


def _synthesise(sentence: _Sentence, speaker: Voice, manner: Profile, random: np.random.Generator) -> Waveform:
    tracks = _tracks(sentence, speaker, manner)
    n_steps = len(tracks.voicing)
    n_samples = n_steps * _HOP
    voicing = _to_samples(tracks.voicing, n_samples)
    pitch_st = _to_samples(tracks.pitch_st, n_samples)
    pitch_st -= np.average(pitch_st, weights=voicing)  # so that the mean F0 is what voice and manner say
    f0_hz = speaker.f0_hz * manner.f0_mean * np.exp2(pitch_st / 12.0)
    # Pressed voices close their vocal folds sooner, breathy ones later.
    open_quotient = float(np.clip(0.62 - 0.04 * manner.tilt_db, 0.45, 0.8))
    flow = _glottal_flow(f0_hz, speaker.jitter * manner.jitter, open_quotient, random)
    breath = random.standard_normal(n_samples, dtype=np.float32) * (0.3 + 0.7 * flow)
    hiss = random.standard_normal(n_samples, dtype=np.float32)

    response = _vocal_tract(tracks.formants_hz, speaker.formant_scale * manner.formants)
    source = _spectra(flow * voicing) * _source_colour(float(f0_hz.mean()), speaker.tilt_db + manner.tilt_db)
    source += _spectra(breath * voicing) * np.float32(speaker.breathiness * manner.breathiness)
    speech = _overlap_add(source * response, n_samples)
    noise_gain = tracks.noise * np.float32(np.sqrt(np.mean(np.square(speech[voicing > 0.5]))))
    friction = _overlap_add(_spectra(hiss) * _noise_bands(tracks) * noise_gain[:, np.newaxis], n_samples)
    spoken = speech + friction

    gain_db = speaker.level_db + manner.intensity_db
    spoken *= np.float32(_SPEECH_RMS * 10 ** (gain_db / 20) / np.sqrt(np.mean(np.square(spoken[voicing > 0.1]))))
    room = _SPEECH_RMS * 10 ** (random.uniform(*_ROOM_NOISE_DB) / 20) * _room_noise(n_samples, random)
    waveform: Waveform = (spoken + room)[: int(sentence.duration_s * _RATE)].astype(np.float32)
    peak = float(np.abs(waveform).max())
    return waveform * np.float32(min(1.0, _CEILING / peak))


def _tracks(sentence: _Sentence, speaker: Voice, manner: Profile) -> _Tracks:
    """Draw the lines that the synthesiser follows through the points that the syllables set."""
    steps_s = np.arange(0.0, sentence.duration_s + 0.005, _HOP / _RATE)
    voicing, pitch, formants = [(0.0, _OFF_DB)], [], []
    noise_db = np.full(len(steps_s), _OFF_DB)
    noise_hz, noise_bandwidth_hz = np.full(len(steps_s), 1000.0), np.full(len(steps_s), 1000.0)
    for index, syllable in enumerate(sentence.syllables):
        last = index == len(sentence.syllables) - 1
        # Voices run out of breath: 3 dB lower at the end than at the start.
        level_db = (2.0 + manner.stress_db if syllable.stressed else 0.0) - 3.0 * index / len(sentence.syllables)
        voicing += _voicing_points(syllable, level_db, onset_s=0.03 * manner.attack)
        pitch += _pitch_points(syllable, sentence.final_st if last else 0.0)
        formants += _formant_points(syllable, manner.articulation)
        consonant = syllable.consonant
        begin_s = max(syllable.start_s, syllable.vowel_s - 0.025) if consonant.stop else syllable.start_s
        hissing = (steps_s >= begin_s) & (steps_s < syllable.vowel_s)
        noise_db[hissing] = consonant.noise_db + level_db
        noise_hz[hissing] = min(consonant.noise_hz * speaker.formant_scale, 7000.0)
        noise_bandwidth_hz[hissing] = consonant.noise_bandwidth_hz
    voicing.append((sentence.duration_s, _OFF_DB))
    formant_times, formant_values = zip(*formants, strict=True)
    formants_hz = [np.interp(steps_s, formant_times, line) for line in np.transpose(formant_values)]
    return _Tracks(
        pitch_st=_smooth(np.interp(steps_s, *np.transpose(pitch)), 7),
        voicing=_smooth(_amplitude(np.interp(steps_s, *np.transpose(voicing))), 3),
        noise=_smooth(_amplitude(noise_db), 3),
        noise_hz=noise_hz.astype(np.float32),
        noise_bandwidth_hz=noise_bandwidth_hz.astype(np.float32),
        formants_hz=np.stack([_smooth(line, 5) for line in formants_hz], axis=1),
    )


def _voicing_points(syllable: _Syllable, level_db: float, *, onset_s: float) -> list[tuple[float, float]]:
    """Return (time in s, level in dB) of the voiced source: consonant, onset, vowel, decay."""
    consonant_db = max(syllable.consonant.voicing_db + level_db, _OFF_DB)
    length_s = syllable.end_s - syllable.vowel_s
    points = [
        (syllable.start_s + 0.008, consonant_db),
        (syllable.vowel_s, max(consonant_db, level_db - 30.0) if consonant_db > _OFF_DB else _OFF_DB),
        (syllable.vowel_s + 0.003, max(consonant_db, level_db - 20.0)),
        (syllable.vowel_s + min(onset_s, 0.5 * length_s), level_db),
        (syllable.vowel_s + 0.7 * length_s, level_db - 1.5),
    ]
    if syllable.pause_follows:
        return [*points, (syllable.end_s - 0.03, level_db - 12.0), (syllable.end_s, _OFF_DB)]
    return [*points, (syllable.end_s - 0.008, level_db - 5.0)]


def _pitch_points(syllable: _Syllable, final_st: float) -> list[tuple[float, float]]:
    """Return (time in s, pitch in semitones): an accent peaks in the middle of its vowel, a final movement follows."""
    length_s = syllable.end_s - syllable.vowel_s
    # The final movement needs most of the vowel, since the voice dies away at its end.
    turn = 0.2 if final_st else 0.5
    return [
        (syllable.vowel_s + 0.1 * length_s, syllable.pitch_st - (0.4 if syllable.stressed else 0.0)),
        (syllable.vowel_s + turn * length_s, syllable.pitch_st),
        (syllable.vowel_s + 0.9 * length_s, syllable.pitch_st - 0.3 + final_st),
    ]


def _formant_points(syllable: _Syllable, articulation: float) -> list[tuple[float, npt.NDArray[np.float64]]]:
    """Return (time in s, F1 to F3 in Hz): from the consonant's locus half way to the vowel, then the vowel."""
    vowel, glide = (
        _MIDDLE_VOWEL_HZ + articulation * (np.array(target) - _MIDDLE_VOWEL_HZ)
        for target in (syllable.vowel_hz, syllable.glide_hz)
    )
    locus = np.array(syllable.consonant.locus_hz)
    length_s = syllable.end_s - syllable.vowel_s
    return [
        (0.5 * (syllable.start_s + syllable.vowel_s), locus),
        (syllable.vowel_s, 0.5 * (locus + vowel)),
        (syllable.vowel_s + min(0.05, 0.4 * length_s), vowel),
        (syllable.vowel_s + 0.85 * length_s, glide),
    ]


def _glottal_flow(f0_hz: FloatArray, jitter: float, open_quotient: float, random: np.random.Generator) -> FloatArray:
    """Return the flow of air through the glottis, shape (n_samples,), in [0, about 1].

    Rosenberg's pulse B: it opens as 3x^2 - 2x^3 and closes as 1 - x^2; the opening takes twice as long as the closing.
    Each period's length and height err by themselves (jitter, shimmer).
    """
    cycles = np.cumsum(f0_hz, dtype=np.float64) / _RATE
    n_periods = int(cycles[-1]) + 2
    lengths = np.clip(1.0 + jitter * random.standard_normal(n_periods), 0.7, 1.3)
    heights = np.clip(1.0 + 4.0 * jitter * random.standard_normal(n_periods), 0.4, 1.6)
    ends = np.cumsum(lengths) * (n_periods / lengths.sum())
    numbers = np.minimum(np.searchsorted(ends, cycles, side="right"), n_periods - 1)
    starts = np.concatenate([[0.0], ends[:-1]])
    phase = (cycles - starts[numbers]) / (ends - starts)[numbers]
    opening = phase / (open_quotient * 2.0 / 3.0)
    closing = (phase - open_quotient * 2.0 / 3.0) / (open_quotient / 3.0)
    pulse = np.where(opening < 1.0, opening**2 * (3.0 - 2.0 * opening), np.maximum(0.0, 1.0 - closing**2))
    flow: FloatArray = (heights[numbers] * pulse).astype(np.float32)
    return flow


@lru_cache(maxsize=1)
def _bins_hz() -> FloatArray:
    return np.fft.rfftfreq(_N_FFT, 1.0 / _RATE).astype(np.float32)


def _source_colour(f0_hz: float, tilt_db: float) -> ComplexArray:
    """Return what turns flow into the sound source, shape (n_bins,): radiation from the lips, and spectral tilt.

    Radiation differentiates; divided by F0 it gives a source of about the same power at every pitch.
    """
    octaves = np.log2(np.maximum(_bins_hz(), 500.0) / 500.0)
    radiation = (1.0 - np.exp(-2j * np.pi * _bins_hz() / _RATE)) * (_RATE / (2.5 * f0_hz))
    colour: ComplexArray = (radiation * 10.0 ** (tilt_db * octaves / 20.0)).astype(np.complex64)
    return colour


def _vocal_tract(formants_hz: FloatArray, scale: float) -> ComplexArray:
    """Return the response of the cascade of resonators at each step, shape (n_steps, n_bins)."""
    response = np.ones((len(formants_hz), len(_bins_hz())), dtype=np.complex64)
    for line, bandwidth_hz in zip(formants_hz.T, _BANDWIDTHS_HZ, strict=True):
        response *= _resonator(np.clip(line[:, np.newaxis] * scale, 150.0, 7500.0), bandwidth_hz)
    for centre_hz, bandwidth_hz in _HIGHER_FORMANTS_HZ:
        if centre_hz * scale < 0.48 * _RATE:
            response *= _resonator(np.array([[centre_hz * scale]]), bandwidth_hz)
    return response


def _resonator(centre_hz: npt.NDArray[np.floating], bandwidth_hz: float) -> ComplexArray:
    """Return the response of Klatt's digital resonator with a gain of 1 at 0 Hz: his equations 1 and 2."""
    c = -np.exp(-2.0 * np.pi * bandwidth_hz / _RATE)
    b = (2.0 * np.exp(-np.pi * bandwidth_hz / _RATE) * np.cos(2.0 * np.pi * centre_hz / _RATE)).astype(np.float32)
    delay = np.exp(-2j * np.pi * _bins_hz() / _RATE).astype(np.complex64)
    response: ComplexArray = np.float32(1.0) - b * delay
    response -= np.complex64(c) * np.square(delay)
    np.divide(np.float32(1.0 - c) - b, response, out=response)
    return response


def _noise_bands(tracks: _Tracks) -> FloatArray:
    """Return the shape of the friction noise at each step, shape (n_steps, n_bins): a bell over frequency."""
    distance = _bins_hz() - tracks.noise_hz[:, np.newaxis]
    distance /= 0.5 * tracks.noise_bandwidth_hz[:, np.newaxis]
    bands: FloatArray = np.exp(np.float32(-0.5) * np.square(distance))
    return bands


def _spectra(signal: FloatArray) -> ComplexArray:
    """Return the spectra of windowed pieces of a signal, one for each step, shape (n_samples / _HOP, n_bins)."""
    import scipy.fft

    padded = np.pad(signal, (_HOP, _WINDOW - _HOP))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[: len(signal) : _HOP]
    window = (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(_WINDOW) / _WINDOW)).astype(np.float32)
    spectra: ComplexArray = scipy.fft.rfft(pieces * window, n=_N_FFT, axis=1)
    return spectra


def _overlap_add(spectra: ComplexArray, n_samples: int) -> FloatArray:
    """Undo `_spectra`; the pieces, by now longer than the windows, are added where they overlap."""
    import scipy.fft

    pieces = scipy.fft.irfft(spectra, n=_N_FFT, axis=1)
    blocks = -(-_N_FFT // _HOP)  # how many steps a piece reaches over
    pieces = np.pad(pieces, ((0, 0), (0, blocks * _HOP - _N_FFT))).reshape(len(pieces), blocks, _HOP)
    steps = np.zeros((len(pieces) + blocks, _HOP), dtype=np.float32)
    for block in range(blocks):
        steps[block : block + len(pieces)] += pieces[:, block]
    return steps.reshape(-1)[_HOP : _HOP + n_samples]


def _room_noise(n_samples: int, random: np.random.Generator) -> FloatArray:
    """Return noise with an RMS of 1 that falls by 3 dB per octave, as rooms and ventilators hum."""
    import scipy.fft

    spectrum = scipy.fft.rfft(random.standard_normal(n_samples, dtype=np.float32))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), n_samples * 50 / _RATE)).astype(np.float32)
    noise: FloatArray = scipy.fft.irfft(spectrum, n=n_samples)
    noise /= np.sqrt(np.mean(np.square(noise)))
    return noise


def _amplitude(decibels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(decibels > _OFF_DB, 10.0 ** (decibels / 20.0), 0.0)


def _smooth(line: npt.NDArray[np.float64], n_steps: int) -> FloatArray:
    """Round the corners of a line with a Hann window of `n_steps` steps."""
    window = np.hanning(n_steps + 2)[1:-1]
    padded = np.pad(line, n_steps // 2, mode="edge")
    return np.convolve(padded, window / window.sum(), mode="valid").astype(np.float32)


def _to_samples(line: FloatArray, n_samples: int) -> FloatArray:
    """Interpolate a line of one value for each step to one for each sample."""
    return np.interp(np.arange(n_samples) / _HOP, np.arange(len(line)), line).astype(np.float32)

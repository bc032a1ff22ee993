"""Clips of known label -> a recording of minutes or hours, and the truth of who speaks in it, when, and how.

Of each clip the speech is used, which ITU-T P.56 finds (`degrade.speech_stretch`), with `MARGIN_S` of its own sound
before and after, faded in and out. One speaker says several clips of one emotion, a stretch; then the emotion changes,
and perhaps the speaker. Everything random comes from one seed, and sound is written as it is made, so that a recording
of a day takes no more memory than one of a minute.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from emogram import audio
from emogram.audio import Waveform
from emogram.degrade import N_BABBLERS, active_level, babble, rng_of, speech_stretch, voice_of
from emogram.errors import CorpusError, InputError, SettingsError
from emogram.files import json_line, write_text, writing
from emogram.progress import SILENT, Progress
from emogram.records import Clip, Span, speakers_of

MARGIN_S = 0.1  # of a clip's own sound around its speech, since P.56 leaves out how a word begins and dies away
LEVEL_DBFS = -36.0  # of a speaker's clips on average; in RAVDESS anger is 10 dB above it and its peaks 20 dB more
SOUND_SUFFIXES = {".wav": "PCM_16", ".flac": "PCM_16"}

_BABBLE_S = 60.0  # then it begins again
_VOICE_S = 15.0  # of speech from each babbler
_CLIPS_MEASURED = 40  # of a speaker, to know how loud he is
_CLIPS_KEPT = 2048  # ready to be used again; 100 kB each


@dataclass(frozen=True)
class JoinConfig:
    """How a recording is made.

    Attributes:
        minutes: Length of the recording, > 0.
        stretch_clips: Fewest and most clips that a speaker says in one emotion before it changes.
        pause_s: Shortest and longest pause between the clips of a stretch, from speech to speech, at least twice
            `MARGIN_S`.
        break_s: The same between two stretches.
        stay: Probability that the same speaker goes on when the emotion changes.
        noise: What sounds all the time: nothing, hiss, or the voices of others; pauses are digital silence without it.
        snr_db: How far the noise lies below the average active level of speech (ITU-T P.56).
        level_db: Each stretch is up to this much louder or softer, as if the speaker came near or went away.
        channels: 1; or 2 for a call, with every other speaker on the second channel.
        sample_rate: In Hz.
        seed: One seed, one recording.
    """

    minutes: float = 10.0
    stretch_clips: tuple[int, int] = (3, 8)
    pause_s: tuple[float, float] = (0.2, 0.8)
    break_s: tuple[float, float] = (0.3, 2.0)
    stay: float = 0.5
    noise: Literal["none", "white", "babble"] = "none"
    snr_db: float = 20.0
    level_db: float = 0.0
    channels: int = 1
    sample_rate: int = 16000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what makes no recording."""
        if not (math.isfinite(self.minutes) and self.minutes > 0.0):
            raise SettingsError(f"minutes is {self.minutes}; expected more than 0")
        if not 1 <= self.stretch_clips[0] <= self.stretch_clips[1]:
            raise SettingsError(f"stretch_clips is {self.stretch_clips}; expected the fewest and the most, from 1 up")
        for name in ("pause_s", "break_s"):
            shortest, longest = getattr(self, name)
            if not 2 * MARGIN_S <= shortest <= longest < math.inf:
                raise SettingsError(
                    f"{name} is {shortest}, {longest}; expected the shortest and the longest, from {2 * MARGIN_S:g} up"
                )
        if self.noise not in ("none", "white", "babble"):
            raise SettingsError(f"unknown noise '{self.noise}'; expected none, white or babble")
        if not 0.0 <= self.stay <= 1.0:
            raise SettingsError(f"stay is {self.stay}; expected 0 to 1")
        if self.channels not in (1, 2):
            raise SettingsError(f"channels is {self.channels}; expected 1 or 2")


@dataclass(frozen=True)
class Joined:
    """A recording that was made, and the truth of it.

    Attributes:
        path: The sound file; beside it lie `.jsonl`, what is spoken and where silence is, and `.rttm`, who speaks.
        truth: The spoken clips in order; those of one channel do not overlap.
        clips: The clip of each.
        duration_s: Length in seconds.
        channels: Number of channels.
    """

    path: Path
    truth: tuple[Span, ...]
    clips: tuple[Clip, ...]
    duration_s: float
    channels: int


@dataclass(frozen=True)
class _Said:
    """A clip's place: `pause_s` after the one before it, on a channel, so much louder than the clip itself."""

    clip: Clip
    speaker: str
    channel: int
    pause_s: float
    factor: float


def join(
    clips: Sequence[Clip],
    path: Path,
    config: JoinConfig,
    *,
    babblers: Sequence[Clip] = (),
    progress: Progress = SILENT,
) -> Joined:
    """Make a recording and write it with its truth beside it.

    Args:
        clips: Labelled clips of known speakers, sound. Each is used once before any is used again.
        path: The sound file to write, .wav or .flac; more than 4 GB need .flac.
        config: How.
        babblers: Clips of others, for "babble"; of one of their speakers after the other.
        progress: Is told of each second made.

    Raises:
        CorpusError: There are too few clips, labels or speakers.
        AudioError: A clip cannot be read.
        SettingsError: Babble without babblers, a suffix that is neither .wav nor .flac, or too long a .wav.
        OutputError: A file cannot be written.
    """
    import soundfile

    _check_path(path, config)
    by_speaker = _by_speaker(clips)
    if len(by_speaker) < config.channels:
        raise CorpusError("a call of two channels needs two speakers with clips of two emotions each; there is one")
    rng = rng_of("joined", config.seed)
    factors = {name: _level_factor(own, config) for name, own in by_speaker.items()}
    noise = _Noise(config, babblers)
    truth: list[Span] = []
    said: list[Clip] = []
    n_wanted = round(config.minutes * 60.0 * config.sample_rate)
    margin = round(MARGIN_S * config.sample_rate)
    with (
        writing(path) as temporary,
        progress.task("joining clips", int(n_wanted / config.sample_rate), unit="seconds") as task,
        soundfile.SoundFile(
            temporary, "w", config.sample_rate, config.channels, subtype=SOUND_SUFFIXES[path.suffix.lower()]
        ) as file,
    ):
        done = 0  # samples written

        def write(block: Waveform, channel: int | None) -> None:
            nonlocal done
            whole = noise.next(len(block))
            if channel is not None:
                whole[:, channel] += block
            file.write(np.clip(whole, -1.0, 1.0))
            seconds_before = done // config.sample_rate
            done += len(block)
            task.advance(done // config.sample_rate - seconds_before)

        for one in _conversation(by_speaker, factors, config, rng):
            sound, first, last = _speech(one.clip.path, one.clip.start_s, one.clip.end_s, config.sample_rate)
            # From speech to speech; what was written ends `margin` after the last speech.
            start = max(0, done - margin) + round(one.pause_s * config.sample_rate)
            if start + (last - first) + margin > n_wanted:
                break
            write(np.zeros(start - first - done, np.float32), None)
            # The loudest shouts are made as soft as full scale is, not cut.
            write(sound * np.float32(min(one.factor, 1.0 / np.abs(sound).max())), one.channel)
            rate = config.sample_rate
            truth.append(
                Span(start / rate, (start + last - first) / rate, str(one.clip.label), one.speaker, one.channel)
            )
            said.append(one.clip)
        if not truth:
            raise CorpusError(f"{config.minutes:g} minutes hold not one clip; make the recording longer")
        while done < n_wanted:
            write(np.zeros(min(config.sample_rate, n_wanted - done), np.float32), None)
    joined = Joined(path, tuple(truth), tuple(said), n_wanted / config.sample_rate, config.channels)
    write_truth(path.with_suffix(".jsonl"), joined)
    write_turns(path.with_suffix(".rttm"), joined)
    return joined


def silences(truth: Sequence[Span], duration_s: float, *, channel: int) -> list[tuple[float, float]]:
    """Return where nobody speaks on a channel: start and end of each silence in seconds."""
    own = [event for event in truth if event.channel == channel]
    edges = [0.0, *(edge for event in own for edge in (event.start_s, event.end_s)), duration_s]
    return [(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True) if end > start]


def write_truth(path: Path, joined: Joined) -> None:
    """Write what is spoken and where silence is, a line each in order of start; `label` of a silence is null.

    Raises:
        OutputError: The file cannot be written.
    """
    lines = [
        {
            "start_s": event.start_s,
            "end_s": event.end_s,
            "channel": event.channel,
            "label": event.label,
            "speaker": event.speaker,
            "clip": clip.path.name,
        }
        for event, clip in zip(joined.truth, joined.clips, strict=True)
    ] + [
        {"start_s": start_s, "end_s": end_s, "channel": channel, "label": None, "speaker": None, "clip": None}
        for channel in range(joined.channels)
        for start_s, end_s in silences(joined.truth, joined.duration_s, channel=channel)
    ]
    lines.sort(key=lambda line: (line["start_s"], line["channel"]))
    write_text(path, "".join(json_line(line) + "\n" for line in lines))


def read_truth(path: Path) -> tuple[Span, ...]:
    """Read what is spoken from a file of `write_truth`.

    Raises:
        InputError: It is missing or is no such file.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return tuple(
            Span(line["start_s"], line["end_s"], line["label"], line["speaker"], line["channel"])
            for line in lines
            if line["label"] is not None
        )
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: not the truth of a joined recording; make the recording again") from None


def write_turns(path: Path, joined: Joined) -> None:
    """Write who speaks when as RTTM (NIST): a turn lasts until another speaks, whatever the emotion.

    Raises:
        OutputError: The file cannot be written.
    """
    name = joined.path.stem
    write_text(
        path,
        "".join(
            f"SPEAKER {name} {(turn.channel or 0) + 1} {turn.start_s:.7f} {turn.end_s - turn.start_s:.7f} "
            f"<NA> <NA> {turn.speaker} <NA> <NA>\n"
            for turn in turns_of(joined.truth)
        ),
    )


def turns_of(truth: Sequence[Span]) -> list[Span]:
    """Join what a speaker says until another speaks; the label is that of the beginning."""
    turns: list[Span] = []
    for span in truth:
        if turns and turns[-1].speaker == span.speaker:
            turns[-1] = replace(turns[-1], end_s=span.end_s)
        else:
            turns.append(span)
    return turns


# ---------------------------------------------------------------- who says what


def _check_path(path: Path, config: JoinConfig) -> None:
    suffix = path.suffix.lower()
    if suffix not in SOUND_SUFFIXES:
        raise SettingsError(f"{path}: recordings are written as {' or '.join(SOUND_SUFFIXES)}; choose such a name")
    if suffix == ".wav" and config.minutes * 60 * config.sample_rate * config.channels * 2 > 2**32 - 100:
        raise SettingsError(f"{path}: a .wav holds at most 4 GB; write .flac instead")


def _by_speaker(clips: Sequence[Clip]) -> dict[str, tuple[Clip, ...]]:
    found: dict[str, list[Clip]] = {}
    for clip, speaker in zip(clips, speakers_of(clips), strict=True):
        if clip.label is not None and speaker is not None:
            found.setdefault(speaker, []).append(clip)
    # With one emotion a speaker could not change it; the order of the clips must not count.
    kept = {
        # By where it begins too: several clips may lie in one file.
        name: tuple(sorted(own, key=lambda clip: (clip.path.name, clip.start_s)))
        for name, own in sorted(found.items())
        if len({clip.label for clip in own}) > 1
    }
    if not kept:
        raise CorpusError(
            "no speaker with clips of two emotions, so nothing could change; give labelled clips by speaker"
        )
    return kept


def _conversation(
    by_speaker: Mapping[str, Sequence[Clip]],
    factors: Mapping[str, float],
    config: JoinConfig,
    rng: np.random.Generator,
) -> Iterator[_Said]:
    """Yield clips without end; no two stretches in a row on a channel have the same emotion."""
    names = list(by_speaker)
    channel_of = {name: place % config.channels for place, name in enumerate(names)}
    decks = {(name, str(clip.label)): _Deck(rng) for name, own in by_speaker.items() for clip in own}
    for name, own in by_speaker.items():
        for clip in own:
            decks[name, str(clip.label)].clips.append(clip)
    said_last: dict[int, str] = {}
    speaker = names[int(rng.integers(len(names)))]
    while True:
        channel = channel_of[speaker]
        labels = sorted({label for name, label in decks if name == speaker} - {said_last.get(channel)})
        label = labels[int(rng.integers(len(labels)))]
        said_last[channel] = label
        factor = factors[speaker] * 10.0 ** (rng.uniform(-config.level_db, config.level_db) / 20.0)
        for number in range(int(rng.integers(config.stretch_clips[0], config.stretch_clips[1] + 1))):
            pause_s = rng.uniform(*(config.pause_s if number else config.break_s))
            yield _Said(decks[speaker, label].draw(), speaker, channel, float(pause_s), float(factor))
        others = [name for name in names if name != speaker]
        if others and rng.random() >= config.stay:
            speaker = others[int(rng.integers(len(others)))]


class _Deck:
    """Clips that are drawn without repeating one before all were drawn."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.clips: list[Clip] = []
        self._rng = rng
        self._left: list[int] = []

    def draw(self) -> Clip:
        if not self._left:
            self._left = self._rng.permutation(len(self.clips)).tolist()
        return self.clips[self._left.pop()]


# ---------------------------------------------------------------- sound


@lru_cache(maxsize=_CLIPS_KEPT)
def _speech(path: Path, start_s: float, end_s: float | None, sample_rate: int) -> tuple[Waveform, int, int]:
    """Return the speech of a clip with its margins, faded, and the first sample of speech in it and the one after."""
    waveform = audio.load_audio(path, sample_rate=sample_rate, start_s=start_s, end_s=end_s)
    first, last = speech_stretch(waveform, sample_rate)
    margin = round(MARGIN_S * sample_rate)
    begin, end = max(0, first - margin), min(len(waveform), last + margin)
    # Where the clip ends sooner, silence makes up for it, so that the margin is always as long.
    sound = np.pad(waveform[begin:end], (margin - (first - begin), margin - (end - last)))
    fade = np.sin(np.linspace(0.0, np.pi / 2, margin, dtype=np.float32)) ** 2
    sound[:margin] *= fade
    sound[-margin:] *= fade[::-1]
    sound.flags.writeable = False
    return sound, margin, margin + last - first


def _level_factor(clips: Sequence[Clip], config: JoinConfig) -> float:
    """Return what brings the active level of a speaker's clips to `LEVEL_DBFS` on average, in decibels.

    One factor for all: that anger is loud and sadness soft is part of how it sounds.
    """
    places = np.linspace(0, len(clips) - 1, min(len(clips), _CLIPS_MEASURED)).round().astype(int)
    rate = config.sample_rate
    levels = [active_level(audio.load_clip(clips[place], sample_rate=rate), rate) for place in places]
    levels_db = 10.0 * np.log10(np.maximum(levels, 1e-20))
    return float(10.0 ** ((LEVEL_DBFS - np.mean(levels_db)) / 20.0))


class _Noise:
    """What sounds all the time, block by block; each channel has its own."""

    def __init__(self, config: JoinConfig, babblers: Sequence[Clip]) -> None:
        self._config = config
        self._rng = rng_of("noise", config.seed)
        self._amplitude = np.float32(10.0 ** ((LEVEL_DBFS - config.snr_db) / 20.0))
        self._loop: Waveform | None = None
        self._place = 0
        if config.noise == "babble":
            if not babblers:
                raise SettingsError("babble is made of other speakers' clips, and none were given")
            voices = _voices(babblers, config.sample_rate, self._rng)
            n_samples = round(_BABBLE_S * config.sample_rate)
            mixed = np.stack([babble(voices, n_samples, self._rng) for _ in range(config.channels)], axis=1)
            self._loop = (mixed / np.sqrt(np.mean(np.square(mixed), axis=0))).astype(np.float32)

    def next(self, n_samples: int) -> Waveform:
        """Return the next samples, shape (n_samples, n_channels)."""
        shape = (n_samples, self._config.channels)
        if self._config.noise == "none":
            return np.zeros(shape, np.float32)
        if self._loop is None:
            return self._rng.standard_normal(shape, dtype=np.float32) * self._amplitude
        places = (self._place + np.arange(n_samples)) % len(self._loop)
        self._place = (self._place + n_samples) % len(self._loop)
        return self._loop[places] * self._amplitude


def _voices(babblers: Sequence[Clip], sample_rate: int, rng: np.random.Generator) -> list[Waveform]:
    """Return `N_BABBLERS` voices of as many speakers as there are, each some seconds of speech on end."""
    by_speaker: dict[str, list[Clip]] = {}
    for place, (clip, speaker) in enumerate(zip(babblers, speakers_of(babblers), strict=True)):
        by_speaker.setdefault(speaker or f"of clip {place}", []).append(clip)
    voices = []
    for name in np.resize(rng.permutation(sorted(by_speaker)), N_BABBLERS):
        own = by_speaker[str(name)]
        parts: list[Waveform] = []
        for place in rng.permutation(len(own)):
            parts.append(voice_of(audio.load_clip(own[place], sample_rate=sample_rate), sample_rate))
            if sum(map(len, parts)) >= _VOICE_S * sample_rate:
                break
        voices.append(np.concatenate(parts))
    return voices

"""Clips of a dataset -> the same clips degraded, as model inputs, by way of the same cache.

For judging under the conditions of PROTOCOLS.md, P5, and for training on degraded copies. What happens to a clip
depends on its content alone and not on its name or its place, and babble is made of other speakers than its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from emogram import audio, features
from emogram.config import AugmentConfig, SpectrogramConfig
from emogram.dataset import Dataset, Indices, Sample, cached
from emogram.degrade import N_BABBLERS, Change, degrade, random_change, rng_of, voice_of
from emogram.errors import CorpusError, EmogramError, SettingsError
from emogram.parallel import map_parallel
from emogram.progress import SILENT, Progress
from emogram.records import Clip, speakers_of
from emogram.spectrogram import PICTURE_SUFFIXES

DEGRADE = 1  # raise it when the same change begins to give another sound, so that old caches are not used

# Voices are kept ready to be mixed, which takes some 100 kB for each, in every process.
CLIPS_OF_A_SPEAKER = 8
_VOICES_KEPT = 256


@dataclass(frozen=True)
class Wanted:
    """A degraded copy to be made.

    Attributes:
        index: The clip's place in the dataset.
        change: What to do to it.
        seed: A word; with the content of the clip it decides everything random.
    """

    index: int
    change: Change
    seed: str


@dataclass(frozen=True)
class _Work:
    clip: Clip
    content: str
    change: Change
    seed: str
    babblers: tuple[Clip, ...]


def degraded_samples(
    dataset: Dataset,
    wanted: Sequence[Wanted],
    *,
    voices: Indices,
    cache: Path | None = None,
    workers: int | None = None,
) -> Iterator[tuple[int, Sample | EmogramError]]:
    """Make degraded copies of clips, in several processes; yields `(position in wanted, copy)` in any order.

    A copy keeps the content hash of its clean clip, so that a leak of it is still seen. One that cannot be made, as
    where a cut leaves too little, is its error.

    Args:
        dataset: The clips, clean, with the settings that turn sound into input.
        wanted: What to make.
        voices: The clips that babble is made of; of them, those of the clip's own speaker are never used.
        cache: Folder to keep the copies in; None keeps none.
        workers: Number of processes.

    Raises:
        SettingsError: The dataset is of pictures.
        CorpusError: Babble is wanted of a clip for which `voices` holds no other speaker.
    """
    config = dataset.spectrogram
    if config is None or any(dataset.clips[one.index].path.suffix.lower() in PICTURE_SUFFIXES for one in wanted):
        raise SettingsError("degraded copies are made of sound, and this corpus is of pictures; give it the sound")
    pool = _Pool(dataset, voices)
    work = [
        _Work(
            dataset.clips[one.index],
            dataset.samples[one.index].content,
            one.change,
            one.seed,
            pool.babblers(one.index, one.seed) if one.change.kind == "babble" else (),
        )
        for one in wanted
    ]
    yield from map_parallel(partial(_sample, config, None if cache is None else cache.resolve()), work, workers=workers)


def with_degraded_copies(
    dataset: Dataset,
    indices: Indices,
    config: AugmentConfig,
    *,
    cache: Path | None = None,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Dataset:
    """Return the dataset with `config.degraded_copies` variants of each training clip; see `Dataset.sample_of`.

    Args:
        dataset: All clips, clean.
        indices: Those that train. Babble is made of them alone, so that no test voice is heard in training.
        config: How many.
        cache: Folder to keep the copies in; None keeps none.
        workers: Number of processes.
        progress: Is told of each copy.

    Raises:
        SettingsError: The dataset is of pictures.
        CorpusError: There is only one speaker to make babble of.
    """
    if not config.degraded_copies:
        return dataset
    wanted = []
    for index in indices:
        for number in range(config.degraded_copies):
            seed = f"copy {number}"
            rng = rng_of(dataset.samples[index].content, seed, "change")
            change = random_change(rng, babble_share=config.degraded_babble)
            wanted.append(Wanted(int(index), change, seed))
    made: dict[int, Sample] = {}
    with progress.task("degrading copies", len(wanted)) as task:
        for position, outcome in degraded_samples(dataset, wanted, voices=indices, cache=cache, workers=workers):
            if not isinstance(outcome, EmogramError):
                made[position] = outcome
            task.advance()
    variants: dict[int, list[Sample]] = {}
    for position in sorted(made):
        variants.setdefault(wanted[position].index, []).append(made[position])
    samples = tuple(
        replace(sample, variants=tuple(variants.get(index, ()))) for index, sample in enumerate(dataset.samples)
    )
    return replace(dataset, samples=samples)


class _Pool:
    """The clips that babble is made of, by speaker."""

    def __init__(self, dataset: Dataset, voices: Indices) -> None:
        self._dataset = dataset
        self._speakers = speakers_of(dataset.clips)
        self._by_speaker: dict[str, list[int]] = {}
        # By content, so that neither names nor order count.
        for index in sorted(map(int, voices), key=lambda index: dataset.samples[index].content):
            clips = self._by_speaker.setdefault(self._speaker(index), [])
            if len(clips) < CLIPS_OF_A_SPEAKER:
                clips.append(index)

    def babblers(self, index: int, seed: str) -> tuple[Clip, ...]:
        """Return a clip for each voice of a babble: of as many different speakers as there are."""
        content = self._dataset.samples[index].content
        others = sorted(
            (clips for speaker, clips in self._by_speaker.items() if speaker != self._speaker(index)),
            key=lambda clips: self._dataset.samples[clips[0]].content,
        )
        if not others:
            raise CorpusError(
                f"{self._dataset.clips[index].path}: babble is made of other speakers' clips, and there are none; "
                "give a corpus of two speakers or more"
            )
        rng = rng_of(content, seed, "babblers")
        order = np.resize(rng.permutation(len(others)), N_BABBLERS)
        return tuple(self._dataset.clips[int(rng.choice(others[speaker]))] for speaker in order)

    def _speaker(self, index: int) -> str:
        # A clip of an unknown speaker is taken for a voice of its own.
        return self._speakers[index] or f"of {self._dataset.samples[index].content}"


def _sample(config: SpectrogramConfig, cache: Path | None, work: _Work) -> Sample:
    babblers = " ".join(f"{one.path.resolve()} {one.start_s} {one.end_s}" for one in work.babblers)
    key = (config.content_hash(), DEGRADE, work.change, work.seed, babblers)
    return cached(partial(_make, config, work), cache, work.clip, *key)


def _make(config: SpectrogramConfig, work: _Work) -> Sample:
    waveform = audio.load_clip(work.clip, sample_rate=config.sample_rate)
    degraded = degrade(
        waveform,
        config.sample_rate,
        work.change,
        rng_of(work.content, work.seed),
        voices=[_voice(one.path, one.start_s, one.end_s, config.sample_rate) for one in work.babblers],
    )
    inputs = features.model_inputs(degraded, config)
    return Sample(inputs["spectrogram"].astype(np.float16), inputs.get("features"), work.content)


@lru_cache(maxsize=_VOICES_KEPT)
def _voice(path: Path, start_s: float, end_s: float | None, sample_rate: int) -> audio.Waveform:
    voice = voice_of(audio.load_audio(path, sample_rate=sample_rate, start_s=start_s, end_s=end_s), sample_rate)
    voice.flags.writeable = False  # shared by all that is made of it
    return voice

"""What is in a corpus, and what is wrong with it: counts, durations, duplicates and clips that are of no use."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from emogram import audio
from emogram.corpora.corpus import Corpus, Kind
from emogram.errors import EmogramError
from emogram.parallel import map_parallel
from emogram.progress import SILENT, Progress
from emogram.records import Clip, speakers_of
from emogram.spectrogram import open_picture

# A 16-bit converter in saturation gives 32767/32768 and a lossy codec a little less or more.
CLIPPED_LEVEL = 0.999
# One part in ten thousand, a common threshold. A clip that was only normalised to its peak touches full scale once or
# twice, whatever its length, hence also a least number of samples.
CLIPPED_SHARE = 1e-4
MIN_CLIPPED_SAMPLES = 4

Key = TypeVar("Key", str, int)

_GROUPS = ("gender", "intensity")


@dataclass(frozen=True)
class Duplicates:
    """Clips that hold the same samples, or pictures that hold the same pixels.

    Attributes:
        clips: Their names; at least two.
        same_label: Whether all have one label. If not, at least one is wrong.
        same_speaker: Whether all have one speaker. If not, a split by speaker leaks.
    """

    clips: tuple[str, ...]
    same_label: bool
    same_speaker: bool


@dataclass(frozen=True)
class Problem:
    """A clip and what is wrong with it, in words."""

    clip: str
    message: str


@dataclass(frozen=True)
class Description:
    """What is in a corpus. Clips are named by their path below the root of the corpus.

    Attributes:
        name: Name of the corpus.
        kind: Whether the clips are sound files or pictures.
        root: The folder or manifest.
        licence: As best known.
        n_clips: Number of clips.
        by_label: label -> number of clips, in the order of labels.
        by_speaker: speaker -> number of clips; "corpus/speaker" where there are several corpora.
        by_label_and_speaker: label -> speaker -> number of clips.
        n_without_speaker: Number of clips whose speaker is unknown.
        by_group: "gender" and "intensity", where known -> group -> number of clips.
        imbalance: Clips of the largest class over those of the smallest, >= 1.
        duration_s: "total", "min", "median" and "max" in seconds, of all readable clips; empty for pictures.
        sample_rates: Sample rate in Hz -> number of clips.
        channels: Number of channels -> number of clips.
        picture_sizes: "128x128" (width x height) -> number of pictures.
        duplicates: Groups of clips that hold the same; silent ones, which are all alike, do not count.
        unreadable: Clips that cannot be decoded, are empty or hold values that are not finite.
        silent: Clips whose average of channels stays below `audio.SILENT_PEAK`.
        clipped: Clips with at least `CLIPPED_SHARE` of their samples at full scale.
        too_short: Clips shorter than `audio.MIN_DURATION_S`.
        warnings: Those of the corpus.
    """

    name: str
    kind: Kind
    root: str
    licence: str
    n_clips: int
    by_label: Mapping[str, int]
    by_speaker: Mapping[str, int]
    by_label_and_speaker: Mapping[str, Mapping[str, int]]
    n_without_speaker: int
    by_group: Mapping[str, Mapping[str, int]]
    imbalance: float
    duration_s: Mapping[str, float]
    sample_rates: Mapping[int, int]
    channels: Mapping[int, int]
    picture_sizes: Mapping[str, int]
    duplicates: tuple[Duplicates, ...]
    unreadable: tuple[Problem, ...]
    silent: tuple[Problem, ...]
    clipped: tuple[Problem, ...]
    too_short: tuple[Problem, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts and lists, ready for JSON (which makes text of the numbers that are keys)."""
        return asdict(self)


@dataclass(frozen=True)
class _Measures:
    """What decoding one clip tells; zeros where a kind has no such thing."""

    content: str
    duration_s: float = 0.0
    sample_rate: int = 0
    channels: int = 0
    size: str = ""
    peak: float = 1.0
    clipped_share: float = 0.0


def describe(corpus: Corpus, *, progress: Progress = SILENT, workers: int | None = None) -> Description:
    """Decode every clip of a corpus and say what is there. A clip that cannot be read is named, and the rest is done.

    Args:
        corpus: As `find_corpus` returns it.
        progress: Told after each clip.
        workers: Number of processes; None takes all processors.
    """
    clips = corpus.clips
    measure: Callable[[Clip], _Measures] = partial(_measure, kind=corpus.kind)
    results: dict[int, _Measures | EmogramError] = {}
    with progress.task(f"Examining {corpus.name}", len(clips)) as task:
        for index, result in map_parallel(measure, clips, workers=workers):
            results[index] = result
            task.advance()
    name = partial(_clip_name, corpus=corpus)
    readable = [
        (clip, measures) for index, clip in enumerate(clips) if isinstance(measures := results[index], _Measures)
    ]
    sound = [(clip, measures) for clip, measures in readable if corpus.kind == "audio"]
    audible = [(clip, measures) for clip, measures in readable if measures.peak >= audio.SILENT_PEAK]
    by_label = {label: sum(clip.label == label for clip in clips) for label in corpus.labels}
    speakers = speakers_of(clips)
    return Description(
        name=corpus.name,
        kind=corpus.kind,
        root=str(corpus.root),
        licence=corpus.licence,
        n_clips=len(clips),
        by_label=by_label,
        by_speaker=_count(speakers),
        by_label_and_speaker={
            label: _count(speaker for speaker, clip in zip(speakers, clips, strict=True) if clip.label == label)
            for label in corpus.labels
        },
        n_without_speaker=sum(clip.speaker is None for clip in clips),
        by_group={
            group: counts for group in _GROUPS if (counts := _count(clip.extra.get(group) or None for clip in clips))
        },
        imbalance=max(by_label.values()) / min(by_label.values()),
        duration_s=_durations([measures.duration_s for _, measures in sound]),
        sample_rates=_count(measures.sample_rate for _, measures in sound),
        channels=_count(measures.channels for _, measures in sound),
        picture_sizes=_count(measures.size or None for _, measures in readable),
        duplicates=_duplicates(audible, name),
        unreadable=tuple(
            Problem(name(clip), str(results[index]))
            for index, clip in enumerate(clips)
            if isinstance(results[index], EmogramError)
        ),
        silent=tuple(
            Problem(name(clip), f"peak {_decibels(measures.peak)}")
            for clip, measures in sound
            if measures.peak < audio.SILENT_PEAK
        ),
        clipped=tuple(
            Problem(name(clip), f"{100 * measures.clipped_share:.2g} % of the samples at full scale")
            for clip, measures in sound
            if measures.clipped_share >= CLIPPED_SHARE
        ),
        too_short=tuple(
            Problem(name(clip), f"{measures.duration_s:.3f} s; at least {audio.MIN_DURATION_S:g} s is needed")
            for clip, measures in sound
            if measures.duration_s < audio.MIN_DURATION_S
        ),
        warnings=corpus.warnings,
    )


def example_clips(corpus: Corpus, per_label: int = 3) -> dict[str, list[Clip]]:
    """Choose some clips of each label for a sheet of examples; always the same ones.

    They come from different speakers as far as there are enough, spread over the list of speakers (where men and women
    often stand apart or take turns), and are the first clips of each, in many corpora the same sentence.

    Args:
        corpus: As `find_corpus` returns it.
        per_label: How many at most, >= 1.

    Returns:
        label -> clips, in the order of labels.
    """
    examples = {}
    for label in corpus.labels:
        by_speaker: dict[tuple[str, str], list[Clip]] = defaultdict(list)
        for clip in corpus.clips:
            if clip.label == label:
                by_speaker[clip.corpus, clip.speaker or ""].append(clip)
        speakers = sorted(by_speaker)
        n_chosen = min(per_label, len(speakers))
        spread = np.linspace(0, len(speakers) - 1, n_chosen).round().astype(int)
        queues = [by_speaker[speakers[index]] for index in spread]
        # Where speakers are few, each gives a second clip after all have given a first.
        rounds = [queue[turn] for turn in range(max(map(len, queues))) for queue in queues if turn < len(queue)]
        examples[label] = rounds[:per_label]
    return examples


def _measure(clip: Clip, *, kind: Kind) -> _Measures:
    return _measure_picture(clip) if kind == "picture" else _measure_sound(clip)


def _measure_picture(clip: Clip) -> _Measures:
    image = open_picture(clip.path).convert("RGB")
    size = f"{image.width}x{image.height}"
    return _Measures(content=_digest(size, np.asarray(image)), size=size)


def _measure_sound(clip: Clip) -> _Measures:
    samples, rate = audio.decode(clip.path, start_s=clip.start_s, end_s=clip.end_s)
    # The average of the channels is what a model hears: a stereo file with equal channels is a copy of the mono one,
    # and one with opposite channels is silent.
    with np.errstate(invalid="ignore", over="ignore"):  # values that are not finite are refused below
        mono = samples.mean(axis=1)
    peak = float(np.max(np.abs(mono), initial=0.0))
    if mono.size == 0 or not np.isfinite(peak):  # too short and silent ones are kept apart from the unreadable
        audio.check_waveform(mono, rate, name=str(clip.path))
    n_clipped = int(np.max(np.sum(np.abs(samples) >= CLIPPED_LEVEL, axis=0), initial=0))
    return _Measures(
        content=_digest(str(rate), mono),
        duration_s=len(mono) / rate,
        sample_rate=rate,
        channels=samples.shape[1],
        peak=peak,
        clipped_share=n_clipped / len(mono) if n_clipped >= MIN_CLIPPED_SAMPLES else 0.0,
    )


def _digest(prefix: str, values: npt.NDArray[Any]) -> str:
    return hashlib.sha256(prefix.encode() + b" " + values.tobytes()).hexdigest()


def _clip_name(clip: Clip, corpus: Corpus) -> str:
    folder = corpus.root if corpus.root.is_dir() else corpus.root.parent
    path = clip.path.relative_to(folder) if clip.path.is_relative_to(folder) else clip.path
    if clip.is_whole:
        return path.as_posix()
    return f"{path.as_posix()} ({clip.start_s:g} s to {'end' if clip.end_s is None else f'{clip.end_s:g} s'})"


def _count(values: Iterable[Key | None]) -> dict[Key, int]:
    """Count values, sorted; None is not counted."""
    counts = Counter(value for value in values if value is not None)
    return dict(sorted(counts.items()))


def _durations(durations_s: Sequence[float]) -> dict[str, float]:
    if not durations_s:
        return {}
    return {
        "total": sum(durations_s),
        "min": min(durations_s),
        "median": median(durations_s),
        "max": max(durations_s),
    }


def _duplicates(measured: Sequence[tuple[Clip, _Measures]], name: Callable[[Clip], str]) -> tuple[Duplicates, ...]:
    by_content: dict[str, list[Clip]] = defaultdict(list)
    for clip, measures in measured:
        by_content[measures.content].append(clip)
    return tuple(
        Duplicates(
            clips=tuple(name(clip) for clip in group),
            same_label=len({clip.label for clip in group}) == 1,
            same_speaker=len({(clip.corpus, clip.speaker) for clip in group}) == 1,
        )
        for group in by_content.values()
        if len(group) > 1
    )


def _decibels(peak: float) -> str:
    return f"{20 * np.log10(peak):.0f} dBFS" if peak > 0 else "zero"

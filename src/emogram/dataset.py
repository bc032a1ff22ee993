"""Corpus -> model inputs in memory, by way of a cache on disk, with the checks that tell leaks."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emogram import audio, features, spectrogram
from emogram.config import SpectrogramConfig
from emogram.corpora import Corpus, order_labels
from emogram.errors import CorpusError, EmogramError, OutputError
from emogram.files import writing
from emogram.parallel import map_parallel
from emogram.pictures import read_picture_config
from emogram.progress import SILENT, Progress
from emogram.records import Clip

HalfArray = npt.NDArray[np.float16]
Indices = npt.NDArray[np.intp]

FRONT_END = 2  # raise it when the same settings begin to give other numbers, so that old caches are not used


@dataclass(frozen=True)
class Sample:
    """One clip as a model takes it.

    Attributes:
        spectrogram: As `spectrogram.model_input`, in half precision, which holds it exactly.
        features: Utterance features, shape (n_features,), or None.
        content: Hash of the samples (or pixels), to tell the same recording under two names.
        variants: The same clip degraded, for training; see `copies`. Empty but in training clips.
    """

    spectrogram: HalfArray
    features: npt.NDArray[np.float32] | None
    content: str
    variants: tuple[Sample, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """Clips ready for a network. Row i of everything belongs to clip i.

    Attributes:
        clips: Those that could be read.
        labels: Labels in order.
        targets: Index of each clip's label, shape (n_clips,).
        samples: Model inputs.
        spectrogram: How they were made; None for pictures made elsewhere.
        failed: Clips that could not be read, and why.
        training_only: Names of corpora whose clips may train and never choose or judge.
        dimensions: Names of the numbers in `Clip.extra` that are of use too; see `dimensions`. Where nothing else is,
            there are no labels, and all targets are 0.
    """

    clips: tuple[Clip, ...]
    labels: tuple[str, ...]
    targets: npt.NDArray[np.intp]
    samples: tuple[Sample, ...]
    spectrogram: SpectrogramConfig | None
    failed: tuple[tuple[Clip, str], ...]
    training_only: frozenset[str] = frozenset()
    dimensions: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.clips)

    def select(self, indices: Indices) -> Dataset:
        """Return some of the clips as a dataset of the same labels."""
        return replace(
            self,
            clips=tuple(self.clips[index] for index in indices),
            targets=self.targets[indices],
            samples=tuple(self.samples[index] for index in indices),
        )

    def inputs(self, indices: Sequence[int] | Indices) -> dict[str, npt.NDArray[np.float32]]:
        """Stack the model inputs of clips whose spectrograms are equally long."""
        chosen = [self.samples[index] for index in indices]
        stacked = {"spectrogram": np.stack([sample.spectrogram for sample in chosen]).astype(np.float32)}
        found = [sample.features for sample in chosen if sample.features is not None]
        if found:
            stacked["features"] = np.stack(found)
        return stacked

    def sample_of(self, index: int, rng: np.random.Generator, share: float) -> Sample:
        """Return what to train on this time: a random variant of the clip with probability `share`, else the clip.

        Draws nothing from `rng` where the clip has no variants.
        """
        sample = self.samples[index]
        if not sample.variants or rng.random() >= share:
            return sample
        return sample.variants[rng.integers(len(sample.variants))]

    def same_length_groups(self, indices: Indices, *, most: int = 64) -> list[Indices]:
        """Part positions 0 .. len(indices) - 1 into groups of at most `most` clips of one length."""
        return same_length_groups([self.samples[index] for index in indices], most=most)

    def content_hash(self, indices: Indices) -> str:
        """Return one hash over the contents and labels of some clips, whatever their order and names."""
        lines = sorted(" ".join([self.samples[index].content, *self.truth(index)]) for index in indices)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def truth(self, index: int) -> list[str]:
        """Return all that a clip teaches, in words: its label, and its numbers where these are of use."""
        clip = self.clips[index]
        return [str(clip.label), *(clip.extra.get(name, "") for name in self.dimensions)]


def same_length_groups(samples: Sequence[Sample], *, most: int) -> list[Indices]:
    """Part the positions of samples into groups of at most `most` of one length."""
    by_length: dict[int, list[int]] = {}
    for position, sample in enumerate(samples):
        by_length.setdefault(len(sample.spectrogram), []).append(position)
    return [
        np.asarray(positions[start : start + most])
        for positions in by_length.values()
        for start in range(0, len(positions), most)
    ]


def load_dataset(
    corpus: Corpus,
    config: SpectrogramConfig,
    *,
    labels: Sequence[str] | None = None,
    dimensions: Sequence[str] = (),
    cache: Path | None = None,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Dataset:
    """Turn every clip of a corpus into model input. Clips that cannot be read are left out and named in `failed`.

    Args:
        corpus: What `corpora.find_corpus` found.
        config: How sound becomes input. For pictures only `picture_size` counts.
        labels: The labels of a model; clips with others are left out and named. By default the corpus's own. None of
            them where only dimensions are wanted: then clips are left out that have no number for any.
        dimensions: Numbers that are wanted too.
        cache: Folder to keep inputs in, so that the next run need not make them again; None keeps none.
        workers: Number of processes.
        progress: Is told of each clip.

    Raises:
        CorpusError: Nothing in the corpus could be used.
    """
    known = tuple(labels) if labels is not None else corpus.labels
    read = _read_picture if corpus.kind == "picture" else _read_sound
    function = partial(_read, read, config, config.content_hash(), None if cache is None else cache.resolve())
    results: list[Sample | EmogramError | None] = [None] * len(corpus.clips)
    with progress.task("reading", len(corpus.clips)) as task:
        for index, result in map_parallel(function, corpus.clips, workers=workers):
            results[index] = result
            task.advance()
    kept: list[tuple[Clip, Sample]] = []
    failed: list[tuple[Clip, str]] = []
    for clip, outcome in zip(corpus.clips, results, strict=True):
        if isinstance(outcome, EmogramError):
            failed.append((clip, str(outcome)))
        elif dimensions and not known:
            if any(clip.extra.get(name) for name in dimensions):
                assert outcome is not None, "every clip has a result"
                kept.append((clip, outcome))
            else:
                failed.append((clip, f"{clip.path}: has no number for {' or '.join(dimensions)}"))
        elif clip.label not in known:
            failed.append((clip, f"{clip.path}: label '{clip.label}' is not one of {', '.join(known)}"))
        else:
            assert outcome is not None, "every clip has a result"
            kept.append((clip, outcome))
    if not kept:
        raise CorpusError(
            f"{corpus.root}: none of its {len(corpus.clips)} clips can be used; the first: {failed[0][1]}"
        )
    present = known if labels is not None else order_labels({str(clip.label) for clip, _ in kept})
    targets = [present.index(str(clip.label)) if present else 0 for clip, _ in kept]
    return Dataset(
        clips=tuple(clip for clip, _ in kept),
        labels=present,
        targets=np.asarray(targets, dtype=np.intp),
        samples=tuple(sample for _, sample in kept),
        spectrogram=_made_with(corpus, config) if corpus.kind == "picture" else config,
        failed=tuple(failed),
        training_only=corpus.training_only,
        dimensions=tuple(dimensions),
    )


def _made_with(corpus: Corpus, config: SpectrogramConfig) -> SpectrogramConfig | None:
    """Return the settings that turn sound into such pictures, or None where they are not known."""
    found = read_picture_config(corpus.root)
    # Drawn small is not the same as drawn large and resized.
    return found if found is not None and found.picture_size == config.picture_size else None


def _read_sound(config: SpectrogramConfig, clip: Clip) -> Sample:
    waveform = audio.load_clip(clip, sample_rate=config.sample_rate)
    inputs = features.model_inputs(waveform, config)
    content = hashlib.sha256(waveform.tobytes()).hexdigest()[:32]
    return Sample(inputs["spectrogram"].astype(np.float16), inputs.get("features"), content)


def _read_picture(config: SpectrogramConfig, clip: Clip) -> Sample:
    pixels = spectrogram.resize_picture(spectrogram.open_picture(clip.path), config.picture_size)
    content = hashlib.sha256(pixels.tobytes()).hexdigest()[:32]
    return Sample(spectrogram.from_picture(pixels).astype(np.float16), None, content)


def _read(
    read: Callable[[SpectrogramConfig, Clip], Sample],
    config: SpectrogramConfig,
    config_hash: str,
    cache: Path | None,
    clip: Clip,
) -> Sample:
    return cached(partial(read, config, clip), cache, clip, config_hash)


def cached(make: Callable[[], Sample], cache: Path | None, clip: Clip, *what: object) -> Sample:
    """Return what `make` makes of a clip, or made of it before.

    Args:
        make: Makes the sample.
        cache: Folder that keeps samples; None keeps none.
        clip: The clip; when its file changes, the sample is made again.
        what: All that the sample depends on beside the clip, as words.
    """
    if cache is None:
        return make()
    # Here every microsecond counts: a clip from the cache takes some forty of them.
    path = os.path.abspath(clip.path)  # noqa: PTH100 (to follow links costs half as much as all the rest)
    try:
        state = os.stat(path)  # noqa: PTH116
    except OSError:
        return make()
    key = f"{path} {state.st_size} {state.st_mtime_ns} {clip.start_s} {clip.end_s} {FRONT_END} "
    name = hashlib.sha256(os.fsencode(key + " ".join(map(str, what)))).hexdigest()
    file = f"{cache}/{name[:2]}/{name}.sample"
    with contextlib.suppress(OSError), open(file, "rb", buffering=0) as stream:  # noqa: PTH123
        stored = _unpack(stream.readall())
        if stored is not None:
            return stored
    sample = make()
    # A cache that cannot be written must not cost the clip: it is only made again the next time.
    with contextlib.suppress(OutputError), writing(Path(file), durable=False) as temporary:
        temporary.write_bytes(_pack(sample))
    return sample


def _pack(sample: Sample) -> bytes:
    """Return a sample as bytes: a SHA-256 of all that follows, a line of JSON, and the values as they lie in memory."""
    n_features = None if sample.features is None else len(sample.features)
    head = json.dumps([sample.content, sample.spectrogram.shape, n_features])
    head += " " * (-(32 + len(head) + 1) % 16)  # so that the values lie where processors like them
    values = [np.ascontiguousarray(sample.spectrogram, "<f2").tobytes()]
    if sample.features is not None:
        values.append(np.ascontiguousarray(sample.features, "<f4").tobytes())
    body = head.encode() + b"\n" + b"".join(values)
    return hashlib.sha256(body).digest() + body


def _unpack(packed: bytes) -> Sample | None:
    """Return what `_pack` packed, or None where it was damaged, or cut short by a full disk; nothing is copied."""
    if hashlib.sha256(memoryview(packed)[32:]).digest() != packed[:32]:
        return None
    begin = packed.index(b"\n", 32) + 1
    content, shape, n_features = json.loads(packed[32:begin])
    end = begin + 2 * math.prod(shape)
    values = np.ndarray(shape, "<f2", packed, begin)
    return Sample(values, None if n_features is None else np.ndarray((n_features,), "<f4", packed, end), content)

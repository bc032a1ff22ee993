"""What makes a figure look better than it is (PROTOCOLS.md, "Leaks to refuse"): one function for each leak, by name.

Each returns the leaks that it finds; `guard` then refuses those that no honest figure survives, unless they are
allowed, and makes warnings of the others. Two leaks of that list cannot happen here: a model input is made of one clip
alone (`features.model_inputs`), so that no statistic of a speaker or of the whole corpus enters it; and the one scaler
there is, of the two-input networks, is fitted in `train.fit` on the clips that train, which a test sees to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from emogram.corpora.corpus import counted, first_names
from emogram.dataset import Dataset, Indices
from emogram.errors import CorpusError
from emogram.records import Clip

Parts = Mapping[str, Indices]

SAME_SPEAKER = "same speaker in two parts"
SAME_RECORDING = "same recording in two parts"
TWO_LABELS = "same recording with two labels"
AUGMENTED_COPY = "augmented copy in another part"
CHOSEN_ON_JUDGES = "epoch chosen on the clips that judge"
SPEAKER_HEARD = "speaker heard in training"
RECORDING_HEARD = "recording heard in training"

# What tools write behind (or before) the name of a clip when they augment it: x_noise, x-aug2, x_pitch+2, noisy_x.
_WORD = (
    r"(?:aug(?:mented|mentation)?|specaug(?:ment)?|(?:white|pink|babble)?nois[ey]d?|snr|pitch(?:ed|shift(?:ed)?)?|"
    r"(?:time|pitch)?(?:stretch|shift)(?:ed)?|speed|tempo|reverb(?:ed)?|rir|echo|vtlp|mixup)"
)
_BEHIND = re.compile(rf"(?<=.)[-_. ]+{_WORD}[-_. ]?[+-]?\d*(?:[.p]\d+)?(?:db|st|x)?$", re.IGNORECASE)
_BEFORE = re.compile(rf"^{_WORD}\d*[-_. ]+(?=.)", re.IGNORECASE)


@dataclass(frozen=True)
class Leak:
    """One leak that was found.

    Attributes:
        name: One of the names above.
        found: What was found, naming the first clips or speakers.
        remedy: What to do.
        refused: Whether it is refused unless allowed; else it is a warning.
    """

    name: str
    found: str
    remedy: str
    refused: bool

    def __str__(self) -> str:
        return f"leak '{self.name}': {self.found}"


def guard(leaks: Iterable[Leak], *, allow: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Refuse leaks, or return what must be said of them.

    Args:
        leaks: Those found.
        allow: Let those pass that would be refused.

    Returns:
        Warnings, one line each, and the leaks among them that were refused but for `allow`.

    Raises:
        CorpusError: There is one to refuse and it is not allowed.
    """
    found = list(leaks)
    refused = [leak for leak in found if leak.refused]
    if refused and not allow:
        more = f" (and {counted(len(refused) - 1, 'other leak')})" if len(refused) > 1 else ""
        raise CorpusError(
            f"{refused[0]}{more}; {refused[0].remedy}, or say --allow-leaks for a figure that tells of it"
        )
    warnings = tuple(
        f"{leak}; {'allowed, the figure is not honest' if leak.refused else leak.remedy}" for leak in found
    )
    return warnings, tuple(str(leak) for leak in refused)


def with_allowed(protocol: str, allowed: Sequence[str]) -> str:
    """Return what stands beside a figure, with the leaks that were allowed."""
    return "; ".join([protocol, *(f"ALLOWED {leak}" for leak in allowed)])


# ---------------------------------------------------------------- between the parts of a split


def shared_speakers(speakers: Sequence[str | None], parts: Parts) -> list[Leak]:
    """Find speakers who stand in two parts; a clip without a known speaker tells nothing.

    Args:
        speakers: Of each clip, told apart by corpus.
        parts: Name -> indices of clips.
    """
    leaks = []
    for one, other in combinations(parts, 2):
        both = {speakers[i] for i in parts[one]} & {speakers[i] for i in parts[other]} - {None}
        if both:
            named = first_names(sorted(map(str, both)))
            found = f"{counted(len(both), 'speaker')} in {one} and {other} ({named})"
            remedy = "the figure is inflated and says nothing about voices never heard; part by speaker"
            leaks.append(Leak(SAME_SPEAKER, found, remedy, refused=False))
    return leaks


def shared_recordings(dataset: Dataset, parts: Parts) -> list[Leak]:
    """Find recordings that stand in two parts under two names, by the hash of their samples."""
    return [
        Leak(
            SAME_RECORDING,
            f"the same recording stands in {where}",
            "remove one of them, or part by speaker",
            refused=True,
        )
        for where in _across(dataset, parts, [sample.content for sample in dataset.samples])
    ]


def contradicting_labels(dataset: Dataset, parts: Parts) -> list[Leak]:
    """Find recordings that stand in the corpus twice, with two labels."""
    first: dict[str, int] = {}
    leaks = []
    for index in (int(index) for part in parts.values() for index in part):
        other = first.setdefault(dataset.samples[index].content, index)
        if dataset.targets[index] != dataset.targets[other]:
            one, two = dataset.clips[other], dataset.clips[index]
            found = f"the same recording has two labels: {one.path} is '{one.label}' and {two.path} is '{two.label}'"
            leaks.append(Leak(TWO_LABELS, found, "remove one of them", refused=True))
    return leaks


def augmented_copies(dataset: Dataset, parts: Parts) -> list[Leak]:
    """Find clips whose names tell that they are augmented copies of a clip, or of the same clip, in another part.

    Names are compared within a corpus, speaker and label, which an augmented copy shares with its clip.
    """
    families = [(clip.corpus, clip.speaker, clip.label, original_name(clip.path.stem)) for clip in dataset.clips]
    augmented = {
        family for family, clip in zip(families, dataset.clips, strict=True) if family[-1] != clip.path.stem.casefold()
    }
    keys = [family if family in augmented else None for family in families]
    return [
        Leak(
            AUGMENTED_COPY,
            f"by their names, copies of one clip stand in {where}",
            "leave the copies out: training augments by itself",
            refused=True,
        )
        for where in _across(dataset, parts, keys)
    ]


def original_name(stem: str) -> str:
    """Return the name of the clip that a name like "x_noise" or "x-aug2_pitch" says it was made from, in lower case."""
    before = None
    while stem != before:
        before, stem = stem, _BEFORE.sub("", _BEHIND.sub("", stem))
    return stem.casefold()


def _across(dataset: Dataset, parts: Parts, keys: Sequence[object]) -> list[str]:
    """Say of each two parts that have clips of the same key which parts and clips they are; None is no key."""
    first: dict[object, tuple[str, int]] = {}
    pairs: dict[tuple[str, str], list[str]] = {}
    for name, part in parts.items():
        for index in (int(index) for index in part if keys[int(index)] is not None):
            other_name, other = first.setdefault(keys[index], (name, index))
            if other_name != name:
                clips = f"{dataset.clips[other].path.name} and {dataset.clips[index].path.name}"
                pairs.setdefault((other_name, name), []).append(clips)
    return [
        f"{one} and {other}: {clips[0]}" + (f", and {len(clips) - 1} more" if len(clips) > 1 else "")
        for (one, other), clips in pairs.items()
    ]


def chosen_on_judges(parts: Parts) -> list[Leak]:
    """Tell that a split without a test part judges on the clips that choose the epoch and the calibration."""
    if len(parts["test"]):
        return []
    found = "there is no test part, so the validation clips, which choose the epoch and the calibration, also judge"
    return [Leak(CHOSEN_ON_JUDGES, found, "the figure flatters; give some speakers to the test part", refused=False)]


# ---------------------------------------------------------------- between a finished model and the clips that judge it


def heard_speakers(speakers: Sequence[str | None], trained_on: frozenset[str]) -> list[Leak]:
    """Find clips of speakers that a model was trained on.

    Args:
        speakers: CORPUS/SPEAKER of each clip that judges, `Clip.voice`; None where unknown.
        trained_on: Likewise, of those that trained it.
    """
    heard = [speaker for speaker in speakers if speaker is not None and speaker in trained_on]
    if not heard:
        return []
    found = (
        f"{len(heard)} of {len(speakers)} clips are of speakers that this model was trained on "
        f"({first_names(sorted(set(heard)))}), so the figure is inflated"
    )
    return [Leak(SPEAKER_HEARD, found, "judge it on other voices", refused=False)]


def heard_recordings(clips: Sequence[Clip], contents: Sequence[str], parts: Mapping[str, frozenset[str]]) -> list[Leak]:
    """Find clips that a model was trained on, or that chose its epoch, by the hash of their samples.

    Args:
        clips: Those that judge.
        contents: The beginning of the hash of each, as long as those in `parts`.
        parts: "train" and "validation" -> beginnings of the hashes of their clips, from the bundle.
    """
    leaks = []
    for part, name, does, refused in (
        ("train", RECORDING_HEARD, "were trained on", True),
        ("validation", CHOSEN_ON_JUDGES, "chose the epoch and the calibration of this model", False),
    ):
        known = parts.get(part, frozenset())
        heard = [clip.path for clip, content in zip(clips, contents, strict=True) if content in known]
        if heard:
            found = f"{len(heard)} of {len(clips)} clips {does} ({first_names([path.name for path in heard])})"
            remedy = "judge it on clips that it does not know, as with --part test"
            leaks.append(Leak(name, found, remedy, refused=refused))
    return leaks

"""Which clips train, which choose the model, and which judge it, with no voice or recording on two sides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emogram import leaks
from emogram.config import SplitConfig
from emogram.dataset import Dataset, Indices
from emogram.errors import CorpusError, SettingsError
from emogram.protocols import RANDOM_WARNING, find_protocol
from emogram.records import speakers_of

CLIP_WARNING = (
    "split by clip: the same voice on both sides, which is the point where a model is to know one voice; the figure "
    "says nothing of others"
)
CLIP_VALIDATION_WARNING = (
    "the epoch and the calibration are chosen on clips of voices that train, so the model may be too sure of others"
)
MIN_TRAINING_CLIPS = 3  # of each label, by clip

PARTS = ("train", "validation", "test")


SPEAKERS_HINT = (
    "who speaks is not known here; a manifest (.csv) with the columns path, label and speaker tells it, and the parts "
    "are then made by speaker"
)


@dataclass(frozen=True)
class Split:
    """Three disjoint sets of clips.

    Attributes:
        train: Indices of the clips that train.
        validation: Of those that choose epoch, learning rate, temperature and threshold.
        test: Of those that judge, looked at once; empty where the split has none, as RANDOM80.
        protocol: What must stand beside every figure.
        warnings: What the reader should know.
        allowed_leaks: Leaks that were found and allowed, in words; the protocol tells of them too.
    """

    train: Indices
    validation: Indices
    test: Indices
    protocol: str
    warnings: tuple[str, ...] = ()
    allowed_leaks: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, Indices]:
        """The three sets by name."""
        return dict(zip(PARTS, (self.train, self.validation, self.test), strict=True))

    def judging(self) -> tuple[str, Indices]:
        """Return the name and clips of the part that judges: the test part, else the validation part."""
        return ("test", self.test) if len(self.test) else ("validation", self.validation)


def make_split(dataset: Dataset, config: SplitConfig) -> Split:
    """Part a dataset as asked, and refuse what would leak; see `leaks`. Corpora that are `training_only` just train.

    Raises:
        SettingsError: The settings contradict one another, or name speakers or files that are not there.
        CorpusError: The corpus cannot be parted so: unknown speakers, too few of them, a class without training
            clips or with a single clip, the same speaker; or, unless leaks are allowed, the same recording or an
            augmented copy of it on two sides, or a recording with two labels.
    """
    if len(dataset.labels) == 1:
        raise CorpusError(f"only one class, '{dataset.labels[0]}'; at least two are needed to tell them apart")
    single = [label for place, label in enumerate(dataset.labels) if np.sum(dataset.targets == place) == 1]
    if single:
        raise CorpusError(
            f"only one clip of {', '.join(single)}; every class needs at least two, to train on and to judge by: add "
            "some, or leave the class out"
        )
    given_speakers = bool(config.validation_speakers or config.test_speakers)
    given_lists = bool(config.train_list or config.validation_list or config.test_list)
    if sum([config.protocol is not None, given_speakers, given_lists]) > 1:
        raise SettingsError("give one of a protocol, speakers or lists to part the clips by, not several")
    free = np.asarray([clip.corpus not in dataset.training_only for clip in dataset.clips])
    if not free.any():
        raise CorpusError("only clips of corpora that may but train could be used, so none is left to judge by")
    parted = np.flatnonzero(free)
    split = _part(dataset.select(parted), config)
    split = Split(
        train=np.sort(np.concatenate([parted[split.train], np.flatnonzero(~free)])),
        validation=parted[split.validation],
        test=parted[split.test],
        protocol=split.protocol + says_training_only(dataset),
        warnings=split.warnings,
    )
    _check(dataset, split)
    if config.judge_on == "validation":
        split = _without_test(split)
    warnings, allowed = leaks.guard(
        [
            *leaks.shared_recordings(dataset, split.parts),
            *leaks.contradicting_labels(dataset, split.parts),
            *leaks.augmented_copies(dataset, split.parts),
            # Of these splits their warnings say that speakers are shared.
            *(
                []
                if {RANDOM_WARNING, CLIP_WARNING, CLIP_VALIDATION_WARNING} & set(split.warnings)
                else leaks.shared_speakers(speakers_of(dataset.clips), split.parts)
            ),
            *leaks.chosen_on_judges(split.parts),
        ],
        allow=config.allow_leaks,
    )
    return replace(
        split,
        protocol=leaks.with_allowed(split.protocol, allowed),
        warnings=(*split.warnings, *warnings),
        allowed_leaks=allowed,
    )


def _without_test(split: Split) -> Split:
    return replace(split, test=np.asarray([], dtype=np.intp), protocol=f"{split.protocol}; test part not looked at")


def says_training_only(dataset: Dataset) -> str:
    """Return what must stand beside a figure for which other corpora trained as well; "" where none did."""
    return f"; also trained on {', '.join(sorted(dataset.training_only))}" if dataset.training_only else ""


def _part(dataset: Dataset, config: SplitConfig) -> Split:
    if config.split == "clip":
        return _by_clip(dataset, config)
    if config.protocol is not None:
        return _by_protocol(dataset, config)
    if config.validation_speakers or config.test_speakers:
        return _by_given_speakers(dataset, config)
    if config.train_list or config.validation_list or config.test_list:
        return _by_lists(dataset, config)
    if config.split == "random" or (config.split == "auto" and len(set(speakers_of(dataset.clips))) < 2):
        split = _at_random(dataset, config.validation_share, config.split_seed, f"random split: {RANDOM_WARNING}")
        asked_for = config.split == "random" or any(speakers_of(dataset.clips))
        return split if asked_for else replace(split, warnings=(*split.warnings, SPEAKERS_HINT))
    return _by_speakers(dataset, config)


def _by_protocol(dataset: Dataset, config: SplitConfig) -> Split:
    protocol = find_protocol(str(config.protocol))
    names = {clip.corpus for clip in dataset.clips}
    if protocol.corpus is not None and names != {protocol.corpus}:
        raise SettingsError(
            f"protocol {protocol.name} is for the corpus '{protocol.corpus}'; this is {', '.join(sorted(names))}"
        )
    if not protocol.folds:
        return _at_random(dataset, protocol.random_share, config.split_seed, protocol.says)
    if config.fold >= len(protocol.folds):
        raise SettingsError(f"fold {config.fold}; protocol {protocol.name} has folds 0 to {len(protocol.folds) - 1}")
    fold = protocol.folds[config.fold]
    warnings = []
    if protocol.n_clips and len(dataset) != protocol.n_clips:
        warnings.append(
            f"protocol {protocol.name} is defined on {protocol.n_clips} clips and {len(dataset)} could be used, so the "
            "figure cannot be compared with others"
        )
    says = f"{protocol.says}; fold {config.fold}"
    return _parted(dataset, validation=fold.validation, test=fold.test, protocol=says, warnings=tuple(warnings))


def _by_given_speakers(dataset: Dataset, config: SplitConfig) -> Split:
    both = sorted(set(config.validation_speakers) & set(config.test_speakers))
    if both:
        raise SettingsError(f"speakers {', '.join(both)} stand in both validation_speakers and test_speakers")
    if not config.validation_speakers:
        raise SettingsError("validation_speakers is missing: without them no epoch can be chosen; name at least one")
    says = f"given speakers; validation {', '.join(config.validation_speakers)}"
    if config.test_speakers:
        says += f"; test {', '.join(config.test_speakers)}, never heard in training"
    return _parted(dataset, validation=config.validation_speakers, test=config.test_speakers, protocol=says)


def _by_speakers(dataset: Dataset, config: SplitConfig) -> Split:
    speakers = speakers_of(dataset.clips)
    unknown = sum(speaker is None for speaker in speakers)
    if unknown:
        raise CorpusError(
            f"{unknown} of {len(speakers)} clips have no known speaker, so they cannot be parted by speaker; add a "
            "speaker column to a manifest, or ask for --split random"
        )
    if len(set(speakers)) < 2:
        raise CorpusError("only one speaker, so no voice is left to judge on; ask for --split random")
    rng = np.random.default_rng(config.split_seed)
    test, validation = [], []
    for names in _speakers_by_corpus(dataset):
        shuffled = [names[index] for index in rng.permutation(len(names))]
        n_validation = max(1, round(config.validation_share * len(names)))
        n_test = max(1, round(config.test_share * len(names))) if config.test_share and len(names) > 2 else 0
        n_validation = min(n_validation, len(names) - n_test - 1)
        test += sorted(shuffled[:n_test])
        validation += sorted(shuffled[n_test : n_test + n_validation])
    judged = f"test speakers {', '.join(test)}" if test else f"validation speakers {', '.join(validation)}"
    says = f"split by speaker (seed {config.split_seed}): {judged} never heard in training"
    return _parted(dataset, validation=validation, test=test, protocol=says)


def _speakers_by_corpus(dataset: Dataset) -> list[list[str]]:
    """Return the speakers of each corpus, so that each has its share in every part; of all, where one has too few."""
    names: dict[str, set[str]] = {}
    for clip, speaker in zip(dataset.clips, speakers_of(dataset.clips), strict=True):
        names.setdefault(clip.corpus, set()).add(str(speaker))
    groups = [sorted(found) for _, found in sorted(names.items())]
    return groups if min(map(len, groups)) > 1 else [sorted(set().union(*groups))]


def _parted(
    dataset: Dataset, *, validation: Iterable[str], test: Iterable[str], protocol: str, warnings: tuple[str, ...] = ()
) -> Split:
    validation, test = set(validation), set(test)
    speakers = speakers_of(dataset.clips)
    missing = sorted((validation | test) - set(speakers))
    if missing:
        known = ", ".join(sorted({str(speaker) for speaker in speakers if speaker is not None})) or "none"
        raise SettingsError(f"no clips of speakers {', '.join(missing)}; the corpus has {known}")
    part = np.asarray(["validation" if s in validation else "test" if s in test else "train" for s in speakers])
    train, chosen, judged = (np.flatnonzero(part == name) for name in PARTS)
    return Split(train, chosen, judged, protocol, warnings)


def _by_lists(dataset: Dataset, config: SplitConfig) -> Split:
    if config.validation_list is None:
        raise SettingsError("validation_list is missing: without it no epoch can be chosen")
    validation = _named_in(config.validation_list, dataset)
    test = _named_in(config.test_list, dataset) if config.test_list else set()
    others = set(range(len(dataset))) - validation - test
    train = _named_in(config.train_list, dataset) if config.train_list else others
    for one, other, first, second in (
        (train, validation, "train", "validation"),
        (train, test, "train", "test"),
        (validation, test, "validation", "test"),
    ):
        if one & other:
            name = dataset.clips[min(one & other)].path.name
            raise SettingsError(f"{len(one & other)} clips stand in both the {first} and {second} list, {name} first")
    parts = [np.asarray(sorted(part), dtype=np.intp) for part in (train, validation, test)]
    speakers = speakers_of(dataset.clips)
    shared = {speakers[i] for i in train} & {speakers[i] for i in validation | test} - {None}
    says = "given lists" + ("; speakers shared" if shared else "")
    return Split(parts[0], parts[1], parts[2], says)


def _named_in(file: Path, dataset: Dataset) -> set[int]:
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: cannot be read as a list of clips, one path or stem a line ({error})") from None
    by_name: dict[str, set[int]] = {}
    for index, clip in enumerate(dataset.clips):
        for name in (str(clip.path), clip.path.name, clip.path.stem):
            by_name.setdefault(name, set()).add(index)
    unknown = [line for line in lines if line not in by_name]
    if unknown:
        raise SettingsError(
            f"{file}: {len(unknown)} of {len(lines)} lines name no clip of the corpus, first {unknown[0]}"
        )
    return set().union(*(by_name[line] for line in lines))


def _at_random(dataset: Dataset, validation_share: float, seed: int, says: str) -> Split:
    """Shuffle all clips; the same recording under two names goes to one side with its double."""
    contents = [sample.content for sample in dataset.samples]
    order = np.random.default_rng(seed).permutation(len(dataset))
    wanted = round(validation_share * len(dataset))
    validation = set(order[:wanted].tolist())
    chosen_contents = {contents[index] for index in validation}
    moved = [index for index in order[wanted:].tolist() if contents[index] in chosen_contents]
    chosen = np.asarray(sorted(validation | set(moved)), dtype=np.intp)
    train = np.setdiff1d(np.arange(len(dataset)), chosen)
    return Split(train, chosen, np.asarray([], dtype=np.intp), says, (RANDOM_WARNING,))


def _by_clip(dataset: Dataset, config: SplitConfig) -> Split:
    """Shuffle the recordings of each label; speakers who are named for the test part give all theirs to it alone."""
    if config.validation_speakers:
        raise SettingsError("validation_speakers with split clip, which chooses on clips of all voices; drop one")
    contents = [sample.content for sample in dataset.samples]
    rng = np.random.default_rng(config.split_seed)
    by_speaker = _parted(dataset, validation=(), test=config.test_speakers, protocol="")
    part = np.full(len(dataset), "train", dtype=object)
    part[by_speaker.test] = "test"
    scarce = []
    for target in np.unique(dataset.targets):  # corpora that only train may have labels of their own
        label = dataset.labels[target]
        indices = [index for index in by_speaker.train if dataset.targets[index] == target]
        recordings = [str(name) for name in rng.permutation(list(dict.fromkeys(contents[index] for index in indices)))]
        n = len(recordings)
        n_test = 0
        if not config.test_speakers and config.clips_per_label:
            n_test = n - config.clips_per_label
        elif not config.test_speakers and config.test_share:
            n_test = max(1, round(config.test_share * n))
        n_validation = max(1, round(config.validation_share * (n - n_test)))
        if n - n_test - n_validation < MIN_TRAINING_CLIPS or n_test < 0 or (config.clips_per_label and not n_test):
            scarce.append(f"{label} ({n})")
        judges, chooses = set(recordings[:n_test]), set(recordings[n_test : n_test + n_validation])
        for index in indices:
            if contents[index] in judges:
                part[index] = "test"
            elif contents[index] in chooses:
                part[index] = "validation"
    if scarce:
        least = MIN_TRAINING_CLIPS + 1
        wants = (
            f"clips_per_label is {config.clips_per_label}, which must be at least {least} and leave some to judge by"
            if config.clips_per_label
            else f"each label needs at least {least + (not config.test_speakers)}: {MIN_TRAINING_CLIPS} to train, one "
            "to choose the epoch" + ("" if config.test_speakers else ", one to judge")
        )
        raise CorpusError(f"too few clips of {', '.join(scarce)}; {wants}; add some, or leave the label out")
    if config.test_speakers:
        judged = f"test {', '.join(config.test_speakers)}, never heard in training; validation by clip"
    else:
        judged = "same voices in all parts"
    train, validation, test = (np.flatnonzero(part == name) for name in PARTS)
    warning = CLIP_VALIDATION_WARNING if config.test_speakers else CLIP_WARNING
    return Split(train, validation, test, f"split by clip (seed {config.split_seed}): {judged}", (warning,))


def _check(dataset: Dataset, split: Split) -> None:
    for name, part in (("training", split.train), ("validation", split.validation)):
        if not len(part):
            raise CorpusError(f"no {name} clips are left; give this part more speakers or clips")
    present = set(dataset.targets[split.train].tolist())
    absent = [label for index, label in enumerate(dataset.labels) if index not in present]
    if absent:
        raise CorpusError(
            f"no training clip of {', '.join(absent)}; every class needs clips of at least two speakers (or two clips, "
            "at random): add some, or leave the class out"
        )


def describe_split(dataset: Dataset, split: Split, config: SplitConfig) -> dict[str, object]:
    """Return how clips were parted, for `model.json`: settings; number, content and speakers of each part's clips."""
    speakers = np.asarray([speaker or "" for speaker in speakers_of(dataset.clips)])
    parts = split.parts
    # What was not asked for is left out; 0 is a fold like any other.
    return {
        **{name: value for name, value in config.to_dict().items() if value not in ([], "") and value is not False},
        # Speakers below are named with their corpus before them where there are several.
        "corpora": sorted({clip.corpus for clip in dataset.clips}),
        **{f"n_{name}": len(part) for name, part in parts.items()},
        **{f"{name}_content": dataset.content_hash(part) for name, part in parts.items()},
        **{f"{name}_speakers": sorted(set(_chosen(speakers, part)) - {""}) for name, part in parts.items()},
    }


def _chosen(values: npt.NDArray[np.str_], part: Indices) -> list[str]:
    return [str(value) for value in values[part]]

"""Stored predictions: what models said of clips, read back from the CSV that `writers.write_predictions_csv` writes.

Everything that is said about a model's accuracy can be computed from such files again, without model or corpus.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from emogram.corpora import order_labels
from emogram.corpora.named import clip_by_name
from emogram.errors import InputError
from emogram.leaks import with_allowed
from emogram.metrics import SUM_TOLERANCE, DimensionValues
from emogram.protocols import PROTOCOLS
from emogram.records import Clip
from emogram.writers import EXTRA_COLUMNS, METRICS_FILE, PREDICTION_COLUMNS, PREDICTIONS_FILE, TIME_COLUMNS, TRUE

FloatArray = npt.NDArray[np.float64]
ClipKey = tuple[tuple[str, ...], float, float | None]

_COLUMNS = {*PREDICTION_COLUMNS, *TIME_COLUMNS, *EXTRA_COLUMNS, "actor"}  # every other one is a label

UNKNOWN_PROTOCOL = "stored predictions, protocol not stated"

# What `judging` and `metrics.judge` add behind the protocol, and will add again.
_ADDED = re.compile(r"(; seed [^;]+)?(; 95 % intervals resample.*)?$", re.DOTALL)


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one model, or one seed of a cross-validation, said of some clips. Row i of everything belongs to clip i.

    Attributes:
        name: "seed 0" where the seed is known, else the file.
        clips: The clips; the label of each is the truth, `extra` may hold "gender", "intensity", "fold" and "seed".
        labels: Labels in the order of the columns of `probabilities`.
        probabilities: Calibrated, shape (n_clips, n_labels); rows sum to 1.
        abstained: Where the model said "unsure", shape (n_clips,).
        protocol: What must stand beside the figures.
        allowed_leaks: Leaks that were found and allowed when the models were trained or judged, in words.
        values: Its dimensions, true and told; None where it tells none. Where it tells nothing else, there are no
            labels.
    """

    name: str
    clips: tuple[Clip, ...]
    labels: tuple[str, ...]
    probabilities: FloatArray
    abstained: npt.NDArray[np.bool_]
    protocol: str = ""
    allowed_leaks: tuple[str, ...] = ()
    values: DimensionValues | None = None

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def seed(self) -> str | None:
        """The seed of all clips; None where unknown."""
        return self.clips[0].extra.get("seed")

    def targets(self) -> npt.NDArray[np.intp]:
        """Return the index of each clip's true label, shape (n_clips,); 0 throughout where there are no labels."""
        if not self.labels:
            return np.zeros(len(self), dtype=np.intp)
        return np.asarray([self.labels.index(str(clip.label)) for clip in self.clips], dtype=np.intp)

    def rows(self, indices: Sequence[int]) -> Predictions:
        """Return some of the clips, in the order given."""
        chosen = np.asarray(indices, dtype=np.intp)
        return dataclasses.replace(
            self,
            clips=tuple(self.clips[index] for index in indices),
            probabilities=self.probabilities[chosen],
            abstained=self.abstained[chosen],
            values=None if self.values is None else self.values.rows(chosen),
        )


def read_predictions(paths: Iterable[Path]) -> list[Predictions]:
    """Read stored predictions, one `Predictions` for each seed.

    Files of one seed that hold different clips, as the folds of a cross-validation do, are pooled; those that hold the
    same clips are models of their own.

    Args:
        paths: CSV files, or run folders that hold a `predictions.csv`. The columns are `file`, `label` (the truth), one
            for each label with its probability or, for each dimension, two such as `arousal` and `arousal_true`, and,
            as known, `speaker` (or `actor`), `corpus`, `gender`, `intensity`, `fold`, `seed`, `start_s`, `end_s` and
            `abstained`. Where a name tells speaker, gender and intensity, as those of RAVDESS do, they need no columns.

    Raises:
        InputError: A file is missing or holds no predictions of labelled clips.
    """
    pooled: list[Predictions] = []
    for path in paths:
        file = path / PREDICTIONS_FILE if path.is_dir() else path
        for found in read_file(file):
            unknown = [clip for clip in found.clips if found.labels and clip.label not in found.labels]
            if unknown:
                why = f"{unknown[0].path}: true label '{unknown[0].label}' is not one of {', '.join(found.labels)}"
                raise _refused(file, why)
            for index, other in enumerate(pooled):
                if found.seed == other.seed and not set(_paths(found)) & set(_paths(other)):
                    pooled[index] = _joined(other, found)
                    break
            else:
                pooled.append(found)
    if not pooled:
        raise InputError("no file of predictions; name at least one")
    names = [each.name for each in pooled]
    return [
        dataclasses.replace(
            each,
            name=f"{each.name} ({names[: index + 1].count(each.name)})" if names.count(each.name) > 1 else each.name,
            protocol=each.protocol or with_allowed(_protocol_of(each), each.allowed_leaks),
        )
        for index, each in enumerate(pooled)
    ]


def in_one_order(said: Sequence[Predictions]) -> list[Predictions]:
    """Return several sets of predictions for the same clips with clips and labels in the order of the first.

    Raises:
        InputError: They hold different clips, or different true labels for one.
    """
    matched, left_out = on_shared_clips(said)
    for each, count in zip(said, left_out, strict=True):
        if count:
            raise InputError(
                f"{each.name} holds {len(each)} clips, of which {count} are not in all of "
                f"{', '.join(other.name for other in said)}; expected the same clips in each"
            )
    return matched


def on_shared_clips(said: Sequence[Predictions]) -> tuple[list[Predictions], list[int]]:
    """Return several sets of predictions on the clips that all of them hold, and how many clips of each are left out.

    Clips are the same where the ends of their paths are, without the suffix: as many folders are compared as it takes
    to tell the clips of one set apart. A label that one set does not know has probability 0 there.

    Raises:
        InputError: They share no clip, or a clip has different true labels.
    """
    keys = _clip_keys(said)
    shared = set(keys[0]).intersection(*keys[1:])
    if not shared:
        raise InputError(
            f"{' and '.join(each.name for each in said)} hold no clip in common ({said[0].clips[0].path}, "
            f"{said[-1].clips[0].path}, ...); only what judged the same clips can be put side by side"
        )
    labels = said[0].labels
    if any(bool(each.labels) != bool(labels) for each in said):
        raise InputError("some tell classes and some dimensions only; only what tells the same can be put side by side")
    if any(each.labels != labels for each in said):
        labels = order_labels({label for each in said for label in each.labels})
    order = [key for key in keys[0] if key in shared]
    matched = []
    for each, own in zip(said, keys, strict=True):
        place = {key: index for index, key in enumerate(own)}
        rows = each.rows([place[key] for key in order])
        probabilities = np.zeros((len(rows), len(labels)))
        if labels:
            probabilities[:, [labels.index(label) for label in each.labels]] = rows.probabilities
        matched.append(dataclasses.replace(rows, labels=labels, probabilities=probabilities))
    for other in matched[1:]:
        for one, two in zip(matched[0].clips, other.clips, strict=True):
            if one.label != two.label:
                raise InputError(
                    f"{one.path.name} is '{one.label}' in {matched[0].name} and '{two.label}' in {other.name}; "
                    "correct the labels, and judge again"
                )
    return _with_same_dimensions(matched), [len(each) - len(order) for each in said]


def _with_same_dimensions(said: Sequence[Predictions]) -> list[Predictions]:
    """Keep dimensions only where all sets of predictions for the same clips tell the same ones.

    Raises:
        InputError: They stand on different scales, or nothing is left.
    """
    first = said[0].values
    if first is None or any(each.values is None or each.values.names != first.names for each in said):
        if not said[0].labels:
            raise InputError("they tell different dimensions; only what tells the same can be put side by side")
        return [dataclasses.replace(each, values=None) for each in said]
    for each in said[1:]:
        assert each.values is not None, "all tell dimensions"
        if not np.allclose(first.truth, each.values.truth, rtol=1e-4, atol=1e-4, equal_nan=True):
            raise InputError(
                f"{said[0].name} and {each.name} have different true numbers for the same clips, as on another scale; "
                "judge them again on one"
            )
    return list(said)


def averaged(said: Sequence[Predictions]) -> Predictions:
    """Return the ensemble: the mean of the probabilities of several models for each clip, no clip unsure.

    Raises:
        InputError: They hold different clips, or different true labels for one.
    """
    matched = in_one_order(said)
    clips = [_without_seed(clip) for clip in matched[0].clips]
    names = ", ".join(each.name for each in said)
    return dataclasses.replace(
        matched[0],
        name="ensemble",
        clips=tuple(clips),
        probabilities=np.mean([each.probabilities for each in matched], axis=0),
        values=_mean_values(matched),
        abstained=np.zeros(len(clips), dtype=bool),  # the thresholds of the single models do not fit their mean
        protocol=f"{said[0].protocol}; ensemble of {len(said)}: mean of the "
        f"{'probabilities' if matched[0].labels else 'answers'} of {names}",
        allowed_leaks=tuple(dict.fromkeys(leak for each in said for leak in each.allowed_leaks)),
    )


def _mean_values(matched: Sequence[Predictions]) -> DimensionValues | None:
    told = [each.values for each in matched if each.values is not None]
    return dataclasses.replace(told[0], said=np.mean([each.said for each in told], axis=0)) if told else None


def _without_seed(clip: Clip) -> Clip:
    return dataclasses.replace(clip, extra={name: value for name, value in clip.extra.items() if name != "seed"})


def read_file(path: Path) -> list[Predictions]:
    """Read one file, one `Predictions` for each seed in it; true labels may be missing, or unknown to the model.

    Raises:
        InputError: The file is missing or holds no predictions.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            dimensions = [name for name in columns if f"{name}{TRUE}" in columns]
            taken = {*_COLUMNS, *dimensions, *(f"{name}{TRUE}" for name in dimensions)}
            labels = [name for name in columns if name not in taken]
            missing = [name for name in ("file", "label") if name not in columns]
            if missing or len(labels) < (0 if dimensions else 2):
                raise _refused(path, f"columns {', '.join(reader.fieldnames or ()) or 'none'}")
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _refused(path, str(getattr(error, "strerror", None) or error)) from None
    if not rows:
        raise _refused(path, "no lines in it")
    clips, probabilities = [], np.zeros((len(rows), len(labels)))
    truth, told = np.zeros((2, len(rows), len(dimensions)))
    for index, (line, row) in enumerate(rows):
        try:
            probabilities[index] = [float(row[label]) for label in labels]
            truth[index] = [float(row[f"{name}{TRUE}"] or "nan") for name in dimensions]
            told[index] = [float(row[name]) for name in dimensions]
            clips.append(_clip_of(row))
        except (ValueError, TypeError) as error:  # the second for a line cut short
            raise _refused(path, f"line {line}: {error}") from None
        if not np.isfinite(told[index]).all():
            raise _refused(path, f"line {line}: a dimension that is not finite")
        total = probabilities[index].sum() if labels else 1.0
        if not abs(total - 1.0) <= SUM_TOLERANCE or probabilities[index].min(initial=0.0) < 0.0:
            raise _refused(path, f"line {line}: probabilities that sum to {total:.3g}, not to 1")
    beside = _beside(path)
    whole = Predictions(
        name=str(path),
        clips=tuple(clips),
        labels=tuple(labels),
        # Six digits are written.
        probabilities=probabilities / probabilities.sum(axis=1, keepdims=True) if labels else probabilities,
        abstained=np.asarray([row.get("abstained") == "true" for _, row in rows]),
        protocol=_ADDED.sub("", str(beside.get("protocol", ""))),
        allowed_leaks=tuple(map(str, beside.get("allowed_leaks", ()))),
        values=DimensionValues(tuple(dimensions), truth, told) if dimensions else None,
    )
    by_seed: dict[str | None, list[int]] = {}
    for index, clip in enumerate(clips):
        by_seed.setdefault(clip.extra.get("seed"), []).append(index)
    parts = [whole.rows(indices) for indices in by_seed.values()]
    for part in parts:
        (twice, count), *_ = Counter(_paths(part)).most_common(1)
        if count > 1:
            raise _refused(path, f"{twice[0]} is there {count} times{f' for seed {part.seed}' if part.seed else ''}")
    return [part if part.seed is None else dataclasses.replace(part, name=f"seed {part.seed}") for part in parts]


def _refused(path: Path, why: str) -> InputError:
    return InputError(
        f"{path}: not the predictions of a run ({why}); expected a CSV with the columns file, label (the truth) and "
        "one probability for each label (or dimensions, as arousal and arousal_true), as a run's predictions.csv; "
        "judge again"
    )


def _clip_of(row: dict[str, str]) -> Clip:
    path = Path(row["file"])
    if not path.name:
        raise ValueError("no file named")
    label = row["label"] or None
    speaker = row.get("speaker") or row.get("actor") or None
    corpus = row.get("corpus") or ""
    extra = {name: row[name] for name in EXTRA_COLUMNS if row.get(name)}
    named = clip_by_name(path)
    # A name that contradicts what the file says is no name of that corpus.
    if named is not None and named.label == label and speaker in (None, named.speaker) and corpus in ("", named.corpus):
        speaker, corpus = named.speaker, named.corpus
        extra = {name: named.extra[name] for name in EXTRA_COLUMNS if name in named.extra} | extra
    start_s, end_s = (row.get(name) for name in TIME_COLUMNS)
    return Clip(path, label, speaker, corpus, float(start_s or 0.0), float(end_s) if end_s else None, extra)


def _beside(path: Path) -> dict[str, Any]:
    """Return what the `metrics.json` of the same run says."""
    try:
        found = json.loads((path.parent / METRICS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if path.name == PREDICTIONS_FILE and isinstance(found, dict) else {}


def _joined(one: Predictions, other: Predictions) -> Predictions:
    if one.labels != other.labels:
        raise InputError(
            f"{one.name} has the labels {', '.join(one.labels)} and {other.name} {', '.join(other.labels)}; only what "
            "was judged with the same labels can be pooled"
        )
    return dataclasses.replace(
        one,
        clips=one.clips + other.clips,
        values=joined_values([one.values, other.values]),
        probabilities=np.concatenate([one.probabilities, other.probabilities]),
        abstained=np.concatenate([one.abstained, other.abstained]),
        protocol=one.protocol if one.protocol == other.protocol else "",
        allowed_leaks=tuple(dict.fromkeys([*one.allowed_leaks, *other.allowed_leaks])),
    )


def joined_values(parts: Sequence[DimensionValues | None]) -> DimensionValues | None:
    """Return the dimensions of several parts as one; None where one of them has others, or none."""
    told = [each for each in parts if each is not None]
    if len(told) < len(parts) or any(each.names != told[0].names for each in told):
        return None
    truth, said = (np.concatenate([getattr(each, name) for each in told]) for name in ("truth", "said"))
    return DimensionValues(told[0].names, truth, said)


def _protocol_of(said: Predictions) -> str:
    """Return the protocol whose test folds these are, with what it says, else that none is stated."""
    folds: dict[str, set[str | None]] = {}
    for clip in said.clips:
        folds.setdefault(clip.extra.get("fold", ""), set()).add(clip.speaker)
    for protocol in PROTOCOLS.values():
        wanted = {str(number): set(fold.test) for number, fold in enumerate(protocol.folds)}
        if folds == wanted and {clip.corpus for clip in said.clips} == {protocol.corpus}:
            words = f"{protocol.says}; pooled over {len(folds)} folds"
            whole = len(said) == protocol.n_clips
            return words if whole else f"{words}; {len(said)} of its {protocol.n_clips} clips"
    return UNKNOWN_PROTOCOL


def _paths(said: Predictions) -> list[tuple[str, float, float | None]]:
    return [(str(clip.path), clip.start_s, clip.end_s) for clip in said.clips]


def _clip_keys(said: Sequence[Predictions]) -> list[list[ClipKey]]:
    """Return a key for each clip of each set: the shortest ends of their paths that tell the clips of a set apart."""
    parts = [[PurePath(clip.path).with_suffix("").parts for clip in each.clips] for each in said]
    deepest = max(len(each) for some in parts for each in some)
    for depth in range(1, deepest + 1):
        keys = [
            [(path[-depth:], clip.start_s, clip.end_s) for path, clip in zip(some, each.clips, strict=True)]
            for some, each in zip(parts, said, strict=True)
        ]
        if all(len(set(some)) == len(some) for some in keys):
            return keys
    return [[((str(clip.path),), clip.start_s, clip.end_s) for clip in each.clips] for each in said]

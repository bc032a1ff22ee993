"""The plan: all inputs cut into shards, once, and written down, so that every job works on the same ones."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emogram import __version__
from emogram.archive.inputs import Input, digest_of, list_inputs, suffixes_for
from emogram.archive.places import HIDDEN, Place, text_of
from emogram.bundle import Bundle
from emogram.config import ArchiveConfig
from emogram.errors import InputError, OutputError, SettingsError
from emogram.progress import SILENT, Progress

if TYPE_CHECKING:
    import numpy as np
    import pyarrow

SCHEMA = "emogram.archive/1"
PLAN_FILE = f"{HIDDEN}/plan.json"

# By default a hundred shards or so, so that as many machines have work and a kill costs little, but each worth a file.
_FEW_SHARDS = 64
_LEAST_FILES, _MOST_FILES = 64, 2000

# What a file of unknown size is taken for: an utterance, or half an hour.
_UNKNOWN_BYTES = {"clips": 64_000, "segments": 16_000_000}


@dataclass(frozen=True)
class Shard:
    """One piece of the work.

    Attributes:
        index: Its number, from 0.
        inputs: What is in it, in order.
    """

    index: int
    inputs: tuple[Input, ...]


@dataclass(frozen=True)
class Plan:
    """What is to be done in a folder.

    Attributes:
        digest: SHA-256 over all that follows.
        config: What is said of each input.
        model_id: Name of the model.
        model_sha256: Hash of the model.
        labels: The model's labels in order.
        n_inputs: Number of inputs.
        n_bytes: Bytes of sound files, where known.
        firsts: Place of each shard's first input among all, and at the end the number of inputs.
    """

    digest: str
    config: ArchiveConfig
    model_id: str
    model_sha256: str
    labels: tuple[str, ...]
    n_inputs: int
    n_bytes: int
    firsts: tuple[int, ...]
    table: pyarrow.Table = field(repr=False, compare=False)

    @property
    def n_shards(self) -> int:
        """Number of shards."""
        return len(self.firsts) - 1

    def n_inputs_of(self, index: int) -> int:
        """Return the number of inputs in a shard."""
        return self.firsts[index + 1] - self.firsts[index]

    def shard(self, index: int) -> Shard:
        """Return a shard with its inputs."""
        rows = self.table.slice(self.firsts[index], self.n_inputs_of(index)).to_pylist()
        return Shard(index, tuple(Input(**{**row, "path": os.fsdecode(row["path"])}) for row in rows))


def open_plan(
    place: Place, names: Sequence[str], bundle: Bundle, config: ArchiveConfig, *, progress: Progress = SILENT
) -> Plan:
    """Return the plan of a folder; where there is none, make it.

    It is made once. Files that come into a tree later are not in it.

    Args:
        place: The folder.
        names: The inputs as `names_of` gives them.
        bundle: The model.
        config: What is said of each input.
        progress: Is told how many inputs are found.

    Raises:
        SettingsError: The folder was planned with another model, other settings or other inputs.
        InputError: An input stands for nothing, or cannot be read.
        OutputError: The folder cannot be written, or its plan is damaged.
    """
    asked = _asked(names, bundle, config)
    found = read_plan(place)
    if found is None:
        _make(place, names, bundle, config, asked, progress)
        found = read_plan(place)  # that of another job, if it was quicker
        if found is None:
            raise OutputError(
                f"{place.url}/{PLAN_FILE}: was written and is not there; is somebody deleting the folder?"
            )
    plan, content = found
    _refuse_other(place, content, asked)
    return plan


def read_plan(place: Place) -> tuple[Plan, dict[str, Any]] | None:
    """Return the plan of a folder and what its file says; None where there is none.

    Raises:
        OutputError: It is damaged.
    """
    from pyarrow import parquet

    raw = place.read(PLAN_FILE)
    if raw is None:
        return None
    advice = "delete the folder and score anew"
    try:
        content = json.loads(raw)
        if content["schema"] != SCHEMA:
            raise OutputError(
                f"{place.url}/{PLAN_FILE}: of the kind {content['schema']}, and emogram {__version__} writes {SCHEMA}; "
                "use another folder"
            )
        inputs = place.read(content["inputs"]["file"])
        if inputs is None or hashlib.sha256(inputs).hexdigest() != content["inputs"]["sha256"]:
            raise OutputError(f"{place.url}/{content['inputs']['file']}: missing or changed; {advice}")
        model = content["model"]
        plan = Plan(
            digest=hashlib.sha256(raw).hexdigest(),
            config=ArchiveConfig.from_dict(content["settings"]),
            model_id=model["id"],
            model_sha256=model["sha256"],
            labels=tuple(model["labels"]),
            n_inputs=content["inputs"]["n"],
            n_bytes=content["inputs"]["bytes"],
            firsts=tuple(content["shards"]),
            table=parquet.read_table(io.BytesIO(inputs)).combine_chunks(),
        )
    except (ValueError, KeyError, TypeError, SettingsError) as error:
        raise OutputError(f"{place.url}/{PLAN_FILE}: no plan of emogram, or damaged ({error}); {advice}") from None
    return plan, content


def cut(sizes: np.ndarray[Any, Any], *, most_files: int | None, most_bytes: float) -> list[int]:
    """Cut inputs into shards that cost about the same, without changing their order.

    Args:
        sizes: Bytes of each, shape (n,).
        most_files: Most inputs in a shard; None to choose it by their number.
        most_bytes: A shard that has reached this many bytes is full.

    Returns:
        Place of each shard's first input, and at the end n.
    """
    n = len(sizes)
    if most_files is None:
        most_files = min(_MOST_FILES, max(_LEAST_FILES, -(-n // _FEW_SHARDS)))
    firsts, n_bytes = [0], 0
    for place, size in enumerate(sizes.tolist()):
        # A large one begins a shard of its own rather than make one twice as large.
        full = place - firsts[-1] >= most_files or (n_bytes > 0 and n_bytes + size > most_bytes)
        if full:
            firsts.append(place)
            n_bytes = 0
        n_bytes += size
    return [*firsts, n]


def _asked(names: Sequence[str], bundle: Bundle, config: ArchiveConfig) -> dict[str, Any]:
    """Return what makes a plan this one and no other."""
    info = bundle.info
    return {
        "schema": SCHEMA,
        "given": [text_of(name) for name in names],
        "model": {"id": info.model_id, "sha256": bundle.sha256, "labels": list(info.labels)},
        "settings": config.to_dict(),
    }


def _make(
    place: Place, names: Sequence[str], bundle: Bundle, config: ArchiveConfig, asked: dict[str, Any], progress: Progress
) -> None:
    import numpy as np
    from pyarrow import compute, parquet

    listing = list_inputs(names, suffixes=suffixes_for(bundle.info, config), progress=progress)
    table = listing.table
    if not len(table):
        raise InputError(f"{', '.join(names)}: nothing in it to score")
    sizes = table["size"].to_numpy()
    weights = np.where(sizes > 0, sizes, _UNKNOWN_BYTES[config.rows])
    firsts = cut(weights, most_files=config.shard_files, most_bytes=1e6 * config.shard_mb)
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    file = f"{HIDDEN}/inputs-{digest[:12]}.parquet"
    with place.writing(file) as temporary:
        temporary.write_bytes(buffer.getvalue())
    content = {
        **asked,
        "version": __version__,
        "manifests": {text_of(name): value for name, value in listing.manifests.items()},
        "inputs": {
            "file": file,
            "sha256": digest,
            "n": len(table),
            "bytes": int(compute.sum(table["size"]).as_py() or 0),
        },
        "shards": firsts,
    }
    # The plan comes last and names its list of inputs, so that two jobs that plan at once cannot mix theirs.
    place.create(PLAN_FILE, (json.dumps(content, indent=1) + "\n").encode())


def _refuse_other(place: Place, content: dict[str, Any], asked: dict[str, Any]) -> None:
    """Refuse to put into a folder what does not belong there.

    Raises:
        SettingsError: The model, the settings or the inputs are others.
    """
    differences = []
    if content["model"]["sha256"] != asked["model"]["sha256"]:
        differences.append(f"another model ({_model(content['model'])} there, {_model(asked['model'])} given)")
    if content["settings"] != asked["settings"]:
        differences.append(f"other settings ({_changed(content['settings'], asked['settings'])})")
    if content["given"] != asked["given"]:
        there, given = set(content["given"]), set(asked["given"])
        lines = [f"{sorted(there - given)[0]} only there"] if there - given else []
        lines += [f"{sorted(given - there)[0]} only given"] if given - there else []
        differences.append(f"other inputs ({', '.join(lines)})")
    else:
        differences += [
            f"the manifest {name} has changed since"
            for name, digest in content["manifests"].items()
            if digest_of(name) != digest
        ]
    if differences:
        raise SettingsError(
            f"{place.url}: holds results of {' and of '.join(differences)}; name another folder with --out, or give "
            "what this one was begun with"
        )


def _model(values: dict[str, Any]) -> str:
    return f"{values['id']} {values['sha256'][:12]}"


def _changed(there: dict[str, Any], given: dict[str, Any]) -> str:
    names = [name for name in {**there, **given} if there.get(name) != given.get(name)]
    words = []
    for name in names:
        if isinstance(there.get(name), dict) and isinstance(given.get(name), dict):
            words.append(_changed(there[name], given[name]))
        else:
            words.append(f"{name} {_value(there.get(name))} there, {_value(given.get(name))} given")
    return ", ".join(words)


def _value(value: Any) -> str:
    return "unset" if value is None else json.dumps(value)

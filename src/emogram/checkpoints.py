"""The state of a training on disk: two generations, each whole or not there, so that a kill at any moment loses little.

A file holds the SHA-256 of all that follows, a line of JSON, and the arrays as they lie in memory. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emogram.errors import EmogramError, ModelError, OutputError
from emogram.files import lock, output_error, remove_half_written, writing

CHECKPOINTS_FOLDER = "checkpoints"
FORMAT = 1  # raise it when the same words of a state come to mean something else

State = dict[str, Any]  # of JSON's values and of arrays, nested

_SUFFIX = ".checkpoint"
_GENERATIONS = 2
_HASH_SIZE = hashlib.sha256().digest_size
_ARRAY = "array"  # {"array": 3} stands for the third array
_LOCK = "lock"


@dataclass(frozen=True)
class Checkpoint:
    """A training as it stood at one moment.

    Attributes:
        about: What it belongs to: settings, clips, versions.
        state: All that has to be put back.
    """

    about: Mapping[str, Any]
    state: State


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: Path) -> None:
        """Keep them in `folder`, which is made when the first is written."""
        self._folder = folder
        self._whole: list[Path] = []  # the newest last

    def newest(self) -> tuple[Checkpoint | None, list[str]]:
        """Return the newest that is whole, or None, and what is wrong with those that are newer.

        Raises:
            ModelError: It was written by a version of emogram that writes them otherwise.
        """
        problems = []
        for path in sorted(self._folder.glob(f"[0-9]*{_SUFFIX}"), reverse=True):
            try:
                checkpoint = _unpack(path, bytearray(path.read_bytes()))
            except OSError as error:
                problems.append(f"{path}: cannot be read ({error.strerror})")
                continue
            if checkpoint is None:
                problems.append(f"{path}: is damaged")
                continue
            self._whole = [path]
            return checkpoint, problems
        return None, problems

    def write(self, checkpoint: Checkpoint) -> None:
        """Write one more, and remove all but it and the one before.

        Raises:
            OutputError: It cannot be written; those before stand.
        """
        number = int(self._whole[-1].stem) + 1 if self._whole else 1
        path = self._folder / f"{number:08d}{_SUFFIX}"
        parts = _pack(checkpoint)
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        with writing(path) as temporary, temporary.open("wb") as file:
            file.write(digest.digest())
            for part in parts:
                file.write(part)
        self._whole = [*self._whole, path][-_GENERATIONS:]
        self._remove_but(self._whole)

    def clear(self) -> None:
        """Remove all of them.

        Raises:
            OutputError: One cannot be removed.
        """
        self._whole = []
        self._remove_but([])

    def _remove_but(self, kept: list[Path]) -> None:
        try:
            # Those too that a killed process had not finished, which begin with a dot.
            for path in self._folder.glob(f"*{_SUFFIX}"):
                if path not in kept:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise output_error(self._folder, error) from error


def is_unfinished(run: Path) -> bool:
    """Tell whether a training in a run folder was begun and has not come to its end."""
    return (run / CHECKPOINTS_FOLDER).is_dir()


@contextlib.contextmanager
def unfinished(run: Path) -> Iterator[None]:
    """Mark a run as not finished, and keep other processes from training in its folder at the same time.

    Raises:
        OutputError: Another process trains there, or the folder cannot be written.
    """
    folder = run / CHECKPOINTS_FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / _LOCK).open("ab")
    except OSError as error:
        raise output_error(folder, error) from error
    with file:
        # The system lets go of it when the process ends, however it ends.
        if not lock(file):
            raise OutputError(f"{run}: another process is training there; wait for it, or choose another folder")
        try:
            remove_half_written(run)
            for inner in (path for path in run.iterdir() if path.is_dir()):
                remove_half_written(inner)
        except OSError as error:
            raise output_error(run, error) from error
        try:
            yield
        except BaseException as error:
            saved = any(folder.glob(f"*{_SUFFIX}"))
            if not saved and (isinstance(error, EmogramError) or list(run.iterdir()) == [folder]):
                with contextlib.suppress(EmogramError):  # what went wrong first is told
                    mark_finished(run)
            raise


def mark_finished(run: Path) -> None:
    """Remove the checkpoints of a run that has come to its end.

    Raises:
        OutputError: They cannot be removed.
    """
    folder = run / CHECKPOINTS_FOLDER
    Checkpoints(folder).clear()
    try:
        (folder / _LOCK).unlink(missing_ok=True)
        folder.rmdir()
    except OSError as error:
        raise output_error(folder, error) from error


def _pack(checkpoint: Checkpoint) -> list[bytes | memoryview]:
    """Return a checkpoint as bytes, in parts: a line of JSON, then the arrays."""
    arrays: list[npt.NDArray[Any]] = []

    def told(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays.append(value if value.flags.c_contiguous else np.ascontiguousarray(value))
            return {_ARRAY: len(arrays) - 1}
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, Mapping):
            return {name: told(one) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [told(one) for one in value]
        return value

    state = told(checkpoint.state)
    head = {
        "format": FORMAT,
        "about": dict(checkpoint.about),
        "state": state,
        "arrays": [[array.dtype.str, list(array.shape)] for array in arrays],
    }
    # Python's JSON reads the NaN and the infinities that it writes, and every float comes back as it was.
    return [json.dumps(head).encode() + b"\n", *(array.reshape(-1).view(np.uint8).data for array in arrays)]


def _unpack(path: Path, packed: bytearray) -> Checkpoint | None:
    """Return what `_pack` packed, or None where it was damaged or cut short."""
    if hashlib.sha256(memoryview(packed)[_HASH_SIZE:]).digest() != packed[:_HASH_SIZE]:
        return None
    begin = packed.index(b"\n", _HASH_SIZE) + 1
    head = json.loads(packed[_HASH_SIZE:begin].decode())
    if head["format"] != FORMAT:
        raise ModelError(
            f"{path}: was written by a version of emogram that keeps trainings otherwise (format {head['format']}, "
            f"here {FORMAT}); go on with that version, or begin anew with --overwrite"
        )
    arrays = []
    for dtype, shape in head["arrays"]:
        arrays.append(np.ndarray(shape, dtype, packed, begin).copy())  # where the processor likes it
        begin += np.dtype(dtype).itemsize * math.prod(shape)

    def meant(value: Any) -> Any:
        if isinstance(value, dict):
            if value.keys() == {_ARRAY}:
                return arrays[value[_ARRAY]]
            return {name: meant(one) for name, one in value.items()}
        return [meant(one) for one in value] if isinstance(value, list) else value

    return Checkpoint(head["about"], meant(head["state"]))

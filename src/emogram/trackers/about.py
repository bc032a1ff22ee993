"""What a tracker is told of a run before it begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emogram import __version__
from emogram.config import RunConfig
from emogram.dataset import Dataset
from emogram.versions import commit

NOTES_FOLDER = "trackers"  # in a run folder: which run of a tracker it is, so that --resume goes on with that one


@dataclass(frozen=True)
class About:
    """One run, in plain values: it is sent to another process.

    Attributes:
        name: What the run is called.
        out: Its folder.
        group: The folder of the cross-validation that it is part of; None where it stands alone.
        is_group: Whether it is that cross-validation itself.
        settings: All of them, by section.
        tags: The code's version, the corpus, its hash, the seed.
        is_resumed: Whether a run that was begun before goes on.
        n_done: Epochs that were done before.
    """

    name: str
    out: str
    group: str | None = None
    is_group: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    is_resumed: bool = False
    n_done: int = 0

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.out)

    @property
    def group_name(self) -> str | None:
        """What the group is called."""
        return None if self.group is None else Path(self.group).name

    def note(self, tracker: str) -> Path:
        """Return the file in which a tracker notes what it has to know when the run goes on."""
        return self.folder / NOTES_FOLDER / f"{tracker}.json"

    def group_note(self, tracker: str) -> Path | None:
        """Return what the tracker noted of the group."""
        return None if self.group is None else Path(self.group) / NOTES_FOLDER / f"{tracker}.json"


def describe_run(
    out: Path, config: RunConfig, dataset: Dataset, *, group: Path | None, resumed: bool = False, n_done: int = 0
) -> About:
    """Say what a tracker has to know of a training, or, where `out` is the group itself, of a cross-validation."""
    out = out.absolute()
    inside = group is not None and out.is_relative_to(group.absolute())
    name = out.relative_to(group.absolute().parent).as_posix() if inside and group is not None else out.name
    of = commit()
    corpora = sorted({clip.corpus for clip in dataset.clips if clip.corpus})
    tags = {
        "emogram": f"{__version__}{f'+{of}' if of else ''}",
        "corpus": ", ".join(corpora) or "unnamed",
        "corpus_hash": dataset.content_hash(np.arange(len(dataset))),
        "seed": str(config.train.seed),
    }
    return About(
        name=name,
        out=str(out),
        group=None if group is None else str(group.absolute()),
        is_group=group is not None and out == group.absolute(),
        settings=config.to_dict(),
        tags=tags,
        is_resumed=resumed,
        n_done=n_done,
    )

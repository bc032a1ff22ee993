"""One training clip of each label, before and after augmentation, as a picture for the trackers."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from emogram.dataset import Dataset, Indices
from emogram.errors import OutputError
from emogram.trackers.following import Following

if TYPE_CHECKING:
    from emogram.batches import TrainingBatches

FILE = "examples.png"
_MOST = 12  # labels; with more the picture grows too tall to look at


def tell_examples(
    following: Following, batches: TrainingBatches, dataset: Dataset, indices: Indices, folder: Path
) -> None:
    """Draw the first training clip of each label into a folder, and hand the picture to the trackers, if any.

    Without labels it is the first clip alone.

    Args:
        following: The trackers.
        batches: What the training is given.
        dataset: All clips.
        indices: Those that train.
        folder: Of the plots.
    """
    if not following.trackers:
        return
    from emogram.plots.examples import Example, draw_examples
    from emogram.plots.style import save

    targets = dataset.targets[indices]
    _, first = np.unique(targets, return_index=True)
    chosen = indices[first[:_MOST]]
    after, shares = batches.examples(chosen)
    examples = [
        Example(
            label=dataset.labels[dataset.targets[index]] if dataset.labels else "",
            name=dataset.clips[index].path.name,
            before=np.asarray(dataset.samples[index].spectrogram, np.float32),
            after=changed,
            says=_says(share, dataset.labels),
        )
        for index, changed, share in zip(chosen.tolist(), after, shares, strict=True)
    ]
    try:
        save(draw_examples(examples, dataset.spectrogram, title="one training clip of each label"), folder / FILE)
    except OutputError as error:
        with contextlib.suppress(OSError):  # what an earlier training left under this name shows nothing of this one
            (folder / FILE).unlink(missing_ok=True)
        following.progress.say(f"warning: {error}; this run goes on without example spectrograms")
        return
    following.picture("examples", folder / FILE)


def _says(shares: npt.NDArray[np.float32], labels: tuple[str, ...]) -> str:
    """Return what a mixture stands for, the largest share first."""
    order: list[int] = [place for place in np.argsort(-shares, kind="stable").tolist() if shares[place] >= 0.005]
    if not labels:
        return ""
    if len(order) == 1:
        return labels[order[0]]
    return ", ".join(f"{labels[place]} {shares[place]:.0%}" for place in order)

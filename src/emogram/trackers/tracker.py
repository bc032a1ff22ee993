"""What every tracker can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from emogram.progress import Progress

Status = Literal["finished", "interrupted", "failed", "killed"]

_ADVICE = {
    "TensorBoard": "free some space, or leave it out with --no-tensorboard",
    "MLflow": "see that its store can be reached, or name another with --mlflow-uri",
    "W&B": "log in with `wandb login`, or keep it on this machine with WANDB_MODE=offline",
}


class Tracker(Protocol):
    """One run in one tool. Any method may raise: whoever calls does without the tracker from then on."""

    def begin(self) -> None:
        """Open the run, or go on with it, and say its settings and tags."""

    def epochs(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Take the results of epochs, each with its number from 1 as "epoch"; those that it has it leaves out."""

    def picture(self, name: str, path: str) -> None:
        """Take a PNG file."""

    def result(self, metrics: Mapping[str, float], model: str | None) -> None:
        """Take the judged figures, and the folder of the finished model, where there is one."""

    def end(self, status: Status) -> None:
        """Close the run, and mark how it ended."""


def warn(progress: Progress, name: str, words: str, out: Path, *, then: str) -> None:
    """Say that a tracker failed, and what becomes of it."""
    progress.say(
        f"warning: {name}: {words.rstrip('.')}. The run goes on, {then}; all its figures stand in {out} in any case. "
        f"What to do: {_ADVICE[name]}"
    )

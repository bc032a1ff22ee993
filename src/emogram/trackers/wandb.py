"""Weights & Biases: its server, or with WANDB_MODE=offline files on this machine."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from emogram.files import write_json
from emogram.silenced import silence
from emogram.trackers.about import About
from emogram.trackers.notes import read_note
from emogram.trackers.tracker import Status

NAME = "wandb"
PROJECT = "emogram"
_INIT_TIMEOUT_S = 30.0


class WandB:
    """Configuration, history by epoch, summary, pictures and the model as an artifact; folds share a group."""

    def __init__(self, about: About) -> None:
        """Take a run; whoever has WANDB_PROJECT, WANDB_ENTITY or WANDB_MODE set is heard by W&B itself."""
        self._about = about
        self._run: Any = None
        self._id = ""
        # Counted here and not by W&B, which offline does not know what an earlier process wrote.
        self._epoch = 0

    def begin(self) -> None:
        """Begin the run, or go on with the one that is noted in the run folder."""
        silence("wandb")
        import wandb

        about = self._about
        noted = read_note(about.note(NAME)) if about.is_resumed else {}
        self._id, self._epoch = noted.get("id") or self._id or secrets.token_hex(4), int(noted.get("epoch", 0))
        about.folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            id=self._id,
            resume="allow",
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            name=about.name,
            group=about.group_name,
            job_type=None if about.group is None else "group" if about.is_group else "training",
            config={**about.settings, "run": dict(about.tags)},
            tags=[*filter(None, [about.tags.get("corpus", "")[:64]])],
            dir=os.environ.get("WANDB_DIR") or about.out,
            # The training's words belong to its own process, and to whoever reads them there.
            settings=wandb.Settings(console="off", silent=True, init_timeout=_INIT_TIMEOUT_S, x_stats_pid=os.getppid()),
        )
        self._run.define_metric("epoch", hidden=True)
        self._run.define_metric("*", step_metric="epoch")
        self._note()

    def epochs(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Log epochs that are new."""
        for row in rows:
            epoch = int(row["epoch"])
            if epoch > self._epoch:
                self._run.log({**row, "epoch": epoch})
                self._epoch = epoch
                self._note()

    def picture(self, name: str, path: str) -> None:
        """Log a picture."""
        import wandb

        self._run.log({name: wandb.Image(path), "epoch": self._epoch})

    def result(self, metrics: Mapping[str, float], model: str | None) -> None:
        """Put the judged figures into the summary, and log the model as an artifact."""
        import wandb

        self._run.summary.update(dict(metrics))
        if model is not None:
            artifact = wandb.Artifact(re.sub(r"[^\w.\-]+", "-", self._about.name)[-128:], type="model")
            artifact.add_dir(model)
            self._run.log_artifact(artifact)

    def end(self, status: Status) -> None:
        """Mark how it ended; to W&B all that did not finish has failed, so that the summary says more."""
        if self._run is None:
            return
        import wandb

        self._run.summary["status"] = status
        self._run.finish(exit_code=0 if status == "finished" else 1)
        wandb.teardown()

    def _note(self) -> None:
        write_json(self._about.note(NAME), {"id": self._id, "epoch": self._epoch})

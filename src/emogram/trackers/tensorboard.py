"""TensorBoard: event files in the run folder, written in this process and at once.

tensorboardX's own writer does so in a thread. That thread dies where the disk is full, and then the training waits for
it for ever; so only its formats are used here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emogram.config import flat_settings
from emogram.errors import MissingExtraError
from emogram.files import output_error
from emogram.trackers.about import About
from emogram.trackers.tracker import Status

FOLDER = "tensorboard"
_FILES = "events.out.tfevents.*"
_HPARAM_METRICS = ("val_uar", "val_loss")


class TensorBoard:
    """Scalars, pictures, settings as text and as hyperparameters."""

    def __init__(self, about: About) -> None:
        """Write into the folder `tensorboard` of the run."""
        self._about = about
        self._folder = about.folder / FOLDER
        self._writer: Any = None
        self._epoch = 0  # the last one that was written

    def begin(self) -> None:
        """Open a file; of epochs that were lost and are done again, TensorBoard is to show the events once."""
        try:
            from tensorboardX import summary
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import SessionLog
        except ImportError:
            raise MissingExtraError("training", "train") from None
        n_done = self._about.n_done
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            old = list(self._folder.glob(_FILES))
            if not n_done:
                for file in old:
                    file.unlink()
            # The number keeps files apart that were begun within one second.
            self._writer = EventsWriter(str(self._folder / "events"), f".{n_done}" if n_done else "")
        except OSError as error:
            raise output_error(self._folder, error) from error
        if n_done and old:
            self._epoch = n_done
            self._write(n_done + 1, session_log=SessionLog(status=SessionLog.START))
            self._flush()
            return
        flat = flat_settings(self._about.settings)
        for what, values in (("setting", flat), ("tag", self._about.tags)):
            lines = [
                f"| {what} | value |",
                "| --- | --- |",
                *(f"| {name} | {value} |" for name, value in values.items()),
            ]
            self._write(0, summary=summary.text(f"{what}s", "\n".join(lines)))
        plain = {name: value if isinstance(value, bool | int | float) else str(value) for name, value in flat.items()}
        for part in summary.hparams({**plain, **self._about.tags}, dict.fromkeys(_HPARAM_METRICS, 0.0))[:2]:
            self._write(0, summary=part)
        self._flush()

    def epochs(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write the scalars of epochs that are new."""
        from tensorboardX import summary

        for row in rows:
            epoch = int(row["epoch"])
            if epoch <= self._epoch:
                continue
            for name, value in row.items():
                if name != "epoch":
                    self._write(epoch, summary=summary.scalar(name, value))
            self._epoch = epoch
        self._flush()

    def picture(self, name: str, path: str) -> None:
        """Write a picture, as it is."""
        from PIL import Image
        from tensorboardX.proto.summary_pb2 import Summary

        with Image.open(path) as opened:
            width, height = opened.size
        image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=Path(path).read_bytes())
        self._write(self._epoch, summary=Summary(value=[Summary.Value(tag=name, image=image)]))
        self._flush()

    def result(self, metrics: Mapping[str, float], model: str | None) -> None:
        """Write the judged figures as scalars; TensorBoard keeps no files."""
        from tensorboardX import summary

        for name, value in metrics.items():
            self._write(self._epoch, summary=summary.scalar(name, value))
        self._flush()

    def end(self, status: Status) -> None:
        """Close the file."""
        from tensorboardX import summary

        if self._writer is None:
            return
        try:
            if status == "finished":
                self._write(self._epoch, summary=summary.hparams({}, {})[2])
        finally:
            writer, self._writer = self._writer, None
            writer.close()

    def _write(self, step: int, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        try:
            self._writer.write_event(Event(wall_time=time.time(), step=step, **content))
        except OSError as error:
            raise output_error(self._folder, error) from error

    def _flush(self) -> None:
        try:
            self._writer.flush()
        except OSError as error:
            raise output_error(self._folder, error) from error

"""What a person sees while `emogram listen` hears: a line for each segment, and below them the present moment."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from emogram import console
from emogram.live import Engine, Event, WindowScore
from emogram.records import Segment

REFRESH_S = 0.1


class LiveView:
    """A view on the terminal, open while used as a context."""

    def __init__(self) -> None:
        self._live = Live(console=console.console(), auto_refresh=False, transient=True)
        self._window: WindowScore | None = None
        self._duration_s = 0.0
        self._speaks = False
        self._shown = 0.0

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def tell(self, event: Event) -> None:
        """Print a segment above the present moment, or show a window in it."""
        if isinstance(event, Segment):
            self._live.console.print(console.segment_line(event))
        elif isinstance(event, WindowScore):
            self._window = event
        self._show()

    def watch(self, engine: Engine) -> None:
        """Show how long was listened and whether somebody speaks, some times a second."""
        self._duration_s = engine.duration_s
        self._speaks = engine.speech_probability >= 0.5
        if time.monotonic() - self._shown >= REFRESH_S:
            self._show()

    def _show(self) -> None:
        self._shown = time.monotonic()
        self._live.update(self._view(), refresh=True)

    def _view(self) -> RenderableType:
        state = Text("speech", style="bold") if self._speaks else Text("listening", style="dim")
        line = Text.assemble(f"{console.clock(self._duration_s):>8}  ", state)
        if self._window is None:
            return line
        said = self._window.prediction
        table = [console.probabilities_table(said)] if said.scores else []
        told = console.dimensions_text(said)
        return Group(line, *table, *([Text(told)] if told else []))

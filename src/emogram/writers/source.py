"""What a file says of the recording that it is about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emogram.writers.text import one_line


@dataclass(frozen=True)
class Source:
    """What a timeline was made of.

    Attributes:
        recording: The sound file; need not be there any more.
        model: Which model made it, in words; "" where nobody said.
    """

    recording: Path
    model: str = ""

    @property
    def name(self) -> str:
        """The file's name, fit to be written."""
        return one_line(self.recording.name)

    @property
    def stem(self) -> str:
        """The file's name without its suffix, fit to be written."""
        return one_line(self.recording.stem)

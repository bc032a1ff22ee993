"""What a tracker notes in a run folder, so that the run goes on in the same place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_note(path: Path | None) -> dict[str, Any]:
    """Return what was noted; nothing where the file is missing or damaged."""
    try:
        noted = json.loads(path.read_text(encoding="utf-8")) if path is not None else {}
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}

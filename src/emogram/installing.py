"""How this copy of emogram is added to: one from a package index by its name, one from a clone by its folder."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parent


def checkout() -> Path | None:
    """Return the folder of the repository that this copy runs from; None for an installed package."""
    root = _HERE.parents[1]
    return root if (root / "pyproject.toml").is_file() and (root / "src" / "emogram") == _HERE else None


def install_line(extra: str) -> str:
    """Return the command that adds an extra to this copy."""
    root = checkout()
    return f"pip install 'emogram[{extra}]'" if root is None else f"pip install -e '{root}[{extra}]'"

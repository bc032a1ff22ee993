"""Speech emotion recognition from spectrograms: train, judge honestly, and use."""

from __future__ import annotations

__version__ = "0.1.0"

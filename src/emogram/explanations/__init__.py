"""Which times and frequencies spoke for the answers of a model, and whether such a map can be believed."""

from __future__ import annotations

from emogram.explanations.checks import check
from emogram.explanations.maps import MAX_STRETCH_S, METHODS, STRETCH_S, explain
from emogram.explanations.regions import Region, regions

__all__ = ["MAX_STRETCH_S", "METHODS", "STRETCH_S", "Region", "check", "explain", "regions"]

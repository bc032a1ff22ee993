"""A training, told to TensorBoard, MLflow and Weights & Biases."""

from __future__ import annotations

from emogram.trackers.about import About, describe_run
from emogram.trackers.following import NO_TRACKERS, Following, Trackers, choose_trackers, follow, follow_group

__all__ = [
    "NO_TRACKERS",
    "About",
    "Following",
    "Trackers",
    "choose_trackers",
    "describe_run",
    "follow",
    "follow_group",
]

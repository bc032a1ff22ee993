"""Trainings without pictures, which take seconds each time, where a test looks at figures only."""

import pytest


def draw_nothing(patch: pytest.MonkeyPatch) -> None:
    """Neither the clips that a training begins with nor its results."""
    patch.setattr("emogram.train.tell_examples", lambda *_, **__: None)
    patch.setattr("emogram.plots.save_all", lambda *_, **__: [])

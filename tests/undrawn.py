"""Trainings without pictures, which take seconds each time, where a test does not look at them."""

import pytest


def draw_no_examples(patch: pytest.MonkeyPatch) -> None:
    """Draw the results of a training, and not the clips that it begins with."""
    patch.setattr("emogram.train.tell_examples", lambda *_, **__: None)


def draw_nothing(patch: pytest.MonkeyPatch) -> None:
    """Draw neither."""
    draw_no_examples(patch)
    patch.setattr("emogram.plots.save_all", lambda *_, **__: [])

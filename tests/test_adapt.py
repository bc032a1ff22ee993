"""Adapting to a voice takes away what all its clips share, and nothing else."""

import numpy as np
import pytest

from emogram import adapt
from emogram.adapt import adapt_voice, adapt_voices, mean_log_probabilities
from emogram.calibration import soften
from emogram.errors import SettingsError

TRUTH = np.repeat(np.arange(4), 50)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def logits_of(seed, *, offset=(0.0, 0.0, 0.0, 0.0)):
    """200 clips of one voice that speaks in four moods, whose true class stands out by 2 nats of noise of 1."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, (200, 4)) + 2.0 * np.eye(4)[TRUTH] + np.asarray(offset)


def right(probabilities):
    return float((probabilities.argmax(axis=1) == TRUTH).mean())


@pytest.fixture
def whole(monkeypatch):
    """Move all of the way, whatever the number of clips."""
    monkeypatch.setattr(adapt, "HALF_WAY_CLIPS", 0)


def test_a_constant_offset_of_the_logits_is_taken_away_exactly(whole):
    plain = softmax(logits_of(0))
    biased = softmax(logits_of(0, offset=(3.0, 0.0, -1.0, 0.0)))
    reference = mean_log_probabilities(plain, TRUTH)
    assert right(biased) < 0.5 < right(plain)
    np.testing.assert_allclose(adapt_voice(biased, reference), plain, atol=1e-9)


def test_a_voice_like_those_of_the_reference_stays_nearly_as_it_is():
    probabilities = softmax(logits_of(1))
    reference = mean_log_probabilities(softmax(logits_of(2)), TRUTH)
    adapted = adapt_voice(probabilities, reference)
    assert abs(right(adapted) - right(probabilities)) <= 0.02
    np.testing.assert_allclose(adapted.sum(axis=1), 1.0)


def test_the_share_that_is_taken_away_grows_with_the_number_of_clips():
    reference = (0.0, 0.0)
    for n_clips in (1, 20, 180):
        biased = np.tile(softmax(np.asarray([[2.0, 0.0]])), (n_clips, 1))
        left = np.log(adapt_voice(biased, reference)) @ np.asarray([1.0, -1.0])
        np.testing.assert_allclose(left, 2.0 * (1 - n_clips / (n_clips + 20)))


def test_each_voice_is_adapted_by_itself_and_clips_keep_their_places():
    reference = mean_log_probabilities(softmax(logits_of(0)), TRUTH)
    first, second = softmax(logits_of(3, offset=(2, 0, 0, 0))), softmax(logits_of(4, offset=(0, 0, 0, 2)))
    order = np.random.default_rng(0).permutation(400)
    both = np.concatenate([first, second])[order]
    voices = np.repeat(["one", "two"], 200)[order].tolist()
    expected = np.concatenate([adapt_voice(first, reference), adapt_voice(second, reference)])[order]
    np.testing.assert_allclose(adapt_voices(both, voices, reference), expected)


def test_the_reference_weighs_each_class_the_same_whatever_its_number_of_clips():
    probabilities = softmax(logits_of(5))
    chosen = np.concatenate([np.arange(50), np.arange(50, 200, 10)])  # many of the first class, few of the others
    by_hand = []
    for label in range(4):
        logs = np.log(probabilities[chosen][TRUTH[chosen] == label])
        by_hand.append((logs - logs.mean(axis=1, keepdims=True)).mean(axis=0))
    reference = mean_log_probabilities(probabilities[chosen], TRUTH[chosen])
    np.testing.assert_allclose(reference, np.mean(by_hand, axis=0))
    assert sum(reference) == pytest.approx(0.0, abs=1e-9)


def test_temperature_and_adaptation_change_places(whole):
    """Both are linear in the logits, so that calibrating first or last gives the same."""
    plain, biased = softmax(logits_of(0)), softmax(logits_of(1, offset=(1, 0, 0, -1)))
    first = adapt_voice(soften(biased, 2.0), mean_log_probabilities(soften(plain, 2.0), TRUTH))
    last = soften(adapt_voice(biased, mean_log_probabilities(plain, TRUTH)), 2.0)
    np.testing.assert_allclose(first, last, atol=1e-9)


def test_what_does_not_fit_together_is_refused():
    probabilities = np.full((3, 4), 0.25)
    with pytest.raises(SettingsError, match=r"shape \(3, 4\) and a reference of 2 labels"):
        adapt_voice(probabilities, (0.0, 0.0))
    with pytest.raises(SettingsError, match="expected some clips"):
        adapt_voice(np.empty((0, 4)), (0.0,) * 4)
    with pytest.raises(SettingsError, match="2 voices for 3 clips"):
        adapt_voices(probabilities, ["a", "b"], (0.0,) * 4)

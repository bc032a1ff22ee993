"""Before and after on the same clips: better, worse, or nobody can tell."""

from pathlib import Path

import numpy as np
import pytest

from emogram.changes import BETTER, UNTOLD, WORSE, among, compare_before_after
from emogram.errors import InputError
from emogram.predictions import Predictions
from emogram.records import Clip

LABELS = ("angry", "calm", "happy", "sad")


def said(answers, truths, *, labels=LABELS, name="it", speakers=None, sure=0.7):
    """Predictions that give each clip one answer, all equally sure."""
    clips = [Clip(Path(f"clip-{i}.wav"), truth, speakers[i] if speakers else "one") for i, truth in enumerate(truths)]
    rest = (1.0 - sure) / (len(labels) - 1)
    probabilities = np.asarray([[sure if label == answer else rest for label in labels] for answer in answers])
    return Predictions(name, tuple(clips), labels, probabilities, np.zeros(len(clips), bool), protocol="by clip")


def truths(n):
    return [LABELS[i % 4] for i in range(n)]


def wrong_every(n, answers):
    return [LABELS[(LABELS.index(a) + 1) % 4] if i % n == 0 else a for i, a in enumerate(answers)]


def test_all_wrong_and_then_all_right_is_better_by_a_hundred_points():
    true = truths(40)
    change = compare_before_after(said(wrong_every(1, true), true), said(true, true))
    uar, accuracy, ece = change.differences
    assert (change.before.metrics["uar"], change.after.metrics["uar"]) == (0.0, 1.0)
    assert (uar.metric, accuracy.metric, ece.metric) == ("uar", "accuracy", "ece")
    assert (uar.value, uar.low, uar.high, uar.probability) == (1.0, 1.0, 1.0, 1.0)
    assert change.verdict == BETTER and change.narrowed is None and change.compared is change.before
    back = compare_before_after(said(true, true), said(wrong_every(1, true), true))
    assert back.verdict == WORSE and back.differences[0].value == -1.0


def test_one_clip_of_forty_decides_nothing():
    true = truths(40)
    almost = [*wrong_every(1, true[:1]), *true[1:]]
    change = compare_before_after(said(almost, true), said(true, true))
    assert change.verdict == UNTOLD and change.differences[0].value == pytest.approx(0.025)
    assert change.differences[0].low == 0.0, "in some resamples the clip is not drawn"


def test_few_voices_are_not_resampled_and_many_are():
    true = truths(40)
    half = wrong_every(3, true)
    few = compare_before_after(said(half, true), said(true, true))
    assert few.says == "95 % intervals resample 40 clips of 1 voice, and say nothing of others"
    low, high = few.before.intervals["uar"]
    assert low < few.before.metrics["uar"] < high, "one voice, resampled, would give a single value"
    speakers = [f"voice{i % 5}" for i in range(40)]
    many = compare_before_after(said(half, true, speakers=speakers), said(true, true, speakers=speakers))
    assert many.says == "95 % intervals resample 5 speakers"


def test_labels_that_the_new_one_lacks_are_not_held_against_it():
    """Who answers calm where nobody is calm is right once that answer is not allowed: that alone is no learning."""
    three = [label for label in truths(40) if label != "calm"]
    before = said(["calm"] * len(three), three, sure=0.4)
    best = [dict(zip(LABELS, row, strict=True)) for row in before.probabilities]
    for row, truth in zip(best, three, strict=True):
        row[truth] += 0.1
    probabilities = np.asarray([list(row.values()) for row in best]) / 1.1
    before = Predictions("b", before.clips, LABELS, probabilities, before.abstained, protocol="by clip")
    after = said(three, three, labels=("angry", "happy", "sad"))
    change = compare_before_after(before, after)
    assert change.before.metrics["uar"] == 0.0 and change.narrowed.metrics["uar"] == 1.0
    assert change.compared is change.narrowed and change.verdict == UNTOLD
    assert change.before.labels == change.after.labels == LABELS
    assert change.to_dict()["before_among_its_labels"]["metrics"]["uar"] == 1.0


def test_clips_of_new_labels_were_all_wrong():
    true = ["angry", "bored"] * 10
    before = said(["angry"] * 20, true, labels=("angry", "bored"))
    before.probabilities[:] = [1.0, 0.0]
    change = compare_before_after(before, said(true, true, labels=("angry", "bored")))
    assert change.before.per_class["bored"]["recall"] == 0.0 and change.before.per_class["angry"]["recall"] == 1.0
    assert change.differences[0].value == 0.5


def test_among_some_labels_the_rest_is_shared_out():
    before = said(["calm", "sad"], ["angry", "sad"])
    two = among(before, ["angry", "sad"])
    assert two.labels == ("angry", "sad")
    np.testing.assert_allclose(two.probabilities, [[0.5, 0.5], [0.125, 0.875]])


def test_other_clips_are_refused():
    true = truths(4)
    other = said(true, true)
    renamed = tuple(Clip(Path(f"other-{i}.wav"), truth) for i, truth in enumerate(true))
    with pytest.raises(InputError, match="no clip in common"):
        compare_before_after(said(true, true), Predictions("o", renamed, LABELS, other.probabilities, other.abstained))

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics

from emogram import metrics
from emogram.errors import SettingsError
from emogram.records import Clip, speakers_of

LABELS = ("angry", "calm", "happy")

# True class by row, predicted class by column: recalls 3/4, 1/2, 0; precisions 3/5, 1/2, 0.
MATRIX = np.array([[3, 1, 0], [1, 1, 0], [1, 0, 0]])


def from_matrix(matrix):
    cells = [(row, column) for row, column in np.ndindex(matrix.shape) for _ in range(matrix[row, column])]
    targets, predicted = np.array(cells).T
    return targets, predicted


def one_hot(predicted, n_labels, *, confidence=1.0):
    rest = (1.0 - confidence) / (n_labels - 1)
    return np.full((len(predicted), n_labels), rest) + np.eye(n_labels)[predicted] * (confidence - rest)


def random_answers(n_clips=300, n_labels=5, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(n_labels, size=n_clips)
    logits = rng.normal(size=(n_clips, n_labels)) + 1.2 * np.eye(n_labels)[targets]
    return targets, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def speaker_clips(speakers, **extra):
    return [Clip(Path(f"{i}.wav"), speaker=speaker, corpus="c", extra=extra) for i, speaker in enumerate(speakers)]


def test_confusion_matrix_has_truth_in_rows_and_answers_in_columns():
    targets, predicted = from_matrix(MATRIX)
    assert np.array_equal(metrics.confusion_matrix(targets, predicted), MATRIX)
    assert metrics.confusion_matrix([0, 0, 1], [1, 1, 1], n_labels=3).tolist() == [[0, 2, 0], [0, 1, 0], [0, 0, 0]]


def test_uar_of_a_hand_drawn_matrix():
    assert metrics.uar(*from_matrix(MATRIX)) == pytest.approx((3 / 4 + 1 / 2 + 0) / 3)


def test_accuracy_of_a_hand_drawn_matrix():
    assert metrics.accuracy(*from_matrix(MATRIX)) == pytest.approx(4 / 7)


def test_macro_f1_of_a_hand_drawn_matrix():
    # F1 = 2 hits / (support + predicted): 6/9, 2/4 and 0.
    assert metrics.macro_f1(*from_matrix(MATRIX)) == pytest.approx((6 / 9 + 2 / 4 + 0) / 3)


def test_uar_leaves_out_classes_that_no_clip_has():
    probabilities = one_hot([0, 2, 1, 1], 4)
    assert metrics.uar([0, 0, 1, 1], probabilities) == pytest.approx((1 / 2 + 1) / 2)


def test_probabilities_and_predicted_classes_give_one_answer():
    targets, probabilities = random_answers()
    for score in (metrics.uar, metrics.accuracy, metrics.macro_f1):
        assert score(targets, probabilities) == score(targets, probabilities.argmax(axis=1))


@pytest.mark.parametrize("seed", range(5))
def test_scores_agree_with_scikit_learn(seed):
    targets, probabilities = random_answers(seed=seed)
    predicted = probabilities.argmax(axis=1)
    assert metrics.uar(targets, predicted) == pytest.approx(sklearn.metrics.balanced_accuracy_score(targets, predicted))
    assert metrics.accuracy(targets, predicted) == pytest.approx(sklearn.metrics.accuracy_score(targets, predicted))
    f1 = sklearn.metrics.f1_score(targets, predicted, average="macro")
    assert metrics.macro_f1(targets, predicted) == pytest.approx(f1)
    assert metrics.nll(probabilities, targets) == pytest.approx(sklearn.metrics.log_loss(targets, probabilities))
    precision, recall, f1, support = sklearn.metrics.precision_recall_fscore_support(targets, predicted)
    scores = metrics.per_class_scores(targets, predicted, list("abcde"))
    assert [values["precision"] for values in scores.values()] == pytest.approx(precision)
    assert [values["recall"] for values in scores.values()] == pytest.approx(recall)
    assert [values["f1"] for values in scores.values()] == pytest.approx(f1)
    assert [values["support"] for values in scores.values()] == support.tolist()


def test_per_class_scores_of_a_hand_drawn_matrix():
    scores = metrics.per_class_scores(*from_matrix(MATRIX), LABELS)
    assert scores["angry"] == pytest.approx({"precision": 3 / 5, "recall": 3 / 4, "f1": 6 / 9, "support": 4})
    assert scores["happy"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}


def test_ece_by_hand():
    # Bin (0.6, 0.8]: confidences 0.7 and 0.8, one of two right, gap 0.25. Bin (0.8, 1]: 0.9, right, gap 0.1.
    probabilities = np.array([[0.7, 0.3], [0.8, 0.2], [0.1, 0.9]])
    assert metrics.ece(probabilities, [0, 1, 1], n_bins=5) == pytest.approx((2 * 0.25 + 1 * 0.1) / 3)


def test_ece_agrees_with_a_slow_loop():
    targets, probabilities = random_answers(n_clips=500)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    expected = 0.0
    for m in range(15):
        members = [i for i in range(500) if m / 15 < confidence[i] <= (m + 1) / 15]
        if members:
            expected += len(members) / 500 * abs(np.mean(right[members]) - np.mean(confidence[members]))
    assert metrics.ece(probabilities, targets) == pytest.approx(expected)


def test_reliability_bins_are_closed_above_and_hold_every_clip_once():
    probabilities = np.array([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0], [0.5, 0.5]])
    bins = metrics.reliability_bins(probabilities, [0, 0, 1, 1], n_bins=4)
    assert bins.counts.tolist() == [0, 2, 1, 1]
    assert bins.accuracy[1:].tolist() == [0.5, 1.0, 0.0]
    assert bins.confidence[1:].tolist() == [0.5, 0.75, 1.0]
    assert np.isnan(bins.accuracy[0])


def test_sure_and_right_is_perfectly_calibrated_and_sure_and_wrong_perfectly_not():
    assert metrics.ece(one_hot([0, 1, 2], 3), [0, 1, 2]) == 0.0
    assert metrics.ece(one_hot([1, 2, 0], 3), [0, 1, 2]) == 1.0


def test_nll_by_hand_and_finite_where_the_truth_had_probability_zero():
    assert metrics.nll([[0.5, 0.5], [0.2, 0.8]], [0, 1]) == pytest.approx(-(np.log(0.5) + np.log(0.8)) / 2)
    assert metrics.nll([[1.0, 0.0]], [1]) == pytest.approx(-np.log(1e-12))


def test_brier_sums_over_classes():
    # (0.3^2 + 0.2^2 + 0.1^2) for the first clip, (1^2 + 1^2) for the second, which is as wrong as can be.
    assert metrics.brier([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]], [0, 1]) == pytest.approx((0.14 + 2.0) / 2)


def unlike_speakers(n_speakers=20, n_clips=40):
    """Half the speakers are always understood, half never."""
    targets = np.tile(np.arange(4), n_speakers * n_clips // 4)
    speaker = np.repeat(np.arange(n_speakers), n_clips)
    predicted = np.where(speaker % 2 == 0, targets, (targets + 1) % 4)
    return targets, one_hot(predicted, 4), [f"s{i}" for i in speaker]


def test_bootstrap_interval_contains_the_point_estimate():
    targets, probabilities = random_answers()
    intervals = metrics.speaker_bootstrap(targets, probabilities, [f"s{i % 12}" for i in range(300)])
    for name, score in (("uar", metrics.uar), ("accuracy", metrics.accuracy), ("macro_f1", metrics.macro_f1)):
        low, high = intervals[name]
        assert low < score(targets, probabilities) < high


def test_bootstrap_over_one_speaker_is_the_point_estimate():
    targets, probabilities = random_answers()
    intervals = metrics.speaker_bootstrap(targets, probabilities, ["only"] * 300)
    assert intervals["uar"] == pytest.approx([metrics.uar(targets, probabilities)] * 2)


def test_bootstrap_over_speakers_is_wider_than_over_clips_where_speakers_differ():
    targets, probabilities, speakers = unlike_speakers()
    by_speaker = metrics.speaker_bootstrap(targets, probabilities, speakers)["uar"]
    by_clip = metrics.speaker_bootstrap(targets, probabilities, [None] * len(targets))["uar"]
    assert by_speaker[1] - by_speaker[0] > 4 * (by_clip[1] - by_clip[0])


def test_bootstrap_over_speakers_has_the_spread_that_theory_gives():
    # The share of 20 drawn speakers who are understood: binomial, standard deviation sqrt(0.25 / 20).
    targets, probabilities, speakers = unlike_speakers()
    low, high = metrics.speaker_bootstrap(targets, probabilities, speakers, n_resamples=20000)["accuracy"]
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 20), abs=0.051)  # one step of a twentieth


def test_bootstrap_agrees_with_a_slow_loop_that_draws_speakers_one_by_one():
    targets, probabilities = random_answers()
    speakers = np.array([f"s{i % 7}" for i in range(300)])
    rng = np.random.default_rng(1)
    values = []
    for _ in range(3000):
        drawn = rng.choice(np.unique(speakers), size=7)
        clips = np.concatenate([np.flatnonzero(speakers == name) for name in drawn])
        values.append(sklearn.metrics.balanced_accuracy_score(targets[clips], probabilities[clips].argmax(axis=1)))
    intervals = metrics.speaker_bootstrap(targets, probabilities, list(speakers), n_resamples=3000)
    assert intervals["uar"] == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=0.006)


def test_clips_without_speaker_are_drawn_one_by_one():
    # The fast way merges clips of the same cell; naming each clip a speaker of its own must be the same thing.
    targets, probabilities = random_answers()
    merged = metrics.speaker_bootstrap(targets, probabilities, [None] * 300, n_resamples=5000)
    named = metrics.speaker_bootstrap(targets, probabilities, [str(i) for i in range(300)], n_resamples=5000)
    assert merged["uar"] == pytest.approx(named["uar"], abs=0.006)


def test_one_seed_gives_one_interval_and_the_order_of_clips_does_not_matter():
    targets, probabilities = random_answers()
    speakers = [f"s{i % 12}" for i in range(300)]
    first = metrics.speaker_bootstrap(targets, probabilities, speakers, seed=3)
    assert first == metrics.speaker_bootstrap(targets, probabilities, speakers, seed=3)
    assert first != metrics.speaker_bootstrap(targets, probabilities, speakers, seed=4)
    backwards = metrics.speaker_bootstrap(targets[::-1], probabilities[::-1], speakers[::-1], seed=3)
    assert first == backwards


def test_words_say_what_was_resampled():
    assert metrics.describe_resampling(["a", "b", "a"]) == "95 % intervals resample 2 speakers"
    assert "clips, no speakers known" in metrics.describe_resampling([None, None])
    assert metrics.describe_resampling(["a", None]).endswith("1 speaker and 1 clips of unknown speakers")


def gendered_report():
    # Speaker 2 (female) is always right, speaker 10 (male) right in one of two classes.
    targets = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    predicted = np.array([0, 1, 0, 1, 0, 0, 0, 0])
    clips = [
        Clip(Path("x.wav"), speaker="2" if i < 4 else "10", corpus="c", extra={"gender": "fm"[i // 4], "take": "1"})
        for i in range(8)
    ]
    return metrics.judge(targets, one_hot(predicted, 2, confidence=0.8), ["sad", "happy"], clips, protocol="P1")


def test_judge_fills_the_report():
    report = gendered_report()
    assert report.labels == ("sad", "happy")
    assert report.confusion == ((4, 0), (2, 2))
    assert report.metrics["uar"] == report.metrics["accuracy"] == 0.75
    assert report.metrics["n_clips"] == 8
    assert report.metrics["ece"] == pytest.approx(0.05)
    assert report.metrics["brier"] == pytest.approx((6 * 2 * 0.2**2 + 2 * 2 * 0.8**2) / 8)
    assert report.per_class["happy"]["recall"] == 0.5
    assert report.intervals["uar"] == (0.5, 1.0)
    assert report.protocol == "P1; 95 % intervals resample 2 speakers"


def test_judge_groups_by_speaker_in_natural_order_and_by_gender():
    report = gendered_report()
    assert list(report.per_group) == ["speaker", "gender"]
    assert list(report.per_group["speaker"]) == ["2", "10"]
    assert report.per_group["speaker"]["10"] == {"uar": 0.5, "accuracy": 0.5, "n_clips": 4}
    assert report.metrics["uar_gender_gap"] == 0.5


def genders_apart(n_clips=400):
    """Answers of ten women and ten men; the women's are right more often, and more often still of some."""
    targets, probabilities = random_answers(n_clips)
    speakers = [f"s{i % 20:02}" for i in range(n_clips)]
    genders = ["female" if i % 20 < 10 else "male" for i in range(n_clips)]
    right = np.random.default_rng(5).random(n_clips) < np.where([g == "female" for g in genders], 0.4, 0.2)
    right &= np.asarray([i % 3 > 0 for i in range(n_clips)])
    probabilities = np.where(right[:, np.newaxis], one_hot(targets, probabilities.shape[1]), probabilities)
    clips = [
        Clip(Path("x.wav"), speaker=speaker, extra={"gender": gender})
        for speaker, gender in zip(speakers, genders, strict=True)
    ]
    return targets, probabilities, clips


def test_the_interval_of_the_gap_is_that_of_a_slow_loop_that_draws_the_speakers_of_each_gender():
    targets, probabilities, clips = genders_apart()
    speakers, genders = [clip.speaker for clip in clips], [clip.extra["gender"] for clip in clips]
    drawn = metrics.resample_gap(targets, [probabilities], speakers, genders, n_resamples=3000)
    rng, values = np.random.default_rng(8), []
    for _ in range(1500):
        uars = {}
        for first, gender in ((0, "female"), (10, "male")):
            chosen = [f"s{first + one:02}" for one in rng.integers(10, size=10)]
            places = [place for name in chosen for place in range(400) if speakers[place] == name]
            uars[gender] = metrics.uar(targets[places], probabilities[places])
        values.append(uars["female"] - uars["male"])
    assert np.percentile(drawn, [2.5, 97.5]) == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=0.015)
    assert drawn.mean() == pytest.approx(np.mean(values), abs=0.005)


def test_a_report_and_the_mean_of_seeds_tell_how_far_the_gap_could_be_off():
    targets, probabilities, clips = genders_apart()
    report = metrics.judge(targets, probabilities, list("abcde"), clips, protocol="")
    low, high = report.intervals["uar_gender_gap"]
    assert low < report.metrics["uar_gender_gap"] < high
    swapped = [dataclasses.replace(c, extra={"gender": {"male": "a", "female": "z"}[c.extra["gender"]]}) for c in clips]
    renamed = metrics.judge(targets, probabilities, list("abcde"), swapped, protocol="")
    assert renamed.intervals["uar_gender_gap"] == pytest.approx((low, high), abs=0.02), "whatever they are called"
    other = np.roll(probabilities, 20, axis=0)
    reports = [report, metrics.judge(targets, other, list("abcde"), clips, protocol="")]
    summary = metrics.over_seeds(reports, targets, [probabilities, other], clips)
    low, high = summary.intervals["uar_gender_gap"]
    assert low < summary.mean["uar_gender_gap"] < high
    alike = [dataclasses.replace(clip, extra={"gender": "male"}) for clip in clips]
    assert "uar_gender_gap" not in metrics.judge(targets, probabilities, list("abcde"), alike, protocol="").intervals


def test_a_gap_that_may_as_well_be_the_other_way_round_has_an_interval_around_0():
    targets, probabilities = random_answers(400)
    genders = ["female" if i % 2 else "male" for i in range(400)]
    drawn = metrics.resample_gap(targets, [probabilities], [f"s{i % 20}" for i in range(400)], genders)
    assert np.percentile(drawn, 2.5) < 0 < drawn.mean()


def test_judge_without_speakers_has_no_groups_and_says_so():
    targets, probabilities = random_answers(n_clips=20)
    report = metrics.judge(targets, probabilities, list("abcde"), speaker_clips([None] * 20), protocol="P2")
    assert report.per_group == {}
    assert "uar_gender_gap" not in report.metrics
    assert "no speakers known" in report.protocol


def test_speakers_of_two_corpora_with_one_name_are_two_speakers():
    clips = [Clip(Path("x"), speaker="01", corpus=corpus, extra={"gender": "male"}) for corpus in ("tess", "nemo")]
    assert speakers_of(clips) == ["tess/01", "nemo/01"]
    assert speakers_of(clips[:1]) == ["01"]
    assert metrics.speaker_genders(clips) == {"tess/01": "male", "nemo/01": "male"}
    report = metrics.judge([0, 1], one_hot([0, 1], 2), ["a", "b"], clips, protocol="P3")
    assert list(report.per_group["speaker"]) == ["nemo/01", "tess/01"]
    assert report.per_group["corpus"]["tess"]["n_clips"] == 1


def test_a_report_survives_json():
    report = gendered_report()
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False)) == report.to_dict()


@pytest.mark.parametrize(
    ("probabilities", "targets", "message"),
    [
        (np.zeros((0, 2)), np.zeros(0, dtype=int), "no targets; at least one clip"),
        ([[0.5, 0.5]], [0, 1], "2 targets for 1 predictions"),
        ([[0.5, 0.5]], [2], "target 2 found for 2 labels"),
        ([[0.5, 0.5]], [-1], "class index -1"),
        ([[0.5, 0.5]], [0.5], "expected integers"),
        ([[np.nan, 0.5]], [0], "not finite"),
        ([[2.0, -1.0]], [0], "not logits or percent"),
        ([[50.0, 50.0]], [0], "not logits or percent"),
        ([0, 1], [0, 1], "expected floats of shape"),
    ],
)
def test_what_cannot_be_judged_is_refused(probabilities, targets, message):
    for score in (metrics.ece, metrics.nll, metrics.brier):
        with pytest.raises(SettingsError, match=message):
            score(probabilities, targets)


def test_judge_refuses_labels_and_clips_that_do_not_fit():
    with pytest.raises(SettingsError, match="3 labels and 1 clips"):
        metrics.judge([0, 1], one_hot([0, 1], 2), LABELS, speaker_clips(["a"]), protocol="P1")


def test_confusion_matrix_refuses_classes_beyond_the_labels():
    with pytest.raises(SettingsError, match="class index 3 found; expected 0 to 2"):
        metrics.confusion_matrix([0, 3], [0, 1], n_labels=3)


def test_bootstrap_refuses_speakers_that_do_not_fit():
    with pytest.raises(SettingsError, match="1 speakers for 2 clips"):
        metrics.speaker_bootstrap([0, 1], [0, 1], ["a"])


# ---------------------------------------------------------------- risk and coverage, several sets of predictions


def test_risk_and_coverage_by_hand():
    # Surest first: right, wrong, right.
    curve = metrics.risk_coverage([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4]], [0, 1, 0])
    assert curve.coverage == pytest.approx([1 / 3, 2 / 3, 1])
    assert curve.risk == pytest.approx([0, 1 / 2, 1 / 3])
    assert curve.area == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)


def test_risk_and_coverage_agree_with_a_slow_loop_and_ties_are_drawn_by_lot():
    targets, probabilities = random_answers(40)
    probabilities = np.round(probabilities, 1) / np.round(probabilities, 1).sum(axis=1, keepdims=True)
    curve = metrics.risk_coverage(probabilities, targets)
    rng = np.random.default_rng(0)
    wrong = probabilities.argmax(axis=1) != targets
    risks = []
    for _ in range(3000):
        order = np.lexsort([rng.random(40), -probabilities.max(axis=1)])
        risks.append([wrong[order[:n]].mean() for n in range(1, 41)])
    assert curve.risk == pytest.approx(np.mean(risks, axis=0), abs=0.03)
    shuffled = rng.permutation(40)
    assert metrics.risk_coverage(probabilities[shuffled], targets[shuffled]).area == pytest.approx(curve.area)


def test_the_interval_of_the_calibration_error_agrees_with_a_slow_loop():
    targets, probabilities = random_answers()
    speakers = np.array([f"s{i % 7}" for i in range(300)])
    rng = np.random.default_rng(1)
    values = []
    for _ in range(2000):
        clips = np.concatenate([np.flatnonzero(speakers == name) for name in rng.choice(np.unique(speakers), size=7)])
        values.append(metrics.ece(probabilities[clips], targets[clips]))
    intervals = metrics.speaker_bootstrap(targets, probabilities, list(speakers), n_resamples=3000)
    assert intervals["ece"] == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=0.006)
    assert "ece" not in metrics.speaker_bootstrap(targets, probabilities.argmax(axis=1), list(speakers))


@pytest.mark.parametrize("known", [True, False])
def test_sets_of_predictions_are_resampled_on_the_same_draws(known):
    targets, probabilities = random_answers()
    speakers = [f"s{i % 7}" if known else None for i in range(300)]
    worse = np.roll(probabilities, 1, axis=1)
    one, two, other = metrics.resample_speakers(targets, [probabilities, probabilities, worse], speakers)
    for name in ("uar", "accuracy", "macro_f1", "ece"):
        assert np.array_equal(one[name], two[name])
        assert not np.array_equal(one[name], other[name])


def test_seeds_are_summed_up_with_the_interval_of_their_mean():
    targets, probabilities = random_answers()
    clips = speaker_clips([f"s{i % 7}" for i in range(300)])
    seeds = [probabilities, np.roll(probabilities, 1, axis=0)]
    reports = [metrics.judge(targets, each, list("abcde"), clips, protocol="") for each in seeds]
    summary = metrics.over_seeds(reports, targets, seeds, clips)
    for name in ("uar", "accuracy", "macro_f1", "ece", "nll", "brier", "aurc"):
        values = [report.metrics[name] for report in reports]
        assert summary.mean[name] == pytest.approx(np.mean(values))
        assert summary.std[name] == pytest.approx(np.std(values, ddof=1))
    resampled = [metrics.resample_speakers(targets, [each], [clip.speaker for clip in clips])[0] for each in seeds]
    mean = (resampled[0]["uar"] + resampled[1]["uar"]) / 2
    assert summary.intervals["uar"] == pytest.approx(np.percentile(mean, [2.5, 97.5]))
    assert "n_clips" not in summary.mean


def test_a_report_tells_how_many_are_unsure_and_how_often_the_other_answers_are_wrong():
    probabilities = one_hot([0, 1, 1, 0], 2, confidence=0.8)
    clips = speaker_clips(["a"] * 4)
    unsure = np.array([False, False, False, True])
    report = metrics.judge([0, 1, 0, 1], probabilities, ["a", "b"], clips, protocol="", abstained=unsure)
    assert (report.metrics["unsure_share"], report.metrics["answered_error"]) == pytest.approx((0.25, 1 / 3))
    for nobody in (None, np.zeros(4, dtype=bool), np.ones(4, dtype=bool)):
        report = metrics.judge([0, 1, 0, 1], probabilities, ["a", "b"], clips, protocol="", abstained=nobody)
        assert "unsure_share" not in report.metrics


def test_the_calibration_error_of_clips_without_speakers_spreads_as_that_of_clips_drawn_one_by_one():
    targets, answers = random_answers(120)
    alone = [f"clip {number}" for number in range(120)]
    spread = [metrics.resample_speakers(targets, [answers], each)[0]["ece"].std() for each in ([None] * 120, alone)]
    assert spread[0] == pytest.approx(spread[1], rel=0.1)


def test_groups_by_intensity_and_one_gender_alone_has_no_gap():
    targets, predicted = [0, 0, 1, 1], [0, 1, 1, 1]
    clips = [
        Clip(Path(f"{i}.wav"), speaker="a", corpus="c", extra={"intensity": intensity, "gender": "f"})
        for i, intensity in enumerate(("normal", "strong") * 2)
    ]  # fmt: skip
    report = metrics.judge(targets, one_hot(predicted, 2), ["a", "b"], clips, protocol="", allowed_leaks=["copies"])
    assert {name: each["accuracy"] for name, each in report.per_group["intensity"].items()} == {
        "normal": 1.0, "strong": 0.5,
    }  # fmt: skip
    assert "uar_gender_gap" not in report.metrics
    assert report.allowed_leaks == ("copies",)


def test_genders_are_those_of_known_speakers():
    clips = [*speaker_clips(["a", None], gender="female"), *speaker_clips(["b"])]
    assert metrics.speaker_genders(clips) == {"a": "female"}


def test_judge_refuses_a_label_too_few_and_a_clip_too_few_alike():
    answers = one_hot([0, 1], 2)
    for labels, clips in ((LABELS, ["a", "b"]), (LABELS[:2], ["a"])):
        with pytest.raises(SettingsError, match="expected a label for each column and a clip for each row"):
            metrics.judge([0, 1], answers, labels, speaker_clips(clips), protocol="")


def test_one_seed_has_no_spread():
    targets, answers = random_answers(40)
    clips = speaker_clips([f"s{i % 4}" for i in range(40)])
    report = metrics.judge(targets, answers, list("abcde"), clips, protocol="")
    summary = metrics.over_seeds([report], targets, [answers], clips)
    assert summary.n_seeds == 1
    assert set(summary.std.values()) == {0.0}
    assert summary.mean["uar"] == report.metrics["uar"]
    again = metrics.over_seeds([report], targets, [answers], clips, seed=1)
    assert again.intervals != summary.intervals


def test_one_bin_holds_all_and_none_is_refused():
    targets, answers = random_answers(20)
    (only,) = metrics.reliability_bins(answers, targets, n_bins=1).counts
    assert only == 20
    with pytest.raises(SettingsError, match="n_bins is 0; expected at least 1"):
        metrics.reliability_bins(answers, targets, n_bins=0)


def test_classes_that_no_clip_has_and_nobody_answers_are_told_too():
    scores = metrics.per_class_scores([0, 0], one_hot([0, 0], 3), LABELS)
    assert list(scores) == list(LABELS)
    assert metrics.nll(np.array([[1.0 + 1e-9, 0.0]]), [0]) == 0.0, "a probability is at most 1, whatever its rounding"

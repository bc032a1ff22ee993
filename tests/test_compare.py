"""One model against another: paired, by speaker, with known answers; and what cannot be compared."""

import csv
import json

import numpy as np
import pytest

from emogram.compare import compare
from emogram.errors import InputError, SettingsError
from emogram.metrics import uar

LABELS = ("angry", "sad")


@pytest.fixture
def write(tmp_path):
    """Return a function that stores answers, right or wrong for each clip, and returns the run's folder."""

    def write(name, right, *, speakers=None, seed=None, protocol=None, first=0):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        speakers = speakers or [f"s{i // 4}" for i in range(len(right))]
        lines = ["file,label,speaker,seed,angry,sad"]
        for index, (good, speaker) in enumerate(zip(right, speakers, strict=True), start=first):
            label = LABELS[index % 2]
            scores = "0.8,0.2" if good == (label == "angry") else "0.2,0.8"
            lines.append(f"{name}/{index}.wav,{label},{speaker},{'' if seed is None else seed},{scores}")
        path = folder / "predictions.csv"
        before = path.read_text().splitlines() if path.exists() else lines[:1]
        path.write_text("\n".join([*before, *lines[1:]]))
        if protocol:
            (folder / "metrics.json").write_text(json.dumps({"protocol": protocol}))
        return folder

    return write


@pytest.fixture(autouse=True)
def undrawn():
    """Compare without drawing, which takes most of the time, where a test looks at figures only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("emogram.plots.differences", lambda *_, **__: None)
        patch.setattr("emogram.plots.speaker_scatter", lambda *_, **__: None)
        yield patch


def difference(comparison, metric="uar"):
    return next(each for each in comparison.differences if each.metric == metric)


def test_a_model_that_is_better_for_every_speaker_is_better_for_sure(write, tmp_path):
    # Of each speaker's four clips the first model gets all, the second one of each label.
    better, worse = write("better", [True] * 48), write("worse", [True, True, False, False] * 12)
    comparison = compare([better, worse], tmp_path / "out")
    found = difference(comparison)
    assert (found.first, found.second) == ("better", "worse")
    assert (found.value, found.low, found.high, found.probability) == (0.5, 0.5, 0.5, 1.0)
    assert found.told_apart
    assert [(model.uar, model.n_seeds) for model in comparison.models] == [(1.0, 1), (0.5, 1)]
    back = difference(compare([worse, better], tmp_path / "back"))
    assert (back.value, back.probability) == (-0.5, 0.0)


def test_a_model_is_not_better_than_itself(write, tmp_path):
    right = np.random.default_rng(0).random(48) < 0.6
    one, same = write("one", right), write("same", right)
    found = difference(compare([one, same], tmp_path / "out"))
    assert (found.value, found.low, found.high, found.probability) == (0.0, 0.0, 0.0, 0.5)
    assert not found.told_apart


def test_the_interval_is_that_of_a_slow_loop_over_drawn_speakers(write, tmp_path):
    rng = np.random.default_rng(0)
    first, second = rng.random(48) < 0.7, rng.random(48) < 0.6
    found = difference(compare([write("one", first), write("other", second)], tmp_path / "out"))
    truth = np.arange(48) % 2
    values = []
    for _ in range(4000):
        clips = np.concatenate([4 * drawn + np.arange(4) for drawn in rng.integers(12, size=12)])
        one, other = (uar(truth[clips], np.where(right, truth, 1 - truth)[clips]) for right in (first, second))
        values.append(one - other)
    assert (found.low, found.high) == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=0.012)
    assert found.probability == pytest.approx(np.mean(np.sign(values) + 1) / 2, abs=0.02)


def test_pairing_tells_apart_what_unpaired_intervals_do_not(write, tmp_path):
    """Half the voices are hard for both models; the first is a little better throughout."""
    hard, easy = [False] * 4, [True] * 4
    first = [*hard[:3], True, *easy] * 6
    second = [*hard, *easy[:3], False] * 6
    comparison = compare([write("one", first), write("other", second)], tmp_path / "out")
    one, other = comparison.models
    assert one.uar_interval[0] < other.uar_interval[1], "each by itself they overlap"
    assert difference(comparison).told_apart


def test_seeds_are_averaged_in_the_figure(write, tmp_path):
    for seed, right in enumerate(([True] * 48, [True, True, False, False] * 12)):
        two = write("two", right, seed=seed)
    comparison = compare([two, write("other", [True] * 48)], tmp_path / "out")
    assert (comparison.models[0].n_seeds, comparison.models[0].uar) == (2, 0.75)
    assert difference(comparison).value == -0.25


def test_every_pair_is_compared_and_written(write, tmp_path):
    runs = [write(name, np.random.default_rng(i).random(48) < 0.5) for i, name in enumerate("abc")]
    comparison = compare(runs, tmp_path / "out")
    assert [(each.first, each.second) for each in comparison.differences[::2]] == [("a", "b"), ("a", "c"), ("b", "c")]
    with (tmp_path / "out" / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["value"]) for row in rows] == pytest.approx(
        [each.value for each in comparison.differences], abs=1e-6
    )
    written = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert written == json.loads(json.dumps(comparison.to_dict()))


def test_the_plots_are_drawn(write, tmp_path, undrawn):
    undrawn.undo()
    comparison = compare([write("one", [True] * 48), write("other", [True, False] * 24)], tmp_path / "out")
    assert sorted(comparison.files) == sorted((tmp_path / "out").iterdir())
    assert {file.name for file in comparison.files if file.suffix == ".png"} == {"differences.png", "per_speaker.png"}


def test_clips_that_not_both_judged_are_left_out_and_counted(write, tmp_path):
    comparison = compare([write("long", [True] * 48), write("short", [True] * 40)], tmp_path / "out")
    assert comparison.n_clips == 40
    assert "8 clips of long left out, which not all models judged" in comparison.warnings


def test_different_protocols_few_and_unknown_speakers_are_warned_of(write, tmp_path):
    one, other = write("one", [True] * 48, protocol="P1; fold 0"), write("other", [True] * 48, protocol="P1; fold 1")
    assert compare([one, other], tmp_path / "same").warnings == ()
    third = write("third", [True] * 48, protocol="P2; fold 0")
    (warning,) = compare([one, third], tmp_path / "out").warnings
    assert warning.startswith("different protocols: one under 'P1' and third under 'P2'")
    few = [write(name, [True] * 8) for name in ("few", "fewer")]
    assert compare(few, tmp_path / "few-out").warnings == (
        "2 speakers: the intervals are too narrow to tell of other voices",
    )
    nobody = [write(name, [True] * 8, speakers=[""] * 8) for name in ("no", "body")]
    comparison = compare(nobody, tmp_path / "nobody-out")
    assert comparison.warnings == ("no speakers known: the intervals are too narrow to tell of other voices",)
    assert "per_speaker.png" not in {file.name for file in comparison.files}


def test_what_cannot_be_compared_is_refused(write, tmp_path):
    one, mislabelled = write("one", [True] * 8), write("mislabelled", [True] * 8)
    path = mislabelled / "predictions.csv"
    path.write_text(path.read_text().replace("0.wav,angry", "0.wav,sad"))
    with pytest.raises(SettingsError, match="1 run; a comparison needs at least two"):
        compare([one], tmp_path / "out")
    with pytest.raises(SettingsError, match="is given twice; expected different runs"):
        compare([one, one], tmp_path / "out")
    with pytest.raises(InputError, match="hold no clip in common"):
        compare([one, write("other", [True] * 8, first=8)], tmp_path / "out")
    with pytest.raises(InputError, match=r"is 'angry' in .* and 'sad' in"):
        compare([one, mislabelled], tmp_path / "out")
    alone = [write(name, [True] * 8, speakers=["only"] * 8) for name in ("a", "b")]
    with pytest.raises(InputError, match="all 8 clips are of the speaker only; one voice tells nothing of others"):
        compare(alone, tmp_path / "out")

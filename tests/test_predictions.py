"""Stored predictions read back: seeds and folds told apart, the same clips found, everything else refused."""

import json

import numpy as np
import pytest

from emogram.errors import InputError
from emogram.predictions import averaged, in_one_order, on_shared_clips, read_predictions
from emogram.protocols import PROTOCOLS


def write(path, *lines, header="file,label,angry,sad"):
    path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return path


def test_a_file_of_two_seeds_is_two_sets_each_in_its_own_order(tmp_path):
    path = write(
        tmp_path / "a.csv",
        "x.wav,1,0,0,angry,0.75,0.25", "x.wav,1,0,7,angry,0.5,0.5", "y.wav,2,1,0,sad,0.4,0.6", "y.wav,2,1,7,sad,0,1",
        header="file,actor,fold,seed,label,angry,sad",
    )  # fmt: skip
    first, second = read_predictions([path])
    assert (first.name, second.name, second.seed) == ("seed 0", "seed 7", "7")
    assert [clip.path.name for clip in second.clips] == ["x.wav", "y.wav"]
    assert [clip.speaker for clip in first.clips] == ["1", "2"]
    assert [clip.extra["fold"] for clip in first.clips] == ["0", "1"]
    assert first.probabilities.tolist() == [[0.75, 0.25], [0.4, 0.6]]
    assert first.targets().tolist() == [0, 1]
    assert not first.abstained.any()


def test_folds_in_files_of_their_own_are_pooled_and_models_of_the_same_clips_are_not(tmp_path):
    folds = [write(tmp_path / f"{name}.csv", f"{name}.wav,sad,0.5,0.5") for name in "ab"]
    (pooled,) = read_predictions(folds)
    assert [clip.path.name for clip in pooled.clips] == ["a.wav", "b.wav"]
    one, other = read_predictions([folds[0], folds[0]])
    assert len(one) == len(other) == 1
    assert (one.name, other.name) == (f"{folds[0]} (1)", f"{folds[0]} (2)")


def test_names_of_ravdess_tell_actor_gender_and_intensity_unless_they_contradict_the_file(tmp_path):
    path = write(tmp_path / "a.csv", "03-01-05-02-01-01-02.flac,angry,0.5,0.5", "03-01-05-01-01-01-01.flac,sad,0.5,0.5")
    (said,) = read_predictions([path])
    known, contradicted = said.clips
    assert (known.speaker, known.corpus) == ("02", "ravdess")
    assert (known.extra["gender"], known.extra["intensity"]) == ("female", "strong")
    assert (contradicted.speaker, dict(contradicted.extra)) == (None, {})


def test_test_folds_of_a_protocol_are_recognised_and_said_to_be_a_part_where_they_are(tmp_path):
    folds = PROTOCOLS["ravdess-si5"].folds
    lines = [
        f"03-01-05-01-01-01-{actor}.wav,{actor},{number},angry,0.5,0.5"
        for number, fold in enumerate(folds)
        for actor in fold.test
    ]
    path = write(tmp_path / "a.csv", *lines, header="file,speaker,fold,label,angry,sad")
    (said,) = read_predictions([path])
    assert said.protocol.startswith("RAVDESS-SI5") and "24 of its 1440 clips" in said.protocol
    path = write(tmp_path / "b.csv", *lines[1:], header="file,speaker,fold,label,angry,sad")
    assert read_predictions([path])[0].protocol == "stored predictions, protocol not stated"


def test_the_report_beside_them_tells_protocol_and_allowed_leaks(tmp_path):
    write(tmp_path / "predictions.csv", "x.wav,angry,0.5,0.5")
    facts = {"protocol": "own; fold 3; seed 2; 95 % intervals resample 5 speakers", "allowed_leaks": ["a leak"]}
    (tmp_path / "metrics.json").write_text(json.dumps(facts))
    (said,) = read_predictions([tmp_path])
    assert (said.protocol, said.allowed_leaks) == ("own; fold 3", ("a leak",))


def test_pieces_of_one_recording_are_clips_of_their_own(tmp_path):
    path = write(
        tmp_path / "a.csv", "x.wav,0.0,1.5,angry,0.5,0.5", "x.wav,1.5,3.0,sad,0.5,0.5",
        header="file,start_s,end_s,label,angry,sad",
    )  # fmt: skip
    (said,) = read_predictions([path])
    assert [(clip.start_s, clip.end_s) for clip in said.clips] == [(0.0, 1.5), (1.5, 3.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns none"),
        ("file,angry,sad\nx.wav,0.5,0.5\n", "columns file, angry, sad"),
        ("file,label,angry\nx.wav,angry,1\n", "columns file, label, angry"),
        ("file,label,angry,sad\n", "no lines in it"),
        ("file,label,angry,sad\nx.wav,angry,0.5\n", "line 2: "),
        ("file,label,angry,sad\nx.wav,angry,0.5,high\n", "line 2: could not convert string"),
        ("file,label,angry,sad\nx.wav,angry,0.5,0.1\n", "line 2: probabilities that sum to 0.6, not to 1"),
        ("file,label,angry,sad\nx.wav,angry,nan,0.1\n", "line 2: probabilities that sum to nan"),
        ("file,label,angry,sad\nx.wav,angry,-1,2\n", "line 2: probabilities"),
        ("file,label,angry,sad\nx.wav,happy,0.5,0.5\n", "x.wav: true label 'happy' is not one of angry, sad"),
        ("file,label,angry,sad\nx.wav,,0.5,0.5\n", "x.wav: true label 'None'"),
        ("file,label,angry,sad\n,sad,0.5,0.5\n", "line 2: no file named"),
        ("file,label,angry,sad\nx.wav,sad,0.5,0.5\nx.wav,sad,0.5,0.5\n", "x.wav is there 2 times"),
        ("file,label,seed,angry,sad\nx.wav,sad,1,0.5,0.5\nx.wav,sad,1,0.5,0.5\n", "x.wav is there 2 times for seed 1"),
    ],
)
def test_what_is_no_table_of_predictions_is_refused(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=f"a.csv: not the predictions of a run .{message}"):
        read_predictions([tmp_path / "a.csv"])


def test_missing_files_and_none_at_all_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"predictions\.csv: not the predictions of a run .No such file"):
        read_predictions([tmp_path])
    with pytest.raises(InputError, match="name at least one"):
        read_predictions([])


# ---------------------------------------------------------------- side by side


def read(tmp_path, *tables, header="file,label,angry,sad"):
    """Each table under the name of its place."""
    paths = [write(tmp_path / f"{index}.csv", *lines, header=header) for index, lines in enumerate(tables)]
    return [said for path in paths for said in read_predictions([path])]


def test_the_same_clips_are_found_in_other_folders_formats_and_orders(tmp_path):
    one, other = read(
        tmp_path,
        ["angry/1.wav,angry,0.9,0.1", "sad/1.wav,sad,0.2,0.8"],
        ["/elsewhere/sad/1.flac,sad,0.3,0.7", "/elsewhere/angry/1.flac,angry,0.6,0.4"],
    )
    first, second = in_one_order([one, other])
    assert [str(clip.path) for clip in first.clips] == ["angry/1.wav", "sad/1.wav"]
    assert second.probabilities.tolist() == [[0.6, 0.4], [0.3, 0.7]]


def test_an_ensemble_is_the_mean_of_probabilities(tmp_path):
    said = averaged(read(tmp_path, ["x.wav,angry,0.9,0.1"], ["x.wav,angry,0.2,0.8"]))
    np.testing.assert_allclose(said.probabilities, [[0.55, 0.45]])
    assert said.seed is None
    assert "ensemble of 2: mean of the probabilities of" in said.protocol


def test_a_label_that_one_model_does_not_know_is_never_its_answer(tmp_path):
    (one,) = read(tmp_path, ["x.wav,angry,0.9,0.1"])
    (other,) = read_predictions([write(tmp_path / "b.csv", "x.wav,angry,0.7,0.3", header="file,label,angry,happy")])
    first, second = in_one_order([one, other])
    assert first.labels == second.labels == ("angry", "happy", "sad")
    assert (first.probabilities.tolist(), second.probabilities.tolist()) == ([[0.9, 0, 0.1]], [[0.7, 0.3, 0]])


def test_clips_that_not_all_judged_are_counted_or_refused(tmp_path):
    said = read(tmp_path, ["x.wav,angry,0.9,0.1", "y.wav,sad,0.5,0.5"], ["x.wav,angry,0.2,0.8"])
    matched, left_out = on_shared_clips(said)
    assert [len(each) for each in matched] == [1, 1] and left_out == [1, 0]
    with pytest.raises(InputError, match=r"0\.csv holds 2 clips, of which 1 are not in all of"):
        in_one_order(said)


def test_nothing_in_common_and_contradicting_truths_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"hold no clip in common .x\.wav, y\.wav"):
        in_one_order(read(tmp_path, ["x.wav,angry,0.9,0.1"], ["y.wav,angry,0.9,0.1"]))
    with pytest.raises(InputError, match=r"x\.wav is 'angry' in .*0\.csv and 'sad' in .*1\.csv"):
        in_one_order(read(tmp_path, ["x.wav,angry,0.9,0.1"], ["x.wav,sad,0.9,0.1"]))

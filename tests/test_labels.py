import pytest

from emogram.corpora.labels import EMOTIONS, canonical_label, order_labels, unify_labels


def test_the_eight_emotions_stand_in_the_agreed_order():
    assert EMOTIONS == ("angry", "calm", "disgust", "fearful", "happy", "neutral", "sad", "surprised")


@pytest.mark.parametrize("label", EMOTIONS)
def test_a_canonical_label_means_itself_in_any_case(label):
    assert canonical_label(label) == canonical_label(label.upper()) == canonical_label(label.title()) == label


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("fear", "fearful"),
        ("Scared", "fearful"),
        ("anger", "angry"),
        ("ANG", "angry"),
        ("happiness", "happy"),
        ("Joy", "happy"),
        ("sadness", "sad"),
        ("disgusted", "disgust"),
        ("surprise", "surprised"),
        ("ps", "surprised"),
        ("pleasant_surprise", "surprised"),
        ("Pleasant Surprised", "surprised"),
        ("PleasantSurprise", "surprised"),
        ("01-angry", "angry"),
        ("Angry_clips", "angry"),
        ("  neutral ", "neutral"),
        ("OAF_Fear", "fearful"),
        ("08_surprised", "surprised"),
    ],
)
def test_common_variants_are_understood(name, label):
    assert canonical_label(name) == label


@pytest.mark.parametrize("name", ["", "01", "boredom", "not angry", "male_angry", "happy sad", "angryish", "Actor_01"])
def test_anything_else_is_no_canonical_label(name):
    assert canonical_label(name) is None


def test_order_is_canonical_then_alphabetical_without_repetition():
    assert order_labels(["zeal", "sad", "boredom", "angry", "sad"]) == ("angry", "sad", "boredom", "zeal")


def test_foreign_labels_that_differ_by_case_or_spaces_are_one_as_first_spelt():
    names = ["Very bored", "very  BORED ", "Fear", "fearful"]
    assert unify_labels(names) == {
        "Very bored": "Very bored",
        "very  BORED ": "Very bored",
        "Fear": "fearful",
        "fearful": "fearful",
    }

"""The named protocols are those of PROTOCOLS.md, to the letter."""

import pytest

from emogram.errors import SettingsError
from emogram.protocols import PROTOCOLS, RANDOM_WARNING, find_protocol

ACTORS = {f"{number:02d}" for number in range(1, 25)}

# Copied from the table in PROTOCOLS.md, P1.
TABLE = {
    0: ("2 5 14 15 16", "3 6"),
    1: ("3 6 7 13 18", "10 11"),
    2: ("10 11 12 19 20", "8 17"),
    3: ("8 17 21 23 24", "1 14"),
    4: ("1 4 9 22", "2 5"),
}


@pytest.mark.parametrize("fold", TABLE)
def test_ravdess_si5_has_the_actors_of_the_table(fold):
    test, validation = ({f"{int(actor):02d}" for actor in actors.split()} for actors in TABLE[fold])
    found = PROTOCOLS["ravdess-si5"].folds[fold]
    assert set(found.test) == test
    assert set(found.validation) == validation
    assert not test & validation


def test_ravdess_si5_tests_each_actor_once():
    folds = PROTOCOLS["ravdess-si5"].folds
    tested = [actor for fold in folds for actor in fold.test]
    assert len(folds) == 5
    assert sorted(tested) == sorted(ACTORS)


def test_random80_validates_a_fifth_and_says_that_speakers_are_shared():
    protocol = find_protocol("random80")
    assert (protocol.random_share, protocol.folds, protocol.corpus) == (0.2, (), None)
    assert "random split, speakers shared" in protocol.says
    assert RANDOM_WARNING in protocol.says


def test_names_are_those_of_the_dict():
    assert all(find_protocol(name).name == name for name in PROTOCOLS)


def test_an_unknown_protocol_is_answered_with_the_known_ones():
    with pytest.raises(SettingsError, match="unknown protocol 'p1'; expected one of ravdess-si5, random80"):
        find_protocol("p1")

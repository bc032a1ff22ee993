"""The study without any training: what is asked, what is stopped, and that a kill changes nothing."""

from __future__ import annotations

import dataclasses
import math
import sys

import pytest

from emogram.config import RunConfig
from emogram.errors import EmogramError, MissingExtraError, OutputError
from emogram.records import FoldFigures, Trial
from emogram.tuning.space import read_space
from emogram.tuning.study import TRIES, Plan, opened, rank
from emogram.tuning.trials import Outcome

pytest.importorskip("optuna")

PLAN = Plan(objective="uar", pruner="median", seed=0, n_folds=2, most_epochs=4, n_labels=4)


@pytest.fixture(autouse=True)
def without_waiting_for_the_disk():
    """SQLite waits for the disk at each commit, which a busy machine makes slow."""
    from sqlalchemy import Engine, event

    def hurry(connection, _):
        connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", hurry)
    yield
    event.remove(Engine, "connect", hurry)


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    path = tmp_path_factory.mktemp("space") / "space.toml"
    path.write_text(
        "[train]\nlearning_rate = { low = 1e-4, high = 1e-1, log = true }\n"
        "[network]\ndropout = { low = 0.0, high = 0.8 }"
    )
    return read_space(path)


@pytest.fixture
def open_study(space, tmp_path):
    """Open the study in a folder."""

    def open_study(plan=PLAN, base=None, folder=tmp_path / "study"):
        return opened(folder, plan, space, base or RunConfig())

    return open_study


def goodness(config):
    """A known hill: best at a learning rate of 0.01 and a dropout of 0.3."""
    return 0.9 - 0.1 * (math.log10(config.train.learning_rate) + 2) ** 2 - (config.network.dropout - 0.3) ** 2


def outcome_of(config, n_epochs=4, n_folds=2):
    uar = goodness(config)
    losses = tuple((2 - uar) / epoch**0.1 for epoch in range(1, n_epochs + 1))
    folds = [FoldFigures(fold, n_epochs, losses[-1], uar + (0.02, -0.02)[fold], uar, losses) for fold in range(n_folds)]
    return Outcome(tuple(folds), pruned=False, diverged=False, seconds=1.0)


def run(study, most, *, stop_after=None):
    """Do trials until there are `most`; leave the last of `stop_after` running, as a killed process does."""
    while study.n_left(most):
        job = study.ask()
        if job.number == stop_after:
            return
        study.tell(job.number, outcome_of(job.config))


def facts(study):
    return [(trial.number, trial.state, trial.value, dict(trial.settings)) for trial in study.trials()]


def test_the_settings_given_are_tried_first_and_the_search_climbs_the_hill(open_study):
    with open_study() as study:
        assert study.begin({"a": 1}) == []
        run(study, 40)
        trials = study.trials()
        assert [trial.number for trial in trials] == list(range(1, 41))
        assert trials[0].settings == {"train.learning_rate": 5e-3, "network.dropout": 0.4}
        best = study.best()
        assert best.value == max(trial.value for trial in trials) > 0.88
        assert best.value == pytest.approx(goodness(study.settings_of(best)))
        random, later = trials[1:10], trials[25:]
        assert sum(t.value for t in later) / len(later) > sum(t.value for t in random) / len(random)
        shares = study.importances()
        assert sum(shares.values()) == pytest.approx(1.0)
        assert shares.keys() == {"train.learning_rate", "network.dropout"}


def test_settings_outside_the_space_are_not_tried_first(open_study):
    with open_study(base=RunConfig.from_dict({"network": {"dropout": 0.9}})) as study:
        assert study.begin({}) == ["network.dropout"]
        assert study.ask().config.network.dropout != 0.9


@pytest.mark.parametrize("killed_at", [1, 3, 12, 15])
def test_a_study_that_was_killed_goes_on_to_the_same_trials_to_the_bit(open_study, tmp_path, killed_at):
    with open_study(folder=tmp_path / "whole") as study:
        study.begin({})
        run(study, 16)
        whole = facts(study)
    with open_study() as study:
        study.begin({})
        run(study, 16, stop_after=killed_at)
    with open_study() as study:
        assert study.about() == {}
        assert study.trials()[-1].state == "running"
        assert study.take_up() == [killed_at]
        run(study, 16)
        assert facts(study) == whole
        states = [trial.state.name for trial in study._frozen()]
        assert states.count("FAIL") == 1 and len(states) == 17


def test_a_trial_whose_process_dies_again_and_again_is_given_up_unless_it_comes_further(open_study):
    with open_study() as study:
        study.begin({})
        study.ask()
    for _ in range(TRIES - 1):
        with open_study() as study:
            assert study.take_up() == [1]
            assert study.ask().number == 1
    with open_study() as study:
        assert study.take_up() == []
        (given_up,) = study.trials()
        assert (given_up.state, given_up.error) == ("failed", "its process died")
        assert study.ask().number == 2
    for step in range(1, TRIES + 2):
        with open_study() as study:
            assert study.take_up() == [2]
            assert study.ask().number == 2
            study.measured(2, step, 1.0)


def test_bad_trials_are_stopped_within_any_fold_and_good_ones_are_not(open_study):
    """Losses of the second fold are higher for all: only what others had at the same step counts."""
    with open_study() as study:
        study.begin({})

        def train(loss_of):
            job = study.ask()
            for fold in (0, 1):
                for epoch in range(1, 5):
                    if study.measured(job.number, 4 * fold + epoch, loss_of(fold, epoch)):
                        study.tell(job.number, Outcome((), pruned=True, diverged=False, seconds=0.0))
                        return fold, epoch
            study.tell(job.number, outcome_of(job.config))
            return None

        for _ in range(5):
            assert train(lambda fold, epoch: 1.0 + 0.3 * fold - 0.1 * epoch) is None
        assert train(lambda fold, epoch: 0.9 + 0.3 * fold - 0.1 * epoch) is None
        assert train(lambda fold, epoch: 1.1 + 0.3 * fold - 0.1 * epoch) == (0, 1)
        assert train(lambda fold, epoch: 1.0 + 0.4 * fold - 0.1 * epoch) == (1, 1)
        assert train(lambda fold, epoch: math.inf) == (0, 1)
        assert train(lambda fold, epoch: 9.0 if epoch == 1 and not fold else 0.5) == (0, 1)
        assert [trial.state for trial in study.trials()][-4:] == ["pruned"] * 4
        assert study.trials()[6].value is None
        assert study.best().state == "complete"


@pytest.mark.parametrize("pruner", ["median", "none"])
def test_no_trial_is_stopped_at_its_very_end_nor_where_none_is_to_be(open_study, pruner):
    with open_study(dataclasses.replace(PLAN, pruner=pruner, n_folds=1)) as study:
        study.begin({})
        for _ in range(6):
            job = study.ask()
            assert not any([study.measured(job.number, epoch, 1.0 - 0.1 * epoch) for epoch in range(1, 5)])
            study.tell(job.number, outcome_of(job.config, n_folds=1))
        job = study.ask()
        told = [
            study.measured(job.number, epoch, 1.0 - 0.2 * min(epoch, 3) if epoch < 4 else 9.0) for epoch in range(1, 5)
        ]
        assert told == [False] * 4


def test_hyperband_stops_bad_trials_too(open_study):
    with open_study(dataclasses.replace(PLAN, pruner="hyperband", most_epochs=9, n_folds=1)) as study:
        study.begin({})
        stopped = {}
        for number in range(1, 25):
            job = study.ask()
            loss = 1.3 if number % 2 else 0.5
            stopped[number] = any([study.measured(job.number, epoch, loss) for epoch in range(1, 10)])
            study.tell(job.number, Outcome((), pruned=stopped[number], diverged=False, seconds=0.0)
                       if stopped[number] else outcome_of(job.config, n_epochs=9, n_folds=1))  # fmt: skip
        bad = sum(stopped[number] for number in stopped if number % 2)
        good = sum(stopped[number] for number in stopped if not number % 2)
        assert bad > 4 and good < bad


def test_a_figure_that_comes_late_or_twice_changes_nothing(open_study):
    with open_study() as study:
        study.begin({})
        job = study.ask()
        assert study.measured(job.number, 1, 1.0) is False
        assert study.measured(job.number, 1, 5.0) is False
        told = study.tell(job.number, outcome_of(job.config))
        assert study.measured(job.number, 2, 1.0) is False
        assert told.value == pytest.approx(goodness(job.config))
        assert [len(fold.losses) for fold in told.folds] == [4, 4]
        (frozen,) = study._frozen()
        assert sorted(frozen.intermediate_values) == list(range(1, 9)), "what was on its way is kept"


def test_diverged_refused_and_failed_trials_are_told_apart(open_study, space, tmp_path):
    with open_study() as study:
        study.begin({})
        first = study.ask()
        diverged = study.tell(first.number, Outcome((), pruned=False, diverged=True, seconds=1.0))
        second = study.ask()
        failed = study.tell(second.number, EmogramError("no memory"))
        assert (diverged.state, failed.state, failed.error) == ("diverged", "failed", "no memory")
        assert study.best() is None
        assert study.importances() == {}
        run(study, 3)
        assert study.best().number == 3


def test_loss_is_made_low_and_equals_are_ranked_by_loss(open_study):
    with open_study(dataclasses.replace(PLAN, objective="loss")) as study:
        study.begin({})
        run(study, 4)
        losses = {trial.number: trial.value for trial in study.trials()}
        assert losses[study.best().number] == min(losses.values())
    figures = FoldFigures(0, 1, 0.5, 0.6, 0.6, (0.5,))
    one = Trial(1, "complete", 0.6, {}, (figures,))
    other = Trial(2, "complete", 0.6, {}, (dataclasses.replace(figures, loss=0.4),))
    assert rank([one, other, Trial(3, "pruned", None, {}, (figures,))], "uar") == (other, one)


# ---------------------------------------------------------------- the file


def test_folders_with_any_name_hold_a_study_and_one_process_at_a_time(open_study, tmp_path):
    folder = tmp_path / "a b?c#d%20e=ü"
    with open_study(folder=folder) as study:
        study.begin({})
        run(study, 2)
        with (
            pytest.raises(OutputError, match="another process is tuning there"),
            open_study(folder=folder),
        ):
            pass
    assert (folder / "study.db").is_file()
    with open_study(folder=folder) as study:
        assert len(study.trials()) == 2


def test_a_damaged_file_is_told_with_what_to_do(open_study, tmp_path):
    with open_study() as study:
        study.begin({})
    (tmp_path / "study" / "study.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(OutputError, match=r"study\.db: cannot be used .*--overwrite"), open_study():
        pass


def test_a_folder_that_cannot_be_made_is_told(open_study, tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OutputError, match="a file stands where a folder should be"),
        open_study(folder=tmp_path / "file"),
    ):
        pass


def test_without_optuna_the_extra_is_named(open_study, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"tuning needs .*\[tune\]"), open_study():
        pass
    assert not (tmp_path / "study").exists()


def test_optuna_says_nothing_and_is_left_as_it_was(open_study, capfd):
    import optuna

    before = optuna.logging.get_verbosity()
    with open_study() as study:
        study.begin({})
        run(study, 3)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")

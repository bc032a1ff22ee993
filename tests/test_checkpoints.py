"""What a training left on disk: whole or named as damaged, and what cannot be written or removed is told."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from emogram import checkpoints as module
from emogram.checkpoints import FORMAT, Checkpoint, Checkpoints, is_unfinished, mark_finished, unfinished
from emogram.errors import ModelError, OutputError, SettingsError

STATE = {
    "epoch": np.int64(3),
    "loss": [0.1, float("nan"), float("inf"), np.float32(0.5)],
    "weights": (np.arange(6, dtype=np.float32).reshape(2, 3), np.asfortranarray(np.eye(3)), np.zeros((0, 4))),
    "parts": {"none": None, "yes": True},
}


def refuses(number: int):
    def call(*_, **__):
        raise OSError(number, os.strerror(number))

    return call


def test_all_kinds_of_values_come_back_as_they_were(tmp_path):
    Checkpoints(tmp_path).write(Checkpoint({"settings": {"seed": 1}}, STATE))
    found, problems = Checkpoints(tmp_path).newest()
    assert problems == []
    assert found.about == {"settings": {"seed": 1}}
    assert found.state["epoch"] == 3
    assert type(found.state["epoch"]) is int
    np.testing.assert_equal(found.state["loss"], [0.1, np.nan, np.inf, 0.5])
    for one, other in zip(found.state["weights"], STATE["weights"], strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    assert found.state["parts"] == STATE["parts"]


def test_two_generations_stand_and_the_one_before_counts_where_the_newest_cannot_be_read(tmp_path, monkeypatch):
    kept = Checkpoints(tmp_path)
    for epoch in range(4):
        kept.write(Checkpoint({}, {"epoch": epoch}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000003.checkpoint", "00000004.checkpoint"]
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: refuses(errno.EIO)() if "4.check" in path.name else read(path))
    found, problems = Checkpoints(tmp_path).newest()
    assert found.state == {"epoch": 2}
    assert problems == [f"{tmp_path / '00000004.checkpoint'}: cannot be read ({os.strerror(errno.EIO)})"]


def test_the_next_one_after_a_damaged_one_takes_its_place(tmp_path):
    kept = Checkpoints(tmp_path)
    for epoch in range(2):
        kept.write(Checkpoint({}, {"epoch": epoch}))
    newest = tmp_path / "00000002.checkpoint"
    newest.write_bytes(newest.read_bytes()[:-1])
    again = Checkpoints(tmp_path)
    assert again.newest()[1] == [f"{newest}: is damaged"]
    again.write(Checkpoint({}, {"epoch": 7}))
    assert Checkpoints(tmp_path).newest()[0].state == {"epoch": 7}


def test_a_format_of_another_version_is_named(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FORMAT", FORMAT + 1)
        Checkpoints(tmp_path).write(Checkpoint({}, STATE))
    with pytest.raises(ModelError, match=rf"\(format {FORMAT + 1}, here {FORMAT}\); go on with that version, or begin"):
        Checkpoints(tmp_path).newest()


def test_what_cannot_be_removed_is_told_and_those_that_count_stand(tmp_path, monkeypatch):
    kept = Checkpoints(tmp_path)
    for epoch in range(2):
        kept.write(Checkpoint({}, {"epoch": epoch}))
    monkeypatch.setattr(Path, "unlink", refuses(errno.EROFS))
    with pytest.raises(OutputError, match="cannot be written to"):
        kept.write(Checkpoint({}, {"epoch": 2}))
    assert Checkpoints(tmp_path).newest()[0].state == {"epoch": 2}
    with pytest.raises(OutputError, match="cannot be written to"):
        kept.clear()


# ---------------------------------------------------------------- a run that has not come to its end


def test_a_run_is_unfinished_from_its_beginning_to_its_end(tmp_path):
    run = tmp_path / "run"
    with unfinished(run):
        assert is_unfinished(run)
        with pytest.raises(OutputError, match="another process is training there"), unfinished(run):
            pass
    assert is_unfinished(run)
    mark_finished(run)
    assert list(run.iterdir()) == []


@pytest.mark.parametrize("saved", [False, True])
def test_what_fails_before_anything_was_saved_leaves_no_mark(tmp_path, saved):
    with pytest.raises(SettingsError, match="the mistake"), unfinished(tmp_path):
        if saved:
            Checkpoints(tmp_path / "checkpoints").write(Checkpoint({}, {}))
        raise SettingsError("the mistake")
    assert is_unfinished(tmp_path) is saved


def test_a_bug_or_an_interrupt_leaves_no_folder_behind_that_holds_nothing_else(tmp_path):
    with pytest.raises(KeyboardInterrupt), unfinished(tmp_path / "run"):
        raise KeyboardInterrupt
    assert list((tmp_path / "run").iterdir()) == []
    with pytest.raises(KeyboardInterrupt), unfinished(tmp_path / "run"):
        (tmp_path / "run" / "environment.json").touch()
        raise KeyboardInterrupt
    assert is_unfinished(tmp_path / "run")


def test_a_folder_that_cannot_be_written_is_told_at_each_step(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a file stands where a folder should be"), unfinished(tmp_path / "file"):
        pass
    with monkeypatch.context() as patch, pytest.raises(OutputError, match="cannot be written to"):
        patch.setattr(module, "remove_half_written", refuses(errno.EROFS))
        with unfinished(tmp_path / "run"):
            pass
    with unfinished(tmp_path / "run"):
        pass
    monkeypatch.setattr(Path, "rmdir", refuses(errno.EROFS))
    with pytest.raises(OutputError, match="cannot be written to"):
        mark_finished(tmp_path / "run")


def test_the_head_of_a_checkpoint_is_a_line_of_json(tmp_path):
    """So that another program, or a person, can look into it; nothing in it is pickled."""
    Checkpoints(tmp_path).write(Checkpoint({"seed": 1}, {"weights": np.zeros(2, np.float32)}))
    content = (tmp_path / "00000001.checkpoint").read_bytes()
    head, _, arrays = content[32:].partition(b"\n")
    told = json.loads(head)
    assert told == {"format": 1, "about": {"seed": 1}, "state": {"weights": {"array": 0}}, "arrays": [["<f4", [2]]]}
    assert arrays == bytes(8)

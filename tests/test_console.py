"""What a person sees, on a terminal and in a log."""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from emogram import console
from emogram.console import RichProgress
from emogram.corpora.describe import Description, Duplicates, Problem
from emogram.doctor import Check
from emogram.records import Clip, CorpusPair, Prediction, Report


def printed(view: object, width: int = 100) -> str:
    output = Console(file=io.StringIO(), width=width, color_system=None)
    output.print(view)
    text = output.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines())


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def log() -> Iterator[tuple[RichProgress, Clock, io.StringIO]]:
    """A progress that writes to what is no terminal, with a clock that the test sets."""
    output, clock = io.StringIO(), Clock()
    yield RichProgress(Console(file=output, width=200, soft_wrap=True, markup=False), clock=clock), clock, output


def test_a_log_has_a_line_at_the_beginning_and_one_at_the_end(log):
    progress, clock, output = log
    with progress.task("reading", 1440) as task:
        task.advance(1440)
        clock.seconds += 12.0
    assert output.getvalue().splitlines() == [
        "reading: 1,440 clips",
        "reading: 1,440 clips in 12 s (120 clips/s)",
    ]


def test_a_log_hears_of_a_long_task_every_ten_seconds_at_most(log):
    progress, clock, output = log
    with progress.task("training", 100, unit="steps") as task:
        for _ in range(50):
            clock.seconds += 1.0
            task.advance(note="loss 1.23")
    lines = output.getvalue().splitlines()[1:-1]
    assert lines == [
        "training: 10 of 100 steps, 1 steps/s, 1 min 30 s left, loss 1.23",
        "training: 20 of 100 steps, 1 steps/s, 1 min 20 s left, loss 1.23",
        "training: 30 of 100 steps, 1 steps/s, 1 min 10 s left, loss 1.23",
        "training: 40 of 100 steps, 1 steps/s, 1 min 0 s left, loss 1.23",
        "training: 50 of 100 steps, 1 steps/s, 50 s left, loss 1.23",
    ]


def test_a_task_that_ends_early_says_how_far_it_came(log):
    progress, clock, output = log
    with pytest.raises(KeyboardInterrupt), progress.task("training", 100) as task:
        task.advance(30)
        clock.seconds += 3.0
        raise KeyboardInterrupt
    assert output.getvalue().splitlines()[-1] == "training: 30 of 100 clips in 3.0 s (10 clips/s)"


def test_a_short_task_within_another_leaves_no_line_in_a_log(log):
    progress, clock, output = log
    with progress.task("folds", 2, unit="folds") as folds:
        for seconds in (1.0, 30.0):
            with progress.task("training", 2) as task:
                task.advance()
                clock.seconds += seconds
                task.advance(0)
            folds.advance()
    lines = output.getvalue().splitlines()
    assert [line for line in lines if line.startswith("training")] == [
        "training: 1 of 2 clips, 0.033 clips/s, 30 s left",
        "training: 1 of 2 clips in 30 s (0.033 clips/s)",
    ]
    assert lines[-1].startswith("folds: 2 folds in 31 s")


def test_words_in_a_log_stay_one_line_however_long(log):
    progress, _, output = log
    progress.say("a\nb " + "x" * 500)
    assert output.getvalue() == "a\\nb " + "x" * 500 + "\n"


def terminal() -> tuple[RichProgress, io.StringIO]:
    output = io.StringIO()
    return RichProgress(Console(file=output, force_terminal=True, width=120, highlight=False)), output


def test_a_terminal_shows_bars_with_count_and_note_and_keeps_what_was_said():
    progress, output = terminal()
    with progress.task("cross-validating", 5, unit="folds"), progress.task("fold 1", 288) as task:
        task.advance(144, note="loss 1.23")
        progress.say("epoch 1 done")
        assert progress._bars is not None
        progress._bars.refresh()
    text = output.getvalue()
    for words in ("cross-validating", "fold 1", "144/288", "loss 1.23", "epoch 1 done\n"):
        assert words in text
    assert "cross-validating: 0 of 5 folds in" in text
    assert progress._bars is None, "the display has ended"


def test_tasks_of_several_threads_share_one_display():
    progress, output = terminal()

    def work(name: str) -> None:
        with progress.task(name, 50) as task:
            for _ in range(50):
                task.advance()

    with progress.task("all", 4, unit="folds"):
        threads = [threading.Thread(target=work, args=(f"fold {number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert progress._bars is None
    assert "all: 0 of 4 folds in" in output.getvalue()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (9.9, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (7805.0, "2 h 10 min")],
)
def test_durations_in_words(seconds, words):
    assert console.duration(seconds) == words


@pytest.mark.parametrize(("steps", "words"), [(0, "0 clips/s"), (8.44, "4.2 clips/s"), (3000, "1,500 clips/s")])
def test_rates_in_words(steps, words):
    assert console.rate(steps, 2.0, "clips") == words


def test_control_characters_become_escapes_and_letters_stay():
    assert console.one_line("Gefühl: wütend\n\x1b[31mx\udcff") == "Gefühl: wütend\\n\\x1b[31mx\\udcff"


def test_errors_and_notes_are_single_lines_on_stderr(capsys):
    console.error("first\nsecond [bold]x[/bold] " + "y" * 300)
    console.note("look")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"error: first\\nsecond [bold]x[/bold] {'y' * 300}\nnote: look\n"


def prediction(*, abstained: bool = False) -> Prediction:
    return Prediction("angry", {"angry": 0.5, "calm": 0.125, "sad": 0.375}, 0.5, abstained)


def test_one_prediction_shows_every_probability_by_rank_with_bars():
    lines = printed(console.prediction_view("a.wav", prediction())).splitlines()
    assert lines[0] == "a.wav: angry 50.0 %"
    assert [line.split() for line in lines[3:]] == [
        ["angry", "50.0", "%", "█" * 15],
        ["sad", "37.5", "%", "█" * 11 + "▎"],
        ["calm", "12.5", "%", "█" * 3 + "▊"],
    ]


def test_the_most_probable_are_enough_where_few_are_asked_for():
    text = printed(console.prediction_view("a.wav", prediction(), top_k=2))
    assert "sad" in text
    assert "calm" not in text


def test_an_answer_below_the_threshold_is_called_unsure():
    assert "unsure" in printed(console.prediction_view("a.wav", prediction(abstained=True)))
    assert "angry unsure" in printed(console.predictions_table([("a.wav", prediction(abstained=True))]))
    assert "unsure" not in printed(console.prediction_view("a.wav", prediction()))


def test_several_predictions_take_a_line_each_with_what_comes_next():
    text = printed(console.predictions_table([("a.wav", prediction()), ("[b].wav", prediction())], top_k=2))
    rows = [line.split() for line in text.splitlines()[2:]]
    assert rows == [
        ["a.wav", "angry", "50.0", "%", "█████", "sad", "37.5", "%"],
        ["[b].wav", "angry", "50.0", "%", "█████", "sad", "37.5", "%"],
    ]


def report(**groups: dict[str, dict[str, float]]) -> Report:
    return Report(
        labels=("angry", "sad"),
        metrics={"uar": 0.75, "accuracy": 0.7, "macro_f1": math.nan, "ece": 0.0432, "nll": 1.2, "brier": 0.3}
        | {"n_clips": 1440},
        per_class={
            "angry": {"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "support": 700},
            "sad": {"precision": math.nan, "recall": 0.5, "f1": 0.0, "support": 740},
        },
        per_group=groups,
        confusion=((1, 0), (1, 1)),
        intervals={"uar": (0.7, 0.8)},
        protocol="RAVDESS-SI5: five folds by actor",
    )


def test_a_report_shows_metrics_with_intervals_and_each_emotion():
    lines = [line.split() for line in printed(console.report_view(report(), title="Judged")).splitlines()]
    assert lines[0] == ["Judged"]
    assert lines[1] == ["RAVDESS-SI5:", "five", "folds", "by", "actor"]
    assert ["UAR", "(mean", "recall", "of", "the", "emotions)", "75.0", "%", "70.0", "%", "to", "80.0", "%"] in lines
    assert ["accuracy", "70.0", "%"] in lines
    assert ["ECE", "(calibration", "error)", "0.043"] in lines
    assert ["clips", "1,440"] in lines
    assert ["angry", "50.0", "%", "100.0", "%", "66.7", "%", "700"] in lines
    assert ["sad", "–", "50.0", "%", "0.0", "%", "740"] in lines
    assert not [line for line in lines if line[:1] == ["macro"]], "a metric that does not exist has no line"


def test_few_groups_are_listed_and_of_many_the_lowest_and_highest():
    few = {"female": {"uar": 0.8}, "male": {"uar": 0.7}}
    many = {f"{number:02d}": {"uar": number / 10} for number in range(1, 7)}
    text = printed(console.report_view(report(gender=few, speaker=many, corpus={"ravdess": {"uar": 0.75}}), title=""))
    assert "UAR by gender: male 70.0 %, female 80.0 %" in text
    assert "UAR by speaker, of 6: lowest 01 10.0 %, 02 20.0 %; highest 06 60.0 %, 05 50.0 %" in text
    assert "by corpus" not in text, "one group is no comparison"


def test_failures_are_counted_and_each_named_on_a_line_of_stderr(capsys):
    failed = [(Clip(Path("a.wav")), "a.wav: no such file"), (Clip(Path("b.wav")), "silent\nthroughout")]
    console.failures(failed, total=1440)
    assert capsys.readouterr().err.splitlines() == [
        "2 of 1,440 clips failed:",
        "  a.wav: no such file",
        "  b.wav: silent\\nthroughout",
    ]
    console.failures([], total=3)
    assert capsys.readouterr().err == ""


def test_a_description_tells_counts_and_names_what_is_wrong():
    description = Description(
        name="made up",
        kind="audio",
        root="/corpora/made up",
        licence="unknown",
        n_clips=4,
        by_label={"angry": 3, "sad": 1},
        by_speaker={"01": 1, "02": 2},
        by_label_and_speaker={},
        n_without_speaker=1,
        by_group={"gender": {"female": 2, "male": 1}},
        imbalance=3.0,
        duration_s={"total": 75.0, "min": 0.1, "median": 2.0, "max": 70.9},
        sample_rates={8000: 1, 16000: 3},
        channels={1: 4},
        picture_sizes={},
        duplicates=(Duplicates(("angry/a.wav", "sad/b.wav"), same_label=False, same_speaker=False),),
        unreadable=(Problem("angry/bad.wav", "angry/bad.wav: the file is empty (0 bytes)"),),
        silent=(Problem("sad/quiet.wav", "peak zero"),),
        clipped=(),
        too_short=(),
        warnings=(),
    )
    text = printed(console.description_view(description), width=140)
    for words in (
        "made up (audio), /corpora/made up",
        "4; the largest class has 3 times the smallest",
        "2, with 1 to 2 clips each: 01, 02",
        "unknown of 1 clip",
        "female 2, male 1",
        "1 min 15 s in all; min 0.10 s, median 2.00 s, max 70.90 s",
        "8000 Hz (1 clip), 16000 Hz (3 clips)",
        "the same samples: angry/a.wav, sad/b.wav (with different labels: at least one is wrong)",
        "(of different speakers: a split by speaker leaks)",
        "unreadable: angry/bad.wav: the file is empty (0 bytes)",
        "silent: sad/quiet.wav: peak zero",
    ):
        assert words in text
    assert ["angry", "3", "75.0", "%", "█" * 24] in [line.split() for line in text.splitlines()]


def test_pairs_of_corpora_are_a_matrix_with_intervals_labels_and_caveats():
    pairs = [
        CorpusPair("nemo", "nemo", ("angry", "sad"), 0.8, (0.7, 0.9), (0.8,), 400, 1, "few speakers"),
        CorpusPair("nemo", "tess", ("angry", "sad"), 0.5, (0.25, 0.75), (0.5,), 700, 2),
        CorpusPair("tess", "nemo", ("angry", "happy", "sad"), 0.4, (0.3, 0.5), (0.4,), 900, 9),
    ]
    lines = printed(console.corpus_pairs_view(pairs, title="Each on each", protocol="made up")).splitlines()
    assert lines[:2] == ["Each on each", "made up"]
    cells = [" ".join(line.split()) for line in lines]
    assert cells[3] == "trained on on nemo on tess"
    assert cells[5:9] == ["nemo 80.0 %* 50.0 %", "70.0 to 90.0, 2 25.0 to 75.0, 2", "tess 40.0 % –", "30.0 to 50.0, 3"]
    assert cells[-1] == "* few speakers"


def test_checks_are_marked():
    text = printed(console.checks_table([Check("sound", True, "fine"), Check("cache", False, "full", "empty it")]))
    assert [line.split() for line in text.splitlines()[2:]] == [
        ["ok", "sound", "fine"],
        ["no", "cache", "full;", "empty", "it"],
    ]


def test_no_color_is_honoured(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    output = Console(file=io.StringIO(), force_terminal=True)
    output.print(console.predictions_table([("a.wav", prediction())]))
    assert "\x1b[3" not in output.file.getvalue()  # type: ignore[attr-defined]

"""What a person sees: progress, tables, notes and errors. Words go to stderr; what was asked for goes to stdout."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.progress import Task as Bar
from rich.table import Table
from rich.text import Text

from emogram.progress import Progress, Task
from emogram.records import (
    MAX_CORRELATION,
    Clip,
    ConditionScore,
    CorpusPair,
    Explanation,
    ExplanationCheck,
    Prediction,
    Report,
    SeedSummary,
    Segment,
    Timeline,
    Trial,
)

if TYPE_CHECKING:  # an error line must not wait for what these import
    from emogram.archive import ArchiveStatus
    from emogram.changes import Change
    from emogram.compare import Comparison
    from emogram.corpora.describe import Description, Problem
    from emogram.deploy import Deployed
    from emogram.doctor import Check

FILE_WIDTH = 160  # letters in a line where no terminal sets a limit
QUIET_S = 10.0  # between two lines on the state of a task, where no bar can be drawn

# One colour for each emotion, from the sixteen that every terminal has; the word stands beside it always.
_COLOURS = {
    "angry": "red",
    "calm": "cyan",
    "disgust": "green",
    "fearful": "magenta",
    "happy": "yellow",
    "neutral": "bright_black",
    "sad": "blue",
    "surprised": "bright_magenta",
}

_METRICS = {
    "uar": "UAR (mean recall of the emotions)",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "uar_gender_gap": "UAR, gap between genders",
    "ece": "ECE (calibration error)",
    "nll": "NLL",
    "brier": "Brier score",
    "aurc": "AURC (area under risk and coverage)",
    "unsure_share": "unsure (share of the clips)",
    "answered_error": "errors among the other answers",
    "ccc": "CCC (concordance, mean of the dimensions)",
}
_PERCENT_METRICS = {"uar", "accuracy", "macro_f1", "uar_gender_gap", "unsure_share", "answered_error"}
_FEW_GROUPS = 4
_VERDICTS = {
    "better": "better than before",
    "worse": "worse than before",
    "cannot tell": "cannot tell whether better or worse: the interval of the difference in UAR holds 0",
}


def console(*, stderr: bool = False) -> Console:
    """Return a console on stdout or stderr; lines are as long as they are, and nothing in them is taken for markup."""
    return Console(stderr=stderr, soft_wrap=True, highlight=False, markup=False, emoji=False)


def one_line(text: str) -> str:
    """Return text with line ends and other control characters, as file names may hold them, written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def error(message: str) -> None:
    """Print an error as one line on stderr."""
    console(stderr=True).print(Text.assemble(("error: ", "bold red"), one_line(message)))


def note(message: str) -> None:
    """Print something worth knowing as one line on stderr."""
    console(stderr=True).print(Text.assemble(("note: ", "yellow"), one_line(message)))


def say(line: str) -> None:
    """Print one line of words on stderr."""
    console(stderr=True).print(one_line(line))


def show(view: RenderableType) -> None:
    """Print what was asked for on stdout."""
    stdout = console()
    if not stdout.is_terminal and "COLUMNS" not in os.environ:
        stdout.width = FILE_WIDTH
    stdout.print(view, soft_wrap=False)


# ---------------------------------------------------------------- progress


class RichProgress(Progress):
    """Bars on a terminal; elsewhere, as in a log, a line now and then."""

    def __init__(self, output: Console | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Listen and show on `output`, by default stderr."""
        self._output = output or console(stderr=True)
        self._clock = clock
        self._bars: Bars | None = None
        self._lock = threading.Lock()  # cross-validation tells of its folds from a thread of its own
        self._open = 0

    @contextlib.contextmanager
    def task(self, what: str, total: int, *, unit: str = "clips") -> Iterator[Task]:
        """Show a piece of work, inside that which is shown already; when the outermost ends, a line stays."""
        begun = self._clock()
        with self._lock:
            outermost = self._open == 0
            self._open += 1
            task = self._bar(what, total, unit) if self._output.is_terminal else _Lines(self, what, total, unit)
        if outermost and not self._output.is_terminal:
            self.say(f"{what}: {total:,} {unit}")
        try:
            yield task
        finally:
            with self._lock:
                self._open -= 1
                task.close()
                if self._open == 0 and self._bars is not None:
                    self._bars.stop()
                    self._bars = None
            if outermost or task.told:
                self.say(_ended(what, task.done, total, unit, self._clock() - begun))

    def say(self, line: str) -> None:
        """Print a line, above the bars."""
        self._output.print(one_line(line))

    def clock(self) -> float:
        """Return seconds since some moment."""
        return self._clock()

    def _bar(self, what: str, total: int, unit: str) -> _Bar:
        if self._bars is None:
            self._bars = Bars(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                _Rate(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}", markup=False, style="cyan"),
                console=self._output,
                refresh_per_second=5,
                expand=True,
                redirect_stdout=False,  # else what belongs on stdout would go where the bar is
                transient=True,
            )
            self._bars.start()
        return _Bar(self._bars, what, total, unit)


class _Shown(Task):
    """A task that counts, and knows whether it has said something that needs an end."""

    def __init__(self) -> None:
        self.done = 0
        self.told = False

    def advance(self, steps: int = 1, *, note: str = "") -> None:
        self.done += steps

    def close(self) -> None:
        """Take the task off the screen."""


class _Bar(_Shown):
    def __init__(self, bars: Bars, what: str, total: int, unit: str) -> None:
        super().__init__()
        self._bars = bars
        self._id = bars.add_task(what, total=total, unit=unit, note="")

    def advance(self, steps: int = 1, *, note: str = "") -> None:
        super().advance(steps)
        self._bars.advance(self._id, steps)
        if note:
            self._bars.update(self._id, note=one_line(note))

    def close(self) -> None:
        self._bars.remove_task(self._id)


class _Lines(_Shown):
    def __init__(self, progress: RichProgress, what: str, total: int, unit: str) -> None:
        super().__init__()
        self._progress, self._what, self._total, self._unit = progress, what, total, unit
        self._begun = self._last = progress.clock()
        self._note = ""

    def advance(self, steps: int = 1, *, note: str = "") -> None:
        super().advance(steps)
        self._note = note or self._note
        now = self._progress.clock()
        if now - self._last < QUIET_S or self.done >= self._total:
            return
        self._last = now
        self.told = True
        elapsed = now - self._begun
        left = duration(elapsed / self.done * (self._total - self.done)) if self.done else "unknown time"
        words = f"{self.done:,} of {self._total:,} {self._unit}, {rate(self.done, elapsed, self._unit)}, {left} left"
        self._progress.say(f"{self._what}: {words}{', ' + self._note if self._note else ''}")


class _Rate(ProgressColumn):
    """Column of steps per second."""

    def render(self, task: Bar) -> Text:
        speed = task.finished_speed or task.speed
        words = rate(speed, 1.0, str(task.fields["unit"])) if speed else ""
        return Text(words, style="progress.data.speed")


def rate(steps: float, seconds: float, unit: str) -> str:
    """Return "123 clips/s", or "4.2 clips/s" where that is slow."""
    speed = steps / seconds if seconds > 0 else 0.0
    return f"{speed:,.0f} {unit}/s" if speed >= 10 else f"{speed:.2g} {unit}/s"


def duration(seconds: float) -> str:
    """Return "0.4 s", "12 s", "3 min 5 s" or "2 h 10 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _ended(what: str, done: int, total: int, unit: str, seconds: float) -> str:
    count = f"{done:,}" if done == total else f"{done:,} of {total:,}"
    speed = f" ({rate(done, seconds, unit)})" if seconds >= 0.1 else ""
    return f"{what}: {count} {unit} in {duration(seconds)}{speed}"


# ---------------------------------------------------------------- tables


def report_view(report: Report, *, title: str) -> RenderableType:
    """Return a report as tables: the metrics with intervals, each emotion, and a line for each kind of group."""
    return Group(
        Text(title, style="bold"),
        Text(report.protocol, style="italic"),
        Text(),
        _metrics_table(report),
        *(_below(_classes_table(report)) if report.labels else ()),
        *(_below(_dimensions_table(report)) if report.dimensions else ()),
        *(
            Text(_groups_line(kind, groups, metric))
            for kind, groups in report.per_group.items()
            for metric in (*(["uar"] if report.labels else []), *(["ccc"] if report.dimensions else []))
            if len(groups) > 1
        ),
    )


def _below(table: Table) -> tuple[RenderableType, ...]:
    return Text(), table


def _dimensions_table(report: Report) -> Table:
    table = _table("dimension", ("CCC", "right"), "95 % interval", *((w, "right") for w in ("r", "RMSE", "clips")))
    for name in report.dimensions:
        ccc, pearson, rmse, n_clips = (
            report.metrics[f"{name}_{metric}"] for metric in ("ccc", "pearson", "rmse", "n_clips")
        )
        interval = _interval(f"{name}_ccc", report.intervals)
        table.add_row(Text(one_line(name)), _number(ccc), interval, _number(pearson), _number(rmse), f"{n_clips:,.0f}")
    return table


def _metrics_table(report: Report) -> Table:
    table = _table("metric", ("value", "right"), "95 % interval")
    for name, words in _METRICS.items():
        value = report.metrics.get(name)
        if value is None or math.isnan(value):
            continue
        interval = _interval(name, report.intervals)
        table.add_row(words, _figure(name)(value), interval, style="bold" if name in ("uar", "ccc") else None)
    table.add_row("clips", f"{report.metrics['n_clips']:,.0f}", "")
    return table


def seeds_view(summary: SeedSummary, per_seed: Mapping[str, Report]) -> RenderableType:
    """Return the figures over several seeds as a table, and the UAR of each."""
    table = _table("metric", ("mean", "right"), ("standard deviation", "right"), "95 % interval of the mean")
    for name, words in _METRICS.items():
        if name in summary.mean and not math.isnan(summary.mean[name]):
            mean, spread = _figure(name)(summary.mean[name]), _figure(name)(summary.std[name])
            style = "bold" if name in ("uar", "ccc") else None
            table.add_row(words, mean, spread, _interval(name, summary.intervals), style=style)
    lines = []
    for name in ("uar", "ccc"):
        if name in summary.mean:
            figures = (f"{one_line(seed)} {_figure(name)(each.metrics[name])}" for seed, each in per_seed.items())
            lines.append(Text(f"{name.upper()} of each: {', '.join(figures)}"))
    return Group(Text(f"Over {summary.n_seeds} seeds", style="bold"), table, *lines)


def comparison_view(comparison: Comparison) -> RenderableType:
    """Return how good each model is, and for each pair whether one is better."""
    models = _table("model", ("seeds", "right"), ("UAR", "right"), "95 % interval", ("accuracy", "right"))
    for model in comparison.models:
        interval = _interval("uar", {"uar": model.uar_interval})
        models.add_row(one_line(model.name), str(model.n_seeds), percent(model.uar), interval, percent(model.accuracy))
    pairs = _table("difference", "", ("points", "right"), "95 % interval", ("first is better", "right"), "")
    for each in comparison.differences:
        pairs.add_row(
            one_line(f"{each.first} less {each.second}"),
            {"uar": "UAR"}.get(each.metric, each.metric),
            f"{100 * each.value:+.1f}",
            f"{100 * each.low:+.1f} to {100 * each.high:+.1f}",
            f"{'> ' if each.probability > 0.999 else '< ' if each.probability < 0.001 else ''}"
            f"{percent(min(0.999, max(0.001, each.probability)))}",
            f"{each.first if each.value > 0 else each.second} is better" if each.told_apart else "not told apart",
        )
    return Group(Text(comparison.says, style="italic"), Text(), models, Text(), pairs)


def change_view(change: Change, *, title: str) -> RenderableType:
    """Return what a model was worth before and after, each label's recall among it, and whether it became better."""
    columns = [change.before, *([change.narrowed] if change.narrowed else []), change.after]
    words = ["before", *(["before, of these labels"] if change.narrowed else []), "after"]
    table = _table("metric", *((word, "right") for word in words), ("change", "right"), "95 % interval")
    for each in change.differences:
        scale, decimals = (1.0, 3) if each.metric == "ece" else (100.0, 1)
        value, low, high = (f"{scale * one:+.{decimals}f}" for one in (each.value, each.low, each.high))
        figures = (_figure(each.metric)(report.metrics[each.metric]) for report in columns)
        style = "bold" if each.metric == "uar" else None
        table.add_row(_METRICS[each.metric], *figures, value, f"{low} to {high}", style=style)
    for label in change.after.labels:
        recalls = [report.per_class[label] for report in columns]
        if recalls[0]["support"]:
            difference = recalls[-1]["recall"] - change.compared.per_class[label]["recall"]
            name = Text("recall of ") + _emotion(label) + Text(f" ({recalls[0]['support']:.0f} clips)")
            table.add_row(name, *(percent(one["recall"]) for one in recalls), f"{100 * difference:+.1f}", "")
    return Group(
        Text(title, style="bold"),
        Text(f"{change.after.metrics['n_clips']:,.0f} clips; {change.says}", style="italic"),
        Text(),
        table,
        Text(),
        Text(_VERDICTS[change.verdict], style="bold"),
    )


def _figure(metric: str) -> Callable[[float], str]:
    return percent if metric in _PERCENT_METRICS else _number


def _number(value: float) -> str:
    """Return "0.623", or "–" for a figure that does not exist."""
    return "–" if math.isnan(value) else f"{value:.3f}"


def _interval(metric: str, intervals: Mapping[str, tuple[float, float]]) -> str:
    low, high = intervals.get(metric, (math.nan, math.nan))
    return f"{_figure(metric)(low)} to {_figure(metric)(high)}" if low <= high else ""


def _classes_table(report: Report) -> Table:
    table = _table("emotion", *((name, "right") for name in ("precision", "recall", "F1", "clips")))
    for label, values in report.per_class.items():
        scores = (percent(values[name]) for name in ("precision", "recall", "f1"))
        table.add_row(_emotion(label), *scores, f"{values['support']:.0f}")
    return table


def _groups_line(kind: str, groups: Mapping[str, Mapping[str, float]], metric: str) -> str:
    figure, what = _figure(metric), f"{metric.upper()} by {kind}"
    ordered = sorted(((values[metric], name) for name, values in groups.items() if not math.isnan(values[metric])))
    if len(groups) <= _FEW_GROUPS:
        return f"{what}: " + ", ".join(f"{name} {figure(value)}" for value, name in ordered)
    low = ", ".join(f"{name} {figure(value)}" for value, name in ordered[:2])
    high = ", ".join(f"{name} {figure(value)}" for value, name in reversed(ordered[-2:]))
    return f"{what}, of {len(groups)}: lowest {low}; highest {high}"


def prediction_view(name: str, prediction: Prediction, *, top_k: int | None = None) -> RenderableType:
    """Return the answer for one file, with a bar for each probability, the most probable first, and its dimensions."""
    unsure = ("  unsure: below the model's threshold", "yellow") if prediction.abstained else ("", "")
    told = dimensions_text(prediction)
    if not prediction.scores:
        return Text(f"{one_line(name)}: {told}")
    table = _scores_table(_ranked(prediction)[:top_k])
    answer = _emotion(prediction.label, bold=True)
    head = Text.assemble(f"{one_line(name)}: ", answer, f" {percent(prediction.confidence)}", unsure)
    return Group(head, table, *([Text(told)] if told else []))


def dimensions_text(prediction: Prediction) -> str:
    """Return "arousal 4.21, valence 3.05"; "" where the model tells no dimensions."""
    return ", ".join(f"{one_line(name)} {value:.3g}" for name, value in (prediction.dimensions or {}).items())


def probabilities_table(prediction: Prediction) -> Table:
    """Return a bar for each probability, in the model's order, so that each stays in its place."""
    return _scores_table(prediction.scores.items())


def _scores_table(scores: Iterable[tuple[str, float]]) -> Table:
    table = _table(("emotion", "left"), ("probability", "right"), "")
    for label, score in scores:
        table.add_row(_emotion(label), percent(score), Text(_bar_of(score, 30), style=_COLOURS.get(label, "")))
    return table


def predictions_table(rows: Sequence[tuple[str, Prediction]], *, top_k: int = 3) -> Table:
    """Return the answers for several files, one line each: the next probable emotions too, and dimensions."""
    first = rows[0][1]
    classes = ("emotion", ("confidence", "right"), "", "then") if first.scores else ()
    dimensions = [(one_line(name), "right") for name in first.dimensions or {}]
    table = _table("file", *classes, *dimensions)
    for name, prediction in rows:
        told = [f"{value:.3g}" for value in (prediction.dimensions or {}).values()]
        cells = _answer_cells(prediction, top_k) if first.scores else []
        table.add_row(Text(one_line(name), overflow="fold"), *cells, *told)
    return table


def _answer_cells(prediction: Prediction, top_k: int) -> list[RenderableType]:
    others = ", ".join(f"{label} {percent(score)}" for label, score in _ranked(prediction)[1:top_k])
    return [
        Text.assemble(_emotion(prediction.label, bold=True), (" unsure" if prediction.abstained else "", "yellow")),
        percent(prediction.confidence),
        Text(_bar_of(prediction.confidence, 10), style=_COLOURS.get(prediction.label, "")),
        Text(others),
    ]


def timeline_view(name: str, timeline: Timeline, *, most: int = 40) -> RenderableType:
    """Return where in a recording which emotion is, one line a segment, and what it comes to, for each speaker too."""
    several = len({segment.channel for segment in timeline.segments}) > 1
    spoken = any(segment.speaker is not None for segment in timeline.segments)
    also = [*(["channel"] if several else []), *(["speaker"] if spoken else [])]
    classes = (("emotion", "left"), ("confidence", "right"), ("", "left")) if timeline.windows.labels else ()
    dimensions = [(one_line(name), "right") for name in timeline.windows.dimensions]
    table = _table(("from", "right"), ("to", "right"), *also, *classes, *dimensions, ("speech", "right"))
    for segment in timeline.segments[:most]:
        table.add_row(*segment_cells(segment, channel=several, speaker=spoken))
    left = len(timeline.segments) - most
    head = f"{one_line(name)}: {duration(timeline.duration_s)}{', partial' if timeline.partial else ''}"
    lines = [Text(f"... and {left:,} more; --json gives all")] if left > 0 else []
    return Group(head, table, *lines, summary_view(timeline.summary))


def summary_view(summary: Mapping[str, Any]) -> RenderableType:
    """Return what a recording comes to, and each speaker and channel in it."""
    return Group(*_summary_lines(summary))


def segment_line(segment: Segment) -> Text:
    """Return one line on a segment, as soon as it has ended."""
    place = "" if segment.channel is None else f"  channel {segment.channel}"
    times = f"{clock(segment.start_s):>8} – {clock(segment.end_s):>8}{place}  "
    told = dimensions_text(segment.prediction)
    if not segment.prediction.scores:
        return Text(times + told)
    answer, confidence, bar = _segment_answer(segment.prediction)
    line = Text.assemble(times, answer, " " * max(1, 20 - len(answer)), f"{confidence.plain:>7} ", bar)
    return line.append(f"  {told}") if told else line


def segment_cells(segment: Segment, *, channel: bool = False, speaker: bool = False) -> list[Text]:
    """Return the columns of one line on a segment."""
    said = segment.prediction
    return [
        Text(clock(segment.start_s)),
        Text(clock(segment.end_s)),
        *([Text("" if segment.channel is None else str(segment.channel))] if channel else []),
        *([Text(one_line(segment.speaker or ""), overflow="fold")] if speaker else []),
        *(_segment_answer(said) if said.scores else []),
        *(Text(f"{value:.3g}") for value in (said.dimensions or {}).values()),
        Text(f"{100 * segment.speech_ratio:.0f} %"),
    ]


def _segment_answer(said: Prediction) -> list[Text]:
    return [
        Text.assemble(_emotion(said.label, bold=True), (" unsure" if said.abstained else "", "yellow")),
        Text(percent(said.confidence)),
        Text(_bar_of(said.confidence, 10), style=_COLOURS.get(said.label, "")),
    ]


def archive_view(status: ArchiveStatus) -> RenderableType:
    """Return how far an archive is, what failed in it and why, and how to look at the rows."""
    table = _table("", "", header=False)
    table.add_row("results", Text(one_line(f"{status.out} ({status.rows}, {status.model_id})"), overflow="fold"))
    left = "" if status.complete else "; the same command goes on from there"
    table.add_row("shards", f"{status.n_committed:,} of {status.n_shards:,} committed{left}")
    table.add_row("inputs", f"{status.n_done:,} of {status.n_inputs:,}, {status.n_rows:,} rows")
    table.add_row("sound", duration(status.sound_s))
    if status.n_now:
        speed = status.sound_now_s / max(status.seconds, 1e-9)
        words = f"{status.n_now:,} files in {duration(status.seconds)} ({rate(status.n_now, status.seconds, 'files')}"
        table.add_row("this run", f"{words}, {speed:,.0f} times real time)")
    if status.n_partial:
        table.add_row("partial", f"{status.n_partial:,} damaged or cut off, scored as far as they go")
    if status.failed:
        reasons = ", ".join(f"{one_line(code)} {count:,}" for code, count in status.failed.items())
        table.add_row("failed", Text(f"{status.n_failed:,}: {reasons}", style="red"))
    return Group(table, *(Text(f"  {one_line(line)}") for line in status.examples))


def clock(seconds: float) -> str:
    """Return "1:02:03.4", or "2:03.4" below an hour."""
    tenths = round(10 * seconds)
    hours, minutes, rest = tenths // 36000, tenths // 600 % 60, tenths % 600 / 10
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def _summary_lines(summary: Mapping[str, Any]) -> Iterator[Text]:
    yield _summary_line("in all", summary)
    for kind in ("speakers", "channels"):
        for name, values in summary.get(kind, {}).items():
            yield _summary_line(f"{kind[:-1]} {one_line(name)}", values)


def _summary_line(name: str, summary: Mapping[str, Any]) -> Text:
    told = ", ".join(f"mean {one_line(each)} {value:.3g}" for each, value in summary.get("dimensions", {}).items())
    if summary["label"] is None and not told:
        return Text(f"{name}: no speech")
    shares = sorted(summary["shares"].items(), key=lambda pair: -pair[1])
    parts = [Text.assemble(_emotion(label), f" {percent(share)}") for label, share in shares]
    spoken = Text(f"{name}: {duration(summary['speech_s'])} of speech; ")
    return spoken.append_text(Text(", ").join([*parts, *([Text(told)] if told else [])]))


def explanation_view(name: str, explanation: Explanation) -> RenderableType:
    """Return which times and frequencies spoke for each of the emotions that are explained."""
    from emogram.explanations import regions

    said = explanation.prediction
    table = _table("emotion", ("probability", "right"), ("from", "right"), ("to", "right"), "frequencies", "share")
    for place, label in enumerate(explanation.labels):
        answer = (_emotion(label, bold=place == 0), percent(said.scores[label]))
        for region in regions(explanation, place):
            times = (f"{region.start_s:.2f} s", f"{region.end_s:.2f} s")
            table.add_row(*answer, *times, f"{region.low_hz:,.0f} to {region.high_hz:,.0f} Hz", percent(region.share))
            answer = (Text(""), "")
        if answer[1]:
            table.add_row(*answer, "", "", "nothing spoke for it", "")
    unsure = ("  unsure: below the model's threshold", "yellow") if said.abstained else ("", "")
    head = Text.assemble(f"{one_line(name)}: ", _emotion(said.label, bold=True), f" {percent(said.confidence)}", unsure)
    return Group(head, f"what spoke for it most, by {explanation.method}", table)


def explanation_check_view(check: ExplanationCheck) -> RenderableType:
    """Return what the tests of a map gave."""
    areas = check.random_areas
    mean = sum(areas) / len(areas)
    verdict = ("passed", "green") if check.passed else ("failed: do not trust this map", "bold red")
    alike = ", ".join(f"{value:.2f}" for value in check.correlations) or "not tried"
    return Group(
        Text.assemble(f"check of the map of {check.label}: ", verdict),
        f"  maps of models with shuffled weights, rank correlation with this one: {alike}; below {MAX_CORRELATION:g} "
        "is asked for",
        f"  mean probability while ever more is hidden: {check.area:.3f} most marked first, {mean:.3f} at random "
        f"({min(areas):.3f} to {max(areas):.3f}, {len(areas)} times), {check.loudest_area:.3f} loudest first",
    )


def description_view(description: Description) -> RenderableType:
    """Return what is in a corpus as tables and lines."""
    facts = _table("", "", header=False)
    for name, words in _facts(description):
        facts.add_row(name, Text(words))
    balance = _table("emotion", ("clips", "right"), ("share", "right"), "")
    most = max(description.by_label.values())
    for label, count in description.by_label.items():
        bar = Text(_bar_of(count / most, 24), style=_COLOURS.get(label, ""))
        balance.add_row(_emotion(label), f"{count:,}", percent(count / description.n_clips), bar)
    problems = [
        Text(line)
        for title, found in (
            ("unreadable", description.unreadable),
            ("silent", description.silent),
            ("clipped", description.clipped),
            ("too short", description.too_short),
        )
        for line in _problem_lines(title, found)
    ]
    doubles = [
        Text(
            f"the same {'pixels' if description.kind == 'picture' else 'samples'}: {one_line(', '.join(group.clips))}"
            + ("" if group.same_label else " (with different labels: at least one is wrong)")
            + ("" if group.same_speaker else " (of different speakers: a split by speaker leaks)")
        )
        for group in description.duplicates
    ]
    return Group(facts, Text(), balance, Text(), *doubles, *problems)


def _facts(description: Description) -> Iterator[tuple[str, str]]:
    from emogram.corpora.corpus import counted

    yield "corpus", f"{one_line(description.name)} ({description.kind}), {one_line(description.root)}"
    yield "licence", description.licence
    yield "clips", f"{description.n_clips:,}; the largest class has {description.imbalance:.3g} times the smallest"
    counts = list(description.by_speaker.values())
    if counts:
        spread = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
        yield "speakers", f"{len(counts)}, with {spread} clips each: {_listed(description.by_speaker)}"
    if description.n_without_speaker:
        yield "speakers", f"unknown of {counted(description.n_without_speaker, 'clip')}; a column 'speaker' tells them"
    for kind, groups in description.by_group.items():
        yield kind, ", ".join(f"{one_line(name)} {count:,}" for name, count in groups.items())
    if description.duration_s:
        seconds = description.duration_s
        each = ", ".join(f"{name} {seconds[name]:.2f} s" for name in ("min", "median", "max"))
        yield "duration", f"{duration(seconds['total'])} in all; {each}"
    for name, found, unit in (
        ("sample rate", description.sample_rates, " Hz"),
        ("channels", description.channels, ""),
        ("size", description.picture_sizes, ""),
    ):
        if found:
            yield name, ", ".join(f"{value}{unit} ({counted(count, 'clip')})" for value, count in found.items())


def _listed(names: Mapping[str, int], most: int = 30) -> str:
    return one_line(", ".join(list(names)[:most])) + (", ..." if len(names) > most else "")


def _problem_lines(title: str, found: Sequence[Problem]) -> Iterator[str]:
    for problem in found:
        named = problem.clip in problem.message
        yield one_line(f"{title}: {problem.message if named else f'{problem.clip}: {problem.message}'}")


def corpus_pairs_view(pairs: Sequence[CorpusPair], *, title: str, protocol: str) -> RenderableType:
    """Return the UAR of each corpus that trained, a row each, on each that judged, a column each."""
    trained = list(dict.fromkeys(pair.trained for pair in pairs))
    tested = sorted(
        {pair.tested for pair in pairs}, key=lambda name: (name not in trained, [*trained, name].index(name))
    )
    cells = {(pair.trained, pair.tested): _pair_text(pair) for pair in pairs}
    corner = "trained on" if any(pair.within for pair in pairs) else "labels of"
    table = _table(corner, *((f"on {one_line(name)}", "right") for name in tested))
    for row in trained:
        table.add_row(Text(one_line(row)), *(cells.get((row, column), Text("–")) for column in tested))
    caveats = dict.fromkeys(pair.caveat for pair in pairs if pair.caveat)
    return Group(
        Text(title, style="bold"),
        Text(protocol, style="italic"),
        Text(),
        table,
        Text("UAR, its 95 % interval, and the number of labels that both corpora have"),
        *(Text(f"* {caveat}") for caveat in caveats),
    )


def _pair_text(pair: CorpusPair) -> Text:
    low, high = (100 * bound for bound in pair.interval)
    mark = "*" if pair.caveat else ""
    return Text.assemble(
        (f"{percent(pair.uar)}{mark}", "" if pair.within else "bold"),
        f"\n{low:.1f} to {high:.1f}, {len(pair.labels)}",
    )


def conditions_view(scores: Sequence[ConditionScore], *, title: str, protocol: str) -> RenderableType:
    """Return what each condition costs, with intervals."""
    table = _table("condition", *((name, "right") for name in ("UAR", "95 % interval", "loss", "95 % interval")), "")
    for score in scores:
        low, high = (100 * bound for bound in score.interval)
        least, most = (100 * bound for bound in score.loss_interval)
        clean = score is scores[0]
        table.add_row(
            score.condition,
            percent(score.uar),
            f"{low:.1f} to {high:.1f}",
            "" if clean else f"{100 * score.loss:.1f}",
            "" if clean else f"{least:.1f} to {most:.1f}",
            Text(_bar_of(score.uar, 20)),
            style="bold" if clean else None,
        )
    return Group(Text(title, style="bold"), Text(protocol, style="italic"), Text(), table)


def trials_view(trials: Sequence[Trial], *, title: str, protocol: str) -> RenderableType:
    """Return what some trials of a study came to."""
    table = _table(("trial", "right"), *((name, "right") for name in ("UAR", "accuracy", "loss", "epochs", "took")), "")
    for trial in trials:
        table.add_row(
            str(trial.number),
            percent(trial.mean("uar")),
            percent(trial.mean("accuracy")),
            f"{trial.mean('loss'):.3f}",
            str(trial.n_epochs),
            duration(trial.seconds),
            Text(_bar_of(trial.mean("uar"), 20)),
            style="bold" if trial is trials[0] else None,
        )
    return Group(Text(title, style="bold"), Text(one_line(protocol), style="italic"), Text(), table)


def checks_table(checks: Sequence[Check]) -> Table:
    """Return what the doctor found."""
    table = _table("", "check", "found")
    for check in checks:
        mark = Text("ok", style="green") if check.ok else Text("no", style="bold red")
        table.add_row(mark, Text(check.name), Text("; ".join(filter(None, (check.found, check.advice)))))
    return table


def parity_view(deployed: Deployed) -> RenderableType:
    """Return how nearly an exported model answers as its bundle."""
    parity = deployed.parity
    table = _table("compared with the model itself", ("", "right"))
    table.add_row(f"clips, {parity.clips}", f"{parity.n_clips:,}")
    if parity.n_calibration:
        table.add_row("clips that gave int8 its ranges", f"{parity.n_calibration:,}")
    what = "probability" if parity.same_label is not None else "dimension, of its scale"
    table.add_row(f"greatest difference of a {what}", f"{parity.max_difference:.2g}")
    table.add_row("mean difference", f"{parity.mean_difference:.2g}")
    if parity.same_label is not None:
        table.add_row("clips with the same answer", percent(parity.same_label))
    return table


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table of texts."""
    table = _table(*columns)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def failures(failed: Sequence[tuple[Clip, str]], *, total: int) -> None:
    """Name each clip that failed, one line each, on stderr."""
    if not failed:
        return
    stderr = console(stderr=True)
    stderr.print(Text(f"{len(failed):,} of {total:,} clip{'s' if total != 1 else ''} failed:", style="bold red"))
    for clip, message in failed:
        stderr.print("  " + one_line(message if str(clip.path) in message else f"{clip.path}: {message}"))


def file_lines(files: Sequence[Path], *, words: str) -> None:
    """Say which files were written, on stderr."""
    if files:
        names = f"{files[0].parent} ({', '.join(file.name for file in files)})"
        say(f"{words}: {files[0] if len(files) == 1 else names}")


def percent(fraction: float) -> str:
    """Return "62.3 %", or "–" for a figure that does not exist."""
    return "–" if math.isnan(fraction) else f"{100 * fraction:.1f} %"


def _ranked(prediction: Prediction) -> list[tuple[str, float]]:
    return sorted(prediction.scores.items(), key=lambda pair: -pair[1])


def _emotion(label: str, *, bold: bool = False) -> Text:
    return Text(one_line(label), style=f"{'bold ' if bold else ''}{_COLOURS.get(label, '')}".strip())


def _bar_of(fraction: float, width: int) -> str:
    """Return a bar of up to `width` letters, in steps of an eighth."""
    eighths = round(8 * width * min(1.0, max(0.0, fraction)))
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _table(*columns: str | tuple[str, str], header: bool = True) -> Table:
    table = Table(box=box.SIMPLE_HEAD if header else None, show_header=header, pad_edge=False, show_edge=False)
    for column in columns:
        name, side = column if isinstance(column, tuple) else (column, "left")
        table.add_column(name, justify="right" if side == "right" else "left", overflow="fold")
    return table

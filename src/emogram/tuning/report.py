"""What a study came to: the best settings as a file to train with, a table of all trials, plots, and a page."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from emogram import plots
from emogram.config import RunConfig
from emogram.errors import EmogramError
from emogram.files import write_text
from emogram.records import Clip, Trial
from emogram.tuning.folds import Fold
from emogram.tuning.space import SearchSpace
from emogram.tuning.study import Study, rank
from emogram.writers import write_trials

BEST_FILE = "best.toml"
TRIALS_FILE = "trials.csv"
REPORT_FILE = "report.md"
SPACE_FILE = "space.toml"
PLOTS_FOLDER = "plots"
SHOWN = 10  # trials in the page and on the screen
FEW_TRIALS = 20  # that came to their end, below which importances say little


@dataclass(frozen=True)
class TuningResult:
    """What a study came to.

    Attributes:
        out: Its folder.
        objective: "uar", "accuracy" or "loss".
        trials: All trials by number.
        best: The best of those that came to their end.
        first: The trial of the settings that the study began with; None where it did not come to its end.
        config: All settings of the best; those of `best.toml`.
        importances: Setting -> share of 1, the greatest first; see `Study.importances`.
        says: What must stand beside every figure: who chose, and that nobody who judges was read.
        cautions: What the figures do not mean.
        failed: Clips that could not be used, and why.
        warnings: What the reader should know.
        plots: The files drawn.
        seconds: How long it took, since the last start.
    """

    out: Path
    objective: str
    trials: tuple[Trial, ...]
    best: Trial
    first: Trial | None
    config: RunConfig
    importances: Mapping[str, float]
    says: str
    cautions: tuple[str, ...]
    failed: tuple[tuple[Clip, str], ...]
    warnings: tuple[str, ...]
    plots: tuple[Path, ...]
    seconds: float

    @property
    def best_file(self) -> Path:
        """The TOML file for `emogram train --config`."""
        return self.out / BEST_FILE

    @property
    def ranked(self) -> tuple[Trial, ...]:
        """The trials that came to their end, the best first."""
        return rank(self.trials, self.objective)

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts and lists, ready for JSON."""
        return {
            "objective": self.objective,
            "best": trial_dict(self.best),
            "trials": [trial_dict(trial) for trial in self.trials],
            "importances": dict(self.importances),
            "config": self.config.to_dict(),
            "says": self.says,
            "cautions": list(self.cautions),
        }


def trial_dict(trial: Trial) -> dict[str, Any]:
    """Return a trial as a plain dict, ready for JSON."""
    return {
        "trial": trial.number,
        "state": trial.state,
        "value": trial.value,
        **{metric: trial.mean(metric) for metric in ("uar", "accuracy", "loss")},
        "epochs": trial.n_epochs,
        "seconds": trial.seconds,
        "settings": dict(trial.settings),
        "error": trial.error,
    }


def figure_text(objective: str, trial: Trial, *, with_number: bool = True) -> str:
    """Return "UAR 51.3 % (trial 2)"."""
    value = math.nan if trial.value is None else trial.value
    text = f"loss {value:.3f}" if objective == "loss" else f"{_NAMES[objective]} {100 * value:.1f} %"
    return f"{text} (trial {trial.number})" if with_number else text


_NAMES = {"uar": "UAR", "accuracy": "accuracy", "loss": "loss"}


def says_judged(folds: Sequence[Fold]) -> str:
    """Return what must stand beside every figure: on whom trials were judged, and whom nobody has read."""
    said = []
    for fold in folds:
        where = f"fold {fold.number}: " if len(folds) > 1 else ""
        chosen = f"speakers {', '.join(fold.choosing)}" if fold.choosing else "clips"
        aside = f"; test speakers {', '.join(fold.set_aside)} not read" if fold.set_aside else ""
        said.append(f"{where}judged on validation {chosen}{aside}")
    if not any(fold.set_aside for fold in folds):
        said.append(folds[0].says)
    return "; ".join(said)


def cautions(folds: Sequence[Fold], best: Trial, n_complete: int, n_validation: int) -> tuple[str, ...]:
    """Return what the figures do not mean, one line each."""
    found = [
        f"The best of {n_complete} trials looks better than it is, since it was picked by this very figure: only clips "
        "that chose nothing tell how good it is."
    ]
    if len(folds) > 1:
        found.append(
            "A speaker who judges in one fold trains or chooses in another, so that a cross-validation over the same "
            "folds with these settings leans to the good side, a little; speakers of another corpus, or of a fold that "
            "was left out of the search, do not."
        )
    uar = best.mean("uar")
    error = 100 * math.sqrt(max(uar * (1 - uar), 0.0) / n_validation)
    found.append(
        f"There are {n_validation} validation clips, so that chance alone moves a figure of one trial by about "
        f"{error:.1f} points (one standard error, had all clips different speakers): trials that lie closer are not "
        "told apart."
    )
    if n_complete < FEW_TRIALS:
        found.append(f"Importances out of {n_complete} trials say little; {FEW_TRIALS} and more begin to.")
    return tuple(found)


def write_so_far(study: Study, out: Path, space: SearchSpace, *, says: str) -> None:
    """Write the table of trials and the best settings, whenever a trial has ended: a study may be killed.

    Raises:
        OutputError: They cannot be written.
    """
    trials = study.trials()
    write_text(out / SPACE_FILE, tomli_w.dumps(space.to_dict()))
    write_trials(out / TRIALS_FILE, trials, settings=list(space.dimensions))
    best = study.best()
    if best is not None:
        head = f"# emogram tune: the best of {len(trials)} trials, {figure_text(study.objective, best)}\n# {says}\n\n"
        write_text(out / BEST_FILE, head + tomli_w.dumps(study.settings_of(best).to_dict()))


def write_report(
    study: Study,
    out: Path,
    space: SearchSpace,
    config: RunConfig,
    *,
    objective: str,
    folds: Sequence[Fold],
    n_validation: int,
    failed: tuple[tuple[Clip, str], ...],
    warnings: Sequence[str],
    started: float,
) -> TuningResult:
    """Write all files of a study and return what it came to.

    Raises:
        OutputError: They cannot be written.
        EmogramError: No trial came to its end.
    """
    says = says_judged(folds)
    write_so_far(study, out, space, says=says)
    trials, best = study.trials(), study.best()
    if best is None:
        raise EmogramError(
            f"none of {len(trials)} trials came to its end; {out / TRIALS_FILE} tells why: try more of them, another "
            "space, or --pruner none"
        )
    n_complete = len(rank(trials, objective))
    begun_with, _ = space.values_of(config)
    first = next((trial for trial in trials if trial.value is not None and dict(trial.settings) == begun_with), None)
    importances = study.importances()
    result = TuningResult(
        out=out,
        objective=objective,
        trials=trials,
        best=best,
        first=first,
        config=study.settings_of(best),
        importances=importances,
        says=says,
        cautions=cautions(folds, best, n_complete, n_validation),
        failed=failed,
        warnings=tuple(dict.fromkeys(warnings)),
        plots=_draw(trials, best, space, importances, objective, out / PLOTS_FOLDER, title=says, n_complete=n_complete),
        seconds=time.monotonic() - started,
    )
    write_text(out / REPORT_FILE, page(result, begun_with))
    return result


def _draw(
    trials: Sequence[Trial],
    best: Trial,
    space: SearchSpace,
    importances: Mapping[str, float],
    objective: str,
    folder: Path,
    *,
    title: str,
    n_complete: int,
) -> tuple[Path, ...]:
    logarithmic = {name for name, dimension in space.dimensions.items() if getattr(dimension, "log", False)}
    plots.tuning_history(trials, folder / "history.png", objective=objective, title=title)
    plots.tuning_curves(trials, folder / "curves.png", title=title)
    for draw, name in ((plots.tuning_slices, "slices.png"), (plots.tuning_parallel, "parallel.png")):
        draw(trials, best, folder / name, objective=objective, logarithmic=logarithmic, title=title)
    names = ["history.png", "curves.png", "slices.png", "parallel.png"]
    if importances:
        plots.tuning_importances(
            importances, folder / "importances.png", title=f"PED-ANOVA, {n_complete} trials; {title}"
        )
        names.append("importances.png")
    return tuple(folder / name for name in names)


def settings_rows(result: TuningResult) -> list[tuple[str, str, str, str]]:
    """Return a row for each setting that was searched: its name, the best value, that begun with, its importance."""
    begun = {} if result.first is None else result.first.settings
    return [
        (
            name,
            value_text(value),
            value_text(begun[name]) if name in begun else "",
            f"{100 * result.importances[name]:.0f} %" if name in result.importances else "",
        )
        for name, value in result.best.settings.items()
    ]


def value_text(value: Any) -> str:
    """Return a setting in four significant digits, or as it stands."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def summary(result: TuningResult) -> str:
    """Return in one line what the search brought."""
    counts: dict[str, int] = {}
    for trial in result.trials:
        counts[trial.state] = counts.get(trial.state, 0) + 1
    states = ", ".join(f"{count} {state}" for state, count in counts.items())
    against = ""
    if result.first is not None and result.best.value is not None and result.first.value is not None:
        gain = result.best.value - result.first.value
        words = f"{gain:+.3f}" if result.objective == "loss" else f"{100 * gain:+.1f} points"
        against = f", {words} against the settings begun with (trial {result.first.number})"
    return f"best {figure_text(result.objective, result.best)}{against}; {len(result.trials)} trials: {states}"


def next_commands(result: TuningResult) -> list[str]:
    """Return what to do with the best settings, as command lines."""
    file = shlex.quote(str(result.best_file))
    commands = [f"emogram train CORPUS --config {file}"]
    protocol = result.config.split.protocol
    if protocol is not None:
        commands.append(f"emogram crossval CORPUS --protocol {protocol} --config {file}")
    return commands


def page(result: TuningResult, begun_with: Mapping[str, Any]) -> str:
    """Return the report in Markdown."""
    metrics = ("uar", "accuracy", "loss")
    lines = ["# Tuning", "", f"{_sentence(summary(result))}.", "", f"{_sentence(result.says)}.", ""]
    lines += [f"- {caution}" for caution in result.cautions] + [""]
    lines += ["## Best settings", "", "| setting | best | begun with | importance |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {name} | {best} | {value_text(begun_with[name])} | {share} |"
        for name, best, _, share in settings_rows(result)
    ]
    lines += ["", f"Importance: PED-ANOVA over the {len(result.ranked)} trials that came to their end.", ""]
    lines += ["```sh", *next_commands(result), "```", "", "## Best trials", ""]
    lines += [f"| trial | {' | '.join(_NAMES[m] for m in metrics)} | epochs | {' | '.join(_plain(result))} |"]
    lines += ["| --- " * (len(metrics) + 2 + len(result.best.settings)) + "|"]
    for trial in result.ranked[:SHOWN]:
        figures = [f"{100 * trial.mean(m):.1f} %" if m != "loss" else f"{trial.mean(m):.3f}" for m in metrics]
        values = [value_text(value) for value in trial.settings.values()]
        lines.append("| " + " | ".join([str(trial.number), *figures, str(trial.n_epochs), *values]) + " |")
    lines += ["", f"All trials: `{TRIALS_FILE}`.", ""]
    lines += [f"![{path.stem}]({PLOTS_FOLDER}/{path.name})\n" for path in result.plots]
    return "\n".join(lines)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _plain(result: TuningResult) -> list[str]:
    return [name.partition(".")[2] for name in result.best.settings]

"""The commands that judge what was trained: evaluate, compare, robustness and adapt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from emogram.bundle import SHIPPED
from emogram.cli.completing import conditions as known_conditions
from emogram.cli.completing import models, one_of, some_of
from emogram.cli.entry import PARTLY_FAILED
from emogram.cli.options import (
    AllowLeaks,
    Cache,
    CorpusName,
    CorpusPath,
    Json,
    NoCache,
    Out,
    Overwrite,
    Shifts,
    Workers,
)
from emogram.cli.shared import (
    cache_folder,
    failed_dicts,
    find,
    new_folder,
    notes,
    print_json,
    rich_progress,
    seeds_dict,
    show_report,
    show_seeds,
)
from emogram.config import TrainConfig
from emogram.errors import SettingsError
from emogram.settings import split_words

if TYPE_CHECKING:
    from emogram.judging import Judgement


def evaluate(
    what: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL CORPUS | FILE...",
            help=f"A model folder, a run folder or `{SHIPPED}`, the model inside the package, and a corpus as `emogram "
            "train` takes it; with --predictions, files of stored predictions or the folders of runs.",
            autocompletion=models,
            show_default=False,
        ),
    ],
    predictions: Annotated[
        bool,
        typer.Option("--predictions", help="Compute all figures again from stored predictions (CSV), without a model."),
    ] = False,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="With --predictions: judge the mean of all seeds and files.")
    ] = False,
    part: Annotated[
        Literal["all", "test", "validation"],
        typer.Option(help="All clips, or those of the speakers that the model's own split set aside."),
    ] = "all",
    allow_leaks: AllowLeaks = False,
    shifts: Shifts = 1,
    adapt: Annotated[
        bool,
        typer.Option(
            "--adapt", help="Adapt the answers to each speaker, without labels; the figure is then to be told apart."
        ),
    ] = False,
    dimension_scale: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH",
            help="Both ends of the scale of the numbers in the corpus, where it is another than the model has.",
            show_default=False,
        ),
    ] = None,
    out: Out = None,
    overwrite: Overwrite = False,
    corpus_name: CorpusName = None,
    cache: Cache = None,
    no_cache: NoCache = False,
    workers: Workers = None,
    json: Json = False,
) -> int:
    """Judge a model on a corpus, or stored predictions."""
    from emogram.doctor import require_plots

    require_plots("evaluation")
    if predictions:
        if adapt or shifts > 1 or dimension_scale:
            raise SettingsError(
                "--adapt, --shifts and --dimension-scale need the model; `emogram adapt RUNS` adapts what runs stored"
            )
        return _evaluate_predictions(what, ensemble=ensemble, out=out, overwrite=overwrite, json=json)
    if ensemble or len(what) != 2:
        raise SettingsError(
            f"{'--ensemble' if ensemble else f'{len(what)} paths'} without --predictions; expected a model and a corpus"
        )
    model, corpus = what
    from emogram.bundle import open_bundle

    scale = TrainConfig.from_dict({"dimension_scale": split_words(dimension_scale or "")}).dimension_scale
    found = find(corpus, corpus_name, unlabelled=not open_bundle(model).info.labels)
    folder = new_folder(out, f"evaluate-{found.name}", overwrite=overwrite)
    from emogram import console
    from emogram.evaluate import evaluate as judge

    result = judge(
        model,
        found,
        folder,
        part=part,
        allow_leaks=allow_leaks,
        shifts=shifts,
        adapt=adapt,
        dimension_scale=scale,
        cache=cache_folder(cache, no_cache),
        workers=workers,
        progress=rich_progress(),
    )
    code = show_report(
        result.report,
        title=f"{model} on {found.name}",
        out=result.out,
        failed=result.failed,
        n_given=len(found.clips),
        warnings=result.warnings,
        as_json={"part": part, "shifts": shifts, "adapted": adapt} if json else None,
    )
    console.file_lines(result.plots, words="plots")
    return code


def _evaluate_predictions(
    files: Sequence[Path], *, ensemble: bool, out: Path | None, overwrite: bool, json: bool
) -> int:
    from emogram import console
    from emogram.evaluate import evaluate_predictions

    folder = new_folder(out, "evaluate-predictions", overwrite=overwrite)
    judgement = evaluate_predictions(files, folder, ensemble=ensemble)
    title = "Ensemble" if ensemble else f"Stored predictions, {next(iter(judgement.per_seed))}"
    code = _show_judgement(judgement, title=title, out=folder, json=json)
    console.file_lines(judgement.plots, words="plots")
    return code


def _show_judgement(judgement: Judgement, *, title: str, out: Path, json: bool) -> int:
    """Show what stored predictions of one seed or several came to, and return the exit code."""
    code = show_report(
        judgement.report,
        title=title,
        out=out,
        failed=(),
        n_given=len(judgement.clips),
        warnings=(),
        as_json=seeds_dict(judgement) if json else None,
    )
    if not json:
        show_seeds(judgement)
    return code


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN RUN...",
            help="Folders of runs or cross-validations, or files of stored predictions; several seeds count as one.",
            show_default=False,
        ),
    ],
    out: Out = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> int:
    """Say whether one model is better than another on the same clips."""
    from emogram import console
    from emogram.compare import compare as compare_runs
    from emogram.doctor import require_plots

    require_plots("comparing")
    comparison = compare_runs(runs, new_folder(out, "compare", overwrite=overwrite))
    notes(comparison.warnings)
    if json:
        print_json(comparison.to_dict())
    else:
        console.show(console.comparison_view(comparison))
    console.file_lines(comparison.files, words="results")
    return 0


def robustness(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A model folder, a run folder, or the folder of a cross-validation.",
            autocompletion=models,
            show_default=False,
        ),
    ],
    corpus: CorpusPath,
    conditions: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Conditions, such as babble-10,telephone; by default all of them.",
            autocompletion=some_of(one_of(known_conditions)),
        ),
    ] = None,
    out: Out = None,
    overwrite: Overwrite = False,
    corpus_name: CorpusName = None,
    cache: Cache = None,
    no_cache: NoCache = False,
    workers: Workers = None,
    json: Json = False,
) -> int:
    """Judge models on noisy, reverberant, coded, telephoned and cut clips."""
    from emogram.doctor import require_plots

    require_plots("judging robustness")
    found = find(corpus, corpus_name)
    folder = new_folder(out, f"robustness-{found.name}", overwrite=overwrite)
    from emogram import console
    from emogram.degrade import CONDITIONS
    from emogram.robustness import robustness as judge

    names = [name.strip() for name in conditions.split(",") if name.strip()] if conditions else list(CONDITIONS)
    result = judge(
        model,
        found,
        folder,
        conditions=names,
        cache=cache_folder(cache, no_cache),
        workers=workers,
        progress=rich_progress(),
    )
    notes(result.warnings)
    if json:
        print_json({**result.to_dict(), "out": str(result.out), "failed": failed_dicts(result.failed)})
    else:
        console.show(console.conditions_view(result.scores, title=f"{model}, degraded", protocol=result.protocol))
    console.failures(result.failed, total=len(found.clips))
    console.say(f"results: {result.out} (after {console.duration(result.seconds)})")
    return PARTLY_FAILED if result.failed else 0


def adapt(
    runs: Annotated[
        Path,
        typer.Argument(metavar="RUNS", help="Folder of a cross-validation, or a run folder.", show_default=False),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; by default RUNS/adapted.", show_default=False)
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> int:
    """Adapt the predictions that runs stored to each speaker, and judge them apart."""
    from emogram.doctor import require_plots

    require_plots("judging")
    from emogram.adapted import adapt_runs

    folder = new_folder(out or runs / "adapted", "", overwrite=overwrite)
    judgement = adapt_runs(runs, folder)
    return _show_judgement(judgement, title="Adapted to the voice", out=folder, json=json)

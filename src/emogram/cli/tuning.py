"""The command that searches settings: tune."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from emogram.cli.entry import PARTLY_FAILED
from emogram.cli.options import Address, Also, Cache, CorpusName, CorpusPaths, Engine, Json, NoCache, Overwrite
from emogram.cli.shared import (
    cache_folder,
    failed_dicts,
    file_name,
    find_all,
    notes,
    numbers,
    prepare_training,
    print_json,
    rich_progress,
)
from emogram.config import RunConfig
from emogram.settings import takes_settings

if TYPE_CHECKING:
    from emogram.tuning import TuningResult


@takes_settings("spectrogram", "augment", "network", "train", "split", leave_out=("fold", "judge_on"))
def tune(
    corpora: CorpusPaths,
    config: RunConfig,
    also: Also = None,
    space: Annotated[
        Path | None,
        typer.Option(
            help="TOML file of what is searched: [section], and for each setting a list of choices or { low, high } "
            "with log or step; by default the one that ships, which stands in the output folder as space.toml.",
            show_default=False,
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Settings to try, those tried before included.")] = 20,
    timeout: Annotated[
        float | None,
        typer.Option(min=0.0, metavar="MINUTES", help="After so many minutes no further trial is begun."),
    ] = None,
    folds: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help="Folds of --protocol that each trial is judged on, one after another; by default all.",
            show_default=False,
        ),
    ] = None,
    objective: Annotated[
        Literal["uar", "accuracy", "loss"],
        typer.Option(help="What is made best on the validation speakers, mean over the folds."),
    ] = "uar",
    pruner: Annotated[
        Literal["median", "hyperband", "none"],
        typer.Option(help="When a bad trial is stopped, by its validation loss after each epoch."),
    ] = "median",
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Trials at once; by default one for each processor. 1 repeats to the bit."),
    ] = None,
    engine: Engine = "local",
    address: Address = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for study and report; by default runs/tune-CORPUS-NETWORK. The same command goes on there "
            "after an interruption.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    corpus_name: CorpusName = None,
    cache: Cache = None,
    no_cache: NoCache = False,
    json: Json = False,
) -> int:
    """Search settings that do well on validation speakers; those who judge are not even read."""
    from emogram.engines import engine_named

    chosen = None if folds is None else numbers("--folds", folds)
    where = engine_named(engine, address)
    prepare_training("tuning")
    found = find_all(corpora, also, corpus_name)
    from emogram import console
    from emogram.tuning import DEFAULT_SPACE, read_space
    from emogram.tuning import tune as search

    result = search(
        found,
        config,
        out or Path("runs") / file_name(f"tune-{found.name}-{config.network.network}"),
        space=read_space(space or DEFAULT_SPACE),
        trials=trials,
        timeout_s=None if timeout is None else 60.0 * timeout,
        folds=chosen,
        objective=objective,
        pruner=pruner,
        jobs=jobs,
        engine=where,
        overwrite=overwrite,
        cache=cache_folder(cache, no_cache),
        progress=rich_progress(),
    )
    notes(result.warnings)
    if json:
        print_json(
            {**result.to_dict(), "out": str(result.out), "seconds": result.seconds, "warnings": list(result.warnings)}
            | {"failed": failed_dicts(result.failed)}
        )
    else:
        _show(result)
    console.failures(result.failed, total=len(found.clips))
    console.file_lines(result.plots, words="plots")
    console.say(f"report: {result.out / 'report.md'} (after {console.duration(result.seconds)})")
    return PARTLY_FAILED if result.failed else 0


def _show(result: TuningResult) -> None:
    from emogram import console
    from emogram.tuning.report import SHOWN, next_commands, settings_rows, summary

    console.show(console.trials_view(result.ranked[:SHOWN], title="The best trials", protocol=result.says))
    console.show(console.plain_table(("setting", "best", "begun with", "importance"), settings_rows(result)))
    console.say(summary(result))
    notes(result.cautions)
    for number, command in enumerate(next_commands(result)):
        console.say(f"{'then:' if number == 0 else '':<6} {command}")

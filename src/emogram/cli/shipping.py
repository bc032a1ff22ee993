"""The command that makes of a trained model the one that the package ships."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emogram.cli.options import Also, Cache, CorpusName, CorpusPaths, Json, NoCache, Workers
from emogram.cli.shared import cache_folder, find_all, rich_progress, show_report


def ship(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A run folder or model folder.", show_default=False)],
    corpora: CorpusPaths,
    out: Annotated[
        Path, typer.Option(help="The folder to write; a model that is there is replaced.", show_default=False)
    ],
    also: Also = None,
    card: Annotated[Path | None, typer.Option(help="Also write the model card here.", show_default=False)] = None,
    evidence: Annotated[
        Path | None,
        typer.Option(
            help="TOML file that names the results, tables and commands that the card shows.", show_default=False
        ),
    ] = None,
    int8: Annotated[bool, typer.Option(help="Try int8, and keep it where it costs under a point of UAR.")] = True,
    corpus_name: CorpusName = None,
    cache: Cache = None,
    no_cache: NoCache = False,
    workers: Workers = None,
    json: Json = False,
) -> int:
    """Make of a trained model the folder that the package ships: small, licensed, with its card."""
    from emogram.doctor import require_training

    require_training("shipping")
    from emogram import console
    from emogram.card import read_evidence
    from emogram.ship import ship as make_folder

    found = find_all(corpora, also, corpus_name)
    result = make_folder(
        model,
        found,
        out,
        int8=int8,
        evidence=None if evidence is None else read_evidence(evidence),
        card=card,
        cache=cache_folder(cache, no_cache),
        workers=workers,
        progress=rich_progress(),
    )
    facts = {
        "model": {"id": result.bundle.info.model_id, "sha256": result.bundle.sha256},
        "bytes": result.n_bytes,
        "trials": {name: vars(trial) for name, trial in result.trials.items()},
        "chosen": result.chosen,
    }
    code = show_report(
        result.report,
        title="What ships, on the part that judges",
        out=out,
        failed=result.failed,
        n_given=len(found.clips),
        warnings=found.warnings,
        as_json=facts if json else None,
    )
    for name, trial in result.trials.items():
        console.say(
            f"{name:<8} {trial.n_bytes / 1e6:.2f} MB, validation UAR {console.percent(trial.uar)}, {trial.clip_ms:.2f} "
            f"ms a clip{', chosen' if name == result.chosen else ''}"
        )
    console.say(f"model: {out} ({result.n_bytes / 1e6:.2f} MB)")
    return code

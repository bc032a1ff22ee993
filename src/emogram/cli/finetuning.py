"""The command that trains a model further: finetune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emogram.bundle import SHIPPED
from emogram.cli.completing import SETTINGS as COMPLETERS
from emogram.cli.completing import models
from emogram.cli.entry import PARTLY_FAILED, interrupted_code
from emogram.cli.options import (
    Also,
    Cache,
    CorpusName,
    CorpusPaths,
    Json,
    Mlflow,
    MlflowUri,
    NoCache,
    Overwrite,
    Resume,
    RunName,
    Tensorboard,
    Wandb,
    Workers,
)
from emogram.cli.shared import (
    cache_folder,
    chosen_trackers,
    failed_dicts,
    find,
    find_all,
    is_begun,
    new_folder,
    notes,
    prepare_training,
    print_json,
    rich_progress,
    run_named,
)
from emogram.config import FINETUNE, RunConfig
from emogram.settings import takes_settings

# The model to start from is --from here; a fold belongs to a protocol, and who judges is held out in any case.
_NOT_HERE = ("init", "protocol", "fold", "judge_on")


@takes_settings("augment", "train", "split", leave_out=_NOT_HERE, base=FINETUNE, complete=COMPLETERS)
def finetune(
    corpora: CorpusPaths,
    config: RunConfig,
    model: Annotated[
        Path,
        typer.Option(
            "--from",
            metavar="MODEL",
            help=f"The model to start from: a model folder, a run folder, `{SHIPPED}`, the model inside the package, "
            "or hf://OWNER/NAME[@REVISION].",
            autocompletion=models,
        ),
    ] = Path(SHIPPED),
    speakers: Annotated[
        list[str] | None,
        typer.Option(
            "--speaker",
            metavar="NAME",
            help="Take the clips of this speaker of the corpus alone; may be given several times.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="CORPUS",
            help="A corpus that is not to be forgotten, such as the model's own: judged before and after as well.",
            show_default=False,
        ),
    ] = None,
    also: Also = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder; by default runs/CORPUS-finetuned-TIME.", show_default=False)
    ] = None,
    name: RunName = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    corpus_name: CorpusName = None,
    cache: Cache = None,
    no_cache: NoCache = False,
    workers: Workers = None,
    tensorboard: Tensorboard = True,
    mlflow: Mlflow = False,
    mlflow_uri: MlflowUri = None,
    wandb: Wandb = False,
    json: Json = False,
) -> int:
    """Train a model further, on other labels or on somebody's voice, and tell before and after."""
    named = run_named(out, name, resume=resume, overwrite=overwrite)
    prepare_training("fine-tuning")
    trackers = chosen_trackers(tensorboard, mlflow, mlflow_uri, wandb)
    from emogram import console
    from emogram.finetune import finetune as train_further
    from emogram.finetune import only_speakers

    found = find_all(corpora, also, corpus_name, unlabelled=config.train.targets == "dimensions")
    if speakers:
        found = only_speakers(found, speakers)
    begun = is_begun(named, resume=resume, overwrite=overwrite)
    folder = named if resume and named else new_folder(named, f"{found.name}-finetuned", overwrite=overwrite or begun)
    result = train_further(
        model,
        found,
        folder,
        config=config,
        keep=None if keep is None else find(keep, None),
        resume=resume,
        cache=cache_folder(cache, no_cache),
        workers=workers,
        trackers=trackers,
        progress=rich_progress(),
    )
    notes(result.warnings)
    if json:
        facts = {"run": str(result.run), "interrupted": result.interrupted, "seconds": result.seconds}
        print_json({**result.to_dict(), **facts, "failed": failed_dicts(result.failed)})
    else:
        for title, change in (("On clips that were held out", result.change), ("On what is to be kept", result.kept)):
            if change is not None:
                console.show(console.change_view(change, title=title))
        if result.change is None:
            console.show(console.report_view(result.report, title="On clips that were held out"))
    console.failures(result.failed, total=len(found.clips))
    if result.lost_labels:
        console.say(f"no longer known: {', '.join(result.lost_labels)}")
    console.file_lines(result.files, words="before and after")
    console.say(f"model: {result.run / 'model'} (after {console.duration(result.seconds)})")
    if result.interrupted:
        return interrupted_code()
    return PARTLY_FAILED if result.failed else 0

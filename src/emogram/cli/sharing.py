"""The commands that carry models to the Hugging Face Hub and back: push and pull."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emogram.cli.completing import models
from emogram.cli.options import Json
from emogram.cli.shared import notes, print_json

Repository = Annotated[
    str,
    typer.Argument(
        metavar="OWNER/NAME", help="The repository on the Hub; OWNER/NAME@BRANCH for a branch.", show_default=False
    ),
]


def push(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A model folder, a run folder, or `shipped`.",
            show_default=False,
            autocompletion=models,
        ),
    ],
    repository: Repository,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository for its owner only.")] = False,
    json: Json = False,
) -> int:
    """Put a model on the Hugging Face Hub; HF_TOKEN holds the token."""
    from emogram import console
    from emogram.hub import push as push_model

    pushed = push_model(model, repository, private=private)
    notes(pushed.warnings)
    if json:
        print_json({"address": str(pushed.address), "commit": pushed.address.revision, "sha256": pushed.bundle.sha256})
    console.say(f"pushed: {pushed.bundle.info.model_id} to {pushed.address}")
    return 0


def pull(
    repository: Repository,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="A new folder for the model.", show_default=False)],
    revision: Annotated[
        str | None, typer.Option(help="A branch, a tag or a commit; by default the newest.", show_default=False)
    ] = None,
    json: Json = False,
) -> int:
    """Fetch a model from the Hugging Face Hub and verify it."""
    from emogram import console
    from emogram.hub import pull as pull_model

    address, bundle = pull_model(repository, out, revision=revision)
    if json:
        print_json({"address": str(address), "commit": address.revision, "sha256": bundle.sha256, "model": str(out)})
    console.say(f"pulled: {bundle.info.model_id} from {address} to {out}, verified")
    return 0

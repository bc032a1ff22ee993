"""The command that writes a corpus in the format of another project: corpora convert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from emogram.cli.entry import PARTLY_FAILED
from emogram.cli.options import CorpusName, CorpusPaths, Json
from emogram.cli.shared import failed_dicts, find_all, notes, print_json, rich_progress


def convert_corpus(
    corpora: CorpusPaths,
    to: Annotated[
        Literal["audiofolder", "datasets", "audformat", "emobox", "nkululeko"],
        typer.Option(help="The format; docs/corpora.md tells what each holds.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="A new folder.", show_default=False)],
    sounds: Annotated[
        Literal["copy", "link", "reference"] | None,
        typer.Option(
            help="Copy the sound files, link them (hard links: no space, on one disk), or name them where they are "
            "(emobox, nkululeko). By default nkululeko names them, datasets holds them within, and the others copy.",
            show_default=False,
        ),
    ] = None,
    unlabelled: Annotated[
        bool,
        typer.Option(
            "--unlabelled", help="Also clips without an emotion of which arousal or another dimension is told."
        ),
    ] = False,
    corpus_name: CorpusName = None,
    json: Json = False,
) -> int:
    """Write a corpus for other tools: Hugging Face, audEERING's, EmoBox, nkululeko; said is what they cannot hold."""
    from emogram import console
    from emogram.corpora import convert

    found = find_all(corpora, None, corpus_name, unlabelled=unlabelled)
    done = convert(found, to, out, sounds=sounds, progress=rich_progress())
    notes([*found.warnings, *(f"lost: {line}" for line in done.lost)])
    if json:
        print_json(
            {
                "out": str(done.out),
                "format": done.format,
                "sounds": done.sounds,
                "clips": done.n_clips,
                "lost": list(done.lost),
                "failed": failed_dicts(done.failed),
                "warnings": list(found.warnings),
            }
        )
    else:
        how = {"copy": "copied", "link": "linked", "reference": "named where it is", "within": "within"}[done.sounds]
        console.say(f"{done.n_clips:,} clips as {done.format}, sound {how}: {done.out}")
        console.say(f"to use it: {done.hint}")
    console.failures(done.failed, total=len(found.clips))
    return PARTLY_FAILED if done.failed else 0

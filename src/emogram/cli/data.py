"""The commands that look at data: spectrograms, and corpora describe, list and download."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emogram.cli.completing import downloads, one_of
from emogram.cli.entry import PARTLY_FAILED, UNREADABLE
from emogram.cli.options import CorpusName, CorpusPath, Json, Workers
from emogram.cli.shared import failed_dicts, find, heard, notes, print_json, rich_progress
from emogram.config import RunConfig
from emogram.errors import InputError
from emogram.progress import SILENT
from emogram.settings import takes_settings

if TYPE_CHECKING:
    from emogram.corpora import Corpus


@takes_settings(
    "spectrogram",
    leave_out=("kind", "utterance_features", "min_frames", "frame_multiple"),
    base={"network": {"network": "baseline"}},
)
def spectrograms(
    corpus: CorpusPath,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the pictures.", show_default=False)],
    config: RunConfig,
    corpus_name: CorpusName = None,
    workers: Workers = None,
    json: Json = False,
) -> int:
    """Draw each clip of a corpus as a picture, one folder for each emotion; what is drawn already stays."""
    from emogram import console
    from emogram.pictures import write_pictures

    found = find(corpus, corpus_name)
    result = write_pictures(found, out, config.spectrogram, workers=workers, progress=rich_progress())
    warnings = list(found.warnings)
    if result.strays:
        named = ", ".join(str(path) for path in result.strays[:3])
        more = ", ..." if len(result.strays) > 3 else ""
        warnings.append(
            f"{len(result.strays)} pictures in {out} belong to no clip of this corpus and would be trained on: {named}"
            f"{more}; remove them if they are old"
        )
    notes(warnings)
    if json:
        print_json(
            {
                "out": str(out),
                "written": result.written,
                "unchanged": result.unchanged,
                "failed": failed_dicts(result.failed),
                "warnings": warnings,
            }
        )
    else:
        console.say(f"{result.written:,} pictures drawn, {result.unchanged:,} were there already: {out}")
    console.failures(result.failed, total=len(found.clips))
    if result.failed and not result.written and not result.unchanged:
        return UNREADABLE
    return PARTLY_FAILED if result.failed else 0


def describe_corpus(
    corpus: CorpusPath,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the plots and description.json; by default CORPUS-description here."),
    ] = None,
    plots: Annotated[bool, typer.Option(help="Draw the class balance and examples of each emotion.")] = True,
    corpus_name: CorpusName = None,
    workers: Workers = None,
    json: Json = False,
) -> int:
    """Tell what is in a corpus and what is wrong with it, and draw it."""
    from emogram import console
    from emogram.corpora.describe import describe
    from emogram.doctor import require_plots
    from emogram.files import write_json

    if plots:
        require_plots("drawing plots (--no-plots does without)")
    found = find(corpus, corpus_name)
    description = describe(found, workers=workers, progress=rich_progress())
    notes(description.warnings)
    if json:
        print_json(description.to_dict())
    else:
        console.show(console.description_view(description))
    if plots or out is not None:
        folder = out or Path(f"{found.name}-description")
        write_json(folder / "description.json", description.to_dict())
        if plots:
            console.file_lines(_draw_description(found, description.by_label, folder), words="plots")
    return PARTLY_FAILED if description.unreadable else 0


def _draw_description(corpus: Corpus, counts: Any, folder: Path) -> list[Path]:
    from emogram import plots
    from emogram.corpora.describe import example_clips

    balance, sheet = folder / "class_balance.png", folder / "examples.png"
    plots.class_balance(counts, balance, title=corpus.name)
    config = RunConfig().spectrogram
    examples = {}
    for label, clips in example_clips(corpus).items():
        drawn = []
        for clip in clips:
            with contextlib.suppress(InputError):  # named in the description
                drawn.append((f"{clip.speaker or ''} {clip.path.stem}".strip(), heard(clip, config)))
        if drawn:
            examples[label] = drawn
    if examples:
        plots.spectrogram_sheet(examples, sheet, title=corpus.name, config=config)
    return [balance, *([sheet] if examples else [])]


def list_corpora(json: Json = False) -> int:
    """List the corpora that are known by the names of their files."""
    from emogram import console
    from emogram.corpora import CORPORA
    from emogram.corpora.origin import Download

    rows = [
        {
            "name": each.name,
            "example": each.example,
            "licence": each.licence,
            "clips": each.n_clips,
            "download": isinstance(each.origin, Download),
            "page": each.origin.page,
        }
        for each in CORPORA.values()
    ]
    if json:
        for row in rows:
            print_json(row)
    else:
        columns = ("corpus", "a file of it", "licence", "clips", "download")
        texts = [
            (each.name, each.example, each.licence, f"{each.n_clips:,}", "yes" if row["download"] else "by hand")
            for each, row in zip(CORPORA.values(), rows, strict=True)
        ]
        console.show(console.plain_table(columns, texts))
    return 0


def download_corpus(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Which corpus; see `emogram corpora list`.",
            show_default=False,
            autocompletion=one_of(downloads),
        ),
    ],
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="Where to; by default a folder of that name here.", show_default=False),
    ] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="You have read its licence and accept it; else you are asked.")
    ] = False,
    places: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="PLACE",
            help="An archive of it that you have, or another address of it; where there are several, once for each.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Download a corpus, check and unpack it; stopped half-way, the same command goes on from there."""
    from emogram import console
    from emogram.downloads import download, offer, present

    naming, origin = offer(name)
    if not accept_licence and present(name, folder) is None:
        for line in (f"{name}: {naming.licence}, {origin.page}", f"Cite: {naming.citation}"):
            console.say(line)
        accept_licence = _is_a_person() and typer.confirm("Have you read its licence, and accept it?", err=True)
    progress = SILENT if json and sys.stdout.isatty() else rich_progress()
    done = download(name, folder, accept_licence=accept_licence, places=places or (), progress=progress)
    notes(done.warnings)
    if json:
        print_json(
            {
                "corpus": name,
                "folder": str(done.folder),
                "clips": done.receipt.n_clips,
                "licence": done.receipt.licence,
                "was_there": done.was_there,
                "warnings": list(done.warnings),
            }
        )
    else:
        words = "all there already" if done.was_there else "downloaded"
        console.say(f"{done.receipt.n_clips:,} clips of {name}, {words}: {done.folder}")
        console.say(f"`emogram corpora describe {done.folder}` tells what is in it")
    return 0


def _is_a_person() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()

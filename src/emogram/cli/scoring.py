"""The command for very many recordings: score."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from emogram.bundle import SHIPPED
from emogram.cli.entry import PARTLY_FAILED, UNREADABLE, interrupted_code, stopping
from emogram.cli.options import Address, Engine, Json, ModelName, Shifts, Workers
from emogram.cli.shared import names_given, print_json, rich_progress
from emogram.errors import SettingsError

if TYPE_CHECKING:
    from emogram.archive import ArchiveStatus
    from emogram.config import ArchiveConfig


def score(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT...",
            help="Folders with all below them, sound files, patterns in quotes, manifests (.csv, .tsv or .jsonl with a "
            "column path and, as you have them, start, end and speaker; .txt with a path a line), and s3://, gs:// or "
            "http:// of all these; - reads names from stdin.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        str,
        typer.Option(
            metavar="FOLDER",
            help="Where the Parquet files go, here or in a store (s3://...). What is there already is not done again.",
            show_default=False,
        ),
    ] = "",
    model: ModelName = Path(SHIPPED),
    rows: Annotated[
        Literal["clips", "segments"],
        typer.Option(help="A row for each file, an utterance each, or for each segment of its timeline."),
    ] = "clips",
    channels: Annotated[
        Literal["mix", "split"],
        typer.Option(help="Of segments: average the channels, or analyse each by itself."),
    ] = "mix",
    raw: Annotated[bool, typer.Option("--raw", help="Of segments: do not smooth.")] = False,
    check: Annotated[
        bool, typer.Option(help="Of clips: look for speech, and warn of what is unlike the training data.")
    ] = True,
    shifts: Shifts = 1,
    engine: Engine = "local",
    address: Address = None,
    workers: Workers = None,
    shard: Annotated[
        str,
        typer.Option(
            metavar="I/N",
            help="Do only every N-th shard from the I-th on, counted from 1: the jobs of a scheduler share the work.",
        ),
    ] = "1/1",
    shard_files: Annotated[
        int | None,
        typer.Option(
            min=1, help="Most inputs in a shard; by default 64 to 2,000, by their number.", show_default=False
        ),
    ] = None,
    shard_mb: Annotated[
        float, typer.Option(min=0.001, help="A shard is full with so many megabytes of sound files.")
    ] = 256.0,
    time_limit: Annotated[
        float, typer.Option(metavar="S", min=0.1, help="Seconds after which a file is given up.")
    ] = 3600.0,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Do those shards again in which an input failed.")
    ] = False,
    verify: Annotated[bool, typer.Option(help="Compare what is committed with its hashes, not only its size.")] = True,
    status: Annotated[
        bool, typer.Option("--status", help="Only tell how far the folder is, and what failed in it.")
    ] = False,
    json: Json = False,
) -> int:
    """Score whole archives into Parquet; goes on where it was stopped."""
    from emogram import archive
    from emogram.progress import SILENT

    if not out:
        raise SettingsError("say with --out where the results go")
    if status:
        return _show(archive.status(out, verify=verify), json=json)
    if not inputs:
        raise SettingsError("nothing to score; name folders, files, manifests or URLs, or ask for --status")
    config = _config(rows, channels, raw, check, shifts, shard_files, shard_mb)
    part = _part(shard)
    with stopping() as should_stop:
        reached = archive.score(
            list(names_given(inputs)),
            out,
            model=model,
            config=config,
            engine=engine,
            address=address,
            workers=workers,
            part=part,
            time_limit_s=time_limit,
            retry_failed=retry_failed,
            verify=verify,
            progress=SILENT if json and sys.stdout.isatty() else rich_progress(),
            should_stop=should_stop,
        )
        stopped = should_stop()
    code = _show(reached, json=json)
    return interrupted_code() if stopped and not reached.complete else code


def _config(
    rows: Literal["clips", "segments"],
    channels: Literal["mix", "split"],
    raw: bool,
    check: bool,
    shifts: int,
    shard_files: int | None,
    shard_mb: float,
) -> ArchiveConfig:
    from emogram.config import ArchiveConfig

    if raw and rows == "clips":
        raise SettingsError("--raw is about segments; say --rows segments as well")
    return ArchiveConfig.from_dict(
        {
            "rows": rows,
            "channels": channels,
            "check": check,
            "shifts": shifts,
            "timeline": {"smooth": not raw},
            "shard_files": shard_files,
            "shard_mb": shard_mb,
        }
    )


def _part(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None:
        raise SettingsError(f"--shard {text}: expected I/N, such as 3/100, or $SLURM_ARRAY_TASK_ID/100")
    return int(match[1]), int(match[2])


def _show(status: ArchiveStatus, *, json: bool) -> int:
    """Show how far an archive is, and return the exit code."""
    from emogram import console

    if json:
        print_json(status.to_dict())
    else:
        console.show(console.archive_view(status))
    if not status.failed:
        return 0
    return UNREADABLE if status.n_failed == status.n_inputs else PARTLY_FAILED

"""The command that writes a model for other programs: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from emogram.cli.completing import models
from emogram.cli.options import Json, OverwriteFiles
from emogram.cli.shared import files_named, names_given, notes, print_json, rich_progress

ModelArgument = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL", help="A model folder, a run folder, or `shipped`.", show_default=False, autocompletion=models
    ),
]


def export(
    model: ModelArgument,
    clips: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CLIP]...",
            help="Sound files, folders or patterns to compare on and, for int8, to take the ranges from; - reads names "
            "from stdin. By default synthetic voices.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        Literal["onnx", "onnx-waveform", "onnx-int8", "litert"],
        typer.Option(
            help="onnx takes spectrograms; onnx-waveform takes 16 kHz sound and needs nothing else; onnx-int8 is onnx, "
            "a third of the size; litert is for telephones."
        ),
    ] = "onnx-waveform",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The file; by default the model's name here.")
    ] = None,
    overwrite: OverwriteFiles = False,
    json: Json = False,
) -> int:
    """Write a model for ONNX Runtime, browsers or telephones, and tell how nearly it answers as before."""
    from emogram import console
    from emogram.deploy import deploy
    from emogram.recordings import recordings_in

    paths = [path for name in names_given(clips or []) for path in files_named(name, recordings_in)]
    deployed = deploy(model, to, out, clips=paths, overwrite=overwrite, progress=rich_progress())
    if deployed.parity.n_calibration and not paths:
        notes(["int8 took its ranges from synthetic voices; give it a hundred clips of the kind that it is for"])
    if json:
        print_json({**deployed.to_dict(), "file": str(deployed.file), "report": str(deployed.report)})
    else:
        console.show(console.parity_view(deployed))
    console.file_lines([deployed.file, deployed.report], words=f"{deployed.n_bytes / 1e6:.2f} MB, written")
    return 0

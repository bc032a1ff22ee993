"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from emogram.bundle import SHIPPED
from emogram.cli.completing import corpora, formats, models, one_of

_TRACKERS = "Trackers"  # what stands over their flags in --help

CorpusPath = Annotated[
    Path,
    typer.Argument(
        metavar="CORPUS",
        help="Folder of sound or spectrogram pictures with a folder for each emotion, a known corpus (see `emogram "
        "corpora list`), a manifest (.csv, .jsonl) with the columns path and label, or a format of `corpora convert`.",
        show_default=False,
    ),
]
CorpusPaths = Annotated[
    list[Path],
    typer.Argument(
        metavar="CORPUS...",
        help="One corpus or several: each a folder of sound or spectrogram pictures with a folder for each emotion, a "
        "known corpus (see `emogram corpora list`), a manifest (.csv, .jsonl) with the columns path and label, or a "
        "format of `corpora convert`.",
        show_default=False,
    ),
]
Also = Annotated[
    list[Path] | None,
    typer.Option(
        "--also",
        metavar="CORPUS",
        help="A corpus whose clips train as well and never choose or judge; may be given several times.",
        show_default=False,
    ),
]
ModelName = Annotated[
    Path,
    typer.Option(
        "--model",
        envvar="EMOGRAM_MODEL",
        autocompletion=models,
        help=f"A model folder, a run folder, `{SHIPPED}`, the model inside the package, or hf://OWNER/NAME[@REVISION].",
    ),
]
CorpusName = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="NAME",
        help="What the corpus is, instead of finding out by looking.",
        autocompletion=one_of(corpora),
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout, and nothing else there.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Processes to work with; by default one for each processor.", show_default=False),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        help="Folder that keeps spectrograms between runs; by default EMOGRAM_CACHE, else the user's cache folder.",
        show_default=False,
    ),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Keep no spectrograms between runs.")]
Engine = Annotated[
    Literal["local", "ray"],
    typer.Option(help="Where the work is done: in processes of this machine, or on a Ray cluster that runs already."),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="HOST:PORT of the Ray cluster; by default RAY_ADDRESS, else the one that this machine is part of.",
        show_default=False,
    ),
]
Shifts = Annotated[
    int,
    typer.Option(
        min=1, max=9, help="Average every answer over this many shifts in time: slower and better; 5 are enough."
    ),
]
Out = Annotated[Path | None, typer.Option(help="Folder for the results; by default a new one below runs/.")]
RunName = Annotated[str | None, typer.Option("--name", help="Name of the run folder below runs/.", show_default=False)]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with the training in the run folder that was interrupted, to the same model as without.",
    ),
]
Seeds = Annotated[
    str | None, typer.Option(metavar="N,N,...", help="Train once with each seed; by default --seed alone.")
]
AllowLeaks = Annotated[
    bool,
    typer.Option("--allow-leaks", help="Go on where clips that judge were trained on, and say so in the report."),
]
Tensorboard = Annotated[
    bool,
    typer.Option(
        "--tensorboard/--no-tensorboard",
        envvar="EMOGRAM_TENSORBOARD",
        show_envvar=False,
        help="Write event files for TensorBoard into the run folder.",
        rich_help_panel=_TRACKERS,
    ),
]
Mlflow = Annotated[
    bool,
    typer.Option(
        "--mlflow/--no-mlflow",
        envvar="EMOGRAM_MLFLOW",
        show_envvar=False,
        help="Tell MLflow: the store of MLFLOW_TRACKING_URI, else sqlite:///mlflow.db.",
        rich_help_panel=_TRACKERS,
    ),
]
MlflowUri = Annotated[
    str | None,
    typer.Option(
        "--mlflow-uri",
        metavar="URI",
        help="Tell this store of MLflow: http://HOST:PORT, sqlite:///FILE, or a folder.",
        show_default=False,
        rich_help_panel=_TRACKERS,
    ),
]
Wandb = Annotated[
    bool,
    typer.Option(
        "--wandb/--no-wandb",
        envvar="EMOGRAM_WANDB",
        show_envvar=False,
        help="Tell Weights & Biases; with WANDB_MODE=offline, files in the run folder.",
        rich_help_panel=_TRACKERS,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Write into a folder that holds results already.")]
Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        metavar="NAME",
        autocompletion=one_of(formats),
        help="Also write the timeline as jsonl, csv, parquet, textgrid, eaf, audacity, vtt, rttm or html; may be given "
        "several times.",
        show_default=False,
    ),
]
FormatsOut = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Where --format writes: a folder, by default this one, or for one recording a file, whose name tells the "
        "format.",
        show_default=False,
    ),
]
TimelinePlot = Annotated[
    Path | None,
    typer.Option(
        "--plot",
        metavar="PNG",
        help="Draw waveform, spectrogram, probabilities and segments: a PNG file for one recording, a folder for "
        "several.",
        show_default=False,
    ),
]
OverwriteFiles = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there already.")]

"""Libraries that report to their makers, told not to before they are loaded: emogram reports nothing (SECURITY.md).

Each reads its variable once, when it is imported. A variable that is set already stays as it is, so that whoever wants
to report does; and where a program has loaded a library before us, what it was told then holds.
"""

from __future__ import annotations

import os

VARIABLES = {
    # What is loaded and run, under an id that it keeps in the user's cache folder (its Privacy.md; since 1.32).
    "onnxruntime": {"ORT_DISABLE_TELEMETRY": "1"},
    # Of a cluster that it starts itself (`--address local`): versions, hardware and what is used, once an hour. Of one
    # that runs already whoever started it has decided.
    "ray": {"RAY_USAGE_STATS_ENABLED": "0"},
    # Which functions are called, and on which system.
    "mlflow": {"MLFLOW_DISABLE_TELEMETRY": "true"},
    # Its own errors.
    "wandb": {"WANDB_ERROR_REPORTING": "false"},
    # How transfers went (hf_xet), and with each request which libraries and programs are at work.
    "huggingface_hub": {"HF_HUB_DISABLE_TELEMETRY": "1"},
    # That a data set was asked for, as well.
    "datasets": {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_UPDATE_DOWNLOAD_COUNTS": "0"},
}
"""Library -> variable -> value that silences it. Of the other dependencies none was found to report."""


def silence(library: str) -> None:
    """Tell a library of `VARIABLES` that is about to be imported to report nothing."""
    for name, value in VARIABLES[library].items():
        os.environ.setdefault(name, value)

"""The optional parts of an installation: what each gives, and which of them are there."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass


@dataclass(frozen=True)
class Extra:
    """One optional part, as `pyproject.toml` names it.

    Attributes:
        name: "media".
        gives: What it is good for.
        modules: Modules that it brings, as they are imported.
    """

    name: str
    gives: str
    modules: tuple[str, ...]

    def missing(self) -> list[str]:
        """Return its modules that are not installed."""
        return [name for name in self.modules if importlib.util.find_spec(name) is None]


EXTRAS = (
    Extra("train", "training, plots, Grad-CAM", ("keras", "torch", "onnx", "matplotlib", "tensorboardX")),
    Extra("formats", "Parquet and data frames", ("pandas", "pyarrow")),
    Extra("archive", "`emogram score`", ("fsspec", "pyarrow", "aiohttp")),
    Extra("s3", "recordings in S3", ("s3fs", "pyarrow")),
    Extra("gs", "recordings in Google Cloud Storage", ("gcsfs", "pyarrow")),
    Extra("media", "M4A, MP4, WebM, AMR and video", ("av",)),
    Extra("mic", "`emogram listen` from a microphone", ("sounddevice",)),
    Extra("cluster", "`--engine ray`", ("ray",)),
    Extra("download", "`emogram corpora download`", ("pooch",)),
    Extra("datasets", "data sets of Hugging Face", ("datasets",)),
    Extra("audformat", "databases of audEERING", ("audformat", "pandas")),
    Extra("tune", "search for settings", ("optuna", "matplotlib")),
    Extra("mlflow", "tracking with MLflow", ("mlflow", "sqlalchemy", "alembic", "sqlparse")),
    Extra("wandb", "tracking with Weights & Biases", ("wandb",)),
    Extra("export", "`emogram export` to ONNX", ("onnx",)),
    Extra("litert", "`emogram export --to litert`, in an environment of its own", ("tensorflow", "ai_edge_litert")),
    Extra("hub", "models on the Hugging Face Hub", ("huggingface_hub",)),
    Extra("client", "`emogram predict --server`, emogram.Client", ("httpx", "websockets")),
    Extra("serve", "`emogram serve`", ("fastapi", "uvicorn", "websockets", "python_multipart", "prometheus_client")),
)
"""In the order of `pyproject.toml`."""

"""ONNX Runtime, which does not report to its makers here; every other module has it from this one.

Whoever wants that it does sets ORT_DISABLE_TELEMETRY=0; see `silenced`.
"""

from __future__ import annotations

import os

from emogram.silenced import silence

silence("onnxruntime")

import onnxruntime  # noqa: E402

if os.environ["ORT_DISABLE_TELEMETRY"] == "1":  # where a program loaded it before us, the first note is made already
    onnxruntime.disable_telemetry_events()

__all__ = ["onnxruntime"]

"""ONNX Runtime, which does not report to its makers here; every other module has it from this one.

Since 1.32 its official builds note what they load and run, under an id that they keep in the user's cache folder, and
send it (their Privacy.md). emogram reports nothing to anybody (SECURITY.md). Whoever wants that sets
ORT_DISABLE_TELEMETRY=0.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # is read once, when the library is loaded

import onnxruntime

if os.environ["ORT_DISABLE_TELEMETRY"] == "1":  # where a program loaded it before us, the first note is made already
    onnxruntime.disable_telemetry_events()

__all__ = ["onnxruntime"]

"""On what machine, and with which versions, something was measured."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import date
from importlib import metadata
from pathlib import Path

ALWAYS = ("emogram", "numpy", "scipy", "soundfile", "soxr", "onnxruntime")


def describe(packages: Sequence[str] = ()) -> str:
    """Return one line: processor, cores, memory, system, Python, and the versions of packages that count."""
    parts = [
        f"{processor()}, {os.cpu_count()} cores" + (f", {memory_gb():.0f} GB" if memory_gb() else ""),
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        ", ".join(f"{name} {version(name)}" for name in dict.fromkeys([*ALWAYS, *packages])),
        date.today().isoformat(),
    ]
    return "; ".join(parts)


def version(package: str) -> str:
    """Return the version of an installed package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(not installed)"


def processor() -> str:
    """Return the name of the processor."""
    told = Path("/proc/cpuinfo")
    if told.is_file():
        for line in told.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()


def memory_gb() -> float:
    """Return how much memory the machine has; 0 where the system does not tell."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return 0.0
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9

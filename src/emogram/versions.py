"""Which emogram this is, and on what it stands: what a bug report needs. Loads no framework."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys

from emogram import __version__
from emogram.installing import checkout

DEFAULT_BACK_END = "torch"

_GIT_TIMEOUT_S = 10


def commit() -> str | None:
    """Return the commit that this copy is of, with "+" where files have changed since; None where nobody knows."""
    root = checkout()
    if root is None:
        return _installed_commit()
    git = ["git", "-C", str(root)]
    try:
        head = _said([*git, "rev-parse", "--short=12", "HEAD"])
        changed = _said([*git, "status", "--porcelain", "--untracked-files=no"])
    except (OSError, subprocess.SubprocessError):  # no git, no repository, or one that belongs to somebody else
        return None
    return head + ("+" if changed else "")


def _said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_GIT_TIMEOUT_S)
    return done.stdout.strip()


def _installed_commit() -> str | None:
    """Return the commit that pip noted where it installed from a repository (PEP 610)."""
    try:
        noted = importlib.metadata.distribution("emogram").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return None
    commit_id = json.loads(noted).get("vcs_info", {}).get("commit_id") if noted else None
    return commit_id[:12] if commit_id else None


def version_of(distribution: str) -> str | None:
    """Return the version of an installed distribution; None where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def back_end() -> str:
    """Return the back end that Keras would use under emogram, without importing either."""
    return os.environ.get("KERAS_BACKEND") or DEFAULT_BACK_END


def version_lines() -> list[str]:
    """Return what a bug report needs, a line each; the first is "emogram" and the version."""
    of = commit()
    keras = version_of("keras")
    behind = f"{back_end()} {version_of(back_end()) or '(not installed)'}"
    return [
        f"emogram {__version__}{f' (commit {of})' if of else ''}",
        f"Python {platform.python_version()} ({platform.python_implementation()}), {platform.platform()}",
        f"keras {keras} on {behind}" if keras else "keras not installed",
        f"onnxruntime {version_of('onnxruntime') or 'not installed'}, numpy {version_of('numpy') or 'not installed'}",
        _sound_versions(),
        f"installed in {sys.prefix}",
    ]


def _sound_versions() -> str:
    """Return the versions of the sound packages and of the libraries in C within them."""
    words = []
    for name, inner in (("soundfile", "libsndfile"), ("soxr", "libsoxr")):
        try:
            library = getattr(__import__(name), f"__{inner}_version__", "unknown")
        except (ImportError, OSError) as error:  # the package, or the library that it loads
            words.append(f"{name} {version_of(name) or 'not installed'} ({error})")
        else:
            words.append(f"{name} {version_of(name)} ({inner} {library})")
    return ", ".join([*words, f"av {version_of('av') or 'not installed'}"])

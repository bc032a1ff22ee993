"""The page in a real browser, against the real command, for tests and for the pictures of the documentation."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Without these a browser asks the network for news of its own.
_QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip
_FAKE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


def chromium() -> str | None:
    """Return where Chromium is; None where it is not."""
    named = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return os.environ.get("EMOGRAM_CHROMIUM") or next(filter(None, named), None)


@contextlib.contextmanager
def browsing(microphone: Path) -> Iterator[Browser]:
    """Run Chromium with a microphone that hears a WAV file, once and from its beginning each time it is opened."""
    from playwright.sync_api import sync_playwright

    heard = f"--use-file-for-fake-audio-capture={microphone}%noloop"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=[*_QUIET, *_FAKE, heard])
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def served(data: Path, *options: object, port: int = 0, **environment: str) -> Iterator[tuple[str, Any]]:
    """Run `emogram serve` as a process of its own, and give its address and the process; it is ended, if it runs."""
    command = [sys.executable, "-m", "emogram", "serve", "--json", "--port", str(port), "--workers", "1"]
    with subprocess.Popen(
        [*command, "--data", str(data), *map(str, options)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"], process
        finally:
            process.terminate()
            process.wait(timeout=40)

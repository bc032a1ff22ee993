"""Draw docs/page.png and docs/page-live.png: `python tests/page_pictures.py [CLIP ...]`.

The clips are joined, each at one loudness and without the silence about it; without any, voices that do not exist
speak. No sound is kept.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from browsing import browsing, served
from PIL import Image

from emogram import audio, voices

RATE = 16000
DOCS = Path(__file__).parents[1] / "docs"
LIVE_MS = 17_000
EMOTIONS = ("neutral", "angry", "sad", "happy", "fearful", "surprised")


def main(clips: list[str]) -> None:
    """Join clips, show the page what they are, and keep two pictures."""
    with tempfile.TemporaryDirectory() as folder:
        talk = Path(folder) / "conversation.wav"
        soundfile.write(talk, _joined(clips), RATE)
        with served(Path(folder) / "jobs") as (url, _), browsing(talk) as browser:
            page = browser.new_page(viewport={"width": 1400, "height": 1000}, color_scheme="light", locale="en-GB")
            page.goto(url)
            page.set_input_files("#file", talk)
            page.wait_for_selector("#summary", timeout=120_000)
            page.focus("#tracks")
            page.keyboard.press("Shift+ArrowRight")
            page.keyboard.press("Shift+ArrowRight")
            page.keyboard.press("w")
            page.wait_for_selector("#why-text .swatch", timeout=60_000)
            page.locator("#result-title").focus()
            page.wait_for_timeout(1000)
            _keep(page.screenshot(), DOCS / "page.png")
            page.click("#tab-live")
            page.click("#live-start")
            page.wait_for_timeout(LIVE_MS)
            _keep(page.screenshot(), DOCS / "page-live.png")
            page.click("#live-stop")
            page.wait_for_selector("#live-result", timeout=30_000)


def _joined(clips: list[str]) -> np.ndarray:
    pause = np.zeros(RATE // 2, np.float32)
    if clips:
        spoken = [_trimmed(audio.load_audio(clip, sample_rate=RATE)) for clip in clips]
    else:
        pair = voices.voices(2)
        spoken = [voices.speak(label, speaker=pair[k % 2], seed=k) for k, label in enumerate(EMOTIONS)]
    return np.concatenate([part for each in spoken for part in (pause, each)])


def _trimmed(sound: np.ndarray) -> np.ndarray:
    """Leave out what is 40 dB below the peak at both ends, and bring the peak to -4 dB."""
    level = np.abs(sound) / np.abs(sound).max()
    loud = np.flatnonzero(level > 0.01)
    return (0.63 * sound / np.abs(sound).max())[loud[0] : loud[-1]]


def _keep(picture: bytes, path: Path) -> None:
    """Keep a screenshot in 256 colours, which takes a third of the room."""
    path.write_bytes(picture)
    with Image.open(path) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1:])

"""The door of bombs: small files that unpack, resample or allocate to far more than they are."""

from __future__ import annotations

import io
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torture import hostile
from torture.verdict import Verdict, at_most, equal
from torture.watch import child

SUMMARY = "small files of hours of silence, absurd rates and sizes: refused or streamed, at once and in little memory"

TIME_S, MEMORY_MB = 1.0, 100.0
LONGEST_CLIP, CLIP_TIME_S = "nine-minutes-of-8-channels.flac", 2 + 0.05 * 540
HANG_S = 60.0
WALL_MB = 4096
MINUTE_S = 60
BLOCKS = 100  # of a file that is streamed: 100 MB of samples


def run(*, long: bool, seed: int) -> Verdict:
    """Give each bomb to the roads that take such a file; time and memory are those of the first answer.

    A clip as long as clips may be is decoded whole, in the time that the door `decode` gives it. What is refused must
    be refused within the figures. What is streamed must give its first `BLOCKS` blocks within the memory, and its first
    one within the time: hours of silence take their time, and no more than a file of that length may.
    """
    faults, slow, large = [], 0.0, 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asked = write_all(folder, hours=10 if long else 0.25)
        with child("torture.bombs:opener", limit_mb=WALL_MB) as one:
            for path, road in asked:
                seen = one.ask([road, str(path)], limit_s=HANG_S)
                seconds = seen.value["first_s"] if seen.end is None else seen.seconds
                told = f"{path.name}, {road}: {seen.end or seen.value}, {seen.peak_mb:.0f} MB"
                limit_s = CLIP_TIME_S if path.name == LONGEST_CLIP and road != "blocks" else TIME_S
                if seen.end is not None or seconds > limit_s or seen.peak_mb > MEMORY_MB:
                    faults.append(told)
                slow, large = max(slow, seconds * TIME_S / limit_s), max(large, seen.peak_mb)
    return Verdict(
        [
            equal("bombs that went off", len(faults), 0),
            at_most("longest until refused or the first block, of 1 s (of a clip of 9 minutes, 29 s)", slow, 1.0),
            at_most("most memory above the model", large, MEMORY_MB, unit=" MB"),
        ],
        {"bombs and roads": len(asked)},
        faults,
    )


def write_all(folder: Path, *, hours: float) -> list[tuple[Path, str]]:
    """Write every bomb; returns each with a road to try."""

    def wav(says: int | None = None, **header: int) -> Callable[[Path], object]:
        content = bytes(25_000) if says or header.get("rate", 0) in (1, 2**32 - 1) else b"\1\2" * 2_550_000
        return lambda path: path.write_bytes(
            _wav(**{"rate": 16000, "n_channels": 1, **header}, content=content, says=says)
        )

    sound: dict[str, Callable[[Path], object]] = {
        "silence.flac": lambda path: _silence(path, "FLAC", "PCM_16", hours, 1),
        "silence.ogg": lambda path: _silence(path, "OGG", "VORBIS", max(0.2, hours / 8), 1),
        "silence.opus": lambda path: _silence(path, "OGG", "OPUS", max(0.2, hours / 8), 1, rate=48000),
        LONGEST_CLIP: lambda path: _silence(path, "FLAC", "PCM_16", 0.15, 8),
        "1-hz.wav": wav(rate=1),
        "4-ghz.wav": wav(rate=2**32 - 1),
        "4000-hz.wav": wav(rate=4000),
        "2^31-frames.wav": wav(says=2**32 - 2),
        "255-channels.wav": wav(n_channels=255),
        "1024-channels.wav": wav(rate=768_000, n_channels=1024),
        "2^31-frames.flac": lambda path: path.write_bytes(_lying_flac()),
        "2^31-frames.au": lambda path: path.write_bytes(_au(2**31)),
        "2^31-frames.aiff": lambda path: path.write_bytes(_aiff(2**31 - 1)),
    }  # fmt: skip
    pictures = {
        "10^9-pixels.png": lambda path: path.write_bytes(_png(31_623, 31_623)),
        "2^62-pixels.png": lambda path: path.write_bytes(_png(2**31 - 1, 2**31 - 1)),
        "text-of-a-gigabyte.png": lambda path: path.write_bytes(_png(8, 8, text=bytes(2**28))),
    }
    asked = []
    for name, write in sound.items():
        write(folder / name)
        asked += [(folder / name, road) for road in ("load", "predict", "blocks")]
    for name, write in pictures.items():
        write(folder / name)
        asked.append((folder / name, "picture"))
    archives = hostile.keras_cases(folder / hostile.CANARY)
    for number, title in enumerate(("CVE-2026-0897: HDF5 shape bomb", "many HDF5 shape bombs, each small enough",
                                    "300 MB of zeros, compressed", "ZIP of ZIPs")):  # fmt: skip
        hostile.write_keras_case(folder / f"keras-{number}", archives[title])
        asked.append((folder / f"keras-{number}", "model"))
    (folder / "zip-of-zips.wav").write_bytes(archives["ZIP of ZIPs"])
    asked.append((folder / "zip-of-zips.wav", "blocks"))
    return asked


def opener() -> Callable[[list[str]], dict[str, Any]]:
    """In the child: return the function that opens a file by a road."""
    import time

    import numpy as np

    from emogram import audio, recordings, saved_network, spectrogram
    from emogram.bundle import open_bundle
    from emogram.classifier import Classifier
    from emogram.errors import EmogramError

    classifier = Classifier.load()
    classifier.predict(np.random.default_rng(0).normal(0, 0.1, 20 * 16000), sample_rate=16000)

    def blocks(path: Path, began: float) -> float:
        with recordings.open_recording(path) as recording:
            first_s = 0.0
            for number, _ in enumerate(recording.blocks()):
                first_s = first_s or time.monotonic() - began
                if number == BLOCKS:
                    break
            return first_s or time.monotonic() - began

    roads: dict[str, Callable[[Path], Any]] = {
        "load": lambda path: audio.load_audio(path, sample_rate=16000),
        "predict": classifier.predict,
        "picture": lambda path: spectrogram.resize_picture(spectrogram.open_picture(path), 128),
        "model": lambda path: saved_network.load_network(open_bundle(path)),
    }

    def open_one(question: list[str]) -> dict[str, Any]:
        road, path = question[0], Path(question[1])
        began = time.monotonic()
        first_s = None
        try:
            if road == "blocks":
                first_s = blocks(path, began)
            else:
                roads[road](path)
            outcome = "read"
        except EmogramError as error:
            outcome = str(error).removeprefix(str(path))[:80]
        return {"outcome": outcome, "first_s": first_s if first_s is not None else time.monotonic() - began}

    return open_one


def _silence(path: Path, kind: str, subtype: str, hours: float, n_channels: int, *, rate: int = 16000) -> None:
    import numpy as np
    import soundfile

    with soundfile.SoundFile(path, "w", rate, n_channels, format=kind, subtype=subtype) as file:
        minute = np.zeros((MINUTE_S * rate, n_channels), np.int16)
        for _ in range(round(hours * 60)):
            file.write(minute)


def _wav(*, rate: int, n_channels: int, content: bytes, says: int | None = None) -> bytes:
    block = 2 * n_channels
    fmt = struct.pack("<HHIIHH", 1, n_channels, rate, (rate * block) & 0xFFFFFFFF, block & 0xFFFF, 16)
    size = len(content) if says is None else says
    chunks = b"WAVE" + b"fmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", size) + content
    return b"RIFF" + struct.pack("<I", min(2**32 - 1, len(chunks))) + chunks


def _au(size: int) -> bytes:
    return b".snd" + struct.pack(">5I", 24, size, 3, 16000, 1) + bytes(64)


def _aiff(n_frames: int) -> bytes:
    rate = struct.pack(">HQ", 16383 + 13, 16000 << 50)
    common = struct.pack(">hIh", 1, n_frames, 16) + rate
    sound = struct.pack(">II", 0, 0) + bytes(64)
    chunks = b"AIFF" + b"COMM" + struct.pack(">I", len(common)) + common
    chunks += b"SSND" + struct.pack(">I", 2**32 - 1) + sound
    return b"FORM" + struct.pack(">I", 2**32 - 1) + chunks


def _lying_flac() -> bytes:
    import numpy as np
    import soundfile

    stream = io.BytesIO()
    soundfile.write(stream, np.zeros(1600, np.int16), 16000, format="FLAC")
    content = bytearray(stream.getvalue())
    content[22:26] = struct.pack(">I", 2**31)  # the low 32 bits of the number of samples, in STREAMINFO
    return bytes(content)


def _png(width: int, height: int, text: bytes = b"") -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    row = bytes(1 + min(width, 40_000))
    rows = zlib.compress(row * min(height, 40_000), 1)
    comment = chunk(b"zTXt", b"comment\0\0" + zlib.compress(text)) if text else b""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + comment + chunk(b"IDAT", rows) + chunk(b"IEND", b"")

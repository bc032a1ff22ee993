"""Sound files read block by block, however long they are, with a word on what is wrong with them.

What soundfile reads needs nothing else; M4A, MP4, WebM and AMR need the extra `media` (PyAV, the libraries of FFmpeg).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emogram.audio import (
    AUDIO_SUFFIXES,
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    UNKNOWN_FRAMES,
    not_a_file,
    openable,
    why_unreadable,
)
from emogram.errors import AudioError, InputError, MissingExtraError

Block = npt.NDArray[np.float32]

MEDIA_SUFFIXES = frozenset(
    {".m4a", ".mp4", ".m4v", ".mov", ".webm", ".mka", ".mkv", ".amr", ".awb", ".3gp", ".aac", ".wma", ".avi"}
)
RECORDING_SUFFIXES = AUDIO_SUFFIXES | MEDIA_SUFFIXES

BLOCK_VALUES = 2**18  # samples x channels: 1 MB, 16 s of mono at 16 kHz
MIN_MISSING_S = 0.1  # MP3 and Opus state their lengths less exactly than that

# Containers and no playlists, which name further files and addresses.
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,amr,aac,asf,avi,mpegts,flv,wav,flac,ogg,mp3,aiff,caf,au"


@dataclass
class Recording:
    """An open sound file.

    Attributes:
        path: The file.
        sample_rate: Its rate in Hz.
        channels: Its channels.
        duration_s: What its header says; None where it leaves that open.
        problem: What is wrong with it, once its blocks were read; None where nothing is.
        incomplete: True where, for that reason, sound is missing.
    """

    path: Path
    sample_rate: int
    channels: int
    duration_s: float | None
    _blocks: Iterator[Block]
    _promised_s: float | None = None
    problem: str | None = None
    incomplete: bool = False

    def blocks(self) -> Iterator[Block]:
        """Yield the samples, shape (n, channels), float32; a damaged file ends early and says so in `problem`."""
        size = self.path.stat().st_size
        n_read = 0
        try:
            for block in self._blocks:
                n_read += len(block)
                yield block
        except _DamagedError as error:
            self._missing(f"damaged after {n_read / self.sample_rate:.1f} s ({error})")
            return
        read_s = n_read / self.sample_rate
        promised_s = self._promised_s if self._promised_s is not None else self.duration_s
        if self.path.stat().st_size != size:
            self._missing(f"the file is still growing; it held {read_s:.1f} s when it was opened")
        elif promised_s is not None and read_s < promised_s - MIN_MISSING_S:
            self._missing(f"cut off or wrong in its header: {promised_s:.1f} s promised, {read_s:.1f} s there")

    def _missing(self, problem: str) -> None:
        self.problem = problem
        self.incomplete = True


class _DamagedError(Exception):
    """The rest of a file cannot be decoded."""


@contextlib.contextmanager
def open_recording(path: str | Path) -> Iterator[Recording]:
    """Open a sound file to be read in blocks.

    Raises:
        AudioError: The file is missing, empty, unreadable, or of a rate that is out of range.
        MissingExtraError: It needs the extra `media`.
    """
    path = Path(path)
    if not path.is_file():
        raise not_a_file(path)
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: the file is empty (0 bytes)", code="empty")
    with contextlib.ExitStack() as stack:
        recording = _by_soundfile(path, stack) or _by_av(path, stack)
        if not MIN_SAMPLE_RATE <= recording.sample_rate <= MAX_SAMPLE_RATE:
            raise AudioError(
                f"{path}: sample rate {recording.sample_rate} Hz; expected {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz, "
                "resample it first",
                code="bad_rate",
            )
        yield recording


def recordings_in(folder: Path) -> list[Path]:
    """Return the sound files in a folder and those below it, in order.

    Raises:
        InputError: There is none.
    """
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in RECORDING_SUFFIXES and not path.name.startswith(".")
    )
    if not found:
        raise InputError(f"{folder}: no sound file in it")
    return found


def _by_soundfile(path: Path, stack: contextlib.ExitStack) -> Recording | None:
    """Open what libsndfile reads; None where PyAV may know more."""
    import soundfile

    class Sequential(soundfile.SoundFile):  # type: ignore[misc]
        """Where the length is unknown libsndfile cannot seek to the end, which soundfile does after each read."""

        def seekable(self) -> bool:
            return False

    try:
        file = stack.enter_context(Sequential(openable(path)))
    except soundfile.LibsndfileError as error:
        if path.suffix.lower() in MEDIA_SUFFIXES or _has_av():
            return None
        raise AudioError(f"{path}: {why_unreadable(path, error.error_string)}") from None
    except TypeError:  # soundfile takes any file named .raw for headerless samples and asks for their format
        raise AudioError(
            f"{path}: headerless samples, which tell no sample rate; save them as WAV or FLAC, or give them to "
            "`emogram listen` on stdin"
        ) from None
    duration_s = None if file.frames >= UNKNOWN_FRAMES else file.frames / file.samplerate
    rate, channels = int(file.samplerate), int(file.channels)
    return Recording(path, rate, channels, duration_s, _soundfile_blocks(file), _promised_s(file))


def _soundfile_blocks(file: Any) -> Iterator[Block]:
    import soundfile

    n_frames = max(1, BLOCK_VALUES // file.channels)
    while True:
        block = np.full((n_frames, file.channels), np.nan, np.float32)
        try:
            block = file.read(out=block)
        except soundfile.LibsndfileError as error:
            # What came before the damage is in the block, and how much that is nobody tells.
            missing = np.isnan(block).any(axis=1)
            yield block[: int(missing.argmax()) if missing.any() else n_frames]
            raise _DamagedError(error.error_string.strip().rstrip(".")) from None
        if len(block) == 0:
            return
        yield block


def _promised_s(file: Any) -> float | None:
    """Return the length that the header of a WAV file states, where libsndfile found less in the file.

    Recorders that write into a pipe do not know the length and state the largest there is, which promises nothing.
    """
    found = re.search(r"^data : (\d+) \(should be (\d+)\)", str(file.extra_info), re.MULTILINE)
    if found is None:
        return None
    stated, there = int(found[1]), int(found[2])
    if stated >= 2**31 - 2**16 or stated <= there or file.frames == 0:
        return None
    return float(file.frames / file.samplerate * stated / there)


def _has_av() -> bool:
    from importlib.util import find_spec

    return find_spec("av") is not None


def _by_av(path: Path, stack: contextlib.ExitStack) -> Recording:
    try:
        import av
    except ImportError:
        raise MissingExtraError(f"reading {path.name}", "media") from None
    try:
        container = stack.enter_context(
            av.open(str(path.absolute()), options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"})
        )
    except (av.FFmpegError, ValueError, OSError) as error:
        raise AudioError(f"{path}: {why_unreadable(path, getattr(error, 'strerror', None) or str(error))}") from None
    if not container.streams.audio:
        raise AudioError(f"{path}: no sound in it", code="no_sound")
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise AudioError(f"{path}: holds sound in a coding that is not known here; save it as WAV or FLAC")
    stream.codec_context.thread_type = "NONE"  # one core, as everywhere
    duration_s = None
    if stream.duration is not None and stream.time_base is not None:
        duration_s = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        duration_s = container.duration / av.time_base
    return Recording(path, int(stream.rate), int(stream.channels), duration_s, _av_blocks(container, stream))


def _av_blocks(container: Any, stream: Any) -> Iterator[Block]:
    import av

    n_channels = int(stream.channels)  # the stream's own follow what is decoded; the resampler keeps to these
    resampler = av.AudioResampler(format="flt", layout=stream.layout, rate=stream.rate)
    try:
        for frame in container.decode(stream):
            frame.pts = None  # a gap in the times is no gap in the sound
            for part in resampler.resample(frame):
                yield part.to_ndarray().astype(np.float32, copy=False).reshape(-1, n_channels)
        for part in resampler.resample(None):
            yield part.to_ndarray().astype(np.float32, copy=False).reshape(-1, n_channels)
    except av.FFmpegError as error:
        raise _DamagedError(error.strerror or str(error)) from None
    except ValueError:  # a frame of another rate or of other channels than those before it
        raise _DamagedError("its rate or its channels change") from None

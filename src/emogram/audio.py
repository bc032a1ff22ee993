"""Sound files and arrays -> mono float32 waveforms at one sample rate, or a clear refusal."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emogram.errors import AudioError
from emogram.records import Clip

Waveform = npt.NDArray[np.float32]

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au", ".w64", ".caf"})

MIN_DURATION_S = 0.2  # shorter than a syllable: nothing to tell an emotion from
MAX_DURATION_S = 600.0  # a clip is an utterance; a recording of hours must not be loaded whole by mistake
MIN_SAMPLE_RATE = 4000
MAX_SAMPLE_RATE = 768_000
MAX_VALUES = 2**29  # samples x channels: 2 GiB; a few kilobytes of Ogg can hold 600 s of 255 silent channels
_BLOCK_FRAMES = 65536
UNKNOWN_FRAMES = 2**62  # libsndfile's answer for "the header does not say" is 2**63 - 1
MAX_PEAK = 1e12  # floats scaled as 32-bit integers lie below; their power overflows single precision from 1e16 on
SILENT_PEAK = 1e-4  # -80 dBFS: below the noise of any microphone; the quietest RAVDESS clip peaks 30 dB above


def load_clip(clip: Clip, *, sample_rate: int) -> Waveform:
    """Load the stretch of sound that a clip names; see `load_audio`."""
    return load_audio(clip.path, sample_rate=sample_rate, start_s=clip.start_s, end_s=clip.end_s)


def load_audio(path: str | Path, *, sample_rate: int, start_s: float = 0.0, end_s: float | None = None) -> Waveform:
    """Decode a sound file (or a part of it), average its channels and resample it.

    Args:
        path: WAV, FLAC, OGG, Opus, MP3, AIFF, AU, W64 or CAF, any rate and number of channels.
        sample_rate: Wanted rate in Hz.
        start_s: Start within the file in seconds.
        end_s: End within the file in seconds; None means the end of the file.

    Returns:
        Waveform, shape (n_samples,), float32, full scale at +-1, checked by `check_waveform`.

    Raises:
        AudioError: The file is missing, unreadable, empty, silent, not finite, too short or too long.
    """
    waveform, source_rate = decode(path, start_s=start_s, end_s=end_s, mix=True)
    return prepare(waveform, source_rate, sample_rate=sample_rate, name=str(path))


def decode(
    path: str | Path, *, start_s: float = 0.0, end_s: float | None = None, mix: bool = False
) -> tuple[npt.NDArray[np.float32], int]:
    """Decode a sound file without changing its rate.

    Args:
        path: As of `load_audio`.
        start_s: As of `load_audio`.
        end_s: As of `load_audio`.
        mix: Average the channels, a block at a time: silence in hundreds of channels fits into a small file.

    Returns:
        Samples, shape (n_samples, n_channels), or of one channel with `mix`, float32, and the file's sample rate in Hz.

    Raises:
        AudioError: The file is missing, unreadable, too long, or the stretch lies outside it.
    """
    import soundfile

    path = Path(path)
    if not path.is_file():
        raise not_a_file(path)
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: the file is empty (0 bytes)", code="empty")
    try:
        with _sequential()(openable(path)) as file:
            rate = int(file.samplerate)
            if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
                raise AudioError(
                    f"{path}: sample rate {rate} Hz; expected {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz, "
                    "resample it first",
                    code="bad_rate",
                )
            if file.frames >= UNKNOWN_FRAMES:
                samples = _read_unmeasured(path, mix=mix)
                first, last = _stretch(path, start_s, end_s, len(samples) / rate, rate)
                return samples[first:last], rate
            first, last = _stretch(path, start_s, end_s, file.frames / rate, rate)
            n_values = (last - first) * file.channels
            if n_values > MAX_VALUES:
                raise AudioError(
                    f"{path}: {n_values} values in {file.channels} channels; at most {MAX_VALUES} are read at once, "
                    "make it mono or cut it",
                    code="too_long",
                )
            if first:
                file.seek(first)
            if mix and file.channels > 1:
                samples = _read_mixed(file, last - first)
            else:
                samples = file.read(last - first, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: {why_unreadable(path, error.error_string)}") from None
    except TypeError:  # soundfile takes any file named .raw for headerless samples and asks for their format
        raise AudioError(f"{path}: headerless samples, which tell no sample rate; save them as WAV or FLAC") from None
    return samples, rate


def not_a_file(path: Path) -> AudioError:
    """Return what to say of a path that is no file."""
    if path.is_dir():
        return AudioError(f"{path}: is a folder, not a sound file")
    return AudioError(f"{path}: no such file", code="missing", missing=path)


def openable(path: Path) -> Path | bytes:
    """Return a path as soundfile opens it even where its name is not valid text, as old archives leave them behind."""
    return os.fsencode(path) if os.name == "posix" else path


def probe(path: str | Path) -> tuple[float | None, int, int]:
    """Read what the header of a sound file says, without decoding it.

    Returns:
        Duration in seconds, or None where the header leaves it open; the file's own sample rate in Hz; its channels.

    Raises:
        AudioError: The file is missing or unreadable.
    """
    import soundfile

    path = Path(path)
    if not path.is_file():
        raise not_a_file(path)
    try:
        with soundfile.SoundFile(path) as file:
            duration_s = None if file.frames >= UNKNOWN_FRAMES else file.frames / file.samplerate
            return duration_s, int(file.samplerate), int(file.channels)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: {why_unreadable(path, error.error_string)}") from None


def _read_mixed(file: Any, n_frames: int) -> npt.NDArray[np.float32]:
    """Return the average of the channels of the next samples, shape (n, 1); fewer where the file has no more."""
    mixed = np.empty((n_frames, 1), np.float32)  # costs no memory where the header promises more than there is
    n_read = 0
    while n_read < n_frames:
        block = file.read(min(_BLOCK_FRAMES, n_frames - n_read), dtype="float32", always_2d=True)
        if len(block) == 0:
            break
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused later
            mixed[n_read : n_read + len(block), 0] = _mean(block)
        n_read += len(block)
    return mixed[:n_read]


def _read_unmeasured(path: Path, *, mix: bool) -> npt.NDArray[np.float32]:
    """Read a file whose header leaves its length open, as FLAC from a pipe does; stops past `MAX_DURATION_S`."""
    with _sequential()(openable(path)) as file:
        n_most = int(MAX_DURATION_S * file.samplerate) + 1
        if mix and file.channels > 1:
            return _read_mixed(file, min(n_most, MAX_VALUES // file.channels))
        blocks = []
        n_read = 0
        while n_read < n_most and n_read * file.channels < MAX_VALUES:
            block = file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)
            if len(block) == 0:
                break
            blocks.append(block)
            n_read += len(block)
        return np.concatenate(blocks) if blocks else np.empty((0, file.channels), np.float32)


@lru_cache(maxsize=1)
def _sequential() -> Any:
    """Return the class of files that are read from front to back.

    After each read of any other, soundfile seeks to where it is: in FLAC that decodes a block again, a tenth or more of
    the time that a clip takes, and a file of unknown length cannot do it.
    """
    import soundfile

    class Sequential(soundfile.SoundFile):  # type: ignore[misc]
        def seekable(self) -> bool:
            return False

    return Sequential


def _stretch(path: Path, start_s: float, end_s: float | None, duration_s: float, rate: int) -> tuple[int, int]:
    """Return the first sample of a stretch and the one after its last."""
    end = duration_s if end_s is None else min(end_s, duration_s)
    # Written so that NaN is outside too; a file without samples is refused later, by its right name.
    if not (0.0 <= start_s < end or (start_s == 0.0 and duration_s == 0.0)):
        raise AudioError(
            f"{path}: the stretch {start_s:g} s to {'end' if end_s is None else f'{end_s:g} s'} lies outside "
            f"the file, which lasts {duration_s:.2f} s",
            code="bad_stretch",
        )
    if end - start_s > MAX_DURATION_S:
        raise AudioError(
            f"{path}: {end - start_s:.0f} s long; a clip may last {MAX_DURATION_S:g} s, cut it into utterances or give "
            "start and end",
            code="too_long",
        )
    return round(start_s * rate), round(end * rate)


def why_unreadable(path: Path, reason: str) -> str:
    """Return what to say of a file that a library cannot open, for the reason that it gives."""
    if not os.access(path, os.R_OK):
        return "no permission to read it"
    # libsndfile says of a damaged MP3 that it does not exist.
    known = "" if "does not exist" in reason else f" ({reason.strip().rstrip('.')})"
    return f"not a readable sound file{known}; expected WAV, FLAC, OGG, Opus, MP3, AIFF, AU, W64 or CAF"


def prepare(samples: npt.ArrayLike, source_rate: int, *, sample_rate: int, name: str = "audio") -> Waveform:
    """Average the channels of an array, resample it and check it.

    Args:
        samples: Shape (n_samples,) or (n_samples, n_channels); floats with full scale at +-1, or integers, which are
            scaled by their type's range.
        source_rate: Its sample rate in Hz.
        sample_rate: Wanted rate in Hz.
        name: What errors call the array.

    Returns:
        Waveform, shape (n_samples,), float32.

    Raises:
        AudioError: As `load_audio`.
    """
    array = np.asarray(samples)
    if array.size == 0:
        raise AudioError(f"{name}: no samples in it", code="empty")
    if array.dtype.kind in "iu":
        info = np.iinfo(array.dtype)
        middle = 0.0 if info.min < 0 else (info.max + 1) / 2
        array = (array.astype(np.float32) - middle) / np.float32((info.max + 1) / (1 if info.min < 0 else 2))
    elif array.dtype.kind != "f":
        raise AudioError(f"{name}: samples of type {array.dtype}; expected floats or integers")
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused below
        waveform = _mono(array, name)
    if not MIN_SAMPLE_RATE <= source_rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"{name}: sample rate {source_rate} Hz; expected {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz", code="bad_rate"
        )
    check_waveform(waveform, source_rate, name=name)
    if source_rate != sample_rate:
        import soxr

        waveform = soxr.resample(waveform, source_rate, sample_rate, quality="HQ")
    return waveform


def _mono(array: npt.NDArray[Any], name: str) -> Waveform:
    if array.ndim == 2:
        if array.shape[1] > array.shape[0]:
            raise AudioError(f"{name}: shape {array.shape}; expected (n_samples, n_channels), transpose it")
        array = _mean(array)
    elif array.ndim != 1:
        raise AudioError(f"{name}: {array.ndim} dimensions; expected (n_samples,) or (n_samples, n_channels)")
    return np.ascontiguousarray(array, dtype=np.float32)


def _mean(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Average channels, shape (n_samples, n_channels) -> (n_samples,); one by one, since `mean` is ten times slower."""
    first, *others = array.T
    mean: npt.NDArray[Any] = sum(others, start=first) / len(array.T) if others else first
    return mean


def check_waveform(waveform: Waveform, sample_rate: int, *, name: str = "audio") -> None:
    """Refuse sound that no emotion can be told from.

    Raises:
        AudioError: Empty, not finite, shorter than `MIN_DURATION_S`, or silent throughout.
    """
    if waveform.size == 0:
        raise AudioError(f"{name}: no samples in it", code="empty")
    duration_s = waveform.size / sample_rate
    if duration_s < MIN_DURATION_S:
        raise AudioError(
            f"{name}: {duration_s:.2f} s long; at least {MIN_DURATION_S:g} s of speech is needed", code="too_short"
        )
    low, high = float(waveform.min()), float(waveform.max())
    if not -MAX_PEAK <= low <= high <= MAX_PEAK:  # nor is NaN
        raise AudioError(
            f"{name}: holds samples that are not finite (NaN, infinity, or as good as that); export it again",
            code="not_finite",
        )
    if (high - low) / 2 < SILENT_PEAK:  # half the swing, so that a constant offset counts as the silence it is
        raise AudioError(f"{name}: silent throughout (peak below -80 dBFS); check the recording", code="silent")

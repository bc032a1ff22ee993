"""Small sound files in every format that can be written here, for the mutator to begin from."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emogram import voices

RATE = 16000

# Name of the seed -> suffix, libsndfile's format and subtype.
SOUNDFILE = {
    "wav-pcm16": ("wav", "WAV", "PCM_16"),
    "wav-pcm8": ("wav", "WAV", "PCM_U8"),
    "wav-float": ("wav", "WAV", "FLOAT"),
    "wav-double": ("wav", "WAV", "DOUBLE"),
    "wav-ima-adpcm": ("wav", "WAV", "IMA_ADPCM"),
    "wav-ms-adpcm": ("wav", "WAV", "MS_ADPCM"),
    "wav-gsm": ("wav", "WAV", "GSM610"),
    "wav-ulaw": ("wav", "WAV", "ULAW"),
    "wavex": ("wav", "WAVEX", "PCM_24"),
    "rf64": ("wav", "RF64", "PCM_16"),
    "flac": ("flac", "FLAC", "PCM_16"),
    "flac-24": ("flac", "FLAC", "PCM_24"),
    "vorbis": ("ogg", "OGG", "VORBIS"),
    "opus": ("opus", "OGG", "OPUS"),
    "mp3": ("mp3", "MP3", "MPEG_LAYER_III"),
    "aiff": ("aiff", "AIFF", "PCM_16"),
    "aiff-float": ("aif", "AIFF", "FLOAT"),
    "aiff-ima": ("aiff", "AIFF", "IMA_ADPCM"),
    "au": ("au", "AU", "PCM_16"),
    "au-g721": ("au", "AU", "G721_32"),
    "caf": ("caf", "CAF", "PCM_16"),
    "caf-alac": ("caf", "CAF", "ALAC_16"),
    "w64": ("w64", "W64", "PCM_16"),
    "w64-ima": ("w64", "W64", "IMA_ADPCM"),
    # Not among the suffixes that a folder is searched for, but libsndfile opens them by their content.
    "voc": ("wav", "VOC", "PCM_16"),
    "nist": ("wav", "NIST", "PCM_16"),
    "svx": ("wav", "SVX", "PCM_16"),
    "paf": ("wav", "PAF", "PCM_24"),
    "pvf": ("wav", "PVF", "PCM_16"),
    "ircam": ("wav", "IRCAM", "PCM_16"),
    "avr": ("wav", "AVR", "PCM_16"),
    "mat4": ("wav", "MAT4", "PCM_16"),
    "mat5": ("wav", "MAT5", "FLOAT"),
    "sds": ("wav", "SDS", "PCM_16"),
    "htk": ("wav", "HTK", "PCM_16"),
    "mpc2k": ("wav", "MPC2K", "PCM_16"),
    "xi": ("wav", "XI", "DPCM_16"),
    "wve": ("wav", "WVE", "ALAW"),
}
MONO_ONLY = {"wav-gsm", "svx", "sds", "htk", "xi", "wve", "au-g721", "aiff-ima"}
MONO_8_KHZ = {"wve"}

# Name of the seed -> suffix, encoder, rate in Hz, bits a second.
MEDIA = {
    "m4a": ("m4a", "aac", 48000, 64000),
    "mp4-alac": ("mp4", "alac", 48000, 64000),
    "webm": ("webm", "libopus", 48000, 64000),
    "mka-ac3": ("mka", "ac3", 48000, 64000),
    "aac": ("aac", "aac", 48000, 64000),
    "wma": ("wma", "wmav2", 48000, 64000),
    "avi": ("avi", "libmp3lame", 48000, 64000),
    "amr": ("amr", "libopencore_amrnb", 8000, 12200),
}


def make(folder: Path) -> list[Path]:
    """Write each format in mono and, where it knows more, in stereo at another rate; returns the files, in order.

    With `EMOGRAM_CORPORA`, the folder of real corpora, some of their files are copied beside them.
    """
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    spoken = voices.speak("angry", speaker=voices.voices(2)[0], seed=1)[: int(0.6 * RATE)]
    noise = np.random.default_rng(1).normal(0, 0.1, (11025, 2)).astype(np.float32)
    for name, (suffix, kind, subtype) in SOUNDFILE.items():
        rate = 8000 if name in MONO_8_KHZ else RATE
        soundfile.write(folder / f"{name}-mono.{suffix}", spoken, rate, format=kind, subtype=subtype)
        if name not in MONO_ONLY:
            rate = 48000 if subtype == "OPUS" else 44100
            soundfile.write(folder / f"{name}-stereo.{suffix}", noise, rate, format=kind, subtype=subtype)
    for name, (suffix, codec, rate, bit_rate) in MEDIA.items():
        write_media(folder / f"{name}.{suffix}", spoken, codec=codec, rate=rate, bit_rate=bit_rate)
    if named := os.environ.get("EMOGRAM_CORPORA"):
        for number, source in enumerate(_some_real(Path(named))):
            (folder / f"real-{number}{source.suffix}").write_bytes(source.read_bytes())
    return sorted(folder.iterdir())


def write_media(path: Path, samples: npt.NDArray[np.float32], *, codec: str, rate: int, bit_rate: int) -> None:
    """Write mono samples by FFmpeg's libraries."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[np.newaxis]), format="fltp", layout="mono")
        frame.rate = RATE
        resampler = av.AudioResampler(
            format=stream.codec_context.format.name, layout="mono", rate=rate, frame_size=stream.frame_size or 1024
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))


def _some_real(root: Path) -> list[Path]:
    """Return three small files of each corpus and suffix there."""
    found: dict[tuple[str, str], list[Path]] = {}
    for path in sorted(root.glob("*/**/*.*")):
        if path.suffix.lower() in {".wav", ".flac", ".ogg", ".opus", ".mp3"} and path.stat().st_size < 200_000:
            found.setdefault((path.relative_to(root).parts[0], path.suffix.lower()), []).append(path)
    return [path for paths in found.values() for path in paths[:3]]

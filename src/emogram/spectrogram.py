"""Waveform -> log-mel -> model input or RGB picture. `model_input` is the one door from sound to a model."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from emogram.config import SpectrogramConfig
from emogram.errors import AudioError, PictureError
from emogram.fourier import rfft
from emogram.periodicity import relative, repeats, tables_of

if TYPE_CHECKING:
    from PIL.Image import Image

FloatArray = npt.NDArray[np.float32]

_BLOCK_FRAMES = 64  # that fit into the nearest memory of a processor, in all forms that they take
# OpenBLAS shares a product of more than 2**18 multiplications between threads, which then wait for each other: on two
# busy processors the log-mel of a clip took ten times as long.
_MOST_WEIGHTS = 2**18 // _BLOCK_FRAMES
_MOST_BANDS = 16
# -200 dB re full scale keeps the logarithm finite in digital silence. It must lie `top_db` below the loudest point of
# the softest clip let in, or a clip's level shows in its silence: at -100 dB it did in one RAVDESS clip of twelve.
MIN_POWER = 1e-20

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
MAX_PICTURE_PIXELS = 40_000_000  # far above any spectrogram; a few kilobytes of PNG can unpack to gigabytes


class Frames(NamedTuple):
    """What each frame of a sound says by itself, without regard to how loud the rest of the sound is.

    Attributes:
        decibels: Log-mel, as `log_mel` gives it, shape (n_frames, n_mels).
        loudness: Mean power of the bands, shape (n_frames,), dB.
        repeats: What `periodicity.repeats` gives, shape (n_frames, 1 + periodicity_bands); no columns without bands.
    """

    decibels: FloatArray
    loudness: FloatArray
    repeats: FloatArray


def model_input(waveform: FloatArray, config: SpectrogramConfig, *, frames: Frames | None = None) -> FloatArray:
    """Turn a waveform into what a model takes.

    Args:
        waveform: Shape (n_samples,), float32, at `config.sample_rate`, as `audio.load_audio` returns it.
        config: How.
        frames: Its frames, where they are known, since it overlaps with another.

    Returns:
        For `kind = "log_mel"` the scaled log-mel, shape (n_frames, n_mels, 1), in [0, 1]; `n_frames` is at least
        `min_frames` and a multiple of `frame_multiple`. With `periodicity_bands` those follow the mel bands. For
        `kind = "picture"` the RGB picture, shape (picture_size, picture_size, 3), in [0, 1], low frequencies at the
        bottom. Every value is exact in float16, so that a cache in half precision changes nothing.

    Raises:
        AudioError: The waveform is shorter than one window.
    """
    return input_of_scaled(scaled_bands(waveform, config, frames=frames), config)


def input_of_scaled(scaled: FloatArray, config: SpectrogramConfig) -> FloatArray:
    """Turn what `scaled_bands` gives into what a model takes; the second half of `model_input`."""
    if config.kind == "picture":
        return from_picture(picture_of_scaled(scaled, config))
    n_frames, n_bands = scaled.shape
    wanted = max(config.min_frames, -(-n_frames // config.frame_multiple) * config.frame_multiple)
    first = (wanted - n_frames) // 2
    padded = np.zeros((wanted, n_bands, 1), np.float32)
    padded[first : first + n_frames, :, 0] = as_half(scaled)
    return padded


def scaled_bands(waveform: FloatArray, config: SpectrogramConfig, *, frames: Frames | None = None) -> FloatArray:
    """Return the log-mel, scaled to [0, 1] and trimmed as the config asks, and the periodicity it asks for beside it.

    Args:
        waveform: As for `model_input`.
        config: How.
        frames: As for `model_input`.

    Returns:
        Shape (n_frames, n_mels + periodicity_bands).
    """
    frames = frames or frames_of(cut_frames(waveform, config), config)
    kept = _near_loudest(frames.loudness, config.trim_db)
    scaled = scale(frames.decibels[kept], config)
    if not config.periodicity_bands:
        return scaled
    return np.concatenate([scaled, relative(frames.repeats)[kept]], axis=1)


def scale(decibels: FloatArray, config: SpectrogramConfig) -> FloatArray:
    """Scale a log-mel in dB to [0, 1]; same shape.

    0 lies `top_db` below the reference: the clip's loudest point, or full scale. With `band_normalization = "clip"`
    each band then has its mean at 0.5, see `normalize_bands`.
    """
    reference = float(decibels.max()) if config.level == "clip" else 0.0
    scaled: FloatArray = (decibels - np.float32(reference)) / np.float32(config.top_db) + np.float32(1.0)
    clipped: FloatArray = np.clip(scaled, np.float32(0.0), np.float32(1.0))
    return normalize_bands(clipped) if config.band_normalization == "clip" else clipped


def normalize_bands(scaled: FloatArray) -> FloatArray:
    """Move the mean of each band over the clip to 0.5, and cut what then leaves [0, 1].

    What a microphone, a room or a codec does to all frames alike adds one number to each band of a log-mel, and goes
    with the mean: B. S. Atal, "Effectiveness of linear prediction characteristics of the speech wave for automatic
    speaker identification and verification", JASA 55 (1974), 1304-1312, there for the cepstrum. The scale of a decibel
    stays, so that changes made while training mean the same. The mean is taken after the floor of the range was, or
    digital silence at -200 dB would outweigh the speech.

    Args:
        scaled: Scaled log-mel in [0, 1], shape (n_frames, n_mels).
    """
    centred = scaled - scaled.mean(axis=0, keepdims=True, dtype=np.float32) + np.float32(0.5)
    clipped: FloatArray = np.clip(centred, np.float32(0.0), np.float32(1.0))
    return clipped


def log_mel(waveform: FloatArray, config: SpectrogramConfig) -> FloatArray:
    """Compute the mel power spectrogram in decibels: librosa's `melspectrogram` of power 2, then 10 log10.

    Returns:
        Shape (n_frames, n_mels), float32, dB re full scale; n_frames = 1 + n_samples // hop_length.

    Raises:
        AudioError: The waveform is shorter than one window.
    """
    return _decibels(_cut(waveform, config.n_fft, config), config)


def frames_of(cut: FloatArray, config: SpectrogramConfig) -> Frames:
    """Compute all that is computed of each frame alone.

    Args:
        cut: Samples of frames, shape (n_frames, `frame_size(config)`).
        config: How.
    """
    decibels = _decibels(_middle(cut, config.n_fft), config)
    if not config.periodicity_bands:
        return Frames(decibels, _loudness(decibels), np.empty((len(cut), 0), np.float32))
    tables = tables_of(config.sample_rate, config.periodicity_bands)
    return Frames(decibels, _loudness(decibels), repeats(_middle(cut, tables.size), tables))


def frame_size(config: SpectrogramConfig) -> int:
    """Return how many samples what is computed of a frame reaches over; half of them lie before its centre."""
    if not config.periodicity_bands:
        return config.n_fft
    return max(config.n_fft, tables_of(config.sample_rate, config.periodicity_bands).size)


def cut_frames(waveform: FloatArray, config: SpectrogramConfig) -> FloatArray:
    """Cut a waveform, with silence before and after it, into frames around each `hop_length`-th sample.

    Returns:
        A view, shape (n_frames, `frame_size(config)`).

    Raises:
        AudioError: The waveform is shorter than one window.
    """
    return _cut(waveform, frame_size(config), config)


def _middle(cut: FloatArray, size: int) -> FloatArray:
    first = cut.shape[1] // 2 - size // 2
    return cut[:, first : first + size]


def _decibels(frames: FloatArray, config: SpectrogramConfig) -> FloatArray:
    """Return the log-mel of frames of `n_fft` samples."""
    decibels = np.empty((len(frames), config.n_mels), np.float32)
    for first in range(0, len(frames), _BLOCK_FRAMES):
        block = slice(first, first + _BLOCK_FRAMES)
        squares = _squares(frames[block], config)
        for bands, values, weights in _mel_blocks(config):
            np.matmul(squares[:, values], weights, out=decibels[block, bands])
    # In place, and by the natural logarithm, which NumPy computes many at a time and log10 one by one.
    np.maximum(decibels, np.float32(MIN_POWER), out=decibels)
    np.log(decibels, out=decibels)
    decibels *= np.float32(10.0 / np.log(10.0))
    return decibels


def power_spectrum(waveform: FloatArray, config: SpectrogramConfig) -> FloatArray:
    """Compute the short-time power spectrum.

    The same definition as librosa's `stft` with `center=True`, zero padding and a periodic Hann window, its absolute
    value squared: frame k is centred on sample k * hop_length.

    Returns:
        Shape (n_frames, n_fft // 2 + 1), float32; n_frames = 1 + n_samples // hop_length for even n_fft.

    Raises:
        AudioError: The waveform is shorter than one window.
    """
    return frame_power(_cut(waveform, config.n_fft, config), config)


def frame_power(frames: FloatArray, config: SpectrogramConfig) -> FloatArray:
    """Compute the power spectrum of frames of samples, shape (..., n_fft) -> (..., n_fft // 2 + 1), float32."""
    squares = _squares(frames, config)
    power: FloatArray = squares[..., ::2] + squares[..., 1::2]
    return power


def _cut(waveform: FloatArray, size: int, config: SpectrogramConfig) -> FloatArray:
    """Cut a waveform into overlapping frames without copying it, shape (n_frames, size)."""
    if waveform.ndim != 1 or waveform.size < config.win_length:
        raise AudioError(f"waveform of shape {waveform.shape}; expected one dimension of at least {config.win_length}")
    padded = np.zeros(waveform.size + size // 2 * 2, np.float32)  # np.pad takes its time
    padded[size // 2 : size // 2 + waveform.size] = waveform
    # `sliding_window_view` gives the same, and takes its time as well.
    strides = (config.hop_length * padded.itemsize, padded.itemsize)
    return np.ndarray((1 + (padded.size - size) // config.hop_length, size), np.float32, padded, strides=strides)


def _squares(frames: FloatArray, config: SpectrogramConfig) -> FloatArray:
    """Return the squares of the real and imaginary parts of a spectrum, one beside the other, (..., 2 * n_bins)."""
    spectrum = rfft(frames * analysis_window(config.win_length, config.n_fft))
    parts: FloatArray = spectrum.view(spectrum.real.dtype)
    return np.multiply(parts, parts, out=parts)


def sum_bands(power: FloatArray, weights: FloatArray) -> FloatArray:
    """Return `power @ weights`, a few frames at a time.

    Whole, the product is large enough for a BLAS to share it between threads; see `_MOST_WEIGHTS`.

    Args:
        power: Shape (n_frames, n_bins).
        weights: Shape (n_bins, n_bands).
    """
    summed = np.empty((len(power), weights.shape[1]), np.float32)
    n_frames = max(1, _MOST_WEIGHTS * _BLOCK_FRAMES // weights.size)
    for first in range(0, len(power), n_frames):
        block = slice(first, first + n_frames)
        np.matmul(power[block], weights, out=summed[block])
    return summed


def loud_frames(decibels: FloatArray, trim_db: float) -> slice:
    """Return the frames from the first to the last whose power is within `trim_db` of the loudest frame's.

    Args:
        decibels: Log-mel, shape (n_frames, n_mels), dB.
        trim_db: Distance in dB, >= 0; 0 leaves none out.
    """
    return _near_loudest(_loudness(decibels), trim_db)


def _loudness(decibels: FloatArray) -> FloatArray:
    loudness: FloatArray = 10.0 * np.log10(np.mean(np.power(10.0, decibels / 10.0), axis=1))
    return loudness


def _near_loudest(loudness: FloatArray, trim_db: float) -> slice:
    if trim_db == 0.0:
        return slice(0, len(loudness))
    loud = np.flatnonzero(loudness >= loudness.max() - trim_db)
    return slice(int(loud[0]), int(loud[-1]) + 1)


def picture(waveform: FloatArray, config: SpectrogramConfig) -> npt.NDArray[np.uint8]:
    """Draw the log-mel as an RGB picture: time from left to right over the whole clip, low frequencies at the bottom.

    Returns:
        Shape (picture_size, picture_size, 3), uint8.
    """
    return picture_of_scaled(scaled_bands(waveform, config), config)


def picture_of_scaled(scaled: FloatArray, config: SpectrogramConfig) -> npt.NDArray[np.uint8]:
    """Draw a scaled log-mel, shape (n_frames, n_mels); see `picture`."""
    from PIL import Image

    size = (config.picture_size, config.picture_size)
    levels = Image.fromarray(scaled.T[::-1]).resize(size, Image.Resampling.BILINEAR)
    pixels: npt.NDArray[np.uint8] = colour_map()[np.rint(np.asarray(levels) * 255).astype(np.uint8)]
    return pixels


def from_picture(pixels: npt.NDArray[np.uint8]) -> FloatArray:
    """Turn RGB pixels into model input, in [0, 1] and exact in float16; same shape."""
    return as_half(pixels.astype(np.float32) / np.float32(255))


def as_half(values: FloatArray) -> FloatArray:
    """Round values from 0 to 1 to the nearest that float16 holds; same shape.

    As `values.astype(np.float16).astype(np.float32)` does, which takes NumPy six times as long, one value at a time. A
    sum with 2**13 times the power of two below a value has room for 11 of its binary digits, as a half has, down to
    2**-14, below which halves are evenly spaced.
    """
    exponents = values.view(np.uint32) & np.uint32(0x7F800000)
    np.maximum(exponents, np.float32(2**-14).view(np.uint32), out=exponents)
    exponents += np.uint32(13 << 23)
    large = exponents.view(np.float32)
    rounded: FloatArray = values + large
    rounded -= large
    return rounded


def resize_picture(image: Image, size: int) -> npt.NDArray[np.uint8]:
    """Return any picture as RGB pixels, shape (size, size, 3), uint8."""
    from PIL import Image as Images

    rgb = image.convert("RGB")
    if rgb.size != (size, size):
        rgb = rgb.resize((size, size), Images.Resampling.BILINEAR)
    return np.asarray(rgb, dtype=np.uint8)


@lru_cache(maxsize=1)
def colour_map() -> npt.NDArray[np.uint8]:
    """Return the colours of the pictures, shape (256, 3), uint8: dark for silence, light for loud.

    The cubehelix of D. A. Green, "A colour scheme for the display of astronomical intensity images", Bulletin of the
    Astronomical Society of India 39 (2011), 289-295, with start 0.5, rotations -1.5, hue 1 and gamma 1. Its lightness
    rises evenly, so that the picture survives grey printing and colour blindness.
    """
    fraction = np.linspace(0.0, 1.0, 256)
    angle = 2.0 * np.pi * (0.5 / 3.0 + 1.0 - 1.5 * fraction)
    amplitude = fraction * (1.0 - fraction) / 2.0
    red = fraction + amplitude * (-0.14861 * np.cos(angle) + 1.78277 * np.sin(angle))
    green = fraction + amplitude * (-0.29227 * np.cos(angle) - 0.90649 * np.sin(angle))
    blue = fraction + amplitude * (1.97294 * np.cos(angle))
    colours = np.rint(np.clip(np.stack([red, green, blue], axis=1), 0.0, 1.0) * 255).astype(np.uint8)
    colours.flags.writeable = False
    return colours


def mel_to_hz(mels: npt.ArrayLike, *, scale: str = "slaney") -> npt.NDArray[np.float64]:
    """Convert mels to Hz; the inverse of `hz_to_mel`."""
    mels = np.asarray(mels, dtype=np.float64)
    if scale == "htk":
        return 700.0 * (np.power(10.0, mels / 2595.0) - 1.0)
    return np.where(mels < 15.0, mels * (200.0 / 3.0), 1000.0 * np.exp((mels - 15.0) * (np.log(6.4) / 27.0)))


def hz_to_mel(hertz: npt.ArrayLike, *, scale: str = "slaney") -> npt.NDArray[np.float64]:
    """Convert Hz to mels.

    "htk": 2595 log10(1 + f / 700), HTK Book 3.4, section 5.4. "slaney": linear below 1 kHz, logarithmic above with 27
    steps from 1 to 6.4 kHz, M. Slaney, Auditory Toolbox, Interval Research technical report 1998-010.
    """
    hertz = np.asarray(hertz, dtype=np.float64)
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hertz / 700.0)
    logarithmic = 15.0 + np.log(np.maximum(hertz, 1e-9) / 1000.0) * (27.0 / np.log(6.4))
    return np.where(hertz < 1000.0, hertz * (3.0 / 200.0), logarithmic)


def band_centres_hz(config: SpectrogramConfig) -> npt.NDArray[np.float64]:
    """Return the centre frequency of each mel band in Hz, shape (n_mels,)."""
    return _band_edges_hz(config)[1:-1]


def _band_edges_hz(config: SpectrogramConfig) -> npt.NDArray[np.float64]:
    low, high = hz_to_mel([config.f_min_hz, config.f_max_hz], scale=config.mel_scale)
    return mel_to_hz(np.linspace(low, high, config.n_mels + 2), scale=config.mel_scale)


@lru_cache(maxsize=16)
def mel_filters(config: SpectrogramConfig) -> FloatArray:
    """Return triangular filters of unit area (Slaney's normalisation), shape (n_fft // 2 + 1, n_mels)."""
    edges = _band_edges_hz(config)
    bins = np.arange(config.n_fft // 2 + 1) * (config.sample_rate / config.n_fft)
    rising = (bins[:, np.newaxis] - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins[:, np.newaxis]) / np.diff(edges)[1:]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    filters: FloatArray = (triangles * (2.0 / (edges[2:] - edges[:-2]))).astype(np.float32)
    filters.flags.writeable = False  # shared by all callers
    return filters


@lru_cache(maxsize=16)
def _mel_blocks(config: SpectrogramConfig) -> tuple[tuple[slice, slice, FloatArray], ...]:
    """Part `mel_filters` into blocks of neighbouring bands, since a band is zero almost everywhere.

    Returns:
        For each block its bands, the values of `_squares` that it needs, and their weights, shape (n_values, n_bands);
        the two values of a bin weigh the same, so that the product also adds them.
    """
    filters = mel_filters(config)
    blocks = []
    first = 0
    while first < config.n_mels:
        end = min(first + _MOST_BANDS, config.n_mels)
        while end - first > 1 and 2 * len(_bins(filters[:, first:end])) * (end - first) > _MOST_WEIGHTS:
            end -= 1
        bins = _bins(filters[:, first:end])
        weights = np.repeat(filters[bins.start : bins.stop, first:end], 2, axis=0)
        weights.flags.writeable = False
        blocks.append((slice(first, end), slice(2 * bins.start, 2 * bins.stop), weights))
        first = end
    return tuple(blocks)


def _bins(filters: FloatArray) -> range:
    """Return the bins outside which filters of shape (n_bins, n_bands) are zero."""
    used = np.flatnonzero(filters.any(axis=1))
    return range(int(used[0]), int(used[-1]) + 1) if used.size else range(1)


@lru_cache(maxsize=16)
def analysis_window(win_length: int, n_fft: int) -> FloatArray:
    """Return a periodic Hann window of `win_length` in the middle of `n_fft` samples."""
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(win_length) / win_length)
    left = (n_fft - win_length) // 2
    return np.pad(hann, (left, n_fft - win_length - left)).astype(np.float32)


def open_picture(path: Path) -> Image:
    """Decode a PNG or JPEG, after a look at its size.

    Returns:
        The picture, in memory, in a mode that converts to RGB without loss of meaning (16-bit grey becomes 8-bit).

    Raises:
        PictureError: The file is missing, is no readable PNG or JPEG, or has more than `MAX_PICTURE_PIXELS`.
    """
    import warnings

    from PIL import Image as Images
    from PIL import UnidentifiedImageError

    if not path.is_file():
        if path.is_dir():
            raise PictureError(f"{path}: is a folder, not a picture")
        raise PictureError(f"{path}: no such file", missing=path)
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures; the limit below is stricter and speaks our language.
            warnings.simplefilter("ignore", Images.DecompressionBombWarning)
            image = Images.open(path, formats=("PNG", "JPEG"))
        with image:
            width, height = image.size
            if width * height > MAX_PICTURE_PIXELS:
                raise PictureError(
                    f"{path}: {width} x {height} pixels; a picture may have {MAX_PICTURE_PIXELS // 10**6} million, "
                    "make it smaller"
                )
            image.load()
            return _plain_mode(image)
    except Images.DecompressionBombError:
        raise PictureError(
            f"{path}: too many pixels; a picture may have {MAX_PICTURE_PIXELS // 10**6} million, make it smaller"
        ) from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:  # what Pillow raises for damaged files
        reason = "not a PNG or JPEG" if isinstance(error, UnidentifiedImageError) else str(error)
        raise PictureError(f"{path}: not a readable picture ({reason})") from None


def _plain_mode(image: Image) -> Image:
    from PIL import Image as Images

    if image.mode.startswith("I"):
        return Images.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    # A palette with transparency loses it, with a warning, unless it passes through RGBA.
    return image.convert("RGBA" if "transparency" in image.info else image.mode)

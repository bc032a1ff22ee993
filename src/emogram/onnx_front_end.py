"""The front end as part of an ONNX file: a waveform goes in, and no other program needs to know what a mel is.

The same steps as `spectrogram.model_input`, in operators of the ONNX standard: the Fourier transform is a convolution
with the windowed basis, since ONNX's own operators for it are missing where browsers run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from emogram import periodicity, spectrogram
from emogram.config import Dimension, SpectrogramConfig
from emogram.errors import ModelError
from emogram.metrics import MIN_PROBABILITY

Array = npt.NDArray[Any]

WAVEFORM, INPUT, OUTPUT, DIMENSIONS = "waveform", "spectrogram", "probabilities", "dimensions"


def with_front_end(content: bytes, config: SpectrogramConfig, *, name: str) -> bytes:
    """Return ONNX bytes that take a waveform in place of the model input.

    Args:
        content: A network as `export.export_onnx` writes it; its last input axes are (n_frames, n_bands, 1).
        config: How its input is made of sound.
        name: The model's, for errors.

    Returns:
        Takes "waveform", shape (n_samples,), float32, full scale at +-1, mono at `config.sample_rate`; gives
        "probabilities", shape (n_labels,), and "dimensions", shape (n_dimensions,), as the network does. Unlike
        `audio.load_audio` it refuses nothing: what is silent or shorter than a syllable is answered too, and should not
        be asked.

    Raises:
        ModelError: The model takes pictures, or features of the utterance.
    """
    import onnx

    if config.kind == "picture" or config.utterance_features:
        what = "pictures" if config.kind == "picture" else "features of the whole utterance"
        raise ModelError(
            f"{name}: takes {what}, whose making ONNX has no operators for; export it with --to onnx and make its "
            "input with emogram, or train an emonet"
        )
    model = onnx.load_from_string(content)
    told = [output for output in model.graph.output if output.name in (OUTPUT, DIMENSIONS)]
    sizes = {output.name: output.type.tensor_type.shape.dim[-1].dim_value for output in told}
    nodes = _Nodes("front_end")
    _front_end(nodes, config)
    of_batch = {name: f"answer/{name}" for name in sizes}
    for name, whole in of_batch.items():
        nodes.add("Reshape", whole, nodes.integers(-1), name=name)
    network = list(model.graph.node)
    for node in network:
        node.output[:] = [of_batch.get(output, output) for output in node.output]
        node.input[:] = [of_batch.get(given, given) for given in node.input]
    last = [nodes.made.pop() for _ in sizes]
    del model.graph.node[:], model.graph.input[:], model.graph.output[:], model.graph.value_info[:]
    model.graph.node.extend([*nodes.made, *network, *reversed(last)])
    model.graph.initializer.extend(nodes.constants)
    model.graph.input.append(onnx.helper.make_tensor_value_info(WAVEFORM, onnx.TensorProto.FLOAT, ["n_samples"]))
    for name, size in sizes.items():
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [size]))
    return _bytes(model)


def calibrated(
    content: bytes, temperature: float, dimensions: Sequence[Dimension] = (), *, classes: bool = True
) -> bytes:
    """Return ONNX bytes that give what emogram tells: "probabilities", and "dimensions" where there are some.

    Args:
        content: A network as `export.export_onnx` writes it.
        temperature: By which the probabilities are softened, as `calibration.soften` does.
        dimensions: Those that it tells from 0 to 1; they are brought to their scales.
        classes: False where it tells nothing but dimensions.
    """
    import onnx

    model = onnx.load_from_string(content)
    del model.graph.output[int(classes) + bool(dimensions) :]
    nodes = _Nodes("calibration")
    renamed: dict[str, str] = {}
    if classes and temperature != 1.0:
        renamed[OUTPUT] = "raw"
        kept = nodes.add("Max", "raw", nodes.number(MIN_PROBABILITY))
        logits = nodes.add("Div", nodes.add("Log", kept), nodes.number(temperature))
        nodes.add("Softmax", logits, name=OUTPUT, axis=-1)
    if dimensions:
        renamed[DIMENSIONS] = "unit"
        low, high = (np.asarray([getattr(each, end) for each in dimensions], np.float32) for end in ("low", "high"))
        nodes.add("Add", nodes.add("Mul", "unit", nodes.constant(high - low)), nodes.constant(low), name=DIMENSIONS)
    for node in model.graph.node:
        node.output[:] = [renamed.get(output, output) for output in node.output]
    model.graph.node.extend(nodes.made)
    model.graph.initializer.extend(nodes.constants)
    return _bytes(model)


def _bytes(model: Any) -> bytes:
    import onnx

    onnx.checker.check_model(model)
    serialised: Any = model.SerializeToString()
    return bytes(serialised)


class _Nodes:
    """Nodes and constants as they are made; each has a name of its own that no network has.

    Only operators whose form has not changed since opset 13 are used, so that they fit whatever network follows.
    """

    def __init__(self, part: str) -> None:
        self.part = part
        self.made: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        from onnx import helper

        output = name or f"{self.part}/{operator}_{len(self.made)}"
        self.made.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def constant(self, values: Array) -> str:
        from onnx import numpy_helper

        name = f"{self.part}/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def number(self, value: float) -> str:
        return self.constant(np.asarray(value, np.float32))

    def integers(self, *values: int) -> str:
        return self.constant(np.asarray(values, np.int64))

    def length(self, values: str, axis: int) -> str:
        """Return the length of one axis, shape (1,)."""
        return self.add("Gather", self.add("Shape", values), self.integers(axis), axis=0)


def _front_end(nodes: _Nodes, config: SpectrogramConfig) -> None:
    """Make `INPUT` of `WAVEFORM`; in between, the axes are (1, bands, frames)."""
    samples = nodes.add("Reshape", WAVEFORM, nodes.integers(1, 1, -1))
    power = nodes.add("Max", _mel_power(nodes, samples, config), nodes.number(spectrogram.MIN_POWER))
    first, end = _loud_frames(nodes, power, config.trim_db)
    scaled = _scaled(nodes, _cut(nodes, power, first, end), config)
    if config.periodicity_bands:
        lines = _cut(nodes, _periodicity(nodes, samples, config), first, end)
        scaled = nodes.add("Concat", scaled, lines, axis=1)
    padded = _padded(nodes, nodes.add("Transpose", scaled, perm=[0, 2, 1]), config)
    # Networks were trained on values that are exact in half precision; see `spectrogram.model_input`.
    half = nodes.add("Cast", padded, to=_type("FLOAT16"))
    nodes.add("Unsqueeze", nodes.add("Cast", half, to=_type("FLOAT")), nodes.integers(3), name=INPUT)


def _type(name: str) -> int:
    from onnx import TensorProto

    return int(getattr(TensorProto, name))


def _spectrum_squares(
    nodes: _Nodes, samples: str, window: Array, *, n_fft: int, bins: range, hop: int, pads: tuple[int, int]
) -> str:
    """Return real parts squared of some bins of each frame, then imaginary, shape (1, 2 * n_bins, n_frames).

    Args:
        nodes: Where it is added.
        samples: Shape (1, 1, n_samples).
        window: Shape (win_length,), without the zeros that may stand around it.
        n_fft: Size of the transform.
        bins: Bins to compute.
        hop: Samples between frames.
        pads: Samples of silence before the first sample and behind the last.
    """
    angles = 2.0 * np.pi / n_fft * np.outer(np.arange(bins.start, bins.stop), np.arange(len(window)))
    basis = np.concatenate([np.cos(angles), np.sin(angles)]) * window
    parts = nodes.add(
        "Conv",
        samples,
        nodes.constant(basis[:, np.newaxis].astype(np.float32)),
        kernel_shape=[len(window)],
        strides=[hop],
        pads=list(pads),
    )
    return nodes.add("Mul", parts, parts)


def _mel_power(nodes: _Nodes, samples: str, config: SpectrogramConfig) -> str:
    filters = spectrogram.mel_filters(config)
    used = np.flatnonzero(filters.any(axis=1))
    bins = range(int(used[0]), int(used[-1]) + 1)
    left = (config.n_fft - config.win_length) // 2
    before = config.n_fft // 2 - left
    window = spectrogram.analysis_window(config.win_length, config.n_fft)[left : left + config.win_length]
    squares = _spectrum_squares(
        nodes,
        samples,
        window.astype(np.float64),
        n_fft=config.n_fft,
        bins=bins,
        hop=config.hop_length,
        pads=(before, 2 * (config.n_fft // 2) - config.n_fft + config.win_length - before),
    )
    weights = filters[bins.start : bins.stop].T
    return nodes.add("MatMul", nodes.constant(np.concatenate([weights, weights], axis=1)), squares)


def _loud_frames(nodes: _Nodes, power: str, trim_db: float) -> tuple[str, str]:
    """Return the first frame and the one behind the last as `spectrogram.loud_frames` finds them, shape (1,) each."""
    if trim_db == 0.0:
        return nodes.integers(0), nodes.length(power, 2)
    loudness = nodes.add("ReduceSum", power, nodes.integers(1), keepdims=1)
    least = nodes.add("Mul", nodes.add("ReduceMax", loudness, keepdims=1), nodes.number(10.0 ** (-trim_db / 10.0)))
    loud = nodes.add("Cast", nodes.add("GreaterOrEqual", loudness, least), to=_type("FLOAT"))
    flat = nodes.add("Reshape", loud, nodes.integers(-1))
    first = nodes.add("ArgMax", flat, axis=0, keepdims=1)
    last = nodes.add("ArgMax", flat, axis=0, keepdims=1, select_last_index=1)
    return first, nodes.add("Add", last, nodes.integers(1))


def _cut(nodes: _Nodes, values: str, first: str, end: str) -> str:
    return nodes.add("Slice", values, first, end, nodes.integers(2))


def _scaled(nodes: _Nodes, power: str, config: SpectrogramConfig) -> str:
    """Do what `spectrogram.scale` does, from power on."""
    decibels = nodes.add("Mul", nodes.add("Log", power), nodes.number(10.0 / np.log(10.0)))
    if config.level == "clip":
        decibels = nodes.add("Sub", decibels, nodes.add("ReduceMax", decibels, keepdims=1))
    scaled = nodes.add("Add", nodes.add("Div", decibels, nodes.number(config.top_db)), nodes.number(1.0))
    scaled = _clipped(nodes, scaled)
    if config.band_normalization == "clip":
        centred = nodes.add("Sub", scaled, nodes.add("GlobalAveragePool", scaled))
        scaled = _clipped(nodes, nodes.add("Add", centred, nodes.number(0.5)))
    return scaled


def _clipped(nodes: _Nodes, values: str) -> str:
    return nodes.add("Clip", values, nodes.number(0.0), nodes.number(1.0))


def _periodicity(nodes: _Nodes, samples: str, config: SpectrogramConfig) -> str:
    """Do what `periodicity.repeats` and `relative` do, shape (1, periodicity_bands, n_frames)."""
    tables = periodicity.tables_of(config.sample_rate, config.periodicity_bands)
    squares = _spectrum_squares(
        nodes,
        samples,
        tables.window.astype(np.float64),
        n_fft=tables.n_fft,
        bins=range(periodicity.HUM_BINS, tables.n_bins),
        hop=config.hop_length,
        pads=(tables.size // 2, tables.size // 2),
    )
    energy_of, steps_of = tables.correlate[:, :1].T, tables.correlate[:, 1:].T

    def product(weights: Array) -> str:
        return nodes.add("MatMul", nodes.constant(np.concatenate([weights, weights], axis=1)), squares)

    energy = product(energy_of)
    highest = nodes.add("Max", *(product(part) for part in np.split(steps_of, periodicity.STEPS)))
    loudest = nodes.add("Max", nodes.add("ReduceMax", energy, keepdims=1), nodes.number(1e-20))
    quiet = nodes.add("Mul", loudest, nodes.number(periodicity.QUIET))
    return _clipped(nodes, nodes.add("Div", highest, nodes.add("Add", energy, quiet)))


def _padded(nodes: _Nodes, values: str, config: SpectrogramConfig) -> str:
    """Pad (1, n_frames, n_bands) with zeros on both sides as `spectrogram.input_of_scaled` does."""
    n_frames = nodes.length(values, 1)
    multiple = nodes.integers(config.frame_multiple)
    blocks = nodes.add("Div", nodes.add("Add", n_frames, nodes.integers(config.frame_multiple - 1)), multiple)
    wanted = nodes.add("Max", nodes.add("Mul", blocks, multiple), nodes.integers(config.min_frames))
    missing = nodes.add("Sub", wanted, n_frames)
    before = nodes.add("Div", missing, nodes.integers(2))
    after = nodes.add("Sub", missing, before)
    none = nodes.integers(0)
    return nodes.add("Pad", values, nodes.add("Concat", none, before, none, none, after, none, axis=0))

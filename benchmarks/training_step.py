"""How many samples a second train: the networks here against plain Keras, native PyTorch, and the origin's pipeline."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks import peers
from benchmarks.paired import Took, alternate, called, figure, median, must_agree, times_longer
from benchmarks.processes import on_cores
from benchmarks.tables import Table
from emogram.config import RunConfig, SpectrogramConfig, TrainConfig
from emogram.dataset import Dataset, Sample
from emogram.errors import EmogramError
from emogram.records import Clip

SUMMARY = "Samples trained a second, against plain Keras on each back end, native PyTorch, and a pipeline of PNG files."
ROUNDS = 5
PACKAGES = ("keras", "torch", "pillow")

NETWORKS = ("emonet", "baseline")
LABELS = tuple("abcdefgh")
OURS, NATIVE, ORIGIN = "emogram, bfloat16", "PyTorch, bfloat16, channels last", "PNG files, Keras float32"
PEERS = {"TensorFlow": ("tensorflow", ["tensorflow-cpu"]), "JAX": ("jax", ["jax"])}
MOST_DIFFERENCE = 1e-4  # of probabilities and losses in single precision

FloatArray = npt.NDArray[np.float32]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the benchmark takes."""
    parser.add_argument("--steps", type=int, default=4, help="Steps of 32 samples in each run.")
    parser.add_argument("--networks", default=",".join(NETWORKS), metavar="NAME,...")


def run(arguments: argparse.Namespace) -> Table:
    """Train each network in each way by turns, on the same batches."""
    batch_size = 4 if arguments.tiny else 32
    n_steps = 1 if arguments.tiny else arguments.steps
    rows: list[tuple[str, ...]] = []
    notes = []
    with on_cores(1) as core, single_thread(), tempfile.TemporaryDirectory(prefix="emogram-benchmark-") as scratch:
        for name in arguments.networks.split(","):
            dataset = made_up(name, batch_size * n_steps, tiny=arguments.tiny)
            config = settings(dataset, name, batch_size)
            batches = batches_of(dataset, config)
            notes.append(f"`{name}`: " + agreement(name, config, batches[0]))
            sides = {label: called(side) for label, side in sides_of(name, config, batches).items()}
            augmenting = called(lambda d=dataset, c=config: batches_of(d, c))
            if name == "baseline":
                sides[ORIGIN] = called(origin(dataset, config, Path(scratch)))
            if arguments.peers:
                sides |= peer_sides(name, config, batches, notes, arguments.rounds)
            took = alternate({**sides, "augmentation": augmenting}, rounds=arguments.rounds)
            rows += table_rows(name, {label: took[label] for label in sides}, batch_size * n_steps)
            share = 1.0 / times_longer(took[OURS], took["augmentation"], "cpu_s").median
            notes.append(
                f"`{name}`: making the augmented batches takes {100 * share:.1f} % of a step's time, by the processor."
            )
    notes.append(
        f"Batches of {batch_size}, {n_steps} to a run, Adam but where Muon is told, {core}, one thread; medians of "
        f"{arguments.rounds} runs by turns, ratios with their quartiles, by processor time, which others at work "
        "disturb less than the clock. All ways but the PNG files are given the same batches, ready made."
    )
    return Table("training-step", HEADER, tuple(rows), tuple(notes))


HEADER = ("Network", "Way", "Samples/s", "emogram is faster, times (quartiles)")


def table_rows(name: str, took: dict[str, list[Took]], n_samples: int) -> list[tuple[str, ...]]:
    """Return a line for each way."""
    return [
        (
            name,
            label,
            figure(n_samples / median(runs, "cpu_s")),
            "1" if label == OURS else str(times_longer(runs, took[OURS], "cpu_s")),
        )
        for label, runs in took.items()
    ]


def made_up(network: str, n: int, *, tiny: bool, periodicity_bands: int = 0) -> Dataset:
    """Return noise in the shape of clips: what is in them does not change what a step costs."""
    random = np.random.default_rng(0)
    config = (
        SpectrogramConfig(periodicity_bands=periodicity_bands)
        if network == "emonet"
        else SpectrogramConfig(kind="picture", picture_size=128)
    )
    if tiny and network != "emonet":
        config = SpectrogramConfig(kind="picture", picture_size=32)
    samples = []
    for number in range(n):
        shape = (
            (32 if tiny else 176, config.n_mels + config.periodicity_bands, 1)
            if network == "emonet"
            else (config.picture_size,) * 2 + (3,)
        )
        samples.append(Sample(random.random(shape).astype(np.float16), None, str(number)))
    clips = tuple(Clip(Path(f"{number}.wav"), LABELS[number % 8], str(number % 24), "made up") for number in range(n))
    return Dataset(clips, LABELS, np.arange(n) % 8, tuple(samples), config, ())


def settings(dataset: Dataset, network: str, batch_size: int) -> RunConfig:
    """Return the default settings for the network; without degraded copies."""
    spectrogram = dataset.spectrogram
    assert spectrogram is not None, "made_up has settings"
    frames = 160 if batch_size >= 32 else 32
    config = RunConfig(spectrogram=spectrogram)
    network_config = config.network.model_copy(update={"network": network})
    train = TrainConfig(
        batch_size=batch_size, train_frames=frames, optimizer="adam", schedule="constant", mask_missing_labels=False
    )
    return config.model_copy(update={"network": network_config, "train": train})


def batches_of(dataset: Dataset, config: RunConfig) -> list[tuple[FloatArray, FloatArray]]:
    """Return the augmented batches of an epoch."""
    from emogram.batches import TrainingBatches

    batches = TrainingBatches(dataset, np.arange(len(dataset)), train=config.train, augmentation=config.augment)
    return [(inputs, targets) for inputs, targets, _ in (batches[step] for step in range(len(batches)))]


def keras_network(name: str, config: RunConfig, precision: str, **changes: Any) -> Any:
    """Return a network of the house as Keras builds it, with the weights of seed 0."""
    from emogram.backend import keras
    from emogram.network import build_network
    from emogram.train import computing_in, input_shapes

    keras.utils.set_random_seed(0)
    with computing_in(precision):
        return build_network(input_shapes(config.spectrogram), len(LABELS), config.network.model_copy(update=changes))


def native_network(name: str, config: RunConfig, twin: Any, **changes: Any) -> Any:
    """Return the same network in PyTorch with the weights of the Keras one."""
    from benchmarks.native import Baseline, Emonet, copy_weights

    network = config.network.model_copy(update=changes)
    if name == "baseline":
        native: Any = Baseline(len(LABELS), dropout=network.dropout)
    else:
        native = Emonet(
            config.train.train_frames,
            config.spectrogram.n_mels,
            len(LABELS),
            block_dropout=network.block_dropout,
            dropout=network.dropout,
        )
    copy_weights(twin, native)
    return native


def compiled(network: Any, config: RunConfig) -> Any:
    """Return a Keras network ready to train, as `emogram.train` readies it."""
    from emogram.losses import PossibleCrossentropy
    from emogram.optimizers import make_optimizer

    network.compile(
        optimizer=make_optimizer(config.train, steps_per_epoch=1, precision="bfloat16"),
        loss=PossibleCrossentropy(label_smoothing=config.train.label_smoothing),
        jit_compile=False,
    )
    return network


def keras_side(network: Any, batches: list[tuple[FloatArray, FloatArray]]) -> Callable[[], Any]:
    """Return a function that trains a Keras network on all batches by `fit`."""
    from emogram.backend import keras

    class Same(keras.utils.PyDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return len(batches)

        def __getitem__(self, step: int) -> tuple[FloatArray, FloatArray]:
            return batches[step]

    same = Same(workers=1)
    return lambda: network.fit(same, epochs=1, shuffle=False, verbose=0)


def sides_of(
    name: str, config: RunConfig, batches: list[tuple[FloatArray, FloatArray]]
) -> dict[str, Callable[[], Any]]:
    """Return the ways that run in this process."""
    import torch

    from benchmarks.native import native_step
    from emogram.fused import faster

    sides: dict[str, Callable[[], Any]] = {}
    for label, precision in ((OURS, "bfloat16"), ("emogram, float32", "float32")):
        sides[label] = keras_side(compiled(faster(keras_network(name, config, precision)), config), batches)
    for precision in ("bfloat16", "float32"):
        network = compiled(keras_network(name, config, precision), config)
        sides[f"Keras on PyTorch, {precision}"] = keras_side(network, batches)
    # What the recipes use, and the others do not have for convolutions.
    muon = config.model_copy(update={"train": config.train.model_copy(update={"optimizer": "muon"})})
    network = compiled(faster(keras_network(name, config, "bfloat16")), muon)
    sides[f"{OURS}, Muon"] = keras_side(network, batches)
    tensors = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in batches]
    for precision, label in (("bfloat16", NATIVE), ("float32", "PyTorch, float32, channels last")):
        step = native_step(native_network(name, config, keras_network(name, config, "float32")), precision=precision)
        sides[label] = lambda step=step: [step(x, y) for x, y in tensors]
    return sides


def agreement(name: str, config: RunConfig, batch: tuple[FloatArray, FloatArray]) -> str:
    """Return a note that the ways compute the same: probabilities, and the loss of a training step, without dropout.

    Raises:
        EmogramError: They do not.
    """
    import torch

    from benchmarks.native import native_step
    from emogram.fused import faster

    inputs, targets = batch
    still = {"dropout": 0.0, "block_dropout": 0.0, "l2": 0.0}
    twin = keras_network(name, config, "float32", **still)
    native = native_network(name, config, twin, **still)
    native.eval()
    with torch.no_grad():
        told = native(torch.from_numpy(inputs).movedim(-1, 1)).softmax(1).numpy()
    fast = faster(twin)
    fast.set_weights(twin.get_weights())
    wanted = np.asarray(twin.predict_on_batch(inputs))
    difference = max(np.abs(told - wanted).max(), np.abs(np.asarray(fast.predict_on_batch(inputs)) - wanted).max())
    step = native_step(native, precision="float32")
    losses = [step(torch.from_numpy(inputs), torch.from_numpy(targets))]
    losses += [float(compiled(one, config).train_on_batch(inputs, targets)) for one in (fast, twin)]
    return must_agree(
        "probabilities and losses of all ways in float32", max(difference, np.ptp(losses)), MOST_DIFFERENCE
    )


def origin(dataset: Dataset, config: RunConfig, folder: Path) -> Callable[[], Any]:
    """Return a function that trains on PNG files as the origin does: each opened, changed and stacked by itself."""
    from emogram.backend import keras

    files = []
    for number, sample in enumerate(dataset.samples):
        files.append(folder / f"{number}.png")
        Image.fromarray((sample.spectrogram * 255.0).astype(np.uint8)).save(files[-1])
    targets = np.eye(len(LABELS), dtype=np.float32)[dataset.targets]
    size = config.train.batch_size

    class Pictures(keras.utils.PyDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return len(files) // size

        def __getitem__(self, step: int) -> tuple[FloatArray, FloatArray]:
            chosen = slice(step * size, (step + 1) * size)
            return np.stack([changed_picture(file) for file in files[chosen]]), targets[chosen]

    network = keras_network("baseline", config, "float32", l2=1e-3)
    network.compile(optimizer="adam", loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.3), jit_compile=False)
    pictures = Pictures(workers=1)
    return lambda: network.fit(pictures, epochs=1, shuffle=False, verbose=0)


def changed_picture(file: Path) -> FloatArray:
    """Open a picture, and change brightness, contrast, a stripe of time and one of frequency (PROTOCOLS.md, P2)."""
    with Image.open(file) as opened:
        picture = np.asarray(opened.convert("RGB"), dtype=np.float32) / 255.0
    random = np.random.default_rng()
    picture = picture + random.uniform(-0.1, 0.1)
    picture = (picture - picture.mean()) * random.uniform(0.9, 1.1) + picture.mean()
    for axis in (0, 1):
        extent = random.integers(0, 17)
        start = random.integers(0, picture.shape[axis] - extent + 1)
        picture.swapaxes(0, axis)[start : start + extent] = 0.0
    return np.clip(picture, 0.0, 1.0).astype(np.float32)


def peer_sides(
    name: str, config: RunConfig, batches: list[tuple[FloatArray, FloatArray]], notes: list[str], rounds: int
) -> dict[str, Callable[[], Took]]:
    """Return plain Keras on its other back ends, each in an environment of its own; one that fails becomes a note."""
    import keras

    sides: dict[str, Callable[[], Took]] = {}
    for title, (backend, packages) in PEERS.items():
        for precision in ("float32", "mixed_bfloat16"):
            request = {
                "backend": backend,
                "precision": precision,
                "network": name,
                "shape": config.spectrogram.input_shape(),
                "inputs": [len(batches[0][0]), *batches[0][0].shape[1:]],
                "n_steps": len(batches),
                "n_runs": rounds + 1,  # one to warm up
                "n_labels": len(LABELS),
            }
            try:
                python = peers.environment(f"keras-{backend}", [f"keras=={keras.__version__}", *packages, "pydantic"])
                answers = peers.ask(python, "keras_step.py", request)
            except EmogramError as error:
                notes.append(f"Keras on {title}, {precision}: left out: {error}")
                continue
            runs = iter([Took(**answer) for answer in answers])
            sides[f"Keras on {title}, {precision.removeprefix('mixed_')}"] = lambda runs=runs: next(runs)
    notes.append("Keras on other back ends takes long to start and compile, so that its runs follow one another.")
    return sides


@contextlib.contextmanager
def single_thread() -> Iterator[None]:
    """Let PyTorch compute in one thread, take denormal numbers as zero as `emogram.train` does; on all sides alike."""
    import torch

    from emogram.fused import without_denormals

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with without_denormals():
            yield
    finally:
        torch.set_num_threads(before)

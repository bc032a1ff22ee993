"""The network `rocket`: random convolutions, of which one linear system finds the weights that tell emotions apart.

Thousands of short random kernels at several dilations, the share of the time that each is above a random threshold, and
ridge regression: A. Dempster, F. Petitjean, G. I. Webb, "ROCKET: exceptionally fast and accurate time series
classification using random convolutional kernels", Data Mining and Knowledge Discovery 34 (2020), 1454-1495,
arXiv:1910.13051, and "MiniRocket", KDD 2021, arXiv:2012.08791, of which the kernels are (two values that sum to 0).
There a series has one channel or any mixture of some; here neighbouring bands are joined first, as a spectrogram's
have an order.

Nothing is chosen on validation clips: how strong the penalty is, and how sure the answers are, is what suits best the
speakers of the training clips, each left out in turn, or their corpora. Leaving some out needs no new solution, since
of ridge regression the answers without some rows follow from those with them (as of leave-one-out, R. D. Cook and
S. Weisberg, "Residuals and Influence in Regression", 1982, section 2.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from emogram.backend import keras
from emogram.config import NetworkConfig
from emogram.dataset import Dataset, Indices, Sample, same_length_groups
from emogram.errors import SettingsError
from emogram.export import as_onnx, session_of
from emogram.files import writing
from emogram.metrics import nll
from emogram.network import (
    CLASSES,
    ROCKET_BANDS,
    ROCKET_CONVOLUTION,
    ROCKET_LENGTH,
    ROCKET_SHARES,
    ROCKET_THRESHOLDS,
    with_kernels,
)
from emogram.progress import SILENT, Progress
from emogram.records import speakers_of

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
LeftOut = Literal["speakers", "corpora"]

N_COPIES = 3  # of each clip; six tell no more
MAX_ROWS = 8192  # the system has as many unknowns, takes their square in memory and their cube in time
N_EXAMPLES = 64  # clips from which thresholds are taken
RAMP = 1.0  # of a kernel's deviation: how far a value goes from counting nothing to counting in full
MIN_WIDTH = 1e-4  # of that way, where a kernel hardly ever has another value
MIN_BAND = 1e-6  # of the sum of a bump: less is nothing, since processors are slow on numbers near 1e-40
MIN_DEVIATION = 0.02  # of a share over the training clips: those that hardly ever differ are not blown up
PENALTIES = (0.03, 0.06, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 4.0)
SHARPNESS = (3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 15.0)
_INTERCEPT = 100.0  # so large beside the rows' products that the intercept is as good as free of penalty
_BATCH = 4


class _Row(NamedTuple):
    """A clip or a degraded copy of one.

    Attributes:
        sample: Its model input.
        owner: Index of the clip.
        counts: How much it counts.
    """

    sample: Sample
    owner: int
    counts: float


@dataclass(frozen=True)
class Solution:
    """What was chosen, and how it did on the training speakers, each left out in turn.

    Attributes:
        penalty: Of ridge regression, on the mean square of standardised shares.
        sharpness: What the solution is multiplied by before the softmax.
        nll: Negative log-likelihood of what was said of each clip without its speaker.
        accuracy: Share of clips of which that was right.
    """

    penalty: float
    sharpness: float
    nll: float
    accuracy: float


def solve(
    network: keras.Model,
    dataset: Dataset,
    indices: Indices,
    *,
    weights: npt.ArrayLike,
    seed: int,
    left_out: LeftOut = "speakers",
    share: float = 0.5,
    progress: Progress = SILENT,
) -> Solution:
    """Draw the kernels of a network `rocket` and find its answer.

    Args:
        network: As `network.rocket` builds it, or `network.with_kernels` with the trained network's answer in place.
        dataset: All clips.
        indices: Those that train, of labels of the dataset.
        weights: How much each clip of the dataset counts, with its degraded copies, as `balance.clip_weights` gives it.
        seed: Of all that is drawn.
        left_out: What is left out in turn, to choose how strongly the answer is held back.
        share: How much the answer counts beside that of a trained network.
        progress: Is told what was chosen.

    Raises:
        SettingsError: There is no clip of a label that counts, or corpora are to be left out and there is one.
    """
    rng = np.random.default_rng(seed)
    rows = _rows(dataset, indices, np.asarray(weights, np.float64), rng)
    if not rows:
        raise SettingsError("no training clip counts; there is nothing to solve")
    samples, owners = [row.sample for row in rows], np.asarray([row.owner for row in rows])
    _draw_bands(network, dataset, rng)
    _draw_kernels(network, [samples[row] for row in rng.permutation(len(samples))[:N_EXAMPLES]], rng)
    shares = _shares(network, samples, progress)
    mean, deviation = shares.mean(axis=0), shares.std(axis=0) + np.float32(MIN_DEVIATION)
    shares -= mean
    shares /= deviation
    targets = dataset.targets[owners]
    n_labels = len(dataset.labels)
    wanted = np.eye(n_labels)[targets] - 1.0 / n_labels
    solution, answer = ridge(
        shares,
        wanted,
        targets,
        counts=np.asarray([row.counts for row in rows]),
        groups=left_out_groups(dataset, owners, left_out),
    )
    kernel = solution.sharpness * (shares.T @ answer.astype(np.float32)) / shares.shape[1] / deviation[:, np.newaxis]
    bias = solution.sharpness * _INTERCEPT * answer.sum(axis=0) - mean @ kernel
    _answer_with(network.get_layer(CLASSES), kernel, bias, share)
    progress.say(
        f"solved {len(samples)} clips by {shares.shape[1]} kernels: with {left_out} left out, loss "
        f"{solution.nll:.3f}, accuracy {solution.accuracy:.1%} (penalty {solution.penalty:g}, sharpness "
        f"{solution.sharpness:g})"
    )
    return solution


def join_kernels(
    file: Path, config: NetworkConfig, n_periodicity: int, solve_it: Callable[[keras.Model], Solution]
) -> None:
    """Put the kernels beside the trained network of a `.keras` file; its answer is a weighted geometric mean of both.

    Both answers are a dense layer's, so that a weighted mean of them is one dense layer.

    Args:
        file: The network, of one input, that tells labels only; is replaced.
        config: Of the kernels.
        n_periodicity: How many of the bands are of periodicity.
        solve_it: Solves what is given to it, see `solve`.
    """
    trained = keras.saving.load_model(file, compile=False)
    learnt = trained.get_layer(CLASSES).get_weights()
    network = with_kernels(trained, n_periodicity, config)
    kernel, _ = network.get_layer(CLASSES).get_weights()
    kernel[: len(learnt[0])], kernel[len(learnt[0]) :] = learnt[0], 0.0
    network.get_layer(CLASSES).set_weights([kernel, learnt[1]])
    solve_it(network)
    with writing(file) as temporary:
        network.save(temporary)


def _answer_with(layer: keras.layers.Layer, kernel: FloatArray, bias: FloatArray, share: float) -> None:
    """Set the weights of the answer; where a trained network answers too, its own come first."""
    weights, biases = layer.get_weights()
    n_learnt = len(weights) - len(kernel)
    if n_learnt:
        learnt = (1.0 - share) * weights[:n_learnt]
        layer.set_weights([np.concatenate([learnt, share * kernel]), (1.0 - share) * biases + share * bias])
    else:
        layer.set_weights([kernel, bias])


def ridge(
    rows: FloatArray, wanted: DoubleArray, targets: Indices, *, counts: DoubleArray, groups: Sequence[str]
) -> tuple[Solution, DoubleArray]:
    """Solve ridge regression with the penalty that suits groups which are left out.

    Args:
        rows: Standardised shares, shape (n_rows, n_shares).
        wanted: Shape (n_rows, n_labels).
        targets: Index of the label of each row.
        counts: How much each row counts, > 0, shape (n_rows,).
        groups: Which rows are left out together, a name for each row.

    Returns:
        What was chosen, and the coefficients a of the rows, shape (n_rows, n_labels): of a clip with shares x the
        answer is (rows @ x / n_shares + `_INTERCEPT`) @ a.
    """
    products = (rows @ rows.T / np.float32(rows.shape[1])).astype(np.float64) + _INTERCEPT
    members = [np.flatnonzero(np.asarray(groups) == name) for name in dict.fromkeys(groups)]
    best: tuple[Solution, DoubleArray] | None = None
    for penalty in PENALTIES:
        inverse = _inverse(products, penalty / counts)
        coefficients = inverse @ wanted
        left_out = np.empty_like(wanted)
        for group in members:
            left_out[group] = wanted[group] - np.linalg.solve(inverse[np.ix_(group, group)], coefficients[group])
        solution = _sharpest(left_out, targets, penalty)
        if best is not None and solution.nll >= best[0].nll:
            break  # it falls and then rises
        best = solution, coefficients
    assert best is not None, "there are penalties"
    return best


def _sharpest(left_out: DoubleArray, targets: Indices, penalty: float) -> Solution:
    """Return the solution with the sharpness that suits what was said of each clip without its group."""
    losses = {sharpness: nll(_softmax(sharpness * left_out), targets) for sharpness in SHARPNESS}
    sharpness = min(losses, key=losses.__getitem__)
    right = (left_out.argmax(axis=1) == targets).mean()
    return Solution(penalty, sharpness, losses[sharpness], float(right))


def _inverse(products: DoubleArray, added: DoubleArray) -> DoubleArray:
    """Return the inverse of products with something added to their diagonal; a third of the time of any matrix's."""
    from scipy.linalg import lapack

    factor, _ = lapack.dpotrf(products + np.diag(added), lower=1, overwrite_a=1)
    lower, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
    inverse: DoubleArray = np.tril(lower)
    inverse += np.tril(lower, -1).T
    return inverse


def _rows(dataset: Dataset, indices: Indices, weights: DoubleArray, rng: np.random.Generator) -> list[_Row]:
    """Return clips, no more than `MAX_ROWS`, and up to `N_COPIES` of each, drawn at random, as far as there is room.

    A copy counts as much as the clip itself: speakers left out are told apart as well as with less of it where they are
    heard clearly, and better in noise.
    """
    trained = np.asarray([index for index in indices.tolist() if weights[index] > 0.0], np.int64)
    trained = trained[np.sort(rng.permutation(len(trained))[:MAX_ROWS])]
    copies = []
    for index in trained.tolist():
        variants = dataset.samples[index].variants
        copies += [(index, variants[place]) for place in rng.permutation(len(variants))[:N_COPIES]]
    copies = [copies[place] for place in rng.permutation(len(copies))[: MAX_ROWS - len(trained)]]
    samples: dict[int, list[Sample]] = {int(index): [dataset.samples[index]] for index in trained}
    for index, sample in copies:
        samples[index].append(sample)
    return [
        _Row(sample, index, float(weights[index]) / len(of_clip))
        for index, of_clip in samples.items()
        for sample in of_clip
    ]


def left_out_groups(dataset: Dataset, owners: Indices, left_out: LeftOut) -> list[str]:
    """Return what is left out with each clip: its speaker, where that is unknown the clip alone; or its corpus.

    Raises:
        SettingsError: Corpora are to be left out and there is one.
    """
    clips = [dataset.clips[index] for index in owners.tolist()]
    if left_out == "corpora":
        if len({clip.corpus for clip in clips}) < 2:
            raise SettingsError("one corpus trains, and none can be left out; say kernel_left_out = speakers")
        return [str(clip.corpus) for clip in clips]
    return [
        f"clip {index}" if speaker is None else f"speaker {speaker}"
        for index, speaker in zip(owners.tolist(), speakers_of(clips), strict=True)
    ]


def _draw_bands(network: keras.Model, dataset: Dataset, rng: np.random.Generator) -> None:
    """Draw which bands are joined: neighbours, neighbours less those around them, or less some elsewhere."""
    layer = network.get_layer(ROCKET_BANDS)
    n_bands, n_channels = layer.kernel.shape
    n_periodicity = dataset.spectrogram.periodicity_bands if dataset.spectrogram is not None else 0
    # Two kinds of bands are never joined; three channels of eight are of periodicity.
    n_of_sound = n_channels if not n_periodicity else n_channels * 5 // 8
    joined = np.zeros((n_bands, n_channels), np.float32)
    for channel in range(n_channels):
        first, n = (0, n_bands - n_periodicity) if channel < n_of_sound else (n_bands - n_periodicity, n_periodicity)
        centre, width = rng.uniform(0, n), np.exp(rng.uniform(np.log(0.01), np.log(0.125))) * n
        weights = _bump(n, centre, width)
        kind = rng.integers(3)
        if kind == 1:
            weights = weights - _bump(n, centre, 2.5 * width)
        elif kind == 2:
            weights = weights - _bump(n, float(np.clip(rng.normal(centre, 0.2 * n), 0, n)), width)
        joined[first : first + n, channel] = weights
    layer.set_weights([joined])


def _bump(n: int, centre: float, width: float) -> DoubleArray:
    bump: DoubleArray = np.exp(-0.5 * ((np.arange(n) + 0.5 - centre) / width) ** 2)
    bump /= bump.sum()
    bump[bump < MIN_BAND] = 0.0
    return bump


def _draw_kernels(network: keras.Model, examples: Sequence[Sample], rng: np.random.Generator) -> None:
    """Draw kernels, and their thresholds from what they come to at moments of training clips."""
    layers = [layer for layer in network.layers if layer.name.startswith(f"{ROCKET_CONVOLUTION}_")]
    for layer in sorted(layers, key=lambda layer: layer.dilation_rate):
        dilation = layer.dilation_rate[1]
        _, _, n_channels, n_kernels = layer.kernel.shape
        kernels = np.full((n_channels * n_kernels, ROCKET_LENGTH), -1.0, np.float32)
        for kernel in kernels:
            kernel[rng.choice(ROCKET_LENGTH, ROCKET_LENGTH // 3, replace=False)] = 2.0
        if dilation == 1:  # a quarter looks at one moment
            kernels[::4] = np.eye(ROCKET_LENGTH, dtype=np.float32)[ROCKET_LENGTH // 2]
        kernels = kernels.T.reshape(1, ROCKET_LENGTH, n_channels, n_kernels)
        layer.set_weights([kernels])
        values = _values_of(network, layer.output, examples)
        thresholds = values[rng.integers(len(values), size=values.shape[1]), np.arange(values.shape[1])]
        widths = np.maximum(RAMP * values.std(axis=0), np.float32(MIN_WIDTH))
        # The share of a moment is (value - threshold) / width + 0.5, between 0 and 1.
        counted = network.get_layer(f"{ROCKET_THRESHOLDS}_{dilation}")
        counted.set_weights([np.ones_like(widths), np.full_like(widths, 0.5), thresholds, np.square(widths)])


def _values_of(network: keras.Model, output: object, examples: Sequence[Sample]) -> FloatArray:
    """Return what some kernels come to at every fourth moment of clips, shape (n_moments, n_kernels)."""
    part = keras.Model(network.inputs[0], output)
    found = []
    for batch, _ in _batches(examples):
        values = keras.ops.convert_to_numpy(part.predict_on_batch(batch))
        found.append(values.reshape(-1, values.shape[-1])[::4])
    return np.concatenate(found)


def _shares(network: keras.Model, samples: Sequence[Sample], progress: Progress) -> FloatArray:
    """Return in which share of the time each kernel is above its threshold, shape (n_samples, n_kernels).

    By ONNX Runtime, which counts several times as fast as Keras on PyTorch, and by which models answer later.
    """
    layer = network.get_layer(ROCKET_SHARES)
    session = session_of(as_onnx(keras.Model(network.inputs[0], layer.output)))
    shares = np.empty((len(samples), layer.output.shape[-1]), np.float32)
    with progress.task("counting", len(samples)) as task:
        for batch, places in _batches(samples):
            (shares[places],) = session.run(None, {"spectrogram": batch})
            task.advance(len(places))
    return shares


def _batches(samples: Sequence[Sample]) -> Iterator[tuple[FloatArray, Indices]]:
    """Yield spectrograms of one length, a few at a time, and where each belongs."""
    for places in same_length_groups(samples, most=_BATCH):
        yield np.stack([samples[place].spectrogram for place in places]).astype(np.float32), places


def _softmax(values: DoubleArray) -> DoubleArray:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    probabilities: DoubleArray = powers / powers.sum(axis=1, keepdims=True)
    return probabilities

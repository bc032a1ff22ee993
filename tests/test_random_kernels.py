"""The network that is solved at once: what it counts, what the solution is, and that a left-out speaker is left out."""

import dataclasses

import numpy as np
import pytest

from emogram import random_kernels
from emogram.backend import keras
from emogram.classifier import Classifier
from emogram.config import NetworkConfig, SpectrogramConfig
from emogram.dataset import load_dataset
from emogram.errors import SettingsError
from emogram.export import MAX_EMBEDDING, as_onnx, session_of, with_embedding
from emogram.finetune import only_speakers
from emogram.network import (
    CLASSES,
    ROCKET_BANDS,
    ROCKET_DILATIONS,
    ROCKET_FLOOR,
    ROCKET_LOUD,
    ROCKET_SHARES,
    InputShapes,
    build_network,
)
from emogram.progress import Progress
from emogram.random_kernels import ridge, solve
from emogram.splits import make_split
from emogram.train import train
from emogram.writers import read_history


class Heard(Progress):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


class CtrlC(Progress):
    def say(self, line):
        if line.startswith("epoch   1/"):
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def melodious(voices_corpus):
    """32 clips of four speakers, with bands of periodicity."""
    return load_dataset(voices_corpus, SpectrogramConfig(periodicity_bands=16), workers=1)


def rocket(dataset, **settings):
    of_sound = dataset.spectrogram
    shapes = InputShapes(of_sound.input_shape(), n_periodicity=of_sound.periodicity_bands)
    config = NetworkConfig(**{"network": "rocket", "kernel_bands": 16, "max_dilation": 14, **settings})
    return build_network(shapes, len(dataset.labels), config)


def solved(dataset, indices=None, *, seed=0, weights=None, progress=None, **settings):
    network = rocket(dataset, **settings)
    solution = solve(
        network,
        dataset,
        np.arange(len(dataset)) if indices is None else indices,
        weights=np.ones(len(dataset)) if weights is None else weights,
        seed=seed,
        progress=progress or Progress(),
    )
    return network, solution


@pytest.fixture(scope="module")
def whole(melodious):
    """The network of all dilations solved on all clips, and its solution. To be looked at only."""
    return solved(melodious)


def part(network, name, inputs):
    return keras.ops.convert_to_numpy(keras.Model(network.inputs[0], network.get_layer(name).output)(inputs))


def answers(network, dataset):
    return np.concatenate([network.predict_on_batch(dataset.inputs([n])["spectrogram"]) for n in range(len(dataset))])


# ---------------------------------------------------------------- what is counted


def moments_by_hand(loudest):
    """How much each moment counts, one after the other: where it sounds, and where it is loud, early and late."""
    sounding = np.asarray([1.0 if value > ROCKET_FLOOR else 0.0 for value in loudest])
    loud = np.asarray([max(0.0, value - max(loudest) + ROCKET_LOUD) for value in loudest]) * sounding
    until = [loud[: moment + 1].sum() / loud.sum() for moment in range(len(loud))]
    early = np.asarray([value * (1 - share) for value, share in zip(loud, until, strict=True)])
    late = np.asarray([value * share for value, share in zip(loud, until, strict=True)])
    return np.stack([one / one.sum() for one in (sounding, early, late)], axis=1)


def shares_by_hand(network, spectrogram, pooling):
    """Each kernel at each moment, one after the other, with how much the moments count, shape (n_kernels, 3)."""
    frames = spectrogram[:, :, 0].astype(np.float64)
    values = np.stack([frames[start : start + pooling].mean(axis=0) for start in range(0, len(frames), pooling)])
    moments = moments_by_hand(values[:, :64].max(axis=1))
    (joined,) = network.get_layer(ROCKET_BANDS).get_weights()
    channels = values @ joined
    found = []
    for dilation in ROCKET_DILATIONS:
        (kernels,) = network.get_layer(f"kernels_{dilation}").get_weights()
        _, _, thresholds, variances = network.get_layer(f"thresholds_{dilation}").get_weights()
        _, length, n_channels, n_kernels = kernels.shape
        reach = dilation * (length // 2)
        padded = np.pad(channels, ((reach, reach), (0, 0)))
        for channel in range(n_channels):
            for kernel in range(n_kernels):
                place = channel * n_kernels + kernel
                sums = [
                    padded[moment : moment + 2 * reach + 1 : dilation, channel] @ kernels[0, :, channel, kernel]
                    for moment in range(len(values))
                ]
                ways = (np.asarray(sums) - thresholds[place]) / np.sqrt(variances[place]) + 0.5
                found.append(np.clip(ways, 0, 1) @ moments)
    return np.asarray(found)


@pytest.mark.parametrize("pooling", [1, 2])
def test_a_share_is_how_much_of_the_sounding_time_a_kernel_is_above_its_threshold(melodious, pooling):
    network, _ = solved(melodious, kernel_bands=8, kernel_pooling=pooling)
    for clip in (3, 17):
        inputs = melodious.inputs([clip])["spectrogram"]
        inputs = inputs[:, : inputs.shape[1] - clip % 2]  # of some the last mean is of one frame
        expected = shares_by_hand(network, inputs[0], pooling)
        np.testing.assert_allclose(part(network, ROCKET_SHARES, inputs)[0], expected.reshape(-1), atol=2e-5)
        assert (expected.mean(axis=0) > 0.05).all() and (expected.mean(axis=0) < 0.95).all()
        assert np.abs(np.diff(expected, axis=1)).mean(axis=0).min() > 0.01  # three ways, and not one


def test_without_their_course_loud_moments_count_once(melodious):
    inputs = melodious.inputs([9])["spectrogram"]
    shapes = InputShapes(melodious.spectrogram.input_shape(), n_periodicity=16)
    found = {}
    for course in (True, False):
        network = build_network(shapes, 4, NetworkConfig(network="rocket", kernel_bands=8, kernel_course=course))
        for layer in network.layers:
            if layer.name.startswith(("bands", "kernels_")):
                layer.set_weights([np.random.default_rng(8).normal(size=layer.get_weights()[0].shape)])
        found[course] = part(network, ROCKET_SHARES, inputs)[0]
    early_and_late, once = found[True].reshape(-1, 3), found[False].reshape(-1, 2)
    np.testing.assert_allclose(early_and_late[:, 0], once[:, 0], atol=1e-5)
    assert np.abs(once[:, 0] - once[:, 1]).max() > 0.01
    lower, upper = np.sort(early_and_late[:, 1:], axis=1).T
    assert ((lower - 1e-5 <= once[:, 1]) & (once[:, 1] <= upper + 1e-5)).all()  # a mean of both


def test_of_the_first_half_of_a_clip_early_shares_tell_and_of_the_second_late_ones(melodious):
    """Two sounds after one another, and the other way round: what was early is late."""
    network, _ = solved(melodious, kernel_bands=8)
    one, other = (melodious.inputs([clip])["spectrogram"][:, :96] for clip in (3, 17))
    there, back = (
        part(network, ROCKET_SHARES, np.concatenate(pair, axis=1))[0].reshape(-1, 3)
        for pair in ((one, other), (other, one))
    )
    before, after = (part(network, ROCKET_SHARES, clip)[0].reshape(-1, 3) for clip in (one, other))
    course = after[:, 0] - before[:, 0]
    assert np.corrcoef(there[:, 2] - there[:, 1], course)[0, 1] > 0.5
    assert np.corrcoef(back[:, 2] - back[:, 1], course)[0, 1] < -0.5


def test_kernels_are_of_two_values_that_sum_to_0_and_a_quarter_of_the_first_looks_at_one_moment(whole):
    network, _ = whole
    for dilation in ROCKET_DILATIONS:
        (kernels,) = network.get_layer(f"kernels_{dilation}").get_weights()
        kernels = kernels[0].reshape(kernels.shape[1], -1).T
        single = np.count_nonzero(kernels, axis=1) == 1
        assert single.mean() == (0.25 if dilation == 1 else 0.0)
        assert (kernels[single][:, 4] > 0).all()
        others = np.sort(kernels[~single], axis=1)
        np.testing.assert_array_equal(others, [[-1] * 6 + [2] * 3] * len(others))


@pytest.mark.parametrize(("longest", "expected"), [(1, [1]), (2, [1, 2]), (7, [1, 2, 4]), (14, [1, 2, 4, 8, 14])])
def test_kernels_are_no_longer_than_asked_and_those_that_are_left_stay_as_they_were(
    melodious, whole, longest, expected
):
    network, solution = solved(melodious, max_dilation=longest)
    found = [layer for layer in network.layers if layer.name.startswith("kernels_")]
    assert sorted(layer.dilation_rate[1] for layer in found) == expected
    for layer in found:
        np.testing.assert_array_equal(layer.get_weights()[0], whole[0].get_layer(layer.name).get_weights()[0])
    assert part(network, ROCKET_SHARES, melodious.inputs([1])["spectrogram"]).shape == (1, 3 * 128 * len(expected))
    assert 0 < solution.nll < np.log(4)


def test_sums_of_bands_are_of_sound_or_of_periodicity_and_of_neighbours(melodious):
    network, _ = solved(melodious, kernel_bands=384)
    (joined,) = network.get_layer(ROCKET_BANDS).get_weights()
    of_sound = np.abs(joined[:64]).sum(axis=0) > 0
    assert of_sound.sum() == 240 and (of_sound != (np.abs(joined[64:]).sum(axis=0) > 0)).all()
    np.testing.assert_allclose(joined.sum(axis=0)[np.abs(joined.sum(axis=0)) > 1e-3], 1, atol=1e-5)
    assert np.abs(joined[joined != 0]).min() > 1e-30  # processors are slow on numbers near 1e-40
    assert 0.5 < (np.abs(joined.sum(axis=0)) < 1e-5).mean() < 0.8  # two kinds of three are differences


def test_silence_around_a_clip_changes_nothing(melodious, whole):
    network, _ = whole
    inputs = melodious.inputs([5])["spectrogram"]
    longer = np.pad(inputs, ((0, 0), (24, 40), (0, 0), (0, 0)))
    np.testing.assert_allclose(network.predict_on_batch(longer), network.predict_on_batch(inputs), atol=1e-5)
    nothing = np.zeros_like(inputs)
    assert np.isfinite(network.predict_on_batch(nothing)).all()


def test_thresholds_lie_among_what_the_clips_come_to(melodious, whole):
    network, _ = whole
    shares = np.concatenate([part(network, ROCKET_SHARES, melodious.inputs([n])["spectrogram"]) for n in range(32)])
    assert shares.min() >= 0 and shares.max() <= 1 + 1e-5  # moments count 1 together, to the last digits
    assert (shares.std(axis=0) > 1e-3).mean() > 0.95
    assert 0.3 < np.median(shares) < 0.7


# ---------------------------------------------------------------- the solution


def invented_rows(n_groups=6, n_each=7, n_shares=30, n_labels=3, seed=0):
    rng = np.random.default_rng(seed)
    targets = rng.integers(n_labels, size=n_groups * n_each)
    rows = rng.normal(size=(len(targets), n_shares)) + 2 * np.eye(n_labels, n_shares)[targets]
    rows = ((rows - rows.mean(axis=0)) / rows.std(axis=0)).astype(np.float32)
    groups = [f"speaker {n // n_each}" for n in range(len(targets))]
    return rows, np.eye(n_labels)[targets] - 1 / n_labels, targets, groups


def by_hand(rows, wanted, counts, penalty, others):
    """Ridge regression with a free intercept, in its primal form: centred by the weighted mean of the rows."""
    x, y, c = rows.astype(np.float64), wanted, counts / counts.sum()
    mean_x, mean_y = c @ x, c @ y
    x, y = x - mean_x, y - mean_y
    n_shares = rows.shape[1]
    slopes = np.linalg.solve((x.T * counts) @ x / n_shares + penalty * np.eye(n_shares), (x.T * counts) @ y / n_shares)
    return (others - mean_x) @ slopes + mean_y


def test_the_solution_is_that_of_ridge_regression_with_a_free_intercept():
    rows, wanted, targets, groups = invented_rows()
    counts = np.random.default_rng(1).uniform(0.5, 2, len(rows))
    solution, coefficients = ridge(rows, wanted, targets, counts=counts, groups=groups)
    others = np.random.default_rng(2).normal(size=(5, rows.shape[1]))
    found = (others @ rows.T / rows.shape[1] + random_kernels._INTERCEPT) @ coefficients
    np.testing.assert_allclose(found, by_hand(rows, wanted, counts, solution.penalty, others), atol=2e-3)


def test_a_speaker_left_out_is_answered_by_a_solution_that_never_saw_it():
    rows, wanted, targets, groups = invented_rows(seed=3)
    counts = np.random.default_rng(4).uniform(0.5, 2, len(rows))
    solution, _ = ridge(rows, wanted, targets, counts=counts, groups=groups)
    names = np.asarray(groups)
    losses = {}
    for penalty in random_kernels.PENALTIES:
        said = np.empty_like(wanted)
        for name in set(groups):
            mine, rest = names == name, names != name
            said[mine] = by_hand(rows[rest], wanted[rest], counts[rest], penalty, rows[mine])
        for sharpness in random_kernels.SHARPNESS:
            powers = np.exp(sharpness * said)
            probabilities = powers / powers.sum(axis=1, keepdims=True)
            right = (probabilities.argmax(axis=1) == targets).mean()
            losses[penalty, sharpness] = -np.log(probabilities[np.arange(len(targets)), targets]).mean(), right
    best = min(losses, key=losses.get)
    assert (solution.penalty, solution.sharpness) == best
    assert (solution.nll, solution.accuracy) == pytest.approx(losses[best], abs=2e-3)


def test_a_row_that_counts_twice_is_two_rows():
    rows, wanted, targets, groups = invented_rows(seed=5)
    twice = np.where(np.arange(len(rows)) % 3 == 0, 2.0, 1.0)
    doubled = np.repeat(np.arange(len(rows)), twice.astype(int))
    one, coefficients = ridge(rows, wanted, targets, counts=twice, groups=groups)
    other, of_all = ridge(
        rows[doubled], wanted[doubled], targets[doubled], counts=np.ones(len(doubled)),
        groups=[groups[row] for row in doubled])  # fmt: skip
    summed = np.zeros_like(coefficients)
    np.add.at(summed, doubled, of_all)
    if one.penalty == other.penalty:  # the losses weigh rows otherwise
        np.testing.assert_allclose(coefficients, summed, atol=1e-6)
    again, _ = ridge(rows, wanted, targets, counts=3 * twice, groups=groups)
    assert again.penalty >= one.penalty  # three times the clips are worth three times the penalty


def test_the_network_says_what_was_solved(melodious, whole):
    """Of clips that trained, the answer is known: the products with all rows, times the coefficients."""
    network, solution = whole
    shares = np.concatenate([part(network, ROCKET_SHARES, melodious.inputs([n])["spectrogram"]) for n in range(32)])
    standard = (shares - shares.mean(axis=0)) / (shares.std(axis=0) + random_kernels.MIN_DEVIATION)
    wanted = np.eye(4)[melodious.targets] - 0.25
    expected = solution.sharpness * by_hand(standard, wanted, np.ones(32), solution.penalty, standard)
    logits = np.log(answers(network, melodious))
    np.testing.assert_allclose(
        logits - logits.mean(axis=1, keepdims=True), expected - expected.mean(axis=1, keepdims=True), atol=0.02
    )


def test_voices_never_heard_are_told_apart(melodious):
    speakers = np.asarray([clip.speaker for clip in melodious.clips])
    heard = []
    for name in sorted(set(speakers)):
        network, solution = solved(melodious, np.flatnonzero(speakers != name))
        said = answers(network, melodious)[speakers == name].argmax(axis=1)
        heard.append((said == melodious.targets[speakers == name]).mean())
        assert 0 < solution.nll < np.log(4)
    assert np.mean(heard) > 0.6  # a quarter by chance


def test_one_seed_gives_the_same_network_and_another_seed_another(melodious):
    first, second, other = (solved(melodious, seed=seed)[0].get_weights() for seed in (1, 1, 2))
    assert all((one == same).all() for one, same in zip(first, second, strict=True))
    drawn = [(one, changed) for one, changed in zip(first, other, strict=True) if np.ptp(one) > 0]
    assert len(drawn) == 1 + 3 * len(ROCKET_DILATIONS) + 2  # bands; kernels, thresholds, widths; the answer
    assert not any((one == changed).all() for one, changed in drawn)


def test_clips_that_count_nothing_say_nothing(melodious):
    """The clips of a speaker without weight: as if there were none."""
    speakers = np.asarray([clip.speaker for clip in melodious.clips])
    rest = np.flatnonzero(speakers != "synthetic02")
    weights = (speakers != "synthetic02").astype(float)
    one, other = solved(melodious, weights=weights)[0], solved(melodious, rest)[0]
    assert all((a == b).all() for a, b in zip(one.get_weights(), other.get_weights(), strict=True))
    with pytest.raises(SettingsError, match="no training clip counts"):
        solved(melodious, weights=np.zeros(32))


def test_where_corpora_are_left_out_the_answer_is_held_back_as_suits_them(melodious):
    """By hand: of two corpora, each is told from the other alone."""
    clips = tuple(dataclasses.replace(clip, corpus=f"corpus {clip.speaker[-1] in '12'}") for clip in melodious.clips)
    parted = dataclasses.replace(melodious, clips=clips)
    owners = np.arange(32)
    groups = random_kernels.left_out_groups(parted, owners, "corpora")
    assert (
        set(groups) == {"corpus True", "corpus False"}
        and len(set(random_kernels.left_out_groups(parted, owners, "speakers"))) == 4
    )
    rows, wanted, targets, _ = invented_rows(n_groups=2, n_each=16)
    names = ["first"] * 16 + ["second"] * 16
    solution, _ = ridge(rows, wanted, targets, counts=np.ones(32), groups=names)
    first, second = np.arange(16), np.arange(16, 32)
    said = np.empty_like(wanted)
    for left, kept in ((first, second), (second, first)):
        said[left] = by_hand(rows[kept], wanted[kept], np.ones(16), solution.penalty, rows[left])
    assert (said.argmax(axis=1) == targets).mean() == pytest.approx(solution.accuracy)
    with pytest.raises(SettingsError, match="none can be left out"):
        solve(
            rocket(melodious), melodious, owners, weights=np.ones(32), seed=0, left_out="corpora", progress=Progress()
        )


def test_degraded_copies_count_as_one_clip_together_and_as_many_as_there_is_room_for(melodious, monkeypatch):
    samples = tuple(
        dataclasses.replace(sample, variants=(sample, sample)) if n % 2 else sample
        for n, sample in enumerate(melodious.samples)
    )
    copied = dataclasses.replace(melodious, samples=samples)
    weights = np.full(32, 2.0)
    weights[5] = 0.0

    def rows_of(room):
        monkeypatch.setattr(random_kernels, "MAX_ROWS", room)
        rows = random_kernels._rows(copied, np.arange(32), weights, np.random.default_rng(0))
        totals = np.zeros(32)
        for row in rows:
            totals[row.owner] += row.counts
        return rows, totals

    rows, totals = rows_of(100)
    assert len(rows) == 31 + 2 * 15
    np.testing.assert_allclose(totals, weights)
    assert [row.counts for row in rows[:4]] == pytest.approx([2.0, 2 / 3, 2 / 3, 2 / 3])
    rows, totals = rows_of(40)  # room for nine copies, and those of any clips
    assert len(rows) == 40 and len({row.owner for row in rows if row.counts < 2.0}) > 4
    np.testing.assert_allclose(totals, weights)
    rows, totals = rows_of(20)  # clips come first
    assert [row.counts for row in rows] == [2.0] * 20 and totals.max() == 2.0


def test_of_more_clips_than_can_be_solved_some_are_drawn(melodious, monkeypatch):
    monkeypatch.setattr(random_kernels, "MAX_ROWS", 10)
    heard = Heard()
    solved(melodious, progress=heard)
    (line,) = heard.lines
    assert line.startswith("solved 10 clips by 1920 kernels: with speakers left out, loss ")


# ---------------------------------------------------------------- as a training


def test_it_trains_in_one_epoch_and_its_bundle_says_what_keras_says(
    voices_corpus, settings_of, tmp_path, without_plots
):
    config = settings_of(network={"network": "rocket", "kernel_bands": 32}, train={"epochs": 1})
    result = train(voices_corpus, config, tmp_path / "run", workers=1)
    history = read_history(tmp_path / "run" / "history.csv")
    assert history["epoch"] == [1] and history["best"] == [1]
    model = Classifier.load(tmp_path / "run")
    assert model.info.network["name"] == "rocket"
    dataset = load_dataset(voices_corpus, config.spectrogram, workers=1)
    split = make_split(dataset, config.split)
    best = keras.saving.load_model(tmp_path / "run" / "model" / "best.keras")
    for index in split.test:
        inputs = dataset.inputs([index])
        said = model.raw_probabilities(inputs)
        np.testing.assert_allclose(said, best.predict_on_batch(inputs["spectrogram"]), atol=1e-4)
    assert result.report.metrics["n_clips"] == 8
    again = train(voices_corpus, config, tmp_path / "run", workers=1, resume=True)
    assert again.report.metrics == result.report.metrics
    assert read_history(tmp_path / "run" / "history.csv") == history


def test_beside_a_network_the_answer_is_the_geometric_mean_of_both(voices_corpus, settings_of, tmp_path, without_plots):
    """As the network alone, as the kernels alone, and both in one file, alike or not: by four trainings."""
    said, embeddings = {}, {}
    for name, network in {
        "alone": {},
        "kernels": {"network": "rocket"},
        "both": {"random_kernels": True},
        "a quarter": {"random_kernels": True, "kernel_share": 0.25},
    }.items():
        config = settings_of(network={"kernel_bands": 32, **network}, train={"epochs": 2})
        config = config.model_copy(
            update={"spectrogram": config.spectrogram.model_copy(update={"periodicity_bands": 48})}
        )
        train(voices_corpus, config, tmp_path / name, workers=1)
        model = Classifier.load(tmp_path / name)
        dataset = load_dataset(voices_corpus, config.spectrogram, workers=1)
        said[name] = np.concatenate([model.raw_probabilities(dataset.inputs([n])) for n in range(8, 32, 3)])
        embeddings[name] = np.concatenate([model.embeddings(dataset.inputs([n])) for n in range(8, 32, 3)])
    for name, share in {"both": 0.5, "a quarter": 0.25}.items():
        mean = said["alone"] ** (1.0 - share) * said["kernels"] ** share
        np.testing.assert_allclose(said[name], mean / mean.sum(axis=1, keepdims=True), atol=2e-4)
    assert np.abs(said["both"] - said["alone"]).max() > 0.01
    assert np.abs(said["both"] - said["a quarter"]).max() > 0.005
    np.testing.assert_allclose(embeddings["both"], embeddings["alone"], atol=2e-4)  # without the shares
    assert embeddings["kernels"].shape[1] <= MAX_EMBEDDING
    assert 0.01 < embeddings["kernels"].std(axis=0).mean() < 0.5
    assert len(read_history(tmp_path / "both" / "history.csv")["epoch"]) == 2


@pytest.mark.parametrize("pooling", [1, 2, 4])
def test_the_embedding_is_the_networks_own_beside_kernels_of_any_frames(pooling):
    config = NetworkConfig(width=0.5, kernel_bands=64, max_dilation=1, kernel_pooling=pooling)
    network = build_network(InputShapes((None, 64, 1), n_periodicity=16), 4, config, beside_kernels=True)
    session = session_of(with_embedding(as_onnx(network)))
    frames = np.random.default_rng(2).random((2, 99, 64, 1), dtype=np.float32)
    (embeddings,) = session.run(["embedding"], {"spectrogram": frames})
    own = network.get_layer(CLASSES).input.shape[1] - 3 * 8 * 64
    assert embeddings.shape == (2, own) and own == 2 * 96
    given = keras.Model(network.inputs[0], network.get_layer(CLASSES).input)(frames)
    np.testing.assert_allclose(embeddings, keras.ops.convert_to_numpy(given)[:, :own], atol=1e-4)


def test_training_goes_on_from_a_network_beside_kernels_and_leaves_the_kernels_alone(
    voices_corpus, settings_of, tmp_path, without_plots
):
    """The network learns, with its part of the answer; what kernels count and say stays to the bit, solved once."""
    sections = {
        "network": {"random_kernels": True, "kernel_bands": 16},
        "spectrogram": {"periodicity_bands": 16},
        "split": {"validation_speakers": [], "test_speakers": [], "validation_share": 0.5, "test_share": 0.0},
    }
    others = only_speakers(voices_corpus, ["synthetic01", "synthetic02"])
    train(others, settings_of(**sections, train={"epochs": 2}), tmp_path / "first", workers=1)
    heard = Heard()
    config = settings_of(**sections, train={"epochs": 2, "init": tmp_path / "first", "learning_rate": 0.01})
    corpus = only_speakers(voices_corpus, ["synthetic03", "synthetic04"])
    train(corpus, config, tmp_path / "on", workers=1, progress=heard)
    assert not any("solved" in line for line in heard.lines)
    old, new = (keras.saving.load_model(tmp_path / name / "model" / "best.keras") for name in ("first", "on"))
    kept = 0
    pairs = [[layer for layer in network.layers if layer.weights] for network in (old, new)]
    for layer, after in zip(*pairs, strict=True):
        same = [(one == other).all() for one, other in zip(layer.get_weights(), after.get_weights(), strict=True)]
        if layer.name.startswith(("bands", "kernels_", "thresholds_")):
            assert all(same) and layer.name == after.name
            kept += 1
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            assert not same[0]
    assert kept == 1 + 2 * 3
    n_shares = old.get_layer(ROCKET_SHARES).output.shape[-1]
    said, now = (network.get_layer(CLASSES).get_weights()[0] for network in (old, new))
    np.testing.assert_array_equal(now[-n_shares:], said[-n_shares:])
    assert (now[:-n_shares] != said[:-n_shares]).any()
    model, dataset = Classifier.load(tmp_path / "on"), load_dataset(voices_corpus, config.spectrogram, workers=1)
    for index in (1, 30):
        inputs = dataset.inputs([index])
        np.testing.assert_allclose(
            model.raw_probabilities(inputs), new.predict_on_batch(inputs["spectrogram"]), atol=1e-4
        )


def test_a_training_beside_kernels_that_was_interrupted_goes_on_to_the_same_model(
    voices_corpus, settings_of, tmp_path, without_plots
):
    config = settings_of(network={"random_kernels": True, "kernel_bands": 32}, train={"epochs": 2})
    train(voices_corpus, config, tmp_path / "whole", workers=1)
    first = train(voices_corpus, config, tmp_path / "parts", workers=1, progress=CtrlC())
    assert first.interrupted
    train(voices_corpus, config, tmp_path / "parts", workers=1, resume=True)
    whole, parts = ((tmp_path / name / "model" / "model.onnx").read_bytes() for name in ("whole", "parts"))
    assert whole == parts


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"network": {"network": "rocket"}, "train": {"also_labels": "own"}}, "learn no labels apart"),
        ({"network": {"network": "rocket"}, "train": {"init": "run"}}, "starts from no model"),
        ({"network": {"network": "rocket"}, "train": {"teachers": ["run"]}}, "has no teachers"),
        ({"network": {"random_kernels": True}, "train": {"also_labels": "own"}}, "learn no labels apart"),
        ({"network": {"random_kernels": True}, "train": {"targets": "both"}}, "tell labels"),
        ({"network": {"network": "baseline-features", "random_kernels": True}}, "take no utterance features"),
    ],
)
def test_what_only_a_network_that_learns_can_do_is_refused(sections, told, settings_of):
    with pytest.raises(SettingsError, match=told):
        settings_of(**sections)


def test_dimensions_are_refused():
    with pytest.raises(SettingsError, match="tells labels only"):
        build_network(InputShapes((None, 64, 1)), 4, NetworkConfig(network="rocket"), n_dimensions=1)


def test_nothing_of_it_learns_step_by_step():
    network = build_network(InputShapes((None, 64, 1)), 4, NetworkConfig(network="rocket", kernel_bands=16))
    assert not network.trainable_weights and network.get_layer(CLASSES).units == 4

"""The networks: what goes in, what comes out, how large they are, and that the faster twin computes the same."""

import zipfile

import numpy as np
import pytest

from emogram.backend import keras
from emogram.config import SOLVED_NETWORKS, NetworkConfig, run_config
from emogram.errors import SettingsError
from emogram.features import N_FEATURES
from emogram.fused import faster
from emogram.network import NETWORKS, TAKES_FEATURES, InputShapes, adapt_features, build_network

LEARNING = [name for name in NETWORKS if name not in SOLVED_NETWORKS]
LOG_MEL = InputShapes((None, 64, 1))
PICTURE = InputShapes((128, 128, 3))
SMALL_PICTURE = InputShapes((32, 32, 3))


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


def shapes_for(name, size=32):
    return InputShapes((size, size, 3), N_FEATURES if name in TAKES_FEATURES else 0)


def inputs_for(shapes, *, n=2, n_frames=48, seed=0):
    rng = np.random.default_rng(seed)
    n_times, n_bands, n_colours = shapes.spectrogram
    spectrogram = rng.uniform(0, 1, (n, n_times or n_frames, n_bands, n_colours)).astype(np.float32)
    if not shapes.n_features:
        return spectrogram
    return {"spectrogram": spectrogram, "features": rng.normal(5, 3, (n, shapes.n_features)).astype(np.float32)}


def build(name="emonet", shapes=LOG_MEL, n_labels=8, **settings):
    return build_network(shapes, n_labels, NetworkConfig(network=name, **settings))


def answer(network, inputs):
    return np.asarray(network.predict_on_batch(inputs))


def assert_probabilities(rows, n, n_labels):
    assert rows.shape == (n, n_labels) and rows.dtype == np.float32
    assert (rows >= 0).all()
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)


# ---------------------------------------------------------------- inputs and outputs


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_takes_pictures_and_gives_probabilities(name):
    shapes = shapes_for(name)
    network = build(name, shapes, n_labels=5, width=0.25)
    assert_probabilities(answer(network, inputs_for(shapes, n=3)), 3, 5)
    assert set(node.name for node in network.inputs) <= {"spectrogram", "features"}


def test_emonet_takes_any_number_of_frames_and_its_answer_depends_on_them():
    network = build(width=0.5)
    for n_frames in (32, 48, 128, 400):
        assert_probabilities(answer(network, inputs_for(LOG_MEL, n_frames=n_frames)), 2, 8)
    inputs = inputs_for(LOG_MEL, n_frames=64)
    changed = inputs.copy()
    changed[:, -8:] = 0
    assert (answer(network, inputs) != answer(network, changed)).any(axis=1).all()


def test_the_answer_to_a_clip_does_not_depend_on_the_others_of_its_batch():
    network = build(width=0.5)
    inputs = inputs_for(LOG_MEL, n=4)
    np.testing.assert_allclose(answer(network, inputs)[2], answer(network, inputs[2:3])[0], atol=1e-6)


def test_emonet_turns_pictures_so_that_time_is_their_first_axis():
    """The same weights read a picture and, without turning, the picture laid on its side."""
    upright = build("emonet", InputShapes((48, 64, 3)), width=0.25)
    lying = build("emonet", InputShapes((None, 48, 3)), width=0.25)
    lying.set_weights(upright.get_weights())
    pictures = inputs_for(InputShapes((48, 64, 3)), n=3)
    np.testing.assert_allclose(answer(upright, pictures), answer(lying, pictures.transpose(0, 2, 1, 3)), atol=1e-6)


def test_emonet_hears_the_melody_beside_the_sound_and_each_in_its_place():
    """Of 80 bands, the last 16 are of periodicity: the answer depends on both, and neither stands for the other."""
    shapes = InputShapes((None, 80, 1), n_periodicity=16)
    network = build("emonet", shapes, width=0.5)
    for n_frames in (32, 47, 160):
        inputs = inputs_for(shapes, n_frames=n_frames)
        before = answer(network, inputs)
        assert_probabilities(before, 2, 8)
        for bands in (slice(0, 64), slice(64, 80)):
            changed = inputs.copy()
            changed[:, :, bands] = changed[:, :, bands][:, :, ::-1]
            assert (answer(network, changed) != before).any(axis=1).all()
    mel_kernels = {tuple(one.shape) for one in build(width=0.5).weights if len(one.shape) == 4}
    assert mel_kernels - {tuple(one.shape) for one in network.weights} == {(1, 1, 256, 96)}  # where both join


def test_networks_of_pictures_refuse_periodicity():
    with pytest.raises(SettingsError, match="takes no periodicity bands"):
        build("baseline", InputShapes((64, 64, 1), n_periodicity=16))


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_as_configured_have_less_than_three_million_parameters(name):
    config = run_config({"network": {"network": name}})
    shapes = InputShapes(config.spectrogram.input_shape(), N_FEATURES if config.spectrogram.utterance_features else 0)
    network = build_network(shapes, 8, config.network)
    assert 100_000 < network.count_params() < 3_000_000


def test_the_baseline_is_the_origins():
    """Three convolutions of 3 x 3 to 64, 128 and 256, dense 256 and 128, each with its L2; counted by hand."""
    network = build("baseline", PICTURE, l2=1e-3)
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [(layer.filters, layer.kernel_size, layer.padding) for layer in convolutions] == [
        (64, (3, 3), "valid"), (128, (3, 3), "valid"), (256, (3, 3), "valid")]  # fmt: skip
    dense = [layer for layer in network.layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.units for layer in dense] == [256, 128, 8]
    rates = [layer.rate for layer in network.layers if isinstance(layer, keras.layers.Dropout)]
    np.testing.assert_allclose(rates, [0.2, 0.3, 0.4, 0.5, 0.3])
    by_hand = (27 + 1) * 64 + (9 * 64 + 1) * 128 + (9 * 128 + 1) * 256 + 4 * (64 + 128 + 256)
    by_hand += 257 * 256 + 257 * 128 + 129 * 8
    assert network.count_params() == by_hand


def test_width_multiplies_channels():
    counts = [build(width=width).count_params() for width in (0.5, 1.0, 2.0)]
    assert counts[0] * 3 < counts[1] < counts[2] / 3


# ---------------------------------------------------------------- what holds them back


@pytest.mark.parametrize("name", LEARNING)
def test_dropout_acts_in_training_only_and_0_switches_it_off(name):
    shapes = shapes_for(name)
    inputs = inputs_for(shapes, n=4)
    network = build(name, shapes, width=0.25, dropout=0.5, block_dropout=0.0)
    first, second = (np.asarray(keras.ops.convert_to_numpy(network(inputs, training=True))) for _ in range(2))
    assert (first != second).any()
    np.testing.assert_array_equal(answer(network, inputs), answer(network, inputs))
    network = build(name, shapes, width=0.25, dropout=0.0, block_dropout=0.0)
    first, second = (np.asarray(keras.ops.convert_to_numpy(network(inputs, training=True))) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_block_dropout_hides_whole_channels():
    network = build(block_dropout=0.3)
    rates = {layer.rate for layer in network.layers if isinstance(layer, keras.layers.SpatialDropout2D)}
    assert rates == {0.3}
    assert not [layer for layer in build(block_dropout=0).layers if isinstance(layer, keras.layers.SpatialDropout2D)]


@pytest.mark.parametrize("name", LEARNING)
def test_l2_is_the_sum_of_squares_of_all_kernels_but_those_of_gates_and_attention(name):
    shapes = shapes_for(name)
    assert build(name, shapes, width=0.25, l2=0).losses == []
    network = build(name, shapes, width=0.25, l2=0.01)
    penalised = [
        layer.kernel
        for layer in network.layers
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense) and layer.kernel_regularizer is not None
    ]
    by_hand = 0.01 * sum(np.square(keras.ops.convert_to_numpy(kernel)).sum() for kernel in penalised)
    found = sum(float(keras.ops.convert_to_numpy(loss)) for loss in network.losses)
    assert found == pytest.approx(by_hand, rel=1e-5)
    kinds = (keras.layers.Conv2D,) if name == "emonet" else (keras.layers.Conv2D, keras.layers.Dense)
    assert len(penalised) >= len([layer for layer in network.layers if isinstance(layer, kinds)])


# ---------------------------------------------------------------- features


def test_features_change_the_answer_of_the_two_input_network():
    shapes = shapes_for("baseline-features")
    network = build("baseline-features", shapes, width=0.25)
    inputs = inputs_for(shapes)
    before = answer(network, inputs)
    inputs["features"] = inputs["features"] + 3
    assert np.abs(answer(network, inputs) - before).max() > 1e-4


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_features_are_standardised_by_the_training_clips_in_full_precision(policy):
    shapes = InputShapes((32, 32, 3), 3)
    keras.config.set_dtype_policy(policy)
    try:
        network = build("baseline-features", shapes, width=0.25)
    finally:
        keras.config.set_dtype_policy("float32")
    rng = np.random.default_rng(0)
    features = (np.asarray([1500, -3, 0.01]) + rng.normal(0, 1, (200, 3)) * [4, 2, 0.001]).astype(np.float32)
    adapt_features(network, features)
    standardised = keras.ops.convert_to_numpy(network.get_layer("standardise")(features))
    expected = (features - features.mean(axis=0, dtype=np.float64)) / features.std(axis=0, dtype=np.float64)
    np.testing.assert_allclose(standardised, expected, atol=2e-3)


# ---------------------------------------------------------------- the faster twin


def randomise_statistics(network):
    """Give batch normalisations something to do, as after some training."""
    rng = np.random.default_rng(1)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([
                rng.uniform(0.5, 1.5, gamma.shape), rng.normal(0, 0.2, beta.shape), rng.normal(0, 0.2, mean.shape),
                rng.uniform(0.5, 1.5, variance.shape)])  # fmt: skip


def twins(name, **settings):
    shapes = LOG_MEL if name == "emonet" else shapes_for(name)
    plain = build(name, shapes, n_labels=4, width=0.25, dropout=0, block_dropout=0, **settings)
    randomise_statistics(plain)
    fast = faster(plain)
    fast.set_weights(plain.get_weights())
    return plain, fast, inputs_for(shapes, n=6)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_faster_twin_answers_the_same(name):
    plain, fast, inputs = twins(name)
    np.testing.assert_allclose(answer(fast, inputs), answer(plain, inputs), atol=1e-5)
    assert [weight.path.split("/")[-1] for weight in fast.weights] == [
        weight.path.split("/")[-1] for weight in plain.weights]  # fmt: skip
    assert fast.count_params() == plain.count_params()


@pytest.mark.parametrize("name", LEARNING)
def test_the_faster_twin_learns_the_same_from_one_step(name):
    plain, fast, inputs = twins(name, l2=1e-3)
    targets = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0, 1]]
    losses = []
    for network in (plain, fast):
        network.compile(optimizer=keras.optimizers.SGD(0.1), loss="categorical_crossentropy", jit_compile=False)
        losses.append(float(network.train_on_batch(inputs, targets)))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for before, one, other in zip(plain.weights, plain.get_weights(), fast.get_weights(), strict=True):
        # PyTorch keeps n / (n - 1) times the variance of a batch: 1.2 in the dense branch, with six values a channel.
        relative = 0.2 if "moving_variance" in before.path else 0
        np.testing.assert_allclose(other, one, atol=2e-4, rtol=relative, err_msg=before.path)


@pytest.mark.parametrize("name", LEARNING)
def test_a_batch_of_one_clip_trains(name):
    """Three clips in steps of two leave one over, which has no variance in the dense branch."""
    _, fast, inputs = twins(name)
    inputs = {key: value[:1] for key, value in inputs.items()} if isinstance(inputs, dict) else inputs[:1]
    fast.compile(optimizer="sgd", loss="categorical_crossentropy", jit_compile=False)
    assert np.isfinite(float(fast.train_on_batch(inputs, np.eye(4, dtype=np.float32)[:1])))
    assert all(np.isfinite(weight).all() for weight in fast.get_weights())


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_faster_twin_computes_in_the_precision_of_its_layers_and_hears_the_melody(policy):
    shapes = InputShapes((None, 80, 1), n_periodicity=16)
    keras.config.set_dtype_policy(policy)
    try:
        plain = build("emonet", shapes, n_labels=4, width=0.5)
    finally:
        keras.config.set_dtype_policy("float32")
    randomise_statistics(plain)
    fast = faster(plain)
    fast.set_weights(plain.get_weights())
    inputs = inputs_for(shapes, n=3)
    found = fast(inputs, training=False)
    assert str(found.dtype).endswith("float32")
    np.testing.assert_allclose(answer(fast, inputs), answer(plain, inputs), atol=1e-5 if policy == "float32" else 0.03)


@pytest.mark.parametrize("shape", [(None, 64, 1), (None, 64, 3)])
def test_all_convolutions_of_the_faster_twin_keep_channels_last(shape, monkeypatch):
    """Also the first one of a single channel, whose memory says nothing of the order; all others take it over."""
    torch = pytest.importorskip("torch")
    if keras.backend.backend() != "torch":
        pytest.skip("other back ends have no such twin")
    network = faster(build("emonet", InputShapes(shape), width=0.5))
    convolve, strides = torch.nn.functional.conv2d, []

    def watched(*arguments, **settings):
        y = convolve(*arguments, **settings)
        strides.append(y.stride()[1])
        return y

    monkeypatch.setattr(torch.nn.functional, "conv2d", watched)
    network(inputs_for(InputShapes(shape)), training=True)
    assert strides == [1] * 6


def test_single_precision_is_not_rounded_to_tf32_on_graphics_cards():
    """On an H100, what was exported differed by 1.3e-4 from what had trained, and was refused."""
    torch = pytest.importorskip("torch")
    if keras.backend.backend() != "torch":
        pytest.skip("a setting of PyTorch")
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


# ---------------------------------------------------------------- the file


@pytest.mark.parametrize("name", NETWORKS)
def test_a_saved_network_answers_the_same_and_needs_no_class_of_ours(name, tmp_path):
    plain, _, inputs = twins(name)
    expected = answer(plain, inputs)
    plain.save(tmp_path / "network.keras")
    content = zipfile.ZipFile(tmp_path / "network.keras").read("config.json").decode()
    assert "emogram" not in content and "Lambda" not in content
    again = keras.saving.load_model(tmp_path / "network.keras", compile=False)  # safe mode refuses code
    np.testing.assert_array_equal(answer(again, inputs), expected)


def test_a_saved_standardisation_is_kept(tmp_path):
    shapes = InputShapes((32, 32, 3), 4)
    network = build("baseline-features", shapes, width=0.25)
    adapt_features(network, np.random.default_rng(0).normal(100, 20, (50, 4)).astype(np.float32))
    inputs = inputs_for(shapes)
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras", compile=False)
    np.testing.assert_array_equal(answer(again, inputs), answer(network, inputs))


# ---------------------------------------------------------------- refusals


def test_an_unknown_network_is_refused_with_the_known_ones():
    with pytest.raises(
        SettingsError, match=r"unknown network 'resnet' .*; expected one of emonet, baseline, baseline-fea"
    ):
        build("resnet")


def test_features_that_a_network_does_not_take_are_refused():
    with pytest.raises(SettingsError, match="'emonet' takes no utterance features; set utterance_features to false"):
        build("emonet", InputShapes((None, 64, 1), 181))


def test_features_that_are_missing_are_refused():
    with pytest.raises(SettingsError, match="'baseline-features' also takes utterance features, which only sound has"):
        build("baseline-features", PICTURE)


@pytest.mark.parametrize("name", ["baseline", "baseline-features"])
def test_pictures_too_small_for_the_baseline_are_refused(name):
    shapes = InputShapes((21, 21, 3), N_FEATURES if name in TAKES_FEATURES else 0)
    with pytest.raises(SettingsError, match="spectrograms of 21 x 21; the baseline networks take at least 22 rows"):
        build(name, shapes)
    build(name, InputShapes((22, 22, 3), shapes.n_features), width=0.1)

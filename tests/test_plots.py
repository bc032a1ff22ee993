from __future__ import annotations

import dataclasses
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from matplotlib.colors import to_hex
from matplotlib.text import Text
from PIL import Image

from emogram import metrics, plots
from emogram.config import SpectrogramConfig
from emogram.errors import MissingExtraError, OutputError, SettingsError
from emogram.plots.style import EMOTION_COLOURS, label_colours, length_text, time_text, time_ticks
from emogram.records import (
    Clip,
    CorpusPair,
    Difference,
    Explanation,
    Prediction,
    Report,
    Segment,
    Timeline,
    Windows,
)
from emogram.spectrogram import band_centres_hz, log_mel

LABELS = ("angry", "calm", "happy")
COUNTS = np.array([[6, 1, 1], [2, 2, 0], [0, 1, 3]])
HISTORY = {
    "epoch": [1, 2, 3, 4],
    "accuracy": [0.3, 0.5, 0.6, 0.7],
    "val_accuracy": [0.25, 0.45, 0.5, 0.48],
    "val_uar": [0.2, 0.55, 0.5, 0.55],
    "loss": [2.0, 1.5, 1.2, 1.0],
    "val_loss": [2.1, 1.7, np.nan, 1.6],
    "learning_rate": [1e-3, 1e-3, 5e-4, 5e-4],
}


def answers():
    """Targets and probabilities with the confusion matrix COUNTS, and their clips by four speakers."""
    cells = [cell for cell in np.ndindex(COUNTS.shape) for _ in range(COUNTS[cell])]
    targets, predicted = np.array(cells).T
    probabilities = np.full((len(targets), 3), 0.2) + 0.4 * np.eye(3)[predicted]
    clips = [
        Clip(Path(f"{i}.wav"), speaker=str(i % 4), extra={"gender": "female" if i % 2 else "male"})
        for i in range(len(targets))
    ]
    return targets, probabilities, clips


@pytest.fixture
def report():
    targets, probabilities, clips = answers()
    return metrics.judge(targets, probabilities, LABELS, clips, protocol="RAVDESS-SI5, seed 0")


def all_texts(figure):
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(Text)]


def legend_texts(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def line(axes, label):
    return next(drawn for drawn in axes.lines if drawn.get_label() == label)


def outside(figure):
    """Texts and axes that stick out of the picture or overlap its title."""
    figure.draw_without_rendering()
    width, height = figure.get_size_inches() * figure.dpi
    boxes = [artist.get_window_extent() for artist in figure.texts if artist.get_text()]
    boxes += [axes.get_tightbbox() for axes in figure.axes if axes.axison]
    return [box for box in boxes if box.x0 < 0 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1]


def test_confusion_matrix_cells_show_percent_of_the_row_and_count(report):
    axes = plots.draw_confusion_matrix(report).axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert len(cells) == 9
    assert cells[(0, 0)] == "75.0 %\n6"
    assert cells[(1, 0)] == "12.5 %\n1"  # x is the predicted, y the true emotion
    assert cells[(0, 1)] == "50.0 %\n2"
    assert np.asarray(axes.images[0].get_array()) == pytest.approx(COUNTS / COUNTS.sum(axis=1, keepdims=True))


def test_confusion_matrix_names_rows_with_their_clips_and_columns(report):
    axes = plots.draw_confusion_matrix(report).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["angry (8)", "calm (4)", "happy (4)"]
    assert [text.get_text() for text in axes.get_xticklabels()] == list(LABELS)


def test_confusion_matrix_leaves_a_class_without_clips_blank():
    report = metrics.judge([0, 0], [[0.8, 0.2], [0.4, 0.6]], ["a", "b"], [Clip(Path("x"))] * 2, protocol="P")
    axes = plots.draw_confusion_matrix(report).axes[0]
    assert sorted(text.get_text() for text in axes.texts) == ["50.0 %\n1", "50.0 %\n1"]


def test_before_and_after_stand_side_by_side_in_the_same_colours_without_labels_that_nobody_has():
    clips = [Clip(Path(f"{i}.wav")) for i in range(4)]
    labels = ("angry", "calm", "happy")
    before, after = (
        metrics.judge([0, 0, 2, 2], np.eye(3)[said], labels, clips, protocol="P")
        for said in ([2, 2, 2, 2], [0, 0, 2, 0])
    )
    figure = plots.draw_before_after(before, after, title="better")
    left, right = figure.axes[:2]
    assert [axes.get_title() for axes in (left, right)] == ["before: UAR 50.0 %", "after: UAR 75.0 %"]
    assert [text.get_text() for text in left.get_yticklabels()] == ["angry (2)", "happy (2)"]
    assert [text.get_text() for text in right.get_xticklabels()] == ["angry", "happy"]
    assert np.asarray(left.images[0].get_array()).tolist() == [[0.0, 1.0], [0.0, 1.0]]
    assert np.asarray(right.images[0].get_array()).tolist() == [[1.0, 0.0], [0.5, 0.5]]
    assert left.images[0].get_clim() == right.images[0].get_clim() == (0.0, 1.0)
    assert not outside(figure)


def test_text_stands_out_from_its_cell(report):
    figure = plots.draw_confusion_matrix(report)
    image = figure.axes[0].images[0]
    assert plots.text_colour([1.0, 1.0, 0.6]) == "black"
    assert plots.text_colour([0.0, 0.1, 0.4]) == "white"
    for text in figure.axes[0].texts:
        column, row = text.get_position()
        background = image.cmap(image.norm(image.get_array()[row, column]))
        ink = 1.0 if text.get_color() == "white" else 0.0
        assert contrast(background[:3], (ink,) * 3) > 4.5  # WCAG level AA


def contrast(first, second):
    luminances = []
    for rgb in (first, second):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
        luminances.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(luminances) + 0.05) / (min(luminances) + 0.05)


def test_every_judged_plot_says_its_protocol_and_its_uar(report):
    for figure in (
        plots.draw_confusion_matrix(report),
        plots.draw_per_class_accuracy(report),
        plots.draw_per_group(report, "speaker"),
    ):
        head = " ".join(" ".join(text.get_text() for text in figure.texts).split())
        assert "RAVDESS-SI5, seed 0; 95 % intervals resample 4 speakers" in head
        assert f"UAR {100 * report.metrics['uar']:.1f} %" in head


def test_bars_are_the_recalls_in_label_order(report):
    axes = plots.draw_per_class_accuracy(report).axes[0]
    assert [bar.get_height() for bar in axes.patches if bar.get_width() < 1] == pytest.approx([0.75, 0.5, 0.75])
    assert [text.get_text() for text in axes.texts] == ["75.0 %", "50.0 %", "75.0 %"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["angry\n(8)", "calm\n(4)", "happy\n(4)"]


def test_bars_come_with_lines_at_uar_and_chance(report):
    axes = plots.draw_per_class_accuracy(report).axes[0]
    assert line(axes, "UAR 66.7 %").get_ydata()[0] == pytest.approx(2 / 3)
    assert line(axes, "chance 33.3 %").get_ydata()[0] == pytest.approx(1 / 3)


def test_accuracy_curves_carry_the_columns_and_mark_the_first_best_uar():
    axes = plots.draw_train_val_accuracy(HISTORY, title="run").axes[0]
    for label, column in (("training accuracy", "accuracy"), ("validation UAR", "val_uar")):
        assert list(line(axes, label).get_ydata()) == HISTORY[column]
        assert list(line(axes, label).get_xdata()) == HISTORY["epoch"]
    assert line(axes, "best epoch 2: 55.0 %").get_xdata()[0] == 2


def test_without_validation_uar_the_best_epoch_is_by_accuracy_and_without_both_there_is_none():
    history = {name: column for name, column in HISTORY.items() if name != "val_uar"}
    assert plots.best_epoch(history) == 2
    assert plots.best_epoch({"loss": [1.0], "val_uar": [np.nan]}) is None
    axes = plots.draw_train_val_accuracy({"epoch": [1], "accuracy": [0.5], "val_uar": [np.nan]}, title="r").axes[0]
    assert legend_texts(axes) == ["training accuracy"]


def test_loss_curves_skip_gaps_and_show_the_learning_rate_below():
    figure = plots.draw_loss(HISTORY, title="run")
    above, below = figure.axes
    assert np.isnan(line(above, "validation loss").get_ydata()[2])
    assert legend_texts(above) == ["training loss", "validation loss", "best epoch 2"]
    assert list(line(below, "learning rate").get_ydata()) == HISTORY["learning_rate"]
    assert len(plots.draw_loss({"loss": [2.0, 1.0]}, title="run").axes) == 1


def test_a_history_without_epochs_is_refused():
    with pytest.raises(SettingsError, match="without epochs"):
        plots.draw_loss({"epoch": [], "loss": []}, title="run")


def test_reliability_shows_the_ece_before_and_after():
    targets = np.array([0, 0, 1, 1])
    before = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.1, 0.9]])
    after = np.array([[0.75, 0.25], [0.75, 0.25], [0.75, 0.25], [0.25, 0.75]])
    figure = plots.draw_reliability(targets, before, title="run", calibrated=after)
    texts = legend_texts(figure.axes[0])
    assert texts[1:] == ["before calibration: ECE 0.150", "after calibration: ECE 0.000"]
    drawn = line(figure.axes[0], texts[2])
    assert (drawn.get_xdata()[0], drawn.get_ydata()[0]) == (0.75, 0.75)
    shares = figure.axes[1].patches[0].get_data().values
    assert shares.sum() == pytest.approx(1.0)
    assert shares[13] == 1.0  # the bin (13/15, 14/15] holds 0.9


def test_risk_and_coverage_show_the_curve_the_best_there_could_be_and_who_is_unsure():
    # Surest first: right, wrong, right, right; the last is called unsure.
    targets, probabilities = np.array([0, 1, 0, 0]), np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    unsure = np.array([False, False, False, True])
    (axes,) = plots.draw_risk_coverage(targets, probabilities, title="run", abstained=unsure).axes
    area = (0 + 1 / 2 + 1 / 3 + 1 / 4) / 4
    curve = line(axes, f"surest first: area {area:.3f}")
    np.testing.assert_allclose(curve.get_xdata(), [0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(curve.get_ydata(), [0, 1 / 2, 1 / 3, 1 / 4])
    np.testing.assert_allclose(line(axes, "best possible order").get_ydata(), [0, 0, 0, 1 / 4])
    assert line(axes, "unsure left out: 75.0 % answered, 33.3 % wrong").get_xydata().tolist() == [[0.75, 1 / 3]]
    assert "all answered: 25.0 % wrong" in legend_texts(axes)


def test_whiskers_of_reliability_are_wilson_intervals():
    # 8 right of 10: the textbook interval is 0.490 to 0.943.
    probabilities = np.tile([0.8, 0.2], (10, 1))
    axes = plots.draw_reliability([0] * 8 + [1] * 2, probabilities, title="run").axes[0]
    segment = axes.collections[0].get_segments()[0]
    assert segment[:, 1] == pytest.approx([0.490, 0.943], abs=0.001)


def test_groups_are_sorted_and_coloured_by_gender(report):
    _, _, clips = answers()
    axes = plots.draw_per_group(report, "speaker", genders=metrics.speaker_genders(clips)).axes[0]
    names = [text.get_text().split()[0] for text in axes.get_yticklabels()]
    values = [report.per_group["speaker"][name]["uar"] for name in names]
    assert values == sorted(values)
    dots = {}
    for drawn in axes.lines[1:]:
        for value, row in zip(drawn.get_xdata(), drawn.get_ydata(), strict=True):
            dots[int(row)] = (value, to_hex(drawn.get_color()))
    assert [dots[row][0] for row in range(4)] == values
    assert {names[row]: dots[row][1] == plots.PURPLE.lower() for row in range(4)} == {
        "0": False,
        "1": True,
        "2": False,
        "3": True,
    }
    assert [text.split(",")[0] for text in legend_texts(axes)[1:]] == ["female", "male"]


DIFFERENCES = (
    Difference("uar", "a", "b", 0.05, 0.01, 0.09, 0.99),
    Difference("accuracy", "a", "b", -0.02, -0.05, 0.01, 0.1),
)


def test_differences_are_points_with_their_intervals_around_zero():
    figure = plots.draw_differences(DIFFERENCES, title="40 clips")
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a less b", "a less b"]
    assert line(axes, "UAR").get_xdata() == [0.05] and line(axes, "accuracy").get_xdata() == [-0.02]
    ends = [path.vertices[:, 0].tolist() for lines in axes.collections for path in lines.get_paths()]
    assert ends == [[0.01, 0.09], [-0.05, 0.01]]
    assert {"+5.0", "-2.0", "40 clips"} <= set(all_texts(figure))
    assert axes.get_xlim()[0] == -axes.get_xlim()[1], "zero stands in the middle"
    assert outside(figure) == []


def test_each_pair_of_models_has_a_panel_with_a_dot_for_each_speaker():
    per_speaker = {name: {"01": 0.1 * i, "02": 0.5} for i, name in enumerate("abc")}
    figure = plots.draw_speaker_scatter(per_speaker, title="t", genders={"01": "male", "02": "female"})
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes] == [("a", "b"), ("a", "c"), ("b", "c")]
    male = line(figure.axes[1], "male")
    assert (male.get_xdata(), male.get_ydata()) == ([0.0], [0.2])
    assert male.get_color() != line(figure.axes[1], "female").get_color()
    assert male.get_marker() != line(figure.axes[1], "female").get_marker()
    assert outside(figure) == []


def test_an_unknown_kind_of_group_is_refused(report):
    with pytest.raises(SettingsError, match="no groups by accent; found speaker, gender"):
        plots.draw_per_group(report, "accent")


def test_class_balance_bars_are_the_counts_in_the_order_given():
    axes = plots.draw_class_balance({"sad": 1500, "angry": 500, "none": 0}, title="corpus").axes[0]
    assert [bar.get_width() for bar in axes.patches] == [1500, 500, 0]
    assert [text.get_text() for text in axes.texts] == ["1,500 (75.0 %)", "500 (25.0 %)", "0 (0.0 %)"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["sad", "angry", "none"]
    assert axes.yaxis_inverted()


def test_spectrogram_axes_are_seconds_and_kilohertz(tone):
    config = SpectrogramConfig()
    figure = plots.draw_prediction(log_mel(tone, config), config, Prediction("a", {"a": 0.7, "b": 0.3}, 0.7), title="t")
    axes = figure.axes[0]
    image = axes.images[0]
    left, right, _, _ = image.get_extent()
    assert right - left == pytest.approx(63 * 256 / 16000)  # 1 + 16000 // 256 frames
    # The loudest band lies at 440 Hz, between the ticks of 0.25 and 0.5 kHz.
    loudest = int(np.asarray(image.get_array()).mean(axis=1).argmax())
    ticks = dict(zip([text.get_text() for text in axes.get_yticklabels()], axes.get_yticks(), strict=True))
    assert ticks["0.25"] < loudest < ticks["0.5"]
    assert np.asarray(image.get_array()).max() == 0.0


def test_prediction_shows_all_probabilities_and_says_when_unsure(tone):
    config = SpectrogramConfig()
    scores = {"angry": 0.3, "calm": 0.5, "happy": 0.2}
    sure = plots.draw_prediction(log_mel(tone, config), config, Prediction("calm", scores, 0.5), title="clip.wav")
    bars = sure.axes[1]
    assert [bar.get_width() for bar in bars.patches] == [0.3, 0.5, 0.2]
    assert [text.get_text() for text in bars.texts] == ["30.0 %", "50.0 %", "20.0 %"]
    assert [text.get_text() for text in sure.texts] == ["calm, 50.0 %", "clip.wav"]
    picture = np.zeros((128, 128, 3), dtype=np.uint8)
    unsure = plots.draw_prediction(picture, config, Prediction("calm", scores, 0.5, abstained=True), title="clip.png")
    assert unsure.texts[0].get_text() == "unsure (most likely calm, 50.0 %)"


def test_sheet_has_a_row_for_each_emotion_and_one_time_scale(tone):
    config = SpectrogramConfig()
    short, long = log_mel(tone[:8000], config), log_mel(tone, config)
    figure = plots.draw_spectrogram_sheet(
        {"sad": [("s1", short), ("s2", long)], "calm": [("c1", long)]}, title="x", config=config
    )
    grid = figure.axes[:4]
    assert [axes.get_title() for axes in grid] == ["s1", "s2", "c1", ""]
    assert [axes.get_ylabel() for axes in grid] == ["sad", "", "calm", ""]
    assert [axes.axison for axes in grid] == [True, True, True, False]
    assert len({axes.get_xlim() for axes in grid[:3]}) == 1


def test_sheet_takes_pictures_without_a_config():
    picture = np.zeros((128, 128, 3), dtype=np.uint8)
    figure = plots.draw_spectrogram_sheet({"sad": [("one", picture)]}, title="x")
    assert len(figure.axes) == 1
    assert np.asarray(figure.axes[0].images[0].get_array()).shape == (128, 128, 3)


def test_sheet_refuses_log_mels_without_config_and_nothing_at_all():
    with pytest.raises(SettingsError, match="without their config"):
        plots.draw_spectrogram_sheet({"sad": [("one", np.zeros((40, 64)))]}, title="x")
    with pytest.raises(SettingsError, match="no example spectrograms"):
        plots.draw_spectrogram_sheet({"sad": []}, title="x")


def wide_report(n_labels, name):
    labels = [name.format(i) for i in range(n_labels)]
    clips = [Clip(Path("x"), speaker=f"speaker {i}") for i in range(n_labels)]
    targets = np.arange(n_labels)
    return metrics.judge(targets, np.full((n_labels, n_labels), 1 / n_labels), labels, clips, protocol="long " * 40)


@pytest.mark.parametrize(
    ("n_labels", "name"), [(2, "l{}"), (8, "l{}"), (8, "a rather long label {}"), (8, "$cost_{}$ of $x"), (16, "l{}")]
)
def test_nothing_sticks_out_with_few_or_many_or_odd_labels(n_labels, name):
    report = wide_report(n_labels, name)
    for figure in (
        plots.draw_confusion_matrix(report),
        plots.draw_per_class_accuracy(report),
        plots.draw_per_group(report, "speaker"),
        plots.draw_class_balance(dict.fromkeys(report.labels, 5), title="t"),
    ):
        assert outside(figure) == []


def test_nothing_sticks_out_of_curves_and_reliability():
    targets, probabilities, _ = answers()
    for figure in (
        plots.draw_train_val_accuracy(HISTORY, title="a long title " * 20),
        plots.draw_loss(HISTORY, title="run"),
        plots.draw_reliability(targets, probabilities, title="run", calibrated=probabilities),
        plots.draw_risk_coverage(targets, probabilities, title="run", abstained=np.arange(len(targets)) < 3),
    ):
        assert outside(figure) == []


def test_a_dollar_in_a_label_is_no_formula():
    texts = all_texts(plots.draw_class_balance({"$x^2$": 1}, title="t"))
    assert r"\$x^2\$" in texts


def test_save_all_writes_what_applies_as_png_of_sensible_size(report, tmp_path):
    targets, probabilities, clips = answers()
    paths = plots.save_all(report, targets, probabilities, HISTORY, tmp_path / "plots", clips=clips)
    assert [path.stem for path in paths] == [
        "confusion_matrix",
        "per_class_accuracy",
        "train_val_accuracy",
        "loss",
        "reliability",
        "risk_coverage",
        "per_speaker",
        "per_gender",
    ]
    assert sorted(paths) == sorted((tmp_path / "plots").iterdir())  # no temporary files left
    for path in paths:
        with Image.open(path) as image:
            image.load()
            assert image.format == "PNG"
            assert all(400 <= side <= 2000 for side in image.size)
            assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)
            assert np.asarray(image.convert("L")).std() > 10  # something is drawn on it


def test_save_all_without_history_and_groups_writes_the_rest(tmp_path):
    targets, probabilities, _ = answers()
    report = metrics.judge(targets, probabilities, LABELS, [Clip(Path("x"))] * len(targets), protocol="P2")
    paths = plots.save_all(report, targets, probabilities, None, tmp_path)
    assert [path.stem for path in paths] == ["confusion_matrix", "per_class_accuracy", "reliability", "risk_coverage"]


def test_a_folder_that_cannot_be_made_is_named(report, tmp_path):
    (tmp_path / "plots").write_text("a file")
    with pytest.raises(OutputError, match=r"confusion_matrix\.png: a file stands where a folder should be"):
        plots.confusion_matrix(report, tmp_path / "plots" / "confusion_matrix.png")


def test_threads_draw_the_same_picture_as_one(report, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda path: plots.per_class_accuracy(report, path), paths))
    assert len({path.read_bytes() for path in paths}) == 1


def test_without_matplotlib_the_extra_is_named(monkeypatch, report, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[train\]'"):
        plots.confusion_matrix(report, tmp_path / "x.png")


def test_importing_loads_no_matplotlib_and_drawing_no_pyplot():
    program = (
        "import sys; from emogram import plots, metrics, calibration;"
        "assert not {'matplotlib', 'sklearn', 'scipy.optimize'} & set(sys.modules);"
        "plots.draw_class_balance({'a': 1}, title='t').draw_without_rendering();"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_report_of_an_empty_interval_draws_no_band(report):
    narrow = Report(**{**vars(report), "intervals": {"uar": (0.5, 0.5)}})
    assert not any("interval" in text for text in legend_texts(plots.draw_per_class_accuracy(narrow).axes[0]))


def test_the_marked_best_epoch_is_the_one_that_was_kept():
    history = {"epoch": [1, 2, 3], "val_uar": [0.2, 0.9, 0.5], "best": [1, 0, 1]}
    assert plots.best_epoch(history) == 2
    assert plots.best_epoch({**history, "best": [0, 0, 0]}) == 1


# ---------------------------------------------------------------- corpora on one another


def corpus_pairs():
    two, four = ("angry", "sad"), ("angry", "calm", "happy", "sad")
    return [
        CorpusPair("nemo", "nemo", two, 0.9, (0.8, 1.0), (0.9,), 400, 1, "judged on those who chose"),
        CorpusPair("nemo", "tess", two, 0.75, (0.6, 0.9), (0.75,), 700, 2),
        CorpusPair("tess", "nemo", four, 0.625, (0.5, 0.75), (0.625,), 900, 9),
    ]


def test_pairs_of_corpora_are_coloured_by_what_lies_above_chance(tmp_path):
    figure = plots.draw_corpus_pairs(corpus_pairs(), title="Mean UAR 68.8 %")
    axes = figure.axes[0]
    # 0.75 of two labels and 0.625 of four are both half way from chance to all right; tess on tess is not there.
    np.testing.assert_allclose(axes.images[0].get_array().filled(np.nan), [[0.8, 0.5], [0.5, np.nan]])
    texts = all_texts(figure)
    assert "90.0 %*\n80.0 to 100.0\n2 labels" in texts and "62.5 %\n50.0 to 75.0\n4 labels" in texts
    assert "judged on\n* judged on those who chose" in texts and "trained on" in texts and "Mean UAR 68.8 %" in texts
    assert len(axes.patches) == 1, "one frame, around nemo on nemo"
    plots.corpus_pairs(corpus_pairs(), tmp_path / "pairs.png", title="t")
    with Image.open(tmp_path / "pairs.png") as image:
        assert image.format == "PNG"


def test_pairs_without_a_corpus_on_itself_say_that_rows_are_labels():
    assert "labels of (all others trained)" in all_texts(plots.draw_corpus_pairs(corpus_pairs()[1:], title="t"))


# ---------------------------------------------------------------- recordings and explanations


def made_timeline(duration_s=30.0, *, channels=(-1,), n_segments=3, abstained=False, partial=False):
    """A timeline of equal segments, of each channel; the middle third of each has no window."""
    length = duration_s / n_segments
    said = Prediction("happy", {"angry": 0.2, "calm": 0.1, "happy": 0.7}, 0.7, abstained)
    segments = [
        Segment(length * i, length * (i + 0.9), None if channel < 0 else channel, said, 0.9)
        for i in range(n_segments)
        for channel in channels
    ]
    starts = np.array([length * i for _ in channels for i in range(n_segments)])
    scores = np.tile(np.float32([0.2, 0.1, 0.7]), (len(starts), 1))
    windows = Windows(LABELS, starts, starts + length / 3, np.repeat(channels, n_segments), scores)
    shares = {"angry": 0.0, "calm": 0.0, "happy": 1.0, "unsure": 0.0}
    summary = {"label": "happy", "confidence": 0.7, "speech_s": 27.0, "scores": said.scores, "shares": shares}
    return Timeline(tuple(segments), windows, duration_s, 8000, len(channels), summary, (), partial)


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "sound.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, (8000 * 30, 2)), 8000)
    return path


def test_a_timeline_shows_probabilities_where_they_were_heard_and_names_every_label(recording, tmp_path):
    figure = plots.draw_timeline(made_timeline(), recording, title="a $5 call.wav")
    texts = all_texts(figure)
    assert {"angry", "calm", "happy", "unsure", "time (s)"} <= set(texts)
    assert "0:27 of speech in 0:30; of it happy 100 %" in texts
    spectrogram, _, stack, strip = figure.axes
    assert spectrogram.images[0].get_array().shape == (80, 1200)
    assert {axes.get_xlim() for axes in figure.axes} == {(0.0, 30.0)}
    tops = [patch.get_data().values for patch in stack.patches]
    heard = ~np.isnan(tops[0])
    assert heard.mean() == pytest.approx(1 / 3, abs=0.02)
    np.testing.assert_allclose([top[heard].mean() for top in tops], [0.2, 0.3, 1.0], rtol=1e-6)
    assert [to_hex(patch.get_facecolor()) for patch in stack.patches] == ["#d55e00", "#56b4e9", "#f0e442"]
    assert len(strip.collections) == 3
    assert outside(figure) == []
    plots.timeline(made_timeline(), recording, tmp_path / "out.png", title="t")
    with Image.open(tmp_path / "out.png") as image:
        assert image.format == "PNG"


def test_channels_stand_apart_and_too_many_are_named(recording):
    two = plots.draw_timeline(made_timeline(channels=(0, 1)), recording, title="t")
    assert len(two.axes) == 1 + 2 * 3
    assert {"channel 0", "channel 1"} <= set(all_texts(two))
    many = made_timeline(channels=tuple(range(6)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("emogram.plots.recordings._draw_waveform", lambda *_: None)  # the file has two channels
        assert any(
            "first 4 of 6 channels" in text for text in all_texts(plots.draw_timeline(many, recording, title="t"))
        )


def test_unsure_segments_are_hatched_and_a_partial_timeline_says_so(recording):
    figure = plots.draw_timeline(made_timeline(abstained=True, partial=True), recording, title="t")
    assert all(bar.get_hatch() for bar in figure.axes[-1].collections)
    assert any(text.startswith("Partial") for text in all_texts(figure))


@pytest.mark.parametrize(("start_s", "end_s"), [(0, 0.5), (0, 9.7), (30, 90), (0, 3600), (0, 86400), (5.03, 5.05)])
def test_time_ticks_are_round_few_and_inside(start_s, end_s):
    ticks = time_ticks(start_s, end_s, most=10)
    assert 2 <= len(ticks) <= 10
    assert all(start_s - 1e-9 <= tick <= end_s + 1e-9 for tick in ticks)
    assert len(set(ticks.values())) == len(ticks)


def test_times_are_written_as_people_read_them():
    assert [time_text(seconds) for seconds in (0, 5.25, 59.999, 75, 3725.5, 90000)] == [
        "0:00", "0:05.25", "1:00", "1:15", "1:02:05.50", "25:00:00",
    ]  # fmt: skip
    assert [length_text(seconds) for seconds in (3.21, 9.99, 61.4)] == ["3.2 s", "0:10", "1:01"]


def test_every_label_has_a_colour_of_its_own_up_to_eight():
    for labels in (tuple(EMOTION_COLOURS), ("angry", "bored", "tired"), tuple("abcdefgh")):
        assert len(set(label_colours(labels).values())) == len(labels)
    assert label_colours(("bored", "angry"))["angry"] == EMOTION_COLOURS["angry"]
    assert len(label_colours(tuple("abcdefghij"))) == 10


def made_explanation(method="occlusion"):
    config = SpectrogramConfig()
    maps = np.zeros((2, 100, 64), np.float32)
    maps[0, 40:60, 20:30] = 1.0
    maps[1, 40:60, 20:30] = -0.5
    return Explanation(
        prediction=Prediction("angry", {"angry": 0.8, "calm": 0.2}, 0.8),
        labels=("angry", "calm"),
        maps=maps,
        times_s=2.5 + np.arange(100) * 0.012,
        frequencies_hz=band_centres_hz(config),
        spectrogram=np.random.default_rng(0).uniform(0, 1, (100, 64)).astype(np.float32),
        waveform=np.random.default_rng(1).normal(0, 0.1, 32000).astype(np.float32),
        sample_rate=16000,
        start_s=2.0,
        method=method,
    )


def test_an_explanation_has_seconds_and_hertz_and_one_panel_for_each_label(tmp_path):
    figure = plots.draw_explanation(made_explanation(), title="clip.wav")
    texts = all_texts(figure)
    assert {"Why angry, 80.0 %", "angry, 80.0 %", "calm, 20.0 %", "time (s)", "frequency (Hz)", "4,000"} <= set(texts)
    _, first, second, _ = figure.axes
    assert first.get_xlim() == (2.0, 4.0)
    left, right, low, high = first.images[1].get_extent()
    assert (left, right) == pytest.approx((2.494, 3.694))
    assert (low, high) == (-0.5, 63.5)
    array = first.images[1].get_array()
    frame, band = 50, 25
    assert array[band, frame] == 1.0
    assert second.images[1].get_array()[band, frame] == -0.5
    assert first.images[1].get_clim() == second.images[1].get_clim()
    assert outside(figure) == []
    plots.explanation(made_explanation("grad-cam"), tmp_path / "why.png", title="clip.wav")
    with Image.open(tmp_path / "why.png") as image:
        assert image.format == "PNG"


def test_an_explanation_without_anything_in_it_is_drawn_too():
    flat = dataclasses.replace(made_explanation(), maps=np.zeros((2, 100, 64), np.float32))
    plots.draw_explanation(flat, title="t").draw_without_rendering()

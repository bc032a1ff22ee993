"""The benchmarks print what they measure, on voices that the model never heard, and no path of this machine."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import long_files, timelines  # noqa: E402
from benchmarks.__main__ import main  # noqa: E402
from benchmarks.paired import Took  # noqa: E402
from benchmarks.processes import emogram, timed  # noqa: E402
from benchmarks.tables import Table, command_line, put_into  # noqa: E402

from emogram.bundle import TrainingCorpus, open_bundle  # noqa: E402
from emogram.classifier import Classifier  # noqa: E402
from emogram.errors import EmogramError, SettingsError  # noqa: E402
from emogram.joined import MARGIN_S, JoinConfig, join  # noqa: E402
from emogram.metrics import pooled  # noqa: E402
from emogram.records import Prediction  # noqa: E402
from emogram.testing import tiny_bundle  # noqa: E402

LABELS = ("angry", "calm", "happy", "sad")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("model"), labels=LABELS)


@pytest.fixture(scope="module")
def recording(voices_corpus, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recording")
    config = JoinConfig(minutes=0.5, seed=2)
    (made,) = timelines.recordings_of(voices_corpus, [Classifier.load(model)], folder, config=config)
    return made


def cells(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def test_the_table_of_timelines_holds_what_scoring_gives(
    voices_folder, voices_corpus, model, recording, tmp_path, capsys
):
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n<!-- begin timelines synthetic-voices -->\nold\n<!-- end timelines synthetic-voices -->\n\nEnd\n"
    )
    command = [
        "timelines",
        str(voices_folder / "manifest.csv"),
        "--model",
        str(model),
        "--minutes",
        "0.5",
        "--seed",
        "2",
    ]
    assert main([*command, "--into", str(page)]) == 0
    printed = capsys.readouterr().out
    header, _, *rows = cells(printed)
    assert header == list(timelines.HEADER)
    assert [line[:2] for line in rows] == [["clean", name] for name in (timelines.BY_HAND, *timelines.METHODS)]
    for line, (smoothed, turns) in zip(rows[1:], timelines.METHODS.values(), strict=True):
        answer = timelines.analysed(recording, smoothed=smoothed, turns=turns)
        scores = pooled(list(timelines.score(recording, answer).values()))
        assert line[2].split()[0] == f"{100 * scores.segment_error:.1f}"
        assert line[7] == f"{scores.boundaries_found} of {scores.n_true}"
        assert line[11] == f"{100 * scores.overlap_f1:.1f}"
    text = page.read_text("utf-8")
    assert text.startswith("# Page\n\n<!-- begin") and text.endswith("-->\n\nEnd\n") and "old" not in text
    assert printed.strip() in text and str(tmp_path) not in text and str(voices_folder) not in text


def test_each_way_asks_for_what_its_name_says(recording, monkeypatch):
    asked = {}
    monkeypatch.setattr(timelines, "by_hand", lambda _: [])

    def analyze(path, *, model, channels, turns, raw, config):
        asked[raw, turns is not None] = (path, channels, turns)
        return real(path, model=model, channels=channels, turns=turns, raw=raw, config=config)

    real = timelines.analyze
    monkeypatch.setattr(timelines, "analyze", analyze)
    answers = timelines.answers_of(recording)
    path = recording.joined.path
    assert list(asked) == [("--raw" in name, "--turns" in name) for name in timelines.METHODS]
    assert set(asked.values()) == {(path, "mix", None), (path, "mix", path.with_suffix(".rttm"))}
    assert {span.speaker for span in answers["`--raw`"]} == {None}
    turned = answers["smoothed, `--turns`"]
    for span in turned:
        middle_s = (span.start_s + span.end_s) / 2
        true = min(recording.joined.truth, key=lambda one: max(one.start_s - middle_s, middle_s - one.end_s))
        assert span.speaker == true.speaker


def test_by_hand_the_model_hears_each_clip_and_nothing_else(recording):
    class Listener:
        """Says what the truth says, and remembers what it heard."""

        labels = LABELS
        info = recording.classifier.info

        def __init__(self):
            self.heard = []

        def predict(self, sound, *, sample_rate):
            span = recording.joined.truth[len(self.heard)]
            self.heard.append((len(sound) / sample_rate, float(np.abs(sound[:8]).max())))
            return Prediction(span.label, {span.label: 1.0}, 1.0)

    listener = Listener()
    answer = timelines.by_hand(replace(recording, classifier=listener))
    for (seconds, edge), span in zip(listener.heard, recording.joined.truth, strict=True):
        assert seconds == pytest.approx(span.end_s - span.start_s + 2 * MARGIN_S, abs=1e-3)
        assert edge < 1e-3, "it begins in silence, as the clip fades in"
    scores = pooled(list(timelines.score(recording, answer).values()))
    assert scores.segment_error == pytest.approx(0.0, abs=1e-9) and scores.onset_f1 == 1.0


def test_the_channels_of_a_call_are_scored_apart(voices_corpus, model, tmp_path):
    call = join(voices_corpus.clips, tmp_path / "call.wav", JoinConfig(minutes=0.7, channels=2))
    made = timelines.Recording(call, Classifier.load(model))
    said = timelines.analysed(made, smoothed=True, turns=False)
    assert {span.channel for span in said} == {0, 1}
    scores = timelines.score(made, said)
    assert set(scores) == {span.speaker for span in call.truth}
    spoken_s = sum(span.end_s - span.start_s for span in call.truth)
    assert sum(one.spoken_s for one in scores.values()) == pytest.approx(spoken_s)
    swapped = [replace(span, channel=1 - span.channel) for span in call.truth]
    assert pooled(list(timelines.score(made, swapped).values())).missed_share > 0.9


@pytest.mark.parametrize(
    ("corpora", "split", "speakers"),
    [
        (["elsewhere"], {}, {"synthetic01", "synthetic02", "synthetic03", "synthetic04"}),
        (["synthetic-voices"], {"test_speakers": ["synthetic02"], "train_speakers": ["synthetic01"]}, {"synthetic02"}),
        (
            ["synthetic-voices", "elsewhere"],
            {
                "corpora": ["synthetic-voices", "elsewhere"],
                "test_speakers": ["synthetic-voices/synthetic03", "elsewhere/synthetic04"],
            },
            {"synthetic03"},
        ),
        (["synthetic-voices"], {"test_speakers": ["synthetic02"], "train_speakers": ["synthetic02"]}, set()),
    ],
)
def test_only_voices_that_the_model_never_heard_are_joined(voices_corpus, model, corpora, split, speakers):
    trained_on = tuple(TrainingCorpus(corpus=name, n_clips=1, content_hash="") for name in corpora)
    info = open_bundle(model).info.model_copy(update={"trained_on": trained_on, "split": split})
    assert {clip.speaker for clip in timelines.unheard(voices_corpus.clips, info, "test")} == speakers


def test_long_files_are_timed_in_a_process_of_their_own(voices_folder, model, capsys):
    command = ["long-files", str(voices_folder / "manifest.csv"), "--model", str(model), "--minutes", "0.5"]
    assert main([*command, "--rounds", "1", "--listen-minutes", "0.07"]) == 0
    printed = capsys.readouterr().out
    header, _, (name, _, wall_s, pace, cpu_s, cpu_pace, peak_mb) = cells(printed)
    assert (header, name) == (list(long_files.HEADER), "0.5 min")
    # Figures in the table are rounded to a tenth of a second.
    assert float(pace) == pytest.approx(30.0 / float(wall_s), rel=0.2, abs=1.0)
    assert float(cpu_pace) == pytest.approx(30.0 / float(cpu_s), rel=0.2, abs=1.0)
    assert 40.0 < float(peak_mb) < 1000.0
    assert "Live, at the pace of sound, 0.07 minutes" in printed


def test_what_a_process_took_is_its_own():
    ballast = np.ones(50_000_000)  # 400 MB in this process, which that one does not inherit
    run = timed(emogram("--version"))
    assert run.output.startswith("emogram ")
    assert 0.0 < run.cpu_s < 60.0 and run.wall_s > 0.0
    assert 10.0 < run.peak_mb < 200.0 < ballast.nbytes / 1e6
    with pytest.raises(EmogramError, match=r"`emogram analyze nothing\.wav` failed.*no such file"):
        timed(emogram("analyze", "nothing.wav"))


def test_delays_are_those_that_listening_tells():
    lines = [
        '{"type": "window"}',
        '{"type": "segment"}',
        '{"type": "window"}',
        '{"delay_ms": {"p50": 20.5, "p99": 31.0}}',
    ]
    run = Took(1.0, 1.0, 1.0, "\n".join(lines))
    assert long_files.delays_ms(run) == (20.5, 31.0, 2)
    with pytest.raises(EmogramError, match="listening gave no window"):
        long_files.delays_ms(replace(run, output='{"delay_ms": {"p50": null, "p99": null}}'))


def test_a_command_names_no_folder_of_this_machine():
    command = [
        "timelines",
        "/home/me/corpora/ravdess",
        "--model",
        "/data/p1/seed-0/fold-3",
        "shipped",
        "--minutes",
        "10",
    ]
    assert command_line(command) == (
        "python -m benchmarks timelines ravdess --model RUNS/seed-0/fold-3 shipped --minutes 10"
    )


def test_a_table_takes_its_own_place_in_a_page_and_no_other(tmp_path):
    page = tmp_path / "page.md"
    first = Table("first", ("a", "b"), (("1", "2"),), ("Note.",)).markdown("make first")
    assert (
        first == "<!-- not run: measures -->\n```sh\nmake first\n```\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\nNote.\n"
    )
    put_into(page, "first", first)
    put_into(page, "second", "second\n")
    once = page.read_text("utf-8")
    put_into(page, "first", first)
    assert page.read_text("utf-8") == once
    put_into(page, "first", "new\n")
    assert page.read_text("utf-8") == once.replace(first, "new\n")
    page.write_text("<!-- begin first -->\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="without '<!-- end first -->'"):
        put_into(page, "first", "new\n")


def test_what_cannot_be_measured_is_one_line(voices_folder, model, capsys):
    corpus = str(voices_folder / "manifest.csv")
    assert main(["timelines", corpus, "--model", str(model), "--sound", "rain"]) == 2
    assert "unknown sound rain; expected some of clean" in capsys.readouterr().err
    assert main(["timelines", corpus, "--model", str(model), "--speakers", "nobody"]) == 4
    assert "no clips of speakers that the model never heard" in capsys.readouterr().err
    assert main(["timelines", corpus, "--model", str(model), "--sound", "babble-10", "--minutes", "0.2"]) == 2
    assert capsys.readouterr().err == "error: babble is made of other speakers' clips, and none were given\n"
    with pytest.raises(SystemExit):
        main(["nothing"])


def test_the_table_of_dimensions_tells_what_each_network_learnt(tmp_path, capsys, without_plots):
    assert main(["dimensions", "--tiny", "--keep", str(tmp_path)]) == 0
    header, _, *rows = cells(capsys.readouterr().out)
    assert header[0] == "`--targets`" and [row[0] for row in rows] == ["classes", "dimensions", "both"]
    classes, alone, both = ([cell != "–" for cell in row[1:]] for row in rows)
    assert classes == [False, False, False, True] and alone == [True, True, True, False] and all(both)
    assert open_bundle(tmp_path / "both").info.dimensions[0].high == 7.0

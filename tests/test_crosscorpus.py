"""From corpus to corpus: who trains and judges on what, on which labels, gone on with where it stopped."""

import contextlib
import csv
import dataclasses
import json
import statistics

import numpy as np
import pytest
import soundfile
from listeners import Listener
from scipy.special import softmax
from undrawn import draw_nothing

from emogram import crosscorpus as crossing
from emogram import metrics
from emogram.adapt import ADAPTED, adapt_voices
from emogram.bundle import open_bundle
from emogram.classifier import Classifier
from emogram.config import RunConfig, read_toml
from emogram.crosscorpus import crosscorpus, restrict
from emogram.errors import CorpusError, EmogramError, SettingsError
from emogram.records import Clip

ALL = ("angry", "calm", "happy", "sad")
FEW = ("angry", "calm", "sad")


def part_of(corpus, name, speakers, labels, *, sentence=""):
    """Some voices of the tiny corpus, as a corpus of another name that lacks some labels, or sentences."""
    numbers = {f"synthetic0{speaker}" for speaker in speakers}
    clips = tuple(
        dataclasses.replace(clip, corpus=name)
        for clip in corpus.clips
        if clip.speaker in numbers and clip.label in labels and clip.path.stem.endswith(sentence)
    )
    return dataclasses.replace(corpus, name=name, clips=clips, labels=tuple(labels), licences={name: f"of {name}"})


def unheard(corpus, folder):
    """The same corpus in other recordings, half as loud."""
    clips = []
    for clip in corpus.clips:
        waveform, sample_rate = soundfile.read(clip.path)
        soundfile.write(folder / clip.path.name, 0.5 * waveform, sample_rate)
        clips.append(dataclasses.replace(clip, path=folder / clip.path.name))
    return dataclasses.replace(corpus, clips=tuple(clips))


@pytest.fixture(scope="module")
def corpora(voices_corpus):
    """ "one" has all four labels of two voices, "two" lacks happy."""
    return part_of(voices_corpus, "one", (1, 2), ALL), part_of(voices_corpus, "two", (3, 4), FEW)


@pytest.fixture(scope="module")
def config(settings_of):
    return settings_of(train={"epochs": 1}, split={"validation_speakers": [], "test_speakers": []})


@pytest.fixture(scope="module")
def finished(corpora, config, tmp_path_factory):
    out = tmp_path_factory.mktemp("crosscorpus")
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch)
        return crosscorpus(corpora, config, out, jobs=1), out


def pair_of(result, trained, tested):
    (pair,) = [pair for pair in result.pairs if (pair.trained, pair.tested) == (trained, tested)]
    return pair


class TrainedError(EmogramError):
    """Raised in place of a training."""


@pytest.fixture
def trained(monkeypatch):
    """Instead of training, keep the folder that would be trained in, and stop."""
    folders = []

    def spy(corpus, config, out, **_):
        folders.append(f"{out.parent.name}/{out.name}")
        raise TrainedError("trained")

    monkeypatch.setattr(crossing, "train_whole", spy)
    return folders


# ---------------------------------------------------------------- shared labels


def test_probabilities_of_shared_labels_sum_to_one_again():
    found = restrict(np.asarray([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0]]), ("a", "b", "c"), ("c", "a"))
    np.testing.assert_allclose(found, [[0.6, 0.4], [0.5, 0.5]])


def test_a_clip_of_a_shared_label_is_judged_among_the_shared_ones_alone():
    """The model would say b of each clip; of a and c it says the right one twice, and c of an a once."""
    clips = tuple(Clip(path=None, label=label, speaker=str(i), corpus="x") for i, label in enumerate("acab"))
    rows = np.asarray([[0.3, 0.6, 0.1], [0.1, 0.6, 0.3], [0.1, 0.6, 0.3], [0.1, 0.8, 0.1]])
    answers = [crossing._Answers(clips, ("a", "b", "c"), rows)]
    pair = crossing._judge("one", "two", ["a", "c"], answers)
    assert pair.uar == pytest.approx((0.5 + 1.0) / 2) and pair.chance == 0.5
    assert (pair.n_clips, pair.n_speakers, pair.labels) == (3, 3, ("a", "c"))


def test_over_seeds_the_uar_is_the_mean_and_the_interval_resamples_speakers():
    rng = np.random.default_rng(0)
    labels = ("a", "b", "c")
    clips = tuple(Clip(path=None, label=labels[i % 3], speaker=str(i // 6), corpus="x") for i in range(60))
    answers = [crossing._Answers(clips, labels, rng.dirichlet(np.ones(3), 60)) for _ in range(3)]
    pair = crossing._judge("one", "two", list(labels), answers)
    targets = np.arange(60) % 3
    assert pair.per_seed == tuple(metrics.uar(targets, answer.probabilities) for answer in answers)
    assert pair.uar == statistics.fmean(pair.per_seed)
    pooled = metrics.uar(np.tile(targets, 3), np.concatenate([answer.probabilities for answer in answers]))
    assert pooled == pytest.approx(pair.uar)
    assert pair.interval[0] < pair.uar < pair.interval[1]


# ---------------------------------------------------------------- what comes out


def test_each_corpus_is_judged_by_a_model_that_never_saw_it(finished, corpora):
    result, out = finished
    assert [(pair.trained, pair.tested) for pair in result.pairs] == [
        ("one", "one"), ("one", "two"), ("two", "one"), ("two", "two")]  # fmt: skip
    for name, speakers in (("one", {"synthetic01", "synthetic02"}), ("two", {"synthetic03", "synthetic04"})):
        info = open_bundle(out / name / "seed-0").info
        assert [corpus.corpus for corpus in info.trained_on] == [name]
        assert info.trained_on[0].licence == f"of {name}"
        assert {*info.split["train_speakers"], *info.split["validation_speakers"]} == speakers
    forth, back = pair_of(result, "one", "two"), pair_of(result, "two", "one")
    assert forth.labels == back.labels == ("angry", "calm", "sad")
    assert (forth.n_clips, forth.n_speakers) == (12, 2), "all clips of the other corpus"
    assert (back.n_clips, back.n_speakers) == (12, 2), "without its 4 happy ones"


def test_a_pair_is_judged_by_what_its_model_says_of_each_clip(finished, corpora):
    result, out = finished
    model = Classifier.load(out / "one" / "seed-0")
    hits = {label: [] for label in FEW}
    for clip in corpora[1].clips:
        scores = {label: score for label, score in model.predict_clip(clip).scores.items() if label in FEW}
        hits[clip.label].append(max(scores, key=scores.get) == clip.label)
    assert pair_of(result, "one", "two").uar == pytest.approx(np.mean([np.mean(found) for found in hits.values()]))


def test_a_corpus_is_judged_on_itself_by_voices_set_aside_and_says_where_they_chose(finished):
    """Of two speakers one trains, and the other chooses and judges."""
    result, _ = finished
    own = pair_of(result, "one", "one")
    assert own.within and own.labels == ALL and (own.n_clips, own.n_speakers) == (8, 1)
    assert own.caveat == "judged on the speakers who also chose the epoch"
    assert pair_of(result, "one", "two").caveat == ""


def test_the_headline_is_the_mean_over_different_corpora(finished):
    result, out = finished
    across = [pair_of(result, "one", "two"), pair_of(result, "two", "one")]
    assert result.mean_uar == pytest.approx(statistics.fmean(pair.uar for pair in across))
    assert result.mean_chance == pytest.approx(1 / 3) and result.std_uar == 0
    assert result.protocol.startswith("Cross-corpus (P3): trained on one corpus, judged on corpora never seen")
    written = json.loads((out / "metrics.json").read_text())
    assert written == json.loads(json.dumps(result.to_dict()))
    assert written["pairs"][1]["chance"] == pytest.approx(1 / 3) and not written["pairs"][1]["within"]
    with (out / "pairs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trained"] + row["tested"] for row in rows] == ["oneone", "onetwo", "twoone", "twotwo"]
    assert rows[1]["labels"] == "angry calm sad" and float(rows[1]["uar"]) == pytest.approx(across[0].uar, rel=1e-5)
    assert (out / "plots" / "corpus_pairs.png").stat().st_size > 1000


@pytest.mark.usefixtures("without_plots")
def test_all_but_one_trains_on_the_union_and_is_judged_on_the_labels_of_each(voices_corpus, config, tmp_path):
    three = [
        part_of(voices_corpus, "one", (1, 2), ALL),
        part_of(voices_corpus, "two", (3, 4), FEW, sentence="_01"),
        part_of(voices_corpus, "three", (3, 4), ("angry", "happy", "sad"), sentence="_02"),
    ]
    result = crosscorpus(three, config, tmp_path, leave_one_out=True, jobs=1)
    assert {(pair.trained, pair.tested): pair.labels for pair in result.pairs} == {
        ("one", "two"): FEW, ("one", "three"): ("angry", "happy", "sad"),
        ("two", "one"): FEW, ("two", "three"): ("angry", "sad"),
        ("three", "one"): ("angry", "happy", "sad"), ("three", "two"): ("angry", "sad"),
    }  # fmt: skip
    info = open_bundle(tmp_path / "all-but-one" / "seed-0").info
    heard = {*info.split["train_speakers"], *info.split["validation_speakers"]}
    assert heard == {f"{corpus}/synthetic0{speaker}" for corpus in ("two", "three") for speaker in (3, 4)}
    assert {name.split("/")[0] for name in info.split["validation_speakers"]} == {"two", "three"}, "one of each"
    assert info.split["n_test"] == 0
    assert "trained on all corpora but the one that judges" in result.protocol


# ---------------------------------------------------------------- adapted to each voice


def test_adapting_takes_a_voice_s_bias_away_and_leaves_other_voices_alone():
    """The model hears every clip of one voice as sad, by e^2; of what it says otherwise, each is right."""
    labels = ("angry", "calm", "sad")
    truth = [label for label in labels for _ in range(40)]
    clips = tuple(Clip(path=None, label=label, speaker=voice, corpus="x") for voice in "pq" for label in truth)
    logits = np.tile(np.log(np.eye(3)[np.arange(120) // 40] * 0.4 + 0.2), (2, 1))
    biased = logits + np.outer(np.arange(240) < 120, [0.0, 0.0, 2.0])
    answers = [crossing._Answers(clips, labels, softmax(biased, axis=1), reference=(0.0, 0.0, 0.0))]
    plain = crossing._judge("one", "two", labels, answers)
    adapted = crossing._judge("one", "two", labels, answers, adapt=True)
    assert plain.uar == pytest.approx((1 / 3 + 1) / 2), "the biased voice is always sad"
    assert adapted.uar == 1.0
    # Of labels that the corpora do not share, the reference is left out too.
    fewer = [crossing._Answers(clips, ("calm", "x", "sad"), softmax(biased, axis=1), reference=(0.0, 9.0, 0.0))]
    assert crossing._judge("one", "two", ["calm", "sad"], fewer, adapt=True).chance == 0.5


def test_adapted_figures_lie_apart_and_cost_no_training(finished, corpora, config, trained):
    before, out = finished
    result = crosscorpus(corpora, config, out, jobs=1, adapt=True)
    assert trained == [] and result.pairs == before.pairs and before.adapted is None
    assert result.adapted.protocol == f"{ADAPTED}; {result.protocol}"
    assert json.loads((out / "metrics.json").read_text()) == json.loads(json.dumps(before.to_dict()))
    written = json.loads((out / "adapted" / "metrics.json").read_text())
    assert written == json.loads(json.dumps(result.adapted.to_dict()))
    # The same by hand, for one pair.
    info = open_bundle(out / "one" / "seed-0").info
    rows = [Classifier.load(out / "one" / "seed-0").predict_clip(clip).scores for clip in corpora[1].clips]
    said = restrict([[row[label] for label in info.labels] for row in rows], info.labels, FEW)
    reference = [info.mean_log_probabilities[info.labels.index(label)] for label in FEW]
    adapted = adapt_voices(said, [clip.speaker for clip in corpora[1].clips], reference)
    truth = [FEW.index(clip.label) for clip in corpora[1].clips]
    assert pair_of(result.adapted, "one", "two").uar == pytest.approx(metrics.uar(truth, adapted))


# ---------------------------------------------------------------- going on


def goes_on_with(corpora, config, out, trained, **arguments):
    """The first training that the same call makes again, or None."""
    trained.clear()
    with contextlib.suppress(TrainedError):
        crosscorpus(corpora, config, out, jobs=1, **arguments)
    return trained[0] if trained else None


def test_what_is_done_is_not_done_again_and_changes_are(finished, corpora, config, trained, monkeypatch):
    before, out = finished
    progress = Listener()
    after = crosscorpus(corpora, config, out, jobs=1, progress=progress)
    assert trained == [] and after.pairs == before.pairs
    assert "2 of 2 trainings are done already, with the same settings and clips" in progress.lines
    changed = config.model_copy(update={"train": config.train.model_copy(update={"label_smoothing": 0.3})})
    assert goes_on_with(corpora, changed, out, trained) == "one/seed-0"
    fewer = dataclasses.replace(corpora[1], clips=corpora[1].clips[1:])
    assert goes_on_with((corpora[0], fewer), config, out, trained) == "two/seed-0"
    assert goes_on_with(corpora, config, out, trained, seeds=(0, 1)) == "one/seed-1"

    # Predictions of another model than the one that lies there are made again, without training.
    judged_by = out / "one" / "seed-0" / "on-two" / "judged_by.txt"
    judge = judged_by.read_text()
    judged_by.write_text("another model")
    assert goes_on_with(corpora, config, out, trained) is None
    assert judged_by.read_text() == judge == open_bundle(out / "one" / "seed-0").sha256 + "\n"
    assert RunConfig.from_dict(read_toml(out / "one" / "seed-0" / "config.toml")).split.split == "speaker"


# ---------------------------------------------------------------- refusals


def test_one_corpus_is_refused(corpora, config, tmp_path):
    with pytest.raises(SettingsError, match="1 corpus; give at least two"):
        crosscorpus(corpora[:1], config, tmp_path)


@pytest.mark.parametrize("split", [{"protocol": "random80"}, {"test_speakers": ["x"]}, {"split": "random"}])
def test_another_split_is_refused(corpora, config, tmp_path, split):
    other = config.model_copy(update={"split": config.split.model_copy(update=split)})
    with pytest.raises(SettingsError, match="corpora are judged on one another, each parted by speaker; leave that"):
        crosscorpus(corpora, other, tmp_path)


def test_a_recording_in_two_corpora_is_refused(corpora, config, tmp_path, trained):
    twin = dataclasses.replace(corpora[0].clips[0], corpus="two", speaker="synthetic04")
    leaking = dataclasses.replace(corpora[1], clips=(*corpora[1].clips, twin))
    with pytest.raises(CorpusError, match=r"the same recording stands in one and two: .*\.wav and .*; remove one"):
        crosscorpus((corpora[0], leaking), config, tmp_path, jobs=1)
    assert trained == []


def test_corpora_without_shared_labels_are_named(voices_corpus, config, tmp_path, trained):
    one, two = (
        part_of(voices_corpus, *a) for a in (("one", (1, 2), ("angry", "sad")), ("two", (3, 4), ("calm", "sad")))
    )
    with pytest.raises(
        CorpusError, match="no two corpora share two labels: one and two share sad, too little to judge"
    ):
        crosscorpus((one, two), config, tmp_path, jobs=1)
    assert trained == []


def test_a_start_from_a_model_that_saw_a_tested_corpus_is_refused(tiny_run, corpora, settings_of, tmp_path, trained):
    """It was trained on synthetic-voices, which is one of those to be judged as never seen."""
    config = settings_of(
        train={"init": tiny_run.run, "epochs": 1}, split={"validation_speakers": [], "test_speakers": []}
    )
    seen = dataclasses.replace(
        corpora[1],
        name="seen",
        clips=tuple(dataclasses.replace(c, corpus="synthetic-voices") for c in corpora[1].clips),
    )
    with pytest.raises(CorpusError, match="was trained on synthetic-voices, which is to be judged as never seen"):
        crosscorpus((unheard(corpora[0], tmp_path), seen), config, tmp_path / "out", jobs=1)
    assert trained == []


def test_a_start_from_a_model_that_saw_it_by_another_name_is_refused_by_its_recordings(
    tiny_run, corpora, settings_of, tmp_path, trained
):
    config = settings_of(
        train={"init": tiny_run.run, "epochs": 1}, split={"validation_speakers": [], "test_speakers": []}
    )
    with pytest.raises(CorpusError, match=r"of the two part, 6 of 12 clips chose the epoch .* \(synthetic03_angry_01"):
        crosscorpus((unheard(corpora[0], tmp_path), corpora[1]), config, tmp_path / "out", jobs=1)
    assert trained == []

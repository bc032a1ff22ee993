"""The process that scores, its words, and who watches it, without starting one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import emogram
from emogram import voices
from emogram.archive import inputs as inputs_module
from emogram.archive import on_ray, running, score, scorer, shards, worker
from emogram.archive.fetching import fetch
from emogram.archive.inputs import Input, list_inputs, suffixes_for
from emogram.archive.places import open_place
from emogram.archive.plan import Plan, read_plan
from emogram.archive.rows import archive_schema
from emogram.archive.scorer import Job, Scorer
from emogram.archive.scoring import score_input
from emogram.audio import AUDIO_SUFFIXES
from emogram.bundle import open_bundle
from emogram.classifier import Classifier
from emogram.config import ArchiveConfig
from emogram.errors import EmogramError, InputError, MissingExtraError, ModelError, OutputError, SettingsError
from emogram.progress import Progress
from emogram.testing import tiny_bundle
from emogram.timeline import analyze
from emogram.watched import Answer, Died, Late

CONFIG = ArchiveConfig(check=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def classifier(model) -> Classifier:
    return Classifier.load(model)


@pytest.fixture
def clips(tmp_path) -> list[Path]:
    for number in range(3):
        noise = np.random.default_rng(number).normal(0.0, 0.1, (16000, 2))
        soundfile.write(tmp_path / f"{number}.wav", noise, 16000)
    return [tmp_path / f"{number}.wav" for number in range(3)]


class GoneError(Exception):
    """The parent asks nothing more."""


class FakeParent:
    """Asks a worker what it is given, and keeps its answers."""

    def __init__(self, folder: Path, *asked: object) -> None:
        self.folder, self.asked, self.said = folder, [json.loads(json.dumps(each)) for each in asked], []

    def hear(self):
        if not self.asked:
            raise GoneError
        return self.asked.pop(0)

    def say(self, head) -> None:
        self.said.append(json.loads(json.dumps(head)))


def test_a_worker_says_who_it_is_and_answers_each_input_in_order(model, clips, tmp_path, monkeypatch):
    given = [dataclasses.asdict(Input(str(path))) for path in [*clips, tmp_path / "missing.wav"]]
    job = {"model": str(model), "settings": CONFIG.to_dict()}
    parent = FakeParent(tmp_path / "own", job, given[:2], given[2:])
    monkeypatch.setattr(worker, "Parent", lambda: parent)
    with pytest.raises(GoneError):
        worker.main()
    first, *answers = parent.said
    assert first == {"sha256": open_bundle(model).sha256}
    assert [answer["failed"] for answer in answers] == [None, None, None, "missing"]
    for path, answer in zip(clips, answers, strict=False):
        (row,) = answer["rows"]
        assert row["confidence"] == pytest.approx(emogram.load(model).predict(path, check=False).confidence, rel=1e-6)
        assert (row["file"], row["channels"], answer["sound_s"]) == (str(path), 2, 1.0)


def test_a_worker_refuses_a_model_in_words(tmp_path, monkeypatch):
    parent = FakeParent(tmp_path, {"model": str(tmp_path / "none"), "settings": CONFIG.to_dict()})
    monkeypatch.setattr(worker, "Parent", lambda: parent)
    worker.main()
    assert parent.said == [{"refused": f"{tmp_path / 'none'}: no such model folder; give a model folder or a run "
                            "folder that holds model/"}]  # fmt: skip


# ---------------------------------------------------------------- what is said of an input


def test_a_clip_is_told_as_predict_tells_it_and_a_stretch_with_its_times(classifier, clips):
    answer = score_input(classifier, Input(str(clips[0]), 0.25, 0.75, "ann"), clips[0], CONFIG)
    (row,) = answer["rows"]
    said = classifier.predict_clip(emogram.Clip(clips[0], start_s=0.25, end_s=0.75), check=False)
    assert row["label"] == said.label and row["confidence"] == pytest.approx(said.confidence)
    assert (row["start_s"], row["end_s"], row["duration_s"], row["speaker"]) == (0.25, 0.75, 1.0, "ann")
    assert (answer["sound_s"], answer["failed"], answer["partial"]) == (0.5, None, False)


def test_segments_are_those_of_analyze_and_a_stretch_stays_within_itself(classifier, tmp_path):
    path = tmp_path / "spoken.wav"
    soundfile.write(path, voices.speak("happy", speaker=voices.voices(1)[0], seed=1), 16000)
    config = ArchiveConfig(rows="segments")
    whole = score_input(classifier, Input(str(path)), path, config)
    segments = analyze(path, model=classifier).segments
    assert [row["label"] for row in whole["rows"]] == [each.prediction.label for each in segments] != []
    part = score_input(classifier, Input(str(path), 0.25, 1.25, "ann"), path, config)
    assert part["sound_s"] == 1.0
    assert part["rows"]
    for row in part["rows"]:
        assert row["speaker"] == "ann" and 0.25 <= row["start_s"] < row["end_s"] <= 1.25
    nobody = score_input(classifier, Input(str(path), 0.0, 0.001, "ann"), path, config)
    assert [(row["start_s"], row["speech_ratio"]) for row in nobody["rows"]] == [(0.0, 0.0)]


@pytest.mark.parametrize(("error", "code", "message"), [
    (MemoryError(), "memory", "not enough memory for this file"),
    (ZeroDivisionError("by a library"), "unexpected", "ZeroDivisionError: by a library"),
    (InputError("COPY: is odd", code="odd"), "odd", "in/a.wav: is odd"),
])  # fmt: skip
def test_whatever_goes_wrong_with_a_file_is_its_row_under_its_own_name(
    classifier, tmp_path, monkeypatch, error, code, message
):
    copy = tmp_path / "copy.wav"

    def fails(*_, **__):
        raise InputError(str(error).replace("COPY", str(copy)), code="odd") if code == "odd" else error

    monkeypatch.setattr(Classifier, "predict_clip", fails)
    answer = score_input(classifier, Input("in/a.wav"), copy, CONFIG)
    assert answer["failed"] == code
    assert answer["rows"] == [{"file": "in/a.wav", "error": code, "message": message}]
    assert score_input(classifier, Input("in/a.wav"), InputError("gone", code="missing"), CONFIG)["failed"] == "missing"


def test_a_picture_has_no_times(tmp_path):
    from PIL import Image

    bundle = tiny_bundle(tmp_path / "model", spectrogram=None, picture_size=32)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)).save(tmp_path / "a.png")
    answer = score_input(Classifier.load(bundle), Input("a.png"), tmp_path / "a.png", CONFIG)
    (row,) = answer["rows"]
    assert (row["start_s"], row["end_s"], answer["sound_s"], answer["failed"]) == (None, None, 0.0, None)
    assert suffixes_for(open_bundle(bundle).info, CONFIG) >= {".png"}
    with pytest.raises(SettingsError, match="trained on pictures made elsewhere, which have no segments"):
        score(tmp_path, tmp_path / "out", model=bundle, config=ArchiveConfig(rows="segments"))


# ---------------------------------------------------------------- who watches


class FakeChild:
    """A process that says what a list tells, an error being raised; counts how many were started."""

    said: list = []  # noqa: RUF012
    started = 0
    ended = 0

    def __init__(self, module: str) -> None:
        type(self).started += 1

    def ask(self, value) -> None:
        pass

    def answer(self, limit_s, should_stop=lambda: False):
        word = type(self).said.pop(0)
        if isinstance(word, BaseException):
            raise word
        return Answer(word)

    def end(self) -> None:
        type(self).ended += 1


def job_of(model: Path, **changes) -> Job:
    sha256 = open_bundle(model).sha256
    return Job(**{"out": "out", "plan": "", "model": str(model), "model_sha256": sha256, "labels": (),
                  "config": CONFIG, "time_limit_s": 1.0, **changes})  # fmt: skip


@pytest.fixture
def child(monkeypatch):
    monkeypatch.setattr(scorer, "Child", FakeChild)
    FakeChild.started = FakeChild.ended = 0
    return FakeChild


def test_a_process_that_dies_as_it_starts_is_started_again_and_not_without_end(model, child):
    job = job_of(model)
    child.said = [Died("SIGILL"), Died("SIGILL"), {"sha256": job.model_sha256}, {"answer": 1}]
    with Scorer(job) as one:
        assert list(one.answers([Input("a")])) == [{"answer": 1}]
    assert (child.started, child.ended) == (3, 3)
    child.said = [Died("SIGILL"), Late(), Late()]
    with (
        Scorer(job) as one,
        pytest.raises(EmogramError, match=r"does not start \(no word from it in 300 s\); `emogram d"),
    ):
        list(one.answers([Input("a")]))
    child.said = [Late(), Late(), Died("exit code 1: no numpy")]
    with Scorer(job) as one, pytest.raises(EmogramError, match=r"does not start \(exit code 1: no numpy\)"):
        list(one.answers([Input("a")]))
    assert child.started == child.ended == 9


def test_a_refusal_of_the_worker_is_one_here_and_an_interrupt_ends_it(model, child):
    child.said = [{"refused": "the model was damaged"}]
    with Scorer(job_of(model)) as one, pytest.raises(ModelError, match="the model was damaged"):
        list(one.answers([Input("a")]))
    child.said = [KeyboardInterrupt()]
    with Scorer(job_of(model)) as one, pytest.raises(KeyboardInterrupt):
        list(one.answers([Input("a")]))
    assert child.started == child.ended == 2


def test_a_file_is_given_up_after_two_deaths_or_once_too_late_and_others_go_on(model, child):
    job = job_of(model)
    start = {"sha256": job.model_sha256}
    child.said = [start, {"n": 0}, Died("SIGSEGV"), start, Died("SIGSEGV"), start, Late(), start, {"n": 3}]
    with Scorer(job) as one:
        first, crashed, late, last = one.answers([Input(name) for name in "abcd"])
    assert (first, last) == ({"n": 0}, {"n": 3})
    assert crashed["rows"][0]["message"] == "b: the process that read it died 2 times (SIGSEGV)"
    assert late["rows"][0]["message"] == "c: took longer than 1 s; see --time-limit"


# ---------------------------------------------------------------- the cluster, and what else there is to refuse


def shard_done(index: int, n_inputs: int) -> shards.ShardDone:
    return shards.ShardDone(index=index, n_inputs=n_inputs, n_rows=n_inputs, failed={}, n_partial=0,
                            sound_s=3.0, seconds=1.0, examples=())  # fmt: skip


def test_on_a_cluster_shards_come_as_they_are_committed_and_the_first_error_ends_it(model, monkeypatch):
    outcomes = [(1, shard_done(1, 2)), (0, shard_done(0, 1)), (2, OutputError("full"))]
    closed = []

    def mapped(function, items, **settings):
        assert list(items) == [10, 11, 12] and settings["address"] == "here:1"
        try:
            yield from outcomes
        finally:
            closed.append(True)

    monkeypatch.setattr(on_ray, "map_on_cluster", mapped)
    monkeypatch.setattr(Plan, "shard", lambda self, index: 10 + index)
    plan = object.__new__(Plan)
    told, found = [], []
    with pytest.raises(OutputError, match="full"):
        for each in on_ray.run_shards(job_of(model), plan, [0, 1, 2], address="here:1", tell=told.append):
            found.append(each.index)
    assert (found, told, closed) == ([1, 0], [1.5, 1.5, 3.0], [True])
    monkeypatch.setattr(on_ray, "score_shard", lambda job, shard, scorer: (shard, scorer))
    on_ray._scorer.cache_clear()
    one, other = (on_ray._score(job_of(model), shard) for shard in (1, 2))
    assert (one[0], other[0]) == (1, 2)
    assert one[1] is other[1], "a worker of the cluster keeps its process"
    on_ray._scorer.cache_clear()
    monkeypatch.setattr(on_ray, "run_shards", lambda job, plan, todo, **settings: (todo, settings["address"]))
    arguments = (job_of(model), plan, [3], "here:1", 1, told.append, lambda: False, Progress())
    assert running._run("ray", *arguments) == ([3], "here:1")


def test_what_is_asked_wrongly_is_refused_before_any_work(model, clips, tmp_path, monkeypatch):
    with pytest.raises(SettingsError, match="time limit of 0 s; expected more than 0"):
        score(clips, tmp_path / "out", model=model, time_limit_s=0)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[archive\]'"):
        score(clips, tmp_path / "out", model=model)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ModelError, match="the label 'file' of this model is the name of a column"):
        archive_schema(["happy", "file"])


def test_a_plan_that_is_damaged_is_told_by_the_file_that_is(model, clips, tmp_path):
    out = tmp_path / "out"
    score(clips, out, model=model, should_stop=lambda: True)
    place = open_place(str(out))
    plan = out / "_emogram" / "plan.json"
    content = json.loads(plan.read_text())
    listed = out / content["inputs"]["file"]
    kept = listed.read_bytes()
    listed.write_bytes(kept[:-1])
    with pytest.raises(OutputError, match=f"{content['inputs']['file']}: missing or changed; delete the folder"):
        read_plan(place)
    listed.unlink()
    with pytest.raises(OutputError, match="missing or changed"):
        read_plan(place)
    plan.write_text(json.dumps({**content, "schema": "emogram.archive/99"}))
    with pytest.raises(OutputError, match=r"of the kind emogram.archive/99, and emogram .* use another folder"):
        read_plan(place)


def test_listings_tell_how_far_they_are_and_what_cannot_be_looked_into(tmp_path, monkeypatch):
    class Words(Progress):
        lines: list = []  # noqa: RUF012

        def say(self, line):
            self.lines.append(line)

    for number in range(5):
        (tmp_path / f"{number}.wav").touch()
    monkeypatch.setattr(inputs_module, "_TOLD", 2)
    monkeypatch.setattr(inputs_module, "_ROWS_AT_ONCE", 2)
    words = Words()
    listing = list_inputs([str(tmp_path)], suffixes=AUDIO_SUFFIXES, progress=words)
    assert words.lines == ["listing: 2 inputs so far", "listing: 4 inputs so far"]
    assert [Path(path.decode()).name for path in listing.table["path"].to_pylist()] == [f"{n}.wav" for n in range(5)]

    def locked(root, refuse):
        refuse(root / "locked")
        yield root, [], ["0.wav"]

    monkeypatch.setattr(inputs_module, "walk", locked)
    with pytest.raises(InputError, match="locked: cannot be looked into; change its permissions"):
        list_inputs([str(tmp_path)], suffixes=AUDIO_SUFFIXES)


def test_a_manifest_without_a_path_or_that_no_store_gives_is_named(tmp_path, monkeypatch):
    pytest.importorskip("fsspec")
    (tmp_path / "list.csv").write_text("path,speaker\na.wav,ann\n,bob\n")
    with pytest.raises(InputError, match=r"list\.csv, line 3: no path; name a file on each line"):
        list_inputs([str(tmp_path / "list.csv")], suffixes=AUDIO_SUFFIXES)
    monkeypatch.setattr(Path, "read_bytes", lambda _: (_ for _ in ()).throw(PermissionError(13, "no")))
    with pytest.raises(InputError, match=r"list\.csv: the manifest cannot be read \(PermissionError"):
        list_inputs([str(tmp_path / "list.csv")], suffixes=AUDIO_SUFFIXES)

    def refuses(_):
        raise PermissionError("signature")

    monkeypatch.setattr(inputs_module, "patiently", refuses)
    with pytest.raises(InputError, match=r"memory://x/: cannot be listed \(PermissionError: signature\)"):
        list_inputs(["memory://x/"], suffixes=AUDIO_SUFFIXES)


def test_a_file_of_a_store_that_refuses_is_told_and_no_copy_stays(tmp_path, monkeypatch):
    pytest.importorskip("fsspec")
    from fsspec.implementations.memory import MemoryFileSystem

    def refuses(*_, **__):
        raise PermissionError("signature")

    monkeypatch.setattr(MemoryFileSystem, "get_file", refuses)
    ((_, refused),) = fetch([Input("memory://x/a.wav")], tmp_path / "copies")
    assert isinstance(refused, InputError) and refused.code == "remote"
    assert str(refused) == "memory://x/a.wav: cannot be fetched (PermissionError: signature)"
    assert not list((tmp_path / "copies").iterdir())

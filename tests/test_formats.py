"""Corpora in the formats of other projects: written by us and read by them, and the other way round."""

from __future__ import annotations

import ast
import configparser
import contextlib
import json
import os
import shutil
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from emogram import cli
from emogram.audio import decode
from emogram.corpora import FORMATS, Corpus, convert, corpus_from_datasets, datasets_from_corpus, find_corpus
from emogram.errors import CorpusError, EmogramError, MissingExtraError, OutputError, SettingsError
from emogram.progress import Progress, Task
from emogram.records import DIMENSION_NAMES, Clip

# audformat 1.4 on pandas 3.1
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame:DeprecationWarning")

RATE = 16000
STRETCHES = ("audformat", "emobox", "nkululeko")  # these can say where in a recording a clip is


def noise(path: Path, seed: int, seconds: float = 0.3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).integers(-9000, 9000, round(RATE * seconds)).astype(np.int16)
    soundfile.write(path, samples, RATE)
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A manifest of twelve clips with all that a corpus can tell, and speakers whose names look like numbers."""
    folder = tmp_path_factory.mktemp("source")
    lines = ["path,label,speaker,corpus,gender,language,split,arousal,valence,statement"]
    for number in range(12):
        label = ("happy", "Boredom", "sad")[number % 3]
        speaker = ("01", "02", "03", "")[number // 3]
        part = ("train", "train", "dev", "test2")[number // 3]
        gender = {"01": "male", "02": "female", "03": "male"}.get(speaker, "")
        name = f"Spk {speaker}/Ä clip {number}.wav"
        noise(folder / name, number)
        arousal = f"{number / 4}" if number % 2 else ""
        lines.append(f"{name},{label},{speaker},invented,{gender},de,{part},{arousal},{number - 5},0{number % 2}")
    (folder / "all.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "all.csv"


@pytest.fixture(scope="module")
def corpus(source) -> Corpus:
    return find_corpus(source)


@pytest.fixture(scope="module")
def stretches(source) -> Corpus:
    """Three stretches of one recording and the whole of another."""
    recording = noise(source.parent / "long.wav", 99, seconds=3)
    lines = ["path,label,speaker,start,end", "long.wav,happy,a,0,1", "long.wav,sad,b,1,1.6", "long.wav,sad,a,1.75,3"]
    path = recording.with_name("stretches.csv")
    path.write_text("\n".join([*lines, "Spk 01/Ä clip 0.wav,neutral,a,,"]), encoding="utf-8")
    return find_corpus(path)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOGRAM_CACHE", str(tmp_path / "cache"))


def unparted(corpus: Corpus) -> Corpus:
    clips = [replace(clip, extra={k: v for k, v in clip.extra.items() if k != "split"}) for clip in corpus.clips]
    return replace(corpus, clips=tuple(clips))


def told(clip: Clip) -> tuple[object, ...]:
    """All that is known of a clip, its samples too, but not where it is."""
    samples, rate = decode(clip.path, start_s=clip.start_s, end_s=clip.end_s)
    extra = {name: float(value) if name in DIMENSION_NAMES else value for name, value in clip.extra.items()}
    return (samples.tobytes(), rate, clip.label, clip.speaker, clip.corpus, sorted(extra.items()))


def same(first: Corpus, second: Corpus) -> None:
    assert sorted(map(told, first.clips), key=repr) == sorted(map(told, second.clips), key=repr)
    assert (first.name, first.labels, first.kind) == (second.name, second.labels, second.kind)


# There and back


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("parted", [True, False])
def test_all_that_a_corpus_tells_comes_back(corpus, tmp_path, to, parted):
    given = corpus if parted else unparted(corpus)
    done = convert(given, to, tmp_path / "out")
    assert (done.n_clips, done.failed, done.lost) == (12, (), ())
    back = find_corpus(tmp_path / "out")
    same(given, back)
    assert back.warnings == ()
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["out"]


@pytest.mark.parametrize("to", FORMATS)
def test_each_format_is_forced_by_its_name_and_read_by_no_other(corpus, tmp_path, to):
    convert(corpus, to, tmp_path / "out")
    assert [name for name, form in FORMATS.items() if form.recognise(tmp_path / "out")] == [to]
    same(corpus, find_corpus(tmp_path / "out", name=to))
    # A table of audformat is one that nkululeko reads as well.
    for other in set(FORMATS) - {to, "nkululeko" if to == "audformat" else to}:
        with pytest.raises(CorpusError):
            find_corpus(tmp_path / "out", name=other)


@pytest.mark.parametrize("to", FORMATS)
def test_stretches_keep_their_sound_and_their_times_or_it_is_said(stretches, tmp_path, to):
    done = convert(stretches, to, tmp_path / "out")
    back = find_corpus(tmp_path / "out")
    key = [(clip.label, clip.speaker, told(clip)[0]) for clip in stretches.clips]
    assert sorted((clip.label, clip.speaker, told(clip)[0]) for clip in back.clips) == sorted(key)
    times = sorted((clip.start_s, clip.end_s or 0.0) for clip in back.clips)
    if to in STRETCHES:
        assert times == [(0.0, 0.0), (0.0, 1.0), (1.0, 1.6), (1.75, 3.0)]
        assert done.lost == ()
    else:
        assert set(times) == {(0.0, 0.0)}
        assert len(done.lost) == 1
        assert "begin and end" in done.lost[0]


def test_real_recordings_come_back(corpora_root, tmp_path):
    ravdess = find_corpus(corpora_root / "ravdess")
    some = replace(ravdess, clips=ravdess.clips[::40])
    for to in FORMATS:
        convert(some, to, tmp_path / to)
        same(some, find_corpus(tmp_path / to))


def test_clips_with_numbers_and_no_emotion_come_back_where_a_format_has_such(corpus, tmp_path):
    numbered = [clip for clip in corpus.clips if clip.extra.get("arousal")]
    some = replace(corpus, clips=(replace(numbered[0], label=None), *numbered[1:]))
    none = replace(corpus, labels=(), clips=tuple(replace(clip, label=None) for clip in numbered))
    for to in set(FORMATS) - {"emobox"}:
        for given, name in ((some, "some"), (none, "none")):
            convert(given, to, tmp_path / to / name)
            back = find_corpus(tmp_path / to / name, name=to, unlabelled=True)
            assert sorted(map(told, back.clips), key=repr) == sorted(map(told, given.clips), key=repr)
        assert len(find_corpus(tmp_path / to / "some").clips) == len(numbered) - 1
    done = convert(some, "emobox", tmp_path / "emobox")
    clip = some.clips[0]
    assert done.failed == ((clip, f"{clip.path}: has no emotion, which EmoBox has for every clip"),)


def test_a_part_of_one_name_only_is_not_forgotten(corpus, tmp_path):
    clips = tuple(replace(clip, extra={**clip.extra, "split": "train"}) for clip in corpus.clips)
    for to in FORMATS:
        convert(replace(corpus, clips=clips), to, tmp_path / to)
        assert {clip.extra.get("split") for clip in find_corpus(tmp_path / to).clips} == {"train"}


def test_clips_of_no_part_beside_others_stay_of_none(corpus, tmp_path):
    first = corpus.clips[0]
    given = replace(corpus, clips=(*unparted(replace(corpus, clips=(first,))).clips, *corpus.clips[1:]))
    for to in FORMATS:
        convert(given, to, tmp_path / to)
        same(given, find_corpus(tmp_path / to))


def test_several_corpora_stay_told_apart(corpus, tmp_path):
    clips = [replace(clip, corpus="other" if place % 2 else clip.corpus) for place, clip in enumerate(corpus.clips)]
    for to in FORMATS:
        convert(replace(corpus, clips=tuple(clips)), to, tmp_path / to)
        back = find_corpus(tmp_path / to)
        assert sorted(map(told, back.clips), key=repr) == sorted(map(told, clips), key=repr)


# What their own readers say


@pytest.fixture
def hugging_face(tmp_path, monkeypatch):
    """The library, without network and with a cache of its own."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    return pytest.importorskip("datasets")


@pytest.fixture
def without_encoder(monkeypatch):
    """Stand in for torchcodec, which datasets 4 imports, and does not use, where it is given a path."""
    encoders = types.ModuleType("torchcodec.encoders")
    encoders.AudioEncoder = object
    monkeypatch.setitem(sys.modules, "torchcodec", types.ModuleType("torchcodec"))
    monkeypatch.setitem(sys.modules, "torchcodec.encoders", encoders)


def test_hugging_face_loads_an_audiofolder(corpus, tmp_path, hugging_face, without_encoder):
    convert(corpus, "audiofolder", tmp_path / "out")
    for name, given in (("audiofolder", {"data_dir": str(tmp_path / "out")}), (str(tmp_path / "out"), {})):
        loaded = hugging_face.load_dataset(name, cache_dir=str(tmp_path / f"cache {len(given)}"), **given)
        if not given:  # by the card in the folder
            assert {part: len(rows) for part, rows in loaded.items()} == {"train": 6, "validation": 3, "test2": 3}
        loaded = loaded.cast_column("audio", hugging_face.Audio(decode=False))
        rows = {Path(row["audio"]["path"]).stem: row for part in loaded.values() for row in part}
        assert len(rows) == 12
        for clip in corpus.clips:
            row = rows[clip.path.stem]
            assert (row["label"], row["speaker"], row["corpus"]) == (clip.label, clip.speaker or "", "invented")
            assert (row["statement"], row["gender"]) == (clip.extra["statement"], clip.extra.get("gender", ""))
            assert row["valence"] == float(clip.extra["valence"])
            assert Path(row["audio"]["path"]).read_bytes() == clip.path.read_bytes()


def test_hugging_face_loads_a_saved_folder(corpus, tmp_path, hugging_face):
    convert(corpus, "datasets", tmp_path / "out")
    loaded = hugging_face.load_from_disk(str(tmp_path / "out"))
    assert {part: len(rows) for part, rows in loaded.items()} == {"train": 6, "validation": 3, "test2": 3}
    assert loaded["train"].features["label"].names == ["happy", "sad", "Boredom"]
    assert isinstance(loaded["train"].features["audio"], hugging_face.Audio)
    row = loaded.cast_column("audio", hugging_face.Audio(decode=False))["validation"][1]
    clip = next(clip for clip in corpus.clips if clip.path.name == row["audio"]["path"])
    assert row["audio"]["bytes"] == clip.path.read_bytes()
    assert loaded["train"].features["label"].int2str(row["label"]) == clip.label
    assert (row["speaker"], row["arousal"], row["split"]) == ("03", float(clip.extra["arousal"]), "dev")


def test_audformat_loads_a_database(corpus, stretches, tmp_path):
    audformat = pytest.importorskip("audformat")
    convert(corpus, "audformat", tmp_path / "out")
    database = audformat.Database.load(str(tmp_path / "out"))
    frame = database.get("emotion", ["speaker", "gender", "valence"])
    assert len(frame) == 12
    assert database.schemes["speaker"].labels == ["01", "02", "03"]
    assert {split: each.type for split, each in database.splits.items()} == {
        "train": "train",
        "dev": "dev",
        "test2": "test",
    }
    for clip in corpus.clips:
        row = frame.loc[f"audio/{clip.path.parent.name}/{clip.path.name}"]
        assert row["emotion"] == clip.label
        assert row["valence"] == float(clip.extra["valence"])
        if clip.speaker:
            assert (row["speaker"], row["gender"]) == (clip.speaker, clip.extra["gender"])
    assert len(database.get("emotion", splits="dev")) == 3
    convert(stretches, "audformat", tmp_path / "cut")
    index = audformat.Database.load(str(tmp_path / "cut")).get("emotion").index
    assert [(start.total_seconds(), str(end)[7:15]) for _, start, end in index][-2:] == [
        (1.0, "00:00:01"),
        (1.75, "00:00:03"),
    ]


def test_what_each_speaker_has_one_of_is_told_of_the_speakers(corpus, tmp_path):
    audformat = pytest.importorskip("audformat")
    known = replace(corpus, clips=tuple(clip for clip in corpus.clips if clip.speaker))
    convert(known, "audformat", tmp_path / "out")
    database = audformat.Database.load(str(tmp_path / "out"))
    assert database.schemes["speaker"].labels["02"] == {"gender": "female", "language": "de"}
    assert "gender" not in database.schemes
    assert list(database.get("gender")["gender"].value_counts().to_dict().items()) == [("male", 6), ("female", 3)]
    same(known, find_corpus(tmp_path / "out"))


def nkululeko_files(folder: Path) -> tuple[configparser.ConfigParser, list[str]]:
    """Return the experiment, and the files as `nkululeko.data.dataset_csv.Dataset_CSV.load` (1.14) finds them."""
    audformat = pytest.importorskip("audformat")
    experiment = configparser.ConfigParser()
    experiment.read(folder / "exp.ini")
    data = experiment["DATA"]
    (name,) = ast.literal_eval(data["databases"])
    assert data[f"{name}.type"] == "csv"
    table = data[name]  # relative to where it is run: in the folder
    frame = audformat.utils.read_csv(str(folder / table))
    assert {"emotion", "speaker", "corpus"} <= set(frame.columns)
    root = "" if ast.literal_eval(data[f"{name}.absolute_path"]) else str(folder)
    return experiment, [os.path.join(root, "./", file) for file in frame.index.get_level_values("file")]  # noqa: PTH118


@pytest.mark.parametrize("sounds", ["reference", "copy"])
def test_nkululeko_finds_its_files_and_parts(corpus, tmp_path, sounds):
    clips = [
        replace(clip, extra={**clip.extra, "split": clip.extra["split"].removesuffix("2")}) for clip in corpus.clips
    ]
    convert(replace(corpus, clips=tuple(clips)), "nkululeko", tmp_path / "out", sounds=sounds)
    experiment, files = nkululeko_files(tmp_path / "out")
    assert [Path(file).read_bytes() for file in files] == [clip.path.read_bytes() for clip in clips]
    data = experiment["DATA"]
    assert (data["invented.split_strategy"], data["invented.split_column"]) == ("column", "split")
    assert [data[f"invented.{part}_vals"] for part in ("train", "dev", "test")] == ["['train']", "['dev']", "['test']"]
    assert ast.literal_eval(data["labels"]) == ["happy", "sad", "Boredom"]


def test_nkululeko_reads_times_as_seconds(stretches, tmp_path):
    audformat = pytest.importorskip("audformat")
    convert(stretches, "nkululeko", tmp_path / "out")
    (table,) = (tmp_path / "out").glob("*.csv")
    index = audformat.utils.read_csv(str(table)).index
    assert [start.total_seconds() for start in index.get_level_values("start")] == [0.0, 0.0, 1.0, 1.75]
    assert [str(end)[7:15] for end in index.get_level_values("end")] == ["", "00:00:01", "00:00:01", "00:00:03"]


def test_emobox_finds_what_its_reader_wants(corpus, tmp_path, monkeypatch):
    """As `EmoBox/EmoDataset.py` goes: run in the folder, folds by their names, emotions through the map."""
    convert(corpus, "emobox", tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    labels = json.loads(Path("data/invented/label_map.json").read_text(encoding="utf-8"))
    assert set(labels.values()) == set(corpus.labels)
    keys = []
    for part, n_clips in (("train", 6), ("valid", 3), ("test", 3)):
        stem = Path(f"data/invented/fold_1/invented_{part}_fold_1")
        rows = [json.loads(line) for line in stem.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()]
        by_key = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))  # its recipe for SpeechBrain
        assert [row["key"] for row in rows] == list(by_key)
        assert len(rows) == n_clips
        for row in rows:
            assert row["wav"].startswith("downloads/invented/")
            assert Path(row["wav"]).is_file()
            assert (row["dataset"], row["type"], row["task"], row["channel"]) == ("invented", "raw", "category", 1)
            assert (row["sample_rate"], row["num_frame"], row["length"]) == (RATE, 4800, 0.3)
            assert row["emo"] in labels
            assert by_key[row["key"]]["wav"] == row["wav"]
            assert " " not in row["key"]
            keys.append(row["key"])
    assert len(set(keys)) == 12


def test_emobox_is_told_both_ends_of_a_stretch(stretches, tmp_path):
    convert(stretches, "emobox", tmp_path / "out")
    (table,) = (tmp_path / "out").glob("data/*/*.jsonl")
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    times = [(row.get("start_time"), row.get("end_time"), row["length"], row["num_frame"]) for row in rows]
    assert times[0] == (None, None, 0.3, 4800)
    assert [time[:2] for time in times[1:]] == [(0.0, 1.0), (1.0, 1.6), (1.75, 3.0)]
    assert [time[3] for time in times[1:]] == [16000, 9600, 20000]


# What they write, as they publish it


def write_emobox(root: Path) -> Path:
    """A corpus as EmoBox publishes it: no speakers in the lines, labels to be merged, one official fold."""
    folder = root / "data" / "meld"
    folder.mkdir(parents=True)
    rows = []
    for number, (emotion, part) in enumerate([("exc", "train"), ("hap", "train"), ("sad", "test"), ("neu", "valid")]):
        noise(root / "downloads" / "meld" / f"dia{number}.wav", number)
        rows.append(
            {"key": f"meld-dia{number}", "dataset": "meld", "wav": f"downloads/meld/dia{number}.wav", "type": "raw"}
            | {"sample_rate": 16000, "num_frame": 4800.0, "task": "category", "length": 0.3, "emo": emotion}
            | {"channel": 1, "part": part}
        )
    for part in ("train", "test", "valid", None):
        chosen = [json.dumps({**row, "part": None}) + "\n" for row in rows if part in (row["part"], None)]
        path = folder / (f"fold_1/meld_{part}_fold_1.jsonl" if part else "meld.jsonl")
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(chosen))
    labels = {"exc": "Happy", "hap": "Happy", "sad": "Sad", "neu": "Neutral"}
    (folder / "label_map.json").write_text(json.dumps(labels))
    (folder / "data.seg.wrd.stm").write_text(
        "meld-dia0 1 The-Interviewer 0 0.3 <id=meld-dia0,lang=en,spk=The-Interviewer,emotion=exc> exc\n"
        "meld-dia1 1 Ross 0 0.3 <id=meld-dia1,lang=en,spk=Ross,emotion=hap> hap\n"
    )
    return folder


@pytest.mark.parametrize("named", [".", "data/meld", "data/meld/meld.jsonl"])
def test_a_corpus_of_emobox_has_its_speakers_parts_and_merged_labels(tmp_path, named):
    write_emobox(tmp_path)
    found = find_corpus(tmp_path / named)
    assert [(clip.label, clip.speaker, dict(clip.extra)) for clip in found.clips] == [
        ("happy", "The-Interviewer", {"language": "en", "split": "train"}),
        ("happy", "Ross", {"language": "en", "split": "train"}),
        ("sad", None, {"split": "test"}),
        ("neutral", None, {"split": "valid"}),
    ]
    assert (found.name, found.warnings) == ("meld", ())


def test_a_fold_of_emobox_is_read_alone_and_several_are_left_to_the_user(tmp_path):
    folder = write_emobox(tmp_path)
    (folder / "fold_2").mkdir()
    (folder / "fold_1" / "meld_test_fold_1.jsonl").rename(folder / "fold_2" / "meld_test_fold_2.jsonl")
    found = find_corpus(folder)
    assert "split" not in found.clips[0].extra
    assert "2 folds, none of which was used; give one of them" in found.warnings[0]
    assert [clip.extra["split"] for clip in find_corpus(folder / "fold_1").clips] == ["train", "train", "valid"]
    assert [clip.label for clip in find_corpus(folder / "fold_2" / "meld_test_fold_2.jsonl").clips] == ["sad"]


def test_a_database_of_others_is_joined_from_its_tables(tmp_path):
    audformat = pytest.importorskip("audformat")
    database = audformat.Database("theirs", license="CC0-1.0")
    database.schemes["emotion"] = audformat.Scheme(labels=["anger", "joy"])
    database.schemes["speaker"] = audformat.Scheme(labels={3: {"gender": "female", "age": 31}})
    database.schemes["duration"] = audformat.Scheme("time")
    files = [f"wav/{noise(tmp_path / 'wav' / f'{number}.wav', number).name}" for number in range(3)]
    emotions = database["emotion"] = audformat.Table(audformat.filewise_index(files))
    emotions["emotion"] = audformat.Column(scheme_id="emotion")
    emotions["emotion"].set(["anger", "joy", None])
    about = database["files"] = audformat.Table(audformat.filewise_index(files))
    about["speaker"] = audformat.Column(scheme_id="speaker")
    about["speaker"].set([3, 3, 3])
    database.splits["test"] = audformat.Split("test")
    gold = database["emotion.test"] = audformat.Table(audformat.filewise_index(files[1:2]), split_id="test")
    gold["emotion"] = audformat.Column(scheme_id="emotion")
    gold["emotion"].set(["joy"])
    database.save(str(tmp_path))
    found = find_corpus(tmp_path)
    assert [(clip.label, clip.speaker, dict(clip.extra)) for clip in found.clips] == [
        ("angry", "3", {"gender": "female", "age": "31"}),
        ("happy", "3", {"gender": "female", "age": "31", "split": "test"}),
    ]
    # audformat gives no row for a file without an emotion
    assert [clip.path.name for clip in find_corpus(tmp_path / "db.emotion.test.parquet").clips] == ["1.wav"]

    gold["emotion"].set(["anger"])
    database.save(str(tmp_path), storage_format="csv")
    with pytest.raises(CorpusError, match=r"tables contradict each other .* give the file of one of them: emotion"):
        find_corpus(tmp_path)
    assert [clip.label for clip in find_corpus(tmp_path / "db.emotion.test.csv").clips] == ["angry"]


def test_a_table_of_nkululeko_is_found_where_its_paths_begin(tmp_path):
    for number in (1, 2):
        noise(tmp_path / "data" / "mine" / "wav" / f"{number}.wav", number, seconds=2)
    table = tmp_path / "data" / "mine" / "mine_train.csv"
    table.write_text(
        "file,start,end,emotion,speaker,gender\n"
        "./data/mine/wav/1.wav,0 days 00:00:00.500000,0 days 00:00:01.5,anger,1,male\n"
        "./data/mine/wav/2.wav,0 days,0 days 00:00:02,joy,2,female\n".replace("0 days,", "0 days 00:00:00,")
    )
    table.with_name("mine.ini").write_text(
        "[EXP]\nroot=./\n[DATA]\ndatabases = ['one', 'gone']\none = ./data/mine/mine_train.csv\none.type = csv\n"
        "one.split_strategy = train\ngone = ./data/mine/gone.csv\ntarget = emotion\n"
    )
    for path, split in ((table, {}), (table.parent, {"split": "train"})):
        found = find_corpus(path)
        assert [(clip.label, clip.start_s, clip.end_s, clip.extra) for clip in found.clips] == [
            ("angry", 0.5, 1.5, {**split, "gender": "male"}),
            ("happy", 0.0, 2.0, {**split, "gender": "female"}),
        ]


def test_an_audiofolder_of_others_in_csv(tmp_path):
    for part in ("train", "test-clean"):
        noise(tmp_path / part / "a.wav", 1)
        (tmp_path / part / "metadata.csv").write_text('file_name,Emotion,speaker_id,text\na.wav,anger,07,"no, no"\n')
    found = find_corpus(tmp_path)
    assert [(clip.label, clip.speaker, clip.extra) for clip in found.clips] == [
        ("angry", "07", {"text": "no, no"}),
        ("angry", "07", {"split": "train", "text": "no, no"}),
    ]
    noise(tmp_path / "train" / "b.wav", 2)
    assert find_corpus(tmp_path).warnings == ("1 sound file in no metadata left out: train/b.wav",)


def test_class_folders_in_parts_keep_them(tmp_path):
    for name in ("train/angry/a.wav", "validation/angry/b.wav", "test/Happy/c.wav"):
        noise(tmp_path / name, 1)
    found = find_corpus(tmp_path)
    assert {clip.path.stem: clip.extra["split"] for clip in found.clips} == {
        "a": "train",
        "b": "validation",
        "c": "test",
    }


# Objects of `datasets`


def sound_rows(folder: Path, n: int) -> list[dict[str, object]]:
    return [{"bytes": noise(folder / f"{number}.wav", number).read_bytes(), "path": None} for number in range(n)]


def dataset_of(library, columns, features):
    """Data with sound, which that library encodes only with torchcodec, so that Arrow does."""
    import pyarrow as pa
    from datasets.table import InMemoryTable

    features = library.Features(features)
    table = pa.table(columns, schema=features.arrow_schema)
    return library.Dataset(InMemoryTable(table), info=library.DatasetInfo(features=features))


def test_a_dataset_becomes_a_corpus_and_a_dataset_again(tmp_path, hugging_face):
    features = {
        "sound": hugging_face.Audio(),
        "emotion": hugging_face.ClassLabel(names=["anger", "joy"]),
        "speaker_id": hugging_face.Value("int64"),
        "Arousal": hugging_face.Value("float32"),
        "words": hugging_face.List(hugging_face.Value("string")),
    }
    columns = {
        "sound": sound_rows(tmp_path, 3),
        "emotion": [1, 0, -1],
        "speaker_id": [7, None, 8],
        "Arousal": [2.5, None, 3.0],
        "words": [["a", "b"], [], None],
    }
    data = dataset_of(hugging_face, columns, features)
    found = corpus_from_datasets(data, name="theirs")
    assert [(clip.label, clip.speaker, clip.corpus, clip.extra) for clip in found.clips] == [
        ("happy", "7", "theirs", {"arousal": "2.5"}),
        ("angry", None, "theirs", {}),
    ]
    assert found.warnings == ("1 row without an emotion left out",)  # -1 is ClassLabel's "unlabelled"
    assert [clip.path.read_bytes() for clip in found.clips] == [row["bytes"] for row in columns["sound"][:2]]
    assert found.root.is_relative_to(tmp_path / "cache")

    written = {path: path.stat().st_mtime_ns for path in found.root.rglob("*.wav")}
    assert corpus_from_datasets(data, name="theirs") == found
    assert {path: path.stat().st_mtime_ns for path in found.root.rglob("*.wav")} == written  # not a second time

    again = datasets_from_corpus(found)
    assert again.features["label"].names == ["angry", "happy"]
    assert again["speaker"][:] == ["7", None]
    assert again["arousal"][:] == [2.5, None]
    same(found, corpus_from_datasets(again))


def test_parts_of_a_dataset_dict_and_sound_on_the_disk(corpus, tmp_path, hugging_face):
    data = datasets_from_corpus(corpus)
    assert isinstance(data, hugging_face.DatasetDict)
    back = corpus_from_datasets(data, folder=tmp_path / "mine")
    assert {clip.path for clip in back.clips} == {clip.path for clip in corpus.clips}  # nothing was copied
    same(corpus, back)
    assert not (tmp_path / "mine").exists()
    assert isinstance(datasets_from_corpus(unparted(corpus)), hugging_face.Dataset)


def test_stretches_are_cut_into_a_dataset(stretches, tmp_path, hugging_face):
    back = corpus_from_datasets(datasets_from_corpus(stretches), name=stretches.name, folder=tmp_path / "mine")
    assert sorted(told(clip)[0] for clip in back.clips) == sorted(told(clip)[0] for clip in stretches.clips)


def test_names_in_a_dataset_do_not_lead_out_of_its_folder(tmp_path, hugging_face):
    rows = [
        {**row, "path": name}
        for row, name in zip(sound_rows(tmp_path, 3), ("../../x.wav", "/x.wav", ".."), strict=True)
    ]
    features = {"audio": hugging_face.Audio(), "label": hugging_face.Value("string")}
    data = dataset_of(hugging_face, {"audio": rows, "label": ["joy"] * 3}, features)
    found = corpus_from_datasets(data, folder=tmp_path / "mine")
    assert {clip.path.parent for clip in found.clips} == {tmp_path / "mine"}
    assert len({clip.path for clip in found.clips}) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.remove_columns("audio"), r"part train: no column of the type Audio; found label"),
        (lambda data: data.rename_column("label", "mood"), r"part train: no column for the emotion, label or emotion"),
        (lambda data: data.to_iterable_dataset(), r"part train: is streamed; expected a Dataset"),
    ],
)
def test_a_dataset_that_lacks_something_is_refused_by_part(tmp_path, hugging_face, change, message):
    features = {"audio": hugging_face.Audio(), "label": hugging_face.Value("string")}
    data = dataset_of(hugging_face, {"audio": sound_rows(tmp_path, 1), "label": ["joy"]}, features)
    with pytest.raises(CorpusError, match=message):
        corpus_from_datasets(hugging_face.DatasetDict({"train": change(data)}), name="theirs")


def test_a_row_without_sound_is_refused_by_number(tmp_path, hugging_face):
    rows = [*sound_rows(tmp_path, 1), {"bytes": None, "path": None}]
    features = {"audio": hugging_face.Audio(), "mood": hugging_face.Value("string")}
    data = dataset_of(hugging_face, {"audio": rows, "mood": ["joy", "joy"]}, features)
    with pytest.raises(CorpusError, match=r"theirs, row 1: has no sound"):
        corpus_from_datasets(data, name="theirs", label="mood")
    with pytest.raises(CorpusError, match=r"no column for the emotion, feeling; found audio, mood"):
        corpus_from_datasets(data, label="feeling")


# Damaged


def edited(path: Path, old: str, new: str, count: int = 1) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, count), encoding="utf-8")


TABLES = {
    "audiofolder": "train/metadata.jsonl",
    "audformat": "db.emotion.train.csv",
    "emobox": "data/invented/invented.jsonl",
    "nkululeko": "invented.csv",
}


def made(corpus: Corpus, to: str, out: Path) -> Path:
    convert(corpus, to, out, sounds="copy")
    return out / TABLES[to]


@pytest.mark.parametrize("to", TABLES)
def test_a_file_that_is_not_there_is_named_with_its_row(corpus, tmp_path, to):
    table = made(corpus, to, tmp_path / "out")
    (gone,) = [path for path in (tmp_path / "out").rglob("*.wav") if path.stem.endswith("clip 1")]
    gone.unlink()
    lines = table.read_text(encoding="utf-8").encode().decode("unicode_escape" if to == "audiofolder" else "utf-8")
    (number,) = [number for number, line in enumerate(lines.splitlines(), start=1) if "clip 1.wav" in line]
    row = f"{gone.parent.name}/{gone.name}" if to == "audformat" else f"line {number}"
    with pytest.raises(CorpusError, match=rf"{row}: the file .*clip 1\.wav is not there$") as refused:
        find_corpus(tmp_path / "out")
    assert str(table if to != "audformat" else table.parent / "db.yaml") in str(refused.value)


@pytest.mark.parametrize("to", TABLES)
def test_a_row_that_comes_twice_is_named(corpus, tmp_path, to):
    table = made(corpus, to, tmp_path / "out")
    lines = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join([*lines, lines[-1]]) + "\n", encoding="utf-8")
    words = "is in it twice; expected it once" if to == "audformat" else r"line \d+: the same clip as .*, line \d+ "
    with pytest.raises(CorpusError, match=words):
        find_corpus(tmp_path / "out")


@pytest.mark.parametrize("to", TABLES)
@pytest.mark.parametrize("outside", ["../outside.wav", "a/../../outside.wav", "file:///etc/passwd"])
def test_a_path_that_leads_out_of_the_folder_is_refused(corpus, tmp_path, to, outside):
    table = made(corpus, to, tmp_path / "out")
    noise(tmp_path / "outside.wav", 1)
    first = json.loads(table.read_text(encoding="utf-8").splitlines()[0]) if table.suffix == ".jsonl" else {}
    name = {"audiofolder": "file_name", "emobox": "wav"}.get(to)
    own = first[name] if name else table.read_text(encoding="utf-8").splitlines()[1].split(",")[0]
    edited(table, json.dumps(own)[1:-1] if to == "audiofolder" else own, outside)
    with pytest.raises(CorpusError, match=rf"'{outside}' leads out of the folder; expected a path below"):
        find_corpus(tmp_path / "out")


def test_absolute_paths_are_refused_where_a_format_has_none(corpus, tmp_path):
    stray = noise(tmp_path / "stray.wav", 1)
    for to in ("audiofolder", "audformat"):
        table = made(corpus, to, tmp_path / to)
        text = table.read_text(encoding="utf-8").splitlines()
        own = json.loads(text[0])["file_name"] if to == "audiofolder" else text[1].split(",")[0]
        edited(table, json.dumps(own)[1:-1] if to == "audiofolder" else own, str(stray))
        with pytest.raises(CorpusError, match="leads out of the folder"):
            find_corpus(tmp_path / to)


@pytest.mark.parametrize(
    ("to", "old", "new", "message"),
    [
        ("audiofolder", '"label"', '"feeling"', r"metadata\.jsonl: no column for the label; expected one of label"),
        ("emobox", '"emo"', '"feeling"', r"invented\.jsonl: no column for the label; expected one of emo, found key"),
        ("nkululeko", "emotion", "feeling", r"no CSV file in it with the columns file and emotion"),
    ],
)
def test_a_table_without_emotions_is_refused(corpus, tmp_path, to, old, new, message):
    for path in (tmp_path / "out", made(corpus, to, tmp_path / "out")):
        for table in tmp_path.rglob(Path(TABLES[to]).name):
            table.write_text(table.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
        with pytest.raises(CorpusError, match=message if path.is_dir() else "no column for the label"):
            find_corpus(path if to != "audiofolder" else tmp_path / "out", name=to)


def test_a_line_that_is_no_json_is_named(corpus, tmp_path):
    table = made(corpus, "emobox", tmp_path / "out")
    edited(table, '\n{"key"', '\n{"key')
    with pytest.raises(CorpusError, match=r"invented\.jsonl, line 2: no JSON object"):
        find_corpus(tmp_path / "out")


def test_an_emotion_that_emobox_does_not_map_is_named(corpus, tmp_path):
    table = made(corpus, "emobox", tmp_path / "out")
    edited(table, '"emo": "sad"', '"emo": "exc"')
    with pytest.raises(CorpusError, match=r"line \d+: the emotion 'exc' is not in .*label_map\.json; add it there"):
        find_corpus(tmp_path / "out")
    (table.parent / "label_map.json").write_text("[]")
    with pytest.raises(CorpusError, match=r"label_map\.json: not readable; expected a JSON object"):
        find_corpus(tmp_path / "out")


def test_a_pickled_table_is_refused(corpus, tmp_path):
    table = made(corpus, "audformat", tmp_path / "out")
    table.with_name("db.emotion.train.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(CorpusError, match=r"db\.emotion\.train\.pkl: a pickled table, which could run any code"):
        find_corpus(tmp_path / "out")


def test_a_header_that_would_run_code_is_refused(corpus, tmp_path):
    table = made(corpus, "audformat", tmp_path / "out")
    ran = tmp_path / "ran"
    edited(table.with_name("db.yaml"), "name: ", f"meta: !!python/object/apply:os.mkdir ['{ran}']\nname: ")
    with pytest.raises(CorpusError, match=r"db\.yaml: no plain YAML \(could not determine a constructor"):
        find_corpus(tmp_path / "out")
    assert not ran.exists()


@pytest.mark.parametrize("text", ["", "[]", "name: x", "name: x\nsource: y\nusage: other\n", "\tx"])
def test_a_header_that_is_none_is_refused(tmp_path, text):
    pytest.importorskip("audformat")
    (tmp_path / "db.yaml").write_text(text)
    with pytest.raises(CorpusError, match=r"db\.yaml"):
        find_corpus(tmp_path)


def test_a_saved_folder_that_lost_its_data_is_refused(corpus, tmp_path, hugging_face):
    convert(corpus, "datasets", tmp_path / "out")
    (tmp_path / "out" / "train" / "data-00000-of-00001.arrow").write_bytes(b"no arrow")
    with pytest.raises(CorpusError, match=r"out: not readable as a saved dataset"):
        find_corpus(tmp_path / "out")
    (tmp_path / "out" / "train" / "state.json").write_text("{")
    with pytest.raises(CorpusError, match=r"out: not readable as a saved dataset"):
        find_corpus(tmp_path / "out")


@pytest.mark.parametrize(("to", "module"), [("datasets", "datasets"), ("audformat", "audformat")])
def test_a_missing_extra_is_told_with_its_install_line(corpus, tmp_path, monkeypatch, to, module):
    convert(corpus, to, tmp_path / "out")
    monkeypatch.setitem(sys.modules, module, None)
    for attempt in (lambda: find_corpus(tmp_path / "out"), lambda: convert(corpus, to, tmp_path / "more")):
        with pytest.raises(MissingExtraError, match=rf"pip install .*\[{to}\]'"):
            attempt()
    assert not (tmp_path / "more").exists()


# Converting


@pytest.mark.parametrize("to", ["audiofolder", "audformat", "emobox", "nkululeko"])
def test_linked_sound_is_the_same_file_and_a_copy_is_not(corpus, tmp_path, to):
    for sounds, links in (("link", 2), ("copy", 1)):
        done = convert(corpus, to, tmp_path / sounds, sounds=sounds)
        assert done.sounds == sounds
        files = list((tmp_path / sounds).rglob("*.wav"))
        assert len(files) == 12
        assert {path.stat().st_nlink for path in files} == {links}
        shutil.rmtree(tmp_path / sounds)


@pytest.mark.parametrize("to", ["emobox", "nkululeko"])
def test_references_name_the_files_where_they_are(corpus, tmp_path, to):
    convert(corpus, to, tmp_path / "out", sounds="reference")
    assert not list((tmp_path / "out").rglob("*.wav"))
    assert {clip.path for clip in find_corpus(tmp_path / "out").clips} == {clip.path for clip in corpus.clips}


def test_sound_comes_only_in_ways_that_a_format_has(corpus, tmp_path):
    with pytest.raises(SettingsError, match="--sounds reference: audiofolder takes copy or link"):
        convert(corpus, "audiofolder", tmp_path / "out", sounds="reference")
    with pytest.raises(SettingsError, match="--sounds copy: datasets holds the sound within"):
        convert(corpus, "datasets", tmp_path / "out", sounds="copy")
    with pytest.raises(SettingsError, match="unknown format 'lhotse'; expected one of audiofolder, datasets"):
        convert(corpus, "lhotse", tmp_path / "out")
    with pytest.raises(CorpusError, match="holds pictures"):
        convert(replace(corpus, kind="picture"), "emobox", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_never_overwritten(corpus, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(SettingsError, match="out: is there already; name a new folder"):
        convert(corpus, "nkululeko", tmp_path / "out")
    (tmp_path / "out" / "mine.txt").unlink()
    convert(corpus, "nkululeko", tmp_path / "out")
    assert (tmp_path / "out" / "exp.ini").is_file()


class Stopping(Progress):
    """Stops in the middle, as Ctrl-C does."""

    def task(self, what, total, *, unit="clips"):
        class Stop(Task):
            steps = 0

            def advance(self, steps=1, *, note=""):
                self.steps += steps
                if self.steps > 6:
                    raise KeyboardInterrupt

        return contextlib.nullcontext(Stop())


@pytest.mark.parametrize("to", FORMATS)
def test_a_conversion_that_is_stopped_leaves_nothing(corpus, tmp_path, to):
    with pytest.raises(KeyboardInterrupt):
        convert(corpus, to, tmp_path / "out", progress=Stopping())
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []
    half = tmp_path / ".out-converting" / "made" / "audio"  # as after kill -9
    half.mkdir(parents=True)
    (half / "half.wav").touch()
    convert(corpus, to, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["out"]
    assert not list((tmp_path / "out").rglob("half.wav"))


def test_two_do_not_convert_into_one_folder(corpus, tmp_path):
    class Second(Progress):
        def task(self, what, total, *, unit="clips"):
            with pytest.raises(OutputError, match="another process converts into it"):
                convert(corpus, "nkululeko", tmp_path / "out")
            return Progress().task(what, total)

    convert(corpus, "nkululeko", tmp_path / "out", progress=Second())
    same(corpus, find_corpus(tmp_path / "out"))


@pytest.mark.parametrize("to", FORMATS)
def test_clips_whose_sound_is_gone_are_named_and_the_others_done(corpus, stretches, tmp_path, to):
    lost = replace(corpus.clips[3], path=tmp_path / "gone.wav")
    beyond = replace(stretches.clips[-1], start_s=5.0, end_s=6.0)
    given = replace(corpus, clips=(*corpus.clips[:3], lost, *corpus.clips[4:], beyond))
    done = convert(given, to, tmp_path / "out")
    assert done.failed[0] == (lost, f"{lost.path}: no such file")
    cuts = to in ("audiofolder", "datasets", "emobox")  # which look into the file
    assert [clip for clip, _ in done.failed[1:]] == ([beyond] if cuts else [])
    assert done.n_clips == len(find_corpus(tmp_path / "out").clips) == 12 - cuts
    with pytest.raises(EmogramError, match=r"nothing could be converted; the first of 1 clips: .*gone\.wav: no such"):
        convert(replace(corpus, clips=(lost,)), to, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_sound_that_does_not_tell_its_length_is_left_out_of_emobox(corpus, tmp_path):
    damaged = tmp_path / "damaged.wav"
    damaged.write_bytes(b"RIFF no sound")
    given = replace(corpus, clips=(*corpus.clips, Clip(damaged, "sad", corpus="invented")))
    done = convert(given, "emobox", tmp_path / "out")
    assert [clip.path for clip, _ in done.failed] == [damaged]
    same(corpus, find_corpus(tmp_path / "out"))


def test_what_a_format_cannot_hold_is_said(corpus, tmp_path):
    clips = tuple(replace(clip, extra={**clip.extra, "file": "x", "Start": "y"}) for clip in corpus.clips)
    done = convert(replace(corpus, clips=clips), "nkululeko", tmp_path / "out")
    assert done.lost == (
        "the column 'file': the format has one of that name",
        "the column 'Start': the format has one of that name",
    )
    same(corpus, find_corpus(tmp_path / "out"))


def test_files_of_one_name_and_odd_names_keep_apart(tmp_path):
    places = ["a/x.wav", "b/x.wav", "a/X.WAV", "b/ü 'q' (1).wav"]
    clips = tuple(
        Clip(noise(tmp_path / "in" / place, number), "sad", "s", "invented") for number, place in enumerate(places)
    )
    other = Clip(noise(tmp_path / "x.wav", 9), "a/b", "s", "invented")  # not below the root
    given = Corpus("invented", "audio", tmp_path / "in", (*clips, other), ("sad", "a/b"), {"invented": "unknown"})
    for to in FORMATS:
        convert(given, to, tmp_path / to)
        assert sorted(map(told, find_corpus(tmp_path / to).clips)) == sorted(map(told, given.clips))


def test_numbers_are_numbers_only_where_all_are(corpus, tmp_path):
    clips = (replace(corpus.clips[0], extra={"arousal": "high"}), replace(corpus.clips[1], extra={"arousal": "2.50"}))
    for to in FORMATS:
        convert(replace(corpus, clips=clips), to, tmp_path / to)
        assert [clip.extra["arousal"] for clip in find_corpus(tmp_path / to).clips] == ["high", "2.5"]


# The command


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    code = cli.run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_command_says_what_was_done_and_what_is_lost(stretches, tmp_path, capsys):
    code, out, err = run(capsys, "corpora", "convert", stretches.root, "--to", "audiofolder", "--out", tmp_path / "out")
    assert (code, out) == (0, "")
    assert "4 clips as audiofolder, sound copied" in err
    assert "lost: where in their recordings clips begin and end" in err
    assert f'to use it: datasets.load_dataset("audiofolder", data_dir="{tmp_path / "out"}")' in " ".join(err.split())
    code, out, err = run(capsys, "corpora", "describe", tmp_path / "out", "--no-plots", "--json", "--workers", 1)
    assert code == 0
    assert json.loads(out)["by_label"] == {"happy": 1, "neutral": 1, "sad": 2}


def test_the_command_in_json_and_on_failure(corpus, source, tmp_path, capsys):
    folder = shutil.copytree(source.parent, tmp_path / "in")
    (folder / "Spk 01" / "Ä clip 1.wav").write_bytes(b"no sound")
    code, out, _ = run(
        capsys, "corpora", "convert", folder / "all.csv", "--to", "emobox", "--out", tmp_path / "out", "--json"
    )
    (told_of,) = map(json.loads, out.splitlines())
    assert (code, told_of["clips"], told_of["format"], told_of["sounds"]) == (3, 11, "emobox", "copy")
    assert [Path(each["file"]).name for each in told_of["failed"]] == ["Ä clip 1.wav"]
    code, _, err = run(capsys, "corpora", "convert", folder / "all.csv", "--to", "emobox", "--out", tmp_path / "out")
    assert code == 2
    assert "is there already; name a new folder" in " ".join(err.split())

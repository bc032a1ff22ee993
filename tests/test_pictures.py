"""A corpus as pictures: layout, what is done again and what is not, and what is refused."""

from __future__ import annotations

import contextlib
import csv
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import soundfile
from PIL import Image

from emogram import pictures
from emogram.audio import load_clip
from emogram.config import SpectrogramConfig
from emogram.corpora import Corpus, find_corpus
from emogram.errors import CorpusError, OutputError
from emogram.pictures import PicturesResult, file_names, read_picture_config, write_pictures
from emogram.progress import Progress, Task
from emogram.records import Clip
from emogram.spectrogram import picture

CONFIG = SpectrogramConfig(kind="picture")


def _sound(path: Path, hertz: float = 440.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    seconds = np.arange(8000) / 16000
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * hertz * seconds), 16000)
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Two speakers, two emotions, four sounds; "happy/one.wav" of both speakers has the same name."""
    root = tmp_path / "voices"
    clips = [
        Clip(_sound(root / speaker / f"{label}_{name}.wav", hertz), label, speaker, "voices", extra={"gender": gender})
        for speaker, gender, label, name, hertz in [
            ("ann", "female", "angry", "a1", 300),
            ("ann", "female", "happy", "one", 500),
            ("bob", "male", "angry", "b1", 200),
            ("bob", "male", "happy", "one", 250),
        ]
    ]
    return Corpus("voices", "audio", root, tuple(clips), ("angry", "happy"))


def _rows(out: Path) -> list[dict[str, str]]:
    with (out / "metadata.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _counts(result: PicturesResult) -> tuple[int, int, int]:
    return result.written, result.unchanged, len(result.failed)


def _with_clips(corpus: Corpus, *clips: Clip, name: str = "voices") -> Corpus:
    return Corpus(name, "audio", corpus.root, clips, ("angry", "happy"))


def test_pictures_lie_in_folders_named_after_emotions(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = write_pictures(corpus, out, CONFIG)
    assert _counts(result) == (4, 0, 0)
    assert result.strays == ()
    names = ["Angry/angry_a1.png", "Angry/angry_b1.png", "Happy/ann-happy_one.png", "Happy/bob-happy_one.png"]
    found = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert found == sorted([*names, "metadata.csv", "spectrogram.toml"])
    for clip, name in zip(corpus.clips, [names[0], names[2], names[1], names[3]], strict=True):
        with Image.open(out / name) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (128, 128))
            np.testing.assert_array_equal(np.asarray(image), picture(load_clip(clip, sample_rate=16000), CONFIG))


def test_metadata_tells_what_the_corpus_told(corpus: Corpus, tmp_path: Path) -> None:
    write_pictures(corpus, tmp_path / "out", CONFIG)
    rows = _rows(tmp_path / "out")
    assert list(rows[0]) == ["file_name", "label", "speaker", "corpus", "gender", "source", "config_hash"]
    assert list(rows[3].values()) == [
        "Happy/bob-happy_one.png", "happy", "bob", "voices", "male", "bob/happy_one.wav", CONFIG.content_hash(),
    ]  # fmt: skip
    assert str(tmp_path) not in (tmp_path / "out" / "metadata.csv").read_text()


def test_what_only_some_clips_tell_has_no_column(corpus: Corpus, tmp_path: Path) -> None:
    first, second = corpus.clips[:2]
    clips = (
        Clip(first.path, "angry", extra={"intensity": "strong", "take": "1", "source": "elsewhere"}),
        Clip(second.path, "happy", extra={"intensity": "normal"}),
    )
    write_pictures(_with_clips(corpus, *clips), tmp_path / "out", CONFIG)
    rows = _rows(tmp_path / "out")
    assert [row["intensity"] for row in rows] == ["strong", "normal"]
    assert "take" not in rows[0]
    assert rows[0]["source"] == "ann/angry_a1.wav"


def test_the_folder_is_a_corpus_with_the_same_labels_and_speakers(corpus: Corpus, tmp_path: Path) -> None:
    write_pictures(corpus, tmp_path / "out", CONFIG)
    read = find_corpus(tmp_path / "out")
    assert (read.kind, read.name, read.labels, read.warnings) == ("picture", "voices", ("angry", "happy"), ())
    assert {(clip.label, clip.speaker, clip.extra["source"]) for clip in read.clips} == {
        (clip.label, clip.speaker, clip.path.relative_to(corpus.root).as_posix()) for clip in corpus.clips
    }


@pytest.mark.parametrize("config", [SpectrogramConfig(), SpectrogramConfig(n_mels=40, trim_db=30.0)])
def test_the_settings_can_be_read_back(corpus: Corpus, tmp_path: Path, config: SpectrogramConfig) -> None:
    write_pictures(corpus, tmp_path / "out", config)
    assert read_picture_config(tmp_path / "out") == config.model_copy(update={"kind": "picture"})
    assert read_picture_config(corpus.root) is None


def test_nothing_is_done_twice(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_pictures(corpus, out, CONFIG)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.rglob("*.png")}
    metadata = (out / "metadata.csv").read_bytes()
    for clip in corpus.clips:
        os.utime(clip.path, ns=(0, 0))  # the time of a file says nothing
    assert _counts(write_pictures(corpus, out, CONFIG)) == (0, 4, 0)
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.rglob("*.png")} == before
    assert (out / "metadata.csv").read_bytes() == metadata


def test_pictures_outlast_their_metadata(corpus: Corpus, tmp_path: Path) -> None:
    """As after a kill, before metadata.csv was written."""
    out = tmp_path / "out"
    write_pictures(corpus, out, CONFIG)
    metadata = (out / "metadata.csv").read_bytes()
    (out / "metadata.csv").unlink()
    (out / "Angry" / "angry_a1.png").unlink()
    assert _counts(write_pictures(corpus, out, CONFIG)) == (1, 3, 0)
    assert (out / "metadata.csv").read_bytes() == metadata


def test_only_a_changed_sound_is_drawn_again(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_pictures(corpus, out, CONFIG)
    before = (out / "Angry" / "angry_b1.png").read_bytes()
    size = corpus.clips[2].path.stat().st_size
    _sound(corpus.clips[2].path, 2000)
    assert corpus.clips[2].path.stat().st_size == size
    assert _counts(write_pictures(corpus, out, CONFIG)) == (1, 3, 0)
    assert (out / "Angry" / "angry_b1.png").read_bytes() != before


def test_other_settings_draw_all_again(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_pictures(corpus, out, CONFIG)
    other = SpectrogramConfig(kind="picture", top_db=70.0)
    assert _counts(write_pictures(corpus, out, other)) == (4, 0, 0)
    assert {row["config_hash"] for row in _rows(out)} == {other.content_hash()}


@pytest.mark.parametrize("damage", [b"", b"\x89PNG\r\n\x1a\n"])
def test_a_damaged_picture_is_drawn_again(corpus: Corpus, tmp_path: Path, damage: bytes) -> None:
    out = tmp_path / "out"
    write_pictures(corpus, out, CONFIG)
    target = out / "Angry" / "angry_a1.png"
    whole = target.read_bytes()
    target.write_bytes(damage or whole[:-100])
    assert _counts(write_pictures(corpus, out, CONFIG)) == (1, 3, 0)
    assert target.read_bytes() == whole


def test_many_clips_in_two_processes_give_the_same_bytes(corpus: Corpus, tmp_path: Path) -> None:
    clips = [
        Clip(corpus.clips[k % 4].path, "angry", "ann", "voices", start_s=k / 1000, end_s=0.4 + k / 1000)
        for k in range(40)
    ]
    many = _with_clips(corpus, *clips)
    for workers in (1, 2):
        assert _counts(write_pictures(many, tmp_path / f"by{workers}", CONFIG, workers=workers)) == (40, 0, 0)
    files = sorted(path.relative_to(tmp_path / "by1") for path in (tmp_path / "by1").rglob("*.*"))
    assert len(files) == 42
    for name in files:
        assert (tmp_path / "by1" / name).read_bytes() == (tmp_path / "by2" / name).read_bytes()


def test_bad_clips_are_named_and_the_others_done(corpus: Corpus, tmp_path: Path) -> None:
    corpus.clips[0].path.write_text("no sound")
    corpus.clips[3].path.unlink()
    result = write_pictures(corpus, tmp_path / "out", CONFIG)
    assert _counts(result) == (2, 0, 2)
    assert [clip for clip, _ in result.failed] == [corpus.clips[0], corpus.clips[3]]
    assert "not a readable sound file" in result.failed[0][1]
    assert "no such file" in result.failed[1][1]
    assert [row["label"] for row in _rows(tmp_path / "out")] == ["angry", "happy"]


def test_a_picture_whose_sound_went_bad_is_a_stray(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_pictures(corpus, out, CONFIG)
    corpus.clips[0].path.write_text("no sound")
    result = write_pictures(corpus, out, CONFIG)
    assert _counts(result) == (0, 3, 1)
    assert result.strays == (out / "Angry" / "angry_a1.png",)


def test_pictures_of_clips_that_left_are_named_and_kept(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_pictures(corpus, out, CONFIG)
    for _ in range(2):
        result = write_pictures(_with_clips(corpus, *corpus.clips[1:]), out, CONFIG)
        assert result.strays == (out / "Angry" / "angry_a1.png",)
        assert result.strays[0].is_file()
        assert len(_rows(out)) == 3


def test_corpora_share_a_folder_but_not_names(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_pictures(corpus, out, CONFIG)
    before = (out / "Angry" / "angry_a1.png").read_bytes()
    copy = shutil.copytree(corpus.root, tmp_path / "others")
    _sound(copy / "ann" / "angry_a1.wav", 3000)
    clip = Clip(copy / "ann" / "angry_a1.wav", "angry", "ann", "others")
    other = Corpus("others", "audio", copy, (clip,), ("angry",))
    for counts in [(1, 0, 0), (0, 1, 0)]:
        result = write_pictures(other, out, CONFIG)
        assert _counts(result) == counts
        assert result.strays == ()
    assert (out / "Angry" / "angry_a1.png").read_bytes() == before
    assert (out / "Angry" / "angry_a1-2.png").is_file()
    assert sorted(row["corpus"] for row in _rows(out)) == ["others"] + ["voices"] * 4
    with pytest.raises(CorpusError, match="holds pictures of the corpus 'voices' made with other settings"):
        write_pictures(other, out, SpectrogramConfig(top_db=70.0))


class _Interrupting(Progress):
    """Presses Ctrl-C after two clips."""

    @contextlib.contextmanager
    def task(self, what: str, total: int, *, unit: str = "clips") -> Iterator[Task]:
        class Counting(Task):
            done = 0

            def advance(self, steps: int = 1, *, note: str = "") -> None:
                self.done += steps
                if self.done == 2:
                    raise KeyboardInterrupt

        yield Counting()


def test_an_interrupted_run_goes_on_where_it_stopped(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        write_pictures(corpus, out, CONFIG, progress=_Interrupting())
    assert [row["file_name"] for row in _rows(out)] == ["Angry/angry_a1.png", "Happy/ann-happy_one.png"]
    assert _counts(write_pictures(corpus, out, CONFIG)) == (2, 2, 0)
    assert len(_rows(out)) == 4


def test_pictures_of_mixed_settings_are_not_taken_for_one(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_pictures(corpus, out, CONFIG)
    other = SpectrogramConfig(kind="picture", top_db=70.0)
    with pytest.raises(KeyboardInterrupt):
        write_pictures(corpus, out, other, progress=_Interrupting())
    assert len(_rows(out)) == 4
    with pytest.raises(CorpusError, match="2 of 4 pictures were made with other settings"):
        read_picture_config(out)
    assert _counts(write_pictures(corpus, out, other)) == (2, 2, 0)
    assert read_picture_config(out) == other


def test_a_full_disk_ends_the_run_at_once_and_what_is_done_stays(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    write_pictures(_with_clips(corpus, corpus.clips[0]), out, CONFIG)

    def full(*_arguments: object, **_options: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match=r"cannot write .*\.png: the disk is full"):
            write_pictures(corpus, out, CONFIG)
    assert [row["file_name"] for row in _rows(out)] == ["Angry/angry_a1.png"]
    assert _counts(write_pictures(corpus, out, CONFIG)) == (3, 1, 0)
    assert not list(out.rglob(".*"))


def test_progress_counts_every_clip(corpus: Corpus, tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []

    class Recording(Progress):
        @contextlib.contextmanager
        def task(self, what: str, total: int, *, unit: str = "clips") -> Iterator[Task]:
            seen.append((what, total))

            class Adding(Task):
                def advance(self, steps: int = 1, *, note: str = "") -> None:
                    seen.append(("done", steps))

            yield Adding()

    for _ in range(2):
        seen.clear()
        write_pictures(corpus, tmp_path / "out", CONFIG, progress=Recording())
        assert seen == [("spectrograms", 4)] + [("done", 1)] * 4


def test_pictures_are_no_input(corpus: Corpus, tmp_path: Path) -> None:
    write_pictures(corpus, tmp_path / "out", CONFIG)
    with pytest.raises(CorpusError, match="holds 4 pictures; expected sound"):
        write_pictures(find_corpus(tmp_path / "out"), tmp_path / "again", CONFIG)
    assert not (tmp_path / "again").exists()


def test_what_others_made_is_not_overwritten(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "spectrograms"
    (out / "Angry").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(out / "Angry" / "angry_a1.png")
    with pytest.raises(OutputError, match=r"angry_a1\.png: 1 pictures that emogram did not make"):
        write_pictures(corpus, out, CONFIG)
    assert sorted(path.name for path in out.rglob("*.*")) == ["angry_a1.png"]
    (tmp_path / "sheet").mkdir()
    (tmp_path / "sheet" / "metadata.csv").write_text("file_name,label\nx.png,angry\n")
    with pytest.raises(OutputError, match=r"metadata\.csv: not made by 'emogram spectrograms'"):
        write_pictures(corpus, tmp_path / "sheet", CONFIG)
    with pytest.raises(OutputError, match="is the folder of the corpus itself"):
        write_pictures(corpus, corpus.root, CONFIG)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a file stands where a folder should be"):
        write_pictures(corpus, tmp_path / "file", CONFIG)


# Names


def _names(*clips: Clip) -> list[str]:
    return file_names(clips)


def test_stretches_have_their_times_in_the_name() -> None:
    path = Path("talk.wav")
    assert _names(Clip(path, "sad"), Clip(path, "sad", start_s=1.5, end_s=3.25), Clip(path, "sad", start_s=3.0)) == [
        "Sad/talk.png",
        "Sad/talk-1500-3250ms.png",
        "Sad/talk-3000-endms.png",
    ]


def test_the_same_name_twice_takes_the_folder_then_a_number() -> None:
    clips = [Clip(Path(path), "sad") for path in ("x/a.wav", "y/a.wav", "y/A.flac", "x/b.wav", "x/y-a.wav")]
    assert _names(*clips) == ["Sad/x-a.png", "Sad/y-a.png", "Sad/y-A-2.png", "Sad/b.png", "Sad/y-a-3.png"]
    assert len({name.casefold() for name in _names(*clips)}) == 5


def test_the_same_stem_with_other_labels_needs_no_suffix() -> None:
    assert _names(Clip(Path("a.wav"), "sad"), Clip(Path("b/a.wav"), "happy")) == ["Sad/a.png", "Happy/a.png"]


@pytest.mark.parametrize(
    ("label", "folder"),
    [("angry", "Angry"), ("fear/anger", "Fear_anger"), ("../up", "_up"), ("UK mood", "UK mood"), ("...", "_"),
     ("wütend", "Wütend"), ("a\0b", "A_b")],
)  # fmt: skip
def test_any_label_makes_a_folder_name(label: str, folder: str) -> None:
    assert _names(Clip(Path("a.wav"), label)) == [f"{folder}/a.png"]


def test_a_name_that_is_no_text_becomes_one(corpus: Corpus, tmp_path: Path) -> None:
    odd = corpus.root / os.fsdecode(b"m\xfcde.wav")  # Latin-1, from an old archive
    try:
        shutil.copy(corpus.clips[0].path, odd)
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    write_pictures(_with_clips(corpus, Clip(odd, "sad", corpus="voices")), tmp_path / "out", CONFIG)
    assert _rows(tmp_path / "out")[0]["file_name"] == "Sad/m?de.png"
    assert (tmp_path / "out" / "Sad" / "m?de.png").is_file()


@pytest.mark.corpora
def test_a_corner_of_ravdess(corpora_root: Path, tmp_path: Path) -> None:
    whole = find_corpus(corpora_root / "ravdess")
    some = Corpus(whole.name, whole.kind, whole.root, whole.clips[::150], whole.labels)
    result = write_pictures(some, tmp_path / "out", CONFIG)
    assert _counts(result) == (10, 0, 0)
    rows = _rows(tmp_path / "out")
    assert {"gender", "intensity", "statement", "repetition"} < set(rows[0])
    assert all(row["file_name"] == f"{row['label'].capitalize()}/{Path(row['source']).stem}.png" for row in rows)
    assert pictures.METADATA == "metadata.csv"

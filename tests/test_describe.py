import contextlib
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from emogram.corpora import find_corpus
from emogram.corpora.describe import Duplicates, Problem, describe, example_clips
from emogram.errors import PictureError
from emogram.progress import Progress, Task
from emogram.spectrogram import open_picture, resize_picture

RATE = 16000


def noise(seconds: float, seed: int = 0, peak: float = 0.5) -> np.ndarray:
    samples = np.random.default_rng(seed).uniform(-1, 1, round(seconds * RATE))
    return np.asarray(peak * samples / np.abs(samples).max())


def write(root: Path, name: str, samples: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(root / name, samples, rate, subtype=subtype)


def test_counts_and_durations_of_a_small_corpus(tmp_path):
    names = ["03-01-03-01-01-01-01", "03-01-03-02-01-01-02", "03-01-04-01-01-01-01", "03-01-03-01-02-01-01"]
    for seed, (name, seconds) in enumerate(zip(names, (1.0, 2.0, 0.5, 1.5), strict=True)):
        write(tmp_path, f"{name}.wav", noise(seconds, seed))
    description = describe(find_corpus(tmp_path))
    assert (description.name, description.n_clips, description.n_without_speaker) == ("ravdess", 4, 0)
    assert description.by_label == {"happy": 3, "sad": 1}
    assert description.by_speaker == {"01": 3, "02": 1}
    assert description.by_label_and_speaker == {"happy": {"01": 2, "02": 1}, "sad": {"01": 1}}
    assert description.by_group == {"gender": {"female": 1, "male": 3}, "intensity": {"normal": 3, "strong": 1}}
    assert description.imbalance == 3.0
    assert description.duration_s == {"total": 5.0, "min": 0.5, "median": 1.25, "max": 2.0}
    assert (description.sample_rates, description.channels) == ({RATE: 4}, {1: 4})
    assert description.duplicates == ()
    assert description.unreadable == description.silent == description.clipped == description.too_short == ()


def test_each_defect_is_named_and_the_rest_is_still_measured(tmp_path):
    write(tmp_path, "angry/good.wav", noise(1, 1))
    write(tmp_path, "angry/silent.wav", np.zeros(RATE))
    write(tmp_path, "angry/short.wav", noise(0.1, 2))
    write(tmp_path, "angry/nan.wav", np.full(RATE, np.nan), subtype="FLOAT")
    write(tmp_path, "angry/none.wav", np.empty(0))
    write(tmp_path, "angry/opposite.wav", np.stack([noise(1, 3), -noise(1, 3)], axis=1))
    (tmp_path / "angry" / "empty.wav").touch()
    (tmp_path / "angry" / "text.wav").write_text("no sound at all\n" * 10)
    description = describe(find_corpus(tmp_path))
    assert description.n_clips == 8
    messages = {problem.clip: problem.message for problem in description.unreadable}
    assert list(messages) == ["angry/empty.wav", "angry/nan.wav", "angry/none.wav", "angry/text.wav"]
    assert "the file is empty" in messages["angry/empty.wav"]
    assert "not finite" in messages["angry/nan.wav"]
    assert "no samples" in messages["angry/none.wav"]
    assert [problem.clip for problem in description.silent] == ["angry/opposite.wav", "angry/silent.wav"]
    assert description.silent[1].message == "peak zero"
    assert description.too_short == (Problem("angry/short.wav", "0.100 s; at least 0.2 s is needed"),)
    assert description.sample_rates == {RATE: 4}
    assert description.duplicates == ()


@pytest.mark.parametrize(("n_full", "found"), [(0, False), (1, False), (3, False), (16, True)])
def test_a_clip_is_clipped_from_one_in_ten_thousand_samples_at_full_scale(tmp_path, n_full, found):
    samples = noise(1)
    samples[100 : 100 + n_full] = -1.0
    write(tmp_path, "angry/a.wav", samples)
    clipped = describe(find_corpus(tmp_path)).clipped
    assert clipped == ((Problem("angry/a.wav", "0.1 % of the samples at full scale"),) if found else ())


def test_full_scale_in_one_channel_alone_is_clipping(tmp_path):
    samples = np.stack([noise(1, 1), noise(1, 2)], axis=1)
    samples[:100, 1] = 1.0
    write(tmp_path, "angry/a.wav", samples)
    assert [problem.clip for problem in describe(find_corpus(tmp_path)).clipped] == ["angry/a.wav"]


def test_duplicates_are_found_by_samples_whatever_the_file(tmp_path):
    samples = np.rint(32767 * noise(1)).astype(np.int16)  # integers, since formats round floats differently
    write(tmp_path, "DC_a01.wav", samples)
    write(tmp_path, "DC_a02.flac", samples)
    write(tmp_path, "JE_h03.wav", np.stack([samples, samples], axis=1))
    write(tmp_path, "JE_h04.wav", noise(1, seed=5))
    assert describe(find_corpus(tmp_path)).duplicates == (
        Duplicates(("DC_a01.wav", "DC_a02.flac", "JE_h03.wav"), same_label=False, same_speaker=False),
    )


def test_stretches_of_one_file_are_measured_apart(tmp_path):
    write(tmp_path, "a.wav", np.concatenate([noise(1, 1), np.zeros(RATE), noise(1, 1)]))
    (tmp_path / "m.csv").write_text("path,label,start,end\na.wav,sad,0,1\na.wav,sad,1,2\na.wav,sad,2,\na.wav,sad,7,8\n")
    description = describe(find_corpus(tmp_path / "m.csv"))
    assert description.duration_s["total"] == 3.0
    assert [problem.clip for problem in description.silent] == ["a.wav (1 s to 2 s)"]
    assert [group.clips for group in description.duplicates] == [("a.wav (0 s to 1 s)", "a.wav (2 s to end)")]
    assert "lies outside" in description.unreadable[0].message


def test_speakers_of_several_corpora_are_told_apart(tmp_path):
    write(tmp_path, "a.wav", noise(1, 1))
    write(tmp_path, "b.wav", noise(1, 2))
    (tmp_path / "m.csv").write_text("path,label,speaker,corpus\na.wav,sad,1,x\nb.wav,sad,1,y\n")
    assert describe(find_corpus(tmp_path / "m.csv")).by_speaker == {"x/1": 1, "y/1": 1}


def test_pictures_are_measured_by_their_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    for folder in ("Happy", "Sad"):
        (tmp_path / folder).mkdir()
    Image.fromarray(pixels).save(tmp_path / "Happy" / "a.png")
    Image.fromarray(pixels).save(tmp_path / "Sad" / "b.png", compress_level=0)
    Image.fromarray(pixels[:32, :32]).save(tmp_path / "Sad" / "c.png")
    (tmp_path / "Sad" / "d.png").write_text("no picture")
    description = describe(find_corpus(tmp_path))
    assert description.picture_sizes == {"32x32": 1, "48x32": 2}
    assert description.duplicates == (Duplicates(("Happy/a.png", "Sad/b.png"), same_label=False, same_speaker=True),)
    assert [problem.clip for problem in description.unreadable] == ["Sad/d.png"]
    assert description.duration_s == {}
    assert description.sample_rates == {}


def test_processes_and_one_process_say_the_same(tmp_path):
    for number in range(1, 41):
        write(tmp_path, f"EB0_anger_{number}.wav", noise(0.3, number % 39))
    corpus = find_corpus(tmp_path)
    alone = describe(corpus, workers=1)
    assert describe(corpus, workers=2) == alone
    assert alone.duplicates == (
        Duplicates(("EB0_anger_1.wav", "EB0_anger_40.wav"), same_label=True, same_speaker=True),
    )


def test_progress_is_told_of_each_clip(tmp_path):
    class Counting(Progress, Task):
        steps = 0

        def task(self, what, total, *, unit="clips"):
            assert total == 2
            return contextlib.nullcontext(self)

        def advance(self, steps=1, *, note=""):
            self.steps += steps

    write(tmp_path, "angry/a.wav", noise(1, 1))
    write(tmp_path, "angry/b.wav", noise(1, 2))
    progress = Counting()
    describe(find_corpus(tmp_path), progress=progress)
    assert progress.steps == 2


def test_a_description_goes_through_json(tmp_path):
    write(tmp_path, "angry/a.wav", noise(1))
    write(tmp_path, "sad/b.wav", noise(1))
    values = json.loads(json.dumps(describe(find_corpus(tmp_path)).to_dict()))
    assert values["duplicates"] == [{"clips": ["angry/a.wav", "sad/b.wav"], "same_label": False, "same_speaker": True}]
    assert values["by_label"] == {"angry": 1, "sad": 1}


# Examples


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).touch()
    return root


def test_examples_come_from_speakers_spread_over_the_list(tmp_path):
    touch(tmp_path, *(f"03-01-03-01-0{text}-01-{actor:02}.wav" for text in (1, 2) for actor in range(1, 25)))
    examples = example_clips(find_corpus(tmp_path), per_label=3)
    assert [(clip.speaker, clip.extra["statement"]) for clip in examples["happy"]] == [
        ("01", "01"),
        ("13", "01"),
        ("24", "01"),
    ]


def test_few_speakers_give_more_than_one_example_each(tmp_path):
    touch(tmp_path, "OAF_a_sad.wav", "OAF_b_sad.wav", "OAF_c_sad.wav", "YAF_a_sad.wav", "YAF_a_angry.wav")
    examples = example_clips(find_corpus(tmp_path), per_label=3)
    assert list(examples) == ["angry", "sad"]
    assert [clip.path.stem for clip in examples["sad"]] == ["OAF_a_sad", "YAF_a_sad", "OAF_b_sad"]
    assert [clip.path.stem for clip in examples["angry"]] == ["YAF_a_angry"]


# Pictures


def test_a_picture_of_gigabytes_is_refused_before_it_is_decoded(tmp_path):
    # A PNG of 60,000 x 60,000 without any pixels: decoding it would fail in another way.
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", b""))
    )
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    with pytest.raises(PictureError, match=r"huge.png: too many pixels; a picture may have 40 million"):
        open_picture(tmp_path / "huge.png")


@pytest.mark.parametrize("size", [(10_000, 4_001), (10_000, 12_000)])
def test_a_picture_above_the_limit_is_refused_with_its_size(tmp_path, size):
    Image.new("1", size).save(tmp_path / "large.png")
    with pytest.raises(PictureError, match=f"{size[0]} x {size[1]} pixels; a picture may have 40 million"):
        open_picture(tmp_path / "large.png")


def test_missing_and_damaged_pictures_are_refused(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    Image.fromarray(pixels).save(tmp_path / "really.gif")
    (tmp_path / "really.gif").rename(tmp_path / "gif.png")
    (tmp_path / "folder.png").mkdir()
    for name, message in {
        "none.png": "no such file",
        "folder.png": "is a folder",
        "half.png": "not a readable picture",
        "text.png": "not a PNG or JPEG",
        "gif.png": "not a PNG or JPEG",
    }.items():
        with pytest.raises(PictureError, match=f"{name}: .*{message}"):
            open_picture(tmp_path / name)


def test_every_form_of_png_gives_the_same_grey(tmp_path):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    rgb = np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    forms = {
        "grey": Image.fromarray(grey),
        "deep": Image.fromarray(grey.astype(np.uint16) * 257),
        "rgb": Image.fromarray(rgb),
        "rgba": Image.fromarray(np.dstack([rgb, np.full_like(grey, 255)])),
        "palette": Image.fromarray(grey).convert("P"),
    }
    forms["palette"].info["transparency"] = bytes([255] * 256)
    for name, image in forms.items():
        image.save(tmp_path / f"{name}.png")
        assert np.array_equal(resize_picture(open_picture(tmp_path / f"{name}.png"), 16), rgb), name


@pytest.mark.corpora
@pytest.mark.slow
def test_the_one_duplicate_of_ravdess_is_found(corpora_root):
    description = describe(find_corpus(corpora_root / "ravdess"))
    assert description.duplicates == (
        Duplicates(("03-01-03-01-02-01-07.flac", "03-01-03-01-02-02-07.flac"), same_label=True, same_speaker=True),
    )
    assert description.unreadable == description.silent == description.clipped == description.too_short == ()
    assert description.duration_s["total"] == pytest.approx(5328.96, abs=0.01)

from __future__ import annotations

import csv
import html.parser
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
import soundfile
import webvtt
from praatio import textgrid
from pyarrow import parquet
from pympi import Elan

import emogram
from emogram.errors import MissingExtraError, OutputError, SettingsError
from emogram.records import Prediction, Segment, Timeline, Windows
from emogram.writers import FORMATS, SEGMENT_COLUMNS, save_timeline, to_dataframe

LABELS = ("angry", "neutral", "sad")


def said(label: str, score: float, *, abstained: bool = False) -> Prediction:
    rest = (1 - score) / 2
    return Prediction(label, {each: score if each == label else rest for each in LABELS}, score, abstained)


def windows(*rows: tuple[float, float, int]) -> Windows:
    scores = np.tile(np.float32([0.2, 0.3, 0.5]), (len(rows), 1))
    start, end, channel = np.array(rows, np.float64).reshape(-1, 3).T
    return Windows(LABELS, start, end, channel.astype(np.int64), scores)


def summary(**more: object) -> dict[str, object]:
    shares = {"angry": 0.25, "neutral": 0.0, "sad": 0.5, "unsure": 0.25}
    scores = dict(zip(LABELS, (0.2, 0.3, 0.5), strict=True))
    return {"label": "sad", "confidence": 0.5, "speech_s": 6.5, "scores": scores, "shares": shares, **more}


# A call: the channels overlap, and two speakers overlap on channel 1. Times end between milliseconds.
CALL = Timeline(
    segments=(
        Segment(0.0, 1.2344, 0, said("sad", 0.82), 0.9, "Zoë"),
        Segment(0.5, 2.0006, 1, said("angry", 0.41, abstained=True), 0.75, 'O"Neil & <Sons>'),
        Segment(1.2344, 3.0, 0, said("neutral", 2 / 3), 1.0, "Zoë"),
        Segment(1.5, 2.5, 1, said("sad", 0.6), 0.5, "Łukasz\tz"),
        Segment(3661.001, 3725.9996, 1, said("angry", 0.99), 1.0, 'O"Neil & <Sons>'),
    ),
    windows=windows((0, 2, 0), (0, 3, 1), (1, 3, 0), (3661, 3726, 1)),
    duration_s=3726.5004,
    sample_rate=8000,
    channels=2,
    summary=summary(channels={"0": summary(), "1": summary()}),
    warnings=("clipped",),
)
TALK = Timeline(
    segments=tuple(replace(segment, channel=None, speaker=None) for segment in (CALL.segments[0], CALL.segments[2])),
    windows=windows((0, 2, -1), (1, 3, -1)),
    duration_s=3.0,
    sample_rate=16000,
    channels=1,
    summary=summary(),
)
EMPTY = Timeline((), windows(), 3.0, 16000, 1, {**summary(), "speech_s": 0.0}, ("no speech found",))

CALL_MS = [(0, 1234), (500, 2001), (1234, 3000), (1500, 2500), (3661001, 3726000)]
CALL_TRACKS = ["channel 0 Zoë", 'channel 1 O"Neil & <Sons>', "channel 0 Zoë", "channel 1 Łukasz z",
               'channel 1 O"Neil & <Sons>']  # fmt: skip
CALL_TEXTS = ["sad", "unsure (angry)", "neutral", "sad", "angry"]


def saved(tmp_path: Path, timeline: Timeline, name: str) -> Path:
    path = tmp_path / f"out{FORMATS[name].suffix}"
    assert save_timeline(path, timeline, name, recording=Path("a folder/Über “call”.wav"), model="emogram-x") == path
    return path


def tracks_of_call() -> dict[str, list[tuple[int, int, str]]]:
    found: dict[str, list[tuple[int, int, str]]] = {}
    for (start, end), track, text in zip(CALL_MS, CALL_TRACKS, CALL_TEXTS, strict=True):
        found.setdefault(track, []).append((start, end, text))
    return found


def test_json_lines_are_the_segments_of_the_published_schema(tmp_path):
    lines = [json.loads(line) for line in saved(tmp_path, CALL, "jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["start_ms"], line["end_ms"]) for line in lines] == CALL_MS
    assert lines[1] == {
        "start_ms": 500,
        "end_ms": 2001,
        "channel": 1,
        "speaker": 'O"Neil & <Sons>',
        "label": "angry",
        "confidence": 0.41,
        "scores": [{"label": label, "score": score} for label, score in zip(LABELS, (0.41, 0.295, 0.295), strict=True)],
        "speech_ratio": 0.75,
        "abstained": True,
    }
    (first, _) = [json.loads(line) for line in saved(tmp_path, TALK, "jsonl").read_text().splitlines()]
    assert first["channel"] is None
    assert "speaker" not in first


def rows_expected() -> list[dict[str, object]]:
    return [
        {
            "start_s": start / 1000,
            "end_s": end / 1000,
            "channel": segment.channel,
            "speaker": segment.speaker,
            "label": segment.prediction.label,
            "confidence": pytest.approx(segment.prediction.confidence, rel=1e-5),
            "abstained": segment.prediction.abstained,
            "speech_ratio": segment.speech_ratio,
            **{label: pytest.approx(score, rel=1e-5) for label, score in segment.prediction.scores.items()},
        }
        for (start, end), segment in zip(CALL_MS, CALL.segments, strict=True)
    ]


def test_csv_comes_back_as_the_rows_of_the_timeline(tmp_path):
    with saved(tmp_path, CALL, "csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*SEGMENT_COLUMNS, *LABELS]
    numbers = {"start_s", "end_s", "confidence", "speech_ratio", *LABELS}
    read = [
        {k: float(v) if k in numbers else v for k, v in row.items()}
        | {"channel": int(row["channel"]), "abstained": row["abstained"] == "true"}
        for row in rows
    ]
    assert read == rows_expected()
    assert rows[0]["end_s"] == "1.234"
    with saved(tmp_path, TALK, "csv").open(newline="") as file:
        assert {(row["channel"], row["speaker"]) for row in csv.DictReader(file)} == {("", "")}


def test_parquet_comes_back_typed_with_what_holds_for_the_recording(tmp_path):
    table = parquet.read_table(saved(tmp_path, CALL, "parquet"))
    assert table.to_pylist() == rows_expected()
    types = {field.name: str(field.type) for field in table.schema}
    assert (types["start_s"], types["channel"], types["abstained"]) == ("double", "int32", "bool")
    about = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert (about["recording"], about["model"], about["partial"]) == ("Über “call”.wav", "emogram-x", "false")
    assert (about["duration_s"], about["warnings"], about["labels"]) == ("3726.5004", "clipped", "angry\nneutral\nsad")


def test_dataframe_holds_what_the_csv_holds(tmp_path):
    frame = to_dataframe(CALL)
    read = pandas.read_csv(saved(tmp_path, CALL, "csv"), dtype={"channel": "Int64"})
    pandas.testing.assert_frame_equal(frame, read, check_dtype=False)
    assert frame.attrs["duration_s"] == 3726.5004
    assert list(to_dataframe(TALK)["channel"].isna()) == [True, True]
    assert emogram.to_dataframe is to_dataframe


def test_dataframe_of_windows_holds_their_scores():
    frame = to_dataframe(CALL, windows=True)
    assert list(frame.columns) == ["start_s", "end_s", "channel", *LABELS]
    assert frame["channel"].tolist() == [0, 1, 0, 1]
    np.testing.assert_array_equal(frame[list(LABELS)].to_numpy(), CALL.windows.scores)
    assert to_dataframe(TALK, windows=True)["channel"].isna().all()


def test_dataframe_of_nothing_has_the_columns_and_types_of_any_other():
    assert to_dataframe(EMPTY).dtypes["start_s"] == "float64"
    assert list(to_dataframe(EMPTY).columns) == list(to_dataframe(CALL).columns)
    assert len(to_dataframe(EMPTY, windows=True)) == 0


def test_textgrid_has_two_tiers_for_each_channel_and_speaker(tmp_path):
    grid = textgrid.openTextgrid(str(saved(tmp_path, CALL, "textgrid")), includeEmptyIntervals=False)
    assert grid.maxTimestamp == 3726.5
    expected = tracks_of_call()
    assert set(grid.tierNames) == {f"{kind} {track}" for kind in ("emotion", "confidence") for track in expected}
    for track, rows in expected.items():
        entries = grid.getTier(f"emotion {track}").entries
        assert [(round(1000 * e.start), round(1000 * e.end), e.label) for e in entries] == rows
        assert [e.start for e in entries] == [start / 1000 for start, _, _ in rows], "exact, not only near"
    confidences = [entry.label for entry in grid.getTier("confidence channel 0 Zoë").entries]
    assert confidences == ["0.820", "0.667"]


def test_textgrid_without_channels_and_speakers_has_plain_names(tmp_path):
    for timeline, count in ((TALK, 2), (EMPTY, 0)):
        grid = textgrid.openTextgrid(str(saved(tmp_path, timeline, "textgrid")), includeEmptyIntervals=False)
        assert grid.tierNames == ("emotion", "confidence")
        assert len(grid.getTier("emotion").entries) == count


def test_elan_file_has_tiers_participants_and_the_recording(tmp_path):
    document = Elan.Eaf(str(saved(tmp_path, CALL, "eaf")))
    for track, rows in tracks_of_call().items():
        assert sorted(document.get_annotation_data_for_tier(f"emotion {track}")) == sorted(rows)
    assert len(document.get_tier_names()) == 6
    speaker = document.get_parameters_for_tier('emotion channel 1 O"Neil & <Sons>')["PARTICIPANT"]
    assert speaker == 'O"Neil & <Sons>'
    (media,) = document.get_linked_files()
    assert media["RELATIVE_MEDIA_URL"] == "./Über “call”.wav"
    assert media["MEDIA_URL"].startswith("file:///")
    assert set(Elan.Eaf(str(saved(tmp_path, EMPTY, "eaf"))).get_tier_names()) == {"emotion", "confidence"}
    assert not list(tmp_path.glob("*.bak"))


def audacity_labels(path: Path) -> list[tuple[float, float, str]]:
    """Read a label track as Audacity's manual describes it, and refuse whatever it does not describe."""
    labels = []
    for line in path.read_text(encoding="utf-8").splitlines():
        start, end, text = line.split("\t")
        assert re.fullmatch(r"\d+\.\d+", start) and re.fullmatch(r"\d+\.\d+", end)
        assert 0 <= float(start) <= float(end)
        labels.append((float(start), float(end), text))
    return labels


def test_audacity_labels_name_track_and_emotion(tmp_path):
    expected = [
        (start / 1000, end / 1000, f"{track}: {text}")
        for (start, end), track, text in zip(CALL_MS, CALL_TRACKS, CALL_TEXTS, strict=True)
    ]
    assert audacity_labels(saved(tmp_path, CALL, "audacity")) == expected
    assert [text for _, _, text in audacity_labels(saved(tmp_path, TALK, "audacity"))] == ["sad", "neutral"]
    assert audacity_labels(saved(tmp_path, EMPTY, "audacity")) == []


def test_captions_are_read_by_a_webvtt_reader(tmp_path):
    captions = webvtt.read(saved(tmp_path, CALL, "vtt")).captions
    assert (captions[0].start, captions[0].end) == ("00:00:00.000", "00:00:01.234")
    assert (captions[4].start, captions[4].end) == ("01:01:01.001", "01:02:06.000")
    assert [html.unescape(caption.voice) for caption in captions] == CALL_TRACKS
    texts = ["sad 82 %", "unsure (angry) 41 %", "neutral 67 %", "sad 60 %", "angry 99 %"]
    assert [caption.text for caption in captions] == texts
    assert [caption.voice for caption in webvtt.read(saved(tmp_path, TALK, "vtt")).captions] == [None, None]
    assert webvtt.read(saved(tmp_path, EMPTY, "vtt")).captions == []


def rttm_rows(path: Path) -> list[dict[str, str]]:
    """Read RTTM strictly: ten fields a line, of the kinds that NIST's evaluation plan gives."""
    names = ("type", "file", "channel", "start", "duration", "ortho", "subtype", "name", "confidence", "lookahead")
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = line.split(" ")
        assert len(fields) == 10 and all(fields)
        row = dict(zip(names, fields, strict=True))
        assert row["type"] == "SPEAKER" and int(row["channel"]) >= 1
        assert float(row["start"]) >= 0 and float(row["duration"]) > 0
        rows.append(row)
    return rows


def test_rttm_holds_ten_fields_a_line(tmp_path):
    rows = rttm_rows(saved(tmp_path, CALL, "rttm"))
    times = [(round(1000 * float(row["start"])), round(1000 * float(row["duration"]))) for row in rows]
    assert times == [(start, end - start) for start, end in CALL_MS]
    assert [row["name"] for row in rows] == ["sad", "angry", "neutral", "sad", "angry"]
    assert [row["subtype"] for row in rows] == ["<NA>", "unsure", "<NA>", "<NA>", "<NA>"]
    assert [row["channel"] for row in rows] == ["1", "2", "1", "2", "2"]
    assert rows[1]["ortho"] == 'O"Neil_&_<Sons>'
    assert rows[0]["file"] == "Über_“call”"
    assert float(rows[0]["confidence"]) == 0.82
    assert {row["ortho"] for row in rttm_rows(saved(tmp_path, TALK, "rttm"))} == {"<NA>"}
    assert rttm_rows(saved(tmp_path, EMPTY, "rttm")) == []


class Page(html.parser.HTMLParser):
    """What a page holds: its table, texts, attributes, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def page(path: Path) -> Page:
    return Page(re.sub(r"/>", "></path>", path.read_text(encoding="utf-8")))


def test_page_lists_the_segments_with_escaped_names(tmp_path):
    read = page(saved(tmp_path, CALL, "html"))
    header = read.rows.index(["start", "end", "who", "emotion", "confidence", "next", "speech"])
    table = read.rows[header + 1 :]
    assert [row[2] for row in table] == CALL_TRACKS
    assert [row[3] for row in table] == CALL_TEXTS
    assert table[1] == ["0:00.50", "0:02", CALL_TRACKS[1], "unsure (angry)", "41 %", "sad 30 %", "75 %"]
    assert table[4][:2] == ["1:01:01", "1:02:06"]


def test_page_takes_nothing_from_a_network_and_runs_nothing(tmp_path):
    text = saved(tmp_path, CALL, "html").read_text(encoding="utf-8")
    read = Page(re.sub(r"/>", "></path>", text))
    assert not {tag for tag, _ in read.tags} & {"script", "link", "iframe", "object", "embed", "form"}
    assert not re.search(r"https?://|url\(|@import|\bon\w+=", text)
    sources = [attributes["src"] for _, attributes in read.tags if attributes.get("src")]
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "default-src 'none'" in text


def test_page_draws_the_recording_where_it_is_there(tmp_path):
    sound = tmp_path / "tone.wav"
    soundfile.write(sound, 0.5 * np.sin(np.arange(48000) * 0.3), 16000)
    path = save_timeline(tmp_path / "a.html", TALK, recording=sound)
    read = page(path)
    (image,) = [attributes for tag, attributes in read.tags if tag == "img"]
    from base64 import b64decode

    from PIL import Image

    assert Image.open(io.BytesIO(b64decode(image["src"].partition(",")[2]))).size == (600, 80)
    names = [attributes.get("aria-label") for tag, attributes in read.tags if tag == "svg"]
    assert names == ["Waveform", "Probability of each emotion over time"]
    without = page(save_timeline(tmp_path / "b.html", TALK, recording=tmp_path / "gone.wav"))
    assert any("Without waveform and spectrogram" in text and "no such file" in text for text in without.texts)


def test_page_says_everything_that_it_shows_in_words_too(tmp_path):
    read = page(saved(tmp_path, CALL, "html"))
    for tag, attributes in read.tags:
        if attributes.get("role") in ("img", "region"):
            assert attributes["aria-label"], tag
        if tag == "img":
            assert attributes["alt"]
        if tag == "th":
            assert attributes["scope"] in ("col", "row")
    assert dict(read.tags)["html"]["lang"] == "en"


def test_page_of_nothing_says_so(tmp_path):
    read = page(saved(tmp_path, EMPTY, "html"))
    assert any("No segments" in text for text in read.texts)
    assert any("no speech found" in text for text in read.texts)


@pytest.mark.parametrize("name", FORMATS)
def test_a_partial_timeline_shows_in_the_name_of_its_file(tmp_path, name):
    suffix = FORMATS[name].suffix
    written = save_timeline(tmp_path / f"out{suffix}", replace(CALL, partial=True), name, recording="call.wav")
    assert written == tmp_path / f"out.partial{suffix}"
    assert [path.name for path in tmp_path.iterdir()] == [written.name]


def test_formats_are_told_by_their_suffixes():
    assert len({each.suffix.lower() for each in FORMATS.values()}) == len(FORMATS)


def test_a_format_nobody_knows_is_refused_with_a_guess(tmp_path):
    with pytest.raises(SettingsError, match=r"unknown format 'TextGrid' \(did you mean 'textgrid'\?\)"):
        save_timeline(tmp_path / "x", CALL, "TextGrid", recording="a.wav")
    with pytest.raises(SettingsError, match=r"the name tells no format; end it in one of \.jsonl"):
        save_timeline(tmp_path / "x.doc", CALL, recording="a.wav")


def test_a_missing_extra_is_answered_with_its_install_line(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[formats\]'"):
        save_timeline(tmp_path / "x.parquet", CALL, recording="a.wav")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMATS)
def test_what_cannot_be_written_leaves_nothing_behind(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        save_timeline(tmp_path / "file" / "out", CALL, name, recording="a.wav")


@pytest.mark.parametrize("name", FORMATS)
def test_names_that_are_no_valid_text_can_be_written(tmp_path, name):
    recording = Path("caf\udce9\n.wav")
    written = save_timeline(tmp_path / f"a{FORMATS[name].suffix}", TALK, name, recording=recording)
    written.read_bytes().decode("utf-8") if name != "parquet" else parquet.read_table(written)

"""What holds for anything that goes in: nothing is lost, nothing overlaps, order does not matter."""

from __future__ import annotations

import csv
import json
import random
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emogram.config import SplitConfig, TimelineConfig
from emogram.corpora.labels import EMOTIONS, canonical_label, order_labels, unify_labels
from emogram.corpora.manifest import rows_of
from emogram.errors import CorpusError
from emogram.records import Prediction, Segment, Timeline, Windows
from emogram.splits import make_split
from emogram.windowing import Grid, Windowing
from emogram.writers import save_timeline

SOON = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
GRID = Grid.of(TimelineConfig())

names = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)


@SOON
@given(st.lists(names, max_size=12), st.randoms(use_true_random=False))
def test_labels_do_not_depend_on_the_order_of_names_and_are_stable(found, shuffle):
    labels = unify_labels(found)
    assert set(labels) == set(found)
    mixed = found.copy()
    shuffle.shuffle(mixed)
    again = unify_labels(mixed)
    for name in found:
        assert labels[name].casefold() == again[name].casefold()
        assert canonical_label(labels[name]) in (None, labels[name])
    ordered = order_labels(labels.values())
    assert ordered == order_labels(reversed(list(labels.values())))
    assert len(set(ordered)) == len(ordered)
    known = [label for label in ordered if label in EMOTIONS]
    assert list(ordered[: len(known)]) == known


@SOON
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), min_size=8, max_size=40),
    st.integers(0, 5),
    st.randoms(use_true_random=False),
)
def test_no_clip_is_lost_no_speaker_is_in_two_parts_and_order_does_not_matter(make_dataset, clips, seed, shuffle):
    def parts(rows):
        targets = [label for label, _ in rows]
        used = sorted(set(targets))
        dataset = make_dataset(
            [used.index(target) for target in targets],
            speakers=[f"speaker{speaker}" for _, speaker in rows],
            contents=[f"{row}-{number}" for number, row in enumerate(rows)],
            labels=[f"label{each}" for each in used],
        )
        split = make_split(dataset, SplitConfig(split_seed=seed))
        assert sorted(np.concatenate(list(split.parts.values()))) == list(range(len(rows)))
        return {name: {dataset.clips[index].speaker for index in part} for name, part in split.parts.items()}

    try:
        found = parts(clips)
    except CorpusError:
        return  # too few speakers, or clips of a class
    assert not found["train"] & found["validation"]
    assert not found["train"] & found["test"]
    assert not found["validation"] & found["test"]
    mixed = clips.copy()
    shuffle.shuffle(mixed)
    assert parts(mixed) == found


@SOON
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 300)), max_size=12), st.integers(0, 2**32))
def test_windows_hold_within_their_parts_and_do_not_depend_on_how_a_stream_is_cut(runs, seed):
    spoken = b"".join(bytes([speaks]) * n for speaks, n in runs)

    def steps(pieces):
        windowing = Windowing(GRID)
        found = [step for piece in pieces for step in windowing.feed(piece)]
        return found + list(windowing.finish())

    whole = steps([spoken])
    cuts = sorted(random.Random(seed).choices(range(len(spoken) + 1), k=9))
    assert steps([spoken[a:b] for a, b in zip([0, *cuts], [*cuts, len(spoken)], strict=True)]) == whole
    ends = 0
    for step in whole:
        assert step.part >= ends or step.end is None or step.over
        if step.window is not None:
            first, last = step.window
            assert step.part <= first < last <= min(len(spoken), first + GRID.window)
            assert any(spoken[first:last])
        if step.end is not None:
            assert ends <= step.part < step.end <= len(spoken), "parts follow one another and do not overlap"
            ends = step.end


cells = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=10).map(str.strip).filter(bool)


@SOON
@given(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=8), st.sampled_from([",", "\t"]))
def test_a_manifest_says_what_was_written_into_it(rows, delimiter):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"manifest.{'csv' if delimiter == ',' else 'tsv'}"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerows([("speaker", "path", "label"), *rows])
        found = rows_of(path.read_bytes(), name=path.name)
    assert [(row.speaker, str(row.path), row.label) for row in found] == rows


moments = st.lists(st.integers(0, 10**7), min_size=2, max_size=12, unique=True).map(sorted)


@SOON
@given(moments, st.lists(st.sampled_from(EMOTIONS), min_size=6, max_size=6), st.floats(0.13, 1.0))
def test_segments_come_back_from_lines_and_tables_to_the_millisecond(edges, labels, confidence):
    rest = (1.0 - confidence) / 7
    segments = tuple(
        Segment(
            start / 1000,
            end / 1000,
            None,
            Prediction(label, {each: confidence if each == label else rest for each in EMOTIONS}, confidence, False),
            1.0,
            None,
        )
        for start, end, label in zip(edges[::2], edges[1::2], labels, strict=False)
    )
    empty = np.empty(0)
    windows = Windows(EMOTIONS, empty, empty, empty.astype(np.int64), np.empty((0, 8)))
    timeline = Timeline(segments, windows, edges[-1] / 1000, 16000, 1, {"speech_s": 1.0}, ())
    wanted = [(round(each.start_s * 1000), round(each.end_s * 1000), each.prediction.label) for each in segments]
    with tempfile.TemporaryDirectory() as folder:
        lines = save_timeline(Path(folder) / "a.jsonl", timeline, "jsonl", recording="a.wav").read_text(
            encoding="utf-8"
        )
        table = save_timeline(Path(folder) / "a.csv", timeline, "csv", recording="a.wav").read_text(encoding="utf-8")
    told = [json.loads(line) for line in lines.splitlines()]
    assert [(each["start_ms"], each["end_ms"], each["label"]) for each in told] == wanted
    rows = list(csv.DictReader(table.splitlines()))
    assert [row["label"] for row in rows] == [label for *_, label in wanted]

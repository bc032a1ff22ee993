"""MELD, the Multimodal EmotionLines Dataset: dialogues of the television series Friends, English, 13,708 utterances.

Source: S. Poria, D. Hazarika, N. Majumder, G. Naik, E. Cambria, R. Mihalcea, "MELD: A Multimodal Multi-Party Dataset
for Emotion Recognition in Conversations", ACL 2019, 527-536; https://github.com/declare-lab/MELD. Licence: GPL-3.0 for
the annotations; the video belongs to those who made the series.

File names: "dia0_utt0.mp4": number of the dialogue and of the utterance, which begin anew in each part, so that the
folder must tell it: train_splits, dev_splits_complete, output_repeated_splits_test. Labels and speakers stand in
`train_sent_emo.csv`, `dev_sent_emo.csv` and `test_sent_emo.csv`: anger, disgust, fear, joy, neutral, sadness, surprise.
The files are video; what is read here is sound that was extracted under the same names. Roles such as "Man" are many
people under one name, and "All" is several at once. Videos "final_videos_test..." are second copies and left out.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from emogram.corpora.corpus import Complete, LeftOut, Naming, Tables
from emogram.corpora.labels import canonical_label
from emogram.corpora.origin import ByHand
from emogram.records import Clip

_NAME = re.compile(r"(final_videos_test)?dia(\d+)_utt(\d+)")
_PARTS = ("train", "dev", "test")


def _part(path: Path) -> str | None:
    """Return which part the nearest folder that names one tells."""
    for folder in reversed(path.parts[:-1]):
        found = [part for part in _PARTS if part in folder.lower()]
        if len(found) == 1:
            return found[0]
    return None


def _parse(path: Path) -> Clip | LeftOut | None:
    match = _NAME.fullmatch(path.stem)
    part = _part(path)
    if match is None or part is None:
        return None
    if match[1]:
        return LeftOut("second copy of a test video")
    return Clip(path, corpus="meld", extra={"split": part, "dialogue": match[2], "utterance": match[3]})


def _read(tables: Sequence[Path]) -> Complete:
    told = {}
    for path in tables:
        text = path.read_text("utf-8-sig", errors="replace")
        for row in csv.DictReader(io.StringIO(text, newline="")):
            told[path.name.split("_")[0].lower(), row["Dialogue_ID"], row["Utterance_ID"]] = row

    def complete(clip: Clip) -> Clip | LeftOut:
        row = told.get((clip.extra["split"], clip.extra["dialogue"], clip.extra["utterance"]))
        if row is None:
            return LeftOut("without a line in the tables")
        label = canonical_label(row["Emotion"]) or row["Emotion"]
        extra = {**clip.extra, "sentiment": row["Sentiment"]}
        return replace(clip, label=label, speaker=row["Speaker"].strip() or None, extra=extra)

    return complete


MELD = Naming(
    "meld",
    "GPL-3.0 (annotations); video of a television series",
    "train_splits/dia0_utt0.wav",
    _parse,
    language="en",
    speech="scenes of a television series, American English",
    citation=(
        "S. Poria, D. Hazarika, N. Majumder, G. Naik, E. Cambria, R. Mihalcea, MELD: A Multimodal Multi-Party Dataset "
        "for Emotion Recognition in Conversations, ACL 2019, 527-536"
    ),
    n_clips=13708,
    n_speakers=None,
    origin=ByHand(
        page="https://github.com/declare-lab/MELD",
        how=(
            "download MELD.Raw.tar.gz (11 GB of video) as that page says, unpack it and the three archives in it, and "
            "extract the sound beside each video, such as by: "
            "for f in */*.mp4; do ffmpeg -i $f -vn -ac 1 -ar 16000 ${f%.mp4}.wav; done"
        ),
    ),
    tables=Tables(
        re.compile(r"(train|dev|test)_sent_emo\.csv"), _read, "train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv"
    ),
)

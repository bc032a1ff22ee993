"""MSP-Podcast: natural English of podcasts, chosen by and judged for emotion, 151,654 turns in release 1.11.

Source: R. Lotfian, C. Busso, "Building Naturalistic Emotionally Balanced Speech Corpus by Retrieving Emotional Speech
From Existing Podcast Recordings", IEEE Transactions on Affective Computing 10(4), 2019, 471-483;
https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Podcast.html. Licence: academic or commercial, on request.

File names: "MSP-PODCAST_0001_0008.wav": podcast and segment; some have a third number. Labels, speakers and the numbers
from 1 to 7 stand in `Labels/labels_consensus.csv`: A angry, S sad, H happy, U surprised, F fearful, D disgust, C
contempt (a label of its own), N neutral; O, another emotion, and X, no agreement, are left out where labels are learnt,
and always the segments of the third test set, whose labels are not published. EmoAct is "arousal" here.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from emogram.corpora.corpus import Complete, LeftOut, Naming, Tables
from emogram.corpora.origin import ByHand
from emogram.records import Clip

_NAME = re.compile(r"MSP-PODCAST_\d{4}_\d{4}(?:_\d{4})?")
_LABELS = {
    "A": "angry",
    "S": "sad",
    "H": "happy",
    "U": "surprised",
    "F": "fearful",
    "D": "disgust",
    "C": "contempt",
    "N": "neutral",
}
_LEFT_OUT = {"X": LeftOut("without agreement on an emotion"), "O": LeftOut("of another emotion")}
_NUMBERS = {"arousal": "EmoAct", "valence": "EmoVal", "dominance": "EmoDom"}
_UNKNOWN = "unknown"


def _parse(path: Path) -> Clip | None:
    return Clip(path, corpus="msppodcast") if _NAME.fullmatch(path.stem) else None


def _read(tables: Sequence[Path]) -> Complete:
    told: dict[str, dict[str, str]] = {}
    for path in tables:
        text = path.read_text("utf-8-sig", errors="replace")
        told |= {Path(row["FileName"]).stem: row for row in csv.DictReader(io.StringIO(text, newline=""))}

    def complete(clip: Clip) -> Clip | LeftOut:
        row = told.get(clip.path.stem)
        if row is None:
            return LeftOut("without a published label")
        extra = {name: row[column] for name, column in _NUMBERS.items() if row.get(column)}
        if row.get("Gender", "").lower() in ("female", "male"):
            extra["gender"] = row["Gender"].lower()
        if row.get("Split_Set"):
            extra["split"] = row["Split_Set"].lower()
        speaker = row.get("SpkrID") or _UNKNOWN
        known = None if speaker.lower() == _UNKNOWN else speaker
        told_of = replace(clip, speaker=known, extra=extra)
        if row["EmoClass"] not in _LABELS:
            why = _LEFT_OUT.get(row["EmoClass"], LeftOut("without a published label"))
            return replace(why, clip=told_of if _NUMBERS.keys() & extra.keys() else None)
        return replace(told_of, label=_LABELS[row["EmoClass"]])

    return complete


MSP_PODCAST = Naming(
    "msppodcast",
    "academic or commercial, on request",
    "MSP-PODCAST_0001_0008.wav",
    _parse,
    language="en",
    speech="natural, podcasts in English",
    citation=(
        "R. Lotfian, C. Busso, Building Naturalistic Emotionally Balanced Speech Corpus by Retrieving Emotional Speech "
        "From Existing Podcast Recordings, IEEE Transactions on Affective Computing 10(4), 2019, 471-483"
    ),
    n_clips=151654,
    n_speakers=None,
    origin=ByHand(
        page="https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Podcast.html",
        how="have your institution sign the agreement of that page, and give the folder that holds Audios and Labels",
    ),
    tables=Tables(re.compile(r"labels_consensus\.csv"), _read, "Labels/labels_consensus.csv"),
    scale=(1.0, 7.0),
)

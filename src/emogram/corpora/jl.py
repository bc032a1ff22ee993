"""JL-Corpus: acted, New Zealand English, two women and two men, five primary and five secondary emotions, 2,400 clips.

Source: J. James, L. Tian, C. I. Watson, "An Open Source Emotional Speech Corpus for Human Robot Interaction
Applications", Interspeech 2018, 2768-2772; https://www.kaggle.com/datasets/tli725/jl-corpus. Licence: CC0 1.0. The
archive is made by Kaggle, without a published checksum.

File names: "female1_angry_10a_1.wav": speaker, emotion, number of the sentence with the session (a or b), repetition.
Primary: angry, excited, happy, neutral, sad; secondary, other sentences under the same numbers: anxious, apologetic,
assertive, concerned, encouraging. What is none of the eight emotions stays a label of its own.
"""

from __future__ import annotations

import re
from pathlib import Path

from emogram.corpora.corpus import Naming
from emogram.corpora.labels import canonical_label
from emogram.corpora.origin import Download, RemoteFile
from emogram.records import Clip

_PRIMARY = ("angry", "excited", "happy", "neutral", "sad")
_SECONDARY = ("anxious", "apologetic", "assertive", "concerned", "encouraging")
_NAME = re.compile(rf"((fe)?male[12])_({'|'.join(_PRIMARY + _SECONDARY)})_(\d{{1,2}})([ab])_([12])", re.IGNORECASE)


def _parse(path: Path) -> Clip | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    speaker, female, emotion, sentence, session, repetition = (part and part.lower() for part in match.groups())
    extra = {
        "gender": "female" if female else "male",
        "statement": f"{'primary' if emotion in _PRIMARY else 'secondary'} {sentence}",
        "repetition": session + repetition,
    }
    return Clip(path, label=canonical_label(emotion) or emotion, speaker=speaker, corpus="jl", extra=extra)


JL = Naming(
    "jl",
    "CC0 1.0",
    "female1_angry_10a_1.wav",
    _parse,
    language="en",
    speech="acted, New Zealand English",
    citation=(
        "J. James, L. Tian, C. I. Watson, An Open Source Emotional Speech Corpus for Human Robot Interaction "
        "Applications, Interspeech 2018, 2768-2772"
    ),
    n_clips=2400,
    n_speakers=4,
    origin=Download(
        page="https://www.kaggle.com/datasets/tli725/jl-corpus",
        archives=(RemoteFile("https://www.kaggle.com/api/v1/datasets/download/tli725/jl-corpus", "jl-corpus.zip"),),
    ),
)

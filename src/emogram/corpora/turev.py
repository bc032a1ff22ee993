"""TurEV-DB, the Turkish Emotion-Voice Database: acted single words, Turkish, six speakers, 1,735 clips.

Source: S. F. Canpolat, Z. Ormanoglu, D. Zeyrek, "Turkish Emotion Voice Database (TurEV-DB)", SLTU-CCURL 2020, 368-375,
https://aclanthology.org/2020.sltu-1.52. Licence: CC BY-NC-ND 4.0.

File names: "1157_hl_acik.wav": speaker, emotion (kz angry, sk calm, mt happy, hl sad), word; a digit after the word
marks another take of it. The gender of the speakers is not documented.
"""

from __future__ import annotations

import re
from pathlib import Path

from emogram.corpora.corpus import Naming
from emogram.corpora.origin import ByHand
from emogram.records import Clip

_NAME = re.compile(r"(\d{4})_(kz|sk|mt|hl)_([^\W\d]+)(\d*)", re.IGNORECASE)
_LABELS = {"kz": "angry", "sk": "calm", "mt": "happy", "hl": "sad"}


def _parse(path: Path) -> Clip | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    speaker, emotion, word, take = match.groups()
    extra = {"statement": word.lower()}
    if take:
        extra["repetition"] = take
    return Clip(path, label=_LABELS[emotion.lower()], speaker=speaker, corpus="turev", extra=extra)


TUREV = Naming(
    "turev",
    "CC BY-NC-ND 4.0",
    "1157_hl_acik.wav",
    _parse,
    language="tr",
    speech="acted single words, Turkish",
    citation=(
        "S. F. Canpolat, Z. Ormanoglu, D. Zeyrek, Turkish Emotion Voice Database (TurEV-DB), SLTU-CCURL 2020, 368-375"
    ),
    n_clips=1735,
    n_speakers=6,
    origin=ByHand(
        page="https://github.com/Xeonen/TurEV-DB",
        how="clone the repository, and give the folder of it that holds the sound files",
    ),
)

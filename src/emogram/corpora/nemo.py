"""nEMO, the Dataset of Emotional Speech in Polish: acted, nine actors, 90 sentences in each emotion, 4,481 clips.

Source: I. Christop, "nEMO: Dataset of Emotional Speech in Polish", LREC-COLING 2024, 12111-12116,
https://aclanthology.org/2024.lrec-main.1059; https://github.com/amu-cai/nEMO. Licence: CC BY-NC-SA 4.0. GitHub makes an
archive of a repository anew, so that it has no published checksum.

File names: "EB0_anger_1.wav": actor, emotion (anger, fear, happiness, neutral, sadness, surprised), sentence.
"""

from __future__ import annotations

import re
from pathlib import Path

from emogram.corpora.corpus import Naming
from emogram.corpora.labels import canonical_label
from emogram.corpora.origin import Download, RemoteFile
from emogram.records import Clip

_NAME = re.compile(r"([A-Z]{2}0)_(anger|fear|happiness|neutral|sadness|surprised)_(\d{1,2})", re.IGNORECASE)
_GENDERS = {
    "EB0": "female",
    "IC0": "female",
    "KD0": "female",
    "MK0": "female",
    "KS0": "male",
    "MP0": "male",
    "SM0": "male",
    "TP0": "male",
    "WR0": "male",
}


def _parse(path: Path) -> Clip | None:
    match = _NAME.fullmatch(path.stem)
    if match is None or match[1].upper() not in _GENDERS:
        return None
    actor = match[1].upper()
    extra = {"gender": _GENDERS[actor], "statement": match[3]}
    return Clip(path, label=canonical_label(match[2]), speaker=actor, corpus="nemo", extra=extra)


NEMO = Naming(
    "nemo",
    "CC BY-NC-SA 4.0",
    "EB0_anger_1.wav",
    _parse,
    language="pl",
    speech="acted, Polish",
    citation=(
        "I. Christop, nEMO: Dataset of Emotional Speech in Polish, LREC-COLING 2024, 12111-12116, arXiv:2404.06292"
    ),
    n_clips=4481,
    n_speakers=9,
    origin=Download(
        page="https://github.com/amu-cai/nEMO",
        archives=(RemoteFile("https://github.com/amu-cai/nEMO/archive/refs/heads/main.zip", "nEMO-main.zip"),),
    ),
)

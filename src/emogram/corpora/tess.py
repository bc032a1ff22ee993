"""TESS, the Toronto emotional speech set: acted, English, two women, 200 words in "Say the word ...", 2,800 clips.

Source: M. K. Pichora-Fuller, K. Dupuis, "Toronto emotional speech set (TESS)", Borealis, 2020,
https://doi.org/10.5683/SP2/E8H2MF. Licence: CC BY-NC-ND 4.0. Borealis makes an archive of the whole anew for each
download (Dataverse's access API), so that it has no published checksum.

File names: "OAF_back_angry.wav": speaker (OAF older, YAF younger woman), word, emotion (angry, disgust, fear, happy,
neutral, ps for pleasant surprise, sad). The published set has one slip of the pen, "OA_bite_neutral.wav".
"""

from __future__ import annotations

import re
from pathlib import Path

from emogram.corpora.corpus import Naming
from emogram.corpora.labels import canonical_label
from emogram.corpora.origin import Download, RemoteFile
from emogram.records import Clip

_NAME = re.compile(r"(OAF|OA|YAF)_([a-z]+)_(angry|disgust|fear|happy|neutral|ps|sad)", re.IGNORECASE)


def _parse(path: Path) -> Clip | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    speaker, word, emotion = match.groups()
    return Clip(
        path,
        label=canonical_label(emotion),
        speaker="YAF" if speaker.upper() == "YAF" else "OAF",
        corpus="tess",
        extra={"gender": "female", "statement": word.lower()},
    )


TESS = Naming(
    "tess",
    "CC BY-NC-ND 4.0",
    "OAF_back_angry.wav",
    _parse,
    language="en",
    speech="acted, English",
    citation=(
        "M. K. Pichora-Fuller, K. Dupuis, Toronto emotional speech set (TESS), Borealis, 2020, doi:10.5683/SP2/E8H2MF"
    ),
    n_clips=2800,
    n_speakers=2,
    origin=Download(
        page="https://doi.org/10.5683/SP2/E8H2MF",
        archives=(
            RemoteFile(
                "https://borealisdata.ca/api/access/dataset/:persistentId/?persistentId=doi:10.5683/SP2/E8H2MF",
                "tess.zip",
            ),
        ),
    ),
)

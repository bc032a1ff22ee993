"""URDU: natural Urdu of television talk shows, 27 men and 11 women, 400 clips.

Source: S. Latif, A. Qayyum, M. Usman, J. Qadir, "Cross Lingual Speech Emotion Recognition: Urdu vs. Western Languages",
International Conference on Frontiers of Information Technology, 2018, 88-93;
https://github.com/siddiquelatif/URDU-Dataset. Licence: research only, as its README says. GitHub makes an archive of a
repository anew, so that it has no published checksum.

File names: "SM1_F10_A010.wav": speaker with the gender (SM man, SF woman), number of the file, emotion (A angry, H
happy, N neutral, S sad) with its number.
"""

from __future__ import annotations

import re
from pathlib import Path

from emogram.corpora.corpus import Naming
from emogram.corpora.origin import Download, RemoteFile
from emogram.records import Clip

_NAME = re.compile(r"(S([FM])\d{1,2})_F\d{1,3}_([AHNS])\d{1,4}", re.IGNORECASE)
_LABELS = {"A": "angry", "H": "happy", "N": "neutral", "S": "sad"}


def _parse(path: Path) -> Clip | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    speaker, gender, emotion = (part.upper() for part in match.groups())
    extra = {"gender": "female" if gender == "F" else "male"}
    return Clip(path, label=_LABELS[emotion], speaker=speaker, corpus="urdu", extra=extra)


URDU = Naming(
    "urdu",
    "research only",
    "SM1_F10_A010.wav",
    _parse,
    language="ur",
    speech="natural, Urdu talk shows",
    citation=(
        "S. Latif, A. Qayyum, M. Usman, J. Qadir, Cross Lingual Speech Emotion Recognition: Urdu vs. Western "
        "Languages, FIT 2018, 88-93"
    ),
    n_clips=400,
    n_speakers=38,
    origin=Download(
        page="https://github.com/siddiquelatif/URDU-Dataset",
        archives=(
            RemoteFile(
                "https://github.com/siddiquelatif/URDU-Dataset/archive/refs/heads/master.zip", "URDU-Dataset-master.zip"
            ),
        ),
    ),
)

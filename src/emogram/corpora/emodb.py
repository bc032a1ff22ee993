"""EMO-DB, the Berlin Database of Emotional Speech: acted, German, ten speakers, 535 clips.

Source: F. Burkhardt, A. Paeschke, M. Rolfes, W. F. Sendlmeier, B. Weiss, "A Database of German Emotional Speech",
Interspeech 2005, 1517-1520; Zenodo record 7447302 (version 1.3.0, an audformat database), which publishes size and MD5
of the archive. Licence: CC BY 4.0 by that record; the header inside says CC0.

File names: "03a01Fa.wav": speaker, text, emotion by its German word (W Wut, L Langeweile, E Ekel, A Angst, F Freude,
T Trauer, N neutral), version. Boredom (L) is none of the eight emotions and stays a label of its own.
"""

from __future__ import annotations

import re
from pathlib import Path

from emogram.corpora.corpus import Naming
from emogram.corpora.origin import Download, RemoteFile
from emogram.records import Clip

_NAME = re.compile(r"(03|08|09|1[0-6])([ab]\d\d)([WLEAFTN])([a-z]?)", re.IGNORECASE)
_FEMALE = frozenset({"08", "09", "13", "14", "16"})
_LABELS = {
    "W": "angry",
    "L": "boredom",
    "E": "disgust",
    "A": "fearful",
    "F": "happy",
    "T": "sad",
    "N": "neutral",
}


def _parse(path: Path) -> Clip | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    speaker, text, emotion, version = match.groups()
    extra = {"gender": "female" if speaker in _FEMALE else "male", "statement": text.lower()}
    if version:
        extra["repetition"] = version.lower()
    return Clip(path, label=_LABELS[emotion.upper()], speaker=speaker, corpus="emodb", extra=extra)


EMODB = Naming(
    "emodb",
    "CC BY 4.0",
    "03a01Fa.wav",
    _parse,
    language="de",
    speech="acted, German",
    citation=(
        "F. Burkhardt, A. Paeschke, M. Rolfes, W. F. Sendlmeier, B. Weiss, A Database of German Emotional "
        "Speech, Interspeech 2005, 1517-1520"
    ),
    n_clips=535,
    n_speakers=10,
    origin=Download(
        page="https://zenodo.org/records/7447302",
        archives=(
            RemoteFile(
                "https://zenodo.org/records/7447302/files/emodb.zip?download=1",
                "emodb.zip",
                checksum="md5:9d21362dbc5676ef3ab4745d83ced0db",
                size=39_981_818,
            ),
        ),
    ),
)

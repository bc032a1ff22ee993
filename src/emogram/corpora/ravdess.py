"""RAVDESS, the Ryerson Audio-Visual Database of Emotional Speech and Song: acted, North American English, 24 actors.

Source: S. R. Livingstone, F. A. Russo, "The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS)",
PLoS ONE 13(5), 2018, e0196391; Zenodo record 1188976, which publishes size and MD5 of the archive. Licence:
CC BY-NC-SA 4.0.

File names: seven numbers, "03-01-06-01-02-01-12.wav": modality (01 sound and video, 02 video, 03 sound), vocal channel
(01 speech, 02 song), emotion (01 neutral, 02 calm, 03 happy, 04 sad, 05 angry, 06 fearful, 07 disgust, 08 surprised),
intensity (01 normal, 02 strong), statement, repetition, actor (odd numbers male, even female). The speech that exists
as sound alone is read, 1,440 clips; song and video files are left out.
"""

from __future__ import annotations

import re
from pathlib import Path

from emogram.corpora.corpus import LeftOut, Naming
from emogram.corpora.origin import Download, RemoteFile
from emogram.records import Clip

_NAME = re.compile(r"(0[123])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])")
_LABELS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}


def _parse(path: Path) -> Clip | LeftOut | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    modality, channel, emotion, intensity, statement, repetition, actor = match.groups()
    if modality != "03":
        return LeftOut("video (modality 01 or 02)")
    if channel != "01":
        return LeftOut("song (vocal channel 02)")
    extra = {
        "gender": "male" if int(actor) % 2 else "female",
        "intensity": "strong" if intensity == "02" else "normal",
        "statement": statement,
        "repetition": repetition,
    }
    return Clip(path, label=_LABELS[emotion], speaker=actor, corpus="ravdess", extra=extra)


RAVDESS = Naming(
    "ravdess",
    "CC BY-NC-SA 4.0",
    "03-01-06-01-02-01-12.wav",
    _parse,
    language="en",
    speech="acted, North American English",
    citation=(
        "S. R. Livingstone, F. A. Russo, The Ryerson Audio-Visual Database of Emotional Speech and Song "
        "(RAVDESS), PLoS ONE 13(5), 2018, e0196391, doi:10.1371/journal.pone.0196391"
    ),
    n_clips=1440,
    n_speakers=24,
    origin=Download(
        page="https://zenodo.org/records/1188976",
        archives=(
            RemoteFile(
                "https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip?download=1",
                "Audio_Speech_Actors_01-24.zip",
                checksum="md5:bc696df654c87fed845eb13823edef8a",
                size=208_468_073,
            ),
        ),
    ),
)

"""ShEMO, the Sharif Emotional Speech Database: Persian of radio plays, 31 women and 56 men, 3,000 clips.

Source: O. Mohamad Nezami, P. Jamshid Lou, M. Karami, "ShEMO: a large-scale validated database for Persian speech
emotion detection", Language Resources and Evaluation 53, 2019, 1-16;
https://github.com/pariajm/sharif-emotional-speech-dataset, whose README has the addresses of the two archives (with
"dl=0", which shows a page; "dl=1" is the file itself). Licence: free of charge for academic purposes. No checksums are
published.

File names: "F01A01.wav": gender and number of the speaker, emotion (A anger, F fear, H happiness, N neutral, S sadness,
W surprise), number.
"""

from __future__ import annotations

import re
from pathlib import Path

from emogram.corpora.corpus import Naming
from emogram.corpora.origin import Download, RemoteFile
from emogram.records import Clip

_NAME = re.compile(r"(([FM])\d\d)([AFHNSW])\d\d", re.IGNORECASE)
_LABELS = {"A": "angry", "F": "fearful", "H": "happy", "N": "neutral", "S": "sad", "W": "surprised"}


def _parse(path: Path) -> Clip | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    speaker, gender, emotion = (part.upper() for part in match.groups())
    extra = {"gender": "female" if gender == "F" else "male"}
    return Clip(path, label=_LABELS[emotion], speaker=speaker, corpus="shemo", extra=extra)


SHEMO = Naming(
    "shemo",
    "free for academic purposes",
    "F01A01.wav",
    _parse,
    language="fa",
    speech="radio plays, Persian",
    citation=(
        "O. Mohamad Nezami, P. Jamshid Lou, M. Karami, ShEMO: a large-scale validated database for Persian speech "
        "emotion detection, Language Resources and Evaluation 53, 2019, 1-16"
    ),
    n_clips=3000,
    n_speakers=87,
    origin=Download(
        page="https://github.com/pariajm/sharif-emotional-speech-dataset",
        archives=(
            RemoteFile("https://www.dropbox.com/s/42okby6c40w3j2x/female.zip?dl=1", "female.zip"),
            RemoteFile("https://www.dropbox.com/s/5ebs8hq1zm0qkp6/male.zip?dl=1", "male.zip"),
        ),
    ),
)

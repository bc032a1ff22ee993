"""CREMA-D, the Crowd-sourced Emotional Multimodal Actors Dataset: acted, American English, 91 actors, 7,442 clips.

Source: H. Cao, D. G. Cooper, M. K. Keutmann, R. C. Gur, A. Nenkova, R. Verma, "CREMA-D: Crowd-sourced Emotional
Multimodal Actors Dataset", IEEE Transactions on Affective Computing 5(4), 2014, 377-390. Licence: ODbL 1.0, its
contents under the Database Contents License 1.0.

Its repository, https://github.com/CheyneyComputerScience/CREMA-D, keeps the sound in Git LFS: an archive of it holds,
for each file, a pointer with size and SHA-256, and the files are below https://media.githubusercontent.com/media (as in
TensorFlow Datasets, `crema_d`). All WAV files together have 605,899,936 bytes by these pointers.

File names: "1001_DFA_ANG_XX.wav": actor, sentence, intended emotion (ANG, DIS, FEA, HAP, NEU, SAD), level (LO low, MD
medium, HI high, XX unspecified; one file has X). The gender of an actor is not in the name.
"""

from __future__ import annotations

import re
from pathlib import Path

from emogram.corpora.corpus import Naming
from emogram.corpora.labels import canonical_label
from emogram.corpora.origin import Download, Pointers, RemoteFile
from emogram.records import Clip

_NAME = re.compile(r"(1\d{3})_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX?)", re.IGNORECASE)
_LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified", "X": "unspecified"}


def _parse(path: Path) -> Clip | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    actor, sentence, emotion, level = match.groups()
    extra = {"intensity": _LEVELS[level.upper()], "statement": sentence.upper()}
    return Clip(path, label=canonical_label(emotion), speaker=actor, corpus="cremad", extra=extra)


CREMAD = Naming(
    "cremad",
    "ODbL 1.0",
    "1001_DFA_ANG_XX.wav",
    _parse,
    language="en",
    speech="acted, American English",
    citation=(
        "H. Cao, D. G. Cooper, M. K. Keutmann, R. C. Gur, A. Nenkova, R. Verma, CREMA-D: Crowd-sourced "
        "Emotional Multimodal Actors Dataset, IEEE Transactions on Affective Computing 5(4), 2014, 377-390"
    ),
    n_clips=7442,
    n_speakers=91,
    origin=Download(
        page="https://github.com/CheyneyComputerScience/CREMA-D",
        archives=(
            RemoteFile(
                "https://github.com/CheyneyComputerScience/CREMA-D/archive/refs/heads/master.zip", "CREMA-D-master.zip"
            ),
        ),
        keep=("*/AudioWAV/*.wav", "*/VideoDemographics.csv", "*/LICENSE*", "*/README*"),
        pointers=Pointers(
            "https://media.githubusercontent.com/media/CheyneyComputerScience/CREMA-D/master/", size=605_899_936
        ),
    ),
)

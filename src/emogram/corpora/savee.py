"""SAVEE, the Surrey Audio-Visual Expressed Emotion database: acted, British English, four men, 480 clips.

Source: S. Haq, P. J. B. Jackson, "Multimodal Emotion Recognition", in Machine Audition, IGI Global, 2010, 398-423.
Licence: free for research after registration with the authors, at http://kahlan.eps.surrey.ac.uk/savee/.

File names: "DC_a01.wav", or "a01.wav" in a folder of the speaker: speaker (DC, JE, JK, KL), emotion (a anger,
d disgust, f fear, h happiness, n neutral, sa sadness, su surprise), number of the sentence. The same number stands for
different sentences in different emotions, so that "statement" is both together.
"""

from __future__ import annotations

import re
from pathlib import Path

from emogram.corpora.corpus import Naming
from emogram.corpora.origin import ByHand
from emogram.records import Clip

_NAME = re.compile(r"(?:(DC|JE|JK|KL)_)?(sa|su|a|d|f|h|n)(\d\d)", re.IGNORECASE)
_SPEAKERS = frozenset({"DC", "JE", "JK", "KL"})
_LABELS = {
    "a": "angry",
    "d": "disgust",
    "f": "fearful",
    "h": "happy",
    "n": "neutral",
    "sa": "sad",
    "su": "surprised",
}


def _parse(path: Path) -> Clip | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    code = match[2].lower()
    # Without a speaker, "a01" is too common a name to be claimed.
    speaker = (match[1] or path.parent.name).upper()
    if speaker not in _SPEAKERS:
        return None
    extra = {"gender": "male", "statement": code + match[3]}
    return Clip(path, label=_LABELS[code], speaker=speaker, corpus="savee", extra=extra)


SAVEE = Naming(
    "savee",
    "research only, on registration",
    "DC_a01.wav",
    _parse,
    language="en",
    speech="acted, British English",
    citation=(
        "S. Haq, P. J. B. Jackson, Multimodal Emotion Recognition, in Machine Audition, IGI Global, 2010, 398-423"
    ),
    n_clips=480,
    n_speakers=4,
    origin=ByHand(
        page="http://kahlan.eps.surrey.ac.uk/savee/",
        how="register there with the authors, who send a user name and a password, then download and unpack AudioData",
    ),
)

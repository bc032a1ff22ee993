"""ESD, the Emotional Speech Database: read sentences, ten speakers of English and ten of Mandarin, 35,000 clips.

Source: K. Zhou, B. Sisman, R. Liu, H. Li, "Seen and Unseen Emotional Style Transfer for Voice Conversion with a New
Emotional Speech Dataset", ICASSP 2021, 920-924; https://github.com/HLTSingapore/Emotional-Speech-Data. Licence:
research only, as its README says.

File names: "0011_000351.wav": speaker (0001 to 0010 Mandarin, 0011 to 0020 English), and a number that tells the
emotion, 350 each: neutral from 1, angry from 351, happy from 701, sad from 1051, surprise from 1401. Each emotion has
the same 350 sentences in the same order. The gender of the speakers is that of the README.
"""

from __future__ import annotations

import re
from pathlib import Path

from emogram.corpora.corpus import Naming
from emogram.corpora.origin import ByHand
from emogram.records import Clip

_NAME = re.compile(r"(00(?:0[1-9]|1\d|20))_(00\d{4})")
_LABELS = ("neutral", "angry", "happy", "sad", "surprised")
_N_SENTENCES = 350
_FEMALE = frozenset({1, 2, 3, 7, 9, 15, 16, 17, 18, 19})
_LAST_OF_MANDARIN = 10


def _parse(path: Path) -> Clip | None:
    match = _NAME.fullmatch(path.stem)
    if match is None or not 1 <= int(match[2]) <= _N_SENTENCES * len(_LABELS):
        return None
    emotion, sentence = divmod(int(match[2]) - 1, _N_SENTENCES)
    speaker = int(match[1])
    language = "zh" if speaker <= _LAST_OF_MANDARIN else "en"
    extra = {
        "gender": "female" if speaker in _FEMALE else "male",
        "language": language,
        "statement": f"{language}{sentence + 1}",
    }
    return Clip(path, label=_LABELS[emotion], speaker=match[1], corpus="esd", extra=extra)


ESD = Naming(
    "esd",
    "research only",
    "0011_000351.wav",
    _parse,
    language="en",
    speech="acted, English and Mandarin",
    citation=(
        "K. Zhou, B. Sisman, R. Liu, H. Li, Seen and Unseen Emotional Style Transfer for Voice Conversion with a New "
        "Emotional Speech Dataset, ICASSP 2021, 920-924"
    ),
    n_clips=35000,
    n_speakers=20,
    origin=ByHand(
        page="https://github.com/HLTSingapore/Emotional-Speech-Data",
        how="follow the link of that page to the authors' drive, accept the terms, download and unpack the archive",
    ),
)

"""IEMOCAP, the Interactive Emotional Dyadic Motion Capture database: acted dialogues, American English, 10,039 turns.

Source: C. Busso, M. Bulut, C.-C. Lee, A. Kazemzadeh, E. Mower, S. Kim, J. N. Chang, S. Lee, S. S. Narayanan, "IEMOCAP:
Interactive emotional dyadic motion capture database", Language Resources and Evaluation 42, 2008, 335-359. Licence: for
research, on request, https://sail.usc.edu/iemocap/iemocap_release.htm.

File names: "Ses01F_impro01_M003.wav": session (01 to 05), the actor who wore the markers, scenario (impro improvised,
script scripted), and who speaks with the number of the turn. The speaker is the session with the letter of the LAST
field: this one is the man of session 1, and the F at the beginning says only that the woman wore the markers. Labels
stand in `SessionN/dialog/EmoEvaluation/*.txt`, with valence, activation (here "arousal") and dominance from 1 to 5.
"exc" and "fru" stay labels of their own, excited and frustrated; many papers count the first as happy. Turns on which
the annotators did not agree (xxx) and those of another emotion (oth) are left out where labels are learnt, and always
the recordings of whole dialogues.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from emogram.corpora.corpus import Complete, LeftOut, Naming, Tables
from emogram.corpora.labels import canonical_label
from emogram.corpora.origin import ByHand
from emogram.records import Clip

_DIALOGUE = r"Ses0([1-5])[FM]_((?:impro|script)\d\d[a-z]?(?:_\d[a-z]?)?)"
_NAME = re.compile(_DIALOGUE + r"(?:_([FM])([X\d]{3,4}))?")
_LINE = re.compile(r"\[[\d.]+ - [\d.]+\]\t(\w+)\t(\w{3})\t\[([\d.]+), ([\d.]+), ([\d.]+)\]")
_OWN = {"exc": "excited", "fru": "frustrated"}
_LEFT_OUT = {"xxx": LeftOut("without agreement on an emotion"), "oth": LeftOut("of another emotion")}


def _parse(path: Path) -> Clip | LeftOut | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    session, dialogue, letter, _ = match.groups()
    if letter is None:
        return LeftOut("whole dialogue")
    extra = {
        "gender": "female" if letter == "F" else "male",
        "session": session,
        "scenario": "improvised" if dialogue.startswith("impro") else "scripted",
    }
    return Clip(path, speaker=f"Ses0{session}{letter}", corpus="iemocap", extra=extra)


def _read(tables: Sequence[Path]) -> Complete:
    told = {match[1]: match for path in tables for match in _LINE.finditer(path.read_text("utf-8", errors="replace"))}

    def complete(clip: Clip) -> Clip | LeftOut:
        line = told.get(clip.path.stem)
        if line is None:
            return LeftOut("without an evaluation")
        numbers = {"valence": line[3], "arousal": line[4], "dominance": line[5]}
        told_of = replace(clip, extra={**clip.extra, **numbers})
        if line[2] in _LEFT_OUT:
            return replace(_LEFT_OUT[line[2]], clip=told_of)
        return replace(told_of, label=_OWN.get(line[2]) or canonical_label(line[2]) or line[2])

    return complete


IEMOCAP = Naming(
    "iemocap",
    "research only, on request",
    "Ses01F_impro01_F000.wav",
    _parse,
    language="en",
    speech="acted dialogues, American English",
    citation=(
        "C. Busso, M. Bulut, C.-C. Lee, A. Kazemzadeh, E. Mower, S. Kim, J. N. Chang, S. Lee, S. S. Narayanan, "
        "IEMOCAP: Interactive emotional dyadic motion capture database, Language Resources and "
        "Evaluation 42, 2008, 335-359"
    ),
    n_clips=10039,
    n_speakers=10,
    origin=ByHand(
        page="https://sail.usc.edu/iemocap/iemocap_release.htm",
        how="send the release form, unpack what you are sent, and give the folder IEMOCAP_full_release",
    ),
    tables=Tables(
        re.compile(r"EmoEvaluation/" + _DIALOGUE + r"\.txt"), _read, "SessionN/dialog/EmoEvaluation/Ses*.txt"
    ),
    scale=(1.0, 5.0),
)

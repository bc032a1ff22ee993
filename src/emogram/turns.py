"""Who speaks when, as somebody else found out: RTTM and TextGrid files -> turns."""

from __future__ import annotations

from pathlib import Path

from emogram.errors import InputError
from emogram.records import Turn


def read_turns(path: str | Path) -> list[Turn]:
    """Read the turns of one recording, in order of time.

    Args:
        path: An RTTM file (NIST, "The 2009 (RT-09) Rich Transcription Meeting Recognition Evaluation Plan", appendix
            A), whose lines of type SPEAKER count, or a Praat TextGrid, in which each interval tier is a speaker and
            each interval with text a turn.

    Raises:
        InputError: The file is missing, unreadable, holds no turn, or holds those of several recordings.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        text = ""  # Praat also writes UTF-16, and only TextGrids are read so
    turns = _textgrid(path) if path.suffix.lower() == ".textgrid" else _rttm(path, text)
    if not turns:
        raise InputError(f"{path}: no turn in it; expected RTTM lines that begin with SPEAKER, or a TextGrid")
    return sorted(turns, key=lambda turn: (turn.start_s, turn.end_s))


def _rttm(path: Path, text: str) -> list[Turn]:
    turns = []
    recordings: dict[str, None] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0] != "SPEAKER":
            continue
        try:
            start_s, duration_s, speaker = float(fields[3]), float(fields[4]), fields[7]
            fine = 0.0 <= start_s < float("inf") and 0.0 < duration_s < float("inf")
        except (ValueError, IndexError):
            fine = False
        if not fine:
            raise InputError(
                f"{path}: line {number} is no turn; expected 'SPEAKER file channel start duration <NA> <NA> speaker'"
            )
        recordings[fields[1]] = None
        turns.append(Turn(start_s, start_s + duration_s, speaker))
    if len(recordings) > 1:
        raise InputError(
            f"{path}: holds the turns of {len(recordings)} recordings ({', '.join(list(recordings)[:3])}, ...); give "
            "one file for each"
        )
    return turns


def _textgrid(path: Path) -> list[Turn]:
    from praatio import textgrid
    from praatio.utilities.errors import PraatioException

    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False, reportingMode="silence")
    except (PraatioException, ValueError, IndexError, KeyError, OSError) as error:
        raise InputError(f"{path}: not a readable TextGrid ({' '.join(str(error).split())[:100]})") from None
    return [
        Turn(float(start_s), float(end_s), name)
        for name, tier in zip(grid.tierNames, grid.tiers, strict=True)
        if isinstance(tier, textgrid.IntervalTier)
        for start_s, end_s, text in tier.entries
        if text.strip() and end_s > start_s >= 0.0
    ]

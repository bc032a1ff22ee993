"""Which windows of a stream are worth judging: speech, chunk by chunk -> spoken parts -> overlapping windows over them.

A spoken part begins a little before somebody speaks and ends a little after, when a pause has lasted too long. Windows
stand at fixed steps from the beginning of their part. Each is known the moment its end is heard, and lies within the
last window's length of sound: nothing waits, and nothing older is kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from emogram.config import TimelineConfig
from emogram.records import Turn
from emogram.speech import CHUNK_S


@dataclass(frozen=True)
class Grid:
    """The settings in chunks of `CHUNK_S`.

    Attributes:
        window: Length of a window, a multiple of `cell`.
        hop: Step of the windows, two cells.
        cell: The finest stretch that has an answer of its own.
        pad: What is added before and after speech.
        max_pause: The longest pause inside a part.
        min_speech: Least speech in a window.
        bridge: The longest pause between two parts over which emotion is taken to last.
        lag: Cells that a label may wait for.
    """

    window: int
    hop: int
    cell: int
    pad: int
    max_pause: int
    min_speech: int
    bridge: int
    lag: int

    @staticmethod
    def of(config: TimelineConfig) -> Grid:
        """Round the settings."""
        cell = max(1, round(config.hop_s / CHUNK_S / 2))
        hop = 2 * cell
        pad = round(config.pad_s / CHUNK_S)
        window = max(2 * hop, cell * round(config.window_s / CHUNK_S / cell))
        return Grid(
            window=window,
            hop=hop,
            cell=cell,
            pad=pad,
            max_pause=min(max(round(config.max_pause_s / CHUNK_S), hop + pad, 2 * pad), window - hop),
            min_speech=max(1, round(config.min_speech_s / CHUNK_S)),
            bridge=round(config.bridge_s / CHUNK_S),
            lag=max(1, round(config.lag_s / CHUNK_S / cell)),
        )


@dataclass(frozen=True)
class Step:
    """What is new in a spoken part. Places are counted in chunks from the beginning of the stream.

    Attributes:
        part: First chunk of the part; no two parts have the same.
        turn: Whose turn it is; None where nobody told.
        spoken: Whether somebody speaks, a byte for each chunk of the part since the last step, some beyond
            `end`.
        window: First chunk of a window to judge and the one after its last; None where there is none.
        next_start: First chunk of the next window that may come: what lies before is settled.
        end: The chunk after the part's last; None where the part goes on.
        known: The chunk after the last that was heard for this: the window's own end, or, where the part ended before
            it, the end of the pause that ended the part.
        over: True, with nothing else new, once no part can follow this one closely enough to be bridged to it.
        opens: True, with nothing else new, where the part has just begun; told only to those who ask for it.
    """

    part: int
    turn: Turn | None
    spoken: bytes
    window: tuple[int, int] | None
    next_start: int
    end: int | None
    known: int
    over: bool = False
    opens: bool = False

    def seconds(self, chunk: int) -> float:
        """Return when a chunk begins, no further than the turn reaches."""
        moment = chunk * CHUNK_S
        return moment if self.turn is None else min(max(moment, self.turn.start_s), self.turn.end_s)


class Windowing:
    """Follows the speech of one stream, or of one speaker in it."""

    def __init__(self, grid: Grid, turns: Sequence[Turn] | None = None, *, tell_openings: bool = False) -> None:
        """Begin at the first chunk.

        Args:
            grid: The settings.
            turns: When this speaker speaks, in order, none overlapping another; None where nobody told.
            tell_openings: Also yield a step as soon as a part begins.
        """
        self._grid = grid
        self._tell_openings = tell_openings
        self._turns = None if turns is None else [_chunks_of(turn) for turn in turns]
        self._place = 0  # in the turns
        self._turn: Turn | None = None
        self._now = 0
        self._free = 0  # where the next part may begin
        self._part: int | None = None
        self._last: Step | None = None  # of the part before, while the next may be bridged to it

    def feed(self, spoken: bytes) -> Iterator[Step]:
        """Take whether somebody speaks in the stream's next chunks, a byte each, and yield what comes of it."""
        if self._part is None and not any(spoken):
            self._now += len(spoken)
            yield from self._over_in_time()
            return
        for speaks in spoken:
            yield from self._chunk(bool(speaks))

    def finish(self) -> Iterator[Step]:
        """End the part at the end of the stream."""
        if self._part is not None:
            yield self._close()
        yield from self._over(self._now)

    def _chunk(self, speaks: bool) -> Iterator[Step]:
        now = self._now
        if self._turns is not None:
            if self._part is not None and now >= self._turns[self._place][1]:
                yield self._close()
            speaks = speaks and self._in_turn(now)
        if self._part is None:
            if speaks:
                if (
                    self._turns is not None
                    and self._last is not None
                    and self._last.turn is not self._turns[self._place][2]
                ):
                    yield from self._over(now)
                self._open(now)
                if self._tell_openings and self._part is not None:
                    yield Step(self._part, self._turn, b"", None, self._part, None, now + 1, opens=True)
        else:
            self._flags.append(speaks)
        self._now = now = now + 1
        if self._part is None:
            yield from self._over_in_time()
            return
        if speaks:
            self._speech_end = now
        if now == self._next + self._grid.window:
            yield self._window(now)
        if now - self._speech_end >= self._grid.max_pause:
            yield self._close()
            yield from self._over_in_time()

    def _open(self, now: int) -> None:
        first = max(self._free, now - self._grid.pad)
        if self._turns is not None:
            first = max(first, self._turns[self._place][0])
            self._turn = self._turns[self._place][2]
        self._part = self._next = self._told = self._covered = first
        self._flags = bytearray(now - first) + b"\1"  # from `_flags_from` on
        self._flags_from = first

    def _window(self, now: int) -> Step:
        """The next window's end was heard: judge it, unless nobody spoke in what it adds."""
        start = self._next
        adds = start == self._part or now - self._grid.hop < self._speech_end + self._grid.pad
        judged = adds and self._speech_in(start, now) >= self._grid.min_speech
        self._next += self._grid.hop
        if judged:
            self._covered = now
        return self._step((start, now) if judged else None, None)

    def _close(self) -> Step:
        assert self._part is not None
        end = min(self._speech_end + self._grid.pad, self._now)
        last = None
        # The end of the stream or of a turn comes before that of the window in hand.
        if self._covered < end and self._speech_in(self._next, end) >= self._grid.min_speech:
            last = (self._next, end)
        step = self._step(last, end)
        self._part = None
        self._free = end
        self._last = step
        return step

    def _over_in_time(self) -> Iterator[Step]:
        """Between two parts: the pause may have become too long."""
        if self._last is not None and self._now - self._free >= self._grid.bridge:
            # The same moment, however the stream is cut: when it became so, or when the part ended, if that was later.
            yield from self._over(max(self._free + self._grid.bridge, self._last.known))

    def _over(self, known: int) -> Iterator[Step]:
        if self._last is not None:
            yield replace(self._last, spoken=b"", window=None, end=None, known=known, over=True)
            self._last = None

    def _step(self, window: tuple[int, int] | None, end: int | None) -> Step:
        assert self._part is not None
        until = self._now if end is None else end
        told, self._told = self._told, until
        spoken = bytes(self._flags[told - self._flags_from : max(0, until - self._flags_from)])
        # What a coming window may count is kept, and what was not told.
        keep_from = min(self._next, until)
        del self._flags[: max(0, keep_from - self._flags_from)]
        self._flags_from = max(keep_from, self._flags_from)
        return Step(self._part, self._turn, spoken, window, self._next, end, self._now)

    def _speech_in(self, start: int, end: int) -> int:
        return sum(self._flags[max(0, start - self._flags_from) : max(0, end - self._flags_from)])

    def _in_turn(self, chunk: int) -> bool:
        assert self._turns is not None
        while self._place < len(self._turns) and chunk >= self._turns[self._place][1]:
            self._place += 1
        return self._place < len(self._turns) and chunk >= self._turns[self._place][0]


def _chunks_of(turn: Turn) -> tuple[int, int, Turn]:
    """Return the chunks whose middle lies in a turn: the first, and the one after the last."""
    return math.ceil(turn.start_s / CHUNK_S - 0.5), math.ceil(turn.end_s / CHUNK_S - 0.5), turn

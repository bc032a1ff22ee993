"""A damaged copy of a file, the same for the same seed: cut, flipped, lied to, spliced, its chunks exchanged."""

from __future__ import annotations

import itertools
import random
import struct
from collections.abc import Callable, Sequence

HEADER = 256  # bytes within which most formats say what they are
MOST_BYTES = 400_000

# Where sizes and counts stand, these break what was written without a thought of them.
NUMBERS = (
    0,
    1,
    2,
    3,
    4,
    8,
    16,
    127,
    128,
    255,
    256,
    1024,
    32767,
    32768,
    65535,
    65536,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
)
WIDE = (2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)


def mutant(content: bytes, others: Sequence[bytes], rng: random.Random) -> tuple[bytes, str]:
    """Return a damaged copy and the names of what was done to it, one to three things."""
    done = []
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3))):
        name, change = rng.choice(list(CHANGES.items()))
        content = change(content, others, rng)[:MOST_BYTES]
        done.append(name)
    return content, "+".join(done)


def _truncate(content: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    return (
        content[: rng.randrange(min(HEADER, len(content)) if rng.random() < 0.3 else len(content))] if content else b""
    )


def _flip_header(content: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    return _flip_within(content, min(HEADER, len(content)), rng)


def _flip(content: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    return _flip_within(content, len(content), rng)


def _flip_within(content: bytes, end: int, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 8) if end else 0):
        changed[rng.randrange(end)] ^= rng.choice((1 << rng.randrange(8), 0xFF, rng.randrange(1, 256)))
    return bytes(changed)


def _lie(content: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Overwrite a number of the header, or of anywhere."""
    order = rng.choice("<>")
    if rng.random() < 0.2:
        number = struct.pack(f"{order}Q", rng.choice(WIDE))
    else:
        width = rng.choice("HII")
        number = struct.pack(f"{order}{width}", rng.choice(NUMBERS) & (0xFFFF if width == "H" else 0xFFFFFFFF))
    end = max(1, min(len(content), HEADER) if rng.random() < 0.8 else len(content))
    at = rng.randrange(end) & ~1
    return content[:at] + number + content[at + len(number) :]


def _splice(content: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """The beginning of this file and the end of another."""
    other = rng.choice(others)
    at = rng.randrange(len(content) + 1)
    same = min(at, len(other)) if rng.random() < 0.5 else rng.randrange(len(other) + 1)
    return content[:at] + other[same:]


def _swap_chunks(content: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    parts = _parts(content, rng)
    if len(parts) > 2:
        first, second = rng.sample(range(1, len(parts)), 2)
        parts[first], parts[second] = parts[second], parts[first]
    return b"".join(parts)


def _repeat_chunk(content: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    parts = _parts(content, rng)
    at = rng.randrange(len(parts))
    return b"".join([*parts[:at], *[parts[at]] * rng.randint(2, 4), *parts[at + 1 :]])


def _drop_chunk(content: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    parts = _parts(content, rng)
    del parts[rng.randrange(len(parts))]
    return b"".join(parts)


def _fill(content: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Put a run of one byte, or of noise, over or between what is there."""
    n = rng.choice((1, 4, 16, 100, 1000, 10_000))
    run = bytes([rng.choice((0, 0xFF, 0x80))]) * n if rng.random() < 0.7 else rng.randbytes(n)
    at = rng.randrange(len(content) + 1)
    return content[:at] + run + content[at + (n if rng.random() < 0.5 else 0) :]


def _parts(content: bytes, rng: random.Random) -> list[bytes]:
    """Return a file as its chunks (RIFF, AIFF, CAF, ISO boxes), its pages (Ogg), or as pieces of any length."""
    cuts: list[int] = []
    if content[:4] in (b"RIFF", b"RF64", b"FORM", b"RIFX"):
        cuts = _chunk_cuts(content, 12, ">" if content[:4] in (b"FORM", b"RIFX") else "<")
    elif content[:4] == b"OggS":
        at = 0
        while (at := content.find(b"OggS", at + 1)) > 0:
            cuts.append(at)
    elif content[4:8] == b"ftyp":
        at = 0
        while at + 8 <= len(content):
            at += max(8, int.from_bytes(content[at : at + 4], "big"))
            cuts.append(at)
    if not cuts:
        cuts = [rng.randrange(len(content) + 1) for _ in range(4)]
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < len(content)), len(content)]
    return [content[first:end] for first, end in itertools.pairwise(edges)]


def _chunk_cuts(content: bytes, at: int, order: str) -> list[int]:
    cuts = []
    while at + 8 <= len(content):
        cuts.append(at)
        (size,) = struct.unpack(f"{order}I", content[at + 4 : at + 8])
        at += 8 + size + size % 2
    return cuts


CHANGES: dict[str, Callable[[bytes, Sequence[bytes], random.Random], bytes]] = {
    "truncate": _truncate,
    "flip-header": _flip_header,
    "flip": _flip,
    "lie": _lie,
    "lie-again": _lie,
    "splice": _splice,
    "swap-chunks": _swap_chunks,
    "repeat-chunk": _repeat_chunk,
    "drop-chunk": _drop_chunk,
    "fill": _fill,
}

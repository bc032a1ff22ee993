"""Where a corpus can be had: addresses to download it from, or words that say how to come by it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RemoteFile:
    """A file at an address.

    Attributes:
        url: Its address.
        name: What it is called on the disk; ends as an archive of its kind does.
        checksum: Published by the source, "md5:..." or "sha256:..."; None where it publishes none, as for archives that
            are made anew for each download.
        size: In bytes, as published; None where it is not.
    """

    url: str
    name: str
    checksum: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class Pointers:
    """Files that an archive holds as Git LFS pointers only.

    Attributes:
        url: Address below which the files themselves are, under the paths they have in the archive.
        size: Bytes of all of them together.
    """

    url: str
    size: int


@dataclass(frozen=True)
class Download:
    """A corpus that anyone can download.

    Attributes:
        page: Where its authors tell of it.
        archives: Files that together are the corpus.
        keep: Patterns (`fnmatch`) of the paths in them that are unpacked; the rest is of no use here.
        pointers: Where the files are that the archives only point to.
    """

    page: str
    archives: tuple[RemoteFile, ...]
    keep: tuple[str, ...] = ("*",)
    pointers: Pointers | None = None


@dataclass(frozen=True)
class ByHand:
    """A corpus that nobody but its user can get: one has to register, to sign, or to do more than download.

    Attributes:
        page: Where its authors tell of it.
        how: What to do, in words.
    """

    page: str
    how: str

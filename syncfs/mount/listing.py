"""Directory listings, with attributes, for as many entries as fit into a reply.

The offset of an entry is its lasting cookie, so a listing that goes on later, or anew at an offset it was given,
neither repeats nor leaves out what was there all the time, whatever changed. `.` and `..` come first, with offsets of
their own below every cookie; the kernel takes only their number and type and counts no lookup for them. Each other
entry that fits is a lookup; one that does not fit is none, and is asked for again.

The kernel keeps listings until a directory changes or it needs the memory. What it asks for anew is kept here as well
as long as nothing at all has changed in the volume.
"""

import stat
from bisect import bisect_right
from collections.abc import Iterator
from operator import itemgetter
from typing import Final, NamedTuple

from syncfs.model.errors import PosixError
from syncfs.mount import protocol
from syncfs.mount.known import KernelView
from syncfs.mount.volume import Volume

DOT: Final = 1
DOT_DOT: Final = 2
"""Offsets after `.` and `..`."""
MOST_KEPT: Final = 100_000
"""Entries whose replies are kept, about 40 MB."""

LARGEST_KEPT: Final = 1000
"""A directory with more entries is not kept: to look whether that was all would read as many again."""
SMALLEST: Final = len(protocol.listed(b"x", 0, 0, 0))
SMALLEST_TOLD: Final = SMALLEST + len(protocol.UNTOLD)
"""Bytes of an entry with a short name, without and with attributes."""


class Line(NamedTuple):
    """An entry of a listing: its cookie, its node, and as the kernel wants it."""

    cookie: int
    ino: int
    entry: bytes
    listed: bytes


class Listing:
    """Answers the listings of a volume's directories."""

    def __init__(self, volume: Volume, known: KernelView) -> None:
        self._volume = volume
        self._known = known
        self._generation = -1
        self._kept: dict[int, list[Line]] = {}
        self._kept_entries = 0

    def reply(self, ino: int, offset: int, size: int, with_attributes: bool) -> bytes:
        """What comes after `offset`, in at most `size` bytes; nothing at the end."""
        parts: list[bytes] = []
        fitting = size // (SMALLEST_TOLD if with_attributes else SMALLEST) + 1
        for line in self._lines(ino, offset, fitting):
            told = not self._known.is_stale(line.ino)  # otherwise its size is not for everybody
            part = (line.entry if told else protocol.UNTOLD) + line.listed if with_attributes else line.listed
            size -= len(part)
            if size < 0:
                break
            parts.append(part)
            if with_attributes and told and line.cookie > DOT_DOT:
                self._known.looked_up(line.ino)
        self._known.listed(ino)
        return b"".join(parts)

    def _lines(self, ino: int, offset: int, fitting: int) -> Iterator[Line]:
        if offset < DOT:
            yield _pointer(b".", ino, DOT)
        if offset < DOT_DOT:
            yield _pointer(b"..", self._parent(ino), DOT_DOT)
        after = max(offset, DOT_DOT)
        if self._generation != self._volume.generation:
            self._generation = self._volume.generation
            self._kept.clear()
            self._kept_entries = 0
        kept = self._kept.get(ino)
        if kept is not None:
            start = bisect_right(kept, after, key=itemgetter(0))
            yield from kept[start:] if start else kept
            return
        made: list[Line] = []
        whole = after <= DOT_DOT
        while page := self._volume.readdir(ino, after, LARGEST_KEPT if whole else fitting):
            lines = [
                Line(
                    listed.cookie,
                    listed.attributes.ino,
                    protocol.entry(listed.attributes),
                    protocol.listed(listed.name, listed.attributes.ino, listed.attributes.mode, listed.cookie),
                )
                for listed in page
            ]
            made += lines
            after = page[-1].cookie
            is_first = whole and len(made) == len(lines)
            if is_first and len(page) < LARGEST_KEPT and not self._volume.readdir(ino, after, 1):
                self._keep(ino, made)
            yield from lines

    def _keep(self, ino: int, lines: list[Line]) -> None:
        """Keep the lines of a directory that is listed in one page."""
        if self._kept_entries + len(lines) > MOST_KEPT:
            self._kept.clear()
            self._kept_entries = 0
        self._kept[ino] = lines
        self._kept_entries += len(lines)

    def _parent(self, ino: int) -> int:
        try:
            return self._volume.lookup(ino, b"..").ino
        except PosixError:
            return ino


def _pointer(name: bytes, ino: int, cookie: int) -> Line:
    """The `.` or `..` of a listing."""
    return Line(cookie, ino, protocol.UNTOLD, protocol.listed(name, ino, stat.S_IFDIR, cookie))

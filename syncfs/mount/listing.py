"""Directory listings, with attributes, for as many entries as fit into a reply.

The offset of an entry is its lasting cookie, so a listing that goes on later, or anew at an offset it was given,
neither repeats nor leaves out what was there all the time, whatever changed. `.` and `..` come first, with offsets of
their own below every cookie; the kernel takes only their number and type and counts no lookup for them. Each other
entry that fits is a lookup; one that does not fit is none, and is asked for again.

The kernel keeps listings (see `opendir`) until a directory changes or it needs the memory. What it asks for anew is
kept here as well as long as nothing at all has changed in the volume.
"""

import stat
from bisect import bisect_right
from collections.abc import Iterator
from operator import itemgetter
from typing import Final

import pyfuse3

from syncfs.model.errors import PosixError
from syncfs.mount.entries import Entries
from syncfs.mount.known import KernelView
from syncfs.mount.volume import Volume

DOT: Final = 1
DOT_DOT: Final = 2
"""Offsets after `.` and `..`."""
MOST_KEPT: Final = 100_000
"""Entries whose replies are kept, about 50 MB."""

LARGEST_KEPT: Final = 1000
"""A directory with more entries is not kept: to look whether that was all would read as many again."""

Reply = tuple[bytes, pyfuse3.EntryAttributes, int]
"""Name, attributes, cookie."""


class Listing:
    """Answers the listings of a volume's directories."""

    def __init__(self, volume: Volume, known: KernelView, entries: Entries) -> None:
        self._volume = volume
        self._known = known
        self._entries = entries
        self._generation = -1
        self._kept: dict[int, list[Reply]] = {}
        self._kept_entries = 0

    def reply(self, ino: int, offset: int, token: pyfuse3.ReaddirToken) -> None:
        """Fills a reply with what comes after `offset`."""
        add, pointer = pyfuse3.readdir_reply, self._entries.pointer
        if offset < DOT and not add(token, b".", pointer(ino, stat.S_IFDIR), DOT):
            return
        if offset < DOT_DOT and not add(token, b"..", pointer(self._parent(ino), stat.S_IFDIR), DOT_DOT):
            return
        self._known.listed(ino)
        looked_up = self._known.looked_up
        after = max(offset, DOT_DOT)
        for name, entry, cookie in self._replies(ino, after):
            if not add(token, name, entry, cookie):
                return
            looked_up(entry.st_ino)

    def _replies(self, ino: int, after: int) -> Iterator[Reply]:
        if self._generation != self._volume.generation:
            self._generation = self._volume.generation
            self._kept.clear()
            self._kept_entries = 0
        kept = self._kept.get(ino)
        if kept is not None:
            start = bisect_right(kept, after, key=itemgetter(2))
            yield from kept[start:] if start else kept
            return
        entry_of = self._entries.of
        made: list[Reply] = []
        whole = after <= DOT_DOT
        while page := self._volume.readdir(ino, after):
            replies = [(listed.name, entry_of(listed.attributes), listed.cookie) for listed in page]
            made += replies
            after = page[-1].cookie
            is_first = whole and len(made) == len(replies)
            if is_first and len(page) < LARGEST_KEPT and not self._volume.readdir(ino, after):
                self._keep(ino, made)
            yield from replies

    def _keep(self, ino: int, replies: list[Reply]) -> None:
        """Keep the replies of a directory that is listed in one page."""
        if self._kept_entries + len(replies) > MOST_KEPT:
            self._kept.clear()
            self._kept_entries = 0
        self._kept[ino] = replies
        self._kept_entries += len(replies)

    def _parent(self, ino: int) -> int:
        try:
            return self._volume.lookup(ino, b"..").ino
        except PosixError:
            return ino

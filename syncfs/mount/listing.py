"""Directory listings, with attributes, for as many entries as fit into a reply.

The offset of an entry is its lasting cookie, so a listing that goes on later, or anew at an offset it was given,
neither repeats nor leaves out what was there all the time, whatever changed. `.` and `..` come first, with offsets of
their own below every cookie; the kernel takes only their number and type and counts no lookup for them. Each other
entry that fits is a lookup; one that does not fit is none, and is asked for again.
"""

import stat
from typing import Final

import pyfuse3

from syncfs.model.errors import PosixError
from syncfs.mount.entries import Entries
from syncfs.mount.known import KernelView
from syncfs.mount.volume import Volume

DOT: Final = 1
DOT_DOT: Final = 2
"""Offsets after `.` and `..`."""


class Listing:
    """Answers the listings of a volume's directories."""

    def __init__(self, volume: Volume, known: KernelView, entries: Entries) -> None:
        self._volume = volume
        self._known = known
        self._entries = entries

    def reply(self, ino: int, offset: int, token: pyfuse3.ReaddirToken) -> None:
        """Fills a reply with what comes after `offset`."""
        add, pointer = pyfuse3.readdir_reply, self._entries.pointer
        if offset < DOT and not add(token, b".", pointer(ino, stat.S_IFDIR), DOT):
            return
        if offset < DOT_DOT and not add(token, b"..", pointer(self._parent(ino), stat.S_IFDIR), DOT_DOT):
            return
        entry_of, looked_up = self._entries.of, self._known.looked_up
        after = max(offset, DOT_DOT)
        while page := self._volume.readdir(ino, after):
            for listed in page:
                if not add(token, listed.name, entry_of(listed.attributes), listed.cookie):
                    return
                looked_up(listed.attributes.ino)
                after = listed.cookie

    def _parent(self, ino: int) -> int:
        try:
            return self._volume.lookup(ino, b"..").ino
        except PosixError:
            return ino

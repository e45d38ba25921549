"""From our attributes to what pyfuse3 replies with.

All timeouts are infinite: what the kernel has is right until `invalidation` takes it away. The block size for programs
is 1 MiB, the largest request that pyfuse3 takes, so that programs that follow it write in few requests.
"""

import math
from typing import Final

import pyfuse3

from syncfs.engine.posix import Attributes

BLOCK_SIZE: Final = 1 << 20


class Entries:
    """Makes replies; `uid` and `gid`, where set, are shown as owner and group of everything."""

    def __init__(self, uid: int | None = None, gid: int | None = None) -> None:
        self._uid = uid
        self._gid = gid
        self.absent = pyfuse3.EntryAttributes()
        """The reply that a name is not there, to be remembered as well."""
        self.absent.entry_timeout = math.inf

    def of(self, attributes: Attributes) -> pyfuse3.EntryAttributes:
        """The reply for a node."""
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = attributes.ino
        entry.st_mode = attributes.mode
        entry.st_nlink = attributes.nlink
        entry.st_uid = attributes.uid if self._uid is None else self._uid
        entry.st_gid = attributes.gid if self._gid is None else self._gid
        entry.st_rdev = attributes.rdev
        entry.st_size = attributes.size
        entry.st_blocks = attributes.blocks
        entry.st_blksize = BLOCK_SIZE
        entry.st_atime_ns = attributes.atime
        entry.st_mtime_ns = attributes.mtime
        entry.st_ctime_ns = attributes.ctime
        entry.entry_timeout = math.inf
        entry.attr_timeout = math.inf
        return entry

    @staticmethod
    def pointer(ino: int, mode: int) -> pyfuse3.EntryAttributes:
        """The `.` or `..` of a listing, of which the kernel takes the number and the type only."""
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = ino
        entry.st_mode = mode
        return entry

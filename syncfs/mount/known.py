"""What the kernel holds of us now: inodes with their lookup counts, and open files.

An inode is known from the first reply that names it until as many lookups are forgotten as were counted (the `.` and
`..` of a listing count for nothing). Written by the handlers in the loop only; the invalidation thread reads.
"""

import math
import time
from typing import Final

ROOT: Final = 1


class KernelView:
    """Lookup counts and open files."""

    def __init__(self) -> None:
        self._lookups: dict[int, int] = {}
        self._handles: dict[int, int] = {}
        self._open: dict[int, int] = {}
        self._writing: set[int] = set()
        self._stale: set[int] = set()
        self._listed: dict[int, float] = {}

    def looked_up(self, ino: int) -> None:
        """A reply names this inode."""
        self._lookups[ino] = self._lookups.get(ino, 0) + 1

    def forgotten(self, ino: int, count: int) -> bool:
        """The kernel takes back `count` lookups; whether it knows the inode no longer."""
        left = self._lookups.get(ino, 0) - count
        if left > 0:
            self._lookups[ino] = left
            return False
        self._lookups.pop(ino, None)
        self._stale.discard(ino)
        self._listed.pop(ino, None)
        return ino != ROOT

    def knows(self, ino: int) -> bool:
        """Whether the kernel may hold anything of this inode."""
        return ino in self._lookups or ino == ROOT

    def listed(self, ino: int) -> None:
        """A reply lists this directory."""
        self._listed[ino] = time.monotonic()

    def is_listed_since(self, ino: int, then: float) -> bool:
        """Whether a reply listed this directory at or after a time of time.monotonic."""
        return self._listed.get(ino, -math.inf) >= then

    def opened(self, handle: int, ino: int, writing: bool) -> None:
        """A reply gives out this handle."""
        self._handles[handle] = ino
        if writing:
            self._writing.add(handle)
        self._open[ino] = self._open.get(ino, 0) + 1

    def closed(self, handle: int) -> int | None:
        """A handle is over; the inode if its pages are now to be dropped, because they could not be before."""
        ino = self._handles.pop(handle, None)
        self._writing.discard(handle)
        if ino is None:
            return None
        left = self._open[ino] - 1
        if left:
            self._open[ino] = left
            return None
        del self._open[ino]
        if ino in self._stale:
            self._stale.discard(ino)
            return ino
        return None

    def is_open(self, ino: int) -> bool:
        """Whether any handle of this inode is out."""
        return ino in self._open

    def is_written(self, ino: int) -> bool:
        """Whether any handle through which this inode can be written is out."""
        return any(self._handles[handle] == ino for handle in self._writing)

    def is_stale(self, ino: int) -> bool:
        """Whether an open file shows a content that is no longer that of its name, with its pages in the kernel."""
        return ino in self._stale

    def mark_stale(self, ino: int) -> None:
        """The pages of an open file are old; they go when it is closed."""
        self._stale.add(ino)

    @property
    def handles(self) -> tuple[int, ...]:
        """All handles that are out."""
        return tuple(self._handles)

    def __len__(self) -> int:
        return len(self._lookups)

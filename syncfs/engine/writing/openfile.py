"""A file as those who have it open on this computer see it."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from syncfs.engine.chunks.ahead import ReadAhead
from syncfs.engine.chunks.content import Content
from syncfs.engine.writing.dirty import Dirty
from syncfs.engine.writing.patience import MoreTime
from syncfs.model.ids import NodeId, Stamp


@dataclass(slots=True, eq=False)
class OpenFile:
    """The content of one node since somebody opened it: the version it started from, and what was written over it.

    `base` are the versions that the next one replaces, `versions` counts those made since the file was opened. `lock`
    is held while a version is being made. `waiting` counts reads that wait for a disk or a peer, and `waited` tells
    when the last one ended.
    """

    ino: int
    node: NodeId
    base: tuple[Stamp, ...]
    content: Content
    dirty: Dirty | None = None
    handles: int = 0
    writers: int = 0
    versions: int = 0
    waiting: int = 0
    waited: float = -math.inf
    lock: trio.Lock = field(default_factory=trio.Lock)
    _waiters: list[MoreTime] = field(default_factory=list)

    @property
    def size(self) -> int:
        """How long the content is, what was written included."""
        return self.content.size if self.dirty is None else self.dirty.size

    @asynccontextmanager
    async def locked(self, more_time: MoreTime) -> AsyncIterator[None]:
        """Hold the lock; `more_time` hears of all that is stored until the block ends, by whomever."""
        self._waiters.append(more_time)
        try:
            async with self.lock:
                yield
        finally:
            self._waiters.remove(more_time)

    def goes_on(self) -> None:
        """Some of what was written has been stored."""
        for more_time in self._waiters:
            more_time()


@dataclass(slots=True, eq=False)
class Handle:
    """One open(2)."""

    file: OpenFile
    writing: bool
    ahead: ReadAhead

"""Reading ahead: a sequential reader finds its next chunks in memory, a random one causes no extra traffic."""

from typing import Protocol

from syncfs.engine.chunks.content import Content
from syncfs.model.chunking import MAX_CHUNK, chunk_at, chunk_span
from syncfs.model.manifest import is_hole

FIRST_WINDOW = 512 * 1024
LARGEST_WINDOW = 16 * 1024 * 1024
TOLERANCE = 2 * MAX_CHUNK
"""Requests of one reader arrive out of order by so much, since the kernel sends several at once."""


class Prefetcher(Protocol):
    """What begins to bring chunks near."""

    def prefetch(self, entry: bytes, size: int) -> bool:
        """Begin to bring a chunk into memory; false where enough is under way."""
        ...


class ReadAhead:
    """The window of one reader: it doubles while reads follow each other and closes at the first jump."""

    def __init__(self, prefetcher: Prefetcher) -> None:
        self._prefetcher = prefetcher
        self._next = 0
        self._asked = 0
        self._window = 0

    def note(self, content: Content, start: int, stop: int) -> None:
        """A read of start ≤ offset < stop is about to happen."""
        if content.inline is not None:
            return
        if abs(start - self._next) > TOLERANCE:
            self._window = 0
            self._asked = 0
        elif self._window or start > 0 or stop - start >= FIRST_WINDOW or start != self._next:
            self._window = min(max(self._window * 2, FIRST_WINDOW), LARGEST_WINDOW)
        self._next = max(stop, self._next) if self._window else stop
        reach = min(self._next + self._window, content.size)
        at = max(self._asked, start)
        while self._window and at < reach:
            index = chunk_at(at)
            begin, end = chunk_span(index)
            entry = content.entry_ready(index)
            if entry is None:
                break
            if not is_hole(entry) and not self._prefetcher.prefetch(entry, end - begin):
                break
            at = end
        self._asked = max(self._asked, at)

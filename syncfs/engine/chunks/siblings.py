"""Reading many small files: the first ones missing bring their neighbours along, so that no file costs a round trip.

A program that reads a tree opens its files in the order of the listing. Each miss shortly after another one widens the
window of neighbours that are asked for in one request; a single small file read alone brings nothing else.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from syncfs.index.index import Index
from syncfs.model.chunking import INLINE_LIMIT
from syncfs.model.records import ENTRY_BYTES

SMALL_FILE = 128 * 1024
"""Files up to this size are one chunk and are brought in company."""
WIDEN = 8
MOST_FILES = 512
MOST_BYTES = 4 * 1024 * 1024
STREAK_SECONDS = 2.0


class SmallFetcher(Protocol):
    """What brings many small chunks at once."""

    async def fetch_small(self, entries: Sequence[bytes]) -> None:
        """Bring the chunks of these manifest entries into the store; what nobody has is left out."""
        ...


class Siblings:
    """Notices scans of small files and fetches ahead of them."""

    def __init__(self, index: Index, fetcher: SmallFetcher, clock: Callable[[], float]) -> None:
        self._index = index
        self._fetcher = fetcher
        self._clock = clock
        self._window = 1
        self._last_miss = -STREAK_SECONDS

    async def bring(self, ino: int) -> None:
        """A small file is read and its chunk is not here: fetch it and, in a scan, those that follow it."""
        now = self._clock()
        self._window = min(self._window * WIDEN, MOST_FILES) if now - self._last_miss < STREAK_SECONDS else 1
        place = self._index.database.read("SELECT parent, cookie FROM entries WHERE ino = ? LIMIT 1", (ino,))
        if place is None or self._window == 1:
            self._last_miss = now
            return
        rows = self._index.database.rows(
            "SELECT n.size, v.body FROM entries e JOIN nodes n ON n.ino = e.ino JOIN versions v ON v.stamp = n.head "
            "WHERE e.parent = ? AND e.cookie >= ? AND n.size > ? AND n.size <= ? AND v.depth = 0 "
            "ORDER BY e.cookie LIMIT ?",
            (*place, INLINE_LIMIT, SMALL_FILE, self._window),
        )
        wanted: list[bytes] = []
        total = 0
        for size, body in rows:
            total += size
            if wanted and total > MOST_BYTES:
                break
            wanted.append(body[:ENTRY_BYTES])
        await self._fetcher.fetch_small(wanted)
        self._last_miss = self._clock()

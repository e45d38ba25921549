"""Giving back space in a store, which cannot read what it keeps: a chunk goes when no device claims it any more.

What a device drops, or no longer lists after its segments were merged, is noted (`loose`) in the transaction that
brings the segments. A pass looks whether any device still claims it; what nobody claims is deleted, but only once it
has not been of use for some time, since a device that is away may have built on it.
"""

from collections.abc import Callable, Collection, Iterable

import trio

from syncfs.engine.feeds.claims import claimed
from syncfs.engine.keeping.deleting import ChunkDeletion
from syncfs.index.index import Index
from syncfs.index.presence import Presence
from syncfs.model.errors import SyncfsError
from syncfs.model.ids import Address
from syncfs.model.reports import CollectReport
from syncfs.store.disk import DiskStore
from syncfs.wire.segment import decode_segment_public

PASS_SECONDS = 3600.0
GRACE = 7 * 86_400 * 10**9
"""For so long, in ns, a store keeps what nobody claims any more: for devices that come back with edits of it."""


class StoreCollector:
    """Collects in a store; its task belongs to the share."""

    def __init__(
        self, index: Index, presence: Presence, store: DiskStore, wall: Callable[[], int], commit: Callable[[], None],
        forget: Callable[[Iterable[bytes]], None],
    ) -> None:  # fmt: skip
        """`forget` hears of chunks that need not be fetched any more."""
        self._index = index
        self._presence = presence
        self._deletion = ChunkDeletion(index, store, commit)
        self._wall = wall
        self._forget = forget
        self._claimed_since: set[bytes] = set()
        self._busy = trio.Lock()

    def claims(self, addresses: Iterable[bytes]) -> None:
        """Segments that came claim these."""
        if self._busy.locked():
            self._claimed_since.update(addresses)

    def gave_up(self, addresses: Collection[Address]) -> None:
        """Perhaps nobody claims these any more."""
        self._index.past.add_loose(addresses)
        now = self._wall()
        for address in addresses:
            self._presence.touch(address, now)

    async def run(self, report: Callable[[Exception], None]) -> None:
        """Collect from time to time."""
        while True:
            await trio.sleep(PASS_SECONDS)
            try:
                await self.collect()
            except SyncfsError as error:
                report(error)

    async def collect(self) -> CollectReport:
        """Delete what nobody claims. Raises SetupError, DamageError."""
        async with self._busy:
            self._claimed_since.clear()
            self._presence.write_touches()
            loose = self._index.past.loose_unused_since(self._wall() - GRACE)
            kept: set[bytes] = set()
            for device in self._index.feeds.applied():
                segments = []
                for address, *_ in self._index.feeds.segments_of(device) if loose else ():
                    data = self._index.feeds.segment(address)
                    if data is not None:
                        segments.append(decode_segment_public(data))
                    await trio.lowlevel.checkpoint()
                kept |= claimed(segments, loose)
            self._index.past.settle_loose(kept)
            chunks, size = await self._deletion.delete(loose - kept, lambda: self._claimed_since, self._forget)
        return CollectReport(chunks, size)

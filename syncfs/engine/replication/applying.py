"""Applying segments: the records of another device go into the index, a few at a time, or are held by the brake."""

from collections.abc import Callable, Iterable, Sequence

import trio

from syncfs.crypto.keys import ReadKeys
from syncfs.engine.feeds.feed import Feed
from syncfs.engine.feeds.forks import Forks
from syncfs.engine.replication.holding import Holding
from syncfs.index.index import Changes, Index
from syncfs.model.errors import ForeignError
from syncfs.model.ids import Address, DeviceId
from syncfs.model.manifest import check_shape
from syncfs.model.records import Record, VersionRecord
from syncfs.wire.head import SegmentRef
from syncfs.wire.segment import Segment, decode_segment, decode_segment_public

SLICE = 200
"""Records applied before others get their turn."""
DECODED_IN_LOOP = 256 * 1024
"""Larger segments are decoded in a thread; bytes."""
LAMPORT_JUMP = 2**40
"""No honest share has so many changes at once; a writer who jumped to the end of the numbers would stop all others."""


class Applier:
    """Takes segments into the index, or keeps them sealed where this device is a store."""

    def __init__(
        self, index: Index, read: ReadKeys | None, feed: Feed | None, forks: Forks, holding: Holding,
        changed: Callable[[Changes], None], decided: Callable[[], None],
    ) -> None:  # fmt: skip
        """`changed` hears of what changed, `decided` of each decision about what is held."""
        self._index = index
        self._read = read
        self._feed = feed
        self._forks = forks
        self._holding = holding
        self._changed = changed
        self._decided = decided
        self._lamport = 0
        self.want: Callable[[Iterable[Address]], None] = lambda addresses: None
        """Hears of the chunks that a segment adds, where this device is a store."""
        self.gave_up: Callable[[Sequence[Address]], None] = lambda addresses: None
        """There hears of the chunks that a segment drops, or that one added which is held no more."""
        self.took: Callable[[int], object] = int
        """Hears of the oldest time (ns) in each batch of records that was applied."""

    @property
    def lamport(self) -> int:
        """The highest number that a change has had."""
        return max(self._lamport, self._index.feeds.number("lamport"))

    async def apply(self, device: DeviceId, ref: SegmentRef, data: bytes, applied: int = 0) -> bool:
        """Take a segment in, applied or, where the brake says so, held. Raises ForeignError.

        False if what it holds of the `applied` records is not what was applied.
        """
        if self._read is None:
            public = self.keep(device, ref, data)
            self.gave_up(public.drops)
            self.want(public.adds)
            return True
        if len(data) > DECODED_IN_LOOP:
            public, records = await trio.to_thread.run_sync(decode_segment, self._read, data)
        else:
            public, records = decode_segment(self._read, data)
        _check_listed(public, device, ref)
        self._check(records)
        if ref.first <= applied and not self._forks.is_continued(self._read, device, applied, ref, records):
            return False
        taken = self._holding.takes(device, ref, records)
        if taken:
            await self._apply_all(device, records)
        self._index.feeds.add_segment(Address(ref.address), device, ref.first, ref.last, data)
        if taken and any(map(self._holding.is_decision, records)):
            self._decided()
        return True

    def keep(self, device: DeviceId, ref: SegmentRef, data: bytes) -> Segment:
        """Keep a segment of which nothing is to be applied. Raises ForeignError."""
        public = decode_segment_public(data)
        _check_listed(public, device, ref)
        self._index.feeds.add_segment(Address(ref.address), device, ref.first, ref.last, data)
        return public

    async def _apply_all(self, device: DeviceId, records: Sequence[Record]) -> None:
        for start in range(0, len(records), SLICE):
            part = records[start : start + SLICE]
            self._index.apply(part, device)
            self.took(min(record.time for record in part))
            self._lamport = max(self._lamport, *(record.lamport for record in part))
            if self._feed is not None:
                self._feed.witness(self._lamport)
            # At once: after any await a change made here could take these for its own, and nobody would be told.
            self._changed(self._index.take_changes())
            if len(records) > SLICE:
                await trio.lowlevel.checkpoint()

    def _check(self, records: Sequence[Record]) -> None:
        """Refuse what only a hostile writer sends. Raises ForeignError."""
        known = self.lamport
        for record in records:
            if record.lamport > known + LAMPORT_JUMP:
                raise ForeignError("a record is stamped far beyond anything that happened in this share")
            if isinstance(record, VersionRecord):
                check_shape(record.size, record.depth, record.body)


def _check_listed(public: Segment, device: DeviceId, ref: SegmentRef) -> None:
    if (public.device, public.first, public.last) != (device, ref.first, ref.last):
        raise ForeignError("a segment is not the one that its head lists")

"""This device's own feed: local changes become records, segments and a signed head.

A change is applied to the index at once and queued; within a few milliseconds the queue is sealed into a segment in the
same transaction as the records themselves, so that no crash can leave a change in the index that no feed tells. Only
what is on stable storage is announced: after a loss of power no peer knows more of our feed than we do, and a sequence
number never stands for two things. Callers have made the chunks of a version durable before they record it.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import trio

from syncfs.crypto.identity import DeviceIdentity
from syncfs.crypto.keys import ReadKeys
from syncfs.crypto.sealing import SEGMENT_NONCE_BYTES
from syncfs.engine.feeds.ageing import MAX_MERGED_BYTES, batches, merge_plan, without_superseded
from syncfs.engine.feeds.claims import claimed, joined
from syncfs.index.index import Index
from syncfs.model.errors import SyncfsError
from syncfs.model.ids import NODE_BYTES, Address, NodeId
from syncfs.model.records import NodeRecord, Record, Times
from syncfs.wire.head import SegmentRef, decode_head, next_mark, sign_head
from syncfs.wire.segment import (
    MAX_PLAIN,
    SealedSegment,
    Segment,
    decode_segment,
    decode_segment_public,
    encode_record,
    encode_segment,
)

GATHER_SECONDS = 0.005
"""How long changes are gathered at least before a segment is made of them."""
BUSY_SECONDS = 0.25
"""The same at most, while many changes come."""
RECORD_SECONDS = 0.001
"""So much longer for each record of the last segment."""
MOST_SEGMENTS = 200
"""Merging waits for a quiet moment until there are so many segments."""
MAX_SEGMENT_RECORDS = 1000
MOST_DROPS = 4000
MAX_SEGMENT_BYTES = 200 * 1024
"""Before compression, so that a new segment fits into an announcement."""
MERGED_BYTES = 8 * 1024 * 1024
"""So many bytes of segments are still sent after others took their place, to peers that were about to ask for them."""
_ARRAY_BYTES = 5
"""What msgpack puts in front of a long array."""

OWN_FEED_LOST = "own_feed_lost"
"""The number in the index that says so, 1 or 0."""
OWN_FEED_SENTENCE = (
    "this device's own changes were lost with its index, so it is read-only until a peer has told them: "
    "connect one, and it can be written again by itself"
)

Announce = Callable[[bytes, Sequence[tuple[Address, bytes]]], None]
"""Called with our encoded head and the new segments when they are durable."""


class Feed:
    """The one writer of this device's feed."""

    def __init__(
        self,
        index: Index,
        read: ReadKeys,
        identity: DeviceIdentity,
        *,
        random: Callable[[int], bytes],
        wall: Callable[[], int],
        announce: Announce,
        changed: Callable[[], None],
    ) -> None:
        self._index = index
        self.read = read
        self._identity = identity
        self.device = identity.id
        self._random = random
        self._wall = wall
        self._announce = announce
        self._changed = changed
        self._lamport = 0
        self._begin()
        self._pending: list[Record] = []
        self._adds: list[bytes] = []
        self._drops: list[bytes] = []
        self._touched: dict[NodeId, int] = {}
        self._sealed: list[tuple[Address, bytes]] = []
        self._merged: dict[Address, bytes] = {}
        self._weights: dict[Address, int] = {}
        self._unsynced = True  # an earlier process may have been killed before it could flush
        self._durable: tuple[bytes, int] | None = None
        self.lost = index.feeds.number(OWN_FEED_LOST) == 1
        """Peers know records of this feed that went with the index: none is added before they have told them."""
        self.recovering = False
        """It is here again, and what journals hold is taken in, which nobody may write below."""
        self.forked = False
        """A peer knows records of this feed that we do not: whatever we wrote now would stand beside them."""
        self._lock = trio.Lock()
        self._wake = trio.Event()
        self._wake.set()
        self.failure = ""
        """Why the last change could not be put into the index, for `status`; empty when all is well."""

    def _begin(self) -> None:
        """Go on where the index says that this feed ends."""
        feeds = self._index.feeds
        self._lamport = max(self._lamport, feeds.number("lamport"))
        self._sequence = feeds.applied().get(self.device, 0)
        head = feeds.head(self.device)
        self._marks = {} if head is None else {ref.last: ref.mark for ref in decode_head(head[0]).segments}

    @property
    def may_write(self) -> bool:
        """Whether programs and people may change something now."""
        return not (self.lost or self.recovering or self.forked)

    def regain(self) -> None:
        """Peers have told this feed, which was lost: go on from there, `recovering` at first."""
        self._begin()
        self.lost, self.recovering = False, True
        self._unsynced = True
        self._wake.set()

    @property
    def sequence(self) -> int:
        """The number of our last sealed record."""
        return self._sequence

    @property
    def gathers(self) -> bool:
        """Whether there are changes that no segment tells yet."""
        return bool(self._pending or self._drops or self._touched)

    @property
    def durable_head(self) -> tuple[bytes, int] | None:
        """Our newest head that is on stable storage, encoded, and its sequence: all that a peer may be told of."""
        return self._durable

    def now(self) -> int:
        """The wall clock in ns since 1970."""
        return self._wall()

    def new_id(self) -> bytes:
        """The 16 random bytes of a new node or link."""
        return self._random(NODE_BYTES)

    def tick(self) -> int:
        """The lamport for one new record."""
        self._lamport += 1
        return self._lamport

    def witness(self, lamport: int) -> None:
        """Order everything of ours that comes after a record of somebody else."""
        self._lamport = max(self._lamport, lamport)

    def touched(self, node: NodeId) -> int | None:
        """The time at which a directory's content last changed, while that is not recorded yet."""
        return self._touched.get(node)

    def touch(self, node: NodeId) -> None:
        """Note that a directory's content changed now; one record for each directory goes into the next segment."""
        self._touched[node] = self._wall()
        self._wake.set()

    def touched_done(self, node: NodeId, times: Times | None) -> None:
        """A directory's times are about to be set explicitly: forget that its content changed before."""
        if times is not None:
            self._touched.pop(node, None)

    def record(self, records: Iterable[Record], adds: Iterable[bytes] = ()) -> None:
        """Apply records of ours and queue them, all or none. Raises SetupError, DamageError."""
        batch = list(records)
        try:
            self._index.apply(batch, self.device)
        except SyncfsError as error:
            self.failure = str(error)
            raise
        self.failure = ""
        self._pending += batch
        self._adds += adds
        self._unsynced = True
        self._wake.set()
        if len(self._pending) >= MAX_SEGMENT_RECORDS:
            self.seal()
        self._changed()

    def merged(self, address: Address) -> bytes | None:
        """A segment of ours that another one took the place of lately."""
        return self._merged.get(address)

    def claimed(self, among: AbstractSet[bytes]) -> set[bytes]:
        """Those of some chunks that stores keep because of this feed."""
        return claimed(self._publics(self._index.feeds.segments_of(self.device)), among)

    def drop(self, addresses: Collection[bytes]) -> None:
        """Claim these chunks, which this feed claims, no more: no version that is kept needs them."""
        if addresses:
            self._drops += addresses
            self._unsynced = True
            self._wake.set()

    def seal(self) -> None:
        """Make segments of what is queued, and sign a head that lists them; all in the open transaction."""
        self._record_touched()
        if not (self._pending or self._drops):
            return
        self._index.database.begin()  # what is taken from the queue below must not be refused
        drops, self._drops = self._drops, []
        for start in range(0, len(drops), MOST_DROPS):
            # A segment of no record takes a number, too. It comes before what is queued, which may claim a chunk anew.
            self._seal([], self._sequence + 1, [], drops[start : start + MOST_DROPS])
        pending, self._pending = self._pending, []
        adds, self._adds = self._adds, []
        for batch in batches(pending, MAX_SEGMENT_RECORDS, MAX_SEGMENT_BYTES):
            self._seal(batch, self._sequence + len(batch), adds, [])
            adds = []
        self._sign_head()

    def _seal(self, batch: list[Record], last: int, adds: Sequence[bytes], drops: Sequence[bytes]) -> None:
        address, data = self._store_segment(batch, self._sequence + 1, last, adds, drops)
        self._sealed.append((address, data))
        self._marks[last] = next_mark(self._marks.get(self._sequence, b""), address)
        self._sequence = last

    def _sign_head(self) -> None:
        feeds = self._index.feeds
        if len(feeds.segments_of(self.device)) > MOST_SEGMENTS:
            while plan := self._plan():
                self._merge(plan, _merged(self.read, plan))
        feeds.set_number("lamport", self._lamport)
        refs = [
            SegmentRef(first, last, address, size, self._marks.get(last, b""))
            for address, first, last, size in feeds.segments_of(self.device)
        ]
        self._marks = {ref.last: ref.mark for ref in refs}
        head = sign_head(self._identity, self._sequence, refs, self._wall() // 10**9)
        feeds.set_head(self.device, head.encoded, self._sequence, self._sequence)

    async def age(self) -> None:
        """Merge our small segments into larger ones, so that the head stays short; to be called in quiet moments."""
        while not self.lost and (plan := self._plan()):
            merged = await trio.to_thread.run_sync(_merged, self.read, plan)
            if not all(map(self._index.feeds.has_segment, plan.segments)):
                return  # others have taken their place meanwhile
            if not self._merge(plan, merged):
                continue
            self._sign_head()
            self._unsynced = True
            self._wake.set()  # peers are told the old head, whose segments are gone, until this one is durable

    def seal_again(self, public: Segment, records: Sequence[Record]) -> SealedSegment:
        """A segment of ours with these records of it, not kept yet, its claims as before; may run in a thread."""
        nonce = self._random(SEGMENT_NONCE_BYTES)
        return encode_segment(
            self.read, self.device, public.first, records, public.adds, public.drops, nonce, last=public.last
        )

    def replace(self, segments: Iterable[tuple[Address, SealedSegment]], record: Record) -> None:
        """Keep segments of ours instead of these, which are held, and record what there is to say of it."""
        feeds = self._index.feeds
        held = {address for address, *_ in feeds.segments_of(self.device)}
        for address, sealed in segments:
            held.discard(address)
            feeds.add_segment(sealed.address, self.device, sealed.first, sealed.last, sealed.data)
            held.add(sealed.address)
        feeds.drop_segments(self.device, held)
        self.record([record])
        self.seal()

    def commit(self) -> None:
        """Seal and commit: what was recorded survives a crash of the process. Raises SetupError, DamageError."""
        self.seal()
        if self._index.database.dirty:
            self._unsynced = True
            self._index.database.commit()

    async def durable(self) -> None:
        """Return when all that was recorded before the call is on stable storage; then announce it."""
        async with self._lock:
            if not (self._unsynced or self._pending or self._drops or self._touched or self._index.database.dirty):
                return
            if self._wake.is_set():  # or `run` would go on waiting for one that nobody sets
                self._wake = trio.Event()
            self.commit()
            self._unsynced = False
            sealed, self._sealed = self._sealed, []
            head = self._index.feeds.head(self.device)  # now: during the flush a newer one may be signed
            try:
                await trio.to_thread.run_sync(self._index.database.sync)
            except BaseException:
                self._unsynced = True
                self._sealed = sealed + self._sealed
                raise
            if self.lost or head is None:
                return
            before, self._durable = self._durable, (head[0], head[1])
            if before is None or head[1] > before[1]:
                self._announce(head[0], sealed)

    async def run(self) -> None:
        """Seal, commit and announce, shortly after each change."""
        pause = GATHER_SECONDS
        while True:
            await self._wake.wait()
            before = self._sequence
            await trio.sleep(pause)
            await self.durable()
            pause = max(GATHER_SECONDS, min(RECORD_SECONDS * (self._sequence - before), BUSY_SECONDS))

    def _record_touched(self) -> None:
        if not self._touched:
            return
        touched, self._touched = self._touched, {}
        batch: list[Record] = []
        for node, time in touched.items():
            ino = self._index.nodes.ino_of(node)
            found = None if ino is None else self._index.nodes.get(ino)
            if found is not None:
                batch.append(NodeRecord(self.tick(), time, node, times=Times(found.atime, time)))
        try:
            self._index.apply(batch, self.device)
        except BaseException:
            self._touched = touched | self._touched
            raise
        self._pending += batch

    def _publics(self, rows: Iterable[tuple[Address, int, int, int]]) -> Iterator[Segment]:
        for address, *_ in rows:
            data = self._index.feeds.segment(address)
            if data is not None:
                yield decode_segment_public(data)

    def _store_segment(
        self, records: list[Record], first: int, last: int, adds: Sequence[bytes], drops: Sequence[bytes]
    ) -> tuple[Address, bytes]:
        nonce = self._random(SEGMENT_NONCE_BYTES)
        sealed = encode_segment(self.read, self.device, first, records, adds, drops, nonce, last=last)
        self._index.feeds.add_segment(sealed.address, self.device, first, last, sealed.data)
        return sealed.address, sealed.data

    def _plan(self) -> "_Plan | None":
        """Which segments to merge now, if any."""
        segments = self._index.feeds.segments_of(self.device)
        weigh = self._weights.get
        chosen = merge_plan([(last - first + 1, max(size, weigh(own, 0))) for own, first, last, size in segments])
        if chosen is None:
            return None
        found: dict[Address, bytes] = {}
        for address, *_ in segments[chosen]:
            data = self._index.feeds.segment(address)
            assert data is not None
            found[address] = data
        return _Plan(found, segments[chosen][0][1], segments[chosen][-1][2])

    def _merge(self, plan: "_Plan", merged: "_Merged") -> bool:
        """Hold one segment in the place of several; false where that cannot be one, which is remembered.

        Segments are stored compressed, and only who has opened them knows how large they are.
        """
        ratio, size = MAX_PLAIN // MAX_MERGED_BYTES, sum(merged.sizes.values())
        fits = size + _ARRAY_BYTES <= MAX_PLAIN
        weights = merged.sizes
        if fits:
            weights = {self._take_place(plan, merged): size}
        self._weights = {own: weight for own, weight in self._weights.items() if self._index.feeds.has_segment(own)}
        self._weights |= {own: size // ratio + 1 for own, size in weights.items()}
        return fits

    def _take_place(self, plan: "_Plan", merged: "_Merged") -> Address:
        """Hold one segment in the place of several; its address."""
        held = self._index.feeds.segments_of(self.device)
        earlier = [row for row in held if row[2] < plan.first]
        adds, drops = joined(merged.publics, self._publics(earlier))
        self._index.feeds.drop_segments(self.device, {row[0] for row in held if row[0] not in plan.segments})
        address, _ = self._store_segment(merged.records, plan.first, plan.last, adds, drops)
        self._merged |= plan.segments
        while sum(map(len, self._merged.values())) > MERGED_BYTES:
            del self._merged[next(iter(self._merged))]
        return address


@dataclass(frozen=True, slots=True)
class _Plan:
    """Segments to merge, in order, and the records that they span."""

    segments: dict[Address, bytes]
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class _Merged:
    """What they hold."""

    publics: list[Segment]
    records: list[Record]
    sizes: dict[Address, int]
    """For each segment the bytes of what is left of its records."""


def _merged(read: ReadKeys, plan: _Plan) -> _Merged:
    """For a thread: what these segments hold, without what is superseded."""
    opened = {own: decode_segment(read, data) for own, data in plan.segments.items()}
    kept = without_superseded([record for _, records in opened.values() for record in records])
    left = set(map(id, kept))
    sizes = {
        own: sum(len(encode_record(record)) for record in records if id(record) in left)
        for own, (_, records) in opened.items()
    }
    return _Merged([public for public, _ in opened.values()], kept, sizes)

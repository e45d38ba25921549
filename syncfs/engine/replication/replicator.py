"""Replication: telling peers what we have, taking what is new, passing it on.

When a link opens both sides say up to which record they have applied each feed; whoever has more announces its
heads. From then on a new head is announced as it comes, with its small segments inside. A head counts only if its
device signed it and a writer's certificate, signed by the share, names that device: what a reader or a stranger signs
is refused. Segments that are not inside are fetched from whoever has them, and applied in feed order.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import trio

from syncfs.crypto.keys import ReadKeys
from syncfs.engine.feeds.feed import OWN_FEED_LOST, Feed
from syncfs.engine.feeds.forks import Forks
from syncfs.engine.feeds.writers import Writers
from syncfs.engine.replication.applying import Applier
from syncfs.engine.replication.holding import Holding
from syncfs.engine.replication.segments import segments_of
from syncfs.index.index import Changes, Index
from syncfs.model.errors import BadChunkError, ForeignError, SyncfsError, UnavailableError
from syncfs.model.ids import Address, DeviceId
from syncfs.transport.link import Link
from syncfs.wire.credentials import Credentials
from syncfs.wire.head import SegmentRef, SignedHead, decode_head, verify_head
from syncfs.wire.messages import Announce, Have
from syncfs.wire.segment import decode_segment, decode_segment_public

FETCH_AT_ONCE = 16
INLINE_BYTES = 256 * 1024
"""Segments that go into an announcement."""
RETRY_SECONDS = 0.5
OTHERS_SECONDS = 3.0
"""When one peer has told us our own feed, which was lost, others get so long to say that they know more of it."""
FIRST_SECONDS = 60.0
"""And so long, at most, what they tell besides is waited for: journals go over versions of others, too."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Known:
    """Up to which record of each feed a peer has said it is, and up to which we have told it the head."""

    has: dict[bytes, int] = field(default_factory=dict)
    told: dict[bytes, int] = field(default_factory=dict)


class Replicator:
    """Exchanges feeds with all linked peers."""

    def __init__(
        self,
        index: Index,
        feed: Feed | None,
        read: ReadKeys | None,
        credentials: Callable[[], Credentials],
        commit: Callable[[], None],
        changed: Callable[[Changes], None],
        holding: Holding,
    ) -> None:
        self._index = index
        self._feed = feed
        self._read = read
        self._writers = Writers(index.feeds, credentials)
        self._commit = commit
        self._changed = changed
        self.holding = holding
        self._decided = trio.Event()
        self._decided.set()
        self._links: dict[Link, _Known] = {}
        self._locks: dict[bytes, trio.Lock] = {}
        self.last_refusal = ""
        """The last thing that a peer sent and we did not take, for `status`."""
        self.forks = Forks(index.feeds, None if feed is None else feed.device)
        self.applier = Applier(index, read, feed, self.forks, holding, changed, self._decide)
        if feed is not None and self.forks.has(feed.device):
            feed.forked = True
        self.taking = 0
        """Heads whose segments are being fetched or applied, or wait for it."""
        self._taken = trio.Event()
        self._own_told = trio.Event()

    def opened(self, link: Link) -> None:
        """A link stands: say what we have."""
        self._links[link] = _Known()
        applied = self._index.feeds.applied()
        if self._feed is not None and not self._feed.lost:
            applied[self._feed.device] = 0 if self._feed.durable_head is None else self._feed.durable_head[1]
        feeds = {bytes(device): last for device, last in applied.items() if last}
        link.post(Have(feeds, self.forks.marks(self._heads())))

    async def attend(self, link: Link) -> None:
        """Nothing to do beside the link: all comes by messages."""

    def closed(self, link: Link) -> None:
        """The link is over."""
        self._links.pop(link, None)

    def is_level(self, link: Link) -> bool:
        """Whether a peer has said that it has all that we have."""
        known = self._links.get(link)
        applied = self._index.feeds.applied()
        return known is not None and all(known.has.get(device, 0) >= number for device, number in applied.items())

    def announce_own(self, head: bytes, segments: Sequence[tuple[Address, bytes]]) -> None:
        """Tell all peers of new segments of ours."""
        assert self._feed is not None and self._feed.durable_head is not None
        self._announce(self._feed.device, head, self._feed.durable_head[1], segments, None)

    async def have(self, link: Link, message: Have) -> None:
        """A peer says what it has: announce what it lacks."""
        known = self._links.get(link)
        if known is None:
            return
        for device, sequence in message.feeds.items():
            known.has[device] = max(known.has.get(device, 0), sequence)
        heads, certificates = [], []
        ours = self._heads()
        marks = self.forks.marks(ours) if message.marks else {}
        for device, head, sequence in ours:
            has, told = known.has.get(device, 0), known.told.get(device, 0)
            theirs = message.marks.get(device) if message.feeds.get(device) == sequence else None
            forked = theirs is not None and marks.get(device, theirs) != theirs
            if forked or (sequence > has and (sequence > told or device in message.feeds)):
                known.told[device] = sequence
                heads.append(head)
                certificates += self._writers.certificates(device)
        for start in range(0, len(heads), 64):
            link.post(Announce(heads[start : start + 64], certificates[start : start + 64]))

    def _heads(self) -> list[tuple[DeviceId, bytes, int]]:
        """The heads that may be told: of our own feed only what no loss of power can take back."""
        found = []
        for device, head, sequence in self._index.feeds.heads():
            if self._feed is None or not self._is_written_here(device):
                found.append((device, head, sequence))
            elif self._feed.durable_head is not None:
                # A newer head with the same records lists the segments that are here now.
                durable = self._feed.durable_head
                found.append((device, head, sequence) if sequence <= durable[1] else (device, *durable))
        return found

    async def announced(self, link: Link, message: Announce) -> None:
        """A peer announces heads: take what is new. Raises ForeignError, RefusedError."""
        for certificate in message.certificates:
            self._writers.learn(certificate)
        inside = {Address(address): data for address, data in message.segments}
        self.taking += len(message.heads)
        try:
            await self._take_heads(link, [decode_head(encoded) for encoded in message.heads], inside)
        finally:
            self.taking -= len(message.heads)
            if not self.taking:
                self.holding.arm()
                self._taken.set()
                self._taken = trio.Event()

    async def all_taken(self) -> None:
        """Return when all that was announced until now is applied, or could not be."""
        while self.taking:
            await self._taken.wait()

    async def _take_heads(self, link: Link, heads: Sequence[SignedHead], inside: Mapping[Address, bytes]) -> None:
        for head in heads:
            known = self._links.get(link)
            if known is not None:
                known.has[head.device] = max(known.has.get(head.device, 0), head.sequence)
            lock = self._locks.setdefault(head.device, trio.Lock())
            async with lock:
                try:
                    await self._take(link, head, inside)
                except UnavailableError as error:
                    _log.info("what %s announced could not be fetched, asking again: %s", link.peer.name, error)
                except (ForeignError, BadChunkError) as error:
                    self.last_refusal = f"{link.peer.name}: {error}"
                    _log.warning("refused what %s announced: %s", link.peer.name, error)
                    raise
                else:
                    continue
            # Its segments may have been merged meanwhile: a peer answers this with its newest head.
            await trio.sleep(RETRY_SECONDS)
            applied = self._index.feeds.applied().get(head.device, 0)
            if link in self._links and applied < head.sequence:
                link.post(Have({head.device: applied}))

    async def own_told(self) -> None:
        """Return when peers have told us our own feed, which was lost, and none that is linked knows more of it.

        Nothing may wait between that and `Feed.regain`.
        """
        await self._own_told.wait()
        await trio.sleep(OTHERS_SECONDS)
        with trio.move_on_after(FIRST_SECONDS):
            await self.all_taken()
        while not self._has_all_of_own():  # noqa: ASYNC110 - a link that ends tells no event
            await trio.sleep(OTHERS_SECONDS)

    def _has_all_of_own(self) -> bool:
        assert self._feed is not None
        device = self._feed.device
        if device in self._locks and self._locks[device].locked():
            return False  # a newer head is on its way into the index, which the feed must not begin below
        applied = self._index.feeds.applied().get(device, 0)
        return all(known.has.get(device, 0) <= applied for known in self._links.values())

    def _is_written_here(self, device: DeviceId) -> bool:
        """Whether this is our own feed, of which nobody knows more than we do; while it is lost, it is as any other."""
        return self._feed is not None and device == self._feed.device and not self._feed.lost

    def in_sync(self) -> bool:
        """Whether we have all that was announced, and every linked peer all that we have."""
        if self.taking or self.holding.held:
            return False
        if self._feed is not None and (self._feed.forked or self._feed.gathers):
            return False
        return all(self.is_level(link) for link in self._links)

    async def run(self) -> None:
        """Let through what somebody has accepted, on whatever computer, whenever that is heard of."""
        while True:
            await self._decided.wait()
            self._decided = trio.Event()
            for device in self.holding.held:
                _, _, applied = self._index.feeds.head(device) or (b"", 0, 0)
                if self.holding.accepted(device) > applied:
                    try:
                        await self.let_through(device)
                    except SyncfsError as error:
                        _log.warning("what had waited could not be taken: %s", error)

    async def let_through(self, device: DeviceId) -> None:
        """Apply what waits of a device, as far as it is accepted, and tell it.

        Raises UnavailableError, ForeignError.
        """
        async with self._locks.setdefault(device, trio.Lock()):
            head = self.holding.forget(device)
            try:
                if head is not None:
                    await self._take(None, head, {})
            except UnavailableError:
                for link in self._links:
                    link.post(Have({device: self._index.feeds.applied().get(device, 0)}))
                raise

    async def _take(self, link: Link | None, head: SignedHead, inside: Mapping[Address, bytes]) -> None:
        known = self._index.feeds.head(head.device)
        applied = 0 if known is None else known[2]
        if known is not None and known[0] and self.forks.contradicts(head):
            self._forked(link, head)
            return
        if known is not None and head.sequence <= known[1] and applied >= known[1]:
            if self._is_written_here(head.device):
                await self._compare_own(link, head, inside)
            return
        if head.sequence <= self.holding.waiting_sequence(head.device):
            return
        name = "a peer" if link is None else link.peer.name
        if self._feed is not None and self._is_written_here(head.device):
            verify_head(head)
            self._feed.forked = True
            self._index.feeds.set_number(OWN_FEED_LOST, 1)
            self.last_refusal = (
                f"{name} knows changes of this device that its index lacks, as after restoring a backup: "
                "the share is read-only now; copy what you wrote since then elsewhere, and start the share again"
            )
            return
        self._writers.verify(head)
        reached = await self._take_fresh(link, head, applied, inside)
        if reached is None:
            self._forked(link, head)
            return
        fresh = [ref for ref in head.segments if ref.last > applied]
        for ref in head.segments:
            if ref.last <= applied and not self._index.feeds.has_segment(ref.address):
                for held, data in await self._segments(link, [ref], inside):
                    self.applier.keep(head.device, held, data)
        if self.holding.holds(head.device):
            self._keep_waiting(head, known, reached)
            return
        self._index.feeds.set_head(head.device, head.encoded, head.sequence, head.sequence)
        self._index.feeds.set_number("lamport", self.applier.lamport)
        if self._feed is not None and head.device == self._feed.device:
            self._index.feeds.set_number(OWN_FEED_LOST, 0)
            self._own_told.set()
        self._drop_segments(head.device, {ref.address for ref in head.segments})
        self._commit()
        self._changed(self._index.take_changes())
        passed_on = [
            (address, inside[address]) for address in (Address(ref.address) for ref in fresh) if address in inside
        ]
        self._announce(head.device, head.encoded, head.sequence, passed_on, link)

    async def _take_fresh(
        self, link: Link | None, head: SignedHead, applied: int, inside: Mapping[Address, bytes]
    ) -> int | None:
        """Apply what is new, or hold it; up to which record it is applied then.

        None, with nothing done, if it does not go on from what was `applied`.
        """
        reached = applied
        fresh = [ref for ref in head.segments if ref.last > applied]
        for start in range(0, len(fresh), FETCH_AT_ONCE):
            for ref, data in await self._segments(link, fresh[start : start + FETCH_AT_ONCE], inside):
                if not await self.applier.apply(head.device, ref, data, applied):
                    return None
                if not self.holding.holds(head.device):
                    reached = ref.last
        return reached

    async def _compare_own(self, link: Link | None, head: SignedHead, inside: Mapping[Address, bytes]) -> None:
        """A peer holds an older head of ours, or one that a copy of this device has signed: look what it lists."""
        verify_head(head)
        for ref in head.segments:
            if self._read is not None and not self._index.feeds.has_segment(ref.address):
                ((_, data),) = await self._segments(link, [ref], inside)
                public, records = decode_segment(self._read, data)
                if not self.forks.is_ours(self._read, public.device, ref, records):
                    self._forked(link, head)
                    return

    def _forked(self, link: Link | None, head: SignedHead) -> None:
        """A device has signed a history that contradicts the one which we hold: refuse it, and say so."""
        if self._feed is not None and head.device == self._feed.device:
            verify_head(head)
            self._feed.forked = True
        else:
            self._writers.verify(head)
        is_news = not self.forks.has(head.device)
        sentence = self.forks.note(head.device)
        if is_news:
            _log.warning("%s", sentence)
        known = self._index.feeds.head(head.device)
        if known is not None and link is not None and link.peer.device == head.device:
            link.post(Announce([known[0]], self._writers.certificates(head.device)))  # so that it learns of it, too

    def _decide(self) -> None:
        self._decided.set()

    def _drop_segments(self, device: DeviceId, keep: set[bytes]) -> None:
        if self._read is None:
            for address, *_ in self._index.feeds.segments_of(device):
                data = None if address in keep else self._index.feeds.segment(address)
                if data is not None:
                    self.applier.gave_up(decode_segment_public(data).adds)
        self._index.feeds.drop_segments(device, keep)

    def _keep_waiting(self, head: SignedHead, known: tuple[bytes, int, int] | None, applied: int) -> None:
        """Keep a head whose records are held, beside the one that is told to others until they are applied."""
        feeds = self._index.feeds
        told, sequence, _ = known or (b"", 0, 0)
        feeds.set_head(head.device, told, sequence, applied)
        listed = {ref.address for ref in head.segments}
        if told:
            listed |= {ref.address for ref in decode_head(told).segments}
        feeds.drop_segments(head.device, listed)
        self.holding.keep(head)
        self._commit()
        self._changed(self._index.take_changes())

    async def _segments(
        self, link: Link | None, refs: Sequence[SegmentRef], inside: Mapping[Address, bytes]
    ) -> list[tuple[SegmentRef, bytes]]:
        first = [] if link is None else [link]
        others = [other for other in self._links if other is not link]
        return await segments_of(refs, inside, self._index.feeds, [*first, *others])

    def _announce(
        self,
        device: DeviceId,
        head: bytes,
        sequence: int,
        segments: Sequence[tuple[Address, bytes]],
        origin: Link | None,
    ) -> None:
        """`origin` is the link from which the head came."""
        message = Announce([head], self._writers.certificates(device), _small(segments))
        for link, known in self._links.items():
            if link is origin or known.has.get(device, 0) >= sequence:
                link.post(Have({device: sequence}))
            elif known.told.get(device, 0) < sequence:
                known.told[device] = sequence
                link.post(message)


def _small(segments: Sequence[tuple[Address, bytes]]) -> list[tuple[bytes, bytes]]:
    """The segments that fit into one announcement."""
    chosen: list[tuple[bytes, bytes]] = []
    total = 0
    for address, data in segments:
        total += len(data)
        if total > INLINE_BYTES:
            break
        chosen.append((address, data))
    return chosen

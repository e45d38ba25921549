"""Condensing this device's own feed: leaving out what lost, so that a new peer gets the state and not the whole past.

Of the records of our feed those are left out that a later one, by whomever, has replaced and that history keeps no
longer; of a version that was thinned out of history its stamp, parents and digest remain. A node that is *over*
(deleted for TOMBSTONE_TIME, and kept by no history) is left out with all its records, in an order that lets nobody who
hears a part of them see it alive or unlike others: a version only when nobody else tells an earlier one, of which the
deletion has not said that it was seen; permissions and the like only when nobody else tells of its birth; the deletion
itself only when no feed that we hold tells anything else of the node.

Whoever condenses says in a setting, `condensed DEVICE`, what it knew then: of each device the last record, by number
and by lamport. By that a device that was away meanwhile finds out what is over (engine/feeds/returning.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec
import trio

from syncfs.crypto.keys import ReadKeys
from syncfs.engine.feeds.feed import Feed
from syncfs.index.index import Index
from syncfs.index.nodes import BIRTH, GROUPS, MODE, OWNER, TIMES, XATTRS, Node
from syncfs.model.errors import SyncfsError
from syncfs.model.ids import Address, DeviceId, LinkId, NodeId, Stamp, device_of, lamport_of, make_stamp
from syncfs.model.records import (
    THINNED,
    LinkRecord,
    NodeRecord,
    Record,
    SettingRecord,
    VersionRecord,
    content_digest,
)
from syncfs.wire.segment import SealedSegment, decode_segment

DAY_SECONDS = 86_400
TOMBSTONE_TIME = 180 * DAY_SECONDS * 10**9
"""How long a deletion is told, in ns by the clock of who deleted."""
EVERY_SECONDS = DAY_SECONDS
LOOK_SECONDS = 3600.0
ENDING_SECONDS = 30 * DAY_SECONDS
"""Nodes that are over are left out so often, since for them all segments that tell of them are written anew."""
WORTH = 4
"""Otherwise a segment is written anew when one of so many records can go: peers fetch what is written anew."""
SLICE = 200
SETTING = "condensed "
_CONDENSED_AT = "condensed_at"
_ENDED_AT = "ended_at"
_MOST_DEVICES = 150

_FIELDS = {BIRTH: "birth", MODE: "mode", OWNER: "owner", TIMES: "times", XATTRS: "xattrs"}


@dataclass(frozen=True, slots=True)
class Known:
    """What a device knew at a moment: of each feed the last record, as (number, lamport)."""

    feeds: Mapping[DeviceId, tuple[int, int]]

    def covers(self, stamp: Stamp) -> bool:
        """Whether a record was known."""
        return lamport_of(stamp) <= self.feeds.get(device_of(stamp), (0, 0))[1]

    def encode(self) -> str:
        """The value of a setting."""
        return " ".join(f"{device.hex()}:{number}:{lamport}" for device, (number, lamport) in self.feeds.items())


def parse_known(text: str) -> Known | None:
    """The value of a setting, None where it is not one that this version understands."""
    try:
        parts = [part.split(":") for part in text.split()]
        found = [(DeviceId(bytes.fromhex(device)), (int(number), int(lamport))) for device, number, lamport in parts]
    except ValueError:
        return None
    return Known(dict(found))


@dataclass(frozen=True, slots=True)
class _Told:
    """What feeds tell of nodes that are over: the earliest version by others, of which others tell the birth, and of
    which anybody tells anything but deletions.
    """

    over: frozenset[NodeId] = frozenset()
    versions: Mapping[NodeId, Stamp] = field(default_factory=dict)
    born: frozenset[NodeId] = frozenset()
    alive: frozenset[NodeId] = frozenset()


@dataclass(slots=True)
class _Draft:
    """A segment of ours as it shall be, and the nodes that are over for it to be right."""

    address: Address
    sealed: SealedSegment
    over: set[int]
    left_out: int


class Condenser:
    """Condenses the feed of one writer, once a day or when asked."""

    def __init__(self, index: Index, feed: Feed, read: ReadKeys, wall: Callable[[], int]) -> None:
        self._index = index
        self._feed = feed
        self._read = read
        self._wall = wall
        self._busy = trio.Lock()

    async def run(self, report: Callable[[Exception], None]) -> None:
        """Condense once a day."""
        feeds = self._index.feeds
        for key in (_CONDENSED_AT, _ENDED_AT):
            if not feeds.number(key):
                feeds.set_number(key, self._wall() // 10**9)
        while True:
            await trio.sleep(LOOK_SECONDS)
            passed = {key: self._wall() // 10**9 - feeds.number(key) for key in (_CONDENSED_AT, _ENDED_AT)}
            if not 0 <= passed[_CONDENSED_AT] < EVERY_SECONDS:
                try:
                    await self.condense(ending=not 0 <= passed[_ENDED_AT] < ENDING_SECONDS)
                except SyncfsError as error:
                    report(error)

    async def condense(self, *, ending: bool = True) -> int:
        """Leave out what lost, with `ending` also nodes that are over; returns how many records.

        Raises SetupError, DamageError.
        """
        if self._feed.lost:
            return 0
        async with self._busy:
            self._feed.seal()
            told = await self._told() if ending else _Told()
            drafts = []
            for address, *_ in self._index.feeds.segments_of(self._feed.device):
                draft = await self._draft(address, told)
                if draft is not None:
                    drafts.append(draft)
            known = await self._known()
            # From here on nothing waits: what came since the drafts were made may have brought a node back.
            before = self._wall() - TOMBSTONE_TIME
            over = {ino for draft in drafts for ino in draft.over}
            back = {ino for ino in over if not self._index.ending.is_over(ino, before)}
            held = {address for address, *_ in self._index.feeds.segments_of(self._feed.device)}
            if back or not held.issuperset(draft.address for draft in drafts):
                return 0  # a part would not do; the next time all is looked at again
            for key in (_CONDENSED_AT, _ENDED_AT) if ending else (_CONDENSED_AT,):
                self._index.feeds.set_number(key, self._wall() // 10**9)
            if drafts:
                said = SettingRecord(
                    self._feed.tick(), self._feed.now(), SETTING + self._feed.device.hex(), known.encode()
                )
                self._feed.replace([(draft.address, draft.sealed) for draft in drafts], said)
            return sum(draft.left_out for draft in drafts)

    async def _draft(self, address: Address, told: _Told) -> _Draft | None:
        data = self._index.feeds.segment(address)
        if data is None:
            return None
        public, records = await trio.to_thread.run_sync(decode_segment, self._read, data)
        kept: list[Record] = []
        over: set[int] = set()
        shorter = 0
        for number, record in enumerate(records):
            left = self._left_of(record, told, over)
            if left is not None:
                kept.append(left)
                shorter += left is not record
            if number % SLICE == SLICE - 1:
                await trio.lowlevel.checkpoint()
        left_out = len(records) - len(kept)
        if not over and ((left_out + shorter) * WORTH < len(records) or not left_out + shorter):
            return None
        sealed = await trio.to_thread.run_sync(self._feed.seal_again, public, kept)
        return _Draft(address, sealed, over, left_out)

    def _left_of(self, record: Record, told: _Told, over: set[int]) -> Record | None:
        """What remains to be told of a record of ours; None for nothing, `over` having its node where that is over."""
        ending, stamp = self._index.ending, make_stamp(record.lamport, self._feed.device)
        if isinstance(record, SettingRecord):
            return record if ending.is_setting(record.key, stamp) else None
        ino = self._index.nodes.ino_of(record.node)
        if ino is None:
            return record
        node = NodeId(record.node)
        left: Record | None = None
        match record:
            case LinkRecord():
                wins = ending.wins(LinkId(record.link), stamp)
                if wins and node in told.over and node not in told.alive:
                    left = None
                elif wins or ending.is_past(LinkId(record.link), stamp) or (record.seen and node not in told.over):
                    return record
                else:
                    return None
            case NodeRecord():
                if node not in told.over or node in told.born:
                    return self._left_of_node(record, self._index.nodes.must(ino), stamp)
            case VersionRecord():
                if node not in told.over or told.versions.get(node, stamp) < stamp:
                    return self._left_of_version(record, stamp)
        over.add(ino)
        return left

    def _left_of_node(self, record: NodeRecord, node: Node, stamp: Stamp) -> NodeRecord | None:
        lost = [
            group
            for group in range(GROUPS)
            if getattr(record, _FIELDS[group]) is not None
            and node.group_stamp(group) != stamp
            and not self._index.ending.is_past_value(node.ino, group, stamp)
        ]
        if not lost:
            return record
        left = msgspec.structs.replace(record, **{_FIELDS[group]: None for group in lost})
        return left if any(getattr(left, name) is not None for name in _FIELDS.values()) else None

    def _left_of_version(self, record: VersionRecord, stamp: Stamp) -> VersionRecord:
        row = self._index.version(stamp)
        if row is None or row.depth != THINNED or record.depth == THINNED:
            return record
        digest = content_digest(record.size, record.depth, record.body)
        return msgspec.structs.replace(record, depth=THINNED, body=digest, asked=False)

    async def _told(self) -> _Told:
        """Which nodes are over, and what is told of them."""
        before = self._wall() - TOMBSTONE_TIME
        over: set[NodeId] = set()
        for number, ino in enumerate(self._index.ending.deleted()):
            if self._index.ending.is_over(ino, before):
                over.add(self._index.nodes.must(ino).node)
            if number % SLICE == SLICE - 1:
                await trio.lowlevel.checkpoint()
        nodes, feeds = frozenset(over), self._index.feeds
        versions: dict[NodeId, Stamp] = {}
        born: set[NodeId] = set()
        alive: set[NodeId] = set()
        for device in feeds.applied() if over else ():
            for address, *_ in feeds.segments_of(device):
                data = feeds.segment(address)
                if data is None:
                    continue
                for record in await trio.to_thread.run_sync(_of_nodes, self._read, data, nodes):
                    node, stamp = NodeId(record.node), make_stamp(record.lamport, device)
                    if not (isinstance(record, LinkRecord) and record.deleted):
                        alive.add(node)
                    if device == self._feed.device:
                        continue
                    if isinstance(record, VersionRecord):
                        versions[node] = min(stamp, versions.get(node, stamp))
                    elif isinstance(record, NodeRecord) and record.birth is not None:
                        born.add(node)
        return _Told(nodes, versions, frozenset(born), frozenset(alive))

    async def _known(self) -> Known:
        feeds = self._index.feeds
        found: dict[DeviceId, tuple[int, int]] = {}
        for device, applied in list(feeds.applied().items())[:_MOST_DEVICES]:
            lamport = 0
            for address, _, last, _ in reversed(feeds.segments_of(device)):
                data = feeds.segment(address)
                if data is not None and last <= applied:
                    _, records = await trio.to_thread.run_sync(decode_segment, self._read, data)
                    lamport = max((record.lamport for record in records), default=0)
                    if lamport:
                        break
            found[device] = applied, lamport
        return Known(found)


def _of_nodes(read: ReadKeys, data: bytes, nodes: frozenset[NodeId]) -> list[NodeRecord | LinkRecord | VersionRecord]:
    """The records of a segment that are about these nodes."""
    return [
        record
        for record in decode_segment(read, data)[1]
        if not isinstance(record, SettingRecord) and record.node in nodes
    ]

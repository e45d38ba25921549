"""What a device that was away for very long makes of files whose deletion nobody tells any more.

When a device has condensed its feed (condensing.py) it says what it knew then. Whoever knows all that too, and still
shows a node whose birth that feed told once and tells no longer, has missed the deletion: it was away. Then

- what nobody has touched since is deleted here as well;
- what somebody has edited, renamed or put something into, in records that those who condensed did not know, is kept,
  with the directories above it. A device that may write tells it anew, so that it comes back for all, also for those
  who never heard of it.

Either way a sentence in the log and, for a month, in `status` says so, and the log names the files. Nothing is decided
before all that was known is here.

History forgets the content of a deleted file after some weeks, and it may come back after that by a rename that was
under way. Then who lacks its content finds it in what is told of it still, or who has it tells it anew.
"""

import logging
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet

import trio

from syncfs.crypto.keys import ReadKeys
from syncfs.engine.feeds.condensing import SETTING, Known, parse_known
from syncfs.engine.feeds.feed import Feed
from syncfs.index.index import Changes, Index, Node
from syncfs.model.ids import DeviceId, Stamp, device_of, lamport_of, make_stamp
from syncfs.model.manifest import entries_of, is_hole
from syncfs.model.records import (
    INLINE,
    THINNED,
    Birth,
    LinkRecord,
    NodeRecord,
    Owner,
    Record,
    Times,
    VersionRecord,
)
from syncfs.model.reports import shown_path
from syncfs.wire.head import decode_head
from syncfs.wire.segment import decode_segment

WAIT_SECONDS = 1.0
SAID_NS = 30 * 86_400 * 10**9
"""For how long `status` tells of it."""
MOST_NAMES = 1000
"""How many files the log names."""
_LOOKED = "looked at "
_SAID = "returned"
_SAID_AT = "returned_at"

_log = logging.getLogger(__name__)


class Returner:
    """Looks for nodes that are over, after each head that came; its task belongs to the share."""

    def __init__(
        self, index: Index, feed: Feed | None, read: ReadKeys, changed: Callable[[Changes], None],
        wall: Callable[[], int],
    ) -> None:  # fmt: skip
        """`changed` hears of what looks different."""
        self._index = index
        self._feed = feed
        self._read = read
        self._changed = changed
        self._wall = wall
        self._came = trio.Event()
        self._came.set()
        self._seen: set[int] = set()

    @property
    def reasons(self) -> list[str]:
        """What there is to say of it in `status`."""
        said = self._index.feeds.text(_SAID).decode()
        return [said] if said and self._wall() < self._index.feeds.number(_SAID_AT) + SAID_NS else []

    def head_came(self, inos: Iterable[int]) -> None:
        """Something of a peer was applied, and these nodes look different."""
        self._seen.update(inos)
        self._came.set()

    async def run(self) -> None:
        """Look, a moment after something came."""
        while True:
            await self._came.wait()
            await trio.sleep(WAIT_SECONDS)
            self._came = trio.Event()
            await self.look()

    async def look(self) -> None:
        """Look at the feeds that were condensed since the last time, if all that was known then is here."""
        feeds = self._index.feeds
        for key, value, stamp in self._index.ending.settings(SETTING):
            known, device = parse_known(value), device_of(stamp)
            if known is None or key != SETTING + device.hex() or feeds.text(_LOOKED + device.hex()) == stamp:
                continue
            applied = feeds.applied()
            if all(applied.get(one, 0) >= number for one, (number, _) in known.feeds.items()) and await self._compare(
                device, known
            ):
                feeds.set_text(_LOOKED + device.hex(), stamp)
        await self._find_contents()

    async def _compare(self, device: DeviceId, known: Known) -> bool:
        """Find what a device no longer tells; false where not all is held that it tells."""
        feeds = self._index.feeds
        head = feeds.head(device)
        if head is None:
            return False
        told: set[bytes] = set()
        thinned: set[Stamp] = set()
        for ref in decode_head(head[0]).segments:
            data = feeds.segment(ref.address)
            if data is None:
                return False
            births, forgotten = await trio.to_thread.run_sync(_told, self._read, device, data)
            told |= births
            thinned |= forgotten
        missing: dict[int, Node] = {}
        after, latest = 0, known.feeds.get(device, (0, 0))[1]
        while page := self._index.ending.shown_born_by(device, after):
            after = page[-1].ino
            missing |= {
                node.ino: node
                for node in page
                if node.node not in told and not node.is_copy and lamport_of(node.group_stamp(0)) <= latest
            }
            await trio.lowlevel.checkpoint()
        if (feeds.head(device) or (b"",))[0] != head[0]:
            return False
        if missing:
            self._decide(missing, known)
        self._tell_contents(thinned)
        return True

    def _tell_contents(self, thinned: Iterable[Stamp]) -> None:
        """Write the content of shown heads anew that whoever wrote them tells no longer."""
        if self._feed is None or not self._feed.may_write:
            return
        for head in thinned:
            node = self._index.ending.shows(head)
            if node is not None:
                self._feed.record(*self._version_anew(node, head))

    async def _find_contents(self) -> None:
        """Look in the feeds for the content of shown heads that history had forgotten here."""
        wanted: dict[DeviceId, set[Stamp]] = {}
        inos, self._seen = self._seen, set()
        for head in self._index.ending.thinned_heads(inos):
            wanted.setdefault(device_of(head), set()).add(head)
        for device, heads in wanted.items():
            for address, *_ in self._index.feeds.segments_of(device):
                data = self._index.feeds.segment(address)
                if data is not None:
                    for head, depth, body in await trio.to_thread.run_sync(_contents, self._read, device, data, heads):
                        self._index.ending.restore(head, depth, body)

    def _decide(self, missing: dict[int, Node], known: Known) -> None:
        kept = {ino for ino, node in missing.items() if self._is_touched(node, known)}
        grows = True
        while grows:
            above = {
                ino
                for ino, node in missing.items()
                if ino not in kept
                and node.is_directory
                and any(inner not in missing or inner in kept for inner in self._index.ending.inside(ino))
            }
            kept |= above
            grows = bool(above)
        gone = [ino for ino in missing if ino not in kept]
        names, removed = self._names(kept), self._names(gone)
        self._index.end(gone)
        self._changed(self._index.take_changes())
        if self._feed is not None and self._feed.may_write and kept:
            self._tell_anew(kept, known)
        text = (
            f"this device was away for so long that the others had forgotten what they deleted: {len(gone)} such "
            f"files and directories were removed here, and {len(kept)} that were changed meanwhile were kept"
        )
        if names:
            text += f", such as {names[0]}"
        _log.warning("%s", text)
        for what, paths in (("removed", removed), ("kept", names)):
            for path in paths[:MOST_NAMES]:
                _log.warning("%s, as its deletion was forgotten: %s", what, path)
            if len(paths) > MOST_NAMES:
                _log.warning("%s, and %d more", what, len(paths) - MOST_NAMES)
        self._index.feeds.set_text(_SAID, f"{text}; the log names them".encode())
        self._index.feeds.set_number(_SAID_AT, self._wall())

    def _names(self, inos: Iterable[int]) -> list[str]:
        return sorted(shown_path(path) for ino in inos if (path := self._index.path_of(ino)) is not None)

    def _is_touched(self, node: Node, known: Known) -> bool:
        stamps = [*node.all_heads, *self._index.ending.link_stamps(node.ino)]
        return not all(known.covers(stamp) for stamp in stamps)

    def _tell_anew(self, inos: Iterable[int], known: Known) -> None:
        assert self._feed is not None
        records: list[Record] = []
        adds: list[bytes] = []
        for ino in sorted(inos):
            node = self._index.nodes.must(ino)
            records.append(
                NodeRecord(
                    self._feed.tick(), self._feed.now(), node.node, Birth(node.kind, node.rdev, node.target), node.mode,
                    Owner(node.uid, node.gid, node.user, node.group), Times(node.atime, node.times_mtime), node.xattrs,
                )
            )  # fmt: skip
            for link in self._index.links_of(ino):
                if not link.deleted or self._index.ending.link_stamps(ino):
                    parent = self._index.nodes.must(link.parent).node
                    records.append(
                        LinkRecord(self._feed.tick(), self._feed.now(), link.link, node.node, parent, link.name)
                    )
            for head in node.shown_heads:
                if known.covers(head):
                    again, chunks = self._version_anew(node, head)
                    records += again
                    adds += chunks
        self._feed.record(records, adds)

    def _version_anew(self, node: Node, head: Stamp) -> tuple[list[Record], list[bytes]]:
        """The record that has a version's content again, and the chunks that it needs; nothing if it is not known.

        It names no parents, or it would give way to what others had made of the version before they deleted that.
        """
        version = self._index.version(head)
        if self._feed is None or version is None or version.depth == THINNED:
            return [], []
        record = VersionRecord(
            self._feed.tick(), self._feed.now(), node.node, (), version.size, version.mtime, version.depth,
            version.body,
        )  # fmt: skip
        entries = () if version.depth == INLINE else entries_of(version.body)
        return [record], [entry[-32:] for entry in entries if not is_hole(entry)]


def _told(read: ReadKeys, device: DeviceId, data: bytes) -> tuple[set[bytes], set[Stamp]]:
    """The nodes whose birth a segment tells, and the versions of which it tells no content."""
    records = decode_segment(read, data)[1]
    births = {bytes(record.node) for record in records if isinstance(record, NodeRecord) and record.birth is not None}
    versions = (record for record in records if isinstance(record, VersionRecord) and record.depth == THINNED)
    return births, {make_stamp(record.lamport, device) for record in versions}


def _contents(
    read: ReadKeys, device: DeviceId, data: bytes, heads: AbstractSet[Stamp]
) -> list[tuple[Stamp, int, bytes]]:
    """The contents (version, depth, body) that a segment tells of these versions."""
    return [
        (stamp, record.depth, record.body)
        for record in decode_segment(read, data)[1]
        if isinstance(record, VersionRecord)
        and record.depth != THINNED
        and (stamp := make_stamp(record.lamport, device)) in heads
    ]

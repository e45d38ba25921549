"""Putting things back: the records that make the present show again what a past moment showed.

Nothing is taken out of the history by it: old contents become new versions, names that were deleted are written anew,
and what is in the way or was added since is deleted, as a person would delete it. Whoever calls has settled what
programs have written.

Between names others have their turn (`pause`). What they write, make or rename meanwhile is newer than what is put
back: it is neither overwritten nor deleted, and where it has a name that is wanted, both are shown.
"""

import stat
from collections.abc import Awaitable, Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet

from syncfs.engine.feeds.feed import Feed
from syncfs.index.index import ROOT_INO, Index, Node, VersionRow
from syncfs.index.moment import Moment, PastEntry, PastNode, parts_of
from syncfs.index.nodes import BIRTH, MODE, OWNER, TIMES, XATTRS
from syncfs.model.errors import UsageError
from syncfs.model.ids import DeviceId, LinkId, NodeId, Stamp, device_of, lamport_of
from syncfs.model.records import Birth, LinkRecord, NodeRecord, Owner, Record, Times, VersionRecord
from syncfs.model.reports import shown_path

Place = tuple[int, bytes]
COMMIT_RECORDS = 500
"""A transaction reserves space for all that it changes, so what is put back is committed in parts."""
PAUSE_NAMES = 25
"""Names put back or deleted before others have their turn, some 20 ms."""
PAGE = 250


class Putter:
    """Writes records of ours, in the loop."""

    def __init__(
        self, index: Index, feed: Feed, begin: Callable[[], None], turn: Callable[[], Awaitable[None]]
    ) -> None:
        """`begin` is called before each change, `turn` gives others their turn."""
        self._index = index
        self._feed = feed
        self._begin = begin
        self._turn = turn
        self._names = 0
        self._began = feed.tick()
        self._own: set[int] = set()
        self.changed = 0
        """Nodes and names that were changed."""
        self.bytes = 0
        self._uncommitted = 0

    @property
    def device(self) -> DeviceId:
        """Whose feed is written."""
        return self._feed.device

    def now(self) -> int:
        """A lamport between all that was recorded before and all that is recorded from now on."""
        return self._feed.tick()

    def _record(self, records: Sequence[Record]) -> None:
        self._begin()
        self._feed.record(records)
        self._own.update(record.lamport for record in records)
        self._uncommitted += len(records)
        if self._uncommitted >= COMMIT_RECORDS:
            self._uncommitted = 0
            self._feed.commit()

    async def pause(self) -> None:
        """To be called after each name: give others their turn from time to time."""
        self._names += 1
        if self._names >= PAUSE_NAMES:
            self._names = 0
            await self._turn()

    def is_new(self, ino: int) -> bool:
        """Whether others made a node, or wrote to it, since this began."""
        node = self._index.nodes.must(ino)
        return self._are_new((node.group_stamp(BIRTH), *node.all_heads))

    def _are_new(self, stamps: Iterable[Stamp]) -> bool:
        return any(
            lamport_of(stamp) > self._began and (device_of(stamp) != self.device or lamport_of(stamp) not in self._own)
            for stamp in stamps
        )

    # --- single things ----------------------------------------------------------------------------------------------

    def content(self, node: Node, version: VersionRow, mtime: int, beside: Sequence[Stamp] = ()) -> None:
        """Make an old content of a file, or of any file, its current one, as a new version; heads `beside` it stay."""
        current = self._index.version(node.head) if node.head is not None else None
        if current is not None and (current.size, current.depth, current.body) == (
            version.size, version.depth, version.body,
        ):  # fmt: skip
            return
        if self._are_new(node.all_heads):
            return
        feed = self._feed
        parents = tuple(head for head in self._index.heads_of(node.ino) if head not in beside)
        self._record(
            [
                VersionRecord(
                    feed.tick(), feed.now(), node.node, parents, version.size, mtime, version.depth,
                    version.body, True,
                )
            ]
        )  # fmt: skip
        self.changed += 1
        self.bytes += version.size

    def attributes(self, ino: int, past: PastNode) -> None:
        """Set what differs of permissions, owner, times and extended attributes; a file has its content already."""
        node = self._index.nodes.must(ino)
        times = Times(past.atime, past.mtime)

        def is_old(group: int) -> bool:
            return not self._are_new([node.group_stamp(group)])

        record = NodeRecord(
            self._feed.tick(), self._feed.now(), node.node,
            mode=past.mode if past.mode != node.mode and is_old(MODE) else None,
            owner=past.owner if past.owner != _owner_of(node) and is_old(OWNER) else None,
            times=times if times != Times(node.atime, node.mtime) and is_old(TIMES) else None,
            xattrs=dict(past.xattrs) if past.xattrs != node.xattrs and is_old(XATTRS) else None,
        )  # fmt: skip
        is_other = record.mode is not None or record.owner is not None or record.xattrs is not None
        if is_other or record.times is not None:
            self._record([record])
            # A directory has other times whenever a name in it is put back.
            self.changed += is_other or not node.is_directory

    def link(self, link: LinkId, ino: int, parent: int, name: bytes) -> None:
        """Let a link show its node at a place, wherever it is now."""
        feed, nodes = self._feed, self._index.nodes
        before = self._index.link(link)
        former, former_name = b"", b""
        if before is not None and not before.deleted and (before.parent, before.name) != (parent, name):
            former, former_name = nodes.must(before.parent).node, before.name
        self._record(
            [
                LinkRecord(
                    feed.tick(), feed.now(), link, nodes.must(ino).node, nodes.must(parent).node, name,
                    from_parent=former, from_name=former_name,
                )
            ]
        )  # fmt: skip
        self.changed += 1

    def delete_link(self, link: LinkId) -> None:
        """Take a name away, with all that its user can see of the file."""
        row = self._index.link(link)
        if row is None or row.deleted or self.is_new(row.ino) or self._are_new([row.stamp]):
            return
        feed, nodes = self._feed, self._index.nodes
        others = self._index.has_link_besides(row.ino, (link,))
        seen = () if others or nodes.must(row.ino).is_directory else self._index.heads_of(row.ino)
        self._record(
            [
                LinkRecord(
                    feed.tick(), feed.now(), link, nodes.must(row.ino).node, nodes.must(row.parent).node, row.name,
                    True, seen,
                )
            ]
        )  # fmt: skip
        self.changed += 1

    async def delete(self, parent: int, name: bytes) -> None:
        """Delete what a name shows, and all below it."""
        found = self._index.entry(parent, name)
        if found is None:
            return
        node, _, head = found
        if node.is_directory:
            await self.delete_in(node.ino, set())
        if head is not None:
            self.drop_copy(node, head)
            return
        for link in self._index.links_behind(parent, name):
            self.delete_link(link.link)

    async def delete_in(self, folder: int, kept: AbstractSet[bytes]) -> None:
        """Delete what a directory shows, but for these names."""
        after = 0
        while page := self._index.nodes.listed(folder, after, PAGE):
            after = page[-1][0]
            for _, name, _ in page:
                if name not in kept:
                    await self.delete(folder, name)
                    await self.pause()

    def drop_copy(self, copy: Node, head: Stamp) -> None:
        """Settle a conflict without the head that a copy shows."""
        base = self._index.nodes.must(copy.view_of or copy.ino)
        main = self._index.version(base.head) if base.head is not None else None
        if main is None or self._are_new([head]):
            return
        feed = self._feed
        self._record(
            [
                VersionRecord(
                    feed.tick(), feed.now(), base.node, (main.stamp, head), main.size, main.mtime, main.depth, main.body
                )
            ]
        )

    def link_anew(self, ino: int, parent: int, name: bytes) -> None:
        """Give a node one more name."""
        feed, nodes = self._feed, self._index.nodes
        link = LinkId(feed.new_id())
        self._record([LinkRecord(feed.tick(), feed.now(), link, nodes.must(ino).node, nodes.must(parent).node, name)])
        self.changed += 1

    def make(self, parent: int, name: bytes, like: PastNode, version: VersionRow | None) -> int:
        """A new node that is like an old one."""
        feed, node = self._feed, NodeId(self._feed.new_id())
        now = feed.now()
        self._record(
            [
                NodeRecord(
                    feed.tick(), now, node, Birth(like.kind, like.rdev, like.target), like.mode, like.owner,
                    Times(like.atime, like.mtime), dict(like.xattrs),
                ),
                LinkRecord(feed.tick(), now, node, node, self._index.nodes.must(parent).node, name),
            ]
        )  # fmt: skip
        ino = self._index.nodes.ino_of(node)
        assert ino is not None
        self.changed += 1
        if version is not None:
            self.content(self._index.nodes.must(ino), version, like.mtime)
        return ino

    def folder(self, path: bytes, moment: Moment | None) -> int:
        """The directory at a path, put back or made where it is missing. Raises UsageError where something is there."""
        ino, done = ROOT_INO, b""
        for name in parts_of(path):
            done = done + b"/" + name if done else name
            node = self._index.lookup(ino, name)
            if node is None:
                entry = moment.resolve(done) if moment is not None else None
                if moment is not None and entry is not None and entry.folders:
                    below = self._folder_back(moment, entry, ino, name)
                else:
                    owner, now = _owner_of(self._index.nodes.must(ino)), self._feed.now()
                    below = self.make(
                        ino, name, PastNode(0, stat.S_IFDIR, 0, b"", 0o755, owner, {}, now, now, now), None
                    )
                node = self._index.nodes.must(below)
            if not node.is_directory:
                raise UsageError(f"'{shown_path(done)}' is no directory: choose another place with --to")
            ino = node.ino
        return ino

    def _folder_back(self, moment: Moment, entry: PastEntry, parent: int, name: bytes) -> int:
        row = self._index.link(entry.link)
        if row is None or not row.deleted or self._index.nodes.must(entry.ino).nlink:
            return self.make(parent, name, moment.node(entry), None)
        self.link(entry.link, entry.ino, parent, name)
        return entry.ino


def past_path(path: bytes) -> tuple[bytes, bytes]:
    """The directory part and the name of a path."""
    parts = parts_of(path)
    return (b"/".join(parts[:-1]), parts[-1]) if parts else (b"", b"")


def _owner_of(node: Node) -> Owner:
    return Owner(node.uid, node.gid, node.user, node.group)

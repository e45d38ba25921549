"""Names and nodes: checks of the namespace operations, and the records they come down to."""

import errno
import stat

from syncfs.engine.conflicts import drop_head, keep_head
from syncfs.engine.feed import Feed
from syncfs.engine.posix import RenameFlags
from syncfs.index.index import ROOT_INO, Index, LinkRow, Node
from syncfs.model.errors import PosixError
from syncfs.model.ids import LinkId, NodeId, Stamp
from syncfs.model.records import MAX_NAME, MAX_TARGET, Birth, LinkRecord, NodeRecord, Owner, Record, Times

MAX_LINKS = 65_000
"""As on ext4, where programs have met this limit."""

Entry = tuple[Node, LinkRow, Stamp | None]


class Naming:
    """Composes the records of namespace operations; plain functions, nothing waits."""

    def __init__(self, index: Index, feed: Feed | None) -> None:
        self._index = index
        self._feed = feed

    def require_writable(self) -> Feed:
        """The feed to write to. Raises PosixError(EROFS) where this device may not write."""
        if self._feed is None or self._feed.forked:
            raise PosixError(errno.EROFS)
        return self._feed

    def new(self, parent: int, name: bytes, mode: int, owner: Owner, *, rdev: int, target: bytes) -> int:
        """Make a node with one name; returns its inode number."""
        feed = self.require_writable()
        directory = self._free_place(parent, name)
        if len(target) > MAX_TARGET:
            raise PosixError(errno.ENAMETOOLONG)
        node, now = NodeId(feed.new_id()), feed.now()
        birth = Birth(stat.S_IFMT(mode), rdev, target)
        times = Times(now, now)
        feed.record(
            (
                NodeRecord(feed.tick(), now, node, birth, stat.S_IMODE(mode), owner, times, {}),
                LinkRecord(feed.tick(), now, node, node, directory.node, name),
            )
        )
        feed.touch(directory.node)
        ino = self._index.nodes.ino_of(node)
        assert ino is not None
        return ino

    def link(self, node: Node, parent: int, name: bytes) -> None:
        """Give a node one more name."""
        feed = self.require_writable()
        directory = self._free_place(parent, name)
        if node.is_directory:
            raise PosixError(errno.EPERM)
        if node.nlink >= MAX_LINKS:
            raise PosixError(errno.EMLINK)
        if node.nlink == 0 or node.view_of is not None:
            raise PosixError(errno.ENOENT)
        feed.record([LinkRecord(feed.tick(), feed.now(), feed.new_id(), node.node, directory.node, name)])
        feed.touch(directory.node)

    def unlink(self, parent: int, name: bytes) -> None:
        """Take a name from a node that is no directory."""
        feed = self.require_writable()
        node, link, head = self._entry(parent, name)
        if node.is_directory:
            raise PosixError(errno.EISDIR)
        if head is not None:
            feed.record([drop_head(self._index, feed, link.ino, head)])
        else:
            feed.record([self._deletion(feed, link)])
        feed.touch(self._directory(parent).node)

    def rmdir(self, parent: int, name: bytes) -> None:
        """Remove an empty directory."""
        feed = self.require_writable()
        node, _, _ = self._entry(parent, name)
        self._require_empty(node)
        feed.record(self._directory_deletions(feed, node))
        feed.touch(self._directory(parent).node)

    def rename(self, old_parent: int, old_name: bytes, new_parent: int, new_name: bytes, flags: RenameFlags) -> None:
        """Move a name, over another one where there is one."""
        feed = self.require_writable()
        source = self._entry(old_parent, old_name)
        target = self._index.entry(new_parent, new_name)
        if len(new_name) > MAX_NAME:
            raise PosixError(errno.ENAMETOOLONG)
        if source[0].is_directory and self._is_within(new_parent, source[0].ino):
            raise PosixError(errno.EINVAL)
        if RenameFlags.EXCHANGE in flags:
            self._exchange(feed, source, old_parent, old_name, target, new_parent, new_name)
        else:
            self._move_over(feed, source, old_parent, old_name, target, new_parent, new_name, flags)
        feed.touch(self._directory(old_parent).node)
        feed.touch(self._directory(new_parent).node)

    def _move_over(
        self, feed: Feed, source: Entry, old_parent: int, old_name: bytes, target: Entry | None, new_parent: int,
        new_name: bytes, flags: RenameFlags,
    ) -> None:  # fmt: skip
        node, link, head = source
        records: list[Record] = []
        if target is not None:
            if RenameFlags.NOREPLACE in flags:
                raise PosixError(errno.EEXIST)
            if target[0].ino == node.ino:
                return
            if target[0].is_directory:
                if not node.is_directory:
                    raise PosixError(errno.EISDIR)
                self._require_empty(target[0])
                records += self._directory_deletions(feed, target[0])
            elif node.is_directory:
                raise PosixError(errno.ENOTDIR)
            elif target[2] is not None:
                records.append(drop_head(self._index, feed, target[1].ino, target[2]))
            else:
                records.append(self._deletion(feed, target[1]))
        directory = self._directory(new_parent)
        if head is not None:
            records += keep_head(self._index, feed, link.ino, head, directory.node, new_name)
        else:
            records += self._moves(feed, node, link, old_parent, old_name, directory, new_name)
        feed.record(records)

    def _exchange(
        self, feed: Feed, source: Entry, old_parent: int, old_name: bytes, target: Entry | None, new_parent: int,
        new_name: bytes,
    ) -> None:  # fmt: skip
        if target is None:
            raise PosixError(errno.ENOENT)
        if source[2] is not None or target[2] is not None:
            raise PosixError(errno.EOPNOTSUPP)
        if target[0].is_directory and self._is_within(old_parent, target[0].ino):
            raise PosixError(errno.EINVAL)
        if source[0].ino == target[0].ino:
            return
        there, here = self._directory(new_parent), self._directory(old_parent)
        feed.record(
            self._moves(feed, source[0], source[1], old_parent, old_name, there, new_name)
            + self._moves(feed, target[0], target[1], new_parent, new_name, here, old_name)
        )

    def _moves(
        self, feed: Feed, node: Node, link: LinkRow, old_parent: int, old_name: bytes, directory: Node, name: bytes
    ) -> list[Record]:
        """The records that put a link to another place; folders shown as one move as one."""
        former = self._directory(old_parent).node
        nodes = self._index.merged_with(node.ino) if node.is_directory else [NodeId(b"")]
        records: list[Record] = []
        for number, merged in enumerate(nodes):
            moved = link.link if number == 0 else LinkId(merged)
            shown = self._index.nodes.must(link.ino).node if number == 0 else merged
            records.append(
                LinkRecord(
                    feed.tick(), feed.now(), moved, shown, directory.node, name, from_parent=former, from_name=old_name
                )
            )
        return records

    def _deletion(self, feed: Feed, link: LinkRow) -> LinkRecord:
        node, parent = self._index.nodes.must(link.ino), self._index.nodes.must(link.parent)
        seen = self._index.heads_of(link.ino)
        return LinkRecord(feed.tick(), feed.now(), link.link, node.node, parent.node, link.name, True, seen)

    def _directory_deletions(self, feed: Feed, node: Node) -> list[Record]:
        records: list[Record] = []
        for merged in self._index.merged_with(node.ino):
            link = self._index.link(LinkId(merged))
            if link is not None:
                records.append(self._deletion(feed, link))
        return records

    def _free_place(self, parent: int, name: bytes) -> Node:
        if len(name) > MAX_NAME:
            raise PosixError(errno.ENAMETOOLONG)
        directory = self._directory(parent)
        if self._index.lookup(parent, name) is not None:
            raise PosixError(errno.EEXIST)
        return directory

    def _directory(self, ino: int) -> Node:
        node = self._index.nodes.get(ino)
        if node is None or (node.nlink == 0 and ino != ROOT_INO):
            raise PosixError(errno.ENOENT)
        if not node.is_directory:
            raise PosixError(errno.ENOTDIR)
        return node

    def _entry(self, parent: int, name: bytes) -> Entry:
        if len(name) > MAX_NAME:
            raise PosixError(errno.ENAMETOOLONG)
        found = self._index.entry(parent, name)
        if found is None:
            raise PosixError(errno.ENOENT)
        return found

    def _require_empty(self, node: Node) -> None:
        if not node.is_directory:
            raise PosixError(errno.ENOTDIR)
        if not self._index.is_empty(node.ino):
            raise PosixError(errno.ENOTEMPTY)

    def _is_within(self, ino: int, ancestor: int) -> bool:
        at: int | None = ino
        while at is not None and at != ROOT_INO:
            if at == ancestor:
                return True
            at = self._index.parent_of(at)
        return False

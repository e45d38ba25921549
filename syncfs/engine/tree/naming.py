"""Names and nodes: checks of the namespace operations, and the records they come down to."""

import errno
import stat

from syncfs.engine.feeds.feed import Feed
from syncfs.engine.tree.conflicts import drop_head, found_copy, keep_head, prefer_head, resolve
from syncfs.engine.tree.posix import RenameFlags
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
        if self._feed is None or not self._feed.may_write:
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
        records = self._confirmed_directory(feed, parent)
        if head is not None:
            records.append(drop_head(self._index, feed, link.ino, head))
        else:
            records += self._deletions(feed, parent, name, link.ino)
        feed.record(records)
        feed.touch(self._directory(parent).node)

    def rmdir(self, parent: int, name: bytes) -> None:
        """Remove an empty directory."""
        feed = self.require_writable()
        node, _, _ = self._entry(parent, name)
        self._require_empty(node)
        feed.record(self._confirmed_directory(feed, parent) + self._directory_deletions(feed, parent, name))
        feed.touch(self._directory(parent).node)

    def own(self, ino: int) -> None:
        """Make a conflict copy a file of its own, where it is; it keeps its inode. Nothing happens to other nodes."""
        place = self._index.place_of(ino)
        entry = None if place is None else self._index.entry(*place)
        if place is not None and entry is not None and entry[2] is not None:
            feed = self.require_writable()
            directory, ino = self._directory(place[0]), entry[1].ino
            made = found_copy(self._index, feed, ino, entry[2], directory.node, place[1])
            # The copy goes first, so that the file takes over its inode.
            feed.record([drop_head(self._index, feed, ino, entry[2])])
            feed.record(made)

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
        records = self._confirmed_directory(feed, old_parent)
        if head is not None and target is not None and target[2] is None and target[1].ino == link.ino:
            feed.record([*records, prefer_head(self._index, feed, link.ino, head)])
            return
        if target is not None:
            if RenameFlags.NOREPLACE in flags:
                raise PosixError(errno.EEXIST)
            if target[0].ino == node.ino:
                return
            if target[0].is_directory:
                if not node.is_directory:
                    raise PosixError(errno.EISDIR)
                self._require_empty(target[0])
                records += self._directory_deletions(feed, new_parent, new_name)
            elif node.is_directory:
                raise PosixError(errno.ENOTDIR)
            elif target[2] is not None:
                records.append(drop_head(self._index, feed, target[1].ino, target[2]))
            else:
                records += self._deletions(feed, new_parent, new_name, target[1].ino)
        directory = self._directory(new_parent)
        if head is not None:
            records += keep_head(self._index, feed, link.ino, head, directory.node, new_name)
        else:
            records += self._moves(feed, node, old_parent, old_name, directory, new_name)
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
            self._moves(feed, source[0], old_parent, old_name, there, new_name)
            + self._moves(feed, target[0], new_parent, new_name, here, old_name)
        )

    def _moves(
        self, feed: Feed, node: Node, old_parent: int, old_name: bytes, directory: Node, name: bytes
    ) -> list[Record]:
        """The records that put a name to another place.

        Directories shown as one move as one, and what the view keeps out of a circle is written down before a directory
        moves, or it would come into force when the circle opens. Of several links of one file, one moves.
        """
        first, *others = self._index.links_behind(old_parent, old_name)
        records: list[Record] = []
        moving = [first]
        if node.is_directory:
            records += [self._placed(feed, link, link.parent, link.name) for link in self._index.undone_moves()]
            moving += others
        else:
            records += [self._deletion(feed, link, ()) for link in others]
        records += self._confirmed(feed, first)
        for link in moving:
            former = self._index.nodes.must(link.parent).node
            shown = self._index.nodes.must(link.ino).node
            records.append(
                LinkRecord(
                    feed.tick(), feed.now(), link.link, shown, directory.node, name,
                    from_parent=former, from_name=link.name,
                )
            )  # fmt: skip
        return records

    def _deletions(self, feed: Feed, parent: int, name: bytes, ino: int) -> list[Record]:
        """The records that take a name from a file. Taking the last one leaves the copies shown beside it."""
        links = self._index.links_behind(parent, name)
        gone = {link.link for link in links}
        records: list[Record] = []
        seen: tuple[Stamp, ...] = ()
        if not self._index.has_link_besides(ino, gone):
            seen = self._index.heads_of(ino)
            if len(seen) > 1:
                for beside, copy, head in self._index.copies_of(ino):
                    directory = self._index.nodes.must(beside).node
                    records += found_copy(self._index, feed, ino, head, directory, copy)
        return records + [self._deletion(feed, link, seen) for link in links]

    def _directory_deletions(self, feed: Feed, parent: int, name: bytes) -> list[Record]:
        return [self._deletion(feed, link, ()) for link in self._index.links_behind(parent, name)]

    def _deletion(self, feed: Feed, link: LinkRow, seen: tuple[Stamp, ...]) -> LinkRecord:
        return self._placed(feed, link, link.parent, link.name, deleted=True, seen=seen, former=link.former)

    def _confirmed_directory(self, feed: Feed, ino: int) -> list[Record]:
        """What a directory needs that is only back because of what lives in it, before that is taken from it."""
        link = None if ino == ROOT_INO else self._index.link(LinkId(self._index.nodes.must(ino).node))
        return [] if link is None else self._confirmed(feed, link)

    def _confirmed(self, feed: Feed, link: LinkRow) -> list[Record]:
        """The records that make a link stay which a deletion had not meant."""
        if not link.deleted:
            return []
        records: list[Record] = []
        heads = self._index.shown_heads(link.ino)
        if heads:
            records.append(resolve(self._index, feed, link.ino, heads[0]))
        return [*records, self._placed(feed, link, link.parent, link.name, former=link.former)]

    def _placed(
        self, feed: Feed, link: LinkRow, parent: int, name: bytes, *, deleted: bool = False,
        seen: tuple[Stamp, ...] = (), former: tuple[int, bytes] | None = None,
    ) -> LinkRecord:  # fmt: skip
        nodes = self._index.nodes
        return LinkRecord(
            feed.tick(), feed.now(), link.link, nodes.must(link.ino).node, nodes.must(parent).node, name, deleted, seen,
            nodes.must(former[0]).node if former else b"", former[1] if former else b"",
        )  # fmt: skip

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

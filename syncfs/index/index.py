"""The index of one share: what the engine sees of the tables."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from syncfs.index.apply import Applier, split_stamps
from syncfs.index.database import IndexDatabase
from syncfs.index.feeds import Feeds
from syncfs.index.nodes import Node, NodeTable
from syncfs.index.schema import ROOT_INO
from syncfs.index.view import Changes, View
from syncfs.model.ids import DeviceId, LinkId, NodeId, Stamp
from syncfs.model.records import Record

__all__ = ["ROOT_INO", "Changes", "Index", "LinkRow", "Node", "VersionRow"]


@dataclass(frozen=True, slots=True)
class LinkRow:
    """The winning record of a link."""

    link: LinkId
    ino: int
    parent: int
    name: bytes
    deleted: bool


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A version of a file."""

    stamp: Stamp
    ino: int
    time: int
    parents: tuple[Stamp, ...]
    size: int
    mtime: int
    depth: int
    body: bytes
    is_head: bool


_VERSION = "stamp, ino, time, parents, size, mtime, depth, body, head"


class Index:
    """All that is known of a share; plain calls in the loop's thread, one open transaction."""

    def __init__(self, path: Path) -> None:
        """Open or create. Raises SetupError, DamageError, NewerFormatError, BusyError."""
        self.database = IndexDatabase(path)
        try:
            self.nodes = NodeTable(self.database)
            self.feeds = Feeds(self.database)
            self._view = View(self.database, self.nodes)
            self._applier = Applier(self.database, self.nodes, self._view)
        except BaseException:
            self.database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.database.close()

    def apply(self, records: Iterable[Record], device: DeviceId) -> None:
        """Apply records of one device's feed, all or none. Raises SetupError, DamageError."""
        try:
            with self.database.whole():
                for record in records:
                    self._applier.apply(record, device)
        except BaseException:
            self.nodes.forget_cached()
            self._view.take_changes()
            raise

    def take_changes(self) -> Changes:
        """What looks different since the last call."""
        return self._view.take_changes()

    def lookup(self, parent: int, name: bytes) -> Node | None:
        """The node that a name in a directory shows."""
        row = self.database.read("SELECT ino FROM entries WHERE parent = ? AND name = ?", (parent, name))
        return None if row is None else self.nodes.get(row[0])

    def entry(self, parent: int, name: bytes) -> tuple[Node, LinkRow, Stamp | None] | None:
        """What a name shows: the node, its link, and the head where it is a conflict copy."""
        row = self.database.read(
            "SELECT e.ino, e.head, l.link, l.ino, l.parent, l.name, l.deleted FROM entries e JOIN links l ON l.id = e.link "
            "WHERE e.parent = ? AND e.name = ?",
            (parent, name),
        )
        if row is None:
            return None
        ino, head, link, *rest = row
        return self.nodes.must(ino), LinkRow(LinkId(link), *rest), head

    def link(self, link: LinkId) -> LinkRow | None:
        """The winning record of a link."""
        row = self.database.read("SELECT link, ino, parent, name, deleted FROM links WHERE link = ?", (link,))
        return None if row is None else LinkRow(LinkId(row[0]), row[1], row[2], row[3], bool(row[4]))

    def is_empty(self, parent: int) -> bool:
        """Whether a directory shows nothing."""
        return self.database.read("SELECT 1 FROM entries WHERE parent = ? LIMIT 1", (parent,)) is None

    def parent_of(self, ino: int) -> int | None:
        """The directory in which a node is shown (any of them for a node with several names)."""
        row = self.database.read("SELECT parent FROM entries WHERE ino = ? LIMIT 1", (ino,))
        return None if row is None else row[0]

    def place_of(self, ino: int) -> tuple[int, bytes] | None:
        """One (parent, name) that shows a node."""
        row = self.database.read("SELECT parent, name FROM entries WHERE ino = ? LIMIT 1", (ino,))
        return None if row is None else (row[0], row[1])

    def path_of(self, ino: int) -> bytes | None:
        """One path from the root of the share to a node, without a leading slash; None where it is not shown."""
        names: list[bytes] = []
        while ino != ROOT_INO:
            place = self.place_of(ino)
            if place is None or len(names) > 4096:
                return None
            ino = place[0]
            names.append(place[1])
        return b"/".join(reversed(names))

    def resolve(self, path: bytes) -> Node | None:
        """The node at a path from the root of the share; symlinks are not followed."""
        node = self.nodes.get(ROOT_INO)
        for name in path.split(b"/"):
            if name and name != b".":
                node = self.lookup(node.ino, name) if node else None
        return node

    def merged_with(self, ino: int) -> list[NodeId]:
        """The directories that are shown as one with this one, itself first."""
        rows = self.database.rows("SELECT node FROM nodes WHERE view_of = ? AND kind = ?", (ino, 0o040000))
        return [self.nodes.must(ino).node, *(NodeId(row[0]) for row in rows)]

    def heads_of(self, ino: int) -> tuple[Stamp, ...]:
        """The heads of a file, greatest stamp first."""
        rows = self.database.rows("SELECT stamp FROM versions WHERE ino = ? AND head = 1 ORDER BY stamp DESC", (ino,))
        return tuple(Stamp(row[0]) for row in rows)

    def version(self, stamp: bytes) -> VersionRow | None:
        """A version by its id."""
        row = self.database.read(f"SELECT {_VERSION} FROM versions WHERE stamp = ?", (stamp,))
        return None if row is None else _version(row)

    def versions_of(self, ino: int) -> list[VersionRow]:
        """All versions of a file, newest stamp first."""
        rows = self.database.rows(f"SELECT {_VERSION} FROM versions WHERE ino = ? ORDER BY stamp DESC", (ino,))
        return [_version(row) for row in rows]

    def totals(self) -> tuple[int, int]:
        """How many files the tree shows, and how many bytes they have."""
        row = self.database.read(
            "SELECT count(*), coalesce(sum(size), 0) FROM nodes WHERE kind = ? AND nlink > 0", (0o100000,)
        )
        return row[0], row[1]

    def setting(self, key: str) -> str | None:
        """A share-wide setting."""
        row = self.database.read("SELECT value FROM settings WHERE key = ?", (key,))
        return None if row is None else row[0]


def _version(row: tuple[bytes, int, int, bytes, int, int, int, bytes, int]) -> VersionRow:
    stamp, ino, time, parents, size, mtime, depth, body, head = row
    return VersionRow(Stamp(stamp), ino, time, tuple(split_stamps(parents)), size, mtime, depth, body, bool(head))

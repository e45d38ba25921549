"""The index of one share: what the engine sees of the tables."""

import stat
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from syncfs.index.apply import Applier
from syncfs.index.changes import Changes
from syncfs.index.database import IndexDatabase
from syncfs.index.ending import Ending
from syncfs.index.feeds import Feeds
from syncfs.index.nodes import Node, NodeTable, split_stamps
from syncfs.index.past import PastTable
from syncfs.index.schema import ROOT_INO
from syncfs.index.view import View
from syncfs.model.ids import DeviceId, LinkId, NodeId, Stamp, device_of
from syncfs.model.records import Record

__all__ = ["ROOT_INO", "Changes", "Index", "LinkRow", "Node", "VersionRow"]


@dataclass(frozen=True, slots=True)
class LinkRow:
    """A link, and where it takes effect; `former` is where its record says it was before, if that still counts.

    `deleted` links that are shown are only back because of an unseen edit or of what lives in the directory.
    """

    link: LinkId
    ino: int
    parent: int
    name: bytes
    deleted: bool
    stamp: Stamp
    former: tuple[int, bytes] | None = None


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


_VERSION = "stamp, ino, time, parents, size, mtime, depth, body"
_LINK = (
    "l.link, l.ino, l.parent, l.name, l.deleted, CASE WHEN l.recorded_parent IS NULL THEN l.from_parent ELSE 0 END, "
    "l.from_name, l.stamp"
)


class Index:
    """All that is known of a share; plain calls in the loop's thread, one open transaction."""

    def __init__(self, path: Path) -> None:
        """Open or create. Raises SetupError, DamageError, NewerFormatError, BusyError."""
        self.database = IndexDatabase(path)
        try:
            self.nodes = NodeTable(self.database)
            self.feeds = Feeds(self.database, self._devices_renamed)
            self._view = View(self.database, self.nodes, self.feeds)
            self.past = PastTable(self.database)
            self.ending = Ending(self.database, self.nodes, self._view)
            self._applier = Applier(self.database, self.nodes, self._view, self.past)
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
                self._applier.apply(records, device)
        except BaseException:
            self._forget_cached()
            raise

    def end(self, inos: Iterable[int]) -> None:
        """Let nodes be gone that were deleted so long ago that nobody tells of it. Raises SetupError, DamageError."""
        try:
            with self.database.whole():
                self.ending.end(inos)
        except BaseException:
            self._forget_cached()
            raise

    def _devices_renamed(self) -> None:
        try:
            with self.database.whole():
                self._view.devices_renamed()
                self._view.settle()
                self.nodes.flush()
        except BaseException:
            self._forget_cached()
            raise

    def _forget_cached(self) -> None:
        self.nodes.forget_cached()
        self.feeds.forget_cached()
        self._view.forget_cached()

    def take_changes(self) -> Changes:
        """What looks different since the last call."""
        return self._view.take_changes()

    def lookup(self, parent: int, name: bytes) -> Node | None:
        """The node that a name in a directory shows."""
        for one in self.nodes.groups.of(parent):
            row = self.database.read("SELECT ino FROM entries WHERE parent = ? AND name = ?", (one, name))
            if row is not None:
                return self.nodes.get(row[0])
        return None

    def entry(self, parent: int, name: bytes) -> tuple[Node, LinkRow, Stamp | None] | None:
        """What a name shows: the node, its link, and the head where it is a conflict copy."""
        for one in self.nodes.groups.of(parent):
            row = self.database.read(
                f"SELECT e.ino, e.head, {_LINK} FROM entries e JOIN links l ON l.id = e.link "
                "WHERE e.parent = ? AND e.name = ?",
                (one, name),
            )
            if row is not None:
                return self.nodes.must(row[0]), _link(row[2:]), row[1]
        return None

    def links_behind(self, parent: int, name: bytes) -> list[LinkRow]:
        """All links that a name stands for, that which keeps the name first.

        What is done to the name is done to each: there are several where directories are shown as one, and where
        links of one node bear the same name.
        """
        found = self.entry(parent, name)
        if found is None:
            return []
        node, first, _ = found
        group = self.nodes.groups.of(parent)
        rows = self.database.rows(
            f"SELECT {_LINK} FROM links l JOIN nodes n ON n.ino = l.ino WHERE l.shown_parent IN ({_marks(group)}) "
            "AND l.name = ? AND l.link != ? AND (l.ino = ? OR n.kind = ? AND ?) ORDER BY n.node",
            (*group, first.name, first.link, first.ino, stat.S_IFDIR, node.is_directory),
        )
        return [first, *(_link(row) for row in rows)]

    def link(self, link: LinkId) -> LinkRow | None:
        """The winning record of a link."""
        row = self.database.read(f"SELECT {_LINK} FROM links l WHERE l.link = ?", (link,))
        return None if row is None else _link(row)

    def links_of(self, ino: int) -> list[LinkRow]:
        """All links of a node, also those that are deleted."""
        return [_link(row) for row in self.database.rows(f"SELECT {_LINK} FROM links l WHERE l.ino = ?", (ino,))]

    def has_link_besides(self, ino: int, links: Collection[LinkId]) -> bool:
        """Whether a node has any link that is neither deleted nor among these."""
        return self._view.has_names(ino, links)

    def taken_by(self, ino: int) -> DeviceId | None:
        """The device that was the last to take a name from a node, whether or not it has others; None for nobody."""
        row = self.database.read("SELECT max(stamp) FROM links WHERE ino = ? AND deleted", (ino,))
        return None if row[0] is None else device_of(row[0])

    def copies_of(self, ino: int) -> list[tuple[int, bytes, Stamp]]:
        """The conflict copies that are shown beside the names of a file: (directory, name, head)."""
        rows = self.database.rows(
            "SELECT e.parent, e.name, e.head FROM nodes n JOIN entries e ON e.ino = n.ino "
            "WHERE n.view_of = ? AND e.head IS NOT NULL ORDER BY e.cookie",
            (ino,),
        )
        return [(self.nodes.groups.shown_as(parent), name, Stamp(head)) for parent, name, head in rows]

    def undone_moves(self) -> list[LinkRow]:
        """The links of directories that are not where their record puts them; whoever moves one writes these anew."""
        rows = self.database.rows(f"SELECT {_LINK} FROM links l WHERE l.recorded_parent IS NOT NULL")
        return [_link(row) for row in rows]

    def is_empty(self, parent: int) -> bool:
        """Whether a directory shows nothing."""
        group = self.nodes.groups.of(parent)
        return self.database.read(f"SELECT 1 FROM entries WHERE parent IN ({_marks(group)}) LIMIT 1", group) is None

    def parent_of(self, ino: int) -> int | None:
        """The directory in which a node is shown (any of them for a node with several names)."""
        place = self.place_of(ino)
        return None if place is None else place[0]

    def place_of(self, ino: int) -> tuple[int, bytes] | None:
        """One (parent, name) that shows a node."""
        row = self.database.read("SELECT parent, name FROM entries WHERE ino = ? LIMIT 1", (ino,))
        return None if row is None else (self.nodes.groups.shown_as(row[0]), row[1])

    def path_of(self, ino: int) -> bytes | None:
        """One path from the root of the share to a node, without a leading slash; None where it is not shown."""
        names: list[bytes] = []
        ino = self.nodes.groups.shown_as(ino)
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
        others = sorted(self.nodes.must(one).node for one in self.nodes.groups.of(ino) if one != ino)
        return [self.nodes.must(ino).node, *others]

    def heads_of(self, ino: int) -> tuple[Stamp, ...]:
        """All heads of a file, greatest stamp first; of a conflict copy, its head."""
        return self.nodes.must(ino).all_heads

    def shown_heads(self, ino: int) -> tuple[Stamp, ...]:
        """The heads of a file that names show: the main head, then those of its conflict copies."""
        return self.nodes.must(ino).shown_heads

    def hidden_heads(self, ino: int) -> tuple[Stamp, ...]:
        """The heads of a file that no name shows; who writes a version names them as parents too."""
        return self.nodes.must(ino).hidden_heads

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
            "SELECT count(*), coalesce(sum(size), 0) FROM nodes WHERE kind = ? AND nlink > 0", (stat.S_IFREG,)
        )
        return row[0], row[1]

    def count_files(self) -> int:
        """How many things the tree shows that are no directories; looks at all nodes."""
        row = self.database.read("SELECT count(*) FROM nodes WHERE kind NOT IN (0, ?) AND nlink > 0", (stat.S_IFDIR,))
        return int(row[0])

    def setting_record(self, key: str) -> tuple[str, Stamp] | None:
        """A share-wide setting and the stamp of the record that set it."""
        row = self.database.read("SELECT value, stamp FROM settings WHERE key = ?", (key,))
        return None if row is None else (row[0], Stamp(row[1]))

    def setting(self, key: str) -> str | None:
        """A share-wide setting."""
        row = self.database.read("SELECT value FROM settings WHERE key = ?", (key,))
        return None if row is None else row[0]


def _marks(group: Sequence[int]) -> str:
    return ", ".join("?" * len(group))


def _link(row: Sequence[Any]) -> LinkRow:
    link, ino, parent, name, deleted, from_parent, from_name, stamp = row
    former = (from_parent, from_name or name) if from_parent else None
    return LinkRow(LinkId(link), ino, parent, name, bool(deleted), Stamp(stamp), former)


def _version(row: tuple[bytes, int, int, bytes, int, int, int, bytes]) -> VersionRow:
    stamp, ino, time, parents, size, mtime, depth, body = row
    return VersionRow(Stamp(stamp), ino, time, tuple(split_stamps(parents)), size, mtime, depth, body)

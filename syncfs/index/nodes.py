"""Nodes of a share as rows, with a bounded cache in memory.

Nodes are read through `NodeTable.get` and changed only through `NodeTable.set`, so that the cache never shows what the
database does not. Changes are kept in memory until `flush`, at the end of each batch of records: a new file then costs
one row written once, however many of its records came together. Whoever joins the table in SQL does it after a flush.
"""

import stat
from typing import Any

import msgspec

from syncfs.index.database import IndexDatabase
from syncfs.index.groups import Groups
from syncfs.index.schema import ROOT_INO
from syncfs.model.ids import NO_STAMP, ROOT_NODE, STAMP_BYTES, NodeId, Stamp

CACHED_NODES = 50_000
"""About 40 MB at most."""

_COLUMNS = (
    "ino, node, kind, rdev, target, mode, uid, gid, user, grp, atime, mtime, ctime, xattrs, nlink, size, "
    "content_mtime, head, copies, hidden, stamps, view_of"
)
_NAMES = _COLUMNS.split(", ")
_LISTED = ", ".join(f"n.{name}" for name in _NAMES)
SELECT = f"SELECT {_COLUMNS} FROM nodes WHERE ino = ?"
_INSERT = f"INSERT INTO nodes ({_COLUMNS}) VALUES ({', '.join('?' * len(_NAMES))})"
_UPDATE = (
    "UPDATE nodes SET "
    + ", ".join(f"{name} = ?{number}" for number, name in enumerate(_NAMES, 1) if name not in ("ino", "node"))
    + " WHERE ino = ?1"
)


class Node(msgspec.Struct, frozen=True, gc=False):
    """A row of the table `nodes` (see schema.py), its fields in the order of the columns."""

    ino: int
    node: NodeId
    kind: int = 0
    rdev: int = 0
    target: bytes = b""
    mode: int = 0
    uid: int = 0
    gid: int = 0
    user: str = ""
    group: str = ""
    atime: int = 0
    times_mtime: int = 0
    ctime: int = 0
    packed_xattrs: bytes | None = None
    nlink: int = 0
    size: int = 0
    content_mtime: int = 0
    head: Stamp | None = None
    copies: bytes | None = None
    hidden: bytes | None = None
    stamps: bytes = NO_STAMP
    view_of: int | None = None

    def group_stamp(self, group: int) -> Stamp:
        """The stamp of a field group: 0 birth, 1 mode, 2 owner, 3 times, 4 xattrs."""
        if len(self.stamps) == STAMP_BYTES:
            return Stamp(self.stamps)
        return Stamp(self.stamps[group * STAMP_BYTES : (group + 1) * STAMP_BYTES])

    @property
    def mtime(self) -> int:
        """The later of the recorded time and the shown version's time, by stamp."""
        if self.head is not None and self.head > self.group_stamp(TIMES):
            return self.content_mtime
        return self.times_mtime

    @property
    def is_directory(self) -> bool:
        """Whether the node is a directory."""
        return self.kind == stat.S_IFDIR

    @property
    def is_copy(self) -> bool:
        """Whether the row stands for a conflict copy: another head of the file `view_of`."""
        return self.view_of is not None and self.kind != stat.S_IFDIR

    @property
    def shown_heads(self) -> tuple[Stamp, ...]:
        """The heads that names show: the main one, then those of conflict copies."""
        main = () if self.head is None else (self.head,)
        return main if self.copies is None else (*main, *split_stamps(self.copies))

    @property
    def hidden_heads(self) -> tuple[Stamp, ...]:
        """The heads that no name shows."""
        return () if self.hidden is None else tuple(split_stamps(self.hidden))

    @property
    def all_heads(self) -> tuple[Stamp, ...]:
        """All heads, the greatest stamp first."""
        if self.copies is None and self.hidden is None:
            return () if self.head is None else (self.head,)
        return tuple(sorted((*self.shown_heads, *self.hidden_heads), reverse=True))

    @property
    def xattrs(self) -> dict[bytes, bytes]:
        """The extended attributes."""
        return msgspec.msgpack.decode(self.packed_xattrs, type=dict[bytes, bytes]) if self.packed_xattrs else {}


BIRTH, MODE, OWNER, TIMES, XATTRS = range(5)
GROUPS = 5


class NodeTable:
    """The nodes of one index."""

    def __init__(self, database: IndexDatabase) -> None:
        self._database = database
        self.groups = Groups(database)
        self._cache: dict[int, Node] = {}
        self._inos: dict[bytes, int] = {}
        self._new: dict[int, None] = {}
        self._stale: dict[int, None] = {}
        self.changed: set[int] = set()
        """Nodes that were added or changed; whoever tells others of them empties it."""
        if database.read("SELECT 1 FROM nodes WHERE ino = ?", (ROOT_INO,)) is None:
            database.write(
                "INSERT INTO nodes (ino, node, kind, mode, nlink, stamps) VALUES (?, ?, ?, ?, 2, ?)",
                (ROOT_INO, ROOT_NODE, stat.S_IFDIR, 0o755, NO_STAMP),
            )
        self._next = self._first_free()

    def forget_cached(self) -> None:
        """Drop the cache and what was not flushed, after a rollback."""
        self._cache.clear()
        self._inos.clear()
        self._new.clear()
        self._stale.clear()
        self._next = self._first_free()
        self.groups.forget_cached()

    def flush(self) -> None:
        """Write all changes to the database."""
        if self._new:
            self._database.write_many(_INSERT, [msgspec.structs.astuple(self._cache[ino]) for ino in self._new])
            self._new.clear()
        if self._stale:
            self._database.write_many(_UPDATE, [msgspec.structs.astuple(self._cache[ino]) for ino in self._stale])
            self._stale.clear()

    def get(self, ino: int) -> Node | None:
        """The node with this inode number."""
        node = self._cache.get(ino)
        if node is None:
            row = self._database.read(SELECT, (ino,))
            if row is not None:
                node = self._remember(Node(*row))
        return node

    def must(self, ino: int) -> Node:
        """The node with this inode number, which is known to exist."""
        node = self._cache.get(ino) or self.get(ino)
        assert node is not None, ino
        return node

    def listed(self, parent: int, after: int, limit: int) -> list[tuple[int, bytes, Node]]:
        """Entries (cookie, name, node) of a directory in lasting order, after a cookie."""
        group = self.groups.of(parent)
        rows = [
            row
            for one in group
            for row in self._database.rows(
                "SELECT cookie, name, ino FROM entries WHERE parent = ? AND cookie > ? ORDER BY cookie LIMIT ?",
                (one, after, limit),
            )
        ]
        if len(group) > 1:
            rows = sorted(rows)[:limit]
        cache = self._cache
        if any(row[2] not in cache for row in rows):
            last = rows[-1][0]
            for one in group:
                for row in self._database.rows(
                    f"SELECT {_LISTED} FROM entries e JOIN nodes n ON n.ino = e.ino "
                    "WHERE e.parent = ? AND e.cookie > ? AND e.cookie <= ?",
                    (one, after, last),
                ):
                    if row[0] not in cache:
                        self._remember(Node(*row))
        return [(cookie, name, cache.get(ino) or self.must(ino)) for cookie, name, ino in rows]

    def ino_of(self, node: bytes) -> int | None:
        """The inode number of a node id."""
        ino = self._inos.get(node)
        if ino is None:
            row = self._database.read("SELECT ino FROM nodes WHERE node = ?", (node,))
            if row is not None:
                ino = self._know(node, row[0])
        return ino

    def intern(self, node: bytes) -> int:
        """The inode number of a node id; a node not heard of yet gets a row of kind 0."""
        ino = self.ino_of(node)
        return self.insert(node, {}) if ino is None else ino

    def insert(self, node: bytes, values: dict[str, Any]) -> int:
        """Add a node with these fields; returns its inode number."""
        ino = self._next
        self._next += 1
        self._know(node, ino)
        self._remember(Node(ino, NodeId(node), **values))
        self._new[ino] = None
        self.changed.add(ino)
        return ino

    def set(self, ino: int, **values: Any) -> Node:
        """Change fields of a node."""
        node = self._cache[ino] = msgspec.structs.replace(self.must(ino), **values)
        if ino not in self._new:
            self._stale[ino] = None
        self.changed.add(ino)
        return node

    def shown_as(self, ino: int) -> int:
        """The directory that stands for a directory, which is itself unless it is shown as one with another."""
        return self.groups.shown_as(ino)

    def show_as(self, directory: int, other: int | None) -> None:
        """Let a directory be shown as part of another, or of none."""
        self.set(directory, view_of=other)
        self.groups.show_as(directory, other)

    def nlink(self, node: Node) -> int:
        """The count of links that stat(2) shows, of directories that are shown as one for all of them."""
        group = self.groups.of(node.ino)
        return node.nlink if len(group) == 1 else 2 + sum(self.must(ino).nlink - 2 for ino in group)

    def _first_free(self) -> int:
        row = self._database.read("SELECT seq FROM sqlite_sequence WHERE name = 'nodes'")
        return ROOT_INO + 1 if row is None else row[0] + 1

    def _remember(self, node: Node) -> Node:
        if len(self._cache) >= CACHED_NODES:
            self.flush()
            self._cache.clear()
        self._cache[node.ino] = node
        return node

    def _know(self, node: bytes, ino: int) -> int:
        if len(self._inos) >= CACHED_NODES:
            self.flush()
            self._inos.clear()
        self._inos[node] = ino
        return ino


def fitting(number: int) -> int:
    """The nearest number that a column can hold; records may tell times that no calendar knows."""
    return max(-(2**63), min(number, 2**63 - 1))


def pack_xattrs(xattrs: dict[bytes, bytes]) -> bytes | None:
    """Extended attributes as a column's value."""
    return msgspec.msgpack.encode(dict(sorted(xattrs.items()))) if xattrs else None


def split_stamps(joined: bytes) -> list[Stamp]:
    """The stamps of a column of joined stamps."""
    return [Stamp(joined[start : start + STAMP_BYTES]) for start in range(0, len(joined), STAMP_BYTES)]

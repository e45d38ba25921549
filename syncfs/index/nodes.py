"""Nodes of a share as rows, with a bounded cache in memory.

Other modules read nodes through `NodeTable.get` and change them only through `NodeTable.set`, so that the cache never
shows what the database does not.
"""

import stat
from dataclasses import dataclass
from typing import Any

import msgspec

from syncfs.index.database import IndexDatabase
from syncfs.index.schema import ROOT_INO
from syncfs.model.ids import NO_STAMP, ROOT_NODE, STAMP_BYTES, NodeId, Stamp

CACHED_NODES = 50_000
"""About 40 MB at most."""

_COLUMNS = (
    "ino, node, kind, rdev, target, mode, uid, gid, user, grp, atime, mtime, ctime, xattrs, nlink, size, content_mtime, "
    "head, heads, stamps, view_of"
)


@dataclass(frozen=True, slots=True)
class Node:
    """A row of the table `nodes` (see schema.py)."""

    ino: int
    node: NodeId
    kind: int
    rdev: int
    target: bytes
    mode: int
    uid: int
    gid: int
    user: str
    group: str
    atime: int
    times_mtime: int
    ctime: int
    packed_xattrs: bytes | None
    nlink: int
    size: int
    content_mtime: int
    head: Stamp | None
    heads: int
    stamps: bytes
    view_of: int | None

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
    def xattrs(self) -> dict[bytes, bytes]:
        """The extended attributes."""
        return msgspec.msgpack.decode(self.packed_xattrs, type=dict[bytes, bytes]) if self.packed_xattrs else {}


BIRTH, MODE, OWNER, TIMES, XATTRS = range(5)
GROUPS = 5


class NodeTable:
    """The nodes of one index."""

    def __init__(self, database: IndexDatabase) -> None:
        self._database = database
        self._cache: dict[int, Node] = {}
        self._inos: dict[bytes, int] = {}
        if database.read("SELECT 1 FROM nodes WHERE ino = ?", (ROOT_INO,)) is None:
            database.write(
                "INSERT INTO nodes (ino, node, kind, mode, nlink, stamps) VALUES (?, ?, ?, ?, 2, ?)",
                (ROOT_INO, ROOT_NODE, stat.S_IFDIR, 0o755, NO_STAMP),
            )

    def forget_cached(self) -> None:
        """Drop the cache, after a rollback."""
        self._cache.clear()
        self._inos.clear()

    def get(self, ino: int) -> Node | None:
        """The node with this inode number."""
        node = self._cache.get(ino)
        if node is None:
            row = self._database.read(f"SELECT {_COLUMNS} FROM nodes WHERE ino = ?", (ino,))
            if row is not None:
                node = self.remember(row)
        return node

    def must(self, ino: int) -> Node:
        """The node with this inode number, which is known to exist."""
        node = self.get(ino)
        assert node is not None, ino
        return node

    def remember(self, row: tuple[Any, ...]) -> Node:
        """The node of a row selected with `COLUMNS`, now cached."""
        node = Node(*row)
        if len(self._cache) >= CACHED_NODES:
            self._cache.clear()
        self._cache[node.ino] = node
        return node

    def listed(self, parent: int, after: int, limit: int) -> list[tuple[int, bytes, Node]]:
        """Entries (cookie, name, node) of a directory in lasting order, after a cookie."""
        columns = ", ".join(f"n.{column.strip()}" for column in _COLUMNS.split(","))
        rows = self._database.rows(
            f"SELECT e.cookie, e.name, {columns} FROM entries e JOIN nodes n ON n.ino = e.ino "
            "WHERE e.parent = ? AND e.cookie > ? ORDER BY e.cookie LIMIT ?",
            (parent, after, limit),
        )
        return [(row[0], row[1], self._cache.get(row[2]) or self.remember(row[2:])) for row in rows]

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
        return self.insert({"node": node, "stamps": NO_STAMP}) if ino is None else ino

    def insert(self, values: dict[str, Any]) -> int:
        """Add a node; returns its inode number."""
        marks = ", ".join("?" * len(values))
        cursor = self._database.write(f"INSERT INTO nodes ({', '.join(values)}) VALUES ({marks})", (*values.values(),))
        assert cursor.lastrowid is not None
        return self._know(values["node"], cursor.lastrowid)

    def set(self, ino: int, values: dict[str, Any]) -> None:
        """Change columns of a node."""
        changes = ", ".join(f"{column} = ?" for column in values)
        self._database.write(f"UPDATE nodes SET {changes} WHERE ino = ?", (*values.values(), ino))
        self._cache.pop(ino, None)

    def add_links(self, ino: int, count: int) -> None:
        """Count names of a node up or down."""
        self._database.write("UPDATE nodes SET nlink = max(nlink + ?, 0) WHERE ino = ?", (count, ino))
        self._cache.pop(ino, None)

    def _know(self, node: bytes, ino: int) -> int:
        if len(self._inos) >= CACHED_NODES:
            self._inos.clear()
        self._inos[node] = ino
        return ino


def pack_xattrs(xattrs: dict[bytes, bytes]) -> bytes | None:
    """Extended attributes as a column's value."""
    return msgspec.msgpack.encode(dict(sorted(xattrs.items()))) if xattrs else None

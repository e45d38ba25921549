"""What is kept of records that later ones replaced, so that the tree of a past moment can be shown.

The winning records have their rows in `nodes` and `links`; only when one is replaced, or comes too late to win, is a
row written here. So a file that never changes costs nothing. All rows follow from the records alone, whatever the order
in which they came, and which of them are old enough to go is the same on all peers (engine/keeping/retention.py).

Merged segments leave out by and by when a folder's entries changed (engine/feeds/ageing.py), so of that a peer that
joined late knows less.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from syncfs.index.database import IndexDatabase
from syncfs.index.nodes import MODE, OWNER, TIMES, XATTRS, Node, fitting
from syncfs.model.ids import NO_STAMP, STAMP_BYTES, Stamp
from syncfs.model.records import THINNED, NodeRecord, Owner, Times, content_digest


class PastTable:
    """The records of one index that were replaced, and the marks that history needs."""

    def __init__(self, database: IndexDatabase) -> None:
        self._database = database

    def note_node(self, node: Node, record: NodeRecord, stamp: Stamp, time: int) -> None:
        """A record about a known node came; to be called before the node changes."""
        for group, value in _kept_groups(record):
            before = node.group_stamp(group)
            if before == stamp:
                continue
            if before != NO_STAMP:
                self._put_value(node.ino, group, before, 0, _value_of(node, group))
            if before != NO_STAMP or record.birth is None:
                self._put_value(node.ino, group, stamp, time, value)

    def note_early(self, ino: int, record: NodeRecord, stamp: Stamp, time: int) -> None:
        """The first record about a node came, which is not that of its birth."""
        for group, value in _kept_groups(record):
            self._put_value(ino, group, stamp, time, value)

    def mtime_set(self, node: Node, since: Stamp, until: Stamp | None) -> int | None:
        """The modification time (ns) that was set last between two stamps; None where none was."""
        end = until or b"\xff" * STAMP_BYTES
        row = self._database.read(
            "SELECT value FROM past_nodes WHERE ino = ? AND grp = ? AND stamp > ? AND stamp < ? "
            "ORDER BY stamp DESC LIMIT 1",
            (node.ino, TIMES, since, end),
        )
        if row is not None:
            return msgspec.msgpack.decode(row[0], type=Times).mtime
        return node.times_mtime if since < node.group_stamp(TIMES) < end else None

    def note_replaced_link(self, link: bytes) -> None:
        """The winning record of a link is about to be replaced."""
        self._database.write(
            "INSERT OR IGNORE INTO past_links (link, stamp, time, ino, parent, name, deleted, seen, from_parent, "
            "from_name) SELECT link, stamp, time, ino, coalesce(recorded_parent, parent), "
            "coalesce(recorded_name, name), deleted, seen, from_parent, from_name FROM links WHERE link = ?",
            (link,),
        )

    def note_late_link(self, values: Sequence[Any]) -> None:
        """A record of a link came that had been replaced before; values as the columns of the table."""
        self._database.write("INSERT OR IGNORE INTO past_links VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", tuple(values))

    def note_asked(self, stamp: Stamp) -> None:
        """Somebody asked for a version."""
        self._database.write("INSERT OR IGNORE INTO asked (stamp) VALUES (?)", (stamp,))

    def thin(self, stamps: Iterable[Stamp]) -> None:
        """Forget the content of versions; that they were there, and whose parents they are, stays known."""
        for stamp in stamps:
            row = self._database.read("SELECT size, depth, body FROM versions WHERE stamp = ?", (stamp,))
            if row is not None and row[1] != THINNED:
                self._database.write(
                    "UPDATE versions SET depth = ?, body = ? WHERE stamp = ?", (THINNED, content_digest(*row), stamp)
                )
                self._database.write("DELETE FROM asked WHERE stamp = ?", (stamp,))

    def add_loose(self, addresses: Iterable[bytes]) -> None:
        """Note chunks that perhaps nothing needs."""
        self._database.write_many(
            "INSERT OR IGNORE INTO loose (address) VALUES (?)", ((address,) for address in addresses)
        )

    def add_loose_of(self, used: int) -> None:
        """Note the chunks that were found at this time (ns) where a crash left them: perhaps they had been given up."""
        self._database.write("INSERT OR IGNORE INTO loose (address) SELECT address FROM chunks WHERE used = ?", (used,))

    def loose(self) -> set[bytes]:
        """The chunks that perhaps nothing needs."""
        return {address for (address,) in self._database.rows("SELECT address FROM loose")}

    def loose_unused_since(self, time: int) -> set[bytes]:
        """Those of them that were of no use since a time (ns), or are not here at all."""
        rows = self._database.rows(
            "SELECT l.address FROM loose l LEFT JOIN chunks c ON c.address = l.address "
            "WHERE c.used IS NULL OR c.used < ?",
            (time,),
        )
        return {address for (address,) in rows}

    def settle_loose(self, addresses: Iterable[bytes]) -> None:
        """What is with these chunks is known: they are needed, or gone."""
        self._database.write_many("DELETE FROM loose WHERE address = ?", ((address,) for address in addresses))

    def _put_value(self, ino: int, group: int, stamp: Stamp, time: int, value: object) -> None:
        self._database.write(
            "INSERT OR IGNORE INTO past_nodes (ino, grp, stamp, time, value) VALUES (?, ?, ?, ?, ?)",
            (ino, group, stamp, time, msgspec.msgpack.encode(value)),
        )


def _kept_groups(record: NodeRecord) -> Iterable[tuple[int, object]]:
    if record.mode is not None:
        yield MODE, record.mode
    if record.owner is not None:
        yield OWNER, record.owner
    if record.times is not None:
        yield TIMES, Times(fitting(record.times.atime), fitting(record.times.mtime))
    if record.xattrs is not None:
        yield XATTRS, record.xattrs


def _value_of(node: Node, group: int) -> object:
    if group == MODE:
        return node.mode
    if group == OWNER:
        return Owner(node.uid, node.gid, node.user, node.group)
    if group == TIMES:
        return Times(node.atime, node.times_mtime)
    return node.xattrs

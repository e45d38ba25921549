"""Applying records to the index: the same path for our own and for everybody else's.

Applying is idempotent and independent of order: per field group and per link the greatest stamp wins, versions are a
set, and the visible tree is derived from that (view.py). The usual new file, with a free name in a directory that is
shown, is written as it will be seen at once; all else is noted for the view to follow.
"""

import stat
from collections.abc import Iterable, Sequence
from typing import Any

from syncfs.index.database import IndexDatabase
from syncfs.index.nodes import (
    BIRTH,
    GROUPS,
    MODE,
    OWNER,
    TIMES,
    XATTRS,
    Node,
    NodeTable,
    fitting,
    pack_xattrs,
    split_stamps,
)
from syncfs.index.past import PastTable
from syncfs.index.schema import ROOT_INO
from syncfs.index.view import View
from syncfs.model.ids import NO_STAMP, DeviceId, NodeId, Stamp, make_stamp
from syncfs.model.records import LinkRecord, NodeRecord, Record, SettingRecord, VersionRecord
from syncfs.model.versions import heads_after, replaced


class Applier:
    """Turns records into rows; the caller holds a transaction (`IndexDatabase.whole`)."""

    def __init__(self, database: IndexDatabase, nodes: NodeTable, view: View, past: PastTable) -> None:
        self._database = database
        self._nodes = nodes
        self._view = view
        self._past = past
        self._fresh: set[int] = set()

    def apply(self, records: Iterable[Record], device: DeviceId) -> None:
        """Apply records of one device's feed."""
        self._fresh.clear()
        for record in records:
            stamp = make_stamp(record.lamport, device)
            match record:
                case NodeRecord():
                    self._apply_node(record, stamp)
                case LinkRecord():
                    self._apply_link(record, stamp)
                case VersionRecord():
                    self._apply_version(record, stamp)
                case SettingRecord():
                    self._database.write(
                        "INSERT OR IGNORE INTO setting_changes (key, stamp, time, value) VALUES (?, ?, ?, ?)",
                        (record.key, stamp, fitting(record.time), record.value),
                    )
                    self._database.write(
                        "INSERT INTO settings (key, value, stamp) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE "
                        "SET value = excluded.value, stamp = excluded.stamp WHERE excluded.stamp > stamp",
                        (record.key, record.value, stamp),
                    )
        self._view.settle()
        self._nodes.flush()

    def _apply_node(self, record: NodeRecord, stamp: Stamp) -> None:
        ino = self._nodes.ino_of(record.node)
        groups = _group_values(record)
        if ino is None:
            fields: dict[str, Any] = {"ctime": fitting(record.time)}
            for values in groups.values():
                fields |= values
            fields["stamps"] = stamp
            if len(groups) < GROUPS:
                fields["stamps"] = b"".join(stamp if group in groups else NO_STAMP for group in range(GROUPS))
            ino = self._nodes.insert(record.node, fields)
            self._fresh.add(ino)
            if record.birth is None:
                self._past.note_early(ino, record, stamp, fitting(record.time))
            return
        node = self._real(ino)
        self._past.note_node(node, record, stamp, fitting(record.time))
        fields = {}
        stamps = [node.group_stamp(group) for group in range(GROUPS)]
        for group, values in groups.items():
            if stamp > stamps[group]:
                stamps[group] = stamp
                fields |= values
        if stamps == [node.group_stamp(group) for group in range(GROUPS)]:
            return
        fields["ctime"] = max(node.ctime, fitting(record.time))
        fields["stamps"] = stamps[0] if len(set(stamps)) == 1 else b"".join(stamps)
        kind = fields.get("kind", node.kind)
        if ino == ROOT_INO:
            fields.pop("kind", None)
        elif kind != node.kind:
            self._change_kind(node, kind)
        self._nodes.set(ino, **fields)
        if ino != ROOT_INO and kind != node.kind:
            self._view.touch(ino)
            if kind == stat.S_IFDIR:
                self._view.touch_place_of(node.node)
        elif node.copies is not None:
            self._view.touch(ino)

    def _change_kind(self, node: Node, kind: int) -> None:
        """Prepare for a node to be born; nothing may be seen of what it was, if it was something before."""
        if node.kind or (node.nlink and kind == stat.S_IFDIR):
            self._view.withdraw(node)

    def _apply_link(self, record: LinkRecord, stamp: Stamp) -> None:
        ino = self._nodes.intern(record.node)
        is_new = ino in self._fresh
        row = None
        if not is_new:
            row = self._database.read(
                "SELECT id, ino, parent, name, shown_parent, recorded_parent, stamp, seen FROM links WHERE link = ?",
                (record.link,),
            )
            if row is not None and stamp <= row[6]:
                self._note_late(record, ino, stamp, row)
                return
        node, time = self._real(ino), fitting(record.time)
        parent = self._nodes.intern(record.parent)
        from_parent = self._nodes.intern(record.from_parent) if record.from_parent else 0
        places_directory = record.link == record.node and node.is_directory
        moved = not is_new or parent == ino
        shown = (
            is_new and not record.deleted and node.kind != 0 and (places_directory or not node.is_directory)
            and self._view.takes_new_names(parent)
        )  # fmt: skip
        stands = self._view.stands(node) and (row is None or row[1] == ino)
        enters = stands and not record.deleted
        seen = b"".join(record.seen) if row is None else _joined(row[7], record.seen)
        values = (
            ino, parent, record.name, record.deleted, seen, from_parent, record.from_name, stamp,
            time, parent if shown or enters else None, record.link,
        )  # fmt: skip
        if row is None:
            added = self._database.write(_INSERT_LINK, values)
            self._fresh.difference_update((ino, parent, from_parent))
            if added.rowcount == 0:
                self._apply_link(record, stamp)
                return
            if shown:
                self._view.show_new(parent, record.name, ino, added.lastrowid or 0)
        else:
            _, old_ino, old_parent, old_name, shown_parent, recorded_parent, _, _ = row
            self._view.leave(old_parent, old_name, shown_parent)
            if not stands:
                self._view.touch(old_ino)
            self._past.note_replaced_link(record.link)
            self._database.write(_UPDATE_LINK, values)
            moved = (old_ino, old_parent, recorded_parent) != (ino, parent, None) or self._view.undoes_moves
        if enters:
            self._view.enter(parent, record.name)
        elif not shown and not (stands and self._view.has_names(ino)):
            self._view.touch(ino)
        if moved and (places_directory or (row is not None and self._nodes.must(row[1]).is_directory)):
            self._view.touch_place_of(NodeId(record.link))
        if time > node.ctime:
            self._nodes.set(ino, ctime=time)

    def _note_late(self, record: LinkRecord, ino: int, stamp: Stamp, row: Sequence[Any]) -> None:
        """A record of a link came that lost; what a deletion had seen counts nevertheless."""
        seen = _joined(row[7], record.seen)
        if seen != row[7]:
            self._database.write("UPDATE links SET seen = ? WHERE id = ?", (seen, row[0]))
            self._view.touch(row[1])
        if stamp < row[6]:
            parent = self._nodes.intern(record.parent)
            from_parent = self._nodes.intern(record.from_parent) if record.from_parent else 0
            self._past.note_late_link(
                (record.link, stamp, fitting(record.time), ino, parent, record.name, record.deleted,
                 b"".join(record.seen), from_parent, record.from_name)
            )  # fmt: skip

    def _apply_version(self, record: VersionRecord, stamp: Stamp) -> None:
        ino = self._nodes.intern(record.node)
        node, time, mtime = self._real(ino), fitting(record.time), fitting(record.mtime)
        added = self._database.write(
            "INSERT OR IGNORE INTO versions (stamp, ino, time, parents, size, mtime, depth, body) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (stamp, ino, time, b"".join(record.parents), record.size, mtime, record.depth, record.body),
        )
        if added.rowcount == 0:
            return
        if record.asked:
            self._past.note_asked(stamp)
        before = self._view.heads(node)
        for parent in replaced(stamp, record.parents).difference(before):
            self._note_replaced(parent, ino)
        after = heads_after(before, stamp, record.parents, self._was_replaced(stamp, ino))
        if len(after) > 1 or not self._view.is_simple(node):
            self._view.set_heads(ino, after)
        elif after[0] == stamp:
            self._view.set_head(ino, stamp, record.size, mtime)
        if time > node.ctime:
            self._nodes.set(ino, ctime=time)

    def _note_replaced(self, stamp: Stamp, ino: int) -> None:
        """Remember that a version of a file names another one as its parent, if that is not here yet."""
        if self._database.read("SELECT 1 FROM versions WHERE stamp = ?", (stamp,)) is None:
            self._database.write("INSERT OR IGNORE INTO replaced (stamp, ino) VALUES (?, ?)", (stamp, ino))

    def _was_replaced(self, stamp: Stamp, ino: int) -> bool:
        """Whether a version that came just now was replaced before; tells files that were made of it that it came."""
        waiting = {waiting for (waiting,) in self._database.rows("SELECT ino FROM replaced WHERE stamp = ?", (stamp,))}
        if not waiting:
            return False
        self._database.write("DELETE FROM replaced WHERE stamp = ?", (stamp,))
        for other in waiting - {ino}:
            self._view.touch(other)
        return ino in waiting

    def _real(self, ino: int) -> Node:
        """The node that a record speaks of; if there was a conflict copy in its place, that makes room."""
        node = self._nodes.must(ino)
        if node.is_copy:
            self._view.make_real(node)
            node = self._nodes.must(ino)
        return node


_INSERT_LINK = (
    "INSERT OR IGNORE INTO links (ino, parent, name, deleted, seen, from_parent, from_name, stamp, time, "
    "shown_parent, link) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE_LINK = (
    "UPDATE links SET ino = ?, parent = ?, name = ?, deleted = ?, seen = ?, from_parent = ?, from_name = ?, "
    "stamp = ?, time = ?, shown_parent = ?, recorded_parent = NULL, recorded_name = NULL WHERE link = ?"
)


def _joined(stamps: bytes, more: Iterable[bytes]) -> bytes:
    known = split_stamps(stamps)
    return stamps + b"".join(stamp for stamp in dict.fromkeys(more) if stamp not in known)


def _group_values(record: NodeRecord) -> dict[int, dict[str, Any]]:
    """The fields that each field group of a record sets, by group."""
    groups: dict[int, dict[str, Any]] = {}
    if record.birth is not None:
        birth = record.birth
        groups[BIRTH] = {"kind": birth.kind, "rdev": fitting(birth.rdev), "target": birth.target}
    if record.mode is not None:
        groups[MODE] = {"mode": record.mode}
    if record.owner is not None:
        owner = record.owner
        groups[OWNER] = {"uid": owner.uid, "gid": owner.gid, "user": owner.user, "group": owner.group}
    if record.times is not None:
        groups[TIMES] = {"atime": fitting(record.times.atime), "times_mtime": fitting(record.times.mtime)}
    if record.xattrs is not None:
        groups[XATTRS] = {"packed_xattrs": pack_xattrs(record.xattrs)}
    return groups

"""Applying records to the index: the same path for our own and for everybody else's.

Applying is idempotent and independent of order: per field group and per link the greatest stamp wins, versions are a
set, and the visible tree is derived from that.
"""

import stat

from syncfs.index.database import IndexDatabase
from syncfs.index.moves import rehang
from syncfs.index.nodes import GROUPS, MODE, OWNER, TIMES, XATTRS, Node, NodeTable, pack_xattrs
from syncfs.index.view import View
from syncfs.model.ids import NO_STAMP, STAMP_BYTES, DeviceId, Stamp, make_stamp
from syncfs.model.records import LinkRecord, NodeRecord, Record, SettingRecord, VersionRecord


class Applier:
    """Turns records into rows; the caller holds a transaction (`IndexDatabase.whole`)."""

    def __init__(self, database: IndexDatabase, nodes: NodeTable, view: View) -> None:
        self._database = database
        self._nodes = nodes
        self._view = view

    def apply(self, record: Record, device: DeviceId) -> None:
        """Apply one record of a device's feed."""
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
                    "INSERT INTO settings (key, value, stamp) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE "
                    "SET value = excluded.value, stamp = excluded.stamp WHERE excluded.stamp > stamp",
                    (record.key, record.value, stamp),
                )

    def _apply_node(self, record: NodeRecord, stamp: Stamp) -> None:
        ino = self._nodes.ino_of(record.node)
        if ino is None:
            fields: dict[str, object] = {"node": record.node, "ctime": record.time}
            groups = _group_values(record)
            for values in groups.values():
                fields |= values
            known = len(groups) == GROUPS
            fields["stamps"] = (
                stamp if known else b"".join(stamp if group in groups else NO_STAMP for group in range(GROUPS))
            )
            self._nodes.insert(fields)
            return
        node = self._nodes.must(ino)
        fields = {}
        stamps = [node.group_stamp(group) for group in range(GROUPS)]
        for group, values in _group_values(record).items():
            if stamp > stamps[group]:
                stamps[group] = stamp
                fields |= values
        if not fields:
            return
        fields["ctime"] = max(node.ctime, record.time)
        fields["stamps"] = stamps[0] if len(set(stamps)) == 1 else b"".join(stamps)
        self._nodes.set(ino, fields)
        self._view.changes.nodes.add(ino)
        if fields.get("kind", node.kind) != node.kind:
            self._view.refresh_node(ino)
        elif node.heads > 1:
            self._refresh_views(node)

    def _apply_link(self, record: LinkRecord, stamp: Stamp) -> None:
        row = self._database.read(
            "SELECT id, parent, name, stamp, shown_parent, shown_name FROM links WHERE link = ?", (record.link,)
        )
        if row is not None and stamp <= row[3]:
            return
        ino, parent = self._nodes.intern(record.node), self._nodes.intern(record.parent)
        from_parent = self._nodes.intern(record.from_parent) if record.from_parent else 0
        shown_parent = self._nodes.must(parent).view_of or parent
        values = (
            ino, parent, record.name, record.deleted, b"".join(record.seen), from_parent, record.from_name, stamp,
            record.time, shown_parent, record.name,
        )  # fmt: skip
        if row is None:
            self._database.write(
                "INSERT INTO links (ino, parent, name, deleted, seen, from_parent, from_name, stamp, time, shown_parent, "
                "shown_name, link) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, record.link),
            )
        else:
            link, old_parent, _old_name, _, old_shown_parent, old_shown_name = row
            self._database.write(
                "UPDATE links SET ino = ?, parent = ?, name = ?, deleted = ?, seen = ?, from_parent = ?, from_name = ?, stamp = ?, "
                "time = ?, shown_parent = ?, shown_name = ? WHERE id = ?",
                (*values, link),
            )
            self._view.refresh(old_shown_parent, old_shown_name)
            if parent != old_parent and self._nodes.must(ino).kind in (stat.S_IFDIR, 0):
                rehang(self._database, self._nodes, self._view, ino)
        node = self._nodes.must(ino)
        if record.time > node.ctime:
            self._nodes.set(ino, {"ctime": record.time})
        self._view.changes.nodes.add(ino)
        place = self._database.read("SELECT shown_parent, shown_name FROM links WHERE link = ?", (record.link,))
        self._view.refresh(*place)

    def _apply_version(self, record: VersionRecord, stamp: Stamp) -> None:
        if self._database.read("SELECT 1 FROM versions WHERE stamp = ?", (stamp,)) is not None:
            return
        ino = self._nodes.intern(record.node)
        node = self._nodes.must(ino)
        for parent in record.parents:
            if self._database.write("UPDATE versions SET head = 0 WHERE stamp = ?", (parent,)).rowcount == 0:
                self._database.write("INSERT OR IGNORE INTO replaced (stamp) VALUES (?)", (parent,))
        replaced = self._database.write("DELETE FROM replaced WHERE stamp = ?", (stamp,)).rowcount > 0
        self._database.write(
            "INSERT INTO versions (stamp, ino, time, parents, size, mtime, depth, body, head) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                stamp,
                ino,
                record.time,
                b"".join(record.parents),
                record.size,
                record.mtime,
                record.depth,
                record.body,
                not replaced,
            ),
        )
        self.refresh_heads(node, record.time)

    def refresh_heads(self, node: Node, time: int) -> None:
        """Derive again which version of a node shows, after its versions changed."""
        heads = self._database.rows(
            "SELECT stamp, size, mtime FROM versions WHERE ino = ? AND head = 1 ORDER BY stamp DESC", (node.ino,)
        )
        head, size, mtime = heads[0] if heads else (None, 0, 0)
        ctime = max(node.ctime, time)
        self._nodes.set(
            node.ino, {"head": head, "size": size, "content_mtime": mtime, "heads": len(heads), "ctime": ctime}
        )
        self._view.changes.nodes.add(node.ino)
        if head != node.head:
            self._view.changes.contents.add(node.ino)
        if node.nlink == 0 or len(heads) > 1 or node.heads > 1:
            self._view.refresh_node(node.ino)

    def _refresh_views(self, node: Node) -> None:
        self._view.refresh_node(node.ino)
        for (view,) in self._database.rows("SELECT ino FROM nodes WHERE view_of = ?", (node.ino,)):
            self._view.changes.nodes.add(view)


def _group_values(record: NodeRecord) -> dict[int, dict[str, object]]:
    """The columns that each field group of a record sets, by group."""
    groups: dict[int, dict[str, object]] = {}
    if record.birth is not None:
        groups[0] = {"kind": record.birth.kind, "rdev": record.birth.rdev, "target": record.birth.target}
    if record.mode is not None:
        groups[MODE] = {"mode": record.mode}
    if record.owner is not None:
        owner = record.owner
        groups[OWNER] = {"uid": owner.uid, "gid": owner.gid, "user": owner.user, "grp": owner.group}
    if record.times is not None:
        groups[TIMES] = {"atime": record.times.atime, "mtime": record.times.mtime}
    if record.xattrs is not None:
        groups[XATTRS] = {"xattrs": pack_xattrs(record.xattrs)}
    return groups


def split_stamps(joined: bytes) -> list[Stamp]:
    """The stamps of a column of joined stamps."""
    return [Stamp(joined[start : start + STAMP_BYTES]) for start in range(0, len(joined), STAMP_BYTES)]

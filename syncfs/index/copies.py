"""Conflict copies as nodes: each other head that a name shows has an inode of its own.

Its mode, owner and attributes are those of the file, its content and times those of the head. Its row bears the id of
the node that the copy becomes when somebody makes it a file of its own, so programs that have it open stay where they
are. Where that node exists already and the head is shown nevertheless, the row bears another id.
"""

from hashlib import blake2b
from typing import Any

from syncfs.index.database import IndexDatabase
from syncfs.index.nodes import Node, NodeTable
from syncfs.model.ids import NO_STAMP, NODE_BYTES, Stamp
from syncfs.model.versions import own_node


class Copies:
    """The rows of conflict copies."""

    def __init__(self, database: IndexDatabase, nodes: NodeTable) -> None:
        self._database = database
        self._nodes = nodes

    def ino_of(self, base: Node, head: Stamp) -> int:
        """The inode of a head of a file as a conflict copy; its row is brought up to date."""
        size, mtime, time = self._database.read("SELECT size, mtime, time FROM versions WHERE stamp = ?", (head,))
        values: dict[str, Any] = {
            "kind": base.kind, "mode": base.mode, "uid": base.uid, "gid": base.gid, "user": base.user,
            "group": base.group, "packed_xattrs": base.packed_xattrs, "atime": mtime, "times_mtime": mtime,
            "ctime": time, "size": size, "content_mtime": mtime, "head": head, "view_of": base.ino,
        }  # fmt: skip
        node_id = bytes(own_node(head))
        ino = self._nodes.ino_of(node_id)
        if ino is not None and not self._nodes.must(ino).is_copy:
            node_id = blake2b(head, digest_size=NODE_BYTES, person=b"syncfs copy").digest()
            ino = self._nodes.ino_of(node_id)
        if ino is None:
            return self._nodes.insert(node_id, values)
        row = self._nodes.must(ino)
        if any(getattr(row, name) != value for name, value in values.items()):
            self._nodes.set(ino, **values)
        return ino

    def make_real(self, ino: int) -> None:
        """A record speaks of the node of a copy: its row is that of a node not yet born."""
        self._nodes.set(
            ino, kind=0, mode=0, uid=0, gid=0, user="", group="", packed_xattrs=None, atime=0, times_mtime=0, size=0,
            content_mtime=0, head=None, stamps=NO_STAMP, view_of=None,
        )  # fmt: skip

    def time_of(self, head: Stamp) -> int:
        """When a version was made, in ns."""
        return int(self._database.read("SELECT time FROM versions WHERE stamp = ?", (head,))[0])

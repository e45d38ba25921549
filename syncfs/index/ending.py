"""Nodes that are over: gone from the tree for so long that nobody needs to be told of them any more.

The rows of a node that is over stay; that is what keeps it from coming back by a record that was under way for years.
What ends is that its records are told to others (engine/feeds/condensing.py).
"""

from collections.abc import Iterable, Sequence

from syncfs.index.database import IndexDatabase
from syncfs.index.nodes import Node, NodeTable
from syncfs.index.schema import ROOT_INO
from syncfs.index.view import View
from syncfs.model.ids import DeviceId, LinkId, NodeId, Stamp
from syncfs.model.records import THINNED

PAGE = 2000


class Ending:
    """What an index knows about nodes that are over."""

    def __init__(self, database: IndexDatabase, nodes: NodeTable, view: View) -> None:
        self._database = database
        self._nodes = nodes
        self._view = view

    def is_over(self, ino: int, before: int) -> bool:
        """Whether a node lost its last name before this time (ns), and history keeps nothing of it."""
        links = self._database.rows("SELECT deleted, shown_parent, time FROM links WHERE ino = ?", (ino,))
        return (
            ino != ROOT_INO
            and bool(links)
            and all(deleted and parent is None and time < before for deleted, parent, time in links)
            and not any(
                self._database.read(statement, (ino,))
                for statement in (
                    "SELECT 1 FROM past_links WHERE ino = ?",
                    "SELECT 1 FROM past_nodes WHERE ino = ?",
                    f"SELECT 1 FROM versions WHERE ino = ? AND depth != {THINNED}",
                    "SELECT 1 FROM entries WHERE ino = ?",
                    "SELECT 1 FROM links WHERE shown_parent = ?",
                )
            )
        )

    def deleted(self) -> list[int]:
        """The nodes that lost a name."""
        return [ino for (ino,) in self._database.rows("SELECT DISTINCT ino FROM links WHERE deleted = 1")]

    def wins(self, link: LinkId, stamp: Stamp) -> bool:
        """Whether this is the winning record of a link."""
        return self._database.read("SELECT 1 FROM links WHERE link = ? AND stamp = ?", (link, stamp)) is not None

    def is_setting(self, key: str, stamp: Stamp) -> bool:
        """Whether this is the winning record of a setting."""
        return self._database.read("SELECT 1 FROM settings WHERE key = ? AND stamp = ?", (key, stamp)) is not None

    def is_past(self, link: LinkId, stamp: Stamp) -> bool:
        """Whether history keeps a replaced record of a link."""
        row = self._database.read("SELECT 1 FROM past_links WHERE link = ? AND stamp = ?", (link, stamp))
        return row is not None

    def is_past_value(self, ino: int, group: int, stamp: Stamp) -> bool:
        """Whether history keeps a value of a node's field group."""
        row = self._database.read(
            "SELECT 1 FROM past_nodes WHERE ino = ? AND grp = ? AND stamp = ?", (ino, group, stamp)
        )
        return row is not None

    def settings(self, prefix: str) -> list[tuple[str, str, Stamp]]:
        """The settings whose keys begin like this: (key, value, stamp)."""
        rows = self._database.rows("SELECT key, value, stamp FROM settings WHERE substr(key, 1, ?) = ?",
                                   (len(prefix), prefix))  # fmt: skip
        return [(key, value, Stamp(stamp)) for key, value, stamp in rows]

    def shown_born_by(self, device: DeviceId, after: int) -> Sequence[Node]:
        """The next nodes with greater inode numbers that are shown and were born by a device, some at a time."""
        rows = self._database.rows(
            "SELECT ino FROM nodes WHERE ino > ? AND (nlink > 0 OR view_of IS NOT NULL) AND kind != 0 "
            "AND substr(stamps, 9, 16) = ? ORDER BY ino LIMIT ?",
            (after, device, PAGE),
        )
        return [self._nodes.must(ino) for (ino,) in rows]

    def inside(self, directory: int) -> list[int]:
        """The nodes that a directory shows of its own links."""
        rows = self._database.rows("SELECT ino FROM links WHERE shown_parent = ?", (directory,))
        return [ino for (ino,) in rows]

    def link_stamps(self, ino: int) -> list[Stamp]:
        """The stamps of the links by which a node is shown."""
        rows = self._database.rows("SELECT stamp FROM links WHERE ino = ? AND shown_parent IS NOT NULL", (ino,))
        return [Stamp(stamp) for (stamp,) in rows]

    def thinned_heads(self, inos: Iterable[int]) -> list[Stamp]:
        """The heads that these nodes show and whose content was thinned out of history while they were deleted."""
        nodes = [node for ino in inos if (node := self._nodes.get(ino)) is not None and node.nlink > 0]
        return [
            head
            for node in nodes
            for head in node.shown_heads
            if self._database.read("SELECT 1 FROM versions WHERE stamp = ? AND depth = ?", (head, THINNED))
        ]

    def shows(self, version: Stamp) -> Node | None:
        """The file of which a version is a head that names show."""
        row = self._database.read("SELECT ino FROM versions WHERE stamp = ?", (version,))
        node = None if row is None else self._nodes.must(row[0])
        return node if node is not None and node.nlink > 0 and version in node.shown_heads else None

    def restore(self, version: Stamp, depth: int, body: bytes) -> None:
        """Know the content of a version again."""
        self._database.write("UPDATE versions SET depth = ?, body = ? WHERE stamp = ?", (depth, body, version))

    def end(self, inos: Iterable[int]) -> None:
        """Let nodes be gone, as if whoever deleted them had seen all that is known of them here."""
        for ino in inos:
            node = self._nodes.must(ino)
            seen = b"".join(node.all_heads)
            for number, parent, name, shown in self._database.rows(
                "SELECT id, parent, name, shown_parent FROM links WHERE ino = ? AND shown_parent IS NOT NULL", (ino,)
            ):
                self._view.hide(ino, parent, name, shown)
                self._database.write(
                    "UPDATE links SET deleted = 1, seen = ?, shown_parent = NULL WHERE id = ?", (seen, number)
                )
            self._view.touch(ino)
            if node.is_directory:
                self._view.touch_place_of(NodeId(node.node))
        self._view.settle()
        self._nodes.flush()

"""The visible tree, derived place by place from links, nodes and versions.

A place is (shown parent, name). The common place has at most one live link to a node with one head and shows just that
link under its name. Where links compete, or a node has several heads, `model.merge.directory_view` decides, over the
places that can touch each other; the result is the same as deriving the whole tree at once, which tests check.
"""

import stat
from collections.abc import Iterable
from dataclasses import dataclass, field

from syncfs.index.database import IndexDatabase
from syncfs.index.nodes import NodeTable
from syncfs.index.odd import show_odd_places
from syncfs.index.schema import ROOT_INO
from syncfs.model.ids import STAMP_BYTES


@dataclass(slots=True)
class Changes:
    """What applying records changed for somebody who looks at the tree."""

    nodes: set[int] = field(default_factory=set)
    contents: set[int] = field(default_factory=set)
    entries: dict[tuple[int, bytes], int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlacedLink:
    """A link at a place, with what decides whether it is alive."""

    id: int
    link: bytes
    ino: int
    deleted: bool
    seen: bytes
    stamp: bytes
    kind: int
    heads: int
    node: bytes


class View:
    """Keeps the table `entries` and the counts in `nodes.nlink` in step with the records."""

    def __init__(self, database: IndexDatabase, nodes: NodeTable) -> None:
        self._database = database
        self._nodes = nodes
        self.changes = Changes()
        self._odd = {row[0] for row in database.rows("SELECT DISTINCT parent FROM entries WHERE origin IS NOT NULL")}
        self._revived = {
            row[0]
            for row in database.rows(
                "SELECT l.ino FROM links l JOIN entries e ON e.link = l.id JOIN nodes n ON n.ino = l.ino "
                "WHERE l.deleted = 1 AND n.kind = ?",
                (stat.S_IFDIR,),
            )
        }

    def take_changes(self) -> Changes:
        """What changed since the last call."""
        changes, self.changes = self.changes, Changes()
        return changes

    def refresh(self, parent: int, name: bytes) -> None:
        """Derive again what the place shows."""
        live = [link for link in self.links_at(parent, name) if self._alive(link)]
        if parent not in self._odd and len(live) <= 1 and (not live or live[0].heads <= 1):
            self.show(parent, name, live[0] if live else None)
        elif show_odd_places(self, self._database, self._nodes, parent, name):
            self._odd.add(parent)
        else:
            self._odd.discard(parent)

    def refresh_node(self, ino: int) -> None:
        """Derive again all places of a node: its kind or its heads have changed."""
        for parent, name in self._database.rows("SELECT shown_parent, shown_name FROM links WHERE ino = ?", (ino,)):
            self.refresh(parent, name)

    def links_at(self, parent: int, name: bytes) -> list[PlacedLink]:
        """All links that take effect at a place, dead ones included."""
        rows = self._database.rows(
            "SELECT l.id, l.link, l.ino, l.deleted, l.seen, l.stamp, n.kind, n.heads, n.node FROM links l "
            "JOIN nodes n ON n.ino = l.ino WHERE l.shown_parent = ? AND l.shown_name = ?",
            (parent, name),
        )
        return [PlacedLink(*row) for row in rows]

    def live_links_at(self, parent: int, name: bytes) -> list[PlacedLink]:
        """The links that compete for a place."""
        return [link for link in self.links_at(parent, name) if self._alive(link)]

    def _alive(self, link: PlacedLink) -> bool:
        if link.kind == 0 or (link.kind == stat.S_IFDIR and link.link != link.node):
            return False
        if not link.deleted:
            return True
        if link.kind == stat.S_IFDIR:
            return self._database.read("SELECT 1 FROM entries WHERE parent = ? LIMIT 1", (link.ino,)) is not None
        seen = {link.seen[start : start + STAMP_BYTES] for start in range(0, len(link.seen), STAMP_BYTES)}
        heads = self._database.rows("SELECT stamp FROM versions WHERE ino = ? AND head = 1", (link.ino,))
        return any(head not in seen for (head,) in heads)

    def show(
        self,
        parent: int,
        name: bytes,
        link: PlacedLink | None,
        *,
        ino: int = 0,
        origin: bytes | None = None,
        head: bytes | None = None,
    ) -> None:
        """Let a name show a link (or, with `ino`, the view node of a head of it), or nothing."""
        shown = ino or (link.ino if link else 0)
        row = self._database.read(
            "SELECT cookie, ino, link, origin, head FROM entries WHERE parent = ? AND name = ?", (parent, name)
        )
        if row is None:
            if link is not None:
                self._database.write(
                    "INSERT INTO entries (parent, name, ino, link, origin, head) VALUES (?, ?, ?, ?, ?, ?)",
                    (parent, name, shown, link.id, origin, head),
                )
                self._count(parent, shown, link, 1)
                self.changes.entries.setdefault((parent, name), None)
            return
        cookie, old_ino, old_link, old_origin, old_head = row
        if link is None:
            self._database.write("DELETE FROM entries WHERE cookie = ?", (cookie,))
            self._count(parent, old_ino, None, -1)
        elif (old_ino, old_link, old_origin, old_head) == (shown, link.id, origin, head):
            return
        else:
            self._database.write(
                "UPDATE entries SET ino = ?, link = ?, origin = ?, head = ? WHERE cookie = ?",
                (shown, link.id, origin, head, cookie),
            )
            if old_ino == shown:
                return
            self._count(parent, old_ino, None, -1)
            self._count(parent, shown, link, 1)
        self.changes.entries[(parent, name)] = old_ino

    def _count(self, parent: int, ino: int, link: PlacedLink | None, step: int) -> None:
        """Keep the link counts of a node that gained or lost a name, and revive or bury its directory."""
        node = self._nodes.must(ino)
        self.changes.nodes.add(ino)
        if node.is_directory:
            self._nodes.add_links(parent, step)
            self.changes.nodes.add(parent)
            if step > 0:
                folders = self._database.read(
                    "SELECT count(*) FROM entries e JOIN nodes n ON n.ino = e.ino WHERE e.parent = ? AND n.kind = ?",
                    (ino, stat.S_IFDIR),
                )
                self._nodes.set(ino, {"nlink": 2 + folders[0]})
            else:
                self._nodes.set(ino, {"nlink": 0})
            if link is not None and link.deleted:
                self._revived.add(ino)
            elif step < 0:
                self._revived.discard(ino)
        else:
            self._nodes.add_links(ino, step)
        if parent == ROOT_INO:
            return
        if (step > 0 and self._nodes.must(parent).nlink == 0) or (step < 0 and parent in self._revived):
            self.refresh_node(parent)

    def shown_names(self, parent: int, names: Iterable[bytes]) -> set[bytes]:
        """The names that places of this parent show now, their conflict names included."""
        found: set[bytes] = set()
        for name in names:
            rows = self._database.rows(
                "SELECT name FROM entries WHERE parent = ? AND (name = ? OR (origin IS NOT NULL AND origin = ?))",
                (parent, name, name),
            )
            found.update(row[0] for row in rows)
        return found

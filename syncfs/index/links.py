"""The rows of links: reading them, and moving them in and out of the places where they are shown."""

from collections.abc import Collection, Iterable

import msgspec

from syncfs.index.database import IndexDatabase
from syncfs.model.ids import LinkId, NodeId, Stamp

_COLUMNS = "id, link, ino, parent, name, deleted, seen, stamp, time, shown_parent"


class Link(msgspec.Struct, frozen=True, gc=False):
    """A link: `shown_parent` is `parent`, or None where it is not shown (see schema.py)."""

    id: int
    link: LinkId
    ino: int
    parent: int
    name: bytes
    deleted: int
    seen: bytes
    stamp: Stamp
    time: int
    shown_parent: int | None


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """What the winning record of a link says of its place; `from_parent` is 0 where it does not tell one."""

    ino: int
    stamp: Stamp
    parent: int
    name: bytes
    from_parent: int
    from_name: bytes


class LinkTable:
    """The links of one index, as the view needs them."""

    def __init__(self, database: IndexDatabase) -> None:
        self._database = database

    def of_node(self, ino: int) -> list[Link]:
        """All links of a node."""
        return [Link(*row) for row in self._database.rows(f"SELECT {_COLUMNS} FROM links WHERE ino = ?", (ino,))]

    def any_standing(self, ino: int, besides: Collection[LinkId] = ()) -> bool:
        """Whether any link of a node is neither deleted nor among these."""
        statement = "SELECT link FROM links WHERE ino = ? AND deleted = 0 LIMIT ?"
        return any(link not in besides for (link,) in self._database.rows(statement, (ino, len(besides) + 1)))

    def at(self, group: Iterable[int], name: bytes) -> list[Link]:
        """The links that are shown under a name in these directories."""
        statement = f"SELECT {_COLUMNS} FROM links WHERE shown_parent = ? AND name = ?"
        return [Link(*row) for parent in group for row in self._database.rows(statement, (parent, name))]

    def any_at(self, group: Iterable[int], name: bytes) -> bool:
        """Whether any link is shown under a name in these directories."""
        statement = "SELECT 1 FROM links WHERE shown_parent = ? AND name = ?"
        return any(self._database.read(statement, (parent, name)) is not None for parent in group)

    def any_in(self, directory: int) -> bool:
        """Whether a directory has any living link of its own (not of those that are shown as one with it)."""
        return self._database.read("SELECT 1 FROM links WHERE shown_parent = ? LIMIT 1", (directory,)) is not None

    def common_names(self, one: int, other: int) -> list[bytes]:
        """The names under which links are shown in both of two directories; looks up each name of the first."""
        rows = self._database.rows(
            "SELECT DISTINCT a.name FROM links a CROSS JOIN links b "
            "WHERE a.shown_parent = ? AND b.shown_parent = ? AND b.name = a.name",
            (one, other),
        )
        return [name for (name,) in rows]

    def own(self, node: NodeId) -> tuple[Link, int | None, bytes | None] | None:
        """The one link that may place a directory, and where its record puts it where that differs."""
        row = self._database.read(
            f"SELECT {_COLUMNS}, recorded_parent, recorded_name FROM links WHERE link = ?", (node,)
        )
        return None if row is None else (Link(*row[:-2]), row[-2], row[-1])

    def record_of(self, node: NodeId) -> Recorded | None:
        """What is recorded of the one link that may place a directory."""
        row = self._database.read(
            "SELECT ino, stamp, coalesce(recorded_parent, parent), coalesce(recorded_name, name), from_parent, "
            "from_name FROM links WHERE link = ?",
            (node,),
        )
        return None if row is None else Recorded(*row)

    def show(self, link: int, parent: int | None) -> None:
        """Show a link in a directory, or nowhere."""
        self._database.write("UPDATE links SET shown_parent = ? WHERE id = ?", (parent, link))

    def place(self, link: int, parent: int, name: bytes, recorded: tuple[int, bytes] | None) -> None:
        """Let a link take effect at a place, and not (yet) be shown; `recorded` is its record's place if another."""
        self._database.write(
            "UPDATE links SET parent = ?, name = ?, recorded_parent = ?, recorded_name = ?, shown_parent = NULL "
            "WHERE id = ?",
            (parent, name, *(recorded or (None, None)), link),
        )

    def revived(self) -> list[int]:
        """The nodes of all links that are deleted and yet shown."""
        return [
            ino
            for (ino,) in self._database.rows("SELECT ino FROM links WHERE deleted = 1 AND shown_parent IS NOT NULL")
        ]

    def undone(self) -> list[tuple[LinkId, int, bytes]]:
        """The links of directories that are not where their record puts them, and where they are."""
        return [
            (LinkId(link), parent, name)
            for link, parent, name in self._database.rows(
                "SELECT link, parent, name FROM links WHERE recorded_parent IS NOT NULL"
            )
        ]

"""The rows of the visible tree, and the count of names in `nodes.nlink`.

A node counts the names that show it, a directory 2 and its subdirectories. Names count where their directory is shown,
which is where its `nlink` is not 0: as long as a directory further up has not arrived, nobody can see them. Entries
change first; `count` then brings the numbers in step and follows directories that appeared or vanished downwards.
"""

import msgspec

from syncfs.index.changes import Changes
from syncfs.index.database import IndexDatabase
from syncfs.index.nodes import NodeTable
from syncfs.index.schema import ROOT_INO
from syncfs.model.ids import Stamp

_COLUMNS = "cookie, name, ino, link, origin, head"


class What(msgspec.Struct, frozen=True, gc=False):
    """What a name shows; `origin` and `head` as in the table `entries`."""

    ino: int
    link: int
    origin: bytes | None = None
    head: Stamp | None = None


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A row of the table `entries`."""

    cookie: int
    name: bytes
    what: What


class EntryTable:
    """The visible names of one index."""

    def __init__(self, database: IndexDatabase, nodes: NodeTable) -> None:
        self._database = database
        self._nodes = nodes
        self._steps: dict[tuple[int, int], int] = {}
        self._folders: dict[int, None] = {}
        self.odd: set[int] = set()
        """Directories that have conflict names, and perhaps some that had."""
        self.changes = Changes()
        self.forget_cached()

    def forget_cached(self) -> None:
        """Read again what is kept in memory, after a rollback."""
        self._steps.clear()
        self._folders.clear()
        self.odd = {row[0] for row in self._database.rows("SELECT parent FROM entries WHERE origin IS NOT NULL")}

    def at(self, parent: int, name: bytes) -> Entry | None:
        """What a name shows."""
        row = self._database.read(f"SELECT {_COLUMNS} FROM entries WHERE parent = ? AND name = ?", (parent, name))
        return None if row is None else Entry(row[0], row[1], What(*row[2:]))

    def of_origin(self, parent: int, origin: bytes) -> list[Entry]:
        """The conflict names of a name."""
        if parent not in self.odd:
            return []
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM entries WHERE parent = ? AND origin = ?", (parent, origin))
        return [Entry(row[0], row[1], What(*row[2:])) for row in rows]

    def origins(self, parent: int) -> list[bytes]:
        """The names in a directory that have conflict names."""
        rows = self._database.rows(
            "SELECT DISTINCT origin FROM entries WHERE parent = ? AND origin IS NOT NULL", (parent,)
        )
        return [origin for (origin,) in rows]

    def add_first(self, parent: int, name: bytes, ino: int, link: int) -> bool:
        """Show a node, which no name has shown yet, in a directory that is shown; false if the name is taken."""
        done = self._database.write(
            "INSERT OR IGNORE INTO entries (parent, name, ino, link) VALUES (?, ?, ?, ?)", (parent, name, ino, link)
        )
        if done.rowcount == 0:
            return False
        if self._nodes.must(ino).is_directory:
            self._nodes.set(ino, nlink=2)
            self._add(parent, 1)
        else:
            self._nodes.set(ino, nlink=1)
        self.changes.entry(parent, name, None)
        return True

    def put(self, parent: int, name: bytes, what: What, before: Entry | None) -> None:
        """Let a name show something, instead of what it showed before."""
        if what.origin is not None:
            self.odd.add(parent)
        if before is None:
            self._database.write(
                "INSERT INTO entries (parent, name, ino, link, origin, head) VALUES (?, ?, ?, ?, ?, ?)",
                (parent, name, what.ino, what.link, what.origin, what.head),
            )
        elif before.what != what:
            self._database.write(
                "UPDATE entries SET ino = ?, link = ?, origin = ?, head = ? WHERE cookie = ?",
                (what.ino, what.link, what.origin, what.head, before.cookie),
            )
        if before is None or before.what.ino != what.ino:
            if before is not None:
                self._step(parent, before.what.ino, -1)
            self._step(parent, what.ino, 1)
            self.changes.entry(parent, name, before.what.ino if before else None)

    def remove(self, parent: int, entry: Entry) -> None:
        """Let a name show nothing."""
        self._database.write("DELETE FROM entries WHERE cookie = ?", (entry.cookie,))
        self._step(parent, entry.what.ino, -1)
        self.changes.entry(parent, entry.name, entry.what.ino)

    def count(self) -> None:
        """Bring the counts in step with the entries."""
        steps, self._steps = self._steps, {}
        for (parent, ino), step in steps.items():
            is_directory = self._nodes.must(ino).is_directory
            if is_directory:
                self._folders[ino] = None
            if step and self._is_shown(parent):
                self._add(parent if is_directory else ino, step)
        waiting = list(self._folders)
        while waiting:
            ino = waiting.pop()
            if ino in self._folders:
                above = self._above(ino)
                if above in self._folders:
                    waiting += (ino, above)
                else:
                    del self._folders[ino]
                    self._appear(ino, above is not None and self._is_shown(above))

    def _above(self, ino: int) -> int | None:
        row = self._database.read("SELECT parent FROM entries WHERE ino = ? LIMIT 1", (ino,))
        return None if row is None else int(row[0])

    def _is_shown(self, directory: int) -> bool:
        node = self._nodes.must(directory)
        return directory == ROOT_INO or (node.is_directory and node.nlink > 0)

    def _appear(self, directory: int, shown: bool) -> None:
        """Count what is in a directory from now on, or from now on no longer."""
        waiting = [directory]
        while waiting:
            ino = waiting.pop()
            if (self._nodes.must(ino).nlink > 0) == shown:
                continue
            folders = 0
            for (below,) in self._database.rows("SELECT ino FROM entries WHERE parent = ?", (ino,)):
                if self._nodes.must(below).is_directory:
                    folders += 1
                    waiting.append(below)
                else:
                    self._add(below, 1 if shown else -1)
            self._nodes.set(ino, nlink=2 + folders if shown else 0)

    def _step(self, parent: int, ino: int, count: int) -> None:
        self._steps[parent, ino] = self._steps.get((parent, ino), 0) + count

    def _add(self, ino: int, count: int) -> None:
        self._nodes.set(ino, nlink=self._nodes.must(ino).nlink + count)

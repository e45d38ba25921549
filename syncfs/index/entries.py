"""The rows of the visible tree, and the count of names in `nodes.nlink`.

A node counts the names that show it, a directory 2 and its subdirectories. Names count where their directory is shown,
which is where its `nlink` is not 0: as long as a directory further up has not arrived, nobody can see them. Entries
change first; `count` then brings the numbers in step and follows directories that appeared or vanished downwards.

Directories that are shown as one (groups.py) each have rows of their own, and each counts its own; a name that several
of them have is a row of one.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import msgspec

from syncfs.index.changes import Changes
from syncfs.index.database import IndexDatabase
from syncfs.index.nodes import NodeTable
from syncfs.index.schema import ROOT_INO
from syncfs.model.ids import Stamp

FORMER = 10_000
"""So many names that went last have their place in the listing again if they come back.

Otherwise a program that lists a directory and renames each name away and back would meet it again at the end, for ever.
"""
_COLUMNS = "cookie, parent, name, ino, link, origin, head"


class What(msgspec.Struct, frozen=True, gc=False):
    """What a name shows; `origin` and `head` as in the table `entries`."""

    ino: int
    link: int
    origin: bytes | None = None
    head: Stamp | None = None


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A row of the table `entries`."""

    cookie: int
    parent: int
    name: bytes
    what: What


class EntryTable:
    """The visible names of one index."""

    def __init__(self, database: IndexDatabase, nodes: NodeTable) -> None:
        self._database = database
        self._nodes = nodes
        self._groups = nodes.groups
        self._steps: dict[tuple[int, int], int] = {}
        self._folders: dict[int, None] = {}
        self._former: OrderedDict[tuple[int, bytes], int] = OrderedDict()
        self.odd: set[int] = set()
        """Directories that have conflict names, and perhaps some that had."""
        self.changes = Changes()
        self.forget_cached()

    def forget_cached(self) -> None:
        """Read again what is kept in memory, after a rollback."""
        self._steps.clear()
        self._folders.clear()
        self._former.clear()
        self.odd = {row[0] for row in self._database.rows("SELECT parent FROM entries WHERE origin IS NOT NULL")}

    def at(self, group: Iterable[int], name: bytes) -> list[Entry]:
        """What a name shows in these directories, which are shown as one: at most one entry, once all is settled."""
        return self._select(group, "parent = ? AND name = ?", name)

    def of_origin(self, group: Iterable[int], origin: bytes) -> list[Entry]:
        """The conflict names of a name in directories that are shown as one."""
        return self._select(self.odd.intersection(group), "parent = ? AND origin = ?", origin)

    def _select(self, group: Iterable[int], where: str, name: bytes) -> list[Entry]:
        statement = f"SELECT {_COLUMNS} FROM entries WHERE {where}"
        rows = [row for parent in group for row in self._database.rows(statement, (parent, name))]
        return [Entry(row[0], row[1], row[2], What(*row[3:])) for row in rows]

    def origins(self, group: Iterable[int]) -> list[bytes]:
        """The names in directories that have conflict names."""
        statement = "SELECT DISTINCT origin FROM entries WHERE parent = ? AND origin IS NOT NULL"
        return [
            origin for parent in self.odd.intersection(group) for (origin,) in self._database.rows(statement, (parent,))
        ]

    def add_first(self, parent: int, name: bytes, ino: int, link: int) -> bool:
        """Show a node, which no name has shown yet, in a directory that is shown; false if the name is taken."""
        group = self._groups.of(parent)
        if len(group) > 1 and self.at(group, name):
            return False
        done = self._database.write(
            "INSERT OR IGNORE INTO entries (cookie, parent, name, ino, link) VALUES (?, ?, ?, ?, ?)",
            (self._former.pop((parent, name), None), parent, name, ino, link),
        )
        if done.rowcount == 0:
            return False
        if self._nodes.must(ino).is_directory:
            self._nodes.set(ino, nlink=2)
            self._add(parent, 1)
        else:
            self._nodes.set(ino, nlink=1)
        self.changes.entry(group[0], name, None)
        return True

    def put(self, parent: int, name: bytes, what: What, before: Sequence[Entry]) -> None:
        """Let a name show something by a link in this directory, instead of what its entries showed before."""
        if what.origin is not None:
            self.odd.add(parent)
        old = next((entry for entry in before if entry.what.ino == what.ino), before[0] if before else None)
        for entry in before:
            if entry is not old:
                self.remove(entry)
        if old is None:
            self._database.write(
                "INSERT INTO entries (cookie, parent, name, ino, link, origin, head) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (self._former.pop((parent, name), None), parent, name, what.ino, what.link, what.origin, what.head),
            )
        elif (old.parent, old.what) != (parent, what):
            self._database.write(
                "UPDATE entries SET parent = ?, ino = ?, link = ?, origin = ?, head = ? WHERE cookie = ?",
                (parent, what.ino, what.link, what.origin, what.head, old.cookie),
            )
        if old is None or (old.parent, old.what.ino) != (parent, what.ino):
            if old is not None:
                self._step(old.parent, old.what.ino, -1)
            self._step(parent, what.ino, 1)
        if old is None or old.what.ino != what.ino:
            self.changes.entry(self._groups.shown_as(parent), name, old.what.ino if old else None)

    def remove(self, entry: Entry) -> None:
        """Let a name show nothing."""
        self._database.write("DELETE FROM entries WHERE cookie = ?", (entry.cookie,))
        self._former[entry.parent, entry.name] = entry.cookie
        if len(self._former) > FORMER:
            self._former.popitem(last=False)
        self._step(entry.parent, entry.what.ino, -1)
        self.changes.entry(self._groups.shown_as(entry.parent), entry.name, entry.what.ino)

    def regroup(self, directory: int, others: Iterable[int]) -> None:
        """A directory is shown as one with these others now, or with these no longer."""
        self._folders[directory] = None
        for one in others:
            self._folders[one] = None
            self.changes.regrouped.add((directory, one))

    def count(self) -> None:
        """Bring the counts in step with the entries."""
        steps, self._steps = self._steps, {}
        for (parent, ino), step in steps.items():
            is_directory = self._nodes.must(ino).is_directory
            if is_directory:
                self._folders[ino] = None
            if step and self._is_shown(parent):
                self._add(parent if is_directory else ino, step)
        folders = set(map(self._groups.shown_as, self._folders))
        self._folders.clear()
        waiting = list(folders)
        while waiting:
            ino = waiting.pop()
            if ino in folders:
                above = self._above(ino)
                if above in folders:
                    waiting += (ino, above)
                else:
                    folders.discard(ino)
                    self._appear(ino, above is not None and self._is_shown(above))

    def _above(self, ino: int) -> int | None:
        row = self._database.read("SELECT parent FROM entries WHERE ino = ? LIMIT 1", (ino,))
        return None if row is None else self._groups.shown_as(row[0])

    def _is_shown(self, directory: int) -> bool:
        node = self._nodes.must(directory)
        return directory == ROOT_INO or (node.is_directory and node.nlink > 0)

    def _appear(self, directory: int, shown: bool) -> None:
        """Count what is in a directory from now on, or from now on no longer."""
        waiting = list(self._groups.of(directory))
        while waiting:
            ino = waiting.pop()
            if (self._nodes.must(ino).nlink > 0) == shown:
                continue
            folders = 0
            for (below,) in self._database.rows("SELECT ino FROM entries WHERE parent = ?", (ino,)):
                if self._nodes.must(below).is_directory:
                    folders += 1
                    waiting += self._groups.of(below)
                else:
                    self._add(below, 1 if shown else -1)
            self._nodes.set(ino, nlink=2 + folders if shown else 0)

    def _step(self, parent: int, ino: int, count: int) -> None:
        self._steps[parent, ino] = self._steps.get((parent, ino), 0) + count

    def _add(self, ino: int, count: int) -> None:
        self._nodes.set(ino, nlink=self._nodes.must(ino).nlink + count)

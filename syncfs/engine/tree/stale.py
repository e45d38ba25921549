"""What the kernel holds that is no longer right, where directories are shown as one.

A program may stand in a directory that has become one with another of the same name, which now stands for both. The
kernel keeps the old inode under that name, so that `getcwd` and relative paths go on working; `Volume` serves the
merged directory under every inode that belongs to it. So what changes in it has to be told for each of them.

Directories that become one, or part, may have any number of names, and each is news in the others. The first page of
them is told at once, the rest page by page while others have their turn.
"""

from collections.abc import Callable

import trio

from syncfs.engine.tree.posix import EntryChanged, InodeChanged, Invalidation
from syncfs.index.index import Changes, Index

PAGE = 500


class Stale:
    """Finds out what the kernel is to be told, and tells what is too much for one moment."""

    def __init__(self, index: Index, tell: Callable[[Invalidation], None]) -> None:
        self._index = index
        self._tell = tell
        self._rest: dict[tuple[int, int], int] = {}
        """By a directory and that of which it is told the names: after which cookie it goes on."""
        self._more = trio.Event()

    def names(self, changes: Changes) -> dict[tuple[int, bytes], int | None]:
        """The names (directory, name) that show something else than the kernel may think, and the inode they showed."""
        found: dict[tuple[int, bytes], int | None] = {}
        groups = self._index.nodes.groups
        for (parent, name), before in changes.entries.items():
            group = groups.of(parent)
            now = None if before is None else self._index.lookup(parent, name)
            if now is not None and before is not None and groups.shown_as(before) == now.ino:
                continue
            for one in group:
                found[one, name] = before
            for told, directory in self._rest:
                if directory in group:
                    found[told, name] = before
        return found

    def other_inodes(self, changes: Changes) -> set[int]:
        """The inodes of changed directories other than the one that changed."""
        return {one for ino in changes.nodes for one in self._index.nodes.groups.of(ino) if one != ino}

    def note(self, changes: Changes) -> None:
        """Directories became one, or parted: tell each the names of the other."""
        for pair in changes.regrouped:
            for told, directory in (pair, pair[::-1]):
                self._rest[told, directory] = 0
                self._tell_page(told, directory)

    async def run(self) -> None:
        """Tell the rest."""
        while True:
            await self._more.wait()
            while self._rest:
                self._tell_page(*next(iter(self._rest)))
                await trio.lowlevel.checkpoint()
            self._more = trio.Event()

    def _tell_page(self, told: int, directory: int) -> None:
        rows = self._index.database.rows(
            "SELECT e.cookie, e.name FROM entries e WHERE e.parent = ?1 AND e.cookie > ?2 "
            "AND NOT EXISTS (SELECT 1 FROM entries o WHERE o.parent = ?3 AND o.name = e.name) "
            "ORDER BY e.cookie LIMIT ?4",
            (directory, self._rest[told, directory], told, PAGE),
        )
        for _, name in rows:
            self._tell(EntryChanged(told, name))
        if len(rows) == PAGE:
            self._rest[told, directory] = rows[-1][0]
            self._more.set()
        else:
            del self._rest[told, directory]
            self._tell(InodeChanged(told, True))

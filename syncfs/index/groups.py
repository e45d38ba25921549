"""Which directories are shown as one.

Directories under one name are one directory to whoever looks; one of them stands for all (`model.directory`). Each
keeps its own rows all the same: what the one directory shows is what its members show together, and only a name that
several of them have is derived from the links in all. So to become one, or to part, costs no more than finding the
names in common.
"""

import stat

from syncfs.index.database import IndexDatabase


class Groups:
    """The directories of one index that are shown as one, kept in memory."""

    def __init__(self, database: IndexDatabase) -> None:
        self._database = database
        self._shown_as: dict[int, int] = {}
        self._members: dict[int, tuple[int, ...]] = {}
        self.forget_cached()

    def forget_cached(self) -> None:
        """Read again what is kept in memory, after a rollback."""
        self._shown_as.clear()
        self._members.clear()
        for ino, other in self._database.rows(
            "SELECT ino, view_of FROM nodes WHERE view_of IS NOT NULL AND kind = ?", (stat.S_IFDIR,)
        ):
            self.show_as(ino, other)

    def shown_as(self, directory: int) -> int:
        """The directory that stands for a directory, which is itself unless it is shown as one with another."""
        return self._shown_as.get(directory, directory)

    def of(self, directory: int) -> tuple[int, ...]:
        """The directories that are shown as one with a directory, that which stands for them first."""
        return self._members.get(self._shown_as.get(directory, directory)) or (directory,)

    def show_as(self, directory: int, other: int | None) -> None:
        """Let a directory be part of another, no longer of whatever it was part of; None: of none."""
        before = self._shown_as.pop(directory, None)
        if before is not None:
            left = tuple(one for one in self._members[before] if one != directory)
            if len(left) > 1:
                self._members[before] = left
            else:
                del self._members[before]
        if other is not None:
            self._shown_as[directory] = other
            self._members[other] = (*self._members.get(other, (other,)), directory)

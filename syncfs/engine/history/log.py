"""`log`: who did what when, told from the records themselves, newest first.

The log of a directory tells of everything that is or was in it, and of the directory itself. Paths are those of the
place at that time, below directories as they are called now (or were called last).
"""

from typing import Any

from syncfs.engine.history.finding import device_name, find
from syncfs.engine.replication.harm import GOING_ON, RESTORING
from syncfs.engine.replication.holding import ACCEPTED, UNDONE
from syncfs.index.index import ROOT_INO, Index
from syncfs.index.nodes import TIMES
from syncfs.model.reports import LogEntry, moment, shown_path

_TOLD = {
    "past_nodes": f"time > 0 AND grp != {TIMES}",
    "setting_changes": f"NOT (key LIKE '{RESTORING}%' AND value IN ('', '{GOING_ON}'))",
}
"""Which rows of these tables are something that happened; when a directory's entries changed is told by the entries."""


def log(index: Index, path: bytes, limit: int) -> list[LogEntry]:
    """The last `limit` things that happened at or below a path. Raises UsageError where there never was anything."""
    found = find(index, path)
    told = _Log(index, limit)
    return told.tell(None if found.ino == ROOT_INO else told.below(found.ino))


class _Log:
    def __init__(self, index: Index, limit: int) -> None:
        self._index = index
        self._limit = limit

    def below(self, ino: int) -> set[int]:
        """A node and all that is or ever was below it."""
        groups = self._index.nodes.groups
        inside = set(groups.of(ino))
        waiting = list(inside)
        while waiting:
            folder = waiting.pop()
            rows = self._index.database.rows(
                "SELECT ino FROM entries WHERE parent = ?1 UNION SELECT ino FROM past_links WHERE parent = ?1 "
                "UNION SELECT ino FROM links WHERE parent = ?1 AND deleted = 1",
                (folder,),
            )
            new = {one for (below,) in rows for one in groups.of(below)} - inside
            inside |= new
            waiting += new
        return inside

    def tell(self, inside: set[int] | None) -> list[LogEntry]:
        """The newest entries about these nodes (None: all)."""
        rows: list[tuple[bytes, str, Any]] = []
        rows += [(row[0], "version", row) for row in self._newest("stamp, time, ino, size", "versions", inside)]
        rows += [(row[0], "node", row) for row in self._newest("stamp, time, ino, grp", "past_nodes", inside)]
        if inside is None:
            rows += [
                (row[0], "setting", row) for row in self._newest("stamp, time, key, value", "setting_changes", None)
            ]
        for table in ("links", "past_links"):
            columns = "stamp, time, ino, link, parent, name, deleted"
            rows += [(row[0], "link", row) for row in self._newest(columns, table, inside)]
        rows.sort(key=lambda row: row[0], reverse=True)
        entries: list[LogEntry] = []
        told: set[bytes] = set()
        for stamp, what, row in rows:
            if len(entries) >= self._limit:
                break
            entry = self._entry(what, row)
            if entry is not None and stamp not in told:
                told.add(stamp)
                entries.append(entry)
        return entries

    def _newest(self, columns: str, table: str, inside: set[int] | None) -> list[Any]:
        where = _TOLD.get(table, "1")
        if inside is None:
            return self._index.database.rows(
                f"SELECT {columns} FROM {table} WHERE {where} ORDER BY stamp DESC LIMIT ?", (self._limit,)
            )
        rows: list[Any] = []
        for ino in inside:
            rows += self._index.database.rows(
                f"SELECT {columns} FROM {table} WHERE ino = ? AND {where} ORDER BY stamp DESC LIMIT ?",
                (ino, self._limit),
            )
        rows.sort(reverse=True)
        return rows[: self._limit]

    def _entry(self, what: str, row: Any) -> LogEntry | None:
        if what == "setting":
            return self._setting(*row)
        stamp, time, ino = row[:3]
        device, when = device_name(self._index, stamp), moment(time)
        if what == "version":
            return LogEntry(when, device, "write", self._path(ino), size=row[3], version=stamp.hex())
        if what == "node":
            return LogEntry(when, device, "attributes", self._path(ino))
        link, parent, name, deleted = row[3:]
        path = self._join(self._path_bytes(parent), name)
        before = self._before(link, stamp)
        if deleted:
            return LogEntry(when, device, "delete", path)
        if before is None:
            own = self._index.nodes.must(ino)
            return LogEntry(when, device, "create" if link == own.node else "link", path)
        if before[2]:
            return LogEntry(when, device, "restore", path)
        if (before[0], before[1]) == (parent, name):
            return None
        former = self._join(self._path_bytes(before[0]), before[1])
        return LogEntry(when, device, "rename", path, former)

    def _setting(self, stamp: bytes, time: int, key: str, value: str) -> LogEntry | None:
        """A change of a setting, or what a person did to the share and others were told by one."""
        if value.endswith(UNDONE) and key.startswith(ACCEPTED):
            return None
        if key.startswith(ACCEPTED):
            accepted = key.removeprefix(ACCEPTED)
            names = {device.hex(): name for device, name in self._index.feeds.device_names().items()}
            key, value = "accept", names.get(accepted) or accepted[:8]
        elif key.startswith(RESTORING):
            key, _, value = value.partition(" ")
        return LogEntry(moment(time), device_name(self._index, stamp), "setting", "", setting=key, value=value)

    def _before(self, link: bytes, stamp: bytes) -> Any:
        return self._index.database.read(
            "SELECT parent, name, deleted FROM past_links WHERE link = ? AND stamp < ? ORDER BY stamp DESC LIMIT 1",
            (link, stamp),
        )

    def _path(self, ino: int) -> str:
        return shown_path(self._path_bytes(ino))

    def _path_bytes(self, ino: int) -> bytes:
        """Where a node is, or was last."""
        names: list[bytes] = []
        while ino != ROOT_INO and len(names) < 1000:
            place = self._index.place_of(ino)
            if place is None:
                row = self._index.database.read(
                    "SELECT parent, name FROM links WHERE ino = ? ORDER BY stamp DESC LIMIT 1", (ino,)
                )
                if row is None:
                    break
                place = (row[0], row[1])
            ino = place[0]
            names.append(place[1])
        return b"/".join(reversed(names))

    @staticmethod
    def _join(above: bytes, name: bytes) -> str:
        return shown_path(above + b"/" + name if above else name)

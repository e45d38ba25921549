"""Undoing one device: everything it did since a time is put back, as new versions and records.

Of each thing that it changed and that nobody else has changed since, the state before comes back: the last record that
is not among its own since then. What others have built on its changes stays as it is and is counted as `kept`.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from syncfs.engine.putting import Putter
from syncfs.index.index import Index, VersionRow
from syncfs.index.nodes import MODE, OWNER, XATTRS
from syncfs.index.past import THINNED
from syncfs.model.ids import DeviceId, LinkId, Stamp, device_of
from syncfs.model.records import Owner


@dataclass(slots=True)
class Undone:
    """How many nodes and names were put back, and how many were left because others changed them since."""

    changed: int = 0
    kept: int = 0


def undo(index: Index, putter: Putter, device: DeviceId, since: int) -> Undone:
    """Put back what a device did since a time (ns since 1970); plain, nothing waits."""
    return _Undo(index, putter, device, since).run()


class _Undo:
    def __init__(self, index: Index, putter: Putter, device: DeviceId, since: int) -> None:
        self._index = index
        self._put = putter
        self._device = device
        self._since = since
        self._done = Undone()

    def run(self) -> Undone:
        before = self._put.changed
        for ino, group in self._select("SELECT DISTINCT ino, grp FROM past_nodes WHERE"):
            self._put_back_value(ino, group)
        for (ino,) in self._select("SELECT DISTINCT ino FROM versions WHERE"):
            self._put_back_content(ino)
        links = self._select("SELECT link, ino FROM links WHERE")
        for link, ino in links:
            self._put_back_link(LinkId(link), ino)
        self._done.changed = self._put.changed - before
        return self._done

    def _select(self, statement: str) -> list[Any]:
        return self._index.database.rows(
            f"{statement} substr(stamp, 9) = ? AND time >= ? ORDER BY stamp DESC", (self._device, self._since)
        )

    def _is_theirs(self, stamp: bytes, time: int) -> bool:
        return device_of(Stamp(stamp)) == self._device and time >= self._since

    def _put_back_value(self, ino: int, group: int) -> None:
        rows = self._index.database.rows(
            "SELECT stamp, time, value FROM past_nodes WHERE ino = ? AND grp = ? ORDER BY stamp DESC", (ino, group)
        )
        if not self._is_theirs(rows[0][0], rows[0][1]):
            self._done.kept += 1
            return
        value = next((row[2] for row in rows if not self._is_theirs(row[0], row[1])), None)
        if value is None:
            return
        node = self._index.nodes.must(ino)
        mode, owner, xattrs = node.mode, Owner(node.uid, node.gid, node.user, node.group), node.xattrs
        if group == MODE:
            mode = msgspec.msgpack.decode(value, type=int)
        elif group == OWNER:
            owner = msgspec.msgpack.decode(value, type=Owner)
        elif group == XATTRS:
            xattrs = msgspec.msgpack.decode(value, type=dict[bytes, bytes])
        self._put.attributes(node, mode, owner, xattrs)

    def _put_back_content(self, ino: int) -> None:
        node = self._index.nodes.must(ino)
        theirs = [
            head for head in node.all_heads if (row := self._index.version(head)) and self._is_theirs(head, row.time)
        ]
        if not theirs:
            self._done.kept += 1
            return
        target = self._last_before(theirs[0])
        if target is not None:
            self._put.content(node, target)

    def _last_before(self, head: Stamp) -> VersionRow | None:
        """The newest ancestor of a version that the device did not write since, and whose content is kept."""
        waiting, seen = [head], set[Stamp]()
        while waiting:
            waiting.sort()
            stamp = waiting.pop()
            version = self._index.version(stamp)
            if version is None or stamp in seen:
                continue
            seen.add(stamp)
            if not self._is_theirs(stamp, version.time) and version.depth != THINNED:
                return version
            waiting += version.parents
        return None

    def _put_back_link(self, link: LinkId, ino: int) -> None:
        row = self._index.database.read(
            "SELECT parent, name, deleted FROM past_links WHERE link = ? AND NOT (substr(stamp, 9) = ? AND time >= ?) "
            "ORDER BY stamp DESC LIMIT 1",
            (link, self._device, self._since),
        )
        if row is not None and not row[2]:
            self._put.link(link, ino, row[0], row[1])
            return
        node = self._index.nodes.must(ino)
        others = [head for head in node.all_heads if device_of(head) not in (self._device, self._own)]
        if others and row is None:
            self._done.kept += 1
        else:
            self._put.delete_link(link)

    @property
    def _own(self) -> bytes:
        return self._put.device

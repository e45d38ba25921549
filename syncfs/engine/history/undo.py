"""Undoing one device: everything it did since a time is put back, as new versions and records.

What the tree would be without it is derived (index/without.py), and every name that it had a hand in is made to show
that again. What others have built on its changes stays as it is and is counted as `kept`. From the top down each name
gets what it would show: the same node, wherever it is now; a conflict copy that was settled comes back as a file under
the copy's name. What is in the way steps aside, and what is left over goes at the end, when all else has its place.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import trio

from syncfs.engine.history.putting import Putter
from syncfs.index.database import Reader
from syncfs.index.index import ROOT_INO, Index
from syncfs.index.moment import ROOT_FOLDER, PastEntry, PastNode
from syncfs.index.nodes import TIMES, split_stamps
from syncfs.index.without import Without
from syncfs.model.ids import DeviceId, LinkId, Stamp, device_of


@dataclass(slots=True)
class Undone:
    """How many nodes and names were put back, and how many were left because others changed them since."""

    changed: int = 0
    kept: int = 0


async def undo(index: Index, putter: Putter, device: DeviceId, since: int) -> Undone:
    """Put back what a device did since a time (ns since 1970), as far as it is committed; others have their turns."""
    with index.database.reader() as rows:
        now, names = putter.now(), dict(index.feeds.device_names())
        look = await trio.to_thread.run_sync(_Look, rows, device, since, now, names)
        return await _Undo(index, putter, look).run()


class _Look:
    """What there is to undo, found out in a thread."""

    def __init__(
        self, rows: Reader, device: DeviceId, since: int, now: int, device_names: Mapping[DeviceId, str]
    ) -> None:
        self._rows = rows
        self._device = device
        self._since = since
        with rows.one_state():
            self.without = Without(rows, device, since, now, device_names)
            self.affected = self.without.affected()
            self.folders = self._folders_concerned()
            self.kept = self._left_to_others()

    def _folders_concerned(self) -> set[int]:
        """The directories in which a name may show something else, and all above them."""
        found = self.without.places()
        for ino in self.affected:
            rows = self._rows.rows("SELECT parent FROM entries WHERE ino = ?", (ino,))
            found.update(parent for (parent,) in rows)
            found.update(link.parent for link in self.without.links_of(ino))
        waiting = list(found)
        while waiting:
            above = self.without.directory_parent(waiting.pop())
            if above is not None and above not in found:
                found.add(above)
                waiting.append(above)
        return found

    def _left_to_others(self) -> int:
        """How many of the nodes that the device changed have been changed by others since."""
        count = len(self.without.kept)
        for ino in self.affected - self.without.kept:
            columns = self._rows.read("SELECT head, copies, hidden FROM nodes WHERE ino = ?", (ino,))
            heads = split_stamps(b"".join(column for column in columns if column is not None))
            versions = [
                stamp
                for stamp, time in self._rows.rows("SELECT stamp, time FROM versions WHERE ino = ?", (ino,))
                if self._is_theirs(stamp, time)
            ]
            built_on = versions and not any(stamp in heads for stamp in versions)
            # Times do not count: those of a directory change with all that anybody does in it.
            values = self._rows.rows(
                "SELECT grp, stamp, time FROM past_nodes WHERE ino = ? AND grp != ? ORDER BY stamp DESC", (ino, TIMES)
            )
            latest = {group: self._is_theirs(stamp, time) for group, stamp, time in reversed(values)}
            changed_over = any(self._is_theirs(stamp, time) and not latest[group] for group, stamp, time in values)
            count += bool(built_on or changed_over)
        return count

    def _is_theirs(self, stamp: bytes, time: int) -> bool:
        return device_of(stamp) == self._device and time >= self._since  # type: ignore[arg-type]


class _Undo:
    def __init__(self, index: Index, putter: Putter, look: _Look) -> None:
        self._index = index
        self._put = putter
        self._without = look.without
        self._affected = look.affected
        self._folders = look.folders
        self._kept = look.kept
        self._done: dict[int, set[bytes]] = {}
        self._copies: dict[Stamp | None, int] = {}

    async def run(self) -> Undone:
        before = self._put.changed
        if ROOT_INO in self._affected:
            self._set(
                PastEntry(b"", ROOT_INO, 0o040000, LinkId(self._index.nodes.must(ROOT_INO).node), ROOT_FOLDER), ROOT_INO
            )
        await self._fill(ROOT_FOLDER, ROOT_INO)
        for folder, names in self._done.items():
            await self._put.delete_in(folder, names)
        return Undone(self._put.changed - before, self._kept)

    async def _fill(self, folders: tuple[int, ...], ino: int) -> None:
        entries = await trio.to_thread.run_sync(self._without.entries, folders)
        self._done[ino] = {entry.name for entry in entries}
        for entry in entries:
            self._place(entry, ino)
            await self._put.pause()
        for entry in entries:
            if not self._folders.isdisjoint(entry.folders):
                shown = self._index.lookup(ino, entry.name)
                if shown is not None:
                    await self._fill(entry.folders, shown.ino)

    def _place(self, entry: PastEntry, parent: int) -> None:
        if self._is_there(entry, parent) or (self._step_aside(entry, parent) and self._is_there(entry, parent)):
            if entry.ino in self._affected and not entry.is_copy:
                row = self._index.link(entry.link)
                if row is not None and row.deleted:  # shown only because of something else, which may go
                    self._put.link(entry.link, entry.ino, parent, entry.name)
                self._set(entry, entry.ino)
            return
        past = self._without.node(entry)
        row = self._index.link(entry.link)
        if entry.is_copy or row is None or row.ino != entry.ino:
            made = self._copies.get(entry.head) if entry.is_copy else None
            if made is not None:  # the copy of a file with several names
                self._put.link_anew(made, parent, entry.name)
                return
            version = self._index.version(past.version) if past.version is not None else None
            self._copies[entry.head] = self._put.make(parent, entry.name, past, version)
            return
        for folder in entry.folders or (entry.ino,):
            link = LinkId(self._index.nodes.must(folder).node) if entry.folders else entry.link
            self._put.link(link, folder, parent, entry.name)
        self._set(entry, entry.ino, past)

    def _is_there(self, entry: PastEntry, parent: int) -> bool:
        """Whether a name shows what it is to show, but for content and attributes."""
        found = self._index.entry(parent, entry.name)
        if found is None:
            return False
        node, link, head = found
        if entry.is_copy:
            return head == entry.head and link.ino == entry.ino
        if head is not None or node.ino != entry.ino:
            return False
        return any(one.link == entry.link for one in self._index.links_behind(parent, entry.name))

    def _step_aside(self, entry: PastEntry, parent: int) -> bool:
        """Move away what has a name now; true if there was anything."""
        found = self._index.entry(parent, entry.name)
        if found is None:
            return False
        if self._put.is_new(found[1].ino):
            return False
        if found[2] is not None:
            self._put.drop_copy(found[0], found[2])
            return True
        for link in self._index.links_behind(parent, entry.name):
            aside = b".undoing-" + link.link.hex().encode()
            self._put.link(link.link, link.ino, parent, aside)
        return True

    def _set(self, entry: PastEntry, ino: int, known: PastNode | None = None) -> None:
        """Give a node the content and the attributes that it is to have."""
        past = known or self._without.node(entry)
        version = self._index.version(past.version) if past.version is not None else None
        if version is not None:
            beside = self._without.shown_heads(entry.ino)[1:]
            self._put.content(self._index.nodes.must(ino), version, past.mtime, beside)
        self._put.attributes(ino, past)

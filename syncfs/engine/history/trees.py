"""Putting back a whole tree: a directory, or the share, as it was at a moment.

From the top down each name gets what it showed then: the same node where that can be had (it was deleted, or is
elsewhere below the same place), else a copy, which shares its chunks. What was not there then is deleted at the end, so
that nothing that only moved is lost on the way.
"""

import trio

from syncfs.engine.history.putting import Putter
from syncfs.index.index import ROOT_INO, Index, VersionRow
from syncfs.index.moment import Moment, PastEntry, PastNode
from syncfs.model.ids import LinkId


class TreePutter:
    """Makes what is below one place as it was at a moment."""

    def __init__(self, index: Index, putter: Putter, moment: Moment) -> None:
        self._index = index
        self._put = putter
        self._moment = moment
        self._wanted: set[LinkId] = set()
        self._placed: dict[int, set[bytes]] = {}
        self._top = ROOT_INO

    async def put(self, entry: PastEntry, parent: int, name: bytes, *, copy: bool) -> None:
        """Put an old entry at a place, with all below it; a `copy` is made of new nodes, in an empty place."""
        if not copy:
            self._top = parent
            await trio.to_thread.run_sync(self._collect, entry)
        if entry.folders and entry.ino == ROOT_INO:
            self._put.attributes(ROOT_INO, self._moment.node(entry))
            await self._fill(entry, ROOT_INO, copy)
        else:
            await self._place(entry, parent, name, copy)
        for folder, names in list(self._placed.items()):
            if not copy and self._index.nodes.must(folder).nlink:
                await self._put.delete_in(folder, names)

    def _collect(self, entry: PastEntry) -> None:
        self._wanted.add(entry.link)
        for below in self._moment.entries(entry.folders) if entry.folders else ():
            self._collect(below)

    async def _fill(self, entry: PastEntry, ino: int, copy: bool) -> None:
        entries = await trio.to_thread.run_sync(self._moment.entries, entry.folders)
        self._placed[ino] = {below.name for below in entries}
        for below in entries:
            await self._place(below, ino, below.name, copy)
            await self._put.pause()

    async def _place(self, entry: PastEntry, parent: int, name: bytes, copy: bool) -> None:
        past = self._moment.node(entry)
        version = self._index.version(past.version) if past.version is not None else None
        ino = await self._own_place(entry, parent, name, past, version, copy)
        if version is not None:
            self._put.content(self._index.nodes.must(ino), version, past.mtime)
        if not copy:
            self._put.attributes(ino, past)
        if entry.folders:
            await self._fill(entry, ino, copy)

    async def _own_place(
        self, entry: PastEntry, parent: int, name: bytes, past: PastNode, version: VersionRow | None, copy: bool
    ) -> int:
        """The node that a name shows after its place was put in order."""
        there = self._index.entry(parent, name)
        if there is not None:
            node, link, head = there
            same_kind = node.kind == entry.kind and head is None
            if same_kind and (node.ino == entry.ino or (entry.folders and link.link not in self._wanted)):
                return node.ino
            if self._put.is_new(link.ino):
                pass
            elif link.link in self._wanted and head is None and not copy:
                aside = b".restoring-" + self._index.nodes.must(link.ino).node.hex().encode()
                self._put.link(link.link, link.ino, parent, aside)
            else:
                await self._put.delete(parent, name)
        row = self._index.link(entry.link)
        mine = not copy and not entry.is_copy and row is not None and row.ino == entry.ino
        if mine and row is not None and (row.deleted or self._is_within(row.parent)):
            self._put.link(entry.link, entry.ino, parent, name)
            return entry.ino
        return self._put.make(parent, name, past, version)

    def _is_within(self, ino: int) -> bool:
        at: int | None = ino
        while at is not None and at != self._top:
            at = self._index.parent_of(at)
        return at is not None

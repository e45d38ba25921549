"""What one place shows: the entries of a name in a directory, from the links that are shown there.

The common place has one link, of a node without conflict copies, and shows just that. Otherwise `model.directory`
decides, name by name; only the appearance of a real name that looks like a conflict name may touch other names.
"""

import stat
from collections import OrderedDict

from syncfs.index.copies import Copies
from syncfs.index.entries import Entry, EntryTable, What
from syncfs.index.feeds import Feeds
from syncfs.index.links import Link, LinkTable
from syncfs.index.nodes import NodeTable
from syncfs.model.directory import Candidate, Head, Shown, name_view
from syncfs.model.ids import NodeId, Stamp, device_of
from syncfs.model.names import MARK

Place = tuple[int, bytes]
"""A directory and a name."""


class Places:
    """Derives entries from shown links, for the places that are marked."""

    def __init__(self, nodes: NodeTable, links: LinkTable, entries: EntryTable, copies: Copies, feeds: Feeds) -> None:
        self._nodes = nodes
        self._links = links
        self._entries = entries
        self._copies = copies
        self._feeds = feeds
        # First in, first out: directories that were merged and then moved into each other seem to be a cycle until the
        # place further up is derived, and what is in a cycle could go on marking itself for ever.
        self._marked: OrderedDict[Place, None] = OrderedDict()
        self._merged: dict[int, frozenset[int]] = {}
        self.forget_cached()

    def forget_cached(self) -> None:
        """Forget what is marked, and read again what is kept in memory, after a rollback."""
        self._marked.clear()
        self._merged.clear()
        for ino, shown in self._nodes.merged():
            self._merged[shown] = self.merged_with(shown) | {ino}

    def merged_with(self, directory: int) -> frozenset[int]:
        """The directories that are shown as one with this one, and do not stand for it."""
        return self._merged.get(directory, frozenset())

    def mark(self, parent: int | None, name: bytes) -> None:
        """Something changed at a place, if it is one."""
        if parent is not None:
            self._marked[parent, name] = None

    def mark_odd(self) -> None:
        """The names of devices changed: mark all places that have conflict names."""
        for parent in self._entries.odd:
            for origin in self._entries.origins(parent):
                self._marked[parent, origin] = None

    @property
    def is_settled(self) -> bool:
        """Whether no place is marked."""
        return not self._marked

    def settle_one(self) -> None:
        """Derive again what one of the marked places shows."""
        (parent, name), _ = self._marked.popitem(last=False)
        links = self._links.at(parent, name)
        here = self._entries.at(parent, name)
        if parent not in self._entries.odd and len(links) <= 1 and self._are_plain(links):
            if links:
                self._entries.put(parent, name, What(links[0].ino, links[0].id), here)
            elif here is not None:
                self._entries.remove(parent, here)
            return
        real = here if here is not None and here.what.origin is None else None
        if MARK in name and (real is None) != (not links):
            for origin in self._entries.origins(parent):
                self.mark(parent, origin)
        before = [*self._entries.of_origin(parent, name), *([real] if real else [])]
        self._change(parent, name, {entry.name: entry for entry in before}, self._wanted(parent, links))

    def _are_plain(self, links: list[Link]) -> bool:
        node = self._nodes.must(links[0].ino) if links else None
        return node is None or (node.copies is None and node.view_of is None)

    def _change(self, parent: int, name: bytes, before: dict[bytes, Entry], wanted: dict[bytes, What]) -> None:
        for entry in before.values():
            if entry.name not in wanted:
                self._entries.remove(parent, entry)
        for shown_name, what in wanted.items():
            old = before.get(shown_name)
            # What another name showed here is marked, too, and goes elsewhere or vanishes.
            self._entries.put(parent, shown_name, what, old or self._entries.at(parent, shown_name))

    def _wanted(self, parent: int, links: list[Link]) -> dict[bytes, What]:
        by_link = {link.link: link for link in links}
        shown = name_view([self._candidate(link) for link in links], lambda name: self._links.any_at(parent, name))
        wanted: dict[bytes, What] = {}
        for entry in shown:
            link = by_link[entry.link]
            ino = link.ino
            if entry.head is not None:
                ino = self._copies.ino_of(self._nodes.must(ino), entry.head)
            wanted[entry.name] = What(ino, link.id, None if entry.name == entry.base else entry.base, entry.head)
            self._merge(link.ino, entry)
        return wanted

    def _merge(self, ino: int, entry: Shown) -> None:
        """Show the directories that an entry stands for as one."""
        if self._nodes.must(ino).is_directory:
            self.show_as(ino, None)
            for _, node in entry.merged:
                self.show_as(self._nodes.intern(node), ino)

    def show_as(self, directory: int, other: int | None) -> None:
        """Show a directory as one with another (None: by itself), with all links in it."""
        before = self._nodes.must(directory).view_of
        if before == other:
            return
        self._nodes.set(directory, view_of=other)
        if before is not None:
            self._merged[before] = self.merged_with(before) - {directory}
        if other is not None:
            self._merged[other] = self.merged_with(other) | {directory}
        for name in self._links.show_all(directory, before or directory, other or directory):
            self.mark(before or directory, name)
            self.mark(other or directory, name)

    def _candidate(self, link: Link) -> Candidate:
        node = self._nodes.must(link.ino)
        heads: tuple[Head, ...] = ()
        if node.kind == stat.S_IFREG and (node.copies is not None or link.deleted):
            heads = tuple(Head(head, self._author(head), self._copies.time_of(head)) for head in node.shown_heads)
        return Candidate(
            link.link, NodeId(node.node), link.name, node.kind, link.stamp, self._author(link.stamp), link.time,
            heads, bool(link.deleted),
        )  # fmt: skip

    def _author(self, stamp: Stamp) -> str:
        device = device_of(stamp)
        return self._feeds.device_names().get(device) or device.hex()[:8]

"""What one place shows: the entries of a name in a directory, from the links that are shown there.

A directory is here all those that are shown as one with it (groups.py). An entry is a row of that one of them which has
the link by which the name is kept.

The common place has one link, of a node without conflict copies, and shows just that. Otherwise `model.directory`
decides, name by name; only the appearance of a real name that looks like a conflict name may touch other names.
"""

import stat
from collections import OrderedDict
from collections.abc import Sequence

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

    def forget_cached(self) -> None:
        """Forget what is marked, after a rollback."""
        self._marked.clear()

    def mark(self, parent: int | None, name: bytes) -> None:
        """Something changed at a place, if it is one.

        The name may have been kept by any of the directories that are shown as one, and these may part before it is
        derived: it is marked in each of them.
        """
        if parent is not None:
            for one in self._nodes.groups.of(parent):
                self._marked[one, name] = None

    def mark_odd(self) -> None:
        """The names of devices changed: mark all places that have conflict names."""
        for parent in self._entries.odd:
            self._mark_origins(parent)

    @property
    def is_settled(self) -> bool:
        """Whether no place is marked."""
        return not self._marked

    def settle_one(self) -> None:
        """Derive again what one of the marked places shows."""
        (parent, name), _ = self._marked.popitem(last=False)
        group = self._nodes.groups.of(parent)
        for one in group:
            self._marked.pop((one, name), None)
        links = self._links.at(group, name)
        here = self._entries.at(group, name)
        if len(links) <= 1 and self._are_plain(links) and self._entries.odd.isdisjoint(group):
            for link in links:
                self._entries.put(link.parent, name, What(link.ino, link.id), here)
            for entry in () if links else here:
                self._entries.remove(entry)
            return
        real = [entry for entry in here if entry.what.origin is None]
        if MARK in name and bool(real) != bool(links):
            for one in group:
                self._mark_origins(one)
        wanted = self._wanted(group, links)
        if self._nodes.groups.of(parent) == group:
            self._change(group, [*self._entries.of_origin(group, name), *real], wanted)
        else:
            # A directory that came into one as which it was shown until now is part of it no longer.
            for one in group:
                self.mark(one, name)

    def _mark_origins(self, parent: int) -> None:
        for origin in self._entries.origins((parent,)):
            self.mark(parent, origin)

    def _are_plain(self, links: list[Link]) -> bool:
        node = self._nodes.must(links[0].ino) if links else None
        return node is None or (node.copies is None and node.view_of is None)

    def _change(self, group: Sequence[int], before: list[Entry], wanted: dict[bytes, tuple[int, What]]) -> None:
        for entry in before:
            if entry.name not in wanted:
                self._entries.remove(entry)
        for name, (parent, what) in wanted.items():
            # What another name showed here is marked, too, and goes elsewhere or vanishes.
            self._entries.put(parent, name, what, self._entries.at(group, name))

    def _wanted(self, group: Sequence[int], links: list[Link]) -> dict[bytes, tuple[int, What]]:
        by_link = {link.link: link for link in links}
        shown = name_view([self._candidate(link) for link in links], lambda name: self._links.any_at(group, name))
        wanted: dict[bytes, tuple[int, What]] = {}
        for entry in shown:
            link = by_link[entry.link]
            ino = link.ino
            if entry.head is not None:
                ino = self._copies.ino_of(self._nodes.must(ino), entry.head)
            origin = None if entry.name == entry.base else entry.base
            wanted[entry.name] = link.parent, What(ino, link.id, origin, entry.head)
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
        if self._nodes.must(directory).view_of == other:
            return
        groups = self._nodes.groups
        before = groups.of(directory)
        self._nodes.show_as(directory, other)
        others = set(before).symmetric_difference(groups.of(directory))
        self._entries.regroup(directory, others)
        for one in others:
            for name in self._links.common_names(directory, one):
                self.mark(directory, name)
                self.mark(one, name)
            self._mark_origins(one)
        self._mark_origins(directory)

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

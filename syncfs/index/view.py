"""The visible tree, kept in step with the records.

The records say where links are and what versions there are; from that follow, in this order, (1) where directories are
that were moved into each other (moves.py), (2) which links are shown: those of a node depend on each other, and a
directory on what lives in it, (3) what the names of each place show (odd.py), and with it which directories are shown
as one, and (4) how many names each node has (entries.py). Applying a record notes what it touched; `settle`, once for
each batch of records, follows from there until all is as `model.tree.full_view` would have it.
"""

import stat
from collections.abc import Collection, Sequence

from syncfs.index.changes import Changes
from syncfs.index.copies import Copies
from syncfs.index.database import IndexDatabase
from syncfs.index.entries import EntryTable
from syncfs.index.feeds import Feeds
from syncfs.index.links import Link, LinkTable
from syncfs.index.moves import Moves
from syncfs.index.nodes import Node, NodeTable, split_stamps
from syncfs.index.odd import Places
from syncfs.index.schema import ROOT_INO
from syncfs.index.versions import versions_for
from syncfs.model.ids import LinkId, NodeId, Stamp
from syncfs.model.merge import LinkEnd, directory_alive, node_view
from syncfs.model.versions import contents


class View:
    """Keeps `entries`, and what of `nodes` and `links` is derived, in step with the records."""

    def __init__(self, database: IndexDatabase, nodes: NodeTable, feeds: Feeds) -> None:
        self._database = database
        self._nodes = nodes
        self._links = LinkTable(database)
        self._entries = EntryTable(database, nodes)
        self._copies = Copies(database, nodes)
        self._places = Places(nodes, self._links, self._entries, self._copies, feeds)
        self._withdrawn: set[int] = set()
        self._moves = Moves(self._links, nodes, self._withdrawn)
        self._files: dict[int, None] = {}
        self._folders: dict[int, None] = {}
        self._heads: dict[int, tuple[Stamp, ...]] = {}
        self._buried: set[int] = set()
        self._revived = set(self._links.revived())

    def forget_cached(self) -> None:
        """Forget what was noted and read again what is kept in memory, after a rollback."""
        self._files.clear()
        self._folders.clear()
        self._heads.clear()
        self._buried.clear()
        self._withdrawn.clear()
        self._places.forget_cached()
        self._entries.forget_cached()
        self._moves.forget_cached()
        self._revived = set(self._links.revived())

    def take_changes(self) -> Changes:
        """What looks different since the last call."""
        changes, self._entries.changes = self._entries.changes, Changes()
        changes.nodes, self._nodes.changed = self._nodes.changed, set()
        return changes

    # --- what records touch -----------------------------------------------------------------------------------------

    def takes_new_names(self, parent: int) -> bool:
        """Whether a name that is free may be shown in a directory without a further look."""
        node = self._nodes.must(parent)
        return node.nlink > 0 and node.is_directory and parent not in self._buried

    def show_new(self, parent: int, name: bytes, ino: int, link: int) -> None:
        """The first link of a node was put into a directory that takes new names, and is noted as shown there."""
        if not self._entries.add_first(parent, name, ino, link):
            self._places.mark(parent, name)

    def touch(self, ino: int) -> None:
        """Something about a node or one of its links changed."""
        if self._nodes.must(ino).is_directory:
            self._folders[ino] = None
        else:
            self._files[ino] = None

    def touch_place_of(self, node: NodeId) -> None:
        """A directory came, went or was placed elsewhere."""
        self._moves.changed(node)

    @property
    def undoes_moves(self) -> bool:
        """Whether any directory is not where its record puts it."""
        return bool(self._moves.undone)

    def hide(self, ino: int, parent: int, name: bytes, shown_parent: int | None) -> None:
        """A link of a node, so far at this place, changes, and is noted as not shown until `settle`."""
        self.leave(parent, name, shown_parent)
        self.touch(ino)

    def leave(self, parent: int, name: bytes, shown_parent: int | None) -> None:
        """A link is noted as not shown at this place, where it may have been shown; its node is looked at elsewhere."""
        if shown_parent is not None:
            self._places.mark(shown_parent, name)
            self._left(parent)

    def enter(self, parent: int, name: bytes) -> None:
        """A link of a node that stands is noted as shown at this place."""
        self._places.mark(parent, name)
        self._entered(parent)

    def stands(self, node: Node) -> bool:
        """Whether a node that is no directory has names, and shows just those that are not deleted and its one head.

        Then a link that comes or changes says nothing about the others, as long as one is left (`has_names`).
        """
        return (
            node.nlink > 0 and node.kind != 0 and not node.is_directory and node.copies is None and node.hidden is None
            and node.ino not in self._files and node.ino not in self._revived and node.ino not in self._withdrawn
        )  # fmt: skip

    def has_names(self, ino: int, besides: Collection[LinkId] = ()) -> bool:
        """Whether a node has any link that is neither deleted nor among these."""
        return self._links.any_standing(ino, besides)

    def heads(self, node: Node) -> tuple[Stamp, ...]:
        """All heads of a file, the greatest stamp first."""
        return self._heads.get(node.ino) or node.all_heads

    def is_simple(self, node: Node) -> bool:
        """Whether a file shows its one head under its own names, whatever that head is."""
        return node.kind == stat.S_IFREG and self.stands(node)

    def set_head(self, ino: int, head: Stamp, size: int, mtime: int) -> None:
        """A simple file has another head."""
        self._nodes.set(ino, head=head, size=size, content_mtime=mtime)
        self._entries.changes.contents.add(ino)

    def set_heads(self, ino: int, heads: tuple[Stamp, ...]) -> None:
        """A file has these heads."""
        self._heads[ino] = heads
        self._files[ino] = None

    def make_real(self, node: Node) -> None:
        """A record speaks of the node that a conflict copy becomes when it is made a file of its own."""
        assert node.view_of is not None
        self._copies.make_real(node.ino)
        self._entries.changes.contents.add(node.ino)
        self.touch(node.view_of)

    def withdraw(self, node: Node) -> None:
        """The kind of a node is about to change: first, show nothing of it."""
        self._withdrawn.add(node.ino)
        if node.is_directory:
            self._moves.changed(node.node)
        self.touch(node.ino)
        self.settle()
        self._withdrawn.discard(node.ino)

    def devices_renamed(self) -> None:
        """Devices have other names: conflict names may be others."""
        self._places.mark_odd()

    # --- what follows from it ---------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Follow all that was touched until the visible tree is right."""
        while True:
            if not self._moves.is_settled:
                for link in self._moves.settle():
                    self.hide(link.ino, link.parent, link.name, link.shown_parent)
            elif self._files:
                self._derive(self._files.popitem()[0])
            elif self._folders:
                self._derive(self._folders.popitem()[0])
            elif not self._places.is_settled:
                self._places.settle_one()
            else:
                break
        self._entries.count()
        self._buried.clear()

    def _derive(self, ino: int) -> None:
        """Find out which links of a node are shown, and which heads."""
        node = self._nodes.must(ino)
        links = self._links.of_node(ino)
        shown = set(self._shown_folder(node, links) if node.is_directory else self._shown_file(node, links))
        revived = False
        for link in links:
            parent = link.parent if link.link in shown else None
            if parent is not None:
                revived |= bool(link.deleted)
            if parent != link.shown_parent:
                self._links.show(link.id, parent)
                self._places.mark(link.shown_parent, link.name)
                self._places.mark(parent, link.name)
                if link.shown_parent is None:
                    self._entered(link.parent)
                elif parent is None:
                    self._left(link.parent)
        if revived:
            self._revived.add(ino)
        else:
            self._revived.discard(ino)

    def _shown_folder(self, node: Node, links: Sequence[Link]) -> Sequence[bytes]:
        heads = self._heads.pop(node.ino, node.all_heads)
        if heads:
            self._show_heads(node, heads, ())
        if node.ino == ROOT_INO:
            return ()
        own = next((link for link in links if bytes(link.link) == node.node), None)
        if (
            own is not None and node.ino not in self._withdrawn
            and directory_alive(bool(own.deleted), not own.deleted or self._links.any_in(node.ino))
        ):  # fmt: skip
            return (own.link,)
        self._buried.add(node.ino)
        self._places.show_as(node.ino, None)
        return ()

    def _shown_file(self, node: Node, links: Sequence[Link]) -> Sequence[bytes]:
        heads = self._heads.pop(node.ino, None)
        if heads is None:
            heads = node.all_heads
        is_file = node.kind == stat.S_IFREG
        if node.ino in self._withdrawn or node.kind == 0:
            self._show_heads(node, heads, ())
            return ()
        ends = [LinkEnd(link.link, link.stamp, bool(link.deleted), split_stamps(link.seen)) for link in links]
        version_of = versions_for(node.ino, self._database.read)
        view = node_view(ends, heads if is_file else (), version_of)
        shown = view.heads
        if is_file and not view.links:
            shown = contents(heads, version_of)
        self._show_heads(node, heads, shown)
        if node.copies is not None or len(shown) > 1 or node.ino in self._revived:
            for link in links:
                self._places.mark(link.shown_parent, link.name)
        return view.links

    def _show_heads(self, node: Node, heads: Sequence[Stamp], shown: Sequence[Stamp]) -> None:
        head = shown[0] if shown else None
        copies = b"".join(shown[1:]) or None
        hidden = b"".join(one for one in heads if one not in shown) or None
        if (head, copies, hidden) == (node.head, node.copies, node.hidden):
            return
        size, mtime = node.size, node.content_mtime
        if head != node.head:
            self._entries.changes.contents.add(node.ino)
            size, mtime = 0, 0
            if head is not None:
                size, mtime = self._database.read("SELECT size, mtime FROM versions WHERE stamp = ?", (head,))
        self._nodes.set(node.ino, head=head, copies=copies, hidden=hidden, size=size, content_mtime=mtime)

    def _entered(self, directory: int) -> None:
        """A living link came into a directory, which may have been dead."""
        node = self._nodes.must(directory)
        if node.is_directory and (node.nlink == 0 or directory in self._buried):
            self._folders[directory] = None

    def _left(self, directory: int) -> None:
        """A living link went out of a directory, which may have lived by it."""
        if directory in self._revived and self._nodes.must(directory).is_directory:
            self._folders[directory] = None

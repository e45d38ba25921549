"""Moves of directories that would close a cycle are undone in the view; `model.moves` has the rule.

Which moves are undone follows from the records, and is kept in the rows of their links (`recorded_parent` is not NULL).
A change of one directory's place costs the depth of the tree, and nothing where the directory is new to all.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from syncfs.index.links import Link, LinkTable
from syncfs.index.nodes import NodeTable
from syncfs.index.schema import ROOT_INO
from syncfs.model.ids import NodeId
from syncfs.model.moves import Placement, Seat, resolve_moves


class Moves:
    """Knows which moves are undone."""

    def __init__(self, links: LinkTable, nodes: NodeTable, withdrawn: AbstractSet[int]) -> None:
        """`withdrawn` are nodes that count as not known."""
        self._links = links
        self._nodes = nodes
        self._withdrawn = withdrawn
        self._changed: dict[NodeId, None] = {}
        self.undone: dict[NodeId, Seat] = {}
        self.forget_cached()

    def forget_cached(self) -> None:
        """Read again what is kept in memory, after a rollback."""
        self._changed.clear()
        self.undone = {
            NodeId(link): Seat(self._nodes.must(parent).node, name) for link, parent, name in self._links.undone()
        }

    def changed(self, node: NodeId) -> None:
        """Note that a directory came, went or has another place."""
        self._changed[node] = None

    @property
    def is_settled(self) -> bool:
        """Whether nothing changed since `settle`."""
        return not self._changed

    def settle(self) -> Iterator[Link]:
        """Find out again which moves are undone, and put links where they take effect; tells these as they were."""
        changed, self._changed = self._changed, {}
        before, self.undone = self.undone, resolve_moves([*changed, *self.undone], self._placement)
        for node in {**before, **self.undone}:
            if (found := self._links.own(node)) is None:
                continue
            link, recorded_parent, recorded_name = found
            record = (link.parent, link.name) if recorded_name is None else (recorded_parent or 0, recorded_name)
            place = record
            if (seat := self.undone.get(node)) is not None:
                place = (self._nodes.intern(seat.parent), seat.name)
            if place != (link.parent, link.name):
                self._links.place(link.id, *place, None if place == record else record)
                yield link

    def _placement(self, node: NodeId) -> Placement | None:
        ino = self._nodes.ino_of(node)
        if ino is None or ino == ROOT_INO or ino in self._withdrawn or not self._nodes.must(ino).is_directory:
            return None
        row = self._links.record_of(node)
        if row is None or row.ino != ino:
            return None
        former = None
        if row.from_parent:
            former = Seat(self._nodes.must(row.from_parent).node, row.from_name or row.name)
        return Placement(row.stamp, Seat(self._nodes.must(row.parent).node, row.name), former)

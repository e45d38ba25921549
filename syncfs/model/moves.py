"""Where directories are when moves contradict each other.

Two devices may each move a directory into the other's (`mv a b/` here, `mv b a/` there); both records arrive, and the
two directories would hang in each other, out of everybody's sight. The rule: in each cycle the move with the greatest
stamp is undone. Its directory counts as being where it was before; where that is not known, or again part of a cycle in
which it is the greatest, it counts as being in the root.

The result does not depend on where one starts: a directory is in one place at a time, so cycles never share a member,
and undoing one leaves the others as they are. It ends, because every directory can be put back at most twice.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from syncfs.model.ids import ROOT_NODE, NodeId, Stamp


@dataclass(frozen=True, slots=True)
class Seat:
    """A place in the tree: a name in a directory."""

    parent: NodeId
    name: bytes


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the winning record of a directory's link puts it, and where it was before that (None: not told)."""

    stamp: Stamp
    seat: Seat
    former: Seat | None = None


def closes_cycle(node: NodeId, parent: NodeId, parent_of: Callable[[NodeId], NodeId | None]) -> bool:
    """Whether `node` in directory `parent` would be inside itself. Walks up from `parent`, where no cycle may be yet.

    `parent_of` gives None for the root and for a directory that is not known.
    """
    above: NodeId | None = parent
    while above is not None and above != node:
        above = parent_of(above)
    return above is not None


def resolve_moves(starts: Iterable[NodeId], placement_of: Callable[[NodeId], Placement | None]) -> dict[NodeId, Seat]:
    """The directories that are not where their record puts them, with the place where they are instead.

    `placement_of` gives None for whatever is no known directory with a link, and for the root. Only what is above the
    `starts` is walked, so an index pays for the depth of the tree and not for its size: when the placement of directory
    X was added, changed or withdrawn, the new result is `resolve_moves({X, *old_result}, …)`, because each cycle that
    was there before has a member in the old result. All directories as `starts` give the same.
    """
    undone: dict[NodeId, Seat] = {}
    settled: set[NodeId] = set()
    waiting = list(starts)
    while waiting:
        trail: dict[NodeId, Placement] = {}
        node = waiting[-1]
        while node not in settled and node not in trail and (placement := placement_of(node)) is not None:
            trail[node] = placement
            node = undone.get(node, placement.seat).parent
        if node in trail:
            members = list(trail)
            cycle = members[members.index(node) :]
            last = max(cycle, key=lambda member: trail[member].stamp)
            undone[last] = _put_back(trail[last], last in undone, placement_of)
        else:
            settled.update(trail)
            waiting.pop()
    return undone


def _put_back(placement: Placement, again: bool, placement_of: Callable[[NodeId], Placement | None]) -> Seat:
    former = placement.former
    if again or former is None or (former.parent != ROOT_NODE and placement_of(former.parent) is None):
        return Seat(ROOT_NODE, placement.seat.name)
    return former

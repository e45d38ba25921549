"""What the names in one directory show.

Each name is decided by itself, from the live links that bear it:

- directories under one name are one directory; the smallest node id stands for it (an id never changes, so neither a
  rename nor a chmod changes the identity of a directory that programs stand in);
- a directory keeps the name against anything else;
- of several other nodes the latest link keeps the name, as the latest edit does within one file, but a link that is
  only back because of an unseen edit goes behind all others;
- several links of one node under one name are one entry;
- whatever cannot have the name, and each shown head of a file but the main one, is beside it under a conflict name.

Real names go before conflict names: a conflict name that is taken counts on.
"""

import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from syncfs.model.ids import LinkId, NodeId, Stamp
from syncfs.model.names import conflict_name


@dataclass(frozen=True, slots=True)
class Head:
    """A head of a file, who wrote it (the device's name) and when (ns)."""

    stamp: Stamp
    device: str
    time: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A live link that wants to show `node` under `name`, its latest record by `device` at `time` (ns).

    `kind` is an S_IFMT value; `heads` are those of a file that are shown, the main head first (see `merge.node_view`);
    `revived` says that the link is deleted and only shown because of an unseen edit or live children.
    """

    link: LinkId
    node: NodeId
    name: bytes
    kind: int
    stamp: Stamp
    device: str
    time: int
    heads: Sequence[Head] = ()
    revived: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """An entry of a directory: `name` shows `node`; `head` is set where it shows another head than the main one.

    `base` is the name that the link's record gives. `merged` are further links and nodes that this entry stands for
    (directories of the same name, or links of the same node): what is done to the entry is done to each of them.
    """

    name: bytes
    base: bytes
    link: LinkId
    node: NodeId
    head: Stamp | None = None
    merged: tuple[tuple[LinkId, NodeId], ...] = ()
    revived: bool = False


@dataclass(frozen=True, slots=True)
class _Aside:
    """What gets a conflict name made of `device` and `time`."""

    stamp: Stamp
    device: str
    time: int
    entry: Shown


def directory_view(candidates: Iterable[Candidate]) -> list[Shown]:
    """All entries of a directory, by name, from all live links in it (in each of its nodes, where it is several).

    An index need not call this for each change: `name_view` of the one name that changed is enough, unless that name
    contains `names.MARK`.
    """
    groups: dict[bytes, list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(candidate.name, []).append(candidate)
    shown = [entry for group in groups.values() for entry in name_view(group, groups.__contains__)]
    return sorted(shown, key=lambda entry: entry.name)


def name_view(group: Sequence[Candidate], taken: Callable[[bytes], bool]) -> list[Shown]:
    """The entries that come from all live links of one name in one directory, the one that keeps the name first.

    `taken` tells whether any live link in the directory bears a name.
    """
    directories = sorted((one for one in group if stat.S_ISDIR(one.kind)), key=lambda one: (one.node, one.link))
    others = _one_per_node(one for one in group if not stat.S_ISDIR(one.kind))
    entries = [_entry(directories)] if directories else []
    aside: list[_Aside] = []
    for same_node in others:
        best = same_node[0]
        if entries:
            # A revived link was last touched by who deleted it; the copy is named after who edited.
            made = best.heads[0] if best.revived and best.heads else best
            aside.append(_Aside(made.stamp, made.device, made.time, _entry(same_node)))
        else:
            entries.append(_entry(same_node))
        aside += [
            _Aside(head.stamp, head.device, head.time, Shown(b"", best.name, best.link, best.node, head.stamp))
            for head in best.heads[1:]
        ]
    counts: dict[bytes, int] = {}
    for one in sorted(aside, key=lambda one: (one.stamp, one.entry.link)):
        entries.append(replace(one.entry, name=_free_name(one, counts, taken)))
    return entries


def _one_per_node(candidates: Iterable[Candidate]) -> list[list[Candidate]]:
    """The candidates of each node, in both lists the one that keeps the name first."""
    nodes: dict[NodeId, list[Candidate]] = {}
    for one in sorted(candidates, key=lambda one: (not one.revived, one.stamp, one.link), reverse=True):
        nodes.setdefault(one.node, []).append(one)
    return list(nodes.values())


def _entry(same: Sequence[Candidate]) -> Shown:
    first = same[0]
    merged = tuple((one.link, one.node) for one in same[1:])
    revived = all(one.revived for one in same)
    return Shown(first.name, first.name, first.link, first.node, None, merged, revived)


def _free_name(one: _Aside, counts: dict[bytes, int], taken: Callable[[bytes], bool]) -> bytes:
    """The first conflict name that neither a real name nor an earlier copy has; `counts` remembers the latter."""
    plain = conflict_name(one.entry.base, one.device, one.time)
    while True:
        counts[plain] = count = counts.get(plain, 0) + 1
        name = conflict_name(one.entry.base, one.device, one.time, count)
        if not taken(name):
            return name

"""Which versions of a file are current: its heads, and which contents they really bring.

The versions of a file are a set that only grows; each names the versions that it replaces, its parents. Those that no
other version of the file replaces are its heads. One head is the normal case, two are a conflict.

Not every second head is worth a conflict copy. A version with the content of one of its parents is a *repeat*: it says
nothing new about that content (it only drops its other parents, as the resolving of a conflict does, or nothing, as a
save without a change). So a repeat gives way to a head that goes on from the content that it repeats, and heads of
equal content are shown once.

Whoever writes a version names as parents the head that it comes from and all heads that are not shown, so that what was
hidden cannot come back later.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from syncfs.model.ids import NODE_BYTES, NodeId, Stamp


@dataclass(frozen=True, slots=True)
class Version:
    """The parents of a version, and bytes that are equal for equal content.

    A version that is `foreign` belongs to another file, such as the one from whose conflict copy this file was made. It
    can be repeated, but its parents are not told, and no deletion of this file has seen it: so what is shown of a file
    depends on its own versions and on those that they name, and on no others.
    """

    parents: Collection[bytes]
    content: bytes
    foreign: bool = False


VersionOf = Callable[[Stamp], Version | None]
"""Looks up a version for one file; None where it has not arrived."""


def replaced(stamp: Stamp, parents: Iterable[bytes]) -> set[Stamp]:
    """The versions that version `stamp` really replaces: those of its parents that are older.

    An honest device stamps a version later than all it has seen. Leaving out the others keeps the ancestry free of
    cycles whatever a hostile writer sends, so that a file with versions always has a head.
    """
    return {Stamp(parent) for parent in parents if parent < stamp}


def heads(versions: Mapping[Stamp, Collection[bytes]]) -> tuple[Stamp, ...]:
    """The heads of a file, the greatest stamp first, from all its known versions and their parents.

    Parents that are not known (not arrived yet) or belong to another file do no harm.
    """
    gone: set[Stamp] = set()
    for stamp, parents in versions.items():
        gone |= replaced(stamp, parents)
    return tuple(sorted(versions.keys() - gone, reverse=True))


def heads_after(
    before: Collection[Stamp], stamp: Stamp, parents: Collection[bytes], superseded: bool
) -> tuple[Stamp, ...]:
    """The heads of a file once version `stamp` has arrived, the greatest stamp first.

    `superseded` tells whether a known version of the same file replaces this one (see `replaced`): whoever keeps heads
    incrementally must keep the parents of every version, also of those whose content was thinned out of history.
    A version that comes twice changes nothing.
    """
    after = set(before) - replaced(stamp, parents)
    if not superseded:
        after.add(stamp)
    return tuple(sorted(after, reverse=True))


def contents(file_heads: Collection[Stamp], version_of: VersionOf) -> tuple[Stamp, ...]:
    """The heads that are shown, the main head first: without repeats that others go on from, and each content once.

    Looks nothing up where there is only one head, and the parents of each head where none repeats anything, however
    long the history is: a conflict may stay open while the file is saved a thousand times more.
    """
    if len(file_heads) <= 1:
        return tuple(file_heads)
    repeats = {head: _repeated(head, version_of) for head in file_heads}
    repeated = set().union(*repeats.values())
    new = [head for head in file_heads if not repeats[head]]
    history = (
        {version for head in new for version in _ancestors(head, min(repeated), version_of)} if repeated else set()
    )
    shown: dict[bytes, Stamp] = {}
    for head in sorted(file_heads, reverse=True):
        if history.isdisjoint(repeats[head]):
            version = version_of(head)
            shown.setdefault(version.content if version is not None else head, head)
    return tuple(shown.values())


def unseen(file_heads: Collection[Stamp], seen: Collection[bytes], version_of: VersionOf) -> tuple[Stamp, ...]:
    """Those of the shown heads whose content somebody who had seen the versions `seen` does not know."""
    missing = [head for head in contents(file_heads, version_of) if head not in seen]
    if not missing:
        return ()
    known = {
        version.content for stamp in seen if (version := version_of(Stamp(stamp))) is not None and not version.foreign
    }
    return tuple(head for head in missing if (version := version_of(head)) is None or version.content not in known)


def own_node(head: Stamp) -> NodeId:
    """The node that a conflict copy becomes when it is made a file of its own.

    It follows from the head, so that two devices that do it at the same time make one file and not two. The first
    version of the new file names the head as its parent: its history goes on, and it counts as a repeat.
    """
    return NodeId(blake2b(head, digest_size=NODE_BYTES, person=b"syncfs own node").digest())


def _repeated(head: Stamp, version_of: VersionOf) -> set[Stamp]:
    """The ancestors whose content a version repeats, without a change in between; empty where its content is new."""
    found: set[Stamp] = set()
    waiting = [head]
    while waiting:
        stamp = waiting.pop()
        if (version := version_of(stamp)) is None:
            continue
        for parent in replaced(stamp, version.parents) - found:
            if (before := version_of(parent)) is not None and before.content == version.content:
                found.add(parent)
                waiting.append(parent)
    return found


def _ancestors(head: Stamp, oldest: Stamp, version_of: VersionOf) -> set[Stamp]:
    """The ancestors of a version down to `oldest`; whatever is further back has smaller stamps."""
    found: set[Stamp] = set()
    waiting = [head]
    while waiting:
        stamp = waiting.pop()
        if stamp > oldest and (version := version_of(stamp)) is not None:
            parents = replaced(stamp, version.parents) - found
            found |= parents
            waiting += parents
    return found

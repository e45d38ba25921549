"""What wins: the merge rules for one field, one file's versions and one node's links.

Everything that peers show follows from the set of records they hold, never from the order of their arrival:

- of one field (a node's field group, a link, a setting) the greatest stamp wins (`newer`);
- versions of a file are a set; those that no other version replaces are its heads (`heads`), the greatest is the main
  head, which the file's name shows;
- a deleted name stays away, unless the file has a head that nobody who deleted it had seen (`live_links`);
- a deleted directory stays away, unless something in it lives (`directory_alive`).

Where moves contradict each other is decided in `model.moves`, what the names of a directory show in `model.directory`,
and the whole tree, the measure for everything incremental, in `model.tree`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from syncfs.model.ids import LinkId, Stamp


def newer(stamp: Stamp, current: Stamp | None) -> bool:
    """Whether what carries `stamp` replaces what carries `current` (None: there is nothing yet).

    Equal stamps are the same record come twice; a device that signs two records with one stamp has forked its feed,
    which is found where feeds are read.
    """
    return current is None or stamp > current


def replaced(stamp: Stamp, parents: Iterable[bytes]) -> set[Stamp]:
    """The versions that version `stamp` really replaces: those of its parents that are older.

    An honest device stamps a version later than all it has seen. Leaving out the others keeps the ancestry free of
    cycles whatever a hostile writer sends, so that a file with versions always has a head.
    """
    return {Stamp(parent) for parent in parents if parent < stamp}


def heads(versions: Mapping[Stamp, Collection[bytes]]) -> tuple[Stamp, ...]:
    """The heads of a file, the main head first, from all its known versions and their parents.

    Parents that are not known (not arrived yet) do no harm. The main head is the greatest stamp of all versions.
    """
    gone: set[Stamp] = set()
    for stamp, parents in versions.items():
        gone |= replaced(stamp, parents)
    return tuple(sorted(versions.keys() - gone, reverse=True))


def heads_after(
    before: Collection[Stamp], stamp: Stamp, parents: Collection[bytes], superseded: bool
) -> tuple[Stamp, ...]:
    """The heads once version `stamp` has arrived, the main head first.

    `superseded` tells whether a version that is already known replaces this one (see `replaced`): whoever keeps heads
    incrementally must keep the parents of every version, also of versions that have not arrived or were thinned out.
    A version that comes twice changes nothing.
    """
    after = set(before) - replaced(stamp, parents)
    if not superseded:
        after.add(stamp)
    return tuple(sorted(after, reverse=True))


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """What matters of a link's winning record to the life of its node."""

    link: LinkId
    stamp: Stamp
    deleted: bool
    seen: Collection[bytes] = ()


def live_links(links: Sequence[LinkEnd], file_heads: Iterable[Stamp]) -> tuple[LinkId, ...]:
    """Those of all links of one node (anything but a directory) that are shown.

    A link that is not deleted is shown. Where all are deleted, but the file has a head that none of the deletions had
    seen, the link that was deleted last is shown again, so that the edit is not lost. As long as another link shows the
    content there is nothing to save: `ln a b; rm a; edit b` must not bring `a` back.
    """
    standing = tuple(end.link for end in links if not end.deleted)
    if standing or not links:
        return standing
    seen = {stamp for end in links for stamp in end.seen}
    if all(head in seen for head in file_heads):
        return ()
    return (max(links, key=lambda end: end.stamp).link,)


def directory_alive(deleted: bool, has_live_children: bool) -> bool:
    """Whether a directory is shown, given whether anything in it is: up to the root, a live child keeps its place."""
    return not deleted or has_live_children

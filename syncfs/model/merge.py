"""What wins: the merge rules for a field, for the names of a node, and for a directory's life.

Everything that peers show follows from the set of records they hold, never from the order of their arrival:

- of one field (a node's field group, a link, a setting) the greatest stamp wins (`newer`);
- a deleted name stays away, unless the file has content that nobody who deleted it had seen (`node_view`);
- a deleted directory stays away, unless something in it lives (`directory_alive`).

Which versions of a file are current is decided in `model.versions`, where directories are when moves contradict each
other in `model.moves`, what the names of a directory show in `model.directory`, and the whole tree, the measure for
everything incremental, in `model.tree`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from syncfs.model.ids import LinkId, Stamp
from syncfs.model.versions import VersionOf, contents, unseen


def newer(stamp: Stamp, current: Stamp | None) -> bool:
    """Whether what carries `stamp` replaces what carries `current` (None: there is nothing yet).

    Equal stamps are the same record come twice; a device that signs two records with one stamp has forked its feed,
    which is found where feeds are read.
    """
    return current is None or stamp > current


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """What matters of a link's winning record to the life of its node, and what any deletion of the link had seen."""

    link: LinkId
    stamp: Stamp
    deleted: bool
    seen: Collection[bytes] = ()


@dataclass(frozen=True, slots=True)
class NodeView:
    """The links of a node that are shown, and the heads of a file that they show, the main head first."""

    links: tuple[LinkId, ...] = ()
    heads: tuple[Stamp, ...] = ()


def node_view(links: Sequence[LinkEnd], file_heads: Collection[Stamp], version_of: VersionOf) -> NodeView:
    """What is shown of a node that is no directory, from all its links and its heads (none, where it is no file).

    Links that are not deleted are shown. As long as there is one, a deleted link has nothing to save: `ln a b; rm a;
    edit b` must not bring `a` back. Where all are deleted, content that none of the deletions had seen is shown by the
    link that was deleted last, so that no edit is lost; what they had seen stays deleted. That goes for deletions that
    lost, too: who writes to a file and then deletes it does not get it back because somebody else deletes it as well.

    Where a name stands, a content that a deletion had seen does not come back beside one that none had seen.

    A device that deletes a link says which heads it had seen only where that is the last link that it knows; otherwise
    it removes a name and means no content. So two devices that each remove another of two names do not lose the file.
    """
    standing = tuple(end.link for end in links if not end.deleted)
    if not links or (standing and len(file_heads) < 2):
        return NodeView(standing, tuple(file_heads) if standing else ())
    left = unseen(file_heads, {stamp for end in links for stamp in end.seen}, version_of)
    if standing:
        return NodeView(standing, left or contents(file_heads, version_of))
    return NodeView((max(links, key=lambda end: end.stamp).link,), left) if left else NodeView()


def directory_alive(deleted: bool, has_live_children: bool) -> bool:
    """Whether a directory is shown, given whether anything in it is: up to the root, a live child keeps its place."""
    return not deleted or has_live_children

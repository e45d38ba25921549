"""Conflict copies as records: deleting one drops that head, renaming or writing it makes it a file of its own.

docs/merge.md lists what a device that writes such records owes the others.
"""

import stat
from collections.abc import Iterable

from syncfs.engine.feeds.feed import Feed
from syncfs.index.index import Index, VersionRow
from syncfs.model.ids import Stamp
from syncfs.model.records import Birth, LinkRecord, NodeRecord, Owner, Record, Times, VersionRecord
from syncfs.model.versions import own_node


def drop_head(index: Index, feed: Feed, ino: int, head: Stamp) -> VersionRecord:
    """The record that drops a conflicting head: a version with the main head's content that replaces both."""
    return resolve(index, feed, ino, index.shown_heads(ino)[0], (head,))


def prefer_head(index: Index, feed: Feed, ino: int, head: Stamp) -> VersionRecord:
    """The record that puts a conflicting head in the place of the main one."""
    return resolve(index, feed, ino, head, index.shown_heads(ino)[:1])


def resolve(index: Index, feed: Feed, ino: int, keep: Stamp, drop: Iterable[Stamp] = ()) -> VersionRecord:
    """A version with the content of `keep`, which replaces it, `drop`, and all heads that no name shows."""
    kept, node = _version(index, keep), index.nodes.must(ino).node
    parents = tuple(dict.fromkeys((keep, *index.hidden_heads(ino), *drop)))
    return VersionRecord(feed.tick(), feed.now(), node, parents, kept.size, kept.mtime, kept.depth, kept.body)


def found_copy(index: Index, feed: Feed, ino: int, head: Stamp, parent: bytes, name: bytes) -> list[Record]:
    """The file of its own that a head becomes, the same on every device that makes it."""
    old, kept = index.nodes.must(ino), _version(index, head)
    node, now = own_node(head), feed.now()
    birth, owner = Birth(stat.S_IFREG), Owner(old.uid, old.gid, old.user, old.group)
    return [
        NodeRecord(feed.tick(), now, node, birth, old.mode, owner, Times(old.atime, kept.mtime), old.xattrs),
        LinkRecord(feed.tick(), now, node, node, parent, name),
        VersionRecord(feed.tick(), now, node, (head,), kept.size, kept.mtime, kept.depth, kept.body),
    ]


def keep_head(index: Index, feed: Feed, ino: int, head: Stamp, parent: bytes, name: bytes) -> list[Record]:
    """The records that turn a conflicting head into a file of its own, and drop it as a head."""
    return [*found_copy(index, feed, ino, head, parent, name), drop_head(index, feed, ino, head)]


def _version(index: Index, stamp: Stamp) -> VersionRow:
    version = index.version(stamp)
    assert version is not None, stamp
    return version

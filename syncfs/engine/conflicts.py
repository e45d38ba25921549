"""What a person does to a conflict copy, as records: deleting it drops that head, renaming it keeps it as a file."""

import stat

from syncfs.engine.feed import Feed
from syncfs.index.index import Index, VersionRow
from syncfs.model.ids import Stamp
from syncfs.model.records import Birth, LinkRecord, NodeRecord, Owner, Record, Times, VersionRecord
from syncfs.model.versions import own_node


def drop_head(index: Index, feed: Feed, ino: int, head: Stamp) -> VersionRecord:
    """The record that drops a conflicting head: a version with the main head's content that replaces both."""
    main = _version(index, index.heads_of(ino)[0])
    node = index.nodes.must(ino).node
    return VersionRecord(
        feed.tick(), feed.now(), node, (main.stamp, head), main.size, main.mtime, main.depth, main.body
    )


def keep_head(index: Index, feed: Feed, ino: int, head: Stamp, parent: bytes, name: bytes) -> list[Record]:
    """The records that turn a conflicting head into a file of its own, the same on every device that does it."""
    old, kept = index.nodes.must(ino), _version(index, head)
    node, now = own_node(head), feed.now()
    owner = Owner(old.uid, old.gid, old.user, old.group)
    return [
        drop_head(index, feed, ino, head),
        NodeRecord(
            feed.tick(), now, node, Birth(stat.S_IFREG), old.mode, owner, Times(old.atime, kept.mtime), old.xattrs
        ),
        LinkRecord(feed.tick(), now, node, node, parent, name),
        VersionRecord(feed.tick(), now, node, (head,), kept.size, kept.mtime, kept.depth, kept.body),
    ]


def _version(index: Index, stamp: Stamp) -> VersionRow:
    version = index.version(stamp)
    assert version is not None, stamp
    return version

"""A directory that programs stand in while it becomes one with another of the same name."""

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio.testing

from syncfs.engine.opening import open_share
from syncfs.engine.setup import create_share
from syncfs.engine.share import Share
from syncfs.engine.tree.posix import AttributeChange, Caller, EntryChanged, InodeChanged, Invalidation, RenameFlags
from syncfs.engine.tree.stale import PAGE
from syncfs.model.errors import PosixError
from syncfs.model.ids import ROOT_NODE, DeviceId
from syncfs.model.records import Birth, LinkRecord, NodeRecord, Owner, Record, Times

ME = Caller(0, 0)
OTHER = DeviceId(b"another device..")
THEIRS = b"\0" * 15 + b"\1"
"""A node with so small an id that it stands for the merged directory."""


@pytest.fixture
async def share(tmp_path: Path) -> AsyncIterator[Share]:
    create_share(tmp_path, "s", {}, os.urandom)
    async with open_share(tmp_path, "s") as share:
        yield share


def apply(share: Share, *records: Record) -> None:
    share.index.apply(records, OTHER)
    share.volume.applied(share.index.take_changes(), own=False)
    assert share.feed is not None
    share.feed.witness(max(record.lamport for record in records))


def born(lamport: int, node: bytes, parent: bytes, name: bytes, kind: int) -> list[Record]:
    birth, owner = Birth(kind), Owner(0, 0)
    return [
        NodeRecord(lamport, 0, node, birth, 0o711, owner, Times(0, 0), {}),
        LinkRecord(lamport + 1, 0, node, node, parent, name),
    ]


def theirs_comes(share: Share) -> None:
    """They made the directory, too, and a file in it."""
    apply(share, *born(1000, THEIRS, ROOT_NODE, b"work", 0o040000), *born(1002, b"f" * 16, THEIRS, b"theirs", 0o100000))


async def test_what_is_done_in_it_is_done_in_the_merged_one(share: Share) -> None:
    volume = share.volume
    ours = volume.mkdir(1, b"work", 0o755, ME).ino
    volume.mknod(ours, b"before", 0o100644, 0, ME)
    theirs_comes(share)
    merged = volume.lookup(1, b"work").ino
    assert merged != ours

    made, handle = await volume.create(ours, b"after", 0o644, os.O_WRONLY, ME)
    await volume.release(handle)
    volume.mkdir(ours, b"inner", 0o755, ME)
    volume.symlink(ours, b"symlink", b"target", ME)
    volume.link(made.ino, ours, b"second")
    await volume.rename(ours, b"second", ours, b"renamed", RenameFlags.NONE)
    volume.unlink(ours, b"symlink")
    volume.rmdir(ours, b"inner")
    names = [b"after", b"before", b"renamed", b"theirs"]
    for directory in (ours, merged):
        assert sorted(entry.name for entry in volume.readdir(directory, 0)) == names
    assert volume.lookup(ours, b"theirs").ino == volume.lookup(merged, b"theirs").ino
    with pytest.raises(PosixError) as refused:
        volume.mkdir(ours, b"theirs", 0o755, ME)
    assert refused.value.errno == errno.EEXIST

    await volume.setattr(ours, AttributeChange(mode=0o700), None)
    volume.setxattr(ours, b"user.a", b"b", 0)
    assert volume.lookup(1, b"work").mode & 0o777 == volume.getattr(ours).mode & 0o777 == 0o700
    assert volume.getxattr(merged, b"user.a") == b"b"
    assert volume.parent(ours) == 1


async def test_when_the_merged_one_is_removed_it_is_gone(share: Share) -> None:
    ours = share.volume.mkdir(1, b"work", 0o755, ME).ino
    theirs_comes(share)
    share.volume.unlink(ours, b"theirs")
    share.volume.rmdir(1, b"work")
    with pytest.raises(PosixError) as refused:
        share.volume.mkdir(ours, b"late", 0o755, ME)
    assert refused.value.errno == errno.ENOENT


async def test_the_kernel_keeps_the_directory_and_is_told_what_else_is_in_it(share: Share) -> None:
    volume = share.volume
    told: list[Invalidation] = []
    volume.watch(told.append)
    ours = volume.mkdir(1, b"work", 0o755, ME).ino
    volume.mknod(ours, b"before", 0o100644, 0, ME)
    theirs_comes(share)
    merged = volume.lookup(1, b"work").ino
    names = [event for event in told if isinstance(event, EntryChanged)]
    assert not [event for event in names if (event.parent, event.name) in ((1, b"work"), (ours, b"before"))]
    assert {(event.parent, event.name) for event in names} >= {(ours, b"theirs"), (merged, b"before")}
    assert InodeChanged(ours, False) in told

    told.clear()
    volume.mknod(ours, b"after", 0o100644, 0, ME)
    assert {(event.parent, event.name) for event in told if isinstance(event, EntryChanged)} == {(merged, b"after")}
    told.clear()
    volume.mknod(merged, b"again", 0o100644, 0, ME)
    assert {(event.parent, event.name) for event in told if isinstance(event, EntryChanged)} == {(ours, b"again")}
    told.clear()
    await volume.setattr(merged, AttributeChange(mode=0o700), None)
    assert InodeChanged(ours, False) in told


async def test_names_that_the_other_one_had_before_are_told(share: Share) -> None:
    apply(share, *born(900, THEIRS, ROOT_NODE, b"elsewhere", 0o040000), *born(902, b"f" * 16, THEIRS, b"f", 0o100000))
    told: list[Invalidation] = []
    ours = share.volume.mkdir(1, b"work", 0o755, ME).ino
    share.volume.watch(told.append)
    apply(share, LinkRecord(1000, 0, THEIRS, THEIRS, ROOT_NODE, b"work", from_parent=ROOT_NODE, from_name=b"elsewhere"))
    assert EntryChanged(ours, b"f", None) in told


async def test_very_many_names_are_told_bit_by_bit(share: Share) -> None:
    count = 2 * PAGE + 7
    apply(share, *born(900, THEIRS, ROOT_NODE, b"elsewhere", 0o040000))
    files = [born(910 + 2 * number, b"%016d" % number, THEIRS, b"%d" % number, 0o100000) for number in range(count)]
    apply(share, *(record for records in files for record in records))
    ours = share.volume.mkdir(1, b"work", 0o755, ME).ino
    told: set[bytes] = set()

    def note(event: Invalidation) -> None:
        if isinstance(event, EntryChanged) and event.parent == ours:
            told.add(event.name)

    share.volume.watch(note)
    apply(share, LinkRecord(9000, 0, THEIRS, THEIRS, ROOT_NODE, b"work"))
    assert len(told) == PAGE
    await trio.testing.wait_all_tasks_blocked()
    assert told == {b"%d" % number for number in range(count)}

    told.clear()
    apply(share, LinkRecord(9001, 0, THEIRS, THEIRS, ROOT_NODE, b"elsewhere"))
    last = b"%016d" % (count - 1)
    apply(share, LinkRecord(9002, 0, last, last, THEIRS, b"%d" % (count - 1), True))
    await trio.testing.wait_all_tasks_blocked()
    assert told == {b"%d" % number for number in range(count)}


async def test_a_restart_knows_which_directories_are_one(share: Share, tmp_path: Path) -> None:
    ours = share.volume.mkdir(1, b"work", 0o755, ME).ino
    theirs_comes(share)
    share.index._forget_cached()
    assert set(share.index.nodes.groups.of(ours)) == {share.volume.lookup(1, b"work").ino, ours}
    assert share.volume.lookup(ours, b"theirs").ino

"""The volume's own rules, where the kernel sees them only now and then."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from syncfs.crypto.sealing import SEGMENT_NONCE_BYTES
from syncfs.engine.opening import open_share
from syncfs.engine.setup import create_share
from syncfs.engine.share import Share
from syncfs.engine.tree.posix import AttributeChange, Attributes, Caller, InodeChanged, Invalidation
from syncfs.engine.tree.volume import Volume
from syncfs.model.ids import ROOT_NODE, DeviceId, LinkId
from syncfs.model.records import INLINE, LinkRecord, VersionRecord
from syncfs.wire.head import SegmentRef
from syncfs.wire.segment import encode_segment

ME = Caller(0, 0)


@asynccontextmanager
async def volume_of(home: Path, new: bool = True) -> AsyncIterator[Volume]:
    if new:
        create_share(home, "s", {}, os.urandom)
    async with open_share(home, "s") as share:
        yield share.volume


async def new_file(volume: Volume, content: bytes = b"") -> Attributes:
    made, handle = await volume.create(1, b"file", 0o644, os.O_WRONLY, ME)
    if content:
        await volume.write(handle, 0, content)
    await volume.release(handle)
    return made


async def test_times_beyond_what_can_be_recorded_become_the_limit(tmp_path: Path) -> None:
    async with volume_of(tmp_path / "home") as volume:
        made = await new_file(volume)
        await volume.setattr(made.ino, AttributeChange(atime=-(2**80), mtime=2**80), None)
        await volume.flush()
    async with volume_of(tmp_path / "home", new=False) as volume:
        found = volume.lookup(1, b"file")
        assert (found.atime, found.mtime) == (-(2**63), 2**63 - 1)


async def test_emptying_an_empty_file_is_a_change(tmp_path: Path) -> None:
    async with volume_of(tmp_path / "home") as volume:
        made = await new_file(volume)
        await volume.setattr(made.ino, AttributeChange(mtime=5), None)
        opened = await volume.open(made.ino, os.O_WRONLY | os.O_TRUNC, 0)
        assert volume.getattr(made.ino).mtime > 5
        await volume.release(opened.handle)


async def test_the_generation_is_new_once_a_change_can_be_seen(tmp_path: Path) -> None:
    """What was listed while a write was under way must not count for what came of it."""
    async with volume_of(tmp_path / "home") as volume:
        made = await new_file(volume, bytes(3_000_000))
        opened = await volume.open(made.ino, os.O_RDWR, 0)
        before = volume.generation
        await volume.write(opened.handle, 5_000_000, b"end")
        written = volume.generation
        await volume.setattr(made.ino, AttributeChange(size=7), opened.handle)
        assert before < written < volume.generation
        await volume.release(opened.handle)


async def test_cutting_an_open_file_short_means_the_version_that_is_open(tmp_path: Path) -> None:
    create_share(tmp_path, "s", {}, os.urandom)
    async with open_share(tmp_path, "s") as share:
        volume = share.volume
        made = await new_file(volume, b"ours")
        await volume.flush()
        handle = (await volume.open(made.ino, os.O_RDWR, 0)).handle
        node, other = share.index.nodes.must(made.ino), DeviceId(b"o" * 16)
        theirs = VersionRecord(1000, 0, node.node, node.shown_heads, 9, 0, INLINE, b"elsewhere")
        share.index.apply([theirs], other)
        volume.applied(share.index.take_changes(), own=False)
        await volume.setattr(made.ino, AttributeChange(size=2), handle)
        assert bytes(await volume.read(handle, 0, 100)) == b"ou"
        await volume.release(handle)


def removed_elsewhere(share: Share, ino: int) -> None:
    """A peer that knows the file as it was settled takes its name."""
    node = share.index.nodes.must(ino)
    gone = LinkRecord(1000, 0, LinkId(node.node), node.node, ROOT_NODE, b"file", True, node.all_heads)
    share.index.apply([gone], DeviceId(b"o" * 16))
    share.volume.applied(share.index.take_changes(), own=False)
    assert share.index.lookup(1, b"file") is None


@pytest.mark.parametrize("flushed", [False, True])
async def test_a_file_removed_elsewhere_while_it_is_written_comes_back(tmp_path: Path, flushed: bool) -> None:
    create_share(tmp_path, "s", {}, os.urandom)
    async with open_share(tmp_path, "s") as share:
        volume = share.volume
        made = await new_file(volume, b"old" * 1000)
        await volume.flush()
        handle = (await volume.open(made.ino, os.O_RDWR, 0)).handle
        await volume.write(handle, 0, b"new")
        if flushed:
            await volume.fsync(handle, False)
            await volume.write(handle, 0, b"newest")
        removed_elsewhere(share, made.ino)
        await volume.fsync(handle, False)
        await volume.release(handle)
        await volume.flush()
        found = volume.lookup(1, b"file")
        handle = (await volume.open(found.ino, os.O_RDONLY, 0)).handle
        assert bytes(await volume.read(handle, 0, 6)) == (b"newest" if flushed else b"newold")


async def test_what_is_written_to_a_file_removed_here_goes_with_it(tmp_path: Path) -> None:
    create_share(tmp_path, "s", {}, os.urandom)
    async with open_share(tmp_path, "s") as share:
        volume = share.volume
        made = await new_file(volume, b"old")
        await volume.flush()
        handle = (await volume.open(made.ino, os.O_RDWR, 0)).handle
        volume.unlink(1, b"file")
        await volume.write(handle, 0, b"new")
        await volume.fsync(handle, False)
        await volume.release(handle)
        await volume.flush()
        assert not volume.readdir(1, 0)


async def test_a_version_made_here_replaces_the_one_opened_since(tmp_path: Path) -> None:
    create_share(tmp_path, "s", {}, os.urandom)
    async with open_share(tmp_path, "s") as share:
        volume, told = share.volume, list[Invalidation]()
        made = await new_file(volume, b"old")
        await volume.flush()
        first = (await volume.open(made.ino, os.O_RDWR, 0)).handle
        await volume.write(first, 0, b"ours")
        node = share.index.nodes.must(made.ino)
        theirs = VersionRecord(1000, 0, node.node, node.shown_heads, 6, 0, INLINE, b"theirs")
        assert share.feed is not None
        share.feed.witness(theirs.lamport)
        share.index.apply([theirs], DeviceId(b"o" * 16))
        volume.applied(share.index.take_changes(), own=False)
        second = (await volume.open(made.ino, os.O_RDONLY, 0)).handle
        volume.watch(told.append)
        await volume.release(first)
        await volume.flush()
        third = (await volume.open(made.ino, os.O_RDONLY, 0)).handle
        assert bytes(await volume.read(second, 0, 9)) == b"theirs"
        assert bytes(await volume.read(third, 0, 9)) == b"ours"
        assert InodeChanged(made.ino, True) in told


async def test_changes_of_a_peer_are_told_before_anything_else_can_happen(tmp_path: Path) -> None:
    create_share(tmp_path, "s", {}, os.urandom)
    async with open_share(tmp_path, "s") as share:
        made = await new_file(share.volume, b"old")
        await share.volume.flush()
        node, read = share.index.nodes.must(made.ino), share.member.keys.read
        assert read is not None
        device, told = DeviceId(b"o" * 16), list[Invalidation]()
        record = VersionRecord(1000, 0, node.node, node.shown_heads, 6, 0, INLINE, b"theirs")
        segment = encode_segment(read, device, 1, [record], [], [], bytes(SEGMENT_NONCE_BYTES))
        share.volume.watch(told.append)
        await share.replicator.applier.apply(device, SegmentRef(1, 1, segment.address, len(segment.data)), segment.data)
        assert InodeChanged(made.ino, True) in told


async def test_history_keeps_what_was_flushed_to_a_journal(tmp_path: Path) -> None:
    create_share(tmp_path, "s", {}, os.urandom)
    async with open_share(tmp_path, "s") as share:
        volume = share.volume
        made = await new_file(volume, b"old" * 3000)
        await volume.flush()
        for content in (b"first", b"second"):
            handle = (await volume.open(made.ino, os.O_RDWR, 0)).handle
            await volume.write(handle, 0, content)
            await volume.fsync(handle, False)
            await volume.write(handle, 20, content)
            await volume.fsync(handle, False)
            await volume.release(handle)
            await volume.flush()
        versions = [version.stamp for version in share.index.versions_of(made.ino)]
        asked = {stamp for (stamp,) in share.index.database.rows("SELECT stamp FROM asked")}
        assert asked == set(versions[:-1]) and len(asked) == 2


async def test_a_change_that_nobody_was_told_of_yet_is_not_in_sync(tmp_path: Path) -> None:
    create_share(tmp_path, "s", {}, os.urandom)
    async with open_share(tmp_path, "s") as share:
        await share.volume.flush()
        assert share.replicator.in_sync()
        share.volume.mkdir(1, b"new", 0o755, ME)
        assert not share.replicator.in_sync()
        await share.volume.flush()
        assert share.replicator.in_sync()

"""What a person does to a conflict copy, through the volume of a share."""

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from syncfs.engine.opening import open_share
from syncfs.engine.setup import create_share
from syncfs.engine.share import Share
from syncfs.engine.tree.posix import AttributeChange, Caller, RenameFlags
from syncfs.model.ids import DeviceId
from syncfs.model.records import INLINE, VersionRecord

ME = Caller(0, 0)
OTHER = DeviceId(b"another device..")


@pytest.fixture
async def share(tmp_path: Path) -> AsyncIterator[Share]:
    create_share(tmp_path, "s", {}, os.urandom)
    async with open_share(tmp_path, "s") as share:
        _, handle = await share.volume.create(1, b"file.txt", 0o640, os.O_WRONLY, ME)
        await share.volume.write(handle, 0, b"ours")
        await share.volume.release(handle)
        await share.flush()
        node = share.index.resolve(b"file.txt")
        assert node is not None
        now = time.time_ns()
        theirs = VersionRecord(10**6, now, node.node, (), 6, now, INLINE, b"theirs")
        share.index.apply([theirs], OTHER)
        assert share.feed is not None
        share.feed.witness(10**6)
        yield share


def names(share: Share) -> list[bytes]:
    return sorted(entry.name for entry in share.volume.readdir(1, 0))


def copy_of(share: Share) -> bytes:
    return next(name for name in names(share) if b"(conflict" in name)


async def content(share: Share, name: bytes) -> bytes:
    ino = share.volume.lookup(1, name).ino
    opened = await share.volume.open(ino, os.O_RDONLY, 0)
    found = bytes(await share.volume.read(opened.handle, 0, 100))
    await share.volume.release(opened.handle)
    return found


async def test_both_contents_are_shown(share: Share) -> None:
    assert len(names(share)) == 2
    assert await content(share, b"file.txt") == b"theirs"
    assert await content(share, copy_of(share)) == b"ours"


async def test_deleting_the_copy_keeps_the_file(share: Share) -> None:
    share.volume.unlink(1, copy_of(share))
    assert names(share) == [b"file.txt"]
    assert await content(share, b"file.txt") == b"theirs"


async def test_renaming_the_copy_makes_it_a_file(share: Share) -> None:
    await share.volume.rename(1, copy_of(share), 1, b"mine.txt", RenameFlags.NONE)
    assert names(share) == [b"file.txt", b"mine.txt"]
    assert await content(share, b"mine.txt") == b"ours"
    assert share.volume.lookup(1, b"mine.txt").mode & 0o777 == 0o640


async def test_renaming_the_copy_over_the_file_prefers_it(share: Share) -> None:
    await share.volume.rename(1, copy_of(share), 1, b"file.txt", RenameFlags.NONE)
    assert names(share) == [b"file.txt"]
    assert await content(share, b"file.txt") == b"ours"


async def test_a_copy_that_is_written_becomes_a_file_under_its_name(share: Share) -> None:
    name = copy_of(share)
    ino = share.volume.lookup(1, name).ino
    opened = await share.volume.open(ino, os.O_WRONLY, 0)
    await share.volume.write(opened.handle, 0, b"OURS")
    await share.volume.release(opened.handle)
    await share.flush()
    assert names(share) == sorted([b"file.txt", name])
    assert share.volume.lookup(1, name).ino == ino
    assert await content(share, name) == b"OURS"
    assert await content(share, b"file.txt") == b"theirs"


async def test_a_chmod_of_a_copy_leaves_the_file_alone(share: Share) -> None:
    ino = share.volume.lookup(1, copy_of(share)).ino
    await share.volume.setattr(ino, AttributeChange(mode=0o600), None)
    assert share.volume.lookup(1, b"file.txt").mode & 0o777 == 0o640
    assert share.volume.getattr(ino).mode & 0o777 == 0o600


async def test_deleting_the_file_leaves_the_copy(share: Share) -> None:
    name = copy_of(share)
    share.volume.unlink(1, b"file.txt")
    assert names(share) == [name]
    assert await content(share, name) == b"ours"


async def test_an_edit_of_the_file_leaves_the_copy(share: Share) -> None:
    opened = await share.volume.open(share.volume.lookup(1, b"file.txt").ino, os.O_WRONLY, 0)
    await share.volume.write(opened.handle, 0, b"newest")
    await share.volume.release(opened.handle)
    await share.flush()
    assert await content(share, b"file.txt") == b"newest"
    assert await content(share, copy_of(share)) == b"ours"

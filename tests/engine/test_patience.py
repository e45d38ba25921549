"""Who waits while much that was written is stored hears that it goes on."""

import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
import trio.testing

from syncfs.engine.chunks.cache import ChunkCache
from syncfs.engine.opening import open_share
from syncfs.engine.setup import create_share
from syncfs.engine.share import Limits, Share
from syncfs.engine.tree.posix import AttributeChange, Caller, RenameFlags
from syncfs.engine.writing.patience import MoreTime

KIB = 1024
MIB = 1024 * KIB
SIZE = 24 * MIB
LONGEST = 8 * MIB
"""No more than this may be stored between two signs of life; what one step stores and what waits beside it."""

Operation = Callable[[Share, int, int, MoreTime], Coroutine[Any, Any, object]]


async def rename(share: Share, ino: int, handle: int, more_time: MoreTime) -> None:
    await share.volume.rename(1, b"file", 1, b"other", RenameFlags(0), more_time)
    assert len(share.index.versions_of(ino)) == 1


async def truncate_while_a_version_is_made(share: Share, ino: int, handle: int, more_time: MoreTime) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(share.files.settle_node, ino)
        await trio.testing.wait_all_tasks_blocked()  # until it waits for the disk
        await share.volume.setattr(ino, AttributeChange(size=SIZE - 5), handle, more_time)


async def write_beyond_the_memory(share: Share, ino: int, handle: int, more_time: MoreTime) -> None:
    # Each write takes a place in memory, and the places of what lies in the journal are all that memory has room for.
    chance = Random(2)
    for _ in range(int(1.2 * MIB) // 300):
        await share.volume.write(handle, chance.randrange(SIZE), b"x", more_time)


@pytest.mark.parametrize("operation", [rename, truncate_while_a_version_is_made, write_beyond_the_memory])
async def test_who_waits_for_much_hears_that_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: Operation
) -> None:
    since, longest = 0, 0
    put = ChunkCache.put

    async def counted(self: ChunkCache, plains: list[bytes]) -> list[bytes]:
        nonlocal since
        entries = await put(self, plains)
        since += sum(map(len, plains))
        return entries

    def more_time() -> None:
        nonlocal since, longest
        longest = max(longest, since)
        since = 0

    create_share(tmp_path, "s", {}, os.urandom)
    async with open_share(tmp_path, "s", limits=Limits(dirty=MIB)) as share:
        made, handle = await share.volume.create(1, b"file", 0o644, os.O_RDWR, Caller(0, 0))
        for offset in range(SIZE - 128 * KIB, -1, -128 * KIB):
            await share.volume.write(handle, offset, os.urandom(128 * KIB - 1))
        assert share.store.stats().bytes < SIZE // 2, "what was written is to wait in the journal"
        monkeypatch.setattr(ChunkCache, "put", counted)
        await operation(share, made.ino, handle, more_time)
        more_time()
        assert share.store.stats().bytes > SIZE // 2
        assert 0 < longest <= LONGEST
        await share.volume.release(handle)


async def test_what_is_stored_is_flushed_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced, most = 0, 0
    put, sync = ChunkCache.put, ChunkCache.sync

    async def counted(self: ChunkCache, plains: list[bytes]) -> list[bytes]:
        nonlocal unsynced, most
        entries = await put(self, plains)
        unsynced += sum(map(len, plains))
        most = max(most, unsynced)
        return entries

    async def synced(self: ChunkCache) -> None:
        nonlocal unsynced
        await sync(self)
        unsynced = 0

    create_share(tmp_path, "s", {}, os.urandom)
    async with open_share(tmp_path, "s", limits=Limits(dirty=MIB)) as share:
        _, handle = await share.volume.create(1, b"file", 0o644, os.O_RDWR, Caller(0, 0))
        for offset in range(80 * MIB, -1, -MIB // 2):
            await share.volume.write(handle, offset, os.urandom(MIB // 2 - 1))
        monkeypatch.setattr(ChunkCache, "put", counted)
        monkeypatch.setattr(ChunkCache, "sync", synced)
        await share.volume.flush()
        assert 32 * MIB <= most <= 48 * MIB
        await share.volume.release(handle)

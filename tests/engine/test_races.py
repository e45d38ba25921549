"""What happens to a file while something else about it waits for a disk or a peer."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
import trio.testing

from syncfs.engine.chunks.cache import ChunkCache
from syncfs.engine.chunks.content import Content
from syncfs.engine.opening import open_share
from syncfs.engine.setup import create_share
from syncfs.engine.tree.posix import AttributeChange, Caller, RenameFlags
from syncfs.model.chunking import chunk_start
from syncfs.store.journal import Journal

ME = Caller(0, 0)


@dataclass
class Gate:
    """Where the first caller waits until it is opened."""

    reached: trio.Event = field(default_factory=trio.Event)
    open: trio.Event = field(default_factory=trio.Event)


def hold_first(monkeypatch: pytest.MonkeyPatch, name: str) -> Gate:
    """From now on, the first call of a method of ChunkCache waits at a gate."""
    gate, method = Gate(), getattr(ChunkCache, name)

    async def held(self: ChunkCache, *words: object) -> object:
        if not gate.reached.is_set():
            gate.reached.set()
            await gate.open.wait()
        return await method(self, *words)

    monkeypatch.setattr(ChunkCache, name, held)
    return gate


async def test_a_version_made_while_a_truncation_waits_does_not_undo_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_share(tmp_path, "s", {}, os.urandom)
    content = os.urandom(100_000)
    async with open_share(tmp_path, "s") as share:
        volume = share.volume
        made, handle = await volume.create(1, b"file", 0o644, os.O_RDWR, ME)
        await volume.write(handle, 0, content)
        await volume.flush()
        gate = hold_first(monkeypatch, "plain")
        async with trio.open_nursery() as nursery:
            await volume.write(handle, 10, b"x")
            nursery.start_soon(volume.setattr, made.ino, AttributeChange(size=60_000), handle)
            await gate.reached.wait()
            with trio.move_on_after(0.5):  # it waits for the truncation, or is done at once
                await volume.flush()
            gate.open.set()
        assert volume.getattr(made.ino).size == 60_000
        await volume.flush()
        expected = content[:10] + b"x" + content[11:60_000]
        assert bytes(await volume.read(handle, 0, 200_000)) == expected
        await volume.release(handle)


async def test_what_was_sealed_while_a_version_was_made_is_in_what_the_next_fsync_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, left = tmp_path / "home", tmp_path / "left"
    create_share(home, "s", {}, os.urandom)
    content, block = os.urandom(1_000_000), os.urandom(chunk_start(1))
    expected = block + content[len(block) : 500_000] + b"x" + content[500_001:]
    async with open_share(home, "s") as share:
        volume = share.volume
        _, handle = await volume.create(1, b"file", 0o644, os.O_RDWR, ME)
        await volume.write(handle, 0, content)
        await volume.flush()
        await volume.write(handle, 10, b"something for a version to be made of")
        gate = hold_first(monkeypatch, "sync")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(volume.flush)
            await gate.reached.wait()
            await volume.write(handle, 0, block)
            await trio.testing.wait_all_tasks_blocked(0.05)
            gate.open.set()
        await volume.write(handle, 500_000, b"x")
        await volume.fsync(handle, False)
        shutil.copytree(home, left, symlinks=True)
        await volume.release(handle)
    async with open_share(left, "s") as share:
        volume = share.volume
        handle = (await volume.open(volume.lookup(1, b"file").ino, os.O_RDONLY, 0)).handle
        found = b"".join([bytes(await volume.read(handle, at, 100_000)) for at in range(0, 1_000_000, 100_000)])
        assert found == expected
        await volume.release(handle)


async def test_a_journal_is_on_the_disk_only_after_the_version_and_the_name_that_it_goes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, left = tmp_path / "home", tmp_path / "left"
    create_share(home, "s", {}, os.urandom)
    content = os.urandom(1_000_000)
    sync = Journal.sync

    def crash_behind(journal: Journal) -> None:
        sync(journal)
        shutil.copytree(home, left, symlinks=True)

    async with open_share(home, "s") as share:
        volume = share.volume
        _, handle = await volume.create(1, b"former", 0o644, os.O_RDWR, ME)
        await volume.fsync(handle, False)
        monkeypatch.setattr("syncfs.engine.feeds.feed.GATHER_SECONDS", 3600)  # nothing is durable unless somebody asks
        await volume.write(handle, 0, content)
        await volume.rename(1, b"former", 1, b"file", RenameFlags.NONE)
        await volume.write(handle, 500_000, b"x")
        with monkeypatch.context() as crashing:
            crashing.setattr(Journal, "sync", crash_behind)
            await volume.fsync(handle, False)
        await volume.release(handle)
    monkeypatch.undo()
    async with open_share(left, "s") as share:
        volume = share.volume
        assert share.files.failure == ""
        handle = (await volume.open(volume.lookup(1, b"file").ino, os.O_RDONLY, 0)).handle
        found = b"".join([bytes(await volume.read(handle, at, 100_000)) for at in range(0, 1_000_000, 100_000)])
        assert found == content[:500_000] + b"x" + content[500_001:]
        await volume.release(handle)


async def test_a_chunk_that_is_replaced_while_its_version_is_made_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_share(tmp_path, "s", {}, os.urandom)
    content = os.urandom(1_000_000)
    async with open_share(tmp_path, "s") as share:
        volume = share.volume
        made, handle = await volume.create(1, b"file", 0o644, os.O_RDWR, ME)
        await volume.write(handle, 100, content[100:])  # all but the first chunk is whole
        await trio.testing.wait_all_tasks_blocked(0.2)
        gate = hold_first(monkeypatch, "sync")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(volume.flush)
            await gate.reached.wait()
            await volume.write(handle, 0, os.urandom(chunk_start(1)))
            await trio.testing.wait_all_tasks_blocked(0.05)
            gate.open.set()
        await share.collector.drop_given_up()
        first = share.index.versions_of(made.ino)[-1]
        found = await Content(first.size, first.depth, first.body, share.chunks).read(0, 1_000_000)
        assert bytes(found) == bytes(100) + content[100:]
        await volume.release(handle)

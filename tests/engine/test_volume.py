"""The volume's own rules, where the kernel sees them only now and then."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from syncfs.engine.posix import AttributeChange, Attributes, Caller
from syncfs.engine.setup import create_share
from syncfs.engine.share import open_share
from syncfs.engine.volume import Volume
from syncfs.model.ids import DeviceId
from syncfs.model.records import INLINE, VersionRecord

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

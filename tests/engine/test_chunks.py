"""Chunks that are said to be here."""

import os
from pathlib import Path

import pytest

from syncfs.engine.checking import check_open_share
from syncfs.engine.opening import open_share
from syncfs.engine.setup import create_share
from syncfs.engine.share import Share
from syncfs.engine.tree.posix import Caller

ME = Caller(0, 0)


async def save(share: Share, name: bytes, content: bytes) -> None:
    """Write a file and have it acknowledged."""
    _, handle = await share.volume.create(1, name, 0o644, os.O_WRONLY, ME)
    await share.volume.write(handle, 0, content)
    await share.volume.fsync(handle, False)
    await share.volume.release(handle)


@pytest.mark.parametrize("size", [5_000, 100_000])
async def test_after_a_loss_of_power_a_chunk_is_written_again_unless_it_is_good(tmp_path: Path, size: int) -> None:
    """The index may tell of a chunk whose bytes never reached the disk: that must not count as stored."""
    create_share(tmp_path, "s", {}, os.urandom)
    content = os.urandom(size)
    async with open_share(tmp_path, "s") as share:
        await save(share, b"first", content)
        directory = share.member.directory
    pack = directory / "packs/000001.pack"
    os.truncate(pack, pack.stat().st_size // 2)
    (directory / "store.open").touch()
    async with open_share(tmp_path, "s") as share:
        await save(share, b"second", content)
        assert not (await check_open_share(share, repair=False)).problems

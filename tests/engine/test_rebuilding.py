"""A damaged index is remade from the feeds, and a lost feed of our own is not written to."""

import os
from pathlib import Path

import pytest

from syncfs.engine.checking import check_closed
from syncfs.engine.posix import Caller, RenameFlags
from syncfs.engine.rebuilding import rebuild_index
from syncfs.engine.setup import create_share, open_member
from syncfs.engine.share import Share, open_share
from syncfs.model.errors import PosixError

ME = Caller(0, 0)
CONTENT = os.urandom(300_000)


async def fill(share: Share) -> None:
    volume = share.volume
    folder = volume.mkdir(1, b"folder", 0o750, ME)
    for number in range(30):
        _, handle = await volume.create(folder.ino, b"file%d" % number, 0o640, os.O_WRONLY, ME)
        await volume.write(handle, 0, CONTENT[: 3000 * number])
        await volume.release(handle)
    await share.flush()
    await volume.rename(folder.ino, b"file1", 1, b"moved", RenameFlags.NONE)
    volume.unlink(folder.ino, b"file2")


async def tree_of(share: Share, ino: int = 1, path: bytes = b"") -> dict[bytes, object]:
    found: dict[bytes, object] = {}
    for entry in share.volume.readdir(ino, 0):
        below = path + b"/" + entry.name
        shown = entry.attributes
        content = b""
        if shown.mode & 0o170000 == 0o100000:
            opened = await share.volume.open(shown.ino, os.O_RDONLY, 0)
            content = bytes(await share.volume.read(opened.handle, 0, shown.size))
            await share.volume.release(opened.handle)
        else:
            found |= await tree_of(share, shown.ino, below)
        found[below] = (shown.mode, shown.size, shown.mtime, content)
    return found


async def make(home: Path) -> dict[bytes, object]:
    create_share(home, "s", {}, os.urandom)
    async with open_share(home, "s") as share:
        await fill(share)
        await share.flush()
        return await tree_of(share)


async def test_a_rebuilt_index_shows_the_same_tree_and_can_be_written(tmp_path: Path) -> None:
    before = await make(tmp_path)
    aside = rebuild_index(open_member(tmp_path, "s"))
    assert aside is not None and aside.exists()
    async with open_share(tmp_path, "s") as share:
        assert await tree_of(share) == before
        share.volume.mkdir(1, b"new", 0o755, ME)
    assert (await check_closed(tmp_path, "s", repair=False)).clean


async def test_what_is_derived_may_be_damaged(tmp_path: Path) -> None:
    before = await make(tmp_path)
    member = open_member(tmp_path, "s")
    async with open_share(tmp_path, "s") as share:
        share.index.database.write("DELETE FROM entries WHERE cookie % 2 = 0")
        share.index.database.write("UPDATE nodes SET nlink = 7, size = 1")
    assert not (await check_closed(tmp_path, "s", repair=False)).clean
    rebuild_index(member)
    async with open_share(tmp_path, "s") as share:
        assert await tree_of(share) == before


async def test_without_its_own_feed_a_device_only_reads(tmp_path: Path) -> None:
    await make(tmp_path)
    member = open_member(tmp_path, "s")
    (member.directory / "index.db").write_bytes(os.urandom(100_000))
    rebuild_index(member)
    async with open_share(tmp_path, "s") as share:
        assert "read-only until a peer" in share.problem
        with pytest.raises(PosixError, match="Read-only"):
            share.volume.mkdir(1, b"new", 0o755, ME)
    (problem,) = (await check_closed(tmp_path, "s", repair=False)).problems
    assert (problem.kind, problem.repaired) == ("feed", False) and "until a peer" in problem.message

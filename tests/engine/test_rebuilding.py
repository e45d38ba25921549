"""A damaged index is remade from the feeds, and a lost feed of our own is not written to."""

import os
from pathlib import Path

import pytest

from syncfs.engine.checking import check_closed
from syncfs.engine.feeds.feed import OWN_FEED_LOST
from syncfs.engine.opening import open_share
from syncfs.engine.rebuilding import rebuild_index
from syncfs.engine.service import RunningShare
from syncfs.engine.setup import create_share, open_member
from syncfs.engine.share import Share
from syncfs.engine.tree.posix import Caller, RenameFlags
from syncfs.model.errors import PosixError, UsageError
from tests.engine.nodes import Nodes, place_of, share_of, tell, tree, write
from tests.simulation.node import Node

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


async def lose_index(nodes: Nodes, node: Node, *, killed: bool = False) -> None:
    """End a node and remove its index."""
    if killed:
        node.crash(power=False)
        nodes.all.remove(node)
    else:
        await nodes.away(node)
    for path in node.home.glob("shares/*/index.db*"):
        path.unlink()


def sequence(node: Node) -> int:
    """The number of the last record of a node's feed."""
    feed = share_of(node).feed
    assert feed is not None
    return feed.sequence


def is_writable(node: Node) -> bool:
    feed = share_of(node).feed
    return feed is not None and feed.may_write


def goes_on(*nodes: Node) -> None:
    """Nobody has anything to complain of."""
    for node in nodes:
        share = share_of(node)
        assert (share.problem, share.replicator.last_refusal, share.replicator.forks.reasons) == ("", "", [])


def test_a_feed_that_a_peer_has_told_goes_on_without_a_restart(tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        one, two = await nodes.add(), await nodes.add()
        await write(one, "folder/by one", b"1")
        await write(two, "folder/by two", b"2")
        await nodes.rest()
        before, device = sequence(one), share_of(one).member.identity.id
        await nodes.away(two)
        await lose_index(nodes, one)
        await nodes.back(one)
        assert "read-only until a peer" in share_of(one).problem
        with pytest.raises(PosixError, match="Read-only"):
            share_of(one).volume.mkdir(1, b"new", 0o755, ME)
        with pytest.raises(UsageError, match="read-only until a peer"):
            await RunningShare(share_of(one), None).collect()
        with pytest.raises(UsageError, match="must not write"):
            await RunningShare(share_of(one), None).configure("retention", "all=1h")

        await nodes.back(two)
        await nodes.rest(lambda: is_writable(one))
        assert sequence(one) >= before
        await write(one, "folder/later", b"3")
        await nodes.rest()
        assert share_of(two).index.feeds.applied()[device] == sequence(one) > before
        assert await tree(one) == await tree(two)
        goes_on(one, two)
        assert (await RunningShare(share_of(one), None).check(repair=False)).clean

        await nodes.restart(one)
        await write(one, "folder/after a restart", b"4")
        await nodes.rest()
        assert await tree(one) == await tree(two)
        goes_on(one, two)

    tell(tmp_path, story)


def test_what_another_peer_knows_more_of_a_lost_feed_is_waited_for(tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        one, old, new = await nodes.add(), await nodes.add(), await nodes.add()
        await write(one, "early", b"1")
        await nodes.rest()
        early = sequence(one)
        await nodes.away(old)
        await write(one, "late", b"2")
        await nodes.rest()
        late = sequence(one)
        await nodes.away(new)
        await lose_index(nodes, one)
        await nodes.back(old)
        await nodes.back(one)
        await nodes.rest(lambda: share_of(one).index.feeds.number(OWN_FEED_LOST) == 0)
        assert early == share_of(one).index.feeds.applied()[share_of(one).member.identity.id] < late
        await nodes.back(new)
        await nodes.rest(lambda: is_writable(one))
        assert sequence(one) >= late
        await write(one, "last", b"3")
        await nodes.rest()
        assert await tree(one) == await tree(old) == await tree(new)
        assert {"/late", "/last"} < set(await tree(one))
        goes_on(one, old, new)

    tell(tmp_path, story)


def test_a_journal_that_a_crash_left_waits_until_the_feed_is_back(tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        one, two = await nodes.add(), await nodes.add()
        await write(one, "large", CONTENT * 10)
        await nodes.rest()
        volume, ino = share_of(one).volume, share_of(one).volume.lookup(*place_of(one, "large")).ino
        handle = (await volume.open(ino, os.O_WRONLY, 1)).handle
        await volume.write(handle, 5, b"written")
        await volume.fsync(handle, False)
        assert list(one.home.glob("shares/*/journal/*"))
        await lose_index(nodes, one, killed=True)
        await nodes.back(one)
        await nodes.rest(lambda: is_writable(one))
        await nodes.rest()
        assert not list(one.home.glob("shares/*/journal/*"))
        found = (await tree_of(share_of(two)))[b"/large"]
        assert isinstance(found, tuple) and found[3] == CONTENT[:5] + b"written" + (CONTENT * 10)[12:]
        assert await tree(one) == await tree(two)
        goes_on(one, two)

    tell(tmp_path, story)

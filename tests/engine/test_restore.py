"""Restoring where the present is in the way: folders that are gone, other things of that name, conflict copies."""

from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
import trio

from syncfs.engine.history.log import log
from syncfs.engine.replication.harm import restoring
from syncfs.engine.service import RunningShare
from syncfs.engine.tree.posix import AttributeChange, RenameFlags
from syncfs.model.errors import UsageError
from tests.engine.nodes import ME, Nodes, delete, place_of, share_of, tell, tree, write
from tests.engine.test_undo import a_moment
from tests.simulation.node import Node
from tests.simulation.picture import differences, picture


def test_a_deleted_file_brings_the_folders_above_it_back(tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        one = await nodes.add()
        await write(one, "a/b/f", b"one")
        await write(one, "a/b/g", b"two")
        await nodes.rest()
        volume = share_of(one).volume
        whole = await tree(one)
        then = await a_moment(one)
        delete(one, "a/b/f")
        delete(one, "a/b/g")
        volume.rmdir(*place_of(one, "a/b"))
        volume.rmdir(*place_of(one, "a"))
        assert list(await tree(one)) == ["/"]
        await share_of(one).history.restore(b"a/b/f", None, None, None)
        assert await tree(one) == {path: what for path, what in whole.items() if path != "/a/b/g"}
        await share_of(one).history.restore(b"a/b/g", None, then, None)
        assert await tree(one) == whole

    tell(tmp_path, story)


def test_what_is_yet_to_come_cannot_be_put_back(tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        one = await nodes.add()
        await write(one, "f", b"one")
        await nodes.rest()
        for path in (b"f", b""):
            with pytest.raises(UsageError, match="is yet to come"):
                await share_of(one).history.restore(path, None, await a_moment(one) + timedelta(days=1), None)

    tell(tmp_path, story)


def test_what_became_something_else_comes_back_on_its_own_or_beside(tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        one = await nodes.add()
        await write(one, "f", b"a file")
        await write(one, "d/in", b"in a folder")
        await nodes.rest()
        whole = await tree(one)
        then = await a_moment(one)
        volume, history = share_of(one).volume, share_of(one).history
        delete(one, "f")
        await write(one, "f/g", b"now a folder")
        delete(one, "d/in")
        volume.rmdir(*place_of(one, "d"))
        volume.symlink(1, b"d", b"f", ME)
        with pytest.raises(UsageError, match="--to"):
            await history.restore(b"f", None, then, None)
        await history.restore(b"f", None, then, b"f-then")
        assert (await tree(one))["/f-then"] == whole["/f"]
        await history.restore(b"", None, then, None)
        assert await tree(one) == whole

    tell(tmp_path, story)


def test_what_is_refused_or_changes_nothing_is_not_told(tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        one = await nodes.add()
        await write(one, "f", b"only")
        await write(one, "d/in", b"in a folder")
        await nodes.rest()
        history, feed = share_of(one).history, share_of(one).feed
        assert feed is not None
        then, sequence = await a_moment(one), feed.sequence
        early = datetime(2020, 1, 1, tzinfo=UTC)
        for path, version, time, to in (
            (b"doesnotexist", None, None, None),
            (b"f", "yesterday", None, None),
            (b"f", None, early, None),
            (b"f", None, None, None),
            (b"d", None, None, None),
            (b"f", None, then, b"d"),
            (b"d", None, then, b"f"),
            (b"f", None, then, b"f/inside"),
        ):
            with pytest.raises(UsageError):
                await history.restore(path, version, time, to)
        with pytest.raises(UsageError):
            await history.undo("nobody", early)
        await history.restore(b"", None, then, None)
        await nodes.rest()
        assert feed.sequence == sequence
        assert [entry for entry in log(share_of(one).index, b"", 100) if entry.action == "setting"] == []

    tell(tmp_path, story)


def test_what_is_put_back_is_told_before_the_first_change(tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        one = await nodes.add()
        await write(one, "f", b"first")
        await nodes.rest()
        then = await a_moment(one)
        await write(one, "f", b"second")
        delete(one, "f")
        await nodes.rest()
        index = share_of(one).index
        known = len(log(index, b"", 100))
        await share_of(one).history.restore(b"f", None, then, None)
        told = log(index, b"", 100)[:-known]
        assert (told[-1].action, told[-1].setting, told[-1].value) == ("setting", "restore", "f")
        assert {entry.path for entry in told[:-1]} == {"f"}
        assert not index.setting(restoring(share_of(one).member.identity.id))

    tell(tmp_path, story)


def test_restoring_leaves_a_conflict_copy_beside(tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        one, two = await nodes.add(), await nodes.add()
        await write(one, "f", b"first")
        await nodes.rest()
        nodes.network.partition(["n1"], ["n2"])
        await write(one, "f", b"of one")
        await write(two, "f", b"of two")
        nodes.network.heal()
        await nodes.rest()
        before = await tree(one)
        (copy,) = (path for path in before if "(conflict" in path)
        (first,) = (report for report in RunningShare(share_of(one), None).conflicts() if report.path == "f")
        assert first.conflict_path == copy[1:]
        oldest = share_of(one).history.versions(b"f")[-1]
        await share_of(one).history.restore(b"f", oldest.id, None, None)
        await nodes.rest()
        after = await tree(one)
        assert after[copy] == before[copy] and after["/f"] not in before.values() and await tree(two) == after
        # A copy that was settled comes back under its name as a file of its own.
        then = await a_moment(one)
        delete(one, copy[1:])
        await share_of(one).history.restore(copy[1:].encode(), None, then, None)
        assert await tree(one) == after
        await share_of(one).volume.rename(*place_of(one, copy[1:]), 1, b"mine", RenameFlags.NONE)
        assert (await tree(one))["/mine"] == before[copy]

    tell(tmp_path, story)


def test_others_have_their_turn_and_keep_what_they_do_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(nodes: Nodes) -> None:
        one = await nodes.add()
        for number in range(200):
            await write(one, f"d/{number}", b"%d" % number)
        await nodes.rest()
        whole = await tree(one)
        then = await a_moment(one)
        for number in range(200):
            await write(one, f"d/{number}", b"edited")
            await write(one, f"d/added {number}", b"")
        await nodes.rest()
        volume, history, index = share_of(one).volume, share_of(one).history, share_of(one).index
        give_turn, turns = volume.let_kernel_in, count(1)

        async def work() -> None:
            assert not index.setting(restoring(share_of(one).member.identity.id))  # what it does has no leave
            await write(one, "d/meanwhile", b"new")
            await write(one, "d/199", b"written meanwhile")
            await volume.rename(*place_of(one, "d/added 199"), *place_of(one, "d/renamed"), RenameFlags.NONE)

        async def turn() -> None:
            if next(turns) == 4:
                nursery.start_soon(work)
            await give_turn()

        monkeypatch.setattr(volume, "let_kernel_in", turn)
        async with trio.open_nursery() as nursery:
            await history.restore(b"d", None, then, None)
        await nodes.rest()
        after = await tree(one)
        assert next(turns) > 10
        told = [entry for entry in log(index, b"", 10_000) if entry.action == "setting"]
        assert [(entry.setting, entry.value) for entry in told] == [("restore", "d")]
        assert after["/d/meanwhile"] is not None
        assert after["/d/199"] not in (whole["/d/199"], None)
        assert {path: what for path, what in after.items() if path not in ("/d/meanwhile", "/d/199")} == {
            path: what for path, what in whole.items() if path != "/d/199"
        } | {"/d/renamed": after["/d/renamed"]}

    tell(tmp_path, story)


async def set_mtime(node: Node, path: str, seconds: int) -> None:
    """As `touch -d` does."""
    await share_of(node).volume.setattr(ino_of(node, path), AttributeChange(mtime=seconds * 10**9), None)


def ino_of(node: Node, path: str) -> int:
    found = share_of(node).index.resolve(path.encode())
    assert found is not None, path
    return found.ino


def mtime(node: Node, path: str) -> int:
    return share_of(node).volume.getattr(ino_of(node, path)).mtime // 10**9


def test_times_that_somebody_set_come_back(tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        one, two = await nodes.add(), await nodes.add()
        for path in ("d/f", "d/g", "d/e/inner"):
            await write(one, path, path.encode())
        await nodes.rest()
        await set_mtime(one, "d/f", 1000)
        await set_mtime(one, "d/e", 2000)
        await nodes.rest()
        then, before = await a_moment(one), await picture(share_of(one))
        for path in ("d/f", "d/g", "d/e"):
            await set_mtime(two, path, 5000)
        await write(two, "d/f", b"changed")
        delete(two, "d/e/inner")
        await nodes.rest()
        assert mtime(one, "d/g") == 5000
        history = share_of(one).history

        await history.restore(b"d/g", None, then, None)  # the content is what it was
        found = share_of(one).volume.getattr(ino_of(one, "d/g")).mtime
        assert found == dict(before[b"/d/g"])["mtime"]
        await history.restore(b"d/f", None, None, None)  # the version before, with the time that it had last
        assert mtime(one, "d/f") == 5000
        await history.restore(b"d", None, then, b"copy")
        assert [mtime(one, path) for path in ("copy/f", "copy/e")] == [1000, 2000]
        await history.restore(b"d", None, then, None)
        after = await picture(share_of(one))
        below = {path: what for path, what in before.items() if path.startswith(b"/d")}
        assert differences(below, {path: what for path, what in after.items() if path.startswith(b"/d")}) == []
        await history.restore(b"", None, then, None)
        assert differences(before, await picture(share_of(one))) == []
        await nodes.rest()
        assert differences(before, await picture(share_of(two))) == []

    tell(tmp_path, story)


def test_who_comes_late_knows_the_times_that_were_set(tmp_path: Path) -> None:
    """Merging leaves out only when directories were changed."""

    async def story(nodes: Nodes) -> None:
        one, two = await nodes.add(), await nodes.add()
        await write(one, "f", b"content")
        for number in range(30):
            await write(one, f"{number}", b"makes many segments")
            await nodes.rest()
        await set_mtime(two, "f", 1000)
        await nodes.rest()
        then = await a_moment(two)
        for number in range(30):
            await set_mtime(two, "f", 5000 + number)
            await nodes.rest()
        feed = share_of(two).feed
        assert feed is not None
        assert len(share_of(two).index.feeds.segments_of(feed.device)) < feed.sequence / 2  # merged meanwhile
        late = await nodes.add()
        await nodes.rest()
        await share_of(late).history.undo("n2", then)
        await nodes.rest()
        assert [mtime(node, "f") for node in nodes.all] == [1000] * 3

    tell(tmp_path, story)

"""The mass-change brake: what trips it, what does not, and what is held, accepted and undone on whole nodes."""

import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from syncfs.engine.rebuilding import rebuild_index
from syncfs.engine.replication.brake import DEFAULT, MINUTE, Harm, Recent, parse_limits, weigh
from syncfs.engine.service import RunningShare
from syncfs.engine.tree.posix import RenameFlags
from syncfs.model.errors import UsageError
from tests.engine.nodes import Nodes, delete, place_of, share_of, tell, tree, write
from tests.simulation.node import Node

HOUR = 3600.0
FILES = 150


def test_limits_are_read_and_refused() -> None:
    limits = parse_limits("share=50% within=1h")
    assert limits is not None and (limits.share, limits.least, limits.within) == (0.5, 100, 3600 * 10**9)
    assert parse_limits("off") is None and parse_limits("") == parse_limits(DEFAULT)
    for odd in (
        "share=0%",
        "share=100%",
        "share=3",
        "least=-1",
        "within=5",
        "within=0m",
        "often=1",
        "on",
        "off share=5%",
    ):
        with pytest.raises(UsageError):
            parse_limits(odd)


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=60), st.integers(1, 60), st.integers(1, 99))
def test_the_brake_is_pulled_by_what_a_slow_count_says(steps: list[tuple[int, bool]], least: int, share: int) -> None:
    """Minutes go up; the oracle looks at all harms of the last minutes for each one."""
    limits = parse_limits(f"share={share}% least={least} within=10m")
    assert limits is not None
    minute, done, recent, files = 1000, [], Recent(), 100
    for passed, gone in steps:
        minute += passed // 100
        done.append((minute, gone))
        window = [row for row in done if row[0] >= minute - 10]
        before = files + sum(row[1] for row in window[:-1])
        expected = len(window) >= least and len(window) > limits.share * before
        blow = weigh(recent, [Harm(minute * MINUTE + 5, gone)], limits, lambda _: files)
        assert (blow is not None) == expected
        if blow is not None:
            assert (blow.changed, blow.files, blow.since) == (len(window), before, window[0][0] * MINUTE)


async def grown(nodes: Nodes, count: int = FILES) -> tuple[Node, Node]:
    """Two nodes with so many files that were there for an hour."""
    one, two = await nodes.add(), await nodes.add()
    for number in range(count):
        await write(one, f"folder/f{number}", b"content %d" % number)
    await nodes.rest()
    await an_hour(nodes)
    return one, two


async def an_hour(nodes: Nodes) -> None:
    await trio.sleep(HOUR)
    await nodes.rest()


def held(node: Node) -> list[str]:
    return [report.name for report in share_of(node).holding.reports()]


def test_a_peer_that_deletes_everything_is_held(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(nodes: Nodes) -> None:
        one, two = await grown(nodes)
        three = await nodes.add()
        await nodes.rest()
        whole = await tree(one)
        for number in range(FILES):
            delete(two, f"folder/f{number}")
        await nodes.rest(lambda: held(one) == held(three) == ["n2"])
        left = await tree(one)
        assert len(left) > len(whole) - FILES // 2, "what came before the brake is little"
        status = RunningShare(share_of(one), None).status()
        assert status.state == "degraded" and status.in_sync is False
        (report,) = status.held
        assert report.name == "n2" and report.files == FILES and FILES - 5 <= report.changed <= FILES
        assert "syncfs accept share --device n2" in " ".join(status.reasons)
        assert RunningShare(share_of(one), None).transfers().held == status.held
        assert any("waits for" in record.message and record.levelno == logging.WARNING for record in caplog.records)
        # It stays held, also over a restart, while the others go on.
        await nodes.restart(one)
        await nodes.crash(one)
        await nodes.rest(lambda: held(one) == ["n2"])
        await write(three, "news", b"news")
        await nodes.rest(lambda: share_of(one).index.resolve(b"news") is not None)
        assert held(one) == ["n2"] and len(await tree(one)) == len(left) + 1
        await write(one, "mine", b"mine")
        await nodes.rest(lambda: share_of(two).index.resolve(b"mine") is not None)
        # A newcomer who only meets those who hold it learns of the tree without it.
        await nodes.away(two)
        four = await nodes.add()
        await nodes.rest(lambda: share_of(four).index.resolve(b"mine") is not None)
        assert await tree(four) == await tree(one)
        # Accepting it on one computer is enough.
        done = await share_of(one).history.accept(None)
        assert done.devices == ["n2"] and done.records >= FILES // 2
        await nodes.rest(lambda: not held(three) and not held(one))
        await nodes.rest()
        assert await tree(one) == await tree(three) == await tree(four)
        assert len(await tree(one)) == len(whole) - FILES + 2
        with pytest.raises(UsageError):
            await share_of(one).history.accept(None)

    tell(tmp_path, story)


def test_a_peer_that_rewrites_everything_is_undone(tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        one, two = await grown(nodes)
        three = await nodes.add()
        await nodes.rest()
        whole = await tree(one)
        for number in range(FILES):  # as malware does: a new file beside each, and the old one deleted
            if number % 4 == 0:
                await write(two, f"folder/f{number}", b"scrambled %d" % number)
            else:
                await write(two, f"folder/f{number}.enc", b"scrambled %d" % number)
                delete(two, f"folder/f{number}")
        await nodes.rest(lambda: held(one) == held(three) == ["n2"])
        since = RunningShare(share_of(one), None).status().held[0].since
        await share_of(one).history.undo("n2", since)
        await nodes.rest(lambda: not held(three) and not held(one))
        await nodes.rest()
        assert await tree(one) == await tree(two) == await tree(three) == whole
        await write(two, "later", b"two goes on")
        await nodes.rest()
        assert b"later" in {name for _, name, _ in share_of(one).index.nodes.listed(1, 0, 99)}

    tell(tmp_path, story)


def test_what_is_no_blow(tmp_path: Path) -> None:
    """A first sync, a large rename, many new files, own changes, small trees, reverting, months that come at once."""

    async def story(nodes: Nodes) -> None:
        one, two = await grown(nodes)
        ino, _ = place_of(one, "folder/f1")
        # a rename of all, and many new files, also such as are rewritten and deleted soon after
        await share_of(two).volume.rename(1, b"folder", 1, b"renamed", RenameFlags.NONE)
        for number in range(FILES):
            await write(two, f"new/f{number}", b"new")
            await write(two, f"temporary/f{number}", b"old")
        await nodes.rest()
        for number in range(FILES):
            await write(two, f"new/f{number}", b"newer")
            delete(two, f"temporary/f{number}")
        await nodes.rest()
        assert not held(one)
        # slowly
        for start in range(0, FILES, 30):
            await an_hour(nodes)
            for number in range(start, start + 30):
                delete(two, f"new/f{number}")
        await nodes.rest()
        assert not held(one)
        # the same while a peer was away, and it all comes at once
        await nodes.away(one)
        for start in range(0, FILES, 30):
            await an_hour(nodes)
            for number in range(start, start + 30):
                await write(two, f"renamed/f{number}", b"rewritten")
        await nodes.back(one)
        await nodes.rest()
        assert not held(one)
        # a newcomer
        three = await nodes.add()
        await nodes.rest()
        assert not held(three) and await tree(three) == await tree(two)
        # one's own changes, and whoever restores
        then = datetime.fromtimestamp(share_of(one).feed.now() / 1e9, UTC)  # type: ignore[union-attr]
        await an_hour(nodes)
        for number in range(FILES):
            delete(one, f"renamed/f{number}")
        await nodes.rest(lambda: held(two) == held(three) == ["n1"])
        assert not held(one)
        await share_of(one).history.restore(b"", None, then, None)
        await nodes.rest(lambda: share_of(one).index.resolve(b"renamed/f1") is not None)
        assert ino

    tell(tmp_path, story)


def test_a_small_tree_is_nobodys_prey(tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        one, two = await grown(nodes, 90)
        for number in range(90):
            delete(two, f"folder/f{number}")
        await nodes.rest()
        assert not held(one) and len(await tree(one)) == 2

    tell(tmp_path, story)


def test_a_new_index_holds_what_the_old_one_held(tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        one, two = await grown(nodes)
        for number in range(FILES):
            delete(two, f"folder/f{number}")
        await nodes.rest(lambda: held(one) == ["n2"])
        before = await tree(one)
        member = share_of(one).member
        await nodes.away(two)
        await nodes.away(one)
        assert rebuild_index(member) is not None
        await nodes.back(one)
        assert held(one) == ["n2"] and await tree(one) == before
        await nodes.back(two)
        await share_of(one).history.accept("n2")
        await nodes.rest()
        assert await tree(one) == await tree(two) and len(await tree(one)) == len(before) - FILES

    tell(tmp_path, story)


def test_the_brake_can_be_set_and_switched_off(tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        one, two = await grown(nodes, 60)
        three = await nodes.add()
        assert await RunningShare(share_of(one), None).configure("brake", "share=20% least=10 within=10m")
        assert await RunningShare(share_of(three), None).configure("brake", "off")
        await nodes.rest()
        for number in range(30):
            delete(two, f"folder/f{number}")
        await nodes.rest(lambda: held(one) == ["n2"] and share_of(three).index.resolve(b"folder/f29") is None)
        assert not held(three)
        await nodes.restart(one)
        assert held(one) == ["n2"] and share_of(one).holding.limits == parse_limits("share=20% least=10 within=10m")

    tell(tmp_path, story)


def test_a_reader_holds_too_and_decides_for_itself(tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        one, two = await grown(nodes)
        reader, other = await nodes.add("reader"), await nodes.add("reader")
        await nodes.rest()
        for number in range(FILES):
            delete(two, f"folder/f{number}")
        await nodes.rest(lambda: held(one) == held(reader) == held(other) == ["n2"])
        with pytest.raises(UsageError):
            await share_of(reader).history.undo("n2", datetime.now(UTC))
        await share_of(reader).history.accept("n2")
        await trio.sleep(HOUR)
        assert not held(reader) and len(await tree(reader)) == 2
        assert held(one) == held(other) == ["n2"]
        await share_of(one).history.accept("n2")
        await nodes.rest(lambda: not held(other))
        await nodes.rest()
        assert await tree(other) == await tree(one)

    tell(tmp_path, story)

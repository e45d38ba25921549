"""A store keeps what any device claims, and gives back what nobody claims any more."""

from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from syncfs.engine.feeds.claims import claimed, joined
from syncfs.engine.keeping.store_collecting import GRACE
from syncfs.engine.service import RunningShare
from syncfs.model.ids import Address, DeviceId
from syncfs.wire.segment import Segment
from tests.engine.nodes import Nodes, delete, share_of, tell, tree, write
from tests.simulation.node import Node

ADDRESSES = [Address(bytes([number]) * 32) for number in range(6)]
NO_HISTORY = "all=0 hourly=0 daily=0 deleted=0"
SOME = st.lists(st.sampled_from(ADDRESSES), max_size=4, unique=True).map(tuple)


@given(st.lists(st.tuples(SOME, SOME), max_size=12), st.data())
def test_merged_segments_claim_the_same(
    parts: list[tuple[tuple[Address, ...], tuple[Address, ...]]], data: st.DataObject
) -> None:
    feed = [Segment(DeviceId(bytes(16)), n, n, adds, drops) for n, (adds, drops) in enumerate(parts, 1)]
    expected: set[bytes] = set()
    for adds, drops in parts:
        expected = (expected - set(drops)) | set(adds)
    assert claimed(feed, set(ADDRESSES)) == expected
    start = data.draw(st.integers(0, len(feed)))
    end = data.draw(st.integers(start, len(feed)))
    adds, drops = joined(feed[start:end], feed[:start])
    merged = Segment(DeviceId(bytes(16)), 1, 1, tuple(adds), tuple(drops))
    assert claimed([*feed[:start], merged, *feed[end:]], set(ADDRESSES)) == expected
    assert set(drops) <= claimed(feed[:start], set(ADDRESSES)), "nothing is dropped that was not there"


def held(node: Node) -> int:
    return share_of(node).presence.totals().chunks


def pass_grace(store: Node) -> None:
    """Set the clock of a store to when what nobody claims may go."""
    store.skew += GRACE // 10**9 + 60


async def with_store(nodes: Nodes) -> tuple[Node, Node, Node]:
    one, two, store = await nodes.add(), await nodes.add(), await nodes.add("store")
    await RunningShare(share_of(one), None).configure("retention", NO_HISTORY)
    return one, two, store


async def filled(nodes: Nodes, store: Node) -> None:
    await nodes.rest()
    await nodes.rest(lambda: share_of(store).missing == 0)


def test_what_no_version_needs_goes_from_the_store_as_well(tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        one, two, store = await with_store(nodes)
        for number in range(6):
            await write(one, f"f{number}", bytes([number]) * 30_000)
        await write(two, "same", bytes([0]) * 30_000)  # claimed by two devices
        await filled(nodes, store)
        assert held(store) == 6
        for number in range(4):
            delete(one, f"f{number}")
        await write(one, "f4", b"new" * 10_000)
        await filled(nodes, store)
        await trio.sleep(700)
        done = [await RunningShare(share_of(node), None).collect() for node in (one, two)]
        assert done[0].chunks == 4, "f1 to f3, and what f4 was; f0 is there as `same`"
        await nodes.rest()
        assert held(store) == 7, "not at once: a device that is away may have built on it"
        assert (await RunningShare(share_of(store), None).collect()).chunks == 0
        await nodes.restart(store)
        pass_grace(store)
        report = await RunningShare(share_of(store), None).collect()
        assert (report.chunks, held(store)) in ((4, 3), (0, 3)), "by itself, or now"
        assert share_of(store).missing == 0
        # What is left is all there is: a newcomer reads it from the store alone.
        shown = await tree(one)
        await nodes.away(one)
        await nodes.away(two)
        three = await nodes.add()
        await nodes.rest(lambda: share_of(three).index.resolve(b"same") is not None)
        assert await tree(three) == shown

    tell(tmp_path, story)


def test_a_store_that_was_away_while_segments_were_merged_hears_of_it(tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        one, _, store = await with_store(nodes)
        for number in range(40):
            await write(one, "f", b"%d" % number * 3_000)
            await nodes.rest()
        await filled(nodes, store)
        before = held(store)
        await nodes.away(store)
        await trio.sleep(700)
        await RunningShare(share_of(one), None).collect()
        await write(one, "g", b"more" * 9_000)
        await nodes.rest()
        feed = share_of(one).feed
        assert feed is not None
        for number in range(70):  # so many changes that the segments are merged
            await write(one, "h", b"%d" % number * 20)
            await nodes.rest()
        await nodes.back(store)
        await filled(nodes, store)
        pass_grace(store)
        await RunningShare(share_of(store), None).collect()
        assert held(store) == 2 < before and share_of(store).missing == 0

    tell(tmp_path, story)


def test_what_was_dropped_and_is_used_again_stays(tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        one, _, store = await with_store(nodes)
        await write(one, "f", b"again" * 9_000)
        await filled(nodes, store)
        delete(one, "f")
        await nodes.rest()
        await trio.sleep(700)
        assert (await RunningShare(share_of(one), None).collect()).chunks == 1
        await filled(nodes, store)
        store.skew += GRACE // 10**9 - 1000
        await write(one, "g", b"again" * 9_000)
        await filled(nodes, store)
        store.skew += 2000
        assert (await RunningShare(share_of(store), None).collect()).chunks == 0 and held(store) == 1

    tell(tmp_path, story)


def test_what_turns_out_damaged_is_fetched_again(tmp_path: Path) -> None:
    async def story(nodes: Nodes) -> None:
        one, _, store = await with_store(nodes)
        await write(one, "f", b"content" * 9_000)
        await filled(nodes, store)
        share = share_of(store)
        (address,) = (address for (address,) in share.index.database.rows("SELECT address FROM chunks"))
        (pack,) = (share.member.directory / "packs").glob("*.pack")
        with pack.open("r+b") as file:
            file.seek(2000)
            file.write(b"damage")
        assert await share.chunks.sealed(address) is None
        assert share.missing == 1
        await nodes.rest(lambda: share.missing == 0)
        assert await share.chunks.sealed(address) is not None

    tell(tmp_path, story)


@pytest.mark.parametrize("steps", range(1, 12, 2))
def test_a_crash_while_a_store_collects_leaves_what_is_claimed(tmp_path: Path, steps: int) -> None:
    async def story(nodes: Nodes) -> None:
        one, two, store = await with_store(nodes)
        for number in range(8):
            await write(one, f"f{number}", bytes([number + 1]) * 30_000)
        await filled(nodes, store)
        for number in range(4):
            delete(one, f"f{number}")
        await nodes.rest()
        await trio.sleep(700)
        await RunningShare(share_of(one), None).collect()
        await filled(nodes, store)
        pass_grace(store)
        share = share_of(store)
        share.presence.write_touches()
        share.store.sync()
        share.commit()
        share.index.database.sync()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(share.store_collector.collect)  # type: ignore[union-attr]
            await trio.sleep(steps * 0.004)
            await nodes.crash(store)
            nursery.cancel_scope.cancel()
        await filled(nodes, store)
        pass_grace(store)
        await RunningShare(share_of(store), None).collect()
        assert held(store) == 4
        shown = await tree(one)
        await nodes.away(one)
        await nodes.away(two)
        three = await nodes.add()
        await nodes.rest(lambda: share_of(three).index.resolve(b"f7") is not None)
        assert await tree(three) == shown

    tell(tmp_path, story)

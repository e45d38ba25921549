"""Undoing a device: what only it has touched is as if it had done nothing, whatever it and others did."""

import random
import stat
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

from syncfs.engine.history.finding import nanoseconds
from syncfs.engine.history.putting import COMMIT_RECORDS
from syncfs.engine.share import Share
from syncfs.index.log import Log
from syncfs.model.ids import DeviceId, Stamp
from syncfs.model.records import LinkRecord, NodeRecord, Record, VersionRecord
from syncfs.model.tree import State, full_view
from syncfs.wire.segment import decode_segment
from tests.engine.nodes import ME, Nodes, share_of, tell, write
from tests.index.test_moment import times_of
from tests.simulation.diary import Diary
from tests.simulation.node import Node
from tests.simulation.picture import differences, picture
from tests.simulation.programs import Worker
from tests.simulation.promises import Promises

Signed = tuple[DeviceId, Record]
Things = dict[bytes, object]
"""Kind, content and attributes by path, or OTHERS."""
FOUND_A_FAULT = [240]
SEEDS = [
    *range(10),
    *FOUND_A_FAULT,
    *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(10, 300) if seed not in FOUND_A_FAULT),
]
OTHERS = "something that others touched"


async def work(node: Node, dice: random.Random, count: int) -> None:
    """So many random works of a program, one after the other."""
    for _ in range(count):
        await Worker(dice.randrange(2**32), Diary(), Promises()).run(node, share_of(node))
        await trio.sleep(dice.random() * 3)


async def apart(nodes: Nodes, dice: random.Random, counts: Iterable[int]) -> None:
    """All nodes work at once, and do not hear of each other meanwhile."""
    nodes.network.partition(*([node.name] for node in nodes.all))
    async with trio.open_nursery() as nursery:
        for node, count in zip(nodes.all, counts, strict=True):
            nursery.start_soon(work, node, random.Random(dice.random()), count)
    nodes.network.heal()
    await nodes.rest()


async def a_moment(node: Node) -> datetime:
    await trio.sleep(5)
    feed = share_of(node).feed
    assert feed is not None
    now = datetime.fromtimestamp(feed.now() // 10**9, UTC)
    await trio.sleep(5)
    return now


def records_of(share: Share) -> list[Signed]:
    """All records that the feeds hold."""
    found: list[Signed] = []
    read = share.member.keys.read
    assert read is not None
    for device in share.index.feeds.applied():
        for address, *_ in share.index.feeds.segments_of(device):
            found += [(device, one) for one in decode_segment(read, share.index.feeds.segment(address) or b"")[1]]
    return found


def touched(record: Record) -> set[bytes]:
    """The nodes that a record says something about, directories that get or lose a name included."""
    match record:
        case NodeRecord() if record == NodeRecord(record.lamport, record.time, record.node, times=record.times):
            return set()
        case NodeRecord() | VersionRecord():
            return {record.node}
        case LinkRecord():
            return {record.node, record.parent, record.from_parent}
        case _:
            return set()


def things(records: Iterable[Signed], names: Mapping[DeviceId, str], others: set[bytes]) -> Things:
    """What each path shows that has nothing to do with what others touched."""
    state = State()
    for device, record in records:
        state.apply(record, device)
    tree = full_view(state, names)
    found: Things = {}
    for path, shown in sorted(tree.items()):
        above = path.rpartition(b"/")[0]
        if path and shown.node in others:
            found[path] = OTHERS
        elif path and found.get(above) != OTHERS:
            version = state.by_stamp.get(shown.head or Stamp(b""))
            content = (version.size, version.depth, version.body) if version is not None else None
            fields = tuple(value for value in shown.fields if value[0] not in ("birth", "times"))
            # When entries of a directory changed is told by merged segments no longer.
            times = None if shown.kind == stat.S_IFDIR else times_of(state, shown)
            found[path] = (shown.kind, content, fields, times)
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_all_is_as_if_it_had_done_nothing(tmp_path: Path, seed: int) -> None:
    async def story(nodes: Nodes) -> None:
        dice = random.Random(seed)
        one, two = await nodes.add(), await nodes.add()
        await nodes.rest()
        for _ in range(3):
            await apart(nodes, dice, (12, 6))
        since = await a_moment(one)
        before = await picture(share_of(one))
        await work(two, dice, 25)
        await nodes.rest()
        await share_of(one).history.undo("n2", since)
        await nodes.rest()
        after = await picture(share_of(one))
        assert differences(before, after) == []
        assert await picture(share_of(two)) == after

    tell(tmp_path, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_others_did_not_touch_is_as_if_it_had_done_nothing(tmp_path: Path, seed: int) -> None:
    async def story(nodes: Nodes) -> None:
        dice = random.Random(seed)
        one, two = await nodes.add(), await nodes.add()
        await nodes.rest()
        for number in range(12):
            await write(one, f"{number % 3}/{number}", b"%d" % number)
        for _ in range(2):
            await apart(nodes, dice, (12, 8))
        since = await a_moment(one)
        for _ in range(3):
            await apart(nodes, dice, (2, 12))
        done = records_of(share_of(one))
        await share_of(one).history.undo("n2", since)
        await nodes.rest()
        theirs, time = share_of(two).member.identity.id, nanoseconds(since)
        without = [(device, one) for device, one in done if device != theirs or one.time < time]
        others = set[bytes]().union(*(touched(one) for device, one in done if device != theirs and one.time >= time))
        names = share_of(one).index.feeds.device_names()
        expected, found = (things(each, names, others) for each in (without, records_of(share_of(one))))
        theirs_too = {
            path for path in expected.keys() | found.keys() if OTHERS in (expected.get(path), found.get(path))
        }
        around = {path[: path.rfind(b"/")] for path in theirs_too}  # a directory stays for what others put into it
        named = {path.partition(b" (conflict ")[0] for path in theirs_too}
        wrong = [
            path
            for path in sorted((expected.keys() | found.keys()) - theirs_too)
            if expected.get(path) != found.get(path)
            and path not in around
            and path.partition(b" (conflict ")[0] not in named
        ]
        assert expected.keys() - theirs_too
        assert wrong == []

    tell(tmp_path, story)


def test_a_large_undo_reserves_no_more_than_a_part_of_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(nodes: Nodes) -> None:
        one, two = await nodes.add(), await nodes.add()
        share_of(one).holding.limits = None
        for number in range(2000):
            share_of(one).volume.mknod(1, b"f%d" % number, 0o100644, 0, ME)
        await nodes.rest()
        since = await a_moment(one)
        for number in range(2000):
            share_of(two).volume.unlink(1, b"f%d" % number)
        await nodes.rest()
        asked: list[int] = []
        with monkeypatch.context() as watched:
            watched.setattr(Log, "reserve", lambda log, changes: asked.append(changes))
            report = await share_of(one).history.undo("n2", since)
        assert report.changed == 2000 and max(asked) < 10 * COMMIT_RECORDS

    tell(tmp_path, story)

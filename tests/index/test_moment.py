"""A past moment shows exactly what the model makes of the records up to then, whatever the order of their arrival."""

import random
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncfs.index.index import Index
from syncfs.index.moment import ROOT_FOLDER, Moment
from syncfs.model.ids import NO_STAMP, ROOT_NODE, NodeId, Stamp
from syncfs.model.records import INLINE, Birth, LinkRecord, NodeRecord, Record, Times, VersionRecord
from syncfs.model.tree import ShownNode, State, full_view
from tests.index.lively import STIRS, Stir, lively_entries
from tests.index.picture import Entry, apply_all, know_devices
from tests.model.replica import NAMES

SECOND = 10**9
DEVICE = sorted(NAMES)[0]


def seen_at(index: Index, time: int) -> dict[bytes, tuple[object, ...]]:
    """The tree at a moment as the index derives it: node, kind, mode, head, times."""
    moment = Moment(index.database, time, NAMES)
    seen: dict[bytes, tuple[object, ...]] = {}
    waiting = [(b"", ROOT_FOLDER)]
    while waiting:
        path, folders = waiting.pop()
        for entry in moment.entries(folders):
            below = path + b"/" + entry.name if path else entry.name
            node = moment.node(entry)
            times = Times(node.atime, node.mtime)
            seen[below] = (index.nodes.must(entry.ino).node, entry.kind, node.mode, entry.head, times)
            assert moment.resolve(below) == entry
            if entry.folders:
                waiting.append((below, entry.folders))
    return seen


def told_by_model(entries: list[Entry], time: int) -> dict[bytes, tuple[object, ...]]:
    state = State()
    for device, record in entries:
        if record.time <= time:
            state.apply(record, device)
    return {
        path: (shown.node, shown.kind, dict(shown.fields).get("mode", 0), shown.head, times_of(state, shown))
        for path, shown in full_view(state, NAMES).items()
        if path
    }


def times_of(state: State, shown: ShownNode) -> Times:
    """The times of a node, where a later version of it has not brought another mtime; those of a copy's version."""
    set_at, times = state.nodes[shown.node].get("times", (NO_STAMP, Times(0, 0)))
    assert isinstance(times, Times)
    head = None if shown.head is None else state.by_stamp[shown.head]
    if head is None or shown.head is None:
        return times
    if shown.entry is not None and shown.entry.head is not None:
        return Times(head.mtime, head.mtime)
    return Times(times.atime, head.mtime) if shown.head > set_at else times


def timed(record: Record) -> Record:
    """The record at the second that its lamport says; all births and most other records of nodes set times."""
    record = msgspec.structs.replace(record, time=record.lamport * SECOND)
    if isinstance(record, NodeRecord) and (record.birth is not None or record.lamport % 4):
        return msgspec.structs.replace(record, times=Times(record.lamport, -record.lamport))
    return msgspec.structs.replace(record, mtime=record.lamport) if isinstance(record, VersionRecord) else record


@settings(max_examples=120, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(STIRS, st.integers(0, 2**32))
def test_a_moment_shows_what_the_records_up_to_it_say(stirs: list[Stir], seed: int) -> None:
    order = random.Random(seed)
    entries = [(device, timed(record)) for device, record in lively_entries(stirs)]
    with TemporaryDirectory() as directory, Index(Path(directory) / "index.db") as index:
        know_devices(index)
        apply_all(index, order.sample(entries, len(entries)))
        for lamport in order.sample(range(len(entries) + 2), 12):
            assert seen_at(index, lamport * SECOND) == told_by_model(entries, lamport * SECOND)


def test_attributes_and_contents_of_a_past_moment() -> None:
    node = NodeId(b"n" * 16)
    records = [
        NodeRecord(1, 10, node, Birth(0o100000), 0o600, xattrs={b"user.a": b"1"}),
        LinkRecord(2, 10, node, node, ROOT_NODE, b"f"),
        VersionRecord(3, 11, node, (), 3, 11, INLINE, b"one"),
        NodeRecord(4, 20, node, mode=0o644),
        VersionRecord(5, 21, node, ((3).to_bytes(8, "big") + DEVICE,), 5, 21, INLINE, b"three"),
        LinkRecord(6, 30, node, node, ROOT_NODE, b"g", from_parent=ROOT_NODE, from_name=b"f"),
        NodeRecord(7, 40, node, xattrs={}),
        LinkRecord(8, 50, node, node, ROOT_NODE, b"g", True, ((5).to_bytes(8, "big") + DEVICE,)),
    ]
    for order in (records, records[::-1]):
        with TemporaryDirectory() as directory, Index(Path(directory) / "index.db") as index:
            for record in order:
                index.apply([record], DEVICE)

            def look(time: int, name: bytes) -> tuple[int, int, dict[bytes, bytes]]:
                moment = Moment(index.database, time, NAMES)
                (entry,) = moment.entries(ROOT_FOLDER)
                assert entry.name == name
                found = moment.node(entry)
                return found.size, found.mode, dict(found.xattrs)

            assert look(12, b"f") == (3, 0o600, {b"user.a": b"1"})
            assert look(20, b"f") == (3, 0o644, {b"user.a": b"1"})
            assert look(25, b"f") == (5, 0o644, {b"user.a": b"1"})
            assert look(45, b"g") == (5, 0o644, {})
            assert Moment(index.database, 50, NAMES).entries(ROOT_FOLDER) == []
            index.past.thin([Stamp((3).to_bytes(8, "big") + DEVICE)])
            assert look(12, b"f")[0] == 5

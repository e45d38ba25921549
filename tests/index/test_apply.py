"""Records become rows: by field group and stamp, idempotent, all or none, at a cost that does not grow."""

import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncfs.index.index import ROOT_INO, Index, Node
from syncfs.model.ids import ROOT_NODE, DeviceId, LinkId, NodeId, make_stamp
from syncfs.model.records import (
    INLINE,
    Birth,
    LinkRecord,
    NodeRecord,
    Owner,
    Record,
    SettingRecord,
    Times,
    VersionRecord,
)
from tests.index.picture import Shadow, apply_all, check, know_devices
from tests.model.replica import Replica

A, B = DeviceId(b"\1" * 16), DeviceId(b"\2" * 16)
FILE, FOLDER = NodeId(b"f" * 16), NodeId(b"d" * 16)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """An empty index that knows the devices."""
    with Index(tmp_path / "index.db") as opened:
        know_devices(opened)
        yield opened


def found(index: Index, node: NodeId) -> Node:
    """The row of a node."""
    ino = index.nodes.ino_of(node)
    assert ino is not None
    return index.nodes.must(ino)


def born(lamport: int, node: NodeId, kind: int = stat.S_IFREG) -> NodeRecord:
    """The record that an engine writes of a new node."""
    owner, times = Owner(1, 2, "user", "group"), Times(lamport, lamport)
    return NodeRecord(lamport, lamport, node, Birth(kind), 0o644, owner, times, {})


def new(lamport: int, node: NodeId, name: bytes, parent: NodeId = ROOT_NODE, kind: int = stat.S_IFREG) -> list[Record]:
    """A new node under a name."""
    return [born(lamport, node, kind), LinkRecord(lamport + 1, lamport, node, node, parent, name)]


def statements(index: Index, act: Callable[[], None]) -> int:
    """How many statements the database runs; each finds what it wants without a look at a whole table."""
    run: list[str] = []
    connection = index.database._connection
    connection.set_trace_callback(run.append)
    act()
    connection.set_trace_callback(None)
    for statement in run:
        plan = index.database.rows(f"EXPLAIN QUERY PLAN {statement}") if " WHERE " in statement else []
        assert not any(step.startswith("SCAN") for *_, step in plan), statement
    return len(run)


def steps(index: Index, act: Callable[[], None]) -> int:
    """How many instructions of its virtual machine the database runs, which grows with the rows that it reads."""
    run: list[None] = []
    connection = index.database._connection
    connection.set_progress_handler(lambda: run.append(None), 1)
    act()
    connection.set_progress_handler(None, 0)
    return len(run)


def test_each_field_group_is_won_by_its_own_greatest_stamp(index: Index) -> None:
    index.apply([born(10, FILE)], A)
    index.apply([NodeRecord(20, 20, FILE, mode=0o600, xattrs={b"user.a": b"1"})], A)
    index.apply([NodeRecord(20, 15, FILE, mode=0o640, owner=Owner(7, 8))], B)
    index.apply([NodeRecord(19, 15, FILE, mode=0o666, times=Times(3, 4))], B)
    node = found(index, FILE)
    assert (node.mode, node.uid, node.gid, node.user, node.atime, node.times_mtime) == (0o640, 7, 8, "", 3, 4)
    assert node.xattrs == {b"user.a": b"1"}
    stamps = [(10, A), (20, B), (20, B), (19, B), (20, A)]
    assert [node.group_stamp(group) for group in range(5)] == [make_stamp(*stamp) for stamp in stamps]
    assert node.ctime == 20


def test_a_stale_record_changes_nothing(index: Index) -> None:
    index.apply([born(10, FILE), NodeRecord(20, 20, FILE, mode=0o600)], A)
    index.take_changes()
    index.apply([NodeRecord(15, 99, FILE, mode=0o666), NodeRecord(20, 99, FILE, mode=0o600)], A)
    assert found(index, FILE).mode == 0o600
    assert index.take_changes().nodes == set()


def test_fields_may_come_before_the_birth(index: Index) -> None:
    index.apply([NodeRecord(20, 20, FILE, mode=0o600)], A)
    index.apply([LinkRecord(11, 0, FILE, FILE, ROOT_NODE, b"f")], A)
    assert index.lookup(ROOT_INO, b"f") is None and found(index, FILE).kind == 0
    index.apply([born(10, FILE)], A)
    node = index.lookup(ROOT_INO, b"f")
    assert node is not None and (node.mode, node.uid, node.nlink) == (0o600, 1, 1)


def test_the_last_setting_wins(index: Index) -> None:
    for lamport, device, value in ((5, A, "a"), (5, B, "b"), (4, B, "old")):
        index.apply([SettingRecord(lamport, 0, "retention", value)], device)
    assert index.setting("retention") == "b"


def test_what_comes_twice_changes_nothing(index: Index) -> None:
    replica = Replica(1)
    replica.mkdir("d")
    replica.create("d/f", b"one")
    replica.write("d/f", b"two")
    replica.rename("d/f", "g")
    apply_all(index, replica.entries())
    index.take_changes()
    apply_all(index, replica.entries())
    changes = index.take_changes()
    assert (changes.nodes, changes.contents, changes.entries) == (set(), set(), {})


def test_a_batch_that_fails_leaves_no_trace(index: Index) -> None:
    replica = Replica(1)
    replica.mkdir("d")
    replica.create("d/f", b"one")
    apply_all(index, replica.entries())

    def failing() -> Iterator[Record]:
        yield from new(100, NodeId(b"x" * 16), b"x")
        yield LinkRecord(102, 0, FILE, FILE, FOLDER, b"y")
        raise OSError

    with pytest.raises(OSError):
        index.apply(failing(), B)
    check(index, replica.state)
    assert index.nodes.ino_of(b"x" * 16) is None
    index.apply(new(100, NodeId(b"x" * 16), b"x"), B)
    for record in new(100, NodeId(b"x" * 16), b"x"):
        replica.state.apply(record, B)
    check(index, replica.state)


def test_numbers_beyond_all_calendars_are_taken(index: Index) -> None:
    huge = 2**64 - 1
    index.apply(
        [
            NodeRecord(1, huge, FILE, Birth(stat.S_IFREG, huge), 0o644, times=Times(-huge, huge)),
            LinkRecord(2, huge, FILE, FILE, ROOT_NODE, b"f"),
            VersionRecord(3, -huge, FILE, (), 1, huge, INLINE, b"x"),
        ],
        A,
    )
    node = index.lookup(ROOT_INO, b"f")
    assert node is not None and node.content_mtime == node.times_mtime == 2**63 - 1


def test_versions_may_come_before_what_they_replace(index: Index) -> None:
    index.apply(new(1, FILE, b"f"), A)
    first, second = make_stamp(3, A), make_stamp(4, A)
    index.apply([VersionRecord(5, 0, FILE, (second,), 3, 0, INLINE, b"new")], A)
    index.apply([VersionRecord(3, 0, FILE, (), 1, 0, INLINE, b"x")], A)
    assert index.heads_of(found(index, FILE).ino) == (make_stamp(5, A), first)
    index.apply([VersionRecord(4, 0, FILE, (first,), 1, 0, INLINE, b"y")], A)
    assert index.heads_of(found(index, FILE).ino) == (make_stamp(5, A),)
    assert index.database.read("SELECT count(*) FROM replaced") == (0,)


def test_heads_that_part_and_meet_in_one_batch(index: Index) -> None:
    index.apply(new(1, FILE, b"f"), A)
    both = (make_stamp(3, A), make_stamp(4, A))
    index.apply([VersionRecord(3, 0, FILE, (), 1, 0, INLINE, b"x")], A)
    index.apply(
        [
            VersionRecord(4, 0, FILE, (), 1, 0, INLINE, b"y"),
            VersionRecord(5, 0, FILE, both, 1, 0, INLINE, b"z"),
        ],
        A,
    )
    file = found(index, FILE)
    assert index.heads_of(file.ino) == index.shown_heads(file.ino) == (make_stamp(5, A),)


def test_directories_that_come_late_show_what_is_in_them(index: Index) -> None:
    below = NodeId(b"e" * 16)
    index.apply(new(10, FILE, b"f", below), A)
    index.apply([LinkRecord(12, 0, b"l" * 16, FILE, ROOT_NODE, b"g")], A)
    index.apply(new(5, below, b"e", FOLDER, stat.S_IFDIR), A)
    assert found(index, FILE).nlink == 1 and found(index, below).nlink == 0
    index.apply(new(1, FOLDER, b"d", ROOT_NODE, stat.S_IFDIR), A)
    assert found(index, FILE).nlink == 2 and found(index, below).nlink == 2 and found(index, FOLDER).nlink == 3
    assert index.path_of(found(index, below).ino) == b"d/e"


def test_a_directory_placed_in_itself_in_one_batch(index: Index) -> None:
    index.apply(new(1, FOLDER, b"d", FOLDER, stat.S_IFDIR), A)
    assert index.lookup(ROOT_INO, b"d") == found(index, FOLDER)
    (undone,) = index.undone_moves()
    assert (undone.link, undone.parent, undone.name, undone.former) == (LinkId(FOLDER), ROOT_INO, b"d", None)


def test_a_directory_that_becomes_a_file_is_no_longer_moved_back(index: Index) -> None:
    index.apply(new(1, FOLDER, b"d", FOLDER, stat.S_IFDIR), A)
    index.apply([NodeRecord(9, 9, FOLDER, Birth(stat.S_IFREG))], A)
    assert index.is_empty(ROOT_INO) and not index.undone_moves()
    index.apply([NodeRecord(10, 9, FOLDER, Birth(stat.S_IFDIR))], A)
    assert index.lookup(ROOT_INO, b"d") == found(index, FOLDER)


def test_two_new_directories_in_each_other_in_one_batch(index: Index) -> None:
    other = NodeId(b"e" * 16)
    records = [born(1, FOLDER, stat.S_IFDIR), born(2, other, stat.S_IFDIR)]
    index.apply(
        [
            *records,
            LinkRecord(3, 0, FOLDER, FOLDER, other, b"d"),
            LinkRecord(4, 0, other, other, FOLDER, b"e", from_parent=ROOT_NODE, from_name=b"was"),
        ],
        A,
    )
    assert index.path_of(found(index, FOLDER).ino) == b"was/d"


def test_a_new_file_costs_a_few_statements(index: Index) -> None:
    index.apply(new(1, FOLDER, b"d", ROOT_NODE, stat.S_IFDIR), A)
    version = VersionRecord(12, 12, FILE, (), 1, 12, INLINE, b"x")
    assert statements(index, lambda: index.apply(new(10, FILE, b"f", FOLDER), A)) <= 6
    assert statements(index, lambda: index.apply([version], A)) <= 5


def test_common_changes_cost_the_same_in_any_directory(index: Index) -> None:
    def costs(start: int) -> list[int]:
        node, link = NodeId(start.to_bytes(16, "big")), start.to_bytes(15, "big") + b"l"
        lamport = start * 20
        folder = NodeId(b"\xff" * 8 + start.to_bytes(8, "big"))
        batches: list[list[Record]] = [
            new(lamport, node, b"f%d" % start, FOLDER),
            [VersionRecord(lamport + 2, 0, node, (), 1, 0, INLINE, b"x")],
            [VersionRecord(lamport + 3, 0, node, (make_stamp(lamport + 2, A),), 1, 0, INLINE, b"y")],
            [LinkRecord(lamport + 4, 0, node, node, FOLDER, b"g%d" % start, from_parent=FOLDER)],
            [LinkRecord(lamport + 5, 0, link, node, FOLDER, b"h%d" % start)],
            [LinkRecord(lamport + 6, 0, link, node, FOLDER, b"h%d" % start, True)],
            [NodeRecord(lamport + 7, 0, node, mode=0o600)],
            [LinkRecord(lamport + 8, 0, node, node, FOLDER, b"g%d" % start, True, (make_stamp(lamport + 3, A),))],
            new(lamport + 9, folder, b"d%d" % start, FOLDER, stat.S_IFDIR),
            [LinkRecord(lamport + 11, 0, folder, folder, FOLDER, b"e%d" % start, from_parent=FOLDER)],
            [LinkRecord(lamport + 12, 0, folder, folder, FOLDER, b"e%d" % start, True)],
            [LinkRecord(start * 20 + 13, 0, FOLDER, FOLDER, ROOT_NODE, b"dir%d" % start, from_parent=ROOT_NODE)],
        ]
        return [statements(index, lambda batch=batch: index.apply(batch, A)) for batch in batches]  # type: ignore[misc]

    index.apply(new(1, FOLDER, b"d", ROOT_NODE, stat.S_IFDIR), A)
    before = costs(1)
    for number in range(2, 300):
        node = NodeId(number.to_bytes(16, "little"))
        index.apply(new(number * 20, node, b"other%d" % number, FOLDER), A)
        for lamport in (number * 20 + 2, number * 20 + 3):
            index.apply([LinkRecord(lamport, 0, b"%16d" % number, node, FOLDER, b"tmp", lamport % 2 == 1)], A)
    assert costs(300) == before
    assert max(before) < 30


@pytest.mark.parametrize("gone", [True, False])
def test_one_more_name_costs_the_same_however_many_a_file_has_or_had(index: Index, gone: bool) -> None:
    index.apply(new(1, FILE, b"f"), A)
    lamports = iter(range(10, 100_000))

    def change(number: int, name: bytes, deleted: bool = False) -> None:
        link, lamport = LinkId(number.to_bytes(16, "big")), next(lamports)
        former = b"" if name == b"%d" % number else ROOT_NODE
        index.apply([LinkRecord(lamport, 0, link, FILE, ROOT_NODE, name, deleted, from_parent=former)], A)

    def costs(number: int) -> list[int]:
        return [
            steps(index, lambda: change(number, b"%d" % number)),
            steps(index, lambda: change(number, b"%d, renamed" % number)),
            steps(index, lambda: change(number, b"%d, renamed" % number, deleted=True)),
        ]

    costs(1001)
    before = costs(1002)
    for number in range(2000, 2800):
        change(number, b"%d" % number)
        if gone:
            change(number, b"%d" % number, deleted=True)
    assert found(index, FILE).nlink == (1 if gone else 801)
    assert max(after / once for after, once in zip(costs(2800), before, strict=True)) < 1.5


def test_changes_tell_the_removed_node(index: Index) -> None:
    index.apply(new(1, FILE, b"f"), A)
    other = NodeId(b"o" * 16)
    index.apply(new(5, other, b"o"), A)
    shadow = Shadow()
    shadow.take(index)
    index.apply(
        [
            LinkRecord(10, 0, FILE, FILE, ROOT_NODE, b"f", True),
            LinkRecord(11, 0, other, other, ROOT_NODE, b"f", from_parent=ROOT_NODE, from_name=b"o"),
        ],
        A,
    )
    file, moved = found(index, FILE).ino, found(index, other).ino
    changes = shadow.take(index)
    assert changes.entries == {(ROOT_INO, b"f"): file, (ROOT_INO, b"o"): moved}
    assert changes.nodes >= {file} and not changes.contents
    shadow.check(index)

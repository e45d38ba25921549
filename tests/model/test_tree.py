"""Many devices work on one tree with partial knowledge: all agree in the end, and no work is lost.

A run starts from three directories that all know. In each step a device does something that is possible in the tree
that it sees, or hears of a part of another's feed. At every moment each device has a proper tree; at rest all have the
same, whatever the order of arrival; and every content that no user gave up knowingly (overwrote, deleted by its last
name, dropped as a copy) is shown.
"""

import random
import stat
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncfs.model.directory import Shown
from syncfs.model.ids import ROOT_NODE, make_stamp
from syncfs.model.records import INLINE, Birth, LinkRecord, NodeRecord, Record, VersionRecord, check_name
from syncfs.model.tree import State, Tree, full_view, tree_hash
from tests.model.replica import NAMES, Entry, RefusedCallError, Replica

Step = tuple[int, int, int, int]
"""Which device, what (see `take`), and two choices."""
STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 15), st.integers(0, 50), st.integers(0, 50)), max_size=40)


def take(step: Step, replicas: list[Replica], fresh: Callable[[], bytes]) -> None:
    """Do one step; what is not possible is not done."""
    who, what, first, second = step
    replica = replicas[who % len(replicas)]
    paths = sorted(path.decode() for path in replica.tree() if path)
    files = [path for path in paths if replica.tree()[path.encode()].kind == stat.S_IFREG] or ["none"]
    path = paths[first % len(paths)] if paths else "none"
    file = files[first % len(files)]
    directories = ["", *(path + "/" for path in paths if replica.tree()[path.encode()].kind == stat.S_IFDIR)]
    new = directories[second % len(directories)] + "fgh"[first % 3]
    try:
        match what:
            case 0 | 1:
                replica.create(new, fresh())
            case 2:
                replica.mkdir(new)
            case 3 | 4:
                replica.write(file, fresh())
            case 5:
                shown = replica.tree().get(file.encode())
                if shown is not None and shown.head is not None:
                    replica.write(file, replica.state.by_stamp[shown.head].body)
            case 6:
                replica.replace(file, fresh())
            case 7:
                replica.unlink(file)
            case 8:
                replica.remove_tree(path)
            case 9:
                source = directories[first % len(directories)].rstrip("/")
                replica.rename(source, directories[second % len(directories)] + source.rpartition("/")[2])
            case 10:
                replica.rename(path, paths[second % len(paths)] if second % 3 == 0 and paths else new)
            case 11:
                replica.link(file, new)
            case 12:
                replica.chmod(path, 0o600 + second)
            case 13:
                replica.symlink("t", new)
            case _:
                other = replicas[first % len(replicas)].entries()
                replica.receive(other[: len(other) - second % 4])
    except RefusedCallError:
        pass


def check_proper(state: State, tree: Tree) -> None:
    """What is true of every tree, also of one that misses records."""
    links: list[bytes] = []
    directories = [ROOT_NODE]
    for path, shown in tree.items():
        if shown.entry is None:
            assert path == b""
            continue
        above, _, name = path.rpartition(b"/")
        check_name(name)
        assert tree[above].kind == stat.S_IFDIR
        both = [(shown.entry.link, shown.entry.node), *shown.entry.merged]
        if shown.entry.head is None:
            links += [link for link, _ in both]
        if shown.kind == stat.S_IFDIR:
            directories += [node for _, node in both]
    assert len(set(links)) == len(links)
    assert len(set(directories)) == len(directories)


def check_complete(state: State, tree: Tree) -> None:
    """At rest, all that lives is in the tree."""
    shown = {link for one in tree.values() if one.entry for link in (one.entry.link, *(a for a, _ in one.entry.merged))}
    heads = {(one.node, one.head) for one in tree.values()}
    for node, view in state.views().items():
        assert shown.issuperset(view.links)
        if view.links:
            assert heads.issuperset((node, head) for head in view.heads)


def run(steps: list[Step], seed: int) -> None:
    """Take all steps, let all hear everything, and compare."""
    numbers = count(1)

    def fresh() -> bytes:
        return b"%d" % next(numbers)

    replicas = [Replica(number, clock) for number, clock in ((1, 1_700_000_000), (2, 5), (3, 1_700_000_000))]
    for directory in "fgh":
        replicas[0].mkdir(directory)
    for replica in replicas[1:]:
        replica.receive(replicas[0].entries())
    for step in steps:
        take(step, replicas, fresh)
        replica = replicas[step[0] % len(replicas)]
        check_proper(replica.state, replica.tree())

    everything = [entry for replica in replicas for entry in replica.entries()]
    order = random.Random(seed)
    trees = []
    for replica in replicas:
        replica.receive(order.sample(everything, len(everything)))
        trees.append(replica.tree())
    late = State()
    for device, record in order.choices(everything, k=len(everything)) + everything if everything else []:
        late.apply(record, device)
    trees.append(full_view(late, NAMES))
    assert len({tree_hash(tree) for tree in trees}) == 1
    check_proper(late, trees[-1])
    check_complete(late, trees[-1])

    written = {version.body for version in late.by_stamp.values()}
    given_up = {content for replica in replicas for content in replica.given_up}
    shown = {late.by_stamp[one.head].body for one in trees[-1].values() if one.head is not None}
    assert written - given_up <= shown


@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, st.integers(0, 2**32))
def test_all_agree_and_nothing_is_lost(steps: list[Step], seed: int) -> None:
    """A fixed set of runs; the soak takes new ones each time."""
    run(steps, seed)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@settings(max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, st.integers(0, 2**32))
def test_all_agree_and_nothing_is_lost_soak(steps: list[Step], seed: int) -> None:
    """The same at length."""
    run(steps, seed)


IDS = st.integers(0, 4).map(lambda number: bytes([number]) * 16)
LAMPORTS = st.integers(1, 30)
STAMPS = st.builds(make_stamp, LAMPORTS, st.sampled_from(sorted(NAMES)))
SOME_NAMES = st.sampled_from([b"f", b"g", b"f (conflict A 1970-01-01 000000)"])
HOSTILE: st.SearchStrategy[Record] = st.one_of(
    st.builds(
        NodeRecord, LAMPORTS, st.just(0), IDS, st.sampled_from([Birth(stat.S_IFREG), Birth(stat.S_IFDIR)]), st.just(0)
    ),
    st.builds(
        LinkRecord,
        LAMPORTS,
        st.just(0),
        IDS,
        IDS,
        IDS,
        SOME_NAMES,
        st.booleans(),
        st.lists(STAMPS, max_size=2).map(tuple),
        st.just(b"") | IDS,
        st.just(b"") | SOME_NAMES,
    ),
    st.builds(
        VersionRecord,
        LAMPORTS,
        st.integers(-(2**63), 2**63),
        IDS,
        st.lists(STAMPS, max_size=3).map(tuple),
        st.just(1),
        st.just(0),
        st.just(INLINE),
        st.sampled_from([b"x", b"y"]),
    ),
)
ENTRIES = st.lists(st.tuples(st.sampled_from(sorted(NAMES)[:3]), HOSTILE), max_size=40).map(
    lambda entries: list({(device, record.lamport): (device, record) for device, record in entries}.values())
)
"""Records that nobody honest writes, about five nodes, the root among them; no device uses a stamp twice."""


@settings(max_examples=400, deadline=None)
@given(ENTRIES, st.randoms(use_true_random=False))
def test_whatever_is_sent_it_is_a_tree(entries: list[Entry], order: random.Random) -> None:
    state, other = State(), State()
    for device, record in entries:
        state.apply(record, device)
        check_proper(state, full_view(state, NAMES))
    order.shuffle(entries)
    for device, record in entries:
        other.apply(record, device)
    assert tree_hash(full_view(state, NAMES)) == tree_hash(full_view(other, NAMES))


def test_what_has_not_arrived_is_not_shown_until_it_has() -> None:
    author, reader = Replica(1), Replica(2)
    author.mkdir("d")
    author.create("d/f", b"x")
    entries = author.entries()
    reader.receive(entries[2:])
    assert list(reader.tree()) == [b""]
    reader.receive(entries[:2])
    assert reader.tree() == author.tree()


def test_a_deleted_directory_is_kept_by_what_lives_in_it_up_to_the_root() -> None:
    one, two = Replica(1), Replica(2)
    one.mkdir("a")
    one.mkdir("a/b")
    two.receive(one.entries())
    one.remove_tree("a")
    two.create("a/b/f", b"x")
    one.receive(two.entries())
    tree = one.tree()
    assert sorted(tree) == [b"", b"a", b"a/b", b"a/b/f"]
    entry = tree[b"a/b"].entry
    assert isinstance(entry, Shown) and entry.revived
    one.unlink("a/b/f")
    assert sorted(one.tree()) == [b"", b"a", b"a/b"]


def test_an_undone_move_does_not_come_back_by_surprise() -> None:
    one, two = Replica(1), Replica(2)
    one.mkdir("a")
    one.mkdir("b")
    two.receive(one.entries())
    one.rename("a", "b/a")
    two.lamport += 100
    two.rename("b", "a/b")
    one.receive(two.entries())
    assert sorted(one.tree()) == [b"", b"b", b"b/a"]
    one.rename("b/a", "a")
    assert sorted(one.tree()) == [b"", b"a", b"b"]


def test_an_unnamed_device_appears_by_its_id() -> None:
    one = Replica(1)
    one.create("f", b"x")
    other = Replica(2)
    other.create("f", b"y")
    one.receive(other.entries())
    assert [path for path in full_view(one.state, {}) if path] == [b"f", b"f (conflict 01010101 2023-11-14 221322)"]

"""What an index tells of conflicts: copies with inodes of their own, folders shown as one, links back from the dead."""

import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from syncfs.index.index import ROOT_INO, Index, Node
from syncfs.model.ids import ROOT_NODE
from syncfs.model.records import Birth, LinkRecord, NodeRecord
from tests.index.picture import Shadow, apply_all, check, know_devices, seen_by_index
from tests.index.test_apply import statements
from tests.model.replica import NAMES, Replica


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """An empty index that knows the devices."""
    with Index(tmp_path / "index.db") as opened:
        know_devices(opened)
        yield opened


def node_at(index: Index, path: bytes) -> Node:
    """What a path shows."""
    node = index.resolve(path)
    assert node is not None, (path, sorted(seen_by_index(index)))
    return node


def meet(*replicas: Replica) -> None:
    """Let all know all."""
    for one in replicas:
        for other in replicas:
            if other is not one:
                one.receive(other.entries())


class Pair:
    """Two devices, and an index that follows both."""

    def __init__(self, index: Index) -> None:
        self.one, self.two = Replica(1), Replica(2)
        self.index = index
        self.shadow = Shadow()

    def meet(self) -> None:
        """Let the devices know each other's records, and the index all; it must show what they see."""
        meet(self.one, self.two)
        apply_all(self.index, self.one.entries() + self.two.entries())
        check(self.index, self.one.state)
        self.shadow.take(self.index)
        self.shadow.check(self.index)


@pytest.fixture
def conflict(index: Index) -> Pair:
    """`f` was written by both devices; the second one is later."""
    pair = Pair(index)
    pair.one.create("f", b"old")
    pair.meet()
    pair.two.lamport += 10
    pair.one.write("f", b"by one")
    pair.two.write("f", b"by the other")
    pair.meet()
    return pair


def copy_in(index: Index) -> tuple[bytes, Node]:
    """The one conflict copy: its path and its node."""
    ((path, _),) = [(path, seen) for path, seen in seen_by_index(index).items() if seen.is_copy]
    return path, node_at(index, path)


def test_a_copy_is_a_node_of_its_own(index: Index, conflict: Pair) -> None:
    file = node_at(index, b"f")
    name, copy = copy_in(index)
    assert copy.ino != file.ino and copy.view_of == file.ino and copy.is_copy and not file.is_copy
    assert (file.size, copy.size, copy.nlink) == (len(b"by the other"), len(b"by one"), 1)
    assert file.head is not None and copy.head is not None
    assert index.shown_heads(file.ino) == index.heads_of(file.ino) == (file.head, copy.head)
    assert index.heads_of(copy.ino) == (copy.head,)
    assert index.hidden_heads(file.ino) == ()
    assert index.copies_of(file.ino) == [(ROOT_INO, name, copy.head)]
    found = index.entry(ROOT_INO, name)
    assert found is not None and found[1].ino == file.ino and found[2] == copy.head


def test_a_copy_follows_the_permissions_of_the_file(index: Index, conflict: Pair) -> None:
    _, copy = copy_in(index)
    conflict.two.chmod("f", 0o600)
    conflict.meet()
    assert index.nodes.must(copy.ino).mode == 0o600


def test_a_copy_that_is_dropped_keeps_its_row(index: Index, conflict: Pair) -> None:
    name, copy = copy_in(index)
    conflict.one.unlink(name.decode())
    conflict.meet()
    assert index.nodes.must(copy.ino).nlink == 0 and index.nodes.must(copy.ino).head == copy.head
    conflict.one.write("f", b"again")
    conflict.two.write("f", b"and again")
    conflict.meet()
    _, another = copy_in(index)
    assert another.ino != copy.ino


def test_a_copy_that_is_renamed_is_the_same_inode(index: Index, conflict: Pair) -> None:
    name, copy = copy_in(index)
    conflict.one.rename(name.decode(), "mine")
    conflict.meet()
    mine = node_at(index, b"mine")
    assert mine.ino == copy.ino and not mine.is_copy and mine.nlink == 1 and mine.size == len(b"by one")
    assert set(seen_by_index(index)) == {b"", b"f", b"mine"}


def test_a_copy_that_is_renamed_record_by_record(index: Index, conflict: Pair) -> None:
    name, copy = copy_in(index)
    known = len(conflict.one.feed)
    conflict.one.rename(name.decode(), "mine")
    for device, record in conflict.one.entries()[known:]:
        index.apply([record], device)
    check(index, conflict.one.state)
    assert node_at(index, b"mine").ino == copy.ino


def test_each_name_of_a_file_has_a_copy_beside_it(index: Index) -> None:
    pair = Pair(index)
    pair.one.create("f", b"old")
    pair.one.mkdir("d")
    pair.one.link("f", "d/g")
    pair.meet()
    pair.one.write("f", b"by one")
    pair.two.write("d/g", b"by the other")
    pair.meet()
    copies = [path for path, seen in seen_by_index(index).items() if seen.is_copy]
    assert len(copies) == 2 and len({node_at(index, path).ino for path in copies}) == 1
    assert node_at(index, copies[0]).nlink == 2


def test_a_device_that_gets_a_name_renames_its_copies(index: Index, conflict: Pair) -> None:
    name, copy = copy_in(index)
    device = next(device for device, letter in NAMES.items() if letter == "A")
    index.feeds.add_device(device, bytes(32), "laptop", "writer", b"")
    renamed, same = copy_in(index)
    assert renamed == name.replace(b"conflict A ", b"conflict laptop ") and same.ino == copy.ino
    changes = conflict.shadow.take(index)
    conflict.shadow.check(index)
    assert changes.entries == {(ROOT_INO, name): copy.ino, (ROOT_INO, renamed): None}


def test_a_real_name_pushes_a_copy_aside_and_lets_it_back(index: Index, conflict: Pair) -> None:
    name, copy = copy_in(index)
    other = Replica(3)
    other.create(name.decode(), b"real")
    apply_all(index, other.entries())
    assert node_at(index, name).ino != copy.ino and copy_in(index)[0] == name[:-1] + b" 2)"
    known_records = len(other.feed)
    other.unlink(name.decode())
    apply_all(index, other.entries()[known_records:])
    assert node_at(index, name).ino == copy.ino
    conflict.shadow.take(index)
    conflict.shadow.check(index)


def test_a_file_that_is_back_and_aside_is_named_after_its_last_edit(index: Index) -> None:
    pair = Pair(index)
    pair.one.create("f", b"old")
    pair.meet()
    pair.one.unlink("f")
    pair.one.mkdir("f")
    pair.two.write("f", b"edit")
    pair.meet()
    three = Replica(3)
    three.receive(pair.one.entries() + pair.two.entries())
    (aside,) = [path for path in three.tree() if b"conflict B" in path]
    three.write(aside.decode(), b"another edit")
    apply_all(index, three.entries())
    pair.one.receive(three.entries())
    check(index, pair.one.state)
    assert any(b"conflict C" in path for path in seen_by_index(index))


def test_directories_that_are_shown_as_one(index: Index) -> None:
    pair = Pair(index)
    for number, replica in enumerate((pair.one, pair.two)):
        replica.mkdir("d")
        replica.create(f"d/{number}", b"x")
    pair.meet()
    directory = node_at(index, b"d")
    assert sorted(seen_by_index(index)) == [b"", b"d", b"d/0", b"d/1"]
    nodes = index.merged_with(directory.ino)
    assert len(nodes) == 2 and nodes[0] == directory.node
    assert [link.link for link in index.links_behind(ROOT_INO, b"d")] == nodes
    hidden = index.nodes.ino_of(nodes[1])
    assert hidden is not None and index.nodes.must(hidden).view_of == directory.ino
    pair.one.rename("d", "e")
    pair.meet()
    assert sorted(seen_by_index(index)) == [b"", b"e", b"e/0", b"e/1"]
    pair.one.remove_tree("e")
    pair.meet()
    assert index.nodes.must(hidden).view_of is None and index.nodes.must(hidden).nlink == 0


def test_links_tell_where_they_take_effect(index: Index) -> None:
    pair = Pair(index)
    pair.one.mkdir("a")
    pair.one.mkdir("b")
    pair.meet()
    pair.one.rename("a", "b/a")
    pair.two.lamport += 100
    pair.two.rename("b", "a/b")
    pair.meet()
    (undone,) = index.undone_moves()
    assert (undone.parent, undone.name, undone.former) == (ROOT_INO, b"b", None)
    moved = index.entry(undone.ino, b"a")
    assert moved is not None and moved[1].former == (ROOT_INO, b"a")


def test_links_that_are_only_back_say_so(index: Index) -> None:
    pair = Pair(index)
    pair.one.mkdir("d")
    pair.one.create("d/f", b"old")
    pair.meet()
    pair.one.remove_tree("d")
    pair.two.write("d/f", b"edit")
    pair.meet()
    for path in (b"d", b"d/f"):
        node = node_at(index, path)
        assert [link.deleted for link in index.links_of(node.ino)] == [True]
    file = node_at(index, b"d/f")
    assert stat.S_ISREG(file.kind) and index.shown_heads(file.ino) == (file.head,)


def test_conflicts_are_found_without_a_look_at_everything(index: Index, conflict: Pair) -> None:
    for replica in (conflict.one, conflict.two):
        replica.mkdir("d")
        replica.create("d/f", b"%d" % replica.lamport)
    meet(conflict.one, conflict.two)
    for device, record in [*conflict.one.entries(), *conflict.two.entries()]:
        assert statements(index, partial(index.apply, [record], device)) < 60
    check(index, conflict.one.state)


def test_hidden_heads_are_told(index: Index) -> None:
    pair = Pair(index)
    pair.one.create("f", b"old")
    pair.meet()
    pair.one.write("f", b"same")
    pair.two.write("f", b"same")
    pair.meet()
    file = node_at(index, b"f")
    assert len(index.shown_heads(file.ino)) == len(index.hidden_heads(file.ino)) == 1
    assert len(index.heads_of(file.ino)) == 2


def test_a_copy_whose_own_node_exists_has_another(index: Index, conflict: Pair) -> None:
    _, copy = copy_in(index)
    index.apply(
        [
            NodeRecord(100, 0, copy.node, Birth(stat.S_IFREG), 0o640),
            LinkRecord(101, 0, copy.node, copy.node, ROOT_NODE, b"own"),
        ],
        conflict.one.device,
    )
    own = node_at(index, b"own")
    _, still = copy_in(index)
    assert own.ino == copy.ino and still.ino != copy.ino and still.head == copy.head

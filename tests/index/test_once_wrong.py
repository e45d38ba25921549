"""States in which an index once showed something else than the model says, each with the records that led there."""

import stat

from syncfs.model.ids import ROOT_NODE, DeviceId, NodeId, make_stamp
from syncfs.model.records import INLINE, Birth, LinkRecord, NodeRecord, VersionRecord
from syncfs.model.versions import own_node
from tests.index.test_view import deliver_batches
from tests.model.replica import NAMES, Entry

ONE, TWO, THREE = sorted(NAMES)[:3]
FILE, OTHER, THIRD = (NodeId(bytes([0x80 + number]) * 16) for number in range(3))
A, B, C = (NodeId(bytes([0x40 + number]) * 16) for number in range(3))
CONFLICT = b"f (conflict A 1970-01-01 000000)"


def born(node: NodeId, kind: int) -> Entry:
    return ONE, NodeRecord(1, 0, node, Birth(kind), 0o700)


def put(lamport: int, node: NodeId, parent: NodeId, name: bytes = b"f") -> Entry:
    return ONE, LinkRecord(lamport, 0, node, node, parent, name)


def written(lamport: int, device: DeviceId, node: NodeId, parents: tuple[bytes, ...], content: bytes) -> Entry:
    return device, VersionRecord(lamport, 0, node, parents, 1, 0, INLINE, content)


def one_by_one(*entries: Entry) -> list[list[Entry]]:
    return [[entry] for entry in entries]


def test_the_version_of_which_a_file_was_made_comes_last() -> None:
    """Two devices make a conflict copy a file of its own, one goes on with it: that is no conflict."""
    head = make_stamp(2, ONE)
    own = own_node(head)
    deliver_batches(
        one_by_one(
            born(own, stat.S_IFREG),
            put(3, own, ROOT_NODE),
            written(5, TWO, own, (head,), b"x"),
            written(5, THREE, own, (head,), b"x"),
            written(6, THREE, own, (make_stamp(5, THREE),), b"y"),
            written(2, ONE, FILE, (), b"x"),
        )
    )


def test_a_deletion_says_that_it_saw_a_version_of_another_file() -> None:
    stranger = make_stamp(9, TWO)
    deliver_batches(
        one_by_one(
            born(FILE, stat.S_IFREG),
            (ONE, LinkRecord(2, 0, FILE, FILE, ROOT_NODE, b"f", False, (stranger,))),
            written(3, ONE, FILE, (), b"x"),
            written(4, ONE, FILE, (), b"y"),
            written(9, TWO, OTHER, (), b"y"),
        )
    )


def test_one_name_stands_in_two_directories_when_they_become_one() -> None:
    """In the one it is that of a conflict copy, in the other that of a file."""
    deliver_batches(
        [
            *one_by_one(
                *(born(node, stat.S_IFDIR) for node in (A, B, C)),
                *(born(node, stat.S_IFREG) for node in (FILE, OTHER, THIRD)),
                put(2, FILE, B),
                put(3, THIRD, C, CONFLICT),
                put(4, OTHER, B),
                put(5, C, ROOT_NODE),
            ),
            [put(6, A, B, CONFLICT), put(7, B, ROOT_NODE)],
        ]
    )


def test_a_directory_moves_into_the_one_as_which_it_was_shown() -> None:
    """What was in it no longer takes a name there."""
    deliver_batches(
        one_by_one(
            *(born(node, stat.S_IFDIR) for node in (A, B, C)),
            *(born(node, stat.S_IFREG) for node in (FILE, OTHER)),
            put(2, C, ROOT_NODE),
            put(3, FILE, A),
            put(4, OTHER, B, CONFLICT),
            put(5, A, C),
            put(6, B, C),
            put(7, B, A),
        )
    )

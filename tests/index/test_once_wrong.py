"""States in which an index once showed something else than the model says, each with the records that led there."""

import stat

from syncfs.model.ids import ROOT_NODE, NodeId
from syncfs.model.records import Birth, LinkRecord, NodeRecord
from tests.index.test_view import deliver_batches
from tests.model.replica import NAMES, Entry

ONE = sorted(NAMES)[0]
FILE, OTHER, THIRD = (NodeId(bytes([0x80 + number]) * 16) for number in range(3))
A, B, C = (NodeId(bytes([0x40 + number]) * 16) for number in range(3))
CONFLICT = b"f (conflict A 1970-01-01 000000)"


def born(node: NodeId, kind: int) -> Entry:
    return ONE, NodeRecord(1, 0, node, Birth(kind), 0o700)


def put(lamport: int, node: NodeId, parent: NodeId, name: bytes = b"f") -> Entry:
    return ONE, LinkRecord(lamport, 0, node, node, parent, name)


def one_by_one(*entries: Entry) -> list[list[Entry]]:
    return [[entry] for entry in entries]


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

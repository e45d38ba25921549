"""Manifests: which chunks make up a version.

A manifest is a sequence of 64-byte entries, `chunk id ‖ address`, one for each chunk of the file, all zero for a hole.
Up to MAX_BODY_ENTRIES of them stand in the version record (depth 0). Longer manifests are cut into leaves of FAN_OUT
entries; a leaf is sealed as a chunk, and the entries of the leaves form the next depth, and so on. A change of one
chunk thus changes one leaf for each depth.
"""

from collections.abc import Iterator

from syncfs.model.chunking import chunk_count
from syncfs.model.errors import ForeignError
from syncfs.model.records import ENTRY_BYTES, HOLE, INLINE, MAX_BODY_ENTRIES

FAN_OUT = 256


def entries_of(body: bytes) -> Iterator[bytes]:
    """The entries of a body, leaf or whole manifest."""
    return (body[start : start + ENTRY_BYTES] for start in range(0, len(body), ENTRY_BYTES))


def depth_for(entries: int) -> int:
    """The depth of the manifest of a file of so many chunks."""
    depth = 0
    while entries > MAX_BODY_ENTRIES:
        entries = -(-entries // FAN_OUT)
        depth += 1
    return depth


def leaves(entries: bytes) -> list[bytes]:
    """Cut entries into leaves; a leaf that is nothing but holes is empty."""
    width = FAN_OUT * ENTRY_BYTES
    cut = [entries[start : start + width] for start in range(0, len(entries), width)]
    return [leaf if leaf.strip(b"\0") else b"" for leaf in cut]


def leaf_place(index: int, depth: int) -> tuple[int, int]:
    """Where chunk `index` is found from the top of a manifest of this depth: (entry in the body, index below it)."""
    width = FAN_OUT**depth
    return index // width, index % width


def expected_entries(size: int, depth: int) -> int:
    """How many entries the body of a version of `size` bytes has at this depth."""
    entries = chunk_count(size)
    for _ in range(depth):
        entries = -(-entries // FAN_OUT)
    return entries


def check_shape(size: int, depth: int, body: bytes) -> None:
    """Refuse a body that cannot belong to a version of this size. Raises ForeignError."""
    if depth == INLINE:
        fits = len(body) == size
    else:
        fits = len(body) == expected_entries(size, depth) * ENTRY_BYTES and depth == depth_for(chunk_count(size))
    if not fits:
        raise ForeignError("a version's manifest does not fit its size")


def is_hole(entry: bytes) -> bool:
    """Whether an entry stands for zeros only."""
    return entry == HOLE

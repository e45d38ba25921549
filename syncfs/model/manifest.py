"""Manifests: which chunks make up a version.

A manifest is a sequence of 64-byte entries, `chunk id ‖ address`, one for each chunk of the file, all zero for a hole.
Up to MAX_BODY_ENTRIES of them stand in the version record (depth 0). Longer manifests are cut into leaves of FAN_OUT
entries; a leaf is sealed as a chunk, and the entries of the leaves form the next depth, and so on. A change of one
chunk thus changes one leaf for each depth.
"""

from collections.abc import Iterator, Mapping

from syncfs.model.chunking import chunk_count
from syncfs.model.errors import ForeignError
from syncfs.model.records import ENTRY_BYTES, HOLE, INLINE, MAX_BODY_ENTRIES, THINNED

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


def leaves(entries: Mapping[int, bytes], count: int) -> dict[int, bytes]:
    """Cut `count` entries, of which those not given are holes, into leaves; leaves of holes only are left out."""
    cut: dict[int, bytearray] = {}
    for index, entry in entries.items():
        number, at = divmod(index, FAN_OUT)
        leaf = cut.get(number)
        if leaf is None:
            leaf = cut[number] = bytearray(min(FAN_OUT, count - number * FAN_OUT) * ENTRY_BYTES)
        leaf[at * ENTRY_BYTES : (at + 1) * ENTRY_BYTES] = entry
    return {number: bytes(leaf) for number, leaf in cut.items()}


def join_entries(entries: Mapping[int, bytes], count: int) -> bytes:
    """The body that `count` entries make, of which those not given are holes."""
    return b"".join(entries.get(index, HOLE) for index in range(count))


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
    if depth == THINNED:
        return
    if depth == INLINE:
        fits = len(body) == size
    else:
        fits = len(body) == expected_entries(size, depth) * ENTRY_BYTES and depth == depth_for(chunk_count(size))
    if not fits:
        raise ForeignError("a version's manifest does not fit its size")


def is_hole(entry: bytes) -> bool:
    """Whether an entry stands for zeros only."""
    return entry == HOLE
